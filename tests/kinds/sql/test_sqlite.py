"""What the sql kind does, on SQLite."""

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import pytest
from pydantic import ValidationError

from drystone.errors import CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.sql import Sql

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(autouse=True)
def _shop(shop):
    """Every test here has one."""


def test_rows_are_maps_by_column(run):
    outcome = run("SELECT id, name, price FROM item WHERE id > 1 ORDER BY id")
    assert outcome.outputs == {
        "rows": [{"id": 2, "name": "plum", "price": 2.0}, {"id": 3, "name": "fig", "price": None}],
        "rowcount": 2,
        "truncated": False,
    }
    assert not outcome.changed


def test_a_name_that_comes_twice_gets_a_number(run):
    assert run("SELECT 1 AS a, 2 AS a, 3 AS a_2").outputs["rows"] == [{"a": 1, "a_3": 2, "a_2": 3}]


def test_rows_are_of_the_last_statement_that_gave_any(run):
    assert run("SELECT 1 AS a", "SELECT 2 AS b", "UPDATE item SET price = 0").outputs["rows"] == [{"b": 2}]


def test_rowcount_is_of_all_statements_that_change_things(run):
    outcome = run("SELECT * FROM item", "UPDATE item SET price = 1 WHERE id < 3", "DELETE FROM item WHERE id = 3")
    assert outcome.outputs["rowcount"] == 3
    assert outcome.result == {"statements": 3}
    assert outcome.changed


def test_rows_that_a_change_returns_are_outputs_and_all_are_changed(run, look):
    outcome = run("UPDATE item SET price = 9 RETURNING id", max_rows=1)
    assert outcome.outputs == {"rows": [{"id": 1}], "rowcount": 3, "truncated": True}
    assert look("SELECT DISTINCT price FROM item") == [(9.0,)]


def test_a_change_that_finds_no_row_has_changed_nothing(run):
    assert not run("INSERT INTO item VALUES (1, 'pear', 1) ON CONFLICT DO NOTHING").changed
    assert not run("UPDATE item SET price = 1 WHERE id = 99", transaction=False).changed
    assert run("INSERT INTO item VALUES (4, 'date', 1) ON CONFLICT DO NOTHING").changed
    assert run("CREATE TABLE IF NOT EXISTS item (id)").changed


@pytest.mark.parametrize(("max_rows", "kept", "truncated"), [(0, 0, True), (2, 2, True), (3, 3, False), (4, 3, False)])
def test_more_rows_than_allowed_are_left_out_and_told(run, max_rows, kept, truncated):
    outputs = run("SELECT id FROM item", max_rows=max_rows).outputs
    assert (len(outputs["rows"]), outputs["truncated"]) == (kept, truncated)


def test_rows_never_outgrow_what_the_store_takes(run):
    outputs = run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT hex(zeroblob(50000)) AS x FROM n").outputs
    assert (len(outputs["rows"]), outputs["truncated"]) == (9, True)


def test_an_endless_result_is_read_no_further_than_needed(run):
    outputs = run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", max_rows=2).outputs
    assert outputs == {"rows": [{"i": 1}, {"i": 2}], "rowcount": 2, "truncated": True}


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_are_bound_and_never_read_as_sql(run, look):
    evil = "x'); DROP TABLE item; --"
    run("INSERT INTO item VALUES (:id, :name, :price)", params={"id": 4, "name": evil, "price": None})
    assert look("SELECT name, price FROM item WHERE id = 4") == [(evil, None)]


def test_a_statement_may_have_parameters_of_its_own(run):
    steps = [{"sql": "UPDATE item SET price = :price WHERE id = :id", "params": {"id": 1}}, "SELECT price FROM item WHERE id = :id"]
    assert run(*steps, params={"id": 2, "price": 7}).outputs["rows"] == [{"price": 2.0}]


