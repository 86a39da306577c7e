"""The timekeeper's card: one page, the program's own lights and durations, every sentence in both languages."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from paper import SVG, printable, width

from rufusd.core.indicator import Indication, light
from rufusd.core.settings import Button, Close, Reader

ROOT = Path(__file__).parents[1]
CARD: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "card.py"))
LED: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "led.py"))


def drawn(name: str) -> str:
    """A card as the script draws it now."""
    text: str = CARD["card"](*CARD["CARDS"][name])
    return text


@pytest.mark.parametrize("name", CARD["CARDS"])
def test_a_card_is_what_the_script_draws(name: str) -> None:
    """docs/card*.svg are what docs/card.py draws now; `make docs` makes them anew."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == drawn(name)


@pytest.mark.parametrize("name", CARD["CARDS"])
def test_a_card_is_one_page_that_a_printer_can_print(name: str) -> None:
    """A4, black and grey on white; each text stays on the page, within the margins, and clear of what follows it."""
    printable(drawn(name), {"black", "white", "#888", "#777"})
    tree = ElementTree.fromstring(drawn(name))
    assert (tree.get("width"), tree.get("height")) == ("210mm", "297mm")
    texts = []
    for element in tree.iter(f"{SVG}text"):
        x, y = float(element.get("x", "")), float(element.get("y", ""))
        texts.append((y, x, x + width(element.text or "", float(element.get("font-size", ""))), element.text))
        assert texts[-1][2] <= CARD["WIDTH"] - 30, element.text
        assert y <= CARD["HEIGHT"] - 40, element.text
    for y, left, right, text in texts:
        for other, begin, end, after in texts:
            close = abs(y - other) < 10 and (y, left) != (other, begin)
            assert not (close and left < end and begin < right), (text, after)


def test_every_sentence_is_there_in_spanish_and_no_other() -> None:
    """The card is drawn with every sentence noted; the Spanish names the same durations."""
    used: set[str] = set()

    def noted(sentence: str) -> str:
        used.add(sentence)
        return sentence

    CARD["card"](noted, "en")
    assert used == set(CARD["SPANISH"])
    for english, spanish in CARD["SPANISH"].items():
        assert re.findall(r"{\w+:g}", english) == re.findall(r"{\w+:g}", spanish), english
        assert spanish.strip() == spanish != ""
        assert "\n" not in spanish


def test_every_light_of_the_station_is_on_the_card() -> None:
    """A row for each indication, and each a strip of six seconds."""
    assert {row[0] for row in LED["ROWS"]} == set(Indication)
    assert drawn("card.svg").count('width="240" height="14" fill="none"') == len(Indication)


@pytest.mark.parametrize("indication", Indication)
def test_a_strip_is_as_black_as_the_led_is_lit(indication: Indication) -> None:
    """Measured on the drawing, by the function that drives the LED."""
    bars = "\n".join(LED["strip"](indication, 0, 0, 100, 6))
    black = sum(float(wide) for wide in re.findall(r'width="([\d.]+)" height="14" fill="black"', bars))
    assert round(black) == sum(light(indication, hundredth / 100) for hundredth in range(600))


@pytest.mark.parametrize("name", CARD["CARDS"])
def test_the_durations_on_the_card_are_the_defaults(name: str) -> None:
    """Those that the settings have now."""
    said = " ".join(element.text or "" for element in ElementTree.fromstring(drawn(name)).iter(f"{SVG}text"))
    hold, grace, settle = Button(pin=17).hold_time, Close().grace, Reader(pin=27).settle_time
    assert sorted(int(number) for number in re.findall(r"(\d+) (?:seconds|segundos)", said)) == sorted(
        [int(hold), int(grace), int(grace), int(settle)]
    )
    assert f" {hold:g} s " in said
