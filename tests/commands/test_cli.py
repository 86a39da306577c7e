"""The commands, as a technician, a script and systemd run them: real processes, their output and exit statuses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest
from stations import Fresh, Station, as_nobody, ended, toml, until, within

from rufusd import __version__
from rufusd.adapters.closes import disk
from rufusd.adapters.closes.disk import volatile_mount
from rufusd.adapters.closes.records import PENDING, WITHDRAWN, Records
from rufusd.commands import cli, output, syntax
from rufusd.daemon.world import new_record
from rufusd.training.sandbox import Sandbox

Make = Callable[..., Station]


def rufusd(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return Fresh().run([sys.executable, "-m", "rufusd", *arguments], env)


# -- usage


def test_help_names_every_command_and_is_quick() -> None:
    """`rufusd --help` takes under 0.3 s of the processor, which is all it waits for: the best of five."""
    times = []
    for _ in range(5):
        began = os.times()
        said = rufusd("--help")
        ended = os.times()
        times.append(ended.children_user + ended.children_system - began.children_user - began.children_system)
    assert said.returncode == 0
    for command in (
        *("run", "configure", "check", "status", "watch", "doctor", "close", "withdraw", "retry"),
        *("simulate", "sandbox", "demo"),
    ):
        assert f"\n    {command}" in said.stdout
    assert min(times) < 0.3


@pytest.mark.parametrize(
    ("given", "meant"), [(None, "timeout:2 attempts:2"), ("timeout:9", "timeout:9")], ids=["by default", "as told"]
)
def test_the_name_servers_are_asked_in_a_hurry_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, station: Station, given: str | None, meant: str
) -> None:
    """glibc's own 5 s for each would outlast any deadline, since nothing can interrupt it (resolv.conf(5))."""
    monkeypatch.setenv("RES_OPTIONS", given or "")  # in any case, so that it is restored
    if given is None:
        monkeypatch.delenv("RES_OPTIONS")
    cli.main(station.arguments("check")[3:])
    assert os.environ["RES_OPTIONS"] == meant


def test_version() -> None:
    """`rufusd --version` says which."""
    assert rufusd("--version").stdout.strip() == f"rufusd {__version__}"


def test_without_a_command_it_says_which_there_are() -> None:
    """On standard error, since nothing was done."""
    ended = rufusd()
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", rufusd("--help").stdout)


