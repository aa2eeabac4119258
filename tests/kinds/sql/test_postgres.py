"""What the sql kind does on PostgreSQL: a server, logins, locks, and statements that go on without us."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from drystone.errors import CancelledError, FailureClass, PermanentError, TemporaryError

ROUTINES = """
CREATE TABLE item (id int PRIMARY KEY, tags text[]);
CREATE FUNCTION add_item(id int) RETURNS int LANGUAGE plpgsql AS $body$
BEGIN
  INSERT INTO item VALUES (add_item.id, '{new;old}');
  RAISE NOTICE 'item % is there', id;
  RETURN id;
END; $body$;
CREATE FUNCTION items() RETURNS bigint BEGIN ATOMIC SELECT 1; SELECT count(*) FROM item; END;
SELECT add_item(:first) AS added;
SELECT items() AS count, (SELECT tags FROM item LIMIT 1) AS tags
"""


def test_routines_arrays_and_notices(pg, attempt):
    outcome = pg(ROUTINES, params={"first": 7})
    assert outcome.outputs["rows"] == [{"count": 1, "tags": ["new;old"]}]
    assert "NOTICE: item 7 is there" in attempt.log
    assert outcome.changed


def test_a_function_that_nobody_knows_counts_as_a_change(pg):
    assert pg("SELECT pg_notify('a', 'b')").changed
    assert not pg("SELECT version()").changed


def test_values_of_all_types_are_json(pg):
    query = """SELECT 1.50::numeric AS price, 12345678901234567890.123456789::numeric AS exact, 'NaN'::float8 AS nan,
        '2026-01-02 03:04:05.6+00'::timestamptz AT TIME ZONE 'UTC' AS at, '2026-01-02'::date AS day, '90 min'::interval AS long,
        '\\x00ff'::bytea AS raw, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS id, '10.0.0.0/8'::cidr AS net,
        '{"a": [1]}'::jsonb AS doc, ARRAY[1, 2] AS list, true AS yes, NULL AS nothing"""
    assert pg(query).outputs["rows"] == [
        {
            "price": 1.5, "exact": "12345678901234567890.123456789", "nan": "nan",
            "at": "2026-01-02T03:04:05.600000", "day": "2026-01-02", "long": 5400.0,
            "raw": "AP8=", "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "net": "10.0.0.0/8",
            "doc": {"a": [1]}, "list": [1, 2], "yes": True, "nothing": None,
        }
    ]


def test_parameters_are_bound_whatever_stands_around_them(pg):
    query = """SELECT :a::int AS a, '%' || :b AS b, :doc::jsonb -> 'x' AS x, 3 = ANY(:list) AS found,
        (ARRAY[1,2,3])[2:3] AS part, '{"k":1}' AS text"""
    rows = pg(query, params={"a": 5, "b": "100%'; --", "doc": {"x": [1]}, "list": [1, 3]}).outputs["rows"]
    assert rows == [{"a": 5, "b": "%100%'; --", "x": [1], "found": True, "part": [2, 3], "text": '{"k":1}'}]


def test_a_large_result_never_comes_as_a_whole(pg, postgres):
    outputs = pg("SELECT generate_series(1, 2000000000) AS i", max_rows=3).outputs
    assert ([row["i"] for row in outputs["rows"]], outputs["truncated"]) == ([1, 2, 3], True)


def test_all_statements_or_none(pg_failure, postgres, schema):
    error = pg_failure("CREATE TABLE item (id int PRIMARY KEY)", "INSERT INTO item VALUES (1)", "INSERT INTO item VALUES (1)")
    assert isinstance(error, TemporaryError)
    assert (error.failure_class, error.changed) == (FailureClass.FAILED, False)
    assert error.message == 'statement 3: duplicate key value violates unique constraint "item_pkey"'
    assert error.detail == "Key (id)=(1) already exists."
    assert postgres.ask(f"SELECT to_regclass('{schema}.item') IS NULL") == "t"


def test_what_fails_at_the_commit_has_failed(pg_failure):
    error = pg_failure(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO b VALUES (1)",
    )
    assert error.failure_class is FailureClass.FAILED
    assert error.message.startswith("commit: ")


@pytest.mark.parametrize("statement", ["VACUUM", "CREATE INDEX CONCURRENTLY i ON pg_class (oid)"])
def test_a_statement_that_no_transaction_takes_says_what_to_do(pg_failure, statement):
    error = pg_failure(statement)
    assert error.failure_class is FailureClass.INVALID
    assert "transaction: false" in error.hint


def test_without_a_transaction_it_runs(pg, postgres, schema):
    pg("CREATE TABLE item (id int)", "CREATE INDEX CONCURRENTLY i ON item (id)", "VACUUM item", transaction=False)
    assert postgres.ask(f"SELECT count(*) FROM pg_indexes WHERE schemaname = '{schema}'") == "1"


@pytest.mark.parametrize(
    ("statement", "failure_class"),
    [
        ("SELEC 1", FailureClass.INVALID),
        ("SELECT * FROM nowhere", FailureClass.INVALID),
        ("SELECT nothing()", FailureClass.INVALID),
        ("SELECT 1 / 0", FailureClass.FAILED),
        ("DO $$ BEGIN RAISE EXCEPTION 'no'; END $$", FailureClass.FAILED),
        ("SET TRANSACTION READ ONLY; CREATE TABLE x (id int)", FailureClass.REFUSED),
        ("SET LOCAL ROLE guest; SELECT * FROM pg_authid", FailureClass.REFUSED),
        ("SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(60)", FailureClass.TIMEOUT),
        ("SELECT pg_terminate_backend(pg_backend_pid())", FailureClass.UNREACHABLE),
        ("COPY pg_class TO STDOUT", FailureClass.INVALID),
    ],
)
def test_the_class_of_a_failure_tells_what_kind_it_is(pg_failure, statement, failure_class):
    error = pg_failure(statement)
    assert error.failure_class is failure_class, error.message
    assert error.permanent is (failure_class in (FailureClass.INVALID, FailureClass.REFUSED))
    assert not error.changed


def test_the_servers_hint_is_ours(pg_failure):
    error = pg_failure("CREATE TABLE item (name text)", "SELECT nmae FROM item")
    assert error.message == 'statement 2: column "nmae" does not exist'
    assert "item.name" in error.hint


def test_a_lock_of_another_is_a_conflict(pg, pg_failure, postgres, schema):
    pg("CREATE TABLE item (id int)")
    psql = [postgres.binaries / "psql", "-h", postgres.sockets, "-p", str(postgres.port), "-U", "postgres", "-XAtq", "postgres"]
    with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdin.write(f"BEGIN; LOCK TABLE {schema}.item; SELECT 'locked';\n")
        other.stdin.flush()
        assert other.stdout.readline() == "locked\n"
        error = pg_failure("SET LOCAL lock_timeout = '50ms'", "INSERT INTO item VALUES (1)")
        other.stdin.close()
    assert (error.failure_class, error.changed) == (FailureClass.CONFLICT, False)


# ---- logins ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_unreachable(run, postgres, attempt, canary):
    with pytest.raises(TemporaryError) as caught:
        run("SELECT 1", url=f"postgresql://owner:{canary}@127.0.0.1:1/postgres")
    assert (caught.value.failure_class, caught.value.changed) == (FailureClass.UNREACHABLE, False)
    assert caught.value.message.startswith("postgresql+psycopg://owner@127.0.0.1:1/postgres: ")
    assert canary not in attempt.log


@pytest.mark.parametrize(
    ("change", "failure_class"),
    [
        (("owner:", "owner:wrong"), FailureClass.REFUSED),
        (("owner:", "nobody:"), FailureClass.REFUSED),
        (("/postgres", "/nowhere"), FailureClass.INVALID),
        (("/postgres", "/postgres?sslmode=require"), FailureClass.REFUSED),
        (("/postgres", "/postgres?odd=1"), FailureClass.INVALID),
    ],
)
def test_a_login_that_cannot_work_is_permanent_and_shows_no_password(run, postgres, attempt, change, failure_class):
    head, _, tail = postgres.url.rpartition("/")
    url = f"{head}/{tail}".replace(*change)
    with pytest.raises(PermanentError) as caught:
        run("SELECT 1", url=url)
    error = caught.value
    assert error.failure_class is failure_class, error.message
    assert not error.changed
    assert postgres.password not in f"{error.message} {error.detail} {error.hint} {attempt.log}"


def test_the_password_is_a_secret_however_it_is_written(run, postgres, attempt):
    password = f"p/{postgres.password}@ü"
    postgres.ask(f"ALTER ROLE guest PASSWORD '{password}'")
    url = f"postgresql://guest:p%2F{postgres.password}%40%C3%BC@127.0.0.1:{postgres.port}/postgres"
    outcome = run("SELECT current_user AS me", url=url)
    assert outcome.outputs["rows"] == [{"me": "guest"}]
    attempt.ctx.log(f"{password} {url}")
    assert postgres.password not in attempt.log


def test_a_socket_needs_no_password(run, postgres):
    url = f"postgresql+psycopg:///postgres?host={postgres.sockets}&port={postgres.port}&user=guest"
    assert run("SELECT current_user AS me", url=url).outputs["rows"] == [{"me": "guest"}]


def test_the_servers_administrator_sees_which_task_it_is(pg, attempt):
    rows = pg("SELECT application_name AS name FROM pg_stat_activity WHERE pid = pg_backend_pid()").outputs["rows"]
    assert rows == [{"name": f"drystone {attempt.ctx.run_id} task"}]


# ---- the end of time -------------------------------------------------------------------------------------------------


def sleepers(postgres) -> str:
    return postgres.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")


@pytest.mark.parametrize("transaction", [True, False])
def test_cancel_stops_the_statement_in_the_server(pg, attempt, postgres, schema, transaction, in_background, eventually):
    work = in_background(lambda: pg("CREATE TABLE item (id int)", "SELECT pg_sleep(600)", transaction=transaction))
    eventually(lambda: sleepers(postgres) == "1")
    attempt.stop()
    work.join(8)
    assert isinstance(work.error, CancelledError)
    assert work.error.changed is not transaction
    assert postgres.ask(f"SELECT to_regclass('{schema}.item') IS NULL") == ("t" if transaction else "f")
    assert sleepers(postgres) == "0"


def test_a_timeout_stops_the_statement_in_the_server(pg_failure, postgres):
    error = pg_failure("SELECT pg_sleep(600)", timeout="300ms")
    assert (error.failure_class, error.changed) == (FailureClass.TIMEOUT, False)
    assert sleepers(postgres) == "0"


@pytest.mark.parametrize("transaction", [True, False])
def test_no_statement_outlives_a_killed_drystone(postgres, tmp_path, transaction, eventually):
    program = """
        import sys
        from contextlib import nullcontext
        from pathlib import Path
        from drystone.kinds.sql import Sql
        class Context:
            run_id, task, project, cancelled = "run", "task", Path("/"), False
            redact = log = check = lambda *_: None
            endpoint = lambda *_: nullcontext()
        config = {"url": sys.argv[1], "statements": "SELECT pg_sleep(600)", "transaction": sys.argv[2] == "True"}
        Sql().run(Context(), Sql.Config.model_validate(config))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), postgres.url, str(transaction)]
    with subprocess.Popen(command, cwd=tmp_path) as child:
        eventually(lambda: sleepers(postgres) == "1")
        os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: sleepers(postgres) == "0")
