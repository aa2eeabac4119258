"""State, now -> commands: what should happen next.

An engine calls `decide`, writes down the events of the commands, folds them in, and asks again until there is nothing new; then it
performs what has an effect. So every command changes the state by its event, or is harmless when performed twice (`Cancel`, `Wake`).
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from types import MappingProxyType
from typing import Any

from rpds import HashTrieMap

from drystone.core import durations, values
from drystone.core.commands import Cancel, Command, Record, Start, StartUndo, Wake
from drystone.core.events import Event, EventType
from drystone.core.plan import Fanout, OnFailure, Task, UndoMode
from drystone.core.run.approvals import unanswered
from drystone.core.run.back import left_standing
from drystone.core.run.forward import Verdict, ends_before, verdict
from drystone.core.run.scope import scope_of
from drystone.core.run.state import Back, Cause, Instance, Run
from drystone.core.states import RunStatus
from drystone.errors import FailureClass

NO_SLOTS: Mapping[str, int] = MappingProxyType({})


def decide(run: Run, now: datetime, slots: Mapping[str, int] = NO_SLOTS) -> list[Command]:
    """What to do now; empty when the run has ended or only waits for attempts in flight.

    slots: pool -> how many attempts of this run may be in flight in it.
    """
    if run.closing is not None and not run.status.is_final:
        return _close(run, now, slots)
    match run.status:
        case RunStatus.QUEUED if run.cancel_requested:
            return [_record(run, now, EventType.RUN_FINISHED, data={"status": "cancelled", "outputs": {}, "left": []})]
        case RunStatus.RUNNING | RunStatus.WAITING:
            return _stop(run, now) if run.is_stopping else _forward(run, now, slots)
        case RunStatus.COMPENSATING:
            return _back(run, now, slots)
        case _:
            return []


# ---- forward ----------------------------------------------------------------------------------------------------------


def slots_wanted(run: Run, now: datetime) -> dict[str, int]:
    """Pool -> attempts that could start in it right now, if there were room; the pools of the graph, each of them."""
    wanted = dict.fromkeys(run.graph.pools, 0)
    if not wanted or run.status.is_final or run.status is RunStatus.QUEUED:
        return wanted
    if run.status is RunStatus.COMPENSATING and run.back is not None and run.closing is None:
        ids = [*run.back.ready, *_due(run.back.retrying, now)]
    elif run.is_stopping and run.closing is None:
        return wanted
    else:
        ids = _due(run.forward.retrying, now)
        for pool, queue in run.forward.pooled.items():
            wanted[pool] += len(queue)
    for id_ in ids:
        if (needed := run.task_of(run.instances[id_]).pool) is not None:
            wanted[needed] += 1
    return wanted


def _forward(run: Run, now: datetime, slots: Mapping[str, int]) -> list[Command]:
    if (deadline := _deadline(run)) is not None and now >= deadline:
        reason = f"the run's time of {durations.to_text(run.graph.plan.timeout or timedelta())} is up"
        data = {"by": "drystone", "reason": reason, "cause": Cause.TIMEOUT.value}
        return [_record(run, now, EventType.RUN_CANCEL_REQUESTED, data=data)]
    if run.forward.reached:
        return [_condition(run, now, id_) for id_ in run.forward.reached]
    if run.forward.remaining == 0 and not run.running:
        return [_finish(run, now)]
    return _starts(run, now, slots, deadline)


def _starts(run: Run, now: datetime, slots: Mapping[str, int], deadline: datetime | None = None) -> list[Command]:
    """Waits that are over, attempts for which there is room, and when to look again."""
    index = run.forward
    if over := [id_ for id_, until in index.waiting.items() if until is not None and until <= now]:
        return [_after_wait(run, now, id_) for id_ in sorted(over)]
    room = max(0, run.max_parallel - len(run.running))
    due = sorted((run.instances[id_].rank, id_) for id_ in _due(index.retrying, now))
    queues: list[Sequence[tuple[tuple[int, ...], str]]] = [due, index.ready[:room]] if due else [index.ready[:room]]
    free = _free(run, slots)
    queues += [queue[: max(0, min(room, free[pool]))] for pool, queue in index.pooled.items()]
    chosen = heapq.merge(*queues) if len(queues) > 1 else queues[0]
    commands: list[Command] = [_start(run, now, id_) for id_ in _take(run, (id_ for _, id_ in chosen), room, free)]
    moments = [at for waits in (index.retrying, index.waiting) for at in waits.values() if at is not None and at > now]
    return commands + _wake([*moments, deadline])


def _free(run: Run, slots: Mapping[str, int]) -> dict[str, int]:
    """Pool -> attempts that may still start in it."""
    return {pool: slots.get(pool, 0) - run.used.get(pool, 0) for pool in run.graph.pools}


def _take(run: Run, ids: Iterable[str], room: int, free: dict[str, int]) -> list[str]:
    """The first of them for which there is room, in the run and in their pools; counts `free` down."""
    taken: list[str] = []
    for id_ in ids:
        if len(taken) >= room:
            break
        pool = run.task_of(run.instances[id_]).pool if free else None
        if pool is not None:
            if free[pool] <= 0:
                continue
            free[pool] -= 1
        taken.append(id_)
    return taken


def _after_wait(run: Run, now: datetime, id_: str) -> Command:
    """The wait of an instance is over: its moment came, nobody answered in time, or it looks after the other run again."""
    instance = run.instances[id_]
    waiting = instance.waiting
    assert waiting is not None
    if waiting.again and waiting.approval is None:
        return _start(run, now, id_)
    number = instance.attempts[-1].number
    if waiting.approval is None:
        data: dict[str, Any] = {"outputs": {}, "result": {}, "changed": False}
        return Record(event=_event(run, now, EventType.TASK_SUCCEEDED, task=id_, attempt=number, data=data))
    return Record(event=unanswered(run, id_, now))


def _due(waiting: HashTrieMap[str, datetime], now: datetime) -> list[str]:
    return [id_ for id_, at in waiting.items() if at <= now]


def _deadline(run: Run) -> datetime | None:
    timeout = run.graph.plan.timeout
    return run.clocked_from + timeout if timeout is not None and run.clocked_from is not None else None


def _wake(moments: Iterable[datetime | None]) -> list[Command]:
    known = [moment for moment in moments if moment is not None]
    return [Wake(at=min(known))] if known else []


def _start(run: Run, now: datetime, id_: str) -> Start:
    instance = run.instances[id_]
    task = run.task_of(instance)
    number = len(instance.attempts) + 1
    data = {"token": token_of(run, instance), "undo": instance.undo.mode.value, "log": log_of(run, instance, number)}
    event = _event(run, now, EventType.TASK_STARTED, task=id_, attempt=number, data=data)
    return Start(event=event, instance=id_, attempt=number, token=data["token"], timeout=task.timeout)


def token_of(run: Run, instance: Instance) -> str:
    """The idempotency token: the same for every attempt of an instance in a run (DESIGN §4.6)."""
    return f"{run.id}:{instance.id}"


def log_of(run: Run, instance: Instance, number: int, *, undo: bool = False) -> str:
    """Where an attempt's log stands, relative to the project's .drystone folder."""
    return f"runs/{run.id}/{folder_of(instance.id)}/{'undo-' if undo else ''}{number}/log"


def folder_of(instance_id: str) -> str:
    """An instance id as the name of a folder: what a file system might not like is written as %XX, and no two are alike."""
    name = _ODD.sub(lambda found: f"%{ord(found[0]):02x}", instance_id)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(instance_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{name[: LONGEST_NAME - 33]}~{digest}"


LONGEST_NAME = 200
"""Characters of a folder's name; file systems take 255 bytes, and names made from it need some."""
_ODD = re.compile(r"[^A-Za-z0-9\-_.\[\]]")


