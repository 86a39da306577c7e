"""`rufusd configure`, as a technician or a script answers it: the real command, against a stand-in for RUFUS."""

from __future__ import annotations

import codecs
import errno
import os
import pty
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
from servers import Server, says
from servers import answer as reply
from stations import PATIENCE, Station, until

from rufusd.adapters.config import cut_short, load, stamp
from rufusd.commands import configure as configuring
from rufusd.core.words import translated
from rufusd.training.sandbox import Sandbox

EXAMPLE = (Path(__file__).parents[2] / "config" / "config.toml").read_text(encoding="utf-8")
DEVICE = "D0" * 32
NO_PINS = ("-",) * 4
PINS_AS_THEY_ARE = ("",) * 6  # of the example: the button and its wiring, no reader, the LED and its, no buzzer


@pytest.fixture
def key(rufus: Sandbox) -> Iterator[str]:
    """A key that may read and write. Whatever a test answers, nothing but reads reaches RUFUS."""
    yield rufus.keys["READ_WRITE"]
    assert {call.method for call in rufus.calls} <= {"GET"}


@pytest.fixture
def file(tmp_path: Path, rufus: Sandbox) -> Path:
    """The example as it is shipped, but for the stand-in's address."""
    path = tmp_path / "config.toml"
    path.write_text(EXAMPLE.replace('# url = "https://api.runonrufus.com/v0"', f'url = "{rufus.url}"'))
    return path


def command(file: Path, name: str = "configure") -> list[str]:
    return [sys.executable, "-m", "rufusd", name, "--config", str(file)]


