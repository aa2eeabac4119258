"""The plan kind: a task that is a whole run of another plan, and is undone as a whole.

    the run succeeded         its outputs are the task's
    it failed, all undone     the task failed, and changed nothing; a retry starts another run
    it failed, some is left   the task failed for good, and its undo takes back what is left
    it waits for a person     the task waits too
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from drystone.errors import AttemptError
from drystone.plugin import api, sources
from drystone.plugin.api import FailureClass, Outcome, Pause, PermanentError, SubRun, TemporaryError, UndoWhen

_FOR_GOOD = (FailureClass.INVALID, FailureClass.REFUSED)
"""Another run would end in the same way."""


class PlanConfig(api.Config):
    """Exactly one of `name` and `path`."""

    name: str | None = Field(default=None, min_length=1, description="a plan in plans/, or one that ships")
    path: str | None = Field(default=None, min_length=1, description="a plan's file")
    inputs: dict[str, Any] = Field(default_factory=dict, description="the plan's inputs")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.name is None) == (self.path is None):
            raise ValueError("give exactly one of name and path")
        return self


class Plan(api.Kind):
    """An attempt in flight when drystone died finds its run again, so it may always be made once more."""

    name: ClassVar[str] = "plan"
    Config = PlanConfig
    undo_when: ClassVar[UndoWhen] = UndoWhen.ATTEMPTED
    pauses: ClassVar[bool] = True

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The plan's file. Of what that plan uses the caller takes care."""
        name = config.get("name")
        yield from sources.paths(config.get("path"), source)
        if isinstance(name, str):
            yield from sources.paths([f"plans/{name}.yaml", f"plans/{name}.yml"], source)

    def run(self, ctx: api.Context, config: PlanConfig) -> Outcome:
        """Runs the plan to its end, or to where only a person can move it on."""
        done = ctx.plans.run(config.inputs, name=config.name, path=config.path)
        if done.status == "succeeded":
            return Outcome(outputs=done.outputs, result={"run": done.id}, changed=done.changed, sensitive=done.sensitive)
        if not done.status.is_final:
            return Outcome(pause=Pause(run=done.id))
        try:
            ctx.check()
        except AttemptError as error:
            error.changed, error.result = done.left, {"run": done.id}
            raise
        raise _failed(done)

    def undo(self, ctx: api.Context, config: PlanConfig) -> Outcome:
        """Takes the run back, and every other that earlier attempts left."""
        done = ctx.plans.undo()
        if done and done[-1].status != "compensated":
            raise PermanentError(
                FailureClass.FAILED,
                f"run {done[-1].id} of {done[-1].plan} could not be taken back: it is {done[-1].status}",
                hint=f"drystone attention list, and drystone show {done[-1].id}",
                result={"run": done[-1].id},
            )
        return Outcome(result={"runs": [run.id for run in done]}, changed=any(run.changed for run in done))


def _failed(done: SubRun) -> AttemptError:
    where = f"task {done.task} failed: " if done.task else ""
    message = f"run {done.id} of {done.plan}: {where}{done.message or done.status}"
    if done.left:
        hint = f"what it did stands: drystone show {done.id}; what waits for a decision: drystone attention list"
        return PermanentError(done.failure_class, message, hint=hint, result={"run": done.id})
    error = PermanentError if done.failure_class in _FOR_GOOD else TemporaryError
    return error(done.failure_class, message, changed=False, hint=f"drystone show {done.id}", result={"run": done.id})
