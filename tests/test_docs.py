"""The documents agree with the program."""

from __future__ import annotations

import re
import runpy
from dataclasses import fields
from pathlib import Path

from rufusd.settings import TABLES

ROOT = Path(__file__).parents[1]


def test_the_picture_of_the_led_is_the_code_that_drives_it() -> None:
    """docs/led.svg is what docs/led.py draws now; `make docs` makes it anew."""
    drawn = runpy.run_path(str(ROOT / "docs" / "led.py"))["picture"]()
    assert (ROOT / "docs" / "led.svg").read_text(encoding="utf-8") == drawn


def test_the_readme_names_every_key_with_its_default() -> None:
    """The table of the configuration has one row for each key, no more, and the defaults of the code."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| ([^|]+?) \|", text, re.MULTILINE))
    known = {f"{name}.{field.name}": field.default for name, table in TABLES.items() for field in fields(table)}
    assert rows.keys() == known.keys()
    for key, default in known.items():
        if isinstance(default, float):
            assert rows[key] == f"{default:g}", key
        elif isinstance(default, str) and default:
            assert rows[key] in (f'`"{default}"`', f"`{default}`"), key


def test_the_readme_names_every_command() -> None:
    """Each command of the program is in the README's table, and none that is not."""
    from rufusd.cli import _COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `rufusd (\w+)", text, re.MULTILINE)) == set(_COMMANDS)
