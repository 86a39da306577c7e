"""What `rufusd status` says, in JSON and in words."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest

from rufusd.core.delivery import Delivery, Phase, Step
from rufusd.core.indicator import Indication
from rufusd.core.inputs import Line, Press, ReaderState
from rufusd.core.record import STILL_PASSING, Record
from rufusd.text import report

TOKEN = "6E05" + "A7" * 28 + "DB4C"
RECORD = Record(
    TOKEN, "FINISH-10K", "button", confirmed_at="2026-05-02T11:02:13Z", clock_synchronized=True, boot_id="b", uptime=5.0
)
RETRY = Delivery(TOKEN, 118.04, Step.READ, Phase.RETRY, attempts=7, failures=7, error="no way to api.runonrufus.com")


def status(*closes, token=TOKEN, name="FINISH-10K", running=True, **more):
    """The whole object, of a daemon that runs."""
    facts = {"valid": True, "problems": [], "indication": Indication.ARMED, "button": "released", **more}
    return report.status_object(
        version="0.1.0",
        pid=4711 if running else None,
        since="2026-05-02T06:00:00Z" if running else None,
        session={"token": token, "name": name},
        closes=closes,
        **facts,
    )


def said(*closes, hold_time=3.0, **more):
    return report.render(status(*closes, hold_time=hold_time, **more)).splitlines()


# -- JSON


def test_whole_has_every_key_that_is_promised():
    """Scripts rely on the object's form: its keys, and null where nothing is known."""
    assert status(
        report.close_object(RECORD, "pending", 100.0), reader="armed", faults=("the disk",), problems=("x",)
    ) == {
        "format": 1,
        "daemon": {"running": True, "pid": 4711, "since": "2026-05-02T06:00:00Z", "version": "0.1.0"},
        "config": {"valid": True, "problems": ["x"]},
        "session": {"token": TOKEN, "name": "FINISH-10K"},
        "button": {"state": "released", "hold_time": None},
        "reader": {"state": "armed"},
        "indicator": "armed",
        "faults": ["the disk"],
        "closes": [
            {
                "token": TOKEN,
                "name": "FINISH-10K",
                "state": "pending",
                "phase": "waiting",
                "trigger": "button",
                "confirmed_at": "2026-05-02T11:02:13Z",
                "clock_synchronized": True,
                "attempts": 0,
                "last_error": None,
                "next_attempt_in": None,
                "closed_at": None,
                "closed_how": None,
                "durable": True,
                "passing_ago": None,
                "closes_within": None,
            }
        ],
    }


def test_whole_without_a_daemon():
    """The same form without the daemon: what only it knows is null, and the indicator is off."""
    found = report.status_object(
        version="0.1.0", pid=None, since=None, valid=False, problems=[], session={"token": None, "name": None}
    )
    assert found["daemon"] == {"running": False, "pid": None, "since": None, "version": "0.1.0"}
    assert (found["button"], found["reader"]) == ({"state": None, "hold_time": None}, {"state": None})
    assert (found["indicator"], found["faults"], found["closes"]) == ("off", [], [])
    json.dumps(found)


@pytest.mark.parametrize("phase", Phase)
def test_entry_of_a_delivery(phase):
    """A close on its way has its phase, its attempts, its last error and when it is tried next."""
    found = report.close_object(RECORD, "pending", 100.0, replace(RETRY, phase=phase))
    assert found["phase"] == phase.value
    assert found["attempts"] == 7
    assert found["last_error"] == "no way to api.runonrufus.com"
    assert found["next_attempt_in"] == (None if phase is Phase.SENDING else 18.0)


def test_entry_of_a_delivery_that_is_due():
    """What is due is due in 0 seconds, not in less; what has no error has none."""
    found = report.close_object(RECORD, "pending", 200.0, replace(RETRY, error=""))
    assert (found["next_attempt_in"], found["last_error"]) == (0.0, None)


