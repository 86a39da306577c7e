"""Stations that start in milliseconds: one process has imported all of rufusd, and each station is a fork of it.

Nearly all of what a start costs goes to imports, and thousands of points are affordable only without them. A fork is a
process in its own right, which is killed, fails and holds locks as any other; that imports come in the right order is
shown elsewhere, on stations that are started from nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PATIENCE = 60.0  # seconds after which a command is not waited for any more, however busy the machine


class Forked:
    """One station or command, as far as a `subprocess.Popen` of it is needed."""

    def __init__(self, call: socket.socket, stdin: IO[bytes] | None, stdout: IO[bytes] | None) -> None:
        self._call = call
        self._said = b""
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None
        self.pid = int(self._line(PATIENCE))

    def _line(self, timeout: float) -> bytes:
        """The next line from the process that waits for this one. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._said:
            self._call.settimeout(max(1e-9, deadline - time.monotonic()))
            try:
                came = self._call.recv(100)
            except (socket.timeout, BlockingIOError):
                raise TimeoutError from None
            assert came, "the process that forks stations has ended"
            self._said += came
        line, _, self._said = self._said.partition(b"\n")
        return line

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; the exit status, or minus the signal. Raises TimeoutExpired."""
        if self.returncode is None:
            try:
                self.returncode = int(self._line(timeout))
            except TimeoutError:
                raise subprocess.TimeoutExpired("a forked station", timeout) from None
            self._call.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Forge:
    """The process that forks. What the libraries in `preload` do is told by each fork's environment."""

    def __init__(self, folder: Path, *preload: Path, inside: Sequence[str] = ()) -> None:
        """`inside` is a command that becomes the one in its arguments, as unshare(1) does, elsewhere."""
        self._path = str(folder / "forge")
        env = {**os.environ, "LD_PRELOAD": ":".join(map(str, preload))}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        program = [*inside, sys.executable, __file__, self._path]
        self._process = subprocess.Popen(program, env=env, **pipes)  # type: ignore[call-overload]
        assert self._process.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        """Of the process that forks."""
        return int(self._process.pid)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE)

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        env: Mapping[str, str] | None = None,
    ) -> Any:
        """Fork a `python -m rufusd ...`; as `subprocess.Popen` does, but that `env` adds to what there is."""
        files: list[IO[bytes] | None] = [None, None]
        given = [stdin, stdout, stderr]
        for place, number in enumerate((stdin, stdout)):
            if number == subprocess.PIPE:
                reading, writing = os.pipe()
                given[place] = (reading, writing)[place]
                files[place] = open((writing, reading)[place], ("wb", "rb")[place], buffering=0)  # noqa: SIM115 - theirs who asked
        call = socket.socket(socket.AF_UNIX)
        call.connect(self._path)
        words = {"arguments": list(arguments[3:]), "env": dict(env or {})}
        socket.send_fds(call, [json.dumps(words).encode()], given)
        for place, number in enumerate((stdin, stdout)):
            if number == subprocess.PIPE:
                os.close(given[place])
        return Forked(call, *files)

    def run(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Fork a command, wait for its end, and give what it said; as `subprocess.run` does."""
        with contextlib.ExitStack() as stack:
            nothing = stack.enter_context(open(os.devnull, "rb"))
            out, err = (stack.enter_context(open(os.memfd_create("said"), "w+b")) for _ in range(2))
            forked = self.start(arguments, stdin=nothing.fileno(), stdout=out.fileno(), stderr=err.fileno(), env=env)
            status = forked.wait()
            said = [os.pread(file.fileno(), 1 << 24, 0).decode() for file in (out, err)]
        return subprocess.CompletedProcess(list(arguments), status, *said)


def _serve(path: str) -> None:
    """Fork for each connection one process, which forks the station, and tells its number and its end."""
    import gpiozero.pins.mock  # noqa: F401
    import tomli  # noqa: F401

    from rufusd.adapters import config, pins, rufus, runtime  # noqa: F401
    from rufusd.adapters.closes import spool  # noqa: F401
    from rufusd.commands import cli
    from rufusd.daemon import loop  # noqa: F401
    from rufusd.text import report  # noqa: F401
    from rufusd.training import demo, sandbox, simulate  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if os.fork():  # whose standard input ends when the tests do
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)
    while True:
        call = listener.accept()[0]
        if os.fork() == 0:
            listener.close()
            _fork(call, cli.main)
        call.close()


def _fork(call: socket.socket, main: Any) -> None:
    words, files, _, _ = socket.recv_fds(call, 1 << 16, 3)
    told = json.loads(words)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        call.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, 64)
        os.environ.update(told["env"])
        try:
            status = main(told["arguments"])
        except SystemExit as end:
            status = end.code
        sys.stdout.flush()
        os._exit(status)
    call.sendall(f"{child}\n".encode())
    for file in files:
        os.close(file)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        call.sendall(f"{status}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    os.setpgid(0, 0)
    _serve(sys.argv[1])
