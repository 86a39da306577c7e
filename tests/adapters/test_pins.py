"""The lines, by gpiozero's mock pins: polarity, pulls, changes of the configuration, and lines that fail."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from rufusd.adapters.pins import Pins, SimulatedPins
from rufusd.core.inputs import Levels
from rufusd.core.settings import Api, Button, Output, Reader, Session, Settings

BARE = Settings(Api(), Session("FINISH-10K-token"))
ALL = replace(BARE, button=Button(17), reader=Reader(22, pull="up"), led=Output(27), buzzer=Output(18))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the pins set for the process is taken back, gpiozero's own notion of its pins included."""
    monkeypatch.setenv("LG_WD", "set, so that it is restored")
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    before = gpiozero.Device.pin_factory
    yield
    if gpiozero.Device.pin_factory and gpiozero.Device.pin_factory is not before:
        gpiozero.Device.pin_factory.close()
    gpiozero.Device.pin_factory = before


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[SimulatedPins]:
    made = SimulatedPins(str(tmp_path))
    yield made
    made.close()


def pin(number: int) -> Any:
    """The mock pin itself, as seen from outside."""
    return gpiozero.Device.pin_factory.pin(number)


@pytest.mark.parametrize("pull", ["up", "down", "none"])
@pytest.mark.parametrize("active", ["low", "high"])
def test_a_button_is_pressed_at_its_active_level(pins: SimulatedPins, active: str, pull: str) -> None:
    """Promise 1: the level decides alone, whatever the pull; gpiozero's own inversion is undone."""
    pins.configure(replace(BARE, button=Button(17, active=active, pull=pull)))
    for high in (False, True, False, True):
        pins.drive(17, high)
        assert pins.read() == Levels(pressed=high == (active == "high"))


@pytest.mark.parametrize("pull", ["up", "down", "none"])
@pytest.mark.parametrize("running", ["low", "high"])
def test_a_reader_runs_at_its_running_level(pins: SimulatedPins, running: str, pull: str) -> None:
    """Promise 1: the same for the reader."""
    pins.configure(replace(BARE, reader=Reader(22, running=running, pull=pull)))
    for high in (False, True, False, True):
        pins.drive(22, high)
        assert pins.read() == Levels(running=high == (running == "high"))


@pytest.mark.parametrize(("pull", "high"), [("up", True), ("down", False)])
def test_an_open_line_is_at_its_pull(pins: SimulatedPins, pull: str, high: bool) -> None:
    """Promise 1: a cut cable reads as the pull makes it."""
    pins.configure(replace(BARE, button=Button(17, active="high", pull=pull)))
    assert pins.read().pressed is high


def test_a_button_that_is_held_at_boot_reads_as_held(pins: SimulatedPins) -> None:
    """Promise 1: what drives a pin before it is opened wins over its pull, so "pressed at boot" can be tested."""
    pins.drive(17, False)
    pins.configure(ALL)
    assert pins.read().pressed is True
    pins.configure(replace(ALL, button=Button(17, pull="down")))
    assert pins.read().pressed is True


def test_without_inputs_there_are_no_levels(pins: SimulatedPins) -> None:
    """Promise 1: what is not configured is not read, and nothing is missing."""
    pins.configure(BARE)
    assert pins.read() == Levels(None, None)
    assert pins.watching
    pins.write(True, True)


def test_inputs_are_claimed_without_edge_detection(pins: SimulatedPins) -> None:
    """Promise 2: levels are sampled, never subscribed to: no thread of a backend can die unseen."""
    pins.configure(ALL)
    assert {type(device) for device in (pins._devices["button"], pins._devices["reader"])} == {gpiozero.InputDevice}
    assert pin(17).when_changed is None


@pytest.mark.parametrize("active", ["high", "low"])
def test_outputs_are_on_at_their_active_level(pins: SimulatedPins, active: str) -> None:
    """Promise 5: an LED or a buzzer, wired either way, is off at first, then as it is told."""
    pins.configure(replace(BARE, led=Output(27, active), buzzer=Output(18, active)))
    on = active == "high"
    seen = []
    for light, sound in ((False, False), (True, False), (True, True), (False, True)):
        pins.write(light, sound)
        seen.append((bool(pin(27).state) == on, bool(pin(18).state) == on))
    assert seen == [(False, False), (True, False), (True, True), (False, True)]


