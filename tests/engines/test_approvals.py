"""Tasks that wait for a person, through the real command: who may answer, what an answer does, and what none in time does."""

from __future__ import annotations

import pytest
from tests.engines.projects import Project

PLAN = """
drystone: 1
name: gate
environment: staging
tasks:
  before: {{command: {{shell: "echo before >> effects"}}, undo: {{command: {{shell: "echo undo-before >> effects"}}}}}}
  gate: {{needs: [before], approval: {{message: "Go on?"{more}}}}}
  after: {{needs: [gate], command: {{shell: "echo after {{{{ tasks.gate.outputs.by }}}} >> effects"}}, undo: none}}
"""


def waiting(project: Project, more: str = "") -> None:
    project.write("gate", PLAN.format(more=more and f", {more}"))
    assert project.run("run", "gate").returncode == 5


def test_a_run_that_only_waits_for_a_person_ends_the_command_with_5_and_keeps_its_environment(project: Project) -> None:
    waiting(project)
    shown = project.shown()
    assert (shown["status"], project.status("gate"), project.status("after")) == ("waiting", "waiting", "pending")
    again = project.run("run", "gate")
    assert again.returncode == 6 and shown["id"] in again.stderr


def test_an_approval_goes_on_with_the_run_and_tells_the_next_tasks_who_gave_it(project: Project) -> None:
    waiting(project)
    done = project.run("approve", "last", "gate", "--comment", "tested", user="bob")
    assert done.returncode == 0, done.stderr
    assert project.lines("effects")[0] == "before" and project.lines("effects")[1].startswith("after bob@")
    gate = next(task for task in project.shown()["tasks"] if task["id"] == "gate")
    assert gate["outputs"]["comment"] == "tested" and gate["status"] == "succeeded"
    events = [line for line in project.run("events", "last").stdout.splitlines() if "approval." in line]
    assert ['"approval.requested"' in events[0], '"approval.given"' in events[1]] == [True, True]


def test_a_rejection_takes_back_what_was_done_and_says_who_said_no_and_why(project: Project) -> None:
    waiting(project)
    assert project.run("reject", "last", "gate", "--comment", "not today", user="bob").returncode == 0
    shown = project.shown()
    assert shown["status"] == "compensated" and project.lines("effects") == ["before", "undo-before"]
    assert shown["error"]["class"] == "refused" and "not today" in shown["error"]["message"] and "bob" in shown["error"]["message"]


def test_who_started_the_run_may_not_answer_unless_the_plan_allows_it(project: Project) -> None:
    waiting(project)
    refused = project.run("approve", "last", "gate")
    assert refused.returncode == 1 and "self_approval" in refused.stderr
    assert project.run("cancel", "last").returncode == 0
    waiting(project, "self_approval: true")
    assert project.run("approve", "last", "gate").returncode == 0


def test_only_the_approvers_may_answer(project: Project) -> None:
    waiting(project, "approvers: [carol]")
    refused = project.run("approve", "last", "gate", user="bob")
    assert refused.returncode == 1 and "carol" in refused.stderr
    assert project.run("approve", "last", "gate", user="carol").returncode == 0


@pytest.mark.parametrize(("default", "code", "status"), [("reject", 3, "compensated"), ("approve", 0, "succeeded")])
def test_no_answer_in_time_is_the_answer_that_the_plan_says(project: Project, default: str, code: int, status: str) -> None:
    project.write("gate", PLAN.format(more=f", timeout: 300ms, on_timeout: {default}"))
    assert project.run("run", "gate").returncode == code
    assert project.shown()["status"] == status


def test_an_answer_reaches_the_process_that_has_the_run(project: Project) -> None:
    project.write("gate", PLAN.format(more=""))
    with project.start("run", "gate", "--wait") as child:
        project.until(lambda: (project.folder / ".drystone").exists() and '"approval.requested"' in project.run("events", "last").stdout)
        assert project.run("approve", "last", "gate", user="bob").returncode == 0
        assert child.wait() == 0
    assert len(project.lines("effects")) == 2


def test_a_cancel_of_a_waiting_run_takes_it_back(project: Project) -> None:
    waiting(project)
    assert project.run("cancel", "last").returncode == 0
    assert project.shown()["status"] == "compensated" and project.status("gate") == "cancelled"


def test_a_person_is_asked_on_the_way_forward_alone(project: Project) -> None:
    asks = "approval: {message: sure?}"
    body = "command: {argv: ['true']}"
    for plan in (f"tasks: {{a: {{noop: {{}}}}}}\nfinally: {{f: {{{asks}}}}}", f"tasks: {{a: {{{body}, undo: {{{asks}}}}}}}",
                 f"tasks: {{a: {{{body}, retry: 2, remedy: {{{asks}}}}}}}"):
        project.write("wrong", f"drystone: 1\nname: wrong\n{plan}\n")
        refused = project.run("validate", "wrong")
        assert refused.returncode == 1 and "cannot wait for a person" in refused.stderr, plan


def test_what_nobody_asked_cannot_be_answered(project: Project) -> None:
    waiting(project)
    for task, said in (("after", "does not wait"), ("gat", "no task")):
        refused = project.run("approve", "last", task, user="bob")
        assert refused.returncode == 1 and said in refused.stderr and "gate" in refused.stderr


def test_a_wait_needs_no_process_and_is_over_at_its_moment(project: Project) -> None:
    project.write("pause", "drystone: 1\nname: pause\ntasks:\n  pause: {wait: {for: 400ms}}\n  then: {needs: [pause], noop: {}}\n")
    assert project.run("run", "pause").returncode == 0
    pause, then = project.shown()["tasks"]
    assert pause["attempts"][0]["finished_at"] <= then["attempts"][0]["started_at"]
    with project.start("run", "pause") as child:
        project.until(lambda: "task.waiting" in project.run("events", "last").stdout)
        child.kill()
        child.wait()
    resumed = project.run("resume", "last")
    assert resumed.returncode == 0 and project.shown()["status"] == "succeeded"
    assert len(project.shown()["tasks"][0]["attempts"]) == 1


def test_a_wait_until_a_moment_that_is_past_is_over_at_once_and_one_without_a_zone_is_refused(project: Project) -> None:
    project.write("until", 'drystone: 1\nname: until\ntasks: {a: {wait: {until: "2020-01-01T00:00:00Z"}}}\n')
    assert project.run("run", "until").returncode == 0
    for wrong in ('{until: "2020-01-01T00:00:00"}', "{}", "{for: 1s, until: 2030-01-01T00:00:00Z}"):
        project.write("wrong", f"drystone: 1\nname: wrong\ntasks: {{a: {{wait: {wrong}}}}}\n")
        assert project.run("validate", "wrong").returncode == 1
