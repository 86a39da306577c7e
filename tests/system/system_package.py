"""rufusd as apt installs it, on real systemds: from the first install to the purge, a venue's troubles in between."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from installed import CONFIG, DEB, EDITORS, SPOOL, UNIT, Installed
from pages import blocks, fits
from stations import until

HERE = Path(__file__).parent
TROUBLES = [block for block in blocks(HERE.parents[1] / "docs" / "troubleshooting.md") if block.kind == "machine"]


# -- installation


def test_one_command_installs_it_and_it_waits_for_its_configuration(bare: Installed) -> None:
    """Without key and token it says so, once, to who installs, in status and journal; saving them starts it."""
    machine = bare.machine
    said = bare.install()
    assert "fill in the key and the token in /etc/rufusd/config.toml" in said
    assert machine.run("stat", "--format=%a %U:%G", CONFIG).strip() == "640 root:rufusd"
    assert "gpio" in machine.run("id", "--name", "--groups", "rufusd").split()
    assert machine.run("systemctl", "is-enabled", UNIT).strip() == "enabled"
    until(lambda: machine.show("ActiveState") == "failed")
    status = machine.run("systemctl", "status", "--full", UNIT, check=False)
    assert f"{CONFIG} is invalid, `rufusd check` says why; to save it mended is enough" in status
    time.sleep(3)  # longer than RestartSec
    assert (machine.show("ActiveState"), machine.show("NRestarts")) == ("failed", "0")
    told = machine.journal("--lines=30")
    assert (told.count("api.key: "), told.count("session.token: ")) == (1, 1)
    del bare.tables["button"], bare.tables["led"]  # nothing stands for their lines yet
    bare.configure()
    until(lambda: machine.show("SubState") == "running")
    assert bare.view()["session"]["token"] == bare.token


def test_a_dry_run_of_the_units_finds_nothing_to_say(installed: Installed) -> None:
    """Neither systemd 252 nor 257 knows anything against them, and both call the exposure at most 1.5."""
    units = [f"/usr/lib/systemd/system/rufusd.{kind}" for kind in ("service", "path", "slice")]
    assert installed.machine.run("systemd-analyze", "verify", "--man=no", *units).strip() == ""
    said = installed.machine.run("systemd-analyze", "security", "--no-pager", "--threshold=15", UNIT)
    print(said[said.index("→") :])


def test_the_daemon_can_do_what_it_needs_and_nothing_else(installed: Installed) -> None:
    """Tried from inside its sandbox, as its user."""
    machine = installed.machine
    shutil.copy(HERE / "probe.py", machine.path("/opt/test/probe.py"))
    installed.drop_in("probe", "[Service]\nExecStartPre=/usr/bin/python3 /opt/test/probe.py\n")
    installed.start()
    found = json.loads(machine.run("cat", "/run/rufusd/probe.json"))
    print(found)
    assert found["can"] == sorted([
        "read the Pi's model", "read the boot's id", "read its configuration",
        "write its state", "write its runtime folder", "use IPv4", "use IPv6", "hear of networks",
    ])  # fmt: skip
    pid = installed.pid()
    assert machine.show("OOMScoreAdjust") == "-900"  # which a container's processes cannot have
    assert machine.run("stat", "--format=%U", f"/proc/{pid}").strip() == "rufusd"


def test_the_key_can_be_a_credential(installed: Installed) -> None:
    """By the example: the configuration has no key, and root's file is for root only."""
    machine = installed.machine
    key = installed.tables["api"].pop("key")
    installed.configure()
    machine.write("/etc/rufusd/credential", key + "\n")
    machine.run("chmod", "600", "/etc/rufusd/credential")
    example = "/usr/share/doc/rufusd/examples/credential.conf"
    machine.run("install", "-D", "-m", "644", example, f"/etc/systemd/system/{UNIT}.d/credential.conf")
    machine.run("systemctl", "daemon-reload")
    installed.start()
    installed.press()
    until(lambda: installed.rufus.is_closed(installed.token))


# -- the service


def test_a_press_closes_the_session(station: Installed) -> None:
    """From the button's level to RUFUS's answer, through gpiozero and lgpio."""
    station.press()
    until(lambda: station.rufus.is_closed(station.token))
    station.shows("closed")
    assert station.records("closed") == [station.token]
    assert "closed" in station.machine.run("rufusd", "status")


def test_everybody_may_watch(station: Installed) -> None:
    """The unit's sandbox has the socket, and its rights are those of status.json: data for all."""
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    said = station.machine.try_(*as_nobody, "timeout", "10", "rufusd", "watch")
    assert "button   high  released, hold" in said.stdout, said.stderr


