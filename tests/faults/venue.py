"""A station at a venue whose network fails: the way to RUFUS, what is wrong with it, and what the station says."""

from __future__ import annotations

import base64
import itertools
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from families import Family
from servers import Peer, Server, relay
from stations import Station, until

from rufusd.core.delivery import PATIENCE
from rufusd.training.sandbox import Sandbox

Script = Callable[[Peer], None]

#: Seconds that a busy machine may take for a step of milliseconds. When the next attempt is due is looked at apart.
MARGIN = 30.0
STEP = 0.2  # retry.max
FIRST = 0.05  # retry.first
BUTTON = {"bounce_time": 0, "hold_time": 0.05}
_numbers = itertools.count()

# -- keys

CORE = "Qz7mKx2VwT9pLr4sHd3N"  # in every key: whatever quotes, cuts or escapes a key, some of this comes through

#: Keys that the configuration takes, as they may have to be escaped anywhere.
KEYS = {
    "usual": f"ror-{CORE}",
    "quotes": f"\"'{CORE}'\"`",
    "percent": f"%s%(key)d%{CORE}%n%%",
    "format": f"{{0}}{{key!r}}{CORE}{{",
    "escapes": f"\\u0041\\n{CORE}\\x00\\",
    "shell": f"$(id)&;|~{CORE}!*?",
    "URL": f"ror-%41+/=?#@:{CORE}&a=b",
    "long": (CORE * 205)[:4096],
}


def traces(data: bytes) -> list[bytes]:
    """The parts of a key that are in this: as they are, cut short, in UTF-16, in hexadecimal digits or base64."""
    forms = [
        CORE.encode(),
        CORE.encode("utf-16-le"),
        CORE.encode().hex().encode(),
        CORE.encode().hex().upper().encode(),
    ]
    forms += [base64.b64encode(b"x" * shift + CORE.encode())[4:-4] for shift in range(3)]
    windows = {form[at : at + 10] for form in forms for at in range(len(form) - 9)}
    return sorted(window for window in windows if window in data)


# -- ways to RUFUS


