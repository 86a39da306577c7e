"""What `rufusd doctor` makes of what it has seen: facts in, checks out, no world."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from rufusd.core.delivery import Answer
from rufusd.core.gpio import GpioChip, GpioLine
from rufusd.core.settings import Button, Output, Reader, Session
from rufusd.text import diagnosis
from rufusd.text.diagnosis import (
    ASCII_MARKS,
    BAD,
    GOOD,
    MARKS,
    SKIPPED,
    UNKNOWN,
    WARNING,
    Check,
    Folder,
    User,
)

TOKEN = "6E05" * 16
SESSION = Session(TOKEN, "FINISH-10K")
BUTTON = Button(17)
READER = Reader(27)
OURS = User("rufusd", ours=True)
ROOTS_VIEW = User("rufusd", ours=False, may=True)


def view(**more: Any) -> dict[str, Any]:
    """What a good daemon shows of itself."""
    return {
        "daemon": {"pid": 512, "since": "2026-05-17T06:02:11Z"},
        "config": {"valid": True},
        "session": {"token": TOKEN},
        "indicator": "armed",
        "faults": [],
        **more,
    }


def chip(line: GpioLine | None = None) -> GpioChip:
    """A Pi's, on which GPIO17 is as given and all else is free."""
    return GpioChip(
        "/dev/gpiochip0",
        "Raspberry Pi 4 Model B Rev 1.5",
        "pinctrl-bcm2711",
        {**{n: GpioLine(False) for n in range(28)}, **({17: line} if line else {})},
    )


def shown(check: Check) -> tuple[str, str]:
    """The result, and all that is said."""
    return check.result, " | ".join([check.found, *check.cure])


# -- the configuration and the daemon


@pytest.mark.parametrize(
    ("problems", "only_key", "seen", "result", "said"),
    [
        ([], False, {}, GOOD, "c.toml: good"),
        ([("c:1: w", True)], False, {}, WARNING, "c.toml: good, with a warning | c:1: w"),
        ([("c:1: w", True), ("c:2: w", True)], False, {}, WARNING, "c.toml: good, with 2 warnings | c:1: w | c:2: w"),
        ([("c:1: e", False), ("c:2: w", True)], False, {}, BAD, "c.toml: an error | c:1: e | c:2: w"),
        ([("c:1: e", False), ("c:2: e", False)], False, view(), BAD, "c.toml: 2 errors | c:1: e | c:2: e"),
        ([("c:1: e", False)], True, {}, BAD, "c.toml: an error | c:1: e"),
        ([("c:1: e", False)], True, view(config={"valid": False}), BAD, "c.toml: an error | c:1: e"),
        ([("c:1: e", False)], True, view(), UNKNOWN, "c.toml: good but for the key, which only rufusd has | c:1: e"),
    ],
)
def test_configuration(
    problems: list[tuple[str, bool]], only_key: bool, seen: dict[str, Any], result: str, said: str
) -> None:
    """Every problem is shown as `check` prints it; a key that systemd gives to the daemon alone is not missing."""
    assert shown(diagnosis.configuration("c.toml", problems, only_key, seen)) == (result, said)


def test_a_configuration_that_only_root_may_read() -> None:
    """Which is how it is installed."""
    assert shown(diagnosis.hidden("c.toml")) == (UNKNOWN, "you may not read c.toml | run `sudo rufusd doctor`")


def test_a_daemon_that_does_not_run_is_a_warning() -> None:
    """It may be meant; the cure starts it, and says where it tells why it ends."""
    result, said = shown(diagnosis.daemon({}, False, SESSION))
    assert result == WARNING
    assert "nothing watches the inputs" in said
    assert "`sudo systemctl start rufusd`" in said
    assert "`sudo journalctl --unit rufusd`" in said


def test_a_daemon_with_faults_shows_each() -> None:
    """They are sentences with their cures already."""
    check = diagnosis.daemon(view(faults=["one; do this", "two; do that"]), True, SESSION)
    assert (check.result, check.cure) == (BAD, ("one; do this", "two; do that"))


