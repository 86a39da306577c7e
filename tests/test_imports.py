"""The shape of the program, read from its source: who may import what. Nothing is imported here but `ast`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "rufusd"

# Modules that decide and touch nothing, modules that touch the world and decide nothing, modules that compose these.
PURE = {
    *(
        "settings",
        "triggers",
        "station",
        "record",
        "indicator",
        "delivery",
        "lookout",
        "schedule",
        "report",
        "watch",
        "words",
        "diagnosis",
    ),
}
WORLD = {
    *(
        "config",
        "draft",
        "pins",
        "chip",
        "rufus",
        "spool",
        "courier",
        "systemd",
        "network",
        "clock",
        "runtime",
        "language",
        "live",
        "terminal",
        "simulate",
        "sandbox",
    ),
}
COMPOSERS = {  # and what each composes beyond the pure and the world modules
    "daemon": set[str](),
    "demo": set[str](),
    "configure": set[str](),
    "asked": set[str](),
    "doctor": {"asked"},
    "cli": {"asked", "daemon", "demo", "configure", "doctor"},
    "__main__": {"cli"},
}
PACKAGE = {"__init__"}  # the version, no more
MODULES = PURE | WORLD | COMPOSERS.keys() | PACKAGE

HARMLESS = {
    *(
        "__future__",
        "dataclasses",
        "enum",
        "typing",
        "collections.abc",
        "json",
        "re",
        "math",
        "urllib.parse",
        "errno",
        "textwrap",
        "unicodedata",
        "heapq",
    ),
}
WORLDLY_BUILTINS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}
HOMES = {  # the one module that imports each outside library; urllib3 is a part of requests
    "gpiozero": "pins",
    "requests": "rufus",
    "urllib3": "rufus",
    "sdnotify": "systemd",
    "tomli": "config",
    "tomlkit": "draft",
}
STDLIB = getattr(sys, "stdlib_module_names", None)


def imports(source: str) -> Iterator[str]:
    """Every module that a source imports anywhere, in functions and for the type checker, too, by its full name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ("rufusd" if node.level else "", node.module)))
            submodules = [alias.name for alias in node.names if base == "rufusd" and alias.name in MODULES]
            yield from (f"rufusd.{name}" for name in submodules)
            if len(submodules) < len(node.names):
                yield base


def violations(module: str, source: str) -> list[str]:
    """What a module of this name must not have in its source."""
    if module not in MODULES:
        return [f"{module} has no class yet: pure, of the world, or composing?"]
    own = set(PURE)
    if module in PACKAGE:
        own = set()
    elif module in COMPOSERS:
        own = {"cli"} if module == "__main__" else PURE | WORLD | COMPOSERS[module]
    found = []
    for name in imports(source):
        top, _, rest = name.partition(".")
        if top == "rufusd":
            if rest and rest not in own:
                found.append(f"{module} imports {name}")
            elif not rest and module in PURE:
                found.append(f"{module} imports the package, which is not for the pure")
        elif top == "importlib":
            found.append(f"{module} imports by importlib, which hides what it imports")
        elif module in PURE and name not in HARMLESS:
            found.append(f"{module} is pure, and imports {name}")
        elif top in HOMES and module != HOMES[top]:
            found.append(f"{module} imports {name}, which belongs to {HOMES[top]}")
        elif top not in HOMES and STDLIB and top not in STDLIB:
            found.append(f"{module} imports {name}, which no module is the home of")
    if module in PURE:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and node.id in WORLDLY_BUILTINS:
                found.append(f"{module} is pure, and uses {node.id}")
    return found


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.stem)
def test_module_imports_only_what_its_class_may(path):
    """Pure modules import no world; world modules import no other one; only the composers compose."""
    assert violations(path.relative_to(SOURCES).with_suffix("").as_posix(), path.read_text(encoding="utf-8")) == []


def test_every_class_names_modules_that_exist():
    """The classes are of this program: none names a module that has gone or was renamed."""
    assert {path.stem for path in SOURCES.glob("*.py")} == MODULES


@pytest.mark.parametrize("library", HOMES)
def test_every_outside_library_is_imported_at_home(library):
    """The list of homes is true: the module named there does import the library."""
    source = (SOURCES / f"{HOMES[library]}.py").read_text(encoding="utf-8")
    assert library in {name.partition(".")[0] for name in imports(source)}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("helpers", ""),
        ("folder/triggers", ""),
        ("triggers", "import time"),
        ("triggers", "import json, random"),
        ("station", "def f():\n    import os"),
        ("station", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from logging import Logger"),
        ("delivery", "import requests"),
        ("delivery", "from rufusd import clock"),
        ("delivery", "from rufusd.clock import utc"),
        ("delivery", "from rufusd import record, spool"),
        ("delivery", "from . import spool"),
        ("delivery", "from .spool import Spool"),
        ("delivery", "import rufusd.spool as s"),
        ("delivery", "from rufusd import daemon"),
        ("delivery", "from rufusd import __version__"),
        ("settings", "from pathlib import Path"),
        ("settings", "from collections import deque"),
        ("settings", "from urllib import request"),
        ("indicator", "import gpiozero"),
        ("record", "def f(path):\n    return open(path).read()"),
        ("report", "print('hello')"),
        ("report", "time = __import__('time')"),
        ("spool", "from rufusd.clock import utc"),
        ("spool", "from rufusd import clock"),
        ("courier", "from rufusd.daemon import Daemon"),
        ("simulate", "import gpiozero"),
        ("daemon", "from gpiozero.pins.mock import MockFactory"),
        ("daemon", "import rufusd.cli"),
        ("daemon", "from rufusd import demo"),
        ("demo", "from rufusd.cli import main"),
        ("network", "import requests"),
        ("courier", "from urllib3 import Retry"),
        ("daemon", "import sdnotify"),
        ("settings", "import tomli"),
        ("cli", "import tomli"),
        ("clock", "import importlib"),
        ("__main__", "from rufusd.daemon import Daemon"),
        ("__init__", "from rufusd.daemon import Daemon"),
        pytest.param(
            *("clock", "import numpy"),
            marks=pytest.mark.skipif(not STDLIB, reason="Python 3.9 cannot list its standard library"),
        ),
    ],
)
def test_checker_finds(module, source):
    """The check is not idle: it finds each of these made-up violations."""
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("triggers", "from rufusd.settings import Button\nfrom collections.abc import Mapping\nimport json"),
        ("station", "from rufusd import indicator, record"),
        ("rufus", "import requests, urllib3.connection, time\nfrom rufusd import __version__\nimport rufusd.settings"),
        ("daemon", "from rufusd import __version__, clock, station"),
        ("cli", "def f():\n    from rufusd.daemon import Daemon"),
        ("__main__", "import sys\nfrom rufusd.cli import main"),
    ],
)
def test_checker_lets_pass(module, source):
    """What the shape allows is no violation."""
    assert violations(module, source) == []
