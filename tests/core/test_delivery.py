"""Delivery: what each answer means, and when each call is made, in simulated time against a RUFUS in plain Python."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field, replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rufusd.core.delivery import (
    Answer,
    Delivery,
    Meaning,
    Phase,
    SessionInfo,
    Step,
    Verdict,
    Wait,
    backoff,
    drop_body_with_key,
    endorsed,
    explain_unreadable,
    heard,
    judge_close,
    judge_device,
    judge_read,
    look_every,
    looks_again,
    network_changed,
    new_delivery,
    on_answer,
    parse_session,
    reconfigured,
    retry_now,
    stale,
    wait_of,
)
from rufusd.core.record import ELSEWHERE, STILL_PASSING, Record
from rufusd.core.settings import Api, Close, Retry, Session, Settings

TOKEN = "6E05A1B2C3D4E5F6" * 4
OTHER = "2A19294BB886C3D5" * 4
KEY = "ror-00112233445566778899"
LATENCY = 0.1  # seconds that a simulated call takes
REFUSALS = (400, 401, 403, 404, 409, 410, 422)


def rules(quiet=30.0, max_wait=900.0, first=1.0, most=30.0):
    return Settings(Api(KEY), Session(TOKEN), Close(10.0, quiet, max_wait), Retry(first, most))


def older(description, token=TOKEN, **more):
    """An answer's text as RUFUS's older pages have it."""
    return json.dumps({"description": description, "token_session": token, **more})


def newer(description, token=TOKEN, **more):
    """The same in the newer specification's envelope."""
    return json.dumps({"body": json.loads(older(description, token, **more))})


def session(*, active, passings=31, token=TOKEN, envelope=False, **more):
    """RUFUS's answer to reading a session."""
    record = {"token_session": token, "alias": "FINISH-10K", "active": active, "passings": passings, **more}
    found = {"description": "Success", "result": [record]}
    return json.dumps({"body": found} if envelope else found)


PORTAL = "<!DOCTYPE html><html><head><title>Hotel Wi-Fi</title></head><body>Log in</body></html>"
PAGES = [
    PORTAL,
    PORTAL.upper(),
    "\ufeff \r\n" + PORTAL,
    f'<a href="/login?from=/v0/sessions/close/{TOKEN}">log in</a>',
    f"Session {TOKEN}: please wait <html><body></body></html>",
    f'<?xml version="1.0"?><closed>{TOKEN}</closed>',
    f"Session {TOKEN}: please <A HREF='/login'>log in</A>",
]
FORMS = [older("Session not found"), newer("Session not found"), '{"body": null}', '{"body": {}}']
GATEWAYS = [  # JSON of an API gateway, of a framework, of a web server: not RUFUS's form
    "{}",
    '{"message": "Forbidden"}',
    '{"message": "Missing Authentication Token"}',
    '{"body": "Forbidden"}',
    '{"description": null}',
    '{"type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such path"}',
    '{"statusCode": 403, "error": "Forbidden", "description": "no"}',
    json.dumps({"errorMessage": "Task timed out", "body": {"description": "Session not found"}}),
]
NOT_RUFUS = [
    *PAGES,
    "OK",
    f"Cannot PATCH /v0/sessions/close/{TOKEN}",  # our call's address, repeated
    f"Log in: http://portal/?to=%2Fv0%2Fsessions%2Fclose%2F{TOKEN.lower()}",
    json.dumps({"url": f"https://rufus.invalid/v0/sessions/close/{TOKEN}", "method": "PATCH"}),
    "3",
    "null",
    "[]",
    '"closed"',
    '{"status": "ok"}',
    '{"body": "closed"}',
    '{"body": [1, 2]}',
    '{"description": "Session closed succe',
    "[" * 100_000,
    '{"body":' * 100_000,
    '{"a": ' + "9" * 10_000 + "}",
]


# -- what the answer to a close means


SAMPLE = f'{{"description": "Session closed succesfully" "token_session": "{TOKEN}"}}'  # lacks its comma, as theirs


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, older("Session closed succesfully")),
        (200, newer("Session closed succesfully")),
        (200, older("Session closed successfully")),
        (200, newer("Session successfully closed")),
        (200, older("The session is closed.")),
        (200, older("Session already CLOSED")),
        (200, newer(" Session closed. ")),
        (200, SAMPLE),
        (200, f'{{"body": {SAMPLE}}}'),
        (200, SAMPLE.replace('" "', '"\r\n "')),
        (200, older("Session closed succesfully", TOKEN.lower())),
        (200, newer("Session closed succesfully", TOKEN.swapcase())),
        (201, older("Session closed succesfully")),
        (202, older("Session closed succesfully")),
    ],
)
def test_closed(status, text):
    """Promise 4: RUFUS says "closed" by a 2xx that says so and names our token, in either generation's form."""
    assert judge_close(Answer(status, text), TOKEN) == Verdict(Meaning.CLOSED)


WEAK = [
    "",
    " \r\n",
    "{}",
    '{"body": {}}',
    '{"body": null}',
    json.dumps({"token_session": TOKEN}),
    json.dumps({"description": "Session closed succesfully"}),
    json.dumps({"description": ["Session closed succesfully"], "token_session": TOKEN}),
    json.dumps({"body": {"description": "Session closed succesfully", "token_session": None}}),
    json.dumps({"body": older("Session closed succesfully")}),
    json.dumps([json.loads(older("Session closed succesfully"))]),
    *(
        form(words)
        for form in (older, newer)
        for words in (
            "Session not found",
            "Session not found or closed",
            "Success",
            "",
            "The session is not closed",
            "Session could not be closed",
            "Session cannot be closed",
            "The session isn't closed",
            "The session isn\u2019t closed",
            "Session was never closed",
            "Failed: session closed by peer",
            "unclosed",
            "disclosed",
            "Session will be closed",
            "Session is being closed",
            "Session open; closed_at is empty",
            "Session cant be closed",
            "Session wasnt closed",
            "Session closed unsuccessfully",
            "Session closed: 0 of 1",
            "Sessions closed: 0",
            "Session is half closed",
            "Session remains active; it was last closed yesterday",
            "Request accepted, session gets closed soon",
            "Scheduled: session closed at 18:00",
            "Your account is closed",
            "RUFUS is closed",
        )
    ),
    older("Session closed succesfully", active=True),
    newer("Session closed succesfully", active=True),
    json.dumps({"statusCode": 404, **json.loads(older("Session closed succesfully"))}),
    json.dumps({"statusCode": 200, **json.loads(newer("Session closed succesfully"))}),
    json.dumps({"statusCode": 404, "body": {"description": "Session not found", "token_session": TOKEN}}),
    newer("Session closed succesfully", errorMessage="Task timed out"),
    older("Session closed succesfully", errorMessage="Task timed out"),
    f"closed {TOKEN}",
    f"Session closed succesfully, token_session: {TOKEN}",
]


@pytest.mark.parametrize("text", WEAK)
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_that_does_not_say_closed(status, text):
    """Promise 4: an empty 202, `{}`, another description, a gateway's envelope: nobody knows until it is read."""
    verdict = judge_close(Answer(status, text), TOKEN)
    assert verdict.meaning is Meaning.UNSURE
    assert f"({status}) does not say that the session is closed" in verdict.reason


@pytest.mark.parametrize("text", NOT_RUFUS)
@pytest.mark.parametrize("status", [200, 201, 299])
def test_success_that_is_not_rufus(status, text):
    """Promise 4: a portal's page, another service's JSON, a truncated answer is no "closed", whatever its status."""
    verdict = judge_close(Answer(status, text), TOKEN)
    assert verdict.meaning is (Meaning.RETRY if text in PAGES else Meaning.UNSURE)
    assert verdict.reason


@pytest.mark.parametrize("named", [OTHER, OTHER.lower(), TOKEN[:-1], "", 31, True, [TOKEN], {"is": TOKEN}])
@pytest.mark.parametrize("form", [older, newer])
@pytest.mark.parametrize("words", ["Session closed succesfully", f"instead of {TOKEN}"])
def test_success_that_names_another_session(form, named, words):
    """Promise 4: an answer about another session says nothing about ours, even if ours is mentioned in it."""
    verdict = judge_close(Answer(200, form(words, named)), TOKEN)
    assert verdict.meaning is Meaning.UNSURE
    assert "another session" in verdict.reason


@pytest.mark.parametrize("text", ["", PORTAL, older("Session closed succesfully"), TOKEN])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_redirect_is_not_rufus(status, text):
    """Promise 4: no redirect closes anything, with whatever text; the reason tells how to get past a login page."""
    verdict = judge_close(Answer(status, text), TOKEN)
    assert verdict.meaning is Meaning.RETRY
    assert "login page" in verdict.reason


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize("status", REFUSALS)
def test_refused(status, text):
    """RUFUS refuses in JSON, in either generation's form; the reason says what a person can do."""
    verdict = judge_close(Answer(status, text), TOKEN)
    assert verdict.meaning is Meaning.REFUSED
    cure = {401: "api.key", 403: "api.key", 404: "session.token", 410: "session.token"}.get(status, "look at")
    assert cure in verdict.reason
    assert str(status) in verdict.reason


@pytest.mark.parametrize("text", ["", "Forbidden", "[]", *PAGES, *GATEWAYS])
@pytest.mark.parametrize("status", REFUSALS)
def test_refusal_that_is_not_rufus(status, text):
    """Promise 4: a refusal that is not in RUFUS's form is not RUFUS's: nobody is told to withdraw, or to blame a key.

    Where its gateway may have spoken for RUFUS, both causes are named.
    """
    verdict = judge_close(Answer(status, text), TOKEN)
    assert verdict.meaning is Meaning.BARRED
    assert "withdraw" not in verdict.reason
    assert ("api.key" in verdict.reason) == (status in (401, 403) and text not in PAGES)
    assert "api.url" in verdict.reason or text in PAGES
    assert str(status) in verdict.reason


@pytest.mark.parametrize("text", ["", PORTAL, older("Session closed succesfully"), '{"body": null}'])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 511, 599, 402, 405, 406, 407, 418, 451])
def test_other_failures_are_tried_again(status, text):
    """RUFUS's own trouble, a busy one, and every status that it does not use: again later."""
    verdict = judge_close(Answer(status, text), TOKEN)
    barred = status in (402, 405, 406, 407, 418, 451)
    assert verdict.meaning is (Meaning.BARRED if barred else Meaning.RETRY)
    assert str(status) in verdict.reason


def test_no_answer_is_tried_again():
    """Where no whole answer came, the reason is what the network said."""
    answer = Answer(problem="cannot find api.runonrufus.com")
    assert judge_close(answer, TOKEN) == Verdict(Meaning.RETRY, "cannot find api.runonrufus.com", own=False)
    assert judge_read(answer, TOKEN) == Verdict(Meaning.RETRY, "cannot find api.runonrufus.com", own=False)


