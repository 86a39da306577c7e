"""`rufusd withdraw`: takes a pending close back."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from rufusd.adapters import clock
from rufusd.adapters.closes.records import CLOSED, PENDING, WITHDRAWN
from rufusd.adapters.closes.spool import Spool
from rufusd.commands import asked, files, output
from rufusd.core.settings import is_token
from rufusd.core.words import _


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    spool, token = Spool(options.state_dir), options.token
    try:
        pending = spool.records.history(PENDING)
        held: set[str] = set()
        meant = _matching(pending, token)
        if not meant and len(token) >= 4:
            held = _held_in_memory(options.runtime_dir)
            meant = _matching(held, token)
        if len(meant) > 1 or (meant and len(token.partition("…")[0]) < 4):
            return output.fail(
                _("{token} is too little to tell which close is meant: give more of the token", token=ascii(token))
            )
        token = meant[0] if meant else token
        if not is_token(token):
            return output.fail(_("{token} is not a token; `rufusd status` shows what is pending", token=ascii(token)))
        record = spool.withdraw(token, "command", clock.utc())
        if not record:
            state = spool.vouched(token)
            if state == WITHDRAWN:
                return output.fail(_("{token} is withdrawn already; nothing to do", token=token))
            if state == CLOSED:
                return output.fail(_("{token} is closed already, which cannot be undone", token=token))
            if token in held:
                return output.fail(
                    _(
                        "the close of {token} is held in rufusd's memory only, since the disk takes nothing, so this "
                        "command cannot take it back. `sudo systemctl stop rufusd` ends it at once; but then nothing "
                        "watches the inputs until `sudo systemctl start rufusd`",
                        token=token,
                    )
                )
            return output.fail(_("no close of {token} is pending; `rufusd status` shows what is", token=token))
    except OSError as error:
        return files.report_write_error(spool, token, WITHDRAWN, error)
    if not record.sent_at:
        output.say(_("withdrawn: {name} will not be closed", name=record.name or token))
    else:
        output.say(
            _(
                "withdrawn: {name} will not be closed by rufusd any more; but RUFUS was called for it "
                "first at {at}: look there whether it is closed",
                **{"name": record.name or token, "at": record.sent_at},
            )
        )
    return output.OK


def _matching(tokens: Collection[str], given: str) -> list[str]:
    """The tokens that match what was typed: a whole one, a beginning, or the form `6E05…DB4C` of `rufusd status`."""
    begins, _dots, ends = given.partition("…")
    return [given] if given in tokens else [each for each in tokens if each.startswith(begins) and each.endswith(ends)]


def _held_in_memory(runtime: Path) -> set[str]:
    """The tokens of the closes that exist only in the daemon's memory."""
    said = asked.ask(runtime)
    closes = said.status["closes"] if said.running and said.status else []
    return {each["token"] for each in closes if each["state"] == "pending" and not each["durable"]}
