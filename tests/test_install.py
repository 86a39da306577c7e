"""The README's way to install without the package, followed as it stands, in a copy of this machine.

What a Raspberry Pi has and this machine has not is put there first: the group gpio. Stand-ins are only the editor,
which a person uses, `systemctl --now`, since no systemd runs there, and apt, which leaves out what only Raspberry Pi's
archive has. All else is real: the packages, pip, the users, the daemon as its user, and a close that it delivers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rufusd.training.sandbox import Sandbox

ROOT = Path(__file__).parents[1]
HEADING = "### Without the package\n"
IN_SCRATCH_ROOT = ROOT / "tests" / "scratch_root.sh"

APT = r"""#!/bin/sh
# Without a question, and without the packages that this archive does not have: Debian has no python3-lgpio.
[ "$1" = install ] && shift
apt-cache policy python3-gpiozero | grep -q "Candidate: [0-9]" || apt-get update -qq
for name; do
    shift
    case $name:$(apt-cache policy "$name") in
    python3-lgpio:*"Candidate: (none)"* | python3-lgpio:) ;;
    *) set -- "$@" "$name" ;;
    esac
done
DEBIAN_FRONTEND=noninteractive exec apt-get install -qqy --no-install-recommends "$@" >/dev/null </dev/null
"""
NANO = r"""#!/bin/sh
exec sed -i -e 's/PUT-YOUR-KEY-HERE/{key}/' -e 's/PUT-THE-TOKEN-OF-YOUR-SESSION-HERE/{token}/' \
    -e 's|^# url = .*|url = "{url}"|' -e 's/^# grace = .*/grace = 0/' -e 's/^# quiet = .*/quiet = 0/' "$1"
"""
SYSTEMCTL = r"""#!/bin/sh
# systemctl enable --now UNIT: the real one enables it; this one then starts what the unit says, as its user.
set -eu
[ "$1 $2" = "enable --now" ]
/usr/bin/systemctl --root=/ enable "$3"
unit=/etc/systemd/system/$3.service
said() { sed -n "s/^$1=//p" "$unit"; }
install -d -o "$(said User)" -g "$(said Group)" "/run/$(said RuntimeDirectory)" "/var/lib/$(said StateDirectory)"
env LG_WD="$(said Environment | sed -n 's/LG_WD=//p')" setpriv --reuid "$(said User)" --regid "$(said Group)" \
    --init-groups --inh-caps=-all --bounding-set=-all $(said ExecStart) </dev/null &
while ! [ -e "/run/$(said RuntimeDirectory)/status.json" ]; do
    kill -0 $!
    sleep 0.1
done
"""
AFTERWARDS = r"""
cd /
systemd-analyze verify --man=no rufusd.service
echo "enabled: $(readlink /etc/systemd/system/multi-user.target.wants/rufusd.service)"
echo "from: $(/opt/rufusd/bin/python -c 'import gpiozero as g, requests as r; print(g.__file__, r.__file__)')"
echo "config: $(stat -c '%U:%G %a' /etc/rufusd/config.toml)"
echo "daemon: $(stat -c %U "/proc/$(rufusd status --json | sed -n 's/.*"pid": \([0-9]*\),/\1/p')")"
echo "man: $(echo /usr/local/share/man/man*/rufusd*)"
echo "completion: $(bash -c 'source /usr/local/share/bash-completion/completions/rufusd && complete -p rufusd')"
rufusd close
timeout 30 sh -c 'until ls /var/lib/rufusd/closed/*.json; do sleep 0.1; done' >/dev/null 2>&1
"""


def commands(readme: str) -> list[str]:
    """The commands of that section: what stands in its indented blocks."""
    section = readme.partition(HEADING)[2]
    return re.findall(r"^    (.*)$", re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for the copy of this machine, with the repository in what will be its /srv/rufusd."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    probe = folder.with_name("probe")
    probe.write_text("exit 0\n", encoding="utf-8")
    files = folder.with_name("scratch.files")
    (files / "srv" / "rufusd").mkdir(parents=True)
    able = os.geteuid() == 0 and all(map(shutil.which, ("apt-get", "systemctl", "unshare")))
    if not able or subprocess.run([IN_SCRATCH_ROOT, folder, probe], check=False).returncode:
        pytest.skip(
            "only root, on a Debian with systemd, where it may mount an overlay, can make a copy of the machine"
        )
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        target = files / "srv" / "rufusd" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return folder


def test_the_readme_installs_it_without_the_package(scratch: Path, rufus: Sandbox, token: str) -> None:
    """Each line as it stands there; then the daemon runs as its user, under what apt and pip have installed."""
    lines = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [line for line in lines if "--system-site-packages" in line]
    places = scratch.with_name("scratch.files") / "usr" / "local" / "sbin"
    places.mkdir(parents=True)
    nano = NANO.format(key=rufus.keys["READ_WRITE"], token=token, url=rufus.url)
    for name, text in (("apt", APT), ("nano", nano), ("systemctl", SYSTEMCTL)):
        (places / name).write_text(text, encoding="utf-8")
        (places / name).chmod(0o755)
    script = scratch.with_name("script")
    script.write_text("\n".join(["getent group gpio || groupadd --system gpio", *lines, AFTERWARDS]), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COV"))}
    env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ended = subprocess.run(
        [IN_SCRATCH_ROOT, scratch, script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
        env=env,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-5000:]
    found = dict(re.findall(r"^(\w+): (.*?) ?$", ended.stdout, re.MULTILINE))
    assert found["enabled"] == "/etc/systemd/system/rufusd.service"
    assert all(path.startswith("/usr/lib/python3/dist-packages/") for path in found["from"].split()), "apt's, not pip's"
    assert (found["config"], found["daemon"]) == ("root:rufusd 640", "rufusd")
    assert found["man"].split() == [f"/usr/local/share/man/man{page}" for page in ("5/rufusd.toml.5", "8/rufusd.8")]
    assert found["completion"].endswith("rufusd")
    assert rufus.session(token).closes == 1
