"""Writes what the documents say in common, from the program that does it: `make docs`.

The keys, their bounds and texts are those of rufusd/core/settings.py, the commands and options those of
rufusd/commands/syntax.py, the lights those of led.py. From these come the man pages (their prose is in rufusd.8.in and
rufusd.toml.5.in), the tables between the markers in README.md, the example configuration below its heading, and the
completion for bash.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import re
import runpy
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from rufusd import __version__
from rufusd.commands import syntax
from rufusd.commands.output import EXIT_STATUS
from rufusd.core import settings

ROOT = Path(__file__).parents[1]
CONFIG, STATE, RUNTIME = (place.default for place in syntax.PLACES.values())

# The example file's values where there is no default, or another one is better explained.
EXAMPLES: dict[str, Any] = {
    "api.key": "PUT-YOUR-KEY-HERE",
    "api.key_file": "/etc/rufusd/key",
    "api.ca_file": "/etc/ssl/certs/venue.pem",
    "api.proxy": "http://proxy.venue:3128",
    "session.token": "PUT-THE-TOKEN-OF-YOUR-SESSION-HERE",
    "session.name": "FINISH-10K",
    "button.pin": 17,
    "reader.pin": 27,
    "reader.pull": "up",
    "led.pin": 22,
    "buzzer.pin": 23,
}
IN_FORCE = {"api.key", "session.token", "session.name", "button.pin", "led.pin"}  # all else is commented out there

ENVIRONMENT = [
    ("`RUFUSD_CONFIG`", "The default of `--config`."),
    ("`STATE_DIRECTORY`, `RUNTIME_DIRECTORY`", "For `rufusd run` and `simulate`, the defaults of `--state-dir` and "
     "`--runtime-dir`; systemd sets them. Every other command takes the daemon's folders, whichever unit it is called "
     "from."),
    ("`CREDENTIALS_DIRECTORY`", "Where systemd puts the credential `api_key`, if the unit has one."),
    ("`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`", "systemd's, see sd_notify(3) and sd_watchdog_enabled(3)."),
    ("`JOURNAL_STREAM`", "Where it is set, each line of the log begins with its priority, see sd-daemon(3)."),
    ("`GPIOZERO_PIN_FACTORY`", "gpiozero's way to the pins; `lgpio` unless it is set."),
    ("`LG_WD`", "Where lgpio keeps its files; the runtime directory unless it is set."),
    ("`RES_OPTIONS`", "The resolver's, see resolv.conf(5); `timeout:2 attempts:2` unless it is set."),
    ("`NO_COLOR`, `TERM`", "Whether `rufusd demo` shows colours, and `rufusd watch` draws."),
]  # fmt: skip
FILES = [
    (CONFIG, "The configuration, see rufusd.toml(5)."),
    (f"{STATE}/pending/TOKEN.json", "A close that RUFUS has not confirmed yet. Removing this file does not take it "
     "back; `rufusd withdraw` does."),
    (f"{STATE}/closed/TOKEN.json", "A close that RUFUS has confirmed."),
    (f"{STATE}/withdrawn/TOKEN.json", "A close that was taken back."),
    (f"{STATE}/tables", "The names of the tables that the configuration in force has, so that the next start can tell "
     "which one is gone."),
    (f"{STATE}/answered", "A mark of the key that RUFUS itself has answered. Where something else refuses "
     "that key later, rufusd waits as in an outage."),
    (f"{STATE}/ballast", "Room on the disk that is given up for a close when the disk is full."),
    (f"{RUNTIME}/status.json", "What the running daemon does, for `rufusd status`."),
    (f"{RUNTIME}/watch", "The socket of `rufusd watch`: a line of JSON for each look at the inputs, to whoever "
     "connects. Nothing is read from it. Where it cannot be made, as in a full /run, rufusd listens at an "
     "abstract socket (unix(7)) until it can."),
    (f"{RUNTIME}/waits.json", "How long each pending close has waited for quiet, so that a restart of the daemon does "
     "not begin `close.max_wait` anew."),
    (f"{RUNTIME}/armed", "That the reader has been armed since this boot, for which session and wiring, for a "
     "restart of the daemon."),
]  # fmt: skip
SIGNALS = [
    ("SIGTERM, SIGINT", "Stop, in less than two seconds."),
    ("SIGHUP", "Read the configuration again. An invalid one is reported, and the old one stays in force."),
    ("SIGUSR1", "Try all pending closes now."),
]


# -- what the program says of itself


@dataclass(frozen=True)
class Key:
    """One key of the configuration. `text` has one paragraph or more; `default` is None where there is none."""

    table: str
    name: str
    text: list[str]
    default: Any
    needed: bool
    bounds: str

    @property
    def path(self) -> str:
        """As errors name it."""
        return f"{self.table}.{self.name}"


def texts(source: str) -> dict[str, dict[str, list[str]]]:
    """The paragraphs under each field of each class, which the compiler throws away."""
    found: dict[str, dict[str, list[str]]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            for one, after in zip(node.body, node.body[1:]):
                if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr):
                    text = ast.literal_eval(after.value)
                    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n", text)]
                    found.setdefault(node.name, {})[one.target.id] = paragraphs  # type: ignore[union-attr]
    return found


def bounds(check: Any, default: Any) -> str:
    """What a check expects, in its own words: it is asked with a value that cannot be right."""
    try:
        check(math.inf if isinstance(default, float) else "?")
    except settings.InvalidValue as wrong:
        return str(wrong).partition("; expected ")[2] or str(wrong).removeprefix("expected ")
    return ""  # any text


TEXTS = texts((ROOT / "rufusd" / "core" / "settings.py").read_text(encoding="utf-8"))
KEYS = [
    Key(
        *(name, field.name, TEXTS[table.__name__][field.name]),
        default=None if field.default in (MISSING, None, "") else field.default,
        needed=field.default is MISSING,
        bounds=bounds(field.metadata["check"], field.default),
    )
    for name, table in settings.TABLES.items()
    for field in fields(table)
]


def written(value: Any) -> str:
    """A value as TOML has it."""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, with the defaults that hold where the environment says nothing."""
    kept = {place.variable: os.environ.pop(place.variable, None) for place in syntax.PLACES.values()}
    try:
        parser = syntax.parser()
    finally:
        os.environ.update({variable: value for variable, value in kept.items() if value is not None})
    (found,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(found.choices)


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """What a command is given, and what that means: ("--port N", "where it listens; default: 8470")."""
    for each in parser._actions:
        if each.dest != "help":
            said = (each.help or "").replace("%(default)s", str(each.default))
            yield " ".join([*each.option_strings[-1:], *([str(each.metavar)] if each.metavar else [])]), said


def usage(name: str, parser: argparse.ArgumentParser) -> str:
    """The command with what is its own: `rufusd close [--reason TEXT]`."""
    common = {place.option for place in syntax.PLACES.values()}
    own = [each for each, _ in options(parser) if each.split()[0] not in common]
    return " ".join(["rufusd", name, *(f"[{each}]" if each.startswith("-") else each for each in own)])


def told(parser: argparse.ArgumentParser) -> list[str]:
    """What a command does: the first paragraph, and the others."""
    return [" ".join(each.split()) for each in re.split(r"\n\s*\n", parser.description or "")]


# -- man pages


def roff(text: str) -> str:
    """A text for man(7): `this` is bold, page(8) is a page, and no character means anything else than itself."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    text = text.replace("~", "\\(ti").replace("^", "\\(ha")
    text = re.sub(r"\b([a-z][a-z._\\-]+)\(([1-8])\)", r"\\fB\1\\fR(\2)", text)
    text = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", text)
    return re.sub(r"[^\0-~]", lambda letter: f"\\[u{ord(letter[0]):04X}]", text)


def bold(text: str) -> str:
    """What is written as it stands: a command, an option, a key."""
    return f"\\fB{roff(text)}\\fR"


def prose(text: str) -> str:
    """A paragraph for man(7), in lines of at most 80 characters that no "." begins, which would be a request."""
    lines = textwrap.wrap(roff(text), 80, break_long_words=False, break_on_hyphens=False)
    return "\n".join(("\\&" if line.startswith(".") else "") + line for line in lines)


def items(rows: Iterable[tuple[str, list[str]]]) -> str:
    """A list of things, each with its paragraphs."""
    return "\n".join(f".TP\n{what}\n" + "\n.IP\n".join(map(prose, paragraphs)) for what, paragraphs in rows)


def limits(key: Key) -> str:
    """What may be written, and what holds where nothing is."""
    expected = f"Expected: {key.bounds}. " if key.bounds else ""
    if key.needed:
        return f"{expected}It must be given."
    return f"{expected}Default: {'none' if key.default is None else f'`{written(key.default)}`'}."


def keys() -> str:
    """A section for each table, with its keys."""
    lines = []
    for table in settings.TABLES:
        lines += [f".SH \\(lB{table}\\(rB", prose(" ".join(TEXTS["Settings"][table]))]
        lines.append(items((bold(key.name), [*key.text, limits(key)]) for key in KEYS if key.table == table))
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """The two pages by their file's name."""
    common = dict(each for parser in commands().values() for each in options(parser))
    lights = runpy.run_path(str(ROOT / "docs" / "led.py"))["ROWS"]
    filled = {
        "version": __version__,
        "config": roff(CONFIG),
        "example-key": roff("ror-0123456789abcdef0123"),
        "example-token": "0123456789ABCDEF" * 4,
        "commands": items((bold(usage(name, parser)), told(parser)) for name, parser in commands().items()),
        "options": items((bold(option), [_sentence(said)]) for option, said in common.items()),
        "statuses": items((bold(str(status)), [_sentence(meaning)]) for status, meaning in EXIT_STATUS.items()),
        "environment": items((roff(names), [meaning]) for names, meaning in ENVIRONMENT),
        "files": items((f"\\fI{roff(path)}\\fR", [meaning]) for path, meaning in FILES),
        "signals": items((bold(names), [meaning]) for names, meaning in SIGNALS),
        "indicators": items(
            (bold(what), [f"LED: {led}.{f' Buzzer: {buzzer}.' if buzzer else ''} {_sentence(then)}"])
            for _, what, then, led, buzzer in lights
        ),
        "keys": keys(),
    }
    found = {}
    for source in sorted((ROOT / "docs").glob("*.in")):
        text = re.sub(r"@([a-z-]+)@", lambda name: filled[name[1]], source.read_text(encoding="utf-8"))
        found[source.stem] = f'.\\" Written by docs/manual.py from docs/{source.name}; change that.\n{text}'
    return found


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


# -- the README, the example configuration, the completion


def readme(text: str) -> str:
    """README.md with its tables and lists written anew, each between its two markers."""
    rows = []
    for table in settings.TABLES:
        rows.append(f"| **`[{table}]`** | | {' '.join(TEXTS['Settings'][table])} |")
        for key in KEYS:
            if key.table == table:
                default = "none" if key.default is None else f"`{written(key.default)}`"
                rows.append(f"| `{key.path}` | {default} | {key.text[0]} |")
    statuses = "; ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUS.items())
    parts = {
        "keys": "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]),
        "commands": "\n".join(
            [
                "| command | what it does |",
                "|---|---|",
                *(f"| `{usage(name, parser)}` | {told(parser)[0]} |" for name, parser in commands().items()),
            ]
        ),
        "statuses": "\n".join(textwrap.wrap(f"Exit statuses: {statuses}.", 120)),
    }
    for name, part in parts.items():
        start = text.index(first := f"<!-- {name}: written by `make docs` -->\n\n") + len(first)
        end = text.index(f"\n\n<!-- end of {name} -->", start)
        text = text[:start] + part + text[end:]
    return text


def example(text: str) -> str:
    """config.toml with all below its heading written anew: each key with what is to be known of it."""
    lines = [text.partition("\n\n")[0]]
    for table in settings.TABLES:
        used = any(key.path in IN_FORCE for key in KEYS if key.table == table)
        about = " ".join(TEXTS["Settings"][table])
        if not used and table in settings.OPTIONAL:
            about += f' To use it, remove the "#" of [{table}] and pin.'
        commented = table in settings.OPTIONAL and not used
        lines += ["", *_comment(about), f"# [{table}]" if commented else f"[{table}]"]
        for place, key in enumerate(each for each in KEYS if each.table == table):
            shown = EXAMPLES.get(key.path, key.default)
            note = []
            if key.path not in IN_FORCE and shown != key.default and key.name != "pin":
                note = [f"The default is {'none' if key.default is None else written(key.default)}."]
            lines += [""] * bool(place) + _comment(" ".join([*key.text, *note]))
            lines.append(("" if key.path in IN_FORCE else "# ") + f"{key.name} = {written(shown)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def completion() -> str:
    """The completion for bash: the commands, their options, and files and folders where an option takes one."""
    lines = [
        "# bash completion for rufusd; written by docs/manual.py",
        "_rufusd() {",
        "    local word=${COMP_WORDS[COMP_CWORD]} words=",
        "    case ${COMP_WORDS[COMP_CWORD - 1]} in",
        '    --config) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;',
        '    --state-dir | --runtime-dir) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;',
        "    esac",
        "    case $COMP_CWORD:${COMP_WORDS[1]} in",
        f'    1:*) words="{" ".join(commands())} --help --version" ;;',
    ]
    for name, parser in commands().items():
        flags = [each.split()[0] for each, _ in options(parser) if each.startswith("-")]
        lines.append(f'    *:{name}) words="{" ".join([*flags, "--help"])}" ;;')
    return "\n".join(
        [
            *lines,
            "    esac",
            '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")',
            "}",
            "complete -o filenames -F _rufusd rufusd\n",
        ]
    )


def documents() -> dict[Path, str]:
    """Every file that is written here, with its text."""
    readme_, config = ROOT / "README.md", ROOT / "config" / "config.toml"
    return {
        **{ROOT / "docs" / name: text for name, text in pages().items()},
        ROOT / "docs" / "rufusd.bash": completion(),
        readme_: readme(readme_.read_text(encoding="utf-8")),
        config: example(config.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
