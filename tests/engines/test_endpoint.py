"""What an attempt tells the circuit breaker of an endpoint, and when it was held back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.adapters.clock import SystemClock
from drystone.adapters.process import SupervisedProcess
from drystone.adapters.redact import Redactor
from drystone.adapters.secrets import ProjectSecrets
from drystone.engines.breaker import Breakers
from drystone.engines.context import AttemptContext, Control
from drystone.engines.ended import ended_badly
from drystone.engines.vault import Vault
from drystone.errors import AttemptError, CancelledError, FailureClass, HeldBackError, PermanentError, TemporaryError
from drystone.settings import SecretSettings

WEB = "http://web:80"
DOWN = TemporaryError("unreachable", "connection refused\nand more")
Make = Callable[..., AttemptContext]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes attempts that share breakers, which open after two failures."""
    breakers = Breakers(clock=SystemClock(), jitter=lambda: 0.0, failures=2, cooldown=timedelta(hours=1))

    def make(timeout: timedelta = timedelta(minutes=1)) -> AttemptContext:
        return AttemptContext(
            run_id="R", plan="p", task="t", attempt=1, token="R.t", environment="", project=tmp_path, folder=lambda: tmp_path,
            state_folder=lambda: tmp_path / "state", artifacts_folder=lambda: tmp_path / "artifacts", environ=dict(os.environ),
            control=Control(SystemClock(), timeout),
            vault=Vault(ProjectSecrets(SecretSettings(), home=tmp_path, root=tmp_path, environ={}), Redactor()), runner=SupervisedProcess(),
            on_progress=lambda message, data: None, breakers=breakers,
        )  # fmt: skip

    return make


def go(ctx: AttemptContext, error: BaseException | None = None, name: str = WEB) -> None:
    """To the endpoint, where that happens."""
    try:
        with ctx.endpoint(name):
            if error is not None:
                raise error
    except BaseException as raised:
        if raised is not error:
            raise


def is_open(make: Make) -> bool:
    try:
        go(make())
    except HeldBackError:
        return True
    return False


@pytest.mark.parametrize("name", ["unreachable", "timeout", "rate_limited"])
def test_failures_of_one_who_is_not_there_are_counted(make: Make, name: str) -> None:
    for _ in range(2):
        go(make(), TemporaryError(name, "no"))
    assert is_open(make)


@pytest.mark.parametrize("error", [TemporaryError("failed", "no"), TemporaryError("conflict", "no"), PermanentError("refused", "no")])
def test_who_says_no_has_answered(make: Make, error: AttemptError) -> None:
    go(make(), DOWN)
    go(make(), error)
    go(make(), DOWN)
    assert not is_open(make)


@pytest.mark.parametrize("error", [PermanentError("invalid", "no"), CancelledError(), TemporaryError("crashed", "no"), OSError("no")])
def test_what_may_not_be_the_endpoints_doing_says_nothing_about_it(make: Make, error: BaseException) -> None:
    go(make(), DOWN)
    go(make(), error)
    go(make(), DOWN)
    assert is_open(make)


def test_an_attempt_that_is_cancelled_by_a_library_s_own_means_when_its_time_is_up_counts_as_timeout(make: Make) -> None:
    for _ in range(2):
        go(make(timeout=timedelta()), asyncio.CancelledError())
    assert is_open(make)


def test_one_that_is_cancelled_by_a_person_does_not_count(make: Make) -> None:
    for _ in range(2):
        ctx = make()
        ctx.control.cancel("a person")
        go(ctx, asyncio.CancelledError())
    assert not is_open(make)


def test_what_others_read_of_a_failure_is_one_line_without_this_runs_secrets(make: Make) -> None:
    for _ in range(2):
        ctx = make()
        ctx.redact("refused")
        go(ctx, DOWN)
    with pytest.raises(HeldBackError, match=r"^held back: http://web:80 failed 2 times in a row, last: connection \*\*\*$"):
        go(make())


def test_polls_and_remedies_are_not_held_back_and_do_not_count_but_their_success_does(make: Make) -> None:
    poll = make()
    poll.is_unhindered = True
    for _ in range(9):
        go(poll, DOWN)
    assert not is_open(make)
    for _ in range(2):
        go(make(), DOWN)
    go(poll, DOWN)
    assert is_open(make)
    go(poll)
    assert not is_open(make)


def test_an_attempt_that_got_no_further_was_held_back(make: Make) -> None:
    for _ in range(2):
        go(make(), DOWN)
    ctx = make()
    with pytest.raises(HeldBackError) as caught:
        go(ctx)
    ended = ended_badly(caught.value, ctx)
    assert (ended.held, ended.changed, ended.has_log) == (True, False, False)
    assert ended.retry_in is not None and ended.failure is not None
    assert ended.failure.failure_class is FailureClass.UNREACHABLE


def test_one_that_tried_by_itself_until_it_was_held_back_is_an_attempt(make: Make) -> None:
    ctx = make()
    for _ in range(2):
        go(ctx, DOWN)
    with pytest.raises(HeldBackError) as caught:
        go(ctx)
    ended = ended_badly(caught.value, ctx)
    assert not ended.held
    assert ended.retry_in == caught.value.retry_in


def test_one_that_is_held_back_at_the_second_of_two_endpoints_that_it_enters_at_once_was_held_back(make: Make) -> None:
    for _ in range(2):
        go(make(), DOWN, "http://second:80")
    ctx = make()
    with pytest.raises(HeldBackError) as caught, ctx.endpoint("http://first:80"), ctx.endpoint("http://second:80"):
        raise AssertionError("not let in")
    assert ended_badly(caught.value, ctx).held
