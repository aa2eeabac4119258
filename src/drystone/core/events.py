"""What happened in a run: frozen facts in the order they were written down.

An event is what the journal keeps, `run.evolve` folds, and `drystone events` prints (DESIGN §6). Each type says here what its
`data` holds. Instants are aware UTC datetimes; `data` is JSON, in which `values.Secret` stands for what must not be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """The names are stable; more may be added."""

    RUN_CREATED = "run.created"
    """plan, environment (or null), inputs, bundle (digest), token (or null), by, expected, manner (unless it is an ordinary run).

    expected: task -> seconds that half of its earlier instances took at most, seconds that nine in ten did, and how many there were.
    """
    RUN_QUEUED = "run.queued"
    """key, behind: ids of the runs before it in the line of its concurrency key."""
    RUN_STARTED = "run.started"
    """owner, epoch, max_parallel (attempts at once). Written again by each process that takes the run."""
    RUN_RESUMED = "run.resumed"
    """by, reset: ids of the instances that start afresh; from: the task it was asked to start at."""
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    """by, reason, cause: cancelled or timeout."""
    RUN_UNDO_REQUESTED = "run.undo_requested"
    """by, reason; destroys: true when all that stands is taken away, whichever run made it."""
    RUN_COMPENSATING = "run.compensating"
    """cause: failed, cancelled or requested; again: ids of the failed undos that are tried again, all of them unless given.

    destroys: as above; only: ids of the instances that it is about, all unless given.
    """
    RUN_CLOSING = "run.closing"
    """status, outputs, left, message: how the run ends; the tasks under `finally` come now."""
    RUN_FINISHED = "run.finished"
    """status, outputs, left: ids of the instances left standing."""
    LOCK_BROKEN = "lock.broken"
    """environment, by, reason, from (its owner), forced: a person took the environment away from the run. Not folded into the state."""
    TASK_EXPANDED = "task.expanded"
    """keys: index or map key of each instance; values: what `each.value` is for each."""
    TASK_READY = "task.ready"
    """Its condition was evaluated and is true; nothing in data."""
    TASK_STARTED = "task.started"
    """token, log, undo: the mode registered for the way back."""
    TASK_PROGRESS = "task.progress"
    """whatever the kind tells: message, and more by kind. Not folded into the state."""
    TASK_WAITING = "task.waiting"
    """until (ISO 8601, or null), run (another run that it waits for, or null), approval (or null): see approval.requested."""
    APPROVAL_REQUESTED = "approval.requested"
    """message, approvers, self_approval, on_timeout, digest (of what is to be approved), again, until."""
    APPROVAL_GIVEN = "approval.given"
    """answer (approve or reject), by, comment, digest. The end of the task follows, or its next attempt when it asked for `again`."""
    ATTENTION_SKIPPED = "attention.skipped"
    """by, reason, way (forward or back): a person took it on: the run goes on as if the task, or its undo, had ended well."""
    TASK_SUCCEEDED = "task.succeeded"
    """outputs, result, changed, log (path relative to the project's .drystone folder)."""
    TASK_FAILED = "task.failed"
    """class, message, detail, hint, changed, final (no other attempt follows), log; result when the kind told one.

    unknown: true when nobody knows whether the attempt took effect; then a person decides.
    held: true when the circuit breaker of its endpoint held it back; then it uses up no retry.
    """
    TASK_RETRYING = "task.retrying"
    """retry_at (ISO 8601)."""
    TASK_LOST = "task.lost"
    """message: its process died with the attempt in flight; it is tried again without using up a retry."""
    TASK_SKIPPED = "task.skipped"
    """reason. With an attempt, which found nothing to do: stands (the run whose version stands), outputs, result, log."""
    TASK_BLOCKED = "task.blocked"
    """by: the tasks whose failure holds it."""
    TASK_CANCELLED = "task.cancelled"
    """message, changed, log; result when the kind told one."""
    UNDO_STARTED = "undo.started"
    """mode, token, log."""
    UNDO_SUCCEEDED = "undo.succeeded"
    """result, changed, log."""
    UNDO_FAILED = "undo.failed"
    """class, message, detail, hint, final, log; result and held as for a task."""
    UNDO_RETRYING = "undo.retrying"
    """retry_at."""
    UNDO_LOST = "undo.lost"
    """message: its process died with the undo in flight; it is tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One fact. `seq` counts from 1 within a run, 0 is not yet written; `task` is an instance id, or a task for task.expanded."""

    type: EventType
    at: datetime
    run: str
    seq: int = 0
    task: str | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def numbered(self, seq: int) -> Event:
        """The same fact in its place; written out, because every event goes through here and `replace` takes three times as long."""
        return Event(type=self.type, at=self.at, run=self.run, seq=seq, task=self.task, attempt=self.attempt, data=self.data)
