"""What can be typed: the commands, what each takes, and the texts of `--help` and of the manual. Imports no command."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rufusd import __version__
from rufusd.commands.output import EXIT_STATUS


@dataclass(frozen=True)
class Place:
    """A file or folder that an option names. `variable` is the environment variable that can also set it."""

    option: str
    metavar: str
    variable: str
    default: str
    meaning: str


PLACES = {  # keys: attribute names of the parsed options
    "config": Place("--config", "FILE", "RUFUSD_CONFIG", "/etc/rufusd/config.toml", "the configuration"),
    "state_dir": Place("--state-dir", "DIR", "STATE_DIRECTORY", "/var/lib/rufusd", "where the closes are kept"),
    "runtime_dir": Place(
        "--runtime-dir", "DIR", "RUNTIME_DIRECTORY", "/run/rufusd", "where the running daemon shows what it does"
    ),
}
ALL = tuple(PLACES)


@dataclass(frozen=True)
class Command:
    """One command. `module` has its `run(options)`; `arguments` are extra ones for `add_argument`."""

    module: str
    places: tuple[str, ...]
    purpose: str
    more: str = ""
    arguments: tuple[tuple[str, dict[str, Any]], ...] = ()


JSON = ("--json", {"action": "store_true", "help": "print one JSON object"})
COMMANDS = {
    "run": Command(
        "commands.run",
        ALL,
        "The daemon, in the foreground, for systemd.",
        "It watches the button and the reader, confirms closes and delivers them. Its log is on standard error.",
    ),
    "configure": Command(
        "commands.configure",
        ("config",),
        "Makes the configuration by questions, or changes it: key, session, pins.",
        "It looks the session up in RUFUS where the key may read, shows what changes, and saves it only when "
        "told to. Comments and all that it does not ask for stay. Without a terminal it reads its answers "
        "from standard input, one a line.",
    ),
    "check": Command(
        "commands.check",
        ("config", "state_dir"),
        "Says everything that is wrong with the configuration, and with where closes are kept.",
        "One line for each problem: `FILE:LINE: KEY: what is wrong, what was expected`. Warnings are marked "
        "so, and are no failure.",
    ),
    "status": Command(
        "commands.status",
        ALL,
        "What the station is doing, and every close it knows.",
        "It tells the closes without the daemon, too. Any user may run it: what that user may not read, it names.",
        (JSON,),
    ),
    "watch": Command(
        "commands.watch",
        ("runtime_dir",),
        "Shows the inputs live: their levels for half a minute, their states, the LED, and what is pending.",
        "A contact that chatters, or a cable that is loose, is seen as the number of times that its level has "
        "moved. `q` or Ctrl-C ends it. Where standard output is no terminal, or TERM is dumb, each change is "
        "told in a line.",
    ),
    "doctor": Command(
        "commands.doctor",
        ALL,
        "Looks at all that a close depends on, from the pins to RUFUS, and says what to do about what is wrong.",
        "Each check is a line: good, a warning, bad, unknown or not looked at; what was found; and the cure. "
        "It closes nothing, takes no pin but those that nobody has, for a moment, and ends within 20 seconds: "
        "with status 1 where something is bad. Root sees most.",
        (JSON,),
    ),
    "close": Command(
        "commands.close",
        ALL,
        "Confirms a close of the configured session, as the button would; for scripts.",
        "A reader's service may call it in its `ExecStopPost=`. Once it has ended with status 0 the close is "
        "on disk, with or without a running daemon. Where the daemon has another session in force than the "
        "file names, it confirms nothing, with status 1. Confirming a close twice changes nothing, but the "
        "reader cannot take back a close that was confirmed by this command, too.",
        (("--reason", {"metavar": "TEXT", "default": "", "help": "why, for the record"}),),
    ),
    "withdraw": Command(
        "commands.withdraw",
        ALL,
        "Takes a pending close back.",
        "Four or more characters of the token's beginning suffice where they tell which is meant. What RUFUS "
        "has closed cannot be undone.",
        (("token", {"metavar": "TOKEN", "help": "the session's token, or its beginning"}),),
    ),
    "retry": Command(
        "commands.retry",
        ALL,
        "Tries all pending closes now.",
        "Without a running daemon it delivers them by itself, each until it is closed or has failed once. It "
        "stops when a daemon starts, which then delivers them.",
    ),
    "simulate": Command(
        "training.simulate",
        ALL,
        "The same daemon on simulated pins; with your key and token it closes your session.",
        "Standard input moves the pins. Each line is `PIN low`, `PIN high`, `wait SECONDS`, `quit`, or `#` and"
        " a comment; after its end the daemon runs on until a signal. A line that it cannot read ends it with "
        "status 2; in a terminal it is told, and can be typed anew.",
    ),
    "sandbox": Command(
        "training.sandbox",
        (),
        "A stand-in for RUFUS on this machine, which can be told to be offline, slow or wrong.",
        "It shows a configuration for a session of its own, and then reads commands; `help` lists them.",
        (("--port", {"metavar": "N", "type": int, "default": 8470, "help": "where it listens; default: %(default)s"}),),
    ),
    "demo": Command(
        "training.demo",
        (),
        "A whole race's end, told as it happens; needs no hardware, network or configuration.",
    ),
}


def parser(asked: str = "") -> argparse.ArgumentParser:
    """The parser of the command that is asked for, since building all is slow; without a known one, of all."""
    made = argparse.ArgumentParser(
        "rufusd",
        description="Closes a RUFUS timing session at the press of a button, or when the reader goes off.",
        epilog=f"Exit status: {'; '.join(f'{status} {meaning}' for status, meaning in EXIT_STATUS.items())}.",
    )
    made.add_argument("--version", action="version", version=f"rufusd {__version__}", help="say which version it is")
    commands = made.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in ({asked: COMMANDS[asked]} if asked in COMMANDS else COMMANDS).items():
        purpose = command.purpose[:1].lower() + command.purpose[1:].rstrip(".")
        text = f"{command.purpose}\n\n{command.more}".rstrip()
        its = commands.add_parser(name, help=purpose, description=text)
        for each in command.places:
            place = PLACES[each]
            its.add_argument(
                place.option,
                metavar=place.metavar,
                default=from_environment(name, each) or place.default,
                type=str if each == "config" else Path,
                help=f"{place.meaning}; default: %(default)s",
            )
        for argument, how in command.arguments:
            its.add_argument(argument, **how)
    return made


def from_environment(command: str, place: str) -> str:
    """The place that the environment sets for a command; empty if it sets none.

    systemd sets a unit's folders for all its commands (systemd.exec(5)). Only a daemon uses them. Otherwise a command
    in the reader's unit would write a close into a folder where no daemon looks.
    """
    counts = place == "config" or command in ("run", "simulate")
    return os.environ.get(PLACES[place].variable, "") if counts else ""


def as_root() -> str:
    """The typed command with sudo. Places from the environment become options, because sudo removes the variables."""
    import shlex

    name, *typed = sys.argv[1:] or [""]
    command = COMMANDS.get(name)
    named = {PLACES[each].option: from_environment(name, each) for each in (command.places if command else ())}
    places = [word for option, place in named.items() if place for word in (option, place)]
    return shlex.join(["sudo", "rufusd", name, *places, *typed])  # the last option wins
