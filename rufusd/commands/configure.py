"""`rufusd configure`: the questions that set a station up, in a terminal or a pipe. RUFUS is only read from.

Each answer is put into a draft of the file, and counts if `rufusd check` would find nothing wrong with it there.
"""

from __future__ import annotations

import argparse
import difflib
import getpass
import os
import re
import signal
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from rufusd.adapters.config import Problem, cut_short, load, stamp
from rufusd.adapters.draft import NotEditable, changed, save, tree, without
from rufusd.adapters.language import translate
from rufusd.core import settings
from rufusd.core.delivery import (
    Meaning,
    SessionInfo,
    drop_body_with_key,
    explain_unreadable,
    judge_device,
    judge_read,
    parse_session,
)
from rufusd.core.words import Message, _, _n
from rufusd.text.report import short

EXAMPLE = Path(__file__).parents[1] / "example.toml"  # config/config.toml, as it is shipped
_ASKED = re.compile(r"api\.key(_file)?|session\.\w+|(button|reader|led|buzzer)(\.(pin|pull|active|running))?")

# How a part can be wired: in a technician's words, and what that is in the file.
_WIRINGS: dict[str, tuple[tuple[Message, dict[str, str]], ...]] = {
    "button": (
        (_("between the pin and ground"), {"active": "low", "pull": "up"}),
        (_("between the pin and 3.3 V"), {"active": "high", "pull": "down"}),
    ),
    "reader": (
        (
            _("high: a contact to ground that opens then, or an output that is then at 3.3 V"),
            {"running": "high", "pull": "up"},
        ),
        (
            _("low: a contact to 3.3 V that opens then, or an output that is then at 0 V"),
            {"running": "low", "pull": "down"},
        ),
        (
            _("low: a contact to ground that closes then (a cut cable looks like the reader off, and would close)"),
            {"running": "low", "pull": "up"},
        ),
    ),
    "led": (
        (_("at high: the LED is between the pin and ground"), {"active": "high"}),
        (_("at low: the LED is between the pin and 3.3 V"), {"active": "low"}),
    ),
    "buzzer": (
        (_("at high: by an NPN transistor, as in the wiring table"), {"active": "high"}),
        (_("at low"), {"active": "low"}),
    ),
}
_PINS = {
    "button": (_("The button's pin"), _("The button is (either way, a cut cable looks like one that is let go)")),
    "reader": (_("The reader's pin"), _("While the reader runs, its line is (1 and 2 look so with a cut cable, too)")),
    "led": (_("The status LED's pin"), _("The LED is on")),
    "buzzer": (_("The buzzer's pin"), _("The buzzer sounds")),
}  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    return converse(options.config)


def converse(file: str) -> int:
    """Ask, show, and save; the exit status. Until the last question is answered by yes, nothing is written."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    if sys.stdin.isatty():  # where Ctrl-C is to end it, though a script may have had it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _converse(file)
    except EOFError:
        _tell("")
        return _fail(_("the answers ended before the last question; nothing is saved"))
    except NotEditable:
        return _fail(
            _(
                "{file} is written in a way that only a person can change; nothing is saved; open it in an editor",
                file=file,
            )
        )
    except KeyboardInterrupt:
        _tell("", _("Nothing is saved."))
        raise


def _converse(file: str) -> int:
    folder = Path(file).resolve().parent
    if not os.access(folder, os.W_OK):
        why = _("cannot write in {folder}: it is for root only, read-only or missing; try `sudo rufusd configure`")
        return _fail(why.with_parts(folder=folder))
    before = stamp(file)
    _tell(
        _("Questions that make {file}. Enter takes what is in brackets, Ctrl-C ends them.", file=file),
        _("Nothing is saved before the last one. The file can be edited by hand as well; it explains each line."),
    )
    text, whole = _begin(file)
    if text is None:
        return 1
    draft = _Draft(file, text)
    _ask_key(draft)
    _ask_session(draft)
    _tell(
        "",
        _(
            "Pins have any of their names: 17, GPIO17, or BOARD11, the eleventh of the header. "
            "Where there is none, answer -."
        ),
    )
    for table in settings.OPTIONAL:
        _ask_pin(draft, table)
    return _finish(draft, text, before, keep=not whole)


def _begin(file: str) -> tuple[str | None, bool]:
    """The text to begin with, None for none, and whether it is the file's own, with all that is in it."""
    example = EXAMPLE.read_text(encoding="utf-8")
    try:
        raw = Path(file).read_bytes() if os.path.isfile(file) or not os.path.exists(file) else None
    except FileNotFoundError:
        _tell(_("There is no such file yet: it begins as the example that comes with rufusd."))
        return example, True
    except OSError:
        raw = None
    wrong = [each for each in load(file).problems if not each.warning and not _ASKED.fullmatch(each.key)]
    if raw is None:
        for each in wrong:
            _fail(each.words)
        return None, False
    if not wrong:
        return _decoded(raw), True
    _tell("", *(each.words for each in wrong))
    if _yes(_("Begin from the example that comes with rufusd, and keep this file under another name?"), default=True):
        return example, False
    if any(each.key in ("syntax", "file") for each in wrong):
        _fail(_("mend that in an editor first; `sudo nano {file}` opens one", file=file))
        return None, False
    return _decoded(raw), True


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8-sig").replace("\r\n", "\n")


