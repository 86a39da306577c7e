"""What the station is told, and should not believe: forged, stale, cut and foreign inputs, counted.

Each family gives it something false in the place of something true: an answer, a file, a name, a token, a process. A
session that is closed for it is a false close; a closed session that is not told of in the end is a lost one.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from families import Family
from forked import Forge
from servers import Peer, answer
from stations import READER, Station, until
from venue import Door, Script, Trial, to

from rufusd.training.sandbox import Sandbox

SAID = "Session closed succesfully"  # as RUFUS spells it
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")

#: Answers to a PATCH that do not say that our session is closed. TOKEN and OTHER stand for sessions' tokens.
WEAK = {
    "202 and nothing": answer(b"", "202 Accepted"),
    "200 and nothing": answer(b""),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "200 and a blank": answer(b" \r\n"),
    "an empty object": answer(b"{}"),
    "an empty list": answer(b"[]"),
    "null": answer(b"null"),
    "a number": answer(b"200"),
    "a text": answer(b'"closed"'),
    "an envelope of nothing": answer(b'{"body": null}'),
    "an envelope of an empty object": answer(b'{"body": {}}'),
    "an envelope of a text": answer(b'{"body": "closed TOKEN"}'),
    "an envelope with a status": answer(b'{"statusCode": 404, "body": {"description": "Session not found"}}'),
    "an envelope with a good status and our token": answer(b'{"statusCode": 200, "body": {"token_session": "TOKEN"}}'),
    "an envelope with an error": answer(
        b'{"errorMessage": "closed", "body": {"description": "Session closed", "token_session": "TOKEN"}}'
    ),
    "not found": answer(b'{"description": "Session not found", "token_session": "TOKEN"}'),
    "not found or closed": answer(b'{"description": "Session not found or closed", "token_session": "TOKEN"}'),
    "not closed": answer(b'{"description": "Session was not closed", "token_session": "TOKEN"}'),
    "cannot be closed": answer(b'{"description": "Session cannot be closed", "token_session": "TOKEN"}'),
    "a read's answer": answer(b'{"description": "Success", "result": []}'),
    "any description": answer(b'{"description": "ok"}'),
    "closed, and no token": answer(b'{"description": "Session closed succesfully"}'),
    "closed, and no token, in an envelope": answer(b'{"body": {"description": "Session closed succesfully"}}'),
    "closed, and another token": answer(b'{"description": "Session closed succesfully", "token_session": "OTHER"}'),
    "closed, and a longer token": answer(b'{"description": "Session closed succesfully", "token_session": "TOKENA"}'),
    "closed, and our token in a list": answer(
        b'{"description": "Session closed succesfully", "token_session": ["TOKEN"]}'
    ),
    "our token, and no word": answer(b'{"token_session": "TOKEN"}'),
    "our token in a text": answer(b"received TOKEN"),
    "our call, repeated": answer(b'{"path": "/v0/sessions/close/TOKEN", "message": "closed"}'),
    "a gateway's word": answer(b'{"message": "Internal server error"}'),
    "a page": answer(b"<html><body>Session closed succesfully TOKEN</body></html>"),
    "a page after a mark": answer(b"\xef\xbb\xbf<!doctype html><p>Session closed succesfully TOKEN"),
    "a page, compressed": answer(
        gzip.compress(b"<html>Session closed succesfully TOKEN"), "200 OK", "Content-Encoding: gzip"
    ),
    "nothing, compressed": answer(gzip.compress(b""), "200 OK", "Content-Encoding: gzip"),
    "rubbish that is called compressed": answer(b"Session closed succesfully", "200 OK", "Content-Encoding: gzip"),
    "something in a problem's form": answer(b'{"type": "about:blank", "title": "closed", "status": 404}'),
    "a redirect": answer(b"", "302 Found", "Location: /closed"),
    "207": answer(b'{"description": "multi"}', "207 Multi-Status"),
}

#: Answers that say it, in each of the ways that are documented.
STRONG = {
    "the older pages' form": answer(b'{"description": "Session closed succesfully", "token_session": "TOKEN"}'),
    "without its comma, as printed": answer(b'{"description": "Session closed succesfully" "token_session": "TOKEN"}'),
    "the newer form": answer(b'{"body": {"description": "Session closed succesfully", "token_session": "TOKEN"}}'),
    "spelt right": answer(b'{"description": "Session closed successfully", "token_session": "TOKEN"}'),
}

#: Refusals that are not in RUFUS's form: who puts one in RUFUS's place need not know anything of the session.
NOT_RUFUS = {
    f"{status} {name}": answer(body, f"{status} No")
    for status in (400, 401, 403, 404, 409, 410, 422)
    for name, body in {
        "a gateway's": b'{"message": "Forbidden"}',
        "a problem": b'{"type": "about:blank", "title": "Not Found"}',
        "nothing": b"",
        "a page": b"<html>no</html>",
    }.items()
}


def instead(method: bytes, data: bytes, trial: Trial) -> Script:
    """A script: these bytes for calls of this method, with tokens put in; RUFUS's own answers to all others."""
    port = int(trial.rufus.url.rpartition(":")[2].partition("/")[0])

    def script(peer: Peer) -> None:
        request = peer.request()
        if request.startswith(method):
            head, end, body = data.partition(b"\r\n\r\n")
            body = body.replace(b"TOKEN", trial.token.encode()).replace(b"OTHER", trial.other.encode())
            head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
            peer.send(head + end + body)
        else:
            with socket.create_connection(("127.0.0.1", port)) as far:
                far.sendall(request)
                while data_ := far.recv(65536):
                    peer.send(data_)

    return script


