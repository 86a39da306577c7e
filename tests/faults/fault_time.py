"""Time: the wall clock jumps, the machine sleeps, reboots, or is offline for months, in every state of a station.

Intervals are monotonic, so nothing confirms by it, nothing is lost, early or hangs (promises 1 to 3). The clocks are
those of `clockfault.c`; the times of the calls are the sandbox's, on the test's own clock. A Pi does not suspend, but a
laptop does: CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC does not, and the scans have a gap.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import pytest
from families import HERE, Family, compiled
from forked import Forge
from stations import READER, Station, until

from rufusd.core import delivery
from rufusd.core.deliveries import Deliver
from rufusd.core.delivery import Answer, Phase
from rufusd.core.settings import Api, Close, Retry, Session, Settings
from rufusd.daemon import courier
from rufusd.training.sandbox import Sandbox

DECADE = 10 * 365.25 * 86400.0
HOLD, GRACE, QUIET = 0.4, 0.8, 0.5
LONG = ARM = SETTLE = 2.0  # what a state must not outlast before the fault comes, on a busy machine either
STILL = 0.3  # seconds in which nothing is to happen
EARLY = 0.02  # seconds: what two processes may disagree on when something began
_numbers = itertools.count()


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """Starts stations whose clocks can be moved."""
    folder = tmp_path_factory.mktemp("clocks")
    with contextlib.closing(Forge(folder, compiled(HERE / "clockfault.c", folder))) as forge:
        yield forge


class Clock:
    """The file of `clockfault.c`, and the name of the boot. Numbers are seconds."""

    def __init__(self, folder: Path) -> None:
        self._file, self._boot = folder / "clock", folder / "boot_id"
        self.env = {"CLOCK_FILE": str(self._file), "CLOCK_BOOT_ID": str(self._boot)}
        self.wall = self.uptime = self.monotonic = 0.0
        if not self._file.exists():
            self._file.write_bytes(bytes(24))
            self._boot.write_text("the first boot\n")

    def move(self, wall: float = 0.0, uptime: float = 0.0, monotonic: float = 0.0) -> None:
        """Move the clocks by so much, at once."""
        self.wall, self.uptime, self.monotonic = self.wall + wall, self.uptime + uptime, self.monotonic + monotonic
        with open(self._file, "r+b", buffering=0) as file:  # in place: it is mapped
            file.write(struct.pack("qqq", *(int(each * 1e9) for each in (self.wall, self.uptime, self.monotonic))))

    def reboot(self) -> None:
        """Another boot, 5 seconds ago."""
        self._boot.write_text(f"boot {next(_numbers)}\n")
        self.move(uptime=5 - time.clock_gettime(time.CLOCK_BOOTTIME) - self.uptime)


class Trial:
    """One station, one RUFUS and their clocks, for one state and one fault."""

    def __init__(self, folder: Path, forge: Forge, **tables: Any) -> None:
        self.folder = folder / f"trial{next(_numbers)}"
        self.folder.mkdir()
        self.clock = Clock(self.folder)
        self.rufus = Sandbox()
        self.rufus.start()
        self.token = self.rufus.add_session("FINISH-10K")
        self.rufus.add_passing(self.token)  # the reader alone closes no empty session
        tables = {**tables, "button": tables.get("button", {"hold_time": HOLD})}
        api = {"url": self.rufus.url, "key": self.rufus.keys["READ_WRITE"]}
        self.station = Station(self.folder / "s", api=api, session={"token": self.token}, **tables)
        self.station.launcher = forge
        self.at = 0  # how much has been shown before the state was reached
        self.earliest = 0.0  # when the close may be sent, monotonic
        self.rebooted = False
        self.wrong: list[str] = []

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        if self.station.process:
            self.station.stop(signal.SIGKILL)
        self.rufus.stop()

    def start(self, *pins: str) -> None:
        """Start the station, with a log of its own of what it shows."""
        self.station.log, self.at = "", 0
        self.station.start(*pins, env=self.clock.env)

    def shows(self, indication: str) -> None:
        """Wait until it is shown, after what was waited for before."""
        self.at = self.station.shows(indication, since=self.at)

    def tell(self, line: str, *, then: float = 0.0) -> None:
        """Move a pin; what comes of it may be sent `then` seconds later, not before."""
        self.earliest = time.monotonic() + then
        self.station.tell(line)

    def press(self, *, then: float = 0.0) -> None:
        """Hold the button until "let go", and let go."""
        self.tell("17 low")
        self.shows("let_go")
        self.tell("17 high", then=then)

    def lasts(self, least: float, since: float, indication: str) -> None:
        """Wait until it is shown, which is not to be before it has lasted."""
        self.shows(indication)
        took = time.monotonic() - since
        if took < least - EARLY:
            self.wrong.append(f"{indication} after {took:.2f} s, not {least}")

    def reads(self, which: str, *states: str) -> None:
        """Wait until the status says one of these of the button or the reader: this daemon's, not a killed one's."""

        def look() -> bool:
            view = self.station.view()
            return view[which].get("state") in states and view["daemon"]["pid"] == self.station.process.pid

        until(look)

    def still(self) -> None:
        """For a while, nothing is confirmed."""
        so_far = self.confirmed
        time.sleep(STILL)
        if self.confirmed > so_far:
            self.wrong.append("confirmed by nobody")

    @property
    def confirmed(self) -> int:
        """How many closes are on disk."""
        return len(self.station.records("pending") + self.station.records("closed"))

    @property
    def patches(self) -> list[float]:
        """When RUFUS was asked to close."""
        return [call.at for call in self.rufus.calls if call.method == "PATCH"]


# -- the states: how each is reached, how the daemon goes on from it, and how the one goes on that comes after a crash


def idle(trial: Trial) -> None:
    trial.start("17 high")
    trial.shows("armed")


def stays_idle(trial: Trial) -> None:
    trial.still()
    trial.press()
    trial.shows("closed")


def idle_again(trial: Trial) -> None:
    idle(trial)
    stays_idle(trial)


def holding(trial: Trial) -> None:
    idle(trial)
    trial.tell("17 low")
    trial.shows("holding")


def holds_on(trial: Trial) -> None:
    trial.lasts(LONG, trial.earliest, "let_go")
    trial.tell("17 high")
    trial.shows("closed")


def lets_go_early(trial: Trial) -> None:
    trial.tell("17 high")
    trial.reads("button", "released")
    trial.still()


def pressed_again(trial: Trial) -> None:
    """What is pressed at a start confirms nothing."""
    trial.start("17 low")
    trial.reads("button", "waits", "stuck")  # the second where its time is short
    time.sleep(trial.station.tables["button"]["hold_time"])
    trial.tell("17 high")
    trial.shows("armed")
    trial.still()


def held(trial: Trial) -> None:
    holding(trial)
    trial.shows("let_go")


def lets_go(trial: Trial) -> None:
    trial.still()
    trial.tell("17 high")
    trial.shows("closed")


def stuck(trial: Trial) -> None:
    idle(trial)
    trial.tell("17 low")
    trial.shows("fault")


def dries(trial: Trial) -> None:
    trial.still()
    trial.tell("17 high")
    trial.shows("armed")
    trial.still()


def in_grace(trial: Trial) -> None:
    idle(trial)
    trial.press(then=GRACE)
    trial.shows("grace")


def closes(trial: Trial) -> None:
    trial.shows("closed")


def closes_again(trial: Trial) -> None:
    if trial.rebooted:
        trial.earliest = 0.0  # the grace ended with the boot
    trial.start("17 high")
    trial.shows("closed")


def waiting(trial: Trial) -> None:
    idle(trial)
    until(lambda: trial.rufus.calls)  # an armed session is looked at once at the start
    so_far = len(trial.rufus.calls)
    trial.press(then=QUIET)
    until(lambda: len(trial.rufus.calls) > so_far)
    trial.earliest = trial.rufus.calls[so_far].at + QUIET


def waits_anew(trial: Trial) -> None:
    trial.earliest = time.monotonic() + QUIET
    trial.start("17 high")
    trial.shows("closed")


def retrying(trial: Trial) -> None:
    trial.rufus.tell("offline")
    idle(trial)
    so_far = len(trial.rufus.calls)
    trial.press()
    until(lambda: len(trial.rufus.calls) > so_far + 2)  # the first closes; after it, what became of that is read


def goes_on_trying(trial: Trial) -> None:
    so_far = len(trial.rufus.calls)
    until(lambda: len(trial.rufus.calls) > so_far + 2)
    trial.rufus.tell("online")
    trial.shows("closed")


def tries_again(trial: Trial) -> None:
    trial.start("17 high")
    goes_on_trying(trial)


def put_off(trial: Trial) -> None:
    trial.rufus.tell("429 1")
    idle(trial)
    trial.press()
    until(lambda: trial.patches)
    trial.rufus.tell("online")
    trial.earliest = trial.patches[0] + 1


def asks_at_once(trial: Trial) -> None:
    """A start asks at once, whatever RUFUS said before."""
    trial.earliest = 0.0
    trial.start("17 high")
    trial.shows("closed")


def sending(trial: Trial) -> None:
    trial.rufus.tell("slow 0.7")
    idle(trial)
    trial.press()
    until(lambda: trial.patches)
    trial.rufus.tell("online")


def closed(trial: Trial) -> None:
    idle(trial)
    trial.press()
    trial.shows("closed")


def stays_closed(trial: Trial) -> None:
    calls = len(trial.rufus.calls)
    trial.press()
    trial.shows("closed")
    trial.still()
    trial.earliest = 0.0  # the one call has been made
    if len(trial.rufus.calls) > calls:
        trial.wrong.append("called again")


def closed_again(trial: Trial) -> None:
    trial.start("17 high")
    trial.shows("closed")
    trial.reads("button", "released")
    stays_closed(trial)


def withdrawn(trial: Trial) -> None:
    idle(trial)
    trial.press(then=60)
    trial.shows("grace")
    trial.station.tell("wait 0.6", "17 low", "wait 0.25", "17 high")
    trial.shows("withdrawn")


def stays_open(trial: Trial) -> None:
    trial.shows("armed")
    trial.still()


def open_again(trial: Trial) -> None:
    idle(trial)
    trial.still()


def arming(trial: Trial) -> None:
    trial.start("22 high")
    trial.tell("22 high")
    trial.reads("reader", "running")


def arms(trial: Trial) -> None:
    trial.lasts(ARM, trial.earliest, "armed")
    trial.still()
    trial.tell("22 low", then=SETTLE)
    trial.shows("closed")


def arms_anew(trial: Trial) -> None:
    arming(trial)
    arms(trial)


def armed(trial: Trial) -> None:
    arming(trial)
    trial.shows("armed")


def goes_off(trial: Trial) -> None:
    trial.still()
    trial.tell("22 low", then=SETTLE)
    trial.shows("closed")


def off_again(trial: Trial) -> None:
    """Armed outlives a crash, not a reboot."""
    trial.earliest = time.monotonic() + SETTLE
    trial.start("22 low")
    if trial.rebooted:
        trial.reads("reader", "off")
        time.sleep(SETTLE)
        trial.still()
    else:
        trial.shows("closed")


def settling(trial: Trial) -> None:
    armed(trial)
    trial.tell("22 low", then=SETTLE)
    trial.reads("reader", "settling")


@dataclass(frozen=True)
class State:
    """One state, and whether the session is to be closed if the daemon goes on, after a crash, after a reboot."""

    reach: Callable[[Trial], None]
    go_on: Callable[[Trial], None]
    again: Callable[[Trial], None]
    closes: bool = True
    after_crash: bool = True
    after_reboot: bool = True
    anew: float | None = None  # seconds, as which a hold, arming or settling begins anew after a gap in the scans
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.reach.__name__}, {self.go_on.__name__}"


SLOWLY = {"button": {"hold_time": LONG}}
LINE = {"reader": {**READER, "arm_time": ARM, "settle_time": SETTLE}, "button": None}
STATES = [
    State(idle, stays_idle, idle_again),
    State(holding, holds_on, pressed_again, True, False, False, anew=0, tables=SLOWLY),
    State(holding, lets_go_early, pressed_again, False, False, False, tables=SLOWLY),
    State(held, lets_go, pressed_again, True, False, False),
    State(stuck, dries, pressed_again, False, False, False, tables={"button": {"hold_time": HOLD, "stuck_time": 0.6}}),
    State(in_grace, closes, closes_again, tables={"close": {"grace": GRACE}}),
    State(waiting, closes, waits_anew, tables={"close": {"quiet": QUIET}}),
    State(retrying, goes_on_trying, tries_again),
    State(put_off, closes, asks_at_once),
    State(sending, closes, closes_again),
    State(closed, stays_closed, closed_again),
    State(withdrawn, stays_open, open_again, False, False, False, tables={"close": {"grace": 60}}),
    State(arming, arms, arms_anew, anew=0, tables=LINE),
    State(armed, goes_off, off_again, True, True, False, tables=LINE),
    State(settling, closes, off_again, True, True, False, anew=SETTLE, tables=LINE),
]


def judged(family: Family, point: str, trial: Trial, closes: bool) -> None:
    """One point, by what is on disk and what RUFUS has."""
    trial.station.stop()
    session, logged = trial.rufus.session(trial.token), trial.station.logged()
    done = not session.active and session.closes == 1 and trial.station.records("closed") == [trial.token]
    if trial.patches and trial.earliest and (early := trial.earliest - trial.patches[-1]) > EARLY:
        trial.wrong.append(f"sent {early:.2f} s early")
    if "Traceback" in logged:
        trial.wrong.append("a traceback")
    false = not closes and bool(trial.patches or trial.confirmed)
    family.check(point, lost=closes and not done, false=false, wrong="; ".join(trial.wrong))


def run_each(folder: Path, forge: Forge, family: Family, faults: list[Any], fault: Callable[..., bool]) -> None:
    """Every state with every fault; `fault` brings it about, goes on, and says whether the session is to be closed."""

    def run(point: tuple[State, Any]) -> None:
        state, what = point
        with Trial(folder, forge, **state.tables) as trial:
            name = f"{state.name}, {what}"
            try:
                state.reach(trial)
                judged(family, name, trial, fault(trial, state, what))
            except AssertionError as hangs:
                family.check(name, wrong=f"it hangs: {hangs}")

    family.each([(state, what) for what in faults for state in STATES], run)
    assert family.tried == len(STATES) * len(faults)


def test_the_wall_clock_jumps(tmp_path: Path, clocks: Forge, family: Family) -> None:
    """The wall clock jumps ten years forwards, or back, in every state: all goes on as it was."""

    def fault(trial: Trial, state: State, jump: float) -> bool:
        trial.clock.move(wall=jump)
        state.go_on(trial)
        return state.closes

    run_each(tmp_path, clocks, family, [DECADE, -DECADE], fault)


def test_a_crash_and_the_wall_clock_jumps(tmp_path: Path, clocks: Forge, family: Family) -> None:
    """kill -9 in every state, and the wall clock has jumped ten years, either way, when the daemon starts again."""

    def fault(trial: Trial, state: State, jump: float) -> bool:
        trial.station.stop(signal.SIGKILL)
        trial.clock.move(wall=jump)
        state.again(trial)
        return state.after_crash

    run_each(tmp_path, clocks, family, [DECADE, -DECADE], fault)


def test_a_reboot(tmp_path: Path, clocks: Forge, family: Family) -> None:
    """A reboot in every state: the time since boot begins anew, /run is empty, or the wall clock ten years behind."""

    def fault(trial: Trial, state: State, jump: float) -> bool:
        trial.station.stop(signal.SIGKILL)
        if not jump:  # else it is a folder that outlives the boot, of which the boot's name must tell
            shutil.rmtree(trial.station.run)
        trial.clock.reboot()
        trial.clock.move(wall=jump)
        trial.rebooted = True
        state.again(trial)
        return state.after_reboot

    run_each(tmp_path, clocks, family, [0, -DECADE], fault)


def test_suspended(tmp_path: Path, clocks: Forge, family: Family) -> None:
    """Suspended for an hour in every state, with a gap in the scans or without: nothing comes of it, or early."""

    def fault(trial: Trial, state: State, gap: float) -> bool:
        if gap:
            trial.station.send(signal.SIGSTOP)
            time.sleep(gap)
        trial.clock.move(wall=3600, uptime=3600)
        if gap:
            if state.anew is not None:
                trial.earliest = time.monotonic() + state.anew
            trial.station.send(signal.SIGCONT)
        state.go_on(trial)
        return state.closes

    run_each(tmp_path, clocks, family, [0, 0.7], fault)


# -- months

HALF_A_YEAR = 182 * 86400.0
SETTINGS = Settings(Api(), Session("A" * 64), Close(), Retry(1, 120))
OFFLINE = Answer(problem="no network", sent=False)


def said_closed(token: str) -> Answer:
    """RUFUS's answer to a close that worked."""
    return Answer(200, json.dumps({"description": "Session closed succesfully", "token_session": token}))


