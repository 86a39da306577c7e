"""RUFUS's API: one call in, one plain answer out, never an exception. The only import of requests.

A call has one deadline for all of it, whatever the other side does: each address gets its share of the time to connect,
and every wait on a socket is for what is left. The key goes to the configured host only, and no text from outside, in
which it might come back, leaves this module but as an `Answer` to be judged.
"""

from __future__ import annotations

import errno
import http.client
import ipaddress
import logging
import os
import re
import select
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.connection
import urllib3.connectionpool
from requests.adapters import HTTPAdapter

from rufusd import __version__
from rufusd.core.delivery import Answer
from rufusd.core.settings import Api
from rufusd.core.words import Message, _

HASTE = 0.5  # seconds that a connection has to come about, however often the network changes meanwhile
MAX_ANSWER = 65536  # bytes; RUFUS's answers have some hundred

for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).disabled = True  # they log malformed headers whole, and the key may be among them

# What OpenSSL calls it (x509_vfy.h), and what a person can do about it.
_ANOTHER_NAME = _(
    "{host} cannot be trusted: its certificate is for another name: something stands between; use another network, "
    "or check api.url"
)
_CERTIFICATE = {
    9: _(
        "{host} cannot be trusted: its certificate is not yet valid: this machine's clock is wrong; connect it to a "
        "network that sets the clock"
    ),
    10: _(
        "{host} cannot be trusted: its certificate has expired, or this machine's clock is wrong; check the date with "
        "`timedatectl`"
    ),
    62: _ANOTHER_NAME,
    64: _ANOTHER_NAME,  # another address
}
_UNTIMELY = (9, 10)  # which may be the clock's fault
_UNKNOWN = _(
    "{host} cannot be trusted: its certificate is not from a known authority: something stands between; use another "
    "network, or api.ca_file"
)


class _Failed(Exception):
    """The call cannot go on, and why: `args[0]`. Not an OSError, so that no library catches, wraps or repeats it."""


