"""Calls to RUFUS, against servers that misbehave on real sockets, and the kernel's news of the network."""

from __future__ import annotations

import base64
import gzip
import logging
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as some
from servers import FAULTS, Peer, Server, answer, black_hole, resets, says, silent, tls_context, tunnel
from stations import unserved, within

from rufusd import __version__
from rufusd.adapters.network import Changes
from rufusd.adapters.rufus import HASTE, Client
from rufusd.core.delivery import Answer, Meaning, judge_close
from rufusd.core.settings import Api, account_key
from rufusd.training.sandbox import Sandbox

KEY = "ror-0123456789abcdef0123"
TOKEN = "6E05" * 16
TIMEOUT = 0.3  # of the calls that are to end at it; the others have time
SLACK = 0.5  # seconds by which a call may end after its deadline

LATE = "{host} did not answer within 0.3 s; rufusd goes on trying"
BROKE = "the connection to {host} broke before its whole answer had come; rufusd asks again"
NOT_HTTP = "what {host} answered is not HTTP; check api.url, the network and any proxy"
TOO_MUCH = "{host} answered with far more than RUFUS does; check api.url, the network and any proxy"
NOT_TLS = (
    "no secure connection to {host}: what answers there does not speak TLS 1.2 or newer; "
    "use another network, or check api.url and any proxy"
)
UNSENT = (
    "the connection to {host} broke before the call was sent; rufusd goes on trying, "
    "but where this stays, the network blocks it: use another"
)
UNSENT_BY_PROXY = UNSENT.replace("the network", "the proxy {host} or the network")
DISTRUST = "{host} cannot be trusted: its certificate "


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, nobody: str) -> None:
    """Nothing from the environment of the machine that tests, and nothing left in it."""
    monkeypatch.setenv("SSL_CERT_FILE", nobody)  # OpenSSL's own, for the system's authorities; loaded faster than all
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(nobody).parent))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundle of a system that knows only an authority which has certified nobody."""
    path = str(tmp_path_factory.mktemp("nobody") / "ca.pem")
    trustme.CA().cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("authority") / "ca.pem")
    authority.cert_pem.write_to_path(path)
    return path


def client(url: str, **more: Any) -> Client:
    return Client(Api(**{"key": KEY, "url": url, "timeout": 10, **more}))


def close(url: str, **more: Any) -> Answer:
    """The answer to one close. It came in time, but for what this thread has waited for a processor."""
    caller = client(url, **more)
    begun, starved = time.monotonic(), unserved()
    got = caller.close(TOKEN)
    assert time.monotonic() - begun - (unserved() - starved) < more.get("timeout", 10) + SLACK
    return got


def failed(problem: str, sent: bool = True, host: str = "127.0.0.1") -> Answer:
    return Answer(problem=problem.format(host=host), sent=sent)


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, tuple[str, int]]) -> None:
    """From now on every name has just these addresses."""
    found = [(family, socket.SOCK_STREAM, 0, "", address) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def headers(request: bytes) -> list[tuple[str, str]]:
    lines = request.decode().split("\r\n")[1:-2]
    return sorted((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# The request


@pytest.mark.parametrize(
    ("ask", "line", "more"),
    [
        (Client.read, f"GET /v0/sessions/{TOKEN} HTTP/1.1", {}),
        (Client.read_device, f"GET /v0/sessions/device/{TOKEN}/active HTTP/1.1", {}),
        (Client.close, f"PATCH /v0/sessions/close/{TOKEN} HTTP/1.1", {"content-length": "0"}),
    ],
)
def test_the_request_is_as_documented(ask: Callable[..., Answer], line: str, more: dict[str, str]) -> None:
    """Method, path and headers on the wire, each once, and no body."""
    with Server(says(answer(b'{"description": "fine"}'))) as server:
        assert ask(client(server.url()), TOKEN) == Answer(200, '{"description": "fine"}')
    assert server.requests[0].decode().split("\r\n")[0] == line
    expected = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "api_key": KEY,
        "connection": "close",
        "content-type": "application/json",
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"rufusd/{__version__}",
        "x-api-key": KEY,
        **more,
    }
    assert headers(server.requests[0]) == sorted(expected.items())
    assert server.left_over == [b""]


def test_rufus_as_the_sandbox_plays_it_is_read_and_closed(authority: trustme.CA, ca_file: str) -> None:
    """Over TLS with a certificate of api.ca_file: open, closed, and closed on reading it again."""
    with Sandbox(tls=tls_context(authority)) as sandbox:
        sandbox.add_session("FINISH-10K", TOKEN)
        caller = client(sandbox.url, key=sandbox.keys["READ_WRITE"], ca_file=ca_file)
        texts = [caller.read(TOKEN).text, caller.close(TOKEN).text, caller.read(TOKEN).text]
    assert '"active": true' in texts[0]
    assert '"Session closed succesfully"' in texts[1]
    assert '"active": false' in texts[2]


def test_nothing_is_kept_from_one_call_to_the_next() -> None:
    """No cookie, and no connection, though the server would keep both: the next call begins anew."""
    left = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"{}", "200 OK", "Set-Cookie: visited=yes; Path=/", "Connection: keep-alive"))
        peer.rest()
        left.set()

    with Server(script) as server:
        caller = client(server.url())
        for _ in range(2):
            left.clear()
            assert caller.close(TOKEN).status == 200
            assert left.wait(60)
        assert server.connections == 2
    assert headers(server.requests[0]) == headers(server.requests[1])
    assert "cookie" not in dict(headers(server.requests[1]))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/login", "/login", "//", "http://[::1", "\xff\xfe", ""])
def test_a_redirect_is_an_answer_and_is_never_followed(status: int, where: str) -> None:
    """Wherever it leads, there is one connection, to the configured host."""
    with Server(says(answer())) as elsewhere:
        moved = answer(b"<html>", f"{status} Moved", "Location: " + where.format(port=elsewhere.port))
        with Server(says(moved)) as server:
            assert close(server.url()) == Answer(status, "<html>")
    assert (server.connections, elsewhere.connections) == (1, 0)


def test_proxies_and_passwords_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither proxy variables nor a .netrc change a call."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(says(answer())) as elsewhere, Server(says(answer())) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere.port}")
        assert close(server.url()).status == 200
    assert elsewhere.connections == 0
    assert "authorization" not in dict(headers(server.requests[0]))


# Proxies


def test_a_tunnel_is_asked_for_without_the_key(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HTTPS call goes through api.proxy, which gets its own password and nothing else; NO_PROXY changes nothing."""
    monkeypatch.setenv("NO_PROXY", "*")
    with Server(says(answer()), tls_context(authority)) as server, Server(tunnel) as proxy:
        by = f"http://venue:p%40ss@127.0.0.1:{proxy.port}"
        assert close(server.url("localhost"), proxy=by, ca_file=ca_file) == Answer(200, "{}", verified=True)
    asked = proxy.requests[0]
    assert asked.startswith(f"CONNECT localhost:{server.port} HTTP/1.".encode())
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"venue:p@ss") in asked
    assert KEY.encode() not in asked
    assert dict(headers(server.requests[0]))["api_key"] == KEY
    assert "proxy-authorization" not in dict(headers(server.requests[0]))


