"""The files in memory: a view of the daemon that lives, never of one that ended; and what a restart may remember."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rufusd.adapters import runtime as module
from rufusd.adapters.runtime import Runtime
from rufusd.core.delivery import Wait
from rufusd.core.inputs import ReaderNote

VIEW: dict[str, Any] = {"daemon": {"running": True, "pid": os.getpid()}, "faults": ["Łódź"]}


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    made = Runtime(tmp_path / "run")
    made.open()
    return made


def test_the_view_of_a_running_daemon_is_read_by_another_process(runtime: Runtime) -> None:
    """Promise 5: what the daemon writes is what `rufusd status` reads."""
    runtime.write_status(VIEW)
    assert Runtime(runtime.folder).read_status() == VIEW


def test_a_view_of_another_boot_is_none(runtime: Runtime) -> None:
    """Promise 4: its seconds are of another clock."""
    runtime.write_status(VIEW, "this boot")
    assert runtime.read_status("this boot") == VIEW
    assert runtime.read_status("another boot") is None


def test_before_the_first_view_there_is_none(tmp_path: Path) -> None:
    """Promise 4: where no daemon ever ran, none is claimed to; the folder may not even be there."""
    assert Runtime(tmp_path / "nowhere").read_status() is None


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b"7", b"[" * 50000),
        *(
            b'{"a": "b", "words": {"b": 7}}',
            b'{"a": "b", "words": {"b": ["{c}", "", {"d": 1}]}}',
            b'{"a": "b", "words": 7}',
        ),
    ],
)
def test_a_damaged_view_is_none(runtime: Runtime, content: bytes) -> None:
    """Promise 5: `rufusd status` goes on without it."""
    (runtime.folder / "status.json").write_bytes(content)
    assert runtime.read_status() is None


def test_the_view_ends_with_the_daemon(runtime: Runtime) -> None:
    """Promise 4: an orderly end leaves no view, and ending twice is harmless."""
    runtime.write_status(VIEW)
    runtime.close()
    runtime.close()
    assert runtime.read_status() is None
    assert list(runtime.folder.iterdir()) == []


def test_a_reader_never_finds_half_a_view(runtime: Runtime) -> None:
    """Promise 5: the file is replaced at once: whoever reads at any moment finds a whole one."""
    done = threading.Event()
    damaged: list[bytes] = []

    def read() -> None:
        while not done.is_set():
            try:
                json.loads(content := (runtime.folder / "status.json").read_bytes())
            except ValueError:
                damaged.append(content)

    runtime.write_status(VIEW)
    thread = threading.Thread(target=read)
    thread.start()
    for number in range(300):
        runtime.write_status({**VIEW, "faults": ["x" * number * 50]})
    done.set()
    thread.join(60)
    assert damaged == []
    assert [path.name for path in runtime.folder.iterdir()] == ["status.json"]


def test_a_name_that_is_no_text_does_not_end_the_daemon(runtime: Runtime) -> None:
    """Promise 2: a damaged record's name reaches the view, and is written as far as it can be."""
    runtime.write_status({**VIEW, "faults": ["the close of \ud800"]})
    found = runtime.read_status()
    assert found
    assert found["faults"] == ["the close of ?"]


NOTE = ReaderNote("boot", "22 high up", "token", armed=True, withdrawal="7 1000")


def test_what_the_reader_did_is_known_after_a_restart(runtime: Runtime) -> None:
    """Promise 2: the reader that goes off while the daemon restarts has been armed before, and confirms."""
    assert runtime.reader("boot") is None
    for note in (NOTE, replace(NOTE, armed=False, stale=True, withdrawal="")):
        runtime.note_reader(note)
        assert Runtime(runtime.folder).reader("boot") == note


@pytest.mark.parametrize(
    "content", [b"", b"true", b'{"boot_id": 7}', b"\xff", b'{"boot_id": "boot", "wiring": "22 high up"}']
)
def test_a_note_that_names_no_session_is_of_another(runtime: Runtime, content: bytes) -> None:
    """Promise 1: damaged, or by an earlier version: for which session the reader ran nobody knows."""
    (runtime.folder / "armed").write_bytes(content)
    found = runtime.reader("boot")
    assert found is not None
    assert (found.boot_id, found.token, found.armed) == ("boot", "", False)


def test_a_folder_that_cannot_be_written_is_harmless(tmp_path: Path) -> None:
    """Promise 2: a full or read-only /run stops no station; only opening says that there is no folder."""
    (tmp_path / "run").write_text("in the way", encoding="utf-8")
    runtime = Runtime(tmp_path / "run")
    with pytest.raises(OSError, match="File exists"):
        runtime.open()
    runtime.write_status(VIEW)
    runtime.note_reader(NOTE)
    runtime.close()
    assert runtime.read_status() is None
    assert runtime.reader("boot") is None


def test_what_could_not_be_written_is_a_problem_and_written_again(runtime: Runtime) -> None:
    """Promise 5: an old view is not left as if it were of now: there is a fault, and the next try writes it."""
    (runtime.folder / ".status.json.tmp").mkdir()  # which cannot be replaced by a file, as on a full disk
    runtime.write_status(VIEW)
    (problem,) = runtime.problems()
    assert problem.startswith(f"{runtime.folder} cannot be written (")
    runtime.tend()
    assert runtime.problems() == (problem,)
    (runtime.folder / ".status.json.tmp").rmdir()
    runtime.tend()
    assert runtime.problems() == ()
    assert runtime.read_status() == VIEW


