"""Runs: start, go on, cancel, take back.

Each use case but `cancel` gives a `Hand`: a run that this process has taken and drives to its end, while a face watches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, Any

from drystone.app import bundles, history, inputs, places, plans, reading
from drystone.app.inputs import Given
from drystone.app.places import PlanFile
from drystone.app.reading import Look
from drystone.app.world import Engine, Stays, Vault, World
from drystone.core import values
from drystone.core.inputs import check_inputs
from drystone.core.parts import lineage
from drystone.core.plan import OnConflict
from drystone.core.run import ORDINARY, Manner, Run, new_run, request_cancel, request_resume, request_undo
from drystone.core.states import RunStatus
from drystone.errors import InputError, LockedError, RefusedError
from drystone.ports import Request, RunRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drystone.core.events import Event
    from drystone.core.graph import Graph
    from drystone.core.plan import Input

HEARD_TRIES, HEARD_SECONDS = 30, 0.1
"""How often, and how far apart, it is looked whether a wish was heard: a process looks for wishes five times a second."""

See = Callable[["Event", Run], None]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that could start. `missing` are required inputs that nobody gave yet."""

    plan: PlanFile
    graph: Graph
    source: str
    values: Mapping[str, Any]
    missing: Sequence[Input]


@dataclass(frozen=True, kw_only=True)
class Hand:
    """A run in this process's hands. `is_known` means that a token named a run which has ended."""

    world: World
    record: RunRecord
    run: Run
    engine: Engine | None
    watchers: list[See]

    @property
    def is_known(self) -> bool:
        """True when no attempt will be made."""
        return self.engine is None

    def cancel(self, reason: str) -> None:
        """Asks for a graceful end; may be called from a signal handler."""
        if self.engine is not None:
            self.engine.cancel(self.run.id, by=self.world.by, reason=reason)

    def drive(self, stays: Stays | None = None) -> Look:
        """Drives it to its end, or to where only a person can move it on and nobody stays for one.

        Raises StoreError or LockedError when its events cannot be written any more.
        """
        run = self.run
        if self.engine is not None:
            try:
                run = self.engine.drive(stays)[run.id]
            finally:
                self.engine.close()
        return Look(record=self.record, run=run, home=self.world.home)


def prepare(world: World, plan: PlanFile, given: Given) -> Prepared:
    """Compiles the plan and gathers inputs; nothing is recorded. Raises PlanError, InputError."""
    graph, source = plans.load(world, plan)
    found = inputs.gather(world, graph.plan, given)
    return Prepared(plan=plan, graph=graph, source=source, values=found, missing=inputs.missing(graph.plan, found))


def start(
    world: World, prepared: Prepared, *, token: str | None = None, manner: Manner = ORDINARY, detached: bool = False
) -> Hand:
    """Records a new run and takes it. Raises InputError, LockedError, RefusedError (the token is empty, or another run's).

    manner:   how it goes about its tasks.
    detached: it is left to a server, and this process drives nothing; while its environment is another run's it waits.

    With the token of a run that was started with the same plan and inputs, it is that run: none is started twice. If it has not
    ended, and nobody has it, it goes on.
    """
    if token is not None and not token.strip():
        raise RefusedError("the token is empty: with it, a second run would not be kept from starting", hint="--token T, or leave it out")
    graph = prepared.graph
    checked = check_inputs(graph.plan, prepared.values)
    vault = world.vault()
    if token is not None and (known := _known(world, token, graph, checked, vault)) is not None:
        return known
    try:
        return begin(world, prepared, checked, vault, token=token, manner=manner, detached=detached)
    except RefusedError:
        # Another process may have started it with this token since we looked.
        if token is not None and (known := _known(world, token, graph, checked, vault)) is not None:
            return known
        raise


