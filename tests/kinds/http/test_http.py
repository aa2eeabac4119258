import base64
import json
import socket
from datetime import timedelta

import pytest
from pydantic import ValidationError

from drystone.errors import CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.http import Http
from drystone.kinds.http.answers import retry_after

http = Http()


def run(attempt, **config):
    return http.run(attempt.ctx, Http.Config.model_validate(config))


def failure(attempt, **config):
    with pytest.raises((TemporaryError, PermanentError)) as caught:
        run(attempt, **config)
    return caught.value


def test_json_is_parsed_and_text_is_not(attempt, server):
    server.on("GET", "/a", (200, {"up": True}))
    server.on("GET", "/b", (200, '{"up": true}', {"content-type": "text/plain"}))
    outcome = run(attempt, url=f"{server.url}/a")
    assert outcome.outputs["status"] == 200
    assert outcome.outputs["body"] == {"up": True}
    assert outcome.outputs["headers"]["content-type"] == "application/json"
    assert not outcome.changed
    assert run(attempt, url=f"{server.url}/b").outputs["body"] == '{"up": true}'


def test_a_change_carries_the_same_key_in_every_attempt(new_attempt, server):
    server.on("POST", "/a", 201)
    for _ in range(2):
        assert run(new_attempt(), url=f"{server.url}/a", json={"n": 1}).changed
    first, second = server.requests
    assert first["headers"]["idempotency-key"] == second["headers"]["idempotency-key"] == "01JRUN.task"
    assert json.loads(first["body"]) == {"n": 1}


def test_a_question_carries_no_key(attempt, server):
    server.on("GET", "/a", 200)
    run(attempt, url=f"{server.url}/a")
    assert "idempotency-key" not in server.requests[0]["headers"]


def test_null_is_a_json_body_too(attempt, server):
    server.on("POST", "/a", 200)
    run(attempt, url=f"{server.url}/a", json=None)
    assert server.requests[0]["body"] == b"null"


def test_forms_raw_bodies_and_queries_are_sent(attempt, server):
    server.on("POST", "/a", 200)
    run(attempt, url=f"{server.url}/a", data={"n": 1}, params={"q": "x y"})
    run(attempt, url=f"{server.url}/a", data="raw ü")
    form, raw = server.requests
    assert form["body"] == b"n=1"
    assert form["path"] == "/a?q=x+y"
    assert raw["body"] == "raw ü".encode()


def test_credentials_are_sent_and_not_logged(attempt, server, canary):
    server.on("GET", "/a", 200)
    run(attempt, url=f"{server.url}/a", auth={"bearer": canary})
    run(attempt, url=f"{server.url}/a", auth={"basic": {"user": "ops", "password": canary}})
    bearer, basic = (request["headers"]["authorization"] for request in server.requests)
    assert bearer == f"Bearer {canary}"
    assert basic == "Basic " + base64.b64encode(f"ops:{canary}".encode()).decode()
    assert canary not in attempt.log


@pytest.mark.parametrize(
    ("status", "failure_class", "permanent"),
    [
        (400, "invalid", True),
        (401, "refused", False),
        (403, "refused", False),
        (404, "failed", False),
        (408, "timeout", False),
        (409, "conflict", False),
        (422, "invalid", True),
        (429, "rate_limited", False),
        (500, "failed", False),
        (503, "failed", False),
    ],
)
def test_each_status_has_its_class(attempt, server, status, failure_class, permanent):
    server.on("GET", "/a", (status, "why"))
    error = failure(attempt, url=f"{server.url}/a")
    assert (error.failure_class, error.permanent) == (failure_class, permanent)
    assert error.message == f"GET {server.url}/a answered {status}"
    assert error.detail == "why"
    assert not error.changed


@pytest.mark.parametrize(
    ("status", "changed"), [(400, False), (401, False), (408, True), (409, False), (422, False), (429, False), (500, True), (503, True)]
)
def test_a_request_that_a_server_declines_has_changed_nothing(attempt, server, status, changed):
    server.on("POST", "/a", (status, "why"))
    assert failure(attempt, url=f"{server.url}/a", json={}).changed is changed


