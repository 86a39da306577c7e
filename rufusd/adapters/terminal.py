"""The terminal that a picture is drawn on, again and again in place, and given back as it was. Plain ANSI sequences."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from types import TracebackType
from typing import Any

# A screen of its own, without a cursor, and without wrapping, so that a character that is wider than it says does no
# harm (ECMA-48; xterm's private modes 1049, 25 and 7).
BEGIN, END = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
CLEAR = "\x1b[2J"


class Terminal:
    """Standard output, and the keys of standard input, if that is a terminal too. Whatever ends it gives it back."""

    def __init__(self) -> None:
        """Touches nothing yet."""
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._mode: list[Any] = []
        self._size = (0, 0)
        self._shown: list[str] = []

    def __enter__(self) -> Terminal:
        """Begin; a signal that would end the program, or the connection, interrupts it as Ctrl-C does.

        Ctrl-C itself, too, though a script that starts a program with `&` has it ignored.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        signal.signal(signal.SIGTSTP, lambda *_: self._stop())
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        """Give it back."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)  # from here on, whoever puts it aside finds it as it is to stay
        self._end()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            width = height = 0
        return width or 80, height or 24  # a serial console may not know

    def show(self, rows: list[str]) -> bool:
        """Draw the rows that are not there yet; False once there is no terminal any more."""
        size = self.size
        parts = []
        if size != self._size:
            self._size, self._shown = size, []
            parts.append(CLEAR)
        before = self._shown + [""] * (len(rows) - len(self._shown))
        for place, row in enumerate(rows + [""] * (len(before) - len(rows))):
            if row != before[place]:
                parts.append(f"\x1b[{place + 1}H{row}\x1b[K")
        self._shown = list(rows)
        return self._write("".join(parts))

    def key(self, patience: float) -> str:
        """The key that was pressed within so many seconds, or none."""
        if not select.select([] if self._keys is None else [self._keys], [], [], patience)[0]:
            return ""
        try:
            came = os.read(self._keys or 0, 1)
        except OSError:
            came = b""
        if not came:
            self._keys = None  # nobody types any more
        return came.decode("ascii", "replace")

    def _begin(self) -> None:
        if self._keys is not None:
            self._mode = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._size = (0, 0)
        self._write(BEGIN)

    def _end(self) -> None:
        self._write(END)
        if self._mode and self._keys is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._mode)

    def _stop(self) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, until `fg`."""
        self._end()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._begin()

    @staticmethod
    def _write(text: str) -> bool:
        """Without a buffer, since a signal may want to write in the middle of it."""
        rest = text.encode(sys.stdout.encoding, "replace")
        try:
            while rest:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
        except OSError:
            return False
        return True