def to(port: int) -> Script:
    """A script: carry the call to a port of this machine, and its answer back."""

    def script(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as far:
            far.sendall(peer.request())
            relay(peer.sock, far)

    return script


def acted(port: int, request: bytes) -> None:
    """Have RUFUS act on a call, and keep its answer from whoever made it."""
    with socket.create_connection(("127.0.0.1", port)) as far:
        far.sendall(request)
        while far.recv(65536):
            pass


class Door(Server):
    """One address that has a fault until it is mended, and then does what it should."""

    def __init__(
        self,
        fault: Script,
        right: Script,
        tls: ssl.SSLContext | None = None,
        right_tls: ssl.SSLContext | None = None,
        at: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        """`right_tls` is for once it is mended; without it, `tls` is for always."""
        super().__init__(lambda peer: self.answers(peer), tls, at)
        self.answers, self._right, self._right_tls = fault, right, right_tls or tls

    def mend(self) -> None:
        """The cause is gone, for every call that comes from now on."""
        self._tls, self.answers = self._right_tls, self._right


class Shut(Door):
    """Nothing listens here, until it is mended. The port stays its own."""

    queue: int | None = None  # how many may wait though nobody accepts

    def __enter__(self) -> Shut:
        """Take the place of the listener."""
        port = self.port
        self._listener.close()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._waiting: list[socket.socket] = []
        if self.queue is not None:
            self._listener.listen(self.queue)
            for _ in range(self.queue + 4):
                self._waiting.append(socket.socket())
                self._waiting[-1].setblocking(False)
                self._waiting[-1].connect_ex(("127.0.0.1", port))
        return self

    def mend(self) -> None:
        """Listen."""
        super().mend()
        self._listener.listen(100)
        for sock in self._waiting:
            sock.close()
        self._waiting = []
        self._threads[0].start()

    def __exit__(self, *exception: object) -> None:
        """End as any other, once it has begun."""
        if not self._threads[0].ident:
            self.mend()
        super().__exit__(*exception)


class Hole(Shut):
    """Swallows what would connect, as a dead route does: the listener's queue is full."""

    queue = 0


# -- the station there


@dataclass
class Trial:
    """One station with one way to RUFUS, for one point."""

    folder: Path
    rufus: Sandbox
    forge: Any
    key: str = KEYS["usual"]
    permission: str = "READ_WRITE"
    quiet: float = 0.0
    timeout: float = 2.0
    step: float = STEP
    first: float = FIRST
    unheard: bool = False  # whether RUFUS's answer to the close is lost, so that it must be asked again
    api: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    said: bytes = b""  # what its commands have said

    def __post_init__(self) -> None:
        """Prepare the station; nothing runs yet."""
        self.rufus.keys[self.permission] = self.key
        self.token = self.rufus.add_session("FINISH-10K")
        self.other = self.rufus.add_session("START-10K")
        self.station = Station(
            self.folder / f"trial{next(_numbers)}",
            api={"key": self.key, "url": self.rufus.url, "timeout": self.timeout, **self.api},
            session={"token": self.token},
            button=BUTTON,
            close={"quiet": self.quiet},
            retry={"first": min(self.step, self.first), "max": self.step},
        )
        self.station.launcher = self.forge

    def __enter__(self) -> Trial:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the daemon, if it still runs."""
        if self.station.process:
            self.station.stop()

    def press(self) -> None:
        """Start, and confirm by the button, as at a race."""
        self.station.start("17 high", env=self.env)
        self.station.shows("armed")
        self.station.press()
        until(lambda: self.station.records("pending") + self.station.records("closed"))

    def entry(self) -> dict[str, Any]:
        """The close in the daemon's view; nothing once it is closed."""
        return next(iter(self.station.view()["closes"]), {})

    def suffers(self, attempts: int = 2) -> dict[str, Any]:
        """Wait until so many attempts have failed, and the close shows why. An empty entry if it claims success."""

        def failed() -> dict[str, Any]:
            entry = self.entry()
            if self.station.records("closed"):
                return {"last_error": None, "next_attempt_in": None}
            return entry if entry.get("attempts", 0) >= attempts and entry["last_error"] else {}

        return until(failed)

    def complaint(self, says: tuple[str, ...], error: str) -> str:
        """What is wrong with how a close that RUFUS has not answered is shown: it is not closed, and says why."""
        shown = self.station.read()
        missing = [words for words in says if words not in error]
        if missing:
            return f"no {missing} in {error!r}"
        if f"not closed yet: {error} token={self.token}" not in self.station.logged():
            return f"not logged: {error!r}"
        if self.station.records("pending") != [self.token] or self.station.records("closed"):
            return "it is not pending"
        if "closed" in shown or self.station.view()["indicator"] not in ("pending", "fault_pending"):
            return f"it shows {shown}"
        return ""

    def closes(self, within: float) -> float | None:
        """Seconds until the close is delivered; None where that takes longer."""
        began = time.monotonic()
        with suppress(AssertionError):
            until(lambda: self.station.records("closed") == [self.token], patience=within)
            until(lambda: "closed" in self.station.read())
            return time.monotonic() - began
        return None

    @property
    def effects(self) -> str:
        """What should not have been: a call after RUFUS said "closed", or another session closed."""
        calls = [call for call in self.rufus.calls if call.method == "PATCH"]
        heard = [number for number, call in enumerate(calls) if call.status == 200][:1]
        if heard and heard[0] + 1 < len(calls) and not self.unheard:
            return f"called {len(calls) - heard[0] - 1} times more after it was closed"
        if not self.rufus.session(self.other).active:
            return "another session is closed"
        return ""

    def leaks(self) -> list[bytes]:
        """The parts of the key in all that the station has said and written, but for its configuration."""
        station = self.station
        files = [path for path in station.folder.rglob("*") if path.is_file() and path.parent != station.folder]
        read = [path.read_bytes() for path in (*files, station.folder / "log") if path.exists()]
        return traces(b"\n".join([*read, station.log.encode(), self.said]))

    def processes(self) -> bytes:
        """What others see of the daemon, if it was started as a program of its own: its arguments, its environment."""
        folder = Path("/proc", str(self.station.process.pid))
        return b"".join((folder / name).read_bytes() for name in ("cmdline", "environ", "comm"))

    def ask(self, command: str, *more: str) -> str:
        """Run a command of the station; what it said."""
        ran = self.station.command(command, *more)
        self.said += (ran.stdout + ran.stderr).encode()
        return ran.stdout + ran.stderr


def recovers(
    family: Family,
    point: object,
    trial: Trial,
    says: tuple[str, ...],
    mend: Callable[[], Any],
    *,
    slow: bool = False,
    attempts: int = 2,
    waits: float = 0.0,
    within: float | None = None,
) -> None:
    """One point: a close is confirmed and cannot be delivered, which is shown; the cause goes, and it is delivered.

    `slow`: RUFUS itself refused, or named a time, and it is tried again after ten steps at most instead of one.
    `waits`: seconds that must lie between two attempts. `within`: those that the delivery may take, else one step's.
    """
    with trial:
        began = time.monotonic()
        trial.press()
        entry = trial.suffers(attempts)
        early = time.monotonic() - began < waits * (attempts - 1)
        wrong = trial.complaint(says, entry["last_error"] or "") or "it did not wait as told" * early
        step = trial.step * (PATIENCE if slow else 1)
        if not 0 <= (entry["next_attempt_in"] or 0) <= max(step, trial.quiet):
            wrong = wrong or f"the next attempt is in {entry['next_attempt_in']} s"
        claimed = bool(trial.station.records("closed"))
        mend()
        took = trial.closes(within=within or step + trial.timeout + trial.quiet + MARGIN)
        trial.station.stop()
        wrong = wrong or trial.effects or ("a traceback" if "Traceback" in trial.station.logged() else "")
        if found := trial.leaks():
            wrong = f"the key shows: {found[0]!r}"
        closed = not trial.rufus.session(trial.token).active
        family.check(point, lost=took is None, false=claimed or (took is not None and not closed), wrong=wrong)


def keyless(door: Server) -> str:
    """What is wrong if a call, or a part of one, has come to a server that is not RUFUS."""
    came = b"".join(door.requests + door.left_over)
    return "it was called" if door.requests or b"api" in came or b"sessions" in came else ""


def rotated(items: Mapping[str, str]) -> Iterator[str]:
    """The values, over and over."""
    return itertools.cycle(items.values())
