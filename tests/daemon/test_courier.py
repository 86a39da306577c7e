"""The courier's thread, with a client, a spool and a network of the test's own at its three boundaries."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from stations import unserved, until

from rufusd.adapters.closes.spool import Spool
from rufusd.core.deliveries import LONGEST_WAIT, Configure, Deliver, RetryNow
from rufusd.core.delivery import Answer
from rufusd.core.effects import Cancel, WatchSession
from rufusd.core.record import ELSEWHERE, Record
from rufusd.core.settings import Api, Close, Retry, Session, Settings
from rufusd.daemon.courier import Courier, Stop

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
        self.empty: list[str] = []
        self.answered: list[str] = []
        self.how: list[str] = []
        self.busy = self.asked = 0
        self.slow_disk = 0.0  # seconds that the first note takes
        self.looked = self.starved = 0.0  # when it was read last, and what other programs had taken until then
        self.waited_since_look = 0.0  # by the courier, of its own, when the close came
        self.looks_before_asking = 0
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)

    def read(self, token: str) -> Answer:
        self.calls.append(f"read {token}")
        self.looked, self.starved = time.monotonic(), unserved()
        return self.reading()

    def close(self, token: str, begin: Callable[[], bool]) -> Answer:
        self.connecting()
        if not begin():
            return NOTHING
        self.calls.append(f"close {token}")
        self.waited_since_look = time.monotonic() - self.looked - (unserved() - self.starved)
        answer = self.answer()
        return (
            Answer(200, json.dumps({"description": "Session closed", "token_session": token}))
            if answer is CLOSED
            else answer
        )

    def mark_sent(self, token: str, at: str) -> bool | None:
        assert at == "now"
        self.asked += 1
        if self.asked == 1:
            self.looks_before_asking = len(self.calls)
            time.sleep(self.slow_disk)
        return None if self.asked <= self.busy else token in self.pending

    def mark_empty(self, token: str) -> None:
        self.empty.append(token)

    def has_answered(self, key: str) -> bool:
        return key in self.answered

    def note_answered(self, key: str) -> None:
        self.answered.append(key)

    def mark_closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        assert at == "now"
        assert attempts or how == ELSEWHERE
        self.how.append(how)
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
        courier.post(Stop())
        courier.join(60)
        assert not courier.is_alive()


Start = Callable[..., Courier]


def test_what_it_is_told_to_deliver_it_delivers(world: World, start: Start) -> None:
    """One call, one answer, one word to the spool, and nothing left."""
    courier = start()
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    until(lambda: not courier.progress)
    assert world.calls == [f"close {TOKEN}"]


def test_what_is_withdrawn_before_the_call_is_never_sent(world: World, start: Start) -> None:
    """Promise 2: the spool has the last word, at the last moment."""
    courier = start()
    world.pending = {"ANOTHER1"}
    courier.post(Deliver(TOKEN, sent=False))
    courier.post(Deliver("ANOTHER1", sent=False))
    until(lambda: world.done == ["ANOTHER1"])
    assert world.calls == ["close ANOTHER1"]


def test_what_is_withdrawn_while_the_connection_is_made_is_never_sent(world: World, start: Start) -> None:
    """Promise 1: told to forget it in time, the courier does not send it, though the disk has it pending still."""
    connecting, go_on = threading.Event(), threading.Event()
    world.connecting = lambda: (connecting.set(), go_on.wait(10))
    courier = start()
    courier.post(Deliver(TOKEN, sent=False))
    assert connecting.wait(10)
    courier.post(Cancel(TOKEN))
    go_on.set()
    until(lambda: not courier.progress)
    assert (world.calls, world.asked) == ([], 0)


def test_what_waits_behind_a_call_is_being_delivered(world: World, start: Start) -> None:
    """Promise 2: the loop does not tell it again and again while a call lasts; thousands may wait."""
    calling, go_on = threading.Event(), threading.Event()
    world.connecting = lambda: (calling.set(), go_on.wait(10))
    world.pending = {TOKEN, "ANOTHER1"}
    courier = start()
    assert courier.delivering() == set()
    courier.post(Deliver(TOKEN, sent=False))
    assert calling.wait(10)
    courier.post(Deliver("ANOTHER1", sent=False))
    assert courier.delivering() == {TOKEN, "ANOTHER1"}
    go_on.set()
    until(lambda: len(world.done) == 2)
    until(lambda: courier.delivering() == set())


def test_what_it_is_told_to_forget_it_forgets(world: World, start: Start) -> None:
    """A withdrawn close is not tried again."""
    world.answer = lambda: NOTHING
    courier = start()
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: len(world.calls) > 2)
    courier.post(Cancel(TOKEN))
    until(lambda: not courier.progress)


def test_a_change_of_the_network_cuts_the_pause_short(world: World, start: Start) -> None:
    """A cable plugged in, a Wi-Fi found: tried at once."""
    world.answer = lambda: NOTHING
    courier = start(LAZY)
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].error)
    world.answer = lambda: CLOSED
    os.write(world.writer, b"a link is up")
    until(lambda: world.done == [TOKEN])


def test_a_defect_met_by_one_close_is_a_failed_attempt(
    world: World, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives on, says so in the journal, and tries again."""

    def broken() -> Answer:
        raise ZeroDivisionError

    world.answer = broken
    courier = start()
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in courier.progress and courier.progress[TOKEN].error)
    assert "a defect in rufusd" in courier.progress[TOKEN].error
    world.answer = lambda: CLOSED
    until(lambda: world.done == [TOKEN])
    assert "ZeroDivisionError" in caplog.text


