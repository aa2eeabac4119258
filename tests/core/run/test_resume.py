"""Going on with a run: which tasks start afresh, and what the way back still knows of what they did before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drystone.core.plan import Fanout, OnFailure, Task, Undo, UndoMode, UndoWhen
from drystone.core.run import UndoStatus
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import NotFoundError, RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Simulation, fail, ok

CHAIN = {"a": [], "b": ["a"], "c": ["b"]}
FANOUT = {"vm": task("vm", for_each=Fanout(items=3)), "end": ["vm"]}


def finished(graph: dict[str, list[str] | Task], script: object = None, on_failure: OnFailure = OnFailure.STOP) -> Simulation:
    simulation = Simulation(graph_of(graph, on_failure=on_failure), script=script)  # type: ignore[arg-type]
    simulation.finish()
    simulation.started.clear()
    return simulation


def test_a_resume_starts_what_failed_and_what_it_held_up() -> None:
    simulation = finished(CHAIN, {"b": [fail(), ok()]})
    simulation.resume()
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["b", "c"]


def test_a_resume_from_a_task_starts_it_and_all_that_is_behind_it() -> None:
    simulation = finished({**CHAIN, "other": ["a"]})
    simulation.resume(start="b")
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["b", "c"]


def test_a_resume_from_a_task_of_a_failed_run_starts_what_failed_elsewhere_too() -> None:
    simulation = finished({**CHAIN, "other": []}, {"other": [fail(after=timedelta(seconds=9)), ok()]}, OnFailure.CONTINUE)
    simulation.resume(start="c")
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert sorted(simulation.started) == ["c", "other"]


def test_a_resume_from_one_instance_leaves_the_others_of_its_fan_out_alone() -> None:
    simulation = finished(FANOUT)
    simulation.resume(start="vm[1]")
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["vm[1]", "end"]


def test_only_the_instances_that_failed_are_made_again_and_what_was_made_without_them() -> None:
    tolerant = {"vm": task("vm", for_each=Fanout(items=3, max_failures=1)), "end": ["vm"]}
    simulation = finished(tolerant, {"vm[2]": [fail(), ok()]})
    assert simulation.run.status is RunStatus.SUCCEEDED
    simulation.resume(only_failed=True)
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["vm[2]", "end"]


def test_what_a_person_took_on_behind_a_failure_is_not_made_again() -> None:
    tolerant = {"vm": task("vm", for_each=Fanout(items=2, max_failures=1)), "end": ["vm"], "last": ["end"]}
    simulation = finished(tolerant, {"vm[1]": [fail(), fail(), ok()], "end": fail()}, OnFailure.ASK)
    simulation.skip("end")
    simulation.finish()
    simulation.started.clear()
    simulation.resume(only_failed=True)
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["vm[1]", "last"]


def test_a_run_in_which_nothing_failed_has_no_failed_instances_to_resume() -> None:
    with pytest.raises(RefusedError, match="no instance of it failed"):
        finished(CHAIN).resume(only_failed=True)


def test_a_run_that_succeeded_is_not_resumed_without_a_task_to_start_from() -> None:
    with pytest.raises(RefusedError, match="nothing is left to do"):
        finished(CHAIN).resume()


@pytest.mark.parametrize("start", ["d", "report"])
def test_a_resume_from_a_task_that_is_none_of_the_way_forward_is_refused(start: str) -> None:
    simulation = finished({**CHAIN, "report": task("report", closing=True, undo=Undo(mode=UndoMode.NONE))})
    with pytest.raises(NotFoundError, match=f'no task "{start}"'):
        simulation.resume(start=start)


def test_a_resume_from_a_task_gives_it_all_its_retries_again_and_keeps_its_old_attempts() -> None:
    simulation = finished(CHAIN, {"b": [ok(), fail()]})
    simulation.resume(start="b")
    simulation.finish()
    assert [attempt.status.value for attempt in simulation.run.instances["b"].attempts] == ["succeeded", "failed"]


# ---- the way back after a resume ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("undo_when", UndoWhen)
def test_a_task_that_had_succeeded_is_undone_though_the_resume_never_came_to_it_again(undo_when: UndoWhen) -> None:
    tasks = {"a": [], "b": task("b", ["a"], undo_when=undo_when)}
    simulation = finished(tasks, {"a": [ok(), fail()]}, OnFailure.COMPENSATE)
    simulation.resume(start="a")
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.started == ["a", "undo:b", "undo:a"]


def test_a_task_that_had_succeeded_is_undone_though_its_next_attempt_was_cancelled() -> None:
    simulation = finished(CHAIN, on_failure=OnFailure.COMPENSATE)
    simulation.resume(start="c")
    simulation.cancel()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.started == ["c", "undo:c", "undo:b", "undo:a"]


def test_nothing_is_undone_past_a_pivot_that_had_succeeded_though_its_next_attempt_failed() -> None:
    tasks = {"copy": [], "switch": task("switch", ["copy"], pivot=True)}
    simulation = finished(tasks, {"switch": [ok(), fail()]}, OnFailure.COMPENSATE)
    simulation.resume(start="switch")
    run = simulation.finish()
    assert (run.status, run.left) == (RunStatus.FAILED, ("copy", "switch"))
    assert simulation.started == ["switch"]


def test_a_pivot_that_never_succeeded_does_not_stand_in_the_way_of_a_second_way_back() -> None:
    report = task("report", closing=True, undo=Undo(mode=UndoMode.NONE))
    tasks = {"a": [], "switch": task("switch", ["a"], pivot=True, undo_when=UndoWhen.ATTEMPTED), "report": report}
    simulation = finished(tasks, {"switch": fail(), "undo:switch": [*[fail()] * 3, *[fail()] * 3, ok()]}, OnFailure.COMPENSATE)
    simulation.undo()
    assert simulation.finish().status is RunStatus.COMPENSATION_FAILED
    assert simulation.run.passed_pivot is None
    simulation.undo()
    assert simulation.finish().status is RunStatus.COMPENSATED


def test_a_way_back_goes_on_and_not_forward() -> None:
    simulation = finished(CHAIN, {"c": fail(), "undo:b": [fail(), fail(), fail(), ok()]}, OnFailure.COMPENSATE)
    assert simulation.run.status is RunStatus.COMPENSATION_FAILED
    with pytest.raises(RefusedError, match="on its way back"):
        simulation.resume(start="a")
    simulation.resume()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.started == ["undo:b", "undo:a"]
    assert simulation.run.instances["a"].undo.status is UndoStatus.SUCCEEDED


def test_a_resumed_run_is_the_same_from_its_journal() -> None:
    simulation = finished(FANOUT, {"end": [fail(), ok()]})
    simulation.resume(start="vm[0]")
    simulation.finish()
    assert simulation.replayed() == simulation.run
    assert simulation.run.instances["vm[0]"].status is TaskStatus.SUCCEEDED
