"""Power cuts: what was not synced is lost, in whole or in part, at random moments (lossyfs.py says what a cut leaves).

Promise 2: what the indicator or a command called confirmed is on the disk after the cut, and is delivered once.
Promise 1: what is not on the disk is not called for; what was said to be withdrawn is not closed.

A moment is just before a random change of the disk: between two changes the disk stays as it is, and what the station
says and RUFUS hears meanwhile only adds to what must hold. `FAULT_SEED=N` repeats a run's cuts.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from families import Family
from fault_points import CONFIRMED, Trial
from forked import Forge
from stations import PATIENCE, until

from rufusd.core.record import from_json

SEED = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
HERE = Path(__file__).parent
NEVER = 10**6  # changes of the disk that no life comes to
LIVES = 4  # of a station whose power is cut again and again


class Rig:
    """The mounted file system, and its orders."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self._numbers = itertools.count()

    def disk(self, *, deaf: bool = False) -> str:
        """A new, empty disk; a deaf one ignores fsync."""
        name = f"disk{next(self._numbers)}"
        (self.mount / name).mkdir()
        if deaf:
            self.order("deaf", name)
        return name

    def order(self, *words: object) -> None:
        """Give one of the file system's orders."""
        control = os.open(self.mount / "control", os.O_WRONLY)
        try:
            os.write(control, " ".join(map(str, words)).encode())
        finally:
            os.close(control)

    def changes(self, disk: str) -> int:
        """How often a disk was changed since the last order to it."""
        said = (self.mount / "control").read_text()
        return {name: int(count) for name, count in map(str.split, said.splitlines())}[disk]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One mount for all: a disk is a folder in it."""
    mount = tmp_path_factory.mktemp("lossy")
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, HERE / "lossyfs.py", mount], **pipes)  # type: ignore[call-overload]
    until(lambda: os.path.ismount(mount) or process.poll() is not None)
    if process.poll() is not None:
        why = process.communicate()[1].decode().strip().rpartition("\n")[2]
        pytest.skip(f"no FUSE file system can be mounted here: it needs libfuse, /dev/fuse and the right to ({why})")
    yield Rig(mount)
    process.communicate(timeout=PATIENCE)  # which ends its input, and it
    assert not os.path.ismount(mount)


class Powered(Trial):
    """One station on a disk that forgets, and one RUFUS.

    Either the station makes its state folder, or somebody else has (as systemd does), and has synced nothing.
    """

    def __init__(
        self, folder: Path, forge: Forge, rig: Rig, *, grace: float = 0, deaf: bool = False, made: bool = False
    ) -> None:
        super().__init__(folder, forge)
        self.rig, self.disk = rig, rig.disk(deaf=deaf)
        # On a card that has forgotten the call, the session was closed by somebody else, as far as the station knows.
        self.ends = ("closed", "fault") if deaf else ("closed",)
        self.station.configure(close={"grace": grace})
        self.station.state.rmdir()
        self.station.state = rig.mount / self.disk / "state"
        self.env["FAULT_DIR"] = str(self.station.state)
        if made:
            self.station.state.mkdir()

    def __enter__(self) -> Powered:
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__(*_)
        self.rig.order("forget", self.disk)

    @property
    def damaged(self) -> bool:
        """Whether a record that is on the disk lacks its facts."""
        files = [path for state in ("pending", "closed") for path in (self.station.state / state).glob("*.json")]
        return any(from_json("", path.read_text(errors="replace")).trigger == "unknown" for path in files)

    def starts(self, env: Mapping[str, str] | None = None) -> None:
        """Start the station, with nothing said yet."""
        self.station.log = ""
        self.station.start("17 high", env=env)

    def comes_to(self, *indications: str) -> bool:
        """Wait until the station shows one of these; False where its power is cut before."""
        process = self.station.process
        until(lambda: {*indications} & {*self.station.read()} or process.poll() is not None)
        return bool({*indications} & {*self.station.read()})

    def cut(self, before: int, seed: int) -> None:
        """Order the power to be cut just before a change of the disk, counted from now on."""
        self.rig.order("cut", self.disk, before, seed)

    def power_on(self, seed: int) -> set[str]:
        """If the power was not cut yet, it is now; then it is on again. What the station has shown."""
        if self.station.process:
            self.station.stop(signal.SIGKILL)
        self.cut(0, seed)
        self.rig.order("on", self.disk)
        return set(self.station.shown)

    def lives(self, before: int, seed: int) -> tuple[bool, bool]:
        """A life until the power is cut: if nothing is pending yet, with a press.

        Whether it said that the close is confirmed, or showed so by calling; and whether it called without one.
        """
        early = False
        pressed = self.on_disk
        if pressed:
            self.cut(before, seed)
        self.starts()
        if not pressed and self.comes_to("armed"):
            self.station.tell("17 low")
            self.comes_to("let_go")
            early = self.called
            self.cut(before, seed)
            self.station.tell("17 high")
        self.comes_to(*self.ends)
        return bool(self.power_on(seed) & CONFIRMED) or self.called, early


def changes(folder: Path, forge: Forge, rig: Rig) -> int:
    """How often the disk is changed from the button's release to "closed"."""
    with Powered(folder, forge, rig) as trial:
        trial.starts()
        trial.comes_to("armed")
        trial.station.tell("17 low")
        trial.comes_to("let_go")
        trial.cut(NEVER, 0)
        trial.station.tell("17 high")
        trial.comes_to("closed")
        return rig.changes(trial.disk)


