"""What taking an environment down would do, before anybody is asked: kinds that can tell look at what stands; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drystone.app import environments
from drystone.app.environments import Content, Part
from drystone.app.previews import AT_ONCE
from drystone.app.world import World
from drystone.core import values, way_back
from drystone.core.foresight import Question
from drystone.core.parts import label, lineage
from drystone.core.plan import UndoMode
from drystone.core.preview import Action, Preview
from drystone.core.run import Instance, scope_of
from drystone.errors import AttemptError, DrystoneError, FailureClass, RefusedError

if TYPE_CHECKING:
    from drystone.app.world import Foreseer, Vault


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What becomes of one instance.

    how:     in a few words, such as `by ansible`.
    stays:   it cannot be undone.
    preview: what its kind would take away; None when only the attempt will tell.
    reason:  why it cannot be looked at now.     refused: why the attempt would be refused; then nothing is taken down.
    """

    plan: str
    instance: Instance
    how: str
    stays: bool = False
    preview: Preview | None = None
    reason: str = ""
    refused: str = ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        changes = self.preview.changes if self.preview is not None else ()
        return {
            "id": self.instance.id,
            "plan": self.plan,
            "kind": self.instance.kind,
            "how": self.how,
            "stays": self.stays,
            "summary": self.preview.summary if self.preview is not None else None,
            "changes": [{"action": change.action.value, "what": change.what, "detail": change.detail} for change in changes],
            "reason": self.reason or None,
            "refused": self.refused or None,
        }


@dataclass(frozen=True, kw_only=True)
class Destruction:
    """The whole preview, in the order in which things go."""

    environment: str
    removals: Sequence[Removal]

    @property
    def count(self) -> int:
        """Resources that would be destroyed, as far as that is known."""
        changes = (change for item in self.removals if item.preview is not None for change in item.preview.changes)
        return sum(change.action in (Action.DESTROY, Action.REPLACE) for change in changes)

    @property
    def summary(self) -> str:
        """The last line."""
        known = [item for item in self.removals if item.preview is not None]
        unseen = [item for item in self.removals if item.reason]
        staying = [item for item in self.removals if item.stays]
        refused = [item for item in self.removals if item.refused]
        others = len(self.removals) - len(known) - len(unseen) - len(staying) - len(refused)
        parts = [f"{self.count} to destroy in {_many(len(known), 'task')}"] if known else []
        parts += [f"{_many(others, 'task')} undone by what the plan says"] if others else []
        parts += [f"{len(unseen)} not to be looked at now"] if unseen else []
        parts += [f"{len(staying)} staying"] if staying else []
        parts += [f"{len(refused)} refused"] if refused else []
        return " · ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """One line of `drystone env destroy --json`, before the events."""
        tasks = [item.to_json() for item in self.removals]
        return {"type": "preview", "environment": self.environment, "summary": self.summary, "destroy": self.count, "tasks": tasks}


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def preview(world: World, content: Content) -> Destruction:
    """Asks for all that stands. What cannot be looked at says why, and is taken down all the same."""
    removals = [item for part in environments.parts(content) for item in _of_part(world, part)]
    return Destruction(environment=content.environment.name, removals=removals)


def check(found: Destruction) -> None:
    """Raises RefusedError when an attempt would be refused: better before the first one than after half of them."""
    refused = [item for item in found.removals if item.refused]
    if refused:
        reasons = "; ".join(f"{item.instance.id}: {item.refused}" for item in refused)
        raise RefusedError(f"nothing was taken down: {reasons}", hint="what a task's guards protect goes after a run with looser ones")


def check_unmoved(world: World, content: Content) -> None:
    """Raises LockedError or RefusedError when a run has changed the environment while somebody thought about the answer."""
    now = environments.content(world, content.environment.name)
    environments.check_free(world, now.environment)
    if _standing(now) != _standing(content):
        raise RefusedError(
            f'environment "{content.environment.name}" was changed since it was looked at: nothing was taken down', hint="look again"
        )


def _standing(content: Content) -> set[tuple[str, str]]:
    return {(item.look.run.id, item.instance.id) for item in content.standing}


def _of_part(world: World, part: Part) -> Sequence[Removal]:
    run, record = part.look.run, part.look.record
    waves = way_back.undo_waves(run.graph)
    order = {name: number for number, wave in enumerate(waves) for name in wave}
    instances = sorted(part.instances, key=lambda item: order.get(item.task, len(order)))
    vault = world.vault()
    plan = label(lineage(record, world.journal().record))
    foreseer = world.foreseer(world.ids.run_id(), plan, run.environment, Path(record.root), record.bundle, vault)
    try:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="preview") as pool:
            return list(pool.map(lambda instance: _of_instance(part, instance, foreseer, vault), instances))
    finally:
        foreseer.close()


def _of_instance(part: Part, instance: Instance, foreseer: Foreseer, vault: Vault) -> Removal:
    run = part.look.run
    node = run.graph.nodes[instance.task]
    how = way_back.undo_text(node).removesuffix(", also when it failed")
    removal = partial(Removal, plan=part.look.record.plan, instance=instance, how=how)
    if instance.undo.mode in way_back.STAYS:
        return removal(stays=True)
    if instance.undo.mode is UndoMode.BODY:
        return removal()
    try:
        scope = _scope(part, instance, vault)
        config = values.render(node.task.body.config, scope)
        return removal(preview=foreseer.to_destroy(Question(id=instance.id, task=node.task, config=config, scope=scope)))
    except AttemptError as error:
        message = vault.mask(error.message)
        return removal(refused=message) if error.failure_class is FailureClass.REFUSED else removal(reason=message)
    except (values.ExpressionError, DrystoneError) as error:
        return removal(reason=vault.mask(str(error)))


def _scope(part: Part, instance: Instance, vault: Vault) -> Mapping[str, Any]:
    """What the expressions of the task saw in that run, with real secrets."""
    run = part.look.run
    needs = run.graph.nodes[instance.task].needs
    tasks = {name: vault.reveal(run.views[name]) for name in (*needs, instance.task) if name in run.views}
    return scope_of(run, instance, inputs=vault.reveal(run.inputs), tasks=tasks, secrets=vault.names(), attempt=1)
