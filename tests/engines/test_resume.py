"""Going on with a run from a task, and with its failed instances only, through the real command."""

from __future__ import annotations

import pytest
from tests.engines.projects import Project

CHAIN = """
drystone: 1
name: chain
on_failure: stop
tasks:
  a: {command: {shell: "echo a >> effects"}, undo: none}
  b: {needs: [a], command: {shell: "echo b >> effects; test ! -e broken"}, undo: none}
  c: {needs: [b], command: {shell: "echo c >> effects"}, undo: none}
  other: {command: {shell: "echo other >> effects"}, undo: none}
"""
BATCH = """
drystone: 1
name: batch
tasks:
  part:
    for_each: [x, y, z]
    max_failures: 2
    command: {shell: "echo {{ each.value }} >> effects; test ! -e broken-{{ each.value }}"}
    undo: none
  report: {needs: [part], command: {shell: "echo report >> effects"}, undo: none}
"""


def touch(project: Project, name: str) -> None:
    (project.folder / name).touch()


def clear(project: Project, name: str) -> None:
    (project.folder / name).unlink()
    (project.folder / "effects").unlink()


def test_a_stopped_run_goes_on_at_the_failed_task_and_repeats_nothing_else(project: Project) -> None:
    project.write("chain", CHAIN)
    touch(project, "broken")
    assert project.run("run", "chain").returncode == 7
    clear(project, "broken")
    assert project.run("resume", "last").returncode == 0
    assert project.lines("effects") == ["b", "c"]


def test_a_run_goes_on_from_a_task_which_is_done_again_with_all_behind_it(project: Project) -> None:
    project.write("chain", CHAIN)
    assert project.run("run", "chain").returncode == 0
    (project.folder / "effects").unlink()
    assert project.run("resume", "last", "--from", "b").returncode == 0
    assert project.lines("effects") == ["b", "c"]
    assert project.shown()["status"] == "succeeded"


def test_a_failed_run_from_an_earlier_task_does_the_failed_ones_too(project: Project) -> None:
    project.write("chain", CHAIN)
    touch(project, "broken")
    project.run("run", "chain")
    clear(project, "broken")
    assert project.run("resume", "last", "--from", "a").returncode == 0
    assert project.lines("effects") == ["a", "b", "c"]


def test_of_a_fan_out_only_the_failed_instances_are_done_again_and_the_report_that_lacked_them(project: Project) -> None:
    project.write("batch", BATCH)
    touch(project, "broken-y")
    assert project.run("run", "batch").returncode == 0
    clear(project, "broken-y")
    assert project.run("resume", "last", "--only-failed").returncode == 0
    assert project.lines("effects") == ["y", "report"]
    assert [task["status"] for task in project.shown()["tasks"]] == ["succeeded"] * 4
    nothing = project.run("resume", "last", "--only-failed")
    assert nothing.returncode == 1 and "no instance of it failed" in nothing.stderr


def test_one_instance_and_what_is_behind_its_task(project: Project) -> None:
    project.write("batch", BATCH)
    project.run("run", "batch")
    (project.folder / "effects").unlink()
    assert project.run("resume", "last", "--from", "part[1]").returncode == 0
    assert project.lines("effects") == ["y", "report"]


def test_the_failed_instances_and_the_report_over_all(project: Project) -> None:
    project.write("batch", BATCH)
    touch(project, "broken-y")
    project.run("run", "batch")
    clear(project, "broken-y")
    assert project.run("resume", "last", "--only-failed", "--from", "report").returncode == 0
    assert project.lines("effects") == ["y", "report"]


def test_a_fan_out_over_what_would_be_done_again_is_not_gone_on_with(project: Project) -> None:
    project.write(
        "grow",
        """
drystone: 1
name: grow
tasks:
  list: {command: {shell: "cat items", parse: lines}, undo: none}
  part: {for_each: "{{ tasks.list.outputs.stdout }}", command: {shell: "echo {{ each.value }} >> effects"}, undo: none}
""",
    )
    (project.folder / "items").write_text("a\nb\n")
    assert project.run("run", "grow").returncode == 0
    refused = project.run("resume", "last", "--from", "list")
    assert refused.returncode == 1 and 'the items of "part" come from "list"' in refused.stderr and "--from part" in refused.stderr
    assert project.run("resume", "last", "--from", "part").returncode == 0
    assert sorted(project.lines("effects")) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(("word", "said"), [("bb", "has no task"), ("part[7]", "has no task")])
def test_a_task_that_is_not_there_is_told_with_the_nearest(project: Project, word: str, said: str) -> None:
    project.write("chain", CHAIN)
    project.run("run", "chain")
    refused = project.run("resume", "last", "--from", word)
    assert refused.returncode == 1 and said in refused.stderr


def test_a_run_that_was_taken_back_does_not_go_on_from_a_task(project: Project) -> None:
    project.write("chain", CHAIN.replace("on_failure: stop", "on_failure: compensate"))
    touch(project, "broken")
    assert project.run("run", "chain").returncode == 3
    refused = project.run("resume", "last", "--from", "b")
    assert refused.returncode == 1 and "was undone" in refused.stderr


LEFT = """
drystone: 1
name: left
tasks:
  first:
    command: {shell: "echo first >> effects; test ! -e hold || sleep 60", idempotent: true}
    undo: {command: {shell: "echo back >> effects"}}
    undo_when: attempted
  other: {needs: [first], command: {shell: "echo other >> effects"}, undo: none}
"""


def test_a_cancel_of_a_run_whose_process_died_makes_no_attempt_again(project: Project) -> None:
    project.write("left", LEFT)
    (project.folder / "hold").touch()
    with project.start("run", "left") as child:
        project.until(lambda: project.lines("effects"))
        child.kill()
        child.wait()
    (project.folder / "hold").unlink()
    project.run("cancel", "last")
    assert project.lines("effects") == ["first", "back"] and project.shown()["status"] == "compensated"


def test_a_cancel_reaches_a_run_whose_process_died_in_the_line(project: Project) -> None:
    line = "\nconcurrency: {key: k, on_conflict: wait}\ntasks:"
    project.write("left", LEFT.replace("\ntasks:", line))
    (project.folder / "hold").touch()
    with project.start("run", "left") as first:
        project.until(lambda: project.lines("effects"))
        ahead = project.shown()["id"]
        with project.start("run", "left") as second:
            project.until(lambda: project.shown()["id"] != ahead and "run.queued" in project.run("events", "last").stdout)
            second.kill()
            second.wait()
        first.kill()
        first.wait()
    queued = project.shown()["id"]
    project.run("cancel", ahead)
    project.run("cancel", queued)
    assert project.lines("effects") == ["first", "back"] and project.shown(queued)["status"] == "cancelled"
