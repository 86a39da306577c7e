"""What each event means in each state, and what the indicators should show. Pure: the one place with transitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from rufusd.core.indicator import Indication
from rufusd.core.inputs import Press, ReaderState
from rufusd.core.record import Record
from rufusd.core.settings import Button, Reader, line_identity
from rufusd.core.words import _

CHATTER = 0.5  # seconds after a confirmation in which no press begins: a release's chatter takes nothing back


class CloseState(Enum):
    """Where the close of one session stands."""

    OPEN = "open"  # never confirmed, or withdrawn
    GRACE = "grace"  # confirmed; a person can take it back at the button
    PENDING = "pending"  # the courier has it
    SENT = "sent"  # RUFUS may have acted on it
    CLOSED = "closed"


class By(Enum):
    """Who has confirmed a close: it decides who can take it back."""

    NOBODY = "nobody"
    PERSON = "a person: the button, or a command"
    READER = "the reader's going off"
    READER_PERSON = "the reader, then a person as well"
    PERSON_READER = "a person, then the reader as well, which could still be taken back"


class Action(Enum):
    """What the daemon is to do."""

    CONFIRM = "confirm"
    ENDORSE = "note that it was confirmed by another as well"
    WITHDRAW = "withdraw"
    LEAVE_TO_READER = "take back what the person did: the close goes on as the reader's, with its own grace"
    HAND_OVER = "hand over"
    RECALL = "recall"
    FORGET = "it is withdrawn already: forget it"


class Input(Enum):
    """What can happen to a close."""

    PERSON_CONFIRMED = "the button, or a command, confirmed"
    READER_CONFIRMED = "the reader's going off confirmed"
    TAPPED = "a short press"
    READER_SEEN = "the reader that had gone off reads as running, perhaps for a moment"
    READER_BACK = "the reader that had gone off has run for long enough to be armed again"
    GRACE_OVER = "the time to take it back is over"
    WITHDRAWN = "a person withdrew it elsewhere"


# Everything that is not in this table changes nothing: a short press while a close is pending, above all.
TRANSITIONS: dict[tuple[CloseState, By, Input], Action] = {
    (CloseState.OPEN, By.NOBODY, Input.PERSON_CONFIRMED): Action.CONFIRM,
    (CloseState.OPEN, By.NOBODY, Input.READER_CONFIRMED): Action.CONFIRM,
    # Only the reader's own close is the reader's to hold or to take back, and only until a person confirms it, too.
    (CloseState.GRACE, By.READER, Input.READER_BACK): Action.WITHDRAW,
    (CloseState.PENDING, By.READER, Input.READER_SEEN): Action.RECALL,
    (CloseState.PENDING, By.READER, Input.READER_BACK): Action.WITHDRAW,
    (CloseState.GRACE, By.READER, Input.PERSON_CONFIRMED): Action.ENDORSE,
    (CloseState.PENDING, By.READER, Input.PERSON_CONFIRMED): Action.ENDORSE,
    (CloseState.SENT, By.READER, Input.PERSON_CONFIRMED): Action.ENDORSE,
    # A press by mistake, and in its grace the reader's real end: a tap takes back the press, and not the end.
    (CloseState.GRACE, By.PERSON, Input.READER_CONFIRMED): Action.ENDORSE,
    (CloseState.GRACE, By.PERSON_READER, Input.TAPPED): Action.LEAVE_TO_READER,
    (CloseState.GRACE, By.PERSON, Input.TAPPED): Action.WITHDRAW,
    (CloseState.GRACE, By.READER, Input.TAPPED): Action.WITHDRAW,
    (CloseState.GRACE, By.READER_PERSON, Input.TAPPED): Action.WITHDRAW,
    **{(CloseState.GRACE, by, Input.GRACE_OVER): Action.HAND_OVER for by in By if by is not By.NOBODY},
    **{(CloseState.SENT, by, Input.GRACE_OVER): Action.HAND_OVER for by in By if by is not By.NOBODY},
    **{
        (standing, by, Input.WITHDRAWN): Action.FORGET
        for standing in (CloseState.GRACE, CloseState.PENDING, CloseState.SENT)
        for by in By
        if by is not By.NOBODY
    },
}


@dataclass(frozen=True)
class Close:
    """A confirmed close, as the scan loop knows it. Times are monotonic seconds.

    `held_since` is when the reader's line first held it.
    """

    record: Record
    confirmed: float
    grace_until: float
    handed_over: bool = False
    held_since: float | None = None

    @property
    def standing(self) -> CloseState:
        """Where it stands; a close that is sent, or handed over, is out of the button's reach."""
        if self.record.sent_at:
            return CloseState.SENT
        return CloseState.PENDING if self.handed_over else CloseState.GRACE

    @property
    def by(self) -> By:
        """Who has confirmed it. A record that is damaged does not say so, and is a person's."""
        if self.record.trigger == "reader":
            return By.READER if self.record.reader_alone else By.READER_PERSON
        return By.PERSON_READER if self.record.also == "reader" else By.PERSON


