"""The daemon as a real process against a real HTTPS server on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from servers import tls_context
from stations import Station, until

from rufusd.training.sandbox import Sandbox


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who vouches for the good certificates."""
    return trustme.CA()


def station_for(folder: Path, rufus: Sandbox, authority: trustme.CA, token: str) -> Station:
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    api = {"url": rufus.url, "key": rufus.keys["READ_WRITE"], "ca_file": str(folder / "ca.pem")}
    return Station(folder / "station", api=api, session={"token": token})


def test_from_press_to_close_over_tls(tmp_path: Path, authority: trustme.CA) -> None:
    """The main job, as at a race: HTTPS, verified."""
    with Sandbox(tls=tls_context(authority)) as rufus:
        token = rufus.add_session("FINISH-10K")
        station = station_for(tmp_path, rufus, authority, token).start()
        station.shows("armed")
        station.press()
        station.shows("closed")
        station.stop()
        assert rufus.session(token).closes == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("another name", "for another name"),
        ("unknown authority", "not from a known authority"),
        ("not yet valid", "this machine's clock is wrong"),
        ("expired", "has expired"),
    ],
)
def test_promise_6_a_server_that_cannot_be_trusted_gets_no_key(
    tmp_path: Path, authority: trustme.CA, fault: str, says: str
) -> None:
    """Promises 4, 5 and 6: pending, with the cause in plain words; nobody was called; a good server then closes it."""
    with Sandbox(tls=tls_context(authority, fault)) as bad, Sandbox(tls=tls_context(authority)) as good:
        token = good.add_session("FINISH-10K", bad.add_session("FINISH-10K"))
        station = station_for(tmp_path, bad, authority, token).start()
        station.shows("armed")
        station.press()
        error = until(lambda: station.view()["closes"] and station.view()["closes"][0]["last_error"])
        assert says in error
        assert station.records("pending") == [token]
        assert bad.calls == []
        station.stop()
        station.configure(api={"url": good.url, "key": good.keys["READ_WRITE"]})
        station.start()
        until(lambda: not good.session(token).active)
        until(lambda: station.records("closed") == [token])
        station.stop()
