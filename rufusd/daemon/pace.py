"""How often the station looks at what. Chance changes each pause: it comes as an argument."""

from __future__ import annotations

from collections.abc import Iterable

from rufusd.core import inputs
from rufusd.core.closes import Close
from rufusd.core.inputs import Press, ReaderState
from rufusd.core.policy import CloseState
from rufusd.core.settings import Button, Reader

# Seconds between scans, and by how much chance changes them: a steady pace would come into step with hum, which then
# looks still for seconds.
IDLE_PAUSE = 0.045  # at the most: a change is not seen for so long
IDLE_JITTER = 0.03  # by so much it is shorter at times; by a half of a mains period in one scan of six
FAST_PAUSE = 0.007  # while an input is moving
FAST_JITTER = 0.3  # of it, either way
SHORTEST_PAUSE = 0.001  # between a scan and one that comes early, since something is due then
CLOSES_EVERY = 0.5  # seconds between two looks at what commands did to the closes
REST_FACTOR = 10  # times as long as a look, or a writing of the status, kept the processor busy, until the next
LONGEST_REST = 0.5  # seconds: what the LED and the status say is never older than that and a look
RETRY_EVERY = 2.0  # seconds between two tries of what the disk refused, or of a line that could not be had


def rest(busy: float) -> float:
    """Seconds until the next look, after one that has kept the processor busy for so long (time spent waiting is not).

    With thousands of closes, it leaves time for the inputs.
    """
    return min(REST_FACTOR * busy, LONGEST_REST)


def pause(
    press: Press,
    reader_state: ReaderState,
    closes: Iterable[Close],
    chance: float,
    button: Button | None,
    reader: Reader | None,
) -> float:
    """Seconds from one scan to the next, which is not later than what is due. `chance` is uniform in [0, 1)."""
    moving = not press.line.settled or not reader_state.line.settled or (press.line.active and not press.stuck)
    if moving or any(close.standing is CloseState.GRACE for close in closes):  # taken back by a tap, which may be short
        tick = FAST_PAUSE * (1 + FAST_JITTER * (2 * chance - 1))
    else:
        tick = IDLE_PAUSE - IDLE_JITTER * chance**6
    return min(tick, max(SHORTEST_PAUSE, inputs.time_to_next_decision(press, reader_state, button, reader)))
