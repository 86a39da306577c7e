"""The files in memory, under /run: the daemon's view for `rufusd status`, and what the reader has done so far."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rufusd.delivery import Wait
from rufusd.triggers import Note
from rufusd.words import packed, unpacked


class Runtime:
    """One runtime folder. What cannot be written there is not worth stopping for."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self.folder = folder
        self._status = folder / "status.json"
        self._armed = folder / "armed"
        self._waits = folder / "waits.json"

    def open(self) -> None:
        """Make the folder, where systemd has not. Raises OSError."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace the daemon's view at once."""
        with contextlib.suppress(OSError):
            self._replace(self._status, {**status, "started": _started(os.getpid()), "words": packed(status)})

    def read_status(self) -> dict[str, Any] | None:
        """The view of the daemon that is running; None where none is."""
        found = _read(self._status)
        daemon = found.get("daemon")
        pid = daemon.get("pid") if isinstance(daemon, dict) else None
        # The time that a process started at tells it from a later one with the same number.
        alive = isinstance(pid, int) and found.get("started") is not None and _started(pid) == found["started"]
        made = found.pop("words", {})  # for the reader's language
        return unpacked(found, made) if alive else None

    def reader(self, boot_id: str) -> Note | None:
        """What was noted of the reader last; None where nothing ever was.

        A note that is damaged, or by an earlier version, does not say for which session the reader ran. It is taken
        for another session's, so that the reader has to be seen off before it counts.
        """
        if not os.path.lexists(self._armed):
            return None
        found = _read(self._armed)
        kinds = {"str": str, "bool": bool, "float": float}
        if all(isinstance(found.get(each.name), kinds[str(each.type)]) for each in fields(Note)):
            return Note(**{each.name: found[each.name] for each in fields(Note)})
        known = found.get("boot_id")
        return Note(known if isinstance(known, str) else boot_id, wiring="", token="")

    def note_reader(self, note: Note) -> None:
        """Note for the daemon's next life, not for the Pi's, what the reader has done so far."""
        with contextlib.suppress(OSError):
            self._replace(self._armed, asdict(note))

    def waits(self, boot_id: str, uptime: float) -> dict[str, Wait]:
        """How far each pending close had come with waiting in an earlier life of the daemon, since this boot.

        Times are seconds since this boot. What is damaged, of another boot or in the future is as if never written.
        """
        found = _read(self._waits)
        each = found.get("waits")
        if not boot_id or found.get("boot_id") != boot_id or not isinstance(each, dict):
            return {}
        waits = {token: _wait(facts, uptime) for token, facts in each.items()}
        return {token: wait for token, wait in waits.items() if wait}

    def write_waits(self, waits: Mapping[str, Wait], boot_id: str) -> None:
        """Note for the daemon's next life, not for the Pi's, how far each close has come with waiting."""
        with contextlib.suppress(OSError):
            if waits:
                self._replace(
                    self._waits, {"boot_id": boot_id, "waits": {token: asdict(each) for token, each in waits.items()}}
                )
            else:
                self._waits.unlink()

    def close(self) -> None:
        """The daemon ends: its view ends with it."""
        with contextlib.suppress(OSError):
            self._status.unlink()

    @staticmethod
    def _replace(path: Path, content: dict[str, Any]) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _wait(facts: Any, uptime: float) -> Wait | None:
    if not isinstance(facts, dict):
        return None
    began, came, looked, total = (facts.get(each.name, "") for each in fields(Wait))
    times = [looked, total, *(at for at in (began, came) if at is not None)]
    if not _is_time(looked, uptime) or not all(_is_time(at, looked) for at in times):
        return None
    return Wait(began, came, looked, total)


def _is_time(value: Any, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


def _started(pid: int) -> str | None:
    """When a process started, in ticks since boot (proc_pid_stat(5), field 22); None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        return None
