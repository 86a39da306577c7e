"""The daemon as it is watched: the socket, and `rufusd watch` on a real terminal beside a real daemon."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from stations import PATIENCE, READER, Station, as_nobody, ended, until

from rufusd.adapters import live
from rufusd.adapters.live import Feed, NotRunning, Watchers
from rufusd.adapters.terminal import Terminal
from rufusd.daemon.pace import CLOSES_EVERY
from rufusd.training.sandbox import Sandbox

Make = Callable[..., Station]
STATUS = {"faults": [], "closes": []}


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator[Watchers]:
    """The daemon's side, listening."""
    made = Watchers(tmp_path)
    made.open()
    yield made
    made.close()


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[], socket.socket]]:
    """Makes bare connections to the socket, which read nothing by themselves."""
    with contextlib.ExitStack() as made:

        def make() -> socket.socket:
            connection = made.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.connect(str(tmp_path / live.NAME))
            connection.settimeout(PATIENCE)
            return connection

        yield make


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    """A watcher's side."""
    made = Feed(tmp_path)
    yield made
    made.close()


def gone(feed: Feed) -> NotRunning:
    """What a feed says that comes to its end."""

    def look() -> NotRunning | None:
        try:
            feed.take(0)
        except NotRunning as found:
            return found
        return None

    return until(look)


# -- the socket


def test_each_watcher_gets_each_frame_and_the_status_once(watchers: Watchers, feed: Feed, tmp_path: Path) -> None:
    """Promise 5: the first frame has the status, and later ones only if it has changed."""
    other = Feed(tmp_path)
    assert feed.take(0) == other.take(0) == []
    watchers.let_in()
    for at in range(4):
        if at == 2:
            watchers.renew()
        watchers.tell({"at": at}, lambda: STATUS)
    expected = [{"at": 0, "status": STATUS}, {"at": 1}, {"at": 2, "status": STATUS}, {"at": 3}]
    assert feed.take(0) == other.take(0) == expected
    other.close()


def test_nobody_there_costs_one_call_in_a_look_and_nothing_in_a_scan(watchers: Watchers) -> None:
    """Promise 1: who does not watch takes nothing from the inputs: one accept in half a second, no frame made."""
    calls: list[str] = []

    def profile(_frame: Any, event: str, what: Any) -> None:
        if event == "c_call":
            calls.append(what.__name__)

    sys.setprofile(profile)
    try:
        for _ in range(100):
            if watchers:
                watchers.tell({"at": 0}, lambda: STATUS)
        watchers.renew()
        watchers.let_in()
    finally:
        sys.setprofile(None)
    assert [name for name in calls if name not in ("setprofile", "len", "bool")] == ["_accept"]


def test_who_never_reads_is_not_waited_for_and_disturbs_no_other(
    watchers: Watchers, connect: Callable[[], socket.socket], feed: Feed
) -> None:
    """Promise 1: a watcher that takes nothing misses frames; after a while it is let go. The others get every one."""
    idle = connect()
    feed.take(0)
    watchers.let_in()
    got = []
    for n in range(20_000):
        watchers.tell({"at": n / 1000, "padding": "x" * 200}, lambda: STATUS)
        got += feed.take(0)
    assert [round(frame["at"] * 1000) for frame in got] == list(range(20_000))
    received = b""
    while came := idle.recv(65536):  # up to the end, which comes since it was let go
        received += came
    lines = received.splitlines()
    assert 0 < len(lines) < 20_000
    assert [json.loads(line)["at"] for line in lines] == [n / 1000 for n in range(len(lines))]


def test_who_was_slow_gets_the_status_that_it_has_missed(
    watchers: Watchers, connect: Callable[[], socket.socket]
) -> None:
    """Promise 5: a view that was stopped for a moment shows no old state when it goes on."""
    slow = connect()
    watchers.let_in()
    watchers.tell({"at": 0}, lambda: {"now": "old"})
    for _ in range(5000):
        watchers.tell({"at": 1, "padding": "x" * 500}, lambda: {"now": "old"})
    watchers.renew()
    watchers.tell({"at": 2}, lambda: {"now": "new"})  # which it misses
    received = b""
    with contextlib.suppress(BlockingIOError):
        slow.setblocking(False)
        while True:
            received += slow.recv(65536)
    assert b'"at":2' not in received
    watchers.tell({"at": 3}, lambda: {"now": "new"})
    assert json.loads(slow.recv(65536))["status"]["now"] == "new"