class _Draft:
    """What the file is going to be, and which of its keys have been answered."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self._answered: set[str] = set()

    def has(self, table: str) -> bool:
        return table in tree(self.text)

    def value(self, table: str, key: str, *, usable: bool = True) -> Any:
        """What is in the file, or else the default; `usable`: the default, too, where that is wrong. None for none."""
        (field,) = (each for each in fields(settings.TABLES[table]) if each.name == key)
        default = None if field.default is MISSING else field.default
        inside = tree(self.text).get(table)
        found = inside.get(key, default) if isinstance(inside, dict) else default
        try:
            field.metadata["check"](found)
        except settings.InvalidValue:
            return default if usable else found
        return found

    def take(self, table: str, answers: Mapping[str, Any], instead_of: str = "") -> bool:
        """Whether the answers can stand beside those before; why not is told."""
        text, answered = self.text, self._answered | {f"{table}.{key}" for key in answers}
        if instead_of:
            text = without(text, table, instead_of)
        for key, value in answers.items():
            if value != self.value(table, key, usable=False):
                text = changed(text, table, key, value)
        wrong = [each for each in self.problems(text) if not each.warning and each.key in answered]
        for each in wrong:
            _add(each.text)
        if not wrong:
            self.text, self._answered = text, answered
        return not wrong

    def problems(self, text: str) -> tuple[Problem, ...]:
        return load(self.file, text=text).problems


# -- what is asked


def _ask_key(draft: _Draft) -> None:
    _tell("")
    kept, file = draft.value("api", "key"), draft.value("api", "key_file")
    place = _("the one in {file}", file=file) if file else _("the one in the file") if kept else ""
    question = _("The RUFUS account's key, with READ_WRITE or WRITE access (it is not shown)")
    while True:
        typed = _ask(question, place, secret=True)
        if typed == _NONE:  # it is a credential, which only the service itself is given
            return
        answers = {"key_file": file} if file and not typed else {"key": typed or kept}
        if not (typed or place):
            _add(_NEEDED)
        elif draft.take("api", answers, instead_of="key_file" if file and typed else ""):
            return


def _ask_session(draft: _Draft) -> None:
    kept, seen, good = draft.value("session", "token"), None, False
    while not good:
        typed = _ask(_("The session's token, or ? to look for the session of a timing device"), short(kept or ""))
        looked = typed == "?"
        seen = _session_of_device(draft) if looked else None
        token = seen.token if seen else typed or kept or ""
        if not (typed or kept):
            _add(_NEEDED)
        elif (seen or not looked) and draft.take("session", {"token": token}):
            good, seen = (True, seen) if looked else _looked_at(draft, token)
    name = seen.name if seen and token != kept else draft.value("session", "name")
    while (typed := _ask(_("What people call it"), name) or name) and not draft.take("session", {"name": typed}):
        pass


def _session_of_device(draft: _Draft) -> SessionInfo | None:
    """The session that the device has open, if it is the one that is meant."""
    device = _ask(_("The device's id"))
    if not settings.is_token(device):
        _add(
            _(
                "{value}; expected the id of a timing device as RUFUS shows it: 8 to 128 of A-Z a-z 0-9 _ -",
                value=settings.foreign(device),
            )
        )
        return None
    answer = _read(draft, lambda client: client.read_device(device))
    if not answer:
        return None
    verdict, seen = judge_device(answer), parse_session(answer)
    if verdict.meaning is Meaning.OPEN and seen:
        _show(seen)
        return seen if _yes(_("Take this one?"), default=True) else None
    _add(_("{why}; give the token instead", why=verdict.reason))
    return None


def _looked_at(draft: _Draft, token: str) -> tuple[bool, SessionInfo | None]:
    """Whether the token is the one that is meant, and what RUFUS tells of its session."""
    answer = _read(draft, lambda client: client.read(token))
    if not answer:
        return True, None
    verdict, seen = judge_read(answer, token), parse_session(answer, token)
    if seen and verdict.meaning in (Meaning.OPEN, Meaning.CLOSED):
        _show(seen)
        return seen.active or _yes(_("It is closed already. Take it all the same?"), default=False), seen
    if verdict.meaning is Meaning.UNREADABLE and answer.status in (404, 410):
        _add(explain_unreadable(answer))
        return _yes(_("Take it all the same?"), default=False), None
    why = explain_unreadable(answer) if verdict.meaning is Meaning.UNREADABLE else verdict.reason
    _add(_("{why}; so neither key nor token could be tested here", why=why))
    return True, None


def _read(draft: _Draft, call: Callable[[Any], Any]) -> Any:
    """RUFUS's answer to a reading call with the key and the address of the draft; None where these are not good."""
    text = changed(draft.text, "session", "token", "-" * 8)  # any: what is read is the call's own
    found = load(draft.file, text=text).settings
    if not found:
        _add(_("RUFUS cannot be asked for it: the file has no key yet, or other mistakes"))
        return None
    _add(_("asking RUFUS ..."))
    from rufusd.adapters.rufus import Client  # only now, since requests takes long to load

    return drop_body_with_key(call(Client(found.api)), found.api.key)