def recovered_close(record: Record, now: float, uptime: float, boot_id: str, grace: float) -> Close:
    """A close found in the spool: what is left of its grace, if it was confirmed since this boot; else none."""
    age = uptime - record.uptime if boot_id and record.boot_id == boot_id else grace
    age = min(max(age, 0.0), grace)
    return Close(record, now - age, now - age + grace)


def decide(standing: CloseState, by: By, what: Input) -> Action | None:
    """What an input means for the close of one session."""
    return TRANSITIONS.get((standing, by, what))


def close_for_tap(closes: Iterable[Close], token: str, began: float) -> Close | None:
    """The one close that a short press is meant for: the configured session's if it is in grace, else the newest.

    None where there is none in grace, or where the press began so early that it is its own release's chatter.
    """
    in_grace = [close for close in closes if close.standing is CloseState.GRACE]
    if not in_grace:
        return None
    meant = max(in_grace, key=lambda close: (close.record.token == token, close.confirmed))
    return meant if began - meant.confirmed >= CHATTER else None


def grace_over(close: Close, now: float, press: Press) -> bool:
    """Whether a close may go: its grace has passed, and no finger that came in time is still on the button."""
    return not close.handed_over and now >= close.grace_until and not press.began_before(close.grace_until)


@dataclass(frozen=True)
class Watched:
    """Whose reader is watched: the session, its reader, the boot, and for how long a close may be held at the most."""

    token: str
    reader: Reader | None
    boot_id: str
    max_wait: float


def input_of_scan(close: Close, now: float, press: Press, watched: Watched, signal: ReaderState) -> Input | None:
    """What this scan means for a close, by the clock and by the reader whose going off confirmed it.

    A glitch on the reader's line only delays the close, for `max_wait` at the most; what takes it back is a reader that
    runs for so long that its going off would confirm anew. The reader has no say in the close of another session, of
    another line, or from before the Pi was started.
    """
    record = close.record
    if close.handed_over and record.token != watched.token:
        return None  # of which there may be thousands
    of_reader = close.by is By.READER and not record.sent_at and record.boot_id == watched.boot_id
    if of_reader and (record.token, record.wiring) == (watched.token, line_identity(watched.reader)):
        if signal.armed and signal.line.active:
            return Input.READER_BACK
        held = 0.0 if close.held_since is None else now - close.held_since
        if (signal.line.level or signal.flickering) and held < watched.max_wait:
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
    signal: ReaderState = field(default_factory=ReaderState)


def show(view: View) -> Indication:
    """What the station shows: the finger first, then what needs a person, then what it is doing."""
    fault = bool(view.faults)
    if view.withdrawn:
        return Indication.WITHDRAWN
    if view.press.held:
        return Indication.LET_GO
    if view.press.state == "pressed":
        return Indication.HOLDING
    if any(close.standing is CloseState.GRACE and close.record.token not in view.unsafe for close in view.closes):
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
        *((_("the reader to be switched off and on"),) if view.reader and view.signal.stale else ()),
        *((_("the reader to run"),) if view.reader and not (view.signal.armed or view.signal.stale) else ()),
    )
