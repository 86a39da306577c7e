"""Sentences that remember what they were made of: through the journal, through JSON, into another language."""

from __future__ import annotations

import json

import pytest

from rufusd.core.words import Message, _, _n, extract_messages, restore_messages, translated

SPANISH = {
    "{what} is off": "{what} está apagado",
    "the reader": "el lector",
    "{n} attempt": "{n} intento",
    "{n} attempts": "{n} intentos",
    "{x:.0f} s": "{x:.0f} seg",
}


def look_up(template, many, n):
    return SPANISH.get(many if many and n != 1 else template, template)


def test_a_sentence_is_english_as_any_text():
    """Whoever knows nothing of languages has a str: the journal, the JSON, a test."""
    assert _("{what} is off", what="x") == "x is off"
    assert json.dumps(_("a {b}", b=1)) == '"a 1"'


def test_a_sentence_without_parts_is_its_template():
    """Braces are of no meaning where there is nothing to put in."""
    assert _("{what} is off") == "{what} is off"
    assert _("{what} is off").with_parts(what="it") == "it is off"


@pytest.mark.parametrize(("n", "english", "spanish"), [(1, "1 attempt", "1 intento"), (2, "2 attempts", "2 intentos")])
def test_numbers_choose_their_form(n, english, spanish):
    """One attempt, two attempts, in both languages."""
    words = _n(n, "{n} attempt", "{n} attempts")
    assert (words, translated(words, look_up)) == (english, spanish)


def test_parts_are_said_in_the_language_too():
    """A sentence in a sentence."""
    assert translated(_("{what} is off", what=_("the reader")), look_up) == "el lector está apagado"


def test_what_has_no_translation_stays_english():
    """A plain text, an unknown sentence."""
    assert translated("the reader", look_up) == "the reader"
    assert translated(_("never seen {x}", x=1), look_up) == "never seen 1"


def test_what_is_in_a_sentence_can_be_cleaned():
    """Texts, in sentences within, too; numbers stay as they are, and the sentence can still be said elsewhere."""
    words = _("{x:.0f} s: {what} {why}", x=1.5, what=_("{what} is off", what="ror-1"), why="ror-2")
    clean = words.map_texts(lambda text: text.replace("ror-", "…"))
    assert clean == "2 s: …1 is off …2"
    assert translated(clean, look_up) == "2 s: …1 está apagado …2"


def test_a_sentence_that_is_another_programs_can_be_cleaned():
    """It has no parts, and may hold anything; the same where there is nothing to clean."""
    words = _("{why}!", why=_("Cannot redefine namespace ('ror-1',)"))
    clean = words.map_texts(lambda text: text.replace("ror-", "…"))
    assert clean == translated(clean, look_up) == "Cannot redefine namespace ('…1',)!"
    assert "ror-" not in json.dumps(extract_messages(clean))
    assert translated(_("the reader").map_texts(str.strip), look_up) == "el lector"


def test_sentences_survive_json():
    """What the daemon writes, `rufusd status` says in its reader's language."""
    status = {
        "faults": [_("{what} is off", what=_("the reader")), "plain"],
        "closes": ({"last_error": _("{x:.0f} s", x=1.5), "attempts": _n(2, "{n} attempt", "{n} attempts")},),
        "none": None,
    }
    read = json.loads(json.dumps({**status, "words": extract_messages(status)}))
    again = restore_messages(read, read.pop("words"))
    assert again["faults"][1] == "plain"
    assert not isinstance(again["faults"][1], Message)
    close = again["closes"][0]
    assert [translated(text, look_up) for text in (again["faults"][0], close["last_error"], close["attempts"])] == [
        "el lector está apagado",
        "2 seg",
        "2 intentos",
    ]
