"""What `rufusd status`, its JSON, systemd's STATUS= and the live view's frames say. Pure: facts in, words out."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rufusd.core.delivery import Delivery, Phase
from rufusd.core.indicator import Indication
from rufusd.core.inputs import Press, ReaderState
from rufusd.core.record import ELSEWHERE, STILL_PASSING, Record
from rufusd.core.settings import Button, Reader
from rufusd.core.words import Message, _, _n

FORMAT = 1
SHOWN = 10  # ended closes in the text; the JSON has all

DOING = {
    Indication.ARMED: _("armed"),
    Indication.UNARMED: _("not armed yet"),
    Indication.HOLDING: _("button held, not long enough yet"),
    Indication.LET_GO: _("button held long enough: let go"),
    Indication.GRACE: _("confirmed: press to take it back"),
    Indication.WITHDRAWN: _("withdrawn"),
    Indication.PENDING: _("close pending"),
    Indication.CLOSED: _("closed"),
    Indication.FAULT: _("fault"),
    Indication.FAULT_PENDING: _("close pending, fault"),
}
STOPPED = _("rufusd is not running: nothing watches the inputs; start it with `sudo systemctl start rufusd`")
SILENT = _(
    "rufusd does not answer: it hangs, or the machine is busy. What follows is {age} old. Look again; if rufusd still "
    "does not answer, `sudo systemctl restart rufusd`, which loses no close"
)
SPEECHLESS = _(
    "rufusd runs (process {pid}), but does not answer: it hangs, or is of another version. Look again; if it still "
    "does not answer, `sudo systemctl restart rufusd`, which loses no close"
)
HIDDEN = _("you may not read {folder}, where rufusd writes what it does: run `{command}`")
HIDDEN_CLOSES = _("closes that have ended are in {folder}, which you may not read: run `{command}`")
HIDDEN_CONFIGURATION = _("the configuration is in {path}, which you may not read: run `{command}`")
LIGHT = {  # and what a person is to do then; the patterns are `indicator`'s
    Indication.ARMED: _("a short blip every 3 s"),
    Indication.UNARMED: _("two blips every 3 s: a trigger below is not armed yet"),
    Indication.HOLDING: _("flickers: keep holding"),
    Indication.LET_GO: _("on: let go now, which confirms"),
    Indication.GRACE: _("blinks twice a second: a short press takes it back"),
    Indication.WITHDRAWN: _("off for a second"),
    Indication.PENDING: _("blinks once a second: leave the power on, no more is to be done"),
    Indication.CLOSED: _("on: RUFUS says that the session is closed"),
    Indication.FAULT: _("blinks four times a second: do what the fault below says"),
    Indication.FAULT_PENDING: _("blinks fast and slowly in turn: the close is confirmed; do what the fault below says"),
}
SESSION = _("session")  # that has no name
LED = _("LED")
STATE = {"pending": _("pending"), "closed": _("closed"), "withdrawn": _("withdrawn")}
TRIGGER = {"button": _("button"), "reader": _("reader"), "command": _("command"), "unknown": _("unknown")}
QUIET = _("waiting for quiet: no new passing for long enough{look}")
COMING = _(
    "waiting for quiet: a passing came {passing_ago:.0f} s ago; closes at the latest in {closes_within:.0f} s{look}"
)
STILL = _("closed at the end of close.max_wait, while passings still came: later passings are not in this session")
ALREADY = _("was closed already when you pressed, and this station has no record of closing it: check session.token")
SENDING = _("being sent now")
UNDER_WAY = {Phase.QUIET: QUIET.with_parts(look=""), Phase.SENDING: SENDING}
BUTTON = {
    "unknown": _("not read yet"),
    "waits": _("pressed, but this press does not count: let it go for {hold_time:g} s"),
    "resting": _("released; it counts once it has been released for {hold_time:g} s"),
    "flickering": _("its line flickers: check the switch, its cable and plugs"),
    "released": _("released, hold {hold_time:g} s and let go to close"),
    "pressed": _("pressed"),
    "stuck": _("stuck: check the switch and its cable"),
}
READER = {
    "unknown": _("not read yet"),
    "off": _("off, not armed: it must run first"),
    "running": _("running, not armed yet"),
    "stale": _(
        "not armed: it has run since before this session was configured; switch it off and on, or use the button"
    ),
    "flickering": _("its line flickers: check its cable and plugs"),
    "armed": _("running, armed: closes when it goes off"),
    "settling": _("off, was armed: closes unless it runs again"),
}
NO_MORE = {"released": _("released"), "armed": _("running"), "settling": _("off")}  # where nothing is left to confirm


def close_object(
    record: Record,
    state: str,
    now: float,
    delivery: Delivery | None = None,
    *,
    held: str = "",
    durable: bool = True,
) -> dict[str, Any]:
    """One close in `status --json`. `now` is monotonic; `held` is what keeps it from the courier: grace, or reader."""
    facts: dict[str, Any] = {
        "token": record.token,
        "name": record.name,
        "state": state,
        "phase": None,
        "trigger": record.trigger,
        "confirmed_at": record.confirmed_at or None,
        "clock_synchronized": record.clock_synchronized,
        "attempts": record.attempts,
        "last_error": None,
        "next_attempt_in": None,
        "closed_at": record.closed_at or None,
        "closed_how": record.closed_how or None,
        "durable": durable,
        "passing_ago": None,
        "closes_within": None,
    }
    if state == "pending":
        facts["phase"] = held or ("waiting" if delivery is None else delivery.phase.value)
    if delivery:
        facts["attempts"] = delivery.attempts
        facts["last_error"] = delivery.error or delivery.refused or delivery.empty or None
        if delivery.phase is not Phase.SENDING:
            facts["next_attempt_in"] = round(max(0.0, delivery.due - now), 1)
        if delivery.phase is Phase.QUIET and delivery.came is not None and delivery.latest is not None:
            facts["passing_ago"] = round(max(0.0, now - delivery.came), 1)
            facts["closes_within"] = round(max(0.0, delivery.latest - now), 1)
    return facts


def status_object(
    *,
    version: str,
    pid: int | None,
    since: str | None,
    valid: bool | None,
    problems: Iterable[str],
    session: Mapping[str, str | None],
    button: str | None = None,
    hold_time: float | None = None,
    reader: str | None = None,
    indication: Indication = Indication.OFF,
    faults: Iterable[str] = (),
    closes: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The object that `status --json` prints."""
    return {
        "format": FORMAT,
        "daemon": {"running": pid is not None, "pid": pid, "since": since, "version": version},
        "config": {"valid": valid, "problems": list(problems)},
        "session": dict(session),
        "button": {"state": button, "hold_time": hold_time},
        "reader": {"state": reader},
        "indicator": indication.value,
        "faults": list(faults),
        "closes": list(closes),
    }


