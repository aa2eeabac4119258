"""SQLite: one file, many readers, one writer at a time, every commit on the disk before it returns."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from drystone.errors import StoreError
from drystone.stores import migrations, queries
from drystone.stores.databases import Connection


class Sqlite:
    """The database in the file `path`, made for its owner only; `busy` is the longest wait for another writer."""

    begin = "BEGIN IMMEDIATE"

    def __init__(self, path: Path, busy: timedelta) -> None:
        self.path = path
        self.busy = busy
        self.queries = queries.load(parameter=r":\1", locked="")

    def connect(self) -> sqlite3.Connection:
        """WAL mode stays in the file; that every commit waits for the disk (FULL) must be said each time."""
        if not self.path.exists():
            self._make()
        connection = sqlite3.connect(
            self.path, timeout=self.busy.total_seconds(), isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def hold(self, connection: Connection, what: str) -> None:
        """Nothing to do: who writes is alone."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """By SQLite's own codes, so that the words of its messages do not matter."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(
                f'store "{self.path}" cannot be made: "{error.filename}" is not a folder', hint="move that file, or change store.url"
            ) from error
        except OSError as error:
            raise StoreError(
                f'store "{self.path}" cannot be made: {(error.strerror or str(error)).lower()}', hint=f'make "{self.path.parent}" writable'
            ) from error

    def _explained(self, error: sqlite3.Error) -> StoreError:
        # The low byte is the kind of error, the rest its detail.
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_FULL:
                what, hint = "cannot be written: the disk is full", "make room, then go on with: drystone resume RUN"
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                what, hint = "cannot be written: it is read-only", "make the file and its folder writable for this user"
            case sqlite3.SQLITE_CANTOPEN:
                what, hint = "cannot be opened", f'make "{self.path.parent}" a folder that this user may write'
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                seconds = f"{self.busy.total_seconds():g}"
                what, hint = f"is busy: another process has been writing for {seconds} s", "see which process has it open, then try again"
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                what, hint = f"is damaged: {error}", "move it away and restore it from a backup, or start with an empty one"
            case sqlite3.SQLITE_IOERR:
                what, hint = f"cannot be read or written: {error}", "look at the disk and the kernel's log"
            case _:
                what, hint = f"failed: {error}", 'look at it with "drystone doctor"'
        return StoreError(f'store "{self.path}" {what}', hint=hint)

    def version(self, connection: Connection) -> str | None:
        """SQLite has no code of its own for a missing table."""
        try:
            row = connection.execute(self.queries["version"]).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        return None if row is None else str(row[0])

    def upgrade(self, is_needed: Callable[[str | None], bool]) -> None:
        """Under the writer's lock of the file itself: of two processes that meet here, the second finds the work done."""
        connection = self.connect()
        try:
            self._to_wal(connection)
            migrations.upgrade("sqlite://", connection, lock=self.begin, is_needed=lambda: is_needed(self.version(connection)))
        finally:
            connection.close()

    def _make(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def _to_wal(self, connection: sqlite3.Connection) -> None:
        # Changing the mode does not wait for others as other statements do, so it is tried again by hand.
        until = time.monotonic() + self.busy.total_seconds()
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            time.sleep(0.01)
