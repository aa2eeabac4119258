"""Which migrations are pending, how they are applied and how one batch is taken back, on both kinds of database."""

import pytest
from ansible.module_utils.notes_migrations import (
    MigrationError,
    apply_one,
    find_batch,
    find_pending,
    read_applied,
    read_files,
    undo_one,
)


@pytest.fixture
def files(migrations):
    return {path.name: path.read_text() for path in migrations.iterdir()}


def migrate(connection, files, batch, target=None):
    for step in find_pending(read_files(files), read_applied(connection), target):
        apply_one(connection, step, batch)
    return [step.version for step in read_applied(connection)]


def test_every_shipped_migration_has_a_way_back(connection, files):
    migrate(connection, files, "a")

    for step in find_batch(read_applied(connection), "a"):
        undo_one(connection, step)

    assert read_applied(connection) == []
    assert not any(connection.has_table(table) for table in ("notes", "note_tags"))
    assert migrate(connection, files, "b") == [1, 2, 3]


def test_migration_that_fails_half_way_leaves_nothing_of_itself(connection, files):
    files |= {
        "0004-bad.up.sql": "CREATE TABLE extra (a text);\nSELECT nonsense;",
        "0004-bad.down.sql": "DROP TABLE extra;",
    }

    with pytest.raises(MigrationError, match=r'migration 4 "bad" failed: .*nonsense'):
        migrate(connection, files, "a")

    assert [step.version for step in read_applied(connection)] == [1, 2, 3]
    assert not connection.has_table("extra")


def test_way_back_that_fails_leaves_its_migration_recorded(connection, files):
    files |= {
        "0004-stuck.up.sql": "CREATE TABLE extra (a text);",
        "0004-stuck.down.sql": "DROP TABLE extra; DROP TABLE none;",
    }
    migrate(connection, files, "a")

    with pytest.raises(MigrationError, match='migration 4 "stuck" could not be undone'):
        undo_one(connection, read_applied(connection)[-1])

    assert read_applied(connection)[-1].name == "stuck"
    assert connection.has_table("extra")


def test_batch_is_taken_back_by_the_way_that_was_recorded(connection, files):
    migrate(connection, files, "a")
    files["0003-note-tags.down.sql"] = "this file has changed since"

    for step in find_batch(read_applied(connection), "a"):
        undo_one(connection, step)

    assert read_applied(connection) == []


def test_batch_is_newest_first_and_nothing_but_itself(connection, files):
    migrate(connection, files, "a", target=1)
    migrate(connection, files, "b")

    assert [step.version for step in find_batch(read_applied(connection), "b")] == [3, 2]
    assert find_batch(read_applied(connection), "c") == []


def test_batch_that_another_built_upon_is_refused(connection, files):
    migrate(connection, files, "a", target=1)
    migrate(connection, files, "b")

    with pytest.raises(MigrationError, match='undo batch "b" first'):
        find_batch(read_applied(connection), "a")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"0002-note-author.up.sql": "SELECT 1;"}, 'migration 2 "note-author" has changed since batch "a"'),
        ({"0002-note-author.down.sql": "SELECT 1;"}, 'migration 2 "note-author" has changed since batch "a"'),
        ({"0002-note-author.up.sql": None, "0002-note-author.down.sql": None}, "these files do not know"),
        ({"0000-late.up.sql": "SELECT 1;", "0000-late.down.sql": "SELECT 1;"}, "give it a number above 3"),
    ],
)
def test_files_that_contradict_the_database_are_refused(connection, files, changes, reason):
    migrate(connection, files, "a")
    files = {name: sql for name, sql in (files | changes).items() if sql is not None}

    with pytest.raises(MigrationError, match=reason):
        migrate(connection, files, "b")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"notes.sql": ""}, '"notes.sql" is not named like'),
        ({"0001-a.up.sql": ""}, 'migration 1 needs an ".up.sql" and a ".down.sql"'),
        ({"0001-a.up.sql": "", "0001-b.down.sql": ""}, "of the same name"),
        ({"0001-a.up.sql": "", "01-b.up.sql": ""}, "migration 1 is there twice"),
    ],
)
def test_misnamed_files_are_refused(files, reason):
    with pytest.raises(MigrationError, match=reason):
        read_files(files)


def test_target_is_the_last_version_applied(connection, files):
    assert migrate(connection, files, "a", target=2) == [1, 2]
