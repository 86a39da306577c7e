"""rufusd itself, unchanged, with the simulated world in the place of the real one.

Each of its modules is compiled from its source and run with builtins whose `__import__` and `open` are the world's.
So no module needs a word about it, and it does not matter which of the product's names hold what. Outside stay: the
HTTP client (`adapters/rufus.py`; requests), gpiozero and the kernel. Of the product's own names these are relied on:
`cli.main`, and `indicator.light`, by which the LED's meaning is seen at the moment that it changes.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import sys
import types
from dataclasses import dataclass
from typing import Any

from . import kernel
from .rufus import Client
from .world import current

HOME = pathlib.Path(__file__).resolve().parents[2]
LOADED = {  # at first: what is loaded late, by a command, would count as the command's time
    "commands": "cli asked files close withdraw retry status run",
    "daemon": "loop once",
    "adapters": "runtime closes.spool config pins clock language systemd live network",
    "text": "report watch diagnosis",
}


@functools.cache
def _compiled(source: str, path: str) -> types.CodeType:
    """A mutant differs in one module; the others need not be compiled again."""
    return compile(source, path, "exec")


def source_of(module: str, home: pathlib.Path = HOME) -> pathlib.Path:
    """The file of a module of rufusd, on whichever floor it is. Raises LookupError where there is none."""
    for path in (home / "rufusd").rglob(f"{module}.py"):
        return path
    raise LookupError(f"rufusd has no module called {module}")


@dataclass(frozen=True)
class Change:
    """One change of the product's source, in memory: in this function (or in the module) one text by another."""

    module: str
    function: str
    old: str
    new: str


def changed(source: str, change: Change) -> str:
    """The source with the change. Raises LookupError where its text is not there exactly once."""
    start, end, lines = 0, None, source.splitlines(keepends=True)
    if change.function:
        found = [
            node for node in ast.walk(ast.parse(source))
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == change.function
        ]  # fmt: skip
        if len(found) != 1:
            raise LookupError(f"{change.module} has {len(found)} functions called {change.function}")
        start, end = found[0].lineno - 1, found[0].end_lineno
    before, inside, after = "".join(lines[:start]), "".join(lines[start:end]), "".join(lines[end:] if end else [])
    if inside.count(change.old) != 1:
        place = f"{change.module}.{change.function}".rstrip(".")
        raise LookupError(f"{place} has this text {inside.count(change.old)} times, expected once: {change.old!r}")
    return before + inside.replace(change.old, change.new) + after


class Product:
    """The product's modules, loaded once for a process."""

    def __init__(self, change: Change | None = None, home: pathlib.Path = HOME) -> None:
        """`change` makes a mutant of it. Raises LookupError where the change does not fit the source any more."""
        self.home, self.change = home, change
        self.modules: dict[str, types.ModuleType] = {}
        self.changed = False
        self._builtins = kernel.builtin_names(self._import)
        for floor, names in LOADED.items():
            for name in names.split():
                self.load(f"rufusd.{floor}.{name}")
        if change and not self.changed:
            raise LookupError(f"no module that takes part in races is called {change.module}")

    def load(self, name: str) -> Any:
        """A module of the product."""
        if name in self.modules:
            return self.modules[name]
        if name == "rufusd.adapters.rufus":
            self.modules[name] = kernel.module(name, Client=Client)
            self._into_package(name)
            return self.modules[name]
        path = self.home.joinpath(*name.split("."))
        package = path.is_dir()
        path = path / "__init__.py" if package else path.with_suffix(".py")
        if not path.exists():
            raise ImportError(f"no module named {name}")
        if name != "rufusd":
            self.load(name.rpartition(".")[0])
        module = types.ModuleType(name)
        self.modules[name] = module
        vars(module).update(__builtins__=self._builtins, __file__=str(path))
        if package:
            module.__path__ = [str(path.parent)]
        before = sys.modules.get(name)
        sys.modules[name] = module  # dataclasses look for a class's module there
        try:
            exec(_compiled(self._source(name, path), str(path)), vars(module))
        finally:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
        if name == "rufusd.core.indicator":
            self._tap(module)
        self._into_package(name)
        return module

    def _into_package(self, name: str) -> None:
        package, _, last = name.rpartition(".")
        if package:
            setattr(self.load(package), last, self.modules[name])

    def _source(self, name: str, path: pathlib.Path) -> str:
        source = path.read_text(encoding="utf-8")
        if self.change and path == source_of(self.change.module, self.home):
            source = changed(source, self.change)
            self.changed = True
        return source

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if name == "rufusd" or name.startswith("rufusd."):
            module = self.load(name)
            for each in fromlist or ():
                if not hasattr(module, each):
                    self.load(f"{name}.{each}")
            return module if fromlist else self.load("rufusd")
        if name in kernel.MODULES:
            return kernel.MODULES[name if fromlist else name.partition(".")[0]]
        if name in kernel.FORBIDDEN or name.partition(".")[0] in kernel.FORBIDDEN:
            raise ImportError(f"the simulated world has no {name}: add it to kernel.py, or keep it out of the race")
        return __import__(name, globals, locals, fromlist or (), 0)

    @staticmethod
    def _tap(indicator: Any) -> None:
        """See each change of what the LED means at once; decoding the blinking would take half a second."""
        light = indicator.light

        def tapped(shown: Any, *more: Any, **others: Any) -> Any:
            current().machine.shows(shown.value)
            return light(shown, *more, **others)

        indicator.light = tapped

    # -- the programs

    def main(self, *arguments: str) -> int:
        """`rufusd ARGUMENTS` in the process that runs now."""
        process = current()
        process.facts["arguments"] = ["rufusd", *arguments]
        status: int = self.load("rufusd.commands.cli").main(list(arguments))
        return status
