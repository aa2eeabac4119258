"""What a person reads of a run that has ended: why, what was undone in which order, what is left, what to type next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from drystone.app.describe import run_json
from drystone.app.reading import Look
from drystone.cli import run_view
from drystone.core.expected import Expected
from drystone.core.plan import Fanout, OnFailure, Undo, UndoMode
from drystone.core.retry import RetryPolicy
from drystone.core.run import new_run
from drystone.testing.graphs import graph_of, task
from drystone.testing.simulation import START, Simulation, asks, fail, ok, waits

CHAIN = {"network": [], "vm": ["network"], "software": ["vm"], "migration": ["software"]}
LookAt = Callable[[Simulation], Look]


def ended(look_at: LookAt, tasks: dict[str, object] | None = None, **arguments: object) -> tuple[Look, str]:
    on_failure = arguments.pop("on_failure", OnFailure.COMPENSATE)
    simulation = Simulation(graph_of(tasks or CHAIN, on_failure=on_failure), **arguments)  # type: ignore[arg-type]
    simulation.finish()
    look = look_at(simulation)
    return look, "\n".join(run_view.summary(look, simulation.now))


def test_a_failed_run_tells_task_class_message_and_last_output(look_at: LookAt) -> None:
    look, _ = ended(look_at, script={"migration": fail("failed", 'relation "notes" exists')})
    log = look.home / (look.run.instances["migration"].attempts[-1].log or "")
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    text = "\n".join(run_view.summary(look, look.run.created_at))
    assert 'task migration failed (failed): relation "notes" exists' in text
    assert "    line 99" in text and "line 88" in text and "line 87" not in text


def test_the_order_of_the_way_back_is_told(look_at: LookAt) -> None:
    _, text = ended(look_at, script={"migration": fail()})
    assert "undone, in this order: software, vm, network" in text


def test_a_run_whose_process_is_gone_is_not_told_as_if_it_went_on(look_at: LookAt) -> None:
    simulation = Simulation(graph_of(CHAIN))
    simulation.until("vm")
    look = replace(look_at(simulation), is_abandoned=True)
    text = "\n".join([*run_view.head(look, simulation.now), *run_view.summary(look, simulation.now)])
    assert text.count("running, but its process is gone") == 2
    assert [step.partition("      # ")[2] for step in run_view.next_steps(look)] == ["goes on with it", "ends it"]


def expected_line(look: Look, now: datetime) -> str:
    return next((line.removeprefix("expected").strip() for line in run_view.head(look, now) if line.startswith("expected")), "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1m40s to 2m10s left (from 12 earlier runs)"),
        (110, "up to 20s left (from 12 earlier runs)"),
        (500, "any moment now (from 12 earlier runs)"),
    ],
)
def test_a_run_that_goes_forward_tells_how_long_it_has_still_to_go(look_at: LookAt, seconds: int, text: str) -> None:
    look = look_at(Simulation(graph_of({"a": []}), expected={"a": Expected(100, 130, 12)}))
    assert expected_line(look, START + timedelta(seconds=seconds)) == text


def test_equal_ends_of_a_range_are_told_once(look_at: LookAt) -> None:
    look = look_at(Simulation(graph_of({"a": []}), expected={"a": Expected(12, 12, 1)}))
    assert expected_line(look, START) == "about 12s left (from 1 earlier run)"


def test_json_tells_the_range_in_seconds_and_null_when_nobody_can_say(look_at: LookAt) -> None:
    look = look_at(Simulation(graph_of({"a": []}), expected={"a": Expected(100, 130.5, 12)}))
    assert run_json(look.run, look.record, look.remaining(START))["eta"] == {"low_seconds": 100.0, "high_seconds": 130.5}
    assert run_json(look.run, look.record, look_at(Simulation(graph_of({"a": []}))).remaining(START))["eta"] is None


def test_nothing_is_expected_of_a_run_whose_process_is_gone(look_at: LookAt) -> None:
    look = replace(look_at(Simulation(graph_of({"a": []}), expected={"a": Expected(100, 130, 12)})), is_abandoned=True)
    assert look.remaining(START) is None and expected_line(look, START) == ""


def test_a_way_back_with_nothing_to_undo_says_so(look_at: LookAt) -> None:
    _, text = ended(look_at, {"a": []}, script={"a": fail()})
    assert "there was nothing to undo" in text


def test_what_is_left_standing_is_told_with_its_reason(look_at: LookAt) -> None:
    tasks = {**CHAIN, "vm": task("vm", ["network"], undo=Undo(mode=UndoMode.IRREVERSIBLE))}
    _, text = ended(look_at, tasks, script={"migration": fail()})
    assert "left standing:" in text
    assert "    vm: it cannot be undone" in text


def test_past_a_pivot_no_undo_is_told_of_and_none_is_offered(look_at: LookAt) -> None:
    tasks = {**CHAIN, "software": task("software", ["vm"], pivot=True)}
    look, text = ended(look_at, tasks, script={"migration": fail()})
    assert '"software" has succeeded, and nothing is undone past it' in text
    assert "    vm\n" in text and "its undo failed" not in text
    assert not any(" undo " in step for step in run_view.next_steps(look))


def test_an_undo_that_failed_is_told_as_a_failure_of_its_own(look_at: LookAt) -> None:
    tasks = {**CHAIN, "vm": task("vm", ["network"], undo=Undo(mode=UndoMode.AUTO, retry=RetryPolicy()))}
    _, text = ended(look_at, tasks, script={"migration": fail(), "undo:vm": fail("unreachable", "no route to host")})
    assert "the undo of vm failed (unreachable): no route to host" in text
    assert "    network: vm rests on it and still stands" in text


@pytest.mark.parametrize(
    ("on_failure", "script", "step"),
    [
        (OnFailure.COMPENSATE, {}, "undo 01SIMULATE"),
        (OnFailure.COMPENSATE, {"migration": fail()}, "logs 01SIMULATE"),
        (OnFailure.STOP, {"migration": fail()}, "resume 01SIMULATE"),
    ],
)
def test_the_next_command_is_told(look_at: LookAt, on_failure: OnFailure, script: dict[str, object], step: str) -> None:
    _, text = ended(look_at, on_failure=on_failure, script=script)
    assert step in text.splitlines()[-1] or step in text.splitlines()[-2]


def test_commands_name_the_project_when_it_is_not_the_current_one(look_at: LookAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    look, text = ended(look_at)
    assert f"drystone -C {look.home.parent} show" in text


def test_a_run_that_changed_nothing_says_so_and_has_nothing_to_undo(look_at: LookAt) -> None:
    _, text = ended(look_at, {"a": []}, script={"a": ok(changed=False)})
    assert "test succeeded in 1.0s: 1 task, nothing changed" in text
    assert "undo" not in text


def test_json_has_the_shape_that_other_programs_read(look_at: LookAt) -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=2)), "end": ["vm"]}
    look, _ = ended(look_at, tasks, script={"end": fail("refused", "no")}, environment="staging")
    shape = run_json(look.run, look.record)
    assert set(shape) >= {
        "format", "id", "plan", "environment", "status", "bundle", "started_at", "finished_at", "inputs", "outputs", "error", "tasks",
    }  # fmt: skip
    assert shape["error"] == {"task": "end", "class": "refused", "message": "no"}
    assert (shape["status"], shape["environment"], shape["cause"], shape["left"]) == ("compensated", "staging", "failed", [])
    assert [item["id"] for item in shape["tasks"]] == ["vm[0]", "vm[1]", "end"]
    assert [item["needs"] for item in shape["tasks"]] == [[], [], ["vm"]]
    vm = shape["tasks"][0]
    assert (vm["status"], vm["undo"]["mode"], vm["undo"]["status"], len(vm["undo"]["attempts"])) == ("undone", "auto", "succeeded", 1)
    assert set(vm["attempts"][0]) == {"number", "status", "started_at", "finished_at", "error", "result", "log"}
    assert vm["attempts"][0]["started_at"].endswith("Z")


def test_json_tells_no_secret(look_at: LookAt) -> None:
    from drystone.core.values import Secret

    look, _ = ended(look_at, {"a": []}, inputs={"password": Secret(sealed="gAAAA")}, script={"a": ok({"key": Secret(sealed="gBBBB")})})
    shape = run_json(look.run, look.record)
    assert (shape["inputs"], shape["tasks"][0]["outputs"]) == ({"password": "***"}, {"key": "***"})


def test_a_task_that_could_not_begin_is_told_with_its_reason(look_at: LookAt) -> None:
    from drystone.core.diagnostics import Diagnostics, Where
    from drystone.core.nodes import Node
    from drystone.core.values import compile_value

    when = compile_value(Node(Where("test.yaml", 1, 1), "{{ inputs.nothing.there }}"), Diagnostics())
    _, text = ended(look_at, {"a": task("a", when=when)}, inputs={"nothing": 1})
    assert "task a could not begin: " in text


def test_the_task_table_has_a_line_for_each_instance(look_at: LookAt) -> None:
    look, _ = ended(look_at, {"vm": task("vm", for_each=Fanout(items=3))})
    lines = run_view.task_table(look.run, look.run.created_at)
    assert [line.split()[1] for line in lines[1:]] == ["vm[0]", "vm[1]", "vm[2]"]


def test_a_log_outside_the_current_folder_is_named_in_full(look_at: LookAt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    look, _ = ended(look_at, script={"migration": fail()})
    log = look.home / (look.run.instances["migration"].attempts[-1].log or "")
    log.parent.mkdir(parents=True)
    log.write_text("boom\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert f"last output ({log})" in "\n".join(run_view.summary(look, look.run.created_at))


# ---- what it waits for, and what to type ------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs are those of the current project."""
    (tmp_path / "drystone.toml").write_text("")
    monkeypatch.chdir(tmp_path)