def test_killed_it_is_back_and_delivers(station: Installed) -> None:
    """kill -9 while a close is pending, and again and again: it never gives up."""
    station.rufus.tell("offline")
    station.press()
    station.shows("pending")
    for count in range(1, 7):  # systemd's own limit is five
        killed = station.pid()
        station.machine.run("sh", "-c", f"kill -KILL {killed}")
        until(lambda killed=killed: station.pid() not in (0, killed))  # type: ignore[misc]
        until(lambda: station.machine.show("SubState") == "running")
        assert station.machine.show("NRestarts") == str(count)
        assert station.machine.show("ActiveState", "rufusd.path") == "active"
        assert station.records("pending") == [station.token]
    station.rufus.tell("online")
    until(lambda: station.rufus.is_closed(station.token))


def test_hung_it_is_caught_by_the_watchdog(installed: Installed) -> None:
    """Stopped in its tracks it is killed, started anew, and armed."""
    installed.drop_in("watchdog", "[Service]\nWatchdogSec=2\nTimeoutStopSec=1\n")
    installed.start()
    hung = installed.pid()
    installed.machine.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT)
    until(lambda: installed.pid() not in (0, hung), patience=30)
    installed.shows("armed")
    assert "Watchdog timeout" in installed.machine.journal("--lines=30")


def test_it_stops_within_two_seconds(station: Installed) -> None:
    """In the middle of a call that RUFUS is slow to answer; the close stays pending, and is delivered afterwards."""
    station.rufus.tell("slow 60")
    station.press()
    until(lambda: (station.view()["closes"] or [{}])[0].get("phase") == "sending", patience=30)
    began = time.monotonic()
    station.machine.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began < 2
    assert (station.machine.show("Result"), station.machine.show("ActiveState")) == ("success", "inactive")
    assert station.records("pending") == [station.token]
    station.rufus.tell("online")
    station.machine.run("systemctl", "start", UNIT)
    until(lambda: station.records("closed") == [station.token])


# -- its configuration


def test_it_reloads(station: Installed) -> None:
    """`systemctl reload` takes up another session, without a new process."""
    pid = station.pid()
    other = station.rufus.open("START-10K")
    station.configure(session={"token": other})
    station.machine.run("systemctl", "reload", UNIT)
    until(lambda: station.view()["session"]["token"] == other)
    until(lambda: station.machine.show("SubState") == "running")
    assert station.pid() == pid
    station.press()
    until(lambda: station.rufus.is_closed(other))


@pytest.mark.parametrize("how", EDITORS)
def test_while_it_runs_saving_is_enough(station: Installed, how: str) -> None:
    """A broken configuration changes nothing but says so; the mended one counts; no restart, no command."""
    pid, good = station.pid(), station.tables["session"]["token"]
    station.configure(session={"token": "?"})
    station.shows("fault")
    assert station.view()["session"]["token"] == good
    other = station.rufus.open("START-10K")
    station.configure(how, session={"token": other})
    until(lambda: station.view()["session"]["token"] == other)
    station.shows("armed")
    assert station.pid() == pid


@pytest.mark.parametrize("how", EDITORS)
def test_where_it_could_not_start_saving_is_enough(station: Installed, how: str) -> None:
    """Started with a broken configuration it fails, plainly; saved again, still broken, likewise; mended, it runs."""
    station.configure(session={"token": "?"})
    station.machine.run("systemctl", "restart", UNIT, check=False)
    for _ in range(2):
        until(lambda: station.machine.show("ActiveState") == "failed")
        tried = station.machine.show("ExecMainStartTimestampMonotonic")
        station.configure(how, session={"token": "??"})
        until(lambda tried=tried: station.machine.show("ExecMainStartTimestampMonotonic") != tried)  # type: ignore[misc]
    until(lambda: station.machine.show("ActiveState") == "failed")
    station.configure(how, session={"token": station.token})
    station.shows("armed")


def test_stopped_by_hand_it_stays_so(station: Installed) -> None:
    """Whoever stopped it meant it: saving the configuration does not start it."""
    station.machine.run("systemctl", "stop", UNIT)
    station.configure(session={"name": "LATER"})
    time.sleep(2)
    assert (station.machine.show("ActiveState"), station.machine.show("ActiveState", "rufusd.path")) == (
        "inactive",
    ) * 2
    station.start()
    assert station.machine.show("ActiveState", "rufusd.path") == "active"


