"""When to read the session, to send the close, to wait; what an answer means; backoff. Pure.

One `Delivery` is one close on its way. `step` is the next call; `on_answer` says what follows from its answer.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from rufusd.core.record import ELSEWHERE, STILL_PASSING, Record
from rufusd.core.settings import Settings, is_name, is_token
from rufusd.core.words import _

PATIENCE = 10  # times retry.max: how slowly what RUFUS refused is retried, and how far a Retry-After is obeyed
STAYS = 3  # answers in a row that are not RUFUS's clear word, until a person has to know
SLOWEST_LOOK, FASTEST_LOOK = 60.0, 5.0  # seconds between two looks at a session that waits for a person
HURRY = 1.0  # seconds between two calls at the least, however often the network changes
SHORTEST_LOOK = 0.05  # seconds between two looks, however short the wait for quiet is


@dataclass(frozen=True)
class Answer:
    """What came back from one call. Status 0: no whole answer, and `problem` says why, for people."""

    status: int = 0
    text: str = ""
    retry_after: float | None = None  # seconds
    problem: str = ""
    sent: bool = True  # whether RUFUS may have acted on the call
    verified: bool = False  # whether it came by TLS, from the host that api.url names


class Meaning(Enum):
    """What an answer means for a close."""

    CLOSED = "closed"  # RUFUS says so
    OPEN = "open"  # RUFUS says so
    UNREADABLE = "unreadable"  # RUFUS is reachable, but does not say (a WRITE key)
    REFUSED = "refused"  # by RUFUS; a person can mend it
    BARRED = "barred"  # refused, but not in RUFUS's own form: by its gateway, or by something in between
    UNSURE = "unsure"  # a success that does not say "closed": only a look at the session can tell
    RETRY = "retry"  # no answer, or not RUFUS's


@dataclass(frozen=True)
class Verdict:
    """An answer, judged. `passings` is how many have reached RUFUS, where it said so.

    `own`: whether RUFUS itself spoke. Its gateway, or something in between, may refuse a read in another form.
    """

    meaning: Meaning
    reason: str = ""
    passings: int | None = None
    own: bool = True


_ANOTHER = _("RUFUS's answer names another session; it is asked again")


def drop_body_with_key(answer: Answer, key: str) -> Answer:
    """An answer to be shown: as if it said nothing where it repeats the key, as RUFUS never does."""
    try:
        repeats = key in answer.text or _repeats(_object(answer.text), key)
    except RecursionError:  # nested too deep to be told
        repeats = True
    return replace(answer, text="") if repeats else answer


def _repeats(found: object, key: str) -> bool:
    """Whether what JSON says has the key in it: each of its characters can be written in several ways."""
    if isinstance(found, dict):
        return any(_repeats(each, key) for pair in found.items() for each in pair)
    if isinstance(found, list):
        return any(_repeats(each, key) for each in found)
    return isinstance(found, str) and key in found


def judge_read(answer: Answer, token: str) -> Verdict:
    """What the answer to reading a session means."""
    session = parse_session(answer, token)
    if session:
        return Verdict(Meaning.OPEN if session.active else Meaning.CLOSED, passings=session.passings)
    if parse_session(answer) or _names_another(_said(answer), token):  # from a cache, say
        return Verdict(Meaning.RETRY, _ANOTHER, own=False)
    return _without_session(answer)


def _without_session(answer: Answer) -> Verdict:
    """What it means that a read was answered, and no session was told of.

    A gateway may answer 401 or 403 for RUFUS, in its own form, to a key that may not read. A WRITE key has to close all
    the same, so such an answer counts as "not permitted".
    """
    found = _said(answer)
    if "result" in found or "description" in found:
        return Verdict(Meaning.UNREADABLE)
    if _is_refusal(answer):
        return Verdict(Meaning.UNREADABLE)
    if answer.status in (401, 403) and (not answer.text.strip() or _object(answer.text) is not None):
        return Verdict(Meaning.UNREADABLE, _retry_reason(answer), own=False)
    return _not_rufus(answer)


def _not_rufus(answer: Answer) -> Verdict:
    """An answer that says nothing in RUFUS's name."""
    barred = 400 <= answer.status < 500 and answer.status not in (408, 425, 429)
    return Verdict(Meaning.BARRED if barred else Meaning.RETRY, _retry_reason(answer), own=False)


