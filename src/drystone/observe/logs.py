"""What a server does, a JSON object a line: `at`, `level`, `event`, and the ids of what it is about (run, task, attempt).

Texts of tasks are those of the journal, in which no secret stands in clear (DESIGN §4.10).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import structlog

from drystone.core.events import Event, EventType
from drystone.core.run import Run

WARNINGS = frozenset({EventType.TASK_RETRYING, EventType.RUN_COMPENSATING})
ERRORS = frozenset({EventType.TASK_FAILED, EventType.UNDO_FAILED})
SAID = ("class", "message", "reason", "status", "cause", "by", "retry_at", "owner", "final")
"""Of an event's data; all of it is in the journal."""
TROUBLE = ("failed", "not_taken")
LONGEST = 1000
"""Characters of one text: a message may be a page of a tool's output, and a line of the log is read as a line."""


class JsonLog:
    """Writes lines to one stream; safe to use from several threads."""

    def __init__(self, stream: TextIO, now: Callable[[], str]) -> None:
        def stamp(_: Any, level: str, fields: Any) -> Any:
            return {"at": now(), "level": level, "event": fields.pop("event"), **fields}

        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[stamp, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)],
            wrapper_class=structlog.BoundLogger,
        )

    def tell(self, event: str, fields: Mapping[str, object]) -> None:
        """What the server itself does."""
        write = self._log.error if event.endswith(TROUBLE) else self._log.info
        write(event, **fields)

    def observe(self, run: Run, events: Sequence[Event]) -> None:
        """What happens in runs; progress is left to `drystone logs`."""
        for event in events:
            if event.type is not EventType.TASK_PROGRESS:
                self._level(run, event)(event.type.value, **_fields(run, event))

    def _level(self, run: Run, event: Event) -> Any:
        if event.type in ERRORS or (event.type is EventType.RUN_FINISHED and event.data.get("status") != "succeeded"):
            return self._log.error
        return self._log.warning if event.type in WARNINGS else self._log.info

    def handler(self) -> logging.Handler:
        """For libraries that write to Python's own log: the web server."""
        return _Handler(self)


class _Handler(logging.Handler):
    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.INFO)
        self._json = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line of a library."""
        name = "library.failed" if record.levelno >= logging.ERROR else "library.says"
        self._json.tell(name, {"library": record.name, "message": self.format(record)})


def _fields(run: Run, event: Event) -> dict[str, Any]:
    about = {"run": run.id, "plan": run.graph.plan.name, "environment": run.environment, "seq": event.seq}
    if event.task is not None:
        about |= {"task": event.task, "attempt": event.attempt}
    said = {name: event.data[name] for name in SAID if event.data.get(name) is not None}
    return {name: value for name, value in about.items() if value is not None} | {name: _cut(value) for name, value in said.items()}


def _cut(value: object) -> object:
    return value[: LONGEST - 1] + "…" if isinstance(value, str) and len(value) > LONGEST else value
