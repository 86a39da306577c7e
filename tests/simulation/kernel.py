"""The modules that the product imports and that touch the world, as the simulated world has them.

Each is found by its real name (`MODULES`). What a module here does not have, the product cannot use: the race then ends
with an AttributeError that names it, and it has to be written here. Modules that touch nothing (json, re, dataclasses)
are the real ones.
"""

from __future__ import annotations

import errno
import io
import logging as real_logging
import os as real_os
import pathlib as real_pathlib
import posixpath
import select as real_select
import signal as real_signal
import socket as real_socket
import stat as real_stat
import struct
import sys as real_sys
import threading as real_threading
import time as real_time
import types
from typing import Any, Callable

import greenlet
from lossyfs import File, Folder

from .disk import Status, fail
from .world import Process, Waitable, current, current_world


def constants(real: Any) -> dict[str, Any]:
    """What of a real module touches nothing: its numbers and its errors."""
    return {
        name: value
        for name, value in vars(real).items()
        if isinstance(value, (int, float, str)) or (isinstance(value, type) and issubclass(value, Exception))
        if not name.startswith("__")
    }


def module(name: str, real: Any = None, **own: Any) -> types.ModuleType:
    """A module of this name: a real one's constants, and what is given."""
    made = types.ModuleType(name)
    vars(made).update({**(constants(real) if real else {}), **own})
    return made


def _files() -> Any:
    return current().machine.files


# -- files


def _text(path: Any, dir_fd: int | None = None) -> str:
    """A path as text; of an open file its own."""
    if isinstance(path, int):
        return str(getattr(_opened(path), "path", ""))
    text = real_os.fspath(path)
    text = text.decode() if isinstance(text, bytes) else text
    if dir_fd is not None and not text.startswith("/"):
        text = f"{current().files[dir_fd].path}/{text}"
    return posixpath.normpath(text if text.startswith("/") else f"/{text}")


def _new_file(opened: Any) -> int:
    files = current().files
    number = 3
    while number in files:
        number += 1
    files[number] = opened
    return number


def _open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    return _new_file(_files().open(_text(path, dir_fd), flags))


def _close(number: int) -> None:
    process = current()
    if number not in process.files:
        raise fail(errno.EBADF, number)
    process.files.pop(number).close_by(process)


def _opened(number: int) -> Any:
    try:
        return current().files[number]
    except KeyError:
        raise fail(errno.EBADF, number) from None


def _read(number: int, most: int) -> bytes:
    opened = _opened(number)
    if isinstance(opened, Pipe):
        return opened.take(most)
    if isinstance(opened.node, Folder):
        raise fail(errno.EISDIR, opened.path)
    if opened.system.reads_fail and not opened.path.startswith(("/run/", "/proc/")):
        raise fail(errno.EIO, opened.path)
    data = bytes(opened.node.data[opened.place : opened.place + most])
    opened.place += len(data)
    return data


def _write(number: int, data: Any) -> int:
    opened = _opened(number)
    return int(opened.put(bytes(data)) if isinstance(opened, Pipe) else opened.system.write(opened, bytes(data)))


def _stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Status:
    text = _text(path, dir_fd)
    if isinstance(path, int):
        return Status(_files(), _opened(path).node, text)
    return Status(_files(), _files().node(text), text)


class Entry:
    """An entry of scandir."""

    def __init__(self, folder: str, name: str) -> None:
        self.name, self.path = name, f"{folder}/{name}"

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return isinstance(_files().node(self.path), File)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return isinstance(_files().node(self.path), Folder)

    def stat(self, *, follow_symlinks: bool = True) -> Status:
        return _stat(self.path)


class _Scan(list):  # type: ignore[type-arg]
    def __enter__(self) -> _Scan:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


def _listdir(path: Any = "/") -> list[str]:
    node = _files().node(_text(path))
    if not isinstance(node, Folder):
        raise fail(errno.ENOTDIR, path)
    return sorted(node.names)


def _scandir(path: Any = "/") -> _Scan:
    return _Scan(Entry(_text(path), name) for name in _listdir(path))


