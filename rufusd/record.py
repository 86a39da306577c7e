"""A close's own facts, as they stand in its file. Pure: text in, text out.

The file's name alone suffices to deliver a close, so reading never fails: what is damaged is left out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

FORMAT = 1


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

    def to_json(self) -> str:
        """The text of the record's file: one JSON object, readable with `cat`."""
        facts = {key: value for key, value in asdict(self).items() if value != ""}
        return json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False) + "\n"


def from_json(token: str, text: str) -> Record:
    """The record of this token. Facts that are missing, damaged or of another kind are as if never written."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = {}
    if not isinstance(found, dict):
        found = {}
    kinds: dict[str, tuple[type, ...]] = {"bool": (bool,), "float": (float, int), "str": (str,)}
    facts = {f.name: found[f.name] for f in fields(Record) if isinstance(found.get(f.name), kinds[str(f.type)])}
    return Record(**{**facts, "token": token})
