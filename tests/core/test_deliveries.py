"""All deliveries: who is next, what holds for all of them, and what the journal is told. No real time passes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rufusd.core.deliveries import (
    ASK_AGAIN,
    LONGEST_WAIT,
    SAME_NEWS,
    Answered,
    Configure,
    Deliver,
    Deliveries,
    NetworkChanged,
    RetryNow,
    Stopped,
)
from rufusd.core.delivery import Answer, Phase, Wait
from rufusd.core.effects import Cancel, WatchSession, perform
from rufusd.core.lookout import BARRED, EVERY, OFTEN, SETTLED, Sight
from rufusd.core.record import ELSEWHERE, STILL_PASSING
from rufusd.core.settings import Api, Retry, Session, Settings
from rufusd.core.settings import Close as Rules

TOKEN, OTHER = "ABCDEF0123456789", "ANOTHER1"
AT_ONCE = Settings(Api("a key", timeout=5), Session(TOKEN), Rules(quiet=0), Retry(2, 8))
QUIET = replace(AT_ONCE, close=Rules(quiet=6, max_wait=60))
NOTHING = Answer(problem="no network", sent=False)
CLOSED = Answer(200, "closed, with the token of the call")
REFUSED = Answer(403, '{"description": "Forbidden"}')
FILTERED = Answer(403, '{"message": "Forbidden"}', sent=False)
LATER = Answer(429, "{}", retry_after=30)


def session(passings, *, active=True):
    """RUFUS's answer to a read."""
    record = {"token_session": TOKEN, "active": active, "passings": passings}
    return Answer(200, json.dumps({"description": "Success", "result": [record]}))


class Rufus:
    """RUFUS and the courier's thread, without time: a call takes a tenth of a second, a pause what it says."""

    def __init__(self, settings=AT_ONCE, *, heard=False):
        self.deliveries = Deliveries(settings)
        self.now, self.heard = 1000.0, heard
        self.reading = self.closing = NOTHING  # an answer, or what makes one
        self.stopped = []  # what stops the next close calls
        self.calls, self.times, self.marks, self.journal, self.published = [], [], [], [], 0
        self.perform(self.deliveries.begin())

    def perform(self, effects):
        """Perform each effect here."""
        perform(effects, lambda effect: getattr(self, f"_{type(effect).__name__}")(effect))

    def tell(self, *messages):
        """Messages that come now."""
        for message in messages:
            self.perform(self.deliveries.receive(message, self.now))

    def run(self, seconds):
        """Let so much time pass."""
        self.end = self.now + seconds
        while self.now < self.end:
            self.perform(self.deliveries.turn(self.now))

    @property
    def under_way(self):
        """The one delivery."""
        return self.deliveries.under_way[TOKEN]

    def lines(self):
        """The journal's lines, up to the first colon or token."""
        return [line.partition(":")[0].partition(" token")[0] for _, line in self.journal]

    def _call(self, word, token, answer):
        self.calls.append(f"{word} {token}")
        self.times.append(self.now)
        self.now += 0.1
        return Answered(answer() if callable(answer) else answer, self.now, 0.0)

    def _Connect(self, connect):
        assert connect.settings is self.deliveries.settings
        return self.heard and connect.settings.api.key == "a key"

    def _SendRead(self, read):
        return self._call("read", read.token, self.reading)

    def _SendClose(self, close):
        token = close.delivery.token
        if self.stopped:
            return Answered(NOTHING, self.now, 0.0, self.stopped.pop(0))
        found = self._call("close", token, self.closing)
        if found.answer is CLOSED:
            text = json.dumps({"description": "Session closed", "token_session": token})
            return replace(found, answer=Answer(200, text))
        return found

    def _Pause(self, pause):
        self.now += min(pause.seconds, max(self.end - self.now, 1e-6)) or 1e-6

    def _Publish(self, _):
        self.published += 1

    def _MarkClosed(self, mark):
        self.marks.append((mark.delivery.token, mark.delivery.closed_how))

    def _MarkEmpty(self, mark):
        self.marks.append((mark.token, "empty"))

    def _MarkAnswered(self, _):
        self.marks.append("answered")

    def _Log(self, line):
        self.journal.append((line.level, line.template % line.parts))


