"""The triggers, fed with levels and times. An oracle that looks back on the whole line checks random sequences."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rufusd.core.inputs import (
    Event,
    Line,
    Press,
    ReaderNote,
    ReaderState,
    button,
    reader,
    resumed,
    time_to_next_decision,
)
from rufusd.core.settings import Button, Reader

TICK, FAST_TICK = 0.045, 0.007  # how far apart the daemon scans: at rest, and while an input moves
FINE = 1 / 128  # seconds: a scan interval without rounding, for exact bounds
CONFIRM, TAP = Event.CONFIRM, Event.TAP


class Bench:
    """A button and a reader's signal, scanned at an interval, or as the daemon does: faster while one moves."""

    def __init__(self, interval=None, press=None, signal=None, **rules):
        self.interval = interval
        self.now = 1000.0
        self.press = press or Press()
        self.signal = signal or ReaderState()
        self.button = Button(17, **{key: value for key, value in rules.items() if key in Button.__annotations__})
        self.reader = Reader(27, **{key: value for key, value in rules.items() if key in Reader.__annotations__})
        self.presses = []  # the button's events
        self.ends = []  # the reader's events

    def sample(self, *, pressed=False, running=False):
        """One scan."""
        self.press, told = button(self.press, pressed, self.now, self.button)
        self.presses += [told] if told else []
        self.signal, told = reader(self.signal, running, self.now, self.reader)
        self.ends += [told] if told else []
        moving = not (self.press.line.settled and self.signal.line.settled) or self.press.line.active
        self.now += self.interval or (FAST_TICK if moving else TICK)

    def scan(self, seconds, *, pressed=False, running=False):
        """Scans for so long, all with the same levels."""
        end = self.now + seconds
        while self.now < end:
            self.sample(pressed=pressed, running=running)

    def chatter(self, seconds, seed=1, duty=0.5):
        """Scans for so long of contacts that bounce, on both lines alike."""
        chance = random.Random(seed)
        end = self.now + seconds
        while self.now < end:
            level = chance.random() < duty
            self.sample(pressed=level, running=level)


@pytest.fixture(params=[None, FAST_TICK, TICK], ids=["as the daemon scans", "each 7 ms", "each 45 ms"])
def bench(request):
    return Bench(request.param)


# -- when the next scan is due


SETTLED, MOVING = Line(True, True, since=7.0, seen=9.0, samples=9), Line(False, True, since=8.96, seen=9.0, samples=2)
OFF = Line(False, False, since=7.0, seen=9.0, samples=9)


@pytest.mark.parametrize(
    ("press", "signal", "left"),
    [
        (Press(), ReaderState(), math.inf),
        (Press(OFF, seen_released=True), ReaderState(OFF), math.inf),
        (Press(MOVING), ReaderState(), 0.01),  # bounce_time is 0.05
        (Press(SETTLED, True, 7.0, 2.0, rules=Button(17)), ReaderState(), 1),  # hold_time is 3
        (Press(SETTLED, True, 5.0, 3.5, rules=Button(17)), ReaderState(), math.inf),  # held already
        (
            Press(replace(SETTLED, since=1.0), False, 1.0, 8.0, rules=Button(17)),
            ReaderState(),
            math.inf,
        ),  # since the start
        (Press(replace(SETTLED, since=6.0), False, 6.0, 3.0, rules=Button(17)), ReaderState(), math.inf),  # just now
        (Press(), ReaderState(replace(SETTLED, since=-1.0)), math.inf),  # armed just now
        (Press(OFF), ReaderState(), 1),  # released since the start: it counts after hold_time
        (Press(), ReaderState(MOVING), 0.01),
        (Press(), ReaderState(SETTLED), 8),  # arm_time is 10
        (Press(), ReaderState(SETTLED, armed=True), 8),  # has no need of it, and looks once more
        (Press(), ReaderState(OFF, armed=True), 28),  # settle_time is 30
        (Press(MOVING), ReaderState(SETTLED), 0.01),
        (
            Press(replace(MOVING, since=8.9)),
            ReaderState(MOVING),
            0.01,
        ),  # the one is due, for want of samples; the other not
    ],
)
def test_the_next_scan_is_due_when_something_is_decided(press, signal, left):
    """If the levels stay as they are: the end of a bounce, of a hold, of the reader's times."""
    assert time_to_next_decision(press, signal, Button(17), Reader(22)) == pytest.approx(left)


def test_nothing_is_awaited_of_what_there_is_not():
    """Neither a button nor a reader is configured: only commands close."""
    for line in (MOVING, SETTLED, OFF):
        assert time_to_next_decision(Press(line), ReaderState(line, armed=True), None, None) == math.inf


# -- the button


def test_hold_and_release_confirms_once(bench):
    """A button that is held for the hold time confirms once it is let go, not before."""
    bench.scan(4)
    bench.scan(4, pressed=True)
    assert bench.presses == []
    bench.scan(10)
    assert bench.presses == [CONFIRM]


def test_short_press_is_a_tap(bench):
    """A press that is shorter than the hold time confirms nothing: it is a tap."""
    bench.scan(4)
    bench.scan(1, pressed=True)
    bench.scan(10)
    assert bench.presses == [TAP]


def test_touch_is_nothing(bench):
    """A contact of less than 0.15 s without a break is not a finger."""
    bench.scan(4)
    for _ in range(20):
        bench.scan(0.13, pressed=True)
        bench.scan(4)
    assert bench.presses == []


def test_each_press_counts_for_itself(bench):
    """What was held before does not add to the next press."""
    bench.scan(4)
    for _ in range(5):
        bench.scan(2, pressed=True)
        bench.scan(0.5)
    assert bench.presses == [TAP] * 5


