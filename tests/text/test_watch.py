"""What the live view shows, from frames alone: the traces, the rules, the lines where there is no terminal."""

from __future__ import annotations

from typing import Any

import pytest

from rufusd.core.indicator import Indication
from rufusd.core.inputs import Line, Press, ReaderState
from rufusd.core.record import Record
from rufusd.core.settings import Button, Reader
from rufusd.text import report, watch
from rufusd.text.watch import Column, Seen

TOKEN = "2A19" + "0" * 56 + "2B25"
BUTTON, READER = Button(pin=17), Reader(pin=22)


def close(phase: str = "grace", **more: Any) -> dict[str, Any]:
    """A pending close, as a status has it."""
    record = Record(TOKEN, "FINISH-10K", "button", "", confirmed_at="2026-05-01T11:02:13Z", clock_synchronized=True)
    return {**report.close_object(record, "pending", 0.0, held=phase), "last_error": "no route", **more}


def status(**more: Any) -> dict[str, Any]:
    """A status, as a frame has it."""
    whole = report.status_object(
        **{
            **{"version": "1", "pid": 1, "since": "", "valid": True, "problems": []},
            **{"session": {"token": TOKEN, "name": "FINISH-10K"}},
            **more,
        }
    )
    return report.truncated({**whole, "written_at": 0.0})


def frame(at: float, button: str | None = "high", reader: str | None = None, **more: Any) -> dict[str, Any]:
    """One scan, of lines that show these levels."""
    made = report.frame(
        at,
        button=BUTTON if button else None,
        press=Press(Line(active=button == "low", level=button == "low"), seen_released=True),
        reader=READER if reader else None,
        reader_state=ReaderState(Line(active=reader == "high", level=reader == "high")),
        indication=Indication.ARMED,
        shown_for=0.0,
        grace=None,
    )
    return {**made, **({} if at else {"status": status()}), **more}


def seen(*frames: dict[str, Any]) -> Seen:
    """What was seen after these."""
    so_far = Seen()
    for each in frames:
        so_far = watch.after(so_far, each)
    return so_far


def levels(name: str, pattern: str, pace: float = 0.05) -> Seen:
    """What was seen of an input that showed these levels, low by "_" and high by "-"."""
    each = {"_": "low", "-": "high"}
    other = {"button": {"reader": None}, "reader": {"button": None}}[name]
    return seen(*(frame(n * pace, **{**other, name: each[level]}) for n, level in enumerate(pattern)))


def picture(so_far: Seen, now: float | None = None, width: int = 80, height: int = 24, away: str = "") -> list[str]:
    """The rows, in plain ASCII."""
    now = so_far.frame["at"] if now is None else now
    return watch.picture(so_far, now, width, height, away, watch.ASCII, str)


def trace(so_far: Seen, now: float | None = None, width: int = 80) -> str:
    """The first trace in the picture."""
    rows = picture(so_far, now, width)
    return rows[next(n for n, row in enumerate(rows) if "30 s ago" in row) - 1]


# -- the trace


def test_a_still_line_is_a_flat_trace() -> None:
    """Promise 5: high and low are told apart, and the newest is at the right."""
    assert trace(levels("button", "-" * 40)) == "  " + " " * 56 + "----"
    assert trace(levels("button", "_" * 40)) == "  " + " " * 56 + "____"


def test_a_press_has_two_edges() -> None:
    """Promise 5: each clean change of the level is one edge, wherever in its half second it was."""
    assert trace(levels("button", "-" * 23 + "_" * 21 + "-" * 16)).strip() == "--|_|-"


def test_a_change_between_two_columns_is_an_edge_too() -> None:
    """Promise 5: a level that moved at the very border of two half seconds did move."""
    assert trace(levels("button", "-" * 10 + "_" * 10 + "-" * 10)).strip() == "-||"


