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
from datetime import datetime

import pytest

from drystone.testing.store_suite.history import HistorySuite
from drystone.testing.store_suite.leases import LeaseSuite
from drystone.testing.store_suite.records import (
    MINUTE,
    NOON,
    RUN,
    a_lock,
    a_record,
    a_request,
    a_summary,
    a_task,
    an_event,
    batch,
    claimed,
    created,
    line,
    moved,
    numbers,
)
from drystone.testing.store_suite.requests import RequestSuite
from drystone.testing.store_suite.runs import RunSuite
from drystone.testing.store_suite.servers import ServerSuite
from drystone.testing.store_suite.sharing import SharingSuite
from drystone.testing.store_suite.ticks import TickSuite

__all__ = [
    "MINUTE", "NOON", "RUN", "JournalSuite", "a_lock", "a_record", "a_request", "a_summary", "a_task", "an_event", "batch", "claimed",
    "created", "line", "moved", "numbers",
]  # fmt: skip


class JournalSuite(RunSuite, HistorySuite, LeaseSuite, SharingSuite, RequestSuite, ServerSuite, TickSuite):
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
