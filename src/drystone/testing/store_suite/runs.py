"""What a store keeps of a run, and how a run is found."""

from __future__ import annotations

import pytest

from drystone.core.events import EventType
from drystone.core.opaque import Secret
from drystone.errors import DrystoneError, NotFoundError, RefusedError
from drystone.ports import Batch, Journal
from drystone.testing.store_suite.records import MINUTE, NOON, RUN, a_record, a_summary, an_event, batch, claimed, created, numbers


class RunSuite:
    """Records, events, names and tokens."""

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

    def test_order_is_that_of_the_starts_though_the_clock_was_set_back(self, journal: Journal) -> None:
        for minutes, run in enumerate("CAB"):
            created(journal, run, created_at=NOON - minutes * MINUTE)
        assert journal.find("last") == "B"
        assert [summary.id for summary in journal.summaries()] == ["B", "A", "C"]

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
