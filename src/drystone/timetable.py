"""The door to what the store keeps of schedules: a tick is written down before anything comes of it, and has one fate.

`stores/` implements it, beside the journal of runs; `app.firing` decides with it. Instants are aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class TickStatus(StrEnum):
    """What became of a tick."""

    RECORDED = "recorded"
    """It is due, or will be when its jitter is over."""
    QUEUED = "queued"
    """It waits for the end of a run that the schedule started."""
    CLAIMED = "claimed"
    """A process is starting its run."""
    FIRED = "fired"
    """Its run has started."""
    DONE = "done"
    """Its run has ended, however it ended."""
    SKIPPED = "skipped"
    """By the schedule's own rules."""
    MISSED = "missed"
    """Nobody was there for it in time."""
    FAILED = "failed"
    """Its run could not be started."""


OPEN = (TickStatus.RECORDED, TickStatus.QUEUED, TickStatus.CLAIMED, TickStatus.FIRED)
"""Those with which something has still to be done. The index of the table names the same."""
WITHOUT_RUN = (TickStatus.SKIPPED, TickStatus.MISSED, TickStatus.FAILED)
"""Those that no run came of: a person may ask for them again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleState:
    """What is known of a schedule between turns.

    id:         `<plan>/<trigger>`.
    since:      when it was first seen: no tick before it counts.
    considered: ticks up to here are written down.
    paused_by:  who paused it, and when; None while it goes on.
    """

    id: str
    plan: str
    since: datetime
    considered: datetime
    paused_by: str | None = None
    paused_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TickRow:
    """One tick: a schedule has one at an instant.

    due:      when it fires, if it does.
    reason:   why it has this status, or what is odd about it; empty when there is nothing to say.
    asked_by: who asked for it by hand; None for one that came by itself.
    owner:    who claimed it; None unless it is `claimed`.
    """

    schedule: str
    at: datetime
    due: datetime
    status: TickStatus
    reason: str = ""
    run: str | None = None
    asked_by: str | None = None
    owner: str | None = None


class Timetable(Protocol):
    """Durable storage of schedules and their ticks. Every write is on disk when its method returns."""

    def schedules(self) -> Sequence[ScheduleState]:
        """All that were ever seen, by id."""
        ...

    def begin(self, id_: str, plan: str, now: datetime) -> ScheduleState:
        """A schedule that is seen now; as it was when it was seen before."""
        ...

    def record(self, schedule: str, ticks: Sequence[TickRow], considered: datetime | None, *, again: bool = False) -> int:
        """Writes down ticks that are not there, and that all up to `considered` are; how many ticks were written.

        again: also those that are there and that no run came of, which get a new fate.
        """
        ...

    def pause(self, id_: str, by: str, now: datetime) -> None:
        """Harmless when it is paused. Raises NotFoundError."""
        ...

    def proceed(self, id_: str, now: datetime) -> None:
        """It goes on, from now: what was due while it was paused is past. Harmless when it is not paused. Raises NotFoundError."""
        ...

    def open(self, schedule: str) -> Sequence[TickRow]:
        """Ticks with which something has still to be done, oldest first."""
        ...

    def claim(self, tick: TickRow, owner: str, until: datetime, now: datetime) -> bool:
        """Takes a tick that is recorded or queued, or whose claimer is gone. False when another is faster, or its fate is known."""
        ...

    def settle(self, tick: TickRow, status: TickStatus, *, reason: str = "", run: str | None = None) -> bool:
        """Gives the tick a status. False when it is not any more as `tick` says: its status and owner."""
        ...

    def history(self, schedule: str | None = None, *, limit: int | None = 50) -> Sequence[TickRow]:
        """Newest first; `limit` None means all."""
        ...