def test_entry_in_grace():
    """A close in grace can be told from one that waits for the courier."""
    assert report.close_object(RECORD, "pending", 100.0, held="grace")["phase"] == "grace"
    assert report.close_object(RECORD, "pending", 100.0)["phase"] == "waiting"


@pytest.mark.parametrize("state", ["closed", "withdrawn"])
def test_entry_that_is_over(state):
    """What is over has no phase."""
    record = replace(RECORD, closed_at="2026-05-02T11:03:00Z" if state == "closed" else "")
    found = report.close_object(record, state, 100.0)
    assert found["phase"] is None
    assert found["closed_at"] == (record.closed_at or None)


def test_entry_that_is_not_on_disk():
    """Promise 2: a close that is held in memory only is not said to be durable."""
    assert report.close_object(RECORD, "pending", 100.0, durable=False)["durable"] is False


def test_entry_of_a_damaged_record():
    """A close without facts is told all the same."""
    found = report.close_object(Record(TOKEN), "pending", 100.0)
    assert (found["token"], found["confirmed_at"], found["trigger"]) == (TOKEN, None, "unknown")


def test_view_ages():
    """A view that was written some seconds ago tells the seconds that are left now, and never less than none."""
    closes = [{"next_attempt_in": 18.0}, {"next_attempt_in": 2}, {"next_attempt_in": None}, {}]
    aged = report.closes_with_age(closes, 5.04)
    assert aged == [{"next_attempt_in": 13.0}, {"next_attempt_in": 0.0}, {"next_attempt_in": None}, {}]
    assert closes[0] == {"next_attempt_in": 18.0}


# -- words


@pytest.mark.parametrize(
    ("token", "short"),
    [(TOKEN, "6E05…DB4C"), ("A" * 12, "A" * 12), ("A" * 13, "AAAA…AAAA"), ("start-10k", "start-10k")],
)
def test_short_token(token, short):
    """A token fits on a line; one that is short anyway stays whole."""
    assert report.short(token) == short


@pytest.mark.parametrize("indication", [each for each in Indication if each is not Indication.OFF])
def test_every_indication_has_words(indication):
    """Promise 5: what the LED says can be read, too."""
    assert said(indication=indication)[0].split() == ["FINISH-10K", *report.DOING[indication].split(), "6E05…DB4C"]


def test_without_a_daemon_it_says_so():
    """Promise 5: where nothing watches the inputs, the first and the last line say so, with the cure."""
    lines = said(running=False, indication=Indication.OFF, button=None)
    assert "rufusd is not running" in lines[0]
    assert "systemctl start rufusd" in lines[-1]
    assert len(lines) == 2


def test_an_old_view_begins_with_its_age():
    """Promise 5: what a daemon that hangs said last is told as that, before all else."""
    view = status(hold_time=3.0)
    first, *others = report.render({**view, "daemon": {**view["daemon"], "view_age": 240.0}}).splitlines()
    assert "rufusd does not answer" in first
    assert "4 min old" in first
    assert others == report.render(view).splitlines()


def test_running_daemon_is_not_said_to_be_down():
    """A daemon that runs brings no such line."""
    assert not any("not running" in line for line in said())


def states_of(part):
    """Every state that the triggers can be in, from the triggers themselves."""
    if part == "button":
        levels = [Line(), Line(active=False), Line(active=True)]
        flags = [
            (line, seen, stuck, moves) for line in levels for seen, stuck, moves in product((False, True), repeat=3)
        ]
        return {Press(line, seen, 1.0, 9.0, stuck, flickering=moves).state for line, seen, stuck, moves in flags}
    flags = product((None, False, True), *[(False, True)] * 3)
    return {ReaderState(Line(active=active), armed, stale, moves).state for active, armed, stale, moves in flags}


@pytest.mark.parametrize("part", ["button", "reader"])
def test_every_state_of_a_trigger_has_words(part):
    """Promise 5: whatever a trigger does, the status has a sentence for it."""
    words = {"button": report.BUTTON, "reader": report.READER}[part]
    assert states_of(part) == set(words)
    for state in words:
        (line,) = (line for line in said(**{"button": None, part: state}) if line.startswith(f"  {part}"))
        assert "{" not in line


