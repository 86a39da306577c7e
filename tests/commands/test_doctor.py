"""`rufusd doctor`: each check made bad on purpose, on real servers, folders and a fake GPIO chip; it closes nothing."""

from __future__ import annotations

import contextlib
import gettext
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
import trustme
from fakegpio import FakeChip
from servers import Server, black_hole, says, silent, tls_context, tunnel
from servers import answer as reply
from stations import READER, Station, as_nobody, until

from rufusd.adapters import chip, clock, live
from rufusd.adapters.closes import disk
from rufusd.adapters.pins import Pins
from rufusd.commands import asked, doctor
from rufusd.core.gpio import GpioChip, GpioLine
from rufusd.core.settings import Api
from rufusd.core.words import Message
from rufusd.text import diagnosis
from rufusd.text.diagnosis import Check
from rufusd.training.sandbox import Sandbox

Make = Callable[..., Station]
BUTTON_AND_READER = {"button": {"hold_time": 3, "stuck_time": 30}, "reader": READER}


@pytest.fixture(autouse=True)
def _disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No state folder is in memory, though the test's may be; nobody of this machine is the service's user."""
    mounts = tmp_path / "mounts"
    mounts.touch()
    monkeypatch.setattr(disk, "MOUNTS", mounts)
    monkeypatch.setattr(asked, "SERVICE", "no-such-user")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pins(tmp_path: Path, library: Path) -> FakeChip:
    chip = FakeChip(tmp_path / "chip", library)
    chip.drive(17, True)
    return chip


def test_promise_2_a_real_daemon_starts_where_a_training_goes_on(
    make_station: Make, pins: FakeChip, tmp_path: Path
) -> None:
    """Promise 2: a training that somebody forgot keeps no station from watching its inputs, or from being asked."""
    training, real = make_station().start(), Station(tmp_path / "real")
    training.shows("armed")
    real.configure(**{name: training.tables[name] for name in ("api", "session")})
    real.run = training.run
    real.start(command="run", env=pins.env())
    until(lambda: (found := live.listener(real.run)) and found.pid == real.process.pid)
    until(lambda: real.status()["daemon"]["pid"] == real.process.pid)
    assert real.stop() == 0


def test_promise_1_what_a_training_has_armed_is_nothing_to_a_real_daemon(
    make_station: Make, pins: FakeChip, tmp_path: Path
) -> None:
    """Promise 1: they may share session, wiring and runtime folder; the reader that ran was a simulated one."""
    training, real = make_station(reader={**READER, "settle_time": 600}).start("22 high"), Station(tmp_path / "real")
    training.shows("armed")
    until(lambda: json.loads((training.run / "armed").read_text(encoding="utf-8"))["armed"])
    assert training.stop() == 0
    real.configure(**{name: training.tables[name] for name in ("api", "session", "reader")})
    real.run = training.run
    pins.drive(22, False)
    real.start(command="run", env=pins.env())
    until(lambda: real.view()["daemon"].get("pid") == real.process.pid)
    until(lambda: real.view()["reader"].get("state") == "off")
    assert real.stop() == 0


def examined(station: Station) -> dict[str, Check]:
    """All checks by name, made in this process."""
    listed = list(doctor.examine(str(station.config), station.state, station.run))
    found = {check.name: check for check in listed}
    assert len(found) == len(listed), "a check is given twice"
    assert all(check.cure for check in listed if check.result in ("bad", "warning"))
    assert all(isinstance(each, Message) for check in listed for each in (check.found, *check.cure)), "not translatable"
    return found


def run(station: Station, pins: FakeChip, *, status: int) -> dict[str, dict[str, str]]:
    """All checks by name, of the command with `--json` on the fake chip."""
    ended = station.command("doctor", "--json", env=pins.env())
    assert ended.returncode == status, ended.stdout + ended.stderr
    return {check["name"]: check for check in json.loads(ended.stdout)["checks"]}


def results(found: dict[str, Check], *names: str) -> list[str]:
    return [found[name].result for name in names]


# -- the whole of it


def test_a_good_station_is_good(make_station: Make, pins: FakeChip, rufus: Sandbox, token: str) -> None:
    """Everything from the configuration to RUFUS, as root would see it, the daemon running."""
    station = make_station(**BUTTON_AND_READER)
    for _ in range(31):
        rufus.add_passing(token)
    station.start(command="run", env=pins.env())
    until(lambda: station.view()["indicator"] == "armed")
    found = run(station, pins, status=0)
    unsure = {"clock"}  # the machine's own
    assert {name for name, check in found.items() if check["result"] != "good"} - unsure == {"tls"}  # plain here
    assert found["daemon"]["found"].endswith(": armed")
    for line in ("button_line", "reader_line", "led_line"):
        assert found[line]["found"].endswith("held by rufusd")
    assert found["free_lines"]["found"] == "GPIO 2-16, 18-21, 23-26"
    assert found["button"]["found"] == "released (the line is high)"
    assert found["reader"]["found"] == "running, armed: closes when it goes off (the line is high)"
    assert "fsync works" in found["disk"]["found"]
    assert "31 passings, the last at 2" in found["session"]["found"]
    assert os.listdir(station.state) == [each for each in os.listdir(station.state) if not each.startswith(".")]


def test_the_screen(make_station: Make, pins: FakeChip) -> None:
    """A mark before each line, the cure under it, in lines that fit; a terminal without "✓" gets "+"."""
    station = make_station(session={"name": "START-5K"})
    ended = station.command("doctor", env={**pins.env(), "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "COLUMNS": "300"})
    lines = ended.stdout.splitlines()
    assert lines[0] == f"✓ configuration   {station.config}: good"
    name = lines.index("! session's name  RUFUS calls it FINISH-10K, the configuration START-5K")
    assert lines[name + 1].startswith("                  > the token counts, not the name")
    ended = station.command("doctor", env={**pins.env(), "LC_ALL": "C.UTF-8", "COLUMNS": "60"})
    assert len(ended.stdout.splitlines()) > len(lines)
    ended = station.command("doctor", env={**pins.env(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert "+ configuration" in ended.stdout
    assert ended.stdout.isascii()


def test_it_speaks_the_readers_language(make_station: Make, pins: FakeChip) -> None:
    """Titles, what was found and cures; a program reads English."""
    station = make_station(session={"name": "START-5K"})
    env = {**pins.env(), "LANGUAGE": "es", "LC_ALL": "C.UTF-8", "COLUMNS": "300"}
    said = station.command("doctor", env=env).stdout.splitlines()
    assert said[0] == f"✓ configuración      {station.config}: correcto"
    assert "! nombre (sesión)    RUFUS la llama FINISH-10K; la configuración, START-5K" in said
    assert "✓ botón              sin pulsar (la línea está en nivel alto)" in said
    found = json.loads(station.command("doctor", "--json", env=env).stdout)["checks"]
    assert "RUFUS calls it FINISH-10K, the configuration START-5K" in [check["found"] for check in found]


@pytest.mark.parametrize(
    "folder", sorted((Path(doctor.__file__).parents[1] / "locale").iterdir()), ids=lambda each: each.name
)
def test_every_title_fits_in_each_language(folder: Path) -> None:
    """The screen's second column begins at one place."""
    said = gettext.translation("rufusd", folder.parent, [folder.name])
    titles = [said.gettext(title) for title in diagnosis.TITLES.values()]
    assert len(set(titles)) == len(titles)
    shown = [diagnosis.text(Check(name, "good", "=="), said.gettext, 80, diagnosis.MARKS) for name in diagnosis.TITLES]
    assert len({line.index(" ==") for line in shown}) == 1