# ---- conditions -------------------------------------------------------------------------------------------------------


def _condition(run: Run, now: datetime, id_: str) -> Record:
    """The edges of a task, or of an instance of a fan-out, are satisfied: does it go on?"""
    instance = run.instances[id_]
    task = run.task_of(instance)
    is_task = id_ == task.name
    if is_task and (record := _held_by_others(run, now, task)) is not None:
        return record
    try:
        asked = task.when is not None and not (is_task and _looks_at_each(task))
        if asked and not values.condition(task.when, scope_of(run, instance)):
            return _record(run, now, EventType.TASK_SKIPPED, task=id_, data={"reason": "its condition is false"})
        if is_task and task.for_each is not None:
            data = expansion(task.for_each, values.render(task.for_each.items, scope_of(run, instance)))
            return _record(run, now, EventType.TASK_EXPANDED, task=id_, data=data)
    except (values.ExpressionError, ValueError) as error:
        data = {"class": FailureClass.INVALID.value, "message": str(error), "changed": False, "final": True}
        return _record(run, now, EventType.TASK_FAILED, task=id_, data=data)
    return _record(run, now, EventType.TASK_READY, task=id_)


def _held_by_others(run: Run, now: datetime, task: Task) -> Record | None:
    match verdict(task.run_if, ends_before(run.graph, run.views, task.name)):
        case Verdict.SKIP:
            reason = "what it needs was skipped" if task.run_if.value != "any_failed" else "nothing it needs failed"
            return _record(run, now, EventType.TASK_SKIPPED, task=task.name, data={"reason": reason})
        case Verdict.BLOCK:
            by = [need for need in run.graph.nodes[task.name].needs if run.views[need]["end"].value == "failed"]
            return _record(run, now, EventType.TASK_BLOCKED, task=task.name, data={"by": by})
        case Verdict.GO:
            return None


