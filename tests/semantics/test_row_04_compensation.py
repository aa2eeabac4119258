"""DESIGN §4.4, compensation."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from tests.engines.projects import Project

PLAN = """
drystone: 1
name: stack
inputs: {fail: {type: boolean, default: true}}
tasks:
  net: {command: {shell: "echo net >> effects"}, undo: {command: {shell: "echo undo-net >> effects"}}}
  vm:
    needs: [net]
    for_each: [a, b]
    command: {shell: "echo vm >> effects"}
    undo: {command: {shell: "touch undoing; while test -e hold; do sleep 0.05; done; echo undo-vm >> effects"}}
  app:
    needs: [vm]
    command: {shell: "echo app >> effects; {{ 'exit 1' if inputs.fail else 'true' }}"}
    undo: none
"""
PIVOT = """
drystone: 1
name: pivot
tasks:
  copy: {command: {shell: "true"}, undo: {command: {shell: "echo undo-copy >> effects"}}}
  switch: {needs: [copy], pivot: true, command: {shell: "true"}, undo: {command: {shell: "echo undo-switch >> effects"}}}
  tidy: {needs: [switch], command: {shell: "test -e go"}, undo: none}
"""
STUCK = """
drystone: 1
name: stuck
defaults: {retry: 1}
tasks:
  net: {command: {shell: "true"}, undo: {command: {shell: "echo undo-net >> effects"}}}
  vm: {needs: [net], command: {shell: "true"}, undo: {command: {shell: "test -e go"}, retry: 1}}
  dns: {command: {shell: "true"}, undo: {command: {shell: "echo undo-dns >> effects"}}}
  app: {needs: [vm, dns], command: {shell: "exit 1"}, undo: none}
"""
STOPPING = """
drystone: 1
name: stopping
tasks:
  before: {command: {shell: "true"}, undo: {command: {shell: "echo undo-before >> effects"}}}
  work:
    needs: [before]
    command: {shell: "trap 'echo tidied up >> effects; exit 1' INT; touch begun; while :; do sleep 0.05; done", idempotent: true}
    undo: none
"""
DEAF = STOPPING.replace("'echo tidied up >> effects; exit 1' INT", "'' INT TERM")


def test_undos_run_in_reverse_order_of_the_graph(project: Project) -> None:
    project.write("stack", PLAN)
    assert project.run("run", "stack").returncode == 3
    assert project.lines("effects") == ["net", "vm", "vm", "app", "undo-vm", "undo-vm", "undo-net"]


def test_a_run_that_had_succeeded_is_undone_on_request(project: Project) -> None:
    project.write("stack", PLAN)
    assert project.run("run", "stack", "-i", "fail=false").returncode == 0
    assert project.run("undo", "last", "--yes").returncode == 0
    assert project.lines("effects")[-3:] == ["undo-vm", "undo-vm", "undo-net"]


def test_a_task_is_undone_at_most_once(project: Project) -> None:
    project.write("stack", PLAN)
    project.run("run", "stack")
    refused = [project.run(*words) for words in (["undo", "last", "--yes"], ["resume", "last"], ["cancel", "last"])]
    assert [done.returncode for done in refused] == [1, 1, 1]
    effects = Counter(project.lines("effects"))
    assert (effects["undo-net"], effects["undo-vm"]) == (1, 2), "one for each instance"


def test_the_way_back_is_not_touched_by_the_cancel_that_caused_it(project: Project) -> None:
    project.write("stack", PLAN)
    (project.folder / "hold").touch()
    with project.start("run", "stack") as running:
        project.until(lambda: (project.folder / "undoing").exists())
        assert project.run("cancel", "last").returncode == 0
        (project.folder / "hold").unlink()
        assert running.wait() == 3
    assert Counter(project.lines("effects"))["undo-vm"] == 2
    assert project.lines("effects")[-1] == "undo-net"


def test_the_first_ctrl_c_lets_what_runs_tidy_up_and_undoes_what_was_done(project: Project) -> None:
    project.write("stopping", STOPPING)
    with project.start("run", "stopping") as running:
        project.until(lambda: (project.folder / "begun").exists())
        running.send_signal(signal.SIGINT)
        assert running.wait() == 130
    assert project.lines("effects") == ["tidied up", "undo-before"]
    assert project.shown()["status"] == "compensated"


def test_the_second_ctrl_c_ends_at_once_and_a_resume_goes_on(project: Project) -> None:
    project.write("deaf", DEAF.replace("name: stopping", "name: deaf"))
    with project.start("run", "deaf") as running:
        project.until(lambda: (project.folder / "begun").exists())
        running.send_signal(signal.SIGINT)
        project.until(lambda: "run.cancel_requested" in project.run("events", "last").stdout)
        running.send_signal(signal.SIGINT)
        assert running.wait() == 130
    assert project.lines("effects") == []
    assert project.run("resume", "last").returncode == 130
    assert project.lines("effects") == ["undo-before"]


def test_an_undo_that_fails_for_good_is_listed_and_independent_undos_go_on(project: Project) -> None:
    project.write("stuck", STUCK)
    assert project.run("run", "stuck").returncode == 4
    shown = project.shown()
    assert (shown["status"], sorted(shown["left"])) == ("compensation_failed", ["net", "vm"])
    assert project.lines("effects") == ["undo-dns"]
    assert "vm" in project.run("attention", "list").stdout
    (project.folder / "go").touch()
    assert project.run("attention", "retry", "last").returncode == 0
    assert project.lines("effects") == ["undo-dns", "undo-net"]


def test_nothing_is_undone_past_a_pivot(project: Project) -> None:
    project.write("pivot", PIVOT)
    assert project.run("run", "pivot").returncode == 4
    assert (project.shown()["status"], project.lines("effects")) == ("failed", [])
    assert project.run("undo", "last", "--yes").returncode == 1
    (project.folder / "go").touch()
    assert project.run("resume", "last").returncode == 0


@pytest.mark.parametrize("word", ["net", "vm[0]"])
def test_a_pivot_stays_passed_though_it_is_started_afresh(project: Project, word: str) -> None:
    project.write("stack", PLAN.replace("needs: [net]", "needs: [net]\n    pivot: true"))
    project.run("run", "stack", "-i", "fail=false")
    assert project.run("resume", "last", "--from", word).returncode == 0
    assert project.run("undo", "last", "--yes").returncode == 1
