"""Stops hammering what is down: how often each endpoint failed in a row, and who may try it next (DESIGN §4.8).

    closed --- so many failures in a row --> open --- cooldown --> half-open: one attempt is let through
      ^                                        ^                      |                 |
      |                                        '------ it fails ------'                 |
      '---------------------------------- it succeeds ----------------------------------'

One `Breakers` serves all attempts of an engine's process, whatever run they belong to. It knows no network: attempts ask before they
go to an endpoint, and tell how that went.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from drystone.errors import FailureClass, HeldBackError
from drystone.ports import Clock

COUNTED = frozenset({FailureClass.UNREACHABLE, FailureClass.TIMEOUT, FailureClass.RATE_LIMITED})
"""What says that an endpoint is down, or has too much to do."""
ANSWERED = frozenset({FailureClass.REFUSED, FailureClass.CONFLICT, FailureClass.FAILED})
"""What only an endpoint says that is there."""

SPREAD = 0.1
"""Share of the cooldown over which those that were held back come again, so that they do not all meet the one that is let through."""


@dataclass(slots=True)
class _Circuit:
    """What is known of an endpoint that failed. Moments are the clock's monotonic seconds.

    until:      open before this moment, half-open after it.
    not_before: what the endpoint itself asked for, in Retry-After and the like.
    trial:      whoever was let through while half-open, and has not said yet how it went.
    """

    failures: int = 0
    reason: str = ""
    is_closed: bool = True
    until: float = 0.0
    not_before: float = 0.0
    trial: object = None
    trial_since: float = 0.0


class Breakers:
    """The circuits of all endpoints. Safe to use from many threads."""

    def __init__(self, *, clock: Clock, jitter: Callable[[], float], failures: int, cooldown: timedelta) -> None:
        """Opens a circuit after so many `failures` in a row, for `cooldown`. `jitter` gives a number from 0.0 up to 1.0."""
        self._clock = clock
        self._jitter = jitter
        self._failures = failures
        self._cooldown = cooldown.total_seconds()
        self._lock = threading.Lock()
        self._circuits: dict[str, _Circuit] = {}

    def enter(self, endpoint: str, by: object) -> None:
        """Asks whether `by` may go to the endpoint. Raises HeldBackError when it may not yet.

        Whoever may has to say how it went: `succeeded`, `failed` or `left`.
        """
        with self._lock:
            circuit = self._circuits.get(endpoint)
            if circuit is None or circuit.is_closed or circuit.trial is by:
                return
            now = self._clock.monotonic()
            wait = self._wait(circuit, now)
            if wait is None:
                circuit.trial, circuit.trial_since = by, now
                return
            wait += self._jitter() * SPREAD * self._cooldown
            raise HeldBackError(_told(endpoint, circuit), retry_in=timedelta(seconds=wait))

    def _wait(self, circuit: _Circuit, now: float) -> float | None:
        """Seconds until it is worth asking again; None when the asker is let through."""
        if now < circuit.until:
            return circuit.until - now
        under_way = now - circuit.trial_since
        # A trial may take long, or never end: then the next one is let through, one for each cooldown.
        if circuit.trial is None or under_way >= self._cooldown:
            return None
        # Ever longer, so that those who wait for a slow trial do not ask and ask.
        return min(max(under_way, SPREAD * self._cooldown), self._cooldown)

    def succeeded(self, endpoint: str) -> None:
        """The endpoint answered: the circuit is closed."""
        with self._lock:
            self._circuits.pop(endpoint, None)

    def failed(
        self, endpoint: str, by: object, failure_class: FailureClass, reason: str, retry_in: timedelta | None = None
    ) -> None:
        """The endpoint did not answer, in one of the ways of `COUNTED`. `retry_in` is kept when it limited the rate."""
        with self._lock:
            circuit = self._circuits.setdefault(endpoint, _Circuit())
            now = self._clock.monotonic()
            circuit.failures += 1
            circuit.reason = reason
            if failure_class is FailureClass.RATE_LIMITED and retry_in is not None:
                circuit.not_before = max(circuit.not_before, now + retry_in.total_seconds())
            if self._opens(circuit, by):
                circuit.is_closed, circuit.trial = False, None
                circuit.until = now + self._cooldown
            circuit.until = max(circuit.until, circuit.not_before)

    def _opens(self, circuit: _Circuit, by: object) -> bool:
        # While it is open, those fail that set out before it opened: they say nothing new.
        return circuit.failures >= self._failures if circuit.is_closed else circuit.trial is by

    def left(self, endpoint: str, by: object) -> None:
        """It is not known how it went: the attempt was cancelled, or never came that far. The next one may try."""
        with self._lock:
            circuit = self._circuits.get(endpoint)
            if circuit is not None and circuit.trial is by:
                circuit.trial = None


def _told(endpoint: str, circuit: _Circuit) -> str:
    times = f"{circuit.failures} times in a row" if circuit.failures > 1 else "once"
    return f"held back: {endpoint} failed {times}, last: {circuit.reason}"