def test_water_in_the_plug_closes_nothing(bench):
    """Promise 1: a line that goes low and stays low is a fault, not a press, even when it dries out later."""
    bench.scan(4)
    bench.scan(600, pressed=True)
    assert bench.press.state == "stuck"
    bench.scan(60)
    assert bench.presses == []
    assert bench.press.state == "released"


def test_line_that_was_stuck_works_again(bench):
    """A fault of the line is over once it is released: the next press is a press."""
    bench.scan(4)
    bench.scan(60, pressed=True)
    bench.scan(4)
    bench.scan(4, pressed=True)
    bench.scan(4)
    assert bench.presses == [CONFIRM]


def test_crackling_short_closes_nothing(bench):
    """Promise 1: a short that crackles now and then is one press that is far too long, not many."""
    bench.scan(4)
    for _ in range(100):
        bench.scan(5, pressed=True)
        bench.sample(pressed=False)
    bench.scan(10)
    assert bench.presses == []


def test_stuck_stays_stuck_under_new_rules(bench):
    """Promise 1: a stuck line that was a fault stays one until released, whatever a reload makes of stuck_time."""
    bench.scan(4)
    bench.scan(40, pressed=True)
    bench.button = replace(bench.button, stuck_time=3600.0)
    bench.scan(5, pressed=True)
    assert bench.press.state == "stuck"
    bench.scan(5)
    assert bench.presses == []


def test_press_that_is_let_go_in_time_was_never_stuck():
    """A fault is told of a line that is pressed for too long, not of one whose release is still being debounced."""
    bench = Bench(FINE, bounce_time=1.0, stuck_time=8.0)
    bench.scan(4)
    bench.scan(7.5, pressed=True)
    states = set()
    while not bench.presses:
        bench.sample()
        states.add(bench.press.state)
    assert bench.presses == [CONFIRM]
    assert "stuck" not in states


def test_pressed_at_boot_confirms_nothing(bench):
    """Promise 1: what is pressed when rufusd starts confirms nothing when it is released: that arms it only."""
    bench.scan(5, pressed=True)
    assert bench.press.state == "waits"
    assert not bench.press.held
    bench.scan(5)
    assert bench.presses == []
    bench.scan(4, pressed=True)
    bench.scan(4)
    assert bench.presses == [CONFIRM]


def test_chatter_at_boot_confirms_nothing(bench):
    """Promise 1: a line that has never been still does not count as released; promise 5: it is told as flickering."""
    for turn in range(5000):
        bench.sample(pressed=turn % 3 == 0)
    assert (bench.press.state, bench.press.line.active) == ("flickering", None)
    bench.scan(5, pressed=True)
    bench.scan(5)
    assert bench.presses == []


def test_chatter_on_press_and_release_is_one_press(bench):
    """A switch that bounces for 105 ms, as the worst recorded ones do, still confirms, and once."""
    bench.scan(4)
    for seed in range(20):
        bench.presses.clear()
        bench.chatter(0.105, seed)
        bench.scan(3.5, pressed=True)
        bench.chatter(0.105, seed + 100)
        bench.scan(4)
        assert bench.presses == [CONFIRM]


def test_chatter_on_release_is_no_tap(bench):
    """A release's chatter is a part of the press that it ends, or nothing: never a tap that takes the close back."""
    for seed in range(100):
        bench.scan(4)
        bench.scan(3.5, pressed=True)
        bench.scan(0.1)
        bench.chatter(0.105, seed)
    bench.scan(4)
    assert set(bench.presses) == {CONFIRM}


def test_true_press_amid_noise_confirms(bench):
    """A person's press confirms on a line that has crackled before and crackles after."""
    bench.scan(4)
    bench.chatter(60, 1)
    bench.scan(4)
    assert CONFIRM not in bench.presses
    bench.scan(3.5, pressed=True)
    bench.scan(0.5)
    assert bench.presses.pop() is CONFIRM
    bench.chatter(60, 2)
    assert CONFIRM not in bench.presses


def test_hold_is_measured_without_a_break(bench):
    """A single contrary sample starts the hold anew; the longest unbroken stretch counts."""
    bench.scan(4)
    for _ in range(4):
        bench.scan(2, pressed=True)
        bench.sample(pressed=False)
    bench.scan(0.5, pressed=True)
    bench.scan(4)
    assert bench.presses == [TAP]


def test_spike_after_a_whole_hold_changes_nothing(bench):
    """A hold that was long enough stays so, though the line crackles before the finger goes."""
    bench.scan(4)
    bench.scan(3.5, pressed=True)
    bench.sample(pressed=False)
    bench.scan(1, pressed=True)
    assert bench.press.held
    bench.scan(4)
    assert bench.presses == [CONFIRM]


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_single_spikes_are_nothing(samples):
    """Promise 1: fewer than four samples are never a level, however far apart they are."""
    bench = Bench(TICK, bounce_time=0, hold_time=0.05)
    bench.scan(4)
    for _ in range(1000):
        for _ in range(samples):
            bench.sample(pressed=True, running=True)
        bench.scan(0.3)
    assert bench.presses == bench.ends == []
    assert bench.press.since is None


def test_pause_in_the_scanning_breaks_a_hold():
    """Promise 1: nobody knows what a line did while the loop did not look, so two glimpses are not a hold."""
    bench = Bench(FAST_TICK)
    bench.scan(4)
    bench.scan(1, pressed=True)
    bench.now += 5
    bench.scan(1, pressed=True)
    bench.scan(4)
    assert bench.presses == [TAP]


@pytest.mark.parametrize(("gap", "told"), [(0.5, [CONFIRM]), (0.5 + FINE, [TAP])])
def test_pause_of_half_a_second_is_bearable(gap, told):
    """Half a second between two scans is no break, more is."""
    bench = Bench(FINE)
    bench.scan(4)
    bench.scan(2, pressed=True)
    bench.now += gap - FINE
    bench.scan(2, pressed=True)
    bench.scan(4)
    assert bench.presses == told


