"""What each event means in each state, and what the station shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from rufusd.core.closes import Close, Watched, close_for_tap, grace_over, input_of_scan, recovered_close
from rufusd.core.indicator import Indication
from rufusd.core.inputs import Event, Line, Press, ReaderState, button, reader
from rufusd.core.policy import Action, By, CloseState, Input, decide
from rufusd.core.record import Record
from rufusd.core.settings import Button, Reader, line_identity
from rufusd.core.view import View, show, waits_for

TOKEN = "A1" * 32
BUTTON, READER = Button(17), Reader(27)
RELEASED = Press(Line(active=False), seen_released=True)
PRESSED = Press(Line(active=True), seen_released=True, since=100.0, longest_contact=1.0, rules=BUTTON)
HELD = replace(PRESSED, longest_contact=3.0)
STUCK = replace(HELD, stuck=True)
WAITS = Press(Line(active=True), since=100.0, longest_contact=5.0)
RUNNING, OFF = ReaderState(Line(active=True, level=True)), ReaderState(Line(active=False, level=False))
ARMED = replace(RUNNING, armed=True)

IN_GRACE = Close(Record(TOKEN, trigger="button"), confirmed=100.0, grace_until=110.0)
PENDING = replace(IN_GRACE, handed_over=True)
SENT = replace(PENDING, record=Record(TOKEN, trigger="button", sent_at="2026-05-02T11:02:53Z"))


# -- transitions

NOTHING = dict.fromkeys(Input)
GOES = {**NOTHING, Input.GRACE_OVER: Action.START_DELIVERY, Input.WITHDRAWN: Action.FORGET}
CANCELLABLE = {**GOES, Input.TAPPED: Action.WITHDRAW}
WITH_COURIER = {**NOTHING, Input.WITHDRAWN: Action.FORGET}

#: What each input means for a close, by where it stands and by who has confirmed it. The whole of it, by hand.
EXPECTED = {
    (CloseState.OPEN, By.NOBODY): {
        **NOTHING,
        Input.PERSON_CONFIRMED: Action.CONFIRM,
        Input.READER_CONFIRMED: Action.CONFIRM,
    },
    (CloseState.GRACE, By.PERSON): {**CANCELLABLE, Input.READER_CONFIRMED: Action.ENDORSE},
    (CloseState.GRACE, By.READER): {
        **CANCELLABLE,
        Input.READER_BACK: Action.WITHDRAW,
        Input.PERSON_CONFIRMED: Action.ENDORSE,
    },
    (CloseState.GRACE, By.READER_PERSON): CANCELLABLE,
    (CloseState.GRACE, By.PERSON_READER): {**GOES, Input.TAPPED: Action.LEAVE_TO_READER},
    (CloseState.PENDING, By.PERSON): WITH_COURIER,
    (CloseState.PENDING, By.READER): {
        **WITH_COURIER,
        Input.READER_SEEN: Action.RECALL,
        Input.READER_BACK: Action.WITHDRAW,
        Input.PERSON_CONFIRMED: Action.ENDORSE,
    },
    (CloseState.PENDING, By.READER_PERSON): WITH_COURIER,
    (CloseState.PENDING, By.PERSON_READER): WITH_COURIER,
    (CloseState.SENT, By.PERSON): GOES,
    (CloseState.SENT, By.READER): {**GOES, Input.PERSON_CONFIRMED: Action.ENDORSE},
    (CloseState.SENT, By.READER_PERSON): GOES,
    (CloseState.SENT, By.PERSON_READER): GOES,
    (CloseState.CLOSED, By.NOBODY): NOTHING,
}


@pytest.mark.parametrize(("standing", "by", "what"), list(product(CloseState, By, Input)))
def test_every_input_in_every_state(standing, by, what):
    """Promises 1 and 2: all combinations, each with what it means. What nobody has confirmed has no other state."""
    assert decide(standing, by, what) is EXPECTED.get((standing, by), NOTHING)[what]


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


# -- a whole story, the triggers and the table together


class Story:
    """The scan loop's part that is pure: one session, a button and a reader, scanned each 7 ms."""

    def __init__(self):
        self.now = 0.0
        self.press, self.signal = Press(), ReaderState()
        self.close = None
        self.told = []

    def scan(self, seconds, *, pressed=False, running=False):
        """Scan for so long with these levels."""
        end = self.now + seconds
        while self.now < end:
            began = self.press.since
            self.press, of_button = button(self.press, pressed, self.now, BUTTON)
            self.signal, of_reader = reader(self.signal, running, self.now, READER)
            if of_button is Event.CONFIRM:
                self.apply(Input.PERSON_CONFIRMED, "button")
            if of_reader is Event.CONFIRM:
                self.apply(Input.READER_CONFIRMED, "reader")
            if self.close:
                if of_button is Event.TAP and close_for_tap([self.close], TOKEN, began):
                    self.apply(Input.TAPPED)
                elif what := input_of_scan(self.close, self.now, self.press, WATCHED, self.signal):
                    if what is Input.READER_SEEN and self.close.held_since is None:
                        self.close = replace(self.close, held_since=self.now)
                    self.apply(what)
            self.now += 0.007

    def apply(self, what, trigger=""):
        """What the daemon does with an input."""
        close = self.close
        action = decide(close.standing, close.by, what) if close else decide(CloseState.OPEN, By.NOBODY, what)
        if action in (Action.CONFIRM, Action.LEAVE_TO_READER):
            record = Record(TOKEN, trigger=trigger or "reader", wiring=line_identity(READER), boot_id="b")
            self.close = Close(record, self.now, self.now + 10.0)
        elif action is Action.ENDORSE:
            self.close = replace(close, record=replace(close.record, also=trigger))
        elif action is Action.WITHDRAW:
            self.close = None
            self.signal = self.signal.used_up(READER)
        elif action in (Action.START_DELIVERY, Action.RECALL):
            self.close = replace(self.close, handed_over=action is Action.START_DELIVERY)
        self.told += [action] if action else []


