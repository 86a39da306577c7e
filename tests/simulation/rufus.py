"""RUFUS, the network between, and the client that stands in the place of `adapters/rufus.py` (requests stays outside).

RUFUS acts as its documentation says. Where the documentation is silent, the race's set-up decides. Between the station
and RUFUS stands whatever a venue has: nothing, a portal, a proxy, a web filter, a gateway with errors of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from .world import World, current, current_world

# A mode of a station's network, and what it means for people.
MODES = {
    "online": "the network is fine",
    "offline": "the network is unplugged",
    "hole": "the network swallows everything: no answer ever comes",
    "reset": "the network breaks each connection in the middle of a call",
    "deaf": "calls reach RUFUS, but no answer comes back",
    "slow": "the network is very slow",
    "far": "each connection takes nearly as long as it may",
    "lossy": "the network loses every third call",
    "cut": "answers are cut short",
    "portal": "a login page answers in RUFUS's place",
    "redirect": "a redirect answers in RUFUS's place",
    "filter": "a web filter answers 202 with nothing in it",
    "empty": "a proxy answers 200 with nothing in it",
    "braces": "a proxy answers 200 with {}",
    "echo": "a proxy answers 200 with a text that repeats the address of the call",
    "null": "a gateway answers 200 with an empty envelope",
    "envelope": "a gateway answers 200 with an error inside its envelope",
    "notfound": "something answers 200, and says that the session is not found",
    "other": "something answers 200, and says that another session is closed",
    "gateway": "a gateway refuses with 403 and a message that is not RUFUS's",
    "502": "a proxy answers 502 with a page",
    "500": "RUFUS answers 500",
    "504": "RUFUS acts, and the gateway answers 504",
    "429": "RUFUS asks to be called less often",
    "late202": "RUFUS acts, and a proxy answers 202 with nothing in it",
}
# In these modes the passings that the reader uploads reach RUFUS.
UPLOADS = frozenset(("online", "deaf", "slow", "far", "lossy", "cut", "500", "504", "429", "late202"))


@dataclass
class Session:
    """One session as RUFUS has it."""

    token: str
    active: bool = True
    passings: int = 0
    changed: float = -1e9  # when its count of passings changed last
    closed_at: float | None = None
    closed_by: str = ""  # a station's name, or "others"
    known: bool = True  # whether RUFUS finds it at all


@dataclass
class Call:
    """One call of a station, as the world saw it."""

    station: str
    kind: str  # "read" or "close"
    token: str
    begun: float
    life: int  # of the daemon, or of a command
    sent: float | None = None  # from then on RUFUS may act
    acted: float | None = None  # when RUFUS did what was asked
    answered: float | None = None
    status: int = 0
    passings: int | None = None  # as this answer told
    active: bool | None = None  # as this answer told
    genuine: bool = False  # whether RUFUS itself answered
    formed: bool = False  # whether the answer is in RUFUS's form, and so cannot be told from RUFUS's own


class Rufus:
    """RUFUS: its sessions and its answers."""

    def __init__(self, world: World, permission: str, form: str, closed_again: int) -> None:
        self.world, self.permission, self.form, self.closed_again = world, permission, form, closed_again
        self.sessions: dict[str, Session] = {}
        self.watchers: list[Callable[[str, Any], None]] = []
        self.calls: list[Call] = []

    def tell(self, what: str, about: Any) -> None:
        """Tell whoever judges: a call was `begun`, `sent`, has `acted`, was `answered`; a session was `closed`."""
        for watcher in self.watchers:
            watcher(what, about)

    def _dressed(self, text: str) -> str:
        return f'{{"body": {text}}}' if self.form == "new" else text

    def read(self, call: Call) -> tuple[int, str]:
        """GET a session."""
        if self.permission == "WRITE":
            return 403, self._dressed('{"description": "Forbidden"}')
        session = self.sessions[call.token]
        if not session.known:
            return 404, self._dressed(f'{{"description": "Session not found", "token_session": "{call.token}"}}')
        call.passings, call.active = session.passings, session.active
        active = "true" if session.active else "false"
        facts = f'"token_session": "{call.token}", "alias": "R", "active": {active}, "passings": {session.passings}'
        return 200, self._dressed(f'{{"description": "Success", "result": [{{{facts}}}]}}')

    def close(self, call: Call) -> tuple[int, str]:
        """PATCH a session."""
        if self.permission == "READ":
            return 403, self._dressed('{"description": "Forbidden"}')
        session = self.sessions[call.token]
        if not session.known:
            return 404, self._dressed(f'{{"description": "Session not found", "token_session": "{call.token}"}}')
        comma = "" if self.form == "broken" else ","
        good = f'{{"description": "Session closed succesfully"{comma} "token_session": "{call.token}"}}'
        if not session.active:
            if self.closed_again == 200:
                return 200, self._dressed(good)
            return self.closed_again, self._dressed('{"description": "Session not found or closed"}')
        self.end(session, call.station)
        return 200, self._dressed(good)

    def end(self, session: Session, by: str) -> None:
        """A session ends, by a station's call or by others."""
        if session.active:
            session.active, session.closed_at, session.closed_by = False, self.world.now, by
            self.world.note("RUFUS", f"{session.token[:4]} is closed by {by}, with {session.passings} passings")
            self.tell("closed", session)


