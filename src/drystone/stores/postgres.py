"""PostgreSQL: the store that several people and machines share. Needs the extra `drystone[postgres]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from drystone.errors import StoreError
from drystone.stores import migrations, queries
from drystone.stores.databases import Connection

try:
    import psycopg
except ImportError as error:
    raise StoreError("PostgreSQL needs a package that is not installed", hint='pip install "drystone[postgres]"') from error

MIGRATION_LOCK = 0x6472_7973
"""Key of the advisory lock under which the schema changes: "drys"."""
CONNECT_S = 10
"""How long a connection may take: a server that does not answer must not hold a command for minutes."""


class Postgres:
    """The database behind a libpq URL; `busy` is the longest wait for rows that another process holds."""

    begin = "BEGIN"

    def __init__(self, url: str, busy: timedelta) -> None:
        self.busy = busy
        self.queries = queries.load(parameter=r"%(\1)s", locked="FOR UPDATE")
        self._url = url
        try:
            parts = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # Not chained: the message repeats the URL, in which there may be a password.
            raise StoreError("store.url is not a PostgreSQL URL", hint="it is postgresql+psycopg://USER@HOST/DATABASE") from None
        self.name = f"{parts.get('dbname', '')}@{parts.get('host', 'localhost')}"

    def connect(self) -> Connection:
        """Commits wait for the server's disk whatever the server's default is."""
        connection: Any = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_S, application_name="drystone")
        connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET lock_timeout = {int(self.busy.total_seconds() * 1000)}")
        return connection  # type: ignore[no-any-return]

    def hold(self, connection: Connection, what: str) -> None:
        """An advisory lock, as there may be no row yet that could be held."""
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(what)s, 0))", {"what": f"drystone {what}"})

    def check(self, connection: Connection) -> None:
        """Nothing to do: a server keeps its files."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """By SQLSTATE where the server says one."""
        try:
            yield
        except psycopg.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: psycopg.Error) -> StoreError:
        reason = " ".join(str(error).split())
        match error.sqlstate:
            case "53100":
                what, hint = "cannot be written: the server's disk is full", "make room, then go on with: drystone resume RUN"
            case "25006":
                what, hint = "cannot be written: it is read-only", "is it a standby? give the address of the primary"
            case "42501":
                what, hint = f"refused it: {reason}", "give the user rights on the database"
            case "55P03":
                what, hint = f"is busy: rows have been held for {self.busy.total_seconds():g} s", "see pg_stat_activity, then try again"
            case None:
                what, hint = f"cannot be reached: {reason}", "is the server running, and store.url right?"
            case _:
                what, hint = f"failed: {reason}", "look into the server's log"
        return StoreError(f'store "{self.name}" {what}', hint=hint)

    def damaged(self, what: str) -> StoreError:
        """The server has checked its files; somebody else may have written into its tables."""
        hint = "restore it from a backup; does something else write to its tables?"
        return StoreError(f'store "{self.name}" is damaged: {what}', hint=hint)

    def examine(self, connection: Connection) -> None:
        """Nothing to do: to look after its files is the server's work."""

    def version(self, connection: Connection) -> str | None:
        """None when the table is not there."""
        try:
            row = connection.execute(self.queries["version"]).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
        return None if row is None else str(row[0])

    def upgrade(self, is_needed: Callable[[str | None], bool]) -> None:
        """Under an advisory lock: of two processes that meet here, the second finds the work done."""
        with psycopg.connect(self._url, connect_timeout=CONNECT_S, application_name="drystone") as connection:
            lock = f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
            migrations.upgrade("postgresql+psycopg://", connection, lock=lock, is_needed=lambda: is_needed(self._version_in(connection)))

    def _version_in(self, connection: Connection) -> str | None:
        # In a transaction, to ask a table that is not there would end it.
        row = connection.execute("SELECT to_regclass(%(name)s)", {"name": migrations.VERSION_TABLE}).fetchone()
        return None if row is None or row[0] is None else self.version(connection)