def test_a_daemon_with_another_session_is_told_to_reload() -> None:
    """What is in the file does not count yet."""
    result, said = shown(diagnosis.daemon(view(session={"token": "OTHER-TOKEN"}), True, SESSION))
    assert result == WARNING
    assert "systemctl reload rufusd" in said


def test_a_daemon_without_a_sign_of_life_is_a_warning() -> None:
    """Its loop may hang; what it wrote last is not what it does now."""
    result, said = shown(diagnosis.daemon(view(), False, SESSION))
    assert result == WARNING
    assert "no sign of life | look again; where it stays so, `sudo systemctl restart rufusd`" in said


@pytest.mark.parametrize("session", [SESSION, None])
def test_a_daemon_says_what_it_does(session: Session | None) -> None:
    """Without a configuration there is nothing to compare with."""
    assert shown(diagnosis.daemon(view(), True, session)) == (
        GOOD,
        "process 512, running since 2026-05-17T06:02:11Z: armed",
    )


def test_a_daemon_that_says_nothing_is_bad_and_one_that_may_not_be_asked_is_unknown():
    """Promise 5: doctor tells a daemon that hangs from one that this user may not ask."""
    silent, hidden = (diagnosis.unheard("/run/rufusd", hidden=hidden) for hidden in (False, True))
    assert (silent.result, silent.found) == (BAD, "rufusd runs, but gives no sign of life")
    assert "systemctl restart rufusd" in silent.cure[0]
    assert (hidden.result, hidden.found) == (UNKNOWN, "you may not look into /run/rufusd")
    assert "sudo" in hidden.cure[0]


# -- GPIO


@pytest.mark.parametrize(
    ("error", "user", "reads", "result", "said"),
    [
        (0, ROOTS_VIEW, False, GOOD, "Raspberry Pi 4 Model B Rev 1.5, /dev/gpiochip0 (pinctrl-bcm2711), by lgpio"),
        (0, User("rufusd", False, may=False), False, BAD, "--groups gpio rufusd"),
        (errno.ENOENT, OURS, False, BAD, "no /dev/gpiochip0 | rufusd needs a Raspberry Pi"),
        (errno.ENOENT, OURS, True, WARNING, "rufusd runs on simulated pins"),
        (errno.EACCES, OURS, False, BAD, "rufusd may not use /dev/gpiochip0 | `sudo usermod --append --groups gpio"),
        (errno.EACCES, ROOTS_VIEW, False, UNKNOWN, "you may not look at /dev/gpiochip0 | run `sudo rufusd doctor`"),
        (errno.ENOTTY, OURS, False, BAD, f"no answer (error {errno.ENOTTY})"),
    ],
)
def test_gpio(error: int, user: User, reads: bool, result: str, said: str) -> None:
    """Each way in which a chip can be missing has a cure of its own."""
    seen = chip() if not error else GpioChip("/dev/gpiochip0", error=error)
    check = diagnosis.gpio(seen, user, reads, "lgpio")
    assert check.result == result
    assert said in shown(check)[1]


def test_a_chip_without_a_model_is_named_by_its_own_name() -> None:
    """As in a container, where the device tree is hidden."""
    found = diagnosis.gpio(GpioChip("/dev/gpiochip0", label="gpio-sim"), OURS, False, "lgpio").found
    assert found == "/dev/gpiochip0 (gpio-sim), by lgpio"


@pytest.mark.parametrize(
    ("line", "seen", "result", "said"),
    [
        (GpioLine(False), {}, GOOD, "GPIO17, free"),
        (GpioLine(True, "lg", "up", 512, "rufusd"), view(), GOOD, "GPIO17, held by rufusd"),
        (GpioLine(True, "lg", "up"), view(), GOOD, "GPIO17, held by rufusd"),
        (GpioLine(True, "lg", ""), view(), GOOD, "GPIO17, held by rufusd"),
        (
            GpioLine(True, "lg", "up", 77, "python3"),
            view(),
            BAD,
            "GPIO17 is taken by python3, process 77 | end that program",
        ),
        (
            GpioLine(True, "lg", "up", 77, "python3"),
            {},
            BAD,
            "GPIO17 is taken by python3, process 77 | end that program",
        ),
        (GpioLine(True, "spi0 CS0"), {}, BAD, 'something that calls itself "spi0 CS0" | end that program, or turn its'),
        (GpioLine(True, "x"), view(faults=["GPIO17 (button) cannot be used (busy)"]), BAD, "taken by something"),
        (GpioLine(False), view(), WARNING, "GPIO17: rufusd runs, but does not hold it | `rufusd status` says why"),
        (
            GpioLine(True, "lg", "none"),
            view(),
            WARNING,
            "GPIO17 is pulled none, not up | `sudo systemctl restart rufusd`",
        ),
    ],
)
def test_a_line(line: GpioLine, seen: dict[str, Any], result: str, said: str) -> None:
    """The running daemon's is good, nobody's is good where none runs, another program's is named."""
    check = diagnosis.line("button", BUTTON, chip(line), seen)
    assert check.name == "button_line"
    assert check.result == result
    assert said in shown(check)[1]


