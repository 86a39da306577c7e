"""What is wrong with a disk, for people, with what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

from rufusd.adapters.closes.durable import discard, prepare, sync_folder
from rufusd.core.words import Message, _

MOUNTS = Path("/proc/self/mountinfo")

_FORGETFUL = {
    **dict.fromkeys(("tmpfs", "ramfs", "rootfs", "devtmpfs"), _("use a --state-dir that is on a disk")),
    **dict.fromkeys(
        ("overlay", "fuse.fuse-overlayfs"), _("turn it off with `sudo raspi-config`, or mount a disk there")
    ),
}
_CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _("free some space")),
    **dict.fromkeys((errno.EROFS, errno.EIO), _("the SD card may be failing, copy it and replace it")),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), _("give it to the user that rufusd runs as: `sudo chown -R rufusd: {folder}`")
    ),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _("remove the file that is in the folder's place")),
    errno.EAGAIN: _("another rufusd command hangs, end it"),
}


def volatile_mount(folder: Path) -> str:
    """What is wrong with the file system that a folder is on, or will be, if a power cut may empty it; else nothing.

    An overlay may, whatever is beneath it: in Raspberry Pi OS its changes are in memory, a container's go with the
    container, and where its upper layer is cannot be told: that path means something only to whoever mounted it
    (proc_pid_mountinfo(5)).
    """
    with contextlib.suppress(OSError):
        device = os.stat(nearest(folder)).st_dev
        for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            mount, __, system = line.partition(" - ")
            kind = system.split(" ")[0]
            if kind in _FORGETFUL and mount.split(" ")[2] == f"{os.major(device)}:{os.minor(device)}":
                return _(
                    "the state folder {folder} is on {kind}, which a power cut may empty: {cure}",
                    **{"folder": str(folder), "kind": kind, "cure": _FORGETFUL[kind]},
                )
    return ""


def nearest(folder: Path) -> Path:
    """A folder, or the first above it that there is: what will be made in it is on the same disk."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def time_fsync(folder: Path) -> float:
    """How long the disk takes, in seconds, to make a scratch file durable, which is gone then. Raises OSError."""
    began = time.monotonic()
    scratch = prepare(folder / "doctor", "rufusd doctor\n")  # the daemon's start clears away what a crash leaves of it
    try:
        sync_folder(folder)
        return time.monotonic() - began
    finally:
        discard(scratch)


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
        disk = os.statvfs(nearest(folder))
        return disk.f_files > 0 and disk.f_favail == 0
    return False
