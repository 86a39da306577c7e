"""The floors of the program: the folder of a module tells what it may import. rufusd is parsed here, not imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "rufusd"

# The floors, and from which of them the modules of each may import.
FLOORS = {
    "core": {"core"},  # decides, and touches nothing
    "text": {"core", "text"},  # facts in, lines for people out; touches nothing
    "adapters": {"core"},  # one external thing each; none imports another
    "daemon": {"core", "text", "adapters", "daemon"},
    "commands": {"core", "text", "adapters", "daemon", "commands"},
    "training": {"core", "text", "adapters", "daemon", "commands", "training"},
}
PURE = {"core", "text"}
STARTS_ALL = "commands.cli"  # starts each command by its name, including those in training

HARMLESS = {
    "__future__",
    "collections.abc",
    "dataclasses",
    "enum",
    "errno",
    "heapq",
    "json",
    "math",
    "re",
    "textwrap",
    "typing",
    "unicodedata",
    "urllib.parse",
}
WORLDLY_BUILTINS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}
HOMES = {  # the one module that imports each outside library; urllib3 is a part of requests
    "gpiozero": "adapters.pins",
    "requests": "adapters.rufus",
    "urllib3": "adapters.rufus",
    "sdnotify": "adapters.systemd",
    "tomli": "adapters.config",
    "tomlkit": "adapters.draft",
}
STDLIB = getattr(sys, "stdlib_module_names", None)


def imports(source: str) -> Iterator[str]:
    """The full name of each imported module, including imports in functions and for the type checker."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            inside = [alias.name for alias in node.names if base.partition(".")[0] == "rufusd" and base.count(".") < 2]
            modules = [f"{base}.{name}" for name in inside if _exists(f"{base}.{name}")]
            yield from modules
            if len(modules) < len(node.names):
                yield base


def _exists(name: str) -> bool:
    """Whether there is a module, or a floor, of this full name."""
    path = SOURCES.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def violations(module: str, source: str) -> list[str]:
    """The forbidden imports and builtins in the source of this module ("core.station")."""
    floor, _, name = module.rpartition(".")
    package, floor = floor, floor.partition(".")[0]  # an adapter may have several files, in a folder of its own
    if floor not in FLOORS and module not in ("__init__", "__main__"):
        return [f"{module} is on no floor"]
    if name == "__init__":
        return [f"{module} imports {each}: an __init__ must not import" for each in imports(source)]
    found = []
    for imported in imports(source):
        top, _, rest = imported.partition(".")
        if top in ("rufusd", ""):
            found += _own_import_violations(module, package, imported, rest)
        elif top == "importlib":
            found.append(f"{module} imports by importlib, which hides what it imports")
        elif floor in PURE and imported not in HARMLESS:
            found.append(f"{module} is pure, and imports {imported}")
        elif top in HOMES and module != HOMES[top]:
            found.append(f"{module} imports {imported}, which belongs to {HOMES[top]}")
        elif top not in HOMES and STDLIB and top not in STDLIB:
            found.append(f"{module} imports {imported}, which no module may import")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in WORLDLY_BUILTINS and floor in PURE:
            found.append(f"{module} is pure, and uses {node.id}")
        elif isinstance(node, ast.Name) and node.id == "__import__" and module != STARTS_ALL:
            found.append(f"{module} imports by a name, which hides what it imports")
    return found


def _own_import_violations(module: str, package: str, imported: str, rest: str) -> list[str]:
    """What is wrong with an import of the program's own."""
    if imported.startswith("."):
        return [f"{module} imports {imported}, not by its full name"]
    floor, _, own = package.partition(".")
    if own and rest.startswith(f"{package}."):
        return []
    if not rest:
        return [f"{module} imports the package, and pure modules may not"] if floor in PURE else []
    target, _, _ = rest.partition(".")
    may = FLOORS.get(floor, {"commands"})
    return [] if target in may and target != rest else [f"{module} imports {imported}"]


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_module_imports_only_what_its_floor_may(path):
    """Imports go down only; pure modules import nothing external, and an adapter imports no other one."""
    name = ".".join(path.relative_to(SOURCES).with_suffix("").parts)
    assert violations(name, path.read_text(encoding="utf-8")) == []


def test_every_floor_is_a_folder():
    """And every folder with code in it is a floor."""
    assert {path.parent.name for path in SOURCES.glob("*/*.py")} == FLOORS.keys()


def test_the_tests_stand_on_the_floor_of_their_module():
    """tests/core/test_station.py is about rufusd/core/station.py; some test a library or a whole folder."""
    for floor in FLOORS:
        modules = {path.stem for path in (SOURCES / floor).rglob("*.py")}
        tests = {path.stem.removeprefix("test_") for path in (Path(__file__).parent / floor).glob("test_*.py")}
        assert tests, floor
        assert tests - modules <= {"lgpio", "tls", "daemon"}, floor


