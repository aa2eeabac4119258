"""The store's rows to the ports' records, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from drystone.core import codec
from drystone.core.states import RunStatus
from drystone.ports import LockInfo, Place, Request, RunRecord, RunSummary, ServerInfo, TaskRow
from drystone.stores import sharing
from drystone.stores.sharing import Seat

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
        "parent": record.parent,
        "concurrency": record.concurrency,
        "manner": codec.pack(record.manner),
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
        parent=row[11],
        concurrency=row[12],
        manner=codec.unpack(row[13]),
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
        "attention": summary.attention,
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
        attention=row[11],
        parent=row[12],
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


def to_place(row: Row, now: datetime, is_alive: Callable[[str], bool | None]) -> Place:
    """Of line."""
    is_driven = sharing.is_driven(row[3], _from_text(row[4]), now, is_alive)
    return Place(run=row[0], status=RunStatus(row[1]), since=codec.from_text(row[2]), owner=row[3] if is_driven else None)


def from_seat(pool: str, seat: Seat) -> Mapping[str, Any]:
    """For sit and stand_up."""
    return {"pool": pool, "run": seat.run, "held": seat.held, "wanted": seat.wanted, "since": codec.to_text(seat.since)}


def to_seats(found: Iterable[Row], run: str, now: datetime, is_alive: Callable[[str], bool | None]) -> list[Seat]:
    """Of seats: the run's own, and those of runs which a live process drives."""
    counted = (row for row in found if row[0] == run or sharing.is_driven(row[4], _from_text(row[5]), now, is_alive))
    return [Seat(row[0], row[1], row[2], codec.from_text(row[3])) for row in counted]


def from_request(request: Request) -> Mapping[str, Any]:
    """For ask."""
    return {
        "id": request.id,
        "run": request.run,
        "type": request.type,
        "asked_by": request.by,
        "at": codec.to_text(request.at),
        "data": codec.pack(request.data),
    }


def to_request(row: Row) -> Request:
    """Of requests."""
    return Request(id=row[0], run=row[1], type=row[2], by=row[3], at=codec.from_text(row[4]), data=codec.unpack(row[5]))


def is_unattended(row: Row, now: datetime, is_alive: Callable[[str], bool | None]) -> bool:
    """Of open."""
    return sharing.is_unattended(row[1], _from_text(row[2]), row[3], codec.from_text(row[4]), now, is_alive)


def from_server(server: ServerInfo, until: datetime) -> Mapping[str, Any]:
    """For serve."""
    return {"owner": server.owner, "address": server.address, "since": codec.to_text(server.since), "until": codec.to_text(until)}


def to_servers(found: Iterable[Row], now: datetime, is_alive: Callable[[str], bool | None]) -> list[ServerInfo]:
    """Of servers: those that are alive."""
    living = (row for row in found if sharing.is_driven(row[0], codec.from_text(row[3]), now, is_alive))
    return [ServerInfo(owner=row[0], address=row[1], since=codec.from_text(row[2])) for row in living]


def to_durations(found: Iterable[Row]) -> Mapping[str, Sequence[float]]:
    """Of durations: task -> seconds."""
    seconds: dict[str, list[float]] = {}
    for task, started_at, finished_at in found:
        taken = codec.from_text(finished_at) - codec.from_text(started_at)
        seconds.setdefault(task, []).append(taken.total_seconds())
    return seconds


def _to_text(instant: datetime | None) -> str | None:
    return None if instant is None else codec.to_text(instant)


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else codec.from_text(text)
