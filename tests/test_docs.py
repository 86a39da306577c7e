"""The documents agree with the program, and with each other."""

from __future__ import annotations

import marshal
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from stations import READER, Station, until

from rufusd.adapters.config import load
from rufusd.core.indicator import light, sound

ROOT = Path(__file__).parents[1]
MANUAL: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "manual.py"))
LED: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "led.py"))
ARCHITECTURE: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "architecture.py"))
PAGES = [ROOT / "docs" / name for name in ("rufusd.8", "rufusd.toml.5")]


def test_the_picture_of_the_led_is_the_code_that_drives_it() -> None:
    """docs/led.svg is what docs/led.py draws now; `make docs` makes it anew."""
    assert (ROOT / "docs" / "led.svg").read_text(encoding="utf-8") == LED["picture"]()


def test_the_picture_of_the_floors_is_drawn_from_the_imports() -> None:
    """docs/floors.svg shows every module, and the table in docs/architecture.md every transition; `make docs`."""
    assert (ROOT / "docs" / "floors.svg").read_text(encoding="utf-8") == ARCHITECTURE["picture"]()
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") == ARCHITECTURE["page"]()
    assert ARCHITECTURE["FLOORS"].keys() == {path.parent.name for path in (ROOT / "rufusd").glob("*/*.py")}


