"""The queue on disk: one file per close, its state told by its folder. Touches the disk and nothing else.

A close is confirmed by a temporary file, `fsync`, `rename`, `fsync` of the folder; each later step is one `rename`.
What the disk refuses is held in memory, sent all the same, written as soon as the disk works again, and reported in
`problems` until then. The daemon's two threads and the commands take the same steps, one at a time (`_step`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rufusd.record import Record, from_json
from rufusd.settings import is_token

PENDING, CLOSED, WITHDRAWN = STATES = ("pending", "closed", "withdrawn")
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
        self._known: dict[str, tuple[str, Record]] = {}  # what is pending, and what has ended, but not on disk yet
        self._owed: dict[str, str] = {}  # what of this is not on disk: token to reason
        self._trouble = ""  # why the folder cannot be used at all
        self._guard = threading.RLock()
        self._lock: int | None = None
        self._ballast = folder / "ballast"

    # -- for everyone

    def path(self, state: str, token: str) -> Path:
        """Where the record of a token is in that state."""
        return self.folder / state / f"{token}.json"

    def standing(self, token: str) -> str | None:
        """`pending`, `closed`, `withdrawn`, or None for a token that was never confirmed. Raises OSError."""
        with self._guard:
            return self._known[token][0] if token in self._known else self._on_disk(token)

    def confirm(self, record: Record) -> bool:
        """Make a close durable. False where its token is pending or closed already. Raises OSError: not confirmed."""
        with self._step(record.token):
            if self.standing(record.token) in (PENDING, CLOSED):
                return False
            try:
                self._save(PENDING, record)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self.path(PENDING, record.token))  # only the fsync of its folder may have failed
                raise
            return True

    def withdraw(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """Take a pending close back. False where it is not pending (or `unless_sent`, and it was). Raises OSError."""
        with self._step(token):
            record = self._pending(token)
            if record is None or (unless_sent and record.sent_at):
                return False
            self._save(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
            return True

    def history(self, state: str) -> dict[str, Record]:
        """All records of one state that are on disk, the newest last. Raises OSError where they cannot be listed."""
        dated = []
        for token in self._tokens(state):
            with contextlib.suppress(FileNotFoundError):  # it has moved on meanwhile
                dated.append((os.stat(self.path(state, token)).st_mtime_ns, token))
        found = {token: self._read(state, token) for _, token in sorted(dated)}
        return {token: record for token, record in found.items() if record}

    # -- for the daemon

    def lock(self) -> None:
        """Keep the folder for this process. Raises Held; a folder that cannot be opened is a problem, not an error."""
        with self._noting_trouble():
            self._make_folders()
        with self._noting_trouble():
            self._lock = os.open(self.folder, os.O_DIRECTORY)
            try:
                _flock(self._lock, 0)
            except BlockingIOError:
                self.unlock()
                raise Held(_flock_holder(self.folder)) from None

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def recover(self) -> None:
        """At start, under the lock: clear what a crash left, finish what it cut short, take up what is pending."""
        with self._noting_trouble(), self._step():  # while no other process is writing
            for leftover in (path for state in (*STATES, ".") for path in (self.folder / state).glob(".*.tmp")):
                with contextlib.suppress(OSError):
                    leftover.unlink()
        self.refresh()
        for token, record in self.pending().items():
            if record.closed_at:
                self.closed(token, record.closed_at)
            elif record.withdrawn_at:
                self.give_up(token, record.withdrawn_by, record.withdrawn_at)
        self.tend()

    def pending(self) -> dict[str, Record]:
        """All pending closes, as known now."""
        with self._guard:
            return {token: record for token, (state, record) in self._known.items() if state == PENDING}

    def _pending(self, token: str) -> Record | None:
        state, record = self._known.get(token, (None, None))
        return record if state == PENDING else None

    def unsafe(self) -> frozenset[str]:
        """The tokens whose close is held in memory only."""
        with self._guard:
            return frozenset(token for token in self._owed if self._known[token][0] == PENDING)

    def hold(self, record: Record, error: OSError) -> None:
        """Keep in memory what the disk refused: sent all the same, never said to be safe."""
        self._owe(PENDING, record, error)

    def sent(self, token: str, at: str) -> bool:
        """Note that a close call begins, once for each close. False where the close is not pending any more."""
        with self._guard:
            with self._noting_trouble(), self._step(token):  # the call matters more than the note of it
                record = self._pending(token)
                if record and not record.sent_at:
                    _write(self.path(PENDING, token), replace(record, sent_at=at).to_json())
            record = self._pending(token)
            if record and not record.sent_at:
                self._known[token] = (PENDING, replace(record, sent_at=at))
            return record is not None

    def closed(self, token: str, at: str) -> None:
        """RUFUS said that this session is closed. Withdrawn or not: what is closed is shown as closed."""
        with self._guard:
            known = self._known[token][1] if token in self._known else self._read(WITHDRAWN, token) or Record(token)
            record = replace(known, closed_at=at, withdrawn_at="", withdrawn_by="")
            try:
                with self._step(token):
                    self._save(CLOSED, record)
            except OSError as error:
                self._owe(CLOSED, record, error)

    def give_up(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """As `withdraw`, for the daemon: where the disk refuses, the close is withdrawn in memory, and owed."""
        with self._guard:
            try:
                return self.withdraw(token, by, at, unless_sent=unless_sent)
            except OSError as error:
                record = self._pending(token)
                if record is None or (unless_sent and record.sent_at):
                    return False
                self._owe(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by), error)
                return True

    def refresh(self, only: str | None = None) -> None:
        """Take up what commands have confirmed or withdrawn. A file that vanished is not a close that was withdrawn.

        `only`: of this token, since a folder may hold thousands.
        """
        with self._guard:
            on_disk: set[str] = set()
            with self._noting_trouble():
                if only is None:
                    on_disk = self._tokens(PENDING)
                elif _exists(self.path(PENDING, only)):
                    on_disk = {only}
            for token in on_disk - self._known.keys():
                found = self._read(PENDING, token)
                if found:
                    self._known[token] = (PENDING, found)
            known = self.pending().keys() if only is None else {only} if self._pending(only) else set()
            for token in known - on_disk:
                try:
                    state = self._on_disk(token, self._known[token][1])
                    if state in (CLOSED, WITHDRAWN):
                        self._forget(token)
                    elif state is None:
                        self._owed.setdefault(token, "its file has vanished")
                except OSError as error:
                    self._owed[token] = _reason(error)

    def tend(self) -> None:
        """Try again what the disk refused before, and keep the ballast. Writes nothing where nothing is owed."""
        with self._guard:
            self._trouble = ""
            with self._noting_trouble():
                self._make_folders()
            with self._noting_trouble():
                disk = os.statvfs(self.folder)
                if not os.access(self.folder / PENDING, os.W_OK):
                    raise OSError(errno.EROFS if disk.f_flag & os.ST_RDONLY else errno.EACCES, "")
                if self._owed:
                    with self._step():
                        for token in list(self._owed):
                            with self._noting_trouble():  # what one file refuses keeps no other waiting
                                self._save(*self._known[token])
                if not _exists(self._ballast):
                    if disk.f_bavail * disk.f_frsize < 2 * BALLAST_SIZE:
                        raise OSError(errno.ENOSPC, "")
                    _write(self._ballast, "rufusd gives this up when the disk is full\n".ljust(BALLAST_SIZE))

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the disk, one sentence each, with what it means and what to do."""
        with self._guard:
            found = [
                f"the close of {token} is held in memory only ({why}): leave the power on until it is sent"
                if self._known[token][0] == PENDING
                else f"that {token} is {self._known[token][0]} could not be written ({why}): "
                "after a restart it would be tried again"
                for token, why in self._owed.items()
            ]
            if self._trouble:
                found.append(f"the state folder {self.folder} cannot be used: {self._trouble}")
            return tuple(found)

    # -- the steps

    @contextlib.contextmanager
    def _step(self, only: str | None = None) -> Iterator[None]:
        """What one thread of one process does at a time, knowing what the others did before. Raises OSError.

        `only`: the token that it is about, if it is about one.
        """
        with self._guard:
            if not (self.folder / PENDING).is_dir():
                self._make_folders()
            folder = os.open(self.folder / PENDING, os.O_DIRECTORY)
            try:
                _flock(folder, PATIENCE)
                self.refresh(only)
                yield
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._trouble = self._trouble or _reason(error)  # the first one is the cause

    def _save(self, state: str, record: Record) -> None:
        """Bring a close into a state on disk: its facts, then one rename. Raises OSError, and knows what it knew."""
        token, text, target = record.token, record.to_json(), self.path(state, record.token)
        source = target if state == PENDING else self.path(self._on_disk(token) or state, token)
        try:
            _write(source, text)
        except OSError as error:
            if source == target:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _exists(self._ballast):
                    raise
                os.unlink(self._ballast)
                _write(source, text)
        if source != target:  # which needs no room, and says it all, even where the facts could not be written
            os.rename(source, target)
            _sync(target.parent)
            _sync(source.parent)
        self._forget(token)
        if state == PENDING:
            self._known[token] = (PENDING, record)

    def _owe(self, state: str, record: Record, error: OSError) -> None:
        with self._guard:
            self._known[record.token] = (state, record)
            self._owed[record.token] = _reason(error)

    def _forget(self, token: str) -> None:
        self._known.pop(token, None)
        self._owed.pop(token, None)

    # -- what is on disk

    def _on_disk(self, token: str, record: Record | None = None) -> str | None:
        """The state of a token, or of this very close: an earlier one of its token may have been withdrawn."""
        # In this order: a record moves out of `pending`, never into it from `closed`.
        state = next((state for state in STATES if _exists(self.path(state, token))), None)
        found = self._read(WITHDRAWN, token) if record and state == WITHDRAWN else None
        # What cannot be told from an earlier one counts as this one, since a person has taken it back.
        earlier = record and found and record.uptime and found.uptime and record.uptime != found.uptime
        return None if earlier else state

    def _tokens(self, state: str) -> set[str]:
        """The tokens that have a record in this state. What is not a file, or is not named so, is somebody else's."""
        try:
            with os.scandir(self.folder / state) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return set()
        return {name[:-5] for name in names if name.endswith(".json") and is_token(name[:-5])}

    def _read(self, state: str, token: str) -> Record | None:
        """A record from its file: without facts where it is damaged, None where there is none."""
        path = self.path(state, token)
        try:
            if not _exists(path):
                return None
            with open(path, "rb") as file:
                return from_json(token, file.read(65536).decode("utf-8", "replace"))
        except FileNotFoundError:
            return None
        except OSError:
            return Record(token)

    def _make_folders(self) -> None:
        for folder in (self.folder, *(self.folder / state for state in STATES)):
            if not folder.is_dir():
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
                _hand_over(folder)
                _sync(folder.parent)


