"""Every system call: the daemon and its commands fail at each call that touches the state folder or the socket.

Promise 2 (never lost) and promise 1 (never by accident), at every point: what was confirmed is delivered exactly once,
and for what was not confirmed RUFUS is never called.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from families import Family
from forked import Forge
from stations import Fresh, Station, until

from rufusd.training.sandbox import Sandbox

BUTTON = {"bounce_time": 0, "hold_time": 0.05}
CONFIRMED = {"grace", "pending", "closed", "fault_pending"}
_numbers = itertools.count()


class Trial:
    """One station and one RUFUS, for one point."""

    def __init__(self, folder: Path, forge: Any, point: int = 0, action: str = "", always: bool = False) -> None:
        self.folder = folder / f"trial{next(_numbers)}"
        self.folder.mkdir()
        self.rufus = Sandbox()
        self.rufus.start()
        self.token = self.rufus.add_session("FINISH-10K")
        api = {"url": self.rufus.url, "key": self.rufus.keys["READ_WRITE"]}
        self.station = Station(self.folder / "s", api=api, session={"token": self.token}, button=BUTTON)
        self.points = self.folder / "points"
        self.station.launcher = forge
        self.env = {"FAULT_DIR": str(self.station.state), "FAULT_LOG": str(self.points)}
        if action:
            self.env.update({"FAULT_AT": str(point), "FAULT_ACTION": action})
        self.always = always
        if always:
            self.env["FAULT_ALWAYS"] = "yes"

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        if self.station.process:
            self.station.stop()
        self.rufus.stop()

    @property
    def on_disk(self) -> bool:
        """Whether the close was confirmed, by the disk's word: the rename is the confirmation."""
        return bool(self.station.records("pending") or self.station.records("closed"))

    @property
    def called(self) -> bool:
        """Whether RUFUS was asked to close."""
        return any(call.method == "PATCH" for call in self.rufus.calls)

    @property
    def closed(self) -> bool:
        """Whether RUFUS has the session closed, once."""
        session = self.rufus.session(self.token)
        return not session.active and session.closes == 1

    def ending(self) -> str:
        """How a station ended that should run on: its status, its last words, and the last calls that it came to."""
        process = self.station.process
        calls = self.points.read_text(encoding="utf-8").splitlines() if self.points.exists() else []
        shown, logged = self.station.read(), self.station.logged()
        return (
            f"it has ended with status {process.poll()} (minus the number of a signal that ended it); it showed "
            f"{shown[-5:]} and logged {logged[-2000:]!r}; of {len(calls)} calls the last were {calls[-3:]}"
        )

    def plays(self) -> bool:
        """Start the station, press, and wait until it shows the end; False where it ends itself on the way.

        The end is "closed", but where the disk fails for good: there a fault is shown, whatever RUFUS says.
        """
        station = self.station.start(env=self.env)
        process = station.process
        assert process
        for steps in (
            (lambda: True, "17 high"),
            (lambda: station.view()["button"].get("state") == "released", "17 low"),
            (lambda: "let_go" in station.read(), "17 high"),
            (
                (lambda: self.closed and station.view()["faults"])
                if self.always
                else lambda: "closed" in station.read(),
                "",
            ),
        ):
            until(lambda steps=steps: steps[0]() or process.poll() is not None)  # type: ignore[misc]
            if process.poll() is not None:
                return False
            with contextlib.suppress(BrokenPipeError):
                station.tell(*filter(None, steps[1:]))
        return True


def points_of(folder: Path, forge: Forge, *before: str, command: str = "", argument: bool = False) -> int:
    """How many points a run without a fault comes to."""
    with Trial(folder, forge) as trial:
        if command:
            for each in before:
                assert trial.station.command(each).returncode == 0
            assert trial.station.command(command, *([trial.token] * argument), env=trial.env).returncode == 0
        else:
            assert trial.plays()
            trial.station.stop()
        return len(trial.points.read_text().splitlines())


def test_kill_the_daemon_at_every_call(tmp_path: Path, forge: Forge, family: Family) -> None:
    """kill -9 at every call of the daemon that touches the state folder or a socket, from the start to "closed"."""

    def run(point: int) -> None:
        with Trial(tmp_path, forge, point, "kill") as trial:
            trial.plays()
            shown = set(trial.station.read()) & CONFIRMED
            trial.station.stop()
            confirmed = trial.on_disk
            trial.station.log = ""
            trial.station.start("17 high")
            trial.station.shows("closed" if confirmed else "armed")
            trial.station.stop()
            left = list(trial.station.state.rglob("*.tmp"))
            family.check(
                point,
                lost=not trial.closed if confirmed else bool(shown),
                false=trial.called and not confirmed,
                wrong=f"left behind: {left}" if left else "",
            )

    family.each(list(range(1, points_of(tmp_path, forge) + 4)), run)
    assert family.tried > 90


#: The system calls that touch the folder or a socket, and the calls of libc by which the daemon comes to them.
CALLS = {
    "openat": {"open", "open64", "opendir"},
    "newfstatat": {"stat", "stat64", "lstat", "lstat64", "fstat", "fstat64"},
    "getdents64": {"readdir64"},
    "close": {"close", "closedir"},
    "lseek": {"lseek", "lseek64"},
    "recvfrom": {"recv"},
    "sendto": {"send"},
    "statfs": {"statvfs", "statvfs64"},
    **{
        name: {name}
        for name in ("access", "bind", "connect", "fchown", "flock", "fsync", "getsockopt", "ioctl", "mkdir")
    },
    **{name: {name} for name in ("poll", "read", "rename", "socket", "unlink", "write")},
}


