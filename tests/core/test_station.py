"""The whole station, by what it has done: presses, readers, commands and configurations, on a disk in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rufusd.core.effects import (
    Cancel,
    Confirm,
    Endorse,
    Found,
    KeepNote,
    Saved,
    StartDelivery,
    Withdraw,
    perform,
)
from rufusd.core.inputs import Levels, ReaderNote
from rufusd.core.lookout import ELSEWHERE, INVERTED, Sight
from rufusd.core.policy import CloseState
from rufusd.core.record import Record
from rufusd.core.settings import Api, Button, Reader, Session, Settings, line_identity
from rufusd.core.station import Station

TOKEN, OTHER = "A1" * 32, "B2" * 32
READER = Reader(27)
SETTINGS = Settings(Api("a key"), Session(TOKEN, "FINISH-10K"), button=Button(17), reader=READER)
NOTE = ReaderNote("b", line_identity(READER), TOKEN)


class Pi:
    """What the station acts on, in memory. Scans come each 7 ms, looks at the disk twice a second."""

    def __init__(self, settings=SETTINGS, note=None, *, training=False, **disk):
        self.station = Station(settings, "b", training=training)
        self.now, self.uptime = 100.0, 100.0
        self.pending, self.withdrawn, self.closed = {}, {}, {}
        self.elsewhere, self.silent = False, False
        self.withdrawals = 0
        self.delivering = set()
        self.durable = True
        self.levels, self.again = Levels(False, False), None
        self.done, self.journal, self.notes, self.looks = [], [], [], []
        vars(self).update(disk)
        self.perform(self.station.resume(note, str(self.withdrawals or ""), self.pending))

    def perform(self, effects):
        """Perform each effect here."""
        perform(effects, self.handle)

    def handle(self, effect):
        """What comes back from this effect."""
        result = getattr(self, f"_{type(effect).__name__}")(effect)
        if isinstance(effect, (Confirm, StartDelivery, Endorse, Withdraw, Cancel)):
            self.done.append(type(effect).__name__)
        return result

    def scan(self, seconds, *, pressed=False, running=False):
        """Scan for so long with these levels."""
        self.levels = Levels(pressed, running)
        end, looked = self.now + seconds, self.now
        while self.now < end:
            self.perform(self.station.scan(self.levels, self.now))
            if self.now - looked >= 0.5:
                looked = self.now
                self.perform(self.station.look())
            self.perform(self.station.tick(self.now))
            self.now += 0.007

    def look(self):
        """Look at the disk."""
        self.perform(self.station.look())

    def configure(self, **changes):
        """Another configuration."""
        self.perform(self.station.configured(replace(self.station.settings, **changes), self.now))

    def command(self, token=TOKEN, **facts):
        """`rufusd close` has made a close durable."""
        facts = {"name": "FINISH-10K", "trigger": "command", "boot_id": "b", "uptime": self.now, **facts}
        self.pending[token] = Record(token, **facts)

    def withdraw(self, token=TOKEN):
        """`rufusd withdraw` has taken it back."""
        self.withdrawn[token] = self.pending.pop(token)
        self.withdrawals += 1

    def _ReadAgain(self, _):
        return self.levels if self.again is None else self.again

    def _ReadCloses(self, look):
        return Found(
            at=self.now,
            uptime=self.now,
            pending=dict(self.pending),
            withdrawn=[] if self.silent else [each for each in look.known if each in self.withdrawn],
            not_durable=() if self.durable else tuple(self.pending),
            delivering=set(self.delivering),
            session_closed=None if self.silent else look.session in self.closed,
            closed_elsewhere=self.elsewhere,
            withdrawal=None if self.silent else str(self.withdrawals or ""),
        )

    def _Confirm(self, close):
        if not close.instead and close.token in self.pending:
            return Saved(None, self.now, durable=False)
        record = Record(close.token, close.name, close.trigger, wiring=close.line, boot_id="b", uptime=self.now)
        self.pending[close.token] = record
        return Saved(record, self.now, self.durable)

    def _Endorse(self, close):
        record = self.pending.get(close.token)
        if record:
            self.pending[close.token] = record = replace(record, also=close.trigger)
        return Saved(record, self.now, durable=True)

    def _Withdraw(self, close):
        record = self.pending.get(close.token)
        if record is None or record.sent_at:
            return Saved(None, self.now, durable=True)
        self.withdraw(close.token)
        return Saved(record, self.now, durable=True)

    def _StartDelivery(self, deliver):
        self.delivering.add(deliver.record.token)

    def _Cancel(self, cancel):
        assert cancel.token in self.station.closes  # the courier looks the close up there until it is told
        self.delivering.discard(cancel.token)

    def _WatchSession(self, look):
        self.looks.append((look.wanted, look.often))

    def _KeepNote(self, keep):
        self.notes.append(keep.note)

    def _Log(self, line):
        self.journal.append((line.level, line.template % line.parts))


@pytest.fixture
def pi():
    return Pi()


# -- presses and readers


def test_press_confirms_and_goes(pi):
    """A held button confirms; when nobody takes it back, the close goes; later presses change nothing."""
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi.scan(15)
    for _ in range(3):
        pi.scan(1, pressed=True)
        pi.scan(1)
        pi.scan(4, pressed=True)
        pi.scan(1)
    assert pi.done == ["Confirm", "StartDelivery"]


def test_press_in_grace_takes_back(pi):
    """A short press in grace withdraws, and the next hold confirms anew."""
    pi.scan(4)
    for _ in range(2):
        pi.scan(3.5, pressed=True)
        pi.scan(2)
        pi.scan(0.4, pressed=True)
        pi.scan(20)
    assert pi.done == ["Confirm", "Withdraw", "Cancel"] * 2


def test_press_across_the_end_of_grace_takes_back(pi):
    """A finger that came in time takes back, even when it goes after the end."""
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi.scan(9.5)
    pi.scan(2, pressed=True)
    pi.scan(1)
    assert pi.done == ["Confirm", "Withdraw", "Cancel"]


def test_hand_that_slips_on_release_takes_nothing_back(pi):
    """Promise 2: contact again 0.2 s after the confirmation is the hand leaving the button."""
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi.scan(0.25)
    pi.scan(0.3, pressed=True)
    pi.scan(20)
    assert pi.done == ["Confirm", "StartDelivery"]


def test_reader_that_comes_back_takes_its_close_back(pi):
    """A reader that was off for a minute only, say for a new battery, closes nothing that was not sent yet."""
    pi.scan(15, running=True)
    pi.scan(50)
    assert pi.done == ["Confirm", "StartDelivery"]
    pi.scan(11, running=True)
    assert pi.done == ["Confirm", "StartDelivery", "Cancel", "Withdraw", "Cancel"]
    pi.scan(50)
    assert pi.done[5:] == ["Confirm", "StartDelivery"]


def test_reader_line_that_flickers_takes_nothing_back(pi):
    """Promise 2: a second of "running", from a loose plug or a test of the reader, only delays the close."""
    pi.scan(15, running=True)
    pi.scan(50)
    pi.scan(1, running=True)
    pi.scan(1)
    assert pi.done == ["Confirm", "StartDelivery", "Cancel", "StartDelivery"]


def test_a_person_who_confirms_as_well_cannot_be_overruled_by_the_reader(pi):
    """Promise 2: the reader's close that a person confirmed, too, goes on when the reader runs again."""
    pi.scan(15, running=True)
    pi.scan(35)
    pi.scan(3.5, pressed=True)
    pi.scan(10, running=True)
    pi.scan(20, running=True)
    assert pi.done == ["Confirm", "Endorse", "StartDelivery"]


