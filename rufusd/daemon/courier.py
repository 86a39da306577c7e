"""The courier: the thread that calls RUFUS. It performs what `deliveries` decides.

It shares with the loop its inbox, its progress, its last sight of the configured session, and the spool.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from rufusd.core import delivery
from rufusd.core.deliveries import (
    LONGEST_WAIT,
    Answered,
    Connect,
    Deliver,
    Deliveries,
    MarkAnswered,
    MarkClosed,
    MarkEmpty,
    NetworkChanged,
    Pause,
    Publish,
    SendClose,
    SendRead,
    Stopped,
)
from rufusd.core.delivery import Answer, Delivery
from rufusd.core.effects import Cancel, Effects, Log, perform
from rufusd.core.lookout import Sight
from rufusd.core.settings import Api, Settings
from rufusd.core.words import _

JOIN_TIMEOUT = 0.5  # seconds for it to end in; the daemon must stop in less than 2 s in all, on a busy Pi, too

log = logging.getLogger("rufusd")


class Client(Protocol):
    """RUFUS, as the courier calls it."""

    def read(self, token: str) -> Answer:
        """Read a session."""

    def close(self, token: str, begin: Callable[[], bool]) -> Answer:
        """Close a session, if `begin` says so at the last moment."""


class Spool(Protocol):
    """The spool, as the courier uses it."""

    def mark_sent(self, token: str, at: str) -> bool | None:
        """Note that a close call begins; False where the close is not pending any more, None where that is not sure."""

    def has_answered(self, key: str) -> bool:
        """Whether RUFUS itself has ever answered this key, of which only a mark is given."""

    def note_answered(self, key: str) -> None:
        """Note for every later life that RUFUS itself has answered this key."""

    def mark_empty(self, token: str) -> None:
        """Note for every later life that the session had no passing, so that this close waits for a person."""

    def mark_closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        """RUFUS said that the session is closed; after so many attempts, and how (one of `record`'s words)."""


class Changes(Protocol):
    """The network's changes."""

    def fileno(self) -> int:
        """For select(2)."""

    def take(self) -> bool:
        """Whether there was a change."""


class Stop:
    """A message: finish the call under way, then end."""


def mark(api: Api) -> str:
    """A short fingerprint of the address and the key. Nobody can get the key from it."""
    return hashlib.sha256(f"{api.url} {api.key}".encode()).hexdigest()[:8]


def write_line(line: Log) -> None:
    """Write a line into the journal."""
    log.log(getattr(logging, line.level), line.template, *line.parts)


class Courier(threading.Thread):
    """Calls RUFUS, one call at a time."""

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[Settings], Client],
        spool: Spool,
        changes: Changes,
        utc: Callable[[], str],
        progressed: Callable[[], Any],
    ) -> None:
        """`connect` makes a client, in the courier's thread; `progressed` is called after each change of `progress`."""
        super().__init__(name="courier", daemon=True)  # a name server that hangs must not keep the program from ending
        self.progress: Mapping[str, Delivery] = MappingProxyType({})
        self.sight: Sight | None = None  # of the configured session, where it may be looked at
        self.alive_at = time.monotonic()
        self._deliveries = Deliveries(settings)
        self._connect = connect
        self._spool = spool
        self._changes = changes
        self._utc = utc
        self._progressed = progressed
        self._client: Client | None = None
        self._inbox: deque[object] = deque()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._handlers: dict[type, Callable[[Any], Any]] = {
            Connect: self._make_client,
            SendRead: lambda read: self._call(read.token, lambda client: client.read(read.token)),
            SendClose: self._close,
            Pause: self._pause,
            Publish: self._publish,
            MarkClosed: self._mark_closed,
            MarkEmpty: lambda mark: spool.mark_empty(mark.token),
            MarkAnswered: lambda _: spool.note_answered(self._mark),
            Log: write_line,
        }

    def post(self, message: object) -> None:
        """Put a message into the inbox. Never blocks."""
        self._inbox.append(message)
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._waker, b"!")

    def delivering(self) -> set[str]:
        """The tokens of all closes that it delivers, or is about to."""
        told = {message.token for message in self._inbox.copy() if isinstance(message, Deliver)}
        return told | self.progress.keys()

    def stalled(self, now: float) -> bool:
        """Whether it has shown no life for longer than any call can take."""
        return now - self.alive_at > self._deliveries.settings.api.timeout + 4 * LONGEST_WAIT

    def run(self) -> None:
        """Deliver until told to stop."""
        self._perform(self._deliveries.begin())
        while self._read_inbox():
            self.alive_at = now = time.monotonic()
            self._perform(self._deliveries.turn(now))

    def stop(self) -> None:
        """Have it end after the call under way, and wait for that, though not for long."""
        self.post(Stop())
        if self.is_alive():
            self.join(JOIN_TIMEOUT)

    def _perform(self, effects: Effects) -> None:
        perform(effects, lambda effect: self._handlers[type(effect)](effect))

    def _read_inbox(self) -> bool:
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, Stop):
                return False
            self._perform(self._deliveries.receive(message, time.monotonic()))
        return True

    def _pause(self, pause: Pause) -> None:
        ready = select.select([self._wake, self._changes.fileno()], [], [], pause.seconds)[0]
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._changes.fileno() in ready and self._changes.take():
            self._inbox.append(NetworkChanged())

    def _publish(self, _: Publish) -> None:
        told = self.progress, self.sight
        if self._deliveries.under_way != self.progress:
            self.progress = MappingProxyType(dict(self._deliveries.under_way))
        self.sight = self._deliveries.sight
        if told != (self.progress, self.sight):
            self._progressed()

    def _make_client(self, connect: Connect) -> bool:
        self._client = self._connect(connect.settings)
        self._mark = mark(connect.settings.api)
        return self._spool.has_answered(self._mark)

    def _call(self, token: str, call: Callable[[Client], Answer]) -> Answered:
        assert self._client  # noqa: S101 - for the type checker; run() has made it
        try:
            answer = call(self._client)
        except Exception:  # a defect met by one close must not keep the others from RUFUS
            log.exception("a defect in rufusd: please report it token=%s", token)
            answer = Answer(
                problem=_("a defect in rufusd: please report it, with what `sudo journalctl -u rufusd` says")
            )
        return Answered(answer, time.monotonic(), random.random())  # noqa: S311 - jitter, not a secret

    def _close(self, close: SendClose) -> Answered:
        stopped = Stopped.NOTHING

        def begin() -> bool:
            nonlocal stopped
            stopped = self._stops(close.delivery)
            return stopped is Stopped.NOTHING

        token = close.delivery.token
        found = self._call(token, lambda client: client.close(token, begin))
        return Answered(found.answer, found.at, found.chance, stopped)

    def _stops(self, due: Delivery) -> Stopped:
        """What stops the call at its last moment.

        The look's age is checked twice, since writing the note may take long. If the look is too old by then, the note
        stays, although nothing was sent. To remove it and to write it again would take two writes more: where each
        write takes so long, no call would ever go out.
        """
        if Cancel(due.token) in self._inbox.copy():
            return Stopped.WITHDRAWN
        settings = self._deliveries.settings
        if delivery.stale(due, time.monotonic(), settings):
            return Stopped.LOOK_TOO_OLD
        pending = self._spool.mark_sent(due.token, self._utc())
        if not pending:
            return Stopped.BUSY if pending is None else Stopped.WITHDRAWN
        return Stopped.LOOK_TOO_OLD if delivery.stale(due, time.monotonic(), settings) else Stopped.NOTHING

    def _mark_closed(self, mark: MarkClosed) -> None:
        closed = mark.delivery
        self._spool.mark_closed(closed.token, self._utc(), closed.attempts, closed.closed_how)
