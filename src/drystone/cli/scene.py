"""What is shown of a run at one moment, and what there is to say about each of its tasks. Pure.

`frame` draws it while the run goes on, `run_view` prints it afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from drystone.cli import commands, words
from drystone.core.run import AttemptStatus, Forecast, Instance, Run, UndoStatus, Waiting, made, questions
from drystone.core.states import RunStatus, TaskStatus


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is shown.

    progress: the last message of each attempt in flight.
    notice:   one line for the person, such as after Ctrl-C.
    forecast: how long the run has still to go, as it was reckoned a moment ago.
    behind:   the runs that it has to wait for before it may begin.
    start:    what a command begins with here, see `commands`.
    """

    run: Run
    now: datetime
    progress: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    forecast: Forecast | None = None
    behind: Sequence[str] = ()
    start: str = "drystone"

    @cached_property
    def pools(self) -> Mapping[str, str]:
        """Id -> the pool in which it waits for a slot."""
        run = self.run
        if not run.graph.pools or run.status.is_final:
            return {}
        if run.status is RunStatus.COMPENSATING and run.back is not None and run.closing is None:
            ids = [*run.back.ready, *(id_ for id_, at in run.back.retrying.items() if at <= self.now)]
        elif run.is_stopping and run.closing is None:
            return {}
        else:
            queued = (id_ for queue in run.forward.pooled.values() for _, id_ in queue)
            ids = [*queued, *(id_ for id_, at in run.forward.retrying.items() if at <= self.now)]
        return {id_: pool for id_ in ids if (pool := run.task_of(run.instances[id_]).pool) is not None}


def phase(scene: Scene) -> tuple[str, str]:
    """What the run is doing as a whole, and its colour: what it waits for, why it goes back and how far it is, or when it will end."""
    run = scene.run
    if run.status is RunStatus.QUEUED and scene.behind:
        return words.queued(scene.behind), "yellow"
    if run.status is RunStatus.COMPENSATING and run.closing is None:
        return f"{_undoing(run)}{_because(run)}", "cyan"
    if run.status.is_final:
        return "", "default"
    if run.closing is not None:
        return f"closing: the tasks under finally{_because(run)}", "cyan"
    if run.is_stopping:
        return f"stopping: what runs is let end{_because(run)}", "yellow"
    parts = [f"eta {words.span(scene.forecast, '–')}"] if scene.forecast is not None else []
    if asked := questions(run):
        parts.append(f"waits for an answer: {', '.join(asked)}")
    return " · ".join(parts), "yellow" if asked else "bright_black"


def _undoing(run: Run) -> str:
    undos = [i.undo.status for i in run.in_order() if i.undo.status not in (None, UndoStatus.NOT_NEEDED)]
    return f"undoing {sum(status not in words.UNDO_OPEN for status in undos)} of {len(undos)}"


def _because(run: Run) -> str:
    error = run.error
    if error is None:
        return f", as {run.cause.value}" if run.cause else ""
    message = words.first_line(error["message"])
    return f", as {error['task']} failed: {message}" if error["task"] else f": {message}"


def answer(scene: Scene) -> str:
    """The command that answers the first open question; "" when nothing is asked."""
    asked = questions(scene.run)
    if not asked or scene.run.status.is_final:
        return ""
    return f"to answer: {commands.typed(scene.start, 'approve', words.short(scene.run.id), asked[0])}   (or reject)"


# ---- one task ---------------------------------------------------------------------------------------------------------


