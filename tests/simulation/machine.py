"""One station: a Pi with its card, its clock, its wires, its processes, and the part of systemd that matters here."""

from __future__ import annotations

import errno
import os
import re
from typing import Any, Callable

from lossyfs import Disk, File, Folder

from .disk import FileSystem, fail
from .rufus import UPLOADS, Rufus
from .world import Killed, Process, World

CONFIG, STATE, RUN = "/etc/rufusd/config.toml", "/var/lib/rufusd", "/run/rufusd"
KEY = "ror-0123456789abcdef0123"  # which nobody may see
WATCHDOG = 12.0  # seconds; the installed unit has 30, and races are short
BUTTON, READER, LED = 17, 22, 27
SCAN = 0.06  # seconds: no scan of a daemon that is not held up takes longer


class Wires:
    """What is at the pins: a button to ground, the reader's line (high while it runs), the LED."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pressed = self.running = False
        self.sampled = -1e9  # when the button's line was read last
        self.pauses: list[tuple[float, float]] = []  # in which nobody read it for longer than a scan takes
        self.levels: dict[int, bool] = {}
        self.taken: set[int] = set()
        self.busy = False  # another program has the lines

    def high(self, pin: int) -> bool:
        """The level of a line; a pin that nothing is connected to is pulled up."""
        if pin == BUTTON:
            if self.world.now - self.sampled > SCAN:
                self.pauses.append((self.sampled, self.world.now))
            self.sampled = self.world.now
        return not self.pressed if pin == BUTTON else self.running if pin == READER else True

    def put(self, pin: int, high: bool) -> None:
        """An output's level."""
        self.levels[pin] = high

    def claim(self, pin: int) -> None:
        """A program wants the line."""
        if self.busy or pin in self.taken:
            raise RuntimeError("'GPIO busy'")
        self.taken.add(pin)

    def free(self, pin: int) -> None:
        """A program lets the line go."""
        self.taken.discard(pin)


