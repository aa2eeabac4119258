"""The machine's clock is set back or forward by an hour while runs go on, or between a crash and its resume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pytest

from drystone import wiring
from drystone.adapters.clock import SystemClock
from drystone.app import places, reading, runs
from drystone.app.inputs import Given
from drystone.app.runs import Hand
from drystone.app.world import World
from drystone.core.events import Event, EventType
from drystone.core.run import Run
from drystone.core.states import RunStatus
from drystone.errors import LockedError
from drystone.ports import Clock
from drystone.testing.journal import Died

HOUR = timedelta(hours=1)
PLAN = """\
drystone: 1
name: clock
environment: here
timeout: 30m
tasks:
  first: {noop: {}}
  flaky:
    needs: [first]
    command: {shell: "echo try >> tries; [ $(wc -l < tries) -ge 3 ]", idempotent: true}
    retry: {attempts: 3, delay: 100ms, backoff: constant, jitter: false}
    undo: none
  last: {needs: [flaky], noop: {}}
"""


class Shifted(SystemClock):
    """The machine's clock, whose hands a test moves."""

    shift = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


class Parts(wiring.Parts):
    """The real parts, but for the clock."""

    def __init__(self, project: Path, clock: Clock) -> None:
        super().__init__(project)
        self._clock = clock

    @cached_property
    def clock(self) -> Clock:
        return self._clock


class Desk:
    """A project, and a person who works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Shifted()
        (folder / "plans").mkdir()
        (folder / "plans" / "clock.yaml").write_text(PLAN)

    def process(self) -> World:
        """As a new process sees it."""
        return wiring.world_of(Parts(self.folder, self.clock))

    def start(self, world: World) -> Hand:
        plan = places.find_plan("clock", cwd=self.folder, library=world.library, project=self.folder)
        return runs.start(world, runs.prepare(world, plan, Given()))

    def at(self, hand: Hand, wanted: EventType, do: Callable[[], None]) -> Hand:
        """Does something when the first event of a type is on the disk."""
        done: list[Event] = []

        def see(event: Event, run: Run) -> None:
            if event.type is wanted and not done:
                done.append(event)
                do()

        hand.watchers.append(see)
        return hand

    def moved(self, by: timedelta) -> Callable[[], None]:
        return lambda: setattr(self.clock, "shift", self.clock.shift + by)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def die() -> None:
    raise Died


def moments(events: Sequence[Event]) -> list[datetime]:
    return [event.at for event in events]


def drive(hand: Hand) -> Run:
    """To its end; what would wait for an hour is ended."""
    guard = threading.Timer(60, hand.cancel, ["it waits for the clock"])
    guard.start()
    try:
        return hand.drive().run
    finally:
        guard.cancel()


def test_a_clock_that_is_set_back_during_a_run_stretches_nothing(desk: Desk) -> None:
    world = desk.process()
    hand = desk.at(desk.start(world), EventType.TASK_RETRYING, desk.moved(-HOUR))
    run = drive(hand)
    assert run.status is RunStatus.SUCCEEDED
    assert run.started_at is not None and run.finished_at is not None and run.finished_at - run.started_at < timedelta(minutes=1)
    at = moments(list(world.journal().events(run.id)))
    assert at == sorted(at)


def test_a_clock_that_was_set_back_between_crash_and_resume_stretches_nothing(desk: Desk) -> None:
    with pytest.raises(Died):
        drive(desk.at(desk.start(desk.process()), EventType.TASK_RETRYING, die))
    desk.moved(-HOUR)()
    world = desk.process()
    run = drive(runs.resume(world, "last"))
    assert run.status is RunStatus.SUCCEEDED
    assert run.started_at is not None and run.finished_at is not None and run.finished_at - run.started_at < timedelta(minutes=1)
    at = moments(list(world.journal().events(run.id)))
    assert at == sorted(at)


def test_a_deadline_counts_on_when_the_clock_was_set_back_before_a_resume(desk: Desk) -> None:
    with pytest.raises(Died):
        drive(desk.at(desk.start(desk.process()), EventType.TASK_RETRYING, die))
    desk.moved(-HOUR)()
    world = desk.process()
    # The clock is followed forward: the machine may have slept.
    run = drive(desk.at(runs.resume(world, "last"), EventType.RUN_STARTED, desk.moved(timedelta(minutes=31))))
    assert run.error is not None and "30m" in run.error["message"]


def test_runs_are_listed_in_the_order_of_their_starts_though_the_clock_was_set_back(desk: Desk) -> None:
    started = []
    for _ in range(3):
        (desk.folder / "tries").unlink(missing_ok=True)
        started.append(drive(desk.start(desk.process())).id)
        desk.moved(-HOUR)()
    world = desk.process()
    assert [summary.id for summary in reading.recent(world)] == started[::-1]
    assert reading.look(world, "last").run.id == started[-1]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_nobody_takes_a_run_from_a_living_process_because_the_clock_was_set(desk: Desk, by: timedelta) -> None:
    world, other = desk.process(), desk.process()
    hand = desk.start(world)

    def try_to_take() -> None:
        desk.moved(by)()
        with pytest.raises(LockedError, match="is being driven by"):
            other.journal().claim(hand.run.id, "elsewhere:1:1:there", timedelta(seconds=30), desk.clock.now())

    drive(desk.at(hand, EventType.TASK_RETRYING, try_to_take))
