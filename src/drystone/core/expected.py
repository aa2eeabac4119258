"""How long tasks will probably take, from how long they took in earlier runs.

A run writes it down when it is created, so that what follows from it (the order of its tasks, and how long it has still to go, see
`run.forecast`) is the same in every replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from drystone.core.graph import Graph
from drystone.core.plan import Task


class Expected(NamedTuple):
    """What to expect of one instance of a task, in seconds: half of the earlier ones took at most `p50`, nine in ten at most `p90`.

    samples: how many there were.
    """

    p50: float
    p90: float
    samples: int


def expect(durations: Mapping[str, Sequence[float]]) -> dict[str, Expected]:
    """Task -> seconds that its instances took -> what to expect, to the millisecond; tasks without a history are left out."""
    found = {task: sorted(max(0.0, second) for second in seconds) for task, seconds in durations.items() if seconds}
    return {task: Expected(_quantile(seconds, 0.5), _quantile(seconds, 0.9), len(seconds)) for task, seconds in found.items()}


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest, by their distance."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)


def from_json(data: Mapping[str, Sequence[Any]]) -> dict[str, Expected]:
    """From the data of a `run.created` event: task -> [p50, p90, samples]."""
    return {task: Expected(*numbers) for task, numbers in data.items()}


class Outlook:
    """What to expect of every task of a graph. A task without a history is taken to be the median of those that have one.

    runs: how many runs the history is of; 0 when only fan-outs have one, whose instances do not tell.
    """

    def __init__(self, graph: Graph, expected: Mapping[str, Expected]) -> None:
        self._graph = graph
        self._expected = expected
        self._typical = Expected(_median([e.p50 for e in expected.values()]), _median([e.p90 for e in expected.values()]), 0)
        single = [name for name, node in graph.nodes.items() if node.task.for_each is None]
        self.runs = max((expected[name].samples for name in single if name in expected), default=0)

    def knows(self, name: str) -> bool:
        """True when a task has a history of its own."""
        return name in self._expected

    def instance(self, name: str) -> Expected:
        """Of one instance of a task."""
        return self._expected.get(name, self._typical)

    def size(self, task: Task) -> int:
        """How many instances a task will have: as written, else as many as in earlier runs, else one."""
        if task.for_each is None:
            return 1
        match task.for_each.items:
            case bool():
                return 1
            case int(number):
                return max(0, min(number, task.for_each.max_items))
            case list() | tuple() | Mapping() as items:
                return len(items)
        found = self._expected.get(task.name)
        return max(1, round(found.samples / self.runs)) if found and self.runs else 1

    def urgency(self) -> dict[str, int]:
        """Milliseconds of the longest path from each task to an end, the task itself included."""
        return {name: path for part in parts(self._graph) for name, path in longest_paths(self._graph, self._lengths(part)).items()}

    def _lengths(self, names: Sequence[str]) -> dict[str, int]:
        tasks = [self._graph.nodes[name].task for name in names]
        return {task.name: in_turn([milliseconds(self.instance(task.name).p50)] * self.size(task), task) for task in tasks}


def parts(graph: Graph) -> tuple[list[str], list[str]]:
    """Task names in the order of the graph: those that come first, and those under `finally`, whose paths are their own."""
    found: tuple[list[str], list[str]] = ([], [])
    for name, node in graph.nodes.items():
        found[node.task.closing].append(name)
    return found


def in_turn(lengths: Sequence[int], task: Task) -> int:
    """How long instances that take these times take together: `max_parallel` of a rolling update lets few of them run at once."""
    longest = max(lengths, default=0)
    limit = task.for_each.max_parallel if task.for_each else None
    return max(longest, -(-sum(lengths) // limit)) if limit else longest


def longest_paths(graph: Graph, lengths: Mapping[str, int]) -> dict[str, int]:
    """Task -> the longest path from it to an end, by way of tasks that have a length; those must stand in the order of the graph."""
    paths: dict[str, int] = {}
    for name in reversed(tuple(lengths)):
        # Spelt out, because a picture of a run of ten thousand tasks asks for it twice a second.
        longest = 0
        for other in graph.nodes[name].dependants:
            if (path := paths.get(other, 0)) > longest:
                longest = path
        paths[name] = lengths[name] + longest
    return paths


def milliseconds(seconds: float) -> int:
    """Whole ones, so that sums are exact."""
    return round(1000 * seconds)


def _median(numbers: Sequence[float]) -> float:
    return _quantile(sorted(numbers), 0.5) if numbers else 0.0
