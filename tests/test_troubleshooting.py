"""docs/troubleshooting.md is true: each of its situations is brought about on a station, and its commands run there.

The station is a real daemon, on a GPIO chip made of files, with RUFUS's stand-in on loopback. The page's commands run
as they stand, by a shell: only the places of the files are this station's, and `sudo` does nothing. What the page shows
of a service manager is run by tests/system/system_package.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Callable

import pytest
import trustme
from fakegpio import FakeChip
from pages import blocks, fits
from servers import Server, answer, says, tls_context
from stations import PATIENCE, Fresh, Station, until

from rufusd.commands import syntax
from rufusd.core.settings import TABLES
from rufusd.training.sandbox import Sandbox

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
TOKEN = "6E05" * 15 + "DB4C"
OTHER = "2A19" * 15 + "2B25"
# rufusd as the page calls it, whose folders are the defaults.
HERE = """
import sys
from dataclasses import replace
from rufusd.commands import cli, syntax
for place, folder in (("state_dir", {state}), ("runtime_dir", {run})):
    syntax.PLACES[place] = replace(syntax.PLACES[place], default=folder)
sys.exit(cli.main())
"""
READER = {"pin": 27, "pull": "up", "bounce_time": 0.02, "arm_time": 0.1, "settle_time": 30}


class Within(Fresh):
    """Starts everything behind a prefix: in another namespace, or without root's powers."""

    def __init__(self, *prefix: str) -> None:
        self.prefix = prefix

    def start(self, arguments: Sequence[str], **more: Any) -> Any:
        return super().start([*self.prefix, *arguments], **more)


@dataclass
class Scene:
    """One station at the finish line. What a situation needs is changed before `start`."""

    folder: Path
    chip: FakeChip
    rufus: Sandbox
    station: Station
    env: dict[str, str]
    opened: contextlib.ExitStack  # what a situation brings with it, ended with the station

    def start(self, shows: str = "armed", *, button: bool = True, reader: bool = True) -> None:
        """Start the daemon; `button` and `reader` are their levels, high or not. Waits for what the LED shows then."""
        self.chip.drive(17, button)
        self.chip.drive(27, reader)
        self.station.start(command="run", env=self.env)
        self.shows(shows)

    def shows(self, indication: str) -> None:
        until(lambda: self.station.view()["indicator"] == indication)

    def press(self, until_it_shows: str) -> None:
        """Hold the button until the LED is steady, and let go."""
        self.chip.drive(17, False)
        self.shows("let_go")
        self.chip.drive(17, True)
        self.shows(until_it_shows)

    def call(self, what: str) -> None:
        """Wait until this is why the close is still pending."""
        until(lambda: what in str((self.station.view()["closes"] or [{}])[0].get("last_error")))

    def waits(self, why: str) -> None:
        """Start, press, and wait until this is why the close is pending."""
        self.start()
        self.press("pending")
        self.call(why)

    def fault(self, what: str) -> None:
        """Wait until this is a fault."""
        until(lambda: any(what in fault for fault in self.station.view()["faults"]))

    def run(self, command: str) -> str:
        """What a command of the page prints here, as on any station."""
        places = {
            "/etc/rufusd": str(self.folder),
            "/var/lib/rufusd": str(self.station.state),
            "/run/rufusd": str(self.station.run),
        }
        for usual, here in places.items():
            command = command.replace(usual, here)
        launcher = self.station.launcher
        prefix = launcher.prefix if isinstance(launcher, Within) else ()
        if "--mount" in prefix:  # the daemon's own, not another one
            prefix = ("nsenter", "--mount", "--target", str(self.station.process.pid))
        env = {**os.environ, **self.env}
        if command.startswith("df "):
            del env["LD_PRELOAD"]  # the mounts that it makes up are for rufusd; Debian 13's df would read them, too
        ended = subprocess.run(
            [*prefix, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            check=False,
            cwd=self.folder,
            env=env,
        )
        said = ended.stdout
        for usual, here in [*places.items(), ("api.runonrufus.com", "127.0.0.1")][::-1]:
            said = said.replace(here, usual)
        return re.sub(r"\b0\.3 s\b", "3 s", said)


@pytest.fixture
def scene(tmp_path: Path, library: Path, rufus: Sandbox) -> Iterator[Scene]:
    """A station as the example configures it, with a reader; quicker, and not started."""
    folder, binaries = tmp_path / "station", tmp_path / "bin"
    rufus.add_session("FINISH-10K", TOKEN)
    station = Station(
        folder,
        api={"key": rufus.keys["READ_WRITE"], "url": rufus.url},
        session={"token": TOKEN},
        button={"pin": 17, "pull": "up"},
        reader=READER,
        led={"pin": 22},
        retry={"first": 60, "max": 60},  # so that what is waited for is still so when it is looked at
    )
    binaries.mkdir()
    here = HERE.format(state=repr(str(station.state)), run=repr(str(station.run)))
    for name, line in (("rufusd", f'exec "{sys.executable}" -c {shlex.quote(here)} "$@"'), ("sudo", 'exec "$@"')):
        (binaries / name).write_text(f"#!/bin/sh\n{line}\n")
        (binaries / name).chmod(0o755)
    chip = FakeChip(tmp_path / "chip", library)
    env = {
        **chip.env(),
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "RUFUSD_CONFIG": str(station.config),
        "COLUMNS": "120",
        "LANGUAGE": "en",
        "LC_ALL": "C.UTF-8",
    }
    with contextlib.ExitStack() as opened:
        yield Scene(folder, chip, rufus, station, env, opened)
        if station.process:
            station.stop()


def apart(scene: Scene, *prefix: str) -> None:
    """Let everything run behind this prefix, which needs root's powers."""
    if os.geteuid() or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"`{' '.join(prefix)}` needs root, and a machine that allows it")
    scene.station.launcher = Within(*prefix)


