"""The script that moves simulated pins: what a person or a test types, as it comes, without ever waiting for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rufusd.training.simulate import Script, ScriptError


class Typing:
    """Standard input as a pipe, with the script that reads it and what it drove."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.driven: list[tuple[int, bool]] = []
        self.script = Script(self.read_end, lambda pin, high: self.driven.append((pin, high)))

    def type(self, text: str | bytes) -> None:
        os.write(self.write_end, text.encode() if isinstance(text, str) else text)

    def end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1


@pytest.fixture
def typing() -> Iterator[Typing]:
    made = Typing()
    yield made
    for end in (made.read_end, made.write_end):
        if end >= 0:
            os.close(end)


def test_pins_are_moved_by_any_name(typing: Typing) -> None:
    """Promise 5: a pin goes by every name that gpiozero knows it by."""
    typing.type("17 low\nGPIO17 high\nBCM17 low\nBOARD11 high\nJ8:11 low\nWPI0 high\ngpio22 low\n")
    assert typing.script.advance(0)
    assert typing.driven == [(17, False), (17, True)] * 3 + [(22, False)]


def test_comments_and_empty_lines_do_nothing(typing: Typing) -> None:
    """Promise 5: a script can say what it plays."""
    typing.type("# the last runner is in\n\n   \t \n17 low  # pressed\n#17 high\n")
    assert typing.script.advance(0)
    assert typing.driven == [(17, False)]


def test_lines_may_end_as_on_another_system(typing: Typing) -> None:
    """Promise 5: a file from Windows is read as well."""
    typing.type("17 low\r\nwait 1\r\n17 high\r\n")
    assert typing.script.advance(0)
    assert typing.script.advance(1)
    assert typing.driven == [(17, False), (17, True)]


def test_waiting_holds_what_comes_after(typing: Typing) -> None:
    """Promise 5: `wait` counts from the moment that it is read, and what follows is not done before."""
    typing.type("17 low\nwait 2.5\n17 high\nwait 1\nquit\n")
    assert typing.script.advance(100)
    assert typing.script.advance(102.4)
    assert typing.driven == [(17, False)]
    assert typing.script.advance(102.6)
    assert typing.driven == [(17, False), (17, True)]
    assert typing.script.advance(103.5)
    assert not typing.script.advance(103.6)


@pytest.mark.parametrize("seconds", ["0", "-3", "nan"])
def test_waiting_for_nothing_does_not_wait(typing: Typing, seconds: str) -> None:
    """Promise 5: what is no duration is none."""
    typing.type(f"wait {seconds}\n17 low\n")
    assert typing.script.advance(5)
    assert typing.driven == [(17, False)]


def test_quit_ends(typing: Typing) -> None:
    """Promise 5: the daemon is told to end, and what comes after is not done."""
    typing.type("17 low\nquit\n17 high\n")
    assert not typing.script.advance(0)
    assert typing.driven == [(17, False)]


def test_half_a_line_waits_for_the_other_half(typing: Typing) -> None:
    """Promise 1: what a person is still typing moves nothing."""
    for number, character in enumerate("17 low"):
        typing.type(character)
        assert typing.script.advance(number)
    assert typing.driven == []
    typing.type("\n22")
    assert typing.script.advance(10)
    assert typing.driven == [(17, False)]
    typing.type(" high\n")
    assert typing.script.advance(11)
    assert typing.driven == [(17, False), (22, True)]


@pytest.mark.parametrize(
    ("last", "driven", "goes_on"), [("22 high", [(22, True)], True), ("quit", [], False), ("", [], True)]
)
def test_the_last_line_may_lack_its_end(typing: Typing, last: str, driven: list[object], goes_on: bool) -> None:
    """Promise 5: a script written without a last line feed is done whole."""
    typing.type(f"17 low\n{last}")
    typing.end()
    turns = [typing.script.advance(number) for number in range(5)]
    assert typing.driven == [(17, False), *driven]
    assert all(turns) is goes_on


def test_after_the_end_the_daemon_runs_on(typing: Typing) -> None:
    """Promise 5: a station that was only set up by its script stays, until a signal."""
    typing.type("17 low\n")
    typing.end()
    assert all(typing.script.advance(number) for number in range(50))
    assert typing.driven == [(17, False)]


@pytest.mark.parametrize(
    "line",
    [
        *("17", "17 up", "17 LOW", "17 low high", "low 17", "28 low", "BOARD1 low", "GPIO low", "pin low", "17low"),
        *("wait", "wait soon", "wait 1 2", "quit now", "press", "'; rm -rf /", "17 \0low", "łódź low", "x" * 500),
    ],
)
def test_a_line_that_is_no_command_is_said_with_its_number(typing: Typing, line: str) -> None:
    """Promise 5: the error names the line and what was expected; what came before it has been done."""
    typing.type(f"# one\n17 low\n{line}\n17 high\n")
    with pytest.raises(ScriptError, match=r"^standard input, line 3: .* is not a command; expected PIN low") as error:
        typing.script.advance(0)
    assert line[:60] in str(error.value)
    assert len(str(error.value)) < 200
    assert typing.driven == [(17, False)]


def test_a_slip_of_the_hand_at_a_terminal_is_told_and_ends_nothing(typing: Typing) -> None:
    """Promise 5: a trainee types the line anew; what comes after it is done."""
    told: list[str] = []
    script = Script(typing.read_end, lambda pin, high: typing.driven.append((pin, high)), told.append)
    typing.type("17 lwo\n17 low\n")
    assert script.advance(0)
    assert typing.driven == [(17, False)]
    assert [line.partition(";")[0] for line in told] == ['standard input, line 1: "17 lwo" is not a command']


def test_bytes_that_are_no_text_are_no_command(typing: Typing) -> None:
    """Promise 5: whatever is piped in by mistake ends in that sentence, not in a defect."""
    typing.type(bytes(range(11, 256)) + b"\n")
    with pytest.raises(ScriptError, match="line 1"):
        typing.script.advance(0)


def test_a_line_without_end_is_no_command() -> None:
    """Promise 2: a device piped in by mistake does not fill the memory."""
    with open("/dev/zero", "rb") as zeros:
        script = Script(zeros.fileno(), lambda pin, high: None)  # noqa: ARG005 - nothing is to move
        with pytest.raises(ScriptError, match="line 1"):
            all(script.advance(number) for number in range(10))


def test_nothing_typed_is_not_waited_for(typing: Typing) -> None:
    """Promise 1: the scan loop never stands still for a person who types nothing (the test would not end)."""
    assert typing.script.advance(0)
    assert typing.driven == []


def test_input_that_never_ends_lets_the_loop_turn(tmp_path: Path) -> None:
    """Promise 2: one scan does a bounded part of it, and signals are obeyed in between."""
    script_file = tmp_path / "script"
    script_file.write_text("17 low\n17 high\n" * 20_000, encoding="ascii")
    driven: list[tuple[int, bool]] = []
    with open(script_file, "rb") as file:
        script = Script(file.fileno(), lambda pin, high: driven.append((pin, high)))
        assert script.advance(0)
        assert 0 < len(driven) < 20_000
        assert all(script.advance(number) for number in range(100))
    assert driven == [(17, False), (17, True)] * 20_000


def test_no_standard_input_is_its_end(typing: Typing) -> None:
    """Promise 2: started with its input closed, or with a terminal that has gone, the daemon runs on."""
    os.close(typing.read_end)
    typing.read_end = -1
    assert typing.script.advance(0)
    assert typing.script.advance(1)
