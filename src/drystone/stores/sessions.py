"""One opened database: its connections, its transactions, and how damage of it is told. What is asked of it is in `sql` and its parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from drystone.errors import StoreError
from drystone.stores import answers, migrations
from drystone.stores.databases import Connection, open_database

BUSY = timedelta(seconds=30)
"""How long a write waits for another process. 30 s outlasts a slow laptop disk; the drivers' default of 5 s does not."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What comes of text in rows that is not as it was written."""


_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_Store = TypeVar("_Store", bound="Sessions")


def reading(
    method: Callable[Concatenate[_Store, _Given], _Answer],
) -> Callable[Concatenate[_Store, _Given], _Answer]:
    """Rows of which nothing can be made are told as damage of the store."""

    @wraps(method)
    def read(self: _Store, /, *given: _Given.args, **more: _Given.kwargs) -> _Answer:
        try:
            return method(self, *given, **more)
        except UNREADABLE as error:
            raise self.damaged(error) from error

    return read


class Sessions:
    """The database behind a URL (`databases.open_database` tells its forms); it is made, and brought up to date, when it must be.

    root:     what a relative path in the URL is relative to.
    is_alive: whether the process behind an owner's text still lives; None when it cannot be known.
    now:      the present moment, for questions about leases that give none.
    Raises StoreError when it cannot be opened, or was written by a newer drystone.
    """

    def __init__(
        self,
        url: str,
        *,
        root: Path = Path(),
        is_alive: Callable[[str], bool | None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        busy: timedelta = BUSY,
    ) -> None:
        self._database = open_database(url, root, busy)
        self._queries = self._database.queries
        self._is_alive = is_alive
        self._now = now
        self._local = threading.local()
        self._guard = threading.Lock()
        self._connections: list[Connection] = []
        self._is_lost = False
        try:
            with self._database.errors():
                if _is_older(self._database.version(self._connect())):
                    # A connection from before the change may go on in the old mode for a while.
                    self._forget()
                    self._database.upgrade(_is_older)
        except BaseException:
            self.close()
            raise

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

    def check(self) -> None:
        """Raises StoreError when others would not find what is written: the file was deleted, say. What it held is saved first."""
        with self._database.errors():
            try:
                self._database.check(self._connect())
            except StoreError:
                self._is_lost = True
                raise

    def examine(self) -> None:
        """Looks at all of the store, which may take a while. Raises StoreError when something is damaged."""
        with self._asking() as connection:
            self._database.examine(connection)

    def damaged(self, why: Exception | str) -> StoreError:
        """The error for rows of which nothing can be made."""
        return self._database.damaged(why if isinstance(why, str) else f"{type(why).__name__}: {why}")

    def close(self) -> None:
        """Lets go of the connections of all threads."""
        with self._guard:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()


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
