"""RUFUS's API: one call in, one plain answer out, never an exception. The only import of requests.

A call has one deadline for all of it, whatever the other side does: each address gets its share of the time to connect,
and every read waits only for what is left. The key goes to the configured host only, and no text from outside, in
which it might come back, leaves this module but as an `Answer` to be judged.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.connection
import urllib3.connectionpool
from requests.adapters import HTTPAdapter

from rufusd import __version__
from rufusd.delivery import Answer
from rufusd.settings import Api

MAX_ANSWER = 65536  # bytes; RUFUS's answers have some hundred

# What OpenSSL calls it (x509_vfy.h), and what a person can do about it.
_CERTIFICATE = {
    9: "its certificate is not yet valid: this machine's clock is wrong; connect it to a network that sets the clock",
    10: "its certificate has expired, or this machine's clock is wrong; check the date with `timedatectl`",
    62: "its certificate is for another name: something stands between; use another network, or check api.url",
}
_UNKNOWN = (
    "its certificate is not from a known authority: something stands between; use another network, or api.ca_file"
)


class _Failed(Exception):
    """The call cannot go on; not an OSError, so that no library wraps it. `sent`: RUFUS may have acted on it."""

    def __init__(self, problem: str, sent: bool) -> None:
        super().__init__(problem)
        self.sent = sent


class Client:
    """Calls RUFUS with one account's key. For one thread."""

    def __init__(self, api: Api) -> None:
        """Connects to nothing yet. Certificates that cannot be loaded become the problem of each answer."""
        # glibc asks each name server for 5 s, twice, and nothing can interrupt it (resolv.conf(5)): it is to hurry.
        os.environ.setdefault("RES_OPTIONS", "timeout:2 attempts:2")
        self._api = api
        self._host = urlsplit(api.url).hostname
        self._deadline = 0.0
        self._broken = ""
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc, no proxies from the environment
        self._session.headers.clear()
        self._session.headers.update({
            "User-Agent": f"rufusd/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Connection": "close",  # a connection kept through an outage is a dead one
            "api_key": api.key,
            "x-api-key": api.key,  # some servers drop names with an underscore
        })  # fmt: skip
        if api.proxy:
            self._session.proxies = {"http": api.proxy, "https": api.proxy}
        try:
            context = ssl.create_default_context(cafile=api.ca_file)
        except OSError:  # ssl.SSLError is one
            self._broken = f"api.ca_file {api.ca_file} cannot be read, or holds no certificate in PEM form"
            return
        context.sslsocket_class = self._limited(ssl.SSLSocket)
        self._socket = self._limited(socket.socket)
        adapter = _Adapter(context, self._dial)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def read(self, token: str) -> Answer:
        """Read a session: is it open, and how many passings have come."""
        return self._call("GET", f"/sessions/{token}")

    def close(self, token: str) -> Answer:
        """Close a session. This cannot be undone."""
        return self._call("PATCH", f"/sessions/close/{token}")

    def _call(self, method: str, path: str) -> Answer:
        if self._broken:
            return Answer(problem=self._broken, sent=False)
        self._deadline = time.monotonic() + self._api.timeout
        try:
            with self._session.request(
                method, self._api.url + path, timeout=self._api.timeout, allow_redirects=False, stream=True
            ) as response:
                body = response.raw.read(MAX_ANSWER + 1, decode_content=True)
                headers = response.headers
                if len(body) > MAX_ANSWER:
                    return Answer(problem=f"{self._host} answered with far more than RUFUS does; check api.url")
                length = headers.get("Content-Length", "")
                if length.isdecimal() and response.raw.tell() < int(length[:18]):
                    return Answer(problem=f"the answer of {self._host} was cut short; rufusd asks again")
                return Answer(response.status_code, body.decode("utf-8", "replace"), _retry_after(headers))
        except _Failed as failed:
            return Answer(problem=str(failed), sent=failed.sent)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return self._explained(error)

    def _left(self, sent: bool = True) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _Failed(f"{self._host} did not answer within {self._api.timeout:g} s; rufusd goes on trying", sent)
        return left

    def _limited(client, base: Any) -> Any:  # `self` is the socket's
        """A socket class whose reads end at the deadline of the client's call."""

        class Limited(base):  # type: ignore[misc]
            def recv_into(self, *args: Any, **more: Any) -> Any:
                self.settimeout(client._left())
                return super().recv_into(*args, **more)

        return Limited

    def _dial(self, host: str, port: int) -> Any:
        """A connected socket: every address of the host has its share of the time (a dead IPv6 must not eat IPv4's)."""
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise _Failed(
                f"cannot find {host}: no network, or no name server; check the cable or the Wi-Fi", False
            ) from None
        error: OSError | None = None
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = self._socket(family, kind, protocol)
            try:
                sock.settimeout(self._left(sent=False) / (len(addresses) - tried))
                sock.connect(address)
                sock.settimeout(self._left(sent=False))
                return sock
            except OSError as refused:
                sock.close()
                error = refused
            except _Failed:
                sock.close()
                raise
        if isinstance(error, socket.timeout):
            raise _Failed(f"{host} does not answer at all; the network has no way to the internet", False)
        if isinstance(error, ConnectionRefusedError):
            raise _Failed(f"{host} refuses connections at port {port}; check api.url, the network and any proxy", False)
        why = os.strerror(error.errno).lower() if error and error.errno else "no address"
        raise _Failed(f"no way to {host} ({why}); check the cable or the Wi-Fi", False)

    def _explained(self, error: BaseException | None) -> Answer:
        """What went wrong. The libraries' texts may hold headers, the key among them, so only their kinds are told."""
        proxied = isinstance(error, requests.exceptions.ProxyError)
        kinds: list[BaseException] = []
        while error is not None and len(kinds) < 20:
            if isinstance(error, ssl.SSLCertVerificationError):
                why = _CERTIFICATE.get(error.verify_code, _UNKNOWN)
                return Answer(problem=f"{self._host} cannot be trusted: {why}", sent=False)
            kinds.append(error)
            reason = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, Exception)), None)
            error = error.__cause__ or error.__context__ or (reason if isinstance(reason, Exception) else None)
        if proxied:
            status = re.search(r"Tunnel connection failed: (\d{3})", " ".join(map(str, kinds)))
            said = f"answered {status[1]}" if status else "did not let the call through"
            return Answer(problem=f"the proxy {said}; check api.proxy", sent=False)
        if any(isinstance(kind, (socket.timeout, TimeoutError, requests.Timeout)) for kind in kinds):
            late = f"{self._host} did not answer within {self._api.timeout:g} s; rufusd goes on trying"
            return Answer(problem=late)
        if any(isinstance(kind, ssl.SSLError) for kind in kinds):
            return Answer(problem=f"no secure connection to {self._host}; check api.url, the network and any proxy")
        return Answer(
            problem=f"the connection to {self._host} broke ({type(kinds[-1]).__name__}); rufusd goes on trying"
        )


class _Adapter(HTTPAdapter):
    """Connects by `dial`; trusts by one context, loaded once (requests would load it for each connection)."""

    def __init__(self, context: ssl.SSLContext, dial: Any) -> None:
        class Plain(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> Any:
                return dial(self._dns_host, self.port)

        class Secure(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> Any:
                return dial(self._dns_host, self.port)

        class PlainPool(urllib3.connectionpool.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
            ConnectionCls = Secure

        self._pools = {"http": PlainPool, "https": SecurePool}
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """As requests makes it, but for the context and the connections."""
        super().init_poolmanager(*args, **more, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """As requests makes it, but for the context and the connections."""
        manager = super().proxy_manager_for(proxy, **more, ssl_context=self._context)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, conn: Any, *_: Any) -> None:
        """The context has the certificates already; it verifies, always."""
        conn.cert_reqs = "CERT_REQUIRED"


def _retry_after(headers: Any) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3). A date counts from the answer's own, since our clock may be wrong."""
    text = headers.get("Retry-After", "").strip()
    try:
        if text.isdecimal():
            return float(text[:9])
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, wait.total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
