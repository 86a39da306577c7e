"""The delivery thread: runs `delivery` against RUFUS and the spool. It shares its inbox and its progress, no more."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

from rufusd.core import delivery, lookout
from rufusd.core.delivery import Answer, Delivery, Phase, Step, Wait
from rufusd.core.effects import Cancel, Look
from rufusd.core.lookout import Sight
from rufusd.core.schedule import Schedule
from rufusd.core.settings import Api, Settings
from rufusd.core.words import _

LONGEST_WAIT = 5.0  # seconds between two signs of life
BUSY = 0.2  # seconds until a spool that another process is busy with is asked again
CLOSING = "closing"  # among the reasons that were logged: that the close call was about to go out
SAME_NEWS = 3600.0  # seconds after which a reason that was logged before is logged once more

log = logging.getLogger("rufusd")


class Client(Protocol):
    """RUFUS, as the courier calls it."""

    def read(self, token: str) -> Answer:
        """Read a session."""

    def close(self, token: str, begin: Callable[[], bool]) -> Answer:
        """Close a session, if `begin` says so at the last moment."""


class Spool(Protocol):
    """The spool, as the courier uses it."""

    def sent(self, token: str, at: str) -> bool | None:
        """Note that a close call begins; False where the close is not pending any more, None where that is not sure."""

    def has_answered(self, key: str) -> bool:
        """Whether RUFUS itself has ever answered this key, of which only a mark is given."""

    def note_answered(self, key: str) -> None:
        """Note for every later life that RUFUS itself has answered this key."""

    def found_empty(self, token: str) -> None:
        """Note for every later life that the session had no passing, so that this close waits for a person."""

    def closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        """RUFUS said that the session is closed; after so many attempts, and how (one of `record`'s words)."""


class Changes(Protocol):
    """The network's changes."""

    def fileno(self) -> int:
        """For select(2)."""

    def take(self) -> bool:
        """Whether there was a change."""


@dataclass(frozen=True)
class Deliver:
    """A message: deliver this close, unless that is under way. `sent`: a call to close its session was begun before.

    `alone`: no person has confirmed it, only the reader; a later message may say otherwise.
    """

    token: str
    sent: bool
    alone: bool = False
    empty: bool = False  # an earlier life has found the session without a passing
    wait: Wait | None = None  # how far an earlier life of the program had come with waiting, by this one's clock


@dataclass(frozen=True)
class Configure:
    """A message: from now on, call with these settings, and try everything at once."""

    settings: Settings


class RetryNow:
    """A message: try everything at once."""


class Stop:
    """A message: finish the call under way, then end."""


class Stopped(Enum):
    """What has stopped a close call at its last moment."""

    NOT = "nothing"
    WITHDRAWN = "the close is not pending any more"
    BUSY = "another process is at a step of its own, which may be the withdrawal of this very close"
    STALE = "the look that found the session quiet is too old"


def mark(api: Api) -> str:
    """What tells this key of this RUFUS from another, and nobody the key: of a few bytes no key can be made again."""
    return hashlib.sha256(f"{api.url} {api.key}".encode()).hexdigest()[:8]


class Courier(threading.Thread):
    """Delivers closes one call at a time, as `delivery` decides."""

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
        self.timeout = settings.api.timeout
        self._settings = settings
        self._connect = connect
        self._spool = spool
        self._changes = changes
        self._utc = utc
        self._progressed = progressed
        self._client: Client | None = None
        self._schedule = Schedule()
        self._look = Look(wanted=False)
        self._look_at = self._looked = -math.inf
        self._not_before = 0.0  # when RUFUS wants to be called again, as it said last
        self._heard = False  # whether RUFUS itself has ever answered this key: then a foreign refusal is an outage
        self._barred = False  # the last look was answered that this key may not read
        self._inbox: deque[object] = deque()
        self._stopped = Stopped.NOT  # the call under way, at its last moment
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._news: dict[str, tuple[frozenset[str], float]] = {}  # of each close, the reasons logged, and when last

    def post(self, message: object) -> None:
        """Put a message into the inbox. Never blocks."""
        self._inbox.append(message)
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._waker, b"!")

    def stalled(self, now: float) -> bool:
        """Whether it has shown no life for longer than any call can take."""
        return now - self.alive_at > self.timeout + 4 * LONGEST_WAIT

    def run(self) -> None:
        """Deliver until told to stop."""
        self._begin_anew()
        while self._read_inbox():
            self.alive_at = now = time.monotonic()
            due = self._schedule.next(now)
            if due is None or due.due > now:
                self._publish()
                free = math.inf if due is None else due.due - now
                look = max(self._look_at, self._not_before) - now if self._look.wanted else math.inf
                if look <= 0 and free > self.timeout:  # which no close has to wait for
                    self._look_once(now)
                else:
                    self._wait(min(free, LONGEST_WAIT, look if look > 0 else math.inf))
            else:
                self._attempt(due)

    def _begin_anew(self) -> None:
        """Take up the settings. They may name another RUFUS or another key, so what was asked for before is over."""
        self._not_before = 0.0
        self._client = self._connect(self._settings)
        self._heard = self._spool.has_answered(mark(self._settings.api))

    def _read_inbox(self) -> bool:
        while self._inbox:
            message = self._inbox.popleft()
            now = time.monotonic()
            if isinstance(message, Stop):
                return False
            if isinstance(message, Deliver):
                facts = {"alone": message.alone, "empty": message.empty}
                begun = delivery.new_delivery(message.token, message.sent, now, self._settings, message.wait, **facts)
                asked = max(begun.due, self._not_before)
                there = self._schedule.deliveries.get(message.token)
                if there is None:
                    self._schedule.put(replace(begun, due=asked, not_before=asked))
                elif there.alone and not message.alone:
                    self._schedule.put(delivery.endorsed(there, now, self._settings))
            elif isinstance(message, Look):
                self._look = message
                if message.often and not self._barred:
                    self._look_at = min(self._look_at, now + lookout.OFTEN)
            elif isinstance(message, Cancel):
                self._schedule.drop(message.token)
                self._news.pop(message.token, None)
            else:
                if isinstance(message, Configure):
                    self._settings, self.timeout = message.settings, message.settings.api.timeout
                    self._begin_anew()
                    self._look_at = now
                    self._schedule.turn(delivery.reconfigured, now, self._settings)
                self._schedule.turn(delivery.retry_now, now)
        return True

    def _wait(self, seconds: float) -> None:
        ready = select.select([self._wake, self._changes.fileno()], [], [], seconds)[0]
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._changes.fileno() in ready and self._changes.take():
            now = time.monotonic()
            self._schedule.turn(delivery.network_changed, now)
            self._look_at = min(self._look_at, max(now, self._looked + lookout.SETTLED))

    def _look_once(self, now: float) -> None:
        """Look at the configured session. A failed look is no news: nothing is logged."""
        token, often = self._settings.session.token, self._look.often
        try:
            answer = self._read(token)
        except Exception:  # a defect met by a look must not keep closes from RUFUS
            log.exception("a defect in rufusd: please report it token=%s", token)
            answer = Answer()
        self._looked = time.monotonic()
        self._not_before = self._looked + delivery.asked(answer, self._settings)
        chance = random.random()  # noqa: S311 - jitter, not a secret
        self._barred = lookout.barred(answer, token, self._heard)
        self._look_at = self._looked + lookout.pause(self._barred, often, chance)
        # The moment at which the call began: a passing may have come in while it was answered.
        sight = lookout.seen(self.sight, answer, token, now)
        if sight != self.sight:
            self.sight = sight
            self._progressed()

    def _attempt(self, due: Delivery) -> None:
        """Make the call that is due, and take what follows from its answer."""
        due = replace(due, called=time.monotonic())
        if due.step is Step.CLOSE:
            due = replace(due, phase=Phase.SENDING)
        self._schedule.put(due)
        self._publish()
        self._stopped = Stopped.NOT
        answer = self._answer(due)
        now = time.monotonic()
        if self._stopped is Stopped.WITHDRAWN:
            self._schedule.drop(due.token)
        elif self._stopped is Stopped.BUSY:
            self._schedule.put(replace(due, due=now + BUSY))
        elif self._stopped is Stopped.STALE:
            self._schedule.put(delivery.looks_again(due, now))
        else:
            self._take(due, answer, now)

    def _take(self, due: Delivery, answer: Answer, now: float) -> None:
        """Take what follows from the answer to a call that was made."""
        self._not_before = now + delivery.asked(answer, self._settings)
        chance = random.random()  # noqa: S311 - jitter, not a secret
        then = delivery.on_answer(due, answer, now, chance, self._settings, heard=self._heard)
        self._tell_news(due, then, now)
        if then.empty and not due.empty:
            self._spool.found_empty(due.token)
        if then.closed:
            self._spool.closed(due.token, self._utc(), then.attempts, then.closed_how)
            self._schedule.drop(due.token)
        else:
            self._schedule.put(then)
        self._publish()

    def _answer(self, due: Delivery) -> Answer:
        assert self._client  # noqa: S101 - for the type checker; run() has made it
        try:
            if due.step is Step.CLOSE:
                return self._client.close(due.token, lambda: self._begin(due))
            return self._read(due.token)
        except Exception:  # a defect met by one close must not keep the others from RUFUS
            log.exception("a defect in rufusd: please report it token=%s", due.token)
            return Answer(problem=_("a defect in rufusd: please report it, with what `sudo journalctl -u rufusd` says"))

    def _read(self, token: str) -> Answer:
        """Read a session, and remember that RUFUS itself has answered."""
        assert self._client  # noqa: S101 - for the type checker; run() has made it
        answer = self._client.read(token)
        if not self._heard and delivery.heard(answer, token):
            self._heard = True
            self._spool.note_answered(mark(self._settings.api))
        return answer

    def _begin(self, due: Delivery) -> bool:
        """Whether the call, which is about to be sent, may go; the spool knows of it from then on."""
        self._stopped = self._stops(due)
        return self._stopped is Stopped.NOT

    def _stops(self, due: Delivery) -> Stopped:
        """What stops the call at its last moment. Its look must not get too old while the disk is written, either.

        Then the note that the call has begun stays, though the call has not. To undo it would be one more write on a
        slow disk, and so would be each note anew: where every write takes so long, no call would ever go out. With the
        note there, the next one needs no write.
        """
        if Cancel(due.token) in self._inbox.copy():
            return Stopped.WITHDRAWN
        if delivery.stale(due, time.monotonic(), self._settings):
            return Stopped.STALE
        pending = self._spool.sent(due.token, self._utc())
        if not pending:
            return Stopped.BUSY if pending is None else Stopped.WITHDRAWN
        return Stopped.STALE if delivery.stale(due, time.monotonic(), self._settings) else Stopped.NOT

    def _tell_news(self, before: Delivery, then: Delivery, now: float) -> None:
        """One line for each new reason, and one an hour while none is new, as where two of them take turns."""
        told, when = self._news.get(then.token, (frozenset(), 0.0))
        if then.elsewhere:
            log.warning(
                "was closed already when rufusd first looked, and rufusd has no record of closing it token=%s",
                then.token,
            )
            self._news.pop(then.token, None)
        elif then.closed:
            log.info("closed: RUFUS says so token=%s attempts=%d", then.token, then.attempts)
            self._news.pop(then.token, None)
        elif then.slipped and before.step is Step.READ:  # one look in a wait: no outage, so no news
            return
        elif then.error:
            if then.error not in told or now - when > SAME_NEWS:
                level = logging.ERROR if then.phase is Phase.REFUSED else logging.WARNING
                log.log(level, "not closed yet: %s token=%s attempts=%d", then.error, then.token, then.attempts)
                self._news[then.token] = (told | {then.error}, now)
        elif then.troubled:  # RUFUS can be read, but would not close last time: news only once that changes
            return
        elif before.phase is Phase.RETRY and not before.slipped:
            log.info("RUFUS answers again token=%s", then.token)
            self._news.pop(then.token, None)
        elif then.step is Step.CLOSE and CLOSING not in told:  # again, where the call was stopped at its last moment
            if then.still:
                log.warning(
                    "closing now though passings still come: close.max_wait is over token=%s passings=%s",
                    *(then.token, then.passings),
                )
            else:
                log.info("quiet: closing now token=%s passings=%s", then.token, then.passings)
            self._news[then.token] = (told | {CLOSING}, when)

    def _publish(self) -> None:
        if self._schedule.deliveries != self.progress:
            self.progress = MappingProxyType(dict(self._schedule.deliveries))
            self._progressed()
