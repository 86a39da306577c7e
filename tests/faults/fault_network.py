"""Networks that fail: a press is confirmed, the call meets each fault in turn, and then the cause goes away.

Promises 2 and 4: the close stays pending with a sentence that names the cause and the cure, is delivered within one
backoff step once it can be, once, and "closed" is never said before. Every point has a key of another shape, which
nothing that the station says or writes may hold (promise 6).
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Callable

import pytest
import trustme
from apart import ELSEWHERE, FAR, HERE, Apart
from families import HERE as FOLDER
from families import Family, compiled
from forked import Forge
from servers import FAULTS, Peer, Server, answer, relay, resets, says, silent, tls_context, tunnel
from stations import Fresh, until, within
from venue import KEYS, MARGIN, STEP, Door, Hole, Script, Shut, Trial, acted, keyless, recovers, rotated, to, traces

from rufusd.training.sandbox import Sandbox

CLOSED = '{"description": "Session closed succesfully", "token_session": "%s"}'
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = 0.3  # api.timeout, where a fault is to use it up
GOES_ON = "rufusd goes on trying"
BROKE = ("the connection to 127.0.0.1 broke before its whole answer had come", "rufusd asks again")
LATE = ("127.0.0.1 did not answer within 0.3 s", GOES_ON)
TOO_MUCH = ("127.0.0.1 answered with far more than RUFUS does", "check api.url, the network and any proxy")
NOT_HTTP = ("what 127.0.0.1 answered is not HTTP", "check api.url, the network and any proxy")
OWN = ("RUFUS has a problem of its own ({})", "nothing to do here, " + GOES_ON)
BUSY = ("RUFUS asks to call less often (429)", "rufusd waits as long as it says")
TIMELESS = ("RUFUS asks to call less often (429)", "names no time; rufusd waits longer after each call")
WEAK = ("the answer ({}) does not say that the session is closed", "look in RUFUS, and check api.url, the network and")
BOTH = ("refused ({}), but not in RUFUS's own words", "check api.key, then api.url, the network and any proxy")
OTHER = ("something other than RUFUS answered ({})", "check api.url, the network and any proxy")
PAGE = ("a web page answered in RUFUS's place ({})", "log in to that network with a browser, or use another")
KEY = ("RUFUS refused ({})", "put a valid key with WRITE or READ_WRITE access into api.key")
ODD_200 = ("check api.url, the network and any proxy",)  # of a call that says nothing, and of a read
TOKEN = ("RUFUS refused ({})", "it knows no such session, or none that is open; check session.token")
STATE = ("RUFUS refused ({})", "look at the session in RUFUS")


@dataclass(frozen=True)
class Fault:
    """What answers in RUFUS's place, and what the station must say of it.

    `slow`: RUFUS refused, or named a time; `waits`: the seconds that it is to be left alone.
    """

    name: str
    script: Script
    says: tuple[str, ...]
    timeout: float = 2.0
    slow: bool = False
    waits: float = 0.0

    def __str__(self) -> str:
        """Its name in the table of what went wrong."""
        return self.name


def sends(head: bytes, drop: bytes, every: float) -> Script:
    """A script: `head` at once, then `drop` for ever: byte by byte, or all at once if `every` is 0."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        if every:
            peer.drip(drop, every)
        while True:
            peer.send(drop * 1000)

    return script


def then_resets(data: bytes) -> Script:
    """A script: these bytes, then a reset."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        peer.reset()

    return script


def then_silent(data: bytes) -> Script:
    """A script: these bytes, then nothing."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        silent(peer)

    return script


