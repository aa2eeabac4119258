"""What lists show and forecasts read, without folding events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from drystone.core.states import RunStatus
from drystone.ports import Journal, TaskRow
from drystone.testing.store_suite.records import MINUTE, NOON, RUN, a_record, a_summary, a_task, batch, claimed, created


class HistorySuite:
    """Projections, and how long tasks took."""

    # ---- projections --------------------------------------------------------------------------------------------------

    def test_last_is_a_run_of_its_own_and_no_part_of_one(self, journal: Journal) -> None:
        journal.create(a_record("A"), a_summary("A"))
        journal.create(a_record("B", created_at=NOON + MINUTE, parent="A", token="A:part"), a_summary("B"))
        assert journal.find("last") == "A"
        assert (journal.summary("A").parent, journal.summary("B").parent) == (None, "A")
        assert [item.parent for item in journal.summaries()] == ["A", None]

    def test_summary_follows_what_is_appended(self, journal: Journal) -> None:
        lease = claimed(journal)
        later = a_summary(status=RunStatus.FAILED, started_at=NOON, finished_at=NOON + MINUTE, tasks_done=2, error='task "vm" failed\0')
        later = replace(later, attention=2)
        journal.append([batch(lease, 1, summary=later)])
        journal.release(lease)
        assert journal.summary(RUN) == replace(later, error=journal.summary(RUN).error)
        assert (journal.summary(RUN).error or "").startswith('task "vm" failed')

    def test_summary_stays_when_a_batch_has_none(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.append([batch(lease, 1, summary=a_summary(tasks_done=1))])
        journal.append([batch(lease, 2)])
        assert journal.summary(RUN).tasks_done == 1

    def test_task_is_put_in_the_place_of_what_it_was(self, journal: Any) -> None:
        lease = claimed(journal)
        journal.append([batch(lease, 1, tasks=[a_task(), a_task(id="vm[1]")])])
        ended = a_task(status="failed", attempts=2, finished_at=NOON + MINUTE, failure_class="timeout")
        journal.append([batch(lease, 2, tasks=[ended])])
        assert list(journal.tasks(RUN)) == [ended, a_task(id="vm[1]")]

    def test_owner_of_a_summary_is_who_has_the_lease(self, journal: Journal, dead: set[str]) -> None:
        lease = claimed(journal)
        assert journal.summary(RUN).owner == "host:1"
        dead.add("host:1")
        assert journal.summary(RUN).owner is None
        dead.clear()
        journal.release(lease)
        assert journal.summary(RUN).owner is None

    def test_summaries_are_newest_first_and_can_be_narrowed(self, journal: Journal) -> None:
        for number, (run, plan, environment) in enumerate([("C", "shop", "prod"), ("A", "shop", None), ("B", "other", "prod")]):
            created(journal, run, plan=plan, environment=environment, created_at=NOON + number * MINUTE)
        assert [each.id for each in journal.summaries()] == ["B", "A", "C"]
        assert [each.id for each in journal.summaries(plan="shop")] == ["A", "C"]
        assert [each.id for each in journal.summaries(environment="prod")] == ["B", "C"]
        assert [each.id for each in journal.summaries(plan="shop", environment="prod")] == ["C"]
        assert [each.id for each in journal.summaries(limit=1)] == ["B"]

    def test_all_summaries_are_there_for_who_sets_no_limit(self, journal: Journal) -> None:
        for number in range(60):
            created(journal, f"R{number}")
        assert (len(journal.summaries()), len(journal.summaries(limit=None))) == (50, 60)

    def test_summaries_can_be_those_of_runs_that_a_person_must_decide_about(self, journal: Journal) -> None:
        journal.append([batch(claimed(journal, "A"), 1, summary=a_summary("A", attention=2))])
        claimed(journal, "B")
        assert [(each.id, each.attention) for each in journal.summaries(attention=True)] == [("A", 2)]
        assert len(journal.summaries()) == 2

    # ---- durations ----------------------------------------------------------------------------------------------------

    def test_durations_are_of_what_succeeded_in_runs_that_did_newest_first(self, journal: Journal) -> None:
        def ran(run: str, minutes: int, *tasks: TaskRow, status: RunStatus = RunStatus.SUCCEEDED, plan: str = "shop") -> None:
            lease = claimed(journal, run, plan=plan, created_at=NOON + minutes * MINUTE)
            journal.append([batch(lease, 1, summary=a_summary(run, status=status), tasks=tasks)])

        def took(run: str, seconds: float, **changes: Any) -> TaskRow:
            return a_task(run, status="succeeded", finished_at=NOON + timedelta(seconds=seconds), **changes)

        ran("D", 1, took("D", 90))
        ran("C", 2, took("C", 10.5), took("C", 20, id="vm[1]"), took("C", 3, id="db", task="db"))
        ran("B", 3, took("B", 30), a_task("B", id="vm[1]"), a_task("B", id="db", task="db", status="failed", finished_at=NOON))
        ran("A", 4, took("A", 40, id="no", started_at=None), a_task("A", id="none", status="succeeded"))
        ran("E", 5, took("E", 50), status=RunStatus.FAILED)
        ran("F", 6, took("F", 60), plan="other")
        assert journal.durations("shop") == {"vm": [30, 10.5, 20, 90], "db": [3]}
        assert journal.durations("shop", limit=2) == {"vm": [30]}
        assert journal.durations("none") == {}
