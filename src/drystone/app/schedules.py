"""Schedules: which there are, when they are due, and what people ask of them. `firing` is what a server does with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drystone.app import places, plans, runs
from drystone.app.inputs import Given
from drystone.app.places import PlanFile
from drystone.app.world import World
from drystone.core import values
from drystone.core.diagnostics import did_you_mean
from drystone.core.inputs import check_inputs
from drystone.core.plan import Plan, Trigger
from drystone.errors import DrystoneError, NotFoundError, RefusedError
from drystone.plugin.triggers import Tick, Timed
from drystone.timetable import ScheduleState, TickRow, TickStatus, Timetable

if TYPE_CHECKING:
    from drystone.app.runs import Hand

MOMENT = timedelta(microseconds=1)
FAR = timedelta(days=366 * 8)
"""Nobody looks further ahead: in eight years every day comes that comes at all, 29 February too."""
CLAIM = timedelta(minutes=1)
"""So long a tick is left to its claimer where nobody can see whether that one lives."""
MOST_BACKFILLED = 1000
"""Ticks that one backfill may ask for: more are a mistake more often than a wish."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A trigger of a plan that is due by the clock. `id`: `<plan>/<trigger>`."""

    id: str
    file: PlanFile
    plan: Plan
    trigger: Trigger
    type: Timed
    config: Any

    def ticks(self, after: datetime, until: datetime) -> Iterator[Tick]:
        """The ticks with after < at <= until, in order."""
        return self.type.ticks(self.id, self.config, after, until)

    def summary(self) -> str:
        """In a few words."""
        return self.type.summary(self.config)

    @property
    def zone(self) -> tzinfo:
        """Whose clock it goes by."""
        return self.type.zone(self.config)

    def token(self, at: datetime) -> str:
        """What keeps the run of a tick from being started twice."""
        return f"schedule:{self.id}:{at.isoformat()}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The schedules of a project's plans by id; and what is wrong with plans that cannot be read, by file."""

    schedules: Mapping[str, Schedule]
    problems: Mapping[str, str]


@dataclass
class Catalogue:
    """Reads the schedules of the project's plans again and again: a plan is compiled when its file is another one than before."""

    world: World
    _read: dict[Path, tuple[tuple[int, int], list[Schedule], str]] = field(default_factory=dict)

    def look(self) -> Found:
        """As the plans are now. A broken one is a problem, and the others go on."""
        schedules: dict[str, Schedule] = {}
        problems: dict[str, str] = {}
        files = places.plans_in(self.world.project, self.world.cwd)
        for file in files:
            found, problem = self._of(file)
            if problem:
                problems[file.shown] = problem
            for schedule in found:
                if schedule.id in schedules:
                    other = schedules[schedule.id].file.shown
                    problems[file.shown] = f'plan "{schedule.plan.name}" is in {other} too: its schedules there count'
                else:
                    schedules[schedule.id] = schedule
        self._read = {file.path: self._read[file.path] for file in files if file.path in self._read}
        return Found(schedules=schedules, problems=problems)

    def _of(self, file: PlanFile) -> tuple[list[Schedule], str]:
        try:
            stat = file.path.stat()
        except OSError as error:
            return [], f"it cannot be read: {error.strerror}"
        stamp = stat.st_mtime_ns, stat.st_size
        if file.path not in self._read or self._read[file.path][0] != stamp:
            self._read[file.path] = (stamp, *_read(self.world, file))
        return self._read[file.path][1:]


def _read(world: World, file: PlanFile) -> tuple[list[Schedule], str]:
    try:
        checked = plans.check(world, file)
    except DrystoneError as error:
        return [], error.message
    if checked.graph is None:
        return [], f"{checked.errors} error{'' if checked.errors == 1 else 's'}: drystone validate {file.shown}"
    plan = checked.graph.plan
    found = []
    for trigger in plan.triggers:
        type_ = world.registry.triggers.get(trigger.type)
        if isinstance(type_, Timed):
            config = type_.Config.model_validate(trigger.config)
            id_ = f"{plan.name}/{trigger.name}"
            found.append(Schedule(id=id_, file=file, plan=plan, trigger=trigger, type=type_, config=config))
    return found, ""


# ---- looking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Line:
    """A schedule in a list. `upcoming`: its next tick that fires, None when none comes. `state`, `last`: None when no server saw it yet."""

    schedule: Schedule
    upcoming: Tick | None
    state: ScheduleState | None
    last: TickRow | None


def listing(world: World) -> tuple[list[Line], Mapping[str, str]]:
    """All schedules, and the plans that cannot be read."""
    found, table = Catalogue(world).look(), _table(world)
    states = {state.id: state for state in table.schedules()} if table is not None else {}
    lines = []
    for schedule in found.schedules.values():
        last = table.history(schedule.id, limit=1) if table is not None else ()
        upcoming = next((tick for tick in upcoming_ticks(schedule, world.clock.now()) if not tick.skip), None)
        lines.append(Line(schedule=schedule, upcoming=upcoming, state=states.get(schedule.id), last=last[0] if last else None))
    return lines, found.problems


