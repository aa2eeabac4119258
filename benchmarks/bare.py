"""What the machine can do at best: the same rows in the same number of transactions, with nothing around SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.figures import Taken, timed
from benchmarks.project import folder
from drystone.core import codec
from drystone.ports import Batch
from drystone.stores import rows

TABLES = """
CREATE TABLE states (run TEXT PRIMARY KEY, status TEXT, done INTEGER);
CREATE TABLE events (run TEXT, seq INTEGER, body TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE tasks (run TEXT, id TEXT, task TEXT, kind TEXT, status TEXT, attempts INTEGER, started TEXT, finished TEXT,
                    class TEXT, PRIMARY KEY (run, id)) WITHOUT ROWID;
"""
EVENT = "INSERT INTO events VALUES (?, ?, ?)"
TASK = "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
STATE = "INSERT OR REPLACE INTO states VALUES (?, ?, ?)"


def write(batches: Sequence[Batch]) -> Taken:
    """These transactions, each of them on the disk before the next one begins."""
    ready = [_rows(batch) for batch in batches]
    with folder() as place:
        connection = sqlite3.connect(place / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(TABLES)
        taken = timed(lambda: _write(connection, ready))
        connection.close()
        return taken


_Rows = tuple[list[tuple[object, ...]], list[tuple[object, ...]], tuple[object, ...]]


def _write(connection: sqlite3.Connection, ready: Sequence[_Rows]) -> None:
    for events, tasks, state in ready:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(EVENT, events)
        connection.executemany(TASK, tasks)
        connection.execute(STATE, state)
        connection.execute("COMMIT")


def _rows(batch: Batch) -> _Rows:
    events: list[tuple[object, ...]] = [(batch.run, event.seq, codec.dumps(event)) for event in batch.events]
    tasks = [tuple(rows.from_task(task).values()) for task in batch.tasks]
    assert batch.summary is not None
    return events, tasks, (batch.run, batch.summary.status.value, batch.summary.tasks_done)


def read(store: Path) -> None:
    """Every event of a store, as JSON."""
    connection = sqlite3.connect(store)
    events = [json.loads(body) for (body,) in connection.execute("SELECT body FROM events ORDER BY run, seq")]
    connection.close()
    assert events


def parse(text: str) -> None:
    """Libyaml goes through a text, and nothing is made of it."""
    for _ in yaml.parse(text, Loader=yaml.CSafeLoader):
        pass
