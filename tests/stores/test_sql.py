"""What only a store on a disk must keep: several processes, sudden death, and its own past and future."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import drystone
from drystone.core import codec
from drystone.core.states import RunStatus
from drystone.errors import DrystoneError, LockedError, RefusedError, StoreError
from drystone.ports import Lease
from drystone.stores import migrations
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite

SOURCES = str(Path(drystone.__file__).parents[1])


def python(script: str, *argv: str) -> subprocess.Popen[str]:
    """A process of its own, which may import what the tests do."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *argv], env={"PYTHONPATH": SOURCES}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# ---- sudden death -------------------------------------------------------------------------------------------------------

APPENDS = """
import sys
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite
journal = SqlJournal(sys.argv[1])
lease = suite.claimed(journal)
number = 0
while True:
    numbers = range(number + 1, number + 4)
    journal.append([suite.batch(lease, *numbers, summary=suite.a_summary(tasks_done=numbers[-1]))])
    number = numbers[-1]
    print(number, flush=True)
"""


def test_reported_events_survive_kill_9_and_half_a_batch_is_never_seen(url: str) -> None:
    with python(APPENDS, url) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(30)]
        writer.kill()
        reported += [int(line) for line in writer.stdout.read().splitlines()]
    with closing(SqlJournal(url)) as journal:
        found = suite.numbers(journal)
        assert found == list(range(1, len(found) + 1))
        assert len(found) in (reported[-1], reported[-1] + 3)
        assert journal.summary(suite.RUN).tasks_done == len(found)


# ---- several processes --------------------------------------------------------------------------------------------------

OPENS = """
import sys
# Loaded before the start, so that all come to the migration at the same moment.
import alembic.command, alembic.op, sqlalchemy
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite
print("ready", flush=True)
sys.stdin.readline()
journal = SqlJournal(sys.argv[1])
suite.created(journal, sys.argv[2])
print(len(list(journal.summaries())) > 0)
"""


def start_together(script: str, *arguments: tuple[str, ...]) -> list[str]:
    """Runs a script with each of these arguments, all at the same moment; gives the last line of each."""
    processes = [python(script, *each) for each in arguments]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0].strip() for process in processes]


def test_processes_that_open_a_fresh_store_at_once_all_succeed(url: str) -> None:
    assert start_together(OPENS, *[(url, f"R{number}") for number in range(4)]) == ["True"] * 4
    with closing(SqlJournal(url)) as journal:
        assert len(journal.summaries()) == 4


CLAIMS = """
import sys
from drystone.errors import LockedError
from drystone.stores.sql import SqlJournal
from drystone.testing import store_suite as suite
journal = SqlJournal(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    print("won", journal.claim(suite.RUN, sys.argv[2], suite.MINUTE, suite.NOON).epoch)
except LockedError as error:
    print("lost to", error.owner)
"""


def test_of_processes_that_claim_one_run_one_wins(url: str) -> None:
    with closing(SqlJournal(url)) as journal:
        suite.created(journal)
        said = start_together(CLAIMS, *[(url, f"host:{number}") for number in range(4)])
        winner = journal.summary(suite.RUN).owner
        assert sorted(said) == [f"lost to {winner}"] * 3 + ["won 1"]
        assert said[int(str(winner).removeprefix("host:"))] == "won 1"


def at_once(journal: SqlJournal, calls: list[Callable[[], Any]]) -> list[Any]:
    """What the calls gave or raised, each from a thread of its own."""
    gate = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return one()
        except DrystoneError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_of_runs_that_lock_one_environment_one_wins(url: str) -> None:
    with closing(SqlJournal(url)) as journal:
        runs = [suite.created(journal, f"R{number}") for number in range(6)]
        results = at_once(journal, [lambda run=run: journal.lock(suite.a_lock(run)) for run in runs])  # type: ignore[misc]
        assert results.count(None) == 1
        assert sum(isinstance(result, LockedError) for result in results) == 5
        assert journal.locks()[0].run == runs[results.index(None)]


def test_of_runs_that_use_one_token_one_is_created(url: str) -> None:
    with closing(SqlJournal(url)) as journal:
        calls = [lambda run=f"R{number}": suite.created(journal, run, token="T") for number in range(6)]  # type: ignore[misc]
        results = at_once(journal, calls)
        assert sum(isinstance(result, str) for result in results) == 1
        assert sum(isinstance(result, RefusedError) for result in results) == 5
        assert len(journal.summaries()) == 1


