"""Load and age: thousands of closes on the disk, tens of thousands of failed attempts, and a station as quick as new.

What grows with the closes that are pending may; nothing may grow with the attempts, and retrying writes nothing: an SD
card must not wear out, a journal not fill, a Pi's memory not end, while a station is offline for a season.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from families import Family
from servers import answer
from stations import QUICK, Station, unserved, until

from rufusd.core.record import Record
from rufusd.training.sandbox import Sandbox

MANY = 10_000
SOME = 200  # each delivery waits for the disk six times
HASTE = {"first": 0.01, "max": 0.01}  # the lower bounds
HOLD = float(QUICK["button"]["hold_time"])
OURS = "F" * 64


class Old(Station):
    """A station with many closes. Its runtime folder is in memory, as /run is: what is written there wears nothing."""

    def __init__(self, folder: Path, run: Path, url: str, key: str = "ror-1234567890abcdef") -> None:
        super().__init__(folder, api={"url": url, "key": key}, session={"token": OURS}, retry=HASTE)
        self.run = run

    def fill(self, state: str, tokens: Iterator[str] | list[str], **facts: str) -> None:
        """Put records into a folder of the spool."""
        (self.state / state).mkdir(exist_ok=True)
        for token in tokens:
            record = Record(token, "START-5K", "button", confirmed_at="2026-01-01T00:00:00Z", **facts)
            (self.state / state / f"{token}.json").write_text(record.to_json(), encoding="utf-8")

    def proc(self, name: str) -> str:
        """What the kernel says of the daemon's process."""
        return Path(f"/proc/{self.process.pid}/{name}").read_text(encoding="ascii")

    def attempts(self) -> int:
        """How many it has made, as the status says."""
        return sum(each["attempts"] for each in self.view()["closes"])

    def cpu(self) -> float:
        """Seconds of computing so far."""
        return int(self.proc("schedstat").split()[0]) / 1e9

    def starved(self) -> float:
        """Seconds so far in which the daemon, or this thread, could have computed, and others had the processor."""
        return unserved() + unserved(self.process.pid)

    def stops(self, seconds: float) -> tuple[int, float]:
        """End it: the status, and how long that took. Where it was long, once more: other programs only lengthen it."""
        for tries in range(5):
            if tries:
                self.start("17 high")
                until(lambda: self.view()["daemon"].get("pid") == self.process.pid)
            began = time.monotonic()
            status = self.stop()
            took = time.monotonic() - began
            if status or took <= seconds:
                break
        return status, took

    def trouble(self, seconds: float = 2.0) -> str:
        """Press, ask and stop: what of it does not go as on a new station."""
        until(lambda: self.view()["button"].get("state") == "released")  # a press before that does not count
        began, starved = time.monotonic(), self.starved()
        so_far = len(self.read())
        self.tell("17 low")
        self.shows("let_go", since=so_far)
        held = time.monotonic() - began
        at_most = held - (self.starved() - starved)  # as long as other programs took is not the daemon's
        began, starved = time.monotonic(), self.starved()
        self.tell("17 high")
        until(lambda: OURS in self.records("pending") + self.records("closed"))
        confirmed = time.monotonic() - began - (self.starved() - starved)
        told = self.status()
        status, stopped = self.stops(seconds)
        wrong = [f"the light said let go after {held:.2f} s"] if held < HOLD or at_most >= HOLD + 1 else []
        wrong += [f"confirmed {confirmed:.2f} s after the release"] if confirmed > 1 else []
        wrong += [] if any(each["token"] == OURS for each in told["closes"]) else ["status does not know the close"]
        wrong += [f"stopped with {status}"] if status else []
        wrong += [f"stopped after {stopped:.2f} s"] if stopped > seconds else []
        return "; ".join(wrong)


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def tokens(count: int, first: int = 1) -> Iterator[str]:
    return (f"{number:064X}" for number in range(first, first + count))