def seconds_pressed(seconds):
    """The button's events when it is pressed for exactly so long, from the first sample to the last that shows it."""
    bench = Bench(FINE)
    bench.scan(4)
    for _ in range(round(seconds / FINE) + 1):
        bench.sample(pressed=True)
    held = bench.press.held
    bench.scan(4)
    assert held is (CONFIRM in bench.presses)
    return bench.presses


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.15 - FINE, []),
        (0.16, [TAP]),
        (3.0 - FINE, [TAP]),
        (3.0, [CONFIRM]),
        (30.0 - FINE, [CONFIRM]),  # its release is seen 30.0 s after its beginning
        (30.0, []),
    ],
)
def test_bounds_of_a_press(seconds, told):
    """A press of exactly hold_time confirms, and so does one of exactly stuck_time; one scan beyond does not."""
    if seconds == 30.0:  # the light says "let go" to the end; the release that follows is one scan too late
        bench = Bench(FINE)
        bench.scan(4)
        bench.scan(30.0 + FINE, pressed=True)
        assert bench.press.held
        bench.scan(4)
        assert bench.presses == told
    else:
        assert seconds_pressed(seconds) == told


def test_release_counts_once_it_has_been_stable():
    """A level counts after bounce_time and four samples, whichever is later."""
    for bounce_time, scans in ((0.0, 4), (3 * FINE, 4), (4 * FINE, 5), (8 * FINE, 9)):
        bench = Bench(FINE, bounce_time=bounce_time)
        bench.scan(4)
        bench.scan(4, pressed=True)
        for _ in range(scans - 1):
            bench.sample()
        assert bench.presses == []
        bench.sample()
        assert bench.presses == [CONFIRM]


def test_states_of_a_button_in_words(bench):
    """Promise 5: what the button does can be told at every time."""
    told = [bench.press.state]
    for seconds, pressed in ((1, True), (1, False), (3, False), (1, True), (40, True), (1, False), (3, False)):
        bench.scan(seconds, pressed=pressed)
        told.append(bench.press.state)
    assert told == ["unknown", "waits", "resting", "released", "pressed", "stuck", "stuck", "released"]


def test_stuck_from_the_start_is_told(bench):
    """Promise 5: a button that has been pressed since the start becomes a fault, too."""
    bench.scan(60, pressed=True)
    assert bench.press.state == "stuck"
    bench.scan(5)
    assert bench.presses == []


# -- the reader


def test_reader_that_goes_off_confirms_once(bench):
    """A reader that ran and then is off for the settle time confirms once, however long it stays off."""
    bench.scan(15, running=True)
    assert bench.signal.armed
    bench.scan(29)
    assert bench.ends == []
    bench.scan(600)
    assert bench.ends == [CONFIRM]


def test_reader_that_runs_again_confirms_again(bench):
    """After a confirmation the reader must run for the arm time before its going off means anything again."""
    for _ in range(3):
        bench.scan(15, running=True)
        bench.scan(40)
    bench.scan(9, running=True)
    bench.scan(40)
    assert bench.ends == [CONFIRM] * 3


def test_reader_off_at_boot_confirms_nothing(bench):
    """Promise 1: a reader that is off when rufusd starts arms nothing, for as long as it takes."""
    bench.scan(600)
    assert bench.ends == []
    assert bench.signal.state == "off"


def test_reader_that_starts_up_arms_nothing(bench):
    """Promise 1: an output that is high for a moment while a reader boots does not arm."""
    for _ in range(10):
        bench.scan(9, running=True)
        bench.scan(40)
    assert bench.ends == []


def test_short_stop_confirms_nothing(bench):
    """A reader that pauses for less than the settle time goes on, and pauses do not add up."""
    bench.scan(15, running=True)
    for _ in range(10):
        bench.scan(28)
        bench.scan(1, running=True)
    assert bench.ends == []
    assert bench.signal.armed


def test_one_sample_of_running_starts_the_settling_anew(bench):
    """Promise 1: off means off without a break, in every sample."""
    bench.scan(15, running=True)
    for _ in range(10):
        bench.scan(25)
        bench.sample(running=True)
    assert bench.ends == []
    bench.scan(31)
    assert bench.ends == [CONFIRM]


def test_one_sample_of_off_starts_the_arming_anew(bench):
    """Promise 1: running means running without a break, in every sample."""
    for _ in range(10):
        bench.scan(8, running=True)
        bench.sample()
    bench.scan(60)
    assert bench.ends == []


def test_pause_in_the_scanning_breaks_the_settling():
    """Promise 1: off before and off after a pause is not off for all of it."""
    bench = Bench(TICK, signal=ReaderState(armed=True))
    for _ in range(3):
        bench.scan(25)
        bench.now += 60
    assert bench.ends == []


def test_armed_outlives_a_restart(bench):
    """Promise 2: a reader that was armed before the daemon's restart confirms when it is off after it."""
    bench.signal = ReaderState(armed=True)
    bench.scan(29)
    assert bench.ends == []
    bench.scan(2)
    assert bench.ends == [CONFIRM]


def test_armed_needs_a_debounced_level(bench):
    """Promise 1: armed from before, a line that is never still confirms nothing."""
    bench.signal = ReaderState(armed=True)
    bench.chatter(300)
    assert bench.ends == []


