"""`drystone serve`: what is left to it is driven to its end, whatever becomes of the process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_support import Following, Project, finish, kill, wait_until
from serving import Serving, ended

HELD = """
drystone: 1
name: held
inputs: {file: {type: string}}
tasks:
  first: {command: {shell: "echo x >> {{ inputs.file }}.first"}, undo: none}
  held:
    needs: [first]
    command: {shell: "touch {{ inputs.file }}.begun; while [ ! -e {{ inputs.file }} ]; do sleep 0.05; done"}
    undo: none
  last: {needs: [held], command: {shell: "echo x >> {{ inputs.file }}.last"}, undo: none}
"""


@pytest.fixture
def plan(project: Project) -> Callable[[str], list[str]]:
    """Words of a run that is held until the named file is there."""
    project.write("plans/held.yaml", HELD)
    return lambda name: ["run", "held", "-i", f"file={project.folder / name}"]


def left(project: Project, *words: str) -> str:
    return project.run(*words, "--detach").out.strip()


def begun(project: Project, name: str) -> None:
    wait_until((project.folder / f"{name}.begun").exists, f"{name} to begin")


def test_a_run_that_is_left_waits_for_a_server_and_is_driven_by_it(project: Project, plan: Callable[[str], list[str]]) -> None:
    told = project.run(*plan("a"), "--detach")
    run = told.out.strip()
    assert "nobody serves this project now" in told.err and "drystone serve" in told.err
    assert project.show(run)["status"] == "queued"
    server = Serving(project)
    begun(project, "a")
    (project.folder / "a").touch()
    assert ended(project, run)["status"] == "succeeded"
    assert "to follow it" in project.run(*plan("a"), "--detach").err
    wait_until(lambda: len([line for line in server.lines("run.finished") if line["plan"] == "held"]) == 2, "the end of both")
    code, body = server.get("/metrics")
    assert code == 200 and 'drystone_runs_total{plan="held",status="succeeded"} 2.0' in body
    assert server.get("/healthz")[0] == 200 and json.loads(server.get("/readyz")[1]) == {"status": "ready", "problems": {}}
    assert server.get("/nothing")[0] == 404
    assert server.stop() == 0


def test_a_server_that_is_killed_leaves_its_runs_to_the_next(project: Project, plan: Callable[[str], list[str]]) -> None:
    run = left(project, *plan("a"))
    server = Serving(project)
    begun(project, "a")
    (project.folder / "a.begun").unlink()
    server.kill()
    assert "its process is gone" in project.run("show", run).out
    Serving(project)
    # A command is not made again when nobody saw its end: that is for a person to decide.
    wait_until(lambda: project.show(run)["status"] == "failed", "the run to stop for a person")
    assert "held" in project.run("attention", "list").out
    (project.folder / "a").touch()
    project.run("attention", "retry", run, code=None)
    assert ended(project, run)["status"] == "succeeded"
    assert (project.folder / "a.first").read_text() == "x\n" == (project.folder / "a.last").read_text()


def test_a_server_that_is_told_to_stop_lets_a_step_finish_and_gives_the_run_back(
    project: Project, plan: Callable[[str], list[str]]
) -> None:
    run = left(project, *plan("a"))
    first = Serving(project)
    begun(project, "a")
    first.process.send_signal(signal.SIGTERM)
    wait_until(lambda: first.lines("server.stopping"), "the server to stop")
    (project.folder / "a").touch()
    assert first.process.wait(timeout=60) == 0
    shown = project.show(run)
    assert {task["id"]: task["status"] for task in shown["tasks"]} == {"first": "succeeded", "held": "succeeded", "last": "pending"}
    Serving(project, "second")
    assert ended(project, run)["status"] == "succeeded"
    assert all(len(task["attempts"]) == 1 for task in project.show(run)["tasks"])


def test_two_servers_share_a_project_and_each_run_is_one_servers(project: Project) -> None:
    project.write("plans/quick.yaml", "{drystone: 1, name: quick, tasks: {a: {noop: {sleep: 50ms}}, b: {needs: [a], noop: {}}}}")
    servers = [Serving(project, name) for name in ("one", "two")]
    runs = [left(project, "run", "quick") for _ in range(12)]
    for run in runs:
        assert ended(project, run)["status"] == "succeeded"
        assert len(project.events(run, type="run.started")) == 1
    taken = [line["run"] for server in servers for line in server.lines("run.taken")]
    assert sorted(taken) == sorted(runs)


def test_a_run_whose_command_was_killed_is_picked_up(project: Project) -> None:
    project.write("plans/two.yaml", "{drystone: 1, name: two, tasks: {a: {wait: {for: 3s}}, b: {needs: [a], noop: {}}}}")
    running = project.start("run", "two", "--json")
    Following(running).until("task.waiting", "a")
    kill(running)
    Serving(project)
    assert ended(project, "last")["status"] == "succeeded"


def test_what_waits_for_an_approval_waits_in_the_server(project: Project) -> None:
    ok = "{approval: {message: go on, self_approval: true}}"
    project.write("plans/ask.yaml", f"{{drystone: 1, name: ask, tasks: {{ok: {ok}, b: {{needs: [ok], noop: {{}}}}}}}}")
    server = Serving(project)
    run = left(project, "run", "ask")
    wait_until(lambda: project.show(run)["status"] == "waiting", "the approval")
    assert "told the process" in project.run("approve", run, "ok").err
    assert ended(project, run)["status"] == "succeeded"
    other = left(project, "run", "ask")
    wait_until(lambda: project.show(other)["status"] == "waiting", "the approval")
    assert server.stop() == 0
    # Nobody has it: the command goes on with it itself.
    assert project.run("approve", other, "ok").code == 0


def test_a_detached_run_waits_until_its_environment_is_free(project: Project, plan: Callable[[str], list[str]]) -> None:
    text = HELD.replace("name: held", "name: shared\nenvironment: shop")
    project.write("plans/shared.yaml", text)
    words = ["run", "shared", "-i", f"file={project.folder / 'a'}"]
    server = Serving(project)
    first, second = left(project, *words), left(project, *words)
    wait_until(lambda: server.lines("run.waits_for_server"), "the second to be told that it waits")
    assert {project.show(run)["status"] for run in (first, second)} == {"running", "queued"}
    (project.folder / "a").touch()
    assert {ended(project, run)["status"] for run in (first, second)} == {"succeeded"}


def test_breaking_a_lock_costs_the_server_that_run_alone(project: Project, plan: Callable[[str], list[str]]) -> None:
    text = HELD.replace("name: held", "name: shared\nenvironment: shop")
    project.write("plans/shared.yaml", text)
    server = Serving(project)
    lost = left(project, "run", "shared", "-i", f"file={project.folder / 'a'}")
    kept = left(project, *plan("b"))
    begun(project, "a")
    begun(project, "b")
    project.run("env", "unlock", "shop", "--force", "--yes", code=None)
    (project.folder / "b").touch()
    assert ended(project, kept)["status"] == "succeeded"
    assert server.get("/healthz")[0] == 200
    assert project.show(lost)["status"] != "succeeded"


def test_an_address_that_is_taken_is_refused_and_so_is_nonsense(project: Project) -> None:
    server = Serving(project)
    taken = server.address.removeprefix("http://")
    refused = project.run("serve", "--listen", taken, code=1)
    assert f'cannot listen at "{taken}"' in refused.err and "--listen" in refused.err
    assert '"nonsense" is no address' in project.run("serve", "--listen", "nonsense", code=1).err


def test_a_second_signal_ends_the_server_at_once(project: Project, plan: Callable[[str], list[str]]) -> None:
    left(project, *plan("a"))
    server = Serving(project)
    begun(project, "a")
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.lines("server.stopping"), "the server to stop")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 130
    assert Path(project.folder / "a.begun").exists()
    assert finish(project.start("runs")).code == 0
