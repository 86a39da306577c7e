"""Draws docs/floors.svg from the program's imports, and writes the table of docs/architecture.md: `make docs`."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from pathlib import Path

from rufusd.core.policy import TRANSITIONS, By

PAGE = Path(__file__).with_name("architecture.md")
SOURCES = Path(__file__).parents[1] / "rufusd"
FLOORS = {  # from top to bottom; floors with the same number share a row
    "training": ("learning and showing, on simulated pins", 0),
    "commands": ("what people type", 1),
    "daemon": ("the loop, and the thread that calls RUFUS", 2),
    "text": ("facts in, lines out: pure", 3),
    "adapters": ("the world, one thing each", 3),
    "core": ("decides, and touches nothing: pure", 4),
}
WIDTH, LEFT, GAP, TOP, ROW, TALL, LINE = 800, 10, 170, 36, 150, 104, 17
# Where arrows run: x of the first one, and the distance to the next.
LANES = {"edge": (24, 88), "text": (190, 50), "between": (346, 52), "adapters": (505, 95)}


def modules(floor: str) -> list[str]:
    """The modules of a floor, and its folders of modules."""
    names = {path.stem for path in (SOURCES / floor).glob("*.py")} - {"__init__"}
    return sorted(names | {f"{path.parent.name}/" for path in (SOURCES / floor).glob("*/__init__.py")})


def imports() -> Counter[tuple[str, str]]:
    """How many modules of one floor import from another one, for each pair of floors."""
    found: set[tuple[str, str, str]] = set()
    for path in SOURCES.rglob("*/*.py"):
        floor = path.relative_to(SOURCES).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            targets = {name.split(".")[1] for name in names if name.startswith("rufusd.")}
            found |= {(floor, target, path.stem) for target in targets - {floor}}
    return Counter((floor, target) for floor, target, _ in found)


def place(floor: str) -> tuple[int, int, int]:
    """Where a floor is drawn: left, top, width."""
    row = FLOORS[floor][1]
    beside = [name for name, (_, other) in FLOORS.items() if other == row]
    wide = (WIDTH - 2 * LEFT - GAP * (len(beside) - 1)) // len(beside)
    return LEFT + beside.index(floor) * (wide + GAP), TOP + row * ROW, wide


def lane(above: str, below: str) -> str:
    """The lane of an arrow: that of a narrow floor at one of its ends; or between the narrow floors; or the edge."""
    if {above, below} & {"text", "adapters"}:
        return below if below != "core" else above
    return "between" if below == "core" else "edge"


def picture() -> str:
    """The SVG's text. Black and white, for paper; an arrow says how many modules of a floor import from another."""
    height = TOP + ROW * max(row for _, row in FLOORS.values()) + TALL + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        "<title>The floors of rufusd, and who imports whom</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="12" fill="#444">The number counts the modules that import. An arrow may '
        "pass behind other floors.</text>",
    ]
    used: Counter[tuple[str, str]] = Counter()
    for (above, below), count in sorted(imports().items(), key=lambda arrow: [*map(list(FLOORS).index, arrow[0])]):
        where = lane(above, below)
        first, step = LANES[where]
        beside = (where, above if where in ("edge", above) else "")  # the arrows that it must not touch
        lines += _arrow(above, below, count, first + step * used[beside])
        used[beside] += 1
    for floor, (what, _) in FLOORS.items():
        x, y, wide = place(floor)
        lines.append(f'<rect x="{x}" y="{y}" width="{wide}" height="{TALL}" rx="6" fill="#f4f4f4" stroke="black"/>')
        lines.append(f'<text x="{x + 12}" y="{y + 22}"><tspan font-weight="bold">{floor}/</tspan> {what}</text>')
        lines += [
            f'<text x="{x + 12}" y="{y + 46 + LINE * number}" font-size="12" font-family="monospace">{words}</text>'
            for number, words in enumerate(textwrap.wrap(", ".join(modules(floor)), (wide - 24) * 10 // 73))
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(above: str, below: str, count: int, x: int) -> list[str]:
    """An arrow down from one floor to another one."""
    start, end = place(above)[1] + TALL, place(below)[1]
    return [
        f'<path d="M{x} {start}V{end}" stroke="#777" fill="none"/>',
        f'<path d="M{x - 4} {end - 8}H{x + 4}L{x} {end}Z" fill="#777"/>',
        f'<text x="{x + 5}" y="{start + 18}" font-size="11" fill="#444">{count} → {below}</text>',
    ]


def table() -> str:
    """The table of transitions. Rows that differ only in who has confirmed the close are one row."""
    rows: dict[tuple[str, str, str], list[By]] = {}
    for (standing, by, what), action in TRANSITIONS.items():
        rows.setdefault((standing.value, what.value, action.value), []).append(by)
    everybody = len(By) - 1  # all but NOBODY
    lines = ["| the close | confirmed by | what happens | what the daemon does |", "|---|---|---|---|"]
    for (standing, what, action), confirmed in rows.items():
        who = "anybody" if len(confirmed) == everybody else "; or ".join(by.value for by in confirmed)
        lines.append(f"| {standing} | {who} | {what} | {action} |")
    return "\n".join(lines)


def page() -> str:
    """The text of docs/architecture.md, with the current table."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition("<!-- transitions -->\n")
    _, end, after = rest.partition("\n<!-- end -->")
    return before + begin + table() + end + after


if __name__ == "__main__":
    PAGE.with_name("floors.svg").write_text(picture(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
