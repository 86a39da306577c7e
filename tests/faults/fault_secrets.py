"""The account's key, in every awkward shape, through every path: it shows nowhere, and goes to RUFUS only (promise 6).

Each key has the same core, so whatever quotes, cuts, escapes or encodes a key, a part of the core comes through, and is
looked for: in what the daemon and each command say and write, what the system's log is told, what others see of them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

from apart import FAR, Apart
from families import Family
from forked import Forge
from servers import Server, answer, says
from stations import Fresh, Station, until
from venue import CORE, KEYS, MARGIN, Door, Trial, keyless, recovers, rotated, to, traces

from rufusd.training.sandbox import Sandbox

OK = b"HTTP/1.1 200 OK\r\n"

#: Keys that the configuration refuses, and the words by which it does.
REFUSED = {
    "non-Latin": (f"ror-Łódź{CORE}", "U+0141 (LATIN CAPITAL LETTER L WITH STROKE), at place 5"),
    "Latin-1": (f"{CORE}é", "U+00E9 (LATIN SMALL LETTER E WITH ACUTE), at place 21"),
    "emoji": (f"\U0001f511{CORE}", "at place 1"),
    "space": (f"ror-{CORE} {CORE}", "U+0020 (SPACE), which cannot be seen, at place 25"),
    "line break": (f"ror-{CORE}\n{CORE}", "U+000A (LINE FEED), which cannot be seen"),
    "leading line break": (f"\nror-{CORE}", "at place 1"),
    "tab": (f"\tror-{CORE}", "at place 1"),
    "NUL": (f"ror-{CORE}\0", "U+0000 (NUL), which cannot be seen"),
    "mark": (f"\ufeffror-{CORE}", "at place 1"),
    "too long": (CORE * 205, "is 4100 characters long; expected at most 4096"),
    "placeholder": (f"ror-xxxxxxxx{CORE}", "this is still a placeholder"),
    "angle brackets": (f"<{CORE}>", "this is still a placeholder"),
    "header": (f"{CORE}\r\nX: {CORE}", "U+000D (CARRIAGE RETURN), which cannot be seen"),
}
AROUND = ("leading line break", "tab", "mark")  # of these: what is no part of a key that stands in a file of its own

#: Where a server may put the key that it was sent.
ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "body": lambda key: answer(key),
    "JSON": lambda key: answer(json.dumps({"error": f"bad key {key.decode()}"}).encode(), "403 Forbidden"),
    "description": lambda key: answer(json.dumps({"description": key.decode()}).encode(), "404 Not Found"),
    "page": lambda key: answer(b"<html>" + key, "502 Bad Gateway"),
    "reason": lambda key: b"HTTP/1.1 403 " + key + b"\r\nContent-Length: 0\r\n\r\n",
    "status line": lambda key: key + b"\r\n\r\n",
    "header": lambda key: b"HTTP/1.1 500 No\r\nX: " + key + b"\r\nContent-Length: 0\r\n\r\n",
    "malformed header": lambda key: b"HTTP/1.1 500 No\r\nX: x\r\n" + key + b"\r\nContent-Length: 0\r\n\r\n",
    "header's name": lambda key: b"HTTP/1.1 500 No\r\n\x00" + key + b" : x\r\nContent-Length: 0\r\n\r\n",
    "cookie": lambda key: answer(b"", "401 No", f"Set-Cookie: {key.decode()}={key.decode()}; expires={key.decode()}"),
    "location": lambda key: answer(b"", "302 Found", f"Location: http://[{key.decode()}"),
    "encoding": lambda key: OK + b"Content-Encoding: " + key + b"\r\n\r\nno",
    "transfer": lambda key: OK + b"Transfer-Encoding: chunked, " + key + b"\r\n\r\nno",
    "length": lambda key: OK + b"Content-Length: 1, " + key + b"\r\n\r\nno",
    "chunk": lambda key: OK + b"Transfer-Encoding: chunked\r\n\r\n" + key + b"\r\n{}",
    "wait": lambda key: answer(b"", "503 No", f"Retry-After: {key.decode()}", f"Date: {key.decode()}"),
}


def test_the_search_finds_what_it_looks_for() -> None:
    """A key that is cut, quoted, escaped or encoded is found; a log without one is not suspected."""
    for key in KEYS.values():
        raw = key.encode()
        forms = [
            raw,
            repr(key).encode(),
            json.dumps(key).encode(),
            quote(key).encode(),
            raw[:30],
            raw[-30:],
            raw.hex().encode(),
        ]
        forms += [base64.b64encode(b"x" * shift + raw) for shift in range(3)] + [
            key.encode("utf-16"),
            ascii(raw).encode(),
        ]
        assert [form for form in forms if not traces(b"before " + form + b" behind")] == []
    assert traces(b"rufusd: not closed yet: ror-\xe2\x80\xa6 token=" + b"6E05" * 16) == []


def test_keys_that_come_back(tmp_path: Path, forge: Forge, family: Family) -> None:
    """A server that repeats the key wherever an answer has room for it."""
    keys = rotated(KEYS)

    def run(point: tuple[str, str]) -> None:
        where, key = point
        with Sandbox() as rufus, Door(says(ECHOES[where](key.encode())), to(port(rufus))) as door:
            trial = Trial(tmp_path, rufus, forge, key, timeout=0.5, api={"url": door.url()})

            def mend() -> None:
                for command in (("status",), ("status", "--json"), ("retry",), ("check",)):
                    trial.said += said(trial.station, *command)
                trial.station.send(signal.SIGHUP)
                door.mend()

            # What there is to say is shown elsewhere; here, that there is something, and no key in it.
            recovers(family, point, trial, (), mend, slow=True, attempts=1)
            sent = b"".join(door.requests)
            family.check(point, tried=0, wrong="" if key.encode() in sent else "the key was not sent at all")

    family.each([(where, next(keys)) for where in ECHOES for _ in range(2)], run)


def test_every_key_by_every_way_of_giving_it(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Every shape of key, in the configuration, in a file with and without line ends, in a credential: it works."""

    def run(point: tuple[str, str, bool]) -> None:
        name, way, own = point
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, Fresh() if own else forge, KEYS[name])
            give(trial, KEYS[name], way)
            with trial:
                for command in (("check",), ("status",), ("retry",)):
                    trial.said += said(trial.station, *command, env=trial.env)
                trial.press()
                if own:
                    trial.said += trial.processes()
                took = trial.closes(within=MARGIN)
                trial.said += said(trial.station, "status", "--json", env=trial.env)
                trial.station.stop()
                used = {call.key for call in rufus.calls}
                wrong = f"the key shows: {found[0]!r}" if (found := trial.leaks()) else ""
                family.check(point, lost=took is None, wrong=wrong or ("" if used == {KEYS[name]} else "another key"))

    ways = ("inline", "file", "file\n", "file\r\n", "credential")
    points = [(name, way, False) for name in KEYS for way in ways]
    # Of a fork, others see what they see of the program that forked it; so some are started from nothing.
    family.each(points + [("usual", way, True) for way in ways], run)


