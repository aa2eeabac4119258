"""All that a plugin author imports: `Kind`, `Config`, `Context`, `Outcome`, the two errors and the supervised child process.

A kind is a class behind an entry point of the group `drystone.kinds`; the shipped ones use it as strangers do:

    class Motd(Kind):
        name = "motd"
        class Config(Config):
            text: str
        def run(self, ctx: Context, config: Config) -> Outcome:
            ctx.process(["tee", "/etc/motd"], stdin=config.text.encode())
            return Outcome(outputs={"length": len(config.text)})

`run` is called in a thread of its own, may block, and is given a config in which every expression is evaluated. One object of the
class serves all attempts of an engine, several at once: keep no state in it that is not guarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from drystone.core.opaque import UNKNOWN
from drystone.core.plan import UndoWhen
from drystone.core.preview import Action, Certainty, Change, Preview
from drystone.core.states import RunStatus
from drystone.errors import CancelledError, FailureClass, HeldBackError, PermanentError, TemporaryError
from drystone.ports import Preload

__all__ = [
    "UNKNOWN", "Action", "Approval", "CancelledError", "Certainty", "Change", "Config", "Context", "FailureClass", "HeldBackError",
    "KeptState", "Kind", "Outcome", "Pause", "PermanentError", "Preload", "Preview", "ProcessResult", "ReattachHandle", "SubPlans",
    "SubRun", "TemporaryError", "TerraformProvider", "UndoWhen",
]  # fmt: skip


class Config(BaseModel):
    """Base of a kind's config: unknown keys are errors, values are frozen. Its JSON Schema feeds `drystone schema`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A question to a person, answered by `drystone approve` or `drystone reject`.

    approvers:     who may answer: USER or USER@HOST; anybody when it is empty.
    self_approval: whether who started the run may answer too.
    on_timeout:    approve or reject: what no answer in time means.
    digest:        of what is approved, for the record; `Context.approved` gives it once somebody said yes.
    again:         a yes does not end the task: the kind is called once more.
    """

    message: str
    approvers: Sequence[str] = ()
    self_approval: bool = False
    on_timeout: str = "reject"
    digest: str = ""
    again: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """What an attempt that has done what it can waits for. Nobody works on it meanwhile, and a restart of drystone does not matter.

    duration, until: when the wait is over at the latest, whichever is given; without either not by itself.
    approval:        the question; its answer ends the task. Without one the task succeeds when the wait is over.
    run:             another run that it waits for: the kind is called again when somebody takes up this one.
    """

    duration: timedelta | None = None
    until: datetime | None = None
    approval: Approval | None = None
    run: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a successful attempt gave.

    outputs:   JSON; later tasks read it as `tasks.NAME.outputs`.
    result:    JSON facts about the attempt itself (counts, exit codes): `tasks.NAME.result`.
    changed:   False when nothing in the world is different now: then there is nothing to undo.
    sensitive: names of outputs that must never be shown; they are sealed before they are stored.
    pause:     set when the task has not ended yet but waits; then the rest does not count.
    """

    outputs: Any = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = True
    sensitive: frozenset[str] = frozenset()
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptState:
    """A state that a kind keeps of an instance between runs, as Terraform does.

    name:       tells several of one instance apart: the workspace; empty without.
    serial:     counts up with each change.     lineage: the same for the life of the state.
    is_current: it is the one of now, not an earlier one.
    text:       gives it, in clear.
    """

    name: str
    serial: int
    lineage: str
    is_current: bool
    text: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessResult:
    """How a child process ended. `stdout` and `stderr` hold at most the last `keep_bytes` of each, redacted unless asked raw."""

    exit_code: int
    stdout: str
    stderr: str
    why: str
    duration: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class SubRun:
    """The run of a sub-plan, when this attempt has done with it what it could.

    plan:      the name of its plan.
    status:    of the run; waiting means that only a person can move it on.
    outputs:   of the plan, with real values; those named in `sensitive` must be given on as such.
    changed:   it changed something, be it undone since.
    left:      it did not succeed, and something that it changed stands.
    task:      the instance that it failed for; empty when it was not for one.
    """

    id: str
    plan: str
    status: RunStatus
    outputs: Mapping[str, Any] = field(default_factory=dict)
    sensitive: frozenset[str] = frozenset()
    changed: bool = False
    left: bool = False
    task: str = ""
    failure_class: FailureClass = FailureClass.FAILED
    message: str = ""


