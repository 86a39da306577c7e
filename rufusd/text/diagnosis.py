"""What `rufusd doctor` makes of what it has seen: each check's result, what was found, and the cure. Pure."""

from __future__ import annotations

import errno
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rufusd.core.delivery import Answer, Meaning, SessionInfo, judge_read, parse_session
from rufusd.core.gpio import GpioChip, GpioLine
from rufusd.core.indicator import Indication
from rufusd.core.settings import Button, Reader, Session, same_name
from rufusd.core.words import _, _n
from rufusd.text.report import BUTTON, DOING, READER, short

GOOD, WARNING, BAD, UNKNOWN, SKIPPED = "good", "warning", "bad", "unknown", "skipped"
MARKS = {GOOD: "✓", WARNING: "!", BAD: "✗", UNKNOWN: "?", SKIPPED: "-"}
ASCII_MARKS = {**MARKS, GOOD: "+", BAD: "x"}

# Every check by its name in the JSON, and what people read.
TITLES = {
    "configuration": _("configuration"),
    "daemon": _("daemon"),
    "gpio": _("GPIO"),
    "button_line": _("button's line"),
    "reader_line": _("reader's line"),
    "led_line": _("LED's line"),
    "buzzer_line": _("buzzer's line"),
    "free_lines": _("free lines"),
    "button": _("button"),
    "reader": _("reader"),
    "folder": _("state folder"),
    "disk": _("disk"),
    "clock": _("clock"),
    "dns": _("name (DNS)"),
    "route": _("route"),
    "proxy": _("proxy"),
    "tls": _("TLS"),
    "rufus": _("RUFUS"),
    "key": _("key"),
    "session": _("session"),
    "name": _("session's name"),
}
WIDTH = 15  # of the column of these, where no language's needs more
SLOW = 1.0  # seconds for one fsync: an SD card in good health takes some hundredths, a dying one many
FEW = 16 << 20  # bytes
NONE_LEFT = 128 << 10  # bytes: twice the ballast, which the spool wants before it makes one
AS_ROOT = _("run `sudo rufusd doctor`")


@dataclass(frozen=True)
class Check:
    """One line of the screen. `result` is one of the five above, `cure` what to do, one sentence or more."""

    name: str
    result: str
    found: str
    cure: tuple[str, ...] = ()


@dataclass(frozen=True)
class User:
    """Whose rights count: the user that the daemon runs as. `ours`: this program has the same."""

    name: str
    ours: bool
    may: bool | None = None  # use what is asked about; None where it was not asked


@dataclass(frozen=True)
class Folder:
    """The state folder, and how a scratch file in it went."""

    path: str
    owner: str | None  # None where there is no such folder
    risk: str = ""
    free: int | None = None  # bytes
    took: float | None = None  # seconds for one fsync
    error: int = 0  # the errno of the scratch file
    why: str = ""  # that, in words


def skipped(name: str, because: str) -> Check:
    """A check that means nothing since another failed."""
    return Check(name, SKIPPED, _("not looked at, because of the {title} above", title=TITLES[because]))


def hung(name: str, seconds: float) -> Check:
    """A check that did not come to its end in its time."""
    return Check(name, BAD, _("no end after {seconds:.0f} s", seconds=seconds), (_HANGS.get(name, _("try it again")),))


_HANGS = {
    "folder": _("the disk hangs: the SD card may be failing, copy it and replace it"),
    "gpio": _("the GPIO hangs: switch the Pi off and on"),
}


def configuration(path: str, problems: Iterable[tuple[str, bool]], only_key: bool, view: Mapping[str, Any]) -> Check:
    """`problems` as `check` prints them, each with whether it is just a warning.

    `only_key`: but for the key, all is good; the running daemon, whose `view` it is, may have that from systemd.
    """
    told = tuple(text for text, _warning in problems)
    errors = sum(not warning for _text, warning in problems)
    if not told:
        return Check("configuration", GOOD, _("{path}: good", path=path))
    if not errors:
        found = _n(len(told), "{path}: good, with a warning", "{path}: good, with {n} warnings", path=path)
        return Check("configuration", WARNING, found, told)
    if only_key and view and view["config"]["valid"]:
        found = _("{path}: good but for the key, which only rufusd has", path=path)
        return Check("configuration", UNKNOWN, found, told)
    return Check("configuration", BAD, _n(errors, "{path}: an error", "{path}: {n} errors", path=path), told)