@dataclass(frozen=True)
class SessionInfo:
    """What RUFUS tells of a session, for people: texts that can be shown, empty where it told none."""

    token: str
    active: bool
    name: str = ""
    created: str = ""
    last: str = ""  # when its last passing was
    passings: int | None = None


def parse_session(answer: Answer, token: str | None = None) -> SessionInfo | None:
    """The session that the answer to a read tells of: this one, or, without a token, the first that it names."""
    record = _record(answer, token) or {}
    named, passings = str(record.get("token_session")), record.get("passings")
    if not is_token(named):
        return None
    name, created, last = (_shown(record.get(key)) for key in ("alias", "creation_date", "last"))
    counted = isinstance(passings, int) and not isinstance(passings, bool)
    return SessionInfo(named, record["active"], name, created, last, passings if counted else None)


def _record(answer: Answer, token: str | None) -> dict[str, Any] | None:
    """The session's record as it came, in a list or alone; but `active`, which is a yes or a no."""
    result = _said(answer).get("result")
    for record in result if isinstance(result, list) else [result]:
        named: dict[str, Any] = record if isinstance(record, dict) else {}
        if isinstance(named.get("active"), bool) and (token is None or _names(named, token)):
            return named
    return None


def _shown(value: object) -> str:
    return value if isinstance(value, str) and is_name(value) and len(value) <= 200 else ""


def heard(answer: Answer, token: str) -> bool:
    """Whether RUFUS itself says what this key may: it tells of the session, or refuses the key in its own form."""
    return parse_session(answer, token) is not None or (answer.status in (401, 403) and _is_refusal(answer))


def judge_device(answer: Answer) -> Verdict:
    """What the answer to reading a device's open session means; `parse_session` says which one it is."""
    session = parse_session(answer)
    if session and session.active:
        return Verdict(Meaning.OPEN, passings=session.passings)
    verdict = _without_session(answer)
    if verdict.meaning is not Meaning.UNREADABLE:
        return verdict
    if answer.status < 300 or answer.status in (404, 410):
        return Verdict(Meaning.UNREADABLE, _("RUFUS knows of no session that this device has open"))
    return replace(verdict, reason=explain_unreadable(answer))


def explain_unreadable(answer: Answer) -> str:
    """Why RUFUS answered a read and told nothing (`Meaning.UNREADABLE`), and what that means for the configuration."""
    status = answer.status
    if status in (401, 403) and not _is_refusal(answer):
        return _retry_reason(answer)
    if status in (401, 403):
        return _(
            "RUFUS does not let this key read ({status}): it has WRITE access only, or is not a valid key",
            status=status,
        )
    if status in (404, 410):
        return _("RUFUS knows no session with this token ({status})", status=status)
    return _("RUFUS does not tell ({status})", status=status)


def judge_close(answer: Answer, token: str) -> Verdict:
    """What the answer to closing a session means. "Closed" only where RUFUS itself said so (promise 4)."""
    if 200 <= answer.status < 300 and not _is_page(answer.text):
        found = _inside(answer.text) or {}
        if _says_closed(found) and _names(found, token):
            return Verdict(Meaning.CLOSED)
        if _names_another(found, token):
            return Verdict(Meaning.UNSURE, _ANOTHER)
        return Verdict(
            Meaning.UNSURE,
            _(
                "the answer ({status}) does not say that the session is closed; rufusd reads the session, and goes on "
                "trying; where this stays, look in RUFUS, and check api.url, the network and any proxy",
                status=answer.status,
            ),
        )
    if _is_refusal(answer):
        return Verdict(Meaning.REFUSED, _refusal(answer.status, token))
    return _not_rufus(answer)


