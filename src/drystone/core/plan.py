"""A plan as its author wrote it: names, bodies, policies, each with its place in the file.

`planfile` makes it from nested data with line numbers; `compile` makes a `Graph` of it. Nothing here is resolved yet:
values still hold expressions, edges between tasks are only those that `needs` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from drystone.core.diagnostics import Where
from drystone.core.nodes import Node
from drystone.core.retry import NO_RETRY, UNDO_RETRY, RetryPolicy

Value = Any
"""JSON-like data whose leaves may be `values.Template`: dict, list, str, int, float, bool, None or Template."""


class OnFailure(StrEnum):
    """What a run does when a task failed for good."""

    COMPENSATE = "compensate"
    STOP = "stop"
    CONTINUE = "continue"
    ASK = "ask"
    """It stops, and a person says how it goes on: again, without the task, or back."""


class OnConflict(StrEnum):
    """What a new run does when another with its concurrency key has not ended."""

    WAIT = "wait"
    REJECT = "reject"
    CANCEL_RUNNING = "cancel_running"


class RunIf(StrEnum):
    """Which ends of the tasks before it let a task start."""

    ALL_SUCCEEDED = "all_succeeded"
    NONE_FAILED = "none_failed"
    ALL_DONE = "all_done"
    ANY_SUCCEEDED = "any_succeeded"
    ANY_FAILED = "any_failed"


class UndoMode(StrEnum):
    """How a task is taken back. UNSAID exists only in a Plan: the compiler resolves it."""

    UNSAID = "unsaid"
    AUTO = "auto"
    BODY = "body"
    RESTORE = "restore"
    """Its last good version is applied again; what was not there before the run is taken back by the kind itself."""
    NONE = "none"
    IRREVERSIBLE = "irreversible"


class OnUpdate(StrEnum):
    """How a body takes back a task that changed what earlier runs made."""

    UNDO = "undo"
    """By the body, as always: it knows what this run did."""
    RESTORE = "restore"
    """The last good version is applied again; the body takes back only what the run made where nothing was."""


class UndoWhen(StrEnum):
    """From when on a task has something to undo."""

    ATTEMPTED = "attempted"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """What is done: a kind and its config.

    kind: the empty string when it could not be read; the mistake is recorded.
    node: the config with its places; the compiler checks it and lets go of it.
    """

    kind: str
    config: Value
    where: Where
    node: Node | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Undo:
    """The compensating action. `body` is set exactly when the mode is BODY; `timeout` None means the task's own.

    always:    the task's kind never changes anything by itself, so an undo that the author wrote all the same is meant.
    on_update: what becomes of a body when there was a good version before the run.
    """

    mode: UndoMode = UndoMode.UNSAID
    always: bool = False
    body: Body | None = None
    on_update: OnUpdate = OnUpdate.UNDO
    retry: RetryPolicy = UNDO_RETRY
    timeout: timedelta | None = None
    where: Where | None = None


    @property
    def goes_back_to_versions(self) -> bool:
        """True when a last good version may be applied again."""
        return self.mode is UndoMode.RESTORE or self.on_update is OnUpdate.RESTORE


@dataclass(frozen=True, kw_only=True, slots=True)
class Fanout:
    """`for_each`: a list, a map, a number, or an expression that gives one; `max_parallel` None means no limit."""

    items: Value
    max_parallel: int | None = None
    max_failures: int = 0
    max_items: int = 10_000
    where: Where | None = None


POLL_EVERY = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Poll:
    """Repeat an attempt's work until a condition over its `result` is true; what may pass by itself counts as not yet.

    `timeout` None means that only the attempt's own limit ends it.
    """

    until: Value
    every: timedelta = POLL_EVERY
    timeout: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A node of the plan. `when` None means always; `timeout` None means no limit but the run's deadline."""

    name: str
    body: Body
    where: Where
    description: str = ""
    needs: tuple[str, ...] = ()
    needs_where: tuple[Where, ...] = ()
    when: Value = None
    run_if: RunIf = RunIf.ALL_SUCCEEDED
    for_each: Fanout | None = None
    retry: RetryPolicy = NO_RETRY
    timeout: timedelta | None = None
    undo: Undo = Undo()
    undo_when: UndoWhen | None = None
    allow_failure: bool = False
    poll: Poll | None = None
    remedy: Body | None = None
    """Done after a failed attempt, before the next one."""
    pivot: bool = False
    """Once it has succeeded nothing of the run is undone: the run goes forward, or stops for a person."""
    closing: bool = False
    """It stands under `finally`: it runs when all else is over, however that ended."""
    priority: int = 0
    pool: str | None = None
    """A named limit of the project: so many attempts at once over all its runs."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input: a JSON Schema without `default`, `secret` and `description`, which stand beside it."""

    name: str
    schema: Mapping[str, Any]
    where: Where
    required: bool = True
    default: Any = None
    secret: bool = False
    description: str = ""


CONCURRENCY_TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Concurrency:
    """Runs with the same key go one after the other. `timeout`: how long a run waits for those before it."""

    key: Value
    on_conflict: OnConflict = OnConflict.WAIT
    timeout: timedelta = CONCURRENCY_TIMEOUT


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """What starts runs of the plan by itself: one item of `triggers`.

    name:   unique in the plan; with the plan's name it is the trigger's id.
    type:   the plugin that it is of; the empty string when it could not be read; the mistake is recorded.
    config, inputs: hold expressions; `config_node` and `inputs_node` have their places, until the compiler has checked them.
    where:  of the type.
    """

    name: str
    type: str
    config: Value
    inputs: Mapping[str, Value]
    where: Where
    config_node: Node | None = field(default=None, compare=False, repr=False)
    inputs_node: Node | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A workflow definition. `environment` None means that the run owns no environment and takes no lock."""

    name: str
    where: Where
    description: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    environment: Value = None
    timeout: timedelta | None = None
    on_failure: OnFailure = OnFailure.COMPENSATE
    concurrency: Concurrency | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    outputs: Mapping[str, Value] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
