"""An event as one line of text, for logs and terminals that cannot be drawn on. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drystone.app.describe import instant, masked
from drystone.cli import commands, words
from drystone.core.events import Event, EventType
from drystone.core.run import Run
from drystone.core.states import RunStatus
from drystone.ports import owner_text

WHY = {"cancelled": ", as it was cancelled", "timeout": ", as its time is up", "requested": ", as was asked"}
"""Why a run goes back, when it is not because a task failed: that was told by a line of its own."""


def to_line(event: Event, run: Run, start: str = "drystone") -> str | None:
    """`TIME RUN TASK what happened`; None for what tells a person nothing. `start`: what a command begins with here."""
    text = _words(event, masked(event.data), run, start)
    if text is None:
        return None
    subject = f"{event.task}: " if event.task else ""
    return f"{instant(event.at)} {words.short(event.run)} {subject}{text}"


def _words(event: Event, data: dict[str, Any], run: Run, start: str) -> str | None:
    match event.type:
        case EventType.RUN_CREATED:
            where = f" in environment {data['environment']}" if data.get("environment") else ""
            return f"run {event.run} of plan {data.get('plan', run.graph.plan.name)} created{where}"
        case EventType.RUN_STARTED:
            return f"started by {owner_text(str(data.get('owner', 'drystone')))}"
        case EventType.RUN_QUEUED:
            return words.queued(data["behind"])
        case EventType.RUN_RESUMED | EventType.RUN_UNDO_REQUESTED:
            return f"{event.type.value.removeprefix('run.').replace('_', ' ')} by {data.get('by', 'somebody')}"
        case EventType.RUN_CANCEL_REQUESTED:
            return f"stopping: {data.get('reason', 'cancelled')}"
        case EventType.RUN_COMPENSATING:
            return f"undoing what was done{WHY.get(data['cause'], '')}"
        case EventType.RUN_CLOSING:
            return "the tasks under finally come now"
        case EventType.RUN_FINISHED:
            left = f"; left standing: {', '.join(data['left'])}" if data.get("left") else ""
            # A run may have gone on since.
            is_last = event.at == run.finished_at
            took = words.elapsed(run, event.at) if is_last else event.at - (run.started_at or run.created_at)
            return f"{words.RUNS[RunStatus(data['status'])].word} after {words.duration(took)}{left}"
        case EventType.TASK_PROGRESS:
            return data.get("message") or None
        case EventType.APPROVAL_REQUESTED:
            command = commands.typed(start, "approve", words.short(event.run), event.task or "")
            return f"asks for an approval{_until(data)}: {words.first_line(str(data['message']))} ({command})"
        case EventType.TASK_WAITING | EventType.APPROVAL_GIVEN | EventType.ATTENTION_SKIPPED:
            return _waiting_words(event, data)
        case _:
            return _task_words(event, data)


def _waiting_words(event: Event, data: dict[str, Any]) -> str | None:
    match event.type:
        case EventType.TASK_WAITING if data.get("approval") is not None:
            # The question itself follows.
            return None
        case EventType.TASK_WAITING if data.get("run") is not None:
            return f"waits for run {data['run']}"
        case EventType.TASK_WAITING:
            return f"waits{_until(data)}"
        case EventType.APPROVAL_GIVEN:
            comment = f": {data['comment']}" if data.get("comment") else ""
            said = "approved" if data["answer"] == "approve" else "rejected"
            return f"{said} by {data['by']}{comment}"
        case _:
            what = "its undo" if data["way"] == "back" else "it"
            return f"{data['by']} took {what} on: {data['reason']}"


def _until(data: dict[str, Any]) -> str:
    return f" until {instant(datetime.fromisoformat(data['until']))}" if data.get("until") else ""


def _task_words(event: Event, data: dict[str, Any]) -> str | None:
    way = "undo " if event.type.value.startswith("undo.") else ""
    match event.type:
        case EventType.TASK_EXPANDED:
            return f"expanded to {len(data['keys'])} instances"
        case EventType.TASK_STARTED | EventType.UNDO_STARTED:
            return f"{way}attempt {event.attempt} started"
        case EventType.TASK_SUCCEEDED:
            return "succeeded" if data.get("changed", True) else "succeeded, nothing changed"
        case EventType.UNDO_SUCCEEDED:
            return "undone"
        case EventType.TASK_FAILED | EventType.UNDO_FAILED if data.get("held") and not data["final"]:
            return f"{way}{words.first_line(str(data.get('message', '')))}"
        case EventType.TASK_FAILED | EventType.UNDO_FAILED:
            final = "" if data.get("final", True) else ", will be tried again"
            return f"{way}failed ({data.get('class')}): {words.first_line(str(data.get('message', '')))}{final}"
        case EventType.TASK_RETRYING | EventType.UNDO_RETRYING:
            return f"{way}next attempt at {data['retry_at']}"
        case EventType.TASK_SKIPPED:
            return f"skipped: {data.get('reason', '')}"
        case EventType.TASK_BLOCKED:
            return f"blocked by {', '.join(data.get('by', ()))}"
        case EventType.TASK_CANCELLED:
            return f"cancelled: {data.get('message', '')}"
        case EventType.TASK_LOST | EventType.UNDO_LOST:
            return f"{way}attempt lost: {data.get('message', '')}"
        case _:
            return None