def echoes(words: str, kind: str = "text/html") -> Script:
    """A script: 200 and these words, with the path that was called in the place of PATH."""

    def script(peer: Peer) -> None:
        path = peer.request().split()[1].decode()
        body = words.replace("PATH", path).encode()
        peer.send(OK + f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return script


def status(code: int, body: bytes = b'{"body": null}', *headers: str) -> Script:
    """A script: an answer with this status."""
    return says(answer(body, f"{code} Status", *headers))


def stated(words: tuple[str, ...], code: int) -> tuple[str, ...]:
    """A sentence with its status."""
    return tuple(each.format(code) for each in words)


def in_seconds(seconds: float) -> str:
    """A Retry-After that is a date, by a clock that is decades wrong as both sides' may be, and the answer's own."""
    now = datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    when = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    return f"Retry-After: {when}\r\nDate: {format_datetime(now, usegmt=True)}"


CUT = [
    Fault("reset before the answer", resets, BROKE),
    Fault("the end before the answer", says(b""), BROKE),
    Fault("reset in the headers", then_resets(OK + b"Content-Ty"), BROKE),
    Fault("reset in the body", then_resets(OK + b'Content-Length: 99\r\n\r\n{"descr'), BROKE),
    Fault("the end in a chunk", says(CHUNKED + b'50\r\n{"descr'), BROKE),
    Fault("a Content-Length that is too long", says(OK + b"Content-Length: 99\r\n\r\n{}"), BROKE),
    Fault("one that is too long, and no end", then_silent(OK + b"Content-Length: 99\r\n\r\n{}"), LATE, timeout=SLOW),
    Fault(
        "one that is too short",
        says(OK + b"Content-Length: 20\r\n\r\n" + CLOSED.encode()),
        stated(OTHER, 200),
    ),
    Fault("a byte now and then: status line", sends(b"", b"HTTP/1.1 200 OK ", 0.05), LATE, timeout=SLOW),
    Fault("a byte now and then: headers", sends(OK, b"X", 0.05), LATE, timeout=SLOW),
    Fault("a byte now and then: body", sends(OK + b"\r\n", b" ", 0.05), LATE, timeout=SLOW),
    Fault("a byte now and then: chunks", sends(CHUNKED, b"1\r\n \r\n", 0.05), LATE, timeout=SLOW),
    Fault("no byte at all", silent, LATE, timeout=SLOW),
    Fault("an endless body", sends(OK + b"\r\n", b" " * 100, 0), TOO_MUCH),
    Fault("endless chunks", sends(CHUNKED, b"64\r\n" + b" " * 100 + b"\r\n", 0), TOO_MUCH),
    Fault("endless headers", sends(OK, b"X: x\r\n" * 9, 0), NOT_HTTP),
    Fault("one endless header", sends(OK + b"X: ", b"x" * 99, 0), NOT_HTTP),
    Fault("another protocol", says(b"SSH-2.0-OpenSSH_9.2\r\n"), NOT_HTTP),
]
PORTALS = [
    Fault("a portal", echoes("<!DOCTYPE html><html>Please log in"), stated(PAGE, 200)),
    Fault("one that calls it JSON", echoes("<html>Please log in", "application/json"), stated(PAGE, 200)),
    Fault("one that repeats the address", echoes("<html><a href='/login?to=PATH'>Log in"), stated(PAGE, 200)),
    Fault("one in XML", echoes("\ufeff <?xml version='1.0'?><WISPAccessGatewayParam>PATH"), stated(PAGE, 200)),
    Fault("one that begins with words", echoes("Welcome! <a href='/login?to=PATH'>Log in</a>"), stated(PAGE, 200)),
    Fault("one that is all words", echoes("Log in before you open http://rufusPATH", "text/plain"), stated(OTHER, 200)),
    Fault(
        "one that quotes it",
        echoes("Log in: http://portal/?to=%2fPATH".replace("/", "%2f"), "text/plain"),
        stated(OTHER, 200),
    ),
    Fault(
        "JSON that repeats the address", echoes('{"url": "https://rufusPATH", "method": "PATCH"}'), stated(OTHER, 200)
    ),
    *(
        Fault(
            f"another service's {words}",
            echoes(words, "application/json"),
            stated(WEAK if "result" in words else OTHER, 200),
        )
        for words in (
            *('{"status": "ok"}', '{"message": "Success"}', '{"error": null}', '{"body": "ok"}', '{"result": []}'),
            *("[]", "[{}]", '["ok"]', '"ok"', "null", "true", "1", "ok", '{"description": "Session clo'),
        )
    ),
    Fault(
        "another session's close",
        echoes(CLOSED % ("6E05" * 16), "application/json"),
        ("RUFUS's answer names another session", "it is asked again"),
    ),
]
STATUSES = [
    *(Fault(f"{code}", status(code), stated(OWN, code)) for code in (408, 425, 500, 501, 502, 503, 504, 599)),
    *(Fault(f"{code} and a page", status(code, b"<html>oops"), stated(OWN, code)) for code in (500, 502, 504)),
    *(Fault(f"{code} in RUFUS's form", status(code), stated(KEY, code), slow=True) for code in (401, 403)),
    *(Fault(f"{code} in RUFUS's form", status(code), stated(TOKEN, code), slow=True) for code in (404, 410)),
    *(Fault(f"{code} in RUFUS's form", status(code), stated(STATE, code), slow=True) for code in (400, 409, 422)),
    *(
        Fault(f"{code} and a page", status(code, b"<html>no"), stated(PAGE, code), slow=True)
        for code in (401, 403, 404, 409)
    ),
    *(Fault(f"{code} and words", status(code, b"no"), stated(OTHER, code), slow=True) for code in (404, 405, 409)),
    *(Fault(f"{code} and words", status(code, b"no"), stated(BOTH, code), slow=True) for code in (401, 403)),
    *(
        Fault(f"{code} of a gateway", status(code, b'{"message": "Forbidden"}'), stated(words, code), slow=True)
        for code, words in ((401, BOTH), (403, BOTH), (404, OTHER), (422, OTHER))
    ),
    Fault(
        "407", status(407, b""), ("the proxy wants a user and a password (407)", "put them into api.proxy"), slow=True
    ),
    Fault("429", status(429), TIMELESS),
    *(
        Fault(f"{code}, {name}", status(code, b"{}", header), words, slow=True, waits=1)
        for code, words in ((429, BUSY), (503, stated(OWN, 503)))
        for name, header in (
            ("Retry-After in seconds", "Retry-After: 1"),
            ("Retry-After as a date", in_seconds(1)),
            ("an absurd Retry-After", "Retry-After: 99999999999999999999"),
            ("a date in 300 years", in_seconds(1e10)),
        )
    ),
    *(
        Fault(f"429, {name}", status(429, b"{}", header), words)
        for name, header, words in (
            ("a negative Retry-After", "Retry-After: -5", TIMELESS),
            ("a date that is past", in_seconds(-1e6), BUSY),
            ("a date without another", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", TIMELESS),
            ("Retry-After in words", "Retry-After: soon", TIMELESS),
        )
    ),
]
REDIRECTS = (301, 302, 303, 307, 308)


@contextlib.contextmanager
def way(fault: Script, kind: type[Door] = Door, **more: Any) -> Iterator[tuple[Sandbox, Door]]:
    """RUFUS, and a door to it that has a fault."""
    with Sandbox() as rufus, kind(fault, to(int(rufus.url[:-3].rpartition(":")[2])), **more) as door:
        yield rufus, door


def answers(folder: Path, forge: Forge, family: Family, faults: list[Fault], **more: Any) -> None:
    """A point for each of these."""
    keys = rotated(KEYS)

    def run(point: tuple[Fault, str]) -> None:
        fault, key = point
        step = STEP / 2 if fault.slow else STEP
        with way(fault.script) as (rufus, door):
            api = {"url": door.url()}
            trial = Trial(folder, rufus, forge, key, timeout=fault.timeout, step=step, api=api, **more)
            recovers(family, fault, trial, fault.says, door.mend, slow=fault.slow, waits=fault.waits)

    family.each([(fault, next(keys)) for fault in faults], run)


def test_answers_cut_short(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Answers that break off, drip, lie about their length, or never end."""
    answers(tmp_path, forge, family, CUT)


def test_others_who_answer(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Portals and other services that answer 200 in RUFUS's place."""
    answers(tmp_path, forge, family, PORTALS)


def test_statuses(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Refusals, errors, and every kind of Retry-After."""
    answers(tmp_path, forge, family, STATUSES)


@pytest.mark.parametrize("permission", ["READ_WRITE", "WRITE"])
def test_with_a_wait_for_quiet(tmp_path: Path, forge: Forge, family: Family, permission: str) -> None:
    """The same with a wait for quiet."""
    family.name += f", with a {permission} key"
    some = (CUT + PORTALS + STATUSES)[permission == "WRITE" :: 2]  # each fault with one key or the other
    answers(tmp_path, forge, family, some, quiet=0.2, permission=permission)


def test_refusals_stay(tmp_path: Path, forge: Forge, family: Family) -> None:
    """What RUFUS refuses is shown all the time, through every further attempt, and logged once."""

    def run(point: tuple[int, str, float]) -> None:
        code, permission, quiet = point
        slow = first(status(code), lambda peer: peer.server.stopping.wait(0.1) or status(code)(peer), "GET")
        with way(slow) as (rufus, door):
            api = {"url": door.url()}
            with Trial(tmp_path, rufus, forge, permission=permission, quiet=quiet, step=0.02, api=api) as trial:
                trial.press()
                station = trial.station
                until(lambda: station.view()["faults"])
                called, shown = len(door.requests), len(station.read())

                logged = station.logged()
                gaps = 0

                def over() -> bool:
                    nonlocal gaps
                    view = station.view()
                    gaps += not (view["faults"] and view["closes"][0]["last_error"])
                    return len(door.requests) > called + 15

                until(over)
                more = station.logged().removeprefix(logged).splitlines()
                wrong = f"logged {len(more)} lines more: {more[:4]}" if len(more) > 1 else ""
                changes = station.read()[shown:]
                wrong = wrong or (f"it shows {changes}" if changes else f"{gaps} looks found nothing" if gaps else "")
                family.check(point, wrong=wrong)

    family.each(
        [(code, key, quiet) for code in (401, 404) for key in ("READ_WRITE", "WRITE") for quiet in (0.0, 0.1)], run
    )


# -- nobody there


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Shut, ("127.0.0.1 refuses connections at port", "check api.url, and whether this network lets it through")),
        (Hole, ("nothing answers at 127.0.0.1", "check that this network leads to the internet, then api.url")),
    ],
    ids=["nothing listens", "a black hole"],
)
def test_nobody(tmp_path: Path, forge: Forge, family: Family, kind: type[Door], words: tuple[str, ...]) -> None:
    """Nobody is there."""
    family.name = {Shut: "Nothing listens", Hole: "A black hole"}[kind]  # type: ignore[index]

    def run(how: tuple[str, float]) -> None:
        permission, quiet = how
        with way(silent, kind) as (rufus, door):
            trial = Trial(
                tmp_path, rufus, forge, api={"url": door.url()}, timeout=SLOW, permission=permission, quiet=quiet
            )
            recovers(family, how, trial, words, door.mend)

    family.each([("READ_WRITE", 0.0), ("READ_WRITE", 0.2), ("WRITE", 0.0), ("WRITE", 0.2)], run)


# -- stopped in the middle of it


def stops(family: Family, point: object, trial: Trial, under_way: Callable[[], Any]) -> None:
    """One point: while a call hangs, the daemon is told to stop; it does within 2 s, and has not lost the close."""
    with trial:
        trial.press()

        def stop() -> float:
            if not trial.station.process:
                trial.station.start("17 high", env=trial.env)
            until(lambda: trial.station.view()["daemon"].get("pid") == trial.station.process.pid)
            until(under_way)
            began = time.monotonic()
            ended.append(trial.station.stop())
            return time.monotonic() - began

        ended: list[int] = []
        wrong = ""
        try:
            within(2, stop)
        except AssertionError as late:
            wrong = str(late)
        pending = trial.station.records("pending") == [trial.token]
        family.check(point, lost=not pending, wrong=wrong if not any(ended) else f"ended with {ended}")


def test_a_stop_while_a_call_hangs(tmp_path: Path, forge: Forge, family: Family) -> None:
    """SIGTERM while a call hangs, in any of its stages: ended within 2 s, and still pending."""

    def run(point: tuple[str, Script, type[Door], bool]) -> None:
        name, script, kind, tls = point
        with way(script, kind) as (rufus, door):
            url = f"https://127.0.0.1:{door.port}/v0" if tls else door.url()
            trial = Trial(tmp_path, rufus, forge, timeout=30.0, api={"url": url})
            stops(family, name, trial, lambda: trial.entry().get("phase") == "sending")

    points = [
        ("connecting", silent, Hole, False),
        ("in the handshake", silent, Door, True),
        ("in silence", silent, Door, False),
        ("in a drip", sends(OK, b"X", 0.05), Door, False),
    ]
    family.each(points, run)


def test_a_stop_while_a_name_server_hangs(tmp_path: Path, apart: Apart, family: Family) -> None:
    """The same while a name is looked up, which nothing can interrupt."""
    apart.zone["hangs.test"] = "nothing"
    with Sandbox() as rufus:
        trial = Trial(tmp_path, rufus, apart.forge, timeout=30.0, api={"url": "https://hangs.test/v0"})
        stops(family, "a name server", trial, lambda: trial.entry().get("phase") == "sending")


# -- redirects


def test_redirects(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Redirects to a page that answers 200: never followed."""

    def run(point: tuple[int, str, float]) -> None:
        code, where, quiet = point
        with Server(says(answer(b"{}"))) as page:
            moved = status(code, b"", "Location: " + where.format(port=page.port))
            with way(moved) as (rufus, door):
                trial = Trial(tmp_path, rufus, forge, api={"url": door.url()}, quiet=quiet)
                recovers(family, point, trial, stated(PAGE, code), door.mend)
        family.check(point, tried=0, wrong="it was followed" if page.connections else "")

    places = ("http://127.0.0.1:{port}/login", "//127.0.0.1:{port}/", "/login")
    family.each([(code, where, quiet) for code in REDIRECTS for where in places for quiet in (0.0, 0.2)], run)


# -- the answer lost after RUFUS has acted


def unheard(fault: Script, rufus_port: int) -> Script:
    """A script: RUFUS acts on the call, and the one who made it gets this fault in place of the answer."""

    def script(peer: Peer) -> None:
        read, requests = peer.request, []

        def request() -> bytes:
            requests.append(read())
            acted(rufus_port, requests[-1])
            return requests[-1]

        peer.request = request  # type: ignore[method-assign]
        fault(peer)
        if not requests:  # it hung up at the first byte
            peer.reset()

    return script


def first(fault: Script, right: Script, only: str = "PATCH") -> Script:
    """A script: the fault for calls of one kind."""

    def script(peer: Peer) -> None:
        start = peer.sock.recv(len(only), socket.MSG_PEEK).decode()
        (fault if start.startswith(only) else right)(peer)

    return script


LOST = [
    Fault("the end", says(b""), BROKE),
    Fault("reset in the body", then_resets(OK + b'Content-Length: 99\r\n\r\n{"descr'), BROKE),
    Fault("no byte", then_silent(b""), LATE, timeout=SLOW),
    Fault("a byte now and then", sends(OK, b"X", 0.05), LATE, timeout=SLOW),
    Fault("an endless body", sends(OK + b"\r\n", b" " * 100, 0), TOO_MUCH),
    Fault("a Content-Length that is too short", says(OK + b"Content-Length: 9\r\n\r\n" + CLOSED.encode()), ODD_200),
    Fault("502", status(502, b"<html>"), stated(OWN, 502)),
    Fault("302", status(302, b"", "Location: /login"), stated(PAGE, 302)),
    Fault("a portal", echoes("<html>Please log in"), stated(PAGE, 200)),
]  # fmt: skip


@pytest.mark.parametrize("again", [404, 409, 200])
def test_an_answer_lost(tmp_path: Path, forge: Forge, family: Family, again: int) -> None:
    """RUFUS has acted, and its answer is lost; closing again answers 404."""
    family.name = family.name.replace("404", str(again))

    def run(point: tuple[Fault, float]) -> None:
        fault, quiet = point
        with Sandbox() as rufus:
            rufus.closed_again = again
            port = int(rufus.url[:-3].rpartition(":")[2])
            # With a wait, the read before each further call finds it out, so only the close's own answer is lost.
            lost = unheard(fault.script, port)
            with Door(first(lost, to(port)) if quiet else lost, to(port)) as door:
                api = {"url": door.url()}
                trial = Trial(tmp_path, rufus, forge, quiet=quiet, timeout=fault.timeout, unheard=True, api=api)
                if not quiet:
                    recovers(family, fault, trial, fault.says, door.mend, attempts=1)
                    return
                with trial:
                    trial.press()
                    took = trial.closes(within=STEP + quiet + 2 * fault.timeout + MARGIN)
                    trial.station.stop()
                    logged = [words for words in fault.says if words not in trial.station.logged()]
                    calls = [call.method for call in rufus.calls].count("PATCH")
                    wrong = (
                        f"not logged: {logged}" if logged else trial.effects or ("called again" if calls > 1 else "")
                    )
                    family.check(fault, lost=took is None, wrong=wrong)

    family.each([(fault, quiet) for fault in LOST for quiet in (0.0, 0.1)], run)


def test_an_answer_lost_to_who_may_not_read(tmp_path: Path, forge: Forge, family: Family) -> None:
    """The same with a WRITE key: not claimed, said, and ended by a person."""

    def run(point: tuple[int, float]) -> None:
        again, quiet = point
        with Sandbox() as rufus:
            rufus.closed_again = again
            port = int(rufus.url[:-3].rpartition(":")[2])
            with Door(first(unheard(says(b""), port), to(port)), to(port)) as door:
                api = {"url": door.url()}
                trial = Trial(tmp_path, rufus, forge, permission="WRITE", quiet=quiet, unheard=True, api=api)
                with trial:
                    trial.press()
                    until(lambda: not rufus.session(trial.token).active)
                    door.mend()
                    until(lambda: trial.entry().get("phase") == "refused")
                    finds(trial, again, point)

    def finds(trial: Trial, again: int, point: tuple[int, float]) -> None:
        error = trial.entry()["last_error"]
        says = (
            f"RUFUS refused ({again})",
            "an earlier call's answer was lost, so it may be closed already",
            f"look in RUFUS, and where it is, `sudo rufusd withdraw {trial.token}` ends this",
        )
        wrong = trial.complaint(says, error)
        told = trial.ask("status")
        wrong = wrong or ("" if error in told else f"status says {told!r}")
        false = "closed" in trial.station.read()
        trial.ask("withdraw", trial.token)
        until(lambda: trial.station.records("withdrawn") == [trial.token])
        until(lambda: not trial.station.view()["closes"])
        trial.station.stop()
        family.check(point, false=false, wrong=wrong or trial.effects)

    family.each([(again, quiet) for again in (404, 409) for quiet in (0.0, 0.2)], run)


# -- answers of RUFUS that are short


def test_short_answers(tmp_path: Path, forge: Forge, family: Family) -> None:
    """RUFUS acts, and says so as documented, or in fewer words: delivered, after a look at the session if need be."""
    forms = {
        "204, and a look": lambda _: b"HTTP/1.1 204 No Content\r\n\r\n",
        "empty, and a look": lambda _: answer(b""),
        "{}, and a look": lambda _: answer(b"{}"),
        "lower case": lambda token: answer((CLOSED % token.lower()).encode()),
        "upper case": lambda token: answer((CLOSED % token.upper()).encode()),
        "the older pages' sample": lambda token: answer((CLOSED % token).replace(",", "").encode()),
        "in the newer envelope": lambda token: answer(b'{"body": %s}' % (CLOSED % token).encode()),
        "words, and a look": lambda token: answer(f"closed {token.lower()}".encode()),
    }  # fmt: skip

    def run(form: str) -> None:
        with Sandbox() as rufus:
            port = int(rufus.url[:-3].rpartition(":")[2])

            def script(peer: Peer) -> None:
                acted(port, peer.request())
                peer.send(forms[form](trial.token))

            with Door(first(script, to(port)), to(port)) as door:
                trial = Trial(tmp_path, rufus, forge, api={"url": door.url()})
                delivers(family, form, trial)

    family.each(list(forms), run)


# -- TLS

UNTRUSTED = "127.0.0.1 cannot be trusted: its certificate "
TRUST = {
    "another name": (UNTRUSTED + "is for another name", "use another network, or check api.url"),
    "self-signed": (UNTRUSTED + "is not from a known authority", "use another network, or api.ca_file"),
    "unknown authority": (UNTRUSTED + "is not from a known authority", "use another network, or api.ca_file"),
    "expired": (UNTRUSTED + "has expired, or this machine's clock is wrong", "check the date with `timedatectl`"),
    "not yet valid": (
        UNTRUSTED + "is not yet valid: this machine's clock is wrong",
        "connect it to a network that sets the clock",
    ),
    "old TLS": ("does not speak TLS 1.2 or newer", "use another network, or check api.url and any proxy"),
}


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who vouches for the good certificates."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the stations trust."""
    path = str(tmp_path_factory.mktemp("authority") / "ca.pem")
    authority.cert_pem.write_to_path(path)
    return path


@pytest.mark.parametrize("permission", ["READ_WRITE", "WRITE"])
def test_certificates(
    tmp_path: Path, forge: Forge, family: Family, authority: trustme.CA, ca_file: str, permission: str
) -> None:
    """A server that cannot be RUFUS, by its certificate or its age: not called, until it can."""
    family.name += f", with a {permission} key"
    quiet = 0.2 if permission == "WRITE" else 0.0
    good = tls_context(authority)
    keys = rotated(KEYS)

    def run(point: tuple[str, str]) -> None:
        fault, key = point
        with way(says(answer(b"{}")), tls=tls_context(authority, fault), right_tls=good) as (rufus, door):
            api = {"url": door.url(), "ca_file": ca_file}
            trial = Trial(tmp_path, rufus, forge, key, permission, quiet, api=api)

            def mend() -> None:
                family.check(fault, tried=0, wrong=keyless(door))
                door.mend()

            recovers(family, fault, trial, TRUST[fault], mend)

    family.each([(fault, next(keys)) for fault in FAULTS], run)


def test_no_tls_at_all(tmp_path: Path, forge: Forge, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """Something else than TLS where TLS should be: not called."""
    good = tls_context(authority)
    not_tls = ("no secure connection to 127.0.0.1", "use another network, or check api.url and any proxy")
    blocked = ("the connection to 127.0.0.1 broke before the call was sent", "the network blocks it: use another")
    faults = [
        Fault("plain HTTP", lambda peer: peer.send(answer(b"{}")), not_tls),
        Fault("a portal", lambda peer: peer.send(answer(b"<html>")), not_tls),
        Fault("SSH", lambda peer: peer.send(b"SSH-2.0-OpenSSH_9.2\r\n"), not_tls),
        Fault("a reset", resets, blocked),
        Fault("an end", lambda peer: peer.sock.recv(1) and None, blocked),
        Fault("nothing", silent, LATE, timeout=SLOW),
        Fault(
            "a byte now and then", lambda peer: peer.drip(b"\x16\x03\x03\x40\x00" + b"\x00" * 99), LATE, timeout=SLOW
        ),
    ]

    def run(fault: Fault) -> None:
        with way(silent, tls=good) as (rufus, behind), Door(fault.script, tls_to(behind.port)) as door:
            behind.mend()
            api = {"url": f"https://127.0.0.1:{door.port}/v0", "ca_file": ca_file}
            trial = Trial(tmp_path, rufus, forge, timeout=fault.timeout, api=api)

            def mend() -> None:
                family.check(fault, tried=0, wrong=keyless(door))
                door.mend()

            recovers(family, fault, trial, fault.says, mend)

    family.each(faults, run)


def tls_to(port: int) -> Script:
    """A script: carry whatever comes, unseen, to a port of this machine."""

    def script(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as far:
            relay(peer.sock, far)

    return script


def test_a_clock_that_says_1970(tmp_path: Path, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """The clock says 1970, so that no certificate is valid yet; then it is set."""
    shift = tmp_path / "shift"
    env = {"LD_PRELOAD": str(compiled(FOLDER / "wallclock.c", tmp_path)), "WALL_SHIFT": str(shift)}

    def run(seconds: int) -> None:
        shift.write_text(f"{seconds}\n")
        with way(to(0), tls=tls_context(authority)) as (rufus, door):
            door.mend()
            api = {"url": door.url(), "ca_file": ca_file}
            trial = Trial(tmp_path, rufus, Fresh(), api=api, env=env)
            recovers(family, seconds, trial, TRUST["not yet valid"], lambda: shift.write_text("0\n"))
            confirmed = json.loads((trial.station.state / "closed" / f"{trial.token}.json").read_text())["confirmed_at"]
            family.check(seconds, tried=0, wrong="" if confirmed.startswith("1970") else f"confirmed at {confirmed}")

    run(-int(time.time()) + 60)


# -- proxies


PASSWORD = ("the proxy 127.0.0.1 wants a user and a password (407)", "put them into api.proxy")


def wants_password(peer: Peer) -> None:
    """A script: a proxy that carries only who has its password."""
    peer.sock.recv(65536, socket.MSG_PEEK)
    right = b"Proxy-Authorization: Basic " + base64.b64encode(b"venue:p@ss w0rd")
    if right in peer.sock.recv(65536, socket.MSG_PEEK):
        tunnel(peer)
    else:
        status(407, b"<html>", 'Proxy-Authenticate: Basic realm="venue"')(peer)


def pretends(context: Any) -> Script:
    """A script: a proxy that says that it has connected, and plays RUFUS itself."""

    def script(peer: Peer) -> None:
        peer.request()
        connected = b"HTTP/1.1 200 Connection established\r\n\r\n"
        if context is None:
            peer.send(connected + answer(b"{}"))
            return
        peer.send(connected)
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        says(answer(b"{}"))(peer)

    return script


def test_proxies(tmp_path: Path, forge: Forge, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """Proxies that refuse, hang and lie, and then work: they never see the key."""
    refuses = ("the proxy 127.0.0.1 does not let the call through", "check api.proxy")
    trouble = ("the proxy 127.0.0.1 could not reach localhost", "where this stays, ask who runs the proxy")
    late = ("localhost did not answer within 0.3 s", GOES_ON)
    untrusted = ("localhost cannot be trusted: its certificate is not from a known authority", "use another network")
    broke = (
        "the connection to localhost broke before the call was sent",
        "the proxy 127.0.0.1 or the network blocks it: use another",
    )
    faults = [
        Fault("works", tunnel, ()),
        *(Fault(f"{code}", status(code, b"<html>"), (*refuses, f"({code})")) for code in (301, 302, 403)),
        *(Fault(f"{code}", status(code, b"<html>"), (*trouble, f"({code})")) for code in (502, 503)),
        Fault("407", status(407, b""), PASSWORD),
        Fault("hangs", silent, late, timeout=SLOW),
        Fault("a byte now and then", sends(OK, b"X", 0.05), late, timeout=SLOW),
        Fault("hangs up", says(b""), refuses),
        Fault("resets", resets, refuses),
        Fault("another protocol", says(b"SSH-2.0-OpenSSH_9.2\r\n"), refuses),
        Fault("hangs in the tunnel", then_silent(b"HTTP/1.1 200 OK\r\n\r\n"), late, timeout=SLOW),
        Fault("answers itself", pretends(None), broke),
        Fault("lies with a certificate", pretends(tls_context(authority, "unknown authority")), untrusted),
        Fault("a page in place of a tunnel", status(200, b"<html>Log in"), broke),
    ]  # fmt: skip

    def run(fault: Fault) -> None:
        with way(silent, tls=tls_context(authority)) as (rufus, behind), Door(fault.script, tunnel) as proxy:
            behind.mend()
            api = {"url": behind.url("localhost"), "ca_file": ca_file, "proxy": f"http://127.0.0.1:{proxy.port}"}
            trial = Trial(tmp_path, rufus, forge, timeout=fault.timeout, api=api)
            if fault.says:
                recovers(family, fault, trial, fault.says, proxy.mend)
            else:
                delivers(family, fault, trial)
            family.check(fault, tried=0, wrong=seen(proxy))

    family.each(faults, run)


def test_a_proxy_with_a_password(
    tmp_path: Path, forge: Forge, family: Family, authority: trustme.CA, ca_file: str
) -> None:
    """A proxy that wants a password; a technician puts it into api.proxy and reloads."""
    with way(silent, tls=tls_context(authority)) as (rufus, behind), Server(wants_password) as proxy:
        behind.mend()
        api = {"url": behind.url("localhost"), "ca_file": ca_file, "proxy": f"http://127.0.0.1:{proxy.port}"}
        trial = Trial(tmp_path, rufus, forge, step=60.0, first=60.0, api=api)

        def mend() -> None:
            trial.station.configure(api={"proxy": f"http://venue:p%40ss%20w0rd@127.0.0.1:{proxy.port}"})
            trial.station.send(signal.SIGHUP)

        recovers(family, "407", trial, PASSWORD, mend, attempts=1, within=MARGIN)
        shown = trial.station.logged() + trial.said.decode()
        family.check("its password", tried=0, wrong=seen(proxy) or ("it shows" if "w0rd" in shown else ""))


def seen(proxy: Server) -> str:
    """What is wrong if a proxy has seen the key, or more of the call than the host."""
    came = b"".join(proxy.requests)
    return "the proxy saw the call" if traces(came) or b"api_key" in came or b"sessions" in came else ""


def delivers(family: Family, point: object, trial: Trial) -> None:
    """One point: what looks like a fault is none, and the close is delivered."""
    with trial:
        trial.press()
        took = trial.closes(within=trial.timeout + trial.quiet + MARGIN)
        time.sleep(3 * STEP)  # in which a second call would come, if one did
        trial.station.stop()
        closed = not trial.rufus.session(trial.token).active
        wrong = trial.effects or ("the key shows" if trial.leaks() else "")
        family.check(point, lost=took is None, false=took is not None and not closed, wrong=wrong)


# -- a network of its own


@contextlib.contextmanager
def far(
    apart: Apart, authority: trustme.CA, *names: str, at: tuple[str, int] = (FAR, 0)
) -> Iterator[tuple[Sandbox, Door]]:
    """RUFUS on the far side, by TLS with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    with contextlib.ExitStack() as stack:
        with apart.on_far():
            rufus = stack.enter_context(Sandbox())
            port = int(rufus.url[:-3].rpartition(":")[2])
            door = stack.enter_context(Door(to(port), to(port), tls=context, at=at))
        yield rufus, door


def test_a_filter(tmp_path: Path, apart: Apart, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """A firewall that swallows, refuses or forbids the connection."""
    unreachable = ("no way to", "check the cable or the Wi-Fi")
    faults = {
        "swallowed": ("nothing answers at", "check that this network leads to the internet, then api.url"),
        "refused": ("refuses connections at port", "check api.url, and whether this network lets it through"),
        "forbidden": unreachable,
    }

    def run(point: tuple[str, str, float]) -> None:
        how, says_by, quiet = point
        host = f"{how}{int(quiet)}.{says_by}.test"
        apart.zone[host] = says_by
        with far(apart, authority, host) as (rufus, door):
            apart.block(how, door.port)
            api = {"url": door.url(host), "ca_file": ca_file}
            trial = Trial(tmp_path, rufus, apart.forge, api=api, timeout=0.6, quiet=quiet / 10)
            recovers(family, point, trial, faults[how], lambda: apart.unblock(how, door.port))

    points = [(how, by, quiet) for how in faults for by in ("right", "both") for quiet in (0.0, 2.0)]
    # An ICMPv6 refusal did not end a connect on the kernel that this was written on, so there it is as if swallowed.
    family.each([point for point in points if point[:2] != ("forbidden", "both")], run)


def test_a_dead_ipv6(tmp_path: Path, apart: Apart, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """IPv6 that swallows packets, or refuses them, while IPv4 works: delivered at the first attempt."""

    def run(how: str) -> None:
        host = f"dual.{how}.test"
        apart.zone[host] = "both"
        with far(apart, authority, host) as (rufus, door):
            if how == "swallowed6":
                apart.block(how, door.port)
            api = {"url": door.url(host), "ca_file": ca_file}
            trial = Trial(tmp_path, rufus, apart.forge, api=api, timeout=6.0)
            began = time.monotonic()
            delivers(family, how, trial)
            took = time.monotonic() - began - 3 * STEP
            tried = how != "swallowed6" or took > trial.timeout / 2
            failed = "not closed yet" in trial.station.logged()
            family.check(how, tried=0, wrong="" if tried and not failed else f"it took {took} s, failed: {failed}")

    family.each(["swallowed6", "refused6"], run)  # nothing listens at the second


def test_names(tmp_path: Path, apart: Apart, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """Name servers that fail, hang, answer rubbish, or lie."""
    unknown = (
        "cannot find",
        "no network, no name server, or no such name",
        "check the cable or the Wi-Fi, then api.url",
    )

    def run(fault: str) -> None:
        host = f"rufus.{fault}.test".lower()
        apart.zone[host] = fault
        with far(apart, authority, host) as (rufus, door):
            trial = Trial(tmp_path, rufus, apart.forge, api={"url": door.url(host), "ca_file": ca_file})
            # glibc asks twice, for 2 s each, and cannot be interrupted: so long a call may be under way.
            trial.timeout = 5.0 if fault in ("nothing", "rubbish") else trial.timeout
            recovers(family, fault, trial, unknown, lambda: apart.zone.update({host: "right"}), attempts=1)

    family.each(["nothing", "rubbish", "SERVFAIL", "NXDOMAIN", "REFUSED", "empty"], run)


def test_a_name_that_leads_elsewhere(
    tmp_path: Path, apart: Apart, family: Family, authority: trustme.CA, ca_file: str
) -> None:
    """A name server that leads to somebody else: not called."""
    host = "rufus.elsewhere.test"
    apart.zone[host] = "elsewhere"
    with (
        far(apart, authority, host) as (rufus, door),
        far(apart, trustme.CA(), host, at=(ELSEWHERE, door.port)) as (_, lies),
    ):
        trial = Trial(tmp_path, rufus, apart.forge, api={"url": door.url(host), "ca_file": ca_file})
        words = ("cannot be trusted: its certificate is not from a known authority", "use another network")
        recovers(family, host, trial, words, lambda: apart.zone.update({host: "right"}))
        family.check(host, tried=0, wrong=keyless(lies) or ("" if lies.connections else "it was not led there"))


def test_the_cable(tmp_path: Path, apart: Apart, family: Family, authority: trustme.CA, ca_file: str) -> None:
    """The cable is pulled and put back, the route is lost and found: delivered at once, however long the backoff."""
    cable = ("check the cable or the Wi-Fi",)
    link = ("ip", "link", "set", "near")
    address = ("ip", "address", "add", f"{HERE}/24", "dev", "near")
    ways = {
        "the link": ([(*link, "down")], [(*link, "up")]),
        "the address": ([("ip", "address", "flush", "dev", "near")], [address]),
        "the route": (
            [("ip", "route", "del", "198.51.100.0/24", "dev", "near")],
            [("ip", "route", "add", "198.51.100.0/24", "dev", "near")],
        ),
    }
    apart.zone["cable.test"] = "right"
    for name, (breaks, mends) in ways.items():
        for host in (FAR, "cable.test"):
            with far(apart, authority, host) as (rufus, door):
                words = (f"no way to {FAR}", *cable) if host == FAR else (f"cannot find {host}", *cable)
                trial = Trial(
                    tmp_path, rufus, apart.forge, api={"url": door.url(host), "ca_file": ca_file}, step=60.0, first=60.0
                )
                for command in breaks:
                    apart.near(*command)

                def mend(mends: list[tuple[str, ...]] = mends) -> None:
                    for command in mends:
                        apart.near(*command)

                recovers(family, (name, host), trial, words, mend, attempts=1, within=MARGIN)
                apart.settles()


def test_nobody_on_the_network_sees_the_key(
    tmp_path: Path, apart: Apart, family: Family, authority: trustme.CA, ca_file: str
) -> None:
    """Every packet of a station, delivered after an outage: the key is in none."""
    host = "watched.test"
    apart.zone[host] = "right"
    with apart.watched() as packets, far(apart, authority, host) as (rufus, door):
        apart.block("swallowed", door.port)
        trial = Trial(tmp_path, rufus, apart.forge, api={"url": door.url(host), "ca_file": ca_file}, timeout=0.5)
        recovers(family, host, trial, ("nothing answers",), lambda: apart.unblock("swallowed", door.port))
    shows = traces(bytes(packets))
    seen_at_all = host.encode() in packets  # TLS names the host in clear
    family.check(host, tried=0, wrong=f"the key shows: {shows}" if shows else "" if seen_at_all else "nothing was seen")
