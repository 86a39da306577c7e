"""The records of the closes in their folders: a file for each, named by its token; its folder says where it stands."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rufusd.adapters.closes.durable import (
    chown_like_parent,
    content,
    discard,
    is_file,
    open_folder,
    prepare,
    replace_file,
    sync_folder,
)
from rufusd.adapters.closes.locks import lock
from rufusd.core.record import Record, from_json
from rufusd.core.settings import is_token
from rufusd.core.words import Message, _

PENDING, CLOSED, WITHDRAWN = STATES = ("pending", "closed", "withdrawn")
BALLAST_SIZE = 65536  # bytes: given up where the disk is full; room for a record, its folder's block and its inode
COARSE = 3.0  # seconds: two changes of a folder may be given one time, on FAT for as long as two seconds
LISTED_ANEW = 60.0  # seconds after which a folder is listed though its time is the same: not every disk keeps it well

FileStamp = tuple[int, int]  # what changes when a record is replaced: its time and its inode


@dataclass(frozen=True)
class _Listing:
    """A listing of a folder, made `at` this moment. `since`: when the folder was first seen as it is now."""

    folder: tuple[int, int, int]  # its device, its inode, and the time of its last change
    since: float
    at: float


class Records:
    """The folders `pending`, `closed` and `withdrawn`. All methods raise OSError where the disk does not answer."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self.folder = folder
        self.folders = {state: folder / state for state in STATES}
        self._ballast = folder / "ballast"
        self._synced = False  # whether the folders themselves are known to be durable
        self._listing: _Listing | None = None  # the last one of the pending records

    def path(self, state: str, token: str) -> str:
        """Where the record of a token is in that state, as a text: each look takes several. OSError for no token."""
        if not is_token(token):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return f"{self.folder}/{state}/{token}.json"

    def state_of(self, token: str) -> str | None:
        """In which folder the record is; None where there is none."""
        # In this order: a record moves out of `pending`, never into it from `closed`.
        return next((state for state in STATES if is_file(self.path(state, token))), None)

    def read(self, state: str, token: str) -> Record | None:
        """A record: without facts where it is damaged or cannot be read, None where there is none."""
        path = Path(self.path(state, token))
        try:
            if not is_file(path):
                return None
            return from_json(token, content(path, 65536).decode("utf-8", "replace"))
        except FileNotFoundError:
            return None
        except OSError:
            return Record(token)

    def look(self, token: str) -> dict[str, FileStamp]:
        """As `in_state`, of one that may be pending."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(self.path(PENDING, token))
            if stat.S_ISREG(status.st_mode):
                return {token: (status.st_mtime_ns, status.st_ino)}
        return {}

    def in_state(self, state: str) -> dict[str, FileStamp]:
        """The tokens that have a record in this state. What is not a file, or is not named so, is somebody else's."""
        found = {}
        try:
            with os.scandir(self.folders[state]) as entries:
                for entry in entries:
                    token = entry.name[:-5]
                    if entry.name.endswith(".json") and is_token(token) and entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):  # it has moved on meanwhile
                            status = entry.stat(follow_symlinks=False)
                            found[token] = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            pass
        return found

    def pending_if_changed(self) -> dict[str, FileStamp] | None:
        """As `in_state`, of all that is pending; None where that has not changed: there may be thousands.

        Every change of a record is a rename in its folder, and a rename changes the folder's time.
        """
        last, self._listing = self._listing, None  # where the disk refuses, the next one is a new one
        try:
            found = os.stat(self.folders[PENDING])
        except FileNotFoundError:
            return {}
        now = time.monotonic()  # a disk may be slow: never earlier than what it has told
        folder = (found.st_dev, found.st_ino, found.st_mtime_ns)
        since = last.since if last and last.folder == folder else now
        if last and last.at - since > COARSE and now - last.at < LISTED_ANEW:
            self._listing = last
            return None
        on_disk = self.in_state(PENDING)
        self._listing = _Listing(folder, since, now)
        return on_disk

    def withdrawal(self, token: str) -> str:
        """Identifies the last withdrawal of this token; empty where there is none."""
        try:
            found = os.stat(self.path(WITHDRAWN, token))
        except FileNotFoundError:
            return ""
        return f"{found.st_ino} {found.st_mtime_ns}"

    @contextlib.contextmanager
    def step(self, patience: float) -> Iterator[None]:
        """What one process does at a time. Raises BlockingIOError after so many seconds of patience."""
        try:
            folder = open_folder(self.folders[PENDING])
        except (FileNotFoundError, NotADirectoryError):
            self.make_folders()
            folder = open_folder(self.folders[PENDING])
        try:
            lock(folder, patience)
            yield
        finally:
            os.close(folder)

    def save(self, state: str, record: Record) -> None:
        """Bring a close into a state by one rename. It may be tried again in any case."""
        token, text, target = record.token, record.to_json(), Path(self.path(state, record.token))
        if state == PENDING:
            if not self._synced:
                self.sync_parents()
            try:
                replace_file(target, text)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not is_file(self._ballast):
                    raise
                os.unlink(self._ballast)
                replace_file(target, text)
        else:
            if not os.path.lexists(self.folders[state]):
                self.make_folders()
            self._move(self.state_of(token), state, token, text)

    def replace(self, record: Record) -> None:
        """Note something else in a pending record."""
        replace_file(Path(self.path(PENDING, record.token)), record.to_json())

    def history(self, state: str) -> dict[str, Record]:
        """All records of one state, the newest last."""
        dated = sorted((changed, token) for token, (changed, __) in self.in_state(state).items())
        found = {token: self.read(state, token) for __, token in dated}
        return {token: record for token, record in found.items() if record}

    def _move(self, old: str | None, state: str, token: str, text: str) -> None:
        """End a close. Its rename needs no room and says it all, even where its last facts cannot be written."""
        target = Path(self.path(state, token))
        facts = None
        try:
            facts = prepare(target, text)
        except OSError:
            if old is None:  # there is nothing to rename
                raise
        try:
            if old not in (None, state):
                os.rename(Path(self.path(old or "", token)), target)
            if facts:
                os.rename(facts, target)
        except OSError:
            discard(facts)
            raise
        sync_folder(target.parent)
        sync_folder(self.folders[PENDING])

    def sync(self, *states: str) -> None:
        """Sync what another process or life has written in these states, before it is told."""
        for state in dict.fromkeys((*states, PENDING)):  # where a record came to, before where it came from
            with contextlib.suppress(FileNotFoundError):
                sync_folder(self.folders[state])

    def sync_parents(self) -> None:
        """Make the folders themselves durable, once: whoever made them may not have."""
        for folder in (self.folder.parent, self.folder):
            with contextlib.suppress(PermissionError):
                sync_folder(folder)
        self._synced = True

    def make_folders(self) -> None:
        """Make the folders that are not there."""
        for folder in (self.folder, *self.folders.values()):
            if folder != self.folder and folder.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not folder.is_dir():
                self._synced = False
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)  # whoever can open it can lock it, too
                made = open_folder(folder)
                try:
                    chown_like_parent(made, folder.parent)
                finally:
                    os.close(made)
                sync_folder(folder.parent)

    def obstacle(self) -> Message | str:
        """What is wrong with what stands in the place of one of the folders; else nothing. Raises nothing."""
        for each in (self.folder, *self.folders.values()):
            with contextlib.suppress(OSError):
                if os.path.lexists(each) and (not each.is_dir() or (each != self.folder and each.is_symlink())):
                    return _("{path} is no folder, so no close can be kept there: move it away", path=str(each))
        return ""

    def keep_ballast(self, disk: os.statvfs_result) -> None:
        """Have a file on this disk that is given up where it is full. Raises OSError where there is no room for it."""
        if not is_file(self._ballast):
            if disk.f_bavail * disk.f_frsize < 2 * BALLAST_SIZE:
                raise OSError(errno.ENOSPC, "")
            replace_file(self._ballast, "rufusd gives this up when the disk is full\n".ljust(BALLAST_SIZE))

    def clear_leftovers(self) -> None:
        """Remove what a crash has left, while no other process is writing."""
        for leftover in (path for state in (*STATES, ".") for path in (self.folder / state).glob(".*.tmp")):
            discard(leftover)
