"""What `sql` needs to know of a database: how to connect, to begin a write, to change the schema alone, and to explain its errors.

Each driver's own module (`sqlite`, `postgres`) has the one class of this shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from drystone.errors import StoreError


class Cursor(Protocol):
    """What both drivers give back."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def executemany(self, query: str, rows: Sequence[Mapping[str, Any]], /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What both drivers connect with; in autocommit mode, transactions are begun by hand."""

    def execute(self, query: str, row: Mapping[str, Any] = ..., /) -> Cursor: ...
    def cursor(self) -> Cursor: ...
    def close(self) -> None: ...


class Database(Protocol):
    """One database, not yet connected."""

    begin: str
    """The statement that begins a transaction which writes."""
    queries: Mapping[str, str]

    def connect(self) -> Connection:
        """A connection of one thread's own. Raises the driver's errors."""
        ...

    def hold(self, connection: Connection, what: str) -> None:
        """In a transaction that writes: keeps others who hold the same out until its end."""
        ...

    def check(self, connection: Connection) -> None:
        """Raises StoreError when what the connection writes to cannot be found by others any more."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Turns the driver's errors into StoreError, with the next step."""
        ...

    def damaged(self, what: str) -> StoreError:
        """The error for rows that nothing can be made of."""
        ...

    def examine(self, connection: Connection) -> None:
        """Looks at all of it, which may take a while. Raises StoreError when something is damaged."""
        ...

    def version(self, connection: Connection) -> str | None:
        """Of the schema, or None in an empty database."""
        ...

    def upgrade(self, is_needed: Any) -> None:
        """Brings the schema to the newest version, alone, if `is_needed(version)` still says so then."""
        ...


def open_database(url: str, root: Path, busy: timedelta) -> Database:
    """The database behind a URL such as `sqlite:///.drystone/drystone.db` (below `root`) or `postgresql+psycopg://host/name`.

    Raises StoreError when there is no such kind of store, or its driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    match scheme:
        case "sqlite" if separator and rest.strip("/"):
            from drystone.stores.sqlite import Sqlite

            return Sqlite(root / rest[1:], busy)
        case "postgresql" | "postgresql+psycopg" if separator:
            from drystone.stores.postgres import Postgres

            return Postgres(f"postgresql://{rest}", busy)
        case _:
            # All but the scheme may hold a password.
            raise StoreError(
                f'there is no store "{scheme}://…"' if separator else "there is no store of that form",
                hint="store.url is sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE",
            )
