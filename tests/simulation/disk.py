"""A machine's files: the card, which forgets at a power cut what was not synced; /run, in memory; and /proc.

What a cut leaves is decided by the fault suite's own model (tests/faults/lossyfs.py).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from lossyfs import Disk, File, Folder

from .world import Killed, Process, current

CALLS = ("create", "write", "fsync", "rename", "unlink", "mkdir")  # before each of which a kill or a cut may come


def fail(number: int, path: object) -> OSError:
    """The error that the kernel gives."""
    return OSError(number, os.strerror(number), str(path))


class OpenFile:
    """An open file or folder."""

    def __init__(self, system: FileSystem, node: Any, path: str, flags: int) -> None:
        self.system, self.node, self.path, self.flags, self.place = system, node, path, flags, 0

    def close_by(self, process: Process) -> None:
        """Its lock is free."""
        if self.system.locks.get(id(self.node), (None, self))[1] is self:
            self.system.locks.pop(id(self.node), None)


class FileSystem:
    """The files of one machine."""

    def __init__(self, machine: Any) -> None:
        self.machine, self.world = machine, machine.world
        self.card, self.memory = Disk(machine.wall), Disk(machine.wall)
        self.locks: dict[int, tuple[Process, OpenFile]] = {}
        self.error = 0  # what each change of the card gives
        self.reads_fail = False
        self.run_error = 0  # what each change under /run gives
        self.room: int | None = None  # bytes left on the card
        self.slow = 0.0  # seconds more for each fsync
        # (calls left, "kill", "cut" or a command, whose): the daemon's, a command's, "any", or "records", which is the
        # daemon's changes of the state folder
        self.countdown: tuple[int, str, str] | None = None
        self.changes = 0
        self._inode = 1

    # -- finding

    def node(self, path: str) -> Any:
        """The file or folder. Raises OSError."""
        if path.startswith("/proc/"):
            return self.machine.proc(path)
        disk, names = (self.memory, path[4:]) if path == "/run" or path.startswith("/run/") else (self.card, path)
        if disk is self.card and self.reads_fail:
            raise fail(errno.EIO, path)
        node: Any = disk.root
        for name in names.split("/"):
            if not name or name == ".":
                continue
            if not isinstance(node, Folder):
                raise fail(errno.ENOTDIR, path)
            found = node.names.get(name)
            if found is None:
                raise fail(errno.ENOENT, path)
            node = found
        return node

    def find(self, path: str) -> Any:
        """The same for the world's own eyes: None where there is none, and no error of the card's."""
        hidden, self.reads_fail = self.reads_fail, False
        try:
            return self.node(path)
        except OSError:
            return None
        finally:
            self.reads_fail = hidden

    def names(self, path: str) -> list[str]:
        """The names in a folder, for the world's own eyes."""
        node = self.find(path)
        return sorted(node.names) if isinstance(node, Folder) else []

    def text(self, path: str) -> str | None:
        """A file's text, for the world's own eyes."""
        node = self.find(path)
        return bytes(node.data).decode("utf-8", "replace") if isinstance(node, File) else None

    def place(self, path: str) -> tuple[Disk, Folder, str]:
        """Where a name is to be changed. Raises OSError."""
        parent, _, name = path.rstrip("/").rpartition("/")
        folder = self.node(parent or "/")
        if not isinstance(folder, Folder):
            raise fail(errno.ENOTDIR, path)
        return self.memory if path.startswith("/run/") else self.card, folder, name

    def inode(self, node: Any) -> int:
        """The number of a node."""
        if not hasattr(node, "inode"):
            self._inode += 1
            node.inode = self._inode
        return int(node.inode)

    # -- changing

    def before(self, what: str, path: str) -> None:
        """Before each change: the process may be killed, the power may go, the card may refuse, others may run."""
        world = self.world
        self.changes += 1
        self.counted(f"{what} of {path}")
        if path.startswith("/run/"):
            if self.run_error and what != "unlink":
                raise fail(self.run_error, path)
            return
        if self.error:
            raise fail(self.error, path)
        if what == "fsync":
            world.sleep(world.chance("disk").uniform(0.002, 0.02) + self.slow)
        elif world.chance("disk").random() < 0.3:
            world.sleep(world.chance("disk").uniform(0, 0.0005))

    def counted(self, what: str) -> None:
        """Before each call that may be the one at which something is to happen: a kill, a power cut, a command."""
        process = current()
        if not self.countdown:
            return
        records = process.name == "daemon" and "/var/lib" in what
        if self.countdown[2] not in (process.name, "any", *["records"] * records):
            return
        left, how, whose = self.countdown
        self.countdown = (left - 1, how, whose) if left > 1 else None
        if left > 1:
            return
        self.world.note(self.machine.name, f"{how} before the {what} by {process.name}")
        if how == "cut":
            self.machine.cut_power()
        elif how == "kill":
            self.machine.killed(process)
        else:
            self.machine.tell("held up")
            self.machine.command_in_between(how)
            self.world.sleep(self.world.chance("disk").uniform(0.0, 0.5))  # so that their steps come in turns
            return
        raise Killed

    def take_room(self, path: str, size: int) -> None:
        """So many bytes more on the card. Raises OSError where it is full."""
        if self.room is not None and not path.startswith("/run/"):
            if size > self.room:
                raise fail(errno.ENOSPC, path)
            self.room -= size

    def open(self, path: str, flags: int) -> OpenFile:
        """As open(2)."""
        process = current()
        try:
            node = self.node(path)
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise fail(errno.EEXIST, path)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            self.before("create", path)
            disk, folder, name = self.place(path)
            node = folder.names.get(name)  # another process may have been quicker
            if node is None:
                self.take_room(path, 1)
                node = File(mtime=self.machine.wall())
                disk.change((folder, name, node))
            elif flags & os.O_EXCL:
                raise fail(errno.EEXIST, path) from None
        if isinstance(node, Folder):
            if flags & (os.O_WRONLY | os.O_RDWR):
                raise fail(errno.EISDIR, path)
        elif flags & os.O_DIRECTORY:
            raise fail(errno.ENOTDIR, path)
        elif flags & os.O_TRUNC and node.data:
            self.before("write", path)
            if self.room is not None:
                self.room += len(node.data)
            node.data[:] = b""
        file = OpenFile(self, node, path, flags)
        if flags & os.O_APPEND:
            file.place = len(node.data)
        del process
        return file

    def write(self, file: OpenFile, data: bytes) -> int:
        """As write(2)."""
        self.before("write", file.path)
        grown = max(0, file.place + len(data) - len(file.node.data))
        self.take_room(file.path, grown)
        file.node.data[file.place : file.place + len(data)] = data
        file.place += len(data)
        file.node.mtime = self.machine.wall()
        return len(data)

    def fsync(self, file: OpenFile) -> None:
        """As fsync(2)."""
        self.before("fsync", file.path)
        (self.memory if file.path.startswith("/run") else self.card).sync(file.node)

    def rename(self, old: str, new: str) -> None:
        """As rename(2), within one disk."""
        self.node(old)
        self.before("rename", new)
        node = self.node(old)
        disk, source, name = self.place(old)
        _, target, new_name = self.place(new)
        there = target.names.get(new_name)
        if isinstance(there, Folder) != isinstance(node, Folder) and there is not None:
            raise fail(errno.EISDIR if isinstance(there, Folder) else errno.ENOTDIR, new)
        disk.change((source, name, None), (target, new_name, node))

    def unlink(self, path: str) -> None:
        """As unlink(2)."""
        if isinstance(self.node(path), Folder):
            raise fail(errno.EISDIR, path)
        self.before("unlink", path)
        node = self.node(path)
        disk, folder, name = self.place(path)
        disk.change((folder, name, None))
        if self.room is not None and disk is self.card:
            self.room += len(node.data)

    def mkdir(self, path: str) -> None:
        """As mkdir(2)."""
        self.place(path)
        self.before("mkdir", path)
        disk, folder, name = self.place(path)
        if name in folder.names:
            raise fail(errno.EEXIST, path)
        disk.change((folder, name, Folder()))

    def lock(self, file: OpenFile) -> None:
        """As flock(2) with LOCK_EX | LOCK_NB. Raises BlockingIOError."""
        held = self.locks.get(id(file.node))
        if held and held[1] is not file and not held[0].dead:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.locks[id(file.node)] = (current(), file)

    # -- the world's own hand

    def put(self, path: str, text: str, *, durable: bool = True) -> None:
        """A file that a technician saved with an editor, durable at once."""
        parent, _, name = path.rpartition("/")
        folder = self.find(parent)
        disk = self.memory if path.startswith("/run/") else self.card
        node = File(data=bytearray(text.encode()), mtime=self.machine.wall())
        disk.change((folder, name, node))
        if durable:
            node.kept = bytes(node.data)
            disk.sync(folder)

    def make_folder(self, path: str, *, durable: bool = True) -> None:
        """A folder that the package makes, durable at once, or systemd, which syncs nothing."""
        parent, _, name = path.rpartition("/")
        folder = self.find(parent) if parent else (self.card.root)
        if name not in folder.names:
            disk = self.memory if path.startswith("/run/") else self.card
            disk.change((folder, name, Folder()))
            if durable:
                disk.sync(folder)


class Status:
    """What stat(2) tells."""

    def __init__(self, system: FileSystem, node: Any, path: str) -> None:
        self.st_mode = node.mode
        self.st_ino = system.inode(node)
        self.st_dev = 2 if path == "/run" or path.startswith("/run/") else 1
        self.st_nlink, self.st_uid, self.st_gid = 1, 990, 990
        self.st_size = len(node.data) if isinstance(node, File) else 4096
        self.st_mtime = self.st_ctime = self.st_atime = node.mtime
        self.st_mtime_ns = self.st_ctime_ns = self.st_atime_ns = int(node.mtime * 1e9)


def is_regular(node: Any) -> bool:
    """Whether it is a file, and no socket."""
    return isinstance(node, File) and stat.S_ISREG(node.mode)