def with_a_disk(scene: Scene, mount: str) -> None:
    """Give the station a disk of its own for the closes, by a shell's commands."""
    apart(scene, "unshare", "--mount", "sh", "-euc", f'{mount} && exec "$@"', "sh")


# -- the situations of the page, by their names there

SITUATIONS: dict[str, Callable[[Scene], None]] = {}


def situation(name: str) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    def keep(make: Callable[[Scene], None]) -> Callable[[Scene], None]:
        SITUATIONS[name] = make
        return make

    return keep


@situation("armed")
def _(scene: Scene) -> None:
    scene.start()
    until(lambda: scene.station.view()["reader"]["state"] == "armed")


@situation("not running")
def _(scene: Scene) -> None:
    scene.chip.drive(17, True)


@situation("a mistake in the configuration, at the start")
def _(scene: Scene) -> None:
    scene.station.configure(button={"hold_tiem": 3})


@situation("a mistake in the configuration, saved while it runs")
def _(scene: Scene) -> None:
    scene.start()
    scene.station.configure(button={"hold_tiem": 3})
    scene.fault("has an error")


@situation("the button reads pressed since the start")
def _(scene: Scene) -> None:
    scene.start("unarmed", button=False)
    until(lambda: scene.station.view()["button"]["state"] == "waits")


@situation("the reader has not run yet")
def _(scene: Scene) -> None:
    scene.station.configure(button=None)
    scene.start("unarmed", reader=False)


@situation("the button is stuck")
def _(scene: Scene) -> None:
    scene.station.configure(button={"stuck_time": 0.4})
    scene.start()
    scene.chip.drive(17, False)
    scene.fault("is held")


@situation("a configuration that was cut short")
def _(scene: Scene) -> None:
    scene.start()
    whole = scene.station.config.read_text(encoding="utf-8")
    scene.station.config.write_text(whole[: whole.index("[reader]")], encoding="utf-8")
    scene.fault("cut short")


@situation("a table is gone since the last start")
def _(scene: Scene) -> None:
    scene.start()
    scene.station.stop()
    scene.station.configure(reader=None)
    scene.start("fault")


@situation("a refusal that is not RUFUS's")
def _(scene: Scene) -> None:
    gateway = scene.opened.enter_context(Server(says(answer(b'{"message": "Forbidden"}', "403 Forbidden"))))
    scene.station.configure(api={"url": f"http://127.0.0.1:{gateway.port}"})
    scene.waits("own words")


@situation("the session was closed elsewhere")
def _(scene: Scene) -> None:
    scene.rufus.tell(f"close {TOKEN}")
    scene.start("fault")


@situation("the reader closes an empty session")
def _(scene: Scene) -> None:
    scene.station.configure(reader={"settle_time": 0.1})
    scene.start()
    scene.chip.drive(27, False)
    scene.fault("no passing has reached")


@situation("the button is held")
def _(scene: Scene) -> None:
    scene.start()  # a longer hold_time at the start would have the button released for so long before it counts
    scene.station.configure(button={"hold_time": 60, "stuck_time": 90})
    until(lambda: scene.station.view()["button"]["hold_time"] == 60)
    scene.chip.drive(17, False)
    until(lambda: scene.station.view()["button"]["state"] == "pressed")