# RUFUS's documented words, in either spelling, or the same without "successfully". Of other words nobody knows whether
# they say it: "closed" is in "closed at 18:00", too, and in "0 sessions closed".
_CLOSED = re.compile(
    r"(?:the )?session (?:is |was |has been )?(?:already |succ?ess?full?y )?closed(?: succ?ess?full?y)?\s*[.!]?", re.I
)


def _says_closed(found: dict[str, Any]) -> bool:
    """Whether a success says that the session is closed, and does not say at the same time that it is active."""
    description = found.get("description")
    said = isinstance(description, str) and _CLOSED.fullmatch(description.strip())
    return bool(said) and not found.get("active")


def _is_refusal(answer: Answer) -> bool:
    """Whether RUFUS itself refused: it speaks by a `description`, or in its envelope. A gateway does not."""
    if answer.status not in (400, 401, 403, 404, 409, 410, 422):
        return False
    found = _inside(answer.text)
    enveloped = "body" in (_object(answer.text) or {})
    return found is not None and (enveloped or isinstance(found.get("description"), str))


def _is_page(text: str) -> bool:
    return bool(re.search(r"^[\ufeff\s]*<|<[a-z!/?]", text, re.I))


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object in an answer; None where there is none. The older pages' own sample lacks a comma."""
    for each in (text, re.sub(r'"\s+"token_session"', '", "token_session"', text, count=1)):
        try:
            found = json.loads(each)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _inside(text: str) -> dict[str, Any] | None:
    """The JSON object in an answer, out of the newer documentation's envelope; None where there is none.

    With a `statusCode` or an `errorMessage` a gateway tells of a call that failed, whatever else it says.
    """
    outer = _object(text)
    if outer is None:
        return None
    inner = (outer["body"] or {}) if isinstance(outer.get("body", ""), (dict, type(None))) else outer
    failed = any(name in each for each in (outer, inner) for name in ("statusCode", "errorMessage"))
    return None if failed or ("body" in outer and inner is outer) else inner


def _said(answer: Answer) -> dict[str, Any]:
    """What a success says; empty where it says nothing, or is none."""
    return (_inside(answer.text) or {}) if 200 <= answer.status < 300 else {}


def _names(found: dict[str, Any], token: str) -> bool:
    return str(found.get("token_session")).casefold() == token.casefold()


def _names_another(found: dict[str, Any], token: str) -> bool:
    return found.get("token_session") is not None and not _names(found, token)


def _retry_reason(answer: Answer) -> str:
    """Why an answer does not count, and what to do about it."""
    status = answer.status
    if not status:
        return answer.problem
    if status == 429 and answer.retry_after is None:
        return _("RUFUS asks to call less often (429), and names no time; rufusd waits longer after each call")
    if status == 429:
        return _("RUFUS asks to call less often (429); rufusd waits as long as it says")
    if status in (408, 425) or status >= 500:
        return _("RUFUS has a problem of its own ({status}); nothing to do here, rufusd goes on trying", status=status)
    if status == 407:
        return _("the proxy wants a user and a password (407); put them into api.proxy")
    if (300 <= status < 400 or _is_page(answer.text)) and answer.verified:
        return _(
            "a web page or a redirect came in place of RUFUS's answer ({status}); the connection was verified, so it "
            "comes from the host in api.url, or from a filter in front of it; check api.url, and ask who runs the "
            "network's filter or proxy",
            status=status,
        )
    if 300 <= status < 400 or _is_page(answer.text):
        return _(
            "a web page answered in RUFUS's place ({status}), as a hotel's or a phone's login page does; "
            "log in to that network with a browser, or use another",
            status=status,
        )
    if status in (401, 403):
        return _(
            "refused ({status}), but not in RUFUS's own words: either the key is wrong or has no WRITE access, or "
            "something between the station and RUFUS refuses the call; check api.key, then api.url, the network and "
            "any proxy",
            status=status,
        )
    return _("something other than RUFUS answered ({status}); check api.url, the network and any proxy", status=status)


