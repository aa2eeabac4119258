"""Numbered migrations: which are pending, how they are applied, how one batch is taken back.

Pure of Ansible and of the kind of database: it is given the files and an open connection. The table
`drystone_migrations` records for each applied version its checksum, its *batch* (the drystone run) and its way back,
so that a batch can be undone exactly even by a project whose files have changed since.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ansible.module_utils.notes_database import Connection, DatabaseError

TABLE = "drystone_migrations"

CREATE_TABLE = f"""
CREATE TABLE {TABLE} (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    batch      text NOT NULL,
    applied_at text NOT NULL,
    down_sql   text NOT NULL
)
"""

FILE_NAME = re.compile(r"(?P<version>\d+)-(?P<name>[a-z0-9-]+)\.(?P<way>up|down)\.sql")


class MigrationError(Exception):
    """Migrations that must not or could not be run; the text says which, why, and what to do next."""


@dataclass(frozen=True)
class Migration:
    """A step of the schema as its two files have it."""

    version: int
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """SHA-256 of both ways, as hexadecimal digits."""
        return hashlib.sha256(f"{self.up}\0{self.down}".encode()).hexdigest()


@dataclass(frozen=True)
class Applied:
    """A step of the schema as the database remembers it."""

    version: int
    name: str
    checksum: str
    batch: str
    down: str


def read_files(files: dict[str, str]) -> list[Migration]:
    """The migrations that the files (name -> SQL) make, by version.

    Raises MigrationError for a name that is not `NNNN-what.up.sql` or `.down.sql`, a way that is missing and a
    version that is there twice.
    """
    ways: dict[int, dict[str, tuple[str, str]]] = {}
    for file, sql in files.items():
        match = FILE_NAME.fullmatch(file)
        if match is None:
            raise MigrationError(f'"{file}" is not named like "0001-notes.up.sql" or "0001-notes.down.sql"')
        way = ways.setdefault(int(match["version"]), {})
        if match["way"] in way:
            raise MigrationError(f'"{file}": migration {int(match["version"])} is there twice: give it another number')
        way[match["way"]] = (match["name"], sql)
    return [_migration(version, way) for version, way in sorted(ways.items())]


def _migration(version: int, way: dict[str, tuple[str, str]]) -> Migration:
    if set(way) != {"up", "down"} or way["up"][0] != way["down"][0]:
        raise MigrationError(f'migration {version} needs an ".up.sql" and a ".down.sql" file of the same name')
    return Migration(version, way["up"][0], way["up"][1], way["down"][1])


def read_applied(connection: Connection) -> list[Applied]:
    """What the database remembers, by version; nothing when no migration ever ran."""
    if not connection.has_table(TABLE):
        return []
    rows = connection.rows(f"SELECT version, name, checksum, batch, down_sql FROM {TABLE} ORDER BY version")
    return [Applied(row["version"], row["name"], row["checksum"], row["batch"], row["down_sql"]) for row in rows]


def find_pending(migrations: list[Migration], applied: list[Applied], target: int | None = None) -> list[Migration]:
    """The migrations still to apply, up to version `target` (None: all), in order.

    Raises MigrationError when files and database contradict each other: an applied migration whose file has changed
    or is gone, or a new one numbered below the newest applied.
    """
    files = {migration.version: migration for migration in migrations}
    for step in applied:
        if step.version not in files:
            raise MigrationError(
                f'the database has migration {step.version} "{step.name}" of batch "{step.batch}", which these files '
                "do not know: use the files of that batch, or undo it first"
            )
        if files[step.version].checksum != step.checksum:
            raise MigrationError(
                f'migration {step.version} "{step.name}" has changed since batch "{step.batch}" applied it: restore '
                "its files, and put the change into a new migration"
            )
    newest = max((step.version for step in applied), default=0)
    known = {step.version for step in applied}
    pending = [step for step in migrations if step.version not in known and (target is None or step.version <= target)]
    for migration in pending:
        if migration.version < newest:
            raise MigrationError(
                f'migration {migration.version} "{migration.name}" is new, but {newest} is already applied: give it a number above {newest}'
            )
    return pending


def apply_one(connection: Connection, migration: Migration, batch: str) -> None:
    """Apply a migration and remember it, in one transaction.

    Raises MigrationError with the database's words when it fails; then nothing of it has happened.
    """
    try:
        with connection.transaction():
            if not connection.has_table(TABLE):
                connection.script(CREATE_TABLE)
            connection.script(migration.up)
            connection.rows(
                f"INSERT INTO {TABLE} (version, name, checksum, batch, applied_at, down_sql) VALUES ($1, $2, $3, $4, $5, $6)",
                *(migration.version, migration.name, migration.checksum),
                *(batch, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), migration.down),
            )
    except DatabaseError as error:
        raise MigrationError(f'migration {migration.version} "{migration.name}" failed: {error}') from error


def find_batch(applied: Iterable[Applied], batch: str) -> list[Applied]:
    """The migrations of a batch, newest first: the order of the way back.

    Raises MigrationError when another batch has built upon them.
    """
    mine = sorted((step for step in applied if step.batch == batch), key=lambda step: -step.version)
    for step in applied:
        if mine and step.version > mine[-1].version and step.batch != batch:
            raise MigrationError(
                f'migration {step.version} "{step.name}" of batch "{step.batch}" was applied on top of batch '
                f'"{batch}": undo batch "{step.batch}" first'
            )
    return mine


def undo_one(connection: Connection, step: Applied) -> None:
    """Take a migration back and forget it, in one transaction. Raises MigrationError as `apply_one` does."""
    try:
        with connection.transaction():
            connection.script(step.down)
            connection.rows(f"DELETE FROM {TABLE} WHERE version = $1", step.version)
    except DatabaseError as error:
        raise MigrationError(f'migration {step.version} "{step.name}" could not be undone: {error}') from error
