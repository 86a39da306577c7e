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
import re
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from rufusd.core.record import Record, from_json
from rufusd.core.settings import is_token
from rufusd.core.words import Message, _

PENDING, CLOSED, WITHDRAWN = STATES = ("pending", "closed", "withdrawn")
BALLAST_SIZE = 65536  # bytes: given up where the disk is full; room for a record, its folder's block and its inode
MOUNTS = Path("/proc/self/mountinfo")
_FEW = 4096  # bytes: as much of the note of the tables as is read
_TABLE = re.compile("#?[a-z]+")  # in it: a table, or one that was commented out
PATIENCE = 2.0  # seconds to wait for another process's step, which takes milliseconds
GIVE_WAY = 5.0  # seconds in which a `rufusd retry` has given way to a daemon
COARSE = 3.0  # seconds: two changes of a folder may be given one time, on FAT for as long as two seconds
LISTED_ANEW = 60.0  # seconds after which a folder is listed though its time is the same: not every disk keeps it well
HANGS = 60.0  # seconds after which no call waits any more for a step that does not end, even on a dying card
UNREADABLE = 10.0  # seconds after which no call waits any more for a disk that fails to be read


@dataclass(frozen=True)
class _Listing:
    """A listing of a folder, made `at` this moment. `since`: when the folder was first seen as it is now."""

    folder: tuple[int, int, int]  # its device, its inode, and the time of its last change
    since: float
    at: float


class StateFolderLocked(Exception):
    """Another daemon has this state folder."""

    def __init__(self, pid: int | None) -> None:
        """`pid` is the other's process id, where the kernel tells. `args[0]` names it."""
        super().__init__(_("process {pid}", pid=pid) if pid else _("another process"))


class Confirmed(IntEnum):
    """What a confirmation has done."""

    NOTHING = 0  # its token is pending or closed already
    NEW = 1
    ENDORSED = 2  # the reader had confirmed it, and now a person has, too, or the other way round