def test_a_call_to_this_machine_goes_through_no_proxy() -> None:
    """Promise 6: it is not encrypted, and a proxy would see the key."""
    with Server(says(answer())) as server, Server(says(answer())) as proxy:
        assert close(server.url(), proxy=f"http://127.0.0.1:{proxy.port}") == Answer(200, "{}")
    assert proxy.connections == 0


@pytest.mark.parametrize("addresses", [["198.51.100.1"], ["2001:db8::1", "10.0.0.1"], []])
def test_a_name_of_this_machine_must_lead_to_it(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    """Promise 6: plain HTTP goes nowhere else, whatever a name server or /etc/hosts makes of "localhost"."""
    families = {True: socket.AF_INET6, False: socket.AF_INET}
    resolve(monkeypatch, *[(families[":" in address], (address, 80)) for address in addresses])
    problem = "{host} does not lead to this machine, so it gets no key unencrypted; check /etc/hosts"
    assert close("http://localhost/v0") == failed(problem, sent=False, host="localhost")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (
            says(answer(b"", "407 Proxy Authentication Required")),
            "the proxy 127.0.0.1 wants a user and a password (407); put them into api.proxy",
        ),
        (
            says(answer(b"<html>", "403 Forbidden")),
            "the proxy 127.0.0.1 does not let the call through (403); check api.proxy",
        ),
        *(
            (
                says(answer(b"<html>", f"{code} Its own trouble")),
                f"the proxy 127.0.0.1 could not reach rufus.invalid ({code}): the proxy or its way to the internet has "
                "a problem; rufusd goes on trying; where this stays, ask who runs the proxy",
            )
            for code in (500, 502, 503, 504)
        ),
        (says(b""), "the proxy 127.0.0.1 does not let the call through; check api.proxy"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "the proxy 127.0.0.1 does not let the call through; check api.proxy"),
        (resets, "the proxy 127.0.0.1 does not let the call through; check api.proxy"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_is_named(script: Callable[[Peer], None], problem: str) -> None:
    """RUFUS cannot have got the call then."""
    with Server(script) as proxy:
        by = f"http://127.0.0.1:{proxy.port}"
        for _ in range(2):
            assert close("https://rufus.invalid/v0", proxy=by) == Answer(problem=problem, sent=False)


@pytest.mark.parametrize("user", ["venue:p%40ss", "venue:", "venue"])
def test_a_proxy_that_does_not_take_the_password_is_named(user: str) -> None:
    """Promise 5: whoever has put a password into api.proxy is told that it is wrong, not to put one there."""
    with Server(says(answer(b"", "407 Proxy Authentication Required"))) as proxy:
        got = close("https://rufus.invalid/v0", proxy=f"http://{user}@127.0.0.1:{proxy.port}")
    problem = "the proxy 127.0.0.1 does not take the user and password in api.proxy (407); put the right ones there"
    assert got == Answer(problem=problem, sent=False)


def test_a_proxy_that_is_not_there_is_named() -> None:
    """The sentence leads to api.proxy, not to api.url."""
    port = unused_port()
    problem = f"127.0.0.1 refuses connections at port {port}; check api.proxy, and whether this network lets it through"
    by = f"http://127.0.0.1:{port}"
    assert close("https://rufus.invalid/v0", proxy=by) == Answer(problem=problem, sent=False)


def test_an_answer_lost_in_the_tunnel_may_have_been_acted_on(authority: trustme.CA, ca_file: str) -> None:
    """The call had reached RUFUS when the connection broke: nothing is the proxy's fault, and `sent` says so."""
    with Server(says(b""), tls_context(authority)) as server, Server(tunnel) as proxy:
        by = f"http://127.0.0.1:{proxy.port}"
        got = close(server.url("localhost"), proxy=by, ca_file=ca_file)
        assert got == failed(BROKE, host="localhost")
    assert len(server.requests) == 1


# The deadline


def sends(head: bytes, drop: bytes, every: float = 0.05) -> Callable[[Peer], None]:
    """A script: send `head` at once, then `drop` byte by byte for ever; all at once if `every` is 0."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        while not peer.server.stopping.is_set():
            if every:
                peer.drip(drop, every)
            else:
                peer.send(drop * 1000)

    return script


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silent, id="nothing"),
        pytest.param(sends(b"", b"HTTP/1.1 200 OK "), id="status-line"),
        pytest.param(sends(OK, b"X"), id="headers"),
        pytest.param(sends(OK + b"\r\n", b"x"), id="body"),
        pytest.param(sends(OK + b"Content-Length: 1000\r\n\r\n", b"x"), id="counted-body"),
        pytest.param(sends(CHUNKED, b"1\r\nx\r\n"), id="chunks"),
        pytest.param(sends(CHUNKED + b"1\r\nx\r\n0\r\n", b"T: x\r\n"), id="trailers"),
        pytest.param(sends(CHUNKED + b"1\r\nx\r\n0\r\n", b"T: x\r\n", every=0), id="trailers-in-a-flood"),
        pytest.param(sends(b"", CONTINUE, every=0.002), id="continue"),
        pytest.param(sends(b"", CONTINUE, every=0), id="continue-in-a-flood"),
    ],
)
def test_a_call_ends_at_its_deadline_whatever_comes(script: Callable[[Peer], None]) -> None:
    """A byte now and then, or a flood, does not prolong it; RUFUS may have acted."""
    with Server(script) as server:
        assert close(server.url(), timeout=TIMEOUT) == failed(LATE)


def test_a_connection_that_nobody_accepts_ends_at_the_deadline() -> None:
    """The kernel has taken the call in, so RUFUS may yet read it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert close(f"http://127.0.0.1:{listener.getsockname()[1]}/v0", timeout=TIMEOUT) == failed(LATE)


@pytest.mark.parametrize(
    "drop", [b"\x16\x03\x03\x40\x00" + b"\x00" * 1000, b""], ids=["a byte now and then", "nothing"]
)
def test_a_handshake_ends_at_the_deadline(drop: bytes) -> None:
    """However slow it is; the call was not sent."""
    with Server(lambda peer: peer.drip(drop) if drop else silent(peer)) as server:
        assert close(f"https://127.0.0.1:{server.port}/v0", timeout=TIMEOUT) == failed(LATE, sent=False)


def test_an_answer_over_tls_ends_at_the_deadline(authority: trustme.CA, ca_file: str) -> None:
    """Encryption changes nothing about it."""
    with Server(sends(OK, b"X"), tls_context(authority)) as server:
        assert close(server.url("localhost"), ca_file=ca_file, timeout=TIMEOUT) == failed(LATE, host="localhost")


def test_a_proxy_gets_no_time_of_its_own() -> None:
    """What it takes to open the tunnel is missing from the handshake behind it."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.server.stopping.wait(TIMEOUT * 0.8)
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        silent(peer)

    with Server(script) as proxy:
        by = f"http://127.0.0.1:{proxy.port}"
        late = failed(LATE, sent=False, host="rufus.invalid")

        def call() -> float:
            begun = time.monotonic()
            assert close("https://rufus.invalid/v0", proxy=by, timeout=TIMEOUT) == late
            return time.monotonic() - begun

        within(TIMEOUT * 1.5, call)


def test_a_deadline_between_two_steps_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it comes before the handshake begins, say; a socket that stays open would be a warning, thus an error."""
    wrap = ssl.SSLContext.wrap_socket

    def late(*args: Any, **more: Any) -> Any:
        threading.Event().wait(TIMEOUT)
        return wrap(*args, **more)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", late)
    with Server(silent) as server:
        assert close(f"https://127.0.0.1:{server.port}/v0", timeout=TIMEOUT) == failed(LATE, sent=False)


def test_a_proxy_that_drips_ends_at_the_deadline() -> None:
    """Its answer to CONNECT is bounded as any other."""
    with Server(sends(b"HTTP/1.1 200 OK\r\n", b"X")) as proxy:
        by = f"http://127.0.0.1:{proxy.port}"
        late = failed(LATE, sent=False, host="rufus.invalid")
        assert close("https://rufus.invalid/v0", proxy=by, timeout=TIMEOUT) == late


def test_a_dead_address_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose first address swallows packets, as a broken IPv6 does, is reached at its second."""
    with Server(says(answer())) as server, black_hole() as hole:
        resolve(monkeypatch, (socket.AF_INET, hole), (socket.AF_INET, ("127.0.0.1", server.port)))
        assert close("http://localhost/v0", timeout=4) == Answer(200, "{}")  # of which the dead one takes a half


def test_addresses_that_are_all_dead_end_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share it, and the sentence says that it is the network."""
    with black_hole() as hole:
        resolve(monkeypatch, *[(socket.AF_INET, hole)] * 3)
        problem = "nothing answers at {host}; check that this network leads to the internet, then api.url"
        assert close("http://localhost/v0", timeout=TIMEOUT) == failed(problem, sent=False, host="localhost")


@pytest.fixture
def changed() -> Iterator[socket.socket]:
    """A network that has changed, and of which nobody has taken note yet."""
    one, other = socket.socketpair()
    with one, other:
        other.send(b"!")
        yield one


def test_a_connection_is_not_waited_for_beyond_a_change_of_the_network(changed: socket.socket) -> None:
    """What it has sent may be lost, and TCP takes seconds to send it again; a new call arrives at once."""
    with black_hole() as (host, port):

        def call() -> float:
            begun = time.monotonic()
            got = Client(Api(key=KEY, url=f"http://{host}:{port}/v0", timeout=60), changes=changed).close(TOKEN)
            assert got == failed("the network changed before {host} was reached; rufusd goes on trying", sent=False)
            return time.monotonic() - begun

        within(HASTE + SLACK, call)


def test_a_network_that_changes_all_the_time_is_used(changed: socket.socket) -> None:
    """Promise 2: a connection that comes about is not given up, however much the kernel has to tell."""
    with Server(says(answer())) as server:
        assert Client(Api(key=KEY, url=server.url()), changes=changed).close(TOKEN) == Answer(200, "{}")


def test_a_name_that_is_found_too_late_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking it up is within the deadline too, though it cannot be cut short."""
    with Server(says(answer())) as server:

        def slowly(*_: Any, **__: Any) -> Any:
            threading.Event().wait(TIMEOUT + 0.05)
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))]

        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        assert close("http://localhost/v0", timeout=TIMEOUT) == failed(LATE, sent=False, host="localhost")
    assert server.connections == 0


# No connection


def test_a_refused_connection_says_where() -> None:
    """It names the host and the configured port, and nothing was sent."""
    port = unused_port()
    problem = f"127.0.0.1 refuses connections at port {port}; check api.url, and whether this network lets it through"
    assert close(f"http://127.0.0.1:{port}/v0") == Answer(problem=problem, sent=False)


def test_a_call_that_is_not_sent_says_so_though_the_one_before_was() -> None:
    """Each answer's `sent` is its own."""
    with Server(says(b"")) as server:
        caller = client(server.url())
        assert caller.close(TOKEN).sent
    assert not caller.close(TOKEN).sent


def test_the_last_word_before_the_call_is_sent(authority: trustme.CA, ca_file: str) -> None:
    """Promise 1: asked once, when the connection is made and trusted, and not before; a no sends nothing."""
    asked: list[bool] = []

    def begin(answer: bool) -> Callable[[], bool]:
        return lambda: asked.append(answer) or answer

    assert not client(f"http://127.0.0.1:{unused_port()}/v0").close(TOKEN, begin(True)).sent
    with Server(says(answer()), tls=tls_context(trustme.CA())) as stranger:
        assert not client(stranger.url("localhost"), ca_file=ca_file).close(TOKEN, begin(True)).sent
    assert asked == []
    with Server(says(answer()), tls=tls_context(authority)) as server:
        caller = client(server.url("localhost"), ca_file=ca_file)
        assert not caller.close(TOKEN, begin(False)).sent
        assert server.requests == []
        assert caller.close(TOKEN, begin(True)).status == 200
        assert (len(server.requests), asked) == (1, [False, True])


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        OSError(24, "Too many open files"),
        UnicodeError("label empty or too long"),
    ],
)
def test_a_name_that_is_not_found_points_to_the_cable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whatever the resolver's reason was."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    problem = (
        "cannot find {host}: no network, no name server, or no such name; check the cable or the Wi-Fi, then api.url"
    )
    assert close("https://nonexistent.invalid/v0") == failed(problem, sent=False, host="nonexistent.invalid")


