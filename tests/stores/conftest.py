"""Stores to test: in memory, SQLite in a folder of the test, PostgreSQL in a cluster of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from drystone.ports import Journal
from drystone.stores.memory import MemoryJournal
from drystone.stores.sql import SqlJournal

pytest.register_assert_rewrite("drystone.testing.store_suite")

Liveness = Callable[[str], bool | None]
Now = Callable[[], datetime]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The folder of a PostgreSQL server's socket; the server lives as long as the tests."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip('PostgreSQL is NOT TESTED: there is no /usr/lib/postgresql/*/bin/initdb ("apt install postgresql" brings it)')
    binaries = found[-1].parent
    # initdb refuses root, and a socket's path may have 107 bytes: hence a short folder that belongs to postgres.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="dspg"))
    shutil.chown(folder, user)
    data = folder / "data"

    def command(*argv: str) -> None:
        who = user if os.geteuid() == 0 else None
        subprocess.run([str(binaries / argv[0]), *argv[1:]], user=who, cwd="/", check=True, capture_output=True)

    try:
        command("initdb", "-D", str(data), "-A", "trust", "-U", "drystone", "-N", "--locale=C.UTF-8")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        command("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield str(folder)
        finally:
            command("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    with _database(postgres_server) as url:
        yield url


@contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(f"postgresql://drystone@/postgres?host={server}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"postgresql+psycopg://drystone@/{name}?host={server}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_store(postgres_server: str) -> Iterator[str]:
    """The URL of a store that is used again and again, as making one takes half a second; `journal` empties it."""
    with _database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a store that is not there yet."""
    return f"sqlite:///{tmp_path}/.drystone/drystone.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Each kind of database that processes share."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, is_alive: Liveness, now: Now) -> Iterator[Journal]:
    """Each kind of store."""
    match request.param:
        case "memory":
            yield MemoryJournal(is_alive=is_alive, now=now)
        case "sqlite":
            with closing(SqlJournal(request.getfixturevalue("sqlite_url"), is_alive=is_alive, now=now)) as journal:
                yield journal
        case _:
            url = request.getfixturevalue("postgres_store")
            with closing(SqlJournal(url, is_alive=is_alive, now=now)) as journal:
                yield journal
            with psycopg.connect(url.replace("+psycopg", "")) as connection:
                connection.execute("TRUNCATE runs, run_states, events, tasks, locks, line, slots, requests, servers, schedules, ticks")
