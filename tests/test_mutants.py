"""The mutator of `make mutants`: what it changes, what it leaves alone, and that its list fits the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import mutants
import pytest

SOURCE = '''
LIMIT = 3

def late(seconds: int | None, strict: bool = True) -> object:
    """Whether it is 3 seconds late."""
    if seconds is None or not strict:
        return _("nobody knows {n}", n=1)
    return replace(min(seconds - 1, LIMIT), now=0.0)
'''
EXPECTED = """
m: LIMIT = 3 → LIMIT = 4
m: LIMIT = 3 → LIMIT = 2
m.late: seconds: int | None, strict: bool=True → seconds: int | None, strict: bool=False
m.late: seconds is None or not strict → True
m.late: seconds is None or not strict → False
m.late: seconds is None or not strict → seconds is None and (not strict)
m.late: seconds is None or not strict → not strict
m.late: seconds is None or not strict → seconds is None
m.late: seconds is None or not strict → seconds is not None or not strict
m.late: seconds is None or not strict → seconds is None or strict
m.late: return _('nobody knows {n}', n=1) → return None
m.late: return replace(min(seconds - 1, LIMIT), now=0.0) → return None
m.late: return replace(min(seconds - 1, LIMIT), now=0.0) → return replace(min(seconds - 1, LIMIT))
m.late: replace(min(seconds - 1, LIMIT), now=0.0) → replace(max(seconds - 1, LIMIT), now=0.0)
m.late: min(seconds - 1, LIMIT) → min(seconds + 1, LIMIT)
m.late: seconds - 1 → seconds - 2
m.late: seconds - 1 → seconds - 0
m.late: now=0.0 → now=1.0
"""


def made(source: str) -> list[str]:
    return [each.name for each in mutants.mutants(source, "m", mutants.enums_of(source))]


def test_a_small_function_has_the_mutants_that_one_expects() -> None:
    """Each is one change, named; the docstring, the annotation and the sentence for people stay as they are."""
    assert sorted(made(SOURCE)) == sorted(EXPECTED.split("\n")[1:-1])


def test_each_mutant_is_another_program_and_the_last_leaves_the_source_as_it_was() -> None:
    """A change is taken back before the next one is made."""
    found = mutants.mutants(SOURCE, "m", {})
    trees = [ast.unparse(each.tree) for each in found]
    assert len({*trees, ast.unparse(ast.parse(SOURCE))}) == len(trees) + 1


def test_an_enums_member_gives_way_to_the_next_and_its_value_stays() -> None:
    """A table of transitions is broken entry by entry."""
    source = "class Step(Enum):\n    READ = 'read'\n    CLOSE = 'close'\nNEXT = {Step.READ: Step.CLOSE}\n"
    assert made(source) == [
        "m: NEXT = {Step.READ: Step.CLOSE} → NEXT = {}",
        "m: {Step.READ: Step.CLOSE} → {Step.CLOSE: Step.CLOSE}",
        "m: {Step.READ: Step.CLOSE} → {Step.READ: Step.READ}",
    ]


def test_two_mutants_of_one_function_never_have_the_same_name() -> None:
    """The list can tell them apart."""
    assert made("def f():\n    a = 0\n    a = 0\n") == ["m.f: a = 0 → a = 1", "m.f: a = 0 → a = 1 (no. 2)"]


@pytest.mark.parametrize("module", mutants.TESTS)
def test_each_listed_survivor_fits_the_source(module: str) -> None:
    """A reason that was given for another code may not hold any more."""
    sources = {name: (mutants.CORE / f"{name}.py").read_text(encoding="utf-8") for name in mutants.TESTS}
    known = mutants.listed(mutants.LIST.read_text(encoding="utf-8"))
    assert {name.partition(":")[0].partition(".")[0] for name in known} <= set(mutants.TESTS)
    exist = {each.name for each in mutants.mutants(sources[module], module, mutants.enums_of(*sources.values()))}
    assert {name for name in known if name.startswith((f"{module}:", f"{module}."))} <= exist


@pytest.mark.parametrize("module", mutants.TESTS)
def test_the_tests_of_each_module_can_be_loaded_without_plugins(module: str) -> None:
    """A test that cannot be loaded there fails on every mutant: each seems to be caught."""
    script = "import mutants, sys; sys.exit(mutants.run(sys.argv[1], mutants.First({}), '--collect-only'))"
    command = [sys.executable, "-c", script, module]
    paths = os.pathsep.join((str(mutants.ROOT), str(mutants.ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    loaded = subprocess.run(command, cwd=mutants.ROOT, env=environment, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr


def test_nothing_is_tried_where_a_test_cannot_be_loaded() -> None:
    """The tests have to pass with the unchanged source first."""

    class Session:
        testsfailed = 1
        items: list[pytest.Item] = []  # noqa: RUF012 - as pytest has it

    tried: list[mutants.Mutant] = []
    trial = mutants.Trial(mutants.mutants(SOURCE, "m", {}), 1, lambda mutant, _: tried.append(mutant))
    with pytest.raises(pytest.exit.Exception, match="a test fails with the unchanged source"):
        trial.pytest_runtestloop(Session())  # type: ignore[arg-type]
    assert not tried