@pytest.mark.parametrize(("moves", "shown"), [(1, "|"), (2, "2"), (9, "9"), (10, "+"), (60, "+")])
def test_chatter_is_a_number(moves: int, shown: str) -> None:
    """Promise 5: a contact that chatters is seen as how often it moved, however short each move is."""
    pattern = "-" + "".join("_-"[n % 2] for n in range(moves))
    so_far = levels("reader", pattern, pace=0.007)
    assert trace(so_far).strip() == shown
    said = "moved once" if moves == 1 else f"moved {moves} times"
    assert any(said in row for row in picture(so_far))


def test_what_was_not_read_leaves_a_gap() -> None:
    """Promise 5: a line that could not be read, and a daemon that was held up, are seen; neither is a move."""
    so_far = seen(frame(0.0), {**frame(0.5), "button": {**frame(0.5)["button"], "level": None}}, frame(1.0), frame(3.0))
    assert trace(so_far).strip() == "- -   -"
    assert not any("moved" in row for row in picture(so_far) if "ago" in row)


def test_a_trace_moves_on_and_forgets() -> None:
    """Promise 5: after half a minute what happened is out of the picture, and out of memory."""
    so_far = seen(frame(0.0), frame(0.1, "low"), *(frame(n / 2, "low") for n in range(1, 300)))
    assert trace(so_far) == "  " + "_" * 60
    assert len(so_far.traces["button"]) <= watch.COLUMNS + 1
    assert trace(so_far, now=so_far.frame["at"] + 10) == "  " + "_" * 40


@pytest.mark.parametrize(("width", "columns"), [(200, 60), (80, 60), (62, 60), (61, 30), (40, 30), (20, 15)])
def test_a_narrow_terminal_shows_half_a_minute_too(width: int, columns: int) -> None:
    """Promise 5: where there is no room, a column is several half seconds, and keeps the moves of all."""
    so_far = seen(*(frame(n / 10, "low" if n == 150 else "high") for n in range(400)))
    drawn = trace(so_far, width=width)
    assert len(drawn) == 2 + columns
    assert drawn.count("2") == 1
    assert drawn.count("-") == columns - 1


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    """Promise 5: a terminal of any width shows the beginning of all, rather than a muddle."""
    so_far = levels("reader", "-_" * 50)
    so_far = Seen(so_far.frame, status(faults=["the button is held"], closes=[close()]), so_far.traces)
    assert max(map(len, picture(so_far, width=width, height=1000))) <= width


def test_a_low_terminal_says_that_there_is_more() -> None:
    """Promise 5: what has no room is not lost without a word."""
    rows = picture(seen(frame(0.0, reader="high")), height=5)
    assert len(rows) == 5
    assert rows[-1] == "..."


@pytest.mark.parametrize(("encoding", "glyphs"), [("utf-8", watch.Glyphs()), ("ascii", watch.ASCII)])
def test_a_terminal_gets_what_it_can_show(encoding: str, glyphs: watch.Glyphs) -> None:
    """Promise 5: where there is no UTF-8, plain characters draw the same."""
    assert watch.glyphs(encoding) == glyphs


# -- the states and their rules


def of_button(state: str, so_far: float | None = None) -> Seen:
    """What is seen of a button in this state."""
    return seen({**frame(0.0), "button": {"level": "low", "state": state, "hold_time": 3.0, "so_far": so_far, "of": 3}})


def of_reader(state: str, so_far: float | None = None, of: float | None = None) -> Seen:
    """What is seen of a reader in this state."""
    return seen({**frame(0.0), "reader": {"level": "low", "state": state, "so_far": so_far, "of": of}})


@pytest.mark.parametrize(
    ("so_far", "row"),
    [
        (of_button("pressed", 1.84), "button   low   held 1.8 of 3 s"),
        (of_button("pressed", 2.999), "button   low   held 2.9 of 3 s"),
        (of_button("pressed", 3.0), "button   low   held 3.0 s, long enough: let go"),
        (of_button("released"), "button   low   released, hold 3 s and let go to close"),
        (of_button("stuck"), "button   low   stuck: check the switch and its cable"),
        (of_reader("running", 4, 10), "reader   low   running, 4.0 of 10 s until it is armed"),
        (of_reader("settling", 12.34, 30), "reader   low   off, 12.3 of 30 s until that closes"),
        (of_reader("armed"), "reader   low   running, armed: closes when it goes off"),
    ],
)
def test_a_state_is_told_against_its_rule(so_far: Seen, row: str) -> None:
    """Promise 5: how far a press or the reader's signal has come is seen as it comes."""
    assert row in picture(so_far)