def _looks_at_each(task: Task) -> bool:
    return task.for_each is not None and any(ref.root == "each" for ref in values.references(task.when))


def expansion(fanout: Fanout, items: Any) -> Mapping[str, Any]:
    """Keys and values of the instances. Raises ValueError when `items` is nothing to fan out over."""
    if isinstance(items, Mapping):
        keys: list[Any] = list(items)
        found: list[Any] = list(items.values())
        if not all(isinstance(key, str) for key in keys):
            raise ValueError("for_each: the keys of a map must be text")
    elif isinstance(items, bool) or not isinstance(items, list | tuple | range | int):
        raise ValueError(f'for_each: expected a list, a map or a number, got "{values.kind_of(items)}"')
    elif isinstance(items, int):
        if items < 0:
            raise ValueError(f"for_each: {items} is below zero")
        # Checked before the list is made: a wrong number must not fill the memory.
        _check_size(fanout, items)
        keys = found = list(range(items))
    else:
        keys, found = list(range(len(items))), list(items)
    _check_size(fanout, len(keys))
    return {"keys": keys, "values": found}


def _check_size(fanout: Fanout, size: int) -> None:
    if size > fanout.max_items:
        raise ValueError(f"for_each: {size} items are more than max_items allows ({fanout.max_items})")


# ---- the end ----------------------------------------------------------------------------------------------------------


def _finish(run: Run, now: datetime) -> Record:
    if run.fatal:
        return _stopped_by_doubt(run, now) or _finished(run, now, RunStatus.FAILED)
    try:
        outputs = {name: values.render(value, scope_of(run)) for name, value in run.graph.plan.outputs.items()}
    except values.ExpressionError as error:
        return _finished(run, now, RunStatus.FAILED, message=f"the plan's outputs: {error}")
    return _finished(run, now, RunStatus.SUCCEEDED, outputs=outputs)


def _finished(run: Run, now: datetime, status: RunStatus, **more: Any) -> Record:
    """The run is over; or it is but for the tasks under `finally`."""
    data = {"status": status.value, "outputs": {}, "left": [], **more}
    type_ = EventType.RUN_CLOSING if run.forward.closing else EventType.RUN_FINISHED
    return _record(run, now, type_, data=data)


def _close(run: Run, now: datetime, slots: Mapping[str, int]) -> list[Command]:
    if run.forward.reached:
        return [_condition(run, now, id_) for id_ in run.forward.reached]
    if run.forward.closing == 0 and not run.running:
        return [_record(run, now, EventType.RUN_FINISHED, data=run.closing)]
    return _starts(run, now, slots)


def _stop(run: Run, now: datetime) -> list[Command]:
    """No new starts. Attempts in flight are let finish, or ended: at once after a cancel, else when the grace is over."""
    if run.forward.retrying or run.forward.waiting:
        return [_give_up(run, now, id_) for id_ in sorted([*run.forward.retrying, *run.forward.waiting])]
    if run.running:
        if run.cancel_requested:
            return [Cancel(instance=id_, reason=run.reason or "cancelled") for id_ in sorted(run.running)]
        assert run.stopping_since is not None
        if now < (end := run.stopping_since + run.finish_grace):
            return [Wake(at=end)]
        return [Cancel(instance=id_, reason="the run failed elsewhere") for id_ in sorted(run.running)]
    cause = run.cause or Cause.FAILED
    if (record := _stopped_by_doubt(run, now)) is not None and not run.cancel_requested:
        return [record]
    if _compensates(run) and (pivot := run.passed_pivot) is not None:
        message = f'"{pivot}" has succeeded, and nothing is undone past it'
        return [_finished(run, now, RunStatus.FAILED, left=_touched(run), message=message)]
    if _compensates(run) and (cause is not Cause.CANCELLED or _touched(run)):
        return [_record(run, now, EventType.RUN_COMPENSATING, data={"cause": cause.value})]
    return [_finished(run, now, RunStatus.CANCELLED if cause is Cause.CANCELLED else RunStatus.FAILED)]


