"""The scan loop: read the inputs, have the station decide, show what it does, sleep. Signals, start and stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rufusd.adapters import clock, config
from rufusd.adapters.closes.locks import StateFolderLocked
from rufusd.adapters.closes.spool import Spool
from rufusd.adapters.network import Changes
from rufusd.adapters.pins import Pins
from rufusd.adapters.runtime import Runtime
from rufusd.adapters.systemd import Systemd
from rufusd.core.deliveries import Configure, RetryNow
from rufusd.core.indicator import Indication
from rufusd.core.settings import Settings
from rufusd.core.station import Station
from rufusd.daemon.configuration import Configuration
from rufusd.daemon.courier import Client, Courier
from rufusd.daemon.outputs import Outputs
from rufusd.daemon.pace import CLOSES_EVERY, RETRY_EVERY, pause, rest
from rufusd.daemon.reach import Reach
from rufusd.daemon.world import SpoolOfStation, Waits, World

SWITCH_INTERVAL = 0.0001  # seconds after which Python lets the other thread compute; its own 5 ms hold up each scan

log = logging.getLogger("rufusd")


def connect(settings: Settings, changes: Changes) -> Client:
    """A client for RUFUS. It is imported here, in the courier's thread, so that the inputs are watched before."""
    from rufusd.adapters.rufus import Client as Rufus

    clock.synchronized()  # imports now, since the disk may fail by the time a close is confirmed
    return Rufus(settings.api, changes=changes)


