"""What is known of a run: frozen values over persistent maps, so that a copy per event costs little at any size."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from rpds import HashTrieMap

from drystone.core.expected import Expected
from drystone.core.graph import Graph
from drystone.core.plan import OnFailure, Task, UndoMode, UndoWhen
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import FailureClass


class AttemptStatus(StrEnum):
    """How one try ended; LOST means that nobody saw its end."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    PAUSED = "paused"
    """It gave way, with its work half done, because it waits for another run, or for a person's yes."""
    HELD = "held"
    """It was held back by the circuit breaker of its endpoint, before it did anything."""


UNCOUNTED = frozenset({AttemptStatus.LOST, AttemptStatus.HELD})
"""Tries that use up no retry: nobody saw how they ended, or they never began."""


class UndoStatus(StrEnum):
    """Where the way back of an instance stands; LEFT is left standing on purpose or because what rests on it still stands.

    WAIVED: a person took it on.
    """

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_NEEDED = "not_needed"
    LEFT = "left"
    WAIVED = "waived"


class Cause(StrEnum):
    """Why a run does not go forward any more."""

    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    REQUESTED = "requested"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an attempt did not succeed, as it is stored: no exception, no secrets."""

    failure_class: FailureClass
    message: str
    detail: str = ""
    hint: str = ""
    permanent: bool = False

    def to_json(self) -> dict[str, Any]:
        """The shape that `drystone show --json` prints for an error of an attempt."""
        return {"class": self.failure_class.value, "message": self.message, "detail": self.detail, "hint": self.hint}


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What an instance waits for while nobody works on it.

    until:    when the wait is over at the latest; None means not by itself.
    approval: message, approvers, self_approval, on_timeout, digest and again of the question to a person; None for a mere wait.
    run:      the other run that it waits for (kind `plan`).
    again:    the kind is called once more when the wait is over: it gave way in the middle of its work.
    """

    until: datetime | None = None
    approval: Mapping[str, Any] | None = None
    run: str | None = None
    again: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try.

    log:     relative to the project's .drystone folder.
    changed: whether the world may be different now.
    result:  what one that did not succeed told of how far it came; None when it told nothing.
    """

    number: int
    status: AttemptStatus
    started_at: datetime
    finished_at: datetime | None = None
    failure: Failure | None = None
    log: str | None = None
    changed: bool = True
    result: Mapping[str, Any] | None = None


def made(attempts: Sequence[Attempt]) -> int:
    """How many of them were made: one that was held back is none."""
    return sum(attempt.status is not AttemptStatus.HELD for attempt in attempts)


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoState:
    """The way back of an instance; `status` None means that nobody asked for it yet. `budget` as for an instance."""

    mode: UndoMode
    status: UndoStatus | None = None
    attempts: tuple[Attempt, ...] = ()
    retry_at: datetime | None = None
    reason: str = ""
    budget: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A task, or one element of a fanned-out task.

    key:      index or map key; None for a task without `for_each`, and for a fan-out that is not expanded yet.
    rank:     smaller starts first.
    budget:   attempts that do not count against the retry policy: those before the last resume, and those that were lost or held back.
    waiting:  what it waits for in state WAITING.
    waived:   a person said to go on without it: for the tasks behind it, it ended well.
    unknown:  nobody knows whether its last attempt took effect.
    stands:   the run whose good version of it still stands: nothing was done, because nothing has changed since.
    approved: digest of what a person approved for it, see `plugin.api.Approval.digest`.
    """

    id: str
    task: str
    kind: str
    rank: tuple[int, ...]
    undo: UndoState
    key: int | str | None = None
    value: Any = None
    status: TaskStatus = TaskStatus.PENDING
    attempts: tuple[Attempt, ...] = ()
    outputs: Any = None
    result: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = False
    retry_at: datetime | None = None
    reason: str = ""
    budget: int = 0
    waiting: Waiting | None = None
    waived: bool = False
    unknown: bool = False
    stands: str = ""
    approved: str = ""

    @property
    def failure(self) -> Failure | None:
        """Of the last attempt."""
        return self.attempts[-1].failure if self.attempts else None

    @property
    def is_touched(self) -> bool:
        """True when an attempt may have changed the world."""
        return any(attempt.changed for attempt in self.attempts)

    @property
    def was_tried(self) -> bool:
        """True when there was an attempt; one that was held back is none."""
        return made(self.attempts) > 0

    @property
    def has_succeeded(self) -> bool:
        """True when an attempt did what it should, in whatever state a resume has put it since."""
        return any(attempt.status is AttemptStatus.SUCCEEDED for attempt in self.attempts)

    @property
    def is_in_place(self) -> bool:
        """True when what it is about stands as the plan wants it, be it that an earlier run made it."""
        return self.status is TaskStatus.SUCCEEDED or bool(self.stands)

    def to_undo(self, task: Task) -> bool:
        """True when there is something to take back (DESIGN §3, undo_when). `task` is the plan's, with its undo resolved."""
        if task.undo_when is UndoWhen.SUCCEEDED and not self.has_succeeded:
            return False
        return self.is_touched or (task.undo.always and self.was_tried)


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """What may start: kept in step by `evolve`, so that `decide` never searches the graph.

    open:      task -> tasks before it that have not settled.
    unsettled: task -> its instances that have not settled.
    failures:  task -> its instances that failed for good.
    reached:   ids whose edges are satisfied and whose conditions nobody has looked at yet.
    ready:     (rank, id), sorted: may start as soon as there is room.
    pooled:    pool -> the same for those that need room in that pool too.
    held:      task -> instances that its `max_parallel` keeps back.
    retrying:  id -> when it is tried again.
    waiting:   id -> when its wait is over at the latest, or None.
    remaining: tasks that have not settled, those under `finally` not counted.
    closing:   tasks under `finally` that have not settled.
    """

    open: HashTrieMap[str, int]
    unsettled: HashTrieMap[str, int]
    failures: HashTrieMap[str, int]
    reached: tuple[str, ...]
    ready: tuple[tuple[tuple[int, ...], str], ...]
    pooled: HashTrieMap[str, tuple[tuple[tuple[int, ...], str], ...]]
    held: HashTrieMap[str, tuple[str, ...]]
    retrying: HashTrieMap[str, datetime]
    waiting: HashTrieMap[str, datetime | None]
    remaining: int
    closing: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Back:
    """What may be undone: the mirror image of `Forward`.

    open:      task -> tasks behind it that still have to be passed.
    left:      task -> its instances that still have to be undone.
    stands:    tasks on which something rests that could not be taken away.
    """

    open: HashTrieMap[str, int]
    left: HashTrieMap[str, int]
    stands: HashTrieMap[str, str]
    ready: tuple[str, ...]
    retrying: HashTrieMap[str, datetime]
    remaining: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a run goes about its tasks, said when it is created.

    changed_only: an instance whose files, config and upstream outputs are those of its last good version is left as it stands.
    only:         all other instances are left as they stand, whatever has changed; None means that all are done. With `changed_only` these
                  are done in any case, and others when something has changed for them.
    preview:      digest of the saved preview that it must do exactly.
    approve_deferred: what was not certain in that preview is done without asking once it is.
    """

    changed_only: bool = False
    only: tuple[str, ...] | None = None
    preview: str = ""
    approve_deferred: bool = False

    def to_json(self) -> dict[str, Any]:
        """What differs from an ordinary run, for the event run.created."""
        given = {"changed_only": self.changed_only, "only": None if self.only is None else list(self.only), "preview": self.preview}
        given["approve_deferred"] = self.approve_deferred
        return {name: value for name, value in given.items() if value not in (False, None, "")}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manner:
        """The reverse of `to_json`."""
        only = data.get("only")
        return Manner(
            changed_only=bool(data.get("changed_only")),
            only=None if only is None else tuple(only),
            preview=str(data.get("preview", "")),
            approve_deferred=bool(data.get("approve_deferred")),
        )


ORDINARY = Manner()
"""All tasks are done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One execution of a plan. `instances` and `expansions` cover every task from the start; see `in_order`."""

    id: str
    graph: Graph
    inputs: Mapping[str, Any]
    environment: str | None
    created_at: datetime
    instances: HashTrieMap[str, Instance]
    expansions: HashTrieMap[str, tuple[str, ...]]
    forward: Forward
    back: Back | None = None
    views: HashTrieMap[str, Mapping[str, Any]] = field(default_factory=HashTrieMap)
    running: HashTrieMap[str, int] = field(default_factory=HashTrieMap)
    """Ids with an attempt in flight, on either way, and its number."""
    used: HashTrieMap[str, int] = field(default_factory=HashTrieMap)
    """Pool -> attempts in flight that take room in it."""
    by: str = ""
    """Who started it: USER@HOST."""
    manner: Manner = ORDINARY
    destroys: bool = False
    """Its way back takes away all that stands of it, whichever run made it, and not only what it made itself."""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    """Task -> how long its instances took in earlier runs; tasks without a history are left out."""
    status: RunStatus = RunStatus.QUEUED
    cause: Cause | None = None
    reason: str = ""
    fatal: tuple[str, ...] = ()
    """Instances whose failure the run does not tolerate, in the order in which they failed."""
    stopping_since: datetime | None = None
    """Since when it does not go forward any more: a failure, a cancel, or a person's wish to undo it."""
    cancel_requested: bool = False
    closing: Mapping[str, Any] | None = None
    """The data of the run.finished event to come, while the tasks under `finally` run."""
    max_parallel: int = 16
    finish_grace: timedelta = timedelta(minutes=5)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    clocked_from: datetime | None = None
    """Where the run's deadline counts from: later than `started_at` once a person resumed it, or nobody drove it for a while."""
    last_at: datetime | None = None
    """Of the last event."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    seq: int = 0
    """Of the last event folded in."""

    def in_order(self) -> Iterator[Instance]:
        """Every instance, in the order of the graph."""
        for name in self.graph.nodes:
            for id_ in self.expansions[name]:
                yield self.instances[id_]

    def ordered(self, ids: Collection[str]) -> list[str]:
        """These instances, in the order of the graph."""
        return [instance.id for instance in self.in_order() if instance.id in ids]

    def task_of(self, instance: Instance) -> Task:
        """The plan's task of an instance."""
        return self.graph.nodes[instance.task].task

    @property
    def passed_pivot(self) -> str | None:
        """The task past which nothing is undone any more, even if a resume starts it afresh; None before that."""
        for name, node in self.graph.nodes.items():
            if not node.task.pivot:
                continue
            instances = [self.instances[id_] for id_ in self.expansions[name]]
            has_succeeded = bool(instances) and all(instance.has_succeeded for instance in instances)
            if has_succeeded or (name in self.views and self.views[name]["end"].value == "succeeded"):
                return name
        return None

    @property
    def is_stopping(self) -> bool:
        """True when nothing new starts on the way forward."""
        return self.cancel_requested or (bool(self.fatal) and self.graph.plan.on_failure is not OnFailure.CONTINUE)

    def only_waits(self, resting: Collection[str] = ()) -> bool:
        """True when nothing can happen on the way forward but that a moment or a person's answer comes.

        resting: ids of attempts in flight that only wait themselves.
        """
        index = self.forward
        if not (index.waiting or resting) or index.reached or index.ready or index.retrying or self.is_stopping:
            return False
        return not any(index.pooled.values()) and all(id_ in resting for id_ in self.running)

    @property
    def error(self) -> dict[str, Any] | None:
        """The failure that the run ended for, as `drystone show --json` prints it; None when it was not a failure."""
        if self.fatal:
            instance = self.instances[self.fatal[0]]
            if (failure := instance.failure) is not None:
                return {"task": instance.id, "class": failure.failure_class.value, "message": failure.message}
            return {"task": instance.id, "class": FailureClass.INVALID.value, "message": instance.reason}
        if self.cause in (Cause.CANCELLED, Cause.TIMEOUT):
            return {"task": None, "class": self.cause.value, "message": self.reason}
        if self.cause is Cause.FAILED and self.reason:
            return {"task": None, "class": FailureClass.INVALID.value, "message": self.reason}
        return None