@pytest.mark.parametrize(
    ("ran", "off", "told"),
    [(10.0, 30.0, [CONFIRM]), (10.0 - FINE, 30.0, []), (10.0, 30.0 - FINE, []), (86400.0, 30.0, [CONFIRM])],
)
def test_bounds_of_arming_and_settling(ran, off, told):
    """Exactly arm_time and exactly settle_time suffice; one scan less of either does not."""
    bench = Bench(FINE if ran < 100 else TICK)
    if ran >= 100:
        bench.scan(3600, running=True)  # hours are as good as seconds
    else:
        for _ in range(round(ran / FINE) + 1):
            bench.sample(running=True)
    for _ in range(math.ceil(off / bench.interval) + 1):
        bench.sample()
    assert bench.ends == told


def test_settle_time_shorter_than_the_debounce_waits_for_it():
    """A level that does not count yet neither arms nor confirms, however short the other times are."""
    bench = Bench(FINE, bounce_time=1.0, arm_time=0.05, settle_time=0.05)
    bench.scan(0.9, running=True)
    assert not bench.signal.armed
    bench.scan(0.2, running=True)
    bench.scan(0.9)
    assert bench.ends == []
    bench.scan(0.2)
    assert bench.ends == [CONFIRM]


def test_states_of_a_reader_in_words(bench):
    """Promise 5: what the reader does can be told at every time."""
    told = [bench.signal.state]
    for seconds, running in ((1, False), (5, True), (10, True), (5, False), (60, False)):
        bench.scan(seconds, running=running)
        told.append(bench.signal.state)
    assert told == ["unknown", "off", "running", "armed", "settling", "off"]


# -- a line that flickers


@pytest.mark.parametrize("dwell", [0.02, 0.3, 0.9])
def test_a_reader_that_flickers_is_told_so(dwell):
    """Promise 5: a level that never lasts for a second is not "running, armed"; a steady one ends the flicker."""
    bench = Bench()
    bench.scan(15, running=True)
    assert bench.signal.state == "armed"
    began = bench.now
    while bench.now < began + 12:
        bench.scan(dwell)
        bench.scan(dwell, running=True)
        assert bench.now > began + 10 or bench.signal.state != "flickering"
    assert (bench.signal.state, bench.ends) == ("flickering", [])
    bench.scan(2, running=True)
    assert bench.signal.state == "armed"


@pytest.mark.parametrize("dwell", [0.02, 0.3, 0.9])
def test_a_button_that_flickers_is_told_so(dwell):
    """Promise 5: the button's line that chatters without end is a fault, whether or not a press is seen in it."""
    bench = Bench()
    bench.scan(4)
    began = bench.now
    while bench.now < began + 33:
        bench.scan(dwell)
        bench.scan(dwell, pressed=True)
        assert bench.now > began + 30 or bench.press.state not in ("flickering", "stuck")
    assert bench.press.state in ("flickering", "stuck")
    assert CONFIRM not in bench.presses
    bench.scan(4)
    assert bench.press.state == "released"


def test_what_moves_now_and_then_does_not_flicker(bench):
    """A loose moment, a press, a reader's switch that bounces: none of them is a fault."""
    bench.scan(15, running=True)
    for seed in range(10):
        bench.chatter(0.105, seed)
        bench.scan(4)
        bench.chatter(0.105, seed + 100)
        bench.scan(4, pressed=True, running=True)
        assert (bench.press.flickering, bench.signal.flickering) == (False, False)


def test_a_pause_in_the_scanning_is_no_flicker():
    """Nobody knows what a line did while the loop did not look."""
    bench = Bench(FAST_TICK)
    for _ in range(100):
        bench.scan(0.4, pressed=True, running=True)
        bench.now += 0.6
        bench.scan(0.4)
        bench.now += 0.6
    assert (bench.press.flickering, bench.signal.flickering) == (False, False)


# -- a trigger belongs to its session, its line and its rules


@pytest.mark.parametrize("held", [0.014, 1.0, 3.5])
def test_a_press_under_way_is_void_once_the_session_has_changed(held):
    """Promise 1: held for A when B is configured: letting go closes nothing, debounced already or not."""
    bench = Bench(FAST_TICK)
    bench.scan(4)
    bench.scan(held, pressed=True)
    bench.press = bench.press.voided()
    bench.scan(3.5, pressed=True)
    assert bench.press.state == "waits"
    bench.scan(1)
    bench.scan(3.5, pressed=True)  # released for less than hold_time
    bench.scan(4)
    assert bench.presses == []
    bench.scan(3.5, pressed=True)
    bench.scan(1)
    assert bench.presses == [CONFIRM]


def test_a_button_at_rest_counts_at_once_for_the_new_session(bench):
    """A button that has been released for long enough need not wait any more."""
    bench.scan(4)
    bench.press = bench.press.voided()
    bench.scan(0.1)
    bench.scan(3.5, pressed=True)
    bench.scan(1)
    assert bench.presses == [CONFIRM]


@pytest.mark.parametrize("off", [0, 10, 29.9])
def test_a_going_off_under_way_is_void_once_the_session_has_changed(bench, off):
    """Promise 1: the reader of A, running or settling when B is configured, does not close B; nor does its next run."""
    bench.scan(15, running=True)
    bench.scan(off)
    bench.signal = bench.signal.distrusted()
    bench.scan(60)
    assert bench.ends == []
    bench.scan(15, running=True)
    bench.scan(31)
    assert bench.ends == [CONFIRM]


def test_a_reader_that_ran_before_the_session_must_be_off_and_then_run(bench):
    """Promise 1: it has run since before; a glitch of "off" does not change that."""
    bench.scan(15, running=True)
    bench.signal = bench.signal.distrusted()
    bench.scan(3600 if bench.interval is None else 60, running=True)
    assert bench.signal.state == "stale"
    bench.scan(0.3)
    bench.scan(15, running=True)
    assert (bench.signal.state, bench.signal.armed) == ("stale", False)
    bench.scan(1.2)
    bench.scan(9, running=True)
    assert bench.signal.state == "running"
    bench.scan(2, running=True)
    bench.scan(31)
    assert bench.ends == [CONFIRM]