def _show(seen: SessionInfo) -> None:
    name, state = seen.name or translate(_("a session without a name")), _("open") if seen.active else _("closed")
    passings = "" if seen.passings is None else translate(_n(seen.passings, ", {n} passing", ", {n} passings"))
    made = translate(_(", made {at}", at=seen.created)) if seen.created else ""
    _tell(f"  {name} ({short(seen.token)}): {translate(state)}{passings}{made}")


def _ask_pin(draft: _Draft, table: str) -> None:
    question, how = _PINS[table]
    fresh = not draft.has(table)
    kept = None if fresh else draft.value(table, "pin")
    while True:
        typed = _ask(question, _NONE if kept is None else str(kept))
        if typed == _NONE or (kept is None and not typed):
            if not fresh:
                draft.text = without(draft.text, table)
            return
        if draft.take(table, {"pin": int(typed) if typed.isdecimal() else typed or kept}):
            break
    ways = list(_WIRINGS[table])
    now = {key: draft.value(table, key) for key in ways[0][1]}
    if now not in [found for _, found in ways]:
        if fresh:
            now = ways[0][1]
        else:
            ways.append((_("as it is in the file now"), now))
    while True:
        _tell(f"{translate(how)}:", *(f"  {n}  {translate(way)}" for n, (way, _) in enumerate(ways, 1)))
        chosen = (
            _ask(_("1 to {n}", n=len(ways)), default := str([found for _, found in ways].index(now) + 1)) or default
        )
        if chosen in map(str, range(1, len(ways) + 1)) and draft.take(table, ways[int(chosen) - 1][1]):
            return


# -- the end


