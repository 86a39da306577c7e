"""The queue on disk: one file per close, its state told by its folder. Touches the disk and nothing else.

A close is confirmed by a temporary file, `fsync`, `rename`, `fsync` of the folder; each later step is one `rename`.
What the disk refuses is held in memory, sent all the same, written as soon as the disk works again, and reported in
`problems` until then. Both threads and the commands use the same steps: the lock of the folder `pending` keeps two
processes' steps apart, and a lock inside this one keeps its threads apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rufusd.record import Record, from_json
from rufusd.settings import is_token

PENDING, CLOSED, WITHDRAWN = "pending", "closed", "withdrawn"
BALLAST_SIZE = 65536  # bytes: given up where the disk is full; room for a record, its folder's block and its inode
PATIENCE = 2.0  # seconds to wait for another process's step, which takes milliseconds


class Held(Exception):
    """Another daemon has this state folder."""

    def __init__(self, pid: int | None) -> None:
        """`pid` is the other's process id, where the kernel tells."""
        super().__init__(f"process {pid}" if pid else "another process")


class Spool:
    """The closes of one state folder. What is pending is known in memory, too: a lost file is not a lost close."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self.folder = folder
        self._guard = threading.RLock()
        self._pending: dict[str, Record] = {}
        self._unsafe: dict[str, str] = {}  # pending, but not on disk: token to reason
        self._owed: dict[str, tuple[str, Record]] = {}  # ended, but still `pending` on disk: token to (state, record)
        self._trouble = ""  # why the folder cannot be used at all
        self._lock: int | None = None
        self._ballast = folder / "ballast"

    # -- for everyone

    def path(self, state: str, token: str) -> Path:
        """Where the record of a token is in that state."""
        return self.folder / state / f"{token}.json"

    def standing(self, token: str) -> str | None:
        """`pending`, `closed`, `withdrawn`, or None for a token that was never confirmed."""
        if token in self._pending:
            return PENDING
        if token in self._owed:
            return self._owed[token][0]
        # In this order: a record moves out of `pending`, never into it from `closed`.
        return next((s for s in (PENDING, CLOSED, WITHDRAWN) if _exists(self.path(s, token))), None)

    def confirm(self, record: Record) -> bool:
        """Make a close durable. False where its token is pending or closed already. Raises OSError: not confirmed."""
        with self._guard:
            if self.standing(record.token) in (PENDING, CLOSED):
                return False
            target = self.path(PENDING, record.token)
            try:
                self._write(target, record.to_json(), vital=True)
            except OSError:
                with contextlib.suppress(OSError):
                    target.unlink()  # the rename may have worked and only the folder's fsync not
                raise
            self._pending[record.token] = record
            return True

    def withdraw(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """Take a pending close back. False where it is not pending (or `unless_sent`, and it was). Raises OSError."""
        with self._guard, self._exclusive():
            record = self._read(PENDING, token) or self._pending.get(token)
            if record is None or token in self._owed or (unless_sent and record.sent_at):
                return False
            self._end(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
            return True

    def history(self, state: str) -> dict[str, Record]:
        """All records of one state that are on disk, the newest last. Raises OSError where they cannot be listed."""
        with contextlib.suppress(FileNotFoundError):
            named = sorted((self.path(state, token).stat().st_mtime, token) for token in self._tokens(state))
            return {token: self._read(state, token) or Record(token) for _, token in named}
        return {}

    # -- for the daemon

    def lock(self) -> None:
        """Keep the folder for this process. Raises Held; a folder that cannot be opened is a problem, not an error."""
        try:
            self._make_folders()
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(self.holder()) from None
        except OSError as error:
            self._trouble = _reason(error)

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def holder(self) -> int | None:
        """The process id of the daemon that has this folder; None where none has, or the kernel does not tell."""
        with contextlib.suppress(OSError, ValueError):
            inode = f":{os.stat(self.folder).st_ino}"
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                parts = line.split()
                if parts[1] == "FLOCK" and parts[5].endswith(inode) and int(parts[4]) > 0:
                    return int(parts[4])
        return None

    def recover(self) -> None:
        """At start, under the lock: clear what a crash left, finish what it cut short, take up what is pending."""
        for state in (PENDING, CLOSED, WITHDRAWN, "."):
            with contextlib.suppress(OSError):
                for leftover in (self.folder / state).glob(".*.tmp"):
                    leftover.unlink()
        self.refresh()
        for record in self.pending().values():
            if record.closed_at:
                self.closed(record.token, record.closed_at)
            elif record.withdrawn_at:
                self.give_up(record.token, record.withdrawn_by, record.withdrawn_at)
        self.tend()

    def pending(self) -> dict[str, Record]:
        """All pending closes, as known now."""
        with self._guard:
            return dict(self._pending)

    def unsafe(self) -> frozenset[str]:
        """The tokens whose close is held in memory only."""
        return frozenset(self._unsafe)

    def hold(self, record: Record, error: OSError) -> None:
        """Keep in memory what the disk refused: sent all the same, never said to be safe."""
        with self._guard:
            self._pending[record.token] = record
            self._unsafe[record.token] = _reason(error)

    def sent(self, token: str, at: str) -> bool:
        """Note that a close call begins, once for each close. False where the close is not pending any more."""
        with self._guard:
            try:
                with self._exclusive():
                    self.refresh()
                    record = self._pending.get(token)
                    if record is None or record.sent_at:
                        return record is not None
                    self._pending[token] = replace(record, sent_at=at)
                    if token not in self._unsafe:
                        self._write(self.path(PENDING, token), self._pending[token].to_json())
            except OSError as error:
                self._trouble = _reason(error)  # the call matters more than the note of it
            return token in self._pending

    def closed(self, token: str, at: str) -> None:
        """RUFUS said that this session is closed. Withdrawn or not: what is closed is shown as closed."""
        with self._guard:
            record = self._pending.get(token) or self._read(WITHDRAWN, token) or Record(token)
            record = replace(record, closed_at=at, withdrawn_at="", withdrawn_by="")
            try:
                with self._exclusive():
                    self._end(CLOSED, record)
            except OSError:
                self._pending.pop(token, None)
                self._unsafe.pop(token, None)
                self._owed[token] = (CLOSED, record)

    def give_up(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """As `withdraw`, for the daemon: where the disk refuses, the close is withdrawn in memory, and owed."""
        with self._guard:
            try:
                return self.withdraw(token, by, at, unless_sent=unless_sent)
            except OSError:
                record = self._pending.get(token)
                if record is None or (unless_sent and record.sent_at):
                    return False
                del self._pending[token]
                self._unsafe.pop(token, None)
                self._owed[token] = (WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
                return True

    def refresh(self) -> None:
        """Take up what commands have confirmed or withdrawn. A file that vanished is not a close that was withdrawn."""
        with self._guard:
            on_disk: set[str] = set()
            try:
                on_disk = self._tokens(PENDING) - self._owed.keys()
                for token in on_disk - self._pending.keys():
                    self._pending[token] = self._read(PENDING, token) or Record(token)
            except OSError as error:
                self._trouble = _reason(error)
            for token in self._pending.keys() - on_disk - self._unsafe.keys():
                try:
                    if _exists(self.path(CLOSED, token)) or _exists(self.path(WITHDRAWN, token)):
                        del self._pending[token]
                    elif not _exists(self.path(PENDING, token)):  # as a file confirmed since the first look does
                        self._unsafe[token] = "its file has vanished"
                except OSError as error:
                    self._unsafe[token] = _reason(error)

    def tend(self) -> None:
        """Try again what the disk refused before, and keep the ballast. Writes nothing where nothing is owed."""
        with self._guard:
            self._trouble = ""
            try:
                self._make_folders()
                disk = os.statvfs(self.folder)
                if disk.f_flag & os.ST_RDONLY:
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                if not os.access(self.folder / PENDING, os.W_OK):
                    raise OSError(errno.EACCES, os.strerror(errno.EACCES))
                for token in list(self._unsafe):
                    self._write(self.path(PENDING, token), self._pending[token].to_json(), vital=True)
                    del self._unsafe[token]
                for state, record in list(self._owed.values()):
                    with self._exclusive():
                        self._end(state, record)
                if not _exists(self._ballast):
                    if disk.f_bavail * disk.f_frsize < 2 * BALLAST_SIZE or disk.f_favail < 2:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    self._write(self._ballast, "rufusd gives this up when the disk is full\n".ljust(BALLAST_SIZE))
            except OSError as error:
                self._trouble = _reason(error)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the disk, one sentence each, with what it means and what to do."""
        with self._guard:
            found = [
                f"the close of {token} is held in memory only ({why}): leave the power on until it is sent"
                for token, why in self._unsafe.items()
            ]
            found += [
                f"that {token} is {state} could not be written: after a restart it would be tried again"
                for token, (state, _) in self._owed.items()
            ]
            if self._trouble:
                found.append(f"the state folder {self.folder} cannot be used: {self._trouble}")
            return tuple(found)

    # -- the steps

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other processes' steps out. Raises OSError where that cannot be had in time."""
        folder = os.open(self.folder / PENDING, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
            yield
        finally:
            os.close(folder)

    def _end(self, state: str, record: Record) -> None:
        """Move a close out of `pending` (or on, from `withdrawn` to `closed`): one rename, its facts before it."""
        token = record.token
        there = [path for path in (self.path(PENDING, token), self.path(WITHDRAWN, token)) if _exists(path)]
        if there and token not in self._unsafe:
            with contextlib.suppress(OSError):  # the facts are for people; the rename alone says it, and needs no room
                self._write(there[0], record.to_json())
            os.rename(there[0], self.path(state, token))
            _sync(self.folder / state)
            _sync(there[0].parent)
        else:
            self._write(self.path(state, token), record.to_json())
            for path in there[:1]:
                path.unlink()
        for known in (self._pending, self._unsafe, self._owed):
            known.pop(token, None)

    def _tokens(self, state: str) -> set[str]:
        """The tokens that have a record in this state. What is not a file, or is not named so, is somebody else's."""
        with os.scandir(self.folder / state) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
        return {name[:-5] for name in names if name.endswith(".json") and is_token(name[:-5])}

    def _read(self, state: str, token: str) -> Record | None:
        """A record from its file: without facts where it is damaged, None where there is none."""
        try:
            with open(self.path(state, token), "rb") as file:
                return from_json(token, file.read(65536).decode("utf-8", "replace"))
        except FileNotFoundError:
            return None
        except OSError:
            return Record(token)

    def _write(self, target: Path, text: str, *, vital: bool = False) -> None:
        """Replace a file durably. What is vital may take the ballast's room on a full disk. Raises OSError."""
        try:
            self._write_once(target, text)
        except OSError as error:
            if vital and error.errno in (errno.ENOSPC, errno.EDQUOT) and _exists(self._ballast):
                os.unlink(self._ballast)
            elif isinstance(error, FileNotFoundError):
                self._make_folders()  # never made, or swept away, perhaps together with the temporary file
            else:
                raise
            self._write_once(target, text)

    def _write_once(self, target: Path, text: str) -> None:
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            try:
                data = text.encode()
                while data:
                    data = data[os.write(file, data) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.rename(temporary, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync(target.parent)

    def _make_folders(self) -> None:
        for folder in (self.folder, *(self.folder / state for state in (PENDING, CLOSED, WITHDRAWN))):
            if not folder.is_dir():
                folder.mkdir(mode=0o755, parents=True)
                owner = folder.parent.stat()
                if os.geteuid() == 0 and folder != self.folder:  # made by root's command, used by the daemon
                    os.chown(folder, owner.st_uid, owner.st_gid)
                _sync(folder.parent)


def _exists(path: Path) -> bool:
    """As Path.exists, but a disk that does not answer raises OSError in every Python."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _reason(error: OSError) -> str:
    """An error of the disk, with what to do about it."""
    cure: dict[Any, str] = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EROFS: "the SD card may be failing, copy it and replace it",
        errno.EIO: "the SD card may be failing, copy it and replace it",
        errno.EACCES: "give it to the user that rufusd runs as",
        errno.EPERM: "give it to the user that rufusd runs as",
        errno.ENOTDIR: "remove the file that is in the folder's place",
        errno.EEXIST: "remove the file that is in the folder's place",
    }
    said = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return f"{said}; {cure[error.errno]}" if error.errno in cure else said