def test_what_is_started_by_its_name_is_a_command():
    """The table of commands names modules of two floors, and each has a `run`."""
    table = ast.walk(ast.parse((SOURCES / "commands" / "syntax.py").read_text(encoding="utf-8")))
    calls = [node for node in table if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Command"]
    modules = [ast.literal_eval(call.args[0]) for call in calls]
    assert len(set(modules)) == len(modules) > 10
    for module in modules:
        assert module.partition(".")[0] in ("commands", "training")
        source = ast.parse(SOURCES.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
        assert "run" in {node.name for node in source.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("library", HOMES)
def test_every_outside_library_is_imported_at_home(library):
    """The list of homes is true: the module named there does import the library."""
    source = SOURCES.joinpath(*HOMES[library].split(".")).with_suffix(".py").read_text(encoding="utf-8")
    assert library in {name.partition(".")[0] for name in imports(source)}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("helpers", ""),
        ("rooms.inputs", ""),
        ("core.inputs", "import time"),
        ("core.inputs", "import json, random"),
        ("core.station", "def f():\n    import os"),
        ("core.station", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from logging import Logger"),
        ("core.delivery", "import requests"),
        ("core.delivery", "from rufusd.adapters import clock"),
        ("core.delivery", "from rufusd.adapters.clock import utc"),
        ("core.delivery", "from rufusd.core import record\nfrom rufusd.adapters import closes"),
        ("core.delivery", "from . import record"),
        ("core.delivery", "from .record import Record"),
        ("core.delivery", "import rufusd.adapters.closes.spool as s"),
        ("core.delivery", "from rufusd.daemon import loop"),
        ("core.delivery", "from rufusd import __version__"),
        ("core.delivery", "from rufusd import adapters"),
        ("core.delivery", "from rufusd import core"),
        ("core.settings", "from rufusd.text.report import short"),
        ("core.settings", "from pathlib import Path"),
        ("core.settings", "from collections import deque"),
        ("core.settings", "from urllib import request"),
        ("core.indicator", "import gpiozero"),
        ("core.record", "def f(path):\n    return open(path).read()"),
        ("text.report", "print('hello')"),
        ("text.report", "time = __import__('time')"),
        ("text.watch", "from rufusd.adapters import terminal"),
        ("adapters.closes.spool", "from rufusd.adapters.clock import utc"),
        ("adapters.closes.spool", "from rufusd.adapters import clock"),
        ("adapters.clock", "from rufusd.adapters.closes.disk import reason"),
        ("core.deep.station", "from rufusd.core.deep.record import Record\nimport os"),
        ("adapters.closes.spool", "from rufusd.text import report"),
        ("adapters.network", "import requests"),
        ("daemon.courier", "from rufusd.commands.cli import main"),
        ("daemon.courier", "from urllib3 import Retry"),
        ("daemon.loop", "from gpiozero.pins.mock import MockFactory"),
        ("daemon.loop", "import rufusd.commands.cli"),
        ("daemon.loop", "from rufusd.training import demo"),
        ("daemon.loop", "import sdnotify"),
        ("training.simulate", "import gpiozero"),
        ("core.settings", "import tomli"),
        ("commands.cli", "import tomli"),
        ("commands.cli", "from rufusd.training import demo"),
        ("commands.close", "loop = __import__('rufusd.training.demo')"),
        ("adapters.clock", "import importlib"),
        ("__main__", "from rufusd.daemon.loop import Daemon"),
        ("__init__", "from rufusd.daemon.loop import Daemon"),
        ("core.__init__", "from rufusd.core.settings import Settings"),
        pytest.param(
            *("adapters.clock", "import numpy"),
            marks=pytest.mark.skipif(not STDLIB, reason="Python 3.9 cannot list its standard library"),
        ),
    ],
)
def test_checker_finds(module, source):
    """The checker finds each of these violations."""
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.inputs", "from rufusd.core.settings import Button\nfrom collections.abc import Mapping\nimport json"),
        ("core.station", "from rufusd.core import indicator, record"),
        ("text.watch", "from rufusd.text.report import short"),
        ("adapters.rufus", "import requests, urllib3.connection, time\nfrom rufusd import __version__"),
        ("adapters.rufus", "import rufusd.core.settings"),
        ("adapters.closes.spool", "from rufusd.adapters.closes.disk import reason\nfrom rufusd.core import record"),
        (
            "daemon.loop",
            "from rufusd import __version__\nfrom rufusd.adapters import clock\nfrom rufusd.core import station",
        ),
        ("commands.cli", "def f():\n    from rufusd.daemon.loop import Daemon"),
        ("commands.cli", "def f(name):\n    return __import__(name)"),
        ("training.demo", "from rufusd.commands import doctor"),
        ("__main__", "import sys\nfrom rufusd.commands.cli import main"),
    ],
)
def test_checker_lets_pass(module, source):
    """What the floors allow is no violation."""
    assert violations(module, source) == []
