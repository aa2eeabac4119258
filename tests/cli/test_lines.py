"""An event as one line: for logs and CI."""

from __future__ import annotations

from drystone.cli.lines import to_line
from drystone.core.events import EventType
from drystone.core.plan import Fanout
from drystone.core.retry import RetryPolicy
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Simulation, fail, ok


def lines_of(simulation: Simulation) -> list[str]:
    simulation.finish()
    return [line for event in simulation.history if (line := to_line(event, simulation.run)) is not None]


def test_every_line_begins_with_time_and_run() -> None:
    assert all(line.startswith("2026-01-01T00:00:") and " 01SIMULATE " in line for line in lines_of(Simulation(graph_of({"a": []}))))


def test_a_run_from_start_to_end() -> None:
    texts = [line.split(" ", 2)[2] for line in lines_of(Simulation(graph_of({"a": []})))]
    created = "run 01SIMULATED of plan test created"
    assert texts == [created, "started by test", "a: attempt 1 started", "a: succeeded", "succeeded after 1.0s"]


def test_a_failure_names_class_and_message_and_whether_it_is_tried_again() -> None:
    policy = RetryPolicy(attempts=2)
    script = {"a": [fail("unreachable", "no route\nto host"), ok()]}
    texts = lines_of(Simulation(graph_of({"a": task("a", retry=policy)}), script=script))
    assert any(text.endswith("a: failed (unreachable): no route, will be tried again") for text in texts)


def test_the_way_back_is_told() -> None:
    texts = lines_of(Simulation(graph_of({"a": [], "b": ["a"]}), script={"b": fail()}))
    assert [text.split(" ", 2)[2] for text in texts[-5:]] == [
        "b: failed (failed): as the script says",
        "undoing what was done",
        "a: undo attempt 1 started",
        "a: undone",
        "compensated after 3.0s",
    ]


def test_every_type_of_event_has_words_or_is_left_out_on_purpose() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=2)), "end": task("end", ["vm"], retry=RetryPolicy(attempts=2)), "last": ["end"]}
    simulation = Simulation(graph_of(tasks), script={"end": fail(), "undo:vm[0]": [fail(), ok()]})
    simulation.finish()
    silent = {event.type for event in simulation.history if to_line(event, simulation.run) is None}
    assert silent <= {EventType.TASK_PROGRESS}


def test_the_end_of_a_run_that_was_undone_later_is_told_as_it_was() -> None:
    simulation = Simulation(graph_of({"a": []}))
    simulation.finish()
    simulation.undo()
    simulation.finish()
    ends = [line.split(" ", 2)[2] for line in lines_of(simulation) if " after " in line]
    assert ends == ["succeeded after 1.0s", "compensated after 1.0s"]
