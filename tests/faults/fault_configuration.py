"""Bad configurations: the example file, mutated in thousands of ways, before real commands and a running daemon.

Promise 1: with a wrong configuration nothing is opened, called or written. Promise 5: every refusal has its file, line,
key and cure. Promise 6: the key is in none of them. All mutations are the same in every run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Callable

import fakegpio
import pytest
import tomli
from fakegpio import FakeChip
from families import Family, compiled
from forked import Forge
from stations import Station, until

from rufusd.adapters.config import MAX_SIZE, load
from rufusd.core.settings import TABLES
from rufusd.training.sandbox import Sandbox

HERE = Path(__file__).parent
KEY = "ror-7d41c09be25f83a6c1f0"
TOKEN = "6E05" + "A7" * 28 + "DB4C"
KEYS = [f"{name}.{field.name}" for name, table in TABLES.items() for field in fields(table)]
SOON = 2.0  # seconds that any answer may take
# What a technician is told to do, or where to look, in any of the sentences.
CURE = re.compile(
    r"expected|did you mean|there is no such|remove|keep one|save |write|copy|put |check|run this|were the|set pull|"
    r"is it the whole|there is neither|makes it"
)
_numbers = itertools.count()


def example(*, whole: bool) -> str:
    """The shipped file with key and token filled in; `whole` with everything uncommented that can stand together."""
    text = (HERE.parent.parent / "config" / "config.toml").read_text(encoding="utf-8")
    text = text.replace("PUT-YOUR-KEY-HERE", KEY).replace("PUT-THE-TOKEN-OF-YOUR-SESSION-HERE", TOKEN)
    if whole:
        text = re.sub(r"^# (?=\[\w+\]$|(?!key_file|ca_file)\w+ = )", "", text, flags=re.M)
    return text


FILLED, WHOLE = example(whole=False), example(whole=True)
BARE = "".join(line + "\n" for line in WHOLE.splitlines() if line and not line.startswith("#"))
LINES = BARE.splitlines()
GIVEN = [key for key in KEYS if key not in ("api.key_file", "api.ca_file")]  # which name files that are not there


@dataclass(frozen=True)
class Mutation:
    """A file. `valid` and the `place` (line and key of a problem) where they are known beforehand."""

    name: str
    content: bytes
    valid: bool | None = None
    place: tuple[int, str] | None = None


def mutation(name: str, text: str, valid: bool | None = None, place: tuple[int, str] | None = None) -> Mutation:
    return Mutation(name, text.encode("utf-8", "surrogateescape"), valid, place)


def line_of(key: str) -> int:
    """Where a key, or a table, stands in BARE, from 1."""
    table, _, name = key.partition(".")
    head = LINES.index(f"[{table}]")
    return 1 + (next(n for n in range(head, len(LINES)) if LINES[n].startswith(f"{name} = ")) if name else head)


def replaced(number: int, *new: str) -> str:
    """BARE with other lines in one's place."""
    return "\n".join([*LINES[: number - 1], *new, *LINES[number:]]) + "\n"


# -- what is mutated, and how

SECONDS = {
    "api.timeout": (0.1, 120), "button.bounce_time": (0, 5), "button.hold_time": (0.05, 60),
    "button.stuck_time": (0.1, 3600), "reader.bounce_time": (0, 5), "reader.arm_time": (0.05, 86400),
    "reader.settle_time": (0.05, 86400), "close.grace": (0, 3600), "close.quiet": (0, 3600),
    "close.max_wait": (0, 86400), "retry.first": (0.01, 3600), "retry.max": (0.01, 86400),
}  # fmt: skip
PINS = {"5": 5, '"GPIO6"': 6, '"BOARD33"': 13, '"J8:35"': 19, '"WPI29"': 21, "0x0d": 13, '"bcm12"': 12}
NO_PINS = ["28", '"GPIO28"', '"BOARD1"', '"BOARD99"', '"J8:2"', '"17 "', '"GPIO"', "17.0", "28.5", '"٣"']
WORDS = {"active": ("low", "high"), "running": ("low", "high"), "pull": ("up", "down", "none")}
NOTHING = [  # what no key takes
    "true", "[]", '["17"]', "{}", "{pin = 17}", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "nan", "inf",
    "-inf", "-1", "1e300", "9" * 100, "1e999", "0x" + "F" * 200, '""', '" "', '"\\u0000"', "'''\n'''", '"\\u001b[2J"',
]  # fmt: skip
NO_TOML = ["3s", "3,5", "yes", "“17”", "", "'3", '"3', '"""3', "[3", "{a = 3", "\\", "9" * 5000]