def test_only_so_many_are_let_in(watchers: Watchers, connect: Callable[[], socket.socket], feed: Feed) -> None:
    """Promise 1: the rest is sent away, and told why; once one has ended, another is let in."""
    let_in = [connect() for _ in range(live.MOST)]
    watchers.let_in()
    feed.take(0)
    watchers.let_in()
    assert gone(feed).full
    let_in[0].close()
    watchers.tell({"at": 0}, lambda: STATUS)
    feed.take(0)
    watchers.let_in()
    watchers.tell({"at": 1}, lambda: STATUS)
    assert [frame["at"] for frame in feed.take(0)] == [1]


def test_more_than_the_kernel_keeps_waiting_are_told_so(
    watchers: Watchers, connect: Callable[[], socket.socket], feed: Feed
) -> None:
    """Promise 1: a crowd at the door does not wait for ever."""
    waiting = [connect() for _ in range(live.WAITING + 1)]
    assert gone(feed).full
    watchers.let_in()
    assert len(waiting) > live.WAITING
    feed.take(0)  # there is room again


def test_an_end_after_frames_is_the_daemons(watchers: Watchers, feed: Feed) -> None:
    """Promise 5: what had come before it is still given."""
    feed.take(0)
    watchers.let_in()
    watchers.tell({"at": 0}, lambda: STATUS)
    watchers.close()
    assert [frame["at"] for frame in feed.take(0)] == [0]
    assert not gone(feed).full


def test_without_a_daemon_there_is_none(feed: Feed, tmp_path: Path) -> None:
    """Promise 5: no socket, or one that a daemon left which was killed, is no daemon; and a new one replaces it."""
    assert not gone(feed).full
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(tmp_path / live.NAME))
    assert not gone(feed).full
    assert live.look(tmp_path, 0) is None
    watchers = Watchers(tmp_path)
    watchers.open()
    assert feed.take(0) == []
    watchers.close()
    assert not (tmp_path / live.NAME).exists()


def test_a_look_at_a_daemon_that_says_nothing_ends(watchers: Watchers, tmp_path: Path) -> None:
    """Promise 5: who asks for the levels has an answer, or none in time."""
    assert watchers is not None
    assert live.look(tmp_path, 0.05) is None


def test_a_folder_that_is_closed_to_us_is_said_to_be(tmp_path: Path, watchers: Watchers) -> None:
    """Promise 5: that is another thing than no daemon."""
    assert stat.S_IMODE((tmp_path / live.NAME).stat().st_mode) == 0o666
    tmp_path.chmod(0)
    try:
        with as_nobody(), pytest.raises(PermissionError):  # root may look into any
            live.look(tmp_path, 1.0)
    finally:
        tmp_path.chmod(0o700)
    assert not watchers


def test_a_sentence_is_in_the_language_of_who_reads_it(watchers: Watchers, feed: Feed) -> None:
    """Promise 5: a fault travels with what it was made of."""
    from rufusd.core.words import Message, _

    feed.take(0)
    watchers.let_in()
    watchers.tell({"at": 0}, lambda: {"faults": [_("{what} is broken", what="it")]})
    fault = feed.take(0)[0]["status"]["faults"][0]
    assert isinstance(fault, Message)
    assert (fault, fault.template) == ("it is broken", "{what} is broken")


