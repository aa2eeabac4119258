"""DESIGN §4.1, order."""

from __future__ import annotations

import pytest
from tests.engines.projects import Project

PLAN = """
drystone: 1
name: order
tasks:
  late: {command: {shell: "echo late >> effects"}, undo: none}
  early: {command: {shell: "echo early >> effects"}, undo: none}
  urgent: {priority: 5, command: {shell: "echo urgent >> effects"}, undo: none}
  first: {command: {shell: "echo first >> effects"}, undo: none}
  second: {needs: [first], command: {shell: "echo second >> effects"}, undo: none}
"""


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_ENGINE_MAX_PARALLEL", "1")


def test_a_task_starts_when_all_that_it_needs_has_ended(project: Project) -> None:
    project.write("order", PLAN)
    assert project.run("run", "order").returncode == 0
    effects = project.lines("effects")
    assert effects.index("first") < effects.index("second")


def test_ready_tasks_start_by_longest_remaining_path_then_priority_then_name(project: Project) -> None:
    project.write("order", PLAN)
    assert project.run("run", "order").returncode == 0
    assert project.lines("effects") == ["first", "urgent", "early", "late", "second"]


def test_with_a_history_the_task_that_took_longest_starts_first(project: Project) -> None:
    slow = "{command: {shell: 'echo z >> effects; sleep 0.4'}, undo: none}"
    project.write("order", f"drystone: 1\nname: order\ntasks:\n  a: {{command: {{shell: 'echo a >> effects'}}, undo: none}}\n  z: {slow}\n")
    for _ in range(2):
        assert project.run("run", "order").returncode == 0
    assert project.lines("effects") == ["a", "z", "z", "a"]


def test_equal_inputs_give_equal_order(project: Project) -> None:
    project.write("order", PLAN)
    orders = []
    for _ in range(2):
        project.run("run", "order")
        orders.append(project.lines("effects"))
        (project.folder / "effects").unlink()
        # Without what it knows of earlier runs.
        for file in (project.folder / ".drystone").glob("drystone.db*"):
            file.unlink()
    assert orders[0] == orders[1]
