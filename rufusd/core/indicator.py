"""What the LED and the buzzer say, as functions of time. Pure: the scan loop writes what these return."""

from __future__ import annotations

from enum import Enum


class Indication(Enum):
    """What the station is doing, as whoever stands beside it sees it."""

    OFF = "off"
    ARMED = "armed"
    UNARMED = "unarmed"
    HOLDING = "holding"
    LET_GO = "let_go"
    GRACE = "grace"
    WITHDRAWN = "withdrawn"
    PENDING = "pending"
    CLOSED = "closed"
    FAULT = "fault"
    FAULT_PENDING = "fault_pending"


WITHDRAWN_TIME = 1.0  # seconds that "withdrawn" is shown for


_HERTZ = {Indication.HOLDING: 10, Indication.GRACE: 2, Indication.PENDING: 1, Indication.FAULT: 4}
_BEEPS = {Indication.LET_GO: 1, Indication.WITHDRAWN: 2, Indication.CLOSED: 3}


def _blink(t: float, hertz: float) -> bool:
    return t * hertz % 1 < 0.5


def light(shown: Indication, t: float) -> bool:
    """Whether the LED is on, `t` seconds after this indication began."""
    if shown is Indication.ARMED:
        return t % 3 < 0.1
    if shown is Indication.UNARMED:
        return t % 3 < 0.1 or 0.3 <= t % 3 < 0.4
    if shown is Indication.FAULT_PENDING:
        return _blink(t, 4) if t % 4 < 2 else _blink(t, 1)
    hertz = _HERTZ.get(shown)
    if hertz:
        return _blink(t, hertz)
    return shown in (Indication.LET_GO, Indication.CLOSED)


def sound(shown: Indication, t: float) -> bool:
    """Whether the buzzer is on, `t` seconds after this indication began."""
    if shown is Indication.GRACE:
        return t % 1 < 0.06
    if shown in (Indication.FAULT, Indication.FAULT_PENDING):
        return t < 1
    return t < _BEEPS.get(shown, 0) * 0.2 and t % 0.2 < 0.1
