"""The way forward: what an end of a task means for the tasks behind it.

`evolve` calls `settle_instance` when an instance's way forward is over, `expand` when a fan-out is known, and `build` to make the
index of a new or resumed run. `verdict` says what the ends before a task mean for it; `decide` asks it for tasks with conditions.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from rpds import HashTrieMap

from drystone.core.plan import RunIf, Task
from drystone.core.run.state import Forward, Instance
from drystone.core.states import TaskStatus

if TYPE_CHECKING:
    from drystone.core.graph import Graph
    from drystone.core.run.draft import Draft


_ON_THE_WAY_BACK = frozenset({TaskStatus.UNDOING, TaskStatus.UNDONE, TaskStatus.UNDO_FAILED})


class End(Enum):
    """How a task ended, all its instances taken together."""

    SUCCEEDED = "succeeded"
    TOLERATED = "tolerated"
    """It failed, and the plan allows that."""
    SKIPPED = "skipped"
    FAILED = "failed"


class Verdict(Enum):
    """What the ends before a task mean for it."""

    GO = "go"
    SKIP = "skip"
    BLOCK = "block"


def verdict(run_if: RunIf, ends: Iterable[End]) -> Verdict:
    """DESIGN §3, `run_if`: a skip propagates and a failure blocks, unless the task says otherwise."""
    found = set(ends)
    failed, skipped = End.FAILED in found, End.SKIPPED in found
    match run_if:
        case RunIf.ALL_SUCCEEDED:
            return Verdict.BLOCK if failed else Verdict.SKIP if skipped else Verdict.GO
        case RunIf.NONE_FAILED:
            return Verdict.BLOCK if failed else Verdict.GO
        case RunIf.ALL_DONE:
            return Verdict.GO
        case RunIf.ANY_SUCCEEDED:
            if not found or found & {End.SUCCEEDED, End.TOLERATED}:
                return Verdict.GO
            return Verdict.BLOCK if failed else Verdict.SKIP
        case RunIf.ANY_FAILED:
            return Verdict.GO if found & {End.FAILED, End.TOLERATED} else Verdict.SKIP


def end_of(task: Task, instances: Iterable[Instance]) -> End:
    """How a task ended whose instances have all settled; a fan-out of nothing succeeded."""
    found = [_forward_status(instance) for instance in instances]
    failures = sum(status is TaskStatus.FAILED for status in found)
    stopped = any(status in (TaskStatus.BLOCKED, TaskStatus.CANCELLED) for status in found)
    allowed = task.for_each.max_failures if task.for_each else 0
    if failures > allowed or stopped:
        return End.TOLERATED if task.allow_failure and not any(s is TaskStatus.BLOCKED for s in found) else End.FAILED
    if failures:
        return End.TOLERATED
    if found and all(status is TaskStatus.SKIPPED for status in found):
        return End.SKIPPED
    return End.SUCCEEDED


def _forward_status(instance: Instance) -> TaskStatus:
    """How its way forward ended, also when the way back has been there since."""
    if instance.waived:
        return TaskStatus.SUCCEEDED
    if instance.status in _ON_THE_WAY_BACK:
        return TaskStatus.SUCCEEDED if instance.has_succeeded else TaskStatus.FAILED
    return instance.status


def ends_before(graph: Graph, views: Mapping[str, Mapping[str, Any]], name: str) -> list[End]:
    """The ends of all tasks that `name` needs; they must have settled."""
    return [views[need]["end"] for need in graph.nodes[name].needs]


def has_conditions(task: Task) -> bool:
    """True when `decide` must look at expressions before the task is ready."""
    return task.when is not None or task.for_each is not None


def settle_instance(draft: Draft, instance: Instance) -> None:
    """The way forward of `instance` is over: count it, free what it held, and settle its task when it was the last."""
    task = draft.run.task_of(instance)
    draft.unsettled = draft.unsettled.insert(instance.task, draft.unsettled[instance.task] - 1)
    if instance.status is TaskStatus.FAILED:
        count_failure(draft, task, instance)
    if waiting := draft.held.get(instance.task):
        draft.held = draft.held.insert(instance.task, waiting[1:])
        reach(draft, waiting[0])
    if draft.unsettled[instance.task] == 0:
        settle_task(draft, instance.task)


def count_failure(draft: Draft, task: Task, instance: Instance) -> None:
    """A failure is fatal for the run unless it is allowed, or a fan-out tolerates it."""
    failures = draft.failures.get(task.name, 0) + 1
    draft.failures = draft.failures.insert(task.name, failures)
    if failures <= (task.for_each.max_failures if task.for_each else 0):
        return
    if not task.allow_failure and not task.closing:
        draft.fatal += (instance.id,)
        draft.stopping_since = draft.stopping_since or draft.now
    _give_up_the_rest(draft, task)


def _give_up_the_rest(draft: Draft, task: Task) -> None:
    rest = [i for id_ in draft.expansions[task.name] if (i := draft.instances[id_]).status is TaskStatus.PENDING]
    for instance in rest:
        draft.set(instance, TaskStatus.CANCELLED, reason=f"too many other instances of {task.name} failed")
        draft.gone.add(instance.id)
        draft.left_reached.add(instance.id)
    draft.held = draft.held.insert(task.name, ())
    draft.unsettled = draft.unsettled.insert(task.name, draft.unsettled[task.name] - len(rest))


def settle_task(draft: Draft, name: str) -> None:
    """All instances of a task have settled: what it gave becomes visible, and the tasks behind it come nearer."""
    instances = [draft.instances[id_] for id_ in draft.expansions[name]]
    draft.views = draft.views.insert(name, view_of(draft.run.graph.nodes[name].task, instances))
    if draft.run.graph.nodes[name].task.closing:
        draft.closing_left -= 1
    else:
        draft.remaining -= 1
    for dependant in draft.run.graph.nodes[name].dependants:
        left = draft.open[dependant] - 1
        draft.open = draft.open.insert(dependant, left)
        # After a resume a task behind may have settled long ago: it ran in spite of the failure.
        if left == 0 and draft.unsettled[dependant] > 0:
            reach_task(draft, dependant)


def reach_task(draft: Draft, name: str) -> None:
    """Everything before a task has settled."""
    graph = draft.run.graph
    task = graph.nodes[name].task
    if draft.expansions[name] != (name,):
        _reach_instances(draft, name)
        return
    if has_conditions(task) or verdict(task.run_if, ends_before(graph, draft.views, name)) is not Verdict.GO:
        draft.reached.append(name)
    else:
        draft.enqueue(draft.instances[name])


def reach(draft: Draft, id_: str) -> None:
    """An instance of an expanded fan-out may go on: to its condition when it has one, else to the queue."""
    instance = draft.instances[id_]
    if draft.run.task_of(instance).when is not None:
        draft.reached.append(id_)
    else:
        draft.enqueue(instance)


def expand(draft: Draft, name: str, keys: list[int | str], values: list[Any]) -> None:
    """A fan-out is known: its placeholder gives way to one instance for each key."""
    task = draft.run.graph.nodes[name].task
    placeholder = draft.instances[name]
    ids = tuple(instance_id(name, key) for key in keys)
    draft.instances = draft.instances.remove(name)
    for index, (id_, key, value) in enumerate(zip(ids, keys, values, strict=True)):
        made = draft.changed(placeholder, id=id_, key=key, value=value, rank=(*placeholder.rank[:3], index))
        draft.instances = draft.instances.insert(id_, made)
    draft.expansions = draft.expansions.insert(name, ids)
    draft.unsettled = draft.unsettled.insert(name, len(ids))
    limit = task.for_each.max_parallel if task.for_each and task.for_each.max_parallel else len(ids)
    draft.held = draft.held.insert(name, ids[limit:])
    for id_ in ids[:limit]:
        reach(draft, id_)
    if not ids:
        settle_task(draft, name)


def close(draft: Draft) -> None:
    """All else is over: the tasks under `finally` are reached."""
    for name, node in draft.run.graph.nodes.items():
        if node.task.closing:
            draft.open = draft.open.insert(name, draft.open[name] - 1)
    for name, node in draft.run.graph.nodes.items():
        if node.task.closing and draft.open[name] == 0:
            reach_task(draft, name)


def instance_id(task: str, key: int | str) -> str:
    """`vm[0]` or `vm["web"]`."""
    return f"{task}[{key}]" if isinstance(key, int) else '{}["{}"]'.format(task, key.replace("\\", "\\\\").replace('"', '\\"'))


def view_of(task: Task, instances: list[Instance]) -> Mapping[str, Any]:
    """What expressions see as `tasks.NAME`: a list or a map for a fan-out. `end` is for the machine."""
    end = end_of(task, instances)
    if task.for_each is None or (len(instances) == 1 and instances[0].key is None):
        only = instances[0]
        return {"outputs": only.outputs, "result": result_of(only), "status": only.status.value, "end": end}
    if instances and isinstance(instances[0].key, str):
        return {
            "outputs": {str(i.key): i.outputs for i in instances},
            "result": {str(i.key): result_of(i) for i in instances},
            "status": {str(i.key): i.status.value for i in instances},
            "end": end,
        }
    return {
        "outputs": [i.outputs for i in instances],
        "result": [result_of(i) for i in instances],
        "status": [i.status.value for i in instances],
        "end": end,
    }


def result_of(instance: Instance) -> Mapping[str, Any]:
    """What the kind told of the attempt, with `changed` and `failed` always there; a kind's own counts win."""
    return {"changed": instance.changed, "failed": instance.status is TaskStatus.FAILED, **instance.result}


