"""How long a run has still to go, from what its tasks took in earlier runs. Read by faces; nothing is decided by it.

A range: its low end is what half of the earlier runs would take from here, its high end what nine in ten tasks keep to. Neither is
shorter than the longest path of tasks that need each other, nor than all work divided by what may run at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drystone.core.expected import Expected, Outlook, in_turn, longest_paths, milliseconds, parts
from drystone.core.graph import Graph
from drystone.core.run.state import AttemptStatus, Instance, Run, Waiting
from drystone.core.states import RunStatus, TaskStatus

Left = tuple[int, int]
"""Milliseconds that an instance has still to go: by half of the earlier ones, by nine in ten."""

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """From `low` to `high`. `runs`: how many earlier runs it is made from, 0 when that is not known."""

    low: timedelta
    high: timedelta
    runs: int


def remaining(run: Run, now: datetime) -> Forecast | None:
    """Until the run ends, if it goes on going forward.

    None when it does not go forward, or when more than half of the tasks that have not ended have no history.
    """
    if not run.expected or not _goes_forward(run):
        return None
    outlook = Outlook(run.graph, run.expected)
    left = {name: _of_task(run, outlook, name, now) for name, open_ in run.forward.unsettled.items() if open_}
    return _forecast(run.graph, outlook, left, run.max_parallel)


def expected_total(graph: Graph, expected: Mapping[str, Expected], *, max_parallel: int) -> Forecast | None:
    """Of a run that has not started, from start to end. None when more than half of its tasks have no history."""
    outlook = Outlook(graph, expected)
    left = {name: _of_new(outlook, graph, name) for name in graph.nodes}
    return _forecast(graph, outlook, left, max_parallel)


def _goes_forward(run: Run) -> bool:
    under_way = run.status in (RunStatus.RUNNING, RunStatus.WAITING)
    # Once the tasks under `finally` have come, it goes to its end whatever that is.
    return under_way and (run.closing is not None or not run.is_stopping)


def _of_task(run: Run, outlook: Outlook, name: str, now: datetime) -> list[Left]:
    ids = run.expansions[name]
    if ids == (name,) and run.graph.nodes[name].task.for_each is not None and run.instances[name].status is TaskStatus.PENDING:
        return _of_new(outlook, run.graph, name)
    usual = _usual(outlook, name)
    return [_of_instance(instance, usual, now) for id_ in ids if not (instance := run.instances[id_]).status.is_settled]


def _of_new(outlook: Outlook, graph: Graph, name: str) -> list[Left]:
    return [_usual(outlook, name)] * outlook.size(graph.nodes[name].task)


def _usual(outlook: Outlook, name: str) -> Left:
    found = outlook.instance(name)
    return milliseconds(found.p50), milliseconds(found.p90)


def _of_instance(instance: Instance, usual: Left, now: datetime) -> Left:
    low, high = usual
    match instance.status, instance.waiting:
        case TaskStatus.WAITING, Waiting(until=datetime() as until, approval=None, run=None):
            wait = _until(until, now)
            return wait, wait
        case (TaskStatus.RUNNING | TaskStatus.WAITING), _:
            gone = _until(now, _began(instance))
            return max(0, low - gone), max(0, high - gone)
        case TaskStatus.RETRYING, _:
            wait = _until(instance.retry_at or now, now)
            return low + wait, high + wait
        case _:
            return usual


def _began(instance: Instance) -> datetime:
    """When the attempt in flight did; one that gave way to another run goes on from where it was."""
    began = instance.attempts[-1].started_at
    for attempt in reversed(instance.attempts[:-1]):
        if attempt.status is not AttemptStatus.PAUSED:
            break
        began = attempt.started_at
    return began


def _until(moment: datetime, now: datetime) -> int:
    return max(0, (moment - now) // MILLISECOND)


def _forecast(graph: Graph, outlook: Outlook, left: Mapping[str, Sequence[Left]], max_parallel: int) -> Forecast | None:
    if 2 * sum(not outlook.knows(name) for name in left) > len(left):
        return None
    low, high = (_until_end(graph, {name: [one[end] for one in each] for name, each in left.items()}, max_parallel) for end in (0, 1))
    return Forecast(low=low * MILLISECOND, high=high * MILLISECOND, runs=outlook.runs)


def _until_end(graph: Graph, left: Mapping[str, Sequence[int]], max_parallel: int) -> int:
    """Milliseconds: all else first, then what stands under `finally`."""
    return sum(_of_part(graph, {name: left[name] for name in part if name in left}, max_parallel) for part in parts(graph))


def _of_part(graph: Graph, left: Mapping[str, Sequence[int]], max_parallel: int) -> int:
    paths = longest_paths(graph, {name: in_turn(each, graph.nodes[name].task) for name, each in left.items()})
    work = sum(sum(each) for each in left.values())
    return max(max(paths.values(), default=0), -(-work // max_parallel))
