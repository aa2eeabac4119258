"""All engines keep the same semantics: the core alone, and the embedded engine over each store that needs no service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from drystone.plugin import api
from drystone.stores.sql import SqlJournal
from drystone.testing.embedded import EmbeddedDriver, IsAlive
from drystone.testing.engine_suite import EngineSuite, RehearsalDriver, plan
from drystone.testing.fake_kind import FakeKind


class TestRehearsal(EngineSuite):
    """The core under a simulated clock."""

    @pytest.fixture
    def engine(self, project: Path) -> RehearsalDriver:
        return RehearsalDriver(project)


class TestEmbedded(EngineSuite):
    """The embedded engine with its journal in memory."""

    @pytest.fixture
    def engine(self, project: Path) -> EmbeddedDriver:
        return EmbeddedDriver(project)

    def test_when_a_kind_is_asked_for_an_attempt_its_start_can_be_read_in_the_store(self, project: Path) -> None:
        seen: list[list[str]] = []

        class Reader(FakeKind):
            """Looks at what is stored when its attempt begins."""

            name = "reader"

            def run(self, ctx: api.Context, config: api.Config) -> api.Outcome:
                stored = [event for event in driver.journal.events(ctx.run_id) if event.task == ctx.task]
                seen.append([event.type.value for event in stored])
                return super().run(ctx, config)

        driver = EmbeddedDriver(project, kinds=[Reader()])
        driver.run(plan("a: {reader: {}}"))
        assert seen == [["task.started"]]

    def test_the_kind_looks_at_the_world_before_it_makes_a_lost_attempt_again(self, engine: EmbeddedDriver) -> None:
        engine.run(plan("a: {fake: {}}"), faults="crash during a")
        assert [(call.name, call.attempt, call.recovered) for call in engine.fake.calls] == [("a", 2, True)]


class TestEmbeddedWithSqlite(EngineSuite):
    """The embedded engine with its journal on disk, opened anew by each process."""

    @pytest.fixture
    def engine(self, project: Path) -> Iterator[EmbeddedDriver]:
        opened: list[SqlJournal] = []

        def journal(is_alive: IsAlive, now: Callable[[], datetime]) -> SqlJournal:
            opened.append(SqlJournal(f"sqlite:///{project}/drystone.db", is_alive=is_alive, now=now))
            return opened[-1]

        yield EmbeddedDriver(project, journal=journal)
        for each in opened:
            each.close()
