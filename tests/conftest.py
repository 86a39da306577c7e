"""What many tests begin with: a stand-in for RUFUS, and a station that calls it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

import fakegpio
import pytest
from stations import Station

from rufusd.adapters.closes.disk import volatile_mount
from rufusd.training.sandbox import Sandbox

os.environ["LANGUAGE"] = "C"  # whatever is the language of whoever runs the tests
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as under a script's `make test &`; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Put the folders of the tests on a disk. Debian 13 has a tmpfs at /tmp, and rufusd calls no close safe there."""
    if volatile_mount(Path(tempfile.gettempdir())) and not volatile_mount(Path("/var/tmp")):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/var/tmp")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that runs in the tests' own process sets its logging up for good; the next test has its own again."""
    log = logging.getLogger("rufusd")
    before = log.handlers[:], log.level, log.propagate, threading.excepthook
    yield
    log.handlers[:], log.level, log.propagate, threading.excepthook = before


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What makes a fake GPIO chip of files, compiled."""
    return fakegpio.build(tmp_path_factory.mktemp("library"))


@pytest.fixture
def rufus() -> Iterator[Sandbox]:
    """A sandbox on loopback."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def token(rufus: Sandbox) -> str:
    """The token of an open session there."""
    return rufus.add_session("FINISH-10K")


@pytest.fixture
def make_station(tmp_path: Path, rufus: Sandbox, token: str) -> Iterator[Callable[..., Station]]:
    """Makes stations that are configured for the sandbox, and ends what they started."""
    made: list[Station] = []

    def make(name: str = "station", **tables: Mapping[str, Any] | None) -> Station:
        api = {"key": rufus.keys["READ_WRITE"], "url": rufus.url, **(tables.pop("api", None) or {})}
        session = {"token": token, **(tables.pop("session", None) or {})}
        station = Station(tmp_path / name, api=api, session=session, **tables)
        made.append(station)
        return station

    yield make
    for station in made:
        if station.process:
            with contextlib.suppress(Exception):
                station.stop()


@pytest.fixture
def station(make_station: Callable[..., Station]) -> Station:
    """A station, not started yet."""
    return make_station()
