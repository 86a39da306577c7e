"""Each value that can be configured: what is taken, what is refused and how that is said."""

from __future__ import annotations

import datetime
import unicodedata
from dataclasses import MISSING, fields, replace

import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st

from rufusd.core.settings import (
    DOCUMENTED_KEY,
    DOCUMENTED_TOKEN,
    OPTIONAL,
    TABLES,
    Api,
    Button,
    Close,
    InvalidValue,
    Output,
    Reader,
    Retry,
    Session,
    Settings,
    account_key,
    conflicts,
    describe,
    is_name,
    is_token,
    pin_number,
    same_name,
    session_token,
    warnings,
)

KEY = "ror-00112233445566778899"
TOKEN = "6E05" + "A7" * 28 + "DB4C"
HUGE = int("F" * 5000, 16)  # too long for Python to write in decimals; TOML's hexadecimal form can give it


def checks(key):
    """The check of a key such as `button.pin`."""
    table, _, name = key.partition(".")
    return next(field.metadata["check"] for field in fields(TABLES[table]) if field.name == name)


def refused(key, value):
    """What is said about a value that is wrong."""
    with pytest.raises(InvalidValue) as wrong:
        checks(key)(value)
    assert str(wrong.value)
    return str(wrong.value)


DURATIONS = {  # key: least, most, default
    "api.timeout": (0.1, 120, 10),
    "button.bounce_time": (0, 5, 0.05),
    "button.hold_time": (0.05, 60, 3),
    "button.stuck_time": (0.1, 3600, 30),
    "reader.bounce_time": (0, 5, 0.05),
    "reader.arm_time": (0.05, 86400, 10),
    "reader.settle_time": (0.05, 86400, 30),
    "close.grace": (0, 3600, 10),
    "close.quiet": (0, 3600, 30),
    "close.max_wait": (0, 86400, 900),
    "retry.first": (0.01, 3600, 1),
    "retry.max": (0.01, 86400, 30),
}
LEVELS = ("button.active", "reader.running", "led.active", "buzzer.active")
PULLS = ("button.pull", "reader.pull")
PINS = ("button.pin", "reader.pin", "led.pin", "buzzer.pin")
TEXTS = ("api.key_file", "api.ca_file", "session.name")
UNSEEN = ("\u00a0", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060", "\u202e", "\u3164", "\ufe0f")
OTHER_DEFAULTS = {
    "api.url": "https://api.runonrufus.com/v0",
    "api.key": "",
    "api.key_file": None,
    "api.ca_file": None,
    "api.proxy": None,
    "session.name": "",
    "button.active": "low",
    "button.pull": "up",
    "reader.running": "high",
    "reader.pull": "none",
    "led.active": "high",
    "buzzer.active": "high",
}


def test_every_key_and_its_default():
    """The keys and defaults are the documented ones, no more and no less; a pin and a token have none."""
    defaults = {f"{name}.{field.name}": field.default for name, table in TABLES.items() for field in fields(table)}
    promised = {key: default for key, (_, _, default) in DURATIONS.items()}
    missing = dict.fromkeys([*PINS, "session.token"], MISSING)
    assert defaults == {**promised, **OTHER_DEFAULTS, **missing}
    assert set(OPTIONAL) == {"button", "reader", "led", "buzzer"}


def test_defaults_are_valid():
    """What is not given is right by itself, and together."""
    for table, each in TABLES.items():
        for field in fields(each):
            if field.default not in (MISSING, None, ""):
                assert checks(f"{table}.{field.name}")(field.default) == field.default
    assert conflicts({"close": Close(), "retry": Retry(), "button": Button(17), "reader": Reader(27)}) == []


# -- durations


@pytest.mark.parametrize("key", DURATIONS)
def test_duration_within_its_bounds(key):
    """A duration may be whole or decimal, and exactly at a bound."""
    least, most, default = DURATIONS[key]
    for value in (least, most, default, (least + most) / 2, int(most)):
        found = checks(key)(value)
        assert found == value
        assert isinstance(found, float)


@pytest.mark.parametrize("key", DURATIONS)
def test_duration_out_of_bounds(key):
    """A duration beyond a bound is refused, with the bounds."""
    least, most, _ = DURATIONS[key]
    for value in (least - 0.001, most + 0.001, -1, 1e9, float("inf"), float("-inf"), float("nan"), HUGE, -HUGE):
        assert f"expected {least:g} to {most:g} seconds" in refused(key, value)


@pytest.mark.parametrize("key", DURATIONS)
@pytest.mark.parametrize("value", ["3s", "3", "", True, False, None, [3], {"seconds": 3}, datetime.time(0, 0, 3)])
def test_duration_that_is_no_number(key, value):
    """A duration that is not a number is refused, with an example."""
    assert "expected a number of seconds, for example 3 or 2.5" in refused(key, value)


# -- pins


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (17, 17),
        (0, 0),
        (27, 27),
        ("17", 17),
        ("GPIO17", 17),
        ("gpio17", 17),
        ("GPIO0", 0),
        ("GPIO07", 7),
        ("BCM17", 17),
        ("BOARD11", 17),
        ("BOARD03", 2),
        ("J8:11", 17),
        ("WPI0", 17),
        ("WPI31", 1),
    ],
)
@pytest.mark.parametrize("key", PINS)
def test_pin_by_any_of_its_names(key, name, number):
    """A pin may be named as gpiozero names it."""
    assert checks(key)(name) == number


