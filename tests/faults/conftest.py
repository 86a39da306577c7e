"""What the fault suite begins with, and the table that it leaves: tests/faults/README.md, made by the run itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, TypeVar

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # stations.py, servers.py

HERE = Path(__file__).parent
BEGIN, END = "<!-- the last run -->", "<!-- end of the last run -->"
AT_ONCE = 4  # stations that run side by side: they mostly wait

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

    def check(self, point: object, *, lost: bool = False, false: bool = False, wrong: str = "") -> None:
        """One point was tried: a confirmed close lost, a close that nobody confirmed, or something else wrong."""
        self.tried += 1
        self.lost += [f"{point}"] * lost
        self.false += [f"{point}"] * false
        self.wrong += [f"{point}: {wrong}"] if wrong else []

    def each(self, points: list[T], run: Callable[[T], R]) -> list[R]:
        """Run every point, some at a time, in the order of the points."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(run, points))


@pytest.fixture(scope="session")
def table() -> Iterator[list[Family]]:
    """The rows of all families; written into the README when the run ends."""
    rows: list[Family] = []
    yield rows
    lines = ["| family | points tried | lost | false closes | otherwise wrong | seconds |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.tried} | {len(row.lost)} | {len(row.false)} | {len(row.wrong)} | {row.seconds:.0f} |"
        for row in rows
    ]
    sys.stderr.write("\n" + "\n".join(lines) + "\n")
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    readme.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.partition(END)[2], encoding="utf-8")


@pytest.fixture
def family(table: list[Family], request: pytest.FixtureRequest) -> Iterator[Family]:
    """The row of this test, named by the first line of its docstring; the verdict is passed when the test ends."""
    row = Family(request.function.__doc__.split("\n")[0].rstrip("."))
    table.append(row)
    began = time.monotonic()
    yield row
    row.seconds = time.monotonic() - began


@pytest.fixture(scope="session")
def faultpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preload library that fails a program at any one of its calls."""
    library = tmp_path_factory.mktemp("faultpoint") / "faultpoint.so"
    flags: list[Any] = [
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        library,
        HERE / "faultpoint.c",
        "-ldl",
    ]
    subprocess.run(["cc", *flags], check=True, timeout=60)
    return library
