"""Environments: what stands in them, who has them, taking them down, and taking a lock away from a run.

What stands is asked of the journal: an instance stands as long as a run that changed it was not taken back, and belongs to the newest run
that has it in place (DESIGN §1: the environment owns the last good version of each task).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from drystone.app import reading, runs
from drystone.app.reading import Look
from drystone.app.runs import Hand
from drystone.app.world import World
from drystone.core.events import Event, EventType
from drystone.core.parts import label, lineage
from drystone.core.plan import UndoMode
from drystone.core.run import Instance, evolve, request_destroy
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import LockedError, NotFoundError, RefusedError
from drystone.ports import Batch, LockInfo, RunSummary, owner_text

if TYPE_CHECKING:
    from drystone.plugin.hosts import Host

CLAIM = timedelta(minutes=1)
LOOKING = "drift"
"""The reason of the lock of one who looks and changes nothing."""
TAKEN_BACK = frozenset({RunStatus.COMPENSATING, RunStatus.COMPENSATED, RunStatus.COMPENSATION_FAILED})


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One of them, at a glance: its newest run, and who has it now."""

    name: str
    plans: Sequence[str]
    last: RunSummary
    lock: LockInfo | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """An instance that stands, and the newest run that has it in place."""

    instance: Instance
    look: Look
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Content:
    """What stands in an environment, in the order of its runs' graphs, the plan whose run is the newest first.

    outputs: plan -> outputs of its newest run that succeeded and stands.
    """

    environment: Environment
    standing: Sequence[Standing]
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def known(world: World) -> Sequence[Environment]:
    """All environments that a run was ever in, by name; none when nothing ever ran."""
    if not world.has_store():
        return ()
    journal = world.journal()
    found: dict[str, list[RunSummary]] = {}
    for summary in journal.summaries(limit=None):
        if summary.environment is not None and summary.parent is None:
            found.setdefault(summary.environment, []).append(summary)
    locks = {lock.environment: lock for lock in journal.locks()}
    return [
        Environment(name=name, plans=list(dict.fromkeys(item.plan for item in items)), last=items[0], lock=locks.get(name))
        for name, items in sorted(found.items())
    ]


def find(world: World, name: str) -> Environment:
    """Raises NotFoundError, with the names that there are."""
    reading.existing(world)
    everything = known(world)
    found = next((item for item in everything if item.name == name), None)
    if found is None:
        names = ", ".join(item.name for item in everything)
        raise NotFoundError(f'there is no environment "{name}"', hint=f"there are: {names}" if names else "no run was ever in one")
    return found


def content(world: World, name: str) -> Content:
    """What stands in an environment. Raises NotFoundError."""
    environment = find(world, name)
    looks = list(runs_in(world, name))
    standing = standing_of(world, looks, lambda look, instance: instance.undo.mode is not UndoMode.NONE)
    outputs: dict[str, Mapping[str, Any]] = {}
    for look in looks:
        if look.run.status is RunStatus.SUCCEEDED and any(item.look is look for item in standing):
            outputs.setdefault(look.record.plan, look.run.outputs)
    return Content(environment=environment, standing=standing, outputs=outputs)


def runs_in(world: World, name: str) -> Iterator[Look]:
    """The environment's runs that began, the newest first."""
    for summary in world.journal().summaries(environment=name, limit=None):
        if summary.started_at is not None:
            yield reading.look(world, summary.id)


def standing_of(world: World, looks: Sequence[Look], counts: Callable[[Look, Instance], bool]) -> list[Standing]:
    """What stands of an environment. `looks`: its runs, the newest first. `counts`: whether an instance of one is asked for at all."""
    facts: dict[tuple[str, str], list[tuple[Look, Instance]]] = {}
    for look in looks:
        # One sub-plan in two tasks is two things.
        own = label(lineage(look.record, world.journal().record))
        for instance in look.run.in_order():
            if instance.was_tried and not look.run.task_of(instance).closing and counts(look, instance):
                facts.setdefault((own, instance.id), []).append((look, instance))
    found = [item for some in facts.values() if (item := _stands(some)) is not None]
    places = {id(look): number for number, look in enumerate(looks)}
    return sorted(found, key=lambda item: places[id(item.look)])


