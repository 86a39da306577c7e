"""What time it is, for people and for records: wall clock, boot, uptime, and whether the clock can be believed."""

from __future__ import annotations

import os
import time

_UNSYNCHRONIZED = 5  # adjtimex(2): TIME_ERROR


def utc() -> str:
    """The wall clock, RFC 3339 in UTC. For people only: no decision depends on it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def uptime() -> float:
    """Seconds since this boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """What names this boot; empty where the kernel does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def synchronized() -> bool:
    """Whether the network has set the wall clock: the kernel says so, or timesyncd, where the kernel may not be asked.

    After hours offline the kernel doubts what timesyncd has set since this boot; a record's time may still be believed.
    """
    import ctypes  # the start can do without

    # A zeroed `struct timex` (208 bytes at most) only asks; the answer is the return value.
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    return state not in (-1, _UNSYNCHRONIZED) or os.path.exists("/run/systemd/timesync/synchronized")
