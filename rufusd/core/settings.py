"""What can be configured: every key, its default, its bounds and its meaning. Pure: no file, no clock, no pins.

The field's metadata is the schema: `check` turns the value a person wrote into the value the program uses, or raises
`InvalidValue` with a sentence that says what was expected. Values are valid by construction; nothing checks them again.

The text under each field is what all documents say of it (docs/manual.py reads it from this source; in the running
program it takes no room): one paragraph for the README, and what more the manual and the example file tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rufusd.core.words import Message, _

# The key and the token printed in RUFUS's own documentation: examples, nobody's.
DOCUMENTED_KEY = "ror-ae4fc6c19681a20fad30"
DOCUMENTED_TOKEN = "2A19294BB886C3D5C7783309BBC6E385515C843893A6BC126FECE3904C6E2B25"  # noqa: S105 - see above

_PLACEHOLDER = re.compile(r"your|example|change.?me|placeholder|paste|insert|fill.?in|put.*here|[<>]|\.{3}|x{6}", re.I)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,128}")
_SHORTENED = re.compile(r"[0-9A-Za-z](\.{3,}|\u2026)[0-9A-Za-z]")  # as people, and our own status, show a long one
_LABEL = re.compile(r"(?!ror-)([\"']|\W*\w.*?[:=\s\"'\u201c\u201d])ror-")  # a key and what stands before it
_GARBLES = re.compile(
    "[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)  # control, bidi overrides
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_TWINS = {  # what word processors and telephones make of them; of others, Unicode itself knows (NFKC)
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4", "'"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
}
_CONTROLS = {"\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\0": "NUL", "\x1b": "ESCAPE"}
_LOOPBACK = re.compile(r"localhost|127(\.(25[0-5]|(2[0-4]|1[0-9]|[1-9])?[0-9])){3}|::1")  # a wrong one is a name

# Where the pins of the 40-pin header, and the names of the older libraries, lead (gpiozero's "Pin Numbering").
# fmt: off
_BOARD = {
    3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24, 19: 10, 21: 9, 22: 25,
    23: 11, 24: 8, 26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21,
}
_WIRING_PI = {
    0: 17, 1: 18, 2: 27, 3: 22, 4: 23, 5: 24, 6: 25, 7: 4, 8: 2, 9: 3, 10: 8, 11: 7, 12: 10, 13: 9, 14: 11,
    15: 14, 16: 15, 21: 5, 22: 6, 23: 13, 24: 19, 25: 26, 26: 12, 27: 16, 28: 20, 29: 21, 30: 0, 31: 1,
}
# fmt: on
_GPIO = {number: number for number in range(28)}
_NAMED = {"GPIO": _GPIO, "BCM": _GPIO, "BOARD": _BOARD, "J8:": _BOARD, "WPI": _WIRING_PI, "": _GPIO}


class InvalidValue(ValueError):
    """A value that cannot be used; `args[0]`, a sentence, says what is wrong with it and what was expected."""


def unseen(character: str) -> bool:
    """Whether a character looks like a plain space, or like nothing at all."""
    import unicodedata  # here and below, since a right file never needs it

    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs") and character != " "
    return hidden or bool(_BLANK.fullmatch(character))


def twin(character: str) -> str:
    """The plain character that another one looks like or stands for; empty where there is none."""
    import unicodedata

    if character.isascii():
        return ""
    near = _TWINS.get(character) or unicodedata.normalize("NFKC", character)
    if character.isdecimal():
        near = str(unicodedata.decimal(character))
    return near if re.fullmatch("[!-~]", near) else ""


def named(character: str) -> Message:
    """A character for people, who may see no difference: with its number and its name in Unicode."""
    import unicodedata

    code, name = f"U+{ord(character):04X}", unicodedata.name(character, _CONTROLS.get(character, ""))
    code = f"{code} ({name})" if name else code
    if unseen(character) or character == " ":
        return _("the character {code}, which cannot be seen,", code=code)
    return _("the character {character}, {code},", character=character, code=code)


def oddity(text: str) -> Message | None:
    """What to do about the first character that is not what it looks like; None where there is none."""
    if text.isascii() and text.isprintable():
        return None
    for place, each in enumerate(text, 1):
        if unseen(each) or twin(each):
            return misplaced(each, place)
    return None


def misplaced(character: str, place: int) -> Message:
    """That a character is at this place, from 1, and what to do about it."""
    what = named(character)
    if plain := twin(character):
        return _("has {what} at place {place}; write {plain} there", what=what, place=place, plain=plain)
    return _("has {what} at place {place}; remove what is there and type it anew", what=what, place=place)


def describe(value: object) -> Message:
    """A value and its kind, for an error that a technician reads: `"3s" is a text`."""
    if isinstance(value, str) and not value.isascii() and (odd := oddity(value[:60])):
        return _("{value} is a text and {odd}", value=json.dumps(value[:60], ensure_ascii=False), odd=odd)
    if isinstance(value, bool):
        return _("{value} is a yes-or-no value", value=str(value).lower())
    if isinstance(value, str):
        return _("{value} is a text", value=json.dumps(value[:60], ensure_ascii=False))
    if isinstance(value, (int, float)):
        large = abs(value) >= 1e60
        return _("this is a very large number") if large else _("{value} is a number", value=str(value)[:60])
    if isinstance(value, (list, dict)):
        return _("this is a list") if isinstance(value, list) else _("this is a table")
    return _("this is a date or a time")


def pin_number(value: object) -> int:
    """The GPIO number of a pin, given by any name that gpiozero knows it by: 17, "GPIO17", "BOARD11", "J8:11"."""
    if type(value) is int and value in _GPIO:
        return value
    match = re.fullmatch(r"(GPIO|BCM|BOARD|J8:|WPI|)([0-9]{1,2})", value.upper() if isinstance(value, str) else "")
    number = match and _NAMED[match[1]].get(int(match[2]))
    if number is not None:
        return number
    raise InvalidValue(
        _(
            '{value}; expected a pin as gpiozero names it, for example 17, "GPIO17" or "BOARD11" (GPIO0 to GPIO27)',
            value=describe(value),
        )
    )


def seconds(least: float, most: float) -> Callable[[object], float]:
    """A check for a duration in seconds between two bounds, both allowed."""

    def check(value: object) -> float:
        if isinstance(value, str) and (comma := re.fullmatch(r"\s*(\d+),(\d+)\s*", value)):
            number = f"{comma[1]}.{comma[2]}"
            raise InvalidValue(
                _("{value}; write {number}, with a point, without quotes", value=describe(value), number=number)
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidValue(_("{value}; expected a number of seconds, for example 3 or 2.5", value=describe(value)))
        if not least <= value <= most:  # also refuses nan, which is between nothing
            raise InvalidValue(
                _(
                    "{value} out of bounds; expected {least:g} to {most:g} seconds",
                    **{"value": describe(value), "least": least, "most": most},
                )
            )
        return float(value)

    return check


def one_of(*choices: str) -> Callable[[object], str]:
    """A check for one of a few words."""

    def check(value: object) -> str:
        if value not in choices:
            expected = f'"{choices[0]}"'
            for choice in choices[1:]:
                expected = _('{choices} or "{choice}"', choices=expected, choice=choice)
            raise InvalidValue(_("{value}; expected {choices}", value=describe(value), choices=expected))
        return str(value)

    return check


def _text(value: object) -> str:
    text = _line(value)
    if not text.isprintable():
        place, wrong = next((n, each) for n, each in enumerate(text, 1) if not each.isprintable())
        raise InvalidValue(_("{odd}; expected one line of text", odd=misplaced(wrong, place)))
    return text


def _name(value: object) -> str:
    """What people call a session: emoji, joiners and spaces of any kind are theirs; not what garbles a screen."""
    text = _line(value)
    if wrong := _GARBLES.search(text):
        raise InvalidValue(_("{odd}; expected one line of text", odd=misplaced(wrong[0], wrong.start() + 1)))
    return text


def _line(value: object) -> str:
    """A text that is neither too long nor empty."""
    if not isinstance(value, str):
        raise InvalidValue(_("{value}; expected a text in quotes", value=describe(value)))
    if not value.strip() or (not value.isprintable() and all(map(unseen, value)) and not _GARBLES.search(value)):
        raise InvalidValue(_("is empty; expected a text in quotes, or no such line at all"))
    if len(value) > 1000:
        raise InvalidValue(_("has more than 1,000 characters; expected one line of text"))
    return value


def is_name(text: str) -> bool:
    """Whether a text can be shown to people as it is: a session's name, in the file or from RUFUS."""
    return not _GARBLES.search(text)


