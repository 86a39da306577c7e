"""The files in memory, under /run: the daemon's view for `rufusd status`, and what the reader has done so far."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rufusd.core.delivery import Wait
from rufusd.core.inputs import ReaderNote
from rufusd.core.words import Message, _, extract_messages, restore_messages

MOST = 64 << 20  # bytes of a file that is read: thousands of closes take a few of them


class Unsafe(OSError):
    """Others can write into the runtime folder, so nothing is written there. `args[1]` is the sentence."""

    def __init__(self, why: Message) -> None:
        """`why` says what is wrong and what to do."""
        super().__init__(errno.EPERM, why)


class Runtime:
    """One runtime folder. What cannot be written there is a problem, and not worth stopping for."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self.folder = folder
        self._status = folder / "status.json"
        self._armed = folder / "armed"
        self._waits = folder / "waits.json"
        self._refused: dict[Path, tuple[OSError, dict[str, Any]]] = {}  # what could not be written, and why

    def open(self) -> None:
        """Make the folder, where systemd has not. Raises OSError; Unsafe where others can write into it."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._opened():
            pass

    def problems(self) -> tuple[Message, ...]:
        """What cannot be written here now, and what to do: a sentence at most."""
        for error, _content in self._refused.values():
            if isinstance(error, Unsafe):
                return (error.args[1],)
            why = _(os.strerror(error.errno or 0).lower())
            return (
                _(
                    "{folder} cannot be written ({why}): `rufusd status` may show an old state, and a restart forgets "
                    "what the reader has done. `{command}` shows how full it is: remove what fills it",
                    **{"folder": str(self.folder), "why": why, "command": self.shows_room()},
                ),
            )
        return ()

    def shows_room(self) -> str:
        """The command that shows what the folder lacks: room, or inodes, which many small files use up."""
        with contextlib.suppress(OSError):
            found = os.statvfs(self.folder)
            if found.f_files and not found.f_favail:
                return f"df -i {self.folder}"
        return f"df {self.folder}"

    def tend(self) -> None:
        """Write again what could not be written."""
        for path, (_error, content) in list(self._refused.items()):
            with contextlib.suppress(OSError):
                self._replace(path, content)

    def write_status(self, status: dict[str, Any], boot_id: str = "") -> None:
        """Replace the daemon's view at once."""
        with contextlib.suppress(OSError):
            self._replace(self._status, {**status, "boot_id": boot_id, "words": extract_messages(status)})

    def read_status(self, boot_id: str = "") -> dict[str, Any] | None:
        """The view that a daemon wrote last in this boot; None where there is none.

        It says nothing about whether that daemon still lives: the socket does. Nor is its shape checked.
        """
        found = _read(self._status)
        made = found.pop("words", {})  # for the reader's language
        if not found or found.pop("boot_id", "") != boot_id:  # its times mean nothing in another boot
            return None
        try:
            status: dict[str, Any] = restore_messages(found, made)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return status

    def reader(self, boot_id: str) -> ReaderNote | None:
        """What was noted of the reader last; None where nothing ever was.

        A note that is damaged, or by an earlier version, does not say for which session the reader ran. It is taken
        for another session's, so that the reader has to be seen off before it counts.
        """
        if not os.path.lexists(self._armed):
            return None
        found = _read(self._armed)
        kinds = {"str": str, "bool": bool}
        if all(isinstance(found.get(each.name), kinds[str(each.type)]) for each in fields(ReaderNote)):
            return ReaderNote(**{each.name: found[each.name] for each in fields(ReaderNote)})
        known = found.get("boot_id")
        return ReaderNote(known if isinstance(known, str) else boot_id, wiring="", token="")

    def note_reader(self, note: ReaderNote) -> None:
        """Note for the daemon's next life, not for the Pi's, what the reader has done so far."""
        with contextlib.suppress(OSError):
            self._replace(self._armed, asdict(note))

    def waits(self, boot_id: str, uptime: float) -> dict[str, Wait]:
        """How far each pending close had come with waiting in an earlier life of the daemon, since this boot.

        Times are seconds since this boot. What is damaged, of another boot or in the future is as if never written.
        """
        found = _read(self._waits)
        each = found.get("waits")
        if not boot_id or found.get("boot_id") != boot_id or not isinstance(each, dict):
            return {}
        waits = {token: _wait(facts, uptime) for token, facts in each.items()}
        return {token: wait for token, wait in waits.items() if wait}

    def write_waits(self, waits: Mapping[str, Wait], boot_id: str) -> None:
        """Note for the daemon's next life, not for the Pi's, how far each close has come with waiting."""
        with contextlib.suppress(OSError):
            if waits:
                self._replace(
                    self._waits, {"boot_id": boot_id, "waits": {token: asdict(each) for token, each in waits.items()}}
                )
            else:
                self._remove(self._waits)

    def close(self) -> None:
        """The daemon ends: its view ends with it."""
        with contextlib.suppress(OSError), self._opened() as folder:
            os.unlink(self._status.name, dir_fd=folder)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder, open. Raises OSError; Unsafe where somebody else made it, or may write into it."""
        facts = {"folder": str(self.folder)}
        try:
            folder = os.open(self.folder, os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            if not self.folder.is_symlink():
                raise
            raise Unsafe(
                _("{folder} is a link, which could lead anywhere: remove it, or use another --runtime-dir", **facts)
            ) from None
        try:
            found = os.fstat(folder)
            if found.st_uid not in (0, os.geteuid()):
                raise Unsafe(_("{folder} belongs to another user: remove it, or use another --runtime-dir", **facts))
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise Unsafe(
                    _(
                        "other users may write into {folder}: `chmod 755 {folder}`, or use another --runtime-dir",
                        **facts,
                    )
                )
            yield folder
        finally:
            os.close(folder)

    def _replace(self, path: Path, content: dict[str, Any]) -> None:
        """Write a file anew. A failure is a problem until the same file can be written. Raises OSError."""
        temporary = f".{path.name}.tmp"
        try:
            with self._opened() as folder:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                try:
                    with open(os.open(temporary, flags, 0o644, dir_fd=folder), "wb") as file:
                        file.write(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                    os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError:
                    with contextlib.suppress(OSError):  # half a file takes room that is short
                        os.unlink(temporary, dir_fd=folder)
                    raise
        except OSError as error:
            self._refused[path] = error, content
            raise
        self._refused.pop(path, None)

    def _remove(self, path: Path) -> None:
        self._refused.pop(path, None)
        path.unlink()


def _read(path: Path) -> dict[str, Any]:
    """A file's object; empty where there is none. Only a plain file is read: a FIFO would never end."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return {}
            found = json.loads(file.read(MOST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _wait(facts: Any, uptime: float) -> Wait | None:
    if not isinstance(facts, dict):
        return None
    began, came, looked, total = (facts.get(name, "") for name in ("began", "came", "looked", "total"))
    times = [looked, total, *(at for at in (began, came) if at is not None)]
    if not _is_time(looked, uptime) or not all(_is_time(at, looked) for at in times):
        return None
    return Wait(began, came, looked, total)


def _is_time(value: Any, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
