"""The courier's thread, with a client, a spool and a network of the test's own at its three boundaries."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable

import pytest
from stations import until

from rufusd.courier import LONGEST_WAIT, Configure, Courier, Deliver, Forget, Hurry, Stop
from rufusd.delivery import Answer, Phase
from rufusd.settings import Api, Close, Retry, Session, Settings

TOKEN = "ABCDEF0123456789"
SETTINGS = Settings(Api(timeout=0.5), Session(TOKEN), Close(quiet=0), Retry(0.02, 0.05))
LAZY = replace(SETTINGS, retry=Retry(600, 600))
CLOSED = Answer(200, "closed, and the token of the call")
REFUSED = Answer(403, '{"description": "Forbidden"}')
NOTHING = Answer(problem="no network", sent=False)


class World:
    """RUFUS, the spool and the network, as plain as can be."""

    def __init__(self) -> None:
        self.answer: Callable[[], Answer] = lambda: CLOSED
        self.connecting: Callable[[], Any] = lambda: None
        self.reading: Callable[[], Answer] = lambda: Answer(403, "{}")
        self.calls: list[str] = []
        self.pending = {TOKEN}
        self.done: list[str] = []
        self.busy = self.asked = 0
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)

    def read(self, token: str) -> Answer:
        self.calls.append(f"read {token}")
        return self.reading()

    def close(self, token: str, begin: Callable[[], bool]) -> Answer:
        self.connecting()
        if not begin():
            return NOTHING
        self.calls.append(f"close {token}")
        answer = self.answer()
        return (
            Answer(200, json.dumps({"description": "closed", "token_session": token})) if answer is CLOSED else answer
        )

    def sent(self, token: str, at: str) -> bool | None:
        assert at == "now"
        self.asked += 1
        return None if self.asked <= self.busy else token in self.pending

    def closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        assert (at, how) == ("now", "")
        assert attempts
        self.done.append(token)

    def fileno(self) -> int:
        return self.reader

    def take(self) -> bool:
        return bool(os.read(self.reader, 1000))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    os.close(made.reader)
    os.close(made.writer)


@pytest.fixture
def start(world: World) -> Iterator[Callable[..., Courier]]:
    started: list[Courier] = []

    def start(settings: Settings = SETTINGS, connect: Callable[[Settings], Any] = lambda _: world) -> Courier:
        courier = Courier(settings, connect, world, world, lambda: "now", lambda: None)
        started.append(courier)
        courier.start()
        return courier

    yield start
    for courier in started:
        courier.tell(Stop())
        courier.join(5)
        assert not courier.is_alive()


Start = Callable[..., Courier]


def test_what_it_is_told_to_deliver_it_delivers(world: World, start: Start) -> None:
    """One call, one answer, one word to the spool, and nothing left."""
    courier = start()
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    until(lambda: not courier.progress)
    assert world.calls == [f"close {TOKEN}"]


def test_what_is_withdrawn_before_the_call_is_never_sent(world: World, start: Start) -> None:
    """Promise 2: the spool has the last word, at the last moment."""
    courier = start()
    world.pending = {"ANOTHER1"}
    courier.tell(Deliver(TOKEN, sent=False))
    courier.tell(Deliver("ANOTHER1", sent=False))
    until(lambda: world.done == ["ANOTHER1"])
    assert world.calls == ["close ANOTHER1"]


def test_what_is_withdrawn_while_the_connection_is_made_is_never_sent(world: World, start: Start) -> None:
    """Promise 1: told to forget it in time, the courier does not send it, though the disk has it pending still."""
    connecting, go_on = threading.Event(), threading.Event()
    world.connecting = lambda: (connecting.set(), go_on.wait(10))
    courier = start()
    courier.tell(Deliver(TOKEN, sent=False))
    assert connecting.wait(10)
    courier.tell(Forget(TOKEN))
    go_on.set()
    until(lambda: not courier.progress)
    assert (world.calls, world.asked) == ([], 0)


def test_what_it_is_told_to_forget_it_forgets(world: World, start: Start) -> None:
    """A withdrawn close is not tried again."""
    world.answer = lambda: NOTHING
    courier = start()
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: len(world.calls) > 2)
    courier.tell(Forget(TOKEN))
    until(lambda: not courier.progress)


def test_a_close_that_fails_does_not_hold_up_another(world: World, start: Start) -> None:
    """Each has its own pauses."""
    world.pending = {TOKEN, "ANOTHER1"}
    world.answer = lambda: NOTHING if world.calls[-1].endswith(TOKEN) else CLOSED
    courier = start(LAZY)
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: courier.progress.get(TOKEN) and courier.progress[TOKEN].phase is Phase.RETRY)
    courier.tell(Deliver("ANOTHER1", sent=False))
    until(lambda: world.done == ["ANOTHER1"])


@pytest.mark.parametrize("message", [Hurry(), Configure(SETTINGS)])
def test_a_person_cuts_the_pause_short(world: World, start: Start, message: object) -> None:
    """`rufusd retry` and a reload try at once, whatever the pause."""
    world.answer = lambda: NOTHING
    courier = start(LAZY)
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].error)
    world.answer = lambda: CLOSED
    courier.tell(message)
    until(lambda: world.done == [TOKEN])


def test_a_change_of_the_network_cuts_the_pause_short(world: World, start: Start) -> None:
    """A cable plugged in, a Wi-Fi found: tried at once."""
    world.answer = lambda: NOTHING
    courier = start(LAZY)
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].error)
    world.answer = lambda: CLOSED
    os.write(world.writer, b"a link is up")
    until(lambda: world.done == [TOKEN])


def test_a_change_of_the_network_does_not_hurry_a_refusal(world: World, start: Start) -> None:
    """What RUFUS refused, a new cable does not mend."""
    world.pending = {TOKEN, "ANOTHER1"}
    world.answer = lambda: REFUSED if world.calls[-1].endswith(TOKEN) else CLOSED
    courier = start(LAZY)
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].phase is Phase.REFUSED)
    calls = list(world.calls)
    os.write(world.writer, b"a link is up")
    until(lambda: not select.select([world.reader], [], [], 0)[0])
    courier.tell(Deliver("ANOTHER1", sent=False))  # had the refused one been hurried, it would go first
    until(lambda: world.done == ["ANOTHER1"])
    assert world.calls == [*calls, "close ANOTHER1"]


def test_a_defect_met_by_one_close_is_a_failed_attempt(
    world: World, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives on, says so in the journal, and tries again."""

    def broken() -> Answer:
        raise ZeroDivisionError

    world.answer = broken
    courier = start()
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].error)
    assert "a defect in rufusd" in courier.progress[TOKEN].error
    world.answer = lambda: CLOSED
    until(lambda: world.done == [TOKEN])
    assert "ZeroDivisionError" in caplog.text