def test_keys_that_are_refused(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Keys that the configuration refuses: by every command, at the start and at a reload, without showing them."""

    def run(point: tuple[str, str]) -> None:
        name, way = point
        key, words = REFUSED[name]
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge)
            with trial:
                trial.station.start("17 high", env=trial.env)
                trial.station.shows("armed")
                give(trial, key, way)
                wrong = ""
                for command, expected in (
                    ("check", 78),
                    ("run", 78),
                    ("simulate", 78),
                    ("status", 0),
                    ("close", 0),
                    ("retry", 0),
                ):
                    ran = trial.station.command(command, env=trial.env)
                    trial.said += (ran.stdout + ran.stderr).encode()
                    if ran.returncode != expected:
                        wrong = f"{command} ends with {ran.returncode}"
                    if expected and words not in ran.stderr:
                        wrong = f"{command} does not say {words!r}: {ran.stderr!r}"
                if way != "credential":  # which a daemon that was started without has not
                    trial.station.send(signal.SIGHUP)
                    until(lambda: "the old one stays in force" in trial.station.logged())
                # By the configuration that is in force still. That the file is wrong stays shown, in place of "closed".
                until(lambda: trial.station.records("closed") == [trial.token])
                trial.said += said(trial.station, "status") + said(trial.station, "status", "--json")
                trial.station.stop()
                trial.said += said(trial.station, "retry", env=trial.env)
                if found := trial.leaks():
                    wrong = f"the key shows: {found[0]!r}"
                family.check(point, lost=rufus.session(trial.token).active, wrong=wrong)

    points = [(name, way) for name in REFUSED for way in ("inline", "file", "credential")]
    points = [(name, way) for name, way in points if name not in AROUND or way == "inline"]
    family.each([(name, way) for name, way in points if name != "NUL" or way != "inline"], run)


def test_what_an_editor_puts_around_a_key(tmp_path: Path, forge: Forge, family: Family) -> None:
    """A mark, blanks and line ends around a key in a file of its own are no part of it: it works."""

    def run(point: tuple[str, str]) -> None:
        name, way = point
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge, f"ror-{CORE}")
            give(trial, f"{REFUSED[name][0]} \r\n", way)
            with trial:
                trial.press()
                took = trial.closes(within=MARGIN)
                trial.station.stop()
                family.check(point, lost=took is None, wrong="the key shows" if trial.leaks() else "")

    family.each([(name, way) for name in AROUND for way in ("file", "credential")], run)


def test_keys_in_the_wrong_place(tmp_path: Path, forge: Forge, family: Family) -> None:
    """A key in a line that is broken, or where another value belongs: the error does not repeat it."""
    token = "6E05" * 16

    def run(point: tuple[str, str, str]) -> None:
        name, key, line = point
        station = Station(tmp_path / f"{name}, {key}")
        station.launcher = forge
        text = line.replace("{}", KEYS[key])
        station.config.write_text(text + f'\n[session]\ntoken = "{token}"\n', encoding="utf-8")
        shown, wrong = b"", ""
        for command in ("check", "run", "status", "close", "retry"):
            ran = station.command(command)
            shown += (ran.stdout + ran.stderr).encode()
            if command in ("check", "run") and ran.returncode != 78:
                wrong = f"{command} ends with {ran.returncode}"
        if found := traces(shown):
            wrong = f"the key shows: {found[0]!r}"
        family.check(point, wrong=wrong)

    wrong_lines = {
        "no quotes": "[api]\nkey = {}",
        "no end": '[api]\nkey = "{}',
        "quotes in it": '[api]\nkey = "{}"{}"',
        "curly quotes": "[api]\nkey = “{}”",
        "no equals sign": "[api]\nkey {}",
        "a colon": "[api]\nkey: {}",
        "twice": '[api]\nkey = "{}"\nkey = "{}"',
        "alone": "[api]\n{}",
        "as a list": '[api]\nkey = ["{}"]',
        "as a table": '[api.key]\nvalue = "{}"',
        "as the table": 'api = "{}"',
        "misspelt": '[api]\napi_key = "{}"',
        "with its file": '[api]\nkey = "{}"\nkey_file = "/nowhere"',
        "as the file": '[api]\nkey_file = "{}"',
        "bad escape": '[api]\nkey = "\\q{}"',
    }
    family.each([(name, key, line) for name, line in wrong_lines.items() for key in ("usual", "format", "long")], run)


# -- crashes by a defect


#: Where an exception may come from: a call, a judgement, the disk, the loop, the start.
PLACES = (
    "rufusd.adapters.rufus.requests.Request.prepare",
    "rufusd.adapters.rufus.Client.close",
    "rufusd.adapters.rufus.Client.__init__",
    "rufusd.core.delivery.judge_close",
    "rufusd.adapters.closes.spool.Spool.mark_closed",
    "rufusd.core.view.show",
    "rufusd.daemon.loop.Daemon.run",
)

#: A program with a defect: what fails does so with the key in its words, as `requests` does for a header, and as cause.
DEFECT = """
import sys
from pkgutil import resolve_name
from rufusd.adapters import rufus
from rufusd.commands import cli
from rufusd.daemon import loop
from requests.exceptions import InvalidHeader

def fails(*_, **__):
    try:
        int({words!r})
    except ValueError as error:
        raise InvalidHeader({words!r}) from error

place, name = {place!r}.rsplit(".", 1)
setattr(resolve_name(place), name, fails)
sys.exit(cli.main())
"""


class Defective(Fresh):
    """Starts what has a defect, on the near side of a network apart."""

    def __init__(self, apart: Apart, place: str, key: str) -> None:
        """`place`: the function that fails."""
        words = f"Invalid header value: {key!r}"
        self._program = ["nsenter", "-t", str(apart.forge.pid), "-n", "-m", sys.executable, "-c"]
        self._program.append(DEFECT.format(place=place, words=words))

    def start(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, **pipes: int) -> Any:
        """As for a station without one."""
        return super().start([*self._program, *arguments[3:]], env=env, **pipes)

    def run(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Any:
        """As for a command without one."""
        return super().run([*self._program, *arguments[3:]], env=env)


def test_crashes_by_a_defect(tmp_path: Path, apart: Apart, family: Family) -> None:
    """An exception with the key in its words, at any place: where the fault is is told, and not the words."""
    told = b""  # to the system's log
    logged: list[str] = []

    def run(point: tuple[str, str]) -> None:
        nonlocal told
        place, name = point
        key = KEYS[name]
        with apart.on(apart.forge.pid), Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, apart.forge, key, timeout=0.5)
            trial.station.command("close")
            trial.station.launcher = Defective(apart, place, key)
            trial.station.start("17 high")
            process = trial.station.process
            until(lambda: process.poll() is not None or trial.entry().get("last_error"))
            trial.station.stop()
            ran = trial.station.command("retry")
            trial.said += (ran.stdout + ran.stderr).encode()
            told += apart.heard()
            found = trial.leaks()
            family.check(point, wrong=f"the key shows: {found[0]!r}" if found else "")
            logged.append(trial.station.logged())

    for point in zip(PLACES, KEYS):
        run(point)
    found = traces(told)
    wrong = f"the key shows: {found[0]!r}" if found else ""
    for words in (b"InvalidHeader", b'File "<string>", line'):  # what it was and where, for who is to mend it
        for place, text in (("the system's log", told), ("the daemon's", "".join(logged).encode())):
            wrong = wrong or ("" if words in text else f"no {words!r} in {place}: {text!r}")
    family.check("the system's log", wrong=wrong)


# -- to nobody else


def test_a_key_in_clear_stays_on_this_machine(tmp_path: Path, apart: Apart, family: Family) -> None:
    """Plain HTTP is for this machine: no proxy elsewhere, and no name that leads elsewhere, gets the key."""
    with apart.watched() as packets, contextlib.ExitStack() as stack:
        with apart.on_far():
            other = stack.enter_context(Server(says(answer(b"{}")), at=(FAR, 0)))
        with apart.on(apart.forge.pid):
            rufus = stack.enter_context(Sandbox())
        direct = {"url": rufus.url, "proxy": f"http://{FAR}:{other.port}"}
        with Trial(tmp_path, rufus, apart.forge, KEYS["percent"], api=direct) as trial:
            for command in ("check", "run", "retry"):
                trial.station.command("close")
                ran = trial.station.command(command)
                refused = ran.returncode == 78 and "api.proxy: would be sent the key unencrypted" in ran.stderr
                family.check(("a proxy", command), wrong=keyless(other) or ("" if refused else ran.stderr))
        apart.hosts.write_text(f"{FAR} localhost\n")
        with apart.on(apart.forge.pid):
            rufus = stack.enter_context(Sandbox())
            door = stack.enter_context(Door(to(port(rufus)), to(port(rufus)), at=("127.0.0.1", other.port)))
        trial = Trial(tmp_path, rufus, apart.forge, KEYS["quotes"], api={"url": door.url("localhost")})
        words = ("localhost does not lead to this machine", "check /etc/hosts")
        recovers(family, "a name", trial, words, lambda: apart.hosts.write_text("127.0.0.1 localhost\n"))
        family.check("a name", tried=0, wrong=keyless(other))
        with apart.on(apart.forge.pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            control.sendto(b"a packet that is seen", (FAR, 9))
        until(lambda: b"a packet that is seen" in packets)
    found = traces(bytes(packets))
    family.check("the packets", tried=0, wrong=f"the key shows: {found[0]!r}" if found else "")


def test_no_address_elsewhere_is_taken_for_this_machine(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Plain HTTP to any other host, however it is spelt: the configuration is refused."""
    hosts = (
        *(
            "198.51.100.1",
            "rufus.example",
            "localhost.example",
            "127.0.0.1.example",
            "127.1",
            "2130706433",
            "0",
            "0.0.0.0",
        ),
        *("[::ffff:198.51.100.1]", "[::]", "127.0.0.1@198.51.100.1", "localhost:80@rufus.example", "l\u00f3calhost"),
        *(
            "0.0.0.0",
            "127.0.0.256",
            "127.0.0.1\\\\.rufus.example",
            "localhost.",
            "\uff4cocalhost",
            "127.0.0.1%2erufus.example",
        ),
    )

    def run(host: str) -> None:
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge, api={"url": f"http://{host}/v0"})
            for command in ("check", "run"):
                ran = trial.station.command(command)
                trial.said += (ran.stdout + ran.stderr).encode()
                refused = ran.returncode == 78 and "api.url" in ran.stderr
                family.check((host, command), wrong="" if refused else f"it is taken: {ran.stdout} {ran.stderr}")
            if found := trial.leaks():
                family.check(host, tried=0, wrong=f"the key shows: {found[0]!r}")

    family.each([*hosts], run)


def port(rufus: Sandbox) -> int:
    """Where a sandbox listens."""
    return int(rufus.url[:-3].rpartition(":")[2])


def said(station: Station, command: str, *more: str, env: Mapping[str, str] | None = None) -> bytes:
    """What a command says."""
    ran = station.command(command, *more, env=env)
    return (ran.stdout + ran.stderr).encode()


def give(trial: Trial, key: str, way: str) -> None:
    """Give the station its key in one of the ways that there are."""
    station = trial.station
    if way == "inline":
        station.configure(api={"key": key})
        return
    del station.tables["api"]["key"]
    if way == "credential":
        (station.folder / "api_key").write_bytes(key.encode())
        trial.env = {**trial.env, "CREDENTIALS_DIRECTORY": str(station.folder)}
        station.configure()
        return
    (station.folder / "key").write_bytes((key + way.removeprefix("file")).encode())
    station.configure(api={"key_file": str(station.folder / "key")})
