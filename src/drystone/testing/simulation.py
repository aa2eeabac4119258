"""A run in memory: the real core, a simulated clock, and attempts that end as a script says.

    run = Simulation(graph, script={"migration": fail("failed", "relation exists")}).finish()
    assert run.status is RunStatus.COMPENSATED

Time jumps over every wait, so that an hour of retries takes a millisecond. The same arguments give the same history.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from drystone.core.commands import Cancel, Command, Record, Start, StartUndo, Wake
from drystone.core.events import Event, EventType
from drystone.core.expected import Expected
from drystone.core.graph import Graph
from drystone.core.run import (
    ORDINARY,
    Failure,
    Manner,
    Run,
    answer,
    decide,
    evolve,
    failed,
    finished_undo,
    lost,
    lost_undo,
    new_run,
    request_cancel,
    request_destroy,
    request_resume,
    request_retry,
    request_skip,
    request_undo,
    stands,
    succeeded,
    take,
    undo_failed,
)
from drystone.core.run import waits as pauses
from drystone.core.states import TaskStatus
from drystone.errors import FailureClass

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a scripted attempt ends, and after how long. `held_for`: how long a circuit breaker holds it back."""

    outputs: Any = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = True
    failure: Failure | None = None
    held_for: timedelta | None = None
    after: timedelta = timedelta(seconds=1)
    waits_for: timedelta | None = None
    approval: Mapping[str, Any] | None = None
    stands: str = ""


def ok(outputs: Any = None, *, changed: bool = True, after: timedelta = timedelta(seconds=1), **result: Any) -> Ending:
    """An attempt that succeeds."""
    return Ending(outputs={} if outputs is None else outputs, result=result, changed=changed, after=after)


def unchanged(outputs: Any = None, *, since: str = "01EARLIER") -> Ending:
    """An attempt that finds nothing to do: what run `since` made stands."""
    return Ending(outputs={} if outputs is None else outputs, changed=False, stands=since, after=timedelta())


def fail(
    failure_class: str = "failed",
    message: str = "as the script says",
    *,
    permanent: bool = False,
    changed: bool = True,
    after: timedelta = timedelta(seconds=1),
) -> Ending:
    """An attempt that does not succeed."""
    failure = Failure(failure_class=FailureClass(failure_class), message=message, permanent=permanent)
    return Ending(failure=failure, changed=changed, after=after)


def held_back(wait: timedelta = timedelta(seconds=30)) -> Ending:
    """An attempt that goes no further than the circuit breaker of its endpoint."""
    message = "held back: http://web:80 failed 5 times in a row, last: as the script says"
    failure = Failure(failure_class=FailureClass.UNREACHABLE, message=message)
    return Ending(failure=failure, changed=False, held_for=wait, after=timedelta())


def waits(duration: timedelta) -> Ending:
    """An attempt that gives way until some time has passed, as the kind `wait` does."""
    return Ending(changed=False, waits_for=duration, after=timedelta())


def asks(
    *approvers: str,
    timeout: timedelta = timedelta(days=7),
    on_timeout: str = "reject",
    self_approval: bool = False,
    message: str = "go on?",
    digest: str = "",
    again: bool = False,
) -> Ending:
    """An attempt that asks a person, as the kind `approval` does; with `again` it goes on with its work after a yes."""
    question = {"message": message, "approvers": list(approvers), "self_approval": self_approval, "on_timeout": on_timeout}
    question |= {"digest": digest, "again": again}
    return Ending(changed=False, waits_for=timeout, approval=question, after=timedelta())


Script = Mapping[str, Ending | Sequence[Ending]] | Callable[[str, int], Ending]
"""Instance id (`undo:ID` for its undo) -> the end of each attempt, the last one repeated; or a function of id and attempt."""


