"""Schedules and their ticks in a database: `timetable.Timetable` over the connections of `sql.SqlJournal`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from drystone.core import codec
from drystone.errors import NotFoundError
from drystone.stores import sharing
from drystone.stores.databases import Connection
from drystone.timetable import ScheduleState, TickRow, TickStatus

Connecting = Callable[[], AbstractContextManager[Connection]]

ALL = 1 << 62


class SqlTimetable:
    """asking, writing: a connection for questions, and one within a transaction. is_alive: as for `sql.SqlJournal`."""

    def __init__(self, asking: Connecting, writing: Connecting, queries: Mapping[str, str], is_alive: Callable[[str], bool | None]) -> None:
        self._asking = asking
        self._writing = writing
        self._queries = queries
        self._is_alive = is_alive

    def schedules(self) -> Sequence[ScheduleState]:
        """All that were ever seen, by id."""
        with self._asking() as connection:
            return [_to_state(row) for row in connection.execute(self._queries["schedules"]).fetchall()]

    def begin(self, id_: str, plan: str, now: datetime) -> ScheduleState:
        """A schedule that is seen now; as it was when it was seen before."""
        with self._writing() as connection:
            connection.execute(self._queries["begin_schedule"], {"id": id_, "plan": plan, "now": codec.to_text(now)})
            return _to_state(connection.execute(self._queries["schedule"], {"id": id_}).fetchone())

    def record(self, schedule: str, ticks: Sequence[TickRow], considered: datetime | None, *, again: bool = False) -> int:
        """One transaction for all of it."""
        query = self._queries["record_tick_again" if again else "record_tick"]
        with self._writing() as connection:
            written = sum(connection.execute(query, _from_tick(tick)).rowcount for tick in ticks)
            if considered is not None:
                connection.execute(self._queries["considered"], {"id": schedule, "considered": codec.to_text(considered)})
        return written

    def pause(self, id_: str, by: str, now: datetime) -> None:
        """Harmless when it is paused. Raises NotFoundError."""
        self._change("pause_schedule", id_, paused_by=by, now=codec.to_text(now))

    def proceed(self, id_: str, now: datetime) -> None:
        """It goes on, from now. Raises NotFoundError."""
        self._change("proceed_schedule", id_, now=codec.to_text(now))

    def _change(self, query: str, id_: str, **row: Any) -> None:
        with self._writing() as connection:
            if connection.execute(self._queries[query], {"id": id_, **row}).rowcount == 0:
                raise no_schedule(id_)

    def open(self, schedule: str) -> Sequence[TickRow]:
        """Ticks with which something has still to be done, oldest first."""
        with self._asking() as connection:
            return [_to_tick(row) for row in connection.execute(self._queries["open_ticks"], {"schedule": schedule}).fetchall()]

    def claim(self, tick: TickRow, owner: str, until: datetime, now: datetime) -> bool:
        """Takes a tick; see `timetable.Timetable.claim`."""
        key = {"schedule": tick.schedule, "at": codec.to_text(tick.at)}
        with self._writing() as connection:
            row = connection.execute(self._queries["tick_claim"], key).fetchone()
            if row is None:
                return False
            lease = None if row[2] is None else codec.from_text(row[2])
            if not may_claim(TickStatus(row[0]), row[1], lease, owner, now, self._is_alive):
                return False
            connection.execute(self._queries["claim_tick"], {**key, "owner": owner, "until": codec.to_text(until)})
        return True

    def settle(self, tick: TickRow, status: TickStatus, *, reason: str = "", run: str | None = None) -> bool:
        """Gives the tick a status, if it is still as it was read."""
        row = {
            "schedule": tick.schedule,
            "at": codec.to_text(tick.at),
            "status": status.value,
            "reason": reason,
            "run": run,
            "was": tick.status.value,
            "owner": tick.owner or "",
        }
        with self._writing() as connection:
            return connection.execute(self._queries["settle_tick"], row).rowcount > 0

    def history(self, schedule: str | None = None, *, limit: int | None = 50) -> Sequence[TickRow]:
        """Newest first."""
        row = {"schedule": schedule, "count": ALL if limit is None else limit}
        with self._asking() as connection:
            return [_to_tick(found) for found in connection.execute(self._queries["ticks"], row).fetchall()]


def may_claim(
    status: TickStatus,
    holder: str | None,
    until: datetime | None,
    owner: str,
    now: datetime,
    is_alive: Callable[[str], bool | None],
) -> bool:
    """The rule of every store: a tick that waits, or one whose claimer is the same process or is gone."""
    if status is TickStatus.CLAIMED:
        return holder == owner or not sharing.is_driven(holder, until, now, is_alive)
    return status in (TickStatus.RECORDED, TickStatus.QUEUED)


def no_schedule(id_: str) -> NotFoundError:
    """Nothing has that id."""
    return NotFoundError(f'there is no schedule "{id_}"', hint='"drystone schedule list" lists them')


def _from_tick(tick: TickRow) -> Mapping[str, Any]:
    return {
        "schedule": tick.schedule,
        "at": codec.to_text(tick.at),
        "due": codec.to_text(tick.due),
        "status": tick.status.value,
        "reason": tick.reason,
        "asked_by": tick.asked_by,
    }


def _to_tick(row: Sequence[Any]) -> TickRow:
    return TickRow(
        schedule=row[0],
        at=codec.from_text(row[1]),
        due=codec.from_text(row[2]),
        status=TickStatus(row[3]),
        reason=row[4],
        run=row[5],
        asked_by=row[6],
        owner=row[7],
    )


def _to_state(row: Sequence[Any]) -> ScheduleState:
    return ScheduleState(
        id=row[0],
        plan=row[1],
        since=codec.from_text(row[2]),
        considered=codec.from_text(row[3]),
        paused_by=row[4],
        paused_at=None if row[5] is None else codec.from_text(row[5]),
    )
