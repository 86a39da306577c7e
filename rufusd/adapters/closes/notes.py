"""What a daemon keeps in the state folder for its next life, beside the closes. Losing it loses no close."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from rufusd.adapters.closes.durable import content, replace_file

_FEW = 4096  # bytes: as much of a note as is read
_TABLE = re.compile("#?[a-z]+")  # one, or one that was commented out


class Notes:
    """A file for each."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet."""
        self._tables, self._answered = folder / "tables", folder / "answered"

    def tables(self) -> tuple[str, ...]:
        """The tables of the configuration that was in force last, as `keep_tables` was given them; else none."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lines = content(self._tables, _FEW).decode("ascii").split("\n")
            return tuple(line for line in lines if _TABLE.fullmatch(line))
        return ()

    def keep_tables(self, names: Iterable[str]) -> None:
        """Note which tables are in force. Raises OSError."""
        replace_file(self._tables, "".join(f"{name}\n" for name in names))

    def has_answered(self, key: str) -> bool:
        """Whether RUFUS itself has ever answered this key, of which only a mark is given."""
        with contextlib.suppress(OSError):
            return content(self._answered, _FEW) == key.encode()
        return False

    def note_answered(self, key: str) -> None:
        """Note that RUFUS itself has answered this key. Without the disk, this life knows it."""
        with contextlib.suppress(OSError):
            replace_file(self._answered, key)
