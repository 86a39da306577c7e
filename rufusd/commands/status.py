"""`rufusd status`: what the daemon says of itself, and every close on disk."""

from __future__ import annotations

import argparse
import sys
import time

from rufusd import __version__
from rufusd.adapters.closes.disk import volatile_mount
from rufusd.adapters.closes.records import CLOSED, PENDING, WITHDRAWN
from rufusd.adapters.closes.spool import Spool
from rufusd.adapters.config import hidden, load
from rufusd.commands import asked, files, output, syntax
from rufusd.text import report


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    spool, now = Spool(options.state_dir), time.monotonic()
    endangered = volatile_mount(spool.folder)
    loaded = load(options.config)
    session = loaded.settings.session if loaded.settings else None
    said = asked.ask(options.runtime_dir)
    status, unreadable, command = said.status, [], syntax.as_root()
    if not status:
        valid: bool | None = loaded.settings is not None
        problems = [problem.words for problem in loaded.problems]
        if not valid and hidden(options.config):
            valid, problems = None, []
            unreadable.append(report.HIDDEN_CONFIGURATION.with_parts(path=options.config, command=command))
        status = report.status_object(
            version=__version__,
            pid=said.peer.pid if said.peer else None,
            since=None,
            valid=valid,
            problems=problems,
            session={"token": session.token if session else None, "name": session.name if session else None},
            faults=[
                *filter(None, [endangered]),
                *([report.SPEECHLESS.with_parts(pid=said.peer.pid or "?")] if said.peer else []),
            ],
        )
    if said.hidden:
        status["daemon"]["running"] = None
        unreadable.append(report.HIDDEN.with_parts(folder=str(options.runtime_dir), command=command))
    try:
        if said.age is not None:  # a daemon that hangs does not know yet what commands have ended
            status["closes"] = [
                each
                for each in status["closes"]
                if not each["durable"] or spool.standing(each["token"]) not in (CLOSED, WITHDRAWN)
            ]
        known = {each["token"] for each in status["closes"]}
        for state in (PENDING, CLOSED, WITHDRAWN):
            records = spool.records.history(state)
            durable = state != PENDING or not endangered
            if records.keys() - known:  # the daemon has not told of them: they are synced before they are told
                try:
                    spool.records.sync(state)
                except OSError:
                    durable = False
            found = [report.close_object(record, state, now, durable=durable) for record in records.values()]
            status["closes"] += [each for each in found if each["token"] not in known]
            known |= {each["token"] for each in found}
    except PermissionError:
        unreadable.append(report.HIDDEN_CLOSES.with_parts(folder=str(spool.folder), command=command))
    except OSError as error:
        return files.report_read_error(spool, error)
    status["daemon"]["view_age"] = said.age
    status["unreadable"] = unreadable
    if options.json:
        output.say_json(status)
    else:
        led = bool(loaded.settings and loaded.settings.led)
        output.write(sys.stdout, report.render(status, output.localized, led=led).rstrip("\n"))
    return output.OK
