"""What drystone could not finish by itself, so that a person must decide (DESIGN §1, attention)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from drystone.core.plan import OnFailure, UndoMode
from drystone.core.run.state import Instance, Run, UndoStatus
from drystone.core.states import RunStatus, TaskStatus


class Way(StrEnum):
    """On which way it got stuck."""

    FORWARD = "forward"
    BACK = "back"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An instance that a person must decide about. `since`: when it got stuck."""

    instance: str
    way: Way
    why: str
    since: datetime


def attention(run: Run) -> tuple[Item, ...]:
    """In the order of the graph; empty while drystone can go on by itself, and when the plan said to stop."""
    match run.status:
        case RunStatus.COMPENSATION_FAILED:
            return tuple(_back(run, instance) for instance in run.in_order() if _is_stuck_on_the_way_back(instance))
        case RunStatus.FAILED if _asks(run):
            failed = [item for id_ in run.fatal if (item := run.instances[id_]).status is TaskStatus.FAILED]
            return tuple(_forward(run, item) for item in sorted(failed, key=lambda item: item.rank[2:]))
        case _:
            return ()


def _asks(run: Run) -> bool:
    if run.graph.plan.on_failure is OnFailure.ASK or any(run.instances[id_].unknown for id_ in run.fatal):
        return True
    return run.graph.plan.on_failure is OnFailure.COMPENSATE and run.passed_pivot is not None


def _is_stuck_on_the_way_back(instance: Instance) -> bool:
    undo = instance.undo
    return undo.status is UndoStatus.FAILED or (undo.status is UndoStatus.LEFT and undo.mode is UndoMode.IRREVERSIBLE)


def _forward(run: Run, instance: Instance) -> Item:
    failure = instance.failure
    why = f"{failure.failure_class.value}: {failure.message}" if failure is not None else instance.reason
    since = instance.attempts[-1].finished_at if instance.attempts else None
    return Item(instance=instance.id, way=Way.FORWARD, why=why, since=since or run.finished_at or run.created_at)


def _back(run: Run, instance: Instance) -> Item:
    attempts = instance.undo.attempts
    why = f"its undo failed: {instance.undo.reason}" if instance.undo.status is UndoStatus.FAILED else instance.undo.reason
    since = attempts[-1].finished_at if attempts else None
    return Item(instance=instance.id, way=Way.BACK, why=why, since=since or run.finished_at or run.created_at)
