"""What stands behind a rehearsal: the simulation of one run, with endings made of faults, given outputs and rendered configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from drystone.app.describe import masked
from drystone.core import durations, values
from drystone.core.commands import Start, StartUndo
from drystone.core.graph import Graph
from drystone.core.opaque import UNKNOWN, Unknown, find
from drystone.core.plan import Body, Poll, Task
from drystone.core.run import Failure, Instance, Run, scope_of
from drystone.errors import FailureClass, InputError
from drystone.plugin.registry import Registry
from drystone.testing.fault_plan import UNDO, FaultPlan, task_of
from drystone.testing.faults import Interruption
from drystone.testing.given import Given
from drystone.testing.simulation import Ending, Simulation

if TYPE_CHECKING:
    from drystone.testing.rehearsal import Rehearsal


PAUSING = ("approval", "wait")
"""Kinds that only say what is waited for: they look at nothing but their config."""
NO_CONTEXT: Any = None


class Stage(Simulation):
    """Plays one run to its end; asked for more, goes on with it."""

    def __init__(
        self,
        graph: Graph,
        *,
        registry: Registry,
        given: Given,
        faults: FaultPlan,
        inputs: Mapping[str, Any],
        environment: str | None,
        max_parallel: int,
        pools: Mapping[str, int],
    ) -> None:
        self.faults = faults
        self._registry = registry
        self._given = given
        self._made: dict[tuple[str, int], Ending] = {}
        self._checked = 0
        self.latest: Rehearsal | None = None
        super().__init__(graph, inputs=inputs, environment=environment, max_parallel=max_parallel, slots=pools)

    def play(self) -> None:
        """To the end. Raises InputError where the run must know what the test did not say."""
        while True:
            while (due := self.faults.due(self.run, self._last_that_may_be_lost())) is not None:
                self._interrupt(due)
            while (asked := self.faults.answer(self.run)) is not None:
                id_, given, by = asked
                self.answer(id_, "approve" if given.approves else "reject", by=by, comment=given.comment)
            for event in self.history[self._checked :]:
                self._given.check(self.run, event)
            self._checked = len(self.history)
            if self.run.status.is_final:
                return
            self.step()

    def begin_again(self, faults: FaultPlan) -> None:
        """Other faults from now on: a person is about to ask for something."""
        self.faults = faults
        self._made.clear()

    def _last_that_may_be_lost(self) -> int:
        """Up to this event a crash changes something: when the end of the run is on disk, nothing is left to resume."""
        return self.run.seq - self._writes[-1] if self.run.status.is_final else self.run.seq

    def _interrupt(self, fault: Interruption) -> None:
        if fault.what == "cancel":
            self.cancel()
            return
        lost = 0 if fault.event is None else self.writes_after(fault.event)
        self._made.clear()
        self.crash(lost_writes=lost, idempotent=self._is_idempotent)
        self._checked = min(self._checked, len(self.history))

    def _is_idempotent(self, run: Run, id_: str) -> bool:
        body = run.task_of(run.instances[id_]).body
        return self._registry.get(body.kind).is_idempotent(body.config)

    # ---- endings ------------------------------------------------------------------------------------------------------

    def _ending(self, command: Start | StartUndo) -> Ending:
        name = f"{UNDO if isinstance(command, StartUndo) else ''}{command.instance}"
        key = (name, command.attempt)
        if key not in self._made:
            # Asked when the attempt begins and when it ends: it must be the same one.
            self._made[key] = self._make(command, self.faults.ending(name, command.attempt))
        return self._made[key]

    def _make(self, command: Start | StartUndo, ending: Ending) -> Ending:
        instance = self.run.instances[command.instance]
        task = self.run.task_of(instance)
        undo = isinstance(command, StartUndo)
        body = task.undo.body if undo and task.undo.body is not None else task.body
        scope = scope_of(self.run, instance, attempt=command.attempt)
        try:
            config = values.render(body.config, scope)
            if problem := self._problem(body, config):
                return _failing(ending, FailureClass.INVALID, problem)
            if body.kind in PAUSING and ending.failure is None:
                return self._paused(command.instance, body, config)
            if not undo:
                ending = self._with_outputs(instance, task, config, ending)
                if task.poll is not None and ending.failure is None:
                    ending = _polled(task.poll, scope, ending)
        except values.ExpressionError as error:
            return _failing(ending, FailureClass.INVALID, str(error))
        return _in_time(ending, command.timeout)

    def _paused(self, id_: str, body: Body, config: Any) -> Ending:
        """What the kind itself says that is waited for."""
        kind = self._registry.get(body.kind)
        try:
            # Words that are not known may be asked all the same.
            parsed = kind.Config.model_validate(masked(config))
        except ValidationError:
            hint = f"say what is given out by {', '.join(self.run.graph.nodes[task_of(id_)].needs)}: rehearse(..., outputs={{...}})"
            raise InputError(f'task "{id_}" waits for what the rehearsal was not told', hint=hint) from None
        pause = kind.run(NO_CONTEXT, parsed).pause
        assert pause is not None
        waits_for = pause.until - self.now if pause.until is not None else pause.duration
        approval = None if pause.approval is None else {**asdict(pause.approval), "approvers": list(pause.approval.approvers)}
        return Ending(changed=False, after=timedelta(), waits_for=waits_for, approval=approval)

    def _problem(self, body: Body, config: Any) -> str:
        info = self._registry.info(body.kind)
        assert info is not None, "the plan was compiled with this registry"
        found = info.check(values.reveal(config, lambda _: UNKNOWN))
        return f"{body.kind} cannot use this config: {'; '.join(problem.message for problem in found)}" if found else ""

    def _with_outputs(self, instance: Instance, task: Task, config: Any, ending: Ending) -> Ending:
        info = self._registry.info(task.body.kind)
        assert info is not None
        changes = info.changes if info.changes_with is None else info.changes_with(config)
        outputs = self._given.outputs(self.run, instance)
        if outputs is UNKNOWN and task.body.kind == "noop":
            outputs = config.get("outputs", {}) if isinstance(config, Mapping) else {}
        result = self._given.result(self.run, instance)
        return replace(ending, outputs=outputs, result=result, changed=ending.changed and changes)


def _failing(ending: Ending, failure_class: FailureClass, message: str) -> Ending:
    """What could not even begin."""
    failure = Failure(failure_class=failure_class, message=message, permanent=True)
    return replace(ending, failure=failure, changed=False, after=timedelta())


def _polled(poll: Poll, scope: Mapping[str, Any], ending: Ending) -> Ending:
    """What it gives out, if it was said, makes the condition true, or the time of the poll passes; unsaid, it becomes true."""
    outputs = ending.outputs if isinstance(ending.outputs, Mapping) else {}
    result = {"changed": ending.changed, **ending.result, **outputs}
    if find(ending.outputs, Unknown) or values.condition(poll.until, {**scope, "result": result}):
        return ending
    after = ending.after if poll.timeout is None else poll.timeout
    message = f"not there after {durations.to_text(after)}: the condition is not true yet"
    failure = Failure(failure_class=FailureClass.TIMEOUT, message=message)
    return replace(ending, failure=failure, after=after)


def _in_time(ending: Ending, timeout: timedelta | None) -> Ending:
    if timeout is None or ending.after <= timeout:
        return ending
    failure = Failure(failure_class=FailureClass.TIMEOUT, message=f"no end after {durations.to_text(timeout)}")
    return replace(ending, failure=failure, after=timeout)
