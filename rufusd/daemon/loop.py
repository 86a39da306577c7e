"""The scan loop: read the inputs, decide, write the outputs, sleep until the next tick. Signals, start and stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from rufusd import __version__
from rufusd.adapters import clock, config
from rufusd.adapters.live import Peer, Watchers, listener
from rufusd.adapters.network import Changes
from rufusd.adapters.pins import Pins
from rufusd.adapters.runtime import Runtime
from rufusd.adapters.spool import CLOSED, PENDING, WITHDRAWN, Confirmed, Spool, StateFolderLocked
from rufusd.adapters.systemd import Systemd
from rufusd.core import indicator, inputs, lookout, station
from rufusd.core.delivery import Phase, Wait
from rufusd.core.indicator import Indication
from rufusd.core.inputs import Event, Note, Press, ReaderState
from rufusd.core.record import ELSEWHERE, Record
from rufusd.core.settings import Button, Reader, Settings, line_identity
from rufusd.core.station import Action, Close, CloseState, Input, Watched
from rufusd.core.words import Message, _, _n
from rufusd.daemon.courier import Client, Configure, Courier, Deliver, Forget, Hurry, Look, Stop
from rufusd.text import report

# Seconds between scans, and by how much chance changes them: a steady pace would come into step with hum, which then
# looks still for seconds.
TICK = 0.045  # at rest, at the most: a change is not seen for so long
EARLY = 0.03  # by so much it is shorter at times; by a half of a mains period in one scan of six
FAST_TICK = 0.007  # while an input is moving
SWAY = 0.3  # of it, either way
LEAST = 0.001  # between a scan and one that comes early, since something is due then
LOOK = 0.5  # between two looks at what commands did to the spool
REST = 10  # times as long as a look, or a writing of the status, kept the processor busy, until the next
LONGEST_REST = 0.5  # seconds: what the LED and the status say is never older than that and a look
SAVED = 1.0  # a file that has not changed for so long is not being written any more
END = 0.5  # for the courier to end in: with all else it must be less than 2, on a busy Pi, too
TURN = 0.0001  # seconds for which one thread computes on while the other waits; Python's own 5 ms hold up each scan
TEND = 2.0  # between two tries of what the disk refused, or of a line that could not be had

_GONE = _(
    "{table} was in force before this start and is gone from {path}: {means}. Put {table} back and save the file. "
    "If it is gone on purpose, run `sudo systemctl reload rufusd`"
)
_SPARE = _(
    "rufusd cannot make its socket in {folder} ({why}). `rufusd status` and `rufusd watch` reach rufusd in another "
    "way, which any user of this machine can block. `{command}` shows how full {folder} is: remove what fills it, or "
    "what is in the socket's place"
)
_UNSEEN = _(
    "`rufusd status` and `rufusd watch` cannot ask this daemon: no socket in {folder} ({why}). `{command}` shows how "
    "full it is: remove what fills it, or what is in the socket's place"
)
_DEFAULTS = _("its default values are in force")
_WITHOUT = {
    "api": _DEFAULTS,
    "close": _DEFAULTS,
    "retry": _DEFAULTS,
    "button": _("nothing watches the button"),
    "reader": _("nothing watches the reader"),
    "led": _("no LED shows what the station does"),
    "buzzer": _("no buzzer sounds"),
}

log = logging.getLogger("rufusd")


def connect(settings: Settings, changes: Changes) -> Client:
    """A client for RUFUS. In the courier's thread what is heavy is imported after the inputs are watched."""
    from rufusd.adapters.rufus import Client as Rufus

    clock.synchronized()  # which imports, too, and must not have to when a close is confirmed: a disk may fail
    return Rufus(settings.api, changes=changes)


class HandedOver:
    """The spool as the courier has it: a call begins only for the close that was handed over.

    A command may withdraw a close and confirm the session anew before the loop looks; that one has its own grace first.
    """

    def __init__(self, spool: Spool, closes: Mapping[str, Close]) -> None:
        """`closes` is what the loop knows of, and changes."""
        self._spool, self._closes = spool, closes

    def sent(self, token: str, at: str) -> bool | None:
        """As `Spool.sent`."""
        close = self._closes.get(token)
        return self._spool.sent(token, at, close.record if close else None)

    def has_answered(self, key: str) -> bool:
        """As `Spool.has_answered`."""
        return self._spool.has_answered(key)

    def note_answered(self, key: str) -> None:
        """As `Spool.note_answered`."""
        self._spool.note_answered(key)

    def found_empty(self, token: str) -> None:
        """As `Spool.found_empty`."""
        self._spool.found_empty(token)

    def closed(self, token: str, at: str, attempts: int = 0, how: str = "") -> None:
        """As `Spool.closed`."""
        self._spool.closed(token, at, attempts, how)


