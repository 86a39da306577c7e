"""Disks: full, read-only, in memory; a state folder that is missing, blocked, or full of what is not ours.

Real file systems, mounted in a name space of their own, with real stations on them. Promise 2: a close is delivered,
whatever the disk does, and never said to be safe where it is not; promise 1: nothing else is; promise 5: it is said.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from fakegpio import FakeChip, build
from families import Family, compiled
from fault_points import Trial
from forked import Forge
from stations import Fresh, until

from rufusd.core.record import Record

HERE = Path(__file__).parent
CLONE_NEWNS = 0x20000  # unshare(2)
PROMISED = ("pending", "closed")  # where the record of a confirmed close is
TEND = 2.0  # seconds between two tries of what the disk refused
_numbers = itertools.count()


def mount(*words: object) -> None:
    """Run mount(8). Raises CalledProcessError."""
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True, text=True, timeout=60)


class Disks:
    """File systems, each mounted until `close`."""

    def __init__(self, folder: Path, *mkfs: str) -> None:
        """`mkfs` are more arguments for mkfs.ext4. Raises CalledProcessError."""
        self._folder = folder
        self._made: list[Path] = []
        self._image = folder / "image"
        with open(self._image, "wb") as image:
            image.truncate(8 << 20)
        command = ["mkfs.ext4", "-q", "-F", "-m", "0", *mkfs, self._image]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    def ext4(self) -> Path:
        """An empty one on a block device of its own."""
        image = self._folder / f"image{next(_numbers)}"
        shutil.copyfile(self._image, image)
        place = self.mounted("-o", "loop", image)
        image.unlink()  # it goes with the mount
        return place

    def mounted(self, *words: object) -> Path:
        """Where this is mounted."""
        place = self._folder / f"disk{next(_numbers)}"
        place.mkdir()
        mount(*words, place)
        self._made.append(place)
        return place

    def close(self) -> None:
        """Unmount them all."""
        for place in reversed(self._made):
            subprocess.run(["umount", place], check=True, timeout=60)


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """This process, and stations that it forks, in a name space of mounts: what is mounted is seen by no other."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):  # until its end, with which all mounts go, whatever happens
        pytest.skip(f"mounting file systems needs root ({os.strerror(ctypes.get_errno())})")
    folder = tmp_path_factory.mktemp("inside")
    try:
        mount("--make-rprivate", "/")
        with contextlib.closing(Disks(tmp_path_factory.mktemp("probe"))) as disks:
            disks.ext4()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 can be made and mounted here: {getattr(error, 'stderr', error)}")
    with contextlib.closing(Forge(folder, compiled(HERE / "faultpoint.c", folder))) as forge:
        yield forge


@pytest.fixture
def disks(tmp_path: Path, inside: Forge) -> Iterator[Disks]:  # noqa: ARG001 - it must come first
    """Makes disks of 8 MB."""
    with contextlib.closing(Disks(tmp_path)) as made:
        yield made


