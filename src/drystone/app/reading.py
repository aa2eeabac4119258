"""Looking at runs: one, many, their logs and events. Changes nothing.

A run is folded from its events over the plan that it began with, so that it can be shown whatever became of the plan's file since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING

from drystone.app.world import World
from drystone.core.burst import in_one_burst
from drystone.core.diagnostics import Diagnostics, did_you_mean
from drystone.core.graph import Graph, KindInfo
from drystone.core.parts import KIND, newest_token
from drystone.core.plan import UndoWhen
from drystone.core.run import Attempt, Forecast, Instance, Manner, Run, evolve, new_run, remaining
from drystone.core.states import RunStatus
from drystone.errors import NotFoundError, PluginError, StoreError
from drystone.ports import Journal, RunRecord, RunSummary

if TYPE_CHECKING:
    from drystone.core.events import Event
    from drystone.plugin.registry import Registry

UNDER_WAY = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPENSATING})
"""States in which some process must be at work on a run."""

POLL_SECONDS = 0.2
"""How often a log is looked at that somebody else writes."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A run as it is now. `home` is the .drystone folder that its logs are in.

    is_abandoned: it has not ended, and no process goes on with it: the one that did so is gone.
    parts:        instance -> the run that it is (kind `plan`), the last one when it was tried again.
    is_driven:    some process goes on with it, or waits with it.
    behind:       the runs that it has to wait for before it may begin, the first one first.
    """

    record: RunRecord
    run: Run
    home: Path
    is_abandoned: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    is_driven: bool = False
    behind: Sequence[str] = ()

    def remaining(self, now: datetime) -> Forecast | None:
        """How long the run has still to go; None when nobody can say, or nobody goes on with it."""
        return None if self.is_abandoned else remaining(self.run, now)


@in_one_burst
def look(world: World, word: str) -> Look:
    """The run that a word means: an id, a unique beginning of one, or `last`. Raises NotFoundError, RefusedError."""
    journal = existing(world)
    record = journal.record(journal.find(word))
    graph = _graph(world, record)
    new = new_run(
        id=record.id,
        graph=graph,
        inputs=record.inputs,
        environment=record.environment,
        created_at=record.created_at,
        manner=Manner.from_json(record.manner),
    )
    # Before the events, so that a run that ends meanwhile is seen as ended.
    is_driven = journal.summary(record.id).owner is not None
    run = _folded(new, journal.events(record.id))
    is_abandoned = not is_driven and run.status in UNDER_WAY
    return Look(
        record=record,
        run=run,
        home=world.home,
        is_abandoned=is_abandoned,
        parts=_parts(journal, run),
        is_driven=is_driven,
        behind=_behind(journal, record) if run.status is RunStatus.QUEUED else (),
    )


def _behind(journal: Journal, record: RunRecord) -> Sequence[str]:
    """The runs before it in the line of its concurrency key; with none there, the one that has its environment."""
    line = journal.line(record.concurrency) if record.concurrency is not None else ()
    before = [place.run for place in takewhile(lambda place: place.run != record.id, line)]
    return before or [lock.run for lock in journal.locks() if lock.environment == record.environment and lock.run != record.id]


def behind(world: World, summaries: Sequence[RunSummary]) -> Mapping[str, Sequence[str]]:
    """Each of them that is queued -> the runs that it has to wait for before it may begin, the first one first."""
    queued = [item.id for item in summaries if item.status is RunStatus.QUEUED and item.owner is not None]
    return {run: _behind(world.journal(), world.journal().record(run)) for run in queued}


def _parts(journal: Journal, run: Run) -> Mapping[str, str]:
    tokens = {item.id: newest_token(run, item) for item in run.in_order() if item.kind == KIND}
    found = {id_: journal.by_token(token) for id_, token in tokens.items() if token is not None}
    return {id_: record.id for id_, record in found.items() if record is not None}


def _folded(new: Run, happened: Iterable[Event]) -> Run:
    try:
        return evolve(new, *happened)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"the events of run {new.id} do not fit together: {type(error).__name__}: {error}",
            hint='is the store damaged? "drystone doctor" looks at all of it',
        ) from error


def existing(world: World) -> Journal:
    """The project's store. Raises NotFoundError when nothing ever ran: looking must not make one."""
    if not world.has_store():
        raise NotFoundError(f'nothing has run in the project "{world.project}" yet', hint="go to the project's folder, or name it with -C")
    return world.journal()


