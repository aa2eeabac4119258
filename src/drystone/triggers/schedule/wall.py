"""Wall time to instants: a clock that is put forward leaves a gap, one that is put back shows an hour twice.

Pure. Wall times are naive datetimes, instants aware UTC ones; zones are `zoneinfo.ZoneInfo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)


class Gap(StrEnum):
    """What becomes of a wall time that does not exist."""

    NEXT = "next"
    """It fires at the first moment that does: 02:30 at 03:00."""
    SHIFT = "shift"
    """It fires as long after the hour as it would have: 02:30 at 03:30."""
    SKIP = "skip"


class Overlap(StrEnum):
    """What becomes of a wall time that comes twice."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """An instant that a wall time means. note, skip: as of `plugin.triggers.Tick`."""

    at: datetime
    note: str = ""
    skip: str = ""


def moments(wall: datetime, zone: ZoneInfo, gap: Gap, overlap: Overlap) -> Iterator[Moment]:
    """The instants that a wall time means; one with `skip` when it means none."""
    before, after = _offsets(wall, zone)
    if before == after:
        yield Moment((wall - before).replace(tzinfo=UTC))
    elif before < after:
        yield _in_gap(wall, zone, before, after, gap)
    else:
        clock = shown(wall)
        if overlap is not Overlap.SECOND:
            yield Moment((wall - before).replace(tzinfo=UTC), f"{clock} comes twice: this is the first")
        if overlap is not Overlap.FIRST:
            yield Moment((wall - after).replace(tzinfo=UTC), f"{clock} comes twice: this is the second")


def _in_gap(wall: datetime, zone: ZoneInfo, before: timedelta, after: timedelta, gap: Gap) -> Moment:
    end = _end_of_gap(wall, zone, before, after)
    at = (wall - before).replace(tzinfo=UTC) if gap is Gap.SHIFT else end
    if gap is Gap.SKIP:
        return Moment(at, skip=f"{shown(wall)} does not exist")
    return Moment(at, f"{shown(wall)} does not exist: fires at {shown(at.astimezone(zone))}")


def _end_of_gap(wall: datetime, zone: ZoneInfo, before: timedelta, after: timedelta) -> datetime:
    """The instant at which the clock is put forward: the offset changes between these two, so it is looked for half by half."""
    low, high = (wall - after).replace(tzinfo=UTC), (wall - before).replace(tzinfo=UTC)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if _offset_at(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def bounds(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """No later wall time means an instant before the first of these, no earlier one an instant after the second."""
    before, after = _offsets(wall, zone)
    return (wall - max(before, after)).replace(tzinfo=UTC), (wall - min(before, after)).replace(tzinfo=UTC)


def start(after: datetime, zone: ZoneInfo) -> datetime:
    """A wall time such that none before it means an instant behind `after`: earlier by as much as the clock jumps near by."""
    offsets = [_offset_at(after + hours * HOUR, zone) for hours in range(-25, 26)]
    return after.astimezone(zone).replace(tzinfo=None) - (max(offsets) - min(offsets))


def shown(moment: datetime) -> str:
    """`02:30`, with seconds when there are some."""
    return moment.strftime("%H:%M:%S" if moment.second else "%H:%M")


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """From UTC, as before and as after a jump of the clock; they differ only in a gap or an overlap."""
    before, after = wall.replace(tzinfo=zone, fold=0).utcoffset(), wall.replace(tzinfo=zone, fold=1).utcoffset()
    assert before is not None and after is not None
    return before, after


def _offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