def _refusal(status: int, token: str) -> str:
    """What RUFUS refused, and what a person can do about it. In our words: an answer's own might repeat the key."""
    if status in (401, 403):
        return _(
            "RUFUS refused ({status}): put a valid key with WRITE or READ_WRITE access into api.key", status=status
        )
    if status in (404, 410):
        return _(
            "RUFUS refused ({status}): it knows no such session, or none that is open; check session.token, and where "
            "this close has a wrong one, `sudo rufusd withdraw {token}`",
            **{"status": status, "token": token},
        )
    return _(
        "RUFUS refused ({status}): look at the session in RUFUS; rufusd goes on trying, `sudo rufusd withdraw {token}` "
        "ends that",
        **{"status": status, "token": token},
    )


class Step(Enum):
    """The call that is due next."""

    READ = "read"
    CLOSE = "close"
    VERIFY = "verify"  # read at once: a refusal may mean that an earlier call worked, a weak success nothing


class Phase(Enum):
    """What a delivery is doing, for people and for `status --json`."""

    QUIET = "quiet"
    SENDING = "sending"
    RETRY = "retry"
    REFUSED = "refused"
    EMPTY = "empty"  # waits for a person: no passing had reached the session


@dataclass(frozen=True)
class Wait:
    """What of a wait for quiet outlives a restart of the program. Times are by a clock that outlives it, too.

    `began` is when the present wait began, None where there is none; `came` when a passing was last seen to come in it;
    `looked` when RUFUS was last read; `total` is how long all waits have taken so far.
    """

    began: float | None
    came: float | None
    looked: float
    total: float

    def moved(self, seconds: float) -> Wait:
        """The same wait by another clock, which is ahead by so much."""
        began, came = (None if at is None else at + seconds for at in (self.began, self.came))
        return Wait(began, came, self.looked + seconds, self.total)


def wait_of(record: Record, wait: Wait | None, boot_id: str) -> Wait | None:
    """What of an earlier life's wait counts for this close; times are seconds since the boot.

    Nothing counts where RUFUS was last read before this close was confirmed. That wait was for an earlier close of the
    session, which was withdrawn.
    """
    if wait and record.boot_id == boot_id and wait.looked < record.uptime:
        return None
    return wait


