"""What the station asks the world to do, and what it is told of that. Pure: `daemon/world.py` performs it.

Each effect's docstring says what comes back: nothing, unless it names something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from rufusd.core.inputs import ReaderNote
from rufusd.core.record import Record

Effects = Generator[Any, Any, None]


def perform(effects: Effects, handle: Callable[[Any], Any]) -> None:
    """Have each effect performed at once, and send back what came of it before the next effect is asked for.

    What an effect raises goes to the caller, not into what decides.
    """
    result = None
    while True:
        try:
            effect = effects.send(result)
        except StopIteration:
            return
        result = handle(effect)


@dataclass(frozen=True)
class ReadAgain:
    """Read the inputs once more. Comes back: `inputs.Levels`."""


@dataclass(frozen=True)
class ReadCloses:
    """Look at the closes on disk. Comes back: `Found`.

    `session` is the configured session's token, `known` the tokens of all closes that the station knows.
    """

    session: str
    known: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a look at the disk has found. `at` is monotonic seconds, `uptime` seconds since the boot, both after it.

    `withdrawn` are the known tokens whose close is withdrawn now, `not_durable` those whose close a power cut may undo.
    `delivering` are the tokens that the courier had before the look. The last three are of the configured session:
    whether it is closed, whether by somebody else, and what tells its last withdrawal from another one. None: the disk
    did not tell.
    """

    at: float
    uptime: float
    pending: Mapping[str, Record]
    withdrawn: frozenset[str]
    not_durable: Collection[str]
    delivering: Collection[str]
    session_closed: bool | None
    closed_elsewhere: bool
    withdrawal: str | None


@dataclass(frozen=True)
class Confirm:
    """Make a new close durable. Comes back: `Saved`; no record in it where the session has a close already.

    `line` is the reader's, where its going off confirms. `instead`: in place of the one that is pending, unless that
    was sent.
    """

    token: str
    name: str
    trigger: str
    line: str
    instead: bool = False


@dataclass(frozen=True)
class Endorse:
    """Note that another trigger has confirmed a pending close as well. Comes back: `Saved`."""

    token: str
    trigger: str


@dataclass(frozen=True)
class Withdraw:
    """Take back a pending close that was not sent. Comes back: `Saved`; no record in it where there is none."""

    token: str
    by: str


@dataclass(frozen=True)
class Saved:
    """What came of a step on disk, which was over `at` (monotonic seconds). `record`: None where nothing was done."""

    record: Record | None
    at: float
    durable: bool


@dataclass(frozen=True)
class StartDelivery:
    """Have the courier deliver this close, or know that its record says something else now."""

    record: Record


@dataclass(frozen=True)
class Cancel:
    """Have the courier forget a close."""

    token: str


@dataclass(frozen=True)
class WatchSession:
    """Have the courier look at the configured session now and then, or not: no close of it is pending or done."""

    wanted: bool
    often: bool = False


@dataclass(frozen=True)
class KeepNote:
    """Keep what is known of the reader for the daemon's next life."""

    note: ReaderNote


@dataclass(frozen=True)
class Log:
    """A line for the journal; `level` is one of `logging`'s, by name."""

    level: str
    template: str
    parts: tuple[object, ...] = ()