def test_a_list_of_parameters_runs_the_statement_for_each(run, look):
    sets = [{"id": 4, "name": "date"}, {"id": 5, "name": "lime"}]
    outcome = run({"sql": "INSERT INTO item VALUES (:id, :name, :price)", "params": sets}, params={"price": 3})
    assert outcome.outputs["rowcount"] == 2
    assert look("SELECT name, price FROM item WHERE id > 3") == [("date", 3.0), ("lime", 3.0)]
    assert not run({"sql": "INSERT INTO item VALUES (:id, :name, 0)", "params": []}).changed


def test_a_parameter_without_a_value_is_invalid_before_anything_runs(failure, look):
    error = failure("DELETE FROM item", "SELECT :nmae", params={"name": "x"})
    assert isinstance(error, PermanentError)
    assert (error.failure_class, error.changed) == (FailureClass.INVALID, False)
    assert (error.message, error.hint) == ('statement 2: there is no parameter "nmae"', 'did you mean "name"?')
    assert look("SELECT count(*) FROM item") == [(3,)]


def test_colons_and_percent_signs_in_texts_are_only_characters(run):
    text = """SELECT ':a %s %(b)s {"a":1} 10:30 \\:x' AS "n:m", '100%' AS p /* :c */ -- :d"""
    assert run(text).outputs["rows"] == [{"n:m": ':a %s %(b)s {"a":1} 10:30 \\:x', "p": "100%"}]
    assert run("SELECT '%' || :a AS x", params={"a": "%s"}).outputs["rows"] == [{"x": "%%s"}]


def test_maps_and_lists_are_bound_as_json(run):
    statement = "SELECT value FROM json_each(:ids) WHERE value > :tags ->> '$.low'"
    assert run(statement, params={"ids": [1, 2, 3], "tags": {"low": 1}}).outputs["rows"] == [{"value": 2}, {"value": 3}]


# ---- files and several statements ------------------------------------------------------------------------------------


SCRIPT = """\
-- What a shop sells; and what it does not
CREATE TABLE log (line TEXT DEFAULT 'a;b');
CREATE TRIGGER sold AFTER DELETE ON item BEGIN
  INSERT INTO log VALUES (CASE WHEN OLD.id > :x THEN 'sold;' || OLD.name ELSE '?' END);
END;

DELETE FROM item WHERE id = :id;  /* the last; one */
SELECT line FROM log
"""


def test_a_file_is_split_into_its_statements(run, project, attempt):
    (project / "sql").mkdir()
    (project / "sql/shop.sql").write_text("\ufeff" + SCRIPT.replace(":x", "0"), encoding="utf-8")
    outcome = run(file="sql/shop.sql", params={"id": 2})
    assert outcome.outputs["rows"] == [{"line": "sold;plum"}]
    assert [line.partition(" ")[0] for line in attempt.log.splitlines()[1:]] == [f"sql/shop.sql:{line}:" for line in (2, 3, 7, 8)]


def test_one_text_may_hold_several_statements(run):
    assert run(statements=SCRIPT.replace(":x", "0"), params={"id": 1}).outputs["rows"] == [{"line": "sold;pear"}]


def test_a_mistake_in_a_file_is_told_with_its_line(failure, project, look):
    (project / "shop.sql").write_text("DELETE FROM item;\n\nSELECT * FROM itme;\n")
    error = failure(file="shop.sql")
    assert error.message == "shop.sql:3: no such table: itme"
    assert (error.failure_class, error.changed) == (FailureClass.INVALID, False)
    assert look("SELECT count(*) FROM item") == [(3,)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"SELECT 'a;\n", 'shop.sql: the text that begins in line 1 has no end'),
        (b"SELECT 1;\n/* a", "shop.sql: the comment that begins in line 2 has no end"),
        (b"-- nothing\n;;", 'there is no statement in "shop.sql"'),
        (b"", 'there is no statement in "shop.sql"'),
        (b"SELECT '\xff'", '"shop.sql" is not UTF-8: invalid start byte at byte 8'),
    ],
)
def test_a_file_that_cannot_be_used_is_invalid(failure, project, content, message):
    (project / "shop.sql").write_bytes(content)
    error = failure(file="shop.sql")
    assert (error.failure_class, error.message, error.changed) == (FailureClass.INVALID, message, False)