def hidden(path: str) -> Check:
    """A configuration that whoever looks may not read, though the daemon's user may."""
    return Check("configuration", UNKNOWN, _("you may not read {path}", path=path), (AS_ROOT,))


def daemon(view: Mapping[str, Any], live: bool, session: Session | None) -> Check:
    """Whether one runs, with this configuration and without faults. `live`: it has shown itself just now."""
    if not view:
        cure = _("`sudo systemctl start rufusd`; where it ends again, `sudo journalctl --unit rufusd` says why")
        return Check("daemon", WARNING, _("rufusd is not running: nothing watches the inputs"), (cure,))
    since = _("process {pid}, running since {since}", pid=view["daemon"]["pid"], since=view["daemon"]["since"])
    if view["faults"]:
        return Check("daemon", BAD, _("{since}, with a fault", since=since), tuple(view["faults"]))
    if not live:
        cure = _("look again; where it stays so, `sudo systemctl restart rufusd`, which loses no close")
        return Check("daemon", WARNING, _("{since}, but gives no sign of life", since=since), (cure,))
    if session and view["session"]["token"] != session.token:
        cure = _("`sudo systemctl reload rufusd` makes the configuration above count; `rufusd status` shows its own")
        return Check("daemon", WARNING, _("{since}, with another configuration", since=since), (cure,))
    doing = DOING.get(Indication(view["indicator"]), "")
    return Check("daemon", GOOD, _("{since}: {doing}", since=since, doing=doing))


def unheard(folder: str, *, hidden: bool) -> Check:
    """A daemon that runs, and says nothing of itself; or `hidden`, one that whoever looks may not ask."""
    if hidden:
        return Check("daemon", UNKNOWN, _("you may not look into {folder}", folder=folder), (AS_ROOT,))
    cure = _("look again; where it stays so, `sudo systemctl restart rufusd`, which loses no close")
    return Check("daemon", BAD, _("rufusd runs, but gives no sign of life"), (cure,))


# -- GPIO


def gpio(chip: GpioChip, user: User, reads: bool, backend: str) -> Check:
    """Whether the chip can be used. `reads`: the running daemon does read its inputs; `backend` is gpiozero's."""
    if chip.error in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        if reads:
            cure = _("good for training; a race needs a Raspberry Pi")
            return Check("gpio", WARNING, _("none here: rufusd runs on simulated pins"), (cure,))
        cure = _("rufusd needs a Raspberry Pi with Raspberry Pi OS 12 or later, for its button and its LED")
        return Check("gpio", BAD, _("this machine has no {path}", path=chip.path), (cure,))
    join = _("`sudo usermod --append --groups gpio {user}`, then restart rufusd", user=user.name)
    if chip.error in (errno.EACCES, errno.EPERM):
        if user.ours:
            return Check("gpio", BAD, _("{user} may not use {path}", user=user.name, path=chip.path), (join,))
        return Check("gpio", UNKNOWN, _("you may not look at {path}", path=chip.path), (AS_ROOT,))
    if chip.error:
        cure = _("restart the Pi; where that does not help, bring its system up to date")
        found = _("{path} gives no answer (error {number})", path=chip.path, number=chip.error)
        return Check("gpio", BAD, found, (cure,))
    if user.may is False:
        return Check("gpio", BAD, _("{user} may not use {path}", user=user.name, path=chip.path), (join,))
    on = _("{model}, ", model=chip.model) if chip.model else ""
    found = _("{on}{path} ({label}), by {backend}", on=on, path=chip.path, label=chip.label, backend=backend)
    return Check("gpio", GOOD, found)