def test_each_line_is_shown_as_soon_as_it_is_known(make_station: Make, pins: FakeChip) -> None:
    """What is known without the network is there while RUFUS does not answer yet; the pins are let go long since."""
    with Server(silent) as server:
        station = make_station(api={"url": server.url(), "timeout": 30})
        with subprocess.Popen(
            station.arguments("doctor"), stdout=subprocess.PIPE, text=True, env={**os.environ, **pins.env()}
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if line[2:].startswith("route"):
                    break
            taken = subprocess.run(
                [sys.executable, "-c", "import gpiozero; gpiozero.InputDevice(17)"],
                env={**os.environ, **pins.env()},
                timeout=60,
                check=False,
            )
            assert process.poll() is None
            process.kill()
        assert taken.returncode == 0


def test_nothing_is_ever_closed(make_station: Make, rufus: Sandbox, token: str) -> None:
    """Promise 1: whatever is wrong, whatever RUFUS says and whatever the key may, not one PATCH arrives."""
    station = make_station(**BUTTON_AND_READER)
    for behaviour in ("online", "offline", "portal", "portal200", "500", "429", "deaf", "form new"):
        rufus.tell(behaviour)
        for key in (*rufus.keys.values(), "ror-0123456789abcdef0123"):
            station.configure(api={"key": key})
            examined(station)
            examined(make_station("wrong", session={"token": "UNKNOWN-TOKEN"}, api={"key": key}))
    assert {call.method for call in rufus.calls} == {"GET"}
    assert rufus.session(token).active
    assert station.records("pending") == []


def test_nothing_in_it_could_close() -> None:
    """Promise 1: its source names neither the client's close nor the spool's confirm, retry or withdraw."""
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    for word in ("PATCH", "client.close", ".confirm", "SIGUSR1", ".withdraw", "courier"):
        assert word not in source


@pytest.mark.parametrize("where", ["api.key", "api.key_file"])
def test_promise_6_the_key_is_never_shown(make_station: Make, pins: FakeChip, rufus: Sandbox, where: str) -> None:
    """Neither a good one nor one that RUFUS does not know, in either form."""
    for key in (rufus.keys["READ"], "ror-0123456789abcdef0123"):
        station = make_station()
        if where == "api.key_file":
            (station.folder / "key").write_text(key)
            station.tables["api"].pop("key")
            station.configure(api={"key_file": "key"})
        else:
            station.configure(api={"key": key})
        for more in ([], ["--json"]):
            ended = station.command("doctor", *more, env=pins.env())
            assert "rufus" in ended.stdout.lower()
            assert key not in ended.stdout + ended.stderr


def test_promise_6_an_answer_that_repeats_the_key_is_not_shown(make_station: Make) -> None:
    """Not even as a session's name: it is none of RUFUS's."""
    key = "ror-0123456789abcdef0123"
    station = make_station()
    record = {"token_session": station.tables["session"]["token"], "active": True, "alias": key, "last": key}
    with Server(says(reply(json.dumps({"result": [record]}).encode()))) as server:
        station.configure(api={"url": server.url(), "key": key})
        ended = station.command("doctor", "--json")
    rufus = next(each for each in json.loads(ended.stdout)["checks"] if each["name"] == "rufus")
    assert rufus["result"] == "bad"
    assert "something other than RUFUS answered (200)" in rufus["cure"]
    assert key not in ended.stdout + ended.stderr


# -- the configuration and the daemon


def test_a_wrong_configuration_is_shown_whole_and_the_rest_is_still_looked_at(
    make_station: Make, pins: FakeChip, rufus: Sandbox
) -> None:
    """As `check` prints it; without a session to ask for, RUFUS is not called."""
    station = make_station()
    station.config.write_text('[session]\ntoken = "short"\n[button]\npin = 17\nhold_tiem = 3\n')
    found = run(station, pins, status=1)
    assert found["configuration"]["result"] == "bad"
    assert set(station.command("check").stderr.splitlines()[:3]) >= set(found["configuration"]["cure"].splitlines())
    assert len(found["configuration"]["cure"].splitlines()) == 3
    assert (found["gpio"]["result"], found["disk"]["result"]) == ("good", "good")
    assert (found["key"]["result"], found["session"]["result"]) == ("skipped", "skipped")
    assert rufus.calls == []


def test_without_any_configuration(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to RUFUS's own address is looked at, and nothing is sent on it."""
    station = make_station()
    station.config.unlink()
    received: list[bytes] = []
    with Server(lambda peer: received.append(peer.rest())) as server:
        monkeypatch.setattr(doctor, "Api", lambda: Api(url=server.url()))
        found = examined(station)
        until(lambda: received)  # the server may come to it later than the client goes
    assert results(found, "configuration", "dns", "route", "rufus", "key") == ["bad", "good", "good", *["skipped"] * 2]
    assert received == [b""]


def test_a_key_that_only_the_service_is_given(make_station: Make, pins: FakeChip) -> None:
    """A systemd credential: the running daemon has it, so its absence here is no error; nothing is claimed of it."""
    station = make_station()
    key = station.tables["api"].pop("key")
    station.configure()
    credentials = station.folder / "credentials"
    credentials.mkdir()
    (credentials / "api_key").write_text(key)
    station.start(command="run", env={**pins.env(), "CREDENTIALS_DIRECTORY": str(credentials)})
    until(lambda: station.view()["indicator"] == "armed")
    found = run(station, pins, status=0)
    assert found["configuration"]["result"] == "unknown"
    assert found["key"]["result"] == "skipped"
    assert found["button_line"]["found"] == "GPIO17, held by rufusd"


def test_a_daemon_with_a_fault(make_station: Make, pins: FakeChip) -> None:
    """The button is stuck: the daemon's fault is shown, and so is the button."""
    station = make_station(button={"stuck_time": 0.5})
    station.start(command="run", env=pins.env())
    until(lambda: station.view()["indicator"] == "armed")
    pins.drive(17, False)
    until(lambda: station.view()["button"]["state"] == "stuck")
    found = run(station, pins, status=1)
    assert (found["daemon"]["result"], found["button"]["result"]) == ("bad", "bad")
    assert "stuck" in found["button"]["found"]


# -- GPIO


def test_without_a_daemon_the_inputs_are_read_and_let_go(make_station: Make, pins: FakeChip) -> None:
    """The levels now; nothing holds the lines afterwards; the outputs are never touched."""
    station = make_station(**BUTTON_AND_READER)
    pins.drive(17, False)
    pins.drive(22, False)
    found = run(station, pins, status=0)
    assert (found["daemon"]["result"], found["button"]["result"]) == ("warning", "warning")
    assert found["button"]["found"] == "pressed (the line is low)"
    assert found["reader"]["found"] == "off (the line is low)"
    assert found["button_line"]["found"] == "GPIO17, free"
    assert pins.output(27) is None
    assert run(station, pins, status=0)["button_line"]["found"] == "GPIO17, free"


def test_a_line_that_another_program_holds_is_named_and_left_alone(make_station: Make, pins: FakeChip) -> None:
    """The other goes on reading it; the level is not looked at, the other input's is."""
    hold = "import gpiozero, sys\nline = gpiozero.InputDevice(17, pull_up=True)\nprint('held', flush=True)\n"
    hold += "sys.stdin.readline()\nprint(line.value)"
    station = make_station(**BUTTON_AND_READER)
    with subprocess.Popen(
        [sys.executable, "-c", hold],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **pins.env()},
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        found = run(station, pins, status=1)
        assert other.communicate("\n", timeout=60)[0] == "0\n"
    assert found["button_line"]["result"] == "bad"
    assert "calls itself" in found["button_line"]["found"]
    assert (found["button"]["result"], found["reader"]["result"]) == ("skipped", "good")


def test_a_chip_that_may_not_be_used(make_station: Make, pins: FakeChip) -> None:
    """The group, or root, is the cure; lines and levels are not tried."""
    pins.fail("open EACCES")
    station = make_station(**BUTTON_AND_READER)
    ended = station.command("doctor", "--json", env=pins.env())
    found = {check["name"]: check for check in json.loads(ended.stdout)["checks"]}
    assert found["gpio"]["result"] in ("bad", "unknown")  # by whether the machine has a user rufusd
    assert "sudo" in found["gpio"]["cure"]
    for name in ("button_line", "reader_line", "led_line", "free_lines", "button", "reader"):
        assert found[name]["result"] == "skipped"


def test_a_line_that_cannot_be_read(make_station: Make, pins: FakeChip) -> None:
    """Nobody holds it, but taking it fails: what the daemon would say is said."""
    pins.fail("line EIO")
    found = run(make_station(), pins, status=1)
    assert (found["button_line"]["result"], found["button"]["result"]) == ("good", "bad")
    assert "GPIO17 (button) cannot be used" in found["button"]["cure"]


def test_simulated_pins_are_said_to_be_so(make_station: Make) -> None:
    """Training on a laptop: no chip, but a daemon that reads its inputs."""
    station = make_station(**BUTTON_AND_READER).start("17 high", "22 high")
    station.shows("armed")
    if os.path.exists("/dev/gpiochip0"):
        pytest.skip("this machine has a GPIO chip")
    found = examined(station)
    assert results(found, "gpio", "button_line", "button", "reader") == ["warning", "skipped", "good", "good"]


# -- the state folder and the clock


def test_a_folder_that_is_in_memory(make_station: Make) -> None:
    """What a power cut would empty is bad here, though the daemon works on."""
    station = make_station()
    device = os.stat(station.state).st_dev
    disk.MOUNTS.write_text(f"1 1 {os.major(device)}:{os.minor(device)} / / rw - tmpfs tmpfs rw\n")
    found = examined(station)
    assert results(found, "folder", "disk") == ["good", "bad"]
    assert "tmpfs" in found["disk"].cure[0]


def test_a_folder_that_the_services_user_may_not_write(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks may; the daemon's user counts, down to the folders of each state."""
    monkeypatch.setattr(asked, "SERVICE", "nobody")
    station = make_station()
    station.state.chmod(0o777)
    assert examined(station)["folder"].result == "good"
    (station.state / "pending").mkdir(0o755)
    check = examined(station)["folder"]
    assert check.result == "bad"
    assert check.cure == (f"`sudo chown --recursive nobody: {station.state}`",)


def test_a_folder_that_is_a_file(make_station: Make) -> None:
    """Says what to do, and the disk is not judged by it."""
    station = make_station()
    station.state.rmdir()
    station.state.touch()
    assert results(examined(station), "folder", "disk") == ["bad", "skipped"]


def test_a_folder_that_is_not_there_yet_is_not_made(make_station: Make) -> None:
    """Looking changes nothing."""
    station = make_station()
    station.state.rmdir()
    assert results(examined(station), "folder", "disk") == ["warning", "good"]
    assert not station.state.exists()


def test_a_disk_that_cannot_be_synced(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a dying card; nothing is left in the folder."""
    station = make_station()

    def broken(_: int) -> None:
        raise OSError(5, "")

    monkeypatch.setattr(os, "fsync", broken)
    check = examined(station)["disk"]
    assert (check.result, check.found) == ("bad", "nothing can be written (input/output error)")
    assert "SD card is failing" in check.cure[0]
    assert os.listdir(station.state) == []


def test_a_disk_that_hangs_ends_in_time(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bad, and all else is looked at."""
    station, over = make_station(), threading.Event()
    monkeypatch.setattr(doctor, "DISK", 0.1)
    monkeypatch.setattr(os, "fsync", lambda _: over.wait(30))
    try:
        found = examined(station)
    finally:
        over.set()
    assert results(found, "folder", "disk", "session") == ["bad", "skipped", "good"]
    until(lambda: os.listdir(station.state) == [])


@pytest.mark.parametrize(("synchronized", "result"), [(True, "good"), (False, "warning")])
def test_the_clock(make_station: Make, monkeypatch: pytest.MonkeyPatch, synchronized: bool, result: str) -> None:
    """Whether the network has set it."""
    monkeypatch.setattr(clock, "synchronized", lambda: synchronized)
    assert examined(make_station())["clock"].result == result


# -- the network


def test_offline_is_said_at_the_name_and_ends_at_once(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on it is skipped, not tried."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-3, "")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    station = make_station(api={"url": "https://api.example/v0"})
    found = examined(station)
    assert "cannot find api.example" in found["dns"].cure[0]
    assert "check the cable or the Wi-Fi" in found["dns"].cure[0]
    assert results(found, "dns", "route", "tls", "rufus", "key", "session", "name") == ["bad", *["skipped"] * 6]
    assert "name (DNS)" in found["route"].found


def test_a_resolver_that_hangs_ends_in_time(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can interrupt it; doctor does not wait for it."""
    over = threading.Event()
    monkeypatch.setattr(doctor, "NETWORK", 0.2)
    answered = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) or answered.append("late"))
    try:
        found = examined(make_station())
        assert not answered
    finally:
        over.set()
    assert results(found, "dns", "route") == ["bad", "skipped"]


def test_all_of_it_together_ends_within_twenty_seconds() -> None:
    """Whatever hangs, each look has its time."""
    assert doctor.GPIO + max(doctor.LIVE, doctor.LEVELS) + doctor.DISK + doctor.NETWORK < 20
    assert doctor.CALL < doctor.NETWORK


@pytest.mark.parametrize(("closed", "says_"), [(True, "refuses connections"), (False, "nothing answers at 127.0.0.1")])
def test_no_route(make_station: Make, closed: bool, says_: str) -> None:
    """A closed port, and a network that swallows everything."""
    with contextlib.ExitStack() as stack:
        if closed:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
        else:
            port = stack.enter_context(black_hole())[1]
        found = examined(make_station(api={"url": f"http://127.0.0.1:{port}/v0", "timeout": 0.3}))
    assert results(found, "dns", "route", "rufus") == ["good", "bad", "skipped"]
    assert says_ in found["route"].cure[0]


@pytest.mark.parametrize(
    ("fault", "found_", "cure"),
    [
        ("another name", "no trust", "for another name"),
        ("unknown authority", "no trust", "not from a known authority"),
        ("not yet valid", "no trust, by a clock that says 2019", "this machine's clock is wrong"),
        ("expired", "no trust, by a clock that says 2019", "has expired"),
    ],
)
def test_tls(
    make_station: Make,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    found_: str,
    cure: str,
) -> None:
    """Where the certificate's dates are in the way, the clock's part is named. Nobody was called."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setattr(clock, "utc", lambda: "2019-01-01T00:00:00Z")
    with Sandbox(tls=tls_context(authority, fault)) as bad:
        found = examined(make_station(api={"url": bad.url, "ca_file": str(tmp_path / "ca.pem")}))
        assert bad.calls == []
    assert results(found, "dns", "route", "tls", "rufus") == ["good", "good", "bad", "skipped"]
    assert found["tls"].found.startswith(found_)
    assert ("clock" in found["tls"].found) is (fault in ("not yet valid", "expired"))
    assert cure in found["tls"].cure[0]


def test_over_tls_and_through_a_proxy(make_station: Make, authority: trustme.CA, tmp_path: Path) -> None:
    """The proxy is a stage of its own; one that refuses is told from a network that does."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Sandbox(tls=tls_context(authority)) as rufus, Server(tunnel) as proxy:
        api = {"url": rufus.url, "ca_file": str(tmp_path / "ca.pem"), "key": rufus.keys["READ"]}
        station = make_station(api=api, session={"token": rufus.add_session("FINISH-10K")})
        assert results(examined(station), "dns", "route", "tls", "key", "session", "name") == ["good"] * 6
        station.configure(api={"proxy": f"http://127.0.0.1:{proxy.port}"})
        found = examined(station)
        assert results(found, "dns", "route", "proxy", "tls", "session") == ["good"] * 5
        assert found["tls"].found.startswith("TLSv1.")
        with Server(says(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")) as strict:
            station.configure(api={"proxy": f"http://127.0.0.1:{strict.port}"})
            found = examined(station)
    assert results(found, "route", "proxy", "tls", "rufus") == ["good", "bad", "skipped", "skipped"]
    assert "user and a password" in found["proxy"].cure[0]


@pytest.mark.parametrize(
    ("behaviour", "timeout", "cure"),
    [
        ("portal", 2, "log in to that network with a browser"),
        ("portal200", 2, "log in to that network with a browser"),
        ("500", 2, "RUFUS has a problem of its own"),
        ("offline", 2, "broke before its whole answer"),
        ("slow 20", 0.5, "did not answer within"),
    ],
)
def test_what_is_not_rufus(make_station: Make, rufus: Sandbox, behaviour: str, timeout: float, cure: str) -> None:
    """The way is good, the answer is not: the key and the session are not judged by it."""
    rufus.tell(behaviour)
    found = examined(make_station(api={"timeout": timeout}))
    assert results(found, "route", "rufus", "key", "session", "name") == ["good", "bad", *["skipped"] * 3]
    assert cure in found["rufus"].cure[0]


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("READ_WRITE", ["good", "good", "good"]),
        ("READ", ["good", "good", "good"]),
        ("WRITE", ["unknown", "skipped", "skipped"]),
        ("another", ["bad", "skipped", "skipped"]),
    ],
)
def test_the_key(make_station: Make, rufus: Sandbox, key: str, wanted: list[str]) -> None:
    """What reading tells of it, and no more."""
    found = examined(make_station(api={"key": rufus.keys.get(key, "ror-0123456789abcdef0123")}))
    assert results(found, "key", "session", "name") == wanted
    assert found["rufus"].result == "good"


def test_the_session(make_station: Make, rufus: Sandbox, token: str) -> None:
    """Unknown, open under another name, closed."""
    station = make_station(session={"token": "UNKNOWN-TOKEN"})
    found = examined(station)
    assert results(found, "key", "session", "name") == ["good", "bad", "skipped"]
    assert "session.token" in found["session"].cure[0]
    station.configure(session={"token": token, "name": "START-5K"})
    assert results(examined(station), "session", "name") == ["good", "warning"]
    rufus.tell(f"close {token}")
    found = examined(station)
    assert results(found, "session", "name") == ["bad", "warning"]
    assert found["session"].found.startswith("closed: FINISH-10K")
    assert "next session" in found["session"].cure[0]


# -- what hangs


def test_a_daemon_that_hangs(make_station: Make, pins: FakeChip, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in mid-run: what it wrote last is not taken for what it does now."""
    station = make_station().start(command="run", env=pins.env())
    until(lambda: station.view()["indicator"] == "armed")
    assert examined(station)["daemon"].result == "good"
    monkeypatch.setattr(doctor, "LIVE", 0.2)
    station.send(signal.SIGSTOP)
    try:
        check = examined(station)["daemon"]
    finally:
        station.send(signal.SIGCONT)
    assert check.result == "warning"
    assert "no sign of life" in check.found


def test_a_daemon_that_may_not_be_asked(make_station: Make, pins: FakeChip, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote is used; nothing fails."""

    def forbidden(*_: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(live, "look", forbidden)
    station = make_station().start(command="run", env=pins.env())
    until(lambda: station.view()["indicator"] == "armed")
    assert results(examined(station), "daemon", "button") == ["warning", "good"]


def test_levels_that_hang(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other checks are made."""
    over = threading.Event()
    monkeypatch.setattr(doctor, "LEVELS", 0.1)
    lines = {17: GpioLine(False), 22: GpioLine(False)}
    monkeypatch.setattr(chip, "look", lambda: GpioChip("/dev/gpiochip0", lines=lines))
    monkeypatch.setattr(Pins, "configure", lambda *_: over.wait(30))
    try:
        found = examined(make_station(**BUTTON_AND_READER, led=None))
    finally:
        over.set()
    assert results(found, "button_line", "button", "reader", "session") == ["good", "bad", "bad", "good"]


def test_a_defect_in_a_look_is_a_defect_of_the_command() -> None:
    """It is not taken for a look that hangs."""
    with pytest.raises(ZeroDivisionError):
        doctor.within(5, lambda: 1 / 0)


def test_a_chip_that_hangs(make_station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs it is skipped."""
    over = threading.Event()
    monkeypatch.setattr(doctor, "GPIO", 0.1)
    monkeypatch.setattr(chip, "look", lambda: over.wait(30))
    try:
        found = examined(make_station(**BUTTON_AND_READER))
    finally:
        over.set()
    assert results(found, "gpio", "button_line", "free_lines", "button", "session") == [
        *("bad", "skipped", "skipped", "skipped", "good")
    ]


# -- without root


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("folder_mode", [0o750, 0o755])
def test_somebody_who_is_not_root_is_told_what_only_root_sees(
    monkeypatch: pytest.MonkeyPatch, rufus: Sandbox, token: str, folder_mode: int
) -> None:
    """As it is installed, nothing of it is bad: it is unknown, with the command; nothing is written."""
    monkeypatch.setattr(asked, "SERVICE", "root")
    with tempfile.TemporaryDirectory() as folder:  # which others may enter, unlike pytest's
        os.chmod(folder, 0o711)
        api = {"url": rufus.url, "key": rufus.keys["READ"]}
        station = Station(Path(folder) / "station", api=api, session={"token": token})
        station.config.chmod(0o640)
        station.state.chmod(folder_mode)
        with as_nobody():
            found = examined(station)
        assert os.listdir(station.state) == []
    assert results(found, "configuration", "folder", "disk") == ["unknown"] * 3
    for name in ("configuration", "folder", "disk"):
        assert found[name].cure == ("run `sudo rufusd doctor`",)