def same_name(one: str, other: str) -> bool:
    """Whether two names are the same to people: a letter with its accent may be one character, or two."""
    import unicodedata

    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def account_key(value: object) -> str:
    """The API key. What is wrong with it is said without showing it."""
    if not isinstance(value, str) or not value:
        raise InvalidValue(_("is not a text; expected your RUFUS account's key in quotes"))
    if label := _LABEL.match(value):
        raise InvalidValue(
            _(
                "has more than the key, which begins with ror- at place {place}; copy the key again, just the key",
                place=label.end() - 3,
            )
        )
    if _SHORTENED.search(value):
        raise InvalidValue(_("is shortened: dots stand for a part of it; copy the whole key"))
    for place, character in enumerate(value, 1):
        if not "!" <= character <= "~":
            raise InvalidValue(
                _(
                    "has {what} at place {place}; a key has none, so copy the key again, just the key",
                    **{"what": named(character), "place": place},
                )
            )
    if value == DOCUMENTED_KEY:
        raise InvalidValue(_("this is the example key from RUFUS's documentation; put your account's key here"))
    if _PLACEHOLDER.search(value):
        raise InvalidValue(_("this is still a placeholder; put your account's key here"))
    if len(value) > 4096:
        raise InvalidValue(_("is {count} characters long; expected at most 4096", count=len(value)))
    return value