@contextlib.contextmanager
def behind(trial: Trial, method: bytes, data: bytes) -> Iterator[Door]:
    """A door to RUFUS that answers one method by itself, until it is mended."""
    port = int(trial.rufus.url.rpartition(":")[2].partition("/")[0])
    with Door(instead(method, data, trial), to(port)) as door:
        trial.station.configure(api={"url": door.url()})
        yield door


@pytest.mark.parametrize("quiet", [0.0, 0.2])
def test_answers_that_do_not_say_closed(tmp_path: Path, forge: Forge, family: Family, quiet: float) -> None:
    """A 2xx that does not say "closed" of our session: RUFUS is asked by a read, and it goes on."""
    family.name += f", with quiet = {quiet:g}"

    def run(name: str) -> None:
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge, quiet=quiet)
            with behind(trial, b"PATCH", WEAK[name]) as door, trial:
                trial.press()
                trial.suffers(2)
                claimed = bool(trial.station.records("closed"))
                wrong = "" if b"GET" in b"".join(door.requests) else "RUFUS was not asked"
                door.mend()
                took = trial.closes(within=30)
                closed = not rufus.session(trial.token).active
                family.check(name, lost=took is None, false=claimed or (took is not None and not closed), wrong=wrong)

    family.each(list(WEAK), run)


def test_answers_that_do_not_say_closed_to_a_key_that_may_not_read(
    tmp_path: Path, forge: Forge, family: Family
) -> None:
    """The same with a WRITE key, which can ask nobody: not claimed, and tried again."""

    def run(name: str) -> None:
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge, permission="WRITE")
            with behind(trial, b"PATCH", WEAK[name]) as door, trial:
                trial.press()
                trial.suffers(2)
                claimed = bool(trial.station.records("closed"))
                door.mend()
                took = trial.closes(within=30)
                closed = not rufus.session(trial.token).active
                family.check(name, lost=took is None, false=claimed or (took is not None and not closed))

    family.each(list(WEAK), run)


