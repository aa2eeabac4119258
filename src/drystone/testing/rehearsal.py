"""A rehearsal: a real plan, compiled by the real compiler, driven by the real core under a simulated clock. Nothing is done.

    rehearsal = rehearse("environment", inputs={"name": "demo"}, faults=["migration fails"])
    assert rehearsal.undone == ["migration", "software", "vm[0]", "vm[1]", "subnet", "network"]

Every attempt succeeds after a second unless a fault says otherwise. Expressions are evaluated for real: what an attempt is given is
rendered and checked by its kind, and an attempt whose config cannot be used fails as it would in a run. What a task gives out is not
known unless the test says it: it stays unknown through all expressions, and where the run must know it, the rehearsal ends with an
error that names the task. It takes milliseconds and touches neither network nor disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drystone import wiring
from drystone.app import plans, runs
from drystone.core import diagnostics
from drystone.core.inputs import check_inputs
from drystone.core.opaque import Secret
from drystone.errors import DrystoneError, InputError, PlanError
from drystone.testing import compiled
from drystone.testing.fault_plan import FaultPlan
from drystone.testing.faults import Fault, Faults
from drystone.testing.given import Given
from drystone.testing.stage import Stage
from drystone.testing.story import Story

if TYPE_CHECKING:
    from drystone.app.world import World
    from drystone.core.graph import Graph
    from drystone.plugin.registry import Registry


@dataclass(frozen=True, kw_only=True, repr=False)
class Rehearsal(Story):
    """What became of a rehearsed run. `unused` are the faults that never came true."""

    faults: tuple[Fault, ...]
    unused: tuple[Fault, ...]
    stage: Stage

    @property
    def latest(self) -> Rehearsal:
        """As far as this run got, when it was undone or resumed since."""
        return self.stage.latest or self

    def undo(self, *, faults: Faults = ()) -> Rehearsal:
        """Goes on as `drystone undo` would. Raises RefusedError."""
        return _go_on(self, faults, Stage.undo)

    def resume(self, *, faults: Faults = (), only_failed: bool = False) -> Rehearsal:
        """Goes on as `drystone resume` would; of the faults of before none holds any more. Raises RefusedError."""
        return _go_on(self, faults, lambda stage: stage.resume(only_failed=only_failed))

    def _head(self) -> Iterator[str]:
        yield from super()._head()
        for fault in self.faults:
            yield f"fault: {fault}{' (this never happened)' if fault in self.unused else ''}"


def rehearse(
    plan: Path | str,
    *,
    inputs: Mapping[str, Any] | None = None,
    faults: Faults = (),
    outputs: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    max_parallel: int = 16,
    folder: Path | None = None,
    registry: Registry | None = None,
) -> Rehearsal:
    """Rehearses a plan.

    plan:     a file, a name in plans/ or of a plan that ships, as on the command line; or the text of a plan, which has several lines.
    faults:   values or sentences of `drystone.testing.faults`.
    outputs:  task, or instance -> what it gives out: `{"vm": {...}}`. A list for a task with `for_each` has one item for each instance.
    results:  the same for `tasks.NAME.result`.
    folder:   that the name of a plan is looked up from; the current one unless given.
    registry: the kinds there are; those that are installed unless given.
    Raises PlanError, InputError, NotFoundError; what to do about it is in a note of the exception.
    """
    __tracebackhide__ = True
    try:
        world, graph = _compiled(plan, folder or Path.cwd(), registry)
        checked = check_inputs(graph.plan, dict(inputs or {}))
        hidden = {name: Secret(sealed=name) if graph.plan.inputs[name].secret else value for name, value in checked.items()}
        stage = Stage(
            graph,
            registry=world.registry,
            inputs=hidden,
            environment=runs.environment_of(graph, checked),
            given=Given(graph, outputs or {}, results or {}),
            faults=FaultPlan(faults, graph),
            max_parallel=max_parallel,
            pools=world.pools(),
        )
        stage.play()
    except DrystoneError as error:
        _note(error)
        raise
    return _told(stage)


def _compiled(plan: Path | str, folder: Path, registry: Registry | None) -> tuple[World, Graph]:
    file, text = compiled.find(plan, folder)
    world = wiring.world(file.project)
    world = world if registry is None else replace(world, registry=registry)
    graph, _ = plans.load(world, file, text)
    return world, graph


def _go_on(rehearsal: Rehearsal, faults: Faults, take: Callable[[Stage], None]) -> Rehearsal:
    stage = rehearsal.stage
    try:
        stage.begin_again(FaultPlan(faults, stage.run.graph))
        take(stage)
        stage.play()
    except DrystoneError as error:
        _note(error)
        raise
    return _told(stage, before=rehearsal)


def _told(stage: Stage, before: Rehearsal | None = None) -> Rehearsal:
    faults, unused = (before.faults, before.unused) if before is not None else ((), ())
    stage.latest = Rehearsal(
        run=stage.run,
        events=tuple(stage.history),
        faults=(*faults, *stage.faults.faults),
        unused=(*unused, *stage.faults.unused),
        stage=stage,
    )
    return stage.latest


def _note(error: DrystoneError) -> None:
    """Puts what a person needs next where pytest shows it."""
    found = [diagnostics.to_text(item) for item in error.diagnostics] if isinstance(error, PlanError) else []
    problems = list(error.problems) if isinstance(error, InputError) else []
    for note in filter(None, [*found, *problems, error.hint]):
        error.add_note(note)