# -- attempts


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """The address of a port that refuses: it is ours, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v0"


@contextlib.contextmanager
def failing() -> Iterator[str]:
    """The address of a server that says 500 to each call, as quickly as can be."""
    said = answer(b"", "500 Internal Server Error", "Connection: close")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer = listener.accept()[0]
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(60)
                    peer.recv(65536)
                    peer.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v0"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def counted(station: Old) -> dict[str, Any]:
    """All that must not grow, as it is now. Of the descriptors, which each call adds to, the least of many looks."""
    looks = [len(list(Path(f"/proc/{station.process.pid}/fd").iterdir())) for _ in range(1000)]
    status = dict(line.split(":", 1) for line in station.proc("status").splitlines())
    stats = {path: path.stat() for path in (station.state, *station.state.rglob("*"))}
    return {
        "memory": int(status["VmRSS"].split()[0]),
        "threads": int(status["Threads"]),
        "descriptors": min(looks),
        "log": station.logged().count("\n"),
        "bytes to disk": int(dict(line.split(": ") for line in station.proc("io").splitlines())["write_bytes"]),
        "files": {path: (each.st_ino, each.st_mtime_ns, each.st_ctime_ns) for path, each in stats.items()},
    }


ATTEMPTS = ((refusing, 10_000, 40_000), (failing, 2_000, 10_000))


def test_attempts(tmp_path: Path, run_folder: Path, family: Family) -> None:
    """Attempts, counted at 10,000 and 40,000 refused connections, 2,000 and 10,000 answers of 500: nothing grows."""

    def run(point: tuple[Callable[[], contextlib.AbstractContextManager[str]], int, int]) -> None:
        server, early, late = point
        name = server.__name__
        with server() as url:
            station = Old(tmp_path / name, run_folder / name, url)
            station.fill("pending", tokens(100))
            station.start("17 high")
            try:
                until(lambda: station.attempts() >= early, patience=600)
                before = counted(station)
                until(lambda: station.attempts() >= late, patience=1200)
                after = counted(station)
                touched = before.pop("files") != after.pop("files")
                before["memory"] += 512  # KB: the allocator's; one number kept for each refusal would be more
                before["descriptors"] += 3  # those of a call that is under way at every look
                more = {each: (before[each], after[each]) for each in before if after[each] > before[each]}
                family.check(name, wrong=f"grown: {more}" if more else "", tried=station.attempts())
                family.check(name, wrong="its files were written" if touched else "", tried=0)
                lost = station.records("pending") != sorted(tokens(100))
                family.check(name, lost=lost, wrong=station.trouble(), tried=0)
            finally:
                if station.process:
                    station.stop()

    family.each(list(ATTEMPTS), run)
    assert family.tried >= 50_000


# -- closes


def test_many_that_have_ended(tmp_path: Path, run_folder: Path, family: Family) -> None:
    """10,000 closes that have ended, in closed/ and in withdrawn/: the station computes no more than a new one."""

    def run(count: int) -> tuple[float, int]:
        station = Old(tmp_path / f"{count}", run_folder / f"{count}", url)
        station.fill("closed", tokens(count // 2), closed_at="2026-01-01T00:00:10Z")
        station.fill("withdrawn", tokens(count // 2, 1 + count // 2), withdrawn_at="2026-01-01T00:00:10Z")
        station.start("17 high")
        try:
            station.shows("armed")
            begun = station.cpu()
            time.sleep(3)  # what is measured is time
            spent = station.cpu() - begun, int(station.proc("statm").split()[1])
            seen = len(station.status()["closes"])
            family.check(count, wrong="" if seen == count else f"status knows {seen}", tried=max(1, count))
            family.check(count, wrong=station.trouble(), tried=0)
            return spent
        finally:
            if station.process:
                station.stop()

    with refusing() as url:
        (cpu, memory), (cpu_later, memory_later) = family.each([0, MANY], run)
    family.check("computing", wrong=f"{cpu_later} s, not {cpu} s" if cpu_later > 1.5 * cpu + 0.05 else "")
    family.check("memory", wrong=f"{memory_later} pages, not {memory}" if memory_later > memory + 256 else "")


def test_many_pending(tmp_path: Path, run_folder: Path, family: Family) -> None:
    """10,000 pending closes: offline a press confirms as ever, and online they are delivered, once each."""
    with Sandbox() as rufus:
        pending = [rufus.add_session("START-5K", token) for token in tokens(MANY)]
        rufus.add_session("FINISH-10K", OURS)
        with refusing() as url:
            station = Old(tmp_path / "s", run_folder, url, rufus.keys["WRITE"])
            station.fill("pending", pending)
            station.start("17 high")
            try:
                until(lambda: len(station.view()["closes"]) == MANY, patience=600)
                until(lambda: station.attempts() >= 300, patience=600)
                family.check("offline", wrong=station.trouble())
                left = station.records("pending")
                family.check("offline", lost=left != sorted([*pending, OURS]), tried=MANY)
                station.configure(api={"url": rufus.url})
                station.start("17 high")
                began = time.monotonic()
                until(lambda: len(list((station.state / "closed").iterdir())) >= SOME, patience=600)
                spent = time.monotonic() - began - station.starved()
                status, stopped = station.stops(2)
            finally:
                if station.process:
                    station.stop()
        family.check("online", wrong=f"{SOME} were delivered in {spent:.0f} s" if spent > 60 else "")
        family.check("stopping", wrong=f"{status} after {stopped:.2f} s" if status or stopped > 2 else "")
        closed, left = set(station.records("closed")), set(station.records("pending"))
        for token in (*pending, OURS):
            session = rufus.session(token)
            said, sent = token in closed, not session.active
            family.check(
                token,
                lost=token not in closed | left or (said and not sent),
                wrong=f"closed {session.closes} times" if session.closes > 1 else "",
                tried=said,
            )
        assert len(closed & left) == 0
