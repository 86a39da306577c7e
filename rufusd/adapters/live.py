"""The live view's Unix socket: frames go out of the daemon, as lines of JSON, to whoever watches; nothing comes in."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rufusd.core.words import extract_messages, restore_messages

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


def spare(folder: Path) -> str:
    """The address of a second socket, which takes no room in the folder: a name in the kernel's memory (unix(7)).

    The folder itself gives the name, however its path is written. Raises OSError.
    """
    found = os.stat(folder)
    return f"\0rufusd-{found.st_dev:x}-{found.st_ino:x}"


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
        self._folder = folder
        self._path = folder / NAME
        self._listener: socket.socket | None = None
        self._place: tuple[int, int] | None = None  # of its own socket in the folder; None at the spare name
        self._for_all = True  # whether every user may ask
        self._watchers: list[_Watcher] = []

    def __bool__(self) -> bool:
        """Whether anybody watches."""
        return bool(self._watchers)

    def open(self) -> None:
        """Listen, for everyone who may read the folder; what an earlier life left there is replaced.

        Raises OSError where the folder takes no socket, as a full /run does. Then it listens at the spare name, if it
        can, so that the daemon can be asked all the same.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            self._path.chmod(0o666)  # to connect takes the right to write
            listener.listen(WAITING)
            place = _place(self._path)
        except OSError:
            listener.close()
            self._open_spare()
            raise
        self._take(listener, place, for_all=True)

    def _open_spare(self) -> None:
        if self._listener:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(spare(self._folder))
            listener.listen(WAITING)
            # Such a name has no rights of its own: the folder's count, and those of the folders around it.
            path = self._folder.resolve()
            for_all = all(os.stat(each).st_mode & stat.S_IXOTH for each in (path, *path.parents))
        except OSError:  # somebody else has that name
            listener.close()
            return
        self._take(listener, None, for_all=for_all)

    def _take(self, listener: socket.socket, place: tuple[int, int] | None, *, for_all: bool) -> None:
        """Listen here from now on. Whoever waits at the place before connects anew."""
        listener.setblocking(False)
        if self._listener:
            self._listener.close()
        self._listener, self._place, self._for_all = listener, place, for_all

    @property
    def listening(self) -> bool:
        """Whether anybody can connect, in the folder or at the spare name."""
        return self._listener is not None

    @property
    def in_folder(self) -> bool:
        """Whether anybody can connect in the folder: its own socket is still there, and no other in its place."""
        with contextlib.suppress(OSError):
            return self._place is not None and self._place == _place(self._path)
        return False

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
        if not self._for_all and uid not in ours:
            return False
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
                whole = _line({**frame, "status": {**facts, "words": extract_messages(facts)}})
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
            if self.in_folder:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._listener.close()
            self._listener, self._place = None, None


def _place(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _line(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"


class NotRunning(Exception):
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
        self._folder = folder
        self._connection: socket.socket | None = None
        self._came = b""
        self._fed = False  # since it was connected

    def take(self, patience: float) -> list[dict[str, Any]]:
        """What has come, after having waited so many seconds for anything to come.

        Raises NotRunning where no daemon runs, or it has ended; the next call tries anew. Raises PermissionError.
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
            raise NotRunning(full=full)
        try:
            if len(self._came) > LONGEST:
                raise ValueError
            return [_frame(line) for line in lines]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # not by rufusd, or by another one
            self.close()
            raise NotRunning(strange=True) from None

    def close(self) -> None:
        """Watch no more."""
        if self._connection:
            self._connection.close()
        self._connection, self._came, self._fed = None, b"", False

    def _connect(self) -> socket.socket:
        try:
            self._connection = _connected(self._folder)
        except PermissionError:
            raise
        except OSError as error:
            # BlockingIOError: more wait to be let in than it looks at at once.
            raise NotRunning(full=isinstance(error, BlockingIOError)) from None
        return self._connection


def _connected(folder: Path) -> socket.socket:
    """A connection to whoever listens for this folder, there or at its spare name. Raises OSError, as connect(2) does.

    Any user can take the spare name. So there only the folder's owner, root and this user are believed to be rufusd,
    and nobody whose queue is too full to tell who it is.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        try:
            connection.connect(str(folder / NAME))
        except BlockingIOError:
            raise
        except OSError as error:
            # What is no socket may refuse, too. A folder that this user may not enter refuses here again.
            if isinstance(error, PermissionError) and stat.S_ISSOCK(os.lstat(folder / NAME).st_mode):
                raise
            with contextlib.suppress(BlockingIOError):
                connection.connect(spare(folder))
                if peer(connection).uid in (0, os.geteuid(), os.stat(folder).st_uid):
                    return connection
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)) from None
    except OSError:
        connection.close()
        raise
    return connection


def _frame(line: bytes) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(line)
    status = frame.get("status")
    if status:
        made = status.pop("words")  # for the reader's language
        frame["status"] = restore_messages(status, made)
    return frame


def listener(folder: Path) -> Peer | None:
    """The daemon that runs; None where nobody listens. This is what tells whether one lives, even one that hangs.

    Its pid is 0 where it cannot be told now. Raises PermissionError.
    """
    try:
        with _connected(folder) as connection:
            return peer(connection)
    except BlockingIOError:  # somebody listens, but more wait there than it looks at
        return Peer(0, -1)
    except PermissionError:
        raise
    except OSError:
        return None


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
            except NotRunning as gone:
                if not gone.full:
                    return None
                time.sleep(0.05)  # others may leave
    finally:
        feed.close()
    return None
