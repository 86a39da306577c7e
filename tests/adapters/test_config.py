"""The configuration file: what is read from it, and every problem with its line, key and cure."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from stations import within

from rufusd.adapters.config import MAX_SIZE, Problem, cut_short, load
from rufusd.core.settings import DOCUMENTED_KEY, DOCUMENTED_TOKEN, TABLES, Button, Output, Reader

KEY = "ror-00112233445566778899"
TOKEN = "6E05" + "A7" * 28 + "DB4C"
EXAMPLE = Path(__file__).parents[2] / "config" / "config.toml"
MINIMAL = f'[api]\nkey = "{KEY}"\n[session]\ntoken = "{TOKEN}"\n[button]\npin = 17\n'
WHOLE = f"""\
# A comment, and a blank line

[api]
key = "{KEY}"
url = "https://rufus.venue/v0/"
ca_file = "venue.pem"
proxy = "http://proxy.venue:3128"
timeout = 2.5
[session]
token = "{TOKEN}"
name = "Łódź półmaraton"
[button]
pin = "BOARD11"
active = "high"
pull = "down"
bounce_time = 0.1
hold_time = 2
stuck_time = 20
[reader]
pin = "GPIO27"
running = "low"
pull = "down"
bounce_time = 0.2
arm_time = 20
settle_time = 60
[close]
grace = 5
quiet = 45
max_wait = 600
[retry]
first = 2
max = 60
[led]
pin = 22
active = "low"
[buzzer]
pin = 23
active = "low"
"""
VALUES = {  # for each key one value that is right, one that is wrong, and what is said of that
    "api.key": (f'"{KEY}"', '"PUT-YOUR-KEY-HERE"', "placeholder"),
    "api.key_file": ('"key"', "3", "expected a text"),
    "api.url": ('"https://rufus.venue"', '"http://rufus.venue"', "unencrypted"),
    "api.ca_file": ('"venue.pem"', '"gone.pem"', "cannot be read, or holds no certificate"),
    "api.proxy": ('"http://p:3128"', '"p:3128"', "expected an HTTP proxy"),
    "api.timeout": ("5", '"5 s"', "expected a number of seconds"),
    "session.token": (f'"{TOKEN}"', '"short"', "8 to 128"),
    "session.name": ('"10K"', "10", "expected a text"),
    "button.pin": ("17", "77", "expected a pin"),
    "button.active": ('"high"', '"on"', 'expected "low" or "high"'),
    "button.pull": ('"none"', '"floating"', 'expected "up" or "down" or "none"'),
    "button.bounce_time": ("0", "-1", "out of bounds"),
    "button.hold_time": ("2.5", "true", "expected a number of seconds"),
    "button.stuck_time": ("60", "1e9", "out of bounds"),
    "reader.pin": ('"J8:13"', '"BOARD1"', "expected a pin"),
    "reader.running": ('"low"', '"yes"', 'expected "high" or "low"'),
    "reader.pull": ('"up"', "1", 'expected "up" or "down" or "none"'),
    "reader.bounce_time": ("5", "5.01", "out of bounds"),
    "reader.arm_time": ("86400", "nan", "out of bounds"),
    "reader.settle_time": ("1", "0", "out of bounds"),
    "close.grace": ("0", "inf", "out of bounds"),
    "close.quiet": ("0.5", "[1]", "expected a number of seconds"),
    "close.max_wait": ("86400", "1979-05-27", "expected a number of seconds"),
    "retry.first": ("0.01", "0", "out of bounds"),
    "retry.max": ("60", "86401", "out of bounds"),
    "led.pin": ("2", '"LED"', "expected a pin"),
    "led.active": ('"low"', "0", 'expected "high" or "low"'),
    "buzzer.pin": ("3", "3.0", "expected a pin"),
    "buzzer.active": ('"high"', "{}", 'expected "high" or "low"'),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("config")
    trustme.CA().cert_pem.write_to_path(str(made / "venue.pem"))
    return made


@pytest.fixture(autouse=True)
def no_credential(monkeypatch):
    """The machine that tests may itself be run by systemd."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def loaded(folder):
    """Writes a configuration, and loads it."""

    def write_and_load(content, **more):
        path = folder / "config.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(str(path), **more)

    return write_and_load


@pytest.fixture
def told(loaded):
    """Loads a configuration that is not right: (line, key) of each error, as a technician finds them."""

    def errors(content, **more):
        found = loaded(content, **more)
        assert found.settings is None
        assert found.problems
        assert not any(problem.warning for problem in found.problems)
        return [(problem.line, problem.key) for problem in found.problems]

    return errors


def tables(**given_):
    """The text of a minimal configuration with other or more keys: `button__pin="17"`."""
    values = {"api.key": f'"{KEY}"', "session.token": f'"{TOKEN}"', "button.pin": "17"}
    values.update({key.replace("__", "."): value for key, value in given_.items()})
    lines = []
    for name in TABLES:
        if any(key.startswith(f"{name}.") and value is not None for key, value in values.items()):
            lines.append(f"[{name}]")
        inside = [(key, value) for key, value in values.items() if key.startswith(f"{name}.") and value is not None]
        lines += [f"{key.partition('.')[2]} = {value}" for key, value in inside]
    return "\n".join(lines) + "\n"


# -- what is right


def test_minimal_configuration(loaded):
    """A key, a token and a pin suffice; all else has its default."""
    found = loaded(MINIMAL)
    assert found.problems == ()
    assert found.settings.api.key == KEY
    assert found.settings.session.token == TOKEN
    assert found.settings.button == Button(17)
    assert found.settings.reader is found.settings.led is found.settings.buzzer is None


def test_whole_configuration(loaded, folder):
    """Every key is read into its place."""
    found = loaded(WHOLE)
    assert found.problems == ()
    settings_ = found.settings
    assert settings_.button == Button(17, "high", "down", 0.1, 2.0, 20.0)
    assert settings_.reader == Reader(27, "low", "down", 0.2, 20.0, 60.0)
    assert (settings_.led, settings_.buzzer) == (Output(22, "low"), Output(23, "low"))
    assert (settings_.close.grace, settings_.close.quiet, settings_.close.max_wait) == (5.0, 45.0, 600.0)
    assert (settings_.retry.first, settings_.retry.max) == (2.0, 60.0)
    assert (settings_.api.url, settings_.api.timeout) == ("https://rufus.venue/v0", 2.5)
    assert (settings_.api.ca_file, settings_.api.proxy) == (str(folder / "venue.pem"), "http://proxy.venue:3128")
    assert settings_.session.name == "Łódź półmaraton"
    parts = ((name, getattr(settings_, name), each) for name, each in TABLES.items())
    left = [
        f"{name}.{f.name}" for name, part, each in parts for f in fields(each) if getattr(part, f.name) == f.default
    ]
    assert left == ["api.key_file"]


