"""What the station shows, and what its triggers wait for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from rufusd.core.closes import Close
from rufusd.core.indicator import Indication
from rufusd.core.inputs import Press, ReaderState
from rufusd.core.policy import CloseState
from rufusd.core.settings import Button, Reader
from rufusd.core.words import _


@dataclass(frozen=True)
class View:
    """All that the indicators depend on."""

    faults: tuple[str, ...] = ()
    closes: tuple[Close, ...] = ()
    not_durable: frozenset[str] = frozenset()  # tokens whose close is not on disk
    session_closed: bool = False
    withdrawn: bool = False  # just now
    button: Button | None = None
    press: Press = field(default_factory=Press)
    reader: Reader | None = None
    reader_state: ReaderState = field(default_factory=ReaderState)


def show(view: View) -> Indication:
    """What the station shows: the finger first, then what needs a person, then what it is doing."""
    fault = bool(view.faults)
    if view.withdrawn:
        return Indication.WITHDRAWN
    if view.press.held:
        return Indication.LET_GO
    if view.press.state == "pressed":
        return Indication.HOLDING
    if any(close.standing is CloseState.GRACE and close.record.token not in view.not_durable for close in view.closes):
        return Indication.GRACE
    if view.closes:
        return Indication.FAULT_PENDING if fault else Indication.PENDING
    if fault:
        return Indication.FAULT
    if view.session_closed:
        return Indication.CLOSED
    return Indication.ARMED if not waits_for(view) else Indication.UNARMED


def waits_for(view: View) -> tuple[str, ...]:
    """What a configured trigger still waits for before it would act."""
    return (
        *((_("the button's release"),) if view.button and not view.press.seen_released else ()),
        *((_("the reader to be switched off and on"),) if view.reader and view.reader_state.stale else ()),
        *(
            (_("the reader to run"),)
            if view.reader and not (view.reader_state.armed or view.reader_state.stale)
            else ()
        ),
    )
