"""An event as one line: for logs and CI."""

from __future__ import annotations

from datetime import timedelta

from drystone.cli.lines import to_line
from drystone.core.events import Event, EventType
from drystone.core.plan import Fanout, OnFailure
from drystone.core.retry import RetryPolicy
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, asks, fail, held_back, ok, waits


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


def texts_of(simulation: Simulation, task_: str) -> list[str]:
    lines = (to_line(event, simulation.run) for event in simulation.history if event.task == task_)
    return [line.split(" ", 2)[2].removeprefix(f"{task_}: ") for line in lines if line is not None]


def test_a_question_its_command_and_its_answer_are_told() -> None:
    simulation = Simulation(graph_of({"gate": []}), script={"gate": asks(message="Go on?")})
    simulation.step()
    simulation.answer("gate", "reject", by="bob@desk", comment="not before Monday")
    assert texts_of(simulation, "gate")[1:] == [
        "asks for an approval until 2026-01-08T00:00:00.000Z: Go on? (drystone approve 01SIMULATE gate)",
        "rejected by bob@desk: not before Monday",
        "failed (refused): rejected by bob@desk: not before Monday",
    ]


def test_the_command_of_a_question_can_be_pasted() -> None:
    tasks = {"gate": task("gate", for_each=Fanout(items=1))}
    simulation = Simulation(graph_of(tasks), script={"gate[0]": asks()})
    simulation.step()
    lines = [line for event in simulation.history if (line := to_line(event, simulation.run, "drystone -C /srv")) is not None]
    assert lines[-1].endswith("(drystone -C /srv approve 01SIMULATE 'gate[0]')")


def test_a_wait_tells_its_moment() -> None:
    simulation = Simulation(graph_of({"night": []}), script={"night": waits(timedelta(hours=1))})
    simulation.finish()
    assert texts_of(simulation, "night")[1] == "waits until 2026-01-01T01:00:00.000Z"


def test_an_attempt_that_was_held_back_is_no_failure() -> None:
    simulation = Simulation(graph_of({"a": []}), script={"a": [held_back(), ok()]})
    simulation.finish()
    assert texts_of(simulation, "a")[1].startswith("held back: http://web:80 failed 5 times in a row")


def test_who_took_a_failure_on_is_told() -> None:
    simulation = Simulation(graph_of({"a": []}, on_failure=OnFailure.ASK), script={"a": fail()})
    simulation.finish()
    simulation.skip("a", "mended by hand")
    assert texts_of(simulation, "a")[-1] == "test took it on: mended by hand"


def test_the_place_in_a_line_is_told() -> None:
    simulation = Simulation(graph_of({"a": []}))
    data = {"key": "staging", "behind": ["01FIRSTRUN00", "01SECONDRUN0"]}
    event = Event(type=EventType.RUN_QUEUED, at=START, run="01SIMULATED", data=data)
    assert (to_line(event, simulation.run) or "").endswith("queued behind run 01SECONDRU (2 before it)")