def test_a_tap_withdraws_what_the_reader_and_then_a_person_confirmed(pi):
    """The person was the second: who takes the close back means all of it."""
    pi.scan(15, running=True)
    pi.scan(30.1)
    pi.scan(3.5, pressed=True)
    pi.scan(1)
    pi.scan(0.4, pressed=True)
    pi.scan(60)
    assert pi.done == ["Confirm", "Endorse", "Withdraw", "Cancel"]


def test_a_press_by_mistake_that_is_taken_back_leaves_the_readers_end(pi):
    """Promise 2: the reader's real end came in the grace of a mistake; the tap takes back the mistake only."""
    pi.scan(15, running=True)
    pi.scan(25)
    pi.scan(3.5, pressed=True)
    pi.scan(5)
    pi.scan(0.4, pressed=True)
    assert pi.done == ["Confirm", "Endorse"]
    pi.scan(9)
    assert pi.done == ["Confirm", "Endorse", "Confirm"]
    pi.scan(20)
    assert pi.done[3:] == ["StartDelivery"]


def test_a_second_tap_takes_the_readers_end_back_as_well(pi):
    """The close that goes on as the reader's has a grace of its own, which begins with the first tap."""
    pi.scan(15, running=True)
    pi.scan(25)
    pi.scan(3.5, pressed=True)
    pi.scan(5)
    for _ in range(2):
        pi.scan(0.4, pressed=True)
        pi.scan(5)
    pi.scan(100)
    assert pi.done == ["Confirm", "Endorse", "Confirm", "Withdraw", "Cancel"]