def _stopped_by_doubt(run: Run, now: datetime) -> Record | None:
    """Nobody knows whether an attempt took effect: neither going on nor going back is safe before a person has looked."""
    unknown = [id_ for id_ in run.fatal if run.instances[id_].unknown]
    if not unknown:
        return None
    message = f'whether "{unknown[0]}" took effect is not known'
    return _finished(run, now, RunStatus.FAILED, left=run.ordered({*unknown, *_touched(run)}), message=message)


def _give_up(run: Run, now: datetime, id_: str) -> Record:
    message = "the run stopped before the next attempt"
    if (waiting := run.instances[id_].waiting) is not None:
        number = run.instances[id_].attempts[-1].number if not waiting.again else None
        data: dict[str, Any] = {"message": "the run stopped while it waited", "changed": waiting.run is not None}
        return Record(event=_event(run, now, EventType.TASK_CANCELLED, task=id_, attempt=number, data=data))
    if run.cancel_requested:
        return _record(run, now, EventType.TASK_CANCELLED, task=id_, data={"message": message, "changed": True})
    failure = run.instances[id_].failure
    kind = failure.failure_class if failure else FailureClass.FAILED
    data = {"class": kind.value, "message": message, "changed": True, "final": True}
    return _record(run, now, EventType.TASK_FAILED, task=id_, data=data)


def _compensates(run: Run) -> bool:
    return run.graph.plan.on_failure is OnFailure.COMPENSATE


def _touched(run: Run) -> list[str]:
    """Instances that the way back would have something to do with."""
    return [
        instance.id
        for instance in run.in_order()
        if instance.undo.mode is not UndoMode.NONE and instance.to_undo(run.task_of(instance))
    ]


# ---- back -------------------------------------------------------------------------------------------------------------


def _back(run: Run, now: datetime, slots: Mapping[str, int]) -> list[Command]:
    index = run.back
    assert index is not None
    if index.remaining == 0 and not run.running:
        left = left_standing(list(run.in_order()))
        status = RunStatus.COMPENSATION_FAILED if left else RunStatus.COMPENSATED
        return [_finished(run, now, status, left=list(left))]
    room = max(0, run.max_parallel - len(run.running))
    due = sorted(_due(index.retrying, now))
    chosen = _take(run, chain(due, _in_turn(run, index)), room, _free(run, slots))
    commands: list[Command] = [_start_undo(run, now, id_) for id_ in chosen]
    return commands + _wake(at for at in index.retrying.values() if at > now)


def _in_turn(run: Run, index: Back) -> Iterator[str]:
    """The instances that are ready for their undo, as many of a fan-out at once as its `max_parallel` says."""
    begun = Counter(run.instances[id_].task for id_ in (*run.running, *index.retrying))
    for id_ in index.ready:
        task = run.task_of(run.instances[id_])
        limit = task.for_each.max_parallel if task.for_each else None
        if limit is None or begun[task.name] < limit:
            begun[task.name] += 1
            yield id_


def _start_undo(run: Run, now: datetime, id_: str) -> StartUndo:
    instance = run.instances[id_]
    task = run.task_of(instance)
    number = len(instance.undo.attempts) + 1
    log = log_of(run, instance, number, undo=True)
    data = {"token": f"{token_of(run, instance)}:undo", "mode": instance.undo.mode.value, "log": log}
    event = _event(run, now, EventType.UNDO_STARTED, task=id_, attempt=number, data=data)
    timeout = task.undo.timeout if task.undo.timeout is not None else task.timeout
    return StartUndo(event=event, instance=id_, attempt=number, token=data["token"], timeout=timeout)


# ---- parts ------------------------------------------------------------------------------------------------------------


def _event(
    run: Run,
    now: datetime,
    type_: EventType,
    *,
    task: str | None = None,
    attempt: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> Event:
    return Event(type=type_, at=now, run=run.id, task=task, attempt=attempt, data=data or {})


def _record(
    run: Run, now: datetime, type_: EventType, *, task: str | None = None, data: Mapping[str, Any] | None = None
) -> Record:
    return Record(event=_event(run, now, type_, task=task, data=data))