class SubPlans(Protocol):
    """Runs plans as parts of the attempt's own run."""

    def run(self, inputs: Mapping[str, Any], *, name: str | None = None, path: str | None = None) -> SubRun:
        """Starts the run of this attempt, or goes on with it, until it ends or only a person can move it on.

        A run is never started twice for what attempts go on with (`core.parts`). When the attempt should end, the run is cancelled, and
        its end waited for. Raises PermanentError(invalid) when there is no such plan, it has mistakes, or the inputs do not fit;
        TemporaryError(conflict) when another run has its environment.
        """
        ...

    def undo(self) -> Sequence[SubRun]:
        """Takes back all that the task's attempts started, the newest first; stops at the first that could not be taken back.

        Raises PermanentError(refused) for a run that has passed its pivot.
        """
        ...


class Context(Protocol):
    """What an attempt knows and may do. Handed to `Kind.run` and `Kind.undo`."""

    run_id: str
    plan: str
    task: str
    """Instance id: `vm[0]`."""
    attempt: int
    """1 for the first try."""
    token: str
    """The same across retries and restarts of this instance: the idempotency token."""
    environment: str
    project: Path
    """Root of the plan's relative paths, as it is now. Read only."""
    environ: Mapping[str, str]
    """The environment to give to child processes."""

    @property
    def workspace(self) -> Path:
        """A fresh folder (0700) of this attempt; kept for the logs' sake, so leave no secrets in it."""
        ...

    @property
    def source(self) -> Path:
        """The project as it was when the run began: a read-only tree with the files of its bundle, in which links lead to all others.

        What a task runs (modules, playbooks, templates) is read from here; `path` does. It is `project` when the run has no bundle.
        """
        ...

    @property
    def saved(self) -> bytes | None:
        """`Preview.saved` of the preview that this attempt must do exactly; None without one."""
        ...

    @property
    def previous(self) -> Mapping[str, Any]:
        """`result` of the error that the attempt before this one ended with, when this is its retry; else nothing.

        A person who resumes a run starts anew: what attempts before that told does not count.
        """
        ...

    @property
    def approved(self) -> str:
        """The digest that a person approved for this task in this run; empty before."""
        ...

    def seal(self, value: Any) -> str:
        """A JSON value -> text that may be kept on disk: only this project's key opens it. Secrets of the run that are in it are noted."""
        ...

    def unseal(self, sealed: str) -> Any:
        """The reverse of `seal`; secrets that are in it are made known to the redactor."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The project's Ed25519 signature of the data, 64 bytes, for what others must be able to trust later."""
        ...

    def public_key(self) -> bytes:
        """The 32 bytes that check what `sign` gives."""
        ...

    def now(self) -> datetime:
        """The instant, in UTC."""
        ...

    @property
    def state(self) -> Path:
        """A folder (0700) of this instance in its environment, shared by all runs: Terraform state lives here."""
        ...

    @property
    def artifacts(self) -> Path:
        """The run's folder for files that people want to have."""
        ...

    @property
    def cancelled(self) -> bool:
        """True once the attempt should end: it was cancelled or its time is up."""
        ...

    @property
    def remaining(self) -> timedelta | None:
        """Time left for this attempt, never negative; None when it has no limit."""
        ...

    def wait(self, duration: timedelta) -> None:
        """Sleeps, but raises CancelledError or TemporaryError(timeout) as soon as the attempt should end."""
        ...

    def check(self) -> None:
        """Raises CancelledError, or TemporaryError(timeout), when the attempt should end."""
        ...

    def rest(self, rests: bool) -> bool:
        """Notes whether it only waits until a person has decided something. True once it should end with a pause: its process leaves."""
        ...

    @property
    def plans(self) -> SubPlans:
        """Runs plans as parts of this run. Raises PermanentError(refused) where that is not possible."""
        ...

    def log(self, line: str) -> None:
        """Adds a line to the attempt's log, redacted."""
        ...

    def emit(self, message: str, **data: Any) -> None:
        """Tells progress to those who watch: becomes a task.progress event, redacted."""
        ...

    def redact(self, value: str) -> None:
        """From now on `value` is a secret: it is replaced by *** in logs, events and messages of this run."""
        ...

    def endpoint(self, name: str) -> AbstractContextManager[None]:
        """The circuit breaker of a host or server, put around what may find it down: `with ctx.endpoint("ssh://web-1:22"): ...`.

        Raises HeldBackError on entering when the endpoint failed too often in a row, whichever task it was that failed. Let it pass: the
        attempt is made again when the endpoint may be tried, and uses up no retry. So enter before anything is changed.

        Leaving with an error of class unreachable, timeout or rate_limited counts as a failure. Leaving without one counts as an answer,
        as does an error that only somebody who is there can give (refused, conflict, failed). All else says nothing about the endpoint.
        """
        ...

    def path(self, relative: str) -> Path:
        """A path of the config against `source`. Raises PermanentError(invalid) when it does not exist."""
        ...

    def warm(self, preload: Preload) -> Sequence[str]:
        """What to put before the argv of a Python program so that it is forked from a process with its imports done, instead of started.

        Nothing when that cannot be had; the log says why. The process stays until the engine ends, for all attempts that ask for an equal
        one: nothing of an attempt may be in it.
        """
        ...

    def process(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        on_line: Callable[[str, str], None] | None = None,
        log: bool = True,
        grace: timedelta = timedelta(seconds=10),
        timeout: timedelta | None = None,
        keep_bytes: int = 1 << 20,
        raw: bool = False,
    ) -> ProcessResult:
        """Runs a supervised child: own session, SIGINT - grace - SIGKILL to all descendants, output streamed into the log.

        cwd:     `workspace` unless given.      env: added to `environ`; a value of "" sets the empty string.
        on_line: called with ("stdout" | "stderr", line) before redaction.     log: False keeps its output out of the log.
        timeout: a limit of its own besides the attempt's.                     raw: give stdout and stderr back unredacted.
        Any exit code returns. When it was ended because the attempt should end, raises CancelledError or TemporaryError(timeout)
        after the child is gone. Raises PermanentError(crashed) when the program is missing.
        """
        ...


