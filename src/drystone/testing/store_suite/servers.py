"""Which runs wait for a process that stays, and which processes stay."""

from __future__ import annotations

from datetime import datetime, timedelta

from drystone.core.states import RunStatus
from drystone.ports import BEGINNING, Journal, ServerInfo
from drystone.testing.store_suite.records import MINUTE, NOON, RUN, claimed, created, moved


class ServerSuite:
    """`unattended`, and the list of servers."""

    def test_run_that_was_given_back_is_unattended_and_one_in_living_hands_is_not(self, journal: Journal) -> None:
        lease = claimed(journal, "A")
        claimed(journal, "B")
        journal.release(lease)
        assert list(journal.unattended(NOON + MINUTE / 2)) == ["A"]

    def test_run_is_unattended_once_its_lease_is_over_or_its_process_is_dead(
        self, journal: Journal, dead: set[str], living: set[str]
    ) -> None:
        for run, owner in (("A", "host:1"), ("B", "host:2"), ("C", "host:3")):
            claimed(journal, run, owner)
        dead.add("host:2")
        living.add("host:3")
        assert list(journal.unattended(NOON + MINUTE / 2)) == ["B"]
        assert list(journal.unattended(NOON + 2 * MINUTE)) == ["A", "B"]

    def test_run_that_was_just_created_is_left_to_who_created_it(self, journal: Journal) -> None:
        created(journal)
        assert list(journal.unattended(NOON + BEGINNING)) == []
        assert list(journal.unattended(NOON + BEGINNING + timedelta(seconds=1))) == [RUN]

    def test_run_that_has_ended_or_is_a_part_is_never_unattended(self, journal: Journal) -> None:
        for status in RunStatus:
            lease = claimed(journal, status.value)
            moved(journal, lease, status)
            journal.release(lease)
        claimed(journal, "whole")
        journal.release(claimed(journal, "part", parent="whole"))
        assert set(journal.unattended(NOON)) == {status.value for status in RunStatus if not status.is_final}

    def test_server_is_listed_from_its_first_word_until_it_says_or_shows_that_it_is_gone(
        self, journal: Journal, dead: set[str]
    ) -> None:
        def named(now: datetime) -> list[tuple[str, str, datetime]]:
            return [(server.owner, server.address, server.since) for server in journal.servers(now)]

        journal.serve(ServerInfo(owner="host:1", address="", since=NOON), NOON + MINUTE)
        journal.serve(ServerInfo(owner="host:2", address="http://two", since=NOON + MINUTE / 4), NOON + MINUTE)
        journal.serve(ServerInfo(owner="host:1", address="http://one", since=NOON + MINUTE / 2), NOON + 2 * MINUTE)
        assert named(NOON) == [("host:1", "http://one", NOON), ("host:2", "http://two", NOON + MINUTE / 4)]
        assert [owner for owner, *_ in named(NOON + 1.5 * MINUTE)] == ["host:1"]
        dead.add("host:1")
        assert [owner for owner, *_ in named(NOON)] == ["host:2"]
        journal.stop_serving("host:2")
        journal.stop_serving("nobody")
        assert named(NOON) == []
