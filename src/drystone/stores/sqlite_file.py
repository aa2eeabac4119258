"""The file of a SQLite store: how it is made, and what is done when somebody takes it away while it is in use.

SQLite itself goes on writing to a file that was deleted, and nobody would find again what it wrote.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from drystone.errors import StoreError

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links say."""

_Identity = tuple[int, int]
"""Device and inode: a file that was moved away and another one of its name differ."""


class FileConnection(sqlite3.Connection):
    """Knows which files it was opened on."""

    file: _Identity | None = None
    wal: _Identity | None = None


class StoreFile:
    """The file at `path`, and its journal of newest changes beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wal = path.with_name(f"{path.name}-wal")
        self._opened: _Identity | None = None
        self._copy: Path | None = None

    def prepare(self) -> None:
        """Before a connection: makes the file when it is not there. Raises StoreError when it was emptied or taken away."""
        if self._opened is not None and _identity(self.path) != self._opened:
            raise self._gone()
        if not self.path.exists():
            self._make()
        if self.path.stat().st_size == 0:
            # SQLite would take it for a new database, and throw away what the journal still has.
            raise StoreError(
                f'store "{self.path}" is damaged: it is empty, which no store ever is',
                hint="restore it from a backup, or move it away to start with an empty one",
            )

    def _make(self) -> None:
        """For its owner only, and never to be seen half made."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}-", dir=self.path.parent)
        os.close(handle)
        new = Path(name)
        try:
            with closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            try:
                os.link(new, self.path)
            except FileExistsError:
                pass  # another process was quicker
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if not self.path.exists():
                    new.rename(self.path)
        finally:
            new.unlink(missing_ok=True)

    def opened(self, connection: FileConnection) -> None:
        """After a connection: remembers which file it has."""
        connection.file = _identity(self.path)
        self._opened = self._opened or connection.file

    def check(self, connection: FileConnection) -> None:
        """Raises StoreError when the file or its journal is not in its place any more; then all it holds is saved first."""
        if connection.file != _identity(self.path):
            self._rescue(connection)
            raise self._gone()
        wal = _identity(self.wal)
        if connection.wal is None:
            # It is there from the first question on, but not on file systems that have no such journals.
            connection.wal = wal
        elif connection.wal != wal:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise StoreError(
                f'"{self.wal}" was deleted, which is a part of the store in use',
                hint=f'nothing is lost: what it held was written to "{self.path}"',
            )

    def _rescue(self, connection: sqlite3.Connection) -> None:
        """Copies all that was ever written, if there still is a folder, and room, for it."""
        copy = self.path.with_name(f"{self.path.name}.rescued-{os.getpid()}")
        with suppress(OSError, sqlite3.Error):
            os.close(os.open(copy, os.O_CREAT | os.O_WRONLY, 0o600))
            with closing(sqlite3.connect(copy)) as target:
                connection.backup(target)
            self._copy = copy

    def _gone(self) -> StoreError:
        what = "replaced by another file" if self.path.exists() else "deleted"
        mend = "restore it from a backup before anything else is run"
        if self._copy is not None:
            back = f"rm -f {self.wal} {self.path}-shm; mv {self._copy} {self.path}"
            mend = f"all it held was saved; this puts it back, once nothing else uses the store:\n{back}"
        return StoreError(f'store "{self.path}" was {what} while it was in use', hint=mend)


def _identity(path: Path) -> _Identity | None:
    """None when there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
