"""How long a run is said to have still to go, from what its tasks took before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.core.expected import Expected
from drystone.core.plan import Fanout, OnFailure
from drystone.core.retry import RetryPolicy
from drystone.core.run import Run, evolve, expected_total, new_run, remaining, waits
from drystone.core.states import RunStatus
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, fail, ok

CHAIN = {"network": [], "vm": ["network"], "software": ["vm"], "tests": ["vm"]}
EXPECTED = {
    "network": Expected(10, 12, 8),
    "vm": Expected(20, 30, 8),
    "software": Expected(60, 90, 8),
    "tests": Expected(5, 6, 8),
}
TEMPLATE = object()
"""Stands for an expression: how many instances it gives is known only at run time."""


def seconds(run: Run, at: float) -> tuple[float, float] | None:
    found = remaining(run, START + timedelta(seconds=at))
    return None if found is None else (found.low.total_seconds(), found.high.total_seconds())


def begun(tasks: dict[str, object], expected: dict[str, Expected], **arguments: object) -> Simulation:
    fields = {name: arguments.pop(name) for name in ("on_failure", "timeout") if name in arguments}
    return Simulation(graph_of(tasks, **fields), expected=expected, **arguments)  # type: ignore[arg-type]


def test_it_is_the_longest_path_that_is_left_less_the_time_of_what_runs() -> None:
    simulation = begun(CHAIN, EXPECTED, script={"network": ok(after=timedelta(seconds=11))})
    assert seconds(simulation.run, 0) == (90, 132)
    assert seconds(simulation.run, 4) == (86, 128)
    simulation.until("vm")
    assert seconds(simulation.run, 11) == (80, 120)


def test_it_tells_of_how_many_runs_it_knows() -> None:
    found = remaining(begun(CHAIN, EXPECTED).run, START)
    assert found is not None and found.runs == 8


def test_what_takes_longer_than_ever_is_expected_to_end_at_any_moment() -> None:
    run = begun({"a": []}, {"a": Expected(10, 20, 8)}).run
    assert seconds(run, 15) == (0, 5)
    assert seconds(run, 60) == (0, 0)


def test_the_wait_before_a_retry_counts_and_the_next_attempt_is_a_whole_one() -> None:
    retry = RetryPolicy(attempts=2, delay=timedelta(seconds=30), jitter=False)
    simulation = begun({"a": task("a", retry=retry)}, {"a": Expected(10, 20, 8)}, script={"a": [fail(), ok()]})
    simulation.step()
    assert seconds(simulation.run, 1) == (40, 50)
    assert seconds(simulation.run, 11) == (30, 40)
    simulation.step()
    assert seconds(simulation.run, 35) == (6, 16)


def test_it_is_not_less_than_all_work_by_what_may_run_at_once() -> None:
    tasks = {f"t{n}": [] for n in range(10)}
    run = begun(tasks, {name: Expected(6, 9, 4) for name in tasks}, max_parallel=3).run
    assert seconds(run, 0) == (20, 30)


def test_an_expanded_fan_out_counts_what_is_left_of_it_and_how_few_may_run_at_once() -> None:
    rolling = task("vm", for_each=Fanout(items=4, max_parallel=1))
    simulation = begun({"vm": rolling}, {"vm": Expected(10, 10, 4)}, script=lambda name, attempt: ok(after=timedelta(seconds=10)))
    assert seconds(simulation.run, 0) == (40, 40)
    simulation.until("vm[2]")
    assert seconds(simulation.run, 25) == (15, 15)


def test_a_fan_out_that_is_not_known_yet_is_as_large_as_in_earlier_runs() -> None:
    tasks = {"list": [], "vm": task("vm", ["list"], for_each=Fanout(items=TEMPLATE, max_parallel=1))}
    run = begun(tasks, {"list": Expected(1, 1, 10), "vm": Expected(5, 6, 30)}).run
    assert seconds(run, 0) == (16, 19)


def test_what_stands_under_finally_comes_after_all_else() -> None:
    tasks = {"a": [], "b": [], "report": task("report", closing=True)}
    expected = {"a": Expected(10, 10, 3), "b": Expected(4, 4, 3), "report": Expected(7, 8, 3)}
    simulation = begun(tasks, expected)
    assert seconds(simulation.run, 0) == (17, 18)
    simulation.until("report")
    assert seconds(simulation.run, 1) == (7, 8)


def test_a_wait_for_a_moment_is_as_long_as_that_moment_is_away() -> None:
    simulation = begun({"a": [], "b": ["a"]}, {"a": Expected(500, 900, 3), "b": Expected(5, 6, 3)})
    events = waits(simulation.run, "a", START, until=START + timedelta(seconds=60))
    run = evolve(simulation.run, *(event.numbered(simulation.run.seq + n) for n, event in enumerate(events, 1)))
    assert run.status is RunStatus.WAITING
    assert seconds(run, 20) == (45, 46)


def test_an_answer_of_a_person_takes_as_long_as_it_took_before() -> None:
    simulation = begun({"a": []}, {"a": Expected(500, 900, 3)})
    events = waits(simulation.run, "a", START, until=START + timedelta(days=1), approval={"message": "go on?"})
    run = evolve(simulation.run, *(event.numbered(simulation.run.seq + n) for n, event in enumerate(events, 1)))
    assert seconds(run, 100) == (400, 800)


@pytest.mark.parametrize(("known", "is_told"), [(["a", "b"], True), (["a"], False)])
def test_nothing_is_told_when_more_than_half_of_what_is_left_has_no_history(known: list[str], is_told: bool) -> None:
    tasks = {"a": [], "b": [], "c": [], "d": []}
    run = begun(tasks, {name: Expected(5, 5, 1) for name in known}).run
    assert (seconds(run, 0) is not None) is is_told


def test_nothing_is_told_without_a_history() -> None:
    assert seconds(begun(CHAIN, {}).run, 0) is None


def test_nothing_is_told_of_a_run_that_has_ended_goes_back_or_stops() -> None:
    simulation = begun(CHAIN, EXPECTED, script={"vm": fail()})
    while simulation.run.status is not RunStatus.COMPENSATING:
        assert seconds(simulation.run, 0) is not None or simulation.run.is_stopping
        simulation.step()
    assert seconds(simulation.run, 0) is None
    simulation.finish()
    assert seconds(simulation.run, 0) is None
    cancelled = begun(CHAIN, EXPECTED)
    cancelled.cancel()
    assert seconds(cancelled.run, 0) is None


def test_a_run_that_goes_on_after_a_failure_is_told_of_and_blocked_tasks_do_not_count() -> None:
    tasks = {"a": [], "behind": ["a"], "other": []}
    expected = {"a": Expected(1, 1, 3), "behind": Expected(500, 500, 3), "other": Expected(30, 40, 3)}
    script = {"a": fail(), "other": ok(after=timedelta(seconds=30))}
    simulation = begun(tasks, expected, script=script, on_failure=OnFailure.CONTINUE)
    simulation.step()
    assert seconds(simulation.run, 1) == (29, 39)


def test_a_resumed_run_counts_what_it_does_again() -> None:
    simulation = begun(CHAIN, EXPECTED, script={"software": fail(), "tests": ok()}, on_failure=OnFailure.STOP)
    simulation.finish()
    simulation.resume()
    assert seconds(simulation.run, 3 + 10) == (50, 80)


def test_a_run_that_nobody_has_started_is_not_told_of_but_its_whole_length_is() -> None:
    graph = graph_of(CHAIN)
    assert remaining(new_run(id="01", graph=graph, inputs={}, environment=None, created_at=START), START) is None
    total = expected_total(graph, EXPECTED, max_parallel=16)
    assert total is not None and (total.low, total.high, total.runs) == (timedelta(seconds=90), timedelta(seconds=132), 8)
    assert expected_total(graph, {"vm": EXPECTED["vm"]}, max_parallel=16) is None


MOMENTS = st.integers(0, 400).map(lambda n: n / 2)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(MOMENTS, MOMENTS), min_size=1, max_size=6), st.integers(1, 4), MOMENTS, st.data())
def test_a_range_is_never_upside_down_below_zero_or_longer_as_time_goes_on(
    history: list[tuple[float, float]], width: int, later: float, data: st.DataObject
) -> None:
    tasks, expected = {}, {}
    for index, pair in enumerate(history):
        needs = data.draw(st.lists(st.sampled_from([f"t{n}" for n in range(index)]), unique=True)) if index else []
        tasks[f"t{index}"] = task(f"t{index}", needs, for_each=data.draw(st.sampled_from([None, Fanout(items=3, max_parallel=2)])))
        expected[f"t{index}"] = Expected(min(pair), max(pair), 5)
    simulation = begun(tasks, expected, max_parallel=width)
    while not simulation.run.status.is_final:
        at = (simulation.now - START).total_seconds()
        first, second = seconds(simulation.run, at), seconds(simulation.run, at + later)
        assert first is not None and second is not None
        assert 0 <= second[0] <= second[1] and first[0] <= first[1]
        assert second[0] <= first[0] and second[1] <= first[1]
        simulation.step()