def test_an_outputs_line_has_no_pull_to_be_wrong() -> None:
    """The kernel may tell one all the same."""
    assert diagnosis.line("led", Output(17), chip(GpioLine(True, "lg", "none")), view()).result == GOOD


def test_a_line_that_the_chip_does_not_have() -> None:
    """A chip of fewer lines than a Pi's."""
    result, said = shown(diagnosis.line("led", Output(22), GpioChip("/dev/gpiochip0", lines={0: GpioLine(False)}), {}))
    assert (result, said) == (BAD, "GPIO22: this chip has no such line | choose another pin for led.pin")


@pytest.mark.parametrize("pin", [0, 1])
def test_the_lines_of_a_hats_memory_are_a_warning(pin: int) -> None:
    """A HAT has pull-ups there, and the firmware reads them at the start."""
    result, said = shown(diagnosis.line("button", Button(pin), chip(), {}))
    assert result == WARNING
    assert "memory on a HAT" in said


def test_free_lines_are_neither_held_nor_configured_nor_a_hats() -> None:
    """They are told as runs."""
    assert diagnosis.free_lines(chip(GpioLine(True)), [22, 27]).found == "GPIO 2-16, 18-21, 23-26"
    assert diagnosis.free_lines(chip(GpioLine(True)), [18, *range(20, 28)]).found == "GPIO 2-16, 19"
    assert diagnosis.free_lines(GpioChip("", lines={0: GpioLine(False), 5: GpioLine(True)}), []).found == "none"


# -- the levels


@pytest.mark.parametrize(
    ("state", "level", "result", "said"),
    [
        (None, "high", GOOD, "released (the line is high)"),
        (None, "low", WARNING, "pressed (the line is low) | let it go; nobody holds it?"),
        (None, None, BAD, "cannot be read | because"),
        ("released", "high", GOOD, "released (the line is high)"),
        ("released", "low", GOOD, "released (the line is low)"),  # the first sample of a press
        ("released", None, GOOD, "released (the line is high)"),
        ("pressed", None, WARNING, "pressed (the line is low) | let it go"),
        ("waits", "low", WARNING, "pressed, but this press does not count: let it go for 3 s (the line is low) | let"),
        ("stuck", "low", BAD, "stuck: check the switch and its cable (the line is low) | let it go"),
        ("unknown", None, BAD, "cannot be read | because"),
    ],
)
def test_the_button(state: str | None, level: str | None, result: str, said: str) -> None:
    """In the daemon's word, or read here."""
    check = diagnosis.button(BUTTON, state, level, "because")
    assert check.result == result
    assert said in shown(check)[1]


@pytest.mark.parametrize(
    ("state", "level", "result", "said"),
    [
        (None, "high", GOOD, "running (the line is high)"),
        (None, "low", GOOD, "off (the line is low)"),
        (None, None, BAD, "cannot be read | because"),
        ("off", "low", GOOD, "off, not armed: it must run first (the line is low)"),
        ("running", None, GOOD, "running, not armed yet (the line is high)"),
        ("armed", "high", GOOD, "running, armed: closes when it goes off (the line is high)"),
        ("settling", None, WARNING, "off, was armed: closes unless it runs again (the line is low)"),
        ("unknown", None, BAD, "cannot be read | because"),
    ],
)
def test_the_reader(state: str | None, level: str | None, result: str, said: str) -> None:
    """In the daemon's word, or read here."""
    assert shown(diagnosis.reader(READER, state, level, "because")) == (result, said)