@pytest.fixture
def story():
    return Story()


def test_press_confirms_and_goes(story):
    """A held button confirms; when nobody takes it back, the close goes; later presses change nothing."""
    story.scan(4)
    story.scan(3.5, pressed=True)
    story.scan(15)
    for _ in range(3):
        story.scan(1, pressed=True)
        story.scan(1)
        story.scan(4, pressed=True)
        story.scan(1)
    assert story.told == [Action.CONFIRM, Action.START_DELIVERY]


def test_press_in_grace_takes_back(story):
    """A short press in grace withdraws, and the next hold confirms anew."""
    story.scan(4)
    for _ in range(2):
        story.scan(3.5, pressed=True)
        story.scan(2)
        story.scan(0.4, pressed=True)
        story.scan(20)
    assert story.told == [Action.CONFIRM, Action.WITHDRAW] * 2


def test_press_across_the_end_of_grace_takes_back(story):
    """A finger that came in time takes back, even when it goes after the end."""
    story.scan(4)
    story.scan(3.5, pressed=True)
    story.scan(9.5)
    story.scan(2, pressed=True)
    story.scan(1)
    assert story.told == [Action.CONFIRM, Action.WITHDRAW]


def test_hand_that_slips_on_release_takes_nothing_back(story):
    """Promise 2: contact again 0.2 s after the confirmation is the hand leaving the button."""
    story.scan(4)
    story.scan(3.5, pressed=True)
    story.scan(0.25)
    story.scan(0.3, pressed=True)
    story.scan(20)
    assert story.told == [Action.CONFIRM, Action.START_DELIVERY]


def test_reader_that_comes_back_takes_its_close_back(story):
    """A reader that was off for a minute only, say for a new battery, closes nothing that was not sent yet."""
    story.scan(15, running=True)
    story.scan(50)
    assert story.told == [Action.CONFIRM, Action.START_DELIVERY]
    story.scan(11, running=True)
    assert story.told == [Action.CONFIRM, Action.START_DELIVERY, Action.RECALL, Action.WITHDRAW]
    story.scan(50)
    assert story.told[4:] == [Action.CONFIRM, Action.START_DELIVERY]


