"""What the kernel says of the GPIO chip and of who holds its lines. Asks, and takes no line."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Any

from rufusd.core.gpio import GpioChip, GpioLine

PROC = Path("/proc")
MODEL = Path("/proc/device-tree/model")
# The chip of the 40-pin header, as gpiozero finds it: a Pi 5's was the fifth in its first kernels.
_PATHS = ("/dev/gpiochip4", "/dev/gpiochip0")
_PI_5 = "pinctrl-rp1"
_LINES = range(28)

# linux/gpio.h's struct gpiochip_info (name, label, lines), and struct gpio_v2_line_info (name, consumer, offset,
# num_attrs, flags, and the attributes, which are passed over).
_INFO, _LINE = struct.Struct("=32s32sI"), struct.Struct("=32s32sIIQ176x")
_USED, _PULLS = 1 << 0, {1 << 8: "up", 1 << 9: "down", 1 << 10: "none"}


def look() -> GpioChip:
    """The header's chip and its lines. Raises nothing: what the kernel refuses is in `error`, an errno."""
    model = ""
    with contextlib.suppress(OSError):
        model = MODEL.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    for path in _PATHS:
        try:
            opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            failed = GpioChip(path, model, error=error.errno or errno.EIO)
            continue
        try:
            name, label, count = _ask(opened, 0x01, _INFO, bytes(_INFO.size), writes=False)
            if path == _PATHS[0] and not _text(label).startswith(_PI_5):
                continue
            held = _holders(_text(name))
            lines = {number: _line(opened, number, held.get(number)) for number in _LINES[: int(count)]}
            return GpioChip(path, model, _text(label), lines)
        except OSError as error:
            failed = GpioChip(path, model, error=error.errno or errno.EIO)
        finally:
            os.close(opened)
    return failed


def _ask(chip: int, number: int, form: struct.Struct, question: bytes, *, writes: bool = True) -> tuple[Any, ...]:
    """One ioctl. Raises OSError."""
    buffer = bytearray(question)
    fcntl.ioctl(chip, (3 if writes else 2) << 30 | form.size << 16 | 0xB4 << 8 | number, buffer)
    return form.unpack(buffer)


def _line(chip: int, number: int, holder: tuple[int, str] | None) -> GpioLine:
    _, consumer, _, _, flags = _ask(chip, 0x05, _LINE, _LINE.pack(b"", b"", number, 0, 0))
    pull = next((pull for flag, pull in _PULLS.items() if flags & flag), "")
    return GpioLine(bool(flags & _USED), _text(consumer), pull, *(holder or (0, "")))


def _holders(chip: str) -> dict[int, tuple[int, str]]:
    """Which process holds which line, and what it is called: since Linux 6.2, and of all processes only for root."""
    found: dict[int, tuple[int, str]] = {}
    for process in PROC.iterdir():
        with contextlib.suppress(OSError):  # another's, or gone meanwhile
            for each in os.listdir(process / "fd") if process.name.isdigit() else ():
                with contextlib.suppress(OSError):
                    if "gpio-line" in os.readlink(process / "fd" / each):
                        facts = [line.split() for line in (process / "fdinfo" / each).read_text("ascii").splitlines()]
                        if ["gpio-chip:", chip] in facts:
                            who = int(process.name), (process / "comm").read_text("utf-8", "replace").strip()
                            found.update({int(fact[1]): who for fact in facts if fact[0] == "gpio-line:"})
    return found


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace")
