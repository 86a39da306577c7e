"""One confirmed close: where it stands, its grace, and what a scan means for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rufusd.core.closes import Close, Watched, close_for_tap, grace_over, input_of_scan, recovered_close
from rufusd.core.inputs import Line, Press, ReaderState
from rufusd.core.policy import Action, By, CloseState, Input, decide
from rufusd.core.record import Record
from rufusd.core.settings import Button, Reader, line_identity

TOKEN = "A1" * 32
BUTTON, READER = Button(17), Reader(27)
RELEASED = Press(Line(active=False), seen_released=True)
PRESSED = Press(Line(active=True), seen_released=True, since=100.0, longest_contact=1.0, rules=BUTTON)
HELD = replace(PRESSED, longest_contact=3.0)
STUCK = replace(HELD, stuck=True)
RUNNING, OFF = ReaderState(Line(active=True, level=True)), ReaderState(Line(active=False, level=False))
ARMED = replace(RUNNING, armed=True)

IN_GRACE = Close(Record(TOKEN, trigger="button"), confirmed=100.0, grace_until=110.0)
PENDING = replace(IN_GRACE, handed_over=True)
SENT = replace(PENDING, record=Record(TOKEN, trigger="button", sent_at="2026-05-02T11:02:53Z"))


@pytest.mark.parametrize(
    ("trigger", "also", "by"),
    [
        *(("button", "", By.PERSON), ("command", "", By.PERSON), ("unknown", "", By.PERSON), ("reader", "", By.READER)),
        *(("reader", "button", By.READER_PERSON), ("reader", "command", By.READER_PERSON)),
        *(("button", "reader", By.PERSON_READER), ("command", "reader", By.PERSON_READER)),
    ],
)
def test_who_has_confirmed(trigger, also, by):
    """The record says who confirmed its close, and who did as well: a damaged one is a person's."""
    assert replace(IN_GRACE, record=Record(TOKEN, trigger=trigger, also=also)).by is by


def test_standing_of_a_close():
    """A close is in grace until the courier has it, pending until the first call, and then RUFUS may have acted."""
    assert [close.standing for close in (IN_GRACE, PENDING, SENT)] == [
        CloseState.GRACE,
        CloseState.PENDING,
        CloseState.SENT,
    ]


def test_sent_outranks_grace():
    """Promise 4: a close that was sent before a restart is not offered to be taken back, whatever its grace."""
    assert replace(SENT, handed_over=False).standing is CloseState.SENT


# -- a close from an earlier life


@pytest.mark.parametrize(
    ("uptime", "left"),
    [(500.0, 10.0), (504.0, 6.0), (510.0, 0.0), (90_000.0, 0.0), (400.0, 10.0)],
    ids=["just confirmed", "4 s ago", "grace over", "a day ago", "a clock that went back"],
)
def test_grace_goes_on_after_a_restart(uptime, left):
    """A close found in the spool has what is left of its grace, since a person may still stand at the button."""
    close = recovered_close(Record(TOKEN, boot_id="b", uptime=500.0), 1000.0, uptime, "b", 10.0)
    assert close.grace_until == pytest.approx(1000.0 + left)
    assert close.confirmed == pytest.approx(990.0 + left)
    assert not close.handed_over


@pytest.mark.parametrize(("written", "now"), [("other", "b"), ("", "b"), ("", ""), ("b", "")])
def test_grace_is_over_after_a_reboot(written, now):
    """A close of an earlier boot, or of an unknown one, has had its grace."""
    close = recovered_close(Record(TOKEN, boot_id=written, uptime=500.0), 1000.0, 501.0, now, 10.0)
    assert close.grace_until == 1000.0


def test_no_grace_at_all():
    """With a grace of 0, a close goes at once."""
    close = recovered_close(Record(TOKEN, boot_id="b", uptime=500.0), 1000.0, 500.0, "b", 0.0)
    assert grace_over(close, 1000.0, RELEASED)


# -- taking back


def test_release_chatter_takes_nothing_back():
    """Promise 2: a press that begins within half a second of the confirmation is the release's own chatter."""
    assert close_for_tap([IN_GRACE], TOKEN, 100.0) is None
    assert close_for_tap([IN_GRACE], TOKEN, 100.49) is None
    assert close_for_tap([IN_GRACE], TOKEN, 100.5) is IN_GRACE
    assert close_for_tap([IN_GRACE], TOKEN, 109.0) is IN_GRACE


def test_press_from_before_the_confirmation_takes_nothing_back():
    """A press that began before another trigger confirmed was not meant for that."""
    assert close_for_tap([IN_GRACE], TOKEN, 90.0) is None


def test_a_tap_is_meant_for_one_close():
    """Promise 2: the configured session's, if that is in grace, else the newest; it takes back no other session's."""
    older = replace(IN_GRACE, record=Record("B2" * 32, trigger="button"), confirmed=98.0)
    newer = replace(IN_GRACE, record=Record("C3" * 32, trigger="button"), confirmed=103.0)
    closes = [older, IN_GRACE, newer]
    assert close_for_tap(closes, TOKEN, 105.0) is IN_GRACE
    assert close_for_tap(closes, "B2" * 32, 105.0) is older
    assert close_for_tap(closes, "D4" * 32, 105.0) is newer
    assert close_for_tap([replace(newer, handed_over=True), older, SENT], "D4" * 32, 105.0) is older
    assert close_for_tap([PENDING, SENT], TOKEN, 105.0) is None
    # The release's own chatter is not for the close before it, either.
    assert close_for_tap(closes, "D4" * 32, 103.2) is None


