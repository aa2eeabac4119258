"""DESIGN §4.7, limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.projects import Project

FOREVER = "touch begun; while :; do sleep 0.05; done"
RUN_DEADLINE = f"""
drystone: 1
name: limits
timeout: 1s
tasks:
  work:
    command: {{shell: "{FOREVER}"}}
    undo: {{command: {{shell: "echo undone >> effects"}}}}
    undo_when: attempted
"""
ATTEMPT = f"""
drystone: 1
name: limits
tasks:
  work: {{timeout: 500ms, command: {{shell: "{FOREVER}"}}, undo: {{command: {{shell: "echo undone >> effects"}}}}}}
"""
UNDO = f"""
drystone: 1
name: limits
tasks:
  work: {{command: {{shell: "true"}}, undo: {{timeout: 500ms, retry: 1, command: {{shell: "{FOREVER}"}}}}}}
  bad: {{needs: [work], command: {{shell: "exit 1"}}, undo: none}}
"""
APPROVAL = """
drystone: 1
name: limits
tasks:
  gate: {approval: {message: "go?", timeout: 500ms}}
"""
LINE = """
drystone: 1
name: limits
concurrency: {key: one, timeout: 500ms}
tasks:
  work: {command: {shell: "touch begun; while test -e hold; do sleep 0.05; done"}, undo: none}
"""


@pytest.mark.parametrize(
    ("plan", "code", "failure_class"),
    [(RUN_DEADLINE, 3, "timeout"), (ATTEMPT, 3, "timeout"), (UNDO, 4, "failed"), (APPROVAL, 3, "timeout")],
    ids=["run", "attempt", "undo", "approval"],
)
def test_every_wait_has_an_end(project: Project, plan: str, code: int, failure_class: str) -> None:
    project.write("limits", plan)
    assert project.run("run", "limits", "--wait").returncode == code
    assert project.shown()["error"]["class"] == failure_class


def test_what_was_done_is_undone_when_the_time_of_the_run_is_up(project: Project) -> None:
    project.write("limits", RUN_DEADLINE)
    project.run("run", "limits")
    assert project.lines("effects") == ["undone"]


def test_an_undo_that_takes_too_long_leaves_its_task_to_a_person(project: Project) -> None:
    project.write("limits", UNDO)
    project.run("run", "limits")
    assert project.shown()["left"] == ["work"]


def test_waiting_for_ones_turn_has_an_end(project: Project) -> None:
    project.write("limits", LINE)
    (project.folder / "hold").touch()
    with project.start("run", "limits") as first:
        project.until(lambda: (project.folder / "begun").exists())
        assert project.run("run", "limits").returncode == 6
        (project.folder / "hold").unlink()
        assert first.wait() == 0


def test_what_does_not_listen_to_a_cancel_is_killed_when_the_grace_is_over(project: Project) -> None:
    project.write("limits", ATTEMPT.replace("touch begun", "trap '' INT TERM; echo $$ > pid; touch begun"))
    assert project.run("run", "limits").returncode == 3
    assert not Path("/proc", project.lines("pid")[0]).exists()
