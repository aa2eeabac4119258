"""Drift: how the world differs from what the last good version of each task made of it. Nothing is changed by looking.

    what stands -> the config, files and values that it was made from -> the kind looks at the world -> a finding -> less what is ignored

The environment is locked meanwhile, so that no run changes it under the eyes of who looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drystone.app import drift_rules, environments, reading
from drystone.app.drift_rules import Difference
from drystone.app.environments import CLAIM, TAKEN_BACK, Standing
from drystone.app.reading import Look
from drystone.app.world import World
from drystone.core import codec, values
from drystone.core.diagnostics import did_you_mean
from drystone.core.foresight import Question
from drystone.core.parts import KIND, label, lineage
from drystone.core.plan import UndoMode
from drystone.core.preview import Certainty, Change, Preview
from drystone.core.run import Instance, scope_of
from drystone.errors import AttemptError, DrystoneError, FailureClass, NotFoundError
from drystone.settings import IgnoreRule

if TYPE_CHECKING:
    from drystone.app.world import Foreseer, Vault


class Verdict(StrEnum):
    """What became of a task. FAILED: the look itself went wrong. UNCHECKED: its kind cannot tell."""

    AS_IT_WAS = "as_it_was"
    DRIFTED = "drifted"
    IGNORED = "ignored"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    UNCHECKED = "unchecked"


SAID: Mapping[Verdict, str] = {
    Verdict.UNREACHABLE: "cannot be reached",
    Verdict.FAILED: "could not be looked at",
    Verdict.IGNORED: "ignored",
    Verdict.UNCHECKED: "cannot be checked",
}
"""How they are counted on the last line."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was seen of one instance.

    differences: what a run would put back, each with the rule that ignores it, if any.
    outside:     what somebody has changed and no run would put back.
    unseen:      parts of it that could not be reached: host -> reason.
    """

    standing: Standing
    verdict: Verdict
    summary: str = ""
    reason: str = ""
    differences: Sequence[Difference] = ()
    outside: Sequence[Change] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Of the instance."""
        return self.standing.instance.id

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        record = self.standing.look.record
        return {
            "id": self.id,
            "task": self.standing.instance.task,
            "kind": self.standing.instance.kind,
            "plan": record.plan,
            "run": record.id,
            "bundle": record.bundle,
            "verdict": self.verdict.value,
            "summary": self.summary,
            "reason": self.reason or None,
            "changes": [
                {**_change_to_json(item.change), "ignored": None if item.rule is None else _rule_to_json(item.rule)}
                for item in self.differences
            ],
            "outside": [_change_to_json(change) for change in self.outside],
            "unreachable": dict(self.unseen),
        }


def _change_to_json(change: Change) -> dict[str, Any]:
    return {"action": change.action.value, "what": change.what, "detail": change.detail, "attributes": list(change.attributes)}


