"""The configuration's text with a value changed and all else kept, and its safe saving. The only import of tomlkit.

What stands there commented out, as in the example file, is put in force where it stands, and commented out again. Each
way to write a change is tried on the text, and counts where it changed just what it was to change.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tomlkit

_HEAD = re.compile(r"\s*(#[#\s]*)?\[\s*([\w-]+)\s*\]\s*(?:#.*)?")  # of a table, in force or commented out


class NotEditable(Exception):
    """The text is no TOML, or is written in a way that only a person can change."""


def tree(text: str) -> dict[str, Any]:
    """What the text says. Raises NotEditable where it is no TOML."""
    try:
        found: dict[str, Any] = tomlkit.parse(text).unwrap()
    except (ValueError, KeyError, RecursionError):
        raise NotEditable from None
    return found


def changed(text: str, table: str, key: str, value: Any) -> str:
    """The text with one value set. Raises NotEditable."""
    wanted = tree(text)
    inside = wanted.setdefault(table, {})
    if not isinstance(inside, dict):
        raise NotEditable
    ways: Iterable[Callable[..., str]] = (_replaced,) if key in inside else (_uncommented, _inserted, _replaced)
    inside[key] = value
    return _first(wanted, ways, text, table, key, value)


def without(text: str, table: str, key: str = "") -> str:
    """The text with a table, or one key of it, commented out. Raises NotEditable."""
    wanted = tree(text)
    del (wanted[table] if key else wanted)[key or table]
    return _first(wanted, (_commented, _removed), text, table, key)


def _first(wanted: dict[str, Any], ways: Iterable[Callable[..., str]], *change: Any) -> str:
    for way in ways:
        with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError, NotEditable):
            if tree(text := way(*change)) == wanted:
                return text
    raise NotEditable


def _section(lines: list[str], table: str) -> tuple[int, int]:
    """The lines of a table, from its head, in force or else commented out, to the next one. Raises LookupError."""
    heads = [(n, match) for n, line in enumerate(lines) if (match := _HEAD.fullmatch(line))]
    named = [(n, bool(match[1])) for n, match in heads if match[2] == table]
    start = min(named, key=lambda each: each[1])[0] if named else -1
    if start < 0:
        raise LookupError
    return start, next((n for n, _ in heads if n > start), len(lines))


def _replaced(text: str, table: str, key: str, value: Any) -> str:
    document: Any = tomlkit.parse(text)
    if table not in document:
        document[table] = tomlkit.table()
    document[table][key] = value
    return tomlkit.dumps(document)


def _uncommented(text: str, table: str, key: str, value: Any) -> str:
    lines = text.split("\n")
    start, end = _section(lines, table)
    place = next((n for n in range(start, end) if re.match(rf"#[#\s]*{key}\s*=", lines[n])), None)
    if place is None:
        raise LookupError
    for n in (start, place):
        lines[n] = lines[n].lstrip("# ")
    return _replaced("\n".join(lines), table, key, value)


def _inserted(text: str, table: str, key: str, value: Any) -> str:
    line, lines = f"{key} = {tomlkit.item(value).as_string()}", text.split("\n")
    try:
        start, end = _section(lines, table)
    except LookupError:
        return f"{text.rstrip()}\n\n[{table}]\n{line}\n"
    lines[start] = lines[start].lstrip("# ")
    last = max(n for n in range(start, end) if n == start or _counts(lines[n]))
    return "\n".join([*lines[: last + 1], line, *lines[last + 1 :]])


def _commented(text: str, table: str, key: str) -> str:
    lines = text.split("\n")
    start, end = _section(lines, table)
    for n in range(start, end):
        if _counts(lines[n]) and re.match(rf"\s*{key}\s*=" if key else "", lines[n]):
            lines[n] = f"# {lines[n]}"
    return "\n".join(lines)


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _removed(text: str, table: str, key: str) -> str:
    document: Any = tomlkit.parse(text)
    (document[table] if key else document).remove(key or table)
    return tomlkit.dumps(document)


def save(path: Path, text: str, *, keep: bool = False) -> Path | None:
    """Replace a file at once and durably: whoever looks, whenever, finds the old one or the new one. Raises OSError.

    Its owner and mode stay; a new one is for root to write and the group rufusd, where there is one, to read. With
    `keep` the old file stays, too, under the name that is returned.
    """
    path = path.resolve()  # a link stays one
    opened, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    kept = None
    try:
        with open(opened, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            try:
                before = path.stat()
                os.fchown(opened, before.st_uid, before.st_gid)
                os.fchmod(opened, before.st_mode & 0o7777)
            except FileNotFoundError:
                os.fchmod(opened, 0o640)
                if os.geteuid() == 0:
                    with contextlib.suppress(KeyError):
                        os.fchown(opened, 0, grp.getgrnam("rufusd").gr_gid)
            os.fsync(opened)
        kept = _second_name(path) if keep else None
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return kept


def _second_name(path: Path) -> Path:
    """Give a file one more name, which no file has yet."""
    number = 1
    while True:
        name = path.with_name(f"{path.name}.old{number}")
        with contextlib.suppress(FileExistsError):
            os.link(path, name)
            return name
        number += 1