@pytest.mark.parametrize(
    ("status", "text", "cure"),
    [
        (429, "", "names no time"),
        (408, "", "nothing to do here"),
        (425, "", "nothing to do here"),
        (500, "", "nothing to do here"),
        (503, PORTAL, "nothing to do here"),
        (407, PORTAL, "api.proxy"),
        (302, "", "log in to that network"),
        (200, PORTAL, "log in to that network"),
        (403, PORTAL, "log in to that network"),
        (200, "OK", "api.url"),
        (404, "not here", "api.url"),
    ],
)
def test_each_reason_says_what_to_do(status, text, cure):
    """Promise 5: a reason names what a person can do about it."""
    assert cure in judge_close(Answer(status, text), TOKEN).reason
    assert cure in judge_read(Answer(status, text), TOKEN).reason


def test_a_pause_that_rufus_asks_for_is_told_as_what_it_is():
    """Promise 5: "as long as it says" is said only where a time came with it."""
    assert "as long as it says" in judge_close(Answer(429, "", retry_after=5), TOKEN).reason
    assert "as long as it says" not in judge_close(Answer(429, ""), TOKEN).reason


@pytest.mark.parametrize(("status", "text"), [(200, PORTAL), (403, PORTAL), (300, ""), (399, ""), (401, PORTAL)])
def test_a_page_by_a_verified_connection_is_no_login_page(status, text):
    """Promise 5: no hotel can answer in the name of api.url's host: the host did, or a filter in front of it."""
    for judge in (judge_close, judge_read):
        reason = judge(Answer(status, text, verified=True), TOKEN).reason
        assert "login" not in reason
        assert "the host in api.url, or from a filter in front of it" in reason


@given(
    st.sampled_from([0, 200, 204, 302, 400, 401, 403, 404, 407, 422, 429, 500]),
    st.sampled_from([f"{KEY}", f'{{"description": "{KEY}"}}', f"<html>{KEY}", f'{{"token_session": "{KEY}"}}']),
)
def test_no_reason_repeats_an_answer(status, text):
    """Promise 6: an answer that echoes the key does not bring it into a reason."""
    for judge in (judge_close, judge_read):
        assert KEY not in judge(Answer(status, text), TOKEN).reason


@given(st.integers(0, 999), st.text() | st.sampled_from([*FORMS, *PAGES]))
def test_any_answer_has_a_meaning(status, text):
    """No answer makes a judgement fail; what is not closed has a reason, once there was an answer."""
    closed = judge_close(Answer(status, text), TOKEN)
    assert closed.meaning in (Meaning.CLOSED, Meaning.REFUSED, Meaning.BARRED, Meaning.UNSURE, Meaning.RETRY)
    assert closed.meaning is Meaning.CLOSED or closed.reason or not status
    assert closed.meaning is not Meaning.CLOSED or 200 <= status < 300
    read = judge_read(Answer(status, text), TOKEN)
    assert read.meaning in (
        Meaning.UNREADABLE,
        Meaning.BARRED,
        Meaning.RETRY,
    )  # no text at random says "open" or "closed"


@pytest.mark.parametrize(("status", "counts"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_a_success_says_anything(status, counts):
    """Promise 4: "closed", a session, or that there is none, is believed of every 2xx and of nothing else."""
    closed = Answer(status, older("Session closed succesfully"))
    assert (judge_close(closed, TOKEN).meaning is Meaning.CLOSED) == counts
    assert (parse_session(Answer(status, session(active=True)), TOKEN) is not None) == counts
    nothing = judge_read(Answer(status, '{"description": "Sessions not found"}'), TOKEN)
    assert (nothing.meaning is Meaning.UNREADABLE) == counts


@pytest.mark.parametrize(("status", "barred"), [(399, False), (400, True), (499, True), (500, False)])
def test_every_4xx_that_is_not_rufus_is_a_refusal(status, barred):
    """Somebody refuses the call, and goes on refusing it."""
    assert (judge_close(Answer(status, ""), TOKEN).meaning is Meaning.BARRED) == barred


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("status", [299, 400, 499])
def test_what_is_neither_a_page_nor_a_redirect_is_not_told_as_one(status, verified):
    """Promise 5: a login page is named only where there is one."""
    reason = judge_read(Answer(status, "OK", verified=verified), TOKEN).reason
    assert "something other than RUFUS answered" in reason


def test_one_comma_may_be_missing_and_no_more():
    """Promise 4: the older pages' own sample lacks one; what is damaged more than that is not guessed at."""
    twice = f'{{"is": "x" "token_session": "{OTHER}", {SAMPLE[1:]}'
    assert judge_close(Answer(200, twice), TOKEN).meaning is Meaning.UNSURE


def test_an_answer_that_has_not_come_says_nothing():
    """Each fact of an answer is given, or is as if RUFUS had said nothing; it may have acted all the same."""
    assert Answer() == Answer(0, "", None, "", True, False)
    assert Verdict(Meaning.OPEN) == Verdict(Meaning.OPEN, "", None, True)
    assert SessionInfo(TOKEN, True) == SessionInfo(TOKEN, True, "", "", "", None)


def test_an_answer_that_repeats_the_key_is_not_shown():
    """Promise 6: nothing else of it is lost."""
    spoken, echo = Answer(403, "Forbidden", 5.0), Answer(403, f"Forbidden: {KEY}", 5.0)
    assert drop_body_with_key(spoken, KEY) == spoken
    assert drop_body_with_key(echo, KEY) == Answer(403, "", 5.0)


@pytest.mark.parametrize("key", [KEY, 'ror-"\\/'])
@pytest.mark.parametrize(
    "form",
    [
        lambda key: {"alias": key},
        lambda key: {key: 1},
        lambda key: {"result": [[f"a {key}"]]},
        lambda key: {"result": ["a", key]},
    ],
)
def test_an_answer_that_repeats_the_key_in_other_signs_is_not_shown(form, key):
    """Promise 6: JSON can write each character in several ways."""
    for text in (json.dumps(form(key)), json.dumps(form(key)).replace("ror-", "\\u0072or-").replace("/", "\\/")):
        assert json.loads(text) == form(key)
        assert drop_body_with_key(Answer(200, text), key) == Answer(200, "")
    assert drop_body_with_key(Answer(200, json.dumps(form("ror-x"))), key).text


def test_an_answer_that_is_nested_too_deep_is_not_shown():
    """Promise 6: whether it repeats the key cannot be told, and that is no defect."""
    for depth in (50, 500, 700):
        deep = '{"a":' * depth + json.dumps(KEY).replace("ror-", "\\u0072or-") + "}" * depth
        assert drop_body_with_key(Answer(200, deep), KEY) == Answer(200, "")
    assert judge_read(Answer(200, '{"a":' * 100_000), TOKEN).meaning is Meaning.RETRY


# -- what the answer to reading a session means


@pytest.mark.parametrize("envelope", [False, True])
def test_session_that_is_read(envelope):
    """Open with its count of passings, or closed: as RUFUS says, in either generation's form."""
    opened = Answer(200, session(active=True, passings=31, envelope=envelope))
    assert judge_read(opened, TOKEN) == Verdict(Meaning.OPEN, passings=31)
    closed = Answer(200, session(active=False, passings=5, envelope=envelope))
    assert judge_read(closed, TOKEN) == Verdict(Meaning.CLOSED, passings=5)


def test_session_is_found_among_others():
    """Several records in one answer: ours counts, in any case of letters."""
    records = [
        3,
        {"token_session": OTHER, "active": False},
        {"token_session": TOKEN.lower(), "active": True, "passings": 7},
    ]
    assert judge_read(Answer(200, json.dumps({"result": records})), TOKEN) == Verdict(Meaning.OPEN, passings=7)


@pytest.mark.parametrize("alias", ["🏁 10\u00a0K", "👩\u200d🚀", "نیم\u200cماراتن", "x" * 200])
def test_an_alias_is_told_as_people_wrote_it(alias):
    """Emoji, joiners and spaces of any kind are a name's, as in `session.name`."""
    found = parse_session(Answer(200, session(active=True, passings=1, alias=alias)), TOKEN)
    assert found
    assert found.name == alias


@pytest.mark.parametrize("enveloped", [True, False])
def test_a_session_that_comes_as_an_object(enveloped):
    """Promise 3: RUFUS tells of a device by an object, and of sessions by a list; an object is one session."""

    def read(**facts):
        found = {"result": {"token_session": TOKEN, **facts}}
        return judge_read(Answer(200, json.dumps({"body": found} if enveloped else found)), TOKEN)

    assert read(active=True, passings=31) == Verdict(Meaning.OPEN, passings=31)
    assert read(active=False) == Verdict(Meaning.CLOSED)
    assert read(active=True, token_session=OTHER).meaning is Meaning.RETRY


@pytest.mark.parametrize("passings", ["31", None, 31.5, [], True])
def test_session_without_a_count(passings):
    """A session that is open is open, though its count cannot be read."""
    assert judge_read(Answer(200, session(active=True, passings=passings)), TOKEN) == Verdict(Meaning.OPEN)


@pytest.mark.parametrize("active", ["false", 0, None, []])
def test_session_that_is_not_said_to_be_closed(active):
    """Promise 4: only a plain `false` is "not active"."""
    assert judge_read(Answer(200, session(active=active)), TOKEN).meaning is Meaning.UNREADABLE


@pytest.mark.parametrize(
    "text",
    [
        session(active=False, token=None),
        older("Session closed succesfully", TOKEN),
        '{"description": "Sessions not found"}',
        '{"result": []}',
        '{"result": null}',
        json.dumps({"body": {"result": {"token_session": TOKEN, "active": "false"}}}),
    ],
)
def test_answer_without_our_session(text):
    """Promise 4: RUFUS is there, but says nothing about our session."""
    assert judge_read(Answer(200, text), TOKEN).meaning is Meaning.UNREADABLE


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("form", [older, newer])
def test_an_answer_about_another_session_is_no_answer_to_a_read(form, active):
    """Promise 1: it does not say either that this key may not read, and that the session may well be empty."""
    for text in (session(active=active, token=OTHER), form("Session closed succesfully", OTHER)):
        verdict = judge_read(Answer(200, text), TOKEN)
        assert (verdict.meaning, verdict.own) == (Meaning.RETRY, False)
        assert "another session" in verdict.reason
    waits = new_delivery(TOKEN, False, 0.0, rules(quiet=0), alone=True)
    assert on_answer(waits, Answer(200, form("Success", OTHER)), 1.0, 0.5, rules(quiet=0)).step is Step.READ


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize("status", REFUSALS)
def test_reading_is_not_permitted(status, text):
    """A WRITE key may not read: RUFUS is reachable all the same."""
    assert judge_read(Answer(status, text), TOKEN) == Verdict(Meaning.UNREADABLE)


@pytest.mark.parametrize("text", ["", " ", *GATEWAYS])
@pytest.mark.parametrize("status", [401, 403])
def test_reading_is_not_permitted_by_a_gateway(status, text):
    """RUFUS's gateway may refuse a WRITE key's read in its own form, or without a word: the key closes all the same."""
    verdict = judge_read(Answer(status, text), TOKEN)
    assert (verdict.meaning, verdict.own) == (Meaning.UNREADABLE, False)
    assert "api.key" in verdict.reason
    assert "api.url" in verdict.reason
    assert explain_unreadable(Answer(status, text)) == judge_device(Answer(status, text)).reason == verdict.reason


@pytest.mark.parametrize("text", ["Forbidden", "[]", *PAGES, *GATEWAYS])
@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
def test_reading_a_wrong_path(status, text):
    """Promise 3: a gateway that knows no such path is not RUFUS that does not know the session."""
    assert judge_read(Answer(status, text), TOKEN).meaning is Meaning.BARRED
    assert judge_device(Answer(status, text)).meaning is Meaning.BARRED


@pytest.mark.parametrize("more", [{"statusCode": 404}, {"statusCode": 200}, {"errorMessage": "Task timed out"}])
@pytest.mark.parametrize("envelope", [False, True])
def test_a_gateway_tells_of_no_session(more, envelope):
    """Promise 4: what a gateway tells of a call that failed is not "not active"."""
    text = json.dumps({**json.loads(session(active=False, envelope=envelope)), **more})
    assert judge_read(Answer(200, text), TOKEN).meaning is Meaning.RETRY


@pytest.mark.parametrize(
    ("status", "text"),
    [
        *((200, text) for text in [*NOT_RUFUS, "", "{}", '{"token_session": 3}']),
        *((status, PORTAL) for status in REFUSALS),
        *((status, "") for status in (400, 404, 409, 410, 422)),
        *((status, session(active=False)) for status in (301, 302, 405, 429, 500, 503)),
    ],
)
def test_reading_somebody_else(status, text):
    """Promise 3: a portal's answer to a read is an outage, not a sign that RUFUS is reachable."""
    barred = 400 <= status < 429
    assert judge_read(Answer(status, text), TOKEN).meaning is (Meaning.BARRED if barred else Meaning.RETRY)


@pytest.mark.parametrize(
    ("answer", "spoke"),
    [
        (Answer(200, session(active=True)), True),
        (Answer(200, session(active=False)), True),
        (Answer(200, session(active=True, token=OTHER)), False),
        (Answer(401, older("Unauthorized")), True),
        (Answer(403, older("Forbidden")), True),
        (Answer(404, older("Session not found")), False),  # says nothing of the key
        (Answer(401, '{"message": "Unauthorized"}'), False),
        (Answer(403, ""), False),
        (Answer(), False),
    ],
)
def test_rufus_itself_has_answered_the_key(answer, spoke):
    """Promise 3: only then is a refusal in another form a filter's, which hides the passings."""
    assert heard(answer, TOKEN) is spoke


# -- what it tells of the session, and what the answer to reading a device's means

MADE = "2023-02-03T16:00:00Z"


@pytest.mark.parametrize("envelope", [False, True])
def test_what_rufus_tells_of_a_session(envelope):
    """Its name, whether it is open, when it was made, its passings: ours by its token, a device's whichever it is."""
    answer = Answer(200, session(active=True, envelope=envelope, creation_date=MADE, last="2023-02-03T17:00:00Z"))
    known = SessionInfo(TOKEN, True, "FINISH-10K", MADE, "2023-02-03T17:00:00Z", 31)
    assert parse_session(answer, TOKEN.lower()) == parse_session(answer) == known
    assert parse_session(answer, OTHER) is None
    assert judge_device(answer) == Verdict(Meaning.OPEN, passings=31)


@pytest.mark.parametrize("value", [None, 3, "\x1b[2J", "two\nlines", "x" * 201])
def test_what_cannot_be_shown_is_not_told(value):
    """No answer's text does anything to a terminal."""
    answer = Answer(200, session(active=True, passings="31", alias=value, creation_date=value))
    assert parse_session(answer) == SessionInfo(TOKEN, True)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, '{"description": "Sessions not found"}'),
        (200, '{"result": []}'),
        (299, '{"result": []}'),
        (200, session(active=False)),
        (200, session(active="yes")),
        (200, session(active=True, token="short")),
        (200, session(active=True, token=None)),
        (200, '{"result": [3]}'),
        (404, '{"description": "Sessions not found"}'),
        (410, '{"description": "Sessions not found"}'),
    ],
)  # fmt: skip
def test_a_device_without_an_open_session(status, text):
    """RUFUS says so, by which status is not documented, or names none that is open and can be closed."""
    verdict = judge_device(Answer(status, text))
    assert (verdict.meaning, "this device has open" in verdict.reason) == (Meaning.UNREADABLE, True)


