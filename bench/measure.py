"""The instruments: programs on a chip of their own, and what the kernel says of them. Measures, and judges nothing."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from fakegpio import FakeChip, build
from servers import tls_context
from stations import Station, until

from rufusd.training.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
BIN = Path(os.environ.get("BENCH_BIN", ROOT / ".venv-bench/bin"))  # where rufusd is installed as a user installs it
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
BUTTON = 17
#: What changes how any of the programs starts, logs or trusts: none of it is set on a Pi.
FOREIGN = ("SSL_CERT_DIR", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "CURL_CA_BUNDLE", "LANGUAGE")
POLL = 0.001  # seconds between two looks at whether a program watches; the same for each


class Place:
    """Where all of it happens: folders on the disk and in memory, a RUFUS with TLS, and the system's authorities."""

    def __init__(self) -> None:
        """Touches nothing yet."""
        self.rufus = Sandbox()
        self.key = ""
        self._stack = contextlib.ExitStack()
        self._chips = 0

    def __enter__(self) -> Place:
        """Make the folders, start RUFUS, and change the environment to what the programs are to see."""
        (ROOT / "build").mkdir(exist_ok=True)
        self.disk = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build")))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # as /run is
        self.memory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=memory)))
        self._library = build(self.memory)
        authority = trustme.CA()
        self.bundle = self.memory / "authorities.pem"
        system = AUTHORITIES.read_bytes() if AUTHORITIES.exists() else b""
        self.bundle.write_bytes(system + b"\n" + authority.cert_pem.bytes())
        for name in FOREIGN:
            os.environ.pop(name, None)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):  # Python's own TLS; requests
            os.environ[name] = str(self.bundle)
        self.rufus = Sandbox(tls=tls_context(authority))
        self.key = self.rufus.keys["READ_WRITE"]
        self._stack.enter_context(self.rufus)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove all of it."""
        self._stack.close()

    def chip(self, *, edges: bool = False) -> FakeChip:
        """A GPIO chip whose button is not pressed."""
        self._chips += 1
        chip = FakeChip(self.memory / f"chip{self._chips}", self._library)
        if edges:
            chip.allow_edges(BUTTON)
        chip.drive(BUTTON, True)
        return chip

    def arrival(self, token: str) -> float:
        """Wait for the first call to close a session; when it came (monotonic seconds)."""
        call = ("PATCH", f"/v0/sessions/close/{token}")
        return until(lambda: [each.at for each in self.rufus.calls if (each.method, each.path) == call])[0]


class Rufusd(Station):
    """A station as it is installed: its state on the disk, its log and its runtime folder in memory."""

    def __init__(self, place: Place, name: str, **tables: Mapping[str, Any]) -> None:
        """Starts nothing yet. `tables` are as a test's; the session is open, at the place's RUFUS."""
        self.place = place
        self.token = place.rufus.add_session(name)
        given = {**tables, "api": {"key": place.key, "url": place.rufus.url, **(tables.get("api") or {})}}
        super().__init__(place.memory / name, **{"session": {"token": self.token}, **given})
        self.state = place.disk / name
        self.state.mkdir()
        self.chip = place.chip()
        self.told: list[tuple[float, str]] = []
        self._rest = ""

    def arguments(self, command: str) -> list[str]:
        """The installed command; or, for `told`, the one that also tells when it decides."""
        if command == "told":
            return [f"{BIN}/python", f"{ROOT}/bench/station.py", *map(str, (self.config, self.state, self.run))]
        return [f"{BIN}/rufusd", *super().arguments(command)[3:]]

    def watch(self, command: str = "run") -> float:
        """Start it; the seconds until it watches its inputs."""
        before = self.logged().count("watching ") if (self.folder / "log").exists() else 0
        self.run.mkdir(exist_ok=True)
        began = time.monotonic()
        self.start(command=command, env=self.chip.env())
        _soon(lambda: self.logged().count("watching ") > before)
        return time.monotonic() - began

    def since(self, moment: float, what: str) -> float | None:
        """The seconds from a moment until this was told next; None where it was not yet."""
        assert self.process
        assert self.process.stdout
        while select.select([self.process.stdout], [], [], 0)[0]:
            came = os.read(self.process.stdout.fileno(), 65536).decode()
            if not came:
                break
            *lines, self._rest = (self._rest + came).split("\n")
            self.told += [(float(line.split()[0]), line.split()[1]) for line in lines]
        return next((at - moment for at, told in self.told if told == what and at >= moment), None)

    def renew(self) -> None:
        """Have it watch for another session, which is open."""
        self.token = self.place.rufus.add_session(self.tables["session"].get("name", ""))
        self.configure(session={"token": self.token})
        before = self.logged().count("read again")
        self.send(1)  # SIGHUP
        until(lambda: self.logged().count("read again") > before)
        until(lambda: self.view()["indicator"] == "armed")


class Peer:
    """A program on a chip, or on none."""

    def __init__(self, arguments: list[str], chip: FakeChip | None = None, **variables: str) -> None:
        """Start it. Its output goes nowhere."""
        env = {**os.environ, **(chip.env() if chip else {}), **variables}
        env.pop("GPIOZERO_PIN_FACTORY", None)  # nobody's script sets it, and gpiozero finds lgpio by itself
        self.chip = chip
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def script(place: Place, token: str) -> tuple[Peer, float]:
    """The tutorial's script, and the seconds until it watched the button."""
    chip = place.chip(edges=True)
    url = f"{place.rufus.url}/sessions/close/{token}"
    peer = Peer([f"{BIN}/python", f"{PEERS}/script.py"], chip, URL=url, KEY=place.key)

    def watches() -> bool:
        with contextlib.suppress(OSError):  # nobody reads the edges yet
            os.close(os.open(chip.folder / f"edges{BUTTON}", os.O_WRONLY | os.O_NONBLOCK))
            return True
        return False

    _soon(watches)
    return peer, time.monotonic() - peer.began


