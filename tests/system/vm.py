"""A station as a virtual machine: Debian's kernel with gpio-sim, systemd, rufusd as installed, a disk that can forget.

The disk is served by nbdkit with a volatile cache: what the machine has not flushed is lost when the power is cut.
"""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stations import until
from vm_image import Image

HOST = "10.0.2.2"  # as the machine sees this one's loopback
BUTTON = 17
BOOTS = 120.0  # seconds that this may take on a busy machine: every instruction is emulated
TOOLS = ("qemu-system-x86_64", "nbdkit", "mke2fs")


@dataclass(frozen=True)
class Sight:
    """What a person beside it saw from `at` on (the host's monotonic seconds), and the daemon's words for it."""

    at: float
    led: bool
    buzzer: bool
    indicator: str
    token: str


class Vm:
    """One machine with one disk, through many starts."""

    def __init__(self, image: Image, folder: Path) -> None:
        """Makes the disk; starts nothing."""
        self._image, self._folder = image, folder
        self._disk = folder / "disk.img"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port: socket.socket | None = None
        self._heard = b""
        self._answers: list[Any] = []
        self.sights: list[Sight] = []
        subprocess.run(["cp", "--sparse=always", image.disk, self._disk], check=True)

    # -- the power

    def start(self) -> None:
        """Switch it on, and wait until it listens."""
        assert not self._processes
        for name in ("disk", "agent"):
            (self._folder / name).unlink(missing_ok=True)
        self._heard, self._answers, self.sights = b"", [], []
        self._start("nbdkit", "--foreground", "--exit-with-parent", "--unix", self._folder / "disk", "--filter=cache",
                  "file", self._disk, "cache=writeback")  # fmt: skip
        until(lambda: (self._folder / "disk").exists())
        self._start(
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35", "-smp", "2", "-m", "512",
            "-nodefaults", "-display", "none", "-no-reboot", "-kernel", self._image.kernel,
            "-initrd", self._image.initrd,
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on systemd.show_status=0",
            "-serial", f"file:{self._folder}/console", "-serial", f"unix:{self._folder}/agent,server=on,wait=off",
            "-blockdev", f"driver=nbd,server.type=unix,server.path={self._folder}/disk,node-name=disk",
            "-device", "virtio-blk-pci,drive=disk,write-cache=on", "-nic", "user,model=virtio-net-pci",
        )  # fmt: skip
        self._port = socket.socket(socket.AF_UNIX)
        try:
            until(self._connected)
            self._port.setblocking(False)
            until(lambda: self._read() or self.sights, patience=BOOTS)
        except AssertionError as error:
            raise AssertionError(f"the machine does not start: {self.console()}") from error

    def cut(self) -> float:
        """Cut its power, and with it the disk's; when that was. `sights` holds what was seen before."""
        for process in reversed(self._processes):
            process.kill()
        cut = time.monotonic()
        for process in self._processes:
            process.wait(20)
        self._processes = []
        if self._port:
            self._read(cut)
            self._port.close()
            self._port = None
        return cut

    def discard(self) -> None:
        """Leave nothing of it but the console's log."""
        self.cut()
        self._disk.unlink()

    # -- inside

    def run(self, *command: str) -> str:
        """Run a command to its end; all that it said."""
        said: str = self._ask("run", *command)
        return said

    def write(self, name: str, text: str) -> None:
        """Write a file, so that it outlives a power cut."""
        self._ask("write", name, text)

    def button(self, *, pressed: bool) -> None:
        """Connect the button's line to ground, or let it go."""
        self._ask("pull", BUTTON, not pressed)

    def line(self, number: int, what: str) -> str:
        """The file of a line's `pull` (what is outside) or `value` (what the kernel reads or drives)."""
        return f"/sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio{number}/{what}"

    def look(self) -> Sight:
        """What is to be seen now."""
        self._read()
        return self.sights[-1]

    def shows(self, indication: str, token: str) -> None:
        """Wait until this is what the daemon shows, for this session."""
        until(lambda: (self.look().indicator, self.look().token) == (indication, token), patience=BOOTS)

    def watch(self, seconds: float) -> None:
        """Look on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read()
            time.sleep(0.001)

    def console(self) -> str:
        """What the kernel and systemd said."""
        return (self._folder / "console").read_text(errors="replace")

    def _ask(self, *words: Any) -> Any:
        assert self._port
        self._port.sendall(json.dumps(words).encode() + b"\n")
        until(lambda: self._read() or self._answers, patience=BOOTS)
        return self._answers.pop()

    def _read(self, at: float | None = None) -> None:
        """Take in what the machine has said so far, by `at` or by now."""
        assert self._port
        try:
            while came := self._port.recv(65536):
                self._heard += came
        except BlockingIOError:
            pass
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                said = json.loads(line)
                if "sight" in said:
                    self.sights.append(Sight(at or time.monotonic(), **said["sight"]))
                elif "answer" in said:
                    self._answers.append(said["answer"])

    def _connected(self) -> bool:
        assert self._port
        try:
            self._port.connect(str(self._folder / "agent"))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def _start(self, *command: str | Path) -> None:
        self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))


def missing() -> str:
    """What this machine lacks for all this; empty where it lacks nothing."""
    if platform.machine() != "x86_64":
        return "a 64-bit PC"  # for Debian's kernel as it is called here
    return ", ".join(tool for tool in TOOLS if not shutil.which(tool))
