"""Locks on folders: who else is at work. A lock ends with the process that has it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from rufusd.core.words import _

GIVE_WAY = 5.0  # seconds in which a `rufusd retry` has given way to a daemon


class StateFolderLocked(Exception):
    """Another daemon has this state folder."""

    def __init__(self, pid: int | None) -> None:
        """`pid` is the other's process id, where the kernel tells. `args[0]` names it."""
        super().__init__(_("process {pid}", pid=pid) if pid else _("another process"))


def lock(folder: int, patience: float) -> None:
    """Lock an open folder against other processes. Raises BlockingIOError once patience, in seconds, is over."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.01)


def is_locked(folder: Path) -> bool:
    """Whether another process has locked a folder. Raises OSError where it cannot be opened."""
    opened = os.open(folder, os.O_DIRECTORY)
    try:
        lock(opened, 0)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def holder(folder: Path) -> int | None:
    """The process id that has locked a folder, where the kernel tells (proc_locks(5))."""
    with contextlib.suppress(OSError, ValueError):
        inode = f":{os.stat(folder).st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _number, kind, _mode, _type, pid, where, *_range = line.split()
            if kind == "FLOCK" and where.endswith(inode) and int(pid) > 0:
                return int(pid)
    return None


class DaemonLock:
    """The lock by which a daemon keeps the state folder for itself, and a `rufusd retry` gives way to it."""

    def __init__(self, folder: Path, door: Path) -> None:
        """`folder` is kept; at the `door`, another folder, a daemon waits for a `rufusd retry`."""
        self._folder, self._door = folder, door
        self._locks: list[int] = []

    def take(self, *, first: bool) -> None:
        """Keep the folder for this process. Raises StateFolderLocked, and OSError where it cannot be opened.

        A daemon comes `first`. A `rufusd retry` does not, and gives way to a daemon.
        """
        if first:
            self._keep(self._door, 0.3)  # a `rufusd retry` looks at it for a moment
        self._keep(self._folder, GIVE_WAY if first else 0)

    def wanted(self) -> bool:
        """Whether a daemon waits for the folder that this process, which is not one, has locked."""
        with contextlib.suppress(OSError):
            return is_locked(self._door)
        return False

    def taken(self) -> bool:
        """Whether a daemon has the folder now. One that cannot be opened is taken for kept."""
        try:
            return is_locked(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def release(self) -> None:
        """Give the folder back."""
        while self._locks:
            os.close(self._locks.pop())

    def _keep(self, folder: Path, patience: float) -> None:
        self._locks.append(os.open(folder, os.O_DIRECTORY))
        try:
            lock(self._locks[-1], patience)
        except BlockingIOError:
            self.release()
            raise StateFolderLocked(holder(folder)) from None