@pytest.mark.parametrize(
    ("status", "text"), [(200, PORTAL), (200, '{"status": "ok"}'), (302, ""), (404, PORTAL), (0, ""), (500, "{}")]
)
def test_a_device_is_not_read_where_rufus_did_not_answer(status, text):
    """A page or another service's JSON tells of no session, nor that there is none."""
    verdict = judge_device(Answer(status, text, problem="no network"))
    assert verdict.meaning is (Meaning.BARRED if status == 404 else Meaning.RETRY)
    assert verdict.reason


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "does not let this key read (401)"),
        (403, "does not let this key read (403)"),
        (400, "does not tell (400)"),
    ],
)
def test_a_device_that_may_not_be_read(status, why):
    """A WRITE key may not."""
    verdict = judge_device(Answer(status, older("no")))
    assert (verdict.meaning, why in verdict.reason) == (Meaning.UNREADABLE, True)


def test_why_a_session_is_not_told():
    """For the one whose token is known, 404 and 410 mean that there is none."""
    for status in (404, 410):
        assert f"knows no session with this token ({status})" in explain_unreadable(
            Answer(status, older("Session not found"))
        )
    assert "does not tell (200)" in explain_unreadable(Answer(200, '{"result": []}'))


# -- deliveries, in simulated time


@dataclass
class Rufus:
    """RUFUS as one station meets it, with its own truth, which the station knows by answers only."""

    permission: str = "READ_WRITE"  # or WRITE; or NONE, for a wrong key
    arrivals: list = field(default_factory=list)  # when each passing reaches RUFUS
    outages: list = field(default_factory=list)  # (from, to): no call comes through
    portals: list = field(default_factory=list)  # (from, to): a page answers
    lost: list = field(default_factory=list)  # (from, to): calls come through, their answers do not
    form: object = older
    closed_at: float = float("inf")
    calls: list = field(default_factory=list)  # (when, which)

    def call(self, step, now):
        self.calls.append((now, step))
        if self._within(self.outages, now):
            return Answer(problem="no route to RUFUS", sent=False)
        if self._within(self.portals, now):
            return Answer(200, PORTAL)
        answer = self._close(now) if step is Step.CLOSE else self._read(now)
        return Answer(problem="the answer was cut short") if self._within(self.lost, now) else answer

    def passings(self, now):
        return sum(1 for at in self.arrivals if at <= min(now, self.closed_at))

    @property
    def closes(self):
        return [now for now, step in self.calls if step is Step.CLOSE]

    @staticmethod
    def _within(stretches, now):
        return any(start <= now < end for start, end in stretches)

    def _close(self, now):
        if self.permission == "NONE":
            return Answer(403, self.form("Forbidden", None))
        if self.closed_at <= now:
            return Answer(404, self.form("Session not found"))
        self.closed_at = now
        return Answer(200, self.form("Session closed succesfully"))

    def _read(self, now):
        if self.permission != "READ_WRITE":
            return Answer(403, self.form("Forbidden", None))
        is_open = now < self.closed_at
        return Answer(200, session(active=is_open, passings=self.passings(now), envelope=self.form is newer))


def deliver(rufus, rules, *, until=1e6, sent=False, seed=1, delivery=None, mend=None):
    """Deliver one close from second 0 on, until it is closed or the time is over; every state it went through."""
    chance = random.Random(seed)
    now = 0.0
    states = [delivery or new_delivery(TOKEN, sent, now, rules)]
    while not states[-1].closed and states[-1].due < until:
        now = max(now, states[-1].due)
        if mend and now >= mend:
            rufus.permission = "READ_WRITE"
        called = replace(states[-1], called=now)
        answer = rufus.call(called.step, now)
        now += LATENCY
        states.append(on_answer(called, answer, now, chance.random(), rules))
    return states


@pytest.mark.parametrize("form", [older, newer])
def test_close_waits_until_no_passing_comes(form):
    """Promise 3: a session that RUFUS counts is closed once its count has not changed for `quiet`, and soon then."""
    rufus = Rufus(arrivals=[1, 2, 20, 45, 70, 99.5], form=form)
    states = deliver(rufus, rules())
    assert states[-1].closed
    assert rufus.passings(1e9) == 6
    assert 129.5 <= rufus.closed_at <= 99.5 + 30 + 5 + 1
    assert len(rufus.closes) == 1


def test_write_key_waits_for_quiet_since_the_first_answer():
    """Promise 3: where counting is not permitted, the close waits `quiet` from the first answer on, and goes."""
    rufus = Rufus("WRITE")
    assert deliver(rufus, rules())[-1].closed
    assert rufus.closed_at == pytest.approx(30 + 2 * LATENCY)
    assert len(rufus.closes) == 1


@pytest.mark.parametrize("permission", ["READ_WRITE", "WRITE"])
def test_max_wait_ends_the_wait(permission):
    """A session whose passings never end is closed after max_wait all the same."""
    rufus = Rufus(permission, arrivals=list(range(0, 2000, 3)))
    assert deliver(rufus, rules(quiet=30 if permission == "READ_WRITE" else 100, max_wait=100))[-1].closed
    assert rufus.closed_at == pytest.approx(100 + LATENCY, abs=0.2)


def test_without_quiet_nothing_is_read():
    """With quiet = 0 the close goes at once."""
    rufus = Rufus(arrivals=list(range(100)))
    states = deliver(rufus, rules(quiet=0))
    assert rufus.calls == [(0.0, Step.CLOSE)]
    assert states[-1].closed
    assert states[0].phase is Phase.SENDING


def test_quiet_that_a_reload_took_away_ends_the_wait():
    """A wait that was begun ends at the next read when the configuration no longer asks for it."""
    waiting = new_delivery(TOKEN, False, 0.0, rules())
    after_one = on_answer(waiting, Answer(200, session(active=True)), 5.0, 0.5, rules(quiet=0))
    assert (after_one.step, after_one.due) == (Step.CLOSE, 5.0)


def test_session_that_is_closed_already_is_not_called_for():
    """A session that somebody else has closed is done, without a call that could fail."""
    rufus = Rufus(closed_at=-100)
    states = deliver(rufus, rules())
    assert states[-1].closed
    assert rufus.closes == []


def test_session_that_is_closed_during_the_wait_is_done():
    """A session that somebody else closes during the wait is done at the next look."""
    rufus = Rufus(arrivals=list(range(500)), closed_at=50)
    assert deliver(rufus, rules())[-1].closed
    assert rufus.closes == []


