"""A close's record: text in, text out. Whatever stands in a file, the token from its name suffices."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rufusd.core.closes import recovered_close
from rufusd.core.record import ELSEWHERE, FORMAT, LONGEST, STILL_PASSING, Record, from_json

TOKEN = "6E05" + "A7" * 28 + "DB4C"
FULL = Record(
    TOKEN,
    name="Łódź półmaraton",
    trigger="button",
    reason="the last runner is in",
    confirmed_at="2026-05-02T11:02:13Z",
    clock_synchronized=True,
    boot_id="0a1b2c3d",
    uptime=8123.25,
    sent_at="2026-05-02T11:02:53Z",
    closed_at="2026-05-02T11:02:54Z",
    withdrawn_at="2026-05-02T11:03:00Z",
    withdrawn_by="command",
    wiring="27 up high",
    empty=True,
    also="reader",
    attempts=7,
    closed_how=STILL_PASSING,
)


def test_record_survives_its_file():
    """Promise 2: what was written is read again, every fact of it."""
    assert all(getattr(FULL, field.name) != field.default for field in fields(Record))
    assert from_json(TOKEN, FULL.to_json()) == FULL


def test_file_is_for_people():
    """A technician reads the file with `cat`: one fact a line, letters as they are, nothing that is not known."""
    text = Record(TOKEN, name="Łódź").to_json()
    assert text.endswith("}\n")
    assert '\n "name": "Łódź",\n' in text
    assert "closed_at" not in text
    assert json.loads(text)["format"] == FORMAT == 1


def test_what_nobody_knows_is_not_in_the_file():
    """Facts that are empty are left out; that the clock was not set is a fact."""
    assert json.loads(Record(TOKEN).to_json()) == {
        "format": 1,
        "token": TOKEN,
        "trigger": "unknown",
        "clock_synchronized": False,
        "uptime": 0.0,
    }


def test_the_words_in_a_file_stay_what_they_are():
    """A station reads the records that it wrote before an update."""
    assert (ELSEWHERE, STILL_PASSING) == ("elsewhere", "still passing")


@pytest.mark.parametrize(
    "text",
    ["", " ", "\0" * 4096, "{", '{"token"', "null", "3", "[]", '"text"', "[" * 100_000, '{"a":' * 100_000, "NaN", "�"],
)
def test_damaged_file_is_a_record_without_facts(text):
    """Promise 2: damaged content delays no close; the token comes from the file's name."""
    assert from_json(TOKEN, text) == Record(TOKEN)


def test_every_beginning_of_a_file_can_be_read():
    """Promise 2: a file that a power cut left half written is a close all the same."""
    text = FULL.to_json()
    for length in range(len(text)):
        assert from_json(TOKEN, text[:length]).token == TOKEN


@pytest.mark.parametrize(
    ("trigger", "also", "alone"),
    [("reader", "", True), ("reader", "button", False), ("reader", "command", False), ("button", "", False)],
)
def test_a_close_that_a_person_confirmed_too_is_not_the_readers_alone(trigger, also, alone):
    """Promise 2: only the reader's own close is the reader's to take back."""
    assert Record(TOKEN, trigger=trigger, also=also).reader_alone is alone


def test_name_of_the_file_outranks_the_token_in_it():
    """A file is delivered by its name, whatever its content says."""
    assert from_json(TOKEN, Record("another-token").to_json()).token == TOKEN
    assert from_json(TOKEN, '{"token": 3}') == Record(TOKEN)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("name", 3),
        ("trigger", None),
        ("confirmed_at", ["2026"]),
        ("sent_at", {"at": 1}),
        ("clock_synchronized", 1),
        ("clock_synchronized", "true"),
        ("uptime", "12"),
        ("uptime", True),
        ("uptime", None),
    ],
)
def test_facts_of_another_kind_are_as_if_never_written(fact, value):
    """What is not what it should be is left out, and the rest stays."""
    text = json.dumps({**asdict(FULL), fact: value})
    default = next(field.default for field in fields(Record) if field.name == fact)
    assert from_json(TOKEN, text) == replace(FULL, **{fact: default})


