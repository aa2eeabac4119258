"""One attempt from its config to its end: render, check, run the kind, and put what came of it into words that can be stored.

Every engine performs attempts through `Performer.perform`, in a thread or in a worker process of its own. It never raises:
whatever a kind does, the answer is an `Ended`.
"""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drystone.core import codec, durations, values
from drystone.core.parts import Part, part_of
from drystone.core.plan import Body, Poll, Task, UndoMode
from drystone.core.run import Instance, Run, scope_of
from drystone.core.saved_preview import SavedPart, digest_of
from drystone.engines.breaker import Breakers
from drystone.engines.context import AttemptContext, Control, no_sub_plans
from drystone.engines.ended import Ended, ended_badly, ended_well, explained
from drystone.engines.layout import Layout
from drystone.engines.previewed import Previewed, bound_now
from drystone.engines.standing import GoodOf, ManifestOf, is_same, reason_to_leave
from drystone.engines.vault import Vault
from drystone.engines.versions import StandingOf, Version, Versions
from drystone.errors import DrystoneError, FailureClass, PermanentError, TemporaryError
from drystone.plugin.api import Config, Kind, Outcome, Pause, SubPlans
from drystone.plugin.registry import Registry
from drystone.ports import Forks, Process


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An attempt to be made.

    after_loss:    the attempt before it was lost: the kind looks at the world first.
    after_failure: the attempt before it failed: the task's remedy comes first.
    bundle:        the run's; empty without one.
    previous:      what the attempt before it told when it failed (`plugin.api.Context.previous`).
    label:         what the state of the run's instances is kept under (`core.parts.label`); the plan's name unless given.
    """

    run: Run
    instance: str
    attempt: int
    token: str
    undo: bool
    after_loss: bool
    after_failure: bool
    project: Path
    bundle: str = ""
    label: str = ""
    previous: Mapping[str, Any] = field(default_factory=dict)


class Performer:
    """Makes attempts. One for each engine; `perform` is called from many threads at once."""

    def __init__(
        self,
        *,
        registry: Registry,
        process: Process,
        layout: Layout,
        environ: Mapping[str, str],
        breakers: Breakers,
        standing_of: StandingOf,
        forks: Forks | None = None,
        good_of: GoodOf = lambda run: None,
        manifest_of: ManifestOf = lambda bundle: None,
        sub_plans: Callable[[Part, AttemptContext], SubPlans] = lambda part, ctx: no_sub_plans(ctx),
        tree_of: Callable[[str, Path], Path | None] = lambda bundle, root: None,
    ) -> None:
        """`tree_of`: lays out a bundle of a project's root; None when it is not there."""
        self._registry = registry
        self._process = process
        self._layout = layout
        self._environ = dict(environ)
        self._breakers = breakers
        self._standing_of = standing_of
        self._forks = forks
        self._begun: set[str] = set()
        self._good_of, self._manifest_of = good_of, manifest_of
        self._sub_plans = sub_plans
        self._tree_of = tree_of
        self._previewed = Previewed(layout)

    def is_inline(self, run: Run, id_: str, *, undo: bool) -> bool:
        """True when the attempt never blocks, so that no thread is needed for it."""
        task = run.task_of(run.instances[id_])
        if task.undo.goes_back_to_versions:
            return False  # it keeps versions, and waits for the disk
        if run.manner.preview and not undo:
            return False  # what the preview said of it is read
        if not undo and (task.poll is not None or task.remedy is not None):
            return False
        body = _body(run, run.instances[id_], undo=undo)
        try:
            kind = self._registry.get(body.kind)
            # On the way back a pause is sat out.
            return kind.is_inline(body.config) and not (undo and kind.pauses)
        except DrystoneError:
            return False

    def is_idempotent(self, run: Run, id_: str) -> bool:
        """True when an attempt of unknown end may simply be made again."""
        body = run.task_of(run.instances[id_]).body
        return self._registry.get(body.kind).is_idempotent(body.config)

    def perform(
        self, job: Job, vault: Vault, control: Control, on_progress: Callable[[str, Mapping[str, Any]], None]
    ) -> Ended:
        """Makes the attempt, to its end."""
        self._begins(job, vault, control)
        ctx = self._context(job, vault, control, on_progress)
        try:
            return self._attempt(job, vault, ctx)
        # A stranger's kind may raise anything; what would end this thread would leave the run waiting for ever.
        except BaseException as error:
            return ended_badly(explained(error, ctx), ctx)
        finally:
            ctx.close()

    def _begins(self, job: Job, vault: Vault, control: Control) -> None:
        """With the first attempt of a run kinds get ready for those to come, while tasks before them are at work."""
        if self._forks is None or job.run.id in self._begun or job.run.manner.changed_only:
            return
        self._begun.add(job.run.id)
        ctx = self._context(job, vault, Control(control.clock, None), lambda message, data: None)
        threading.Thread(target=self._get_ready, args=(job.run, ctx), daemon=True, name="warm-up").start()

    def _get_ready(self, run: Run, ctx: AttemptContext) -> None:
        bodies = [body for node in run.graph.nodes.values() for body in (node.task.body, node.task.undo.body) if body is not None]
        for name in {body.kind for body in bodies}:
            # What is wrong is told by the attempt that meets it.
            with suppress(Exception):
                if (warm_up := getattr(self._registry.get(name), "warm_up", None)) is not None:
                    warm_up(ctx, [body.config for body in bodies if body.kind == name and isinstance(body.config, Mapping)])
        ctx.close()

    def _attempt(self, job: Job, vault: Vault, ctx: AttemptContext) -> Ended:
        instance = job.run.instances[job.instance]
        body = _body(job.run, instance, undo=job.undo)
        task = job.run.task_of(instance)
        scope = _scope(job, instance, vault)
        kind = self._registry.get(body.kind)
        if not job.undo and (left := self._left(job, kind, scope, vault, ctx)) is not None:
            return left
        rendered = values.render(body.config, scope)
        config = checked_config(kind, body, rendered)
        ctx.control.check()
        ctx.has_begun = True
        if job.after_loss and (recover := getattr(kind, "recover", None)) is not None:
            recover(ctx, config)
        if job.undo:
            outcome = self._undone(job, kind, config, vault, ctx)
        else:
            if job.after_failure and task.remedy is not None:
                ctx.is_unhindered = True
                self._remedy(task.remedy, scope, ctx)
            ctx.is_unhindered, ctx.has_tried = task.poll is not None, False
            if (question := self._previewed.gate(job.run, job.instance, kind, config, rendered, ctx)) is not None:
                outcome = Outcome(changed=False, pause=question)
            else:
                outcome = kind.run(ctx, config) if task.poll is None else polled(kind, config, task.poll, scope, ctx)
        if outcome.pause is not None and job.undo:
            _sit_out(outcome.pause, ctx)
        ended = ended_well(_bound(outcome, job), kind, vault, ctx)
        if not job.undo and ended.pause is None and _keeps_versions(task, kind):
            self._keep(job, instance, rendered, ended, vault)
        return ended

    def _left(self, job: Job, kind: Kind, scope: Mapping[str, Any], vault: Vault, ctx: AttemptContext) -> Ended | None:
        """What is left as it stands, with what the last good run says that it gave; None when it is to be done."""
        run, instance = job.run, job.run.instances[job.instance]
        if run.manner.only is None and not run.manner.changed_only:
            return None
        if (good := self._good_of(run)) is None or job.instance not in good.run.instances:
            return None
        config = run.task_of(instance).body.config

        def same() -> bool:
            before = good.run.instances[job.instance]
            old = replace(job, run=good.run, bundle=good.bundle)
            then = (good.run.task_of(before).body.config, _scope(old, before, vault), good.bundle)
            return is_same(kind, (config, scope, job.bundle), then, ctx.source, self._manifest_of)

        if not (reason := reason_to_leave(good, run, instance, same)):
            return None
        known = good.run.instances[job.instance]
        ctx.log(reason)
        stands = known.stands or good.run.id
        return Ended(outputs=known.outputs, result=known.result, changed=False, stands=stands, reason=reason, has_log=True)

    def _undone(self, job: Job, kind: Kind, config: Config, vault: Vault, ctx: AttemptContext) -> Outcome:
        """Takes a task back: by the body that its undo names (`kind` is its kind), by the kind's own undo, or by its last good version."""
        instance = job.run.instances[job.instance]
        task = job.run.task_of(instance)
        if instance.undo.mode is UndoMode.BODY:
            return self._undone_by_body(job, kind, config, vault, ctx)
        own: Callable[[AttemptContext, Config], Outcome] | None = getattr(kind, "undo", None)
        if job.run.destroys and (taken_away := getattr(kind, "destroy", own)) is not None:
            outcome = taken_away(ctx, config)
            self._versions_of(job).forget()
            return outcome
        if own is not None and not _keeps_versions(task, kind):
            return own(ctx, config)
        versions = self._versions_of(job)
        version = versions.before(job.run.id, has_applied=instance.has_succeeded)
        if version is not None:
            outcome = self._applied_again(job, version, vault, ctx)
        elif own is not None:
            outcome = own(ctx, config)
        else:
            message = f'there is no earlier version of {instance.id} to go back to, and kind "{kind.name}" has no undo of its own'
            hint = "take it back by hand, or bring it to what you want by a run with the inputs that you want"
            raise PermanentError(FailureClass.REFUSED, message, changed=False, hint=hint)
        versions.take_back(job.run.id)
        return outcome

    def _undone_by_body(self, job: Job, kind: Kind, config: Config, vault: Vault, ctx: AttemptContext) -> Outcome:
        """By the body of its undo; but what earlier runs made is brought back to its last good version where the plan says so."""
        instance = job.run.instances[job.instance]
        versions = self._versions_of(job)
        if job.run.destroys:
            outcome = kind.run(ctx, config)
            versions.forget()
            return outcome
        if not job.run.task_of(instance).undo.goes_back_to_versions:
            return kind.run(ctx, config)
        version = versions.before(job.run.id, has_applied=instance.has_succeeded)
        outcome = kind.run(ctx, config) if version is None else self._applied_again(job, version, vault, ctx)
        versions.take_back(job.run.id)
        return outcome

    def _applied_again(self, job: Job, version: Version, vault: Vault, ctx: AttemptContext) -> Outcome:
        ctx.emit(f"the version of run {version.run} is applied again")
        ctx.bundle = version.bundle
        body = job.run.task_of(job.run.instances[job.instance]).body
        kind = self._registry.get(body.kind)
        return kind.run(ctx, checked_config(kind, body, vault.open_config(version.config)))

    def _keep(self, job: Job, instance: Instance, rendered: Any, ended: Ended, vault: Vault) -> None:
        changed = ended.changed or any(attempt.changed for attempt in instance.attempts[:-1])
        try:
            version = Version(run=job.run.id, config=vault.seal_config(rendered), changed=changed, bundle=job.bundle)
            self._versions_of(job).keep(version)
        except (OSError, DrystoneError) as error:
            message = f"it was done, but what was done cannot be kept as a version to go back to: {error}"
            hint = "see that the project's .drystone folder can be written and that the disk has room, then run again"
            raise PermanentError(FailureClass.CRASHED, message, hint=hint) from error

    def _versions_of(self, job: Job) -> Versions:
        run = job.run
        folder = self._layout.versions(run.environment, job.label or run.graph.plan.name, job.instance)
        return Versions(folder=folder, standing_of=self._standing_of)

    def _remedy(self, body: Body, scope: Mapping[str, Any], ctx: AttemptContext) -> None:
        ctx.emit(f"remedy: {body.kind}")
        kind = self._registry.get(body.kind)
        before, ctx.previous = ctx.previous, {}
        if (pause := kind.run(ctx, _config(kind, body, scope)).pause) is not None:
            _sit_out(pause, ctx)
        ctx.previous = before

    def _context(
        self, job: Job, vault: Vault, control: Control, on_progress: Callable[[str, Mapping[str, Any]], None]
    ) -> AttemptContext:
        run, plan, layout = job.run, job.run.graph.plan.name, self._layout
        label = job.label or plan
        marks = {
            "DRYSTONE_RUN": run.id,
            "DRYSTONE_TASK": job.instance,
            "DRYSTONE_ATTEMPT": str(job.attempt),
            "DRYSTONE_TOKEN": job.token,
        }
        return AttemptContext(
            run_id=run.id,
            plan=plan,
            task=job.instance,
            attempt=job.attempt,
            token=job.token,
            environment=run.environment or "",
            project=job.project,
            folder=lambda: layout.attempt(run.id, job.instance, job.attempt, undo=job.undo),
            state_folder=lambda: layout.state(run.environment, label, job.instance),
            artifacts_folder=lambda: layout.artifacts(run.id),
            environ={**self._environ, **marks},
            control=control,
            vault=vault,
            runner=self._process,
            on_progress=on_progress,
            breakers=self._breakers,
            forks=self._forks,
            bundle=job.bundle,
            tree_of=lambda bundle: self._tree_of(bundle, job.project),
            approved=run.instances[job.instance].approved,
            previous=job.previous,
            sub_plans=lambda ctx: self._sub_plans(part_of(run, run.instances[job.instance], undo=job.undo), ctx),
        )

    def bound_now(
        self, plan: str, environment: str | None, id_: str, part: SavedPart, *, project: Path, vault: Vault, control: Control
    ) -> Mapping[str, str] | None:
        """What a preview of an instance rests on in the world, as it is now; None when its kind cannot say. Raises AttemptError."""
        kind = self._registry.get(part.kind)
        if getattr(kind, "bound", None) is None:
            return None
        folder = self._layout.of_preview(self._layout.preview("@now"), id_)
        ctx = AttemptContext(
            run_id="preview",
            plan=plan,
            task=id_,
            attempt=1,
            token="preview",
            environment=environment or "",
            project=project,
            folder=lambda: folder,
            state_folder=lambda: self._layout.state(environment, plan, id_),
            artifacts_folder=lambda: folder / "artifacts",
            environ=self._environ,
            control=control,
            vault=vault,
            runner=self._process,
            on_progress=lambda message, data: None,
            breakers=self._breakers,
        )
        try:
            return bound_now(kind, kind.Config.model_validate(part.config), ctx)
        finally:
            ctx.close()
            shutil.rmtree(folder, ignore_errors=True)

    def end_orphans(self, run: Run, id_: str, number: int, *, undo: bool) -> int:
        """Ends the child processes that a dead drystone left in this attempt; how many there were."""
        folder = self._layout.attempt(run.id, id_, number, undo=undo)
        return sum(self._process.end_orphan(record) for record in sorted(folder.glob("process-*.json")))

    def close(self) -> None:
        """Lets the kinds let go of their daemons."""
        self._registry.close()
        if self._forks is not None:
            self._forks.close()