def test_button_tells_how_long_to_hold():
    """The status says what to do at the button, with the configured time."""
    assert "  button       released, hold 2.5 s and let go to close" in said(hold_time=2.5)
    assert "  button       released, hold 3 s and let go to close" in said()


@pytest.mark.parametrize("state", ["pending", "closed"])
def test_an_input_that_can_close_nothing_does_not_promise_to(state):
    """Promise 4: where the session is closed, or its close confirmed, a press and the reader change nothing."""
    closes = (report.close_object(RECORD, state, 100.0),)
    assert said(*closes, reader="armed")[1:3] == ["  button       released", "  reader       running"]
    assert said(*closes, reader="settling")[2] == "  reader       off"
    assert said(*closes, button="stuck")[1] == "  button       stuck: check the switch and its cable"
    closed = said(indication=Indication.CLOSED, reader="armed")
    assert closed[1:3] == ["  button       released", "  reader       running"]


@pytest.mark.parametrize(("state", "token"), [("withdrawn", TOKEN), ("pending", "2A19" + TOKEN[4:])])
def test_a_close_withdrawn_or_of_another_session_leaves_the_inputs_as_they_are(state, token):
    """Promise 5: then they do close."""
    close = report.close_object(replace(RECORD, token=token), state, 100.0)
    assert said(close)[1] == "  button       released, hold 3 s and let go to close"


def test_station_without_a_configuration():
    """Without a session there is nothing to say about it, but its closes, faults and problems are told."""
    lines = said(
        report.close_object(RECORD, "pending", 100.0),
        token=None,
        name=None,
        problems=["config.toml:1: file: cannot be read"],
    )
    assert lines[0].startswith("FINISH-10K     pending   6E05…DB4C")
    assert "config.toml:1: file: cannot be read" in lines


def test_session_without_a_name():
    """A session that has no name is called so."""
    assert said(name="")[0].startswith("session")


@pytest.mark.parametrize("indication", report.LIGHT)
def test_the_light_is_told_where_there_is_one(indication):
    """Promise 5: whoever is called by somebody at the station can say what its LED means, and what to do."""
    line = f"  LED          {report.LIGHT[indication]}"
    facts = status(indication=indication, hold_time=3.0)
    assert report.render(facts, led=True).splitlines()[1] == line
    assert line not in report.render(facts)
    assert "  LED" not in report.render(status(running=False, indication=Indication.OFF, hold_time=3.0), led=True)


def test_faults_are_told():
    """Promise 5: each fault is a line."""
    assert said(faults=("the disk is full; free some space", "GPIO17 is taken"), indication=Indication.FAULT)[-2:] == [
        "fault: the disk is full; free some space",
        "fault: GPIO17 is taken",
    ]


@pytest.mark.parametrize(
    ("close", "words"),
    [
        (report.close_object(RECORD, "pending", 100.0, held="grace"), "  can still be taken back at the button"),
        (report.close_object(RECORD, "pending", 100.0), "  waiting for rufusd to run"),
        (
            report.close_object(RECORD, "pending", 100.0, Delivery(TOKEN, 105.0, Step.READ)),
            "  waiting for quiet: no new passing for long enough, next look in 5 s",
        ),
        (report.close_object(RECORD, "pending", 100.0, replace(RETRY, phase=Phase.SENDING)), "  being sent now"),
        (report.close_object(RECORD, "pending", 100.0, RETRY), "  waiting: no way to api.runonrufus.com, next in 18 s"),
        (
            report.close_object(
                RECORD, "pending", 100.0, replace(RETRY, phase=Phase.REFUSED, error="RUFUS refused (403)")
            ),
            "  refused: RUFUS refused (403), next in 18 s",
        ),
    ],
)
def test_every_phase_has_words(close, words):
    """Promise 5: what a pending close waits for is told in words, and when it is tried next."""
    assert said(close)[-1] == words


