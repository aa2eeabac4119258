"""Event -> new state. One handler for each type of event; a batch shares one draft.

The handlers only fold: what follows from a change is found here (a task is reached, a queue moves up), what should be *done* about
it is `decide`'s. Unknown types are passed over, so that an older drystone can show the run of a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rpds import HashTrieMap

from drystone.core import expected
from drystone.core.events import Event, EventType
from drystone.core.graph import Graph, Node
from drystone.core.run import back, forward, order
from drystone.core.run.approvals import APPROVE
from drystone.core.run.draft import Draft
from drystone.core.run.state import (
    ORDINARY,
    Attempt,
    AttemptStatus,
    Cause,
    Failure,
    Forward,
    Instance,
    Manner,
    Run,
    UndoState,
    UndoStatus,
    Waiting,
)
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import FailureClass


def new_run(
    *,
    id: str,
    graph: Graph,
    inputs: Mapping[str, Any],
    environment: str | None,
    created_at: datetime,
    manner: Manner = ORDINARY,
) -> Run:
    """A run nobody has started: every task pending, what needs nothing ready."""
    instances = {name: _fresh(index, name, node) for index, (name, node) in enumerate(graph.nodes.items())}
    empty = Forward(
        open=HashTrieMap(),
        unsettled=HashTrieMap(),
        failures=HashTrieMap(),
        reached=(),
        ready=(),
        pooled=HashTrieMap(),
        held=HashTrieMap(),
        retrying=HashTrieMap(),
        waiting=HashTrieMap(),
        remaining=0,
        closing=0,
    )
    draft = Draft(
        Run(
            id=id,
            graph=graph,
            inputs=inputs,
            environment=environment,
            created_at=created_at,
            manner=manner,
            instances=HashTrieMap(instances),
            expansions=HashTrieMap({name: (name,) for name in graph.nodes}),
            forward=empty,
        )
    )
    forward.build(draft)
    return draft.finish()


def _fresh(index: int, name: str, node: Node) -> Instance:
    rank = (-node.height, -node.task.priority, index)
    undo = UndoState(mode=node.task.undo.mode)
    return Instance(id=name, task=name, kind=node.task.body.kind, rank=rank, undo=undo)


def evolve(run: Run, *events: Event) -> Run:
    """The run after these events. Events that were folded in before (by `seq`) are passed over."""
    draft = Draft(run)
    seq = run.seq
    for event in events:
        if 0 < event.seq <= seq:
            continue
        seq = max(seq, event.seq)
        draft.last_at, draft.now = draft.now, event.at
        if (handler := HANDLERS.get(event.type)) is not None:
            handler(draft, event)
    draft.fields.update(seq=seq, last_at=draft.now)
    return draft.finish()


# ---- the run ----------------------------------------------------------------------------------------------------------


def _run_created(draft: Draft, event: Event) -> None:
    draft.fields["by"] = event.data.get("by", "")
    draft.fields["manner"] = Manner.from_json(event.data.get("manner", {}))
    known = expected.from_json(event.data.get("expected", {}))
    if known := {name: found for name, found in known.items() if name in draft.run.graph.nodes}:
        draft.fields["expected"] = known
        order.by_time(draft, known)


def _run_started(draft: Draft, event: Event) -> None:
    for id_ in list(draft.waiting):
        # What waits for another run looks after it again: whoever takes this one may have moved that one on.
        if (waiting := draft.instances[id_].waiting) is not None and waiting.run is not None:
            draft.waiting = draft.waiting.insert(id_, event.at)
    fields: dict[str, Any] = {"max_parallel": event.data.get("max_parallel", draft.run.max_parallel)}
    if "finish_grace" in event.data:
        fields["finish_grace"] = timedelta(seconds=event.data["finish_grace"])
    if draft.current("status") is RunStatus.QUEUED:
        draft.set_run(RunStatus.RUNNING, started_at=event.at, clocked_from=event.at)
    elif (clocked := draft.current("clocked_from")) is not None:
        # Its process had died: the time in which nobody drove it does not count.
        fields["clocked_from"] = clocked + max(event.at - draft.last_at, timedelta())
    draft.fields.update(fields)


def _run_resumed(draft: Draft, event: Event) -> None:
    fresh: dict[str, Any] = {"cause": None, "reason": "", "cancel_requested": False, "finished_at": None, "left": ()}
    draft.set_run(RunStatus.RUNNING, clocked_from=event.at, **fresh)
    _reopen(draft)
    draft.fatal, draft.stopping_since, draft.goes_back = (), None, False
    for id_ in event.data["reset"]:
        _start_afresh(draft, draft.instances[id_])
    draft.gone, draft.left_reached = set(), set()
    forward.build(draft)


def _start_afresh(draft: Draft, instance: Instance) -> None:
    undo = UndoState(mode=instance.undo.mode)
    afresh: dict[str, Any] = {"reason": "", "retry_at": None, "waived": False, "unknown": False, "stands": ""}
    draft.set(instance, TaskStatus.PENDING, budget=len(instance.attempts), undo=undo, **afresh)


def _reopen(draft: Draft) -> None:
    """A run that had ended goes on: what stands under `finally` will come again."""
    if draft.current("closing") is None:
        return
    draft.fields["closing"] = None
    for name, node in draft.run.graph.nodes.items():
        if node.task.closing:
            for id_ in draft.expansions[name]:
                _start_afresh(draft, draft.instances[id_])
    forward.build(draft)


def _closing(draft: Draft, event: Event) -> None:
    _end_pending(draft)
    draft.fields["closing"] = event.data
    forward.close(draft)


def _cancel_requested(draft: Draft, event: Event) -> None:
    if draft.current("cancel_requested"):
        return
    cause = Cause.FAILED if draft.fatal else Cause(event.data.get("cause", Cause.CANCELLED))
    reason = event.data.get("reason", "")
    draft.fields.update(cancel_requested=True, cause=cause, reason=reason)
    draft.stopping_since = draft.stopping_since or event.at


def _compensating(draft: Draft, event: Event) -> None:
    _reopen(draft)
    _end_pending(draft)
    destroys = event.data.get("destroys", draft.current("destroys"))
    draft.set_run(RunStatus.COMPENSATING, cause=Cause(event.data["cause"]), finished_at=None, left=(), destroys=destroys)
    if event.data["cause"] == Cause.REQUESTED:
        draft.stopping_since = event.at
    # A way back of before may stand in this same batch; what it left ready is marked anew.
    draft.back_ready, draft.back_gone = [], set()
    draft.goes_back = draft.back_rebuilt = True
    draft.back_stands, draft.back_retrying = HashTrieMap(), HashTrieMap()
    back.begin(draft, event.data.get("again"), destroys=destroys, only=event.data.get("only"))


def _finished(draft: Draft, event: Event) -> None:
    status = RunStatus(event.data["status"])
    if status in (RunStatus.FAILED, RunStatus.CANCELLED):
        if draft.current("closing") is None:
            _end_pending(draft)
        cause = Cause.FAILED if status is RunStatus.FAILED else Cause.CANCELLED
        draft.fields["cause"] = draft.current("cause") or cause
        draft.fields["reason"] = draft.current("reason") or event.data.get("message", "")
    left = tuple(event.data.get("left", ()))
    draft.set_run(status, finished_at=event.at, outputs=event.data.get("outputs", {}), left=left)


def _end_pending(draft: Draft) -> None:
    """What has not started never will: it is blocked when something before it failed, else cancelled; undos see it as it is then."""
    failed: set[str] = set()
    ends = (TaskStatus.FAILED, TaskStatus.BLOCKED)
    for name, node in draft.run.graph.nodes.items():
        if node.task.closing:
            continue
        blocked = any(need in failed for need in node.needs)
        for id_ in draft.expansions[name]:
            instance = draft.instances[id_]
            if instance.status is TaskStatus.PENDING and blocked:
                instance = draft.set(instance, TaskStatus.BLOCKED, reason="what it needs failed")
            elif instance.status is TaskStatus.PENDING:
                instance = draft.set(instance, TaskStatus.CANCELLED, reason="the run ended before it started")
            if instance.status in ends and not node.task.allow_failure:
                failed.add(name)
        if name not in draft.views:
            draft.views = draft.views.insert(name, forward.view_of(node.task, [draft.instances[id_] for id_ in draft.expansions[name]]))
    draft.clear_queues()
    # What started in this same batch may stand under `finally` and come again.
    draft.gone, draft.left_reached = set(), set()
    draft.held = HashTrieMap()


# ---- the way forward --------------------------------------------------------------------------------------------------


def _expanded(draft: Draft, event: Event) -> None:
    assert event.task is not None
    draft.left_reached.add(event.task)
    forward.expand(draft, event.task, list(event.data["keys"]), list(event.data["values"]))


def _ready(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    draft.left_reached.add(instance.id)
    draft.enqueue(instance)


def _started(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    number = event.attempt or 1
    attempt = Attempt(number=number, status=AttemptStatus.RUNNING, started_at=event.at, log=event.data.get("log"))
    draft.set(instance, TaskStatus.RUNNING, attempts=(*instance.attempts, attempt), retry_at=None, waiting=None)
    draft.begin(instance, number)
    draft.retrying = draft.retrying.discard(instance.id)
    draft.waiting = draft.waiting.discard(instance.id)
    draft.gone.add(instance.id)


def _waiting(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    data = event.data
    until = datetime.fromisoformat(data["until"]) if data.get("until") else None
    approval = data.get("approval")
    again = data.get("run") is not None or (approval is not None and approval.get("again", False))
    waiting = Waiting(until=until, approval=approval, run=data.get("run"), again=again)
    draft.end(instance)
    draft.waiting = draft.waiting.insert(instance.id, until)
    if not again:
        draft.set(instance, TaskStatus.WAITING, waiting=waiting)
        return
    paused = replace(instance.attempts[-1], status=AttemptStatus.PAUSED, finished_at=event.at, changed=data.get("changed", True))
    attempts = (*instance.attempts[:-1], paused)
    draft.set(instance, TaskStatus.WAITING, waiting=waiting, attempts=attempts, budget=instance.budget + 1)


def _answered(draft: Draft, event: Event) -> None:
    """A yes to a task that goes on with its work: its wait is over now. What any other answer means is told by the event behind it."""
    instance = _of(draft, event)
    waiting = instance.waiting
    if event.data["answer"] != APPROVE or waiting is None or waiting.approval is None:
        return
    digest = waiting.approval.get("digest", "")
    if waiting.again:
        draft.put(instance, approved=digest, waiting=Waiting(until=event.at, again=True))
        draft.waiting = draft.waiting.insert(instance.id, event.at)
    else:
        draft.put(instance, approved=digest)


def _skipped_by_a_person(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    reason = f"{event.data['by']} took it on: {event.data['reason']}"
    if event.data["way"] == "forward":
        draft.set(instance, TaskStatus.SKIPPED, waived=True, unknown=False, reason=reason)
        return
    if instance.status is TaskStatus.UNDO_FAILED:
        instance = draft.set(instance, TaskStatus.UNDONE)
    draft.undo(instance, status=UndoStatus.WAIVED, reason=reason)


def _succeeded(draft: Draft, event: Event) -> None:
    instance = _end_attempt(draft, event, AttemptStatus.SUCCEEDED)
    data = event.data
    instance = draft.set(
        instance, TaskStatus.SUCCEEDED, outputs=data["outputs"], result=data["result"], changed=instance.is_touched
    )
    forward.settle_instance(draft, instance)


def _failed(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    if event.attempt is None:
        # An expression failed before anything could start, or the run stops before the next try.
        draft.left_reached.add(instance.id)
        draft.retrying = draft.retrying.discard(instance.id)
        instance = draft.set(instance, TaskStatus.FAILED, retry_at=None, reason=event.data["message"], unknown=False)
        forward.settle_instance(draft, instance)
        return
    is_held = event.data.get("held", False)
    instance = _end_attempt(draft, event, AttemptStatus.HELD if is_held else AttemptStatus.FAILED)
    if event.data["final"]:
        facts = {"result": event.data.get("result", {}), "unknown": event.data.get("unknown", False)}
        forward.settle_instance(draft, draft.set(instance, TaskStatus.FAILED, changed=instance.is_touched, **facts))
    else:
        draft.put(instance, budget=instance.budget + (1 if is_held else 0))


def _retrying(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    retry_at = datetime.fromisoformat(event.data["retry_at"])
    draft.set(instance, TaskStatus.RETRYING, retry_at=retry_at)
    draft.retrying = draft.retrying.insert(instance.id, retry_at)


def _lost(draft: Draft, event: Event) -> None:
    instance = _end_attempt(draft, event, AttemptStatus.LOST)
    draft.set(instance, TaskStatus.RETRYING, retry_at=event.at, budget=instance.budget + 1)
    draft.retrying = draft.retrying.insert(instance.id, event.at)


def _cancelled(draft: Draft, event: Event) -> None:
    if event.attempt is None:
        # A retry that will not come.
        instance = _of(draft, event)
        draft.retrying, draft.waiting = draft.retrying.discard(instance.id), draft.waiting.discard(instance.id)
        instance = draft.set(instance, TaskStatus.CANCELLED, retry_at=None, waiting=None, reason=event.data["message"])
    else:
        instance = _end_attempt(draft, event, AttemptStatus.CANCELLED)
        instance = draft.set(instance, TaskStatus.CANCELLED, changed=instance.is_touched)
    forward.settle_instance(draft, instance)


def _skipped(draft: Draft, event: Event) -> None:
    if event.attempt is not None:
        _stands(draft, event)
        return
    _settle_unstarted(draft, event, TaskStatus.SKIPPED, event.data["reason"])


def _stands(draft: Draft, event: Event) -> None:
    """Its last good version stands: for the tasks behind it, it ended well."""
    instance = _end_attempt(draft, event, AttemptStatus.SUCCEEDED)
    data = event.data
    fields = {"outputs": data["outputs"], "result": data["result"], "stands": data["stands"], "reason": data["reason"], "waived": True}
    forward.settle_instance(draft, draft.set(instance, TaskStatus.SKIPPED, **fields))


def _blocked(draft: Draft, event: Event) -> None:
    _settle_unstarted(draft, event, TaskStatus.BLOCKED, f"needs {', '.join(event.data['by'])}")


def _settle_unstarted(draft: Draft, event: Event, status: TaskStatus, reason: str) -> None:
    instance = _of(draft, event)
    draft.left_reached.add(instance.id)
    forward.settle_instance(draft, draft.set(instance, status, reason=reason))


# ---- the way back -----------------------------------------------------------------------------------------------------


def _undo_started(draft: Draft, event: Event) -> None:
    instance = _of(draft, event)
    number = event.attempt or 1
    attempt = Attempt(number=number, status=AttemptStatus.RUNNING, started_at=event.at, log=event.data.get("log"))
    if instance.status is not TaskStatus.UNDOING:
        draft.set(instance, TaskStatus.UNDOING)
    draft.undo(
        instance, status=UndoStatus.RUNNING, attempts=(*instance.undo.attempts, attempt), retry_at=None, reason=""
    )
    draft.begin(instance, number)
    draft.back_retrying = draft.back_retrying.discard(instance.id)
    draft.back_gone.add(instance.id)


def _undo_succeeded(draft: Draft, event: Event) -> None:
    instance = _end_undo(draft, event, AttemptStatus.SUCCEEDED)
    instance = draft.undo(draft.set(instance, TaskStatus.UNDONE), status=UndoStatus.SUCCEEDED)
    back.pass_instance(draft, instance)


def _undo_failed(draft: Draft, event: Event) -> None:
    instance = _end_undo(draft, event, AttemptStatus.HELD if event.data.get("held", False) else AttemptStatus.FAILED)
    if event.data["final"]:
        reason = event.data["message"]
        instance = draft.undo(draft.set(instance, TaskStatus.UNDO_FAILED), status=UndoStatus.FAILED, reason=reason)
        back.pass_instance(draft, instance)


def _undo_retrying(draft: Draft, event: Event) -> None:
    retry_at = datetime.fromisoformat(event.data["retry_at"])
    _undo_again(draft, _of(draft, event), retry_at)


def _undo_lost(draft: Draft, event: Event) -> None:
    _undo_again(draft, _end_undo(draft, event, AttemptStatus.LOST), event.at)


def _undo_again(draft: Draft, instance: Instance, retry_at: datetime) -> None:
    draft.undo(instance, status=UndoStatus.RETRYING, retry_at=retry_at)
    draft.back_retrying = draft.back_retrying.insert(instance.id, retry_at)


# ---- parts ------------------------------------------------------------------------------------------------------------


def _of(draft: Draft, event: Event) -> Instance:
    assert event.task is not None
    return draft.instances[event.task]


def _end_attempt(draft: Draft, event: Event, status: AttemptStatus) -> Instance:
    """The instance with its last attempt ended; not yet put back, as most callers change its status too."""
    instance = _of(draft, event)
    ended = _ended(instance.attempts[-1], event, status)
    draft.end(instance)
    if instance.waiting is None:
        return draft.changed(instance, attempts=(*instance.attempts[:-1], ended))
    draft.waiting = draft.waiting.discard(instance.id)
    return draft.changed(instance, attempts=(*instance.attempts[:-1], ended), waiting=None)


def _end_undo(draft: Draft, event: Event, status: AttemptStatus) -> Instance:
    instance = _of(draft, event)
    ended = _ended(instance.undo.attempts[-1], event, status)
    draft.end(instance)
    return draft.undo(instance, attempts=(*instance.undo.attempts[:-1], ended))


def _ended(attempt: Attempt, event: Event, status: AttemptStatus) -> Attempt:
    data = event.data
    failure = None
    if status is not AttemptStatus.SUCCEEDED:
        failure = Failure(
            failure_class=FailureClass(data.get("class", "crashed" if status is AttemptStatus.LOST else "cancelled")),
            message=data.get("message", ""),
            detail=data.get("detail", ""),
            hint=data.get("hint", ""),
        )
    return replace(
        attempt,
        status=status,
        finished_at=event.at,
        failure=failure,
        changed=data.get("changed", True),
        log=data.get("log", attempt.log),
        result=None if failure is None else data.get("result"),
    )


HANDLERS: Mapping[EventType, Callable[[Draft, Event], None]] = {
    EventType.RUN_CREATED: _run_created,
    EventType.RUN_STARTED: _run_started,
    EventType.RUN_RESUMED: _run_resumed,
    EventType.RUN_CANCEL_REQUESTED: _cancel_requested,
    EventType.RUN_COMPENSATING: _compensating,
    EventType.RUN_CLOSING: _closing,
    EventType.RUN_FINISHED: _finished,
    EventType.TASK_EXPANDED: _expanded,
    EventType.TASK_READY: _ready,
    EventType.TASK_STARTED: _started,
    EventType.TASK_WAITING: _waiting,
    EventType.TASK_SUCCEEDED: _succeeded,
    EventType.TASK_FAILED: _failed,
    EventType.TASK_RETRYING: _retrying,
    EventType.TASK_LOST: _lost,
    EventType.TASK_CANCELLED: _cancelled,
    EventType.APPROVAL_GIVEN: _answered,
    EventType.ATTENTION_SKIPPED: _skipped_by_a_person,
    EventType.TASK_SKIPPED: _skipped,
    EventType.TASK_BLOCKED: _blocked,
    EventType.UNDO_STARTED: _undo_started,
    EventType.UNDO_SUCCEEDED: _undo_succeeded,
    EventType.UNDO_FAILED: _undo_failed,
    EventType.UNDO_RETRYING: _undo_retrying,
    EventType.UNDO_LOST: _undo_lost,
}