def test_what_the_architecture_names_exists() -> None:
    """Each file is there, and what the text calls by its name is defined in rufusd."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`(\w+(?:/\w+)+\.py)`", text))
    assert len(files) > 8
    assert [name for name in files if not (ROOT / "rufusd" / name).exists() and not (ROOT / name).exists()] == []
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rufusd").rglob("*.py"))
    names = set(re.findall(r"`(?:\w+\.)?(\w+)`", text)) - {"rufusd", "po", "md"}
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize(
    "name", ["README.md", "config/config.toml", "docs/rufusd.8", "docs/rufusd.toml.5", "docs/rufusd.bash"]
)
def test_what_is_written_from_the_program_is_what_it_says_now(name: str) -> None:
    """Keys, bounds, defaults, commands, options, statuses and lights; `make docs` writes them anew."""
    assert (ROOT / name).read_text(encoding="utf-8") == MANUAL["documents"]()[ROOT / name]


def test_the_environment_of_whoever_writes_the_documents_is_not_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their defaults are those of a station."""
    for variable in ("RUFUSD_CONFIG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.setenv(variable, "/somewhere/else")
    assert not [path for path, text in MANUAL["documents"]().items() if "/somewhere/else" in text]


def test_the_texts_of_the_keys_take_no_room_in_the_daemon() -> None:
    """They stand in the source, for whoever reads it and for the manual; the compiler drops them."""
    source = (ROOT / "rufusd" / "core" / "settings.py").read_text(encoding="utf-8")
    assert "With READ_WRITE, rufusd sees" in source
    assert b"With READ_WRITE, rufusd sees" not in marshal.dumps(compile(source, "settings.py", "exec"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_man_pages_have_no_mistake(page: Path) -> None:
    """Neither of the two programs that show them complains, not even of style."""
    for program in (["groff", "-man", "-Tutf8", "-ww"], ["mandoc", "-T", "lint", "-W", "style"]):
        ended = subprocess.run(
            [*program, page], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
        )
        complaints = ended.stderr + (ended.stdout if program[0] == "mandoc" else "")
        assert (ended.returncode, complaints) == (0, "")


@pytest.mark.parametrize(
    "text", ["a-b", "\\n", "'quoted'", '"in two"', ".TH", "Łódź", "~/x^2", "`--port N` of rufusd(8)", "it's"]
)
def test_no_character_of_a_text_means_anything_else_in_a_man_page(text: str) -> None:
    """What goes into a page comes out of it as it was."""
    page = f".TH X 8 2026-01-01\n.SH NAME\nx \\- y\n.SH TEXT\n{MANUAL['prose'](text)}\n"
    shown = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=150"],
        input=page,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    ).stdout
    plain = re.sub(".\b", "", shown).split("\n")
    assert plain[plain.index("TEXT") + 1].strip() == text.replace("`", "")


def test_the_manual_names_every_variable_that_the_program_reads() -> None:
    """And none that it does not."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rufusd").rglob("*.py"))
    read = set(re.findall(r'environ(?:\.\w+\(|\[)"(\w+)"|"(\w+)" in os\.environ', source))
    places = {place.variable for place in MANUAL["syntax"].PLACES.values()}
    named = set(re.findall(r"`(\w+)`", " ".join(names for names, _ in MANUAL["ENVIRONMENT"])))
    assert {one or other for one, other in read} | places == named


def test_the_manual_names_every_signal_that_the_daemon_takes() -> None:
    """And none that it does not."""
    source = (ROOT / "rufusd" / "daemon" / "loop.py").read_text(encoding="utf-8")
    assert set(re.findall(r"signal\.(SIG\w+)", source)) == set(
        re.findall(r"SIG\w+", " ".join(names for names, _ in MANUAL["SIGNALS"]))
    )


def test_the_manual_names_every_file_that_a_station_makes(make_station: Callable[..., Station], token: str) -> None:
    """One close of each state, one that waits for quiet, an armed reader: the two folders have what FILES has."""
    station = make_station(reader=READER, close={"grace": 0, "quiet": 600, "max_wait": 900})
    for state in ("closed", "withdrawn"):
        station.configure(session={"token": f"TOKEN-{state}"})
        assert station.command("close").returncode == 0
        (station.state / "pending" / f"TOKEN-{state}.json").rename(station.state / state / f"TOKEN-{state}.json")
    station.configure(session={"token": token})
    assert station.command("close").returncode == 0
    station.start("22 high")
    expected = {path for path, _ in MANUAL["FILES"]} - {MANUAL["CONFIG"]}

    def made() -> set[str]:
        return {
            f"{place}/{re.sub('TOKEN-[a-z]+|' + token, 'TOKEN', str(path.relative_to(folder)))}"
            for folder, place in ((station.state, MANUAL["STATE"]), (station.run, MANUAL["RUNTIME"]))
            for path in folder.rglob("*")
            if path.is_file() or path.is_socket()
        }

    until(lambda: made() >= expected)
    assert made() <= expected


def test_the_example_in_the_manual_is_a_good_configuration(tmp_path: Path) -> None:
    """As it stands there, without a warning."""
    page = (ROOT / "docs" / "rufusd.toml.5").read_text(encoding="utf-8")
    example = re.findall(r"\.EX\n(.*?)\.EE", page, re.DOTALL)[0].replace("\\-", "-").replace("\\(dq", '"')
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    loaded = load(str(tmp_path / "config.toml"))
    assert loaded.problems == ()
    assert loaded.settings
    assert loaded.settings.reader


@pytest.mark.parametrize("row", LED["ROWS"], ids=lambda row: row[0].value)
def test_the_words_for_a_light_are_what_the_light_does(row: tuple[Any, ...]) -> None:
    """Counted over twelve seconds: how often it goes on, and how often it sounds in the first."""
    indication, _, _, led, buzzer = row
    lit = [light(indication, hundredth / 100) for hundredth in range(1200)]
    rises = sum(now and not before for before, now in zip([False, *lit], lit))
    heard = [sound(indication, hundredth / 100) for hundredth in range(100)]
    beeps = sum(now and not before for before, now in zip([False, *heard], heard))
    words = {"off": 0, "on": 1, "a short blip every 3 s": 4, "two blips every 3 s": 8, "4 Hz and 1 Hz, 2 s each": 30}
    assert rises == (words[led] if led in words else 12 * int(led.partition(" Hz")[0]))
    assert all(lit) is (led == "on")
    said = {"": 0, "a tick each second": 1, "one": 1, "two": 2, "three": 3}
    assert beeps == said[buzzer if buzzer in said else buzzer.split()[0]]
    assert (sum(heard) == 100) is (buzzer == "one long beep")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("st", "status"),
        ("--v", "--version"),
        ("status --j", "--json"),
        ("check --s", "--state-dir"),
        ("check --j", ""),
        ("sandbox --", "--port --help"),
        ("run --config pyproj", "pyproject.toml"),
        ("run --state-dir tes", "tests"),
    ],
)
def test_bash_completes(typed: str, offered: str) -> None:
    """Commands, their own options, files and folders."""
    script = (
        f"source docs/rufusd.bash; COMP_WORDS=(rufusd {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        '_rufusd; echo "${COMPREPLY[*]}"'
    )
    ended = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert (ended.stdout.strip(), ended.stderr) == (offered, "")


def test_the_package_has_the_version_of_the_program() -> None:
    """debian/changelog's first line and rufusd/__init__.py say the same."""
    from rufusd import __version__

    assert (ROOT / "debian" / "changelog").read_text(encoding="utf-8").startswith(f"rufusd ({__version__}) ")
