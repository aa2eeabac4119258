"""What runs share: their place in a line, and slots of a pool."""

from __future__ import annotations

from datetime import datetime

import pytest

from drystone.core.states import RUN_FINAL, RunStatus
from drystone.errors import LockedError, NotFoundError, RefusedError
from drystone.ports import Journal, Place
from drystone.testing.store_suite.records import MINUTE, NOON, RUN, a_lock, a_record, a_summary, claimed, created, line, moved


class SharingSuite:
    """Lines of a concurrency key, and pools."""

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