# -- whose turn it is


def test_one_call_and_one_word_to_the_disk():
    """Nothing is left afterwards."""
    rufus = Rufus()
    rufus.closing = CLOSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert (rufus.calls, rufus.marks) == ([f"close {TOKEN}"], [(TOKEN, "")])
    assert rufus.deliveries.under_way == {}


def test_a_close_that_fails_does_not_hold_up_another():
    """Each has its own pauses."""
    rufus = Rufus(replace(AT_ONCE, retry=Retry(600, 600)))
    rufus.closing = lambda: NOTHING if rufus.calls[-1].endswith(TOKEN) else CLOSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(1)
    rufus.tell(Deliver(OTHER, sent=False))
    rufus.run(1)
    assert rufus.marks == [(OTHER, "")]


@pytest.mark.parametrize("message", [RetryNow(), Configure(AT_ONCE), NetworkChanged()])
def test_a_pause_is_cut_short(message):
    """`rufusd retry`, a reload and a cable that is plugged in: tried at once."""
    rufus = Rufus(replace(AT_ONCE, retry=Retry(600, 600)))
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(10)
    assert rufus.calls == [f"close {TOKEN}"]
    rufus.closing = CLOSED
    rufus.tell(message)
    rufus.run(0.2)
    assert rufus.marks == [(TOKEN, "")]


def test_a_change_of_the_network_does_not_hurry_a_refusal():
    """What RUFUS refused, a new cable does not mend."""
    rufus = Rufus()
    rufus.closing = rufus.reading = REFUSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(5)
    assert rufus.under_way.phase is Phase.REFUSED
    calls = len(rufus.calls)
    rufus.tell(NetworkChanged())
    rufus.run(5)
    assert len(rufus.calls) == calls


def test_a_wait_for_quiet_is_not_cut_short():
    """Promise 3: neither a person nor the network shortens the wait for the last passings."""
    rufus = Rufus(QUIET)
    rufus.reading = session(7)
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(0.5)
    due = rufus.under_way.due
    rufus.tell(RetryNow(), NetworkChanged())
    assert rufus.under_way.due == due


def test_what_is_cancelled_is_not_tried_again():
    """Told twice, it stays so."""
    rufus = Rufus()
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    calls = len(rufus.calls)
    rufus.tell(Cancel(TOKEN), Cancel(TOKEN))
    rufus.run(60)
    assert (len(rufus.calls), rufus.deliveries.under_way) == (calls, {})


def test_a_pause_is_never_longer_than_a_sign_of_life_may_take():
    """The watchdog is fed only while the courier shows life."""
    rufus = Rufus()
    rufus.end = rufus.now + 1000
    before = rufus.now
    rufus.perform(rufus.deliveries.turn(rufus.now))
    assert rufus.now - before == LONGEST_WAIT
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.perform(rufus.deliveries.turn(rufus.now))
    due = rufus.under_way.due
    rufus.perform(rufus.deliveries.turn(rufus.now))
    assert rufus.now == due


# -- what stops a call at its last moment


def test_a_close_that_is_not_pending_any_more_is_dropped():
    """Promise 1: it was withdrawn while the connection was made."""
    rufus = Rufus()
    rufus.stopped = [Stopped.WITHDRAWN]
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert (rufus.calls, rufus.deliveries.under_way) == ([], {})


def test_a_disk_that_does_not_tell_is_asked_again():
    """Promise 1: nothing is sent before it is sure that nobody has taken the close back. It is no failed attempt."""
    rufus = Rufus()
    rufus.closing, rufus.stopped = CLOSED, [Stopped.BUSY] * 2
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert (rufus.calls, rufus.times) == ([f"close {TOKEN}"], [pytest.approx(1000 + 2 * ASK_AGAIN)])
    assert rufus.lines() == ["closed"]


def test_a_look_that_has_become_too_old_is_made_again():
    """Promise 3: nothing of the wait is lost. The journal says once that the call is about to go out."""
    rufus = Rufus(QUIET)
    rufus.reading, rufus.closing, rufus.stopped = session(7), CLOSED, [Stopped.LOOK_TOO_OLD] * 2
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert rufus.calls[-4:] == [f"read {TOKEN}"] * 3 + [f"close {TOKEN}"]
    assert rufus.times[-1] - rufus.times[0] < 7
    assert rufus.lines() == ["quiet", "closed"]


