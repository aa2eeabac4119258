"""What a new run is told of earlier ones, by the real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from drystone import wiring
from drystone.app import history, places, plans
from drystone.app.world import World
from drystone.cli.main import run
from drystone.core.graph import Graph

PLAN = """\
drystone: 1
name: fan
inputs: {n: {type: integer, default: 3}, fails: {type: boolean, default: false}}
tasks:
  vm: {for_each: "{{ range(inputs.n) }}", noop: {}}
  end: {needs: [vm], noop: {}}
  maybe: {when: "{{ inputs.fails }}", needs: [end], command: {argv: ["false"]}, undo: none}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "drystone.toml").touch()
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "fan.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples(project: Path) -> dict[str, int]:
    world, graph = opened(project)
    return {task: found.samples for task, found in history.expected(world, graph).items()}


def opened(project: Path) -> tuple[World, Graph]:
    world = wiring.world(project)
    found = places.find_plan("fan", cwd=project, project=project, library=world.library)
    return world, plans.load(world, found)[0]


def test_looking_back_where_nothing_ever_ran_finds_nothing_and_makes_no_store(project: Path) -> None:
    assert samples(project) == {}
    assert not wiring.world(project).has_store()


def test_every_instance_of_runs_that_succeeded_counts_and_what_was_skipped_or_failed_does_not(project: Path) -> None:
    assert run(["run", "fan"]) == 0
    assert run(["run", "fan", "-i", "n=2"]) == 0
    assert run(["run", "fan", "-i", "fails=true"]) == 3
    assert samples(project) == {"vm": 5, "end": 2}


def test_runs_of_many_instances_are_looked_at_less_far_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        assert run(["run", "fan"]) == 0
    monkeypatch.setattr(history, "MOST_INSTANCES", 10)
    assert samples(project) == {"vm": 9, "end": 3}