@pytest.mark.parametrize(
    "content",
    [
        MINIMAL.replace("\n", "\r\n"),
        "\ufeff" + MINIMAL,
        "\ufeff" + MINIMAL.replace("\n", "\r\n"),
        MINIMAL.rstrip("\n"),
        f'api.key = "{KEY}"\nsession.token = "{TOKEN}"\nbutton.pin = 17',
        f'api = {{key = "{KEY}"}}\nsession = {{token = "{TOKEN}"}}\nbutton = {{pin = 17}}\n',
        f"['api']\n\"key\" = '{KEY}'\n[ \"session\" ]\n'token' = '''{TOKEN}'''\n[button]\n\"p\\u0069n\" = 0x11\n",
        "\n# comment\n" * 500 + MINIMAL,
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "no last line end", "dotted", "inline", "quoted", "long"],
)
def test_every_spelling_of_toml(loaded, content):
    """The file may be written in any way that TOML allows, and by any editor."""
    found = loaded(content)
    assert [problem.key for problem in found.problems] == ["file"] * (content[-1] != "\n")  # its warning
    assert found.settings == loaded(MINIMAL).settings


def test_example_file_passes_once_filled_in(loaded):
    """The shipped example is right once key and token are put in, without a warning."""
    text = EXAMPLE.read_text(encoding="utf-8")
    filled = text.replace("PUT-YOUR-KEY-HERE", KEY).replace("PUT-THE-TOKEN-OF-YOUR-SESSION-HERE", TOKEN)
    assert loaded(filled).problems == ()