@pytest.mark.parametrize(
    "name",
    [
        *(28, -1, 17.0, True, False, None, [17], {}, "", "GPIO28", "GPIO", "GPIO-1", "GPIO 17", " 17", "17 ", "PIN17"),
        *("BOARD1", "BOARD6", "BOARD41", "J8:1", "J811", "WPI17", "GPIO017", "seventeen", "GPIO17\n", "GPIO\u0661"),
        *("GPIO¹⁷", 10**30, "9" * 5000, datetime.date(2026, 5, 2)),
        *(pytest.param(HUGE, id="huge"), pytest.param(-HUGE, id="-huge")),
    ],
)
@pytest.mark.parametrize("key", PINS)
def test_pin_that_does_not_exist(key, name):
    """What is no GPIO of the header is refused, with examples: power, ground and misspelt ones, numbers of any size."""
    assert 'expected a pin as gpiozero names it, for example 17, "GPIO17" or "BOARD11"' in refused(key, name)


def test_pins_are_those_of_gpiozero():
    """Every name that gpiozero knows for a pin of the 40-pin header is known here, and leads to the same pin."""
    board = getattr(MockFactory(), "board_info", None)
    if board is None:
        pytest.skip("gpiozero before 2.0 has no list of names")
    known = {name: pin.name for pin in board.headers["J8"].pins.values() for name in pin.names if "GPIO" in pin.name}
    assert len(known) == 28 * 7
    for name, pin in known.items():
        assert f"GPIO{pin_number(name)}" == pin, name


# -- words


@pytest.mark.parametrize("key", LEVELS)
def test_level(key):
    """A level is high or low, in small letters."""
    assert [checks(key)(value) for value in ("high", "low")] == ["high", "low"]
    for value in ("HIGH", "hi", "", 1, True, None, ["high"], {"high": 1}):
        assert '"low"' in refused(key, value)
        assert '"high"' in refused(key, value)


@pytest.mark.parametrize("key", PULLS)
def test_pull(key):
    """A pull is up, down or none."""
    assert [checks(key)(value) for value in ("up", "down", "none")] == ["up", "down", "none"]
    for value in ("Up", "floating", "", False, 0, None, []):
        assert 'expected "up" or "down" or "none"' in refused(key, value)


@pytest.mark.parametrize("key", TEXTS)
def test_text(key):
    """A text may have any letters, on one line."""
    for value in ("FINISH-10K", "Łódź półmaraton", "東京マラソン", "/etc/rufusd/key", "x" * 1000):
        assert checks(key)(value) == value
    assert "expected a text in quotes" in refused(key, 10)
    assert "expected a text in quotes" in refused(key, ["a"])
    assert "is empty" in refused(key, "")
    assert "is empty" in refused(key, "  ")
    for value in ("a\nb", "a\rb", "a\0b", "\x1b[31m", "x" * 1001, "a\u2028b", "\ud800"):
        assert "expected one line of text" in refused(key, value)


