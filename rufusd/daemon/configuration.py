"""The configuration file while the daemon runs: saving it is enough, and an error in it changes nothing."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rufusd.adapters import config
from rufusd.adapters.closes.spool import Spool
from rufusd.core.settings import Settings
from rufusd.core.words import Message, _

SETTLE_TIME = 1.0  # seconds: a file that has not changed for so long is not being written any more

_GONE = _(
    "{table} was in force before this start and is gone from {path}: {means}. Put {table} back and save the file. "
    "If it is gone on purpose, run `sudo systemctl reload rufusd`"
)
_DEFAULTS = _("its default values are in force")
_WITHOUT = {
    "api": _DEFAULTS,
    "close": _DEFAULTS,
    "retry": _DEFAULTS,
    "button": _("nothing watches the button"),
    "reader": _("nothing watches the reader"),
    "led": _("no LED shows what the station does"),
    "buzzer": _("no buzzer sounds"),
}

log = logging.getLogger("rufusd")


class Configuration:
    """The configuration in force, and what is wrong with the file."""

    def __init__(self, path: str, loaded: config.Loaded, settings: Settings, spool: Spool) -> None:
        """`settings` are in `loaded`, which is from `path`. `spool` knows which tables were in force before."""
        self.settings = settings
        self.problems = loaded.problems
        self._path = path
        self._spool = spool
        self._files = loaded.files
        self._in_force = loaded  # what the settings are from
        self._changed_at: float | None = None  # when the files were last seen to change, since they were read
        self._cut: Message | None = None  # why what was saved is not in force, though it has no error
        self._gone: tuple[str, ...] = ()  # the tables that were in force before this start, and are not now
        self._tables: tuple[str, ...] = ()  # what the next start is to find in force
        self._tables_kept: tuple[str, ...] = ()  # what is on disk of it

    def begin(self) -> None:
        """Compare the tables in force with those of the daemon's last life."""
        self._tables = self._tables_kept = self._spool.notes.tables()
        self._note_tables()

    def is_saved(self, now: float) -> bool:
        """Whether the files have changed since they were read, and are not being written any more."""
        files = tuple((path, config.stamp(path)) for path, _ in self._files)
        if files != self._files:
            self._files, self._changed_at = files, now
            return False
        return self._changed_at is not None and now - self._changed_at >= SETTLE_TIME

    def read(self, *, asked: bool = False) -> bool:
        """Read the files; whether they are in force now. A file that may be cut short is, if a person `asked`."""
        loaded = config.load(self._path)
        self._files, self._changed_at = loaded.files, None
        self.problems = loaded.problems
        for problem in loaded.problems:
            log.log(logging.WARNING if problem.warning else logging.ERROR, "%s", problem)
        self._cut = None if asked or not loaded.settings else config.cut_short(self._path, self._in_force, loaded)
        if self._cut:  # a fault, and told as one
            return False
        if not loaded.settings:
            log.error(
                "the configuration has an error, told above: the old one stays in force; saving it mended is enough"
            )
            return False
        self.settings, self._in_force = loaded.settings, loaded
        self._note_tables(asked=asked)
        return True

    def keep_tables(self) -> None:
        """Write down which tables are in force, where that has changed; where the disk refuses, the next try does."""
        if sorted(self._tables) != sorted(self._tables_kept):
            with contextlib.suppress(OSError):
                self._spool.notes.keep_tables(self._tables)
                self._tables_kept = self._tables

    @property
    def valid(self) -> bool:
        """Whether the file as it is now has no error."""
        return all(problem.warning for problem in self.problems)

    def faults(self) -> Iterator[Message]:
        """What a person has to know of it."""
        if not self.valid:
            yield _(
                "{path} has an error, the configuration before it is in force: `sudo rufusd check` says what is wrong",
                path=self._path,
            )
        if self._cut:
            yield self._cut
        for table in self._gone:
            yield _GONE.with_parts(path=self._path, table=f"[{table}]", means=_WITHOUT[table])

    def _note_tables(self, *, asked: bool = False) -> None:
        """What is in force now, for the next start. What is missing stays noted until a person has accepted that."""
        now = tuple(name for name in self._in_force.outline if "." not in name)
        self._gone = () if asked else tuple(config.lost(self._tables, now))
        new = (name for name in now if name not in self._tables)
        self._tables = (*self._tables, *new) if self._gone else now
        self.keep_tables()
