"""rufusd on a real kernel's GPIO lines, in a virtual machine, and its power cut around a confirmation.

RUFUS's stand-in runs outside, as RUFUS does: it remembers what it was told when the machine cannot.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from stations import QUICK, toml, until
from vm import BOOTS, BUTTON, HOST, Sight, Vm, missing
from vm_image import image

from rufusd.training.sandbox import Sandbox

CONFIG = "/etc/rufusd/config.toml"
AUTHORITY = "/etc/rufusd/authority.pem"
GRACE = 5.0  # seconds: no cut comes so late that the close is on its way
CUTS = 12


class Station:
    """A virtual machine with rufusd, RUFUS outside of it, and the hand at the button."""

    def __init__(self, vm: Vm, rufus: Sandbox) -> None:
        """The machine is on, and has RUFUS's certificate."""
        self.vm, self.rufus = vm, rufus
        self.token = ""

    def race(self, grace: float) -> str:
        """Open a session and save the station's configuration for it; its token, once the station is armed."""
        self.token = self.rufus.add_session("FINISH-10K")
        tables = {**QUICK, "buzzer": {"pin": 23}, "session": {**QUICK["session"], "token": self.token}}
        tables["close"] = {**QUICK["close"], "grace": grace}
        tables["api"] = {
            "key": self.rufus.keys["READ_WRITE"],
            "url": self.rufus.url.replace("127.0.0.1", HOST),
            "ca_file": AUTHORITY,
        }
        self.vm.write(CONFIG, toml(tables))
        self.vm.shows("armed", self.token)
        return self.token

    def hold(self) -> None:
        """Hold the button until the LED is steady, and the beep that says "let go" is over."""
        self.vm.button(pressed=True)
        self.vm.shows("let_go", self.token)
        until(lambda: not self.vm.look().buzzer)

    def let_go(self) -> float:
        """Let the button go; when that was, in the host's monotonic seconds."""
        self.vm.button(pressed=False)
        return time.monotonic()

    def closed(self, token: str) -> tuple[int, int]:
        """How often the session was closed, and how often RUFUS was asked to."""
        asked = sum(call.method == "PATCH" and token in call.path for call in self.rufus.calls)
        return self.rufus.session(token).closes, asked