def test_example_file_asks_for_key_and_token(told):
    """Unchanged, the example says which two lines are to be filled in."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    expected = [(1 + number, key) for key in ("api.key", "session.token") for number, line in enumerate(lines)
                if line.startswith(f'{key.partition(".")[2]} = "PUT')]  # fmt: skip
    assert told(EXAMPLE.read_bytes()) == expected


@pytest.mark.parametrize("key", VALUES)
def test_key_with_a_right_value(loaded, folder, key):
    """Each key takes what it should."""
    (folder / "key").write_text(KEY)
    more = {"led.pin": "5", "reader.pin": "6", "buzzer.pin": "7"} if "." in key else {}
    more = {name: value for name, value in more.items() if name.partition(".")[0] == key.partition(".")[0]}
    more["api.key"] = None if key == "api.key_file" else f'"{KEY}"'
    found = loaded(tables(**{**more, key: VALUES[key][0]}))
    assert found.settings
    assert all(problem.warning for problem in found.problems)


@pytest.mark.parametrize("key", VALUES)
def test_key_with_a_wrong_value(loaded, key):
    """Each key refuses what it should, with its line and what was expected."""
    more = {f"{name}.pin": pin for name, pin in {"led": "5", "reader": "6", "buzzer": "7"}.items() if name in key}
    more["api.key"] = None if key == "api.key_file" else f'"{KEY}"'
    text = tables(**{**more, key: VALUES[key][1]})
    found = loaded(text)
    assert found.settings is None
    (problem,) = found.problems
    assert problem.key == key
    assert text.splitlines()[problem.line - 1] == f"{key.partition('.')[2]} = {VALUES[key][1]}"
    assert VALUES[key][2] in problem.text


def test_every_key_has_its_pair():
    """No key is left out above."""
    assert set(VALUES) == {f"{name}.{field.name}" for name, table in TABLES.items() for field in fields(table)}


# -- what is wrong, and where


def test_all_problems_at_once(told):
    """One run tells everything that is wrong, in the order of the lines."""
    text = (
        f'[api]\nkey = "{DOCUMENTED_KEY}"\n'
        f'[session]\ntoken = "{DOCUMENTED_TOKEN}"\nnmae = "10K"\n'
        '[button]\npin = 99\nhold_time = "3s"\n'
        "[reader]\nsetle_time = 3\n"
        "[close]\nquiet = 100\n\nmax_wait = 50\n"
        "[leds]\npin = 3\n"
        "[buzzer]\npin = 17\n"
    )
    assert told(text) == [
        *((2, "api.key"), (4, "session.token"), (5, "session.nmae"), (7, "button.pin"), (8, "button.hold_time")),
        *((9, "reader.pin"), (10, "reader.setle_time"), (14, "close.max_wait"), (15, "leds")),
    ]


def test_problem_reads_as_documented(folder):
    """`FILE:LINE: KEY: what is wrong, what was expected`."""
    path = folder / "config.toml"
    path.write_text(MINIMAL + 'hold_time = "3s"\n')
    (problem,) = load(str(path)).problems
    expected = f'{path}:7: button.hold_time: "3s" is a text; expected a number of seconds, for example 3 or 2.5'
    assert str(problem) == expected


def test_nan_is_called_what_it_is(loaded):
    """It is no very large number, though neither is it less than one."""
    (problem,) = loaded(MINIMAL + "hold_time = nan\n").problems
    assert problem.text == "nan is a number out of bounds; expected 0.05 to 60 seconds"


def test_warning_is_marked(loaded):
    """A warning says that it is one."""
    (problem,) = loaded(tables(button__pull='"none"')).problems
    assert ":7: button.pull: warning: with no pull" in str(problem)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (tables(button__hold_time='"3s"'), 7),
        (f'api.key = "{KEY}"\nsession.token = "{TOKEN}"\nbutton.pin = 17\nbutton.hold_time = "3s"\n', 4),
        (f'api.key = "{KEY}"\nsession.token = "{TOKEN}"\n\nbutton = {{ pin = 17, hold_time = "3s" }}\n', 4),
        (MINIMAL + "hold_time = [\n  1,\n  2,\n]\n", 7),
        (MINIMAL + "hold_time = [ # three\n\n  1, # and\n  2 ] # no more\nbounce_time = 0\n", 7),
        (MINIMAL + 'bounce_time = 0\nhold_time = """\n3\n"""\nstuck_time = 30\n', 8),
        (MINIMAL + '"hold_time" = "3s"\n', 7),
        (MINIMAL + "'hold_time' = '3s'\n", 7),
        (MINIMAL + '"hold\\u005ftime" = "3s"\n', 7),
        (MINIMAL + '# hold_time = 3\nbounce_time = 0 # hold_time\nhold_time = "3s"\n', 9),
        (MINIMAL.replace("[button]", "[ button ]") + 'hold_time="3s"', 7),
        (MINIMAL + "hold_time.seconds = 3\n", 7),
        (MINIMAL.replace("\n", "\r\n") + 'hold_time = "3s"\r\n', 7),
        ("\ufeff" + MINIMAL.replace("\n", "\r\n") + 'hold_time = "3s"\r\n', 7),
        (MINIMAL + 'name = """\nhold_time = 3\n"""\nhold_time = "3s"\n', 10),
    ],
)
def test_line_of_a_wrong_value(loaded, text, line):
    """The line is right in every spelling: dotted, inline, quoted, over several lines, with other line ends."""
    found = [problem for problem in loaded(text).problems if problem.key == "button.hold_time"]
    assert [problem.line for problem in found] == [line]


@pytest.mark.parametrize(
    "filler",
    [lambda n: "".join(f"key{number} = 1\n" for number in range(n)), lambda n: "x = [\n" + "1,\n" * 4 * n + "]\n"],
    ids=["many keys", "a long list"],
)
def test_line_in_a_long_file(loaded, filler):
    """However much there is before it, each problem has its own line, and soon: a reload holds up the scan loop.

    Four times as much takes about four times as long, on any machine; if each line were looked for, it would be 16.
    """
    found: dict[str, int] = {}

    def load(text: str) -> float:
        began = time.process_time()
        found.update({problem.key: problem.line for problem in loaded(text).problems})
        return time.process_time() - began

    short, long = (MINIMAL + filler(n) + 'hold_time = "3s"\n' for n in (1250, 5000))
    quickest = {short: math.inf, long: math.inf}  # other programs only slow each down

    def times() -> float:
        quickest.update({text: min(seconds, load(text)) for text, seconds in quickest.items()})
        return quickest[long] / quickest[short]

    within(5, times)
    assert found["button.hold_time"] == long.count("\n")
    assert found.get("button.key0", 7) == 7


@pytest.mark.parametrize("name", ['"a\\nb"', '"\\u001b[2J"', '"\\u009b"', "x" * 5000])
def test_problem_is_one_short_line(loaded, name):
    """Whatever somebody calls a key: no other line, no terminal's command, no flood."""
    (problem,) = loaded(MINIMAL + f"{name} = 3\n").problems
    assert str(problem).isprintable()
    assert len(str(problem)) < 500


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (MINIMAL + "hold_tme = 3\n", (7, "button.hold_tme")),
        ("hold_time = 3\n" + MINIMAL, (1, "hold_time")),
        (MINIMAL + "\n[buton]\npin = 17\n", (8, "buton")),
        (MINIMAL + "[button.pins]\na = 1\n", (7, "button.pins")),
        (MINIMAL + "[[button.pins]]\na = 1\n", (7, "button.pins")),
        ('\n"button.pin" = 3\n' + MINIMAL, (2, "button.pin")),  # quoted, it is no key of a table
        (MINIMAL + '"hold.time" = 3\n', (7, "button.hold.time")),
        (MINIMAL + '"" = 3\n', (7, "button.")),
        ('"" = 3\n' + MINIMAL, (1, "")),
        (MINIMAL + "[[reader]]\npin = 27\n[[reader]]\npin = 27\n", (7, "reader")),
        ("led = 22\n" + MINIMAL, (1, "led")),
        ("led = [\n22,\n]\n" + MINIMAL, (1, "led")),
        (MINIMAL + "[led]\n[close]\ngrace = 3\n", (7, "led.pin")),
        (MINIMAL + "[close]\nquiet = 100\nmax_wait = 50\n[retry]\nfirst = 1\n", (9, "close.max_wait")),
        (MINIMAL + "[close]\nquiet = 1000\n", (7, "close.max_wait")),
        (MINIMAL + "[led]\npin = 'BOARD11'\n", (8, "led.pin")),
        (f'[api]\nkey = "{KEY}"\n\n[session]\nname = "10K"\n[button]\npin = 17\n', (4, "session.token")),
        (f'[session]\ntoken = "{TOKEN}"\n[button]\npin = 17\n\n[api]\ntimeout = 3\n', (6, "api.key")),
        (f'[session]\ntoken = "{TOKEN}"\n[button]\npin = 17\n', (1, "api.key")),
    ],
)
def test_line_of_any_problem(told, text, where):
    """What is wrong is told where it stands; what is missing, where its table begins, or at the beginning."""
    assert told(text) == [where]


def test_what_is_missing_is_told_with_where_it_belongs(loaded):
    """Who reads it knows what to write, and where."""
    (problem,) = loaded(MINIMAL + "[led]\n").problems
    assert problem.text == "is missing, and has no default; put a line with it under [led]"


def test_key_given_twice_at_the_very_end(told):
    """A file whose last line has no end is broken where it is broken, not at its first line."""
    assert told(MINIMAL + "pin = 18") == [(7, "syntax")]
    assert told(MINIMAL + "[session]") == [(7, "syntax")]


def test_empty_file_misses_two_things(told):
    """An empty file is not an error of reading: it lacks the key and the token."""
    assert told("") == told("# nothing yet\n") == [(1, "api.key"), (1, "session.token")]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("[reader]\npin = 27\nsetle_time = 3", "there is no such key; did you mean reader.settle_time?"),
        ("[led]\npin = 22\nhold_time = 3", "there is no such key; did you mean button.hold_time?"),
        ("[close]\ngrase = 3", "there is no such key; did you mean close.grace?"),
        ("[close]\nrain = 3", "there is no such key"),
        ("[buton]\npin = 3", "there is no such table; did you mean [button]?"),
        ("[Close]\ngrace = 3", "there is no such table; did you mean [close]?"),
        ("[rain]\nheavy = true", "there is no such table"),
    ],
)
def test_suggestions(loaded, line, hint):
    """What does not exist is told with the nearest thing that does, if there is one."""
    assert [problem.text for problem in loaded(MINIMAL + line + "\n").problems] == [hint]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("hold_time = 3", "there is no such key here; did you mean button.hold_time?"),
        ("retries = 3", "there is no such key here; did you mean [retry]?"),
        ("rain = 3", "there is no such key here"),
    ],
)
def test_suggestions_outside_of_tables(loaded, line, hint):
    """A key that stands before all tables is told where it belongs."""
    assert [problem.text for problem in loaded(line + "\n" + MINIMAL).problems] == [hint]