def session_token(value: object) -> str:
    """The token of the session to close."""
    if isinstance(value, str) and (value.lstrip().startswith("ror-") or _LABEL.match(value)):
        raise InvalidValue(_("this looks like an API key, not like a session's token; were the two swapped?"))
    if value == DOCUMENTED_TOKEN:
        raise InvalidValue(
            _("this is the example token from RUFUS's documentation; put the token of your session here")
        )
    if isinstance(value, str) and _SHORTENED.search(value):
        raise InvalidValue(_("is shortened: dots stand for a part of it; copy the whole token"))
    if isinstance(value, str) and _PLACEHOLDER.search(value):
        raise InvalidValue(_("this is still a placeholder; put the token of your session here"))
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        form = _("{value}; expected the session's token: 8 to 128 of A-Z a-z 0-9 _ -")
        raise InvalidValue(form.with_parts(value=foreign(value) if isinstance(value, str) else describe(value)))
    return value


def foreign(text: str) -> Message:
    """What a token or an id has that none has; or else the text itself."""
    for place, each in enumerate(text, 1):
        if not "!" <= each <= "~":
            return misplaced(each, place)
    return describe(text)


def is_token(text: str) -> bool:
    """Whether a text can be a session's token, and so the name of a record."""
    return bool(_TOKEN.fullmatch(text))


def is_loopback(url: str) -> bool:
    """Whether an address leads to this machine itself."""
    return bool(_LOOPBACK.fullmatch(urlsplit(url).hostname or ""))


def _web_address(value: object) -> str:
    text = _text(value)
    wrong = _('expected an address such as "https://api.runonrufus.com/v0", with no user, "?" or "#" in it')
    if odd := oddity(text):
        wrong = _("{odd}; expected an address", odd=odd)
    try:
        parts = urlsplit(text)
        host, __ = parts.hostname, parts.port
    except ValueError:
        raise InvalidValue(wrong) from None
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc or set(text) & set("?# \\"):
        raise InvalidValue(wrong)
    if parts.scheme == "http" and not is_loopback(text):
        raise InvalidValue(
            _("would send the key unencrypted; expected https:// (plain http:// only to this machine itself)")
        )
    if odd:
        raise InvalidValue(wrong)
    return text.rstrip("/")


def _proxy(value: object) -> str:
    text = _text(value)
    if odd := oddity(text):
        raise InvalidValue(_("{odd}; expected an address", odd=odd))
    try:
        parts = urlsplit(text)
        valid = parts.scheme == "http" and parts.hostname and parts.port and parts.path in ("", "/")
    except ValueError:
        valid = False
    if not valid:
        raise InvalidValue(_('expected an HTTP proxy with its port, such as "http://proxy.venue:3128"'))
    return text


def _key(check: Callable[[object], Any], default: Any = MISSING, **more: Any) -> Any:
    return field(default=default, metadata={"check": check}, **more)


@dataclass(frozen=True)
class Api:
    """[api]: how RUFUS is reached. `timeout` is for one whole call, whatever the server does."""

    key: str = _key(account_key, "", repr=False)
    """Your RUFUS account's key, with WRITE or READ_WRITE access. Exactly one of this, `api.key_file`, or a systemd
    credential named `api_key`.

    With READ_WRITE, rufusd sees the passings come in and waits for the last; with WRITE it can only wait for a fixed
    time."""
    key_file: str | None = _key(_text, None)
    """A file that holds just the key, in place of `api.key`.

    A relative path begins at this file's folder."""
    url: str = _key(_web_address, "https://api.runonrufus.com/v0")
    """Where RUFUS is: `https` only, or `http` to this machine itself."""
    ca_file: str | None = _key(_text, None)
    """Other certificates than the system's."""
    proxy: str | None = _key(_proxy, None, repr=False)
    """An HTTP proxy, if the venue needs one; environment variables are ignored."""
    timeout: float = _key(seconds(0.1, 120), 10.0)
    """How long one call to RUFUS may take, all told."""


