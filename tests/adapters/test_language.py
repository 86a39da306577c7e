"""What a person reads, in their language: the catalogue is whole, no sentence escapes it, and the commands use it."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import runpy
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Callable

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from stations import Station, until

from rufusd.adapters import config, language
from rufusd.adapters.closes import disk, records, spool
from rufusd.commands import cli
from rufusd.core import settings
from rufusd.core.delivery import Answer, Delivery, Phase, Step, judge_close, judge_read
from rufusd.core.indicator import Indication, light
from rufusd.core.record import Record
from rufusd.core.words import Message, _, extract_messages, translated
from rufusd.text import report

ROOT = Path(__file__).parents[2]
CATALOGUE: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "catalogue.py"))
LANGUAGES = sorted(folder.name for folder in CATALOGUE["LOCALE"].iterdir())
# The sandbox and the demo, for training, speak English only.
SOURCES = [path for path in sorted((ROOT / "rufusd").rglob("*.py")) if path.stem not in ("sandbox", "demo")]
SPANISH = {"LANGUAGE": "es"}
TOKEN = "6E05" + "A7" * 28 + "DB4C"

Make = Callable[..., Station]


def translations(language: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """What the .po file has, one form or two for each."""
    with (CATALOGUE["LOCALE"] / language / "LC_MESSAGES" / "rufusd.po").open("rb") as file:
        found = read_po(file)
    assert not [each.id for each in found if each.fuzzy or (each.id and each.context)]
    assert not found.obsolete
    return {forms(each.id): forms(each.string) for each in found if each.id}


def forms(one_or_two: Any) -> tuple[str, ...]:
    return (one_or_two,) if isinstance(one_or_two, str) else tuple(one_or_two)


def placeholders(template: str) -> set[tuple[str, str, str]]:
    """Each part of a template with how it is written: its name, conversion and format."""
    parsed = string.Formatter().parse(template)
    return {(name, how or "", form or "") for _, name, form, how in parsed if name is not None}


# -- the catalogue


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_has_every_sentence_and_no_other(language: str) -> None:
    """In the order that `make docs` writes them in, which does it."""
    assert list(translations(language)) == [forms(msgid) for msgid in CATALOGUE["said"]()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated(language: str) -> None:
    """Whole: no form is empty, and as many as the language has."""
    for msgid, found in translations(language).items():
        assert len(found) == len(msgid), msgid
        assert all(found), msgid


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_parts_of_its_sentence(language: str) -> None:
    """Each with the same format, and no other: one that lacks would be a defect before a person's eyes."""
    for msgid, found in translations(language).items():
        for template, theirs in zip(msgid, found):
            assert placeholders(theirs) == placeholders(template), template


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_commands_and_ends_as_they_are(language: str) -> None:
    """What stands in backticks is typed as it stands; spaces at an end keep sentences apart."""
    for msgid, found in translations(language).items():
        for template, theirs in zip(msgid, found):
            assert sorted(re.findall("`.*?`", theirs)) == sorted(re.findall("`.*?`", template)), template
            assert theirs[:1].isspace() == template[:1].isspace(), template
            assert theirs[-1:].isspace() == template[-1:].isspace(), template


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_mo_is_what_the_po_gives(language: str) -> None:
    """What is installed is what people can read."""
    with (CATALOGUE["LOCALE"] / language / "LC_MESSAGES" / "rufusd.mo").open("rb") as file:
        assert {forms(each.id): forms(each.string) for each in read_mo(file) if each.id} == translations(language)


