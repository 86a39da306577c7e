"""The figures: each function measures one thing beside its peers, in turns, and gives the rows of the table."""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from stations import until

from bench.measure import BIN, BUTTON, PEERS, ROOT, Peer, Place, Rufusd, history, memory, script, windows
from bench.peers import limits
from bench.table import Row, median, quantile, short
from rufusd.adapters import clock
from rufusd.adapters.closes.spool import Spool
from rufusd.adapters.network import Changes
from rufusd.core import inputs
from rufusd.core.deliveries import Deliver
from rufusd.core.delivery import Answer
from rufusd.core.inputs import Press, ReaderState
from rufusd.core.record import Record
from rufusd.core.settings import Api, Button, Reader, Retry, Session, Settings
from rufusd.daemon import courier
from rufusd.daemon.pace import pause
from rufusd.daemon.world import SpoolOfStation, new_record

DAY = 86400
#: No way to RUFUS, and few tries: what is measured is what waits, not the calls.
UNTRIED: dict[str, dict[str, Any]] = {"api": {"url": "https://127.0.0.1:9/v0"}, "retry": {"first": 600, "max": 600}}
#: At which the script's own press is at once, and rufusd's as quick as may be configured for a person.
QUICK: dict[str, dict[str, Any]] = {
    "button": {"bounce_time": 0.05, "hold_time": 0.3, "stuck_time": 3},
    "close": {"grace": 0, "quiet": 0},
}


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    window: float = 10.0
    windows: int = 3
    starts: int = 15
    presses: int = 25
    taps: int = 75
    files: int = 500
    outages: int = 5
    closes: int = 100
    histories: tuple[int, ...] = (1, 1_000, 100_000)
    noise: int = 10_000_000


SHORT = Extent(
    window=3.0,
    windows=2,
    starts=3,
    presses=4,
    taps=6,
    files=150,
    outages=1,
    closes=30,
    histories=(1, 1_000),
    noise=500_000,
)


def milliseconds(seconds: float) -> str:
    """For the table."""
    return f"{short(seconds * 1e3)} ms"


# -- at rest


def idle(place: Place, extent: Extent) -> list[Row]:
    """Wake-ups, CPU and bytes written: armed, and offline with a close pending, beside the script and lgpio alone."""
    armed = Rufusd(place, "idle", led={"pin": 27}, close={"grace": 10}, retry={"first": 1, "max": 30})
    offline = Rufusd(place, "offline", api={"url": "https://127.0.0.1:9/v0"}, retry={"first": 0.25, "max": 0.5})
    other, _ = script(place, armed.token)
    line = Peer([f"{BIN}/python", f"{PEERS}/line.py"], place.chip())
    reads = Peer([f"{BIN}/python", f"{PEERS}/line.py", "0.0405"], place.chip())
    try:
        armed.watch()
        offline.watch()
        Spool(offline.state).confirm(new_record(offline.token, "", "command"))
        until(lambda: offline.view()["closes"] and offline.view()["closes"][0]["attempts"] > 2)
        time.sleep(3.0)  # what each does once at its start is over
        attempts = offline.view()["closes"][0]["attempts"]
        pids = {"script": other.pid, "line": line.pid, "reads": reads.pid}
        pids |= {"rufusd": armed.process.pid, "offline": offline.process.pid}
        seen = list(windows(pids, extent.windows, extent.window))
        attempts = offline.view()["closes"][0]["attempts"] - attempts
    finally:
        for peer in (other, line, reads):
            peer.stop()
        for station in (armed, offline):
            station.stop()
    wakes = {name: [after.wakes_since(before) for before, after in (each[name] for each in seen)] for name in pids}
    cpu = {name: [after.cpu_since(before) for before, after in (each[name] for each in seen)] for name in pids}
    written = {name: sum(each[name][1].written - each[name][0].written for each in seen) for name in pids}
    own = [all_ - alone for all_, alone in zip(wakes["rufusd"], wakes["line"])]
    span = f"{extent.windows * extent.window:g} s"
    return [
        Row(
            "idle: wake-ups per second, armed, real lgpio",
            f"{median(own):.1f} own + {median(wakes['line']):.1f} lgpio's",
            f"script {median(wakes['script']):,.0f}",
            median(wakes["rufusd"]) / median(wakes["script"]),
            25.0,
            asked=median(own),
            aim="own ≤ 25",
            note="own is what remains of all threads' after those of a program that only claims a line by lgpio",
            raw=wakes,
        ),
        Row(
            "idle: CPU, all threads",
            f"{median(cpu['rufusd']) * 1e3:.2f} ms/s",
            f"script {median(cpu['script']) * 1e3:.2f} ms/s",
            median(cpu["rufusd"]) / median(cpu["script"]),
            0.2,
            aim="≤ 0.2 of script",
            note=f"lgpio alone {median(cpu['line']) * 1e3:.2f} ms/s; a bare loop of CPython that reads a line of this "
            f"chip as often, and does nothing else, {median(cpu['reads']) * 1e3:.2f} ms/s",
            far=3.0,
            raw=cpu,
        ),
        Row(
            "bytes written to disk per day: armed",
            f"{written['rufusd'] * DAY / (extent.windows * extent.window):,.0f}",
            "nothing",
            float(written["rufusd"]),
            0.0,
            aim="0",
            note=f"counted for {span} (/proc/PID/io, write_bytes), and no byte was written: there is nothing to scale",
            raw=written,
        ),
        Row(
            "bytes written to disk per day: offline, one pending",
            f"{written['offline'] * DAY / (extent.windows * extent.window):,.0f}",
            "nothing",
            float(written["offline"]),
            0.0,
            aim="0",
            note=f"counted for {span} with {attempts} attempts; a day at retry.max = 30 s has some 3,800",
            raw={**written, "attempts": attempts},
        ),
    ]


