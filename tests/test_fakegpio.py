"""The fake GPIO chip against real gpiozero on real lgpio: what the other tests take for granted of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakegpio import FakeChip, build

# Programs run in processes of their own, since a library is preloaded only into a new one. They find this folder's
# modules, so that they can move the chip themselves between two looks at it.
PRELUDE = """
import os
from pathlib import Path
import gpiozero
from fakegpio import FakeChip, build
chip = FakeChip(Path(os.environ["GPIOFAKE_DIR"]), Path(os.environ["LD_PRELOAD"]))
"""


@pytest.fixture
def chip(tmp_path: Path, library: Path) -> FakeChip:
    return FakeChip(tmp_path / "chip", library)


def start(chip: FakeChip, program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program on the chip to its end."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        env={**os.environ, **chip.env(), "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def printed(chip: FakeChip, program: str) -> list[str]:
    """The lines that a program prints, which must succeed."""
    done = start(chip, program)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def error(chip: FakeChip, program: str) -> str:
    """The last line of the traceback of a program, which must fail."""
    done = start(chip, program)
    assert done.returncode == 1, done.stdout
    return done.stderr.splitlines()[-1]


def test_an_input_reads_what_is_driven(chip: FakeChip) -> None:
    """A level that is applied before or after the program took the line is what gpiozero reads."""
    chip.drive(17, False)
    program = """
button = gpiozero.InputDevice(17, pull_up=True)
print(button.pin.state, button.value)
chip.drive(17, True)
print(button.pin.state, button.value)
"""
    assert printed(chip, program) == ["False 1", "True 0"]


def test_an_input_that_nothing_drives_is_at_its_pull(chip: FakeChip) -> None:
    """Pull-up and no pull read high, pull-down reads low."""
    program = """
for line, device in (
    (5, gpiozero.InputDevice(5, pull_up=True)),
    (6, gpiozero.InputDevice(6, pull_up=False)),
    (7, gpiozero.InputDevice(7, pull_up=None, active_state=True)),
):
    print(line, device.pin.pull, device.pin.state)
"""
    assert printed(chip, program) == ["5 up True", "6 down False", "7 floating True"]


def test_an_output_is_seen_from_outside(chip: FakeChip) -> None:
    """What gpiozero drives can be read while the program runs, by itself, and after its end."""
    assert chip.output(27) is None
    program = """
led = gpiozero.OutputDevice(27, initial_value=True)
print(led.value, chip.output(27))
led.off()
print(led.value, chip.output(27))
led.on()
"""
    assert printed(chip, program) == ["1 True", "0 False"]
    assert chip.output(27) is True


def test_a_held_line_is_refused_to_others(chip: FakeChip) -> None:
    """A second handle gets "GPIO busy", as from the kernel, until the first is freed; other lines are free."""
    program = """
import lgpio
first, second = lgpio.gpiochip_open(0), lgpio.gpiochip_open(0)
lgpio.gpio_claim_input(first, 17)
try:
    lgpio.gpio_claim_input(second, 17)
except lgpio.error as refusal:
    print(refusal)
in_use = 1  # by the kernel, as lgpio puts it
print(*(lgpio.gpio_get_line_info(second, line)[2] & in_use for line in (17, 18)))
print(lgpio.gpio_claim_input(second, 18))
lgpio.gpio_free(first, 17)
print(lgpio.gpio_claim_input(second, 17))
"""
    assert printed(chip, program) == ["'GPIO busy'", "1 0", "0", "0"]


def test_a_killed_program_holds_no_line(chip: FakeChip) -> None:
    """A line is refused to a second process while the first lives, and is free after a kill -9."""
    program = """
import subprocess, sys
take = "import gpiozero; button = gpiozero.InputDevice(17); print('taken', flush=True); input()"
with subprocess.Popen([sys.executable, "-c", take], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
    holder.stdout.readline()
    try:
        gpiozero.InputDevice(17)
    except Exception as refusal:
        print(refusal)
    holder.kill()
print(gpiozero.InputDevice(17, pull_up=True).pin.state)
"""
    assert printed(chip, program) == ["'GPIO busy'", "True"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("open EACCES", "lgpio.error: 'can not open gpiochip'"),
        ("line EBUSY", "lgpio.error: 'GPIO busy'"),
        ("line 5", "lgpio.error: 'unexpected error'"),
        ("read EIO", "lgpio.error: 'bad GPIO read'"),
    ],
)
def test_a_fault_surfaces(chip: FakeChip, fault: str, sentence: str) -> None:
    """Each fault is an lgpio.error where gpiozero takes the step."""
    chip.fail(fault)
    assert error(chip, "gpiozero.InputDevice(17).value") == sentence


def test_a_fault_ends(chip: FakeChip) -> None:
    """A fault can come and go while the program runs."""
    program = """
button = gpiozero.InputDevice(17, pull_up=True)
chip.fail("read EIO")
try:
    button.value
except Exception as fault:
    print(fault)
chip.fail(None)
print(button.value)
"""
    assert printed(chip, program) == ["'bad GPIO read'", "0"]


@pytest.mark.parametrize("fault", ["write EIO", "read", "read EWHAT", "read EIO now"])
def test_a_fault_that_means_nothing_is_refused(chip: FakeChip, fault: str) -> None:
    """A misspelt fault is an error of the test, and no fault that never strikes."""
    with pytest.raises(ValueError, match="is no fault"):
        chip.fail(fault)


def test_edge_detection_is_refused(chip: FakeChip) -> None:
    """gpiozero.Button subscribes to edges, so a program that runs on a chip that allows none uses none."""
    assert error(chip, "gpiozero.Button(17)") == "lgpio.error: 'bad event request'"


def test_edges_are_told_where_they_are_allowed(chip: FakeChip) -> None:
    """For a peer of the measurements: gpiozero.Button hears a press and a release, and reads the level as ever."""
    chip.allow_edges(17)
    program = """
import threading
chip.drive(17, True)
button, pressed, released = gpiozero.Button(17), threading.Event(), threading.Event()
button.when_pressed, button.when_released = pressed.set, released.set
print(button.is_pressed)
chip.drive(17, False)
print(pressed.wait(10), released.is_set(), button.pin.state)
chip.drive(17, True)
print(released.wait(10), button.pin.state)
"""
    assert printed(chip, program) == ["False", "True False False", "True True"]


def test_without_a_compiler_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no compiler learns what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="packages gcc and libc6-dev"):
        build(tmp_path)
