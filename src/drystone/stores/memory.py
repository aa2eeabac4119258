"""Runs in memory: `ports.Journal` for tests and trials, with every rule of the one in a database. Nothing survives the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from drystone.core import codec
from drystone.core.events import Event
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import StoreError
from drystone.ports import Batch, Lease, LockInfo, Place, Request, RunRecord, RunSummary, ServerInfo, TaskRow
from drystone.stores import answers, sharing
from drystone.stores.memory_ticks import MemoryTimetable
from drystone.stores.sharing import Seat


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
    """May be used by several threads at once. `is_alive` and `now` as for `sql.SqlJournal`."""

    def __init__(
        self, *, is_alive: Callable[[str], bool | None] = lambda _: None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._is_alive = is_alive
        self._now = now
        self._guard = threading.RLock()
        self._runs: dict[str, _Kept] = {}
        self._locks: dict[str, LockInfo] = {}
        self._lines: dict[str, dict[str, datetime]] = {}
        self._seats: dict[str, dict[str, Seat]] = {}
        self._requests: dict[str, Request] = {}
        self._servers: dict[str, tuple[ServerInfo, datetime]] = {}
        self.timetable = MemoryTimetable(is_alive)

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
            if record.concurrency is not None:
                self.join(record.concurrency, record.id, record.created_at)

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
                    if batch.summary.status.is_final:
                        self.leave(batch.run)
                for each in batch.answered:
                    if each in self._requests and self._requests[each].run == batch.run:
                        del self._requests[each]

    def _check(self, batch: Batch) -> None:
        kept = self._held(batch.run, batch.epoch)
        numbers = [event.seq for event in batch.events]
        if len(set(numbers)) != len(numbers) or kept.bodies.keys() & set(numbers):
            raise StoreError(f"an event of run {batch.run} is in the store already", hint="give each event a number of its own")

    def _held(self, run: str, epoch: int) -> _Kept:
        kept = self._kept(run)
        if kept.epoch != epoch:
            raise answers.lease_lost(run, kept.owner)
        return kept

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
            return answers.chosen(prefix, [kept.record.id for kept in self._newest_first() if kept.record.parent is None][:1])
        fitting = [run for run in newest if prefix and run.startswith((prefix, prefix.upper()))]
        return answers.chosen(prefix, fitting[:3])

    def _newest_first(self) -> list[_Kept]:
        with self._guard:
            return list(reversed(self._runs.values()))

    def summary(self, run: str) -> RunSummary:
        """Raises NotFoundError."""
        with self._guard:
            return self._shown(self._kept(run))

    def summaries(
        self, *, plan: str | None = None, environment: str | None = None, limit: int | None = 50, attention: bool = False
    ) -> Sequence[RunSummary]:
        """Newest first; `attention`: only runs that a person must decide about."""
        fitting = [
            kept
            for kept in self._newest_first()
            if plan in (None, kept.record.plan) and environment in (None, kept.record.environment)
            and kept.summary.attention >= attention
        ]
        return [self._shown(kept) for kept in fitting[:limit]]

    def _shown(self, kept: _Kept) -> RunSummary:
        owner = None if kept.owner is None or self._is_alive(kept.owner) is False else kept.owner
        record = kept.record
        return replace(
            kept.summary,
            plan=record.plan,
            environment=record.environment,
            created_at=record.created_at,
            owner=owner,
            parent=record.parent,
        )

    def durations(self, plan: str, *, limit: int = 20) -> Mapping[str, Sequence[float]]:
        """Task -> seconds of its instances in the newest runs of the plan that succeeded."""
        succeeded = [
            kept for kept in self._newest_first() if kept.record.plan == plan and kept.summary.status is RunStatus.SUCCEEDED
        ]
        seconds: dict[str, list[float]] = {}
        for kept in succeeded[:limit]:
            for row in self.tasks(kept.record.id):
                if row.status == TaskStatus.SUCCEEDED and row.started_at is not None and row.finished_at is not None:
                    seconds.setdefault(row.task, []).append((row.finished_at - row.started_at).total_seconds())
        return seconds

    def claim(self, run: str, owner: str, lease: timedelta, now: datetime, *, force: bool = False) -> Lease:
        """Takes the run with the next epoch, unless another's lease is alive."""
        with self._guard:
            kept = self._kept(run)
            if not force:
                answers.check_free(run, kept.owner, kept.until, owner, now, self._is_alive)
            self._drop_slots(run)
            if not sharing.has_begun(kept.summary.status) and not self._is_driven(kept, now):
                self._to_the_end(run, now)
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
                self._drop_slots(lease.run)

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

    def line(self, key: str) -> Sequence[Place]:
        """The runs that share a concurrency key, in order: the first one has it."""
        with self._guard:
            now = self._now()
            return sharing.in_order(self._place(run, since, now) for run, since in self._lines.get(key, {}).items())

    def _place(self, run: str, since: datetime, now: datetime) -> Place:
        kept = self._runs[run]
        return Place(run=run, status=kept.summary.status, since=since, owner=kept.owner if self._is_driven(kept, now) else None)

    def _is_driven(self, kept: _Kept, now: datetime) -> bool:
        return sharing.is_driven(kept.owner, kept.until, now, self._is_alive)

    def join(self, key: str, run: str, now: datetime) -> None:
        """Puts a run at the end of the key's line; harmless when it stands there."""
        with self._guard:
            self._kept(run)
            if not any(run in line for line in self._lines.values()):
                line = self._lines.setdefault(key, {})
                line[run] = sharing.end_of_line(max(line.values(), default=None), now)

    def _to_the_end(self, run: str, now: datetime) -> None:
        for line in self._lines.values():
            if run in line:
                line[run] = sharing.end_of_line(max(line.values()), now)

    def leave(self, run: str) -> None:
        """Takes a run out of its line; harmless when it stands in none."""
        with self._guard:
            for line in self._lines.values():
                line.pop(run, None)

    def slots(self, lease: Lease, pool: str, *, size: int, held: int, wanted: int, now: datetime) -> int:
        """How many more slots of a pool the run may take now."""
        with self._guard:
            self._held(lease.run, lease.epoch)
            seats = self._seats.setdefault(pool, {})
            counted = [seat for run, seat in seats.items() if run == lease.run or self._is_driven(self._runs[run], now)]
            mine, given = sharing.share(counted, lease.run, size=size, held=held, wanted=wanted, now=now)
            if mine.held or mine.wanted:
                seats[lease.run] = mine
            else:
                seats.pop(lease.run, None)
            return given

    def _drop_slots(self, run: str) -> None:
        for seats in self._seats.values():
            seats.pop(run, None)

    def ask(self, request: Request) -> None:
        """Keeps a wish until it is answered. Raises NotFoundError when there is no such run."""
        with self._guard:
            self._kept(request.run)
            self._requests.setdefault(request.id, replace(request, data=codec.unpack(codec.pack(request.data))))

    def requests(self, runs: Collection[str]) -> Sequence[Request]:
        """Wishes for these runs that nobody has answered, oldest first."""
        with self._guard:
            asked = [request for request in self._requests.values() if request.run in runs]
        return sorted(asked, key=lambda request: (request.at, request.id))

    def withdraw(self, run: str) -> None:
        """Forgets all wishes for a run: it has ended."""
        with self._guard:
            self._requests = {each: request for each, request in self._requests.items() if request.run != run}

    def unattended(self, now: datetime) -> Sequence[str]:
        """Runs that have not ended which no live process drives, oldest first."""
        with self._guard:
            return [
                kept.record.id
                for kept in reversed(self._newest_first())
                if not kept.summary.status.is_final
                and kept.record.parent is None
                and sharing.is_unattended(kept.owner, kept.until, kept.epoch, kept.record.created_at, now, self._is_alive)
            ]

    def serve(self, server: ServerInfo, until: datetime) -> None:
        """This process serves the project, at least until then."""
        with self._guard:
            since = self._servers[server.owner][0].since if server.owner in self._servers else server.since
            self._servers[server.owner] = (replace(server, since=since), until)

    def stop_serving(self, owner: str) -> None:
        """It does no more."""
        with self._guard:
            self._servers.pop(owner, None)

    def servers(self, now: datetime) -> Sequence[ServerInfo]:
        """Those that are alive, the oldest first."""
        with self._guard:
            living = (info for info, until in self._servers.values() if sharing.is_driven(info.owner, until, now, self._is_alive))
            return sorted(living, key=lambda info: (info.since, info.owner))

    def examine(self) -> None:
        """Nothing can be damaged."""

    def close(self) -> None:
        """Nothing is held."""