def test_table_that_is_no_table(loaded):
    """A value in a table's place is told with the form that was expected."""
    (problem,) = loaded("led = 22\n" + MINIMAL).problems
    assert problem.text == "22 is a number; expected a table, [led] on a line of its own"


# -- syntax


def test_several_lines_that_are_no_toml(told):
    """One run tells every broken line, and what is wrong in the others."""
    text = MINIMAL + "hold_time 3\nbounce_time = 0\nstuck_time = \nhold_tme = 3\n= 4\n[close]\ngrace = 1h\n"
    assert told(text) == [
        *((7, "syntax"), (9, "syntax"), (10, "button.hold_tme"), (11, "syntax"), (13, "syntax")),
    ]


def test_broken_line_is_not_also_missing(told):
    """What a broken line may have held is not said to be missing."""
    assert told(MINIMAL.replace('key = "', "key = ")) == [(2, "syntax")]
    assert told(MINIMAL.replace("pin =", "pin")) == [(6, "syntax")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MINIMAL + "[close\ngrace = 3\n", 7),
        (MINIMAL + "[button]\npin = 18\n", 7),
        (MINIMAL + "pin = 18\n", 7),
        (MINIMAL + 'name = "10K\n', 7),
        (MINIMAL + 'name = """10K\n', 7),
        (MINIMAL + "name = [1,\n2,\n", 7),
        (MINIMAL + "a\0b = 3\n", 7),
        (MINIMAL + 'name = "\x07"\n', 7),
        (MINIMAL.replace("\n", "\r"), 1),
        (MINIMAL + "x = " + "[" * 20_000, 7),
        (MINIMAL + ".".join("a" * 20_000) + " = 1\n", 7),
        ("{", 1),
        ("\ufeff\ufeff", 1),
        ("pin: 17\n", 1),
        ("[button]\nactive = low\n", 2),
        ('{"api": {"key": "x"}}', 1),
    ],
)
def test_syntax_error_has_its_line(told, text, line):
    """A line that is no TOML is told by its number, with an example of what is."""
    assert told(text)[0][1] == "syntax"
    assert told(text)[0][0] == line  # what has no end is told where it begins


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "[button]\n", "this table is given twice; keep one"),
        (MINIMAL + "pin = 18\n", "this key is given twice; keep one"),
        (MINIMAL.replace("\n", "\r"), "has a lone CR, which is no line end"),
        (MINIMAL + "\0" * 40, "has NUL characters, as a damaged card leaves them"),
        (MINIMAL + 'name = """10K\n', "what begins here has no end"),
        (MINIMAL + 'name = "10K\n', "the text has no end; expected a closing quote"),
        (MINIMAL + "x = " + "[" * 5000, "is nested too deeply"),
        (MINIMAL + "x = " + "[" * 20_000, "is longer than 8192 characters"),
        (MINIMAL + "x" + ".a" * 20_000 + " = 1\n", "is longer than 8192 characters"),
    ],
)
def test_syntax_error_says_what_to_do(loaded, text, words):
    """What TOML's own words would not tell a technician."""
    (problem,) = loaded(text).problems
    assert problem.text.startswith(words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pin\u00a0= 17", "has the character U+00A0 (NO-BREAK SPACE), which cannot be seen, at place 4; remove"),
        ("\u200bpin = 17", "has the character U+200B (ZERO WIDTH SPACE), which cannot be seen, at place 1; remove"),
        ("\ufeffpin = 17", "has the character U+FEFF (ZERO WIDTH NO-BREAK SPACE), which cannot be seen, at place 1;"),
        ("pin = “GPIO17”", 'has the character “, U+201C (LEFT DOUBLE QUOTATION MARK), at place 7; write " there'),
        ('pin = "GPIO17”', 'has the character ”, U+201D (RIGHT DOUBLE QUOTATION MARK), at place 14; write " there'),
        ("pin = ‘GPIO17’", "has the character ‘, U+2018 (LEFT SINGLE QUOTATION MARK), at place 7; write ' there"),
        ("hold_time = –3", "has the character –, U+2013 (EN DASH), at place 13; write - there"),
        ("hold_time = ３", "has the character ３, U+FF13 (FULLWIDTH DIGIT THREE), at place 13; write 3 there"),
        ("hold_time = ٣", "has the character ٣, U+0663 (ARABIC-INDIC DIGIT THREE), at place 13; write 3 there"),
        ("hold_time = 2,5", "has a decimal comma; expected a point: write 2.5"),
        ("hold_time = 2,5 # seconds", "has a decimal comma; expected a point: write 2.5"),
        ("［button］", "has the character ［, U+FF3B (FULLWIDTH LEFT SQUARE BRACKET), at place 1; write [ there"),
        ("\u2028[button]", "has the character U+2028 (LINE SEPARATOR), which cannot be seen, at place 1; remove"),
        ("“[button]”", 'has the character “, U+201C (LEFT DOUBLE QUOTATION MARK), at place 1; write " there'),
        ("[button]\u00ad", "has the character U+00AD (SOFT HYPHEN), which cannot be seen, at place 9; remove what is"),
    ],
)  # fmt: skip
def test_a_character_that_is_not_what_it_looks_like_is_named(loaded, line, words):
    """Promise 5: what an editor, a telephone or a web page has put there is told by its name, place and cure."""
    (problem,) = loaded(
        MINIMAL.replace("[button]\npin = 17\n", f"{line}\npin = 17\n" if "tt" in line else f"[button]\n{line}\n")
    ).problems
    assert problem.key == "syntax"
    assert problem.line == (5 if "tt" in line else 6)
    assert problem.text.startswith(words)


def test_a_character_is_told_in_its_own_line(loaded):
    """A list over several lines begins in another line than the character that is wrong in it."""
    (problem,) = loaded(MINIMAL + "x = [\n1,\n“2”]\n").problems
    assert (problem.line, problem.key) == (9, "syntax")


def test_what_has_no_end_is_told_where_it_begins(loaded):
    """A character further down belongs to another line's mistake, and hides none before it."""
    told = loaded(f"{MINIMAL}active = [3\n[led]\npin = “17”\n").problems
    assert (told[0].line, told[0].key) == (7, "syntax")
    assert told[0].text == "what begins here has no end; expected a closing quote or bracket"


