"""The sandbox, spoken to over HTTP on loopback as the daemon, a trainer and a test speak to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import datetime
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from stations import within

from rufusd.training.sandbox import Sandbox

TOKEN = "2A19294BB886C3D5C7783309BBC6E385515C843893A6BC126FECE3904C6E2B25"
UNKNOWN = "F" * 64


@pytest.fixture
def sandbox():
    with Sandbox() as sandbox:
        sandbox.add_session("FINISH-10K", TOKEN)
        yield sandbox


@pytest.fixture
def client():
    """A client that follows redirects, as most do, and heeds no proxy of the machine that tests."""
    with requests.Session() as client:
        client.trust_env = False
        yield client


def call(sandbox, method, path, key="READ_WRITE", header="api_key", timeout=60):
    """One call of the API: status, headers, text. `key` is a permission's name, a key, or None."""
    headers = {} if key is None else {header: sandbox.keys.get(key, key)}
    return speak(sandbox, method, f"/v0/{path}", headers=headers, timeout=timeout)


def speak(sandbox, method, path, body=None, headers=None, timeout=60):
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def read(sandbox, token=TOKEN, **how):
    return call(sandbox, "GET", f"sessions/{token}", **how)


def close(sandbox, token=TOKEN, **how):
    return call(sandbox, "PATCH", f"sessions/close/{token}", **how)


def until_called(sandbox):
    while not sandbox.calls:
        threading.Event().wait(0.001)


# As documented


def test_a_close_answers_as_the_older_pages_show():
    """The first close closes the session, in RUFUS's own spelling."""
    with Sandbox() as sandbox:
        sandbox.add_session("FINISH-10K", TOKEN)
        status, headers, text = close(sandbox)
        assert (status, json.loads(text)) == (
            200,
            {"description": "Session closed succesfully", "token_session": TOKEN},
        )
        assert headers["Content-Type"].startswith("application/json")
        assert not sandbox.session(TOKEN).active
        assert sandbox.session(TOKEN).closes == 1


def test_the_new_form_puts_every_fact_inside_body(sandbox):
    """`form new` wraps successes and refusals alike in an envelope, and `form old` takes it off again."""
    sandbox.tell("form new")
    for status, _, text in (read(sandbox), close(sandbox), close(sandbox, UNKNOWN), close(sandbox, key="READ")):
        assert status in (200, 404, 403)
        assert list(json.loads(text)) == ["body"]
    sandbox.tell("form old")
    assert json.loads(read(sandbox)[2])["description"] == "Success"


