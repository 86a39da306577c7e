"""All deliveries of a station: which call is next, and what follows from its answer. Pure.

`delivery` decides about one close; here is what several share: the key, RUFUS's patience, the looks at the configured
session, and what the journal has been told. Each method that yields is one input, as in `station`;
`daemon/courier.py` performs the effects in its thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from rufusd.core import delivery, lookout
from rufusd.core.delivery import Answer, Delivery, Phase, Step, Wait
from rufusd.core.effects import Cancel, Effects, Log, WatchSession
from rufusd.core.lookout import Sight
from rufusd.core.schedule import Schedule
from rufusd.core.settings import Settings

LONGEST_WAIT = 5.0  # seconds between two signs of life
ASK_AGAIN = 0.2  # seconds until a spool that another process is busy with is asked again
CLOSING = "closing"  # among the reasons that were logged: that the close call was about to go out
SAME_NEWS = 3600.0  # seconds after which a reason that was logged before is logged once more


# -- messages


@dataclass(frozen=True)
class Deliver:
    """Deliver this close, unless that is under way. `sent`: a call to close its session was begun before.

    `alone`: no person has confirmed it, only the reader; a later message may say otherwise.
    """

    token: str
    sent: bool
    alone: bool = False
    empty: bool = False  # an earlier life has found the session without a passing
    wait: Wait | None = None  # how far an earlier life of the program had come with waiting, by this one's clock


@dataclass(frozen=True)
class Configure:
    """From now on, call with these settings, and try everything at once."""

    settings: Settings


@dataclass(frozen=True)
class RetryNow:
    """Try everything at once."""


@dataclass(frozen=True)
class NetworkChanged:
    """The network may be back."""


# -- effects, and what comes back


@dataclass(frozen=True)
class Connect:
    """Make a client with these settings. Comes back: whether RUFUS itself has ever answered their key."""

    settings: Settings


@dataclass(frozen=True)
class SendRead:
    """Read this session. Comes back: `Answered`."""

    token: str


@dataclass(frozen=True)
class SendClose:
    """Close this session, if nothing stops the call at its last moment. Comes back: `Answered`."""

    delivery: Delivery


class Stopped(Enum):
    """What has stopped a close call at its last moment."""

    NOTHING = "nothing"
    WITHDRAWN = "the close is not pending any more"
    BUSY = "the disk does not tell whether the close was withdrawn"
    LOOK_TOO_OLD = "the look that found the session quiet is too old"


@dataclass(frozen=True)
class Answered:
    """What came of a call, which was over `at` (monotonic seconds). `chance` is uniform in [0, 1)."""

    answer: Answer
    at: float
    chance: float
    stopped: Stopped = Stopped.NOTHING


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds, or until there is a message or another network."""

    seconds: float


@dataclass(frozen=True)
class Publish:
    """Let the station see how far the deliveries are."""


@dataclass(frozen=True)
class MarkClosed:
    """Note durably that RUFUS said that this session is closed."""

    delivery: Delivery


@dataclass(frozen=True)
class MarkEmpty:
    """Note durably that this session had no passing, so that its close waits for a person."""

    token: str


@dataclass(frozen=True)
class MarkAnswered:
    """Note durably that RUFUS itself has answered this key."""


