"""SQLite: one file, many readers, one writer at a time, every commit on the disk before it returns."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from drystone.errors import StoreError
from drystone.stores import migrations, queries
from drystone.stores.databases import Connection
from drystone.stores.sqlite_file import FileConnection, StoreFile


class Sqlite:
    """The database in the file `path`, made for its owner only; `busy` is the longest wait for another writer."""

    begin = "BEGIN IMMEDIATE"

    def __init__(self, path: Path, busy: timedelta) -> None:
        self.path = path
        self.busy = busy
        self.queries = queries.load(parameter=r":\1", locked="")
        self._file = StoreFile(path)

    def connect(self) -> FileConnection:
        """WAL mode stays in the file; that every commit waits for the disk (FULL) must be said each time."""
        self._file.prepare()
        connection = sqlite3.connect(
            self.path, timeout=self.busy.total_seconds(), isolation_level=None, check_same_thread=False, factory=FileConnection
        )
        self._file.opened(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def check(self, connection: Connection) -> None:
        """The file may have been deleted or replaced, which SQLite does not notice."""
        assert isinstance(connection, FileConnection)
        self._file.check(connection)

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
                return self._read_only()
            case sqlite3.SQLITE_CANTOPEN if self.path.is_file() and not os.access(self.path, os.R_OK):
                what, hint = "cannot be opened: this user may not read it", "make the file, and those beside it, readable for this user"
            case sqlite3.SQLITE_CANTOPEN:
                what, hint = "cannot be opened", f'make "{self.path.parent}" a folder that this user may write'
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                seconds = f"{self.busy.total_seconds():g}"
                what, hint = f"is busy: another process has been writing for {seconds} s", "see which process has it open, then try again"
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return self.damaged(str(error))
            case sqlite3.SQLITE_IOERR:
                what, hint = f"cannot be read or written: {error}", "look at the disk, the user's quota, ulimit -f and the kernel's log"
            case _ if str(error).startswith("Could not decode"):
                # It would go on with the text itself.
                return self.damaged("it holds text that is none")
            case _:
                what, hint = f"failed: {error}", 'look at it with "drystone doctor"'
        return StoreError(f'store "{self.path}" {what}', hint=hint)

    def _read_only(self) -> StoreError:
        hint = "make the file, those beside it and its folder writable for this user"
        return StoreError(f'store "{self.path}" cannot be written: it is read-only', hint=hint)

    def damaged(self, what: str) -> StoreError:
        """With the one way out that there is."""
        hint = "move it away and restore it from a backup, or start with an empty one"
        return StoreError(f'store "{self.path}" is damaged: {what}', hint=hint)

    def examine(self, connection: Connection) -> None:
        """SQLite's own look at every page."""
        if not os.access(self.path, os.W_OK):
            raise self._read_only()
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self.damaged(" ".join(found.split()))

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