def cut_again_and_again(
    folder: Path, forge: Forge, rig: Rig, family: Family, stations: int, deaf: bool = False
) -> None:
    """Cut the power of so many stations in each of their lives but the last, which must come to "closed"."""
    most = changes(folder, forge, rig)

    def run(number: int) -> None:
        chance = random.Random(SEED + number)
        grace, made = chance.choice([0, 0.1]), chance.choice([False, True])
        with Powered(folder, forge, rig, grace=grace, deaf=deaf, made=made) as trial:
            said = lost = False
            for life in range(1, LIVES):
                before, seed = chance.randint(1, most + 1), chance.randrange(NEVER)
                said_now, early = trial.lives(before, seed)
                said = said or said_now
                lost = said and not trial.on_disk
                wrong = "a damaged record" if trial.damaged else ""
                point = f"seed {SEED + number}, life {life}, before change {before}"
                family.check(point, lost=lost, false=early, wrong=wrong)
                if lost:
                    return
            _, early = trial.lives(NEVER, 0)
            left = list(trial.station.state.rglob("*.tmp"))
            wrong = f"left behind: {left}" if left else ""
            family.check(f"seed {SEED + number}, last life", lost=not trial.closed, false=early, wrong=wrong, tried=0)

    family.each(list(range(stations)), run)


def test_the_power_is_cut_at_random_moments(tmp_path: Path, forge: Forge, rig: Rig, family: Family) -> None:
    """The power is cut again and again, from just before the confirmation to "closed", and what is unsynced is lost."""
    family.name += f" (seed {SEED})"
    cut_again_and_again(tmp_path, forge, rig, family, 70)
    assert family.tried >= 200


def test_a_disk_that_ignores_fsync_loses_closes(tmp_path: Path, forge: Forge, rig: Rig) -> None:
    """The check can fail: on a card that lies, the same cuts lose what was said to be confirmed."""
    found = Family("")
    cut_again_and_again(tmp_path, forge, rig, found, 12, deaf=True)
    assert found.lost
    assert not found.false