def build(draft: Draft) -> None:
    """Makes the index afresh from the instances' states: for a new run, and after a resume."""
    graph = draft.run.graph
    draft.unsettled, draft.failures, draft.views = HashTrieMap(), HashTrieMap(), HashTrieMap()
    draft.held, draft.retrying, draft.waiting = HashTrieMap(), HashTrieMap(), HashTrieMap()
    draft.clear_queues()
    draft.remaining, draft.closing_left = 0, 0
    opened: dict[str, int] = {}
    for name, node in graph.nodes.items():
        instances = [draft.instances[id_] for id_ in draft.expansions[name]]
        pending = [instance for instance in instances if not instance.status.is_settled]
        draft.unsettled = draft.unsettled.insert(name, len(pending))
        # What stands under `finally` has one edge more: the end of all else.
        opened[name] = sum(need not in draft.views for need in node.needs) + node.task.closing
        failures = sum(instance.status is TaskStatus.FAILED for instance in instances)
        draft.failures = draft.failures.insert(name, failures)
        if not pending:
            draft.views = draft.views.insert(name, view_of(node.task, instances))
            continue
        draft.remaining += not node.task.closing
        draft.closing_left += node.task.closing
        if opened[name] == 0:
            reach_task(draft, name)
    draft.open = HashTrieMap(opened)


