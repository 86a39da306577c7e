"""`rufusd simulate`: the daemon on simulated pins, which lines of text on standard input drive."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Callable

from rufusd.commands import output
from rufusd.commands.run import prepare_daemon
from rufusd.core.settings import InvalidValue, is_loopback, pin_number
from rufusd.core.words import Message, _

LONGEST = 65536  # bytes that are read in one scan, which is also more than any command has


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    found = prepare_daemon(options, training=True)
    if isinstance(found, int):
        return found
    from rufusd.adapters.pins import SimulatedPins
    from rufusd.daemon.loop import Daemon
    from rufusd.text.report import DOING

    loaded, spool, runtime = found
    url = loaded.settings.api.url
    if not is_loopback(url):
        output.warn(_("only the pins are simulated: a session is closed for good at {url}", url=url))
    pins = SimulatedPins(str(runtime.folder))
    script = Script(0, pins.drive, output.warn if sys.stdin.isatty() else None)
    try:
        if not script.advance(time.monotonic()):  # what comes first is there before the pins are opened
            return output.OK
        return Daemon(
            *(options.config, loaded, spool, runtime, pins, script.advance),
            shown=lambda indication: (
                sys.stdout.write(f"{indication.value}: {output.localized(DOING[indication])}\n") and sys.stdout.flush()
            ),
        ).run()
    except ScriptError as line:
        output.fail(line.args[0])
        return output.USAGE


class ScriptError(Exception):
    """A line that is no command; `args[0]` says so."""


class Script:
    """Reads commands as they come, in the scan loop: `17 low`, `BOARD11 high`, `wait 2.5`, `quit`, `# a comment`."""

    def __init__(
        self, file: int, drive: Callable[[int, bool], None], excuse: Callable[[Message], object] | None = None
    ) -> None:
        """`file` is the descriptor to read, `drive` moves a pin by its GPIO number.

        `excuse` is told what is wrong with a line, in place of ScriptError: a person types it anew, a script has a
        defect.
        """
        self._file = file
        self._drive = drive
        self._excuse = excuse
        self._came = b""
        self._ended = False
        self._paused_until = 0.0
        self._line = 0

    def advance(self, now: float) -> bool:
        """Do what is due by now (monotonic seconds); False after `quit`. Never waits. Raises ScriptError."""
        self._read()
        while now >= self._paused_until:
            line, found, rest = self._came.partition(b"\n")
            if not found and len(line) < LONGEST:
                break
            self._came = rest
            self._line += 1
            words = line.decode("utf-8", "replace").partition("#")[0].split()
            if words == ["quit"]:
                return False
            if words:
                self._obey(words, now)
        return True

    def _read(self) -> None:
        """Take what has come, at most so much that the scan loop is not held up."""
        if self._ended or len(self._came) >= LONGEST:
            return
        try:
            if not select.select([self._file], [], [], 0)[0]:
                return
            came = os.read(self._file, LONGEST)
        except OSError:  # closed, or a terminal that has gone
            came = b""
        self._ended = not came
        self._came += came or b"\n"  # the last line may lack its end

    def _obey(self, words: list[str], now: float) -> None:
        try:
            if len(words) == 2 and words[0] == "wait":
                self._paused_until = now + max(0.0, float(words[1]))
                return
            if len(words) == 2 and words[1] in ("low", "high"):
                self._drive(pin_number(words[0]), words[1] == "high")
                return
        except (InvalidValue, ValueError):
            pass
        wrong = _(
            'standard input, line {line}: "{said}" is not a command; '
            "expected PIN low, PIN high, wait SECONDS, quit, or # and a comment",
            **{"line": self._line, "said": " ".join(words)[:60]},
        )
        if not self._excuse:
            raise ScriptError(wrong)
        self._excuse(wrong)
