"""The claims that every store must keep, whoever wrote it.

A store's tests subclass `JournalSuite` and give the fixture `journal`: a store that is empty, with `is_alive` as its way to ask
whether an owner lives, and `now` as its way to know the time.

    class TestMine(JournalSuite):
        @pytest.fixture
        def journal(self, is_alive, now):
            with closing(MyJournal(is_alive=is_alive, now=now)) as journal:
                yield journal
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drystone.core.events import Event, EventType
from drystone.core.opaque import Secret
from drystone.core.states import RUN_FINAL, RunStatus
from drystone.errors import DrystoneError, LockedError, NotFoundError, RefusedError
from drystone.ports import Batch, Journal, Lease, LockInfo, Place, Request, RunRecord, RunSummary, TaskRow

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = "01J00000000000000000000001"


def a_record(run: str = RUN, **changes: Any) -> RunRecord:
    """The unchanging part of a run."""
    record = RunRecord(
        id=run,
        plan="shop",
        plan_file="plans/shop.yaml",
        root="/srv/shop",
        source="drystone: 1\nname: shop\n",
        bundle="sha256:0",
        environment=None,
        inputs={"vms": 2, "names": ["a", "ü"], "password": Secret(sealed="gAAAAA==")},
        created_at=NOON,
        created_by="ada@host",
    )
    return replace(record, **changes)


def a_summary(run: str = RUN, **changes: Any) -> RunSummary:
    """The projection of a run that was just created."""
    summary = RunSummary(
        id=run,
        plan="shop",
        environment=None,
        status=RunStatus.QUEUED,
        created_at=NOON,
        started_at=None,
        finished_at=None,
        tasks_done=0,
        tasks_total=3,
        error=None,
        owner=None,
    )
    return replace(summary, **changes)


def an_event(seq: int, run: str = RUN, **changes: Any) -> Event:
    """A fact."""
    event = Event(type=EventType.TASK_PROGRESS, at=NOON, run=run, seq=seq, task="vm[0]", attempt=1, data={"message": f"step {seq}"})
    return replace(event, **changes)


def a_task(run: str = RUN, **changes: Any) -> TaskRow:
    """The projection of an instance."""
    row = TaskRow(
        run=run,
        id="vm[0]",
        task="vm",
        kind="noop",
        status="running",
        attempts=1,
        started_at=NOON,
        finished_at=None,
        failure_class=None,
    )
    return replace(row, **changes)


def a_lock(run: str = RUN, **changes: Any) -> LockInfo:
    """Who holds an environment."""
    return replace(LockInfo(environment="staging", run=run, owner="host:1", reason="run", since=NOON), **changes)


def a_request(name: str = "Q1", run: str = RUN, **changes: Any) -> Request:
    """What a person asks of a run."""
    data = {"task": "vm", "comment": "naïve\0", "deep": [{"x": None}]}
    return replace(Request(id=name, run=run, type="approve", by="ada@host", at=NOON, data=data), **changes)


def created(journal: Journal, run: str = RUN, **changes: Any) -> str:
    """A run in the store."""
    journal.create(a_record(run, **changes), a_summary(run))
    return run


def claimed(journal: Journal, run: str = RUN, owner: str = "host:1", **changes: Any) -> Lease:
    """A run in the store, and in `owner`'s hands for a minute."""
    return journal.claim(created(journal, run, **changes), owner, MINUTE, NOON)


def batch(lease: Lease, *numbers: int, **more: Any) -> Batch:
    """Events of these numbers, under this lease."""
    return Batch(run=lease.run, epoch=lease.epoch, events=[an_event(number, lease.run) for number in numbers], **more)


def numbers(journal: Journal, run: str = RUN, after: int = 0) -> list[int]:
    """What is in the store of a run."""
    return [event.seq for event in journal.events(run, after)]


