"""The closes: those on disk, which `records` reads and writes, and those that the disk refused.

A close is confirmed by a temporary file, `fsync`, `rename`, `fsync` of the folder; each later step is one `rename`.
What the disk refuses is held in memory, sent all the same, written as soon as the disk works again, and reported in
`problems` until then. The daemon's two threads and the commands take the same steps, one at a time (`_step`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from rufusd.adapters.closes.disk import reason, volatile_mount
from rufusd.adapters.closes.locks import DaemonLock
from rufusd.adapters.closes.notes import Notes
from rufusd.adapters.closes.records import CLOSED, PENDING, WITHDRAWN, FileStamp, Records
from rufusd.core.record import ELSEWHERE, Record
from rufusd.core.settings import is_token
from rufusd.core.words import Message, _

LOCK_TIMEOUT = 2.0  # seconds to wait for another process's step, which takes milliseconds
HANGS = 60.0  # seconds after which no call waits any more for a step that does not end, even on a dying card
SILENCE_OVER = 300.0  # seconds without a question, after which the wait for a silent disk begins anew
UNREADABLE = 10.0  # seconds after which no call waits any more for a disk that fails to be read

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


class Confirmed(IntEnum):
    """What a confirmation has done."""

    NOTHING = 0  # its token is pending or closed already
    NEW = 1
    ENDORSED = 2  # the reader had confirmed it, and now a person has, too, or the other way round


def another(found: Record, known: Record) -> bool:
    """Whether these are two closes of one token. What cannot be told, since it is damaged, is taken for the same."""
    return bool(found.uptime and known.uptime) and (found.boot_id, found.uptime) != (known.boot_id, known.uptime)


class Spool:
    """The closes of one state folder. What is pending is in memory, too, and is sent even if its file vanishes."""

    def __init__(self, folder: Path, *, training: bool = False) -> None:
        """Touches nothing yet. In training the folder may be in memory: no race depends on it."""
        self.folder = folder
        self.training = training
        self.records, self.notes = Records(folder), Notes(folder)
        self.daemon_lock = DaemonLock(folder, folder / CLOSED)
        self._volatile: Message | str = ""  # why what is in the folder may not outlive a power cut
        self._known: dict[
            str, tuple[str, Record]
        ] = {}  # all pending closes, and ended ones whose end is not on disk yet
        self._old_withdrawals: dict[
            str, str
        ] = {}  # the withdrawal that each of these tokens had when its close was confirmed
        self._unwritten: dict[str, Message] = {}  # what of this is not on disk, or not for sure: token to sentence
        self._seen: dict[str, FileStamp] = {}  # what is pending on disk, as it was looked at last
        self._inherited = True  # whether an earlier life may have left a step that is not synced
        self._folder_error: Message | str = ""  # why the folder cannot be used at all
        # By token and error: since when the disk does not tell whether a close may be sent, and when it was asked last.
        self._unanswered_since: dict[tuple[str, int | None], tuple[float, float]] = {}
        self._guard = threading.RLock()

    # -- for everyone

    def standing(self, token: str) -> str | None:
        """`pending`, `closed`, `withdrawn`, or None for a token that was never confirmed. Raises OSError."""
        with self._guard:
            return self._known[token][0] if token in self._known else self.records.state_of(token)

    def vouched(self, token: str) -> str | None:
        """Sync what any process or life has written, then as `standing`. Raises OSError."""
        with self._guard:
            state = self.standing(token)
            if state:
                self.records.sync(state)
            return state

    def confirm(self, record: Record) -> Confirmed:
        """Make a new close durable, or note a second trigger in a pending one. Raises OSError: not confirmed."""
        with self._step(only=record.token):
            if self.standing(record.token) in (PENDING, CLOSED):
                return self._endorse(record)
            try:
                self._save(PENDING, record)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self.records.path(PENDING, record.token))  # only the fsync of its folder may have failed
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
        """Change facts of a pending close; whether there was one. If the disk refuses, in memory, and on disk later.

        A disk that fails must neither lose the close nor block what a person has decided.
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
                    self._keep_unwritten(PENDING, record, error)
            return record is not None

    def mark_empty(self, token: str) -> None:
        """Note that the session had no passing. It is on disk because people restart a Pi that shows a fault."""
        self.change(token, empty=True)

    def closed_how(self, token: str) -> str:
        """How a closed session was closed, in one of `record`'s words; empty: by our call, or its record is damaged."""
        with self._guard:
            state, known = self._known.get(token, ("", None))
            record = known if state == CLOSED else self.records.read(CLOSED, token)
            return record.closed_how if record else ""

    def call_begun(self, token: str) -> bool:
        """Whether a call to close this session was ever begun, for this close or for one that was withdrawn since."""
        with self._guard:
            earlier = self.records.read(WITHDRAWN, token) if self._old_withdrawals.get(token) else None
            return any(each and each.sent_at for each in (self._pending(token), earlier))

    def withdraw(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> Record | None:
        """Take a pending close back; its record. None where it is not pending, or was sent. Raises OSError."""
        with self._step(only=token):
            record = self._pending(token)
            if record is None or (unless_sent and record.sent_at):
                return None
            self._save(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))
            return record

    # -- for the daemon

    def lock(self, *, first: bool = True) -> None:
        """Keep the folder for this process, as `DaemonLock.take`. Raises StateFolderLocked.

        A folder that cannot be opened is a problem, not an error.
        """
        with self._noting_error():
            self.records.make_folders()
        with self._noting_error():
            self.daemon_lock.take(first=first)

    def recover(self) -> None:
        """At start, under the lock: clear what a crash left, take up what is pending."""
        with self._noting_error(), self._step():
            self.records.clear_leftovers()
        self.refresh()
        with self._noting_error():
            self.records.sync_parents()
        self.retry_failed_writes()  # which syncs what an earlier life left, and again where the disk refuses

    def pending(self) -> dict[str, Record]:
        """All pending closes, as known now."""
        with self._guard:
            return {token: record for token, (state, record) in self._known.items() if state == PENDING}

    def _pending(self, token: str) -> Record | None:
        state, record = self._known.get(token, (None, None))
        return record if state == PENDING else None

    def not_durable(self) -> frozenset[str]:
        """The tokens whose close is in memory only: the daemon's, or a file system's."""
        if not (self._volatile or self._unwritten):  # as nearly always, and asked for in each scan
            return frozenset()
        with self._guard:
            return frozenset(token for token in self.pending() if self._volatile or token in self._unwritten)

    def keep_in_memory(self, record: Record, error: OSError) -> None:
        """Keep in memory what the disk refused: sent all the same, never said to be safe."""
        self._know(record)
        self._keep_unwritten(PENDING, record, error)

    def mark_sent(self, token: str, at: str, meant: Record | None = None) -> bool | None:
        """Note that a close call begins, once for each close. False where the close is not pending any more.

        None where a command may have withdrawn this close, and the disk does not tell: another process has the lock, or
        the disk cannot be read. That does not last: for `HANGS` or `UNREADABLE` seconds at the most. `meant`: the close
        that the call is for; a later one of its token, which has a grace of its own, is not.
        """
        with self._guard:
            with self._noting_error():
                try:
                    with self._step(0, token):
                        self._make_sure(token)
                        record = self._pending(token)
                        if record and meant and another(record, meant):
                            return False
                        if record and not record.sent_at:
                            with self._noting_error():  # the call matters more than the note of it
                                self.records.replace(replace(record, sent_at=at))
                                self._seen.update(self.records.look(token))
                except OSError as error:
                    if not self._waits_for_disk(token, error):
                        raise
                    if error.errno == errno.EIO:
                        self._note_error(error)
                    return None
                self._unanswered_since = {
                    each: since for each, since in self._unanswered_since.items() if each[0] != token
                }
            record = self._pending(token)
            if record and meant and another(record, meant):
                return False
            if record and not record.sent_at:
                self._known[token] = (PENDING, replace(record, sent_at=at))
            return record is not None

    def _make_sure(self, token: str) -> None:
        """Raise OSError where the disk does not tell what became of a close. A step itself hides such errors."""
        if not self.records.look(token) and self.records.state_of(token):
            self._read_disk(token)  # it did not tell as the step began

    def _waits_for_disk(self, token: str, error: OSError) -> bool:
        """Whether a call waits a little longer, since the disk that gave this error did not tell."""
        longest = {errno.EAGAIN: HANGS, errno.EIO: UNREADABLE}.get(error.errno or 0, 0.0)
        now = time.monotonic()
        since, last = self._unanswered_since.get((token, error.errno), (now, now))
        since = now if now - last > SILENCE_OVER else since
        self._unanswered_since[token, error.errno] = since, now
        return now - since < longest

    def mark_closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        """RUFUS said that this session is closed. A withdrawn close is shown as closed then, too.

        `how` is one of `record`'s words, or empty: by our call.
        """
        with self._guard:
            with contextlib.suppress(OSError):
                if how == ELSEWHERE and self.standing(token) == CLOSED:
                    return  # by this station: its record says so
            found = self._known[token][1] if token in self._known else None
            found = found or self.records.read(WITHDRAWN, token) or self.records.read(CLOSED, token) or Record(token)
            record = replace(found, closed_at=at, attempts=attempts, closed_how=how, withdrawn_at="", withdrawn_by="")
            try:
                with self._step(only=token):
                    self._save(CLOSED, record)
            except OSError as error:
                self._keep_unwritten(CLOSED, record, error)

    def withdraw_or_keep(self, token: str, by: str, at: str, *, unless_sent: bool = False) -> bool:
        """As `withdraw`, for the daemon: where the disk refuses, the close is withdrawn in memory, and owed."""
        with self._guard:
            try:
                return self.withdraw(token, by, at, unless_sent=unless_sent) is not None
            except OSError as error:
                record = self._pending(token)
                if record is None or (unless_sent and record.sent_at):
                    return False
                self._keep_unwritten(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by), error)
                return True

    def refresh(self, token: str = "") -> None:
        """Take up what commands have confirmed or withdrawn. Never waits for one: the next look finds what it does.

        The close of this token is looked at in any case. For the others the time of their folder has to have changed,
        which a clock that is decades wrong may not do.
        """
        with self._guard:
            try:
                with self._step(0):  # which takes it up
                    if is_token(token):
                        self._read_disk(token)
            except BlockingIOError:
                pass
            except OSError:
                self._read_disk()

    def retry_failed_writes(self) -> None:
        """Try again what the disk refused before, and keep the ballast. Waits for nobody, writes only what is owed."""
        with self._guard:
            self._folder_error = ""
            with self._noting_error():
                self.records.make_folders()
            with self._noting_error():
                if self._inherited:
                    self.records.sync(CLOSED, WITHDRAWN)
                    self._inherited = False
            with self._noting_error():
                disk = os.statvfs(self.folder)
                self._volatile = "" if self.training else volatile_mount(self.folder)
                if not os.access(self.records.folders[PENDING], os.W_OK):
                    raise OSError(errno.EROFS if disk.f_flag & os.ST_RDONLY else errno.EACCES, "")
                if self._unwritten:
                    with contextlib.suppress(BlockingIOError), self._step(0):
                        for token in list(self._unwritten):
                            with self._noting_error():  # what one file refuses keeps no other waiting
                                self._save(*self._known[token])
                self.records.keep_ballast(disk)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the disk, one sentence each, with what it means and what to do."""
        if not (self._volatile or self._unwritten or self._folder_error):  # as nearly always, in each scan
            return ()
        with self._guard:
            found: list[str] = list(self._unwritten.values())
            if self._folder_error:
                facts = {"folder": str(self.folder), "why": self._folder_error}
                found.append(_("the state folder {folder} cannot be used: {why}", **facts))
            if self._volatile:
                found.append(self._volatile)
            return tuple(found)

    # -- the steps

    @contextlib.contextmanager
    def _step(self, patience: float | None = None, only: str | None = None) -> Iterator[None]:
        """Take the lock, for threads and processes, and read the disk. Raises OSError.

        `only`: the token that it is about, where it is about one: a folder may hold thousands.
        """
        if only is not None:
            self.records.path(PENDING, only)  # which refuses what is no token
        with self._guard, self.records.step(LOCK_TIMEOUT if patience is None else patience):
            self._read_disk(only)
            yield

    def _save(self, state: str, record: Record) -> None:
        """Bring a close into a state, on disk and in memory. Raises OSError; it may be tried again in any case."""
        self.records.save(state, record)
        self._forget(record.token)
        if state == PENDING:
            self._know(record)
            self._seen.update(self.records.look(record.token))  # this process has synced it

    @contextlib.contextmanager
    def _noting_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._note_error(error)

    def _note_error(self, error: OSError) -> None:
        self._folder_error = self._folder_error or reason(error, self.folder)  # the first one is the cause

    def _read_disk(self, only: str | None = None) -> None:
        """Know what is on disk (of one token). A file that has vanished does not count as withdrawn."""
        on_disk: dict[str, FileStamp] = {}
        with self._noting_error():
            if only is None:
                changed = self.records.pending_if_changed()
                on_disk = self._seen if changed is None else changed
            else:
                on_disk = self.records.look(only)
        new = [token for token, look in on_disk.items() if self._seen.get(token) != look]
        refused = self._sync_error(PENDING) if new else None
        for token in new:
            known, found = self._known.get(token), self.records.read(PENDING, token)
            if found and (known is None or (token not in self._unwritten and another(found, known[1]))):
                self._know(found)
            elif found and known and found.also and not known[1].also:  # a command has confirmed it as well
                self._known[token] = (known[0], replace(known[1], also=found.also))
            if refused and self._pending(token):
                self._unwritten.setdefault(token, self._not_safe(_NOT_SYNCED, PENDING, token, refused))
        if only is None:
            self._seen = on_disk
        else:
            self._seen.update(on_disk)
        pending = self.pending().keys() if only is None else {only} if self._pending(only) else set()
        moved: dict[str, list[str]] = {}
        for token in pending - on_disk.keys():
            try:
                state = self.records.state_of(token)
                if state == WITHDRAWN and self.records.withdrawal(token) == self._old_withdrawals.get(token):
                    state = None  # that was an earlier close
                if state in (CLOSED, WITHDRAWN):
                    moved.setdefault(state, []).append(token)
                elif state is None:
                    why = _("its file has vanished")
                    self._unwritten.setdefault(token, _NOT_ON_DISK[PENDING].with_parts(token=token, why=why))
            except OSError as error:
                self._unwritten[token] = self._not_safe(_NOT_ON_DISK, PENDING, token, error)
        for state, tokens in moved.items():
            refused = self._sync_error(state)
            for token in tokens:
                self._forget(token)
                if refused:
                    self._keep_unwritten(state, self.records.read(state, token) or Record(token), refused, _NOT_SYNCED)

    def _sync_error(self, state: str) -> OSError | None:
        """Sync what another process or life has written; what the disk said, where it refused."""
        try:
            self.records.sync(state)
        except OSError as error:
            return error
        return None

    def _keep_unwritten(
        self, state: str, record: Record, error: OSError, sentences: Mapping[str, Message] = _NOT_ON_DISK
    ) -> None:
        with self._guard:
            self._known[record.token] = (state, record)
            self._unwritten[record.token] = self._not_safe(sentences, state, record.token, error)

    def _not_safe(self, sentences: Mapping[str, Message], state: str, token: str, error: OSError) -> Message:
        return sentences[state].with_parts(token=token, why=reason(error, self.folder))

    def _know(self, record: Record) -> None:
        """Know that this close is pending, and which older withdrawal of its session to ignore."""
        self._known[record.token] = (PENDING, record)
        with contextlib.suppress(OSError):
            self._old_withdrawals[record.token] = self.records.withdrawal(record.token)

    def _forget(self, token: str) -> None:
        self._known.pop(token, None)
        self._old_withdrawals.pop(token, None)
        self._unwritten.pop(token, None)
