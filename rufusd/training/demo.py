"""`rufusd demo`: the end of a race, with the daemon itself on simulated pins, a reader, an outage and a sandbox.

Only the world is made up: the daemon is a child process, as it is at a race but for its pins and its shorter waits. One
loop plays all else and goes by what the daemon shows. In a terminal, a person has the button and the network.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

from rufusd.core.indicator import Indication, light
from rufusd.text.report import DOING
from rufusd.training.sandbox import Sandbox, Session

# Seconds. The story's own, AWAY and LAST, are counted from when the station is armed.
HOLD, GRACE, QUIET = 1.5, 3, 3  # in the daemon's configuration
RUNNER, UPLOAD = 0.4, 0.25  # between two runners, and between two passings on their way to RUFUS
AWAY, LAST = 2.5, 5.5  # the network goes away; the last runner is in
BACK = 1.5  # so long after the grace the network comes back, unless a person has it
HAND = 0.5  # how quick the timekeeper's hand is
KEY, REPEAT = 0.8, 0.4  # for so long a key counts as held: its first repeat comes late (0.66 s on X11), then many
LIMIT = 60  # without an end, and without a key
TICK = 0.02  # the LED's quickest pattern changes every 0.05 s

INTRODUCTION = f"""\
The end of a race, all on this machine: a station with a button and an LED,
an RFID reader, a network that fails, and a stand-in for RUFUS. Waits are short:
hold {HOLD} s (at a race 3), grace {GRACE} s (10), quiet {QUIET} s (30).

   time  what happens                                     the LED for one second"""
CONFIGURATION = f"""\
api = {{{{ url = "{{url}}", key = "{{key}}" }}}}
session = {{{{ token = "{{token}}", name = "DEMO-10K" }}}}
button = {{{{ pin = 17, hold_time = {HOLD} }}}}
led = {{{{ pin = 22 }}}}
close = {{{{ grace = {GRACE}, quiet = {QUIET} }}}}
retry = {{{{ first = 0.5, max = 1 }}}}
"""
STORY = {  # what is told of each indication, and what a person is told to do
    Indication.OFF: ("", "the station starts"),
    Indication.ARMED: ("armed: holding the button closes the session", "hold the space bar 2 s and let go"),
    Indication.HOLDING: ("the button is pressed: not long enough yet", "go on holding until the LED is steady"),
    Indication.LET_GO: ("held long enough: let go", "let go now"),
    Indication.GRACE: ("released: confirmed on disk; a press undoes it", "wait; or tap the space bar to take it back"),
    Indication.WITHDRAWN: ("taken back: nothing will be closed", ""),
    Indication.PENDING: (
        "grace is over; it waits for network and quiet",
        f"wait for the network, and {QUIET} s of quiet",
    ),
    Indication.CLOSED: (f"{QUIET} s of quiet, and closed: RUFUS has said so", "the light stays on: it is done"),
}


class DemoFailed(Exception):
    """The demo cannot come to its end; the sentence says why."""


class Station:
    """The daemon, in a process of its own."""

    def __init__(self, folder: Path, **facts: str) -> None:
        """Start it, with all its files in `folder`. `facts` are what the configuration lacks. Raises OSError."""
        (folder / "config.toml").write_text(CONFIGURATION.format(**facts), encoding="utf-8")
        options = (("config", "config.toml"), ("state-dir", "state"), ("runtime-dir", "run"))
        command = [sys.executable, "-m", "rufusd", "simulate", *(f"--{name}={folder / path}" for name, path in options)]
        self._pressed, self._rest, self._log = False, b"", folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, bufsize=0, stdin=PIPE, stdout=PIPE, stderr=log)  # noqa: S603 - us
        self._button: Any = self._process.stdin
        self.led: Any = self._process.stdout  # a line for each thing that it shows

    def press(self, pressed: bool) -> None:
        """Press the button, or let it go."""
        if pressed != self._pressed:
            self._pressed = pressed
            with contextlib.suppress(BrokenPipeError):  # `shown` says it
                self._button.write(b"17 low\n" if pressed else b"17 high\n")

    def shown(self) -> Iterator[Indication]:
        """What it has shown since the last call. Raises DemoFailed where it has ended."""
        if select.select([self.led], [], [], 0)[0]:
            came = self.led.read(4096)
            if not came:
                said = self._log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
                raise DemoFailed(f"the station has ended by itself, saying: {said or 'nothing'}")
            *lines, self._rest = (self._rest + came).split(b"\n")
            yield from (Indication(line.partition(b":")[0].decode()) for line in lines)

    def close(self) -> None:
        """End it, in any case."""
        with self._process:  # which closes its pipes
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()


@contextlib.contextmanager
def keyboard() -> Iterator[None]:
    """Within, each key comes at once and unseen, and there is no cursor. The terminal is restored in any case."""
    before = termios.tcgetattr(0)
    try:
        tty.setcbreak(0)
        sys.stdout.write("\x1b[?25l")
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):  # where the terminal itself has gone
            termios.tcsetattr(0, termios.TCSAFLUSH, before)  # a space bar still held is not for the shell
            sys.stdout.write("\x1b[?25h")
            sys.stdout.flush()


class Scene:
    """Where the story is told, line by line; for a person in a terminal, above a picture that lives."""

    def __init__(self, person: bool) -> None:
        """Finds the signs for on and off that can be written."""
        self.person, self._picture = person, [""] * 0
        try:
            "●○".encode(sys.stdout.encoding)
            self.on, self.off = "●○"
        except UnicodeEncodeError:
            self.on, self.off = "#."
        colours = {"32": rf"{re.escape(self.on)}+", "2": rf"{re.escape(self.off)}+|^ +[0-9.]+ s"}
        self._colours = colours if person and not os.environ.get("NO_COLOR") else {}

    def keys(self) -> str:
        """What the person has typed since the last call; a terminal that has gone quits."""
        if not self.person or not select.select([0], [], [], 0)[0]:
            return ""
        with contextlib.suppress(OSError):
            return os.read(0, 1024).decode("ascii", "replace") or "q"
        return "q"

    def tell(self, text: str) -> None:
        """Add to the story."""
        self._write([*text.split("\n"), *self._picture])

    def draw(self, picture: list[str]) -> None:
        """Draw over the last picture, which has as many lines. What is too wide is cut: a line must stay a line."""
        columns = shutil.get_terminal_size().columns or 80  # a serial console does not know
        picture = [line[: columns - 1] for line in picture]
        if self.person and picture != self._picture:
            self._write(picture)
            self._picture = picture

    def _write(self, lines: list[str]) -> None:
        text = "".join(line + "\x1b[K" * self.person + "\n" for line in lines)
        for colour, what in self._colours.items():
            text = re.sub(what, f"\x1b[{colour}m\\g<0>\x1b[0m", text, flags=re.MULTILINE)
        sys.stdout.write(f"\x1b[{len(self._picture)}A\r" * bool(self._picture) + text)
        sys.stdout.flush()


class Race:
    """The runners, the reader and what it keeps, the network, the hand at the button; and the telling of it."""

    def __init__(self, sandbox: Sandbox, token: str, station: Station, scene: Scene) -> None:
        """Begins with the network there and nobody on the mat."""
        self._sandbox, self._token, self._station, self._scene = sandbox, token, station, scene
        self._shown, self._since = Indication.OFF, 0.0
        self._began = self._heard = time.monotonic()
        self._armed = self._held_until = self._next_runner = self._next_upload = 0.0
        self._online, self._plan = True, "away"  # what the network does next, unless a person takes it over
        self.read = self._kept = 0  # passings

    @property
    def session(self) -> Session:
        """What RUFUS has."""
        return self._sandbox.session(self._token)

    def run(self) -> None:
        """Play until the station shows that it is closed, or a person quits. Raises DemoFailed."""
        while self._shown is not Indication.CLOSED and "q" not in (keys := self._scene.keys()):
            select.select([self._station.led, *[sys.stdin] * self._scene.person], [], [], TICK)
            now = time.monotonic()
            for indication in self._station.shown():
                self._turn(indication, now)
            self._obey(keys, now)
            if self._armed:
                self._move(now, now - self._armed)
            self._scene.draw(self._drawn(now))
        while self._kept:  # what comes now is too late
            self._upload()

    def _tell(self, now: float, text: str, note: str = "") -> None:
        note = note or f"{self.read} read, {self.session.passings} in RUFUS"
        self._scene.tell(f"{now - self._began:5.1f} s  {text:<48} {note}")

    def _turn(self, indication: Indication, now: float) -> None:
        """The station shows something else."""
        self._shown, self._since = indication, now
        if indication is Indication.ARMED:
            self._armed = self._armed or now
        second = (light(indication, (step + 0.5) / 20) for step in range(20))
        if self._armed:
            text = STORY.get(indication, (DOING.get(indication, ""),))[0]
            self._tell(now, text, "".join(self._scene.on if lit else self._scene.off for lit in second))

    def _obey(self, keys: str, now: float) -> None:
        """Do what the person wants, who must want something in time."""
        if keys:
            self._heard = now
        if " " in keys:
            self._held_until = now + (REPEAT if now < self._held_until else KEY)
        if keys.count("o") % 2:
            self._plan = ""
            self._connect(not self._online, now)
        if now - self._heard > LIMIT:
            raise DemoFailed(
                f"no end in {LIMIT} s: {judge(self.session, self.read) or 'the station does not say closed'}"
            )

    def _pressed(self, now: float) -> bool:
        """Whether the person, or else the story, holds the button."""
        if self._scene.person:
            return now < self._held_until
        if self._shown is Indication.ARMED:
            return now - self._armed > LAST + HAND
        return self._shown is Indication.HOLDING or (self._shown is Indication.LET_GO and now - self._since < HAND)

    def _move(self, now: float, t: float) -> None:
        """The world goes on; `t` is the story's time."""
        self._station.press(self._pressed(now))
        waited = self._shown is Indication.PENDING and now - self._since > BACK
        if (self._plan == "away" and t > AWAY) or (self._plan == "back" and waited):
            self._plan = "back" if self._online else ""
            self._connect(not self._online, now)
        if now >= self._next_runner and t < LAST:
            self._next_runner = now + RUNNER
            self.read, self._kept = self.read + 1, self._kept + 1
        elif now >= self._next_runner:
            self._next_runner = math.inf
            self._tell(now, "the last runner is in")
        if self._online and self._kept and now >= self._next_upload:
            self._next_upload = now + UPLOAD
            self._upload()
            if not self._kept and self._next_runner == math.inf:
                self._tell(now, "the last passing is in")

    def _connect(self, online: bool, now: float) -> None:
        self._online = online
        self._sandbox.tell("online" if online else "offline")
        late = "; the late passings come in" * bool(self._kept)
        self._tell(now, f"the network is back{late}" if online else "no network: the reader keeps its passings")

    def _upload(self) -> None:
        self._kept -= 1
        self._sandbox.add_passing(self._token)

    def _drawn(self, now: float) -> list[str]:
        arrived = self.session.passings
        dot = self._scene.on if light(self._shown, now - self._since) else self._scene.off
        return [
            "",
            f"  LED      {dot}  {DOING.get(self._shown, 'off')}",
            f"  button   {'pressed' if self._pressed(now) else 'released'}",
            f"  reader   {self.read:2} read, {self._kept:2} kept  {tally(self._kept)}",
            f"  network  {'there' if self._online else 'away'}",
            f"  RUFUS    {arrived:2} arrived        {tally(arrived)}",
            "",
            f"  {STORY.get(self._shown, ('', ''))[1]}",
            "  space: the button   o: the network   q: quit",
        ]