@pytest.mark.parametrize(
    ("family", "address", "why"),
    [
        (socket.AF_INET, "127.255.255.255", "network is unreachable"),  # a broadcast address
        (socket.AF_APPLETALK, "127.0.0.1", "address family not supported by protocol"),
    ],
)
def test_an_address_without_a_route_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch, family: int, address: str, why: str
) -> None:
    """As with IPv6 addresses where there is no IPv6; where no address has one, the sentence says why."""
    with Server(says(answer())) as server:
        away, here = (family, (address, server.port)), (socket.AF_INET, ("127.0.0.1", server.port))
        resolve(monkeypatch, away, here)
        assert close("http://localhost/v0") == Answer(200, "{}")
        resolve(monkeypatch, away)
        problem = f"no way to localhost ({why}); check the cable or the Wi-Fi"
        assert close("http://localhost/v0") == Answer(problem=problem, sent=False)


def test_the_first_address_speaks_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that the resolver prefers: the last is often an IPv6 address on a network that has none."""
    port = unused_port()
    resolve(monkeypatch, (socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, ("127.255.255.255", port)))
    assert "refuses connections" in close("http://localhost/v0").problem


def test_a_host_without_an_address_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list is no address, either."""
    resolve(monkeypatch)
    assert close("https://localhost/v0") == Answer(
        problem="no way to localhost (no address); check the cable or the Wi-Fi", sent=False
    )