def test_a_withdrawal_uses_up_the_going_off_under_way(pi):
    """Promise 1: a person has taken the close back; the reader that is settling does not confirm it anew."""
    pi.scan(15, running=True)
    pi.scan(15)
    pi.scan(3.5, pressed=True)
    pi.scan(2)
    pi.scan(0.4, pressed=True)
    pi.scan(100)
    assert pi.done == ["Confirm", "Withdraw", "Cancel"]
    pi.scan(11, running=True)
    pi.scan(31)
    assert pi.done[3:] == ["Confirm"]


def test_a_loose_reader_cable_holds_its_close_for_max_wait_at_the_most(pi):
    """Promise 2: the line flickers without end; the close is held for 15 minutes, and then it goes."""
    pi.scan(15, running=True)
    pi.scan(50)
    assert pi.done == ["Confirm", "StartDelivery"]
    began = pi.now
    while pi.now < began + 899:
        pi.scan(0.4, running=True)
        pi.scan(0.3)
    assert pi.station.reader.state == "flickering"
    assert pi.done[-1] == "Cancel"
    for _ in range(10):
        pi.scan(0.4, running=True)
        pi.scan(0.3)
    assert pi.done[-1] == "StartDelivery"
    so_far = len(pi.done)
    pi.scan(8, running=True)
    assert len(pi.done) == so_far


def test_a_release_that_has_changed_when_it_is_read_again_decides_nothing(pi):
    """Promise 1: one reading is not enough. The next scan decides."""
    pi.scan(4)
    pi.scan(4, pressed=True)
    pi.again = Levels(True, False)
    pi.scan(0.3)
    assert pi.done == []
    pi.again = None
    pi.scan(0.02)
    assert pi.done == ["Confirm"]


def test_a_going_off_that_has_changed_when_it_is_read_again_decides_nothing(pi):
    """Promise 1: the same for the reader."""
    pi.scan(15, running=True)
    pi.again = Levels(False, True)
    pi.scan(30.3)
    assert (pi.done, pi.station.reader.armed) == ([], True)
    pi.again = None
    pi.scan(0.02)
    assert pi.done == ["Confirm"]


def test_a_press_means_nothing_where_there_is_no_button():
    """A line that cannot be read, or is not configured, has no press."""
    pi = Pi(replace(SETTINGS, button=None))
    pi.scan(1)
    pi.scan(5, pressed=True)
    pi.scan(1)
    assert (pi.done, pi.station.press.state) == ([], "unknown")


def test_a_reader_whose_line_is_lost_stays_armed_or_not(pi):
    """Promise 1: what the reader did before is not known any more once its line has come back."""
    pi.scan(15, running=True)
    pi.levels = Levels(False, None)
    for _ in range(2):
        pi.perform(pi.station.scan(pi.levels, pi.now))
    assert pi.station.reader.state == "unknown"
    pi.scan(60)
    assert pi.done == []


