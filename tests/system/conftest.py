"""What the system tests begin with: a machine for each release, RUFUS's stand-in in it, and rufusd installed by apt."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import Installed
from machine import REPOSITORY, Machine, Rufus
from rootfs import RELEASES, rootfs


@pytest.fixture(scope="session")
def package() -> Path:
    """What `make deb` has made."""
    if os.geteuid() != 0:
        pytest.skip("the system tests need root: sudo make system-test")
    if missing := [tool for tool in ("systemd-nspawn", "mmdebstrap", "nsenter") if not shutil.which(tool)]:
        pytest.skip(f"the system tests need {', '.join(missing)}: `make system-test` installs them")
    found = sorted((REPOSITORY / "dist").glob("rufusd_*_all.deb"), key=lambda file: file.stat().st_mtime)
    if not found:
        pytest.skip("the system tests need the package: make deb")
    return found[-1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--release`: only this one."""
    parser.addoption("--release", choices=RELEASES, help="test on this Debian release only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that asks for a machine is run on each release."""
    only = metafunc.config.getoption("--release")
    if "machine" in metafunc.fixturenames:
        metafunc.parametrize("machine", [only] if only else RELEASES, indirect=True, scope="session")


@pytest.fixture(scope="session")
def machine(
    request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A booted machine, on which nothing of rufusd's is yet."""
    with rootfs(request.param, package) as root:
        try:
            booted = Machine(root, tmp_path_factory.mktemp("nspawn") / "log")
        except RuntimeError as error:
            pytest.skip(f"no machine boots here: {error}")
        yield booted
        booted.stop()


@pytest.fixture(scope="session")
def rufus(machine: Machine) -> Iterator[Rufus]:
    """The stand-in for RUFUS in that machine."""
    started = Rufus(machine)
    yield started
    started.stop()


@pytest.fixture
def bare(machine: Machine, rufus: Rufus, package: Path) -> Iterator[Installed]:
    """A station on which rufusd was never installed."""
    station = Installed(machine, rufus, package)
    station.purge()
    rufus.tell("online")
    yield station
    print(machine.journal("--since=-5min"))  # pytest shows it where the test has failed


@pytest.fixture
def installed(machine: Machine, rufus: Rufus, package: Path) -> Iterator[Installed]:
    """A station that was never used, with rufusd installed, stopped and configured for a session that is open."""
    station = Installed(machine, rufus, package)
    station.clear()
    rufus.tell("online")
    yield station
    print(machine.journal("--since=-5min"))


@pytest.fixture
def station(installed: Installed) -> Installed:
    """The same, running and armed."""
    installed.start()
    return installed