@situation("another program has the pins")
def _(scene: Scene) -> None:
    scene.chip.fail("line EBUSY")
    scene.start("fault")


@situation("its user may not use the GPIO")
def _(scene: Scene) -> None:
    scene.chip.fail("open EACCES")
    scene.start("fault")


@situation("lgpio is missing")
def _(scene: Scene) -> None:
    (scene.folder / "lgpio.py").write_text("raise ModuleNotFoundError(\"No module named 'lgpio'\")\n")
    scene.env["PYTHONPATH"] = str(scene.folder)
    scene.start("fault")


@situation("no network")
def _(scene: Scene) -> None:
    scene.station.configure(api={"url": "https://api.runonrufus.com/v0"})
    apart(scene, "unshare", "--net")
    scene.waits("cannot find")


@situation("a login page")
def _(scene: Scene) -> None:
    scene.rufus.tell("portal")
    scene.waits("web page")


@situation("a network that lets nothing through")
def _(scene: Scene) -> None:
    scene.rufus.stop()
    scene.waits("refuses")


@situation("a proxy that wants a password")
def _(scene: Scene) -> None:
    proxy = scene.opened.enter_context(Server(says(answer(b"", "407 Proxy Authentication Required"))))
    scene.station.configure(api={"url": "https://api.runonrufus.com/v0", "proxy": f"http://127.0.0.1:{proxy.port}"})
    scene.waits("407")


@situation("a wrong clock")
def _(scene: Scene) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(scene.folder / "ca.pem"))
    secure = scene.opened.enter_context(Sandbox(tls=tls_context(authority, "not yet valid")))
    scene.station.configure(api={"url": secure.url, "ca_file": "ca.pem"})
    scene.waits("clock")


@situation("RUFUS has a problem")
def _(scene: Scene) -> None:
    scene.rufus.tell("503")
    scene.waits("503")


@situation("passings still come in")
def _(scene: Scene) -> None:
    scene.station.configure(close={"quiet": 30})
    scene.start()
    scene.press("pending")
    until(lambda: scene.station.view()["closes"][0]["phase"] == "quiet")


@situation("a key that may not close")
def _(scene: Scene) -> None:
    scene.station.configure(api={"key": scene.rufus.keys["READ"]})
    scene.start()
    scene.press("fault_pending")


@situation("a key that RUFUS does not know")
def _(scene: Scene) -> None:
    scene.station.configure(api={"key": "ror-0123456789abcdef0123"})
    scene.start()
    scene.press("fault_pending")


@situation("a wrong token")
def _(scene: Scene) -> None:
    scene.station.configure(session={"token": OTHER})
    scene.start()
    scene.press("fault_pending")


@situation("closed")
def _(scene: Scene) -> None:
    scene.start()
    scene.press("closed")


@situation("in its grace")
def _(scene: Scene) -> None:
    scene.station.configure(close={"grace": 600})
    scene.start()
    scene.press("grace")


@situation("the reader has just gone off")
def _(scene: Scene) -> None:
    scene.start()
    until(lambda: scene.station.view()["reader"]["state"] == "armed")
    scene.chip.drive(27, False)
    until(lambda: scene.station.view()["reader"]["state"] == "settling")


@situation("a full disk")
def _(scene: Scene) -> None:
    disk = scene.station.state
    with_a_disk(scene, f"mount -t tmpfs -o size=64k tmpfs {disk}; yes | head -c 64k >{disk}/filler || true")
    scene.start("fault")


@situation("a disk that cannot be written any more")
def _(scene: Scene) -> None:
    with_a_disk(scene, f"mount -t tmpfs tmpfs {scene.station.state}")
    scene.rufus.tell("offline")
    scene.start()
    subprocess.run(["nsenter", "--mount", "--target", str(scene.station.process.pid),
                    "mount", "-o", "remount,ro", str(scene.station.state)], check=True)  # fmt: skip
    scene.press("fault_pending")
    scene.call("")


@situation("an overlay")
def _(scene: Scene) -> None:
    (scene.chip.folder / "mounts").unlink()  # its own are looked at
    disk = scene.folder / "layers"
    disk.mkdir()
    layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
    with_a_disk(
        scene,
        f"mount -t tmpfs tmpfs {disk} && mkdir {disk}/lower {disk}/upper {disk}/work && "
        f"mount -t overlay -o {layers} overlay {scene.station.state}",
    )
    scene.start("fault")