class Daemon:
    """One station."""

    def __init__(
        self,
        path: str,
        loaded: config.Loaded,
        spool: Spool,
        runtime: Runtime,
        pins: Pins,
        before_scan: Callable[[float], bool] = lambda now: True,  # noqa: ARG005 - it ignores when
        shown: Callable[[Indication], Any] = lambda indication: None,  # noqa: ARG005 - it ignores what
    ) -> None:
        """`before_scan` gets each scan's time, and ends the daemon by False; `shown` gets each new indication."""
        assert loaded.settings  # noqa: S101 - for the type checker; no daemon starts without
        self._path = path
        self._settings = settings = loaded.settings
        self._spool = spool
        self._runtime = runtime
        self._pins = pins
        self._before_scan = before_scan
        self._shown = shown
        self._systemd = Systemd()
        self._watchers = Watchers(runtime.folder)
        self._news = threading.Event()  # from the courier
        changes = Changes()
        connecting = partial(connect, changes=changes)
        self._closes: dict[str, Close] = {}
        handed_over = HandedOver(spool, self._closes)
        self._courier = Courier(settings, connecting, handed_over, changes, clock.utc, self._news.set)
        self._boot = clock.boot_id()
        self._since = clock.utc()
        self._signals: set[int] = set()
        self._press = Press()
        self._reader_state = ReaderState()
        self._note: Note | None = None  # of the reader, as it was written last
        self._waits: dict[str, Wait] = {}  # how far each close has come with waiting, in seconds since this boot
        self._waits_seen: object = None
        self._session_closed = False
        self._withdrawal = "", ""  # of the configured session: its token, and its last withdrawal
        self._elsewhere: tuple[str, bool] | None = None  # a closed session, and whether it was closed by somebody else
        self._rest = lookout.Rest()
        self._look = Look(wanted=False)  # as the courier was told last
        self._config_problems = loaded.problems
        self._config_files = loaded.files
        self._in_force = loaded  # the configuration that `_settings` are from
        self._cut: Message | None = None  # why what was saved is not in force, though it has no error
        self._gone: tuple[str, ...] = ()  # the tables that were in force before this start, and are not now
        self._tables: tuple[str, ...] = ()  # what the next start is to find in force, and
        self._tables_kept: tuple[str, ...] = ()  # what is on disk of it
        self._config_changed: float | None = None  # when its files were last seen to change, since they were read
        self._faults: tuple[str, ...] = ()
        self._indication = Indication.OFF
        self._indicated = 0.0  # when the indication began
        self._withdrawn_until = 0.0
        self._unseen: Message | None = None  # why nobody can ask this daemon in its folder
        self._looked = self._let_in = self._tended = self._watchdog_fed = -1e9
        self._look_after = self._write_after = 0.0
        self._ready = self._started = False
        self._seen: object = None
        self._written: object = None

    def run(self) -> int:
        """Watch, close and deliver until a signal. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda number, _: self._signals.add(number))
        try:
            self._spool.lock()
        except StateFolderLocked as held:
            log.error(
                "%s has the state folder %s already: stop it first (`sudo systemctl stop rufusd`), "
                "or use another --state-dir",
                held,
                self._spool.folder,
            )
            return 1
        other = self._other() if self._spool.training else None  # a real station starts, whoever is hidden by it
        if other:
            log.error(
                "process %s has the runtime folder %s already, and this training would hide it: use another "
                "--runtime-dir",
                other.pid or "?",
                self._runtime.folder,
            )
            self._spool.unlock()
            return 1
        self._spool.recover()
        self._tended = time.monotonic()
        self._open_watchers()
        self._tables = self._tables_kept = self._spool.tables()
        self._note_tables()
        self._pins.configure(self._settings)
        self._waits = self._runtime.waits(self._boot, clock.uptime())
        self._resume()
        try:
            while self._scan():
                pass
        finally:
            self._stop()
        return 0

    def _resume(self) -> None:
        """Take up what the last life has noted of the reader."""
        found, token = self._runtime.reader(self._boot), self._settings.session.token
        with contextlib.suppress(OSError):
            self._withdrawal = token, self._spool.withdrawal(token)
        now = Note(self._boot, self._wired(), token, withdrawal=self._withdrawal[1])
        pending = self._spool.pending().get(token)
        reader_state = inputs.resumed(found, now, confirmed=pending is not None and pending.trigger == "reader")
        self._note, self._reader_state = found, ReaderState(armed=reader_state.armed)  # which is not news
        self._arm(reader_state)
        if reader_state.stale and self._settings.reader:
            log.warning("the reader may have run since before this session was configured: not armed token=%s", token)

    def _other(self) -> Peer | None:
        """Another daemon, with another state folder, which can be asked in this runtime folder."""
        with contextlib.suppress(PermissionError):
            found = listener(self._runtime.folder)
            return found if found and found.pid != os.getpid() else None
        return None

    def _open_watchers(self) -> None:
        """Listen for those who ask what the station does; a /run that is full has room again later."""
        self._unseen = None
        try:
            self._watchers.open()
        except OSError as error:
            sentence = _SPARE if self._watchers.listening else _UNSEEN
            facts = {"folder": str(self._runtime.folder), "command": self._runtime.shows_room()}
            why = _(os.strerror(error.errno).lower()) if error.errno else str(error)  # of a path that is too long, say
            self._unseen = sentence.with_parts(why=why, **facts)

    def _scan(self) -> bool:
        """One turn of the loop; False once it is time to end."""
        now = time.monotonic()
        if not self._before_scan(now) or not self._obey_signals():
            return False
        self._read_inputs(now)
        if (self._news.is_set() or now - self._looked >= LOOK) and now >= self._look_after:
            if self._started and not self._courier.is_alive():
                raise RuntimeError("the courier has ended")  # of a defect, which is in the journal; systemd starts anew
            began = time.thread_time()
            self._news.clear()
            self._follow_configuration(now)
            self._follow_spool(now)
            self._look_after = time.monotonic() + rest(time.thread_time() - began)
        if now - self._let_in >= LOOK:  # however slow the disk is
            self._let_in = now
            self._watchers.let_in()
        if self._closes:
            self._move_closes(time.monotonic())  # what was confirmed above goes at once, where there is no grace
        self._direct_looks(now)
        if now - self._tended >= TEND:
            self._tended = now
            self._spool.tend()
            self._keep_tables()
            self._runtime.tend()
            if not self._watchers.in_folder and not self._other():
                self._open_watchers()
            if self._pins.problems:
                self._pins.configure(self._settings)
        self._show(now)
        if self._watchers:
            self._watchers.tell(self._frame(now), lambda: report.truncated(self._status(now)))
        self._feed_watchdog(now)
        self._start()
        chance, rules = random.random(), (self._settings.button, self._settings.reader)  # noqa: S311 - no secret
        tick = pause(self._press, self._reader_state, self._closes.values(), chance, *rules)
        # At its own pace, however much the courier has to tell. A wait for an event goes by the wall clock in Python
        # before 3.11 (bpo-41710): set back by a year, it would hold up the scans for a year.
        time.sleep(max(0.0, now + tick - time.monotonic()))
        return True

    def _start(self) -> None:
        """Once the inputs have been looked at: ready, if they are watched, and only then the network."""
        if not self._ready and self._pins.watching:
            self._ready = self._systemd.tell("READY=1")
            if self._ready:
                log.info("watching session=%s token=%s", self._settings.session.name, self._settings.session.token)
        if not self._started:
            self._started = True
            gc.enable()
            sys.setswitchinterval(TURN)
            self._courier.start()

    # -- read

    def _read_inputs(self, now: float) -> None:
        levels = self._pins.read()
        button, reader = self._settings.button, self._settings.reader
        if levels.pressed is None or button is None:
            self._press = Press()
        else:
            press, event = inputs.button(self._press, levels.pressed, now, button)
            # Each level is checked anew before it counts: if it has changed, the next scan decides.
            if event is None or self._pins.read().pressed == levels.pressed:
                began, self._press = self._press.since, press
                if event is Event.CONFIRM:
                    self._confirm("button")
                elif event is Event.TAP and began is not None:
                    self._tap(began)
        if levels.running is None or reader is None:
            if self._reader_state.line.samples:  # what was armed stays so until the line is had at last
                self._arm(ReaderState(stale=self._reader_state.stale))
        else:
            reader_state, event = inputs.reader(self._reader_state, levels.running, now, reader)
            if event is None or self._pins.read().running == levels.running:
                if event is Event.CONFIRM:
                    self._confirm("reader")
                self._arm(reader_state)  # after confirming: the pending close tells a next life that it was used up

    def _wired(self) -> str:
        """How the reader is wired. What a training has seen is nothing for a station, in the same folder or not."""
        return line_identity(self._settings.reader) + (" simulated" if self._spool.training else "")

    def _arm(self, reader_state: ReaderState) -> None:
        """Know this of the reader, and note it for the next life where it is new."""
        if reader_state.armed != self._reader_state.armed:
            log.info("reader armed" if reader_state.armed else "reader not armed any more")
        self._reader_state = reader_state
        token = self._settings.session.token
        known = self._withdrawal[1] if self._withdrawal[0] == token else ""
        note = Note(self._boot, self._wired(), token, reader_state.armed, reader_state.stale, known)
        if note != self._note:
            self._note = note
            self._runtime.note_reader(note)

    # -- decide

    def _decide(self, token: str, what: Input) -> Action | None:
        close = self._closes.get(token)
        if close:
            return station.decide(close.standing, close.by, what)
        standing = CloseState.CLOSED if self._session_closed else CloseState.OPEN
        return station.decide(standing, station.By.NOBODY, what)

    def _confirm(self, trigger: str) -> None:
        session = self._settings.session
        self._follow_spool(time.monotonic())
        if trigger == "reader" and not self._reader_state.armed:
            return  # a person has just withdrawn the close, and with it this going-off
        what = Input.READER_CONFIRMED if trigger == "reader" else Input.PERSON_CONFIRMED
        action = self._decide(session.token, what)
        if action is Action.ENDORSE:
            self._endorse(session.token, trigger)
            return
        if action is not Action.CONFIRM:
            log.info("nothing to confirm: pending or closed already trigger=%s token=%s", trigger, session.token)
            return
        line = line_identity(self._settings.reader) if trigger == "reader" else ""
        record = replace(new_record(session.token, session.name, trigger), wiring=line)
        try:
            if self._spool.confirm(record) is not Confirmed.NEW:
                return  # a command was quicker; the next look finds it
        except OSError as error:
            self._spool.hold(record, error)
        now = time.monotonic()  # the disk may have taken its time, and the grace begins when the LED says so
        self._take_up("confirmed", Close(record, now, now + self._settings.close.grace))

    def _endorse(self, token: str, trigger: str) -> None:
        """Another trigger has confirmed a pending close as well."""
        if self._spool.change(token, also=trigger):
            self._follow_spool(time.monotonic())
            log.info("confirmed as well: trigger=%s token=%s", trigger, token)

    def _tap(self, began: float) -> None:
        close = station.close_for_tap(self._closes.values(), self._settings.session.token, began)
        if close:
            self._apply(close.record.token, Input.TAPPED, "button")

    @property
    def _watched(self) -> Watched:
        settings = self._settings
        return Watched(settings.session.token, settings.reader, self._boot, settings.close.max_wait)

    def _move_closes(self, now: float) -> None:
        watched = self._watched
        for close in list(self._closes.values()):
            what = station.input_of_scan(close, now, self._press, watched, self._reader_state)
            if what is Input.READER_SEEN and close.held_since is None:
                self._closes[close.record.token] = replace(close, held_since=now)
            if what:
                self._apply(close.record.token, what, "reader")

    def _apply(self, token: str, what: Input, by: str) -> None:
        action, close = self._decide(token, what), self._closes[token]
        if action is Action.HAND_OVER:
            self._closes[token] = replace(close, handed_over=True)
            self._hand_over(close)
        elif action is Action.RECALL:
            self._closes[token] = replace(close, handed_over=False)
            self._courier.tell(Forget(token))
        elif action is Action.WITHDRAW and self._spool.give_up(token, by, clock.utc(), unless_sent=True):
            self._let_go(token)
        elif action is Action.LEAVE_TO_READER:
            self._leave_to_reader(close.record)
        elif action is Action.FORGET:
            self._let_go(token)

    def _leave_to_reader(self, record: Record) -> None:
        """A tap takes back what a person did by mistake; the reader's going off, which came meanwhile, still counts."""
        new = replace(new_record(record.token, record.name, "reader"), wiring=line_identity(self._settings.reader))
        facts = {name: fact for name, fact in vars(new).items() if name != "token"}
        if self._spool.change(record.token, unless_sent=True, **facts):
            now = time.monotonic()
            self._withdrawn_until = now + indicator.WITHDRAWN_TIME
            log.info("withdrawn, but the reader has gone off as well token=%s", record.token)
            self._take_up("confirmed", Close(new, now, now + self._settings.close.grace))

    def _hand_over(self, close: Close) -> None:
        """Have a close delivered. What an earlier life has waited for this close counts."""
        record = close.record
        wait = self._waits.get(record.token)
        if wait and record.boot_id == self._boot and wait.looked < record.uptime:
            wait = None  # it was for a close of this session that was withdrawn
        wait = wait and wait.moved(time.monotonic() - clock.uptime())
        called = self._spool.called(record.token)
        self._courier.tell(Deliver(record.token, called, record.reader_alone, record.empty, wait))

    def _take_up(self, how: str, close: Close) -> None:
        """A close that was not known yet: from a trigger, a command, or an earlier life."""
        record = close.record
        self._closes[record.token] = close
        log.info(
            "%s token=%s name=%r trigger=%s confirmed_at=%s durable=%s",
            *(
                how,
                record.token,
                record.name,
                record.trigger,
                record.confirmed_at,
                record.token not in self._spool.unsafe(),
            ),
        )

    def _let_go(self, token: str) -> None:
        """A close that was withdrawn."""
        self._courier.tell(Forget(token))  # first: until it is there, the courier looks the close up here
        del self._closes[token]
        if token == self._settings.session.token:
            self._arm(self._reader_state.used_up(self._settings.reader))
        self._withdrawn_until = time.monotonic() + indicator.WITHDRAWN_TIME
        log.info("withdrawn token=%s", token)

    def _follow_spool(self, now: float) -> None:
        """What commands and the courier have done to the closes."""
        self._looked = now
        self._spool.refresh(self._settings.session.token)
        pending = self._spool.pending()
        for token, record in pending.items():
            if token in self._closes and self._closes[token].record.uptime != record.uptime:
                self._apply(token, Input.WITHDRAWN, "command")  # and confirmed anew, since the last look
            if token not in self._closes:
                grace, at = self._settings.close.grace, time.monotonic()  # `now` may be old: a disk is slow at times
                self._take_up("found pending", station.recovered_close(record, at, clock.uptime(), self._boot, grace))
            elif self._closes[token].record is not record:
                old = self._closes[token]
                self._closes[token] = replace(old, record=record)
                if old.handed_over and record.reader_alone != old.record.reader_alone:
                    self._hand_over(self._closes[token])
        for token in self._closes.keys() - pending.keys():
            if self._standing_on_disk(token) == WITHDRAWN:
                self._apply(token, Input.WITHDRAWN, "command")
            else:
                del self._closes[token]
        token = self._settings.session.token
        with contextlib.suppress(OSError):  # what does not answer has not changed
            self._session_closed = self._spool.standing(token) == CLOSED
        if not self._session_closed:
            self._elsewhere = None
        elif self._elsewhere is None or self._elsewhere[0] != token:  # read once: it does not change any more
            self._elsewhere = (token, self._spool.closed_how(token) == ELSEWHERE)
        with contextlib.suppress(OSError):
            self._follow_withdrawals(token, self._spool.withdrawal(token))
        for token, close in self._closes.items():
            if close.handed_over and token not in self._courier.progress:  # whatever became of it there: not lost
                self._hand_over(close)

    def _follow_withdrawals(self, token: str, last: str) -> None:
        """A withdrawal uses up the reader's going-off, also where its close has come and gone since the last look."""
        before, self._withdrawal = self._withdrawal, (token, last)
        another = before[0] == token and last not in ("", before[1])
        self._arm(self._reader_state.used_up(self._settings.reader) if another else self._reader_state)

    def _direct_looks(self, now: float) -> None:
        """Have the courier look at the configured session while none of its closes is pending or done."""
        reader, token = self._settings.reader, self._settings.session.token
        if reader:
            self._rest = lookout.rests(self._rest, self._reader_state.state, now)
        wanted = token not in self._closes and not self._session_closed
        often = reader is not None and self._rest.since is not None
        if (wanted, often) != (self._look.wanted, self._look.often):
            self._look = Look(wanted, often)
            self._courier.tell(self._look)

    def _sights(self, now: float) -> tuple[Message, ...]:
        """What the looks at the configured session say that a person has to know."""
        session, sight = self._settings.session, self._courier.sight
        closed = self._elsewhere == (session.token, True)
        if self._look.wanted and sight:
            closed = lookout.closed_elsewhere(sight, session.token)
            turned = lookout.inverted(sight, session.token, self._rest, self._settings.reader, now)
        else:
            turned = False
        return lookout.faults(session.name or session.token, closed=closed, turned=turned)

    def _standing_on_disk(self, token: str) -> str | None:
        try:
            return self._spool.standing(token)
        except OSError:
            return None

    def _obey_signals(self) -> bool:
        if not self._signals:
            return True
        received, self._signals = self._signals, set()
        if signal.SIGHUP in received:
            self._reload(asked=True)
        if signal.SIGUSR1 in received:
            self._courier.tell(Hurry())
        return not received & {signal.SIGTERM, signal.SIGINT}

    def _follow_configuration(self, now: float) -> None:
        """Saving is enough; but what is still being written is not read."""
        files = tuple((path, config.stamp(path)) for path, _ in self._config_files)
        if files != self._config_files:
            self._config_files, self._config_changed = files, now
        elif self._config_changed is not None and now - self._config_changed >= SAVED:
            self._reload()

    def _reload(self, *, asked: bool = False) -> None:
        """Read the configuration. What may have been cut short is taken up only where a person `asked` for it."""
        if self._ready:
            self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        loaded = config.load(self._path)
        self._config_files, self._config_changed = loaded.files, None
        self._config_problems = loaded.problems
        for problem in loaded.problems:
            log.log(logging.WARNING if problem.warning else logging.ERROR, "%s", problem)
        self._cut = None if asked or not loaded.settings else config.cut_short(self._path, self._in_force, loaded)
        if loaded.settings and not self._cut:
            old, self._settings = self._settings, loaded.settings
            self._in_force = loaded
            self._note_tables(asked=asked)
            self._follow_settings(old, loaded.settings)
            self._pins.configure(loaded.settings)
            self._courier.tell(Configure(loaded.settings))
            self._looked = -1e9
            log.info(
                "configuration read again session=%s token=%s",
                self._settings.session.name,
                self._settings.session.token,
            )
        elif not self._cut:  # which is a fault, and told as one
            log.error(
                "the configuration has an error, told above: the old one stays in force; saving it mended is enough"
            )
        if self._ready:
            self._systemd.tell("READY=1")

    def _follow_settings(self, old: Settings, new: Settings) -> None:
        """What a trigger has begun belongs to the session, the line and the rules that it began under."""
        press, reader_state = self._press, self._reader_state
        if line_identity(old.button) != line_identity(new.button):
            press = Press()
        if (line_identity(old.reader), old.session.token) != (line_identity(new.reader), new.session.token):
            self._rest = lookout.Rest()
        if line_identity(old.reader) != line_identity(new.reader):
            reader_state = ReaderState(stale=reader_state.stale)
        elif old.reader != new.reader:
            reader_state = replace(reader_state, line=reader_state.line.anew(time.monotonic()))
        if old.session.token != new.session.token:
            press, reader_state = press.voided(), reader_state.distrusted()
            self._session_closed = self._standing_on_disk(new.session.token) == CLOSED
        self._press = press
        self._arm(reader_state)

    def _note_tables(self, *, asked: bool = False) -> None:
        """What is in force now, for the next start. What is missing stays noted until a person has accepted that."""
        now = tuple(name for name in self._in_force.outline if "." not in name)
        self._gone = () if asked else tuple(config.lost(self._tables, now))
        new = (name for name in now if name not in self._tables)
        self._tables = (*self._tables, *new) if self._gone else now
        self._keep_tables()

    def _keep_tables(self) -> None:
        """Write that down where it has changed; where the disk refuses, the next try does."""
        if sorted(self._tables) != sorted(self._tables_kept):
            with contextlib.suppress(OSError):
                self._spool.keep_tables(self._tables)
                self._tables_kept = self._tables

    # -- write

    def _show(self, now: float) -> None:
        self._note_faults(now)
        press, reader_state, withdrawn = self._press, self._reader_state, now < self._withdrawn_until
        closes, unsafe = tuple(self._closes.values()), self._spool.unsafe()
        lines = (press.state, press.held, reader_state.state, reader_state.armed)  # all that is shown of them
        seen = (lines, closes, unsafe, self._faults, self._session_closed, withdrawn, self._settings)
        if seen != self._seen:  # most scans see nothing new, and cost little
            self._seen = seen
            self._indicate(
                station.View(
                    faults=self._faults,
                    closes=closes,
                    unsafe=unsafe,
                    session_closed=self._session_closed,
                    withdrawn=withdrawn,
                    button=self._settings.button,
                    press=press,
                    reader=self._settings.reader,
                    signal=reader_state,
                ),
                now,
            )
        indication, t = self._indication, now - self._indicated
        self._pins.write(indicator.light(indication, t), indicator.sound(indication, t))
        told = (self._seen, self._config_problems, self._courier.progress)
        if now >= self._write_after and told != self._written:
            self._written, began = told, time.thread_time()
            self._runtime.write_status(self._status(now), self._boot)
            self._write_waits()
            self._watchers.renew()
            self._systemd.tell(f"STATUS={report.DOING[indication]}: {self._settings.session.name or 'session'}")
            self._write_after = time.monotonic() + rest(time.thread_time() - began)

    def _write_waits(self) -> None:
        """Note for the next life how far each close has come with waiting, where that has changed."""
        since_boot = clock.uptime() - time.monotonic()
        found = {token: each.wait for token, each in self._courier.progress.items()}
        told = {token: wait.moved(since_boot) for token, wait in found.items() if wait and token in self._closes}
        kept = {token: wait for token, wait in self._waits.items() if token in self._closes and token not in found}
        if {**kept, **told}.keys() != self._waits.keys() or found != self._waits_seen:
            self._waits, self._waits_seen = {**kept, **told}, found
            self._runtime.write_waits(self._waits, self._boot)

    def _indicate(self, view: station.View, now: float) -> None:
        indication = station.show(view)
        if indication is not self._indication:
            self._indication, self._indicated = indication, now
            self._shown(indication)

    def _note_faults(self, now: float) -> None:
        progress = self._courier.progress
        unseen = (self._unseen,) if self._unseen else ()
        problems = (*self._spool.problems(), *self._pins.problems.values(), *self._runtime.problems(), *unseen)
        lines = self._press.stuck or self._press.flickering or self._reader_state.flickering
        configured = self._config_problems or self._cut or self._gone
        sights = self._sights(now) if self._elsewhere or self._courier.sight else ()
        if not (problems or progress or lines or configured or sights or self._faults):
            return  # as nearly always
        faults = (
            *problems,
            *self._line_faults(),
            *(
                _("{name} is not closed: {why}", name=self._closes[token].record.name or token, why=each.fault)
                for token, each in progress.items()
                if each.fault and token in self._closes
            ),
            *sights,
            *((self._error_in_configuration,) * self._invalid),
            *((self._cut,) if self._cut else ()),
            *(_GONE.with_parts(path=self._path, table=f"[{table}]", means=_WITHOUT[table]) for table in self._gone),
        )
        if faults != self._faults:
            for fault in faults:
                if fault not in self._faults:
                    log.error("fault: %s", fault)
            for fault in self._faults:
                if fault not in faults:
                    log.info("over: %s", fault)
            self._faults = faults

    def _line_faults(self) -> Iterator[str]:
        """What is wrong with the inputs' lines, with what it means."""
        if self._press.stuck:
            yield _(
                "the button is held, its line is shorted, or button.active is the wrong way round: "
                "check the switch, its cable and button.active"
            )
        if self._press.flickering:
            yield _("the button's line flickers, so a press may not be seen: check the switch, its cable and plugs")
        if self._reader_state.flickering:
            yield _("the reader's line flickers, so its going off may not be seen: check its cable and plugs")
            now = time.monotonic()
            for token, close in self._closes.items():
                if self._held(close, now) == "reader":
                    longest = self._settings.close.max_wait
                    yield _(
                        "the reader's line flickers, so the close of {name} waits for {seconds:g} s at the most: to "
                        "close now, hold the button or run `sudo rufusd close`",
                        **{"name": close.record.name or token, "seconds": longest},
                    )

    @property
    def _invalid(self) -> bool:
        return any(not problem.warning for problem in self._config_problems)

    @property
    def _error_in_configuration(self) -> Message:
        return _(
            "{path} has an error, the configuration before it is in force: `sudo rufusd check` says what is wrong",
            path=self._path,
        )

    def _status(self, now: float) -> dict[str, Any]:
        progress, unsafe = self._courier.progress, self._spool.unsafe()
        status = report.status_object(
            version=__version__,
            pid=os.getpid(),
            since=self._since,
            valid=not self._invalid,
            problems=[problem.words for problem in self._config_problems],
            session={"token": self._settings.session.token, "name": self._settings.session.name},
            button=self._press.state if self._settings.button else None,
            hold_time=self._settings.button.hold_time if self._settings.button else None,
            reader=self._reader_state.state if self._settings.reader else None,
            indication=self._indication,
            faults=self._faults,
            closes=[
                report.close_object(
                    close.record,
                    PENDING,
                    now,
                    progress.get(token),
                    held=self._held(close, now),
                    durable=token not in unsafe,
                )
                for token, close in self._closes.items()
            ],
        )
        return {**status, "written_at": now}

    def _frame(self, now: float) -> dict[str, Any]:
        left = [each.grace_until - now for each in self._closes.values() if each.standing is CloseState.GRACE]
        return report.frame(
            now,
            button=self._settings.button,
            press=self._press,
            reader=self._settings.reader,
            signal=self._reader_state,
            indication=self._indication,
            shown_for=now - self._indicated,
            grace=max(0.0, *left) if left else None,
        )

    def _held(self, close: Close, now: float) -> str:
        """What keeps a close from the courier, in a word."""
        if close.standing is not CloseState.GRACE:
            return ""
        what = station.input_of_scan(close, now, self._press, self._watched, self._reader_state)
        return "reader" if now >= close.grace_until and what is Input.READER_SEEN else "grace"

    def _feed_watchdog(self, now: float) -> None:
        interval = self._systemd.watchdog
        if interval is None or now - self._watchdog_fed < interval or self._courier.stalled(now):
            return
        if self._systemd.tell("WATCHDOG=1"):
            self._watchdog_fed = now

    def _stop(self) -> None:
        self._systemd.tell("STOPPING=1")
        self._pins.close()
        self._courier.tell(Stop())
        if self._courier.is_alive():
            self._courier.join(END)
        self._spool.tend()  # the last chance for what is held in memory only
        self._write_waits()  # the courier may have met an outage since the last scan
        for problem in self._spool.problems():
            log.error("stopping in spite of this: %s", problem)
        self._watchers.close()
        self._runtime.close()
        self._spool.unlock()


