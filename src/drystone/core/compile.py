"""Plan -> Graph, through `STEPS`: small transforms in a fixed order, each with a note on why it stands there.

All mistakes of a plan are found in one go, and each is reported once: a step that would trip over what an earlier one complained about
stays silent. Time and memory grow with the size of the plan, not with its square.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from drystone.core import references, trigger_check
from drystone.core.burst import in_one_burst
from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.graph import Graph, KindInfo, KindLookup, Node
from drystone.core.nodes import place
from drystone.core.plan import Body, Plan, Task, Undo, UndoMode
from drystone.core.planfile import NO_KIND
from drystone.core.trigger_check import TriggerLookup
from drystone.core.values import Reference, Template, without_expressions
from drystone.errors import PluginError


@dataclass(frozen=True, slots=True)
class Edge:
    """Why a task comes after another: a `needs`, or an expression. `look` is the expression; its place is worked out only when asked."""

    where: Where
    look: tuple[Template, Reference] | None = None

    @property
    def place(self) -> Where:
        """Where in the file the edge comes from."""
        return self.where if self.look is None else references.place_of(self.look)

    @property
    def verb(self) -> str:
        """How it is said: one task needs, or reads, the other."""
        return "needs" if self.look is None else "reads"


@dataclass
class Draft:
    """What the steps fill in.

    kinds:  facts of each kind in the plan that could be loaded.
    needs:  task -> the tasks before it, with the reason of each.
    order:  topological, ties by name; without the tasks of a cycle and those behind it.
    uncertain: tasks of which a mistake may hide an edge.
    """

    plan: Plan
    lookup: KindLookup
    diagnostics: Diagnostics
    pools: Collection[str] | None = None
    triggers: TriggerLookup | None = None
    kinds: dict[str, KindInfo] = field(default_factory=dict)
    needs: dict[str, dict[str, Edge]] = field(default_factory=dict)
    dependants: dict[str, list[str]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    wave: dict[str, int] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    tasks: dict[str, Task] = field(default_factory=dict)


@in_one_burst
def compile_plan(
    plan: Plan,
    kinds: KindLookup,
    diagnostics: Diagnostics,
    *,
    pools: Collection[str] | None = None,
    triggers: TriggerLookup | None = None,
) -> Graph | None:
    """The graph, or None when there are errors in `diagnostics`, also those that were there before.

    pools:    names of the project's pools; None when nobody knows them, then any is taken.
    triggers: facts of the types of triggers; None leaves the plan's triggers unchecked: a run does not ask what started it.
    """
    draft = Draft(plan=plan, lookup=kinds, diagnostics=diagnostics, pools=pools, triggers=triggers)
    for step in STEPS:
        step(draft)
    return None if diagnostics.has_errors else _graph(draft)


# ---- the steps --------------------------------------------------------------------------------------------------------


def load_kinds(draft: Draft) -> None:
    """Asks for the facts of each kind once; one that cannot be loaded is a mistake at the first task that uses it."""
    asked: set[str] = {NO_KIND}
    for body in _bodies(draft.plan):
        if body.kind in asked:
            continue
        asked.add(body.kind)
        try:
            info = draft.lookup(body.kind)
        except PluginError as error:
            draft.diagnostics.error(error.message, body.where, hint=error.hint, length=len(body.kind))
            continue
        if info is None:
            draft.diagnostics.error(f'kind "{body.kind}" is not installed', body.where, length=len(body.kind))
        else:
            draft.kinds[body.kind] = info


def _bodies(plan: Plan) -> Iterator[Body]:
    for task in plan.tasks.values():
        yield task.body
        if task.remedy is not None:
            yield task.remedy
        if task.undo.body is not None:
            yield task.undo.body


def check_references(draft: Draft) -> None:
    """Every name that an expression uses exists at its place."""
    checker = references.Checker(draft.plan, draft.kinds, draft.diagnostics)
    for task in draft.plan.tasks.values():
        checker.task(task)
    for value in draft.plan.outputs.values():
        checker.value(value, references.IN_RUN)
    checker.value(draft.plan.environment, ("inputs",))
    if draft.plan.concurrency is not None:
        checker.value(draft.plan.concurrency.key, ("inputs",))


def check_pools(draft: Draft) -> None:
    """Every pool has a size."""
    if draft.pools is None:
        return
    for name, task in draft.plan.tasks.items():
        if task.pool is not None and task.pool not in draft.pools:
            near = draft.diagnostics.near(task.pool, draft.pools)
            hint = near or f"its size belongs into drystone.toml, below [pools]: {task.pool} = 4"
            draft.diagnostics.error(f'task "{name}" needs the pool "{task.pool}", which the project does not have', task.where, hint=hint)


def check_triggers(draft: Draft) -> None:
    """What starts the plan by itself is of an installed type, and gives the plan the inputs that it needs."""
    if draft.triggers is not None:
        checker = references.Checker(draft.plan, draft.kinds, draft.diagnostics)
        trigger_check.check(draft.plan, draft.triggers, checker, draft.diagnostics)


def check_needs(draft: Draft) -> None:
    """Every name in a `needs` is a task; those that are become edges."""
    for name, task in draft.plan.tasks.items():
        edges = draft.needs[name] = {}
        if task.body.kind == NO_KIND:
            draft.uncertain.add(name)
        for need, where in zip(task.needs, task.needs_where, strict=True):
            if need in draft.plan.tasks:
                if _in_step(draft, name, need, where):
                    edges[need] = Edge(where)
            else:
                draft.uncertain.add(name)
                summary = f'task "{name}" needs "{need}", which the plan does not define'
                draft.diagnostics.error(summary, where, hint=draft.diagnostics.near(need, draft.plan.tasks), length=len(need))


def _in_step(draft: Draft, name: str, other: str, where: Where) -> bool:
    """Whether the other task belongs before this one: all under `finally` comes after all that is not, and need not say so."""
    closing, before = draft.plan.tasks[name].closing, draft.plan.tasks[other].closing
    if closing and not before:
        hint = 'what stands under "finally" comes after every other task'
        draft.diagnostics.error(f'task "{name}" need not name "{other}"', where, hint=hint, length=len(other))
    elif before and not closing:
        summary = f'task "{name}" waits for "{other}", which comes only when all else is over'
        draft.diagnostics.error(summary, where, length=len(other))
    return closing == before


def infer_edges(draft: Draft) -> None:
    """What a task reads comes before it: its config, its conditions, its remedy, what it fans out over."""
    tasks = draft.plan.tasks
    for name, task in tasks.items():
        items = task.for_each.items if task.for_each is not None else None
        until = task.poll.until if task.poll is not None else None
        remedy = task.remedy.config if task.remedy is not None else None
        for value in (task.body.config, task.when, items, until, remedy):
            for need, look in references.tasks_in(value, tasks).items():
                if task.closing and not tasks[need].closing:
                    continue
                if need in draft.needs[name] or (tasks[need].closing and not _in_step(draft, name, need, references.place_of(look))):
                    continue
                draft.needs[name][need] = Edge(look[0].where, look)


def sort_tasks(draft: Draft) -> None:
    """Topological order, ties by name, and the wave of each task; what stands under `finally` comes last."""
    draft.dependants = {name: [] for name in draft.plan.tasks}
    for name, edges in draft.needs.items():
        for need in edges:
            draft.dependants[need].append(name)
    left = {name: len(edges) for name, edges in draft.needs.items()}
    ready = sorted(name for name, count in left.items() if count == 0)
    wave = 0
    while ready:
        draft.order.extend(ready)
        reached: list[str] = []
        for name in ready:
            draft.wave[name] = wave
            for dependant in draft.dependants[name]:
                left[dependant] -= 1
                if left[dependant] == 0:
                    reached.append(dependant)
        ready = sorted(reached)
        wave += 1
    _put_closing_last(draft)


def _put_closing_last(draft: Draft) -> None:
    closing = {name for name in draft.order if draft.plan.tasks[name].closing}
    if closing:
        behind = 1 + max((wave for name, wave in draft.wave.items() if name not in closing), default=-1)
        draft.order.sort(key=closing.__contains__)
        draft.wave.update({name: draft.wave[name] + behind for name in closing})


def find_cycles(draft: Draft) -> None:
    """What could not be sorted waits for itself, or for what does: each knot of tasks is reported once, by its shortest cycle."""
    left = {name: [need for need in edges if need not in draft.wave] for name, edges in draft.needs.items() if name not in draft.wave}
    for knot in _knots(left):
        cycle = _shortest_cycle(min(knot), left, knot)
        edges = [(a, draft.needs[a][b], b) for a, b in pairwise(cycle)]
        reasons = "; ".join(f'"{a}" {edge.verb} "{b}" at {edge.place}' for a, edge, b in edges)
        draft.diagnostics.error(f"tasks wait for each other: {' -> '.join(cycle)}", edges[0][1].place, hint=reasons)


def _knots(needs: Mapping[str, list[str]]) -> list[set[str]]:
    """Strongly connected parts that hold a cycle, by name. Tarjan's algorithm, with its own stack: plans may be deep."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    found: list[set[str]] = []
    for root in sorted(needs):
        if root in index:
            continue
        work = [(root, iter(needs[root]))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            name, rest = work[-1]
            for need in rest:
                if need not in index:
                    index[need] = low[need] = len(index)
                    path.append(need)
                    on_path.add(need)
                    work.append((need, iter(needs[need])))
                    break
                if need in on_path:
                    low[name] = min(low[name], index[need])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    found.append(_take_until(name, path, on_path))
    return [part for part in found if len(part) > 1 or any(name in needs[name] for name in part)]


def _take_until(name: str, path: list[str], on_path: set[str]) -> set[str]:
    part: set[str] = set()
    while name not in part:
        part.add(path.pop())
    on_path -= part
    return part


def _shortest_cycle(start: str, needs: Mapping[str, list[str]], knot: set[str]) -> list[str]:
    """From `start` back to it: `["a", "b", "a"]` when a needs b and b needs a."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for need in sorted(needs[name]):
            if need == start:
                back = [start, name]
                while back[-1] != start:
                    back.append(came_from[back[-1]])
                return back[::-1] if name != start else [start, start]
            if need in knot and need not in came_from:
                came_from[need] = name
                queue.append(need)
    raise AssertionError("a knot has a cycle through each of its tasks")


def check_undo_references(draft: Draft) -> None:
    """An undo sees its own task and those before it: nothing else is certain to be there on the way back."""
    for name, task in draft.plan.tasks.items():
        if task.undo.body is None or name not in draft.wave:
            continue
        for other, (template, reference) in references.tasks_in(task.undo.body.config, draft.plan.tasks).items():
            if other != name and not _is_upstream(draft, other, name):
                where, length = template.place_of(Reference("tasks", reference.path[:1]))
                summary = f'the undo of "{name}" reads an output of a task that is not upstream: "{other}"'
                draft.diagnostics.error(summary, where, hint=f'add "{other}" to the needs of "{name}"', length=length)


def _is_upstream(draft: Draft, other: str, name: str) -> bool:
    """Whether `other` comes before `name`, for all that is certain: in or behind a cycle, or a mistake that hides an edge, it may.

    Waves bound the search, so that a plan is not walked once for each of its tasks.
    """
    if other not in draft.wave or name in draft.uncertain:
        return True
    seen: set[str] = set()
    stack = [name]
    while stack:
        for need in draft.needs[stack.pop()]:
            if need == other or need in draft.uncertain:
                return True
            if need not in seen and draft.wave[need] > draft.wave[other]:
                seen.add(need)
                stack.append(need)
    return False


def check_configs(draft: Draft) -> None:
    """Each kind looks at the configs it will be given, with expressions left open."""
    for body in _bodies(draft.plan):
        info = draft.kinds.get(body.kind)
        if info is None:
            continue
        for problem in info.check(without_expressions(body.config)):
            where = place(body.node, problem.path, at_key=problem.at_key) if body.node is not None and problem.path else body.where
            length = len(str(problem.path[-1])) if problem.at_key and problem.path else 1
            draft.diagnostics.error(f"{body.kind}: {problem.message}", where, hint=problem.hint, length=length)


def check_waits(draft: Draft) -> None:
    """What only waits gives no result that a poll could look at, and a person is asked on the way forward alone."""
    for task in draft.plan.tasks.values():
        closing = task.body if task.closing else None
        bodies = [("an undo", task.undo.body), ("a remedy", task.remedy), ('what stands under "finally"', closing)]
        for what, body in bodies:
            asked = draft.kinds.get(body.kind) if body is not None else None
            if body is not None and asked is not None and asked.asks:
                hint = "ask before it: give the question a task of its own"
                draft.diagnostics.error(f"{what} cannot wait for a person", body.where, hint=hint, length=len(body.kind))
    for task in draft.plan.tasks.values():
        info = draft.kinds.get(task.body.kind)
        if task.poll is not None and info is not None and info.pauses:
            hint = "poll a task of another kind behind it"
            summary = f'task "{task.name}" cannot be polled: a task of kind "{info.name}" waits by itself'
            draft.diagnostics.error(summary, task.where, hint=hint)


def resolve_undo(draft: Draft) -> None:
    """Every task gets the undo it will have, and from when on; lets go of the places in its config."""
    for name in draft.order:
        task = draft.plan.tasks[name]
        info = draft.kinds.get(task.body.kind)
        if info is None:
            continue
        draft.tasks[name] = replace(
            task,
            body=replace(task.body, node=None),
            remedy=None if task.remedy is None else replace(task.remedy, node=None),
            undo=_resolved(task, info, draft.diagnostics),
            undo_when=task.undo_when or info.undo_when,
        )


def _resolved(task: Task, info: KindInfo, diagnostics: Diagnostics) -> Undo:
    undo = task.undo
    if task.closing:
        return replace(undo, mode=UndoMode.NONE)
    match undo.mode:
        case UndoMode.UNSAID if info.has_undo:
            return replace(undo, mode=UndoMode.AUTO)
        case UndoMode.UNSAID:
            if _changes(task, info):
                hint = "give it an undo, or say undo: none or undo: irreversible"
                summary = f'task "{task.name}" changes things and does not say how to undo them'
                diagnostics.warning(summary, task.where, hint=hint, length=len(task.name))
            return replace(undo, mode=UndoMode.NONE)
        case UndoMode.AUTO if not info.has_undo:
            hint = "write the undo as a task body, or say restore, none or irreversible"
            diagnostics.error(f'kind "{info.name}" has no undo of its own', undo.where, hint=hint, length=len("auto"))
            return undo
        case UndoMode.BODY if undo.body is not None:
            return replace(undo, body=replace(undo.body, node=None), always=not _changes(task, info))
        case UndoMode.IRREVERSIBLE:
            return replace(undo, always=not _changes(task, info))
        case UndoMode.RESTORE if not _changes(task, info):
            summary = f'task "{task.name}" changes nothing, so there is nothing to restore'
            diagnostics.warning(summary, undo.where or task.where, hint="say undo: none", length=len("restore"))
            return replace(undo, mode=UndoMode.NONE)
        case _:
            return undo


def _changes(task: Task, info: KindInfo) -> bool:
    return info.changes if info.changes_with is None else info.changes_with(without_expressions(task.body.config))


STEPS: tuple[Callable[[Draft], None], ...] = (
    load_kinds,             # First: what a kind gives out and takes is asked by almost every later step.
    check_references,       # Before the edges, which take only what exists.
    check_pools,            # Anywhere: it looks at one task at a time.
    check_triggers,         # Anywhere: no task depends on a trigger.
    check_needs,            # Before the inferred edges: where both say the same, the written one is the reason shown.
    infer_edges,            # Before sorting, which must see all edges.
    sort_tasks,             # Before the cycles: they are what sorting leaves over.
    find_cycles,            # Before the undos: in a cycle everything is upstream of everything.
    check_undo_references,  # After sorting: it asks what comes before what.
    check_configs,          # After the references: a wrong name in an expression is told before a wrong type.
    check_waits,            # Anywhere after the kinds: it looks at one task at a time.
    resolve_undo,           # Last: it makes the tasks that the graph will hold.
)  # fmt: skip


# ---- the graph --------------------------------------------------------------------------------------------------------


def _graph(draft: Draft) -> Graph:
    heights: dict[str, int] = {}
    for name in reversed(draft.order):
        heights[name] = 1 + max((heights[dependant] for dependant in draft.dependants[name]), default=0)
    nodes = {
        name: Node(
            task=draft.tasks[name],
            needs=tuple(sorted(draft.needs[name])),
            dependants=tuple(sorted(draft.dependants[name])),
            wave=draft.wave[name],
            height=heights[name],
        )
        for name in draft.order
    }
    triggers = trigger_check.without_places(draft.plan.triggers)
    return Graph(plan=replace(draft.plan, tasks=draft.tasks, triggers=triggers), nodes=nodes)