def test_the_power_is_cut_during_close(tmp_path: Path, forge: Forge, rig: Rig, family: Family) -> None:
    """The power is cut during `rufusd close`."""
    with Powered(tmp_path, forge, rig) as trial:
        assert trial.station.command("close").returncode == 0
        most = rig.changes(trial.disk)

    def run(number: int) -> None:
        chance = random.Random(SEED + number)
        before, seed, made = chance.randint(1, most + 1), chance.randrange(NEVER), chance.choice([False, True])
        with Powered(tmp_path, forge, rig, made=made) as trial:
            trial.cut(before, seed)
            said = "confirmed:" in trial.station.command("close").stdout
            trial.power_on(seed)
            confirmed = trial.on_disk
            trial.starts()
            trial.station.shows("closed" if confirmed else "armed")
            lost = not trial.closed if confirmed else said
            point = f"seed {SEED + number}, before change {before}"
            family.check(point, lost=lost, false=trial.called and not confirmed)

    family.each(list(range(40)), run)


def test_the_power_is_cut_during_withdraw(tmp_path: Path, forge: Forge, rig: Rig, family: Family) -> None:
    """The power is cut during `rufusd withdraw`."""
    with Powered(tmp_path, forge, rig) as trial:
        assert trial.station.command("close").returncode == 0
        trial.cut(NEVER, 0)
        assert trial.station.command("withdraw", trial.token).returncode == 0
        most = rig.changes(trial.disk)

    def run(number: int) -> None:
        chance = random.Random(SEED + number)
        before, seed = chance.randint(1, most + 1), chance.randrange(NEVER)
        with Powered(tmp_path, forge, rig) as trial:
            assert trial.station.command("close").returncode == 0
            trial.cut(before, seed)
            said = "withdrawn:" in trial.station.command("withdraw", trial.token).stdout
            trial.power_on(seed)
            taken_back(trial, family, f"seed {SEED + number}, before change {before}", said)

    family.each(list(range(40)), run)


def test_the_power_is_cut_during_a_press_that_takes_back(
    tmp_path: Path, forge: Forge, rig: Rig, family: Family
) -> None:
    """The power is cut while a press at the button takes a close back."""

    def run(number: int) -> None:
        chance = random.Random(SEED + number)
        before, seed = chance.randint(1, 8), chance.randrange(NEVER)
        with Powered(tmp_path, forge, rig, grace=1.5) as trial:
            trial.starts()
            trial.comes_to("armed")
            trial.station.press()
            trial.station.shows("grace")
            trial.cut(before, seed)
            trial.station.tell("wait 0.55", "17 low", "wait 0.2", "17 high")
            said = trial.comes_to("withdrawn")
            trial.power_on(seed)
            taken_back(trial, family, f"seed {SEED + number}, before change {before}", said)

    family.each(list(range(24)), run)


def taken_back(trial: Powered, family: Family, point: str, said: bool) -> None:
    """After a cut a close is withdrawn if that was said, and else pending or withdrawn: either is as good.

    It may even be in both folders, where the cut came between its rename and that of its last facts: it is pending.
    """
    places = [state for state in ("pending", "withdrawn") if trial.station.records(state)]
    wrong = f"the record is in {places}" if not places or (said and places != ["withdrawn"]) else ""
    trial.starts()
    until(lambda: {"armed", "closed"} & set(trial.station.read()))
    closed = trial.closed
    record = trial.station.records("closed" if closed else "withdrawn")
    family.check(point, lost=not record or (trial.called and not closed), false=said and trial.called, wrong=wrong)


#: What is killed as soon as it has renamed a file, before the folder is synced; that file; and the state it came to.
KILLED = {
    "the daemon that confirms": ("pending/.{}.json.tmp", "pending"),
    "close": ("pending/.{}.json.tmp", "pending"),
    "withdraw": ("pending/{}.json", "withdrawn"),
    "withdraw, with its last facts": ("withdrawn/.{}.json.tmp", "withdrawn"),
    "the daemon that has closed": ("pending/{}.json", "closed"),
    "the daemon that has closed, with its last facts": ("closed/.{}.json.tmp", "closed"),
}
#: How the next life or another command tells each state, in words.
TOLD = {"pending": "is confirmed already", "withdrawn": "is withdrawn already", "closed": "is closed already"}