def test_what_cannot_be_read_for_no_known_reason_points_to_its_line() -> None:
    """Where whoever holds it is told."""
    for check in (diagnosis.button(BUTTON, None, None), diagnosis.reader(READER, None, None)):
        assert "line above" in check.cure[0]


# -- the disk, the clock


def folder(**more: Any) -> Folder:
    """A good one, on a good disk."""
    return Folder(**{"path": "/var/lib/rufusd", "owner": "rufusd", "free": 5 << 30, "took": 0.012, **more})


@pytest.mark.parametrize(
    ("seen", "user", "result", "said"),
    [
        (folder(), ROOTS_VIEW, GOOD, "/var/lib/rufusd, rufusd's"),
        (folder(), User("rufusd", False, None), GOOD, "/var/lib/rufusd, rufusd's"),
        (folder(owner=None), OURS, WARNING, "/var/lib/rufusd is not there yet | rufusd makes it at its first start"),
        (
            folder(error=errno.EACCES),
            User("rufusd", False, True),
            UNKNOWN,
            "you may not write into /var/lib/rufusd | run",
        ),
        (folder(error=errno.EACCES), OURS, BAD, "rufusd may not write into all of /var/lib/rufusd | `sudo chown --rec"),
        (folder(), User("rufusd", False, False), BAD, "| `sudo chown --recursive rufusd: /var/lib/rufusd`"),
        (folder(error=errno.ENOTDIR, owner=None), OURS, BAD, "/var/lib/rufusd is no folder | remove what is in its"),
        (folder(error=errno.EIO, owner=None), OURS, GOOD, "/var/lib/rufusd, ?'s"),  # the disk's check tells
    ],
)
def test_the_folder(seen: Folder, user: User, result: str, said: str) -> None:
    """It is the daemon's user whose rights count."""
    check = diagnosis.folder(seen, user)
    assert check.result == result
    assert said in shown(check)[1]


@pytest.mark.parametrize(
    ("seen", "result", "said"),
    [
        (folder(), GOOD, "5.4 GB free; fsync works, in 12 ms"),
        (folder(owner=None, took=None, free=200 << 20), GOOD, "209.7 MB free"),
        (folder(risk="on tmpfs: use a disk"), BAD, "what is confirmed would not be safe | on tmpfs: use a disk"),
        (folder(error=errno.ENOSPC, why="full"), BAD, "nothing can be written (full) | free some space"),
        (folder(error=errno.EDQUOT, why="full"), BAD, "nothing can be written (full) | free some space"),
        (folder(error=errno.EROFS, why="read-only"), BAD, "copy it and replace it; or mount it for writing"),
        (folder(error=errno.EACCES, took=None), UNKNOWN, "5.4 GB free; fsync was not tried | run `sudo rufusd doctor`"),
        (folder(error=errno.EACCES, risk="on tmpfs"), BAD, "what is confirmed would not be safe | on tmpfs"),
        (folder(error=errno.EIO, why="broken"), BAD, "the SD card is failing, copy it and replace it"),
        (folder(error=errno.ENAMETOOLONG, why="odd"), BAD, "put right what is said of the folder above"),
        (folder(free=1 << 20), WARNING, "1.0 MB free | free some space"),
        (folder(free=4096), BAD, "0.0 MB free | free some space"),
        (folder(took=2.5), WARNING, "fsync works, in 2500 ms | that is slow: the SD card may be failing"),
    ],
)
def test_the_disk(seen: Folder, result: str, said: str) -> None:
    """What is written there must be there after a power cut, and there must be room."""
    check = diagnosis.disk(seen)
    assert check.result == result
    assert said in shown(check)[1]


def test_the_clock() -> None:
    """A clock that nobody set is normal offline; what depends on it is said."""
    assert shown(diagnosis.clock("2026-05-17T06:02:11Z", True)) == (GOOD, "2026-05-17T06:02:11Z, set by the network")
    result, said = shown(diagnosis.clock("2019-01-01T00:00:00Z", False))
    assert result == WARNING
    assert "2019-01-01T00:00:00Z, not set" in said
    assert "`timedatectl`" in said


