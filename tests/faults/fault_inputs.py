"""Inputs: noise, hum, spikes, chatter, brown-outs, bad cables and shorts, on the button's line and on the reader's.

Promise 1 (never by accident), by millions of scans, each when the daemon would make it: its own pauses, late as a
loop's are, with hiccups. Levels are sampled, so a break that no scan sees is none, and a line that shows "pressed" for
hold_time without a break and then opens is a finger to whoever reads it: a **false** confirmation is any other. A bad
cable may make such a contact by itself; where contacts may last so long, they are counted, and must be the ones that
the rules demand, as an oracle says that sees the whole line at once.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest
from families import Family
from test_inputs import CONFIRM, expected_of_button, expected_of_reader

from rufusd.core import inputs
from rufusd.core.inputs import Event, Press, ReaderState
from rufusd.core.settings import Button, Reader
from rufusd.daemon.pace import FAST_JITTER, FAST_PAUSE, IDLE_PAUSE, pause

SEEN = FAST_PAUSE * (1 + FAST_JITTER) + 0.001  # seconds: a break that is as long is seen, by a loop without hiccups
BUTTON, READER = Button(17), Reader(22)
NEVER_LATE, LATE, HICCUPS = "never late", "late", "hiccups"

REST = BUTTON.hold_time + 1  # seconds of a released button, after which its presses count

Parts = Iterable["tuple[float, bool]"]  # how long, in seconds, and the level


@dataclass
class Seen:
    """What one line made the triggers say."""

    scans: int = 0
    confirmed: int = 0  # by the button
    taps: int = 0
    ended: int = 0  # by the reader
    presses: int = 0  # debounced, confirmed or not: without any, nothing was tried


class Loop:
    """The scan loop, on a button and a reader's signal that both show the same contact: pressed is running."""

    def __init__(self, seed: object, *, late: str | float = LATE, armed: bool = True, reader: bool = True) -> None:
        self.chance = random.Random(f"{seed}")
        self.now = 1000.0 + self.chance.random()
        self.press, self.signal = Press(), ReaderState(armed=armed)
        self.reader = reader
        self.seen = Seen()
        self.samples: list[tuple[float, bool]] | None = None  # kept, where asked for by a list
        self.said: list[tuple[float, Event]] = []
        self.ends: list[tuple[float, Event]] = []
        self._late = itertools.cycle(self._lateness(late))

    def _lateness(self, late: str | float) -> list[float]:
        """By how much a scan comes late: what the kernel and Python take, and now and then a hiccup up to a second."""
        if isinstance(late, float):  # a machine that is late by nearly the same each time
            return [max(0.0, self.chance.gauss(late, 3e-6)) for _ in range(1009)]
        each = [self.chance.expovariate(1 / 0.00015) for _ in range(10007)]
        if late == HICCUPS:
            for place in range(0, len(each), 499):
                each[place] = self.chance.uniform(0.02, 1.0)
        return [min(one, 0.0008) for one in each] if late == NEVER_LATE else each

    def scan(self, level: bool) -> None:
        """One scan."""
        now, seen = self.now, self.seen
        before = self.press.since
        self.press, told = inputs.button(self.press, level, now, BUTTON)
        if told:
            self.said.append((now, told))
        if before is None and self.press.since is not None:
            seen.presses += 1
        if self.reader:
            self.signal, told = inputs.reader(self.signal, level, now, READER)
            if told:
                self.ends.append((now, told))
        if self.samples is not None:
            self.samples.append((now, level))
        seen.scans += 1
        self.now = now + pause(self.press, self.signal, (), self.chance.random(), BUTTON, READER) + next(self._late)

    def play(self, parts: Parts) -> Loop:
        """Scan a line that holds each level for its time, whether a scan falls into it or not."""
        end = self.now
        for seconds, level in parts:
            end += seconds
            while self.now < end:
                self.scan(level)
        return self

    def result(self) -> Seen:
        """What came of it."""
        self.seen.confirmed = sum(told is CONFIRM for _, told in self.said)
        self.seen.taps = len(self.said) - self.seen.confirmed
        self.seen.ended = len(self.ends)
        return self.seen


def spread(chance: random.Random, least: float, most: float) -> float:
    """A time between two, each magnitude as likely as any other."""
    return least * (most / least) ** chance.random()


def chatter(chance: random.Random, seconds: float) -> Iterator[tuple[float, bool]]:
    """Contacts that bounce, for 0.1 to 10 ms each."""
    level = True
    while seconds > 0:
        part = spread(chance, 0.0001, 0.01)
        yield min(part, seconds), level
        seconds, level = seconds - part, not level