def rest(busy: float) -> float:
    """Seconds until the next look, after one that has kept the processor busy for so long (time spent waiting is not).

    With thousands of closes, it leaves time for the inputs.
    """
    return min(REST * busy, LONGEST_REST)


def pause(
    press: Press,
    reader_state: ReaderState,
    closes: Iterable[Close],
    chance: float,
    button: Button | None,
    reader: Reader | None,
) -> float:
    """Seconds from one scan to the next, which is not later than what is due. `chance` is uniform in [0, 1)."""
    moving = not press.line.settled or not reader_state.line.settled or (press.line.active and not press.stuck)
    if moving or any(close.standing is CloseState.GRACE for close in closes):  # taken back by a tap, which may be short
        tick = FAST_TICK * (1 + SWAY * (2 * chance - 1))
    else:
        tick = TICK - EARLY * chance**6
    return min(tick, max(LEAST, inputs.time_to_next_decision(press, reader_state, button, reader)))


def new_record(token: str, name: str, trigger: str, reason: str = "") -> Record:
    """The record of a close that is confirmed now."""
    return Record(
        token,
        name,
        trigger,
        reason,
        confirmed_at=clock.utc(),
        clock_synchronized=clock.synchronized(),
        boot_id=clock.boot_id(),
        uptime=clock.uptime(),
    )


