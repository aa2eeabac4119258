"""The store in a file: who may read it, and what a person is told when the disk says no."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import drystone
from drystone.errors import StoreError
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite

SOURCES = str(Path(drystone.__file__).parents[1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".drystone" / "drystone.db"


def test_store_is_for_its_owner_only(sqlite_url: str, file: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SqlJournal(sqlite_url)) as journal:
            suite.created(journal)
            assert file.parent.stat().st_mode & 0o777 == 0o700
            assert {each.stat().st_mode & 0o777 for each in file.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_every_commit_waits_for_the_disk(sqlite_url: str) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        connection = journal._connect()
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
        assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted


def test_closed_store_is_one_file(sqlite_url: str, file: Path) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
    assert [each.name for each in file.parent.iterdir()] == ["drystone.db"]


def told(url: str, **more: object) -> StoreError:
    with pytest.raises(StoreError) as caught, closing(SqlJournal(url, **more)) as journal:  # type: ignore[arg-type]
        suite.created(journal, "B")
    assert caught.value.hint
    return caught.value


def test_file_that_is_no_database_is_called_damaged(sqlite_url: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("this is no database, and long enough to look like one " * 100)
    error = told(sqlite_url)
    assert error.message == f'store "{file}" is damaged: file is not a database'
    assert "restore it from a backup" in error.hint
    assert file.read_text().startswith("this is no database")


def test_torn_pages_are_called_damage(sqlite_url: str, file: Path) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(b"\xff" * (file.stat().st_size - 4096))
    assert "is damaged: " in told(sqlite_url).message


def test_writer_that_does_not_end_is_waited_for_only_so_long(sqlite_url: str, file: Path) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = told(sqlite_url, busy=timedelta(milliseconds=50))
    assert error.message == f'store "{file}" is busy: another process has been writing for 0.05 s'


def test_folder_that_cannot_be_made_is_named(sqlite_url: str, file: Path) -> None:
    file.parent.write_text("a file in the way")
    error = told(sqlite_url)
    assert error.message == f'store "{file}" cannot be made: "{file.parent}" is not a folder'


def test_folder_in_the_place_of_the_file_is_told(sqlite_url: str, file: Path) -> None:
    file.mkdir(parents=True)
    assert told(sqlite_url).message == f'store "{file}" cannot be opened'


FILLS = """
import sys
from drystone.errors import StoreError
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite
journal = SqlJournal(sys.argv[1])
lease = suite.claimed(journal)
number = 0
try:
    while True:
        journal.append([suite.batch(lease, number + 1, number + 2, number + 3)])
        number += 3
except StoreError as error:
    print(error.message, error.hint, sep="|")
assert suite.numbers(journal) == list(range(1, number + 1))
"""

READS = """
import sys
from drystone.errors import StoreError
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite
try:
    suite.created(SqlJournal(sys.argv[1]), "B")
except StoreError as error:
    print(error.message, error.hint, sep="|")
"""


def in_mount_namespace(mount: str, script: str, url: str) -> str:
    """Runs Python where a folder is mounted for it alone."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        pytest.skip("full and read-only disks are NOT TESTED: it needs root and a kernel that lets mounts be made")
    shell = f'mount --make-rprivate / && {mount} && exec "$0" -c "$1" "$2"'
    argv = ["unshare", "-m", "sh", "-c", shell, sys.executable, script, url]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCES}
    return subprocess.run(argv, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_full_disk_is_told_and_nothing_that_was_reported_is_lost(sqlite_url: str, file: Path) -> None:
    file.parent.mkdir()
    said = in_mount_namespace(f"mount -t tmpfs -o size=600k none {file.parent}", FILLS, sqlite_url)
    assert said == f'store "{file}" cannot be written: the disk is full|make room, then go on with: drystone resume RUN\n'


def test_read_only_disk_is_told(sqlite_url: str, file: Path) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
    said = in_mount_namespace(f"mount --bind -o ro {file.parent} {file.parent}", READS, sqlite_url)
    assert said.startswith(f'store "{file}" cannot be')
    assert "|make" in said
