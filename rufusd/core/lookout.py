"""What looks at the configured session tell while none of its closes is pending, and when to look. Pure.

A look is a read and can close nothing. One that fails is no fault: a station may be offline for hours, and says nothing
of it before it has something to send.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rufusd.core.delivery import Answer, Meaning, judge_read, parse_session
from rufusd.core.settings import Reader
from rufusd.core.words import Message, _

EVERY = 180.0  # seconds between two looks, before chance changes them
OFTEN = 60.0  # while the reader's line says off: an inverted one should be known in the first minutes of a race
SWAY = 0.2  # of it, either way: a venue's stations must not call in step
BARRED = 3600.0  # seconds until a key that may not read is tried again
SETTLED = 10.0  # seconds between two looks at the least, however often the network changes
STILL = 2  # looks in a row without a new passing, after which passings no longer come in


@dataclass(frozen=True)
class Sight:
    """What RUFUS said of a session when it was last read. Times are monotonic seconds.

    `grew` is when the look before the one that found new passings was made: they have come in since then. `still`
    counts the looks since that have found none.
    """

    token: str
    active: bool
    passings: int | None
    looked: float
    grew: float | None = None
    still: int = 0


def seen(before: Sight | None, answer: Answer, token: str, now: float) -> Sight | None:
    """What is known after one look more. A failed look changes nothing; what another session showed is nothing."""
    before = before if before and before.token == token else None
    found = parse_session(answer, token)
    if found is None:
        return before
    sight = Sight(token, found.active, found.passings, now)
    if before is None or before.passings is None or found.passings is None:
        return sight
    if found.passings > before.passings:
        return replace(sight, grew=before.looked)
    return replace(sight, grew=before.grew, still=before.still + 1)


def barred(answer: Answer, token: str, heard: bool) -> bool:
    """Whether RUFUS does not let this key read the session (a WRITE key), or does not know it.

    `heard`: RUFUS itself has answered this key before, so that a refusal in another form is not RUFUS's.
    """
    verdict = judge_read(answer, token)
    return verdict.meaning is Meaning.UNREADABLE and (verdict.own or not heard)


def pause(barred: bool, often: bool, chance: float) -> float:
    """Seconds until the next look. `chance` is uniform in [0, 1)."""
    if barred:
        return BARRED
    return (OFTEN if often else EVERY) * (1 + SWAY * (2 * chance - 1))


@dataclass(frozen=True)
class Rest:
    """How a reader that has not been armed yet rests. `since` is when its line began to say off (monotonic seconds)."""

    since: float | None = None
    ran: bool = False  # it was armed: its going off is an event then, and what comes in after it may be its backlog


def rests(rest: Rest, state: str, now: float) -> Rest:
    """One scan of a reader in this state (`inputs.ReaderState.state`)."""
    if rest.ran or state in ("armed", "settling"):
        return rest if rest.ran else Rest(ran=True)
    if state != "off":
        return rest if rest.since is None else Rest()
    return rest if rest.since is not None else Rest(now)


def inverted(sight: Sight | None, token: str, rest: Rest, reader: Reader | None, now: float) -> bool:
    """Whether passings come in while a reader that was never armed says off: its polarity may be the wrong way round.

    The passings must have come in while it said so, and it must have said so for longer than it takes to be armed.
    """
    if sight is None or sight.token != token or not sight.active or sight.grew is None or sight.still >= STILL:
        return False
    off = reader is not None and rest.since is not None and now - rest.since > reader.arm_time
    return off and rest.since is not None and rest.since <= sight.grew


def closed_elsewhere(sight: Sight | None, token: str) -> bool:
    """Whether RUFUS says that this session is closed. The caller knows that this station has not closed it."""
    return sight is not None and sight.token == token and not sight.active


ELSEWHERE = _(
    "RUFUS says that {name} is closed already, and this station has no record of closing it. Check "
    "session.token, with `sudo rufusd configure`"
)
INVERTED = _(
    "the reader's line says off, but passings come in: reader.running may be the wrong way round, or the reader's "
    "cable is off; while the reader runs, compare the line with `sudo rufusd watch`, and close with the button"
)


def faults(name: str, *, closed: bool, turned: bool) -> tuple[Message, ...]:
    """What a person has to know of this: one sentence each, with what to do."""
    return (*((ELSEWHERE.with_parts(name=name),) if closed else ()), *((INVERTED,) if turned else ()))
