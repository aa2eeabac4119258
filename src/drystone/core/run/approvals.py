"""Questions to a person: who may answer, and what an answer, or none in time, means for the task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drystone.core.events import Event, EventType
from drystone.core.run.state import Run
from drystone.core.states import TaskStatus
from drystone.errors import FailureClass, NotFoundError, RefusedError

APPROVE, REJECT = "approve", "reject"


def answer(run: Run, id_: str, now: datetime, *, given: str, by: str, comment: str = "") -> list[Event]:
    """A person's answer. Raises RefusedError when nobody asked, or when this person may not answer; NotFoundError for no such task.

    given: approve or reject.    by: USER@HOST.
    """
    question = _question(run, id_)
    _check_may_answer(run, id_, question, by)
    fact = _event(run, id_, now, EventType.APPROVAL_GIVEN, _given(question, given, by, comment))
    if given == APPROVE and question.get("again", False):
        return [fact]
    if given == APPROVE:
        return [fact, _approved(run, id_, now, by=by, comment=comment)]
    said = f"rejected by {by}{f': {comment}' if comment else ''}"
    return [fact, _refused(run, id_, now, FailureClass.REFUSED, said)]


def _given(question: Mapping[str, Any], given: str, by: str, comment: str) -> dict[str, str]:
    digest = question.get("digest", "")
    return {"answer": given, "by": by, "comment": comment, **({"digest": digest} if digest else {})}


def unanswered(run: Run, id_: str, now: datetime) -> Event:
    """Nobody answered in time: the question itself says what that means."""
    waiting = run.instances[id_].waiting
    assert waiting is not None and waiting.approval is not None
    if waiting.approval["on_timeout"] == APPROVE:
        if waiting.again:
            data = _given(waiting.approval, APPROVE, "", "nobody answered in time, and then it is approved")
            return _event(run, id_, now, EventType.APPROVAL_GIVEN, data)
        return _approved(run, id_, now, by="", comment="nobody answered in time, and then it is approved")
    return _refused(run, id_, now, FailureClass.TIMEOUT, "nobody answered in time")


def questions(run: Run) -> list[str]:
    """Ids of the instances that wait for a person's answer, in the order of the graph."""
    asked = [id_ for id_ in run.forward.waiting if (waiting := run.instances[id_].waiting) is not None and waiting.approval is not None]
    return sorted(asked, key=lambda id_: run.instances[id_].rank[2:])


def _question(run: Run, id_: str) -> Mapping[str, Any]:
    asked = questions(run)
    instance = run.instances.get(id_)
    if instance is None and id_ not in run.graph.nodes:
        open_ = f"it waits for an answer to {', '.join(asked)}" if asked else "it waits for no answer"
        raise NotFoundError(f'run {run.id} has no task "{id_}"', hint=open_)
    if instance is None or instance.status is not TaskStatus.WAITING or instance.waiting is None or instance.waiting.approval is None:
        state = f'is "{instance.status}"' if instance is not None else "has several instances"
        hint = f"it waits for an answer to {', '.join(asked)}" if asked else f"drystone show {run.id}"
        raise RefusedError(f'task "{id_}" of run {run.id} does not wait for an approval: it {state}', hint=hint)
    return instance.waiting.approval


def _check_may_answer(run: Run, id_: str, question: Mapping[str, Any], by: str) -> None:
    approvers = question["approvers"]
    user = by.partition("@")[0]
    if approvers and by not in approvers and user not in approvers:
        raise RefusedError(f'"{user}" may not answer for "{id_}"', hint=f"its approvers are {', '.join(approvers)}")
    if user == run.by.partition("@")[0] and not question["self_approval"]:
        raise RefusedError(
            f'"{user}" started run {run.id} and may not answer for "{id_}" too',
            hint="ask somebody else; where one person is enough, the plan says self_approval: true",
        )


def _approved(run: Run, id_: str, now: datetime, *, by: str, comment: str) -> Event:
    outputs = {"by": by, "comment": comment, "at": now.isoformat()}
    return _event(run, id_, now, EventType.TASK_SUCCEEDED, {"outputs": outputs, "result": {}, "changed": False})


def _refused(run: Run, id_: str, now: datetime, failure_class: FailureClass, message: str) -> Event:
    data = {"class": failure_class.value, "message": message, "detail": "", "hint": "", "changed": False, "final": True}
    return _event(run, id_, now, EventType.TASK_FAILED, data)


def _event(run: Run, id_: str, now: datetime, type_: EventType, data: Mapping[str, Any]) -> Event:
    number = run.instances[id_].attempts[-1].number
    return Event(type=type_, at=now, run=run.id, task=id_, attempt=number, data=data)