def test_of_runs_that_come_into_a_line_at_once_one_is_told_that_it_is_first(url: str) -> None:
    with closing(SqlJournal(url, now=lambda: suite.NOON)) as journal:
        runs = [suite.created(journal, f"R{number}", concurrency="shop") for number in range(6)]

        def sees_itself_first(run: str) -> bool:
            journal.claim(run, f"host:{run}", suite.MINUTE, suite.NOON)
            return suite.line(journal)[0] == run

        results = at_once(journal, [lambda run=run: sees_itself_first(run) for run in reversed(runs)])  # type: ignore[misc]
        assert results.count(True) == 1
        assert sorted(suite.line(journal)) == runs


def test_runs_that_ask_a_pool_at_once_never_get_more_than_it_has(url: str) -> None:
    with closing(SqlJournal(url)) as journal:
        leases = [suite.claimed(journal, f"R{number}") for number in range(6)]

        def ask(lease: Lease, held: int) -> int:
            return held + journal.slots(lease, "db", size=7, held=held, wanted=2 - held, now=suite.NOON)

        held = at_once(journal, [lambda lease=lease: ask(lease, 0) for lease in leases])  # type: ignore[misc]
        assert sum(held) <= 7
        held = [ask(lease, before) for lease, before in zip(leases, held, strict=True)]
        assert sum(held) == 7


def test_who_asks_a_pool_in_vain_writes_nothing(sqlite_url: str) -> None:
    with closing(SqlJournal(sqlite_url)) as journal, closing(SqlJournal(sqlite_url)) as other:
        one, two = suite.claimed(journal, "A"), suite.claimed(journal, "B")
        assert journal.slots(one, "db", size=1, held=0, wanted=1, now=suite.NOON) == 1
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=suite.NOON) == 0
        before = other._connect().execute("PRAGMA data_version").fetchall()
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=suite.NOON + suite.MINUTE / 2) == 0
        assert other._connect().execute("PRAGMA data_version").fetchall() == before


def test_readers_see_whole_batches_while_another_thread_writes(url: str) -> None:
    with closing(SqlJournal(url)) as journal:
        lease = suite.claimed(journal)
        written = threading.Event()

        def read() -> int:
            seen = 0
            while not written.is_set():
                done = journal.summary(suite.RUN).tasks_done
                found = suite.numbers(journal)
                assert found == list(range(1, len(found) + 1))
                assert len(found) % 10 == 0
                assert len(found) >= done
                seen = len(found)
            return seen

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            for first in range(1, 500, 10):
                numbers = range(first, first + 10)
                journal.append([suite.batch(lease, *numbers, summary=suite.a_summary(tasks_done=numbers[-1]))])
            written.set()
            assert all(reader.result(timeout=20) <= 500 for reader in readers)
        assert len(suite.numbers(journal)) == 500


# ---- its schema ---------------------------------------------------------------------------------------------------------


def test_newest_version_is_the_last_migration() -> None:
    files = sorted(Path(migrations.__file__).with_name("versions").glob("[0-9]*.py"))
    assert files[-1].name.startswith(f"{migrations.NEWEST}_")
    assert [file.name[:4] for file in files] == [f"{number:04}" for number in range(1, len(files) + 1)]