class OnDisk(Trial):
    """One station with its state on a disk, and one RUFUS, out of reach at first."""

    def __init__(self, folder: Path, forge: Forge, disk: Path | None = None) -> None:
        super().__init__(folder, forge)
        self.rufus.tell("offline")
        self.station.configure(close={"grace": 0.3})
        if disk:
            self.station.state = disk / "state"

    def __enter__(self) -> OnDisk:
        return self

    def record(self, state: str) -> Path:
        """Where the record of the close is in this state."""
        return self.station.state / state / f"{self.token}.json"

    @property
    def on_disk(self) -> bool:
        """Whether the close is on the disk; what only has its name is not it."""
        return any(self.record(state).is_file() and not self.record(state).is_symlink() for state in PROMISED)

    def starts(self) -> OnDisk:
        """Start the station, and wait until the button counts."""
        self.station.log = ""
        process = self.station.start("17 high").process

        def released() -> bool:
            view = self.station.view()  # which may be that of an earlier life, which was killed
            return view["daemon"].get("pid") == process.pid and view["button"].get("state") == "released"

        until(released)
        return self

    def dies(self) -> OnDisk:
        """kill -9."""
        self.station.stop(signal.SIGKILL)
        return self

    def confirms(self, command: bool = False) -> str:
        """Confirm a close by `rufusd close`, or where that cannot, by the button; what is wrongly said of it."""
        if command:
            ended = self.station.command("close")
            said = (ended.returncode, "confirmed:" in ended.stdout, "NOT confirmed" in ended.stderr)
            if said != ((0, True, False) if self.on_disk else (1, False, True)):
                return f"rufusd close says: {ended.stdout}{ended.stderr}"
        if not self.on_disk:
            self.station.press()
        return self.claims()

    def claims(self) -> str:
        """Once the station knows of the close: what it wrongly says of it."""
        view = until(lambda: self.station.view() if self.station.view()["closes"] else {})
        durable = view["closes"][0]["durable"]
        not_durable = ("is held in memory only", "is written, but a power cut may undo it")
        if not durable and not any(words in fault for fault in view["faults"] for words in not_durable):
            return f"it is not safe, without saying so: {view['faults']}"
        claimed = durable or "grace" in self.station.read()
        return "it is said to be safe, but is not on the disk" if claimed and not self.on_disk else ""

    def delivers(self) -> bool:
        """RUFUS is in reach again: whether the close gets there, once."""
        self.rufus.tell("online")
        until(lambda: not self.rufus.session(self.token).active)
        until(lambda: not self.station.view()["closes"])
        return self.closed

    def says(self, what: str) -> str:
        """Wait for a fault with these words; what is wrong where it does not come."""
        return self.comes(lambda: any(what in fault for fault in self.station.view()["faults"]), f"no {what!r}")

    def recovers(self) -> str:
        """Wait until the record is where it belongs, and no fault is left; what is wrong where that does not come."""

        def recovered() -> bool:
            return self.record("closed").is_file() and not self.station.view()["faults"]

        return self.comes(recovered, "no recovery")

    def comes(self, what: Callable[[], bool], else_: str) -> str:
        """Wait for a condition; what is wrong where it does not come."""
        with contextlib.suppress(AssertionError):
            until(what, patience=4 * TEND)
            return ""
        return f"{else_}: {self.station.view()['faults']}, {self.station.records('closed')}"

    @property
    def defects(self) -> str:
        """What no fault of a disk excuses."""
        logged = self.station.logged()
        return f"a traceback: {logged[-2000:]}" if "Traceback" in logged or "defect" in logged else ""


# -- nothing free


def fill_blocks(disk: Path, left: int) -> Callable[[], None]:
    """Leave so many KB free; gives what frees the rest."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (65536, 1024):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        file.truncate(file.tell() - 1024 * left)
        os.fsync(file.fileno())
    return filler.unlink


def fill_inodes(disk: Path, left: int) -> Callable[[], None]:
    """Leave so many inodes; gives what frees the rest."""
    made = []
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (disk / f"filler-{number}").touch()
            made.append(disk / f"filler-{number}")
    for filler in made[:left]:
        filler.unlink()
    return lambda: [filler.unlink() for filler in made[left:]] and None


@pytest.mark.parametrize(
    ("fill", "lefts"), [(fill_blocks, (0, 1, 4, 16)), (fill_inodes, (0, 1, 3))], ids=["blocks", "inodes"]
)
def test_nothing_is_free(tmp_path: Path, inside: Forge, family: Family, fill: Any, lefts: tuple[int, ...]) -> None:
    """A disk has no room left, or next to none, when a close is confirmed, with a ballast and without."""
    family.name = family.name.replace("room", "room" if fill is fill_blocks else "inodes")

    def run(point: tuple[int, bool, bool]) -> None:
        left, ballast, command = point
        with OnDisk(tmp_path, inside, disks.ext4()) as trial:
            disk = trial.station.state.parent
            if ballast:
                trial.starts()
                until((trial.station.state / "ballast").exists)
            empty = fill(disk, left)
            if not ballast:
                trial.starts()
            wrong = trial.confirms(command)
            if trial.on_disk:
                trial.dies().starts()
            elif ballast:
                wrong = wrong or "the ballast has made no room"
            if not (trial.station.state / "ballast").exists():
                wrong = wrong or trial.says("free some space" if fill is fill_blocks else "no inodes are left")
            delivered = trial.delivers()
            empty()
            family.check(point, lost=not delivered, wrong=wrong or trial.recovers() or trial.defects)

    with contextlib.closing(Disks(tmp_path, "-N", "64")) as disks:
        family.each(list(itertools.product(lefts, (True, False), (True, False))), run)


@pytest.mark.parametrize("fill", [fill_blocks, fill_inodes], ids=["blocks", "inodes"])
def test_the_runtime_folder_has_no_room(
    tmp_path: Path, disks: Disks, inside: Forge, family: Family, fill: Callable[[Path, int], Any]
) -> None:
    """/run has no room left, at the daemon's start or later: status tells what the daemon does, why, and the cure."""
    family.name = family.name.replace("room", "room" if fill is fill_blocks else "inodes")
    shows = "df" if fill is fill_blocks else "df -i"

    def run(point: tuple[str, bool]) -> None:
        when, command = point
        with OnDisk(tmp_path, inside) as trial:
            station = trial.station
            memory = disks.mounted("-t", "tmpfs", "-o", "size=256k,nr_inodes=32,mode=755", "tmpfs")
            station.run = memory / "run"
            station.run.mkdir()  # as systemd does
            empty = fill(memory, 0) if when == "at the start" else None
            station.start("17 high")
            released = trial.comes(lambda: station.status()["button"]["state"] == "released", "status shows no button")
            empty = empty or fill(memory, 0)
            if command:
                said = station.command("close").stdout
                wrong = released or ("" if said.startswith("confirmed") and "does not now" not in said else said)
            else:
                station.press()
                wrong = released
            cure = ("cannot be written (no space left on device)", f"`{shows} {station.run}` shows how full it is")

            def told() -> bool:
                status = station.status()
                pending = [each["state"] for each in status["closes"]] == ["pending"]
                fault = any(all(words in fault for words in cure) for fault in status["faults"])
                return fault and pending and status["daemon"]["view_age"] is None

            wrong = wrong or trial.comes(told, "status does not tell it")
            if "not running" in station.command("status").stdout:
                wrong = wrong or "status says that it does not run"
            delivered = trial.delivers()
            empty()
            made = trial.comes((station.run / "watch").is_socket, "no socket")
            family.check(point, lost=not delivered, wrong=wrong or trial.recovers() or made or trial.defects)

    family.each(list(itertools.product(("at the start", "later"), (True, False))), run)


