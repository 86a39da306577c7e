"""The commands: arguments in, words and exit statuses out. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rufusd import __version__
from rufusd.core.words import _, _n

OK, FAILED, USAGE, CONFIG, INTERRUPTED = 0, 1, 2, 78, 130  # 78: EX_CONFIG of sysexits.h; 130: as shells say SIGINT

log = logging.getLogger("rufusd")

EXIT_STATUS = {
    OK: "done",
    FAILED: "failed, with a sentence that says why on standard error",
    USAGE: "wrong usage",
    CONFIG: "the configuration is invalid",
    INTERRUPTED: "interrupted from the keyboard",
}

# What each command takes beyond its own; what it does is the text of its function, for --help and for the manual.
_COMMANDS = {
    "run": "csr",
    "configure": "c",
    "check": "cs",
    "status": "csr",
    "watch": "r",
    "doctor": "csr",
    "close": "csr",
    "withdraw": "csr",
    "retry": "csr",
    "simulate": "csr",
    "sandbox": "",
    "demo": "",
}
PLACES = {  # option, what it is given, the variable that gives its default, and its default otherwise
    "c": ("--config", "FILE", "RUFUSD_CONFIG", "/etc/rufusd/config.toml", "the configuration"),
    "s": ("--state-dir", "DIR", "STATE_DIRECTORY", "/var/lib/rufusd", "where the closes are kept"),
    "r": ("--runtime-dir", "DIR", "RUNTIME_DIRECTORY", "/run/rufusd", "where the running daemon shows what it does"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status, one of `EXIT_STATUS`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever called
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no "Ł" shows "?", rather than nothing
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser(*arguments[:1])
    options = parser.parse_args(arguments)
    if not options.command:
        parser.print_help(sys.stderr)
        return USAGE
    _log_to_stderr()
    # By itself glibc waits 5 s for each name server, twice, and nothing can interrupt it (resolv.conf(5)). Set before
    # any thread starts: a change of the environment while another thread reads it can crash the process.
    os.environ.setdefault("RES_OPTIONS", "timeout:2 attempts:2")
    try:
        command = globals()[f"_{options.command}"]
        status: int = command(options)
        return status if _flushed() else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence()
        return FAILED
    except Exception as defect:  # noqa: BLE001 - no traceback reaches a person
        with contextlib.suppress(BrokenPipeError):
            if isinstance(defect, OSError) and not _flushed():  # it came from there, and comes again
                return FAILED
        import syslog

        syslog.syslog(syslog.LOG_ERR, _traceback(defect))
        kind = type(defect).__name__
        return _fail(_("a defect in rufusd ({kind}); please report it with what `sudo journalctl` says", kind=kind))


def _flushed() -> bool:
    """Whether all that was said could be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence()
        _fail(_("cannot write what it has to say ({why})", why=_why(error)))
        return False
    return True


def _silence() -> None:
    """Whoever read has gone, or never could be written to: nothing is left to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _parser(asked: str = "") -> argparse.ArgumentParser:
    """The arguments of the command that is asked for, since the others' take their time; else of all."""
    parser = argparse.ArgumentParser(
        "rufusd",
        description="Closes a RUFUS timing session at the press of a button, or when the reader goes off.",
        epilog=f"Exit status: {'; '.join(f'{status} {meaning}' for status, meaning in EXIT_STATUS.items())}.",
    )
    parser.add_argument("--version", action="version", version=f"rufusd {__version__}", help="say which version it is")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, takes in ({asked: _COMMANDS[asked]} if asked in _COMMANDS else _COMMANDS).items():
        told = globals()[f"_{name}"].__doc__ or ""
        purpose = told.partition("\n")[0].rstrip(".")
        command = commands.add_parser(name, help=purpose[:1].lower() + purpose[1:], description=told)
        for letter in takes:
            option, metavar, _variable, default, meaning = PLACES[letter]
            default = _from_environment(name, letter) or default
            kind = str if letter == "c" else Path
            command.add_argument(
                option, metavar=metavar, default=default, type=kind, help=f"{meaning}; default: %(default)s"
            )
        if name in ("status", "doctor"):
            command.add_argument("--json", action="store_true", help="print one JSON object")
        elif name == "close":
            command.add_argument("--reason", metavar="TEXT", default="", help="why, for the record")
        elif name == "withdraw":
            command.add_argument("token", metavar="TOKEN", help="the session's token, or its beginning")
        elif name == "sandbox":
            command.add_argument(
                "--port", metavar="N", type=int, default=8470, help="where it listens; default: %(default)s"
            )
    return parser


