"""A family of faults: what was tried, and what came of it; a row of the table in README.md."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, TypeVar

HERE = Path(__file__).parent
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


def compiled(source: Path, folder: Path) -> Path:
    """A preload library, made from its source."""
    library = folder / f"{source.stem}.so"
    strict = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *strict, "-o", library, source, "-ldl"], check=True, timeout=60)
    return library