def test_a_person_who_withdraws_uses_up_the_going_off_under_way(bench):
    """Promise 1: the reader that is settling is disarmed; one that runs on stays armed."""
    bench.scan(15, running=True)
    bench.signal = bench.signal.used_up(bench.reader)
    assert bench.signal.armed
    bench.sample()
    bench.signal = bench.signal.used_up(bench.reader)  # its going off is not debounced yet
    bench.scan(60)
    assert bench.ends == []


def test_a_reader_that_blips_as_a_person_withdraws_has_gone_off_all_the_same(bench):
    """Promise 1: only one that has run for long enough to be armed anew can go off anew."""
    bench.scan(15, running=True)
    bench.scan(20)
    bench.scan(9, running=True)
    bench.signal = bench.signal.used_up(bench.reader)
    bench.scan(60)
    assert bench.ends == []
    bench.scan(11, running=True)
    bench.signal = bench.signal.used_up(bench.reader)
    bench.scan(31)
    assert bench.ends == [CONFIRM]


@pytest.mark.parametrize(
    ("level", "seconds", "armed"), [(True, 10.0, True), (True, 9.9, False), (False, 10.0, False), (None, 0.0, False)]
)
def test_only_a_reader_that_runs_stays_armed_after_a_withdrawal(level, seconds, armed):
    """Promise 1: neither a first sample of off nor a spike while it settles makes its going-off another one."""
    line = Line(active=True, level=level, seen=seconds)
    assert ReaderState(line, armed=True).used_up(Reader(27)).armed is armed
    assert not ReaderState(line, armed=True).used_up(None).armed


def test_new_rules_count_from_the_moment_they_come(bench):
    """Promise 1: settle_time put back from 3600 while the reader is off, or arm_time lowered: counted anew."""
    bench.reader = replace(bench.reader, settle_time=3600.0)
    bench.scan(15, running=True)
    bench.scan(120)
    bench.reader, bench.signal = Reader(27), replace(bench.signal, line=bench.signal.line.anew(bench.now))
    bench.scan(29)
    assert (bench.ends, bench.signal.state) == ([], "settling")
    bench.scan(2)
    assert bench.ends == [CONFIRM]
    bench.reader = replace(bench.reader, arm_time=3600.0)
    bench.scan(60, running=True)
    bench.reader, bench.signal = Reader(27), replace(bench.signal, line=bench.signal.line.anew(bench.now))
    bench.scan(9, running=True)
    assert bench.signal.state == "running"
    assert Line().anew(7.0) == Line()


def test_what_was_not_seen_counts_for_nothing():
    """Promise 1: a loop held up by its disk sees a flickering line seven times in three seconds: that is no hold."""
    bench = Bench()
    bench.scan(4)
    bench.interval = 0.45
    bench.scan(3.4, pressed=True)
    bench.interval = None
    bench.scan(1)
    assert bench.presses == [TAP]
    bench.scan(3.2, pressed=True)
    bench.scan(1)
    assert bench.presses == [TAP, CONFIRM]


NOW = ReaderNote("boot", "22 high up", "token")
ARMED = replace(NOW, armed=True)
TAKEN_BACK = replace(ARMED, withdrawal="7 1000")


@pytest.mark.parametrize(
    ("found", "now", "signal"),
    [
        (None, NOW, ReaderState()),
        (NOW, NOW, ReaderState()),
        (ARMED, NOW, ReaderState(armed=True)),
        (ARMED, replace(NOW, withdrawal="7 1000"), ReaderState()),
        (TAKEN_BACK, replace(NOW, withdrawal="7 1000"), ReaderState(armed=True)),
        (TAKEN_BACK, replace(NOW, withdrawal="8 1060"), ReaderState()),
        (TAKEN_BACK, NOW, ReaderState(armed=True)),
        (ARMED, replace(NOW, wiring="22 low up"), ReaderState()),
        (ARMED, replace(NOW, token="another"), ReaderState(stale=True)),
        (NOW, replace(NOW, token="another"), ReaderState(stale=True)),
        (replace(NOW, stale=True), NOW, ReaderState(stale=True)),
        (replace(ARMED, stale=True), NOW, ReaderState(stale=True)),  # which no daemon leaves
        (replace(NOW, stale=True), replace(NOW, wiring="22 low up"), ReaderState(stale=True)),
        (ARMED, replace(NOW, boot_id="another"), ReaderState()),
        (ARMED, replace(NOW, boot_id="another", token="another"), ReaderState()),
        (replace(ARMED, boot_id=""), replace(NOW, boot_id=""), ReaderState()),
    ],
)
def test_what_a_start_makes_of_the_last_lifes_note(found, now, signal):
    """Promise 1: armed for this boot, line and session only, and once; another session has to see it off first."""
    assert resumed(found, now) == signal
    assert not resumed(found, now, confirmed=True).armed


# -- each rule by itself, to the very sample


def sampled(*samples, line=None, bounce_time=0.0, steady=1.0):
    """A line after these samples, each a time and a level."""
    line = line or Line()
    for now, level in samples:
        line = line.sampled(level, now, bounce_time, steady)
    return line


def exactly(seconds, bench, **levels):
    """Scan so that the first and the last of the samples are just so far apart."""
    for _ in range(round(seconds / FINE) + 1):
        bench.sample(**levels)


def test_nothing_has_been_seen_before_the_first_sample():
    """No level, no time, nothing armed."""
    assert Line() == Line(None, None, 0.0, 0.0, 0, None, 0.0)
    assert Press() == Press(Line(), False, None, 0.0, False, None, False)
    assert ReaderState() == ReaderState(Line(), False, False, False)
    assert ReaderNote("b", "w", "t") == ReaderNote("b", "w", "t", False, False, "")


