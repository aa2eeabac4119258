"""In which order a run with a history starts what may start."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from drystone.core.events import EventType
from drystone.core.expected import Expected
from drystone.core.plan import Fanout
from drystone.core.run import Run, evolve, new_run
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, fail

# By tasks alone the three-link chain comes first; by time it is the single task that takes ten minutes.
TASKS = {"backup": [], "one": [], "two": ["one"], "three": ["two"]}
MINUTES = {"backup": Expected(600, 700, 12), "one": Expected(1, 2, 12), "two": Expected(1, 2, 12), "three": Expected(1, 2, 12)}


def order(expected: dict[str, Expected], **arguments: object) -> list[str]:
    simulation = Simulation(graph_of(arguments.pop("tasks", TASKS)), max_parallel=1, expected=expected, **arguments)  # type: ignore[arg-type]
    simulation.finish()
    return simulation.started


def test_without_a_history_the_longest_chain_of_tasks_starts_first() -> None:
    assert order({}) == ["one", "two", "backup", "three"]


def test_with_a_history_the_longest_path_in_time_starts_first() -> None:
    assert order(MINUTES) == ["backup", "one", "two", "three"]


def test_a_task_without_a_history_weighs_the_median_of_the_others() -> None:
    tasks = {"new": [], "quick": [], "slow": []}
    assert order({"quick": Expected(1, 1, 1), "slow": Expected(9, 9, 1)}, tasks=tasks) == ["slow", "new", "quick"]


def test_equal_paths_go_by_priority_then_by_place() -> None:
    tasks = {"a": [], "b": [], "c": task("c", priority=1)}
    expected = {name: Expected(5, 5, 3) for name in tasks}
    assert order(expected, tasks=tasks) == ["c", "a", "b"]


def test_instances_of_a_fan_out_keep_its_urgency_and_their_own_order() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=3)), "a": [], "b": ["a"]}
    expected = {"vm": Expected(60, 60, 9), "a": Expected(1, 1, 3), "b": Expected(1, 1, 3)}
    assert order(expected, tasks=tasks) == ["vm[0]", "vm[1]", "vm[2]", "a", "b"]


def test_tasks_in_a_pool_are_put_in_order_too() -> None:
    tasks = {name: task(name, pool="licences") for name in ("a", "b")}
    assert order({"a": Expected(1, 1, 1), "b": Expected(9, 9, 1)}, tasks=tasks) == ["b", "a"]


def test_a_history_of_tasks_that_the_plan_no_longer_has_changes_nothing() -> None:
    gone = {"gone": Expected(60, 60, 5)}
    assert order(gone) == order({})
    assert Simulation(graph_of(TASKS), expected=gone).run.expected == {}


def test_a_run_of_an_older_drystone_without_expectations_folds_as_before() -> None:
    simulation = Simulation(graph_of(TASKS))
    simulation.finish()
    first = simulation.history[0]
    older = replace(first, data={key: value for key, value in first.data.items() if key != "expected"})
    assert fold(simulation, [older, *simulation.history[1:]]) == simulation.run


def fold(simulation: Simulation, history: list[object]) -> Run:
    blank = new_run(id=simulation.run.id, graph=simulation.run.graph, inputs={}, environment=None, created_at=START)
    return evolve(blank, *history)  # type: ignore[arg-type]


SECONDS = st.integers(0, 900).map(lambda n: n / 10)
NAMES = st.sampled_from(["t0", "t1", "t2", "t3", "t4", "gone"])
HISTORY = st.dictionaries(NAMES, st.builds(Expected, SECONDS, SECONDS, st.integers(1, 50)))


@settings(max_examples=200, deadline=None)
@given(st.data(), HISTORY, st.integers(1, 3), st.lists(st.sampled_from(["step", "crash"]), max_size=6))
def test_equal_histories_give_equal_order_and_every_replay_gives_the_same_state(
    data: st.DataObject, expected: dict[str, Expected], width: int, disturbances: list[str]
) -> None:
    tasks = {}
    for index in range(data.draw(st.integers(1, 5))):
        needs = data.draw(st.lists(st.sampled_from([f"t{n}" for n in range(index)]), unique=True)) if index else []
        fanout = data.draw(st.sampled_from([None, None, Fanout(items=2), Fanout(items=3, max_parallel=1)]))
        tasks[f"t{index}"] = task(f"t{index}", needs, for_each=fanout, when=data.draw(st.sampled_from([None, None, True])))
    script = {"t1": fail()} if data.draw(st.booleans()) else {}
    first, second = (Simulation(graph_of(tasks), script=script, max_parallel=width, expected=expected) for _ in range(2))
    for simulation in (first, second):
        for disturbance in disturbances:
            if not simulation.run.status.is_final:
                getattr(simulation, disturbance)()
        simulation.finish()
    assert first.started == second.started and first.history == second.history
    assert first.replayed() == first.run
    assert fold(first, first.history) == first.run
    in_steps = new_run(id=first.run.id, graph=first.run.graph, inputs={}, environment=None, created_at=START)
    for event in first.history:
        in_steps = evolve(in_steps, event)
    assert in_steps.instances == first.run.instances and in_steps.expected == first.run.expected
    assert first.history[0].type is EventType.RUN_CREATED