class Deliveries:
    """Delivers closes one call at a time."""

    def __init__(self, settings: Settings) -> None:
        """Delivers nothing yet."""
        self.settings = settings
        self.sight: Sight | None = None  # of the configured session, where it may be looked at
        self._schedule = Schedule()
        self._look = WatchSession(wanted=False)
        self._look_at = self._looked = -math.inf
        self._not_before = 0.0  # when RUFUS wants to be called again, as it said last
        self._heard = False  # whether RUFUS itself has ever answered this key: then other refusals are an outage
        self._barred = False  # at the last look, RUFUS did not let this key read
        self._told: dict[str, tuple[frozenset[str], float]] = {}  # of each close, the reasons logged, and when last

    @property
    def under_way(self) -> Mapping[str, Delivery]:
        """All deliveries, by token."""
        return self._schedule.deliveries

    def begin(self) -> Effects:
        """Take up the settings. They may name another RUFUS or another key: an earlier Retry-After does not count."""
        self._not_before = 0.0
        self._heard = yield Connect(self.settings)

    def receive(self, message: object, now: float) -> Effects:
        """A message has come."""
        if isinstance(message, Deliver):
            self._add(message, now)
        elif isinstance(message, Cancel):
            self._schedule.drop(message.token)
            self._told.pop(message.token, None)
        elif isinstance(message, WatchSession):
            self._look = message
            if message.often and not self._barred:
                self._look_at = min(self._look_at, now + lookout.OFTEN)
        elif isinstance(message, NetworkChanged):
            self._schedule.turn(delivery.network_changed, now)
            self._look_at = min(self._look_at, max(now, self._looked + lookout.SETTLED))
        elif isinstance(message, RetryNow):
            self._schedule.turn(delivery.retry_now, now)
        else:
            assert isinstance(message, Configure)  # noqa: S101 - there is no other message
            self.settings = message.settings
            yield from self.begin()
            self._look_at = now
            self._schedule.turn(delivery.reconfigured, now, self.settings)
            self._schedule.turn(delivery.retry_now, now)

    def turn(self, now: float) -> Effects:
        """One turn: the call that is due, or a look at the configured session, or a pause."""
        due = self._schedule.next(now)
        if due and due.due <= now:
            yield from self._attempt(replace(due, called=now))
            return
        yield Publish()
        free = math.inf if due is None else due.due - now
        look = max(self._look_at, self._not_before) - now if self._look.wanted else math.inf
        if look <= 0 and free > self.settings.api.timeout:  # no close comes due before the look could time out
            yield from self._look_once(now)
        else:
            yield Pause(min(free, LONGEST_WAIT, look if look > 0 else math.inf))

    def _add(self, message: Deliver, now: float) -> None:
        facts = {"alone": message.alone, "empty": message.empty}
        begun = delivery.new_delivery(message.token, message.sent, now, self.settings, message.wait, **facts)
        there = self.under_way.get(message.token)
        if there is None:
            due = max(begun.due, self._not_before)
            self._schedule.put(replace(begun, due=due, not_before=due))
        elif there.alone and not message.alone:
            self._schedule.put(delivery.endorsed(there, now, self.settings))

    def _look_once(self, now: float) -> Effects:
        """Look at the configured session. A failed look is no news: nothing is logged."""
        token, often = self.settings.session.token, self._look.often
        found: Answered = yield SendRead(token)
        yield from self._note_answer(found, token)
        self._looked = found.at
        self._barred = lookout.barred(found.answer, token, self._heard)
        self._look_at = found.at + lookout.pause(self._barred, often, found.chance)
        # The moment at which the call began: a passing may have come in while it was answered.
        sight = lookout.seen(self.sight, found.answer, token, now)
        if sight != self.sight:
            self.sight = sight
            yield Publish()

    def _attempt(self, due: Delivery) -> Effects:
        """Make the call that is due, and take what follows from its answer."""
        closing = due.step is Step.CLOSE
        due = replace(due, phase=Phase.SENDING) if closing else due
        self._schedule.put(due)
        yield Publish()
        found: Answered = yield SendClose(due) if closing else SendRead(due.token)
        if found.stopped is Stopped.WITHDRAWN:
            self._schedule.drop(due.token)
        elif found.stopped is Stopped.BUSY:
            self._schedule.put(replace(due, due=found.at + ASK_AGAIN))
        elif found.stopped is Stopped.LOOK_TOO_OLD:
            self._schedule.put(delivery.looks_again(due, found.at))
        else:
            yield from self._note_answer(found, due.token, reads=not closing)
            yield from self._take(due, found)

    def _take(self, due: Delivery, found: Answered) -> Effects:
        """Take what follows from the answer to a call that was made."""
        then = delivery.on_answer(due, found.answer, found.at, found.chance, self.settings, heard=self._heard)
        yield from self._tell_news(due, then, found.at)
        if then.empty and not due.empty:
            yield MarkEmpty(due.token)
        if then.closed:
            yield MarkClosed(then)
            self._schedule.drop(due.token)
        else:
            self._schedule.put(then)
        yield Publish()

    def _note_answer(self, found: Answered, token: str, *, reads: bool = True) -> Effects:
        """What an answer says beside its session: whether RUFUS knows the key, and when it wants to be called again."""
        self._not_before = found.at + delivery.asked(found.answer, self.settings)
        if reads and not self._heard and delivery.heard(found.answer, token):
            self._heard = True
            yield MarkAnswered()

    def _tell_news(self, before: Delivery, then: Delivery, now: float) -> Effects:
        """One line for each new reason. A reason that was logged before is logged again after an hour."""
        token = then.token
        told, when = self._told.get(token, (frozenset(), 0.0))
        if then.elsewhere:
            text = "was closed already when rufusd first looked, and rufusd has no record of closing it token=%s"
            yield Log("WARNING", text, (token,))
            self._told.pop(token, None)
        elif then.closed:
            yield Log("INFO", "closed: RUFUS says so token=%s attempts=%d", (token, then.attempts))
            self._told.pop(token, None)
        elif then.slipped and before.step is Step.READ:  # one failed look in a wait is no outage
            return
        elif then.error:
            if then.error not in told or now - when > SAME_NEWS:
                refused = then.phase is Phase.REFUSED or (then.step is Step.VERIFY and not then.doubted)
                text = "not closed yet: %s token=%s attempts=%d"
                yield Log("ERROR" if refused else "WARNING", text, (then.error, token, then.attempts))
                self._told[token] = (told | {then.error}, now)
        elif then.troubled:  # RUFUS can be read, but would not close last time: news only once that changes
            return
        elif before.phase is Phase.RETRY and not before.slipped:
            yield Log("INFO", "RUFUS answers again token=%s", (token,))
            self._told.pop(token, None)
        elif then.step is Step.CLOSE and CLOSING not in told:  # again, where the call was stopped at its last moment
            if then.still:
                text = "closing now though passings still come: close.max_wait is over token=%s passings=%s"
                yield Log("WARNING", text, (token, then.passings))
            else:
                yield Log("INFO", "quiet: closing now token=%s passings=%s", (token, then.passings))
            self._told[token] = (told | {CLOSING}, when)
