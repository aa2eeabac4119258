"""What a person, or an engine that takes a run, asks of it -> events. What does not fit raises RefusedError and says why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from drystone.core.events import Event, EventType
from drystone.core.run.state import Cause, Run
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import RefusedError


def take(run: Run, now: datetime, *, owner: str, epoch: int, max_parallel: int, finish_grace: timedelta) -> list[Event]:
    """An engine begins, or goes on, to drive the run."""
    data = {"owner": owner, "epoch": epoch, "max_parallel": max_parallel, "finish_grace": finish_grace.total_seconds()}
    return [_event(run, now, EventType.RUN_STARTED, data)]


def request_cancel(run: Run, now: datetime, *, by: str, reason: str = "") -> list[Event]:
    """Stop going forward; what follows is the plan's `on_failure`. Harmless while it is stopping already."""
    if run.status.is_final:
        raise RefusedError(f'run {run.id} has ended: "{run.status}"', hint=_undo_hint(run))
    if run.status is RunStatus.COMPENSATING or run.cancel_requested or run.closing is not None:
        return []
    data = {"by": by, "reason": reason or f"cancelled by {by}", "cause": Cause.CANCELLED.value}
    return [_event(run, now, EventType.RUN_CANCEL_REQUESTED, data)]


def request_undo(run: Run, now: datetime, *, by: str) -> list[Event]:
    """Take back a run that has ended, or go on with a way back that could not be finished."""
    if run.status is RunStatus.COMPENSATED:
        raise RefusedError(f"run {run.id} is undone already")
    if not run.status.is_final:
        raise RefusedError(f'run {run.id} has not ended: "{run.status}"', hint=f"drystone cancel {run.id}")
    if (pivot := run.passed_pivot) is not None:
        raise RefusedError(
            f'run {run.id} has passed its pivot "{pivot}": nothing of it is undone',
            hint=f"go forward: drystone resume {run.id}, or a new run",
        )
    return [
        _event(run, now, EventType.RUN_UNDO_REQUESTED, {"by": by}),
        _event(run, now, EventType.RUN_COMPENSATING, {"cause": Cause.REQUESTED.value}),
    ]


RESET = frozenset({TaskStatus.FAILED, TaskStatus.BLOCKED, TaskStatus.CANCELLED})


def request_resume(run: Run, now: datetime, *, by: str) -> list[Event]:
    """Go on with a run: a stopped one starts its failed tasks afresh, a half undone one goes on with the way back.

    Empty for a run whose process died: whoever takes it goes on by itself.
    """
    match run.status:
        case RunStatus.SUCCEEDED:
            raise RefusedError(f"run {run.id} has succeeded: nothing is left to do", hint=_undo_hint(run))
        case RunStatus.COMPENSATED:
            raise RefusedError(f"run {run.id} was undone", hint=f"start it anew: drystone run {run.graph.plan.name}")
        case RunStatus.COMPENSATION_FAILED:
            return request_undo(run, now, by=by)
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return [_event(run, now, EventType.RUN_RESUMED, {"by": by, "reset": _to_reset(run)})]
        case _:
            return []


def _to_reset(run: Run) -> list[str]:
    """What did not succeed, and what was skipped only because something before it did not."""
    reset: list[str] = []
    afresh: set[str] = set()
    for name, node in run.graph.nodes.items():
        if node.task.closing:
            continue
        follows = any(need in afresh for need in node.needs)
        for id_ in run.expansions[name]:
            instance = run.instances[id_]
            if instance.status in RESET or (instance.status is TaskStatus.SKIPPED and follows):
                reset.append(id_)
                afresh.add(name)
    return reset


def _undo_hint(run: Run) -> str:
    return "" if run.status is RunStatus.COMPENSATED else f"to take it back: drystone undo {run.id}"


def _event(run: Run, now: datetime, type_: EventType, data: dict[str, Any]) -> Event:
    return Event(type=type_, at=now, run=run.id, data=data)