@pytest.mark.parametrize("active", ["high", "low"])
def test_an_output_does_not_flash_when_it_is_opened(pins: SimulatedPins, active: str) -> None:
    """Promise 5: the very first level of an output is off."""
    pins.configure(replace(BARE, led=Output(27, active)))
    assert pin(27).function == "output"
    assert bool(pin(27).state) is (active == "low")


def test_an_output_is_written_when_it_changes(pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: twenty times a second the same level is no call to the kernel."""
    pins.configure(ALL)
    written: list[bool] = []
    real = type(pin(27))._set_state
    monkeypatch.setattr(type(pin(27)), "_set_state", lambda self, value: (written.append(value), real(self, value)))
    for light in (False, True, True, True, False, False):
        pins.write(light, False)
    assert written == [True, False]


def test_a_reload_leaves_alone_what_did_not_change(pins: SimulatedPins) -> None:
    """Promise 5: lines that stay are not let go; their state, and a level held at this moment, stay seen."""
    pins.configure(ALL)
    pins.write(True, False)
    before = dict(pins._devices)
    slower = Button(17, hold_time=5, bounce_time=0.1, stuck_time=60)
    pins.configure(
        replace(ALL, button=slower, reader=replace(ALL.reader, pull="down"), session=Session("another-token"))
    )
    kept = {role for role in before if pins._devices[role] is before[role]}
    assert kept == {"button", "led", "buzzer"}
    assert before["reader"].closed
    assert pin(27).state
    assert pin(22).pull == "down"


@pytest.mark.parametrize(
    "changed", [Button(5), Button(17, pull="down"), Button(17, active="high"), Button(5, "high", "none")]
)
def test_a_reload_reopens_what_changed(pins: SimulatedPins, changed: Button) -> None:
    """Promise 1: another pin, pull or polarity counts at once, and the old pin is free."""
    pins.drive(17, False)
    pins.configure(ALL)
    assert pins.read().pressed is True
    pins.drive(changed.pin, True)
    pins.configure(replace(ALL, button=changed))
    assert pins.read().pressed is (changed.active == "high")
    assert pin(changed.pin).pull == {"up": "up", "down": "down", "none": "floating"}[changed.pull]
    pins.configure(replace(ALL, led=Output(17 if changed.pin != 17 else 6), button=changed))
    assert pins.problems == {}


def test_a_reload_takes_away_what_is_gone(pins: SimulatedPins) -> None:
    """Promise 1: a trigger that is not configured any more is not watched any more, and its LED goes off."""
    pins.configure(ALL)
    pins.write(True, True)
    pins.configure(BARE)
    assert pins.read() == Levels()
    assert pins.watching
    assert pin(27).function == "input"
    pins.configure(ALL)
    pins.write(False, False)
    assert (pins.problems, pin(27).state) == ({}, False)


def test_pins_may_be_swapped_by_one_reload(pins: SimulatedPins) -> None:
    """Promise 5: each line is let go before any is taken, so roles may trade places."""
    pins.drive(17, False)
    pins.drive(22, True)
    pins.configure(ALL)
    pins.configure(replace(BARE, button=Button(22), reader=Reader(17, pull="up"), led=Output(18), buzzer=Output(27)))
    assert pins.problems == {}
    assert pins.read() == Levels(pressed=False, running=False)
    pins.configure(replace(BARE, button=Button(27), reader=Reader(18, pull="up"), led=Output(17), buzzer=Output(22)))
    pins.write(True, False)
    assert pins.problems == {}
    assert pin(17).state


class Broken(RuntimeError):
    """What a backend raises."""


def breaking(monkeypatch: pytest.MonkeyPatch, what: str, *numbers: int) -> None:
    """Let these pins fail when they are opened (`__init__`), read, written, or let go, as lgpio's do."""
    kind = gpiozero.Device.pin_factory.pin_class
    real = getattr(kind, what)

    def fail(self: Any, *value: Any) -> Any:
        done = real(self, *value)
        if repr(self) in [f"GPIO{number}" for number in numbers]:
            raise Broken("'GPIO busy'\nerrno 16")
        return done

    monkeypatch.setattr(kind, what, fail)


@pytest.mark.parametrize(("role", "number"), [("button", 17), ("reader", 22), ("led", 27), ("buzzer", 18)])
def test_a_line_that_cannot_be_had_is_a_problem_and_tried_again(
    pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch, role: str, number: int
) -> None:
    """Promises 2 and 5: the other lines work, the problem names line, role, reason and cure; then it is taken."""
    with monkeypatch.context() as patch:
        breaking(patch, "__init__", number)
        pins.configure(ALL)
        assert pins.problems.keys() == {role}
        assert f"GPIO{number} ({role}) cannot be used ('GPIO busy' errno 16): check that" in pins.problems[role]
        assert pins.watching  # one input is, at least
        levels = pins.read()
        assert (levels.pressed is None, levels.running is None) == (role == "button", role == "reader")
        pins.write(True, True)
        pins.configure(ALL)
        assert pins.problems.keys() == {role}
    pins.configure(ALL)
    assert pins.problems == {}
    assert pins.watching
    pins.write(False, False)
    pins.write(True, True)
    assert role not in ("led", "buzzer") or pin(number).state


def test_a_station_without_any_line_runs_on(pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 2: without a GPIO chip closes are delivered, and the command line still confirms."""
    with monkeypatch.context() as patch:
        breaking(patch, "__init__", 17, 22, 27, 18)
        pins.configure(ALL)
        assert pins.problems.keys() == {"button", "reader", "led", "buzzer"}
        assert pins.read() == Levels()
    pins.configure(ALL)
    assert pins.problems == {}


def test_no_input_at_all_is_no_watching(pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: a station that cannot watch anything does not say that it is ready."""
    breaking(monkeypatch, "__init__", 17, 22)
    pins.configure(ALL)
    assert not pins.watching
    pins.configure(replace(ALL, button=None, reader=None))
    assert pins.watching


def test_a_reading_that_fails_is_no_level(pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 1: neither pressed nor released, but unknown, and a problem; the next configure takes the line anew."""
    pins.configure(ALL)
    with monkeypatch.context() as patch:
        breaking(patch, "_get_state", 17)
        assert pins.read().pressed is None
    assert pins.read().pressed is None
    assert pins.read().running is True
    assert pins.problems.keys() == {"button"}
    assert pins.watching
    pins.configure(ALL)
    assert (pins.read().pressed, pins.problems) == (False, {})


def test_a_writing_that_fails_is_a_problem(pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: an LED that cannot be switched ends nothing, and shows the right thing once it can be."""
    pins.configure(ALL)
    with monkeypatch.context() as patch:
        breaking(patch, "_set_state", 27)
        pins.write(True, True)
        pins.write(False, True)
        assert pins.problems.keys() == {"led"}
    assert pin(18).state
    pins.configure(ALL)
    pins.write(True, True)
    assert (pins.problems, bool(pin(27).state)) == ({}, True)


def test_closing_switches_off_and_lets_go(pins: SimulatedPins) -> None:
    """Promise 5: "not running" is a dark LED."""
    pins.configure(ALL)
    pins.write(True, True)
    led = pin(27)
    pins.close()
    pins.close()
    assert not led.states[-1].state
    assert led.function == "input"
    assert pins.read() == Levels()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_closing_ends_though_a_line_fails(pins: SimulatedPins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 2: a line that cannot be let go delays no stop. (The filter: gpiozero tries again in `__del__`.)"""
    pins.configure(ALL)
    pins.write(True, True)
    with monkeypatch.context() as patch:
        breaking(patch, "close", 17, 27)
        breaking(patch, "_set_state", 27)
        pins.close()
        gc.collect()
    assert pins.read() == Levels()


def test_driving_by_the_names_of_one_pin(pins: SimulatedPins) -> None:
    """Promise 5: what is driven while a line is an output shows once it is an input."""
    pins.configure(replace(BARE, led=Output(17)))
    pins.drive(17, False)
    pins.write(True, False)
    assert pin(17).state
    pins.configure(replace(BARE, button=Button(17)))
    assert pins.read().pressed is True


# -- real pins, where there are none


@pytest.mark.filterwarnings("ignore")  # all that gpiozero does about a fallback
def test_the_backend_is_lgpio_with_its_fifo_in_the_runtime_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Promise 5: gpiozero falls back to nothing else, and lgpio's FIFO goes where it may; both can be set."""
    monkeypatch.delenv("LG_WD")
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    native = ModuleType("gpiozero.pins.native")
    native.NativeFactory = MockFactory  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpiozero.pins.native", native)  # which gpiozero would take
    monkeypatch.setitem(sys.modules, "gpiozero.pins.lgpio", None)  # as where it is not installed
    pins = Pins(str(tmp_path))
    assert os.environ["LG_WD"] == str(tmp_path)
    Pins("/elsewhere")
    assert os.environ["LG_WD"] == str(tmp_path)
    pins.configure(replace(BARE, button=Button(17)))
    assert pins.problems.keys() == {"button"}
    assert gpiozero.Device.pin_factory is None
    lgpio = ModuleType("gpiozero.pins.lgpio")
    lgpio.LGPIOFactory = MockFactory  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpiozero.pins.lgpio", lgpio)
    pins.configure(replace(BARE, button=Button(17)))
    assert (pins.problems, type(gpiozero.Device.pin_factory)) == ({}, MockFactory)
    pins.close()


def test_a_backend_that_is_missing_is_a_problem_of_every_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Promise 2: the station starts without its pins, says so, and tries the backend itself anew each time."""
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "no_such_backend")
    pins = Pins(str(tmp_path))
    pins.configure(ALL)
    assert pins.problems.keys() == {"button", "reader", "led", "buzzer"}
    assert (pins.read(), pins.watching) == (Levels(), False)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    pins.configure(ALL)
    assert (pins.problems, pins.watching) == ({}, True)
    pins.close()
    assert gpiozero.Device.pin_factory is None


def test_a_backend_that_gives_no_line_is_let_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Promise 2: a chip that answers nothing any more is opened anew for the next try."""
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    pins = Pins(str(tmp_path))
    pins.configure(BARE)
    assert gpiozero.Device.pin_factory is None  # nothing was wanted, so nothing was opened
    pins.configure(replace(BARE, led=Output(27)))
    stale = gpiozero.Device.pin_factory
    with monkeypatch.context() as patch:
        breaking(patch, "__init__", 17)
        breaking(patch, "_set_state", 27)
        pins.write(True, True)
        pins.configure(replace(BARE, button=Button(17)))
    assert gpiozero.Device.pin_factory is None
    pins.configure(ALL)
    assert (pins.problems, gpiozero.Device.pin_factory is stale) == ({}, False)
    pins.close()


@pytest.mark.parametrize("way", ["import", "factory"])
def test_a_backend_that_cannot_be_let_go_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """Promise 2: neither does a gpiozero that cannot even be imported, nor one that fails at the end."""
    pins = Pins(str(tmp_path))
    if way == "import":
        monkeypatch.setitem(sys.modules, "gpiozero", None)
        pins.configure(ALL)
        assert pins.problems.keys() == {"button", "reader", "led", "buzzer"}
        assert "import of gpiozero halted" in pins.problems["led"]
    else:
        monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
        pins.configure(ALL)
        assert pins.problems == {}

        def fail() -> None:
            raise Broken

        monkeypatch.setattr(gpiozero.Device.pin_factory, "close", fail)
    pins.close()
    assert pins.read() == Levels()
    monkeypatch.undo()


def test_a_fifo_that_lgpio_cannot_make_is_said_to_be_that(pins: Pins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: a full runtime folder is no other program that has the line."""
    monkeypatch.setenv("LG_WD", "/run/rufusd")
    pins._specs = {"button": SimpleNamespace(pin=17)}
    pins._failed("button", FileNotFoundError(2, "No such file or directory", ".lgd-nfy-82"))
    assert "lgpio cannot make its FIFO in /run/rufusd, which is full" in pins.problems["button"]
    assert "other program" not in pins.problems["button"]
