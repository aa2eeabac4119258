"""Every exception that drystone raises on purpose.

    DrystoneError                 exit 1 unless said otherwise
    ├── PlanError                 the plan has mistakes: carries all diagnostics, not the first
    ├── InputError                inputs given to a run do not fit the plan
    ├── ProjectError              project folder, settings or files are not usable
    ├── NotFoundError             no such plan, run, task or environment
    ├── RefusedError              the request does not fit the state of the run, or nobody agreed to it
    │   └── LockedError           somebody else holds the environment or the run (exit 6)
    ├── StoreError                the store cannot be read or written: disk full, read-only, corrupt, too new
    ├── PluginError               a plugin cannot be loaded or breaks its contract
    ├── LabError                  the laboratory cannot do what Terraform or a person asked
    └── AttemptError              why one attempt did not succeed; raised by kinds
        ├── TemporaryError        may work when tried again
        │   └── HeldBackError     was not tried at all: its endpoint failed too often in a row
        ├── PermanentError        will not work when tried again
        └── CancelledError        was told to end, and ended

Who can act decides the form: a plan's author gets diagnostics, a plugin's author raises the two attempt errors,
a caller of the Python API catches `DrystoneError`. Foreign errors are turned into these where they enter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drystone.core.diagnostics import Diagnostic


class FailureClass(StrEnum):
    """Why an attempt did not succeed (DESIGN §4.8); retries name these."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    CONFLICT = "conflict"
    REFUSED = "refused"
    INVALID = "invalid"
    FAILED = "failed"
    """It ran and said no."""
    CRASHED = "crashed"
    """It could not run, or died on the way."""
    CANCELLED = "cancelled"


class DrystoneError(Exception):
    """The base of all errors. `hint` is the next step for the person who reads it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PlanError(DrystoneError):
    """The plan does not compile. `diagnostics` holds every mistake found."""

    def __init__(self, message: str, *, diagnostics: Sequence[Diagnostic], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = tuple(diagnostics)


class InputError(DrystoneError):
    """Inputs do not fit the plan's schema, or are missing. `problems` has one line for each."""

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class ProjectError(DrystoneError):
    """The project folder, its settings or one of its files cannot be used."""


class NotFoundError(DrystoneError):
    """Nothing has that name or id."""


class RefusedError(DrystoneError):
    """What was asked does not fit the state that things are in."""


class LockedError(RefusedError):
    """Somebody else holds what is needed. `owner` says who, `since` when they took it."""

    def __init__(self, message: str, *, owner: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.owner = owner


class StoreError(DrystoneError):
    """The store cannot do what it must; nothing that was reported is lost."""


class PluginError(DrystoneError):
    """A plugin cannot be loaded, or does not keep its contract. `plugin` names it."""

    def __init__(self, message: str, *, plugin: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.plugin = plugin


class LabError(DrystoneError):
    """The laboratory cannot do what was asked: the request does not fit it, or this machine refuses."""


class AttemptError(DrystoneError):
    """Why one attempt did not succeed. Kinds raise one of its subclasses.

    failure_class: decides, with the task's `retry.on`, whether it is tried again.
    changed:       False only when it is certain that the attempt changed nothing: then there is nothing to undo.
    detail:        more lines for a person: the end of the tool's own output.
    result:        JSON facts about the attempt, as an `Outcome` has them: `tasks.NAME.result` of a task that failed.
    """

    permanent = False

    def __init__(
        self,
        failure_class: FailureClass | str,
        message: str,
        *,
        retry_in: timedelta | None = None,
        changed: bool = True,
        detail: str = "",
        hint: str = "",
        result: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.failure_class = FailureClass(failure_class)
        self.result = dict(result or {})
        self.retry_in = retry_in
        self.changed = changed
        self.detail = detail


class TemporaryError(AttemptError):
    """It may work when tried again; `retry_in` is the least time to wait."""


class HeldBackError(TemporaryError):
    """The attempt went no further than the circuit breaker of its endpoint (DESIGN §4.8): it is no attempt, and uses up no retry."""

    def __init__(self, message: str, *, retry_in: timedelta) -> None:
        super().__init__(FailureClass.UNREACHABLE, message, retry_in=retry_in, changed=False)


class PermanentError(AttemptError):
    """It will not work when tried again: retries are not used."""

    permanent = True


class CancelledError(AttemptError):
    """The attempt was told to end (cancel, deadline of the run), and ended."""

    permanent = True

    def __init__(self, message: str = "cancelled", *, changed: bool = True, detail: str = "") -> None:
        super().__init__(FailureClass.CANCELLED, message, changed=changed, detail=detail)