def line(role: str, spec: Any, chip: GpioChip, view: Mapping[str, Any]) -> Check:
    """Who holds the line of the button, reader, led or buzzer. It should be the daemon, or nobody where none runs."""
    name, number = f"{role}_line", spec.pin
    found = chip.lines.get(number)
    if found is None:
        cure = _("choose another pin for {role}.pin", role=role)
        return Check(name, BAD, _("GPIO{number}: this chip has no such line", number=number), (cure,))
    ours = bool(view) and is_ours(role, number, found, view)
    if found.used and not ours:
        who = _("{program}, process {pid}", program=found.program, pid=found.pid)
        who = who if found.pid else _('something that calls itself "{consumer}"', consumer=found.consumer)
        cure = (
            _("end that program, or choose another pin for {role}.pin", role=role)
            if found.pid
            else _("end that program, or turn its interface off with `sudo raspi-config`, or choose another {role}.pin",
                   role=role)
        )  # fmt: skip
        return Check(name, BAD, _("GPIO{number} is taken by {who}", number=number, who=who), (cure,))
    if view and not ours:
        cure = _("`rufusd status` says why; on simulated pins this is as it should be")
        return Check(name, WARNING, _("GPIO{number}: rufusd runs, but does not hold it", number=number), (cure,))
    if ours and found.pull and found.pull != getattr(spec, "pull", found.pull):
        cure = _("`sudo systemctl restart rufusd`; where it stays so, this pin cannot do that: choose another")
        given = _("GPIO{number} is pulled {pull}, not {meant}", number=number, pull=found.pull, meant=spec.pull)
        return Check(name, WARNING, given, (cure,))
    if number in (0, 1):
        cure = _("choose another pin: GPIO0 and GPIO1 are for the memory on a HAT, which has pull-ups on them")
        return Check(name, WARNING, _("GPIO{number} is not for general use", number=number), (cure,))
    held = _("GPIO{number}, held by rufusd", number=number) if ours else _("GPIO{number}, free", number=number)
    return Check(name, GOOD, held)


def is_ours(role: str, number: int, found: GpioLine, view: Mapping[str, Any]) -> bool:
    """Whether the daemon holds a line: by its process, or, where nobody tells that, by its own word."""
    if found.pid:
        return bool(found.pid == view["daemon"]["pid"])
    return found.used and not any(f"GPIO{number} ({role})" in fault for fault in view["faults"])


def free_lines(chip: GpioChip, taken: Iterable[int]) -> Check:
    """The lines of the header that nothing uses, `taken` being the configured ones. GPIO0 and 1 are a HAT's."""
    free = [n for n, each in sorted(chip.lines.items()) if n > 1 and not each.used and n not in taken]
    runs: list[list[int]] = []
    for number in free:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return Check("free_lines", GOOD, _("GPIO {numbers}", numbers=shown) if free else _("none"))


# -- the levels


def button(spec: Button, state: str | None, level: str | None, problem: str = "") -> Check:
    """The button now: `state` is the running daemon's word, if one runs. `problem`: why the line cannot be read."""
    if state in ("stuck", "waits", "pressed", "flickering") or (state is None and level == spec.active):
        doing = BUTTON[state or "pressed"].with_parts(hold_time=spec.hold_time)
        cure = _('let it go; nobody holds it? Then look at its cable, at its switch, and at button.active ("{active}")',
                 active=spec.active)  # fmt: skip
        return _level("button", BAD if state in ("stuck", "flickering") else WARNING, level or spec.active, doing, cure)
    if state == "resting":
        return _level("button", GOOD, level or _other(spec.active), BUTTON[state].with_parts(hold_time=spec.hold_time))
    if state == "released" or (state is None and level):
        return _level("button", GOOD, level or _other(spec.active), _("released"))
    return Check("button", BAD, _("cannot be read"), (problem or _("look at what is said of its line above"),))


def reader(spec: Reader, state: str | None, level: str | None, problem: str = "") -> Check:
    """The reader's signal now, as `button`."""
    if state in ("off", "running", "armed", "settling", "stale", "flickering"):
        by_state = spec.running if state in ("running", "armed", "stale") else _other(spec.running)
        result = {"settling": WARNING, "stale": WARNING, "flickering": BAD}.get(state, GOOD)
        return _level("reader", result, level or by_state, READER[state])
    if state is None and level:
        return _level("reader", GOOD, level, _("running") if level == spec.running else _("off"))
    return Check("reader", BAD, _("cannot be read"), (problem or _("look at what is said of its line above"),))


def _level(name: str, result: str, level: str, doing: str, *cure: str) -> Check:
    said = _("high") if level == "high" else _("low")
    return Check(name, result, _("{doing} (the line is {level})", doing=doing, level=said), cure)


def _other(level: str) -> str:
    return {"high": "low", "low": "high"}[level]


# -- the disk, the clock


