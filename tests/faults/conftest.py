"""What the fault suite begins with, and the table that it leaves: tests/faults/README.md, made by the run itself."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, TypeVar

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]  # stations.py, servers.py, forked.py

from forked import Forge

HERE = Path(__file__).parent
BEGIN, END = "<!-- the last run -->", "<!-- end of the last run -->"
AT_ONCE = 6  # stations that run side by side: they mostly wait

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Family:
    """One row of the table. It passes only where nothing was lost, and nothing closed that should not have been."""

    name: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def check(self, point: object, *, lost: bool = False, false: bool = False, wrong: str = "", tried: int = 1) -> None:
        """One point was tried: a confirmed close lost, a close that nobody confirmed, or something else wrong."""
        self.tried += tried
        self.lost += [f"{point}"] * lost
        self.false += [f"{point}"] * false
        self.wrong += [f"{point}: {wrong}"] if wrong else []

    def each(self, points: list[T], run: Callable[[T], R]) -> list[R]:
        """Run every point, some at a time, in the order of the points."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(run, points))


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Iterator[Family]:
    """The row of this test, named by the first line of its docstring. It fails where something was lost, false or wrong."""
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
    terminalreporter.write_line("\n" + "\n".join(lines))
    if config.getoption("--table"):
        readme = HERE / "README.md"
        text = readme.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        table = "\n".join([before + BEGIN, *lines, END]) + rest.partition(END)[2]
        readme.write_text(table, encoding="utf-8")


def compiled(source: Path, folder: Path) -> Path:
    """A preload library, made from its source."""
    library = folder / f"{source.stem}.so"
    strict = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *strict, "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """Starts stations in milliseconds, whose calls `faultpoint.c` can fail."""
    folder = tmp_path_factory.mktemp("forge")
    with contextlib.closing(Forge(folder, compiled(HERE / "faultpoint.c", folder))) as forge:
        yield forge
