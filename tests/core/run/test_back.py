"""The way back: what is undone, in which order, and what is left."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drystone.core.events import EventType
from drystone.core.plan import Fanout, OnFailure, Undo, UndoMode, UndoWhen
from drystone.core.run import Cause, UndoStatus
from drystone.core.states import RunStatus
from drystone.errors import RefusedError
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import Ending, Simulation, fail, ok

CHAIN = {"network": [], "subnet": ["network"], "vm": ["subnet"], "software": ["vm"], "migration": ["software"]}


def undone(simulation: Simulation) -> list[str]:
    return [name.removeprefix("undo:") for name in simulation.started if name.startswith("undo:")]


def test_undo_runs_in_reverse_order_of_the_graph() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"migration": fail()})
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert undone(simulation) == ["software", "vm", "subnet", "network"]


def test_a_failed_task_is_undone_too_when_it_may_have_changed_something() -> None:
    tasks = {**CHAIN, "migration": task("migration", ["software"], undo_when=UndoWhen.ATTEMPTED)}
    simulation = Simulation(graph_of(tasks), script={"migration": fail()})
    simulation.finish()
    assert undone(simulation)[0] == "migration"


def test_a_failed_task_that_certainly_changed_nothing_is_not_undone() -> None:
    tasks = {**CHAIN, "migration": task("migration", ["software"], undo_when=UndoWhen.ATTEMPTED)}
    simulation = Simulation(graph_of(tasks), script={"migration": fail(changed=False)})
    simulation.finish()
    assert "migration" not in undone(simulation)


def test_what_changed_nothing_is_not_undone_so_a_failed_update_leaves_the_live_environment_alone() -> None:
    unchanged = ok(changed=False)
    script = {"network": unchanged, "subnet": unchanged, "vm": unchanged, "software": unchanged, "migration": fail()}
    simulation = Simulation(graph_of(CHAIN), script=script)
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert undone(simulation) == []


def test_independent_tasks_are_undone_at_once() -> None:
    simulation = Simulation(graph_of({"a": [], "b": [], "end": ["a", "b"]}), script={"end": fail()})
    simulation.finish()
    assert simulation.now.second == 3


def test_a_rolling_update_is_taken_back_as_it_came_one_after_the_other() -> None:
    tasks = {"host": task("host", for_each=Fanout(items=3, max_parallel=1)), "end": ["host"]}
    simulation = Simulation(graph_of(tasks), script={"end": fail(), "undo:host[2]": [fail(), ok()]})
    simulation.finish()
    in_flight: set[str | None] = set()
    for event in simulation.history:
        if event.type is EventType.UNDO_STARTED:
            in_flight.add(event.task)
        elif event.type is EventType.UNDO_SUCCEEDED:
            in_flight.discard(event.task)
        assert len(in_flight) <= 1
    assert sorted(undone(simulation)) == ["host[0]", "host[1]", "host[2]", "host[2]"]


def test_every_instance_of_a_fan_out_is_undone_before_what_it_rests_on() -> None:
    tasks = {"net": [], "vm": task("vm", ["net"], for_each=Fanout(items=3)), "end": ["vm"]}
    simulation = Simulation(graph_of(tasks), script={"end": fail()})
    simulation.finish()
    assert undone(simulation) == ["vm[0]", "vm[1]", "vm[2]", "net"]


def test_the_way_back_leads_through_tasks_that_have_nothing_to_undo() -> None:
    tasks = {"net": [], "ready": task("ready", ["net"], undo=Undo(mode=UndoMode.NONE)), "app": ["ready"], "end": ["app"]}
    simulation = Simulation(graph_of(tasks), script={"end": fail()})
    simulation.finish()
    assert undone(simulation) == ["app", "net"]


def test_an_undo_that_fails_is_tried_again() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"migration": fail(), "undo:vm": [fail(), fail(), ok()]})
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert undone(simulation).count("vm") == 3


def test_what_an_undo_that_failed_for_good_rests_on_is_left_and_the_rest_goes_on() -> None:
    tasks = {"net": [], "vm": ["net"], "dns": [], "end": ["vm", "dns"]}
    simulation = Simulation(graph_of(tasks), script={"end": fail(), "undo:vm": fail()})
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATION_FAILED
    assert set(run.left) == {"vm", "net"}
    assert run.instances["dns"].undo.status is UndoStatus.SUCCEEDED
    assert "vm" in run.instances["net"].undo.reason


def test_what_cannot_be_undone_is_listed_as_left_and_does_not_hold_up_the_rest() -> None:
    tasks = {"net": [], "mail": task("mail", ["net"], undo=Undo(mode=UndoMode.IRREVERSIBLE)), "end": ["mail"]}
    simulation = Simulation(graph_of(tasks), script={"end": fail()})
    run = simulation.finish()
    assert run.status is RunStatus.COMPENSATION_FAILED
    assert run.left == ("mail",)
    assert undone(simulation) == ["net"]


def test_running_tasks_are_let_finish_before_the_way_back_begins() -> None:
    script = {"a": fail(), "b": ok(after=timedelta(seconds=30))}
    simulation = Simulation(graph_of({"a": [], "b": []}), script=script)
    run = simulation.finish()
    assert undone(simulation) == ["b"]
    assert run.status is RunStatus.COMPENSATED


def test_running_tasks_are_ended_when_the_grace_is_over() -> None:
    tasks = {"a": [], "b": task("b", undo_when=UndoWhen.ATTEMPTED)}
    simulation = Simulation(graph_of(tasks), script={"a": fail(), "b": ok(after=timedelta(days=1))})
    run = simulation.finish()
    assert run.instances["b"].attempts[0].status.value == "cancelled"
    assert undone(simulation) == ["b"]


def test_cancel_ends_what_runs_and_takes_back_what_was_done() -> None:
    simulation = Simulation(graph_of(CHAIN))
    simulation.until("vm")
    simulation.cancel()
    run = simulation.finish()
    assert (run.status, run.cause) == (RunStatus.COMPENSATED, Cause.CANCELLED)
    assert undone(simulation) == ["subnet", "network"]


def test_cancel_with_nothing_done_just_ends() -> None:
    simulation = Simulation(graph_of(CHAIN))
    simulation.cancel()
    assert simulation.finish().status is RunStatus.CANCELLED


def test_cancel_of_a_plan_that_does_not_compensate_undoes_nothing() -> None:
    simulation = Simulation(graph_of(CHAIN, on_failure=OnFailure.STOP))
    simulation.until("vm")
    simulation.cancel()
    assert simulation.finish().status is RunStatus.CANCELLED
    assert undone(simulation) == []


def test_cancel_does_not_touch_the_way_back() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"migration": fail()})
    simulation.until("undo:software")
    simulation.cancel()
    run = simulation.finish()
    assert (run.status, run.cause) == (RunStatus.COMPENSATED, Cause.FAILED)
    assert undone(simulation) == ["software", "vm", "subnet", "network"]


def test_a_finished_run_is_undone_on_request() -> None:
    simulation = Simulation(graph_of(CHAIN))
    simulation.finish()
    simulation.undo()
    run = simulation.finish()
    assert (run.status, run.cause) == (RunStatus.COMPENSATED, Cause.REQUESTED)
    assert undone(simulation) == ["migration", "software", "vm", "subnet", "network"]


def test_an_undone_run_is_not_undone_again() -> None:
    simulation = Simulation(graph_of(CHAIN))
    simulation.finish()
    simulation.undo()
    simulation.finish()
    with pytest.raises(RefusedError, match="undone already"):
        simulation.undo()


def test_a_way_back_that_failed_goes_on_where_it_was() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"migration": fail(), "undo:vm": fail()})
    assert simulation.finish().status is RunStatus.COMPENSATION_FAILED
    simulation.resume(script={})
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert undone(simulation) == ["software", "vm", "vm", "vm", "vm", "subnet", "network"]


def test_a_lost_undo_is_made_again() -> None:
    simulation = Simulation(graph_of(CHAIN), script={"migration": fail()})
    simulation.until("undo:software")
    simulation.crash()
    assert simulation.finish().status is RunStatus.COMPENSATED


def test_a_task_that_was_resumed_and_undone_can_be_told_from_its_history() -> None:
    simulation = Simulation(graph_of(CHAIN, on_failure=OnFailure.STOP), script={"migration": fail()})
    simulation.finish()
    simulation.undo()
    simulation.finish()
    assert simulation.replayed() == simulation.run


def test_nothing_is_undone_past_a_completed_pivot_and_the_run_stops_for_a_person() -> None:
    tasks = {"copy": [], "switch": task("switch", ["copy"], pivot=True), "tidy": ["switch"]}
    simulation = Simulation(graph_of(tasks), script={"tidy": fail()})
    run = simulation.finish()
    assert (run.status, undone(simulation)) == (RunStatus.FAILED, [])
    assert run.left == ("copy", "switch")
    assert "switch" in run.reason
    with pytest.raises(RefusedError, match="pivot"):
        simulation.undo()


def test_a_pivot_that_failed_does_not_hold_up_the_way_back() -> None:
    tasks = {"copy": [], "switch": task("switch", ["copy"], pivot=True)}
    simulation = Simulation(graph_of(tasks), script={"switch": fail()})
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert undone(simulation) == ["copy"]


NONE = Undo(mode=UndoMode.NONE)


@pytest.mark.parametrize(("ending", "status"), [(ok(), RunStatus.SUCCEEDED), (fail(), RunStatus.COMPENSATED)])
def test_what_stands_under_finally_runs_last_however_the_run_ended(ending: Ending, status: RunStatus) -> None:
    tasks = {"a": [], "b": ["a"], "report": task("report", closing=True, undo=NONE)}
    simulation = Simulation(graph_of(tasks), script={"b": ending})
    assert simulation.finish().status is status
    assert simulation.started[-1] == "report"


def test_a_failure_under_finally_does_not_change_how_the_run_ended() -> None:
    tasks = {"a": [], "report": task("report", closing=True, undo=NONE), "mail": task("mail", closing=True, undo=NONE)}
    simulation = Simulation(graph_of(tasks), script={"report": fail()})
    run = simulation.finish()
    assert run.status is RunStatus.SUCCEEDED
    assert run.instances["report"].status.value == "failed"
    assert run.instances["mail"].status.value == "succeeded"


def test_what_stands_under_finally_comes_again_when_a_run_that_had_ended_is_taken_back() -> None:
    tasks = {"a": [], "report": task("report", closing=True, undo=NONE)}
    simulation = Simulation(graph_of(tasks))
    simulation.finish()
    simulation.undo()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.started == ["a", "report", "undo:a", "report"]


def test_a_crash_in_a_second_way_back_undoes_nothing_twice() -> None:
    simulation = Simulation(graph_of({"a": [], "b": ["a"]}), script={"undo:a": [*[fail()] * 3, ok()]})
    simulation.finish()
    simulation.undo()
    assert simulation.finish().status is RunStatus.COMPENSATION_FAILED
    simulation.undo()
    simulation.crash()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert undone(simulation).count("b") == 1


def test_a_crash_before_finally_comes_again_does_not_leave_the_run_hanging() -> None:
    tasks = {"a": [], "report": task("report", closing=True, undo=NONE, when=True)}
    simulation = Simulation(graph_of(tasks))
    simulation.finish()
    simulation.undo()
    simulation.until("undo:a")
    simulation.step()
    simulation.crash()
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.replayed() == simulation.run
    assert simulation.run.instances["report"].status.value == "succeeded"


def test_the_undo_of_a_fan_out_that_was_interrupted_sees_what_its_instances_gave() -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=3, max_parallel=1)), "other": []}
    simulation = Simulation(graph_of(tasks), script={"vm[0]": ok({"id": 7}), "other": fail(after=timedelta(seconds=1.5))})
    assert simulation.finish().status is RunStatus.COMPENSATED
    assert simulation.run.views["vm"]["outputs"] == [{"id": 7}, {}, None]