@pytest.mark.parametrize("line", ["x = ż", "ż = 3", 'name = "Łódź', "hold_time = True"])
def test_a_letter_that_is_what_it_looks_like_is_not_blamed(loaded, line):
    """Where something else is wrong, an honest letter is not told to be the cause."""
    assert not any("has the character" in problem.text for problem in loaded(f"{MINIMAL}{line}\n").problems)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (
            '"hold\u200btime" = 3',
            "button.hold\ufffdtime",
            "U+200B (ZERO WIDTH SPACE), which cannot be seen, at place 5",
        ),
        ('["rea\u00adder"]', "rea\ufffdder", "U+00AD (SOFT HYPHEN), which cannot be seen, at place 4; remove"),
        ('active = "low\u00a0"', "button.active", "U+00A0 (NO-BREAK SPACE), which cannot be seen, at place 4; remove"),
        ('hold_time = "2,5"', "button.hold_time", "write 2.5, with a point, without quotes"),
    ],
)
def test_an_unseen_character_in_a_name_or_value_is_named(loaded, text, key, words):
    """Promise 5: in quotes TOML takes any character, so the name or the value is what is wrong."""
    (problem,) = loaded(f"{MINIMAL}{text}\n").problems
    assert f":7: {key}: " in str(problem)
    assert words in problem.text


@pytest.mark.parametrize(
    "broken", ["[close\n", "[led]\n[led]\n", "[[session]]\n", "x = [1, 2\n", 'x = """\n', "x = [\n1\n2\n]\n"]
)
def test_what_is_broken_hides_nothing_before_or_behind_it(loaded, broken):
    """One run tells all: a broken head takes its own table with it, a value without an end its line, and no more."""
    text = MINIMAL + f'hold_time = "3s"\n{broken}\n[reader]\npin = 99\n'
    found = [(problem.line, problem.key) for problem in loaded(text).problems]
    assert found[0] == (7, "button.hold_time")
    assert found[-1] == (text.count("\n"), "reader.pin")
    assert "syntax" in [key for _, key in found]


def test_long_comment_is_no_mistake(loaded):
    """What worked goes on working: a comment may have any length."""
    assert loaded(MINIMAL + " # " + "x" * 20_000 + "\n").problems == ()


def test_syntax_error_shows_what_is_expected(loaded):
    """An error of form comes with lines that have the right one."""
    (problem,) = loaded("[button]\nactive = low\n").problems
    assert problem.text.endswith('; expected lines such as hold_time = 3 or name = "10K"')


def test_many_broken_lines_are_not_all_told(loaded):
    """A file that is something else altogether does not bring a thousand lines."""
    assert len(loaded("this is no TOML\n" * 1000).problems) == 21


# -- the key


def test_key_from_a_file(loaded, folder):
    """The key may stand in a file of its own, found from the configuration's folder, as any editor saves it."""
    for written in (KEY, f"{KEY}\n", f"{KEY}\r\n", f"{KEY}\n\n", f"{KEY} \t\r\n\r\n", f"\ufeff{KEY}\n", f" {KEY}"):
        (folder / "key").write_bytes(written.encode())
        for name in ("key", str(folder / "key"), f"../{folder.name}/key"):
            found = loaded(tables(api__key=None, api__key_file=f'"{name}"'))
            assert found.problems == ()
            assert found.settings.api.key == KEY


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a text"),
        (b"\n", "is not a text"),
        (b"PUT-YOUR-KEY-HERE\n", "placeholder"),
        (DOCUMENTED_KEY.encode(), "example key"),
        (KEY.encode() + b"\n" + KEY.encode(), "at place 25;"),
        (KEY.encode() + b"\xc2\xa0\n", "U+00A0 (NO-BREAK SPACE), which cannot be seen, at place 25;"),
        (b"key = " + KEY.encode(), "begins with ror- at place 7;"),
        (b'"' + KEY.encode() + b'"', "begins with ror- at place 2;"),
        (b"\xff\xfe", "UTF-16"),
        (KEY.encode("utf-16"), "UTF-16"),
        (KEY.encode("utf-16-le"), "UTF-16"),
        (KEY.encode() + b"\xe9", "is not UTF-8 text"),
        (b"k" * 5000, "5000 characters"),
        (b"k" * 100_000, "8192 characters"),
    ],
)
def test_key_file_with_something_else(loaded, folder, content, words):
    """Promise 6: what is wrong in the key's file is said without what stands there."""
    (folder / "key").write_bytes(content)
    (problem,) = loaded(tables(api__key=None, api__key_file='"key"')).problems
    assert (problem.line, problem.key) == (2, "api.key_file")
    assert words in problem.text
    assert KEY not in str(problem)


@pytest.mark.parametrize("name", ["missing", ".", "no/such/folder/key", "n" * 300])
def test_key_file_that_cannot_be_read(loaded, name):
    """A key's file that is not there is told with who must be able to read it."""
    (problem,) = loaded(tables(api__key=None, api__key_file=f'"{name}"')).problems
    assert (problem.line, problem.key) == (2, "api.key_file")
    assert "cannot be read (" in problem.text
    assert "readable by the user that rufusd runs as" in problem.text


def test_key_file_that_is_a_pipe(loaded, folder):
    """What could keep its reader waiting for ever is not read."""
    os.mkfifo(folder / "pipe")
    (problem,) = loaded(tables(api__key=None, api__key_file='"pipe"')).problems
    assert (problem.line, problem.key) == (2, "api.key_file")
    assert problem.text == "is a pipe or a device; expected a file"


def test_ca_file_that_is_a_pipe(told, folder):
    """As the key's file: a reload would never come back from it."""
    os.mkfifo(folder / "certificates")
    assert told(tables(api__ca_file='"certificates"')) == [(3, "api.ca_file")]


@pytest.mark.parametrize("value", ["3", '""', "[]"])
def test_key_file_that_is_no_name_is_one_problem(told, value):
    """A key_file that cannot be a file's name is told once."""
    assert told(tables(api__key=None, api__key_file=value)) == [(2, "api.key_file")]