def test_by_questions_a_station_that_has_no_configuration_gets_one_and_starts(installed: Installed) -> None:
    """From the example that the package brings; for root to write and rufusd to read. RUFUS cannot be reached here."""
    machine = installed.machine
    machine.run("rm", CONFIG)
    machine.run("systemctl", "start", UNIT, check=False)
    until(lambda: machine.show("ActiveState") == "failed")
    answers = [installed.rufus.key, installed.token, "BY QUESTIONS", "", "", "", "", "", "", "yes"]
    said = machine.run("rufusd", "configure", stdin="".join(f"{answer}\n" for answer in answers))
    assert "Saved." in said
    assert installed.rufus.key not in said
    assert machine.run("stat", "--format=%a %U:%G", CONFIG).strip() == "640 root:rufusd"
    installed.shows("armed")
    assert installed.view()["session"] == {"token": installed.token, "name": "BY QUESTIONS"}


# -- the page on troubles


@pytest.mark.parametrize("situation", sorted({block.situation for block in TROUBLES}))
def test_the_troubleshooting_page_shows_what_the_service_manager_prints(station: Installed, situation: str) -> None:
    """Each command as it stands there, but for sudo, which root has no use for; until what it shows is printed."""
    said = ""

    def printed(command: str, shown: str) -> bool:
        nonlocal said
        said = station.machine.run("sh", "-c", command.replace("sudo ", ""), check=False)
        return fits(said, shown)

    if situation == "a mistake in the configuration":
        station.configure(button={"hold_tiem": 3})
        station.machine.run("systemctl", "restart", UNIT, check=False)
        until(lambda: station.machine.show("ActiveState") == "failed")
    else:
        assert situation == "running"
    for block in TROUBLES:
        for command, shown in block.steps if block.situation == situation else ():
            try:
                until(lambda command=command, shown=shown: printed(command, shown), patience=10)  # type: ignore[misc]
            except AssertionError:
                raise AssertionError(f"troubleshooting.md:{block.line}: $ {command}\n{said}") from None


# -- the package's later life


def test_an_upgrade_in_the_middle_of_a_pending_close_loses_nothing(station: Installed, tmp_path: Path) -> None:
    """The new version runs, the close is pending there, the configuration is the old one, with its rights."""
    station.rufus.tell("offline")
    station.press()
    station.shows("pending")
    before = station.machine.path(CONFIG).read_text()
    newer = _another_version(station, tmp_path)
    station.install(newer)
    until(lambda: station.view().get("daemon", {}).get("version") == "0.1.0.1")
    station.shows("pending")
    assert station.records("pending") == [station.token]
    assert station.machine.path(CONFIG).read_text() == before
    assert station.machine.run("stat", "--format=%a %U:%G", CONFIG).strip() == "640 root:rufusd"
    station.rufus.tell("online")
    until(lambda: station.rufus.is_closed(station.token))
    until(lambda: station.records("closed") == [station.token])
    station.purge()


def test_removed_it_keeps_its_closes_and_reinstalled_it_delivers_them(station: Installed) -> None:
    """Only what is the package's goes; the configuration and the close are there when it is installed again."""
    station.rufus.tell("offline")
    station.press()
    station.shows("pending")
    station.machine.run("apt-get", "remove", "--yes", "--quiet", "rufusd")
    assert station.machine.show("ActiveState") == "inactive"
    assert station.machine.try_("which", "rufusd").returncode != 0
    assert station.records("pending") == [station.token]
    assert station.machine.run("stat", "--format=%a %U:%G", CONFIG).strip() == "640 root:rufusd"
    station.rufus.tell("online")
    assert "fill in" not in station.install()
    until(lambda: station.rufus.is_closed(station.token))
    assert station.machine.show("ActiveState") == "active"


def test_purged_it_leaves_nothing_and_says_which_closes_were_pending(station: Installed) -> None:
    """The token and the name of each; the folders are gone, and so are the unit's links."""
    station.rufus.tell("offline")
    station.press()
    station.shows("pending")
    said = station.machine.run("apt-get", "purge", "--yes", "--quiet", "rufusd")
    assert re.search(rf"never told so.*\n.*{station.token} FINISH-10K\n", said)
    for folder in (SPOOL, "/etc/rufusd", "/run/rufusd"):
        assert not station.machine.path(folder).exists(), folder
    links = station.machine.run("find", "/etc/systemd/system", "-name", "rufusd*", "!", "-path", f"*/{UNIT}.d*")
    assert links == ""
    units = ("rufusd.service", "rufusd.path")
    assert station.machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", *units) == ""


def _another_version(station: Installed, folder: Path) -> str:
    """The same package as a later one."""
    source, tree, file = station.machine.path(DEB), folder / "tree", folder / "newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", source, tree], check=True)
    for name in ("DEBIAN/control", "usr/lib/python3/dist-packages/rufusd/__init__.py"):
        text = (tree / name).read_text()
        assert "0.1.0" in text
        (tree / name).write_text(text.replace("0.1.0", "0.1.0.1"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, file], check=True, stdout=subprocess.DEVNULL)
    shutil.copy(file, station.machine.path("/root/newer.deb"))
    return "/root/newer.deb"
