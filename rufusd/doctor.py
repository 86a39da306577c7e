"""`rufusd doctor`: looks at all that a close depends on, in order, and gives each check as it becomes known.

It takes no line that somebody holds, and makes no call but to read: nothing here can close a session.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import queue
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, TypeVar
from urllib.parse import urlsplit

from rufusd import chip, clock, config, diagnosis, pins, spool
from rufusd.delivery import Answer
from rufusd.diagnosis import BAD, Check, Chip, Folder, User
from rufusd.runtime import Runtime
from rufusd.settings import Api, Settings
from rufusd.words import _

T = TypeVar("T")
# Seconds that each look may take: together less than 20. A name server may keep the resolver for longer than a call.
GPIO, LEVELS, DISK, CALL, NETWORK = 2.0, 3.0, 4.0, 8.0, 10.0
SERVICE = "rufusd"  # the user of the unit and of the package


class Hung(Exception):
    """A look took longer than it may. Its thread goes on, and ends with the program."""


def within(seconds: float, look: Callable[..., T], *arguments: Any) -> T:
    """What a look gives. Raises Hung where it takes too long, and what it raises."""
    done: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
    threading.Thread(target=_run, args=(done.put, look, *arguments), daemon=True).start()
    return _taken(done, seconds)()


def _run(put: Callable[[Callable[[], Any]], None], look: Callable[..., T], *arguments: Any) -> None:
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
    view = Runtime(runtime).read_status() or {}
    loaded = config.load(path)
    keyless = loaded if loaded.settings else config.load(path, key_needed=False)
    settings, has_key = keyless.settings, bool(loaded.settings)
    problems = [(str(problem), problem.warning) for problem in loaded.problems]
    yield diagnosis.configuration(path, problems, bool(settings), view)
    yield diagnosis.daemon(view, settings.session if settings else None)
    yield from _gpio(settings, view)
    yield from _disk(state, view)
    yield diagnosis.clock(clock.utc(), clock.synchronized())
    yield from _network(settings, has_key)


def _user(view: Mapping[str, Any]) -> int:
    """Whom the daemon runs as, or would."""
    with contextlib.suppress(OSError, KeyError):
        return os.stat(f"/proc/{view['daemon']['pid']}").st_uid
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SERVICE).pw_uid
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
    inputs = [role for role in pins.INPUTS if role in specs]
    rest = [*(f"{role}_line" for role in specs), "free_lines", *([] if view else inputs)]
    try:
        seen = within(GPIO, chip.look)
    except Hung:
        yield diagnosis.hung("gpio", GPIO)
        yield from (diagnosis.skipped(name, "gpio") for name in rest)
        return
    reads = any((view.get(role) or {}).get("state") not in (None, "unknown") for role in pins.INPUTS)
    user = _rights(_user(view), Path(seen.path))
    yield diagnosis.gpio(seen, replace(user, may=None) if reads or user.ours else user, reads, pins.backend())
    if seen.error:
        yield from (diagnosis.skipped(name, "gpio") for name in rest)
    else:
        for role, spec in specs.items():
            yield diagnosis.line(role, spec, seen, view)
        yield diagnosis.free_lines(seen, [spec.pin for spec in specs.values()])
    if settings and (view or not seen.error):
        yield from _levels(settings, inputs, seen, view)


def _levels(settings: Settings, inputs: list[str], seen: Chip, view: Mapping[str, Any]) -> Iterator[Check]:
    """What the inputs say: the daemon's word where one runs, since it has them; else they are taken for a moment."""
    judge: dict[str, Callable[..., Check]] = {"button": diagnosis.button, "reader": diagnosis.reader}
    if view:
        for role in inputs:
            problem = next((fault for fault in view["faults"] if f"({role})" in fault), "")
            yield judge[role](getattr(settings, role), (view.get(role) or {}).get("state"), None, problem)
        return
    free = [role for role in inputs if (line := seen.lines.get(getattr(settings, role).pin)) and not line.used]
    mine = [getattr(settings, role) if role in free else None for role in pins.INPUTS]
    wanted = replace(settings, button=mine[0], reader=mine[1], led=None, buzzer=None)
    try:
        levels, problems = within(LEVELS, _read, wanted) if free else (pins.Levels(), {})
    except Hung:
        yield from (diagnosis.hung(role, LEVELS) for role in inputs)
        return
    for role in inputs:
        if role in free:
            level = {"button": levels.pressed, "reader": levels.running}[role]
            yield judge[role](getattr(settings, role), None, level, problems.get(role, ""))
        else:
            yield diagnosis.skipped(role, f"{role}_line")


def _read(settings: Settings) -> tuple[pins.Levels, dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:  # for lgpio's FIFO
        lines = pins.Pins(folder)
        try:
            lines.configure(settings)
            return lines.read(), lines.problems
        finally:
            lines.close()


def _disk(state: Path, view: Mapping[str, Any]) -> Iterator[Check]:
    try:
        seen = within(DISK, _folder, state)
    except Hung:
        yield diagnosis.hung("folder", DISK)
        yield diagnosis.skipped("disk", "folder")
        return
    user = _rights(_user(view), state, *(state / each for each in spool.STATES))
    yield (check := diagnosis.folder(seen, user))
    yield diagnosis.skipped("disk", "folder") if check.result in (BAD, diagnosis.UNKNOWN) else diagnosis.disk(seen)


def _folder(state: Path) -> Folder:
    """What the disk says. A scratch file is made and removed again."""
    seen = Folder(str(state), None, spool.risk(state))
    try:
        space = os.statvfs(next(each for each in (state, *state.parents) if each.exists()))
        seen = replace(seen, free=space.f_bavail * space.f_frsize)
        owner = os.stat(state).st_uid
        seen = replace(seen, owner=str(owner))
        with contextlib.suppress(KeyError):
            seen = replace(seen, owner=pwd.getpwuid(owner).pw_name)
        return replace(seen, took=spool.try_out(state))
    except FileNotFoundError:
        return seen
    except OSError as error:
        return replace(seen, error=error.errno or 0, why=os.strerror(error.errno or 0).lower())


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
    threading.Thread(target=_run, args=ask, daemon=True).start()
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
        yield diagnosis.blocked(ahead[0], host, answer.problem, untimely)
        yield from (diagnosis.skipped(name, ahead[0]) for name in [*ahead[1:], *beyond])
    elif not (settings and token):
        yield from (diagnosis.skipped(name, "configuration") for name in ["rufus", *beyond])
    elif not answer.status:
        yield diagnosis.blocked("rufus", host, answer.problem)
        yield from (diagnosis.skipped(name, "rufus") for name in beyond)
    else:
        yield from diagnosis.answered(answer, settings.session, time.monotonic() - began)


def _ask(api: Api, token: str, news: queue.SimpleQueue[tuple[str, Any]]) -> Answer:
    from rufusd.rufus import Client

    client = Client(api, lambda stage, what: news.put((stage, what)))
    return client.read(token) if token else client.connect()