@pytest.mark.parametrize(
    ("press", "told"),
    [
        (Press(), ("unknown", None, None)),
        (Press(Line(active=False, level=False)), ("resting", None, None)),
        (Press(Line(active=False, level=False), seen_released=True), ("released", None, None)),
        (Press(Line(active=True, level=True), True, 1.0, 1.8, rules=Button(17, hold_time=2)), ("pressed", 1.8, 2)),
        (Press(Line(active=True, level=True), True, 1.0, 1.8), ("pressed", 1.8, 3)),
        (Press(Line(active=True, level=True), True, 1.0, 40, stuck=True), ("stuck", None, None)),
    ],
)
def test_a_frame_has_the_button(press: Press, told: tuple[Any, ...]) -> None:
    """Promise 5: the longest unbroken stretch counts, under the rules that the press began under."""
    made = frame_of(press=press)["button"]
    assert (made["state"], made["so_far"], made["of"]) == told
    assert made["level"] == {None: None, False: "high", True: "low"}[press.line.level]


@pytest.mark.parametrize(
    ("line", "armed", "told"),
    [
        (Line(), False, (None, "unknown", None, None)),
        (Line(True, True, since=1, seen=5), False, ("high", "running", 4, 10)),
        (Line(True, True, since=1, seen=12), True, ("high", "armed", None, None)),
        (Line(False, False, since=1, seen=5), True, ("low", "settling", 4, 30)),
        (Line(False, True, since=1, seen=5), True, ("high", "settling", 0, 30)),
        (Line(False, False, since=1, seen=5), False, ("low", "off", None, None)),
    ],
)
def test_a_frame_has_the_reader(line: Line, armed: bool, told: tuple[Any, ...]) -> None:
    """Promise 5: one contrary sample starts the reader's time anew, and that is seen."""
    made = frame_of(reader_state=ReaderState(line, armed))["reader"]
    assert (made["level"], made["state"], made["so_far"], made["of"]) == told


@pytest.mark.parametrize(
    ("button", "reader", "shown"),
    [
        (Button(pin=17, active="high"), Reader(pin=22, running="low"), ("high", "low")),
        (Button(pin=17, active="low"), Reader(pin=22, running="high"), ("low", "high")),
        (None, None, None),
    ],
)
def test_a_frame_has_the_levels_of_the_lines(button: Any, reader: Any, shown: Any) -> None:
    """Promise 5: a level is the voltage's, whatever it means for the configured polarity."""
    line = Line(True, True)
    made = frame_of(button=button, press=Press(line), reader=reader, reader_state=ReaderState(line), grace=1.26)
    assert (made["button"] and (made["button"]["level"], made["reader"]["level"])) == shown
    assert made["grace"] == 1.3


def frame_of(**facts: Any) -> dict[str, Any]:
    """A frame with these facts."""
    return report.frame(
        **{
            **{"now": 0.0, "button": BUTTON, "press": Press(), "reader": READER, "reader_state": ReaderState()},
            **{"indication": Indication.ARMED, "shown_for": 0.0, "grace": None},
            **facts,
        }
    )


@pytest.mark.parametrize("state", ["pending", "closed"])
def test_no_input_promises_to_close_what_is_confirmed_or_closed(state: str) -> None:
    """Promise 4: neither a press nor the reader changes anything then; a reader that is off counts towards nothing."""
    told = {"status": status(closes=[{**close(), "state": state}])}

    def row(name: str, **facts: Any) -> str:
        made = frame(0.0, "high", "high")
        rows = picture(seen({**made, **told, name: {**made[name], **facts}}))
        return next(row for row in rows if row.startswith(name))

    assert row("button", state="released") == "button   high  released"
    assert row("reader", state="armed") == "reader   high  running"
    assert row("reader", state="settling", so_far=2.0, of=30) == "reader   high  off"


