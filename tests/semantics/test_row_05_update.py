"""DESIGN §4.5, update is not create."""

from __future__ import annotations

from tests.engines.projects import Project

PLAN = """
drystone: 1
name: site
environment: live
inputs: {version: {type: string}, fail: {type: boolean, default: false}}
tasks:
  page:
    command: {shell: "echo {{ inputs.version }} > page"}
    undo: restore
  extra:
    when: "{{ inputs.fail }}"
    command: {shell: "echo extra > extra"}
    undo: {command: {shell: "rm extra"}}
  check:
    needs: [page, extra]
    run_if: none_failed
    command: {shell: "{{ 'exit 1' if inputs.fail else 'true' }}"}
    undo: none
"""


def test_a_failed_update_puts_back_the_last_good_version(project: Project) -> None:
    project.write("site", PLAN)
    assert project.run("run", "site", "-i", "version=one").returncode == 0
    assert project.run("run", "site", "-i", "version=two").returncode == 0
    assert project.run("run", "site", "-i", "version=three", "-i", "fail=true").returncode == 3
    assert project.lines("page") == ["two"]


def test_only_what_this_run_created_is_destroyed(project: Project) -> None:
    project.write("site", PLAN)
    assert project.run("run", "site", "-i", "version=one").returncode == 0
    assert project.run("run", "site", "-i", "version=two", "-i", "fail=true").returncode == 3
    assert not (project.folder / "extra").exists()
    assert project.lines("page") == ["one"], "what was there before is there still"


def test_the_last_good_version_is_applied_as_its_own_plan_said_though_the_plan_was_changed_since(project: Project) -> None:
    project.write("site", PLAN)
    assert project.run("run", "site", "-i", "version=one").returncode == 0
    project.write("site", PLAN.replace("echo {{ inputs.version }}", "echo new {{ inputs.version }}"))
    assert project.run("run", "site", "-i", "version=two", "-i", "fail=true").returncode == 3
    assert project.lines("page") == ["one"]
