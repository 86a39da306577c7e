"""The station: what everything that happens to it leads to. Pure, and the only owner of the closes while it runs.

Each method that yields is one input: a scan, the time, a look at the disk, another configuration. It yields effects.
Its caller performs each effect at once and sends back what came of it. A crash can only fall between two effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rufusd.core import closes, indicator, inputs, lookout, policy
from rufusd.core.closes import Close, Watched
from rufusd.core.effects import (
    Cancel,
    Confirm,
    Effects,
    Endorse,
    Found,
    KeepNote,
    Log,
    ReadAgain,
    ReadCloses,
    Saved,
    StartDelivery,
    WatchSession,
    Withdraw,
)
from rufusd.core.inputs import Event, Levels, Press, ReaderNote, ReaderState
from rufusd.core.lookout import Sight
from rufusd.core.policy import Action, By, CloseState, Input
from rufusd.core.record import Record
from rufusd.core.settings import Settings, line_identity
from rufusd.core.view import View
from rufusd.core.words import Message, _


class Station:
    """One station."""

    def __init__(self, settings: Settings, boot_id: str, *, training: bool = False) -> None:
        """Knows nothing yet. In `training` its notes of the reader are marked, so that no real station uses them."""
        self.settings = settings
        self.closes: dict[str, Close] = {}
        self.press = Press()
        self.reader = ReaderState()
        self.session_closed = False
        self.closed_elsewhere = False  # the session: by somebody else
        self._withdrawn_until = 0.0
        self._withdrawal: str | None = None  # identifies the session's last withdrawal; None: not known
        self._note: ReaderNote | None = None  # of the reader, as it was kept last
        self._rest = lookout.Rest()
        self._look = WatchSession(wanted=False)
        self._boot_id = boot_id
        self._training = " simulated" if training else ""

    # -- inputs

    def resume(self, found: ReaderNote | None, withdrawal: str | None, pending: Mapping[str, Record]) -> Effects:
        """The program has started. `found` is the last life's note of the reader; the others are what the disk says."""
        token = self.settings.session.token
        self._withdrawal = withdrawal
        now = ReaderNote(self._boot_id, self._line_of_reader, token, withdrawal=withdrawal or "")
        record = pending.get(token)
        reader = inputs.resumed(found, now, confirmed=record is not None and record.trigger == "reader")
        self._note, self.reader = found, ReaderState(armed=reader.armed)  # which is logged as no change
        yield from self._set_reader(reader)
        if reader.stale and self.settings.reader:
            text = "the reader may have run since before this session was configured: not armed token=%s"
            yield Log("WARNING", text, (token,))

    def scan(self, levels: Levels, now: float) -> Effects:
        """The inputs were read. A level that decides is read again: if it has changed, the next scan decides."""
        button, reader = self.settings.button, self.settings.reader
        if levels.pressed is None or button is None:
            self.press = Press()
        else:
            press, event = inputs.button(self.press, levels.pressed, now, button)
            if event is None:
                self.press = press
            elif (yield ReadAgain()).pressed == levels.pressed:
                began, self.press = self.press.since or now, press
                yield from self._confirm("button") if event is Event.CONFIRM else self._tapped(began, now)
        if levels.running is None or reader is None:
            if self.reader.line.samples:  # what a restart has found armed stays so until the line is read once
                yield from self._set_reader(ReaderState(stale=self.reader.stale))
            return
        reader_state, event = inputs.reader(self.reader, levels.running, now, reader)
        if event is None:
            if (reader_state.armed, reader_state.stale) == (self.reader.armed, self.reader.stale):
                self.reader = reader_state  # as nearly always
            else:
                yield from self._set_reader(reader_state)
        elif (yield ReadAgain()).running == levels.running:
            yield from self._confirm("reader")
            # Not before: after a crash here, the pending close shows that this going-off is used up.
            yield from self._set_reader(reader_state)

    def tick(self, now: float) -> Effects:
        """Time has passed. A close whose grace is over is delivered, unless its reader holds it."""
        if self.closes:
            watched = self._watched
            for close in list(self.closes.values()):
                what = closes.input_of_scan(close, now, self.press, watched, self.reader)
                if what is Input.READER_SEEN and close.held_since is None:
                    self.closes[close.record.token] = replace(close, held_since=now)
                if what:
                    yield from self._apply(close.record.token, what, "reader", now)
        if self.settings.reader:
            self._rest = lookout.rests(self._rest, self.reader.state, now)
        wanted = self.settings.session.token not in self.closes and not self.session_closed
        often = self.settings.reader is not None and self._rest.since is not None
        if (wanted, often) != (self._look.wanted, self._look.often):
            self._look = WatchSession(wanted, often)
            yield self._look

    def look(self) -> Effects:
        """See what commands and the courier have done to the closes."""
        token = self.settings.session.token
        found: Found = yield ReadCloses(token, tuple(self.closes))
        for record in found.pending.values():
            known = self.closes.get(record.token)
            if known is None or known.record is not record:
                yield from self._follow(known, record, found)
        for gone in self.closes.keys() - found.pending.keys():
            if gone in found.withdrawn:
                yield from self._apply(gone, Input.WITHDRAWN, "command", found.at)
            else:
                yield Cancel(gone)  # mostly it is closed; or else another close of this session is there by now
                del self.closes[gone]
        if found.session_closed is not None:  # None: the disk did not tell, so what is known stays
            self.session_closed, self.closed_elsewhere = found.session_closed, found.closed_elsewhere
        if found.withdrawal is not None:
            before, self._withdrawal = self._withdrawal, found.withdrawal
            # It uses up the reader's going-off, even if the close was confirmed and withdrawn between two looks.
            another = before is not None and found.withdrawal not in ("", before)
            yield from self._set_reader(self.reader.used_up(self.settings.reader) if another else self.reader)
        for close in self.closes.values():  # those that the courier does not have, for whatever reason
            if close.handed_over and close.record.token not in found.delivering:
                yield StartDelivery(close.record)

    def configured(self, new: Settings, now: float) -> Effects:
        """The configuration has changed. What a trigger has begun belongs to its session, its line and its rules."""
        old, self.settings = self.settings, new
        press, reader = self.press, self.reader
        other_session = old.session.token != new.session.token
        other_reader = line_identity(old.reader) != line_identity(new.reader)
        if line_identity(old.button) != line_identity(new.button):
            press = Press()
        if other_reader or other_session:
            self._rest = lookout.Rest()
        if other_reader:
            reader = ReaderState(stale=reader.stale)
        elif old.reader != new.reader:
            reader = replace(reader, line=reader.line.anew(now))
        if other_session:
            press, reader = press.voided(), reader.distrusted()
            self.session_closed = self.closed_elsewhere = False
            self._withdrawal = None
        self.press = press
        yield from self._set_reader(reader)
        yield from self.look()

    # -- what the station is like

    def view(self, faults: tuple[str, ...], not_durable: frozenset[str], now: float) -> View:
        """All that the indicators depend on. `not_durable` are tokens."""
        return View(
            faults=faults,
            closes=tuple(self.closes.values()),
            not_durable=not_durable,
            session_closed=self.session_closed,
            withdrawn=self.just_withdrawn(now),
            button=self.settings.button,
            press=self.press,
            reader=self.settings.reader,
            reader_state=self.reader,
        )

    def just_withdrawn(self, now: float) -> bool:
        """Whether a close was withdrawn so recently that it is shown."""
        return now < self._withdrawn_until

    def held_by(self, close: Close, now: float) -> str:
        """What keeps a close from being delivered: "grace", "reader" or nothing."""
        if close.standing is not CloseState.GRACE:
            return ""
        what = closes.input_of_scan(close, now, self.press, self._watched, self.reader)
        return "reader" if now >= close.grace_until and what is Input.READER_SEEN else "grace"

    def line_faults(self, now: float) -> Iterator[Message]:
        """What is wrong with the inputs' lines, with what it means."""
        if self.press.stuck:
            yield _(
                "the button is held, its line is shorted, or button.active is the wrong way round: "
                "check the switch, its cable and button.active"
            )
        if self.press.flickering:
            yield _("the button's line flickers, so a press may not be seen: check the switch, its cable and plugs")
        if self.reader.flickering:
            yield _("the reader's line flickers, so its going off may not be seen: check its cable and plugs")
            for token, close in self.closes.items():
                if self.held_by(close, now) == "reader":
                    yield _(
                        "the reader's line flickers, so the close of {name} waits for {seconds:g} s at the most: to "
                        "close now, hold the button or run `sudo rufusd close`",
                        name=close.record.name or token,
                        seconds=self.settings.close.max_wait,
                    )

    def session_faults(self, sight: Sight | None, now: float) -> tuple[Message, ...]:
        """What the looks at the configured session say that a person has to know."""
        if not (sight or self.closed_elsewhere):
            return ()  # as nearly always
        session = self.settings.session
        closed, inverted = self.closed_elsewhere, False
        if self._look.wanted and sight:
            closed = lookout.closed_elsewhere(sight, session.token)
            inverted = lookout.inverted(sight, session.token, self._rest, self.settings.reader, now)
        return lookout.faults(session.name or session.token, closed=closed, turned=inverted)

    # -- decisions

    def _confirm(self, trigger: str) -> Effects:
        yield from self.look()
        if trigger == "reader" and not self.reader.armed:
            return  # a person has just withdrawn the close, and with it this going-off
        session = self.settings.session
        action = self._decide(session.token, Input.READER_CONFIRMED if trigger == "reader" else Input.PERSON_CONFIRMED)
        if action is Action.ENDORSE:
            saved: Saved = yield Endorse(session.token, trigger)
            if saved.record:
                yield from self.look()
                yield Log("INFO", "confirmed as well: trigger=%s token=%s", (trigger, session.token))
        elif action is Action.CONFIRM:
            line = line_identity(self.settings.reader) if trigger == "reader" else ""
            yield from self._save(Confirm(session.token, session.name, trigger, line))
        else:
            text = "nothing to confirm: pending or closed already trigger=%s token=%s"
            yield Log("INFO", text, (trigger, session.token))

    def _tapped(self, began: float, now: float) -> Effects:
        close = closes.close_for_tap(self.closes.values(), self.settings.session.token, began)
        if close:
            yield from self._apply(close.record.token, Input.TAPPED, "button", now)

    def _decide(self, token: str, what: Input) -> Action | None:
        close = self.closes.get(token)
        if close:
            return policy.decide(close.standing, close.by, what)
        return policy.decide(CloseState.CLOSED if self.session_closed else CloseState.OPEN, By.NOBODY, what)

    def _apply(self, token: str, what: Input, by: str, now: float) -> Effects:
        """Do what the table of transitions says. `by` is who takes the close back, where it is taken back."""
        action, close = self._decide(token, what), self.closes[token]
        if action is Action.START_DELIVERY:
            self.closes[token] = replace(close, handed_over=True)
            yield StartDelivery(close.record)
        elif action is Action.RECALL:
            self.closes[token] = replace(close, handed_over=False)
            yield Cancel(token)
        elif action is Action.WITHDRAW:
            saved: Saved = yield Withdraw(token, by)
            if saved.record:
                yield from self._forget(token, saved.at)
        elif action is Action.FORGET:
            yield from self._forget(token, now)
        elif action is Action.LEAVE_TO_READER:
            # The tap takes back what the person did. The reader's going off, which came meanwhile, still counts.
            line = line_identity(self.settings.reader)
            yield from self._save(Confirm(token, close.record.name, "reader", line, instead=True))

    def _save(self, confirm: Confirm) -> Effects:
        """Make a close durable. Its grace begins after that, when the LED can say so: a disk may be slow."""
        saved: Saved = yield confirm
        if saved.record is None:
            return  # a command was quicker; the next look finds it
        if confirm.instead:
            self._withdrawn_until = saved.at + indicator.WITHDRAWN_TIME
            yield Log("INFO", "withdrawn, but the reader has gone off as well token=%s", (confirm.token,))
        close = Close(saved.record, saved.at, saved.at + self.settings.close.grace)
        yield from self._adopt("confirmed", close, durable=saved.durable)

    def _adopt(self, how: str, close: Close, *, durable: bool) -> Effects:
        """A close that was not known yet: from a trigger, a command, or an earlier life."""
        record = close.record
        self.closes[record.token] = close
        text = "%s token=%s name=%r trigger=%s confirmed_at=%s durable=%s"
        yield Log("INFO", text, (how, record.token, record.name, record.trigger, record.confirmed_at, durable))

    def _follow(self, known: Close | None, record: Record, found: Found) -> Effects:
        """A pending close on disk differs from what is known here. A command, or an earlier life, has written it."""
        token = record.token
        if known and known.record.uptime != record.uptime:  # withdrawn and confirmed anew, since the last look
            yield from self._apply(token, Input.WITHDRAWN, "command", found.at)
            known = None
        if known is None:
            grace = self.settings.close.grace
            close = closes.recovered_close(record, found.at, found.uptime, self._boot_id, grace)
            yield from self._adopt("found pending", close, durable=token not in found.not_durable)
            return
        self.closes[token] = replace(known, record=record)
        if known.handed_over and record.reader_alone != known.record.reader_alone:
            yield StartDelivery(record)

    def _forget(self, token: str, now: float) -> Effects:
        """A close was withdrawn."""
        yield Cancel(token)  # before the close is deleted: until then the courier compares with it
        del self.closes[token]
        if token == self.settings.session.token:
            yield from self._set_reader(self.reader.used_up(self.settings.reader))
        self._withdrawn_until = now + indicator.WITHDRAWN_TIME
        yield Log("INFO", "withdrawn token=%s", (token,))

    def _set_reader(self, reader: ReaderState) -> Effects:
        """Set the reader's state, and have it kept for the next life if it has changed."""
        if reader.armed != self.reader.armed:
            yield Log("INFO", "reader armed" if reader.armed else "reader not armed any more")
        self.reader = reader
        token, withdrawal = self.settings.session.token, self._withdrawal or ""
        note = ReaderNote(self._boot_id, self._line_of_reader, token, reader.armed, reader.stale, withdrawal)
        if note != self._note:
            self._note = note
            yield KeepNote(note)

    @property
    def _line_of_reader(self) -> str:
        return line_identity(self.settings.reader) + self._training

    @property
    def _watched(self) -> Watched:
        settings = self.settings
        return Watched(settings.session.token, settings.reader, self._boot_id, settings.close.max_wait)
