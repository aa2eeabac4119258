"""What only a person can decide: when a run waits for a decision, and what retry and skip make of it."""

from __future__ import annotations

import pytest

from drystone.core.plan import OnFailure, Undo, UndoMode, UndoWhen
from drystone.core.run import UndoStatus, Way, attention
from drystone.core.states import RunStatus, TaskStatus
from drystone.errors import RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Simulation, fail, ok

CHAIN = {"a": [], "b": ["a"], "c": ["b"]}


def stopped(script: object, tasks: object = None, on_failure: OnFailure = OnFailure.ASK) -> Simulation:
    simulation = Simulation(graph_of(tasks or CHAIN, on_failure=on_failure), script=script)  # type: ignore[arg-type]
    simulation.finish()
    return simulation


def in_doubt(on_failure: OnFailure = OnFailure.COMPENSATE) -> Simulation:
    """A run whose process died in an attempt that may not be made twice."""
    simulation = Simulation(graph_of(CHAIN, on_failure=on_failure))
    simulation.until("b")
    simulation.crash(idempotent=False)
    simulation.finish()
    return simulation


def items(simulation: Simulation) -> list[tuple[str, Way]]:
    return [(item.instance, item.way) for item in attention(simulation.run)]


def test_a_plan_that_asks_undoes_nothing_and_waits_for_a_decision() -> None:
    simulation = stopped({"b": fail()})
    assert simulation.run.status is RunStatus.FAILED
    assert items(simulation) == [("b", Way.FORWARD)]
    assert simulation.started == ["a", "b"]


def test_a_plan_that_stops_waits_for_no_decision() -> None:
    assert items(stopped({"b": fail()}, on_failure=OnFailure.STOP)) == []


def test_retry_makes_it_again_and_the_run_goes_on() -> None:
    simulation = stopped({"b": [fail(), ok()]})
    simulation.retry()
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["a", "b", "b", "c"]


def test_skip_goes_on_as_if_it_had_ended_well_and_says_who_took_it_on() -> None:
    simulation = stopped({"b": fail()})
    simulation.skip("b", reason="done by hand")
    run = simulation.finish()
    assert run.status is RunStatus.SUCCEEDED
    assert simulation.started == ["a", "b", "c"]
    assert (run.instances["b"].status, run.instances["b"].reason) == (TaskStatus.SKIPPED, "test took it on: done by hand")


def test_what_a_person_took_on_is_undone_with_the_rest_when_it_may_have_changed_something() -> None:
    tasks = {"a": [], "b": task("b", ["a"], undo_when=UndoWhen.ATTEMPTED), "c": ["b"]}
    simulation = stopped({"b": fail()}, tasks)
    simulation.skip("b")
    simulation.finish()
    simulation.undo()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.started[-3:] == ["undo:c", "undo:b", "undo:a"]


def test_a_run_goes_on_once_all_is_decided() -> None:
    simulation = stopped({"a": fail(), "b": fail()}, {"a": [], "b": []})
    simulation.skip("a")
    assert simulation.run.status is RunStatus.FAILED
    assert items(simulation) == [("b", Way.FORWARD)]
    simulation.skip("b")
    assert simulation.finish().status is RunStatus.SUCCEEDED


def test_one_is_not_retried_while_another_waits_for_its_decision() -> None:
    simulation = stopped({"a": fail(), "b": fail()}, {"a": [], "b": []})
    with pytest.raises(RefusedError, match="waits for a decision about b too"):
        simulation.retry("a")


def test_what_nobody_asked_about_cannot_be_decided() -> None:
    simulation = stopped({"b": fail()})
    for decide in (simulation.retry, simulation.skip):
        with pytest.raises(RefusedError, match="waits for no decision"):
            decide("a")


# ---- an attempt nobody saw the end of -----------------------------------------------------------------------------------


@pytest.mark.parametrize("on_failure", OnFailure)
def test_neither_going_on_nor_going_back_is_safe_while_an_attempt_is_unknown(on_failure: OnFailure) -> None:
    simulation = in_doubt(on_failure)
    assert simulation.run.status is RunStatus.FAILED
    assert items(simulation) == [("b", Way.FORWARD)]
    assert simulation.started == ["a", "b"]
    assert set(simulation.run.left) == {"a", "b"}


def test_a_run_in_doubt_is_not_resumed_before_a_person_has_looked() -> None:
    with pytest.raises(RefusedError, match="took effect is not known"):
        in_doubt().resume()


def test_a_person_may_say_that_it_did_not_take_effect() -> None:
    simulation = in_doubt()
    simulation.retry("b")
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["a", "b", "b", "c"]


def test_a_person_may_say_that_it_did_take_effect() -> None:
    simulation = in_doubt()
    simulation.skip("b", reason="it is there")
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["a", "b", "c"]


# ---- the way back -------------------------------------------------------------------------------------------------------


def stuck(**undo: object) -> Simulation:
    return stopped({"c": fail(), "undo:b": fail(), **undo}, on_failure=OnFailure.COMPENSATE)


def test_an_undo_that_failed_for_good_waits_for_a_decision() -> None:
    simulation = stuck()
    assert simulation.run.status is RunStatus.COMPENSATION_FAILED
    assert items(simulation) == [("b", Way.BACK)]


def test_retry_of_an_undo_makes_it_again_and_then_what_it_held_up() -> None:
    simulation = stuck()
    simulation.retry(script={})
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.started[-2:] == ["undo:b", "undo:a"]


def test_skip_of_an_undo_takes_back_what_it_held_up() -> None:
    simulation = stuck()
    before = simulation.started.count("undo:b")
    simulation.skip("b", reason="removed by hand")
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATED
    assert simulation.started[-1] == "undo:a" and simulation.started.count("undo:b") == before
    assert run.instances["b"].undo.status is UndoStatus.WAIVED


def test_what_cannot_be_undone_can_be_taken_on_but_not_retried() -> None:
    tasks = {"a": [], "mail": task("mail", ["a"], undo=Undo(mode=UndoMode.IRREVERSIBLE)), "end": ["mail"]}
    simulation = stopped({"end": fail()}, tasks, OnFailure.COMPENSATE)
    assert items(simulation) == [("mail", Way.BACK)]
    with pytest.raises(RefusedError, match="cannot be undone"):
        simulation.retry("mail")
    simulation.skip("mail", reason="they were told")
    assert simulation.finish().status is RunStatus.COMPENSATED


def test_of_two_stuck_undos_one_is_retried_while_the_other_stands() -> None:
    tasks = {"a": [], "b": [], "end": ["a", "b"]}
    simulation = stopped({"end": fail(), "undo:a": fail(), "undo:b": fail()}, tasks, OnFailure.COMPENSATE)
    simulation.retry("a", script={})
    run = simulation.finish()
    assert (run.status, run.left) == (RunStatus.COMPENSATION_FAILED, ("b",))
    assert simulation.started[-1] == "undo:a"


def test_a_failure_past_the_pivot_waits_for_a_decision() -> None:
    tasks = {"copy": [], "switch": task("switch", ["copy"], pivot=True), "tidy": ["switch"]}
    simulation = stopped({"tidy": [fail(), ok()]}, tasks, OnFailure.COMPENSATE)
    assert items(simulation) == [("tidy", Way.FORWARD)]
    simulation.retry()
    assert simulation.finish().status is RunStatus.SUCCEEDED