def values() -> Iterator[Mutation]:
    """Every key with every wrong type, at its bounds and just beyond them; and with what is no TOML at all."""
    for key in GIVEN:
        line, name = line_of(key), key.partition(".")[2]

        def with_value(
            value: str, valid: bool | None, place: str = "", key: str = key, name: str = name, line: int = line
        ) -> Mutation:
            where = (line, place or key) if valid is False else None
            return mutation(f"{key} = {value[:30]}", replaced(line, f"{name} = {value}".rstrip()), valid, where)

        yield from (with_value(value, False) for value in NOTHING)
        yield from (with_value(value, False, "syntax") for value in NO_TOML)
        if key in SECONDS:
            least, most = SECONDS[key]
            for value in (math.nextafter(least, -1), math.nextafter(most, math.inf), most + 1):
                yield with_value(repr(float(value)), False)
            for value in (least, most, (least + most) / 2):
                yield with_value(repr(float(value)), None)  # within bounds by itself; perhaps not beside another
        if name == "pin":
            for text in NO_PINS:
                yield with_value(text, False)
            for text in PINS:
                yield with_value(text, True)
        for word in WORDS.get(name, ()):
            yield with_value(f'"{word}"', True)
            yield with_value(f'"{word.upper()}"', False)


def misspelt() -> Iterator[Mutation]:
    """Every key and table with a letter lost, doubled, swapped, and other slips."""
    for key in [*TABLES, *GIVEN]:
        table, _, name = key.partition(".")
        name, line = name or table, line_of(key)
        slips = [
            name[:-1],
            name[0] + name,
            name[1] + name[0] + name[2:],
            name.upper(),
            name + "s",
            name + "-",
            f"{name} ",
        ]
        slips += [f"{name}\n", f"{name}\x9b", "", "x" * 500, f"{table}.{name}", f"{name}\u0661"]
        for slip in slips:
            written = slip if re.fullmatch("[A-Za-z_-]+", slip) else json.dumps(slip)
            told = "".join(
                c if c.isprintable() else "\ufffd" for c in (slip if name == table else f"{table}.{slip}")[:80]
            )
            if key in TABLES:
                yield mutation(f"[{written}]", replaced(line, f"[{written}]"), False, (line, told))
            else:
                new = written + LINES[line - 1][len(name) :]
                yield mutation(f"{key} as {written}", replaced(line, new), False, (line, told))


def encodings() -> Iterator[Mutation]:
    """Other encodings, marks, line ends; NUL and bytes that are no text in every line."""
    text = WHOLE.replace("FINISH-10K", "Łódź finiš")
    for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1250", "iso8859-2", "mac_latin2", "cp037", "utf-7"):
        yield Mutation(code, text.encode(code, "replace"), False if code != "utf-7" else None)
    for base in (FILLED, WHOLE, BARE):
        yield mutation("BOM", "\ufeff" + base, True)
        yield mutation("two BOMs", "\ufeff\ufeff" + base, False, (1, "syntax"))
        yield mutation("CRLF", base.replace("\n", "\r\n"), True)
        yield mutation("BOM, CRLF", "\ufeff" + base.replace("\n", "\r\n"), True)
        yield mutation("CR", base.replace("\n", "\r"), False)
        yield mutation("LFCR", base.replace("\n", "\n\r"), False)
        yield mutation("CRCRLF", base.replace("\n", "\r\r\n"), True)  # as a careless copy makes them; harmless
        yield mutation("no end", base.rstrip("\n"), True)
        yield mutation("form feeds", base.replace("\n", "\f\n"), False)
    chance = random.Random(9)
    for number, line in enumerate(LINES, 1):
        for what, name in (("\udcb3", "a byte"), ("\udcc5", "half a letter"), ("\udced\udca0\udc80", "a surrogate")):
            yield mutation(f"{name} in line {number}", replaced(number, line + what), False, (1, "file"))
        for what, name in (
            ("\0", "NUL"),
            ("\x07", "BEL"),
            ("\x7f", "DEL"),
            ("\r", "CR"),
            ("\ufeff", "BOM"),
            ("\xa0", "a hard space"),
        ):
            place = chance.choice((0, chance.randrange(len(line) + 1), len(line)))
            new = line[:place] + what + line[place:]
            yield mutation(f"{name} at {place} in line {number}", replaced(number, new))
    yield mutation("zeros for its end", BARE[:300] + "\0" * 4096, False)
    yield mutation("zeros", "\0" * 4096, False)


