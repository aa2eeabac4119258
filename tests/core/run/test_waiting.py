"""Waits and questions to a person: what a run looks like while it waits, who may answer, and how each wait ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drystone.core.events import EventType
from drystone.core.plan import OnFailure, UndoWhen
from drystone.core.run import Run, evolve, new_run, questions
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import NotFoundError, RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Ending, Simulation, asks, fail, ok, waits

HOUR = timedelta(hours=1)
GATE = {"build": [], "gate": ["build"], "release": ["gate"]}


def at_the_gate(question: Ending, on_failure: OnFailure = OnFailure.COMPENSATE) -> Simulation:
    """A run that waits for the answer to `question`."""
    simulation = Simulation(graph_of(GATE, on_failure=on_failure), script={"gate": question})
    while not questions(simulation.run):
        simulation.step()
    return simulation


def test_a_wait_ends_when_its_moment_comes() -> None:
    simulation = Simulation(graph_of({"pause": [], "end": ["pause"]}), script={"pause": waits(HOUR)})
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.now - START == HOUR + timedelta(seconds=1)


def test_a_run_that_can_only_wait_says_so_and_holds_no_attempt() -> None:
    run = at_the_gate(asks()).run
    assert (run.status, run.instances["gate"].status, dict(run.running)) == (RunStatus.WAITING, TaskStatus.WAITING, {})


def test_a_run_with_work_beside_the_question_does_not_wait() -> None:
    script = {"gate": asks(), "work": ok(after=HOUR)}
    simulation = Simulation(graph_of({"gate": [], "work": []}), script=script)
    simulation.step()
    assert questions(simulation.run) == ["gate"]
    assert simulation.run.status is RunStatus.RUNNING


def test_that_a_run_waits_is_the_same_event_by_event_and_in_one_batch() -> None:
    simulation = at_the_gate(asks())
    state: Run = new_run(id=simulation.run.id, graph=simulation.run.graph, inputs={}, environment=None, created_at=START)
    for event in simulation.history:
        state = evolve(state, event)
    assert state == simulation.run == simulation.replayed()
    assert state.status is RunStatus.WAITING


def test_a_yes_lets_the_run_go_on_and_is_what_the_task_gives_out() -> None:
    simulation = at_the_gate(asks())
    simulation.answer("gate", "approve", by="ann@desk", comment="tested")
    run = simulation.finish()
    assert run.status is RunStatus.SUCCEEDED
    assert run.instances["gate"].outputs["by"] == "ann@desk"
    assert run.instances["gate"].outputs["comment"] == "tested"


def test_a_no_fails_the_task_as_refused_and_the_way_back_begins() -> None:
    simulation = at_the_gate(asks())
    simulation.answer("gate", "reject", by="ann@desk", comment="not before Monday")
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATED
    assert run.error == {"task": "gate", "class": "refused", "message": "rejected by ann@desk: not before Monday"}
    assert simulation.started[-1] == "undo:build"


@pytest.mark.parametrize(("on_timeout", "status"), [("approve", RunStatus.SUCCEEDED), ("reject", RunStatus.COMPENSATED)])
def test_no_answer_in_time_means_what_the_question_says(on_timeout: str, status: RunStatus) -> None:
    simulation = at_the_gate(asks(timeout=HOUR, on_timeout=on_timeout))
    assert simulation.finish().status is status
    assert simulation.now - START >= HOUR


def test_nobody_answering_is_a_timeout_and_no_refusal() -> None:
    run = at_the_gate(asks(timeout=HOUR)).finish()
    assert run.error is not None and run.error["class"] == "timeout"


def test_an_approver_is_named_by_user_or_by_user_and_host() -> None:
    for approver in ("ann", "ann@desk"):
        simulation = at_the_gate(asks(approver))
        simulation.answer("gate", "approve", by="ann@desk")
        assert simulation.finish().status is RunStatus.SUCCEEDED


def test_who_is_no_approver_may_not_answer() -> None:
    simulation = at_the_gate(asks("ann"))
    with pytest.raises(RefusedError, match='"eve" may not answer'):
        simulation.answer("gate", "approve", by="eve@desk")
    assert questions(simulation.run) == ["gate"]


def test_who_started_the_run_may_not_answer_unless_the_plan_says_so() -> None:
    with pytest.raises(RefusedError, match="may not answer"):
        at_the_gate(asks()).answer("gate", "approve", by="test@other")
    simulation = at_the_gate(asks(self_approval=True))
    simulation.answer("gate", "approve", by="test@other")
    assert simulation.finish().status is RunStatus.SUCCEEDED


def test_a_question_is_answered_once() -> None:
    simulation = at_the_gate(asks())
    simulation.answer("gate", "approve")
    with pytest.raises(RefusedError, match="does not wait for an approval"):
        simulation.answer("gate", "reject")


def test_an_answer_to_a_task_that_does_not_exist_names_those_that_wait() -> None:
    with pytest.raises(NotFoundError) as raised:
        at_the_gate(asks()).answer("gat", "approve")
    assert "gate" in (raised.value.hint or "")


def test_a_mere_wait_takes_no_answer() -> None:
    simulation = Simulation(graph_of({"pause": []}), script={"pause": waits(HOUR)})
    simulation.step()
    with pytest.raises(RefusedError, match="does not wait for an approval"):
        simulation.answer("pause", "approve")


def test_a_cancel_ends_the_wait_and_what_was_done_is_undone() -> None:
    simulation = at_the_gate(asks())
    simulation.cancel()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.run.instances["gate"].status is TaskStatus.CANCELLED
    assert simulation.started[-1] == "undo:build"


def test_the_time_of_the_run_ends_a_wait_too() -> None:
    simulation = Simulation(graph_of(GATE, timeout=HOUR), script={"gate": asks()})
    run = simulation.finish()
    assert (run.status, simulation.now - START >= HOUR) == (RunStatus.COMPENSATED, True)
    assert run.error is not None and run.error["class"] == "timeout"


def test_a_failure_elsewhere_ends_the_wait() -> None:
    simulation = Simulation(graph_of({"gate": [], "bad": []}), script={"gate": asks(), "bad": fail(after=HOUR)})
    assert simulation.finish().instances["gate"].status is TaskStatus.CANCELLED


def test_a_question_outlives_the_process_that_asked_it() -> None:
    simulation = at_the_gate(asks())
    simulation.crash()
    assert simulation.run.status is RunStatus.WAITING
    simulation.answer("gate", "approve")
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.types().count(EventType.APPROVAL_REQUESTED) == 1


def test_the_moment_of_a_wait_stays_though_its_process_dies() -> None:
    simulation = Simulation(graph_of({"pause": []}), script={"pause": waits(HOUR)})
    simulation.step()
    simulation.crash()
    simulation.finish()
    assert simulation.now - START == HOUR


def test_a_question_changes_nothing_and_is_not_undone() -> None:
    tasks = {"gate": task("gate", undo_when=UndoWhen.ATTEMPTED), "end": ["gate"]}
    simulation = Simulation(graph_of(tasks), script={"gate": asks(), "end": fail()})
    simulation.step()
    simulation.answer("gate", "approve")
    simulation.finish()
    assert "undo:gate" not in simulation.started
