"""Time that is set back or forward while runs are driven."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from drystone.engines.embedded.timers import SteadyTime

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Hands:
    """A clock whose hands a test moves."""

    wall: datetime = START
    passed: float = 0.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.passed


def test_a_clock_that_is_set_back_does_not_stretch_a_wait() -> None:
    hands = Hands()
    time = SteadyTime(hands)
    hands.wall, hands.passed = START - timedelta(hours=1), 2.0
    assert time.now() == START + timedelta(seconds=2)
    hands.passed = 5.0
    assert time.now() == START + timedelta(seconds=5)


def test_a_clock_that_is_set_forward_is_followed() -> None:
    hands = Hands()
    time = SteadyTime(hands)
    hands.wall, hands.passed = START + timedelta(hours=1), 1.0
    assert time.now() == START + timedelta(hours=1)
