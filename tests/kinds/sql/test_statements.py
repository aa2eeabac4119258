"""SQL is cut where it should be, and nothing in it is taken for a parameter that is none."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import mysql, postgresql, sqlite

from drystone.kinds.sql.effects import Effect
from drystone.kinds.sql.statements import SplitError, split


def cut(sql: str, dialect: str = "postgresql") -> list[str]:
    return [statement.text.replace("\\:", ":") for statement in split(sql, dialect)]


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("sqlite", "SELECT 'a;b''c;'"),
        ("sqlite", 'SELECT 1 AS "a;""b;"'),
        ("sqlite", "SELECT 1 AS [a;b], 2 AS `c;d`"),
        ("sqlite", "SELECT 1 -- a; b"),
        ("sqlite", "SELECT /* a; /* b; */ 1"),
        ("sqlite", "SELECT 'a' LIKE 'b' ESCAPE'\\', ';'"),
        ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END"),
        ("postgresql", "SELECT E'a\\';b', e'\\\\', ';'"),
        ("postgresql", "SELECT 'a\\', ';'"),
        ("postgresql", "SELECT $$a;b$$, $x$ $$;$$ $y$;$y$ $x$"),
        ("postgresql", "SELECT /* a; /* b; */ c; */ 1"),
        ("postgresql", "SELECT a$b$c, ';$b$'"),
        ("postgresql", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END"),
        ("postgresql", "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c)"),
        ("mysql", "SELECT 'a\\';b', \"c\\\";d\", `e;f`"),
        ("mysql", "SELECT 1 # a; b"),
        ("mysql", "/*!40101 SET NAMES utf8; */"),
        ("mysql", "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; END IF; BEGIN SELECT 2; END; IF b THEN SELECT 3; END IF; END"),
        ("mysql", "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN SELECT 1; END CASE; l: LOOP LEAVE l; END LOOP; END"),
        ("mssql", "SELECT [a;b] /* /* ; */ ; */"),
    ],
)
def test_a_semicolon_that_ends_nothing_cuts_nothing(dialect, sql):
    assert cut(f"{sql}\n;\n{sql}\n;SELECT 1", dialect) == [sql, sql, "SELECT 1"]


def test_empty_statements_are_left_out():
    assert cut(" ; ;; -- nothing\n; /* nothing */ SELECT 1 ; -- the end\n") == ["SELECT 1"]
    assert cut("") == []


def test_a_statement_knows_its_line_and_the_beginning_of_its_text():
    first, second = split("-- it begins\n\nSELECT\n  'a\nb';\nUPDATE x SET y = '" + "z" * 100 + "'", "sqlite")
    assert (first.line, first.title) == (3, "SELECT 'a b'")
    assert (second.line, len(second.title)) == (6, 70)


@pytest.mark.parametrize(
    ("sql", "what"),
    [("SELECT 1;\n'a", "text"), ('\n"a', "quoted name"), ("\n/* a /* b */", "comment"), ("SELECT 1;\n$$", None)],
)
def test_what_has_no_end_is_told_with_its_line(sql, what):
    if what is None:
        assert len(split(sql, "postgresql")) == 2
        return
    with pytest.raises(SplitError, match=f"the {what} that begins in line 2 has no end"):
        split(sql, "postgresql")


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, :b_2, :a", {"a", "b_2"}),
        ("SELECT x::int, :v::text, (:w)::int", {"v", "w"}),
        ("SELECT a[1:2], a[x:y], '12:30', ':no', \":no\", $$:no$$ -- :no", set()),
        ("SELECT f(a := 1), '{\"a\":1}'::jsonb", set()),
        ("SELECT :größe", {"größe"}),
    ],
)
def test_parameters_are_names_behind_a_colon_of_their_own(sql, names):
    (statement,) = split(sql, "postgresql")
    assert statement.names == names
    assert text(statement.text)._bindparams.keys() == names


PIECES = ["'a:b'", "':x'", "E'\\\\:y'", '"n:m"', "::int", " :p ", "(:p)", ": ", "\\: ", "-- :c\n", "/* :d */", "10:30", "% ", "x", " "]


@given(st.lists(st.sampled_from(PIECES)))
def test_the_database_gets_the_text_as_it_was_written(pieces):
    sql = "SELECT " + "".join(pieces)
    for dialect, mark in ((sqlite, "?"), (postgresql.psycopg, "%(p)s"), (mysql, "%s")):
        (statement,) = split(sql, "postgresql")
        assert statement.names <= {"p"}
        sent = str(text(statement.text).compile(dialect=dialect.dialect())).replace(mark, ":p")
        assert (sent if dialect is sqlite else sent.replace("%%", "%")) == sql.rstrip()


STATEMENTS = [
    "CREATE TABLE a (b TEXT DEFAULT ';')",
    "INSERT INTO a VALUES ('x;''y'), (\"z;\")",
    "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = CASE WHEN 1 THEN ';' ELSE 'END' END; SELECT 1; END",
    "SELECT [a;b], `c;d` /* ; */ FROM a -- ;",
]


@given(st.lists(st.sampled_from(STATEMENTS)))
def test_sqlite_agrees_on_where_statements_end(statements):
    found = cut("".join(f"{statement}\n;\n" for statement in statements), "sqlite")
    assert found == statements
    assert all(sqlite3.complete_statement(f"{statement}\n;") for statement in found)


@pytest.mark.parametrize(
    ("sql", "effect"),
    [
        ("SELECT * FROM item", Effect.READS),
        ("select count(*), lower(name), max(a.b) from item group by 2", Effect.READS),
        ("WITH a(x) AS (SELECT 1), b AS (SELECT x FROM a) SELECT * FROM b WHERE x IN (1, 2)", Effect.READS),
        ("VALUES (1), (2)", Effect.READS),
        ("SELECT x::numeric(10, 2), CAST(y AS varchar(5)) FROM a", Effect.READS),
        ("SELECT 'drop(x)', \"delete\" -- insert", Effect.READS),
        ("SHOW server_version", Effect.READS),
        ("SELECT drop_all()", Effect.OTHER),
        ('SELECT "drop all"()', Effect.OTHER),
        ("SELECT nextval('s')", Effect.OTHER),
        ("SELECT * INTO b FROM a", Effect.OTHER),
        ("SELECT * FROM a FOR UPDATE", Effect.OTHER),
        ("WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", Effect.OTHER),
        ("EXPLAIN ANALYZE DELETE FROM a", Effect.OTHER),
        ("PRAGMA user_version = 3", Effect.OTHER),
        ("CREATE TABLE a (b int)", Effect.OTHER),
        ("INSERT INTO a SELECT * FROM b", Effect.ROWS),
        ("update a set b = 1", Effect.ROWS),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", Effect.ROWS),
        ("BEGIN", Effect.TRANSACTION),
        ("START TRANSACTION READ ONLY", Effect.TRANSACTION),
        ("rollback", Effect.TRANSACTION),
        ("ROLLBACK TO SAVEPOINT a", Effect.OTHER),
        ("ROLLBACK WORK TO a", Effect.OTHER),
        ("SAVEPOINT a", Effect.OTHER),
    ],
)
def test_the_effect_of_a_statement_is_judged_with_care(sql, effect):
    assert [statement.effect for statement in split(sql, "postgresql")] == [effect]
