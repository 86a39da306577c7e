"""The commands of a document: what stands in its blocks, and in which situation a test is to run them.

A block is fenced, and its line before is `<!-- station: SITUATION -->`. In it, a line that begins with "$ " is a
command, and what follows it is what it prints. There, "…" stands for what differs from station to station: within a
line for some of it, alone on a line for any number of lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """Commands with what each prints. `kind` is "station", or "machine" for what needs a service manager."""

    kind: str
    situation: str
    line: int
    steps: tuple[tuple[str, str], ...]


_BLOCK = re.compile(r"(?:<!-- (\w+): ([^\n]*) -->\n)?```(?:console)?\n(.*?)```", re.DOTALL)


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in its order. Raises ValueError for one that says no situation, or holds no command."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in _BLOCK.finditer(text):
        kind, situation, inside = match.groups()
        before, *steps = re.split(r"^\$ ", inside, flags=re.MULTILINE)
        line = text.count("\n", 0, match.start(3)) + 1
        if not kind or before or not steps:
            raise ValueError(f"{page.name}:{line}: expected <!-- station: SITUATION -->, ```, and commands after $")
        found.append(
            Block(kind, situation, line, tuple((step.partition("\n")[0], step.partition("\n")[2]) for step in steps))
        )
    return found


def fits(printed: str, shown: str) -> bool:
    """Whether what was printed is what the page shows."""
    pattern = ""
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(re.escape(part) for part in line.rstrip().split("…")) + "[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None