# -- the journal


def test_each_reason_is_told_once_for_each_close():
    """Two closes with troubles of their own do not make each other's news, nor does a read that works."""
    rufus = Rufus(QUIET)
    rufus.reading = lambda: replace(session(7), text=session(7).text.replace(TOKEN, rufus.calls[-1].split()[1]))
    rufus.closing = lambda: Answer(500, "") if rufus.calls[-1].endswith(TOKEN) else Answer(302, "")
    rufus.tell(Deliver(TOKEN, sent=False), Deliver(OTHER, sent=False))
    rufus.run(600)
    assert len([call for call in rufus.calls if call.startswith("close")]) > 10
    assert sorted(rufus.lines()) == ["not closed yet"] * 2 + ["quiet"] * 2
    assert [level for level, line in rufus.journal if line.startswith("not")] == ["WARNING"] * 2


def test_a_refusal_is_an_error():
    """A person has to mend it."""
    rufus = Rufus()
    rufus.closing = rufus.reading = REFUSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert [(level, line.partition(":")[0]) for level, line in rufus.journal] == [("ERROR", "not closed yet")]


def test_a_weak_success_is_a_warning_and_a_read_may_find_it_closed():
    """Promise 4: nobody knows yet, and the journal has both."""
    rufus = Rufus()
    rufus.closing, rufus.reading = Answer(200, "{}"), session(7, active=False)
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert [(level, line.partition(":")[0]) for level, line in rufus.journal] == [
        ("WARNING", "not closed yet"),
        ("INFO", "closed"),
    ]


def test_reasons_that_take_turns_are_told_once_each_and_once_an_hour():
    """A network that comes and goes gives another reason at each attempt; a day of that must not fill a card."""
    rufus = Rufus()
    rufus.closing = lambda: Answer(problem=f"reason {len(rufus.calls) % 3}", sent=False)
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(SAME_NEWS - 60)
    assert rufus.lines() == ["not closed yet"] * 3
    rufus.run(3 * SAME_NEWS)
    assert rufus.lines() == ["not closed yet"] * 6


def test_the_end_of_an_outage_is_told():
    """Promise 5: no network, RUFUS again, quiet, closed: each is a line."""
    rufus = Rufus(QUIET)
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(30)
    rufus.reading, rufus.closing = session(7), CLOSED
    rufus.run(60)
    assert rufus.lines() == ["not closed yet", "RUFUS answers again", "quiet", "closed"]


def test_one_failed_look_in_a_wait_is_no_news():
    """Promise 5: a network that loses every sixth call must not fill the journal."""
    rufus = Rufus(QUIET)
    rufus.reading = lambda: NOTHING if len(rufus.calls) % 6 == 5 else session(7)
    rufus.closing = CLOSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert len(rufus.calls) > 6
    assert rufus.lines() == ["quiet", "closed"]


def test_a_close_while_passings_come_is_a_warning():
    """Promise 5: the journal says so when it goes, and does not call it quiet."""
    rufus = Rufus(QUIET)
    rufus.reading, rufus.closing = lambda: session(len(rufus.calls)), CLOSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(90)
    assert rufus.marks[1:] == [(TOKEN, STILL_PASSING)]
    assert [level for level, _ in rufus.journal] == ["WARNING", "INFO"]
    assert rufus.lines() == ["closing now though passings still come", "closed"]


def test_closed_elsewhere_is_told_and_marked():
    """Promise 4: the record says that it was not this station, and so does the journal."""
    rufus = Rufus(QUIET)
    rufus.reading = session(7, active=False)
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(1)
    assert rufus.marks[1:] == [(TOKEN, ELSEWHERE)]
    assert "no record of closing it" in rufus.journal[0][1]
    assert rufus.journal[0][0] == "WARNING"


# -- what a delivery goes on with


