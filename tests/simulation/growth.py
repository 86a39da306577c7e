"""What a daemon keeps in memory: one long race, in which everything happens again and again, and how much it grows.

    python -m simulation.growth [--minutes N]

Only what rufusd's own lines hold is counted: the world remembers all that happened, and grows.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tracemalloc

from .product import HOME, Product
from .race import Race
from .story import Event, Story
from .world import START

FIRST = 5  # minutes after which all has happened that is kept for good
SETUP = {
    "stations": 1, "button": True, "reader": True, "grace": 2.5, "quiet": 3.0, "max_wait": 30.0, "timeout": 0.5,
    "first": 0.2, "most": 2.0, "permission": "READ_WRITE", "form": "old", "closed_again": 200, "passings": 3,
    "runs": True, "tokens": 1, "retry": False,
}  # fmt: skip
MINUTE = (
    (1.0, "reader off", {"length": 1.5}),
    (5.0, "hold", {"length": 0.7, "chatter": 3}),  # confirmed,
    (7.5, "hold", {"length": 0.3, "chatter": 0}),  # and taken back
    (12.0, "command", {"what": "close"}),
    (13.0, "command", {"what": "withdraw"}),
    (15.0, "command", {"what": "status"}),
    (16.0, "flicker", {"times": 40, "pause": 0.1}),
    (26.0, "network", {"mode": "offline", "length": 20.0}),
    (27.0, "command", {"what": "close"}),
    (33.0, "command", {"what": "retry"}),
    (40.0, "command", {"what": "withdraw"}),
    (48.0, "save", {"token": 0, "how": "broken"}),
    (52.0, "save", {"token": 0, "how": ""}),
    (55.0, "passings", {"token": 0, "count": 5}),
)


def grown(minutes: int) -> tuple[int, list[str]]:
    """By how many bytes rufusd has grown from the fifth minute to this one, and the lines that hold the most of it."""
    span = 60.0 * minutes
    events = [Event(60.0 * n + at, kind, 0, dict(facts)) for n in range(minutes) for at, kind, facts in MINUTE]
    race = Race(Story(1, {**SETUP, "span": span}, tuple(events)), Product())
    kept: list[tracemalloc.Snapshot] = []
    own = tracemalloc.Filter(True, str(HOME / "rufusd" / "*"))

    def look() -> None:
        machine = race.machines[0]
        machine.processes = {pid: each for pid, each in machine.processes.items() if not each.dead}
        for remembered in (machine.said, race.world.trace, race.rufus.calls, race.oracle.stations["station"].shown):
            remembered.clear()  # by the world, and not by rufusd
        gc.collect()
        kept.append(tracemalloc.take_snapshot().filter_traces([own]))

    for at in (60.0 * FIRST, span - 1):
        race.world.at(START + at - race.world.now, look)
    tracemalloc.start()
    race.run()
    tracemalloc.stop()
    if race.rufus.sessions["A" * 64].closed_by:
        raise AssertionError("the session was closed, so that little happened after it")
    changes = kept[1].compare_to(kept[0], "lineno")
    return sum(each.size_diff for each in changes), [str(each) for each in changes[:5]]


def main(arguments: list[str]) -> int:
    """The exit status: 1 where it has grown by more than 16 KiB."""
    parser = argparse.ArgumentParser("simulation.growth")
    parser.add_argument("--minutes", type=int, default=30, help="how long the race takes")
    minutes = parser.parse_args(arguments).minutes
    size, lines = grown(minutes)
    print(f"grown by {size} bytes from minute {FIRST} to minute {minutes}", *lines, sep="\n")
    return 1 if size > 16 * 1024 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