class Daemon:
    """One station, on its Pi."""

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
        settings = loaded.settings
        self._spool, self._runtime, self._pins = spool, runtime, pins
        self._before_scan = before_scan
        self._systemd = Systemd()
        self._news = threading.Event()  # from the courier
        self._reach = Reach(runtime)
        self._configuration = Configuration(path, loaded, settings, spool)
        self._station = station = Station(settings, clock.boot_id(), training=spool.training)
        changes = Changes()
        of_station = SpoolOfStation(spool, station.closes)
        self._courier = Courier(
            settings, partial(connect, changes=changes), of_station, changes, clock.utc, self._news.set
        )
        self._waits = waits = Waits(runtime, clock.boot_id())
        self._world = World(spool, self._courier, waits.of, pins.read, runtime)
        self._outputs = Outputs(
            station, self._configuration, self._courier, spool, runtime, pins, self._reach, waits, shown
        )
        self._signals: set[int] = set()
        self._looked = self._accepted = self._retried = self._watchdog_fed = -1e9
        self._look_after = 0.0
        self._ready = self._started = False

    def run(self) -> int:
        """Watch, close and deliver until a signal. Returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda number, _: self._signals.add(number))
        if not self._lock():
            return 1
        self._spool.recover()
        self._retried = time.monotonic()
        self._reach.open()
        self._configuration.begin()
        self._waits.begin()
        self._pins.configure(self._station.settings)
        self._resume()
        try:
            while self._scan():
                pass
        finally:
            self._stop()
        return 0

    def _lock(self) -> bool:
        """Keep the state folder for this daemon; whether it has it."""
        try:
            self._spool.lock()
        except StateFolderLocked as locked:
            log.error(
                "%s has the state folder %s already: stop it first (`sudo systemctl stop rufusd`), "
                "or use another --state-dir",
                locked,
                self._spool.folder,
            )
            return False
        # A real station starts even if it hides a training.
        other = self._reach.other() if self._spool.training else None
        if other:
            log.error(
                "process %s has the runtime folder %s already, and this training would hide it: use another "
                "--runtime-dir",
                other.pid or "?",
                self._runtime.folder,
            )
            self._spool.daemon_lock.release()
        return other is None

    def _resume(self) -> None:
        """Take up what the last life has kept of the reader."""
        withdrawal = None
        with contextlib.suppress(OSError):
            withdrawal = self._spool.records.withdrawal(self._station.settings.session.token)
        note = self._runtime.reader(clock.boot_id())
        self._world.perform(self._station.resume(note, withdrawal, self._spool.pending()))

    def _scan(self) -> bool:
        """One turn of the loop; False once it is time to end."""
        now = time.monotonic()
        if not self._before_scan(now) or not self._obey_signals():
            return False
        station, world = self._station, self._world
        world.perform(station.scan(self._pins.read(), now))
        if (self._news.is_set() or now - self._looked >= CLOSES_EVERY) and now >= self._look_after:
            self._look(now)
        if now - self._accepted >= CLOSES_EVERY:  # however slow the disk is
            self._accepted = now
            self._reach.watchers.let_in()
        world.perform(station.tick(time.monotonic()))  # what was confirmed above goes at once, where there is no grace
        if now - self._retried >= RETRY_EVERY:
            self._retry(now)
        self._outputs.show(now, self._systemd)
        self._feed_watchdog(now)
        self._start()
        chance, rules = random.random(), (station.settings.button, station.settings.reader)  # noqa: S311 - no secret
        tick = pause(station.press, station.reader, station.closes.values(), chance, *rules)
        # At its own pace, however much the courier has to tell. A wait for an event goes by the wall clock in Python
        # before 3.11 (bpo-41710): set back by a year, it would hold up the scans for a year.
        time.sleep(max(0.0, now + tick - time.monotonic()))
        return True

    def _look(self, now: float) -> None:
        """See what has changed on disk: the configuration, and the closes."""
        if self._started and not self._courier.is_alive():
            raise RuntimeError("the courier has ended")  # by a defect, which is logged; systemd starts rufusd anew
        self._looked, began = now, time.thread_time()
        self._news.clear()
        if not (self._configuration.is_saved(now) and self._reload()):  # which looks, too
            self._world.perform(self._station.look())
        self._look_after = time.monotonic() + rest(time.thread_time() - began)

    def _retry(self, now: float) -> None:
        """Try again what could not be had or written before."""
        self._retried = now
        self._spool.retry_failed_writes()
        self._configuration.keep_tables()
        self._runtime.tend()
        self._reach.retry()
        if self._pins.problems:
            self._pins.configure(self._station.settings)

    def _obey_signals(self) -> bool:
        if not self._signals:
            return True
        received, self._signals = self._signals, set()
        if signal.SIGHUP in received:
            self._reload(asked=True)
        if signal.SIGUSR1 in received:
            self._courier.post(RetryNow())
        return not received & {signal.SIGTERM, signal.SIGINT}

    def _reload(self, *, asked: bool = False) -> bool:
        """Read the configuration, and take it up if it is sound; whether it was. `asked`: by a person."""
        if self._ready:
            self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        sound = self._configuration.read(asked=asked)
        if sound:
            settings = self._configuration.settings
            self._courier.post(Configure(settings))  # before what is delivered from now on
            self._world.perform(self._station.configured(settings, time.monotonic()))
            self._pins.configure(settings)
            log.info(
                "configuration read again session=%s token=%s",
                settings.session.name,
                settings.session.token,
            )
        if self._ready:
            self._systemd.tell("READY=1")
        return sound

    def _start(self) -> None:
        """After the first scan: tell systemd that the lines are watched, if they are, and then start the courier."""
        if not self._ready and self._pins.watching:
            self._ready = self._systemd.tell("READY=1")
            if self._ready:
                session = self._station.settings.session
                log.info("watching session=%s token=%s", session.name, session.token)
        if not self._started:
            self._started = True
            gc.enable()
            sys.setswitchinterval(SWITCH_INTERVAL)
            self._courier.start()

    def _feed_watchdog(self, now: float) -> None:
        interval = self._systemd.watchdog
        if interval is None or now - self._watchdog_fed < interval or self._courier.stalled(now):
            return
        if self._systemd.tell("WATCHDOG=1"):
            self._watchdog_fed = now

    def _stop(self) -> None:
        self._systemd.tell("STOPPING=1")
        self._pins.close()
        self._courier.stop()
        self._spool.retry_failed_writes()  # the last chance for what is held in memory only
        self._outputs.keep_waits()  # the courier may have met an outage since the last scan
        for problem in self._spool.problems():
            log.error("stopping in spite of this: %s", problem)
        self._reach.watchers.close()
        self._runtime.close()
        self._spool.daemon_lock.release()