# -- the indicator


def led(indication: Indication, shown_for: float) -> str:
    """The LED's picture so long after the indication began."""
    so_far = seen({**frame(0.0), "indicator": indication.value, "shown_for": shown_for - 1})
    return next(row for row in picture(so_far, now=1.0) if row.startswith("LED")).partition("  ")[0]


def test_the_led_blinks_in_the_picture_as_at_the_station() -> None:
    """Promise 5: between two frames, too; 10 Hz, faster than the pictures, is in every second one."""
    assert [led(Indication.PENDING, 10 + n / 4) for n in range(4)] == ["LED (*)", "LED (*)", "LED ( )", "LED ( )"]
    assert [led(Indication.HOLDING, n / 10 + 0.05) for n in range(4)] == ["LED (*)", "LED ( )", "LED (*)", "LED ( )"]
    assert [led(Indication.ARMED, 3 + n / 10 + 0.05) for n in range(3)] == ["LED (*)", "LED ( )", "LED ( )"]


def test_the_grace_is_counted_down() -> None:
    """Promise 5: how long a close can still be taken back is seen."""
    so_far = seen({**frame(0.0), "indicator": "grace", "grace": 7.3})
    assert "LED (*)  confirmed: press to take it back, 7 s left" in picture(so_far)


@pytest.mark.parametrize(
    ("indicator", "said"),
    [("off", "starting"), ("armed", "armed"), ("grace", "confirmed: press to take it back"), ("fault", "fault")],
)
def test_the_indicator_is_said_in_words(indicator: str, said: str) -> None:
    """Promise 5: as `rufusd status` says it."""
    assert f"LED (*)  {said}" in [
        row.replace("( )", "(*)") for row in picture(seen({**frame(0.0), "indicator": indicator}))
    ]


# -- closes and faults


def test_closes_and_faults_are_as_in_the_status() -> None:
    """Promise 5: what is pending and what needs a person, with the seconds that have gone since."""
    closes = [{**close("retry"), "next_attempt_in": 9.0}]
    so_far = seen({**frame(0.0), "status": status(closes=closes, faults=["it is broken"], problems=["a problem"])})
    rows = picture(so_far, now=4.0)
    assert "  waiting: no route, next in 5 s" in rows
    assert "fault: it is broken" in rows
    assert "a problem" in rows


def test_a_frame_stays_short_however_much_there_is() -> None:
    """Promise 5: thousands of closes do not fit into a socket's buffer; it says how many there are besides."""
    many = status(closes=[close()] * 5000, faults=["it is broken"] * 40, problems=["a problem"] * 30)
    assert len(many["closes"]) == len(many["faults"]) == len(many["config"]["problems"]) == report.SHOWN
    rows = picture(seen({**frame(0.0), "status": many}), height=1000)
    assert "and 5020 more; `rufusd status` has all" in rows


def test_what_comes_from_outside_cannot_move_the_cursor() -> None:
    """Promise 5: a control character in a name is shown as a blank."""
    named = status(session={"token": TOKEN, "name": "A\x1b[2JB\r\n"})
    so_far = seen({**frame(0.0), "status": named})
    assert picture(so_far)[0].startswith("A [2JB ")
    assert lines(so_far)[0].startswith("A [2JB ")


def test_a_session_without_a_name_is_one() -> None:
    """Promise 5: the first row says which session a close would be of."""
    unnamed = status(session={"token": TOKEN, "name": ""})
    so_far = seen({**frame(0.0), "status": unnamed})
    assert picture(so_far)[0] == "session        2A19…2B25"
    assert lines(so_far)[0] == "session        armed"


# -- the daemon is away


