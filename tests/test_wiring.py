"""The wiring guide: its figures, its configuration, and what it says of cut and shorted cables, are the program's."""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpiozero
import pytest
from paper import printable

from rufusd.adapters.config import load
from rufusd.adapters.pins import SimulatedPins
from rufusd.core import inputs
from rufusd.core.settings import Settings
from rufusd.text.report import BUTTON, READER

ROOT = Path(__file__).parents[1]
DRAW: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "draw.py"))
GUIDE = (ROOT / "docs" / "wiring.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Each block of configuration with the words just before and after it.
BLOCKS = [
    (GUIDE[max(0, block.start() - 300) : block.start()], block[1])
    for block in re.finditer(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
]


def rows(name: str) -> list[list[str]]:
    """The cells of a table between two markers, without its heading."""
    table = GUIDE.partition(f"<!-- {name}: ")[2].partition(f"<!-- end of {name} -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


CIRCUITS, DEVICES = rows("circuits"), rows("devices")


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedPins]:
    """Mock pins; what they set for the process is taken back."""
    for variable in ("LG_WD", "GPIOZERO_PIN_FACTORY"):
        monkeypatch.setenv(variable, os.environ.get(variable, "mock"))
    before = gpiozero.Device.pin_factory
    made = SimulatedPins(str(tmp_path))
    yield made
    made.close()
    gpiozero.Device.pin_factory = before


def loaded(folder: Path, block: str, token: str) -> tuple[Settings, list[str]]:
    """A block of the guide with key and token added, and what `rufusd check` says to it."""
    path = folder / "config.toml"
    path.write_text(f'[api]\nkey = "ror-0123456789abcdef0123"\n[session]\ntoken = "{token}"\n{block}', encoding="utf-8")
    found = load(str(path))
    assert found.settings, found.problems
    return found.settings, [str(problem) for problem in found.problems]


def level(pins: SimulatedPins, settings: Settings, role: str, line: str) -> bool:
    """Whether an input is pressed, or runs, with its line open (the pull decides), low or high."""
    pins.configure(settings)
    if line != "open":
        pins.drive(getattr(settings, role).pin, line == "high")
    read = pins.read()
    seen = {"button": read.pressed, "reader": read.running}[role]
    assert seen is not None, pins.problems
    return seen


def closes(settings: Settings, off: bool) -> bool:
    """Whether a reader that is armed, and then reads so for its settle_time and more, confirms a close."""
    assert settings.reader
    signal, now, events = inputs.ReaderState(), 0.0, []
    for running, seconds in ((True, settings.reader.arm_time + 1), (not off, settings.reader.settle_time + 1)):
        for _ in range(round(seconds / 0.05)):
            now += 0.05
            signal, event = inputs.reader(signal, running, now, settings.reader)
            events.append(event)
    return inputs.Event.CONFIRM in events


# -- the figures


@pytest.mark.parametrize("name", DRAW["FIGURES"])
def test_a_figure_is_what_the_script_draws(name: str) -> None:
    """docs/wiring/*.svg is what docs/draw.py draws now; `make docs` makes it anew."""
    assert (ROOT / "docs" / "wiring" / f"{name}.svg").read_text(encoding="utf-8") == DRAW["FIGURES"][name]()


def test_the_guide_shows_every_figure_and_no_other() -> None:
    """And the folder holds no figure that nobody draws."""
    shown = re.findall(r"!\[[^\]]+\]\(wiring/(\w+)\.svg\)", GUIDE)
    assert sorted(shown) == sorted(DRAW["FIGURES"])
    assert sorted(path.stem for path in (ROOT / "docs" / "wiring").iterdir()) == sorted(shown)


@pytest.mark.parametrize("name", DRAW["FIGURES"])
def test_a_figure_can_be_printed_and_needs_nothing_else(name: str) -> None:
    """Nothing but black on white."""
    printable(DRAW["FIGURES"][name](), {"black", "white"})


def test_the_pins_of_the_figures_the_readme_and_the_blocks_are_the_same() -> None:
    """The header's figure says for what a pin is; the README's table and every block agree."""
    named = {(int(gpio), int(pin)) for gpio, pin in re.findall(r"GPIO(\d+) \(pin (\d+)\)", README + GUIDE)}
    assert {f"GPIO{gpio}" for gpio, _ in named} == {DRAW["pin_name"](pin) for _, pin in named}
    grounds = {int(pin) for pin in re.findall(r"ground \(pin (\d+)\)", README + GUIDE)}
    assert grounds <= set(DRAW["GROUND"])
    assert {pin for _, pin in named} | grounds <= set(DRAW["USED"])
    used = {f"pin = {DRAW['pin_name'](pin).removeprefix('GPIO')}" for pin in DRAW["USED"]}
    assert {line for _, block in BLOCKS for line in block.splitlines() if line.startswith("pin")} <= used


# -- the configuration


@pytest.mark.parametrize(("before", "block"), BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_is_a_good_configuration(tmp_path: Path, token: str, before: str, block: str) -> None:
    """No error; and a warning about a cut cable where the guide announces one, and only there."""
    _, said = loaded(tmp_path, block, token)
    about = [each for each in said if "pull" in each]
    assert bool(about) is ("`rufusd check` warns:" in before)
    lonely = [] if re.search(r"^\[(button|reader)\]", block, re.MULTILINE) else ["there is neither"]
    assert [each for each in said if each not in about] == [each for each in said if any(one in each for one in lonely)]


@pytest.mark.parametrize("row", CIRCUITS, ids=lambda row: row[0])
@pytest.mark.parametrize("case", range(2, 7), ids=["runs", "stopped", "no power", "cut", "shorted"])
def test_what_the_guide_says_of_a_line_is_what_the_station_makes_of_it(
    tmp_path: Path, token: str, pins: SimulatedPins, row: list[str], case: int
) -> None:
    """Promise 1: the level at the pin, through the pins and the reader's rules, to "running" or "off, closes"."""
    if row[case] == "*not verified*":
        return
    line, said = row[case].split(": ")
    block = "[reader]\npin = 27\n" + "\n".join(re.findall(r"`(\w+ = \"\w+\")`", row[1]))
    settings, _ = loaded(tmp_path, block, token)
    running = level(pins, settings, "reader", line)
    assert said == ("running" if running else "off, closes")
    assert closes(settings, off=not running) is (said == "off, closes")


def test_only_what_the_guide_calls_not_safe_closes_by_a_cut_cable() -> None:
    """The rule of the guide, and that the table has a row for each of its circuits."""
    assert {row[0] for row in CIRCUITS if "closes" in row[5]} == {
        row[0] for row in CIRCUITS if row[0].startswith("not safe")
    }
    described = set(re.findall(r"^## (\d)\. (?!Button|Buzzer)", GUIDE, re.MULTILINE))
    assert {row[0][0] for row in CIRCUITS if row[0][0].isdigit()} == described


@pytest.mark.parametrize("row", DEVICES, ids=lambda row: row[0].strip("*"))
def test_the_keys_for_a_device_are_safe_and_those_of_its_circuit(
    tmp_path: Path, token: str, pins: SimulatedPins, row: list[str]
) -> None:
    """A cut cable reads as the guide says, `rufusd check` has no warning, and each claim has a source or says not."""
    _, output, circuit, keys, cut, unpowered = row
    if circuit == "none":
        assert not keys + cut + unpowered
        return
    settings, said = loaded(tmp_path, "[reader]\n" + "\n".join([*re.findall(r"`([^`]+)`", keys), ""]), token)
    assert said == []
    assert cut == ("running" if level(pins, settings, "reader", "open") else "off")
    assert settings.reader
    polarity = f'`running = "{settings.reader.running}"`, `pull = "{settings.reader.pull}"`'
    (found,) = {each[4] for each in CIRCUITS if each[0].startswith(circuit) and each[1] == polarity}
    assert unpowered == found.partition(": ")[2] or unpowered == found == "*not verified*"
    assert re.search(r"\[\d+\]|\*[Nn]ot verified\*", output) or row[0].startswith("**any reader")


@pytest.mark.parametrize("line", ["open", "low"], ids=["cut", "shorted"])
def test_the_buttons_cable_confirms_nothing_however_it_breaks(
    tmp_path: Path, token: str, pins: SimulatedPins, line: str
) -> None:
    """Promise 1: as the guide says below the button: cut is released, shorted is a fault, also when it is over."""
    (block,) = (block for _, block in BLOCKS if block.startswith("[button]"))
    settings, _ = loaded(tmp_path, block, token)
    rules = settings.button
    assert rules
    pressed = level(pins, settings, "button", line)
    assert pressed is (line == "low")
    press, now, events = inputs.Press(), 0.0, []
    for down, seconds in ((False, 1.0), (pressed, rules.stuck_time + 1), (False, 1.0)):
        for _ in range(round(seconds / 0.05)):
            now += 0.05
            press, event = inputs.button(press, down, now, rules)
            events.append(event)
        if down:
            assert press.state == "stuck"
    assert events == [None] * len(events)


def test_the_states_that_the_guide_quotes_are_those_of_rufusd_status() -> None:
    """Word for word, with the defaults."""
    quoted = re.findall(
        r'"([^"\n]+: closes [^"]+|not read yet|running, not armed[^"]*|[^"\n]*let (?:go|it go)[^"]*)"', GUIDE
    )
    states = {str(state.with_parts(hold_time=3)) for state in BUTTON.values()} | {
        str(state) for state in READER.values()
    }
    assert len(set(quoted)) >= 5
    assert set(quoted) <= states


def test_the_resistors_of_the_optocoupler_are_calculated() -> None:
    """Current and power as the guide says: about 5 mA, and well below a quarter of a watt."""
    table = re.findall(r"^\| (\d+) V \| ([\d.]+) (k?)Ω \| ([\d.]+) mA \| (\d+) mW \|$", GUIDE, re.MULTILINE)
    assert [int(volts) for volts, *_ in table] == [5, 12, 24, 30]
    for volts, ohms, kilo, current, power in table:
        rest, resistance = float(volts) - 1.2, float(ohms) * (1000 if kilo else 1)
        assert f"{1000 * rest / resistance:.1f}" == current
        assert f"{1000 * rest**2 / resistance:.0f}" == power
        assert 4.5 <= float(current) <= 10
        assert int(power) <= 150


# -- the text


def _anchor(heading: str) -> str:
    """The address that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", ["README.md", "docs/wiring.md"])
def test_every_link_inside_the_repository_leads_somewhere(page: str) -> None:
    """To a file, and to a heading of this page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    anchors = {_anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            assert (ROOT / page).parent.joinpath(target.partition("#")[0]).exists(), target


def test_every_source_is_used_and_every_use_has_a_source() -> None:
    """Numbers in brackets in the text, and the list at the end."""
    text, _, sources = GUIDE.partition("\n## Sources\n")
    listed = [int(number) for number in re.findall(r"^(\d+)\. ", sources, re.MULTILINE)]
    assert listed == list(range(1, len(listed) + 1))
    assert {int(number) for number in re.findall(r"\[(\d+)\]", text)} == set(listed)
    assert len(re.findall(r"<https://", sources)) >= len(listed)