def begin(
    world: World,
    prepared: Prepared,
    checked: Mapping[str, Any],
    vault: Vault,
    *,
    token: str | None,
    within: RunRecord | None = None,
    manner: Manner = ORDINARY,
    bundle: str | None = None,
    detached: bool = False,
) -> Hand:
    """Records a new run with inputs that were checked, and takes it. Raises LockedError, RefusedError (the token is another run's).

    within: the run that it is part of. It is in that one's environment unless its plan names another.
    bundle: what it goes by, when that is not what lies in the project now.
    """
    graph = prepared.graph
    now = world.clock.now()
    environment = environment_of(graph, checked)
    concurrency = _concurrency_key(graph, checked)
    if within is not None:
        environment = environment or within.environment
        if any(concurrency == other.concurrency for other in lineage(within, world.journal().record)):
            # Its turn has come with theirs.
            concurrency = None
    stored = vault.seal_outputs(checked, frozenset(name for name in checked if graph.plan.inputs[name].secret))
    if bundle is None and within is not None:
        bundle = bundles.of_part(world, within, prepared.plan)
    bundle = bundle or bundles.of(world, prepared.plan, graph, prepared.source, stored)
    record = RunRecord(
        id=world.ids.run_id(),
        plan=graph.plan.name,
        plan_file=str(prepared.plan.path.resolve()),
        root=str(prepared.plan.root),
        source=prepared.source,
        bundle=bundle,
        environment=environment,
        inputs=stored,
        created_at=now,
        created_by=world.by,
        token=token,
        parent=None if within is None else within.id,
        concurrency=concurrency,
        manner=manner.to_json(),
    )
    _make_way(world, record, graph)
    run = new_run(
        id=record.id, graph=graph, inputs=record.inputs, environment=record.environment, created_at=now, manner=manner
    )
    expected = history.expected(world, graph)
    if detached:
        return _take(world, record, run, lambda engine: engine.queue(record, run, expected=expected))
    return _take(world, record, run, lambda engine: engine.start(record, run, vault, expected=expected))


def again(world: World, look: Look, manner: Manner) -> Hand:
    """A new run of an earlier one's plan, as that had it: its bundle and its inputs. Raises LockedError, RefusedError, InputError."""
    record, graph = look.record, look.run.graph
    if world.bundles().manifest(record.bundle) is None:
        hint = "bring the environment to what you want by a run of the plan as it is now"
        raise RefusedError(f"the files that run {record.id} used are not kept any more: there is no bundle {record.bundle}", hint=hint)
    path, vault = Path(record.plan_file), world.vault()
    plan = PlanFile(path=path, shown=places.shown(path, world.cwd), root=Path(record.root), project=world.project)
    checked = check_inputs(graph.plan, vault.reveal(record.inputs))
    prepared = Prepared(plan=plan, graph=graph, source=record.source, values=checked, missing=())
    return begin(world, prepared, checked, vault, token=None, manner=manner, bundle=record.bundle)


def _make_way(world: World, record: RunRecord, graph: Graph) -> None:
    """A run that takes the place of others ends by itself those that no process would end."""
    policy = graph.plan.concurrency
    if record.concurrency is None or policy is None or policy.on_conflict is not OnConflict.CANCEL_RUNNING:
        return
    for place in world.journal().line(record.concurrency) if world.has_store() else ():
        if place.owner is None and (hand := cancel(world, place.run, reason=f"run {record.id} takes its place")) is not None:
            hand.drive()


def environment_of(graph: Graph, checked: Mapping[str, Any]) -> str | None:
    """The name of the environment that a run with these inputs changes. Raises InputError for what is no name."""
    if graph.plan.environment is None:
        return None
    name = values.render(graph.plan.environment, {"inputs": checked})
    if not isinstance(name, str) or not name.strip() or name.startswith("@") or not name.isprintable():
        raise InputError(f'the plan\'s environment is "{name}", which is no name', hint="it must be text, not empty, and not start with @")
    return name


def _concurrency_key(graph: Graph, checked: Mapping[str, Any]) -> str | None:
    if graph.plan.concurrency is None:
        return None
    key = values.render(graph.plan.concurrency.key, {"inputs": checked})
    if not isinstance(key, str | int) or isinstance(key, bool) or key == "":
        raise InputError(f'the plan\'s concurrency key is "{key}", which is no name', hint="it must be text, and not empty")
    return str(key)


def _known(world: World, token: str, graph: Graph, checked: Mapping[str, Any], vault: Vault) -> Hand | None:
    record = world.journal().by_token(token)
    if record is None:
        return None
    same = record.plan == graph.plan.name and _canonical(vault.reveal(record.inputs)) == _canonical(checked)
    if not same:
        raise RefusedError(
            f'token "{token}" belongs to run {record.id} of plan "{record.plan}", which has other inputs',
            hint=f"use another token, or look at that run: drystone show {record.id}",
        )
    look = reading.look(world, record.id)
    if not look.run.status.is_final:
        try:
            return resume(world, record.id)
        except LockedError:
            raise
        except RefusedError:
            # It has ended since we looked.
            look = reading.look(world, record.id)
    return Hand(world=world, record=record, run=look.run, engine=None, watchers=[])