@dataclass(frozen=True)
class Session:
    """[session]: what the next close will close."""

    token: str = _key(session_token)
    """The session to close: its token, as RUFUS shows it.

    RUFUS's tokens have had 64 hexadecimal digits so far; `rufusd check` warns about others."""
    name: str = _key(_name, "")
    """What people call it. Only for reading."""


@dataclass(frozen=True)
class Button:
    """[button]: a person's trigger. Held for `hold_time` and let go, it confirms; beyond `stuck_time` it is a fault."""

    pin: int = _key(pin_number)
    """The pin, by any of its names: 17, "GPIO17" or "BOARD11", the eleventh of the header."""
    active: str = _key(one_of("low", "high"), "low")
    """The level while pressed."""
    pull: str = _key(one_of("up", "down", "none"), "up")
    """Where the pin is pulled while nothing drives it: "up", "down" or "none".

    With the button to ground, "low" and "up" make a cut cable look like "not pressed", which closes nothing;
    `rufusd check` warns about what is less safe."""
    bounce_time: float = _key(seconds(0, 5), 0.05)
    """A level counts once it has been stable for this long."""
    hold_time: float = _key(seconds(0.05, 60), 3.0)
    """Held for this long, until the LED is steady, and then let go, it confirms a close."""
    stuck_time: float = _key(seconds(0.1, 3600), 30.0)
    """Held for longer than this it is a shorted cable or a stuck switch: a fault, which confirms nothing."""


@dataclass(frozen=True)
class Reader:
    """[reader]: the reader's own signal. Running for `arm_time`, then off for `settle_time`, it confirms."""

    pin: int = _key(pin_number)
    """As `button.pin`."""
    running: str = _key(one_of("high", "low"), "high")
    """The level while the reader runs."""
    pull: str = _key(one_of("up", "down", "none"), "none")
    """As `button.pull`.

    With a contact to ground that opens while the reader runs, "high" and "up" make a cut cable look like "running",
    which closes nothing."""
    bounce_time: float = _key(seconds(0, 5), 0.05)
    """As `button.bounce_time`."""
    arm_time: float = _key(seconds(0.05, 86400), 10.0)
    """The reader must have run for this long without a break before its going off means anything."""
    settle_time: float = _key(seconds(0.05, 86400), 30.0)
    """Then off for this long without a break, it confirms a close."""


@dataclass(frozen=True)
class Close:
    """[close]: how long a close can be taken back, and how long no passing must have come before it is sent."""

    grace: float = _key(seconds(0, 3600), 10.0)
    """For this long a short press of the button takes the close back."""
    quiet: float = _key(seconds(0, 3600), 30.0)
    """RUFUS must have got no new passing for this long, since what comes after the close is lost.

    0 waits for nothing."""
    max_wait: float = _key(seconds(0, 86400), 900.0)
    """The longest wait for quiet: then rufusd closes although passings still come.

    After an outage, which is two looks in a row without an answer, the wait begins anew, since the reader then uploads
    what it kept. Waits that are longer than this in all are a fault that says why. A restart of the daemon goes on
    where the wait was."""


@dataclass(frozen=True)
class Retry:
    """[retry]: the pauses between attempts, doubling from `first` to `max`."""

    first: float = _key(seconds(0.01, 3600), 1.0)
    """The first pause between attempts; each is twice the one before."""
    max: float = _key(seconds(0.01, 86400), 30.0)
    """The longest pause; what RUFUS refused is retried ten times as slowly."""


@dataclass(frozen=True)
class Output:
    """[led] and [buzzer]: an output and the level at which it is on."""

    pin: int = _key(pin_number)
    """As `button.pin`."""
    active: str = _key(one_of("high", "low"), "high")
    """The level at which it is on."""


@dataclass(frozen=True)
class Settings:
    """A whole, valid configuration."""

    api: Api
    """How RUFUS is reached."""
    session: Session
    """What the next close will close. A close that is pending keeps its own."""
    close: Close = Close()
    """How long a close can be taken back, and what it waits for."""
    retry: Retry = Retry()
    """The pauses between attempts while there is no network, or no good answer."""
    button: Button | None = None
    """The button that a person holds, and lets go, to close."""
    reader: Reader | None = None
    """The signal of the RFID reader that says whether it runs: where it goes off, that closes."""
    led: Output | None = None
    """The status LED, with its resistor, to ground."""
    buzzer: Output | None = None
    """A buzzer that sounds by itself when it has power (an "active" one), through a transistor."""


