"""The daemon on real gpiozero and real lgpio, without hardware: a preloaded library shows them a GPIO chip of files."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Callable

import pytest
from fakegpio import FakeChip
from stations import Station, until

from rufusd.training.sandbox import Sandbox

Make = Callable[..., Station]


@pytest.fixture
def chip(tmp_path: Path, library: Path) -> FakeChip:
    return FakeChip(tmp_path / "chip", library)


def test_from_press_to_patch_on_real_lgpio(make_station: Make, chip: FakeChip, rufus: Sandbox, token: str) -> None:
    """The main job as on a Pi: the level falls and rises, the LED's line says each step, RUFUS gets its PATCH."""
    station = make_station(button={"hold_time": 3}, buzzer={"pin": 23}, close={"grace": 6})
    chip.drive(17, True)
    station.start(command="run", env=chip.env())
    until(lambda: station.view()["indicator"] == "armed")
    chip.drive(17, False)
    until(lambda: station.view()["indicator"] == "holding")
    until(lambda: chip.output(27))
    until(lambda: station.view()["indicator"] == "let_go")
    assert until(lambda: chip.output(27))
    chip.drive(17, True)
    until(lambda: station.view()["indicator"] == "grace")
    assert station.records("pending") == [token]
    for level in (True, False, True, False):  # 2 Hz, seen on the line itself
        until(lambda level=level: chip.output(27) is level)  # type: ignore[misc]
    until(lambda: chip.output(23))  # a tick of the buzzer
    until(lambda: station.records("closed") == [token])
    until(lambda: station.view()["indicator"] == "closed" and chip.output(27))
    assert rufus.session(token).closes == 1
    assert station.stop() == 0
    assert chip.output(27) is False
    assert chip.output(23) is False


def test_a_line_that_is_taken_is_a_fault_until_it_is_free(make_station: Make, chip: FakeChip) -> None:
    """Promise 5: another program has the button's line; the LED says fault, and the daemon takes it once it can."""
    chip.drive(17, True)
    chip.fail("line EBUSY")
    station = make_station(led=None).start(command="run", env=chip.env())
    fault = until(lambda: station.view()["faults"])[0]
    assert "GPIO17 (button) cannot be used" in fault
    assert "busy" in fault.lower()
    chip.fail(None)
    until(lambda: station.view()["indicator"] == "armed")


def test_promise_1_a_line_that_cannot_be_read_closes_nothing(make_station: Make, chip: FakeChip) -> None:
    """Promises 1 and 5: reading fails in mid-press: a fault; read again, the button must first be seen released."""
    chip.drive(17, True)
    station = make_station().start(command="run", env=chip.env())
    until(lambda: station.view()["indicator"] == "armed")
    chip.drive(17, False)
    until(lambda: station.view()["indicator"] == "let_go")
    chip.fail("read EIO")
    until(lambda: station.view()["indicator"] == "fault")
    chip.fail(None)
    until(lambda: station.view()["button"]["state"] == "waits")
    chip.drive(17, True)
    until(lambda: station.view()["indicator"] == "armed")
    assert station.records("pending") == []


def test_a_reload_moves_the_lines(make_station: Make, chip: FakeChip, token: str) -> None:
    """Button and LED swap their lines at SIGHUP, and work."""
    chip.drive(17, True)
    station = make_station().start(command="run", env=chip.env())
    until(lambda: station.view()["indicator"] == "armed")
    station.configure(session={"name": "AFTER"}, button={"pin": 27}, led={"pin": 17})
    chip.drive(27, True)
    station.send(signal.SIGHUP)
    until(lambda: chip.output(17) is not None)
    until(lambda: (station.view()["session"]["name"], station.view()["button"]["state"]) == ("AFTER", "released"))
    chip.drive(27, False)
    until(lambda: station.view()["indicator"] == "let_go")
    chip.drive(27, True)
    until(lambda: station.records("closed") == [token])


def test_lgpio_leaves_its_files_in_the_runtime_folder_only(
    make_station: Make, chip: FakeChip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes a FIFO where LG_WD says: by default, the runtime folder."""
    chip.drive(17, True)
    monkeypatch.delenv("LG_WD", raising=False)  # which pins in this very process may have set
    env = chip.env()
    del env["LG_WD"]
    station = make_station().start(command="run", env=env)
    until(lambda: station.view()["indicator"] == "armed")
    assert [path.parent for path in tmp_path.rglob(".lgd-nfy*")] == [station.run]
