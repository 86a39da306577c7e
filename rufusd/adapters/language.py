"""The reader's language, by the locale (LANGUAGE, LC_ALL, LC_MESSAGES, LANG): what `rufusd/locale` has, or English."""

from __future__ import annotations

import functools
import gettext
from pathlib import Path

from rufusd.core.words import _, translated

# What the kernel (errno(3), in small letters) and tomli say, in sentences of ours: here for the catalogue.
THEIRS = (
    _("address family not supported by protocol"),
    _("cannot allocate memory"),
    _("cannot assign requested address"),
    _("connection timed out"),
    _("disk quota exceeded"),
    _("file exists"),
    _("file name too long"),
    _("file too large"),
    _("host is down"),
    _("input/output error"),
    _("invalid argument"),
    _("is a directory"),
    _("network is down"),
    _("network is unreachable"),
    _("no route to host"),
    _("no space left on device"),
    _("no such device"),
    _("no such device or address"),
    _("no such file or directory"),
    _("no such process"),
    _("not a directory"),
    _("operation not permitted"),
    _("permission denied"),
    _("read-only file system"),
    _("resource temporarily unavailable"),
    _("structure needs cleaning"),
    _("too many levels of symbolic links"),
    _("too many open files"),
    _("Escaped character is not a Unicode scalar value"),
    _("Expected '=' after a key in a key/value pair"),
    _("Expected ']' at the end of a table declaration"),
    _("Expected ']]' at the end of an array declaration"),
    _("Expected newline or end of document after a statement"),
    _("Invalid date or datetime"),
    _("Invalid hex value"),
    _("Invalid initial character for a key part"),
    _("Invalid statement"),
    _("Invalid value"),
    _("Unclosed array"),
    _("Unclosed inline table"),
    _("Unescaped '\\' in a string"),
    _("Unterminated string"),
)


@functools.cache
def _catalogue() -> gettext.NullTranslations:
    return gettext.translation("rufusd", Path(__file__).parents[1] / "locale", fallback=True)


def translate(text: str) -> str:
    """A sentence in the reader's language; as it is where it is none of `words`'s, or has no translation."""
    try:
        return translated(text, _look_up)
    except Exception:  # noqa: BLE001 - a catalogue that a bad card has damaged silences nobody, and undoes nothing
        return text


def _look_up(template: str, many: str, n: int) -> str:
    return _catalogue().ngettext(template, many, n) if many else _catalogue().gettext(template)
