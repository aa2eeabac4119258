"""What the suite puts into a store, and how it looks at what is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from drystone.core.events import Event, EventType
from drystone.core.opaque import Secret
from drystone.core.states import RunStatus
from drystone.ports import Batch, Journal, Lease, LockInfo, Request, RunRecord, RunSummary, TaskRow

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = "01J00000000000000000000001"


def a_record(run: str = RUN, **changes: Any) -> RunRecord:
    """The unchanging part of a run."""
    record = RunRecord(
        id=run,
        plan="shop",
        plan_file="plans/shop.yaml",
        root="/srv/shop",
        source="drystone: 1\nname: shop\n",
        bundle="sha256:0",
        environment=None,
        inputs={"vms": 2, "names": ["a", "ü"], "password": Secret(sealed="gAAAAA==")},
        created_at=NOON,
        created_by="ada@host",
    )
    return replace(record, **changes)


def a_summary(run: str = RUN, **changes: Any) -> RunSummary:
    """The projection of a run that was just created."""
    summary = RunSummary(
        id=run,
        plan="shop",
        environment=None,
        status=RunStatus.QUEUED,
        created_at=NOON,
        started_at=None,
        finished_at=None,
        tasks_done=0,
        tasks_total=3,
        error=None,
        owner=None,
    )
    return replace(summary, **changes)


def an_event(seq: int, run: str = RUN, **changes: Any) -> Event:
    """A fact."""
    event = Event(type=EventType.TASK_PROGRESS, at=NOON, run=run, seq=seq, task="vm[0]", attempt=1, data={"message": f"step {seq}"})
    return replace(event, **changes)


def a_task(run: str = RUN, **changes: Any) -> TaskRow:
    """The projection of an instance."""
    row = TaskRow(
        run=run,
        id="vm[0]",
        task="vm",
        kind="noop",
        status="running",
        attempts=1,
        started_at=NOON,
        finished_at=None,
        failure_class=None,
    )
    return replace(row, **changes)


def a_lock(run: str = RUN, **changes: Any) -> LockInfo:
    """Who holds an environment."""
    return replace(LockInfo(environment="staging", run=run, owner="host:1", reason="run", since=NOON), **changes)


def a_request(name: str = "Q1", run: str = RUN, **changes: Any) -> Request:
    """What a person asks of a run."""
    data = {"task": "vm", "comment": "naïve\0", "deep": [{"x": None}]}
    return replace(Request(id=name, run=run, type="approve", by="ada@host", at=NOON, data=data), **changes)


def created(journal: Journal, run: str = RUN, **changes: Any) -> str:
    """A run in the store."""
    journal.create(a_record(run, **changes), a_summary(run))
    return run


def claimed(journal: Journal, run: str = RUN, owner: str = "host:1", **changes: Any) -> Lease:
    """A run in the store, and in `owner`'s hands for a minute."""
    return journal.claim(created(journal, run, **changes), owner, MINUTE, NOON)


def batch(lease: Lease, *numbers: int, **more: Any) -> Batch:
    """Events of these numbers, under this lease."""
    return Batch(run=lease.run, epoch=lease.epoch, events=[an_event(number, lease.run) for number in numbers], **more)


def numbers(journal: Journal, run: str = RUN, after: int = 0) -> list[int]:
    """What is in the store of a run."""
    return [event.seq for event in journal.events(run, after)]


def moved(journal: Journal, lease: Lease, status: RunStatus, seq: int = 1) -> None:
    """Brings the run into this state."""
    journal.append([batch(lease, seq, summary=a_summary(lease.run, status=status))])


def line(journal: Journal, key: str = "shop") -> list[str]:
    """The runs in the line, the first one first."""
    return [place.run for place in journal.line(key)]
