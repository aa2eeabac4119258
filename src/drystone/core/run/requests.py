"""What a person, or an engine that takes a run, asks of it -> events. What does not fit raises RefusedError and says why."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from drystone.core import references
from drystone.core.diagnostics import did_you_mean
from drystone.core.events import Event, EventType
from drystone.core.run.attention import Item, Way, attention
from drystone.core.run.forward import End
from drystone.core.run.state import Cause, Run, UndoStatus
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import NotFoundError, RefusedError


def take(run: Run, now: datetime, *, owner: str, epoch: int, max_parallel: int, finish_grace: timedelta) -> list[Event]:
    """An engine begins, or goes on, to drive the run."""
    data = {"owner": owner, "epoch": epoch, "max_parallel": max_parallel, "finish_grace": finish_grace.total_seconds()}
    return [_event(run, now, EventType.RUN_STARTED, data)]


def request_cancel(run: Run, now: datetime, *, by: str, reason: str = "") -> list[Event]:
    """Stop going forward; what follows is the plan's `on_failure`. Harmless while it is stopping already."""
    if run.status.is_final:
        raise RefusedError(f'run {run.id} has ended: "{run.status}"', hint=_undo_hint(run))
    if run.status is RunStatus.COMPENSATING or run.cancel_requested or run.closing is not None:
        return []
    data = {"by": by, "reason": reason or f"cancelled by {by}", "cause": Cause.CANCELLED.value}
    return [_event(run, now, EventType.RUN_CANCEL_REQUESTED, data)]


def request_undo(run: Run, now: datetime, *, by: str) -> list[Event]:
    """Take back a run that has ended, or go on with a way back that could not be finished."""
    if run.status is RunStatus.COMPENSATED:
        raise RefusedError(f"run {run.id} is undone already")
    if not run.status.is_final:
        raise RefusedError(f'run {run.id} has not ended: "{run.status}"', hint=f"drystone cancel {run.id}")
    if (pivot := run.passed_pivot) is not None:
        raise RefusedError(
            f'run {run.id} has passed its pivot "{pivot}": nothing of it is undone',
            hint=f"go forward: drystone resume {run.id}, or a new run",
        )
    return [
        _event(run, now, EventType.RUN_UNDO_REQUESTED, {"by": by}),
        _event(run, now, EventType.RUN_COMPENSATING, {"cause": Cause.REQUESTED.value}),
    ]


def request_destroy(run: Run, now: datetime, *, by: str, only: Collection[str] | None = None) -> list[Event]:
    """Take away all that stands of a run that has ended, also what it found and left as it was, and also past a pivot.

    only: of these instances, because later runs have the others; None means all. Raises RefusedError while the run has not ended.
    """
    if not run.status.is_final:
        raise RefusedError(f'run {run.id} has not ended: "{run.status}"', hint=f"drystone cancel {run.id}")
    asked = {"by": by, "destroys": True}
    data = {"cause": Cause.REQUESTED.value, "destroys": True, **({} if only is None else {"only": sorted(only)})}
    return [_event(run, now, EventType.RUN_UNDO_REQUESTED, asked), _event(run, now, EventType.RUN_COMPENSATING, data)]


RESET = frozenset({TaskStatus.FAILED, TaskStatus.BLOCKED, TaskStatus.CANCELLED})