def last_good(world: World, environment: str, plan: str) -> Look | None:
    """The newest run of a plan there that succeeded."""
    found = world.journal().summaries(plan=plan, environment=environment, limit=None)
    newest = next((item for item in found if item.status is RunStatus.SUCCEEDED), None)
    return None if newest is None else reading.look(world, newest.id)


def undone_since(world: World, environment: str, good: Look) -> frozenset[str]:
    """Instances of the plan that some run took back after the good one had ended: what it says of them does not hold any more."""
    ended = good.run.finished_at
    found = world.journal().summaries(plan=good.record.plan, environment=environment, limit=None)
    back = [item for item in found if item.status in TAKEN_BACK]
    later = [item.id for item in back if ended is None or item.finished_at is None or item.finished_at >= ended]
    taken_back = [reading.look(world, id_).run for id_ in later]
    return frozenset(instance.id for run in taken_back for instance in run.in_order() if instance.undo.attempts)


def _stands(facts: Sequence[tuple[Look, Instance]]) -> Standing | None:
    """facts: an instance in each run that tried it, the newest first."""
    kept: list[tuple[Look, Instance]] = []
    for look, instance in facts:
        if look.run.destroys and (instance.status is TaskStatus.UNDONE or instance.undo.mode is UndoMode.NONE):
            break  # whatever older runs made of it went with it
        kept.append((look, instance))
    makers = [item for item in kept if item[1].is_touched and item[1].status is not TaskStatus.UNDONE]
    if not makers:
        return None
    in_place = next((item for item in kept if item[1].is_in_place), makers[0])
    ends = [attempt.finished_at for attempt in makers[0][1].attempts]
    return Standing(instance=in_place[1], look=in_place[0], since=ends[-1] if ends else None)


# ---- taking down ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Part:
    """What of an environment is taken away through one run: those of its instances that later runs do not have."""

    look: Look
    instances: Sequence[Instance]


def parts(content: Content) -> Sequence[Part]:
    """In the order in which they go.

    Those of the plan that ran last go first. Of one plan, what only older runs had goes before the rest: it may rest on that, and
    nothing of the newest run rests on it.
    """
    by_plan: dict[str, dict[str, Part]] = {}
    for item in content.standing:
        of_plan = by_plan.setdefault(item.look.record.plan, {})
        known_ = of_plan.get(item.look.run.id)
        of_plan[item.look.run.id] = Part(look=item.look, instances=[*(known_.instances if known_ else ()), item.instance])
    return [part for of_plan in by_plan.values() for part in [*list(of_plan.values())[1:], *list(of_plan.values())[:1]]]


def check_free(world: World, environment: Environment) -> None:
    """Raises LockedError while a run has the environment, or a check for drift."""
    lock = environment.lock
    if lock is None or _freed(world, lock):
        return
    if lock.reason == LOOKING:
        message = f'environment "{lock.environment}" is looked at for drift by {owner_text(lock.owner)}'
        raise LockedError(message, owner=lock.owner, hint=f"wait for it; if it is gone: drystone env unlock {lock.environment}")
    hint = f"wait for it, or end it: drystone cancel {lock.run}; if nobody can: drystone env unlock {lock.environment}"
    raise LockedError(f'environment "{lock.environment}" is held by run {lock.run}', owner=lock.owner, hint=hint)


def _freed(world: World, lock: LockInfo) -> bool:
    """Takes away the lock of a run that has ended when no process has it: one died before it could give the lock back."""
    journal = world.journal()
    if not journal.summary(lock.run).status.is_final:
        return False
    try:
        lease = journal.claim(lock.run, world.owner, CLAIM, world.clock.now())
    except LockedError:
        return False
    journal.unlock(lock.environment, lock.run)
    journal.release(lease)
    return True