def test_a_missing_file_is_invalid(failure):
    assert failure(file="none.sql").failure_class is FailureClass.INVALID
    assert failure(file=".").failure_class is FailureClass.INVALID


# ---- transactions ----------------------------------------------------------------------------------------------------


def test_all_statements_or_none(failure, look):
    error = failure("CREATE TABLE extra (id)", "DELETE FROM item", "INSERT INTO item VALUES (1, NULL, 1)")
    assert (error.failure_class, error.changed) == (FailureClass.FAILED, False)
    assert error.message == "statement 3: NOT NULL constraint failed: item.name"
    assert look("SELECT count(*) FROM item") == [(3,)]
    assert look("SELECT * FROM sqlite_master WHERE name = 'extra'") == []


def test_without_a_transaction_each_statement_stands_for_itself(failure, look):
    error = failure("DELETE FROM item WHERE id = 1", "nonsense", transaction=False)
    assert (error.failure_class, error.changed) == (FailureClass.INVALID, True)
    assert look("SELECT id FROM item ORDER BY id") == [(2,), (3,)]


def test_without_a_transaction_a_plan_may_make_its_own(failure, look):
    failure("BEGIN", "DELETE FROM item WHERE id = 1", "nonsense", transaction=False)
    assert look("SELECT count(*) FROM item") == [(3,)]


@pytest.mark.parametrize("statement", ["BEGIN", "commit", "ROLLBACK", "END TRANSACTION"])
def test_a_transaction_within_the_transaction_is_refused(failure, look, statement):
    error = failure("DELETE FROM item", statement)
    assert (error.failure_class, error.changed) == (FailureClass.INVALID, False)
    assert "transaction: false" in error.hint
    assert look("SELECT count(*) FROM item") == [(3,)]


def test_savepoints_are_allowed(run, look):
    run("SAVEPOINT a; DELETE FROM item; ROLLBACK TO a; RELEASE a; DELETE FROM item WHERE id = 1")
    assert look("SELECT id FROM item ORDER BY id") == [(2,), (3,)]


def test_a_statement_that_no_transaction_takes_says_what_to_do(failure, run):
    error = failure("VACUUM")
    assert error.failure_class is FailureClass.INVALID
    assert "transaction: false" in error.hint
    assert run("VACUUM", transaction=False).changed


# ---- failures --------------------------------------------------------------------------------------------------------


def test_a_lock_of_another_is_a_conflict(failure, shop):
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        error = failure("DELETE FROM item", url="sqlite:///shop.db?timeout=0.1")
    assert isinstance(error, TemporaryError)
    assert (error.failure_class, error.changed) == (FailureClass.CONFLICT, False)


def test_a_file_in_a_missing_folder_is_invalid(failure):
    error = failure("SELECT 1", url="sqlite:///nowhere/shop.db")
    assert error.failure_class is FailureClass.INVALID
    assert "unable to open database file" in error.message


def test_a_file_that_is_no_database_is_invalid(failure, project):
    (project / "text.db").write_text("no database " * 100)
    assert failure("SELECT 1 FROM x", url="sqlite:///text.db").failure_class is FailureClass.INVALID