def tally(count: int) -> str:
    """As people count by hand: 7 is "||||| ||"."""
    return " ".join("|" * min(5, count - start) for start in range(0, count, 5))


def judge(session: Session, read: int) -> str:
    """What is wrong with how a session ended, in a sentence; nothing where it was closed once, with all of `read`."""
    if session.active or not session.closes:
        return "nothing was closed: no call to RUFUS has closed the session"
    if session.closes > 1:
        return f"the session was closed {session.closes} times"
    if session.lost or session.passings != read:
        return f"passings were lost: {read} read, {session.passings} arrived, {session.lost} too late"
    return ""


def run(_: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return play()


def play() -> int:
    """Play it; the exit status: 0 only where the sandbox says that the session is closed and has every passing."""
    person = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # each ends what was begun
    if person:
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # a race does not pause
    try:
        with tempfile.TemporaryDirectory(prefix="rufusd-demo-") as folder, Sandbox() as sandbox:
            token = sandbox.add_session("DEMO-10K")
            station = Station(Path(folder), url=sandbox.url, key=sandbox.keys["READ_WRITE"], token=token)
            with contextlib.closing(station), keyboard() if person else contextlib.nullcontext():
                scene = Scene(person)
                scene.tell(INTRODUCTION)
                race = Race(sandbox, token, station, scene)
                race.run()
        session = race.session
        if wrong := judge(session, race.read):
            raise DemoFailed(wrong)
    except (DemoFailed, OSError) as problem:
        if isinstance(problem, BrokenPipeError):
            raise  # whoever read has gone: no news
        sys.stderr.write(f"rufusd: {problem}\n")
        return 1
    arrived = f"{race.read} passings read, {session.passings} arrived, {session.lost} lost"
    sys.stdout.write(f"\nclosed once, by RUFUS's own word; {arrived}\n")
    return 0