def test_a_spool_that_another_process_is_busy_with_is_asked_again(world: World, start: Start) -> None:
    """Promise 1: nothing is sent before it is sure that nobody has taken the close back."""
    world.busy = 2
    courier = start()
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    assert (world.asked, world.calls) == (3, [f"close {TOKEN}"])


def test_each_reason_is_logged_once_for_each_close(
    world: World, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Two closes with troubles of their own do not make each other's news, nor does a read that works."""
    caplog.set_level("INFO", "rufusd")
    world.pending = {TOKEN, "ANOTHER1"}
    world.answer = lambda: Answer(500, "") if world.calls[-1].endswith(TOKEN) else Answer(302, "")
    courier = start(replace(SETTINGS, close=Close(quiet=0.01)))
    for token in world.pending:
        courier.tell(Deliver(token, sent=False))
    until(lambda: sum(call.startswith("close") for call in world.calls) >= 10)
    lines = [line for line in caplog.messages if "closed yet" in line]
    assert sorted(line.split("token=")[1].split()[0] for line in lines) == sorted(world.pending)
    assert sum("answers again" in line or "closing now" in line for line in caplog.messages) == 2  # once each, at first
    world.answer = lambda: CLOSED
    until(lambda: len(world.done) == 2)


def test_reasons_that_take_turns_are_logged_once_each(
    world: World, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """A network that comes and goes gives another reason at each attempt; a day of that must not fill a card."""
    caplog.set_level("INFO", "rufusd")
    world.answer = lambda: Answer(problem=f"reason {len(world.calls) % 3}", sent=False)
    start().tell(Deliver(TOKEN, sent=False))
    until(lambda: len(world.calls) > 12)
    lines = [line for line in caplog.messages if "closed yet" in line]
    assert len(lines) == len({line.split(" token")[0] for line in lines}) == 3


def test_the_end_of_an_outage_is_logged(world: World, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Promise 5: no network, RUFUS again, quiet, closed: each is a line."""
    caplog.set_level("INFO", "rufusd")
    world.reading = lambda: NOTHING
    courier = start(replace(SETTINGS, close=Close(quiet=0.01)))
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].failures > 2)
    world.reading = lambda: Answer(403, "{}")
    until(lambda: world.done == [TOKEN])
    assert [line.split(":")[0].split(" token")[0] for line in caplog.messages] == [
        "not closed yet",
        "RUFUS answers again",
        "quiet",
        "closed",
    ]


def test_a_call_that_never_ends_is_seen_as_stalled(world: World, start: Start) -> None:
    """The watchdog is fed only while the courier proves progress."""
    end = threading.Event()

    def hang() -> Answer:
        end.wait(30)
        return CLOSED

    world.answer = hang
    courier = start()
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: world.calls)
    now = time.monotonic()
    assert not courier.stalled(now)
    assert courier.stalled(now + SETTINGS.api.timeout + 4 * LONGEST_WAIT + 1)
    end.set()
    until(lambda: world.done == [TOKEN])


def test_idle_it_shows_life(start: Start) -> None:
    """With nothing to do, and a message now and then, it is never taken for stalled."""
    courier = start()
    before = courier.alive_at
    courier.tell(Hurry())
    until(lambda: courier.alive_at > before)


def test_a_wait_for_quiet_is_not_cut_short(world: World, start: Start) -> None:
    """Promise 3: neither a person nor the network shortens the wait for the last passings."""
    courier = start(replace(SETTINGS, close=Close(quiet=600, max_wait=900)))
    courier.tell(Deliver(TOKEN, sent=False))
    until(lambda: world.calls == [f"read {TOKEN}"])
    until(lambda: courier.progress.get(TOKEN) and courier.progress[TOKEN].waiting is not None)
    due = courier.progress[TOKEN].due
    courier.tell(Hurry())
    os.write(world.writer, b"a link is up")
    until(lambda: not select.select([world.reader], [], [], 0)[0])
    assert courier.progress[TOKEN].due == due
    assert world.calls == [f"read {TOKEN}"]
