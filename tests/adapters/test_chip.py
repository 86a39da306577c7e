"""What the kernel says of GPIO lines: on the fake chip, held by real lgpio, and in a /proc made of files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakegpio import FakeChip

from rufusd.adapters import chip
from rufusd.core.gpio import GpioLine

LOOK = """
import dataclasses, json
from rufusd.adapters import chip
print(json.dumps(dataclasses.asdict(chip.look())))
"""


@pytest.fixture
def fake(tmp_path: Path, library: Path) -> FakeChip:
    return FakeChip(tmp_path / "chip", library)


def printed(fake: FakeChip, program: str) -> dict[str, Any]:
    """What a program on the fake chip prints, as JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **fake.env()},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_free_lines_are_free(fake: FakeChip) -> None:
    """A chip that nobody uses: the header's 28 lines, not the chip's 54."""
    found = printed(fake, LOOK)
    assert (found["path"], found["label"], found["error"]) == ("/dev/gpiochip0", "pinctrl-bcm2711", 0)
    assert list(found["lines"]) == [str(number) for number in range(28)]
    assert not any(line["used"] for line in found["lines"].values())


def test_a_held_line_is_seen_with_its_pull_and_is_not_disturbed(fake: FakeChip) -> None:
    """Real lgpio holds two lines: who they are held by is what that calls itself."""
    fake.drive(17, False)
    held = "import gpiozero\nb = gpiozero.InputDevice(17, pull_up=True)\nr = gpiozero.InputDevice(22, pull_up=False)\n"
    lines = printed(fake, held + LOOK + "\nassert b.value == 1")["lines"]
    assert {n for n, line in lines.items() if line["used"]} == {"17", "22"}
    assert (lines["17"]["pull"], lines["22"]["pull"]) == ("up", "down")
    assert lines["17"]["consumer"]


@pytest.mark.parametrize("name", ["EACCES", "ENOENT"])
def test_a_chip_that_cannot_be_opened(fake: FakeChip, name: str) -> None:
    """Is told with the kernel's reason."""
    fake.fail(f"open {name}")
    found = printed(fake, LOOK)
    assert (found["path"], found["error"], found["lines"]) == ("/dev/gpiochip0", getattr(errno, name), {})


def test_what_is_no_chip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file does not answer as a chip does."""
    (tmp_path / "gpiochip0").touch()
    monkeypatch.setattr(chip, "_PATHS", (str(tmp_path / "gpiochip4"), str(tmp_path / "gpiochip0")))
    assert chip.look().error == errno.ENOTTY


def test_the_model_is_the_device_trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ends in a NUL."""
    model = tmp_path / "model"
    model.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    monkeypatch.setattr(chip, "MODEL", model)
    assert chip.look().model == "Raspberry Pi 5 Model B Rev 1.0"


def test_who_holds_a_line_is_told_by_its_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As gpiolib's linereq_show_fdinfo writes it, since Linux 6.2; another chip's lines are not ours."""

    def process(pid: int, name: str, *descriptors: tuple[str, str]) -> None:
        for number, (target, facts) in enumerate(descriptors):
            for folder in ("fd", "fdinfo"):
                (tmp_path / str(pid) / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / str(pid) / "fd" / str(number)).symlink_to(target)
            (tmp_path / str(pid) / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t02000000\n{facts}")
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")

    line = "anon_inode:gpio-line"
    process(77, "python3", ("/dev/null", ""), (line, "gpio-chip:\tgpiochip0\ngpio-line:\t17\ngpio-line:\t18\n"))
    process(512, "rufusd", (line, "gpio-chip:\tgpiochip0\ngpio-line:\t22\n"))
    process(600, "other", (line, "gpio-chip:\tgpiochip1\ngpio-line:\t4\n"), (line, ""))
    (tmp_path / "700").mkdir()  # ended while we look
    (tmp_path / "uptime").touch()
    monkeypatch.setattr(chip, "PROC", tmp_path)
    assert chip._holders("gpiochip0") == {17: (77, "python3"), 18: (77, "python3"), 22: (512, "rufusd")}
    assert chip._holders("gpiochip1") == {4: (600, "other")}


def test_a_line_with_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process goes into what is told of the line."""
    answer = chip._LINE.unpack(chip._LINE.pack(b"GPIO17", b"lg", 17, 0, chip._USED | 1 << 8))
    monkeypatch.setattr(chip, "_ask", lambda *_: answer)
    assert chip._line(-1, 17, (77, "python3")) == GpioLine(True, "lg", "up", 77, "python3")
    assert chip._line(-1, 17, None) == GpioLine(True, "lg", "up")


@pytest.mark.parametrize(("label", "chosen"), [("pinctrl-rp1", "gpiochip4"), ("raspberrypi-exp-gpio", "gpiochip0")])
def test_the_header_is_where_gpiozero_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, chosen: str
) -> None:
    """A Pi 5's was the fifth chip in its first kernels; another Pi's fifth chip is something else."""
    labels = {"gpiochip4": label, "gpiochip0": "pinctrl-bcm2711"}
    for name in labels:
        (tmp_path / name).touch()

    def ask(opened: int, number: int, *_: Any, **__: Any) -> tuple[Any, ...]:
        name = Path(os.readlink(f"/proc/self/fd/{opened}")).name
        return (name.encode(), labels[name].encode(), 54) if number == 1 else (b"", b"", 0, 0, 0)

    monkeypatch.setattr(chip, "_PATHS", (str(tmp_path / "gpiochip4"), str(tmp_path / "gpiochip0")))
    monkeypatch.setattr(chip, "_ask", ask)
    found = chip.look()
    assert (found.path, found.label, len(found.lines)) == (str(tmp_path / chosen), labels[chosen], 28)
