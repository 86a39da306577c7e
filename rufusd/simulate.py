"""Simulated pins, driven by lines of text: what `rufusd simulate` reads from its standard input."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from rufusd.settings import Wrong, pin_number


class Unreadable(Exception):
    """A line that is no command."""


class Script:
    """Reads commands as they come, in the scan loop: `17 low`, `BOARD11 high`, `wait 2.5`, `quit`, `# a comment`."""

    def __init__(self, file: int, drive: Callable[[int, bool], None]) -> None:
        """`file` is the descriptor to read, `drive` moves a pin by its GPIO number."""
        self._file = file
        self._drive = drive
        self._rest = b""
        self._ended = False
        self._paused_until = 0.0
        self._line = 0

    def advance(self, now: float) -> bool:
        """Do what is due by now (monotonic seconds); False after `quit`. Raises Unreadable."""
        while now >= self._paused_until:
            line = self._next()
            if line is None:
                return True
            words = line.partition("#")[0].split()
            if words == ["quit"]:
                return False
            if words:
                self._obey(words, now)
        return True

    def _next(self) -> str | None:
        """The next whole line, or None where there is none yet, or no more."""
        while b"\n" not in self._rest and not self._ended and select.select([self._file], [], [], 0)[0]:
            came = os.read(self._file, 65536)
            self._ended = not came
            self._rest += came if came or not self._rest else b"\n"  # a last line may lack its end
        line, found, rest = self._rest.partition(b"\n")
        if not found:
            return None
        self._rest = rest
        self._line += 1
        return line.decode("utf-8", "replace")

    def _obey(self, words: list[str], now: float) -> None:
        try:
            if len(words) == 2 and words[0] == "wait":
                self._paused_until = now + max(0.0, float(words[1]))
                return
            if len(words) == 2 and words[1] in ("low", "high"):
                self._drive(pin_number(words[0]), words[1] == "high")
                return
        except (Wrong, ValueError):
            pass
        raise Unreadable(
            f'standard input, line {self._line}: "{" ".join(words)[:60]}" is not a command; '
            "expected PIN low, PIN high, wait SECONDS, quit, or # and a comment"
        )