def test_answers_that_say_closed(tmp_path: Path, forge: Forge, family: Family) -> None:
    """What does say "closed" of our session, in each documented form: believed at once."""

    def run(name: str) -> None:
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge)
            with behind(trial, b"PATCH", STRONG[name]) as door, trial:
                trial.press()
                took = trial.closes(within=30)
                calls = sum(request.startswith(b"PATCH") for request in door.requests)
                family.check(name, lost=took is None, wrong="" if calls == 1 else f"called {calls} times")

    family.each(list(STRONG), run)


def test_refusals_that_are_not_rufuss(tmp_path: Path, forge: Forge, family: Family) -> None:
    """A refusal that is not in RUFUS's form: nobody is told to withdraw, and it is delivered in the end."""

    def run(name: str) -> None:
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge)
            with behind(trial, b"PATCH", NOT_RUFUS[name]) as door, trial:
                trial.press()
                shown = trial.suffers(2)["last_error"] or ""
                door.mend()
                took = trial.closes(within=30)
                family.check(name, lost=took is None, wrong=f"says {shown!r}" if "withdraw" in shown else "")

    family.each(list(NOT_RUFUS), run)


# -- the token changes, or what is told of the reader is of another time


def two_sessions(folder: Path, rufus: Sandbox, forge: Forge, arm_time: float = 0.3) -> tuple[Station, str, str]:
    """A station with a button and a reader, configured for session A; and both tokens."""
    first, second = (rufus.add_session(f"{name}-10K") for name in "AB")
    for token in (first, second):
        rufus.add_passing(token)
    station = Station(
        folder,
        api={"key": rufus.keys["READ_WRITE"], "url": rufus.url},
        session={"token": first, "name": "A-10K"},
        reader={**READER, "arm_time": arm_time},
        close={"grace": 0.05, "quiet": 0.05},
    )
    station.launcher = forge
    return station, first, second


def takes_up(station: Station, token: str) -> None:
    """Configure this session, and wait until the daemon has it."""
    station.configure(session={"token": token, "name": "B-10K"})
    station.send(signal.SIGHUP)
    until(lambda: station.view().get("session", {}).get("token") == token)


#: What was going on when the token changed: the pins then, what to wait for, and the pins after.
UNDER_WAY: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], object], tuple[str, ...]]] = {
    "the reader runs, not armed": (
        ("17 high", "22 high"),
        lambda view: view["reader"] == "running",
        ("22 low",),
    ),
    "the reader is armed": (("17 high", "22 high"), lambda view: view["reader"] == "armed", ("22 low",)),
    "the button is pressed": (("17 high", "22 low"), lambda view: view["button"] == "released", ("17 high",)),
}


@pytest.mark.parametrize("down", [False, True], ids=["reload", "restart"])
def test_a_token_that_changes(tmp_path: Path, forge: Forge, family: Family, down: bool) -> None:
    """Another session is configured while a trigger is on its way: neither is closed by what began before."""
    family.name += ", the daemon being down meanwhile" if down else ", and is reloaded"

    def run(stage: str) -> None:
        with Sandbox() as rufus:
            arm_time = 3.0 if "not armed" in stage else 0.3  # on a busy machine, too, it is seen before it is armed
            station, first, second = two_sessions(tmp_path / f"{stage}-{down}", rufus, forge, arm_time)
            pins, reached, after = UNDER_WAY[stage]
            station.start(*pins)
            try:
                until(lambda: reached({name: station.view()[name].get("state") for name in ("button", "reader")}))
                if "pressed" in stage:
                    station.tell("17 low")
                    station.shows("let_go")
                if down:
                    station.stop()
                    station.configure(session={"token": second, "name": "B-10K"})
                    held = ("17 low",) if "pressed" in stage else (pins[1],)
                    station.log = ""
                    station.start(*held, *(pins[:1] if "pressed" not in stage else pins[1:]))
                    until(lambda: station.view().get("session", {}).get("token") == second)
                else:
                    takes_up(station, second)
                # Long enough for a reader that still counted as armed to settle, by the product's own scans.
                station.tell(f"wait {arm_time + 0.2}", *after, "wait 1.5", "quit")
                assert station.process.wait(60) == 0
                closed = [name for name, token in (("A", first), ("B", second)) if not rufus.session(token).active]
                pending = station.records("pending")
                family.check(
                    (stage, down), false="B" in closed or second in pending, wrong=f"closed {closed}" * bool(closed)
                )
            finally:
                station.stop()

    family.each(list(UNDER_WAY), run)


