"""Durable steps on a disk: whoever looks, whenever, finds the old file or the new one."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Replace a file durably: whoever looks, whenever, finds the old text or the new one. Raises OSError."""
    temporary = prepare(path, text)
    try:
        os.rename(temporary, path)
    except OSError:
        discard(temporary)
        raise
    sync_folder(path.parent)


def prepare(path: Path, text: str) -> Path:
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
            chown_like_parent(file.fileno(), path.parent)
    except OSError:
        discard(temporary)
        raise
    return temporary


def content(path: Path, most: int) -> bytes:
    """The first bytes of a file. A link in its place is not followed, and a pipe not waited for. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(most) or b""  # of a pipe that somebody keeps open there is nothing to read


def discard(path: Path | None) -> None:
    """Remove a file, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        if path:
            os.unlink(path)


def open_folder(folder: Path) -> int:
    """A folder of the state folder's, which is no link: root's command takes no step elsewhere."""
    return os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)


def sync_folder(folder: Path) -> None:
    """Make durable what was renamed, made or removed in a folder. Raises OSError."""
    opened = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def chown_like_parent(opened: int, folder: Path) -> None:
    """What root's command makes in a folder is the daemon's, who has the folder, whatever root's umask is."""
    if os.geteuid() == 0:
        owner = os.stat(folder)
        if (owner.st_uid, owner.st_gid) == (0, os.getegid()):
            return
        with contextlib.suppress(OSError):
            os.chown(opened, owner.st_uid, owner.st_gid)


def is_file(path: Path | str) -> bool:
    """Whether there is a file. Raises OSError where the disk does not answer, which Path.is_file may hide."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