def moved(journal: Journal, lease: Lease, status: RunStatus, seq: int = 1) -> None:
    """Brings the run into this state."""
    journal.append([batch(lease, seq, summary=a_summary(lease.run, status=status))])


def line(journal: Journal, key: str = "shop") -> list[str]:
    """The runs in the line, the first one first."""
    return [place.run for place in journal.line(key)]


class JournalSuite:
    """Subclassed by the tests of each store."""

    @pytest.fixture
    def dead(self) -> set[str]:
        """Owners whose process is gone."""
        return set()

    @pytest.fixture
    def living(self) -> set[str]:
        """Owners whose process is there; of those neither here nor in `dead` nothing is known."""
        return set()

    @pytest.fixture
    def is_alive(self, dead: set[str], living: set[str]) -> Callable[[str], bool | None]:
        """For the store under test."""
        return lambda owner: False if owner in dead else True if owner in living else None

    @pytest.fixture
    def clock(self) -> list[datetime]:
        """The last of these moments is the present."""
        return [NOON]

    @pytest.fixture
    def now(self, clock: list[datetime]) -> Callable[[], datetime]:
        """For the store under test."""
        return lambda: clock[-1]

    # ---- runs and events ----------------------------------------------------------------------------------------------

    def test_record_comes_back_as_it_was_given(self, journal: Journal) -> None:
        inputs = {"odd": {"$secret": {"reference": "x"}}, "nul": "a\0b"}
        record = a_record(environment="staging", token="T", inputs=inputs, parent="A", concurrency="shop")
        journal.create(record, a_summary())
        assert journal.record(RUN) == record

    def test_secret_input_stays_a_handle(self, journal: Journal) -> None:
        created(journal)
        assert journal.record(RUN).inputs["password"] == Secret(sealed="gAAAAA==")

    def test_events_come_back_as_they_were_given(self, journal: Journal) -> None:
        lease = claimed(journal)
        events = [
            an_event(1, type=EventType.RUN_CREATED, task=None, attempt=None, data={}),
            an_event(2, at=NOON.replace(microsecond=1), data={"deep": [{"x": None, "y": 1.5, "z": True}], "ü": "\0\U0001f600"}),
            an_event(3, data={"outputs": {"password": Secret(sealed="gAAAAA==")}}),
        ]
        journal.append([Batch(run=RUN, epoch=lease.epoch, events=events)])
        assert list(journal.events(RUN)) == events

    def test_events_are_in_order_and_can_be_read_from_any_number_on(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.append([batch(lease, 1, 2)])
        journal.append([batch(lease, 3)])
        assert numbers(journal) == [1, 2, 3]
        assert numbers(journal, after=1) == [2, 3]
        assert numbers(journal, after=3) == []

    def test_long_history_is_read_whole(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.append([batch(lease, *range(1, 5002))])
        assert numbers(journal) == list(range(1, 5002))

    def test_event_is_written_once(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.append([batch(lease, 1)])
        with pytest.raises(DrystoneError):
            journal.append([batch(lease, 2, 1)])
        assert numbers(journal) == [1]

    def test_batches_of_several_runs_are_written_together(self, journal: Journal) -> None:
        one, two = claimed(journal, "A"), claimed(journal, "B")
        journal.append([batch(one, 1), batch(two, 1, 2), batch(one, 2)])
        assert (numbers(journal, "A"), numbers(journal, "B")) == ([1, 2], [1, 2])

    def test_nothing_to_append_is_harmless(self, journal: Journal) -> None:
        journal.append([])

    def test_reading_half_a_history_holds_nothing(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.append([batch(lease, 1, 2)])
        reading = journal.events(RUN)
        assert next(reading).seq == 1
        journal.append([batch(lease, 3)])
        assert numbers(journal) == [1, 2, 3]

    def test_unknown_run_is_not_found(self, journal: Journal) -> None:
        for ask in (journal.record, journal.summary, journal.find):
            with pytest.raises(NotFoundError, match="NONE"):
                ask("NONE")
        with pytest.raises(NotFoundError):
            journal.claim("NONE", "host:1", MINUTE, NOON)
        with pytest.raises(NotFoundError):
            journal.append([Batch(run="NONE", epoch=1, events=[an_event(1, "NONE")])])
        assert numbers(journal, "NONE") == []

    # ---- projections --------------------------------------------------------------------------------------------------

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

    # ---- names --------------------------------------------------------------------------------------------------------

    def test_run_is_found_by_a_unique_prefix_in_either_case(self, journal: Journal) -> None:
        created(journal, "01JAB")
        created(journal, "01JCD")
        assert journal.find("01JAB") == "01JAB"
        assert journal.find("01JC") == "01JCD"
        assert journal.find("01jc") == "01JCD"

    def test_prefix_of_several_runs_is_refused_with_their_ids(self, journal: Journal) -> None:
        created(journal, "01JAB")
        created(journal, "01JAC")
        with pytest.raises(RefusedError) as caught:
            journal.find("01JA")
        assert "01JAB" in caught.value.hint
        assert "01JAC" in caught.value.hint

    def test_whole_id_wins_over_longer_ones(self, journal: Journal) -> None:
        created(journal, "01JA")
        created(journal, "01JAB")
        assert journal.find("01JA") == "01JA"

    @pytest.mark.parametrize("prefix", ["", "%", "_", "01J%", "'", "\\"])
    def test_prefix_is_no_pattern(self, journal: Journal, prefix: str) -> None:
        created(journal, "01JAB")
        with pytest.raises(NotFoundError):
            journal.find(prefix)

    def test_last_is_the_newest_run(self, journal: Journal) -> None:
        with pytest.raises(NotFoundError, match="no run yet"):
            journal.find("last")
        created(journal, "B")
        created(journal, "A", created_at=NOON + MINUTE)
        assert journal.find("last") == "A"

    # ---- tokens -------------------------------------------------------------------------------------------------------

    def test_run_is_found_by_its_token(self, journal: Journal) -> None:
        created(journal, token="deploy-42")
        known = journal.by_token("deploy-42")
        assert known is not None
        assert known.id == RUN
        assert journal.by_token("deploy-43") is None

    def test_token_serves_one_run(self, journal: Journal) -> None:
        created(journal, token="deploy-42")
        with pytest.raises(RefusedError, match="deploy-42") as caught:
            created(journal, "B", token="deploy-42", inputs={"vms": 9})
        assert RUN in caught.value.hint
        with pytest.raises(NotFoundError):
            journal.record("B")

    def test_runs_without_a_token_do_not_meet(self, journal: Journal) -> None:
        created(journal, "A")
        created(journal, "B")
        assert len(journal.summaries()) == 2

    # ---- leases -------------------------------------------------------------------------------------------------------

    def test_every_claim_has_a_higher_epoch(self, journal: Journal) -> None:
        first = claimed(journal)
        journal.release(first)
        second = journal.claim(RUN, "host:2", MINUTE, NOON)
        assert second.epoch > first.epoch

    def test_run_in_other_hands_is_locked_and_says_whose(self, journal: Journal) -> None:
        claimed(journal)
        with pytest.raises(LockedError, match="process 1 on host") as caught:
            journal.claim(RUN, "host:2", MINUTE, NOON + MINUTE / 2)
        assert caught.value.owner == "host:1"

    def test_own_run_may_be_claimed_again(self, journal: Journal) -> None:
        first = claimed(journal)
        assert journal.claim(RUN, "host:1", MINUTE, NOON).epoch > first.epoch

    def test_lease_ends_with_its_time(self, journal: Journal) -> None:
        claimed(journal)
        assert journal.claim(RUN, "host:2", MINUTE, NOON + MINUTE).owner == "host:2"

    def test_lease_ends_with_the_process_that_holds_it(self, journal: Journal, dead: set[str]) -> None:
        claimed(journal)
        dead.add("host:1")
        assert journal.claim(RUN, "host:2", MINUTE, NOON).owner == "host:2"

    def test_renewed_lease_lasts_longer(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.renew(lease, NOON + 3 * MINUTE)
        with pytest.raises(LockedError):
            journal.claim(RUN, "host:2", MINUTE, NOON + 2 * MINUTE)

    def test_lost_lease_writes_nothing(self, journal: Journal) -> None:
        lost = claimed(journal)
        other = claimed(journal, "B")
        mine = journal.claim(RUN, "host:2", MINUTE, NOON + MINUTE)
        with pytest.raises(LockedError, match="process 2 on host"):
            journal.append([batch(other, 1), batch(lost, 1, summary=a_summary(tasks_done=3), tasks=[a_task()])])
        assert (numbers(journal), numbers(journal, "B")) == ([], [])
        assert journal.summary(RUN).tasks_done == 0
        journal.append([batch(mine, 1)])

    def test_lost_lease_cannot_be_renewed_and_its_release_is_harmless(self, journal: Journal) -> None:
        lost = claimed(journal)
        mine = journal.claim(RUN, "host:2", MINUTE, NOON + MINUTE)
        with pytest.raises(LockedError):
            journal.renew(lost, NOON + 5 * MINUTE)
        journal.release(lost)
        assert journal.summary(RUN).owner == "host:2"
        journal.append([batch(mine, 1)])

    def test_released_lease_still_fences_but_cannot_be_renewed(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.release(lease)
        with pytest.raises(LockedError):
            journal.renew(lease, NOON + MINUTE)

    def test_run_that_nobody_claimed_takes_no_events(self, journal: Journal) -> None:
        created(journal)
        with pytest.raises(LockedError):
            journal.append([Batch(run=RUN, epoch=1, events=[an_event(1)])])

    # ---- environments -------------------------------------------------------------------------------------------------

    def test_environment_serves_one_run_and_says_which(self, journal: Journal) -> None:
        created(journal)
        created(journal, "B")
        journal.lock(a_lock())
        with pytest.raises(LockedError, match=f'"staging" is held by run {RUN}') as caught:
            journal.lock(a_lock("B", owner="host:2"))
        assert "2026-01-01T12:00:00Z" in caught.value.message
        assert list(journal.locks()) == [a_lock()]

    def test_lock_taken_again_by_its_run_keeps_the_moment(self, journal: Journal) -> None:
        created(journal)
        journal.lock(a_lock())
        journal.lock(a_lock(owner="host:2", reason="resume", since=NOON + MINUTE))
        assert list(journal.locks()) == [a_lock(owner="host:2", reason="resume")]

    def test_unlocked_environment_is_free(self, journal: Journal) -> None:
        created(journal)
        created(journal, "B")
        journal.lock(a_lock())
        journal.unlock("staging", RUN)
        journal.lock(a_lock("B"))
        assert [lock.run for lock in journal.locks()] == ["B"]

    def test_unlock_by_another_run_is_harmless(self, journal: Journal) -> None:
        created(journal)
        journal.lock(a_lock())
        journal.unlock("staging", "B")
        journal.unlock("prod", RUN)
        assert list(journal.locks()) == [a_lock()]

    def test_locks_are_listed_by_environment(self, journal: Journal) -> None:
        created(journal)
        for environment in ("prod", "dev"):
            journal.lock(a_lock(environment=environment))
        assert [lock.environment for lock in journal.locks()] == ["dev", "prod"]

    def test_run_and_its_lock_are_created_together_or_not_at_all(self, journal: Journal) -> None:
        journal.create(a_record(), a_summary(), a_lock())
        assert list(journal.locks()) == [a_lock()]
        with pytest.raises(LockedError):
            journal.create(a_record("B"), a_summary("B"), a_lock("B"))
        with pytest.raises(NotFoundError):
            journal.record("B")

    # ---- lines --------------------------------------------------------------------------------------------------------

    def test_runs_with_one_key_stand_in_a_line_in_the_order_in_which_they_came(self, journal: Journal) -> None:
        claimed(journal, "B", concurrency="shop")
        claimed(journal, "A", "host:2", concurrency="shop")
        claimed(journal, "C", concurrency="other")
        claimed(journal, "D")
        assert journal.line("shop") == [
            Place(run="B", status=RunStatus.QUEUED, since=journal.line("shop")[0].since, owner="host:1"),
            Place(run="A", status=RunStatus.QUEUED, since=journal.line("shop")[1].since, owner="host:2"),
        ]
        assert journal.line("shop")[0].since >= NOON
        assert (line(journal, "other"), line(journal, "none")) == (["C"], [])

    def test_run_that_is_refused_joins_no_line(self, journal: Journal) -> None:
        created(journal, "A", token="T")
        with pytest.raises(RefusedError):
            created(journal, "B", token="T", concurrency="shop")
        journal.lock(a_lock("A"))
        with pytest.raises(LockedError):
            journal.create(a_record("B", concurrency="shop"), a_summary("B"), a_lock("B"))
        claimed(journal, "B")
        assert line(journal) == []

    def test_run_that_has_not_begun_is_in_the_line_while_a_live_process_has_it(
        self, journal: Journal, dead: set[str], living: set[str], clock: list[datetime]
    ) -> None:
        created(journal, concurrency="shop")
        assert line(journal) == []
        lease = journal.claim(RUN, "host:1", MINUTE, NOON)
        assert line(journal) == [RUN]
        clock.append(NOON + MINUTE)
        assert line(journal) == []
        living.add("host:1")
        assert line(journal) == [RUN]
        living.clear()
        clock.append(NOON)
        dead.add("host:1")
        assert line(journal) == []
        dead.clear()
        journal.release(lease)
        assert line(journal) == []

    def test_run_that_has_begun_keeps_its_place_without_a_process(self, journal: Journal) -> None:
        lease = claimed(journal, concurrency="shop")
        for seq, status in enumerate((RunStatus.RUNNING, RunStatus.WAITING, RunStatus.RUNNING, RunStatus.COMPENSATING), 1):
            moved(journal, lease, status, seq)
            journal.release(lease)
            assert [(place.run, place.status, place.owner) for place in journal.line("shop")] == [(RUN, status, None)]
            lease = journal.claim(RUN, "host:2", MINUTE, NOON)

    def test_run_that_has_ended_is_out_of_the_line(self, journal: Journal) -> None:
        for number, status in enumerate(RUN_FINAL):
            lease = claimed(journal, f"R{number}", concurrency="shop")
            moved(journal, lease, RunStatus.RUNNING)
            assert line(journal) == [f"R{number}"]
            moved(journal, lease, status, 2)
            assert line(journal) == []

    def test_run_that_leaves_lets_the_next_one_be_first(self, journal: Journal) -> None:
        claimed(journal, "A", concurrency="shop")
        claimed(journal, "B", concurrency="shop")
        journal.leave("A")
        journal.leave("A")
        journal.leave("NONE")
        assert line(journal) == ["B"]

    def test_join_is_at_the_end_and_harmless_when_repeated(self, journal: Journal) -> None:
        for run in "AB":
            claimed(journal, run)
            journal.join("shop", run, NOON)
        journal.join("shop", "A", NOON + MINUTE)
        assert line(journal) == ["A", "B"]
        journal.leave("A")
        journal.join("shop", "A", NOON)
        assert line(journal) == ["B", "A"]
        with pytest.raises(NotFoundError):
            journal.join("shop", "NONE", NOON)

    def test_join_is_at_the_end_when_the_clock_of_its_machine_is_behind(self, journal: Journal) -> None:
        claimed(journal, "B", concurrency="shop")
        claimed(journal, "A")
        journal.join("shop", "A", NOON - MINUTE)
        assert line(journal) == ["B", "A"]

    def test_run_that_ended_joins_again_at_the_end(self, journal: Journal) -> None:
        lease = claimed(journal, "A", concurrency="shop")
        claimed(journal, "B", concurrency="shop")
        moved(journal, lease, RunStatus.FAILED)
        journal.join("shop", "A", NOON)
        assert line(journal) == ["B", "A"]
        journal.release(lease)
        assert line(journal) == ["B"]

    def test_run_taken_late_stands_behind_those_that_saw_no_one_before_them(self, journal: Journal) -> None:
        created(journal, "A", concurrency="shop")
        claimed(journal, "B", concurrency="shop")
        assert line(journal) == ["B"]
        journal.claim("A", "host:2", MINUTE, NOON)
        assert line(journal) == ["B", "A"]

    def test_run_whose_lease_comes_back_to_life_does_not_take_the_key_from_one_that_has_begun(
        self, journal: Journal, clock: list[datetime]
    ) -> None:
        late = claimed(journal, "A", concurrency="shop")
        clock.append(NOON + MINUTE)
        lease = journal.claim(created(journal, "B", concurrency="shop"), "host:2", MINUTE, NOON + MINUTE)
        assert line(journal) == ["B"]
        moved(journal, lease, RunStatus.RUNNING)
        journal.renew(late, NOON + 3 * MINUTE)
        assert line(journal) == ["B", "A"]

    def test_own_run_claimed_again_keeps_its_place(self, journal: Journal) -> None:
        claimed(journal, "A", concurrency="shop")
        claimed(journal, "B", concurrency="shop")
        journal.claim("A", "host:1", MINUTE, NOON + MINUTE / 2)
        assert line(journal) == ["A", "B"]

    # ---- pools --------------------------------------------------------------------------------------------------------

    def test_free_slots_are_given_and_no_more(self, journal: Journal) -> None:
        one, two = claimed(journal, "A"), claimed(journal, "B", "host:2")
        assert journal.slots(one, "db", size=3, held=0, wanted=2, now=NOON) == 2
        assert journal.slots(two, "db", size=3, held=0, wanted=2, now=NOON) == 1
        assert journal.slots(two, "db", size=3, held=1, wanted=1, now=NOON) == 0
        assert journal.slots(two, "other", size=1, held=0, wanted=1, now=NOON) == 1

    def test_slots_that_a_run_no_longer_uses_go_to_who_waits(self, journal: Journal) -> None:
        one, two = claimed(journal, "A"), claimed(journal, "B", "host:2")
        journal.slots(one, "db", size=2, held=0, wanted=2, now=NOON)
        assert journal.slots(two, "db", size=2, held=0, wanted=2, now=NOON) == 0
        assert journal.slots(one, "db", size=2, held=1, wanted=0, now=NOON) == 0
        assert journal.slots(two, "db", size=2, held=0, wanted=2, now=NOON) == 1
        assert journal.slots(one, "db", size=2, held=0, wanted=0, now=NOON) == 0
        assert journal.slots(two, "db", size=2, held=1, wanted=1, now=NOON) == 1

    def test_freed_slot_is_kept_for_who_waits_longest(self, journal: Journal) -> None:
        leases = {run: claimed(journal, run, f"host:{run}") for run in "ABC"}
        journal.slots(leases["A"], "db", size=1, held=0, wanted=1, now=NOON)
        journal.slots(leases["C"], "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 6)
        journal.slots(leases["B"], "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 4)
        journal.slots(leases["A"], "db", size=1, held=0, wanted=0, now=NOON + MINUTE / 3)
        assert journal.slots(leases["B"], "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 3) == 0
        assert journal.slots(leases["A"], "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 3) == 0
        assert journal.slots(leases["C"], "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 3) == 1

    def test_who_was_served_waits_behind_the_others(self, journal: Journal) -> None:
        one, two, three = (claimed(journal, run, f"host:{run}") for run in "ABC")
        journal.slots(three, "db", size=1, held=0, wanted=1, now=NOON)
        journal.slots(one, "db", size=1, held=0, wanted=5, now=NOON + MINUTE / 6)
        journal.slots(two, "db", size=1, held=0, wanted=5, now=NOON + MINUTE / 5)
        journal.slots(three, "db", size=1, held=0, wanted=0, now=NOON + MINUTE / 4)
        assert journal.slots(one, "db", size=1, held=0, wanted=5, now=NOON + MINUTE / 4) == 1
        assert journal.slots(one, "db", size=1, held=0, wanted=5, now=NOON + MINUTE / 3) == 0
        assert journal.slots(two, "db", size=1, held=0, wanted=5, now=NOON + MINUTE / 3) == 1

    def test_runs_that_wait_share_what_is_free_one_slot_at_a_time(self, journal: Journal) -> None:
        one, two, three = (claimed(journal, run, f"host:{run}") for run in "ABC")
        journal.slots(three, "db", size=5, held=0, wanted=5, now=NOON)
        journal.slots(one, "db", size=5, held=0, wanted=9, now=NOON)
        journal.slots(two, "db", size=5, held=0, wanted=2, now=NOON)
        journal.slots(three, "db", size=5, held=0, wanted=0, now=NOON)
        assert journal.slots(one, "db", size=5, held=0, wanted=9, now=NOON + MINUTE / 2) == 3
        assert journal.slots(two, "db", size=5, held=0, wanted=2, now=NOON + MINUTE / 2) == 1
        assert journal.slots(one, "db", size=5, held=3, wanted=6, now=NOON + MINUTE / 2) == 1

    def test_slots_of_runs_that_no_live_process_drives_are_free(
        self, journal: Journal, dead: set[str], living: set[str]
    ) -> None:
        one, two = claimed(journal, "A"), claimed(journal, "B", "host:2")
        journal.slots(one, "db", size=1, held=0, wanted=1, now=NOON)
        living.add("host:1")
        journal.renew(two, NOON + 3 * MINUTE)
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON + 2 * MINUTE) == 0
        living.clear()
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 2) == 0
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON + 2 * MINUTE) == 1
        journal.slots(one, "db", size=2, held=0, wanted=1, now=NOON)
        dead.add("host:2")
        assert journal.slots(one, "db", size=2, held=1, wanted=1, now=NOON) == 1

    def test_wishes_of_runs_that_no_live_process_drives_do_not_count(self, journal: Journal, dead: set[str]) -> None:
        one, two, three = (claimed(journal, run, f"host:{run}") for run in "ABC")
        journal.slots(one, "db", size=1, held=0, wanted=1, now=NOON)
        journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON)
        journal.slots(three, "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 2)
        dead.add("host:B")
        journal.slots(one, "db", size=1, held=0, wanted=0, now=NOON + MINUTE / 2)
        assert journal.slots(three, "db", size=1, held=0, wanted=1, now=NOON + MINUTE / 2) == 1

    def test_run_taken_afresh_or_given_back_holds_no_slots(self, journal: Journal) -> None:
        one, two = claimed(journal, "A"), claimed(journal, "B", "host:2")
        journal.slots(one, "db", size=1, held=0, wanted=1, now=NOON)
        one = journal.claim("A", "host:1", MINUTE, NOON)
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON) == 1
        journal.release(two)
        assert journal.slots(one, "db", size=1, held=0, wanted=1, now=NOON) == 1

    def test_release_of_a_lost_lease_takes_no_slots(self, journal: Journal) -> None:
        lost, other = claimed(journal, "A"), claimed(journal, "B")
        mine = journal.claim("A", "host:2", 5 * MINUTE, NOON + MINUTE)
        journal.slots(mine, "db", size=1, held=0, wanted=1, now=NOON + MINUTE)
        journal.release(lost)
        assert journal.slots(other, "db", size=1, held=0, wanted=1, now=NOON + MINUTE) == 0

    def test_pool_that_was_made_smaller_gives_nothing_until_it_has_room(self, journal: Journal) -> None:
        one, two = claimed(journal, "A"), claimed(journal, "B", "host:2")
        journal.slots(one, "db", size=3, held=0, wanted=3, now=NOON)
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON) == 0
        journal.slots(one, "db", size=1, held=1, wanted=0, now=NOON)
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON) == 0
        journal.slots(one, "db", size=1, held=0, wanted=0, now=NOON)
        assert journal.slots(two, "db", size=1, held=0, wanted=1, now=NOON) == 1

    def test_lost_lease_gets_no_slots_and_takes_none(self, journal: Journal) -> None:
        lost, other = claimed(journal, "A"), claimed(journal, "B")
        journal.claim("A", "host:2", MINUTE, NOON + MINUTE)
        with pytest.raises(LockedError, match="process 2 on host"):
            journal.slots(lost, "db", size=1, held=0, wanted=1, now=NOON)
        assert journal.slots(other, "db", size=1, held=0, wanted=1, now=NOON) == 1

    # ---- requests -----------------------------------------------------------------------------------------------------

    def test_request_comes_back_as_it_was_given_until_it_is_answered(self, journal: Journal) -> None:
        lease = claimed(journal)
        journal.ask(a_request())
        assert list(journal.requests([RUN])) == [a_request()]
        journal.append([batch(lease, 1)])
        assert list(journal.requests({RUN})) == [a_request()]
        journal.append([batch(lease, 2, answered=["Q1", "unknown"])])
        assert list(journal.requests([RUN])) == []

    def test_requests_are_oldest_first_and_of_the_runs_asked_for(self, journal: Journal) -> None:
        for run in "ABC":
            created(journal, run)
        asked = [a_request("Q3", "A"), a_request("Q2", "B", at=NOON + MINUTE), a_request("Q1", "C"), a_request("Q4", "A")]
        for request in reversed(asked):
            journal.ask(request)
        assert [request.id for request in journal.requests("ABC")] == ["Q1", "Q3", "Q4", "Q2"]
        assert [request.id for request in journal.requests(["B", "C"])] == ["Q1", "Q2"]
        assert list(journal.requests([])) == []

    def test_request_asked_twice_is_one(self, journal: Journal) -> None:
        created(journal)
        journal.ask(a_request())
        journal.ask(a_request(at=NOON + MINUTE))
        assert list(journal.requests([RUN])) == [a_request()]

    def test_request_for_an_unknown_run_is_refused(self, journal: Journal) -> None:
        with pytest.raises(NotFoundError, match="NONE"):
            journal.ask(a_request(run="NONE"))

    def test_requests_stay_when_nothing_is_appended(self, journal: Journal) -> None:
        lost = claimed(journal)
        journal.ask(a_request())
        journal.claim(RUN, "host:2", MINUTE, NOON + MINUTE)
        with pytest.raises(LockedError):
            journal.append([batch(lost, 1, answered=["Q1"])])
        assert len(journal.requests([RUN])) == 1

    def test_run_answers_only_its_own_requests(self, journal: Journal) -> None:
        lease = claimed(journal, "A")
        created(journal, "B")
        journal.ask(a_request(run="B"))
        journal.append([batch(lease, 1, answered=["Q1"])])
        assert len(journal.requests(["B"])) == 1

    def test_withdrawn_requests_are_those_of_one_run(self, journal: Journal) -> None:
        for run in "AB":
            created(journal, run)
            journal.ask(a_request(f"Q{run}", run))
            journal.ask(a_request(f"R{run}", run))
        journal.withdraw("A")
        journal.withdraw("NONE")
        assert [request.id for request in journal.requests("AB")] == ["QB", "RB"]

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