def test_the_first_sample_is_no_change():
    """Promise 5: a clock that begins at 0 makes no flicker of it."""
    assert sampled((0.0, True)) == Line(None, True, 0.0, 0.0, samples=1)


def test_a_level_counts_from_the_fourth_sample_on_after_a_pause_as_well():
    """Promise 1: the samples from before the pause are not a part of it."""
    first = [(10.0, True), (10.01, True), (10.02, True)]
    assert sampled(*first).active is None
    line = sampled(*first, (10.03, True))
    assert line.active is True
    assert sampled((20.0, False), (20.01, False), (20.02, False), line=line).active is True
    assert sampled((20.0, False), (20.01, False), (20.02, False), (20.03, False), line=line).active is False


def test_of_a_pause_a_quarter_of_a_second_counts():
    """Promise 1: a slow scan is a scan; of a longer pause only so much was seen."""
    assert sampled((10.0, True), (10.2, True)).steady_for(True) == pytest.approx(0.2)
    assert sampled((10.0, True), (10.2, True)).steady_for(False) == 0.0
    assert sampled((10.0, True), (10.3, True)).steady_for(True) == pytest.approx(0.25)
    assert sampled((10.0, True), (10.3, True), (10.6, True)).steady_for(True) == pytest.approx(0.5)


def test_a_level_that_lasts_for_a_second_is_steady():
    """Promise 5: to the very second; one that ends sooner goes on with the flicker."""
    flicker_began = Line(True, True, since=5.0, seen=5.75, samples=50, flicker_began=3.0)
    assert sampled((5.9, True), line=flicker_began).flicker_began == 3.0
    assert sampled((6.0, True), line=flicker_began).flicker_began is None
    assert sampled((5.9, False), line=flicker_began).flicker_began == 3.0
    assert sampled((6.0, False), line=flicker_began).flicker_began == 6.0
    assert sampled((5.9, False), line=replace(flicker_began, flicker_began=None)).flicker_began == 5.9


def test_a_flicker_is_one_once_it_has_lasted_longer_than_so():
    """Promise 5: just as long is not longer."""
    assert not Line(since=11.0).flickers(0.0)
    assert not Line(since=11.0, flicker_began=1.0).flickers(10.0)
    assert Line(since=11.5, flicker_began=1.0).flickers(10.0)


def test_a_line_begun_anew_keeps_its_level_and_none_of_its_seconds():
    """Promise 1: what new rules count begins with them."""
    assert Line(True, False, 1.0, 2.0, 9, 0.5, 0.7).anew(3.0) == Line(True, False, 3.0, 3.0, 9, 0.5, 0.0)


def test_when_letting_go_would_confirm():
    """Promise 1: a whole hold, after a release, on a line that is not stuck."""
    whole = Press(seen_released=True, longest_contact=3.0, rules=Button(17))
    assert whole.held
    for lacks in ({"seen_released": False}, {"longest_contact": 2.9}, {"rules": None}, {"stuck": True}):
        assert not replace(whole, **lacks).held


def test_a_finger_is_on_the_button_from_its_first_sample_on():
    """Promise 2: debounced or not; a line that is stuck is no finger."""
    finger, touch = Press(since=5.0), Press(Line(level=True, since=5.0))
    for press in (finger, touch, replace(finger, line=Line(level=True, since=7.0))):
        assert press.began_before(5.1)
        assert not press.began_before(5.0)
        assert not replace(press, stuck=True).began_before(5.1)
    assert not Press(Line(level=False, since=5.0)).began_before(9.0)
    assert not Press().began_before(9.0)


def test_a_stuck_button_is_told_as_that_whether_or_not_it_flickers():
    """Promise 5: the worse of the two is said."""
    assert Press(stuck=True, flickering=True).state == Press(stuck=True).state == "stuck"
    assert Press(flickering=True).state == "flickering"


def test_a_button_is_stuck_once_it_is_pressed_for_longer_than_stuck_time():
    """Promise 5: just as long is a long hold."""
    bench = Bench(FINE)
    bench.scan(4)
    exactly(30.0, bench, pressed=True)
    assert bench.press.state == "pressed"
    bench.sample(pressed=True)
    assert bench.press.state == "stuck"


@pytest.mark.parametrize(("longest_contact", "told"), [(0.1499, None), (0.15, TAP)])
def test_a_finger_is_there_for_just_0_15_seconds(longest_contact, told):
    """Promise 2: a shorter touch takes no close back."""
    letting_go = Line(True, False, since=9.0, seen=9.06, samples=3)
    press = Press(letting_go, seen_released=True, since=8.8, longest_contact=longest_contact, rules=Button(17))
    assert button(press, False, 9.1, Button(17))[1] is told


def test_a_release_that_does_not_count_yet_arms_nothing():
    """Promise 1: with a long bounce_time a line is not known for as long."""
    bench = Bench(FINE, bounce_time=1.0, hold_time=0.5)
    bench.scan(0.75)
    assert (bench.press.state, bench.press.seen_released) == ("unknown", False)
    bench.scan(0.5)
    assert bench.press.seen_released


@pytest.mark.parametrize(("hold_time", "told"), [(1.0, TAP), (10.0, CONFIRM)])
def test_a_press_is_judged_by_the_rules_under_which_it_began(hold_time, told):
    """Promise 1: a reload that comes while the finger is on the button makes no tap a hold, and no hold a tap."""
    bench = Bench(FINE)
    bench.scan(4)
    bench.scan(1, pressed=True)
    bench.button = replace(bench.button, hold_time=hold_time)
    bench.scan(1.5 if told is TAP else 2.5, pressed=True)
    bench.scan(4)
    assert bench.presses == [told]