def test_what_the_disk_refused_is_told_as_not_durable(pi):
    """Promise 2: the journal says that a close is not safe."""
    pi.durable = False
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi.scan(1)
    assert "confirmed token=" in pi.journal[-1][1]
    assert pi.journal[-1][1].endswith("durable=False")
    assert pi.station.view((), frozenset((TOKEN,)), pi.now).not_durable == {TOKEN}


def test_grace_begins_once_the_close_is_durable(pi):
    """Promise 1: a slow disk takes nothing from the time in which a person can take the close back."""
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    saved = pi._Confirm
    pi._Confirm = lambda close: replace(saved(close), at=pi.now + 20)
    pi.scan(1)
    close = pi.station.closes[TOKEN]
    assert close.grace_until - close.confirmed == SETTINGS.close.grace
    assert close.confirmed > pi.now + 18


# -- the disk


def test_a_command_that_was_quicker_is_found_by_the_next_look(pi):
    """A press that a command has overtaken between the look and the step confirms nothing of its own."""
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi._Confirm = lambda _: pi.command() or Saved(None, pi.now, durable=False)
    pi.scan(1)
    assert next(line for _, line in pi.journal if "confirmed" in line).startswith("found pending token=")
    assert pi.station.closes[TOKEN].record.trigger == "command"


def test_a_press_confirms_nothing_while_a_close_is_pending_or_done(pi):
    """The same token is closed once."""
    pi.closed = {TOKEN: True}
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi.scan(1)
    assert pi.done == []
    assert ("INFO", f"nothing to confirm: pending or closed already trigger=button token={TOKEN}") in pi.journal


def test_what_a_command_confirmed_has_its_own_grace_and_is_delivered(pi):
    """Promise 2: found by a look, within half a second."""
    pi.command()
    pi.scan(1)
    assert pi.station.closes[TOKEN].standing is CloseState.GRACE
    assert pi.station.held_by(pi.station.closes[TOKEN], pi.now) == "grace"
    pi.scan(11)
    assert pi.done == ["StartDelivery"]
    assert pi.station.held_by(pi.station.closes[TOKEN], pi.now) == ""


def test_what_a_command_withdrew_is_not_delivered(pi):
    """Promise 1: and whoever stands at the station sees that it was withdrawn."""
    pi.command()
    pi.scan(1)
    pi.withdraw()
    pi.look()
    assert pi.station.just_withdrawn(pi.now + 0.9)
    assert not pi.station.just_withdrawn(pi.now + 1.1)
    pi.scan(20)
    assert pi.done == ["Cancel"]


def test_withdrawn_and_confirmed_anew_between_two_looks(pi):
    """Promise 1: it is another close, with a grace of its own."""
    pi.command()
    pi.scan(11)
    assert pi.done == ["StartDelivery"]
    pi.withdraw()
    pi.command()
    pi.look()
    assert pi.done == ["StartDelivery", "Cancel"]
    assert pi.station.closes[TOKEN].standing is CloseState.GRACE


def test_a_close_that_is_closed_is_gone(pi):
    """The courier has closed it: nothing is withdrawn, and the journal says nothing of the kind."""
    pi.command()
    pi.scan(11)
    pi.pending, pi.closed = {}, {TOKEN: True}
    pi.look()
    assert (pi.station.closes, pi.station.session_closed, pi.done) == ({}, True, ["StartDelivery", "Cancel"])
    assert not pi.station.just_withdrawn(pi.now)


def test_a_person_who_confirms_the_readers_close_elsewhere_is_told_to_the_courier(pi):
    """What waits for a person goes on at once. Another change of the record is only known."""
    pi.command(trigger="reader")
    pi.scan(11)
    pi.pending[TOKEN] = replace(pi.pending[TOKEN], also="command")
    pi.look()
    assert pi.done == ["StartDelivery", "StartDelivery"]
    pi.pending[TOKEN] = replace(pi.pending[TOKEN], sent_at="2026-05-02T11:02:53Z")
    pi.look()
    assert pi.done == ["StartDelivery", "StartDelivery"]
    assert pi.station.closes[TOKEN].standing is CloseState.SENT


