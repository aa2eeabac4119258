"""An attempt that a circuit breaker held back is no attempt: it uses up no retry, on either way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from drystone.core.events import EventType
from drystone.core.plan import OnFailure, Undo, UndoMode, UndoWhen
from drystone.core.retry import NO_RETRY, RetryPolicy
from drystone.core.run import AttemptStatus, Run, UndoStatus
from drystone.core.states import RunStatus, TaskStatus
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Ending, Simulation, fail, held_back, ok

TWICE = RetryPolicy(attempts=2, delay=timedelta(seconds=1), jitter=False)


def one(*ends: Ending, retry: RetryPolicy = NO_RETRY) -> Simulation:
    simulation = Simulation(graph_of({"a": task("a", retry=retry)}), script={"a": ends})
    simulation.finish()
    return simulation


def statuses(run: Run, id_: str = "a") -> list[str]:
    return [attempt.status.value for attempt in run.instances[id_].attempts]


def test_a_task_without_retries_is_tried_after_it_was_held_back() -> None:
    simulation = one(held_back(), held_back(), ok())
    assert simulation.run.status is RunStatus.SUCCEEDED
    assert statuses(simulation.run) == ["held", "held", "succeeded"]


def test_it_is_tried_when_its_turn_comes() -> None:
    simulation = one(held_back(timedelta(seconds=20)), ok())
    held, done = simulation.run.instances["a"].attempts
    assert held.finished_at is not None
    assert done.started_at - held.finished_at == timedelta(seconds=20)


def test_its_retries_are_all_there_afterwards() -> None:
    simulation = one(fail(), held_back(), held_back(), fail(), retry=TWICE)
    assert statuses(simulation.run) == ["failed", "held", "held", "failed"]
    assert simulation.run.instances["a"].status is TaskStatus.FAILED


def test_it_comes_again_though_the_policy_names_other_classes_only() -> None:
    policy = RetryPolicy(attempts=3, on=frozenset())
    assert one(held_back(), ok(), retry=policy).run.status is RunStatus.SUCCEEDED


def test_its_events_say_that_it_was_held_back() -> None:
    simulation = one(held_back(), ok())
    failed = next(event for event in simulation.history if event.type is EventType.TASK_FAILED)
    assert (failed.data["held"], failed.data["final"], failed.data["changed"]) == (True, False, False)
    assert simulation.history[simulation.history.index(failed) + 1].type is EventType.TASK_RETRYING


def test_one_that_is_held_back_while_the_run_stops_is_given_up_and_not_undone() -> None:
    undo = Undo(mode=UndoMode.AUTO, always=True)
    tasks = {"a": task("a", undo=undo, undo_when=UndoWhen.ATTEMPTED), "b": task("b")}
    late = replace(held_back(), after=timedelta(seconds=2))
    simulation = Simulation(graph_of(tasks), script={"a": late, "b": fail()})
    simulation.finish()
    assert statuses(simulation.run) == ["held"]
    assert simulation.run.instances["a"].status is TaskStatus.FAILED
    assert "undo:a" not in simulation.started


def test_one_that_waits_for_its_turn_is_given_up_when_the_run_stops() -> None:
    simulation = Simulation(graph_of({"a": [], "b": []}), script={"a": held_back(timedelta(hours=1)), "b": fail()})
    simulation.finish()
    instance = simulation.run.instances["a"]
    assert (instance.status, instance.reason) == (TaskStatus.FAILED, "the run stopped before the next attempt")


@pytest.mark.parametrize("on_failure", [OnFailure.COMPENSATE, OnFailure.STOP])
def test_a_cancel_ends_one_that_waits_for_its_turn(on_failure: OnFailure) -> None:
    simulation = Simulation(graph_of({"a": []}, on_failure=on_failure), script={"a": held_back(timedelta(hours=1))})
    simulation.step()
    simulation.cancel()
    simulation.finish()
    assert simulation.run.status is RunStatus.CANCELLED
    assert simulation.run.instances["a"].status is TaskStatus.CANCELLED


def test_an_undo_that_is_held_back_uses_up_none_of_its_retries() -> None:
    undo = Undo(mode=UndoMode.AUTO, retry=NO_RETRY)
    script = {"b": fail(), "undo:a": [held_back(), held_back(), ok()]}
    simulation = Simulation(graph_of({"a": task("a", undo=undo), "b": ["a"]}), script=script)
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATED
    assert [attempt.status for attempt in run.instances["a"].undo.attempts] == [
        AttemptStatus.HELD, AttemptStatus.HELD, AttemptStatus.SUCCEEDED,
    ]  # fmt: skip


def test_an_undo_that_fails_after_it_was_held_back_is_tried_as_often_as_the_plan_says() -> None:
    undo = Undo(mode=UndoMode.AUTO, retry=TWICE)
    script = {"b": fail(), "undo:a": [held_back(), fail(), held_back(), fail()]}
    simulation = Simulation(graph_of({"a": task("a", undo=undo), "b": ["a"]}), script=script)
    run = simulation.finish()
    assert run.instances["a"].undo.status is UndoStatus.FAILED
    assert len(run.instances["a"].undo.attempts) == 4


def test_an_undo_that_is_asked_for_again_has_all_its_retries_though_it_was_held_back_before() -> None:
    undo = Undo(mode=UndoMode.AUTO, retry=TWICE)
    script = {"b": fail(), "undo:a": [held_back(), fail(), fail(), fail(), ok()]}
    simulation = Simulation(graph_of({"a": task("a", undo=undo), "b": ["a"]}), script=script)
    assert simulation.finish().status is RunStatus.COMPENSATION_FAILED
    simulation.undo()
    assert simulation.finish().status is RunStatus.COMPENSATED


def test_a_replay_sees_the_same() -> None:
    simulation = one(fail(), held_back(), ok(), retry=TWICE)
    assert simulation.replayed() == simulation.run


def test_a_resume_gives_all_retries_again() -> None:
    script = {"a": [held_back(), fail(), fail(), held_back(), fail(), ok()]}
    simulation = Simulation(graph_of({"a": task("a", retry=TWICE)}, on_failure=OnFailure.STOP), script=script)
    assert simulation.finish().status is RunStatus.FAILED
    simulation.resume()
    assert simulation.finish().status is RunStatus.SUCCEEDED