@dataclass(frozen=True)
class Delivery:
    """One close on its way. Times are monotonic seconds.

    `waiting` is when this wait for quiet began, `changed` when its count of passings changed last, `came` when a
    passing was last seen to come in it, `latest` when it ends in any case; `total` is how long all waits have taken.
    `looked` is when RUFUS was last read, `took` how long that call took, `called` when the present call began. `missed`
    counts the failed calls since the last good look, `resumed` says that the wait began in an earlier life of the
    program, `broke` why a wait last began anew. `unheard`: what has refused to tell so far did not speak as RUFUS; why.

    `failures` counts the reads that failed in a row, `unclosed` the close calls, `unclear` the calls in a row whose
    answer was not RUFUS's clear word, `attempts` all calls but the waits' good reads. `lost` says that RUFUS may have
    acted on a call whose answer never came; `doubted` that the last close call's answer is to be verified, without a
    refusal; `refused` why RUFUS refused the last one that it answered, `barred` why something that is not RUFUS did;
    `overdue` why the waits have taken too long. `still` says that passings still came when the close was sent.
    `not_before` is when RUFUS wants to be called again. `alone` says that no person has confirmed it, `empty` why a
    person has to. `elsewhere`: it was closed before rufusd first looked, without a call of ours.
    """

    token: str
    due: float
    step: Step
    phase: Phase = Phase.QUIET
    attempts: int = 0
    failures: int = 0
    unclosed: int = 0
    unclear: int = 0
    missed: int = 0
    not_before: float = 0.0
    waiting: float | None = None
    changed: float = 0.0
    came: float | None = None
    latest: float | None = None
    looked: float | None = None
    took: float = 0.0
    called: float | None = None
    total: float = 0.0
    passings: int | None = None
    resumed: bool = False
    lost: bool = False
    doubted: bool = False
    still: bool = False
    broke: str = ""
    unheard: str = ""
    error: str = ""
    refused: str = ""
    barred: str = ""
    overdue: str = ""
    alone: bool = False
    empty: str = ""
    elsewhere: bool = False
    closed: bool = False

    @property
    def troubled(self) -> bool:
        """Whether the last close call was refused or failed, however well the reads go."""
        return bool(self.refused or self.unclosed)

    @property
    def slipped(self) -> bool:
        """Whether a call has failed in the middle of a wait, which is no outage yet."""
        return self.missed == 1 and self.waiting is not None

    @property
    def fault(self) -> str:
        """Why a person has to know of this close; empty where none has to."""
        return self.refused or (self.barred if self.unclear >= STAYS else "") or self.overdue or self.empty

    @property
    def closed_how(self) -> str:
        """What there is to say of how it was closed, in one of `record`'s words; empty for nothing."""
        return ELSEWHERE if self.elsewhere else STILL_PASSING if self.still else ""

    @property
    def wait(self) -> Wait | None:
        """What is to outlive a restart; None where nothing has been waited for."""
        if self.looked is None:
            return None
        return Wait(self.waiting, self.came, self.looked, self.total)


def new_delivery(
    token: str,
    sent: bool,
    now: float,
    settings: Settings,
    wait: Wait | None = None,
    *,
    alone: bool = False,
    empty: bool = False,
) -> Delivery:
    """A delivery that starts now. `sent`: a close call was begun before, by an earlier life or for an earlier close.

    `wait`: how far an earlier life had come with waiting, by this life's clock. `alone`: no person has confirmed it.
    `empty`: an earlier life has found the session without a passing.
    """
    phase = Phase.QUIET if settings.close.quiet > 0 else Phase.SENDING
    why = _NONE_CAME if alone and empty else ""
    delivery = Delivery(token, now, _next(sent or alone, settings), phase, lost=sent, alone=alone, empty=why)
    if wait is None:
        return delivery
    broke = _("rufusd was started again")
    begun = replace(delivery, waiting=wait.began, came=wait.came, looked=wait.looked, total=wait.total)
    return replace(begun, resumed=True, broke=broke)


def on_answer(
    delivery: Delivery, answer: Answer, now: float, chance: float, settings: Settings, *, heard: bool = False
) -> Delivery:
    """What follows from the answer to the call that was due. `chance` is uniform in [0, 1).

    `heard`: RUFUS itself has answered this key before, so that a refusal in another form is not RUFUS's.
    """
    if delivery.step is Step.CLOSE:
        return _after_close(delivery, answer, now, chance, settings)
    verdict = judge_read(answer, delivery.token)
    if verdict.meaning is Meaning.CLOSED:
        elsewhere = delivery.looked is None and not delivery.lost
        return replace(delivery, closed=True, elsewhere=elsewhere, error="")
    if delivery.step is Step.VERIFY and delivery.doubted:
        return _paused(_anew(delivery, settings), answer, backoff(delivery.unclosed, chance, settings), now, settings)
    if delivery.step is Step.VERIFY:
        again = replace(_restart_wait(delivery, settings), phase=Phase.REFUSED, refused=delivery.error)
        return _paused(again, answer, PATIENCE * backoff(99, chance, settings), now, settings)
    if verdict.meaning is Meaning.UNREADABLE and not verdict.own and (heard or delivery.passings is not None):
        verdict = replace(verdict, meaning=Meaning.BARRED)  # something in between refuses
    if verdict.meaning in (Meaning.RETRY, Meaning.BARRED):
        failed = replace(delivery, failures=delivery.failures + 1)
        return _failed(failed, verdict, answer, now, chance, settings)
    if verdict.own and delivery.unheard:  # so what refused was not RUFUS: it was an outage
        delivery = replace(delivery, waiting=None, error=delivery.unheard)
    delivery = replace(delivery, unheard=verdict.reason)  # RUFUS itself gives none
    if delivery.alone and (delivery.empty or verdict.passings == 0):
        return _left_to_a_person(delivery, verdict.passings, now, settings)
    return _waited(delivery, verdict.passings, now, settings)


