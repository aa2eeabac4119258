"""What an attempt gave -> the events that say so, with the decision about another try already made.

Called by engines when an attempt ends; `jitter` is drawn by them so that a replay is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from drystone.core.events import Event, EventType
from drystone.core.retry import RetryPolicy, next_delay
from drystone.core.run.state import UNCOUNTED, Failure, Instance, Run
from drystone.errors import FailureClass


def succeeded(
    run: Run, id_: str, now: datetime, *, outputs: Any, result: Mapping[str, Any], changed: bool, log: str | None = None
) -> list[Event]:
    """The attempt in flight did what it should."""
    data = {"outputs": outputs, "result": result, "changed": changed, **_log(log)}
    return [_event(run, id_, now, EventType.TASK_SUCCEEDED, data)]


def stands(
    run: Run, id_: str, now: datetime, *, reason: str, of: str, outputs: Any, result: Mapping[str, Any], log: str | None = None
) -> list[Event]:
    """The attempt in flight found nothing to do: what run `of` made of it stands."""
    data = {"reason": reason, "stands": of, "outputs": outputs, "result": result, "changed": False, **_log(log)}
    return [_event(run, id_, now, EventType.TASK_SKIPPED, data)]


def failed(
    run: Run,
    id_: str,
    now: datetime,
    failure: Failure,
    *,
    jitter: float,
    changed: bool = True,
    result: Mapping[str, Any] | None = None,
    retry_in: timedelta | None = None,
    log: str | None = None,
    held: bool = False,
) -> list[Event]:
    """The attempt in flight did not succeed: `task.cancelled`, or `task.failed` and, when it is tried again, `task.retrying`.

    held: it was held back by a circuit breaker, for `retry_in`: then another follows whatever the policy says.
    """
    instance = run.instances[id_]
    data = {**failure.to_json(), "changed": changed, **({"result": result} if result else {}), **_log(log), **_held(held)}
    if failure.failure_class is FailureClass.CANCELLED:
        return [_event(run, id_, now, EventType.TASK_CANCELLED, data)]
    tried = len(instance.attempts) - instance.budget
    wait = _wait(run.task_of(instance).retry, failure, tried, jitter, retry_in, held=held)
    if run.is_stopping:
        wait = None
    events = [_event(run, id_, now, EventType.TASK_FAILED, {**data, "final": wait is None})]
    if wait is not None:
        events.append(_event(run, id_, now, EventType.TASK_RETRYING, {"retry_at": (now + wait).isoformat()}))
    return events


def waits(
    run: Run,
    id_: str,
    now: datetime,
    *,
    until: datetime | None = None,
    approval: Mapping[str, Any] | None = None,
    other: str | None = None,
    changed: bool = True,
) -> list[Event]:
    """The attempt in flight has done what it could: now it waits for a moment, for a person's answer, or for another run.

    changed: False when it has changed nothing until now.
    """
    at = None if until is None else until.isoformat()
    data = {"until": at, "approval": approval, "run": other, **({} if changed else {"changed": False})}
    events = [_event(run, id_, now, EventType.TASK_WAITING, data)]
    if approval is not None:
        events.append(_event(run, id_, now, EventType.APPROVAL_REQUESTED, {**approval, "until": at}))
    return events


def lost(run: Run, id_: str, now: datetime, *, idempotent: bool) -> list[Event]:
    """The process died with the attempt in flight (DESIGN §4.3): tried again when it may be, else it is for a person."""
    if idempotent:
        message = "drystone died during this attempt; it is made again"
        return [_event(run, id_, now, EventType.TASK_LOST, {"message": message, "changed": True})]
    failure = Failure(
        failure_class=FailureClass.CRASHED,
        message="drystone died during this attempt, and whether it took effect is not known",
        hint="look at what it should have done; a command that may be repeated says idempotent: true",
        permanent=True,
    )
    events = failed(run, id_, now, failure, jitter=0.0)
    return [replace(event, data={**event.data, "unknown": True}) for event in events]


def finished_undo(
    run: Run, id_: str, now: datetime, *, result: Mapping[str, Any], changed: bool, log: str | None = None
) -> list[Event]:
    """The undo in flight did what it should."""
    return [_event(run, id_, now, EventType.UNDO_SUCCEEDED, {"result": result, "changed": changed, **_log(log)}, undo=True)]


def undo_failed(
    run: Run,
    id_: str,
    now: datetime,
    failure: Failure,
    *,
    jitter: float,
    result: Mapping[str, Any] | None = None,
    retry_in: timedelta | None = None,
    log: str | None = None,
    held: bool = False,
) -> list[Event]:
    """The undo in flight did not succeed: `undo.failed` and, when it is tried again, `undo.retrying`. `held` as for a task."""
    instance = run.instances[id_]
    policy = run.task_of(instance).undo.retry
    tried = _counted(instance)
    wait = _wait(policy, failure, tried, jitter, retry_in, held=held)
    told = {"result": result} if result else {}
    data = {**failure.to_json(), "final": wait is None, **told, **_log(log), **_held(held)}
    events = [_event(run, id_, now, EventType.UNDO_FAILED, data, undo=True)]
    if wait is not None:
        retry_at = (now + wait).isoformat()
        events.append(_event(run, id_, now, EventType.UNDO_RETRYING, {"retry_at": retry_at}, undo=True))
    return events


def lost_undo(run: Run, id_: str, now: datetime) -> list[Event]:
    """The process died with the undo in flight: an undo must stand being made again."""
    message = "drystone died during this undo; it is made again"
    return [_event(run, id_, now, EventType.UNDO_LOST, {"message": message}, undo=True)]


def _counted(instance: Instance) -> int:
    """Tries of this way back that count: not those that were lost or held back, nor those before a person asked to try again."""
    attempts = [a for a in instance.undo.attempts if a.status not in UNCOUNTED]
    return max(1, len(attempts) - instance.undo.budget)


def _wait(
    policy: RetryPolicy, failure: Failure, tried: int, jitter: float, retry_in: timedelta | None, *, held: bool
) -> timedelta | None:
    if held:
        return retry_in or timedelta()
    if failure.permanent or not policy.covers(failure.failure_class):
        return None
    wait = next_delay(policy, max(1, tried), jitter)
    return None if wait is None else max(wait, retry_in or timedelta())


def _held(held: bool) -> dict[str, bool]:
    return {"held": True} if held else {}


def _log(log: str | None) -> dict[str, str]:
    return {} if log is None else {"log": log}


def _event(
    run: Run, id_: str, now: datetime, type_: EventType, data: Mapping[str, Any], *, undo: bool = False
) -> Event:
    instance = run.instances[id_]
    attempts = instance.undo.attempts if undo else instance.attempts
    return Event(type=type_, at=now, run=run.id, task=id_, attempt=attempts[-1].number, data=data)
