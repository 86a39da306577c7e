"""Sentences for people: in English where they are made, with what they were made of, so that they can be said
in another language to whoever reads. Pure: the catalogue is `language`'s.

`_` marks a sentence for the catalogue; it is a str as any other, for the journal and the JSON. Joining two by `+` or in
an f-string forgets what they were made of: give them to `_` as parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Message(str):
    """English, and its template and parts. `many` is the template where the part `n` is not one."""

    __slots__ = ("many", "parts", "template")
    template: str
    many: str
    parts: dict[str, Any]

    def __new__(cls, template: str, many: str, parts: dict[str, Any]) -> Message:
        """Raises KeyError where the template names a part that there is not."""
        chosen = many if many and parts["n"] != 1 else template
        words = super().__new__(cls, chosen.format_map(parts) if parts else chosen)
        words.template, words.many, words.parts = template, many, parts
        return words

    def map_texts(self, clean: Callable[[str], str]) -> Message:
        """The same sentence with each text in it as `clean` gives it."""
        if not self.parts:  # it may itself come from outside: another program's words
            return Message(clean(self.template), clean(self.many), {})
        return self.with_parts(
            **{
                name: part.map_texts(clean)
                if isinstance(part, Message)
                else clean(part)
                if isinstance(part, str)
                else part
                for name, part in self.parts.items()
            }
        )

    def with_parts(self, **parts: Any) -> Message:
        """The same sentence with its parts, for one that was marked without."""
        return Message(self.template, self.many, parts)


def _(template: str, **parts: Any) -> Message:
    """A sentence for people; `{name}` in it is the part of that name, as `str.format` knows it."""
    return Message(template, "", parts)


def _n(n: int, one: str, many: str, **parts: Any) -> Message:
    """A sentence that depends on a number, which is its part `n`."""
    return Message(one, many, {**parts, "n": n})


def translated(text: str, look_up: Callable[[str, str, int], str]) -> str:
    """A text in another language. `look_up` gets template, many (or "") and number, and gives the template there."""
    if not isinstance(text, Message):
        return text
    parts = {name: translated(part, look_up) if isinstance(part, str) else part for name, part in text.parts.items()}
    found = look_up(text.template, text.many, int(parts["n"]) if text.many else 1)
    return found.format_map(parts) if parts else found


def extract_messages(value: Any) -> dict[str, Any]:
    """What JSON forgets of a value: every sentence in it to what it was made of, for `restore_messages`."""
    if isinstance(value, Message):
        return {**extract_messages(list(value.parts.values())), str(value): [value.template, value.many, value.parts]}
    inner = value.values() if isinstance(value, dict) else value
    # Thousands of closes are gone through, between two scans: what can hold no sentence is passed over at once.
    return {
        sentence: made
        for each in inner
        if isinstance(each, (Message, dict, list, tuple))
        for sentence, made in extract_messages(each).items()
    }


def restore_messages(value: Any, made: Mapping[str, Any]) -> Any:
    """A value that came through JSON, with its sentences again made of what they were made of."""
    if isinstance(value, str) and value in made:
        template, many, parts = made[value]
        return Message(template, many, restore_messages(parts, made))
    if isinstance(value, Mapping):
        return {key: restore_messages(each, made) for key, each in value.items()}
    return [restore_messages(each, made) for each in value] if isinstance(value, list) else value