def _after_close(delivery: Delivery, answer: Answer, now: float, chance: float, settings: Settings) -> Delivery:
    verdict = judge_close(answer, delivery.token)
    if verdict.meaning is Meaning.CLOSED:
        return replace(delivery, closed=True, error="", attempts=delivery.attempts + 1)
    if verdict.meaning is Meaning.REFUSED:
        reason = verdict.reason
        if delivery.lost and answer.status in (404, 409, 410):
            reason = _(
                "{reason}; an earlier call's answer was lost, so it may be closed already: "
                "look in RUFUS, and where it is, `sudo rufusd withdraw {token}` ends this",
                **{"reason": reason, "token": delivery.token},
            )
        refused = replace(delivery, step=Step.VERIFY, due=now, error=reason, attempts=delivery.attempts + 1)
        return replace(refused, unclear=0, barred="", doubted=False)
    failed = replace(delivery, unclosed=delivery.unclosed + 1, lost=delivery.lost or answer.sent)
    if verdict.meaning is Meaning.UNSURE:
        doubted = _failed(failed, verdict, answer, now, chance, settings)
        return replace(doubted, step=Step.VERIFY, phase=Phase.SENDING, due=now, doubted=True)
    return _failed(failed, verdict, answer, now, chance, settings)


def look_every(settings: Settings) -> float:
    """Seconds between two looks. Few, so that a network that loses one in ten lets most waits come to their end."""
    return max(SHORTEST_LOOK, settings.close.quiet / 6)


def _waited(delivery: Delivery, passings: int | None, now: float, settings: Settings) -> Delivery:
    """The session is open, or cannot be read: wait until no passing has come for long enough (promise 3)."""
    close = settings.close
    gap = 0.0 if delivery.looked is None else now - delivery.looked
    fresh = delivery.waiting is None or _was_outage(delivery, passings, gap, settings)
    other = passings != delivery.passings
    waiting = now if delivery.waiting is None or fresh else delivery.waiting
    changed = now if fresh or delivery.resumed or other else delivery.changed
    came = now if other and delivery.passings is not None and passings is not None else delivery.came
    total = delivery.total + (0.0 if fresh else gap)
    end = min(changed + close.quiet, waiting + close.max_wait)
    waited = replace(
        delivery,
        waiting=waiting,
        changed=changed,
        came=None if fresh else came,
        latest=waiting + close.max_wait,
        looked=now,
        took=0.0 if delivery.called is None else now - delivery.called,
        total=total,
        passings=passings,
        broke=(delivery.error or delivery.broke) if fresh else delivery.broke,
        resumed=False,
        missed=0,
        failures=0,
        unclear=delivery.unclear if delivery.unclosed else 0,
        error="",
        phase=Phase.QUIET,
    )
    if now >= end:
        still = waited.came is not None and now - waited.came < close.quiet
        return replace(waited, step=Step.CLOSE, phase=Phase.SENDING, due=now, still=still)
    if total > close.max_wait:
        waited = replace(waited, overdue=delivery.overdue or _overdue(delivery, settings))
    return replace(waited, due=min(now + look_every(settings), end))