def request_resume(
    run: Run, now: datetime, *, by: str, start: str | None = None, only_failed: bool = False
) -> list[Event]:
    """Go on with a run: a stopped one starts its failed tasks afresh, a half undone one goes on with the way back.

    start:       a task, or an instance of one, that starts afresh even if it had succeeded, and with it all that is behind it.
    only_failed: also the instances whose failure the plan tolerated, and with them what was made without them behind their tasks.
    Empty for a run whose process died: whoever takes it goes on by itself.
    """
    if start is not None:
        _check_start(run, start)
    match run.status:
        case RunStatus.SUCCEEDED if start is not None or (only_failed and _failed(run)):
            afresh = {*(_from(run, start) if start is not None else ()), *(_all_failed(run) if only_failed else ())}
            _check_items(run, start, afresh)
            return [_resumed(run, now, by, start, run.ordered(afresh))]
        case RunStatus.SUCCEEDED:
            what = "no instance of it failed" if only_failed else "nothing is left to do"
            raise RefusedError(f"run {run.id} has succeeded: {what}", hint=_undo_hint(run))
        case RunStatus.COMPENSATED:
            raise RefusedError(f"run {run.id} was undone", hint=f"start it anew: drystone run {run.graph.plan.name}")
        case RunStatus.COMPENSATION_FAILED:
            if start is not None:
                raise RefusedError(f"run {run.id} is on its way back", hint=f"finish that first: drystone resume {run.id}")
            return request_undo(run, now, by=by)
        case RunStatus.FAILED | RunStatus.CANCELLED:
            named = _from(run, start) if start is not None else []
            unknown = [item.instance for item in attention(run) if run.instances[item.instance].unknown]
            if doubt := [id_ for id_ in unknown if id_ not in named]:
                hint = f"look at what it did, then: drystone attention retry|skip {run.id} {doubt[0]}"
                raise RefusedError(f'whether "{doubt[0]}" of run {run.id} took effect is not known', hint=hint)
            afresh = {*(_all_failed(run) if only_failed else _to_reset(run)), *named}
            if start is not None or only_failed:
                _check_items(run, start, afresh)
            return [_resumed(run, now, by, start, run.ordered(afresh))]
        case _:
            if start is not None or only_failed:
                raise RefusedError(f'run {run.id} has not ended: "{run.status}"', hint=f"go on with it first: drystone resume {run.id}")
            return []


def request_retry(run: Run, now: datetime, *, by: str, task: str | None = None) -> list[Event]:
    """Try again what a person must decide about: one task, or all. Raises RefusedError when there is nothing, or not all is decided."""
    items = _items(run, task)
    if items[0].way is Way.BACK:
        cause = (run.cause or Cause.REQUESTED).value
        data = {"cause": cause, "again": [item.instance for item in items if run.instances[item.instance].undo.status is UndoStatus.FAILED]}
        if not data["again"]:
            raise RefusedError(f'"{items[0].instance}" of run {run.id} cannot be undone', hint=_skip_hint(run, items[0]))
        return [_event(run, now, EventType.RUN_UNDO_REQUESTED, {"by": by}), _event(run, now, EventType.RUN_COMPENSATING, data)]
    if others := [item.instance for item in attention(run) if item not in items]:
        hint = f"try them all again: drystone attention retry {run.id}; or skip those: drystone attention skip {run.id} {others[0]}"
        raise RefusedError(f"run {run.id} waits for a decision about {', '.join(others)} too", hint=hint)
    return [_resumed(run, now, by, None, _to_reset(run))]


def request_skip(run: Run, now: datetime, *, by: str, task: str, reason: str) -> list[Event]:
    """Go on as if the task, or its undo, had ended well: a person took it on.

    On the way forward the run goes on once all is decided. Raises RefusedError when nobody waits for a decision about it.
    """
    item = _items(run, task)[0]
    data = {"by": by, "reason": reason, "way": item.way.value}
    skipped = Event(type=EventType.ATTENTION_SKIPPED, at=now, run=run.id, task=item.instance, data=data)
    if item.way is Way.BACK:
        again: dict[str, Any] = {"cause": (run.cause or Cause.REQUESTED).value, "again": []}
        return [skipped, _event(run, now, EventType.RUN_COMPENSATING, again)]
    if len(attention(run)) > 1:
        return [skipped]
    return [skipped, _resumed(run, now, by, None, [id_ for id_ in _to_reset(run) if id_ != item.instance])]


def _items(run: Run, task: str | None) -> list[Item]:
    found = attention(run)
    chosen = [item for item in found if task is None or task in (item.instance, run.instances[item.instance].task)]
    if not chosen:
        what = f'"{task}" of run {run.id}' if task is not None else f"run {run.id}"
        waits = f"it waits for a decision about {', '.join(item.instance for item in found)}" if found else f"drystone show {run.id}"
        raise RefusedError(f"{what} waits for no decision", hint=waits)
    return list(chosen)


