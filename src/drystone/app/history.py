"""What earlier runs tell of a new one: how long each of its tasks will probably take."""

from __future__ import annotations

from collections.abc import Mapping

from drystone.app.world import World
from drystone.core.expected import Expected, expect
from drystone.core.graph import Graph

RUNS = 20
"""How many of the newest runs are looked at: enough for nine in ten to mean something, few enough to follow a plan that changes."""

FEWEST_RUNS = 3
MOST_INSTANCES = 10_000
"""In all these runs together, so that a run of many tasks does not begin with a long look back."""


def expected(world: World, graph: Graph) -> Mapping[str, Expected]:
    """Task -> what to expect of it, from the newest runs of the plan that succeeded; empty when there are none."""
    if not world.has_store():
        return {}
    newest = world.journal().summaries(plan=graph.plan.name, limit=1)
    if not newest:
        return {}
    limit = max(FEWEST_RUNS, min(RUNS, MOST_INSTANCES // max(1, newest[0].tasks_total)))
    found = world.journal().durations(graph.plan.name, limit=limit)
    return expect({task: seconds for task, seconds in found.items() if task in graph.nodes})