@pytest.mark.parametrize("away", [watch.absent(full=False), watch.absent(full=True), watch.SILENT])
def test_that_nothing_comes_is_said(away: str) -> None:
    """Promise 5: what the LED shows is not known then, nor what is pending; the trace goes on, with a gap."""
    so_far = seen({**frame(0.0), "status": status(closes=[close()])})
    rows = picture(so_far, now=5.0, away=away)
    assert away[:40] in " ".join(rows)
    assert not any(row.startswith("LED") or "pending" in row or "released" in row for row in rows)
    assert trace(so_far, now=5.0) == "  " + " " * 49 + "-"


def test_before_the_first_frame_nothing_is_claimed() -> None:
    """Promise 5: a daemon that has not said anything has no state."""
    assert len(picture(Seen(), now=0.0)) == 2
    assert " ".join(map(str.strip, picture(Seen(), now=0.0, away=watch.SILENT))).startswith(watch.SILENT)
    assert watch.changes({}, Seen(), "", str) == ({"away": ""}, [])


# -- lines, where there is no terminal


def lines(*after: Seen | str) -> list[str]:
    """All that is told of these, one after the other; a text says why nothing comes."""
    told: Any = {}
    found: list[str] = []
    last = Seen()
    for each in after:
        last = each if isinstance(each, Seen) else last
        told, new = watch.changes(told, last, "" if isinstance(each, Seen) else each, str)
        found += new
    return found


def test_each_change_is_a_line_and_what_stays_is_none() -> None:
    """Promise 5: a file, or a phone, gets what changed, and not the seconds that go by."""
    so_far = [seen(frame(0.0, reader="high"))]
    for n in range(1, 100):
        so_far.append(watch.after(so_far[-1], frame(n / 20, "low" if n >= 50 else "high", "high")))
    assert lines(*so_far) == [
        "FINISH-10K     armed",
        "button   high  released, hold 3 s and let go to close",
        "reader   high  running, not armed yet",
        "button   low   pressed",
    ]


def test_chatter_is_told_once_for_each_half_second() -> None:
    """Promise 5: not in a hundred lines, and only once it is whole."""
    so_far = [Seen()]
    for n in range(151):
        made = frame(n / 100, status=status())
        made["button"]["level"] = "low" if n < 100 and n % 2 else "high"
        so_far.append(watch.after(so_far[-1], made))
    assert lines(*so_far)[2:] == ["button moved 49 times in half a second", "button moved 50 times in half a second"]


def test_a_close_is_told_by_what_it_waits_for() -> None:
    """Promise 5: another attempt that comes to the same is no news, nor is the moment in which it is made."""
    phases = [
        *(close("waiting"), close("grace"), close("waiting"), close("quiet", next_attempt_in=3.0)),
        *(close("sending", attempts=1), close("retry", attempts=1, next_attempt_in=2.0)),
        *(close("sending", attempts=2), close("retry", attempts=2, next_attempt_in=4.0)),
    ]
    so_far = [seen({**frame(0.0), "status": status(closes=[each])}) for each in phases]
    told = [line.partition("by button: ")[2] for line in lines(*so_far)[2:]]
    assert told == [
        "can still be taken back at the button",
        "waiting for quiet: no new passing for long enough",
        "waiting: no route",
    ]


def test_a_fault_is_told_when_it_comes_and_when_it_is_over() -> None:
    """Promise 5: as the journal does."""
    good, bad = (seen({**frame(0.0), "status": status(faults=faults)}) for faults in ([], ["it is broken"]))
    assert lines(good, bad, bad, good, good)[2:] == ["fault: it is broken", "over: it is broken"]


def test_that_the_daemon_went_and_came_is_told_once() -> None:
    """Promise 5: and what it does is told anew, since that may be anything."""
    here = seen(frame(0.0))
    told = lines(here)
    assert lines(here, "it went", "it went", here, here) == [*told, "it went", *told]


def test_columns_join() -> None:
    """Promise 5: what is put together keeps both levels and all moves."""
    joined = Column(1, low=True, moves=2).joined(Column(2, high=True, moves=3))
    assert joined == Column(1, low=True, high=True, moves=5)
