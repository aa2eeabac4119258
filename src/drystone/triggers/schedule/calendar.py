"""When a schedule is due: cron on the wall clock -> ticks, whatever window is asked for.

Pure: windows that lie end to end give together the ticks of the whole, none lost and none twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

from drystone.plugin.triggers import Tick
from drystone.triggers.schedule import cron, wall
from drystone.triggers.schedule.config import ScheduleConfig, begin_of, end_of
from drystone.triggers.schedule.wall import Moment

_SECOND = timedelta(seconds=1)


def ticks(id_: str, config: ScheduleConfig, after: datetime, until: datetime) -> Iterator[Tick]:
    """The ticks with after < at <= until, in order, no two at the same instant."""
    zone = config.zone
    if config.start is not None:
        after = max(after, begin_of(config.start, zone) - timedelta(microseconds=1))
    if config.end is not None:
        until = min(until, end_of(config.end, zone) - timedelta(microseconds=1))
    for moment in _moments(config, zone, after, until):
        skip = moment.skip or blackout(config, moment.at)
        due = moment.at + delay(id_, moment.at, config.jitter)
        yield Tick(at=moment.at, due=due, local=moment.at.astimezone(zone), note=moment.note, skip=skip)


def _moments(config: ScheduleConfig, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[Moment]:
    """Wall times come in order, the instants that they mean do not quite: they wait until no earlier one can come."""
    waiting: list[tuple[datetime, bool, str, Moment]] = []
    last = after.astimezone(UTC)
    until = until.astimezone(UTC)
    for time in cron.walls(config.cron, wall.start(after, zone) - _SECOND):
        earliest, _ = wall.bounds(time, zone)
        while waiting and waiting[0][0] < earliest:
            moment = heapq.heappop(waiting)[-1]
            if last < moment.at <= until:
                last = moment.at
                yield moment
        if earliest > until:
            break
        for moment in wall.moments(time, zone, config.gap, config.twice):
            # Of several at one instant the one speaks that fires, and has least to say.
            heapq.heappush(waiting, (moment.at, bool(moment.skip), moment.note, moment))
    while waiting:
        moment = heapq.heappop(waiting)[-1]
        if last < moment.at <= until:
            last = moment.at
            yield moment


def previous(config: ScheduleConfig, at: datetime) -> datetime | None:
    """The instant of the last tick before one, whether that one fired or not; None when there was none."""
    zone = config.zone
    best: datetime | None = None
    begin = begin_of(config.start, zone) if config.start is not None else None
    ahead = at.astimezone(zone).replace(tzinfo=None) + (at.astimezone(zone).replace(tzinfo=None) - wall.start(at, zone)) + _SECOND
    for time in cron.walls_back(config.cron, ahead):
        for moment in wall.moments(time, zone, config.gap, config.twice):
            if not moment.skip and moment.at < at and (best is None or moment.at > best):
                best = moment.at
        latest = wall.bounds(time, zone)[1]
        if (best is not None and latest <= best) or (begin is not None and latest < begin):
            break
    return best if best is not None and (begin is None or best >= begin) else None


def delay(id_: str, at: datetime, jitter: timedelta) -> timedelta:
    """From a tick to when it fires, in whole milliseconds below `jitter`: every server works out the same."""
    most = jitter // timedelta(milliseconds=1)
    drawn = int.from_bytes(sha256(f"{id_} {at.astimezone(UTC).isoformat()}".encode()).digest()[:8])
    return timedelta(milliseconds=drawn % most) if most else timedelta(0)


def blackout(config: ScheduleConfig, moment: datetime) -> str:
    """Why nothing fires at a moment; empty when something may."""
    for period in config.blackout:
        zone = ZoneInfo(period.timezone) if period.timezone is not None else config.zone
        if begin_of(period.start, zone) <= moment < end_of(period.end, zone):
            return f"blackout: {period.reason or f'from {period.start} to {period.end}'}"
    return ""