def test_a_release_arms_the_button_after_just_hold_time():
    """Promise 1: and not a scan sooner; a stuck line is none any more from then on."""
    for stuck in (False, True):
        bench = Bench(FINE, press=Press(stuck=stuck))
        exactly(3.0 - FINE, bench)
        assert (bench.press.seen_released, bench.press.stuck) == (False, stuck)
        bench.sample()
        assert (bench.press.seen_released, bench.press.stuck) == (True, False)


def test_a_released_button_that_flickers_stays_told_as_that():
    """Promise 5: spikes on a line that never counts as pressed."""
    bench = Bench(FINE)
    bench.scan(4)
    for _ in range(100):
        bench.sample(pressed=True)
        bench.scan(0.5)
    assert (bench.press.line.active, bench.press.state) == (False, "flickering")


def test_a_reader_is_seen_off_after_just_a_second():
    """Promise 1: to the very sample; after its arm_time, where that is shorter."""
    for arm_time, seconds in ((10.0, 1.0), (0.5, 0.5)):
        bench = Bench(FINE, signal=ReaderState(stale=True), arm_time=arm_time)
        exactly(seconds - FINE, bench)
        assert bench.signal.stale
        bench.sample()
        assert not bench.signal.stale


def test_three_samples_of_off_are_not_seen_off():
    """Promise 1: fewer than four samples are never a level, however short the reader's times are."""
    bench = Bench(TICK, signal=ReaderState(stale=True), bounce_time=0.0, arm_time=0.05)
    stale = []
    for _ in range(4):
        bench.sample()
        stale.append(bench.signal.stale)
    assert stale == [True, True, True, False]


def test_a_level_that_does_not_count_yet_ends_no_flicker():
    """Promise 5: with a long bounce_time only what outlasts it is steady."""
    bench = Bench(FINE, bounce_time=2.0)
    for level in (True, False, True):
        bench.scan(0.25, running=level, pressed=level)
    bench.scan(1.5)
    assert bench.signal.line.flicker_began is not None
    assert bench.press.line.flicker_began is not None
    bench.scan(1)
    assert bench.signal.line.flicker_began is None
    assert bench.press.line.flicker_began is None


# -- an inverted button


@pytest.mark.no_cover
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.floats(0.02, 2.5), st.floats(0.02, 60.0)), st.floats(0.02, 2.9)), min_size=2, max_size=8
    )
)
def test_taps_of_an_inverted_button_confirm_nothing(taps):
    """Promise 1: button.active is the wrong way round, so at rest it reads pressed: no taps look like a hold."""
    bench = Bench()
    for rest, tap in taps:
        bench.scan(rest, pressed=True)
        bench.scan(tap)
    bench.scan(40, pressed=True)
    assert bench.presses == []
    assert bench.press.state == "stuck"


# -- noise


@pytest.mark.no_cover
@pytest.mark.parametrize("interval", [FAST_TICK, TICK])
@pytest.mark.parametrize("duty", [0.05, 0.5, 0.95])
def test_noise_closes_nothing(interval, duty):
    """Promise 1: 200,000 random samples, at any share of pressed ones, confirm nothing, the reader armed or not."""
    chance = random.Random(f"{interval} {duty}")
    bench = Bench(interval, signal=ReaderState(armed=True))
    bench.scan(4)
    for _ in range(200_000):
        level = chance.random() < duty
        bench.sample(pressed=level, running=level)
    assert CONFIRM not in bench.presses
    assert bench.ends == []


@pytest.mark.no_cover
@pytest.mark.parametrize("dwell", [0.01, 0.05, 0.15])
def test_slow_noise_closes_nothing(dwell):
    """Promise 1: a line that flaps for twenty minutes, like a wet contact, may look like taps but never like a hold."""
    chance = random.Random(dwell)
    bench = Bench(signal=ReaderState(armed=True))
    bench.scan(4)
    level, until = True, bench.now
    while bench.now < 2200:
        if bench.now >= until:
            level, until = not level, bench.now + chance.expovariate(1 / dwell)
        bench.sample(pressed=level, running=level)
    assert CONFIRM not in bench.presses
    assert bench.ends == []


HUM = pytest.mark.parametrize("hertz", [50, 60, 100])
HEIGHTS = (-0.95, -0.6, -0.2, 0.0, 0.2, 0.6, 0.95)  # of the input's threshold within the hum: pressed 90 % to 10 %


@pytest.mark.no_cover
@HUM
@pytest.mark.parametrize("interval", [None, FAST_TICK, TICK], ids=["as the daemon scans", "each 7 ms", "each 45 ms"])
def test_hum_closes_nothing(hertz, interval):
    """Promise 1: hum of the mains, rectified or not, at any height, is no press and no reader that went off.

    A loop's scans come late, by what the kernel and Python take; a mains' frequency is never quite its nominal one.
    """
    chance = random.Random(hertz)
    for off in (0.0, 0.0003, -0.002, 0.01):
        late = 0.0002 if off == 0.0 else 0.0
        for height in HEIGHTS:
            bench = Bench(interval, signal=ReaderState(armed=True))
            bench.scan(4)
            for _ in range(2000):
                level = math.sin(2 * math.pi * hertz * (1 + off) * bench.now) > height
                bench.sample(pressed=level, running=level)
                bench.now += chance.random() * late
            assert CONFIRM not in bench.presses
            assert bench.ends == []


# -- any sequence at all: an oracle, from the rules, that sees the whole line at once


def steady_for(samples):
    """The runs of a line: each a level and the times of its samples, with no pause of more than 0.5 s within."""
    runs = []
    for now, level in samples:
        if runs and runs[-1][0] == level and now - runs[-1][1][-1] <= 0.5:
            runs[-1][1].append(now)
        else:
            runs.append((level, [now]))
    return runs


