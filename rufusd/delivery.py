"""When to read the session, to send the close, to wait; what an answer means; backoff. Pure.

One `Delivery` is one close on its way. `next_call` says which call is due, `after` what follows from its answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from rufusd.settings import Settings, is_name, is_token
from rufusd.words import _

PATIENCE = 10  # times retry.max: how slowly what RUFUS refused is retried, and how far a Retry-After is obeyed


@dataclass(frozen=True)
class Answer:
    """What came back from one call. Status 0: no whole answer, and `problem` says why, for people."""

    status: int = 0
    text: str = ""
    retry_after: float | None = None  # seconds
    problem: str = ""
    sent: bool = True  # whether RUFUS may have acted on the call


class Meaning(Enum):
    """What an answer means for a close."""

    CLOSED = "closed"  # RUFUS says so
    OPEN = "open"  # RUFUS says so
    UNREADABLE = "unreadable"  # RUFUS is reachable, but does not say (a WRITE key)
    REFUSED = "refused"  # by RUFUS; a person can mend it
    RETRY = "retry"  # no answer, or not RUFUS's


@dataclass(frozen=True)
class Verdict:
    """An answer, judged. `passings` is how many have reached RUFUS, where it said so."""

    meaning: Meaning
    reason: str = ""
    passings: int | None = None


def keyless(answer: Answer, key: str) -> Answer:
    """An answer to be shown: as if it said nothing where it repeats the key, as RUFUS never does."""
    return replace(answer, text="") if key in answer.text else answer


def judge_read(answer: Answer, token: str) -> Verdict:
    """What the answer to reading a session means."""
    session = told(answer, token)
    if session:
        return Verdict(Meaning.OPEN if session.active else Meaning.CLOSED, passings=session.passings)
    return Verdict(Meaning.UNREADABLE) if _speaks(answer) else Verdict(Meaning.RETRY, _why_not(answer))


def _speaks(answer: Answer) -> bool:
    """Whether it is RUFUS that answered a read, though it told of no session."""
    found = _object(answer.text)
    if 200 <= answer.status < 300:
        return found is not None and ("result" in found or "description" in found)
    return _is_refusal(answer.status) and (
        found is not None or (answer.status in (401, 403) and not answer.text.strip())
    )


@dataclass(frozen=True)
class Told:
    """What RUFUS tells of a session, for people: texts that can be shown, empty where it told none."""

    token: str
    active: bool
    name: str = ""
    created: str = ""
    last: str = ""  # when its last passing was
    passings: int | None = None


def told(answer: Answer, token: str | None = None) -> Told | None:
    """The session that the answer to a read tells of: this one, or, without a token, the first that it names."""
    record = _record(answer, token) or {}
    named, passings = str(record.get("token_session")), record.get("passings")
    if not is_token(named):
        return None
    name, created, last = (_shown(record.get(key)) for key in ("alias", "creation_date", "last"))
    return Told(named, record["active"], name, created, last, passings if isinstance(passings, int) else None)


def _record(answer: Answer, token: str | None) -> dict[str, Any] | None:
    """The session's record as it came; but `active`, which is a yes or a no."""
    records = (_object(answer.text) or {}).get("result") if 200 <= answer.status < 300 else None
    for record in records if isinstance(records, list) else []:
        named: dict[str, Any] = record if isinstance(record, dict) else {}
        if isinstance(named.get("active"), bool) and (token is None or _names(named, token)):
            return named
    return None


def _shown(value: object) -> str:
    return value if isinstance(value, str) and is_name(value) and len(value) <= 200 else ""


def judge_device(answer: Answer) -> Verdict:
    """What the answer to reading a device's open session means; which one that is, `told` tells."""
    session = told(answer)
    if session and session.active:
        return Verdict(Meaning.OPEN, passings=session.passings)
    if not _speaks(answer):
        return Verdict(Meaning.RETRY, _why_not(answer))
    if answer.status < 300 or answer.status in (404, 410):
        return Verdict(Meaning.UNREADABLE, _("RUFUS knows of no session that this device has open"))
    return Verdict(Meaning.UNREADABLE, untold(answer))


