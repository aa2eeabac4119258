"""What a server does with schedules: writes down what is due, claims it, and starts its runs (decision 0024).

A tick is in the store before anything comes of it. Whoever dies in between leaves it to the next; its run is started with a token of
the tick, so that there is one, whoever starts it and however often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from drystone.app import runs, schedules
from drystone.app.pickup import Tell
from drystone.app.schedules import CLAIM, Catalogue, Schedule
from drystone.app.world import World
from drystone.core import durations
from drystone.core.values import ExpressionError
from drystone.errors import DrystoneError, InputError, LockedError, NotFoundError, PlanError, RefusedError, StoreError
from drystone.plugin.triggers import OverlapPolicy, Policy
from drystone.timetable import ScheduleState, TickRow, TickStatus, Timetable

EVERY = timedelta(seconds=5)
"""How often it is looked for plans that changed and runs that ended, where no tick comes before."""
PROMPT = timedelta(minutes=1)
"""So much later a tick is not late yet: it is what a busy machine, or the restart of a server, takes."""
NOTED = timedelta(minutes=1)
"""How often it is written down how far ticks were considered, where none came."""
SOON = timedelta(seconds=1)
"""The same while a tick waits for a run that has not ended."""
LOOK_BACK = timedelta(days=31)
"""Ticks that are older were missed, and are not written down one by one."""


Start = Callable[[World, Schedule, datetime], str]


def _begin(world: World, schedule: Schedule, at: datetime) -> str:
    return schedules.begin(world, schedule, at).run.id


@dataclass
class Firing:
    """For one server.

    tell:  hears of each tick that fires, and of what keeps one from it.
    start: the run of a tick, begun with the token of the tick: its id. Raises as `schedules.begin` does.
    """

    world: World
    tell: Tell
    start: Start = _begin
    _looked: dict[str, datetime] = field(default_factory=dict)
    _told: Mapping[str, str] = field(default_factory=dict)
    _catalogue: Catalogue | None = None

    def turn(self) -> timedelta:
        """Does what is due; for how long nothing will be. Raises StoreError."""
        now = self.world.clock.now()
        return max(timedelta(), self.fire_due(now) - now)

    def fire_due(self, now: datetime) -> datetime:
        """Writes down, claims and starts what is due at a moment; when to look again. Raises StoreError."""
        self._catalogue = self._catalogue or Catalogue(self.world)
        found = self._catalogue.look()
        self._tell_problems(found.problems)
        again = now + EVERY
        if not found.schedules:
            return again
        table = self.world.journal().timetable
        states = {state.id: state for state in table.schedules()}
        for schedule in found.schedules.values():
            state = states.get(schedule.id) or table.begin(schedule.id, schedule.plan.name, now)
            try:
                self._record(table, schedule, state, now)
                self._fire(table, schedule, state, now)
            except StoreError:
                raise
            except DrystoneError as error:
                self.tell("schedule.failed", {"schedule": schedule.id, "error": error.message, "hint": error.hint})
            again = min(again, _next_due(table, schedule, now, again))
        return again

    def _tell_problems(self, problems: Mapping[str, str]) -> None:
        for file, problem in problems.items():
            if self._told.get(file) != problem:
                self.tell("schedule.plan_broken", {"file": file, "error": problem})
        self._told = problems

    # ---- writing down -------------------------------------------------------------------------------------------------

    def _record(self, table: Timetable, schedule: Schedule, state: ScheduleState, now: datetime) -> None:
        policy = schedule.type.policy(schedule.config)
        after = max(state.considered, self._looked.get(schedule.id, state.considered), now - max(LOOK_BACK, policy.window))
        rows = []
        for tick in schedule.ticks(after, now):
            paused = "" if state.paused_by is None else f"paused by {state.paused_by}"
            status = TickStatus.SKIPPED if tick.skip or paused else TickStatus.RECORDED
            reason = tick.skip or paused or tick.note
            rows.append(TickRow(schedule=schedule.id, at=tick.at, due=tick.due, status=status, reason=reason))
        missed = too_late(policy, rows, now)
        rows = [replace(row, status=TickStatus.MISSED, reason=missed.get(row.at, row.reason)) if row.at in missed else row for row in rows]
        if rows or now - state.considered >= NOTED:
            table.record(schedule.id, rows, now)
        for row in rows:
            if row.status is not TickStatus.RECORDED:
                self._told_fate(row, row.status, row.reason)
        self._looked[schedule.id] = now

    # ---- firing -------------------------------------------------------------------------------------------------------

    def _fire(self, table: Timetable, schedule: Schedule, state: ScheduleState, now: datetime) -> None:
        policy = schedule.type.policy(schedule.config)
        open_ = table.open(schedule.id)
        active = [tick.run for tick in open_ if tick.status is TickStatus.FIRED and tick.run and not self._has_ended(table, tick)]
        if state.paused_by is not None:
            return
        waiting = sorted((tick for tick in open_ if tick.status is not TickStatus.FIRED and tick.due <= now), key=lambda tick: tick.due)
        missed = too_late(policy, waiting, now)
        for tick in waiting:
            if tick.at in missed:
                self._settle(table, tick, TickStatus.MISSED, missed[tick.at])
        waiting = [tick for tick in waiting if tick.at not in missed]
        for place, tick in enumerate(waiting):
            held = "" if tick.asked_by else schedule.type.held_back(schedule.config, now)
            stop = (TickStatus.SKIPPED, held) if held else self._in_the_way(policy, tick, waiting[:place], waiting[place + 1 :], active)
            # What was claimed by a process that died was decided by that one.
            if stop is not None and tick.status is not TickStatus.CLAIMED:
                self._settle(table, tick, *stop)
            elif (run := self._start(table, schedule, tick, policy, now)) is not None:
                active.append(run)
            else:
                # Later ticks wait too, or they would overtake it.
                return

    def _has_ended(self, table: Timetable, tick: TickRow) -> bool:
        assert tick.run is not None
        try:
            if not self.world.journal().summary(tick.run).status.is_final:
                return False
        except NotFoundError:
            # Nobody knows of it any more.
            pass
        table.settle(tick, TickStatus.DONE, reason=tick.reason, run=tick.run)
        return True

    def _in_the_way(
        self, policy: Policy, tick: TickRow, before: Sequence[TickRow], behind: Sequence[TickRow], active: Sequence[str]
    ) -> tuple[TickStatus, str] | None:
        """What becomes of the tick instead of a run; None when it may fire."""
        overlap = policy.overlap
        if overlap is OverlapPolicy.ALLOW:
            return None
        if tick.asked_by is not None:
            overlap = OverlapPolicy.QUEUE_ALL
        if overlap is OverlapPolicy.CANCEL_OTHER and any(later.asked_by is None for later in behind):
            return TickStatus.SKIPPED, "a later tick takes its place"
        if not active:
            return None
        waits = f"run {active[0]} of an earlier tick has not ended"
        match overlap:
            case OverlapPolicy.SKIP:
                return TickStatus.SKIPPED, waits
            case OverlapPolicy.QUEUE_ONE if any(other.asked_by is None for other in before):
                return TickStatus.SKIPPED, f"{waits}, and another tick waits for that"
            case OverlapPolicy.CANCEL_OTHER if tick.status is TickStatus.RECORDED:
                for run in active:
                    self._cancel(run, tick)
                return TickStatus.QUEUED, f"run {active[0]} of an earlier tick is cancelled first"
            case _:
                return TickStatus.QUEUED, tick.reason if tick.asked_by else waits

    def _cancel(self, run: str, tick: TickRow) -> None:
        try:
            runs.cancel(self.world, run, reason=f"the tick of {tick.schedule} at {tick.at.isoformat()} takes its place")
        except (LockedError, RefusedError):
            # It has ended, or is ending.
            return

    def _start(self, table: Timetable, schedule: Schedule, tick: TickRow, policy: Policy, now: datetime) -> str | None:
        """The run of a tick; None when there is none: another process is faster, or it cannot be started."""
        world = self.world
        if not table.claim(tick, world.owner, now + CLAIM, now):
            return None
        mine = replace(tick, status=TickStatus.CLAIMED, owner=world.owner)
        known = world.journal().by_token(schedule.token(tick.at))
        if known is None and tick.asked_by is None and now - tick.due > max(policy.window, PROMPT):
            self._settle(table, mine, TickStatus.MISSED, _late(tick, now))
            return None
        try:
            run = known.id if known is not None else self.start(world, schedule, tick.at)
        except (PlanError, InputError, ExpressionError) as error:
            self._settle(table, mine, TickStatus.FAILED, error.message)
        except LockedError as error:
            self._settle(table, mine, TickStatus.SKIPPED, error.message)
        except RefusedError as error:
            # Another process has begun it since we looked, or this one is stopping: it is seen to in the next turn.
            self._settle(table, mine, TickStatus.RECORDED, error.message)
        else:
            table.settle(mine, TickStatus.FIRED, reason=tick.reason, run=run)
            self.tell("schedule.fired", {"schedule": schedule.id, "tick": tick.at.isoformat(), "run": run})
            return run
        return None

    def _settle(self, table: Timetable, tick: TickRow, status: TickStatus, reason: str) -> None:
        if (status, reason) != (tick.status, tick.reason) and table.settle(tick, status, reason=reason):
            self._told_fate(tick, status, reason)

    def _told_fate(self, tick: TickRow, status: TickStatus, reason: str) -> None:
        self.tell(f"schedule.{status.value}", {"schedule": tick.schedule, "tick": tick.at.isoformat(), "reason": reason})


def too_late(policy: Policy, ticks: Sequence[TickRow], now: datetime) -> dict[datetime, str]:
    """Of recorded ticks, those that do not fire any more, and why."""
    due = sorted(
        (tick for tick in ticks if tick.status is TickStatus.RECORDED and tick.due <= now and not tick.asked_by), key=lambda t: t.due
    )
    missed = {tick.at: _late(tick, now) for tick in due if now - tick.due > max(policy.window, PROMPT)}
    if not policy.catch_up_all:
        instead = {tick.at: f"{_late(tick, now)}; a later one fires" for tick in due[:-1] if now - tick.due > PROMPT}
        missed = {**instead, **missed}
    return missed


def _late(tick: TickRow, now: datetime) -> str:
    late = timedelta(seconds=(now - tick.due) // timedelta(seconds=1))
    return f"found {durations.to_text(late)} late"


def _next_due(table: Timetable, schedule: Schedule, now: datetime, until: datetime) -> datetime:
    """The next moment, not after `until`, at which something of the schedule is due."""
    moments = [next((tick.at for tick in schedule.ticks(now, until)), until)]
    for tick in table.open(schedule.id):
        if tick.status is TickStatus.QUEUED:
            moments.append(now + SOON)
        elif tick.status is TickStatus.RECORDED and tick.due > now:
            moments.append(tick.due)
    return min(moments)
