"""Runs in a database: `ports.Journal` over SQLite or PostgreSQL.

Every write is one transaction which first takes hold of the run's epoch, so that a process which lost its lease writes nothing.
The questions are in `queries.sql`; they go to the driver directly, because opening a store is a part of every command's time and
appending a part of every task's. Each thread has a connection of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from drystone.core import codec
from drystone.core.events import Event
from drystone.errors import StoreError
from drystone.ports import Batch, Lease, LockInfo, RunRecord, RunSummary, TaskRow
from drystone.stores import answers, migrations, rows
from drystone.stores.databases import Connection, open_database

EVENTS_AT_ONCE = 2000
"""Events fetched with one question: some 600 kB of text."""
BUSY = timedelta(seconds=30)
"""How long a write waits for another process. 30 s outlasts a slow laptop disk; the drivers' default of 5 s does not."""


class SqlJournal:
    """The store behind a URL (`databases.open_database` tells its forms); it is made, and brought up to date, when it must be.

    root:     what a relative path in the URL is relative to.
    is_alive: whether the process behind an owner's text still lives; None when it cannot be known.
    Raises StoreError when it cannot be opened, or was written by a newer drystone.
    """

    def __init__(
        self,
        url: str,
        *,
        root: Path = Path(),
        is_alive: Callable[[str], bool | None] = lambda _: None,
        busy: timedelta = BUSY,
    ) -> None:
        self._database = open_database(url, root, busy)
        self._queries = self._database.queries
        self._is_alive = is_alive
        self._local = threading.local()
        self._guard = threading.Lock()
        self._connections: list[Connection] = []
        try:
            with self._database.errors():
                if _is_older(self._database.version(self._connect())):
                    # A connection from before the change may go on in the old mode for a while.
                    self._forget()
                    self._database.upgrade(_is_older)
        except BaseException:
            self.close()
            raise

    # ---- connections --------------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._database.connect()
            with self._guard:
                self._connections.append(connection)
        return connection

    def _forget(self) -> None:
        """Lets go of this thread's connection, which may be broken; the next question connects anew."""
        connection: Connection | None = self._local.__dict__.pop("connection", None)
        if connection is not None:
            with self._guard:
                self._connections.remove(connection)
            with suppress(Exception):
                connection.close()

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        with self._database.errors():
            try:
                yield self._connect()
            except answers.NO:
                raise
            except BaseException:
                self._forget()
                raise

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._asking() as connection:
            connection.execute(self._database.begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    connection.execute("ROLLBACK")
                raise

    def _all(self, query: str, **row: Any) -> list[Any]:
        with self._asking() as connection:
            return connection.execute(self._queries[query], row).fetchall()

    def _one(self, query: str, **row: Any) -> Any:
        with self._asking() as connection:
            return connection.execute(self._queries[query], row).fetchone()

    def close(self) -> None:
        """Lets go of the connections of all threads."""
        with self._guard:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    # ---- runs ---------------------------------------------------------------------------------------------------------

    def create(self, record: RunRecord, summary: RunSummary, lock: LockInfo | None = None) -> None:
        """A new run, and its lock; `ports.Journal.create` says when it is refused."""
        with self._writing() as connection:
            if connection.execute(self._queries["insert_run"], rows.from_record(record)).rowcount == 0:
                known = connection.execute(self._queries["record_by_token"], {"token": record.token}).fetchone()
                raise answers.token_taken(rows.to_record(known), record)
            connection.execute(self._queries["insert_state"], rows.from_summary(summary))
            if lock is not None:
                self._lock(connection, lock)

    def append(self, batches: Sequence[Batch]) -> None:
        """One transaction for all of it, or for nothing of it."""
        queries = self._queries
        with self._writing() as connection:
            for batch in batches:
                row = connection.execute(queries["epoch"], {"run": batch.run}).fetchone()
                if row is None:
                    raise answers.no_run(batch.run)
                if row[0] != batch.epoch:
                    raise answers.lease_lost(batch.run, row[1])
                bodies = [{"run": batch.run, "seq": event.seq, "body": codec.dumps(event)} for event in batch.events]
                if bodies:
                    connection.cursor().executemany(queries["insert_event"], bodies)
                if batch.summary is not None:
                    connection.execute(queries["update_state"], rows.from_summary(batch.summary))
                if batch.tasks:
                    connection.cursor().executemany(queries["put_task"], [rows.from_task(task) for task in batch.tasks])

    def record(self, run: str) -> RunRecord:
        """Raises NotFoundError."""
        row = self._one("record", run=run)
        if row is None:
            raise answers.no_run(run)
        return rows.to_record(row)

    def by_token(self, token: str) -> RunRecord | None:
        """The run that was started with this token."""
        row = self._one("record_by_token", token=token)
        return None if row is None else rows.to_record(row)

    def events(self, run: str, after: int = 0) -> Iterator[Event]:
        """In order of `seq`, those with seq > after."""
        while bodies := self._all("events", run=run, after=after, count=EVENTS_AT_ONCE):
            for (body,) in bodies:
                event = codec.loads(body)
                after = event.seq
                yield event
            if len(bodies) < EVENTS_AT_ONCE:
                return

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

    def summary(self, run: str) -> RunSummary:
        """Raises NotFoundError."""
        row = self._one("summary", run=run)
        if row is None:
            raise answers.no_run(run)
        return rows.to_summary(row, self._is_alive)

    def summaries(self, *, plan: str | None = None, environment: str | None = None, limit: int = 50) -> Sequence[RunSummary]:
        """Newest first."""
        found = self._all("summaries", plan=plan, environment=environment, count=limit)
        return [rows.to_summary(row, self._is_alive) for row in found]

    # ---- leases -------------------------------------------------------------------------------------------------------

    def claim(self, run: str, owner: str, lease: timedelta, now: datetime) -> Lease:
        """Takes the run with the next epoch, unless another's lease is alive."""
        with self._writing() as connection:
            row = connection.execute(self._queries["lease"], {"run": run}).fetchone()
            if row is None:
                raise answers.no_run(run)
            epoch, holder, text = row
            until = None if text is None else codec.from_text(text)
            answers.check_free(run, holder, until, owner, now, self._is_alive)
            taken = {"run": run, "epoch": epoch + 1, "owner": owner, "until": codec.to_text(now + lease)}
            connection.execute(self._queries["claim"], taken)
        return Lease(run=run, owner=owner, epoch=epoch + 1)

    def renew(self, lease: Lease, until: datetime) -> None:
        """Raises LockedError when the lease was lost."""
        with self._writing() as connection:
            row = {"run": lease.run, "epoch": lease.epoch, "owner": lease.owner, "until": codec.to_text(until)}
            if connection.execute(self._queries["renew"], row).rowcount == 0:
                holder = connection.execute(self._queries["lease"], {"run": lease.run}).fetchone()
                raise answers.lease_lost(lease.run, holder[1] if holder else None)

    def release(self, lease: Lease) -> None:
        """Gives the run back; harmless when the lease was lost."""
        with self._writing() as connection:
            connection.execute(self._queries["release"], {"run": lease.run, "epoch": lease.epoch})

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

    def locks(self) -> Sequence[LockInfo]:
        """All held environments, by name."""
        return [rows.to_lock(row) for row in self._all("locks")]


def _is_older(version: str | None) -> bool:
    """True when the schema must be brought up to date. Raises StoreError when a newer drystone wrote it."""
    if version is None or version < migrations.NEWEST:
        return True
    if version > migrations.NEWEST:
        raise StoreError(
            f'the store was written by a newer drystone: its schema is "{version}", this one knows "{migrations.NEWEST}"',
            hint="use that drystone, or another store.url",
        )
    return False
