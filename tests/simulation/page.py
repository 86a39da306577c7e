"""A failed race, told in plain words: what was set up, what happened, what should have been."""

from __future__ import annotations

import re
from typing import Any

from .story import ARM, HOLD, SETTLE, STUCK
from .world import START

PROMISES = {
    "promise 1": "Promise 1, never by accident: only a trigger that was really given closes a session.",
    "promise 2": "Promise 2, never lost: a confirmed close outlives everything but a person or its reader.",
    "promise 3": "Promise 3, never early: a close waits until the session is quiet.",
    "promise 4": "Promise 4, never falsely claimed: \"closed\" is said only where RUFUS itself said so.",
    "promise 5": "Promise 5, never silent: LED and status say what is true, within a second.",
    "promise 6": "Promise 6, never leaks: the key is nowhere but in the configuration.",
    "grace": "After confirming there is time to take a close back: nothing is sent before it is over.",
    "missed": "Promise 5, never silent: a trigger that was given confirms a close.",
    "stuck": "Never stuck: once all is well, everything pending comes to its end.",
    "defect": "Never a traceback.",
    "leak": "Memory and open files do not grow.",
}  # fmt: skip
LED = {
    "off": "is off", "armed": "blips every 3 s (armed)", "unarmed": "blips twice every 3 s (not armed yet)",
    "holding": "flickers (keep holding)", "let_go": "is on (let go now)",
    "grace": "blinks twice a second (confirmed, can be taken back)", "withdrawn": "is off for a second (withdrawn)",
    "pending": "blinks once a second (pending)", "closed": "is on (closed)", "fault": "blinks fast (fault)",
    "fault_pending": "blinks fast and slowly in turn (pending, with a fault)",
}  # fmt: skip


def _setup(setup: dict[str, Any]) -> list[str]:
    lines = []
    inputs = [name for name in ("button", "reader") if setup[name]]
    lines.append(f"- {setup['stations']} station(s), each with {' and '.join(inputs) or 'neither button nor reader'}.")
    if setup["button"]:
        lines.append(f"- The button: hold it for {HOLD:g} s; held for more than {STUCK:g} s it counts as stuck.")
    if setup["reader"]:
        runs = "runs" if setup["runs"] else "is off"
        lines.append(f"- The reader {runs} at the beginning; it arms after {ARM:g} s, and settles for {SETTLE:g} s.")
    lines.append(f"- A close can be taken back for {setup['grace']:g} s, then waits for {setup['quiet']:g} s"
                 f" without a passing (at most {setup['max_wait']:g} s).")  # fmt: skip
    lines.append(
        f"- The key has {setup['permission']} access. RUFUS answers {setup['closed_again']} to a second closing."
    )
    return lines


def _line(time: float, who: str, what: str) -> str:
    what = re.sub(r"([ABC0])\1{7,}", lambda found: found[1] * 4, what)
    if what.startswith("LED: "):
        what = f"the LED {LED.get(what[5:], what[5:])}"
    elif what.startswith("* "):
        what = what[2:]
    elif what.startswith("["):
        what = "log: " + what.partition("] ")[2]
    marked = ">>> " if who == "ORACLE" else ""
    name = {"ORACLE": "", "oracle": "so far: ", "RUFUS": "RUFUS: ", "": ""}.get(who, f"{who}: ")
    return f"{time - START:8.2f} s  {marked}{name}{what.removeprefix('!! ') if hasattr(str, 'removeprefix') else what}"


def write(race: Any, seed: int, problems: list[tuple[str, str]]) -> str:
    """The page."""
    rule, text = problems[0]
    why = next((said for name, said in PROMISES.items() if rule.startswith(name)), rule)
    lines = [f"Race {seed}: {rule}", "=" * 40, "", f"What went wrong: {text}.", why, "", "The station", "-----------",
             *_setup(race.setup), "", "What happened", "-------------"]  # fmt: skip
    lines += [_line(*each) for each in race.world.trace if not each[2].startswith("LED: off")]
    lines += ["", "All that is wrong", "-----------------", *(f"- {rule}: {text}" for rule, text in problems)]
    lines += ["", "To play it again", "----------------", f"    make simulate RACE={seed}            (as it was made)",
              "    python -m simulation --story THIS.json   (as it is told here)", ""]  # fmt: skip
    return "\n".join(lines)
