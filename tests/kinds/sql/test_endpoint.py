"""When a database that is down is left alone."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest

from drystone.engines.breaker import Breakers
from drystone.errors import AttemptError, HeldBackError
from drystone.kinds.sql import Sql

sql = Sql()


@pytest.fixture
def breakers(real_clock) -> Breakers:
    """They open after two failures."""
    return Breakers(clock=real_clock, jitter=lambda: 0.0, failures=2, cooldown=timedelta(minutes=5))


def ask(attempt, url, *statements):
    try:
        sql.run(attempt.ctx, Sql.Config.model_validate({"url": url, "statements": statements or ("SELECT 1",)}))
    except AttemptError as error:
        return error
    return None


def test_a_server_that_is_down_is_left_alone(new_attempt, canary):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        url = f"postgresql://owner:{canary}@127.0.0.1:{port}/shop?application_name=x"
        for _ in range(2):
            assert ask(new_attempt(), url).failure_class == "unreachable"
        taken.listen()
        error = ask(new_attempt(), url)
    assert isinstance(error, HeldBackError)
    assert error.message.startswith(f"held back: sql://127.0.0.1:{port}/shop failed 2 times in a row, last: ")
    assert canary not in error.message


def test_a_server_that_lets_nobody_in_is_there(new_attempt, postgres, canary):
    url = f"postgresql://owner:{canary}@127.0.0.1:{postgres.port}/postgres"
    for _ in range(3):
        assert ask(new_attempt(), url).failure_class == "refused"
    assert ask(new_attempt(), postgres.url) is None


def test_a_statement_that_breaks_the_connection_is_not_the_servers_failure(new_attempt, postgres):
    for _ in range(3):
        assert ask(new_attempt(), postgres.url, "SELECT pg_terminate_backend(pg_backend_pid())").failure_class == "unreachable"
    assert ask(new_attempt(), postgres.url) is None


def test_a_file_is_never_left_alone(new_attempt, shop):
    for _ in range(3):
        assert not isinstance(ask(new_attempt(), "sqlite:////nowhere/at/all.db"), HeldBackError)
    assert ask(new_attempt(), "sqlite:///shop.db") is None