@pytest.fixture
def credential(tmp_path, monkeypatch):
    """A systemd credential, as LoadCredential=api_key gives it."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "api_key").write_text(KEY + "\n")
    return tmp_path / "api_key"


@pytest.mark.usefixtures("credential")
def test_key_from_a_credential(loaded):
    """A systemd credential named api_key is the key."""
    found = loaded(tables(api__key=None))
    assert found.problems == ()
    assert found.settings.api.key == KEY


def test_credential_that_is_wrong(loaded, credential):
    """Promise 6: what is wrong in the credential is said without it."""
    credential.write_text(f"{KEY} {KEY}")
    (problem,) = loaded(tables(api__key=None)).problems
    assert problem.key == "api.key"
    assert KEY not in str(problem)


def test_other_credentials_do_not_matter(loaded, credential):
    """A folder of credentials without ours is as none."""
    credential.unlink()
    assert loaded(MINIMAL).problems == ()
    assert loaded(tables(api__key=None)).settings is None


@pytest.mark.parametrize("where", ["", "/no/such/folder", "/dev/null", "/" + "n" * 5000, "/proc/self/mem/x"])
def test_folder_of_credentials_that_is_not_there(loaded, monkeypatch, where):
    """Whatever CREDENTIALS_DIRECTORY says, the configuration's own key is found."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", where)
    assert loaded(MINIMAL).problems == ()


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ({"api__key_file": '"key"'}, "2 times (key, key_file)"),
        ({"credential": True}, "2 times (key, credential)"),
        ({"api__key": None, "api__key_file": '"key"', "credential": True}, "2 times (key_file, credential)"),
        ({"api__key_file": '"key"', "credential": True}, "3 times (key, key_file, credential)"),
    ],
)
def test_key_in_more_than_one_place(loaded, folder, request, places, names):
    """The key is given in exactly one place: nobody should have to guess which one counts."""
    (folder / "key").write_text(KEY)
    if places.get("credential"):
        request.getfixturevalue("credential")
    (problem,) = loaded(tables(**{key: value for key, value in places.items() if key != "credential"})).problems
    assert problem.key in ("api.key", "api.key_file")
    assert f"is given {names}; expected exactly one of" in problem.text


def test_key_in_no_place(loaded):
    """A missing key is told with the three places where it may stand."""
    (problem,) = loaded(tables(api__key=None)).problems
    assert problem.text == (
        "is missing; expected exactly one of api.key, api.key_file, or a systemd credential named api_key "
        "(which only the service itself is given)"
    )


@pytest.mark.parametrize(
    "key", [None, '"PUT-YOUR-KEY-HERE"', f'"{DOCUMENTED_KEY}"', "3", f'"{KEY}"\nkey_file = "missing"']
)
def test_who_calls_nobody_needs_no_key(loaded, key):
    """`rufusd close` confirms with whatever stands for a key: the daemon needs it, not the decision."""
    found = loaded(tables(api__key=key), key_needed=False)
    assert found.settings
    assert found.problems == ()


def test_all_else_is_looked_at_without_a_key(told):
    """Without the need for a key, a wrong token is an error all the same."""
    assert told(tables(api__key=None, session__token='"short"'), key_needed=False) == [(2, "session.token")]
    assert told("api = 3\n" + MINIMAL.partition('"\n')[2], key_needed=False) == [(1, "api")]


PLACES = [
    'api = "{}"',
    'api = ["{}"]',
    "{} = 1",
    "[{}]\na = 1\n[{}]\nb = 2",
    "[a.{}]\n[a.{}]",
    "[api]\nkey = {}",
    '[api]\nkey = "{}',
    "[api]\nkey = '{}",
    '[api]\nkey = " {}"',
    '[api]\nkey = "{} "',
    '[api]\nkey = "{}\\n"',
    '[api]\nkey = ["{}"]',
    '[api]\nkey = {{a = "{}"}}',
    '[api]\nkey == "{}"',
    '[api]\nkey "{}"',
    '[api]\n"{}"',
    "[api]\n{}",
    "[api]\n{} = 1",
    "[api]\n{} = 1\n{} = 2",
    '[api]\nkye = "{}"',
    '[api]\nkey_file = "{}"',
    '[api]\nkey = "{}"\nkey_file = "{}"',
    '[api]\nurl = "{}"',
    '[api]\nurl = "https://{}@api.runonrufus.com/v0"',
    '[api]\nurl = "https://api.runonrufus.com/v0?api_key={}"',
    '[api]\nproxy = "http://{}@proxy"',
    '[api]\ntimeout = "{}"',
    '[api]\ntimeout = "{}{}{}{}"',
    '[session]\ntoken = "{}"',
    '[session]\ntoken = " {}"',
    '[session]\ntoken = "key: {}"',
    '[session]\nname = "{}\\n"',
    '[button]\npin = "{}"',
    '[button]\nactive = "{}"',
    '[button]\npull = ["{}"]',
    "[button]\npin = 17\n# {}\nhold_time = '{}'",
    '[close]\ngrace = "{}"',
    "\0{}",
    "{}",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "key", [KEY, KEY.upper(), "ror-0011-2233.4455+6677/8899=~", "ror-aaaa_bbbb_cccc", "ror-00!11$22"]
)
def test_no_message_has_the_key(loaded, place, key):
    """Promise 6: a key in the wrong place, in whatever broken way, is in no message."""
    found = loaded(place.replace("{}", key).replace("{{", "{").replace("}}", "}"))
    assert found.settings is None
    for part in (key, key[8:]):
        assert part.lower() not in "\n".join(map(str, found.problems)).lower()


def test_key_of_another_form_in_the_place_of_the_table(loaded):
    """Promise 6: the form of a key is not promised, so what stands in place of [api] is not shown at all."""
    (problem, _) = loaded(f'api = "s3cret-key"\nsession.token = "{TOKEN}"\nbutton.pin = 3\nx = 1\n').problems
    assert problem.key == "api"
    assert "s3cret" not in str(problem)


# -- warnings


def test_warnings_leave_the_settings(loaded):
    """What is valid but may not be meant is told, and counts all the same."""
    found = loaded(tables(session__token='"start-10k"', button__pull='"down"', reader__pin="27"))
    assert found.settings
    assert all(problem.warning for problem in found.problems)
    assert [(problem.line, problem.key) for problem in found.problems] == [
        *((4, "session.token"), (7, "button.pull"), (8, "reader.pull")),
    ]


def test_no_trigger_is_a_warning(loaded):
    """A station with neither button nor reader can be meant; it is told."""
    found = loaded(tables(button__pin=None))
    assert found.settings
    ((line, key),) = [(problem.line, problem.key) for problem in found.problems]
    assert (line, key) == (1, "button")


def test_errors_come_without_warnings(told):
    """Where something is wrong, that comes first: `told` sees no warning."""
    told(tables(session__token='"start-10k"', button__hold_time="0"))


# -- the file


