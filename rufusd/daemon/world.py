"""The station's effects, performed: on the disk, by the courier, in the runtime folder and in the journal."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rufusd.adapters import clock
from rufusd.adapters.closes.records import CLOSED, WITHDRAWN
from rufusd.adapters.closes.spool import Confirmed, Spool
from rufusd.adapters.runtime import Runtime
from rufusd.core import delivery
from rufusd.core.closes import Close
from rufusd.core.deliveries import Deliver
from rufusd.core.delivery import Delivery, Wait
from rufusd.core.effects import (
    Cancel,
    Confirm,
    Effects,
    Endorse,
    Found,
    KeepNote,
    Log,
    ReadAgain,
    ReadCloses,
    Saved,
    StartDelivery,
    WatchSession,
    Withdraw,
    perform,
)
from rufusd.core.inputs import Levels
from rufusd.core.record import ELSEWHERE, Record
from rufusd.daemon.courier import Courier, write_line

log = logging.getLogger("rufusd")


def new_record(token: str, name: str, trigger: str, reason: str = "") -> Record:
    """The record of a close that is confirmed now."""
    return Record(
        token,
        name,
        trigger,
        reason,
        confirmed_at=clock.utc(),
        clock_synchronized=clock.synchronized(),
        boot_id=clock.boot_id(),
        uptime=clock.uptime(),
    )


class SpoolOfStation:
    """The courier's view of the spool. A call begins only for the very close that the station wants delivered.

    A command may withdraw a close and confirm the session anew before the station looks. The new close must have its
    own grace time first.
    """

    def __init__(self, spool: Spool, closes: Mapping[str, Close]) -> None:
        """`closes` are the station's."""
        self._spool, self._closes = spool, closes
        self.has_answered, self.note_answered = spool.notes.has_answered, spool.notes.note_answered
        self.mark_empty, self.mark_closed = spool.mark_empty, spool.mark_closed

    def mark_sent(self, token: str, at: str) -> bool | None:
        """As `Spool.mark_sent`."""
        close = self._closes.get(token)
        return self._spool.mark_sent(token, at, close.record if close else None)


class Waits:
    """How far each close has come with waiting for quiet, kept for the program's next life. Seconds since the boot."""

    def __init__(self, runtime: Runtime, boot_id: str) -> None:
        """Knows nothing yet."""
        self._runtime, self._boot_id = runtime, boot_id
        self._waits: dict[str, Wait] = {}
        self._written: object = None

    def begin(self) -> None:
        """Take up what the last life has kept, once that life is over."""
        self._waits = self._runtime.waits(self._boot_id, clock.uptime())

    def of(self, record: Record) -> Wait | None:
        """How far an earlier life had come with this close, by the monotonic clock."""
        wait = delivery.wait_of(record, self._waits.get(record.token), self._boot_id)
        return wait and wait.moved(time.monotonic() - clock.uptime())

    def keep(self, progress: Mapping[str, Delivery], closes: Mapping[str, Close]) -> None:
        """Keep it, where it has changed."""
        since_boot = clock.uptime() - time.monotonic()
        found = {token: each.wait for token, each in progress.items()}
        told = {token: wait.moved(since_boot) for token, wait in found.items() if wait and token in closes}
        kept = {token: wait for token, wait in self._waits.items() if token in closes and token not in found}
        if {**kept, **told}.keys() != self._waits.keys() or found != self._written:
            self._waits, self._written = {**kept, **told}, found
            self._runtime.write_waits(self._waits, self._boot_id)


class World:
    """What the station acts on."""

    def __init__(
        self,
        spool: Spool,
        courier: Courier,
        wait_of: Callable[[Record], Wait | None],
        read: Callable[[], Levels] = Levels,
        runtime: Runtime | None = None,
    ) -> None:
        """Without a `runtime` nothing is kept for a next life, and a session without a close is not looked at."""
        self._spool = spool
        self._courier = courier
        self._wait_of = wait_of
        self._read = read
        self._runtime = runtime
        self._closed_by_others: dict[str, bool] = {}  # of the configured session, once closed: whether by somebody else
        self._handlers: dict[type, Callable[[Any], Any]] = {
            ReadAgain: lambda _: self._read(),
            ReadCloses: self._read_closes,
            Confirm: self._confirm,
            Endorse: self._endorse,
            Withdraw: self._withdraw,
            StartDelivery: self._deliver,
            Cancel: lambda cancel: courier.post(cancel),
            WatchSession: lambda look: courier.post(look) if runtime else None,
            KeepNote: lambda keep: runtime.note_reader(keep.note) if runtime else None,
            Log: write_line,
        }

    def perform(self, effects: Effects) -> None:
        """Perform each effect, and tell what came of it before the next."""
        perform(effects, lambda effect: self._handlers[type(effect)](effect))

    def _read_closes(self, look: ReadCloses) -> Found:
        spool, token = self._spool, look.session
        delivering = self._courier.delivering()  # first: then what is closed meanwhile is not delivered anew
        spool.refresh(token)
        pending = spool.pending()
        withdrawn = {each for each in look.known if each not in pending and self._standing(each) == WITHDRAWN}
        closed = withdrawal = None
        with contextlib.suppress(OSError):
            closed = spool.standing(token) == CLOSED
        if closed and token not in self._closed_by_others:  # read once: a closed session stays closed
            self._closed_by_others = {token: spool.closed_how(token) == ELSEWHERE}
        elif closed is False:
            self._closed_by_others = {}
        with contextlib.suppress(OSError):
            withdrawal = spool.records.withdrawal(token)
        return Found(
            at=time.monotonic(),
            uptime=clock.uptime(),
            pending=pending,
            withdrawn=frozenset(withdrawn),
            not_durable=spool.not_durable(),
            delivering=delivering,
            session_closed=closed,
            closed_elsewhere=self._closed_by_others.get(token, False),
            withdrawal=withdrawal,
        )

    def _standing(self, token: str) -> str | None:
        """The state of a token on disk; None where it was never confirmed, or the disk does not answer."""
        with contextlib.suppress(OSError):
            return self._spool.standing(token)
        return None

    def _confirm(self, close: Confirm) -> Saved:
        record = replace(new_record(close.token, close.name, close.trigger), wiring=close.line)
        if close.instead:
            facts = {name: fact for name, fact in vars(record).items() if name != "token"}
            return self._saved(record if self._spool.change(close.token, unless_sent=True, **facts) else None)
        try:
            if self._spool.confirm(record) is not Confirmed.NEW:
                return self._saved(None)
        except OSError as error:  # the disk refused: the close is kept in memory, and delivered all the same
            self._spool.keep_in_memory(record, error)
        return self._saved(record)

    def _endorse(self, close: Endorse) -> Saved:
        done = self._spool.change(close.token, also=close.trigger)
        return self._saved(self._spool.pending().get(close.token) if done else None)

    def _withdraw(self, close: Withdraw) -> Saved:
        record = self._spool.pending().get(close.token)
        done = self._spool.withdraw_or_keep(close.token, close.by, clock.utc(), unless_sent=True)
        return self._saved(record if done else None)

    def _saved(self, record: Record | None) -> Saved:
        durable = record is not None and record.token not in self._spool.not_durable()
        return Saved(record, time.monotonic(), durable)

    def _deliver(self, deliver: StartDelivery) -> None:
        record = deliver.record
        called, wait = self._spool.call_begun(record.token), self._wait_of(record)
        self._courier.post(Deliver(record.token, called, record.reader_alone, record.empty, wait))