def test_a_database_that_may_only_be_read_refuses_changes(failure, shop):
    error = failure("DELETE FROM item", url=f"sqlite:///file:{shop}?mode=ro&uri=true")
    assert (error.failure_class, error.permanent) == (FailureClass.REFUSED, True)


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("nonsense", '"url" is no SQLAlchemy URL', "dialect://"),
        ("sqlite://host:port/x", '"url" is no SQLAlchemy URL', "dialect://"),
        ("postgre://u:{canary}@h/d", 'there is no dialect for "postgre"', 'did you mean "postgresql"?'),
        ("mysql+pymysql://u:{canary}@h/d", 'the database driver "pymysql" is not there', 'pip install "pymysql"'),
        ("sqlite:///shop.db?timeout=soon&password={canary}", "the driver does not take the URL", "look at its query"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_without_its_secrets(failure, attempt, canary, url, message, hint):
    error = failure("SELECT 1", url=url.replace("{canary}", canary))
    assert error.failure_class in (FailureClass.INVALID, FailureClass.CRASHED)
    assert not error.changed
    assert message in error.message
    assert hint in error.hint
    assert canary not in f"{error.message} {error.detail} {error.hint} {attempt.log}"


def test_rows_of_a_sensitive_task_are_sealed(run, failure, canary):
    outcome = run("SELECT :x AS x", params={"x": canary}, sensitive=True)
    assert outcome.outputs["rows"] == [{"x": canary}]
    assert outcome.sensitive == {"rows"}
    error = failure("SELECT json(:x)", params={"x": canary}, sensitive=True)
    assert error.message == "statement 1: OperationalError (SQLITE_ERROR)"


# ---- the end of time -------------------------------------------------------------------------------------------------


def test_cancel_interrupts_the_statement_and_takes_all_back(run, attempt, in_background, eventually, look):
    work = in_background(lambda: run("DELETE FROM item", ENDLESS))
    eventually(lambda: "DELETE FROM item" in attempt.log)
    attempt.stop()
    work.join(8)
    assert isinstance(work.error, CancelledError)
    assert not work.error.changed
    assert look("SELECT count(*) FROM item") == [(3,)]


def test_a_timeout_interrupts_the_statement(failure):
    error = failure("DELETE FROM item", ENDLESS, timeout="300ms")
    assert (error.failure_class, error.changed, error.hint) == (FailureClass.TIMEOUT, False, 'give them more with "timeout"')


def test_the_time_of_the_attempt_counts_too(new_attempt):
    ctx = new_attempt(timeout=timedelta(milliseconds=300)).ctx
    with pytest.raises(TemporaryError) as caught:
        Sql().run(ctx, Sql.Config.model_validate({"url": "sqlite://", "statements": ENDLESS}))
    assert caught.value.failure_class is FailureClass.TIMEOUT


def test_what_cannot_be_interrupted_is_left_alone_and_never_commits(
    run, attempt, shop, look, in_background, eventually, monkeypatch
):
    monkeypatch.setattr("drystone.kinds.sql.task._GRACE_SECONDS", 0.2)
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        work = in_background(lambda: run("DELETE FROM item", url="sqlite:///shop.db?timeout=60"))
        eventually(lambda: "1 statement" in attempt.log)
        attempt.stop()
        work.join(8)
    assert isinstance(work.error, CancelledError)
    assert work.error.changed
    assert "may still be at work" in work.error.detail
    eventually(lambda: not any(thread.name == "sql" for thread in threading.enumerate()))
    assert look("SELECT count(*) FROM item") == [(3,)]


# ---- what the plan says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"statements": []},
        {"statements": "SELECT 1", "file": "a.sql"},
        {"statements": [{"sql": ""}]},
        {"statements": [{"sql": "SELECT 1", "parms": {}}]},
        {"statements": "SELECT 1", "max_rows": -1},
        {"statements": "SELECT 1", "timeout": 0},
    ],
)
def test_a_config_that_says_nothing_clear_is_refused(config):
    with pytest.raises(ValidationError):
        Sql.Config.model_validate({"url": "sqlite://", **config})


@pytest.mark.parametrize(
    ("statements", "changes"),
    [
        ("SELECT count(*) FROM item", False),
        (["SELECT 1", {"sql": "VALUES (1)"}], False),
        (["SELECT 1", "DELETE FROM item"], True),
        ("SELECT 1; DROP TABLE item", True),
        ("SELECT 'an open text", True),
        ([object()], True),
        (object(), True),
        ([{"sql": object()}], True),
        (None, True),
        ({"odd": 1}, True),
    ],
)
def test_only_what_surely_reads_changes_nothing_and_may_be_repeated(statements, changes):
    config = {"url": object(), "statements": statements}
    assert Sql.changes_things(config) is changes
    assert Sql.is_idempotent(config) is not changes
    assert Sql.is_idempotent({**config, "idempotent": True})
    assert Sql.changes_things({"url": "sqlite://", "file": "x.sql"})