def test_reader_line_that_flickers_takes_nothing_back(story):
    """Promise 2: a second of "running", from a loose plug or a test of the reader, only delays the close."""
    story.scan(15, running=True)
    story.scan(50)
    story.scan(1, running=True)
    story.scan(1)
    assert story.told == [Action.CONFIRM, Action.START_DELIVERY, Action.RECALL, Action.START_DELIVERY]


def test_a_person_who_confirms_as_well_cannot_be_overruled_by_the_reader(story):
    """Promise 2: the reader's close that a person confirmed, too, goes on when the reader runs again."""
    story.scan(15, running=True)
    story.scan(35)
    story.scan(3.5, pressed=True)
    story.scan(10, running=True)
    story.scan(20, running=True)
    assert story.told == [Action.CONFIRM, Action.ENDORSE, Action.START_DELIVERY]


def test_a_tap_withdraws_what_the_reader_and_then_a_person_confirmed(story):
    """The person was the second: who takes the close back means all of it."""
    story.scan(15, running=True)
    story.scan(30.1)
    story.scan(3.5, pressed=True)
    story.scan(1)
    story.scan(0.4, pressed=True)
    story.scan(60)
    assert story.told == [Action.CONFIRM, Action.ENDORSE, Action.WITHDRAW]


def test_a_press_by_mistake_that_is_taken_back_leaves_the_readers_end(story):
    """Promise 2: the reader's real end came in the grace of a mistake; the tap takes back the mistake only."""
    story.scan(15, running=True)
    story.scan(25)
    story.scan(3.5, pressed=True)
    story.scan(5)
    story.scan(0.4, pressed=True)
    assert story.told == [Action.CONFIRM, Action.ENDORSE]
    story.scan(9)
    assert story.told == [Action.CONFIRM, Action.ENDORSE, Action.LEAVE_TO_READER]
    story.scan(20)
    assert story.told[3:] == [Action.START_DELIVERY]


def test_a_second_tap_takes_the_readers_end_back_as_well(story):
    """The close that goes on as the reader's has a grace of its own, which begins with the first tap."""
    story.scan(15, running=True)
    story.scan(25)
    story.scan(3.5, pressed=True)
    story.scan(5)
    for _ in range(2):
        story.scan(0.4, pressed=True)
        story.scan(5)
    story.scan(100)
    assert story.told == [Action.CONFIRM, Action.ENDORSE, Action.LEAVE_TO_READER, Action.WITHDRAW]


def test_a_withdrawal_uses_up_the_going_off_under_way(story):
    """Promise 1: a person has taken the close back; the reader that is settling does not confirm it anew."""
    story.scan(15, running=True)
    story.scan(15)
    story.scan(3.5, pressed=True)
    story.scan(2)
    story.scan(0.4, pressed=True)
    story.scan(100)
    assert story.told == [Action.CONFIRM, Action.WITHDRAW]
    story.scan(11, running=True)
    story.scan(31)
    assert story.told[2:] == [Action.CONFIRM]


def test_a_loose_reader_cable_holds_its_close_for_max_wait_at_the_most(story):
    """Promise 2: the line flickers without end; the close is held for 15 minutes, and then it goes."""
    story.scan(15, running=True)
    story.scan(50)
    assert story.told == [Action.CONFIRM, Action.START_DELIVERY]
    began = story.now
    while story.now < began + 899:
        story.scan(0.4, running=True)
        story.scan(0.3)
    assert story.signal.state == "flickering"
    assert story.told[-1] is Action.RECALL
    for _ in range(10):
        story.scan(0.4, running=True)
        story.scan(0.3)
    assert story.told[-1] is Action.START_DELIVERY
    so_far = len(story.told)
    story.scan(8, running=True)
    assert len(story.told) == so_far


# -- what is shown

