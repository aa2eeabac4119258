"""The file of a store that is taken away, emptied or damaged while others count on it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from drystone.core.states import RunStatus
from drystone.errors import StoreError
from drystone.ports import Lease
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite
from drystone.testing.store_suite import MINUTE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".drystone" / "drystone.db"


@pytest.fixture
def journal(sqlite_url: str) -> Iterator[SqlJournal]:
    with closing(SqlJournal(sqlite_url)) as journal:
        yield journal


@pytest.fixture
def lease(journal: SqlJournal) -> Lease:
    """Of a run with three events."""
    lease = suite.claimed(journal)
    journal.append([suite.batch(lease, 1, 2, 3)])
    return lease


def refused(call: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call()
    assert caught.value.hint
    return caught.value


def put_back(error: StoreError) -> None:
    """Does what the hint says."""
    assert os.system(error.hint.splitlines()[-1]) == 0


def numbers(url: str) -> list[int]:
    with closing(SqlJournal(url)) as journal:
        return suite.numbers(journal)


def test_a_deleted_file_is_noticed_with_the_next_lease_and_nothing_is_lost(
    journal: SqlJournal, lease: Lease, file: Path, sqlite_url: str
) -> None:
    file.unlink()
    journal.append([suite.batch(lease, 4)])
    error = refused(lambda: journal.renew(lease, suite.NOON + MINUTE))
    assert error.message == f'store "{file}" was deleted while it was in use'
    # How the attempts ended that were in flight is written too.
    refused(lambda: journal.append([suite.batch(lease, 5)]))
    journal.close()
    assert not file.exists()
    put_back(error)
    assert numbers(sqlite_url) == [1, 2, 3, 4, 5]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_replaced_is_not_written_over(journal: SqlJournal, lease: Lease, file: Path, sqlite_url: str) -> None:
    file.rename(file.with_name("old.db"))
    shutil.copy(file.with_name("old.db"), file)
    before = file.read_bytes()
    error = refused(lambda: journal.claim(lease.run, "other", MINUTE, suite.NOON + 2 * MINUTE))
    assert error.message == f'store "{file}" was replaced by another file while it was in use'
    journal.close()
    assert file.read_bytes() == before
    put_back(error)
    assert numbers(sqlite_url) == [1, 2, 3]


def test_no_end_of_a_run_is_reported_that_others_cannot_see(journal: SqlJournal, lease: Lease, file: Path, sqlite_url: str) -> None:
    end = suite.a_summary(status=RunStatus.SUCCEEDED)
    file.unlink()
    error = refused(lambda: journal.append([replace(suite.batch(lease, 4), summary=end)]))
    journal.close()
    put_back(error)
    assert numbers(sqlite_url) == [1, 2, 3, 4]


def test_a_store_that_was_deleted_is_not_begun_anew_by_who_had_it_open(journal: SqlJournal, lease: Lease, file: Path) -> None:
    file.unlink()
    refused(journal.check)
    journal.close()
    refused(journal.locks)
    assert not file.exists()


def test_a_folder_that_was_deleted_is_told(journal: SqlJournal, lease: Lease, file: Path) -> None:
    shutil.rmtree(file.parent)
    error = refused(journal.check)
    assert error.message.endswith("was deleted while it was in use")
    assert error.hint == "restore it from a backup before anything else is run"


@pytest.mark.parametrize("with_index", [False, True])
def test_a_deleted_journal_file_is_noticed_and_nothing_is_lost(
    journal: SqlJournal, lease: Lease, file: Path, sqlite_url: str, with_index: bool
) -> None:
    journal.renew(lease, suite.NOON + MINUTE)
    wal = file.with_name("drystone.db-wal")
    wal.unlink()
    if with_index:
        file.with_name("drystone.db-shm").unlink()
    journal.append([suite.batch(lease, 4)])
    error = refused(lambda: journal.renew(lease, suite.NOON + MINUTE))
    assert error.message == f'"{wal}" was deleted, which is a part of the store in use'
    refused(lambda: journal.append([suite.batch(lease, 5)]))
    journal.close()
    assert numbers(sqlite_url) == [1, 2, 3, 4, 5]


def test_an_emptied_file_is_damage_and_its_journal_is_left_alone(sqlite_url: str, file: Path) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
        # As after kill -9.
        copies = {each: each.read_bytes() for each in file.parent.iterdir() if not each.name.endswith("-shm")}
    for path, content in copies.items():
        path.write_bytes(content)
    os.truncate(file, 0)
    wal = file.with_name("drystone.db-wal")
    error = refused(lambda: SqlJournal(sqlite_url))
    assert error.message == f'store "{file}" is damaged: it is empty, which no store ever is'
    assert wal.read_bytes() == copies[wal]


def test_a_store_is_never_seen_half_made(sqlite_url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", killed)
    with pytest.raises(KeyboardInterrupt):
        SqlJournal(sqlite_url)
    assert list(file.parent.iterdir()) == []


def test_a_store_is_made_where_there_are_no_hard_links(sqlite_url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
    assert [each.name for each in file.parent.iterdir()] == ["drystone.db"]


# ---- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.3, 0.5, 0.8])
def test_a_file_that_was_cut_off_is_damage(sqlite_url: str, file: Path, size: float) -> None:
    with closing(SqlJournal(sqlite_url)) as journal:
        suite.created(journal)
    os.truncate(file, int(file.stat().st_size * size))
    assert "is damaged: " in refused(lambda: SqlJournal(sqlite_url)).message


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE events SET body = substr(body, 2) WHERE seq = 2", "JSONDecodeError"),
        ("UPDATE events SET body = replace(body, '\"at\"', '\"at_\"') WHERE seq = 2", "KeyError: 'at'"),
        ("UPDATE events SET body = '[]' WHERE seq = 2", "AttributeError"),
        ("UPDATE events SET body = CAST(x'fffe' AS TEXT) WHERE seq = 2", "it holds text that is none"),
        ("DELETE FROM events WHERE seq = 2", "event 2 of run"),
        ("DELETE FROM events WHERE seq = 1", "event 1 of run"),
    ],
)
def test_events_that_cannot_be_read_are_damage(
    journal: SqlJournal, lease: Lease, file: Path, sqlite_url: str, damage: str, told: str
) -> None:
    journal.close()
    with closing(sqlite3.connect(file)) as store, store:
        store.execute(damage)
    error = refused(lambda: numbers(sqlite_url))
    assert error.message.startswith(f'store "{file}" is damaged: ') and told in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        ("UPDATE runs SET created_at = '2026-13-41'", lambda journal, run: journal.record(run)),
        ("UPDATE runs SET inputs = '{'", lambda journal, run: journal.record(run)),
        ("UPDATE run_states SET status = 'runnin'", lambda journal, run: journal.summary(run)),
        ("UPDATE run_states SET status = 'runnin'", lambda journal, run: journal.summaries()),
        ("UPDATE run_states SET lease_until = 'soon'", lambda journal, run: journal.claim(run, "B", MINUTE, suite.NOON)),
    ],
)
def test_rows_that_cannot_be_read_are_damage(
    journal: SqlJournal, lease: Lease, file: Path, damage: str, read: Callable[[SqlJournal, str], object]
) -> None:
    with closing(sqlite3.connect(file)) as store, store:
        store.execute(damage)
    assert f'store "{file}" is damaged: ' in refused(lambda: read(journal, lease.run)).message


def test_a_look_at_all_of_it_finds_pages_that_nobody_has_read(journal: SqlJournal, lease: Lease, file: Path, sqlite_url: str) -> None:
    for number in range(4, 400):
        journal.append([suite.batch(lease, number)])
    journal.examine()
    journal.close()
    with file.open("r+b") as pages:
        pages.seek(file.stat().st_size // 4096 // 2 * 4096)
        pages.write(b"\xff" * 4096)
    with closing(SqlJournal(sqlite_url)) as again:
        assert f'store "{file}" is damaged: ' in refused(again.examine).message
