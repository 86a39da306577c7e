"""What `rufusd watch` shows: rows for a terminal, or a line for each change. Pure: frames in, text out.

Between two frames of one input a level either stayed or has moved; a column of the trace counts the moves of half a
second, so that a contact that chatters, or a cable that is loose, is seen as the number that it is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rufusd.core.indicator import Indication, light
from rufusd.core.words import Message, _, _n
from rufusd.text import report

COLUMN = 0.5  # seconds
COLUMNS = 60  # half a minute
PACE = 0.1  # seconds between two pictures: a blip of the LED is in one of them
INPUTS = ("button", "reader")
LEVEL = {"low": _("low"), "high": _("high"), None: "?"}
FULL = _("rufusd is watched by as many as it lets in: end one of the others")
STRANGE = _(
    "the program that answers in the runtime folder is not rufusd, or is another version of it: "
    "`sudo systemctl restart rufusd`, which loses no close"
)
SILENT = _(
    "rufusd says nothing: it is held up, by a slow disk or a busy machine; where it stays so, "
    "`sudo systemctl restart rufusd`, which loses no close"
)
SILENCE = 1.5  # seconds without a frame
PASSING = ("sending", "waiting")  # phases of an attempt, or of a moment
REFUSED = _("cannot look into {folder} ({why}); run this as root")


@dataclass(frozen=True)
class Column:
    """What a line did in one stretch of time, whose number is its time by `COLUMN`."""

    number: int
    low: bool = False
    high: bool = False
    moves: int = 0

    def joined(self, other: Column) -> Column:
        """Both in one."""
        return replace(self, low=self.low or other.low, high=self.high or other.high, moves=self.moves + other.moves)


@dataclass(frozen=True)
class Seen:
    """All that was seen so far: the last frame, the last status, and for each input its trace, the oldest first."""

    frame: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    traces: Mapping[str, tuple[Column, ...]] = field(default_factory=dict)


def after(seen: Seen, frame: Mapping[str, Any]) -> Seen:
    """One frame more."""
    traces = {}
    for name in INPUTS:
        trace, level = seen.traces.get(name, ()), (frame[name] or {}).get("level")
        if level:
            number = int(frame["at"] / COLUMN)
            if not trace or trace[-1].number != number:
                trace = (*trace[-COLUMNS:], Column(number))
            moved = (seen.frame.get(name) or {}).get("level") not in (None, level)
            trace = (*trace[:-1], trace[-1].joined(Column(number, level == "low", level == "high", int(moved))))
        traces[name] = trace
    return Seen(frame, frame.get("status", seen.status), traces)


@dataclass(frozen=True)
class Glyphs:
    """The characters of the picture; these are in Windows's fonts as well (Microsoft's set WGL4)."""

    high: str = "▀"
    low: str = "▄"
    edge: str = "█"
    on: str = "●"
    off: str = "○"


ASCII = Glyphs("-", "_", "|", "(*)", "( )")


def glyphs(encoding: str) -> Glyphs:
    """Those that a terminal of this encoding can show."""
    try:
        "".join(vars(Glyphs()).values()).encode(encoding)
    except UnicodeEncodeError:
        return ASCII
    return Glyphs()


def absent(*, full: bool, strange: bool = False) -> Message:
    """Why there is no daemon to watch: it does not run, lets nobody in any more, or does not speak as this one does."""
    return STRANGE if strange else FULL if full else report.STOPPED


def picture(
    seen: Seen, now: float, width: int, height: int, away: str, glyphs: Glyphs, translate: Callable[[str], str]
) -> list[str]:
    """The rows, none of them wider than `width`, except by characters that take two cells.

    `now` is on the frames' clock; `away` says why nothing comes, or is empty.
    """
    rows: list[str] = []

    def write(text: str) -> None:
        shown = report.printable(text)
        indent = " " * (len(shown) - len(shown.lstrip()))
        rows.extend(textwrap.wrap(shown, width, subsequent_indent=f"{indent}  ", break_on_hyphens=False) or [""])

    if seen.frame:
        session = seen.status["session"]
        write(f"{session['name'] or translate(report.SESSION):<14} {report.short(session['token'])}")
    if away:
        write(translate(away))
    elif seen.frame:
        shown, since = Indication(seen.frame["indicator"]), seen.frame["shown_for"] + now - seen.frame["at"]
        doing, grace = _doing(seen), seen.frame["grace"]
        if shown is Indication.GRACE and grace is not None:
            doing = _("{doing}, {seconds:.0f} s left", doing=doing, seconds=grace)
        write(f"LED {glyphs.on if _lit(shown, since) else glyphs.off}  {translate(doing)}")
    for name in INPUTS if seen.frame else ():
        if seen.frame[name]:
            write("")
            write(translate(report.TRIGGER[name]) if away else _input(name, seen, rule(name, seen), translate))
            rows.extend(_trace(seen.traces[name], now, width, glyphs, translate))
    if seen.frame and not away:
        status = seen.status
        rest = report.detail_lines(
            {**status, "closes": report.closes_with_age(status["closes"], now - status["written_at"])}, translate
        )
        for text in ["", *rest, *_more(status, translate)] if rest else ():
            write(text)
    write("")
    write(
        translate(
            _(
                "{high} high, {low} low, {edge} moved once, 2 to 9: so often, +: more often. q ends.",
                high=glyphs.high,
                low=glyphs.low,
                edge=glyphs.edge,
            )
        )
    )
    rows = [row[:width] for row in rows]  # one that has no room for its indentation, at the most
    return rows if len(rows) <= height else [*rows[: height - 1], "..."]


def _lit(shown: Indication, since: float) -> bool:
    """Whether the LED is on in this picture. 10 Hz is more than there are pictures: every second one has it."""
    return int(since / PACE) % 2 == 0 if shown is Indication.HOLDING else light(shown, since)


def _doing(seen: Seen) -> Message:
    return report.DOING.get(Indication(seen.frame["indicator"]), _("starting"))


def rule(name: str, seen: Seen) -> Message:
    """An input's state against the rule that counts its seconds, if one does."""
    facts = seen.frame[name]
    state, so_far, of = facts["state"], facts["so_far"], facts["of"]
    if so_far is None or (state in report.NO_MORE and _settled(seen)):
        return _state(name, seen)
    if state == "pressed":
        enough = so_far >= of
        template = _("held {so_far:.1f} s, long enough: let go") if enough else _("held {so_far:.1f} of {of:g} s")
    elif state == "running":
        template = _("running, {so_far:.1f} of {of:g} s until it is armed")
    else:
        template = _("off, {so_far:.1f} of {of:g} s until that closes")
    return template.with_parts(so_far=int(so_far * 10) / 10, of=of)  # 2.99 s is not 3.0 yet


