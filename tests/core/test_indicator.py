"""The patterns of light and sound, looked at each hundredth of a second."""

from __future__ import annotations

import pytest

from rufusd.core.indicator import WITHDRAWN_TIME, Indication, light, sound


def pattern(output, shown, seconds=12.0):
    """The times, in hundredths of a second, at which an output is on."""
    return [step for step in range(round(seconds * 100)) if output(shown, step / 100 + 0.001)]


def stretches(output, shown, seconds=12.0):
    """(when it goes on, for how long), in seconds."""
    found = []
    for step in pattern(output, shown, seconds):
        if found and found[-1][0] + found[-1][1] == step:
            found[-1][1] += 1
        else:
            found.append([step, 1])
    return [(begin / 100, length / 100) for begin, length in found]


def about(pairs):
    """These times and lengths, to a hundredth of a second, for comparison with `flat` ones."""
    return pytest.approx(flat(pairs), abs=0.011)


def flat(pairs):
    return [number for pair in pairs for number in pair]


@pytest.mark.parametrize(
    ("shown", "on"),
    [
        (Indication.OFF, []),
        (Indication.WITHDRAWN, []),
        (Indication.LET_GO, [(0, 12)]),
        (Indication.CLOSED, [(0, 12)]),
        (Indication.ARMED, [(0, 0.1), (3, 0.1), (6, 0.1), (9, 0.1)]),
        (Indication.UNARMED, [(start + blip, 0.1) for start in (0, 3, 6, 9) for blip in (0, 0.3)]),
        (Indication.HOLDING, [(turn / 10, 0.05) for turn in range(120)]),
        (Indication.GRACE, [(turn / 2, 0.25) for turn in range(24)]),
        (Indication.PENDING, [(turn, 0.5) for turn in range(12)]),
        (Indication.FAULT, [(turn / 4, 0.125) for turn in range(48)]),
    ],
)
def test_light(shown, on):
    """Promise 5: the LED says what the table of indicators says."""
    assert flat(stretches(light, shown)) == about(on)


def test_fault_never_hides_a_pending_close():
    """Promise 5: pending and faulty, the LED alternates: 2 s as for a fault, 2 s as for what is pending."""
    for start in (0, 4, 8):
        for step in range(200):
            t = step / 100 + 0.001
            assert light(Indication.FAULT_PENDING, start + t) is light(Indication.FAULT, t)
            assert light(Indication.FAULT_PENDING, start + 2 + t) is light(Indication.PENDING, t)


@pytest.mark.parametrize(
    ("shown", "on"),
    [
        (Indication.LET_GO, [(0, 0.1)]),
        (Indication.WITHDRAWN, [(0, 0.1), (0.2, 0.1)]),
        (Indication.CLOSED, [(0, 0.1), (0.2, 0.1), (0.4, 0.1)]),
        (Indication.FAULT, [(0, 1)]),
        (Indication.FAULT_PENDING, [(0, 1)]),
        (Indication.GRACE, [(turn, 0.06) for turn in range(12)]),
        (Indication.OFF, []),
        (Indication.ARMED, []),
        (Indication.UNARMED, []),
        (Indication.HOLDING, []),
        (Indication.PENDING, []),
    ],
)
def test_sound(shown, on):
    """Promise 5: the buzzer says what the table of indicators says, once, but for the grace's tick each second."""
    assert flat(stretches(sound, shown)) == about(on)


@pytest.mark.parametrize(
    ("output", "shown", "begin", "end"),
    [
        (light, Indication.ARMED, 0.0, 0.1),
        (light, Indication.UNARMED, 0.0, 0.1),
        (light, Indication.UNARMED, 0.3, 0.4),
        (light, Indication.GRACE, 0.0, 0.25),
        (sound, Indication.GRACE, 0.0, 0.06),
        (sound, Indication.LET_GO, 0.0, 0.1),
        (sound, Indication.FAULT, 0.0, 1.0),
    ],
)
def test_a_blip_is_as_long_as_the_table_says(output, shown, begin, end):
    """Promise 5: it begins at its first moment, and has ended at its last."""
    assert output(shown, begin)
    assert output(shown, end - 0.0001)
    assert not output(shown, end)


def test_one_beep_is_one():
    """No second one begins as its time ends."""
    assert not sound(Indication.LET_GO, 0.2)


def test_beeps_fit_into_what_they_announce():
    """The two beeps of "withdrawn" are over before it is, after a second."""
    assert WITHDRAWN_TIME == 1.0
    begin, length = stretches(sound, Indication.WITHDRAWN)[-1]
    assert begin + length < WITHDRAWN_TIME


def test_no_two_indications_look_and_sound_alike():
    """Promise 5: whoever stands at the station can tell each from each other by eye and ear."""
    said = {shown: (pattern(light, shown), pattern(sound, shown)) for shown in Indication}
    for one in Indication:
        for other in Indication:
            assert one is other or said[one] != said[other], (one, other)


def test_every_light_that_is_not_off_shows_within_three_seconds():
    """Promise 5: nobody has to look for longer than 3 s to see that the station runs."""
    for shown in set(Indication) - {Indication.OFF, Indication.WITHDRAWN}:
        assert pattern(light, shown, 3.0)