def _access(path: Any, mode: int, **_: Any) -> bool:
    files = _files()
    try:
        files.node(_text(path))
    except OSError:
        return False
    return not (mode & real_os.W_OK and files.error == errno.EROFS)


def _statvfs(path: Any) -> Any:
    files = _files()
    files.node(_text(path))
    free = (1 << 20 if files.room is None else files.room // 4096) if not _text(path).startswith("/run") else 1 << 16
    flags = real_os.ST_RDONLY if files.error == errno.EROFS else 0
    return types.SimpleNamespace(
        f_flag=flags, f_bavail=free, f_bfree=free, f_frsize=4096, f_bsize=4096, f_blocks=1 << 21, f_favail=1 << 16,
        f_ffree=1 << 16, f_files=1 << 17,
    )  # fmt: skip


def _rename(old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    _files().rename(_text(old, src_dir_fd), _text(new, dst_dir_fd))


def _unlink(path: Any, *, dir_fd: int | None = None) -> None:
    _files().unlink(_text(path, dir_fd))


def _mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    _files().mkdir(_text(path, dir_fd))


def _nothing(*_: Any, **__: Any) -> None:
    """What makes no difference here."""


def _kill(number: int, what: int) -> None:
    process = current().machine.process(number)
    if process is None:
        raise fail(errno.ESRCH, number)
    if what == real_signal.SIGKILL:
        process.kill()
    elif what:
        process.signal(what)


class Pipe(Waitable):
    """A pipe; both ends are this object."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def ready(self) -> bool:
        return bool(self.data)

    def put(self, data: bytes) -> int:
        if len(self.data) > 65536:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.data += data
        self.changed()
        return len(data)

    def take(self, most: int) -> bytes:
        if not self.data:
            raise BlockingIOError(errno.EAGAIN, "empty")
        taken = bytes(self.data[:most])
        del self.data[:most]
        return taken

    def close_by(self, _: Process) -> None:
        pass


def _pipe2(_: int = 0) -> tuple[int, int]:
    pipe = Pipe()
    return _new_file(pipe), _new_file(pipe)


class _Environment(dict):  # type: ignore[type-arg]
    """The process's own."""

    def _own(self) -> dict[str, str]:
        own: dict[str, str] = current().facts.setdefault("environment", {})
        return own

    def get(self, name: str, default: Any = None) -> Any:
        return self._own().get(name, default)

    def __getitem__(self, name: str) -> str:
        return self._own()[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._own()[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._own()

    def setdefault(self, name: str, default: Any = None) -> Any:
        return self._own().setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        return self._own().pop(name, *default)


def _exists(path: Any) -> bool:
    try:
        _stat(path)
    except (OSError, ValueError):
        return False
    return True


path_module = module(
    "posixpath", posixpath,
    **{name: getattr(posixpath, name) for name in ("join", "basename", "dirname", "split", "splitext", "isabs")},
    normpath=posixpath.normpath, abspath=_text, realpath=_text, exists=_exists, lexists=_exists,
    isfile=lambda path: _exists(path) and real_stat.S_ISREG(_stat(path).st_mode),
    isdir=lambda path: _exists(path) and real_stat.S_ISDIR(_stat(path).st_mode),
    islink=lambda _: False,
)  # fmt: skip

os_module = module(
    "os", real_os, path=path_module, environ=_Environment(), strerror=real_os.strerror, fspath=real_os.fspath,
    PathLike=real_os.PathLike, major=lambda device: device, minor=lambda _: 0, makedev=lambda major, _: major,
    open=_open, close=_close, read=_read, write=_write, fsync=lambda fd: _files().fsync(_opened(_number(fd))),
    fdatasync=lambda fd: _files().fsync(_opened(_number(fd))), stat=_stat, lstat=_stat,
    fstat=_stat, scandir=_scandir, listdir=_listdir, access=_access, statvfs=_statvfs,
    fstatvfs=_statvfs, rename=_rename, replace=_rename, unlink=_unlink, remove=_unlink, mkdir=_mkdir,
    chmod=_nothing, fchmod=_nothing, chown=_nothing, fchown=_nothing, umask=lambda _: 0o022, utime=_nothing,
    kill=_kill, getpid=lambda: current().pid, getppid=lambda: 1, geteuid=lambda: 990, getuid=lambda: 990,
    getegid=lambda: 990, getgid=lambda: 990, pipe2=_pipe2, pipe=_pipe2, dup2=_nothing,
    supports_dir_fd=real_os.supports_dir_fd, sched_yield=_nothing,
)  # fmt: skip


def _number(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


class _Raw(io.RawIOBase):
    """An open file for Python's own buffers. Once its process is dead it does nothing."""

    def __init__(self, number: int, process: Process) -> None:
        self.number, self.process = number, process

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def readinto(self, buffer: Any) -> int:
        data = _read(self.number, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return len(data) if self.process.dead else _write(self.number, data)

    def close(self) -> None:
        if not self.closed and not self.process.dead and self.number in self.process.files:
            _close(self.number)
        super().close()


def open_file(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
              newline: str | None = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
    """As the builtin `open`."""
    flags = {"r": real_os.O_RDONLY, "w": real_os.O_WRONLY | real_os.O_CREAT | real_os.O_TRUNC}.get(
        mode[0], real_os.O_WRONLY | real_os.O_CREAT | (real_os.O_APPEND if mode[0] == "a" else real_os.O_EXCL)
    )
    number = file if isinstance(file, int) else opener(file, flags) if opener else _open(file, flags)
    opened = _opened(number)
    if isinstance(opened, Pipe) is False and isinstance(opened.node, Folder):
        if not isinstance(file, int):
            _close(number)
        raise fail(errno.EISDIR, file)
    raw = _Raw(number, current())
    binary = io.BufferedReader(raw) if mode[0] == "r" else io.BufferedWriter(raw)
    return binary if "b" in mode else io.TextIOWrapper(binary, encoding or "utf-8", errors, newline)


class Path(real_pathlib.PurePosixPath):
    """pathlib.Path, on the simulated files."""

    def stat(self, *, follow_symlinks: bool = True) -> Status:
        return _stat(self)

    lstat = stat

    def exists(self) -> bool:
        try:
            self.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def is_dir(self) -> bool:
        return path_module.isdir(self)  # type: ignore[no-any-return]

    def is_file(self) -> bool:
        return path_module.isfile(self)  # type: ignore[no-any-return]

    def is_symlink(self) -> bool:
        return False

    def is_socket(self) -> bool:
        return _exists(self) and real_stat.S_ISSOCK(_stat(self).st_mode)

    def absolute(self) -> Path:
        return self

    resolve = absolute

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        try:
            _mkdir(self, mode)
        except FileNotFoundError:
            if not parents or self.parent == self:
                raise
            self.parent.mkdir(parents=True, exist_ok=True)
            self.mkdir(mode, False, exist_ok)
        except OSError:
            if not exist_ok or not self.is_dir():
                raise

    def iterdir(self) -> Any:
        return (self / name for name in _listdir(self))

    def glob(self, pattern: str) -> Any:
        import fnmatch

        names = _listdir(self) if self.is_dir() else []
        return [self / name for name in names if fnmatch.fnmatchcase(name, pattern)]

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            _unlink(self)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, target: Any) -> Path:
        _rename(self, target)
        return Path(target)

    replace = rename

    def chmod(self, mode: int) -> None:
        _stat(self)

    def open(self, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        return open_file(self, mode, *arguments, **more)

    def read_bytes(self) -> bytes:
        number = _open(self, real_os.O_RDONLY)
        try:
            return _read(number, 1 << 30)
        finally:
            _close(number)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, data: bytes) -> int:
        number = _open(self, real_os.O_WRONLY | real_os.O_CREAT | real_os.O_TRUNC)
        try:
            return _write(number, data)
        finally:
            _close(number)

    def write_text(self, text: str, encoding: str = "utf-8", errors: str = "strict") -> int:
        return self.write_bytes(text.encode(encoding, errors))


pathlib_module = module("pathlib", Path=Path, PurePath=real_pathlib.PurePath, PosixPath=Path,
                        PurePosixPath=real_pathlib.PurePosixPath)  # fmt: skip


def _flock(file: Any, how: int) -> None:
    opened = _opened(_number(file))
    if how & 8:  # LOCK_UN
        opened.close_by(current())
        return
    if how & 4:  # LOCK_NB
        opened.system.lock(opened)
        return
    while True:
        try:
            return opened.system.lock(opened)
        except BlockingIOError:
            current_world().sleep(0.01)


fcntl_module = module("fcntl", LOCK_SH=1, LOCK_EX=2, LOCK_NB=4, LOCK_UN=8, flock=_flock,
                      F_GETFD=1, F_SETFD=2, F_GETFL=3, F_SETFL=4, FD_CLOEXEC=1, fcntl=lambda *_: 0)  # fmt: skip


# -- time and chance


def _monotonic() -> float:
    return current_world().now


def _wall() -> float:
    return float(current().machine.wall())


def _clock_gettime(which: int) -> float:
    if which == real_time.CLOCK_REALTIME:
        return _wall()
    if which == real_time.CLOCK_MONOTONIC:
        return _monotonic()
    return _monotonic() - float(current().machine.booted)


def _worked() -> float:
    """The processor's time: as good as none, since the simulated product computes in no time."""
    facts = current().facts
    facts["worked"] = facts.get("worked", 0.0) + 1e-6
    return float(facts["worked"])


time_module = module(
    "time", real_time, monotonic=_monotonic, monotonic_ns=lambda: int(_monotonic() * 1e9), perf_counter=_monotonic,
    time=_wall, time_ns=lambda: int(_wall() * 1e9), sleep=lambda seconds: current_world().sleep(seconds),
    clock_gettime=_clock_gettime, clock_gettime_ns=lambda which: int(_clock_gettime(which) * 1e9),
    thread_time=_worked, process_time=_worked, struct_time=real_time.struct_time,
    gmtime=lambda seconds=None: real_time.gmtime(_wall() if seconds is None else seconds),
    localtime=lambda seconds=None: real_time.gmtime(_wall() if seconds is None else seconds),
    strftime=lambda form, moment=None: real_time.strftime(form, moment or real_time.gmtime(_wall())),
    strptime=real_time.strptime, mktime=real_time.mktime,
)  # fmt: skip


def _product_chance() -> Any:
    return current_world().chance("product")


random_module = module(
    "random", random=lambda: _product_chance().random(), uniform=lambda a, b: _product_chance().uniform(a, b)
)


# -- threads


class Event(Waitable):
    """threading.Event."""

    def __init__(self) -> None:
        super().__init__()
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self.changed()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        return bool(current_world().wait(lambda: self._set, [self], timeout))


class RLock(Waitable):
    """threading.RLock, and Lock."""

    def __init__(self) -> None:
        super().__init__()
        self._owner: Any = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = greenlet.getcurrent()
        if self._owner not in (None, me):
            seconds = (None if timeout < 0 else timeout) if blocking else 0.0
            current()
            if not current_world().wait(lambda: self._owner is None, [self], seconds):
                return False
        self._owner = me
        self._count += 1
        return True

    def release(self) -> None:
        self._count -= 1
        if not self._count:
            self._owner = None
            if self.waiting:
                self.changed()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Thread:
    """threading.Thread; all threads are daemons here."""

    def __init__(self, group: Any = None, target: Any = None, name: str = "", args: Any = (), kwargs: Any = None,
                 *, daemon: bool | None = None) -> None:  # fmt: skip
        self.name, self.daemon, self._target, self._args, self._kwargs = name, daemon, target, args, kwargs or {}
        self._task: Any = None
        self._done = Event()

    def run(self) -> None:
        if self._target:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        def body() -> None:
            try:
                self.run()
            finally:
                self._done._set = True
            self._done.changed()

        self._task = current().spawn(body)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.dead and not self._done._set

    def join(self, timeout: float | None = None) -> None:
        self._done.wait(timeout)


threading_module = module(
    "threading", real_threading, Event=Event, RLock=RLock, Lock=RLock, Thread=Thread, excepthook=_nothing,
    get_ident=lambda: id(greenlet.getcurrent()), current_thread=lambda: types.SimpleNamespace(name="thread"),
    main_thread=lambda: types.SimpleNamespace(name="main"), local=types.SimpleNamespace,
)  # fmt: skip


def _on_signal(number: int, handler: Any) -> None:
    current().handlers[number] = handler


signal_module = module("signal", real_signal, signal=_on_signal, Signals=real_signal.Signals,
                       SIG_DFL=real_signal.SIG_DFL, SIG_IGN=_nothing, getsignal=lambda _: None)  # fmt: skip


# -- sockets


class Socket(Waitable):
    """A Unix socket, or the kernel's news about the network (netlink)."""

    def __init__(self, family: int = real_socket.AF_UNIX, type: int = 1, proto: int = 0, fileno: Any = None) -> None:
        super().__init__()
        if family not in (real_socket.AF_UNIX, real_socket.AF_NETLINK):
            raise fail(errno.EAFNOSUPPORT, "socket")
        self.family, self.owner = family, current()
        self.data = bytearray()
        self.queue: list[Socket] | None = None
        self.peer: Socket | None = None
        self.path = ""
        self.connected = self.closed = False
        self.timeout: float | None = None
        self.number = _new_file(self)

    def fileno(self) -> int:
        return -1 if self.closed else self.number

    def ready(self) -> bool:
        ended = self.connected and (self.peer is None or self.peer.closed)
        return bool(self.data or self.queue or ended)

    def bind(self, address: Any) -> None:
        if self.family == real_socket.AF_NETLINK:
            self.owner.machine.listeners.append(self)
            return
        files, path = _files(), _text(address)
        if files.find(path) is not None:
            raise fail(errno.EADDRINUSE, path)
        files.before("create", path)
        disk, folder, name = files.place(path)
        node = File(mode=real_stat.S_IFSOCK | 0o755)
        node.listener = self
        disk.change((folder, name, node))
        self.path = path

    def listen(self, _: int = 8) -> None:
        self.queue = []

    def accept(self) -> tuple[Socket, str]:
        current()
        if not self.queue:
            self._wait_ready()
        assert self.queue
        return self.queue.pop(0), ""

    def connect(self, address: Any) -> None:
        path = _text(address)
        node = _files().node(path)
        listener = getattr(node, "listener", None)
        if listener is None or listener.closed or listener.queue is None:
            raise fail(errno.ECONNREFUSED, path)
        other = Socket.__new__(Socket)
        Waitable.__init__(other)
        other.family, other.owner, other.data, other.queue, other.path = (
            self.family,
            listener.owner,
            bytearray(),
            None,
            "",
        )
        other.closed, other.timeout, other.connected, other.peer = False, None, True, self
        files = listener.owner.files
        other.number = max([3, *files]) + 1
        files[other.number] = other
        self.connected, self.peer = True, other
        listener.queue.append(other)
        listener.changed()

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or 0
        return 0

    def send(self, data: Any, _: int = 0) -> int:
        current()
        if self.peer is None or self.peer.closed:
            raise fail(errno.EPIPE, "socket")
        if len(self.peer.data) + len(data) > 212992:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.peer.data += data
        self.peer.changed()
        return len(data)

    sendall = send

    def recv(self, most: int, _: int = 0) -> bytes:
        current()
        if not self.data and not (self.connected and (self.peer is None or self.peer.closed)):
            self._wait_ready()
        taken = bytes(self.data[:most])
        del self.data[:most]
        return taken

    def _wait_ready(self) -> None:
        if self.timeout == 0.0 or not current_world().wait(self.ready, [self], self.timeout):
            if self.timeout:
                raise real_socket.timeout("timed out")
            raise BlockingIOError(errno.EAGAIN, os_module.strerror(errno.EAGAIN))

    def getsockopt(self, _: int, option: int, size: int = 0) -> Any:
        if option == real_socket.SO_PEERCRED:
            owner = self.peer.owner if self.peer else self.owner
            return struct.pack("3i", owner.pid, 990, 990)
        return 0

    def setblocking(self, blocking: bool) -> None:
        self.timeout = None if blocking else 0.0

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def setsockopt(self, *_: Any) -> None:
        pass

    def shutdown(self, _: int) -> None:
        pass

    def close(self) -> None:
        if not self.closed and not self.owner.dead:
            self.owner.files.pop(self.number, None)
            self.close_by(self.owner)

    def close_by(self, _: Process) -> None:
        if not self.closed:
            self.closed = True
            if self.peer:
                self.peer.changed()
            for waiting in self.queue or ():
                waiting.close_by(waiting.owner)

    def detach(self) -> int:
        return self.number

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _socketpair(*_: Any) -> tuple[Socket, Socket]:
    one, other = Socket(), Socket()
    one.peer, other.peer, one.connected, other.connected = other, one, True, True
    return one, other


socket_module = module("socket", real_socket, socket=Socket, socketpair=_socketpair, error=OSError,
                       timeout=real_socket.timeout)  # fmt: skip


def _select(reads: Any, writes: Any, _: Any, timeout: float | None = None) -> tuple[list[Any], list[Any], list[Any]]:
    files = current().files
    found = [(each, files[_number(each)]) for each in reads]

    def ready() -> list[Any]:
        return [each for each, opened in found if opened.ready()]

    if writes:
        return ready(), list(writes), []
    return current_world().wait(ready, [opened for _, opened in found], timeout) or [], [], []


class Poll:
    """select.poll, for reading."""

    def __init__(self) -> None:
        self._files: list[Any] = []

    def register(self, file: Any, _: int = 0) -> None:
        self._files.append(file)

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        ready = _select(self._files, [], [], None if milliseconds is None else milliseconds / 1000)[0]
        return [(_number(each), real_select.POLLIN) for each in ready]


select_module = module("select", real_select, select=_select, poll=Poll)


# -- the interpreter, the journal, systemd


class _Sys:
    """`sys`, with each process's own streams and arguments."""

    def __getattr__(self, name: str) -> Any:
        return getattr(real_sys, name)

    @property
    def argv(self) -> list[str]:
        return list(current().facts.get("arguments", ["rufusd"]))

    @property
    def stdout(self) -> Any:
        return current().facts.setdefault("stdout", io.StringIO())

    @property
    def stderr(self) -> Any:
        return current().facts.setdefault("stderr", io.StringIO())

    @property
    def stdin(self) -> Any:
        return current().facts.setdefault("stdin", io.StringIO())


class Logger:
    """The journal. What the product sets up for it (handlers, formats) stays outside."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []
        self.propagate = True
        self.disabled = False

    def setLevel(self, _: Any) -> None:
        pass

    def isEnabledFor(self, _: Any) -> bool:
        return True

    def addHandler(self, _: Any) -> None:
        pass

    def log(self, level: int, text: str, *parts: Any, exc_info: Any = None, **_: Any) -> None:
        process = current()
        said = str(text) % parts if parts else str(text)
        process.machine.journal(process, level, said)
        if exc_info is not None:
            error = exc_info if isinstance(exc_info, BaseException) else real_sys.exc_info()[1]
            process.defect(error or RuntimeError(said))

    def debug(self, text: str, *parts: Any, **more: Any) -> None:
        self.log(10, text, *parts, **more)

    def info(self, text: str, *parts: Any, **more: Any) -> None:
        self.log(20, text, *parts, **more)

    def warning(self, text: str, *parts: Any, **more: Any) -> None:
        self.log(30, text, *parts, **more)

    def error(self, text: str, *parts: Any, **more: Any) -> None:
        self.log(40, text, *parts, **more)

    def critical(self, text: str, *parts: Any, **more: Any) -> None:
        self.log(50, text, *parts, **more)

    def exception(self, text: str, *parts: Any) -> None:
        self.log(40, text, *parts, exc_info=real_sys.exc_info()[1])


_logger = Logger()
logging_module = module(
    "logging", real_logging, getLogger=lambda *_: _logger, StreamHandler=lambda *_: real_logging.NullHandler(),
    Formatter=real_logging.Formatter, Handler=real_logging.Handler, LogRecord=real_logging.LogRecord, Logger=Logger,
)  # fmt: skip


def _syslog(_: int, text: str = "") -> None:
    current().defect(RuntimeError(f"a command told syslog of a defect: {text}"))


class Notifier:
    """sdnotify."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.debug = False
        self.socket = types.SimpleNamespace(setblocking=_nothing)

    def notify(self, text: str) -> None:
        process = current()
        process.machine.notified(process, text)


class _Library:
    """ctypes.CDLL(None), for the kernel's word on the clock."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def adjtimex(self, *_: Any) -> int:
        return 0 if current().machine.clock_set else 5


# -- gpiozero


class InputDevice:
    """An input line."""

    def __init__(self, pin: int, pull_up: bool | None = False, active_state: bool | None = None, **_: Any) -> None:
        self.wires = current().machine.wires
        self.wires.claim(pin)
        self.pin, self.inverted = pin, bool(pull_up)

    @property
    def value(self) -> int:
        return int(self.wires.high(self.pin) != self.inverted)

    def close(self) -> None:
        self.wires.free(self.pin)


class OutputDevice:
    """An output line."""

    def __init__(self, pin: int, active_high: bool = True, initial_value: bool | None = False, **_: Any) -> None:
        self.wires = current().machine.wires
        self.wires.claim(pin)
        self.pin, self._value = pin, bool(initial_value)
        self.wires.put(pin, self._value)

    @property
    def value(self) -> int:
        return int(self._value)

    @value.setter
    def value(self, on: Any) -> None:
        current()
        self._value = bool(on)
        self.wires.put(self.pin, self._value)

    def on(self) -> None:
        self.value = True

    def off(self) -> None:
        self.value = False

    def close(self) -> None:
        self.wires.put(self.pin, False)
        self.wires.free(self.pin)


class _Device:
    pin_factory: Any = None


class _Factory:
    def close(self) -> None:
        pass


gpiozero_module = module("gpiozero", InputDevice=InputDevice, DigitalInputDevice=InputDevice, OutputDevice=OutputDevice,
                         DigitalOutputDevice=OutputDevice, Device=_Device)  # fmt: skip
gpiozero_module.pins = module("gpiozero.pins")  # type: ignore[attr-defined]
gpiozero_module.pins.lgpio = module("gpiozero.pins.lgpio", LGPIOFactory=_Factory)  # type: ignore[attr-defined]

MODULES: dict[str, Any] = {
    "os": os_module, "os.path": path_module, "time": time_module, "random": random_module, "fcntl": fcntl_module,
    "pathlib": pathlib_module, "select": select_module, "signal": signal_module, "socket": socket_module,
    "threading": threading_module, "sys": _Sys(), "logging": logging_module,
    "gc": module("gc", enable=_nothing, disable=_nothing, collect=_nothing, freeze=_nothing),
    "syslog": module("syslog", LOG_ERR=3, LOG_CRIT=2, syslog=_syslog),
    "sdnotify": module("sdnotify", SystemdNotifier=Notifier),
    "ctypes": module("ctypes", CDLL=_Library, create_string_buffer=bytearray),
    "gpiozero": gpiozero_module, "gpiozero.pins": gpiozero_module.pins,
    "gpiozero.pins.lgpio": gpiozero_module.pins.lgpio,
}  # fmt: skip
# Nothing of the product that runs in a race may get hold of these: with them it could touch the real world.
FORBIDDEN = frozenset(
    [
        "subprocess",
        "multiprocessing",
        "asyncio",
        "tempfile",
        "shutil",
        "requests",
        "urllib3",
        "http",
        "urllib.request",
        "lgpio",
        "glob",
    ]
)


def builtin_names(extra: Callable[..., Any]) -> dict[str, Any]:
    """The builtins of the product: `open` and `__import__` are the world's."""
    import builtins

    return {**vars(builtins), "open": open_file, "__import__": extra, "print": _print}


def _print(*parts: Any, file: Any = None, sep: str = " ", end: str = "\n", flush: bool = False) -> None:
    (file or MODULES["sys"].stdout).write(sep.join(map(str, parts)) + end)