@pytest.fixture(scope="module")
def cores() -> Iterator[ProcessPoolExecutor]:
    """Two processes, for what only computes."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


# -- noise


def noise(duty: int) -> Seen:
    loop = Loop(f"noise {duty}", late=HICCUPS)
    scan, chance = loop.scan, random.Random(duty)
    for _ in range(3):
        for level in chance.choices((True, False), cum_weights=(duty, 100), k=100_000):
            scan(level)
    return loop.result()


def test_noise(cores: ProcessPoolExecutor, family: Family) -> None:
    """300,000 scans of white noise at each duty cycle from 5 % to 95 % in steps of 10 %."""
    duties = list(range(5, 100, 10))
    pressed = 0
    for duty, seen in zip(duties, cores.map(noise, duties)):
        family.check(f"{duty} %", false=bool(seen.confirmed + seen.ended), tried=seen.scans)
        pressed += seen.presses
    assert family.tried == 3_000_000
    assert pressed > family.tried / 10_000  # debounced: it did look like a press, all the time


# -- hum


@dataclass(frozen=True)
class Hum:
    """The mains on a line. Levels are in parts of its amplitude; a Schmitt trigger has one to rise and one to fall."""

    hertz: float
    rise: float
    fall: float
    late: float
    seed: int

    def levels(self, loop: Loop, seconds: float) -> None:
        """Scan it for so long."""
        turn = loop.chance.random()
        begin, end = math.asin(self.rise) / math.tau, 0.5 - math.asin(self.fall) / math.tau
        until, width = loop.now + seconds, end - begin
        while loop.now < until:
            loop.scan((loop.now * self.hertz + turn - begin) % 1.0 < width)


def hum(what: Hum) -> Seen:
    """On the button's line for some seconds, as by a touch, and on a running reader's for longer than it settles."""
    loop = Loop(what, late=what.late, reader=False)
    loop.play([(REST, False)])
    what.levels(loop, loop.chance.uniform(4, 12))
    seen = loop.play([(0.5, False)]).result()
    line = Loop(what, late=what.late)
    line.play([(11, True)])
    what.levels(line, 40)
    return Seen(seen.scans + line.seen.scans, seen.confirmed, seen.taps, line.result().ended, seen.presses)


def in_step(hertz: float) -> list[float]:
    """By how much a loop of a steady pace would have to be late, 2 ms at most, to come into step with the mains."""
    late = {
        turns / hertz / scans - tick
        for tick in (IDLE_PAUSE, FAST_PAUSE)
        for scans in range(1, 13)
        for turns in range(40)
    }
    return sorted({round(each, 7) for each in late if 0 <= each < 0.002})


def test_hum(cores: ProcessPoolExecutor, family: Family) -> None:
    """Bursts of mains hum at 50 and 60 Hz, at any height of the threshold, the loop late by what suits it best."""
    heights = [(0.97, 0.8), (0.6, 0.4), (0.1, -0.1), (-0.4, -0.6), (-0.75, -0.9), (-0.85, -0.97), (-0.95, -0.98)]
    points = [
        Hum(hertz, *((high, low) if sign == 1 else (-low, -high)), late, seed)
        for hertz in (50, 60)
        for high, low in heights
        for sign in (1, -1)
        for late in in_step(hertz)
        for seed in range(3)
    ]
    pressed = 0
    for point, seen in zip(points, cores.map(hum, points, chunksize=20)):
        family.check(point, false=bool(seen.confirmed + seen.ended), tried=2)
        pressed += seen.presses
    assert pressed > 200


# -- spikes and chatter


def spikes(seed: int) -> Seen:
    """Short contacts on a released button, and short stops of a reader that runs and of one that is off."""
    loop = Loop(f"spikes {seed}", late=NEVER_LATE)
    chance = loop.chance
    loop.play([(REST, False)])
    for _ in range(5000):
        loop.play([(chance.uniform(0.1, 1), False), (spread(chance, 1e-5, 0.02), True)])
    seen = loop.result()
    seen.ended = 0  # the reader was off: that confirms, of course
    line = Loop(f"spikes {seed}", late=NEVER_LATE)
    line.play([(11, True)])
    for _ in range(5000):
        line.play([(chance.uniform(0.1, 1), True), (spread(chance, 1e-5, 0.02), False)])
    seen.ended, seen.scans = line.result().ended, seen.scans + line.seen.scans
    return seen


def test_spikes(cores: ProcessPoolExecutor, family: Family) -> None:
    """Single spikes of 10 µs to 20 ms on a line that is at rest: no close, and not even a tap."""
    for seed, seen in enumerate(cores.map(spikes, range(4))):
        taps = f"{seen.taps} taps" if seen.taps else ""
        family.check(seed, false=bool(seen.confirmed + seen.ended), wrong=taps, tried=10_000)


def bouncing(seed: int) -> tuple[float, Seen]:
    """One press, of a switch that bounces at both its ends."""
    loop = Loop(f"bouncing {seed}", late=NEVER_LATE, reader=False)
    chance = loop.chance
    held = chance.uniform(0.3, 2.6) if seed % 2 else chance.uniform(3.02, 29.5)
    loop.play(
        [
            (REST + chance.random(), False),
            *chatter(chance, chance.uniform(0, 0.105)),
            (held, True),
            *chatter(chance, chance.uniform(0, 0.105)),
            (2, False),
        ]
    )
    return held, loop.result()


def test_chatter(cores: ProcessPoolExecutor, family: Family) -> None:
    """Switches that bounce up to 105 ms on press and on release: a hold confirms once, a shorter press never."""
    for seed, (held, seen) in enumerate(cores.map(bouncing, range(1000), chunksize=50)):
        whole = held > BUTTON.hold_time
        wrong = "a tap beside the confirmation" if whole and seen.taps else ""
        family.check(
            f"{seed}: held {held:.2f} s",
            lost=whole and not seen.confirmed,
            false=seen.confirmed > whole,
            wrong=wrong or ("" if whole or seen.taps == 1 else f"{seen.taps} taps"),
        )


def amid(seed: int) -> tuple[Seen, Seen]:
    """A true press, and a true end of a reader, on lines that crackle before and after."""
    loop = Loop(f"amid {seed}", late=NEVER_LATE, reader=False)
    chance = loop.chance
    loop.play(
        [
            (REST, False),
            *chatter(chance, chance.uniform(0, 10)),
            (chance.uniform(3.1, 12), True),
            *chatter(chance, chance.uniform(0, 1)),
            (0.5, False),
            *chatter(chance, chance.uniform(0, 5)),
            (0.5, False),
        ]
    )
    line = Loop(f"amid {seed}", late=NEVER_LATE, armed=False)
    line.play([(10.5, True), *chatter(chance, chance.uniform(0, 10)), (30.5, False), *chatter(chance, 5)])
    return loop.result(), line.result()


def test_a_true_press_amid_chatter(cores: ProcessPoolExecutor, family: Family) -> None:
    """A true press, and a true end of the reader, amid chatter: each confirms, once."""
    for seed, (button, reader) in enumerate(cores.map(amid, range(300), chunksize=15)):
        family.check(f"button {seed}", lost=not button.confirmed, false=button.confirmed > 1)
        family.check(f"reader {seed}", lost=not reader.ended, false=reader.ended > 1)


# -- power and cables


def brown_out(seed: int) -> Seen:
    """A reader's line, in volts, that sags to its thresholds for minutes, or far below for less than it settles."""
    loop = Loop(f"brown-out {seed}")
    chance = loop.chance
    rise, fall = chance.choice([(1.65, 1.45), (1.9, 1.3), (1.6, 1.6)])  # of Schmitt triggers, and of none
    noisy = chance.uniform(0.1, 0.3)
    if seed % 2:
        bottom, down, stay, up = chance.uniform(0, 1), *(chance.uniform(0.1, 9.5) for _ in range(3))
    else:  # the noise still gets above `rise` in one scan of twenty or more: 1.6 of its deviations
        bottom, down, stay, up = chance.uniform(rise - 1.6 * noisy, rise + noisy), 60, 120, 60
    loop.play([(11, True)])
    began = loop.now
    while (since := loop.now - began) < down + stay + up:
        depth = max(0.0, min(1.0, since / down, (down + stay + up - since) / up))
        volts = chance.gauss(3.3 - (3.3 - bottom) * depth, noisy)
        loop.scan(volts > (fall if loop.signal.line.level else rise))
    return loop.play([(5, True)]).result()


