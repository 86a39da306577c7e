"""The configuration file: TOML text to settings, and every problem with file, line, key and cure. Reads files only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli

from rufusd import settings
from rufusd.settings import Settings, Wrong, shown

MAX_SIZE = 65536  # bytes; the shipped example, mostly comments, has about 6,000
_KEY = re.compile(r"""ror-[^\s"',:;]+""", re.I)  # a key may stand anywhere in a broken file; no message repeats one


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong (or, as a warning, perhaps not meant) in the configuration, and where."""

    file: str
    line: int
    key: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        """`FILE:LINE: KEY: what is wrong, what was expected`."""
        mark = "warning: " if self.warning else ""
        return _KEY.sub("ror-…", f"{self.file}:{self.line}: {self.key}: {mark}{self.text}")


@dataclass(frozen=True)
class Loaded:
    """What a file gave: settings where no problem is an error, and all problems in the order of their lines."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(path: str, *, key_needed: bool = True) -> Loaded:
    """Read a configuration file. Raises nothing: what is wrong is in the answer.

    Without `key_needed` the API key is not looked at: a command that calls nobody needs none.
    """
    found: list[tuple[int, str, str, bool]] = []  # line, key, text, whether a warning
    result = None
    try:
        tree, lines, broken = _parse(_read(path))
        found += [(line, "syntax", text, False) for line, text in broken]
        built, wrong = _build(tree, Path(path).parent, key_needed)
        if broken:  # what seems to be missing may stand in a broken line
            wrong = [(key, text) for key, text in wrong if not text.startswith("is missing")]
        where = _Lines(lines)
        found += [(where.of(key), key, text, False) for key, text in wrong]
        if built and not found:
            found += [(where.of(key), key, text, True) for key, text in settings.warnings(built)]
            result = built
    except Wrong as error:
        found.append((1, "file", str(error), False))
    return Loaded(result, tuple(Problem(path, *problem) for problem in sorted(found)))


def _read(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_SIZE + 1)
    except OSError as error:
        cure = {FileNotFoundError: "copy the example there and fill it in", IsADirectoryError: "expected a file"}.get(
            type(error), "run this as root, or as the user that rufusd runs as"
        )
        raise Wrong(f"cannot be read: {error.strerror}; {cure}") from None
    except ValueError:
        raise Wrong("has a name that no file can have") from None
    if len(raw) > MAX_SIZE:
        raise Wrong(f"is larger than {MAX_SIZE} bytes; expected a configuration, which is short")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Wrong(
            f"is not UTF-8 text (first in line {line}); save it as UTF-8, without accents if in doubt"
        ) from None


def _parse(lines: list[str]) -> tuple[dict[str, Any], list[str], list[tuple[int, str]]]:
    """The TOML tree, the lines that gave it, and what is not TOML.

    A broken line is told and passed over, so that one run shows all of them.
    """
    broken: list[tuple[int, str]] = []
    while True:
        try:
            return tomli.loads("\n".join(lines)), lines, broken
        except (ValueError, RecursionError) as error:
            place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            number = min(int(place[1]), len(lines)) if place else len(lines)
            reason = str(error).split(" (at ")[0] if isinstance(error, tomli.TOMLDecodeError) else "Cannot be read"
            broken.append((number, f'{reason}; expected lines such as hold_time = 3 or name = "10K"'))
            line = lines[number - 1].strip()
            if not place or not line or line.startswith("[") or len(broken) > 20:
                return {}, [], broken  # what follows cannot be told apart from the consequences
            lines = [*lines[: number - 1], "", *lines[number:]]


class _Lines:
    """Finds the line of a key by parsing beginnings of the file: exact in every spelling that TOML allows."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._parses = 1000  # a bound on the work for one hostile file

    def of(self, key: str) -> int:
        """The line, from 1, on which a key (`button.pin`) or table (`button`) is given; else its table's; else 1."""
        whole = self._beginning(len(self._lines))[1]
        path = [key] if key in whole else key.split(".", 1)  # a name in quotes may have dots of its own
        while path:
            low, high = 0, len(self._lines) + 1
            while low < high:  # the shortest beginning that parses and holds the key
                middle = (low + high) // 2
                if _holds(self._beginning(middle)[1], path):
                    high = middle
                else:
                    low = middle + 1
            if 0 < low <= len(self._lines):
                return self._beginning(low - 1)[0] + 1  # a value of many lines begins behind the last whole beginning
            path.pop()
        return 1

    def _beginning(self, count: int) -> tuple[int, dict[str, Any]]:
        """The longest beginning of at most `count` lines that parses: its length and tree."""
        while count > 0 and self._parses > 0:
            self._parses -= 1
            try:
                return count, tomli.loads("\n".join(self._lines[:count]))
            except (ValueError, RecursionError):
                count -= 1  # in the middle of a value of many lines
        return 0, {}


