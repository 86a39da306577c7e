"""The reader's language, by the locale (LANGUAGE, LC_ALL, LC_MESSAGES, LANG): what `rufusd/locale` has, or English."""

from __future__ import annotations

import functools
import gettext
from pathlib import Path

from rufusd.words import said


@functools.cache
def _catalogue() -> gettext.NullTranslations:
    return gettext.translation("rufusd", Path(__file__).parent / "locale", fallback=True)


def say(text: str) -> str:
    """A sentence in the reader's language; as it is where it is none of `words`'s, or has no translation."""
    return said(text, _look_up)


def _look_up(template: str, many: str, n: int) -> str:
    return _catalogue().ngettext(template, many, n) if many else _catalogue().gettext(template)
