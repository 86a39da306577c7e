"""A file system that forgets, as a disk does at a power cut: what was not synced may be gone, in whole or in part.

    python lossyfs.py MOUNTPOINT

Each folder in its root is a disk of its own, in memory. A line written into the file `control` there is an order:

    cut DISK N SEED     just before the N-th modifying call from now on, kill whoever makes it, and cut the power;
                        0 cuts it at once. Until the power is on again, the disk answers with EIO.
    on DISK             the power is on again. The disk has what the cut has left.
    sync DISK           all that is on it has reached the disk.
    deaf DISK           from now on it ignores fsync, as a card that lies does.
    forget DISK         away with it.

and reading `control` gives a line "DISK N" for each disk: how many modifying calls it has had since the last order.

What a cut leaves. By fsync a file's content reaches the disk, and a folder's names do by the folder's own fsync. All
else may have reached it or not, each by the chance of the seed: each change of a name, whether or not earlier ones did,
each sector of a file, its length; what a file was lengthened by reads as zeros where its data did not make it. A rename
happens in whole or not at all, as on every file system with a journal. The worst of all cuts, nothing unsynced left, is
one of the chances; so is all names left, but no data.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Union

SECTOR = 512  # bytes, which a disk writes in whole or not at all


@dataclass(eq=False)
class File:
    """`data` is what programs see, `kept` what has reached the disk for sure."""

    data: bytearray = field(default_factory=bytearray)
    kept: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    mtime: float = 0.0

    def cut(self, chance: random.Random, share: float) -> None:
        """Of what was not synced, only a share has reached the disk."""
        size = len(self.data) if chance.random() < share else len(self.kept)
        left = bytearray(self.kept[:size].ljust(size, b"\0"))
        for start in range(0, min(size, len(self.data)), SECTOR):
            if chance.random() < share:
                left[start : start + SECTOR] = self.data[start : min(size, start + SECTOR)]
        self.data, self.kept = left, bytes(left)


@dataclass(eq=False)
class Folder:
    """`names` are what programs see; `kept` what has reached the disk, each with the number of its change."""

    names: dict[str, Node] = field(default_factory=dict)
    kept: dict[str, tuple[int, Node | None]] = field(default_factory=dict)
    mode: int = stat.S_IFDIR | 0o755
    mtime: float = 0.0


Node = Union[File, Folder]
Change = list[tuple[Folder, str, "Node | None"]]  # of names, all at once


class Disk:
    """One disk, and what is under way to it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.root = Folder()
        self._clock = clock
        self.calls = 0
        self.deaf = False
        self._number = 0
        self._under_way: list[tuple[int, Change]] = []
        self._powered = True
        self._cut_at: int | None = None
        self._chance = random.Random()

    def order_cut(self, after: int, seed: int) -> None:
        """See the module's docstring."""
        self.calls, self._cut_at, self._chance = 0, after, random.Random(seed)
        if after == 0:
            self._cut()

    def on(self) -> None:
        """The power is on again."""
        self._powered, self._cut_at, self.calls = True, None, 0

    def modified_by(self, caller: int) -> None:
        """A modifying call begins. Raises OSError where there is no power, or none any more."""
        self.calls += 1
        if self._powered and self.calls == self._cut_at:
            os.kill(caller, signal.SIGKILL)
            self._cut()
        if not self._powered:
            raise OSError(errno.EIO, "no power")

    def change(self, *names: tuple[Folder, str, Node | None]) -> None:
        """Change names, all at once; it is under way to the disk."""
        for folder, name, node in names:
            if node:
                folder.names[name] = node
            else:
                folder.names.pop(name, None)
            folder.mtime = self._clock()
        self._number += 1
        self._under_way.append((self._number, list(names)))

    def sync(self, node: Node | None = None) -> None:
        """A file's content, or a folder's names, have reached the disk; without either, everything has."""
        if isinstance(node, File):
            node.kept = bytes(node.data)
        else:
            for each in [each for each in self._under_way if node is None or any(node is at for at, _, _ in each[1])]:
                self._arrive(each)
        for file in self._files(self.root) if node is None else ():
            file.kept = bytes(file.data)

    def _arrive(self, change: tuple[int, Change]) -> None:
        self._under_way.remove(change)
        number, names = change
        for folder, name, node in names:
            if number > folder.kept.get(name, (0, None))[0]:  # else a later one was quicker
                folder.kept[name] = (number, node)

    def _cut(self) -> None:
        names, data = (self._chance.choice([0.0, 1.0, self._chance.random()]) for _ in range(2))
        for change in list(self._under_way):
            if self._chance.random() < names:
                self._arrive(change)
        self._under_way.clear()
        self._restore(self.root)
        for file in self._files(self.root):
            file.cut(self._chance, data)
        self._powered = False

    def _restore(self, folder: Folder) -> None:
        folder.names = {name: node for name, (_, node) in folder.kept.items() if node}
        for node in folder.names.values():
            if isinstance(node, Folder):
                self._restore(node)

    def _files(self, folder: Folder) -> Iterator[File]:
        for node in folder.names.values():
            if isinstance(node, File):
                yield node
            else:
                yield from self._files(node)