#: What may lie where the daemon notes that the reader was armed.
FORGED = {
    "nothing": b"",
    "NUL": b"\0" * 100,
    "null": b"null",
    "a list": b"[]",
    "true": b"true",
    "an object": b"{}",
    "half": b'{"boot_id": "BOOT", "wiring',
    "another boot": b'{"boot_id": "another", "wiring": "22 up high", "token": "TOKEN", "armed": true}',
    "another line": b'{"boot_id": "BOOT", "wiring": "23 up high", "token": "TOKEN", "armed": true}',
    "another session": b'{"boot_id": "BOOT", "wiring": "22 up high", "token": "OTHER", "armed": true}',
    "no session": b'{"boot_id": "BOOT", "wiring": "22 up high", "armed": true}',
    "wrong kinds": b'{"boot_id": ["BOOT"], "wiring": {"22": 1}, "token": 7, "armed": "yes", "since": "soon"}',
    "deep": b"[" * 100_000,
}


def test_a_note_of_the_reader_that_is_not_ours(tmp_path: Path, forge: Forge, family: Family) -> None:
    """What is noted of the reader is of another boot, line or session, or is none: it closes nothing."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()

    def run(name: str) -> None:
        with Sandbox() as rufus:
            station, first, second = two_sessions(tmp_path / f"note {name}", rufus, forge)
            station.run.mkdir()
            text = FORGED[name].replace(b"BOOT", boot).replace(b"TOKEN", first.encode())
            for file in ("armed", "reader"):
                (station.run / file).write_bytes(text.replace(b"OTHER", second.encode()))
            station.start("17 high", "22 low", "wait 2", "quit")
            try:
                assert station.process.wait(60) == 0
                false = not rufus.session(first).active or bool(station.records("pending"))
                wrong = "a traceback" if "Traceback" in station.logged() else ""
                family.check(name, false=false, wrong=wrong)
            finally:
                station.stop()

    family.each(list(FORGED), run)


# -- files that lie


def test_a_configuration_that_is_cut(tmp_path: Path, forge: Forge, family: Family) -> None:
    """The configuration is cut while the daemon runs, at each line end and seventh byte: none vanishes untold."""
    with Sandbox() as rufus:
        stations = [two_sessions(tmp_path / f"cut{number}", rufus, forge)[0] for number in range(6)]
        whole = stations[0].config.read_bytes()
        ends = {at for at in range(len(whole)) if whole[at - 1 : at] == b"\n"}
        cuts = sorted(ends | set(range(0, len(whole), 7)))

        def run(number: int) -> None:
            station = stations[number]
            whole = station.config.read_bytes()
            station.start("17 high", "22 high")
            try:
                until(lambda: station.view()["reader"].get("state") == "armed")
                for at in cuts[number::6]:
                    read = station.logged().count("configuration read again")
                    station.config.write_bytes(whole[:at])
                    until(
                        lambda: (
                            station.view()["faults"] or station.logged().count("configuration read again") > read  # noqa: B023
                        )
                    )
                    view = station.view()
                    gone = [name for name in ("button", "reader") if view[name]["state"] is None]
                    family.check(at, wrong=f"{gone} gone" if gone and not view["faults"] else "")
                    station.config.write_bytes(whole)
                    until(lambda: not station.view()["faults"])
            finally:
                station.stop()

        family.each(list(range(6)), run)


RECORDS = {
    "control characters": json.dumps({"name": "\x1b]0;x\x07\x1b[2J\x9b1m\u202eRACE\u2028", "trigger": "\x1b[31m"}),
    "wrong kinds": json.dumps({"name": ["x"], "uptime": "now", "sent_at": 3, "attempts": "many", "also": {}}),
    "huge numbers": '{"uptime": 1e999, "attempts": 1e999}',
    "a long reason": json.dumps({"reason": "x" * 70_000, "name": "RACE"}),
    "another token": json.dumps({"token": "OTHEROTHER", "name": "RACE"}),
    "nothing": "",
    "no JSON": "closed",
}


def test_records_that_somebody_else_wrote(tmp_path: Path, forge: Forge, family: Family) -> None:
    """A record that is forged: it is delivered by its name alone, and nothing of it moves a terminal."""

    def run(name: str) -> None:
        with Sandbox() as rufus:
            trial = Trial(tmp_path, rufus, forge)
            (trial.station.state / "pending").mkdir(parents=True)
            (trial.station.state / "pending" / f"{trial.token}.json").write_text(RECORDS[name], encoding="utf-8")
            said = trial.ask("status")
            with trial:
                trial.station.start("17 high")
                took = trial.closes(within=30)
                said += trial.ask("status") + trial.station.logged()
            wrong = "control characters are shown" if CONTROL.search(said) else ""
            wrong = "a traceback" if "Traceback" in said else wrong
            family.check(name, lost=took is None, false=not rufus.session(trial.other).active, wrong=wrong)

    family.each(list(RECORDS), run)


NAMES = ("../../x", "../x", "/etc/passwd", "..", ".", "", "a/b", "x" * 300, "*", "\0x", "-", "TOKEN/../TOKEN", "ąę" * 8)


def test_names_that_are_paths(tmp_path: Path, forge: Forge, family: Family) -> None:
    """`rufusd withdraw` of what is no token: nothing is moved, made or removed, and a sentence says so."""
    with Sandbox() as rufus:
        trial = Trial(tmp_path, rufus, forge)
        folder = trial.station.folder
        assert trial.station.command("close").returncode == 0
        for place in (folder / "x.json", folder.parent / "x.json", trial.station.state / "x.json"):
            place.write_text("{}")

        def seen() -> dict[str, bytes]:
            return {str(each): each.read_bytes() for each in sorted(folder.parent.rglob("*.json"))}

        before = seen()
        for name in NAMES:
            if "\0" in name:
                continue
            ran = trial.station.command("withdraw", "--", name.replace("TOKEN", trial.token))
            said = ran.stdout + ran.stderr
            wrong = "" if seen() == before else "files changed"
            wrong = wrong or ("" if ran.returncode in (1, 2) and "rufusd" in said else f"{ran.returncode}: {said!r}")
            family.check(name, wrong=wrong or "a traceback" * ("Traceback" in said))


# -- who lives, and who only seems to


def test_a_process_that_only_seems_to_be_the_daemon(tmp_path: Path, forge: Forge, family: Family) -> None:
    """A status file that names another process, living or not, or is old: it is not told as today's, nor signalled."""
    with Sandbox() as rufus:
        trial = Trial(tmp_path, rufus, forge)
        with trial:
            trial.station.start("17 high")
            trial.station.shows("armed")
            view = (trial.station.run / "status.json").read_text(encoding="utf-8")
            trial.station.stop(signal.SIGKILL)
        victim = subprocess.Popen([sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        try:
            assert victim.stdout
            assert victim.stdout.readline() == b"up\n"
            started = Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[19]
            forged = json.loads(view)
            for name, change in {
                "as it was left": {},
                "another process": {"daemon": {**forged["daemon"], "pid": victim.pid}, "started": started},
                "process 1": {"daemon": {**forged["daemon"], "pid": 1}, "started": "1"},
                "no number": {"daemon": {**forged["daemon"], "pid": "1"}},
                "minus one": {"daemon": {**forged["daemon"], "pid": -1}},
                "no daemon": {"daemon": None},
                "wrong kinds": {"closes": {"x": 1}, "faults": 3, "config": [], "session": None},
                "far future": {
                    "written_at": 1e12,
                    "daemon": {**forged["daemon"], "pid": victim.pid},
                    "started": started,
                },
            }.items():
                (trial.station.run / "status.json").write_text(json.dumps({**forged, **change}), encoding="utf-8")
                plain, as_json = trial.station.command("status"), trial.station.command("status", "--json")
                retry = trial.station.command("retry")
                said = "".join(each.stdout + each.stderr for each in (plain, as_json, retry))
                wrong = "a traceback, or a defect" if "Traceback" in said or "a defect" in said else ""
                if not wrong and (json.loads(as_json.stdout)["daemon"]["running"] or "not running" not in plain.stdout):
                    wrong = f"it is told as running: {plain.stdout!r}"
                family.check(name, false=victim.poll() is not None, wrong=wrong)
        finally:
            victim.communicate(timeout=30)


#: `rufusd status` as an ordinary user, in a name space of mounts whose /proc shows that user no other's processes.
HIDEPID = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
HIDEPID += ['mount -t proc -o hidepid=2 proc /proc && exec "$@"', "-", sys.executable, "-c"]
ORDINARY = """
import contextlib, io, json, os, sys
from rufusd.commands import cli
process = f"/proc/{sys.argv.pop(1)}"
def said(*more):
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.redirect_stderr(told):
        ended = cli.main(["status", *sys.argv[1:], *more])
    return ended, told.getvalue()
said()  # imports what that user may not be able to read
said("--json")
seen = [os.path.exists(process)]
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
seen.append(os.path.exists(process))
print(json.dumps([seen, said(), said("--json")]))
"""
#: What becomes of the daemon, and what status then has to say: running, and words.
LIVES = {
    "it runs": (True, "armed"),
    "it hangs": (True, "rufusd does not answer"),
    "its folder takes neither socket nor status": (True, "cannot make its socket"),
    "it was killed": (False, "rufusd is not running"),
}


def test_a_daemon_that_the_user_cannot_see(tmp_path: Path, forge: Forge, family: Family) -> None:
    """/proc is mounted with hidepid=2, and an ordinary user asks for the status: it says what lives, and what not."""
    if os.geteuid() or subprocess.run([*HIDEPID, ""], capture_output=True).returncode:
        pytest.skip("only root can mount a /proc of its own, and not in every container")

    def run(what: str) -> None:
        with Sandbox() as rufus, tempfile.TemporaryDirectory(prefix="rufusd-") as outside:
            os.chmod(outside, 0o711)  # others may enter; pytest closes its own folders
            trial = Trial(tmp_path, rufus, forge)
            station = trial.station
            station.run = Path(outside) / "run"
            no_room = "neither" in what
            for name in ("watch", ".status.json.tmp") * no_room:
                (station.run / name / "in the way").mkdir(parents=True)
            with trial:
                station.start("17 high")
                station.shows("fault" if no_room else "armed")
                if not no_room:
                    until(lambda: station.view()["indicator"] == "armed")
                pid = station.process.pid
                if "killed" in what:
                    station.stop(signal.SIGKILL)
                elif "hangs" in what:
                    station.send(signal.SIGSTOP)
                try:
                    arguments = [str(pid), *station.arguments("status")[4:]]
                    asked = subprocess.run([*HIDEPID, ORDINARY, *arguments], capture_output=True, text=True, timeout=60)
                finally:
                    if station.process:
                        station.send(signal.SIGCONT)
                running, words = LIVES[what]
                wrong = asked.stderr
                if not wrong:
                    seen, (ended, text), (_, as_json) = json.loads(asked.stdout)
                    daemon = json.loads(as_json)["daemon"]
                    wrong = "the process is not hidden" if seen != [running, False] else ""
                    told = (ended, daemon["running"], words in text, "not running" in text)
                    wrong = wrong or ("" if told == (0, running, True, not running) else f"{daemon} {text}")
                    wrong = wrong or (f"another process: {daemon}" if running and daemon["pid"] != pid else "")
                family.check(what, wrong=wrong)

    family.each(list(LIVES), run)


FRAMES = {
    "nothing": b"",
    "no line": b"x" * 1000,
    "no JSON": b"hello\n",
    "a list": b"[]\n",
    "null": b"null\n",
    "an empty object": b"{}\n",
    "wrong kinds": b'{"at": "now", "status": 3, "button": [], "reader": 7, "indicator": {}, "shown_for": null}\n',
    "an unknown state": b'{"at": 1, "button": null, "reader": null, "indicator": "dancing", "shown_for": 0}\n',
    "a huge line": b'{"at": "' + b"x" * 5_000_000 + b'"}\n',
    "no end": b"x" * 9_000_000,
    "not UTF-8": b'{"at": "\xff\xfe"}\n',
    "deep": b"[" * 200_000 + b"\n",
}


def test_a_socket_that_somebody_else_serves(tmp_path: Path, forge: Forge, family: Family) -> None:
    """Somebody else answers at the daemon's socket: status, watch and doctor say a sentence, whatever comes."""
    with Sandbox() as rufus:
        trial = Trial(tmp_path, rufus, forge)
        for number, (name, frame) in enumerate(FRAMES.items()):
            folder = trial.station.folder / f"run{number}"
            folder.mkdir()
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(folder / "watch"))
            listener.listen(8)

            def serve(listener: socket.socket = listener, frame: bytes = frame) -> None:
                with contextlib.suppress(OSError):
                    while True:
                        peer = listener.accept()[0]
                        with contextlib.suppress(OSError), peer:
                            peer.settimeout(5)
                            peer.sendall(frame)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            trial.station.run = folder
            for command in ("status", "doctor", "watch"):
                began = time.monotonic()
                if command == "watch":
                    arguments = [*trial.station.arguments("status")[:3], "watch", "--runtime-dir", str(folder)]
                    with open(os.devnull, "rb") as nothing:
                        process = subprocess.Popen(
                            arguments, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                        )
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(6)
                    process.terminate()
                    said = process.communicate(timeout=30)[0]
                else:
                    ran = trial.station.command(command)
                    said = ran.stdout + ran.stderr
                bad = [word for word in ("Traceback", "a defect in rufusd", "Error") if word in said]
                wrong = f"says {bad} {said[-200:]!r}" if bad else ""
                family.check((name, command), wrong=wrong or "too slow" * (time.monotonic() - began > 60))
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(30)


def test_a_runtime_folder_that_somebody_else_made(tmp_path: Path, forge: Forge, family: Family) -> None:
    """The runtime folder, or a file in it, is a link to elsewhere: what is there stays as it is."""
    with Sandbox() as rufus:
        for name in ("run", "status.json", ".status.json.tmp", "armed", "reader", "watch"):
            trial = Trial(tmp_path, rufus, forge)
            station, treasure = trial.station, trial.station.folder / "treasure"
            treasure.mkdir()
            for each in ("status.json", "armed", "reader", "watch", "file"):
                (treasure / each).write_text("precious")
            if name == "run":
                station.run.symlink_to(treasure)
            else:
                station.run.mkdir()
                (station.run / name).symlink_to(treasure / "file")
            with trial:
                station.start("17 high", "wait 1", "quit")
                status = station.process.wait(60)
                left = {each.name: each.read_text() for each in treasure.iterdir() if each.is_file()}
                wrong = "" if set(left.values()) == {"precious"} and len(left) == 5 else f"changed: {left}"
                wrong = wrong or ("a traceback" if "Traceback" in station.logged() else "")
                family.check(name, wrong=wrong or ("" if status in (0, 1) else f"status {status}"))