def commands_of(look: Look) -> list[str]:
    return [step.partition("      # ")[0] for step in run_view.next_steps(look)]


@pytest.mark.usefixtures("here")
def test_a_run_that_asks_tells_the_question_who_may_answer_and_the_commands(look_at: LookAt) -> None:
    tasks = {"gate": task("gate", for_each=Fanout(items=1))}
    simulation = Simulation(graph_of(tasks), script={"gate[0]": asks("alice", "bob", message="Go on?")})
    simulation.step()
    look = look_at(simulation)
    text = "\n".join(run_view.summary(look, simulation.now))
    assert "gate[0] waits for an approval: Go on?" in text
    assert "    alice, bob may answer, but not test, who started the run; without an answer until 2026-01-08" in text
    assert "it is rejected" in text and "test waiting for 0.0s" in text
    waiting = run_json(look.run, look.record)["tasks"][0]["waiting"]
    assert (waiting["until"], waiting["approval"]["message"], waiting["run"]) == ("2026-01-08T00:00:00.000Z", "Go on?", None)
    assert commands_of(look) == [
        "drystone approve 01SIMULATE 'gate[0]'",
        "drystone reject 01SIMULATE 'gate[0]'",
        "drystone resume 01SIMULATE --wait",
        "drystone cancel 01SIMULATE",
    ]


