"""The application's database client, against both kinds of database."""

import pytest
from ansible.module_utils.notes_database import DatabaseError, connect, split_statements


def test_values_come_back_as_they_went_in(connection):
    connection.script("CREATE TABLE t (a text, b integer, c text)")

    connection.rows("INSERT INTO t VALUES ($1, $2, $3)", "Größe; 'x' \"y\" \\n \n", -7, None)

    assert connection.rows("SELECT * FROM t") == [{"a": "Größe; 'x' \"y\" \\n \n", "b": -7, "c": None}]


def test_parameters_may_be_used_out_of_order_and_twice(connection):
    assert connection.rows("SELECT $2 || $1 || $2 AS word", "b", "a") == [{"word": "aba"}]


def test_large_values_survive(connection):
    connection.script("CREATE TABLE t (a text)")
    connection.rows("INSERT INTO t VALUES ($1)", "x" * 3_000_000)

    assert connection.rows("SELECT length(a) AS size FROM t") == [{"size": 3_000_000}]
    assert len(connection.rows("SELECT a FROM t")[0]["a"]) == 3_000_000


def test_failed_block_leaves_nothing(connection):
    with pytest.raises(DatabaseError, match="nonsense"), connection.transaction():
        connection.script("CREATE TABLE t (a text); INSERT INTO t VALUES ('x');")
        connection.rows("SELECT nonsense FROM t")

    assert not connection.has_table("t")
    assert not connection.in_transaction()


def test_statements_that_end_their_own_transaction_are_refused(connection):
    with pytest.raises(DatabaseError, match="leave out BEGIN, COMMIT"), connection.transaction():
        connection.script("COMMIT")


def test_connection_works_on_after_an_error(connection):
    with pytest.raises(DatabaseError):
        connection.rows("SELECT $1 FROM nowhere", 1)

    assert connection.rows("SELECT 1 AS one") == [{"one": 1}]


def test_missing_database_is_an_error_and_is_not_made(engine, tmp_path):
    settings = {"engine": engine, "location": str(tmp_path / "none"), "user": "notes", "name": "notes"}

    with pytest.raises(DatabaseError, match="none"):
        connect(settings)

    assert not list(tmp_path.iterdir())


def test_unknown_role_is_refused_by_the_server(server):
    settings = {"engine": "postgresql", "location": str(server.socket_folder), "user": "stranger", "name": "notes"}

    with pytest.raises(DatabaseError, match="stranger"):
        connect(settings)


def test_semicolons_end_statements_only_where_sql_says_so():
    trigger = "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM u; DELETE FROM v; END;"

    assert split_statements("SELECT ';'; -- a; b\nSELECT 2") == ["SELECT ';';", " -- a; b\nSELECT 2"]
    assert split_statements(f"{trigger} SELECT 1;\n") == [trigger, " SELECT 1;"]
