"""`rufusd retry`: the daemon tries all pending closes now; without a daemon this command does."""

from __future__ import annotations

import argparse

from rufusd.adapters.closes.locks import StateFolderLocked
from rufusd.adapters.closes.records import PENDING
from rufusd.adapters.closes.spool import Spool
from rufusd.commands import asked, files, output, syntax
from rufusd.core.words import _, _n
from rufusd.text.report import SPEECHLESS


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    spool = Spool(options.state_dir.absolute())
    try:
        pending = set(spool.records.history(PENDING))
    except OSError as error:
        return files.report_read_error(spool, error)
    said = asked.ask(options.runtime_dir)
    if said.peer:
        try:
            asked.hurry(options.runtime_dir, said.peer)
        except OSError as error:
            facts = {"pid": said.peer.pid or "?", "why": output.why(error), "command": syntax.as_root()}
            return output.fail(_("cannot tell rufusd, process {pid} ({why}); run this as root: `{command}`", **facts))
        closes = said.status["closes"] if said.status else []
        pending |= {each["token"] for each in closes if each["state"] == "pending"}  # also those not on disk
    if said.peer and pending and not said.frame:  # it was told, but may never hear it
        return output.fail(SPEECHLESS.with_parts(pid=said.peer.pid or "?"))
    if said.peer and pending:
        output.say(
            _n(
                len(pending),
                "rufusd tries {n} pending close now; `rufusd status` shows how it goes",
                "rufusd tries {n} pending closes now; `rufusd status` shows how it goes",
            )
        )
        return output.OK
    if not pending:
        output.say(_("nothing is pending"))
        return output.OK
    settings = files.load_and_report(options.config).settings
    if not settings:
        return output.CONFIG
    from rufusd.daemon import once  # the whole daemon, which is not needed where one runs

    try:
        return once.deliver(settings, spool, output.say)
    except StateFolderLocked as held:
        facts = {"other": held.args[0], "folder": str(spool.folder)}
        return output.fail(
            _("{other} has the state folder {folder}: use the --runtime-dir that it was started with", **facts)
        )