@contextmanager
def looking(world: World, name: str, run: str) -> Iterator[Callable[[], None]]:
    """Keeps runs out of an environment while somebody looks at it; gives what must be called every `CLAIM / 3` to keep them out.

    run: one of the environment's that has ended. The lock is taken in its name, and its lease with it: so the lock is good as long as this
    process lives, and the next run frees it when this process died. Raises LockedError while a run has the environment, or that lease.
    """
    journal = world.journal()
    lease = journal.claim(run, world.owner, CLAIM, world.clock.now())
    try:
        if not journal.summary(run).status.is_final:
            raise LockedError(f"run {run} was taken up again", hint="wait for it")
        journal.lock(LockInfo(environment=name, run=run, owner=world.owner, reason=LOOKING, since=world.clock.now()))
        try:
            yield lambda: journal.renew(lease, world.clock.now() + CLAIM)
        finally:
            journal.unlock(name, run)
    finally:
        journal.release(lease)


def destroy(world: World, part: Part) -> Hand:
    """Takes away one part. Raises LockedError, RefusedError."""
    only = [instance.id for instance in part.instances]
    return runs.take_up(world, part.look, lambda run, now: request_destroy(run, now, by=world.by, only=only))


# ---- the lock ---------------------------------------------------------------------------------------------------------


def unlock(world: World, name: str, *, reason: str, force: bool = False) -> LockInfo:
    """Takes the environment from the run that has it, and writes that into the run's journal; who had it.

    force: also from a process that is alive: from then on it can write nothing any more. Raises NotFoundError, RefusedError when nobody
    has the environment, and LockedError when its process lives.
    """
    lock = find(world, name).lock
    if lock is None:
        raise RefusedError(f'environment "{name}" is not locked', hint="nothing keeps a run from it")
    journal, now = world.journal(), world.clock.now()
    look = reading.look(world, lock.run)
    try:
        lease = journal.claim(lock.run, world.owner, CLAIM, now, force=force)
    except LockedError as error:
        hint = f"end it: drystone cancel {lock.run}; --force takes the environment from it, and it can write nothing any more"
        raise LockedError(error.message, owner=error.owner, hint=hint) from error
    try:
        run = evolve(look.run, *journal.events(lock.run, after=look.run.seq))
        data = {"environment": name, "by": world.by, "reason": runs.masked(world, run, reason), "from": lock.owner, "forced": force}
        event = Event(type=EventType.LOCK_BROKEN, at=max(now, run.last_at or now), run=run.id, data=data).numbered(run.seq + 1)
        journal.append([Batch(run=run.id, epoch=lease.epoch, events=[event])])
        journal.unlock(name, lock.run)
    finally:
        journal.release(lease)
    return lock


# ---- hosts ------------------------------------------------------------------------------------------------------------


def hosts(world: World, content: Content) -> Mapping[str, Sequence[Host]]:
    """Task -> the hosts in the outputs of what stands. Outputs that describe no host are passed over."""
    from drystone.core import filters
    from drystone.plugin.hosts import parse_hosts

    vault = world.vault()
    found: dict[str, list[Host]] = {}
    for item in content.standing:
        outputs = vault.reveal(item.instance.outputs)
        if not isinstance(outputs, Mapping) or not isinstance(outputs.get("address"), str):
            continue
        try:
            given = parse_hosts(filters.hosts(outputs))
        except (ValueError, filters.FilterError):
            continue
        found.setdefault(item.instance.task, []).extend(given)
    return found


def inventory(world: World, content: Content) -> Mapping[str, Any]:
    """The hosts in the form of Ansible's inventory scripts: a group for each task and each of the hosts' own groups.

    Host keys are pinned by a known_hosts file below the project's .drystone folder.
    """
    from drystone.plugin.files import write_atomic
    from drystone.plugin.hosts import ansible_vars, known_hosts_lines

    found = hosts(world, content)
    everything = [host for some in found.values() for host in some]
    pins = world.home / "known_hosts" / content.environment.name.replace("/", "%2f")
    pins.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(pins, "".join(f"{line}\n" for host in everything for line in known_hosts_lines(host)).encode(), 0o600)
    groups: dict[str, list[str]] = {}
    for task, some in found.items():
        for host in some:
            for group in dict.fromkeys((re.sub(r"\W", "_", task), *host.groups)):
                groups.setdefault(group, []).append(host.name)
    variables = {host.name: ansible_vars(host, str(pins), host.key_file) for host in everything}
    listed = {name: {"hosts": names} for name, names in groups.items() if name not in ("all", "ungrouped")}
    return {"_meta": {"hostvars": variables}, "all": {"children": list(listed)}, **listed}