def test_looks_are_no_more_often_than_needed():
    """A wait looks every 5 s, not more, and counts no attempt for it."""
    rufus = Rufus(arrivals=list(range(0, 300, 10)))
    states = deliver(rufus, rules())
    times = [now for now, step in rufus.calls if step is Step.READ]
    assert all(later - earlier >= 4.9 for earlier, later in zip(times, times[1:-1]))
    assert states[-1].attempts == 1  # the close
    assert {state.phase for state in states[1:-2]} == {Phase.QUIET}


@pytest.mark.parametrize("permission", ["READ_WRITE", "WRITE"])
def test_outage_starts_the_wait_anew(permission):
    """Promise 3: after an outage the whole quiet time must pass again, since a backlog may come."""
    rufus = Rufus(permission, outages=[(20, 500)])
    states = deliver(rufus, rules())
    assert states[-1].closed
    first_back = next(now for now, _ in rufus.calls if now >= 500)
    assert rufus.closed_at >= first_back + 30
    assert rufus.closed_at < 500 + 30 + 30 + 5 + 1


def test_backlog_after_an_outage_is_waited_for():
    """Promise 3: what the reader uploads after an outage comes first: no passing is lost."""
    rufus = Rufus(arrivals=[5, *(1005 + second for second in range(400))], outages=[(10, 1000)])
    assert deliver(rufus, rules())[-1].closed
    assert rufus.passings(1e9) == 401
    assert 1404 + 30 <= rufus.closed_at <= 1404 + 40


def test_max_wait_counts_anew_after_an_outage():
    """Promise 3: an hour's outage does not use up the wait that the backlog needs."""
    rufus = Rufus(arrivals=[3610 + second for second in range(300)], outages=[(1, 3600)])
    assert deliver(rufus, rules(max_wait=400))[-1].closed
    assert rufus.passings(1e9) == 300


def test_portal_is_an_outage():
    """Promise 4: a hotel's login page, for a day, closes nothing and is told with its cure."""
    rufus = Rufus(portals=[(0, 86_400)])
    states = deliver(rufus, rules())
    assert states[-1].closed
    assert rufus.closed_at >= 86_400 + 30
    errors = {state.error for state in states if state.error}
    assert len(errors) == 1
    assert "login page" in errors.pop()


@pytest.mark.parametrize("quiet", [0, 30])
def test_portal_that_answers_the_close_itself_is_an_outage(quiet):
    """Promise 4: a page in answer to the call that counts is not "closed"."""
    waiting = replace(new_delivery(TOKEN, False, 0.0, rules(quiet)), step=Step.CLOSE)
    then = on_answer(waiting, Answer(200, PORTAL), 1.0, 0.0, rules(quiet))
    assert not then.closed
    assert then.phase is Phase.RETRY
    assert then.step is Step.READ  # RUFUS may have acted on it, whatever `quiet` is


def test_close_whose_answer_was_lost_is_found_out_by_reading():
    """A call that worked, but whose answer never came, is seen as closed at the next read; it is not called twice."""
    rufus = Rufus(lost=[(25.15, 60)])
    states = deliver(rufus, rules(quiet=25))
    assert states[-1].closed
    assert len(rufus.closes) == 1
    assert any(state.lost for state in states)
    assert states[-1].error == ""


@pytest.mark.parametrize(("quiet", "lost"), [(0, 0), (25, 25.15)])
def test_close_whose_answer_was_lost_is_not_claimed_without_reading(quiet, lost):
    """Promise 4: with a WRITE key, a 404 after a lost answer may mean "closed": the fault says so, a person decides."""
    rufus = Rufus("WRITE", lost=[(lost, 60)])
    states = deliver(rufus, rules(quiet=quiet), until=5000)
    assert rufus.closed_at < 60
    assert not states[-1].closed
    refused = [state for state in states if state.phase is Phase.REFUSED]
    assert refused
    for state in refused:
        assert "may be closed already" in state.error
        assert f"`sudo rufusd withdraw {TOKEN}`" in state.error


@pytest.mark.parametrize("status", [404, 409, 410])
@pytest.mark.parametrize("lost", [False, True])
def test_only_a_lost_answer_is_spoken_of(status, lost):
    """Promise 4: where no call's answer was lost, a session that RUFUS does not know is simply wrong."""
    sending = replace(new_delivery(TOKEN, lost, 0.0, rules()), step=Step.CLOSE)
    then = on_answer(sending, Answer(status, older("Session not found")), 1.0, 0.5, rules())
    assert ("lost" in then.error) is lost
    assert then.step is Step.VERIFY


def test_lost_answer_is_not_the_cause_of_a_wrong_key():
    """A 403 is about the key, whatever happened before."""
    sending = replace(new_delivery(TOKEN, True, 0.0, rules()), step=Step.CLOSE)
    for text in ("{}", older("Forbidden")):
        assert "lost" not in on_answer(sending, Answer(403, text), 1.0, 0.5, rules()).error


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (Answer(problem="no route", sent=False), False),
        (Answer(problem="cut short", sent=True), True),
        (Answer(502, "Bad Gateway"), True),
        (Answer(200, PORTAL), True),
    ],
)
def test_call_that_may_have_worked_is_remembered(answer, lost):
    """Promise 4: whether RUFUS may have acted on a call decides what a later 404 may mean."""
    sending = replace(new_delivery(TOKEN, False, 0.0, rules()), step=Step.CLOSE)
    assert on_answer(sending, answer, 1.0, 0.5, rules()).lost is lost
    assert on_answer(replace(sending, lost=True), answer, 1.0, 0.5, rules()).lost


def test_reading_loses_nothing():
    """A read whose answer was lost cannot have closed anything."""
    waiting = new_delivery(TOKEN, False, 0.0, rules())
    assert not on_answer(waiting, Answer(problem="cut short", sent=True), 1.0, 0.5, rules()).lost


def test_refused_then_verified_closed():
    """A refusal of what is closed already is verified by reading, and is then no fault."""
    rufus = Rufus(closed_at=-1)
    states = deliver(rufus, rules(quiet=0))
    assert states[-1].closed
    assert [step for _, step in rufus.calls] == [Step.CLOSE, Step.VERIFY]
    assert all(state.phase is not Phase.REFUSED for state in states)
    assert states[-1].error == ""


@pytest.mark.parametrize(
    "read",
    [
        Answer(200, session(active=True)),
        Answer(403, '{"body": null}'),
        Answer(problem="no route"),
        Answer(200, PORTAL),
        Answer(200, session(active=False, token=OTHER)),
    ],
)
def test_refused_and_not_known_to_be_closed_is_a_fault(read):
    """Promise 5: what RUFUS refuses is shown with what to do, whatever else the verification brings."""
    sending = replace(new_delivery(TOKEN, False, 0.0, rules()), step=Step.CLOSE)
    verifying = on_answer(sending, Answer(403, older("Forbidden")), 1.0, 0.5, rules())
    assert (verifying.step, verifying.due) == (Step.VERIFY, 1.0)
    then = on_answer(verifying, read, 2.0, 0.5, rules())
    assert then.phase is Phase.REFUSED
    assert "api.key" in then.error
    assert then.fault == then.error
    assert not then.closed


def test_refused_is_tried_again_slowly_for_ever():
    """Promise 2: a wrong key is tried at intervals of up to ten times retry.max, and the close stays pending."""
    rufus = Rufus("NONE")
    states = deliver(rufus, rules(), until=86_400)
    assert not states[-1].closed
    pauses = [later - earlier for earlier, later in zip(rufus.closes, rufus.closes[1:])]
    assert len(pauses) > 200
    assert min(pauses) >= 150 + 30
    assert max(pauses) <= 300 + 30 + 1


def test_refused_is_closed_once_the_key_is_mended():
    """Promise 2: a technician mends the key, and the close goes."""
    rufus = Rufus("NONE")
    states = deliver(rufus, rules(), mend=10_000)
    assert states[-1].closed
    assert 10_000 < rufus.closed_at < 10_000 + 300 + 35 + 5


@pytest.mark.no_cover
def test_months_offline():
    """Promise 2: three months without a network leave the close as it was: nothing grows, nothing gives up."""
    offline = 90 * 86_400
    rules_, chance = rules(most=300), random.Random(1)
    delivery, now, largest = new_delivery(TOKEN, False, 0.0, rules_), 0.0, 0
    while now < offline:
        now = delivery.due + LATENCY
        delivery = on_answer(delivery, Answer(problem="no route", sent=False), now, chance.random(), rules_)
        assert 150 <= delivery.due - now <= 300 or delivery.failures < 10
        largest = max(largest, len(repr(delivery)))
    assert delivery.attempts == delivery.failures > 25_000
    assert largest < 800
    rufus = Rufus()
    assert deliver(rufus, rules_, delivery=replace(delivery, due=0.0))[-1].closed
    assert rufus.closed_at < 40


def test_good_answer_ends_the_backoff():
    """Failures count since the last answer: the next outage begins with short pauses again."""
    waiting = replace(new_delivery(TOKEN, False, 0.0, rules()), failures=50, error="no route", phase=Phase.RETRY)
    answered = on_answer(waiting, Answer(200, session(active=True)), 1.0, 0.0, rules())
    assert (answered.failures, answered.error, answered.phase) == (0, "", Phase.QUIET)
    again = on_answer(answered, Answer(problem="no route"), 2.0, 0.0, rules())
    assert again.due == 3.0


def test_attempts_are_counted():
    """Every failure and every close is an attempt."""
    rufus = Rufus(outages=[(0, 10)])
    states = deliver(rufus, rules())
    failed = sum(1 for now, _ in rufus.calls if now < 10)
    assert states[-1].attempts == failed + 1
    assert max(state.failures for state in states) == failed


def test_ended_in_an_earlier_life():
    """A delivery whose call was begun before a restart knows that RUFUS may have acted on it."""
    assert new_delivery(TOKEN, True, 0.0, rules()).lost
    assert new_delivery(TOKEN, False, 5.0, rules()) == Delivery(TOKEN, 5.0, Step.READ)
    facts = {name: fact for name, fact in asdict(Delivery(TOKEN, 5.0, Step.READ)).items() if fact}
    assert facts == {"token": TOKEN, "due": 5.0, "step": Step.READ, "phase": Phase.QUIET}  # nothing has happened yet


# -- a call whose answer says nothing, or was lost


def closing(quiet=0.0, **more):
    """A delivery whose close call is due."""
    return replace(new_delivery(TOKEN, False, 0.0, rules(quiet)), step=Step.CLOSE, phase=Phase.SENDING, **more)


LOST_OR_WEAK = [
    Answer(problem="cut short"),
    Answer(408, ""),
    Answer(504, '{"message": "Endpoint request timed out"}'),
    Answer(200, ""),
    Answer(202, ""),
    Answer(200, PORTAL),
    Answer(302, ""),
]


