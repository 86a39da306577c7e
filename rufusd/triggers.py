"""What the levels of the inputs mean: debounce, the button's press and hold, the reader's arming and settling. Pure.

One call of `button` or `reader` is one scan: (state, level, now, rules) to (state, event). Levels are sampled, so what
happens between two scans is not seen; whatever has to last "without a break" is therefore measured on the samples
themselves, not on the debounced level: one contrary sample, or a pause in the scanning, starts it anew. Noise can look
like a press for a moment, but it cannot hold still for seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from rufusd.settings import Button, Reader

SAMPLES = 4  # a level counts only if it was seen this often, however slowly the loop scans
GAP = 0.5  # seconds between two scans, beyond which nobody can say what the line did
TAP_TIME = 0.15  # seconds: a shorter press is a switch's chatter (up to 105 ms: adamfk/bouncy-button), not a finger


class Event(Enum):
    """What a trigger says in one scan."""

    CONFIRM = "confirm"
    TAP = "tap"


@dataclass(frozen=True)
class Line:
    """One sampled input. `since` is when the level as it is now was first seen; `active` is the debounced level."""

    active: bool | None = None
    level: bool | None = None
    since: float = 0.0
    seen: float = 0.0
    samples: int = 0

    def sampled(self, level: bool, now: float, bounce_time: float) -> Line:
        """The line after one more sample."""
        if level != self.level or now - self.seen > GAP:
            return Line(self.active, level, since=now, seen=now, samples=1)
        samples = self.samples + 1
        stable = samples >= SAMPLES and now - self.since >= bounce_time
        return Line(level if stable else self.active, level, self.since, now, samples)

    @property
    def settled(self) -> bool:
        """Whether the level seen last is the one that counts; if not, the next scan should come soon."""
        return self.level == self.active

    def unbroken(self, level: bool) -> float:
        """For how long every sample has shown this level, in seconds."""
        return self.seen - self.since if self.level == level else 0.0


@dataclass(frozen=True)
class Press:
    """What the button has done so far. `since` is when this press began, `solid` its longest unbroken stretch.

    `rules` are those under which it began: it is judged by them, whatever a reload makes of them meanwhile.
    """

    line: Line = Line()
    seen_released: bool = False
    since: float | None = None
    solid: float = 0.0
    stuck: bool = False
    rules: Button | None = None

    @property
    def state(self) -> str:
        """For people: unknown, released, pressed, held (let go now), stuck, or waits (for its first release)."""
        if self.stuck or self.line.active is None:
            return "stuck" if self.stuck else "unknown"
        if not self.line.active:
            return "released"
        return "waits" if not self.seen_released else "pressed"

    @property
    def held(self) -> bool:
        """Whether letting go now would confirm."""
        return self.seen_released and self.rules is not None and not self.stuck and self.solid >= self.rules.hold_time

    def began_before(self, moment: float) -> bool:
        """Whether a finger, or what may become one, has been on the button since before this moment."""
        began = self.since if self.since is not None else self.line.since if self.line.level else None
        return began is not None and began < moment and not self.stuck


def awaited(press: Press, signal: Signal, button: Button | None, reader: Reader | None) -> float:
    """Seconds from this scan until something is decided, if the levels stay as they are; infinite where nothing is.

    A scan at that moment decides without delay, whatever the pace.
    """
    of_button = of_reader = math.inf
    if button and not press.line.settled:
        of_button = button.bounce_time - press.line.unbroken(bool(press.line.level))
    elif press.rules and not press.held:
        of_button = press.rules.hold_time - press.line.unbroken(True)
    if reader and not signal.line.settled:
        of_reader = reader.bounce_time - signal.line.unbroken(bool(signal.line.level))
    elif reader and signal.line.active:
        of_reader = reader.arm_time - signal.line.unbroken(True)
    elif reader and signal.armed:
        of_reader = reader.settle_time - signal.line.unbroken(False)
    return min(of_button if of_button > 0 else math.inf, of_reader if of_reader > 0 else math.inf)


def button(press: Press, level: bool, now: float, rules: Button) -> tuple[Press, Event | None]:
    """One scan of the button. `level` is whether it is pressed.

    A press confirms on release, so a shorted cable, which never releases, confirms nothing; and it counts only after a
    release, so what is pressed at start confirms nothing either.
    """
    line = press.line.sampled(level, now, rules.bounce_time)
    if line.active is None:
        return replace(press, line=line), None
    rules = press.rules or rules
    if line.active:
        since = line.since if press.since is None else press.since
        solid = max(press.solid, line.unbroken(True))
        stuck = press.stuck or (level and now - since > rules.stuck_time)
        return replace(press, line=line, since=since, solid=solid, stuck=stuck, rules=rules), None
    released = Press(line, seen_released=True)
    if press.since is None or not press.seen_released or press.stuck or line.since - press.since > rules.stuck_time:
        return released, None
    if press.solid >= rules.hold_time:
        return released, Event.CONFIRM
    return released, Event.TAP if press.solid >= TAP_TIME else None


@dataclass(frozen=True)
class Signal:
    """What the reader's signal has done so far. `armed` once it has run for long enough."""

    line: Line = Line()
    armed: bool = False

    @property
    def state(self) -> str:
        """For people: unknown, running (not for long enough yet), armed, settling (off, armed) or off."""
        if self.line.active is None:
            return "unknown"
        if self.line.active:
            return "armed" if self.armed else "running"
        return "settling" if self.armed else "off"


def reader(signal: Signal, level: bool, now: float, rules: Reader) -> tuple[Signal, Event | None]:
    """One scan of the reader's signal. `level` is whether it runs.

    Going off confirms once, and only after it has run: a reader that is off at boot arms nothing.
    """
    line = signal.line.sampled(level, now, rules.bounce_time)
    if line.active and line.unbroken(True) >= rules.arm_time:
        return Signal(line, armed=True), None
    if signal.armed and line.active is False and line.unbroken(False) >= rules.settle_time:
        return Signal(line, armed=False), Event.CONFIRM
    return replace(signal, line=line), None
