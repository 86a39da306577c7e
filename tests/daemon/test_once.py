"""`rufusd retry` without a daemon, with a RUFUS of the test's own."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any, Callable

import pytest
from stations import until

from rufusd.adapters import clock
from rufusd.adapters.closes.spool import Spool
from rufusd.core.delivery import Answer
from rufusd.core.record import Record
from rufusd.core.settings import Api, Close, Retry, Session, Settings
from rufusd.daemon import once
from rufusd.daemon.courier import Courier
from rufusd.text.report import short

FIRST, SECOND = "FINISH-10K-token", "START-10K-token"
SETTINGS = Settings(Api("a key", timeout=5), Session(FIRST), Close(grace=0, quiet=0), Retry(0.05, 0.05))


def confirm(state: Path, token: str) -> None:
    """As a command does, a moment ago."""
    record = Record(token, trigger="command", boot_id=clock.boot_id(), uptime=clock.uptime() - 1)
    assert Spool(state).confirm(record)


class Rufus:
    """Closes every session; `meanwhile` happens during the first call."""

    def __init__(self, meanwhile: Callable[[], Any]) -> None:
        self.meanwhile, self.closed = meanwhile, deque[str]()

    def read(self, _: str) -> Answer:
        raise AssertionError

    def close(self, token: str, begin: Callable[[], bool]) -> Answer:
        assert begin()
        if not self.closed:
            self.meanwhile()
        self.closed.append(token)
        return Answer(200, json.dumps({"description": "Session closed", "token_session": token}))


def test_a_close_that_is_confirmed_meanwhile_is_delivered_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 5: the command does not end in the middle of a call that it has not spoken of."""
    confirm(tmp_path / "state", FIRST)

    def meanwhile() -> None:
        confirm(tmp_path / "state", SECOND)
        until(lambda: SECOND in told)

    told, post = deque[str](), Courier.post
    record = lambda self, message: (told.append(getattr(message, "token", "")), post(self, message))  # noqa: E731
    monkeypatch.setattr(Courier, "post", record)
    rufus = Rufus(meanwhile)
    monkeypatch.setattr(once, "connect", lambda *_, **__: rufus)
    said: list[str] = []
    assert once.deliver(SETTINGS, Spool(tmp_path / "state"), said.append) == 0
    assert list(rufus.closed) == [FIRST, SECOND]
    assert [line.partition(":")[0] for line in said if "closed" in line] == [short(FIRST), short(SECOND)]