def _holds(tree: Any, path: list[str]) -> bool:
    for name in path:
        tree = tree[0] if isinstance(tree, list) and tree else tree
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name]
    return True


def _build(tree: dict[str, Any], folder: Path, key_needed: bool) -> tuple[Settings | None, list[tuple[str, str]]]:
    """Settings from a TOML tree, and (key, what is wrong) for every problem."""
    wrong = list(_unknown(tree))
    parts: dict[str, Any] = {}
    for name, table in settings.TABLES.items():
        given = tree.get(name, {})
        if not isinstance(given, dict):
            what = shown(given) if name != "api" else "is no table"  # perhaps the key, which no message repeats
            wrong.append((name, f"{what}; expected a table, [{name}] on a line of its own"))
        elif name in tree or name not in settings.OPTIONAL:
            values: dict[str, Any] = {}
            for field in fields(table):
                try:
                    if field.name in given:
                        values[field.name] = field.metadata["check"](given[field.name])
                    elif field.default is MISSING:
                        raise Wrong("is missing; it has no default")
                except Wrong as error:
                    wrong.append((f"{name}.{field.name}", str(error)))
                    values[field.name] = None  # conflicts() passes over it
            parts[name] = table(**values)
    if key_needed and "api" in parts:
        try:
            parts["api"] = replace(parts["api"], key=_key(parts["api"], tree.get("api", {}), folder))
        except Wrong as error:
            wrong.append(("api.key_file" if parts["api"].key_file else "api.key", str(error)))
        try:
            parts["api"] = replace(parts["api"], ca_file=_ca_file(parts["api"], folder))
        except Wrong as error:
            wrong.append(("api.ca_file", str(error)))
    elif not key_needed:
        wrong = [item for item in wrong if not item[0].startswith("api.key")]
    wrong += settings.conflicts(parts)
    return (None if wrong else Settings(**parts)), wrong


def _key(api: settings.Api, given: dict[str, Any], folder: Path) -> str:
    """The key from the one place that has it: `api.key`, `api.key_file`, or the systemd credential `api_key`."""
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""), "api_key")
    has_credential = "CREDENTIALS_DIRECTORY" in os.environ and os.path.exists(credential)  # Path's own may raise
    places = [name for name in ("key", "key_file") if name in given] + ["credential"] * has_credential
    if not places:
        raise Wrong("is missing; expected exactly one of api.key, api.key_file, or a systemd credential named api_key "
                    "(which only the service itself is given)")  # fmt: skip
    if len(places) > 1:
        raise Wrong(f"is given {len(places)} times ({', '.join(places)}); expected exactly one of api.key, "
                    "api.key_file, or a systemd credential named api_key")  # fmt: skip
    if places == ["key"]:
        return api.key
    if places == ["key_file"] and api.key_file is None:
        return ""  # what is wrong with it is told already
    file = credential if has_credential else folder / (api.key_file or "")
    try:
        with open(file, "rb") as opened:
            text = opened.read(8192).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise Wrong(f"cannot be read ({getattr(error, 'strerror', None) or 'no such name'}); expected a file holding "
                    "just the key, readable by the user that rufusd runs as") from None  # fmt: skip
    return settings.account_key(text.rstrip("\r\n"))


def _ca_file(api: settings.Api, folder: Path) -> str | None:
    """The path of the certificates, which are good to be used."""
    if not api.ca_file:
        return None
    import ssl

    file = str(folder / api.ca_file)
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise Wrong("cannot be read, or holds no certificate; expected a file of certificates in PEM form") from None
    return file


def _unknown(tree: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every table and key that does not exist, with the nearest one that does."""
    import difflib  # here, since a right file never needs it

    known = [f"{name}.{field.name}" for name, table in settings.TABLES.items() for field in fields(table)]
    for name, given in tree.items():
        if name not in settings.TABLES:
            near = difflib.get_close_matches(name, settings.TABLES, 1)
            home = [key for key in known if key.endswith(f".{name}")]
            hint = f"; did you mean [{near[0]}]?" if near else f"; did you mean {home[0]}?" if home else ""
            yield name, ("there is no such table" if isinstance(given, dict) else "there is no such key here") + hint
        elif isinstance(given, dict):
            for key in given:
                if f"{name}.{key}" not in known:
                    near = [other for other in known if other.endswith(f".{key}")]  # right key, wrong table
                    near = difflib.get_close_matches(f"{name}.{key}", known, 1, 0.8) or near
                    yield f"{name}.{key}", "there is no such key" + (f"; did you mean {near[0]}?" if near else "")