def test_a_session_is_read_with_its_count_of_passings(sandbox):
    """Reading gives the documented fields; times are RFC 3339 in UTC with milliseconds."""
    assert sandbox.add_passing(TOKEN)
    assert sandbox.add_passing(TOKEN)
    answer = json.loads(read(sandbox)[2])
    (record,) = answer["result"]
    assert answer["description"] == "Success"
    fields = "token_session alias creation_date duration active passings first last"
    assert sorted(record) == sorted(fields.split())
    assert (record["token_session"], record["alias"], record["active"]) == (TOKEN, "FINISH-10K", True)
    assert record["passings"] == 2
    assert record["creation_date"] <= record["first"] <= record["last"]
    assert datetime.strptime(record["last"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert re.fullmatch(r".*\.\d{3}Z", record["last"])


def test_a_closed_session_can_be_read(sandbox):
    """Reading outlives the close and says that the session is not active."""
    close(sandbox)
    status, _, text = read(sandbox)
    assert status == 200
    assert json.loads(text)["result"][0]["active"] is False


@pytest.mark.parametrize("ask", [read, close])
def test_an_unknown_token_is_not_found(sandbox, ask):
    """404 names the token that was asked for."""
    status, _, text = ask(sandbox, UNKNOWN)
    assert (status, json.loads(text)) == (404, {"description": "Session not found", "token_session": UNKNOWN})


@pytest.mark.parametrize(
    ("key", "reading", "closing"), [("READ", 200, 403), ("WRITE", 403, 200), ("READ_WRITE", 200, 200)]
)
def test_a_key_may_do_what_its_permission_says(sandbox, key, reading, closing):
    """READ reads, WRITE closes, READ_WRITE does both; a refused close closes nothing."""
    assert read(sandbox, key=key)[0] == reading
    assert close(sandbox, key=key)[0] == closing
    assert sandbox.session(TOKEN).active == (closing != 200)


@pytest.mark.parametrize("key", [None, "ror-00000000000000000000"])
def test_an_unknown_key_is_refused(sandbox, key):
    """An unknown key, or none, is answered 401 and closes nothing."""
    assert close(sandbox, key=key)[0] == 401
    assert sandbox.session(TOKEN).active


def test_the_key_may_come_in_the_newer_header(sandbox):
    """`x-api-key` carries the same key as `api_key`."""
    assert close(sandbox, header="x-api-key")[0] == 200


def test_a_close_without_a_token_lacks_a_parameter(sandbox):
    """400 is for the missing parameter."""
    assert close(sandbox, "")[0] == 400


def test_a_path_that_nobody_documented_is_not_made_up(sandbox):
    """What RUFUS is not known to offer answers 501, and not in RUFUS's form."""
    status, headers, _ = call(sandbox, "POST", "passings")
    assert status == 501
    assert headers["Content-Type"].startswith("text/plain")


def test_a_device_has_one_open_session_or_none(sandbox):
    """The device's path gives its open session's record, and "Sessions not found" once that is closed."""
    sandbox.add_device("D0", TOKEN)
    path = "sessions/device/D0/active"
    assert json.loads(call(sandbox, "GET", path)[2])["result"][0]["token_session"] == TOKEN
    close(sandbox)
    status, _, text = call(sandbox, "GET", path)
    assert (status, json.loads(text)["description"]) == (404, "Sessions not found")
    assert call(sandbox, "GET", "sessions/device/D1/active")[0] == 404


@pytest.mark.parametrize("status", [404, 200, 409])
def test_closing_again_answers_as_it_is_set(sandbox, status):
    """RUFUS does not document it, so each plausible answer can be chosen; 404 is the default. It counts no close."""
    assert sandbox.closed_again == 404
    sandbox.closed_again = status
    close(sandbox)
    assert close(sandbox)[0] == status
    assert sandbox.session(TOKEN).closes == 1


# Sessions and passings


def test_keys_and_tokens_have_the_shapes_that_rufus_shows():
    """A key is `ror-` and 20 hexadecimal digits, a token 64 in upper case; each is new."""
    one, other = Sandbox(), Sandbox()
    assert list(one.keys) == ["READ", "WRITE", "READ_WRITE"]
    assert all(re.fullmatch("ror-[0-9a-f]{20}", key) for key in one.keys.values())
    assert len({*one.keys.values(), *other.keys.values()}) == 6
    assert re.fullmatch("[0-9A-F]{64}", one.add_session("A"))


def test_a_passing_after_the_close_is_lost(sandbox):
    """A closed session receives no more passings, and the sandbox counts what that cost."""
    assert sandbox.add_passing(TOKEN)
    close(sandbox)
    assert not sandbox.add_passing(TOKEN)
    session = sandbox.session(TOKEN)
    assert (session.passings, session.lost) == (1, 1)


def test_a_passing_for_an_unknown_session_reaches_nothing(sandbox):
    """It is False, and no session comes of it."""
    assert not sandbox.add_passing(UNKNOWN)
    with pytest.raises(KeyError):
        sandbox.session(UNKNOWN)


def test_a_session_is_a_snapshot(sandbox):
    """What a test holds does not change under it."""
    before = sandbox.session(TOKEN)
    sandbox.add_passing(TOKEN)
    assert before.passings == 0


def test_no_session_is_reopened(sandbox):
    """A token in use cannot be added again, which would reopen it."""
    close(sandbox)
    with pytest.raises(ValueError, match=TOKEN):
        sandbox.add_session("AGAIN", TOKEN)
    assert not sandbox.session(TOKEN).active


def test_every_call_of_the_api_is_recorded(sandbox):
    """A call keeps its method, path, key, status and time; the control path is none."""
    before = time.monotonic()
    read(sandbox, key="READ")
    speak(sandbox, "GET", "/sandbox")
    close(sandbox, key="nobody's")
    sandbox.tell("deaf")
    with pytest.raises(OSError, match="closed"):
        close(sandbox)
    reading, refused, unanswered = sandbox.calls
    assert (reading.method, reading.path, reading.status) == ("GET", f"/v0/sessions/{TOKEN}", 200)
    assert reading.key == sandbox.keys["READ"]
    assert (refused.key, refused.status) == ("nobody's", 401)
    assert unanswered.status is None
    assert before <= reading.at <= refused.at <= unanswered.at <= time.monotonic()


# Misbehaving


def test_offline_hangs_up_and_does_nothing(sandbox):
    """Every call is dropped without an answer, and none is acted on, until the next behaviour."""
    sandbox.tell("offline")
    for ask in (read, close):
        with pytest.raises(OSError, match="closed"):
            ask(sandbox)
    assert sandbox.session(TOKEN).active
    sandbox.tell("online")
    assert close(sandbox)[0] == 200


def test_deaf_loses_the_answer_but_not_the_close(sandbox):
    """The session is closed though the client heard nothing: the lost answer."""
    sandbox.tell("deaf")
    with pytest.raises(OSError, match="closed"):
        close(sandbox)
    assert sandbox.session(TOKEN).closes == 1


def test_slow_answers_late_but_acts_at_once(sandbox):
    """A client that gave up waiting has been heard all the same; a patient one has its answer, late."""
    sandbox.tell("slow 1")
    with pytest.raises(TimeoutError if sys.version_info >= (3, 10) else socket.timeout):
        close(sandbox, timeout=0.03)
    until_called(sandbox)
    assert sandbox.session(TOKEN).closes == 1
    before = time.monotonic()
    assert read(sandbox)[0] == 200
    assert time.monotonic() - before >= 1


@pytest.mark.parametrize(("form", "body"), [("old", ""), ("new", '{"body": null}')])
@pytest.mark.parametrize("status", [500, 503, 599])
def test_a_servers_error_closes_nothing(sandbox, status, form, body):
    """Any status from 500 to 599, with the body that the new form documents."""
    sandbox.tell(f"form {form}")
    sandbox.tell(str(status))
    assert close(sandbox)[::2] == (status, body)
    assert sandbox.session(TOKEN).active


@pytest.mark.parametrize(("line", "seconds"), [("429", "5"), ("429 120", "120")])
def test_too_many_calls_are_told_when_to_call_again(sandbox, line, seconds):
    """429 comes with Retry-After in whole seconds, and closes nothing."""
    sandbox.tell(line)
    status, headers, _ = close(sandbox)
    assert (status, headers["Retry-After"]) == (429, seconds)
    assert sandbox.session(TOKEN).active


def test_a_captive_portal_turns_a_followed_close_into_a_false_success(sandbox, client):
    """The redirect leads to a login page that answers 200: to a client that follows it, all seems well."""
    sandbox.tell("portal")
    status, headers, _ = close(sandbox)
    assert (status, headers["Location"]) == (302, "/login")
    followed = client.patch(
        f"{sandbox.url}/sessions/close/{TOKEN}", headers={"api_key": sandbox.keys["WRITE"]}, timeout=60
    )
    assert followed.status_code == 200
    assert followed.headers["Content-Type"].startswith("text/html")
    assert sandbox.session(TOKEN).active


def test_a_portal_without_a_redirect_answers_200_to_everything(sandbox):
    """A login page in place of every answer, which closes nothing."""
    sandbox.tell("portal200")
    for status, headers, text in (read(sandbox), close(sandbox), call(sandbox, "GET", "anything")):
        assert status == 200
        assert headers["Content-Type"].startswith("text/html")
        assert text.startswith("<!DOCTYPE html>")
    assert sandbox.session(TOKEN).active


# Commands


def test_commands_play_a_race(sandbox):
    """Sessions are opened, fed and closed in words, each answered in a sentence."""
    token = sandbox.tell("session Łódź   półmaraton").split()[-1]
    assert sandbox.session(token).alias == "Łódź półmaraton"
    assert sandbox.tell(f"passing {token}") == "Łódź półmaraton: 1 of 1 reached RUFUS, 1 in all, 0 lost"
    assert sandbox.tell(f"passing {token} 30") == "Łódź półmaraton: 30 of 30 reached RUFUS, 31 in all, 0 lost"
    assert sandbox.tell(f"close {token}") == "Łódź półmaraton is closed"
    assert sandbox.tell(f"close {token}") == "Łódź półmaraton was closed already"
    assert sandbox.tell(f"passing {token} 2") == "Łódź półmaraton: 0 of 2 reached RUFUS, 31 in all, 2 lost"


def test_a_close_by_command_is_no_close_by_a_client(sandbox):
    """It closes as somebody else would, so that a test still sees what the station itself has closed."""
    sandbox.tell(f"close {TOKEN}")
    assert (sandbox.session(TOKEN).active, sandbox.session(TOKEN).closes) == (False, 0)


def test_show_tells_the_behaviour_and_each_session(sandbox):
    """One line for the behaviour and the form, one a session."""
    sandbox.tell("slow 2.5")
    sandbox.tell("form new")
    sandbox.tell(f"passing {TOKEN} 7")
    first, second = sandbox.tell("show").splitlines()
    assert first == "slow 2.5, new form"
    assert second.split() == ["FINISH-10K", "open", "7", "passings", "0", "lost", TOKEN]


def test_help_lists_every_command(sandbox):
    """Each command stands in the help with what it does."""
    words = {line.split()[0] for line in sandbox.tell("help").splitlines()}
    commands = "online offline slow 500 429 portal portal200 deaf form session passing close show help"
    assert words == set(commands.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("oflline", "online, offline, slow SECONDS"),
        ("", "online, offline, slow SECONDS"),
        ("slow", "expected slow SECONDS"),
        ("slow nan", "expected slow SECONDS"),
        ("slow -1", "expected slow SECONDS"),
        ("429 soon", r"expected 429 \[SECONDS\]"),
        ("600", "is not a command"),
        ("online please", "expected online"),
        ("form newest", "expected form old|new"),
        (f"passing {TOKEN} -1", "expected passing TOKEN"),
        (f"passing {UNKNOWN}", "no session has the token"),
        (f"close {UNKNOWN}", "no session has the token"),
    ],
)
def test_a_wrong_command_is_told_what_was_expected(sandbox, line, expected):
    """The sentence names the command that was meant, or all; nothing changes."""
    with pytest.raises(ValueError, match=expected):
        sandbox.tell(line)
    assert sandbox.tell("show").startswith("online, old form")


@pytest.mark.parametrize("behaviour", ["offline", "slow 60", "500", "429", "portal", "portal200", "deaf"])
def test_commands_come_from_another_terminal_whatever_the_behaviour(sandbox, behaviour):
    """The control path always works: otherwise nobody could end an outage."""
    assert speak(sandbox, "POST", "/sandbox", behaviour.encode())[0] == 200
    status, headers, text = speak(sandbox, "GET", "/sandbox")
    assert (status, text.splitlines()[0]) == (200, f"{behaviour}, old form")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    speak(sandbox, "POST", "/sandbox", b"online\n")
    assert close(sandbox)[0] == 200


def test_a_wrong_command_from_another_terminal_is_a_400(sandbox):
    """The sentence is the answer, whatever bytes were sent."""
    status, _, text = speak(sandbox, "POST", "/sandbox", b"\xff\x00dance")
    assert status == 400
    assert "is not a command; expected online" in text


# Starting and stopping


def test_a_stop_frees_the_port_and_a_start_takes_it_again():
    """Stopped, it refuses connections; started again, it is at the same address and knows what it knew."""
    sandbox = Sandbox()
    with sandbox:
        url = sandbox.url
        sandbox.add_session("FINISH-10K", TOKEN)
    with pytest.raises(ConnectionRefusedError):
        read(sandbox)
    with sandbox:
        assert sandbox.url == url
        assert read(sandbox)[0] == 200
    sandbox.stop()


def test_a_stop_drops_the_answers_that_are_due():
    """Stopping waits for no slow answer."""

    def stop():
        with Sandbox() as sandbox:
            sandbox.tell("slow 600")
            connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=60)
            connection.request("GET", "/v0/sessions/any")
            until_called(sandbox)
            before = time.monotonic()
        took = time.monotonic() - before
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()
        return took

    within(1, stop)