def told_of_file(path):
    """The one problem with a file that cannot be read."""
    found = load(str(path))
    assert found.settings is None
    (problem,) = found.problems
    assert (problem.file, problem.line, problem.key) == (str(path), 1, "file")
    return problem.text


def test_file_that_is_missing(tmp_path):
    """A missing file is told with how to make one, by a command that can be pasted."""
    assert f"`sudo rufusd configure --config {tmp_path}/config.toml`" in told_of_file(tmp_path / "config.toml")
    assert told_of_file(tmp_path / "config.toml").endswith("copy the example there and fill it in")
    assert told_of_file(tmp_path / "no" / "config.toml").endswith("copy the example there and fill it in")


def test_file_that_is_a_folder(tmp_path):
    """A folder is no file."""
    assert told_of_file(tmp_path).endswith("expected a file")


def test_file_that_may_not_be_read(tmp_path):
    """A file of another user's is told with who may read it; where the tests run as root, another user asks."""
    path = tmp_path / "config.toml"
    path.touch(mode=0o000)
    asks = "import os, sys; from rufusd.adapters.config import load; os.geteuid() or os.setuid(65534); "
    asks += "print(*load(sys.argv[1]).problems)"
    said = subprocess.run([sys.executable, "-c", asks, path], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.startswith(f"{path}:1: file: cannot be read: ")
    assert said.stdout.endswith(
        "a person reads it with sudo, as in `sudo rufusd check`; "
        f"the service needs `sudo chown root:rufusd {path}` and `sudo chmod 640 {path}`\n"
    )


def test_file_that_leads_nowhere(tmp_path):
    """What no right to read would cure does not ask for one."""
    path = tmp_path / "config.toml"
    path.symlink_to(path)
    assert told_of_file(path).endswith("check its path")
    path.unlink()
    path.symlink_to("gone")
    assert told_of_file(path).endswith("copy the example there and fill it in")


def test_file_that_is_a_pipe_a_socket_or_a_device(tmp_path):
    """What could keep its reader waiting for ever is not read; a daemon that reloads would not come back from it."""
    path = tmp_path / "config.toml"
    os.mkfifo(path)
    assert told_of_file(path) == "is a pipe or a device; expected a file"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert told_of_file(path).endswith("expected a file")
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        assert told_of_file(device).endswith(("expected a file", "check its path"))


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_file_whose_name_cannot_be(name):
    """A name that no file can have is told, not raised."""
    assert told_of_file(name) == "has a name that no file can have"


@pytest.mark.parametrize("name", ["n" * 300, "n/" * 3000, ""])
def test_file_whose_name_is_too_long_or_empty(name):
    """A name that the disk refuses is told."""
    assert told_of_file(name).startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (MINIMAL.encode() + b'name = "\xa3\xf3d\xbc"\n', 7),
        (MINIMAL.encode() + b'name = "\xc5', 7),
        (b"\x80", 1),
    ],
)
def test_file_that_is_not_utf8(tmp_path, content, line):
    """Another encoding is told with the line where it first shows."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    assert told_of_file(path).startswith(f"is not UTF-8 text (first in line {line})")


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [MINIMAL, WHOLE])
def test_file_in_utf16_is_told_in_an_editors_words(tmp_path, code, text):
    """Promise 5: "Unicode" is what the menu of some editors calls it, with a mark at the beginning or without."""
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode(code))
    assert told_of_file(path) == "is saved as UTF-16, which some editors call Unicode; save it as UTF-8"


def test_file_that_is_huge(tmp_path):
    """What is no configuration by its size is not read to its end."""
    path = tmp_path / "config.toml"
    path.write_bytes(MINIMAL.encode().ljust(MAX_SIZE, b"\n"))
    assert load(str(path)).settings
    path.write_bytes(MINIMAL.encode().ljust(MAX_SIZE + 1, b"\n"))
    assert told_of_file(path).startswith(f"is larger than {MAX_SIZE} bytes")


# -- who may read the key


@pytest.fixture
def open_to_all():
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="rufusd-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def exposed(path):
    """Each warning about who may read a key."""
    found = load(str(path))
    assert found.settings
    return [(each.key, each.text) for each in found.problems if "every user of this machine" in each.text]


def test_promise_6_a_key_that_every_user_can_read_is_a_warning(open_to_all):
    """Promise 6: in the configuration, with the commands that mend it; not where its mode or its folder hides it."""
    path = open_to_all / "config.toml"
    path.write_text(MINIMAL)
    path.chmod(0o644)
    mend = f"`sudo chown root:rufusd {path}` and `sudo chmod 640 {path}`"
    assert exposed(path) == [("api.key", f"every user of this machine can read the key in {path}: {mend}")]
    path.chmod(0o640)
    assert exposed(path) == []
    path.chmod(0o644)
    open_to_all.chmod(0o750)
    assert exposed(path) == []


def test_promise_6_a_key_file_that_every_user_can_read_is_a_warning(open_to_all):
    """Promise 6: there the file is meant that holds the key; the configuration itself may be read by all."""
    path, key = open_to_all / "config.toml", open_to_all / "key"
    path.write_text(tables(api__key=None, api__key_file='"key"'))
    key.write_text(KEY)
    path.chmod(0o644)
    for mode, told_of in ((0o640, []), (0o644, ["api.key_file"])):
        key.chmod(mode)
        assert [name for name, _ in exposed(path)] == told_of
    assert f"`sudo chmod 640 {key}`" in exposed(path)[0][1]


def test_the_key_of_a_stand_in_is_nobodys_secret(open_to_all):
    """In training, with RUFUS's stand-in on this machine, nobody is told to mend rights."""
    path = open_to_all / "config.toml"
    path.write_text(tables(api__url='"http://127.0.0.1:8470/v0"'))
    path.chmod(0o644)
    assert exposed(path) == []


# -- what was cut short


BESIDE = MINIMAL + '# [reader]\n# pin = 27\n[reader]\npin = 27\npull = "up"\nsettle_time = 90\n'
TAIL = MINIMAL + '[led]\npin = 22\nactive = "low"\n\n# The level at which it is on.\n# active = "high"\n'


