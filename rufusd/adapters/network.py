"""Tells when the machine's network changes: the kernel's own messages (rtnetlink(7)), nothing polled."""

from __future__ import annotations

import contextlib
import socket

_ROUTE = 0  # NETLINK_ROUTE
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # links, IPv4 and IPv6 addresses and routes (linux/rtnetlink.h)


class Changes:
    """A stream of "something changed". Where the kernel gives none, there are just never any."""

    def __init__(self) -> None:
        """Listens from now on."""
        self._peer: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE)
        except OSError:
            self._socket, self._peer = socket.socketpair()
        else:
            with contextlib.suppress(OSError):  # unbound, it hears nothing
                self._socket.bind((0, _GROUPS))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For select(2): readable when there is something to take."""
        return self._socket.fileno()

    def take(self) -> bool:
        """Take what there is; whether there was anything. Bounded, however much comes."""
        for taken in range(1000):
            try:
                if not self._socket.recv(65536):
                    return taken > 0
            except BlockingIOError:
                return taken > 0
            except OSError:  # ENOBUFS: too many at once to keep, so there were some
                return True
        return True

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        if self._peer:
            self._peer.close()