@pytest.mark.parametrize(
    "name",
    [
        "🏁 10\u00a0K",
        "👩\u200d🚀 run",
        "❤\ufe0f",
        "🏴\U000e0067\U000e0062\U000e007f",
        "نیم\u200cماراتن",
        "\u200eמרתון",
        "Zuerich\u00ad",
        "\U0010fffd",
    ],
)
def test_a_name_is_for_people(name):
    """Emoji, joiners, and spaces and marks of every kind are theirs; RUFUS's alias may have them, too."""
    assert checks("session.name")(name) == name
    assert is_name(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a\x1b[2Jb", "U+001B (ESCAPE), which cannot be seen, at place 2;"),
        ("a\x9bb", "U+009B, which cannot be seen, at place 2;"),
        ("a\u202eb", "U+202E (RIGHT-TO-LEFT OVERRIDE), which cannot be seen, at place 2;"),
        ("ab\u2066", "U+2066 (LEFT-TO-RIGHT ISOLATE), which cannot be seen, at place 3;"),
        ("a\u2029b", "U+2029 (PARAGRAPH SEPARATOR), which cannot be seen, at place 2;"),
    ],
)
def test_a_name_that_would_garble_a_screen(name, words):
    """Promise 5: what turns the text of a screen around, or moves about on it, is named and refused."""
    assert words in refused("session.name", name)
    assert "expected one line of text" in refused("session.name", name)
    assert not is_name(name)


@pytest.mark.parametrize("name", ["\u200b", "\u00a0 \u2003", "\u200b\ufeff"])
def test_a_name_that_nobody_can_see_is_none(name):
    """What looks empty is told to be."""
    assert "is empty" in refused("session.name", name)


def test_names_are_compared_in_one_form():
    """A letter and its accent may be one character or two, as each keyboard likes it."""
    assert same_name("Łódź", "Łódz\u0301")
    assert not same_name("Łódź", "Łódz")


# -- characters that are not what they look like


@pytest.mark.parametrize("character", UNSEEN)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session.token", TOKEN),
        ("api.key", KEY),
        ("api.url", "https://rufus.venue"),
        ("api.proxy", "http://proxy.venue:3128"),
        ("button.active", "low"),
        ("button.pin", "GPIO17"),
        ("close.grace", "3"),
    ],
)
def test_promise_5_a_character_that_nobody_sees_is_named(key, value, character):
    """Promise 5: by its number, its name and its place, with what to do; a key is not shown (promise 6)."""
    for place in (0, 1, len(value)):
        said = refused(key, value[:place] + character + value[place:])
        named = f"U+{ord(character):04X} ({unicodedata.name(character)}), which cannot be seen, at place {place + 1};"
        assert named in said
        assert KEY not in said


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("session.token", f"“{TOKEN}”", "the character “, U+201C (LEFT DOUBLE QUOTATION MARK), at place 1;"),
        ("session.token", "А" + TOKEN, "the character А, U+0410 (CYRILLIC CAPITAL LETTER A), at place 1;"),
        ("session.token", f"{TOKEN} ", "U+0020 (SPACE), which cannot be seen, at place 65;"),
        ("session.token", f"{TOKEN}\t", "U+0009 (TAB), which cannot be seen, at place 65;"),
        ("api.key", f"‘{KEY}’", "the character ‘, U+2018 (LEFT SINGLE QUOTATION MARK), at place 1;"),
        ("api.key", KEY.replace("o", "о"), "the character о, U+043E (CYRILLIC SMALL LETTER O), at place 2;"),
        ("api.url", "https://rufus.venue/v０", "the character ０, U+FF10 (FULLWIDTH DIGIT ZERO), at place 22; write 0"),
        ("api.proxy", "http://proxy\u2011a:3128", "U+2011 (NON-BREAKING HYPHEN), at place 13; write - there"),
        ("api.proxy", "“http://proxy:3128”", 'U+201C (LEFT DOUBLE QUOTATION MARK), at place 1; write " there'),
        ("button.active", "“low”", 'the character “, U+201C (LEFT DOUBLE QUOTATION MARK), at place 1; write " there'),
        ("button.pin", "GPIO１７", "the character １, U+FF11 (FULLWIDTH DIGIT ONE), at place 5; write 1 there"),
        ("close.grace", "–3", "the character –, U+2013 (EN DASH), at place 1; write - there"),
        ("close.grace", "2,5", "write 2.5, with a point, without quotes"),
        ("button.pull", "obeń", '"obeń" is a text; expected'),
    ],
)
def test_promise_5_a_character_that_looks_like_another_is_named(key, value, words):
    """Promise 5: what a word processor or another keyboard gave, with the plain one to write in its place."""
    assert words in refused(key, value)