def test_the_wait_that_a_server_asks_for_is_passed_on(attempt, server):
    server.on("GET", "/a", (503, "", {"retry-after": "7"}))
    error = failure(attempt, url=f"{server.url}/a")
    assert error.failure_class is FailureClass.RATE_LIMITED
    assert error.retry_in == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0),
        ({"retry-after": "9999999999"}, 86_400),
    ],
)
def test_a_wait_is_read_from_seconds_or_from_two_dates(headers, wait):
    assert retry_after(headers) == (None if wait is None else timedelta(seconds=wait))


def test_other_statuses_can_be_a_success(attempt, server):
    server.on("GET", "/a", (404, "gone"))
    assert run(attempt, url=f"{server.url}/a", ok=["200-299", 404]).outputs["body"] == "gone"


def test_a_refused_connection_is_unreachable_and_changed_nothing(attempt):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = failure(attempt, url=f"http://127.0.0.1:{taken.getsockname()[1]}/", method="POST")
    assert error.failure_class is FailureClass.UNREACHABLE
    assert not error.permanent
    assert not error.changed


def test_a_server_that_does_not_answer_is_a_timeout(attempt, server):
    server.hang("POST", "/a")
    error = failure(attempt, url=f"{server.url}/a", method="POST", timeout="200ms")
    assert error.failure_class is FailureClass.TIMEOUT
    assert error.changed


def test_cancel_does_not_wait_for_the_server(attempt, server, in_background, eventually):
    server.hang("GET", "/a")
    work = in_background(lambda: run(attempt, url=f"{server.url}/a", timeout="1h"))
    eventually(lambda: len(server.requests) == 1)
    attempt.stop()
    work.join(10)
    assert isinstance(work.error, CancelledError)


def test_a_large_body_is_cut(attempt, server):
    server.on("GET", "/a", (200, "x" * (3 << 20)))
    outcome = run(attempt, url=f"{server.url}/a")
    assert len(outcome.outputs["body"]) == 1 << 19
    assert outcome.result["truncated"]


def test_cookies_are_no_outputs(attempt, server, canary):
    server.on("GET", "/a", (200, "", {"set-cookie": canary}))
    assert canary not in str(run(attempt, url=f"{server.url}/a").outputs)


def test_secrets_of_a_url_are_not_told(attempt, server, canary):
    server.on("GET", "/a", 500)
    error = failure(attempt, url=f"{server.url}/a?token={canary}")
    assert canary not in error.message + attempt.log


def test_a_sensitive_answer_is_sealed_and_left_out_of_errors(attempt, server, canary):
    server.on("GET", "/a", (200, canary), (500, canary))
    outcome = run(attempt, url=f"{server.url}/a", sensitive=True)
    assert outcome.sensitive == {"headers", "body"}
    assert failure(attempt, url=f"{server.url}/a", sensitive=True).detail == ""


def test_redirects_are_followed_unless_told_otherwise(attempt, server):
    server.on("GET", "/a", (302, "", {"location": "/b"}))
    server.on("GET", "/b", (200, "there"))
    assert run(attempt, url=f"{server.url}/a").outputs["body"] == "there"
    assert run(attempt, url=f"{server.url}/a", follow_redirects=False, ok=[302]).outputs["status"] == 302


def test_what_a_method_means_is_known_before_it_runs():
    assert not Http.changes_things({"url": "x"})
    assert Http.changes_things({"url": "x", "json": {}})
    assert Http.changes_things({"url": "x", "method": object()})
    assert Http.is_idempotent({"method": "put"})
    assert not Http.is_idempotent({"method": "POST"})
    assert Http.is_idempotent({"method": "POST", "idempotent": True})


@pytest.mark.parametrize(
    "config",
    [
        {"url": "ftp://host/"},
        {"url": "http://host/", "ok": ["200-x"]},
        {"url": "http://host/", "json": 1, "data": "x"},
        {"url": "http://host/", "auth": {}},
        {"url": "http://host/", "async": {"success": ["done"]}},
    ],
)
def test_a_config_that_cannot_work_is_refused(config):
    with pytest.raises(ValidationError):
        Http.Config.model_validate(config)


def test_questions_about_an_expression_are_answered_with_care():
    assert Http.changes_things(object())
    assert not Http.is_idempotent(object())


def test_params_come_behind_the_query_that_the_url_has(attempt, server):
    server.on("GET", "/a", (200, {}))
    run(attempt, url=f"{server.url}/a?q=1&q=2#part", params={"b": "x y&z"})
    assert server.requests[0]["path"] == "/a?q=1&q=2&b=x+y%26z"