# -- the network


def test_the_stages_on_the_way() -> None:
    """Each says what was found."""
    said = {stage: diagnosis.reached(stage, "WHAT", "HOST") for stage in ("dns", "route", "proxy", "tls")}
    assert {check.result for check in said.values()} == {GOOD}
    assert [check.found for check in said.values()] == [
        "HOST is WHAT",
        "WHAT takes connections",
        "WHAT lets the call through",
        "WHAT, and the certificate is HOST's",
    ]


@pytest.mark.parametrize("stage", ["dns", "route", "proxy", "tls", "rufus"])
def test_the_way_ends_with_the_clients_sentence(stage: str) -> None:
    """It has the cure in it."""
    check = diagnosis.blocked(stage, "why; what to do")
    assert (check.name, check.result, check.cure) == (stage, BAD, ("why; what to do",))
    assert check.found


def test_tls_that_the_clock_is_in_the_way_of_says_what_the_clock_says() -> None:
    """The clock's part is named."""
    check = diagnosis.blocked("tls", "its certificate is not yet valid", "2019-01-01T00:00:00Z")
    assert check.found == "no trust, by a clock that says 2019-01-01T00:00:00Z"


def test_no_tls_to_the_stand_in() -> None:
    """That is no fault."""
    assert diagnosis.plain().result == SKIPPED


def record(**more: Any) -> Answer:
    """RUFUS's answer to reading the session."""
    facts = {"token_session": TOKEN, "alias": "FINISH-10K", "active": True, "passings": 31, "last": "2026-05-17T09:58Z"}
    return Answer(200, json.dumps({"description": "Success", "result": [{**facts, **more}]}))


def refusal(status: int) -> Answer:
    """In RUFUS's form."""
    return Answer(status, json.dumps({"description": "no"}))


@pytest.mark.parametrize(
    ("answer", "results"),
    [
        (record(), (GOOD, GOOD, GOOD, GOOD)),
        (record(active=False), (GOOD, GOOD, BAD, GOOD)),
        (record(alias="START-5K"), (GOOD, GOOD, GOOD, WARNING)),
        (refusal(401), (GOOD, BAD, SKIPPED, SKIPPED)),
        (refusal(403), (GOOD, UNKNOWN, SKIPPED, SKIPPED)),
        (Answer(403), (UNKNOWN, UNKNOWN, SKIPPED, SKIPPED)),
        (Answer(403, '{"message": "Forbidden"}'), (UNKNOWN, UNKNOWN, SKIPPED, SKIPPED)),
        (Answer(401, '{"message": "Unauthorized"}'), (UNKNOWN, BAD, SKIPPED, SKIPPED)),
        (Answer(404, '{"message": "no such path"}'), (BAD, SKIPPED, SKIPPED, SKIPPED)),
        (refusal(404), (GOOD, GOOD, BAD, SKIPPED)),
        (Answer(200, '{"description": "Sessions not found"}'), (GOOD, GOOD, BAD, SKIPPED)),
        (refusal(500), (BAD, SKIPPED, SKIPPED, SKIPPED)),
        (Answer(200, "<html>log in</html>"), (BAD, SKIPPED, SKIPPED, SKIPPED)),
    ],
)
def test_what_rufus_says(answer: Answer, results: tuple[str, ...]) -> None:
    """RUFUS, the key, the session, its name; what cannot be told from an answer is said to be unknown, or skipped."""
    checks = diagnosis.answered(answer, SESSION, 0.25)
    assert [check.name for check in checks] == ["rufus", "key", "session", "name"]
    assert tuple(check.result for check in checks) == results
    assert all(check.cure for check in checks if check.result in (BAD, WARNING, UNKNOWN))