# -- key and token


@pytest.mark.parametrize("key", [KEY, "ror-0", "A1b2", "k" * 4096, "abc!~\"'\\"])
def test_account_key(key):
    """A key is any visible ASCII: its form is not promised."""
    assert account_key(key) == key


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is not a text"),
        (None, "is not a text"),
        (12345, "is not a text"),
        ([KEY], "is not a text"),
        ({"key": KEY}, "is not a text"),
        (f" {KEY}", "at place 1;"),
        (f"{KEY} ", f"at place {len(KEY) + 1};"),
        (f"{KEY}\n", f"at place {len(KEY) + 1};"),
        (f"{KEY}\u00e9", f"at place {len(KEY) + 1};"),
        (f"{KEY}\x7f", f"at place {len(KEY) + 1};"),
        ("ror-00 11", "at place 7;"),
        (DOCUMENTED_KEY, "example key from RUFUS's documentation"),
        ("PUT-YOUR-KEY-HERE", "still a placeholder"),
        ("your-api-key", "still a placeholder"),
        ("<key>", "still a placeholder"),
        ("ror-xxxxxxxxxxxxxxxxxxxx", "still a placeholder"),
        ("ror-...", "still a placeholder"),
        ("changeme", "still a placeholder"),
        ("CHANGE_ME", "still a placeholder"),
        ("paste-it", "still a placeholder"),
        (f"api_key: {KEY}", "begins with ror- at place 10;"),
        (f"Bearer {KEY}", "begins with ror- at place 8;"),
        (f"key={KEY}", "begins with ror- at place 5;"),
        (f"'{KEY}'", "begins with ror- at place 2;"),
        (f"{KEY[:8]}…{KEY[-4:]}", "is shortened: dots stand for a part of it"),
        (f"{KEY[:8]}...{KEY[-4:]}", "is shortened: dots stand for a part of it"),
        ("k" * 4097, "is 4097 characters long"),
    ],
)
def test_account_key_that_is_wrong(key, words):
    """Promise 6: what is wrong with a key is said without the key."""
    with pytest.raises(InvalidValue) as wrong:
        account_key(key)
    assert words in str(wrong.value)
    assert KEY not in str(wrong.value)
    assert not isinstance(key, str) or len(key) < 6 or key not in str(wrong.value)


@given(st.text(min_size=6))
def test_no_wrong_key_is_shown(key):
    """Promise 6: no text that could be meant as a key is repeated by the error about it."""
    try:
        assert account_key(key) == key
    except InvalidValue as wrong:
        assert key not in str(wrong)  # noqa: PT017 - most texts are wrong, some are right