def _state(name: str, seen: Seen) -> Message:
    state = seen.frame[name]["state"]
    words = {"button": report.BUTTON, "reader": report.READER}[name]
    chosen = report.NO_MORE if state in report.NO_MORE and _settled(seen) else words
    return chosen[state].with_parts(**seen.frame[name]) if state in chosen else _("{state}", state=state)


def _settled(seen: Seen) -> bool:
    return report.nothing_to_trigger(seen.status, Indication(seen.frame["indicator"]))


def _input(name: str, seen: Seen, words: str, translate: Callable[[str], str]) -> str:
    return f"{translate(report.TRIGGER[name]):<8} {translate(LEVEL[seen.frame[name]['level']]):<5} {translate(words)}"


def _trace(
    trace: tuple[Column, ...], now: float, width: int, glyphs: Glyphs, translate: Callable[[str], str]
) -> tuple[str, str]:
    """The trace of half a minute, and what is under it; where it is too wide, a column is several."""
    each = -(-COLUMNS // max(1, width - 2))
    last, count = int(now / COLUMN) // each, COLUMNS // each
    columns = {number: Column(number) for number in range(last - count + 1, last + 1)}
    for column in trace:
        number = column.number // each
        if number in columns:
            columns[number] = columns[number].joined(column)
    drawn = "".join(_glyph(column, glyphs) for column in columns.values())
    moves = sum(column.moves for column in columns.values())
    ends = translate(_("{seconds:g} s ago", seconds=COLUMN * COLUMNS)), translate(_("now"))
    middle = translate(_n(moves, "moved once", "moved {n} times")) if moves else ""
    under = f"{ends[0]}{middle:^{max(0, count - len(ends[0]) - len(ends[1]))}}{ends[1]}"
    return f"  {drawn}".rstrip(), f"  {under}"


def _glyph(column: Column, glyphs: Glyphs) -> str:
    if column.moves > 1:
        return str(column.moves) if column.moves < 10 else "+"
    if column.moves:
        return glyphs.edge
    return glyphs.low if column.low else glyphs.high if column.high else " "


def _more(status: Mapping[str, Any], translate: Callable[[str], str]) -> list[str]:
    more = sum(status["more"].values())
    words = _n(more, "and one more; `rufusd status` has all", "and {n} more; `rufusd status` has all")
    return [translate(words)] if more else []


def changes(
    told: Mapping[str, str], seen: Seen, away: str, translate: Callable[[str], str]
) -> tuple[Mapping[str, str], list[str]]:
    """What is to be told that was not: (all that has been told then, the lines that tell it).

    Seconds that go by are no change, nor is one more attempt that comes to the same.
    """
    if away or not seen.frame:
        return {"away": away}, [translate(away)] if away and told.get("away") != away else []
    frame, status = seen.frame, seen.status
    session = status["session"]
    doing = _doing(seen)
    facts: dict[str, tuple[str, str]] = {
        "doing": (doing, f"{session['name'] or translate(report.SESSION):<14} {translate(doing)}")
    }
    for name in INPUTS:
        if frame[name]:
            state = _state(name, seen)
            facts[name] = state, _input(name, seen, state, translate)
        chatter = [column for column in seen.traces[name][:-1] if column.moves > 1]
        if chatter:
            moved = _("{input} moved {n} times in half a second", input=report.TRIGGER[name], n=chatter[-1].moves)
            facts[f"{name} moved"] = str(chatter[-1].number), translate(moved)
    for close in status["closes"]:
        key = f"close {close['token']}"
        text = ": ".join(
            map(str.strip, report.close_lines({**close, "attempts": 0, "next_attempt_in": None}, translate))
        )
        if close["phase"] not in PASSING:
            facts[key] = text, text
        elif key in told:
            facts[key] = told[key], ""
    for fault in status["faults"]:
        facts[f"fault {fault}"] = "", translate(_("fault: {fault}", fault=fault))
    over = [key.partition(" ")[2] for key in told if key.startswith("fault ") and key not in facts]
    new = [text for key, (fact, text) in facts.items() if told.get(key) != fact]
    new += [translate(_("over: {fault}", fault=fault)) for fault in over]
    return {key: fact for key, (fact, _text) in facts.items()}, list(map(report.printable, new))