def _was_outage(delivery: Delivery, passings: int | None, gap: float, settings: Settings) -> bool:
    """Whether the time since the last good look may have been an outage, after which the reader has a backlog.

    One failed call between two good looks that show the same count is none; the program's restart is none. But neither
    may have taken longer than two looks do, each with its call.
    """
    if not (delivery.missed or delivery.resumed):
        return False
    other = delivery.missed > 0 and passings != delivery.passings
    return other or gap > 2 * (look_every(settings) + settings.api.timeout)


def _overdue(delivery: Delivery, settings: Settings) -> str:
    return _(
        "rufusd has waited for quiet for longer than close.max_wait ({max_wait:g} s) in all, because the wait had to "
        "begin anew (last reason: {why}); rufusd still waits for {quiet:g} s without a new passing and without an "
        "outage; look after the network",
        **{"max_wait": settings.close.max_wait, "quiet": settings.close.quiet, "why": delivery.broke},
    )


_NONE_CAME = _(
    "the reader went off, but no passing has reached this session: is it the right session? Hold the button, or "
    "`sudo rufusd close`, to close it all the same"
)
_CAME_LATER = _(
    "the reader went off before the first passing, and passings have come in since: reader.running may be the wrong "
    "way round, or the reader has uploaded them late. If the race is over, hold the button, or `sudo rufusd close`; "
    "if not, `sudo rufusd withdraw {token}`, and check reader.running"
)


def _left_to_a_person(delivery: Delivery, passings: int | None, now: float, settings: Settings) -> Delivery:
    """The reader alone does not close a session that was empty when it went off (promise 1): look on, slowly.

    Passings that come in afterwards change nothing. They may be the upload of a station that was offline all day, and
    then a person confirms within a minute. But an inverted line says "off" at the very start of the race; a gap between
    two runners is as long as `quiet`, and the close would lose the race. Nothing that RUFUS tells sets the two apart.
    `max_wait` does not end this either.
    """
    came = delivery.empty == _CAME_LATER.with_parts(token=delivery.token) or bool(passings)
    return replace(
        delivery,
        step=Step.READ,
        phase=Phase.EMPTY,
        due=now + min(SLOWEST_LOOK, max(FASTEST_LOOK, look_every(settings))),
        empty=_CAME_LATER.with_parts(token=delivery.token) if came else _NONE_CAME,
        waiting=None,
        looked=now,
        took=0.0,
        passings=passings,
        resumed=False,
        missed=0,
        failures=0,
        unclear=0,
        error="",
    )


def endorsed(delivery: Delivery, now: float, settings: Settings) -> Delivery:
    """A person has confirmed it as well: what was left to a person goes on at once, with its ordinary wait."""
    if not (delivery.alone and delivery.empty):
        return replace(delivery, alone=False)
    phase = Phase.QUIET if settings.close.quiet > 0 else Phase.SENDING
    on = replace(delivery, alone=False, empty="", waiting=None, phase=phase, due=max(now, delivery.not_before))
    return replace(on, step=_next(delivery.lost, settings))


def stale(delivery: Delivery, now: float, settings: Settings) -> bool:
    """Whether the look that found it quiet is too old for the close call to go out now (promise 3).

    The call's own connection may take as long as the look's call took.
    """
    if settings.close.quiet <= 0 or delivery.looked is None:
        return False
    return now - delivery.looked > look_every(settings) + delivery.took


def looks_again(delivery: Delivery, now: float) -> Delivery:
    """The close was about to be sent on a look that is too old: look again, and lose nothing of the wait."""
    return replace(delivery, step=Step.READ, phase=Phase.QUIET, due=now)


