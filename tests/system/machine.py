"""A station as a container: systemd as process 1, from one of the roots, with no network but its own loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from rootfs import PATH
from stations import until

REPOSITORY = Path(__file__).parents[2]
PORT = 8470


class Machine:
    """A booted copy of a root file system, on the same disk, which is gone with it."""

    def __init__(self, root: Path, log: Path) -> None:
        """Boots; RuntimeError, with what nspawn said, where that is not possible here."""
        self._log = log
        self._leader = 0
        with open(log, "wb") as said:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--directory", root, "--ephemeral", "--private-network",
                 "--register=no", "--keep-unit", "--system-call-filter=@clock",  # which a Pi has, and nspawn takes away
                 "--boot", "systemd.show_status=0"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **PATH},
            )  # fmt: skip
        try:
            until(self._is_up, patience=60)
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str | Path, check: bool = True, stdin: str = "") -> str:
        """Run a command inside to its end; all that it said. With `check`, AssertionError where it fails."""
        ended = self.try_(*command, stdin=stdin)
        assert not check or ended.returncode == 0, f"{command} failed with {ended.returncode}:\n{ended.stdout}"
        return ended.stdout

    def try_(self, *command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end, whatever that is; standard error is in `stdout`, too."""
        return subprocess.run(
            self._inside("--all", *command), input=stdin, stdout=-1, stderr=-2, env=PATH, text=True, timeout=120
        )

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a program of the host's in the machine's network."""
        return subprocess.Popen(self._inside("--net", *command), stdin=-1, stdout=-1, text=True, cwd=REPOSITORY)

    def path(self, inside: str) -> Path:
        """The host's path for one of the machine's."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def write(self, inside: str, text: str) -> None:
        """Write a file in place, as an editor does."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text, encoding="utf-8")

    def show(self, name: str, unit: str = "rufusd.service") -> str:
        """What `systemctl show` says of one property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def journal(self, *more: str) -> str:
        """What rufusd and systemd have said about it; `more` as for journalctl."""
        return self.run("journalctl", "--unit=rufusd.service", "--output=cat", "--no-pager", *more)

    def stop(self) -> None:
        """Power off, and make sure of it."""
        for number in (signal.SIGRTMIN + 4, signal.SIGKILL):  # systemd(1): the first powers off
            if self._nspawn.poll() is None and self._leader:
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.kill(self._leader, number)
                    self._nspawn.wait(20)  # it removes the copy, and all that it has made
        if self._nspawn.poll() is None:
            self._nspawn.terminate()
            self._nspawn.wait(20)

    def _inside(self, namespaces: str, *command: str | Path) -> list[str]:
        return ["/usr/bin/nsenter", f"--target={self._leader}", namespaces, "--", *map(str, command)]

    def _is_up(self) -> bool:
        """Looks at nspawn's child anew each time: the first one only makes the one that becomes systemd."""
        if self._nspawn.poll() is not None:
            raise RuntimeError(f"systemd-nspawn: {self._log.read_text(errors='replace').strip()}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        self._leader = int(children[0]) if children else 0
        state = self.try_("systemctl", "is-system-running").stdout.strip() if self._leader else ""
        return state in ("running", "degraded")


class Rufus:
    """`rufusd sandbox` as a program of the host's in the machine's network, told what to do on its standard input."""

    def __init__(self, machine: Machine) -> None:
        """Starts it, and waits until it listens."""
        self._process = machine.start(sys.executable, "-m", "rufusd", "sandbox", "--port", str(PORT))
        self.url = f"http://127.0.0.1:{PORT}/v0"
        welcome = ""
        while "\nFrom another terminal" not in welcome:  # its last paragraph, of one line
            welcome += self._line()
        self._line()
        self._sessions = 1
        self.key = re.findall("READ_WRITE ([^ ]+)\n", welcome)[0]

    def open(self, alias: str) -> str:
        """Open a session; its token."""
        self._sessions += 1
        return self.tell(f"session {alias}").split()[-1]

    def tell(self, command: str, lines: int = 1) -> str:
        """Say a command, and read so many lines of its answer."""
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return "".join(self._line() for _ in range(lines))

    def is_closed(self, token: str) -> bool:
        """Whether this session is."""
        shown = self.tell("show", 1 + self._sessions).splitlines()
        return next(line.split()[1] for line in shown if line.endswith(token)) == "closed"

    def stop(self) -> None:
        """End it, and close what leads to it."""
        self._process.terminate()
        self._process.communicate(timeout=10)

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the sandbox has ended"
        return line
