"""The live view's Unix socket: frames go out of the daemon, as lines of JSON, to whoever watches; nothing comes in."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rufusd.words import packed, unpacked

NAME = "watch"  # of the socket, in the runtime folder
MOST = 8  # connections of one user at the same time; root's and the daemon's own user's are counted by themselves
OTHERS = 16  # connections of all other users together
WAITING = 64  # who may wait at the door until the next look
PATIENCE = 5.0  # seconds after which a watcher that takes nothing is let go


LONGEST = 1 << 20  # bytes of a frame; the daemon's have to fit into a socket's buffer, which is less


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a connection, as the kernel knows it (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int


def peer(connection: socket.socket) -> Peer:
    """Who connected, or who listens."""
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return Peer(pid, uid)


class _Watcher:
    """One connection. `behind` until it has been sent the status as it is now; `taken` is when it last took a frame."""

    def __init__(self, connection: socket.socket, uid: int) -> None:
        self.connection = connection
        self.uid = uid
        self.behind = True
        self.taken: float | None = None


class Watchers:
    """The daemon's side. With nobody there it costs one call of the system in each `let_in`, and nothing else."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self._path = folder / NAME
        self._listener: socket.socket | None = None
        self._watchers: list[_Watcher] = []

    def __bool__(self) -> bool:
        """Whether anybody watches."""
        return bool(self._watchers)

    def open(self) -> None:
        """Listen, for everyone who may read the folder; what an earlier life left there is replaced. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            self._path.chmod(0o666)  # to connect takes the right to write
            listener.listen(WAITING)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._listener = listener

    @property
    def listening(self) -> bool:
        """Whether anybody can connect."""
        return self._listener is not None

    def let_in(self) -> None:
        """Take up who has come. Whoever is too many is sent away; no user keeps root or the daemon's own user out."""
        for _ in range(WAITING if self._listener else 0):
            try:
                connection = self._listener.accept()[0]  # type: ignore[union-attr]
            except OSError:  # nobody, or gone again, or no more files can be opened
                return
            connection.setblocking(False)
            if self._has_room(uid := peer(connection).uid):
                self._watchers.append(_Watcher(connection, uid))
            else:
                connection.close()

    def _has_room(self, uid: int) -> bool:
        ours = (0, os.geteuid())
        others = [each.uid for each in self._watchers if each.uid not in ours]
        return [each.uid for each in self._watchers].count(uid) < MOST and (uid in ours or len(others) < OTHERS)

    def renew(self) -> None:
        """The status has changed: everybody is due the new one."""
        for watcher in self._watchers:
            watcher.behind = True

    def tell(self, frame: dict[str, Any], status: Callable[[], dict[str, Any]]) -> None:
        """Send a frame to all, with the status where one is due. Never waits: who is slow misses it, or is let go."""
        plain, whole = _line(frame), b""
        for watcher in list(self._watchers):
            if watcher.behind and not whole:
                facts = status()
                whole = _line({**frame, "status": {**facts, "words": packed(facts)}})
            line = whole if watcher.behind else plain
            if watcher.taken is None:
                watcher.taken = frame["at"]
            try:
                # One that is cut short cannot be mended. The kernel takes one of this size whole, or not at all.
                gone = watcher.connection.send(line) < len(line)
                watcher.behind, watcher.taken = False, frame["at"]
            except BlockingIOError:  # it has not read for long, and misses this one; a status stays due
                gone = frame["at"] - watcher.taken > PATIENCE
            except OSError:
                gone = True
            if gone:
                watcher.connection.close()
                self._watchers.remove(watcher)

    def close(self) -> None:
        """The daemon ends: the socket ends with it."""
        for watcher in self._watchers:
            watcher.connection.close()
        self._watchers.clear()
        if self._listener:
            self._listener.close()
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._listener = None


def _line(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"


class Gone(Exception):
    """There is no daemon to watch. `full` where there is one, which is watched by as many as it lets in.

    `strange` where what listens there does not speak as rufusd does.
    """

    def __init__(self, *, full: bool = False, strange: bool = False) -> None:
        """Says nothing: what it means is for the command to say."""
        super().__init__()
        self.full = full
        self.strange = strange


class Feed:
    """A watcher's side: the frames of whichever daemon runs, through its restarts."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the runtime folder. Connects at the first `take`."""
        self._path = folder / NAME
        self._connection: socket.socket | None = None
        self._came = b""
        self._fed = False  # since it was connected

    def take(self, patience: float) -> list[dict[str, Any]]:
        """What has come, after having waited so many seconds for anything to come.

        Raises Gone where no daemon runs, or it has ended; the next call tries anew. Raises PermissionError.
        """
        connection = self._connection or self._connect()
        if not select.select([connection], [], [], patience)[0]:
            return []
        ended = False
        with contextlib.suppress(BlockingIOError):
            while not ended:
                try:
                    came = connection.recv(65536)
                except ConnectionError:
                    came = b""
                ended = not came
                self._came += came
                if len(self._came) > LONGEST:
                    break
        *lines, self._came = self._came.split(b"\n")
        if lines:
            self._fed = True
        elif ended:
            full = not self._fed
            self.close()
            raise Gone(full=full)
        try:
            if len(self._came) > LONGEST:
                raise ValueError
            return [_frame(line) for line in lines]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # not by rufusd, or by another one
            self.close()
            raise Gone(strange=True) from None

    def close(self) -> None:
        """Watch no more."""
        if self._connection:
            self._connection.close()
        self._connection, self._came, self._fed = None, b"", False

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(str(self._path))
        except PermissionError:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            # BlockingIOError: more wait to be let in than it looks at at once.
            raise Gone(full=isinstance(error, BlockingIOError)) from None
        self._connection = connection
        return connection


def _frame(line: bytes) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(line)
    status = frame.get("status")
    if status:
        made = status.pop("words")  # for the reader's language
        frame["status"] = unpacked(status, made)
    return frame


def listener(folder: Path) -> Peer | None:
    """The daemon that runs; None where nobody listens. This is what tells whether one lives, even one that hangs.

    Its pid is 0 where it cannot be told now. Raises PermissionError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(str(folder / NAME))
        except BlockingIOError:  # somebody listens, but more wait there than it looks at
            return Peer(0, -1)
        except PermissionError:
            raise
        except OSError:
            return None
        return peer(connection)


def look(folder: Path, patience: float) -> dict[str, Any] | None:
    """The running daemon's first frame; None where none runs, or it says nothing in so many seconds, or lets nobody in.

    Raises PermissionError.
    """
    feed, deadline = Feed(folder), time.monotonic() + patience
    try:
        while time.monotonic() < deadline:
            try:
                for frame in feed.take(max(0.0, deadline - time.monotonic())):
                    return frame
            except Gone as gone:
                if not gone.full:
                    return None
                time.sleep(0.05)  # others may leave
    finally:
        feed.close()
    return None
