"""What persons ask of a run that another process may have."""

from __future__ import annotations

import pytest

from drystone.errors import LockedError, NotFoundError
from drystone.ports import Journal
from drystone.testing.store_suite.records import MINUTE, NOON, RUN, a_request, batch, claimed, created


class RequestSuite:
    """Requests, kept until the run answers them."""

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