@pytest.mark.parametrize("answer", LOST_OR_WEAK)
@pytest.mark.parametrize("quiet", [0, 30])
def test_after_a_call_that_may_have_worked_the_session_is_read(answer, quiet):
    """Promise 4: whatever `quiet` is, RUFUS is asked whether it has acted before it is called again."""
    then = on_answer(closing(quiet), answer, 1.0, 0.5, rules(quiet))
    assert then.step in (Step.READ, Step.VERIFY)
    closed = on_answer(then, Answer(200, session(active=False)), then.due, 0.5, rules(quiet))
    assert (closed.closed, closed.error) == (True, "")
    assert reconfigured(then, 2.0, rules(quiet)).step is not Step.CLOSE


def test_without_quiet_a_life_that_follows_a_call_reads_first():
    """Promise 4: with `quiet = 0`, too, what an earlier life has sent is looked for before it is sent again."""
    rufus = Rufus(closed_at=-1)
    assert deliver(rufus, rules(quiet=0), sent=True)[-1].closed
    assert [step for _, step in rufus.calls] == [Step.READ]


@pytest.mark.parametrize("quiet", [0, 30])
def test_a_call_that_is_never_answered_is_not_made_for_ever(quiet):
    """Promise 4: 504s after RUFUS had acted: one call, and a look that finds it closed."""

    class Late(Rufus):
        def _close(self, now):
            super()._close(now)
            return Answer(504, "")

    rufus = Late()
    assert deliver(rufus, rules(quiet=quiet))[-1].closed
    assert len(rufus.closes) == 1


