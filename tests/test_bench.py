"""What the measurements are turned into: medians, verdicts, the table. What they measure is seen by running them."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.table import BEGIN, END, Row, facts, lines, median, placed, quantile, short, table

NUMBERS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


@given(NUMBERS)
def test_a_quantile_lies_where_it_should(numbers: list[float]) -> None:
    """The least at 0, the greatest at 1, never less for a greater part; the order of the numbers changes nothing."""
    parts = [quantile(numbers, part / 10) for part in range(11)]
    assert (parts[0], parts[-1]) == (min(numbers), max(numbers))
    slack = 1e-6 * (1 + max(map(abs, numbers)))
    assert all(one <= other + slack for one, other in zip(parts, parts[1:]))
    random.Random(1).shuffle(numbers)
    assert quantile(numbers, 0.3) == parts[3]


@pytest.mark.parametrize(("numbers", "middle"), [([3], 3), ([1, 9], 5), ([9, 1, 2], 2), ([4, 1, 3, 2], 2.5)])
def test_the_median_is_the_middle(numbers: list[float], middle: float) -> None:
    """Of an even count, the mean of two."""
    assert median(numbers) == middle


def test_nothing_measured_is_no_number() -> None:
    """A figure that was not measured must not look like a zero."""
    with pytest.raises(ValueError, match="no number"):
        median([])
    row = Row("figure", goal=1.0, note="there is no kernel for it here")
    assert (row.met, row.far_off) == (None, False)
    assert "not measured" in table([row])
    assert "- figure: there is no kernel for it here" in table([row])


@pytest.mark.parametrize(
    ("ratio", "asked", "goal", "met", "far_off"),
    [
        (0.2, None, 0.2, True, False),
        (0.21, None, 0.2, False, False),
        (0.41, None, 0.2, False, True),
        (9.0, 24.0, 25.0, True, False),  # another figure than the ratio is asked for
        (0.1, 51.0, 25.0, False, True),
        (0.0, None, 0.0, True, False),
        (1.0, None, 0.0, False, True),
        (5.0, None, None, None, False),  # shown only
    ],
)
def test_a_goal_is_met_or_missed_or_missed_by_far(
    ratio: float, asked: float | None, goal: float | None, met: bool | None, far_off: bool
) -> None:
    """What equals the goal meets it; twice the goal is more than noise."""
    row = Row("figure", ratio=ratio, asked=asked, goal=goal)
    assert (row.met, row.far_off) == (met, far_off)


def test_the_table_has_each_row_and_says_what_was_missed() -> None:
    """Columns of one width, so that it can be read as it is, and by Markdown."""
    rows = [Row("quick", "1 ms", "2 ms", 0.5, 0.8, aim="≤ 0.8"), Row("slow", "3 ms", "2 ms", 1.5, 0.8, aim="≤ 0.8")]
    lines = table(rows).splitlines()[:4]
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["met", "MISSED"]
    assert [each["met"] for each in json.loads(json.dumps(facts(rows)))] == [True, False]


def test_a_run_is_kept_with_each_row_on_a_line() -> None:
    """Programs read all of it; whoever compares two runs sees which rows differ."""
    rows = facts([Row("one", ratio=1 / 3, raw={"taken": [0.12345678, (1, 2)]}), Row("two", note="nothing ≤ here")])
    text = lines({"seconds": 9, "rows": rows})
    assert len(text.splitlines()) == len(rows) + 2
    read = json.loads(text)
    assert (read["seconds"], read["rows"][0]["ratio"], read["rows"][1]["note"]) == (9, 0.333333, "nothing ≤ here")
    assert read["rows"][0]["raw"] == {"taken": [0.123457, [1, 2]]}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.04149, "0.0415"), (1.5, "1.5"), (12.34, "12.3"), (99.99, "100"), (1700.4, "1,700")],
)
def test_numbers_have_three_digits(number: float, text: str) -> None:
    """More would be noise."""
    assert short(number) == text


def test_the_last_runs_table_is_replaced_and_nothing_else() -> None:
    """A second run leaves no trace of the first; a document without its place is refused."""
    once = placed(f"before\n{BEGIN}\nold\n{END}\nafter\n", "first")
    assert placed(once, "second") == f"before\n{BEGIN}\n\nsecond\n{END}\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        placed("before", "rows")