class Kind:
    """Base of all kinds. A subclass that defines `undo` can be taken back with `undo: auto`."""

    name: ClassVar[str]
    Config: ClassVar[type[Config]]
    changes: ClassVar[bool] = True
    """It changes things in the world: a plan that does not say how to undo it gets a warning."""
    undo_when: ClassVar[UndoWhen] = UndoWhen.SUCCEEDED
    """ATTEMPTED for kinds whose failed attempt has changed something half-way."""
    idempotent: ClassVar[bool] = True
    """An attempt of unknown end (its process died) may simply be made again. If not, it goes to a person."""
    inline: ClassVar[bool] = False
    """It never blocks: it may run in the engine's own loop instead of a thread."""
    restores: ClassVar[bool] = False
    """Its own `undo` puts an update back to what was there before the run, and takes away only what the run made. If not, `undo: restore`
    is done by `run` with the config of the last good run."""
    pauses: ClassVar[bool] = False
    """Its outcome may be a pause."""
    asks: ClassVar[bool] = False
    """It pauses for a person's answer: where nobody can be waited for, a plan may not use it."""
    looks_at_world: ClassVar[bool] = False
    """Its preview looks at what tasks before it change (hosts, files), not only at its config: before they ran it may see too little."""
    outputs: ClassVar[tuple[str, ...] | None] = None
    """Names of its outputs when they are always the same: references are then checked before anything runs."""

    # The three questions below are asked with the config as the plan has it: a plain map, in which any value may still be an
    # expression (an object that is not JSON). They must not raise, whatever is in it.

    @classmethod
    def changes_things(cls, config: Mapping[str, Any]) -> bool:
        """Whether a task with this config changes things: `changes`, unless it depends on the config."""
        return cls.changes

    @classmethod
    def is_idempotent(cls, config: Mapping[str, Any]) -> bool:
        """Whether an attempt of unknown end may simply be made again: `idempotent`, unless it depends on the config."""
        return cls.idempotent

    @classmethod
    def is_inline(cls, config: Mapping[str, Any]) -> bool:
        """Whether a task with this config never blocks: `inline`, unless it depends on the config."""
        return cls.inline

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterable[Path]:
        """Files and folders of the project that an attempt with this config reads: they go into the run's bundle (DESIGN §4.9).

        source: the root of the project; what is given must be below it. A folder stands for all that is in it. Things that do not
        exist are left out. An expression of which only the beginning is known, `modules/{{ each.key }}`, comes as UNKNOWN; see
        `plugin.sources`.
        """
        return ()

    @classmethod
    def outline(cls, config: Mapping[str, Any], source: Path) -> Preview:
        """What can be said of an attempt while some values of its config are not known (UNKNOWN): a partial preview.

        Asks nobody and runs nothing. The caller adds for which values it waits.
        """
        changes = (Change(action=Action.RUN, what=cls.name),) if cls.changes_things(config) else ()
        return Preview(certainty=Certainty.PARTIAL, summary=f"would run {cls.name}", changes=changes, outputs=UNKNOWN, result=UNKNOWN)

    def run(self, ctx: Context, config: Any) -> Outcome:
        """One attempt. Raises TemporaryError or PermanentError when it does not succeed."""
        raise NotImplementedError

    # def undo(self, ctx: Context, config: Any) -> Outcome        # optional: takes back what `run` did with this config
    # def destroy(self, ctx: Context, config: Any) -> Outcome     # optional: takes away all that stands, whichever run made it
    # def recover(self, ctx: Context, config: Any) -> None        # optional: called before the attempt that follows a lost one
    # def preview(self, ctx: Context, config: Any) -> Preview     # optional: what `run` would do with this config; changes nothing
    # def warm_up(self, ctx: Context, configs: Sequence[Mapping[str, Any]]) -> None     # optional: a run begins which has tasks with these
    #     configs as the plan has them: time to start what they share. In a thread of its own, to which nobody listens.
    # def drift(self, ctx: Context, config: Any) -> Preview       # optional: how the world differs from what `run` made; changes nothing
    # def preview_destroy(self, ctx: Context, config: Any) -> Preview     # optional: what `destroy` would do; changes nothing
    # def states(self, folder: Path, unseal: Callable[[str], Any]) -> Sequence[KeptState]     # optional: the states that it keeps of an
    #     instance, whose `Context.state` is that folder, in the order in which they came to be; changes nothing

    def close(self) -> None:
        """The engine ends: let go of daemons and connections."""


class ReattachHandle(Protocol):
    """A running provider daemon. `environ` holds TF_REATTACH_PROVIDERS."""

    environ: Mapping[str, str]

    def close(self) -> None:
        """Ends the daemon, after the commands that use it have ended."""
        ...


class TerraformProvider(Protocol):
    """A Terraform provider that comes as a Python package, behind an entry point of the group `drystone.terraform_providers`."""

    source: str
    """Its address in `required_providers`, host included."""
    version: str

    def install(self, mirror: Path) -> None:
        """Puts its launcher into a filesystem mirror; atomic, and harmless when it is there."""
        ...

    def reattach(self, workdir: Path, environ: Mapping[str, str]) -> ReattachHandle:
        """Starts one daemon that serves many terraform commands; it ends with the process that started it."""
        ...
