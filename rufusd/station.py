"""What each event means in each state, and what the indicators should show. Pure: the one place with transitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from rufusd.indicator import Indication
from rufusd.record import Record
from rufusd.settings import Button, Reader, wiring
from rufusd.triggers import Press, Signal
from rufusd.words import _

CHATTER = 0.5  # seconds after a confirmation in which no press begins: a release's chatter takes nothing back


class Standing(Enum):
    """Where the close of one session stands."""

    OPEN = "open"  # never confirmed, or withdrawn
    GRACE = "grace"  # confirmed; a person can take it back at the button
    PENDING = "pending"  # the courier has it
    SENT = "sent"  # RUFUS may have acted on it
    CLOSED = "closed"


class Action(Enum):
    """What the daemon is to do."""

    CONFIRM = "confirm"
    WITHDRAW = "withdraw"
    HAND_OVER = "hand over"
    RECALL = "recall"


class Input(Enum):
    """What can happen to a close."""

    CONFIRMED = "a trigger confirmed"
    TAPPED = "a short press"
    READER_SEEN = "the reader that had gone off reads as running, perhaps for a moment"
    READER_BACK = "the reader that had gone off has run for long enough to be armed again"
    GRACE_OVER = "the time to take it back is over"


# Everything that is not in this table changes nothing: a press while a close is pending or closed, above all.
TRANSITIONS = {
    (Standing.OPEN, Input.CONFIRMED): Action.CONFIRM,
    (Standing.GRACE, Input.TAPPED): Action.WITHDRAW,
    (Standing.GRACE, Input.READER_BACK): Action.WITHDRAW,
    (Standing.GRACE, Input.GRACE_OVER): Action.HAND_OVER,
    (Standing.PENDING, Input.READER_SEEN): Action.RECALL,
    (Standing.PENDING, Input.READER_BACK): Action.WITHDRAW,
    (Standing.SENT, Input.GRACE_OVER): Action.HAND_OVER,
}


@dataclass(frozen=True)
class Close:
    """A confirmed close, as the scan loop knows it. Times are monotonic seconds."""

    record: Record
    confirmed: float
    grace_until: float
    handed_over: bool = False

    @property
    def standing(self) -> Standing:
        """Where it stands; a close that is sent, or handed over, is out of the button's reach."""
        if self.record.sent_at:
            return Standing.SENT
        return Standing.PENDING if self.handed_over else Standing.GRACE


def known(record: Record, now: float, uptime: float, boot_id: str, grace: float) -> Close:
    """A close found in the spool: what is left of its grace, if it was confirmed since this boot; else none."""
    age = uptime - record.uptime if boot_id and record.boot_id == boot_id else grace
    age = min(max(age, 0.0), grace)
    return Close(record, now - age, now - age + grace)


def decide(standing: Standing, what: Input) -> Action | None:
    """What an input means for the close of one session."""
    return TRANSITIONS.get((standing, what))


def tapped(close: Close, began: float) -> bool:
    """Whether a short press that began at `began` is meant for this close, and is not its own release's chatter."""
    return began - close.confirmed >= CHATTER


def grace_over(close: Close, now: float, press: Press) -> bool:
    """Whether a close may go: its grace has passed, and no finger that came in time is still on the button."""
    return not close.handed_over and now >= close.grace_until and not press.began_before(close.grace_until)


def happened(close: Close, now: float, press: Press, token: str, reader: Reader | None, signal: Signal) -> Input | None:
    """What this scan means for a close, by the clock and by the reader whose going off confirmed it.

    A glitch on the reader's line only delays the close; what takes it back is a reader that runs for so long that its
    going off would confirm anew. A reader of another session, or at another line, has no say.
    """
    record = close.record
    if record.trigger == "reader" and not record.sent_at and (record.token, record.wiring) == (token, wiring(reader)):
        if signal.armed and signal.line.active:
            return Input.READER_BACK
        if signal.line.level:
            return Input.READER_SEEN
    return Input.GRACE_OVER if grace_over(close, now, press) else None


@dataclass(frozen=True)
class View:
    """All that the indicators depend on."""

    faults: tuple[str, ...] = ()
    closes: tuple[Close, ...] = ()
    unsafe: frozenset[str] = frozenset()  # tokens whose close is not on disk
    session_closed: bool = False
    withdrawn: bool = False  # just now
    button: Button | None = None
    press: Press = field(default_factory=Press)
    reader: Reader | None = None
    signal: Signal = field(default_factory=Signal)


def show(view: View) -> Indication:
    """What the station shows: the finger first, then what needs a person, then what it is doing."""
    fault = bool(view.faults)
    if view.withdrawn:
        return Indication.WITHDRAWN
    if view.press.held:
        return Indication.LET_GO
    if view.press.state == "pressed":
        return Indication.HOLDING
    if any(close.standing is Standing.GRACE and close.record.token not in view.unsafe for close in view.closes):
        return Indication.GRACE
    if view.closes:
        return Indication.FAULT_PENDING if fault else Indication.PENDING
    if fault:
        return Indication.FAULT
    if view.session_closed:
        return Indication.CLOSED
    return Indication.ARMED if not waits_for(view) else Indication.UNARMED


def waits_for(view: View) -> tuple[str, ...]:
    """What a configured trigger still waits for before it would act."""
    return (
        *((_("the button's release"),) if view.button and not view.press.seen_released else ()),
        *((_("the reader to run"),) if view.reader and not view.signal.armed else ()),
    )