class LossyFS:
    """The calls of FUSE, for any number of disks."""

    use_ns = True

    def __init__(self, caller: Any) -> None:
        """`caller` gives the process that makes the call."""
        self._caller = caller
        self._disks: dict[str, Disk] = {}
        self._open: dict[int, File] = {}
        self._handles = 0

    # -- paths

    def _disk(self, path: str) -> Disk:
        try:
            return self._disks[path.split("/")[1]]
        except KeyError:
            raise OSError(errno.ENOENT, path) from None

    def _node(self, path: str) -> Node:
        node: Node = self._disk(path).root
        for name in path.split("/")[2:]:
            if not isinstance(node, Folder):
                raise OSError(errno.ENOTDIR, path)
            if name not in node.names:
                raise OSError(errno.ENOENT, path)
            node = node.names[name]
        return node

    def _place(self, path: str) -> tuple[Disk, Folder, str]:
        """Where a name is to be changed. Raises OSError where there is no power."""
        parent, _, name = path.rpartition("/")
        self._disk(path).modified_by(self._caller())
        folder = self._node(parent)
        if not isinstance(folder, Folder):
            raise OSError(errno.ENOTDIR, path)
        return self._disk(path), folder, name

    def _handle(self, file: File) -> int:
        self._handles += 1
        self._open[self._handles] = file
        return self._handles

    # -- orders

    def _obey(self, order: str) -> None:
        verb, name, *more = order.split()
        if verb == "cut":
            self._disks[name].order_cut(*map(int, more))
        elif verb == "on":
            self._disks[name].on()
        elif verb == "sync":
            self._disks[name].sync()
        elif verb == "deaf":
            self._disks[name].deaf = True
        elif verb == "forget":
            del self._disks[name]
        else:
            raise OSError(errno.EINVAL, order)

    # -- looking

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        facts: dict[str, Any] = {"st_uid": os.getuid(), "st_gid": os.getgid(), "st_nlink": 1}
        if path in ("/", "/control"):
            return {**facts, "st_mode": stat.S_IFREG | 0o600 if path[1:] else stat.S_IFDIR | 0o755}
        node = self._open[fh] if fh in self._open else self._node(path)
        size = len(node.data) if isinstance(node, File) else 0
        return {**facts, "st_mode": node.mode, "st_size": size, "st_mtime": int(node.mtime * 1e9)}

    def readdir(self, path: str, fh: int) -> list[str]:  # noqa: ARG002 - FUSE's signature, here and below
        node = None if path == "/" else self._node(path)
        return [".", "..", *(node.names if isinstance(node, Folder) else self._disks)]

    def statfs(self, path: str) -> dict[str, int]:  # noqa: ARG002
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bfree": 1 << 20, "f_bavail": 1 << 20}

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002
        if path == "/control":
            return 0
        node = self._node(path)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, path)
        return self._handle(node)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if path == "/control":
            data = "".join(f"{name} {disk.calls}\n" for name, disk in self._disks.items()).encode()
        else:
            data = bytes(self._open[fh].data)
        return data[offset : offset + size]

    def release(self, path: str, fh: int) -> None:  # noqa: ARG002
        self._open.pop(fh, None)

    # -- modifying

    def create(self, path: str, mode: int, fi: Any = None) -> int:  # noqa: ARG002
        disk, folder, name = self._place(path)
        file = File(mode=stat.S_IFREG | mode)
        disk.change((folder, name, file))
        return self._handle(file)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == "/control":
            self._obey(data.decode())
            return len(data)
        self._disk(path).modified_by(self._caller())
        file = self._open[fh]
        file.data.extend(bytes(max(0, offset - len(file.data))))
        file.data[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        if path == "/control":
            return
        self._disk(path).modified_by(self._caller())
        node = self._open[fh] if fh in self._open else self._node(path)
        assert isinstance(node, File)
        node.data[length:] = bytes(max(0, length - len(node.data)))

    def fsync(self, path: str, datasync: int, fh: int) -> None:  # noqa: ARG002
        disk = self._disk(path)
        disk.modified_by(self._caller())
        if not disk.deaf:
            disk.sync(self._open[fh])

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:  # noqa: ARG002
        disk = self._disk(path)
        disk.modified_by(self._caller())
        if not disk.deaf:
            disk.sync(self._node(path))

    def rename(self, old: str, new: str) -> None:
        node = self._node(old)
        disk, folder, name = self._place(new)
        source = self._node(old.rpartition("/")[0])
        assert isinstance(source, Folder)
        there = folder.names.get(name)
        if isinstance(there, Folder) and (isinstance(node, File) or there.names):
            raise OSError(errno.EISDIR if isinstance(node, File) else errno.ENOTEMPTY, new)
        disk.change((source, old.rpartition("/")[2], None), (folder, name, node))

    def mkdir(self, path: str, mode: int) -> None:
        if path.count("/") == 1:
            self._disks[path[1:]] = Disk()
            return
        disk, folder, name = self._place(path)
        disk.change((folder, name, Folder(mode=stat.S_IFDIR | mode)))

    def unlink(self, path: str) -> None:
        self._node(path)
        disk, folder, name = self._place(path)
        disk.change((folder, name, None))

    def rmdir(self, path: str) -> None:
        node = self._node(path)
        if not isinstance(node, Folder) or node.names:
            raise OSError(errno.ENOTEMPTY if isinstance(node, Folder) else errno.ENOTDIR, path)
        disk, folder, name = self._place(path)
        disk.change((folder, name, None))

    def chmod(self, path: str, mode: int) -> None:
        node = self._node(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Everything belongs to whoever runs this."""

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        self._node(path).mtime = times[1] / 1e9


def main(mountpoint: str) -> None:
    """Serve until it is unmounted, or the standard input ends: whoever started this has gone, then."""
    import mfusepy

    def follow() -> None:
        while os.read(0, 1):
            pass
        with contextlib.suppress(OSError):
            os.kill(os.getpid(), signal.SIGTERM)  # upon which libfuse unmounts, and ends

    threading.Thread(target=follow, daemon=True).start()
    with contextlib.suppress(RuntimeError):  # libfuse's word for that signal
        mfusepy.FUSE(
            LossyFS(lambda: mfusepy.fuse_get_context()[2]),
            mountpoint,
            foreground=True,
            nothreads=True,  # one call at a time: a cut is a moment
            direct_io=True,  # and no cache of the kernel's outlives one
            hard_remove=True,
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
        )


if __name__ == "__main__":
    main(sys.argv[1])