@pytest.mark.parametrize("answer", LOST_OR_WEAK)
@pytest.mark.parametrize("read", [Answer(200, session(active=True)), Answer(403, older("no")), Answer(403, "")])
def test_a_call_that_has_not_worked_is_made_again(answer, read):
    """Promise 2: the session is open still, or cannot be read: called again, with pauses that double."""
    delivery, pauses = closing(), []
    for _ in range(8):
        began = delivery.due
        delivery = on_answer(delivery, answer, began, 0.0, rules(0))
        while delivery.step is not Step.CLOSE:
            delivery = on_answer(delivery, read, delivery.due, 0.0, rules(0))
        pauses.append(delivery.due - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert not delivery.closed


@pytest.mark.parametrize("read", [Answer(problem="no route"), Answer(200, PORTAL), Answer(404, '{"message": "no"}')])
def test_a_weak_success_that_cannot_be_verified_is_no_close(read):
    """Promise 4: where no look tells, the close stays pending and says why."""
    weak = on_answer(closing(), Answer(202, ""), 1.0, 0.0, rules(0))
    assert (weak.step, weak.due, weak.lost) == (Step.VERIFY, 1.0, True)
    then = on_answer(weak, read, 2.0, 0.0, rules(0))
    assert (then.phase, then.step, then.due, then.closed) == (Phase.RETRY, Step.READ, 3.0, False)
    assert "does not say that the session is closed" in then.error


def test_a_weak_success_that_stays_is_a_fault():
    """Promise 5: a filter that answers 202 to every call needs a person, who is told after the third."""
    delivery, faults = closing(), []
    for _ in range(4):
        delivery = on_answer(delivery, Answer(202, ""), delivery.due, 0.0, rules(0))
        while delivery.step is not Step.CLOSE:
            delivery = on_answer(delivery, Answer(403, older("no")), delivery.due, 0.0, rules(0))
        faults.append("does not say" in delivery.fault)
    assert faults == [False, False, True, True]


# -- a refusal that is not RUFUS's


def barred(delivery, answer, times, rules_):
    """The pauses after so many refusals of one kind, with good reads between them where it closes."""
    pauses = []
    for _ in range(times):
        began = delivery.due
        delivery = on_answer(delivery, answer, began, 0.0, rules_)
        pauses.append(delivery.due - began)
        if delivery.step is Step.READ and delivery.unclosed:
            delivery = on_answer(delivery, Answer(200, session(active=True)), delivery.due, 0.0, rules_)
    return delivery, pauses


GATEWAY = Answer(403, '{"message": "Forbidden"}')


@pytest.mark.parametrize("step", [Step.READ, Step.CLOSE])
def test_a_foreign_refusal_is_an_outage_at_first(step):
    """Promises 2, 5: tried again as soon as after any outage, shown as a fault once it has stayed, then ever slower."""
    answer = GATEWAY if step is Step.CLOSE else Answer(404, '{"message": "no such path"}')
    start = closing() if step is Step.CLOSE else new_delivery(TOKEN, True, 0.0, rules(0))
    two, _ = barred(start, answer, 2, rules(0))
    assert (two.fault, two.phase in (Phase.RETRY, Phase.SENDING)) == ("", True)
    three, _ = barred(start, answer, 3, rules(0))
    assert "api.url" in three.fault
    assert "withdraw" not in three.fault
    last, pauses = barred(start, answer, 11, rules(0))
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert last.fault == three.fault


def test_a_foreign_refusal_after_a_long_outage_is_new():
    """Promise 2: the outage's long pauses are not those of a refusal that has just come."""
    start = replace(new_delivery(TOKEN, False, 0.0, rules()), failures=500)
    refused = on_answer(start, Answer(404, "{}"), 100.0, 0.0, rules())
    assert refused.due == 101.0


@pytest.mark.parametrize("count", [1, 20])
def test_a_change_of_the_network_hurries_a_foreign_refusal(count):
    """Promise 2: another network may not have the filter."""
    delivery, _ = barred(closing(30), GATEWAY, count, rules())
    waiting = on_answer(replace(delivery, step=Step.CLOSE), GATEWAY, 1e4, 0.0, rules())
    assert waiting.phase is Phase.RETRY
    assert network_changed(waiting, 1e4 + 0.1).due == 1e4 + 0.1


@pytest.mark.parametrize(
    "other", [Answer(problem="no route"), Answer(500, ""), Answer(429, ""), Answer(403, older("Forbidden"))]
)
def test_a_foreign_refusal_that_does_not_stay_is_over(other):
    """Promise 5: no fault is shown whose cause is gone, and the pauses begin anew."""
    delivery, _ = barred(closing(), GATEWAY, 5, rules(0))
    over = on_answer(replace(delivery, step=Step.CLOSE), other, 1e4, 0.0, rules(0))
    assert (over.fault, over.unclear, over.barred) == ("", 0, "")


def test_a_key_that_has_read_is_not_taken_for_one_that_may_not():
    """Promise 3: a filter that begins to refuse reads hides the passings: an outage, not "not permitted to read"."""
    waiting = on_answer(new_delivery(TOKEN, False, 0.0, rules()), Answer(200, session(active=True)), 1.0, 0.0, rules())
    for text in ("", '{"message": "Forbidden"}'):
        hidden = on_answer(waiting, Answer(403, text), 5.0, 0.0, rules())
        assert hidden.phase is Phase.RETRY
        assert "api.key" in hidden.error


def test_a_refusal_that_was_not_rufuss_after_all_was_an_outage():
    """Promise 3: RUFUS speaks at last, so what refused until then was not RUFUS: the wait begins anew."""
    delivery = new_delivery(TOKEN, False, 0.0, rules(30, 45))
    for now in (0.0, 10.0, 20.0):
        delivery = on_answer(delivery, GATEWAY, now, 0.0, rules(30, 45))
    assert (delivery.phase, delivery.waiting) == (Phase.QUIET, 0.0)
    told_of = on_answer(delivery, Answer(200, session(active=True)), 25.0, 0.0, rules(30, 45))
    assert (told_of.waiting, told_of.changed) == (25.0, 25.0)
    assert "api.key" in told_of.broke
    barred = on_answer(delivery, Answer(403, older("Forbidden")), 25.0, 0.0, rules(30, 45))
    assert barred.waiting == 25.0  # in its own words
    assert on_answer(barred, Answer(200, session(active=True)), 28.0, 0.0, rules(30, 45)).waiting == 25.0


@pytest.mark.parametrize("text", ["", '{"message": "Forbidden"}', older("Forbidden"), newer("Forbidden")])
def test_a_write_key_closes_whatever_form_its_reads_are_refused_in(text):
    """Promise 2: the documentation does not show that body; a gateway may give its own."""

    class Gateway(Rufus):
        def _read(self, _):
            return Answer(403, text)

    rufus = Gateway("WRITE")
    assert deliver(rufus, rules())[-1].closed
    assert rufus.closed_at == pytest.approx(30 + 2 * LATENCY)


# -- how old the look is


def test_a_look_that_is_too_old_is_no_reason_to_close():
    """Promise 3: the look is never older than quiet/6 and one call when the close goes out."""
    rules_ = rules(quiet=30)
    waited = on_answer(new_delivery(TOKEN, False, 0.0, rules_), Answer(200, session(active=True)), 0.0, 0.0, rules_)
    quiet = on_answer(replace(waited, called=28.0), Answer(200, session(active=True)), 30.0, 0.0, rules_)
    assert quiet.step is Step.CLOSE
    assert not stale(quiet, 30.0 + 5 + 2, rules_)
    assert stale(quiet, 30.0 + 5 + 2.01, rules_)
    again = looks_again(quiet, 40.0)
    assert (again.step, again.due, again.waiting, again.changed) == (Step.READ, 40.0, 0.0, 0.0)
    assert again.phase is Phase.QUIET
    more = on_answer(replace(again, called=40.0), Answer(200, session(active=True, passings=32)), 40.1, 0.0, rules_)
    assert (more.step, more.changed) == (Step.READ, 40.1)
    same = on_answer(replace(again, called=40.0), Answer(200, session(active=True)), 40.1, 0.0, rules_)
    assert same.step is Step.CLOSE
    assert not stale(same, 41.0, rules_)


def test_without_quiet_no_look_is_too_old():
    """With `quiet = 0` nothing is waited for."""
    assert not stale(closing(0, looked=0.0), 1e6, rules(0))
    assert not stale(closing(30), 1e6, rules(30))  # it has not looked at all: a new configuration sees to that


# -- one failed look, and many


def looks(*answers, quiet=30.0, max_wait=900.0, delivery=None, at=0.0):
    """A wait whose looks got these answers, each 5 s after the one before."""
    rules_ = rules(quiet, max_wait)
    delivery = delivery or new_delivery(TOKEN, False, 0.0, rules_)
    states = []
    for number, answer in enumerate(answers):
        delivery = on_answer(delivery, answer, at + 5.0 * number, 0.0, rules_)
        states.append(delivery)
    return states


OPEN, MORE = Answer(200, session(active=True)), Answer(200, session(active=True, passings=32))
FAILED = Answer(problem="no answer")


@pytest.mark.parametrize("failed", [FAILED, Answer(502, ""), Answer(200, PORTAL), Answer(404, "{}")])
def test_one_failed_look_is_no_outage(failed):
    """Promise 3, and "at most max_wait": between two good looks that show the same count, one may fail."""
    states = looks(OPEN, OPEN, failed, OPEN, failed, OPEN, OPEN)
    assert (states[-1].step, states[-1].changed, states[-1].waiting) == (Step.CLOSE, 0.0, 0.0)
    assert states[2].slipped
    assert states[2].phase is Phase.RETRY


def test_one_failed_look_and_another_count_is_an_outage():
    """Promise 3: passings that come with it may be the first of a backlog."""
    last = looks(OPEN, FAILED, MORE)[-1]
    assert (last.waiting, last.changed, last.came) == (10.0, 10.0, None)


def test_two_failed_looks_are_an_outage():
    """Promise 3: quiet begins anew."""
    states = looks(OPEN, OPEN, FAILED, FAILED, OPEN)
    assert (states[-1].waiting, states[-1].changed) == (20.0, 20.0)
    assert not states[3].slipped


def test_one_failed_look_that_took_long_is_an_outage():
    """Promise 3: a pause of minutes that RUFUS asked for hides as much as an outage does."""
    states = looks(OPEN, Answer(503, "", retry_after=300))
    assert states[-1].due == 305.0
    assert looks(OPEN, delivery=states[-1], at=305.0)[-1].waiting == 305.0


def test_a_close_call_that_did_not_get_out_is_one_failed_look():
    """Promise 2: where every seventh call is lost, it may be the close each time; the wait is not lost with it."""
    quiet = looks(OPEN, OPEN, quiet=5.0)[-1]
    assert quiet.step is Step.CLOSE
    unsent = on_answer(quiet, Answer(problem="no route", sent=False), 6.0, 0.0, rules(5))
    assert unsent.slipped
    assert looks(OPEN, quiet=5.0, delivery=unsent, at=7.0)[-1].step is Step.CLOSE
    assert looks(MORE, quiet=5.0, delivery=unsent, at=7.0)[-1].step is Step.READ
    broke = on_answer(quiet, Answer(problem="cut short"), 6.0, 0.0, rules(5))
    assert looks(OPEN, quiet=5.0, delivery=broke, at=7.0)[-1].step is Step.READ


@dataclass
class Sixth(Rufus):
    """A network that loses every n-th call."""

    every: int = 6

    def call(self, step, now):
        answer = super().call(step, now)
        return FAILED if len(self.calls) % self.every == 0 else answer


@pytest.mark.parametrize("every", [3, 4, 5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("permission", ["READ_WRITE", "WRITE"])
def test_a_network_that_loses_every_sixth_call_lets_the_wait_end(every, permission):
    """Promise 2: the wait comes to its end."""
    rufus = Sixth(permission, every=every)
    deliver(rufus, rules(), until=600)
    assert rufus.closed_at < 60


def test_waits_that_are_too_long_together_are_a_fault():
    """Promise 5: a network that breaks down in each wait lets none end: a fault that says why; the close waits on."""
    outages = [(start, start + 10) for start in range(15, 3000, 35)]
    rufus = Rufus(outages=outages)
    states = deliver(rufus, rules(max_wait=300), until=2000)
    assert not rufus.closes
    faults = [state.fault for state in states]
    assert "no route to RUFUS" in faults[-1]
    assert "close.max_wait (300 s)" in faults[-1]
    assert states[-1].phase in (Phase.QUIET, Phase.RETRY)
    first = faults.index(faults[-1])
    assert set(faults[:first]) == {""}
    assert set(faults[first:]) == {faults[-1]}  # one sentence, not one for each look
    assert 300 <= states[first].looked <= 1000
    assert reconfigured(states[-1], 2000.0, rules(max_wait=9e9)).fault == ""
    assert deliver(rufus, rules(max_wait=300), delivery=states[-1])[-1].closed


def test_a_close_call_that_failed_or_was_refused_is_trouble():
    """Promise 5: the reads that go well do not hide it."""
    calm = new_delivery(TOKEN, False, 0.0, rules())
    assert [each.troubled for each in (calm, replace(calm, refused="no"), replace(calm, unclosed=1))] == [0, 1, 1]


def test_a_wait_without_trouble_is_no_fault():
    """Promise 5: the end of max_wait is the end of the wait, not a fault."""
    states = deliver(Rufus(arrivals=list(range(0, 2000, 3))), rules(max_wait=300))
    assert states[-1].closed
    assert {state.fault for state in states} == {""}


# -- passings that never end


def test_a_session_that_is_never_quiet_is_closed_and_told_as_that():
    """Promise 5: closed at max_wait while passings still came: that can be seen before, and is kept."""
    states = deliver(Rufus(arrivals=list(range(0, 2000, 3))), rules(max_wait=300))
    assert (states[-1].closed, states[-1].closed_how) == (True, STILL_PASSING)
    waits = [state for state in states if state.phase is Phase.QUIET and state.came]
    assert len(waits) > 50
    assert {round(state.latest) for state in waits} == {300}


@pytest.mark.parametrize("permission", ["READ_WRITE", "WRITE"])
def test_a_session_that_was_quiet_at_max_wait_is_told_as_any_other(permission):
    """Promise 4: no passing was seen to come: nothing is claimed of any."""
    for arrivals, max_wait in (([], 100), ([1, 20], 100), ([], 10)):
        last = deliver(Rufus(permission, arrivals=arrivals), rules(max_wait=max_wait))[-1]
        assert (last.closed, last.closed_how) == (True, "")


def test_a_close_whose_answer_was_lost_still_says_that_passings_came():
    """Promise 5: what was true when the call went out is not forgotten with its answer."""
    states = deliver(Rufus(arrivals=list(range(0, 2000, 3)), lost=[(100, 130)]), rules(max_wait=110))
    assert (states[-1].closed, states[-1].closed_how) == (True, STILL_PASSING)


# -- a restart of the program


def restarted(delivery, now, rules_, outage=2.0):
    """The same close in the next life."""
    return new_delivery(TOKEN, bool(delivery.lost), now + outage, rules_, delivery.wait)


def test_max_wait_goes_on_after_a_restart():
    """Promise 2: a station that restarts every minute closes at max_wait, and not never."""
    rufus, rules_, delivery, now = Rufus(arrivals=list(range(0, 5000, 3))), rules(max_wait=300), None, 0.0
    for life in range(20):
        states = deliver(rufus, rules_, delivery=delivery, until=60.0 * (life + 1))
        if states[-1].closed:
            break
        now = 60.0 * (life + 1)
        delivery = restarted(states[-1], now, rules_)
    assert 300 <= rufus.closed_at <= 310
    assert states[-1].closed_how == STILL_PASSING


@pytest.mark.parametrize("answer", [OPEN, Answer(403, older("Forbidden"))])
def test_quiet_begins_anew_at_a_restart(answer):
    """Promise 3: nobody has looked meanwhile; a key that may not read sees no other count, and waits all the same."""
    states = looks(answer, answer, answer, answer, answer)
    again = restarted(states[-1], 20.0, rules())
    first = looks(answer, delivery=again, at=29.0)[-1]
    assert (first.step, first.waiting, first.changed) == (Step.READ, 0.0, 29.0)
    assert looks(answer, delivery=first, at=59.0)[-1].step is Step.CLOSE


def test_a_restart_that_took_long_is_an_outage():
    """Promise 3: the wait really has to have gone on: the reader may have been off as well."""
    states = looks(OPEN, OPEN, max_wait=100)
    again = restarted(states[-1], 90.0, rules(max_wait=100))
    first = looks(OPEN, max_wait=100, delivery=again, at=101.0)[-1]
    assert (first.step, first.waiting, first.total) == (Step.READ, 101.0, 5.0)
    assert first.broke == "rufusd was started again"


@pytest.mark.parametrize("answers", [[FAILED, FAILED, OPEN], [FAILED, OPEN]])
def test_a_restart_into_an_outage_is_one(answers):
    """Promise 3: whether passings came meanwhile is not known."""
    states = looks(OPEN, OPEN, max_wait=100)
    again = restarted(states[-1], 6.0, rules(max_wait=100))
    last = looks(*answers, max_wait=100, delivery=again, at=8.0)[-1]
    assert last.waiting == last.looked


def test_what_all_waits_took_outlives_a_restart():
    """Promise 5: restarts do not hide that a close waits for too long."""
    states = looks(OPEN, OPEN, FAILED, FAILED)
    assert states[-1].wait == Wait(None, None, 5.0, 5.0)
    again = restarted(states[-1], 20.0, rules())
    assert again.wait == states[-1].wait
    assert looks(OPEN, OPEN, delivery=again, at=25.0)[-1].total == 10.0
    assert new_delivery(TOKEN, False, 0.0, rules()).wait is None
    assert states[-1].wait.moved(7.0).moved(-7.0) == states[-1].wait
    assert looks(OPEN, MORE)[-1].wait.moved(7.0) == Wait(7.0, 12.0, 12.0, 5.0)


# -- pauses


@pytest.mark.parametrize(
    ("wait", "pause"),
    [(None, 30), (0.0, 30), (10.0, 30), (31.0, 31), (299.0, 299), (300.0, 300), (86_400.0, 300), (float("inf"), 300)],
)
@pytest.mark.parametrize("step", [Step.READ, Step.CLOSE])
def test_retry_after_is_obeyed_within_bounds(step, wait, pause):
    """RUFUS may ask for up to ten times retry.max; it cannot ask for less than the backoff, nor for ever."""
    waiting = replace(new_delivery(TOKEN, False, 0.0, rules()), step=step, failures=20, unclosed=20)
    for status in (429, 503):
        then = on_answer(waiting, Answer(status, "", retry_after=wait), 100.0, 0.0, rules())
        assert then.due == 100.0 + pause


def test_retry_after_holds_for_the_read_after_a_refusal():
    """RUFUS may ask for a pause when it is read to find out what a refusal means."""
    refused = replace(new_delivery(TOKEN, False, 0.0, rules()), step=Step.VERIFY, error="refused")
    assert on_answer(refused, Answer(429, "", retry_after=290), 100.0, 0.99, rules()).due == 390.0
    assert on_answer(refused, Answer(403, "{}"), 100.0, 0.0, rules()).due == 400.0


def test_network_obeys_retry_after_and_a_person_does_not():
    """A cable that is plugged in is no reason to call before RUFUS wants to be called; `rufusd retry` is one."""
    asked = on_answer(new_delivery(TOKEN, False, 0.0, rules()), Answer(429, "", retry_after=100), 100.0, 0.0, rules())
    assert network_changed(asked, 110.0).due == 200.0
    assert network_changed(asked, 300.0).due == 300.0
    assert retry_now(asked, 110.0).due == 110.0
    lost = on_answer(new_delivery(TOKEN, False, 0.0, rules()), Answer(problem="no route"), 100.0, 0.0, rules())
    assert network_changed(lost, 100.5).due == 100.5


def test_a_network_that_comes_and_goes_makes_no_flood_of_calls():
    """One call in a second at the most; a call that is due sooner stays so, and an old one is due at once."""
    waits = replace(new_delivery(TOKEN, False, 0.0, rules()), phase=Phase.RETRY, due=160.0, called=100.0)
    assert network_changed(waits, 100.2).due == 101.0
    assert network_changed(network_changed(waits, 100.2), 100.4).due == 101.0
    assert network_changed(replace(waits, due=100.5), 100.2).due == 100.5
    assert network_changed(replace(waits, due=100.5), 100.7).due == 100.7
    assert network_changed(waits, 150.0).due == 150.0


def test_asking_to_call_less_often_is_no_outage():
    """Promise 3, and "at most max_wait": RUFUS is there, so the wait for quiet goes on through its 429."""
    waited = on_answer(
        new_delivery(TOKEN, False, 0.0, rules()), Answer(200, session(active=True, passings=7)), 0.0, 0.0, rules()
    )
    asked = on_answer(waited, Answer(429, "", retry_after=10), 20.0, 0.0, rules())
    quiet = on_answer(asked, Answer(200, session(active=True, passings=7)), 31.0, 0.0, rules())
    assert (quiet.step, quiet.due) == (Step.CLOSE, 31.0)
    late = on_answer(asked, Answer(200, session(active=True, passings=8)), 31.0, 0.0, rules())
    assert (late.step, late.changed) == (Step.READ, 31.0)


def test_a_close_call_that_comes_too_soon_for_rufus_is_no_outage():
    """Promise 3, and "at most max_wait": RUFUS has not acted on it, and the wait goes on."""
    asked = on_answer(closing(30, waiting=1.0), Answer(429, "", retry_after=10), 40.0, 0.0, rules())
    assert (asked.waiting, asked.missed) == (1.0, 0)


def test_closes_that_fail_back_off_though_reads_work():
    """A firewall that blocks only the PATCH is not called once a second for ever."""
    delivery, pauses = replace(new_delivery(TOKEN, False, 0.0, rules()), step=Step.CLOSE), []
    for _ in range(8):
        failed = on_answer(delivery, Answer(500, ""), 0.0, 0.0, rules())
        read = on_answer(failed, Answer(200, session(active=True)), 0.0, 0.0, rules())
        assert read.troubled
        pauses.append(failed.due)
        delivery = replace(read, step=Step.CLOSE)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_new_configuration_waits_for_quiet_before_it_sends():
    """Promise 3: a close that was on its way without a wait gets the wait that the new configuration wants."""
    sending = new_delivery(TOKEN, False, 0.0, replace(rules(), close=Close(quiet=0)))
    offline = Answer(problem="no route", sent=False)
    failed = replace(on_answer(sending, offline, 0.0, 0.0, replace(rules(), close=Close(quiet=0))), refused="no")
    for each in (sending, failed):
        assert each.step is Step.CLOSE
        assert (reconfigured(each, 9.0, rules()).step, reconfigured(each, 9.0, rules()).refused) == (Step.READ, "")
    waiting = on_answer(new_delivery(TOKEN, False, 0.0, rules()), Answer(200, session(active=True)), 5.0, 0.0, rules())
    assert reconfigured(waiting, 9.0, rules()) == replace(waiting, due=9.0)  # in case it is to be shorter now


RETRIES = st.tuples(st.floats(0.01, 3600), st.floats(1, 24)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@given(RETRIES, st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded(retry, failures, chance):
    """No pause is longer than retry.max or shorter than half of retry.first, after however many failures."""
    first, most = retry
    assert first / 2 <= backoff(failures, chance, rules(first=first, most=most)) <= most


@given(RETRIES, st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_backoff_grows(retry, failures, chance):
    """With the same chance, one more failure never makes a shorter pause; it doubles until it is bounded."""
    first, most = retry
    settings_ = rules(first=first, most=most)
    pause, longer = backoff(failures, chance, settings_), backoff(failures + 1, chance, settings_)
    assert pause <= longer <= 2 * pause * (1 + 1e-9)
    assert longer == pytest.approx(min(2 * pause, most * (1 - chance / 2)))


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_chance_only_shortens(failures, one, other):
    """Jitter: the more chance, the shorter the pause, by half at most."""
    less, more = sorted((one, other))
    full = backoff(failures, 0.0, rules())
    assert full / 2 <= backoff(failures, more, rules()) <= backoff(failures, less, rules()) <= full


def test_stations_do_not_call_in_step():
    """Twenty stations that lost the network together come back spread out."""
    chance = random.Random(7)
    pauses = {round(backoff(20, chance.random(), rules()), 1) for _ in range(20)}
    assert len(pauses) >= 15
    assert max(pauses) - min(pauses) > 8


# -- any world at all


stretch = st.tuples(st.integers(0, 400), st.integers(1, 200)).map(lambda pair: (pair[0], pair[0] + pair[1]))
stretches = st.lists(stretch, max_size=3)


@pytest.mark.no_cover
@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    permission=st.sampled_from(["READ_WRITE", "READ_WRITE", "WRITE", "NONE"]),
    arrivals=st.lists(st.integers(0, 600), max_size=40),
    outages=stretches,
    portals=stretches,
    lost=stretches,
    form=st.sampled_from([older, newer]),
    limits=st.sampled_from([(0, 0), (1, 5), (30, 900), (30, 60), (60, 60)]),
    seed=st.integers(0, 99),
)
def test_any_world(permission, arrivals, outages, portals, lost, form, limits, seed):
    """Promises 2, 3, 4: whatever the network does, "closed" is true, no call is early, and in the end it is closed."""
    quiet, max_wait = limits
    rufus = Rufus(permission, arrivals, outages, portals, lost, form)
    states = deliver(rufus, rules(quiet, max_wait), seed=seed, until=3000)
    if states[-1].closed:
        event("closed")
        assert rufus.closed_at < float("inf")
    else:  # all is quiet after second 600: only RUFUS's refusal, of this key or of what it has closed, is left
        event("refused")
        assert permission == "NONE" or (permission == "WRITE" and rufus.closed_at < float("inf"))
        assert any(state.phase is Phase.REFUSED for state in states)
    waiting = None
    for (now, step), state, then in zip(rufus.calls, states, states[1:]):
        assert state.step is step
        if step is Step.CLOSE and quiet:
            assert waiting is not None
            assert now >= waiting + min(quiet, max_wait)
            late = [at for at in arrivals if now - quiet < at <= now - LATENCY and at <= rufus.closed_at]
            assert permission != "READ_WRITE" or not late or now >= waiting + max_wait
        if then.phase in (Phase.RETRY, Phase.REFUSED):
            waiting = None
        elif waiting is None:
            waiting = now + LATENCY
        assert then.closed or then.due >= now + LATENCY


# -- what the reader alone confirmed, and what was closed before


NONE, TWO = Answer(200, session(active=True, passings=0)), Answer(200, session(active=True, passings=2))
SHUT = Answer(200, session(active=False))


def left(*answers, quiet=30.0, alone=True, sent=False, delivery=None):
    """The states of a reader's close after each of these answers, in simulated time."""
    delivery = delivery or new_delivery(TOKEN, sent, 0.0, rules(quiet), alone=alone)
    states = [delivery]
    for each in answers:
        states.append(on_answer(states[-1], each, states[-1].due, 0.0, rules(quiet)))
    return states


@pytest.mark.parametrize("quiet", [0.0, 30.0, 600.0])
def test_the_reader_alone_does_not_close_an_empty_session(quiet):
    """Promise 1: with no passing at all it waits for a person, whatever quiet is, and says so."""
    last = left(*[NONE] * 50, quiet=quiet)[-1]
    assert (last.step, last.phase, last.closed) == (Step.READ, Phase.EMPTY, False)
    assert "no passing has reached this session" in last.fault


@pytest.mark.parametrize(("quiet", "pause"), [(0.0, 5.0), (36.0, 6.0), (600.0, 60.0)])
def test_looks_at_an_empty_session_are_rare_and_go_on(quiet, pause):
    """A sixth of quiet, but a minute at the most and 5 s at the least."""
    assert left(NONE, quiet=quiet)[-1].due == pause


def test_looks_are_a_sixth_of_quiet():
    """Some may fail, and the wait still ends; however short quiet is, no look follows at once."""
    assert look_every(rules(quiet=30.0)) == 5.0
    assert look_every(rules(quiet=0.1)) == 0.05


@pytest.mark.parametrize("quiet", [0.0, 30.0])
def test_an_inverted_line_does_not_close_a_race_at_its_start(quiet):
    """Promise 1: passings that come in after the reader went off, with none before, prove nothing but that."""
    last = left(NONE, TWO, *[TWO] * 50, quiet=quiet)[-1]
    assert (last.step, last.phase) == (Step.READ, Phase.EMPTY)
    assert "the wrong way round" in last.fault
    assert left(NONE, TWO, Answer(403, "{}", sent=False), quiet=quiet)[-1].fault == last.fault
    nameless = Answer(403, '{"description": "Forbidden"}')
    assert left(NONE, TWO, nameless, quiet=quiet)[-1].fault == last.fault


def test_what_was_found_empty_outlives_a_restart():
    """Promise 1: a restart in the first minutes of the race does not make the reader's close an ordinary one."""
    again = new_delivery(TOKEN, False, 0.0, rules(0.0), left(NONE)[-1].wait, alone=True, empty=True)
    assert left(TWO, TWO, quiet=0.0, delivery=again)[-1].phase is Phase.EMPTY
    assert not new_delivery(TOKEN, False, 0.0, rules(), alone=False, empty=True).fault


@pytest.mark.parametrize(("quiet", "step"), [(30.0, Step.READ), (0.0, Step.CLOSE)])
def test_a_person_confirms_an_empty_session(quiet, step):
    """Promise 2: what a person confirms as well goes on at once, with its ordinary wait."""
    waits = left(NONE, quiet=quiet)[-1]
    goes_on = endorsed(waits, 2.0, rules(quiet))
    assert (goes_on.step, goes_on.due, goes_on.fault, goes_on.alone) == (step, 2.0, "", False)
    assert left(NONE, NONE, delivery=goes_on, quiet=30.0)[1].phase is not Phase.EMPTY
    waiting = new_delivery(TOKEN, False, 0.0, rules(), alone=True)
    assert endorsed(waiting, 1.0, rules()) == replace(waiting, alone=False)


@pytest.mark.parametrize("quiet", [0.0, 30.0])
def test_where_there_is_no_empty_session_there_is_no_rule(quiet):
    """Promise 2: passings, a person, a key that may not read, no number: the close goes its ordinary way."""
    unnumbered = Answer(200, session(active=True, passings=None))
    for answer in (TWO, Answer(403, '{"description": "Forbidden"}'), unnumbered):
        states = left(*[answer] * 7, quiet=quiet)
        assert Step.CLOSE in [each.step for each in states]
        assert not any(each.empty for each in states)
    assert left(*[NONE] * 7, alone=False)[-1].step is Step.CLOSE
    assert new_delivery(TOKEN, False, 0.0, rules(0.0)).step is Step.CLOSE


def test_retry_looks_at_an_empty_session_now():
    """Promise 5: `rufusd retry` looks at once."""
    assert retry_now(left(NONE)[-1], 1.0).due == 1.0


def test_closed_before_the_first_look_is_not_ours():
    """Promise 4: a session that was closed without a call of ours was closed by somebody else."""
    last = left(SHUT)[-1]
    assert (last.closed, last.closed_how) == (True, ELSEWHERE)
    assert left(TWO, SHUT, alone=False)[-1].closed_how == ""
    refused = Answer(404, older("Session not found or closed"))
    assert left(refused, SHUT, alone=False, quiet=0.0)[-1].closed_how == ELSEWHERE


def test_closed_after_a_call_of_ours_is_ours():
    """Promise 4: where a call was sent, in this life or an earlier, "closed" is its work."""
    assert left(SHUT, sent=True)[-1].closed_how == ""
    lost = Answer(problem="no answer", sent=True)
    assert left(lost, SHUT, alone=False, quiet=0.0)[-1].closed_how == ""


# -- each fact of a delivery, by itself


CALM = new_delivery(TOKEN, False, 0.0, rules())
FOREIGN, RUFUS_SAYS_NO = Answer(403, '{"message": "Forbidden"}'), Answer(403, '{"description": "Forbidden"}')


def test_one_failed_call_is_a_slip_only_in_the_middle_of_a_wait():
    """Promise 5: before the wait has begun, and after a second failure, it is an outage."""
    states = [{"missed": 1, "waiting": 0.0}, {"missed": 1}, {"waiting": 0.0}, {"missed": 2, "waiting": 0.0}]
    assert [replace(CALM, **state).slipped for state in states] == [True, False, False, False]


def test_what_a_person_has_to_know_has_an_order():
    """Promise 5: RUFUS's refusal, then somebody else's that stays, then the wait, then the empty session."""
    troubled = replace(CALM, refused="r", barred="b", unclear=3, overdue="o", empty="e")
    faults = [troubled.fault]
    for gone in ({"refused": ""}, {"unclear": 2}, {"overdue": ""}, {"empty": ""}):
        troubled = replace(troubled, **gone)
        faults.append(troubled.fault)
    assert faults == ["r", "b", "o", "e", ""]


def test_a_second_of_quiet_is_waited_for():
    """Promise 3: every wait is one, however short it is."""
    short = new_delivery(TOKEN, False, 0.0, rules(quiet=1.0))
    assert (short.phase, short.step) == (Phase.QUIET, Step.READ)
    assert stale(closing(1, looked=0.0), 100.0, rules(quiet=1.0))
    assert looks(OPEN)[-1].took == 0.0  # the call's beginning was not noted
    goes_on = endorsed(left(NONE)[-1], 2.0, rules(quiet=1.0))
    assert (goes_on.phase, goes_on.step) == (Phase.QUIET, Step.READ)


def test_a_readers_close_begins_without_a_fault():
    """Promise 5: only a look, or the life before, knows that the session is empty."""
    assert new_delivery(TOKEN, False, 0.0, rules(), alone=True).fault == ""
    assert new_delivery(TOKEN, False, 0.0, rules(), alone=True, empty=True).fault != ""


def test_a_filter_that_refuses_reads_is_an_outage_once_rufus_has_answered_the_key():
    """Promise 3: until then it may be RUFUS's gateway, and a WRITE key; RUFUS's own refusal is always the key's."""
    assert on_answer(CALM, FOREIGN, 1.0, 0.0, rules(), heard=True).phase is Phase.RETRY
    assert on_answer(CALM, FOREIGN, 1.0, 0.0, rules()).phase is Phase.QUIET
    assert on_answer(CALM, RUFUS_SAYS_NO, 1.0, 0.0, rules(), heard=True).phase is Phase.QUIET
    counted = replace(CALM, passings=31)
    assert on_answer(counted, RUFUS_SAYS_NO, 1.0, 0.0, rules()).phase is Phase.QUIET


def test_a_close_that_worked_has_no_error():
    """Promise 5: what went wrong before is over."""
    done = on_answer(
        closing(error="no route", attempts=2), Answer(200, older("Session closed succesfully")), 1.0, 0.0, rules()
    )
    assert (done.closed, done.error, done.attempts) == (True, "", 3)


def test_a_refused_call_is_an_attempt_and_a_clear_word():
    """Promise 5: RUFUS has spoken, so nothing is unclear any more."""
    refused = on_answer(closing(30, unclear=3, barred="b", doubted=True, attempts=7), RUFUS_SAYS_NO, 1.0, 0.0, rules())
    assert (refused.attempts, refused.unclear, refused.barred, refused.doubted) == (8, 0, "", False)


def test_a_count_that_cannot_be_read_for_a_moment_is_no_passing():
    """Promise 4: "still passing" is said only where two counts differ; the wait begins anew all the same."""
    for answers in ((RUFUS_SAYS_NO, OPEN), (OPEN, RUFUS_SAYS_NO)):
        last = looks(*answers)[-1]
        assert (last.came, last.changed) == (None, 5.0)


def test_quiet_to_the_very_end_is_quiet():
    """Promise 4: the last passing came exactly `quiet` ago, so none still came."""
    last = looks(OPEN, MORE, *[MORE] * 6)[-1]
    assert (last.step, last.phase, last.came, last.due) == (Step.CLOSE, Phase.SENDING, 5.0, 35.0)
    assert last.closed_how == ""


@pytest.mark.parametrize(("so_far", "overdue"), [(295.0, False), (295.5, True)])
def test_all_waits_together_may_take_max_wait(so_far, overdue):
    """Promise 5: it is a fault only once they have taken longer."""
    waiting = replace(looks(OPEN)[-1], total=so_far)
    assert bool(looks(OPEN, max_wait=300, delivery=waiting, at=5.0)[-1].overdue) is overdue
    told_before = replace(waiting, overdue="told before")
    assert looks(OPEN, max_wait=300, delivery=told_before, at=5.0)[-1].overdue == "told before"


@pytest.mark.parametrize(("gap", "outage"), [(30.0, False), (30.1, True)])
def test_one_failed_look_may_take_two_looks_time(gap, outage):
    """Promise 3: twice a look's pause and its call, which are 5 s and 10 s here; more is an outage."""
    slipped = replace(looks(OPEN)[-1], missed=1)
    rules_ = replace(rules(), api=Api(KEY, timeout=10.0))
    assert (on_answer(slipped, OPEN, gap, 0.0, rules_).waiting == gap) is outage


def test_a_good_look_ends_a_foreign_refusal_of_the_reads():
    """Promise 5: the fault goes with its cause."""
    refused = looks(*[Answer(404, "{}")] * 3)[-1]
    assert refused.fault
    last = looks(OPEN, delivery=refused, at=20.0)[-1]
    assert (last.fault, last.unclear) == ("", 0)


def test_why_a_wait_began_anew_is_remembered():
    """Promise 5: the first failed look breaks nothing; the second does."""
    states = looks(OPEN, FAILED, FAILED, OPEN)
    assert [each.broke for each in states] == ["", "", "no answer", "no answer"]
    assert [looks(OPEN, FAILED, look)[-1].broke for look in (OPEN, MORE)] == ["", "no answer"]


def test_a_look_that_finds_no_passing_leaves_nothing_of_what_was_before():
    """Promise 1: the close waits for a person, and for nothing else."""
    before = new_delivery(TOKEN, False, 0.0, rules(), alone=True)
    troubled = replace(before, waiting=1.0, took=2.0, resumed=True, missed=1, failures=3, unclear=1, error="no answer")
    then = on_answer(troubled, NONE, 9.0, 0.0, rules())
    assert then == replace(before, phase=Phase.EMPTY, due=14.0, looked=9.0, passings=0, empty=then.empty)


def test_a_person_who_confirms_does_not_call_before_rufus_wants_to_be_called():
    """A pause that RUFUS asked for holds; and what was lost before is looked for first."""
    waits = replace(left(NONE, quiet=0.0)[-1], not_before=50.0, lost=True, waiting=1.0)
    goes_on = endorsed(waits, 2.0, rules(quiet=0.0))
    assert (goes_on.due, goes_on.step, goes_on.phase, goes_on.waiting) == (50.0, Step.READ, Phase.SENDING, None)
    assert endorsed(replace(CALM, empty="e"), 2.0, rules()) == replace(CALM, empty="e")


def test_what_could_not_be_verified_is_doubted_no_more():
    """Promise 4: the session is read again, and the next answer judged anew."""
    weak = on_answer(closing(), Answer(202, ""), 1.0, 0.0, rules(0))
    assert (weak.doubted, weak.phase) == (True, Phase.SENDING)
    assert not on_answer(weak, Answer(problem="no route"), 2.0, 0.0, rules(0)).doubted
    assert not on_answer(replace(weak, step=Step.CLOSE), Answer(500, ""), 2.0, 0.0, rules(0)).doubted


@pytest.mark.parametrize("phase", Phase)
def test_whom_a_person_and_the_network_hurry(phase):
    """Promise 3: a wait for quiet stays whole; what RUFUS refused is not mended by another network."""
    pausing = replace(CALM, phase=phase, due=100.0)
    assert (retry_now(pausing, 7.0).due == 7.0) is (phase in (Phase.RETRY, Phase.REFUSED, Phase.EMPTY))
    assert (network_changed(pausing, 7.0).due == 7.0) is (phase is Phase.RETRY)


def test_a_new_configuration_forgives_what_was_wrong_with_the_old():
    """Promise 5: nothing is a fault before it has been tried anew; a wait that begins anew says why."""
    wrong = replace(CALM, due=100.0, refused="r", unclear=3, barred="b", overdue="o")
    assert reconfigured(wrong, 9.0, rules()) == replace(CALM, due=9.0)
    assert reconfigured(closing(30, waiting=1.0), 9.0, rules()).broke == "the configuration was read again"
    assert reconfigured(closing(30, waiting=1.0), 9.0, rules()).waiting is None


def test_the_readers_own_close_is_looked_at_again_after_each_failure():
    """Promise 1: whether the session is empty is not known from a call that failed."""
    unsent = Answer(problem="no route", sent=False)
    assert on_answer(closing(alone=True), unsent, 1.0, 0.0, rules(0)).step is Step.READ
    assert on_answer(closing(), unsent, 1.0, 0.0, rules(0)).step is Step.CLOSE


@pytest.mark.parametrize(
    ("boot_id", "looked", "counts"),
    [("b", 99.9, False), ("b", 100.0, True), ("b", 130.0, True), ("earlier", 99.9, True)],
)
def test_an_earlier_lifes_wait_counts_for_the_close_that_it_was_for(boot_id, looked, counts):
    """Promise 3: not for one that was confirmed after RUFUS was last read; uptimes of two boots do not compare."""
    wait = Wait(50.0, None, looked, 30.0)
    assert wait_of(Record(TOKEN, boot_id="b", uptime=100.0), wait, boot_id) == (wait if counts else None)
    assert wait_of(Record(TOKEN, boot_id="b", uptime=100.0), None, boot_id) is None
