"""`rufusd retry` without a daemon: the station without its lines delivers what is pending, telling how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rufusd.adapters import clock
from rufusd.adapters.closes.spool import Spool
from rufusd.adapters.network import Changes
from rufusd.core.delivery import Phase
from rufusd.core.record import ELSEWHERE
from rufusd.core.settings import Settings
from rufusd.core.station import Station
from rufusd.core.words import _, _n
from rufusd.daemon.courier import Courier
from rufusd.daemon.loop import connect
from rufusd.daemon.pace import CLOSES_EVERY, IDLE_PAUSE, rest
from rufusd.daemon.world import SpoolOfStation, World
from rufusd.text import report

_FAILED = (Phase.RETRY, Phase.REFUSED, Phase.EMPTY)  # the error may have been told in the attempt before


def deliver(settings: Settings, spool: Spool, say: Callable[[str], None]) -> int:
    """Deliver what is pending, until all is closed or all has failed once. Returns the exit status.

    A daemon that starts meanwhile takes over. Raises StateFolderLocked where there is a daemon after all.
    """
    spool.lock(first=False)
    changes = Changes()
    station = Station(replace(settings, button=None, reader=None), clock.boot_id())
    connecting, of_station = partial(connect, changes=changes), SpoolOfStation(spool, station.closes)
    courier = Courier(settings, connecting, of_station, changes, clock.utc, lambda: None)
    world = World(spool, courier, lambda record: None)  # noqa: ARG005 - no earlier life's wait counts
    try:
        spool.recover()
        world.perform(station.look())
        if station.closes:
            say(
                _n(
                    len(station.closes),
                    "{n} pending; it is sent once its time to be taken back is over",
                    "{n} pending; each is sent once its time to be taken back is over",
                )
            )
        courier.start()
        told, failed, look_after = dict.fromkeys(station.closes, ""), set[str](), 0.0
        while told.keys() - failed and courier.is_alive():
            time.sleep(IDLE_PAUSE)
            if spool.daemon_lock.wanted():
                say(_("rufusd has started and takes over; `rufusd status` shows how it goes"))
                return 0
            now = time.monotonic()
            if now >= look_after:
                began = time.thread_time()
                world.perform(station.look())
                look_after = time.monotonic() + max(CLOSES_EVERY, rest(time.thread_time() - began))
            world.perform(station.tick(now))
            for token in station.closes:
                told.setdefault(token, "")
            for token in list(told):
                close, each = station.closes.get(token), courier.progress.get(token)
                if close is None:
                    say(_("{token}: {news}", token=report.short(token), news=_ended(token, spool)))
                    del told[token]
                elif each and close.handed_over:
                    news = each.error or each.empty or report.UNDER_WAY.get(each.phase, "")
                    if news != told[token]:
                        told[token] = news
                        say(_("{token}: {news}", token=report.short(token), news=news))
                    if each.phase in _FAILED:
                        failed.add(token)
        return 1 if told else 0
    finally:
        courier.stop()
        changes.close()
        spool.daemon_lock.release()


def _ended(token: str, spool: Spool) -> str:
    """What became of a close, for people."""
    if spool.closed_how(token) == ELSEWHERE:
        return report.ALREADY
    return report.STATE.get(spool.standing(token) or "", _("unknown"))