def _reach_instances(draft: Draft, name: str) -> None:
    """A fan-out that was expanded before the run was resumed: its instances that start afresh."""
    pending = [id_ for id_ in draft.expansions[name] if not draft.instances[id_].status.is_settled]
    fanout = draft.run.graph.nodes[name].task.for_each
    limit = fanout.max_parallel if fanout and fanout.max_parallel else len(pending)
    draft.held = draft.held.insert(name, tuple(pending[limit:]))
    for id_ in pending[:limit]:
        reach(draft, id_)


def merge_ready(
    ready: tuple[tuple[tuple[int, ...], str], ...], added: list[tuple[tuple[int, ...], str]], gone: set[str]
) -> tuple[tuple[tuple[int, ...], str], ...]:
    """The queue without those that started and with those that became ready, sorted."""
    kept = [item for item in ready if item[1] not in gone] if gone else list(ready)
    fresh = [item for item in added if item[1] not in gone]
    if len(fresh) > 8:
        return tuple(sorted(kept + fresh))
    for item in fresh:
        insort(kept, item)
    return tuple(kept)


def index_of(draft: Draft, base: tuple[tuple[tuple[int, ...], str], ...]) -> Forward:
    """The draft's index, frozen again; `base` is the queue as it was."""
    return Forward(
        open=draft.open,
        unsettled=draft.unsettled,
        failures=draft.failures,
        reached=tuple(id_ for id_ in draft.reached if id_ not in draft.left_reached),
        ready=base if not draft.ready and not draft.gone else merge_ready(base, draft.ready, draft.gone),
        pooled=_merge_pooled(draft),
        held=draft.held,
        retrying=draft.retrying,
        waiting=draft.waiting,
        remaining=draft.remaining,
        closing=draft.closing_left,
    )


def _merge_pooled(draft: Draft) -> HashTrieMap[str, tuple[tuple[tuple[int, ...], str], ...]]:
    """The queues of the pools, as `merge_ready` makes that of the others."""
    queues = draft.base_pooled
    if not draft.run.graph.pools:
        return queues
    for pool in draft.run.graph.pools:
        base, added = queues.get(pool, ()), draft.pooled.get(pool, [])
        if added or draft.gone:
            queues = queues.insert(pool, merge_ready(base, added, draft.gone))
    return queues