# -- read-only


def test_a_disk_becomes_read_only(tmp_path: Path, disks: Disks, inside: Forge, family: Family) -> None:
    """A disk is read-only from the start, or becomes so at any step up to "closed", for a while or for good."""

    def run(point: tuple[str, bool]) -> None:
        when, for_good = point
        disk = disks.ext4()
        with OnDisk(tmp_path, inside, disk) as trial:

            def read_only(now: str) -> None:
                if now == when:
                    mount("-o", "remount,ro", disk)

            read_only("before the first start")
            if when == "at a later start":
                trial.starts()
                until((trial.station.state / "ballast").exists)
                trial.dies()
            read_only("at a later start")
            trial.starts()
            read_only("armed")
            if when == "holding":
                trial.station.tell("17 low")
                trial.station.shows("let_go")
                read_only("holding")
                trial.station.tell("17 high")
            confirms = trial.claims if when == "holding" else lambda: trial.confirms(when != "pending")
            wrong = confirms()
            read_only("pending")
            wrong = wrong or trial.says("read-only file system; the SD card may be failing")
            if for_good:
                delivered = trial.delivers()
                mount("-o", "remount,rw", disk)
            else:
                mount("-o", "remount,rw", disk)
                until(lambda: trial.on_disk and trial.station.view()["closes"][0]["durable"])
                delivered = trial.dies().starts().delivers()
            family.check(point, lost=not delivered, wrong=wrong or trial.recovers() or trial.defects)

    moments = ("before the first start", "at a later start", "armed", "holding", "pending")
    family.each(list(itertools.product(moments, (True, False))), run)


# -- a state folder that is none


def a_file(place: Path) -> None:
    place.write_text("in the way")


def a_link_to_nothing(place: Path) -> None:
    place.symlink_to("nothing")


def a_link_to_itself(place: Path) -> None:
    place.symlink_to(place.name)


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def missing(place: Path) -> None:
    """Nothing at all."""


def test_a_state_folder_is_missing_or_something_is_in_its_place(tmp_path: Path, inside: Forge, family: Family) -> None:
    """The state folder, or one in it, is missing or has something else in its place, from the start or later on."""

    def run(point: tuple[str, str, Callable[[Path], None]]) -> None:
        when, what, in_place = point
        with OnDisk(tmp_path, inside) as trial:
            place = trial.station.state / what

            def replace(now: str) -> None:
                if now == when:
                    shutil.rmtree(place, ignore_errors=True)
                    in_place(place)

            replace("at the start")
            trial.starts()
            replace("armed")
            wrong = trial.confirms()
            replace("pending")
            if in_place is not missing and what in ("", "pending"):
                wrong = wrong or trial.says("remove the file that is in the folder's place")
            delivered = trial.delivers()
            if in_place is not missing:
                place.unlink()
            family.check(
                (when, what, in_place.__name__), lost=not delivered, wrong=wrong or trial.recovers() or trial.defects
            )

    family.each(
        [
            (when, what, in_place)
            for when in ("at the start", "armed", "pending")
            for what in ("", "pending", "closed", "withdrawn")
            for in_place in (missing, a_file, a_link_to_nothing, a_link_to_itself, a_pipe)
        ],
        run,
    )


