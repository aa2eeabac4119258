"""How states look: a glyph, a word and a colour for each, and durations as people read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from drystone.core.run import Attempt, Cause, Forecast, Instance, Run, UndoStatus
from drystone.core.states import RunStatus, TaskStatus


@dataclass(frozen=True, slots=True)
class Look:
    """`colour` is a name that both Rich and ANSI styles know."""

    glyph: str
    word: str
    colour: str


TASKS: Mapping[TaskStatus, Look] = {
    TaskStatus.PENDING: Look("·", "pending", "bright_black"),
    TaskStatus.WAITING: Look("…", "waiting", "yellow"),
    TaskStatus.RUNNING: Look("▸", "running", "cyan"),
    TaskStatus.RETRYING: Look("↻", "retrying", "yellow"),
    TaskStatus.SUCCEEDED: Look("✓", "succeeded", "green"),
    TaskStatus.FAILED: Look("✗", "failed", "red"),
    TaskStatus.SKIPPED: Look("–", "skipped", "bright_black"),
    TaskStatus.BLOCKED: Look("⊘", "blocked", "bright_black"),
    TaskStatus.CANCELLED: Look("■", "cancelled", "magenta"),
    TaskStatus.UNDOING: Look("↶", "undoing", "cyan"),
    TaskStatus.UNDONE: Look("↺", "undone", "blue"),
    TaskStatus.UNDO_FAILED: Look("✗", "undo failed", "red"),
}
RUNS: Mapping[RunStatus, Look] = {
    RunStatus.QUEUED: Look("·", "queued", "bright_black"),
    RunStatus.RUNNING: Look("▸", "running", "cyan"),
    RunStatus.WAITING: Look("…", "waiting", "yellow"),
    RunStatus.SUCCEEDED: Look("✓", "succeeded", "green"),
    RunStatus.FAILED: Look("✗", "failed", "red"),
    RunStatus.CANCELLED: Look("■", "cancelled", "magenta"),
    RunStatus.COMPENSATING: Look("↶", "undoing", "cyan"),
    RunStatus.COMPENSATED: Look("↺", "compensated", "blue"),
    RunStatus.COMPENSATION_FAILED: Look("✗", "compensation failed", "red"),
}
UNDO_RETRYING = Look("↻", "undo again", "yellow")
TO_UNDO = Look("◦", "to undo", "bright_black")
LEFT = Look("!", "left", "red")
UNDO_OPEN = frozenset({UndoStatus.PENDING, UndoStatus.RUNNING, UndoStatus.RETRYING})
"""States of an undo that has not ended."""

ORDER: Mapping[Look, int] = {
    look: place
    for place, look in enumerate(
        [
            *(TASKS[status] for status in (TaskStatus.UNDONE, TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.UNDO_FAILED)),
            LEFT,
            *(TASKS[status] for status in (TaskStatus.SKIPPED, TaskStatus.BLOCKED, TaskStatus.CANCELLED)),
            *(TASKS[status] for status in (TaskStatus.UNDOING, TaskStatus.RUNNING, TaskStatus.RETRYING, TaskStatus.WAITING)),
            UNDO_RETRYING,
            TO_UNDO,
            TASKS[TaskStatus.PENDING],
        ]
    )
}
"""In which order they are counted: what has ended, what is at work, what is to come."""


def of_task(instance: Instance) -> Look:
    """The look of an instance, which is that of its undo once the way back has something to say."""
    match instance.undo.status:
        case UndoStatus.PENDING:
            return TO_UNDO
        case UndoStatus.RETRYING:
            return UNDO_RETRYING
        case UndoStatus.LEFT:
            return LEFT
        case _:
            return TASKS[instance.status]


def last_attempt(instance: Instance) -> Attempt | None:
    """The newest try, on the way back when there is one."""
    attempts = instance.undo.attempts or instance.attempts
    return attempts[-1] if attempts else None


def took(attempts: tuple[Attempt, ...], now: datetime) -> timedelta | None:
    """From the start of the first attempt to the end of the last; None when there was none."""
    if not attempts:
        return None
    return (attempts[-1].finished_at or now) - attempts[0].started_at


def elapsed(run: Run, now: datetime) -> timedelta:
    """How long the run has been going, or went; of one that a person asked to undo, the way back alone."""
    asked = run.stopping_since if run.cause is Cause.REQUESTED else None
    return (run.finished_at or now) - (asked or run.started_at or run.created_at)


def duration(length: timedelta | None) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h04m`."""
    if length is None:
        return ""
    seconds = max(0.0, length.total_seconds())
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    return _whole(round(seconds))


def _whole(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"


def rough(seconds: float) -> str:
    """`40s`, `1m30s`, `0.3s`: a length that is only an expectation."""
    return _whole(round(seconds)) if seconds >= 1 else f"{seconds:.1f}s"


def moment(at: datetime, now: datetime) -> str:
    """`14:03:05` in local time, `2026-11-30 14:03` on another day."""
    local, today = at.astimezone(), now.astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


def queued(behind: Sequence[str]) -> str:
    """`queued behind run 01JD3X7P2K (2 before it)`: behind the one right before it; `behind` has the first one first."""
    if not behind:
        return "queued: it is its turn"
    return f"queued behind run {short(behind[-1])}{f' ({len(behind)} before it)' if len(behind) > 1 else ''}"


ANY_MOMENT = "any moment now"
"""Said of what takes longer already than nine in ten before it."""


def span(forecast: Forecast, joint: str = " to ") -> str:
    """`1m40s to 2m10s`, `up to 10s`, `about 12s`: in whole seconds, as nobody knows it better."""
    low, high = (_whole(round(length.total_seconds())) for length in (forecast.low, forecast.high))
    if high == "0s":
        return ANY_MOMENT
    if low == "0s":
        return f"up to {high}"
    return f"about {high}" if low == high else f"{low}{joint}{high}"


def left(forecast: Forecast) -> str:
    """`1m40s to 2m10s left (from 12 earlier runs)`."""
    text, runs = span(forecast), forecast.runs
    source = f" (from {runs} earlier run{'' if runs == 1 else 's'})" if runs else ""
    return f"{text}{source}" if text == ANY_MOMENT else f"{text} left{source}"


def short(run_id: str) -> str:
    """The beginning of a run's id which is enough to name it: the ten characters that tell its millisecond."""
    return run_id[:10]


def shown_path(path: Path) -> str:
    """As one would type it here: relative to the current folder when it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
