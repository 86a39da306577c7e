"""The configuration file: TOML text to settings, and every problem with file, line, key and cure. Reads files only."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli

from rufusd.core import settings
from rufusd.core.settings import InvalidValue, Settings, describe
from rufusd.core.words import Message, _

MAX_LINE = 8192  # characters; the longest that has a use, a key's, has about 4,100
MAX_SIZE = 65536  # bytes; the shipped example, mostly comments, has about 6,000
_KEY = re.compile(r"""ror-[^\s"',:;]+""", re.I)  # a key may stand anywhere in a broken file; no message repeats one
_MAY_READ = _(
    "a person reads it with sudo, as in `sudo rufusd check`; the service needs "
    "`sudo chown root:rufusd {path}` and `sudo chmod 640 {path}`"
)
_CURES = {
    errno.ENOENT: _("make one with `sudo rufusd configure --config {path}`, or copy the example there and fill it in"),
    errno.EISDIR: _("expected a file"),
    errno.ENXIO: _("expected a file"),  # a socket
    **dict.fromkeys((errno.EACCES, errno.EPERM), _MAY_READ),
}
_ELSE = _("check its path")
_NO_END = _("this last line has no line end: was the file cut short? Press Enter at its end, and save it")
_HEAD = re.compile(r"[^\w\n\"'#=\[\uff3b]*[\[\uff3b]")  # with what an editor may have put before or in place of it
_OFF = re.compile(r"\s*#[#\s]*(?:\[\s*([\w-]+)\s*\]\s*(?:#.*)?|([\w-]+)\s*=.*)")  # a head or a key, commented out
# What can hold a line's end without being one, and what a value can be open by. What has no end runs to the file's.
_TOKEN = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?(?:\"{3,5}|\Z)|'{3}.*?(?:'{3,5}|\Z)|"(?:[^"\\\n]|\\[^\n])*"|'[^'\n]*'|\#[^\n]*|[][{}\n]""",
    re.S,
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong (or, as a warning, perhaps not meant) in the configuration, and where."""

    file: str
    line: int
    key: str
    text: Message
    warning: bool = False

    @property
    def words(self) -> Message:
        """`FILE:LINE: KEY: what is wrong, what was expected`: one line, which shows no key, in whichever language."""
        parts = {"file": self.file, "line": self.line, "key": self.key[:80], "text": self.text}
        form = _("{file}:{line}: {key}: warning: {text}") if self.warning else _("{file}:{line}: {key}: {text}")
        return form.with_parts(**parts).map_texts(_shown)

    def __str__(self) -> str:
        """The same in English."""
        return str(self.words)


def _shown(text: str) -> str:
    return _KEY.sub("ror-…", "".join(c if c.isprintable() else "\ufffd" for c in text))


@dataclass(frozen=True)
class Loaded:
    """What a file gave: settings where no problem is an error, and all problems in the order of their lines."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    files: tuple[tuple[str, object], ...] = ()  # what it was read from, each with its `stamp` before that
    outline: tuple[str, ...] = ()  # `reader`, `reader.pin`, in the file's order; `#reader` where it is commented out
    end: int = 0  # the number of the last line that is not blank,
    last: int = 0  # what tells this line from others,
    ended: bool = True  # and whether the file has a line end behind it


def lost(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What one outline has and a later one lacks, as if the file had been cut short: tables, or the last one's end.

    What has been commented out since is not lost: so a person takes it away. The key may move to another place.
    """
    gone = [name for name in before if name[0] != "#" and name not in now]
    gone = [name for name in gone if now.count(f"#{name}") <= before.count(f"#{name}")]
    last = next((name for name in reversed(now) if name in settings.TABLES), "")
    tail: list[str] = []
    for name in reversed([name for name in before if name.startswith(f"{last}.")]):
        if name not in gone:
            break
        if name not in ("api.key", "api.key_file"):
            tail.insert(0, name)
    return [name for name in gone if name in settings.TABLES] or tail


def cut_short(path: str, before: Loaded, now: Loaded) -> Message | None:
    """Why a file that has just been saved may not be all that was meant; None where nothing says so.

    A card that is full and an upload that stalls leave the file's beginning, which is still TOML.
    """
    gone = lost(before.outline, now.outline)
    if now.last == before.last:  # which is the end of the file
        gone = [name for name in gone if name in settings.TABLES]
    if gone:
        names = ", ".join(f"[{name}]" if name in settings.TABLES else name for name in gone)
        why = _("{names} was in force and is gone from it", names=names)
    elif not now.ended and now.last != before.last:
        why = _("its last line, {line}, has no line end", line=now.end)
    else:
        return None
    return _(
        "{path} may have been cut short: {why}. The configuration before it stays in force. Save the whole file again. "
        "If the file is right as it is, run `sudo systemctl reload rufusd`",
        **{"path": path, "why": why},
    )


def stamp(path: str) -> object:
    """What changes when a file is written, replaced, or given other rights; None where there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def hidden(path: str) -> bool:
    """Whether a file may be there that this user may not read."""
    try:
        os.stat(path)
    except PermissionError:  # its folder is
        return True
    except OSError:
        return False
    return not os.access(path, os.R_OK, effective_ids=True)


def load(path: str, *, key_needed: bool = True, text: str | None = None) -> Loaded:
    """Read a configuration file. Raises nothing: what is wrong is in the answer.

    Without `key_needed` the API key is not looked at: a command that calls nobody needs none. A `text` is judged as
    what the file is going to be.
    """
    found: list[tuple[int, str, Message, bool]] = []  # line, key, text, whether a warning
    result = None
    files = [(path, stamp(path))]
    outline: tuple[str, ...] = ()
    end, last, ended = 0, 0, True
    try:
        given = _read(path) if text is None else text.split("\n")
        end = max((number for number, line in enumerate(given, 1) if line.strip()), default=0)
        last, ended = hash(given[end - 1].strip()), not given[-1]
        tree, lines, broken = _parse(given)
        api = tree.get("api")
        key_file = api.get("key_file") if isinstance(api, dict) else None
        if isinstance(key_file, str):
            files.append((name := str(Path(path).parent / key_file), stamp(name)))
        found += [(line, "syntax", text, False) for line, text in broken]
        built, wrong = _build(tree, Path(path).parent, key_needed)
        if broken:  # what seems to be missing may stand in a broken line
            wrong = [(key, text) for key, text in wrong if not text.startswith("is missing")]
        places = _places(lines)
        outline = _outline(lines, places)
        found += [(_line(places, key), key, text, False) for key, text in wrong]
        if built and not found:
            found += [(_line(places, key), key, text, True) for key, text in settings.warnings(built)]
            if key_needed and not settings.is_loopback(built.api.url):  # a stand-in's key is nobody's secret
                found += [(_line(places, key), key, text, True) for key, text in _exposed(path, built.api, tree)]
            if not ended:
                found.append((len(given), "file", _NO_END, True))
            result = built
    except InvalidValue as error:
        found.append((1, "file", error.args[0], False))
    problems = (Problem(path, line, key, text.map_texts(_shown), warning) for line, key, text, warning in sorted(found))
    return Loaded(result, tuple(problems), tuple(files), outline, end, last, ended)


def _line(places: Mapping[str, int], key: str) -> int:
    """Where a key is given; else where its table is; else the first line."""
    return places.get(key) or places.get(key.partition(".")[0]) or 1


def _content(path: str | Path, most: int) -> bytes:
    """The first bytes of a file. Raises OSError, ValueError, or InvalidValue where there is no file to read."""
    # A pipe that nobody writes would hold up its opening for ever, and a device its reading.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidValue(_("is a pipe or a device; expected a file"))
        return file.read(most) or b""  # some of /proc's have nothing yet


def _read(path: str) -> list[str]:
    try:
        raw = _content(path, MAX_SIZE + 1)
    except OSError as error:
        why, cure = _(os.strerror(error.errno or 0).lower()), _CURES.get(error.errno or 0, _ELSE).with_parts(path=path)
        raise InvalidValue(_("cannot be read: {why}; {cure}", why=why, cure=cure)) from None
    except InvalidValue:
        raise
    except ValueError:
        raise InvalidValue(_("has a name that no file can have")) from None
    if len(raw) > MAX_SIZE:
        raise InvalidValue(_("is larger than {most} bytes; expected a configuration, which is short", most=MAX_SIZE))
    return _decoded(raw).replace("\r\n", "\n").split("\n")


def _decoded(raw: bytes) -> str:
    """The text of a file. Raises InvalidValue where it is not UTF-8; it may begin with a BOM."""
    # Each letter of UTF-16 has two bytes, of which one is 0 in nearly every letter of ours.
    even, odd = raw[:200:2], raw[1:200:2]
    high, low = sorted((even.count(0), odd.count(0)))
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or (low > len(odd) // 2 and high < len(odd) // 4):
        raise InvalidValue(_("is saved as UTF-16, which some editors call Unicode; save it as UTF-8"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InvalidValue(
            _("is not UTF-8 text (first in line {line}); save it as UTF-8, without accents if in doubt", line=line)
        ) from None


@dataclass(frozen=True)
class _Statement:
    """The lines, from 0, of a table's head, of a key with its value, or of nothing. What has no end has `end` None."""

    start: int
    end: int | None
    head: bool


def _statements(lines: list[str], first: int = 0) -> Iterator[_Statement]:
    """Where each statement begins and ends: exact where the file is TOML, a guess where it is not."""
    text, place, line = "\n".join(lines[first:]) + "\n", 0, first
    while place < len(text):
        head, start, depth = bool(_HEAD.match(text, place)), line, 0
        while True:
            token = _TOKEN.search(text, place)
            place = token.end() if token else len(text)
            line += token[0].count("\n") if token else 0
            if not token or (token[0] == "\n" and (depth <= 0 or head)):
                break
            depth += (token[0] in "[{") - (token[0] in "]}")
        yield _Statement(start, line if token else None, head)


def _parse(lines: list[str]) -> tuple[dict[str, Any], list[str], list[tuple[int, Message]]]:
    """The TOML tree, the lines that gave it, and what is not TOML.

    What is broken is told and passed over, so that one run shows all of it; behind a broken head, its whole table is.
    """
    # tomli 2.0.1, Debian 12's, takes half a minute for one key of 30,000 parts.
    long = [n for n, line in enumerate(lines, 1) if len(line) > MAX_LINE and not line.lstrip().startswith("#")]
    broken = [(n, _("is longer than {most} characters; expected a short line", most=MAX_LINE)) for n in long]
    lines = ["" if n in long else line for n, line in enumerate(lines, 1)]
    first = 0  # what is before it, is TOML
    while True:
        try:
            return tomli.loads("\n".join(lines) + "\n"), lines, broken
        except (ValueError, RecursionError) as error:
            place = re.search(r"\(at line (\d+), column", str(error))
            number = min(int(place[1]), len(lines)) - 1 if place else -1
            statements = _statements(lines, first)
            for culprit in statements:  # without a place, it has no end, or is beyond tomli's means
                if culprit.end is None or (number < culprit.end if place else _tree(_of(culprit, lines)) is None):
                    break
            end = culprit.end
            if not place or end is None:
                number = culprit.start  # the end of the file, where tomli stopped, tells nobody anything
            row, why = _syntax(error, culprit, _of(culprit, lines))
            broken.append((number + 1 if row is None else culprit.start + row + 1, why))
            if len(broken) > 20 or not any(lines[culprit.start : end]):
                return {}, [], broken  # what follows cannot be told apart from the consequences
            if culprit.head:
                first = next((each.start for each in statements if each.head), len(lines))
            else:
                first = culprit.start + 1 if end is None else end
            lines = [*lines[: culprit.start], *[""] * (first - culprit.start), *lines[first:]]


def _of(statement: _Statement, lines: list[str]) -> str:
    return "\n".join(lines[statement.start : statement.end])


def _tree(text: str) -> dict[str, Any] | None:
    """The tree of a statement by itself; None if it is no TOML."""
    try:
        return tomli.loads(text)
    except (ValueError, RecursionError):
        return None


def _syntax(error: Exception, culprit: _Statement, text: str) -> tuple[int | None, Message]:
    """What a technician can do about an error of tomli's, most of whose words tell only who knows TOML.

    And in which of the text's lines, from 0, that is, where it is known better than by tomli.
    """
    said = str(error).split(" (at ")[0]
    if not isinstance(error, tomli.TOMLDecodeError):
        return None, _("is nested too deeply, or has a number that is too long; remove it")
    if re.search("twice|overwrite|already|immutable|mutate|redefine|Duplicate", said):
        twice = _("this table is given twice; keep one") if culprit.head else _("this key is given twice; keep one")
        return None, twice
    if "\0" in text:
        nul = _("has NUL characters, as a damaged card leaves them; write the line anew, or copy the file again")
        return None, nul
    if "\r" in text:
        return None, _("has a lone CR, which is no line end; save the file with the line ends of Unix or of Windows")
    # What stands in quotes, or behind a "#", may be any letter; the rest of the file is plain.
    plain = _TOKEN.sub(lambda found: found[0] if found[0] in "][{}\n" else " " * len(found[0]), text)
    rows = plain.split("\n")
    for row, line in enumerate(rows if culprit.end else rows[:1]):  # what has no end has the rest of the file in it
        if odd := settings.oddity(line.replace("\t", " ")):
            return row, odd
    if comma := re.fullmatch(r"\s*[\w.-]+\s*=\s*([+-]?\d+),(\d+)\s*", plain):
        better = f"{comma[1]}.{comma[2]}"
        return None, _("has a decimal comma; expected a point: write {better}", better=better)
    if culprit.end is None:
        return None, _("what begins here has no end; expected a closing quote or bracket")
    if "character '\\n'" in said or said == 'Expected "\'"':
        return None, _("the text has no end; expected a closing quote")
    if illegal := re.search("(?:Illegal|invalid) character (.*)", said):
        return None, _("has the character {character}, which cannot stand there; remove it", character=illegal[1])
    return None, _('{why}; expected lines such as hold_time = 3 or name = "10K"', why=_(said))


def _places(lines: list[str]) -> dict[str, int]:
    """The line, from 1, on which each table (`button`) and key (`button.pin`) begins; in every spelling of TOML's."""
    found: dict[str, int] = {}
    table: tuple[str, ...] = ()
    for statement in _statements(lines):
        names = list(_names(_tree(_of(statement, lines)), () if statement.head else table))
        for each in names:
            found.setdefault(".".join(each), statement.start + 1)
        if statement.head and names:
            table = names[-1]
    return found


def _outline(lines: list[str], places: Mapping[str, int]) -> tuple[str, ...]:
    """The tables and keys in the order of their lines, those that are commented out among them."""
    found = [(line, name) for name, line in places.items()]
    heads = {line: name for name, line in places.items() if name in settings.TABLES}
    table = ""
    for number, line in enumerate(lines, 1):
        table = heads.get(number, table)
        if off := _OFF.fullmatch(line):
            table = off[1] or table
            found.append((number, f"#{table}" if off[1] else f"#{table}.{off[2]}"))
    return tuple(name for _, name in sorted(found, key=lambda each: each[0]))


def _names(tree: Any, inside: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The tables and keys of a tree: no deeper than a table's keys, since nothing there is known."""
    tree = tree[0] if isinstance(tree, list) and tree else tree
    for name in tree if isinstance(tree, dict) and len(inside) < 2 else ():
        yield (*inside, name)
        yield from _names(tree[name], (*inside, name))


def _build(tree: dict[str, Any], folder: Path, key_needed: bool) -> tuple[Settings | None, list[tuple[str, Message]]]:
    """Settings from a TOML tree, and (key, what is wrong) for every problem."""
    wrong = list(_unknown(tree))
    parts: dict[str, Any] = {}
    for name, table in settings.TABLES.items():
        given = tree.get(name, {})
        if not isinstance(given, dict):
            what = describe(given) if name != "api" else _("is no table")  # perhaps the key, which no message repeats
            wrong.append((name, _("{value}; expected a table, [{name}] on a line of its own", value=what, name=name)))
        elif name in tree or name not in settings.OPTIONAL:
            values: dict[str, Any] = {}
            for field in fields(table):
                try:
                    if field.name in given:
                        values[field.name] = field.metadata["check"](given[field.name])
                    elif field.default is MISSING:
                        raise InvalidValue(
                            _("is missing, and has no default; put a line with it under [{name}]", name=name)
                        )
                except InvalidValue as error:
                    wrong.append((f"{name}.{field.name}", error.args[0]))
                    values[field.name] = None  # conflicts() passes over it
            parts[name] = table(**values)
    if key_needed and "api" in parts:
        try:
            parts["api"] = replace(parts["api"], key=_key(parts["api"], tree.get("api", {}), folder))
        except InvalidValue as error:
            wrong.append(("api.key_file" if parts["api"].key_file else "api.key", error.args[0]))
        try:
            parts["api"] = replace(parts["api"], ca_file=_ca_file(parts["api"], folder))
        except InvalidValue as error:
            wrong.append(("api.ca_file", error.args[0]))
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
        raise InvalidValue(
            _(
                "is missing; expected exactly one of api.key, api.key_file, or a systemd credential named api_key "
                "(which only the service itself is given)"
            )
        )
    if len(places) > 1:
        raise InvalidValue(
            _(
                "is given {count} times ({places}); expected exactly one of api.key, api.key_file, or a systemd "
                "credential named api_key",
                **{"count": len(places), "places": ", ".join(places)},
            )
        )
    if places == ["key"]:
        return api.key
    if places == ["key_file"] and api.key_file is None:
        return ""  # what is wrong with it is told already
    file = credential if has_credential else folder / (api.key_file or "")
    try:
        text = _decoded(_content(file, 8192))
    except InvalidValue:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise InvalidValue(
                _("cannot be read (permission denied); {cure}", cure=_MAY_READ.with_parts(path=str(file)))
            ) from None
        number = getattr(error, "errno", None)
        raise InvalidValue(
            _(
                "cannot be read ({why}); expected a file holding just the key, readable by the user that rufusd runs "
                "as",
                why=_(os.strerror(number).lower()) if number else _("no such name"),
            )
        ) from None
    return settings.account_key(text.strip(" \t\r\n"))


def _exposed(path: str, api: settings.Api, tree: Mapping[str, Any]) -> Iterator[tuple[str, Message]]:
    """That every user of this machine can read the file with the key."""
    given = tree.get("api", {})
    for name, file in (("key", Path(path)), ("key_file", Path(path).parent / (api.key_file or ""))):
        if name in given and _open_to_all(file.absolute()):
            yield (
                f"api.{name}",
                _(
                    "every user of this machine can read the key in {file}: "
                    "`sudo chown root:rufusd {file}` and `sudo chmod 640 {file}`",
                    file=str(file),
                ),
            )


def _open_to_all(file: Path) -> bool:
    """Whether others may read a file, and pass through all folders to it."""
    try:
        real = file.resolve()
        return bool(os.stat(real).st_mode & 0o004) and all(os.stat(each).st_mode & 0o001 for each in real.parents)
    except (OSError, RuntimeError):  # a link in a circle, before Python 3.13
        return False


def _ca_file(api: settings.Api, folder: Path) -> str | None:
    """The path of the certificates, which are good to be used."""
    if not api.ca_file:
        return None
    import ssl

    file = str(folder / api.ca_file)
    try:
        _content(file, 1)  # OpenSSL would wait for a pipe's writer
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise InvalidValue(
            _("cannot be read, or holds no certificate; expected a file of certificates in PEM form")
        ) from None
    return file


def _unknown(tree: dict[str, Any]) -> Iterator[tuple[str, Message]]:
    """Every table and key that does not exist, with the nearest one that does."""
    import difflib  # here, since a right file never needs it

    known = [f"{name}.{field.name}" for name, table in settings.TABLES.items() for field in fields(table)]
    for name, given in tree.items():
        if name not in settings.TABLES:
            near = difflib.get_close_matches(name, settings.TABLES, 1)
            home = [key for key in known if key.endswith(f".{name}")]
            meant = f"[{near[0]}]" if near else home[0] if home else ""
            if odd := settings.oddity(name):
                yield name, _("there is no such name: it {odd}", odd=odd)
            elif isinstance(given, dict):
                yield name, _("there is no such table{hint}", hint=_hint(meant))
            else:
                yield name, _("there is no such key here{hint}", hint=_hint(meant))
        elif isinstance(given, dict):
            for key in given:
                if odd := settings.oddity(key):
                    yield f"{name}.{key}", _("there is no such name: it {odd}", odd=odd)
                elif f"{name}.{key}" not in known:
                    near = [other for other in known if other.endswith(f".{key}")]  # right key, wrong table
                    near = difflib.get_close_matches(f"{name}.{key}", known, 1, 0.8) or near
                    yield f"{name}.{key}", _("there is no such key{hint}", hint=_hint(near[0] if near else ""))


def _hint(meant: str) -> str:
    return _("; did you mean {key}?", key=meant) if meant else ""