def start(place: Place, extent: Extent) -> list[Row]:
    """From the start of the process to watching the inputs."""
    station = Rufusd(place, "start", led={"pin": 27})
    taken: dict[str, list[float]] = {"bare": [], "script": [], "rufusd": []}
    for turn in range(extent.starts + 1):
        began = time.monotonic()
        subprocess.run([f"{BIN}/python", "-c", "pass"], check=True)
        bare = time.monotonic() - began
        other, scripts = script(place, station.token)
        other.stop()
        ours = station.watch()
        station.stop()
        if turn:  # the first one finds nothing in the page cache
            for name, seconds in (("bare", bare), ("script", scripts), ("rufusd", ours)):
                taken[name].append(seconds)
    return [
        Row(
            "start of the process to watching the inputs",
            milliseconds(median(taken["rufusd"])),
            f"script {milliseconds(median(taken['script']))}",
            median(taken["rufusd"]) / median(taken["script"]),
            0.8,
            aim="≤ 0.8 of script",
            note=f"bare CPython, from its start to its end: {milliseconds(median(taken['bare']))}",
            raw=taken,
        )
    ]


def resident(place: Place, extent: Extent) -> list[Row]:
    """Memory: armed, after ten deliveries, and after many."""
    station = Rufusd(place, "memory", led={"pin": 27}, **QUICK)
    other, _ = script(place, station.token)
    bare = Peer([f"{BIN}/python", "-c", "import signal; signal.pause()"])
    tls = Peer([f"{BIN}/python", "-c", "import signal, ssl; signal.pause()"])
    loads = "import signal, ssl; context = ssl.create_default_context(); signal.pause()"
    trusting = Peer([f"{BIN}/python", "-c", loads])
    beside = (other, bare, tls, trusting)
    sizes: dict[str, list[tuple[int, int]]] = {"script": [], "rufusd": []}
    try:
        station.watch()
        time.sleep(2.0)  # the courier gets ready once the inputs are watched

        def look() -> None:
            sizes["script"].append(memory(other.pid))
            sizes["rufusd"].append(memory(station.process.pid))

        look()
        for _ in range(0, extent.closes, 10):
            for _ in range(10):
                token = place.rufus.add_session("memory")
                Spool(station.state).confirm(new_record(token, "", "command"))
                _press(other, len(place.rufus.calls), place)
            until(lambda: not station.records("pending"))
            look()
        alone, trust = memory(bare.pid), memory(trusting.pid)[0] - memory(tls.pid)[0]
    finally:
        for peer in beside:
            peer.stop()
        station.stop()
    (armed, ten, *_, many), (s_armed, *_, s_many) = sizes["rufusd"], sizes["script"]
    what = "Rss, Pss in kB: armed, then after each ten deliveries"
    raw = {**sizes, "bare": alone, "certificates": trust, "what": what}

    def row(figure: str, ours: tuple[int, int], theirs: tuple[int, int], whose: str, goal: float) -> Row:
        return Row(
            figure,
            f"{ours[0] / 1024:.1f} MB",
            f"{whose} {theirs[0] / 1024:.1f} MB",
            ours[0] / theirs[0],
            goal,
            aim=f"≤ {goal} of {whose}",
            note=f"Pss {ours[1] / 1024:.1f} and {theirs[1] / 1024:.1f} MB; bare CPython {alone[0] / 1024:.1f} MB; "
            f"the certificates, which rufusd has loaded when it is armed, {trust / 1024:.1f} MB",
            far=1.3,
            raw=raw,
        )

    return [
        row("memory, resident, armed", armed, s_armed, "script", 1.05),
        row(f"memory, resident, after {extent.closes} deliveries", many, s_many, "script", 1.05),
        row(f"memory, after {extent.closes} deliveries beside after 10", many, ten, "itself", 1.01),
    ]


