"""Who stands where in a line, and who gets the slots of a pool: the rules of every store, over what it reads under its own lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drystone.core.states import RunStatus
from drystone.ports import BEGINNING, Place

Liveness = Callable[[str], bool | None]
"""Whether the process behind an owner's text still lives; None when it cannot be known."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a run has of a pool and waits for. `since`: start of the wait, or the moment of the last slot given."""

    run: str
    held: int
    wanted: int
    since: datetime


def is_driven(owner: str | None, until: datetime | None, now: datetime, is_alive: Liveness) -> bool:
    """True when a live process has the run: it is seen to live, or cannot be seen and its lease is not over."""
    if owner is None or until is None:
        return False
    alive = is_alive(owner)
    return until > now if alive is None else alive


def is_unattended(
    owner: str | None, until: datetime | None, epoch: int, created_at: datetime, now: datetime, is_alive: Liveness
) -> bool:
    """True for a run that anybody may take up. `epoch` 0: nobody ever took it."""
    return not is_driven(owner, until, now, is_alive) and (epoch > 0 or now - created_at > BEGINNING)


def has_begun(status: RunStatus) -> bool:
    """True for a run that is neither before its start nor after its end."""
    return status is not RunStatus.QUEUED and not status.is_final


def in_order(places: Iterable[Place]) -> list[Place]:
    """The line of one key; `owner` of each place is None unless a live process has the run.

    Who has begun keeps the key, whoever comes back into the line meanwhile.
    """
    waiting_or_at_work = (place for place in places if has_begun(place.status) or place.owner is not None)
    return sorted(waiting_or_at_work, key=lambda place: (not has_begun(place.status), place.since, place.run))


def end_of_line(last: datetime | None, now: datetime) -> datetime:
    """The `since` of who joins now: later than the last one's, also when the clocks of two machines differ."""
    return now if last is None else max(now, last + timedelta(microseconds=1))


def share(seats: Sequence[Seat], run: str, *, size: int, held: int, wanted: int, now: datetime) -> tuple[Seat, int]:
    """The run's seat after it asked, and how many slots it was given; `ports.Journal.slots` tells the rules.

    seats: those of the pool whose runs a live process drives, and the run's own if it has one.
    """
    others = [seat for seat in seats if seat.run != run]
    mine = next((seat for seat in seats if seat.run == run), None)
    since = now if mine is None or (mine.wanted == 0 and wanted > 0) else mine.since
    free = size - held - sum(seat.held for seat in others)
    given = _falls_to(run, [*others, Seat(run, held, wanted, since)], free)
    return Seat(run, held + given, wanted - given, now if given else since), given


def _falls_to(run: str, seats: Sequence[Seat], free: int) -> int:
    waiting = sorted((seat for seat in seats if seat.wanted > 0), key=lambda seat: (seat.since, seat.run))
    turns = deque((seat.run, seat.wanted) for seat in waiting)
    given = 0
    while free > 0 and turns:
        served, wanted = turns.popleft()
        free -= 1
        given += served == run
        if wanted > 1:
            turns.append((served, wanted - 1))
    return given