def _from_environment(command: str, letter: str) -> str:
    """The place that the environment names for a command; empty where it names none.

    systemd names each unit's own folders to all its commands (systemd.exec(5)). Only a daemon takes them: a close that
    a command of the reader's unit had confirmed in that unit's folder would be delivered by nobody.
    """
    return os.environ.get(PLACES[letter][2], "") if letter == "c" or command in ("run", "simulate") else ""


def _to_journal() -> bool:
    """Whether standard error is the journal, and not just inherited the name of one (systemd.exec(5))."""
    try:
        return os.environ.get("JOURNAL_STREAM") == "{0.st_dev}:{0.st_ino}".format(os.fstat(2))
    except OSError:
        return False


def _log_to_stderr() -> None:
    """To the journal with each line's priority (sd-daemon(3)), to a terminal as it is."""
    handler = logging.StreamHandler(sys.stderr)
    threading.excepthook = lambda defect: log.critical(
        "a defect in rufusd: please report it thread=%s",
        defect.thread and defect.thread.name,
        exc_info=defect.exc_value,
    )

    class Plain(logging.Formatter):
        def formatException(self, info: Any) -> str:
            return _traceback(info[1])

    if _to_journal():

        class Prioritized(Plain):
            def format(self, record: logging.LogRecord) -> str:
                priority = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4}.get(record.levelno, 6)
                return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))

        handler.setFormatter(Prioritized())
    else:
        handler.setFormatter(Plain("rufusd: %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def _traceback(defect: BaseException | None) -> str:
    """What it was, where, and in the wake of what; not its own words, which may hold the key or come from outside."""
    import traceback

    lines: list[str] = []
    while defect:
        lines[:0] = [*traceback.format_tb(defect.__traceback__), f"{type(defect).__module__}.{type(defect).__name__}\n"]
        defect = defect.__cause__ or defect.__context__
    return "".join(["Traceback (most recent call last):\n", *lines]).rstrip()


def _in_words(sentence: str) -> str:
    """A sentence in the reader's language. The journal's is English, in which it can be searched and sent to others."""
    if _to_journal():
        return sentence
    from rufusd.adapters.language import say

    return say(sentence)


def _tell(stream: Any, text: str) -> None:
    """Write a text for people. On a terminal, no word is broken at its edge, and nothing in it moves the cursor."""
    if stream.isatty():
        import shutil

        from rufusd.text.report import printable, wrapped

        width = shutil.get_terminal_size().columns
        text = "\n".join(row for line in text.split("\n") for row in wrapped(printable(line), width))
    stream.write(f"{text}\n")


def _say(sentence: str) -> None:
    _tell(sys.stdout, _in_words(sentence))


def _warn(sentence: str) -> None:
    _tell(sys.stderr, f"rufusd: {_in_words(sentence)}")


def _say_json(found: Any) -> None:
    """Print one object, in which nothing moves a terminal's cursor."""
    import json

    from rufusd.text.report import printable

    text = json.dumps(found, indent=1, ensure_ascii=False)
    sys.stdout.write("".join(c if c == "\n" or printable(c) == c else json.dumps(c)[1:-1] for c in text) + "\n")


def _fail(sentence: str) -> int:
    _warn(sentence)
    return FAILED


def _as_root() -> str:
    """What was typed, as root. The places that the environment names are given as options, since sudo drops it."""
    import shlex

    command, *typed = sys.argv[1:] or [""]
    named = {PLACES[letter][0]: _from_environment(command, letter) for letter in _COMMANDS.get(command, "")}
    places = [word for option, place in named.items() if place for word in (option, place)]
    return shlex.join(["sudo", "rufusd", command, *places, *typed])  # what was typed comes last, and so counts


def _loaded(options: argparse.Namespace, *, key_needed: bool = True) -> Any:
    """What the configuration file gave, after having said what is wrong with it."""
    from rufusd.adapters.config import load

    loaded = load(options.config, key_needed=key_needed)
    if not loaded.settings or key_needed:  # who only closes or withdraws has no use for the warnings
        for problem in loaded.problems:
            _tell(sys.stderr, _in_words(problem.words))
    return loaded


# -- the daemon


def _run(options: argparse.Namespace) -> int:
    """The daemon, in the foreground, for systemd.

    It watches the button and the reader, confirms closes and delivers them. Its log is on standard error.
    """
    return _station(options, simulated=False)


def _simulate(options: argparse.Namespace) -> int:
    """The same daemon on simulated pins; with your key and token it closes your session.

    Standard input moves the pins. Each line is `PIN low`, `PIN high`, `wait SECONDS`, `quit`, or `#` and a comment;
    after its end the daemon runs on until a signal. A line that it cannot read ends it with status 2; in a
    terminal it is told, and can be typed anew.
    """
    return _station(options, simulated=True)


def _station(options: argparse.Namespace, *, simulated: bool) -> int:
    gc.disable()  # until the daemon has started: the imports make much, none of it garbage
    options.config = os.path.abspath(options.config)  # lgpio changes the directory
    loaded = _loaded(options)
    if not loaded.settings:
        if "NOTIFY_SOCKET" in os.environ:
            from rufusd.adapters.systemd import Systemd

            Systemd().tell(f"STATUS={options.config} is invalid, `rufusd check` says why; to save it mended is enough")
        return CONFIG
    from rufusd.adapters.pins import Pins, SimulatedPins
    from rufusd.adapters.runtime import Runtime
    from rufusd.adapters.spool import Spool
    from rufusd.daemon.loop import Daemon

    spool = Spool(options.state_dir.absolute(), training=simulated)
    runtime = Runtime(options.runtime_dir.absolute())
    try:
        runtime.open()
    except OSError as error:
        return _fail(
            _(
                "cannot make {folder} ({why}); use another --runtime-dir, or `sudo systemctl start rufusd`",
                **{"folder": str(runtime.folder), "why": _why(error)},
            )
        )
    if not simulated:
        return Daemon(options.config, loaded, spool, runtime, Pins(str(runtime.folder))).run()
    import time

    from rufusd.core import settings
    from rufusd.text.report import DOING
    from rufusd.training.simulate import Script, Unreadable

    if not settings.is_loopback(loaded.settings.api.url):
        _warn(_("only the pins are simulated: a session is closed for good at {url}", url=loaded.settings.api.url))
    pins = SimulatedPins(str(runtime.folder))
    script = Script(0, pins.drive, _warn if sys.stdin.isatty() else None)
    try:
        if not script.advance(time.monotonic()):  # what comes first is there before the pins are opened
            return OK
        return Daemon(
            *(options.config, loaded, spool, runtime, pins, script.advance),
            shown=lambda indication: (
                sys.stdout.write(f"{indication.value}: {_in_words(DOING[indication])}\n") and sys.stdout.flush()
            ),
        ).run()
    except Unreadable as line:
        _fail(line.args[0])
        return USAGE


# -- what technicians ask


def _configure(options: argparse.Namespace) -> int:
    """Makes the configuration by questions, or changes it: key, session, pins.

    It looks the session up in RUFUS where the key may read, shows what changes, and saves it only when told to.
    Comments and all that it does not ask for stay. Without a terminal it reads its answers from standard input, one a
    line.
    """
    from rufusd.commands.configure import converse

    return converse(options.config)


def _check(options: argparse.Namespace) -> int:
    """Says everything that is wrong with the configuration, and with where closes are kept.

    One line for each problem: `FILE:LINE: KEY: what is wrong, what was expected`. Warnings are marked so, and are no
    failure.
    """
    from rufusd.adapters.spool import obstacle
    from rufusd.text.report import short

    loaded = _loaded(options)
    settings = loaded.settings
    _warn_of_risk(options.state_dir)
    if found := obstacle(options.state_dir):
        _warn(_("warning: {what}", what=found))
    if not settings:
        return CONFIG
    _warn_of_loss(options, loaded.outline)
    button, reader = settings.button, settings.reader
    closes = _("`rufusd close`")
    if reader:
        closes = _("the reader at GPIO{pin} and {others}", pin=reader.pin, others=closes)
    if button:
        closes = _("the button at GPIO{pin} and {others}", pin=button.pin, others=closes)
    _say(
        _(
            "{path}: good; {triggers} will close {name} ({token})",
            **{"path": options.config, "triggers": closes},
            **{"name": settings.session.name or _("the session"), "token": short(settings.session.token)},
        )
    )
    return OK


def _warn_of_loss(options: argparse.Namespace, outline: tuple[str, ...]) -> None:
    """What the daemon had in force, and the configuration has no more."""
    from rufusd.adapters.config import lost
    from rufusd.adapters.spool import Spool

    for table in lost(Spool(options.state_dir).tables(), [name for name in outline if "." not in name]):
        _warn(
            _(
                "warning: [{table}] was in force and is gone from {path}: put it back; if it is gone on purpose, run "
                "`sudo systemctl reload rufusd`",
                **{"table": table, "path": options.config},
            )
        )


def _warn_of_risk(state_dir: Path) -> bool:
    from rufusd.adapters.spool import risk

    found = risk(state_dir)
    if found:
        _warn(_("warning: {what}", what=found))
    return bool(found)


def _status(options: argparse.Namespace) -> int:
    """What the station is doing, and every close it knows.

    It tells the closes without the daemon, too. Any user may run it: what that user may not read, it names.
    """
    import time

    from rufusd.adapters.config import hidden, load
    from rufusd.adapters.spool import CLOSED, PENDING, WITHDRAWN, Spool, risk
    from rufusd.commands import asked
    from rufusd.text import report

    spool, now = Spool(options.state_dir), time.monotonic()
    endangered = risk(spool.folder)
    loaded = load(options.config)
    session = loaded.settings.session if loaded.settings else None
    said = asked.ask(options.runtime_dir)
    status, unreadable, command = said.status, [], _as_root()
    if not status:
        valid: bool | None = loaded.settings is not None
        problems = [problem.words for problem in loaded.problems]
        if not valid and hidden(options.config):
            valid, problems = None, []
            unreadable.append(report.HIDDEN_CONFIGURATION.given(path=options.config, command=command))
        status = report.whole(
            version=__version__,
            pid=said.peer.pid if said.peer else None,
            since=None,
            valid=valid,
            problems=problems,
            session={"token": session.token if session else None, "name": session.name if session else None},
            faults=[
                *filter(None, [endangered]),
                *([report.SPEECHLESS.given(pid=said.peer.pid or "?")] if said.peer else []),
            ],
        )
    if said.hidden:
        status["daemon"]["running"] = None
        unreadable.append(report.HIDDEN.given(folder=str(options.runtime_dir), command=command))
    try:
        if said.age is not None:  # a daemon that hangs does not know yet what commands have ended
            status["closes"] = [
                each
                for each in status["closes"]
                if not each["durable"] or spool.standing(each["token"]) not in (CLOSED, WITHDRAWN)
            ]
        known = {each["token"] for each in status["closes"]}
        for state in (PENDING, CLOSED, WITHDRAWN):
            records = spool.history(state)
            durable = state != PENDING or not endangered
            if records.keys() - known:  # the daemon has not told of them: they are synced before they are told
                try:
                    spool.settle(state)
                except OSError:
                    durable = False
            found = [report.entry(record, state, now, durable=durable) for record in records.values()]
            status["closes"] += [each for each in found if each["token"] not in known]
            known |= {each["token"] for each in found}
    except PermissionError:
        unreadable.append(report.HIDDEN_CLOSES.given(folder=str(spool.folder), command=command))
    except OSError as error:
        return _cannot_read(spool, error)
    status["daemon"]["view_age"] = said.age
    status["unreadable"] = unreadable
    if options.json:
        _say_json(status)
    else:
        led = bool(loaded.settings and loaded.settings.led)
        _tell(sys.stdout, report.text(status, _in_words, led=led).rstrip("\n"))
    return OK


def _doctor(options: argparse.Namespace) -> int:
    """Looks at all that a close depends on, from the pins to RUFUS, and says what to do about what is wrong.

    Each check is a line: good, a warning, bad, unknown or not looked at; what was found; and the cure. It closes
    nothing, takes no pin but those that nobody has, for a moment, and ends within 20 seconds: with status 1 where
    something is bad. Root sees most.
    """
    import shutil

    from rufusd.adapters.language import say
    from rufusd.commands.doctor import examine
    from rufusd.text import diagnosis

    try:
        "".join(diagnosis.MARKS.values()).encode(sys.stdout.encoding or "ascii")
        marks = diagnosis.MARKS
    except (UnicodeEncodeError, LookupError):
        marks = diagnosis.ASCII_MARKS
    checks = []
    for check in examine(options.config, options.state_dir, options.runtime_dir):
        checks.append(check)
        if not options.json:
            _say(diagnosis.text(check, say, shutil.get_terminal_size().columns, marks))
            sys.stdout.flush()
    if options.json:
        _say_json(diagnosis.whole(checks))
    return FAILED if any(check.result == diagnosis.BAD for check in checks) else OK


def _watch(options: argparse.Namespace) -> int:
    """Shows the inputs live: their levels for half a minute, their states, the LED, and what is pending.

    A contact that chatters, or a cable that is loose, is seen as the number of times that its level has moved. `q` or
    Ctrl-C ends it. Where standard output is no terminal, or TERM is dumb, each change is told in a line.
    """
    from rufusd.adapters.live import Feed, Gone
    from rufusd.text import watch

    feed = Feed(options.runtime_dir)
    try:
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            _watch_picture(feed)
        else:
            _watch_changes(feed)
    except Gone as gone:
        return _fail(watch.absent(full=gone.full, strange=gone.strange))
    except PermissionError as error:
        return _fail(watch.REFUSED.given(folder=str(options.runtime_dir), why=_why(error)))
    except KeyboardInterrupt:
        pass  # which is how it ends
    finally:
        feed.close()
    return OK


def _watched(feed: Any, patience: float) -> Iterator[Any]:
    """After each wait: all that was seen at each frame that came, and why none comes. Gone, if none ever came."""
    import time

    from rufusd.adapters.live import Gone
    from rufusd.text import report, watch

    seen, heard = watch.Seen(), time.monotonic()
    while True:
        after, away = [seen], ""
        try:
            for frame in feed.take(patience if seen.frame else watch.SILENCE):
                if not report.is_frame(frame, first=not seen.frame):
                    feed.close()
                    raise Gone(strange=True)
                seen, heard = watch.after(seen, frame), time.monotonic()
                after.append(seen)
            away = watch.SILENT if time.monotonic() - heard >= watch.SILENCE else ""
        except Gone as gone:
            if not seen.frame:
                raise
            away = watch.absent(full=gone.full, strange=gone.strange)
        yield after, away


def _watch_picture(feed: Any) -> None:
    import time

    from rufusd.adapters.language import say
    from rufusd.adapters.terminal import Terminal
    from rufusd.text import watch

    glyphs, watched, rows = watch.glyphs(sys.stdout.encoding), _watched(feed, 0), [""]
    after, away = next(watched)  # before the screen is cleared for it
    try:
        with Terminal() as terminal:
            going_on = True
            while going_on:
                rows = watch.picture(after[-1], time.monotonic(), *terminal.size, away, glyphs, say)
                going_on = terminal.show(rows) and terminal.key(watch.PACE) != "q"
                after, away = next(watched)
    finally:
        _say("\n".join(rows))  # what was seen last stays there, to be copied into a report


def _watch_changes(feed: Any) -> None:
    import time

    from rufusd.adapters.language import say
    from rufusd.text import watch

    told: Any = {}
    for after, away in _watched(feed, 1.0):
        for seen in after:
            told, lines = watch.changes(told, seen, away, say)
            for line in lines:
                _say(time.strftime("%H:%M:%S ") + line)
            sys.stdout.flush()
        if away:
            time.sleep(watch.PACE)


# -- what scripts and people decide


def _close(options: argparse.Namespace) -> int:
    """Confirms a close of the configured session, as the button would; for scripts.

    A reader's service may call it in its `ExecStopPost=`. Once it has ended with status 0 the close is on disk,
    with or without a running daemon. Where the daemon has another session in force than the file names, it confirms
    nothing, with status 1. Confirming a close twice changes nothing, but the reader cannot take back a close that was
    confirmed by this command, too.
    """
    settings = _loaded(options, key_needed=False).settings
    if not settings:
        return CONFIG
    from rufusd.adapters.spool import PENDING, Confirmed, Spool
    from rufusd.commands import asked
    from rufusd.core.record import LONGEST
    from rufusd.daemon.loop import new_record
    from rufusd.text.report import short

    if len(options.reason) > LONGEST:
        _warn(_("the reason is too long: the record keeps its first {n} characters", n=LONGEST))
    token, name = settings.session.token, settings.session.name or _("the session")
    said = asked.ask(options.runtime_dir)
    spool = Spool(options.state_dir)
    if spool.kept() and (instead := _watched_instead(said, token)):  # not where it has other closes, as a training has
        return _fail(
            _(
                "NOT confirmed: {path} names {name} ({token}), but rufusd watches {instead}. Either the file was saved "
                "a moment ago, or it was not taken up: `sudo rufusd check` and `rufusd status` say why. Once both name "
                "the same session, give the command again",
                **{"path": options.config, "name": name, "token": short(token), "instead": instead},
            )
        )
    try:
        confirmed = spool.confirm(new_record(token, settings.session.name, "command", options.reason))
        if confirmed is Confirmed.ENDORSED:
            _say(
                _(
                    "{name} is being closed already; you have confirmed it too, so the reader cannot take it back",
                    name=name,
                )
            )
            return OK
        if not confirmed:
            if spool.vouched(token) != PENDING:
                _say(_("{name} is closed already; nothing to do", name=name))
            elif said.running:
                _say(_("{name} is being closed already; nothing to do", name=name))
            else:
                _say(
                    _(
                        "{name} is confirmed already, but rufusd is not running, so nothing closes it; start it with "
                        "`sudo systemctl start rufusd`",
                        name=name,
                    )
                )
            return OK
    except OSError as error:
        return _refused(spool, token, PENDING, error)
    unless = _(", unless the power fails before") if _warn_of_risk(spool.folder) else ""
    if said.running:
        _say(
            _(
                "confirmed: {name} will be closed{unless}; `rufusd withdraw {token}` takes it back until then",
                **{"name": name, "unless": unless, "token": token},
            )
        )
    else:
        _say(
            _(
                "confirmed: {name} will be closed as soon as rufusd runs, which it does not now{unless}; "
                "start it with `sudo systemctl start rufusd`",
                **{"name": name, "unless": unless},
            )
        )
    return OK


def _watched_instead(said: Any, token: str) -> str:
    """Which session the running daemon has in force, where it is not this one: the button would close that one."""
    from rufusd.text.report import short

    session = said.status["session"] if said.running and said.status else {}
    other = session.get("token")
    if not other or other == token:
        return ""
    return f"{session['name']} ({short(other)})" if session["name"] else short(other)


def _withdraw(options: argparse.Namespace) -> int:
    """Takes a pending close back.

    Four or more characters of the token's beginning suffice where they tell which is meant. What RUFUS has closed
    cannot be undone.
    """
    from rufusd.adapters import clock
    from rufusd.adapters.spool import CLOSED, PENDING, WITHDRAWN, Spool
    from rufusd.core.settings import is_token

    spool, token = Spool(options.state_dir), options.token
    try:
        pending = spool.history(PENDING)
        held: set[str] = set()
        meant = _matching(pending, token)
        if not meant and len(token) >= 4:
            held = _held_in_memory(options.runtime_dir)
            meant = _matching(held, token)
        if len(meant) > 1 or (meant and len(token.partition("…")[0]) < 4):
            return _fail(
                _("{token} is too little to tell which close is meant: give more of the token", token=ascii(token))
            )
        token = meant[0] if meant else token
        if not is_token(token):
            return _fail(_("{token} is not a token; `rufusd status` shows what is pending", token=ascii(token)))
        record = spool.withdraw(token, "command", clock.utc())
        if not record:
            state = spool.vouched(token)
            if state == WITHDRAWN:
                return _fail(_("{token} is withdrawn already; nothing to do", token=token))
            if state == CLOSED:
                return _fail(_("{token} is closed already, which cannot be undone", token=token))
            if token in held:
                return _fail(
                    _(
                        "the close of {token} is held in rufusd's memory only, since the disk takes nothing, so this "
                        "command cannot take it back. `sudo systemctl stop rufusd` ends it at once; but then nothing "
                        "watches the inputs until `sudo systemctl start rufusd`",
                        token=token,
                    )
                )
            return _fail(_("no close of {token} is pending; `rufusd status` shows what is", token=token))
    except OSError as error:
        return _refused(spool, token, WITHDRAWN, error)
    if not record.sent_at:
        _say(_("withdrawn: {name} will not be closed", name=record.name or token))
    else:
        _say(
            _(
                "withdrawn: {name} will not be closed by rufusd any more; but RUFUS was called for it "
                "first at {at}: look there whether it is closed",
                **{"name": record.name or token, "at": record.sent_at},
            )
        )
    return OK


def _matching(tokens: Collection[str], given: str) -> list[str]:
    """Which of these tokens may be meant by what was typed: a whole one, a beginning, or what `rufusd status` shows."""
    begins, _dots, ends = given.partition("…")
    return [given] if given in tokens else [each for each in tokens if each.startswith(begins) and each.endswith(ends)]


def _held_in_memory(runtime: Path) -> set[str]:
    """The tokens of the closes that the running daemon has, and no disk."""
    from rufusd.commands import asked

    said = asked.ask(runtime)
    closes = said.status["closes"] if said.running and said.status else []
    return {each["token"] for each in closes if each["state"] == "pending" and not each["durable"]}


def _refused(spool: Any, token: str, state: str, error: OSError) -> int:
    """What the disk's error means: the step was not taken, or was taken but may not outlive a power cut."""
    not_safely = {
        "pending": _(
            "confirmed, but NOT SAFELY: {folder} fails ({why}), and a power cut may undo it; mend that, then look at "
            "`rufusd status`"
        ),
        "withdrawn": _(
            "withdrawn, but NOT SAFELY: {folder} fails ({why}), and a power cut may undo it; mend that, then look at "
            "`rufusd status`"
        ),
        "closed": _(
            "closed already, but NOT SAFELY noted: {folder} fails ({why}), and after a power cut rufusd may call RUFUS "
            "again; mend that, then look at `rufusd status`"
        ),
    }
    not_at_all = {
        "pending": _("NOT confirmed, {folder} cannot be written ({why}): mend that, or run this as root: `{command}`"),
        "withdrawn": _(
            "NOT withdrawn, {folder} cannot be written ({why}): mend that, or run this as root: `{command}`"
        ),
    }
    from rufusd.adapters.spool import reason

    why = _why(error) if isinstance(error, PermissionError) else reason(error, spool.folder)
    facts = {"folder": str(spool.folder), "why": why, "command": _as_root()}
    spool.refresh()
    with contextlib.suppress(OSError):
        standing = spool.standing(token)
        if standing in (state, "closed"):
            return _fail(not_safely[standing].given(**facts))
    return _fail(not_at_all[state].given(**facts))


def _cannot_read(spool: Any, error: OSError) -> int:
    facts = {"folder": str(spool.folder), "why": _why(error), "command": _as_root()}
    if isinstance(error, PermissionError):
        return _fail(_("cannot read {folder} ({why}); run this as root: `{command}`", **facts))
    return _fail(_("cannot read {folder} ({why}); `sudo rufusd doctor` says what to do", **facts))


def _retry(options: argparse.Namespace) -> int:
    """Tries all pending closes now.

    Without a running daemon it delivers them by itself, each until it is closed or has failed once. It stops when a
    daemon starts, which then delivers them.
    """
    from rufusd.adapters.spool import PENDING, Held, Spool
    from rufusd.commands import asked

    spool = Spool(options.state_dir.absolute())
    try:
        pending = set(spool.history(PENDING))
    except OSError as error:
        return _cannot_read(spool, error)
    said = asked.ask(options.runtime_dir)
    if said.peer:
        try:
            asked.hurry(options.runtime_dir, said.peer)
        except OSError as error:
            facts = {"pid": said.peer.pid or "?", "why": _why(error), "command": _as_root()}
            return _fail(_("cannot tell rufusd, process {pid} ({why}); run this as root: `{command}`", **facts))
        closes = said.status["closes"] if said.status else []
        pending |= {each["token"] for each in closes if each["state"] == "pending"}  # also those not on disk
    if said.peer and pending and not said.frame:  # it was told, but may never hear it
        from rufusd.text.report import SPEECHLESS

        return _fail(SPEECHLESS.given(pid=said.peer.pid or "?"))
    if said.peer and pending:
        _say(
            _n(
                len(pending),
                "rufusd tries {n} pending close now; `rufusd status` shows how it goes",
                "rufusd tries {n} pending closes now; `rufusd status` shows how it goes",
            )
        )
        return OK
    if not pending:
        _say(_("nothing is pending"))
        return OK
    settings = _loaded(options).settings
    if not settings:
        return CONFIG
    from rufusd.daemon.loop import deliver_once

    try:
        return deliver_once(settings, spool, _say)
    except Held as held:
        facts = {"other": held.args[0], "folder": str(spool.folder)}
        return _fail(
            _("{other} has the state folder {folder}: use the --runtime-dir that it was started with", **facts)
        )


def _why(error: OSError) -> str:
    return _(os.strerror(error.errno).lower()) if error.errno else _("unknown error")


# -- without hardware


def _sandbox(options: argparse.Namespace) -> int:
    """A stand-in for RUFUS on this machine, which can be told to be offline, slow or wrong.

    It shows a configuration for a session of its own, and then reads commands; `help` lists them.
    """
    from rufusd.training.sandbox import serve

    return serve(options.port)


def _demo(__: argparse.Namespace) -> int:
    """A whole race's end, told as it happens; needs no hardware, network or configuration."""
    from rufusd.training.demo import play

    return play()