def _press(other: Peer, calls: int, place: Place) -> float:
    """Press and release the script's button; when it was pressed."""
    assert other.chip
    began = time.monotonic()
    other.chip.drive(BUTTON, False)
    until(lambda: len([call for call in place.rufus.calls[calls:] if call.path.startswith("/v0")]) > 0)
    other.chip.drive(BUTTON, True)
    time.sleep(0.01)  # its edge comes before the next
    return began


# -- a press


def press(place: Place, extent: Extent) -> list[Row]:
    """What a level's change takes to be decided, and a decision to reach RUFUS, on real lgpio."""
    station = Rufusd(place, "press", led={"pin": 27}, **QUICK)
    chance = random.Random(1)
    took: dict[str, list[float]] = {
        name: [] for name in ("pressed", "held", "released", "durable", "rufusd", "script", "tls")
    }
    theirs = place.rufus.add_session("script")
    other, _ = script(place, theirs)
    context = ssl.create_default_context(cafile=str(place.bundle))
    bounce, hold = QUICK["button"]["bounce_time"], QUICK["button"]["hold_time"]

    def drive(high: bool) -> float:
        began = time.monotonic()
        station.chip.drive(BUTTON, high)
        return began

    def waits(moment: float, what: str) -> float:
        return until(lambda: station.since(moment, what)) or 0.0

    def settled() -> None:
        until(lambda: station.view()["button"]["state"] == "released" and not station.view()["closes"])
        time.sleep(chance.uniform(0.1, 0.2))  # at any moment between two scans

    try:
        station.watch("told")
        time.sleep(1.0)
        for _ in range(extent.taps):
            settled()
            began = drive(False)
            took["pressed"].append(waits(began, "holding") - bounce)
            drive(True)
        for _ in range(extent.presses):
            station.renew()
            settled()
            began = drive(False)
            took["pressed"].append(waits(began, "holding") - bounce)
            took["held"].append(waits(began, "let_go") - hold)
            began = drive(True)
            decided = waits(began, "decided")
            took["released"].append(decided - bounce)
            took["durable"].append(waits(began, "durable") - decided)
            took["rufusd"].append(place.arrival(station.token) - began - decided)
            calls = len(place.rufus.calls)
            began = _press(other, calls, place)
            took["script"].append(place.rufus.calls[calls].at - began)
            calls, began = len(place.rufus.calls), time.monotonic()
            limits.patch(context, f"{place.rufus.url}/sessions/close/{theirs}", place.key)
            took["tls"].append(place.rufus.calls[calls].at - began)
    finally:
        other.stop()
        station.stop()
    simulated = decisions(20_000 if extent.presses > 10 else 2_000)
    worst = {name: max(took[name]) for name in ("pressed", "held", "released")}
    rows = [
        Row(
            f"a level's change to the decision, worst of {sum(len(took[name]) for name in worst)}",
            milliseconds(max(worst.values())),
            "the goal's 50 ms",
            max(worst.values()) / 0.05,
            1.0,
            aim="≤ 50 ms, always",
            note="beyond bounce_time and hold_time; on real lgpio, the worst of "
            + ", ".join(f"{name} {milliseconds(each)}" for name, each in worst.items()),
            far=5.0,
            raw={name: took[name] for name in worst},
        ),
        Row(
            f"the same, worst of {len(simulated) * len(next(iter(simulated.values()))):,} on a simulated clock",
            milliseconds(max(map(max, simulated.values()))),
            "the goal's 50 ms",
            max(map(max, simulated.values())) / 0.05,
            1.0,
            aim="≤ 50 ms, always",
            note="the daemon's pauses and the triggers, at every phase, no scan late: "
            + ", ".join(f"{name} {milliseconds(max(each))}" for name, each in simulated.items()),
            far=1.0,
            raw={name: {"median": median(each), "max": max(each)} for name, each in simulated.items()},
        ),
        Row(
            "confirmed to PATCH arriving, durability included",
            milliseconds(median(took["rufusd"])),
            f"script, press to arrival {milliseconds(median(took['script']))}",
            median(took["rufusd"]) / median(took["script"]),
            0.35,
            aim="≤ 0.35 of script",
            note=f"of it durable after {milliseconds(median(took['durable']))}; "
            f"a raw TLS socket with its certificates loaded {milliseconds(median(took['tls']))}",
            raw=took,
        ),
    ]
    return rows