@pytest.mark.parametrize(("attempts", "words"), [(0, ""), (1, ", 1 attempt"), (7, ", 7 attempts")])
def test_line_of_a_pending_close(attempts, words):
    """A close has its name, state, token, when and by what it was confirmed, and its attempts."""
    close = report.close_object(RECORD, "pending", 100.0, replace(RETRY, attempts=attempts))
    expected = "FINISH-10K     pending   6E05…DB4C   confirmed 2026-05-02T11:02:13Z by button" + words
    assert said(close)[-2] == expected


def test_close_that_is_not_on_disk_says_so():
    """Promise 2: whoever reads the status leaves the power on."""
    assert said(report.close_object(RECORD, "pending", 100.0, RETRY, durable=False))[-1] == (
        "  NOT ON DISK: leave the power on"
    )


def test_line_of_what_is_over():
    """What is closed says when RUFUS said so; what is withdrawn is one line."""
    closed = report.close_object(replace(RECORD, closed_at="2026-05-02T11:03:00Z"), "closed", 100.0)
    withdrawn = report.close_object(RECORD, "withdrawn", 100.0)
    lines = said(withdrawn, closed)
    assert lines[-2].endswith("withdrawn 6E05…DB4C   confirmed 2026-05-02T11:02:13Z by button")
    assert lines[-1].endswith(" by button, closed 2026-05-02T11:03:00Z")


def test_line_of_a_damaged_record():
    """A close without facts is a line all the same."""
    line = said(report.close_object(Record(TOKEN), "closed", 100.0))[-1]
    assert line.startswith("session        closed    6E05…DB4C   confirmed at an unknown time (by a clock")
    assert line.endswith("by unknown, closed at an unknown time")


def test_clock_that_was_not_set_is_told():
    """A time that may be wrong by years says so."""
    close = report.close_object(replace(RECORD, clock_synchronized=False), "withdrawn", 100.0)
    assert "confirmed 2026-05-02T11:02:13Z (by a clock that was not set) by button" in said(close)[-1]


def test_pending_comes_first_and_old_ones_are_counted():
    """A season's closes do not hide the pending one: the newest ten are shown, and how many more there are."""
    ended = [report.close_object(replace(RECORD, name=f"RACE-{number}"), "closed", 100.0) for number in range(25)]
    lines = said(*ended, report.close_object(RECORD, "pending", 100.0))
    assert lines[2].startswith("FINISH-10K     pending")
    assert [line.split()[0] for line in lines[4:14]] == [f"RACE-{number}" for number in range(15, 25)]
    assert lines[14] == "and 15 older ones; `rufusd status --json` has all"


def test_ten_are_not_too_many():
    """Exactly ten are all shown."""
    lines = said(*[report.close_object(RECORD, "closed", 100.0)] * 10)
    assert len(lines) == 2 + 10


# -- a session whose passings do not end

WAITING = Delivery(TOKEN, 105.0, Step.READ, Phase.QUIET, came=97.0, latest=400.0)


def test_passings_that_still_come_are_told_with_when_it_closes_at_the_latest():
    """Promise 5: whoever looks sees that the close waits for passings, and that it will not wait for ever."""
    found = report.close_object(RECORD, "pending", 100.0, WAITING)
    assert (found["passing_ago"], found["closes_within"]) == (3.0, 300.0)
    assert said(found)[-1] == (
        "  waiting for quiet: a passing came 3 s ago; closes at the latest in 300 s, next look in 5 s"
    )
    (later,) = report.closes_with_age([found], 2.0)
    assert (later["passing_ago"], later["closes_within"], later["next_attempt_in"]) == (5.0, 298.0, 3.0)


