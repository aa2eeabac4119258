"""Schedules and their ticks in memory: `timetable.Timetable` for tests and trials, with every rule of the one in a database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from drystone.stores.ticks import may_claim, no_schedule
from drystone.timetable import OPEN, WITHOUT_RUN, ScheduleState, TickRow, TickStatus


class MemoryTimetable:
    """May be used by several threads at once. `is_alive` as for `sql.SqlJournal`."""

    def __init__(self, is_alive: Callable[[str], bool | None]) -> None:
        self._is_alive = is_alive
        self._guard = threading.RLock()
        self._schedules: dict[str, ScheduleState] = {}
        self._ticks: dict[tuple[str, datetime], TickRow] = {}
        self._leases: dict[tuple[str, datetime], datetime] = {}

    def schedules(self) -> Sequence[ScheduleState]:
        """All that were ever seen, by id."""
        with self._guard:
            return [state for _, state in sorted(self._schedules.items())]

    def begin(self, id_: str, plan: str, now: datetime) -> ScheduleState:
        """A schedule that is seen now; as it was when it was seen before."""
        with self._guard:
            return self._schedules.setdefault(id_, ScheduleState(id=id_, plan=plan, since=now, considered=now))

    def record(self, schedule: str, ticks: Sequence[TickRow], considered: datetime | None, *, again: bool = False) -> int:
        """All of it at once."""
        with self._guard:
            written = 0
            for tick in ticks:
                known = self._ticks.get((tick.schedule, tick.at))
                if known is None or (again and known.status in WITHOUT_RUN):
                    self._ticks[tick.schedule, tick.at] = replace(tick, run=None, owner=None)
                    written += 1
            state = self._schedules[schedule]
            if considered is not None and considered > state.considered:
                self._schedules[schedule] = replace(state, considered=considered)
            return written

    def pause(self, id_: str, by: str, now: datetime) -> None:
        """Harmless when it is paused. Raises NotFoundError."""
        with self._guard:
            state = self._state(id_)
            if state.paused_by is None:
                self._schedules[id_] = replace(state, paused_by=by, paused_at=now)

    def proceed(self, id_: str, now: datetime) -> None:
        """It goes on, from now. Raises NotFoundError."""
        with self._guard:
            state = self._state(id_)
            if state.paused_by is not None:
                self._schedules[id_] = replace(state, paused_by=None, paused_at=None, considered=max(now, state.considered))

    def _state(self, id_: str) -> ScheduleState:
        if id_ not in self._schedules:
            raise no_schedule(id_)
        return self._schedules[id_]

    def open(self, schedule: str) -> Sequence[TickRow]:
        """Ticks with which something has still to be done, oldest first."""
        with self._guard:
            return [tick for (id_, _), tick in sorted(self._ticks.items()) if id_ == schedule and tick.status in OPEN]

    def claim(self, tick: TickRow, owner: str, until: datetime, now: datetime) -> bool:
        """Takes a tick; see `timetable.Timetable.claim`."""
        key = tick.schedule, tick.at
        with self._guard:
            known = self._ticks.get(key)
            if known is None or not may_claim(known.status, known.owner, self._leases.get(key), owner, now, self._is_alive):
                return False
            self._ticks[key] = replace(known, status=TickStatus.CLAIMED, owner=owner)
            self._leases[key] = until
            return True

    def settle(self, tick: TickRow, status: TickStatus, *, reason: str = "", run: str | None = None) -> bool:
        """Gives the tick a status, if it is still as it was read."""
        key = tick.schedule, tick.at
        with self._guard:
            known = self._ticks.get(key)
            if known is None or (known.status, known.owner) != (tick.status, tick.owner):
                return False
            self._ticks[key] = replace(known, status=status, reason=reason, run=run, owner=None)
            return True

    def history(self, schedule: str | None = None, *, limit: int | None = 50) -> Sequence[TickRow]:
        """Newest first."""
        with self._guard:
            fitting = [tick for (id_, _), tick in sorted(self._ticks.items()) if schedule in (None, id_)]
        return sorted(fitting, key=lambda tick: tick.at, reverse=True)[:limit]