@pytest.fixture(scope="module")
def station(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A machine that was switched on for the first time."""
    if lacking := missing():
        pytest.skip(f"the virtual machine needs {lacking}: `make system-test` installs it")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    vm = Vm(image(package), tmp_path_factory.mktemp("vm"))
    with Sandbox(tls=context) as rufus:
        try:
            vm.start()
            vm.write(AUTHORITY, authority.cert_pem.bytes().decode())
            yield Station(vm, rufus)
        finally:
            vm.discard()


def shown(sights: list[Sight], since: float) -> float | None:
    """When after the button's release it said "confirmed": by a tick of the buzzer, by blinking, or in its own word."""
    was_off = False
    for sight in sights:
        if sight.at > since:
            if sight.buzzer or (sight.led and was_off) or sight.indicator in ("grace", "pending"):
                return sight.at - since
            was_off = was_off or not sight.led
    return None


def test_a_press_on_the_kernels_lines_closes_the_session(station: Station) -> None:
    """The LED's line flickers, is steady, blinks and is steady again, as the daemon says each step of it."""
    vm = station.vm
    token = station.race(grace=3)
    assert vm.run("cat", vm.line(BUTTON, "pull")) == "pull-up\n"
    so_far = len(vm.sights)
    station.hold()
    station.let_go()
    vm.shows("closed", token)
    assert station.closed(token) == (1, 1)
    leds: dict[str, list[bool]] = {}
    for sight in vm.sights[so_far:]:
        leds.setdefault(sight.indicator, []).append(sight.led)
    assert [word for word in leds if word not in ("armed", "pending")] == ["holding", "let_go", "grace", "closed"]
    assert {True, False} == set(leds["holding"])
    assert [True] == [*set(leds["let_go"])] == [*set(leds["closed"])]
    blinks = sum(one != other for one, other in zip(leds["grace"], leds["grace"][1:]))
    assert 8 <= blinks <= 12  # for 3 s, twice a second on and off


def test_doctor_is_told_by_the_kernel_who_holds_the_lines(station: Station) -> None:
    """The lines that the daemon has, and those that are free; RUFUS by TLS, its session; and nothing is closed."""
    token = station.race(grace=0)
    checks = {each["name"]: each for each in json.loads(station.vm.run("rufusd", "doctor", "--json"))["checks"]}
    good = ("gpio", "button_line", "led_line", "buzzer_line", "button", "folder", "disk", "tls", "rufus", "session")
    assert {name: checks[name]["result"] for name in good} == dict.fromkeys(good, "good"), checks
    assert checks["free_lines"]["found"] == "GPIO 2-16, 18-22, 24-26"  # the button has 17, the buzzer 23, the LED 27
    assert station.closed(token) == (0, 0)


def test_a_short_press_on_the_kernels_lines_closes_nothing(station: Station) -> None:
    """Let go before the LED is steady."""
    vm = station.vm
    token = station.race(grace=0)
    vm.button(pressed=True)
    vm.shows("holding", token)
    so_far = len(vm.sights)
    station.let_go()
    vm.shows("armed", token)
    vm.watch(1)
    assert {sight.indicator for sight in vm.sights[so_far:]} <= {"holding", "armed"}
    assert not any(sight.buzzer for sight in vm.sights[so_far:])
    assert station.closed(token) == (0, 0)


def test_the_disk_forgets_what_was_not_flushed(station: Station) -> None:
    """Else the power cuts would show nothing: what is in the disk's cache alone is gone after one, the rest is not."""
    vm = station.vm
    vm.run("sh", "-c", "cd /root; printf %4096s before >kept; cp kept lost; printf %4096s after >new; sync")
    vm.run("dd", "if=/root/new", "of=/root/lost", "bs=4096", "conv=notrunc", "oflag=direct")
    assert vm.run("cat", "/root/lost").strip() == "after"
    vm.cut()
    vm.start()
    assert (vm.run("cat", "/root/kept").strip(), vm.run("cat", "/root/lost").strip()) == ("before", "before")


def test_power_cuts_around_a_confirmation(station: Station) -> None:
    """What was shown as confirmed is closed exactly once after the restart; what was not on the disk by then never is.

    The first cut is while the button is held, the last once "confirmed" is shown. Between them each follows from the
    one before: earlier where that left a close, later where it left none, so that they gather around the confirmation.
    """
    vm = station.vm
    moment = step = 0.1  # seconds after the button's release
    left: dict[str, bool] = {}
    seen: list[str] = []
    print("\n cut  after release  shown as confirmed  on the disk  closed  calls")
    for number in range(1, CUTS + 1):
        token = station.race(GRACE)
        station.hold()
        released = time.monotonic()
        if number > 1:
            released = station.let_go()
            if number < CUTS:
                vm.watch(moment)
            else:
                while shown(vm.sights, released) is None:
                    vm.watch(0.001)
        cut = vm.cut()
        told = shown(vm.sights, released)
        vm.start()
        until(lambda: vm.look().indicator, patience=BOOTS)
        found = vm.run("cat", "/run/found").split()
        left[token] = f"./pending/{token}.json" in found
        if told is not None:
            seen.append(token)
        vm.shows("closed" if left[token] else "armed", token)
        closed, calls = station.closed(token)
        when = "held" if number == 1 else f"{1000 * (cut - released):.0f} ms"
        at = "no" if told is None else f"at {1000 * told:.0f} ms"
        there = "yes" if left[token] else "begun" if f"./pending/.{token}.json.tmp" in found else "no"
        print(f"{number:4} {when:>14} {at:>19} {there:>12} {closed:7} {calls:6}")
        if 1 < number < CUTS:
            moment = max(moment + (-step if left[token] else step), 0.0)
            step = max(step * 0.7, 0.01)
    tokens = list(left)
    assert not left[tokens[0]]
    assert left[tokens[-1]]
    assert tokens[-1] in seen
    assert [token for token in seen if not left[token]] == []
    assert {token: station.closed(token) for token in tokens} == {
        token: (1, 1) if there else (0, 0) for token, there in left.items()
    }


def test_a_power_cut_while_the_answer_is_on_its_way(station: Station) -> None:
    """RUFUS has closed the session, and the station has not heard of it: after the restart it finds that out."""
    vm = station.vm
    token = station.race(grace=0)
    station.rufus.tell("deaf")
    station.hold()
    station.let_go()
    until(lambda: station.closed(token)[0])
    vm.cut()
    station.rufus.tell("online")
    vm.start()
    until(lambda: vm.look().indicator, patience=BOOTS)
    assert f"./pending/{token}.json" in vm.run("cat", "/run/found").split()
    vm.shows("closed", token)
    assert station.closed(token)[0] == 1
