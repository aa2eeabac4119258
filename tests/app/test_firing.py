"""A server and its schedules, with a simulated clock: what fires, what waits, what is missed, and that no crash loses or doubles a tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drystone import wiring
from drystone.app import schedules
from drystone.app.firing import Firing
from drystone.app.schedules import Schedule
from drystone.app.world import World
from drystone.core.states import RunStatus
from drystone.stores.memory import MemoryJournal
from drystone.testing.clock import SimulatedClock
from drystone.testing.journal import Died
from drystone.testing.store_suite import a_record, a_summary, moved
from drystone.timetable import TickStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PLAN = "drystone: 1\nname: batch\ntriggers:\n  - schedule: {SCHEDULE}\ntasks: {a: {noop: {}}}\n"
ID = "batch/schedule"


class Site:
    """A project with one schedule, and servers of it one after the other. Runs are begun in the store, and end when a test says so."""

    def __init__(self, folder: Path, schedule: str, start: datetime = NOON) -> None:
        self.clock = SimulatedClock(start)
        self.dead: set[str] = set()
        self.journal: Any = MemoryJournal(is_alive=lambda owner: owner not in self.dead, now=self.clock.now)
        self.file = folder / "plans" / "batch.yaml"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        (folder / "drystone.toml").touch()
        self.write(schedule)
        self.runs: dict[str, datetime] = {}
        self.fired_at: dict[str, datetime] = {}
        self.told: list[tuple[str, dict[str, object]]] = []
        self.folder = folder
        self.servers = self.begun = 0
        self.restart()

    def write(self, schedule: str) -> None:
        self.file.write_text(PLAN.replace("SCHEDULE", schedule))

    def restart(self) -> None:
        """The server before is gone."""
        self.dead.add(f"test:{self.servers}")
        self.servers += 1
        self.world: World = replace(
            wiring.world(self.folder),
            clock=self.clock,
            owner=f"test:{self.servers}",
            by="me",
            has_store=lambda: True,
            journal=lambda: self.journal,
        )
        self.firing = Firing(self.world, lambda event, facts: self.told.append((event, facts)), self.begin)

    def begin(self, world: World, schedule: Schedule, at: datetime) -> str:
        self.begun += 1
        run = f"R{self.begun:05}"
        token = schedule.token(at)
        self.journal.create(a_record(run, plan="batch", token=token), a_summary(run))
        self.runs[run] = at
        self.fired_at[run] = self.clock.now()
        return run

    def turn(self, after: timedelta = timedelta()) -> datetime:
        self.clock.advance(after)
        return self.firing.fire_due(self.clock.now())

    def end(self, run: str, status: RunStatus = RunStatus.SUCCEEDED) -> None:
        moved(self.journal, self.journal.claim(run, "host:1", MINUTE, self.clock.now()), status)

    def end_all(self) -> None:
        for summary in self.journal.summaries(limit=None):
            if not summary.status.is_final:
                self.end(summary.id)

    def fates(self) -> list[tuple[str, str]]:
        """`hour:minute` of each tick, oldest first, and its status."""
        return [(f"{tick.at:%H:%M}", tick.status.value) for tick in reversed(self.journal.timetable.history(limit=None))]

    def why(self, status: TickStatus) -> list[str]:
        return [tick.reason for tick in reversed(self.journal.timetable.history(limit=None)) if tick.status is status]


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Site]:
    return lambda *given: Site(tmp_path, *given)


def test_a_tick_fires_once_when_it_is_due_and_the_server_knows_when_to_look_again(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *"')
    here.turn()
    assert here.runs == {}
    here.clock.advance(HOUR - timedelta(seconds=2))
    assert here.turn() == NOON + HOUR
    here.turn(timedelta(seconds=2))
    here.turn()
    here.turn(MINUTE)
    assert list(here.runs.values()) == [NOON + HOUR]
    assert here.fates() == [("13:00", "fired")]
    here.end_all()
    here.turn()
    assert here.fates() == [("13:00", "done")]


def test_jitter_puts_a_tick_off_after_it_was_written_down(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *", jitter: 30m')
    here.turn()
    here.turn(HOUR)
    assert here.fates() == [("13:00", "recorded")]
    for _ in range(30 * 60):
        here.turn(timedelta(seconds=1))
    assert list(here.runs.values()) == [NOON + HOUR] and NOON + HOUR < here.fired_at["R00001"] < NOON + 1.5 * HOUR


OVERLAPS = [
    # Ticks at 13:00 to 16:00; the first run ends after the last of them, and the next ones after that as soon as they are begun.
    ("skip", {"13:00": "done", "14:00": "skipped", "15:00": "skipped", "16:00": "skipped"}, ["13:00"]),
    ("queue_one", {"13:00": "done", "14:00": "done", "15:00": "skipped", "16:00": "skipped"}, ["13:00", "14:00"]),
    ("queue_all", {"13:00": "done", "14:00": "done", "15:00": "done", "16:00": "done"}, ["13:00", "14:00", "15:00", "16:00"]),
    ("cancel_other", {"13:00": "done", "14:00": "skipped", "15:00": "skipped", "16:00": "done"}, ["13:00", "16:00"]),
    ("allow", {"13:00": "done", "14:00": "done", "15:00": "done", "16:00": "done"}, ["13:00", "14:00", "15:00", "16:00"]),
]


@pytest.mark.parametrize(("overlap", "fates", "runs"), OVERLAPS)
def test_a_tick_meets_a_run_that_has_not_ended(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, overlap: str, fates: dict[str, str], runs: list[str]
) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr("drystone.app.runs.cancel", lambda world, run, reason: cancelled.append(run))
    here = site(f'cron: "0 * * * *", overlap: {overlap}, catch_up: 1d')
    here.turn()
    for _ in range(4):
        here.turn(HOUR)
    assert len(here.runs) == (4 if overlap == "allow" else 1)
    assert set(cancelled) == ({"R00001"} if overlap == "cancel_other" else set())
    for _ in range(5):
        here.end_all()
        here.turn(timedelta(seconds=1))
    assert dict(here.fates()) == fates
    assert [f"{at:%H:%M}" for at in here.runs.values()] == runs


DOWNTIMES = [
    # Down from 12:00 to 16:30, with ticks at every full hour.
    ("catch_up: 1h", ["missed", "missed", "missed", "fired"]),
    ("catch_up: 3h", ["missed", "missed", "missed", "fired"]),
    ("catch_up: {window: 3h, fire: all}, overlap: allow", ["missed", "fired", "fired", "fired"]),
    ("catch_up: 10m", ["missed", "missed", "missed", "missed"]),
]


@pytest.mark.parametrize(("catch_up", "fates"), DOWNTIMES)
def test_ticks_that_nobody_was_there_for_fire_within_the_window(site: Callable[..., Site], catch_up: str, fates: list[str]) -> None:
    here = site(f'cron: "0 * * * *", {catch_up}')
    here.turn()
    here.clock.advance(4.5 * HOUR)
    here.restart()
    here.turn()
    assert [status for _, status in here.fates()] == fates
    assert here.why(TickStatus.MISSED)[0] == "found 3h30m late"


def test_a_blackout_skips_and_says_why(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *", blackout: [{from: "2026-01-01T14:00", to: "2026-01-01T15:00", reason: freeze}]')
    here.turn()
    for _ in range(3):
        here.turn(HOUR)
        here.end_all()
    assert here.fates() == [("13:00", "done"), ("14:00", "skipped"), ("15:00", "fired")]
    assert here.why(TickStatus.SKIPPED) == ["blackout: freeze"]


def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *"')
    here.turn()
    schedules.pause(here.world, "batch")
    here.turn(HOUR)
    assert here.fates() == [("13:00", "skipped")] and here.why(TickStatus.SKIPPED) == ["paused by me"]
    here.clock.advance(HOUR + 10 * MINUTE)
    schedules.proceed(here.world, "batch")
    here.turn()
    assert here.runs == {}
    here.turn(HOUR)
    assert list(here.runs.values()) == [NOON + 3 * HOUR]


def test_the_end_of_a_run_is_seen_while_its_schedule_is_paused(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *"')
    here.turn()
    here.turn(HOUR)
    schedules.pause(here.world, "batch")
    here.end_all()
    here.turn()
    assert here.fates() == [("13:00", "done")]


def test_a_changed_schedule_takes_effect_at_once_and_doubles_nothing(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *", overlap: allow')
    here.turn()
    here.turn(HOUR)
    here.write('cron: "*/30 * * * *", overlap: allow')
    for _ in range(3):
        here.turn(30 * MINUTE)
    assert [f"{at:%H:%M}" for at in here.runs.values()] == ["13:00", "13:30", "14:00", "14:30"]


def test_a_broken_plan_is_told_once_and_catches_up_when_it_is_mended(site: Callable[..., Site], tmp_path: Path) -> None:
    here = site('cron: "0 * * * *"')
    (tmp_path / "plans" / "other.yaml").write_text(PLAN.replace("SCHEDULE", 'cron: "0 * * * *"').replace("batch", "other"))
    here.turn()
    here.write("cron: 7")
    here.turn(HOUR)
    here.turn(MINUTE)
    broken = [facts for event, facts in here.told if event == "schedule.plan_broken"]
    assert len(broken) == 1 and "drystone validate" in str(broken[0]["error"])
    assert [tick.schedule for tick in here.journal.timetable.history()] == ["other/schedule"]
    here.write('cron: "0 * * * *"')
    here.turn(MINUTE)
    assert len(here.runs) == 2


def test_a_tick_whose_run_cannot_be_started_is_failed_and_says_why(tmp_path: Path) -> None:
    here = Site(tmp_path, 'cron: "0 * * * *"')
    text = PLAN.replace("SCHEDULE", 'cron: "0 * * * *"').replace("name: batch", "name: batch\ninputs: {n: {type: integer}}")
    here.file.write_text(text.replace("tasks:", '    inputs: {n: "{{ event.schedule.tick }}"}\ntasks:'))
    here.firing = Firing(here.world, lambda event, facts: None)
    here.turn()
    here.turn(HOUR)
    assert here.fates() == [("13:00", "failed")]
    assert "n" in here.why(TickStatus.FAILED)[0]


def test_a_backfill_asks_for_what_no_run_came_of_and_can_be_repeated(site: Callable[..., Site]) -> None:
    here = site('cron: "0 * * * *", catch_up: 10m')
    here.turn()
    here.turn(HOUR)
    here.clock.advance(3.5 * HOUR)
    here.end_all()
    here.turn()
    asked = schedules.backfill(here.world, "batch", NOON, here.clock.now())
    assert [f"{tick.at:%H:%M}" for tick in asked] == ["12:00", "14:00", "15:00", "16:00"]
    assert schedules.backfill(here.world, ID, NOON, here.clock.now()) == []
    for _ in range(6):
        here.turn(timedelta(seconds=5))
        assert sum(not here.journal.summary(run).status.is_final for run in here.runs) <= 1
        here.end_all()
    assert [f"{at:%H:%M}" for at in here.runs.values()] == ["13:00", "12:00", "14:00", "15:00", "16:00"]
    assert schedules.backfill(here.world, ID, NOON, here.clock.now()) == []


YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("fire", ["last", "all"])
def test_a_year_with_downtimes_has_each_tick_once(tmp_path: Path, fire: str) -> None:
    written = f'cron: "30 2 * * *", timezone: Europe/Berlin, catch_up: {{window: 3d, fire: {fire}}}, overlap: queue_all'
    here = Site(tmp_path, written, YEAR)
    here.turn()
    # Hours from one look to the next: two each, but for a night, a long weekend and three weeks.
    gaps = {500: 9, 2000: 80, 3500: 21 * 24}
    downtimes = []
    number = 0
    while here.clock.now() < YEAR + timedelta(days=365):
        if number in gaps:
            downtimes.append((here.clock.now(), here.clock.now() + (gaps[number] + 2) * HOUR))
            here.clock.advance(gaps[number] * HOUR)
            here.restart()
        here.turn(2 * HOUR)
        here.end_all()
        number += 1
    history = list(reversed(here.journal.timetable.history(limit=None)))
    local = [tick.at.astimezone(schedules.find(here.world, ID).zone) for tick in history]
    assert [moment.date() for moment in local] == [(YEAR + timedelta(days=day)).date() for day in range(365)]
    assert Counter(f"{moment:%H:%M}" for moment in local) == {"02:30": 364, "03:00": 1}
    assert sorted(here.runs.values()) == [tick.at for tick in history if tick.status is not TickStatus.MISSED]
    missed = {tick.at for tick in history if tick.status is TickStatus.MISSED}
    while downtimes:
        down, up = downtimes.pop()
        found = [tick.at for tick in history if down < tick.at <= up]
        assert {at for at in found if at not in missed} == {
            at for at in found if (fire == "all" and up - at <= 72 * HOUR) or at == found[-1]
        }
        missed -= set(found)
    assert missed == set()


class Dying:
    """Passes everything on, and dies before or after one of the writes."""

    def __init__(self, inner: Any, left: list[int], *, is_table: bool = False) -> None:
        self._inner = inner
        self._left = left
        self._is_table = is_table

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "timetable":
            return Dying(found, self._left, is_table=True)
        if name not in (("record", "claim", "settle", "begin") if self._is_table else ("create",)):
            return found

        def call(*given: Any, **more: Any) -> Any:
            self._count()
            answer = found(*given, **more)
            self._count()
            return answer

        return call

    def _count(self) -> None:
        self._left[0] -= 1
        if self._left[0] == 0:
            raise Died


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.integers(1, 25), max_size=12), overlap=st.sampled_from(["allow", "queue_all"]))
def test_whatever_dies_each_tick_has_one_run(tmp_path: Path, deaths: list[int], overlap: str) -> None:
    here = Site(tmp_path, f'cron: "0 * * * *", overlap: {overlap}, catch_up: {{window: 2d, fire: all}}')
    here.turn()
    store, left = here.journal, [0]
    for number in range(16):
        if number < 12:
            here.clock.advance(HOUR)
        left[0] = deaths[number] if number < len(deaths) else 0
        here.journal = Dying(store, left)
        try:
            here.turn(timedelta(seconds=6))
        except Died:
            here.restart()
        here.journal = store
        here.end_all()
    for _ in range(12):
        here.turn(MINUTE)
        here.end_all()
    here.turn(MINUTE)
    assert all(store.by_token(f"schedule:{ID}:{(NOON + n * HOUR).isoformat()}") is not None for n in range(1, 13))
    assert len(store.summaries(limit=None)) == 12
    assert {status for _, status in here.fates()} == {"done"} and len(here.fates()) == 12
