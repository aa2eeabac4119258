"""Putting drift back: a run of the last good record, with its bundle and its inputs, that does again what has drifted and no more.

What rests on a thing that was made anew is done again too, for it went with the old one; and what could not be looked at because of it.
During the run a task is done as well when what it is made from has changed by then, such as a host's key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drystone.app import environments, runs
from drystone.app.drift import Finding, Report, Verdict
from drystone.app.reading import Look
from drystone.app.runs import Hand
from drystone.app.world import World
from drystone.core.graph import Graph
from drystone.core.parts import instance_of, lineage
from drystone.core.preview import Action
from drystone.core.run import Manner

_ANEW = frozenset({Action.ADD, Action.REPLACE})
_UNSEEN = frozenset({Verdict.UNREACHABLE, Verdict.FAILED})


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What would be done again of one plan.

    drifted: instances.    resting: instances that rest on what is made anew, in the order of the graph.
    """

    look: Look
    drifted: Sequence[str]
    resting: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """All of it. `left`: drifted instances that no run of a last good version has, and why."""

    reconciliations: Sequence[Reconciliation]
    left: Sequence[tuple[str, str]]


def propose(world: World, report: Report) -> Proposal:
    """What puts back what was found. Plans whose runs are older come first: others may rest on them."""
    of_plan: dict[str, dict[str, list[Finding]]] = {}
    looks: dict[str, Look] = {}
    left: list[tuple[str, str]] = []
    for finding in report.findings:
        plan, instance, run = _outermost(world, finding)
        if plan not in looks and (look := environments.last_good(world, report.environment, plan)) is not None:
            looks[plan] = look
        if plan in looks and _is_of(looks[plan], instance, run):
            of_plan.setdefault(plan, {}).setdefault(instance, []).append(finding)
        elif finding.verdict is Verdict.DRIFTED:
            left.append((finding.id, _why_left(run, looks.get(plan))))
    found = [_of_plan(looks[plan], by_instance) for plan, by_instance in reversed(of_plan.items())]
    return Proposal(reconciliations=[item for item in found if item.drifted], left=left)


def run(world: World, item: Reconciliation) -> Hand:
    """Starts the run. Raises LockedError, RefusedError."""
    manner = Manner(changed_only=True, only=(*item.drifted, *item.resting))
    return runs.again(world, item.look, manner)


def _outermost(world: World, finding: Finding) -> tuple[str, str, str]:
    """The plan of the outermost run that it is part of, its instance there, and that run."""
    records = lineage(finding.standing.look.record, world.journal().record)
    top = records[-1]
    if len(records) == 1:
        return top.plan, finding.id, top.id
    return top.plan, instance_of(records[-2].token or "", top.id), top.id


def _is_of(good: Look, instance: str, run: str) -> bool:
    known = good.run.instances.get(instance)
    return known is not None and run in (good.run.id, known.stands)


def _why_left(run: str, good: Look | None) -> str:
    if good is None or run > good.run.id:
        return f"run {run} made it and did not succeed: drystone resume {run}, or drystone undo {run}, first"
    return f"only run {run} has it, which is not the last good one: drystone undo {run} takes it away"


def _of_plan(look: Look, found: dict[str, list[Finding]]) -> Reconciliation:
    run = look.run
    drifted = [id_ for id_, items in found.items() if any(item.verdict is Verdict.DRIFTED for item in items)]
    tasks = {run.instances[id_].task for id_ in drifted}
    lost = {run.instances[id_].task for id_ in drifted if any(_is_lost(item) for item in found[id_])}
    unseen = {run.instances[id_].task for id_, items in found.items() if any(item.verdict in _UNSEEN for item in items)}
    behind = _behind(run.graph, lost)
    for task in unseen & _behind(run.graph, tasks):
        # With the gates in between, which wait until it can be reached again.
        behind |= {task} | (_before(run.graph, task) & _behind(run.graph, tasks))
    resting = [item.id for item in run.in_order() if item.task in behind and item.id not in drifted and not run.task_of(item).closing]
    return Reconciliation(look=look, drifted=run.ordered(drifted), resting=resting)


def _is_lost(finding: Finding) -> bool:
    return any(item.rule is None and item.change.action in _ANEW for item in finding.differences)


def _behind(graph: Graph, tasks: Iterable[str]) -> set[str]:
    """The tasks that need one of these, directly or not."""
    wanted = set(tasks)
    return {name for name in graph.nodes if _before(graph, name) & wanted}


def _before(graph: Graph, name: str) -> set[str]:
    reached, before = [name], set[str]()
    while reached:
        new = set(graph.nodes[reached.pop()].needs) - before
        before |= new
        reached += new
    return before
