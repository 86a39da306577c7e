"""The queue on disk: durable before it is said, never lost, never twice, whatever the disk and other processes do.

Disks that are full, read-only or out of inodes are real ones: a tiny tmpfs, mounted in a namespace of a process's own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from rufusd.adapters.closes import disk, records
from rufusd.adapters.closes import spool as module
from rufusd.adapters.closes.locks import StateFolderLocked
from rufusd.adapters.closes.records import CLOSED, PENDING, STATES, WITHDRAWN
from rufusd.adapters.closes.spool import Confirmed, Spool
from rufusd.core.record import ELSEWHERE, Record

T, U, V = "FINISH-10K-token", "START-10K-token", "KIDS-1K-token"
NOW, LATER = "2026-05-03T11:02:13Z", "2026-05-03T11:04:00Z"
_uptimes = itertools.count(1000)


def record(token: str = T, **facts: Any) -> Record:
    """A close as a trigger confirms it: no two at the same uptime."""
    return Record(token, "FINISH-10K", "button", confirmed_at=NOW, boot_id="b", uptime=next(_uptimes) + 0.25, **facts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def spool(folder: Path) -> Spool:
    """The daemon's spool, at its start."""
    made = Spool(folder)
    made.recover()
    assert made.problems() == ()
    return made


@pytest.fixture
def command(folder: Path) -> Spool:
    """The spool as a command opens it, beside the daemon's; two such are as apart as in two processes."""
    return Spool(folder)


@pytest.fixture(autouse=True)
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some machines have their temporary folders in memory, or are containers: here, no mount is known to be so."""
    monkeypatch.setattr(disk, "MOUNTS", Path("/dev/null"))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """No test here may block."""

    def end(*_: object) -> None:
        raise TimeoutError("blocked for 60 s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def found(folder: Path) -> dict[str, set[str]]:
    """What is in the state folder's folders, temporary files and foreign ones included."""
    return {state: {path.name for path in (folder / state).iterdir()} for state in STATES}


def states(folder: Path, token: str) -> list[str]:
    """In which folders there is a record of this token."""
    return [state for state in STATES if (folder / state / f"{token}.json").is_file()]


def facts(folder: Path, state: str, token: str = T) -> dict[str, Any]:
    """What a record's file says."""
    read: dict[str, Any] = json.loads((folder / state / f"{token}.json").read_text(encoding="utf-8"))
    return read


def again(folder: Path) -> Spool:
    """The daemon's spool in its next life."""
    made = Spool(folder)
    made.recover()
    return made


@contextlib.contextmanager
def failing(number: int, *names: str, where: Callable[[str], bool] = lambda path: True) -> Iterator[list[str]]:  # noqa: ARG005
    """A disk that answers these calls of `os` with an error; gives the paths, or descriptors' paths, it refused."""
    refused: list[str] = []

    def broken(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(what: Any, *rest: Any, **more: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
            if not where(path):
                return real(what, *rest, **more)
            refused.append(path)
            raise OSError(number, os.strerror(number))

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, broken(getattr(os, name)))
        yield refused


WRITES = ("fsync", "rename")
LOOKS = ("scandir", "lstat")

# -- confirming


def test_confirming_writes_a_file_then_its_name_each_synced(spool: Spool, folder: Path, monkeypatch: Any) -> None:
    """Promise 2: a file, fsync, rename, fsync of its folder; the first of a process, which does not know who made the
    folders, has those above synced before."""
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)
        calls.append(("fsync", path.name if path.is_dir() else json.loads(path.read_text())["token"]))

    def spy_rename(old: Path, new: Path) -> None:
        rename(old, new)
        calls.append(("rename", f"{Path(new).parent.name}/{Path(new).name}"))

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    assert spool.confirm(record())
    assert calls == [("fsync", T), ("rename", f"pending/{T}.json"), ("fsync", "pending")]
    calls.clear()
    command = Spool(folder)
    above = [("fsync", folder.parent.name), ("fsync", "state")]
    for token, before in ((U, above), (V, [])):
        assert command.confirm(record(token))
        assert calls == [*before, ("fsync", token), ("rename", f"pending/{token}.json"), ("fsync", "pending")]
        calls.clear()
    assert found(folder) == {PENDING: {f"{each}.json" for each in (T, U, V)}, CLOSED: set(), WITHDRAWN: set()}


def test_a_confirmed_close_outlives_the_process(spool: Spool, folder: Path) -> None:
    """Promise 2: the next life knows the close with all its facts."""
    confirmed = record(reason="the last one is in: Łódź")
    spool.confirm(confirmed)
    assert again(folder).pending() == {T: confirmed}
    assert spool.not_durable() == frozenset()