class Client:
    """In the place of `rufusd.adapters.rufus.Client`."""

    def __init__(self, api: Any, reached: Any = None, changes: Any = None, **_: Any) -> None:
        self.api = api

    def read(self, token: str) -> Any:
        """GET a session."""
        return self._call("read", token, lambda: True)

    def close(self, token: str, begin: Callable[[], bool] = lambda: True) -> Any:
        """PATCH a session."""
        return self._call("close", token, begin)

    def connect(self) -> Any:
        """As near as one can come without calling."""
        return self._answer(0, "not called", sent=False)

    def _answer(self, status: int, text: str = "", *, sent: bool = True, retry_after: float | None = None) -> Any:
        made = current_world().product.load("rufusd.core.delivery").Answer  # type: ignore[attr-defined]
        if not status:
            return made(problem=text, sent=sent)
        return made(status, text, retry_after)

    def _call(self, kind: str, token: str, begin: Callable[[], bool]) -> Any:
        process, world = current(), current_world()
        machine, chance = process.machine, world.chance(f"net {current().machine.name}")
        rufus: Rufus = machine.rufus
        call = Call(machine.name, kind, token, world.now, process.pid)
        rufus.calls.append(call)
        rufus.tell("begun", call)
        answer = self._made(call, begin, machine, rufus, world, chance)
        current()
        machine.files.counted(f"reading of the answer to a {call.kind}")
        call.answered = world.now
        call.status = answer.status
        if answer.status == 0:
            call.passings = call.active = None
        rufus.tell("answered", call)
        if kind == "close":
            said = answer.status or answer.problem
            world.note(machine.name, f"the answer to its close call of {token[:4]}: {said}")
        return answer

    def _made(self, call: Call, begin: Any, machine: Any, rufus: Rufus, world: World, chance: Any) -> Any:
        deadline = world.now + self.api.timeout
        machine.files.counted(f"connection for a {call.kind}")
        world.sleep(chance.uniform(0.005, 0.2))  # the connection
        if machine.network == "far":
            world.sleep(chance.uniform(0.3, 0.9) * self.api.timeout - 0.2)
        if machine.network in ("offline", "hole"):
            if machine.network == "hole":
                world.sleep(max(0.0, deadline - world.now))
            return self._answer(0, "no network", sent=False)
        if machine.network == "lossy" and chance.random() < 1 / 3:
            world.sleep(max(0.0, deadline - world.now))
            return self._answer(0, "no answer", sent=False)
        if not begin():
            return self._answer(0, "called off", sent=False)
        current()
        machine.files.counted(f"sending of a {call.kind}")
        call.sent = world.now
        if call.kind == "close":
            world.note(machine.name, f"calls RUFUS to close {call.token[:4]}")
        rufus.tell("sent", call)
        world.sleep(chance.uniform(0.001, 0.3))  # on its way
        mode = machine.network
        if mode in ("offline", "hole", "reset"):  # cut while it was on its way: nobody knows whether it got there
            if chance.random() < 0.5:
                self._act(call, rufus, world)
            world.sleep(max(0.0, min(deadline - world.now, chance.uniform(0, self.api.timeout))))
            return self._answer(0, "the connection broke")
        between = self._between(mode, call)
        if between is not None:
            return between
        status, text = self._act(call, rufus, world)
        if mode in ("deaf", "cut"):
            world.sleep(max(0.0, deadline - world.now) if mode == "deaf" else 0.01)
            return self._answer(0, "no whole answer")
        if mode == "slow":
            world.sleep(chance.uniform(0, 1.5 * self.api.timeout))
            if world.now > deadline:
                return self._answer(0, "too late")
        world.sleep(chance.uniform(0.001, 0.2))
        if machine.network in ("offline", "hole", "reset"):
            return self._answer(0, "the connection broke")
        if mode == "504":
            return self._answer(504, '{"message": "Endpoint request timed out"}')
        if mode == "late202":
            return self._answer(202, "")
        call.genuine = call.formed = True
        return self._answer(status, text)

    def _between(self, mode: str, call: Call) -> Any:
        """What stands between answers itself; None where RUFUS is asked."""
        token = call.token
        said: dict[str, tuple[int, str]] = {
            "portal": (200, "<html><body>Log in</body></html>"),
            "redirect": (302, ""),
            "filter": (202, ""),
            "empty": (200, ""),
            "braces": (200, "{}"),
            "echo": (200, f"GET /v0/sessions/{token} was blocked; reference {token}"),
            "null": (200, '{"body": null}'),
            "envelope": (200, f'{{"statusCode": 404, "body": {{"description": "closed", "token": "{token}"}}}}'),
            "notfound": (200, f'{{"description": "Session not found", "token_session": "{token}"}}'),
            "other": (200, f'{{"description": "Session closed succesfully", "token_session": "{"0" * 64}"}}'),
            "gateway": (403, '{"message": "Forbidden"}'),
            "502": (502, "<html>Bad gateway</html>"),
            "500": (500, '{"body": null}'),
            "429": (429, '{"message": "Too Many Requests"}'),
        }  # fmt: skip
        if mode not in said:
            return None
        call.formed = mode == "notfound" or (mode == "other" and call.kind == "close")
        return self._answer(*said[mode], retry_after=2.0 if mode == "429" else None)

    @staticmethod
    def _act(call: Call, rufus: Rufus, world: World) -> tuple[int, str]:
        """The call has reached RUFUS."""
        answer = rufus.read(call) if call.kind == "read" else rufus.close(call)
        call.acted = world.now
        rufus.tell("acted", call)
        return answer