@situation("a state folder that is somebody else's")
def _(scene: Scene) -> None:
    if os.geteuid() == 0:
        apart(scene, "setpriv", "--bounding-set=-all", "--inh-caps=-all")
        os.chown(scene.station.state, 12, 12)
    scene.station.state.chmod(0o555)
    scene.start("fault")


@situation("a key file that cannot be read")
def _(scene: Scene) -> None:
    key = scene.folder / "key"
    key.write_text(scene.rufus.keys["READ_WRITE"])
    key.chmod(0)
    if os.geteuid() == 0:
        apart(scene, "setpriv", "--bounding-set=-all", "--inh-caps=-all")
        os.chown(key, 12, 12)
    del scene.station.tables["api"]["key"]
    scene.station.configure(api={"key_file": "key"})


# -- the tests

BLOCKS = blocks(PAGE)
LOOKS = re.compile(r"rufusd (status|watch|doctor)")  # which change nothing, so that one can look again


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_page_shows_what_is_printed(scene: Scene, name: str) -> None:
    """Every block of one situation, in the page's order, each command as it stands."""
    SITUATIONS[name](scene)
    for block in BLOCKS:
        for command, shown in block.steps if (block.kind, block.situation) == ("station", name) else ():
            printed, ends = scene.run(command), time.monotonic() + PATIENCE
            while LOOKS.search(command) and not fits(printed, shown) and time.monotonic() < ends:
                # The daemon takes up what a command before has done within a second; and two may be too short to start.
                command = re.sub(r"^timeout (\d+)", lambda found: f"timeout {2 * int(found[1])}", command)
                printed = scene.run(command)
            assert fits(printed, shown), f"{PAGE.name}:{block.line}: $ {command}\n{printed}"


def test_every_situation_is_brought_about_and_has_a_block() -> None:
    """No block is passed over; what needs a service manager is run on one (tests/system)."""
    assert {block.situation for block in BLOCKS if block.kind == "station"} == SITUATIONS.keys()
    assert {block.kind for block in BLOCKS} == {"station", "machine"}


def test_what_the_text_names_is_there() -> None:
    """Every part that is linked to, every key; every command in a sentence is rufusd's, or its service's."""
    text = re.sub("```.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    parts = {re.sub("[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall("^#+ (.*)", text, re.M)}
    linked = set(re.findall(r"\]\(([^)]*)\)", text))
    assert linked
    for link in linked:
        assert link.removeprefix("#") in parts if link.startswith("#") else (PAGE.parent / link).is_file(), link
    for code in re.findall("`([^`]+)`", text):
        if code.startswith("sudo systemctl "):
            assert code.split()[2:] in (["reload", "rufusd"], ["restart", "rufusd"]), code
        elif code.startswith(("sudo ", "rufusd ")):
            syntax.parser().parse_args(code.removeprefix("sudo ").split()[1:])
            assert code.removeprefix("sudo ").startswith("rufusd ")
        elif match := re.fullmatch(r"(\w+)\.(\w+)", code):
            assert match[2] in {field.name for field in fields(TABLES[match[1]])}


@pytest.mark.parametrize(
    ("printed", "shown", "fit"),
    [
        ("a b c\n", "a b c\n", True),
        ("a b c\n", "a … c\n", True),
        ("a c\n", "a … c\n", False),
        ("one\ntwo\nthree\n", "one\n…\nthree\n", True),
        ("one\nthree\n", "one\n…\nthree\n", True),
        ("one\ntwo\nthree\n", "one\nthree\n", False),
        ("one\ntwo\n", "…\ntwo\n", True),
        ("one\ntwo\n", "…\none\n", False),
        ("one\ntwo\n", "o…o\n", False),
        ("a.c\n", "abc\n", False),
        ("abc\n", "a.c\n", False),
        ("", "", True),
        ("something\n", "", False),
    ],
)  # fmt: skip
def test_the_comparison(printed: str, shown: str, fit: bool) -> None:
    """Only "…" stands for anything else than itself."""
    assert fits(printed, shown) is fit


@pytest.mark.parametrize(
    "block", ["```\n$ true\n```\n", "<!-- station: armed -->\n```\ntrue\n```\n", "<!-- station: armed -->\n```\n```\n"]
)
def test_no_block_is_without_a_situation_or_a_command(tmp_path: Path, block: str) -> None:
    """It would be shown, and never run."""
    (tmp_path / "page.md").write_text(f"# Page\n\n{block}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md:"):
        blocks(tmp_path / "page.md")
