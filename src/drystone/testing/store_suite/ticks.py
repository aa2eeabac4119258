"""What is kept of schedules: each tick once, with one fate, and one claimer at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from drystone.errors import NotFoundError
from drystone.ports import Journal
from drystone.testing.store_suite.records import MINUTE, NOON
from drystone.timetable import OPEN, WITHOUT_RUN, TickRow, TickStatus, Timetable

NIGHTLY = "nightly/schedule"


def a_tick(at: datetime = NOON, status: TickStatus = TickStatus.RECORDED, **more: Any) -> TickRow:
    """A tick of `NIGHTLY`."""
    return TickRow(**{"schedule": NIGHTLY, "at": at, "due": at, "status": status, **more})


def begun(journal: Journal, *ticks: TickRow) -> Timetable:
    """The store's timetable, with `NIGHTLY` and these ticks."""
    table = journal.timetable
    table.begin(NIGHTLY, "nightly", NOON)
    table.record(NIGHTLY, ticks, None)
    return table


def fates(ticks: Sequence[TickRow]) -> list[tuple[datetime, TickStatus, str]]:
    """At, status and reason."""
    return [(tick.at, tick.status, tick.reason) for tick in ticks]


class TickSuite:
    """`Journal.timetable`."""

    def test_a_schedule_is_first_seen_once(self, journal: Journal) -> None:
        table = journal.timetable
        first = table.begin(NIGHTLY, "nightly", NOON)
        assert (first.since, first.considered, first.paused_by) == (NOON, NOON, None)
        assert table.begin(NIGHTLY, "nightly", NOON + MINUTE) == first
        table.begin("a/b", "a", NOON)
        assert [state.id for state in table.schedules()] == ["a/b", NIGHTLY]

    def test_a_tick_is_written_down_once_and_considered_never_goes_back(self, journal: Journal) -> None:
        table = begun(journal)
        assert table.record(NIGHTLY, [a_tick(), a_tick(NOON + MINUTE)], NOON + MINUTE) == 2
        assert table.record(NIGHTLY, [a_tick(status=TickStatus.MISSED)], NOON) == 0
        assert fates(table.history(NIGHTLY)) == [(NOON + MINUTE, TickStatus.RECORDED, ""), (NOON, TickStatus.RECORDED, "")]
        assert table.schedules()[0].considered == NOON + MINUTE

    def test_only_what_no_run_came_of_is_written_down_again(self, journal: Journal) -> None:
        ticks = [a_tick(NOON + number * MINUTE, status) for number, status in enumerate(TickStatus)]
        table = begun(journal, *ticks)
        again = [replace(tick, status=TickStatus.QUEUED, reason="again", asked_by="me") for tick in ticks]
        assert table.record(NIGHTLY, again, None, again=True) == len(WITHOUT_RUN)
        changed = {tick.at for tick in table.history(limit=None) if tick.reason == "again" and tick.asked_by == "me"}
        assert changed == {tick.at for tick in ticks if tick.status in WITHOUT_RUN}

    def test_open_are_those_with_which_something_has_to_be_done_oldest_first(self, journal: Journal) -> None:
        table = begun(journal, *(a_tick(NOON - number * MINUTE, status) for number, status in enumerate(TickStatus)))
        found = table.open(NIGHTLY)
        assert {tick.status for tick in found} == set(OPEN)
        assert [tick.at for tick in found] == sorted(tick.at for tick in found)
        assert table.open("a/b") == []

    def test_one_process_claims_a_tick_and_another_only_when_that_one_is_gone(
        self, journal: Journal, dead: set[str], living: set[str]
    ) -> None:
        table = begun(journal, a_tick())
        until = NOON + MINUTE
        assert table.claim(a_tick(), "host:1", until, NOON)
        assert table.claim(a_tick(), "host:1", until, NOON)
        assert not table.claim(a_tick(), "host:2", until, NOON)
        living.add("host:1")
        assert not table.claim(a_tick(), "host:2", until, NOON + 2 * MINUTE)
        living.clear()
        dead.add("host:1")
        assert table.claim(a_tick(), "host:2", until, NOON)
        assert table.claim(a_tick(), "host:3", until, NOON + 2 * MINUTE)
        assert [tick.owner for tick in table.open(NIGHTLY)] == ["host:3"]

    def test_a_tick_whose_fate_is_known_cannot_be_claimed(self, journal: Journal) -> None:
        ticks = [a_tick(NOON + number * MINUTE, status) for number, status in enumerate(TickStatus)]
        table = begun(journal, *ticks)
        claimed = {tick.status for tick in ticks if table.claim(tick, "host:1", NOON + MINUTE, NOON)}
        assert claimed == {TickStatus.RECORDED, TickStatus.QUEUED, TickStatus.CLAIMED}
        assert not table.claim(a_tick(NOON - MINUTE), "host:1", NOON, NOON)

    def test_a_tick_gets_a_fate_only_from_who_knows_how_it_is(self, journal: Journal) -> None:
        table = begun(journal, a_tick())
        table.claim(a_tick(), "host:1", NOON + MINUTE, NOON)
        assert not table.settle(a_tick(), TickStatus.SKIPPED)
        assert not table.settle(a_tick(status=TickStatus.CLAIMED, owner="host:2"), TickStatus.SKIPPED)
        assert table.settle(a_tick(status=TickStatus.CLAIMED, owner="host:1"), TickStatus.FIRED, reason="late", run="A")
        (tick,) = table.open(NIGHTLY)
        assert tick == a_tick(status=TickStatus.FIRED, reason="late", run="A")

    def test_a_schedule_that_goes_on_leaves_behind_what_was_due_meanwhile(self, journal: Journal) -> None:
        table = begun(journal)
        table.proceed(NIGHTLY, NOON + MINUTE)
        assert table.schedules()[0].considered == NOON
        table.pause(NIGHTLY, "me", NOON + MINUTE)
        table.pause(NIGHTLY, "you", NOON + 2 * MINUTE)
        assert (table.schedules()[0].paused_by, table.schedules()[0].paused_at) == ("me", NOON + MINUTE)
        table.proceed(NIGHTLY, NOON + 3 * MINUTE)
        assert (table.schedules()[0].paused_by, table.schedules()[0].considered) == (None, NOON + 3 * MINUTE)

    def test_what_is_no_schedule_is_neither_paused_nor_goes_on(self, journal: Journal) -> None:
        with pytest.raises(NotFoundError, match='no schedule "a/b"'):
            journal.timetable.pause("a/b", "me", NOON)
        with pytest.raises(NotFoundError, match='no schedule "a/b"'):
            journal.timetable.proceed("a/b", NOON)

    def test_history_can_be_cut_and_narrowed(self, journal: Journal) -> None:
        table = begun(journal, a_tick(), a_tick(NOON + MINUTE))
        table.begin("a/b", "a", NOON)
        table.record("a/b", [a_tick(NOON + 2 * MINUTE, schedule="a/b")], None)
        assert [tick.schedule for tick in table.history()] == ["a/b", NIGHTLY, NIGHTLY]
        assert [tick.at for tick in table.history(NIGHTLY, limit=1)] == [NOON + MINUTE]