def find(world: World, word: str) -> Schedule:
    """The schedule with an id, or the only one of a plan. Raises NotFoundError, RefusedError."""
    found = Catalogue(world).look()
    if word in found.schedules:
        return found.schedules[word]
    of_plan = [schedule for schedule in found.schedules.values() if schedule.plan.name == word]
    if len(of_plan) > 1:
        raise RefusedError(f'plan "{word}" has {len(of_plan)} schedules', hint=f"say which: {', '.join(each.id for each in of_plan)}")
    if of_plan:
        return of_plan[0]
    if found.problems:
        hint = "; ".join(f"{file} cannot be read: {problem}" for file, problem in found.problems.items())
    else:
        hint = did_you_mean(word, found.schedules) or (
            f"schedules: {', '.join(found.schedules)}" if found.schedules else "no plan has a schedule among its triggers"
        )
    raise NotFoundError(f'there is no schedule "{word}"', hint=hint)


def upcoming_ticks(schedule: Schedule, after: datetime) -> Iterator[Tick]:
    """Its ticks from a moment on, as far as anybody looks."""
    return schedule.ticks(after, after + FAR)


def history(world: World, word: str | None, *, limit: int | None) -> Sequence[TickRow]:
    """Ticks and their fates, newest first. A schedule that is in no plan any more is named by its whole id."""
    table = _table(world)
    if table is None:
        return ()
    known = word is None or any(state.id == word for state in table.schedules())
    return table.history(word if known or word is None else find(world, word).id, limit=limit)


def _table(world: World) -> Timetable | None:
    return world.journal().timetable if world.has_store() else None


# ---- steering ---------------------------------------------------------------------------------------------------------


def pause(world: World, word: str) -> Schedule:
    """Nothing of it fires any more. Raises NotFoundError, RefusedError."""
    schedule, now = find(world, word), world.clock.now()
    table = world.journal().timetable
    table.begin(schedule.id, schedule.plan.name, now)
    table.pause(schedule.id, world.by, now)
    return schedule


def proceed(world: World, word: str) -> Schedule:
    """It goes on from now; what was due meanwhile stays undone. Raises NotFoundError, RefusedError."""
    schedule, now = find(world, word), world.clock.now()
    table = world.journal().timetable
    table.begin(schedule.id, schedule.plan.name, now)
    table.proceed(schedule.id, now)
    return schedule


def run_now(world: World, word: str) -> Hand:
    """A run as of a tick at this moment, whatever the schedule's own rules say; left to a server. Raises InputError, LockedError."""
    schedule, now = find(world, word), world.clock.now()
    table = world.journal().timetable
    table.begin(schedule.id, schedule.plan.name, now)
    tick = TickRow(schedule=schedule.id, at=now, due=now, status=TickStatus.RECORDED, asked_by=world.by)
    table.record(schedule.id, [tick], None)
    table.claim(tick, world.owner, now + CLAIM, now)
    mine = replace(tick, status=TickStatus.CLAIMED, owner=world.owner)
    try:
        hand = begin(world, schedule, now)
    except DrystoneError as error:
        table.settle(mine, TickStatus.FAILED, reason=error.message)
        raise
    table.settle(mine, TickStatus.FIRED, reason="run now", run=hand.run.id)
    return hand


def backfill(world: World, word: str, begin: datetime, end: datetime) -> Sequence[Tick]:
    """Asks for the ticks of a range (begin <= at < end) that no run came of. They fire one after the other; those asked for.

    Raises RefusedError for a range that is empty, reaches into the future, or has too many.
    """
    schedule, now = find(world, word), world.clock.now()
    if end > now:
        raise RefusedError("a backfill is of the past", hint="let --to be a moment that has been")
    table = world.journal().timetable
    table.begin(schedule.id, schedule.plan.name, now)
    wanted: list[Tick] = []
    for tick in schedule.ticks(begin - MOMENT, end - MOMENT):
        if not tick.skip:
            wanted.append(tick)
        if len(wanted) > MOST_BACKFILLED:
            raise RefusedError(f"there are more than {MOST_BACKFILLED} ticks in that range", hint="ask for them part by part")
    asked = []
    for tick in wanted:
        row = TickRow(schedule=schedule.id, at=tick.at, due=now, status=TickStatus.QUEUED, reason="backfill", asked_by=world.by)
        if table.record(schedule.id, [row], None, again=True):
            asked.append(tick)
    return asked


def begin(world: World, schedule: Schedule, at: datetime) -> Hand:
    """The run of a tick, left to a server. Raises PlanError, InputError, LockedError, RefusedError (its token is taken)."""
    world = replace(world, by=f"schedule {schedule.id}")
    prepared = runs.prepare(world, schedule.file, Given())
    event = {"event": schedule.type.event_of(schedule.id, schedule.config, at)}
    given = {**prepared.values, **{name: values.render(value, event) for name, value in schedule.trigger.inputs.items()}}
    prepared = replace(prepared, values=given)
    checked = check_inputs(prepared.graph.plan, given)
    hand = runs.begin(world, prepared, checked, world.vault(), token=schedule.token(at), detached=True)
    if hand.engine is not None:
        hand.engine.close()
    return hand