def test_what_was_confirmed_before_a_kill_is_pending(folder: Path) -> None:
    """Promise 2: after kill -9, every close whose confirmation had returned is there, and no damaged one beside."""
    program = (
        "import itertools; from pathlib import Path\n"
        "from rufusd.core.record import Record; from rufusd.adapters.closes.spool import Spool\n"
        f"spool = Spool(Path({str(folder)!r}))\n"
        "for n in itertools.count(): spool.confirm(Record(f'session-{n}')); print(n, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(50):
            process.stdout.readline()
        process.kill()
        last = 49 + len(process.stdout.read().splitlines())
    known = again(folder).pending()
    assert {f"session-{n}" for n in range(last + 1)} <= known.keys()
    assert len(known) <= last + 2
    assert not list(folder.rglob("*.tmp"))


class Cut(BaseException):
    """The power goes."""


@pytest.mark.parametrize("after", range(9))
@pytest.mark.parametrize("step", ["confirm", "confirm again", "sent", "closed", "withdraw"])
def test_a_cut_at_any_instruction_loses_and_invents_nothing(
    spool: Spool, folder: Path, step: str, after: int, monkeypatch: Any
) -> None:
    """Promises 1 and 2: cut after any call to the disk, a step has been taken wholly or not at all."""
    steps: dict[str, tuple[Callable[[], Any], str, list[str | None]]] = {
        "confirm": (lambda: spool.confirm(record()), PENDING, [None]),
        "confirm again": (lambda: spool.confirm(record()), PENDING, [WITHDRAWN]),
        "sent": (lambda: spool.mark_sent(T, LATER), PENDING, [PENDING]),
        "closed": (lambda: spool.mark_closed(T, LATER), CLOSED, [PENDING]),
        "withdraw": (lambda: spool.withdraw(T, "button", LATER), WITHDRAWN, [PENDING]),
    }
    take, then, before = steps[step]
    if step != "confirm":
        spool.confirm(record())
    if step == "confirm again":
        spool.withdraw(T, "button", NOW)
    calls = itertools.count()

    def cutting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if next(calls) == after:
                raise Cut
            return real(*arguments, **more)

        return call

    with monkeypatch.context() as patch:
        for name in ("fsync", "rename", "unlink", "chown"):
            patch.setattr(os, name, cutting(getattr(os, name)))
        done = False
        try:
            take()
            done = True
        except Cut:
            pass
    assert again(folder).standing(T) in ([then] if done else [then, *before])
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize("state", [PENDING, CLOSED])
def test_a_token_is_closed_once(spool: Spool, command: Spool, folder: Path, state: str) -> None:
    """Promise 1: while its close is pending or closed, confirming a token again changes nothing, from anywhere."""
    spool.confirm(record())
    if state == CLOSED:
        spool.mark_closed(T, LATER)
    before = facts(folder, state)
    assert [each.confirm(record(reason="another")) for each in (spool, command, again(folder))] == [False] * 3
    assert facts(folder, state) == before
    assert states(folder, T) == [state]


@pytest.mark.parametrize(
    ("first", "second", "also"),
    [("reader", "button", "button"), ("reader", "command", "command"), ("button", "reader", "reader")],
)
def test_another_trigger_endorses_a_pending_close(
    spool: Spool, folder: Path, first: str, second: str, also: str
) -> None:
    """Promise 2: that a person has confirmed the reader's close as well is on disk, and known to every process."""
    spool.confirm(first_record := replace(record(), trigger=first))
    assert again(folder).confirm(replace(record(), trigger=second)) is Confirmed.ENDORSED
    assert again(folder).confirm(replace(record(), trigger=second)) is Confirmed.NOTHING
    spool.refresh()
    assert spool.pending() == {T: replace(first_record, also=also)}
    assert again(folder).records.history(PENDING) == {T: replace(first_record, also=also)}


def test_a_change_of_a_pending_close_is_durable(spool: Spool, folder: Path) -> None:
    """Promise 2: by one replace of its file; what has been withdrawn or sent meanwhile is not changed."""
    spool.confirm(first := record())
    assert spool.change(T, also="reader")
    assert again(folder).records.history(PENDING) == {T: replace(first, also="reader")}
    assert spool.mark_sent(T, "now")
    assert not spool.change(T, unless_sent=True, also="")
    assert again(folder).withdraw(T, "command", "now")
    assert not spool.change(T, also="")
    assert again(folder).records.history(WITHDRAWN)[T].also == "reader"
    assert spool.standing(T) == WITHDRAWN


def test_a_call_that_was_begun_is_known_after_a_withdrawal(spool: Spool, folder: Path) -> None:
    """Promise 4: the next close of the session has to ask first, since RUFUS may have acted on that call."""
    spool.confirm(record())
    assert not spool.call_begun(T)
    spool.mark_sent(T, "now")
    assert spool.call_begun(T)
    assert again(folder).withdraw(T, "command", "now")
    spool.refresh()
    assert spool.confirm(record()) is Confirmed.NEW
    assert spool.call_begun(T)
    assert not spool.call_begun("B" * 64)


def test_promise_5_a_folder_that_cannot_be_read_is_taken_for_kept(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon may have it; a card that does not answer is told as that, and not as a defect."""
    assert not spool.daemon_lock.taken()

    def refuse(*_: Any, **_options: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        disk.setattr(os, "stat", refuse)
        disk.setattr(os, "open", refuse)
        assert spool.daemon_lock.taken()
        assert Spool(folder).records.obstacle() == ""
    assert not Spool(folder / "of nobody").daemon_lock.taken()


# -- a folder that has not changed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds go by, for the folders alone."""
    late = [0.0]
    real = time.monotonic

    class Clock:
        monotonic = staticmethod(lambda: real() + late[0])
        sleep = staticmethod(time.sleep)

    monkeypatch.setattr(records, "time", Clock)
    return lambda seconds: late.__setitem__(0, late[0] + seconds)


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each listing of the pending closes."""
    seen: list[str] = []
    real = os.scandir

    def scandir(path: Any) -> Any:
        seen.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return seen


def test_a_folder_that_does_not_change_is_not_listed_anew(
    spool: Spool, command: Spool, clock: Callable[[float], None], listings: list[str]
) -> None:
    """Promise 5: to list thousands of closes takes seconds, in which nobody looks at the button."""
    spool.confirm(record())
    spool.refresh()
    clock(records.COARSE + 1)
    spool.refresh()
    listings.clear()
    spool.refresh()
    assert not listings
    assert spool.pending().keys() == {T}
    command.confirm(record(U))
    command.withdraw(T, "command", NOW)
    spool.refresh()
    assert spool.pending().keys() == {U}
    assert listings


def test_promise_2_a_change_at_the_same_time_of_the_clock_is_seen(
    spool: Spool, command: Spool, folder: Path, clock: Callable[[float], None]
) -> None:
    """The kernel's clock moves in steps, FAT's by two seconds: two changes may give a folder the same time."""
    spool.confirm(record())
    spool.refresh()
    found = os.stat(folder / PENDING)
    command.confirm(record(U))
    os.utime(folder / PENDING, ns=(found.st_atime_ns, found.st_mtime_ns))
    clock(records.COARSE - 1)
    spool.refresh()
    assert spool.pending().keys() == {T, U}


def test_promise_2_a_disk_that_keeps_no_times_of_folders_is_listed_all_the_same(
    spool: Spool, command: Spool, folder: Path, clock: Callable[[float], None]
) -> None:
    os.utime(folder / PENDING, ns=(0, 0))
    for _ in range(2):
        spool.refresh()
        clock(records.COARSE + 1)
        spool.refresh()
    command.confirm(record(U))
    os.utime(folder / PENDING, ns=(0, 0))
    clock(records.LISTED_ANEW + 1)
    spool.refresh()
    assert spool.pending().keys() == {U}


def test_promise_2_the_close_that_is_asked_for_is_looked_at_whatever_the_folders_time(
    spool: Spool, command: Spool, folder: Path, clock: Callable[[float], None]
) -> None:
    """A clock that is decades wrong gives each change one time: the largest, or the least, that the disk can write."""
    spool.confirm(record())
    os.utime(folder / PENDING, ns=(0, 0))
    for _ in range(2):
        spool.refresh()
        clock(records.COARSE + 1)
    command.withdraw(T, "command", NOW)
    os.utime(folder / PENDING, ns=(0, 0))
    spool.refresh(T)
    assert spool.pending() == {}
    command.confirm(record())
    os.utime(folder / PENDING, ns=(0, 0))
    spool.refresh(T)
    assert spool.pending().keys() == {T}


def test_promise_2_a_disk_that_was_slow_to_tell_a_folders_time_is_not_believed_the_sooner(
    spool: Spool, command: Spool, folder: Path, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds in which a time may come twice begin when it was told, not when it was asked for."""
    real = os.stat

    def slow(path: Any, **options: Any) -> Any:
        if Path(str(path)).name == PENDING:
            clock(records.COARSE + 1)
        return real(path, **options)

    spool.confirm(record())
    found = real(folder / PENDING)
    with monkeypatch.context() as disk:
        disk.setattr(os, "stat", slow)
        spool.refresh()
    clock(0.3)
    spool.refresh()
    command.confirm(record(U))
    os.utime(folder / PENDING, ns=(found.st_atime_ns, found.st_mtime_ns))
    spool.refresh()
    assert spool.pending().keys() == {T, U}


@pytest.mark.parametrize("refused", ["stat", "scandir"])
def test_promise_2_after_a_disk_that_did_not_answer_the_folder_is_listed_anew(
    spool: Spool,
    clock: Callable[[float], None],
    listings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
) -> None:
    """What could not be read has not vanished."""
    spool.confirm(record())
    for _ in range(2):
        spool.refresh()
        clock(records.COARSE + 1)
    if refused == "scandir":
        clock(records.LISTED_ANEW)
    real = getattr(os, refused)

    def refuse(path: Any, **options: Any) -> Any:
        if Path(str(path)).name == PENDING:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, **options)

    with monkeypatch.context() as disk:
        disk.setattr(os, refused, refuse)
        spool.refresh()
        assert spool.problems()
    listings.clear()
    spool.retry_failed_writes()
    spool.refresh()
    assert listings
    assert spool.problems() == ()
    assert spool.pending().keys() == {T}


def test_which_key_rufus_has_answered_outlives_a_life(spool: Spool, folder: Path) -> None:
    """Promise 3: one key is known, by a mark; a damaged or missing note, or a card that refuses, says "never"."""
    assert not spool.notes.has_answered("mark")
    spool.notes.note_answered("mark")
    assert again(folder).notes.has_answered("mark")
    assert not again(folder).notes.has_answered("another")
    spool.notes.note_answered("another")
    assert (again(folder).notes.has_answered("mark"), again(folder).notes.has_answered("another")) == (False, True)
    (folder / "answered").unlink()
    (folder / "answered").mkdir()
    spool.notes.note_answered("mark")
    assert not again(folder).notes.has_answered("mark")


def test_a_call_is_only_begun_for_the_close_that_was_handed_over(spool: Spool, folder: Path) -> None:
    """Promise 1: withdrawn and confirmed again before anybody looked: the new close has its grace first."""
    spool.confirm(first := replace(record(), boot_id="b", uptime=5.0))
    assert again(folder).withdraw(T, "command", "now")
    assert again(folder).confirm(second := replace(first, uptime=6.0))
    assert spool.mark_sent(T, "now", first) is False
    assert again(folder).records.history(PENDING)[T].sent_at == ""
    assert spool.mark_sent(T, "now", second)


def test_a_withdrawn_close_can_be_confirmed_again(spool: Spool, folder: Path) -> None:
    """Promise 2: a close that was taken back is no obstacle to the next one of the same token."""
    spool.confirm(record())
    spool.withdraw(T, "button", LATER)
    assert spool.confirm(second := record())
    assert again(folder).pending() == {T: second}
    spool.mark_closed(T, LATER)
    assert again(folder).standing(T) == CLOSED


def test_a_reason_of_any_bytes_confirms(spool: Spool, folder: Path) -> None:
    """Promise 2: what a script gave as the reason, even if it is no text, is no reason not to confirm."""
    assert spool.confirm(record(reason=os.fsdecode(b"caf\xe9")))
    assert facts(folder, PENDING)["reason"] == "caf?"


# -- the later steps


def test_sending_is_noted_once(spool: Spool, folder: Path) -> None:
    """Promise 2: the first call is noted on disk, the later ones write nothing: an SD card must not wear out."""
    spool.confirm(record())
    assert spool.mark_sent(T, NOW)
    inode = (folder / PENDING / f"{T}.json").stat().st_ino
    assert spool.mark_sent(T, LATER)
    assert (folder / PENDING / f"{T}.json").stat().st_ino == inode
    assert facts(folder, PENDING)["sent_at"] == NOW
    assert again(folder).pending() == spool.pending()


def test_what_is_not_pending_is_not_sent(spool: Spool) -> None:
    """Promise 1: a close that was withdrawn, or closed, or never confirmed, is not to be sent."""
    for token in (T, U):
        spool.confirm(record(token))
    spool.withdraw(T, "button", LATER)
    spool.mark_closed(U, LATER)
    assert [spool.mark_sent(token, LATER) for token in (T, U, V)] == [False] * 3


def test_closing_moves_the_record_by_one_rename(spool: Spool, folder: Path, monkeypatch: Any) -> None:
    """Promise 2: pending to closed is one rename; its facts follow by another, both folders are synced after."""
    spool.confirm(record())
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda f: (fsync(f), calls.append(Path(os.readlink(f"/proc/self/fd/{f}")).name)))
    monkeypatch.setattr(
        os, "rename", lambda a, b: (rename(a, b), calls.append(f"{a.parent.name}>{b.parent.name}/{b.name}"))
    )
    spool.mark_closed(T, LATER)
    new = f".{T}.json.tmp"
    assert calls == [new, f"pending>closed/{T}.json", f"closed>closed/{T}.json", "closed", "pending"]
    assert states(folder, T) == [CLOSED]
    assert facts(folder, CLOSED) == {**facts(folder, CLOSED), "name": "FINISH-10K", "closed_at": LATER}
    assert spool.pending() == {}
    assert spool.standing(T) == CLOSED


def test_a_withdrawn_record_says_by_whom(spool: Spool, folder: Path) -> None:
    """Promise 5: who took a close back, and when, stays readable."""
    spool.confirm(record())
    assert spool.withdraw(T, "command", LATER)
    assert not spool.withdraw(T, "command", LATER)
    assert states(folder, T) == [WITHDRAWN]
    assert facts(folder, WITHDRAWN) == {
        **facts(folder, WITHDRAWN),
        "name": "FINISH-10K",
        "withdrawn_at": LATER,
        "withdrawn_by": "command",
    }
    assert (spool.pending(), spool.standing(T)) == ({}, WITHDRAWN)


def test_what_was_sent_is_withdrawn_only_by_a_person(spool: Spool) -> None:
    """Promise 4: once RUFUS may have acted, the button and the reader take nothing back; a command still may."""
    spool.confirm(record())
    spool.mark_sent(T, NOW)
    assert not spool.withdraw_or_keep(T, "reader", LATER, unless_sent=True)
    assert not spool.withdraw(T, "button", LATER, unless_sent=True)
    assert spool.standing(T) == PENDING
    assert spool.withdraw(T, "command", LATER)