def test_months_offline_by_the_core(family: Family) -> None:
    """Half a year of failures, by the pure core on a simulated clock: bounded pauses, and delivered at the end."""
    chance = random.Random(1)
    now = began = 12.0  # soon after a boot
    each = delivery.new_delivery(SETTINGS.session.token, False, now, SETTINGS)
    longest = 0.0
    while now < began + HALF_A_YEAR:
        each = delivery.on_answer(each, OFFLINE, now, chance.random(), SETTINGS)
        longest = max(longest, each.due - now)
        family.tried += 1
        now = each.due
    family.check("the pauses", wrong="" if longest <= SETTINGS.retry.max else f"{longest} s", tried=0)
    family.check("the count", wrong="" if each.attempts == family.tried else f"{each.attempts}", tried=0)
    family.check("the state", wrong="" if each.phase is Phase.RETRY and each.error else f"{each}", tried=0)
    back, calls = now, 0
    while not each.closed and calls < 100:
        answer = said_closed(each.token) if each.step is delivery.Step.CLOSE else Answer(403, "{}")
        each, calls = delivery.on_answer(each, answer, now, chance.random(), SETTINGS), calls + 1
        now = max(now, each.due)
    early = now - back < SETTINGS.close.quiet
    family.check("the end", lost=not each.closed, wrong="closed before it was quiet" if early else "", tried=0)


