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
from typing import NamedTuple

from rufusd.core.settings import Button, Reader

SAMPLES = 4  # a level counts only if it was seen this often, however slowly the loop scans
COUNTED_PAUSE = 0.25  # seconds: a pause between two scans counts as so long at most; nobody saw the line in the rest
GAP = 0.5  # seconds between two scans, beyond which nobody can say what the line did at all
STEADY = 1.0  # seconds: a line whose level changes again and again before it has lasted so long flickers
TAP_TIME = 0.15  # seconds: a shorter press is a switch's chatter (up to 105 ms: adamfk/bouncy-button), not a finger


class Levels(NamedTuple):
    """What the inputs say; None where there is none, or it cannot be read."""

    pressed: bool | None = None
    running: bool | None = None


class Event(Enum):
    """What a trigger says in one scan."""

    CONFIRM = "confirm"
    TAP = "tap"


@dataclass(frozen=True)
class Line:
    """One sampled input. `since` is when the level as it is now was first seen; `active` is the debounced level.

    `unseen` is how many of the seconds since then do not count, because nobody looked.

    `flicker_began` is when the present run of quick changes began; None while the line is steady.
    """

    active: bool | None = None
    level: bool | None = None
    since: float = 0.0
    seen: float = 0.0
    samples: int = 0
    flicker_began: float | None = None
    unseen: float = 0.0

    def sampled(self, level: bool, now: float, bounce_time: float, steady: float = STEADY) -> Line:
        """The line after one more sample. A level that has lasted for `steady` seconds ends a flicker."""
        if now - self.seen > GAP or self.level is None:
            return Line(self.active, level, since=now, seen=now, samples=1)
        if level != self.level:
            first = self.flicker_began is None or now - self.since >= steady
            return Line(self.active, level, now, now, samples=1, flicker_began=now if first else self.flicker_began)
        samples, unseen = self.samples + 1, self.unseen + max(0.0, now - self.seen - COUNTED_PAUSE)
        stable = samples >= SAMPLES and now - self.since >= bounce_time
        flicker_began = None if now - self.since >= steady else self.flicker_began
        return Line(level if stable else self.active, level, self.since, now, samples, flicker_began, unseen)

    @property
    def settled(self) -> bool:
        """Whether the level seen last is the one that counts; if not, the next scan should come soon."""
        return self.level == self.active

    def steady_for(self, level: bool) -> float:
        """For how long every sample has shown this level, in seconds; time in which none was taken does not count."""
        return self.seen - self.since - self.unseen if self.level == level else 0.0

    def flickers(self, seconds: float) -> bool:
        """Whether its level has changed again and again for longer than so many seconds, and still does."""
        return self.flicker_began is not None and self.since - self.flicker_began > seconds

    def anew(self, now: float) -> Line:
        """The same line, on which the counting of seconds begins now."""
        return self if self.level is None else replace(self, since=now, seen=now, unseen=0.0)


@dataclass(frozen=True)
class Press:
    """What the button has done so far. `since` is when this press began.

    `longest_contact` is the longest stretch of it without a break, in seconds.

    `seen_released`: no press counts before the line has been released for `hold_time` without a break. A button
    with the wrong `active` reads as released only while somebody presses it. A tap is too short to count as released.
    `rules` are those under which a press began: it is judged by them, whatever a reload makes of them meanwhile.
    """

    line: Line = Line()
    seen_released: bool = False
    since: float | None = None
    longest_contact: float = 0.0
    stuck: bool = False
    rules: Button | None = None
    flickering: bool = False

    @property
    def state(self) -> str:
        """For people. "waits": pressed, and never seen released; "resting": released, but not for `hold_time` yet."""
        if self.stuck or self.flickering:
            return "stuck" if self.stuck else "flickering"
        if self.line.active is None:
            return "unknown"
        if self.line.active:
            return "pressed" if self.seen_released else "waits"
        return "released" if self.seen_released else "resting"

    @property
    def held(self) -> bool:
        """Whether letting go now would confirm."""
        return (
            self.seen_released
            and self.rules is not None
            and not self.stuck
            and self.longest_contact >= self.rules.hold_time
        )

    def began_before(self, moment: float) -> bool:
        """Whether a press, or a level that may become one, has lasted since before this moment."""
        began = self.since if self.since is not None else self.line.since if self.line.level else None
        return began is not None and began < moment and not self.stuck

    def voided(self) -> Press:
        """The button once the configured session has changed: a press that is under way means nothing any more."""
        return Press(self.line)


def time_to_next_decision(
    press: Press, reader_state: ReaderState, button: Button | None, reader: Reader | None
) -> float:
    """Seconds from this scan until something is decided, if the levels stay as they are; infinite where nothing is.

    A scan at that moment decides without delay, whatever the pace.
    """
    of_button = of_reader = math.inf
    if button and not press.line.settled:
        of_button = button.bounce_time - press.line.steady_for(bool(press.line.level))
    elif press.rules and not press.held:
        of_button = press.rules.hold_time - press.line.steady_for(True)
    elif button and press.line.active is False and not press.seen_released:
        of_button = button.hold_time - press.line.steady_for(False)
    if reader and not reader_state.line.settled:
        of_reader = reader.bounce_time - reader_state.line.steady_for(bool(reader_state.line.level))
    elif reader and reader_state.line.active:
        of_reader = reader.arm_time - reader_state.line.steady_for(True)
    elif reader and reader_state.armed:
        of_reader = reader.settle_time - reader_state.line.steady_for(False)
    return min(of_button if of_button > 0 else math.inf, of_reader if of_reader > 0 else math.inf)


