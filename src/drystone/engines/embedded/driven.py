"""A run in the engine's hands, and what the engine is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drystone.core.events import Event
from drystone.core.run import Run, evolve
from drystone.engines.context import Control
from drystone.engines.ended import Ended
from drystone.engines.vault import Vault
from drystone.ports import Lease, RunRecord


@dataclass(frozen=True, slots=True)
class Done:
    run: str
    instance: str
    undo: bool
    ended: Ended


@dataclass(frozen=True, slots=True)
class Progress:
    run: str
    instance: str
    attempt: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class CancelAsked:
    run: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Call:
    """Of no run: something that the loop is to do. Wants to be alone among the facts."""

    act: Callable[[], None]
    run: None = None


Fact = Done | Progress | CancelAsked | Call


def stands_alone(fact: Fact) -> bool:
    """True when what it means may depend on the fact before it, or decide about the next one."""
    return isinstance(fact, CancelAsked | Call) or (isinstance(fact, Done) and fact.ended.failure is not None)


@dataclass
class Driven:
    """A run in this engine's hands.

    label:    what the state of its instances is kept under.
    answered: ids of requests that the pending events answer.
    behind:   the runs before it in the line of its concurrency key; None once it is its turn.
    slots:    pool -> attempts that may be in flight in it.    told: pool -> (held, wanted) as the store was told last.
    ahead:    by how much the run's last event is later than the clock, which was set back since.
    """

    record: RunRecord
    label: str
    run: Run
    lease: Lease
    vault: Vault
    pending: list[Event] = field(default_factory=list)
    controls: dict[str, Control] = field(default_factory=dict)
    wake_at: datetime | None = None
    answered: list[str] = field(default_factory=list)
    behind: list[str] | None = None
    slots: dict[str, int] = field(default_factory=dict)
    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    ahead: timedelta = timedelta()

    def time(self, now: datetime) -> datetime:
        """A moment of the engine in the time of the run's events, which does not go back: a retry in 2 s is 2 s away."""
        return now + self.ahead

    def add(self, events: Sequence[Event]) -> None:
        """Numbers the events, folds them in, and keeps them for the next write."""
        if events:
            numbered = [event.numbered(seq) for seq, event in enumerate(events, self.run.seq + 1)]
            self.run = evolve(self.run, *numbered)
            self.pending.extend(numbered)