def doubled() -> Iterator[Mutation]:
    """Every key twice, every table twice, and defined anew in every form that TOML has."""
    for key in GIVEN:
        table, _, name = key.partition(".")
        line = line_of(key)
        given = LINES[line - 1]
        value = given.partition(" = ")[2]
        yield mutation(f"{key} twice", replaced(line, given, given), False, (line + 1, "syntax"))
        for form in (
            f"{table}.{name} = {value}\n" + BARE,
            BARE + f"[{table}]\n{given}\n",
            BARE + f"[{table}.{name}]\n",
        ):
            yield mutation(f"{key} again: {form[-30:]}", form, False)
    end = BARE.count("\n") + 1
    for table in TABLES:
        yield mutation(f"[{table}] twice", BARE + f"[{table}]\n", False, (end, "syntax"))
        line = line_of(table)
        yield mutation(f"[[{table}]] once", replaced(line, f"[[{table}]]"), False, (line, table))
        for form in (
            f"[[{table}]]\n",
            f"[{table}.{table}]\n",
            f"[.{table}]\n",
            f"[{table}\n",
            f"{table}]\n",
            f"[[{table}]\n",
        ):
            yield mutation(f"{form!r} behind", BARE + form, False)
            yield mutation(f"{form!r} for it", replaced(line, form[:-1]), False)
        for form in (
            f"{table} = 3\n",
            f"{table} = {{}}\n",
            f"{table} = []\n",
            f'{table} = "{KEY}"\n',
            f"{table}.x.y = 3\n",
        ):
            yield mutation(f"{form!r} before", form + BARE, False)
    yield mutation("[] twice", BARE + "[]\n[]\n", False)


def truncated() -> Iterator[Mutation]:
    """Cut at every byte; with its comments, which make it long, at every fiftieth."""
    for size in range(len(BARE)):
        yield mutation(f"{size} bytes", BARE[:size])
    for size in range(0, len(WHOLE), 50):
        yield mutation(f"{size} bytes of the whole", WHOLE[:size])


def flipped() -> Iterator[Mutation]:
    """Bytes changed at random; one, or some."""
    chance = random.Random(10)
    for number in range(300):
        content = bytearray((BARE if number % 4 else FILLED).encode())
        for _ in range(chance.choice((1, 1, 1, 2, 5, 30))):
            content[chance.randrange(len(content))] ^= (
                1 << chance.randrange(8) if number % 2 else chance.randrange(1, 256)
            )
        yield Mutation(f"bytes flipped, number {number}", bytes(content))