def deliver_once(settings: Settings, spool: Spool, say: Callable[[str], None]) -> int:
    """Without a daemon: deliver what is pending, telling how it goes, until all is closed or all has failed once.

    A daemon that starts meanwhile takes over. Raises StateFolderLocked where there is a daemon after all.
    """
    spool.lock(first=False)
    changes, boot, grace = Changes(), clock.boot_id(), settings.close.grace
    closes: dict[str, Close] = {}
    handed_over = HandedOver(spool, closes)
    courier = Courier(settings, partial(connect, changes=changes), handed_over, changes, clock.utc, lambda: None)

    def take_up(record: Record) -> Close:
        return station.recovered_close(record, time.monotonic(), clock.uptime(), boot, grace)

    try:
        spool.recover()
        closes.update({token: take_up(record) for token, record in spool.pending().items()})
        waiting = set(closes)
        if waiting:
            say(
                _n(
                    len(waiting),
                    "{n} pending; it is sent once its time to be taken back is over",
                    "{n} pending; each is sent once its time to be taken back is over",
                )
            )
        courier.start()
        told = dict.fromkeys(waiting, "")
        failed: set[str] = set()
        while told.keys() - failed and courier.is_alive():
            time.sleep(TICK)
            if spool.wanted():
                say(_("rufusd has started and takes over; `rufusd status` shows how it goes"))
                return 0
            progress, pending = courier.progress, spool.pending()
            for token in told.keys() & pending.keys():
                record = pending[token]
                if record.uptime != closes[token].record.uptime:  # withdrawn, and confirmed anew
                    closes[token] = take_up(record)
                    courier.tell(Forget(token))
                    waiting.add(token)
            for token in list(waiting):
                if time.monotonic() >= closes[token].grace_until:
                    record = closes[token].record
                    courier.tell(Deliver(token, spool.called(token), record.reader_alone, record.empty))
                    waiting.remove(token)
            for token in list(told):
                each = progress.get(token)
                news = (each.error or each.empty or report.UNDER_WAY.get(each.phase, "")) if each else ""
                if token not in pending:
                    ended = report.STATE.get(spool.standing(token) or "", _("unknown"))
                    ended = report.ALREADY if spool.closed_how(token) == ELSEWHERE else ended
                    say(_("{token}: {news}", token=report.short(token), news=ended))
                    del told[token]
                elif each:
                    if news != told[token]:
                        told[token] = news
                        say(_("{token}: {news}", token=report.short(token), news=news))
                    if each.phase in (
                        Phase.RETRY,
                        Phase.REFUSED,
                        Phase.EMPTY,
                    ):  # its error may have been told in the next attempt
                        failed.add(token)
        return 1 if told else 0
    finally:
        courier.tell(Stop())
        if courier.is_alive():
            courier.join(END)
        changes.close()
        spool.unlock()