@pytest.mark.parametrize("arguments", [[], ["clsoe"], ["run", "--confg", "x"], ["withdraw"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    """And the right one is shown."""
    ended = rufusd(*arguments)
    assert ended.returncode == 2
    assert "usage: rufusd" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_daemon_imports_neither_requests_nor_gpiozero_before_it_needs_them() -> None:
    """The inputs are watched before requests is imported; what only asks imports neither, nor tomlkit."""
    late = ("requests", "gpiozero", "tomlkit")
    probe = f"import sys, rufusd.commands.cli, rufusd.daemon.loop; print([m for m in {late} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"


# -- check


def test_check_says_all_problems_at_once_each_with_its_line(station: Station) -> None:
    """FILE:LINE: KEY: what is wrong; status 78."""
    station.config.write_text('[api]\nkey = "ror-0"\n[session]\ntoken = "short"\n[button]\npin = 17\nhold_tiem = 3\n')
    ended = station.command("check")
    assert ended.returncode == 78
    file = station.config
    assert [line for line in ended.stderr.splitlines() if line.startswith(str(file))] == [
        f'{file}:4: session.token: "short" is a text; expected the session\'s token: 8 to 128 of A-Z a-z 0-9 _ -',
        f"{file}:7: button.hold_tiem: there is no such key; did you mean button.hold_time?",
    ]


def test_check_of_a_good_file_says_what_it_will_close(station: Station) -> None:
    """Status 0, and the session's name: the technician sees whether it is the right one."""
    ended = station.command("check")
    assert ended.returncode == 0
    assert "FINISH-10K" in ended.stdout
    assert "GPIO17" in ended.stdout


def test_check_marks_warnings_and_passes(station: Station) -> None:
    """A warning is said, marked so, and is no failure."""
    station.configure(button={"pull": "down"})
    ended = station.command("check")
    assert ended.returncode == 0
    assert ": button.pull: warning: " in ended.stderr
    assert "cut cable" in ended.stderr


def test_the_example_file_needs_only_key_and_token(station: Station) -> None:
    """As shipped, exactly these two are wrong; filled in, it passes without a warning."""
    example = (Path(__file__).parents[2] / "config" / "config.toml").read_text(encoding="utf-8")
    station.config.write_text(example, encoding="utf-8")
    ended = station.command("check")
    assert ended.returncode == 78
    found = [line.split(": ") for line in ended.stderr.splitlines()]
    assert [words[1] for words in found if words[0] != "rufusd"] == ["api.key", "session.token"]
    filled = example.replace("PUT-YOUR-KEY-HERE", "ror-0123456789abcdef0123")
    filled = filled.replace("PUT-THE-TOKEN-OF-YOUR-SESSION-HERE", "0123456789ABCDEF" * 4)
    station.config.write_text(filled, encoding="utf-8")
    ended = station.command("check")
    assert ended.returncode == 0
    assert str(station.config) not in ended.stderr


def test_the_example_file_knows_every_key_and_its_default() -> None:
    """Each line that is commented out is a real key, and those that say so have the default."""
    from dataclasses import MISSING, fields

    import tomli

    from rufusd.core.settings import TABLES

    example = (Path(__file__).parents[2] / "config" / "config.toml").read_text(encoding="utf-8")
    whole = "\n".join(
        line[2:]
        if line.startswith("# ") and (" = " in line or line[2] == "[") and not line.endswith(("...", "."))
        else line
        for line in example.splitlines()
    )
    tree = tomli.loads(whole)
    for name, table in TABLES.items():
        assert set(tree[name]) == {field.name for field in fields(table)}
        for field in fields(table):
            if field.default not in (MISSING, None, "") and f"{name}.{field.name}" != "reader.pull":
                assert tree[name][field.name] == field.default


@pytest.mark.parametrize("command", ["run", "simulate", "check", "close", "retry"])
def test_an_invalid_configuration_is_status_78(station: Station, command: str) -> None:
    """EX_CONFIG, whatever wanted it; no pin is opened, no traceback shown."""
    if command == "retry":  # has use for a configuration only where something is pending
        station.command("close")
    station.config.write_text("[session]\ntoken = 3\n")
    ended = station.command(command)
    assert ended.returncode == 78
    assert f"{station.config}:2: session.token: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_configuration_says_what_to_do(station: Station) -> None:
    """A sentence with the file's name, not a traceback."""
    station.config.unlink()
    ended = station.command("run")
    assert ended.returncode == 78
    assert str(station.config) in ended.stderr
    assert "copy the example" in ended.stderr


def test_a_slip_in_a_terminal_does_not_end_the_training(station: Station) -> None:
    """What is typed after it is done; from a pipe it is the end, since a script has no eyes."""
    ours, terminal = pty.openpty()
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with station.launcher.start(station.arguments("simulate"), stdin=terminal, **pipes) as process:
        os.write(ours, b"17 lwo\nquit\n")
        said = process.communicate(timeout=60)[1].decode()
    os.close(ours)
    os.close(terminal)
    assert (process.returncode, '"17 lwo" is not a command' in said) == (0, True)


@pytest.mark.parametrize("command", ["status", "doctor", "sandbox"])
def test_a_disk_that_is_too_full_for_the_answer_is_no_defect(station: Station, command: str) -> None:
    """Whether it is written at the end, or line by line: what is told is the disk's error."""
    arguments = [sys.executable, "-m", "rufusd", command, "--port", "0"]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            arguments if command == "sandbox" else station.arguments(command),
            **{"stdin": subprocess.DEVNULL, "stdout": full, "stderr": subprocess.PIPE},
            **{"encoding": "utf-8", "timeout": 30, "check": False, "env": {**os.environ, "PYTHONUNBUFFERED": ""}},
        )
    said = "rufusd: cannot write what it has to say (no space left on device)\n"
    assert (ended.returncode, ended.stderr) == (1, said)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_terminal_that_is_gone_is_no_fault_of_the_disk(station: Station, unbuffered: str) -> None:
    """Promise 4: a close that is confirmed, and safely, is not called unsafe since nobody can read so any more."""
    station.command("close")
    ours, terminal = pty.openpty()
    os.close(ours)
    streams = {"stdout": terminal, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(station.arguments("close"), **streams, env=environment, timeout=60, check=False)
    os.close(terminal)
    assert (ended.returncode, ended.stderr) == (1, "rufusd: cannot write what it has to say (input/output error)\n")
    assert station.records("pending")


def test_a_json_that_cannot_be_written_is_no_defect(station: Station) -> None:
    """Also where Python writes at once, and nothing is left to be flushed."""
    with open("/dev/full", "wb") as full:
        streams = {"stdout": full, "stderr": subprocess.PIPE, "encoding": "utf-8"}
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        arguments = [*station.arguments("status"), "--json"]
        ended = subprocess.run(arguments, **streams, env=environment, timeout=60, check=False)
    said = "rufusd: cannot write what it has to say (no space left on device)\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_the_configuration_may_be_named_by_the_environment(station: Station) -> None:
    """$RUFUSD_CONFIG, where --config is not given."""
    assert rufusd("check", RUFUSD_CONFIG=str(station.config)).returncode == 0


@pytest.mark.parametrize("place", ["state", "state/pending", "state/withdrawn"])
@pytest.mark.parametrize("what", ["a file", "a link in a circle", "a link"])
def test_promise_5_check_warns_of_what_stands_in_the_place_of_a_folder(station: Station, place: str, what: str) -> None:
    """Promise 5: no close could be confirmed there. The state folder itself may be a link to one."""
    path = station.folder / place
    if path.exists():
        path.rmdir()
    if what == "a file":
        path.write_text("in the way", encoding="utf-8")
    else:
        path.symlink_to(path.name if what == "a link in a circle" else station.folder)
    said = station.command("check")
    assert said.returncode == 0
    good = place == "state" and what == "a link"
    assert (f"warning: {path} is no folder" in said.stderr) is not good


# -- close, withdraw, retry


def test_close_and_withdraw_without_a_daemon(station: Station, token: str) -> None:
    """Confirmed on disk, seen by status, taken back by the token's beginning."""
    ended = station.command("close", "--reason", "the last runner is in")
    assert ended.returncode == 0
    assert "confirmed" in ended.stdout
    assert "not now" in ended.stdout
    record = json.loads((station.state / "pending" / f"{token}.json").read_text(encoding="utf-8"))
    assert (record["trigger"], record["reason"]) == ("command", "the last runner is in")
    assert station.status()["closes"][0]["state"] == "pending"
    again = station.command("close").stdout
    assert "confirmed already" in again
    assert "sudo systemctl start rufusd" in again
    ended = station.command("withdraw", token[:6])
    assert ended.returncode == 0
    assert station.records("withdrawn") == [token]
    again = station.command("withdraw", token)
    assert again.returncode == 1
    assert "withdrawn already" in again.stderr


@pytest.mark.parametrize("name", ["../../x", "../closed/some-token", "/etc/passwd", "\x1b[2Jtoken", ""])
def test_withdraw_takes_no_path_for_a_token(station: Station, name: str) -> None:
    """Promise 6: as root, too, it moves nothing, and the terminal gets no control from it."""
    station.command("close")
    victim = station.state / "x.json"
    victim.write_text("{}", encoding="utf-8")
    ended = station.command("withdraw", name)
    assert ended.returncode == 1
    assert "rufusd status" in ended.stderr or "give more of the token" in ended.stderr
    assert "\x1b" not in ended.stderr
    assert victim.exists()
    assert len(station.records("pending")) == 1


def test_a_long_reason_is_shortened_and_said_so(station: Station, token: str) -> None:
    """Promise 2: a script's long reason keeps no close from being confirmed, and costs none of its facts."""
    ended = station.command("close", "--reason", "long " * 20_000)
    assert ended.returncode == 0
    assert "first 1000 characters" in ended.stderr
    record = json.loads((station.state / "pending" / f"{token}.json").read_text(encoding="utf-8"))
    assert (record["trigger"], len(record["reason"])) == ("command", 1000)
    assert station.status()["closes"][0]["trigger"] == "command"


def test_no_control_of_a_record_reaches_the_terminal(station: Station, rufus: Sandbox, token: str) -> None:
    """Promise 6: whoever can write into the state folder writes nothing on root's terminal, nor into the journal."""
    rufus.tell("offline")
    station.command("close")
    path = station.state / "pending" / f"{token}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    bad = "\x1b[2J\x9b31m\u202e\u2028evil"
    path.write_text(json.dumps({**record, "name": bad, "trigger": bad, "confirmed_at": bad}), encoding="utf-8")
    said = [station.command(*each) for each in (["status"], ["retry"], ["withdraw", token])]
    told = "".join(each.stdout + each.stderr for each in said)
    assert "evil" in told
    assert not set("\x1b\x9b\u202e\u2028") & set(told)


def test_attempts_of_a_closed_session_outlive_a_restart(station: Station) -> None:
    """Promise 5: how often it was tried is told after the close, by the daemon, without it and by the next one."""
    station.start()
    station.shows("armed")
    station.press()
    station.shows("closed")
    attempts = station.status()["closes"][0]["attempts"]
    assert attempts > 0
    station.stop()
    assert station.status()["closes"][0]["attempts"] == attempts
    station.start()
    station.shows("closed")
    assert station.status()["closes"][0]["attempts"] == attempts


def test_close_is_delivered_by_a_running_daemon(station: Station, rufus: Sandbox, token: str) -> None:
    """Confirmed from outside, with its grace, delivered by the daemon."""
    station.start()
    station.shows("armed")
    assert station.command("close").returncode == 0
    station.shows("closed")
    assert rufus.session(token).closes == 1


@pytest.mark.parametrize("damage", ["cut", "key"])
def test_promise_1_close_takes_no_session_that_the_daemon_has_not(
    station: Station, rufus: Sandbox, token: str, damage: str
) -> None:
    """Promise 1: as the button, it closes the session in force, and not the one of a file that was not taken up."""
    other = rufus.add_session("TOMORROW")
    station.start("17 high")
    station.shows("armed")
    was = station.config.read_text(encoding="utf-8")
    station.configure(session={"name": "TOMORROW", "token": other})
    whole = station.config.read_text(encoding="utf-8")
    if damage == "key":
        station.configure(api={"key": "ror-..."})
    else:
        station.config.write_text(whole[: whole.index("[led]")], encoding="utf-8")
    until(lambda: station.view()["faults"])
    said = station.command("close")
    assert said.returncode == 1
    assert "NOT confirmed" in said.stderr
    assert "TOMORROW" in said.stderr
    assert "FINISH-10K" in said.stderr
    assert not station.records("pending")
    station.config.write_text(was, encoding="utf-8")
    until(lambda: not station.view()["faults"])
    assert station.command("close").returncode == 0
    until(lambda: not rufus.session(token).active)
    assert rufus.session(other).active


def test_promise_2_a_training_in_the_runtime_folder_keeps_no_close_from_the_disk(
    station: Station, token: str, tmp_path: Path
) -> None:
    """Promise 2: the daemon that lives there has other closes; this one is for the station's next start."""
    training = Station(tmp_path / "training")
    training.configure(api=station.tables["api"], session={"name": "TRAINING", "token": "7" * 64})
    training.run = station.run
    training.start()
    training.shows("armed")
    assert station.command("close").returncode == 0
    assert station.records("pending") == [token]
    training.stop()


def test_close_and_withdraw_are_noticed_by_a_running_daemon_within_a_second(make_station: Make, token: str) -> None:
    """Promise 5: who has called them sees it in the next status."""
    station = make_station(close={"grace": 600}).start()
    station.shows("armed")

    def noticed(command: str, *more: str) -> float:
        closes = len(station.view()["closes"])
        assert station.command(command, *more).returncode == 0
        began = time.monotonic()
        until(lambda: len(station.view()["closes"]) != closes)
        return time.monotonic() - began

    within(1, lambda: max(noticed("close"), noticed("withdraw", token)))


def test_withdraw_is_shown_by_a_running_daemon(make_station: Make, rufus: Sandbox, token: str) -> None:
    """Taken back from outside: shown, and never sent."""
    rufus.tell("offline")
    station = make_station(close={"quiet": 5}).start()
    station.shows("armed")
    station.press()
    at = station.shows("pending")
    ended = station.command("withdraw", token)
    assert ended.returncode == 0
    station.shows("withdrawn", since=at)
    calls = len(rufus.calls)
    rufus.tell("online")
    station.shows("armed", since=at)
    assert all(call.method == "GET" for call in list(rufus.calls)[calls:])
    assert rufus.session(token).active


def test_withdraw_says_where_rufus_was_called_already(station: Station, rufus: Sandbox, token: str) -> None:
    """Promise 4: what may have been closed is not claimed to be open."""
    rufus.tell("500")
    station.start()
    station.shows("armed")
    station.press()
    until(lambda: any(call.method == "PATCH" for call in rufus.calls))
    said = station.command("withdraw", token).stdout
    assert "look there whether it is closed" in said


def test_withdraw_of_what_is_closed_is_refused(station: Station, token: str) -> None:
    """It cannot be undone, and says so."""
    station.start()
    station.shows("armed")
    station.press()
    station.shows("closed")
    ended = station.command("withdraw", token)
    assert ended.returncode == 1
    assert "cannot be undone" in ended.stderr
    assert "closed already" in station.command("close").stdout


def test_retry_hurries_a_running_daemon(make_station: Make, rufus: Sandbox, token: str) -> None:
    """Long pauses are cut short."""
    rufus.tell("offline")
    station = make_station(retry={"first": 600, "max": 600}).start()
    station.shows("armed")
    station.press()
    until(lambda: station.view()["closes"] and station.view()["closes"][0]["last_error"])
    rufus.tell("online")
    ended = station.command("retry")
    assert ended.returncode == 0
    assert "1 pending close now" in ended.stdout
    station.shows("closed")
    assert station.records("closed") == [token]


def test_promise_5_retry_does_not_speak_for_a_daemon_that_hangs(make_station: Make, rufus: Sandbox) -> None:
    """Promise 5: a daemon that is stopped tries nothing now."""
    rufus.tell("offline")
    station = make_station().start()
    station.shows("armed")
    station.press()
    until(lambda: station.view()["closes"])
    station.send(signal.SIGSTOP)
    said = station.command("retry")
    station.send(signal.SIGCONT)
    assert said.returncode == 1
    assert f"process {station.process.pid}" in said.stderr
    assert "tries" not in said.stdout


def test_retry_of_nothing_says_so(station: Station) -> None:
    """With a daemon as without one."""
    assert station.command("retry").stdout == "nothing is pending\n"
    station.start()
    station.shows("armed")
    ended = station.command("retry")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "nothing is pending\n", "")


def test_what_root_could_not_mend_does_not_ask_for_root(station: Station) -> None:
    """A file in the state folder's place is a file for root, too."""
    station.state.rmdir()
    station.state.write_text("")
    for command in ("status", "retry"):
        ended = station.command(command)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.endswith(f"{station.state} (not a directory); `sudo rufusd doctor` says what to do\n")


def test_retry_without_a_daemon_delivers(station: Station, rufus: Sandbox, token: str) -> None:
    """In the foreground, telling how it goes; status 0 only when all is closed."""
    station.command("close")
    rufus.tell("offline")
    ended = station.command("retry")
    assert ended.returncode == 1
    assert ": the connection to 127.0.0.1 broke" in ended.stdout
    assert station.records("pending") == [token]
    rufus.tell("online")
    ended = station.command("retry")
    assert ended.returncode == 0
    assert "closed" in ended.stdout
    assert rufus.session(token).closes == 1
    assert "nothing is pending" in station.command("retry").stdout


def test_close_that_cannot_be_written_is_not_confirmed(station: Station) -> None:
    """Status 1, and NOT confirmed in capitals."""
    station.state.rmdir()
    station.state.write_text("in the way")
    ended = station.command("close")
    assert ended.returncode == 1
    assert "NOT confirmed" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("state", "command", "said"),
    [
        ("pending", "close", "confirmed, but NOT SAFELY"),
        ("withdrawn", "withdraw", "withdrawn, but NOT SAFELY"),
        ("closed", "close", "closed already, but NOT SAFELY"),
        ("closed", "withdraw", "closed already, but NOT SAFELY"),
    ],
)
def test_a_state_that_the_disk_does_not_sync_is_told_with_that(
    station: Station,
    token: str,
    state: str,
    command: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Promises 2 and 4: the state is there, and a power cut may undo it. The sentence says both."""
    (station.state / state).mkdir(parents=True)
    (station.state / state / f"{token}.json").write_text("{}")

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    assert cli.main([*station.arguments(command)[3:], *([token] if command == "withdraw" else [])]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "power cut" in err
    assert "NOT confirmed" not in err
    assert "NOT withdrawn" not in err


@pytest.mark.parametrize(("command", "said"), [("close", "NOT confirmed"), ("withdraw", "NOT withdrawn")])
def test_a_folder_that_another_process_keeps_is_told_as_that(
    station: Station, token: str, command: str, said: str
) -> None:
    """Promise 5: nothing is done, and the person learns that another command is in the way."""
    if command == "withdraw":
        assert station.command("close").returncode == 0
    pending = station.state / "pending"
    pending.mkdir(parents=True, exist_ok=True)
    before = station.records("pending")
    folder = os.open(pending, os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        ended = station.command(command, *([token] if command == "withdraw" else []))
    finally:
        os.close(folder)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "another rufusd command hangs, end it" in ended.stderr
    assert station.records("pending") == before


@pytest.mark.parametrize(("inodes", "cure"), [(0, "no inodes are left"), (50, "free some space")])
def test_a_full_disk_is_told_with_its_cure(
    station: Station, inodes: int, cure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise 5: full inodes are not "free some space"."""
    look = os.statvfs

    def count(path: Path) -> os.statvfs_result:
        real = look(path)
        return os.statvfs_result((*real[:5], 100, inodes, inodes, *real[8:10]))

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "statvfs", count)
    monkeypatch.setattr(os, "fsync", refuse)
    assert cli.main(station.arguments("close")[3:]) == 1
    err = capsys.readouterr().err
    assert "NOT confirmed" in err
    assert cure in err


# -- a state folder that a power cut empties


def test_what_is_in_memory_is_called_safe_by_no_command(
    station: Station, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promises 2 and 5: check, close and status each say so; the close is pending all the same."""
    device = station.state.stat().st_dev
    mounts = tmp_path / "mounts"
    mounts.write_text(f"1 1 {os.major(device)}:{os.minor(device)} / / rw - overlay overlay rw\n")
    monkeypatch.setattr(disk, "MOUNTS", mounts)

    def said(command: str, *more: str) -> tuple[str, str]:
        assert cli.main([*station.arguments(command)[3:], *more]) == 0
        return capsys.readouterr()

    why = f"the state folder {station.state} is on overlay, which a power cut may empty: turn it off with `sudo raspi"
    assert f"warning: {why}" in said("check").err
    out, err = said("close")
    assert "confirmed: FINISH-10K will be closed as soon as rufusd runs, which it does not now, unless the power" in out
    assert f"warning: {why}" in err
    out, _ = said("status")
    assert "NOT ON DISK: leave the power on" in out
    assert f"fault: {why}" in out
    status = json.loads(said("status", "--json").out)
    assert [(each["token"], each["durable"]) for each in status["closes"]] == [(token, False)]
    mounts.write_text("")
    assert "warning" not in said("check").err
    assert json.loads(said("status", "--json").out)["closes"][0]["durable"]


# -- status


def test_status_without_a_daemon_says_so(station: Station, token: str) -> None:
    """From the disk and the configuration; the JSON has every field that scripts rely on."""
    status = station.status()
    assert status["format"] == 1
    assert status["daemon"] == {
        **{"running": False, "pid": None, "since": None, "version": __version__, "view_age": None}
    }
    assert status["session"] == {"token": token, "name": "FINISH-10K"}
    in_memory = volatile_mount(station.state)  # some machines have their temporary folders there
    assert (status["indicator"], status["closes"], status["faults"]) == ("off", [], [in_memory] if in_memory else [])
    assert "rufusd is not running" in station.command("status").stdout


def test_status_json_has_the_documented_fields(station: Station, rufus: Sandbox, token: str) -> None:
    """One pending close offline: what it is, why it waits, when it is tried again."""
    rufus.tell("offline")
    station.start()
    station.shows("armed")
    station.press()
    until(lambda: station.view()["closes"] and station.view()["closes"][0]["last_error"])
    # Each attempt is "sending" for a moment.
    status = until(lambda: found if (found := station.status())["closes"][0]["phase"] == "retry" else None)
    assert set(status) == {
        *("format", "daemon", "config", "session", "button", "reader", "indicator", "faults", "closes"),
        "unreadable",
    }  # fmt: skip
    assert station.process
    assert status["daemon"]["running"]
    assert status["daemon"]["pid"] == station.process.pid
    (close,) = status["closes"]
    assert close["token"] == token
    assert close["state"] == "pending"
    assert close["phase"] == "retry"
    assert close["trigger"] == "button"
    assert close["attempts"] >= 1
    assert "broke" in close["last_error"]
    assert 0 <= close["next_attempt_in"] <= 0.2
    assert close["closed_at"] is None
    assert close["confirmed_at"].endswith("Z")
    assert isinstance(close["clock_synchronized"], bool)


def test_status_of_a_killed_daemon_is_not_running(station: Station) -> None:
    """A view that a crash left behind is not taken for a daemon."""
    station.start()
    station.shows("armed")
    station.stop(signal.SIGKILL)
    assert (station.run / "status.json").exists()
    assert not station.status()["daemon"]["running"]


def test_status_of_a_daemon_that_hangs_is_told_with_its_age(station: Station) -> None:
    """Promise 5: it lives, and says nothing: what it wrote last is not told as if it were of now."""
    station.start("17 high")
    station.shows("armed")
    until(lambda: station.view()["indicator"] == "armed")
    station.send(signal.SIGSTOP)
    try:
        status, text = station.status(), station.command("status").stdout
    finally:
        station.send(signal.SIGCONT)
    assert status["daemon"]["running"]
    assert status["daemon"]["view_age"] > 0
    assert re.search(r"rufusd does not answer: .* What follows is \d+ (s|min) old", text)
    assert until(lambda: station.status()["daemon"]["view_age"] is None)


def test_status_of_a_daemon_that_hangs_knows_what_commands_have_done_since(make_station: Make, token: str) -> None:
    """Promise 4: what has been withdrawn on the disk is not told as pending, though the daemon cannot know it yet."""
    station = make_station(close={"grace": 600})
    assert station.command("close").returncode == 0
    station.start("17 high")
    until(lambda: any(each["token"] == token for each in station.view()["closes"]))
    station.send(signal.SIGSTOP)
    try:
        assert station.command("withdraw", token).returncode == 0
        status = station.status()
    finally:
        station.send(signal.SIGCONT)
    assert [(each["token"], each["state"]) for each in status["closes"]] == [(token, "withdrawn")]


def test_a_view_without_a_socket_is_no_daemon(station: Station) -> None:
    """Promise 4: a file is no sign of life, whosever process has the number in it."""
    station.start("17 high")
    station.shows("armed")
    view = until(lambda: station.view() if station.view()["daemon"] else None)
    station.stop()
    view["daemon"]["pid"] = os.getpid()
    (station.run / "status.json").write_text(json.dumps(view))
    assert not station.status()["daemon"]["running"]


def test_a_status_that_could_not_be_written_is_told_by_the_socket(station: Station, rufus: Sandbox) -> None:
    """Promise 5: where /run is full, the socket tells, and a fault says so until there is room."""
    (station.run / ".status.json.tmp").mkdir(parents=True)  # nothing can be written in its place
    rufus.tell("offline")
    station.start("17 high")
    station.shows("fault")
    station.command("close")
    status = until(lambda: found if (found := station.status())["closes"][0]["last_error"] else None)
    assert any("cannot be written" in fault for fault in status["faults"])
    assert not (station.run / "status.json").exists()
    (station.run / ".status.json.tmp").rmdir()
    until(lambda: station.view()["closes"] and not station.view()["faults"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_status_by_a_user_who_may_not_read_the_closes(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise 5: status needs no rights: it shows what it may see, says what it may not, and is no failure."""
    outside = Path(tempfile.mkdtemp(prefix="rufusd-"))  # which others may enter; pytest closes its own again
    outside.chmod(0o711)
    station.run = outside / "run"
    station.start("17 high")
    station.shows("armed")
    cli.main(station.arguments("status")[3:])  # imports what another user may not be able to read here
    capsys.readouterr()
    folders = [station.state, station.config]
    for folder in folders:
        folder.chmod(0)
    try:
        with as_nobody():
            ended = cli.main(station.arguments("status")[3:])
            text = capsys.readouterr().out
            json_ended = cli.main([*station.arguments("status")[3:], "--json"])
            found = json.loads(capsys.readouterr().out)
    finally:
        station.config.chmod(0o600)
        station.state.chmod(0o700)
        station.stop()
        shutil.rmtree(outside)
    assert (ended, json_ended) == (0, 0)
    assert "FINISH-10K     armed" in text
    assert f"closes that have ended are in {station.state}, which you may not read: run `sudo rufusd" in text
    assert found["daemon"]["running"]
    assert [str(station.state) in each for each in found["unreadable"]] == [True]


def test_retry_signals_only_the_process_that_listens(station: Station) -> None:
    """Promise 6: a file that names another process has no say; that one would be ended by the signal."""
    station.run.mkdir()
    with ended(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])) as other:
        (station.run / "status.json").write_text(json.dumps({"daemon": {"pid": other.pid}}))
        station.command("close")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(station.run / "watch"))
            listening.listen()
            signal.signal(signal.SIGUSR1, lambda *_: received.append(True))
            received: list[bool] = []
            said = station.command("retry")
        assert (other.poll(), received) == (None, [True])
        assert said.returncode == 1  # since what listens says nothing


