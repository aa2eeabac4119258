"""What is wished next: `run.decide` answers with these, and an engine performs them.

Every command carries the events that must be durable before it is performed; `Record` is nothing but those.
A command is never lost: when the process dies between the event and the deed, recovery finds the attempt unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from drystone.core.events import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Write down what follows from what is known: a skip, an expansion, the end of the run."""

    event: Event


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Begin an attempt of an instance. `timeout` None means none but the run's deadline."""

    event: Event
    instance: str
    attempt: int
    token: str
    timeout: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StartUndo:
    """Begin an attempt to undo an instance."""

    event: Event
    instance: str
    attempt: int
    token: str
    timeout: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Tell a running attempt to end; repeated until it has, so performing it twice must be harmless."""

    instance: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wake:
    """Ask again at this moment, whatever happens before."""

    at: datetime


Command = Record | Start | StartUndo | Cancel | Wake
