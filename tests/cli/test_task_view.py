"""What a person reads of one task: its attempts, and how far each got with the resources that it worked on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drystone.cli import task_view
from drystone.cli.main import run

HALF = "drystone: 1\nname: half\ntasks:\n  app: {terraform: {module: m, vars: {password: hunter2-hunter2}}}\n"
MODULE = """
variable "password" {
  sensitive = true
}
resource "terraform_data" "first" {}
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "echo the disk is full >&2; exit 3" }
}
resource "terraform_data" "third" { input = [terraform_data.second.id, var.password] }
"""
TABLE = """\
    resources (1 done, 1 failed, 1 not reached):
      ✓ terraform_data.first   create  done
      ✗ terraform_data.second  create  failed
      · terraform_data.third   create  not reached
"""

Read = Callable[..., str]


@pytest.fixture
def failed(project: Path) -> Path:
    """A project whose last run failed half-way, in the real Terraform."""
    (project / "plans/half.yaml").write_text(HALF)
    (project / "m").mkdir()
    (project / "m/main.tf").write_text(MODULE)
    assert run(["run", "half"]) == 3
    return project


@pytest.fixture
def read(capfd: pytest.CaptureFixture[str]) -> Read:
    """What a command prints on standard output."""

    def read(*argv: str, code: int = 0) -> str:
        capfd.readouterr()
        assert run(list(argv)) == code
        return capfd.readouterr().out

    return read


def test_a_half_made_task_shows_the_fate_of_each_resource(failed: Path, read: Read) -> None:
    said = read("show", "last", "app")
    assert "attempt 1: failed after" in said and "Output: the disk is full" in said
    assert TABLE in said
    assert "undo, attempt 1: succeeded" in said
    assert "  resources (1 done, 1 failed, 1 not reached):\n" in read("show", "last")


def test_json_has_the_fate_of_each_resource_with_its_attempt(failed: Path, read: Read) -> None:
    whole: dict[str, Any] = json.loads(read("show", "--json"))
    (attempt,) = whole["tasks"][0]["attempts"]
    assert [item["status"] for item in attempt["result"]["resources"]] == ["done", "failed", "not_reached"]
    one: dict[str, Any] = json.loads(read("show", "last", "app", "--json"))
    assert one == {"format": 1, "id": whole["id"], "tasks": whole["tasks"]}


def test_a_task_that_the_run_does_not_have_is_refused_with_a_suggestion(
    failed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", "last", "ap"]) == 1
    assert 'did you mean "app"?' in capfd.readouterr().err


def test_of_many_resources_the_most_urgent_are_told() -> None:
    fates = ["done"] * 20 + ["not_reached"] * 20 + ["failed", "unknown"]
    listed = [{"address": f"r.{number}", "action": "create", "status": fate} for number, fate in enumerate(fates)]
    lines = list(task_view.resources({"resources": listed}, 4))
    assert [line.split()[1] for line in lines[1:5]] == ["r.40", "r.41", "r.20", "r.21"]
    assert lines[5] == "  and 38 more"


@pytest.mark.parametrize("result", [None, {}, {"resources": 3}, {"resources": [1, {"status": "done"}]}])
def test_a_result_of_another_shape_tells_of_no_resources(result: dict[str, Any] | None) -> None:
    assert list(task_view.resources(result)) == []