def test_withdraw_takes_a_token_as_status_shows_it(station: Station, token: str) -> None:
    """Its beginning and its end, and what stands between them."""
    station.command("close")
    shown = f"{token[:4]}…{token[-4:]}"
    assert shown in station.command("status").stdout
    assert "is not a token" in station.command("withdraw", f"{token[:4]}…{token[-3:]}x").stderr
    assert station.command("withdraw", shown).returncode == 0
    assert station.records("withdrawn") == [token]


def test_promise_5_withdraw_says_that_a_close_is_in_memory_only(station: Station, rufus: Sandbox, token: str) -> None:
    """Promise 5: status shows it, so it is not denied."""
    rufus.tell("offline")
    station.state.rmdir()
    station.state.write_text("in the way", encoding="utf-8")
    station.start()
    until(lambda: station.view()["button"].get("state") == "released")
    station.press()
    until(lambda: station.view()["closes"])
    for given in (token, token[:4]):
        said = station.command("withdraw", given, "--state-dir", str(station.folder / "another disk"))
        assert said.returncode == 1
        assert "memory only" in said.stderr
        assert "sudo systemctl stop rufusd" in said.stderr


@pytest.mark.parametrize("command", [["close"], ["withdraw", "ABCD", "--config", "typed.toml"]])
def test_promise_1_what_is_to_be_done_as_root_names_the_same_places(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Promise 1: sudo drops the environment, so without them it would close the session of another configuration."""
    monkeypatch.setenv("RUFUSD_CONFIG", "/home/me/my config.toml")
    monkeypatch.setattr(sys, "argv", ["rufusd", *command])
    words = shlex.split(syntax.as_root())
    assert words[:3] == ["sudo", "rufusd", command[0]]
    given = syntax.parser(command[0]).parse_args(words[2:])
    monkeypatch.delenv("RUFUSD_CONFIG")
    assert syntax.parser(command[0]).parse_args(words[2:]) == given
    assert given.config == ("typed.toml" if len(command) > 1 else "/home/me/my config.toml")


def test_promise_2_a_close_by_another_units_command_is_the_daemons(
    monkeypatch: pytest.MonkeyPatch, make_station: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise 2: systemd gives the commands of a reader's unit that unit's folders, which no daemon looks into."""
    station = make_station()
    for place, folder in (("state_dir", station.state), ("runtime_dir", station.run)):
        monkeypatch.setitem(syntax.PLACES, place, replace(syntax.PLACES[place], default=str(folder)))
    monkeypatch.setenv("STATE_DIRECTORY", str(station.folder / "readers"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(station.folder / "readers run"))
    assert cli.main(["close", "--config", str(station.config)]) == output.OK
    assert station.records("pending")
    assert not (station.folder / "readers").exists()
    for name in ("run", "simulate"):
        daemon = syntax.parser(name).parse_args([name])
        assert (daemon.state_dir, daemon.runtime_dir) == (station.folder / "readers", station.folder / "readers run")
    capsys.readouterr()


def test_promise_2_retry_gives_a_close_that_is_confirmed_anew_its_own_grace(
    make_station: Make, rufus: Sandbox, token: str
) -> None:
    """Promise 2: withdrawn and confirmed again while it waits for quiet, a close can be taken back once more."""
    station = make_station(close={"grace": 5, "quiet": 3, "max_wait": 900})
    over = threading.Event()

    def race() -> None:
        while not over.wait(0.1):
            rufus.add_passing(token)

    runners = threading.Thread(target=race)
    station.command("close")
    path = station.state / "pending" / f"{token}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "uptime": record["uptime"] - 60}), encoding="utf-8")  # a minute ago
    arguments = station.arguments("retry")
    runners.start()
    try:
        with ended(subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)) as retry:
            until(lambda: rufus.calls)
            records = Records(station.state)
            pending = records.read(PENDING, token)
            assert pending
            with records.step(60):  # no look in between
                records.save(WITHDRAWN, pending)
                confirmed = time.monotonic()
                records.save(PENDING, new_record(token, "", "command"))
            over.set()
            told = retry.communicate(timeout=60)[0].decode()
    finally:
        over.set()
        runners.join()
    assert retry.returncode == 0, told
    (call,) = (call for call in rufus.calls if call.method == "PATCH")
    assert call.at - confirmed >= 5


def test_retry_gives_way_to_a_daemon_that_starts(make_station: Make, rufus: Sandbox) -> None:
    """Promise 2: a retry that waits for quiet must not keep the station from starting."""
    station = make_station(close={"quiet": 600, "max_wait": 900})
    station.command("close")
    with ended(subprocess.Popen(station.arguments("retry"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)) as retry:
        until(lambda: any(call.method == "GET" for call in rufus.calls))
        station.start("17 high")
        station.shows("pending")
        told = retry.communicate(timeout=60)[0].decode()
    assert retry.returncode == 0
    assert "rufusd has started and takes over" in told


def test_long_lines_end_between_words_in_a_terminal_only(station: Station) -> None:
    """Promise 5: a command can be copied; a script gets a line as a line."""
    assert len(station.command("status").stdout.splitlines()) == 2
    ours, terminal = pty.openpty()
    with ended(
        subprocess.Popen(station.arguments("status"), stdout=terminal, env={**os.environ, "COLUMNS": "40"})
    ) as told:
        os.close(terminal)
        came = b""
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65536):
                came += part
        assert told.wait(60) == 0
    os.close(ours)
    lines = came.decode().splitlines()
    assert "rufusd is not running: nothing watches" in lines
    assert max(map(len, lines)) <= 40
    assert any("`sudo systemctl start rufusd`" in line for line in lines)


def test_status_in_a_terminal_without_unicode_says_it_all_the_same(station: Station) -> None:
    """A name in another script does not end the command."""
    station.configure(session={"name": "Łódź półmaraton"})
    ended = station.command("status", env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0


def test_a_closed_pipe_is_no_defect(station: Station) -> None:
    """`rufusd status | true`."""
    ended = subprocess.run(
        ["bash", "-c", '"$@" | true', "-", *station.arguments("status")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""


# -- defects

SEEN = """
import sys, threading
from rufusd.commands import cli
from rufusd.daemon import courier, once
from rufusd.core.delivery import Delivery, Phase, Step

class Seen(courier.Courier):  # as a loop that is slower than the attempts finds it: told only in the next attempt
    looks = [(Phase.SENDING, ""), (Phase.SENDING, "broke"), (Phase.RETRY, "broke")]

    @property
    def progress(self):
        deliveries = self._deliveries.under_way
        seen = deliveries and self.looks[1:] and threading.current_thread() is threading.main_thread()
        phase, error = self.looks.pop(0) if seen else self.looks[0]
        return dict.fromkeys(deliveries, Delivery("", 0, Step.CLOSE, phase, error=error))

    @progress.setter
    def progress(self, _):
        pass

once.Courier = Seen
sys.exit(cli.main())
"""


def test_retry_without_a_daemon_ends_however_late_it_sees_the_failure(station: Station, rufus: Sandbox) -> None:
    """Once it has failed; else it would try for ever."""
    station.command("close")
    rufus.tell("offline")
    program = [sys.executable, "-c", SEEN, *station.arguments("retry")[3:]]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.count(": broke") == 1


DEFECT = """
import sys
from rufusd.adapters import rufus
from rufusd.commands import cli

def fails(*_, **__):
    words = "terces"[::-1]  # since 3.13 a traceback shows this source
    raise ValueError(words) from OSError(words)

setattr({place}, "{name}", fails)
sys.exit(cli.main())
"""


@pytest.mark.parametrize(("place", "name"), [("rufus.Client", "__init__"), ("rufus.Client", "close")])
def test_a_defect_tells_where_it_is_and_not_its_words(station: Station, place: str, name: str) -> None:
    """Promise 6: an exception's words may hold the key, or come from outside. And `rufusd retry` ends."""
    station.command("close")
    program = [sys.executable, "-c", DEFECT.format(place=place, name=name), *station.arguments("retry")[3:]]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "a defect in rufusd" in ended.stderr
    assert "secret" not in ended.stderr + ended.stdout
    chain = [line for line in ended.stderr.splitlines() if line.startswith("builtins.")]
    assert chain[:2] == ["builtins.OSError", "builtins.ValueError"]  # it may have been tried again already
    assert 'File "<string>", line 8, in fails' in ended.stderr


# -- the configuration's other ways to the key


def test_the_key_may_be_a_systemd_credential(station: Station, rufus: Sandbox, token: str, tmp_path: Path) -> None:
    """LoadCredential=api_key: in place of api.key."""
    key = station.tables["api"].pop("key")
    station.configure()
    (tmp_path / "api_key").write_text(f"{key}\n")
    station.start(env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    station.shows("armed")
    station.press()
    station.shows("closed")
    assert rufus.session(token).closes == 1


def test_toml_of_the_tests_is_toml() -> None:
    """The tests' own writer writes what the product reads."""
    import tomli

    tables = {"session": {"name": 'Łódź "10K"', "token": "x" * 8}, "close": {"grace": 0.5}}
    assert tomli.loads(toml(tables)) == tables
