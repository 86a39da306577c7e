"""An outage and its end, in a network of its own: `unshare --net python -m bench.outage TIMES` prints JSON.

Two ways in which a network comes back: its link goes up, which the kernel tells; and whatever is far away works again,
which nobody tells. A shell's spool waits through the same outages.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

from stations import until

from bench.measure import PEERS, Peer, Place, Rufusd
from rufusd.adapters.closes.spool import Spool
from rufusd.daemon.world import new_record

RETRY = 2.0  # seconds: retry.max, and the spool's sleep
RETRIES = {"first": 0.1, "max": RETRY}


def link(up: bool) -> float:
    """Put the only network there is up or down; when that began."""
    began = time.monotonic()
    subprocess.run(["ip", "link", "set", "lo", "up" if up else "down"], check=True)
    return began


def _fails(station: Rufusd, token: str, often: int) -> None:
    def fails() -> bool:
        return any(each["token"] == token and each["attempts"] > often for each in station.view()["closes"])

    until(fails, patience=60)


def main(times: int) -> None:
    """Measure, and print what came of it."""
    chance = random.Random(3)
    link(True)
    took: dict[str, dict[str, list[float]]] = {which: {"rufusd": [], "spool": []} for which in ("link", "silent")}
    with Place() as place:
        station = Rufusd(place, "outage", close={"grace": 0, "quiet": 0}, retry=RETRIES)
        folder = place.memory / "spool"
        folder.mkdir()
        shell = Peer(
            ["sh", f"{PEERS}/spool.sh", str(folder), place.rufus.url, str(RETRY)],
            KEY=place.key,
            CURL_CA_BUNDLE=str(place.bundle),
        )
        try:
            station.watch()
            for _ in range(times):
                for which in took:
                    ours, theirs = (place.rufus.add_session("outage") for _ in range(2))
                    if which == "link":
                        link(False)
                    else:
                        place.rufus.stop()
                    Spool(station.state).confirm(new_record(ours, "", "command"))
                    (folder / f"{theirs}.close").touch()
                    tried = 1 if which == "link" else 5  # where nothing answers at all, each takes its whole time
                    _fails(station, ours, tried)
                    time.sleep(chance.uniform(0, RETRY))
                    began = link(True) if which == "link" else time.monotonic()
                    if which == "silent":
                        place.rufus.start()
                    for name, token in (("rufusd", ours), ("spool", theirs)):
                        took[which][name].append(place.arrival(token) - began)
                    until(lambda: not station.records("pending"))
        finally:
            shell.stop()
            station.stop()
    sys.stdout.write(json.dumps({**took, "retry.max": RETRY}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