def note(scene: Scene, instance: Instance) -> tuple[str, str]:
    """What there is to say about an instance: its last progress, its failure, what it waits for; and the colour."""
    if (pool := scene.pools.get(instance.id)) is not None:
        return f"waits for a slot of pool {pool}", "yellow"
    failure = _failure(instance)
    match instance.status, instance.undo.status:
        case _, UndoStatus.RETRYING:
            return _retry(scene, instance, instance.undo.retry_at, made(instance.undo.attempts)), "yellow"
        case _, (UndoStatus.LEFT | UndoStatus.WAIVED):
            return instance.undo.reason, "red" if instance.undo.status is UndoStatus.LEFT else "bright_black"
        case ((TaskStatus.RUNNING | TaskStatus.UNDOING), _):
            return _in_flight(scene, instance), "default"
        case TaskStatus.WAITING, _ if instance.waiting is not None:
            return waits_for(instance.waiting, scene.now), "yellow"
        case TaskStatus.RETRYING, _:
            return _retry(scene, instance, instance.retry_at, made(instance.attempts)), "yellow"
        case ((TaskStatus.FAILED | TaskStatus.UNDO_FAILED), _) if failure:
            return failure, "red"
        case ((TaskStatus.FAILED | TaskStatus.SKIPPED | TaskStatus.BLOCKED | TaskStatus.CANCELLED), _):
            return instance.reason, "bright_black"
        case TaskStatus.SUCCEEDED, _ if instance.kind == "approval" and isinstance(instance.outputs, Mapping):
            return _answered(instance.outputs), "bright_black"
        case TaskStatus.SUCCEEDED, None if not instance.changed:
            return "nothing changed", "bright_black"
        case TaskStatus.PENDING, _ if not scene.run.status.is_final:
            return _usual(scene, instance), "bright_black"
        case _:
            return "", "default"


def waits_for(waiting: Waiting, now: datetime) -> str:
    """`until 14:03:05 (in 12m00s)`, `approval: "Go on?" until 14:03:05`, `waits for run 01X`."""
    until = f"until {words.moment(waiting.until, now)}" if waiting.until is not None else ""
    if waiting.approval is not None:
        message = words.first_line(str(waiting.approval["message"]))
        return " ".join(filter(None, [f'approval: "{message}"' if message else "approval", until]))
    if waiting.run is not None:
        return f"waits for run {words.short(waiting.run)}"
    if waiting.until is None:
        return ""
    return f"{until} (in {words.duration(waiting.until - now)})" if waiting.until > now else f"{until}, which has come"


def _answered(outputs: Mapping[str, Any]) -> str:
    by, comment = outputs.get("by"), outputs.get("comment")
    return ": ".join(str(text) for text in (f"approved by {by}" if by else "", comment) if text)


def _failure(instance: Instance) -> str:
    attempt = words.last_attempt(instance)
    failure = attempt.failure if attempt else None
    return f"{failure.failure_class.value}: {words.first_line(failure.message)}" if failure else ""


def _usual(scene: Scene, instance: Instance, made: int = 0) -> str:
    """How long it took in earlier runs; of one that is tried again that says nothing."""
    found = scene.run.expected.get(instance.task)
    return f"~{words.rough(found.p50)}" if found is not None and made < 2 else ""


def _in_flight(scene: Scene, instance: Instance) -> str:
    message = scene.progress.get(instance.id, "")
    attempts = instance.undo.attempts if instance.status is TaskStatus.UNDOING else instance.attempts
    if (number := made(attempts)) > 1:
        return "  ".join(filter(None, [f"{_way(instance)}attempt {_of(scene, instance, number)}", message]))
    usual = _usual(scene, instance) if instance.status is TaskStatus.RUNNING else ""
    return "  ".join(filter(None, [f"of {usual}" if usual else "", message]))


def _retry(scene: Scene, instance: Instance, at: datetime | None, number: int) -> str:
    wait = f"next in {words.duration(at - scene.now)}" if at is not None else "next soon"
    attempt = words.last_attempt(instance)
    if attempt is not None and attempt.status is AttemptStatus.HELD and attempt.failure is not None:
        why = words.first_line(attempt.failure.message).removeprefix("held back: ").replace(", last: ", ": ", 1)
        return f"{_way(instance)}held back, {wait}  {why}"
    return f"{_way(instance)}attempt {_of(scene, instance, number)} failed, {wait}  {_failure(instance)}"


def _way(instance: Instance) -> str:
    return "undo " if instance.undo.attempts else ""


def _of(scene: Scene, instance: Instance, number: int) -> str:
    task = scene.run.task_of(instance)
    policy = task.undo.retry if instance.undo.attempts else task.retry
    # Attempts before a resume, and those lost with their process, do not count against the policy.
    return f"{number}/{policy.attempts}" if number <= policy.attempts else str(number)
