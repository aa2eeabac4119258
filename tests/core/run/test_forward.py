"""What starts, when, and in which order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drystone.core.events import EventType
from drystone.core.plan import Fanout, OnFailure, RunIf, Undo, UndoMode
from drystone.core.retry import RetryPolicy
from drystone.core.run.decide import folder_of
from drystone.core.states import RunStatus, TaskStatus
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, fail, ok

DIAMOND = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}


def statuses(simulation: Simulation) -> dict[str, str]:
    return {instance.id: instance.status.value for instance in simulation.run.in_order()}


def test_a_task_starts_when_all_it_needs_has_succeeded() -> None:
    simulation = Simulation(graph_of(DIAMOND))
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["top", "left", "right", "bottom"]


def test_independent_tasks_run_at_once() -> None:
    simulation = Simulation(graph_of(DIAMOND))
    simulation.finish()
    assert simulation.now - START == timedelta(seconds=3)


def test_no_more_attempts_run_at_once_than_allowed() -> None:
    simulation = Simulation(graph_of({f"t{n}": [] for n in range(10)}), max_parallel=3)
    most = 0
    while not simulation.run.status.is_final:
        most = max(most, len(simulation.run.running))
        simulation.step()
    assert most == 3


def test_what_heads_the_longest_path_starts_first_then_priority_then_place_in_the_plan() -> None:
    tasks = {"short": [], "urgent": task("urgent", priority=5), "long": [], "end": ["long"]}
    simulation = Simulation(graph_of(tasks), max_parallel=1)
    simulation.finish()
    assert simulation.started == ["long", "urgent", "end", "short"] or simulation.started == ["long", "urgent", "short", "end"]


def test_equal_inputs_give_equal_histories() -> None:
    first, second = (Simulation(graph_of(DIAMOND), script={"left": fail()}) for _ in range(2))
    first.finish()
    second.finish()
    assert first.history == second.history


def test_a_failed_attempt_is_tried_again_after_its_delay() -> None:
    retry = RetryPolicy(attempts=3, delay=timedelta(seconds=10), jitter=False)
    simulation = Simulation(graph_of({"a": task("a", retry=retry)}), script={"a": [fail(), fail(), ok()]})
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.now - START == timedelta(seconds=3 + 10 + 20)
    assert [attempt.status.value for attempt in simulation.run.instances["a"].attempts] == ["failed", "failed", "succeeded"]


def test_a_class_the_policy_does_not_name_is_not_tried_again() -> None:
    retry = RetryPolicy(attempts=3, on=frozenset())
    simulation = Simulation(graph_of({"a": task("a", retry=retry)}), script={"a": [fail("unreachable"), ok()]})
    assert simulation.finish().status is RunStatus.COMPENSATED


def test_a_permanent_failure_is_not_tried_again() -> None:
    retry = RetryPolicy(attempts=3)
    simulation = Simulation(graph_of({"a": task("a", retry=retry)}), script={"a": [fail(permanent=True), ok()]})
    assert simulation.finish().status is RunStatus.COMPENSATED


def test_a_false_condition_skips_and_the_skip_propagates() -> None:
    tasks = {"a": task("a", when=False), "b": task("b", ["a"]), "c": task("c", ["b"], run_if=RunIf.NONE_FAILED)}
    simulation = Simulation(graph_of(tasks))
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert statuses(simulation) == {"a": "skipped", "b": "skipped", "c": "succeeded"}


@pytest.mark.parametrize(
    ("run_if", "expected"),
    [
        (RunIf.ALL_SUCCEEDED, "blocked"),
        (RunIf.NONE_FAILED, "blocked"),
        (RunIf.ALL_DONE, "succeeded"),
        (RunIf.ANY_SUCCEEDED, "succeeded"),
        (RunIf.ANY_FAILED, "succeeded"),
    ],
)
def test_run_if_says_which_ends_let_a_task_start(run_if: RunIf, expected: str) -> None:
    tasks = {"good": [], "bad": [], "then": task("then", ["good", "bad"], run_if=run_if)}
    simulation = Simulation(graph_of(tasks, on_failure=OnFailure.CONTINUE), script={"bad": fail()})
    assert simulation.finish().status is RunStatus.FAILED
    assert statuses(simulation)["then"] == expected


def test_any_failed_is_skipped_when_nothing_failed() -> None:
    simulation = Simulation(graph_of({"a": [], "handler": task("handler", ["a"], run_if=RunIf.ANY_FAILED)}))
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert statuses(simulation)["handler"] == "skipped"


def test_an_allowed_failure_lets_the_run_go_on() -> None:
    tasks = {"a": task("a", allow_failure=True), "b": ["a"], "h": task("h", ["a"], run_if=RunIf.ANY_FAILED)}
    simulation = Simulation(graph_of(tasks), script={"a": fail()})
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert statuses(simulation) == {"a": "failed", "b": "succeeded", "h": "succeeded"}


@pytest.mark.parametrize(
    ("items", "ids", "outputs"),
    [
        (["x", "y"], ["vm[0]", "vm[1]"], [{"n": 1}, {"n": 1}]),
        ({"web": 1, "db": 2}, ['vm["web"]', 'vm["db"]'], {"web": {"n": 1}, "db": {"n": 1}}),
        (2, ["vm[0]", "vm[1]"], [{"n": 1}, {"n": 1}]),
        ([], [], []),
    ],
)
def test_a_fan_out_makes_an_instance_for_each_item(items: object, ids: list[str], outputs: object) -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=items)), "after": ["vm"]}
    simulation = Simulation(graph_of(tasks), script=lambda _id, _n: ok({"n": 1}))
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert list(simulation.run.expansions["vm"]) == ids
    assert simulation.run.views["vm"]["outputs"] == outputs
    assert simulation.started[-1] == "after"


def test_a_fan_out_keeps_to_its_own_limit() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=4, max_parallel=1))}
    simulation = Simulation(graph_of(tasks))
    simulation.finish()
    assert simulation.now - START == timedelta(seconds=4)


def test_a_fan_out_over_something_else_fails_as_invalid() -> None:
    simulation = Simulation(graph_of({"vm": task("vm", for_each=Fanout(items="abc"))}))
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATED
    assert run.error is not None and run.error["class"] == "invalid" and "for_each" in run.error["message"]


def test_a_fan_out_of_too_many_items_fails_before_it_grows() -> None:
    simulation = Simulation(graph_of({"vm": task("vm", for_each=Fanout(items=10**12, max_items=100))}))
    run = simulation.finish()
    assert run.error is not None and "max_items" in run.error["message"]


def test_a_fan_out_tolerates_as_many_failures_as_the_plan_says() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=3, max_failures=1)), "after": ["vm"]}
    simulation = Simulation(graph_of(tasks), script={"vm[1]": fail()})
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert statuses(simulation)["after"] == "succeeded"


def test_a_fan_out_that_failed_too_often_starts_no_more_instances() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=3, max_parallel=1))}
    graph = graph_of(tasks, on_failure=OnFailure.CONTINUE)
    simulation = Simulation(graph, script={"vm[0]": fail()})
    assert simulation.finish().status is RunStatus.FAILED
    assert statuses(simulation) == {"vm[0]": "failed", "vm[1]": "cancelled", "vm[2]": "cancelled"}


def test_on_failure_stop_lets_running_tasks_finish_and_undoes_nothing() -> None:
    graph = graph_of({"a": [], "b": [], "c": ["b"]}, on_failure=OnFailure.STOP)
    simulation = Simulation(graph, script={"a": fail(), "b": ok(after=timedelta(seconds=9))})
    assert simulation.finish().status is RunStatus.FAILED
    assert statuses(simulation) == {"a": "failed", "b": "succeeded", "c": "cancelled"}
    assert EventType.UNDO_STARTED not in simulation.types()


def test_on_failure_continue_runs_all_that_does_not_need_the_failed_task() -> None:
    graph = graph_of({"a": [], "b": ["a"], "c": [], "d": ["c"]}, on_failure=OnFailure.CONTINUE)
    simulation = Simulation(graph, script={"a": fail()})
    assert simulation.finish().status is RunStatus.FAILED
    assert statuses(simulation) == {"a": "failed", "b": "blocked", "c": "succeeded", "d": "succeeded"}


def test_the_run_deadline_ends_what_runs_and_takes_it_back() -> None:
    graph = graph_of({"a": [], "b": ["a"]}, timeout=timedelta(minutes=1))
    simulation = Simulation(graph, script={"b": ok(after=timedelta(hours=1))})
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATED
    assert run.error is not None and run.error["class"] == "timeout"
    assert simulation.now - START == timedelta(minutes=1, seconds=1)


def test_resume_starts_what_failed_afresh_and_repeats_nothing_that_succeeded() -> None:
    graph = graph_of({"a": [], "b": ["a"], "c": ["b"]}, on_failure=OnFailure.STOP)
    simulation = Simulation(graph, script={"b": fail()})
    simulation.finish()
    simulation.resume(script={})
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.started == ["a", "b", "b", "c"]


def test_a_lost_attempt_is_made_again_and_uses_up_no_retry() -> None:
    simulation = Simulation(graph_of({"a": []}))
    simulation.crash()
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert [attempt.status.value for attempt in simulation.run.instances["a"].attempts] == ["lost", "succeeded"]


def test_a_lost_attempt_that_may_not_be_repeated_fails_the_run() -> None:
    undo = Undo(mode=UndoMode.NONE)
    simulation = Simulation(graph_of({"a": task("a", undo=undo)}))
    simulation.crash(idempotent=False)
    run = simulation.finish()
    assert run.error is not None and run.error["class"] == "crashed"
    assert run.instances["a"].status is TaskStatus.FAILED


def test_the_deadline_that_ended_a_run_does_not_end_its_resume_at_once() -> None:
    graph = graph_of({"slow": []}, timeout=timedelta(seconds=10), on_failure=OnFailure.STOP)
    simulation = Simulation(graph, script={"slow": ok(after=timedelta(seconds=60))})
    assert simulation.finish().status is RunStatus.FAILED
    simulation.resume(script={"slow": ok()})
    assert simulation.finish().status is RunStatus.SUCCEEDED


def test_time_in_which_nobody_drove_a_run_does_not_count_against_its_deadline() -> None:
    simulation = Simulation(graph_of({"a": [], "b": ["a"]}, timeout=timedelta(seconds=10)))
    simulation.until("b")
    simulation.now += timedelta(hours=8)
    simulation.crash()
    assert simulation.finish().status is RunStatus.SUCCEEDED
    assert simulation.replayed() == simulation.run


def test_the_folder_of_an_instance_with_a_long_key_is_not_too_long_for_the_file_system() -> None:
    folders = {folder_of(f'vm["{"k" * 300}{n}"]') for n in range(3)}
    assert len(folders) == 3
    assert all(len(folder) <= 200 for folder in folders)
