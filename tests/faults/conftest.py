"""What the fault suite begins with, and the table that it leaves: tests/faults/README.md, made by the run itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from families import Family, compiled
from forked import Forge

HERE = Path(__file__).parent
BEGIN, END = "<!-- the last run -->", "<!-- end of the last run -->"


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Iterator[Family]:
    """The row of this test, named by the first line of its docstring. Something lost, false or wrong fails it."""
    row = Family(request.function.__doc__.split("\n")[0].rstrip("."))
    began = time.monotonic()
    yield row
    row.seconds = time.monotonic() - began
    request.node.user_properties.append(("family", asdict(row)))
    assert row.tried, "nothing was tried"
    assert (row.lost, row.false, row.wrong) == ([], [], [])


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--table`: a run of all families leaves its table in the README."""
    parser.addoption("--table", action="store_true", help="write the table of this run into tests/faults/README.md")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, a row for each family."""
    reports = [each for kind in terminalreporter.stats.values() for each in kind if hasattr(each, "when")]
    rows = {
        each.nodeid: Family(**dict(each.user_properties)["family"])
        for each in sorted(reports, key=lambda each: str(each.nodeid))
        if each.when == "teardown" and each.user_properties
    }
    lines = ["| family | points tried | lost | false closes | otherwise wrong | seconds |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.tried:,} | {len(row.lost)} | {len(row.false)} | {len(row.wrong)} | {row.seconds:.0f} |"
        for row in rows.values()
    ]
    if rows:
        terminalreporter.write_line("\n" + "\n".join(lines))
    if config.getoption("--table"):
        readme = HERE / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        table = "\n".join([before + BEGIN, *lines, END]) + rest.partition(END)[2]
        readme.write_text(table, encoding="utf-8")


@pytest.fixture(scope="session")
def faultpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preload library that can fail a program at each of its calls."""
    return compiled(HERE / "faultpoint.c", tmp_path_factory.mktemp("faultpoint"))


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory, faultpoint: Path) -> Iterator[Forge]:
    """Starts stations in milliseconds, whose calls `faultpoint.c` can fail."""
    with contextlib.closing(Forge(tmp_path_factory.mktemp("forge"), faultpoint)) as forge:
        yield forge