@pytest.mark.parametrize("token", [TOKEN, TOKEN.lower(), "start-10k", "A" * 8, "a_-9" * 32])
def test_session_token(token):
    """A token is 8 to 128 of letters, digits, underscore and hyphen."""
    assert session_token(token) == token
    assert is_token(token)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (KEY, "were the two swapped?"),
        (DOCUMENTED_KEY, "were the two swapped?"),
        (DOCUMENTED_TOKEN, "example token from RUFUS's documentation"),
        (f" {KEY}", "were the two swapped?"),
        (f"key: {KEY}", "were the two swapped?"),
        ("6E05…DB4C", "is shortened: dots stand for a part of it"),
        ("6E05...DB4C", "is shortened: dots stand for a part of it"),
        ("PUT-THE-TOKEN-OF-YOUR-SESSION-HERE", "still a placeholder"),
        ("your_session_token", "still a placeholder"),
        ("<token>", "still a placeholder"),
        ("XXXXXXXXXXXX", "still a placeholder"),
        ("A" * 7, "8 to 128"),
        ("A" * 129, "8 to 128"),
        ("", "8 to 128"),
        (f"{TOKEN}\n", "8 to 128"),
        (f" {TOKEN}", "8 to 128"),
        ("../../etc/passwd", "8 to 128"),
        ("a/b/c/d/e/f", "8 to 128"),
        ("Łódź-półmaraton", "8 to 128"),
        (12345678, "8 to 128"),
        (None, "8 to 128"),
        ([TOKEN], "8 to 128"),
    ],
)
def test_session_token_that_is_wrong(token, words):
    """What cannot be a token, or is somebody else's, is refused."""
    assert words in refused("session.token", token)


@given(st.text())
def test_token_is_a_safe_name_of_a_file(text):
    """No text that passes for a token leads out of its folder or hides there."""
    if is_token(text):
        assert not set(text) & set("/\\.\0\n")
        assert 8 <= len(text) <= 128


# -- addresses


@pytest.mark.parametrize(
    ("given_", "taken"),
    [
        ("https://api.runonrufus.com/v0", "https://api.runonrufus.com/v0"),
        ("https://api.runonrufus.com/v0/", "https://api.runonrufus.com/v0"),
        ("https://rufus.venue", "https://rufus.venue"),
        ("HTTPS://rufus.venue:8443/v0", "HTTPS://rufus.venue:8443/v0"),
        ("https://[2001:db8::1]/v0", "https://[2001:db8::1]/v0"),
        ("http://localhost:8470/v0", "http://localhost:8470/v0"),
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470"),
        ("http://127.8.9.10/", "http://127.8.9.10"),
        ("http://[::1]:8470/v0", "http://[::1]:8470/v0"),
    ],
)
def test_address(given_, taken):
    """RUFUS's address is https; or http to this machine, for the sandbox."""
    assert checks("api.url")(given_) == taken


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://api.runonrufus.com/v0", "unencrypted"),
        ("http://127.0.0.1.evil.example/", "unencrypted"),
        ("http://localhost.evil.example/", "unencrypted"),
        ("http://10.0.0.1/", "unencrypted"),
        ("http://[2001:db8::1]/", "unencrypted"),
        ("http://1127.0.0.1/", "unencrypted"),
        ("http://127.0.0.999/", "unencrypted"),  # no address, so a name: whoever answers for it would get the key
        ("http://127.0.0.09/", "unencrypted"),
        ("http://127.0.0.\u0661/", "unencrypted"),
        ("ftp://api.runonrufus.com/", "such as"),
        ("api.runonrufus.com/v0", "such as"),
        ("//api.runonrufus.com/v0", "such as"),
        ("https://", "such as"),
        ("https:///v0", "such as"),
        ("https://user:secret@api.runonrufus.com/", "such as"),
        ("https://localhost@evil.example/", "such as"),
        ("https://h/v0?key=1", "such as"),
        ("https://h/v0#top", "such as"),
        ("https://h/v 0", "such as"),
        (" https://h/v0", "such as"),
        ("https://h\\@evil.example/", "such as"),
        ("https://h:port/", "such as"),
        ("https://h:99999/", "such as"),
        ("https://[::1", "such as"),
        (443, "expected a text"),
        ("", "is empty"),
    ],
)
def test_address_that_is_wrong(address, words):
    """Promise 6: the key goes to no host but the configured one, over TLS; a doubtful address is refused."""
    said = refused("api.url", address)
    assert words in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "proxy", ["http://proxy.venue:3128", "http://user:secret@proxy.venue:3128/", "http://[::1]:80"]
)
def test_proxy(proxy):
    """A proxy is plain HTTP with a port, and may have a user: RUFUS is spoken to through it by TLS."""
    assert checks("api.proxy")(proxy) == proxy


