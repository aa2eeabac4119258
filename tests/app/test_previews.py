"""`drystone preview`, by the real command with a real Terraform: what it says before, what it leaves alone, and that it is done exactly."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engines.projects import Project

PLAN = """
drystone: 1
name: site
inputs:
  text: {type: string, default: hello}
  password: {type: string, secret: true, default: nothing}
  fail: {type: boolean, default: false}
environment: "{{ inputs.text | length }}"
tasks:
  base:
    terraform: {module: modules/base, vars: {text: "{{ inputs.text }}", password: "{{ inputs.password }}"}}
  page:
    template: {content: "{{ tasks.base.outputs.text }}\\n", dest: FOLDER/page.txt}
  known:
    noop: {outputs: {text: "{{ tasks.base.outputs.text }}"}}
  named:
    terraform: {module: modules/base, vars: {text: "{{ tasks.base.outputs.id }}"}}
  many:
    for_each: "{{ tasks.base.outputs.id | list }}"
    noop: {}
  maybe:
    when: "{{ tasks.base.outputs.id == 'x' }}"
    noop: {}
  never:
    when: "{{ inputs.fail }}"
    noop: {}
"""
MODULE = """
variable "text" { type = string }
variable "password" {
  type      = string
  sensitive = true
  default   = "none"
}
resource "terraform_data" "base" { input = { text = var.text, password = var.password } }
output "id" { value = terraform_data.base.id }
output "text" { value = var.text }
output "password" {
  value     = var.password
  sensitive = true
}
"""


@pytest.fixture
def site(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("site", PLAN.replace("FOLDER", str(tmp_path)).replace('environment: "{{ inputs.text | length }}"', "environment: here"))
    project.write("modules/base/main.tf", MODULE)
    return project


def ran(project: Project, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = project.run(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def preview(project: Project, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    found: dict[str, Any] = json.loads(ran(project, "preview", "site", *words, "--json", code=code).stdout)
    return {"": found, **{task["id"]: task for task in found["tasks"]}}


def test_what_is_known_is_exact_and_what_waits_says_for_what(site: Project) -> None:
    found = preview(site, "--detailed-exitcode", code=2)
    assert [(change["action"], change["what"]) for change in found["base"]["changes"]] == [("add", "terraform_data.base")]
    certainties = {name: task["certainty"] for name, task in found.items() if name}
    assert certainties == {
        "base": "exact", "page": "exact", "known": "exact", "never": "exact", "named": "partial", "many": "deferred", "maybe": "deferred",
    }  # fmt: skip
    assert found["named"]["reason"] == "it waits for tasks.base.outputs.id"
    assert found["named"]["changes"] == [{"action": "run", "what": "terraform_data.base", "detail": ""}]
    assert found["many"]["reason"] == "how many there are waits for tasks.base.outputs.id"
    assert found["maybe"]["reason"] == "whether it runs waits for tasks.base.outputs.id"
    assert (found["never"]["skipped"], found["never"]["reason"]) == (True, "its condition is false")
    assert "+hello" in found["page"]["changes"][0]["detail"]
    told = ran(site, "preview", "site").stdout
    assert told.endswith("Preview: 2 to add, 0 to change, 0 to destroy · 1 partial · 2 deferred\n")
    assert "↺ base: by terraform itself, also when it failed" in told


def test_a_preview_leaves_nothing_behind(site: Project) -> None:
    preview(site)
    assert json.loads(ran(site, "runs", "--json").stdout)["runs"] == []
    assert not (site.folder / "page.txt").exists()
    assert not list((site.folder / ".drystone").glob("previews")) and not list((site.folder / ".drystone").glob("*/here"))


def test_after_a_run_nothing_is_to_be_done(site: Project) -> None:
    ran(site, "run", "site")
    found = preview(site, "--detailed-exitcode")
    assert {task["certainty"] for name, task in found.items() if name} == {"exact"}
    assert found[""]["summary"]["text"] == "nothing to do"
    assert "many[0]" in found and found["maybe"]["skipped"]


def test_a_change_is_told_with_its_attributes_and_without_its_secrets(site: Project) -> None:
    ran(site, "run", "site")
    canary = f"canary-{os.urandom(6).hex()}"
    site.write("inputs.yaml", f"text: good day\npassword: {canary}\n")
    done = ran(site, "preview", "site", "--inputs", "inputs.yaml", "--json", "--out", "saved")
    base = next(task for task in json.loads(done.stdout)["tasks"] if task["id"] == "base")
    assert [change["action"] for change in base["changes"]] == ["change"]
    assert "input" in base["changes"][0]["detail"]
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.name != "inputs.yaml"]
    assert canary not in done.stdout + done.stderr
    assert [path for path in files if canary.encode() in path.read_bytes()] == []


def test_a_guard_is_an_error_of_the_preview(site: Project) -> None:
    guarded = "vars: {text: \"{{ inputs.text }}\"}, guards: {max_destroy: 0}}"
    site.write("site", f"drystone: 1\nname: site\nenvironment: here\ninputs: {{text: {{type: string, default: a}}}}\n"
                       f"tasks:\n  base:\n    terraform: {{module: modules/base, {guarded}\n")  # fmt: skip
    module = 'variable "text" {}\nresource "terraform_data" "base" {\n  triggers_replace = var.text\n}\n'
    site.write("modules/base/main.tf", module)
    ran(site, "run", "site")
    refused = ran(site, "preview", "site", "-itext=b", code=1)
    assert "a run would fail here: the plan destroys 1 resource and guards.max_destroy is 0" in refused.stdout


def test_a_saved_preview_is_applied_exactly(site: Project) -> None:
    site.write("site", "drystone: 1\nname: site\nenvironment: here\ninputs: {text: {type: string, default: a}}\n"
                       'tasks:\n  base:\n    terraform: {module: modules/base, vars: {text: "{{ inputs.text }}"}}\n')  # fmt: skip
    ran(site, "run", "site")
    ran(site, "preview", "site", "-itext=b", "--out", "saved")
    ran(site, "run", "--preview", "saved")
    assert "applying the saved plan of the preview" in ran(site, "logs").stdout
    assert "terraform plan" not in ran(site, "logs").stdout
    assert ran(site, "preview", "site", "-itext=b").stdout.endswith("Preview: nothing to do\n")
    again = ran(site, "run", "--preview", "saved", code=1)
    assert "base" in again.stderr and "serial" in again.stderr


@pytest.mark.parametrize(
    ("move", "reason"),
    [
        (lambda site: site.write("modules/base/main.tf", MODULE + "# more\n"), "modules/base/main.tf"),
        (lambda site: site.write("site", (site.folder / "plans/site.yaml").read_text() + "# more\n"), "plans/site.yaml"),
        (lambda site: ran(site, "run", "site", "-itext=c"), "serial"),
    ],
)
def test_a_saved_preview_is_refused_by_name_when_anything_moved(site: Project, move: Callable[[Project], object], reason: str) -> None:
    ran(site, "run", "site")
    ran(site, "preview", "site", "-itext=b", "--out", "saved")
    move(site)
    runs = len(json.loads(ran(site, "runs", "--json").stdout)["runs"])
    assert reason in ran(site, "run", "--preview", "saved", code=1).stderr
    assert len(json.loads(ran(site, "runs", "--json").stdout)["runs"]) == runs


def test_an_environment_that_a_run_has_is_not_previewed(site: Project) -> None:
    hold = "hold: {command: {shell: 'touch holding; sleep 60'}, undo: none}"
    site.write("slow", f"drystone: 1\nname: slow\nenvironment: here\ntasks:\n  {hold}\n")
    with site.start("run", "slow"):
        site.until(lambda: (site.folder / "holding").exists())
        assert "is held by run" in ran(site, "preview", "site", code=6).stderr