def test_what_rufus_closed_is_closed_though_it_was_withdrawn(spool: Spool, folder: Path) -> None:
    """Promise 4: withdrawn while the call was under way, and closed by it, is shown as closed."""
    spool.confirm(record())
    spool.mark_sent(T, NOW)
    spool.withdraw(T, "command", NOW)
    spool.mark_closed(T, LATER)
    assert states(folder, T) == [CLOSED]
    assert "withdrawn_at" not in facts(folder, CLOSED)
    assert facts(folder, CLOSED)["name"] == "FINISH-10K"


def test_a_sent_note_that_the_disk_refuses_still_counts(spool: Spool) -> None:
    """Promise 4: what was sent on a failing disk is known as sent, and is not withdrawn at the button afterwards."""
    spool.confirm(record())
    with failing(errno.EIO, "fsync"):
        assert spool.mark_sent(T, NOW)
    assert "cannot be used: input/output error" in spool.problems()[0]
    assert not spool.withdraw_or_keep(T, "button", LATER, unless_sent=True)


def test_a_sent_note_counts_though_no_step_could_be_taken(spool: Spool, monkeypatch: Any) -> None:
    """Promise 4: the same where the folder itself does not answer, for so long that the close goes out all the same."""
    spool.confirm(record())
    monkeypatch.setattr(module, "UNREADABLE", 0)
    with failing(errno.EIO, "open"):
        assert spool.mark_sent(T, NOW)
        assert not spool.withdraw_or_keep(T, "button", LATER, unless_sent=True)
    assert spool.pending()[T].sent_at == NOW
    assert not spool.withdraw_or_keep(T, "button", LATER, unless_sent=True)


# -- after a crash


@pytest.mark.usefixtures("spool")
def test_leftovers_of_a_crash_are_cleared(folder: Path) -> None:
    """Promise 2: temporary files are gone after the start, and never taken for a close."""
    leftovers = [folder / PENDING / f".{T}.json.tmp", folder / CLOSED / f".{U}.json.tmp", folder / ".ballast.tmp"]
    for path in leftovers:
        path.write_bytes(b'{"token":')
    started = again(folder)
    assert not any(path.exists() for path in leftovers)
    assert started.pending() == {}


def test_a_leftover_does_not_show_through(spool: Spool, folder: Path) -> None:
    """Promise 2: what a crashed command left of a longer record is no part of the next one."""
    (folder / PENDING / f".{T}.json.tmp").write_text("x" * 5000, encoding="utf-8")
    assert spool.confirm(record())
    assert facts(folder, PENDING)["token"] == T


def test_a_withdrawal_that_the_disk_refused_has_not_happened(spool: Spool, folder: Path) -> None:
    """Promise 2: where `withdraw` failed, nothing says that the close is withdrawn, not even after the next start."""
    spool.confirm(record())
    with failing(errno.EIO, "rename"), pytest.raises(OSError, match="Input/output"):
        spool.withdraw(T, "command", LATER)
    assert "withdrawn_at" not in facts(folder, PENDING)
    assert again(folder).pending().keys() == {T}
    assert list(folder.rglob("*.tmp")) == []


@pytest.mark.usefixtures("spool")
def test_a_record_cut_at_any_byte_is_pending_by_its_name(folder: Path) -> None:
    """Promise 2: damaged content delays no close."""
    whole = record(reason="Łódź").to_json().encode()
    for length in range(len(whole)):
        (folder / PENDING / f"{T}.json").write_bytes(whole[:length])
        started = Spool(folder)
        started.refresh()
        assert started.pending().keys() == {T}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(300),
        bytes(range(256)) * 4,
        b"null",
        b'[{"token": "another"}]',
        b"[" * 60000,
        b'{"token": "another-token", "name": 3, "sent_at": null, "uptime": "x"}',
        b'{"name": "\\ud800", "trigger": "\\udfff"}',
        b'{"uptime": 1' + b"0" * 5000 + b"}",
    ],
    ids=["empty", "zeros", "binary", "null", "list", "nested", "kinds", "surrogates", "number"],
)
def test_a_damaged_record_goes_its_way_by_its_name(spool: Spool, folder: Path, content: bytes) -> None:
    """Promise 2: whatever is in its file, a close is pending, can be sent, and ends."""
    for token in (T, U):
        (folder / PENDING / f"{token}.json").write_bytes(content)
    spool.refresh()
    assert spool.pending().keys() == {T, U}
    assert {each.token for each in spool.pending().values()} == {T, U}
    assert spool.mark_sent(T, NOW)
    spool.mark_closed(T, LATER)
    assert spool.withdraw(U, "command", LATER)
    assert (states(folder, T), states(folder, U)) == ([CLOSED], [WITHDRAWN])


def test_a_record_that_fills_no_memory(spool: Spool, folder: Path) -> None:
    """Promise 2: nor does a file of a size that no record has: it is not read to its end."""
    path = folder / PENDING / f"{T}.json"
    path.touch()
    os.truncate(path, 2**40)
    spool.refresh()
    assert spool.pending() == {T: Record(T)}


def test_an_unreadable_record_is_pending_by_its_name(spool: Spool, command: Spool, monkeypatch: Any) -> None:
    """Promise 2: a bad block under a record delays no close."""
    command.confirm(record())
    real = os.open

    def bad_block(path: Any, *rest: Any) -> Any:
        if str(path).endswith(f"{T}.json"):
            raise OSError(errno.EIO, "")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", bad_block)
    spool.refresh()
    assert spool.pending() == {T: Record(T)}
    assert spool.mark_sent(T, NOW)


# -- what is not ours


@pytest.mark.usefixtures("spool")
def test_what_is_no_record_is_ignored_and_blocks_nothing(folder: Path, monkeypatch: Any) -> None:
    """Promise 1: folders, pipes, sockets, links in circles and other names are no closes, and hide no close."""
    pending = folder / PENDING
    (pending / f"{T}.json").mkdir()
    os.mkfifo(pending / f"{U}.json")
    (pending / f"{V}.json").symlink_to(f"{V}.json")
    for name in ("notes.txt", "short.json", "wrong token.json", "tökén-tökén.json", ".hidden-token.json", f"{T}.JSON"):
        (pending / name).write_text("{}", encoding="utf-8")
    (pending / os.fsdecode(b"\xff\xfe-not-utf-8-\xff.json")).write_text("{}", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(pending)  # a socket's path is short
        listener.bind("a-socket-here.json")
    (pending / "a-real-close.json").write_text("{}", encoding="utf-8")
    started = again(folder)
    assert started.pending().keys() == {"a-real-close"}
    assert started.records.history(PENDING).keys() == {"a-real-close"}
    assert [started.standing(token) for token in (T, U, V)] == [None] * 3
    assert [started.withdraw(token, "command", LATER) for token in (T, U, V)] == [None] * 3
    os.mkfifo(folder / WITHDRAWN / f"{U}.json")
    started.mark_closed(U, LATER)
    assert started.standing(U) == CLOSED
    assert started.problems() == ()


def test_a_folder_in_a_records_place_is_no_close(spool: Spool, folder: Path) -> None:
    """Promise 2: a press is not taken for pending because of it: it is held in memory, and keeps no other waiting."""
    (folder / PENDING / f"{T}.json").mkdir()
    with pytest.raises(IsADirectoryError) as refused:
        spool.confirm(record())
    spool.keep_in_memory(record(), refused.value)
    with failing(errno.EIO, "fsync"), pytest.raises(OSError, match="Input/output") as failed:
        spool.confirm(record(U))
    spool.keep_in_memory(record(U), failed.value)
    spool.retry_failed_writes()
    assert spool.pending().keys() == {T, U}
    assert spool.not_durable() == {T}
    (folder / PENDING / f"{T}.json").rmdir()
    spool.retry_failed_writes()
    assert spool.problems() == ()
    assert again(folder).pending().keys() == {T, U}


def test_a_pipe_in_a_records_place_gives_way(spool: Spool, folder: Path) -> None:
    """Promise 2: and a press takes its place."""
    os.mkfifo(folder / PENDING / f"{T}.json")
    assert spool.confirm(record())
    assert states(folder, T) == [PENDING]


def test_a_pipe_where_a_record_is_written_holds_nothing_up(spool: Spool, folder: Path) -> None:
    """Promises 2 and 5: opening it would wait for a reader for ever. It gives way."""
    os.mkfifo(folder / PENDING / f".{T}.json.tmp")
    assert spool.confirm(record())
    assert found(folder)[PENDING] == {f"{T}.json"}


# -- a state folder that is missing, or vanishes


def test_a_missing_state_folder_is_made(tmp_path: Path, monkeypatch: Any) -> None:
    """Promise 2: a first confirmation needs nothing prepared, and the folders that it makes are durable, too."""
    spool = Spool(tmp_path / "not" / "there" / "yet")
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.readlink(f"/proc/self/fd/{file}")), fsync(file)))
    assert [spool.records.history(state) for state in STATES] == [{}] * 3
    assert spool.standing(T) is None
    assert spool.confirm(record())
    assert {str(spool.folder.parent), str(spool.folder)} < set(synced)
    assert again(spool.folder).pending().keys() == {T}


@pytest.mark.parametrize("place", ["", PENDING])
def test_a_file_in_a_folders_place_is_said_with_its_cure(tmp_path: Path, place: str) -> None:
    """Promise 5: nothing is confirmed, nothing stops, the problem says what to do; once it is done, all is written."""
    folder = tmp_path / "state"
    obstacle = folder / place
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_text("in the way", encoding="utf-8")
    spool = Spool(folder)
    spool.lock()
    spool.recover()
    spool.daemon_lock.release()
    assert "remove the file that is in the folder's place" in spool.problems()[0]
    with pytest.raises(FileExistsError) as refused:
        spool.confirm(record())
    spool.keep_in_memory(record(), refused.value)
    assert spool.mark_sent(T, NOW)
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        spool.records.history(PENDING)
    obstacle.unlink()
    spool.retry_failed_writes()
    assert spool.problems() == ()
    assert facts(folder, PENDING)["sent_at"] == NOW