@pytest.mark.usefixtures("here")
def test_a_run_that_waits_with_its_process_is_followed_not_resumed(look_at: LookAt) -> None:
    simulation = Simulation(graph_of({"night": []}), script={"night": waits(timedelta(hours=1))})
    simulation.step()
    look = replace(look_at(simulation), is_driven=True)
    assert commands_of(look) == ["drystone logs 01SIMULATE -f", "drystone cancel 01SIMULATE"]
    assert any("night waits until " in line for line in run_view.summary(look, simulation.now))


@pytest.mark.usefixtures("here")
def test_a_failure_that_a_person_decides_about_tells_the_commands_that_decide(look_at: LookAt) -> None:
    tasks = {"a": [], "b": task("b", ["a"], for_each=Fanout(items=2))}
    look, _ = ended(look_at, tasks, script={"b[0]": fail(), "b[1]": fail()}, on_failure=OnFailure.ASK)
    assert commands_of(look) == [
        "drystone show 01SIMULATE",
        "drystone attention retry 01SIMULATE",
        "drystone attention skip 01SIMULATE 'b[0]' --reason TEXT",
        "drystone attention skip 01SIMULATE 'b[1]' --reason TEXT",
        "drystone undo 01SIMULATE",
    ]


@pytest.mark.usefixtures("here")
def test_an_undo_that_failed_for_good_tells_the_commands_that_decide(look_at: LookAt) -> None:
    look, _ = ended(look_at, script={"migration": fail(), "undo:vm": fail()})
    assert commands_of(look) == [
        "drystone show 01SIMULATE",
        "drystone attention retry 01SIMULATE",
        "drystone attention skip 01SIMULATE vm --reason TEXT",
    ]