def untold(answer: Answer) -> str:
    """Why RUFUS answered a read and told nothing (`Meaning.UNREADABLE`), and what that means for the configuration."""
    status = answer.status
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
    found = _object(answer.text)
    if 200 <= answer.status < 300 and not _is_page(answer.text):
        if found is not None and found.get("token_session") is not None and not _names(found, token):
            return Verdict(Meaning.RETRY, _("RUFUS's answer names another session; it is asked again"))
        known = found is not None and (not found or "description" in found or "token_session" in found)
        # A token behind a slash is our own call's address, which any proxy or portal may repeat.
        named = re.search(rf"(?<![\w/-]){re.escape(token)}", answer.text, re.I)
        if known or not answer.text.strip() or named:
            return Verdict(Meaning.CLOSED)
    if _is_refusal(answer.status) and found is not None:
        return Verdict(Meaning.REFUSED, _refusal(answer.status, token))
    return Verdict(Meaning.RETRY, _why_not(answer))


def _is_refusal(status: int) -> bool:
    return status in (400, 401, 403, 404, 409, 410, 422)


def _is_page(text: str) -> bool:
    return bool(re.search(r"^[\ufeff\s]*<|<[a-z!/?]", text, re.I))


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object in an answer, out of the newer documentation's envelope; None where there is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get("body", ""), (dict, type(None))):
        found = found["body"] or {}
    return found if isinstance(found, dict) else None


def _names(found: dict[str, Any], token: str) -> bool:
    return str(found.get("token_session")).casefold() == token.casefold()


def _why_not(answer: Answer) -> str:
    """Why an answer does not count, and what to do about it."""
    status = answer.status
    if not status:
        return answer.problem
    if status == 429:
        return _("RUFUS asks to call less often (429); rufusd waits as long as it says")
    if status in (408, 425) or status >= 500:
        return _("RUFUS has a problem of its own ({status}); nothing to do here, rufusd goes on trying", status=status)
    if status == 407:
        return _("the proxy wants a user and a password (407); put them into api.proxy")
    if 300 <= status < 400 or _is_page(answer.text):
        return _(
            "a web page answered in RUFUS's place ({status}), as a hotel's or a phone's login page does; "
            "log in to that network with a browser, or use another",
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
    VERIFY = "verify"  # read once more, since a refusal may mean that an earlier call worked


class Phase(Enum):
    """What a delivery is doing, for people and for `status --json`."""

    QUIET = "quiet"
    SENDING = "sending"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True)
class Delivery:
    """One close on its way. Times are monotonic seconds.

    `waiting` is when this wait for quiet began, `changed` when its count of passings changed last. `failures` counts
    the reads that failed in a row, `unclosed` the close calls, `attempts` all calls but the waits' good reads. `lost`
    says that RUFUS may have acted on a call whose answer never came; `refused` why it refused the last one that it
    answered. `not_before` is when it wants to be called again.
    """

    token: str
    due: float
    step: Step
    phase: Phase = Phase.QUIET
    attempts: int = 0
    failures: int = 0
    unclosed: int = 0
    not_before: float = 0.0
    waiting: float | None = None
    changed: float = 0.0
    passings: int | None = None
    lost: bool = False
    error: str = ""
    refused: str = ""
    closed: bool = False

    @property
    def troubled(self) -> bool:
        """Whether the last close call was refused or failed, however well the reads go."""
        return bool(self.refused or self.unclosed)


def begin(token: str, sent: bool, now: float, settings: Settings) -> Delivery:
    """A delivery that starts now. `sent`: a close call was begun before, in an earlier life of the program."""
    step = Step.READ if settings.close.quiet > 0 else Step.CLOSE
    return Delivery(token, now, step, Phase.QUIET if step is Step.READ else Phase.SENDING, lost=sent)


def after(delivery: Delivery, answer: Answer, now: float, chance: float, settings: Settings) -> Delivery:
    """What follows from the answer to the call that was due. `chance` is uniform in [0, 1)."""
    if delivery.step is Step.CLOSE:
        return _after_close(delivery, answer, now, chance, settings)
    verdict = judge_read(answer, delivery.token)
    if verdict.meaning is Meaning.CLOSED:
        return replace(delivery, closed=True, error="")
    if delivery.step is Step.VERIFY:
        again = replace(_again(delivery, settings), phase=Phase.REFUSED, refused=delivery.error)
        return _paused(again, answer, PATIENCE * backoff(99, chance, settings), now, settings)
    if verdict.meaning is Meaning.RETRY:
        failures = delivery.failures + 1
        failed = replace(delivery, failures=failures, error=verdict.reason)
        return _failed(failed, answer, backoff(failures, chance, settings), now, settings)
    return _waited(delivery, verdict.passings, now, settings)