def _body(run: Run, instance: Instance, *, undo: bool) -> Body:
    task = run.task_of(instance)
    return task.undo.body if undo and task.undo.body is not None else task.body


def _scope(job: Job, instance: Instance, vault: Vault) -> dict[str, Any]:
    """What the expressions see, with real secrets: only this attempt, in memory, has them."""
    run = job.run
    node = run.graph.nodes[instance.task]
    # A task under `finally` may look at every other, without an edge.
    names = run.views.keys() if node.task.closing else {*node.needs, *((instance.task,) if job.undo else ())}
    tasks = {name: vault.reveal_view(run.views[name]) for name in names if name in run.views}
    inputs = vault.reveal(run.inputs)
    return scope_of(run, instance, inputs=inputs, tasks=tasks, secrets=vault.names(), attempt=job.attempt)


def polled(kind: Kind, config: Config, poll: Poll, scope: Mapping[str, Any], ctx: AttemptContext) -> Outcome:
    """Does the kind's work again and again until the condition is true; what may pass by itself counts as not yet.

    Raises TemporaryError(timeout) when the poll's time is up, with the last reason.
    """
    limit = Control(ctx.control.clock, poll.timeout)
    for number in itertools.count(1):
        reason = "the condition is not true yet"
        try:
            outcome = kind.run(ctx, config)
            if outcome.pause is not None:
                return outcome
            result = {"changed": outcome.changed, **outcome.result, **(outcome.outputs if isinstance(outcome.outputs, Mapping) else {})}
            if values.condition(poll.until, {**scope, "result": result}):
                return outcome
        except TemporaryError as error:
            ctx.check()
            reason = error.message
        if poll.timeout is not None and (limit.remaining or timedelta()) <= poll.every:
            raise TemporaryError(FailureClass.TIMEOUT, f"not there after {durations.to_text(poll.timeout)}: {reason}")
        ctx.emit(f"try {number}: {reason}; the next in {durations.to_text(poll.every)}")
        ctx.wait(poll.every)
    raise AssertionError("count never ends")


