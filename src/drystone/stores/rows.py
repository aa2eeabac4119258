"""The store's rows to the ports' records, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from drystone.core import codec
from drystone.core.states import RunStatus
from drystone.ports import LockInfo, RunRecord, RunSummary, TaskRow

Row = Sequence[Any]
"""Columns in the order of the query in `queries.sql`."""


def from_record(record: RunRecord) -> Mapping[str, Any]:
    """For insert_run."""
    return {
        "id": record.id,
        "plan": record.plan,
        "plan_file": record.plan_file,
        "root": record.root,
        "bundle": record.bundle,
        "environment": record.environment,
        "created_at": codec.to_text(record.created_at),
        "created_by": record.created_by,
        "token": record.token,
        "inputs": codec.pack(record.inputs),
        "source": record.source,
    }


def to_record(row: Row) -> RunRecord:
    """Of record and record_by_token."""
    return RunRecord(
        id=row[0],
        plan=row[1],
        plan_file=row[2],
        root=row[3],
        bundle=row[4],
        environment=row[5],
        created_at=codec.from_text(row[6]),
        created_by=row[7],
        token=row[8],
        inputs=codec.unpack(row[9]),
        source=row[10],
    )


def from_summary(summary: RunSummary) -> Mapping[str, Any]:
    """For insert_state and update_state; who owns a run is told by its lease alone."""
    return {
        "run": summary.id,
        "status": summary.status.value,
        "started_at": _to_text(summary.started_at),
        "finished_at": _to_text(summary.finished_at),
        "tasks_done": summary.tasks_done,
        "tasks_total": summary.tasks_total,
        # PostgreSQL keeps no NUL in text, and what a tool printed may hold one.
        "error": None if summary.error is None else summary.error.replace("\0", "\ufffd"),
    }


def to_summary(row: Row, is_alive: Callable[[str], bool | None]) -> RunSummary:
    """Of summary and summaries. An owner whose process is known to be gone is none."""
    owner = row[10]
    return RunSummary(
        id=row[0],
        plan=row[1],
        environment=row[2],
        created_at=codec.from_text(row[3]),
        status=RunStatus(row[4]),
        started_at=_from_text(row[5]),
        finished_at=_from_text(row[6]),
        tasks_done=row[7],
        tasks_total=row[8],
        error=row[9],
        owner=None if owner is None or is_alive(owner) is False else owner,
    )


def from_task(task: TaskRow) -> Mapping[str, Any]:
    """For put_task."""
    return {
        "run": task.run,
        "id": task.id,
        "task": task.task,
        "kind": task.kind,
        "status": task.status,
        "attempts": task.attempts,
        "started_at": _to_text(task.started_at),
        "finished_at": _to_text(task.finished_at),
        "failure_class": task.failure_class,
    }


def to_task(row: Row) -> TaskRow:
    """Of tasks."""
    return TaskRow(
        run=row[0],
        id=row[1],
        task=row[2],
        kind=row[3],
        status=row[4],
        attempts=row[5],
        started_at=_from_text(row[6]),
        finished_at=_from_text(row[7]),
        failure_class=row[8],
    )


def from_lock(lock: LockInfo) -> Mapping[str, Any]:
    """For lock."""
    return {
        "environment": lock.environment,
        "run": lock.run,
        "owner": lock.owner,
        "reason": lock.reason,
        "since": codec.to_text(lock.since),
    }


def to_lock(row: Row) -> LockInfo:
    """Of locks."""
    return LockInfo(environment=row[0], run=row[1], owner=row[2], reason=row[3], since=codec.from_text(row[4]))


def _to_text(instant: datetime | None) -> str | None:
    return None if instant is None else codec.to_text(instant)


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else codec.from_text(text)