def test_brown_out(cores: ProcessPoolExecutor, family: Family) -> None:
    """A reader's line that sags slowly, with noise, to its thresholds or through them, and comes back."""
    for seed, seen in enumerate(cores.map(brown_out, range(120), chunksize=5)):
        family.check(seed, false=bool(seen.ended))


def intermittent(seed: int) -> tuple[Seen, int, int]:
    """Contacts and breaks of 1 ms to 40 s, and how many confirmations the rules demand of that: button, reader."""
    loop = Loop(f"intermittent {seed}", late=HICCUPS)
    chance = loop.chance
    loop.samples = []
    loop.play((spread(chance, 0.001, 40), bool(turn % 2)) for turn in range(300))
    presses = expected_of_button(loop.samples, BUTTON)
    ends = expected_of_reader(loop.samples, READER, armed=True)
    seen = loop.result()
    if (presses, ends) != (loop.said, loop.ends):
        seen.confirmed += 1000  # other ones than those that the rules demand
    return seen, sum(told is CONFIRM for _, told in presses), len(ends)


def test_a_cable_with_contacts_that_look_like_presses(cores: ProcessPoolExecutor, family: Family) -> None:
    """A bad cable, contacts of 1 ms to 40 s: what it confirms are unbroken holds that open in time, each of them."""
    alike = 0
    for seed, (seen, presses, ends) in enumerate(cores.map(intermittent, range(20))):
        false, lost = seen.confirmed > presses or seen.ended > ends, seen.confirmed < presses or seen.ended < ends
        family.check(seed, false=false, lost=lost, tried=300)
        alike += presses + ends
    assert alike > 100