@pytest.mark.parametrize(
    "proxy",
    [
        *("https://proxy.venue:3128", "socks5://proxy.venue:1080", "proxy.venue:3128", "http://proxy.venue"),
        *("http://:3128", "http://proxy.venue:0", "http://proxy.venue:99999", "http://user:secret@proxy.venue:x"),
        *("http://proxy.venue:3128/path", "http://[::1", "http://user:secret@:3128"),
    ],
)
def test_proxy_that_is_wrong(proxy):
    """Promise 6: what is wrong with a proxy is said without its password."""
    assert refused("api.proxy", proxy) == 'expected an HTTP proxy with its port, such as "http://proxy.venue:3128"'


def test_secrets_are_not_in_the_representation():
    """Promise 6: settings that are printed by accident show neither the key nor the proxy's password."""
    settings = Settings(Api(KEY, proxy="http://user:secret@proxy.venue:3128"), Session(TOKEN))
    assert KEY not in repr(settings)
    assert "secret" not in repr(settings)
    assert TOKEN in repr(settings)


# -- how a value is shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true is a yes-or-no value"),
        (False, "false is a yes-or-no value"),
        ("3s", '"3s" is a text'),
        ('a"b\n', '"a\\"b\\n" is a text'),
        ("Łódź", '"Łódź" is a text'),
        ("x" * 61, f'"{"x" * 60}" is a text'),
        (3, "3 is a number"),
        (-2.5, "-2.5 is a number"),
        pytest.param(HUGE, "this is a very large number", id="huge"),
        pytest.param(-HUGE, "this is a very large number", id="-huge"),
        ([1], "this is a list"),
        ({}, "this is a table"),
        (datetime.date(2026, 5, 2), "this is a date or a time"),
    ],
)
def test_shown(value, words):
    """An error shows the value and its kind, within bounds."""
    assert describe(value) == words


# -- between values


def test_two_functions_on_one_pin():
    """A pin has one function: the second is told, by the name of the first."""
    tables = {"button": Button(17), "reader": Reader(17), "led": Output(22), "buzzer": Output(17)}
    assert conflicts(tables) == [
        ("reader.pin", "GPIO17 is also button.pin; expected a pin of its own"),
        ("buzzer.pin", "GPIO17 is also button.pin; expected a pin of its own"),
    ]


@pytest.mark.parametrize(
    ("table", "wrong"), [(Button(2, pull="down"), 1), (Reader(3), 1), (Button(3), 0), (Button(4), 0)]
)
def test_pins_with_a_pull_of_their_own(table, wrong):
    """GPIO2 and GPIO3 carry the I2C bus's pull-ups, which no configuration takes away (gpiozero: PinFixedPull)."""
    name = "button" if isinstance(table, Button) else "reader"
    found = conflicts({name: table})
    assert [key for key, _ in found] == [f"{name}.pull"] * wrong


def test_outputs_may_be_at_any_pin():
    """A pull-up is no matter for an LED."""
    assert conflicts({"led": Output(2), "buzzer": Output(3)}) == []


def test_no_proxy_is_sent_the_key_in_clear():
    """Promise 6: plain http is for this machine itself, and a proxy is another one."""
    proxy = "http://proxy.venue:3128"
    plain = Api(url="http://127.0.0.1:8470/v0", proxy=proxy)
    assert [key for key, _ in conflicts({"api": plain})] == ["api.proxy"]
    assert conflicts({"api": Api(proxy=proxy)}) == conflicts({"api": replace(plain, proxy=None)}) == []


def test_promise_6_a_name_that_has_the_key_in_it_is_refused():
    """Promise 6: the name is in the log, in the status, and in every record."""
    api = Api(key="ror-00112233445566778899")
    for name, wrong in (("10K", []), (f"10K {api.key}", ["session.name"]), (None, [])):
        found = conflicts({"api": api, "session": Session("A" * 64, name)})
        assert [key for key, _ in found] == wrong
        assert not any(api.key in str(sentence) for _, sentence in found)