def configure(file: Path, *answers: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Give the answers, one a line, from a pipe, to the end of the command."""
    return subprocess.run(
        command(file),
        input="".join(f"{each}\n" for each in answers),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


def settings(file: Path) -> dict[str, Any]:
    return tomli.loads(file.read_text(encoding="utf-8"))


# -- from the example to a station


def test_a_station_is_set_up_by_questions(file: Path, key: str, token: str) -> None:
    """Key and token, a reader, no LED: these lines change, all others stay, and `check` has nothing to say to it."""
    before = file.read_text().split("\n")
    ended = configure(file, key, token, "ŁÓDŹ 10K", "", "", "27", "1", "-", "23", "", "yes")
    assert (ended.returncode, ended.stderr) == (0, "")
    after = file.read_text(encoding="utf-8").split("\n")
    assert [new for old, new in zip(before, after) if old != new] == [
        *(f'key = "{key}"', f'token = "{token}"', 'name = "ŁÓDŹ 10K"'),
        *("[reader]", "pin = 27", 'pull = "up"', "# [led]", "# pin = 22", "[buzzer]", "pin = 23"),
    ]
    assert len(before) == len(after)
    checked = subprocess.run(command(file, "check"), capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0
    assert str(file) not in checked.stderr
    for told in ("FINISH-10K", "open, 0 passings", "+[reader]", "Saved.", "rufusd status", "rufusd doctor"):
        assert told in ended.stdout


def test_enter_keeps_everything(file: Path, key: str, token: str) -> None:
    """Nothing is even written: the file is the same one."""
    assert configure(file, key, token, "", *PINS_AS_THEY_ARE, "").returncode == 0
    before = stamp(str(file))
    ended = configure(file, "", "", "", *PINS_AS_THEY_ARE)
    assert (ended.returncode, stamp(str(file))) == (0, before)
    assert "stays as it is" in ended.stdout


def test_where_there_is_no_file_yet_the_example_is_the_beginning(file: Path, key: str, token: str) -> None:
    """It is found in every kind of installation, and the new file is not for all to read."""
    file.unlink()
    ended = configure(file, key, token, "", *PINS_AS_THEY_ARE, "yes")
    assert ended.returncode == 0
    assert "no such file yet" in ended.stdout
    assert file.read_text().replace(key, "PUT-YOUR-KEY-HERE").replace(token, "PUT-THE-TOKEN-OF-YOUR-SESSION-HERE") == (
        EXAMPLE
    )
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_running_station_takes_it_up(station: Station, rufus: Sandbox) -> None:
    """To save it is enough."""
    station.start("17 high")
    station.shows("armed")
    other = rufus.add_session("START-10K")
    assert configure(station.config, "", other, "", "", "", "-", "", "", "-", "yes").returncode == 0
    until(lambda: station.view()["session"] == {"token": other, "name": "START-10K"})
    assert station.stop() == 0


# -- answers


def test_a_wrong_answer_is_told_as_check_tells_it_and_asked_again(file: Path, key: str, token: str) -> None:
    """Each with its sentence, at once."""
    wrong = ("ror-ae4fc6c19681a20fad30", key, "ror-0", "short", token, "", "GPIO99", key, "GPIO4", "7", "1")
    ended = configure(file, *wrong, "-", "4", "22", "1", "-", "yes")
    assert ended.returncode == 0
    for sentence in (
        "this is the example key from RUFUS's documentation; put your account's key here",
        "this looks like an API key, not like a session's token; were the two swapped?",
        '"short" is a text; expected the session\'s token',
        '"GPIO99" is a text; expected a pin as gpiozero names it',
        '"ror-…" is a text; expected a pin as gpiozero names it',
        "GPIO4 is also button.pin; expected a pin of its own",
    ):
        assert f"  {sentence}" in ended.stdout
    assert key not in ended.stdout + ended.stderr
    assert settings(file)["button"]["pin"] == "GPIO4"


def test_nothing_is_no_answer_where_there_is_nothing_to_keep(file: Path, key: str, token: str) -> None:
    """Key and token are asked for again; what is said to Enter is not about quotes or a text that nobody typed."""
    ended = configure(file, "", key, "", token, "", *PINS_AS_THEY_ARE, "yes")
    assert (ended.returncode, ended.stdout.count("this needs an answer")) == (0, 2)
    assert "is a text" not in ended.stdout
    assert settings(file)["session"]["token"] == token


def test_an_answer_may_have_the_quotes_of_the_file(file: Path, key: str, token: str) -> None:
    """Key, token and pin are copied with them; a quote at one end alone is the answer's own."""
    ended = configure(file, f'"{key}"', f"'{token}'", 'Race "10K"', '"GPIO5"', "", "-", "-", "-", "yes")
    assert ended.returncode == 0
    found = settings(file)
    assert (found["api"]["key"], found["session"]["token"], found["button"]["pin"]) == (key, token, "GPIO5")
    assert found["session"]["name"] == 'Race "10K"'


def test_two_pins_can_be_swapped(file: Path, key: str, token: str) -> None:
    """What has not been asked yet is not held against an answer."""
    ended = configure(file, key, token, "", "22", "", "-", "17", "", "-", "yes")
    assert ended.returncode == 0
    assert (settings(file)["button"]["pin"], settings(file)["led"]["pin"]) == (22, 17)


def test_what_is_wrong_in_the_file_is_mended_by_an_answer(file: Path, key: str, token: str) -> None:
    """A level that is none is no default."""
    file.write_text(file.read_text().replace('# active = "low"', 'active = "lo"'))
    assert configure(file, key, token, "", "", "1", "-", "", "", "-", "yes").returncode == 0
    assert settings(file)["button"] == {"pin": 17, "active": "low"}


def test_a_wiring_of_another_kind_can_be_kept(file: Path, key: str, token: str) -> None:
    """It is offered as it is, and warned of as `check` does."""
    file.write_text(file.read_text().replace('# pull = "up"', 'pull = "none"', 1))
    ended = configure(file, key, token, "", *PINS_AS_THEY_ARE, "yes")
    assert ended.returncode == 0
    assert "as it is in the file now" in ended.stdout
    assert f"{file}:51: button.pull: warning: " in ended.stdout
    assert settings(file)["button"]["pull"] == "none"


@pytest.mark.parametrize(
    ("choice", "running", "pull", "warned"),
    [("1", None, "up", False), ("2", "low", "down", False), ("3", "low", "up", True)],
)
def test_the_reader_is_told_in_a_technicians_words(
    file: Path, key: str, token: str, choice: str, running: str | None, pull: str, warned: bool
) -> None:
    """What a cut cable looks like is said with each, and the one that is not safe is warned of."""
    ended = configure(file, key, token, "", "-", "27", choice, "-", "-", "yes")
    assert ended.returncode == 0
    assert (settings(file)["reader"].get("running"), settings(file)["reader"]["pull"]) == (running, pull)
    assert ("reader.pull: warning: " in ended.stdout) is warned


def test_a_key_in_a_file_of_its_own_stays_there(file: Path, key: str, token: str) -> None:
    """Unless another one is typed, which then stands in the configuration alone."""
    (file.parent / "key").write_text(key + "\n")
    file.write_text(file.read_text().replace('key = "PUT-YOUR-KEY-HERE"', 'key_file = "key"'))
    ended = configure(file, "", token, "", *PINS_AS_THEY_ARE, "yes")
    assert ended.returncode == 0
    assert "[the one in key]" in ended.stdout
    assert "open, 0 passings" in ended.stdout
    assert settings(file)["api"]["key_file"] == "key"
    assert configure(file, "ror-another", "", "", *PINS_AS_THEY_ARE, "yes").returncode == 0
    assert "key_file" not in settings(file)["api"]
    assert settings(file)["api"]["key"] == "ror-another"


def test_the_key_may_be_elsewhere(file: Path, token: str) -> None:
    """As a credential, which only the service is given: what `check` says of it is told, and it can be saved."""
    file.write_text(file.read_text().replace('key = "PUT-YOUR-KEY-HERE"\n', ""))
    ended = configure(file, "-", token, "", *PINS_AS_THEY_ARE, "yes")
    assert ended.returncode == 0
    assert "api.key: is missing" in ended.stdout
    assert "in spite of" in ended.stdout
    assert "key" not in settings(file)["api"]


# -- what RUFUS tells of the session


def test_the_session_that_a_device_has_open_can_be_taken(file: Path, key: str, rufus: Sandbox) -> None:
    """Its name, its passings and when it was made are shown; its name is offered."""
    token = rufus.add_session("10K ŁÓDŹ")
    rufus.add_device(DEVICE, token)
    rufus.tell(f"passing {token} 31")
    ended = configure(file, key, "?", DEVICE, "yes", "", *NO_PINS, "yes")
    assert ended.returncode == 0
    assert (
        f"10K ŁÓDŹ ({token[:4]}…{token[-4:]}): open, 31 passings, made {rufus.session(token).created}" in ended.stdout
    )
    assert settings(file)["session"] == {"token": token, "name": "10K ŁÓDŹ"}


def test_it_is_taken_only_by_a_yes(file: Path, key: str, token: str, rufus: Sandbox) -> None:
    """After a no the token is asked for."""
    rufus.add_device(DEVICE, rufus.add_session("ANOTHER"))
    assert configure(file, key, "?", DEVICE, "no", token, "", *NO_PINS, "yes").returncode == 0
    assert settings(file)["session"]["token"] == token


@pytest.mark.parametrize(
    ("permission", "device", "why"),
    [
        ("READ_WRITE", DEVICE, "RUFUS knows of no session that this device has open"),
        ("READ_WRITE", "../x", "expected the id of a timing device"),
        ("READ_WRITE", f"\u200e{DEVICE}", "U+200E (LEFT-TO-RIGHT MARK), which cannot be seen, at place 1;"),
        ("WRITE", DEVICE, "RUFUS does not let this key read (403)"),
    ],
)
def test_where_there_is_none_to_take_the_token_is_asked_for(
    file: Path, token: str, rufus: Sandbox, permission: str, device: str, why: str
) -> None:
    """And why is told."""
    ended = configure(file, rufus.keys[permission], "?", device, token, "", *NO_PINS, "yes")
    assert ended.returncode == 0
    assert why in ended.stdout
    assert settings(file)["session"]["token"] == token


def test_a_write_key_is_good_enough(file: Path, token: str, rufus: Sandbox) -> None:
    """It cannot read: that neither key nor token was tested is said."""
    ended = configure(file, rufus.keys["WRITE"], token, "", *NO_PINS, "yes")
    assert ended.returncode == 0
    assert "has WRITE access only, or is not a valid key; so neither key nor token could be tested" in ended.stdout


@pytest.mark.parametrize("state", ["closed", "unknown"])
def test_a_session_that_cannot_be_closed_is_taken_only_by_a_yes(
    file: Path, key: str, token: str, rufus: Sandbox, state: str
) -> None:
    """Closed already, or unknown to RUFUS: no is the default, and then the token is asked for again."""
    bad = "F" * 64 if state == "unknown" else token
    good = rufus.add_session("START-10K")
    rufus.tell(f"close {token}")
    ended = configure(file, key, bad, "", good, "", *NO_PINS, "yes")
    assert ended.returncode == 0
    assert ("It is closed already" if state == "closed" else "RUFUS knows no session with this token") in ended.stdout
    assert settings(file)["session"] == {"token": good, "name": "START-10K"}
    assert configure(file, "", bad, "yes", "", *NO_PINS, "yes").returncode == 0
    assert settings(file)["session"]["token"] == bad


@pytest.mark.parametrize("trouble", ["offline", "portal200", "500"])
def test_without_rufus_it_is_saved_untested(file: Path, key: str, token: str, rufus: Sandbox, trouble: str) -> None:
    """A station is often set up where there is no network; why it could not be tested is told."""
    rufus.tell(trouble)
    ended = configure(file, key, token, "", *NO_PINS, "yes")
    assert ended.returncode == 0
    assert "; so neither key nor token could be tested here" in ended.stdout
    assert settings(file)["session"]["token"] == token


# -- the key


def test_the_key_is_in_no_output(file: Path, key: str, token: str, rufus: Sandbox) -> None:
    """Neither the old one nor the new, nor what was no key; not in the differences, and not by way of an answer."""
    other = rufus.keys["READ"]
    assert configure(file, key, token, "", *NO_PINS, "yes").returncode == 0
    file.write_text(file.read_text() + f'# key = "{key}", until May\n')
    ended = configure(file, f"{other} ", f"{key} x", other, token, "", *NO_PINS, "yes")
    assert settings(file)["api"]["key"] == other
    for secret in (key, other):
        assert secret not in ended.stdout + ended.stderr
    assert '+key = "…"' in ended.stdout


@pytest.mark.parametrize(
    "text",
    [
        *(
            '[api]\nkey = "KEY"\nurl = "URL"',
            "[api]\n'key' = 'KEY'\nurl = 'URL'",
            'api.key = "KEY" # KEY\napi.url = "URL"',
        ),
        *(
            'api = {key="KEY", url="URL"}',
            'api.key = """\nKEY"""\napi.url = "URL"',
            '[api]\nurl = "URL"\n# key = "KEY"',
        ),
    ],
)
def test_in_no_spelling_of_it(file: Path, rufus: Sandbox, token: str, text: str) -> None:
    """Whatever the line is that has it, or a part of it, or has it commented out."""
    old, new = "ror-" + "1" * 20, rufus.keys["READ"]
    text = text.replace("KEY", old).replace("URL", rufus.url)
    file.write_text(f'{text}\n[session]\ntoken = "{token}"\n')
    ended = configure(file, new, "", "FINISH", *NO_PINS, "yes")
    assert (ended.returncode, settings(file)["api"]["key"]) == (0, new)
    assert "What changes:" in ended.stdout
    for secret in (old, new):
        assert secret not in ended.stdout + ended.stderr


@pytest.mark.parametrize("before", ['key = ""\n', ""])
def test_a_key_that_is_none_hides_nothing(file: Path, key: str, token: str, rufus: Sandbox, before: str) -> None:
    """What changes beside it is shown as it is."""
    file.write_text(f'[api]\n{before}url = "{rufus.url}"\n[session]\ntoken = "{token}"\nname = "None"\n')
    ended = configure(file, key, token, "None at all", *NO_PINS, "no")
    assert '  -name = "None"\n  +name = "None at all"\n' in ended.stdout


def test_a_server_that_repeats_the_key_is_not_repeated(file: Path, key: str, token: str) -> None:
    """Not even as a session's name."""
    body = f'{{"result": [{{"token_session": "{token}", "active": true, "alias": "{key}"}}]}}'
    with Server(says(reply(body.encode()))) as server:
        file.write_text(EXAMPLE.replace('# url = "https://api.runonrufus.com/v0"', f'url = "{server.url()}"'))
        ended = configure(file, key, token, "", *NO_PINS, "yes")
    assert ended.returncode == 0
    assert "something other than RUFUS answered (200)" in ended.stdout
    assert key not in ended.stdout + ended.stderr


# -- nothing is written


@pytest.mark.parametrize("count", range(10))
def test_where_the_answers_end_nothing_is_written(file: Path, key: str, token: str, count: int) -> None:
    """Whichever question is the last."""
    before = file.read_bytes()
    ended = configure(file, *[key, token, "", *PINS_AS_THEY_ARE, "yes"][:count])
    assert (ended.returncode, file.read_bytes()) == (1, before)
    assert "nothing is saved" in ended.stderr
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_no_at_the_end_writes_nothing(file: Path, key: str, token: str) -> None:
    """What is neither yes nor no is asked again."""
    before = file.read_bytes()
    ended = configure(file, key, token, "", *PINS_AS_THEY_ARE, "perhaps", "n")
    assert (ended.returncode, file.read_bytes()) == (1, before)
    assert "nothing is saved" in ended.stderr


def test_a_file_that_somebody_else_saves_meanwhile_is_not_overwritten(file: Path, key: str, token: str) -> None:
    """Nothing is lost silently."""
    asked = subprocess.Popen(
        command(file), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert asked.stdin
    assert asked.stdout
    asked.stdin.write("\n".join([key, token, "", *NO_PINS, ""]))
    asked.stdin.flush()
    until(lambda: "What changes:" in asked.stdout.readline())  # type: ignore[union-attr]
    file.write_text("# another's\n")
    _, told = asked.communicate("yes\n", timeout=PATIENCE)
    assert (asked.returncode, file.read_text()) == (1, "# another's\n")
    assert "somebody else has changed" in told


def test_what_is_taken_away_by_questions_is_not_taken_for_a_cut(file: Path, key: str, token: str) -> None:
    """A daemon that runs takes it up as it is: the lines stay, commented out, which no cut does."""
    assert configure(file, key, token, "", *PINS_AS_THEY_ARE, "yes").returncode == 0
    before = load(str(file))
    ended = configure(file, "", "", "", "-", "-", "-", "-", "yes")
    assert ended.returncode == 0
    after = load(str(file))
    assert (before.settings.led is None, after.settings.led is None) == (False, True)
    assert cut_short(str(file), before, after) is None
    assert "systemctl reload" not in ended.stdout


def test_where_the_daemon_will_ask_how_to_answer_is_said(file: Path, key: str, token: str, rufus: Sandbox) -> None:
    """Written on one line, a table can only be removed, which looks like a cut to the daemon."""
    file.write_text(
        f'led = {{pin = 22}}\napi = {{key = "{key}", url = "{rufus.url}"}}\nsession = {{token = "{token}"}}\n'
        "button = {pin = 17}\n"
    )
    ended = configure(file, "", "", "", "", "", "-", "-", "-", "yes")
    assert ended.returncode == 0
    assert load(str(file)).settings.led is None
    assert "`sudo systemctl reload rufusd`" in ended.stdout


def test_where_it_could_not_be_saved_nothing_is_asked(file: Path) -> None:
    """The cure is told before the first question; root may write everywhere but where there is no folder."""
    if os.geteuid() == 0:
        file = file.parent / "missing" / file.name
    else:
        file.parent.chmod(0o555)
    ended = configure(file)
    assert ended.returncode == 1
    assert "`sudo rufusd configure`" in ended.stderr
    assert ended.stdout == ""


def test_a_disk_that_refuses_is_said_in_the_readers_language(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the very end, when all was answered; the kernel's words, too."""
    told: list[str] = []

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(configuring, "save", full)
    monkeypatch.setattr(configuring, "_yes", lambda *_, **__: True)
    monkeypatch.setattr(
        configuring, "translate", lambda text: told.append(translated(text, lambda *found: f"<{found[0]}>")) or ""
    )
    draft = configuring._Draft(str(file), file.read_text() + "\n# mine\n")
    assert configuring._finish(draft, file.read_text(), stamp(str(file)), keep=False) == 1
    assert told[-1] == f"<nothing is saved: {file} cannot be written (<no space left on device>)>"
    assert "# mine" not in file.read_text() + capsys.readouterr().err


def test_what_is_saved_but_may_not_outlive_a_power_cut_is_not_called_unsaved(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder's own write failed, after the file took its place: the daemon reads the new one."""
    sync = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(configuring, "_yes", lambda *_, **__: True)
    draft = configuring._Draft(str(file), file.read_text() + "\n# mine\n")
    assert configuring._finish(draft, file.read_text(), stamp(str(file)), keep=False) == 1
    told = capsys.readouterr().err
    assert "# mine" in file.read_text()
    assert f"{file} is saved, but a power cut may undo that (input/output error)" in told


# -- a file that is broken


def test_a_broken_file_can_be_begun_anew_and_is_kept(file: Path, key: str, token: str) -> None:
    """What is wrong is said as `check` says it, and nothing of the old one is lost."""
    broken = '[api]\nkey = "ror-0\n[button\npin = 17\n'
    file.write_text(broken)
    checked = subprocess.run(command(file, "check"), capture_output=True, text=True, timeout=60, check=False).stderr
    ended = configure(file, "yes", key, token, "", *PINS_AS_THEY_ARE, "yes")
    assert ended.returncode == 0
    told = [line for line in checked.splitlines() if ": syntax: " in line]
    assert len(told) == 2
    assert set(told) <= set(ended.stdout.splitlines())
    assert f"The file before is {file}.old1." in ended.stdout
    assert Path(f"{file}.old1").read_text() == broken
    assert settings(file)["session"]["token"] == token


def test_a_broken_file_can_be_left_to_an_editor(file: Path) -> None:
    """Nothing is written, and nothing more asked."""
    file.write_text("[button\n")
    ended = configure(file, "no")
    assert (ended.returncode, file.read_text()) == (1, "[button\n")
    assert "nano" in ended.stderr


def test_what_it_does_not_ask_for_stays_right_or_wrong(file: Path, key: str, token: str) -> None:
    """A key that does not exist, a duration that is none: told, kept, and saved only in spite of it."""
    file.write_text(file.read_text().replace("# grace = 10", 'grace = "3s"') + "\n[future]\nx = [1, 2] # mine\n")
    answers = ("no", key, token, "", *PINS_AS_THEY_ARE)
    ended = configure(file, *answers, "")
    assert ended.returncode == 1
    assert "close.grace: " in ended.stdout
    assert "future: there is no such table" in ended.stdout
    assert "in spite of" in ended.stdout
    assert configure(file, *answers, "yes").returncode == 0
    assert file.read_text().endswith("\n[future]\nx = [1, 2] # mine\n")
    assert (settings(file)["close"], settings(file)["session"]["token"]) == ({"grace": "3s"}, token)


def test_a_folder_in_its_place_is_said(file: Path) -> None:
    """As `check` says it."""
    file.unlink()
    file.mkdir()
    ended = configure(file)
    assert ended.returncode == 1
    assert f"{file}:1: file: " in ended.stderr


# -- at a terminal


class Terminal:
    """The command at a terminal of its own, as over SSH."""

    def __init__(self, file: Path, *through: str) -> None:
        self.master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [*through, "setsid", "--ctty", *command(file)], stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a character may come in two parts
        self.shown = self.whole = ""  # what nobody has waited for yet, and all of it

    def sees(self, text: str) -> None:
        """Wait until this is shown, behind what was waited for before."""
        while text not in self.shown:
            self._reads()
        self.shown = self.shown.partition(text)[2]

    def _reads(self) -> None:
        assert select.select([self.master], [], [], PATIENCE)[0], self.shown
        came = self._decode(os.read(self.master, 65536))
        self.shown += came
        self.whole += came.replace("\r", "")

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def interrupts(self) -> None:
        """Press Ctrl-C once it waits for an answer; between question and waiting it would count with the next key."""
        state = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: state.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "S")
        self.types("\x03")

    def ends(self) -> int:
        """Read the rest; the exit status."""
        try:
            while True:
                self._reads()
        except OSError:  # the other side has gone
            pass
        os.close(self.master)
        return self.process.wait(PATIENCE)


def test_at_a_terminal_the_key_is_not_echoed(file: Path, key: str, token: str) -> None:
    """What is typed is shown, but the key is not."""
    terminal = Terminal(file)
    terminal.sees("(it is not shown): ")
    terminal.types(f"{key}\n")
    terminal.sees("The session's token")
    terminal.types(f"{token}\n")
    terminal.sees(token)
    assert key not in terminal.whole
    for question in (
        "What people call it",
        "button's pin",
        "1 to 2",
        "reader's pin",
        "LED's pin",
        "1 to 2",
        "buzzer's",
    ):
        terminal.sees(question)
        terminal.types("\n")
    terminal.sees("Save it")
    terminal.types("y\n")
    terminal.sees("Saved.")
    assert terminal.ends() == 0
    assert settings(file)["api"]["key"] == key


def test_the_end_of_the_answers_is_told_in_a_line_of_its_own(file: Path, key: str) -> None:
    """Ctrl-D leaves the cursor behind the question."""
    for answers in ([], [f"{key}\n"]):
        terminal = Terminal(file)
        for question, answer in zip(["(it is not shown): ", "device: "], [*answers, "\x04"]):
            terminal.sees(question)
            terminal.types(answer)
        assert terminal.ends() == 1
        assert "\nrufusd: the answers ended before the last question; nothing is saved\n" in terminal.whole


@pytest.mark.parametrize("question", ["(it is not shown): ", "The session's token", "The button's pin", "Save it"])
def test_ctrl_c_writes_nothing(file: Path, key: str, token: str, question: str) -> None:
    """At any question; the status is the shells' one for it, and the terminal echoes again."""
    before = file.read_bytes()
    answers = {
        **{"(it is not shown): ": key, "The session's token": token, "What people call it": ""},
        **dict.fromkeys(("The button's pin", "reader's pin", "LED's pin", "buzzer's pin"), "-"),
        "Save it": "",
    }
    terminal = Terminal(file)
    for each, typed in answers.items():
        terminal.sees(each)
        if each == question:
            break
        terminal.types(f"{typed}\n")
    terminal.interrupts()
    terminal.sees("Nothing is saved.")
    assert terminal.ends() == 130
    assert file.read_bytes() == before


def test_ctrl_c_counts_where_a_script_had_it_ignored(file: Path) -> None:
    """A shell has what it starts with `&` ignore Ctrl-C, and each child inherits that."""
    terminal = Terminal(file, "env", "--ignore-signal=INT")
    terminal.sees("(it is not shown): ")
    terminal.interrupts()
    terminal.sees("Nothing is saved.")
    assert terminal.ends() == 130


def test_the_readme_shows_what_is_shown(file: Path, key: str, rufus: Sandbox) -> None:
    """Its example, line by line: only the key, the file, and the time at which the session was made are others."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("    $ sudo rufusd configure\n")[2].partition("\n\nOnly")[0].replace("\n    ", "\n")[4:]
    token = rufus.add_session("FINISH-10K", "6E05A1B2C3D4E5F6" * 4)
    rufus.add_device(DEVICE, token)
    rufus.tell(f"passing {token} 31")
    terminal = Terminal(file)
    for question, typed in (
        *(("shown): ", key), ("device: ", "?"), ("id: ", DEVICE), ("[yes]: ", ""), ("FINISH-10K]: ", "")),
        *(("[17]: ", ""), ("[1]: ", ""), ("[-]: ", ""), ("[22]: ", ""), ("[1]: ", ""), ("[-]: ", "")),
        ("[yes]: ", "yes"),
    ):
        terminal.sees(question)
        terminal.types(f"{typed}\n")
    assert terminal.ends() == 0
    seen = terminal.whole.replace(str(file), "/etc/rufusd/config.toml")
    seen = seen.replace(rufus.session(token).created, "2026-05-16T06:12:40.118Z")
    assert [line.rstrip() for line in seen.rstrip().split("\n")] == shown.split("\n")


def test_it_speaks_the_readers_language(file: Path, key: str, token: str, rufus: Sandbox) -> None:
    """Questions, sentences about answers and about the file; yes in that language, with its accent or without."""
    rufus.add_device(DEVICE, token)
    answers = (key, "?", DEVICE, "SI", "", "99", "17", "", "27", "3", *NO_PINS[:2], "Sí")
    ended = configure(file, *answers, LANGUAGE="es")
    assert ended.returncode == 0, ended.stdout
    for told in ("Pin del botón", "FINISH-10K (", "abierta, 0 pasadas", "99 es un número", "aviso", "Guardado."):
        assert told in ended.stdout
    assert settings(file)["session"]["token"] == token