def test_grace_ends_on_time():
    """Without a finger on the button the grace is over exactly at its end."""
    assert not grace_over(IN_GRACE, 109.99, RELEASED)
    assert grace_over(IN_GRACE, 110.0, RELEASED)


def test_grace_is_over_once():
    """What was handed over is not handed over again, scan by scan."""
    for close in (PENDING, SENT):
        assert not grace_over(close, 200.0, RELEASED)


def test_sent_in_an_earlier_life_is_handed_over():
    """Promise 2: a close whose call was begun before a crash goes to the courier like any other, grace or not."""
    record = replace(SENT.record, boot_id="b", uptime=500.0)
    for boot, uptime in (("b", 501.0), ("b", 900.0), ("c", 20.0)):
        close = recovered_close(record, 1000.0, uptime, boot, 10.0)
        assert grace_over(close, close.grace_until, RELEASED)
        assert decide(close.standing, close.by, Input.GRACE_OVER) is Action.START_DELIVERY


def test_finger_in_time_is_waited_for():
    """A press that began within the grace is heard out; one that began later is too late."""
    assert not grace_over(IN_GRACE, 111.0, replace(PRESSED, since=109.9))
    assert grace_over(IN_GRACE, 111.0, replace(PRESSED, since=110.0))


def test_stuck_button_delays_no_close():
    """Promise 2: a shorted line is no finger."""
    assert grace_over(IN_GRACE, 140.0, replace(STUCK, since=105.0))


def test_press_that_only_begins_as_grace_ends_is_waited_for():
    """A finger that came in time is a finger before the debounce has said so."""
    assert not grace_over(IN_GRACE, 110.0, Press(Line(active=False, level=True, since=109.99), seen_released=True))
    assert grace_over(IN_GRACE, 110.0, Press(Line(active=False, level=False, since=109.99), seen_released=True))


WATCHED = Watched(TOKEN, READER, "b", 900.0)
READERS = replace(IN_GRACE, record=Record(TOKEN, trigger="reader", wiring=line_identity(READER), boot_id="b"))


@pytest.mark.parametrize("now", [105.0, 111.0])
@pytest.mark.parametrize(
    ("signal", "what"),
    [
        (ARMED, Input.READER_BACK),
        (RUNNING, Input.READER_SEEN),
        (ReaderState(Line(level=True)), Input.READER_SEEN),
        (OFF, None),
        (replace(OFF, armed=True), None),
        (replace(OFF, flickering=True), Input.READER_SEEN),
        (ReaderState(), None),
        (ReaderState(armed=True), None),
    ],
)
def test_reader_that_runs_again(signal, what, now):
    """Promise 2: only a reader that is armed again takes its close back; one that only flickers delays it."""
    over = Input.GRACE_OVER if now > 110 else None
    assert input_of_scan(READERS, now, RELEASED, WATCHED, signal) is (what or over)


@pytest.mark.parametrize("signal", [RUNNING, replace(OFF, flickering=True), replace(RUNNING, flickering=True)])
def test_the_readers_line_holds_its_close_for_max_wait_at_the_most(signal):
    """Promise 2: a cable that stays loose delays the close, but not for ever."""
    held = replace(READERS, held_since=111.0)
    assert input_of_scan(held, 111.0 + 899.9, RELEASED, WATCHED, signal) is Input.READER_SEEN
    assert input_of_scan(held, 111.0 + 900.0, RELEASED, WATCHED, signal) is Input.GRACE_OVER
    assert input_of_scan(held, 111.0 + 900.0, RELEASED, WATCHED, ARMED) is Input.READER_BACK


def test_the_first_moment_of_a_hold_is_one():
    """Promise 2: the time in which the line holds its close begins with this scan, however short max_wait is."""
    assert input_of_scan(READERS, 111.0, RELEASED, replace(WATCHED, max_wait=1.0), RUNNING) is Input.READER_SEEN


@pytest.mark.parametrize(
    ("record", "watched"),
    [
        ({"trigger": "button"}, {}),
        ({"trigger": "command"}, {}),
        ({"also": "button"}, {}),
        ({"also": "command"}, {}),
        ({}, {"token": "B2" * 32}),
        ({}, {"reader": replace(READER, running="low")}),
        ({}, {"reader": None}),
        ({}, {"boot_id": "c"}),
        ({"sent_at": "2026-05-02T11:02:53Z"}, {}),
    ],
    ids=[
        *("button", "command", "a person as well", "a command as well"),
        *("another session", "another wiring", "no reader", "before a reboot", "sent"),
    ],
)
def test_reader_has_no_say_in_what_it_did_not_confirm(record, watched):
    """Promise 2: not in another's close, another session's, another line's, another boot's, nor once it is sent."""
    close = replace(READERS, record=replace(READERS.record, **record))
    for signal in (ARMED, RUNNING):
        assert input_of_scan(close, 105.0, RELEASED, replace(WATCHED, **watched), signal) is None
        assert input_of_scan(close, 111.0, RELEASED, replace(WATCHED, **watched), signal) is Input.GRACE_OVER
        assert (
            input_of_scan(replace(close, handed_over=True), 111.0, RELEASED, replace(WATCHED, **watched), signal)
            is None
        )