def _link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


def _others(folder: Path) -> None:
    folder.chmod(0o777)


@pytest.mark.parametrize(("spoil", "told"), [(_link, "is a link"), (_others, "other users may write into")])
def test_a_folder_that_others_may_write_into_is_not_used(runtime: Runtime, spoil: Any, told: str) -> None:
    """Promise 1: whoever can put a link there has a daemon that is root write where they like."""
    spoil(runtime.folder)
    with pytest.raises(module.Unsafe, match=told):
        runtime.open()
    runtime.write_status(VIEW)
    assert list(runtime.folder.iterdir()) == []
    assert told in runtime.problems()[0]


def test_a_folder_of_another_user_is_not_used(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 1: that user may change it under us."""
    owner = os.stat(runtime.folder).st_uid
    if owner == 0:
        os.chown(runtime.folder, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(module.Unsafe, match="belongs to another user"):
        runtime.open()


def test_a_link_in_the_folder_is_not_followed(runtime: Runtime, tmp_path: Path) -> None:
    """Promise 2: neither the file nor what is written before it becomes one."""
    precious = tmp_path / "precious"
    precious.write_text("all of it", encoding="utf-8")
    for name in (".status.json.tmp", "status.json"):
        (runtime.folder / name).symlink_to(precious)
    assert runtime.read_status() is None
    runtime.write_status(VIEW)
    assert precious.read_text(encoding="utf-8") == "all of it"
    assert runtime.read_status() == VIEW


def test_a_view_that_is_no_file_holds_nobody_up(runtime: Runtime) -> None:
    """Promise 5: a FIFO would be waited for, for ever."""
    os.mkfifo(runtime.folder / "status.json")
    assert runtime.read_status() is None


# -- how far the closes have come with waiting

WAITS = {
    "TOKEN123": Wait(90.0, None, 130.5, 40.5),
    "TOKEN456": Wait(None, None, 10.0, 3.0),
    "T7": Wait(1.0, 2.0, 3.0, 2.0),
}


def test_waits_outlive_the_daemon_but_not_the_boot(tmp_path: Path) -> None:
    """Promise 2: `close.max_wait` does not begin anew with each life of the daemon; with a reboot all is anew."""
    Runtime(tmp_path).write_waits(WAITS, "boot")
    later = Runtime(tmp_path)
    assert later.waits("boot", 131.0) == WAITS
    assert later.waits("another boot", 131.0) == {}
    assert later.waits("", 131.0) == {}
    later.write_waits({}, "boot")
    assert later.waits("boot", 131.0) == {}
    assert list(tmp_path.iterdir()) == []


def test_waits_of_an_unknown_boot_are_never_taken_up(tmp_path: Path) -> None:
    """Promise 3: where the kernel does not name the boot, two boots look the same."""
    Runtime(tmp_path).write_waits(WAITS, "")
    assert Runtime(tmp_path).waits("", 131.0) == {}


def test_a_wait_of_the_future_is_none(tmp_path: Path) -> None:
    """Promise 3: a time that has not come yet cannot have been waited for."""
    Runtime(tmp_path).write_waits(WAITS, "boot")
    assert Runtime(tmp_path).waits("boot", 20.0) == {name: WAITS[name] for name in ("TOKEN456", "T7")}


GOOD = {"began": 1, "came": None, "looked": 2, "total": 1}


@pytest.mark.parametrize(
    "facts",
    [
        None, [], 3, "", {},
        *({**GOOD, name: value} for name in GOOD for value in ("1", True, [], {}, -1, 1e9, float("nan"), float("inf"))),
        {**GOOD, "looked": None},
        {**GOOD, "total": None},
        {**GOOD, "began": 3},
        {**GOOD, "came": 3},
        {**GOOD, "total": 3},
        {name: value for name, value in GOOD.items() if name != "began"},
    ],
)  # fmt: skip
def test_a_damaged_wait_is_ignored(tmp_path: Path, facts: Any) -> None:
    """Promise 3: what is damaged, or somebody else's, shortens no wait; the others of the file count."""
    waits = {"GOOD1234": GOOD, "TOKEN123": facts}
    (tmp_path / "waits.json").write_text(json.dumps({"boot_id": "boot", "waits": waits}))
    assert Runtime(tmp_path).waits("boot", 100.0) == {"GOOD1234": Wait(1, None, 2, 1)}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"boot_id": "boot"}', '{"boot_id": "boot", "waits": [1]}', "[" * 100_000]
)
def test_a_damaged_file_of_waits_is_ignored(tmp_path: Path, text: str) -> None:
    """Promise 3: as if nothing had been waited."""
    (tmp_path / "waits.json").write_text(text)
    assert Runtime(tmp_path).waits("boot", 100.0) == {}


def test_waits_that_cannot_be_written_are_not_worth_stopping_for(tmp_path: Path) -> None:
    """Promise 2: the close goes all the same."""
    Runtime(tmp_path / "missing").write_waits(WAITS, "boot")
    Runtime(tmp_path / "missing").write_waits({}, "boot")
