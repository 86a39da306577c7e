"""One race: the story is played to the product, then everything is mended, and all must come to a good end."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from . import world as world_module
from .machine import Machine
from .oracle import Oracle
from .rufus import Rufus, Session
from .story import TOKENS, Event, Story, config
from .world import START, Killed, World

POLL = 0.25  # seconds between two looks of the oracle's
PATIENCE = 60.0  # seconds, and what the set-up adds, after which everything pending has ended once all is well


class Race:
    """A story, played."""

    def __init__(self, story: Story, product: Any, *, verbose: bool = False) -> None:
        self.story, self.setup = story, story.setup
        self.world = world = World(story.seed)
        world.verbose = verbose
        world.product = product  # type: ignore[attr-defined]
        world_module.enter(world)
        setup = self.setup
        self.rufus = Rufus(world, setup["permission"], setup["form"], setup["closed_again"])
        for token in TOKENS:
            self.rufus.sessions[token] = Session(token, passings=setup["passings"])
        self.good = config(setup, TOKENS[0], button=setup["button"], reader=setup["reader"])
        names = ("station", "second")[: setup["stations"]]
        self.machines = [Machine(world, name, self.rufus, product, self.good) for name in names]
        self.healed = False
        self.oracle = Oracle(self)
        self._tokens = [TOKENS[0]] * len(names)

    def run(self) -> Oracle:
        """Play it. The oracle has what is wrong."""
        world, setup = self.world, self.setup
        for machine in self.machines:
            machine.start()
            if setup["runs"]:
                self._reader(machine, True)
        for event in self.story.events:
            self._plan(event)
        self._poll()
        try:
            world.run(START + setup["span"])
            self.heal()
            world.run(world.now + 2.5)
            for machine in self.machines if setup.get("retry", True) else ():
                machine.command("retry")
            limit = world.now + PATIENCE + setup["max_wait"] + 10 * setup["most"] + 3 * setup["quiet"]
            world.run(world.now + 1.5)
            while world.now < limit and self._pending():
                world.run(world.now + 1)
            world.run(world.now + 1.6)
            while world.now < limit and self._pending():
                world.run(world.now + 1.6)  # a reader that was still settling has confirmed meanwhile
            self.oracle.end()
        finally:
            for machine in self.machines:
                machine.powered = False
                for process in list(machine.processes.values()):
                    with contextlib.suppress(Killed):
                        process.kill()
            world.run(world.now)
        return self.oracle

    def _pending(self) -> bool:
        return any(machine.records("pending") for machine in self.machines)

    def _poll(self) -> None:
        self.oracle.look()
        for machine in self.machines:
            machine.watch_over()
        self.world.at(POLL, self._poll)

    # -- wires

    def _press(self, machine: Machine, pressed: bool) -> None:
        if machine.wires.pressed != pressed and not (self.healed and pressed):
            machine.wires.pressed = pressed
            self.oracle.moved(machine, "button", pressed)

    def _reader(self, machine: Machine, running: bool) -> None:
        if machine.wires.running != running and not self.healed:
            machine.wires.running = running
            self.oracle.moved(machine, "reader", running)

    # -- events

    def _plan(self, event: Event) -> None:
        if event.station >= len(self.machines):
            return
        machine = self.machines[event.station]
        act = getattr(self, "_on_" + event.kind.replace(" ", "_"))
        self.world.at(event.at, lambda: None if self.healed else act(machine, **event.facts))

    def _say(self, machine: Machine, what: str) -> None:
        self.world.note(machine.name, f"* {what}")

    def _later(self, delay: float, call: Any) -> None:
        self.world.at(delay, lambda: None if self.healed else call())

    def _on_hold(self, machine: Machine, length: float, chatter: int) -> None:
        self._say(machine, f"the button is pressed, for {length:g} s")
        self._press(machine, True)
        self._later(length, lambda: (self._say(machine, "the button is let go"), self._press(machine, False)))
        for bounce in range(chatter):
            at = length + 0.004 + 0.01 * bounce
            self._later(at, lambda: self._press(machine, True))
            self._later(at + 0.004, lambda: self._press(machine, False))

    def _on_water(self, machine: Machine, length: float, share: float) -> None:
        self._say(machine, f"water is in the plug for {length:.1f} s: the line flickers")
        chance, at = self.world.chance(f"water {machine.name}"), 0.0
        while at < length:
            on = chance.expovariate(1 / (0.08 * share + 0.002))
            self._later(at, lambda: self._press(machine, True))
            self._later(at + on, lambda: self._press(machine, False))
            at += on + chance.expovariate(1 / (0.08 * (1 - share) + 0.002))

    def _on_reader_off(self, machine: Machine, length: float) -> None:
        self._say(machine, "the reader is switched off")
        self._reader(machine, False)
        if length < 100:
            on = lambda: (self._say(machine, "the reader is switched on"), self._reader(machine, True))  # noqa: E731
            self._later(length, on)

    def _on_flicker(self, machine: Machine, times: int, pause: float) -> None:
        self._say(machine, f"the reader's line flickers {times} times, each {pause:g} s")
        for n in range(2 * min(times, int(6 / pause))):
            self._later(n * pause, lambda: self._reader(machine, not machine.wires.running))

    def _on_passings(self, machine: Machine, token: int, count: int) -> None:
        for _ in range(count):
            machine.passing(TOKENS[token])

    def _on_network(self, machine: Machine, mode: str, length: float) -> None:
        from .rufus import MODES

        self._say(machine, f"{MODES[mode]}, for {length:g} s")
        machine.set_network(mode)

        def over() -> None:
            if machine.network == mode:
                self._say(machine, "the network is fine again")
                machine.set_network("online")

        self._later(length, over)

    def _on_command(self, machine: Machine, what: str) -> None:
        if machine.powered:
            token = self._tokens[self.machines.index(machine)]
            machine.command(*{"withdraw": ("withdraw", token), "status": ("status", "--json")}.get(what, (what,)))

    def _on_save(self, machine: Machine, token: int, how: str) -> None:
        setup = self.setup
        if not machine.powered:
            return
        self._tokens[self.machines.index(machine)] = TOKENS[token]
        text = config(
            setup, TOKENS[token], button=setup["button"], reader=setup["reader"] and how != "no reader",
            settle=20.0 if how == "settle" else 2.0, pins="other" if how == "other pins" else "",
        )  # fmt: skip
        self._say(machine, f"the configuration is saved, for {TOKENS[token][:4]} {how}".rstrip())
        if how == "cut":
            text = text[: int(len(text) * self.world.chance("cut").uniform(0.2, 0.95))]
        elif how == "broken":
            text = text.replace("grace = ", "grace = x")
        elif how == "slowly":
            half = text[: len(text) // 2]
            self.oracle.saved(machine, half, good=False)
            machine.save(half)
            self._later(0.7, lambda: (self.oracle.saved(machine, text), machine.save(text)))
            return
        self.oracle.saved(machine, text, good=how not in ("cut", "broken"))
        machine.save(text)

    def _on_kill(self, machine: Machine) -> None:
        if machine.daemon and not machine.daemon.dead:
            self._say(machine, "the daemon is killed")
            machine.killed(machine.daemon)

    def _on_restart(self, machine: Machine) -> None:
        import signal

        if machine.daemon and not machine.daemon.dead:
            self._say(machine, "systemctl restart rufusd")
            machine.daemon.signal(signal.SIGTERM)
            machine.tell("told to stop")

    def _on_cut(self, machine: Machine) -> None:
        machine.cut_power()

    def _on_at_a_call(self, machine: Machine, n: int, how: str, whose: str) -> None:
        machine.files.countdown = (n, how, whose)

    def _on_disk(self, machine: Machine, error: str, length: float, reads: bool) -> None:
        import errno

        self._say(machine, f"the card fails ({error}) for {length:g} s")
        machine.files.error, machine.files.reads_fail = getattr(errno, error), reads
        self.oracle.trouble_begins(machine)
        self._later(length, lambda: self._mend_disk(machine))

    def _mend_disk(self, machine: Machine) -> None:
        machine.files.error, machine.files.reads_fail = 0, False
        self._say(machine, "the card works again")

    def _on_full(self, machine: Machine, room: int, length: float) -> None:
        self._say(machine, f"the card is full for {length:g} s")
        machine.files.room = room
        self.oracle.trouble_begins(machine)
        self._later(length, lambda: setattr(machine.files, "room", None))

    def _on_run_full(self, machine: Machine, length: float) -> None:
        import errno

        self._say(machine, f"/run is full for {length:g} s")
        machine.files.run_error = errno.ENOSPC
        self.oracle.trouble_begins(machine)
        self._later(length, lambda: setattr(machine.files, "run_error", 0))

    def _on_slow_disk(self, machine: Machine, seconds: float, length: float) -> None:
        self._say(machine, f"the card is slow: {seconds:g} s for each fsync, for {length:g} s")
        machine.files.slow = seconds
        self.oracle.trouble_begins(machine)
        self._later(length, lambda: setattr(machine.files, "slow", 0.0))

    def _on_clock(self, machine: Machine, jump: float, set: bool) -> None:
        self._say(machine, f"the clock jumps by {jump:g} s")
        machine.clock_offset += jump
        machine.clock_set = set

    def _on_others_close(self, _: Machine, token: int) -> None:
        self.rufus.end(self.rufus.sessions[TOKENS[token]], "others")

    def _on_permission(self, machine: Machine, key: str, length: float) -> None:
        before = self.rufus.permission
        self._say(machine, f"the key has {key} access for {length:g} s")
        self.rufus.permission = key
        self._later(length, lambda: setattr(self.rufus, "permission", before))

    def _on_unknown(self, machine: Machine, token: int, length: float) -> None:
        session = self.rufus.sessions[TOKENS[token]]
        self._say(machine, f"RUFUS does not know {session.token[:4]} for {length:g} s")
        session.known = False
        self._later(length, lambda: setattr(session, "known", True))

    def _on_lines_busy(self, machine: Machine, length: float) -> None:
        self._say(machine, f"another program wants the lines for {length:g} s")
        machine.wires.busy = True
        self.oracle.trouble_begins(machine)
        self._later(length, lambda: setattr(machine.wires, "busy", False))

    # -- the end

    def heal(self) -> None:
        """From here on nothing fails and nobody does anything: what is pending has to be delivered."""
        self.healed = True
        self.world.note("", "* from here on all is well")
        self.rufus.permission = "READ_WRITE"
        for session in self.rufus.sessions.values():
            session.known = True
            if session.active and not session.passings:
                session.passings = 1  # a reader's close of an empty session waits for a person
        for n, machine in enumerate(self.machines):
            files = machine.files
            files.countdown, files.error, files.run_error, files.room, files.slow = None, 0, 0, None, 0.0
            files.reads_fail = machine.wires.busy = False
            machine.calm = True
            machine.clock_set = True
            if machine.wires.pressed:
                machine.wires.pressed = False
                self.oracle.moved(machine, "button", False)
            machine.set_network("online")
            setup = self.setup
            text = config(setup, self._tokens[n], button=setup["button"], reader=setup["reader"])
            if files.text("/etc/rufusd/config.toml") != text:
                self.oracle.saved(machine, text)
                machine.save(text)
            machine.boot()
            machine.start()


os.environ["LANGUAGE"] = "en"  # what commands say is judged in English
