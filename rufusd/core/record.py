"""A close's own facts, as they stand in its file. Pure: text in, text out.

The file's name alone suffices to deliver a close, so reading never fails: what is damaged is left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields

FORMAT = 1
ELSEWHERE = "elsewhere"  # it was closed already when the station first looked, before any call of ours
STILL_PASSING = "still passing"  # at the end of close.max_wait, while passings still came in
LONGEST = 1000  # characters of a fact: a whole record then fits into what is read of its file
# Controls, what ends a line, and what turns the direction of all that follows: no terminal may take them from a record.
# The marks U+061C, U+200E and U+200F turn nothing else, and Arabic and Hebrew names have them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Record:
    """One close. Times are RFC 3339 in UTC, for people; `uptime` is seconds since the boot that `boot_id` names."""

    token: str
    name: str = ""
    trigger: str = "unknown"
    reason: str = ""
    confirmed_at: str = ""
    clock_synchronized: bool = False
    boot_id: str = ""
    uptime: float = 0.0
    sent_at: str = ""  # when the first close call was begun: from then on RUFUS may have acted on it
    closed_at: str = ""
    withdrawn_at: str = ""
    withdrawn_by: str = ""
    wiring: str = ""  # of the reader whose going off confirmed: no other line may take the close back
    empty: bool = False  # no passing had reached the session when RUFUS was first read after only the reader confirmed
    also: str = ""  # the trigger that confirmed it, too, while it was pending
    attempts: int = 0  # calls that had failed or been refused by the time it ended, and the last one
    closed_how: str = ""  # empty: by our call; or one of the two above

    @property
    def reader_alone(self) -> bool:
        """Whether no person has confirmed it: only the reader's going off."""
        return self.trigger == "reader" and not self.also

    def to_json(self) -> str:
        """The text of the record's file: one JSON object, readable with `cat`."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        facts = {
            name: fact for name, fact in facts.items() if fact != "" and (name not in ("attempts", "empty") or fact)
        }
        facts = {name: clean(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
        return json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False) + "\n"


def clean(text: str) -> str:
    """A text that a file and a terminal can take: of bounded length, each control and half of a character a "?"."""
    return _UNSEEN.sub("?", text[:LONGEST].encode("utf-8", "replace").decode())


def from_json(token: str, text: str) -> Record:
    """The record of this token. Facts that are missing, damaged or of another kind are as if never written."""
    try:
        # Every number as a decimal, of any length; what is not a number is nothing: no grace would ever end by it.
        found = json.loads(text, parse_int=float, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        found = {}
    if not isinstance(found, dict):
        found = {}
    kinds = {"bool": bool, "float": float, "int": float, "str": str}
    facts = {f.name: found[f.name] for f in fields(Record) if isinstance(found.get(f.name), kinds[str(f.type)])}
    if "attempts" in facts:  # as large as it may be written, it is only for people
        facts["attempts"] = int(min(max(facts["attempts"], 0.0), 1e9))
    facts = {name: clean(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
    return Record(**{**facts, "token": token})
