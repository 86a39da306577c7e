"""The simulated world of tests/simulation: it is deterministic, it sees faults, and what it found stays mended."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parent
STORIES = sorted((TESTS / "simulation" / "stories").glob("*.json"))


def simulate(*arguments: str) -> subprocess.CompletedProcess:
    """In a process of its own, since it loads rufusd anew."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'faults'}", "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_race_is_a_function_of_its_seed():
    """Twice the same seed is twice the same race, to the millisecond and whatever Python's hashes are."""
    first, second = simulate("simulation", "--race", "3"), simulate("simulation", "--race", "3")
    assert first.stdout == second.stdout
    assert "the daemon" in first.stdout or "LED" in first.stdout


def test_a_race_with_a_broken_rule_fails_and_is_told():
    """Promise 1: the oracle sees a press that confirms although it was too short; the mutant is caught, and named."""
    told = simulate("simulation.mutants", "--jobs", "1", "any press confirms")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "promise 1" in told.stdout


def test_every_mutant_fits_the_source():
    """A mutant whose text is gone would be caught for ever, by nothing."""
    told = simulate("simulation.mutants", "--check")
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_what_was_found_stays_mended(story):
    """The shortest story of each fault that the races have found; its name says which promise it had broken."""
    assert json.loads(story.read_text())["events"]
    told = simulate("simulation", "--story", str(story))
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr


def test_rufusd_keeps_no_more_as_time_goes_on():
    """Promise 2: for as long as a race takes; everything happens again and again, and memory stays as it was."""
    told = simulate("simulation.growth", "--minutes", "8")
    assert told.returncode == 0, told.stdout + told.stderr
