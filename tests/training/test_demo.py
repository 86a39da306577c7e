"""The demo, run as people run it: without a terminal, and in one with a person at the space bar."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from stations import ended, unserved, within

from rufusd.training import demo
from rufusd.training.sandbox import Sandbox

DEMO = [sys.executable, "-m", "rufusd", "demo"]
ALL_IS_WELL = r"closed once, by RUFUS's own word; (\d+) passings read, \1 arrived, 0 lost"


def alone(*command, **variables):
    """The demo without a terminal."""
    return subprocess.run(
        command or DEMO,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )


def in_order(story, *beats):
    """Whether the beats, which are patterns, are in the story, each in a line after the one before."""
    rest = iter(story.splitlines())
    return all(any(re.search(beat, line) for line in rest) for beat in beats)


class Person:
    """Someone who looks at a terminal, and types."""

    def __init__(self, **variables):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            DEMO,
            env={**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **variables},
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.seen = ""

    def types(self, keys):
        os.write(self.master, keys.encode())

    def waits(self, text="", keys="", seconds=60.0, often=0.05):
        """Look on, typing `keys` again and again as a held key does, until `text` comes or, without one, time is up."""
        came, end = b"", time.monotonic() + seconds
        while time.monotonic() < end and not (text and text.encode() in came):
            if keys:
                self.types(keys)
            if select.select([self.master], [], [], often)[0]:
                came += os.read(self.master, 65536)
                time.sleep(often * bool(keys))
        self.seen += came.decode("utf-8", "replace")
        assert text in self.seen, self.seen

    def ends(self):
        """The exit status, and what is on standard error."""
        said = self.process.communicate(timeout=60)[1].decode()
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
        return self.process.returncode, said

    @property
    def restored(self):
        """Whether the terminal is as it was, with a cursor."""
        return termios.tcgetattr(self.slave) == self.before and self.seen.rfind("?25h") > self.seen.rfind("?25l")

    def leaves(self):
        with self.process:
            self.process.terminate()  # and with it its station
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def person():
    came = []

    def comes(**variables):
        came.append(Person(**variables))
        return came[-1]

    yield comes
    for one in came:
        one.leaves()


# -- without a terminal


def waited(leader):
    """For how many seconds each thread of this process and of its children could have run, and did not."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if os.getsid(int(process.name)) == leader:
                threads = [each.relative_to("/proc") for each in process.glob("task/*")]
                found |= {each: unserved(each) for each in threads}
    return found


def test_without_a_terminal_it_plays_by_itself(tmp_path):
    """The whole story, in order, in under 30 seconds, in plain text, and without anything to say on stderr.

    What other programs on the machine have kept from it does not count.
    """
    said, warned = tmp_path / "said", tmp_path / "warned"

    def play():
        began, withheld = time.monotonic(), {}
        with said.open("wb") as out, warned.open("wb") as err:
            files = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
            with ended(subprocess.Popen(DEMO, env=environment, start_new_session=True, **files)) as process:
                while process.poll() is None:
                    withheld |= waited(process.pid)
                    assert time.monotonic() - began < 240
                    time.sleep(0.05)
        assert (process.returncode, warned.read_text(encoding="utf-8")) == (0, "")
        return time.monotonic() - began - sum(withheld.values())

    within(30, play, tries=4)
    story = said.read_text(encoding="utf-8")
    assert "\x1b" not in story
    assert max(map(len, story.splitlines())) <= 80
    assert in_order(
        story,
        "armed",
        "no network",
        "the last runner is in",
        "pressed: not long enough yet +●○●○●○",
        "held long enough: let go +●●●●●●",
        "confirmed",
        "grace is over",
        "the network is back; the late passings come in",
        "the last passing is in",
        "closed: RUFUS has said so",
        ALL_IS_WELL,
    )


def test_it_says_so_where_the_close_came_too_early():
    """A reader that is slower than the quiet asked for loses a passing: exit status 1, with a sentence."""
    told = alone(
        sys.executable,
        "-c",
        """
import sys
from rufusd.training import demo
demo.AWAY, demo.LAST, demo.UPLOAD = 0.2, 0.5, 60
for slow, quick in (("hold_time = 1.5", "hold_time = 0.3"), ("grace = 3", "grace = 0.2"), ("quiet = 3", "quiet = 0.3")):
    assert slow in demo.CONFIGURATION
    demo.CONFIGURATION = demo.CONFIGURATION.replace(slow, quick)
sys.exit(demo.play())
""",
    )
    assert told.returncode == 1
    assert told.stderr == "rufusd: passings were lost: 2 read, 1 arrived, 1 too late\n"


def test_it_says_so_where_the_station_ends():
    """A station that does not live is not waited for."""
    told = alone(
        sys.executable,
        "-c",
        "import sys; from rufusd.training import demo; sys.executable = '/bin/false'; sys.exit(demo.play())",
    )
    assert told.returncode == 1
    assert told.stderr == "rufusd: the station has ended by itself, saying: nothing\n"