def test_unknown_facts_are_passed_over():
    """A record that a later version wrote can be read by this one."""
    assert from_json(TOKEN, json.dumps({"format": 9, "weather": "rain", "name": "10K"})) == Record(TOKEN, "10K")


@pytest.mark.parametrize("uptime", ["12", "1e3", "-5", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400])
def test_no_uptime_can_delay_a_close(uptime):
    """Promise 2: whatever number stands in a damaged record, the grace that is left ends within the whole grace."""
    record = from_json(TOKEN, f'{{"boot_id": "b", "uptime": {uptime}}}')
    assert isinstance(record.uptime, float)
    close = recovered_close(record, 1000.0, 500.0, "b", 10.0)
    assert 1000.0 <= close.grace_until <= 1010.0


@pytest.mark.parametrize(
    ("written", "read"), [("7", 7), ("0", 0), ("-3", 0), ("2.9", 2), ("2000000000", 10**9), ("1e999", 10**9)]
)
def test_attempts_are_a_count(written, read):
    """Whatever number stands in a damaged record, people are shown a whole one that is not negative."""
    attempts = from_json(TOKEN, f'{{"attempts": {written}}}').attempts
    assert (attempts, type(attempts)) == (read, int)


@pytest.mark.parametrize("fact", ["name", "reason", "trigger", "boot_id"])
def test_text_that_no_file_can_hold_is_written_all_the_same(fact):
    """Promise 2: half a character, as a shell's argument or a damaged file may have, keeps no close from the disk."""
    assert from_json(TOKEN, replace(FULL, **{fact: "10\udcffK\ud800"}).to_json().encode().decode()) == replace(
        FULL, **{fact: "10?K?"}
    )
    assert getattr(from_json(TOKEN, f'{{"{fact}": "10\\udcffK"}}'), fact) == "10?K"


@pytest.mark.parametrize("code", [0, 7, 10, 0x1B, 0x7F, 0x9B, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069])
def test_no_control_in_a_record_reaches_a_terminal(code):
    """Promise 6: what steers it, turns the direction of a text or ends a line is shown as "?", written or read."""
    for field in fields(Record):
        if field.type == "str" and field.name != "token":
            read = from_json(TOKEN, json.dumps({field.name: f"a{chr(code)}b"}))
            assert getattr(read, field.name) == "a?b"
            assert json.loads(Record(TOKEN, **{field.name: f"a{chr(code)}b"}).to_json())[field.name] == "a?b"


def test_facts_of_any_length_fit_into_what_is_read_of_a_file():
    """Promise 2: a long reason costs a record none of its other facts."""
    long = {f.name: '"\\\x00\U0001f3c1' * 20_000 for f in fields(Record) if f.type == "str" and f.name != "token"}
    text = Record(TOKEN, **long, uptime=12.5).to_json()
    assert len(text.encode()) < 65536
    assert LONGEST == 1000
    read = from_json(TOKEN, text)
    assert read.uptime == 12.5
    assert all(len(getattr(read, name)) == LONGEST for name in long)


def test_letters_of_every_kind_stay():
    """A name is for people: joiners, emoji, no-break spaces and the marks of Arabic and Hebrew are no controls."""
    name = "Łódź\u00a010K \U0001f469\u200d\U0001f9b0 \u0645\u200c\u0646 \u200e10K\u200f \u061c5"
    assert from_json(TOKEN, Record(TOKEN, name).to_json()).name == name


@given(st.text())
def test_no_text_raises(text):
    """Promise 2: reading never fails."""
    assert from_json(TOKEN, text).token == TOKEN


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*asdict(FULL), "x"]), inner),
        max_leaves=8,
    )
)
def test_no_json_raises(value):
    """Promise 2: no JSON at all makes a record that cannot be written and read again."""
    record = from_json(TOKEN, json.dumps(value))
    assert from_json(TOKEN, record.to_json().encode().decode()).token == TOKEN
