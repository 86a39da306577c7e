"""What `rufusd status`, its JSON and systemd's STATUS= say. Pure: facts in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rufusd.delivery import Delivery, Phase
from rufusd.indicator import Indication
from rufusd.record import Record

FORMAT = 1
SHOWN = 10  # ended closes in the text; the JSON has all

DOING = {
    Indication.ARMED: "armed",
    Indication.UNARMED: "not armed yet",
    Indication.HOLDING: "button held, not long enough yet",
    Indication.LET_GO: "button held long enough: let go",
    Indication.GRACE: "confirmed: press to take it back",
    Indication.WITHDRAWN: "withdrawn",
    Indication.PENDING: "close pending",
    Indication.CLOSED: "closed",
    Indication.FAULT: "fault",
    Indication.FAULT_PENDING: "close pending, fault",
}
BUTTON = {
    "unknown": "not read yet",
    "waits": "pressed since the start; let it go once",
    "released": "released, hold {hold_time:g} s and let go to close",
    "pressed": "pressed",
    "stuck": "stuck: check the switch and its cable",
}
READER = {
    "unknown": "not read yet",
    "off": "off, not armed: it must run first",
    "running": "running, not armed yet",
    "armed": "running, armed: closes when it goes off",
    "settling": "off, was armed: closes unless it runs again",
}


def entry(
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
        "attempts": 0,
        "last_error": None,
        "next_attempt_in": None,
        "closed_at": record.closed_at or None,
        "durable": durable,
    }
    if state == "pending":
        facts["phase"] = held or ("waiting" if delivery is None else delivery.phase.value)
    if delivery:
        facts["attempts"] = delivery.attempts
        facts["last_error"] = delivery.error or delivery.refused or None
        if delivery.phase is not Phase.SENDING:
            facts["next_attempt_in"] = round(max(0.0, delivery.due - now), 1)
    return facts


def whole(
    *,
    version: str,
    pid: int | None,
    since: str | None,
    valid: bool,
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


def aged(closes: Iterable[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The closes of a view that was written so many seconds ago, as they are now."""
    return [
        {**each, "next_attempt_in": round(max(0.0, each["next_attempt_in"] - seconds), 1)}
        if isinstance(each.get("next_attempt_in"), (int, float))
        else each
        for each in closes
    ]


def short(token: str) -> str:
    """A token, short enough for a line and long enough to tell two apart."""
    return token if len(token) <= 12 else f"{token[:4]}…{token[-4:]}"


def text(status: Mapping[str, Any]) -> str:
    """`rufusd status`, for people."""
    session, daemon = status["session"], status["daemon"]
    doing = DOING.get(Indication(status["indicator"]), "rufusd is not running")
    lines = []
    if session["token"]:
        lines.append(f"{session['name'] or 'session':<14} {doing:<8} {short(session['token'])}")
        if status["button"]["state"]:
            lines.append("  button       " + BUTTON[status["button"]["state"]].format_map(status["button"]))
        if status["reader"]["state"]:
            lines.append("  reader       " + READER[status["reader"]["state"]])
    ended = [each for each in status["closes"] if each["state"] != "pending"]
    for each in [each for each in status["closes"] if each["state"] == "pending"] + ended[-SHOWN:]:
        lines += _close(each)
    if len(ended) > SHOWN:
        lines.append(f"and {len(ended) - SHOWN} older ones; `rufusd status --json` has all")
    lines += [f"fault: {fault}" for fault in status["faults"]]
    lines += list(status["config"]["problems"])
    if not daemon["running"]:
        lines.append("rufusd is not running: nothing watches the inputs; start it with `systemctl start rufusd`")
    return "\n".join(lines) + "\n"


def _close(each: Mapping[str, Any]) -> list[str]:
    clock = "" if each["clock_synchronized"] else " (by a clock that was not set)"
    when = f"confirmed {each['confirmed_at'] or 'at an unknown time'}{clock} by {each['trigger']}"
    line = f"{each['name'] or 'session':<14} {each['state']:<8} {short(each['token'])}   {when}"
    if each["state"] == "closed":
        return [f"{line}, closed {each['closed_at'] or 'at an unknown time'}"]
    if each["state"] == "withdrawn":
        return [line]
    soon = "" if each["next_attempt_in"] is None else f", next in {each['next_attempt_in']:.0f} s"
    attempts = f", {each['attempts']} attempt{'s' * (each['attempts'] != 1)}" if each["attempts"] else ""
    what = {
        "grace": "can still be taken back at the button",
        "reader": "the reader seems to run again: waits until it is off, or has run for long enough to take this back",
        "waiting": "waiting for rufusd to run",
        "quiet": "waiting for quiet: no new passing for long enough" + soon.replace("next", "next look"),
        "sending": "being sent now",
        "retry": f"waiting: {each['last_error']}{soon}",
        "refused": f"refused: {each['last_error']}{soon}",
    }[each["phase"]]
    return [line + attempts, f"  {what}"] + ([] if each["durable"] else ["  NOT ON DISK: leave the power on"])