def button(press: Press, level: bool, now: float, rules: Button) -> tuple[Press, Event | None]:
    """One scan of the button. `level` is whether it is pressed.

    A press confirms on release, so a shorted cable, which never releases, confirms nothing; and it counts only after
    the line has been released for `hold_time`, so what is pressed at start confirms nothing either. After a
    press that counts, any release is enough; after one that was too long it must be `hold_time` again.
    """
    line = press.line.sampled(level, now, rules.bounce_time, _steady(rules.bounce_time, rules.hold_time))
    flickering = line.flickers(rules.stuck_time)
    if line.active is None:
        return replace(press, line=line, flickering=flickering), None
    rules = press.rules or rules
    if line.active:
        since = line.since if press.since is None else press.since
        longest_contact = max(press.longest_contact, line.steady_for(True))
        stuck = press.stuck or (level and now - since > rules.stuck_time)
        return Press(line, press.seen_released, since, longest_contact, stuck, rules, flickering), None
    too_long = press.since is not None and line.since - press.since > rules.stuck_time
    counts = press.seen_released and not too_long
    rested = line.steady_for(False) >= rules.hold_time
    released = Press(line, counts or rested, stuck=press.stuck and not rested, flickering=flickering)
    if press.since is None or not counts:
        return released, None
    if press.longest_contact >= rules.hold_time:
        return released, Event.CONFIRM
    return released, Event.TAP if press.longest_contact >= TAP_TIME else None


def _steady(bounce_time: float, lasting: float) -> float:
    """For how long a level has to last to be steady: a second, or less where the rules count less."""
    return max(bounce_time, min(STEADY, lasting))


@dataclass(frozen=True)
class ReaderState:
    """What the reader's signal has done so far. `armed` once it has run for long enough.

    `stale`: it may have run since before this session was configured, so it must be seen off before it can be armed.
    """

    line: Line = Line()
    armed: bool = False
    stale: bool = False
    flickering: bool = False

    @property
    def state(self) -> str:
        """For people: unknown, flickering, stale, running (not for long enough yet), armed, settling or off."""
        if self.flickering:
            return "flickering"
        if self.line.active is None:
            return "unknown"
        if self.line.active:
            return "stale" if self.stale else "armed" if self.armed else "running"
        return "settling" if self.armed else "off"

    def distrusted(self) -> ReaderState:
        """The signal once the configured session has changed: what the reader does belongs to the session before."""
        return ReaderState(self.line, stale=True)

    def used_up(self, rules: Reader | None) -> ReaderState:
        """The signal once a person has withdrawn the close: a going-off that is under way means nothing any more.

        The reader stays armed only if it runs now and has run for `arm_time`.
        """
        return self if rules and _has_run(self.line, rules) else replace(self, armed=False)


def _has_run(line: Line, rules: Reader) -> bool:
    """Whether the reader has run for long enough to be armed."""
    return line.steady_for(True) >= rules.arm_time


def reader(state: ReaderState, level: bool, now: float, rules: Reader) -> tuple[ReaderState, Event | None]:
    """One scan of the reader's signal. `level` is whether it runs.

    Going off confirms once, and only after it has run: a reader that is off at boot arms nothing.
    """
    steady = _steady(rules.bounce_time, rules.arm_time)
    line = state.line.sampled(level, now, rules.bounce_time, steady)
    stale = state.stale and not (line.active is False and line.steady_for(False) >= steady)
    flickering = line.flickers(rules.arm_time)
    if line.active and _has_run(line, rules) and not stale:
        return ReaderState(line, True, stale, flickering), None
    if state.armed and line.active is False and line.steady_for(False) >= rules.settle_time:
        return ReaderState(line, False, stale, flickering), Event.CONFIRM
    return ReaderState(line, state.armed, stale, flickering), None


@dataclass(frozen=True)
class ReaderNote:
    """What a daemon leaves about the reader for its next life: for which boot, wiring and session it holds.

    `withdrawal` identifies the last withdrawal of the session that the daemon knew of; empty for none.
    """

    boot_id: str
    wiring: str
    token: str
    armed: bool = False
    stale: bool = False
    withdrawal: str = ""


def resumed(found: ReaderNote | None, now: ReaderNote, *, confirmed: bool = False) -> ReaderState:
    """The reader's signal at a start. `found` is the last life's note, `now` says what holds now.

    `confirmed`: the reader's close is pending, so its going-off is used up. A withdrawal that the last life did not
    know of also uses it up: it may have come later. Without a note of this boot there is nothing to distrust.
    """
    if found is None or found.boot_id != now.boot_id:
        return ReaderState()
    if found.token != now.token:
        return ReaderState(stale=True)
    used = confirmed or now.withdrawal not in ("", found.withdrawal)
    armed = bool(now.boot_id) and found.armed and not found.stale and found.wiring == now.wiring and not used
    return ReaderState(armed=armed, stale=found.stale)