def test_pins_that_are_wrong_by_themselves_do_not_conflict():
    """Two pins that could not be read are not the same pin."""
    assert conflicts({"led": Output(None), "buzzer": Output(None)}) == []


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (Button(17, hold_time=30.0, stuck_time=30.0), "button.stuck_time"),
        (Button(17, hold_time=30.0, stuck_time=5.0), "button.stuck_time"),
        (Button(17, hold_time=2.9, stuck_time=3.0), None),
        (Close(quiet=30.0, max_wait=29.0), "close.max_wait"),
        (Close(quiet=30.0, max_wait=30.0), None),
        (Close(quiet=0.0, max_wait=0.0), None),
        (Retry(first=2.0, max=1.0), "retry.max"),
        (Retry(first=2.0, max=2.0), None),
        (Button(17, hold_time=None, stuck_time=1.0), None),
        (Retry(first=2.0, max=None), None),
    ],
)
def test_durations_that_contradict_each_other(table, key):
    """The longer of two durations is longer: else nothing could be confirmed, or no wait would end."""
    name = type(table).__name__.lower()
    found = conflicts({name: table})
    assert [where for where, _ in found] == ([key] if key else [])
    assert all("expected more" in words for _, words in found)


# -- warnings


def warned(token=TOKEN, **parts):
    return dict(warnings(Settings(Api(KEY), Session(token), **parts)))


def test_nothing_to_warn_of():
    """A button that an open line releases, and a reader that an open line runs, are the safe ways to wire them."""
    assert warned(button=Button(17), reader=Reader(27, pull="up")) == {}
    assert warned(button=Button(17, active="high", pull="down"), reader=Reader(27, running="low", pull="down")) == {}


@pytest.mark.parametrize(("active", "pull"), [("low", "down"), ("high", "up")])
def test_button_that_a_cut_cable_presses(active, pull):
    """Promise 1: wiring in which an open line reads as pressed is told, with the pull that mends it."""
    said = warned(button=Button(17, active=active, pull=pull))["button.pull"]
    assert "a cut cable" in said
    assert "read as pressed" in said
    assert f'expected pull = "{"up" if active == "low" else "down"}"' in said


@pytest.mark.parametrize("active", ["low", "high"])
def test_button_that_floats(active):
    """Promise 1: a line without a pull floats when its cable is cut."""
    said = warned(button=Button(17, active=active, pull="none"))["button.pull"]
    assert "floats" in said
    assert f'set pull = "{"up" if active == "low" else "down"}"' in said


@pytest.mark.parametrize(("running", "pull"), [("high", "down"), ("low", "up")])
def test_reader_that_a_cut_cable_switches_off(running, pull):
    """Promise 1: wiring in which an open line reads as "reader off" is told, with the pull that mends it."""
    said = warned(reader=Reader(27, running=running, pull=pull))["reader.pull"]
    assert "a cut cable" in said
    assert "read as reader off" in said
    assert f'pull = "{"up" if running == "high" else "down"}" makes it read as running' in said


@pytest.mark.parametrize("running", ["high", "low"])
def test_reader_that_floats(running):
    """Promise 1: a reader's line without a pull floats when its cable is cut."""
    said = warned(reader=Reader(27, running=running))["reader.pull"]
    assert "floats" in said
    assert f'pull = "{"up" if running == "high" else "down"}" makes it read as running' in said


def test_no_trigger_at_all():
    """With neither button nor reader, only the command line can close."""
    assert "only `rufusd close` can close" in warned()["button"]


@pytest.mark.parametrize("token", ["start-10k", TOKEN[:-1], TOKEN + "0", TOKEN[:-1] + "G"])
def test_token_of_another_form(token):
    """A token that is not 64 hexadecimal digits may be cut short."""
    assert "is it the whole token?" in warned(token, button=Button(17))["session.token"]


def test_token_of_the_usual_form():
    """64 hexadecimal digits, in capitals or not, are what RUFUS gives."""
    assert warned(TOKEN.lower(), button=Button(17)) == {}