@pytest.mark.parametrize("url", ["https://a..b/v0", "https://*/v0", "https://" + "a" * 64 + ".example/v0"])
def test_an_address_that_cannot_be_called_says_so(url: str) -> None:
    """What the configuration admits and no network knows ends in a sentence, too."""
    got = close(url)
    assert (got.status, got.sent) == (0, False)
    assert got.problem.endswith(("cannot be called; check api.url", "check the cable or the Wi-Fi, then api.url"))


# Answers cut short, and no answers at all


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 2", id="status-line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Ty", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="body-without-length"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\n{}", id="body"),
        pytest.param(OK + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n{}", id="body-with-two-lengths"),
        pytest.param(CHUNKED, id="chunks"),
        pytest.param(CHUNKED + b"9\r\n{}", id="chunk"),
        pytest.param(CHUNKED + b"2\r\n{}\r\n", id="last-chunk"),
        pytest.param(OK + b"Transfer-Encoding: chu", id="transfer-encoding"),
        pytest.param(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", id="strange-transfer-encoding"),
    ],
)
@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_an_answer_cut_short_is_none(data: bytes, reset: bool) -> None:
    """Promise 4: whatever had come by then, it is not an answer; RUFUS may have acted."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        if reset:
            peer.reset()

    with Server(script) as server:
        caller = client(server.url())
        for _ in range(2):
            assert caller.close(TOKEN) in (
                [failed(BROKE)] if data != b"HTTP/1.1 2" else [failed(BROKE), failed(NOT_HTTP)]
            )


@pytest.mark.parametrize("form", ["counted", "chunked"])
def test_no_beginning_of_an_answer_claims_the_close(form: str) -> None:
    """Promise 4: cut at any byte before the end of its body, RUFUS's "closed" is not taken for one."""
    body = f'{{"description": "Session closed succesfully", "token_session": "{TOKEN}"}}'.encode()
    whole = answer(body) if form == "counted" else CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    cuts = iter(range(len(whole) + 1))

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(whole[: next(cuts)])

    with Server(script) as server:
        caller = client(server.url())
        claims = [judge_close(caller.close(TOKEN), TOKEN).meaning is Meaning.CLOSED for _ in range(len(whole) + 1)]
    assert claims[-1]
    assert not any(claims[: whole.index(body) + len(body)])