def _write(path: Path, text: str) -> None:
    """Replace a file durably: whoever looks, whenever, finds the old text or the new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        # Root's command follows no link that somebody may have put there.
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with open(opened, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _hand_over(temporary)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _hand_over(path: Path) -> None:
    """What root's command makes is the daemon's, who has the folder, whatever root's umask is."""
    if os.geteuid() == 0:
        owner = os.stat(path.parent)
        with contextlib.suppress(OSError):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _exists(path: Path) -> bool:
    """Whether there is a file. Raises OSError where the disk does not answer, which Path.is_file may hide."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _flock(folder: int, patience: float) -> None:
    """Lock an open folder against other processes. Raises BlockingIOError once patience, in seconds, is over."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.01)


def _flock_holder(folder: Path) -> int | None:
    """The process id that has locked a folder, where the kernel tells (proc_locks(5))."""
    with contextlib.suppress(OSError, ValueError):
        inode = f":{os.stat(folder).st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _, kind, _, _, pid, where, *_ = line.split()
            if kind == "FLOCK" and where.endswith(inode) and int(pid) > 0:
                return int(pid)
    return None


_CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EIO), "the SD card may be failing, copy it and replace it"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give it to the user that rufusd runs as"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "remove the file that is in the folder's place"),
    errno.EAGAIN: "another rufusd command hangs, end it",
}


def _reason(error: OSError) -> str:
    """An error of the disk, with what to do about it."""
    number = error.errno or 0
    said = os.strerror(number).lower() if number else str(error)
    return f"{said}; {_CURES[number]}" if number in _CURES else said
