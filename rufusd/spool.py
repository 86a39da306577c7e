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
        self._pending: dict[str, Record] = {}
        self._unsafe: dict[str, str] = {}  # pending, but not on disk: token to reason
        self._owed: dict[str, tuple[str, Record]] = {}  # ended, but not yet on disk: token to (state, record)
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
            if token in self._pending:
                return PENDING
            return self._owed[token][0] if token in self._owed else self._on_disk(token)

    def confirm(self, record: Record) -> bool:
        """Make a close durable. False where its token is pending or closed already. Raises OSError: not confirmed."""
        with self._step():
            if self.standing(record.token) in (PENDING, CLOSED):
                return False
            try:
                self._write_pending(record)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self.path(PENDING, record.token))  # only the fsync of its folder may have failed
                raise
            self._forget(record.token)
            self._pending[record.token] = record
            return True

    def withdraw(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """Take a pending close back. False where it is not pending (or `unless_sent`, and it was). Raises OSError."""
        with self._step():
            record = self._pending.get(token)
            if record is None or (unless_sent and record.sent_at):
                return False
            self._end(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
            return True

    def history(self, state: str) -> dict[str, Record]:
        """All records of one state that are on disk, the newest last. Raises OSError where they cannot be listed."""
        dated = []
        for token in self._tokens(state):
            with contextlib.suppress(FileNotFoundError):  # it has moved on meanwhile
                dated.append((self.path(state, token).stat().st_mtime_ns, token))
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
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.unlock()
                raise Held(self._holder()) from None

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
            return dict(self._pending)

    def unsafe(self) -> frozenset[str]:
        """The tokens whose close is held in memory only."""
        with self._guard:
            return frozenset(self._unsafe)

    def hold(self, record: Record, error: OSError) -> None:
        """Keep in memory what the disk refused: sent all the same, never said to be safe."""
        with self._guard:
            self._forget(record.token)
            self._pending[record.token] = record
            self._unsafe[record.token] = _reason(error)

    def sent(self, token: str, at: str) -> bool:
        """Note that a close call begins, once for each close. False where the close is not pending any more."""
        with self._guard:
            try:
                with self._step():
                    if self._note_sent(token, at):
                        _write(self.path(PENDING, token), self._pending[token].to_json())
            except OSError as error:  # the call matters more than the note of it
                self._trouble = _reason(error)
                self._note_sent(token, at)
            return token in self._pending

    def closed(self, token: str, at: str) -> None:
        """RUFUS said that this session is closed. Withdrawn or not: what is closed is shown as closed."""
        with self._guard:
            record = self._pending.get(token) or self._read(WITHDRAWN, token) or Record(token)
            record = replace(record, closed_at=at, withdrawn_at="", withdrawn_by="")
            try:
                with self._step():
                    self._end(CLOSED, record)
            except OSError:
                self._owe(CLOSED, record)

    def give_up(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """As `withdraw`, for the daemon: where the disk refuses, the close is withdrawn in memory, and owed."""
        with self._guard:
            try:
                return self.withdraw(token, by, at, unless_sent=unless_sent)
            except OSError:
                record = self._pending.get(token)
                if record is None or (unless_sent and record.sent_at):
                    return False
                self._owe(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
                return True

    def refresh(self) -> None:
        """Take up what commands have confirmed or withdrawn. A file that vanished is not a close that was withdrawn."""
        with self._guard:
            on_disk: set[str] = set()
            with self._noting_trouble():
                on_disk = self._tokens(PENDING) - self._owed.keys()
            for token in on_disk - self._pending.keys():
                record = self._read(PENDING, token)
                if record:
                    self._pending[token] = record
            for token in self._pending.keys() - on_disk - self._unsafe.keys():
                try:
                    if self._over(self._pending[token]):
                        del self._pending[token]
                    elif self._on_disk(token) != PENDING:
                        self._unsafe[token] = "its file has vanished"
                except OSError as error:
                    self._unsafe[token] = _reason(error)

    def tend(self) -> None:
        """Try again what the disk refused before, and keep the ballast. Writes nothing where nothing is owed."""
        with self._guard:
            self._trouble = ""
            with self._noting_trouble():
                self._make_folders()
                disk = os.statvfs(self.folder)
                if not os.access(self.folder / PENDING, os.W_OK):
                    raise OSError(errno.EROFS if disk.f_flag & os.ST_RDONLY else errno.EACCES, "")
                if self._unsafe or self._owed:
                    with self._step():
                        self._settle()
                if not _exists(self._ballast):
                    # Some file systems make inodes as they need them, and count none.
                    if disk.f_bavail * disk.f_frsize < 2 * BALLAST_SIZE or (disk.f_files and disk.f_favail < 2):
                        raise OSError(errno.ENOSPC, "")
                    _write(self._ballast, "rufusd gives this up when the disk is full\n".ljust(BALLAST_SIZE))

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the disk, one sentence each, with what it means and what to do."""
        with self._guard:
            return (
                *(
                    f"the close of {token} is held in memory only ({why}): leave the power on until it is sent"
                    for token, why in self._unsafe.items()
                ),
                *(
                    f"that {token} is {state} could not be written: after a restart it would be tried again"
                    for token, (state, _) in self._owed.items()
                ),
                *((f"the state folder {self.folder} cannot be used: {self._trouble}",) * bool(self._trouble)),
            )

    # -- the steps

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """What one thread of one process does at a time, knowing what the others did before. Raises OSError."""
        with self._guard:
            if not _exists(self.folder / PENDING):
                self._make_folders()
            folder = os.open(self.folder / PENDING, os.O_DIRECTORY)
            try:
                deadline = time.monotonic() + PATIENCE
                while not _locked(folder, last_try=time.monotonic() > deadline):
                    time.sleep(0.01)
                self.refresh()
                yield
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._trouble = _reason(error)

    def _write_pending(self, record: Record) -> None:
        """Write a pending record durably; on a full disk it may take the ballast's room."""
        try:
            _write(self.path(PENDING, record.token), record.to_json())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _exists(self._ballast):
                raise
            os.unlink(self._ballast)
            _write(self.path(PENDING, record.token), record.to_json())

    def _note_sent(self, token: str, at: str) -> bool:
        """Whether this is news of a pending close."""
        record = self._pending.get(token)
        if record is None or record.sent_at:
            return False
        self._pending[token] = replace(record, sent_at=at)
        return True

    def _end(self, state: str, record: Record) -> None:
        """Move a close out of `pending` (or on, from `withdrawn` to `closed`): one rename, its facts before it."""
        source, target = self.path(self._on_disk(record.token) or state, record.token), self.path(state, record.token)
        try:
            _write(source, record.to_json())
        except OSError:  # the facts are for people; the rename alone says it, and needs no room
            if source == target:
                raise
        if source != target:
            os.rename(source, target)
            _sync(target.parent)
            _sync(source.parent)
        self._forget(record.token)

    def _settle(self) -> None:
        """Write what is owed. What one file refuses does not keep the others waiting."""
        for token in list(self._unsafe):
            with self._noting_trouble():
                record = self._pending[token]
                if self._over(record):
                    self._forget(token)
                else:
                    self._write_pending(record)
                    del self._unsafe[token]
        for state, record in list(self._owed.values()):
            with self._noting_trouble():
                self._end(state, record)

    def _owe(self, state: str, record: Record) -> None:
        self._forget(record.token)
        self._owed[record.token] = (state, record)

    def _forget(self, token: str) -> None:
        for known in (self._pending, self._unsafe, self._owed):
            known.pop(token, None)  # type: ignore[attr-defined]

    # -- what is on disk

    def _on_disk(self, token: str) -> str | None:
        return next((state for state in STATES if _exists(self.path(state, token))), None)

    def _over(self, record: Record) -> bool:
        """Whether this very close has ended on disk; an earlier one of the same token may have been withdrawn before."""
        state = self._on_disk(record.token)
        if state != WITHDRAWN:
            return state == CLOSED
        found = self._read(WITHDRAWN, record.token) or record
        # What cannot be told from an earlier one counts as this one: a person has taken it back.
        return found.uptime == record.uptime or not (found.uptime and record.uptime)

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

    def _holder(self) -> int | None:
        """The process id of the daemon that has this folder, where the kernel tells (proc_locks(5))."""
        with contextlib.suppress(OSError, ValueError):
            inode = f":{os.stat(self.folder).st_ino}"
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                _, kind, _, _, pid, where, *_ = line.split()
                if kind == "FLOCK" and where.endswith(inode) and int(pid) > 0:
                    return int(pid)
        return None
