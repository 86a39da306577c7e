"""The station's effects on a real disk, beside a courier that is somewhere else already."""

from __future__ import annotations

from pathlib import Path

import pytest

from rufusd.adapters.closes.spool import Spool
from rufusd.core.deliveries import Deliver
from rufusd.core.record import Record
from rufusd.core.settings import Api, Close, Session, Settings
from rufusd.core.station import Station
from rufusd.daemon.world import World

TOKEN = "FINISH-10K-token"
SETTINGS = Settings(Api("a key"), Session(TOKEN), Close(grace=0))


class Courier:
    """Has been told to deliver, and delivers when the test says so."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.has: set[str] = set()

    def delivering(self) -> set[str]:
        return set(self.has)

    def post(self, message: object) -> None:
        self.told.append(message)
        if isinstance(message, Deliver):
            self.has.add(message.token)


def test_what_is_closed_during_a_look_is_not_delivered_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 4: a second delivery would find it closed, and take it for closed by somebody else."""
    spool, courier = Spool(tmp_path / "state"), Courier()
    spool.recover()
    station = Station(SETTINGS, "b")
    world = World(spool, courier, lambda _: None)  # type: ignore[arg-type]
    spool.confirm(Record(TOKEN, trigger="button", boot_id="b", uptime=1.0))
    world.perform(station.look())
    world.perform(station.tick(station.closes[TOKEN].grace_until))
    assert courier.told == [Deliver(TOKEN, sent=False)]
    standing = spool.standing

    def closes(token: str) -> str | None:  # between the list of what is pending and the next question
        if courier.has:
            courier.has.clear()
            spool.mark_closed(TOKEN, "now", 1)
        return standing(token)

    monkeypatch.setattr(spool, "standing", closes)
    world.perform(station.look())
    assert courier.told == [Deliver(TOKEN, sent=False)]
    world.perform(station.look())
    assert (station.closes, station.session_closed, station.closed_elsewhere) == ({}, True, False)