def _soon(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        if time.monotonic() > deadline:
            raise RuntimeError("a program did not watch its button within 30 s")
        time.sleep(POLL)


# -- what the kernel says


@dataclass(frozen=True)
class Use:
    """What a process has used so far: wake-ups and seconds of CPU, of each of its threads; bytes written to a disk."""

    at: float
    wakes: dict[int, int]
    cpu: dict[int, float]
    written: int

    def wakes_since(self, before: Use) -> float:
        """Wake-ups per second, of all threads."""
        return sum(self.wakes[each] - before.wakes.get(each, 0) for each in self.wakes) / (self.at - before.at)

    def cpu_since(self, before: Use) -> float:
        """Seconds of CPU per second, of all threads."""
        return sum(self.cpu[each] - before.cpu.get(each, 0.0) for each in self.cpu) / (self.at - before.at)


def use(pid: int) -> Use:
    """What a process has used so far (proc_pid_status(5), proc_pid_io(5); schedstat counts nanoseconds on a CPU)."""
    wakes, cpu = {}, {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        wakes[int(task.name)] = _number(status, "voluntary_ctxt_switches")
        cpu[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return Use(time.monotonic(), wakes, cpu, _number(Path(f"/proc/{pid}/io").read_text(), "write_bytes"))


def memory(pid: int) -> tuple[int, int]:
    """Kilobytes of memory that a process has: resident, and its part of what it shares counted once (smaps_rollup)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return _number(rollup, "Rss"), _number(rollup, "Pss")


def _number(text: str, name: str) -> int:
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")))


def windows(pids: dict[str, int], count: int, seconds: float) -> Iterator[dict[str, tuple[Use, Use]]]:
    """So many windows of time, each with every process's use at its beginning and its end."""
    for _ in range(count):
        before = {name: use(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        yield {name: (before[name], use(pid)) for name, pid in pids.items()}


def history(folder: Path, count: int) -> None:
    """Fill a folder with records of closes that have ended, as the spool would have left them."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(count):
        token = secrets.token_hex(32).upper()
        (folder / f"{token}.json").write_text('{"format": 1, "token": "' + token + '"}\n')


def machine() -> dict[str, object]:
    """What this machine is, as far as it matters to a reader of the numbers."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    python = subprocess.run([f"{BIN}/python", "-V"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "kernel": os.uname().release,
        "python": python,
        "load": os.getloadavg()[0],
        "gpio-sim": bool(shutil.which("modprobe")) and Path("/sys/bus/gpio").exists(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