def test_a_spool_that_another_process_is_busy_with_is_asked_again(world: World, start: Start) -> None:
    """Promise 1: nothing is sent before it is sure that nobody has taken the close back."""
    world.busy = 2
    courier = start()
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    assert (world.asked, world.calls) == (3, [f"close {TOKEN}"])


def test_a_call_that_never_ends_is_seen_as_stalled(world: World, start: Start) -> None:
    """The watchdog is fed only while the courier proves progress."""
    end = threading.Event()

    def hang() -> Answer:
        end.wait(30)
        return CLOSED

    world.answer = hang
    courier = start()
    courier.post(Deliver(TOKEN, sent=False))
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
    courier.post(RetryNow())
    until(lambda: courier.alive_at > before)


# -- how old the look is when the close goes out


def session(passings: int, *, active: bool = True) -> Answer:
    """RUFUS's answer to a read."""
    record = {"token_session": TOKEN, "active": active, "passings": passings}
    return Answer(200, json.dumps({"description": "Success", "result": [record]}))


def test_a_close_is_not_sent_on_a_look_that_a_slow_connection_has_made_old(world: World, start: Start) -> None:
    """Promise 3: at the last moment the look is too old; the next one shows the passing that came meanwhile."""
    came, connections = threading.Event(), []

    def connecting() -> None:
        connections.append(len(world.calls))
        if len(connections) == 1:
            time.sleep(0.6)  # longer than a look may be old: the fault itself
            came.set()

    world.connecting = connecting
    world.reading = lambda: session(8 if came.is_set() else 7)
    courier = start(replace(SETTINGS, close=Close(quiet=0.5)))
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    looks_meanwhile = world.calls[connections[0] :]
    assert looks_meanwhile[0] == f"read {TOKEN}"
    assert looks_meanwhile.count(f"read {TOKEN}") >= 3  # the passing came: a new wait, with its looks
    assert world.calls.count(f"close {TOKEN}") == 1
    assert world.asked == 1  # the spool was not told of a call that did not go


def test_a_close_is_not_sent_on_a_look_that_a_locked_folder_has_made_old(world: World, start: Start) -> None:
    """Promise 3: another process holds the folder's lock for longer than a look may be old: it looks again."""
    world.busy = 3  # asked again after 0.2 s each
    world.reading = lambda: session(7)
    courier = start(replace(SETTINGS, close=Close(quiet=0.3)))
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    assert world.asked > 3
    assert world.calls[-2:] == [f"read {TOKEN}", f"close {TOKEN}"]
    assert len(world.calls) > world.looks_before_asking + 1
    assert world.waited_since_look < 0.3


