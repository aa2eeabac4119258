"""`drystone env drift`, by the real command with a real Terraform: what is found, what is ignored, and that it is put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.engines.projects import Project

PLAN = """
drystone: 1
name: site
inputs: {text: {type: string, default: hello}}
environment: staging
tasks:
  base:
    terraform: {module: modules/base, vars: {text: "{{ inputs.text }}"}}
  page:
    template: {content: "{{ run.id }} {{ tasks.base.outputs.text }}\\n", dest: FOLDER/page.txt, mode: "0640"}
  mark:
    needs: [base]
    command: {shell: "echo {{ tasks.base.outputs.id }} >> marks"}
    undo: {command: {shell: "rm -f marks"}}
  free:
    command: {shell: "echo free >> frees"}
    undo: {command: {shell: "rm -f frees"}}
  hold:
    command: {idempotent: true, shell: "touch holding; while test -e hold; do sleep 0.05; done"}
    undo: none
"""
MODULE = """
terraform {
  backend "local" {}
}
variable "text" { type = string }
resource "terraform_data" "base" { input = var.text }
output "text" { value = var.text }
output "id" { value = terraform_data.base.id }
"""


@pytest.fixture
def site(tmp_path: Path) -> Project:
    """A good run stands; the module has a backend of its own."""
    project = Project(tmp_path)
    project.write("site", PLAN.replace("FOLDER", str(tmp_path)))
    project.write("modules/base/main.tf", MODULE)
    ran(project, "run", "site")
    return project


def ran(project: Project, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = project.run(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def drift(project: Project, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(project, "env", "drift", "staging", "--json", *words, code=code).stdout)
    return found


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {task["id"]: task["verdict"] for task in found["tasks"]}


def lose_the_base(project: Project) -> None:
    """As if somebody had deleted it: Terraform's own state does not have it any more."""
    state = project.folder / "modules/base/terraform.tfstate"
    state.unlink()


def test_what_stands_as_it_was_is_no_drift_and_what_cannot_be_checked_is_counted(site: Project) -> None:
    found = drift(site)
    assert verdicts(found) == {"base": "as_it_was", "page": "as_it_was", "mark": "unchecked", "free": "unchecked", "hold": "unchecked"}
    told = ran(site, "env", "drift", "staging").stdout
    assert told.endswith("Drift: 0 tasks of 5 drifted · 3 cannot be checked\n")
    assert not list((site.folder / ".drystone").glob("previews"))
    ran(site, "run", "site", "--changed-only")
    assert verdicts(drift(site))["page"] == "as_it_was", "it was made with the id of the run that made it"


def test_drift_is_told_by_name_and_put_back_with_the_good_version_and_what_rests_on_it(site: Project) -> None:
    good = site.shown()
    lose_the_base(site)
    (site.folder / "page.txt").write_text("scribbled\n")
    site.write("modules/base/main.tf", MODULE.replace("input = var.text", 'input = "edited since"'))
    found = drift(site, code=2)
    changes = {task["id"]: (change["what"], change["attributes"]) for task in found["tasks"] for change in task["changes"]}
    assert changes == {"base": ("terraform_data.base", []), "page": (f"{site.folder}/page.txt", ["content"])}
    assert found["summary"]["text"] == "2 tasks of 5 drifted · 3 cannot be checked"
    assert verdicts(drift(site, "--task", "mark")) == {"mark": "unchecked"}
    assert "--yes" in ran(site, "env", "drift", "staging", "--reconcile", code=1).stderr
    ran(site, "env", "drift", "staging", "--reconcile", "--yes")
    again = site.shown()
    assert again["id"] != good["id"] and again["bundle"] == good["bundle"] and again["inputs"] == good["inputs"]
    assert (len(site.lines("marks")), len(site.lines("frees"))) == (2, 1), "what rests on what was made anew, and nothing else"
    drift(site)


def test_the_mode_of_a_file_is_drift_too(site: Project) -> None:
    (site.folder / "page.txt").chmod(0o666)
    page = next(task for task in drift(site, code=2)["tasks"] if task["id"] == "page")
    assert (page["changes"][0]["attributes"], page["changes"][0]["detail"]) == (["mode"], "mode: 0666 → 0640")


def test_known_drift_is_reported_as_ignored_until_its_day_is_over(site: Project) -> None:
    (site.folder / "page.txt").write_text("scribbled\n")
    rule = '[[drift.ignore]]\nenvironment = "stag*"\ntask = "page"\nattribute = "content"\nreason = "by hand"\nuntil = "{}"\n'
    site.write("drystone.toml", rule.format("2999-12-31"))
    found = drift(site)
    assert verdicts(found)["page"] == "ignored"
    told = ran(site, "env", "drift", "staging").stdout
    assert 'ignored: environment "stag*", task "page", attribute "content", until 2999-12-31: by hand' in told
    assert "0 tasks of 5 drifted · 1 ignored" in told
    site.write("drystone.toml", rule.format("2020-01-01"))
    done = ran(site, "env", "drift", "staging", code=2)
    assert "a rule has expired" in done.stderr and "until 2020-01-01: by hand" in done.stderr


def test_a_look_that_goes_wrong_is_a_finding_and_an_error(site: Project) -> None:
    (site.folder / "page.txt").unlink()
    (site.folder / "page.txt").mkdir()
    page = next(task for task in drift(site, code=1)["tasks"] if task["id"] == "page")
    assert page["verdict"] == "failed" and "page.txt" in page["reason"]


def test_no_such_environment_and_no_such_task_are_refused(site: Project) -> None:
    assert "there are: staging" in ran(site, "env", "drift", "stagin", code=1).stderr
    assert 'did you mean "base"' in ran(site, "env", "drift", "staging", "--task", "bass", code=1).stderr


def test_nobody_looks_beside_a_run(site: Project) -> None:
    (site.folder / "holding").unlink()
    (site.folder / "hold").touch()
    with site.start("run", "site"):
        site.until(lambda: (site.folder / "holding").exists())
        assert "held by run" in ran(site, "env", "drift", "staging", code=6).stderr


def test_no_run_begins_beside_a_look_and_one_that_died_is_in_nobodys_way(site: Project) -> None:
    fifo = site.folder / "page.txt"
    fifo.unlink()
    os.mkfifo(fifo)
    # Whoever reads a pipe that nobody writes to waits.
    with site.start("env", "drift", "staging", "--task", "page") as looker:
        site.until(lambda: '"reason": "drift"' in site.run("env", "list", "--json").stdout)
        assert "(drift)" in ran(site, "run", "site", code=6).stderr
        assert "looked at for drift" in ran(site, "env", "drift", "staging", code=6).stderr
        os.kill(looker.pid, signal.SIGKILL)
        looker.wait(60)
    fifo.unlink()
    fifo.write_text("back\n")
    assert verdicts(drift(site, code=2))["page"] == "drifted"


def test_what_was_taken_down_does_not_drift(site: Project) -> None:
    ran(site, "env", "destroy", "staging", "--yes")
    assert drift(site)["tasks"] == []
