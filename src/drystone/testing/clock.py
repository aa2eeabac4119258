"""A clock for tests of engines: it stands still until it is told to go on, and jumps over the waits in which nothing is in flight.

    clock = SimulatedClock()
    engine = EmbeddedEngine(..., clock=clock, observers=[clock.watch])

Without `watch` only `advance` moves it. An attempt that is in flight is never jumped over: the fake kind moves the clock by the time
that its attempts take, so that timeouts come true. Attempts at the same time move it one after the other, so that what they take adds up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from drystone.core.events import Event
from drystone.core.run import Run
from drystone.testing.simulation import START


class SimulatedClock:
    """`ports.Clock`. May be used by several threads at once."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._now = start
        self._guard = threading.Lock()
        self._runs: dict[str, Run] = {}

    def now(self) -> datetime:
        """The present moment, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return (self._now - self._start).total_seconds()

    def advance(self, duration: timedelta) -> None:
        """Lets time go on."""
        with self._guard:
            self._now += duration

    def watch(self, run: Run, events: Sequence[Event]) -> None:
        """An observer for an engine: jumps to the next moment that a run waits for, once no attempt of any run is in flight."""
        with self._guard:
            self._runs[run.id] = run
            open_ = [each for each in self._runs.values() if not each.status.is_final]
            moments = [moment for each in open_ for moment in _moments(each)]
            if moments and not any(each.running for each in open_):
                self._now = max(self._now, min(moments))

    def forget(self) -> None:
        """The engine that it watched is gone."""
        with self._guard:
            self._runs.clear()


def _moments(run: Run) -> Iterable[datetime]:
    """When something happens by itself."""
    yield from run.forward.retrying.values()
    yield from (until for until in run.forward.waiting.values() if until is not None)
    if run.back is not None:
        yield from run.back.retrying.values()
