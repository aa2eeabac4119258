"""Databases to work on: SQLite files of the project, and schemas of a PostgreSQL server."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import Server, postgres

from drystone.errors import AttemptError
from drystone.kinds.sql import Sql
from drystone.plugin.api import Outcome

__all__ = ["postgres"]
sql = Sql()


@pytest.fixture
def shop(project: Path) -> Path:
    """A SQLite file of the project with three items."""
    with closing(sqlite3.connect(project / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL)")
        connection.executemany("INSERT INTO item VALUES (?, ?, ?)", [(1, "pear", 1.5), (2, "plum", 2.0), (3, "fig", None)])
    return project / "shop.db"


@pytest.fixture
def look(shop: Path) -> Callable[[str], list[Any]]:
    """Rows of a query on the shop, asked without drystone."""

    def ask(query: str) -> list[Any]:
        with closing(sqlite3.connect(shop)) as connection:
            return connection.execute(query).fetchall()

    return ask


@pytest.fixture
def run(attempt) -> Callable[..., Outcome]:
    """Runs with this config, on the shop unless it says otherwise."""

    def do(*statements: Any, **config: Any) -> Outcome:
        given = {"statements": statements} if statements else {}
        return sql.run(attempt.ctx, Sql.Config.model_validate({"url": "sqlite:///shop.db", **given, **config}))

    return do


@pytest.fixture
def failure(run: Callable[..., Outcome]) -> Callable[..., AttemptError]:
    """The error of such a run."""

    def of(*statements: Any, **config: Any) -> AttemptError:
        with pytest.raises(AttemptError) as caught:
            run(*statements, **config)
        return caught.value

    return of


@pytest.fixture
def schema(postgres: Server) -> Iterator[str]:
    """A fresh schema in the server."""
    name = f"s{secrets.token_hex(4)}"
    postgres.ask(f"CREATE SCHEMA {name}")
    yield name
    postgres.ask(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def pg(run: Callable[..., Outcome], postgres: Server, schema: str) -> Callable[..., Outcome]:
    """Runs on PostgreSQL, in a schema of the test's own."""
    return lambda *statements, **config: run(*statements, **{"url": f"{postgres.url}?options=-csearch_path%3D{schema}", **config})


@pytest.fixture
def pg_failure(pg: Callable[..., Outcome]) -> Callable[..., AttemptError]:
    """The error of such a run."""

    def of(*statements: Any, **config: Any) -> AttemptError:
        with pytest.raises(AttemptError) as caught:
            pg(*statements, **config)
        return caught.value

    return of
