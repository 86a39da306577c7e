"""`rufusd doctor`: looks at all that a close depends on, in order, and gives each check as it becomes known.

It takes no line that somebody holds, and makes no call but to read: nothing here can close a session.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import pwd
import queue
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, TypeVar
from urllib.parse import urlsplit

from rufusd.adapters import chip, clock, config, pins
from rufusd.adapters.closes.disk import time_fsync, volatile_mount
from rufusd.adapters.closes.records import STATES
from rufusd.adapters.language import translate
from rufusd.commands import asked, output
from rufusd.core.delivery import Answer, drop_body_with_key
from rufusd.core.gpio import GpioChip
from rufusd.core.settings import Api, Settings
from rufusd.core.words import _
from rufusd.text import diagnosis
from rufusd.text.diagnosis import BAD, Check, Folder, User

T = TypeVar("T")
# Seconds that each look may take: together less than 20, since either a daemon is asked, or the levels are read here. A
# name server may keep the resolver for longer than a call.
LIVE, GPIO, LEVELS, DISK, CALL, NETWORK = 2.0, 2.0, 3.0, 4.0, 8.0, 10.0
JUDGES: dict[str, Callable[..., Check]] = {"button": diagnosis.button, "reader": diagnosis.reader}


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    try:
        "".join(diagnosis.MARKS.values()).encode(sys.stdout.encoding or "ascii")
        marks = diagnosis.MARKS
    except (UnicodeEncodeError, LookupError):
        marks = diagnosis.ASCII_MARKS
    checks = []
    for check in examine(options.config, options.state_dir, options.runtime_dir):
        checks.append(check)
        if not options.json:
            output.say(diagnosis.text(check, translate, shutil.get_terminal_size().columns, marks))
            sys.stdout.flush()
    if options.json:
        output.say_json(diagnosis.whole(checks))
    return output.FAILED if any(check.result == BAD for check in checks) else output.OK


class Hung(Exception):
    """A look took longer than it may. Its thread goes on, and ends with the program."""


def within(seconds: float, look: Callable[..., T], *arguments: Any) -> T:
    """What a look gives. Raises Hung where it takes too long, and what it raises."""
    done: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
    threading.Thread(target=_put, args=(done.put, look, *arguments), daemon=True).start()
    return _taken(done, seconds)()


def _put(put: Callable[[Callable[[], Any]], None], look: Callable[..., T], *arguments: Any) -> None:
    def fail(error: BaseException) -> Any:
        raise error

    try:
        found = look(*arguments)
        put(lambda: found)
    except BaseException as raised:  # noqa: BLE001 - it is raised again where it is waited for
        error = raised
        put(lambda: fail(error))


def _taken(come: queue.SimpleQueue[T], seconds: float) -> T:
    try:
        return come.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise Hung from None


def examine(path: str, state: Path, runtime: Path) -> Iterator[Check]:
    """All checks, each as soon as it is known."""
    path, state = os.path.abspath(path), state.absolute()  # lgpio changes the directory
    said = asked.ask(runtime, LIVE)
    view: dict[str, Any] = said.status or {}
    if view and said.user is not None:
        view["user"] = said.user
    loaded = config.load(path)
    looked_into = loaded if loaded.settings else config.load(path, key_needed=False)
    settings, has_key = looked_into.settings, bool(loaded.settings)
    problems = [(problem.words, problem.warning) for problem in loaded.problems]
    if not settings and config.hidden(path) and _user(view) != os.geteuid():
        yield diagnosis.hidden(path)
    else:
        yield diagnosis.configuration(path, problems, bool(settings), view)
    frame = said.frame
    if (said.hidden or said.running) and not said.status:
        yield diagnosis.unheard(str(runtime), hidden=said.hidden)
    else:
        yield diagnosis.daemon(view, bool(frame), settings.session if settings else None)
    yield from _gpio(settings, {**view, **{role: frame[role] for role in pins.INPUTS if frame.get(role)}})
    yield from _disk(state, view)
    yield diagnosis.clock(clock.utc(), clock.synchronized())
    yield from _network(settings, has_key)


def _user(view: Mapping[str, Any]) -> int:
    """Whom the daemon runs as, or would."""
    if "user" in view:
        return int(view["user"])
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(asked.SERVICE).pw_uid
    return os.geteuid()


def _rights(user: int, *places: Path) -> User:
    """A user, and whether that one may use all of these places, by their mode; None where nothing is to be seen."""
    name, groups, may = str(user), [], None
    with contextlib.suppress(KeyError, OSError):
        account = pwd.getpwuid(user)
        name, groups = account.pw_name, os.getgrouplist(account.pw_name, account.pw_gid)
    for place in places:
        with contextlib.suppress(OSError):
            found = os.stat(place)
            shift = 6 if user == found.st_uid else 3 if found.st_gid in groups else 0
            needed = 7 if stat.S_ISDIR(found.st_mode) else 6
            may = may is not False and (user == 0 or found.st_mode >> shift & needed == needed)
    return User(name, user == os.geteuid(), may)


def _gpio(settings: Settings | None, view: Mapping[str, Any]) -> Iterator[Check]:
    specs = {role: spec for role in pins.ROLES if (spec := getattr(settings, role, None))}
    inputs = {role: specs[role] for role in pins.INPUTS if role in specs}
    try:
        seen = within(GPIO, chip.look)
    except Hung:
        seen = GpioChip("", error=errno.ETIME)
        yield diagnosis.hung("gpio", GPIO)
    else:
        reads = any((view.get(role) or {}).get("state") not in (None, "unknown") for role in pins.INPUTS)
        user = _rights(_user(view), Path(seen.path))
        yield diagnosis.gpio(seen, replace(user, may=None) if reads or user.ours else user, reads, pins.backend())
    for role, spec in specs.items():
        yield diagnosis.skipped(f"{role}_line", "gpio") if seen.error else diagnosis.line(role, spec, seen, view)
    yield (
        diagnosis.skipped("free_lines", "gpio")
        if seen.error
        else diagnosis.free_lines(seen, [spec.pin for spec in specs.values()])
    )
    if view:  # the lines are the daemon's, so it is asked
        for role, spec in inputs.items():
            problem = next((fault for fault in view["faults"] if f"({role})" in fault), "")
            now = view.get(role) or {}
            yield JUDGES[role](spec, now.get("state") or "unknown", now.get("level"), problem)
    elif settings and inputs:
        yield from _levels(settings, inputs, seen)


def _levels(settings: Settings, inputs: Mapping[str, Any], seen: GpioChip) -> Iterator[Check]:
    """What the inputs say, which are taken for a moment: those that nobody holds, and as inputs."""
    free = {role: spec for role, spec in inputs.items() if (line := seen.lines.get(spec.pin)) and not line.used}
    wanted = replace(settings, led=None, buzzer=None, button=free.get("button"), reader=free.get("reader"))
    try:
        levels, problems = within(LEVELS, _read, wanted) if free else ({}, {})
    except Hung:
        yield from (diagnosis.hung(role, LEVELS) for role in inputs)
        return
    for role, spec in inputs.items():
        if role in free:
            yield JUDGES[role](spec, None, levels.get(role), problems.get(role, ""))
        else:
            yield diagnosis.skipped(role, "gpio" if seen.error else f"{role}_line")


def _read(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """The level of each input that can be read, and what is wrong with each that cannot."""
    with tempfile.TemporaryDirectory() as folder:  # for lgpio's FIFO
        lines = pins.Pins(folder)
        try:
            lines.configure(settings)
            return lines.levels(), lines.problems
        finally:
            lines.close()


def _disk(state: Path, view: Mapping[str, Any]) -> Iterator[Check]:
    try:
        seen = within(DISK, _folder, state)
    except Hung:
        yield diagnosis.hung("folder", DISK)
        yield diagnosis.skipped("disk", "folder")
        return
    user = _rights(_user(view), state, *(state / each for each in STATES))
    yield (check := diagnosis.folder(seen, user))
    yield diagnosis.skipped("disk", "folder") if check.result == BAD else diagnosis.disk(seen)


def _folder(state: Path) -> Folder:
    """What the disk says. A scratch file is made and removed again."""
    seen = Folder(str(state), None, volatile_mount(state))
    try:
        space = os.statvfs(next(each for each in (state, *state.parents) if each.exists()))
        seen = replace(seen, free=space.f_bavail * space.f_frsize)
        owner = os.stat(state).st_uid
        seen = replace(seen, owner=str(owner))
        with contextlib.suppress(KeyError):
            seen = replace(seen, owner=pwd.getpwuid(owner).pw_name)
        return replace(seen, took=time_fsync(state))
    except FileNotFoundError:
        return seen
    except OSError as error:
        return replace(seen, error=error.errno or 0, why=_(os.strerror(error.errno or 0).lower()))


def _network(settings: Settings | None, has_key: bool) -> Iterator[Check]:
    """Each stage on the way to RUFUS, and what it says. Without a key, or a session to ask for, nothing is sent."""
    api = settings.api if settings else Api()
    url = urlsplit(api.url)
    host, plain = url.hostname or "", url.scheme == "http"
    near = urlsplit(api.proxy or api.url).hostname or ""
    ahead = ["dns", "route", *(["proxy"] if api.proxy else []), *([] if plain else ["tls"]), "rufus"]
    news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    began, untimely, answer = time.monotonic(), "", None
    token = settings.session.token if settings and has_key else ""
    call = replace(api, timeout=min(api.timeout, CALL))
    ask = (lambda done: news.put(("", done)), _ask, call, token, news)
    threading.Thread(target=_put, args=ask, daemon=True).start()
    while answer is None:
        try:
            stage, what = _taken(news, began + NETWORK - time.monotonic())
        except Hung:
            slow = _("nothing came back within {seconds:.0f} s: check the cable or the Wi-Fi", seconds=NETWORK)
            answer = Answer(problem=slow)
        else:
            if not stage:
                answer = what()
            elif stage == "untimely":
                untimely = clock.utc()
            elif stage == ahead[0]:  # else a stage anew: a proxy's own
                yield diagnosis.reached(ahead.pop(0), what, host if stage == "tls" else near)
    if plain and ahead == ["rufus"]:
        yield diagnosis.plain()
    beyond = ["key", "session", "name"]
    if ahead != ["rufus"]:
        yield diagnosis.blocked(ahead[0], answer.problem, untimely)
        yield from (diagnosis.skipped(name, ahead[0]) for name in [*ahead[1:], *beyond])
    elif not (settings and token):
        yield from (diagnosis.skipped(name, "configuration") for name in ["rufus", *beyond])
    elif not answer.status:
        yield diagnosis.blocked("rufus", answer.problem)
        yield from (diagnosis.skipped(name, "rufus") for name in beyond)
    else:
        yield from diagnosis.answered(answer, settings.session, time.monotonic() - began)


def _ask(api: Api, token: str, news: queue.SimpleQueue[tuple[str, Any]]) -> Answer:
    from rufusd.adapters.rufus import Client

    client = Client(api, lambda stage, what: news.put((stage, what)))
    return drop_body_with_key(client.read(token), api.key) if token else client.connect()