def _keeps_versions(task: Task, kind: Kind) -> bool:
    """Whether what it applies is kept to be gone back to. A kind that restores by itself keeps that itself."""
    return task.undo.goes_back_to_versions and not kind.restores


def _config(kind: Kind, body: Body, scope: Mapping[str, Any]) -> Config:
    return checked_config(kind, body, values.render(body.config, scope))


def checked_config(kind: Kind, body: Body, rendered: Any) -> Config:
    try:
        return kind.Config.model_validate({} if rendered is None else rendered)
    except ValidationError as error:
        # Pydantic would print the value too, which may be a secret.
        problems = [f"{'.'.join(map(str, item['loc'])) or body.kind}: {item['msg']}" for item in error.errors()]
        message = f"{body.kind} cannot use this config: {'; '.join(problems)}"
        raise PermanentError(FailureClass.INVALID, message, changed=False, hint=f"see {body.where}") from None


def _sit_out(pause: Pause, ctx: AttemptContext) -> None:
    """A pause where the run cannot wait: in an undo and in a remedy only time is waited for, and by the attempt itself."""
    if pause.approval is not None or pause.run is not None:
        raise PermanentError(FailureClass.INVALID, "an undo or a remedy cannot wait for a person", changed=False)
    ctx.wait(pause.duration or max(timedelta(), (pause.until or ctx.control.clock.now()) - ctx.control.clock.now()))


def _bound(outcome: Outcome, job: Job) -> Outcome:
    """A question says what a yes is for: the saved preview, else what the run rests on, its bundle and its inputs as they are stored."""
    pause = outcome.pause
    if pause is None or pause.approval is None or pause.approval.digest:
        return outcome
    # Secrets are handles there, which tell nothing about them.
    digest = job.run.manner.preview or digest_of([job.bundle, json.loads(codec.pack(job.run.inputs))])
    return replace(outcome, pause=replace(pause, approval=replace(pause.approval, digest=digest)))