def _failed(
    delivery: Delivery, verdict: Verdict, answer: Answer, now: float, chance: float, settings: Settings
) -> Delivery:
    """No answer, or not RUFUS's: an outage, after which the reader may have a backlog, so the wait starts anew.

    Where RUFUS only asks to call less often there is none: the wait goes on. Nor does one call that failed say so, as
    long as it did not reach RUFUS, or changes nothing there: the next look tells (`_was_outage`).
    """
    closing, busy = delivery.step is Step.CLOSE, answer.status == 429
    missed = delivery.missed + (not busy)
    kept = busy or (missed < 2 and not (closing and answer.sent))
    unclear = delivery.unclear + 1 if verdict.meaning in (Meaning.BARRED, Meaning.UNSURE) else 0
    failed = replace(
        _restart_wait(delivery, settings),
        waiting=delivery.waiting if kept else None,
        missed=missed,
        unclear=unclear,
        barred=verdict.reason if unclear else "",
        broke=delivery.broke if kept else verdict.reason,
        doubted=False,
        error=verdict.reason,
        phase=Phase.RETRY,
        attempts=delivery.attempts + 1,
    )
    if verdict.meaning is Meaning.BARRED:  # as an outage at first; slowly only as it stays
        pause = backoff(unclear, chance, settings, PATIENCE)
    else:
        pause = backoff(delivery.unclosed if closing else delivery.failures, chance, settings)
    return _paused(failed, answer, pause, now, settings)


def _anew(delivery: Delivery, settings: Settings) -> Delivery:
    """It could not be verified that a close call with a weak answer has worked: all over again."""
    return replace(_restart_wait(delivery, settings), phase=Phase.RETRY, doubted=False)


def _paused(delivery: Delivery, answer: Answer, pause: float, now: float, settings: Settings) -> Delivery:
    """Due after a pause, which is as long as RUFUS asks for, within reason (Retry-After)."""
    rest = asked(answer, settings)
    return replace(delivery, due=now + max(pause, rest), not_before=now + rest)


def asked(answer: Answer, settings: Settings) -> float:
    """For how many seconds RUFUS asks not to be called, within reason."""
    return min(answer.retry_after or 0.0, PATIENCE * settings.retry.max)


def retry_now(delivery: Delivery, now: float) -> Delivery:
    """A person wants it tried now: pauses are cut short, a wait for quiet stays whole."""
    return replace(delivery, due=now) if delivery.phase in (Phase.RETRY, Phase.REFUSED, Phase.EMPTY) else delivery


def network_changed(delivery: Delivery, now: float) -> Delivery:
    """The network may be back: what waited for it is tried now, or as soon as RUFUS wants to be called again.

    A network that comes and goes all the time does not make more calls than one in `HURRY` seconds.
    """
    if delivery.phase is not Phase.RETRY:
        return delivery
    soonest = max(now, delivery.not_before, (delivery.called or -math.inf) + HURRY)
    return replace(delivery, due=min(soonest, max(delivery.due, now)))


def reconfigured(delivery: Delivery, now: float, settings: Settings) -> Delivery:
    """The configuration is another: all is looked at now, nothing is sent without its wait, nothing is a fault yet."""
    broke = _("the configuration was read again")
    due = replace(_restart_wait(delivery, settings), broke=broke) if delivery.step is Step.CLOSE else delivery
    return replace(due, due=now, refused="", unclear=0, barred="", overdue="")


def _restart_wait(delivery: Delivery, settings: Settings) -> Delivery:
    return replace(delivery, step=_next(delivery.lost or delivery.alone, settings), waiting=None)


def _next(unsure: bool, settings: Settings) -> Step:
    """The step to begin with. Only reading tells whether RUFUS has acted on a call, or whether a session is empty."""
    return Step.READ if settings.close.quiet > 0 or unsure else Step.CLOSE


def backoff(failures: int, chance: float, settings: Settings, times: float = 1) -> float:
    """The pause after so many failures in a row, in seconds: doubling, bounded, and shortened by up to half by chance.

    Chance keeps a venue's stations from calling in step once the network is back. The bound is `times` retry.max.
    """
    pause = min(times * settings.retry.max, settings.retry.first * 2.0 ** min(failures - 1, 40))
    return pause * (1 - chance / 2)