def _after_close(delivery: Delivery, answer: Answer, now: float, chance: float, settings: Settings) -> Delivery:
    verdict = judge_close(answer, delivery.token)
    if verdict.meaning is Meaning.CLOSED:
        return replace(delivery, closed=True, error="", attempts=delivery.attempts + 1)
    if verdict.meaning is Meaning.RETRY:
        unclosed, lost = delivery.unclosed + 1, delivery.lost or answer.sent
        failed = replace(delivery, unclosed=unclosed, lost=lost, error=verdict.reason)
        return _failed(failed, answer, backoff(unclosed, chance, settings), now, settings)
    reason = verdict.reason
    if delivery.lost and answer.status in (404, 409, 410):
        reason = _(
            "{reason}; an earlier call's answer was lost, so it may be closed already: "
            "look in RUFUS, and where it is, `sudo rufusd withdraw {token}` ends this",
            **{"reason": reason, "token": delivery.token},
        )
    return replace(delivery, step=Step.VERIFY, due=now, error=reason, attempts=delivery.attempts + 1)


def _waited(delivery: Delivery, passings: int | None, now: float, settings: Settings) -> Delivery:
    """The session is open, or cannot be read: wait until no passing has come for long enough (promise 3)."""
    close = settings.close
    fresh = delivery.waiting is None
    waiting = now if delivery.waiting is None else delivery.waiting
    changed = now if fresh or passings != delivery.passings else delivery.changed
    waited = replace(
        delivery, waiting=waiting, changed=changed, passings=passings, failures=0, error="", phase=Phase.QUIET
    )
    end = min(changed + close.quiet, waiting + close.max_wait)
    if now >= end:
        return replace(waited, step=Step.CLOSE, phase=Phase.SENDING, due=now)
    # Few looks, so that a network that loses one in ten lets most waits come to their end.
    return replace(waited, due=min(now + max(0.05, close.quiet / 6), end))


def _failed(delivery: Delivery, answer: Answer, pause: float, now: float, settings: Settings) -> Delivery:
    """No answer, or not RUFUS's: an outage, after which the reader may have a backlog, so the wait starts anew.

    Where RUFUS only asks to call less often there is none: the wait goes on.
    """
    step, waiting = _again(delivery, settings).step, delivery.waiting if answer.status == 429 else None
    failed = replace(delivery, step=step, waiting=waiting, phase=Phase.RETRY, attempts=delivery.attempts + 1)
    return _paused(failed, answer, pause, now, settings)


def _paused(delivery: Delivery, answer: Answer, pause: float, now: float, settings: Settings) -> Delivery:
    """Due after a pause, which is as long as RUFUS asks for, within reason (Retry-After)."""
    asked = min(answer.retry_after or 0.0, PATIENCE * settings.retry.max)
    return replace(delivery, due=now + max(pause, asked), not_before=now + asked)


def hurried(delivery: Delivery, now: float) -> Delivery:
    """A person wants it tried now: pauses are cut short, a wait for quiet stays whole."""
    return replace(delivery, due=now) if delivery.phase in (Phase.RETRY, Phase.REFUSED) else delivery


def network_changed(delivery: Delivery, now: float) -> Delivery:
    """The network may be back: what waited for it is tried now, or as soon as RUFUS wants to be called again."""
    return replace(delivery, due=max(now, delivery.not_before)) if delivery.phase is Phase.RETRY else delivery


def renewed(delivery: Delivery, now: float, settings: Settings) -> Delivery:
    """The configuration is another: all is looked at now, nothing is sent without its wait, no refusal is a fault."""
    due = _again(delivery, settings) if delivery.step is Step.CLOSE else delivery
    return replace(due, due=now, refused="")


def _again(delivery: Delivery, settings: Settings) -> Delivery:
    step = Step.READ if settings.close.quiet > 0 else Step.CLOSE
    return replace(delivery, step=step, waiting=None)


def backoff(failures: int, chance: float, settings: Settings) -> float:
    """The pause after so many failures in a row, in seconds: doubling, bounded, and shortened by up to half by chance.

    Chance keeps a venue's stations from calling in step once the network is back.
    """
    pause = min(settings.retry.max, settings.retry.first * 2.0 ** min(failures - 1, 40))
    return pause * (1 - chance / 2)
