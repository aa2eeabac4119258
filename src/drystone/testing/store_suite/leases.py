"""Who may write to a run, and who has an environment."""

from __future__ import annotations

import pytest

from drystone.errors import LockedError, NotFoundError
from drystone.ports import Batch, Journal
from drystone.testing.store_suite.records import (
    MINUTE,
    NOON,
    RUN,
    a_lock,
    a_record,
    a_summary,
    a_task,
    an_event,
    batch,
    claimed,
    created,
    numbers,
)


class LeaseSuite:
    """Leases with their fencing epochs, and locks of environments."""

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

    def test_a_run_taken_by_force_is_lost_to_its_owner(self, journal: Journal, living: set[str]) -> None:
        lost = claimed(journal)
        living.add("host:1")
        mine = journal.claim(RUN, "host:2", MINUTE, NOON, force=True)
        with pytest.raises(LockedError, match="process 2 on host"):
            journal.append([batch(lost, 1)])
        journal.append([batch(mine, 1)])
        assert numbers(journal) == [1]

    def test_own_run_may_be_claimed_again(self, journal: Journal) -> None:
        first = claimed(journal)
        assert journal.claim(RUN, "host:1", MINUTE, NOON).epoch > first.epoch

    def test_lease_ends_with_its_time(self, journal: Journal) -> None:
        claimed(journal)
        assert journal.claim(RUN, "host:2", MINUTE, NOON + MINUTE).owner == "host:2"

    def test_lease_does_not_end_while_its_process_is_seen_to_live(self, journal: Journal, living: set[str]) -> None:
        """The clock may have been set forward, or the machine have slept."""
        claimed(journal, owner="host:1")
        living.add("host:1")
        with pytest.raises(LockedError):
            journal.claim(RUN, "host:2", MINUTE, NOON + 60 * MINUTE)

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
