"""Calls to RUFUS, against servers that misbehave on real sockets, and the kernel's news of the network."""

from __future__ import annotations

import gzip
import logging
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as some
from servers import FAULTS, Peer, Server, answer, black_hole, says, silent, tls_context, tunnel

from rufusd import __version__, network, rufus
from rufusd.delivery import Answer, Meaning, judge_close, judge_read
from rufusd.network import Changes
from rufusd.rufus import Client
from rufusd.sandbox import Sandbox
from rufusd.settings import Api, account_key

KEY = "ror-0123456789abcdef0123"
TOKEN = "6E05" * 16
SLACK = 0.5  # seconds by which a call may end after its deadline

BROKE = "the connection to 127.0.0.1 broke before its whole answer had come; rufusd asks again"
LATE = "127.0.0.1 did not answer within 0.3 s; rufusd goes on trying"
LOOK = "check api.url, the network and any proxy"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that tests, and nothing left in its environment."""
    monkeypatch.setenv("RES_OPTIONS", "")
    monkeypatch.delenv("RES_OPTIONS")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def client(url: str, **more: Any) -> Client:
    return Client(Api(**{"key": KEY, "url": url, "timeout": 0.3, **more}))


def closed(url: str, **more: Any) -> Answer:
    """The answer to one close, which ended in time."""
    caller = client(url, **more)
    begun = time.monotonic()
    got = caller.close(TOKEN)
    assert time.monotonic() - begun < more.get("timeout", 0.3) + SLACK
    return got


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    """Every name has these addresses: (family, address), or just an IPv4 address."""
    found = [a if isinstance(a[0], int) else (socket.AF_INET, a) for a in addresses]
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


# The request


@pytest.mark.parametrize(
    ("ask", "line", "length"),
    [
        (Client.read, f"GET /v0/sessions/{TOKEN} HTTP/1.1", {}),
        (Client.close, f"PATCH /v0/sessions/close/{TOKEN} HTTP/1.1", {"content-length": "0"}),
    ],
)
def test_the_request_is_as_documented(ask: Callable[..., Answer], line: str, length: dict[str, str]) -> None:
    """Method, path and headers on the wire, each once, and no body."""
    with Server(says(answer(b'{"description": "fine"}'))) as server:
        assert ask(client(server.url()), TOKEN) == Answer(200, '{"description": "fine"}')
    first, *rest = server.requests[0].decode().removesuffix("\r\n\r\n").split("\r\n") if sys.version_info >= (3, 9) else []
    headers = sorted(each.partition(": ")[::2] for each in rest)
    assert first == line
    assert [(name.lower(), value) for name, value in headers] == sorted(
        {
            "accept": "application/json",
            "accept-encoding": "identity",
            "api_key": KEY,
            "connection": "close",
            "content-type": "application/json",
            "host": f"127.0.0.1:{server.port}",
            "user-agent": f"rufusd/{__version__}",
            "x-api-key": KEY,
            **length,
        }.items()
    )
    assert server.left_over == [b""]