def test_it_says_so_where_there_is_no_end():
    """It waits for nothing for ever."""
    told = alone(
        sys.executable, "-c", "import sys; from rufusd.training import demo; demo.LIMIT = 1; sys.exit(demo.play())"
    )
    assert told.returncode == 1
    assert told.stderr == "rufusd: no end in 1 s: nothing was closed: no call to RUFUS has closed the session\n"


def test_it_says_so_where_nothing_can_be_written():
    """Without a temporary folder there is a sentence about that, and no talk of a defect."""
    nowhere = "import tempfile; tempfile.tempdir = '/nonexistent'"
    told = alone(sys.executable, "-c", f"{nowhere}\nfrom rufusd.training import demo\nraise SystemExit(demo.play())")
    assert told.returncode == 1
    assert "/nonexistent" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(("encoding", "signs"), [("utf-8", "●○"), ("latin-1", "#."), ("ascii", "#.")])
def test_the_light_is_drawn_in_signs_that_can_be_written(monkeypatch, encoding, signs):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    scene = demo.Scene(person=False)
    assert scene.on + scene.off == signs


# -- with one


def test_a_person_holds_the_space_bar_takes_it_back_and_closes(person):
    """The keys of a held space bar are one press; a tap in the grace withdraws; the second press closes."""
    one = person()
    one.waits("the last runner is in")
    assert "hold the space bar 2 s and let go" in one.seen
    one.waits("held long enough", keys=" ")
    one.waits("confirmed on disk")
    one.waits(seconds=0.7)  # sooner, it would be the release's chatter
    one.types(" ")
    one.waits("taken back")
    one.waits("armed")
    one.waits("held long enough", keys=" ")
    one.waits("closed: RUFUS has said so")
    assert one.ends() == (0, "")
    assert one.restored
    assert re.search(ALL_IS_WELL, one.seen)
    assert "\x1b[32m●" in one.seen


def test_a_person_has_the_network_and_quits(person):
    """`o` takes the network and brings it back; `q` ends it all: nothing was closed, which is status 1."""
    one = person(NO_COLOR="1")
    one.waits("armed: ")
    one.types("o")
    one.waits("no network")
    one.types("o")
    one.waits("the network is back")
    one.types("q")
    assert one.ends() == (1, "rufusd: nothing was closed: no call to RUFUS has closed the session\n")
    assert one.restored
    assert "\x1b[32m" not in one.seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_behind(person, tmp_path, number):
    """The terminal as it was, no station, no files."""
    one = person(TMPDIR=str(tmp_path))
    one.waits("armed: ")
    (status,) = tmp_path.glob("*/run/status.json")
    station = json.loads(status.read_text())["daemon"]["pid"]
    os.kill(station, 0)
    one.process.send_signal(number)
    assert one.ends() == (130, "")
    assert one.restored
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(station, 0)


def test_a_dumb_terminal_is_told_the_story(person):
    """Where a cursor cannot move, nothing is drawn."""
    one = person(TERM="dumb")
    one.waits("armed: ")
    assert "\x1b" not in one.seen
    assert "space" not in one.seen


# -- the judgement


@pytest.fixture
def race():
    """A sandbox with two passings in a session."""
    sandbox = Sandbox()
    token = sandbox.add_session("FINISH-10K")
    assert sandbox.add_passing(token)
    assert sandbox.add_passing(token)
    return sandbox, token


def close(sandbox, token):
    """Close it as the API does."""
    assert sandbox._close_call(token).status == 200


def test_all_is_well_where_it_is_closed_once_with_every_passing(race):
    sandbox, token = race
    close(sandbox, token)
    assert demo.judge(sandbox.session(token), 2) == ""


def test_an_open_session_is_wrong(race):
    sandbox, token = race
    assert "nothing was closed" in demo.judge(sandbox.session(token), 2)


def test_a_session_that_someone_else_closed_is_wrong(race):
    """Only a call that closed it counts."""
    sandbox, token = race
    sandbox.tell(f"close {token}")
    assert "nothing was closed" in demo.judge(sandbox.session(token), 2)


def test_a_passing_that_came_too_late_is_wrong(race):
    sandbox, token = race
    close(sandbox, token)
    assert not sandbox.add_passing(token)
    assert demo.judge(sandbox.session(token), 3) == "passings were lost: 3 read, 2 arrived, 1 too late"


def test_a_passing_that_never_came_is_wrong(race):
    sandbox, token = race
    close(sandbox, token)
    assert "passings were lost" in demo.judge(sandbox.session(token), 3)


def test_a_session_closed_twice_is_wrong(race):
    sandbox, token = race
    close(sandbox, token)
    sandbox._sessions[token].closes = 2
    assert "2 times" in demo.judge(sandbox.session(token), 2)


def test_people_count_in_fives():
    assert [demo.tally(count) for count in (0, 1, 5, 7)] == ["", "|", "|||||", "||||| ||"]
