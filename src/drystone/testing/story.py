"""What became of a run, in the words of a test: which tasks, in which order, and a timeline for a person.

Made from the run's events alone, so that it is the same whoever drove the run: a rehearsal, an engine, or a journal of long ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drystone.cli import exit_codes, lines
from drystone.core import durations
from drystone.core.events import Event, EventType
from drystone.core.run import Cause, Run
from drystone.core.states import RunStatus, TaskStatus


@dataclass(frozen=True, kw_only=True, repr=False)
class Story:
    """A run and its events, read. Tasks are named by their instances: `network`, `vm[0]`."""

    run: Run
    events: Sequence[Event]

    @property
    def status(self) -> RunStatus:
        """Of the run; compares with plain text, as in `status == "compensated"`."""
        return self.run.status

    @property
    def cause(self) -> Cause | None:
        """Why it does not go forward any more."""
        return self.run.cause

    @property
    def exit_code(self) -> int:
        """What `drystone run` would end with."""
        return exit_codes.of_run(self.run.status, self.run.cause, left=bool(self.run.left))

    @property
    def started(self) -> list[str]:
        """Instances in the order in which their attempts began; one that was tried twice is there twice."""
        return self._with(EventType.TASK_STARTED)

    @property
    def succeeded(self) -> list[str]:
        """In the order in which they succeeded, whether they were undone later or not."""
        return self._with(EventType.TASK_SUCCEEDED)

    @property
    def failed(self) -> list[str]:
        """Those that failed for good, in the order in which they did."""
        return [str(event.task) for event in self.events if event.type is EventType.TASK_FAILED and event.data["final"]]

    @property
    def undone(self) -> list[str]:
        """In the order in which their undos ended."""
        return self._with(EventType.UNDO_SUCCEEDED)

    @property
    def undo_failed(self) -> list[str]:
        """Those whose undo failed for good, in the order in which it did."""
        return [str(event.task) for event in self.events if event.type is EventType.UNDO_FAILED and event.data["final"]]

    @property
    def left(self) -> list[str]:
        """What a way back left standing, in the order of the graph."""
        return list(self.run.left)

    @property
    def skipped(self) -> list[str]:
        """Those whose condition was false, or that rest on such, in the order of the graph."""
        return self._in(TaskStatus.SKIPPED)

    @property
    def blocked(self) -> list[str]:
        """Those that another's failure kept from starting, in the order of the graph."""
        return self._in(TaskStatus.BLOCKED)

    @property
    def cancelled(self) -> list[str]:
        """Those that were ended or never began because the run stopped, in the order of the graph."""
        return self._in(TaskStatus.CANCELLED)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Of the plan."""
        return self.run.outputs

    @property
    def took(self) -> timedelta:
        """From the first event to the last."""
        return self.events[-1].at - self.events[0].at

    def attempts(self, id_: str) -> int:
        """How many attempts of an instance were begun."""
        return self.started.count(id_)

    def undo_attempts(self, id_: str) -> int:
        """How many attempts to undo an instance were begun."""
        return self._with(EventType.UNDO_STARTED).count(id_)

    def types(self, id_: str | None = None) -> list[str]:
        """The types of all events in order, or of those of one instance."""
        return [event.type.value for event in self.events if id_ is None or event.task == id_]

    def told(self, type_: EventType | str, id_: str | None = None) -> list[Mapping[str, Any]]:
        """The data of the events of one type, in order: of one instance, or of all."""
        return [event.data for event in self.events if event.type == type_ and id_ in (None, event.task)]

    def _with(self, type_: EventType) -> list[str]:
        return [str(event.task) for event in self.events if event.type is type_]

    def _in(self, status: TaskStatus) -> list[str]:
        return [instance.id for instance in self.run.in_order() if instance.status is status]

    @property
    def timeline(self) -> str:
        """One line for each event: its number, the time since the first one, and what happened."""
        return "\n".join([*self._head(), *self._lines(), *self._tail()])

    def _head(self) -> Iterator[str]:
        yield f"{self.run.graph.plan.name}: {self.status} (exit {self.exit_code}) after {durations.to_text(self.took)}"

    def _lines(self) -> Iterator[str]:
        first = self.events[0].at
        for event in self.events:
            if (text := self._said(event)) is not None:
                yield f"{event.seq:5} {durations.to_text(event.at - first):>9}  {text}"

    def _said(self, event: Event) -> str | None:
        if event.type in (EventType.TASK_RETRYING, EventType.UNDO_RETRYING):
            wait = datetime.fromisoformat(event.data["retry_at"]) - event.at
            return f"{event.task}: next attempt in {durations.to_text(wait)}"
        line = lines.to_line(event, self.run)
        # Without the instant and the run's id, which say nothing here.
        return None if line is None else line.split(" ", 2)[2]

    def _tail(self) -> Iterator[str]:
        for title, names in (("undone", self.undone), ("left standing", self.left)):
            if names:
                yield f"{title}: {', '.join(names)}"

    def __repr__(self) -> str:
        parts = [f"{name}={found}" for name in ("failed", "undone", "left") if (found := getattr(self, name))]
        return f"<{type(self).__name__} of {self.run.graph.plan.name}: {', '.join([self.status.value, *parts])}>"
