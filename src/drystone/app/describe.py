"""A run as plain JSON: the shape that `drystone show --json` prints and other programs rely on (DESIGN §6).

Made from the folded `Run` and what was written once when it began. Secrets leave here as `***`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from drystone.core.run import Attempt, Forecast, Instance, Run, Waiting
from drystone.ports import RunRecord, RunSummary

FORMAT = 1
NO_PARTS: Mapping[str, str] = MappingProxyType({})


def run_json(run: Run, record: RunRecord, eta: Forecast | None = None, parts: Mapping[str, str] = NO_PARTS) -> dict[str, Any]:
    """The whole run, how long it has still to go, and which instances are runs themselves.

    Keys stay as they are within one `format`; more may come.
    """
    return {
        "format": FORMAT,
        "id": run.id,
        "plan": record.plan,
        "environment": run.environment,
        "parent": record.parent,
        "status": run.status.value,
        "cause": run.cause.value if run.cause else None,
        "bundle": record.bundle,
        "created_at": instant(run.created_at),
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "eta": eta_json(eta),
        "inputs": masked(run.inputs),
        "outputs": masked(run.outputs),
        "error": masked(run.error),
        "left": list(run.left),
        "tasks": [task_json(run, instance, parts.get(instance.id)) for instance in run.in_order()],
    }


def task_json(run: Run, instance: Instance, part: str | None = None) -> dict[str, Any]:
    """One task instance with its attempts on both ways. `part`: the run that it is."""
    undo = instance.undo
    return {
        "id": instance.id,
        "task": instance.task,
        "kind": instance.kind,
        "run": part,
        "status": instance.status.value,
        "reason": instance.reason or None,
        "changed": instance.changed,
        "needs": list(run.graph.nodes[instance.task].needs),
        "wave": run.graph.nodes[instance.task].wave + 1,
        "waiting": waiting_json(instance.waiting) if instance.waiting is not None else None,
        "approved": instance.approved or None,
        "attempts": [attempt_json(attempt) for attempt in instance.attempts],
        "undo": {
            "mode": undo.mode.value,
            "status": undo.status.value if undo.status else None,
            "reason": undo.reason or None,
            "attempts": [attempt_json(attempt) for attempt in undo.attempts],
        },
        "outputs": masked(instance.outputs if instance.outputs is not None else {}),
        "result": masked(instance.result),
    }


def waiting_json(waiting: Waiting) -> dict[str, Any]:
    """What an instance waits for: a moment, a person's answer, or another run."""
    return {"until": instant(waiting.until), "approval": masked(waiting.approval), "run": waiting.run}


def eta_json(eta: Forecast | None) -> dict[str, Any] | None:
    """From now on; None when nobody can say."""
    return None if eta is None else {"low_seconds": eta.low.total_seconds(), "high_seconds": eta.high.total_seconds()}


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """One try; `log` is relative to the project's .drystone folder, `result` is what one told that did not succeed."""
    return {
        "number": attempt.number,
        "status": attempt.status.value,
        "started_at": instant(attempt.started_at),
        "finished_at": instant(attempt.finished_at),
        "error": masked(attempt.failure.to_json()) if attempt.failure else None,
        "result": masked(attempt.result) if attempt.result else None,
        "log": attempt.log or None,
    }


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """One line of `drystone runs --json`."""
    return {
        "id": summary.id,
        "plan": summary.plan,
        "environment": summary.environment,
        "status": summary.status.value,
        "created_at": instant(summary.created_at),
        "started_at": instant(summary.started_at),
        "finished_at": instant(summary.finished_at),
        "tasks": {"done": summary.tasks_done, "total": summary.tasks_total},
        "error": summary.error,
        "owner": summary.owner,
        "parent": summary.parent,
    }


def instant(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, ending in Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else None


def masked(value: Any) -> Any:
    """JSON for eyes: what is no JSON itself (a secret) becomes its text, which is `***`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): masked(item) for key, item in value.items()}
        case list() | tuple():
            return [masked(item) for item in value]
        case _:
            return str(value)