class Simulation:
    """Drives one run. `history` is its journal, `started` the ids as attempts began (`undo:ID` on the way back)."""

    def __init__(
        self,
        graph: Graph,
        *,
        script: Script | None = None,
        inputs: Mapping[str, Any] | None = None,
        environment: str | None = None,
        max_parallel: int = 16,
        jitter: float = 0.0,
        expected: Mapping[str, Expected] | None = None,
        slots: Mapping[str, int] | None = None,
        manner: Manner = ORDINARY,
    ) -> None:
        """`slots`: pool -> its size; a pool that is not named has room for all."""
        self.now = START
        self.history: list[Event] = []
        self.started: list[str] = []
        self._writes: list[int] = []
        self._script: Script = {} if script is None else script
        self._jitter = jitter
        self._max_parallel = max_parallel
        self._slots = dict.fromkeys(graph.pools, max_parallel) | dict(slots or {})
        self._ends: list[tuple[datetime, int, Start | StartUndo]] = []
        self._blank = new_run(
            id="01SIMULATED", graph=graph, inputs=inputs or {}, environment=environment, created_at=START, manner=manner
        )
        self.run = self._blank
        facts = {"plan": graph.plan.name, "environment": environment, "inputs": self.run.inputs, "bundle": "", "token": None, "by": "test"}
        data = {**facts, "expected": expected or {}, "manner": manner.to_json()}
        self._add([Event(type=EventType.RUN_CREATED, at=START, run=self.run.id, data=data)])
        self._take(epoch=1)
        self._decide()

    def finish(self) -> Run:
        """Drives the run until it has ended. Raises AssertionError when nothing can ever happen any more."""
        while not self.run.status.is_final:
            self.step()
        return self.run

    def step(self) -> None:
        """Lets time go on to the next thing that happens, then decides and performs."""
        moments = [moment for moment in (self._ends[0][0] if self._ends else None, self._wake) if moment is not None]
        assert moments, f"stuck: {self.run.status}, running {list(self.run.running)}"
        self.now = max(self.now, min(moments))
        while self._ends and self._ends[0][0] <= self.now:
            self._end(heapq.heappop(self._ends)[2])
        self._decide()

    def until(self, name: str) -> None:
        """Goes on until an attempt of `name` (`undo:ID` for an undo) is in flight."""
        while name not in self.started:
            self.step()

    def follow(self, script: Script) -> None:
        """Attempts that start from now on end as another script says."""
        self._script = script

    def cancel(self) -> None:
        """As `drystone cancel` does."""
        self._add(request_cancel(self.run, self.now, by="test"))
        self._decide()

    def undo(self) -> None:
        """As `drystone undo` does."""
        self._add(request_undo(self.run, self.now, by="test"))
        self._decide()

    def destroy(self, only: Collection[str] | None = None) -> None:
        """As `drystone env destroy` does."""
        self._add(request_destroy(self.run, self.now, by="test", only=only))
        self._decide()

    def resume(self, script: Script | None = None, *, start: str | None = None, only_failed: bool = False) -> None:
        """As `drystone resume` does, from now on with another script when one is given."""
        self._script = self._script if script is None else script
        self._add(request_resume(self.run, self.now, by="test", start=start, only_failed=only_failed))
        self._decide()

    def answer(self, id_: str, given: str, *, by: str = "somebody", comment: str = "") -> None:
        """As `drystone approve` and `drystone reject` do: `given` is approve or reject."""
        self._add(answer(self.run, id_, self.now, given=given, by=by, comment=comment))
        self._decide()

    def retry(self, task: str | None = None, script: Script | None = None) -> None:
        """As `drystone attention retry` does, from now on with another script when one is given."""
        self._script = self._script if script is None else script
        self._add(request_retry(self.run, self.now, by="test", task=task))
        self._decide()

    def skip(self, task: str, reason: str = "seen to") -> None:
        """As `drystone attention skip` does."""
        self._add(request_skip(self.run, self.now, by="test", task=task, reason=reason))
        self._decide()

    def writes_after(self, event: int) -> int:
        """How many of the last writes hold nothing but events after number `event`."""
        count, last = 0, self.run.seq
        while count < len(self._writes) and last - self._writes[-1 - count] >= event:
            last -= self._writes[-1 - count]
            count += 1
        return count

    def crash(self, *, lost_writes: int = 0, idempotent: bool | Callable[[Run, str], bool] = True) -> None:
        """The process dies before its last writes were on disk, and another takes the run.

        idempotent: whether what was in flight may be made again; or a function of the run and the instance's id.
        """
        for _ in range(min(lost_writes, len(self._writes) - 1)):
            del self.history[-self._writes.pop() :]
        self._ends = []
        self.run = self.replayed()
        self._take(epoch=2)
        for id_ in sorted(self.run.running):
            if self.run.instances[id_].status is TaskStatus.UNDOING:
                self._add(lost_undo(self.run, id_, self.now))
            else:
                again = idempotent if isinstance(idempotent, bool) else idempotent(self.run, id_)
                self._add(lost(self.run, id_, self.now, idempotent=again))
        self._decide()

    def replayed(self) -> Run:
        """The state that the history alone gives."""
        return evolve(self._blank, *self.history)

    def _take(self, *, epoch: int) -> None:
        events = take(
            self.run,
            self.now,
            owner="test",
            epoch=epoch,
            max_parallel=self._max_parallel,
            finish_grace=timedelta(minutes=5),
        )
        self._add(events)

    def _add(self, events: Sequence[Event]) -> None:
        numbered = [replace(event, seq=self.run.seq + n) for n, event in enumerate(events, 1)]
        self.run = evolve(self.run, *numbered)
        self.history.extend(numbered)
        if numbered:
            self._writes.append(len(numbered))

    def _decide(self) -> None:
        self._wake: datetime | None = None
        while commands := decide(self.run, self.now, self._slots):
            self._add([command.event for command in commands if isinstance(command, Record | Start | StartUndo)])
            for command in commands:
                self._perform(command)
            if all(isinstance(command, Cancel | Wake) for command in commands):
                return

    def _perform(self, command: Command) -> None:
        match command:
            case Start() | StartUndo():
                name = _name(command)
                self.started.append(name)
                heapq.heappush(self._ends, (self.now + self._ending(command).after, len(self.started), command))
            case Wake():
                self._wake = command.at
            case Cancel():
                self._ends = [item for item in self._ends if item[2].instance != command.instance]
                heapq.heapify(self._ends)
                failure = Failure(failure_class=FailureClass.CANCELLED, message=command.reason, permanent=True)
                self._add(failed(self.run, command.instance, self.now, failure, jitter=0.0))
                self._wake = self.now
            case Record():
                pass

    def _ending(self, command: Start | StartUndo) -> Ending:
        name = _name(command)
        if callable(self._script):
            return self._script(name, command.attempt)
        found = self._script.get(name, Ending())
        return found if isinstance(found, Ending) else found[min(command.attempt, len(found)) - 1]

    def _end(self, command: Start | StartUndo) -> None:
        ending, id_ = self._ending(command), command.instance
        if isinstance(command, StartUndo):
            if ending.failure is None:
                self._add(finished_undo(self.run, id_, self.now, result=ending.result, changed=ending.changed))
            else:
                wait, failure = ending.held_for, ending.failure
                self._add(undo_failed(self.run, id_, self.now, failure, jitter=self._jitter, held=wait is not None, retry_in=wait))
        elif ending.waits_for is not None:
            self._add(pauses(self.run, id_, self.now, until=self.now + ending.waits_for, approval=ending.approval))
        elif ending.stands:
            why = f"unchanged since run {ending.stands}"
            self._add(stands(self.run, id_, self.now, reason=why, of=ending.stands, outputs=ending.outputs, result=ending.result))
        elif ending.failure is None:
            facts = {"outputs": ending.outputs, "result": ending.result, "changed": ending.changed}
            self._add(succeeded(self.run, id_, self.now, **facts))
        else:
            held = {"held": ending.held_for is not None, "retry_in": ending.held_for}
            facts = {"changed": ending.changed, "result": ending.result, **held}
            self._add(failed(self.run, id_, self.now, ending.failure, jitter=self._jitter, **facts))

    def types(self) -> list[EventType]:
        """The types of all events, in order."""
        return [event.type for event in self.history]


def _name(command: Start | StartUndo) -> str:
    return f"undo:{command.instance}" if isinstance(command, StartUndo) else command.instance
