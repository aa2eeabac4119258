"""Plans that run as parts of a run: what stands behind `ctx.plans` of an attempt.

A sub-plan's run is a run like any other, in the same store, with an engine of its own inside the attempt's thread. It is found again by
its idempotency token (`core.parts`), so that nothing but the journal must survive a crash:

    no run has the token            -> start one, or go on with one that an earlier attempt left half-way
    it has not ended                -> take it up
    it has ended                    -> that is how this attempt ends too
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from drystone.app import bundles, places, plans, reading, runs
from drystone.app.places import PlanFile
from drystone.app.reading import Look
from drystone.app.runs import Hand, Prepared
from drystone.app.world import World
from drystone.core import values
from drystone.core.diagnostics import to_text
from drystone.core.events import EventType
from drystone.core.inputs import check_inputs
from drystone.core.parts import MAX_DEPTH, Part, lineage
from drystone.core.run import Cause, Run, UndoStatus, questions, request_cancel, request_resume, request_undo, scope_of
from drystone.core.states import RunStatus
from drystone.errors import (
    DrystoneError,
    FailureClass,
    InputError,
    LockedError,
    NotFoundError,
    PermanentError,
    PlanError,
    ProjectError,
    RefusedError,
    StoreError,
    TemporaryError,
)
from drystone.plugin.api import Context, SubRun

if TYPE_CHECKING:
    from drystone.core.events import Event
    from drystone.ports import RunRecord

PATIENCE = timedelta(minutes=10)
"""How long an attempt waits for a run, or an environment, that somebody else has; its own limit may be shorter."""
LOOK_AGAIN = timedelta(milliseconds=500)
TOLD = {
    EventType.TASK_SUCCEEDED: "succeeded",
    EventType.TASK_FAILED: "failed",
    EventType.TASK_SKIPPED: "skipped",
    EventType.TASK_CANCELLED: "cancelled",
    EventType.UNDO_SUCCEEDED: "undone",
    EventType.UNDO_FAILED: "could not be undone",
}
"""What of a sub-plan is told as progress of the task that it is."""


class SubPlans:
    """Implements `plugin.api.SubPlans` for one attempt. `world`: with the vault and the engine of parts, see `wiring`."""

    def __init__(self, world: World, part: Part, ctx: Context) -> None:
        self._parent = world.journal().record(part.run)
        # Who started the whole has started its parts.
        self._world = replace(world, by=self._parent.created_by)
        self._part = part
        self._ctx = ctx
        self._has_asked = False

    def run(self, inputs: Mapping[str, Any], *, name: str | None = None, path: str | None = None) -> SubRun:
        """Starts the attempt's run, or goes on with it; see `plugin.api.SubPlans`."""
        known = self._record(self._part.token)
        if known is not None:
            return self._go_on(known.id)
        prepared, checked = self._prepared(inputs, name, path)
        earlier = next((found for token in self._part.earlier if (found := self._record(token)) is not None), None)
        if earlier is not None and (done := self._mended(earlier, prepared.graph.plan.name, checked)) is not None:
            return done
        return self._driven(self._patiently(lambda: self._begin(prepared, checked), changed=False), self._stays)

    def undo(self) -> Sequence[SubRun]:
        """Takes back what the task's attempts started; see `plugin.api.SubPlans`."""
        done: list[SubRun] = []
        for record in filter(None, map(self._record, self._part.finished)):
            done.append(self._taken_back(record.id))
            if done[-1].status is not RunStatus.COMPENSATED:
                break
        return done

    def _record(self, token: str) -> RunRecord | None:
        return self._world.journal().by_token(token)

    # ---- starting ---------------------------------------------------------------------------------------------------

    def _prepared(self, inputs: Mapping[str, Any], name: str | None, path: str | None) -> tuple[Prepared, Mapping[str, Any]]:
        try:
            self._check_depth()
            plan, text = self._find(name, path)
            graph, source = plans.load(self._world, plan, text)
            checked = check_inputs(graph.plan, inputs)
        except PlanError as error:
            raise _unusable(error, "\n".join(to_text(item) for item in error.diagnostics)) from error
        except InputError as error:
            raise _unusable(error, "\n".join(error.problems)) from error
        except (NotFoundError, ProjectError, RefusedError) as error:
            raise _unusable(error) from error
        return Prepared(plan=plan, graph=graph, source=source, values=inputs, missing=()), checked

    def _find(self, name: str | None, path: str | None) -> tuple[PlanFile, str | None]:
        """The plan, and its text when it is in the bundle of the whole: a run keeps what it began with."""
        world = self._world
        if (kept := bundles.find_part(world, self._parent, name, path)) is not None:
            return kept
        root = self._ctx.project
        return places.find_sub_plan(name, path, root=root, cwd=world.cwd, project=world.project, library=world.library), None

    def _check_depth(self) -> None:
        chain = lineage(self._parent, self._world.journal().record)
        if len(chain) >= MAX_DEPTH:
            shown = " -> ".join(record.plan for record in reversed(chain[:3]))
            message = f"plans nest deeper than {MAX_DEPTH}: ... -> {shown}"
            raise RefusedError(message, hint="a plan that starts itself needs a condition (when) under which it stops")

    def _begin(self, prepared: Prepared, checked: Mapping[str, Any]) -> Hand:
        return runs.begin(self._world, prepared, checked, self._world.vault(), token=self._part.token, within=self._parent)

    def _mended(self, earlier: RunRecord, plan: str, checked: Mapping[str, Any]) -> SubRun | None:
        """An earlier run of the task that stands half-way, gone on with; None when it was taken back, so that a new one may start."""
        look = reading.look(self._world, earlier.id)
        if look.run.status is RunStatus.COMPENSATED:
            return None
        same = earlier.plan == plan and self._world.vault().reveal(earlier.inputs) == checked
        if not same:
            if not _left(look.run):
                return None
            raise PermanentError(
                FailureClass.REFUSED,
                f"run {earlier.id}, which this task started before with other inputs, was left half-way",
                hint=f"take it back first: drystone undo {earlier.id}",
            )
        if look.run.status in (RunStatus.SUCCEEDED, RunStatus.COMPENSATION_FAILED):
            return self._ended(look)
        return self._driven(self._patiently(lambda: self._resumed(earlier.id, even_if_ended=True)), self._stays)

    # ---- going on ---------------------------------------------------------------------------------------------------

    def _go_on(self, run_id: str) -> SubRun:
        taken = self._patiently(lambda: self._resumed(run_id))
        return self._driven(taken, self._stays)

    def _resumed(self, run_id: str, *, even_if_ended: bool = False) -> Hand | Look:
        look = reading.look(self._world, run_id)
        if look.run.status.is_final and not even_if_ended:
            return look
        return self._take_up(look, lambda run, now: request_resume(run, now, by=self._world.by))

    def _taken_back(self, run_id: str) -> SubRun:
        look = reading.look(self._world, run_id)
        if look.run.status is RunStatus.COMPENSATION_FAILED and self._ctx.attempt == 1:
            # It tried, in vain, and a person has not looked yet.
            return self._ended(look)
        if not look.run.status.is_final and look.run.status is not RunStatus.COMPENSATING:
            self._driven(self._patiently(lambda: self._cancelled(run_id)))
        return self._driven(self._patiently(lambda: self._undone(run_id)))

    def _cancelled(self, run_id: str) -> Hand | Look:
        look = reading.look(self._world, run_id)
        if look.run.status.is_final:
            return look
        reason = f"run {self._parent.id} is taken back"
        return self._take_up(look, lambda run, now: request_cancel(run, now, by=self._world.by, reason=reason))

    def _undone(self, run_id: str) -> Hand | Look:
        look = reading.look(self._world, run_id)
        if look.run.status is RunStatus.COMPENSATED:
            return look
        if look.run.status.is_final:
            return self._take_up(look, lambda run, now: request_undo(run, now, by=self._world.by))
        return self._take_up(look, lambda run, now: request_resume(run, now, by=self._world.by))

    def _take_up(self, look: Look, request: Callable[[Run, datetime], list[Event]]) -> Hand:
        try:
            return runs.take_up(self._world, look, request)
        except LockedError:
            raise
        except RefusedError as error:
            raise PermanentError(FailureClass.REFUSED, error.message, hint=error.hint) from error

    def _patiently(self, take: Callable[[], Hand | Look], *, changed: bool = True) -> Hand | Look:
        """What `take` gives, once nobody else has the run or its environment. `changed`: whether an earlier attempt may have begun it."""
        end = self._world.clock.monotonic() + PATIENCE.total_seconds()
        is_told = False
        while True:
            try:
                return take()
            except LockedError as error:
                if self._world.clock.monotonic() >= end:
                    raise TemporaryError(FailureClass.CONFLICT, error.message, changed=changed, hint=error.hint) from error
                if not is_told:
                    self._ctx.emit(f"waits: {error.message}")
                    is_told = True
            self._ctx.wait(LOOK_AGAIN)

    # ---- driving ----------------------------------------------------------------------------------------------------

    def _driven(self, taken: Hand | Look, stays: Callable[[Hand, bool], bool] | None = None) -> SubRun:
        if isinstance(taken, Look):
            return self._ended(taken)
        self._ctx.emit(f"run {taken.run.id} of {taken.record.plan}", run=taken.run.id)
        taken.watchers.append(self._tell)
        try:
            return self._ended(taken.drive(None if stays is None else lambda idles: stays(taken, idles)))
        except (StoreError, LockedError) as error:
            raise TemporaryError(FailureClass.CRASHED, f"run {taken.run.id}: {error.message}", hint=error.hint) from error

    def _stays(self, hand: Hand, idles: bool) -> bool:
        if self._ctx.cancelled and not self._has_asked:
            self._has_asked = True
            hand.cancel(f"run {self._parent.id}, of which this is a part, ends the task")
        return not self._ctx.rest(idles)

    def _tell(self, event: Event, run: Run) -> None:
        plan = run.graph.plan.name
        if event.type in TOLD and event.task is not None:
            self._ctx.emit(f"{plan}: task {event.task} {TOLD[event.type]}", run=run.id)
        elif event.type is EventType.APPROVAL_REQUESTED:
            self._ctx.emit(f"{plan}: waits for a person: drystone approve {run.id} {event.task}", run=run.id)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _ended(self, look: Look) -> SubRun:
        run = look.run
        error = run.error or {}
        succeeded = run.status is RunStatus.SUCCEEDED
        outputs = self._outputs(run) if succeeded else {}
        return SubRun(
            id=run.id,
            plan=look.record.plan,
            status=run.status,
            outputs=outputs,
            # What is no longer as it was stored had a secret in it.
            sensitive=frozenset(name for name, value in outputs.items() if value != run.outputs.get(name)),
            changed=any(instance.is_touched for instance in run.in_order()),
            left=not succeeded and _left(run),
            task=error.get("task") or "",
            failure_class=_class_of(run, error),
            message=str(error.get("message", "")) or ", ".join(questions(run)),
        )

    def _outputs(self, run: Run) -> dict[str, Any]:
        """With the values of secrets, which the store does not have in clear; the redactor of the attempt learns them."""
        vault = self._world.vault()
        wanted = run.graph.plan.outputs
        looks = [ref.path[:1] for value in wanted.values() for ref in values.references(value) if ref.root == "tasks"]
        names = {str(path[0]) for path in looks} if all(looks) else run.views.keys()
        tasks = {name: vault.reveal(run.views[name]) for name in names if name in run.views}
        scope = scope_of(run, inputs=vault.reveal(run.inputs), tasks=tasks)
        return {name: values.render(value, scope) for name, value in wanted.items()}


def _unusable(error: DrystoneError, detail: str = "") -> PermanentError:
    return PermanentError(FailureClass.INVALID, error.message, changed=False, detail=detail, hint=error.hint)


def _left(run: Run) -> bool:
    """Something that it changed was not taken back."""
    if run.status is RunStatus.COMPENSATED:
        return False
    return any(instance.is_touched and instance.undo.status is not UndoStatus.SUCCEEDED for instance in run.in_order())


def _class_of(run: Run, error: Mapping[str, Any]) -> FailureClass:
    if run.cause is Cause.CANCELLED:
        # A person said no to the part, and not to the whole.
        return FailureClass.REFUSED
    return FailureClass(error.get("class", FailureClass.FAILED))
