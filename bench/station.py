"""The station that is measured: the daemon as `rufusd run` starts it, which also tells when it decides.

station.py CONFIG STATE RUNTIME: each line of its output is a moment (monotonic seconds) and what happened then.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

from rufusd.adapters import config
from rufusd.adapters.closes.spool import Confirmed, Spool
from rufusd.adapters.pins import Pins
from rufusd.adapters.runtime import Runtime
from rufusd.core.record import Record
from rufusd.daemon.loop import Daemon


def tell(what: str) -> None:
    """Tell what happens now."""
    os.write(1, f"{time.monotonic()} {what}\n".encode())


class TellingSpool(Spool):
    """The spool, which tells when a close is decided, and when it is durable."""

    def confirm(self, record: Record) -> Confirmed:
        """As the spool does."""
        tell("decided")
        confirmed = super().confirm(record)
        tell("durable")
        return confirmed


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="rufusd: %(message)s")
    path, state, runtime = sys.argv[1:]
    pins = Pins(runtime)
    spool = TellingSpool(Path(state))
    shown = lambda indication: tell(indication.value)  # noqa: E731
    sys.exit(Daemon(path, config.load(path), spool, Runtime(Path(runtime)), pins, shown=shown).run())
