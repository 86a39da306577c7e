"""The daemon under a service manager: what it sends to a real notification socket, and when."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from stations import Station, until

from rufusd.training.sandbox import Sandbox

Make = Callable[..., Station]


class Manager:
    """The receiving end of `$NOTIFY_SOCKET`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        self.told: list[str] = []

    def read(self) -> list[str]:
        while True:
            try:
                self.told += self._socket.recv(65536).decode("utf-8").split("\n")
            except BlockingIOError:
                return self.told

    def hears(self, line: str, since: int = 0) -> int:
        def look() -> int:
            found = self.read()[since:]
            return since + found.index(line) + 1 if line in found else 0

        return until(look)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_ready_once_watching_then_status_reload_and_stop(make_station: Make, manager: Manager) -> None:
    """READY=1, STATUS= in UTF-8, RELOADING=1 with its time and READY=1 again, STOPPING=1."""
    station = make_station(session={"name": "Łódź półmaraton"})
    station.start(env={"NOTIFY_SOCKET": str(manager.path)})
    at = manager.hears("READY=1")
    manager.hears("STATUS=armed: Łódź półmaraton")
    station.send(signal.SIGHUP)
    at = manager.hears("RELOADING=1", since=at)
    assert manager.told[at].startswith("MONOTONIC_USEC=")
    at = manager.hears("READY=1", since=at)
    station.stop()
    manager.hears("STOPPING=1", since=at)


def test_ready_comes_before_the_network_is_touched(make_station: Make, manager: Manager, rufus: Sandbox) -> None:
    """With a close pending at the start, nobody is called before READY=1."""
    station = make_station(close={"quiet": 1})
    station.command("close")
    rufus.tell("offline")
    station.start(env={"NOTIFY_SOCKET": str(manager.path)})
    until(lambda: manager.read() or rufus.calls)
    assert not rufus.calls
    manager.hears("READY=1")


def test_not_ready_where_an_input_cannot_be_watched(
    make_station: Make, manager: Manager, rufus: Sandbox, token: str
) -> None:
    """A button without a line is a fault, not a ready service; what is pending is delivered all the same."""
    station = make_station()
    station.command("close")
    # There is no GPIO chip here, so the real backend cannot open it.
    station.start(command="run", env={"NOTIFY_SOCKET": str(manager.path)})
    until(lambda: not rufus.session(token).active)
    until(lambda: any("GPIO17 (button) cannot be used" in fault for fault in station.view()["faults"]))
    assert "READY=1" not in manager.read()


def test_the_watchdog_is_fed_while_both_loops_live(make_station: Make, manager: Manager) -> None:
    """WATCHDOG=1, again and again."""
    env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"}
    make_station().start(env=env)
    at = manager.hears("WATCHDOG=1")
    at = manager.hears("WATCHDOG=1", since=at)
    manager.hears("WATCHDOG=1", since=at)


def test_an_invalid_configuration_is_said_in_the_status(make_station: Make, manager: Manager) -> None:
    """`systemctl status` of a station that was never configured says what is the matter and what to do."""
    station = make_station(api={"key": "PUT-YOUR-KEY-HERE"})
    assert station.command("run", env={"NOTIFY_SOCKET": str(manager.path)}).returncode == 78
    manager.hears(f"STATUS={station.config} is invalid, `rufusd check` says why; to save it mended is enough")