def _finish(draft: _Draft, began: str, before: object, *, keep: bool) -> int:
    """Show what has changed and what `rufusd check` says to it, and save it, if that is wanted."""
    path, problems = Path(draft.file), draft.problems(draft.text)
    told = [each.words for each in problems]
    if draft.text == began and before and not keep:
        _tell("", *told, _("{file} stays as it is: the answers are what it says already.", file=path))
        return 0
    _tell("", _("What changes:"), *_differences(began, draft.text), "", *told)
    bad = any(not each.warning for each in problems)
    if not _yes(
        _("Save it in spite of these mistakes?") if bad else _("Save it as {file}?", file=path), default=not bad
    ):
        return _fail(_("nothing is saved; {file} is as it was", file=path))
    if stamp(draft.file) != before:
        return _fail(_("nothing is saved: somebody else has changed {file} meanwhile; begin again", file=path))
    try:
        kept = save(path, draft.text, keep=keep)
    except OSError as error:
        why = _(os.strerror(error.errno or 0).lower())
        if stamp(draft.file) != before:  # by save itself, which then failed to make it durable
            return _fail(
                _(
                    "{file} is saved, but a power cut may undo that ({why}): the disk may be failing, look at "
                    "`sudo rufusd doctor`",
                    **{"file": path, "why": why},
                )
            )
        return _fail(_("nothing is saved: {file} cannot be written ({why})", file=path, why=why))
    _tell("", _("Saved."))
    if cut_short(draft.file, load(draft.file, text=began), load(draft.file, text=draft.text)):
        _tell(
            _("Something is gone from it, so a running rufusd waits for your consent: `sudo systemctl reload rufusd`.")
        )
    if kept:
        _tell(_("The file before is {file}.", file=kept))
    _tell(
        _("A rufusd that runs takes it up within seconds, and one that waited for it starts."),
        _("Look at it by `sudo rufusd status`, and test the whole station by `sudo rufusd doctor`."),
    )
    return 0


def _differences(before: str, after: str) -> list[str]:
    """The lines that change, with neither the old key nor the new one."""
    tables = [inside for text in (before, after) if isinstance(inside := tree(text).get("api"), dict)]
    keys = {str(inside["key"]) for inside in tables if inside.get("key")}
    lines = []
    for line in list(difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=0))[2:]:
        shown = re.sub(r"""(\bkey["']?\s*=).*""", r'\1 "…"', line)
        for key in keys:
            shown = shown.replace(key, "…")
        if place := re.match(r"@@ .*\+([0-9]+)", shown):
            lines.append(translate(_("line {n}:", n=int(place[1]))))
        else:
            lines.append(f"  {shown}")
    return lines


# -- questions and answers

_NONE = "-"  # in every language, as "?" is
_NEEDED = _("this needs an answer; Ctrl-C ends the questions, and nothing is saved")
_YES, _NO = _("yes"), _("no")


def _ask(question: str, kept: str = "", *, secret: bool = False) -> str:
    """What is answered, in one line; empty for what is in brackets. Raises EOFError."""
    prompt = translate(question) + (f" [{translate(kept)}]: " if kept else ": ")
    if secret and sys.stdin.isatty():
        return _unquoted(getpass.getpass(prompt))
    sys.stdout.write(prompt)
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    if not sys.stdin.isatty():
        _tell("")
    return _unquoted(line)


def _unquoted(answer: str) -> str:
    """An answer without the quotes that the file has around it, since that is where many are copied from."""
    answer = answer.strip()
    quoted = len(answer) > 1 and answer[0] == answer[-1] and answer[0] in "\"'"
    return answer[1:-1].strip() if quoted else answer


def _yes(question: str, *, default: bool) -> bool:
    while True:
        answer = _ask(question, _YES if default else _NO)
        if not answer or _is(answer, _YES) or _is(answer, _NO):
            return _is(answer, _YES) if answer else default


def _is(answer: str, word: Message) -> bool:
    """Whether yes, or no, was meant: in English or the reader's language, whole or by its first letter.

    Accents are as one types them, or not.
    """
    words = {_bare(word), _bare(translate(word))}
    return _bare(answer) in words | {each[0] for each in words}


def _bare(word: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFD", word.casefold()) if not unicodedata.combining(each))


def _tell(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{translate(line)}\n")


def _add(sentence: str) -> None:
    """What belongs to the answer above."""
    _tell(f"  {translate(sentence)}")


def _fail(sentence: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"rufusd: {translate(sentence)}\n")
    return 1