def test_a_session_is_told_with_its_passings() -> None:
    """What a technician compares with the mat."""
    found = {check.name: check.found for check in diagnosis.answered(record(), SESSION, 0.25)}
    assert found["rufus"] == "answers, after 0.2 s"
    assert found["session"] == "open: FINISH-10K (6E05…6E05), 31 passings, the last at 2026-05-17T09:58Z"
    assert found["name"] == "FINISH-10K, in RUFUS as in the configuration"
    found = {check.name: check.found for check in diagnosis.answered(record(passings=1, last=None), SESSION, 0.25)}
    assert found["session"] == "open: FINISH-10K (6E05…6E05), 1 passing"
    found = {check.name: check.found for check in diagnosis.answered(record(passings=None), Session(TOKEN), 0.25)}
    assert "passings unknown" in found["session"]
    assert found["name"] == "none in the configuration; RUFUS calls it FINISH-10K"


def test_a_name_is_the_same_however_its_accents_are_typed() -> None:
    """A letter and its accent may be one character in the file and two in RUFUS."""
    written = Session(TOKEN, "Łódz\u0301 10K")
    found = {check.name: check for check in diagnosis.answered(record(alias="Łódź 10K"), written, 0.25)}
    assert found["name"].result == GOOD


def test_what_a_reading_key_may_besides_is_not_claimed() -> None:
    """READ and READ_WRITE read alike."""
    (key,) = [check for check in diagnosis.answered(record(), SESSION, 0.25) if check.name == "key"]
    assert "only closing would show" in key.found


def test_what_comes_from_outside_cannot_move_the_cursor() -> None:
    """An alias is shown without what a terminal would obey."""
    checks = diagnosis.answered(record(alias="\x1b[2JFINISH\r", last="\x1b[H"), SESSION, 0.25)
    assert not [check for check in checks if "\x1b" in check.found or "\r" in check.found]


# -- the screen


def test_a_check_that_hangs_is_bad_and_says_what_to_do() -> None:
    """Each that may."""
    for name in ("gpio", "folder", "button", "reader"):
        check = diagnosis.hung(name, 4.0)
        assert (check.result, check.found) == (BAD, "no end after 4 s")
        assert check.cure[0]


def test_the_screen() -> None:
    """A mark, a title, what was found; under it the cure, in lines that fit and break no command."""
    check = Check("folder", BAD, "one two three four five six seven", ("run `sudo rufusd-long-command`", "or not"))
    assert diagnosis.text(check, str, 44, MARKS) == (
        "✗ state folder    one two three four five\n"
        "                  six seven\n"
        "                  > run `sudo\n"
        "                    rufusd-long-command`\n"
        "                  > or not"
    )
    assert diagnosis.text(diagnosis.skipped("route", "dns"), str.upper, 80, ASCII_MARKS) == (
        "- ROUTE           NOT LOOKED AT, BECAUSE OF THE NAME (DNS) ABOVE"
    )


def test_the_marks_are_five_in_either_way_of_writing() -> None:
    """None stands for two results."""
    for marks in (MARKS, ASCII_MARKS):
        assert len(set(marks.values())) == 5
    assert "".join(ASCII_MARKS.values()).isascii()


def test_the_json() -> None:
    """Each check with the same four facts, in English."""
    checks = [Check("key", BAD, "found", ("one", "two")), Check("name", GOOD, "found")]
    assert diagnosis.whole(checks) == {
        "format": 1,
        "checks": [
            {"name": "key", "result": "bad", "found": "found", "cure": "one\ntwo"},
            {"name": "name", "result": "good", "found": "found", "cure": ""},
        ],
    }


def test_every_title_fits() -> None:
    """The screen's second column begins at one place."""
    assert max(len(title) for title in diagnosis.TITLES.values()) <= diagnosis.WIDTH


@pytest.mark.parametrize(
    ("part", "state", "result", "says"),
    [
        ("button", "resting", GOOD, "released"),
        ("button", "flickering", BAD, "flickers"),
        ("reader", "stale", WARNING, "switch it off and on"),
        ("reader", "flickering", BAD, "flickers"),
    ],
)
def test_an_input_that_does_not_count_yet_can_be_read(part, state, result, says):
    """Promise 5: a line that flickers, or that must be released or off first, is told as that."""
    spec = {"button": Button(17), "reader": Reader(22)}[part]
    check = getattr(diagnosis, part)(spec, state, None)
    assert (check.result, says in check.found) == (result, True)