def flaky(seed: int) -> Seen:
    """No contact holds for hold_time, no break for settle_time; each that ends one can be seen."""
    loop = Loop(f"flaky {seed}", late=NEVER_LATE)
    chance = loop.chance
    pairs = range(300)
    loop.play([(REST, False)])
    loop.play(part for _ in pairs for part in [(spread(chance, SEEN, 20), False), (spread(chance, 0.001, 2.99), True)])
    seen = loop.play([(1, False)]).result()
    seen.ended = 0
    line = Loop(f"flaky {seed}", late=NEVER_LATE)
    # The scans at rest are further apart, so that a contact has to last longer to be seen.
    line.play(part for _ in pairs for part in [(spread(chance, 0.07, 40), True), (spread(chance, 0.001, 29.9), False)])
    line.play([(1, True)])
    seen.ended, seen.scans = line.result().ended, seen.scans + line.seen.scans
    return seen


def test_a_cable_that_makes_contact_now_and_then(cores: ProcessPoolExecutor, family: Family) -> None:
    """A bad cable, no contact as long as a hold and no break as long as a reader's end: it confirms nothing."""
    taps = 0
    for seed, seen in enumerate(cores.map(flaky, range(15))):
        family.check(seed, false=bool(seen.confirmed + seen.ended), tried=600)
        taps += seen.taps
    assert taps > 500


def at_boot(seed: int) -> tuple[Seen, Seen]:
    """Pressed when the daemon starts, for up to an hour; and a reader that is off then, and stays so."""
    loop = Loop(f"boot {seed}", late=HICCUPS, reader=False)
    chance = loop.chance
    loop.play(
        [
            *chatter(chance, chance.choice([0, 0.105])),
            (spread(chance, 0.01, 3600), True),
            *chatter(chance, 0.105),
            (2, False),
        ]
    )
    seen = loop.result()
    after = Loop(f"boot {seed}", late=HICCUPS, armed=False)
    after.play([(spread(chance, 0.01, 3600), False), *chatter(chance, 5), (9.5, True), (60, False)])
    return seen, after.result()


def test_pressed_at_boot(cores: ProcessPoolExecutor, family: Family) -> None:
    """Pressed at boot for 10 ms to an hour, or a reader that is off then and boots itself: nothing is confirmed."""
    for seed, (pressed, off) in enumerate(cores.map(at_boot, range(80), chunksize=5)):
        family.check(f"button {seed}", false=bool(pressed.confirmed), wrong="a tap" if pressed.taps else "")
        family.check(f"reader {seed}", false=bool(off.ended))


def drying(seed: int) -> Seen:
    """Hours of a short, which then dries out: contacts that grow shorter, breaks that grow longer."""
    loop = Loop(f"drying {seed}", late=NEVER_LATE)
    chance = loop.chance
    loop.play([(REST, False), (chance.uniform(600, 7200), True)])
    assert loop.press.stuck
    steps = 400
    loop.play(
        part
        for dry in (step / steps for step in range(steps))
        for part in [(spread(chance, SEEN, 0.02 + 5 * dry), False), (spread(chance, 0.001, 2.95 - 2.9 * dry), True)]
    )
    return loop.play([(1, False)]).result()


def test_shorted_for_hours_and_drying(cores: ProcessPoolExecutor, family: Family) -> None:
    """A line that is shorted for up to two hours, then dries out with ever shorter contacts: nothing is confirmed."""
    for seed, seen in enumerate(cores.map(drying, range(12))):
        family.check(seed, false=bool(seen.confirmed + seen.ended), tried=400)
        assert seen.presses > 10
