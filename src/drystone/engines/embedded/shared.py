"""One engine for all runs of a process that stays: in a thread of its own, and a seat in it for whoever takes a run.

A seat looks like an engine of its own, so that every use case which takes a run works here as it does in a command.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drystone.core.events import Event
from drystone.core.expected import Expected
from drystone.core.run import Run
from drystone.engines.embedded.engine import EmbeddedEngine, Stays
from drystone.engines.embedded.writing import Observer
from drystone.engines.vault import Vault
from drystone.errors import LockedError, RefusedError
from drystone.ports import RunRecord


class SharedEngine:
    """Drives runs until it is stopped.

    build: the engine, given who observes it and who is told of each run that it lets go.
    """

    def __init__(self, build: Callable[[Sequence[Observer], Callable[[Run], None]], EmbeddedEngine]) -> None:
        self._observers: list[Observer] = []
        self._taken: dict[str, _Taken] = {}
        self._stopping = threading.Event()
        self._grace = timedelta()
        self._engine = build([self._observe], self._ended)
        self._thread = threading.Thread(target=self._drive, name="engine", daemon=True)
        self.failure: BaseException | None = None
        """Why the loop ended although nobody stopped it: the store cannot be written, say."""

    def watch(self, observer: Observer) -> None:
        """Tells it of all that happens from now on; called in the loop, so it must be quick."""
        self._observers = [*self._observers, observer]

    def start(self) -> None:
        """Begins to drive."""
        self._thread.start()

    @property
    def is_driving(self) -> bool:
        """False before its start, and after its end, however that came."""
        return self._thread.is_alive()

    def stop(self, grace: timedelta) -> None:
        """Gives all runs back; what is in flight may go on for the grace time. Waits for it."""
        self._grace = grace
        self._stopping.set()
        self._engine.call(lambda: None)
        self._thread.join()
        self._engine.close()

    def seat(self, observers: Sequence[Observer]) -> Seat:
        """For one use case; `observers` are told of the runs that it takes."""
        return Seat(self, observers)

    def do(self, act: Callable[[EmbeddedEngine], None]) -> None:
        """Has the loop do something, and waits until it is done. What it raises is raised here. Raises RefusedError when it has ended."""
        done: Future[None] = Future()

        def call() -> None:
            try:
                act(self._engine)
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._engine.call(call)
        while not done.done():
            if self._stopping.is_set() or not self.is_driving:
                raise RefusedError("drystone is stopping: it takes no more runs", hint="the next one that serves the project does")
            try:
                done.exception(timeout=0.1)
            except TimeoutError:
                continue
        done.result()

    def cancel(self, run: str, *, by: str, reason: str) -> None:
        """Asks for a graceful end."""
        self._engine.cancel(run, by=by, reason=reason)

    def take(self, run: str, observers: Sequence[Observer], taking: Callable[[EmbeddedEngine], None]) -> Future[Run]:
        """Takes a run. Its end is told when the engine lets go of it, to where only a person can move it on too.

        Raises what `taking` raises, and LockedError when the run is taken already.
        """
        taken = _Taken(observers)

        def act(engine: EmbeddedEngine) -> None:
            if engine.has(run):
                raise LockedError(f"this process has run {run} already")
            self._taken[run] = taken
            try:
                taking(engine)
            except BaseException:
                del self._taken[run]
                raise

        self.do(act)
        return taken.end

    # In the loop's thread, as all that touches `_taken`.

    def _observe(self, run: Run, events: Sequence[Event]) -> None:
        taken = self._taken.get(run.id)
        for observer in (*self._observers, *(taken.observers if taken is not None else ())):
            observer(run, events)

    def _ended(self, run: Run) -> None:
        if (taken := self._taken.pop(run.id, None)) is not None:
            taken.end.set_result(run)

    def _drive(self) -> None:
        try:
            self._engine.attend(self._stopping.is_set)
            self._engine.hand_over(self._grace)
        except BaseException as error:
            self.failure = error
        finally:
            for taken in self._taken.values():
                taken.end.set_exception(RefusedError("drystone stopped before the run had ended"))


@dataclass(frozen=True, slots=True)
class _Taken:
    observers: Sequence[Observer]
    end: Future[Run] = field(default_factory=Future)


class Seat:
    """What a use case takes for an engine (`app.world.Engine`)."""

    def __init__(self, shared: SharedEngine, observers: Sequence[Observer]) -> None:
        self._shared = shared
        self._observers = list(observers)
        self._taken: dict[str, Future[Run]] = {}

    def start(self, record: RunRecord, run: Run, vault: Vault, *, expected: Mapping[str, Expected] | None = None) -> None:
        """As the engine's own."""
        self._taken[run.id] = self._shared.take(
            run.id, self._observers, lambda engine: engine.start(record, run, vault, expected=expected)
        )

    def queue(self, record: RunRecord, run: Run, *, expected: Mapping[str, Expected] | None = None) -> None:
        """As the engine's own."""
        self._shared.do(lambda engine: engine.queue(record, run, expected=expected))

    def take_up(self, record: RunRecord, run: Run, vault: Vault, request: Callable[[Run, datetime], list[Event]]) -> None:
        """As the engine's own."""
        self._taken[run.id] = self._shared.take(
            run.id, self._observers, lambda engine: engine.take_up(record, run, vault, request)
        )

    def cancel(self, run_id: str, *, by: str, reason: str = "") -> None:
        """Asks for a graceful end."""
        self._shared.cancel(run_id, by=by, reason=reason)

    def drive(self, stays: Stays | None = None) -> dict[str, Run]:
        """Waits for the ends of the runs that were taken here: it is the loop that drives them."""
        return {run_id: end.result() for run_id, end in self._taken.items()}

    def close(self) -> None:
        """Nothing is this seat's own."""
