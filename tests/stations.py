"""A whole station as a real process, for the tests: the daemon, its folders, its configuration and its pins."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 60.0  # seconds after which what has not come is not waited for any more, however busy the machine
NOBODY = 65534  # a user and a group that own nothing

#: The shortest durations that still show each step; a test lengthens what it looks at.
QUICK: dict[str, dict[str, Any]] = {
    "session": {"name": "FINISH-10K"},
    "button": {"pin": 17, "bounce_time": 0.02, "hold_time": 0.3, "stuck_time": 60},
    "led": {"pin": 27},
    "close": {"grace": 0, "quiet": 0, "max_wait": 30},
    "retry": {"first": 0.05, "max": 0.2},
    "api": {"timeout": 2},
}
READER = {"pin": 22, "bounce_time": 0.02, "arm_time": 0.3, "settle_time": 0.3, "pull": "up"}


def until(what: Callable[[], T], *, patience: float = PATIENCE, told: Callable[[], str] = lambda: "") -> T:
    """Wait for a condition to come true, and give what it gave. `told` says what is true where it does not come."""
    deadline = time.monotonic() + patience
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"not so within {patience} s: {what} {told()}"
        time.sleep(0.005)


def within(limit: float, what: Callable[[], float], *, tries: int = 25) -> None:
    """Try until `what`, which gives the seconds that it took, takes less than this.

    Other programs on the machine only slow it down: what is too slow by itself is so each time.
    """
    took = [what()]
    while min(took) >= limit:
        assert len(took) < tries, f"never within {limit} s: {took}"
        took.append(what())


def unserved(thread: Path | str | int = "thread-self") -> float:
    """Seconds that a thread could have run and did not, so far: other programs had the processor (proc(5))."""
    return int(Path(f"/proc/{thread}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root is an ordinary user for a moment, in none of root's groups; whoever is not root stays who they are."""
    if os.geteuid():
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """A process that does not outlive this, whatever fails in it."""
    with process:
        try:
            yield process
        finally:
            process.kill()  # which does nothing to one that has been waited for


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a configuration."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


class Fresh:
    """Starts each daemon and command as a user does: a new process, which imports what it needs."""

    def start(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, **pipes: int) -> Any:
        """A `subprocess.Popen`; `env` adds to what there is."""
        return subprocess.Popen(arguments, env={**os.environ, **(env or {})}, **pipes)

    def run(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with nothing to read."""
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )


class Station:
    """The daemon on simulated pins (or, by `command` and `env`, on others), as a process of its own."""

    launcher: Any = Fresh()

    def __init__(self, folder: Path, **tables: Mapping[str, Any] | None) -> None:
        """`tables` change QUICK, key by key; None takes a table away. Writes the configuration, starts nothing."""
        self.folder = folder
        self.state = folder / "state"
        self.run = folder / "run"
        self.config = folder / "config.toml"
        self.tables = {name: dict(table) for name, table in QUICK.items()}
        self.log = ""
        self.shown: list[str] = []
        self.process: Any = None  # a subprocess.Popen, or what its launcher makes in its place
        self.state.mkdir(parents=True, exist_ok=True)
        self.configure(**tables)

    def configure(self, **tables: Mapping[str, Any] | None) -> None:
        """Change the configuration file."""
        for name, table in tables.items():
            if table is None:
                self.tables.pop(name, None)
            else:
                self.tables[name] = {**self.tables.get(name, {}), **table}
        self.config.write_text(toml(self.tables), encoding="utf-8")

    def arguments(self, command: str) -> list[str]:
        """How a command of this station is called."""
        given = ["--config", str(self.config), "--state-dir", str(self.state)]
        given += ["--runtime-dir", str(self.run)] if command != "check" else []
        return [sys.executable, "-m", "rufusd", command, *given]

    def start(self, *pins: str, command: str = "simulate", env: Mapping[str, str] | None = None) -> Station:
        """Start the daemon; `pins` are the first lines for the simulated ones, there before it opens them."""
        with open(self.folder / "log", "ab") as log:
            self.process = self.launcher.start(
                self.arguments(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.fileno(), env=env
            )
        self.tell(*pins)
        return self

    def tell(self, *lines: str) -> None:
        """Move the simulated pins."""
        assert self.process
        assert self.process.stdin
        if lines:
            self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            self.process.stdin.flush()

    def press(self) -> None:
        """Hold the simulated button until the LED says "let go", and let go."""
        so_far = len(self.read())
        self.tell("17 low")
        self.shows("let_go", since=so_far)
        self.tell("17 high")

    def tap(self) -> int:
        """Press the simulated button for a moment, until that takes a close back; what `shows("withdrawn")` gives.

        On a busy machine a tap may be taken for a hold, or come too soon after the confirmation: then once more.
        """

        def taken_back() -> int:
            so_far = len(self.read())
            self.tell("17 low")
            pressed = self.shows("holding", since=so_far)
            self.tell("wait 0.2", "17 high")
            until(lambda: {"withdrawn", "grace"} & set(self.read()[pressed:]))
            found = self.shown[pressed:]
            return pressed + found.index("withdrawn") + 1 if "withdrawn" in found else 0

        return until(taken_back)

    def read(self) -> list[str]:
        """Every indication that the daemon has shown so far, in order."""
        assert self.process
        assert self.process.stdout
        while select.select([self.process.stdout], [], [], 0)[0]:
            came = os.read(self.process.stdout.fileno(), 65536)
            if not came:
                break
            self.log += came.decode()
        self.shown = [line.partition(":")[0] for line in self.log.splitlines()]
        return self.shown

    def shows(self, indication: str, *, since: int = 0) -> int:
        """Wait until this is shown (after the first `since` indications); how many there were up to it."""

        def look() -> int:
            assert self.process
            found = self.read()[since:]
            if indication in found:
                return since + found.index(indication) + 1
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.logged()}"
            return 0

        return until(look, told=lambda: f"{indication} after {self.shown[-6:]}: {self.logged()[-1500:]}")

    def status(self) -> dict[str, Any]:
        """`rufusd status --json`."""
        found: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return found

    def view(self) -> dict[str, Any]:
        """The daemon's own view, read from its file: quicker than the command, for waiting."""
        try:
            found: dict[str, Any] = json.loads((self.run / "status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"closes": [], "faults": [], "indicator": "off", "button": {}, "reader": {}, "daemon": {}}
        return found

    def command(self, name: str, *more: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of this station to its end."""
        return self.launcher.run([*self.arguments(name), *more], env=env)

    def records(self, state: str) -> list[str]:
        """The tokens of the records in one folder of the spool."""
        return sorted(path.stem for path in (self.state / state).glob("*.json"))

    def logged(self) -> str:
        """What the daemon has logged."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def send(self, number: int) -> None:
        """Send the daemon a signal."""
        assert self.process
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the daemon; its exit status."""
        assert self.process
        process = self.process
        if process.poll() is None:
            process.send_signal(number)
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            self.read()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
            self.process = None
        return status
