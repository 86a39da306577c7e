"""`rufusd sandbox`: a stand-in for the RUFUS API on loopback, for training, for the demo and for tests.

It answers as RUFUS is documented to, keeps all in memory, and misbehaves on command as a venue's network does. Where
RUFUS's documentation is silent a comment says so: nothing may be built on such an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import ssl
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, NamedTuple

_PERMITTED = {"READ": ("GET",), "WRITE": ("POST", "PATCH"), "READ_WRITE": ("GET", "POST", "PATCH")}
_WELCOME = """\
A stand-in for RUFUS, on this machine only: {url}
Keys: READ {READ}, WRITE {WRITE}, READ_WRITE {READ_WRITE}
For a station's configuration:

[api]
url = "{url}"
key = "{READ_WRITE}"

[session]
token = "{token}"
name = "SANDBOX-10K"

[button]
pin = 17

[led]
pin = 22

Type a command: show, offline, online, passing, ...; help lists them all, quit ends this.
From another terminal: curl --data "offline" {root}/sandbox
"""


@dataclass
class Session:
    """What the sandbox knows of a session. Times are RFC 3339; `closes` counts the API calls that closed it."""

    token: str
    alias: str
    created: str
    active: bool = True
    passings: int = 0
    lost: int = 0
    first: str | None = None
    last: str | None = None
    closes: int = 0


@dataclass(frozen=True)
class Call:
    """One call of the API and when it came (monotonic seconds). `status` is None where it was given no answer."""

    method: str
    path: str
    key: str | None
    status: int | None
    at: float


class _Answer(NamedTuple):
    status: int
    body: str = ""
    kind: str = "application/json"
    header: tuple[str, str] = ("Cache-Control", "no-store")


class Sandbox:
    """RUFUS on 127.0.0.1, from `start` to `stop` or in a `with`. What it knows outlives a stop."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Prepare one; port 0 takes a free one at the first start and keeps it."""
        self.keys = {name: f"ror-{secrets.token_hex(10)}" for name in _PERMITTED}
        self.closed_again = 404  # what closing a closed session answers is not documented; or 200, or 409
        self._port, self._tls = port, tls
        self._lock, self._stopping = threading.RLock(), threading.Event()
        self._sessions: dict[str, Session] = {}
        self._devices: dict[str, str] = {}
        self._calls: deque[Call] = deque(maxlen=10_000)
        self._behaviour, self._seconds, self._form = "online", "", "old"
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Serve in a thread of its own. Raises OSError, or OverflowError, where the port is not to be had."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), lambda *request: _Handler(self, *request))
        self._server.daemon_threads = False  # closing the server waits for them
        if self._tls:  # each thread shakes hands for itself, so that a slow client delays no other
            listener = self._server.socket
            self._server.socket = self._tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        self._port = self._server.server_port
        self._stopping.clear()
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="sandbox", daemon=True).start()

    def stop(self) -> None:
        """Drop every answer that is still due and free the port; returns when all threads are done."""
        self._stopping.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Sandbox:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """What belongs into `api.url`; known once started."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/v0"

    @property
    def calls(self) -> list[Call]:
        """The calls of the API, oldest first; the newest 10,000 at most."""
        with self._lock:
            return list(self._calls)

    def add_session(self, alias: str, token: str | None = None) -> str:
        """Open a session and return its token. Raises ValueError for a token in use: no session is reopened."""
        token = token or secrets.token_hex(32).upper()
        with self._lock:
            if token in self._sessions:
                raise ValueError(f"there is a session with the token {token} already")
            self._sessions[token] = Session(token, alias, created=_now())
        return token

    def add_device(self, device_id: str, token: str) -> None:
        """Make `token` the session that a timing device records into."""
        with self._lock:
            self._devices[device_id] = token

    def add_passing(self, token: str) -> bool:
        """Insert one passing; False where the session is closed, which loses it, or unknown.

        No path does this: the call by which readers insert passings is not among what is known of RUFUS here.
        """
        with self._lock:
            session = self._sessions.get(token)
            if session and session.active:
                session.passings += 1
                session.last = _now()
                session.first = session.first or session.last
            elif session:
                session.lost += 1
            return bool(session and session.active)

    def session(self, token: str) -> Session:
        """Return a session as it is now. Raises KeyError for an unknown token."""
        with self._lock:
            return replace(self._sessions[token])

    def tell(self, line: str) -> str:
        """Do what one line of words says and answer in a sentence. Raises ValueError with one that helps."""
        line = " ".join(line.split())
        for _, _, pattern, act in _COMMANDS:
            if match := re.fullmatch(pattern, line):
                with self._lock:
                    return act(self, *filter(None, match.groups()))
        usages = [usage for usage, *_ in _COMMANDS]
        meant = [usage for usage in usages if usage.split()[0] == line.partition(" ")[0]]
        raise ValueError(f"'{line}' is not a command; expected {' or '.join(meant) or ', '.join(usages)}")

    def _behave(self, behaviour: str, seconds: str = "") -> str:
        self._behaviour, self._seconds = behaviour, seconds
        return f"From now on: {behaviour} {seconds}".rstrip()

    def _set_form(self, form: str) -> str:
        self._form = form
        return f"Answers have the {form} form from now on"

    def _open(self, alias: str) -> str:
        return f"{alias} is open, with the token {self.add_session(alias)}"

    def _pass(self, token: str, count: str = "1") -> str:
        session = self._find(token)
        reached = sum(self.add_passing(token) for _ in range(int(count)))
        return f"{session.alias}: {reached} of {count} reached RUFUS, {session.passings} in all, {session.lost} lost"

    def _close(self, token: str) -> str:
        session = self._find(token)
        said = "is closed" if session.active else "was closed already"
        session.active = False
        return f"{session.alias} {said}"

    def _find(self, token: str) -> Session:
        if token not in self._sessions:
            raise ValueError(f"no session has the token {token}; 'show' lists them all")
        return self._sessions[token]

    def _show(self) -> str:
        lines = [f"{self._behaviour} {self._seconds}".rstrip() + f", {self._form} form"]
        for one in self._sessions.values():
            state = "open" if one.active else "closed"
            lines.append(f"{one.alias:15} {state:6} {one.passings:6} passings {one.lost:4} lost  {one.token}")
        return "\n".join(lines)

    def _answer(self, method: str, path: str, key: str | None, body: str) -> _Answer | None:
        # None hangs up instead. A slow call is acted on at once: a client that gives up waiting was heard all the same.
        route, at, late = path.partition("?")[0], time.monotonic(), 0.0
        if route == "/sandbox":
            try:
                return _Answer(200, self.tell(body if method == "POST" else "show") + "\n", "text/plain")
            except ValueError as error:
                return _Answer(400, f"{error}\n", "text/plain")
        with self._lock:
            answer = None if self._behaviour == "offline" else self._interfere(route) or self._rufus(method, route, key)
            if self._behaviour == "deaf":
                answer = None
            elif self._behaviour == "slow":
                late = float(self._seconds)
            self._calls.append(Call(method, path, key, answer and answer.status, at))
        return None if self._stopping.wait(late) else answer

    def _interfere(self, route: str) -> _Answer | None:
        login = "<!DOCTYPE html><title>Guest network</title><p>Please log in to use the network.</p>"
        if self._behaviour == "portal200" or (self._behaviour == "portal" and route == "/login"):
            return _Answer(200, login, "text/html")
        if self._behaviour == "portal":
            return _Answer(302, login, "text/html", ("Location", "/login"))
        if self._behaviour == "429":  # not documented, nor is its body
            return _Answer(429, header=("Retry-After", self._seconds or "5"))
        if self._behaviour.startswith("5"):  # a body is documented for 500 in the new form only
            return _Answer(int(self._behaviour), '{"body": null}' if self._form == "new" else "")
        return None

    def _rufus(self, method: str, route: str, key: str | None) -> _Answer:
        permission = next((name for name, known in self.keys.items() if known == key), None)
        if permission is None:
            return self._say(401)  # or 403: neither is documented for an unknown key, nor for none
        if method not in _PERMITTED[permission]:
            return self._say(403)
        if match := re.fullmatch("PATCH /v0/sessions/close/([^/]*)", f"{method} {route}"):
            return self._close_call(match[1])
        if match := re.fullmatch("GET /v0/sessions/device/([^/]+)/active", f"{method} {route}"):
            session = self._sessions.get(self._devices.get(match[1], ""))
            # The words are documented, the status is not.
            return self._record(session) if session and session.active else self._say(404, "Sessions not found")
        if match := re.fullmatch("GET /v0/sessions/([^/]+)", f"{method} {route}"):
            session = self._sessions.get(match[1])
            return self._record(session) if session else self._say(404, "Session not found", token_session=match[1])
        return _Answer(501, "The sandbox knows no such call.\n", "text/plain")

    def _close_call(self, token: str) -> _Answer:
        if not token:
            return self._say(400)
        session = self._sessions.get(token)
        status = 404 if session is None else 200 if session.active else self.closed_again
        if session and session.active:
            session.active, session.closes = False, session.closes + 1
        words = {200: "Session closed succesfully", 404: "Session not found"}  # RUFUS's spelling
        return self._say(status, words.get(status, "Session not found or closed"), token_session=token)

    def _record(self, session: Session) -> _Answer:
        # The form of a duration is not documented, nor what stands for the times of passings while there are none.
        facts = {name: getattr(session, name) for name in ("alias", "active", "passings", "first", "last")}
        more = {"token_session": session.token, "creation_date": session.created, "duration": None}
        return self._say(200, "Success", result=[{**more, **facts}])

    def _say(self, status: int, description: str | None = None, **facts: Any) -> _Answer:
        # Where no description is given, the documentation does not show the body.
        facts = {"description": description or HTTPStatus(status).phrase, **facts}
        return _Answer(status, json.dumps({"body": facts} if self._form == "new" else facts))


# Each command: its usage, its meaning, its pattern, and what is called with the pattern's groups.
_COMMANDS: tuple[tuple[str, str, str, Callable[..., str]], ...] = (
    ("online", "answer as RUFUS does", "(online)", Sandbox._behave),
    ("offline", "drop every connection without an answer", "(offline)", Sandbox._behave),
    ("slow SECONDS", "act at once, answer that late", r"(slow) ([0-9]{1,4}(?:\.[0-9]{1,3})?)", Sandbox._behave),
    ("500", "answer with a server's error, 500 to 599", "(5[0-9]{2})", Sandbox._behave),
    ("429 [SECONDS]", "ask to be called again after so long", "(429)(?: ([0-9]{1,6}))?", Sandbox._behave),
    ("portal", "redirect everything to a login page", "(portal)", Sandbox._behave),
    ("portal200", "answer everything with a login page", "(portal200)", Sandbox._behave),
    ("deaf", "act, but drop the connection before answering", "(deaf)", Sandbox._behave),
    ("form old|new", "answer as RUFUS's older or newer documentation says", "form (old|new)", Sandbox._set_form),
    ("session ALIAS", "open a session", "session (.+)", Sandbox._open),
    ("passing TOKEN [N]", "let runners cross the mat", "passing ([^ ]+)(?: ([0-9]{1,5}))?", Sandbox._pass),
    ("close TOKEN", "close a session, as somebody else might", "close ([^ ]+)", Sandbox._close),
    ("show", "show the behaviour and the sessions", "show", Sandbox._show),
    ("help", "show this", "help", lambda _: "\n".join(f"{usage:18} {does}" for usage, does, *_ in _COMMANDS)),
)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "rufusd-sandbox", ""
    disable_nagle_algorithm = True
    timeout = 2  # a client that says nothing for so long is hung up on; stopping waits for it

    def __init__(self, sandbox: Sandbox, *request: Any) -> None:
        self.sandbox = sandbox  # before the base class, whose constructor answers the request
        super().__init__(*request)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client that hung up is no news
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        length = re.fullmatch("[0-9]{1,5}", self.headers.get("Content-Length", ""))
        body = self.rfile.read(int(length[0])).decode("utf-8", "replace") if length else ""
        key = self.headers.get("api_key") or self.headers.get("x-api-key")
        answer = self.sandbox._answer(self.command, self.path, key, body)
        self.close_connection = True
        if answer:
            content = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header(*answer.header)
            self.send_header("Connection", "close")  # so that a stopped sandbox leaves no thread behind
            self.end_headers()
            self.wfile.write(content)

    do_POST = do_PATCH = do_GET


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return serve(options.port)


def serve(port: int) -> int:
    """Run a sandbox for a person: commands from standard input, and after its end on until SIGINT or SIGTERM.

    Takes these signals over for good. Returns 1, with a sentence on stderr, where the port is not to be had, else 0.
    """
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    sandbox = Sandbox(port)
    try:
        sandbox.start()
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"rufusd sandbox: cannot listen on port {port} ({error}); choose another with --port\n")
        return 1
    facts = {"url": sandbox.url, "root": sandbox.url.removesuffix("/v0"), **sandbox.keys}
    _say(_WELCOME.format(token=sandbox.add_session("SANDBOX-10K"), **facts))
    threading.Thread(target=_obey, args=(sandbox, done), daemon=True).start()
    while not done.wait(1):  # not for ever: a signal that comes just before a wait does not end it
        pass
    sandbox.stop()
    return 0


def _obey(sandbox: Sandbox, done: threading.Event) -> None:
    # Unbuffered: a thread that waits inside sys.stdin holds a lock which aborts the interpreter when it exits.
    with contextlib.suppress(OSError), open(0, "rb", buffering=0, closefd=False) as commands:
        for line in commands:
            command = line.decode("utf-8", "replace").strip()
            if command == "quit":
                done.set()
                return
            try:
                if command:
                    _say(sandbox.tell(command))
                if command == "help":  # of a person's own, who alone may end it
                    _say(f"{'quit':18} end this")
            except ValueError as error:
                _say(str(error))


def _say(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except UnicodeEncodeError:
        _say(text.encode("ascii", "backslashreplace").decode())
    except BrokenPipeError:  # nobody reads any more, as after `| head`: serve on in silence
        with open(os.devnull, "wb") as silence:
            os.dup2(silence.fileno(), sys.stdout.fileno())
