"""DESIGN §4.2, durability."""

from __future__ import annotations

import json
import sys

from tests.engines.projects import Project

WITNESS = f"""
drystone: 1
name: witness
tasks:
  first: {{command: {{shell: "echo first >> effects"}}, undo: {{command: {{shell: "echo undo-first >> effects"}}}}}}
  look:
    needs: [first]
    command: {{shell: "{sys.executable} -m drystone events last > seen"}}
    undo: {{command: {{shell: "true"}}}}
"""
HELD = """
drystone: 1
name: held
tasks:
  first: {command: {shell: "echo first >> effects"}, undo: none}
  hold: {needs: [first], command: {shell: "echo hold >> effects; while test -e hold; do sleep 0.05; done", idempotent: true}, undo: none}
  last: {needs: [hold], command: {shell: "echo last >> effects"}, undo: none}
"""


def test_an_undo_is_registered_on_disk_before_its_attempt_starts(project: Project) -> None:
    project.write("witness", WITNESS)
    assert project.run("run", "witness").returncode == 0
    seen = [json.loads(line) for line in project.lines("seen")]
    started = [event for event in seen if event["type"] == "task.started" and event["task"] == "look"]
    assert [event["data"]["undo"] for event in started] == ["body"], "the attempt itself reads that it is undone by a body of its own"


def test_what_was_reported_survives_kill_9(project: Project) -> None:
    project.write("held", HELD)
    (project.folder / "hold").touch()
    with project.start("run", "held", "--json") as running:
        project.until(lambda: '"task": "hold"' in (project.folder / "err").read_text())
        running.kill()
        running.wait()
    reported = [json.loads(line) for line in (project.folder / "err").read_text().splitlines() if line.endswith("}")]
    kept = [json.loads(line) for line in project.run("events", "last").stdout.splitlines()]
    assert reported and kept[: len(reported)] == reported


def test_finished_tasks_are_not_run_again_by_the_process_that_picks_the_run_up(project: Project) -> None:
    project.write("held", HELD)
    (project.folder / "hold").touch()
    with project.start("run", "held") as running:
        project.until(lambda: "hold" in project.lines("effects"))
        running.kill()
        running.wait()
    (project.folder / "hold").unlink()
    assert project.run("resume", "last").returncode == 0
    assert project.lines("effects") == ["first", "hold", "hold", "last"]
