"""Graphs in one line, for tests of what a run does: names and what they need, no plan file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from graphlib import TopologicalSorter
from typing import Any

from drystone.core.diagnostics import Where
from drystone.core.graph import Graph, Node
from drystone.core.plan import Body, OnFailure, Plan, Task, Undo, UndoMode, UndoWhen

HERE = Where("test.yaml", 1, 1)


def task(name: str, needs: Sequence[str] = (), **fields: Any) -> Task:
    """A noop task whose kind can undo itself and which is undone once it succeeded, unless `fields` say otherwise."""
    defaults: dict[str, Any] = {"undo": Undo(mode=UndoMode.AUTO), "undo_when": UndoWhen.SUCCEEDED}
    body = Body(kind="noop", config={}, where=HERE)
    return Task(name=name, body=body, where=HERE, needs=tuple(needs), **{**defaults, **fields})


def graph_of(
    tasks: Mapping[str, Sequence[str] | Task],
    *,
    on_failure: OnFailure = OnFailure.COMPENSATE,
    timeout: timedelta | None = None,
    **plan_fields: Any,
) -> Graph:
    """A graph from name -> needs, or name -> task."""
    made = {name: item if isinstance(item, Task) else task(name, item) for name, item in tasks.items()}
    plan = Plan(name="test", where=HERE, tasks=made, on_failure=on_failure, timeout=timeout, **plan_fields)
    behind: dict[str, list[str]] = {name: [] for name in made}
    for name, item in made.items():
        for need in item.needs:
            behind[need].append(name)
    order = list(TopologicalSorter({name: sorted(item.needs) for name, item in sorted(made.items())}).static_order())
    nodes: dict[str, Node] = {}
    for name in order:
        wave = max((nodes[need].wave + 1 for need in made[name].needs), default=0)
        nodes[name] = Node(
            task=made[name],
            needs=tuple(sorted(made[name].needs)),
            dependants=tuple(sorted(behind[name])),
            wave=wave,
            height=1,
        )
    for name in reversed(order):
        height = max((nodes[other].height + 1 for other in behind[name]), default=1)
        nodes[name] = replace(nodes[name], height=height)
    return Graph(plan=plan, nodes=nodes)
