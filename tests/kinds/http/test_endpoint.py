"""Which answers of a server, or their lack, make the requests of all tasks to it wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest

from drystone.engines.breaker import Breakers
from drystone.errors import AttemptError, FailureClass, HeldBackError, TemporaryError
from drystone.kinds.http import Http

http = Http()


@pytest.fixture
def breakers(real_clock) -> Breakers:
    """They open after two failures."""
    return Breakers(clock=real_clock, jitter=lambda: 0.0, failures=2, cooldown=timedelta(minutes=5))


@pytest.fixture
def dead() -> Iterator[str]:
    """The URL of a port that nobody listens on, and nobody else is given."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def ask(attempt, url, **config):
    try:
        http.run(attempt.ctx, Http.Config.model_validate({"url": url, **config}))
    except AttemptError as error:
        return error
    return None


def test_a_server_that_is_down_is_left_alone(new_attempt, dead):
    for _ in range(2):
        assert ask(new_attempt(), f"{dead}/a").failure_class == "unreachable"
    error = ask(new_attempt(), f"{dead}/b?x=1", method="POST")
    assert isinstance(error, HeldBackError)
    assert error.message.startswith(f"held back: {dead} failed 2 times in a row, last: GET {dead}/a: cannot be reached")


def test_a_server_that_limits_the_rate_is_asked_again_when_it_says(new_attempt, server):
    server.on("GET", "/a", (429, "", {"retry-after": "3600"}))
    for _ in range(3):
        error = ask(new_attempt(), f"{server.url}/a")
    assert isinstance(error, HeldBackError)
    assert error.retry_in > timedelta(minutes=59)
    assert len(server.requests) == 2


def test_a_server_that_does_not_answer_in_the_attempts_time_is_left_alone(new_attempt, server):
    server.hang("GET", "/a")
    for _ in range(2):
        error = ask(new_attempt(timeout=timedelta(milliseconds=300)), f"{server.url}/a")
        assert isinstance(error, TemporaryError) and not isinstance(error, HeldBackError)
    assert isinstance(ask(new_attempt(), f"{server.url}/b"), HeldBackError)


@pytest.mark.parametrize("status", [500, 404, 409, 401, 422])
def test_a_server_that_says_no_is_there(new_attempt, server, status):
    server.on("GET", "/slow", 408)
    server.on("GET", "/a", status)
    ask(new_attempt(), f"{server.url}/slow")
    for _ in range(3):
        assert not isinstance(ask(new_attempt(), f"{server.url}/a"), HeldBackError)
    ask(new_attempt(), f"{server.url}/slow")
    ask(new_attempt(), f"{server.url}/a")
    assert len(server.requests) == 6


def test_an_address_without_a_port_is_that_with_the_usual_one(new_attempt, breakers):
    for name in ("http://a.invalid:80", "https://b.invalid:443"):
        for _ in range(2):
            breakers.failed(name, "another", FailureClass.UNREACHABLE, "no route")
    assert isinstance(ask(new_attempt(), "http://A.invalid/x"), HeldBackError)
    assert isinstance(ask(new_attempt(), "https://b.invalid"), HeldBackError)


def test_a_url_that_cannot_be_used_is_told_as_before(new_attempt):
    assert ask(new_attempt(), "http://[::bad").failure_class == "invalid"
