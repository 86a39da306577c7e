"""What looks at a session that nobody has closed yet tell, and when to look."""

from __future__ import annotations

import json

import pytest

from rufusd.core import lookout
from rufusd.core.delivery import Answer
from rufusd.core.lookout import Rest, Sight, closed_elsewhere, inverted, rests, seen
from rufusd.core.settings import Reader

TOKEN, OTHER = "6E05A1B2C3D4E5F6" * 4, "2A19294BB886C3D5" * 4
READER = Reader(pin=22, arm_time=10)
OFF = Rest(since=0.0)


def told(passings: int | None = 0, token: str = TOKEN, *, active: bool = True) -> Answer:
    record = {"token_session": token, "active": active, "passings": passings}
    return Answer(200, json.dumps({"description": "Success", "result": [record]}))


def looked(*counts: int | None, every: float = 60.0) -> Sight | None:
    """What is known after a look a minute, the first at 60 s."""
    sight = None
    for number, count in enumerate(counts, 1):
        sight = seen(sight, told(count), TOKEN, number * every)
    return sight


def test_a_failed_look_changes_nothing() -> None:
    """Promise 5: offline, what was known stays known, and nothing is claimed anew."""
    sight = looked(1, 2)
    assert seen(sight, Answer(problem="no network"), TOKEN, 999.0) == sight
    assert seen(None, Answer(problem="no network"), TOKEN, 999.0) is None


def test_what_another_session_showed_counts_for_nothing() -> None:
    """Promise 1: neither a count nor "closed" is carried from one session to the next."""
    sight = seen(None, told(5, active=False), TOKEN, 0.0)
    assert closed_elsewhere(sight, TOKEN)
    assert not closed_elsewhere(sight, OTHER)
    assert not closed_elsewhere(None, TOKEN)
    assert seen(sight, told(9, OTHER), OTHER, 60.0) == Sight(OTHER, True, 9, 60.0)
    assert seen(sight, Answer(), OTHER, 60.0) is None
    assert not inverted(looked(1, 2), OTHER, OFF, READER, 200.0)
    assert not closed_elsewhere(looked(5), TOKEN)


def test_passings_while_the_reader_says_off_are_an_inverted_line() -> None:
    """Promise 1: the polarity may be the wrong way round; a person has to know in the first minutes."""
    assert inverted(looked(0, 3), TOKEN, OFF, READER, 121.0)
    assert inverted(looked(0, 3), TOKEN, Rest(since=60.0), READER, 121.0)  # off since the very look before they came


@pytest.mark.parametrize(
    ("sight", "rest", "reader", "now"),
    [
        (None, OFF, READER, 121.0),  # nothing is known
        (looked(3), OFF, READER, 61.0),  # one look shows no growth
        (looked(3, 3), OFF, READER, 121.0),
        (looked(None, 3), OFF, READER, 121.0),
        (looked(3, None), OFF, READER, 121.0),
        (looked(0, 3), Rest(), READER, 121.0),  # the reader runs
        (looked(0, 3), Rest(ran=True), READER, 121.0),  # it went off after it had run: a backlog
        (looked(0, 3), Rest(since=60.5), READER, 121.0),  # off since after the first of the two looks
        (looked(0, 3), OFF, None, 121.0),  # there is no reader
        (looked(0, 3), OFF, Reader(pin=22, arm_time=130), 121.0),  # off for less than it takes to be armed
        (looked(0, 3), Rest(since=30.0), Reader(pin=22, arm_time=100), 121.0),
        (looked(0, 3), OFF, Reader(pin=22, arm_time=121), 121.0),  # off for just so long
        (looked(0, 3, 3, 3), OFF, READER, 241.0),  # it grew no more for two looks
        (seen(looked(0), told(3, active=False), TOKEN, 120.0), OFF, READER, 121.0),  # closed
    ],
)
def test_what_is_no_inverted_line(sight: Sight | None, rest: Rest, reader: Reader | None, now: float) -> None:
    """Promise 5: a fault is told only where there is one."""
    assert not inverted(sight, TOKEN, rest, reader, now)


def test_the_fault_stays_over_one_look_without_a_passing() -> None:
    """Promise 5: runners come in gaps, and the fault does not come and go with them."""
    assert inverted(looked(0, 3, 3), TOKEN, OFF, READER, 181.0)
    assert inverted(looked(0, 3, 3, 4), TOKEN, OFF, READER, 241.0)


def test_how_long_the_reader_has_been_off() -> None:
    """Only a reader that was never armed rests; one that runs, or is not read, begins anew."""
    assert rests(Rest(), "off", 5.0) == Rest(5.0)
    assert rests(Rest(5.0), "off", 9.0) == Rest(5.0)
    assert rests(Rest(5.0), "running", 9.0) == Rest()
    assert rests(Rest(), "unknown", 9.0) == Rest()
    assert rests(Rest(5.0), "armed", 9.0) == Rest(ran=True)
    assert rests(Rest(5.0), "settling", 9.0) == Rest(ran=True)
    assert rests(Rest(ran=True), "off", 9.0) == Rest(ran=True)


def test_the_pace_of_looks() -> None:
    """Three minutes, a minute while the reader is off, a fifth of it more or less by chance."""
    assert lookout.pause(False, False, 0.5) == 180.0
    assert lookout.pause(False, True, 0.5) == 60.0
    assert lookout.pause(False, False, 0.0) == pytest.approx(144.0)
    assert lookout.pause(False, False, 0.75) == pytest.approx(198.0)
    assert lookout.SETTLED == 10.0


def test_a_key_that_may_not_read_is_tried_again_after_an_hour() -> None:
    """A station with a WRITE key works, and does not call RUFUS for nothing all day."""
    assert lookout.pause(True, True, 0.0) == 3600.0
    assert lookout.barred(Answer(403, '{"description": "Forbidden"}'), TOKEN, heard=False)
    assert not lookout.barred(told(), TOKEN, heard=False)
    assert not lookout.barred(Answer(problem="no network"), TOKEN, heard=False)


def test_a_refusal_in_another_form_is_the_keys_only_until_rufus_has_answered_it() -> None:
    """A gateway refuses for RUFUS. Once RUFUS itself has answered this key, something in between refuses."""
    forbidden = Answer(403, '{"message": "Forbidden"}')
    assert lookout.barred(forbidden, TOKEN, heard=False)
    assert not lookout.barred(forbidden, TOKEN, heard=True)
    assert lookout.barred(Answer(403, '{"description": "Forbidden"}'), TOKEN, heard=True)


def test_the_faults_say_what_to_do() -> None:
    """Promise 5: each names the session, or the key of the configuration, and the command."""
    assert lookout.faults("FINISH-10K", closed=False, turned=False) == ()
    closed, turned = lookout.faults("FINISH-10K", closed=True, turned=True)
    assert "FINISH-10K is closed already" in closed
    assert "sudo rufusd configure" in closed
    assert "reader.running" in turned
