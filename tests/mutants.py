"""Break one small thing at a time in the modules that decide about closes, and see whether a test notices.

    python tests/mutants.py [--jobs N] [--only TEXT]

Each mutant is one small change of one module: another comparison, a number that is a little larger, an argument less.
It runs in a process of its own, against the tests of the pure modules. tests/mutants.md lists the mutants that survive
and why each is harmless. The exit status is 1 where another one survives, and where a listed one is caught or gone.

Texts for people, annotations, decorators and the values of an Enum's members stay as they are.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

import hypothesis  # noqa: F401 - here, so that not each process has to import it
import pytest

import rufusd.core.settings  # noqa: F401 - it is not changed; the modules that are may not be imported here

ROOT = Path(__file__).parents[1]
CORE = ROOT / "rufusd" / "core"
LIST = Path(__file__).with_suffix(".md")
TESTS = {  # a module, and the tests that judge its mutants
    "inputs": ("inputs",),
    "policy": ("policy",),
    "closes": ("closes",),
    "station": ("station",),
    "view": ("view",),
    "lookout": ("lookout",),
    "delivery": ("delivery", "lookout"),
    "deliveries": ("deliveries",),
    "schedule": ("schedule",),
    "indicator": ("indicator",),
    "record": ("record",),
}
# Drawn examples, hours of noise, months offline and every second pace of the scans take long. A rule that only they
# defend needs a test that names it.
LEFT_OUT = re.compile(
    "any_sequence|noise_closes|hum_closes|each 7 ms|any_world|any_answer|months|no_json|no_text|86400"
)
TIME_LIMIT = 20  # seconds of computing in one test; the longest takes 3, so a longer one never ends

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNTOUCHED = {"annotation", "returns", "decorator_list"}
SHOWN = 100  # characters of a change; of a longer one only its neighbourhood is shown

Enums = dict[str, list[str]]  # the members of each Enum, in their order


class Mutant(NamedTuple):
    """One change: in which function, what, and the whole module, which has it until the next mutant is asked for."""

    where: str
    what: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """What it is called in the list."""
        return f"{self.where}: {self.what}"


def mutants(source: str, module: str, enums: Enums) -> Iterator[Mutant]:
    """All mutants of a module's source. Two in one function that read the same are numbered."""
    tree = ast.parse(source)
    told: Counter[str] = Counter()
    for where, holder, field, index, new in _changes(tree, module, enums):
        old = getattr(holder, field)
        child = old if index is None else old[index]
        before = _text(holder, child)
        setattr(holder, field, new if index is None else [*old[:index], new, *old[index + 1 :]])
        what = _difference(before, _text(holder, new))
        told[where + what] += 1
        yield Mutant(where, what + (f" (no. {told[where + what]})" if told[where + what] > 1 else ""), tree)
        setattr(holder, field, old)


def enums_of(*sources: str) -> Enums:
    """The members of all Enums that these sources define."""
    classes = [node for source in sources for node in ast.walk(ast.parse(source)) if _is_enum(node)]
    return {
        each.name: [target.id for line in each.body if isinstance(line, ast.Assign) for target in line.targets]
        for each in classes
    }