def test_a_shorter_length_than_the_body_ends_the_answer_there() -> None:
    """What follows belongs to no answer."""
    with Server(says(OK + b"Content-Length: 2\r\n\r\n{}" + b"x" * 100)) as server:
        assert close(server.url()) == Answer(200, "{}")


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (OK + b"\r\n{}", 200, "{}"),
        (b"HTTP/1.0 200 OK\n\n{}", 200, "{}"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (CHUNKED + b"0\r\n\r\n", 200, ""),
        (CONTINUE + CHUNKED + b"1;why=not\r\n{\r\n1\r\n}\r\n0\r\nTrailer: yes\r\n\r\n", 200, "{}"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 403, ""),
        (answer(b"\xff\xfe{}"), 200, "\ufffd\ufffd{}"),
        (answer(b"x" * 65536), 200, "x" * 65536),
    ],
)
def test_a_whole_answer_is_taken_in_any_proper_form(data: bytes, status: int, text: str) -> None:
    """An empty one, too, if it says that it is; a 2xx that just ends might have been cut."""
    with Server(says(data)) as server:
        assert close(server.url()) == Answer(status, text)


@pytest.mark.parametrize(
    "data",
    [
        answer(b"x" * 65537),
        CHUNKED + b"20000\r\n" + b"x" * 0x20000,
        OK + b"Content-Length: 99999999999999999999\r\n\r\n" + b"x" * 70000,
        OK + b"\r\n" + b"x" * 70000,
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n" + b"x" * 70000,
    ],
)
def test_more_than_rufus_ever_says_is_not_read(data: bytes) -> None:
    """At 64 KiB it is enough, for the memory's sake; a redirect's page included."""
    with Server(says(data)) as server:
        assert close(server.url()) == failed(TOO_MUCH)


def test_an_endless_answer_is_hung_up_on() -> None:
    """Long before the deadline."""
    with Server(sends(OK + b"\r\n", b"x", every=0)) as server:
        assert close(server.url()) == failed(TOO_MUCH)