def folder(seen: Folder, user: User) -> Check:
    """Whether the state folder is there, and the daemon's user may write into it."""
    if seen.error in (errno.EACCES, errno.EPERM) and not user.ours:
        return Check("folder", UNKNOWN, _("you may not write into {path}", path=seen.path), (AS_ROOT,))
    if user.may is False or seen.error in (errno.EACCES, errno.EPERM):
        cure = _("`sudo chown --recursive {user}: {path}`", user=user.name, path=seen.path)
        found = _("{user} may not write into all of {path}", user=user.name, path=seen.path)
        return Check("folder", BAD, found, (cure,))
    if seen.error in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
        cure = _("remove what is in its place: rufusd makes the folder at its start")
        return Check("folder", BAD, _("{path} is no folder", path=seen.path), (cure,))
    if seen.owner is None and not seen.error:
        cure = _("rufusd makes it at its first start")
        return Check("folder", WARNING, _("{path} is not there yet", path=seen.path), (cure,))
    return Check("folder", GOOD, _("{path}, {owner}'s", path=seen.path, owner=seen.owner or "?"))


def disk(seen: Folder) -> Check:
    """Whether what is written there is still there after a power cut."""
    if seen.risk:
        return Check("disk", BAD, _("what is confirmed would not be safe"), (seen.risk,))
    if seen.error not in (0, errno.EACCES, errno.EPERM):
        cure = {
            errno.ENOSPC: _("free some space"),
            errno.EDQUOT: _("free some space"),
            errno.EROFS: _("the SD card may be failing, copy it and replace it; or mount it for writing"),
            errno.EIO: _("the SD card is failing, copy it and replace it"),
        }.get(seen.error, _("put right what is said of the folder above"))
        return Check("disk", BAD, _("nothing can be written ({why})", why=seen.why), (cure,))
    size = (seen.free or 0) / 1e6
    room = _("{size:.1f} GB free", size=size / 1e3) if size >= 1000 else _("{size:.1f} MB free", size=size)
    if seen.free is not None and seen.free < FEW:
        little = BAD if seen.free < NONE_LEFT else WARNING
        return Check("disk", little, room, (_("free some space: old logs, other programs' files"),))
    if seen.error:
        return Check("disk", UNKNOWN, _("{room}; fsync was not tried", room=room), (AS_ROOT,))
    if seen.took is None:
        return Check("disk", GOOD, room)
    both = _("{room}; fsync works, in {took:.0f} ms", room=room, took=seen.took * 1000)
    if seen.took > SLOW:
        return Check("disk", WARNING, both, (_("that is slow: the SD card may be failing, copy it and replace it"),))
    return Check("disk", GOOD, both)


def clock(now: str, synchronized: bool) -> Check:
    """The wall clock, which TLS and people go by, and nothing else."""
    if synchronized:
        return Check("clock", GOOD, _("{now}, set by the network", now=now))
    cure = _("without a network that is normal; where there is one, see `timedatectl`. TLS needs the right day")
    return Check("clock", WARNING, _("{now}, not set by the network since this start", now=now), (cure,))


# -- the network


def reached(stage: str, what: str, host: str) -> Check:
    """A stage on the way to RUFUS that is behind us."""
    found = {
        "dns": _("{host} is {what}", host=host, what=what),
        "route": _("{what} takes connections", what=what),
        "proxy": _("{what} lets the call through", what=what),
        "tls": _("{what}, and the certificate is {host}'s", host=host, what=what),
    }[stage]
    return Check(stage, GOOD, found)


def blocked(stage: str, problem: str, untimely: str = "") -> Check:
    """The stage at which the way to RUFUS ends. `problem` is the client's; `untimely` the clock's time, if blamed."""
    found = {
        "dns": _("not found"),
        "route": _("no connection"),
        "proxy": _("no way through it"),
        "tls": _("no trust"),
        "rufus": _("no answer"),
    }[stage]
    if untimely:
        found = _("no trust, by a clock that says {now}", now=untimely)
    return Check(stage, BAD, found, (problem,))


def plain() -> Check:
    """What stands for TLS where there is none."""
    return Check("tls", SKIPPED, _("none: RUFUS's stand-in is on this machine"))


