"""Which delivery is next, and that it is found at once among thousands."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from stations import within

from rufusd.core.delivery import Delivery, Step
from rufusd.core.schedule import Schedule


def scheduled(*deliveries: Delivery) -> Schedule:
    schedule = Schedule()
    for each in deliveries:
        schedule.put(each)
    return schedule


def test_a_close_that_is_due_goes_before_all_looks() -> None:
    """Promise 3: however many closes are pending, none is sent on a look that waited for the others' calls."""
    reads = [Delivery(f"READING{number}", 1.0, Step.READ) for number in range(5)]
    due, later = Delivery("CLOSING1", 9.0, Step.CLOSE), Delivery("CLOSING2", 11.0, Step.CLOSE)
    assert scheduled(*reads, later, due).next(10.0) == due
    assert scheduled(*reads, later).next(10.0) == reads[0]
    assert scheduled(later).next(10.0) == later
    assert scheduled().next(10.0) is None


def test_what_is_not_due_goes_by_when_it_is() -> None:
    read, close = Delivery("READING", 12.0, Step.READ), Delivery("CLOSING", 11.0, Step.CLOSE)
    assert scheduled(read, close).next(10.0) == close
    assert scheduled(read, replace(close, due=13.0)).next(10.0) == read


def test_a_delivery_that_was_taken_out_is_not_next() -> None:
    first, second = Delivery("FIRST", 1.0, Step.READ), Delivery("SECOND", 2.0, Step.READ)
    schedule = scheduled(first, second)
    schedule.drop("FIRST")
    schedule.drop("NEVER-THERE")
    assert schedule.next(10.0) == second


def test_what_was_to_close_and_is_to_read_again_goes_as_a_read() -> None:
    """Due at the same moment in both steps, it does not go before what is due earlier."""
    close, earlier = Delivery("CLOSING", 2.0, Step.CLOSE), Delivery("READING", 1.0, Step.READ)
    assert scheduled(close, replace(close, step=Step.READ), earlier).next(10.0) == earlier


steps = st.sampled_from(Step)
moments = st.integers(0, 9).map(float)
changes = st.lists(st.tuples(st.sampled_from("ABCD"), st.one_of(st.none(), st.tuples(moments, steps)), moments))


@given(changes)
def test_after_any_changes_the_next_one_is_as_if_all_were_looked_at(changes: list) -> None:
    schedule, kept = Schedule(), {}
    for token, change, now in changes:
        if change is None:
            schedule.drop(token)
            kept.pop(token, None)
        else:
            kept[token] = Delivery(token, *change)
            schedule.put(kept[token])
        if token == "D":
            schedule.turn(lambda each, by: replace(each, due=each.due + by), 1.0)
            kept = {name: replace(each, due=each.due + 1.0) for name, each in kept.items()}
        found = schedule.next(now)
        assert schedule.deliveries == kept
        due = [each for each in kept.values() if each.due <= now and each.step is Step.CLOSE]
        earliest = min((each.due for each in due or kept.values()), default=None)
        assert found in (due or list(kept.values()) or [None])
        assert (found and found.due) == earliest


def test_promise_5_among_ten_thousand_the_next_one_is_found_at_once() -> None:
    """While the courier computes, the loop waits for it, and with the loop the button."""
    schedule = scheduled(*(Delivery(f"{number:064X}", float(number), Step.READ) for number in range(10_000)))

    def took() -> float:
        began = time.thread_time()
        for _ in range(1000):
            found = schedule.next(5000.0)
            assert found
            schedule.put(replace(found, due=found.due + 5000.0))
        return time.thread_time() - began

    within(1.0, took)