TABLES: dict[str, type[Any]] = {
    "api": Api,
    "session": Session,
    "button": Button,
    "reader": Reader,
    "close": Close,
    "retry": Retry,
    "led": Output,
    "buzzer": Output,
}
OPTIONAL = ("button", "reader", "led", "buzzer")


def line_identity(spec: Any) -> str:
    """What makes an input or output another line, as a text: its pin, pull and levels; empty where there is none."""
    return " ".join(str(getattr(spec, name)) for name in ("pin", "pull", "active", "running") if hasattr(spec, name))


def conflicts(tables: Mapping[str, Any]) -> list[tuple[str, Message]]:
    """What is wrong between values that are each right: (key, sentence). A value that is None was wrong by itself."""
    found: list[tuple[str, Message]] = []
    taken: dict[int, str] = {}
    for name in OPTIONAL:
        pin = tables[name].pin if name in tables else None
        if pin in taken:
            also = _("GPIO{pin} is also {other}.pin; expected a pin of its own", pin=pin, other=taken[pin])
            found.append((f"{name}.pin", also))
        elif pin is not None:
            taken[pin] = name
        if pin in (2, 3) and getattr(tables[name], "pull", "up") != "up":
            soldered = _('GPIO{pin} has a pull-up soldered to it; expected "up", or another pin', pin=pin)
            found.append((f"{name}.pull", soldered))
    api = tables.get("api")
    if api and api.proxy and (api.url or "").startswith("http://"):
        found.append(
            ("api.proxy", _("would be sent the key unencrypted, since api.url is plain http; remove one of them"))
        )
    session = tables.get("session")
    if api and api.key and session and api.key in (session.name or ""):
        found.append(
            ("session.name", _("has the API key in it, and everybody is shown the name; expected what people call it"))
        )
    less = _("{high:g} is less than {key} ({low:g}); expected more")
    for name, lesser, greater, both, sentence in (
        ("button", "hold_time", "stuck_time", False, _("{high:g} is not more than {key} ({low:g}); expected more")),
        ("close", "quiet", "max_wait", True, less),
        ("retry", "first", "max", True, less),
    ):
        low, high = getattr(tables.get(name), lesser, None), getattr(tables.get(name), greater, None)
        if low is not None and high is not None and not (high > low or (both and high == low)):
            found.append((f"{name}.{greater}", sentence.with_parts(high=high, low=low, key=f"{name}.{lesser}")))
    return found


def warnings(settings: Settings) -> Iterator[tuple[str, Message]]:
    """What is valid but may not be meant: (key, sentence). Above all, what a cut cable would look like."""
    button, reader = settings.button, settings.reader
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", settings.session.token):
        yield (
            "session.token",
            _("is not the 64 hexadecimal digits that RUFUS's tokens have been so far; is it the whole token?"),
        )
    if button and button.pull == "none":
        yield (
            "button.pull",
            _(
                "with no pull, an open line (a cut cable) floats and may read as pressed; fit a resistor, "
                'or set pull = "{pull}"',
                pull=_away(button.active),
            ),
        )
    elif button and button.pull != _away(button.active):
        yield (
            "button.pull",
            _(
                'pull = "{pull}" makes an open line (a cut cable) read as pressed, since active = "{active}"; '
                'expected pull = "{better}"',
                pull=button.pull,
                active=button.active,
                better=_away(button.active),
            ),
        )
    if reader and reader.pull == "none":
        yield (
            "reader.pull",
            _(
                "with no pull, an open line (a cut cable) floats and may read as reader off; "
                'pull = "{pull}" makes it read as running, which closes nothing',
                pull=_towards(reader.running),
            ),
        )
    elif reader and reader.pull != _towards(reader.running):
        yield (
            "reader.pull",
            _(
                'pull = "{pull}" makes an open line (a cut cable) read as reader off, since '
                'running = "{running}"; pull = "{better}" makes it read as running, which closes nothing',
                pull=reader.pull,
                running=reader.running,
                better=_towards(reader.running),
            ),
        )
    if not button and not reader:
        yield "button", _("there is neither a [button] nor a [reader]; only `rufusd close` can close")


def _towards(level: str) -> str:
    return {"high": "up", "low": "down"}[level]


def _away(level: str) -> str:
    return {"high": "down", "low": "up"}[level]
