"""The commands: arguments in, words and exit statuses out. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from rufusd import __version__

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
    "check": "cs",
    "status": "csr",
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
    options = _parser(*arguments[:1]).parse_args(arguments)
    _log_to_stderr()
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
        import syslog

        syslog.syslog(syslog.LOG_ERR, _traceback(defect))
        return _fail(f"a defect in rufusd ({type(defect).__name__}); please report it with what the journal says")


def _flushed() -> bool:
    """Whether all that was said could be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence()
        _fail(f"cannot write what it has to say ({_why(error)})")
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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, takes in ({asked: _COMMANDS[asked]} if asked in _COMMANDS else _COMMANDS).items():
        told = globals()[f"_{name}"].__doc__ or ""
        purpose = told.partition("\n")[0].rstrip(".")
        command = commands.add_parser(name, help=purpose[:1].lower() + purpose[1:], description=told)
        for letter in takes:
            option, metavar, variable, default, meaning = PLACES[letter]
            default = os.environ.get(variable) or default
            kind = str if letter == "c" else Path
            command.add_argument(
                option, metavar=metavar, default=default, type=kind, help=f"{meaning}; default: %(default)s"
            )
        if name == "status":
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

    if "JOURNAL_STREAM" in os.environ:

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


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(sentence: str) -> int:
    sys.stderr.write(f"rufusd: {sentence}\n")
    return FAILED


def _loaded(options: argparse.Namespace, *, key_needed: bool = True) -> Any:
    """What the configuration file gave, after having said what is wrong with it."""
    from rufusd.config import load

    loaded = load(options.config, key_needed=key_needed)
    if not loaded.settings or key_needed:  # who only closes or withdraws has no use for the warnings
        for problem in loaded.problems:
            sys.stderr.write(f"{problem}\n")
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
    after its end the daemon runs on until a signal. A line that it cannot read ends it with status 2.
    """
    return _station(options, simulated=True)


def _station(options: argparse.Namespace, *, simulated: bool) -> int:
    gc.disable()  # until the daemon has started: the imports make much, none of it garbage
    options.config = os.path.abspath(options.config)  # lgpio changes the directory
    loaded = _loaded(options)
    if not loaded.settings:
        if "NOTIFY_SOCKET" in os.environ:
            from rufusd.systemd import Systemd

            Systemd().tell(f"STATUS={options.config} is invalid, `rufusd check` says why; to save it mended is enough")
        return CONFIG
    from rufusd.daemon import Daemon
    from rufusd.pins import Pins, SimulatedPins
    from rufusd.runtime import Runtime
    from rufusd.spool import Spool

    spool = Spool(options.state_dir.absolute(), training=simulated)
    runtime = Runtime(options.runtime_dir.absolute())
    try:
        runtime.open()
    except OSError as error:
        return _fail(
            f"cannot make {runtime.folder} ({os.strerror(error.errno or 0).lower()}); use another --runtime-dir"
        )
    if not simulated:
        return Daemon(options.config, loaded, spool, runtime, Pins(str(runtime.folder))).run()
    import time

    from rufusd import settings
    from rufusd.report import DOING
    from rufusd.simulate import Script, Unreadable

    if not settings.is_loopback(loaded.settings.api.url):
        sys.stderr.write(
            f"rufusd: only the pins are simulated: a session is closed for good at {loaded.settings.api.url}\n"
        )
    pins = SimulatedPins(str(runtime.folder))
    script = Script(0, pins.drive)
    try:
        if not script.advance(time.monotonic()):  # what comes first is there before the pins are opened
            return OK
        return Daemon(
            *(options.config, loaded, spool, runtime, pins, script.advance),
            shown=lambda indication: (
                sys.stdout.write(f"{indication.value}: {DOING[indication]}\n") and sys.stdout.flush()
            ),
        ).run()
    except Unreadable as line:
        _fail(str(line))
        return USAGE


# -- what technicians ask


def _check(options: argparse.Namespace) -> int:
    """Says everything that is wrong with the configuration, and with where closes are kept.

    One line for each problem: `FILE:LINE: KEY: what is wrong, what was expected`. Warnings are marked so, and are no
    failure.
    """
    from rufusd.report import short

    settings = _loaded(options).settings
    _warn_of_risk(options.state_dir)
    if not settings:
        return CONFIG
    triggers = [f"the {name} at GPIO{part.pin}" for name in ("button", "reader") if (part := getattr(settings, name))]
    named = f"{settings.session.name or 'the session'} ({short(settings.session.token)})"
    _say(f"{options.config}: good; {' and '.join([*triggers, '`rufusd close`'])} will close {named}")
    return OK


def _warn_of_risk(state_dir: Path) -> bool:
    from rufusd.spool import risk

    found = risk(state_dir)
    if found:
        sys.stderr.write(f"rufusd: warning: {found}\n")
    return bool(found)


def _status(options: argparse.Namespace) -> int:
    """What the station is doing, and every close it knows.

    It tells the closes without the daemon, too.
    """
    import time

    from rufusd import report
    from rufusd.config import load
    from rufusd.language import say
    from rufusd.runtime import Runtime
    from rufusd.spool import CLOSED, PENDING, WITHDRAWN, Spool, risk

    spool, now = Spool(options.state_dir), time.monotonic()
    endangered = risk(spool.folder)
    loaded = load(options.config)
    session = loaded.settings.session if loaded.settings else None
    status = Runtime(options.runtime_dir).read_status()
    if status:
        del status["started"]
        status["closes"] = report.aged(status["closes"], now - status.pop("written_at"))
    else:
        status = report.whole(
            version=__version__,
            pid=None,
            since=None,
            valid=loaded.settings is not None,
            problems=map(str, loaded.problems),
            session={"token": session.token if session else None, "name": session.name if session else None},
            faults=filter(None, [endangered]),
        )
    known = {each["token"] for each in status["closes"]}
    try:
        for state in (PENDING, CLOSED, WITHDRAWN):
            durable = state != PENDING or not endangered
            found = [report.entry(record, state, now, durable=durable) for record in spool.history(state).values()]
            status["closes"] += [each for each in found if each["token"] not in known]
            known |= {each["token"] for each in found}
    except OSError as error:
        return _fail(f"cannot read {spool.folder} ({os.strerror(error.errno or 0).lower()}); run this as root")
    if options.json:
        import json

        _say(json.dumps(status, indent=1, ensure_ascii=False))
    else:
        sys.stdout.write(report.text(status, say))
    return OK


# -- what scripts and people decide


def _close(options: argparse.Namespace) -> int:
    """Confirms a close of the configured session, as the button would; for scripts.

    A reader's service may call it in its `ExecStopPost=`. Once it has ended with status 0 the close is on disk,
    with or without a running daemon; confirming it twice changes nothing.
    """
    settings = _loaded(options, key_needed=False).settings
    if not settings:
        return CONFIG
    from rufusd.daemon import new_record
    from rufusd.runtime import Runtime
    from rufusd.spool import PENDING, Spool

    token, name = settings.session.token, settings.session.name or "the session"
    spool = Spool(options.state_dir)
    try:
        if not spool.confirm(new_record(token, settings.session.name, "command", options.reason)):
            pending = spool.standing(token) == PENDING
            _say(f"{name} is {'being closed' if pending else 'closed'} already; nothing to do")
            return OK
    except OSError as error:
        return _refused(spool, token, PENDING, "confirmed", error)
    unless = ", unless the power fails before" if _warn_of_risk(spool.folder) else ""
    if Runtime(options.runtime_dir).read_status():
        _say(f"confirmed: {name} will be closed{unless}; `rufusd withdraw {token}` takes it back until then")
    else:
        _say(f"confirmed: {name} will be closed as soon as rufusd runs, which it does not now{unless}")
    return OK


def _withdraw(options: argparse.Namespace) -> int:
    """Takes a pending close back.

    Four or more characters of the token's beginning suffice where they tell which is meant. What RUFUS has closed
    cannot be undone.
    """
    from rufusd import clock
    from rufusd.spool import CLOSED, PENDING, WITHDRAWN, Spool

    spool, token = Spool(options.state_dir), options.token
    try:
        pending = spool.history(PENDING)
        meant = [each for each in pending if each.startswith(token)] if token not in pending else [token]
        if len(meant) > 1 or (meant and len(token) < 4):
            return _fail(f"{token!r} is too little to tell which close is meant: give more of the token")
        token = meant[0] if meant else token
        record = spool.withdraw(token, "command", clock.utc())
        if not record:
            if spool.standing(token) == CLOSED:
                return _fail(f"{token} is closed already, which cannot be undone")
            return _fail(f"no close of {token} is pending; `rufusd status` shows what is")
    except OSError as error:
        return _refused(spool, token, WITHDRAWN, "withdrawn", error)
    if not record.sent_at:
        _say(f"withdrawn: {record.name or token} will not be closed")
    else:
        _say(
            f"withdrawn: {record.name or token} will not be closed by rufusd any more; but RUFUS was called for it "
            f"first at {record.sent_at}: look there whether it is closed"
        )
    return OK


def _refused(spool: Any, token: str, state: str, what: str, error: OSError) -> int:
    """What the disk's error means: the step was not taken, or was taken but may not outlive a power cut."""
    import contextlib

    spool.refresh()
    with contextlib.suppress(OSError):
        if spool.standing(token) == state:
            return _fail(
                f"{what}, but NOT SAFELY: {spool.folder} fails ({_why(error)}), and a power cut may undo it; "
                "mend that, then look at `rufusd status`"
            )
    return _fail(f"NOT {what}, {spool.folder} cannot be written ({_why(error)}): mend that, or run this as root")