def _skip_hint(run: Run, item: Item) -> str:
    return f"take it away by hand, then: drystone attention skip {run.id} {item.instance} --reason TEXT"


def _resumed(run: Run, now: datetime, by: str, start: str | None, reset: list[str]) -> Event:
    return _event(run, now, EventType.RUN_RESUMED, {"by": by, "reset": reset, **({"from": start} if start is not None else {})})


def _check_start(run: Run, start: str) -> None:
    known = {name for name, node in run.graph.nodes.items() if not node.task.closing}
    known |= {instance.id for instance in run.in_order() if not run.task_of(instance).closing}
    if start not in known:
        hint = did_you_mean(start, known) or f"its tasks are {', '.join(run.graph.nodes)}"
        raise NotFoundError(f'run {run.id} has no task "{start}"', hint=hint)


def _from(run: Run, start: str) -> list[str]:
    """The task or instance, and every instance behind it."""
    name = start if start in run.graph.nodes else run.instances[start].task
    behind = _behind(run, {name})
    return [i.id for i in run.in_order() if i.task in behind or (i.task == name and start in (i.id, name))]


def _behind(run: Run, names: Collection[str]) -> set[str]:
    """The tasks that come after one of these, near or far."""
    found: set[str] = set()
    for name, node in run.graph.nodes.items():
        if not node.task.closing and any(need in names or need in found for need in node.needs):
            found.add(name)
    return found


def _check_items(run: Run, start: str | None, afresh: Collection[str]) -> None:
    """A fan-out keeps its instances: its items must not come from what is done again, which may give others this time."""
    tasks = {run.instances[id_].task for id_ in afresh}
    for name, node in run.graph.nodes.items():
        fanout = node.task.for_each
        if fanout is None or run.expansions[name] == (name,):
            continue
        if sources := [other for other in references.tasks_in(fanout.items, tasks) if other != name]:
            again = f'would be done again from "{start}"' if start is not None else "would be done again"
            raise RefusedError(
                f'the items of "{name}" come from "{sources[0]}", which {again} and may give others',
                hint=f"go on from a task behind it (--from {name}), or start a new run: drystone run {run.graph.plan.name}",
            )


def _to_reset(run: Run) -> list[str]:
    """What did not succeed, and what was skipped only because something before it did not.

    A failure that the plan tolerated stays one when something behind it was made without it: see `_all_failed`.
    """
    reset: list[str] = []
    afresh: set[str] = set()
    settled = {name for name in run.graph.nodes if _is_tolerated(run, name) and _has_succeeded_behind(run, name)}
    for name, node in run.graph.nodes.items():
        if node.task.closing or name in settled:
            continue
        follows = any(need in afresh for need in node.needs)
        for id_ in run.expansions[name]:
            instance = run.instances[id_]
            skipped = instance.status is TaskStatus.SKIPPED and follows and not instance.waived
            if instance.status in RESET or skipped:
                reset.append(id_)
                afresh.add(name)
    return reset


def _all_failed(run: Run) -> list[str]:
    """What did not succeed, tolerated or not, and all that is behind it."""
    failed = _failed(run)
    behind = _behind(run, {run.instances[id_].task for id_ in failed})
    again = (instance for instance in run.in_order() if instance.task in behind and not instance.waived)
    return run.ordered({*failed, *(instance.id for instance in again)})


def _failed(run: Run) -> list[str]:
    return [i.id for i in run.in_order() if i.status in RESET and not run.task_of(i).closing]


def _is_tolerated(run: Run, name: str) -> bool:
    view = run.views.get(name)
    return view is not None and view["end"] is End.TOLERATED


def _has_succeeded_behind(run: Run, name: str) -> bool:
    behind = _behind(run, {name})
    return any(run.instances[id_].status is TaskStatus.SUCCEEDED for other in behind for id_ in run.expansions[other])


def _undo_hint(run: Run) -> str:
    return "" if run.status is RunStatus.COMPENSATED else f"to take it back: drystone undo {run.id}"


def _event(run: Run, now: datetime, type_: EventType, data: dict[str, Any]) -> Event:
    return Event(type=type_, at=now, run=run.id, data=data)
