"""What systemd is told: the very bytes, on a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from rufusd.adapters.systemd import Systemd


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Systemd]]:
    """Makes what the daemon makes at its start, in this environment; nothing is left open."""
    made: list[Systemd] = []
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)

    def make(address: str = "", **environment: str) -> Systemd:
        for name, value in {"NOTIFY_SOCKET": address, **environment}.items():
            monkeypatch.setenv(name, value)
        made.append(Systemd())
        return made[-1]

    yield make
    for each in made:
        if each._notifier and each._notifier.socket:
            each._notifier.socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end, at a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


@pytest.fixture
def systemd(connect: Callable[..., Systemd], manager: socket.socket) -> Systemd:
    return connect(manager.getsockname())


def test_assignments_arrive_as_one_message(systemd: Systemd, manager: socket.socket) -> None:
    """Promise 5: several lines are one datagram, as sd_notify(3) wants it."""
    assert systemd.tell("READY=1")
    assert systemd.tell("RELOADING=1", "MONOTONIC_USEC=7")
    assert manager.recv(4096) == b"READY=1"
    assert manager.recv(4096) == b"RELOADING=1\nMONOTONIC_USEC=7"


def test_an_abstract_socket_is_reached(connect: Callable[..., Systemd]) -> None:
    """Promise 5: a leading @ means the abstract namespace, as containers have it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0rufusd-test-{os.getpid()}")
        listener.settimeout(60)
        assert connect(f"@rufusd-test-{os.getpid()}").tell("READY=1")
        assert listener.recv(4096) == b"READY=1"


def test_names_arrive_whole_in_utf_8(systemd: Systemd, manager: socket.socket) -> None:
    """Promise 5: a race may be called anything; sdnotify alone would lose the whole message."""
    for name in ("Łódź półmaraton", "Köln", "東京マラソン", "🏁"):
        assert systemd.tell(f"STATUS=armed: {name}")
        assert manager.recv(4096).decode() == f"STATUS=armed: {name}"


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n", "\0", "\x1b", "\x85", "\u2028", "\ud800"])
def test_no_text_becomes_another_assignment(systemd: Systemd, manager: socket.socket, break_: str) -> None:
    """Promise 4: systemd splits at line feeds and carriage returns, and ignores a message that has a NUL in it."""
    assert systemd.tell(f"STATUS=armed: A{break_}MAINPID=1", "WATCHDOG=1")
    assert manager.recv(4096).splitlines() == [f"STATUS=armed: A{' ' * len(break_)}MAINPID=1".encode(), b"WATCHDOG=1"]


def test_a_full_socket_neither_blocks_nor_raises(systemd: Systemd, manager: socket.socket) -> None:
    """Promise 2: a manager that does not read delays no close; that it was not told is known, and the next is tried."""
    sent = 0
    while systemd.tell("WATCHDOG=1"):
        sent += 1
        assert sent < 10_000
    assert not systemd.tell("READY=1")
    for _ in range(sent):
        manager.recv(4096)
    assert systemd.tell("READY=1")
    assert manager.recv(4096) == b"READY=1"


def test_a_manager_that_has_gone_is_no_error(systemd: Systemd, manager: socket.socket) -> None:
    """Promise 2: nor is one that restarts."""
    manager.close()
    assert not systemd.tell("WATCHDOG=1")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_manager_that_was_never_there_is_no_error(connect: Callable[..., Systemd], tmp_path: Path) -> None:
    """Promise 2: a wrong address ends nothing. (The filter: sdnotify then leaves its socket unclosed.)"""
    systemd = connect(str(tmp_path / "nobody"))
    assert not systemd.tell("READY=1")


def test_a_message_that_is_too_large_is_no_error(systemd: Systemd, manager: socket.socket) -> None:
    """Promise 2: nor is a message that no datagram can hold."""
    assert not systemd.tell("STATUS=" + "x" * 1_000_000)
    assert systemd.tell("READY=1")
    assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "30000000"}])
def test_without_systemd_all_is_well(connect: Callable[..., Systemd], environment: dict[str, str]) -> None:
    """Promise 5: in a terminal nobody listens, nobody waits for a sign of life, and telling succeeds."""
    systemd = connect("", **environment)
    assert systemd.tell("READY=1")
    assert systemd.watchdog is None


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-30"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_systemd_waits(
    connect: Callable[..., Systemd], manager: socket.socket, environment: dict[str, str], watchdog: float | None
) -> None:
    """Promise 5: sd_watchdog_enabled(3): half of WATCHDOG_USEC, if it is meant for this process."""
    assert connect(manager.getsockname(), **environment).watchdog == watchdog