class Client:
    """Calls RUFUS with one account's key. For one thread."""

    def __init__(
        self,
        api: Api,
        reached: Callable[[str, str], None] = lambda stage, what: None,  # noqa: ARG005
        changes: Any = None,
    ) -> None:
        """Connects to nothing yet. Certificates that cannot be loaded become the problem of each answer.

        `reached` is told how far each call comes: "dns" and the addresses, "route" and the one that took the
        connection, "proxy" and its name, "tls" and its version; "untimely" where a certificate's dates are in the way.
        `changes` is readable where the network has changed: a connection that does not come about is then given up.
        """
        self._changes = [changes] if changes else []
        self._api, self._reached = api, reached
        self._host = (urlsplit(api.url).hostname or "").rstrip(".")  # no certificate is for a name that ends in a dot
        self._plain = urlsplit(api.url).scheme == "http"  # to this machine only, and through no proxy
        proxy = urlsplit(api.proxy or "")
        self._proxy, self._proxy_password = proxy.hostname, proxy.username is not None
        self._look = "api.proxy" if api.proxy else "api.url"  # which key to check
        self._headers = {
            "User-Agent": f"rufusd/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Connection": "close",  # a connection kept through an outage is a dead one
            "api_key": api.key,
            "x-api-key": api.key,  # some servers drop names with an underscore
        }
        self._deadline, self._sent, self._broken = 0.0, False, ""
        try:
            self._context = ssl.create_default_context(cafile=api.ca_file)
        except OSError:  # ssl.SSLError is one
            self._broken = _(
                "api.ca_file {file} cannot be read, or holds no certificate in PEM form; put it right, then "
                "`sudo systemctl reload rufusd`",
                file=api.ca_file,
            )
            return
        # There is no one default: the Python of Debian 12 sets no minimum, and speaks TLS 1.0 to whoever asks for it.
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.sslsocket_class = self._bounded(ssl.SSLSocket, carries_call=True)
        self._socket = self._bounded(socket.socket, carries_call=self._plain)
        self._adapter = _Adapter(self._dial, self._secure)

    def read(self, token: str) -> Answer:
        """Read a session: is it open, and how many passings have come."""
        return self._call("GET", f"/sessions/{token}")

    def read_device(self, device: str) -> Answer:
        """Read the session that a timing device has open. `device` is its id, as RUFUS shows it."""
        return self._call("GET", f"/sessions/device/{device}/active")

    def connect(self) -> Answer:
        """Come as near as one can without calling: nothing of ours is sent. The answer is never one of RUFUS's."""
        return self._call("GET", "/", lambda: False)

    def close(self, token: str, begin: Callable[[], bool] = lambda: True) -> Answer:
        """Close a session. This cannot be undone; `begin` is asked last, with the connection made."""
        return self._call("PATCH", f"/sessions/close/{token}", begin)

    def _call(self, method: str, path: str, begin: Callable[[], bool] = lambda: True) -> Answer:
        if self._broken:
            return Answer(problem=self._broken, sent=False)
        self._deadline, self._sent, self._begin = time.monotonic() + self._api.timeout, False, begin
        try:
            # No requests.Session: it follows redirects (and reads their bodies whole even if told not to), keeps
            # cookies, and heeds .netrc and the environment's proxies.
            request = requests.Request(method, self._api.url + path, self._headers).prepare()
            proxies = {"https": self._api.proxy} if self._api.proxy else {}
            with self._adapter.send(request, stream=True, timeout=self._api.timeout, proxies=proxies) as response:
                return self._answer(response)
        except _Failed as failed:
            return Answer(problem=failed.args[0], sent=self._sent)
        except Exception as error:  # noqa: BLE001 - what all they raise is nowhere said, and their texts may hold the key
            return Answer(problem=self._explained(error), sent=self._sent)
        finally:
            self._adapter.close()

    def _answer(self, response: requests.Response) -> Answer:
        """The answer, if it is one, whole and of a sane size."""
        raw: Any = response.raw
        headers = response.headers
        body = raw.read(MAX_ANSWER + 1, decode_content=False)
        if len(body) > MAX_ANSWER:
            raise self._flooded()
        # Headers that break off look like headers that end, so a success without a body has to say that it has none.
        measured = raw.length_remaining is not None or headers.get("Transfer-Encoding", "").lower() == "chunked"
        if raw.length_remaining or not (body or measured or response.status_code // 100 != 2):
            raise self._broke()
        text = self._uncompressed(body, headers.get("Content-Encoding", "")).decode("utf-8", "replace")
        return Answer(response.status_code, text, _retry_after(headers), verified=not self._plain)

    def _uncompressed(self, body: bytes, encoding: str) -> bytes:
        """The body without its compression, which rufusd does not ask for and some proxies apply all the same.

        What unpacks to gigabytes is unpacked to the size of an answer and no further.
        """
        encoding = encoding.strip().lower()
        if encoding in ("", "identity") or not body:
            return body
        windows = {"gzip": [31], "x-gzip": [31], "deflate": [15, -15]}  # zlib's; "deflate" has two forms in the field
        for bits in windows.get(encoding, []):
            unpacking = zlib.decompressobj(bits)
            try:
                unpacked = unpacking.decompress(body, MAX_ANSWER + 1)
            except zlib.error:
                continue
            if len(unpacked) > MAX_ANSWER:
                raise self._flooded()
            if not unpacking.eof:
                raise self._broke()
            return unpacked
        raise _Failed(
            _(
                "{host} answered in a compression that rufusd cannot undo and did not ask for; check api.url, the "
                "network and any proxy",
                host=self._host,
            )
        )

    def _flooded(self) -> _Failed:
        return _Failed(
            _(
                "{host} answered with far more than RUFUS does; check api.url, the network and any proxy",
                host=self._host,
            )
        )

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> _Failed:
        return _Failed(
            _(
                "{host} did not answer within {timeout:g} s; rufusd goes on trying",
                **{"host": self._host, "timeout": self._api.timeout},
            )
        )

    def _broke(self) -> _Failed:
        return _Failed(
            _("the connection to {host} broke before its whole answer had come; rufusd asks again", host=self._host)
        )

    def _bounded(client, base: Any, carries_call: bool) -> Any:  # `self` is the socket's
        """A socket class that waits no longer than the client's deadline, and whose errors are sentences.

        `carries_call`: what is sent on it is the call itself, not a word with a proxy about it.
        """

        class Bounded(base):  # type: ignore[misc]
            def do_handshake(self, *args: Any) -> Any:
                return self._within(super().do_handshake, *args)

            def recv_into(self, *args: Any) -> Any:
                return self._within(super().recv_into, *args)

            def sendall(self, *args: Any) -> Any:
                if carries_call and not client._sent:
                    if not client._begin():
                        raise _Failed("the call was called off")  # which nobody is told
                    client._sent = True
                return self._within(super().sendall, *args)

            def _within(self, operation: Callable[..., Any], *args: Any) -> Any:
                try:
                    self.settimeout(client._left())
                    return operation(*args)
                except (socket.timeout, _Failed):
                    failed = client._late()
                except OSError as error:
                    failed = client._lost(error, with_proxy=base is not ssl.SSLSocket)
                self.close()
                raise failed

        return Bounded

    def _lost(self, error: OSError, with_proxy: bool) -> _Failed:
        """Why a connection was lost, by what it was in the middle of, and whether that was with a proxy."""
        if isinstance(error, ssl.SSLCertVerificationError):
            if error.verify_code in _UNTIMELY:
                self._reached("untimely", "")
            return _Failed(_CERTIFICATE.get(error.verify_code, _UNKNOWN).with_parts(host=self._host))
        if self._sent:
            return self._broke()
        if with_proxy:
            return self._no_tunnel()
        if _has_spoken(error):
            return _Failed(
                _(
                    "no secure connection to {host}: what answers there does not speak TLS 1.2 or newer; "
                    "use another network, or check api.url and any proxy",
                    host=self._host,
                )
            )
        if self._proxy:
            return _Failed(
                _(
                    "the connection to {host} broke before the call was sent; rufusd goes on trying, but where this "
                    "stays, the proxy {proxy} or the network blocks it: use another",
                    **{"host": self._host, "proxy": self._proxy},
                )
            )
        return _Failed(
            _(
                "the connection to {host} broke before the call was sent; rufusd goes on trying, but where this "
                "stays, the network blocks it: use another",
                host=self._host,
            )
        )

    def _no_tunnel(self, status: str = "") -> _Failed:
        if status == "407" and self._proxy_password:
            return _Failed(
                _(
                    "the proxy {proxy} does not take the user and password in api.proxy (407); put the right ones "
                    "there",
                    proxy=self._proxy,
                )
            )
        if status == "407":
            return _Failed(
                _("the proxy {proxy} wants a user and a password (407); put them into api.proxy", proxy=self._proxy)
            )
        if status.startswith("5"):
            return _Failed(
                _(
                    "the proxy {proxy} could not reach {host} ({status}): the proxy or its way to the internet has a "
                    "problem; rufusd goes on trying; where this stays, ask who runs the proxy",
                    **{"proxy": self._proxy, "host": self._host, "status": status},
                )
            )
        said = f" ({status})" if status else ""
        return _Failed(
            _(
                "the proxy {proxy} does not let the call through{status}; check api.proxy",
                **{"proxy": self._proxy, "status": said},
            )
        )

    def _dial(self, host: str, port: int) -> Any:
        """A connected socket: every address of the host has its share of the time (a dead IPv6 must not eat IPv4's)."""
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _Failed(
                _(
                    "cannot find {host}: no network, no name server, or no such name; "
                    "check the cable or the Wi-Fi, then {key}",
                    **{"host": host, "key": self._look},
                )
            ) from None
        if self._plain:
            addresses = [each for each in addresses if ipaddress.ip_address(each[4][0]).is_loopback]
            if not addresses:
                raise _Failed(
                    _(
                        "{host} does not lead to this machine, so it gets no key unencrypted; check /etc/hosts",
                        host=host,
                    )
                )
        self._reached("dns", ", ".join(dict.fromkeys(str(each[4][0]) for each in addresses)))
        errors = []
        for tried, (family, kind, protocol, __, address) in enumerate(addresses):
            share = self._left() / (len(addresses) - tried)
            try:
                sock = self._socket(family, kind, protocol)
            except OSError as error:  # no IPv6 in this kernel
                errors.append(error)
                continue
            try:
                self._connect(sock, address, share)
                self._reached("route", str(address[0]))
                return sock
            except _Failed:
                sock.close()
                raise
            except OSError as error:
                sock.close()
                errors.append(error)
        first = errors[0] if errors else OSError()  # the address that the resolver prefers speaks for all
        if isinstance(first, socket.timeout):
            raise _Failed(
                _(
                    "nothing answers at {host}; check that this network leads to the internet, then {key}",
                    **{"host": host, "key": self._look},
                )
            )
        if isinstance(first, ConnectionResetError):
            raise self._lost(first, with_proxy=bool(self._proxy))
        if isinstance(first, ConnectionRefusedError):
            raise _Failed(
                _(
                    "{host} refuses connections at port {port}; check {key}, and whether this network lets it through",
                    **{"host": host, "port": port, "key": self._look},
                )
            )
        why = _(os.strerror(first.errno).lower()) if first.errno else _("no address")
        raise _Failed(_("no way to {host} ({why}); check the cable or the Wi-Fi", host=host, why=why))

    def _connect(self, sock: Any, address: Any, seconds: float) -> None:
        """As the socket does it, but not beyond a change of the network.

        What was sent before it may be lost, and is sent again only after 1, 2, 4 s (RFC 6298): a new call is quicker.
        """
        deadline = time.monotonic() + seconds
        sock.setblocking(False)
        error = sock.connect_ex(address)
        if error == errno.EINPROGRESS:
            waiting = select.poll()
            waiting.register(sock, select.POLLOUT)
            ready = waiting.poll(1000 * min(HASTE, seconds))
            if not ready:
                for changes in self._changes:
                    waiting.register(changes, select.POLLIN)
                ready = waiting.poll(1000 * max(0.0, deadline - time.monotonic()))
                if ready and sock.fileno() not in dict(ready):
                    raise _Failed(
                        _("the network changed before {host} was reached; rufusd goes on trying", host=self._host)
                    )
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if ready else errno.ETIMEDOUT
        if error == errno.ETIMEDOUT:
            raise socket.timeout
        if error:
            raise OSError(error, os.strerror(error))
        sock.settimeout(seconds)

    def _secure(self, sock: Any) -> Any:
        """The connected socket, once the other side has proved to be the host of api.url."""
        if self._proxy:
            self._reached("proxy", self._proxy)
        try:
            secured = self._context.wrap_socket(sock, server_hostname=self._host)
        except OSError as error:
            raise self._lost(error, with_proxy=False) from None
        self._reached("tls", secured.version() or "")
        return secured

    def _explained(self, error: BaseException) -> Message:
        """What a library made of it. Its text is not repeated: what came from outside may be in it, or the key."""
        causes = [error]
        for cause in causes:  # grows on the way
            within = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
            causes += [each for each in within if isinstance(each, BaseException) and each not in causes]
        if self._sent:
            if any(isinstance(cause, (ConnectionError, http.client.IncompleteRead)) for cause in causes):
                return _why(self._broke())
            return _("what {host} answered is not HTTP; check api.url, the network and any proxy", host=self._host)
        if isinstance(error, ValueError):  # requests.exceptions.InvalidURL is one
            return _("{host} cannot be called; check {key}", host=self._host, key=self._look)
        if refused := re.search(r"Tunnel connection failed: (\d{3})\b", " ".join(map(str, causes))):
            return _why(self._no_tunnel(refused[1]))
        return _why(self._lost(OSError(), with_proxy=bool(self._proxy)))


def _has_spoken(error: OSError) -> bool:
    """Whether TLS failed by what the other side said, not by its end. OpenSSL does not give a reason for all of it."""
    ended = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    # OpenSSL 3 under Python 3.9 gives the end as a reason instead.
    return isinstance(error, ssl.SSLError) and not isinstance(error, ended) and "EOF" not in (error.reason or "")


def _why(failed: _Failed) -> Message:
    why: Message = failed.args[0]
    return why


class _Adapter(HTTPAdapter):
    """Has every connection made by `dial` and `secure`, whichever way a version of the libraries would make it.

    Theirs load certificates for each connection, take the environment's, and some refuse an IP address over TLS.
    """

    def __init__(self, dial: Callable[[str, int], Any], secure: Callable[[Any], Any]) -> None:
        class Plain(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> Any:
                return dial(self._dns_host, self.port)

        class Secure(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                self.sock = dial(self._dns_host, self.port)
                if self._tunnel_host:
                    self._tunnel()
                self.sock = secure(self.sock)
                self.is_verified = True

        class PlainPool(urllib3.connectionpool.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
            ConnectionCls = Secure

        self._pools = {"http": PlainPool, "https": SecurePool}
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """As requests makes it, but for the connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """As requests makes it, but for the connections."""
        manager = super().proxy_manager_for(proxy, **more)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, *__: Any) -> None:
        """`secure` verifies, always."""


def _retry_after(headers: Any) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3). A date counts from the answer's own, since our clock may be wrong."""
    text = headers.get("Retry-After", "").strip()
    try:
        if text.isdecimal():
            return float(text[:9])
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, wait.total_seconds())
    except (TypeError, ValueError, OverflowError, IndexError):  # the last from Python 3.9
        return None