@pytest.mark.parametrize("uid", [0, 4242])
def test_no_user_keeps_root_or_the_daemons_own_user_out(
    watchers: Watchers, connect: Callable[[], socket.socket], feed: Feed, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    """Promise 5: connections are counted for each user by itself, so one user's eight leave room for others."""
    theirs = iter([1000] * live.MOST + [1000, 1001])
    monkeypatch.setattr(live, "peer", lambda _: live.Peer(1, next(theirs, uid)))
    monkeypatch.setattr(live.os, "geteuid", lambda: 4242)
    crowd = [connect() for _ in range(live.MOST + 2)]
    watchers.let_in()
    for connection in crowd:
        connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        crowd[-1].recv(1)  # another user is in
    assert crowd[-2].recv(1) == b""  # the ninth of one user is not
    feed.take(0)
    watchers.let_in()
    watchers.tell({"at": 0}, lambda: STATUS)
    assert [frame["at"] for frame in feed.take(0)] == [0]


def test_all_other_users_together_are_so_many_at_the_most(
    watchers: Watchers, connect: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 1: a frame is made for each in each scan, which takes time from the inputs."""
    users = (uid for uid in range(1000, 2000) if uid != os.geteuid())  # whoever runs this has a place of their own
    monkeypatch.setattr(live, "peer", lambda _: live.Peer(1, next(users)))
    crowd = [connect() for _ in range(live.OTHERS + 3)]
    watchers.let_in()
    watchers.tell({"at": 0}, lambda: STATUS)
    assert [bool(each.recv(9)) for each in crowd] == [True] * live.OTHERS + [False] * 3


@pytest.mark.parametrize(
    "sent",
    [
        *(b"\xff\n", b"{\n", b"[]\n", b"7\n", b"[" * 100_000 + b"\n"),
        *(
            b'{"status": 7}\n',
            b'{"status": {"a": 1}}\n',
            b'{"status": {"a": "b", "words": {"b": ["{c}", "", {"d": 1}]}}}\n',
        ),
        b'{"status": {"a": "b", "words": {"b": 7}}}\n',
        b"x" * (live.LONGEST + 1),
    ],
)
def test_what_does_not_speak_as_rufusd_is_said_to_be_so(tmp_path: Path, feed: Feed, sent: bytes) -> None:
    """Promise 5: whatever listens there, nobody who watches sees a traceback, or waits for ever."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as foreign:
        foreign.bind(str(tmp_path / live.NAME))
        foreign.listen()
        feed.take(0)
        connection = foreign.accept()[0]
        with connection:
            sender = threading.Thread(target=_send, args=(connection, sent))
            sender.start()
            assert gone(feed).strange
            sender.join(PATIENCE)


def _send(connection: socket.socket, sent: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(sent)


def test_who_listens_is_told_by_the_kernel(watchers: Watchers, tmp_path: Path, connect: Any) -> None:
    """Promise 5: a daemon that hangs lives all the same, and so does one at whose door too many wait."""
    assert live.listener(tmp_path) == live.Peer(os.getpid(), os.geteuid())
    waiting = [connect() for _ in range(live.WAITING)]
    assert live.listener(tmp_path) == live.Peer(0, -1)
    assert waiting
    watchers.close()
    assert live.listener(tmp_path) is None


# -- a real daemon

# Runs a command while counting what it calls.
COUNT = """
import collections, json, sys, time
from rufusd.commands import cli
calls, began = collections.Counter(), time.monotonic()
def profile(frame, event, what):
    calls[frame.f_code.co_name if event == "call" else what.__qualname__ if event == "c_call" else ""] += 1
sys.setprofile(profile)
status = cli.main(sys.argv[1:])
sys.setprofile(None)
print(json.dumps({"seconds": time.monotonic() - began, **calls}))
sys.exit(status)
"""


def test_a_daemon_that_nobody_watches_only_looks_for_watchers(station: Station) -> None:
    """Promise 1: in its real loop: one accept in each look, twice a second; no frame is made or sent in a scan."""
    ended = subprocess.run(
        [sys.executable, "-c", COUNT, *station.arguments("simulate")[3:]],
        input=b"17 high\nwait 2\nquit\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    calls = json.loads(ended.stdout.splitlines()[-1])
    assert calls["_scan"] > 4
    assert 2 <= calls["socket._accept"] <= calls["seconds"] / CLOSES_EVERY + 2  # the courier may have had news
    assert not {"frame", "_frame", "truncated", "socket.send"} & calls.keys()


def test_the_levels_of_a_running_daemon_are_looked_at(make_station: Make) -> None:
    """Promise 5: what a line reads now, asked of the one who has it."""
    station = make_station(reader={**READER, "arm_time": 60}).start("17 high", "22 low")
    station.shows("unarmed")

    def off() -> Any:
        found = live.look(station.run, PATIENCE)
        return found if found and found["reader"]["state"] == "off" else None  # unknown before the fourth scan

    frame = until(off)
    assert (frame["button"]["level"], frame["reader"]["level"]) == ("high", "low")
    station.tell("22 high")

    def running() -> Any:
        found = live.look(station.run, PATIENCE)
        return found if found and found["reader"]["state"] == "running" else None

    frame = until(running)
    assert frame["reader"]["level"] == "high"
    assert frame["reader"]["of"] == 60
    assert frame["status"]["session"]["name"] == "FINISH-10K"


def test_chatter_is_in_the_frames(make_station: Make) -> None:
    """Promise 5: a level of a scan or two, which counts for nothing, is seen all the same."""
    station = make_station().start("17 high")
    station.shows("armed")
    feed = Feed(station.run)
    seen: list[str] = []

    def levels() -> list[str]:
        seen.extend(frame["button"]["level"] for frame in feed.take(0))
        return seen

    until(levels)
    station.tell(*["17 low", "wait 0.1", "17 high", "wait 0.1"] * 3)

    def moves() -> bool:
        each = levels()
        return sum(before != after for before, after in zip(each, each[1:])) == 6

    until(moves)
    feed.close()


def test_watching_holds_up_no_press_and_no_close(station: Station, rufus: Sandbox, token: str) -> None:
    """Promises 1 and 2: neither do watchers that never read, nor more of them than are let in."""
    station.start("17 high")
    station.shows("armed")
    with contextlib.ExitStack() as idle:
        for _ in range(20):
            connection = idle.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.connect(str(station.run / live.NAME))  # which waits to be let in, or sent away
        station.press()
        station.shows("closed")
    assert not rufus.session(token).active
    until(lambda: live.look(station.run, PATIENCE))  # once it has noticed that these have gone, there is room again


def test_no_frame_has_the_key(make_station: Make, rufus: Sandbox) -> None:
    """Promise 6: not even where RUFUS refuses it."""
    station = make_station(api={"key": rufus.keys["READ"]}).start("17 high")
    station.shows("armed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(station.run / live.NAME))
        connection.settimeout(PATIENCE)
        received = connection.recv(65536)
        assert b'"faults":[]' in received
        station.press()

        def has_the_fault() -> bool:
            nonlocal received
            received += connection.recv(65536)
            return b"is not closed" in received

        until(has_the_fault)
    assert rufus.keys["READ"].encode() not in received
    assert all(isinstance(json.loads(line), dict) for line in received.splitlines()[:-1])


def test_a_socket_that_cannot_be_made_is_a_fault_and_made_later(station: Station, rufus: Sandbox, token: str) -> None:
    """Promise 2: a station that cannot be watched is a station."""
    (station.run / live.NAME / "in the way").mkdir(parents=True)
    station.start("17 high")
    station.shows("fault")
    until(lambda: station.view()["button"].get("state") == "released")
    station.press()
    until(lambda: not rufus.session(token).active)
    assert f"cannot make its socket in {station.run}" in station.logged()
    (station.run / live.NAME / "in the way").rmdir()
    (station.run / live.NAME).rmdir()
    until(lambda: live.look(station.run, PATIENCE))
    until(lambda: not station.view()["faults"])
    assert station.stop() == 0


def test_promise_5_a_daemon_whose_folder_has_no_room_from_the_start_can_be_asked(
    station: Station, rufus: Sandbox, token: str
) -> None:
    """Promise 5: neither a socket nor a status file can be made, and status says what runs, why, and what to do."""
    for name in (live.NAME, ".status.json.tmp"):
        (station.run / name / "in the way").mkdir(parents=True)
    rufus.tell("offline")
    station.start("17 high")
    station.shows("fault")
    assert station.command("close").stdout.startswith("confirmed")
    status = until(lambda: found if (found := station.status())["closes"][0]["last_error"] else None)
    assert status["daemon"] == {**status["daemon"], "running": True, "pid": station.process.pid, "view_age": None}
    text = station.command("status").stdout
    assert "rufusd is not running" not in text
    assert f"fault: rufusd cannot make its socket in {station.run} (is a directory)" in text
    assert f"`df {station.run}` shows how full it is" in text
    assert not (station.run / "status.json").exists()
    assert "rufusd tries 1 pending close now" in station.command("retry").stdout
    rufus.tell("online")
    until(lambda: not rufus.session(token).active)
    for name in (live.NAME, ".status.json.tmp"):
        (station.run / name / "in the way").rmdir()
        (station.run / name).rmdir()
    until(lambda: station.view()["daemon"] and not station.view()["faults"])
    assert stat.S_ISSOCK((station.run / live.NAME).stat().st_mode)
    until(lambda: not listens(live.spare(station.run)))
    assert station.status()["daemon"]["running"]
    assert station.stop() == 0
    assert live.listener(station.run) is None


def test_promise_5_a_daemon_that_nobody_can_ask_says_so_in_its_status_file(station: Station) -> None:
    """Promises 5 and 6: somebody else has the spare name as well; the file is not told as a daemon's that runs."""
    (station.run / live.NAME / "in the way").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as squatter:
        squatter.bind(live.spare(station.run))
        station.start("17 high")
        until(lambda: any("cannot ask this daemon: no socket in" in fault for fault in station.view()["faults"]))
        assert not station.status()["daemon"]["running"]
    until(lambda: any("cannot make its socket in" in fault for fault in station.view()["faults"]))
    assert station.status()["daemon"]["running"]


def listens(name: str) -> bool:
    """Whether anybody listens at this address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(name)
        except ConnectionRefusedError:
            return False
    return True


def test_promise_6_the_spare_socket_of_a_private_folder_is_for_its_user(tmp_path: Path) -> None:
    """Promise 6: a name in the kernel's memory has no rights of its own, so the daemon asks who comes."""
    if os.geteuid():
        pytest.skip("only root can be another user for a moment")
    folder = tmp_path / "run"  # pytest's own folder is nobody else's
    (folder / live.NAME).mkdir(parents=True)
    watchers = Watchers(folder)
    with pytest.raises(OSError, match="directory"):
        watchers.open()
    assert (watchers.listening, watchers.in_folder) == (True, False)
    name = live.spare(folder)
    try:
        for user, let in ((contextlib.nullcontext, True), (as_nobody, False)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                with user():
                    connection.connect(name)
                watchers.let_in()
                watchers.tell({"at": 0}, lambda: STATUS)
                assert bool(connection.recv(65536)) is let
    finally:
        watchers.close()


def test_promise_6_somebody_else_at_the_spare_name_is_no_daemon(tmp_path: Path) -> None:
    """Promise 6: any user can listen there; only the folder's owner and root are believed."""
    if os.geteuid():
        pytest.skip("only root can be another user for a moment")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as squatter:
        squatter.bind(live.spare(tmp_path))
        with as_nobody():
            squatter.listen(0)
        assert live.listener(tmp_path) is None
        with contextlib.closing(Feed(tmp_path)) as feed:
            assert not gone(feed).full
        assert live.listener(tmp_path) is None  # its queue is full now: whose it is cannot be told


def test_promise_5_a_socket_that_was_removed_is_made_anew(station: Station) -> None:
    """Promise 5: a daemon that works on is not told as one that does not run; not for long, at least."""
    station.start()
    station.shows("armed")
    (station.run / live.NAME).unlink()
    until(lambda: live.listener(station.run))
    (station.run / live.NAME).unlink()
    (station.run / live.NAME).write_text("in the way", encoding="utf-8")
    until(lambda: live.listener(station.run))
    assert station.status()["daemon"]["running"]


def test_promise_5_training_does_not_hide_a_daemon(make_station: Make, tmp_path: Path) -> None:
    """Promise 5: with a state folder of its own, too, it may not take the runtime folder of a daemon that lives."""
    first, second = make_station().start(), Station(tmp_path / "second")
    second.configure(**{name: first.tables[name] for name in ("api", "session")})
    first.shows("armed")
    second.run = first.run
    assert second.start().process.wait(PATIENCE) == 1
    assert f"process {first.process.pid} has the runtime folder" in second.logged()
    assert first.status()["daemon"]["pid"] == first.process.pid
    second.stop()


def test_the_socket_goes_with_the_daemon_and_is_made_anew(station: Station) -> None:
    """Promise 5: also after a daemon that was killed."""
    station.start("17 high")
    station.shows("armed")
    assert station.stop(signal.SIGKILL) == -signal.SIGKILL
    assert (station.run / live.NAME).exists()
    assert live.look(station.run, 1.0) is None
    station.start("17 high")
    until(lambda: live.look(station.run, PATIENCE))
    station.stop()
    assert not (station.run / live.NAME).exists()


# -- the command, on a terminal

# Gives the child its terminal, as a login does, so that Ctrl-C and Ctrl-Z reach it.
LOGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv)"


class View:
    """`rufusd watch` on a terminal, and what that shows."""

    def __init__(
        self, station: Station, width: int = 80, height: int = 24, *, through: tuple[str, ...] = (), **env: str
    ) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(self.slave)
        arguments = ["python", "-m", "rufusd", "watch", "--runtime-dir", str(station.run)]
        self.process = subprocess.Popen(
            [*through, sys.executable, "-c", LOGIN, *arguments[1:]],
            env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", **env},
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.written = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a character may come in two parts

    def resize(self, width: int, height: int) -> None:
        """As by dragging the window's corner."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self) -> str:
        """All that was written so far."""
        while select.select([self.master], [], [], 0)[0]:
            self.written += self._decode(os.read(self.master, 65536))
        return self.written

    @property
    def rows(self) -> list[str]:
        """The screen, as such a terminal would show it."""
        rows = [""] * 100
        for row, text in re.findall(r"\x1b\[(\d*)(?:H(.*?)\x1b\[K|2J)", self.read()):
            if row and text is not None:
                rows[int(row) - 1] = text
        return rows

    def shows(self, pattern: str) -> str:
        """Wait for a row that is so; the row."""

        def look() -> str:
            assert self.process.poll() is None, self.read()
            return next((row for row in self.rows if re.search(pattern, row)), "")

        return until(look)

    def has_shown(self, pattern: str) -> None:
        """Wait for a row that was so once, however short."""
        until(lambda: any(re.search(pattern, row) for row in re.findall(r"\x1b\[\d+H(.*?)\x1b\[K", self.read())))

    def types(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def ends(self) -> int:
        """The exit status."""
        assert self.process.stderr
        status = self.process.wait(PATIENCE)
        assert self.process.stderr.read() == b""
        self.read()
        return status

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was: its modes, its cursor, its wrapping, its own screen."""
        last = [self.read().rfind(f"\x1b[?{mode}") for mode in ("25l", "7l", "1049h", "25h", "7h", "1049l")]
        return termios.tcgetattr(self.slave) == self.before and max(last[:3]) < min(last[3:])

    def leave(self) -> None:
        """End it, however it goes."""
        with self.process:
            self.process.kill()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def view() -> Iterator[Callable[..., View]]:
    """Makes views, and ends them."""
    made: list[View] = []

    def make(station: Station, *size: int, **how: Any) -> View:
        until(lambda: live.look(station.run, PATIENCE))
        made.append(View(station, *size, **how))
        return made[-1]

    yield make
    for each in made:
        each.leave()


def test_a_press_is_seen_as_it_goes(make_station: Make, view: Callable[..., View]) -> None:
    """Promise 5: the level, the trace, the press against its rule, what to do, and the close."""
    station = make_station(button={"hold_time": 3}, close={"grace": 60}).start("17 high")
    station.shows("armed")
    seen = view(station)
    seen.shows(r"^LED [●○]  armed$")
    seen.shows(r"^button   high  released, hold 3 s and let go to close$")
    seen.shows(r"▀▀$")
    station.tell("17 low")
    seen.has_shown(r"^button   low   held [0-2]\.\d of 3 s$")
    seen.shows(r"▀█▄+$")
    seen.shows(r"^button   low   held \d\.\d s, long enough: let go$")
    station.tell("17 high")
    seen.shows(r"^LED [●○]  confirmed: press to take it back, \d+ s left$")
    seen.shows(r"^FINISH-10K     pending ")
    seen.types(b"q")
    assert seen.ends() == 0
    until(lambda: seen.restored)
    assert "confirmed: press to take it back" in seen.read().rpartition("\x1b[?1049l")[2]  # what was seen last stays


def test_chatter_is_seen(make_station: Make, view: Callable[..., View]) -> None:
    """Promise 5: moves that count for nothing, as a loose cable's, stand in the trace as their number."""
    station = make_station().start("17 high")
    station.shows("armed")
    seen = view(station)
    seen.shows("▀▀$")

    def moves() -> int:
        """How often the line has moved in the last half minute, as it is shown."""
        found = re.search(r"moved (\d+) times", "\n".join(seen.rows))
        return int(found[1]) if found else 0

    def chatters() -> bool:
        """Whether each move was seen; a loop that has to wait for a busy machine misses some: then once more."""
        so_far = moves()
        station.tell(*["17 low", "wait 0.015", "17 high", "wait 0.015"] * 30)
        seen.shows(r"▀[█▄+\d]+▀{0,2}$")  # it has begun
        seen.shows("▀▀▀$")  # and is over
        return moves() == so_far + 60

    until(chatters)
    seen.shows(r"▀[█2-9]*\+[█+2-9]*▀+$")
    assert station.read()[-1] == "armed"


@pytest.mark.parametrize("keys", [b"\x03", b"q"])
def test_the_terminal_is_given_back(station: Station, view: Callable[..., View], keys: bytes) -> None:
    """Promise 5: Ctrl-C and `q` both end it, and well."""
    station.start("17 high")
    seen = view(station)
    seen.shows("armed")
    assert not seen.restored
    seen.types(keys)
    assert seen.ends() == 0
    until(lambda: seen.restored)


def test_ctrl_c_ends_it_where_a_script_had_it_ignored(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: a shell has what it starts with `&` ignore Ctrl-C, and each child inherits that."""
    station.start("17 high")
    seen = view(station, through=("env", "--ignore-signal=INT"))
    seen.shows("armed")
    seen.types(b"\x03")
    assert seen.ends() == 0
    until(lambda: seen.restored)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(station: Station, view: Callable[..., View], number: int) -> None:
    """Promise 5: whoever ends it."""
    station.start("17 high")
    seen = view(station)
    seen.shows("armed")
    seen.process.send_signal(number)
    assert seen.ends() == 0
    until(lambda: seen.restored)


def test_it_can_be_put_aside(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: Ctrl-Z gives the shell a clean terminal, and `fg` draws all of it again."""
    station.start("17 high")
    seen = view(station)
    seen.shows("armed")
    seen.types(b"\x1a")
    until(lambda: os.waitpid(seen.process.pid, os.WUNTRACED | os.WNOHANG)[1])
    until(lambda: seen.restored)
    seen.written = ""
    seen.process.send_signal(signal.SIGCONT)
    seen.shows("armed")
    assert not seen.restored
    seen.types(b"q")
    assert seen.ends() == 0
    until(lambda: seen.restored)


def test_once_it_has_ended_ctrl_z_does_not_begin_anew() -> None:
    """Promise 5: nor would `fg` leave the terminal without its modes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        with Terminal():
            assert signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_window_of_another_size_is_drawn_anew(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: narrower, as a phone turned upright; the trace is still of half a minute."""
    station.start("17 high")
    seen = view(station, 80, 24)
    seen.shows(r"^button   high  released, hold 0\.3 s and let go to close$")
    seen.written = ""
    seen.resize(40, 24)
    seen.shows("^  let go to close$")
    assert "\x1b[2J" in seen.read()
    assert max(map(len, seen.rows)) <= 40


def test_a_terminal_without_utf_8_gets_plain_characters(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: nothing in it is a question mark that should be a level."""
    station.start("17 high")
    seen = view(station, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    seen.shows("^  +--$")
    seen.shows(r"^LED \([* ]\)  armed")


def test_a_restart_of_the_daemon_is_seen_through(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: it says that nothing watches the inputs, and goes on when something does."""
    station.start("17 high")
    seen = view(station)
    seen.shows("armed")
    station.stop()
    seen.shows("^rufusd is not running: nothing watches the inputs;")
    assert not any(row.startswith("LED") for row in seen.rows)
    station.start("17 low")
    seen.shows("^button   low   pressed, but this press does not count: let it go for .* s$")
    assert not any("not running" in row for row in seen.rows)


def test_a_daemon_that_is_held_up_is_said_to_be(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: an old picture is not shown as if it were now."""
    station.start("17 high")
    seen = view(station)
    seen.shows("armed")
    station.send(signal.SIGSTOP)
    seen.shows("^rufusd says nothing: ")
    station.send(signal.SIGCONT)
    seen.shows("armed")


# -- the command, without a terminal


def test_without_a_terminal_each_change_is_a_line(make_station: Make) -> None:
    """Promise 5: into a file, or through a terminal that can do nothing: the time, and what has changed."""
    station = make_station().start("17 high")
    station.shows("armed")
    watch = [sys.executable, "-m", "rufusd", "watch", "--runtime-dir", str(station.run)]
    with ended(subprocess.Popen(watch, stdout=subprocess.PIPE)) as told:
        assert told.stdout
        os.set_blocking(told.stdout.fileno(), False)
        came = b""

        def tells(text: str) -> bool:
            nonlocal came
            came += told.stdout.read() or b"" if told.stdout else b""
            return text in came.decode()

        until(lambda: tells("released, hold"))
        station.press()
        until(lambda: tells("FINISH-10K     closed"))
        station.stop()
        until(lambda: tells("rufusd is not running"))
        station.start("17 high")
        until(lambda: tells("") and "released" in came.decode().rpartition("not running")[2])
        told.send_signal(signal.SIGINT)
        assert told.wait(PATIENCE) == 0
    lines = came.decode().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines)
    assert b"\x1b" not in came
    texts = [line[9:] for line in lines]
    assert texts[:2] == ["FINISH-10K     armed", "button   high  released, hold 0.3 s and let go to close"]
    assert "button   low   pressed" in texts
    assert "FINISH-10K     button held long enough: let go" in texts
    assert sum("not running" in text for text in texts) == 1


def test_a_dumb_terminal_gets_lines(station: Station, view: Callable[..., View]) -> None:
    """Promise 5: TERM=dumb, or none, means that nothing can be drawn."""
    station.start("17 high")
    seen = view(station, TERM="dumb")
    until(lambda: "armed" in seen.read())
    assert "\x1b" not in seen.read()


def test_without_a_daemon_it_says_so_and_fails(station: Station) -> None:
    """Promise 5: with what to do."""
    ended = station.launcher.run([sys.executable, "-m", "rufusd", "watch", "--runtime-dir", str(station.run)])
    assert ended.returncode == 1
    assert ended.stderr.startswith("rufusd: rufusd is not running: ")
    assert "systemctl start rufusd" in ended.stderr


def test_one_watcher_too_many_is_told_so(station: Station) -> None:
    """Promise 5: with what to do."""
    station.start("17 high")
    station.shows("armed")
    with contextlib.ExitStack() as idle:
        feeds = [Feed(station.run) for _ in range(live.MOST)]
        for feed in feeds:
            idle.callback(feed.close)
            until(lambda feed=feed: feed.take(0))  # type: ignore[misc]
        ended = station.launcher.run([sys.executable, "-m", "rufusd", "watch", "--runtime-dir", str(station.run)])
    assert ended.returncode == 1
    assert "as many as it lets in" in ended.stderr