def test_a_close_that_the_courier_lost_is_delivered_again(pi):
    """Promise 2: whatever became of it there."""
    pi.command()
    pi.scan(11)
    pi.delivering.clear()
    pi.scan(0.6)
    assert pi.done == ["StartDelivery", "StartDelivery"]


def test_a_reader_that_is_back_takes_nothing_back_that_was_sent(pi):
    """Promise 4: RUFUS may have acted on it."""
    pi.scan(15, running=True)
    pi.scan(50)
    pi.pending[TOKEN] = replace(pi.pending[TOKEN], sent_at="2026-05-02T11:02:53Z")
    pi.scan(11, running=True)
    assert pi.done == ["Confirm", "StartDelivery", "Cancel", "StartDelivery"]  # the first look tells that it was sent
    assert list(pi.station.closes) == [TOKEN]


def test_a_withdrawal_that_the_disk_does_not_do_leaves_the_close(pi):
    """Its call was begun just now."""
    pi.scan(4)
    pi.scan(3.5, pressed=True)
    pi.scan(2)
    pi._Withdraw = lambda _: Saved(None, pi.now, durable=True)
    pi.scan(0.4, pressed=True)
    pi.scan(0.2)
    assert (pi.done, list(pi.station.closes)) == (["Confirm", "Withdraw"], [TOKEN])


def test_an_endorsement_that_the_disk_does_not_do_is_not_told(pi):
    """The close was withdrawn just now."""
    pi.scan(15, running=True)
    pi.scan(31)
    pi._Endorse = lambda _: Saved(None, pi.now, durable=False)
    pi.scan(3.5, pressed=True)
    pi.scan(0.4)
    assert pi.done == ["Confirm", "Endorse"]
    assert not [line for _, line in pi.journal if "confirmed as well" in line]


def test_the_reader_confirms_nothing_where_a_person_has_just_withdrawn(pi):
    """Promise 1: the withdrawal is found by the look that comes before each confirmation."""
    pi.scan(15, running=True)
    pi.scan(29.9)
    pi.withdrawals += 1
    pi.scan(0.3)
    pi.scan(60)
    assert (pi.done, pi.station.reader.armed) == ([], False)


def test_a_disk_that_does_not_answer_has_changed_nothing(pi):
    """Promise 5: the session that is closed stays so; a withdrawal is not taken for another one."""
    pi.closed = {TOKEN: True}
    pi.elsewhere = True
    pi.look()
    pi.silent, pi.elsewhere = True, False
    pi.look()
    assert (pi.station.session_closed, pi.station.closed_elsewhere) == (True, True)


# -- the daemon's earlier life


@pytest.mark.parametrize(
    ("note", "disk", "state"),
    [
        (None, {}, (False, False)),
        (replace(NOTE, armed=True), {}, (True, False)),
        (replace(NOTE, armed=True, boot_id="earlier"), {}, (False, False)),
        (replace(NOTE, armed=True, token=OTHER), {}, (False, True)),
        (replace(NOTE, armed=True), {"withdrawals": 1}, (False, False)),
        (replace(NOTE, armed=True, withdrawal="1"), {"withdrawals": 1}, (True, False)),
        (replace(NOTE, armed=True), {"pending": {TOKEN: Record(TOKEN, trigger="reader")}}, (False, False)),
        (replace(NOTE, armed=True), {"pending": {TOKEN: Record(TOKEN, trigger="button")}}, (True, False)),
        (replace(NOTE, armed=True), {"training": True}, (False, False)),
    ],
)
def test_what_armed_the_reader_in_an_earlier_life(note, disk, state):
    """Promise 1: it counts for the same boot, line and session, unless it is used up. Training counts for none."""
    pi = Pi(note=note, **disk)
    assert (pi.station.reader.armed, pi.station.reader.stale) == state
    assert [line for _, line in pi.journal if "armed" in line and "not armed token" not in line] == []
    assert bool([level for level, _ in pi.journal if level == "WARNING"]) is state[1]