@pytest.mark.parametrize("state", [WITHDRAWN, CLOSED])
def test_a_folder_of_ended_closes_that_is_gone_is_made_anew(spool: Spool, folder: Path, state: str) -> None:
    """Promise 2: somebody has tidied up; a close can be taken back all the same."""
    assert spool.confirm(record())
    (folder / state).rmdir()
    if state == WITHDRAWN:
        assert spool.withdraw(T, "command", LATER)
    else:
        spool.mark_closed(T, LATER)
    assert spool.standing(T) == state
    assert not spool.problems()
    assert (folder / state / f"{T}.json").is_file()


def test_a_folder_that_it_makes_can_be_locked_by_no_other_user(tmp_path: Path) -> None:
    """Promise 6: flock(2) takes no more than the right to read, as the unit's own folder shows nobody else."""
    made = Spool(tmp_path / "made")
    assert made.confirm(record())
    for each in (tmp_path / "made", tmp_path / "made" / PENDING):
        assert stat.S_IMODE(each.stat().st_mode) & 0o007 == 0


def test_a_file_in_the_place_of_an_ended_state_delays_no_close(spool: Spool, folder: Path) -> None:
    """Promise 2: without `closed` a close is confirmed and sent all the same; that it is closed is owed."""
    (folder / CLOSED).rmdir()
    (folder / CLOSED).write_text("in the way", encoding="utf-8")
    assert spool.confirm(record())
    assert spool.mark_sent(T, NOW)
    spool.mark_closed(T, LATER)
    assert spool.standing(T) == CLOSED
    assert "is closed could not be written (not a directory" in spool.problems()[0]
    (folder / CLOSED).unlink()
    spool.retry_failed_writes()
    assert (spool.problems(), states(folder, T)) == ((), [CLOSED])


def test_closes_outlive_a_state_folder_that_vanishes(spool: Spool, folder: Path) -> None:
    """Promise 2: the files gone, the closes stay, are said to be in memory only, and are written again."""
    spool.confirm(record())
    spool.confirm(record(U))
    shutil.rmtree(folder)
    spool.refresh()
    assert spool.pending().keys() == spool.not_durable() == {T, U}
    assert all("its file has vanished" in problem for problem in spool.problems())
    assert spool.mark_sent(T, NOW)
    spool.mark_closed(T, LATER)
    spool.retry_failed_writes()
    assert (spool.problems(), spool.not_durable()) == ((), frozenset())
    assert (states(folder, T), states(folder, U)) == ([CLOSED], [PENDING])
    assert facts(folder, PENDING, U)["name"] == "FINISH-10K"


def test_a_press_while_the_folder_is_gone_is_durable(spool: Spool, folder: Path) -> None:
    """Promise 2: confirming makes the folders that somebody has swept away."""
    shutil.rmtree(folder)
    assert spool.confirm(record())
    assert again(folder).pending().keys() == {T}


def test_a_file_deleted_by_hand_is_not_a_withdrawal(spool: Spool, folder: Path) -> None:
    """Promise 2: only a withdrawal withdraws, though an earlier close of the same token was withdrawn once."""
    spool.confirm(record())
    spool.withdraw(T, "button", NOW)
    spool.confirm(second := record())
    (folder / PENDING / f"{T}.json").unlink()
    spool.refresh()
    assert spool.pending() == {T: second}
    assert spool.not_durable() == {T}
    spool.retry_failed_writes()
    assert again(folder).pending() == {T: second}


def test_a_withdrawal_is_seen_through_a_second_one(spool: Spool, folder: Path) -> None:
    """Promise 1: withdrawn, confirmed anew and withdrawn again between two looks: nothing comes back."""
    spool.confirm(record())
    command = again(folder)
    for last in (False, True):
        assert command.withdraw(T, "command", NOW)
        if not last:
            assert command.confirm(record()) is Confirmed.NEW
    spool.refresh()
    assert (spool.pending(), spool.problems(), spool.standing(T)) == ({}, (), WITHDRAWN)


# -- disks that fail


def test_a_folder_above_that_nobody_but_root_may_open_is_left_to_root(spool: Spool, monkeypatch: Any) -> None:
    """systemd's DynamicUser= keeps state folders in one of root's: what is above cannot be synced, and need not be."""
    opened = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if path == spool.folder.parent:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert spool.confirm(record())


@pytest.mark.parametrize("place", ["the file", "the folder"])
def test_a_failed_fsync_confirms_nothing(spool: Spool, folder: Path, place: str) -> None:
    """Promise 2: an error at either fsync is raised, and leaves nothing behind that looks like a close."""
    at_the_place = lambda path: path.endswith(PENDING) == (place == "the folder")  # noqa: E731 - said once, used once
    with failing(errno.EIO, "fsync", where=at_the_place) as refused, pytest.raises(OSError, match="Input/output"):
        spool.confirm(record())
    assert len(refused) == 1
    assert found(folder)[PENDING] == set()
    assert (spool.pending(), spool.standing(T)) == ({}, None)
    assert spool.confirm(record())


def test_what_the_disk_refuses_is_held_and_said(spool: Spool, folder: Path) -> None:
    """Promises 2 and 5: held in memory, shown as not durable with the reason and the cure, written once it can be."""
    with failing(errno.EIO, *WRITES):
        with pytest.raises(OSError, match="Input/output") as refused:
            spool.confirm(held := record())
        spool.keep_in_memory(held, refused.value)
        spool.retry_failed_writes()
        assert spool.pending() == {T: held}
        assert (spool.not_durable(), spool.standing(T)) == ({T}, PENDING)
        assert "is held in memory only (input/output error; the SD card may be failing" in spool.problems()[0]
        assert spool.mark_sent(T, NOW)
    spool.retry_failed_writes()
    assert (spool.not_durable(), spool.problems()) == (frozenset(), ())
    assert again(folder).pending()[T].sent_at == NOW


def test_a_held_close_is_not_the_one_that_was_withdrawn(spool: Spool, folder: Path) -> None:
    """Promise 2: a close that only memory has is not dropped because an earlier one of its token was withdrawn."""
    spool.confirm(record())
    spool.withdraw(T, "button", NOW)
    with failing(errno.ENOSPC, "fsync"), pytest.raises(OSError, match="No space") as refused:
        spool.confirm(held := record())
    spool.keep_in_memory(held, refused.value)
    spool.refresh()
    assert spool.pending() == {T: held}
    spool.retry_failed_writes()
    assert again(folder).pending() == {T: held}


def test_withdrawing_what_only_memory_has(spool: Spool, folder: Path) -> None:
    """Promise 1: the button takes back a held close, too; and the earlier record of its token is not lost by it."""
    spool.confirm(record())
    spool.withdraw(T, "button", NOW)
    with failing(errno.EIO, "fsync"), pytest.raises(OSError, match="Input/output") as refused:
        spool.confirm(record())
    spool.keep_in_memory(record(), refused.value)
    assert spool.withdraw_or_keep(T, "button", LATER, unless_sent=True)
    assert (spool.pending(), spool.problems()) == ({}, ())
    assert states(folder, T) == [WITHDRAWN]
    assert facts(folder, WITHDRAWN)["withdrawn_at"] == LATER


def test_a_withdrawal_that_the_disk_refuses_is_owed(spool: Spool, folder: Path) -> None:
    """Promise 1: taken back at the button means not sent, even if the disk fails; it is written once it can be."""
    spool.confirm(record())
    with failing(errno.EIO, *WRITES):
        with pytest.raises(OSError, match="Input/output"):
            spool.withdraw(T, "command", NOW)
        assert spool.standing(T) == PENDING
        assert spool.withdraw_or_keep(T, "button", LATER, unless_sent=True)
        spool.refresh()
        spool.retry_failed_writes()
        assert (spool.pending(), spool.standing(T)) == ({}, WITHDRAWN)
        assert not spool.mark_sent(T, LATER)
        assert not spool.withdraw_or_keep(T, "button", LATER)
        assert "that FINISH-10K-token is withdrawn could not be written" in spool.problems()[0]
    spool.retry_failed_writes()
    assert (spool.problems(), states(folder, T)) == ((), [WITHDRAWN])
    assert facts(folder, WITHDRAWN)["withdrawn_by"] == "button"


@pytest.mark.parametrize("durable", [True, False])
def test_a_press_after_an_owed_withdrawal_is_a_close_of_its_own(spool: Spool, folder: Path, durable: bool) -> None:
    """Promise 2: the withdrawal that could not be written does not take the next close with it once it can be."""
    spool.confirm(record())
    second = record()
    with failing(errno.EIO, *WRITES):
        spool.withdraw_or_keep(T, "button", NOW)
        if not durable:
            spool.keep_in_memory(second, OSError(errno.EIO, ""))
    if durable:
        assert spool.confirm(second)
    spool.retry_failed_writes()
    assert spool.pending() == {T: second}
    assert again(folder).pending() == {T: second}


def test_that_rufus_closed_is_owed_where_the_disk_refuses(spool: Spool, folder: Path) -> None:
    """Promises 2 and 4: closed is closed for this life, said to be unwritten, and written once it can be."""
    spool.confirm(record())
    with failing(errno.EIO, *WRITES, "open"):
        spool.mark_closed(T, LATER)
        spool.refresh()
        assert (spool.pending(), spool.standing(T)) == ({}, CLOSED)
        assert "after a restart the close would be tried again" in spool.problems()[0]
    spool.retry_failed_writes()
    assert (spool.problems(), states(folder, T)) == ((), [CLOSED])
    assert facts(folder, CLOSED)["name"] == "FINISH-10K"


def test_what_rufus_closed_in_spite_of_an_owed_withdrawal(spool: Spool, folder: Path) -> None:
    """Promise 4: withdrawn in memory only, and closed by a call under way, is closed, with the facts it had."""
    spool.confirm(record())
    with failing(errno.EIO, *WRITES):
        spool.withdraw_or_keep(T, "button", NOW)
        spool.mark_closed(T, LATER)
    spool.retry_failed_writes()
    assert states(folder, T) == [CLOSED]
    assert (facts(folder, CLOSED)["name"], "withdrawn_at" in facts(folder, CLOSED)) == ("FINISH-10K", False)


