"""When hosts that are down are left alone, and what becomes of a task that goes to several."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drystone.engines.breaker import Breakers
from drystone.errors import AttemptError, FailureClass, HeldBackError
from drystone.kinds.ssh import Ssh
from drystone.testing.clock import SimulatedClock

ssh = Ssh()


@pytest.fixture
def breakers(real_clock) -> Breakers:
    """They open after two failures."""
    return Breakers(clock=real_clock, jitter=lambda: 0.0, failures=2, cooldown=timedelta(minutes=5))


@pytest.fixture
def attempt(new_attempt, tmp_path):
    """Makes attempts; nothing of the user's own ssh folder is seen."""
    return lambda: new_attempt(env={"HOME": str(tmp_path / "home")})


def run(attempt, *hosts, **config):
    try:
        ssh.run(attempt.ctx, Ssh.Config.model_validate({"hosts": hosts, "run": "true", **config}))
    except AttemptError as error:
        return error
    return None


def test_a_host_that_is_down_is_left_alone_whatever_it_is_called(attempt, sshd):
    sshd.stop()
    for name in ("web1", "web2"):
        assert run(attempt(), sshd.host(name)).failure_class == "unreachable"
    sshd.start()
    error = run(attempt(), sshd.host("web3"))
    assert isinstance(error, HeldBackError)
    assert error.message == (
        f"held back: ssh://{sshd.address}:{sshd.port} failed 2 times in a row, "
        f"last: web2: {sshd.address} port {sshd.port}: connection refused"
    )


def test_all_tries_of_a_wait_are_one(attempt, sshd):
    sshd.stop()
    assert "not ready" in run(attempt(), sshd.host(), wait="1200ms").message
    sshd.start()
    assert run(attempt(), sshd.host()) is None


def test_a_host_that_lets_nobody_in_is_there(attempt, new_sshd):
    real, other = new_sshd(), new_sshd()
    for _ in range(3):
        assert run(attempt(), real.host(key_file=str(other.key_file))).failure_class == "refused"
    assert run(attempt(), real.host()) is None


def test_a_command_that_fails_is_not_the_hosts_failure(attempt, sshd):
    for _ in range(3):
        assert run(attempt(), sshd.host(), run="exit 3").failure_class == "failed"


def test_nothing_is_done_on_any_host_when_one_is_left_alone(attempt, new_sshd, tmp_path):
    up, down = new_sshd(), new_sshd()
    down.stop()
    command = f"echo x >> {tmp_path}/ran"
    for _ in range(2):
        assert run(attempt(), up.host("up"), down.host("down"), run=command).changed
    assert isinstance(run(attempt(), up.host("up"), down.host("down"), run=command), HeldBackError)
    assert (tmp_path / "ran").read_text() == "x\n" * 2


def test_a_host_that_was_not_reached_as_another_was_left_alone_may_be_tried_by_the_next(attempt, new_sshd):
    up, down = new_sshd(), new_sshd()
    clock = SimulatedClock()
    breakers = Breakers(clock=clock, jitter=lambda: 0.0, failures=1, cooldown=timedelta(hours=1))
    first, second = attempt(), attempt()
    first.ctx.breakers = second.ctx.breakers = breakers
    breakers.failed(f"ssh://{up.address}:{up.port}", "another", FailureClass.UNREACHABLE, "no route")
    breakers.failed(f"ssh://{down.address}:{down.port}", "another", FailureClass.RATE_LIMITED, "busy", timedelta(hours=9))
    clock.advance(timedelta(hours=1))
    assert isinstance(run(first, up.host("up"), down.host("down")), HeldBackError)
    assert run(second, up.host("up")) is None
