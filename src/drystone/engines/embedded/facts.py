"""What happened outside, and what people asked -> events of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from drystone.core.events import Event, EventType
from drystone.core.expected import Expected
from drystone.core.run import Cause, Run, answer, failed, finished_undo, request_cancel, stands, succeeded, undo_failed, waits
from drystone.engines.embedded.driven import Done
from drystone.errors import FailureClass
from drystone.plugin.api import Pause
from drystone.ports import Request, RunRecord


def settled(run: Run, fact: Done, now: datetime, *, jitter: float) -> list[Event]:
    """How an attempt ended -> events."""
    id_, ended = fact.instance, fact.ended
    attempts = run.instances[id_].undo.attempts if fact.undo else run.instances[id_].attempts
    log = attempts[-1].log if ended.has_log else ""
    if ended.pause is not None and not fact.undo:
        # What waits for another run may have changed things through it, whatever it says itself.
        return _waits(run, id_, now, ended.pause, changed=ended.changed or ended.pause.approval is None)
    if ended.failure is None:
        if fact.undo:
            return finished_undo(run, id_, now, result=ended.result, changed=ended.changed, log=log)
        if ended.stands:
            return stands(run, id_, now, reason=ended.reason, of=ended.stands, outputs=ended.outputs, result=ended.result, log=log)
        return succeeded(
            run, id_, now, outputs=ended.outputs, result=ended.result, changed=ended.changed, log=log
        )
    if fact.undo:
        return undo_failed(
            run, id_, now, ended.failure, jitter=jitter, result=ended.result, retry_in=ended.retry_in, log=log, held=ended.held
        )
    return failed(
        run,
        id_,
        now,
        ended.failure,
        jitter=jitter,
        changed=ended.changed,
        result=ended.result,
        retry_in=ended.retry_in,
        log=log,
        held=ended.held,
    )


def was_cut_short(run: Run, fact: Done) -> bool:
    """True for the end of an attempt that was told to end although its run goes on: the store failed, not the run."""
    failure = fact.ended.failure
    return failure is not None and failure.failure_class is FailureClass.CANCELLED and not run.is_stopping


def requested(run: Run, request: Request, now: datetime) -> list[Event]:
    """What a person asked from another process -> events. Raises RefusedError, NotFoundError."""
    data = request.data
    if request.type == "cancel":
        return request_cancel(run, now, by=request.by, reason=str(data.get("reason", "")))
    return answer(run, str(data["task"]), now, given=request.type, by=request.by, comment=str(data.get("comment", "")))


def _waits(run: Run, id_: str, now: datetime, pause: Pause, *, changed: bool) -> list[Event]:
    until = pause.until or (now + pause.duration if pause.duration is not None else None)
    approval = None if pause.approval is None else {**asdict(pause.approval), "approvers": list(pause.approval.approvers)}
    return waits(run, id_, now, until=until, approval=approval, other=pause.run, changed=changed)


def gives_up(run: Run, now: datetime, reason: str) -> list[Event]:
    """It does not wait any longer for those before it."""
    data = {"by": "drystone", "reason": reason, "cause": Cause.TIMEOUT.value}
    return [Event(type=EventType.RUN_CANCEL_REQUESTED, at=now, run=run.id, data=data)]


def created(record: RunRecord, expected: Mapping[str, Expected]) -> Event:
    """The first event of a run."""
    data = {
        "plan": record.plan,
        "environment": record.environment,
        "inputs": record.inputs,
        "bundle": record.bundle,
        "token": record.token,
        "by": record.created_by,
        "expected": expected,
        **({"manner": record.manner} if record.manner else {}),
    }
    return Event(type=EventType.RUN_CREATED, at=record.created_at, run=record.id, data=data)
