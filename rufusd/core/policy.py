"""The table of transitions: what each input means for a close, by where it stands and who has confirmed it. Pure."""

from __future__ import annotations

from enum import Enum


class CloseState(Enum):
    """Where the close of one session stands."""

    OPEN = "open"  # never confirmed, or withdrawn
    GRACE = "grace"  # confirmed, or held by its reader: a person can take it back at the button
    PENDING = "pending"  # the courier has it
    SENT = "sent"  # RUFUS may have acted on it
    CLOSED = "closed"


class By(Enum):
    """Who has confirmed a close: it decides who can take it back."""

    NOBODY = "nobody"
    PERSON = "a person: the button, or a command"
    READER = "the reader's going off"
    READER_PERSON = "the reader, then a person as well"
    PERSON_READER = "a person, and then, in the grace time, the reader as well"


class Action(Enum):
    """What the daemon is to do."""

    CONFIRM = "confirm"
    ENDORSE = "note that it was confirmed by another as well"
    WITHDRAW = "withdraw"
    LEAVE_TO_READER = "take back what the person did: the close goes on as the reader's, with its own grace"
    START_DELIVERY = "start its delivery"
    RECALL = "stop its delivery"
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


# What is not in this table changes nothing. For example, a short press while a close is pending.
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
    # Somebody pressed by mistake, and in the grace time the reader went off. A tap takes back the press; the reader's
    # close remains.
    (CloseState.GRACE, By.PERSON, Input.READER_CONFIRMED): Action.ENDORSE,
    (CloseState.GRACE, By.PERSON_READER, Input.TAPPED): Action.LEAVE_TO_READER,
    (CloseState.GRACE, By.PERSON, Input.TAPPED): Action.WITHDRAW,
    (CloseState.GRACE, By.READER, Input.TAPPED): Action.WITHDRAW,
    (CloseState.GRACE, By.READER_PERSON, Input.TAPPED): Action.WITHDRAW,
    **{(CloseState.GRACE, by, Input.GRACE_OVER): Action.START_DELIVERY for by in By if by is not By.NOBODY},
    **{(CloseState.SENT, by, Input.GRACE_OVER): Action.START_DELIVERY for by in By if by is not By.NOBODY},
    **{
        (standing, by, Input.WITHDRAWN): Action.FORGET
        for standing in (CloseState.GRACE, CloseState.PENDING, CloseState.SENT)
        for by in By
        if by is not By.NOBODY
    },
}


def decide(standing: CloseState, by: By, what: Input) -> Action | None:
    """What an input means for the close of one session."""
    return TRANSITIONS.get((standing, by, what))