def _rule_to_json(rule: IgnoreRule) -> dict[str, str]:
    texts = {name: getattr(rule, name) for name in ("environment", "task", "address", "attribute", "reason")}
    return {**texts, "until": rule.until.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings, in the order of the runs' graphs. `expired`: rules for this environment whose day is over."""

    environment: str
    at: datetime
    findings: Sequence[Finding]
    expired: Sequence[IgnoreRule] = ()

    def count(self, verdict: Verdict) -> int:
        """How many tasks are so."""
        return sum(item.verdict is verdict for item in self.findings)

    @property
    def has_drift(self) -> bool:
        """True when something has drifted, or cannot be reached."""
        return any(item.verdict in (Verdict.DRIFTED, Verdict.UNREACHABLE) for item in self.findings)

    @property
    def summary(self) -> str:
        """The last line."""
        total = len(self.findings)
        parts = [f"{self.count(Verdict.DRIFTED)} task{'' if self.count(Verdict.DRIFTED) == 1 else 's'} of {total} drifted"]
        parts += [f"{number} {said}" for verdict, said in SAID.items() if (number := self.count(verdict))]
        return " · ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The document that `drystone env drift --json` prints."""
        return {
            "format": 1,
            "environment": self.environment,
            "checked_at": codec.to_text(self.at),
            "tasks": [item.to_json() for item in self.findings],
            "expired": [_rule_to_json(rule) for rule in self.expired],
            "summary": {"text": self.summary, "drift": self.has_drift, "tasks": len(self.findings)}
            | {verdict.value: self.count(verdict) for verdict in Verdict},
        }


def check(world: World, name: str, *, tasks: Sequence[str] = ()) -> Report:
    """Looks at what stands in an environment, or at these tasks and instances of it.

    Raises NotFoundError when there is no such environment or task, LockedError while a run has the environment.
    """
    environment = environments.find(world, name)
    environments.check_free(world, environment)
    standing = _chosen(name, subjects(world, name), tasks)
    at = world.clock.now()
    rules = [rule for rule in world.drift().ignore if drift_rules.is_for(rule, name)]
    today = at.date()
    holding = [rule for rule in rules if rule.until >= today]
    findings = _looked_at(world, name, standing, holding) if standing else []
    return Report(environment=name, at=at, findings=findings, expired=[rule for rule in rules if rule.until < today])


def subjects(world: World, name: str) -> list[Standing]:
    """What stands in an environment, also what nothing undoes if it changes things; a task that is a plan is told by its parts."""
    looks = list(environments.runs_in(world, name))
    return [item for item in environments.standing_of(world, looks, _counts_in(world)) if item.instance.kind != KIND]


def _counts_in(world: World) -> Callable[[Look, Instance], bool]:
    def counts(look: Look, instance: Instance) -> bool:
        if instance.undo.mode is not UndoMode.NONE:
            return True
        # Of what cannot be undone, only the end of its run tells whether it stands.
        config = look.run.task_of(instance).body.config
        stands = look.run.destroys or look.run.status not in TAKEN_BACK
        return stands and isinstance(config, Mapping) and world.registry.get(instance.kind).changes_things(config)

    return counts


def _chosen(name: str, standing: Sequence[Standing], tasks: Sequence[str]) -> Sequence[Standing]:
    known = {word for item in standing for word in (item.instance.task, item.instance.id)}
    for task in tasks:
        if task not in known:
            hint = did_you_mean(task, known) or f"there are: {', '.join(sorted(known)) or 'none'}"
            raise NotFoundError(f'nothing of a task "{task}" stands in environment "{name}"', hint=hint)
    return [item for item in standing if not tasks or item.instance.task in tasks or item.instance.id in tasks]


# ---- looking ----------------------------------------------------------------------------------------------------------


def _looked_at(world: World, name: str, standing: Sequence[Standing], rules: Sequence[IgnoreRule]) -> list[Finding]:
    """Side by side: nothing changes, so no task has to wait for another."""
    vault = world.vault()
    newest = max((item.look for item in standing), key=lambda look: look.run.id)
    foreseers: list[Foreseer] = []
    jobs: list[Callable[[], Finding]] = []
    with environments.looking(world, name, newest.run.id) as stay:
        try:
            for look in {id(item.look): item.look for item in standing}.values():
                foreseers.append(_foreseer(world, look, vault))
                own = [item for item in standing if item.look is look]
                jobs += [partial(_finding, world, item, foreseers[-1], vault, rules) for item in own]
            found = _side_by_side(world, jobs, stay)
        finally:
            for foreseer in foreseers:
                foreseer.close()
    places = {(item.look.run.id, item.instance.id): number for number, item in enumerate(standing)}
    return sorted(found, key=lambda finding: places[finding.standing.look.run.id, finding.id])


def _side_by_side(world: World, jobs: Sequence[Callable[[], Finding]], stay: Callable[[], None]) -> list[Finding]:
    """stay: called again and again, so that the environment stays ours."""
    pool = ThreadPoolExecutor(world.drift().max_parallel, thread_name_prefix="drift")
    try:
        pending: set[Future[Finding]] = {pool.submit(job) for job in jobs}
        done: list[Finding] = []
        while pending:
            ended, pending = wait(pending, timeout=CLAIM.total_seconds() / 3, return_when=FIRST_COMPLETED)
            done += [future.result() for future in ended]
            stay()
        return done
    except BaseException:
        world.end_children()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _foreseer(world: World, look: Look, vault: Vault) -> Foreseer:
    record = look.record
    plan = label(lineage(record, world.journal().record))
    return world.foreseer(world.ids.run_id(), plan, look.run.environment, Path(record.root), record.bundle, vault)


def _finding(world: World, item: Standing, foreseer: Foreseer, vault: Vault, rules: Sequence[IgnoreRule]) -> Finding:
    """Never raises: what goes wrong with one task is a finding, too."""
    if not item.instance.is_in_place:
        return Finding(standing=item, verdict=Verdict.UNCHECKED, reason="no attempt of it ever succeeded")
    try:
        found = foreseer.look(_question(world, item, vault))
    except AttemptError as error:
        verdict = Verdict.UNREACHABLE if error.failure_class in (FailureClass.UNREACHABLE, FailureClass.TIMEOUT) else Verdict.FAILED
        return Finding(standing=item, verdict=verdict, reason=vault.mask(error.message))
    except DrystoneError as error:
        return Finding(standing=item, verdict=Verdict.FAILED, reason=vault.mask(error.message))
    except Exception as error:  # a stranger's kind may raise anything
        return Finding(standing=item, verdict=Verdict.FAILED, reason=vault.mask(f"{type(error).__name__}: {error}"))
    if found is None:
        reason = f"kind {item.instance.kind} cannot tell what has become of what it did"
        return Finding(standing=item, verdict=Verdict.UNCHECKED, reason=reason)
    return _judged(item, found, rules)


def _judged(item: Standing, found: Preview, rules: Sequence[IgnoreRule]) -> Finding:
    differences = drift_rules.sorted_out(found.changes, item.instance.id, rules)
    if any(difference.rule is None for difference in differences):
        verdict = Verdict.DRIFTED
    elif found.unseen:
        verdict = Verdict.UNREACHABLE
    elif found.certainty is not Certainty.EXACT:
        verdict = Verdict.FAILED
    else:
        verdict = Verdict.IGNORED if differences else Verdict.AS_IT_WAS
    return Finding(
        standing=item,
        verdict=verdict,
        summary=found.summary if differences else "",
        reason=found.reason,
        differences=differences,
        outside=found.outside,
        unseen=found.unseen,
    )


def _question(world: World, item: Standing, vault: Vault) -> Question:
    """What the attempt that made it was given, with real values."""
    instance, run = item.instance, item.look.run
    if instance.stands:
        # The run that left it alone has other values of its own, such as its id.
        run = reading.look(world, instance.stands).run
        instance = run.instances[instance.id]
    node = run.graph.nodes[instance.task]
    tasks = {name: vault.reveal(run.views[name]) for name in node.needs if name in run.views}
    inputs = vault.reveal(run.inputs)
    scope = scope_of(run, instance, inputs=inputs, tasks=tasks, secrets=vault.names(), attempt=len(instance.attempts))
    config = values.render(node.task.body.config, scope)
    return Question(id=instance.id, task=node.task, config=config, scope=scope)
