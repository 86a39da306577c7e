"""The log on standard error: the form of its lines, and which part of an exception it shows."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from rufusd.commands.output import stderr_is_journal

log = logging.getLogger("rufusd")


def set_up() -> None:
    """Log to standard error. For the journal each line gets its priority (sd-daemon(3))."""
    handler = logging.StreamHandler(sys.stderr)
    threading.excepthook = lambda defect: log.critical(
        "a defect in rufusd: please report it thread=%s",
        defect.thread and defect.thread.name,
        exc_info=defect.exc_value,
    )

    class Plain(logging.Formatter):
        def formatException(self, info: Any) -> str:
            return traceback_of(info[1])

    if stderr_is_journal():

        class Prioritized(Plain):
            def format(self, record: logging.LogRecord) -> str:
                priority = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4}.get(record.levelno, 6)
                return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))

        handler.setFormatter(Prioritized())
    else:
        handler.setFormatter(Plain("rufusd: %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def traceback_of(defect: BaseException | None) -> str:
    """The traceback with the types of the exceptions, without their texts. A text may contain the key."""
    import traceback

    lines: list[str] = []
    while defect:
        lines[:0] = [*traceback.format_tb(defect.__traceback__), f"{type(defect).__module__}.{type(defect).__name__}\n"]
        defect = defect.__cause__ or defect.__context__
    return "".join(["Traceback (most recent call last):\n", *lines]).rstrip()