class Months:
    """RUFUS, a spool and a network for the courier, whose every wait and every call take simulated time."""

    settings = Settings(Api(timeout=10), Session("A" * 64), Close(), Retry(1, 600))

    def __init__(self, clock: Clock) -> None:
        self.clock, self.back = clock, time.monotonic() + HALF_A_YEAR
        self.calls: list[float] = []
        self.done: list[float] = []
        self.courier = courier.Courier(self.settings, lambda _: self, self, self, lambda: "", lambda: None)
        self._changes, writer = os.pipe()
        os.write(writer, b"!")  # so that no wait takes any real time

    def fileno(self) -> int:
        return self._changes

    def take(self) -> bool:
        """The courier waits: it is given the time at which it is due."""
        due = min((each.due for each in self.courier.progress.values()), default=0.0)
        self.clock.move(monotonic=max(0.001, due - time.monotonic()))
        if self.done:
            self.courier.post(courier.Stop())
        return False

    def read(self, _: str) -> Answer:
        now = time.monotonic()
        self.calls.append(now)
        self.clock.move(monotonic=3)
        return OFFLINE if now < self.back else Answer(403, "{}")

    def close(self, _: str, begin: Callable[[], bool]) -> Answer:
        return said_closed(self.settings.session.token) if begin() else OFFLINE

    def has_answered(self, _: str) -> bool:
        return False

    def mark_sent(self, *_: str) -> bool:
        return True

    def mark_closed(self, *_: str) -> None:
        self.done.append(time.monotonic())


