"""Sub-plans of a plan, looked at before anything runs: what is written literally must be there, be a plan, and fit.

What an expression gives is only known in a run, and `app.subplans` says then what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from drystone.app import places
from drystone.app.places import PlanFile
from drystone.app.world import World
from drystone.core.diagnostics import Diagnostic, Diagnostics, Severity, Where
from drystone.core.given import check as check_given
from drystone.core.nodes import place
from drystone.core.parts import KIND
from drystone.core.plan import Body, Plan, Task
from drystone.errors import NotFoundError, ProjectError

if TYPE_CHECKING:
    from drystone.core.graph import Graph

FOR_EVER = "tasks nest for ever"


Compile = Callable[[PlanFile, Sequence[PlanFile]], tuple["Graph | None", Sequence[Diagnostic]]]
"""A sub-plan, and the plans that it is inside of, the outermost first -> its graph, None when it has mistakes, and these."""


def has_any(plan: Plan) -> bool:
    """True when there is something to check."""
    bodies = (body for task in plan.tasks.values() for body in (task.body, task.undo.body, task.remedy))
    return any(body is not None and body.kind == KIND for body in bodies)


def check(world: World, plan: Plan, within: Sequence[PlanFile], found: Diagnostics, compiled: Compile) -> None:
    """Adds every mistake about the sub-plans of `plan`. `within`: the plans that it is inside of, itself the last."""
    checker = _Checker(world, within, found, compiled)
    for task in plan.tasks.values():
        if task.remedy is not None and task.remedy.kind == KIND:
            found.error("a remedy cannot be a sub-plan", task.remedy.where, hint="make it a task", length=len(KIND))
        for body in _bodies(task):
            checker.body(task, body)


def _bodies(task: Task) -> Iterator[Body]:
    for body in (task.body, task.undo.body):
        if body is not None and body.kind == KIND:
            yield body


class _Checker:
    def __init__(self, world: World, within: Sequence[PlanFile], found: Diagnostics, compiled: Compile) -> None:
        self._world = world
        self._within = within
        self._found = found
        self._compiled = compiled

    def body(self, task: Task, body: Body) -> None:
        """One task, or undo, that is a sub-plan."""
        config, node = body.config, body.node
        if not isinstance(config, Mapping) or node is None:
            return
        key = "name" if isinstance(config.get("name"), str) else "path"
        written = config.get(key)
        # Both, or neither, is the kind's own complaint.
        if not isinstance(written, str) or ("name" in config and "path" in config):
            return
        where = place(node, (key,))
        graph = self._nested(written, where, key)
        if graph is None:
            return
        if task.pool is not None and task.pool in graph.pools and body is task.body:
            message = f'task "{task.name}" holds a place in pool "{task.pool}" that tasks of its sub-plan wait for'
            self._found.error(message, where, hint="leave the pool away here: those tasks ask for it themselves")
        given = config.get("inputs", {})
        if isinstance(given, Mapping):
            entry = node.value.get("inputs") if isinstance(node.value, Mapping) else None
            at, written_inputs = entry if entry is not None else (where, None)
            check_given(graph.plan, given, written_inputs, at, self._found)

    def _nested(self, written: str, where: Where, key: str) -> Graph | None:
        world, last = self._world, self._within[-1]
        name, path = (written, None) if key == "name" else (None, written)
        try:
            file = places.find_sub_plan(name, path, root=last.root, cwd=world.cwd, project=world.project, library=world.library)
            names = [other.path.resolve() for other in self._within]
            if file.path.resolve() in names:
                loop = [*self._within[names.index(file.path.resolve()) :], file]
                self._found.error(f"{FOR_EVER}: {' -> '.join(other.path.stem for other in loop)}", where, length=len(written))
                return None
            graph, mistakes = self._compiled(file, self._within)
        except (NotFoundError, ProjectError) as error:
            self._found.error(error.message, where, hint=error.hint, length=len(written))
            return None
        if graph is None:
            self._found.error(_said(file, mistakes), where, hint=f"drystone validate {file.shown}", length=len(written))
        return graph


def _said(file: PlanFile, mistakes: Sequence[Diagnostic]) -> str:
    errors = [item for item in mistakes if item.severity is Severity.ERROR]
    loop = next((item.summary for item in errors if item.summary.startswith(FOR_EVER)), None)
    return loop or f'plan "{file.path.stem}" has {len(errors)} error{"" if len(errors) == 1 else "s"}: {errors[0].summary}'