CALM = View(button=BUTTON, press=RELEASED, reader=READER, reader_state=ARMED)


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (CALM, Indication.ARMED),
        (View(), Indication.ARMED),  # only commands close: nothing to wait for
        (replace(CALM, button=None, press=Press()), Indication.ARMED),
        (replace(CALM, reader=None, reader_state=ReaderState()), Indication.ARMED),
        (replace(CALM, reader_state=RUNNING), Indication.UNARMED),
        (replace(CALM, reader_state=OFF), Indication.UNARMED),
        (replace(CALM, press=Press()), Indication.UNARMED),
        (replace(CALM, press=WAITS), Indication.UNARMED),
        (replace(CALM, reader_state=replace(RUNNING, stale=True)), Indication.UNARMED),
        (replace(CALM, press=replace(PRESSED, flickering=True), faults=("flickers",)), Indication.FAULT),
        (replace(CALM, press=PRESSED), Indication.HOLDING),
        (replace(CALM, press=HELD), Indication.LET_GO),
        (replace(CALM, press=STUCK, faults=("stuck",)), Indication.FAULT),
        (replace(CALM, closes=(IN_GRACE,)), Indication.GRACE),
        (replace(CALM, closes=(PENDING,)), Indication.PENDING),
        (replace(CALM, closes=(SENT,)), Indication.PENDING),
        (replace(CALM, withdrawn=True), Indication.WITHDRAWN),
        (replace(CALM, session_closed=True), Indication.CLOSED),
        (replace(CALM, faults=("the disk",)), Indication.FAULT),
        (replace(CALM, faults=("the disk",), session_closed=True), Indication.FAULT),
        (replace(CALM, faults=("the disk",), closes=(PENDING,)), Indication.FAULT_PENDING),
        # The finger first: whoever holds the button sees whether it is long enough.
        (replace(CALM, faults=("the disk",), press=HELD), Indication.LET_GO),
        (replace(CALM, faults=("the disk",), press=PRESSED), Indication.HOLDING),
        (replace(CALM, closes=(PENDING,), press=PRESSED), Indication.HOLDING),
        # A grace is shown as long as it can be used, for any of several closes.
        (replace(CALM, closes=(PENDING, IN_GRACE)), Indication.GRACE),
        (replace(CALM, faults=("the disk",), closes=(IN_GRACE,)), Indication.GRACE),
        # The session that was closed before is not what a close of another is about.
        (replace(CALM, closes=(PENDING,), session_closed=True), Indication.PENDING),
        (replace(CALM, withdrawn=True, closes=(PENDING,)), Indication.WITHDRAWN),
    ],
)
def test_shown(view, shown):
    """Promise 5: the finger first, then what needs a person, then what the station is doing."""
    assert show(view) is shown


def test_close_that_is_not_on_disk_is_not_shown_as_safe():
    """Promise 2: the LED says "confirmed" only of what is durable; else it is pending, with a fault."""
    view = replace(CALM, closes=(IN_GRACE,), unsafe=frozenset({TOKEN}), faults=("not on disk",))
    assert show(view) is Indication.FAULT_PENDING


def test_fault_never_hides_a_close():
    """Promise 5: in whatever state a close is, a fault beside it is not all that is shown."""
    for close in (IN_GRACE, PENDING, SENT):
        for unsafe in (frozenset(), frozenset({TOKEN})):
            shown = show(replace(CALM, faults=("x",), closes=(close,), unsafe=unsafe, session_closed=True))
            assert shown in (Indication.GRACE, Indication.FAULT_PENDING)


def test_what_is_waited_for_is_told():
    """Promise 5: a station that is not armed says what it waits for."""
    assert waits_for(View(button=BUTTON, reader=READER)) == ("the button's release", "the reader to run")
    assert waits_for(CALM) == waits_for(View()) == ()
    stale = View(reader_state=ReaderState(stale=True))  # as a new session leaves it, though there is no reader
    assert waits_for(stale) == ()
    assert waits_for(replace(CALM, press=WAITS)) == ("the button's release",)
    assert waits_for(replace(CALM, reader_state=OFF)) == ("the reader to run",)
    assert waits_for(replace(CALM, reader_state=replace(RUNNING, stale=True))) == (
        "the reader to be switched off and on",
    )