def lines_moved() -> Iterator[Mutation]:
    """Every line deleted, doubled, swapped with another, joined with the next, broken in two."""
    chance = random.Random(11)
    lines = LINES
    for number, line in enumerate(lines, 1):
        yield mutation(f"without line {number}", replaced(number))
        yield mutation(f"line {number} twice", replaced(number, line, line), False, (number + 1, "syntax"))
        yield mutation(f"line {number} broken", replaced(number, line[: len(line) // 2], line[len(line) // 2 :]))
        yield mutation(f"line {number} joined", replaced(number, line).replace(line + "\n", line + " ", 1))
        for _ in range(2):
            other = chance.randrange(len(lines))
            moved = list(lines)
            moved[number - 1], moved[other] = moved[other], moved[number - 1]
            yield mutation(f"lines {number} and {other + 1} swapped", "\n".join(moved) + "\n")
    for number in range(40):
        yield mutation(f"lines shuffled, number {number}", "\n".join(chance.sample(lines, len(lines))) + "\n", None)


def monsters() -> Iterator[Mutation]:
    """Huge, deep and long; nothing at all."""
    end = BARE.count("\n") + 1
    wrong = 'pull = "3s"\n'
    for name, text in (
        ("5,000 keys", "".join(f"key{number} = 1\n" for number in range(5000))),
        ("3,000 tables", "".join(f"[table{number}]\n" for number in range(3000))),
        ("a long list", "x = [\n" + "1,\n" * 20_000 + "]\n"),
        ("a long text", 'x = """\n' + "1,\n" * 20_000 + '"""\n'),
        ("a long text without an end", 'x = """\n' + "1,\n" * 20_000),
        ("a long list without an end", "x = [\n" + "1,\n" * 20_000),
        ("quotes", '"' * 60_000),
        ("single quotes", "'" * 60_001),
        ("lines of quotes", '"\n' * 25_000),
        ("lines of three quotes", '"""\n' * 15_000),
        ("lines of brackets", "[\n" * 25_000),
        ("lines of no sense", "no sense\n" * 5000),
        ("backslashes", 'x = "' + "\\" * 60_000),
        ("a long key", "x" * 60_000 + " = 1\n"),
        ("long keys", "".join(f"{'settle_time' * 20}{number} = 1\n" for number in range(250))),
        ("a long number", "x = " + "9" * 60_000 + "\n"),
        *((f"deep {opened!r}, in a short line", f"x = {opened * (8000 // len(opened))}\n") for opened in ("[", "{a=")),
        ("a deep key in a short line", "x" + ".a" * 4000 + " = 1\n"),
        *((f"deep {opened!r}", f"x = {opened * (60_000 // len(opened))}\n") for opened in ("[", "{a=", "[{a=", "-")),
        ("deep and closed", "x = " + "[" * 25_000 + "]" * 25_000 + "\n"),
        ("a deep key", "x" + ".a" * 25_000 + " = 1\n"),
        ("a deep head", "[x" + ".a" * 25_000 + "]\n"),
        ("deep, but readable", "x = " + "[" * 90 + "]" * 90 + "\n"),
    ):
        yield mutation(name, BARE + text, False)
        yield mutation(f"{name} before a wrong pull", BARE.replace("[led]\n", f"{text}[led]\n{wrong}"), False)
    yield mutation("as large as can be", FILLED.ljust(MAX_SIZE, "\n"), True)
    yield mutation("too large", FILLED.ljust(MAX_SIZE + 1, "\n"), False, (1, "file"))
    yield mutation("100 MB", "#" * 100_000_000, False, (1, "file"))
    yield mutation("nothing", "", False, (1, "api.key"))
    yield mutation("a line end", "\n", False, (1, "api.key"))
    yield mutation("wrong behind all", BARE + wrong, False, (end, "buzzer.pull"))
    for text in (
        "{}",
        "null",
        "<html>\n</html>",
        "---\napi:\n  key: x\n",
        "\x7fELF\0\0",
        "PK\x03\x04\0",
        "%PDF-1.4\n",
        "#!/bin/sh\n",
    ):
        yield mutation(f"{text[:9]!r}", text, False)


# -- one mutation before the real commands


class Trials:
    """Runs `rufusd check` and `rufusd run` on files, and judges what they said and did."""

    def __init__(self, folder: Path, family: Family, forge: Forge, gpio: Path) -> None:
        self.folder, self.family, self.forge, self.gpio = folder, family, forge, gpio
        self._valid = itertools.count()
        self._lock = threading.Lock()

    def each(self, mutations: Iterator[Mutation]) -> None:
        """All of them, some at a time."""
        self.family.each(list(mutations), self.one)

    def one(self, each: Mutation) -> list[tuple[int, str]]:
        """One file; the lines and keys that were told."""
        with self.place() as path:
            path.write_bytes(each.content)
            return self.judge(path, each)

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """A folder for one configuration."""
        folder = self.folder / f"{next(_numbers)}"
        folder.mkdir()
        yield folder / "config.toml"
        shutil.rmtree(folder)

    def judge(self, path: Path, each: Mutation) -> list[tuple[int, str]]:
        """What is wrong with what the commands say of a file goes into the family's row."""
        wrong: list[str] = []
        found: list[tuple[int, str]] = []
        try:
            checked = self.command("check", path)
            if checked.returncode == 0:
                wrong += self.is_valid(path, each, checked)
            else:
                found = problems(checked.stderr, path, each, wrong)
                ran = self.command("run", path)
                if (ran.returncode, ran.stderr, ran.stdout) != (78, checked.stderr, ""):
                    wrong.append(f"run ends with {ran.returncode}: {ran.stderr[:300]}")
                wrong += [] if checked.returncode == 78 else [f"check ends with {checked.returncode}"]
                wrong += ["it is valid, and refused"] if each.valid else []
                wrong += left_behind(path.parent)
        except subprocess.TimeoutExpired:
            wrong.append("it hangs")
        self.family.check(each.name, wrong="; ".join(wrong))
        return found

    def command(self, command: str, path: Path) -> subprocess.CompletedProcess[str]:
        """Run a command; best of ten, and where the machine is busy by as much as `--version` is then slower."""
        for _ in range(10):
            began = time.monotonic()
            ended = self.forge.run(arguments(command, path), env=self.env(path))
            took = time.monotonic() - began
            if took < SOON or took < SOON * (self.version() / 0.01):
                return ended
        raise subprocess.TimeoutExpired(command, SOON)

    def version(self) -> float:
        """How long the least of all commands takes now: 0.01 s where nothing else runs."""
        began = time.monotonic()
        self.forge.run([sys.executable, "-m", "rufusd", "--version"])
        return time.monotonic() - began

    def env(self, path: Path) -> dict[str, str]:
        chip = FakeChip(path.parent / "chip", self.gpio).env()
        return {**chip, "WITNESS": str(path.parent / "witness")}

    def is_valid(self, path: Path, each: Mutation, checked: subprocess.CompletedProcess[str]) -> list[str]:
        """What was accepted: no more than what was written, and of some that the daemon watches."""
        wrong = ["it is invalid, and accepted"] if each.valid is False else []
        if not re.fullmatch(r".*: good; .*`rufusd close` will close .+\n", checked.stdout):
            wrong.append(f"check does not say what it will do: {checked.stdout!r}")
        wrong += [f"no warning: {line}" for line in checked.stderr.splitlines() if ": warning: " not in line]
        problems(checked.stderr, path, each, wrong)
        wrong += came_out_otherwise(path, each.content) + left_behind(path.parent)
        with self._lock:
            number = next(self._valid)
        return wrong if number % 10 else wrong + self.watches(path)

    def watches(self, path: Path) -> list[str]:
        """The daemon starts with it, opens the pins, and closes nothing."""
        log = path.with_name("log")
        with open(log, "wb") as file, open(os.devnull, "rb") as nothing:
            daemon = self.forge.start(
                arguments("run", path),
                stdin=nothing.fileno(),
                stdout=file.fileno(),
                stderr=file.fileno(),
                env=self.env(path),
            )
        try:
            until(lambda: "watching session=" in log.read_text(encoding="utf-8") or daemon.poll() is not None)
            daemon.send_signal(signal.SIGTERM)
            status = daemon.wait()
        finally:
            daemon.kill()
        said, seen = log.read_text(encoding="utf-8"), witnessed(path.parent)
        settings = load(str(path)).settings
        pins = bool(settings and (settings.button or settings.reader or settings.led or settings.buzzer))
        wrong = [f"the daemon ends with {status}: {said}"] if status else []
        wrong += ["the pins are not opened"] if pins and "gpio" not in seen else []
        wrong += ["RUFUS is called"] if "network connect" in seen else []
        wrong += ["a close"] if list((path.parent / "state").rglob("*.json")) else []
        return wrong + leaks(said + seen)


def arguments(command: str, path: Path) -> list[str]:
    folders = ["--state-dir", str(path.parent / "state"), "--runtime-dir", str(path.parent / "run")]
    return [sys.executable, "-m", "rufusd", command, "--config", str(path), *(folders if command != "check" else [])]


def witnessed(folder: Path) -> str:
    """What was asked of the world."""
    file = folder / "witness"
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def left_behind(folder: Path) -> list[str]:
    """What a command that only refuses, or only checks, has opened, called, logged as a defect or written."""
    seen = witnessed(folder)
    made = [path.name for path in folder.iterdir() if path.name not in ("config.toml", "chip", "key", "witness")]
    made += [path.name for path in (folder / "chip").glob("*") if path.name != "mounts"]  # which the test put there
    return ([f"it asked for {seen!r}"] if seen else []) + ([f"it left {made}"] if made else [])


def leaks(said: str) -> list[str]:
    """Whether a text has the key, or a good part of it; or a traceback."""
    wrong = ["the key is told"] if KEY[4:14] in said or KEY[14:] in said else []
    return wrong + [f"a defect: {said[-500:]}"] * ("Traceback" in said or "a defect in rufusd" in said)


def problems(said: str, path: Path, each: Mutation, wrong: list[str]) -> list[tuple[int, str]]:
    """The (line, key) of every problem told; what is not as it should be goes into `wrong`."""
    found = []
    wrong += leaks(said)
    for line in said.splitlines():
        match = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (.*?): (.+)", line)
        if not match or not line.isprintable():
            wrong.append(f"no FILE:LINE: KEY: in {line!r}")
            continue
        number, key, text = int(match[1]), match[2], match[3]
        found.append((number, key))
        known = key in KEYS or key in TABLES or key in ("syntax", "file") or text.startswith("there is no such")
        if not known or not CURE.search(text) or len(line) > 600 + len(str(path)):
            wrong.append(f"a poor message: {line!r}")
        if not 1 <= number <= each.content.count(b"\n") + 1:
            wrong.append(f"no such line: {line!r}")
    if each.place and each.place not in found:
        wrong.append(f"{each.place} is not told: {said!r}")
    if not said and each.valid is False:
        wrong.append("nothing is told")
    return found


def came_out_otherwise(path: Path, content: bytes) -> list[str]:
    """Every value in the settings that is not the one written, and every one written that is not there."""
    tree = tomli.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    settings = load(str(path)).settings
    wrong = [] if settings else ["check accepts what load refuses"]
    for table, given in tree.items():
        for name, value in given.items():
            came: Any = getattr(getattr(settings, table, None), name, None)
            if name == "pin":
                right = came == PINS.get(json.dumps(value), value if isinstance(value, int) else f"{value}"[4:])
            else:
                right = came == value and isinstance(came, float) == (f"{table}.{name}" in SECONDS)
            wrong += [] if right else [f"{table}.{name} = {value!r} came out as {came!r}"]
    return wrong


@pytest.fixture(scope="module")
def gpio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakegpio.build(tmp_path_factory.mktemp("gpio"))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, gpio: Path) -> Iterator[Forge]:
    """Starts stations whose pins, network and syslog are watched."""
    folder = tmp_path_factory.mktemp("forge")
    with contextlib.closing(Forge(folder, compiled(HERE / "witness.c", folder), gpio)) as forge:
        yield forge


@pytest.fixture
def trials(tmp_path: Path, family: Family, watched: Forge, gpio: Path) -> Trials:
    return Trials(tmp_path, family, watched, gpio)


@pytest.mark.parametrize("kind", [values, misspelt, encodings, doubled, truncated, flipped, lines_moved, monsters])
def test_the_example_mutated(trials: Trials, family: Family, kind: Callable[[], Iterator[Mutation]]) -> None:
    """The example, mutated: refused with line, key and cure, and nothing opened, called or written; or as written."""
    assert kind.__doc__
    family.name = f"Configuration: {kind.__doc__.rstrip('.')[0].lower()}{kind.__doc__.rstrip('.')[1:]}"
    trials.each(kind())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder into which other users can look, which pytest's own do not allow."""
    with tempfile.TemporaryDirectory(prefix="rufusd-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def of_another_user(command: str, path: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command as nobody, where the tests run as root; all is imported before, since nobody may not read it."""
    asks = (
        "import io, os, sys; from rufusd.commands import cli; "
        "said = sys.stdout, sys.stderr; sys.stdout = sys.stderr = io.StringIO();"
        "cli.main(['check', *sys.argv[4:6]]); sys.stdout, sys.stderr = said; os.geteuid() or os.setuid(65534);"
        "sys.exit(cli.main(sys.argv[3:]))"
    )
    words = [sys.executable, "-c", asks, *arguments(command, path)[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env})


def test_no_file_in_its_place(trials: Trials) -> None:
    """Configuration: a folder, pipe, socket, device, link to nowhere, or no key, in its place or its key's."""

    def bound(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))

    def linked(to: str) -> tuple[str, Callable[[Path], Any]]:
        return f"a link to {to[:40]}", lambda path: path.symlink_to(to)

    devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/proc/self/mem"]
    makers: list[tuple[str, Callable[[Path], Any]]] = [
        ("a folder", Path.mkdir),
        ("a pipe", os.mkfifo),
        ("a socket", bound),
        ("nothing", lambda path: None),  # noqa: ARG005 - there is none
        *map(linked, ["gone", *devices]),
    ]
    for what, make in [*makers, *map(linked, ["config.toml", "config.toml/x", "n" * 255])]:
        with trials.place() as path:
            make(path)
            trials.judge(path, Mutation(what, b"", False, (1, "file")))
    text = BARE.replace(LINES[line_of("api.key") - 1], 'key_file = "key"')
    contents = [b"", b"\n", b"\xff\xfe\0" * 9, b"k" * 5000, b"\x7fELF\0", bytes(100_000_000), f"{KEY} x".encode()]
    wrong = [(f"{each[:9]!r}", lambda path, each=each: path.write_bytes(each)) for each in contents]
    for what, make in [*makers, linked("key"), *wrong]:
        with trials.place() as path:
            path.write_text(text, encoding="utf-8")
            make(path.with_name("key"))
            trials.judge(path, Mutation(f"the key's file: {what}", text.encode(), False, (2, "api.key_file")))
    for end in ("", "\n", "\r\n"):
        with trials.place() as path:
            path.write_text(text, encoding="utf-8")
            path.with_name("key").write_text(KEY + end)
            trials.judge(path, Mutation("the key's file is right", text.encode(), True))


def test_no_right_to_read(trials: Trials, family: Family, open_folder: Path) -> None:
    """Configuration: the user that asks may not read it, its folder or its key."""
    text = BARE.replace(LINES[line_of("api.key") - 1], 'key_file = "key"')
    for what, locked in (("config.toml", (1, "file")), (".", (1, "file")), ("key", (2, "api.key_file"))):
        folder = open_folder / f"{next(_numbers)}"
        folder.mkdir(mode=0o755)
        path = folder / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.with_name("key").write_text(KEY)
        (folder / what).chmod(0)
        for command in ("check", "run"):
            wrong: list[str] = []
            ended = of_another_user(command, path, trials.env(path) if what != "." else {})
            problems(ended.stderr, path, Mutation(what, text.encode(), False, locked), wrong)
            wrong += [] if ended.returncode == 78 else [f"it ends with {ended.returncode}"]
            family.check(f"{command} without {what}", wrong="; ".join(wrong))
        (folder / what).chmod(0o755)


def slips() -> list[tuple[int, str, Mutation]]:
    """Mutations of one line each that have one known place: what can be combined."""
    found = []
    for each in itertools.chain(values(), misspelt()):
        lines = each.content.decode().splitlines()
        # Two openings of a long text would be one, of all that is between them.
        if each.place and len(lines) == len(LINES) and '"""' not in each.name:
            number = each.place[0]
            if [*lines[: number - 1], *lines[number:]] == [*LINES[: number - 1], *LINES[number:]]:
                found.append((number, lines[number - 1], each))
    return found


def test_many_at_once(trials: Trials, family: Family) -> None:
    """Configuration: two to six mistakes at once: all are told, each with its line, and nothing else is."""
    chance = random.Random(12)
    all_slips = slips()
    heads = [number for number, line in enumerate(LINES, 1) if line.startswith("[")]

    def run(seed: int) -> None:
        some = {each[0]: each for each in random.Random(seed).sample(all_slips, 2 + seed % 5)}
        lines = list(LINES)
        for number, line, _ in some.values():
            lines[number - 1] = line
        content = ("\n".join(lines) + "\n").encode()
        # A table by another name is itself the mistake; what stands in it belongs to nothing that is known.
        renamed = [number for number in some if number in heads]
        expected = {
            each.place
            for number, _, each in some.values()
            if number in heads or each.place[1] == "syntax" or max(h for h in heads if h < number) not in renamed
        }
        row = Family("")
        told = set(
            Trials(trials.folder, row, trials.forge, trials.gpio).one(Mutation(f"{sorted(some)}", content, False))
        )
        wrong = row.wrong + [f"not told: {expected - told}"] * bool(expected - told)
        singly = set().union(*(alone(each) for _, _, each in some.values()))
        wrong += [f"told besides: {told - singly}"] * bool(told - singly)
        family.check(f"lines {sorted(some)}, seed {seed}", wrong="; ".join(wrong))

    def alone(each: Mutation) -> set[tuple[int, str]]:
        with trials.place() as path:
            path.write_bytes(each.content)
            said = "\n".join(map(str, load(str(path)).problems))
            return set(problems(said, path, each, []))

    family.each([chance.randrange(1 << 30) for _ in range(250)], run)


@pytest.mark.parametrize("pending", [False, True], ids=["armed", "while a close is pending"])
def test_reload(tmp_path: Path, family: Family, watched: Forge, gpio: Path, pending: bool) -> None:
    """Configuration: a daemon that reloads it broken keeps pins, closes and the old one, and says so."""
    family.name += ", with a close pending all the time" * pending
    chance = random.Random(13)
    kinds = (values, misspelt, encodings, doubled, truncated, flipped, lines_moved, monsters)
    bad = [each for kind in kinds for each in chance.sample([one for one in kind() if one.valid is not True], 8)]
    chip = FakeChip(tmp_path / "chip", gpio)
    chip.drive(17, True)
    with Sandbox() as rufus:
        token = rufus.add_session("FINISH-10K")
        api = {"key": KEY, "url": rufus.url}
        rufus.keys["READ_WRITE"] = KEY
        close = {"quiet": 0 if not pending else 3600, "max_wait": 3600}
        station = Station(tmp_path / "s", api=api, session={"token": token}, close=close)
        station.launcher = watched
        witness = tmp_path / "witness"
        station.start(command="run", env={**chip.env(), "WITNESS": str(witness)})
        try:
            until(lambda: station.view()["indicator"] == "armed")
            if pending:
                station.command("close")
                until(lambda: station.view()["indicator"] == "pending")
            before = station.view()
            opened = witness.read_text().count("gpio")
            for number, each in enumerate(bad):
                station.config.write_bytes(each.content)
                found = load(str(station.config))
                if found.settings:
                    continue
                refused = station.logged().count("the old one stays in force")
                station.send(signal.SIGHUP)
                until(lambda refused=refused: station.logged().count("the old one stays in force") > refused)  # type: ignore[misc]
                expected = [str(problem) for problem in found.problems]
                until(lambda expected=expected: station.view()["config"]["problems"] == expected)  # type: ignore[misc]
                view, wrong = station.view(), leaks(json.dumps(station.view()))
                for part in ("session", "button", "reader", "closes", "daemon"):
                    now, then = (json.dumps(sight[part], sort_keys=True) for sight in (view, before))
                    if part != "closes" and now != then:
                        wrong.append(f"{part} was {then}, is {now}")
                wrong += [] if view["config"]["valid"] is False else ["it is said to be valid"]
                wrong += [] if any("`sudo rufusd check`" in fault for fault in view["faults"]) else ["it is no fault"]
                wrong += ["the pins were opened again"] if witness.read_text().count("gpio") != opened else []
                wrong += ["it shows no fault"] if "fault" not in view["indicator"] else []
                if number % 8 == 0:
                    said = station.command("status")
                    wrong += leaks(said.stdout + said.stderr)
                    wrong += [] if expected[0] in said.stdout + said.stderr else ["`status` does not tell the problems"]
                lost = station.records("pending") != [token] * pending
                called = any(call.method == "PATCH" for call in rufus.calls)
                family.check(
                    each.name, lost=lost and pending, false=called or (lost and not pending), wrong="; ".join(wrong)
                )
            if not pending:
                chip.drive(17, False)
                until(lambda: station.view()["indicator"] == "let_go")
                chip.drive(17, True)
                until(lambda: station.records("closed") == [token])
                assert rufus.session(token).closes == 1
        finally:
            station.stop()
        assert leaks(station.logged()) == []