def test_the_power_is_cut_after_a_state_was_told_that_a_killed_process_left(
    tmp_path: Path, forge: Forge, rig: Rig, family: Family
) -> None:
    """kill -9 between a rename and its folder's fsync; another process tells the state; then the power is cut."""

    def run(point: tuple[str, str, int]) -> None:
        killed, teller, number = point
        renamed, state = KILLED[killed]
        with Powered(tmp_path, forge, rig, grace=0 if state == "closed" else 300) as trial:
            leave(trial, killed, {**trial.env, "FAULT_RENAMED": str(trial.station.state / renamed.format(trial.token))})
            told = tells(trial, teller, state)
            trial.power_on(SEED + number)
            places = [each for each in ("pending", "withdrawn", "closed") if trial.station.records(each)]
            wrong = "" if told else f"{state} is not told"
            if told and places != [state]:
                wrong = f"{state} was told, and after the cut the record is in {places}"
            lost = told and state == "pending" and not trial.on_disk
            family.check(f"seed {SEED + number}, {killed}, then {teller}", lost=lost, wrong=wrong)

    family.each(list(itertools.product(KILLED, ("the same command", "status", "a new life"), range(5))), run)


def leave(trial: Powered, killed: str, env: Mapping[str, str]) -> None:
    """What a killed process leaves: a state that its rename made, and that nobody has synced."""
    station = trial.station
    if killed == "close":
        assert station.command("close", env=env).returncode == -signal.SIGKILL
    elif killed.startswith("withdraw"):
        assert station.command("close").returncode == 0
        assert station.command("withdraw", trial.token, env=env).returncode == -signal.SIGKILL
    else:
        trial.starts(env)
        trial.comes_to("armed")
        station.press()
        until(lambda: station.process.poll() is not None)
        assert station.stop() == -signal.SIGKILL


def tells(trial: Powered, teller: str, state: str) -> bool:
    """Whether another process tells this state."""
    station = trial.station
    if teller == "a new life":
        trial.starts()
        return trial.comes_to({"pending": "grace", "withdrawn": "armed", "closed": "closed"}[state])
    if teller == "status":
        return [(each["state"], each["durable"]) for each in station.status()["closes"]] == [(state, True)]
    command = ["withdraw", trial.token] if state == "withdrawn" else ["close"]
    ended = station.command(*command)
    return TOLD[state] in ended.stdout + ended.stderr


def test_the_file_system_forgets_what_was_not_synced_and_nothing_else(rig: Rig) -> None:
    """The rig itself: over many chances, what was synced always stays; all else is seen both to stay and to go."""
    seen: set[object] = set()
    for seed in range(200):
        disk = rig.disk()
        folder = rig.mount / disk
        for name in ("synced", "renamed", "unnamed", "unwritten"):
            with open(folder / name, "wb", buffering=0) as file:
                file.write(b"1" * 700)
                if name != "unwritten":
                    os.fsync(file.fileno())
            if name in ("synced", "renamed"):
                fsync(folder)
        (folder / "renamed").rename(folder / "moved")
        rig.order("cut", disk, 0, seed)
        with pytest.raises(OSError, match="Input/output"):
            (folder / "while it is off").touch()
        rig.order("on", disk)
        left = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert left.pop("synced") == b"1" * 700
        assert ("renamed" in left) != ("moved" in left)
        assert {left.get(name, b"1" * 700) for name in ("renamed", "moved", "unnamed")} == {b"1" * 700}
        seen |= {*left, *{f"no {name}" for name in ("renamed", "moved", "unnamed", "unwritten") if name not in left}}
        seen.add(left.get("unwritten"))
        rig.order("forget", disk)
    names = {"renamed", "moved", "unnamed", "unwritten"}
    assert seen >= names | {f"no {name}" for name in names}
    torn = b"1" * 512 + bytes(188), bytes(512) + b"1" * 188
    assert seen >= {b"", bytes(700), b"1" * 700, *torn}


def fsync(folder: Path) -> None:
    opened = os.open(folder, os.O_DIRECTORY)
    os.fsync(opened)
    os.close(opened)
