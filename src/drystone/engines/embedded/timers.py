"""The time that waits are measured by: it follows the machine's clock forwards, and does not follow it back.

A clock that is set back by an hour must not make a retry of two seconds wait for an hour, nor give a run an hour more than its deadline.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from drystone.ports import Clock


class SteadyTime:
    """For one thread: each answer is as much later than the one before as time has really passed, or more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.now()
        self._at = clock.monotonic()

    def now(self) -> datetime:
        """The present moment, UTC; never before an earlier answer."""
        at = self._clock.monotonic()
        self._last = max(self._clock.now(), self._last + timedelta(seconds=at - self._at))
        self._at = at
        return self._last