def _retry(options: argparse.Namespace) -> int:
    """Tries all pending closes now.

    Without a running daemon it delivers them by itself, each until it is closed or has failed once.
    """
    import signal

    from rufusd.runtime import Runtime
    from rufusd.spool import PENDING, Spool

    spool = Spool(options.state_dir.absolute())
    try:
        count = len(spool.history(PENDING))
    except OSError as error:
        return _fail(f"cannot read {spool.folder} ({_why(error)}); run this as root")
    status = Runtime(options.runtime_dir).read_status()
    if status:
        try:
            os.kill(status["daemon"]["pid"], signal.SIGUSR1)
        except OSError as error:
            return _fail(f"cannot tell rufusd, process {status['daemon']['pid']} ({_why(error)}); run this as root")
        _say(f"rufusd tries {count} pending close{'s' * (count != 1)} now; `rufusd status` shows how it goes")
        return OK
    if not count:
        _say("nothing is pending")
        return OK
    settings = _loaded(options).settings
    if not settings:
        return CONFIG
    from rufusd.daemon import deliver_once

    return deliver_once(settings, spool, _say)


def _why(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "unknown error"


# -- without hardware


def _sandbox(options: argparse.Namespace) -> int:
    """A stand-in for RUFUS on this machine, which can be told to be offline, slow or wrong.

    It shows a configuration for a session of its own, and then reads commands; `help` lists them.
    """
    from rufusd.sandbox import serve

    return serve(options.port)


def _demo(_: argparse.Namespace) -> int:
    """A whole race's end, told as it happens; needs no hardware, network or configuration."""
    from rufusd.demo import play

    return play()
