"""A kind that does nothing, ends as it is told, and keeps what it was asked: for tests of plans and plugins under a real engine.

    kind = FakeKind({"migration": fail("unreachable"), "undo:vm[0]": [fail(), ok()]})
    registry = registry_with(kind)                  # the kinds that are installed, and this one

`stand_in(Terraform)` makes one that takes the place of another kind: the same name, config and traits, so that a plan is compiled as it is.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

from pydantic import ConfigDict

from drystone.errors import AttemptError, CancelledError, FailureClass
from drystone.plugin import api
from drystone.plugin.registry import KINDS, PROVIDERS, TRIGGERS, Registry
from drystone.testing.clock import SimulatedClock
from drystone.testing.fault_plan import UNDO, task_of
from drystone.testing.simulation import Ending, Script

LOOK_EVERY = timedelta(milliseconds=5)
"""How often an attempt that is held looks whether it should end."""


class AnyConfig(api.Config):
    """Takes any keys."""

    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """An attempt that was made. `name` is the instance's id, `undo:ID` on the way back. `recovered`: it looked at the world first."""

    name: str
    attempt: int
    token: str
    config: api.Config
    recovered: bool


class FakeKindWithoutUndo(api.Kind):
    """See `FakeKind`; it cannot take back what it did."""

    name: ClassVar[str] = "fake"
    Config: ClassVar[type[api.Config]] = AnyConfig

    def __init__(self, script: Script | None = None, *, clock: SimulatedClock | None = None) -> None:
        self.script: Script = {} if script is None else script
        self.calls: list[Call] = []
        self.clock = clock
        self._held: set[str] = set()
        self._recovered: set[tuple[str, int]] = set()
        self._changed = threading.Condition()

    # ---- for the test -------------------------------------------------------------------------------------------------

    def hold(self, name: str) -> None:
        """From now on an attempt of an instance or a task (`undo:` before it on the way back) does not end until let go, or cancelled."""
        self._held.add(name)

    def let_go(self, name: str) -> None:
        """What was held may end."""
        self._held.discard(name)

    def wait_for(self, name: str, timeout: timedelta = timedelta(seconds=30)) -> None:
        """Until an attempt of `name` has begun. Raises AssertionError when none does in time."""
        with self._changed:
            begun = self._changed.wait_for(lambda: name in self.called, timeout.total_seconds())
        assert begun, f"no attempt of {name} has begun; there were {', '.join(self.called) or 'none'}"

    @property
    def called(self) -> list[str]:
        """Names in the order in which attempts began."""
        return [call.name for call in self.calls]

    # ---- for the engine -----------------------------------------------------------------------------------------------

    def run(self, ctx: api.Context, config: api.Config) -> api.Outcome:
        """Ends as the script says."""
        return self._attempt(ctx, config)

    def recover(self, ctx: api.Context, config: api.Config) -> None:
        """Notes that the engine asked for it."""
        self._recovered.add((_name(ctx), ctx.attempt))

    def _attempt(self, ctx: api.Context, config: api.Config) -> api.Outcome:
        name = _name(ctx)
        recovered = (name, ctx.attempt) in self._recovered
        with self._changed:
            self.calls.append(Call(name=name, attempt=ctx.attempt, token=ctx.token, config=config, recovered=recovered))
            self._changed.notify_all()
        while {name, task_of(name)} & self._held:
            ctx.wait(LOOK_EVERY)
        ending = self._ending(name, ctx.attempt)
        if self.clock is not None:
            self.clock.advance(ending.after if ctx.remaining is None else min(ending.after, ctx.remaining))
        ctx.check()
        if ending.waits_for is not None:
            return api.Outcome(changed=False, pause=api.Pause(duration=ending.waits_for, approval=_question(ending)))
        if ending.failure is not None:
            raise _error_of(ending)
        return api.Outcome(outputs=ending.outputs, result=ending.result, changed=ending.changed)

    def _ending(self, name: str, attempt: int) -> Ending:
        if callable(self.script):
            return self.script(name, attempt)
        found = self.script.get(name, Ending())
        return found if isinstance(found, Ending) else found[min(attempt, len(found)) - 1]


class FakeKind(FakeKindWithoutUndo):
    """Ends as its script says: instance id (`undo:ID` on the way back) -> the end of each attempt, the last one repeated.

    script: may be changed between attempts.
    clock:  is moved by the time that each attempt takes; without one none takes any.
    Traits such as `idempotent` are those of the class: a test that wants others subclasses it.
    """

    def undo(self, ctx: api.Context, config: api.Config) -> api.Outcome:
        """Ends as the script says of `undo:ID`."""
        return self._attempt(ctx, config)


def stand_in(kind: type[api.Kind], script: Script | None = None, *, clock: SimulatedClock | None = None) -> FakeKindWithoutUndo:
    """A fake in the place of another kind."""
    base = FakeKind if hasattr(kind, "undo") else FakeKindWithoutUndo
    names = ("name", "Config", "changes", "undo_when", "idempotent", "outputs", "restores", "changes_things", "is_idempotent")
    traits = {name: getattr(kind, name) for name in names}
    made: FakeKindWithoutUndo = type(f"Fake{kind.__name__}", (base,), traits)(script, clock=clock)
    return made


def stand_ins() -> list[FakeKindWithoutUndo]:
    """One for each installed kind, but for those that reach for nothing by themselves and may be used as they are."""
    installed = Registry()
    kinds = [type(installed.get(name)) for name in installed]
    return [stand_in(kind) for kind in kinds if not kind.inline and not kind.pauses]


def registry_with(*kinds: api.Kind) -> Registry:
    """A registry of the kinds that are installed and these, which win where the names are the same."""
    names = {kind.name for kind in kinds}
    installed = [point for group in (KINDS, PROVIDERS, TRIGGERS) for point in importlib.metadata.entry_points(group=group)]
    kept = [point for point in installed if point.group != KINDS or point.name not in names]
    return Registry([*kept, *(_Made(kind) for kind in kinds)])


class _Made(EntryPoint):
    """An entry point whose object is there already."""

    def __init__(self, kind: api.Kind) -> None:
        super().__init__(kind.name, f"{type(kind).__module__}:{type(kind).__qualname__}", KINDS)
        # Entry points do not let their attributes be set.
        vars(self)["kind"] = kind

    def load(self) -> Any:
        """What the registry calls to get the kind."""
        return lambda: vars(self)["kind"]


def _name(ctx: api.Context) -> str:
    # The undo of a task may be another body of the same kind: only its token tells them apart.
    return f"{UNDO}{ctx.task}" if ctx.token.endswith(":undo") else ctx.task


def _question(ending: Ending) -> api.Approval | None:
    asked = ending.approval
    return None if asked is None else api.Approval(**{**asked, "approvers": tuple(asked["approvers"])})


def _error_of(ending: Ending) -> AttemptError:
    failure = ending.failure
    assert failure is not None
    if failure.failure_class is FailureClass.CANCELLED:
        return CancelledError(failure.message, changed=ending.changed)
    error: type[AttemptError] = api.PermanentError if failure.permanent else api.TemporaryError
    facts: Mapping[str, Any] = {"changed": ending.changed, "detail": failure.detail, "hint": failure.hint, "result": ending.result}
    return error(failure.failure_class, failure.message, **facts)
