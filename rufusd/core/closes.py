"""One confirmed close, as the station knows it, and what a scan means for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rufusd.core.inputs import Press, ReaderState
from rufusd.core.policy import By, CloseState, Input
from rufusd.core.record import Record
from rufusd.core.settings import Reader, line_identity

CHATTER = 0.5  # seconds after a confirmation in which no press begins: a release's chatter takes nothing back


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


def input_of_scan(close: Close, now: float, press: Press, watched: Watched, reader_state: ReaderState) -> Input | None:
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
        if reader_state.armed and reader_state.line.active:
            return Input.READER_BACK
        held = 0.0 if close.held_since is None else now - close.held_since
        if (reader_state.line.level or reader_state.flickering) and held < watched.max_wait:
            return Input.READER_SEEN
    return Input.GRACE_OVER if grace_over(close, now, press) else None