def test_store_of_version_0001_is_brought_up_to_date_and_keeps_everything(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as past:
        past.setattr(migrations, "NEWEST", "0001")
        with closing(SqlJournal(url)) as journal, journal._writing() as connection:
            for row in OF_0001:
                connection.execute(row)
    with closing(SqlJournal(url, now=lambda: suite.NOON)) as journal:
        record = suite.a_record(environment="staging", token="T", inputs={"vms": 2})
        assert journal.record(suite.RUN) == journal.by_token("T") == record
        succeeded = suite.a_summary(
            environment="staging", status=RunStatus.SUCCEEDED, started_at=suite.NOON, finished_at=suite.NOON, tasks_done=3
        )
        assert journal.summaries() == [succeeded]
        assert suite.numbers(journal) == [1]
        assert journal.tasks(suite.RUN) == [suite.a_task(status="succeeded", finished_at=suite.NOON)]
        assert journal.locks() == [suite.a_lock()]
        assert journal.claim(suite.RUN, "host:1", suite.MINUTE, suite.NOON).epoch == 8
        assert journal.durations("shop") == {"vm": [0]}
        suite.claimed(journal, "B", concurrency="shop")
        assert suite.line(journal) == ["B"]


AT = "2026-01-01T12:00:00.000000Z"
OF_0001 = [
    f"""INSERT INTO runs (id, plan, plan_file, root, bundle, environment, created_at, created_by, token, inputs, source) VALUES
    ('{suite.RUN}', 'shop', 'plans/shop.yaml', '/srv/shop', 'sha256:0', 'staging', '{AT}', 'ada@host', 'T', '{{"vms":2}}',
    'drystone: 1\nname: shop\n')""",
    f"""INSERT INTO run_states (run, status, started_at, finished_at, tasks_done, tasks_total, error, epoch) VALUES
    ('{suite.RUN}', 'succeeded', '{AT}', '{AT}', 3, 3, NULL, 7)""",
    f"INSERT INTO events (run, seq, body) VALUES ('{suite.RUN}', 1, '{codec.dumps(suite.an_event(1))}')",
    f"""INSERT INTO tasks (run, id, task, kind, status, attempts, started_at, finished_at, failure_class) VALUES
    ('{suite.RUN}', 'vm[0]', 'vm', 'noop', 'succeeded', 1, '{AT}', '{AT}', NULL)""",
    f"INSERT INTO locks (environment, run, owner, reason, since) VALUES ('staging', '{suite.RUN}', 'host:1', 'run', '{AT}')",
]
"""A run as version 0001 kept it."""


LOADED = """
import json, sys
from drystone.stores.sql import SqlJournal
SqlJournal(sys.argv[1]).close()
print(json.dumps([name for name in ("alembic", "sqlalchemy", "sqlite3", "psycopg") if name in sys.modules]))
"""


def test_opening_a_store_that_is_up_to_date_loads_its_driver_only(url: str) -> None:
    SqlJournal(url).close()
    with python(LOADED, url) as process:
        assert json.loads(process.communicate()[0]) == ["sqlite3" if url.startswith("sqlite") else "psycopg"]


def test_store_of_a_newer_drystone_is_refused(url: str) -> None:
    SqlJournal(url).close()
    set_version(url, "9999")
    with pytest.raises(StoreError, match='its schema is "9999"') as caught:
        SqlJournal(url)
    assert "use that drystone" in caught.value.hint


def set_version(url: str, version: str) -> None:
    import sqlite3

    change = f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{version}'"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(change)
            connection.commit()
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute(change)


def test_event_of_a_newer_drystone_is_refused(url: str) -> None:
    with closing(SqlJournal(url)) as journal:
        lease = suite.claimed(journal)
        journal.append([suite.batch(lease, 1)])
        with journal._writing() as connection:
            connection.execute("UPDATE events SET body = replace(body, '\"v\":1', '\"v\":99')")
        with pytest.raises(StoreError, match="version 99"):
            suite.numbers(journal)


# ---- addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["mysql://me:hunter2@host/db", "sqlite://", "sqlite:///", "drystone.db", "postgresql:me:hunter2"])
def test_unknown_kind_of_store_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreError, match="there is no store") as caught:
        SqlJournal(url)
    assert "hunter2" not in str(caught.value)
    assert "sqlite:///PATH" in caught.value.hint


def test_relative_path_is_below_the_root(tmp_path: Path) -> None:
    SqlJournal("sqlite:///deep/my.db", root=tmp_path).close()
    assert (tmp_path / "deep" / "my.db").is_file()


def test_server_that_does_not_answer_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        SqlJournal(f"postgresql+psycopg://me:hunter2@/shop?host={tmp_path}")
    assert "hunter2" not in str(caught.value)
    assert f"shop@{tmp_path}" in caught.value.message


def test_broken_url_is_told_without_the_password() -> None:
    with pytest.raises(StoreError, match="not a PostgreSQL URL") as caught:
        SqlJournal("postgresql+psycopg://me:hunter2@host/db?nonsense=hunter2")
    assert "hunter2" not in str(caught.value)


def test_connection_that_the_server_ended_is_replaced(postgres_url: str) -> None:
    with closing(SqlJournal(postgres_url)) as journal:
        suite.created(journal)
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        with pytest.raises(StoreError):
            journal.summaries()
        assert len(journal.summaries()) == 1


def test_rows_held_by_another_are_waited_for_only_so_long(postgres_url: str) -> None:
    with closing(SqlJournal(postgres_url, busy=timedelta(milliseconds=50))) as journal:
        lease = suite.claimed(journal)
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
            connection.execute("SELECT * FROM run_states FOR UPDATE")
            with pytest.raises(StoreError, match=r"is busy: rows have been held for 0\.05 s"):
                journal.append([suite.batch(lease, 1)])
        journal.append([suite.batch(lease, 1)])


def test_pool_that_another_asks_is_waited_for(postgres_url: str) -> None:
    with closing(SqlJournal(postgres_url, busy=timedelta(milliseconds=50))) as journal:
        lease = suite.claimed(journal)
        with journal._writing() as connection, ThreadPoolExecutor(1) as other:
            journal._database.hold(connection, "pool db")
            asked = other.submit(journal.slots, lease, "db", size=1, held=0, wanted=1, now=suite.NOON)
            with pytest.raises(StoreError, match="is busy"):
                asked.result()
            asked = other.submit(journal.slots, lease, "web", size=1, held=0, wanted=1, now=suite.NOON)
            assert asked.result() == 1
        assert journal.slots(lease, "db", size=1, held=0, wanted=1, now=suite.NOON) == 1
