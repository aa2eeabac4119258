"""Runs in memory: `ports.Journal` for tests and trials, with every rule of the one in a database. Nothing survives the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from drystone.core import codec
from drystone.core.events import Event
from drystone.errors import StoreError
from drystone.ports import Batch, Lease, LockInfo, RunRecord, RunSummary, TaskRow
from drystone.stores import answers


@dataclass
class _Kept:
    """One run. `bodies` are texts, so that what is read back is what a database would give."""

    record: RunRecord
    summary: RunSummary
    bodies: dict[int, str] = field(default_factory=dict)
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    epoch: int = 0
    owner: str | None = None
    until: datetime | None = None


class MemoryJournal:
    """May be used by several threads at once. `is_alive` as for `sql.SqlJournal`."""

    def __init__(self, *, is_alive: Callable[[str], bool | None] = lambda _: None) -> None:
        self._is_alive = is_alive
        self._guard = threading.RLock()
        self._runs: dict[str, _Kept] = {}
        self._locks: dict[str, LockInfo] = {}

    def create(self, record: RunRecord, summary: RunSummary, lock: LockInfo | None = None) -> None:
        """A new run, and its lock."""
        with self._guard:
            known = None if record.token is None else self.by_token(record.token)
            if known is not None:
                raise answers.token_taken(known, record)
            if record.id in self._runs:
                raise StoreError(f"run {record.id} is in the store already", hint="give each run an id of its own")
            if lock is not None:
                self._lock(lock)
            self._runs[record.id] = _Kept(record=replace(record, inputs=codec.unpack(codec.pack(record.inputs))), summary=summary)

    def append(self, batches: Sequence[Batch]) -> None:
        """All of it, or nothing of it."""
        with self._guard:
            for batch in batches:
                self._check(batch)
            for batch in batches:
                kept = self._runs[batch.run]
                kept.bodies.update((event.seq, codec.dumps(event)) for event in batch.events)
                kept.tasks.update((task.id, task) for task in batch.tasks)
                if batch.summary is not None:
                    kept.summary = batch.summary

    def _check(self, batch: Batch) -> None:
        kept = self._kept(batch.run)
        if kept.epoch != batch.epoch:
            raise answers.lease_lost(batch.run, kept.owner)
        numbers = [event.seq for event in batch.events]
        if len(set(numbers)) != len(numbers) or kept.bodies.keys() & set(numbers):
            raise StoreError(f"an event of run {batch.run} is in the store already", hint="give each event a number of its own")

    def _kept(self, run: str) -> _Kept:
        try:
            return self._runs[run]
        except KeyError:
            raise answers.no_run(run) from None

    def record(self, run: str) -> RunRecord:
        """Raises NotFoundError."""
        with self._guard:
            return self._kept(run).record

    def by_token(self, token: str) -> RunRecord | None:
        """The run that was started with this token."""
        with self._guard:
            return next((kept.record for kept in self._runs.values() if kept.record.token == token), None)

    def events(self, run: str, after: int = 0) -> Iterator[Event]:
        """In order of `seq`, those with seq > after."""
        with self._guard:
            bodies = dict(self._runs[run].bodies) if run in self._runs else {}
        yield from (codec.loads(bodies[seq]) for seq in sorted(bodies) if seq > after)

    def tasks(self, run: str) -> Sequence[TaskRow]:
        """The projection of a run's instances, by id."""
        with self._guard:
            return [row for _, row in sorted(self._runs[run].tasks.items())] if run in self._runs else []

    def find(self, prefix: str) -> str:
        """Id from an id, a unique prefix in either case, or `last`."""
        newest = [kept.record.id for kept in self._newest_first()]
        if prefix == "last":
            return answers.chosen(prefix, newest[:1])
        fitting = [run for run in newest if prefix and run.startswith((prefix, prefix.upper()))]
        return answers.chosen(prefix, fitting[:3])

    def _newest_first(self) -> list[_Kept]:
        with self._guard:
            return sorted(self._runs.values(), key=lambda kept: (kept.record.created_at, kept.record.id), reverse=True)

    def summary(self, run: str) -> RunSummary:
        """Raises NotFoundError."""
        with self._guard:
            return self._shown(self._kept(run))

    def summaries(self, *, plan: str | None = None, environment: str | None = None, limit: int = 50) -> Sequence[RunSummary]:
        """Newest first."""
        fitting = [
            kept
            for kept in self._newest_first()
            if plan in (None, kept.record.plan) and environment in (None, kept.record.environment)
        ]
        return [self._shown(kept) for kept in fitting[:limit]]

    def _shown(self, kept: _Kept) -> RunSummary:
        owner = None if kept.owner is None or self._is_alive(kept.owner) is False else kept.owner
        record = kept.record
        return replace(
            kept.summary, plan=record.plan, environment=record.environment, created_at=record.created_at, owner=owner
        )

    def claim(self, run: str, owner: str, lease: timedelta, now: datetime) -> Lease:
        """Takes the run with the next epoch, unless another's lease is alive."""
        with self._guard:
            kept = self._kept(run)
            answers.check_free(run, kept.owner, kept.until, owner, now, self._is_alive)
            kept.epoch, kept.owner, kept.until = kept.epoch + 1, owner, now + lease
            return Lease(run=run, owner=owner, epoch=kept.epoch)

    def renew(self, lease: Lease, until: datetime) -> None:
        """Raises LockedError when the lease was lost."""
        with self._guard:
            kept = self._runs.get(lease.run)
            if kept is None or (kept.epoch, kept.owner) != (lease.epoch, lease.owner):
                raise answers.lease_lost(lease.run, kept.owner if kept else None)
            kept.until = until

    def release(self, lease: Lease) -> None:
        """Gives the run back; harmless when the lease was lost."""
        with self._guard:
            kept = self._runs.get(lease.run)
            if kept is not None and kept.epoch == lease.epoch:
                kept.owner = kept.until = None

    def lock(self, info: LockInfo) -> None:
        """Takes the environment for a run; again by the same run it only says who has it now."""
        with self._guard:
            self._kept(info.run)
            self._lock(info)

    def _lock(self, info: LockInfo) -> None:
        held = self._locks.get(info.environment)
        if held is not None and held.run != info.run:
            raise answers.environment_held(held, self._is_alive)
        self._locks[info.environment] = info if held is None else replace(info, since=held.since)

    def unlock(self, environment: str, run: str) -> None:
        """Harmless when it is not held by that run."""
        with self._guard:
            if environment in self._locks and self._locks[environment].run == run:
                del self._locks[environment]

    def locks(self) -> Sequence[LockInfo]:
        """All held environments, by name."""
        with self._guard:
            return [lock for _, lock in sorted(self._locks.items())]

    def close(self) -> None:
        """Nothing is held."""
