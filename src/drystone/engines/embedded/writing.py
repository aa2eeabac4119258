"""Writes down what happens to the runs in an engine's hands, and keeps them in those hands: batches of events, leases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from drystone.core.events import Event, EventType
from drystone.core.run import Run
from drystone.engines.embedded.driven import Driven
from drystone.engines.embedded.projections import row_of, summary_of
from drystone.errors import LockedError
from drystone.ports import Batch, Clock, Journal, Lease

Observer = Callable[[Run, Sequence[Event]], None]
"""Told of every batch of durable events, with the run as it is after them; called in the loop, so it must be quick."""


class Writer:
    """For one engine.

    lease:     how long a run stays with a process that does not renew.
    driven:    the runs in hand, by id; the engine adds to it and takes from it.
    observers: told of what was written, once it is durable.
    """

    def __init__(
        self, journal: Journal, clock: Clock, lease: timedelta, driven: Mapping[str, Driven], observers: Sequence[Observer]
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._lease = lease
        self._driven = driven
        self._observers = observers
        self._renew_at = 0.0

    def commit(self) -> None:
        """Writes what is pending of all runs in one transaction. Raises LockedError when a run is another's: then nothing is written."""
        written = [driven for driven in self._driven.values() if driven.pending or driven.answered]
        if not written:
            return
        self._journal.append([_batch(driven) for driven in written])
        for driven in written:
            events, driven.pending, driven.answered = driven.pending, [], []
            for observer in self._observers:
                observer(driven.run, events)

    def add(self, lease: Lease, events: Sequence[Event]) -> None:
        """Writes events of a run that is not driven here."""
        self._journal.append([Batch(run=lease.run, epoch=lease.epoch, events=events)])

    def renew(self) -> None:
        """Renews all leases when a third of their time is over. Raises LockedError when one was lost."""
        if self._clock.monotonic() < self._renew_at:
            return
        self._renew_at = self._clock.monotonic() + self._lease.total_seconds() / 3
        for driven in self._driven.values():
            self._journal.renew(driven.lease, self._clock.now() + self._lease)

    def lost(self) -> list[Driven]:
        """The runs that another process has taken meanwhile."""
        found = []
        for driven in self._driven.values():
            try:
                self._journal.renew(driven.lease, self._clock.now() + self._lease)
            except LockedError:
                found.append(driven)
        return found


def _batch(driven: Driven) -> Batch:
    run, events = driven.run, driven.pending
    touched = {event.task for event in events if event.task is not None and event.type is not EventType.TASK_PROGRESS}
    rows = [row_of(run, run.instances[id_]) for id_ in sorted(touched) if id_ in run.instances]
    summary = summary_of(run, run.graph.plan.name, driven.lease.owner)
    return Batch(run=run.id, epoch=driven.lease.epoch, events=events, summary=summary, tasks=rows, answered=tuple(driven.answered))