def decisions(count: int) -> dict[str, list[float]]:
    """Seconds beyond the configured ones until each decision, each at a random phase of the scans."""
    chance = random.Random(2)
    button, reader = Button(17, hold_time=0.3), Reader(22, arm_time=0.5, settle_time=0.5)
    late: dict[str, list[float]] = {"pressed": [], "held": [], "released": [], "reader off": []}
    for _ in range(count):
        press_, signal, now = Press(), ReaderState(), 0.0

        def scans(pressed: bool, running: bool) -> Iterator[tuple[float, inputs.Event | None, inputs.Event | None]]:
            nonlocal press_, signal, now
            while True:
                press_, told = inputs.button(press_, pressed, now, button)
                signal, ended = inputs.reader(signal, running, now, reader)
                at = now
                now += pause(press_, signal, (), chance.random(), button, reader)
                yield at, told, ended

        began = chance.random() * 0.2 + 1.5
        next(at for at, _, _ in scans(False, True) if now > began)
        late["pressed"].append(next(at for at, _, _ in scans(True, True) if press_.state == "pressed") - began - 0.05)
        late["held"].append(next(at for at, _, _ in scans(True, True) if press_.held) - began - button.hold_time)
        began = chance.uniform(at := now, at + 0.01)
        next(at for at, _, _ in scans(True, True) if now > began)
        late["released"].append(next(at for at, told, _ in scans(False, True) if told) - began - button.bounce_time)
        began = now + chance.random() * 0.2
        next(at for at, _, _ in scans(False, True) if now > began)
        late["reader off"].append(next(at for at, _, end in scans(False, False) if end) - began - reader.settle_time)
    return late


def durable(place: Place, extent: Extent) -> list[Row]:
    """Confirmed to durable, beside the same file written by bare code on the same disk."""
    spool = Spool(place.disk / "durable", training=True)
    spool.recover()
    beside = place.disk / "durable" / "beside"
    beside.mkdir()
    took: dict[str, list[float]] = {"rufusd": [], "bare": []}
    for turn in range(extent.files + 10):
        record = new_record(secrets.token_hex(32).upper(), "FINISH-10K", "button")
        content = record.to_json().encode()

        def bare(record: str = record.token, content: bytes = content) -> None:
            limits.durable(str(beside), f"{record}.json", content)

        def ours(record: Record = record) -> None:
            spool.confirm(record)

        both: list[tuple[str, Callable[[], None]]] = [("rufusd", ours), ("bare", bare)]
        for name, confirm in both if turn % 2 else both[::-1]:
            began = time.perf_counter()
            confirm()
            if turn >= 10:
                took[name].append(time.perf_counter() - began)
    rows = []
    for what, part, goal in (("median", 0.5, 1.2), ("99th percentile", 0.99, 1.5)):
        spooled, alone = quantile(took["rufusd"], part), quantile(took["bare"], part)
        rows.append(
            Row(
                f"confirmed to durable, {what} of {extent.files}",
                milliseconds(spooled),
                f"bare {milliseconds(alone)}",
                spooled / alone,
                goal,
                aim=f"≤ {goal} of bare",
                far=3.0,
                raw=took,
            )
        )
    return rows


