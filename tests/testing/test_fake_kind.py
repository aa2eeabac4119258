"""The fake kind and the simulated clock, under the real embedded engine."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.errors import NotFoundError
from drystone.kinds.terraform.task import Terraform
from drystone.plugin.registry import Registry
from drystone.testing.clock import SimulatedClock
from drystone.testing.embedded import EmbeddedDriver
from drystone.testing.fake_kind import FakeKind, registry_with, stand_in, stand_ins
from drystone.testing.rehearsal import rehearse
from drystone.testing.simulation import START

PLAN = """
drystone: 1
name: test
tasks:
  a: {fake: {text: "{{ run.plan }}"}}
  b: {needs: [a], retry: {attempts: 2, delay: 4m, jitter: false}, fake: {}}
"""


@pytest.fixture
def driver(tmp_path: Path) -> EmbeddedDriver:
    return EmbeddedDriver(tmp_path)


def test_it_keeps_what_it_was_asked(driver: EmbeddedDriver) -> None:
    story = driver.run(PLAN, faults="b fails")
    kind = driver.fake
    assert kind.called == ["a", "b", "b", "undo:a"]
    assert kind.calls[0].config.model_dump() == {"text": "test"}
    assert kind.calls[1].token == kind.calls[2].token == f"{story.run.id}:b"


def test_a_wait_between_attempts_is_jumped_over(driver: EmbeddedDriver) -> None:
    story = driver.run(PLAN, faults="b fails once")
    assert story.took == timedelta(minutes=4, seconds=3)


def test_an_attempt_that_is_held_ends_when_it_is_let_go(driver: EmbeddedDriver) -> None:
    kind = driver.fake
    kind.hold("a")
    stories = []
    thread = threading.Thread(target=lambda: stories.append(driver.run(PLAN)))
    thread.start()
    kind.wait_for("a")
    kind.let_go("a")
    thread.join()
    assert (stories[0].status, kind.called) == ("succeeded", ["a", "b"])


def test_who_waits_for_an_attempt_that_does_not_come_is_told_which_came(driver: EmbeddedDriver) -> None:
    driver.run(PLAN)
    with pytest.raises(AssertionError, match="no attempt of c has begun; there were a, b"):
        driver.fake.wait_for("c", timeout=timedelta())


def test_it_stands_in_for_another_kind_so_that_a_plan_is_compiled_as_it_is() -> None:
    fake, real = registry_with(stand_in(Terraform)).info("terraform"), Registry().info("terraform")
    assert fake is not None and real is not None
    assert (fake.has_undo, fake.undo_when, fake.changes) == (real.has_undo, real.undo_when, real.changes)
    assert fake.check({"modul": "x"}) == real.check({"modul": "x"}) != ()


def test_what_has_no_undo_is_stood_in_for_without_one() -> None:
    info = registry_with(*stand_ins()).info("command")
    assert info is not None and not info.has_undo


def test_a_registry_with_a_fake_kind_has_the_installed_ones_too() -> None:
    registry = registry_with(FakeKind())
    assert set(registry.names()) == {*Registry().names(), "fake"}
    assert registry.get("fake") is registry.get("fake")
    with pytest.raises(NotFoundError):
        Registry().get("fake")


HOST = {"name": "vm", "address": "10.0.0.1"}


FAULTS = [
    [],
    ["migration fails"],
    ["software fails twice with unreachable", "crash during vm"],
    ["undo of vm[1] fails", "verify fails"],
    ["cancel during migration"],
]


@pytest.mark.parametrize("faults", FAULTS, ids=", ".join)
def test_a_plan_ends_under_the_engine_as_its_rehearsal_says(tmp_path: Path, faults: list[str]) -> None:
    given = {"inputs": {"name": "demo"}, "outputs": {"network": {"id": "n"}, "subnet": {"id": "s"}, "vm": HOST}, "faults": faults}
    story = EmbeddedDriver(tmp_path, kinds=stand_ins()).run("environment", **given)
    rehearsal = rehearse("environment", folder=tmp_path, **given)
    assert (story.status, story.left, story.failed) == (rehearsal.status, rehearsal.left, rehearsal.failed)
    assert story.outputs == rehearsal.outputs
    assert sorted(story.undone) == sorted(rehearsal.undone)
    assert sorted(story.started) == sorted(rehearsal.started)


# ---- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_stands_still_until_it_is_told_to_go_on() -> None:
    clock = SimulatedClock()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    clock.advance(timedelta(minutes=1))
    assert (clock.now(), clock.monotonic()) == (START + timedelta(minutes=1), 60.0)