# -- what is not ours


def a_folder(place: Path) -> None:
    place.mkdir()
    (place / "x.json").write_text("{}")


def a_link_to_a_record(place: Path) -> None:
    victim = place.parent.parent / "victim.json"
    victim.write_text("not ours")
    place.symlink_to(victim)


def a_link_to_the_root(place: Path) -> None:
    place.symlink_to("/")


def a_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        folder = os.open(place.parent, os.O_DIRECTORY)
        stack.callback(os.close, folder)
        listener.bind(f"/proc/self/fd/{folder}/{place.name}")  # its own path is too long for a socket


def a_device(place: Path) -> None:
    os.mknod(place, 0o20666, os.makedev(1, 5))  # /dev/zero


def a_huge_file(place: Path) -> None:
    with open(place, "wb") as file:
        file.truncate(1 << 40)


FOREIGN = (
    a_folder,
    a_link_to_a_record,
    a_link_to_nothing,
    a_link_to_itself,
    a_link_to_the_root,
    a_socket,
    a_pipe,
    a_device,
)
STATES = ("pending", "closed", "withdrawn")
OTHER = "OTHER-SESSION-token"
ODD = (
    b"short.json",
    b"new\nline-in-its-name.json",
    b"not-utf-8-\xff\xfe.json",
    b"x" * 250 + b".json",
    b".hidden-" + b"x" * 20 + b".json",
    b"-rf --no-preserve-root.json",
    b"A token with spaces.json",
    b"../escape".replace(b"/", b"%2f") + b".json",
    OTHER.encode(),
    OTHER.encode() + b".JSON",
    OTHER.encode() + b".json~",
    OTHER.encode() + b".json.tmp",
    b"." + OTHER.encode() + b".json.swp",
    b".json",
    b"core",
)


def test_foreign_things_are_left_alone(tmp_path: Path, inside: Forge, family: Family) -> None:
    """What is not a record lies in the state folder under a record's name, or is a file with an odd or huge one's."""

    def run(make: Callable[[Path], None] | None) -> None:
        with OnDisk(tmp_path, inside) as trial:
            state = trial.station.state
            made = [state / OTHER]
            a_huge_file(state / OTHER)
            for folder in (state / name for name in STATES):
                folder.mkdir()
                if make:
                    made.append(folder / f"{OTHER}.json")
                    make(made[-1])
                else:
                    made += [Path(os.fsdecode(os.fsencode(folder) + b"/" + name)) for name in ODD]
                    for path in made[-len(ODD) :]:
                        a_huge_file(path)
            before = [os.lstat(path) for path in made]
            trial.starts()
            wrong = trial.confirms()
            delivered = trial.dies().starts().delivers()
            status = trial.station.command("status")
            if status.returncode or not trial.record("closed").is_file():
                wrong = wrong or f"status says: {status.stdout}{status.stderr}"
            if [(is_.st_ino, is_.st_size) for is_ in map(os.lstat, made)] != [
                (was.st_ino, was.st_size) for was in before
            ]:
                wrong = wrong or "something foreign was touched"
            asked = any(OTHER in call.path for call in trial.rufus.calls)
            family.check(make and make.__name__, lost=not delivered, false=asked, wrong=wrong or trial.defects)

    family.each([*FOREIGN, None], run)


def test_something_foreign_has_the_very_name_of_a_record(tmp_path: Path, inside: Forge, family: Family) -> None:
    """What is not a record has the very name that the close's record is to have, in the end or while it is written."""

    def run(point: tuple[str, Callable[[Path], None]]) -> None:
        state, make = point
        with OnDisk(tmp_path, inside) as trial:
            place = trial.record(state.split(",")[0])
            if state.endswith("while it is written"):
                trial.starts()
                place = place.with_name(f".{place.name}.tmp")
                make(place)
            else:
                place.parent.mkdir()
                make(place)
                trial.starts()
            early = trial.called  # it has looked at its folder, and nobody has pressed
            wrong = trial.confirms()
            delivered = trial.delivers()
            victim = trial.station.state / "victim.json"
            if victim.exists() and victim.read_text() != "not ours":
                wrong = wrong or "a link was followed"
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            family.check((state, make.__name__), lost=not delivered, false=early, wrong=wrong or trial.defects)

    family.each(list(itertools.product((*STATES, "pending, while it is written"), FOREIGN)), run)


# -- damaged records


