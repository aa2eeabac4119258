"""When an endpoint that is down is left alone, and who tries it next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from drystone.engines.breaker import Breakers
from drystone.errors import FailureClass, HeldBackError
from drystone.testing.clock import SimulatedClock

Make = Callable[..., Breakers]
WEB = "ssh://web-1:22"
DOWN, LIMITED = FailureClass.UNREACHABLE, FailureClass.RATE_LIMITED


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def make(clock: SimulatedClock) -> Make:
    """Breakers that open after 3 failures for 30 seconds."""

    def make(*, jitter: float = 0.0, cooldown: float = 30.0) -> Breakers:
        return Breakers(clock=clock, jitter=lambda: jitter, failures=3, cooldown=timedelta(seconds=cooldown))

    return make


def fail(breakers: Breakers, times: int, by: object = "any") -> None:
    for _ in range(times):
        breakers.failed(WEB, by, DOWN, "connection refused")


def held(breakers: Breakers, by: object = "any") -> HeldBackError:
    with pytest.raises(HeldBackError) as caught:
        breakers.enter(WEB, by)
    return caught.value


def seconds(error: HeldBackError) -> float:
    assert error.retry_in is not None
    return error.retry_in.total_seconds()


def test_everybody_is_let_through_before_it_failed_so_often(make: Make) -> None:
    breakers = make()
    fail(breakers, 2)
    for name in "abc":
        breakers.enter(WEB, name)


def test_so_many_failures_in_a_row_hold_the_next_one_back_until_the_cooldown_is_over(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=10))
    error = held(breakers)
    assert error.message == "held back: ssh://web-1:22 failed 3 times in a row, last: connection refused"
    assert (error.failure_class, seconds(error), error.changed) == (DOWN, 20, False)


def test_an_answer_in_between_starts_the_count_anew(make: Make) -> None:
    breakers = make()
    fail(breakers, 2)
    breakers.succeeded(WEB)
    fail(breakers, 2)
    breakers.enter(WEB, "next")


def test_other_endpoints_are_not_held_back(make: Make) -> None:
    breakers = make()
    fail(breakers, 3)
    breakers.enter("ssh://web-2:22", "next")


def test_one_is_let_through_after_the_cooldown_and_the_others_wait_for_what_becomes_of_it(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    breakers.enter(WEB, "first")
    held(breakers, "second")
    breakers.succeeded(WEB)
    breakers.enter(WEB, "second")
    breakers.enter(WEB, "third")


def test_when_that_one_fails_it_is_open_for_another_cooldown(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    breakers.enter(WEB, "first")
    fail(breakers, 1, "first")
    error = held(breakers)
    assert seconds(error) == 30
    assert "failed 4 times in a row" in error.message


def test_one_that_is_let_through_may_go_there_more_than_once(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    breakers.enter(WEB, "first")
    breakers.enter(WEB, "first")


def test_when_that_one_says_nothing_the_next_one_is_let_through(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    breakers.enter(WEB, "first")
    breakers.left(WEB, "first")
    breakers.enter(WEB, "second")


def test_one_that_never_comes_to_an_end_does_not_hold_the_others_back_for_ever(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    breakers.enter(WEB, "stuck")
    clock.advance(timedelta(seconds=29))
    held(breakers, "second")
    clock.advance(timedelta(seconds=1))
    breakers.enter(WEB, "second")
    held(breakers, "third")


def test_those_that_set_out_before_it_opened_do_not_make_it_last_longer(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=29))
    fail(breakers, 5)
    assert seconds(held(breakers)) == 1


def test_an_answer_to_one_that_set_out_before_it_opened_closes_it(make: Make) -> None:
    breakers = make()
    fail(breakers, 3)
    breakers.succeeded(WEB)
    breakers.enter(WEB, "next")


def test_what_the_endpoint_asked_for_is_the_least_cooldown(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    breakers.failed(WEB, "a", LIMITED, "answered 429", timedelta(minutes=5))
    clock.advance(timedelta(seconds=60))
    fail(breakers, 2)
    assert seconds(held(breakers)) == 240


def test_a_wait_that_the_endpoint_asked_for_and_that_is_shorter_changes_nothing(make: Make) -> None:
    breakers = make()
    for _ in range(3):
        breakers.failed(WEB, "a", LIMITED, "answered 429", timedelta(seconds=5))
    assert seconds(held(breakers)) == 30


def test_what_a_kind_says_about_its_own_retry_is_not_the_endpoints_wish(make: Make) -> None:
    breakers = make()
    for _ in range(3):
        breakers.failed(WEB, "a", DOWN, "no route", timedelta(minutes=5))
    assert seconds(held(breakers)) == 30


def test_those_that_are_held_back_come_again_a_little_apart(make: Make) -> None:
    breakers = make(jitter=0.5)
    fail(breakers, 3)
    assert seconds(held(breakers)) == 31.5


def test_those_that_wait_for_a_slow_trial_ask_ever_less_often(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    breakers.enter(WEB, "slow")
    waits = []
    for passed in (0, 3, 3, 6):
        clock.advance(timedelta(seconds=passed))
        waits.append(seconds(held(breakers)))
    assert waits == [3, 3, 6, 12]


def test_without_a_cooldown_nobody_is_held_back(make: Make) -> None:
    breakers = make(cooldown=0)
    fail(breakers, 9)
    breakers.enter(WEB, "first")
    breakers.enter(WEB, "second")


def test_of_many_threads_one_is_let_through(make: Make, clock: SimulatedClock) -> None:
    breakers = make()
    fail(breakers, 3)
    clock.advance(timedelta(seconds=30))
    gate = threading.Barrier(32)
    through: list[int] = []

    def ask(name: int) -> None:
        gate.wait()
        try:
            breakers.enter(WEB, name)
        except HeldBackError:
            return
        through.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(through) == 1


def test_no_failure_of_many_threads_is_lost(make: Make) -> None:
    breakers = make()
    threads = [threading.Thread(target=fail, args=(breakers, 100)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "failed 1600 times in a row" in held(breakers).message