def test_every_call_is_a_point(tmp_path: Path, faultpoint: Path, family: Family) -> None:
    """Every kind of system call of the daemon on the state folder or a socket, as strace sees them, has its points."""
    trace = tmp_path / "trace"

    class Traced(Fresh):
        def start(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, **pipes: int) -> Any:
            given = [f"-E{name}={value}" for name, value in (env or {}).items()]
            strace = ["strace", "-f", "-yy", "-o", str(trace), *given, f"-ELD_PRELOAD={faultpoint}"]
            return super().start([*strace, *arguments], **pipes)

    with Trial(tmp_path, Traced()) as trial:
        assert trial.plays()
        trial.station.tell("quit")
        assert trial.station.process.wait(30) == 0
        touched = re.compile(rf"{re.escape(str(trial.station.state))}|<TCP|AF_INET")
        points = Counter(line.split()[1] for line in trial.points.read_text().splitlines())
    lines = [line for line in trace.read_text(errors="replace").splitlines() if touched.search(line)]
    seen = Counter(found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line)) and found[1] != "execve")
    for call, times in seen.items():
        known = sum(points[name] for name in CALLS.get(call, ()))
        family.check(call, wrong="" if known else f"called {times} times, and is no point", tried=times)


ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EINTR)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_an_error_at_every_call(tmp_path: Path, forge: Forge, family: Family, error: int) -> None:
    """An error at every call of the daemon, one at a time: it stays up and delivers."""
    family.name = family.name.replace("An error", errno.errorcode[error])
    failing(tmp_path, forge, family, str(error))


def test_a_dawdling_call(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Every call of the daemon, one at a time, takes 0.7 s: it stays up and delivers."""
    failing(tmp_path, forge, family, "delay")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_fails_for_good(tmp_path: Path, forge: Forge, family: Family, error: int) -> None:
    """From every call on, all of the folder's fail: it stays up, says so, and delivers from memory."""
    family.name = family.name.replace(
        "all of the folder's fail", f"all of the folder's fail with {errno.errorcode[error]}"
    )
    failing(tmp_path, forge, family, str(error), always=True)


def failing(folder: Path, forge: Forge, family: Family, action: str, always: bool = False) -> None:
    def run(point: int) -> None:
        with Trial(folder, forge, point, action, always) as trial:
            wrong = "" if trial.plays() else trial.ending()
            wrong = wrong or ("a traceback" if "Traceback" in trial.station.logged() else "")
            family.check(point, lost=not trial.closed, wrong=wrong)

    family.each(list(range(1, points_of(folder, forge) + 1)), run)


@pytest.mark.parametrize("action", ["kill", *map(str, ERRORS)])
def test_close_at_every_call(tmp_path: Path, forge: Forge, family: Family, action: str) -> None:
    """`rufusd close` fails at every one of its calls."""
    what = "is killed" if action == "kill" else f"gets {errno.errorcode[int(action)]}"
    family.name = family.name.replace("fails", what)

    def run(point: int) -> None:
        with Trial(tmp_path, forge, point, action) as trial:
            ended = trial.station.command("close", env=trial.env)
            said = "confirmed:" in ended.stdout
            wrong = "a traceback" if "Traceback" in ended.stderr else ""
            if action != "kill":
                wrong = wrong or ("" if (ended.returncode == 0) == said else "its status is not what it says")
            confirmed = trial.on_disk
            if ended.returncode == 1 and confirmed:
                wrong = "it says that it has not confirmed, but has"
            trial.station.start("17 high")
            trial.station.shows("closed" if confirmed else "armed")
            family.check(
                point, lost=(said or confirmed) and not trial.closed, false=trial.called and not confirmed, wrong=wrong
            )

    family.each(list(range(1, points_of(tmp_path, forge, command="close") + 1)), run)


@pytest.mark.parametrize("action", ["kill", *map(str, ERRORS)])
def test_withdraw_at_every_call(tmp_path: Path, forge: Forge, family: Family, action: str) -> None:
    """`rufusd withdraw` fails at every one of its calls."""
    what = "is killed" if action == "kill" else f"gets {errno.errorcode[int(action)]}"
    family.name = family.name.replace("fails", what)

    def run(point: int) -> None:
        with Trial(tmp_path, forge, point, action) as trial:
            assert trial.station.command("close").returncode == 0
            ended = trial.station.command("withdraw", trial.token, env=trial.env)
            said = "withdrawn:" in ended.stdout
            wrong = "a traceback" if "Traceback" in ended.stderr else ""
            if action != "kill":
                wrong = wrong or ("" if (ended.returncode == 0) == said else "its status is not what it says")
            places = [state for state in ("pending", "withdrawn") if trial.station.records(state)]
            if len(places) != 1:
                wrong = f"the record is in {places}"
            trial.station.start("17 high")
            # A withdrawal that was written but cut short before its rename is finished at the start: so asked, so done.
            trial.station.shows("armed" if said else "closed" if trial.station.records("pending") else "armed")
            family.check(point, false=said and trial.called, wrong=wrong)

    count = points_of(tmp_path, forge, "close", command="withdraw", argument=True)
    family.each(list(range(1, count + 1)), run)