def test_a_close_is_not_sent_on_a_look_that_a_slow_disk_has_made_old(
    world: World, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise 3: the note that a call begins took seconds to be written. The log says "closing now" once."""
    caplog.set_level("INFO")
    world.slow_disk = 0.5
    world.reading = lambda: session(7)
    courier = start(replace(SETTINGS, close=Close(quiet=0.3)))
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    assert world.asked == 2
    assert world.waited_since_look < 0.3
    assert sum("closing now" in line for line in caplog.messages) == 1


def test_a_disk_that_is_slow_at_every_write_does_not_keep_a_close_for_ever(
    world: World, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promises 2 and 3: each write makes the look old, so the note of a call that was stopped stays for the next."""
    spool, fsync = Spool(tmp_path), os.fsync
    spool.confirm(Record(TOKEN, confirmed_at="now"))
    writes: list[float] = []

    def slow(file: int) -> None:
        writes.append(time.monotonic())
        time.sleep(0.5)
        fsync(file)

    monkeypatch.setattr(os, "fsync", slow)
    world.mark_sent = spool.mark_sent  # type: ignore[method-assign]
    world.reading = lambda: session(7)
    courier = start(replace(SETTINGS, close=Close(quiet=0.3)))
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])
    assert max(writes) < world.looked  # the look that counted was made after the last write
    assert spool.pending()[TOKEN].sent_at == "now"


# -- looks at the configured session


def told(passings: int = 1, *, active: bool = True) -> Answer:
    record = {"token_session": TOKEN, "active": active, "passings": passings}
    return Answer(200, json.dumps({"description": "Success", "result": [record]}))


def test_it_looks_at_the_session_once_it_is_told_to(world: World, start: Start) -> None:
    """Promise 5: at the start, and after a reload; not before it is told, and with no second look meanwhile."""
    world.reading = lambda: told(active=False)
    courier = start()
    courier.post(WatchSession(wanted=True))
    sight = until(lambda: courier.sight)
    assert (sight.token, sight.active, sight.passings) == (TOKEN, False, 1)
    assert world.calls == [f"read {TOKEN}"]
    courier.post(Configure(SETTINGS))
    until(lambda: len(world.calls) == 2)


def test_a_defect_in_a_look_costs_no_close(world: World, start: Start) -> None:
    """Promise 2: a close is delivered, whatever a look meets."""

    def fails() -> Answer:
        raise RuntimeError

    world.reading = fails
    courier = start()
    courier.post(WatchSession(wanted=True))
    until(lambda: world.calls)
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.done == [TOKEN])


def test_a_filter_that_refuses_from_the_start_does_not_end_the_wait_of_a_key_that_has_read(
    world: World, start: Start
) -> None:
    """Promise 3: RUFUS answered this key in an earlier life, so a foreign 403 is an outage; another key has no past."""
    settings = replace(SETTINGS, close=Close(quiet=0.05))
    world.reading = lambda: told(3)
    courier = start(settings)
    courier.post(WatchSession(wanted=True))
    until(lambda: courier.sight)
    world.reading = lambda: Answer(403, '{"message": "Forbidden"}', sent=False)
    later = start(settings)
    later.post(Deliver(TOKEN, sent=False))
    until(lambda: TOKEN in later.progress and later.progress[TOKEN].attempts >= 4)
    assert f"close {TOKEN}" not in world.calls
    assert len(world.answered) == 1
    later.post(Configure(replace(settings, api=replace(settings.api, key="another"))))
    until(lambda: world.done == [TOKEN])


def test_closed_elsewhere_is_told_to_the_spool(world: World, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Promise 4: the record says that it was not this station, and so does the journal."""
    world.reading = lambda: told(active=False)
    courier = start(replace(SETTINGS, close=Close(quiet=5)))
    courier.post(Deliver(TOKEN, sent=False))
    until(lambda: world.how == [ELSEWHERE])
    assert "no record of closing it" in caplog.text