def closes_with_age(closes: Iterable[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The closes of a view that was written so many seconds ago, as they are now."""
    moves = {"next_attempt_in": -seconds, "closes_within": -seconds, "passing_ago": seconds}
    return [
        {
            **each,
            **{
                name: round(max(0.0, each[name] + by), 1)
                for name, by in moves.items()
                if isinstance(each.get(name), (int, float))
            },
        }
        for each in closes
    ]


def frame(
    now: float,
    *,
    button: Button | None,
    press: Press,
    reader: Reader | None,
    reader_state: ReaderState,
    indication: Indication,
    shown_for: float,
    grace: float | None,
) -> dict[str, Any]:
    """One scan, for whoever watches. Seconds: `at` is monotonic, `so_far` goes towards `of`, where a rule counts."""
    of_button: dict[str, Any] | None = None
    if button:
        counts = press.state == "pressed"
        of_button = {
            "level": _level(press.line.level, button.active),
            "state": press.state,
            "hold_time": button.hold_time,
            "so_far": round(press.longest_contact, 3) if counts else None,
            "of": (press.rules or button).hold_time if counts else None,
        }
    of_reader: dict[str, Any] | None = None
    if reader:
        goal = {"running": reader.arm_time, "settling": reader.settle_time}.get(reader_state.state)
        of_reader = {
            "level": _level(reader_state.line.level, reader.running),
            "state": reader_state.state,
            "so_far": None if goal is None else round(reader_state.line.steady_for(reader_state.state == "running"), 3),
            "of": goal,
        }
    return {
        "at": round(now, 3),
        "button": of_button,
        "reader": of_reader,
        "indicator": indication.value,
        "shown_for": round(shown_for, 2),
        "grace": None if grace is None else round(grace, 1),
    }


def _level(active: bool | None, when_active: str) -> str | None:
    """What a line reads: low or high; None where it was not read."""
    return None if active is None else "high" if active == (when_active == "high") else "low"


def truncated(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status that is short enough for a frame, however much there is: `more` is how many closes and faults it lacks.

    A frame has to fit into the socket's buffer as a whole.
    """
    closes, faults, problems = status["closes"], status["faults"], status["config"]["problems"]
    return {
        **status,
        "config": {**status["config"], "problems": problems[:SHOWN]},
        "closes": closes[:SHOWN],
        "faults": faults[:SHOWN],
        "more": {"closes": len(closes[SHOWN:]), "faults": len(faults[SHOWN:])},
    }


_NUMBER, _TEXT, _OPTIONAL = (int, float), (str,), (str, type(None))
_CLOSE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("token", "name", "state", "trigger"), _TEXT),
    **dict.fromkeys(("phase", "confirmed_at", "last_error", "closed_at"), _OPTIONAL),
    **dict.fromkeys(("clock_synchronized", "durable"), (bool,)),
    "attempts": (int,),
    "next_attempt_in": (int, float, type(None)),
}
_MAY_LACK: dict[str, tuple[type, ...]] = {  # since an earlier version runs, or there is none now
    **dict.fromkeys(("passing_ago", "closes_within"), (int, float, type(None))),
    "closed_how": _OPTIONAL,
}