def months(folder: str) -> None:
    """In a process of its own, under clockfault.c: run a courier through half a year, and print what it did."""
    clock = Clock(Path(folder))
    world = Months(clock)
    lines: list[float] = []
    handler = logging.Handler()
    handler.emit = lambda _: lines.append(time.monotonic())  # type: ignore[method-assign]
    logging.getLogger("rufusd").addHandler(handler)
    logging.getLogger("rufusd").setLevel(logging.INFO)
    world.courier.post(Deliver("A" * 64, sent=False))
    world.courier.run()
    offline = [line for line in lines if line < world.back]
    pauses = [later - sooner for sooner, later in zip(world.calls, world.calls[1:])]
    told = {
        "calls": len(world.calls),
        "longest": max(pauses),
        "lines": len(offline),
        "closest": min(later - sooner for sooner, later in zip(offline, offline[1:])),
        "done": [at - world.back for at in world.done],
    }
    print(json.dumps(told))


def test_months_offline_by_the_courier(tmp_path: Path, family: Family) -> None:
    """Half a year of failures, by the courier itself on a simulated clock: a line an hour, and delivered at the end."""
    clock = Clock(tmp_path)
    env = {**os.environ, **clock.env, "LD_PRELOAD": str(compiled(HERE / "clockfault.c", tmp_path))}
    env["PYTHONPATH"] = os.pathsep.join(map(str, (HERE, HERE.parent)))
    run = [sys.executable, "-c", f"import fault_time; fault_time.months({str(tmp_path)!r})"]
    ended = subprocess.run(run, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    family.tried = told["calls"]
    assert family.tried > HALF_A_YEAR / 700
    family.check("the pauses", wrong="" if told["longest"] <= 610 else f"{told['longest']} s", tried=0)
    hours = HALF_A_YEAR / 3600
    family.check("the log", wrong="" if hours * 0.8 <= told["lines"] <= hours + 1 else f"{told}", tried=0)
    family.check("the hour", wrong="" if told["closest"] >= 3600 else f"{told}", tried=0)
    done = told["done"]
    in_time = len(done) == 1 and Months.settings.close.quiet <= done[0] <= 600 + 60
    family.check("the end", lost=not done, wrong="" if in_time else f"{done}", tried=0)