def test_a_client_that_hangs_up_makes_no_noise(capfd):
    """Nothing is printed, neither for a request nor for a client that is gone before its answer."""
    with Sandbox() as sandbox:
        sandbox.tell("slow 0.05")
        for sent in (b"", b"GET /v0/sess", f"GET /v0/sessions/{TOKEN} HTTP/1.1\r\n\r\n".encode()):
            with socket.create_connection(("127.0.0.1", urlsplit(sandbox.url).port)) as connection:
                # A reset instead of an orderly end: the harshest way to go.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.sendall(sent)
        read(sandbox)
    assert capfd.readouterr() == ("", "")


def test_it_speaks_tls(client, tmp_path, capfd):
    """With a context it serves https, and a client that distrusts the certificate makes no noise."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Sandbox(tls=context) as sandbox:
        sandbox.add_session("FINISH-10K", TOKEN)
        assert sandbox.url.startswith("https://127.0.0.1:")
        with pytest.raises(requests.exceptions.SSLError):
            client.get(f"{sandbox.url}/sessions/{TOKEN}", timeout=60)
        with socket.create_connection(("127.0.0.1", urlsplit(sandbox.url).port)):  # says nothing, and delays nobody
            answer = client.get(
                f"{sandbox.url}/sessions/{TOKEN}",
                headers={"api_key": sandbox.keys["READ"]},
                verify=str(tmp_path / "ca.pem"),
                timeout=60,
            )
        assert answer.json()["result"][0]["alias"] == "FINISH-10K"
    assert capfd.readouterr() == ("", "")


# As `rufusd sandbox`


def command(port=0, **how):
    code = f"from rufusd.training.sandbox import serve; raise SystemExit(serve({port}))"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], encoding="utf-8", **{**pipes, **how})


def test_a_person_types_commands_until_quit():
    """It greets with a configuration to paste, answers each line, and ends with status 0 at `quit`."""
    with command() as process:
        out, err = process.communicate("offline\n\ndance\nshow\nquit\nonline\n", timeout=60)
    assert (process.returncode, err) == (0, "")
    assert re.search(r'\[api\]\nurl = "http://127\.0\.0\.1:\d+/v0"\nkey = "ror-[0-9a-f]{20}"\n', out)
    assert re.search(r'\[session\]\ntoken = "[0-9A-F]{64}"\nname = "SANDBOX-10K"\n', out)
    assert "\n[button]\npin = 17\n\n[led]\npin = 22\n" in out
    said = out[out.index("From now on: offline") :].splitlines()
    assert said[1].startswith("'dance' is not a command; expected online,")
    assert said[2] == "offline, old form"
    assert said[3].startswith("SANDBOX-10K")
    assert len(said) == 4


def test_help_tells_a_person_how_to_end_it():
    """Of the commands, `quit` alone is not for whoever calls from elsewhere."""
    with command() as process:
        out, _err = process.communicate("help\nquit\n", timeout=60)
    assert re.search(r"^quit +end this$", out, re.M)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_on_after_the_input_until_a_signal(client, number):
    """Without a terminal, as under a script, it serves until it is told to end, and ends with status 0."""
    with command() as process:
        url = process.stdout.readline().split()[-1]
        process.stdin.close()
        assert client.get(f"{url.removesuffix('/v0')}/sandbox", timeout=60).text.startswith("online, old form")
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_a_signal_ends_it_while_it_waits_for_a_command():
    """Control-C at the prompt shows no traceback."""
    with command() as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_a_port_in_use_is_a_sentence(sandbox):
    """It ends with status 1 and says what is wrong and what to do."""
    port = urlsplit(sandbox.url).port
    with command(port) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(rf"rufusd sandbox: cannot listen on port {port} \(.*in use\); .*--port\n", err)


def test_it_serves_on_when_nobody_reads_its_output(client):
    """A closed pipe, as after `| head -1`, ends nothing and shows nothing."""
    with command() as process:
        url = process.stdout.readline().split()[-1]
        process.stdout.close()
        process.stdin.write("show\nshow\n")
        process.stdin.close()
        assert client.get(f"{url.removesuffix('/v0')}/sandbox", timeout=60).status_code == 200
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