def _canonical(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True)


def resume(world: World, word: str, *, start: str | None = None, only_failed: bool = False) -> Hand:
    """Goes on with a run: after a crash, after a failure that the plan stops at, or on a way back that was not finished.

    start, only_failed: see `core.run.request_resume`. Raises LockedError while another process has it, RefusedError when nothing is left
    to do or the run is part of one that must go on itself, NotFoundError when there is no such task.
    """
    look = reading.look(world, word)
    if look.record.parent is not None and not world.journal().summary(look.record.parent).status.is_final:
        whole = lineage(look.record, world.journal().record)[-1].id
        raise RefusedError(f"run {look.run.id} is part of run {whole}, which has not ended", hint=f"drystone resume {whole}")
    return take_up(
        world, look, lambda run, now: request_resume(run, now, by=world.by, start=start, only_failed=only_failed)
    )


def take_up(world: World, look: Look, request: Callable[[Run, datetime], list[Event]]) -> Hand:
    """Takes a run that was begun and makes of it what is requested. Raises LockedError, RefusedError."""
    return _take(world, look.record, look.run, lambda engine: engine.take_up(look.record, look.run, world.vault(), request))


def interrupted(world: World, word: str) -> Sequence[str]:
    """Instances whose attempt was in flight when the run's process died: what they left running is ended before anything else."""
    run = reading.look(world, word).run
    return () if world.journal().summary(run.id).owner is not None else sorted(run.running)


def undo(world: World, look: Look) -> Hand:
    """Takes an ended run back. Raises LockedError, RefusedError: what succeeded as part of another run goes only with that one."""
    if look.record.parent is not None and look.run.status is RunStatus.SUCCEEDED:
        whole = lineage(look.record, world.journal().record)[-1].id
        raise RefusedError(f"run {look.run.id} is part of run {whole}, and is taken back with it", hint=f"drystone undo {whole}")
    return take_up(world, look, lambda run, now: request_undo(run, now, by=world.by))


def cancel(world: World, word: str, *, reason: str = "") -> Hand | None:
    """Asks the process that has the run to end it. When none has it, this one takes it, to end it itself.

    None when another process was asked. Raises RefusedError for a run that has ended.
    """
    look = reading.look(world, word)
    reason = masked(world, look.run, reason)
    request_cancel(look.run, world.clock.now(), by=world.by, reason=reason)
    try:
        # Asked as it is taken: else what had been in flight, and what is ready, would start once more.
        return take_up(world, look, lambda run, now: request_cancel(run, now, by=world.by, reason=reason))
    except LockedError:
        ask(world, look.run.id, "cancel", {"reason": reason})
        return hand_over(world, look.run.id, lambda: resume(world, look.run.id))


def hand_over(world: World, run_id: str, taking: Callable[[], Hand]) -> Hand | None:
    """Stays until the process that has the run has heard a wish for it; takes the run when that process leaves it just then.

    None when the other process has heard it, or is too busy to say so soon: the wish is kept until somebody does.
    """
    for _ in range(HEARD_TRIES):
        if not world.journal().requests([run_id]):
            return None
        try:
            return taking()
        except LockedError:
            Signal().wait(HEARD_SECONDS)
        except RefusedError:
            return None
    return None


def masked(world: World, run: Run, text: str) -> str:
    """What a person wrote for the record of a run, without the values of the run's secret inputs and outputs."""
    if not text:
        return text
    vault = world.vault()
    vault.reveal(run.inputs)
    vault.reveal(run.views)
    return vault.mask(text)


def ask(world: World, run_id: str, wish: str, data: Mapping[str, str]) -> None:
    """Leaves a wish for the process that has the run; it is kept until it is answered."""
    request = Request(id=world.ids.run_id(), run=run_id, type=wish, by=world.by, at=world.clock.now(), data=data)
    world.journal().ask(request)


def _take(world: World, record: RunRecord, run: Run, taking: Callable[[Engine], None]) -> Hand:
    watchers: list[See] = []

    def observe(after: Run, events: Sequence[Event]) -> None:
        for event in events:
            for see in watchers:
                see(event, after)

    engine = world.engine([observe])
    try:
        taking(engine)
    except BaseException:
        engine.close()
        raise
    return Hand(world=world, record=record, run=run, engine=engine, watchers=watchers)
