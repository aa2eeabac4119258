"""Pools: what shares a limit is never more at once than the limit, on either way, and nothing else waits for it."""

from __future__ import annotations

from datetime import timedelta

from drystone.core.plan import Fanout, Task
from drystone.core.retry import RetryPolicy
from drystone.core.run import new_run, slots_wanted
from drystone.core.states import RunStatus
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, asks, fail, ok


def in_pool(*names: str, **fields: object) -> dict[str, Task]:
    return {name: task(name, pool="db", **fields) for name in names}


def most_at_once(simulation: Simulation) -> int:
    """Attempts of the pool in flight together, at most."""
    most = len(simulation.run.running)
    while not simulation.run.status.is_final:
        simulation.step()
        inside = [id_ for id_ in simulation.run.running if simulation.run.task_of(simulation.run.instances[id_]).pool]
        most = max(most, len(inside))
    return most


def test_never_more_are_in_flight_than_the_pool_has_room_for() -> None:
    simulation = Simulation(graph_of(in_pool("a", "b", "c", "d", "e")), slots={"db": 2})
    assert most_at_once(simulation) == 2
    assert simulation.now - START == timedelta(seconds=3)


def test_the_instances_of_a_fan_out_share_the_pool_with_all_others() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=4), pool="db"), **in_pool("a")}
    assert most_at_once(Simulation(graph_of(tasks), slots={"db": 2})) == 2


def test_the_way_back_keeps_to_the_pool_too() -> None:
    simulation = Simulation(
        graph_of(in_pool("a", "b", "c") | {"end": task("end", ["a", "b", "c"])}), slots={"db": 1}, script={"end": fail()}
    )
    simulation.until("undo:a")
    assert most_at_once(simulation) == 1
    assert simulation.run.status is RunStatus.COMPENSATED


def test_what_is_in_no_pool_does_not_wait_for_one() -> None:
    simulation = Simulation(graph_of({**in_pool("a", "b"), "free": []}), slots={"db": 1})
    assert simulation.started == ["a", "free"]


def test_who_waits_between_two_attempts_takes_no_room() -> None:
    policy = RetryPolicy(attempts=2, delay=timedelta(hours=1), jitter=False)
    tasks = {**in_pool("a", retry=policy), **in_pool("b")}
    simulation = Simulation(graph_of(tasks), slots={"db": 1}, script={"a": [fail(), ok()]})
    simulation.finish()
    assert simulation.started == ["a", "b", "a"]


def test_who_waits_for_a_person_takes_no_room() -> None:
    simulation = Simulation(graph_of(in_pool("a", "b")), slots={"db": 1}, script={"a": asks()})
    simulation.step()
    assert simulation.started == ["a", "b"]


def test_a_pool_without_room_starts_nothing_and_the_run_says_how_much_it_wants() -> None:
    simulation = Simulation(graph_of(in_pool("a", "b")), slots={"db": 0})
    assert simulation.started == []
    assert slots_wanted(simulation.run, simulation.now) == {"db": 2}


def test_room_that_a_dead_process_took_is_free_again() -> None:
    simulation = Simulation(graph_of(in_pool("a", "b")), slots={"db": 1})
    simulation.crash()
    assert most_at_once(simulation) == 1
    assert simulation.run.status is RunStatus.SUCCEEDED
    assert dict(simulation.run.used) == {"db": 0}


def test_a_run_that_has_not_begun_asks_for_no_slot() -> None:
    run = new_run(id="r", graph=graph_of(in_pool("a")), inputs={}, environment=None, created_at=START)
    assert slots_wanted(run, START) == {"db": 0}
