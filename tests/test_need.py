"""What a newcomer sees of the Makefile: the list of its targets, and what the machine lacks for one, all at once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
#: What need.sh itself calls, and every Debian has.
BASICS = ("sh", "dirname", "echo", "sed", "tr", "sort", "xargs", "cat")
WITHOUT_VENV = f"""#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; esac
exec {sys.executable} "$@"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The folder of all commands of a machine that has just been installed, with a Python without venv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASICS:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    program(folder, "python3", WITHOUT_VENV)
    return folder


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


def need(machine: Path, *targets: str, uid: int, python: str = "python3") -> subprocess.CompletedProcess[str]:
    """Ask for what targets need, as this user."""
    program(machine, "id", f"#!/bin/sh\necho {uid}\n")
    command = ["sh", str(ROOT / "tests" / "need.sh"), python, *targets]
    return subprocess.run(
        command, env={"PATH": str(machine)}, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


def test_all_that_is_missing_is_said_in_one_sentence_with_one_command(machine: Path) -> None:
    """Promise 5: an ordinary user on a fresh machine has one thing to do, and then it runs."""
    ended = need(machine, "test", uid=1000)
    assert (ended.returncode, ended.stdout) == (1, "")
    (sentence,) = ended.stderr.splitlines()
    assert "`make test`" in sentence
    packages = re.findall(r"`sudo apt-get install ([^`]*)`", sentence)[0].split()
    assert set(packages) - {"python3-dev"} == {"gcc", "libc6-dev", "groff-base", "mandoc", "python3-venv"}
    assert len(packages) == len(set(packages))


def test_root_is_told_what_is_installed_before_it_is(machine: Path) -> None:
    """Promise 5: all of it in one call of apt-get, for all the targets together."""
    program(machine, "apt-get", '#!/bin/sh\necho "apt-get $*" >&2\n')
    ended = need(machine, "test", "faults", uid=0)
    said, updated, installed = ended.stderr.splitlines()
    assert ended.returncode == 0
    packages = said.rpartition(": ")[2].split()
    assert {"gcc", "mandoc", "python3-venv", "strace", "nftables", "iproute2", "fuse3"} <= set(packages)
    assert updated.startswith("apt-get update")
    assert installed.startswith("apt-get install ")
    assert installed.endswith(" ".join(packages))


@pytest.mark.parametrize(("target", "lacks"), [("demo", ["python3-venv"]), ("clean", []), ("help", [])])
def test_a_target_asks_for_no_more_than_it_needs(machine: Path, target: str, lacks: list[str]) -> None:
    """The demo compiles nothing."""
    ended = need(machine, target, uid=1000)
    assert re.findall(r"apt-get install ([^`]*)`", ended.stderr) == [" ".join(lacks)] * bool(lacks)
    assert ended.returncode == bool(lacks)


def test_a_machine_without_python_is_told_so_with_all_else(machine: Path) -> None:
    """Nothing of it waits for a second try."""
    (machine / "python3").unlink()
    ended = need(machine, "test", uid=1000)
    assert {"python3", "python3-venv", "gcc", "mandoc"} <= set(ended.stderr.replace("`", " ").split())
    assert len(ended.stderr.splitlines()) == 1


def test_a_python_that_is_too_old_is_said_to_be(machine: Path) -> None:
    """With what to do."""
    program(machine, "python3", '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.7.3 || exit 1\n')
    ended = need(machine, "test", uid=1000)
    assert ended.returncode == 1
    assert ended.stderr == (
        "python3 is Python 3.7.3, and rufusd needs Python 3.9 or later: name another one, for example by: "
        "make PYTHON=python3.13 test\n"
    )


def test_make_lists_its_targets() -> None:
    """Every one that is meant for people, in a line, whether it is asked for or not."""
    make = ["make", "--no-print-directory"]
    plain, asked = (subprocess.check_output([*make, *more], cwd=ROOT, text=True, timeout=60) for more in ([], ["help"]))
    assert plain == asked
    listed = re.findall(r"^  ([a-z-]+) +\S", asked, re.MULTILINE)
    phony = MAKEFILE.partition(".PHONY: ")[2].splitlines()[0].split()
    assert sorted(listed) == sorted({*phony} - {"system-test-vm"})
