"""What the station shows: LED and buzzer, the status file, those who watch, and systemd's line of status."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from rufusd import __version__
from rufusd.adapters import clock
from rufusd.adapters.closes.records import PENDING
from rufusd.adapters.closes.spool import Spool
from rufusd.adapters.live import Watchers
from rufusd.adapters.pins import Pins
from rufusd.adapters.runtime import Runtime
from rufusd.adapters.systemd import Systemd
from rufusd.core import indicator, view
from rufusd.core.indicator import Indication
from rufusd.core.policy import CloseState
from rufusd.core.station import Station
from rufusd.core.words import _
from rufusd.daemon.configuration import Configuration
from rufusd.daemon.courier import Courier
from rufusd.daemon.pace import rest
from rufusd.daemon.reach import Reach
from rufusd.daemon.world import Waits
from rufusd.text import report

log = logging.getLogger("rufusd")


class Outputs:
    """All that is shown, made anew of what is known."""

    def __init__(
        self,
        station: Station,
        configuration: Configuration,
        courier: Courier,
        spool: Spool,
        runtime: Runtime,
        pins: Pins,
        reach: Reach,
        waits: Waits,
        shown: Callable[[Indication], Any],
    ) -> None:
        """`shown` gets each new indication."""
        self._station, self._configuration, self._courier = station, configuration, courier
        self._spool, self._runtime, self._pins, self._reach, self._waits = spool, runtime, pins, reach, waits
        self._shown = shown
        self._boot_id = clock.boot_id()
        self._since = clock.utc()
        self._faults: tuple[str, ...] = ()
        self._indication = Indication.OFF
        self._indicated = 0.0  # when the indication began
        self._write_after = 0.0
        self._seen: object = None
        self._written: object = None

    def show(self, now: float, systemd: Systemd) -> None:
        """Show what the station is doing. Most scans see nothing new, and cost little."""
        self._note_faults(now)
        station, not_durable = self._station, self._spool.not_durable()
        press, reader = station.press, station.reader
        lines = (press.state, press.held, reader.state, reader.armed)  # all that is shown of them
        closes, withdrawn = tuple(station.closes.values()), station.just_withdrawn(now)
        seen = (lines, closes, not_durable, self._faults, station.session_closed, withdrawn, station.settings)
        if seen != self._seen:
            self._seen = seen
            self._indicate(view.show(station.view(self._faults, not_durable, now)), now)
        indication, t = self._indication, now - self._indicated
        self._pins.write(indicator.light(indication, t), indicator.sound(indication, t))
        told = (self._seen, self._configuration.problems, self._courier.progress)
        if now >= self._write_after and told != self._written:
            self._written, began = told, time.thread_time()
            self._runtime.write_status(self._status(now), self._boot_id)
            self.keep_waits()
            self._watchers.renew()
            systemd.tell(f"STATUS={report.DOING[indication]}: {station.settings.session.name or 'session'}")
            self._write_after = time.monotonic() + rest(time.thread_time() - began)
        if self._watchers:
            self._watchers.tell(self._frame(now), lambda: report.truncated(self._status(now)))

    def keep_waits(self) -> None:
        """Keep for the next life how far each close has come with waiting."""
        self._waits.keep(self._courier.progress, self._station.closes)

    @property
    def _watchers(self) -> Watchers:
        return self._reach.watchers

    def _indicate(self, indication: Indication, now: float) -> None:
        if indication is not self._indication:
            self._indication, self._indicated = indication, now
            self._shown(indication)

    def _note_faults(self, now: float) -> None:
        """Know what is wrong now. What is new, and what is over, goes to the journal."""
        station, courier, unreachable = self._station, self._courier, self._reach.problem
        faults = (
            *self._spool.problems(),
            *self._pins.problems.values(),
            *self._runtime.problems(),
            *((unreachable,) if unreachable else ()),
            *station.line_faults(now),
            *(
                _("{name} is not closed: {why}", name=station.closes[token].record.name or token, why=each.fault)
                for token, each in courier.progress.items()
                if each.fault and token in station.closes
            ),
            *station.session_faults(courier.sight, now),
            *self._configuration.faults(),
        )
        if faults != self._faults:
            for fault in faults:
                if fault not in self._faults:
                    log.error("fault: %s", fault)
            for fault in self._faults:
                if fault not in faults:
                    log.info("over: %s", fault)
            self._faults = faults

    def _status(self, now: float) -> dict[str, Any]:
        station, settings, progress = self._station, self._station.settings, self._courier.progress
        not_durable = self._spool.not_durable()
        status = report.status_object(
            version=__version__,
            pid=os.getpid(),
            since=self._since,
            valid=self._configuration.valid,
            problems=[problem.words for problem in self._configuration.problems],
            session={"token": settings.session.token, "name": settings.session.name},
            button=station.press.state if settings.button else None,
            hold_time=settings.button.hold_time if settings.button else None,
            reader=station.reader.state if settings.reader else None,
            indication=self._indication,
            faults=self._faults,
            closes=[
                report.close_object(
                    close.record,
                    PENDING,
                    now,
                    progress.get(token),
                    held=station.held_by(close, now),
                    durable=token not in not_durable,
                )
                for token, close in station.closes.items()
            ],
        )
        return {**status, "written_at": now}

    def _frame(self, now: float) -> dict[str, Any]:
        station = self._station
        left = [each.grace_until - now for each in station.closes.values() if each.standing is CloseState.GRACE]
        return report.frame(
            now,
            button=station.settings.button,
            press=station.press,
            reader=station.settings.reader,
            reader_state=station.reader,
            indication=self._indication,
            shown_for=now - self._indicated,
            grace=max(0.0, *left) if left else None,
        )
