"""What the station shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rufusd.core.closes import Close
from rufusd.core.indicator import Indication
from rufusd.core.inputs import Line, Press, ReaderState
from rufusd.core.record import Record
from rufusd.core.settings import Button, Reader
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
    view = replace(CALM, closes=(IN_GRACE,), not_durable=frozenset({TOKEN}), faults=("not on disk",))
    assert show(view) is Indication.FAULT_PENDING


def test_fault_never_hides_a_close():
    """Promise 5: in whatever state a close is, a fault beside it is not all that is shown."""
    for close in (IN_GRACE, PENDING, SENT):
        for not_durable in (frozenset(), frozenset({TOKEN})):
            shown = show(replace(CALM, faults=("x",), closes=(close,), not_durable=not_durable, session_closed=True))
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
