"""States of runs and tasks, and the tables of what may follow what, each row with its reason.

`run.evolve` asserts every change against these tables; the diagrams in docs/reference/states.md are drawn from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RunStatus(StrEnum):
    """DESIGN §5."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"

    @property
    def is_final(self) -> bool:
        """True when the run has ended; only a person's request moves it again."""
        return self in RUN_FINAL


class TaskStatus(StrEnum):
    """DESIGN §5; of one instance."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"

    @property
    def is_settled(self) -> bool:
        """True when the way forward is over for this instance."""
        return self in TASK_SETTLED


RUN_FINAL = frozenset(
    {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPENSATED, RunStatus.COMPENSATION_FAILED}
)
TASK_SETTLED = frozenset(set(TaskStatus) - {TaskStatus.PENDING, TaskStatus.WAITING, TaskStatus.RUNNING, TaskStatus.RETRYING})

RUN_TRANSITIONS: Mapping[tuple[RunStatus, RunStatus], str] = {
    (RunStatus.QUEUED, RunStatus.RUNNING): "an engine took it",
    (RunStatus.QUEUED, RunStatus.CANCELLED): "cancelled before it started",
    (RunStatus.RUNNING, RunStatus.WAITING): "only a person or a moment can move it on",
    (RunStatus.WAITING, RunStatus.RUNNING): "what it waited for came",
    (RunStatus.RUNNING, RunStatus.SUCCEEDED): "every task ended well or was skipped",
    (RunStatus.RUNNING, RunStatus.FAILED): "a task failed and the plan says stop or continue",
    (RunStatus.RUNNING, RunStatus.CANCELLED): "cancelled, with nothing to undo or a plan that does not compensate",
    (RunStatus.RUNNING, RunStatus.COMPENSATING): "a task failed, or the run was cancelled: the way back begins",
    (RunStatus.WAITING, RunStatus.COMPENSATING): "cancelled while waiting",
    (RunStatus.WAITING, RunStatus.CANCELLED): "cancelled while waiting, with nothing to undo",
    (RunStatus.COMPENSATING, RunStatus.COMPENSATED): "everything that was done is undone",
    (RunStatus.COMPENSATING, RunStatus.COMPENSATION_FAILED): "something is left standing",
    (RunStatus.SUCCEEDED, RunStatus.COMPENSATING): "a person asked to undo it",
    (RunStatus.FAILED, RunStatus.COMPENSATING): "a person asked to undo it",
    (RunStatus.CANCELLED, RunStatus.COMPENSATING): "a person asked to undo it",
    (RunStatus.COMPENSATION_FAILED, RunStatus.COMPENSATING): "a person asked to go on with the way back",
    (RunStatus.FAILED, RunStatus.RUNNING): "a person resumed it",
    (RunStatus.CANCELLED, RunStatus.RUNNING): "a person resumed it",
    (RunStatus.SUCCEEDED, RunStatus.RUNNING): "a person resumed it from a task, or its tolerated failures",
}

TASK_TRANSITIONS: Mapping[tuple[TaskStatus, TaskStatus], str] = {
    (TaskStatus.PENDING, TaskStatus.RUNNING): "its edges are satisfied and there is room",
    (TaskStatus.PENDING, TaskStatus.SKIPPED): "its condition is false, or what it needs was skipped",
    (TaskStatus.PENDING, TaskStatus.BLOCKED): "what it needs failed",
    (TaskStatus.PENDING, TaskStatus.FAILED): "one of its expressions cannot be evaluated",
    (TaskStatus.PENDING, TaskStatus.CANCELLED): "the run ended before it started",
    (TaskStatus.RUNNING, TaskStatus.WAITING): "only a person or a moment can move it on",
    (TaskStatus.WAITING, TaskStatus.RUNNING): "it goes on with another run that waited",
    (TaskStatus.WAITING, TaskStatus.SUCCEEDED): "the moment or the person's yes came",
    (TaskStatus.WAITING, TaskStatus.FAILED): "a person said no, or nobody answered in time",
    (TaskStatus.WAITING, TaskStatus.CANCELLED): "the run stopped while it waited",
    (TaskStatus.RUNNING, TaskStatus.SUCCEEDED): "the attempt succeeded",
    (TaskStatus.RUNNING, TaskStatus.SKIPPED): "its last good version stands",
    (TaskStatus.RUNNING, TaskStatus.FAILED): "the attempt failed and there is no other",
    (TaskStatus.RUNNING, TaskStatus.RETRYING): "the attempt failed and there is another",
    (TaskStatus.RUNNING, TaskStatus.CANCELLED): "the attempt was told to end, and ended",
    (TaskStatus.RETRYING, TaskStatus.RUNNING): "the wait is over",
    (TaskStatus.RETRYING, TaskStatus.FAILED): "the run ended before the wait was over",
    (TaskStatus.RETRYING, TaskStatus.CANCELLED): "the run was cancelled during the wait",
    (TaskStatus.SUCCEEDED, TaskStatus.UNDOING): "the way back reached it",
    (TaskStatus.FAILED, TaskStatus.UNDOING): "the way back reached it: a failed step may have changed something",
    (TaskStatus.CANCELLED, TaskStatus.UNDOING): "the way back reached it: a cancelled step may have changed something",
    (TaskStatus.BLOCKED, TaskStatus.UNDOING): "the way back reached it: it was done before a person resumed the run from an earlier task",
    (TaskStatus.SKIPPED, TaskStatus.UNDOING): "the way back reached it: it was done, or tried, before it was skipped",
    (TaskStatus.UNDOING, TaskStatus.UNDONE): "its undo succeeded",
    (TaskStatus.UNDOING, TaskStatus.UNDO_FAILED): "its undo failed for good",
    (TaskStatus.UNDO_FAILED, TaskStatus.UNDOING): "a person asked to try again",
    (TaskStatus.FAILED, TaskStatus.PENDING): "resumed",
    (TaskStatus.BLOCKED, TaskStatus.PENDING): "resumed",
    (TaskStatus.CANCELLED, TaskStatus.PENDING): "resumed",
    (TaskStatus.FAILED, TaskStatus.SKIPPED): "a person said to go on without it",
    (TaskStatus.UNDO_FAILED, TaskStatus.UNDONE): "a person says that it is gone",
    (TaskStatus.SKIPPED, TaskStatus.PENDING): "resumed: what it needs may not be skipped this time",
    (TaskStatus.SUCCEEDED, TaskStatus.PENDING): "resumed from here, or it stands under finally and comes again at the run's new end",
}