def test_the_next_life_is_told_of_the_reader_as_it_changes():
    """Promise 1: when it is armed, when it is used up, and by which line; the same is not told twice."""
    pi = Pi()
    assert pi.notes == [NOTE]
    pi.scan(15, running=True)
    assert pi.notes[1:] == [replace(NOTE, armed=True)]
    pi.scan(31)
    assert pi.notes[2:] == [NOTE]
    assert [line for _, line in pi.journal if line.startswith("reader")] == [
        "reader armed",
        "reader not armed any more",
    ]
    assert Pi(training=True).notes == [replace(NOTE, wiring=NOTE.wiring + " simulated")]


def test_a_station_that_has_just_started_shows_nothing_of_the_kind():
    """Neither a closed session nor a withdrawal. It is no training."""
    station = Station(SETTINGS, "b")
    assert (station.session_closed, station.closed_elsewhere, station.just_withdrawn(0.5)) == (False,) * 3
    kept = [effect for effect in station.resume(None, "", {}) if isinstance(effect, KeepNote)]
    assert kept == [KeepNote(NOTE)]


def test_a_disk_that_does_not_answer_at_the_start_uses_nothing_up():
    """Promise 2: whether somebody has withdrawn is not known; the reader stays armed."""
    station = Station(SETTINGS, "b")
    list(station.resume(replace(NOTE, armed=True), None, {}))
    assert station.reader.armed


def test_a_station_without_a_reader_does_not_speak_of_one():
    """Its note may be of an earlier configuration."""
    pi = Pi(replace(SETTINGS, reader=None), note=replace(NOTE, token=OTHER))
    assert [level for level, _ in pi.journal if level == "WARNING"] == []


def test_what_a_restart_has_found_armed_stays_so_until_the_line_is_read():
    """Promise 2: another program may have the line for a moment."""
    pi = Pi(note=replace(NOTE, armed=True))
    for _ in range(3):
        pi.perform(pi.station.scan(Levels(False, None), pi.now))
    assert pi.station.reader.armed
    pi.scan(31)
    assert pi.done == ["Confirm"]


def test_lines_that_cannot_be_read_any_more(pi):
    """Promise 1: a press that lasted is none; a reader that has to be switched off and on still has to."""
    pi.scan(15, running=True)
    pi.scan(4, pressed=True, running=True)
    pi.configure(session=Session(OTHER))
    assert pi.station.reader.stale
    pi.perform(pi.station.scan(Levels(None, None), pi.now))
    assert (pi.station.press.state, pi.station.reader.state, pi.station.reader.stale) == ("unknown", "unknown", True)


# -- another configuration


def test_another_session_voids_what_was_begun(pi):
    """Promise 1: a press and a reader's going off belong to the session that was configured when they began."""
    pi.scan(15, running=True)
    pi.scan(2, pressed=True)
    pi.closed = {TOKEN: True}
    pi.look()
    pi.configure(session=Session(OTHER))
    assert (pi.station.session_closed, pi.station.reader.stale, pi.station.reader.armed) == (False, True, False)
    pi.scan(4, pressed=True)
    pi.scan(60)
    assert pi.done == []
    pi.scan(15, running=True)
    pi.scan(31)
    assert (pi.done, list(pi.pending)) == (["Confirm"], [OTHER])


def test_the_withdrawal_of_another_session_uses_nothing_up(pi):
    """What tells it from the last one is known of one session only."""
    pi.withdrawals = 3
    pi.configure(session=Session(OTHER))
    pi.scan(2)
    pi.scan(15, running=True)
    pi.scan(2)
    assert pi.station.reader.state == "settling"
    pi.withdrawals = 4
    pi.scan(1)
    assert pi.station.reader.state == "off"


def test_the_withdrawal_of_another_sessions_close_uses_nothing_up(pi):
    """A reader's going off means the configured session."""
    pi.command(OTHER)
    pi.scan(15, running=True)
    pi.scan(2)
    pi.withdrawn[OTHER] = pi.pending.pop(OTHER)
    pi.scan(1)
    assert (pi.done, pi.station.reader.state) == (["StartDelivery", "Cancel"], "settling")


