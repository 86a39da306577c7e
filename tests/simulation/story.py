"""What happens in a race: its set-up and its events, all made from the seed before the race begins.

An event is what a person would tell as one thing: a press of the button, an outage, a power cut. So the shrinker can
leave events out one at a time, and the page can tell those that are left.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from .machine import BUTTON, KEY, LED, READER
from .rufus import MODES

TOKENS = ("A" * 64, "B" * 64, "C" * 64)
HOLD, STUCK, ARM, SETTLE, BOUNCE = 0.5, 3.0, 2.0, 2.0, 0.05


@dataclass(frozen=True)
class Event:
    """At `at` seconds this happens at a station (0 or 1); `facts` say how."""

    at: float
    kind: str
    station: int
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """One race."""

    seed: int
    setup: dict[str, Any]
    events: tuple[Event, ...]

    def without(self, gone: set[int]) -> Story:
        """The same without these events."""
        return replace(self, events=tuple(each for n, each in enumerate(self.events) if n not in gone))

    def to_json(self) -> str:
        """As text, for a test."""
        events = [[each.at, each.kind, each.station, each.facts] for each in self.events]
        return json.dumps({"seed": self.seed, "setup": self.setup, "events": events})


def from_json(text: str) -> Story:
    """A story as it was kept."""
    found = json.loads(text)
    return Story(found["seed"], found["setup"], tuple(Event(*each) for each in found["events"]))


def config(
    setup: dict[str, Any], token: str, *, button: bool, reader: bool, settle: float = SETTLE, pins: str = ""
) -> str:
    """The configuration of a station. The durations are short, so that races are. `pins`: "other" for others."""
    lines = [
        "[api]", f'key = "{KEY}"', f"timeout = {setup['timeout']}",
        "[session]", f'token = "{token}"', f'name = "R-{token[0]}"',
        "[close]", f"grace = {setup['grace']}", f"quiet = {setup['quiet']}", f"max_wait = {setup['max_wait']}",
        "[retry]", f"first = {setup['first']}", f"max = {setup['most']}",
        "[led]", f"pin = {LED}",
    ]  # fmt: skip
    if button:
        pin = f"pin = {BUTTON + (pins == 'other')}"
        lines += ["[button]", pin, f"hold_time = {HOLD}", f"stuck_time = {STUCK}", f"bounce_time = {BOUNCE}"]
    if reader:
        pin = f"pin = {READER}"
        lines += ["[reader]", pin, f"arm_time = {ARM}", f"settle_time = {settle}", f"bounce_time = {BOUNCE}"]
    return "\n".join(lines) + "\n"


# Modes in which answers fail to come. Those of a venue's other machines are the "hostile" family's.
OUTAGES = (
    "offline", "offline", "hole", "reset", "deaf", "slow", "far", "lossy", "500", "504", "429", "late202",
)  # fmt: skip
# What may go wrong or be done, and how often a race has any of it. Each race has some of these families only: a race
# with all of them at once is noise, in which the rare combinations do not come about.
FAMILIES = {
    "noise": 0.3, "network": 0.55, "hostile": 0.3, "kills": 0.4, "cuts": 0.4, "calls": 0.5, "disk": 0.2, "full": 0.12,
    "run": 0.1, "slow": 0.12, "commands": 0.55, "tokens": 0.3, "broken": 0.12, "clock": 0.15, "others": 0.12,
    "permission": 0.15, "lines": 0.06, "two": 0.12, "restarts": 0.2, "pins": 0.06, "typed": 0.2, "unknown": 0.08,
}  # fmt: skip
# How often a race is about one moment instead, which must come about to the tenth of a second.
MOMENTS = {
    "inverted": 0.03, "refused": 0.03, "late tap": 0.02, "old look": 0.02, "came and went": 0.03, "held up": 0.04,
}  # fmt: skip


def write(seed: int) -> Story:
    """The story of this seed."""
    return _Author(seed).story()


class _Author:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(f"{seed}/story")
        self.events: list[Event] = []
        self.moments: list[float] = []  # near which it is most interesting to be disturbed
        self.offs: list[float] = []  # when a reader goes off
        self.confirmed: list[float] = []  # when a button is let go, or a reader has settled

    def add(self, at: float, kind: str, station: int, **facts: Any) -> None:
        self.events.append(Event(round(max(0.0, at), 4), kind, station, facts))

    def when(self) -> float:
        """Some time; often right at or after something that matters."""
        c = self.chance
        if self.moments and c.random() < 0.5:
            return max(0.0, c.choice(self.moments) + c.choice([0.0, 0.01, 0.05, 0.3, 1.0]) * c.uniform(-0.3, 1.5))
        return c.uniform(0, self.span)

    def story(self) -> Story:
        c = self.chance
        families = {name for name, often in FAMILIES.items() if c.random() < often}
        if c.random() < 0.05:
            families = set()
        self.span = c.choice([9.0, 13.0, 18.0])
        has_button = c.random() < 0.85
        has_reader = not has_button or c.random() < 0.6
        setup: dict[str, Any] = {
            "span": self.span,
            "stations": 2 if "two" in families else 1,
            "button": has_button,
            "reader": has_reader,
            "grace": c.choice([0, 1.2, 2.5]),
            "quiet": c.choice([0, 1.2, 3.0]),
            "max_wait": c.choice([4.0, 6.0, 30.0]),
            "timeout": c.choice([0.5, 2.0]),
            "first": 0.2,
            "most": c.choice([0.5, 2.0]),
            "permission": c.choice(["READ_WRITE"] * 6 + ["WRITE", "WRITE", "READ"]),
            "form": c.choice(["old", "old", "new", "broken"]),
            "closed_again": c.choice([200, 404, 409]),
            "passings": c.choice([0, 3, 50]),
            "runs": has_reader and c.random() < 0.8,
            "tokens": 3 if "tokens" in families else 1,
            "retry": c.random() < 0.5,  # whether somebody types that once all is well
        }
        moment = c.choices([*MOMENTS, ""], [*MOMENTS.values(), 1 - sum(MOMENTS.values())])[0]
        if moment:
            setup.update(stations=1, tokens=1)
            getattr(self, f"_{moment.replace(' ', '_')}")(setup)
        else:
            for station in range(setup["stations"]):
                self._people(station, setup, families)
                self._faults(station, setup, families)
            self._runners(setup)
        return Story(self.seed, setup, tuple(sorted(self.events, key=lambda each: each.at)))

    def _people(self, station: int, setup: dict[str, Any], families: set[str]) -> None:
        c, span = self.chance, self.span
        if setup["button"]:
            for _ in range(c.choice([0, 1, 1, 2, 3])):
                at = c.uniform(0.3, span)
                length = c.choice([0.03, 0.07, 0.1, 0.2, 0.4, 0.48, 0.53, 0.55, 0.7, 1.2, 2.5, 2.95, 3.2, 4.0])
                self.add(at, "hold", station, length=length, chatter=c.choice([0, 0, 0, 3]))
                self.moments += [at, at + length, at + length + setup["grace"]]
                self.moments.append(at + length + setup["grace"] + c.uniform(0.2, 1.2) * setup["quiet"])
                self.confirmed.append(at + length)
                if c.random() < 0.5:  # and a second press soon after it
                    pause = c.choice(
                        [0.05, 0.2, 0.45, 0.55, 0.8, 0.9, 1.3, setup["grace"] - 0.1, setup["grace"] - 0.25]
                    )
                    after, late = at + length + pause, pause > 0.6 and pause > setup["grace"] - 0.3
                    self.add(
                        after,
                        "hold",
                        station,
                        length=c.choice([0.07, 0.1, 0.13, 0.17, 0.25, 0.3, 0.4, 0.7] if not late else [0.2, 0.4, 0.45]),
                        chatter=c.choice([0, 0, 3]),
                    )
                    self.moments += [after]
            if "noise" in families:
                self.add(
                    c.uniform(0, span), "water", station, length=c.uniform(0.5, 6), share=c.choice([0.05, 0.5, 0.95])
                )
            if "noise" in families and c.random() < 0.3:
                self.add(0.0, "hold", station, length=c.choice([1.0, 3.0, 6.0]), chatter=0)  # pressed as it starts
        if setup["reader"]:
            at = c.uniform(2.2, span)
            for _ in range(c.choice([1, 1, 2, 3])):
                length = c.choice([0.02, 0.3, 1.9, 2.1, 2.5, 4.0, 100.0])
                self.add(at, "reader off", station, length=length)
                self.moments += [at, at + SETTLE, at + SETTLE + setup["grace"], at + length, at + length + ARM]
                self.moments.append(at + SETTLE + setup["grace"] + c.uniform(0.2, 1.2) * setup["quiet"])
                self.offs.append(at)
                self.confirmed.append(at + SETTLE)
                at += c.choice([0.5, 2.2, 3.0, 6.0]) + min(length, 10.0)
            if "noise" in families:
                self.add(
                    self.when(), "flicker", station, times=c.choice([1, 3, 40]), pause=c.choice([0.02, 0.1, 0.4, 1.9])
                )
        if "commands" in families:
            for _ in range(c.choice([1, 1, 2, 3])):
                what = c.choice(["close", "close", "withdraw", "withdraw", "retry", "status", "status"])
                at = self.when()
                self.add(at, "command", station, what=what)
                self.moments += [at, at + 0.2]
            if self.offs and c.random() < 0.3:
                self._taken_back_as_it_settles(station)
        if "tokens" in families:
            for _ in range(c.choice([1, 1, 2])):
                at, how = self.when(), c.choice(["", "", "", "no reader", "settle"])
                self.add(at, "save", station, token=c.choice([0, 1, 1, 2]), how=how)
                if c.random() < 0.2:  # a command comes in as it is taken up
                    self.add(
                        at - c.uniform(0.0, 0.6), "at a call", station, n=c.randint(1, 6), how="close", whose="daemon"
                    )
                if c.random() < 0.3:  # the daemon takes it up as it starts
                    self.add(at + c.uniform(-1.0, 0.3), c.choice(["kill", "restart"]), station)
            if self.offs and c.random() < 0.25:  # a technician who tries a settle time, and puts it back
                off = c.choice(self.offs)
                self.add(off - 4.5, "save", station, token=0, how="settle")
                self.add(off + c.uniform(0.5, 5.0), "save", station, token=0, how="")
        if "typed" in families:  # a command that runs between two steps of another
            for _ in range(c.choice([1, 2])):
                how = c.choice(["withdraw", "withdraw", "close"])
                at = c.choice([*self.moments, self.when()]) + c.choice([0.0, 0.1, setup["quiet"], setup["grace"]])
                whose = c.choice(["daemon", "any", "records", "records"])
                self.add(at, "at a call", station, n=c.randint(1, 8), how=how, whose=whose)
        if "pins" in families and setup["button"]:
            at = self.when()
            self.add(at, "save", station, token=0, how="other pins")
            self.add(at + c.choice([1.5, 4.0, 6.0]), "save", station, token=0, how="")
        if "broken" in families:
            self.add(self.when(), "save", station, token=0, how=c.choice(["cut", "broken", "slowly"]))

    def _taken_back_as_it_settles(self, station: int) -> None:
        """A command's close is withdrawn while the reader settles, perhaps while the daemon is down."""
        c, off = self.chance, self.chance.choice(self.offs)
        back = off + c.uniform(0.3, 1.9)
        self.add(off - c.uniform(0.6, 2.5), "command", station, what="close")
        self.add(back, "command", station, what="withdraw")
        if c.random() < 0.5:
            self.add(back - c.uniform(0.0, 0.1), "kill", station)

    def _faults(self, station: int, setup: dict[str, Any], families: set[str]) -> None:
        c = self.chance
        if "network" in families:
            for _ in range(c.choice([1, 2, 3])):
                mode = c.choice(OUTAGES)
                self.add(self.when(), "network", station, mode=mode, length=c.choice([0.3, 0.6, 1.0, 3.0, 8.0]))
        if "hostile" in families:
            for _ in range(c.choice([1, 2])):
                mode = c.choice([each for each in MODES if each != "online"])
                self.add(self.when(), "network", station, mode=mode, length=c.choice([0.5, 2.0, 6.0]))
        for family, kind, often in (("kills", "kill", 3), ("cuts", "cut", 2), ("restarts", "restart", 2)):
            if family in families:
                for _ in range(c.randint(1, often)):
                    self.add(self.when(), kind, station)
        if "calls" in families:
            for _ in range(c.choice([1, 1, 2, 3])):
                whose = c.choice(["daemon", "daemon", "any", "close", "withdraw"])
                self.add(
                    self.when(),
                    "at a call",
                    station,
                    n=c.randint(1, 14),
                    how=c.choice(["kill", "kill", "cut"]),
                    whose=whose,
                )
                if c.random() < 0.5:
                    self.add(self.when() + 0.5, "cut", station)
        if "disk" in families:
            error = c.choice(["EIO", "EROFS", "ENOSPC"])
            self.add(
                self._as_it_confirms(),
                "disk",
                station,
                error=error,
                length=c.choice([0.05, 1.0, 5.0]),
                reads=c.random() < 0.2,
            )
        if "full" in families:
            at = self._as_it_confirms()
            self.add(at, "full", station, room=c.choice([0, 0, 300, 3000]), length=c.choice([2.0, 8.0]))
        if "run" in families:
            self.add(self.when(), "run full", station, length=c.choice([1.0, 5.0]))
        if "slow" in families:
            at = self.when()
            if self.confirmed and c.random() < 0.6:  # as the close call is about to go out
                at = c.choice(self.confirmed) + setup["grace"] + c.uniform(0.3, 1.1) * setup["quiet"]
            self.add(at, "slow disk", station, seconds=c.choice([0.3, 1.1, 2.5]), length=c.choice([1.0, 3.0]))
            if c.random() < 0.4:  # and a command that comes in as the daemon waits for it
                self.add(at + c.uniform(-0.2, 0.6), "command", station, what="close")
        if "clock" in families:
            self.add(self.when(), "clock", station, jump=c.choice([-1e8, -3600.0, 3600.0, 1e8]), set=c.random() < 0.5)
        if "others" in families:
            self.add(self.when(), "others close", station, token=0)
        if "permission" in families:
            wrong = c.choice(["READ", "WRITE", "READ_WRITE"])
            self.add(self.when(), "permission", station, key=wrong, length=c.choice([2.0, 6.0]))
        if "unknown" in families:
            token = c.randrange(setup["tokens"])
            self.add(c.choice([0.0, self.when()]), "unknown", station, token=token, length=c.choice([2.0, 6.0, 60.0]))
        if "lines" in families:
            self.add(c.choice([0.0, self.when()]), "lines busy", station, length=c.choice([1.0, 4.0]))

    def _as_it_confirms(self) -> float:
        """Often right before a close is confirmed."""
        c = self.chance
        return c.choice(self.confirmed) - c.choice([0.02, 0.3]) if self.confirmed and c.random() < 0.6 else self.when()

    def _inverted(self, setup: dict[str, Any]) -> None:
        """The polarity is the wrong way round: the reader reads as off from the start of the race, as passings come."""
        c = self.chance
        start = c.uniform(3.0, 6.0)
        setup.update(reader=True, passings=0, runs=True, inverted=True, permission="READ_WRITE")
        self.add(start, "reader off", 0, length=100.0)
        at = start + c.uniform(0.0, 9.0)
        self.moments = [start, start + SETTLE, start + SETTLE + setup["grace"], at]
        while at < self.span:
            self.add(at, "passings", 0, token=0, count=c.choice([1, 3]))
            at += c.expovariate(c.choice([0.3, 2.0]))
        for kind in c.sample(["kill", "restart", "cut"], c.choice([0, 0, 1])):
            self.add(self.when(), kind, 0)
        if c.random() < 0.3:
            self.add(self.when(), "network", 0, mode=c.choice([*MODES]), length=c.choice([0.5, 2.0]))

    def _refused(self, setup: dict[str, Any]) -> None:
        """One press, and a card that refuses whatever is written as it is let go."""
        c = self.chance
        at = self._one_press(setup)
        error = c.choice(["EIO", "EROFS", "ENOSPC"])
        self.add(at - 0.2, "disk", 0, error=error, length=c.choice([0.4, 1.0, 5.0]), reads=c.random() < 0.2)
        if c.random() < 0.5:
            self.add(self.when(), "network", 0, mode=c.choice([*MODES]), length=c.choice([0.5, 2.0]))
        self._runners(setup)

    def _one_press(self, setup: dict[str, Any]) -> float:
        """A station with a button only, and one press; when it is let go."""
        setup.update(button=True, reader=False, runs=False)
        at, length = self.chance.uniform(3.0, 8.0), self.chance.choice([0.7, 1.2])
        self.add(at, "hold", 0, length=length, chatter=0)
        self.moments.append(at + length)
        return at + length

    def _late_tap(self, setup: dict[str, Any]) -> None:
        """A tap that begins right before a close cannot be taken back any more, and ends after it."""
        c = self.chance
        setup.update(grace=c.choice([1.2, 2.5]))
        at = self._one_press(setup) + setup["grace"] - c.choice([0.1, 0.25])
        self.add(at, "hold", 0, length=c.choice([0.2, 0.3, 0.4, 0.45]), chatter=0)
        self._runners(setup)

    def _old_look(self, setup: dict[str, Any]) -> None:
        """The card is slow as the close call is about to go out."""
        c = self.chance
        setup.update(quiet=c.choice([1.2, 3.0]), timeout=0.5)
        at = self._one_press(setup) + setup["grace"] + setup["quiet"] + c.uniform(-0.3, 0.3)
        self.add(at, "slow disk", 0, seconds=c.choice([0.6, 1.1, 2.5]), length=c.uniform(0.2, 1.5))
        if c.random() < 0.5:
            self._runners(setup)

    def _came_and_went(self, setup: dict[str, Any]) -> None:
        """While the reader settles a command confirms a close, and another one withdraws it at once."""
        c = self.chance
        setup.update(reader=True, runs=True)
        off = c.uniform(4.0, 8.0)
        came = off + c.uniform(0.4, 1.4)
        self.add(off, "reader off", 0, length=100.0)
        self.add(came, "command", 0, what="close")
        self.add(came + c.uniform(0.1, 0.3), "command", 0, what="withdraw")
        self._runners(setup)

    def _held_up(self, setup: dict[str, Any]) -> None:
        """Two short presses, and a daemon that does not see the release between them: it waits for its card."""
        c = self.chance
        setup.update(button=True, reader=False, runs=False, grace=2.5)
        at, length, pause = c.uniform(4.0, 8.0), c.uniform(0.2, 0.3), c.uniform(0.07, 0.12)
        first = at + c.uniform(-0.05, 0.4)
        self.add(at - 1.0, "command", 0, what="close")
        self.add(at - 0.1, "command", 0, what="withdraw")
        self.add(at + c.uniform(-0.05, 0.15), "slow disk", 0, seconds=c.uniform(0.1, 0.19), length=1.5)
        self.add(first, "hold", 0, length=length, chatter=0)
        self.add(first + length + pause, "hold", 0, length=c.uniform(0.2, 0.32), chatter=0)

    def _runners(self, setup: dict[str, Any]) -> None:
        c, at = self.chance, 0.0
        busy = self.span * c.choice([0.3, 0.7, 0.95])
        while at < busy:
            at += c.expovariate(c.choice([0.5, 2.0]))
            token = c.randrange(setup["tokens"]) if c.random() < 0.2 else 0
            self.add(at, "passings", c.randrange(setup["stations"]), token=token, count=c.choice([1, 1, 2, 5]))