def raw_deflate(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(data) + packing.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zlib": zlib.compress, "raw": raw_deflate}
PACKED = [("gzip", "gzip"), ("X-GZIP", "gzip"), ("deflate", "zlib"), ("Deflate ", "raw")]
CANNOT_UNDO = (
    "{host} answered in a compression that rufusd cannot undo and did not ask for; check api.url, the network and any "
    "proxy"
)


@pytest.mark.parametrize(("encoding", "how"), PACKED)
def test_a_compressed_answer_is_unpacked(encoding: str, how: str) -> None:
    """Promise 2: some proxies compress though they were asked not to; the close goes all the same."""
    body = PACKERS[how](b"{" + b" " * 65534 + b"}")
    with Server(says(answer(body, "200 OK", f"Content-Encoding: {encoding}"))) as server:
        assert close(server.url()) == Answer(200, "{" + " " * 65534 + "}")


@pytest.mark.parametrize(("encoding", "how"), PACKED)
def test_a_compressed_answer_is_unpacked_no_further_than_an_answer(
    encoding: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 2: what unpacks to 50 MB takes no memory of a Pi Zero: 64 KiB of it are unpacked."""
    most: list[int] = []
    body = PACKERS[how](b" " * 50_000_000)
    assert len(body) < 65536

    class Watched:
        def __init__(self, bits: int) -> None:
            self._real = zlib.decompressobj(bits)

        def decompress(self, data: bytes, limit: int) -> bytes:
            unpacked = self._real.decompress(data, limit)
            most.append(len(unpacked))
            return unpacked

    monkeypatch.setattr("rufusd.adapters.rufus.zlib", SimpleNamespace(decompressobj=Watched, error=zlib.error))
    with Server(says(answer(body, "200 OK", f"Content-Encoding: {encoding}"))) as server:
        assert close(server.url()) == failed(TOO_MUCH)
    assert most == [65537]


@pytest.mark.parametrize(
    ("encoding", "body", "problem"),
    [
        ("gzip", gzip.compress(b'{"description": "Session closed succesfully"}')[:-9], BROKE),
        ("gzip", gzip.compress(b"{}")[:-8], BROKE),  # all of the text, and no checksum
        ("deflate", zlib.compress(b"{}")[:-1], BROKE),
        ("gzip", gzip.compress(b"{}")[:-8] + b"\0" * 8, CANNOT_UNDO),
        ("gzip", b"{}", CANNOT_UNDO),
        ("deflate", b"\xff\xff{}", CANNOT_UNDO),
        ("br", b"{}", CANNOT_UNDO),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), CANNOT_UNDO),
    ],
    ids=["cut", "without a checksum", "deflate, cut", "damaged", "not gzip", "not deflate", "brotli", "twice"],
)
def test_a_compressed_answer_that_is_not_whole_is_none(encoding: str, body: bytes, problem: str) -> None:
    """Promise 4: cut short, damaged, or in another compression than it says: not an answer."""
    with Server(says(answer(body, "200 OK", f"Content-Encoding: {encoding}"))) as server:
        assert close(server.url()) == failed(problem)


def test_an_empty_answer_may_call_itself_compressed() -> None:
    """There is nothing to unpack in it."""
    with Server(says(answer(b"", "204 No Content", "Content-Encoding: gzip"))) as server:
        assert close(server.url()) == Answer(204, "")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"<html>login</html>",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x00" * 1000,
        bytes(range(256)) * 300,
        OK + b"X: " + b"x" * 70000 + b"\r\n\r\n",
        OK + b"X: x\r\n" * 200 + b"\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_rubbish_is_no_answer(data: bytes) -> None:
    """Whatever it is, there is a sentence, the same each time, and RUFUS may have acted."""
    with Server(says(data)) as server:
        caller = client(server.url())
        for _ in range(2):
            assert caller.close(TOKEN) in (failed(NOT_HTTP), failed(BROKE))


def test_no_bytes_make_an_exception() -> None:
    """One call in, one plain answer out."""
    sent = [b""]

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(sent[0])

    @settings(deadline=None, max_examples=150, derandomize=True, database=None)
    @given(start=some.sampled_from([b"", OK, OK + b"X: ", CHUNKED, b"HTTP/1.1 "]), more=some.binary(max_size=200))
    @example(start=OK, more=b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x")
    @example(start=OK, more=b"Set-Cookie: a=b; expires=" + b"0" * 100 + b"\r\n\r\n")
    def call(start: bytes, more: bytes) -> None:
        sent[0] = start + more
        got = caller.close(TOKEN)
        assert bool(got.status) != bool(got.problem)
        assert got.sent

    with Server(script) as server:
        caller = client(server.url())
        call()


# Retry-After

DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([], None),
        (["Retry-After: 120"], 120.0),
        (["Retry-After:  7 "], 7.0),
        (["Retry-After: 0"], 0.0),
        (["Retry-After: 99999999999999999999999999"], 999999999.0),
        (["Retry-After: -5"], None),
        (["Retry-After: 1.5"], None),
        (["Retry-After: inf"], None),
        (["Retry-After: soon"], None),
        (["Retry-After: "], None),
        (["Retry-After: 5", "Retry-After: 6"], None),
        (["Retry-After: Sun, 06 Nov 1994 08:51:37 GMT", DATE], 120.0),
        (["Retry-After: Sun, 06 Nov 1994 09:51:37 +0100", DATE], 120.0),
        (["Retry-After: Sunday, 06-Nov-94 08:51:37 GMT", DATE], 120.0),
        (["Retry-After: Sun, 06 Nov 1994 08:00:00 GMT", DATE], 0.0),
        (["Retry-After: Sun, 06 Nov 1994 08:51:37 -0000", DATE], None),
        (["Retry-After: Sun, 06 Nov 1994 08:51:37 GMT"], None),
        (["Retry-After: Sun, 99 Nov 1994 99:99:99 GMT", DATE], None),
        (["Retry-After: Sun, 06 Nov 99999999999999999999 08:51:37 GMT", DATE], None),
        (["Retry-After: Sun, 06 Nov 1994 08:51:37 +99999999999999", DATE], None),
        (["Retry-After: 9 Nov , :", DATE], None),
        (["Retry-After: , ,", "Date: \xff"], None),
    ],
)
def test_retry_after_is_read_where_it_makes_sense(lines: list[str], seconds: float | None) -> None:
    """Whole seconds, or a date, which counts from the answer's own since this machine's clock may be wrong."""
    with Server(says(answer(b"{}", "503 Service Unavailable", *lines))) as server:
        assert close(server.url()) == Answer(503, "{}", seconds)


# TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_cannot_be_rufus_gets_no_key(authority: trustme.CA, ca_file: str, fault: str, host: str) -> None:
    """Promise 6: the sentence names what is wrong and what to do, the same each time, and nothing was sent."""
    expected = {
        "another name": DISTRUST
        + "is for another name: something stands between; use another network, or check api.url",
        "self-signed": DISTRUST
        + "is not from a known authority: something stands between; use another network, or api.ca_file",
        "unknown authority": DISTRUST
        + "is not from a known authority: something stands between; use another network, or api.ca_file",
        "expired": DISTRUST + "has expired, or this machine's clock is wrong; check the date with `timedatectl`",
        "not yet valid": DISTRUST
        + "is not yet valid: this machine's clock is wrong; connect it to a network that sets the clock",
        "old TLS": NOT_TLS,
    }[fault]
    with Server(says(answer()), tls_context(authority, fault)) as server:
        for _ in range(2):
            assert close(server.url(host), ca_file=ca_file) == failed(expected, sent=False, host=host)
    assert server.requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_no_key_goes_out_over_tls_older_than_1_2(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    """Promise 6: not even where Python and OpenSSL would speak it by themselves, as Debian 12's do."""
    default = ssl.create_default_context

    def lax(**more: Any) -> ssl.SSLContext:
        context = default(**more)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    monkeypatch.setattr(ssl, "create_default_context", lax)
    old = tls_context(authority, "old TLS")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = version
    with Server(says(answer()), old) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        with lax(cafile=ca_file).wrap_socket(sock, server_hostname="localhost") as spoken:
            assert spoken.version() == version.name.replace("_", ".")  # so the client could have spoken it
        assert close(server.url("localhost"), ca_file=ca_file) == failed(NOT_TLS, sent=False, host="localhost")
    assert server.requests == []


def test_what_openssl_refuses_without_a_reason_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: "legacy sigalg disallowed", for one, is a text of OpenSSL's without a reason behind it."""

    def refuse(*_: Any, **__: Any) -> Any:
        error = ssl.SSLError(1, "[SSL] legacy sigalg disallowed or unsupported (_ssl.c:992)")
        error.library, error.reason = "SSL", None  # type: ignore[assignment]
        raise error

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
        assert close(f"https://127.0.0.1:{listener.getsockname()[1]}/v0") == failed(NOT_TLS, sent=False)


def test_a_certificate_must_be_for_the_name_that_was_called(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the one that a name server says it is, nor for a proxy's."""
    with Server(says(answer()), tls_context(authority)) as server:
        resolve(monkeypatch, (socket.AF_INET, ("127.0.0.1", server.port)))
        got = close("https://rufus.invalid/v0", ca_file=ca_file)
    assert got.problem.startswith("rufus.invalid cannot be trusted: its certificate is for another name")
    assert server.requests == []


def test_a_certificate_of_nobody_we_know_is_refused(
    authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without api.ca_file the system's authorities count, and no variable of requests or curl changes that."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    monkeypatch.setenv("CURL_CA_BUNDLE", ca_file)
    with Server(says(answer()), tls_context(authority)) as server:
        assert "not from a known authority" in close(server.url("localhost")).problem
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
        monkeypatch.setenv("CURL_CA_BUNDLE", "/nowhere")
        assert "not from a known authority" in close(server.url("localhost")).problem
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
        assert close(server.url("localhost")).status == 200


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), NOT_TLS),
        (lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n"), NOT_TLS),
        (lambda peer: peer.send(b"\x15\x03\x01\x00\x02\x02\x46"), NOT_TLS),  # the alert "protocol version"
        (lambda peer: peer.sock.recv(1), UNSENT),
        (resets, UNSENT),
    ],
    ids=["HTTP", "SSH", "alert", "end", "reset"],
)
def test_a_port_without_tls_gets_no_key(script: Callable[[Peer], None], problem: str) -> None:
    """Plain HTTP where TLS was expected, above all: nothing was sent."""
    with Server(script) as server:
        for _ in range(2):
            assert close(f"https://127.0.0.1:{server.port}/v0") == failed(problem, sent=False)
    assert b"api_key" not in b"".join(server.left_over)


def test_a_name_may_end_in_a_dot(authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which tells the resolver that it is whole; the certificate's name has none."""
    with Server(says(answer()), tls_context(authority)) as server:
        resolve(monkeypatch, (socket.AF_INET, ("127.0.0.1", server.port)))
        assert close("https://localhost./v0", ca_file=ca_file) == Answer(200, "{}", verified=True)


@pytest.mark.parametrize("breaks", ["connect", "wrap_socket"])
@pytest.mark.parametrize("proxied", [False, True])
def test_a_reset_at_an_odd_moment_reads_as_any_other(
    monkeypatch: pytest.MonkeyPatch, breaks: str, proxied: bool
) -> None:
    """The kernel may tell of it while the connection is made, or before the handshake begins: it is one sentence."""

    def reset(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError(104, "Connection reset by peer")

    with Server(tunnel) as proxy, socket.create_server(("127.0.0.1", 0)) as listener:
        if breaks == "connect":
            monkeypatch.setattr(socket, "socket", type("Reset", (socket.socket,), {"connect": reset}))
        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", reset)
        by = f"http://127.0.0.1:{proxy.port}" if proxied else None
        got = close(f"https://127.0.0.1:{listener.getsockname()[1]}/v0", proxy=by)
    not_opened = "the proxy {host} does not let the call through; check api.proxy"
    unsent = UNSENT_BY_PROXY if proxied else UNSENT
    assert got == failed(not_opened if proxied and breaks == "connect" else unsent, sent=False)


def test_certificates_are_loaded_once(authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests would load them for each connection, which costs ten times the handshake."""
    loads: list[str] = []
    for name in ("load_verify_locations", "load_default_certs", "set_default_verify_paths"):
        original = getattr(ssl.SSLContext, name)

        def load(self: ssl.SSLContext, *args: Any, _name: str = name, _original: Any = original, **more: Any) -> None:
            loads.append(_name)
            _original(self, *args, **more)

        monkeypatch.setattr(ssl.SSLContext, name, load)
    with Server(says(answer()), tls_context(authority)) as server:
        caller = client(server.url("localhost"), ca_file=ca_file)
        assert [caller.close(TOKEN).status for _ in range(3)] == [200] * 3
        assert loads == ["load_verify_locations"]
        loads.clear()
        caller = client(server.url("localhost"))
        assert [caller.close(TOKEN).status for _ in range(3)] == [0] * 3
        assert loads[0] == "load_default_certs"
        assert "load_verify_locations" not in loads
        assert len(loads) <= 2


@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nrubbish\n"])
def test_a_ca_file_that_cannot_be_used_is_each_answers_problem(tmp_path: Path, content: bytes | None) -> None:
    """And no exception: the daemon runs on, shows it, and takes the next configuration."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    caller = client("https://rufus.invalid/v0", ca_file=str(path))
    problem = (
        f"api.ca_file {path} cannot be read, or holds no certificate in PEM form; put it right, then "
        "`sudo systemctl reload rufusd`"
    )
    assert caller.read(TOKEN) == caller.close(TOKEN) == Answer(problem=problem, sent=False)


# The key

KEYS = [KEY, "\"'%s%(key)d{0}\\`$(x)&~", "k" * 4096]
ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "body": lambda key: answer(key, "403 Forbidden"),
    "reason": lambda key: b"HTTP/1.1 403 " + key + b"\r\nContent-Length: 0\r\n\r\n",
    "status line": lambda key: key + b"\r\n\r\n",
    "header": lambda key: OK + b"X: " + key + b"\r\nContent-Length: 0\r\n\r\n",
    "malformed header": lambda key: OK + b"X: x\r\n" + key + b"\r\nContent-Length: 0\r\n\r\n",
    "header's name": lambda key: OK + b"\x00" + key + b" : x\r\nContent-Length: 0\r\n\r\n",
    "cookie": lambda key: OK + b"Set-Cookie: " + key + b"=" + key + b"; expires=" + key + b"\r\n\r\n{}",
    "location": lambda key: b"HTTP/1.1 302 Found\r\nLocation: http://[" + key + b"\r\n\r\n",
    "encoding": lambda key: OK + b"Content-Encoding: " + key + b"\r\n\r\n{}",
    "transfer": lambda key: OK + b"Transfer-Encoding: chunked, " + key + b"\r\n\r\n{}",
    "length": lambda key: OK + b"Content-Length: 1, " + key + b"\r\n\r\n{}",
    "chunk": lambda key: CHUNKED + key + b"\r\n{}",
    "wait": lambda key: OK + b"Retry-After: " + key + b"\r\nDate: " + key + b"\r\n\r\n{}",
}


@pytest.mark.parametrize("key", KEYS, ids=["usual", "odd", "long"])
@pytest.mark.parametrize("where", ECHOES)
def test_a_key_that_comes_back_is_not_passed_on(
    key: str, where: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Promise 6: wherever a server repeats it, it is in no problem and no log of ours or of the libraries'."""
    assert account_key(key) == key
    for name in ("", "urllib3", "requests", "urllib3.connection", "urllib3.connectionpool"):
        caplog.set_level(logging.DEBUG, logger=name)
    with Server(says(ECHOES[where](key.encode()))) as server:
        caller = client(server.url(), key=key)
        got = caller.close(TOKEN)
        by = client("https://rufus.invalid/v0", key=key, proxy=f"http://127.0.0.1:{server.port}").close(TOKEN)
    assert dict(headers(server.requests[0]))["api_key"] == key
    assert key not in got.problem + by.problem + repr(by) + repr(caller) + caplog.text
    assert (key in got.text) == (where == "body")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("key", KEYS, ids=["usual", "odd", "long"])
def test_a_call_that_fails_does_not_show_its_key(
    key: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 6: not at any stage of the call."""
    caplog.set_level(logging.DEBUG)
    shown = []
    for script in (says(b""), says(OK + b"Content-Length: 9\r\n\r\n"), resets, lambda peer: peer.send(OK)):
        with Server(script) as server:
            shown += [repr(client(server.url(), key=key).read(TOKEN))]
            shown += [repr(client(f"https://127.0.0.1:{server.port}/v0", key=key, timeout=0.1).close(TOKEN))]
    shown += [repr(client(f"http://127.0.0.1:{unused_port()}/v0", key=key).close(TOKEN))]
    resolve(monkeypatch)
    shown += [repr(client("https://rufus.invalid/v0", key=key).close(TOKEN)), caplog.text]
    assert [text for text in shown if key in text] == []


@pytest.mark.parametrize("setup", ["", "logging.basicConfig(level=logging.DEBUG)"], ids=["no handler", "root handler"])
def test_the_libraries_say_nothing_on_stderr(setup: str) -> None:
    """Promise 6: urllib3 logs malformed headers whole, and Python prints what no handler takes."""
    program = f"""
import logging
from servers import Server, answer, says
from rufusd.adapters.rufus import Client
from rufusd.core.settings import Api
{setup}
data = b"HTTP/1.1 200 OK\\r\\nX: x\\r\\n{KEY}\\r\\nContent-Length: 0\\r\\n\\r\\n"
with Server(says(data)) as server:
    print(Client(Api(key="{KEY}", url=server.url())).close("{TOKEN}").problem)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert KEY not in ran.stdout


# Resources


def test_failing_calls_leave_nothing_open(authority: trustme.CA) -> None:
    """Some 300 of all kinds, as in a night offline: no file descriptor and no thread more than before."""

    def left() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = left()
    answers = []
    plain = [b"", OK + b"\r\n" + b"x" * 70000, b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"rubbish\r\n\r\n"]
    scripts: list[Callable[[Peer], None]] = [*map(says, plain), resets, lambda peer: peer.send(b"SSH-2.0\r\n")]
    for script in scripts:
        with Server(script) as server:
            callers = [client(server.url()), client("https://rufus.invalid/v0", proxy=server.url()[:-3])]
            callers += [client(f"https://127.0.0.1:{server.port}/v0")] if script in scripts[-2:] else []
            answers += [caller.close(TOKEN) for caller in callers for _ in range(15)]
    with Server(says(answer()), tls_context(authority)) as server, Server(tunnel) as proxy:
        callers = [client(server.url("localhost"), proxy=by) for by in (None, f"http://127.0.0.1:{proxy.port}")]
        answers += [caller.close(TOKEN) for caller in callers for _ in range(15)]
    caller = client(f"http://127.0.0.1:{unused_port()}/v0")
    answers += [caller.close(TOKEN) for _ in range(60)]
    assert len(answers) == 300
    assert [got.status for got in answers if got.status] == [302] * 15
    assert left() == before


# The network's changes

NAMESPACE = """
import select, socket, subprocess
from rufusd.adapters.network import Changes

def ip(*words):
    subprocess.run(["ip", *words], check=True)

def told():
    return bool(select.select([changes], [], [], 5)[0]) and changes.take()

changes = Changes()
print("at first", changes.take())
ip("link", "set", "lo", "up")
print("link up", told())
while changes.take():
    pass
ip("address", "add", "127.9.9.9/8", "dev", "lo")
print("address", told())
socket.fromfd(changes.fileno(), socket.AF_NETLINK, socket.SOCK_RAW).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
for _ in range(10):
    ip("link", "set", "lo", "down")
    ip("link", "set", "lo", "up")
print("more than fit", told())
while changes.take():
    pass
ip("link", "set", "lo", "down")
print("afterwards", told())
changes.close()
"""


def test_a_change_of_the_network_is_told() -> None:
    """A link or an address in a network namespace of its own; too many at once are a change, too."""
    apart = ["unshare", "--net", sys.executable, "-c"]
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("this machine has no `unshare`, or no `ip`")
    if os.geteuid() != 0 or subprocess.run([*apart, ""], capture_output=True).returncode:
        pytest.skip("only root may make a network namespace, and not in every container")
    ran = subprocess.run([*apart, NAMESPACE], capture_output=True, text=True, timeout=60)
    expected = ["at first False", "link up True", "address True", "more than fit True", "afterwards True"]
    assert (ran.stdout.splitlines(), ran.stderr) == (expected, "")


def test_nothing_to_take_is_nothing() -> None:
    """And it does not wait for anything."""
    changes = Changes()
    while changes.take():
        pass
    assert not changes.take()
    changes.close()


class _Unbound(socket.socket):
    def bind(self, _: Any) -> None:
        raise PermissionError("not here")


@pytest.mark.parametrize(("name", "value"), [("AF_NETLINK", 9999), ("socket", _Unbound)])
def test_without_the_kernels_messages_there_are_no_changes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    """In a sandbox that forbids them, rufusd does without: never readable, never an error."""
    monkeypatch.setattr(socket, name, value)
    changes = Changes()
    assert not select.select([changes], [], [], 0)[0]
    assert not changes.take()
    changes.close()


def test_taking_ends_however_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that changes faster than it is read must not hold up the courier."""

    taken: list[int] = []

    class Endless(socket.socket):
        def recv(self, *_: Any) -> bytes:
            assert len(taken) < 1000
            taken.append(1)
            return b"changed"

    monkeypatch.setattr(socket, "socket", Endless)
    changes = Changes()
    assert changes.take()
    changes.close()


def test_closing_closes() -> None:
    """No file descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    changes = Changes()
    assert len(os.listdir("/proc/self/fd")) > before
    changes.close()
    assert len(os.listdir("/proc/self/fd")) == before