def test_a_disk_that_does_not_answer_withdraws_nothing(spool: Spool) -> None:
    """Promise 2: where not even looking is possible, all closes stay, and are called unsafe."""
    spool.confirm(record())
    with failing(errno.EIO, *LOOKS):
        spool.refresh()
        assert spool.pending().keys() == spool.not_durable() == {T}
    spool.retry_failed_writes()
    assert (spool.pending().keys(), spool.problems()) == ({T}, ())


@pytest.mark.parametrize("then", ["refresh", "retry_failed_writes", "mark_sent"])
def test_a_withdrawal_counts_though_the_disk_had_not_answered_before(spool: Spool, command: Spool, then: str) -> None:
    """Promise 1: what a person took back on disk is not written back from memory, nor sent."""
    spool.confirm(record())
    with failing(errno.EIO, *LOOKS):
        spool.refresh()
    assert command.withdraw(T, "command", LATER)
    assert getattr(spool, then)(*((T, LATER) if then == "mark_sent" else ())) in (None, False)
    assert (spool.pending(), spool.standing(T)) == ({}, WITHDRAWN)


# -- disks that are full, out of inodes, or read-only: real ones


def mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, "tmpfs", str(folder)], check=True, timeout=60)


def apart(what: Callable[[Path], None], folder: Path) -> None:
    """Run a function of this file as root of a mount namespace, in a process of its own."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    try:
        probe = [*namespace, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
        subprocess.run(probe, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root, or namespaces for users")
    program = (
        "import pathlib, test_spool; test_spool.disk.MOUNTS = pathlib.Path('/dev/null');"
        f"test_spool.{what.__name__}(pathlib.Path({str(folder)!r}))"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [*namespace, sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def fill(disk: Path) -> Path:
    """Leave no block free."""
    filler = disk / "filler"
    with open(filler, "ab", buffering=0) as file:
        for size in (65536, 512):
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    file.write(bytes(size))
    return filler


def full_disk(disk: Path) -> None:
    mount(disk, "-t", "tmpfs", "-o", "size=1m")
    spool = again(disk / "state")
    ballast = spool.folder / "ballast"
    assert ballast.stat().st_blocks * 512 >= records.BALLAST_SIZE
    filler = fill(disk)
    assert spool.confirm(record())  # the ballast makes room
    assert not ballast.exists()
    assert again(spool.folder).pending().keys() == {T}
    filler = fill(disk)
    with pytest.raises(OSError, match="No space left") as refused:
        spool.confirm(record(U))
    spool.keep_in_memory(record(U), refused.value)
    assert found(spool.folder)[PENDING] == {f"{T}.json"}
    spool.retry_failed_writes()
    assert spool.not_durable() == {U}
    assert "no space left on device; free some space" in spool.problems()[-1]
    assert spool.mark_sent(T, NOW)
    spool.mark_closed(T, LATER)  # the rename needs no room
    assert states(spool.folder, T) == [CLOSED]
    filler.unlink()
    spool.retry_failed_writes()
    assert spool.problems() == ()
    assert spool.not_durable() == frozenset()
    assert ballast.exists()
    assert again(spool.folder).pending().keys() == {U}


def test_a_full_disk_still_takes_a_close(tmp_path: Path) -> None:
    """Promise 2: the ballast gives its room; what finds none is held; all is written, ballast too, once there is."""
    apart(full_disk, tmp_path)


def full_disk_and_no_ballast(disk: Path) -> None:
    mount(disk, "-t", "tmpfs", "-o", "size=1m")
    filler = fill(disk)
    spool = Spool(disk / "state")
    writes: list[str] = []
    sys.addaudithook(lambda name, what: writes.append(what[0]) if name == "open" and what[2] & os.O_CREAT else None)
    spool.recover()
    spool.retry_failed_writes()
    assert writes == []
    assert "no space left" in spool.problems()[0]
    os.truncate(filler, filler.stat().st_size - records.BALLAST_SIZE)
    spool.retry_failed_writes()
    assert writes == []
    os.truncate(filler, filler.stat().st_size - 2 * records.BALLAST_SIZE)
    spool.retry_failed_writes()
    assert str(writes[0]).endswith(".ballast.tmp")
    assert spool.problems() == ()


def test_a_full_disk_is_said_and_not_written_to_in_vain(tmp_path: Path) -> None:
    """Promise 5: with no room to spare there is a fault before any press, and no try at the ballast."""
    apart(full_disk_and_no_ballast, tmp_path)


def no_inodes(disk: Path) -> None:
    mount(disk, "-t", "tmpfs", "-o", "size=1m,nr_inodes=20")
    spool = again(disk / "state")
    with contextlib.suppress(OSError):
        for n in range(20):
            (disk / f"filler-{n}").touch()
    assert spool.confirm(record())
    assert again(spool.folder).pending().keys() == {T}
    with pytest.raises(OSError, match="No space left"):
        spool.confirm(record(U))
    spool.retry_failed_writes()
    assert "no inodes are left" in spool.problems()[0]
    spool.mark_closed(T, LATER)
    assert states(spool.folder, T) == [CLOSED]


def test_a_disk_without_inodes_still_takes_a_close(tmp_path: Path) -> None:
    """Promise 2: the ballast gives its inode, too."""
    apart(no_inodes, tmp_path)


def read_only_disk(disk: Path) -> None:
    mount(disk, "-t", "tmpfs")
    again(disk / "state").confirm(record())
    mount(disk, "-o", "remount,ro")
    spool = Spool(disk / "state")
    spool.lock()
    spool.recover()
    assert spool.pending().keys() == {T}
    assert "read-only file system; the SD card may be failing" in spool.problems()[0]
    with pytest.raises(OSError, match="Read-only") as refused:
        spool.confirm(record(U))
    spool.keep_in_memory(record(U), refused.value)
    for token in (T, U):
        assert spool.mark_sent(token, NOW)
    spool.mark_closed(U, LATER)
    spool.refresh()
    spool.retry_failed_writes()
    assert spool.pending().keys() == {T}
    assert spool.standing(U) == CLOSED
    mount(disk, "-o", "remount,rw")
    spool.retry_failed_writes()
    assert spool.problems() == ()
    assert (states(spool.folder, T), states(spool.folder, U)) == ([PENDING], [CLOSED])


def test_a_read_only_disk_delays_nothing(tmp_path: Path) -> None:
    """Promises 2 and 5: what is on it is delivered, what comes is held, and the fault says that the card may fail."""
    apart(read_only_disk, tmp_path)


def read_only_and_empty_disk(disk: Path) -> None:
    mount(disk, "-t", "tmpfs", "-o", "ro")
    spool = Spool(disk / "state")
    spool.lock()
    spool.recover()
    assert "read-only file system" in spool.problems()[0]
    with pytest.raises(OSError, match="Read-only") as refused:
        spool.confirm(record())
    spool.keep_in_memory(record(), refused.value)
    assert spool.withdraw_or_keep(T, "button", LATER)
    assert spool.pending() == {}


def test_a_state_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    """Promise 2: the station starts, and holds closes in memory."""
    apart(read_only_and_empty_disk, tmp_path)


def idle(folder: Path) -> None:
    again(folder).confirm(record())
    spool = again(folder)
    spool.mark_sent(T, NOW)
    changes: list[object] = []

    def note(name: str, what: tuple[Any, ...]) -> None:
        writing = name == "open" and what[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writing or name in ("os.rename", "os.remove", "os.mkdir", "os.chown", "os.utime", "os.truncate"):
            changes.append((name, what))

    sys.addaudithook(note)
    for _ in range(3):
        spool.refresh()
        spool.retry_failed_writes()
        spool.mark_sent(T, LATER)
        spool.confirm(record())
        spool.records.history(PENDING)
    spool.recover()
    assert changes == []
    spool.confirm(record(U))
    assert changes  # the hook does see


def test_looking_and_retrying_write_nothing(tmp_path: Path) -> None:
    """Promise 2: while nothing is owed no file is touched, however long a station is offline."""
    apart(idle, tmp_path)


# -- a file system that forgets


def mounted(folder: Path, kind: str) -> str:
    """A line of mountinfo: the file system that a folder is on is of this kind."""
    device = os.stat(folder).st_dev
    return f"36 35 {os.major(device)}:{os.minor(device)} / /mnt\\040x rw,noatime master:1 - {kind} {kind} rw,x=y\n"


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel says is mounted."""
    monkeypatch.setattr(disk, "MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text("22 1 0:1 / /proc rw - proc proc rw\n")
    return tmp_path / "mounts"


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "rootfs", "overlay", "fuse.fuse-overlayfs"])
def test_what_is_in_memory_is_sent_but_not_said_to_be_safe(mounts: Path, tmp_path: Path, kind: str) -> None:
    """Promises 2 and 5: a fault before any press; a close is confirmed and known, but never as one on disk."""
    mounts.write_text(mounts.read_text() + mounted(tmp_path, kind))
    spool = again(tmp_path / "state")
    assert f"state folder {spool.folder} is on {kind}, which a power cut may empty: " in spool.problems()[0]
    assert spool.confirm(record())
    assert spool.not_durable() == {T}
    spool.mark_closed(T, LATER)
    assert spool.not_durable() == frozenset()


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "f2fs", "fuse", "nfs4"])
def test_a_disk_is_no_risk(mounts: Path, folder: Path, tmp_path: Path, kind: str) -> None:
    """Nor is one that the kernel lists elsewhere, beside any number of others in memory."""
    mounts.write_text("25 24 0:0 / /dev/shm rw - tmpfs tmpfs rw\n" + mounted(tmp_path, kind))
    spool = again(folder)
    assert spool.problems() == ()
    spool.confirm(record())
    assert spool.not_durable() == frozenset()


def test_a_folder_that_comes_to_be_in_memory_is_noticed(mounts: Path, folder: Path, tmp_path: Path) -> None:
    """And one that does so no more."""
    spool = again(folder)
    spool.confirm(record())
    mounts.write_text(mounted(tmp_path, "tmpfs"))
    spool.retry_failed_writes()
    assert spool.not_durable() == {T}
    mounts.write_text("")
    spool.retry_failed_writes()
    assert (spool.not_durable(), spool.problems()) == (frozenset(), ())