def test_a_new_sentence_appears_and_one_that_is_gone_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make docs` keeps what is translated; other files may bring translations."""
    folder = tmp_path / "rufusd" / "locale" / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (tmp_path / "rufusd" / "cli.py").write_text('_("kept {x}", x=1)\n_n(2, "one", "many")\n_("new")\n_(variable)\n')
    (folder / "rufusd.po").write_text('msgid "gone"\nmsgstr "ido"\n\nmsgid "kept {x}"\nmsgstr "{x} queda"\n')
    (tmp_path / "more.po").write_text('msgid "one"\nmsgid_plural "many"\nmsgstr[0] "uno"\nmsgstr[1] "muchos"\n')
    for name, value in (("ROOT", tmp_path), ("LOCALE", tmp_path / "rufusd" / "locale")):
        monkeypatch.setitem(CATALOGUE["said"].__globals__, name, value)
    made = CATALOGUE["catalogue"]("es", [tmp_path / "more.po"])
    assert [(each.id, each.string or "") for each in made if each.id] == [
        ("kept {x}", "{x} queda"),
        (("one", "many"), ("uno", "muchos")),
        ("new", ""),
    ]
    assert capsys.readouterr().err == "not said by the program any more: gone\n"
    written = CATALOGUE["documents"]([tmp_path / "more.po"])
    assert set(written) == {folder / "rufusd.po", folder / "rufusd.mo"}
    assert b"POT-Creation-Date" not in written[folder / "rufusd.po"] + written[folder / "rufusd.mo"]


def test_what_the_kernel_says_is_in_its_words() -> None:
    """The sentences that are here for the catalogue are the ones that it looks up."""
    kernels = {os.strerror(number).lower() for number in errno.errorcode}
    assert {each for each in language.THEIRS if not each[0].isupper()} <= kernels
    for number in (errno.EACCES, errno.EIO, errno.ENOENT, errno.ENOSPC, errno.EROFS, errno.ENETUNREACH):
        assert os.strerror(number).lower() in language.THEIRS


# -- no sentence escapes

MSGIDS = {form for msgid in translations("es") for form in msgid}


def marked(template: str, many: str, n: int) -> str:
    """A language in which every letter is a dot, and nothing but the parts can be read. It has what Spanish has."""
    assert template in MSGIDS, template
    assert not many or many in MSGIDS, many
    chosen = many if many and n != 1 else template
    parts = re.split(r"(\{[^}]*\})", chosen)
    return "".join(part if part.startswith("{") else re.sub(r"\w", "·", part) for part in parts)


def in_dots(text: str) -> str:
    return translated(text, marked)


def letters(text: str, *names: object) -> list[str]:
    """The words that can still be read once names, tokens, times, paths and keys are taken out."""
    for name in sorted(map(str, names), key=len, reverse=True):
        text = text.replace(name, "")
    return re.findall(r"[^\W\d_·]{2,}", text)


def calls(source: str, *names: str) -> Iterator[ast.Call]:
    """Every call of a function of one of these names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in names:
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_template_is_put_together(path: Path) -> None:
    """What `_` is given stands in the source as it stands in the catalogue, or is somebody else's sentence."""
    for call in calls(path.read_text(encoding="utf-8"), "_", "_n"):
        templates = call.args if getattr(call.func, "id", "") == "_" else call.args[1:]
        for template in templates:
            literal = isinstance(template, ast.Constant) and isinstance(template.value, str)
            theirs = not call.keywords and ("strerror" in ast.unparse(template) or ast.unparse(template) == "said")
            assert literal or theirs, f"{path.name}:{call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_sentence_is_within_an_f_string(path: Path) -> None:
    """Where it is not found before Python 3.12, and the catalogue would not have it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    within = [part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)]
    assert not [
        part.func.id
        for part in within
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in ("_", "_n")
    ]


TELLING = ("InvalidValue", "_Failed", "fail", "_fail", "warn", "say", "Verdict", "Answer")


@pytest.mark.parametrize("name", TELLING)
def test_what_tells_a_person_something_is_called_so(name: str) -> None:
    """A name that nothing has any more would be looked for in vain."""
    assert any(True for path in SOURCES for _call in calls(path.read_text(encoding="utf-8"), name))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_a_person_is_told_is_marked(path: Path) -> None:
    """No plain text and no f-string is what a refusal, a problem or a command says."""
    for call in calls(path.read_text(encoding="utf-8"), *TELLING):
        for node in [*call.args, *[each.value for each in call.keywords if each.arg == "problem"]]:
            texts = [each for each in ast.walk(node) if isinstance(each, ast.JoinedStr)]
            plain = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
            called_off = plain and "called off" in ast.unparse(node)  # of which nobody is told
            assert not texts, f"{path.name}:{call.lineno}"
            assert not plain or called_off, f"{path.name}:{call.lineno}"


CLOSES = [
    *(
        Record(TOKEN, "NAME", trigger, confirmed_at="2026-05-02T11:02:13Z")
        for trigger in ("button", "reader", "command")
    ),
    Record(TOKEN),
]


@pytest.mark.parametrize("indication", Indication)
def test_everything_that_status_says_is_marked(indication: Indication) -> None:
    """In each state of the station, its triggers and its closes."""
    on_the_way = [
        Delivery(TOKEN, 9.0, Step.READ, phase, attempts=2, error=judge_read(Answer(503), TOKEN).reason)
        for phase in Phase
    ]
    closes = [report.close_object(CLOSES[0], "pending", 0.0, each) for each in on_the_way]
    closes += [
        report.close_object(CLOSES[0], "pending", 0.0, held=held, durable=False) for held in ("grace", "reader", "")
    ]
    closes += [report.close_object(each, state, 0.0) for each in CLOSES for state in ("closed", "withdrawn")] * 3
    for button, reader in [(each, "armed") for each in report.BUTTON] + [("stuck", each) for each in report.READER]:
        whole = report.status_object(
            version="0",
            pid=None if indication is Indication.OFF else 7,
            since=None,
            valid=True,
            problems=[
                config.Problem("/etc/x", 3, "button.pin", _("expected a file"), warning).words for warning in (0, 1)
            ],
            session={"token": TOKEN, "name": ""},
            button=button,
            hold_time=3.0,
            reader=reader,
            indication=indication,
            faults=[_("{name} is not closed: {why}", name="NAME", why=on_the_way[0].error)],
            closes=closes,
        )
        text = report.render(whole, in_dots, led=True)
        assert letters(text, TOKEN, report.short(TOKEN), "NAME", "2026-05-02T11:02:13Z", "/etc/x", "button.pin") == []


def reasons() -> Iterator[str]:
    """What each answer of RUFUS's, or of what is not RUFUS, leads to."""
    for status in (200, 302, 400, 401, 404, 407, 408, 410, 422, 429, 503):
        for text in ("", "<html>", "{}", '{"token_session": "another"}', '{"description": "x"}', "[]"):
            for judge in (judge_read, judge_close):
                yield judge(Answer(status, text), TOKEN).reason


def test_everything_that_an_answer_leads_to_is_marked() -> None:
    """Refusals, logins, proxies: the reasons travel in `last_error` and in faults."""
    told = set(filter(None, reasons()))
    assert len(told) > 12
    for reason in reasons():
        assert not reason or isinstance(reason, Message)
        assert letters(in_dots(reason), TOKEN) == []


def leaves(sentence: str) -> Iterator[Any]:
    """What a sentence was made of that is no sentence itself."""
    assert isinstance(sentence, Message), sentence
    for part in sentence.parts.values():
        if isinstance(part, Message):
            yield from leaves(part)
        else:
            yield part


def assert_marked(sentence: str, *known: str) -> None:
    """Nothing in a sentence is English text: what is in it with a space stands in the file, or is known otherwise."""
    dots = in_dots(sentence)
    for leaf in leaves(sentence):
        named = isinstance(leaf, str) and re.fullmatch(r"U\+[0-9A-F]{4,6} \([A-Z0-9 -]+\)", leaf)  # Unicode's own names
        plain = not isinstance(leaf, str) or named or " " not in leaf or any(leaf.strip('"') in each for each in known)
        assert plain, (str(sentence), leaf)
    written = sorted({str(each) for each in leaves(sentence)}, key=len, reverse=True)
    numbers_formatted = [f"{each:g}" for each in leaves(sentence) if isinstance(each, float)]
    assert letters(dots, *filter(None, written), *numbers_formatted) == [], (str(sentence), dots)


GOOD = f"""
[api]
key = "ror-0123456789abcdef0123"
[session]
token = "{TOKEN}"
"""
VALUES = (
    *("true", '"a b"', "5", "-1", "1e99", "[1]", "{a = 1}", "2020-01-01", "nan", '""', '"a\\u0001b"', '"ror-abc def"'),
    *(f'"{settings.DOCUMENTED_KEY}"', f'"{settings.DOCUMENTED_TOKEN}"', '"put your own here"', f'"{"x" * 5000}"'),
    *(
        '"http://venue/"',
        '"http://[::"',
        '"https://u@h"',
        '"ftp://h"',
        '"/nowhere"',
        '"/dev/null"',
        '"low"',
        '"none"',
        "2",
    ),
)
BROKEN = (
    *(
        "a = {b = 1, b = 2}",
        'a = "\\uD800"',
        'a = """\\u12"""',
        'a = "\x01"',
        "# \x01",
        "a = {b = 1 c = 2}",
        "é = 3",
        "[a",
        "[[a",
    ),
    *(
        "hold_time",
        "hold_time =",
        'name = "x',
        "a = [1",
        "a = {b = 1",
        "[button",
        "[[button]",
        "= 3",
        "a = 1 b = 2",
        "a = 'x",
    ),
    *(
        'a = """x',
        "a = 2020-99-99",
        'a = "\\q"',
        "a = 1\na = 2",
        "[close]\n[close]",
        "a = \0",
        "x" * 9000,
        "a = " + "[" * 3000,
    ),
    *(
        "a = 1\rb = 2",
        "[buton]",
        "[grace]",
        "grace = 3",
        "[close]\ngrase = 3",
        "[close]\nzzz = 3",
        "button = 3",
        "api = 3",
    ),
    *("[reader]\n", '[led]\npin = 2\n[button]\npin = 2\npull = "none"', '[button]\npin = 3\npull = "down"'),
    *(
        "[button]\npin = 4\nhold_time = 9\nstuck_time = 9",
        "[close]\nquiet = 9\nmax_wait = 1",
        "[retry]\nfirst = 9\nmax = 1",
    ),
    *('[button]\npin = 4\npull = "none"', '[button]\npin = 4\npull = "down"', '[reader]\npin = 4\npull = "none"', ""),
    *('[reader]\npin = 4\npull = "down"', "[reader]\npin = 4"),
)


def files() -> Iterator[str]:
    """Configurations with every kind of mistake."""
    for table, kind in settings.TABLES.items():
        for field in fields(kind):
            for value in VALUES:
                rest = GOOD if table not in ("api", "session") else ""
                yield f"{rest}[{table}]\n{field.name} = {value}\n"
    for text in BROKEN:
        yield f"{text}\n{GOOD}"
        yield f"{GOOD}\n{text}"
    yield GOOD.replace(TOKEN, "short-token")
    yield GOOD.replace("[session]", 'proxy = "http://h:1"\nurl = "http://127.0.0.1"\nkey_file = "x"\n[session]')
    yield GOOD.replace(TOKEN, "é é")


def test_every_problem_of_a_configuration_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake in each key, each broken line, each file that is none."""
    path = tmp_path / "config.toml"
    told: set[str] = set()

    def look(text: str = "") -> None:
        for problem in config.load(str(path)).problems:
            told.add(problem.text.template)
            assert_marked(problem.words, text, config._shown(text), "key, key_file", str(path))

    for text in files():
        path.write_bytes(text.encode())  # whose line ends stay as they are
        look(text)
    for raw in (b"\xff", b"#" * 70000):
        path.write_bytes(raw)
        look()
    path.unlink()
    look()
    path.mkdir()
    look()
    path.rmdir()
    os.mkfifo(path)
    look()
    path.unlink()
    path.write_text(GOOD, encoding="utf-8")
    real = config._content

    def refuses(name: Any, most: int) -> bytes:
        if str(name) == str(path) and most > 1:
            raise PermissionError(errno.EACCES, "")
        return real(name, most)

    monkeypatch.setattr(config, "_content", refuses)
    look()
    assert len(told) > 50


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (
            '[session]\ntoken = ["ror-secret"]\n[ror-secret]\n'
            '[button]\npin = "ror-secret"\nror-secret = 1\n"ror-secret\n',
            5,
        ),
        ("[api.ror-secret]\n[api]\nror-secret.x = 1\n", 2),  # tomli names it
    ],
)
def test_the_redaction_of_a_key_holds_in_every_language(tmp_path: Path, text: str, most: int) -> None:
    """Promise 6: what may be a key is in no part of a sentence, whichever language puts it together."""
    path = tmp_path / "ror-secret.toml"
    path.write_text(text)
    problems = config.load(str(path)).problems
    assert len(problems) >= most
    for problem in problems:
        spanish = translated(problem.words, lambda *found: found[0])
        assert "secret" not in str(problem) + spanish + json.dumps(extract_messages(problem.words)) + json.dumps(
            problem.words
        )


def test_what_is_wrong_with_the_disk_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool's problems are faults, and `rufusd check` tells of a risk."""
    queue = spool.Spool(tmp_path / "state")
    for number in (errno.EACCES, errno.EIO, errno.ENOSPC, errno.ENOTDIR, errno.EAGAIN, errno.ENODEV):
        queue.keep_in_memory(Record(TOKEN), OSError(number, ""))
        for problem in queue.problems():
            assert_marked(problem)
    queue.mark_closed(TOKEN, "")
    (tmp_path / "state").rename(tmp_path / "gone")
    (tmp_path / "state").touch()
    queue.retry_failed_writes()
    queue.keep_in_memory(Record("another-token"), OSError(errno.EIO, ""))
    queue.mark_closed("another-token", "")
    queue.keep_in_memory(Record("third-token"), OSError(errno.EIO, ""))
    queue.withdraw_or_keep("third-token", "", "")
    told = queue.problems()
    assert len(told) == 3 + 1 - 1
    for problem in told:
        assert_marked(problem)
    for kind in ("tmpfs", "overlay"):
        device = tmp_path.stat().st_dev
        mounts = tmp_path / "mounts"
        mounts.write_text(f"1 1 {os.major(device)}:{os.minor(device)} / / rw - {kind} {kind} rw\n", encoding="utf-8")
        monkeypatch.setattr(disk, "MOUNTS", mounts)
        assert_marked(disk.volatile_mount(tmp_path))


# -- the commands


@pytest.fixture
def dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The language of dots, for commands in this process."""

    class Dots:
        def gettext(self, template: str) -> str:
            return marked(template, "", 1)

        def ngettext(self, template: str, many: str, n: int) -> str:
            return marked(template, many, n)

    monkeypatch.setattr(language, "_catalogue", Dots)


@pytest.mark.usefixtures("dots")
def test_everything_that_the_commands_say_is_marked(
    station: Station, token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each by each of its ways, in words: a good and a bad configuration, a close that is new, pending, withdrawn."""
    monkeypatch.setattr(sys, "argv", ["rufusd", "as", "typed"])

    def says(*arguments: str, state: Path = station.state) -> str:
        name, *more = arguments
        given = [*station.arguments(name)[3:], *more]
        cli.main([str(state) if each == str(station.state) else each for each in given])
        out, err = capsys.readouterr()
        assert out + err
        names = (
            station.config,
            state,
            station.run,
            token,
            report.short(token),
            "FINISH-10K",
            "rufusd:",
            "session.token",
        )
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]*Z", "", out + err)
        assert letters(text, "sudo rufusd as typed", *names) == []
        return out + err

    says("check")
    says("status")
    says("retry")
    says("withdraw", token)
    says("close")
    says("close")
    says("status")
    says("withdraw", token[:1])
    says("withdraw", token)
    closed = station.state / "closed"
    says("close")
    (station.state / "pending" / f"{token}.json").rename(closed / f"{token}.json")
    says("close")
    says("withdraw", token)
    (closed / f"{token}.json").unlink()
    blocked = station.folder / "file"
    blocked.touch()
    says("close", state=blocked)
    says("withdraw", token, state=blocked)
    monkeypatch.setattr(records.Records, "history", fails)
    says("status")
    says("retry")
    monkeypatch.undo()


def fails(*_: object) -> None:
    raise OSError(errno.EIO, "")


def test_status_and_check_speak_the_readers_language(station: Station) -> None:
    """As commands, by LANGUAGE and by LANG; what has no catalogue, and C, are English."""
    nothing = dict.fromkeys(("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"), "")
    station.configure(button={"pull": "down"})
    for env in (SPANISH, {**nothing, "LANG": "es_ES.UTF-8"}, {**nothing, "LC_ALL": "es_MX"}, {"LANGUAGE": "tlh:es:en"}):
        assert "rufusd no está en marcha" in station.command("status", env=env).stdout
        checked = station.command("check", env=env)
        assert f"{station.config}: correcto; FINISH-10K" in checked.stdout
        assert ": button.pull: aviso: con pull = " in checked.stderr
    for env in ({**nothing, "LANG": "C"}, nothing, {"LANGUAGE": "tlh"}, {**nothing, "LANG": "es_ES", "LC_ALL": "C"}):
        assert "rufusd is not running" in station.command("status", env=env).stdout
        assert ": button.pull: warning: pull = " in station.command("check", env=env).stderr


def test_what_the_daemon_says_is_read_in_the_readers_language(station: Station) -> None:
    """Through its status.json: a close's last error, and a fault. The JSON and the log are English."""
    # The sandbox does not know this session. No further attempt, "sending" for a moment, comes between the looks.
    station.configure(session={"token": TOKEN}, retry={"first": 600, "max": 600})
    station.start(env=SPANISH)
    station.shows("armed")
    station.press()
    until(lambda: any(each["phase"] == "refused" for each in station.view()["closes"]))
    refused = (
        "RUFUS refused (404): it knows no such session, or none that is open; check session.token, and where this "
        f"close has a wrong one, `sudo rufusd withdraw {TOKEN}`"
    )
    rechazado = (
        "RUFUS lo ha rechazado (404): no conoce esa sesión, o no está abierta; comprobar session.token y, si el de "
        f"este cierre está mal, `sudo rufusd withdraw {TOKEN}`"
    )
    spanish = station.command("status", env=SPANISH).stdout
    assert f"  rechazado: {rechazado}" in spanish
    assert f"fallo: FINISH-10K no está cerrada: {rechazado}" in spanish
    assert "  LED          parpadea alternando rápido y lento" in spanish
    english = station.command("status").stdout
    assert f"  refused: {refused}" in english
    assert f"fault: FINISH-10K is not closed: {refused}" in english
    facts = json.loads(station.command("status", "--json", env=SPANISH).stdout)
    assert (facts["closes"][0]["last_error"], facts["faults"]) == (refused, [f"FINISH-10K is not closed: {refused}"])
    assert f"not closed yet: {refused} token={TOKEN}" in station.logged()
    assert "words" not in facts
    assert "rechazado" not in station.logged()


def test_what_goes_to_the_journal_is_english(station: Station) -> None:
    """Where it can be searched; systemd gives a service the machine's locale, and says where its errors go."""
    station.config.write_text("[session]\ntoken = 3\n", encoding="utf-8")
    with (station.folder / "journal").open("wb") as journal:
        place = os.fstat(journal.fileno())
        env = {**os.environ, **SPANISH, "JOURNAL_STREAM": f"{place.st_dev}:{place.st_ino}"}
        subprocess.run(station.arguments("run"), stderr=journal, env=env, check=False, timeout=60)
    assert "; expected the session's token" in (station.folder / "journal").read_text(encoding="utf-8")
    seen = station.command("run", env={**SPANISH, "JOURNAL_STREAM": f"{place.st_dev}:{place.st_ino}"})
    assert "; se esperaba el token" in seen.stderr  # a person, in a terminal that a service has begun


MODULES = """
import sys
from rufusd.commands import cli
from rufusd.daemon import loop
{run}
print(sorted({{"gettext", "babel", "rufusd.adapters.language"}} & sys.modules.keys()))
"""


@pytest.mark.parametrize("damage", ["", "cut", "empty", "mixed up"])
def test_a_damaged_catalogue_leaves_english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str) -> None:
    """A bad card's: no command fails by it, or says that what it has done has failed."""
    sentence = _("cannot read {folder} ({why}); run this as root: `{command}`", folder="x", why="y", command="z")
    whole = (CATALOGUE["LOCALE"] / "es" / "LC_MESSAGES" / "rufusd.mo").read_bytes()
    spanish = translations("es")[(sentence.template,)][0].encode()
    assert spanish in whole
    mixed = whole.replace(spanish, spanish.replace(b"{folder}", b"{f0lder}"))
    folder = tmp_path / "locale" / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    damaged = {"": whole, "cut": whole[:20000], "empty": b"", "mixed up": mixed}
    (folder / "rufusd.mo").write_bytes(damaged[damage])
    monkeypatch.setattr(language, "__file__", str(tmp_path / "adapters" / "language.py"))
    monkeypatch.setenv("LANGUAGE", "es")
    monkeypatch.setattr(language, "_catalogue", language._catalogue.__wrapped__)  # which keeps none
    assert (language.translate(sentence) == sentence) == bool(damage)  # one that is whole is taken from that folder


def test_the_daemon_has_no_catalogue_in_memory(station: Station) -> None:
    """Whoever asks it for its status has one; argparse itself brings gettext, which without it is not there."""
    script = MODULES.format(run="del sys.modules['gettext'], sys.modules['argparse']")
    daemon = "import rufusd.daemon.loop, rufusd.daemon.courier, rufusd.adapters.rufus, sys; "
    assert printed(daemon + script.splitlines()[-1]) == "[]"
    arguments = [*station.arguments("run")[3:]]
    run = f"loop.Daemon.run = lambda _: 0\ncli.main({arguments!r})"
    assert printed(MODULES.format(run=run)) == "['gettext']"


def printed(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


@pytest.mark.parametrize("indication", report.LIGHT)
def test_the_words_of_status_for_the_light_are_what_the_light_does(indication: Indication) -> None:
    """As often as it goes on in twelve seconds."""
    lit = [light(indication, hundredth / 100) for hundredth in range(1200)]
    rises = sum(now and not before for before, now in zip([False, *lit], lit))
    words = {
        **{"a short blip every 3 s": 4, "two blips every 3 s": 8, "flickers": 120, "on": 1, "off for a second": 0},
        **{"blinks once a second": 12, "blinks twice a second": 24, "blinks four times a second": 48},
        **{"blinks fast and slowly in turn": 30},
    }
    assert words[report.LIGHT[indication].partition(":")[0]] == rises