def test_a_wait_of_an_earlier_life_goes_on():
    """Promise 2: `max_wait` is over soon, since most of it was waited before the restart."""
    rufus = Rufus(replace(QUIET, close=Rules(quiet=600, max_wait=900)))
    rufus.reading, rufus.closing = lambda: session(len(rufus.calls)), CLOSED
    rufus.tell(Deliver(TOKEN, sent=False, wait=Wait(rufus.now - 901, rufus.now - 9, rufus.now - 9, 892.0)))
    rufus.run(1)
    assert rufus.calls == [f"read {TOKEN}", f"close {TOKEN}"]
    assert rufus.marks[1:] == [(TOKEN, STILL_PASSING)]


def test_a_person_who_confirms_as_well_frees_an_empty_session():
    """Promises 1 and 2: the reader alone waits. A person's word, and only that, reaches the delivery under way."""
    rufus = Rufus(QUIET)
    rufus.reading, rufus.closing = session(0), CLOSED
    rufus.tell(Deliver(TOKEN, sent=False, alone=True))
    rufus.run(600)
    assert (rufus.under_way.phase, rufus.marks) == (Phase.EMPTY, ["answered", (TOKEN, "empty")])
    rufus.tell(Deliver(TOKEN, sent=False, alone=True))
    assert rufus.under_way.alone
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(10)
    assert rufus.marks[2:] == [(TOKEN, "")]


def test_an_empty_session_that_an_earlier_life_has_seen_is_not_marked_again():
    """It is on disk."""
    rufus = Rufus(QUIET)
    rufus.reading = session(0)
    rufus.tell(Deliver(TOKEN, sent=False, alone=True, empty=True))
    rufus.run(60)
    assert (rufus.under_way.phase, rufus.marks) == (Phase.EMPTY, ["answered"])


# -- looks at the configured session


def test_the_session_is_looked_at_once_that_is_wanted():
    """Promise 5: at the start, at the pace that is asked for, and at once after a reload."""
    rufus = Rufus()
    rufus.reading = session(1, active=False)
    rufus.run(600)
    assert rufus.calls == []
    rufus.tell(WatchSession(wanted=True))
    rufus.run(1)
    assert rufus.deliveries.sight == Sight(TOKEN, False, 1, 1600.0)
    rufus.run(3 * EVERY)
    assert 3 <= len(rufus.calls) <= 5
    calls = len(rufus.calls)
    rufus.tell(Configure(AT_ONCE))
    rufus.run(0.1)
    assert len(rufus.calls) == calls + 1
    rufus.tell(WatchSession(wanted=True, often=True))
    rufus.run(3 * OFTEN)
    assert 3 <= len(rufus.calls) - calls <= 5
    rufus.tell(WatchSession(wanted=False))
    calls = len(rufus.calls)
    rufus.run(3 * EVERY)
    assert len(rufus.calls) == calls


def test_a_change_of_the_network_asks_for_a_look_but_not_for_many():
    """A network that comes and goes all the time."""
    rufus = Rufus()
    rufus.reading = session(1)
    rufus.tell(WatchSession(wanted=True))
    for _ in range(100):
        rufus.tell(NetworkChanged())
        rufus.run(0.5)
    assert 50 / (SETTLED + 1) <= len(rufus.calls) <= 50 / SETTLED + 1


def test_the_same_sight_is_not_news():
    """Only what changes wakes the loop: here the moment of the look does."""
    rufus = Rufus()
    rufus.tell(WatchSession(wanted=True))
    rufus.run(EVERY)
    assert (rufus.deliveries.sight, rufus.journal) == (None, [])
    before = rufus.published
    rufus.end = rufus.now
    rufus.perform(rufus.deliveries.turn(rufus.now))
    assert rufus.published == before + 1


def test_a_close_goes_before_a_look():
    """Promise 2: no look begins while a close is due, or will be within one call's time."""
    rufus = Rufus()
    rufus.closing, rufus.reading = NOTHING, session(1)
    rufus.tell(WatchSession(wanted=True), Deliver(TOKEN, sent=False))
    rufus.run(1)
    assert rufus.calls == [f"close {TOKEN}"]
    rufus.run(60)
    assert rufus.calls.count(f"read {TOKEN}") == 1
    looked = rufus.times[rufus.calls.index(f"read {TOKEN}")]
    assert all(each - looked > AT_ONCE.api.timeout for each in rufus.times if each > looked)


