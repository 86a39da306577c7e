"""Figures into medians, ratios, verdicts and one table. Pure: numbers in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

BEGIN, END = "<!-- the last run: written by `make bench` -->", "<!-- end of the last run -->"


@dataclass(frozen=True)
class Row:
    """One figure: rufusd's, that of what is beside it, and what is asked of them.

    `ratio` is rufusd's to the other's; `asked` is what is compared with `goal`, the ratio unless told. `raw` are all
    the numbers that were measured. Without a ratio it could not be measured here, and `note` says why.
    """

    figure: str
    ours: str = ""
    beside: str = ""
    ratio: float | None = None
    goal: float | None = None
    asked: float | None = None
    aim: str = ""
    note: str = ""
    far: float = 2.0  # as many times the goal fail the short form: noise on shared machines is large
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where none is set, or nothing was measured."""
        if self.ratio is None or self.goal is None:
            return None
        return (self.ratio if self.asked is None else self.asked) <= self.goal

    @property
    def far_off(self) -> bool:
        """Whether no noise explains how far the goal was missed."""
        if self.ratio is None or self.goal is None:
            return False
        return (self.ratio if self.asked is None else self.asked) > self.goal * self.far


def median(numbers: Sequence[float]) -> float:
    """The middle one, or the mean of the two that are. ValueError where there are none."""
    return quantile(numbers, 0.5)


def quantile(numbers: Sequence[float], part: float) -> float:
    """What `part` of the numbers do not exceed, between two of them in proportion. ValueError where there are none."""
    if not numbers:
        raise ValueError("no number was measured")
    ordered = sorted(numbers)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def table(rows: Sequence[Row]) -> str:
    """All rows, for people; in Markdown, which is readable as it is."""
    lines = [["figure", "rufusd", "beside it", "ratio", "goal", ""]]
    lines += [
        [
            row.figure,
            row.ours or "-",
            row.beside or "-",
            "not measured" if row.ratio is None else short(row.ratio),
            row.aim or "-",
            {True: "met", False: "MISSED", None: ""}[row.met],
        ]
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    lines.insert(1, ["-" * width for width in widths])
    text = ["| " + " | ".join(part.ljust(width) for part, width in zip(line, widths)) + " |" for line in lines]
    notes = [f"- {row.figure}: {row.note}" for row in rows if row.note]
    return "\n".join([*text, "", *notes]) + "\n"


def short(number: float) -> str:
    """A number with three digits that count."""
    if number == 0 or number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def facts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All rows, for programs."""
    return [{**asdict(row), "met": row.met} for row in rows]


def lines(run: Mapping[str, Any]) -> str:
    """A run as JSON, each row on a line of its own, so that two runs can be compared; numbers to a millionth."""

    def rounded(found: Any) -> Any:
        if isinstance(found, float):
            return round(found, 6)
        if isinstance(found, Mapping):
            return {key: rounded(each) for key, each in found.items()}
        return [rounded(each) for each in found] if isinstance(found, (list, tuple)) else found

    rows = ",\n".join(json.dumps(rounded(row), ensure_ascii=False) for row in run["rows"])
    head = json.dumps({key: each for key, each in run.items() if key != "rows"}, ensure_ascii=False)
    return f'{head[:-1]}, "rows": [\n{rows}\n]}}\n'


def placed(text: str, rows: str) -> str:
    """A document in which the last run's table is replaced by these rows. ValueError where it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"there is no place for the table: {BEGIN} to {END}")
    return f"{before}{BEGIN}\n\n{rows}\n{END}{after}"