def _graph(world: World, record: RunRecord) -> Graph:
    from drystone.core.compile import compile_plan
    from drystone.core.planfile import to_plan

    found = Diagnostics()
    tree = world.parse(record.source, record.plan_file, found)
    plan = to_plan(tree, world.registry.names(), found) if tree is not None else None
    graph = compile_plan(plan, _lenient(world.registry), found) if plan is not None else None
    if graph is None:
        raise StoreError(
            f"the plan that run {record.id} began with cannot be read by this version of drystone",
            hint="use the version that started it",
        )
    return graph


def _lenient(registry: Registry) -> Callable[[str], KindInfo]:
    """Facts of kinds for a plan that has run already: its configs were checked then, and a kind may be gone since."""

    def info(name: str) -> KindInfo:
        try:
            known = registry.info(name)
        except PluginError:
            known = None
        if known is not None:
            return replace(known, outputs=None, check=lambda config: ())
        return KindInfo(name=name, has_undo=False, changes=False, undo_when=UndoWhen.SUCCEEDED, outputs=None, check=lambda config: ())

    return info


def recent(world: World, *, plan: str | None = None, environment: str | None = None, limit: int = 20) -> Sequence[RunSummary]:
    """The newest runs first; none when nothing ever ran."""
    if not world.has_store():
        return ()
    return world.journal().summaries(plan=plan, environment=environment, limit=limit)


# ---- events -----------------------------------------------------------------------------------------------------------


def events(world: World, word: str, *, follow: bool = False) -> Iterator[Event]:
    """What happened in a run, in order; with `follow`, what happens until it ends."""
    journal = existing(world)
    run_id = journal.find(word)
    last = 0
    while True:
        ended = journal.summary(run_id).status.is_final
        for event in journal.events(run_id, after=last):
            last = event.seq
            yield event
        if ended or not follow:
            return
        Signal().wait(POLL_SECONDS)


# ---- logs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of an attempt's log, without its end."""

    task: str
    attempt: int
    undo: bool
    text: str


def logs(world: World, word: str, task: str | None = None, *, follow: bool = False) -> Iterator[LogLine]:
    """The logs of a run's attempts in the order in which those began; with `follow`, as they grow until the run ends.

    task: an instance (`vm[0]`) or a task, which stands for all its instances. Raises NotFoundError.
    """
    seen = look(world, word)
    if task is not None:
        instances(seen.run, task)
    offsets: dict[str, int] = {}
    while True:
        for instance, attempt, undo in attempts(seen.run, task):
            for text in _new_lines(seen.home, attempt, offsets):
                yield LogLine(task=instance.id, attempt=attempt.number, undo=undo, text=text)
        if not follow or seen.run.status.is_final:
            return
        Signal().wait(POLL_SECONDS)
        run = evolve(seen.run, *world.journal().events(seen.run.id, after=seen.run.seq))
        seen = Look(record=seen.record, run=run, home=seen.home)


def attempts(run: Run, task: str | None) -> list[tuple[Instance, Attempt, bool]]:
    """Instance, attempt, whether it was an undo; by start."""
    found = [
        (instance, attempt, undo)
        for instance in run.in_order()
        if task in (None, instance.id, instance.task)
        for undo, tries in ((False, instance.attempts), (True, instance.undo.attempts))
        for attempt in tries
    ]
    return sorted(found, key=lambda item: item[1].started_at)


def instances(run: Run, task: str) -> Sequence[Instance]:
    """What a word means: an instance (`vm[0]`), or all instances of a task. Raises NotFoundError."""
    found = [instance for instance in run.in_order() if task in (instance.id, instance.task)]
    if not found:
        known = {name for instance in run.in_order() for name in (instance.id, instance.task)}
        hint = did_you_mean(task, known) or f"tasks: {', '.join(run.graph.nodes)}"
        raise NotFoundError(f'run {run.id} has no task "{task}"', hint=hint)
    return found


def _new_lines(home: Path, attempt: Attempt, offsets: dict[str, int]) -> list[str]:
    """Whole lines written since the last call; the last one without its end only once the attempt has ended."""
    if not attempt.log:
        return []
    data = _read_from(home / attempt.log, offsets.get(attempt.log, 0))
    end = len(data) if attempt.finished_at is not None else data.rfind(b"\n") + 1
    offsets[attempt.log] = offsets.get(attempt.log, 0) + end
    return data[:end].decode("utf-8", "replace").splitlines()


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""


def tail(home: Path, attempt: Attempt, lines: int) -> list[str]:
    """The last lines of an attempt's log; none when there is no log."""
    if not attempt.log:
        return []
    size = (home / attempt.log).stat().st_size if (home / attempt.log).is_file() else 0
    # Two hundred bytes a line are more than enough to find the last few.
    data = _read_from(home / attempt.log, max(0, size - lines * 4096))
    return data.decode("utf-8", "replace").splitlines()[-lines:]
