"""Servers that answer as none should, two proxies, and certificates good and bad: real sockets, on loopback only."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Callable

import trustme

PATIENCE = 60.0  # seconds that a server waits for what a test is sure to bring


class Peer:
    """One connection, as the server sees it. What it cannot do any more raises OSError, which ends the script."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self.sock = sock
        self.server = server
        self._more = b""

    def request(self) -> bytes:
        """Read and record one request, up to its empty line."""
        request = b""
        while b"\r\n\r\n" not in request:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the client hung up")
            request += data
        head, end, self._more = request.partition(b"\r\n\r\n")
        self.server.requests.append(head + end)
        return head + end

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def drip(self, data: bytes, every: float = 0.05) -> None:
        """Send byte by byte, over and over, until the client has enough."""
        while True:
            for byte in data:
                self.send(bytes([byte]))
                if self.server.stopping.wait(every):
                    return

    def reset(self) -> None:
        """Hang up with a reset instead of an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def rest(self) -> bytes:
        """Read until the client hangs up."""
        rest, self._more = self._more, b""
        while data := self.sock.recv(65536):
            rest += data
        return rest


class Server:
    """Listens in a `with`, on 127.0.0.1 unless told; each connection runs `script`, then ends. Any may be cut."""

    def __init__(
        self,
        script: Callable[[Peer], None],
        tls: ssl.SSLContext | None = None,
        at: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.script = script
        self.stopping = threading.Event()
        self.requests: list[bytes] = []
        self.connections = 0
        self.left_over: list[bytes] = []  # what each client sent after its request
        self._tls = tls
        self._listener = socket.create_server(at)
        self.port: int = self._listener.getsockname()[1]
        self._peers: list[Peer] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def url(self, host: str = "127.0.0.1") -> str:
        """What belongs into `api.url`."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/v0"

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which closing does not
        self._listener.close()
        self._threads[0].join()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._peers.append(Peer(sock, self))
                self._threads.append(threading.Thread(target=self._serve, args=(self._peers[-1],), daemon=True))
                self._threads[-1].start()

    def _serve(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.sock.settimeout(PATIENCE)
            if self._tls:
                peer.sock = self._tls.wrap_socket(peer.sock, server_side=True)
            self.script(peer)
        with contextlib.suppress(OSError):
            peer.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            self.left_over.append(peer.rest())  # with it unread, closing would reset the connection
        peer.sock.close()


def says(data: bytes) -> Callable[[Peer], None]:
    """A script: read a request, send these very bytes, end."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)

    return script


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    """A whole, proper answer."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def silent(peer: Peer) -> None:
    """A script: take all and say nothing, until the client has enough."""
    peer.rest()


def resets(peer: Peer) -> None:
    """A script: hang up with a reset at the first byte."""
    peer.sock.recv(1)
    peer.reset()


@contextlib.contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """The address of a listener whose queue is full: the kernel drops what would connect, as a dead route does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
        yield address


# Proxies


def tunnel(peer: Peer) -> None:
    """A script: a proxy that connects to any port of this machine on CONNECT."""
    port = int(peer.request().split()[1].rpartition(b":")[2])
    with socket.socket() as far:
        far.connect(("127.0.0.1", port))
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        relay(peer.sock, far)


def relay(one: socket.socket, other: socket.socket) -> None:
    """Carry what comes in either way until one side ends or resets, and pass that on."""
    ways = {one: other, other: one}
    while True:
        ready = select.select(list(ways), [], [], PATIENCE)[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            ways[source].sendall(data)
        if not ready:
            return


# Certificates

FAULTS = ("another name", "self-signed", "unknown authority", "expired", "not yet valid", "old TLS")


def tls_context(authority: trustme.CA, fault: str = "") -> ssl.SSLContext:
    """A server's context for localhost and 127.0.0.1, vouched for by `authority`, or with one of FAULTS."""
    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    more: dict[str, datetime] = {}
    now, day = datetime.now(timezone.utc), timedelta(days=1)
    if fault == "another name":
        names = ("hotspot.example", "192.0.2.1")
    elif fault == "expired":
        more = {"not_before": now - 2 * day, "not_after": now - day}
    elif fault == "not yet valid":
        more = {"not_before": now + day, "not_after": now + 2 * day}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if fault == "self-signed":
        lone = trustme.CA()
        with lone.private_key_pem.tempfile() as key, lone.cert_pem.tempfile() as certificate:
            context.load_cert_chain(certificate, key)
        return context
    issuer = trustme.CA() if fault == "unknown authority" else authority
    issuer.issue_cert(*names, **more).configure_cert(context)
    if fault == "old TLS":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old it is, and that is the point
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context
