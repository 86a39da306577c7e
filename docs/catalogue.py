"""Writes the catalogue of each language, rufusd/locale/LANGUAGE/LC_MESSAGES/rufusd.po, and the .mo that gettext reads.

`make docs` does. The sentences are those that the program marks by `_` and `_n`: new ones appear without a translation,
to be filled in by hand (then `make docs` once more), and what the program does not say any more goes, and is told.
`docs/catalogue.py FILE.po...` takes translations from other files, too, wherever their msgid is the program's; the last
file that has one counts. To begin a language, make its folder with an empty rufusd.po, and add its plural to PLURALS.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
LOCALE = ROOT / "rufusd" / "locale"
KEYWORDS = {"_": None, "_n": (2, 3)}
PLURALS = {"es": "nplurals=2; plural=(n != 1);"}


class Written(Catalog):
    """A catalogue whose head says what gettext needs to know, and neither who wrote it nor when."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:  # type: ignore[override]
        """The lines of the head."""
        return [
            ("Language", str(self.locale)),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
            ("Plural-Forms", PLURALS[str(self.locale)]),
        ]

    @property
    def num_plurals(self) -> int:
        """How many forms a counted sentence has: as the head says, since newer babels count a third one for Spanish."""
        return int(PLURALS[str(self.locale)].split("nplurals=")[1].split(";")[0])


def said() -> dict[str | tuple[str, str], str]:
    """Every msgid that the program has, with its plural if it has one, and the first file that has it."""
    found: dict[str | tuple[str, str], str] = {}
    for path in sorted((ROOT / "rufusd").rglob("*.py")):
        for _, msgid, _, _ in extract_from_file("python", path, KEYWORDS):
            found.setdefault(tuple(msgid) if isinstance(msgid, (list, tuple)) else msgid, str(path.relative_to(ROOT)))
    return found


def catalogue(language: str, sources: Sequence[Path] = ()) -> Written:
    """What the program says, with the translations that the catalogue has, and those of `sources`."""
    known: dict[str | tuple[str, ...], str | tuple[str, ...]] = {}
    for source in (LOCALE / language / "LC_MESSAGES" / "rufusd.po", *sources):
        with source.open("rb") as file:
            known.update((each.id, each.string) for each in read_po(file) if each.id and each.string and not each.fuzzy)
    made = Written(language, header_comment="# What rufusd says. See docs/catalogue.py.", fuzzy=False)
    sentences = said()
    for msgid, file in sentences.items():
        made.add(msgid, known.get(msgid), locations=[(file, 1)])
    for msgid in known.keys() - sentences.keys():
        sys.stderr.write(f"not said by the program any more: {msgid}\n")
    return made


def documents(sources: Sequence[Path] = ()) -> dict[Path, bytes]:
    """Every file that is written here, with its content."""
    found = {}
    for folder in sorted(LOCALE.iterdir()):
        made = catalogue(folder.name, sources)
        po, mo = BytesIO(), BytesIO()
        write_po(po, made, width=120, include_lineno=False)
        write_mo(mo, made)
        found[folder / "LC_MESSAGES" / "rufusd.po"] = po.getvalue()
        found[folder / "LC_MESSAGES" / "rufusd.mo"] = mo.getvalue()
    return found


if __name__ == "__main__":
    for path, content in documents([Path(name) for name in sys.argv[1:]]).items():
        path.write_bytes(content)
