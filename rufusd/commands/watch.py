"""`rufusd watch`: the inputs, live, as a picture or as lines."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from rufusd.adapters.language import translate
from rufusd.adapters.live import Feed, NotRunning
from rufusd.adapters.terminal import Terminal
from rufusd.commands import output
from rufusd.text import report, watch


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    feed = Feed(options.runtime_dir)
    try:
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            _show_picture(feed)
        else:
            _say_changes(feed)
    except NotRunning as gone:
        return output.fail(watch.absent(full=gone.full, strange=gone.strange))
    except PermissionError as error:
        return output.fail(watch.REFUSED.with_parts(folder=str(options.runtime_dir), why=output.why(error)))
    except KeyboardInterrupt:
        pass  # which is how it ends
    finally:
        feed.close()
    return output.OK


def _watched(feed: Any, patience: float) -> Iterator[Any]:
    """After each wait: what was seen at each frame, and why none comes. Raises NotRunning, if none ever came."""
    seen, heard = watch.Seen(), time.monotonic()
    while True:
        after, away = [seen], ""
        try:
            for frame in feed.take(patience if seen.frame else watch.SILENCE):
                if not report.is_frame(frame, first=not seen.frame):
                    feed.close()
                    raise NotRunning(strange=True)
                seen, heard = watch.after(seen, frame), time.monotonic()
                after.append(seen)
            away = watch.SILENT if time.monotonic() - heard >= watch.SILENCE else ""
        except NotRunning as gone:
            if not seen.frame:
                raise
            away = watch.absent(full=gone.full, strange=gone.strange)
        yield after, away


def _show_picture(feed: Any) -> None:
    glyphs, watched, rows = watch.glyphs(sys.stdout.encoding), _watched(feed, 0), [""]
    after, away = next(watched)  # before the screen is cleared for it
    try:
        with Terminal() as terminal:
            going_on = True
            while going_on:
                rows = watch.picture(after[-1], time.monotonic(), *terminal.size, away, glyphs, translate)
                going_on = terminal.show(rows) and terminal.key(watch.PACE) != "q"
                after, away = next(watched)
    finally:
        output.say("\n".join(rows))  # what was seen last stays there, to be copied into a report


def _say_changes(feed: Any) -> None:
    told: Any = {}
    for after, away in _watched(feed, 1.0):
        for seen in after:
            told, lines = watch.changes(told, seen, away, translate)
            for line in lines:
                output.say(time.strftime("%H:%M:%S ") + line)
            sys.stdout.flush()
        if away:
            time.sleep(watch.PACE)
