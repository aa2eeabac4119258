"""Runs that leave what stands as it is, and ways back that take away all that stands."""

from __future__ import annotations

import pytest

from drystone.core.events import EventType
from drystone.core.plan import OnFailure, Undo, UndoMode
from drystone.core.run import Manner, UndoStatus
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Simulation, asks, fail, ok, unchanged

CHAIN = {"network": [], "vm": ["network"], "app": ["vm"]}


def test_how_a_run_goes_about_its_tasks_is_in_its_first_event_and_comes_back() -> None:
    manner = Manner(changed_only=True, only=("vm", "app"), preview="sha256:1")
    simulation = Simulation(graph_of(CHAIN), manner=manner)
    assert simulation.history[0].data["manner"] == {"changed_only": True, "only": ["vm", "app"], "preview": "sha256:1"}
    assert simulation.replayed().manner == manner
    assert Manner().to_json() == {}


def test_what_stands_is_skipped_with_its_outputs_and_the_tasks_behind_it_go_on() -> None:
    run = Simulation(graph_of(CHAIN), script={"network": unchanged({"id": "n1"}, since="01OLD")}).finish()
    network = run.instances["network"]
    assert (run.status, network.status, run.instances["app"].status) == (RunStatus.SUCCEEDED, TaskStatus.SKIPPED, TaskStatus.SUCCEEDED)
    assert (network.stands, network.reason, network.changed) == ("01OLD", "unchanged since run 01OLD", False)
    assert run.views["network"]["outputs"] == {"id": "n1"}


def test_a_failed_run_leaves_what_stood_before_it() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"network": unchanged(), "app": fail()})
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATED
    assert [name for name in simulation.started if name.startswith("undo:")] == ["undo:vm"]
    assert run.instances["network"].status is TaskStatus.SKIPPED


def test_what_stands_is_not_done_again_when_the_run_is_resumed() -> None:
    simulation = Simulation(graph_of(CHAIN, on_failure=OnFailure.STOP), script={"network": unchanged(), "vm": fail(permanent=True)})
    assert simulation.finish().status is RunStatus.FAILED
    simulation.resume({"vm": ok()})
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started.count("network") == 1


def test_destroying_takes_away_what_a_run_found_as_well_as_what_it_made() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"network": unchanged(), "vm": ok(changed=False)})
    simulation.finish()
    simulation.destroy()
    run = simulation.finish()
    assert (run.status, run.destroys) == (RunStatus.COMPENSATED, True)
    assert [name for name in simulation.started if name.startswith("undo:")] == ["undo:app", "undo:vm", "undo:network"]
    assert simulation.replayed() == run


def test_an_ordinary_undo_takes_back_only_what_the_run_changed() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"network": unchanged(), "vm": ok(changed=False)})
    simulation.finish()
    simulation.undo()
    simulation.finish()
    assert [name for name in simulation.started if name.startswith("undo:")] == ["undo:app"]


def test_destroying_a_part_leaves_the_rest() -> None:
    simulation = Simulation(graph_of(CHAIN))
    simulation.finish()
    simulation.destroy(only=["app"])
    run = simulation.finish()
    assert [name for name in simulation.started if name.startswith("undo:")] == ["undo:app"]
    assert run.instances["vm"].undo.status is UndoStatus.NOT_NEEDED


def test_destroying_goes_past_a_pivot_and_says_what_it_must_leave() -> None:
    mail = task("mail", ["vm"], undo=Undo(mode=UndoMode.IRREVERSIBLE))
    graph = graph_of({"vm": [], "mail": mail, "app": task("app", ["vm"], pivot=True)})
    simulation = Simulation(graph)
    simulation.finish()
    with pytest.raises(RefusedError, match="pivot"):
        simulation.undo()
    simulation.destroy()
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATION_FAILED
    assert [run.instances[id_].status for id_ in ("app", "vm")] == [TaskStatus.UNDONE] * 2
    assert run.left == ("mail",)


def test_a_run_under_way_is_not_destroyed() -> None:
    simulation = Simulation(graph_of(CHAIN))
    with pytest.raises(RefusedError, match="has not ended"):
        simulation.destroy()


def test_a_yes_to_what_an_attempt_would_do_lets_it_go_on_with_what_was_approved() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"vm": [asks(digest="sha256:1", again=True), ok()]})
    simulation.until("vm")
    while simulation.run.status is not RunStatus.WAITING:
        simulation.step()
    simulation.answer("vm", "approve", by="ann@desk")
    run = simulation.finish()
    assert (run.status, run.instances["vm"].status) == (RunStatus.SUCCEEDED, TaskStatus.SUCCEEDED)
    assert run.instances["vm"].approved == "sha256:1"
    given = next(event for event in simulation.history if event.type is EventType.APPROVAL_GIVEN)
    assert given.data["digest"] == "sha256:1"
    assert simulation.started.count("vm") == 2
    assert simulation.replayed() == run


def test_a_no_to_what_an_attempt_would_do_ends_it_and_nothing_of_it_is_undone() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"vm": asks(digest="sha256:1", again=True)})
    while simulation.run.status is not RunStatus.WAITING:
        simulation.step()
    simulation.answer("vm", "reject", by="ann@desk")
    run = simulation.finish()
    assert (run.status, run.instances["vm"].status) == (RunStatus.COMPENSATED, TaskStatus.FAILED)
    assert [name for name in simulation.started if name.startswith("undo:")] == ["undo:network"]


@pytest.mark.parametrize("on_timeout", ["approve", "reject"])
def test_no_answer_in_time_means_what_the_question_says_also_for_an_attempt_that_would_go_on(on_timeout: str) -> None:
    simulation = Simulation(graph_of(CHAIN), script={"vm": [asks(on_timeout=on_timeout, again=True), ok()]})
    run = simulation.finish()
    assert run.status is (RunStatus.SUCCEEDED if on_timeout == "approve" else RunStatus.COMPENSATED)


def test_a_cancel_while_an_attempt_waits_for_a_yes_ends_the_run() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"vm": asks(again=True)})
    while simulation.run.status is not RunStatus.WAITING:
        simulation.step()
    simulation.cancel()
    assert simulation.finish().status is RunStatus.COMPENSATED
