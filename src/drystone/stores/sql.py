"""Runs in a database: `ports.Journal` over SQLite or PostgreSQL.

Every write is one transaction which first takes hold of the run's epoch, so that a process which lost its lease writes nothing.
The questions are in `queries.sql`; they go to the driver directly, because opening a store is a part of every command's time and
appending a part of every task's. Each thread has a connection of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from drystone.core import codec
from drystone.core.events import Event
from drystone.core.states import RunStatus
from drystone.ports import Batch, Lease, LockInfo, Place, Request, RunRecord, RunSummary, ServerInfo, TaskRow
from drystone.stores import answers, rows, sharing
from drystone.stores.databases import Connection
from drystone.stores.sessions import UNREADABLE, Sessions, reading
from drystone.stores.ticks import SqlTimetable

EVENTS_AT_ONCE = 2000
"""Events fetched with one question: some 600 kB of text."""
ALL = 1 << 62
"""More rows than any store has: SQLite and PostgreSQL say "no limit" in different words."""


class SqlJournal(Sessions):
    """The store behind a URL; `sessions.Sessions` tells what it is made with."""

    @cached_property
    def timetable(self) -> SqlTimetable:
        """The schedules in the same store."""
        return SqlTimetable(self._asking, self._writing, self._queries, self._is_alive)

    # ---- runs ---------------------------------------------------------------------------------------------------------

    def create(self, record: RunRecord, summary: RunSummary, lock: LockInfo | None = None) -> None:
        """A new run, and its lock; `ports.Journal.create` says when it is refused."""
        self.check()
        with self._writing() as connection:
            if connection.execute(self._queries["insert_run"], rows.from_record(record)).rowcount == 0:
                known = connection.execute(self._queries["record_by_token"], {"token": record.token}).fetchone()
                raise answers.token_taken(rows.to_record(known), record)
            connection.execute(self._queries["insert_state"], rows.from_summary(summary))
            if record.concurrency is not None:
                self._join(connection, record.concurrency, record.id, record.created_at)
            if lock is not None:
                self._lock(connection, lock)

    def append(self, batches: Sequence[Batch]) -> None:
        """One transaction for all of it, or for nothing of it."""
        queries = self._queries
        with self._writing() as connection:
            for batch in batches:
                self._check_epoch(connection, batch.run, batch.epoch)
                bodies = [{"run": batch.run, "seq": event.seq, "body": codec.dumps(event)} for event in batch.events]
                if bodies:
                    connection.cursor().executemany(queries["insert_event"], bodies)
                if batch.summary is not None:
                    connection.execute(queries["update_state"], rows.from_summary(batch.summary))
                    if batch.summary.status.is_final:
                        connection.execute(queries["leave"], {"run": batch.run})
                if batch.tasks:
                    connection.cursor().executemany(queries["put_task"], [rows.from_task(task) for task in batch.tasks])
                if batch.answered:
                    connection.cursor().executemany(queries["answer"], [{"id": each, "run": batch.run} for each in batch.answered])
        # No end is reported that others cannot see. Between, the renewal of the lease looks: that is soon enough.
        if self._is_lost or any(batch.summary is not None and batch.summary.status.is_final for batch in batches):
            self.check()

    def _check_epoch(self, connection: Connection, run: str, epoch: int) -> None:
        row = connection.execute(self._queries["epoch"], {"run": run}).fetchone()
        if row is None:
            raise answers.no_run(run)
        if row[0] != epoch:
            raise answers.lease_lost(run, row[1])

    @reading
    def record(self, run: str) -> RunRecord:
        """Raises NotFoundError."""
        row = self._one("record", run=run)
        if row is None:
            raise answers.no_run(run)
        return rows.to_record(row)

    @reading
    def by_token(self, token: str) -> RunRecord | None:
        """The run that was started with this token."""
        row = self._one("record_by_token", token=token)
        return None if row is None else rows.to_record(row)

    def events(self, run: str, after: int = 0) -> Iterator[Event]:
        """In order of `seq`, those with seq > after."""
        while bodies := self._all("events", run=run, after=after, count=EVENTS_AT_ONCE):
            try:
                for (body,) in bodies:
                    event = codec.loads(body)
                    if event.seq != after + 1:
                        raise self.damaged(f"event {after + 1} of run {run} is missing")
                    after = event.seq
                    yield event
            except UNREADABLE as error:
                raise self.damaged(error) from error
            if len(bodies) < EVENTS_AT_ONCE:
                return

    @reading
    def tasks(self, run: str) -> Sequence[TaskRow]:
        """The projection of a run's instances, by id."""
        return [rows.to_task(row) for row in self._all("tasks", run=run)]

    def find(self, prefix: str) -> str:
        """Id from an id, a unique prefix in either case, or `last`."""
        if prefix == "last":
            found = self._all("newest")
        else:
            found = self._all("find", prefix=prefix, upper=prefix.upper(), length=len(prefix)) if prefix else []
        return answers.chosen(prefix, [row[0] for row in found])

    @reading
    def summary(self, run: str) -> RunSummary:
        """Raises NotFoundError."""
        row = self._one("summary", run=run)
        if row is None:
            raise answers.no_run(run)
        return rows.to_summary(row, self._is_alive)

    @reading
    def summaries(
        self, *, plan: str | None = None, environment: str | None = None, limit: int | None = 50, attention: bool = False
    ) -> Sequence[RunSummary]:
        """Newest first; `attention`: only runs that a person must decide about."""
        count = ALL if limit is None else limit
        found = self._all("summaries", plan=plan, environment=environment, count=count, attention=int(attention))
        return [rows.to_summary(row, self._is_alive) for row in found]

    @reading
    def durations(self, plan: str, *, limit: int = 20) -> Mapping[str, Sequence[float]]:
        """Task -> seconds of its instances in the newest runs of the plan that succeeded."""
        with self._asking() as connection:
            # Row by row: a plan of 10,000 tasks has 200,000.
            return rows.to_durations(connection.execute(self._queries["durations"], {"plan": plan, "count": limit}))

    # ---- leases -------------------------------------------------------------------------------------------------------

    @reading
    def claim(self, run: str, owner: str, lease: timedelta, now: datetime, *, force: bool = False) -> Lease:
        """Takes the run with the next epoch, unless another's lease is alive."""
        self.check()
        with self._writing() as connection:
            row = connection.execute(self._queries["lease"], {"run": run}).fetchone()
            if row is None:
                raise answers.no_run(run)
            epoch, holder, text, status = row
            until = None if text is None else codec.from_text(text)
            if not force:
                answers.check_free(run, holder, until, owner, now, self._is_alive)
            taken = {"run": run, "epoch": epoch + 1, "owner": owner, "until": codec.to_text(now + lease)}
            connection.execute(self._queries["claim"], taken)
            connection.execute(self._queries["drop_slots"], {"run": run})
            if not sharing.has_begun(RunStatus(status)) and not sharing.is_driven(holder, until, now, self._is_alive):
                self._to_the_end(connection, run, now)
        return Lease(run=run, owner=owner, epoch=epoch + 1)

    def renew(self, lease: Lease, until: datetime) -> None:
        """Raises LockedError when the lease was lost."""
        self.check()
        with self._writing() as connection:
            row = {"run": lease.run, "epoch": lease.epoch, "owner": lease.owner, "until": codec.to_text(until)}
            if connection.execute(self._queries["renew"], row).rowcount == 0:
                holder = connection.execute(self._queries["lease"], {"run": lease.run}).fetchone()
                raise answers.lease_lost(lease.run, holder[1] if holder else None)

    def release(self, lease: Lease) -> None:
        """Gives the run back; harmless when the lease was lost."""
        with self._writing() as connection:
            if connection.execute(self._queries["release"], {"run": lease.run, "epoch": lease.epoch}).rowcount:
                connection.execute(self._queries["drop_slots"], {"run": lease.run})

    # ---- environments -------------------------------------------------------------------------------------------------

    def lock(self, info: LockInfo) -> None:
        """Takes the environment for a run; again by the same run it only says who has it now."""
        with self._writing() as connection:
            self._lock(connection, info)

    def _lock(self, connection: Connection, info: LockInfo) -> None:
        if connection.execute(self._queries["lock"], rows.from_lock(info)).rowcount == 0:
            held = [rows.to_lock(row) for row in connection.execute(self._queries["locks"]).fetchall()]
            raise answers.environment_held(next(lock for lock in held if lock.environment == info.environment), self._is_alive)

    def unlock(self, environment: str, run: str) -> None:
        """Harmless when it is not held by that run."""
        with self._writing() as connection:
            connection.execute(self._queries["unlock"], {"environment": environment, "run": run})

    @reading
    def locks(self) -> Sequence[LockInfo]:
        """All held environments, by name."""
        return [rows.to_lock(row) for row in self._all("locks")]

    # ---- lines and pools ----------------------------------------------------------------------------------------------

    @reading
    def line(self, key: str) -> Sequence[Place]:
        """The runs that share a concurrency key, in order: the first one has it."""
        now = self._now()
        return sharing.in_order(rows.to_place(row, now, self._is_alive) for row in self._all("line", key=key))

    def join(self, key: str, run: str, now: datetime) -> None:
        """Puts a run at the end of the key's line; harmless when it stands there."""
        with self._writing() as connection:
            self._must_be_there(connection, run)
            self._join(connection, key, run, now)

    def _join(self, connection: Connection, key: str, run: str, now: datetime) -> None:
        since = self._end_of_line(connection, key, now)
        connection.execute(self._queries["join"], {"key": key, "run": run, "since": codec.to_text(since)})

    def _to_the_end(self, connection: Connection, run: str, now: datetime) -> None:
        """Who comes back goes behind those who were told meanwhile that they are first."""
        row = connection.execute(self._queries["line_of"], {"run": run}).fetchone()
        if row is not None:
            since = self._end_of_line(connection, row[0], now)
            connection.execute(self._queries["move"], {"run": run, "since": codec.to_text(since)})

    def _end_of_line(self, connection: Connection, key: str, now: datetime) -> datetime:
        self._database.hold(connection, f"line {key}")
        (last,) = connection.execute(self._queries["last_in_line"], {"key": key}).fetchone()
        return sharing.end_of_line(None if last is None else codec.from_text(last), now)

    def leave(self, run: str) -> None:
        """Takes a run out of its line; harmless when it stands in none."""
        with self._writing() as connection:
            connection.execute(self._queries["leave"], {"run": run})

    @reading
    def slots(self, lease: Lease, pool: str, *, size: int, held: int, wanted: int, now: datetime) -> int:
        """How many more slots of a pool the run may take now. Whoever asks often and in vain writes nothing."""
        with self._writing() as connection:
            self._database.hold(connection, f"pool {pool}")
            self._check_epoch(connection, lease.run, lease.epoch)
            found = connection.execute(self._queries["seats"], {"pool": pool}).fetchall()
            seats = rows.to_seats(found, lease.run, now, self._is_alive)
            mine, given = sharing.share(seats, lease.run, size=size, held=held, wanted=wanted, now=now)
            if mine not in seats:
                connection.execute(self._queries["sit" if mine.held or mine.wanted else "stand_up"], rows.from_seat(pool, mine))
            return given

    # ---- requests -----------------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Keeps a wish until it is answered. Raises NotFoundError when there is no such run."""
        with self._writing() as connection:
            self._must_be_there(connection, request.run)
            connection.execute(self._queries["ask"], rows.from_request(request))

    def _must_be_there(self, connection: Connection, run: str) -> None:
        if connection.execute(self._queries["is_run"], {"run": run}).fetchone() is None:
            raise answers.no_run(run)

    @reading
    def requests(self, runs: Collection[str]) -> Sequence[Request]:
        """Wishes for these runs that nobody has answered, oldest first."""
        return [rows.to_request(row) for row in self._all("requests") if row[1] in runs]

    def withdraw(self, run: str) -> None:
        """Forgets all wishes for a run: it has ended."""
        with self._writing() as connection:
            connection.execute(self._queries["withdraw"], {"run": run})

    # ---- servers ------------------------------------------------------------------------------------------------------

    @reading
    def unattended(self, now: datetime) -> Sequence[str]:
        """Runs that have not ended which no live process drives, oldest first."""
        return [row[0] for row in self._all("open") if rows.is_unattended(row, now, self._is_alive)]

    def serve(self, server: ServerInfo, until: datetime) -> None:
        """This process serves the project, at least until then."""
        with self._writing() as connection:
            connection.execute(self._queries["serve"], rows.from_server(server, until))

    def stop_serving(self, owner: str) -> None:
        """It does no more."""
        with self._writing() as connection:
            connection.execute(self._queries["stop_serving"], {"owner": owner})

    @reading
    def servers(self, now: datetime) -> Sequence[ServerInfo]:
        """Those that are alive, the oldest first."""
        return rows.to_servers(self._all("servers"), now, self._is_alive)
