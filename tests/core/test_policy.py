"""The table of transitions, whole: each input in each state."""

from __future__ import annotations

from itertools import product

import pytest

from rufusd.core.policy import Action, By, CloseState, Input, decide

NOTHING = dict.fromkeys(Input)
GOES = {**NOTHING, Input.GRACE_OVER: Action.START_DELIVERY, Input.WITHDRAWN: Action.FORGET}
CANCELLABLE = {**GOES, Input.TAPPED: Action.WITHDRAW}
WITH_COURIER = {**NOTHING, Input.WITHDRAWN: Action.FORGET}

#: What each input means for a close, by where it stands and by who has confirmed it. The whole of it, by hand.
EXPECTED = {
    (CloseState.OPEN, By.NOBODY): {
        **NOTHING,
        Input.PERSON_CONFIRMED: Action.CONFIRM,
        Input.READER_CONFIRMED: Action.CONFIRM,
    },
    (CloseState.GRACE, By.PERSON): {**CANCELLABLE, Input.READER_CONFIRMED: Action.ENDORSE},
    (CloseState.GRACE, By.READER): {
        **CANCELLABLE,
        Input.READER_BACK: Action.WITHDRAW,
        Input.PERSON_CONFIRMED: Action.ENDORSE,
    },
    (CloseState.GRACE, By.READER_PERSON): CANCELLABLE,
    (CloseState.GRACE, By.PERSON_READER): {**GOES, Input.TAPPED: Action.LEAVE_TO_READER},
    (CloseState.PENDING, By.PERSON): WITH_COURIER,
    (CloseState.PENDING, By.READER): {
        **WITH_COURIER,
        Input.READER_SEEN: Action.RECALL,
        Input.READER_BACK: Action.WITHDRAW,
        Input.PERSON_CONFIRMED: Action.ENDORSE,
    },
    (CloseState.PENDING, By.READER_PERSON): WITH_COURIER,
    (CloseState.PENDING, By.PERSON_READER): WITH_COURIER,
    (CloseState.SENT, By.PERSON): GOES,
    (CloseState.SENT, By.READER): {**GOES, Input.PERSON_CONFIRMED: Action.ENDORSE},
    (CloseState.SENT, By.READER_PERSON): GOES,
    (CloseState.SENT, By.PERSON_READER): GOES,
    (CloseState.CLOSED, By.NOBODY): NOTHING,
}


@pytest.mark.parametrize(("standing", "by", "what"), list(product(CloseState, By, Input)))
def test_every_input_in_every_state(standing, by, what):
    """Promises 1 and 2: all combinations, each with what it means. What nobody has confirmed has no other state."""
    assert decide(standing, by, what) is EXPECTED.get((standing, by), NOTHING)[what]