def _is_enum(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Enum" for base in node.bases)


def _text(holder: ast.AST, child: ast.AST) -> str:
    """The source of what surrounds a change; of a compound statement only the part that is changed."""
    return " ".join(ast.unparse(child if isinstance(getattr(holder, "body", None), list) else holder).split())


def _difference(before: str, after: str) -> str:
    if max(len(before), len(after)) > SHOWN:
        begin = max(0, _in_common(before, after) - SHOWN // 4)
        end = max(0, _in_common(before[:begin:-1], after[:begin:-1]) - SHOWN // 4)
        before, after = (f"…{text[begin : len(text) - end]}…" for text in (before, after))
    return f"{before} → {after}"


def _in_common(one: str, other: str) -> int:
    """With how many same characters both begin."""
    return next((place for place, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def _changes(holder: ast.AST, where: str, enums: Enums) -> Iterator[tuple[str, ast.AST, str, int | None, ast.AST]]:
    """Each change that can be made below a node: the node, its field, the place in it, and what is to be there."""
    for field, value in ast.iter_fields(holder):
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children if field not in UNTOUCHED else ():
            if not isinstance(child, ast.AST) or _is_text(child, holder):
                continue
            for new in _alternatives(child, holder, enums):
                yield where, holder, field, index, new
            named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
            yield from _changes(child, f"{where}.{child.name}" if named else where, enums)


def _is_text(node: ast.AST, holder: ast.AST) -> bool:
    """Whether it is a docstring, a sentence for people, or what a member of an Enum is called for them."""
    if isinstance(node, ast.Assign):
        return _is_enum(holder)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"


def _alternatives(node: ast.AST, holder: ast.AST, enums: Enums) -> Iterator[ast.AST]:
    """What can stand in a node's place: the node with one small change."""
    if isinstance(holder, ast.If) and isinstance(node, ast.expr):
        yield from (ast.Constant(True), ast.Constant(False))
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for rest in _one_less(node.values):
            yield ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _other_values(node.value))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in enums:
        members = enums[node.value.id]
        yield ast.Attribute(node.value, members[(members.index(node.attr) + 1) % len(members)], node.ctx)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    elif isinstance(node, ast.Dict):
        for entries in _one_less([*zip(node.keys, node.values)]):
            yield ast.Dict([key for key, _ in entries], [value for _, value in entries])
    elif isinstance(node, ast.Tuple) and isinstance(holder, (ast.Compare, ast.ExceptHandler)):
        yield from (ast.Tuple(rest, node.ctx) for rest in _one_less(node.elts))
    elif isinstance(node, ast.comprehension):
        for rest in _one_less(node.ifs):
            yield ast.comprehension(node.target, node.iter, rest, node.is_async)
    elif isinstance(node, ast.Return) and isinstance(node.value, (ast.Name, ast.Call, ast.IfExp, ast.Attribute)):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Expr, ast.Continue)) or (isinstance(node, ast.Assign) and _changes_its_own(node)):
        yield ast.Pass()


def _one_less(items: list) -> Iterator[list]:
    return (items[:place] + items[place + 1 :] for place in range(len(items)))


def _other_calls(call: ast.Call) -> Iterator[ast.AST]:
    """The opposite function; an argument that has a name less; no call, where it is a method without arguments."""
    name = ast.unparse(call.func)
    if name in FUNCTIONS:
        yield ast.Call(ast.Name(FUNCTIONS[name], ast.Load()), call.args, call.keywords)
    for rest in _one_less(call.keywords):
        yield ast.Call(call.func, call.args, rest)
    if isinstance(call.func, ast.Attribute) and not call.args and not call.keywords:
        yield call.func.value


def _other_values(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1) if value else (1,)
    elif isinstance(value, float):
        yield from (float(f"{value * factor:.6g}") for factor in (1.1, 0.9)) if value else (1.0,)
    elif isinstance(value, str):
        yield "" if value else "?"


def _changes_its_own(line: ast.Assign) -> bool:
    """Whether a name's new value comes from the old one: without the line, the name still has a value."""
    return {ast.unparse(each) for each in line.targets} <= {ast.unparse(each) for each in ast.walk(line.value)}


def listed(text: str) -> dict[str, str]:
    """The survivors that the table of tests/mutants.md has: the name of each, and its reason."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (.+) \|$", text, re.M)
    return {f"{where}: {what}": why for where, what, why in rows}


class First:
    """What pytest asks: which tests to run, in which order, and for how long."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds  # that each test takes with the unchanged source, where that is known

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let the quick ones come first."""
        items[:] = [item for item in items if not LEFT_OUT.search(item.nodeid)]
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_setup(self) -> None:
        """End the process where a test never ends, as this signal does."""
        signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)


class Trial(First):
    """What pytest asks, once it has the tests of a module: to run them on each of the module's mutants.

    A mutant is tried in a forked process, so that the tests are there already and nothing of it stays.
    """

    def __init__(self, todo: Iterator[Mutant], jobs: int, note: Callable[[Mutant, bool], None]) -> None:
        super().__init__({})
        self.todo, self.jobs, self.note = todo, jobs, note  # `note` is told of each mutant, and whether it survives
        self.failed = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests on the unchanged source; then, the quick ones first, on each mutant."""
        if session.testsfailed or not self._passes(session.items):  # it fails already where a test cannot be loaded
            pytest.exit("a test fails with the unchanged source", returncode=1)
        items = sorted(session.items, key=lambda item: self.seconds[item.nodeid])
        running: dict[int, Mutant] = {}  # by the number of its process
        while True:
            while len(running) < self.jobs and (mutant := next(self.todo, None)):
                process = os.fork()
                if not process:
                    try:
                        os._exit(0 if self._survives(mutant, items) else 1)
                    finally:  # also where the changed module cannot even be imported
                        os._exit(1)
                running[process] = mutant
            if not running:
                return True
            process, status = os.wait()
            self.note(running.pop(process), status == 0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how long a test took, and whether it failed."""
        self.failed = self.failed or report.failed
        if report.when == "call":
            self.seconds[report.nodeid] = report.duration

    def _passes(self, items: list[pytest.Item]) -> bool:
        for item in items:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self.failed:
                return False
        signal.setitimer(signal.ITIMER_PROF, 0)
        return True

    def _survives(self, mutant: Mutant, items: list[pytest.Item]) -> bool:
        module, *path = mutant.where.split(".")
        changed = types.ModuleType(f"rufusd.core.{module}")
        exec(compile(ast.fix_missing_locations(mutant.tree), f"{module}.py", "exec"), changed.__dict__)
        if _put(changed, path) and not self._passes(items):
            return False
        # A constant, a class, and what a test's parameters were made of, is in many places by now: begin anew.
        for name in [name for name in sys.modules if name.startswith(("rufusd", "test_"))]:
            del sys.modules[name]
        sys.modules[changed.__name__] = changed
        setattr(importlib.import_module("rufusd.core"), module, changed)
        exec(compile(mutant.tree, f"{module}.py", "exec"), changed.__dict__)
        return run(module, First(self.seconds), "--exitfirst") == 0


def _put(changed: types.ModuleType, path: list[str]) -> bool:
    """Give the function or property at this path the code that it has in the changed module. False: it is none."""
    old, new = sys.modules[changed.__name__], changed
    for name in path:
        old, new = vars(old)[name], vars(new)[name]
    if isinstance(old, property):
        old, new = old.fget, new.fget
    if not isinstance(old, types.FunctionType):
        return False
    for part in ("__code__", "__defaults__", "__kwdefaults__"):
        setattr(old, part, getattr(new, part))
    return True


def run(module: str, plugin: object, *options: str) -> int:
    """Run the tests that judge this module. Return pytest's exit status."""
    files = [str(ROOT / "tests" / "core" / f"test_{name}.py") for name in TESTS[module]]
    quiet = ["--noconftest", "--assert=plain", "--capture=no", "-p", "no:cacheprovider", "-p", "no:terminal"]
    return pytest.main([*quiet, "-o", "addopts=", *options, *files], plugins=[plugin])


def main(arguments: list[str]) -> int:
    """Try the mutants and compare what survives with the list. Return the exit status."""
    parser = argparse.ArgumentParser("mutants.py")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time")
    parser.add_argument("--only", default="", help="only those with this text in their name")
    options = parser.parse_args(arguments)
    os.environ.update(LANGUAGE="C", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    known = {name for name in listed(LIST.read_text(encoding="utf-8")) if options.only in name}
    sources = {module: (CORE / f"{module}.py").read_text(encoding="utf-8") for module in TESTS}
    enums = enums_of(*sources.values())
    tried: dict[str, bool] = {}  # whether it survives
    began = time.monotonic()

    def note(mutant: Mutant, survives: bool) -> None:
        tried[mutant.name] = survives
        if survives:
            print(f"{'listed  ' if mutant.name in known else 'SURVIVES'} {mutant.name}", flush=True)
        if len(tried) % 100 == 0:
            print(f"{len(tried)} tried in {time.monotonic() - began:.0f} s", flush=True)

    for module, source in sources.items():
        if any(options.only in mutant.name for mutant in mutants(source, module, enums)):
            todo = (mutant for mutant in mutants(source, module, enums) if options.only in mutant.name)
            if run(module, Trial(todo, options.jobs, note)):
                print(f"the tests of {module} fail with the unchanged source")
                return 1
    survivors = {name for name, survives in tried.items() if survives}
    for name in sorted(known - survivors):
        print(f"LISTED, but caught or gone: {name}")
    print(f"{len(tried)} mutants: {len(tried) - len(survivors)} caught, {len(survivors)} survive, {len(known)} listed")
    return 1 if survivors != known else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