def test_a_session_without_passings_is_not_told_of_any():
    """Promise 5: no passing was seen to come: nothing of it."""
    for delivery in (replace(WAITING, came=None), replace(WAITING, phase=Phase.SENDING), None):
        found = report.close_object(RECORD, "pending", 100.0, delivery)
        assert (found["passing_ago"], found["closes_within"]) == (None, None)


def test_what_was_closed_while_passings_came_says_so():
    """Promise 5: the results may lack them, which a timekeeper has to know the day after, too."""
    ended = replace(RECORD, closed_at="2026-05-02T11:03:00Z", closed_how=STILL_PASSING)
    found = report.close_object(ended, "closed", 100.0)
    assert found["closed_how"] == STILL_PASSING
    assert "while passings still came" in said(found)[-1]
    assert len(said(report.close_object(replace(ended, closed_how=""), "closed", 100.0))) == len(said(found)) - 1


# -- what comes from outside, and how it is shown


def _view(**other):
    view = report.status_object(
        version="1", pid=7, since="then", valid=True, problems=[], session={"token": "T" * 8, "name": "A"},
        button="released", hold_time=3, reader=None,
    )  # fmt: skip
    return {**view, "written_at": 5.0, **other}


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {name: value}
            for name in ("daemon", "session", "button", "reader", "config", "closes")
            for value in (7, None)
        ),
        *({"indicator": "x"}, {"faults": "x"}, {"faults": [7]}, {"written_at": "1"}, {"closes": [{}]}, {"closes": [7]}),
        {"button": {"state": "released", "hold_time": None}},
    ],
)
def test_a_status_of_another_shape_is_none(wrong):
    """Promise 5: a file or a socket that is not the daemon's gives no traceback."""
    assert report.is_status(_view())
    assert not report.is_status(_view(**wrong))
    assert not report.is_status(None)


def test_a_frame_of_another_shape_is_none():
    """Promise 5: the first frame has a status, too."""
    frame = {"at": 1.0, "button": None, "reader": None, "indicator": "armed", "shown_for": 1, "grace": None}
    more = {"closes": 0, "faults": 0}
    assert report.is_frame(frame)
    assert not report.is_frame(frame, first=True)
    assert report.is_frame({**frame, "status": _view(more=more)}, first=True)
    assert not report.is_frame({**frame, "status": _view()}, first=True)
    for wrong in ({"at": "1"}, {"button": {}}, {"button": 7}, {"indicator": "x"}, {"grace": "x"}):
        assert not report.is_frame({**frame, **wrong})


def test_what_a_frame_cuts_is_taken_from_the_view():
    """Promise 2: no pending close is missing from the status, however many there are."""
    told = {"closes": [{"token": "A"}], "faults": ["a"], "more": {"closes": 1, "faults": 1}}
    view = {"closes": [{"token": "A"}, {"token": "B"}], "faults": ["a", "b"]}
    assert report.combined(told, view) == view
    assert report.combined(told, None) == {"closes": [{"token": "A"}], "faults": ["a"]}
    assert report.combined({**told, "more": {"closes": 0, "faults": 0}}, view)["closes"] == [{"token": "A"}]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (240, "4 min"), (7300, "2 h"), (200000, "2 d")])
def test_a_span_is_in_words(seconds, text):
    """Promise 5: an age that people can read."""
    assert report.span(seconds) == text


def test_a_line_ends_between_words_and_not_in_a_command():
    """Promise 5: a command can be copied."""
    line = "  do this: `sudo systemctl restart rufusd`, and look"
    assert report.wrapped(line, 80) == [line]
    assert report.wrapped(line, 36) == ["  do this:", "    `sudo systemctl restart rufusd`,", "    and look"]


def test_nothing_from_outside_moves_the_cursor():
    """Promise 5: nor turns the order of the letters; emoji and their joiners stay."""
    assert report.printable("a\x1b[2J\x9b\u202eb") == "a [2J  b"
    assert report.printable("\U0001f469\u200d\U0001f680\u00a0x") == "\U0001f469\u200d\U0001f680\u00a0x"