def test_a_damaged_record_is_delivered_by_its_name(tmp_path: Path, disks: Disks, inside: Forge, family: Family) -> None:
    """A pending record is cut off at every byte, or zeros are there in place of its rest, or of its beginning."""
    ways: dict[str, Callable[[bytes, int], bytes]] = {
        "cut off at": lambda whole, at: whole[:at],
        "zeros from": lambda whole, at: whole[:at] + bytes(len(whole) - at),
        "zeros up to": lambda whole, at: bytes(at) + whole[at:],
    }
    memory = disks.mounted("-t", "tmpfs", "tmpfs")  # some thousand steps, each of which waits for its disk

    def run(point: tuple[str, range]) -> None:
        way, places = point
        folder = memory / f"{way} {places.start}"
        folder.mkdir()
        with OnDisk(tmp_path, inside, folder) as trial:
            pending = trial.station.state / "pending"
            pending.mkdir(parents=True)
            tokens = {at: trial.rufus.add_session("10K") for at in places}
            for at, token in tokens.items():
                (pending / f"{token}.json").write_bytes(ways[way](WHOLE(token), at))
            trial.rufus.tell("online")
            trial.station.start("17 high")
            trial.station.shows("armed")  # all are delivered
            for at, token in tokens.items():
                session = trial.rufus.session(token)
                wrong = "" if (trial.station.state / "closed" / f"{token}.json").exists() else "it is not in closed/"
                family.check(f"{way} {at}", lost=session.active, false=session.closes > 1, wrong=wrong or trial.defects)
            family.check(way, false=not trial.rufus.session(trial.token).active, tried=0)

    size = len(WHOLE("0" * 64))
    family.each([(way, range(at, min(at + 60, size + 1))) for way in ways for at in range(0, size + 1, 60)], run)


def WHOLE(token: str) -> bytes:
    """A record with all its facts."""
    facts = {"confirmed_at": "2026-05-03T11:02:13Z", "sent_at": "2026-05-03T11:02:23Z", "reason": "the last is in"}
    return Record(token, "Łódź 10K", "button", boot_id="b" * 36, uptime=1234.5, **facts).to_json().encode()


# -- in memory

IN_MEMORY = ("tmpfs", "ramfs", "overlay on tmpfs", "overlay on a disk")


def of_kind(disks: Disks, kind: str) -> Path:
    """A file system of this kind."""
    if not kind.startswith("overlay"):
        return disks.ext4() if kind == "ext4" else disks.mounted("-t", kind, kind)
    beneath = of_kind(disks, "tmpfs" if "tmpfs" in kind else "ext4")
    for name in ("lower", "upper", "work"):
        (beneath / name).mkdir()
    layers = ",".join(f"{name}dir={beneath / name}" for name in ("lower", "upper", "work"))
    return disks.mounted("-t", "overlay", "-o", layers, "overlay")


def test_what_a_power_cut_empties_is_not_called_safe(tmp_path: Path, disks: Disks, family: Family) -> None:
    """The state folder is on a tmpfs, a ramfs or an overlay: closes are delivered, none is called safe, all say so."""
    library = build(tmp_path)

    def run(kind: str) -> None:
        kind_in_words = f"is on {kind.split()[0]}, which a power cut may empty"
        with OnDisk(tmp_path, Fresh(), of_kind(disks, kind)) as trial:  # type: ignore[arg-type]
            station = trial.station
            chip = FakeChip(station.folder / "chip", library)
            (chip.folder / "mounts").unlink()  # the real mounts count
            chip.drive(17, True)
            checked = station.command("check")
            station.start(command="run", env=chip.env())
            until(lambda: station.view()["button"].get("state") == "released")
            before = station.view()
            ended = station.command("close")
            view = until(lambda: station.view() if station.view()["closes"] else {})
            delivered = trial.delivers()
            safe = {
                "check": kind_in_words not in checked.stderr,
                "the LED before": before["indicator"] == "armed",
                "status before": not any(kind_in_words in fault for fault in before["faults"]),
                "close": "unless the power fails" not in ended.stdout or kind_in_words not in ended.stderr,
                "the LED": view["indicator"] != "fault_pending",
                "status": view["closes"][0]["durable"],
            }
            expected = kind not in IN_MEMORY
            lies = [who for who, said in safe.items() if said != expected]
            wrong = f"these call it {'un' * expected}safe: {lies}" if lies else ""
            if (checked.returncode, ended.returncode) != (0, 0):
                wrong = wrong or checked.stderr + ended.stderr
            family.check(kind, lost=not delivered, wrong=wrong or trial.defects)

    family.each([*IN_MEMORY, "ext4"], run)
