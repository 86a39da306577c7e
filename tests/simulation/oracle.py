"""The judge: it knows what happened in the world and judges what the stations did. It shares no code with the product.

Its rules are the six promises, the triggers and the delivery of the design. Where the station can see less than the
world (a level between two samples, a configuration that is just being read) it judges in the station's favour.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lossyfs import File

from .machine import BUTTON, KEY, RUN, STATE, Machine
from .rufus import Call, Session
from .story import ARM, HOLD, SETTLE, STUCK, TOKENS
from .world import START

UNSEEN = 0.06  # seconds: a change that lasts shorter may fall between two samples, or be debounced
COUNTED_PAUSE = 0.25  # seconds: of a pause between two samples no more counts
GAP = 0.5  # seconds: a longer pause ends whatever was seen before
TAP = 0.15  # seconds: a shorter press takes nothing back
EARLY = 0.05  # seconds that the station may be early, by rounding
SECOND = 1.3  # within which LED, status and truth agree
UPTAKE = 4.0  # seconds after which a saved configuration is surely in force
CONFIRMED = frozenset(("grace", "pending", "fault_pending"))
FINGER = frozenset(("holding", "let_go", "withdrawn"))  # what may hide the rest for a moment


@dataclass
class Saved:
    """A configuration that was saved. `token` is what a daemon takes up, `named` what a command reads, or None."""

    at: float
    token: str | None
    named: str | None
    reader: bool
    settle: float
    wired: bool = True  # whether the button is at the pin that is configured


@dataclass(frozen=True)
class Cause:
    """A trigger that was truly given."""

    at: float
    kind: str  # button, reader, command
    began: float
    over: float = 0.0  # when a command had ended


@dataclass
class Claim:
    """What the station has said about one close, last."""

    what: str  # "confirmed" or "withdrawn"
    at: float
    how: str


@dataclass
class Station:
    """What the oracle knows of one machine."""

    machine: Machine
    contact: list[list[float]] = field(default_factory=list)  # [from, to], to is inf while it lasts
    runs: list[list[float]] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    lives: list[list[float]] = field(default_factory=list)
    stops: bool = False  # whether the daemon has been told to stop
    killed: list[float] = field(default_factory=list)  # when a life ended without a word
    boots: list[float] = field(default_factory=list)
    commands: list[tuple[float, float, str, str]] = field(default_factory=list)  # (begun, ended, what, its token or "")
    claims: dict[str, Claim] = field(default_factory=dict)
    confirmed: dict[tuple[str, str], float] = field(default_factory=dict)  # since when status has told of each close
    said: dict[str, float] = field(default_factory=dict)  # when each close was last said to be confirmed
    withdrawn: list[tuple[float, str, str]] = field(default_factory=list)  # (when it was said, token, by what)
    held_up: list[float] = field(default_factory=list)  # when a step of the disk took half a second
    trouble: list[list[float]] = field(default_factory=list)  # times in which the disk or more was disturbed
    shown: list[tuple[float, str]] = field(default_factory=list)
    pressed: list[tuple[float, float, int]] = field(default_factory=list)  # valid: (end, its life, contacts until then)
    since: dict[str, float] = field(default_factory=dict)  # since when each condition of `look` is violated
    status: dict[str, Any] = field(default_factory=dict)
    status_at: float = -1e9


class Oracle:
    """The judge of one race."""

    def __init__(self, race: Any) -> None:
        self.race, self.world, self.setup, self.rufus = race, race.world, race.setup, race.rufus
        self.problems: list[tuple[str, str]] = []  # (rule, what happened)
        self.counts = {"attempted": 0, "acknowledged": 0, "found": 0, "recovered": 0, "calls": 0, "lost passings": 0}
        self.stations: dict[str, Station] = {}
        slow = any(each.kind in ("slow disk", "disk") for each in race.story.events)
        self.uptake = 70.0 if slow else UPTAKE
        for machine in race.machines:
            station = Station(machine)
            station.boots.append(self.world.now)
            station.saved.append(Saved(-1e9, TOKENS[0], TOKENS[0], self.setup["reader"], SETTLE))
            self.stations[machine.name] = station
            machine.watchers.append(lambda what, about, s=station: self._machine(s, what, about))
            self._watch_status(station)
        self.rufus.watchers.append(self._rufus)

    def wrong(self, rule: str, text: str) -> None:
        """A violation. The first of each rule is kept."""
        if all(rule != each for each, _ in self.problems):
            self.problems.append((rule, f"{text} ({self.world.now - START:.2f} s)"))
            self.world.note("ORACLE", f"!! {rule}: {text}")

    # -- what happened in the world

    def moved(self, machine: Machine, line: str, on: bool) -> None:
        """A wire has changed."""
        station, now = self.stations[machine.name], self.world.now
        spans = station.contact if line == "button" else station.runs
        if on:
            spans.append([now, float("inf")])
        elif spans:
            spans[-1][1] = now
        if line == "button" and not on:
            self._look_for_missed(station, spans[-1])
        if line == "reader" and not on:
            self._look_for_missed_reader(station, now)

    def saved(self, machine: Machine, text: str, *, good: bool = True) -> None:
        """A configuration has been saved; not a good one, if it is broken or cut short."""
        station, now = self.stations[machine.name], self.world.now
        last, found = station.saved[-1], re.search(r'token = "(\w+)"', text)
        named = found[1] if found else None
        if not good:
            station.saved.append(Saved(now, None, named, last.reader, last.settle, last.wired))
            return
        settle = re.search(r"settle_time = ([\d.]+)", text)
        wired, seconds = f"pin = {BUTTON + 1}" not in text, float(settle[1]) if settle else SETTLE
        station.saved.append(Saved(now, named, named, "[reader]" in text, seconds, wired))

    def _machine(self, station: Station, what: str, about: Any) -> None:
        now = self.world.now
        if what == "started":
            station.lives.append([now, float("inf")])
            station.since.clear()
            station.stops = False
        elif what == "told to stop":
            station.stops = True
        elif what == "ended":
            if station.lives:
                station.lives[-1][1] = now
                station.killed += [now] if about.status is None else []
            self._count_files(about)
        elif what == "held up":
            station.held_up.append(now)
        elif what == "booted":
            station.boots.append(now)
        elif what == "cut":
            self._after_cut(station)
        elif what == "shown":
            self._shown(station, about)
        elif what == "watchdog":
            if not self._troubled(station, now - 40, now):
                self.wrong("stuck: watchdog", "the daemon has shown no life for 30 s")
        elif what == "command":
            process, arguments = about
            token = self._token_of(station, arguments, now)
            station.commands.append((now, float("inf"), arguments[0], token))
            process.facts["command"] = len(station.commands) - 1
        elif what == "command ended":
            self._command_ended(station, *about)

    def _token_of(self, station: Station, arguments: tuple[str, ...], now: float) -> str:
        if arguments[0] == "withdraw":
            return arguments[1]
        return next((each.named for each in reversed(station.saved) if each.at <= now), "") or ""

    # -- what may have caused a close

    def _configured(self, station: Station, token: str) -> Iterator[tuple[float, float]]:
        """From when to when this session may have been the configured one."""
        for n, each in enumerate(station.saved):
            if each.token == token:
                later = self._others_after(station, n, token)
                yield each.at - EARLY, min(later) + self.uptake if later else float("inf")

    @staticmethod
    def _stood(station: Station) -> list[tuple[Saved, float]]:
        """Each configuration that was saved, and until when it stood."""
        return list(zip(station.saved, [*(each.at for each in station.saved[1:]), float("inf")]))

    def _others_after(self, station: Station, n: int, token: str) -> list[float]:
        """When, after the n-th saving, another session was saved that surely came into force: it stood long enough."""
        return [
            each.at
            for each, end in self._stood(station)[n + 1 :]
            if self._sure(each) and each.token != token and end - each.at >= self.uptake
        ]

    def _possible(self, station: Station, began: float, ended: float, token: str) -> bool:
        """Whether this session may have been the configured one from one moment to the other."""
        return any(start <= began and ended <= until for start, until in self._configured(station, token))

    def _read_by(self, station: Station, began: float, ended: float, token: str) -> bool:
        """Whether a command may have read this session in the configuration: it reads the file once, while it runs."""
        return any(
            each.named == token and each.at - EARLY <= ended and began <= end + EARLY
            for each, end in self._stood(station)
        )

    def _sure(self, saved: Saved) -> bool:
        """Whether a saved configuration surely comes into force: one that lacks a table may have been cut short."""
        return saved.token is not None and (saved.reader or not self.setup["reader"])

    @staticmethod
    def _merged(spans: list[list[float]], now: float) -> list[list[float]]:
        """The spans, where breaks that may not have been seen are none."""
        merged: list[list[float]] = []
        for start, end in spans:
            if merged and start - merged[-1][1] <= UNSEEN:
                merged[-1][1] = min(end, now)
            else:
                merged.append([start, min(end, now)])
        return merged

    @staticmethod
    def _contacts(station: Station, now: float) -> Iterator[tuple[float, float, float]]:
        """Each contact that the button's line may have shown: its beginning, its end, and how long it seemed to last.

        Any breaks in it may not have been seen: they were too short, or the daemon was held up and did not look.
        """
        for first, (start, end) in enumerate(station.contact):
            last, unseen = end, 0.0
            yield start, min(end, now), min(end, now) - start
            for after, until in station.contact[first + 1 :]:
                pauses = station.machine.wires.pauses
                pause = next((ended - began for began, ended in pauses if began <= last <= after <= ended), 0.0)
                missed = after - last <= UNSEEN or 0.0 < pause <= GAP
                if not missed or after - start > STUCK + 1:
                    break
                last, unseen = until, unseen + max(0.0, pause - COUNTED_PAUSE)
                yield start, min(until, now), min(until, now) - start - unseen

    def causes(self, station: Station, token: str) -> list[Cause]:
        """All triggers for this session until now, in the station's favour."""
        now = self.world.now
        found = [
            Cause(began, "command", began, min(ended, now))
            for began, ended, what, _ in station.commands
            if what == "close" and self._read_by(station, began, min(ended, now), token)
        ]
        if self.setup["button"]:
            for start, end, lasted in self._contacts(station, now):
                life = any(born <= start and end <= died + EARLY for born, died in station.lives)
                fits = lasted >= HOLD - 0.03 and end - start <= STUCK + 0.3
                if life and fits and self._possible(station, start, end, token):
                    found.append(Cause(end, "button", start))
        if self.setup["reader"]:
            found += self._reader_causes(station, token)
        return sorted(found, key=lambda each: each.at)

    def _reader_causes(self, station: Station, token: str) -> list[Cause]:
        now = self.world.now
        runs = self._merged(station.runs, now)
        seen = [start for start, end in station.runs if end - start > UNSEEN]  # a shorter one may not have been
        found = []
        for boot, until in zip(station.boots, [*station.boots[1:], float("inf")]):
            mine = [[max(start, boot), min(end, until)] for start, end in runs if end > boot and start < until]
            armed = False
            for start, end in mine:
                whole = start if start > boot else -1e9  # it ran before this boot
                armed = armed or (
                    end - start >= ARM - 0.03 and self._run_counts(station, whole, start, end, token, boot)
                )
                off_until = min(now, until, *[each for each in seen if each > end][:1])
                settled = self._settled(station, end, off_until)
                if armed and settled is not None and end < now:
                    if self._possible(station, end, settled, token):
                        found.append(Cause(settled, "reader", end))
                    armed = False
        return found

    def _settled(self, station: Station, off: float, until: float) -> float | None:
        """When a reader that went off may have settled at the earliest: another settle time counts from its saving."""
        found = []
        for n, rule in enumerate(station.saved):
            others = [
                other.at + self.uptake
                for other, end in self._stood(station)[n + 1 :]
                if other.token and other.settle != rule.settle and end - other.at >= self.uptake
            ]
            at = max(off, rule.at) + rule.settle
            if rule.token and at <= min([until, *others]) + 0.03:
                found.append(at)
        return min(found, default=None)

    def _run_counts(self, station: Station, whole: float, start: float, end: float, token: str, boot: float) -> bool:
        """Whether a run may arm the reader for this session: it began after the session was configured."""
        for n, each in enumerate(station.saved):
            if each.token != token:
                continue
            before = station.saved[n - 1] if n else None
            later = self._others_after(station, n, token)
            until = min(later) + self.uptake if later else float("inf")
            began = max(start, each.at)
            if min(end, until) - began < ARM - 0.03:
                continue
            fresh = before is None or before.token == token or whole >= each.at
            booted = whole < 0 and start >= each.at  # what /run said of the old session is gone
            # A life of this boot has noted for which session it watches the reader, also for the lives that follow.
            known = any(born >= boot and min(died, each.at) - born > 1.0 for born, died in station.lives)
            known = known and not self._troubled(station, boot, self.world.now)
            if fresh or booted or not known or not each.reader or not before.reader:
                return True
        return False

    # -- RUFUS was called

    def _rufus(self, what: str, about: Any) -> None:
        if what == "begun":
            self._judge_pace(self.stations[about.station], about)
        if what == "sent" and about.kind == "close":
            self._close_sent(self.stations[about.station], about)
        elif what == "lost":
            self.counts["lost passings"] += about[1]
        elif what == "closed":
            self._session_closed(about)

    def _judge_pace(self, station: Station, call: Call) -> None:
        """RUFUS has asked to be called later, and nobody has asked otherwise."""
        mine = [each for each in self.rufus.calls if each.station == call.station and each.token == call.token]
        before = [each for each in mine if each is not call and each.life == call.life and each.answered is not None]
        if not before or before[-1].status != 429:
            return
        since = before[-1].answered or 0.0
        # A retry that was asked for as the call before began, or later, counts, too: nobody knew of its answer.
        asked = any(what == "retry" and ended >= before[-1].begun - SECOND for _, ended, what, _ in station.commands)
        saved = any(each.at >= since - self.uptake for each in station.saved)
        again = any(each[1] == call.token and each[0] >= since for each in station.withdrawn)
        calm = call.token in station.machine.records("pending") and not self._troubled(station, since - 5, call.begun)
        if calm and not (asked or saved or again) and call.begun - since < 2.0 - EARLY:
            late = call.begun - since
            self.wrong("RUFUS asks for patience", f"RUFUS asked to be called in 2 s, and is called after {late:.2f} s")

    def _session_closed(self, session: Session) -> None:
        if session.closed_by in self.stations:
            self.counts["found"] += 1
            station = self.stations[session.closed_by]
            if session.token not in station.claims:
                self.counts["recovered"] += 1

    def _close_sent(self, station: Station, call: Call) -> None:
        self.counts["calls"] += 1
        now, token = self.world.now, call.token
        causes = self.causes(station, token)
        if not causes:
            self.wrong(
                "promise 1: no trigger", f"RUFUS is called to close {token[:4]}, and no trigger was given for it"
            )
            return
        # A command that says that RUFUS was called first has not promised that this call does not go out.
        taken_back = [
            each for each in station.withdrawn
            if each[1] == token and not (each[2] == "called" and call.begun < each[0])
        ]  # fmt: skip
        if taken_back:
            last, _, by = max(taken_back)
            boot = max(at for at in station.boots if at <= last)
            lived = any(max(born, boot) < last - 3 for born, _ in station.lives)  # long enough to note what went before
            causes = [each for each in causes if max(each.at, each.over) > last - (EARLY if each.over else 0.6)]
            if lived and not self._troubled(station, last - 5, now):  # a withdrawal uses up what was under way
                causes = [each for each in causes if each.kind != "reader" or each.began > last - 0.6]
            if not causes and now > last + (0.6 if by == "LED" else EARLY):
                self.wrong(
                    "promise 1: withdrawn", f"RUFUS is called to close {token[:4]}, which was said to be withdrawn"
                )
                return
        # After a reboot nobody knows how much of it was left, so there is none.
        first = min((each.at for each in causes), default=now)
        if causes and first > station.boots[-1] and now < first + self.setup["grace"] - EARLY:
            self.wrong("grace: too early", f"the close of {token[:4]} is sent before its time to be taken back is over")
        if causes:
            self._judge_reader(station, call, causes)
        self._judge_repeat(station, call)
        if self.setup["quiet"]:
            self._judge_quiet(station, call)

    def _judge_repeat(self, station: Station, call: Call) -> None:
        """After a close call that RUFUS may have acted on, the next step is to read."""
        mine = [
            each for each in self.rufus.calls
            if each.token == call.token and (each.station, each.life) == (call.station, call.life)
        ]  # fmt: skip
        before = [each for each in mine if each.kind == "close" and each is not call and each.sent is not None]
        if not before:
            return
        last = before[-1]
        taken = [at for at, token, _ in station.withdrawn if token == call.token]
        taken += [ended for _, ended, what, token in station.commands if (what, token) == ("withdraw", call.token)]
        again = any(at >= last.begun for at in taken)
        if not again and not any(each.kind == "read" and each.begun >= last.begun for each in mine):
            self.wrong("a lost answer: repeated unread", f"{call.token[:4]} is closed again, and was not read before")

    def _judge_reader(self, station: Station, call: Call, causes: list[Cause]) -> None:
        """A reader that runs again holds the close that it alone has confirmed, until the first call has gone out."""
        now, last = self.world.now, causes[-1].at
        earlier = [
            each for each in self.rufus.calls
            if each is not call and each.token == call.token and each.kind == "close" and each.station == call.station
            and each.sent is not None
        ]  # fmt: skip
        runs = self._merged(station.runs, now)
        looks = [each for each in self.rufus.calls if each.token == call.token and each.station == call.station]
        looks = [each for each in looks if each.genuine and each.passings is not None and (each.answered or 0) > last]
        if looks and looks[-1].passings == 0 and all(each.kind == "reader" for each in causes) and not earlier:
            self.wrong(
                "promise 1: an empty session", f"{call.token[:4]} has no passing, and the reader alone closes it"
            )
        if earlier or not runs or any(each.kind != "reader" for each in causes) or self._disturbed(station, last, now):
            return
        if causes[0].at < station.boots[-1]:
            return  # a reader that is switched on after a boot says nothing of the race before it
        start, end = runs[-1]
        flickers = len([each for each in station.runs if each[1] > last]) > 2
        back = min((each[0] for each in station.runs if each[0] > last), default=now)
        if now - back >= self.setup["max_wait"] - EARLY:
            return  # a line that comes and goes holds a close for so long at the most
        here = self._possible(station, last, now, call.token) and station.saved[-1].reader and len(station.saved) == 1
        lived = any(born < start - 1 and died == float("inf") for born, died in station.lives)
        if here and lived and end == now and start > last and now - start > 0.4 and not flickers:
            self.wrong(
                "promise 1: the reader runs", f"{call.token[:4]} is closed, and the reader that went off runs again"
            )

    @staticmethod
    def _started_with_a_cut(station: Station) -> bool:
        """Whether the daemon started with a file that is cut short. One cut within a table looks like an edit."""
        born = station.lives[-1][0] if station.lives else 0.0
        found = [each for each in station.saved if each.at < born + 1.0]
        return bool(found) and found[-1].token is None

    def _judge_quiet(self, station: Station, call: Call) -> None:
        """Promise 3, by what the station has been told."""
        looks = [
            each for each in self.rufus.calls
            if each.station == station.machine.name and each.token == call.token and each.kind == "read"
            and each.answered is not None and each.status != 429
        ]  # fmt: skip
        mended = station.saved[-1].token and self.world.now - station.saved[-1].at > self.uptake
        if self._started_with_a_cut(station) and not mended:
            return  # of `max_wait = 30` there may be left `max_wait = 3`
        quiet, most = self.setup["quiet"], self.setup["max_wait"]
        longest = 2 * (quiet / 6 + self.setup["timeout"]) + SECOND  # between two good looks, whatever came between them
        since = before = last = None
        failed: Counter[int] = Counter()  # looks of each life since the last good one: none knows of another's
        waited, told, doubtful = 0.0, False, False
        for look in sorted(looks, key=lambda each: each.answered or 0.0):
            assert look.answered is not None
            if look.genuine and not told:
                if doubtful:  # so what came before was not RUFUS: an outage
                    doubtful, since, before, last, waited = False, None, None, None, 0.0
                told = look.status != 404  # which says nothing of what this key may
            # A key that RUFUS has never answered may be one that cannot read, and a gateway may be who says so.
            if not look.formed and (told or look.status != 403):
                failed[look.life] += 1
                if failed[look.life] >= 2:  # an outage: quiet begins anew
                    since = None
                    if not any(0.0 <= at - look.answered <= SECOND for at in station.killed):
                        before, waited = None, 0.0  # and with it the longest wait, unless nobody lived to note it
                continue
            doubtful = doubtful or not look.formed
            if before is not None and failed and look.answered - before > longest:
                since, before, waited = None, None, 0.0
            if before is not None:
                waited += look.answered - before
            if since is None or last is None or look.passings != last.passings:
                since = look.answered
            before, last = look.answered, look
            failed.clear()
        if last is None or last.answered is None or call.sent is None:
            self.wrong("promise 3: no look", f"{call.token[:4]} is closed, and RUFUS was never asked before")
            return
        stale = call.sent - last.answered
        if stale > quiet / 6 + self.setup["timeout"] + 0.1:
            self.wrong("promise 3: stale look", f"{call.token[:4]} is closed on a look that is {stale:.1f} s old")
        still = last.answered - since if since is not None else 0.0
        if still < quiet - EARLY and waited < most - EARLY:
            self.wrong(
                "promise 3: not quiet",
                f"{call.token[:4]} is closed after {still:.2f} s in which no passing came; quiet is {quiet:g} s",
            )

    def _disturbed(self, station: Station, began: float, ended: float) -> float:
        """How long the station may have been held up by its disk."""
        return 15.0 if self._troubled(station, began - 5, ended) else 0.0

    # -- what a station says

    def _watch_status(self, station: Station) -> None:
        """See each new status file at once."""
        files = station.machine.files
        rename = files.rename

        def renamed(old: str, new: str) -> None:
            rename(old, new)
            if new == f"{RUN}/status.json":
                text = files.text(new) or "{}"
                self._status(station, json.loads(text))

        files.rename = renamed  # type: ignore[method-assign]

    def _status(self, station: Station, status: dict[str, Any]) -> None:
        station.status, station.status_at = status, self.world.now
        for close in status.get("closes", ()):
            station.confirmed.setdefault((close["token"], close["confirmed_at"]), self.world.now)
            if close["state"] == "pending" and close["durable"]:
                self._claim(station, close["token"], "confirmed", "status")
        if status.get("indicator") == "closed":
            token = status["session"]["token"]
            if self.rufus.sessions[token].active:
                self.wrong("promise 4: status", f"status says that {token[:4]} is closed, and RUFUS has it open")

    def _claim(self, station: Station, token: str, what: str, how: str) -> None:
        before = station.claims.get(token)
        if before is None or before.what != what:
            if what == "confirmed":
                station.said[token] = self.world.now
                self.counts["acknowledged"] += 1
                if not self.causes(station, token):
                    self.wrong("promise 1: no trigger", f"{token[:4]} is said to be confirmed ({how}), by no trigger")
            station.claims[token] = Claim(what, self.world.now, how)
            self.world.note("oracle", f"{station.machine.name} has said that {token[:4]} is {what} ({how})")

    def _shown(self, station: Station, shown: str) -> None:
        now = self.world.now
        station.shown.append((now, shown))
        if shown == "withdrawn":
            for token in TOKENS:
                claim = station.claims.get(token)
                pending = token in station.machine.records("pending")
                ended = not pending and token in station.machine.records("withdrawn")
                if claim and claim.what == "confirmed" and ended and not self._troubled(station, now - 10, now):
                    station.withdrawn.append((now, token, "LED"))
                    self._claim(station, token, "withdrawn", "LED")
                    self._judge_withdrawal(station, token)
        elif shown == "closed":
            mine = [token for token in TOKENS if self._possible(station, now - SECOND, now - SECOND, token)]
            mine += [token for token in TOKENS if self._possible(station, now, now, token)]
            if all(self.rufus.sessions[token].active for token in mine):
                self.wrong("promise 4: LED", "the LED says closed, and RUFUS has the session open")
            mine_calls = [each for each in self.rufus.calls if each.station == station.machine.name]
            # A key that may not read tells nothing of what was before; such a look counts as one that saw it open.
            unread = [each for each in mine_calls if each.formed and each.active is None]
            called = {each.token for each in mine_calls if each.kind == "close" or each.active}
            called |= {each.token for each in unread}
            if not called & set(mine) and not self._troubled(station, now - 10, now):
                self.wrong("promise 5: closed elsewhere", "the LED says closed, and this station never had it open")

    def _judge_withdrawal(self, station: Station, token: str) -> None:
        """Promise 2: only a person takes a close back, or the reader that confirmed it and has run again."""
        now = self.world.now
        causes = self.causes(station, token)
        if not causes:
            return  # which has been told
        if any(what == "withdraw" and each == token and began <= now for began, _, what, each in station.commands):
            return
        late = 0.8 + self._disturbed(station, now - 15, now)
        for start, _ in station.contact:
            end = next(until for began, until in self._merged(station.contact, now) if began <= start <= until)
            since = [*(each.at for each in causes), station.said.get(token, now)]  # a restart may have delayed it
            in_time = any(at + 0.5 - UNSEEN <= start <= at + self.setup["grace"] + late for at in since)
            # A reader that runs again has called its close back, and so it can be taken back for as long as that lasts.
            held = [each for each in station.runs if each[0] <= end and start <= each[1] + late]
            in_time = in_time or any(run[0] > each.at and each.kind == "reader" for run in held for each in causes)
            if end - start >= TAP - 0.01 and in_time and end <= now:
                return
        earlier = [at for at, each, _ in station.withdrawn if each == token and at < now]
        begun = min((each.at for each in causes if each.kind == "reader"), default=now)
        lived = {life[0]: life[1] for life in station.lives}
        too = [
            end for end, born, _ in station.pressed
            if max([begun, *earlier]) < end < now - 0.5 and lived[born] > end + 0.3
        ]  # fmt: skip
        if any(each.kind == "reader" for each in causes) and not too:
            off = min(each.began for each in causes if each.kind == "reader")
            if any(end - max(start, off) >= ARM - UNSEEN for start, end in self._merged(station.runs, now)):
                return
        self.wrong("promise 2: withdrawn by nobody", f"the close of {token[:4]} is withdrawn, and nobody has done that")

    def _command_ended(
        self, station: Station, process: Any, arguments: tuple[str, ...], status: int, text: str
    ) -> None:
        now = self.world.now
        number = process.facts.get("command", len(station.commands) - 1)
        began, _, what, token = station.commands[number]
        station.commands[number] = (began, now, what, token)
        if "defect" in text or "Traceback" in text:
            self.wrong("defect: a command", f"rufusd {what} says: {text.strip()[:150]}")
        if status not in (0, 1, 78):
            self.wrong("defect: a status", f"rufusd {what} ends with {status}")
        if what == "close" and status == 0:
            token = next((each for each in TOKENS if each in text or f"R-{each[0]}" in text), token)
            if not re.search(r"\bclosed already\b", text) or "being closed" in text:
                if now >= station.boots[-1] and not self._overtaken(station, token, began):
                    self._claim(station, token, "confirmed", "the command")
            elif self.rufus.sessions[token].active:
                self.wrong(
                    "promise 4: a command", f"rufusd close says that {token[:4]} is closed, and RUFUS has it open"
                )
        elif what == "withdraw" and status == 0:
            if not self._overtaken(station, token, began):
                station.withdrawn.append((now, token, "called" if "RUFUS was called" in text else "command"))
                self._claim(station, token, "withdrawn", "the command")
        elif what == "withdraw" and "closed already" in text and self.rufus.sessions[token].active:
            self.wrong(
                "promise 4: a command", f"rufusd withdraw says that {token[:4]} is closed, and RUFUS has it open"
            )
        elif what == "status" and status == 0:
            self._judge_status_command(station, text, began)

    def _overtaken(self, station: Station, token: str, began: float) -> bool:
        """Whether another trigger or withdrawal came while a command ran, so that its word may be old already."""
        others = [
            (start, end) for start, end, what, each in station.commands
            if what in ("close", "withdraw") and each == token and start != began and end >= began
        ]  # fmt: skip
        claim = station.claims.get(token)
        return bool(others) or bool(claim and claim.at >= began)

    def _judge_status_command(self, station: Station, text: str, began: float) -> None:
        now = self.world.now
        if "--json" not in text and text.lstrip().startswith("{"):
            said = json.loads(text)
            lives = [life for life in station.lives if life[0] <= now and life[1] >= began - SECOND]
            alive = bool(lives) and lives[-1][0] < began - 2 and lives[-1][1] == float("inf") and not station.stops
            troubled = self._troubled(station, began - 10, now)
            if not lives and said["daemon"]["running"]:
                self.wrong("promise 5: status", "status says that the daemon runs, and it does not")
            if alive and not troubled and not said["daemon"]["running"]:
                self.wrong("promise 5: status", "status says that the daemon does not run, and it does")
            recent = {each for at, each in station.shown if at >= began - SECOND} | {station.machine.shown}
            before = [each for at, each in station.shown if at < began - SECOND]
            if alive and not troubled and said["indicator"] not in recent | set(before[-1:]):
                self.wrong("promise 5: status", f"status says {said['indicator']}, the LED {station.machine.shown}")

    # -- the disk

    def _after_cut(self, station: Station) -> None:
        machine = station.machine
        for token, claim in station.claims.items():
            found = [state for state in ("pending", "closed", "withdrawn") if token in machine.records(state)]
            if claim.what == "confirmed" and not found:
                self.wrong(
                    "promise 2: lost by a cut", f"the close of {token[:4]}, said to be confirmed, is not on the card"
                )
            if claim.what == "confirmed" and found == ["pending"] and not self._has_facts(machine, token):
                self.wrong(
                    "promise 2: facts lost by a cut",
                    f"the record of {token[:4]}, said to be confirmed, has lost its facts",
                )
            if claim.what == "withdrawn" and "pending" in found:
                newer = [each for each in self.causes(station, token) if each.at > claim.at - 0.6]
                if not newer:
                    self.wrong(
                        "promise 2: a cut undoes", f"the close of {token[:4]}, said to be withdrawn, is pending again"
                    )

    @staticmethod
    def _has_facts(machine: Machine, token: str) -> bool:
        try:
            found = json.loads(machine.files.text(f"{STATE}/pending/{token}.json") or "")
        except ValueError:
            return False
        return bool(isinstance(found, dict) and found.get("trigger") and found.get("confirmed_at"))

    def _count_files(self, process: Any) -> None:
        if process is not None and len(process.files) > 60:
            self.wrong("leak: files", f"the daemon has {len(process.files)} open files")

    def _troubled(self, station: Station, began: float, ended: float) -> bool:
        """Whether the disk, /run or the lines were disturbed in this time."""
        return any(start <= ended and end >= began for start, end in station.trouble)

    def trouble_begins(self, machine: Machine) -> None:
        """The disk, /run or the lines are disturbed from now on, for however short a time."""
        self._note_trouble(self.stations[machine.name])

    # -- looked at all the time

    def look(self) -> None:
        """LED, status and truth agree within a second."""
        for station in self.stations.values():
            self._look(station)

    def _note_trouble(self, station: Station) -> bool:
        machine, now = station.machine, self.world.now
        files = machine.files
        bad = bool(
            files.error
            or files.run_error
            or files.room is not None
            or files.slow
            or files.reads_fail
            or machine.wires.busy
        )
        if bad:
            if station.trouble and station.trouble[-1][1] >= now - 0.6:
                station.trouble[-1][1] = now + 0.3
            else:
                station.trouble.append([now - 0.3, now + 0.3])
        return bad

    def _look(self, station: Station) -> None:
        machine, now = station.machine, self.world.now
        self._note_trouble(station)
        life = station.lives[-1] if station.lives else [now, now]
        alive = life[1] == float("inf") and now - life[0] > 2.0 and machine.powered
        if not alive or self._troubled(station, now - 6.0, now) or now - START < 2.5:
            station.since.clear()
            return
        pending, shown = machine.records("pending"), machine.shown
        contact = station.contact[-1] if station.contact and station.contact[-1][1] == float("inf") else None
        held = now - max(contact[0], life[0] + 0.5) if contact else 0.0
        seen_free = contact is not None and contact[0] > life[0] + 1.0
        calm = len([span for span in station.contact if span[1] > now - held - 1.5]) <= 1
        calm = calm and not any(at > now - held - 1.5 for at in station.held_up)
        last = station.saved[-1]
        settled = now - last.at > self.uptake + SECOND
        unknown = last.token is None and self._started_with_a_cut(station)
        if last.token is None or (any(not each.wired for each in station.saved) and not (last.wired and settled)):
            contact, held = None, 0.0  # the station may not see its button, or not for long enough
        conditions = {
            "promise 5: LED hides a close": bool(pending) and shown not in CONFIRMED | FINGER,
            "promise 5: LED shows a close": not pending and shown in CONFIRMED,
            "promise 5: status and LED": station.status.get("indicator") != shown,
            "promise 5: stuck is no fault": held > STUCK + 0.2
            and calm
            and shown not in ("fault", "fault_pending", "withdrawn", "grace"),
            "promise 5: armed, though pressed": shown == "armed" and held > 0.3 and calm,
            "promise 5: armed, though nothing armed": shown == "armed"
            and settled
            and last.reader
            and not unknown
            and not self._armed(station),
            "promise 5: grace without end": shown == "grace" and not self._may_be_grace(station),
            "promise 5: not on disk": any(not each["durable"] for each in station.status.get("closes", ())),
            "promise 5: a broken configuration": last.token is None
            and not unknown
            and settled
            and shown in ("armed", "unarmed", "closed"),
        }
        for rule, violated in conditions.items():
            if not violated:
                station.since.pop(rule, None)
            elif now - station.since.setdefault(rule, now) >= SECOND:
                self.wrong(rule, f"the LED says {shown}; pending: {len(pending)}; pressed for {held:.1f} s")
        judged = calm and seen_free and contact and self.setup["button"]
        if judged and held < STUCK - 0.2 and shown not in ("withdrawn",):
            expected = "holding" if 0.35 < held < HOLD - 0.05 else "let_go" if held > HOLD + 0.4 else None
            recent = [each for at, each in station.shown if at > now - 1.3]
            # Another session was configured while it was pressed, or the daemon has been told to stop.
            void = now - last.at < held + self.uptake + 2 or station.stops
            if expected and shown != expected and "withdrawn" not in recent and shown != "off" and not void:
                self.wrong("promise 5: the finger", f"the button is held for {held:.2f} s, and the LED says {shown}")

    def _may_be_grace(self, station: Station) -> bool:
        now = self.world.now
        if any(rule.startswith("promise 1") for rule, _ in self.problems):
            return True  # no trigger was given, so there is nothing to measure by
        if len({each.settle for each in station.saved}) > 1:
            return True  # a reader settles by one rule or the other
        if any(each.token is None for each in station.saved):
            return True  # a daemon that starts with a file that is cut short has the default grace
        tokens = {each.token for each in station.saved if each.token}
        causes = [each for token in tokens for each in self.causes(station, token)]
        if station.runs and station.runs[-1][1] > now - 1.0 and any(each.kind == "reader" for each in causes):
            return True  # the reader runs again and holds the close: it can be taken back meanwhile
        finger = any(end >= now - 1.0 for _, end in station.contact)
        if any(now - self.setup["grace"] - 0.9 <= at for at in station.confirmed.values()):
            return True  # a daemon that has just started sees the reader settle anew
        return finger or any(now - self.setup["grace"] - 0.7 <= each.at <= now for each in causes)

    def _armed(self, station: Station) -> bool:
        now, boot = self.world.now, station.boots[-1]
        return any(min(end, now) - max(start, boot) >= ARM - 0.03 for start, end in self._merged(station.runs, now))

    # -- triggers that should have acted

    def _undisturbed(self, station: Station, began: float, ended: float) -> bool:
        lives = [life for life in station.lives if life[0] < began - 1.5 and life[1] > ended]
        saved = [each for each in station.saved if began - self.uptake - 2 < each.at <= ended]
        busy = station.machine.files.countdown is not None or self._troubled(station, began - 8, ended)
        busy = busy or any(began - 1.5 < at < ended for at in station.held_up)
        return bool(lives) and not saved and not busy and station.machine.powered

    def _look_for_missed(self, station: Station, span: list[float]) -> None:
        start, end = span
        if 0.19 < end - start < 0.46:
            self._look_for_missed_tap(station, start, end)
        if not HOLD + 0.12 <= end - start <= STUCK - 0.2 or not self.setup["button"]:
            return
        self.counts["attempted"] += 1
        number = len(station.contact)
        first = station.saved[0].token or ""
        counts = [each for each in self.causes(station, first) if each.at == end and each.kind == "button"]
        seen = station.lives[-1][0] + 0.6  # once the daemon looks at its lines
        before = max([seen, *(each[1] for each in station.contact[:-1])])
        rested = before < start - HOLD - 0.2  # as it has to be at a start, and where the button was stuck
        if counts and rested and len(station.saved) == 1 and not station.machine.wires.busy and not self.race.healed:
            station.pressed.append((end, station.lives[-1][0], len(station.contact)))

        def judge() -> None:
            if not self._sure(station.saved[-1]):
                return
            near = [each for each in station.contact if each[1] > start - 0.7 and each[0] < end + 0.8]
            chatter = [each for each in near if each[0] > end and each[1] - each[0] < 0.02]
            taken = [each for each in station.commands if each[2] == "withdraw" and each[1] > start - 1]
            token = station.saved[-1].token
            if (
                len(near) - len(chatter) != 1
                or taken
                or not token
                or not self._undisturbed(station, start, self.world.now)
            ):
                return
            if station.saved[-1].token is None or not station.saved[-1].wired or self.race.healed:
                return
            machine = station.machine
            if token not in machine.records("pending") and token not in machine.records("closed"):
                back = [each for each in station.withdrawn if each[1] == token and each[0] >= end - 0.1]
                if not back:
                    self.wrong(
                        "missed: the button", f"press {number} was held for {end - start:.2f} s, and confirmed nothing"
                    )

        self.world.at(0.8, judge)

    def _look_for_missed_tap(self, station: Station, start: float, end: float) -> None:
        """A short press in the time to take a close back takes it back."""

        def judge() -> None:
            token = station.saved[0].token or ""
            near = [each for each in station.contact if each[1] > start - 0.7 and each[0] < end + 0.6]
            taken = [each for each in station.commands if each[1] > start - 6]
            if (
                len(near) != 1
                or taken
                or len(station.saved) != 1
                or not self._undisturbed(station, start - 2, self.world.now)
            ):
                return
            causes = [each for each in self.causes(station, token) if each.kind == "button"]
            given = [each for each in causes if each.at + 0.75 <= start <= each.at + self.setup["grace"] - 0.08]
            if given and given[-1] == causes[-1] and station.machine.name != "second" and self.setup["stations"] == 1:
                others = [
                    each for each in self.causes(station, token) if each not in given and each.at > given[0].at - 9
                ]
                sent = [
                    each.sent for each in self.rufus.calls if each.kind == "close" and each.token == token and each.sent
                ]
                called = any(each < given[0].at + self.setup["grace"] - EARLY for each in sent)
                told = [each for each in station.withdrawn if each[1] == token and each[0] >= start]
                ended = self.rufus.sessions[token].closed_by == "others"
                claim = station.claims.get(token)
                sure = claim is not None and claim.what == "confirmed" and claim.at < start
                if sure and not others and not called and not told and not ended:
                    self.wrong("missed: a tap", f"a press of {end - start:.2f} s in the grace took nothing back")

        self.world.at(0.6, judge)

    def _look_for_missed_reader(self, station: Station, off: float) -> None:
        run = station.runs[-1]
        if run[1] - run[0] < ARM + 0.2 or not self.setup["reader"]:
            return

        def judge() -> None:
            token = station.saved[-1].token
            on_again = [each for each in station.runs if each[0] > off]
            taken = [each for each in station.commands if each[2] == "withdraw" and each[1] > off - 1]
            presses = [each for each in station.contact if each[1] > off - 6]
            if on_again or taken or presses or not token or self.race.healed or len(station.saved) > 1:
                return
            now = self.world.now
            armed = any(min(life[1], off) - max(life[0] + 1.0, run[0]) > ARM + 0.5 for life in station.lives)
            same_boot = station.boots[-1] < run[0] - 0.5 and station.machine.powered
            if not (armed and same_boot) or self._troubled(station, run[0] - 8, now) or station.machine.files.countdown:
                return
            born, died = station.lives[-1]
            if died != float("inf") or now < born + 1.0 + SETTLE + 1.0:  # it was started again meanwhile
                if now < off + 12:
                    self.world.at(0.5, judge)
                return
            machine = station.machine
            if token not in machine.records("pending") and token not in machine.records("closed"):
                self.wrong(
                    "missed: the reader", f"the reader went off after {run[1] - run[0]:.1f} s, and nothing is confirmed"
                )

        self.world.at(SETTLE + 1.0, judge)

    # -- the end

    def end(self) -> None:
        """Everything is well for a minute: what is true now stays so."""
        for station in self.stations.values():
            self._end(station)
        for defect in self.world.defects:
            self.wrong(
                "defect: an exception", defect.strip().splitlines()[-1] + " | " + " ".join(defect.split()[-40:])[-300:]
            )

    def _end(self, station: Station) -> None:
        machine = station.machine
        pending = machine.records("pending")
        closes = station.status.get("closes", ())
        for_a_person = {each["token"] for each in closes if each["phase"] == "empty"}  # and nobody comes in this world
        pending = [each for each in pending if each not in for_a_person]
        if pending:
            said = [(each["token"][:4], each["phase"], each["last_error"]) for each in station.status.get("closes", ())]
            self.wrong(
                "stuck: still pending", f"{[each[:4] for each in pending]} though all is well; status says {said}"
            )
        for token in TOKENS:
            session = self.rufus.sessions[token]
            claim = station.claims.get(token)
            if token in machine.records("closed") and session.active:
                self.wrong("promise 4: a record", f"{token[:4]} is recorded as closed, and RUFUS has it open")
            if claim and claim.what == "confirmed" and session.active and not pending and token not in for_a_person:
                states = [state for state in ("withdrawn",) if token in machine.records(state)]
                if states:
                    self._judge_withdrawal(station, token)
                else:
                    self.wrong(
                        "promise 2: never delivered", f"the close of {token[:4]} was confirmed, and RUFUS has it open"
                    )
        self._judge_dropped(station)
        self._judge_inverted(station)
        life = station.lives[-1] if station.lives else [0, 0]
        if life[1] != float("inf"):
            self.wrong("stuck: no daemon", "the daemon does not run, though all is well")
            return
        token = station.saved[-1].token or TOKENS[0]
        session = self.rufus.sessions[token]
        good = {"armed", "unarmed"} if session.active else {"closed", "fault"}
        if session.active and self.setup["reader"] and not machine.wires.running:
            good.add("fault")  # passings come in, and the reader's line says off: it may be the wrong way round
        if not session.active and token not in machine.records("closed"):
            good = {"armed", "unarmed", "fault"}  # it was closed elsewhere, which the station need not know
        if for_a_person:
            good = {"fault_pending"}
        if not pending and machine.shown not in good:
            faults = station.status.get("faults")
            self.wrong(
                "promise 5: the end",
                f"{token[:4]} is {'open' if session.active else 'closed'}, the LED says {machine.shown}: {faults}",
            )
        known = token in machine.records("closed") and not station.trouble  # else a full card has forgotten the call
        if session.closed_by == machine.name and machine.shown == "fault" and known:
            self.wrong(
                "promise 5: the end", f"closed by this station, and the LED says fault: {station.status.get('faults')}"
            )
        self._judge_secrets(station)

    def _judge_inverted(self, station: Station) -> None:
        """Promise 1: what was found empty as its reader went off (which reads so where it is inverted) stays open."""
        first = TOKENS[0]
        if not self.setup.get("inverted") or self.rufus.sessions[first].closed_by != station.machine.name:
            return
        causes = self.causes(station, first)
        looks = [each for each in self.rufus.calls if each.genuine and each.passings is not None]
        claim = station.claims.get(first)  # a daemon that was started again sees the reader settle later
        over = claim.at + self.setup["grace"] if claim else 0.0  # before that it looks for other reasons
        empty = [each for each in looks if each.passings == 0 and claim and each.begun > over]
        if empty and all(each.kind == "reader" for each in causes):
            self.wrong(
                "promise 1: an inverted reader", f"{first[:4]} was empty as the reader went off, and is closed later"
            )

    def _judge_dropped(self, station: Station) -> None:
        """Whatever the card does: what was confirmed while the daemon lived on is delivered, from memory if need be."""
        token, disturbed = station.saved[0].token or "", [each.kind for each in self.race.story.events]
        last = station.contact[-1][1] if station.contact else 0.0
        for end, born, number in station.pressed:
            alone = len(station.contact) == number and last == end and not self.setup["reader"]
            lived_on = station.lives[-1][0] == born and born < end - HOLD - 2.5
            calm = not {"lines busy", "at a call", "water"} & set(disturbed) and len(station.saved) == 1
            taken = [each for each in station.commands if each[2] == "withdraw"]
            if alone and lived_on and calm and not taken and self.rufus.sessions[token].active:
                self.wrong(
                    "promise 2: dropped", f"a press at {end - START:.2f} s has confirmed, and {token[:4]} is open"
                )

    def _judge_secrets(self, station: Station) -> None:
        texts = list(station.machine.said)
        for folder in (RUN, STATE, *(f"{STATE}/{state}" for state in ("pending", "closed", "withdrawn"))):
            for name in station.machine.files.names(folder):
                node = station.machine.files.find(f"{folder}/{name}")
                if isinstance(node, File):
                    texts.append(bytes(node.data).decode("utf-8", "replace"))
        if any(KEY in text for text in texts):
            self.wrong("promise 6: the key", "the key stands where everybody can read it")