@pytest.mark.usefixtures("here")
def test_what_cannot_be_undone_can_only_be_taken_on(look_at: LookAt) -> None:
    tasks = {**CHAIN, "vm": task("vm", ["network"], undo=Undo(mode=UndoMode.IRREVERSIBLE))}
    look, _ = ended(look_at, tasks, script={"migration": fail()})
    assert commands_of(look) == ["drystone show 01SIMULATE", "drystone attention skip 01SIMULATE vm --reason TEXT"]


@pytest.mark.usefixtures("here")
def test_a_queued_run_tells_its_place_in_the_line(look_at: LookAt) -> None:
    look = queued(look_at, behind=["01FIRSTRUN00", "01SECONDRUN0"])
    assert "… queued behind run 01SECONDRU (2 before it)" in list(run_view.summary(look, START))
    assert commands_of(look) == ["drystone show 01SECONDRUN0", "drystone cancel 01SIMULATE"]


@pytest.mark.usefixtures("here")
def test_a_queued_run_whose_process_is_gone_can_be_resumed(look_at: LookAt) -> None:
    look = replace(queued(look_at, behind=[]), is_abandoned=True)
    assert commands_of(look) == ["drystone resume 01SIMULATE", "drystone cancel 01SIMULATE"]


def queued(look_at: LookAt, *, behind: list[str]) -> Look:
    look = look_at(Simulation(graph_of({"a": []})))
    run = new_run(id=look.run.id, graph=look.run.graph, inputs={}, environment=None, created_at=START)
    return replace(look, run=run, is_driven=True, behind=behind)


def test_the_way_back_of_hundreds_of_tasks_fits_in_a_line(look_at: LookAt) -> None:
    tasks = {"network": [], "vm": task("vm", ["network"], for_each=Fanout(items=300)), "end": ["vm"]}
    _, text = ended(look_at, tasks, script={"end": fail()})
    assert "undone, in this order: vm (300 instances), network" in text


def test_hundreds_of_things_left_are_cut_short(look_at: LookAt) -> None:
    tasks = {"vm": task("vm", for_each=Fanout(items=300), undo=Undo(mode=UndoMode.IRREVERSIBLE)), "end": ["vm"]}
    look, text = ended(look_at, tasks, script={"end": fail()})
    assert len(look.run.left) == 300 and "    and 280 more" in text
    assert len(text.splitlines()) < 45


def test_the_task_table_tells_waves_and_after_the_way_back_the_steps_of_it(look_at: LookAt) -> None:
    forward = look_at(Simulation(graph_of(CHAIN)))
    back, _ = ended(look_at, script={"migration": fail()})
    columns = [[line.split()[:3][-1] for line in run_view.task_table(look.run, START)] for look in (forward, back)]
    assert columns == [["KIND", "w1", "w2", "w3", "w4"], ["KIND", "u3", "u2", "u1", "noop"]]


def test_the_task_table_tells_by_whom_something_was_approved(look_at: LookAt) -> None:
    tasks = {"gate": replace(task("gate"), body=replace(task("gate").body, kind="approval"))}
    simulation = Simulation(graph_of(tasks), script={"gate": asks()})
    simulation.step()
    simulation.answer("gate", "approve", by="bob@desk", comment="tested")
    line = run_view.task_table(look_at(simulation).run, simulation.now)[1]
    assert line.endswith("approved by bob@desk: tested")
