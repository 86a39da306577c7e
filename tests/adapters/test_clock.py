"""What time it is: for people, and only from the system."""

from __future__ import annotations

import ctypes
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from rufusd.adapters import clock


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1970-01-01T00:00:00Z"), (1777806133.9, "2026-05-03T11:02:13Z"), (4102444799, "2099-12-31T23:59:59Z")],
)
def test_wall_time_is_rfc_3339_in_utc(monkeypatch: Any, seconds: float, said: str) -> None:
    """Promise 5: the time in records and in `status` is UTC, whatever the station's time zone."""
    real = time.gmtime
    monkeypatch.setenv("TZ", "Europe/Warsaw")
    time.tzset()
    monkeypatch.setattr(time, "gmtime", lambda: real(seconds))
    said_now = clock.utc()
    monkeypatch.undo()
    time.tzset()
    assert said_now == said


def test_uptime_is_the_kernels_and_only_grows() -> None:
    """Promise 3: what is left of the grace after a restart is counted by the time since boot."""

    def kernels() -> float:
        with open("/proc/uptime", encoding="ascii") as file:
            return float(file.read().split()[0])  # of which it tells hundredths

    before, first, second, after = kernels(), clock.uptime(), clock.uptime(), kernels()
    assert before <= first <= second <= after + 0.01


def test_a_boot_has_one_name() -> None:
    """Promise 1: what was armed before a reboot is told from what is armed now by the kernel's name of the boot."""
    assert clock.boot_id() == clock.boot_id()
    assert len(clock.boot_id()) == 36


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError, ValueError])
def test_a_boot_without_a_name_is_no_error(monkeypatch: Any, error: type[Exception]) -> None:
    """Promise 2: a kernel that does not say stops nothing."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("builtins.open", forbidden)
    assert clock.boot_id() == ""


def test_asking_the_kernel_about_its_clock_gives_an_answer() -> None:
    """Promise 5: a record says whether its time can be believed: yes or no."""
    assert isinstance(clock.synchronized(), bool)


@pytest.mark.parametrize(
    ("state", "file", "synchronized"),
    [
        (0, False, True),  # TIME_OK
        (3, False, True),  # TIME_OOP, a leap second in progress
        (5, False, False),  # TIME_ERROR
        (5, True, True),
        (-1, False, False),  # forbidden
        (-1, True, True),
    ],
)
def test_whether_the_clock_is_set(monkeypatch: Any, state: int, file: bool, synchronized: bool) -> None:
    """Promise 5: the kernel says so; where it may not be asked, or does not know, timesyncd's file does."""
    asked: list[bytes] = []

    def adjtimex(buffer: Any) -> int:
        asked.append(buffer.raw)
        return state

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(adjtimex=adjtimex))
    monkeypatch.setattr(os.path, "exists", lambda path: file and path == "/run/systemd/timesync/synchronized")
    assert clock.synchronized() is synchronized
    assert len(asked[0]) >= 208
    assert not any(asked[0])  # modes 0 only asks