def test_a_key_that_may_not_read_is_not_asked_again():
    """A WRITE key: one look an hour until a reload, however often the reader goes off."""
    rufus = Rufus()
    rufus.reading = REFUSED
    rufus.tell(WatchSession(wanted=True))
    rufus.run(1)
    rufus.tell(WatchSession(wanted=True, often=True))
    rufus.run(BARRED - 10)
    assert rufus.calls == [f"read {TOKEN}"]
    rufus.run(20)
    assert rufus.calls == [f"read {TOKEN}"] * 2


# -- what holds for all of them


@pytest.mark.parametrize("again", [[Deliver(TOKEN, sent=False)], [WatchSession(wanted=True)]])
def test_what_rufus_asked_a_close_for_holds_for_what_comes_after_it(again):
    """It was withdrawn, or its reader has held it meanwhile: neither a look nor the same close calls earlier."""
    rufus = Rufus(replace(QUIET, retry=Retry(2, 10)))
    rufus.reading = LATER
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(1)
    rufus.tell(Cancel(TOKEN), *again)
    rufus.run(28)
    assert rufus.calls == [f"read {TOKEN}"]
    rufus.run(3)
    assert rufus.calls == [f"read {TOKEN}"] * 2
    assert rufus.times[1] - rufus.times[0] == pytest.approx(30.1)


def test_what_rufus_asked_a_look_for_holds_for_a_close():
    """RUFUS asks a look to call less often: a close that is confirmed then does not call before that, either."""
    rufus = Rufus(replace(AT_ONCE, retry=Retry(2, 10)))
    rufus.reading, rufus.closing = LATER, CLOSED
    rufus.tell(WatchSession(wanted=True))
    rufus.run(1)
    rufus.tell(WatchSession(wanted=False), Deliver(TOKEN, sent=False))
    rufus.run(60)
    assert rufus.calls == [f"read {TOKEN}", f"close {TOKEN}"]
    assert rufus.times[1] - rufus.times[0] == pytest.approx(30.1)


def test_another_configuration_may_call_at_once():
    """It may name another RUFUS or another key."""
    rufus = Rufus(replace(AT_ONCE, retry=Retry(2, 10)))
    rufus.reading, rufus.closing = LATER, CLOSED
    rufus.tell(WatchSession(wanted=True))
    rufus.run(1)
    rufus.tell(Configure(AT_ONCE), WatchSession(wanted=False), Deliver(TOKEN, sent=False))
    rufus.run(0.2)
    assert rufus.calls == [f"read {TOKEN}", f"close {TOKEN}"]


@pytest.mark.parametrize("first", [session(3), REFUSED])
def test_a_filter_that_starts_to_refuse_does_not_end_the_wait(first):
    """Promise 3: RUFUS itself has answered this key, at a look. A foreign 403 hides passings, and is an outage."""
    rufus = Rufus(QUIET)
    rufus.reading, rufus.closing = first, CLOSED
    rufus.tell(WatchSession(wanted=True))
    rufus.run(1)
    assert rufus.marks == ["answered"]
    rufus.reading = FILTERED
    rufus.tell(WatchSession(wanted=False), Deliver(TOKEN, sent=False))
    rufus.run(120)
    assert rufus.under_way.attempts >= 4
    assert f"close {TOKEN}" not in rufus.calls
    rufus.reading = first
    rufus.run(120)
    assert rufus.marks == ["answered", (TOKEN, "")]


def test_a_filter_that_refuses_from_the_start_ends_the_wait_of_an_unknown_key_only():
    """Promise 3: RUFUS answered this key in an earlier life, so a foreign 403 is an outage; another key has no past."""
    rufus = Rufus(QUIET, heard=True)
    rufus.reading, rufus.closing = FILTERED, CLOSED
    rufus.tell(Deliver(TOKEN, sent=False))
    rufus.run(120)
    assert f"close {TOKEN}" not in rufus.calls
    rufus.tell(Configure(replace(QUIET, api=Api("another", timeout=5))))
    rufus.run(120)
    assert rufus.marks == [(TOKEN, "")]
