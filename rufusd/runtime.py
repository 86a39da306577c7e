"""The files in memory, under /run: the daemon's view for `rufusd status`, and whether the reader was armed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rufusd.delivery import Wait
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

    def armed(self, boot_id: str, wiring: str) -> bool:
        """Whether the reader was armed when this was last written, since this boot and with the same wiring."""
        return bool(boot_id) and _read(self._armed) == {"boot_id": boot_id, "wiring": wiring}

    def write_armed(self, armed: bool, boot_id: str, wiring: str) -> None:
        """Note for the daemon's next life, not for the Pi's, whether the reader is armed."""
        with contextlib.suppress(OSError):
            if armed:
                self._replace(self._armed, {"boot_id": boot_id, "wiring": wiring})
            else:
                self._armed.unlink()

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
    began, came, looked, total = (facts.get(name, "") for name in ("began", "came", "looked", "total"))
    times = [looked, total, *(at for at in (began, came) if at is not None)]
    if not _is_time(looked, uptime) or not all(_is_time(at, looked) for at in times):
        return None
    return Wait(began, came, looked, total, facts.get("empty") is True)


def _is_time(value: Any, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


def _started(pid: int) -> str | None:
    """When a process started, in ticks since boot (proc_pid_stat(5), field 22); None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        return None
