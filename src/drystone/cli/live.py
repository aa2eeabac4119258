"""Watching a run: a live picture on a terminal, a line for each event elsewhere, NDJSON for programs.

The engine calls a watcher with each durable event and the run after it; the picture is drawn by a thread of its own,
so that nothing waits for the terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TextIO

from drystone.cli import lines, terminal
from drystone.core.events import Event, EventType
from drystone.core.run import Forecast, Run, remaining
from drystone.ports import Clock

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

FRAMES_PER_SECOND = 8
LARGE = 1_000
"""Tasks from which on the picture is drawn less often: it must not take time from the run."""
FORECAST_EVERY, FORECAST_EVERY_OF_LARGE = timedelta(seconds=1), timedelta(seconds=5)
"""How often it is reckoned how long the run has still to go, which takes a walk over the graph."""


class Watcher(Protocol):
    """Is told all that happens in a run."""

    def __enter__(self) -> Watcher: ...

    def __exit__(self, *exc: object) -> None: ...

    def see(self, event: Event, run: Run) -> None:
        """An event that is on disk, and the run after it. Called from the engine; must return at once and not raise."""
        ...

    def notice(self, text: str) -> None:
        """A line for the person. May be called from a signal handler."""
        ...


def watcher(clock: Clock, *, json: bool, start: str = "drystone") -> Watcher:
    """The one that fits where the output goes. `start`: what a command begins with here."""
    if json:
        return JsonWatcher()
    return LiveWatcher(terminal.progress(), clock.now, start) if terminal.is_terminal(sys.stderr) else LineWatcher(start)


class JsonWatcher:
    """One event a line on standard output, and nothing else there."""

    def __enter__(self) -> JsonWatcher:
        return self

    def __exit__(self, *exc: object) -> None:
        """Everything was flushed."""

    def see(self, event: Event, run: Run) -> None:
        """Prints it."""
        from drystone.core.codec import event_to_json

        _print(sys.stdout, json.dumps(event_to_json(event)))

    def notice(self, text: str) -> None:
        """To standard error: standard output is for events."""
        _say(text)


class LineWatcher:
    """One line for each event on standard error, for logs and CI. `start`: what a command begins with here."""

    def __init__(self, start: str = "drystone") -> None:
        self._start = start

    def __enter__(self) -> LineWatcher:
        return self

    def __exit__(self, *exc: object) -> None:
        """Everything was flushed."""

    def see(self, event: Event, run: Run) -> None:
        """Prints it, unless it tells a person nothing."""
        if (line := lines.to_line(event, run, self._start)) is not None:
            _print(sys.stderr, line)

    def notice(self, text: str) -> None:
        """Printed as it is."""
        _say(text)


def _print(stream: TextIO, line: str) -> None:
    """Prints at once. When the reader has gone, the run goes on unwatched: it is worth more than its report."""
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    # Past Python's buffer: a signal handler may have interrupted a write to it, and a second one inside it is an error.
    with suppress(BrokenPipeError):
        os.write(2, f"{text}\n".encode())


class LiveWatcher:
    """A picture that moves; its last state stays on the screen."""

    def __init__(self, console: Console, now: Callable[[], datetime], start: str = "drystone") -> None:
        """`start`: what a command begins with here."""
        self._console = console
        self._now = now
        self._command = start
        self._run: Run | None = None
        self._progress: dict[str, str] = {}
        self._notice = ""
        self._behind: tuple[str, ...] = ()
        self._forecast: Forecast | None = None
        self._forecast_until: datetime | None = None
        self._live: Live | None = None

    def __enter__(self) -> LiveWatcher:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._run is not None and self._run.status.is_final:
            self._notice = ""
        if self._live is not None:
            self._live.stop()

    def see(self, event: Event, run: Run) -> None:
        """Keeps what the next picture shows."""
        self._run = run
        match event.type, event.task:
            case EventType.TASK_PROGRESS, str(task):
                self._progress[task] = str(event.data.get("message", ""))
            case ((EventType.TASK_STARTED | EventType.UNDO_STARTED), str(task)):
                self._progress.pop(task, None)
            case EventType.RUN_QUEUED, _:
                self._behind = tuple(event.data["behind"])
        if self._live is None:
            self._start(run)

    def notice(self, text: str) -> None:
        """Stands below the picture."""
        self._notice = text

    def _start(self, run: Run) -> None:
        from rich.live import Live

        rate = FRAMES_PER_SECOND if len(run.graph.nodes) < LARGE else 2
        self._live = Live(console=self._console, get_renderable=self._picture, refresh_per_second=rate, vertical_overflow="crop")
        self._live.start()

    def _remaining(self, run: Run, now: datetime) -> Forecast | None:
        if self._forecast_until is None or now >= self._forecast_until:
            self._forecast = remaining(run, now)
            self._forecast_until = now + (FORECAST_EVERY if len(run.graph.nodes) < LARGE else FORECAST_EVERY_OF_LARGE)
        return self._forecast

    def _picture(self) -> RenderableType:
        from rich.console import Group

        from drystone.cli.frame import draw
        from drystone.cli.scene import Scene

        assert self._run is not None
        run, now = self._run, self._now()
        scene = Scene(
            run=run,
            now=now,
            progress=self._progress,
            notice=self._notice,
            forecast=self._remaining(run, now),
            behind=self._behind,
            start=self._command,
        )
        size = self._console.size
        return Group(*draw(scene, width=size.width, height=size.height))
