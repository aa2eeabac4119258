"""What earlier runs made and a run no longer has is named, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drystone import wiring
from drystone.app import leftovers, reading
from drystone.cli.main import run

PLAN = """\
drystone: 1
name: fan
inputs: {n: {type: integer, default: 3}, on: {type: boolean, default: true}}
environment: prod
tasks:
  vm:
    when: "{{ inputs.on }}"
    for_each: "{{ range(inputs.n) }}"
    noop: {}
  one: {noop: {}}
"""
State = Callable[[str], Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "drystone.toml").touch()
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "fan.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def keeps(project: Path) -> State:
    """Lets an instance keep something in its environment, as a kind with a state does."""

    def keep(instance: str) -> Path:
        folder = project / ".drystone" / "state" / "prod" / "fan" / instance
        folder.mkdir(parents=True)
        (folder / "terraform.tfstate").write_text("{}")
        return folder

    return keep


def left(project: Path) -> list[str]:
    world = wiring.world(project)
    return [folder.name for folder in leftovers.of(world, reading.look(world, "last").run)]


def test_an_instance_that_a_smaller_fan_out_no_longer_has_is_not_silently_forgotten(
    project: Path, keeps: State, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = {name: keeps(name) for name in ("vm[0]", "vm[2]", "one")}
    assert run(["run", "fan", "-i", "n=2"]) == 0
    err = capfd.readouterr().err
    assert f"note: vm[2] is not in this run, and what earlier runs made of it is still there: {folders['vm[2]']}" in err
    assert left(project) == ["vm[2]"]


def test_a_task_that_is_gone_from_the_plan_is_left_over(project: Path, keeps: State) -> None:
    keeps("database")
    assert run(["run", "fan"]) == 0
    assert left(project) == ["database"]


def test_what_the_run_has_what_it_skipped_and_what_is_empty_is_not(project: Path, keeps: State) -> None:
    keeps("vm[0]")
    keeps("one")
    (project / ".drystone" / "state" / "prod" / "fan" / "old").mkdir()
    assert run(["run", "fan", "-i", "on=false"]) == 0
    assert left(project) == []
