"""`drystone env destroy` says what would go before it takes it: by the real command and the real Terraform."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.engines.projects import Project

from drystone import wiring
from drystone.app import destruction, environments
from drystone.errors import RefusedError

TOWN = """
drystone: 1
name: town
inputs: {max: {type: integer, default: 9}, many: {type: integer, default: 2}}
environment: town
tasks:
  base: {terraform: {module: m, vars: {many: 1, secret: "{{ inputs.many }}-never-shown"}}}
  part:
    needs: [base]
    terraform: {module: m, vars: {many: "{{ inputs.many }}"}, guards: {max_destroy: "{{ inputs.max }}"}}
  note:
    needs: [part]
    command: {shell: "touch note"}
    undo: {command: {shell: "rm -f note"}}
  mail:
    needs: [note]
    command: {shell: "touch mail"}
    undo: irreversible
"""
MODULE = """
variable "many" {}
variable "secret" {
  default   = "x"
  sensitive = true
}
resource "terraform_data" "a" {
  count = var.many
  input = var.secret
}
"""


@pytest.fixture
def town(project: Project) -> Project:
    """An environment that stands: three resources in two tasks, a file, and a mail that cannot be taken back."""
    project.write("town", TOWN)
    project.write("m/main.tf", MODULE)
    assert project.run("run", "town").returncode == 0
    return project


def look(project: Project, *words: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The command where nobody can answer; what it says to programs, too."""
    done = project.run("env", "destroy", "town", *words)
    told: dict[str, Any] = json.loads(project.run("env", "destroy", "town", "--json").stdout.splitlines()[0])
    return done, told


def stands(project: Project) -> list[str]:
    return [task["id"] for task in json.loads(project.run("env", "show", "town", "--json").stdout)["tasks"]]


def test_what_goes_is_told_resource_by_resource_and_counted(town: Project) -> None:
    done, told = look(town)
    assert done.returncode == 1 and "nobody agreed" in done.stderr
    lines = done.stderr.splitlines()
    assert lines[1:10] == [
        "  - note: by command",
        "  - part: 2 to destroy",
        "      - terraform_data.a[0]",
        "      - terraform_data.a[1]",
        "  - base: 1 to destroy",
        "      - terraform_data.a[0]",
        "  - mail: cannot be undone",
        "Destroy: 3 to destroy in 2 tasks · 1 task undone by what the plan says · 1 staying",
        lines[9],
    ]
    assert (told["type"], told["destroy"]) == ("preview", 3)
    assert [change["what"] for change in told["tasks"][1]["changes"]] == ["terraform_data.a[0]", "terraform_data.a[1]"]
    assert "never-shown" not in done.stderr + json.dumps(told)
    assert set(stands(town)) == {"base", "part", "note", "mail"}


def test_what_is_gone_already_is_not_counted(town: Project) -> None:
    assert town.run("run", "town", "-i", "many=0").returncode == 0
    _, told = look(town)
    assert told["destroy"] == 1


def test_what_a_guard_protects_is_refused_before_anything_goes(town: Project) -> None:
    assert town.run("run", "town", "-i", "max=1").returncode == 0
    done, told = look(town, "--yes")
    assert done.returncode == 1
    assert "nothing was taken down: part: the plan destroys 2 resources and guards.max_destroy is 1" in done.stderr
    assert told["tasks"][1]["refused"].startswith("the plan destroys 2 resources")
    assert set(stands(town)) == {"base", "part", "note", "mail"}
    assert town.run("run", "town").returncode == 0
    assert town.run("env", "destroy", "town", "--yes").returncode == 4, "the mail stays"
    assert not (town.folder / "note").exists()


def test_what_cannot_be_looked_at_says_why_and_does_not_stop_the_rest(town: Project) -> None:
    town.write("drystone.toml", '[terraform]\nbinary = "no-such-terraform"\n')
    done, told = look(town)
    assert done.stderr.count("it cannot be looked at now") == 2
    assert "2 not to be looked at now" in told["summary"]


def test_an_environment_that_a_run_has_is_not_looked_at(town: Project) -> None:
    held = TOWN.replace("name: town", "name: held").replace('"touch note"', '"touch holding; while test -e holding; do sleep 0.05; done"')
    town.write("held", held)
    holding: Callable[[], bool] = (town.folder / "holding").exists
    with town.start("run", "held") as running:
        town.until(holding)
        refused = town.run("env", "destroy", "town", "--yes")
        assert refused.returncode == 6 and "is held by run" in refused.stderr
        assert "to destroy" not in refused.stderr
        (town.folder / "holding").unlink()
        running.wait(60)


def test_an_answer_to_what_has_changed_since_is_void(town: Project) -> None:
    world = wiring.world(town.folder)
    seen = environments.content(world, "town")
    destruction.check_unmoved(world, seen)
    assert town.run("run", "town", "-i", "many=3").returncode == 0
    with pytest.raises(RefusedError, match="was changed since it was looked at"):
        destruction.check_unmoved(world, seen)
