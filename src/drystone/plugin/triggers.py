"""What a trigger is made with: the types behind `triggers` in a plan, each a class behind an entry point of the group `drystone.triggers`.

There are two sorts. A `Timed` type says when it is due, and `app.schedules` does the rest: records, claims, starts. Whatever else a type
listens to comes as events, whose config begins with `EventConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field

from drystone.core.trigger_check import Shape
from drystone.plugin.api import Config
from drystone.plugin.fields import Duration

__all__ = ["Config", "EventConfig", "OverlapPolicy", "Policy", "Shape", "Throttle", "Tick", "Timed", "Trigger"]


class Throttle(Config):
    """So many events in so much time; what comes beyond it is recorded and starts nothing."""

    max: int = Field(ge=1, description="events that start a run")
    per: Duration = Field(description="in so much time")


class EventConfig(Config):
    """Base of the config of a trigger that waits for events. `when` and `dedupe` are evaluated for each, with `event` in sight."""

    when: bool | None = Field(None, description="an expression over `event`; false: the event starts nothing")
    dedupe: str | None = Field(None, description="an expression over `event`: of events with the same key only the first starts a run")
    throttle: Throttle | None = Field(None, description="a limit of runs in a time")


class Trigger:
    """Base of all types of triggers."""

    name: ClassVar[str]
    Config: ClassVar[type[Config]]
    roots: ClassVar[tuple[str, ...]] = ("secrets",)
    """What expressions of the config may look at when the trigger is set up."""
    per_event: ClassVar[frozenset[str]] = frozenset({"when", "dedupe"})
    """Keys of the config that are evaluated for each event: they see `event` besides."""
    event: ClassVar[Shape | None] = None
    """The names below `event`, so that expressions are checked before anything happens; None when nobody knows them beforehand."""


class OverlapPolicy(StrEnum):
    """What becomes of a tick while a run that the same schedule started has not ended."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    """It waits for that run; while one waits, others are skipped."""
    QUEUE_ALL = "queue_all"
    CANCEL_OTHER = "cancel_other"
    """That run is cancelled, and the newest tick starts when it has ended."""
    ALLOW = "allow"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a schedule does with its ticks.

    window:  a tick that is found late still fires when it is at most so old; older ones are missed.
    catch_up_all: each late tick fires; if not, only the last of them.
    """

    overlap: OverlapPolicy = OverlapPolicy.SKIP
    window: timedelta = timedelta(hours=1)
    catch_up_all: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """One moment of a schedule.

    at:    the instant, UTC: with the schedule it is the tick's identity.
    due:   when it fires: `at`, or up to the schedule's jitter later.
    local: the same moment on the clock of the schedule's zone.
    note:  what is odd about it, such as "02:30 comes twice: this is the first"; empty for an ordinary one.
    skip:  why it does not fire; empty when it does.
    """

    at: datetime
    due: datetime
    local: datetime
    note: str = ""
    skip: str = ""


class Timed(Trigger):
    """A type whose events are moments in time. All of it is pure: equal arguments give equal answers, on every server."""

    roots: ClassVar[tuple[str, ...]] = ()
    per_event: ClassVar[frozenset[str]] = frozenset()

    def ticks(self, id_: str, config: Any, after: datetime, until: datetime) -> Iterator[Tick]:
        """The ticks with after < at <= until, in order, no two at the same instant. id_: of the trigger, for the jitter."""
        raise NotImplementedError

    def policy(self, config: Any) -> Policy:
        """What becomes of ticks that are late, or overlap with a run."""
        raise NotImplementedError

    def event_of(self, id_: str, config: Any, at: datetime) -> Mapping[str, Any]:
        """`event` of the tick at an instant: JSON."""
        raise NotImplementedError

    def held_back(self, config: Any, moment: datetime) -> str:
        """Why nothing may fire at a moment; empty when it may."""
        return ""

    def zone(self, config: Any) -> tzinfo:
        """Whose clock people mean when they name a time of the schedule."""
        return UTC

    def summary(self, config: Any) -> str:
        """The schedule in a few words, for lists: `0 2 * * * Europe/Berlin`."""
        raise NotImplementedError