def test_training_may_be_in_memory(mounts: Path, folder: Path, tmp_path: Path) -> None:
    """What only pretends, in a temporary folder, gives no false alarm."""
    mounts.write_text(mounted(tmp_path, "tmpfs"))
    spool = Spool(folder, training=True)
    spool.recover()
    spool.confirm(record())
    assert (spool.not_durable(), spool.problems()) == (frozenset(), ())


def test_a_risk_is_seen_before_the_folder_is_there(mounts: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """`rufusd check` comes before the first start; a path may be relative, and the kernel may say nothing."""
    mounts.write_text(mounted(tmp_path, "tmpfs"))
    assert "tmpfs" in disk.volatile_mount(tmp_path / "not" / "yet")
    monkeypatch.chdir(tmp_path)
    assert "tmpfs" in disk.volatile_mount(Path("not/yet"))
    mounts.unlink()
    assert disk.volatile_mount(tmp_path) == ""


# -- other processes


HOLDER = (
    "import sys; from pathlib import Path; from rufusd.adapters.closes.spool import Spool\n"
    "Spool(Path(sys.argv[1])).lock(); print('locked', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_one_daemon_has_a_state_folder(folder: Path, end: str) -> None:
    """Promise 1: a second one is refused, and told the first's process id, until that has ended in any way."""
    arguments = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        spool = Spool(folder)
        with pytest.raises(StateFolderLocked, match=f"^process {process.pid}$"):
            spool.lock()
        assert spool.daemon_lock._locks == []
        assert Spool(folder).confirm(record())  # which a command still can
        if end == "kill":
            process.kill()
        process.communicate(timeout=60)
        spool.lock()
    with pytest.raises(StateFolderLocked):
        Spool(folder).lock()
    spool.daemon_lock.release()
    Spool(folder).lock()


def test_a_lock_whose_holder_cannot_be_told(folder: Path, monkeypatch: Any) -> None:
    """Promise 5: without /proc/locks the refusal still is one."""
    spool = Spool(folder)
    spool.lock()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "\n1: FLOCK\n")
    with pytest.raises(StateFolderLocked, match=r"^another process$"):
        Spool(folder).lock()
    spool.daemon_lock.release()


COMMANDS = """
import sys
from pathlib import Path
from rufusd.core.record import ELSEWHERE, Record
from rufusd.adapters.closes.spool import Spool
print("ready", flush=True)
for line in sys.stdin:
    step, token = line.split()
    spool = Spool(Path(sys.argv[1]))
    taken = spool.confirm(Record(token, uptime=1.0)) if step == "confirm" else spool.withdraw(token, "command", "now")
    print(int(bool(taken)), flush=True)
"""


@pytest.fixture
def other(folder: Path) -> Iterator[tuple[Callable[[str, str], None], Callable[[], bool]]]:
    """Another process that takes a command's steps: one function to begin a step, one for what came of it."""
    arguments = [sys.executable, "-c", COMMANDS, str(folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        ask, answers = process.stdin, process.stdout
        answers.readline()

        def begin(step: str, token: str) -> None:
            ask.write(f"{step} {token}\n")
            ask.flush()

        yield begin, lambda: answers.readline() == "1\n"
        process.kill()


def spin(number: int) -> None:
    """Shift the two processes against each other, by 0 to 2 ms, so that every overlap has its turn."""
    until = time.perf_counter() + number % 20 * 1e-4
    while time.perf_counter() < until:
        pass


def test_two_processes_never_both_withdraw_and_send(spool: Spool, folder: Path, other: Any) -> None:
    """Promises 1 and 2: of a withdrawal and a call at the same moment, either knows of the other; neither is lost."""
    begin, answer = other
    for number in range(80):
        token = f"session-{number}"
        spool.confirm(record(token))
        begin("withdraw", token)
        spin(number)
        sent = spool.mark_sent(token, NOW)
        assert answer()
        assert states(folder, token) == [WITHDRAWN]
        assert facts(folder, WITHDRAWN, token).get("sent_at") == (NOW if sent else None)
        assert not spool.mark_sent(token, LATER)
    assert spool.problems() == ()


def test_two_processes_never_both_take_back_what_is_withdrawn(spool: Spool, folder: Path, other: Any) -> None:
    """Promise 5: the button and the command at the same moment: one of them did it, and its name is on the record."""
    begin, answer = other
    for number in range(40):
        token = f"session-{number}"
        spool.confirm(record(token))
        begin("withdraw", token)
        spin(number)
        button = spool.withdraw_or_keep(token, "button", NOW, unless_sent=True)
        assert answer() != button
        assert facts(folder, WITHDRAWN, token)["withdrawn_by"] == ("button" if button else "command")
        assert states(folder, token) == [WITHDRAWN]


def test_two_processes_confirm_a_token_once(spool: Spool, folder: Path, other: Any) -> None:
    """Promise 2: of the button and a script at the same moment one confirms, and the other says so."""
    begin, answer = other
    for number in range(40):
        token = f"session-{number}"
        begin("confirm", token)
        spin(number)
        here = spool.confirm(record(token))
        assert answer() != here
        assert (
            facts(folder, PENDING, token)["uptime"] != 1.0 if here else facts(folder, PENDING, token)["uptime"] == 1.0
        )


def test_closing_and_a_command_at_the_same_moment(spool: Spool, folder: Path, other: Any) -> None:
    """Promise 4: what RUFUS closed ends as closed, whether a command took it back at that moment or not."""
    begin, answer = other
    for number in range(40):
        token = f"session-{number}"
        spool.confirm(record(token))
        begin("withdraw", token)
        spin(number)
        spool.mark_closed(token, LATER)
        answer()
        assert states(folder, token) == [CLOSED]


def test_what_commands_do_is_seen(spool: Spool, command: Spool) -> None:
    """Promise 5: a close that a command confirms or withdraws is so for the daemon at its next look."""
    confirmed = record()
    command.confirm(confirmed)
    assert spool.pending() == {}
    spool.refresh()
    assert spool.pending() == {T: confirmed}
    command.withdraw(T, "command", LATER)
    spool.refresh()
    assert spool.pending() == {}
    assert spool.problems() == ()


def test_a_step_knows_what_a_command_did_since_the_last_look(spool: Spool, command: Spool) -> None:
    """Promise 1: withdrawn a moment ago is not sent, and not in the way of the next press."""
    spool.confirm(record())
    command.withdraw(T, "command", NOW)
    assert not spool.mark_sent(T, LATER)
    command.confirm(record())
    command.withdraw(T, "command", NOW)
    assert spool.confirm(record())


def test_a_record_that_moves_while_it_is_listed(spool: Spool, folder: Path, monkeypatch: Any) -> None:
    """Promise 5: one record's move hides none of the others from `rufusd status`, and it is not shown twice."""
    for token in (T, U, V):
        spool.confirm(record(token))
    real = os.scandir

    @contextlib.contextmanager
    def listing(path: Any) -> Iterator[Any]:
        with real(path) as entries:
            listed = list(entries)
        os.rename(folder / PENDING / f"{U}.json", folder / WITHDRAWN / f"{U}.json")
        yield listed

    monkeypatch.setattr(os, "scandir", listing)
    assert spool.records.history(PENDING).keys() == {T, V}


def test_a_record_that_moves_while_it_is_taken_up(spool: Spool, command: Spool, folder: Path, monkeypatch: Any) -> None:
    """Promise 1: a close that is withdrawn between being listed and being read is not taken up."""
    command.confirm(record())
    real = os.scandir
    with monkeypatch.context() as patch:

        @contextlib.contextmanager
        def listing(path: Any) -> Iterator[Any]:
            with real(path) as entries:
                listed = list(entries)
            os.rename(folder / PENDING / f"{T}.json", folder / WITHDRAWN / f"{T}.json")
            yield listed

        patch.setattr(os, "scandir", listing)
        spool.refresh()
    assert spool.pending() == {}


def test_a_process_that_hangs_in_a_step_holds_up_nothing(spool: Spool, folder: Path, monkeypatch: Any) -> None:
    """Promises 2 and 5: after a while the daemon goes on without the disk, and says what to do."""
    spool.confirm(record())
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.05)
    hung = os.open(folder / PENDING, os.O_RDONLY)
    fcntl.flock(hung, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError) as refused:
        spool.confirm(record(U))
    spool.keep_in_memory(record(U), refused.value)
    assert "another rufusd command hangs, end it" in spool.problems()[0]
    with pytest.raises(BlockingIOError):
        spool.withdraw(T, "command", LATER)
    assert spool.mark_sent(T, NOW) is None  # which may be the step that withdraws it
    monkeypatch.setattr(module, "HANGS", 0)
    assert spool.mark_sent(T, NOW)
    spool.mark_closed(T, LATER)
    assert spool.standing(T) == CLOSED
    os.close(hung)
    spool.retry_failed_writes()
    assert spool.problems() == ()
    assert (states(folder, T), states(folder, U)) == ([CLOSED], [PENDING])


@pytest.mark.parametrize("call", ["open", "lstat"])
def test_what_a_command_withdrew_is_not_sent_because_the_card_cannot_be_read(
    spool: Spool, command: Spool, call: str
) -> None:
    """Promise 1: a card that fails for a moment right after a withdrawal does not hide the withdrawal."""
    spool.confirm(record())
    command.withdraw(T, "command", LATER)
    with failing(errno.EIO, call):
        assert spool.mark_sent(T, LATER) is None
        assert "input/output error" in spool.problems()[0]
    assert spool.mark_sent(T, LATER) is False


def test_a_card_that_cannot_be_read_any_more_holds_up_a_close_for_seconds_only(spool: Spool, monkeypatch: Any) -> None:
    """Promise 2: where the card is dead, the close is sent all the same, and the next one without a wait."""
    spool.confirm(record())
    spool.confirm(record(U))
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with failing(errno.EIO, "open"):
        assert spool.mark_sent(T, LATER) is spool.mark_sent(U, LATER) is None
        clock[0] += module.UNREADABLE - 0.1
        assert spool.mark_sent(T, LATER) is None
        clock[0] += 0.2
        assert spool.mark_sent(T, LATER)
        assert spool.mark_sent(U, LATER)


def test_how_long_the_disk_has_not_told_is_counted_for_each_close_and_reason(spool: Spool, monkeypatch: Any) -> None:
    """Promise 1: an error of an hour ago, or of another close, is no reason to send this one without a wait."""
    spool.confirm(record())
    spool.confirm(record(U))
    clock = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    for pause in (module.UNREADABLE, 3600.0):
        with failing(errno.EAGAIN, "open"):
            assert spool.mark_sent(T, LATER) is None
        clock[0] += pause
        with failing(errno.EIO, "open"):
            assert spool.mark_sent(T, LATER) is spool.mark_sent(U, LATER) is None
    assert spool.mark_sent(T, LATER)
    clock[0] += module.UNREADABLE
    with failing(errno.EIO, "open"):
        assert spool.mark_sent(T, LATER) is None


@pytest.mark.parametrize("state", [CLOSED, WITHDRAWN])
def test_a_folder_of_ended_closes_that_cannot_be_read_holds_up_a_call(spool: Spool, command: Spool, state: str) -> None:
    """Promise 1: the close may be there."""
    spool.confirm(record())
    command.withdraw(T, "command", LATER)
    with failing(errno.EIO, "lstat", where=lambda path: state in path):
        assert spool.mark_sent(T, LATER) is None
    assert spool.mark_sent(T, LATER) is False


def test_a_disk_that_answers_only_at_the_last_look_is_believed(spool: Spool, command: Spool, monkeypatch: Any) -> None:
    """Promise 1: it did not tell as the step began."""
    spool.confirm(record())
    command.withdraw(T, "command", LATER)
    lstat, failures = os.lstat, iter([True, True])

    def refuses(path: Any, **more: Any) -> Any:
        if next(failures, False):
            raise OSError(errno.EIO, "")
        return lstat(path, **more)

    monkeypatch.setattr(os, "lstat", refuses)
    assert spool.mark_sent(T, LATER) is False


def test_what_this_station_has_closed_is_not_found_closed_elsewhere(spool: Spool) -> None:
    """Promise 4: a second read that finds it closed changes nothing of its record."""
    spool.confirm(record())
    spool.mark_closed(T, LATER, 1)
    spool.mark_closed(T, NOW, 0, ELSEWHERE)
    assert spool.closed_how(T) == ""
    assert spool.records.read(CLOSED, T) == replace(spool.records.read(CLOSED, T), closed_at=LATER, attempts=1)


def test_a_step_waits_for_another_processs_step(spool: Spool, folder: Path) -> None:
    """Promise 2: a short one is waited for."""
    other = os.open(folder / PENDING, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    timer = threading.Timer(0.05, os.close, [other])
    timer.start()
    assert spool.confirm(record())
    timer.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for another user")
def test_what_roots_command_makes_belongs_to_the_daemon(folder: Path) -> None:
    """Promise 2: the daemon can read and move what root confirmed with `sudo`, whatever root's umask was."""
    folder.mkdir()
    os.chown(folder, 12345, 54321)
    before = os.umask(0o077)
    try:
        Spool(folder).confirm(record())
    finally:
        os.umask(before)
    made = [*(folder / state for state in STATES), folder / PENDING / f"{T}.json"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 54321)}


def test_roots_command_follows_no_link(spool: Spool, folder: Path, tmp_path: Path) -> None:
    """Promise 6: whoever has the daemon's user gets no file elsewhere overwritten by root's command."""
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (folder / PENDING / f".{T}.json.tmp").symlink_to(victim)
    assert spool.confirm(record())
    assert victim.read_text(encoding="utf-8") == "precious"
    assert states(folder, T) == [PENDING]


# -- what another process or life has written, and what somebody has put there


@contextlib.contextmanager
def syncs() -> Iterator[list[str]]:
    """The folders of the spool that are synced meanwhile, by name."""
    real, seen = os.fsync, []

    def fsync(file: int) -> None:
        real(file)
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if path.is_dir():
            seen.append(path.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield seen


def killed_before_its_fsync(step: Callable[[], object]) -> None:
    """Take a step as a process does that is killed just before the `fsync` of a folder: its rename has been made."""
    real, rename, renamed = os.fsync, os.rename, []

    class Kill(BaseException):
        pass

    def fsync(file: int) -> None:
        if renamed and Path(os.readlink(f"/proc/self/fd/{file}")).name in STATES:
            raise Kill
        real(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", lambda *names: (rename(*names), renamed.append(names)))
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(Kill):
            step()


def test_what_a_killed_confirmation_left_is_synced_by_the_next_life(spool: Spool, folder: Path) -> None:
    """Promise 2: a file in the page cache is not said to be durable: first its folder is synced."""
    killed_before_its_fsync(lambda: spool.confirm(record()))
    with syncs() as synced:
        started = again(folder)
        assert started.pending().keys() == {T}
        assert started.not_durable() == frozenset()
    assert PENDING in synced


@pytest.mark.parametrize("step", ["withdraw", "closed"])
def test_what_a_killed_ending_left_is_synced_by_the_next_life(spool: Spool, folder: Path, step: str) -> None:
    """Promises 1 and 2: an ended close is in no folder of a new life's knowledge, and must not come back by a cut."""
    spool.confirm(record())
    steps = {"withdraw": lambda: spool.withdraw(T, "command", LATER), "closed": lambda: spool.mark_closed(T, LATER)}
    killed_before_its_fsync(steps[step])
    with syncs() as synced:
        again(folder)
    ended = WITHDRAWN if step == "withdraw" else CLOSED
    assert synced.index(ended) < len(synced) - 1 - synced[::-1].index(PENDING)


def test_a_new_life_whose_disk_refuses_to_sync_says_so(spool: Spool, folder: Path) -> None:
    """Promise 2: until it is synced it is not safe; and it becomes so once the disk works again."""
    killed_before_its_fsync(lambda: spool.confirm(record()))
    with failing(errno.EIO, "fsync"):
        started = again(folder)
        assert started.not_durable() == {T}
        assert any(T in problem for problem in started.problems())
    with syncs() as synced:
        started.retry_failed_writes()
    assert {PENDING, CLOSED, WITHDRAWN} <= set(synced)
    assert (started.not_durable(), started.problems()) == (frozenset(), ())


def test_an_ended_close_that_cannot_be_synced_by_the_next_life_is_said(spool: Spool, folder: Path) -> None:
    """Promise 5: the fault stays at each look until the disk has synced."""
    spool.confirm(record())
    spool.withdraw(T, "command", LATER)
    with failing(errno.EIO, "fsync", where=lambda path: path.endswith(WITHDRAWN)):
        started = again(folder)
        started.retry_failed_writes()
        assert started.problems()
    started.retry_failed_writes()
    assert started.problems() == ()


def test_the_daemon_syncs_what_a_killed_command_confirmed(spool: Spool, command: Spool) -> None:
    """Promise 2: it is synced once, when it is found, and never again while the station is idle."""
    killed_before_its_fsync(lambda: command.confirm(record()))
    with syncs() as synced:
        for _ in range(5):
            spool.refresh()
    assert synced == [PENDING]
    assert spool.not_durable() == frozenset()


def test_the_daemon_that_cannot_sync_a_commands_close_calls_it_unsafe(spool: Spool, command: Spool) -> None:
    """Promise 2: what a command confirmed is owed until it is synced."""
    killed_before_its_fsync(lambda: command.confirm(record()))
    with failing(errno.EIO, "fsync"):
        spool.refresh()
        assert "is written, but a power cut may undo it (input/output error" in spool.problems()[0]
    assert spool.not_durable() == {T}
    assert not any("in memory only" in problem for problem in spool.problems())
    spool.retry_failed_writes()
    assert spool.not_durable() == frozenset()


def test_the_daemon_syncs_what_a_killed_command_withdrew(spool: Spool, command: Spool, folder: Path) -> None:
    """Promise 1: the new folder before the old one; where that fails the withdrawal is owed."""
    for refuses in (False, True):
        spool.confirm(record())
        killed_before_its_fsync(lambda: command.withdraw(T, "command", LATER))
        if refuses:
            with failing(errno.EIO, "fsync"):
                spool.refresh()
            assert "is withdrawn is written, but a power cut may undo it (input/output error" in spool.problems()[0]
            spool.retry_failed_writes()
        else:
            with syncs() as synced:
                spool.refresh()
            assert synced == [WITHDRAWN, PENDING]
        assert (spool.pending(), spool.problems(), states(folder, T)) == ({}, (), [WITHDRAWN])


def test_what_this_process_has_written_is_not_synced_twice(spool: Spool) -> None:
    """Promise 2, and an SD card that lasts: its own steps were synced when they were taken."""
    spool.confirm(record())
    spool.mark_sent(T, NOW)
    spool.confirm(record(U))
    spool.withdraw(U, "button", NOW)
    with syncs() as synced:
        spool.refresh()
    assert synced == []


def test_a_command_syncs_a_state_before_it_tells_it(spool: Spool, command: Spool) -> None:
    """Promise 2: "is pending already" and "is withdrawn already" are said of the disk, not of its cache."""
    killed_before_its_fsync(lambda: command.confirm(record()))
    with syncs() as synced:
        assert Spool(spool.folder).vouched(T) == PENDING
    assert synced == [PENDING]
    killed_before_its_fsync(lambda: command.withdraw(T, "command", LATER))
    with syncs() as synced:
        assert Spool(spool.folder).vouched(T) == WITHDRAWN
    assert synced == [WITHDRAWN, PENDING]
    with failing(errno.EIO, "fsync"), pytest.raises(OSError, match="Input/output"):
        Spool(spool.folder).vouched(T)
    assert Spool(spool.folder).vouched(V) is None


@pytest.mark.parametrize(
    "name", ["../../x/elsewhere", "/etc/passwd-or-so", "short", "", "." * 12, "a" * 129, "eight\n89"]
)
def test_no_path_is_taken_for_a_token(spool: Spool, tmp_path: Path, name: str) -> None:
    """Promise 6: what is no token names no file: nothing is moved, nothing is written."""
    (tmp_path / "x").mkdir()
    victim = tmp_path / "x" / "elsewhere.json"
    victim.write_text("{}", encoding="utf-8")
    for step in (
        lambda: spool.withdraw(name, "command", NOW),
        lambda: spool.confirm(record(name)),
        lambda: spool.standing(name),
        lambda: spool.vouched(name),
        lambda: spool.records.path(PENDING, name),
    ):
        with pytest.raises(OSError, match="Invalid argument"):
            step()
    assert victim.read_text(encoding="utf-8") == "{}"
    assert found(spool.folder) == {state: set() for state in STATES}


def test_a_folder_that_is_a_link_is_not_followed(spool: Spool, folder: Path, tmp_path: Path) -> None:
    """Promise 6: root's command takes no step in a folder that somebody else has put in the place of ours."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / PENDING).rmdir()
    (folder / PENDING).symlink_to(elsewhere)
    with pytest.raises(OSError, match="Not a directory"):
        spool.confirm(record())
    assert list(elsewhere.iterdir()) == []
    spool.retry_failed_writes()
    assert "remove the file that is in the folder's place" in spool.problems()[0]


def test_the_state_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """The administrator may move it to another disk."""
    (tmp_path / "usb").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "usb")
    made = again(tmp_path / "state")
    assert made.confirm(record())
    assert states(tmp_path / "usb", T) == [PENDING]
    assert made.problems() == ()


def test_a_file_of_two_names_is_not_written_into(spool: Spool, folder: Path, tmp_path: Path) -> None:
    """Promise 6: a hard link that somebody has put there gets nothing elsewhere overwritten."""
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    os.link(victim, folder / PENDING / f".{T}.json.tmp")
    assert spool.confirm(record())
    assert victim.read_text(encoding="utf-8") == "precious"
    assert states(folder, T) == [PENDING]


@pytest.mark.parametrize("put", [os.link, os.symlink])
def test_a_link_that_comes_at_the_last_moment_is_not_written_into(
    spool: Spool, tmp_path: Path, put: Callable[[Path, Path], None], monkeypatch: Any
) -> None:
    """Promise 6: not even one that comes between a look and the opening: root's command writes new files only."""
    victim, opened, puts = tmp_path / "victim", os.open, []
    victim.write_text("precious", encoding="utf-8")

    def quick(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith(".tmp"):
            puts.append(path)
            with contextlib.suppress(FileExistsError):
                put(victim, path)
        return opened(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", quick)
        for step in (lambda: spool.confirm(record()), lambda: spool.notes.keep_tables(["button"])):
            with pytest.raises(OSError, match=r"File exists|Too many|exists"):
                step()
        spool.retry_failed_writes()  # the ballast
    assert {Path(each).name for each in puts} >= {f".{T}.json.tmp", ".tables.tmp"}
    assert victim.read_text(encoding="utf-8") == "precious"
    assert spool.confirm(record())


def test_what_stands_in_the_place_of_the_tables_is_not_followed_nor_waited_for(
    spool: Spool, folder: Path, tmp_path: Path
) -> None:
    """Promises 5 and 6: root's `rufusd check` reads no link of the daemon's user, and hangs at no pipe."""
    (tmp_path / "elsewhere").write_text("secret\n", encoding="utf-8")
    (folder / "tables").symlink_to(tmp_path / "elsewhere")
    assert spool.notes.tables() == ()
    (folder / "tables").unlink()
    os.mkfifo(folder / "tables")
    assert spool.notes.tables() == ()
    kept_open = os.open(folder / "tables", os.O_RDWR)
    assert spool.notes.tables() == ()
    os.close(kept_open)
    spool.notes.keep_tables(["button"])
    assert spool.notes.tables() == ("button",)


def test_a_second_close_of_a_token_has_its_own_facts(spool: Spool, folder: Path) -> None:
    """Promise 4: a close that follows a withdrawn one of its token shows nothing of the first."""
    spool.confirm(record(reason="first"))
    spool.mark_sent(T, NOW)
    spool.withdraw(T, "button", NOW)
    spool.confirm(record(reason="second"))
    started = again(folder)
    assert (started.pending()[T].reason, started.pending()[T].sent_at) == ("second", "")
    started.mark_closed(T, LATER, 3)
    closed = facts(folder, CLOSED)
    assert (closed["reason"], closed["attempts"], closed["closed_at"]) == ("second", 3, LATER)
    assert not {"sent_at", "withdrawn_at", "withdrawn_by"} & closed.keys()


@pytest.mark.parametrize(("files", "free", "cure"), [(100, 0, "df -i"), (0, 0, "free some space"), (9, 9, "free some")])
def test_a_disk_without_inodes_is_said_to_be_so(
    spool: Spool, monkeypatch: Any, files: int, free: int, cure: str
) -> None:
    """Promise 5: more space does not help where the disk has too many files; some file systems count none."""
    real = os.statvfs(spool.folder)
    counted = os.statvfs_result((*real[:5], files, free, free, *real[8:10]))
    monkeypatch.setattr(os, "statvfs", lambda _: counted)
    spool.keep_in_memory(record(), OSError(errno.ENOSPC, ""))
    assert cure in spool.problems()[0]


def test_a_disk_without_inodes_for_the_first_folder_is_said_to_be_so(tmp_path: Path, monkeypatch: Any) -> None:
    """Promise 5: also where the state folder cannot even be made."""
    look = os.statvfs

    def without(path: Path) -> os.statvfs_result:
        real = look(path)
        return os.statvfs_result((*real[:5], 100, 0, 0, *real[8:10]))

    monkeypatch.setattr(os, "statvfs", without)
    spool = Spool(tmp_path / "not" / "there")
    spool.keep_in_memory(record(), OSError(errno.ENOSPC, ""))
    assert "df -i" in spool.problems()[0]


# -- much, and at once


@pytest.mark.usefixtures("spool")
def test_ten_thousand_pending_closes_load_in_bounded_time(folder: Path) -> None:
    """Promise 2: a long queue does not keep the station from starting, and a look at it stays cheap."""
    (folder / "one").write_text(record().to_json(), encoding="utf-8")
    for number in range(10_000):
        os.link(folder / "one", folder / PENDING / f"session-{number}.json")
    began = time.process_time()  # which other programs do not lengthen
    started = again(folder)
    loaded = time.process_time()
    started.refresh()
    looked = time.process_time()
    assert len(started.pending()) == 10_000
    assert loaded - began < 10
    assert looked - loaded < 1


def test_two_threads_take_steps_at_once(spool: Spool, folder: Path) -> None:
    """Promises 1 and 2: the courier sends and closes while the loop confirms and takes back; each close ends once."""
    tokens = [f"session-{number}" for number in range(60)]
    confirmed = threading.Semaphore(0)
    errors: list[BaseException] = []
    sent: dict[str, bool] = {}

    def courier() -> None:
        try:
            for token in tokens:
                assert confirmed.acquire(timeout=60)
                sent[token] = spool.mark_sent(token, NOW)
                if sent[token]:
                    spool.mark_closed(token, LATER)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=courier)
    thread.start()
    withdrawn = {}
    for number, token in enumerate(tokens):
        assert spool.confirm(record(token))
        confirmed.release()
        spin(number)
        withdrawn[token] = spool.withdraw_or_keep(token, "button", NOW, unless_sent=True)
        spool.refresh()
        assert spool.not_durable() == frozenset()
    thread.join(60)
    assert errors == []
    for token in tokens:
        assert sent[token] is not withdrawn[token]
        assert states(folder, token) == [CLOSED if sent[token] else WITHDRAWN]
    assert (spool.pending(), spool.problems()) == ({}, ())


# -- what people read


def test_history_has_the_newest_last(spool: Spool, folder: Path) -> None:
    """Promise 5: `rufusd status` can show the last ones."""
    for when in range(20):
        spool.confirm(record(f"session-{when}"))
        spool.mark_closed(f"session-{when}", LATER)
        os.utime(folder / CLOSED / f"session-{when}.json", (when * 7 % 20, when * 7 % 20))
    assert list(spool.records.history(CLOSED)) == [f"session-{when * 3 % 20}" for when in range(20)]
    assert spool.records.history(CLOSED)["session-1"].closed_at == LATER
    assert spool.records.history(PENDING) == {}


def test_history_that_cannot_be_listed_is_an_error(spool: Spool) -> None:
    """Promise 5: what may not be seen is not shown as nothing."""
    spool.confirm(record())
    with failing(errno.EACCES, "scandir"), pytest.raises(PermissionError):
        spool.records.history(PENDING)


def test_an_error_says_what_to_do(spool: Spool) -> None:
    """Promise 5: a problem of the disk names its cure, where one is known."""
    said = {}
    for number in (errno.EACCES, errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ELOOP):
        spool.keep_in_memory(record(), OSError(number, ""))
        said[number] = spool.problems()[0].partition("(")[2].partition(")")[0]
    spool.keep_in_memory(record(), OSError("something else"))
    assert said[errno.EACCES] == (
        f"permission denied; give it to the user that rufusd runs as: `sudo chown -R rufusd: {spool.folder}`"
    )
    assert said[errno.EIO].endswith("; the SD card may be failing, copy it and replace it")
    assert said[errno.ENOSPC].endswith("; free some space")
    assert said[errno.EDQUOT].endswith("; free some space")
    assert said[errno.ELOOP] == os.strerror(errno.ELOOP).lower()
    assert "(something else)" in spool.problems()[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another_user_is_said(spool: Spool, folder: Path) -> None:
    """Promise 5: the fault comes before the press that it would cost."""
    (folder / PENDING).chmod(0o555)
    spool.retry_failed_writes()
    assert "give it to the user that rufusd runs as" in spool.problems()[0]
    (folder / PENDING).chmod(0o755)
