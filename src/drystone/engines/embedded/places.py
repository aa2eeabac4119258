"""What a run holds besides its own journal: its environment, and its place in the line of a concurrency key."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

from drystone.core.parts import lineage
from drystone.core.run import Run
from drystone.errors import LockedError
from drystone.ports import Journal, LockInfo, Place, RunRecord, owner_text


class Places:
    """Takes them and gives them back, for one owner.

    lease:   for how long a run is claimed whose lock is freed.
    in_hand: ids of the runs that this process drives.
    """

    def __init__(self, journal: Journal, owner: str, lease: timedelta, in_hand: Collection[str]) -> None:
        self._journal = journal
        self._owner = owner
        self._lease = lease
        self._in_hand = in_hand

    def lock_for(self, record: RunRecord, run: Run, now: datetime, reason: str) -> LockInfo | None:
        """The lock that it needs; None when it owns no environment, or a run of which it is a part holds it."""
        if run.environment is None or self._is_lent(record, run):
            return None
        return LockInfo(environment=run.environment, run=run.id, owner=self._owner, reason=reason, since=now)

    def ahead(self, record: RunRecord, run: Run, now: datetime) -> list[str]:
        """The runs that it waits for: before it in its line, else in its environment. None left: the environment is its own now."""
        assert record.concurrency is not None
        line = self._journal.line(record.concurrency)
        behind = [place.run for place in itertools.takewhile(lambda place: place.run != run.id, line)]
        if behind or (lock := self.lock_for(record, run, now, "run")) is None:
            return behind
        self.free_stale_lock(run, now)
        try:
            self._journal.lock(lock)
        except LockedError:
            return [held.run for held in self._journal.locks() if held.environment == run.environment]
        return []

    def _is_lent(self, record: RunRecord, run: Run) -> bool:
        """Whether the environment is held by a run of which this one is a part."""
        if record.parent is None:
            return False
        held = self._lock_of(run)
        return held is not None and held.run in {other.id for other in lineage(record, self._journal.record)[1:]}

    def _lock_of(self, run: Run) -> LockInfo | None:
        """Who has the run's environment."""
        return next((lock for lock in self._journal.locks() if lock.environment == run.environment), None)

    def take(self, record: RunRecord, run: Run, now: datetime) -> None:
        """The environment and the concurrency key, which it had until it ended. Raises LockedError when another run has them."""
        if record.concurrency is not None:
            self._journal.join(record.concurrency, run.id, now)
            first = self._journal.line(record.concurrency)[0]
            if first.run != run.id:
                raise has_the_key(record.concurrency, first)
        self.free_stale_lock(run, now)
        if (lock := self.lock_for(record, run, now, "resume")) is not None:
            self._journal.lock(lock)

    def give_back(self, run: Run) -> None:
        """Harmless for what it does not hold."""
        if run.environment is not None:
            self._journal.unlock(run.environment, run.id)
        if run.graph.plan.concurrency is not None:
            self._journal.leave(run.id)

    def free_stale_lock(self, run: Run, now: datetime) -> None:
        """A crash may come between the end of a run and the release of its lock: then nobody holds it any more."""
        held = self._lock_of(run)
        if held is None or held.run == run.id or held.run in self._in_hand:
            return
        if not self._journal.summary(held.run).status.is_final:
            return
        # Only who has the run may give its lock back: another process may be about to take it up again.
        with suppress(LockedError):
            lease = self._journal.claim(held.run, self._owner, self._lease, now)
            self._journal.unlock(held.environment, held.run)
            self._journal.release(lease)


def has_the_key(key: str, place: Place) -> LockedError:
    """Why a run that may not wait is refused."""
    who = f"{owner_text(place.owner)} drives it" if place.owner is not None else "no process drives it"
    return LockedError(
        f'run {place.run} has the concurrency key "{key}" and is "{place.status}"; {who}',
        owner=place.owner or "",
        hint=f"wait until it has ended, or end it: drystone cancel {place.run}",
    )