class Spool:
    """The closes of one state folder. What is pending is known in memory, too: a lost file is not a lost close."""

    def __init__(self, folder: Path, *, training: bool = False) -> None:
        """Touches nothing yet. In training the folder may be in memory: no race depends on it."""
        self.folder = folder
        self._folders = {state: folder / state for state in STATES}
        self.training = training
        self._risk: Message | str = ""  # why what is in the folder may not outlive a power cut
        self._known: dict[str, tuple[str, Record]] = {}  # what is pending, and what has ended, but not on disk yet
        self._earlier: dict[str, str] = {}  # the withdrawal that each of these tokens had when its close was confirmed
        self._owed: dict[str, Message] = {}  # what of this is not on disk, or not for sure: token to sentence
        self._seen: dict[str, tuple[int, int]] = {}  # what is pending on disk, as it was looked at last
        self._listing: _Listing | None = None  # the last one of its folder
        self._placed = False  # whether the folders themselves are known to be durable
        self._inherited = True  # whether an earlier life may have left a step that is not synced
        self._trouble: Message | str = ""  # why the folder cannot be used at all
        self._silent: float | None = None  # since when the disk has not told whether a close may be sent
        self._guard = threading.RLock()
        self._locks: list[int] = []
        self._ballast = folder / "ballast"
        self._tables = folder / "tables"
        self._answered = folder / "answered"

    # -- for everyone

    def path(self, state: str, token: str) -> Path:
        """Where the record of a token is in that state. Raises OSError for what is no token."""
        return Path(self._file(state, token))

    def _file(self, state: str, token: str) -> str:
        """As `path`, for a look, of which each step takes several."""
        if not is_token(token):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return f"{self.folder}/{state}/{token}.json"

    def standing(self, token: str) -> str | None:
        """`pending`, `closed`, `withdrawn`, or None for a token that was never confirmed. Raises OSError."""
        with self._guard:
            return self._known[token][0] if token in self._known else self._on_disk(token)

    def vouched(self, token: str) -> str | None:
        """As `standing`, once it outlives a power cut, whichever process or life has written it. Raises OSError."""
        with self._guard:
            state = self.standing(token)
            if state:
                self.settle(state)
            return state

    def settle(self, *states: str) -> None:
        """Sync what another process or life has written in these states, before it is told. Raises OSError."""
        for state in dict.fromkeys((*states, PENDING)):  # where a record came to, before where it came from
            with contextlib.suppress(FileNotFoundError):
                _sync(self._folders[state])

    def confirm(self, record: Record) -> Confirmed:
        """Make a close durable, or that another trigger has confirmed it as well. Raises OSError: not confirmed."""
        with self._step(only=record.token):
            if self.standing(record.token) in (PENDING, CLOSED):
                return self._endorse(record)
            try:
                self._save(PENDING, record)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self.path(PENDING, record.token))  # only the fsync of its folder may have failed
                raise
            return Confirmed.NEW

    def _endorse(self, record: Record) -> Confirmed:
        """Note in a pending close that a person has confirmed it beside the reader, or the reader beside a person."""
        known = self._pending(record.token)
        if known is None or known.also or (known.trigger == "reader") == (record.trigger == "reader"):
            return Confirmed.NOTHING
        self._save(PENDING, replace(known, also=record.trigger))
        return Confirmed.ENDORSED

    def change(self, token: str, *, unless_sent: bool = False, **facts: Any) -> bool:
        """Replace facts of a pending close at once; in memory, and owed, where the disk refuses. Whether it was done.

        Without the disk this is no reason to lose the close, nor to keep what a person has decided from counting.
        """

        def changed() -> Record | None:
            record = self._pending(token)
            return None if record is None or (unless_sent and record.sent_at) else replace(record, **facts)

        with self._guard:
            try:
                with self._step(only=token):
                    record = changed()
                    if record:
                        self._save(PENDING, record)
            except OSError as error:
                record = changed()
                if record:
                    self._owe(PENDING, record, error)
            return record is not None

    def found_empty(self, token: str) -> None:
        """Note that the session had no passing: whoever sees the fault may well restart the Pi, and the race begins."""
        self.change(token, empty=True)

    def closed_how(self, token: str) -> str:
        """How a closed session was closed, in one of `record`'s words; empty: by our call, or its record is damaged."""
        with self._guard:
            state, known = self._known.get(token, ("", None))
            record = known if state == CLOSED else self._read(CLOSED, token)
            return record.closed_how if record else ""

    def called(self, token: str) -> bool:
        """Whether a call to close this session was ever begun, for this close or for one that was withdrawn since."""
        with self._guard:
            earlier = self._read(WITHDRAWN, token) if self._earlier.get(token) else None
            return any(each and each.sent_at for each in (self._pending(token), earlier))

    def withdrawal(self, token: str) -> str:
        """What tells the last withdrawal of this token from another one; empty where there is none. Raises OSError."""
        try:
            found = os.stat(self._file(WITHDRAWN, token))
        except FileNotFoundError:
            return ""
        return f"{found.st_ino} {found.st_mtime_ns}"

    def withdraw(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> Record | None:
        """Take a pending close back; its record. None where it is not pending, or was sent. Raises OSError."""
        with self._step(only=token):
            record = self._pending(token)
            if record is None or (unless_sent and record.sent_at):
                return None
            self._save(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
            return record

    def history(self, state: str) -> dict[str, Record]:
        """All records of one state that are on disk, the newest last. Raises OSError where they cannot be listed."""
        dated = sorted((changed, token) for token, (changed, _) in self._tokens(state).items())
        found = {token: self._read(state, token) for _, token in dated}
        return {token: record for token, record in found.items() if record}

    # -- for the daemon

    def lock(self, *, first: bool = True) -> None:
        """Keep the folder for this process. Raises StateFolderLocked.

        A folder that cannot be opened is a problem, not an error.

        One that comes `first`, a daemon, is waited for by nobody else: who is not, a `rufusd retry`, gives way to it.
        """
        with self._noting_trouble():
            self._make_folders()
        with self._noting_trouble():
            if first:
                self._keep(self._folders[CLOSED], 0.3)  # a `rufusd retry` looks at it for a moment
            self._keep(self.folder, GIVE_WAY if first else 0)

    def wanted(self) -> bool:
        """Whether a daemon waits for the folder that this process, which is not one, has locked."""
        with contextlib.suppress(OSError):
            return _is_locked(self._folders[CLOSED])
        return False

    def kept(self) -> bool:
        """Whether a daemon has this folder now, as `lock` keeps it. One that cannot be opened is taken for kept."""
        try:
            return _is_locked(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def unlock(self) -> None:
        """Give the folder back."""
        while self._locks:
            os.close(self._locks.pop())

    def _keep(self, folder: Path, patience: float) -> None:
        self._locks.append(os.open(folder, os.O_DIRECTORY))
        try:
            _flock(self._locks[-1], patience)
        except BlockingIOError:
            self.unlock()
            raise StateFolderLocked(_flock_holder(folder)) from None

    def recover(self) -> None:
        """At start, under the lock: clear what a crash left, take up what is pending."""
        with self._noting_trouble(), self._step():  # while no other process is writing
            for leftover in (path for state in (*STATES, ".") for path in (self.folder / state).glob(".*.tmp")):
                with contextlib.suppress(OSError):
                    leftover.unlink()
        self.refresh()
        with self._noting_trouble():
            self._place()
        self.tend()  # which syncs what an earlier life left, and again where the disk refuses

    def pending(self) -> dict[str, Record]:
        """All pending closes, as known now."""
        with self._guard:
            return {token: record for token, (state, record) in self._known.items() if state == PENDING}

    def _pending(self, token: str) -> Record | None:
        state, record = self._known.get(token, (None, None))
        return record if state == PENDING else None

    def unsafe(self) -> frozenset[str]:
        """The tokens whose close is in memory only: the daemon's, or a file system's."""
        if not (self._risk or self._owed):  # as nearly always, and asked for in each scan
            return frozenset()
        with self._guard:
            return frozenset(token for token in self.pending() if self._risk or token in self._owed)

    def hold(self, record: Record, error: OSError) -> None:
        """Keep in memory what the disk refused: sent all the same, never said to be safe."""
        self._know(record)
        self._owe(PENDING, record, error)

    def sent(self, token: str, at: str, meant: Record | None = None) -> bool | None:
        """Note that a close call begins, once for each close. False where the close is not pending any more.

        None where a command may have withdrawn this close, and the disk does not tell: another process is at a step, or
        the disk cannot be read. That does not last: for `HANGS` or `UNREADABLE` seconds at the most. `meant`: the close
        that the call is for; a later one of its token, which has a grace of its own, is not.
        """
        with self._guard:
            since, self._silent = self._silent, None
            with self._noting_trouble():
                try:
                    with self._step(0, token):
                        self._token(token)  # the step itself goes on with what it knows
                        record = self._pending(token)
                        if record and meant and _another(record, meant):
                            return False
                        if record and not record.sent_at:
                            with self._noting_trouble():  # the call matters more than the note of it
                                _write(self.path(PENDING, token), replace(record, sent_at=at).to_json())
                                self._seen.update(self._token(token))
                except OSError as error:
                    busy, unreadable = isinstance(error, BlockingIOError), error.errno == errno.EIO
                    now = time.monotonic()
                    self._silent = now if since is None else since
                    if not (busy or unreadable) or now - self._silent >= (HANGS if busy else UNREADABLE):
                        raise
                    if unreadable:
                        self._note(error)
                    return None
            record = self._pending(token)
            if record and meant and _another(record, meant):
                return False
            if record and not record.sent_at:
                self._known[token] = (PENDING, replace(record, sent_at=at))
            return record is not None

    def closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        """RUFUS said that this session is closed. Withdrawn or not: what is closed is shown as closed.

        `how` is one of `record`'s words, or empty: by our call.
        """
        with self._guard:
            found = self._known[token][1] if token in self._known else None
            found = found or self._read(WITHDRAWN, token) or self._read(CLOSED, token) or Record(token)
            record = replace(found, closed_at=at, attempts=attempts, closed_how=how, withdrawn_at="", withdrawn_by="")
            try:
                with self._step(only=token):
                    self._save(CLOSED, record)
            except OSError as error:
                self._owe(CLOSED, record, error)

    def give_up(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """As `withdraw`, for the daemon: where the disk refuses, the close is withdrawn in memory, and owed."""
        with self._guard:
            try:
                return self.withdraw(token, by, at, unless_sent=unless_sent) is not None
            except OSError as error:
                record = self._pending(token)
                if record is None or (unless_sent and record.sent_at):
                    return False
                self._owe(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by), error)
                return True

    def refresh(self, token: str = "") -> None:
        """Take up what commands have confirmed or withdrawn. Never waits: what one of them is still at comes later.

        The close of this token is looked at in any case. For the others the time of their folder has to have changed,
        which a clock that is decades wrong may not do.
        """
        with self._guard:
            try:
                with self._step(0):  # which takes it up
                    if is_token(token):
                        self._take_up(token)
            except BlockingIOError:
                pass
            except OSError:
                self._take_up()

    def tend(self) -> None:
        """Try again what the disk refused before, and keep the ballast. Waits for nobody, writes only what is owed."""
        with self._guard:
            self._trouble = ""
            with self._noting_trouble():
                self._make_folders()
            with self._noting_trouble():
                if self._inherited:
                    self.settle(CLOSED, WITHDRAWN)
                    self._inherited = False
            with self._noting_trouble():
                disk = os.statvfs(self.folder)
                self._risk = "" if self.training else risk(self.folder)
                if not os.access(self._folders[PENDING], os.W_OK):
                    raise OSError(errno.EROFS if disk.f_flag & os.ST_RDONLY else errno.EACCES, "")
                if self._owed:
                    with contextlib.suppress(BlockingIOError), self._step(0):
                        for token in list(self._owed):
                            with self._noting_trouble():  # what one file refuses keeps no other waiting
                                self._save(*self._known[token])
                if not _exists(self._ballast):
                    if disk.f_bavail * disk.f_frsize < 2 * BALLAST_SIZE:
                        raise OSError(errno.ENOSPC, "")
                    _write(self._ballast, "rufusd gives this up when the disk is full\n".ljust(BALLAST_SIZE))

    def tables(self) -> tuple[str, ...]:
        """The tables of the configuration that was in force last, as `keep_tables` was given them; else none."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return tuple(
                each for each in _content(self._tables, _FEW).decode("ascii").split("\n") if _TABLE.fullmatch(each)
            )
        return ()

    def has_answered(self, key: str) -> bool:
        """Whether RUFUS itself has ever answered this key, of which only a mark is given."""
        with contextlib.suppress(OSError):
            return _content(self._answered, _FEW) == key.encode()
        return False

    def note_answered(self, key: str) -> None:
        """Note for every later life that RUFUS itself has answered this key. Without the disk, this life knows it."""
        with contextlib.suppress(OSError):
            _write(self._answered, key)

    def keep_tables(self, names: Iterable[str]) -> None:
        """Note for the next life which tables were in force. Raises OSError."""
        _write(self._tables, "".join(f"{name}\n" for name in names))

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the disk, one sentence each, with what it means and what to do."""
        if not (self._risk or self._owed or self._trouble):  # as nearly always, and asked for in each scan
            return ()
        with self._guard:
            found: list[str] = list(self._owed.values())
            if self._trouble:
                found.append(
                    _("the state folder {folder} cannot be used: {why}", folder=str(self.folder), why=self._trouble)
                )
            if self._risk:
                found.append(self._risk)
            return tuple(found)

    # -- the steps

    @contextlib.contextmanager
    def _step(self, patience: float = PATIENCE, only: str | None = None) -> Iterator[None]:
        """What one thread of one process does at a time, knowing what the others did before. Raises OSError.

        `only`: the token that it is about, where it is about one: a folder may hold thousands.
        """
        if only is not None:
            self._file(PENDING, only)  # which refuses what is no token
        with self._guard:
            try:
                folder = _open(self._folders[PENDING])
            except (FileNotFoundError, NotADirectoryError):
                self._make_folders()
                folder = _open(self._folders[PENDING])
            try:
                _flock(folder, patience)
                self._take_up(only)
                yield
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        self._trouble = self._trouble or reason(error, self.folder)  # the first one is the cause

    def _take_up(self, only: str | None = None) -> None:
        """Know what is on disk (of one token). A file that vanished is not a close that was withdrawn."""
        on_disk: dict[str, tuple[int, int]] = {}
        with self._noting_trouble():
            on_disk = self._listed() if only is None else self._token(only)
        new = [token for token, look in on_disk.items() if self._seen.get(token) != look]
        refused = self._refused(PENDING) if new else None
        for token in new:
            known, found = self._known.get(token), self._read(PENDING, token)
            if found and (known is None or (token not in self._owed and _another(found, known[1]))):
                self._know(found)
            elif found and known and found.also and not known[1].also:  # a command has confirmed it as well
                self._known[token] = (known[0], replace(known[1], also=found.also))
            if refused and self._pending(token):
                self._owed.setdefault(token, self._not_safe(_NOT_SYNCED, PENDING, token, refused))
        if only is None:
            self._seen = on_disk
        else:
            self._seen.update(on_disk)
        pending = self.pending().keys() if only is None else {only} if self._pending(only) else set()
        moved: dict[str, list[str]] = {}
        for token in pending - on_disk.keys():
            try:
                state = self._on_disk(token)
                if state == WITHDRAWN and self.withdrawal(token) == self._earlier.get(token):
                    state = None  # that was an earlier close
                if state in (CLOSED, WITHDRAWN):
                    moved.setdefault(state, []).append(token)
                elif state is None:
                    why = _("its file has vanished")
                    self._owed.setdefault(token, _NOT_ON_DISK[PENDING].with_parts(token=token, why=why))
            except OSError as error:
                self._owed[token] = self._not_safe(_NOT_ON_DISK, PENDING, token, error)
        for state, tokens in moved.items():
            refused = self._refused(state)
            for token in tokens:
                self._forget(token)
                if refused:
                    self._owe(state, self._read(state, token) or Record(token), refused, _NOT_SYNCED)

    def _refused(self, state: str) -> OSError | None:
        """Sync what another process or life has written; what the disk said, where it refused."""
        try:
            self.settle(state)
        except OSError as error:
            return error
        return None

    def _save(self, state: str, record: Record) -> None:
        """Bring a close into a state on disk by one rename. Raises OSError; it may be tried again in any case."""
        token, text, target = record.token, record.to_json(), self.path(state, record.token)
        if state == PENDING:
            if not self._placed:
                self._place()
            try:
                _write(target, text)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _exists(self._ballast):
                    raise
                os.unlink(self._ballast)
                _write(target, text)
        else:
            if not os.path.lexists(self._folders[state]):
                self._make_folders()
            self._move(self._on_disk(token), state, token, text)
        self._forget(token)
        if state == PENDING:
            self._know(record)
            self._seen.update(self._token(token))  # this process has synced it

    def _place(self) -> None:
        """Make the folders themselves durable, once: whoever made them may not have."""
        for folder in (self.folder.parent, self.folder):
            with contextlib.suppress(PermissionError):
                _sync(folder)
        self._placed = True

    def _move(self, old: str | None, state: str, token: str, text: str) -> None:
        """End a close. Its rename needs no room and says it all, even where its last facts cannot be written."""
        target = self.path(state, token)
        facts = None
        try:
            facts = _prepare(target, text)
        except OSError:
            if old is None:  # there is nothing to rename
                raise
        try:
            if old not in (None, state):
                os.rename(self.path(old or "", token), target)
            if facts:
                os.rename(facts, target)
        except OSError:
            _discard(facts)
            raise
        _sync(target.parent)
        _sync(self._folders[PENDING])

    def _owe(self, state: str, record: Record, error: OSError, sentences: Mapping[str, Message] | None = None) -> None:
        with self._guard:
            self._known[record.token] = (state, record)
            self._owed[record.token] = self._not_safe(sentences or _NOT_ON_DISK, state, record.token, error)

    def _not_safe(self, sentences: Mapping[str, Message], state: str, token: str, error: OSError) -> Message:
        return sentences[state].with_parts(token=token, why=reason(error, self.folder))

    def _know(self, record: Record) -> None:
        """This close is pending, whatever withdrawal of its session is there already."""
        self._known[record.token] = (PENDING, record)
        with contextlib.suppress(OSError):
            self._earlier[record.token] = self.withdrawal(record.token)

    def _forget(self, token: str) -> None:
        self._known.pop(token, None)
        self._earlier.pop(token, None)
        self._owed.pop(token, None)

    # -- what is on disk

    def _on_disk(self, token: str) -> str | None:
        """The state of a token."""
        # In this order: a record moves out of `pending`, never into it from `closed`.
        return next((state for state in STATES if _exists(self._file(state, token))), None)

    def _tokens(self, state: str) -> dict[str, tuple[int, int]]:
        """The tokens that have a record in this state, each with what changes when it is replaced: its time and inode.

        What is not a file, or is not named so, is somebody else's.
        """
        found = {}
        try:
            with os.scandir(self._folders[state]) as entries:
                for entry in entries:
                    if (
                        entry.name.endswith(".json")
                        and is_token(entry.name[:-5])
                        and entry.is_file(follow_symlinks=False)
                    ):
                        with contextlib.suppress(FileNotFoundError):  # it has moved on meanwhile
                            status = entry.stat(follow_symlinks=False)
                            found[entry.name[:-5]] = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            pass
        return found

    def _listed(self) -> dict[str, tuple[int, int]]:
        """As `_tokens`, of all that is pending. An unchanged folder, of thousands at times, is not listed anew.

        Every change of a record is a rename in its folder, and a rename changes the folder's time.
        """
        last, self._listing = self._listing, None  # where the disk refuses, the next one is a new one
        try:
            found = os.stat(self._folders[PENDING])
        except FileNotFoundError:
            return {}
        now = time.monotonic()  # a disk may be slow: never earlier than what it has told
        folder = (found.st_dev, found.st_ino, found.st_mtime_ns)
        since = last.since if last and last.folder == folder else now
        if last and last.at - since > COARSE and now - last.at < LISTED_ANEW:
            self._listing = last
            return self._seen
        on_disk = self._tokens(PENDING)
        self._listing = _Listing(folder, since, now)
        return on_disk

    def _token(self, token: str) -> dict[str, tuple[int, int]]:
        """As `_tokens`, of one that may be pending. Raises OSError where the disk does not answer."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(self._file(PENDING, token))
            if stat.S_ISREG(status.st_mode):
                return {token: (status.st_mtime_ns, status.st_ino)}
        return {}

    def _read(self, state: str, token: str) -> Record | None:
        """A record from its file: without facts where it is damaged, None where there is none."""
        path = self.path(state, token)
        try:
            if not _exists(path):
                return None
            return from_json(token, _content(path, 65536).decode("utf-8", "replace"))
        except FileNotFoundError:
            return None
        except OSError:
            return Record(token)

    def _make_folders(self) -> None:
        for folder in (self.folder, *(self.folder / state for state in STATES)):
            if folder != self.folder and folder.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not folder.is_dir():
                self._placed = False
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)  # whoever can open it can lock it, too
                made = _open(folder)
                try:
                    _hand_over(made, folder.parent)
                finally:
                    os.close(made)
                _sync(folder.parent)


def _another(found: Record, known: Record) -> bool:
    """Whether these are two closes of one token. What cannot be told, since it is damaged, is taken for the same."""
    return bool(found.uptime and known.uptime) and (found.boot_id, found.uptime) != (known.boot_id, known.uptime)


_NOT_ON_DISK = {
    PENDING: _("the close of {token} is held in memory only ({why}): leave the power on until it is sent"),
    CLOSED: _("that {token} is closed could not be written ({why}): after a restart the close would be tried again"),
    WITHDRAWN: _(
        "that {token} is withdrawn could not be written ({why}): after a restart the close would be tried again"
    ),
}
_NOT_SYNCED = {  # it is there, since another process or life has written it
    PENDING: _(
        "the close of {token} is written, but a power cut may undo it ({why}): leave the power on until it is sent"
    ),
    CLOSED: _(
        "that {token} is closed is written, but a power cut may undo it ({why}): then the close would be tried again"
    ),
    WITHDRAWN: _(
        "that {token} is withdrawn is written, but a power cut may undo it ({why}): then the close would be tried again"
    ),
}
_FORGETFUL = {
    **dict.fromkeys(("tmpfs", "ramfs", "rootfs", "devtmpfs"), _("use a --state-dir that is on a disk")),
    **dict.fromkeys(
        ("overlay", "fuse.fuse-overlayfs"), _("turn it off with `sudo raspi-config`, or mount a disk there")
    ),
}


def risk(folder: Path) -> str:
    """What is wrong with the file system that a folder is on, or will be, if a power cut may empty it; else nothing.

    An overlay may, whatever is beneath it: in Raspberry Pi OS its changes are in memory, a container's go with the
    container, and where its upper layer is cannot be told: that path means something only to whoever mounted it
    (proc_pid_mountinfo(5)).
    """
    with contextlib.suppress(OSError):
        device = os.stat(_nearest(folder)).st_dev
        for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            mount, __, system = line.partition(" - ")
            kind = system.split(" ")[0]
            if kind in _FORGETFUL and mount.split(" ")[2] == f"{os.major(device)}:{os.minor(device)}":
                return _(
                    "the state folder {folder} is on {kind}, which a power cut may empty: {cure}",
                    **{"folder": str(folder), "kind": kind, "cure": _FORGETFUL[kind]},
                )
    return ""


def obstacle(folder: Path) -> str:
    """What is wrong with what stands in the place of the state folder, or of a folder in it; else nothing."""
    for each in (folder, *(folder / state for state in STATES)):
        with contextlib.suppress(OSError):
            if os.path.lexists(each) and (not each.is_dir() or (each != folder and each.is_symlink())):
                return _("{path} is no folder, so no close can be kept there: move it away", path=str(each))
    return ""


def _nearest(folder: Path) -> Path:
    """A folder, or the first above it that there is: what will be made in it is on the same disk."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def try_out(folder: Path) -> float:
    """How long the disk takes, in seconds, to make a scratch file durable, which is gone then. Raises OSError."""
    began = time.monotonic()
    scratch = _prepare(folder / "doctor", "rufusd doctor\n")  # the daemon's start clears away what a crash leaves of it
    try:
        _sync(folder)
        return time.monotonic() - began
    finally:
        _discard(scratch)


def _write(path: Path, text: str) -> None:
    """Replace a file durably: whoever looks, whenever, finds the old text or the new one. Raises OSError."""
    temporary = _prepare(path, text)
    try:
        os.rename(temporary, path)
    except OSError:
        _discard(temporary)
        raise
    _sync(path.parent)


def _prepare(path: Path, text: str) -> Path:
    """A durable temporary file beside `path`, which a rename makes count. Raises OSError, and leaves nothing then."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        # Always a new file: root's command writes into no link that somebody may have put there, nor into a pipe.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            _hand_over(file.fileno(), path.parent)
    except OSError:
        _discard(temporary)
        raise
    return temporary


def _content(path: Path, most: int) -> bytes:
    """The first bytes of a file. A link in its place is not followed, and a pipe not waited for. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(most) or b""  # of a pipe that somebody keeps open there is nothing to read


def _discard(path: Path | None) -> None:
    with contextlib.suppress(OSError):
        if path:
            os.unlink(path)


def _open(folder: Path) -> int:
    """A folder of the state folder's, which is no link: root's command takes no step elsewhere."""
    return os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _hand_over(opened: int, folder: Path) -> None:
    """What root's command makes in a folder is the daemon's, who has the folder, whatever root's umask is."""
    if os.geteuid() == 0:
        owner = os.stat(folder)
        if (owner.st_uid, owner.st_gid) == (0, os.getegid()):
            return
        with contextlib.suppress(OSError):
            os.chown(opened, owner.st_uid, owner.st_gid)


def _exists(path: Path | str) -> bool:
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


def _is_locked(folder: Path) -> bool:
    """Whether another process has locked a folder. Raises OSError where it cannot be opened."""
    opened = os.open(folder, os.O_DIRECTORY)
    try:
        _flock(opened, 0)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def _flock_holder(folder: Path) -> int | None:
    """The process id that has locked a folder, where the kernel tells (proc_locks(5))."""
    with contextlib.suppress(OSError, ValueError):
        inode = f":{os.stat(folder).st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            _number, kind, _mode, _type, pid, where, *_range = line.split()
            if kind == "FLOCK" and where.endswith(inode) and int(pid) > 0:
                return int(pid)
    return None


_CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _("free some space")),
    **dict.fromkeys((errno.EROFS, errno.EIO), _("the SD card may be failing, copy it and replace it")),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), _("give it to the user that rufusd runs as: `sudo chown -R rufusd: {folder}`")
    ),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _("remove the file that is in the folder's place")),
    errno.EAGAIN: _("another rufusd command hangs, end it"),
}


def reason(error: OSError, folder: Path) -> Message:
    """An error of the disk, with what to do about it."""
    number = error.errno or 0
    if number == errno.ENOSPC and _without_inodes(folder):
        return _("no inodes are left: the disk has too many files; remove files, `df -i` shows where")
    said = _(os.strerror(number).lower() if number else str(error))
    if number not in _CURES:
        return said
    return _("{why}; {cure}", why=said, cure=_CURES[number].with_parts(folder=str(folder)))


def _without_inodes(folder: Path) -> bool:
    """Whether a disk is full of files, not of bytes. Some file systems count none, and have none to lack."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(_nearest(folder))
        return disk.f_files > 0 and disk.f_favail == 0
    return False
