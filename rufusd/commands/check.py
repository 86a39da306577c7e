"""`rufusd check`: what is wrong with the configuration, and with where closes are kept."""

from __future__ import annotations

import argparse

from rufusd.adapters.closes.spool import Spool
from rufusd.adapters.config import lost
from rufusd.commands import files, output
from rufusd.core.words import _
from rufusd.text.report import short


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    loaded = files.load_and_report(options.config)
    settings = loaded.settings
    files.warn_of_risk(options.state_dir)
    if found := Spool(options.state_dir).records.obstacle():
        output.warn(_("warning: {what}", what=found))
    if not settings:
        return output.CONFIG
    _warn_of_loss(options, loaded.outline)
    button, reader = settings.button, settings.reader
    triggers = _("`rufusd close`")
    if reader:
        triggers = _("the reader at GPIO{pin} and {others}", pin=reader.pin, others=triggers)
    if button:
        triggers = _("the button at GPIO{pin} and {others}", pin=button.pin, others=triggers)
    output.say(
        _(
            "{path}: good; {triggers} will close {name} ({token})",
            **{"path": options.config, "triggers": triggers},
            **{"name": settings.session.name or _("the session"), "token": short(settings.session.token)},
        )
    )
    return output.OK


def _warn_of_loss(options: argparse.Namespace, outline: tuple[str, ...]) -> None:
    """Warn about tables that were in use and are now missing."""
    for table in lost(Spool(options.state_dir).notes.tables(), [name for name in outline if "." not in name]):
        output.warn(
            _(
                "warning: [{table}] was in force and is gone from {path}: put it back; if it is gone on purpose, run "
                "`sudo systemctl reload rufusd`",
                **{"table": table, "path": options.config},
            )
        )
