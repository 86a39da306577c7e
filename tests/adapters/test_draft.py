"""The configuration's text is changed where it must be, and nowhere else; and it is saved whole or not at all."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import tomli

from rufusd.adapters import draft
from rufusd.adapters.draft import NotEditable, changed, save, without

EXAMPLE = (Path(__file__).parents[2] / "config" / "config.toml").read_text(encoding="utf-8")


def lines_changed(before: str, after: str) -> list[tuple[str, str]]:
    """Each line that is another one now; the two have the same number."""
    pairs = list(zip(before.split("\n"), after.split("\n")))
    assert before.count("\n") == after.count("\n")
    return [(one, other) for one, other in pairs if one != other]


@pytest.mark.parametrize(
    ("table", "key", "value", "lines"),
    [
        ("session", "name", 'Łódź "10K"', [('name = "FINISH-10K"', 'name = "Łódź \\"10K\\""')]),
        ("button", "pin", "BOARD11", [("pin = 17", 'pin = "BOARD11"')]),
        ("button", "active", "high", [('# active = "low"', 'active = "high"')]),
        ("api", "key_file", "key", [('# key_file = "/etc/rufusd/key"', 'key_file = "key"')]),
        ("reader", "pin", 5, [("# [reader]", "[reader]"), ("# pin = 27", "pin = 5")]),
        ("buzzer", "active", "low", [("# [buzzer]", "[buzzer]"), ('# active = "high"', 'active = "low"')]),
    ],
)
def test_in_the_example_a_value_is_put_where_it_stands(
    table: str, key: str, value: Any, lines: list[tuple[str, str]]
) -> None:
    """What is commented out there is put in force in its place, under the words that explain it."""
    assert lines_changed(EXAMPLE, changed(EXAMPLE, table, key, value)) == lines


def test_what_is_taken_away_is_commented_out_and_comes_back() -> None:
    """A table with all its keys; put in force again, the file is what it was."""
    off = without(EXAMPLE, "button")
    assert lines_changed(EXAMPLE, off) == [("[button]", "# [button]"), ("pin = 17", "# pin = 17")]
    assert changed(off, "button", "pin", 17) == EXAMPLE
    assert ("key = ", "# key = ") in [
        (one[:6], other[:8]) for one, other in lines_changed(EXAMPLE, without(EXAMPLE, "api", "key"))
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[button]\npin = 17\n"),
        ("[button]", "[button]\npin = 17"),
        ("[button]\npin = 3   # mine\n[x]\n", "[button]\npin = 17   # mine\n[x]\n"),
        ("# [button]\n# pin = as you like\n", "[button]\npin = 17\n# pin = as you like\n"),
        ("[button]\nhold_time = 2\n\n# About it\n[x]\n", "[button]\nhold_time = 2\npin = 17\n\n# About it\n[x]\n"),
        ("# [button]\n[button]\npin = 2\n", "# [button]\n[button]\npin = 17\n"),
        ("button = { pin = 2, active = 'low' }\n", "button = { pin = 17, active = 'low' }\n"),
        ("button.active = 'low'\n", "button.active = 'low'\nbutton.pin = 17\n"),
        ("[x]\na = [\n1, # one\n]\n", "[x]\na = [\n1, # one\n]\n\n[button]\npin = 17\n"),
        ('[x]\na = """\n# [button]\n"""\n', '[x]\na = """\n# [button]\n"""\n\n[button]\npin = 17\n'),
        ('[button]\na = """\n# pin = 2\n"""\n', '[button]\na = """\n# pin = 2\n"""\npin = 17\n'),
    ],
)  # fmt: skip
def test_however_the_file_is_written_only_that_value_changes(before: str, after: str) -> None:
    """Other spellings of TOML's, no such table, what only looks like one inside a text: all the rest is untouched."""
    assert changed(before, "button", "pin", 17).strip() == after.strip()


@pytest.mark.parametrize(
    "before", ["button = { pin = 2 }\na = 1\n", "button.pin = 2\na = 1\n", '[button]\nb = """\n#\n"""\n[x]']
)
def test_a_table_in_any_spelling_can_be_taken_away(before: str) -> None:
    """And nothing but it."""
    tree = tomli.loads(before)
    del tree["button"]
    assert tomli.loads(without(before, "button")) == tree


@pytest.mark.parametrize("text", ["[button", "a = 1\na = 2", "button = 3", "[[button]]\npin = 2\n"])
def test_what_is_no_configuration_is_not_changed(text: str) -> None:
    """Nothing is guessed into a text that is broken, or whose [button] is no table."""
    with pytest.raises(NotEditable):
        changed(text, "button", "pin", 17)


# -- saving


def test_an_existing_file_keeps_its_mode_and_owner(tmp_path: Path) -> None:
    """Whatever they are; and what is a link stays one."""
    file, link = tmp_path / "real.toml", tmp_path / "config.toml"
    file.write_text("old")
    file.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(file, 12, 34)
    link.symlink_to("real.toml")
    before = file.stat()
    assert save(link, "new\n") is None
    after = file.stat()
    assert link.is_symlink()
    assert file.read_text() == "new\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.toml", "real.toml"]


def test_a_new_file_is_not_for_all_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """root's, and the group rufusd's where there is one; the umask does not count."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _, *owner: given.append(owner))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", 4321, [])))
    save(tmp_path / "config.toml", "new")
    assert stat.S_IMODE((tmp_path / "config.toml").stat().st_mode) == 0o640
    assert given == [(0, 4321)]


def test_the_old_file_can_be_kept(tmp_path: Path) -> None:
    """Under a name that no file had, as it was, more than once."""
    file = tmp_path / "config.toml"
    names = []
    for text in ("one", "two", "three"):
        file.write_text(text)
        names.append(save(file, "new", keep=True))
    assert [name.read_text() for name in names if name] == ["one", "two", "three"]


def test_it_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is synced, then the name given to it, then the folder synced."""
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def syncs(opened: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(opened).st_mode) else f"{os.fstat(opened).st_size} bytes")
        sync(opened)

    def renames(old: str, new: Path) -> None:
        done.append(f"rename to {new.name}")
        rename(old, new)

    monkeypatch.setattr(draft.os, "fsync", syncs)
    monkeypatch.setattr(draft.os, "rename", renames)
    save(tmp_path / "config.toml", "new text")
    assert done == ["8 bytes", "rename to config.toml", "folder"]


def test_where_it_cannot_be_saved_nothing_is_left(tmp_path: Path) -> None:
    """No temporary file, with the key in it, stays behind."""
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(OSError, match="directory"):
        save(tmp_path / "config.toml", "new")
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]
