"""The picture of a run: what it shows when there is little room, and that it never is larger than the terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rich.cells import cell_len

from drystone.cli.frame import Scene, draw
from drystone.core.expected import Expected
from drystone.core.plan import Fanout, Undo, UndoMode
from drystone.core.retry import RetryPolicy
from drystone.core.run import Run, remaining
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Simulation, fail, ok


def scene(simulation: Simulation, **fields: object) -> Scene:
    forecast = remaining(simulation.run, simulation.now)
    return Scene(run=simulation.run, now=simulation.now, forecast=forecast, **fields)  # type: ignore[arg-type]


def picture(simulation: Simulation, *, width: int = 80, height: int | None = 24, **fields: object) -> list[str]:
    return [line.plain for line in draw(scene(simulation, **fields), width=width, height=height)]


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if f" {name} " in f"{line} ")


def fan_out(size: int) -> Simulation:
    tasks = {"network": [], "vm": task("vm", ["network"], for_each=Fanout(items=size)), "end": ["vm"]}
    return Simulation(graph_of(tasks), script={"vm[3]": fail(), "end": ok()})


def test_header_tells_plan_run_environment_and_state() -> None:
    head = picture(Simulation(graph_of({"a": []}), environment="staging"))[0]
    assert "test" in head and "01SIMULATED" in head and "staging" in head and head.rstrip().endswith("running 0.0s")


def test_a_run_with_a_history_tells_how_long_it_has_still_to_go_and_a_failed_one_does_not() -> None:
    expected = {"a": Expected(100, 130, 12), "b": Expected(5, 5, 12)}
    simulation = Simulation(graph_of({"a": [], "b": ["a"]}), script={"b": fail()}, expected=expected)
    assert picture(simulation)[1] == "eta 1m45s–2m15s"
    before = remaining(simulation.run, simulation.now)
    simulation.until("undo:a")
    late = draw(Scene(run=simulation.run, now=simulation.now, forecast=before), width=80, height=24)
    assert not any("eta" in line.plain for line in late), "what was reckoned before it failed does not count any more"


def test_a_task_in_flight_shows_its_last_progress() -> None:
    lines = picture(Simulation(graph_of({"a": []})), progress={"a": "lab_vm.this: Creating..."})
    assert "running" in row(lines, "a") and "Creating..." in row(lines, "a")


def test_a_retry_shows_which_attempt_failed_why_and_when_the_next_is() -> None:
    policy = RetryPolicy(attempts=3, delay=timedelta(seconds=5), jitter=False)
    simulation = Simulation(graph_of({"a": task("a", retry=policy)}), script={"a": [fail("unreachable", "no route"), ok()]})
    simulation.step()
    assert "attempt 1/3 failed, next in 5.0s  unreachable: no route" in row(picture(simulation, width=120), "a")


def test_the_way_back_tells_how_far_it_is_and_why() -> None:
    simulation = Simulation(graph_of({"a": [], "b": ["a"]}), script={"b": fail("failed", "relation exists")})
    simulation.until("undo:a")
    lines = picture(simulation)
    assert lines[1] == "undoing 0 of 1, as b failed: relation exists"
    assert "undoing" in row(lines, "a")


def test_what_is_left_standing_says_why() -> None:
    tasks = {"a": task("a", undo=Undo(mode=UndoMode.IRREVERSIBLE)), "b": ["a"]}
    simulation = Simulation(graph_of(tasks), script={"b": fail()})
    simulation.finish()
    assert "left" in row(picture(simulation), "a") and "it cannot be undone" in row(picture(simulation), "a")


def test_what_changed_nothing_says_so() -> None:
    simulation = Simulation(graph_of({"a": []}), script={"a": ok(changed=False)})
    simulation.finish()
    assert "nothing changed" in row(picture(simulation), "a")


@pytest.mark.parametrize("size", [1, 5, 30, 200])
@pytest.mark.parametrize("height", [8, 24])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_picture_is_larger_than_the_terminal(size: int, height: int, width: int) -> None:
    simulation = fan_out(size)
    while True:
        lines = picture(simulation, width=width, height=height, notice="cancelling " * 20)
        assert len(lines) < height
        assert max(cell_len(line) for line in lines) <= width
        if simulation.run.status.is_final:
            return
        simulation.step()


@pytest.mark.parametrize("size", [1, 7, 40])
def test_every_task_is_shown_or_counted(size: int) -> None:
    simulation = fan_out(size)
    while True:
        assert told(picture(simulation, height=14), simulation.run) == sum(1 for _ in simulation.run.in_order())
        if simulation.run.status.is_final:
            return
        simulation.step()


def told(lines: list[str], run: Run) -> int:
    """How many tasks a picture has, in rows and in counts."""
    counts = [line for line in lines if line.startswith("  … ")]
    counted = sum(int(part.split()[0]) for line in counts for part in line.removeprefix("  … ").split(", "))
    ids = {instance.id for instance in run.in_order()}
    return counted + sum(line.split()[1] in ids for line in lines if line not in counts and len(line.split()) > 1)


def test_a_failure_is_shown_however_many_tasks_are_in_flight() -> None:
    simulation = fan_out(200)
    simulation.until("vm[3]")
    simulation.step()
    assert "failed" in row(picture(simulation, height=12), "vm[3]")


def test_columns_stay_where_they_are_when_other_rows_come_into_view() -> None:
    simulation = fan_out(40)
    simulation.until("vm[0]")
    columns = set()
    while not simulation.run.status.is_final:
        rows = [line for line in picture(simulation, height=12)[1:] if " running " in line and not line.startswith("  …")]
        columns |= {line.index(" running ") for line in rows}
        simulation.step()
    assert len(columns) == 1


def test_a_long_name_is_cut_in_the_middle_where_fan_outs_are_alike() -> None:
    name = "a_very_long_name_of_a_task_that_does_not_fit_on_a_terminal"
    simulation = Simulation(graph_of({name: task(name, for_each=Fanout(items=2))}))
    lines = picture(simulation, width=60)
    assert any(line.split()[1].startswith("a_very") and line.split()[1].endswith("[1]") for line in lines[1:])
