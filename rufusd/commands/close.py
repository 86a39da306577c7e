"""`rufusd close`: confirms a close on disk, with or without a daemon."""

from __future__ import annotations

import argparse
from typing import Any

from rufusd.adapters.closes.records import PENDING
from rufusd.adapters.closes.spool import Confirmed, Spool
from rufusd.commands import asked, files, output
from rufusd.core.record import LONGEST
from rufusd.core.words import _
from rufusd.daemon.world import new_record
from rufusd.text.report import short


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    settings = files.load_and_report(options.config, key_needed=False).settings
    if not settings:
        return output.CONFIG

    if len(options.reason) > LONGEST:
        output.warn(_("the reason is too long: the record keeps its first {n} characters", n=LONGEST))
    token, name = settings.session.token, settings.session.name or _("the session")
    said = asked.ask(options.runtime_dir)
    spool = Spool(options.state_dir)
    if spool.daemon_lock.taken() and (instead := _other_session_watched(said, token)):  # a training has another folder
        return output.fail(
            _(
                "NOT confirmed: {path} names {name} ({token}), but rufusd watches {instead}. Either the file was saved "
                "a moment ago, or it was not taken up: `sudo rufusd check` and `rufusd status` say why. Once both name "
                "the same session, give the command again",
                **{"path": options.config, "name": name, "token": short(token), "instead": instead},
            )
        )
    try:
        confirmed = spool.confirm(new_record(token, settings.session.name, "command", options.reason))
        state = spool.vouched(token) if confirmed is Confirmed.NOTHING else PENDING
    except OSError as error:
        return files.report_write_error(spool, token, PENDING, error)
    if confirmed is not Confirmed.NEW:
        output.say(_nothing_new(name, confirmed, state, running=said.running))
        return output.OK
    unless = _(", unless the power fails before") if files.warn_of_risk(spool.folder) else ""
    if said.running:
        output.say(
            _(
                "confirmed: {name} will be closed{unless}; `rufusd withdraw {token}` takes it back until then",
                **{"name": name, "unless": unless, "token": token},
            )
        )
    else:
        output.say(
            _(
                "confirmed: {name} will be closed as soon as rufusd runs, which it does not now{unless}; "
                "start it with `sudo systemctl start rufusd`",
                **{"name": name, "unless": unless},
            )
        )
    return output.OK


def _nothing_new(name: str, confirmed: Confirmed, state: str | None, *, running: bool) -> str:
    """What to say where the close was confirmed before."""
    if confirmed is Confirmed.ENDORSED:
        return _(
            "{name} is being closed already; you have confirmed it too, so the reader cannot take it back", name=name
        )
    if state != PENDING:
        return _("{name} is closed already; nothing to do", name=name)
    if running:
        return _("{name} is being closed already; nothing to do", name=name)
    return _(
        "{name} is confirmed already, but rufusd is not running, so nothing closes it; start it with "
        "`sudo systemctl start rufusd`",
        name=name,
    )


def _other_session_watched(said: Any, token: str) -> str:
    """The session that the daemon watches, if it is another one: the button would close that."""

    session = said.status["session"] if said.running and said.status else {}
    other = session.get("token")
    if not other or other == token:
        return ""
    return f"{session['name']} ({short(other)})" if session["name"] else short(other)
