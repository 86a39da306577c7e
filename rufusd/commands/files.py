"""What several commands share: reading the configuration, and saying what is wrong with the state folder."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from rufusd.adapters.closes.disk import reason, volatile_mount
from rufusd.adapters.config import load
from rufusd.commands import output, syntax
from rufusd.core.words import _

_NOT_SAFELY = {
    "pending": _(
        "confirmed, but NOT SAFELY: {folder} fails ({why}), and a power cut may undo it; mend that, then look at "
        "`rufusd status`"
    ),
    "withdrawn": _(
        "withdrawn, but NOT SAFELY: {folder} fails ({why}), and a power cut may undo it; mend that, then look at "
        "`rufusd status`"
    ),
    "closed": _(
        "closed already, but NOT SAFELY noted: {folder} fails ({why}), and after a power cut rufusd may call RUFUS "
        "again; mend that, then look at `rufusd status`"
    ),
}
_NOT_DONE = {
    "pending": _("NOT confirmed, {folder} cannot be written ({why}): mend that, or run this as root: `{command}`"),
    "withdrawn": _("NOT withdrawn, {folder} cannot be written ({why}): mend that, or run this as root: `{command}`"),
}


def load_and_report(path: str, *, key_needed: bool = True) -> Any:
    """Load the configuration and print its problems. `close` needs no key, and does not need the warnings."""
    loaded = load(path, key_needed=key_needed)
    if not loaded.settings or key_needed:
        for problem in loaded.problems:
            output.write(sys.stderr, output.localized(problem.words))
    return loaded


def warn_of_risk(state_dir: Path) -> bool:
    """Warn if a power cut may empty the state folder. Return whether it may."""
    found = volatile_mount(state_dir)
    if found:
        output.warn(_("warning: {what}", what=found))
    return bool(found)


def report_read_error(spool: Any, error: OSError) -> int:
    """Say that the closes cannot be read, and what to do. Return the exit status."""
    facts = {"folder": str(spool.folder), "why": output.why(error), "command": syntax.as_root()}
    if isinstance(error, PermissionError):
        return output.fail(_("cannot read {folder} ({why}); run this as root: `{command}`", **facts))
    return output.fail(_("cannot read {folder} ({why}); `sudo rufusd doctor` says what to do", **facts))


def report_write_error(spool: Any, token: str, state: str, error: OSError) -> int:
    """Say what the disk's error means: nothing was done, or a power cut may undo it. Return the exit status."""
    why = output.why(error) if isinstance(error, PermissionError) else reason(error, spool.folder)
    facts = {"folder": str(spool.folder), "why": why, "command": syntax.as_root()}
    spool.refresh()
    with contextlib.suppress(OSError):
        standing = spool.standing(token)
        if standing in (state, "closed"):
            return output.fail(_NOT_SAFELY[standing].with_parts(**facts))
    return output.fail(_NOT_DONE[state].with_parts(**facts))