def _texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def is_status(found: Any) -> bool:
    """Whether it has the shape of a daemon's status, as it comes from a file or a socket: else it cannot be told."""
    try:
        indication, daemon, session = Indication(found["indicator"]), found["daemon"], found["session"]
        button, closes = found["button"], found["closes"]
        return (
            indication in Indication
            and isinstance(daemon["pid"], int)
            and isinstance(daemon["running"], bool)
            and isinstance(daemon["since"], _OPTIONAL)
            and isinstance(session["token"], _OPTIONAL)
            and isinstance(session["name"], _OPTIONAL)
            and isinstance(button["state"], _OPTIONAL)
            and (button["state"] is None or isinstance(button["hold_time"], _NUMBER))
            and isinstance(found["reader"]["state"], _OPTIONAL)
            and isinstance(found["written_at"], _NUMBER)
            and isinstance(found["config"]["valid"], bool)
            and _texts(found["config"]["problems"])
            and _texts(found["faults"])
            and isinstance(closes, list)
            and all(isinstance(each[name], kinds) for each in closes for name, kinds in _CLOSE.items())
            and all(isinstance(each.get(name), kinds) for each in closes for name, kinds in _MAY_LACK.items())
            and all(each["state"] in STATE for each in closes)
            and all(isinstance(count, int) for count in found.get("more", {}).values())
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def is_frame(found: Any, *, first: bool = False) -> bool:
    """Whether it has the shape of a frame; the `first` one of a connection has a status, too."""
    try:
        inputs = [found[name] for name in ("button", "reader") if found[name] is not None]
        return (
            (is_status(found["status"]) and {"closes", "faults"} <= found["status"]["more"].keys())
            if first or "status" in found
            else True
        ) and (
            Indication(found["indicator"]) in Indication
            and all(isinstance(found[name], _NUMBER) for name in ("at", "shown_for"))
            and isinstance(found["grace"], (*_NUMBER, type(None)))
            and all(each["level"] in ("low", "high", None) and isinstance(each["state"], str) for each in inputs)
            and all(isinstance(each[name], (*_NUMBER, type(None))) for each in inputs for name in ("so_far", "of"))
            and all((each["so_far"] is None) == (each["of"] is None) for each in inputs)
            and isinstance((found["button"] or {"hold_time": 0})["hold_time"], _NUMBER)
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def combined(told: Mapping[str, Any], view: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the daemon tells now, which is `truncated`, with what only the view that it wrote last has."""
    rest: Mapping[str, Any] = view or {"closes": (), "faults": (), "config": {"problems": ()}}
    more = told["more"]
    known = {each["token"] for each in told["closes"]}
    status = {name: value for name, value in told.items() if name != "more"}
    if more["closes"]:
        status["closes"] = [*told["closes"], *(each for each in rest["closes"] if each["token"] not in known)]
    if more["faults"]:
        status["faults"] = [*told["faults"], *(each for each in rest["faults"] if each not in told["faults"])]
    return status


def with_age(status: Mapping[str, Any], now: float) -> dict[str, Any]:
    """A status with its seconds as they are now."""
    rest = {name: value for name, value in status.items() if name != "written_at"}
    return {**rest, "closes": closes_with_age(status["closes"], now - status["written_at"])}


def span(seconds: float) -> Message:
    """So much time, for people."""
    for unit, words in ((86400, _("{n} d")), (3600, _("{n} h")), (60, _("{n} min"))):
        if seconds >= unit:
            return words.with_parts(n=int(seconds // unit))
    return _("{n} s", n=int(seconds))


def printable(text: str) -> str:
    """A text from outside that can neither move a terminal's cursor nor turn the order of its letters around."""
    if text.isprintable():
        return text
    return "".join(
        " " if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") or each in _TURNING else each for each in text
    )


_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_HOLD = "\ue000"  # stands for a space at which no line may end


def wrapped(line: str, width: int) -> list[str]:
    """The lines of one that is too long for a terminal: they end between words, and not inside a `command`."""
    if len(line) <= width:
        return [line]
    held = re.sub("`[^`]*`", lambda command: command[0].replace(" ", _HOLD), line)
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    rows = textwrap.wrap(held, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [row.replace(_HOLD, " ") for row in rows] or [""]


def nothing_to_trigger(status: Mapping[str, Any], indication: Indication) -> bool:
    """Whether no press and no reader changes anything more: the session is closed, or its close is confirmed."""
    token = status["session"]["token"]
    return indication is Indication.CLOSED or any(
        each["token"] == token and each["state"] != "withdrawn" for each in status["closes"]
    )


def short(token: str) -> str:
    """A token, short enough for a line and long enough to tell two apart."""
    return token if len(token) <= 12 else f"{token[:4]}…{token[-4:]}"


def render(status: Mapping[str, Any], translate: Callable[[str], str] = str, *, led: bool = False) -> str:
    """`rufusd status`, for people; `translate` gives each sentence in their language; `led`: there is one."""
    session, daemon = status["session"], status["daemon"]
    indication = Indication(status["indicator"])
    doing = DOING.get(indication, _("rufusd is not running") if daemon["running"] is False else "?")
    lines: list[str] = []
    if daemon["running"] is not False and daemon.get("view_age") is not None:
        lines.append(translate(SILENT.with_parts(age=span(daemon["view_age"]))))
    if session["token"]:
        lines.append(f"{session['name'] or translate(SESSION):<14} {translate(doing):<9} {short(session['token'])}")
        if led and indication in LIGHT:
            lines.append(f"  {translate(LED):<12} {translate(LIGHT[indication])}")
        for name, states in (("button", BUTTON), ("reader", READER)):
            facts = status[name]
            if facts["state"]:
                words = NO_MORE if nothing_to_trigger(status, indication) and facts["state"] in NO_MORE else states
                known = facts["state"] in words  # by this version
                told = words[facts["state"]].with_parts(**facts) if known else facts["state"]
                lines.append(f"  {translate(TRIGGER[name]):<12} {translate(told)}")
    lines += detail_lines(status, translate)
    if daemon["running"] is False:
        lines.append(translate(STOPPED))
    lines += map(translate, status.get("unreadable", ()))
    return "\n".join(lines) + "\n"


def detail_lines(status: Mapping[str, Any], translate: Callable[[str], str]) -> list[str]:
    """All but the inputs: a line or more for each close, fault and problem of the configuration."""
    lines: list[str] = []
    ended = [each for each in status["closes"] if each["state"] != "pending"]
    for each in [each for each in status["closes"] if each["state"] == "pending"] + ended[-SHOWN:]:
        lines += close_lines(each, translate)
    if len(ended) > SHOWN:
        older = len(ended) - SHOWN
        lines.append(
            translate(
                _n(
                    older,
                    "and an older one; `rufusd status --json` has all",
                    "and {n} older ones; `rufusd status --json` has all",
                )
            )
        )
    lines += [translate(_("fault: {fault}", fault=fault)) for fault in status["faults"]]
    return [*lines, *map(translate, status["config"]["problems"])]


def close_lines(each: Mapping[str, Any], translate: Callable[[str], str]) -> list[str]:
    """The lines of one close."""
    when = translate(
        _(
            "confirmed {at}{clock} by {trigger}",
            at=each["confirmed_at"] or _("at an unknown time"),
            clock="" if each["clock_synchronized"] else _(" (by a clock that was not set)"),
            trigger=TRIGGER.get(each["trigger"], each["trigger"]),
        )
    )
    state = translate(STATE[each["state"]])
    line = f"{each['name'] or translate(SESSION):<14} {state:<9} {short(each['token'])}   {when}"
    if each["state"] == "closed":
        lines = [line + translate(_(", closed {at}", at=each["closed_at"] or _("at an unknown time")))]
        how = {STILL_PASSING: STILL, ELSEWHERE: ALREADY}.get(each.get("closed_how") or "")
        return [*lines, f"  {translate(how)}"] if how else lines
    if each["state"] == "withdrawn":
        return [line]
    seconds = each["next_attempt_in"]
    soon = "" if seconds is None else _(", next in {seconds:.0f} s", seconds=seconds)
    look = "" if seconds is None else _(", next look in {seconds:.0f} s", seconds=seconds)
    if each["attempts"]:
        line += translate(_n(each["attempts"], ", {n} attempt", ", {n} attempts"))
    what = {
        "grace": _("can still be taken back at the button"),
        "reader": _(
            "the reader seems to run again: waits until it is off, or has run for long enough to take this back"
        ),
        "quiet": QUIET.with_parts(look=look)
        if each.get("passing_ago") is None
        else COMING.with_parts(look=look, **each),
        "sending": SENDING,
        "retry": _("waiting: {why}{soon}", why=each["last_error"], soon=soon),
        "empty": _("waiting for a person: {why}", why=each["last_error"]),
        "refused": _("refused: {why}{soon}", why=each["last_error"], soon=soon),
    }.get(each["phase"], _("waiting for rufusd to run"))
    lines = [line, f"  {translate(what)}"]
    unsafe = _("NOT ON DISK: leave the power on")
    return lines if each["durable"] else [*lines, f"  {translate(unsafe)}"]