# -- the network


def outage(extent: Extent) -> list[Row]:
    """The network's return, in a network of its own (`bench.outage` runs there)."""
    command = [sys.executable, "-m", "bench.outage", str(extent.outages)]
    own = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    names = ("the network's return to PATCH arriving: link change", "the same: silent return")
    missing = [tool for tool in ("unshare", "ip", "curl") if not shutil.which(tool)]
    if missing:
        return [Row(name, note=f"there is no {' and no '.join(missing)} here") for name in names]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}/tests"}
    done = subprocess.run([*own, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        return [Row(name, note=f"this machine gives no network apart: {why}") for name in names]
    found = json.loads(done.stdout)
    rows = []
    for name, which, limit, aim in (
        (names[0], "link", 1.0, "≤ 1 s"),
        (names[1], "silent", found["retry.max"], "≤ retry.max"),
    ):
        ours, theirs = found[which]["rufusd"], found[which]["spool"]
        rows.append(
            Row(
                name,
                f"{milliseconds(median(ours))}, at most {milliseconds(max(ours))}",
                f"spool with curl {milliseconds(median(theirs))}",
                median(ours) / median(theirs),
                limit,
                asked=max(ours),
                aim=aim,
                far=5.0,
                note=f"retry.max and the spool's sleep are {found['retry.max']:g} s; the script never calls again",
                raw=found,
            )
        )
    return rows


# -- a day


class _Day:
    """A clock for the courier, on which each of its waits is over at once."""

    def __init__(self, courier_: courier.Courier) -> None:
        self.now = 0.0
        self._courier = courier_

    def monotonic(self) -> float:
        return self.now

    def select(self, ready: list[object], _: object, __: object, seconds: float) -> tuple[list[object], ...]:
        self.now += max(seconds, 0.001)
        if self.now > DAY:
            self._courier.post(courier.Stop())
        return [ready[0]] if self.now > DAY else [], [], []


def logged(reasons: list[str]) -> tuple[int, int]:
    """Bytes and attempts of the courier's own log in a day offline, on a simulated clock, for these reasons in turn."""
    size = attempts = 0

    class Journal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            nonlocal size
            size += len(f"<4>{record.getMessage()}\n".encode())

    class Offline:
        def read(self, _: str) -> Answer:
            nonlocal attempts
            attempts += 1
            return Answer(problem=reasons[attempts % len(reasons)], sent=False)

        def close(self, token: str, _: Callable[[], bool]) -> Answer:
            return self.read(token)

    token = secrets.token_hex(32).upper()
    settings = Settings(api=Api("ror-0123456789"), session=Session(token), button=Button(17), retry=Retry())
    changes = Changes()
    of_station = SpoolOfStation(Spool(Path("nowhere")), {})
    what = courier.Courier(settings, lambda _: Offline(), of_station, changes, clock.utc, lambda: None)
    day = _Day(what)
    log, handler = logging.getLogger("rufusd"), Journal()
    log.addHandler(handler)
    propagate, log.propagate = log.propagate, False
    clock_, waits = SimpleNamespace(monotonic=day.monotonic), SimpleNamespace(select=day.select)
    try:
        with patch.multiple("rufusd.daemon.courier", time=clock_, select=waits):
            what.post(Deliver(token, False))
            what.run()
    finally:
        log.propagate = propagate
        log.removeHandler(handler)
        changes.close()
    return size, attempts


def logs(_: Place, __: Extent) -> list[Row]:
    """Bytes logged in a day offline with one close pending."""
    host = "cannot find api.runonrufus.com: no network, no name server, or no such name; check the cable or the Wi-Fi"
    usual = [f"{host}, then api.url"]
    several = [
        *usual,
        "no way to api.runonrufus.com (network is unreachable); check the cable or the Wi-Fi",
        "nothing answers at api.runonrufus.com; check that this network leads to the internet, then api.url",
        "api.runonrufus.com did not answer within 10 s; rufusd goes on trying",
    ]
    rows = []
    for what, reasons in (("one reason", usual), ("a reason that changes at each attempt", several)):
        size, attempts = logged(reasons)
        rows.append(
            Row(
                f"bytes logged per day offline: {what}",
                f"{size:,}",
                f"a line for each attempt {attempts * len(several[0]):,}",
                size / (attempts * len(several[0])),
                20_000.0,
                asked=float(size),
                aim="≤ 20 kB",
                note=f"the courier through a simulated day: {attempts:,} attempts; without the journal's own fields",
                raw={"bytes": size, "attempts": attempts},
            )
        )
    return rows


# -- how cost grows


def growth(place: Place, extent: Extent) -> list[Row]:
    """CPU with more and more closes in history, side by side; and, for the manual, with more and more pending."""
    pending = (1, 100, 1_000) if len(extent.histories) > 2 else ()
    stations = {}
    for kind, folder, counts in (("in history", "closed", extent.histories), ("pending", "pending", pending)):
        for count in counts:
            station = Rufusd(place, f"{folder}-{count}", led={"pin": 27}, **(UNTRIED if kind == "pending" else {}))
            history(station.state / folder, count)
            stations[kind, count] = station
    try:
        for station in stations.values():
            station.watch()
        time.sleep(extent.window)  # each has looked at all it has, and tried it
        pids = {f"{count:,} {kind}": station.process.pid for (kind, count), station in stations.items()}
        seen = list(windows(pids, extent.windows, extent.window))
    finally:
        for station in stations.values():
            if station.process:
                station.stop()
            shutil.rmtree(station.state)
    cpu = {name: [after.cpu_since(before) for before, after in (each[name] for each in seen)] for name in pids}
    return [
        Row(
            f"CPU per tick: {count:,} {kind}",
            f"{median(cpu[f'{count:,} {kind}']) * 1e3:.2f} ms/s",
            f"1 {kind} {median(cpu[f'1 {kind}']) * 1e3:.2f} ms/s",
            median(cpu[f"{count:,} {kind}"]) / median(cpu[f"1 {kind}"]),
            1.1 if kind == "in history" else None,
            aim="flat: ≤ 1.1" if kind == "in history" else "",
            raw=cpu,
        )
        for kind, count in stations
        if count > 1
    ]


# -- noise


def scanned(work: tuple[int, int, int]) -> tuple[int, int]:
    """Scans of white noise at one duty cycle (%), on a button and a reader: how many, and false confirmations."""
    duty, count, seed = work
    chance = random.Random(seed * 1000 + duty)
    rules, reader = Button(17), Reader(22)
    press_, signal, now, false = Press(), ReaderState(armed=True), 1000.0, 0
    button_, reader_, draw = inputs.button, inputs.reader, chance.random
    for _ in range(0, count, 10_000):
        for level in chance.choices((True, False), cum_weights=(duty, 100), k=10_000):
            press_, told = button_(press_, level, now, rules)
            signal, ended = reader_(signal, level, now, reader)
            false += (told is inputs.Event.CONFIRM) + (ended is not None)
            now += pause(press_, signal, (), draw(), rules, reader)
    return -(-count // 10_000) * 10_000, false


def noise(_: Place, extent: Extent) -> list[Row]:
    """False confirmations in noise at every duty cycle from 5 % to 95 %."""
    duties = range(5, 96)
    rounds = max(1, round(extent.noise / len(duties) / 100_000))
    each = max(1, round(extent.noise / len(duties) / rounds))
    work = [(duty, each, seed) for seed in range(rounds) for duty in duties]
    began = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        results = list(pool.map(scanned, work, chunksize=4))
    seconds = time.monotonic() - began
    scans, false = sum(scans for scans, _ in results), sum(wrong for _, wrong in results)
    return [
        Row(
            f"false confirmations in {scans:,} scans of noise",
            f"{false}",
            "none",
            float(false),
            0.0,
            aim="0 in 100,000,000",
            note=f"each whole duty cycle from 5 % to 95 %, {seconds:.0f} s; `make bench NOISE=1e8` scans as many as "
            "the goal says; beyond 95 % noise holds still for seconds by itself, which is what a press is",
            far=1.0,
            raw={"scans": scans, "false": false, "seconds": seconds},
        )
    ]
