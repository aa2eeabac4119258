"""What a plan says of a schedule, checked."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from drystone.core import durations
from drystone.core.diagnostics import did_you_mean
from drystone.plugin.fields import Duration
from drystone.plugin.triggers import Config, OverlapPolicy
from drystone.triggers.schedule import cron
from drystone.triggers.schedule.wall import Gap, Overlap


def _zone_name(name: str) -> str:
    if name not in _zones():
        near = did_you_mean(name, _zones())
        raise ValueError(f'there is no time zone "{name}"; {near or "write one such as Europe/Berlin or UTC"}')
    return name


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is no date, nor date and time; write it as 2026-12-24 or 2026-12-24T18:00') from None
    return text


def _window(value: Any) -> Any:
    return {"window": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


ZoneName = Annotated[str, AfterValidator(_zone_name)]
Moment = Annotated[str, AfterValidator(_moment)]
Cron = Annotated[str, AfterValidator(cron.check)]


class Dst(Config):
    """What becomes of a time that a jump of the clock leaves out, or shows twice."""

    gap: Literal["next", "shift", "skip"] = Field(
        "next", description="a time that does not exist: fires when the gap ends, as much later as the gap is long, or not"
    )
    overlap: Literal["first", "second", "both"] = Field("first", description="a time that comes twice")


class CatchUp(Config):
    """What becomes of ticks that nobody was there for."""

    window: Duration = Field("1h", validate_default=True, description="so old may a tick be and still fire; older ones are missed")
    fire: Literal["last", "all"] = Field("last", description="only the last tick in the window, or each of them")


class Blackout(Config):
    """A time in which nothing fires."""

    start: Moment = Field(alias="from", description="date, or date and time, when it begins")
    end: Moment = Field(alias="to", description="when it ends; a date without a time is the last day of it")
    timezone: ZoneName | None = Field(None, description="whose clock that is; the schedule's unless given")
    reason: str = Field("", description="shown with each tick that it keeps from firing")


class ScheduleConfig(Config):
    """A schedule in a plan."""

    cron: Cron = Field(description="five fields, six with seconds in front, or a word such as @daily")
    timezone: ZoneName = Field("UTC", description="whose clock the cron expression is read on")
    dst: Dst | None = Field(None, description="on days on which the clock jumps")
    jitter: Duration = Field("0s", validate_default=True, description="fires up to so much later, always as much for the same tick")
    overlap: OverlapPolicy = Field(OverlapPolicy.SKIP, description="while a run that it started has not ended")
    catch_up: Annotated[CatchUp, BeforeValidator(_window, json_schema_input_type=str | float | CatchUp)] = Field(
        "1h", validate_default=True, description="after a time in which nothing could fire: the window, or a map"
    )
    blackout: tuple[Blackout, ...] = Field((), description="times in which nothing fires")
    start: Moment | None = Field(None, description="nothing before it")
    end: Moment | None = Field(None, description="nothing after it; a date is the last day")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone itself."""
        return ZoneInfo(self.timezone)

    @property
    def gap(self) -> Gap:
        """As written, else what the expression means by itself."""
        if self.dst is not None:
            return Gap(self.dst.gap)
        return Gap.SKIP if cron.keeps_real_time(self.cron) else Gap.NEXT

    @property
    def twice(self) -> Overlap:
        """As written, else what the expression means by itself."""
        if self.dst is not None:
            return Overlap(self.dst.overlap)
        return Overlap.BOTH if cron.keeps_real_time(self.cron) else Overlap.FIRST


def begin_of(text: str, zone: ZoneInfo) -> datetime:
    """The instant at which a written moment begins."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def end_of(text: str, zone: ZoneInfo) -> datetime:
    """The first instant behind a written moment: a date without a time ends with its day."""
    if len(text) <= len("2026-12-24"):
        return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), tzinfo=zone)
    return begin_of(text, zone)


def shown_jitter(config: ScheduleConfig) -> str:
    """`+5m`, or nothing."""
    return f"+{durations.to_text(config.jitter)}" if config.jitter else ""
