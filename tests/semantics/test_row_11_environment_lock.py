"""DESIGN §4.11, the environment's lock."""

from __future__ import annotations

import re

from tests.engines.projects import Project

PLAN = """
drystone: 1
name: NAME
environment: live
tasks:
  work:
    command: {shell: "touch begun; while test -e hold; do sleep 0.05; done; test ! -e bad"}
    undo: {command: {shell: "touch undoing; while test -e hold-undo; do sleep 0.05; done"}}
    undo_when: attempted
"""


def begun(project: Project) -> None:
    project.write("one", PLAN.replace("NAME", "one"))
    project.write("other", "{drystone: 1, name: other, environment: live, tasks: {a: {noop: {}}}}")
    (project.folder / "hold").touch()


def test_an_environment_is_held_from_start_to_end_with_owner_and_reason(project: Project) -> None:
    begun(project)
    with project.start("run", "one") as running:
        project.until(lambda: (project.folder / "begun").exists())
        refused = project.run("run", "other")
        assert refused.returncode == 6
        said = f'environment "live" is held by run {project.shown()["id"]} (run) of process {running.pid} on'
        assert re.search(re.escape(said) + r" \S+ since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", refused.stderr), refused.stderr
        (project.folder / "hold").unlink()
        assert running.wait() == 0
    assert project.run("run", "other").returncode == 0


def test_an_environment_is_held_on_the_way_back_too(project: Project) -> None:
    begun(project)
    for name in ("bad", "hold-undo"):
        (project.folder / name).touch()
    (project.folder / "hold").unlink()
    with project.start("run", "one") as running:
        project.until(lambda: (project.folder / "undoing").exists())
        assert project.run("run", "other").returncode == 6
        (project.folder / "hold-undo").unlink()
        assert running.wait() == 3
    assert project.run("run", "other").returncode == 0


def test_an_environment_stays_held_when_its_process_dies_and_the_message_says_how_to_go_on(project: Project) -> None:
    begun(project)
    with project.start("run", "one") as running:
        project.until(lambda: (project.folder / "begun").exists())
        running.kill()
        running.wait()
    refused = project.run("run", "other")
    run = project.shown()["id"]
    assert refused.returncode == 6 and f"drystone resume {run}" in refused.stderr and f"drystone cancel {run}" in refused.stderr
    (project.folder / "hold").unlink()
    project.run("cancel", run)
    assert project.run("run", "other").returncode == 0


def test_an_environment_is_held_while_a_run_waits_for_an_approval(project: Project) -> None:
    begun(project)
    project.write("gate", "{drystone: 1, name: gate, environment: live, tasks: {ok: {approval: {self_approval: true}}}}")
    assert project.run("run", "gate").returncode == 5
    assert project.run("run", "other").returncode == 6
    assert project.run("approve", "last", "ok").returncode == 0
    assert project.run("run", "other").returncode == 0


def test_who_waits_in_a_line_is_told_its_place(project: Project) -> None:
    task = "{work: {command: {shell: 'touch begun; SCRIPT'}, undo: none}}"
    line = f"drystone: 1\nname: NAME\nconcurrency: {{key: line, timeout: 1m}}\ntasks: {task}\n"
    project.write("first", line.replace("NAME", "first").replace("SCRIPT", "while test -e hold; do sleep 0.05; done"))
    project.write("next", line.replace("NAME", "next").replace("SCRIPT", "true"))
    (project.folder / "hold").touch()
    with project.start("run", "first") as first:
        project.until(lambda: (project.folder / "begun").exists())
        ahead = project.shown()["id"]
        with project.start("run", "next") as second:
            project.until(lambda: project.shown()["id"] != ahead and "run.queued" in project.run("events", "last").stdout)
            assert f'"behind": ["{ahead}"]' in project.run("events", "last").stdout
            (project.folder / "hold").unlink()
            assert (first.wait(), second.wait()) == (0, 0)
