"""The running daemon, asked at its socket: whether it lives, and what it says. Composes the socket and the files."""

from __future__ import annotations

import os
import pwd
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rufusd.adapters import clock, live
from rufusd.adapters.runtime import Runtime
from rufusd.text import report

ANSWER = 2.0  # seconds in which a daemon answers that does not hang; it looks for who asks twice a second
SERVICE = "rufusd"  # the user of the unit and of the package


@dataclass(frozen=True)
class Said:
    """What is known of the daemon. `status` is what it says, or said last: then `age` is how many seconds ago.

    `peer` is the process that listens; None where none does. `hidden` where this user may not ask.
    """

    peer: live.Peer | None = None
    status: dict[str, Any] | None = None
    frame: dict[str, Any] = field(default_factory=dict)
    age: float | None = None
    hidden: bool = False

    @property
    def running(self) -> bool:
        """Whether a daemon lives, though it may hang."""
        return self.peer is not None

    @property
    def user(self) -> int | None:
        """Whom the daemon runs as; None where that cannot be told."""
        return self.peer.uid if self.peer and self.peer.uid >= 0 else None


def ask(folder: Path, patience: float = ANSWER) -> Said:
    """Ask the daemon of a runtime folder what it does. A daemon that hangs is waited for so many seconds."""
    try:
        peer = live.listener(folder)
        frame = live.look(folder, patience) if peer else None
        if peer and not frame:
            peer = live.listener(folder)  # it may have ended meanwhile
        hidden = False
    except PermissionError:
        peer, frame, hidden = None, None, True
    if not peer and not hidden:
        return Said()
    view = Runtime(folder).read_status(clock.boot_id())
    if not report.is_status(view):
        view = None
    if frame and report.is_frame(frame, first=True):
        told = frame["status"]
        if view and view["daemon"]["pid"] != told["daemon"]["pid"]:
            view = None  # an earlier daemon's
        return Said(peer, report.with_age(report.combined(told, view), time.monotonic()), frame)
    age = time.monotonic() - view["written_at"] if view else 0.0
    if not view or age < 0 or (peer and peer.pid and view["daemon"]["pid"] != peer.pid):
        return Said(peer, hidden=hidden)
    return Said(peer, report.with_age(view, time.monotonic()), age=round(age, 1), hidden=hidden)


def hurry(folder: Path, peer: live.Peer) -> None:
    """Have the daemon try all pending closes now. Raises OSError.

    It is signalled only where it is root's, this user's, or of the user that rufusd runs as: by the kernel's word,
    and never by a file's. A process id that was given to another process meanwhile is not signalled.
    """
    trusted = {0, os.geteuid()}
    with suppress(OSError):
        trusted.add(os.stat(folder).st_uid)
    with suppress(KeyError):
        trusted.add(pwd.getpwnam(SERVICE).pw_uid)
    if peer.pid <= 0 or peer.uid not in trusted:
        raise PermissionError(1, os.strerror(1))
    if not hasattr(os, "pidfd_open"):
        os.kill(peer.pid, signal.SIGUSR1)
        return
    process = os.pidfd_open(peer.pid)
    try:
        with suppress(FileNotFoundError):  # hidden from this user, by hidepid
            if os.stat(f"/proc/{peer.pid}").st_uid != peer.uid:
                raise ProcessLookupError(3, os.strerror(3))
        signal.pidfd_send_signal(process, signal.SIGUSR1)
    finally:
        os.close(process)
