"""The plugin: what drystone asks of a schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from drystone.plugin.triggers import Policy, Shape, Tick, Timed
from drystone.triggers.schedule import calendar
from drystone.triggers.schedule.config import ScheduleConfig, shown_jitter

EVENT = ("id", "name", "tick", "utc", "local_date", "local_time", "timezone", "previous")


class Schedule(Timed):
    """Starts runs by the clock of a time zone."""

    name = "schedule"
    Config = ScheduleConfig
    event: ClassVar[Shape] = {"schedule": dict.fromkeys(EVENT)}

    def ticks(self, id_: str, config: ScheduleConfig, after: datetime, until: datetime) -> Iterator[Tick]:
        """See `calendar.ticks`."""
        return calendar.ticks(id_, config, after, until)

    def policy(self, config: ScheduleConfig) -> Policy:
        """As written."""
        return Policy(overlap=config.overlap, window=config.catch_up.window, catch_up_all=config.catch_up.fire == "all")

    def event_of(self, id_: str, config: ScheduleConfig, at: datetime) -> Mapping[str, Any]:
        """Instants as ISO text, in the schedule's zone but for `utc`; `previous` is null when there was no tick before."""
        local = at.astimezone(config.zone)
        before = calendar.previous(config, at)
        facts = {
            "id": id_,
            "name": id_.rpartition("/")[2],
            "tick": local.isoformat(),
            "utc": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "local_date": local.date().isoformat(),
            "local_time": local.strftime("%H:%M:%S"),
            "timezone": config.timezone,
            "previous": None if before is None else before.astimezone(config.zone).isoformat(),
        }
        return {"schedule": facts}

    def held_back(self, config: ScheduleConfig, moment: datetime) -> str:
        """The blackout that a moment is in."""
        return calendar.blackout(config, moment)

    def zone(self, config: ScheduleConfig) -> ZoneInfo:
        """As written."""
        return config.zone

    def summary(self, config: ScheduleConfig) -> str:
        """`0 2 * * * Europe/Berlin +5m`."""
        return " ".join(filter(None, (config.cron, config.timezone, shown_jitter(config))))