def answered(answer: Answer, session: Session, took: float) -> list[Check]:
    """RUFUS, the key, the session and its name, from the answer to reading that. `took` is in seconds."""
    verdict = judge_read(answer, session.token)
    if verdict.meaning in (Meaning.RETRY, Meaning.BARRED):
        bad = Check("rufus", BAD, _("what answered is not RUFUS, or RUFUS has no answer now"), (verdict.reason,))
        return [bad, *(skipped(name, "rufus") for name in ("key", "session", "name"))]
    good = Check("rufus", GOOD, _("answers, after {took:.1f} s", took=took))
    seen = parse_session(answer, session.token)
    if seen:
        return [good, _reading_key(), _session(seen), _name(seen.name, session)]
    if not verdict.own:
        cure = _("where the key is one that may read, check api.url, the network and any proxy")
        something = Check("rufus", UNKNOWN, _("something answers, but not in RUFUS's own words"), (cure,))
        state = BAD if answer.status == 401 else UNKNOWN
        refused = Check("key", state, _("may not read ({status})", status=answer.status), (verdict.reason,))
        return [something, refused, skipped("session", "key"), skipped("name", "key")]
    if answer.status == 401:
        cure = _("put your account's key, with WRITE or READ_WRITE access, into api.key")
        refused = Check("key", BAD, _("RUFUS does not know it (401)"), (cure,))
    elif answer.status == 403:
        found = _("may not read (403): a WRITE key, which can close, or one that RUFUS does not know")
        cure = _("a key with READ_WRITE access lets rufusd and this check see the session, and the passings come in")
        refused = Check("key", UNKNOWN, found, (cure,))
    else:
        cure = _("see in RUFUS that session.token, {token}, is your session's", token=short(session.token))
        unknown = Check("session", BAD, _("RUFUS knows no such session ({status})", status=answer.status), (cure,))
        takes = Check("key", GOOD, _("RUFUS takes it; whether it may close, only closing would show"))
        return [good, takes, unknown, skipped("name", "session")]
    return [good, refused, skipped("session", "key"), skipped("name", "key")]


def _reading_key() -> Check:
    found = _("may read; whether it may close too (READ_WRITE), only closing would show: look at its access in RUFUS")
    return Check("key", GOOD, found)


def _session(seen: SessionInfo) -> Check:
    count = _("passings unknown") if seen.passings is None else _n(seen.passings, "{n} passing", "{n} passings")
    newest = _(", the last at {last}", last=seen.last) if seen.last else ""
    parts = {"alias": seen.name or "-", "token": short(seen.token), "count": count, "newest": newest}
    facts = _("{alias} ({token}), {count}{newest}", **parts)
    if seen.active:
        return Check("session", GOOD, _("open: {facts}", facts=facts))
    cure = _("it takes no more passings: put the token of the next session into session.token")
    return Check("session", BAD, _("closed: {facts}", facts=facts), (cure,))


def _name(alias: str, session: Session) -> Check:
    shown = alias or "-"
    if not session.name:
        return Check("name", GOOD, _("none in the configuration; RUFUS calls it {alias}", alias=shown))
    if same_name(session.name, alias):
        return Check("name", GOOD, _("{alias}, in RUFUS as in the configuration", alias=shown))
    cure = _("the token counts, not the name: see that session.token is the one you mean, then mend session.name")
    found = _("RUFUS calls it {alias}, the configuration {name}", alias=shown, name=session.name)
    return Check("name", WARNING, found, (cure,))


# -- what people and programs read


def whole(checks: Iterable[Check]) -> dict[str, Any]:
    """The object that `doctor --json` prints."""
    listed = [{"name": each.name, "result": each.result, "found": each.found, "cure": "\n".join(each.cure)}
              for each in checks]  # fmt: skip
    return {"format": 1, "checks": listed}


def text(check: Check, translate: Callable[[str], str], width: int, marks: Mapping[str, str]) -> str:
    """A check for people, in lines of this width; `translate` gives each sentence in their language."""
    column = max(WIDTH, *(len(translate(title)) for title in TITLES.values()))
    begin = f"{marks[check.result]} {translate(TITLES[check.name]):<{column}} "
    indent = " " * len(begin)
    told = [(begin, check.found), *((f"{indent}> ", each) for each in check.cure)]
    return "\n".join(
        textwrap.fill(
            translate(sentence),
            width,
            initial_indent=first,
            subsequent_indent=indent if first == begin else f"{indent}  ",
            break_long_words=False,  # commands and addresses are copied from here
            break_on_hyphens=False,
        )
        for first, sentence in told
    )