def test_another_line_begins_anew(pi):
    """Promise 1: what the old line has shown says nothing of the new one."""
    pi.scan(15, running=True)
    pi.scan(2, pressed=True)
    pi.configure(button=Button(22), reader=Reader(23))
    assert (pi.station.press.state, pi.station.reader.state, pi.station.reader.armed) == ("unknown", "unknown", False)


def test_other_rules_of_the_same_line_count_from_now_on(pi):
    """Promise 1: a settle time that is made shorter while the reader settles closes nothing at once."""
    pi.scan(15, running=True)
    pi.scan(20)
    pi.configure(reader=replace(READER, settle_time=15.0))
    pi.scan(14)
    assert (pi.done, pi.station.reader.armed) == ([], True)
    pi.scan(2)
    assert pi.done == ["Confirm"]


def test_the_same_configuration_changes_nothing(pi):
    """A press and a settling reader go on."""
    pi.scan(15, running=True)
    pi.scan(20, pressed=True)
    before = pi.station.press, pi.station.reader
    pi.configure()
    assert (pi.station.press, pi.station.reader) == before


# -- looks at the session


def test_the_session_is_looked_at_while_it_has_no_close():
    """A close that is pending is read anyway; one that is done needs no look. A reader that is off asks for more."""
    pi = Pi()
    pi.scan(1, running=True)
    assert pi.looks == [(True, False)]
    pi.scan(1)
    assert pi.looks == [(True, False), (True, True)]
    pi.command()
    pi.look()
    pi.scan(0.1, running=True)
    assert pi.looks[2:] == [(False, True), (False, False)]
    alone = Pi(replace(SETTINGS, reader=None))
    alone.scan(1)
    assert alone.looks == [(True, False)]


def test_what_the_looks_say_is_a_fault(pi):
    """Promise 5: a session that was closed elsewhere, and passings that come while the reader's line says off."""
    sight = Sight(TOKEN, True, 5, 100.0)
    assert pi.station.session_faults(None, pi.now) == ()
    pi.scan(20)
    assert pi.station.session_faults(sight, pi.now) == ()
    assert pi.station.session_faults(replace(sight, active=False), pi.now) == (ELSEWHERE.with_parts(name="FINISH-10K"),)
    assert pi.station.session_faults(replace(sight, grew=pi.now), pi.now) == (INVERTED,)
    pi.configure(session=Session(TOKEN), reader=Reader(23))
    assert pi.station.session_faults(replace(sight, grew=pi.now), pi.now) == ()
    pi.closed, pi.elsewhere = {TOKEN: True}, True
    pi.scan(1)
    assert pi.station.session_faults(None, pi.now) == (ELSEWHERE.with_parts(name=TOKEN),)
    assert pi.station.session_faults(replace(sight, grew=pi.now), pi.now) == (ELSEWHERE.with_parts(name=TOKEN),)


# -- lines


def test_what_is_wrong_with_a_line_is_told():
    """Promise 5: what it means, and what to do."""
    pi = Pi()
    pi.scan(4)
    assert list(pi.station.line_faults(pi.now)) == []
    pi.scan(pi.station.settings.button.stuck_time + 1, pressed=True)
    assert [each.split(",")[0] for each in pi.station.line_faults(pi.now)] == ["the button is held"]
    pi.scan(4)
    for _ in range(200):
        pi.scan(0.4, pressed=True)
        pi.scan(0.3)
    assert [each.split(",")[0] for each in pi.station.line_faults(pi.now)] == ["the button's line flickers"]


def test_a_close_that_a_flickering_line_holds_is_told():
    """Promise 5: with how long it lasts, and what to do to close now."""
    pi = Pi(replace(SETTINGS, session=Session(TOKEN)))
    pi.command(OTHER)
    pi.scan(15, running=True)
    pi.scan(50)
    for _ in range(40):
        pi.scan(0.4, running=True)
        pi.scan(0.3)
    faults = list(pi.station.line_faults(pi.now))
    assert faults[0].startswith("the reader's line flickers, so its going off may not be seen")
    assert faults[1].startswith(f"the reader's line flickers, so the close of {TOKEN} waits for 900 s at the most")
    assert len(faults) == 2
    assert pi.station.held_by(pi.station.closes[TOKEN], pi.now) == "reader"