class Machine:
    """One Pi."""

    def __init__(self, world: World, name: str, rufus: Rufus, product: Any, config: str) -> None:
        self.world, self.name, self.rufus, self.product = world, name, rufus, product
        self.chance = world.chance(f"machine {name}")
        self.files = FileSystem(self)
        self.wires = Wires(world)
        self.listeners: list[Any] = []  # netlink sockets
        self.network = "online"
        self.backlog: dict[str, int] = {}
        self.booted, self.boots = world.now, 0
        self.clock_offset, self.clock_set = 1.7e9, True
        self.processes: dict[int, Process] = {}
        self.daemon: Process | None = None
        self.shown = "off"
        self.powered = True
        self.calm = False  # nothing ends the daemon any more
        self.said: list[str] = []  # every line that anybody can read
        self.watchers: list[Callable[[str, Any], None]] = []
        self._pids = 100
        self._fed = 0.0
        for folder in ("/var", "/var/lib", "/etc", "/etc/rufusd"):
            self.files.make_folder(folder)
        self.files.put(CONFIG, config)

    def tell(self, what: str, about: Any = None) -> None:
        """Tell whoever judges."""
        for watcher in self.watchers:
            watcher(what, about)

    # -- the kernel

    def wall(self) -> float:
        """The wall clock."""
        return self.world.now + self.clock_offset

    def proc(self, path: str) -> Any:
        """A file of /proc. Raises OSError."""
        parts = path.split("/")
        text = {
            "/proc/self/mountinfo": "1 1 1:1 / / rw - ext4 /dev/root rw\n2 1 2:2 / /run rw - tmpfs tmpfs rw\n",
            "/proc/sys/kernel/random/boot_id": f"boot-{self.name}-{self.boots}\n",
            "/proc/locks": "",
        }.get(path)
        if text is None and len(parts) == 4 and parts[2].isdecimal() and parts[3] == "stat":
            process = self.process(int(parts[2]))
            if process:
                text = f"{process.pid} (rufusd) S " + " ".join(["0"] * 18) + f" {int(process.started * 100)} 0\n"
        if text is None:
            raise fail(errno.ENOENT, path)
        return File(data=bytearray(text.encode()))

    def process(self, number: int) -> Process | None:
        """A process that lives."""
        found = self.processes.get(number)
        return found if found and not found.dead else None

    def begin(self, name: str, main: Callable[[], int]) -> Process:
        """Start a process."""
        self._pids += 1
        process = Process(self, name, self._pids)
        process.facts["environment"] = {"LANG": "C"}
        self.processes[process.pid] = process
        process.run(main)
        return process

    def journal(self, process: Process, level: int, text: str) -> None:
        """A line of the log."""
        self.said.append(text)
        self.world.note(f"{self.name}", f"[{process.name}] {text}")
        self.tell("journal", (level, text))

    def news(self) -> None:
        """The kernel tells that the network has changed."""
        self.listeners = [each for each in self.listeners if not each.closed]
        for each in self.listeners:
            if len(each.data) < 1000:
                each.data += b"news"
            each.changed()

    # -- the station's daemon, and systemd

    def start(self) -> None:
        """systemd starts the daemon, unless it runs."""
        if not self.powered or (self.daemon and not self.daemon.dead):
            return
        if self.files.find(RUN) is None:
            self.files.memory.change((self.files.memory.root, "rufusd", Folder()))
        if self.files.find(STATE) is None:
            self.files.make_folder(STATE, durable=False)
        self.wires.taken.clear()

        def main() -> int:
            self.world.sleep(self.chance.uniform(0.1, 0.3))
            return int(self.product.main("run"))

        self.daemon = self.begin("daemon", main)
        self.daemon.facts["environment"].update(
            NOTIFY_SOCKET="/run/systemd/notify", WATCHDOG_USEC=str(int(WATCHDOG * 1e6)),
            RUNTIME_DIRECTORY=RUN, STATE_DIRECTORY=STATE, GPIOZERO_PIN_FACTORY="lgpio", LG_WD=RUN,
        )  # fmt: skip
        self._fed = self.world.now
        self.daemon.on_end.append(self._ended)
        self.tell("started")

    def _ended(self) -> None:
        process = self.daemon
        self.shows("off")
        self.tell("ended", process)
        if self.powered:
            if process and process.status is not None:
                self.world.note(self.name, f"the daemon has ended with status {process.status}")
            if process and process.status == 78:  # systemd waits until the configuration is saved
                return
            self.world.at(self.chance.uniform(0.2, 2.0), self.start)

    def notified(self, process: Process, text: str) -> None:
        """systemd is told something."""
        self.said.append(text)
        if process is self.daemon and "WATCHDOG=1" in text:
            self._fed = self.world.now

    def watch_over(self) -> None:
        """systemd's watchdog: called once in a while."""
        if self.daemon and not self.daemon.dead and self.world.now - self._fed > WATCHDOG:
            self.world.note(self.name, "the watchdog ends the daemon")
            self.tell("watchdog")
            self.daemon.kill()

    def shows(self, meaning: str) -> None:
        """What the LED means, from now on."""
        if meaning != self.shown:
            self.shown = meaning
            self.world.note(self.name, f"LED: {meaning}")
            self.tell("shown", meaning)

    def command_in_between(self, what: str) -> None:
        """A command for the configured session runs at once, between two steps of another process."""
        token = re.search(r'token = "(\w+)"', self.files.text(CONFIG) or "")
        if token:
            self.command(*{"withdraw": ("withdraw", token[1])}.get(what, (what,)), typing=0.0)

    def command(self, *arguments: str, typing: float | None = None) -> Process:
        """Somebody types a command, which takes a moment unless `typing` says how long."""
        self.world.note(self.name, f"somebody types: rufusd {' '.join(arguments)}")

        def main() -> int:
            self.world.sleep(self.chance.uniform(0.05, 0.2) if typing is None else typing)
            status = int(self.product.main(*arguments))
            said = process.facts.get("stdout"), process.facts.get("stderr")
            text = "".join(each.getvalue() for each in said if each)
            self.said.append(text)
            self.world.note(self.name, f"rufusd {arguments[0]} ends with {status}: {text.strip()[:200]}")
            process.facts["text"] = text
            self.tell("command ended", (process, arguments, status, text))
            return status

        process = self.begin(arguments[0], main)
        process.facts["environment"].update(RUNTIME_DIRECTORY=RUN, STATE_DIRECTORY=STATE)
        process.facts["arguments"] = ["rufusd", *arguments]
        self.tell("command", (process, arguments))
        return process

    # -- what happens to it

    def killed(self, process: Process) -> None:
        """kill -9, from outside or in one of its own calls."""
        process.kill()

    def cut_power(self) -> None:
        """The power goes; what was not synced may be lost. Raises Killed where a process of this machine runs."""
        if not self.powered:
            return
        self.world.note(self.name, "POWER CUT")
        self.powered = False
        mine = None
        for process in list(self.processes.values()):
            if not process.dead:
                try:
                    process.kill()
                except Killed:
                    mine = process
        files = self.files
        files.card.order_cut(0, self.chance.randrange(10**9))
        files.card.on()
        files.memory = Disk(self.wall)
        files.locks.clear()
        files.countdown = None
        self.wires.taken.clear()
        self.processes.clear()
        self.listeners.clear()
        self.shown = "off"
        self.tell("cut")
        self.world.at(self.chance.uniform(0.5, 3.0), self.boot)
        if mine:
            raise Killed

    def boot(self) -> None:
        """The power is there again."""
        if self.powered:
            return
        self.powered = True
        self.booted, self.boots = self.world.now, self.boots + 1
        self.world.note(self.name, "boots")
        self.tell("booted")
        self.start()

    def set_network(self, mode: str) -> None:
        """The venue's network changes; the kernel tells of it where the cable or the Wi-Fi does."""
        self.network = mode
        self.tell("network", mode)
        if self.chance.random() < 0.7:
            self.news()
        if mode in UPLOADS:
            self.upload()

    def passing(self, token: str) -> None:
        """A runner crosses the mat."""
        self.backlog[token] = self.backlog.get(token, 0) + 1
        if self.network in UPLOADS:
            self.upload()

    def upload(self) -> None:
        """The reader sends what it has."""
        for token, count in self.backlog.items():
            session = self.rufus.sessions.get(token)
            if session and count:
                if session.active:
                    session.passings += count
                    session.changed = self.world.now
                else:
                    self.rufus.tell("lost", (session, count))
        self.backlog.clear()

    def save(self, text: str) -> None:
        """A technician saves the configuration, which systemd's path unit sees, too."""
        self.files.put(CONFIG, text)
        self.tell("saved", text)
        if self.daemon and self.daemon.dead and self.daemon.status == 78:
            self.world.at(self.chance.uniform(0.2, 1.0), self.start)

    def records(self, state: str) -> list[str]:
        """The tokens that have a record in this state, on the card as programs see it."""
        names = self.files.names(f"{STATE}/{state}")
        return [name[:-5] for name in names if name.endswith(".json") and not name.startswith(".")]


def errno_of(name: str) -> int:
    """An error's number by its name."""
    return int(getattr(errno, name)) if hasattr(errno, name) else int(os.EX_OSERR)