def lasted(times):
    """For how long a run has lasted, as far as it was seen: a pause between two scans counts as 0.25 s at the most."""
    return times[-1] - times[0] - sum(max(0.0, after - before - 0.25) for before, after in zip(times, times[1:]))


def first_lasting(times, at, seconds):
    """When a run that counts from `at` on has lasted for so long; None: never."""
    return next((times[n] for n in range(len(times)) if times[n] >= at and lasted(times[: n + 1]) >= seconds), None)


def counts_at(times, bounce_time):
    """When a run begins to count: stable for bounce_time, and seen in four samples. None: never."""
    return next((now for now in times[3:] if now - times[0] >= bounce_time), None)


def expected_of_button(samples, rules):
    """What the rules demand of a button: (time, event).

    Runs that count divide the line into presses and releases. A press that followed a release is judged when the next
    release counts, by its length and by its longest unbroken run. At the start, and after a press that was too long, a
    release has to last for hold_time before a press counts.
    """
    told = []
    press = None  # the runs of the press under way, the first of which counts
    seen_released = False
    counting = None
    for level, times in steady_for(samples):
        at = times[0] if level == counting else counts_at(times, rules.bounce_time)
        counting = level if at is not None else counting
        if level:
            if press is not None:
                press.append(times)
            elif at is not None:
                press = [times]
        elif at is not None:
            in_time = press is None or times[0] - press[0][0] <= rules.stuck_time
            if press is not None and seen_released and in_time:
                longest = max(lasted(run) for run in press)
                if longest >= rules.hold_time:
                    told.append((at, CONFIRM))
                elif longest >= 0.15:
                    told.append((at, TAP))
            rested = first_lasting(times, at, rules.hold_time) is not None
            press, seen_released = None, (seen_released and in_time) or rested
    return told


def expected_of_reader(samples, rules, armed):
    """What the rules demand of a reader: (time, event). A run acts once it counts and has lasted, whichever is later.

    A run that is too short to count still is of the level that counts, where that has not changed meanwhile.
    """
    told = []
    counting = None
    for level, times in steady_for(samples):
        counts = times[0] if level == counting else counts_at(times, rules.bounce_time)
        if counts is None:
            continue
        counting = level
        lasting = rules.arm_time if level else rules.settle_time
        acts = first_lasting(times, counts, lasting)
        if acts is not None and level:
            armed = True
        elif acts is not None and armed:
            told.append((acts, CONFIRM))
            armed = False
    return told


SCANS = [(7,), (7,), (45,), (45,), (7, 45, 13, 2, 90), (120,), (499, 3, 60)]  # milliseconds between scans, in turn
LASTS = [
    *(310, 30, 51, 60, 100, 150, 160, 200, 210, 240, 260, 280, 410, 420, 450, 520, 610, 700, 1000, 1600, 250),
    *(155, 165, 170, 180, 190, 195, 205, 220, 300, 350, 370, 390),  # mostly taps
]  # milliseconds


STEADY = [(0, "")] * 10
CHATTER = [(0, "0"), (0, "01"), (0, "001011"), (0, "10111010"), (0, "0011110000")]
PAUSES = [(450, ""), (501, ""), (900, "10")]
PARTS = st.sampled_from(list(itertools.product(LASTS, SCANS, STEADY + CHATTER + PAUSES)))  # one choice: it is quicker


@st.composite
def lines(draw):
    """Samples of a line: levels that last, with pauses, spikes and chatter before, scanned at changing intervals."""
    samples, now, level = [], 0, draw(st.booleans())
    for lasts, scans, (pause, chatter) in draw(st.lists(PARTS, min_size=6, max_size=14)):
        now += pause
        for bit in chatter:
            samples.append((now / 1000, bit == "1"))
            now += scans[0]
        end, turn = now + lasts, 0
        while now < end:
            samples.append((now / 1000, level))
            now += scans[turn % len(scans)]
            turn += 1
        level = not level
    return samples


def rules(kind, *names):
    """Rules that are short enough for the lines: each debounce with each pair of times."""
    short, long = ((0.05, 0.2, 0.4), (0.6, 1.0, 1.5)) if kind is Button else ((0.05, 0.2, 0.3), (0.05, 0.2, 0.3))
    times = [(bounce, one, other) for bounce in (0.05, 0.0, 0.02, 0.21) for one in short for other in long]
    return st.sampled_from([kind(17, **dict(zip(("bounce_time", *names), each))) for each in times])


@pytest.mark.no_cover
def test_any_sequence_confirms_what_the_rules_demand_and_nothing_else():
    """Promise 1: in 10,000 random sequences of levels and times, no confirmation but those that the rules demand."""
    seen = Counter()

    @settings(max_examples=10_000, deadline=None, derandomize=True, database=None)
    @given(lines(), rules(Button, "hold_time", "stuck_time"), rules(Reader, "arm_time", "settle_time"), st.booleans())
    def check(samples, button_rules, reader_rules, armed):
        press, signal, presses, ends = Press(), ReaderState(armed=armed), [], []
        for now, level in samples:
            stuck = press.stuck
            press, told = button(press, level, now, button_rules)
            presses += [(now, told)] if told else []
            assert not (told and stuck)
            signal, told = reader(signal, level, now, reader_rules)
            ends += [(now, told)] if told else []
        assert presses == expected_of_button(samples, button_rules)
        assert ends == expected_of_reader(samples, reader_rules, armed)
        kinds = {f"button: {told.value}" for _, told in presses} | {f"reader: {told.value}" for _, told in ends}
        kinds |= {"button: stuck"} if press.stuck else set()
        for kind in kinds:
            event(kind)
        seen.update({"examples", *kinds})

    check()
    assert seen["examples"] >= 10_000
    for kind, share in (("button: confirm", 0.25), ("button: tap", 0.05), ("reader: confirm", 0.25)):
        assert seen[kind] >= share * seen["examples"], seen