@pytest.mark.parametrize("text", [MINIMAL, WHOLE, BESIDE, TAIL, BESIDE.replace("\n", "\r\n")])
def test_promise_5_no_part_of_a_file_is_taken_for_the_whole(loaded, text):
    """Promise 5: cut at any byte, a file has an error, or is said to be cut short, or has the same settings."""
    before = loaded(text)
    assert before.settings
    told = 0
    for size in range(len(text.encode())):
        now = loaded(text.encode()[:size])
        if now.settings and not cut_short("config.toml", before, now):
            assert now.settings == before.settings, f"cut at {size}: {text[:size][-30:]!r}"
        told += bool(now.settings)
    assert told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (MINIMAL, "[led] was in force and is gone from it"),
        (TAIL.partition('active = "low"')[0], "led.active was in force and is gone from it"),
        (TAIL.replace("17", "18")[:-4], "its last line, 12, has no line end"),
        (TAIL.replace("[button]\npin = 17\n", "").replace("[led]\npin = 22", "[reader]\npin = 22"),
         "[button], [led] was in force and is gone from it"),
    ],
)  # fmt: skip
def test_promise_5_a_file_that_may_have_been_cut_says_so(loaded, text, why):
    """Promise 5: the sentence says what is gone, that the old configuration stays, and both ways out."""
    before, now = loaded(TAIL), loaded(text.replace('[reader]\npin = 22\nactive = "low"', "[reader]\npin = 22"))
    assert cut_short("config.toml", before, now) == (
        f"config.toml may have been cut short: {why}. The configuration before it stays in force. "
        "Save the whole file again. If the file is right as it is, run `sudo systemctl reload rufusd`"
    )


@pytest.mark.parametrize(
    "text",
    [
        TAIL,
        TAIL.replace("22", "23").replace("17", "18"),
        TAIL + "[close]\ngrace = 5\n",
        TAIL.replace('[led]\npin = 22\nactive = "low"', '# [led]\n# pin = 22\n# active = "low"'),
        TAIL.replace("[button]\npin", "#[button]\n#pin"),
        MINIMAL.replace("[button]\npin = 17\n", '[led]\npin = 22\nactive = "low"\n[button]\npin = 17\n'),
        'led = {pin = 22, active = "low"}\n' + MINIMAL,
        TAIL.replace('active = "low"\n', ""),
        TAIL.rstrip("\n"),
        TAIL + "\n\n",
        TAIL.replace("pin = 17\n", 'pin = 17\npull = "up"\n'),
    ],
)
def test_an_edit_is_not_taken_for_a_cut(loaded, text):
    """Other values, other places, other spellings, more tables, and what is commented out, need nobody's leave."""
    before, now = loaded(TAIL), loaded(text)
    assert now.settings
    assert cut_short("config.toml", before, now) is None


def test_the_key_may_move_to_another_place(loaded, folder):
    """The account's key goes from the last table into a file of its own, and back: no cut does that."""
    (folder / "key").write_text(KEY)
    here = f'[session]\ntoken = "{TOKEN}"\n[button]\npin = 17\n[api]\nkey = "{KEY}"\n'
    there = here.replace(f'key = "{KEY}"', 'key_file = "key"')
    assert cut_short("config.toml", loaded(here), loaded(there)) is None
    assert cut_short("config.toml", loaded(there), loaded(here)) is None


def test_a_file_that_never_ends_its_last_line_is_accepted_once(loaded):
    """Some editors never do: once such a file is in force, another one with the same last line is whole."""
    first, second = loaded(MINIMAL.replace("17", "18") + "# end"), loaded(MINIMAL + "# end")
    assert cut_short("config.toml", first, second) is None
    assert "its last line, 7, has no line end" in cut_short("config.toml", second, loaded(MINIMAL + "# en"))


def test_a_last_line_without_an_end_is_a_warning(loaded):
    """Promise 5: at a start there is no old configuration to keep, so the file is taken, and the line is told."""
    found = loaded(MINIMAL.rstrip("\n"))
    assert found.settings
    (problem,) = found.problems
    assert (problem.line, problem.warning) == (6, True)
    assert "this last line has no line end: was the file cut short?" in str(problem)


# -- anything at all

FRAGMENTS = [
    *('"', "'", '"""', "[", "]", "[[", "{", "}", "=", ".", ",", "#", "\n", "\r", "\r\n", "\0", "\\", "\\u", "\ufeff"),
    *("key", "token", "pin", "button", "[api]", "[button]\n", "true", "nan", "-inf", "1e999", "0x" + "F" * 5000),
    *("9" * 5000, "1979-05-27T07:32:00Z", "25:61:61", "[" * 3000, "a." * 3000, "Łódź", "\u2028", "\U0001f3c1", KEY),
    *(
        "key_file = '.'\n",
        "key = ''\n",
        "pin = {pin = 3}\n",
        "[session]\n",
        "{}",
        "x = [\n",
        '"a.b" = 3\n',
        '"" = ""\n',
    ),
]


@st.composite
def mutated(draw):
    """A configuration in which pieces were cut out, doubled, moved, and others put in."""
    text = draw(st.sampled_from([MINIMAL, WHOLE]))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(["insert", "insert", "cut", "double", "move"]))
        if how == "insert":
            text = text[:start] + draw(st.sampled_from(FRAGMENTS) | st.text(max_size=5)) + text[start:]
        elif how == "cut":
            text = text[:start] + text[end:]
        elif how == "double":
            text = text[:end] + text[start:]
        else:
            rest = text[:start] + text[end:]
            place = draw(st.integers(0, len(rest)))
            text = rest[:place] + text[start:end] + rest[place:]
    return text


@pytest.mark.no_cover
@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(mutated())
def test_no_text_raises(folder, text):
    """Promises 1 and 6: any text gives settings or problems, each with a line of the file, and never with the key."""
    path = folder / "mutated.toml"
    content = text.encode("utf-8", "replace")
    path.write_bytes(content)
    found = load(str(path))
    assert bool(found.settings) is not any(not problem.warning for problem in found.problems)
    for problem in found.problems:
        assert 1 <= problem.line <= content.count(b"\n") + 1
        assert problem.text
        assert KEY not in str(problem)
    if found.settings:
        for name, table in TABLES.items():
            part = getattr(found.settings, name)
            assert part is None or all(getattr(part, field.name) is not MISSING for field in fields(table))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise(folder, content):
    """Any bytes are told, not raised."""
    path = folder / "bytes.toml"
    path.write_bytes(content)
    assert load(str(path)).settings is None


def test_problem_is_a_value():
    """A problem can be compared and shown without its file."""
    problem = Problem("config.toml", 3, "api.key", "this is wrong")
    assert str(problem) == "config.toml:3: api.key: this is wrong"
    assert problem == Problem("config.toml", 3, "api.key", "this is wrong", warning=False)
