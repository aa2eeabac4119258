"""`drystone env`, by the real command: what stands, who has it, taking it down, breaking a lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

from tests.engines.projects import Project

PLAN = """
drystone: 1
name: site
inputs:
  parts: {type: integer, default: 2}
  fail: {type: boolean, default: false}
environment: staging
tasks:
  base:
    terraform: {module: modules/base, vars: {text: hello}}
  part:
    needs: [base]
    for_each: "{{ range(inputs.parts) }}"
    command: {shell: "test -e part-{{ each.key }} || touch part-{{ each.key }}"}
    undo: {command: {shell: "rm -f part-{{ each.key }}; echo {{ each.key }} >> removed"}}
  hold:
    needs: [part]
    command: {idempotent: true, shell: "touch holding; while test -e hold; do sleep 0.05; done; {{ 'false' if inputs.fail else 'true' }}"}
    undo: none
outputs: {text: "{{ tasks.base.outputs.text }}", address: "{{ tasks.base.outputs.address }}"}
"""
MODULE = """
variable "text" { type = string }
resource "terraform_data" "base" { input = var.text }
output "text" { value = terraform_data.base.output }
output "address" { value = "192.0.2.7" }
output "name" { value = "web-1" }
output "user" { value = "deploy" }
output "groups" { value = ["app"] }
output "password" {
  value     = "never-shown"
  sensitive = true
}
"""


def site(project: Project) -> None:
    project.write("site", PLAN)
    project.write("modules/base/main.tf", MODULE)


def ran(project: Project, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = project.run(*words)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def shown(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(project, "env", "show", "staging", "--json").stdout)
    return found


def test_an_environment_shows_what_stands_since_which_run_and_its_outputs(project: Project) -> None:
    site(project)
    assert "there is no environment" in ran(project, "env", "list").stderr
    ran(project, "run", "site")
    first = project.shown()["id"]
    ran(project, "run", "site", "-iparts=3")
    listed = json.loads(ran(project, "env", "list", "--json").stdout)["environments"]
    assert [(item["name"], item["plans"], item["lock"]) for item in listed] == [("staging", ["site"], None)]
    found = shown(project)
    assert [task["id"] for task in found["tasks"]] == ["base", "part[0]", "part[1]", "part[2]"]
    assert found["outputs"] == {"site": {"text": "hello", "address": "192.0.2.7"}}
    told = ran(project, "env", "show", "staging").stdout
    assert "text = hello" in told and "never-shown" not in told + json.dumps(found)
    assert first not in {task["run"] for task in found["tasks"]}, "the newest run has them all"
    assert ran(project, "env", "show", "stagin", code=1).stderr.count("there are: staging") == 1


def test_what_was_undone_does_not_stand_and_what_an_older_run_left_does(project: Project) -> None:
    site(project)
    ran(project, "run", "site", "-iparts=3")
    ran(project, "run", "site", "-iparts=1")
    runs = {task["id"]: task["run"] for task in shown(project)["tasks"]}
    assert runs["part[2]"] != runs["part[0]"]
    ran(project, "undo", "last", "--yes")
    ran(project, "undo", runs["part[2]"], "--yes")
    assert shown(project)["tasks"] == []


def test_the_state_of_a_task_is_printed_as_terraform_writes_it_also_an_earlier_one(project: Project) -> None:
    site(project)
    ran(project, "run", "site")
    first = json.loads(ran(project, "env", "state", "staging", "base").stdout)
    assert first["outputs"]["password"]["value"] == "never-shown"
    project.write("modules/base/main.tf", MODULE + 'resource "terraform_data" "more" {}\n')
    ran(project, "run", "site")
    newer = json.loads(ran(project, "env", "state", "staging", "site/base").stdout)
    assert newer["serial"] > first["serial"]
    assert {item["name"] for item in newer["resources"]} == {"base", "more"}
    assert json.loads(ran(project, "env", "state", "staging", "base", "--serial", str(first["serial"])).stdout) == first
    (task,) = (task for task in shown(project)["tasks"] if task["id"] == "base")
    lineage = {"workspace": "", "lineage": first["lineage"]}
    kept = [{"serial": first["serial"], "current": False} | lineage, {"serial": newer["serial"], "current": True} | lineage]
    assert [item for item in task["states"] if item["serial"] in (first["serial"], newer["serial"])] == kept
    (line,) = (line for line in ran(project, "env", "show", "staging").stdout.splitlines() if line.startswith("base "))
    assert f"  {newer['serial']}  " in line


def test_a_state_that_is_not_there_is_refused_with_those_that_are(project: Project) -> None:
    site(project)
    ran(project, "run", "site")
    assert "there are: " in ran(project, "env", "state", "staging", "base", "--serial", "99", code=1).stderr
    assert 'did you mean "base"?' in ran(project, "env", "state", "staging", "bas", code=1).stderr
    assert 'kind "command" keeps none' in ran(project, "env", "state", "staging", "part[0]", code=1).stderr
    assert "there are: default" in ran(project, "env", "state", "staging", "base", "--workspace", "blue", code=1).stderr


def test_destroy_says_what_it_takes_down_needs_a_yes_and_leaves_nothing(project: Project) -> None:
    site(project)
    ran(project, "run", "site", "-iparts=3")
    ran(project, "run", "site", "-iparts=1")
    refused = ran(project, "env", "destroy", "staging", code=1)
    assert "--yes" in refused.stderr and "  - part[2]: by command\n" in refused.stderr
    assert (project.folder / "part-2").exists()
    ran(project, "env", "destroy", "staging", "--yes")
    assert project.lines("removed")[-1] == "0", "what only an older run had goes first"
    assert sorted(project.lines("removed")) == ["0", "1", "2"]
    assert not list(project.folder.glob("part-*"))
    assert not list((project.folder / ".drystone").glob("*/staging/**/*tfstate*"))
    assert shown(project)["tasks"] == []
    assert "nothing stands" in ran(project, "env", "destroy", "staging", "--yes").stderr
    # It can be made again, and taken down again.
    ran(project, "run", "site")
    assert [task["id"] for task in shown(project)["tasks"]] == ["base", "part[0]", "part[1]"]
    ran(project, "env", "destroy", "staging", "--yes")
    assert shown(project)["tasks"] == []


def test_the_hosts_of_an_environment_are_an_inventory(project: Project) -> None:
    site(project)
    ran(project, "run", "site")
    found = json.loads(ran(project, "env", "inventory", "staging", "--list").stdout)
    assert found["app"]["hosts"] == found["base"]["hosts"] == ["web-1"]
    assert found["_meta"]["hostvars"]["web-1"] == {"ansible_host": "192.0.2.7", "ansible_user": "deploy"}
    assert json.loads(ran(project, "env", "inventory", "staging", "--host", "web-1").stdout)["ansible_host"] == "192.0.2.7"
    assert "there are: web-1" in ran(project, "env", "inventory", "staging", "--host", "web-2", code=1).stderr


def test_a_lock_is_broken_for_a_reason_and_its_run_can_write_nothing_more(project: Project) -> None:
    site(project)
    (project.folder / "hold").touch()
    with project.start("run", "site") as holder:
        project.until(lambda: (project.folder / "holding").exists())
        assert "--reason" in project.run("env", "unlock", "staging").stderr
        alive = ran(project, "env", "unlock", "staging", "--reason", "stuck", code=6)
        assert "--force" in alive.stderr
        assert "held by run" in ran(project, "env", "destroy", "staging", "--yes", code=6).stderr
        ran(project, "env", "unlock", "staging", "--reason", "stuck since noon", "--force")
        holder.wait(60)
    broken = [json.loads(line) for line in ran(project, "events").stdout.splitlines() if "lock.broken" in line]
    assert [(event["data"]["reason"], event["data"]["forced"]) for event in broken] == [("stuck since noon", True)]
    assert shown(project)["lock"] is None
    (project.folder / "hold").unlink()
    ran(project, "resume", "last")
    assert project.shown()["status"] == "succeeded"


def test_a_lock_of_a_dead_process_is_freed_without_force(project: Project) -> None:
    site(project)
    (project.folder / "hold").touch()
    with project.start("run", "site") as holder:
        project.until(lambda: (project.folder / "holding").exists())
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(60)
    assert shown(project)["lock"] is not None
    ran(project, "env", "unlock", "staging", "--reason", "its machine is gone")
    (project.folder / "hold").unlink()
    ran(project, "run", "site")
    assert "is not locked" in ran(project, "env", "unlock", "staging", "--reason", "again", code=1).stderr


CHANGED_ONLY = """
drystone: 1
name: site
inputs:
  version: {type: string, default: "1"}
  secret: {type: string, secret: true, default: a}
environment: staging
tasks:
  base:
    terraform: {module: modules/base, vars: {text: "{{ inputs.version[0] }}"}}
  app:
    template: {src: app.j2, dest: APP, vars: {version: "{{ inputs.version }}", text: "{{ tasks.base.outputs.text }}"}}
  hook:
    needs: [app]
    command: {argv: [./hook, "{{ run.id }}"], env: {SECRET: "{{ inputs.secret }}"}}
    undo: none
outputs: {text: "{{ tasks.base.outputs.text }}", hook: "{{ tasks.hook.outputs.stdout }}"}
"""


def test_changed_only_leaves_what_nothing_has_changed_for_and_gives_what_it_gave(project: Project) -> None:
    project.write("site", CHANGED_ONLY.replace("APP", str(project.folder / "app.txt")))
    project.write("modules/base/main.tf", MODULE)
    project.write("app.j2", "{{ version }} {{ text }}\n")
    project.write("hook.sh", "")
    (project.folder / "hook").write_text("#!/bin/sh\necho hooked; echo x >> hooks\n")
    (project.folder / "hook").chmod(0o755)

    def done(*words: str) -> dict[str, str]:
        ran(project, "run", "site", "--changed-only", *words)
        return {task["id"]: task["status"] for task in project.shown()["tasks"]}

    assert done() == {"base": "succeeded", "app": "succeeded", "hook": "succeeded"}, "nothing is known yet"
    outputs = project.shown()["outputs"]
    first = project.shown()["id"]
    assert done() == {"base": "skipped", "app": "skipped", "hook": "skipped"}
    assert project.shown()["outputs"] == outputs
    assert f"unchanged since run {first}" in ran(project, "logs").stdout
    assert project.lines("hooks") == ["x"]
    assert done("-iversion=1.1") == {"base": "skipped", "app": "succeeded", "hook": "skipped"}
    assert done("-iversion=1.1", "-isecret=b") == {"base": "skipped", "app": "skipped", "hook": "succeeded"}
    project.write("app.j2", "changed {{ version }} {{ text }}\n")
    assert done("-iversion=1.1", "-isecret=b") == {"base": "skipped", "app": "succeeded", "hook": "skipped"}
    assert done("-iversion=2", "-isecret=b") == {"base": "succeeded", "app": "succeeded", "hook": "skipped"}
    # What was left as it stood is destroyed with the rest.
    ran(project, "env", "destroy", "staging", "--yes")
    assert shown(project)["tasks"] == []
    assert done("-iversion=2", "-isecret=b") == {"base": "succeeded", "app": "succeeded", "hook": "skipped"}
    ran(project, "undo", "last", "--yes")
    assert done("-iversion=2", "-isecret=b") == {"base": "succeeded", "app": "succeeded", "hook": "skipped"}


def test_changed_only_needs_an_environment(project: Project) -> None:
    project.write("none", "drystone: 1\nname: none\ntasks: {a: {noop: {}}}\n")
    assert "has no environment" in ran(project, "run", "none", "--changed-only", code=1).stderr


def test_a_project_of_an_older_drystone_goes_on_with_what_it_has(project: Project) -> None:
    site(project)
    ran(project, "run", "site")
    before = json.loads(ran(project, "env", "state", "staging", "base").stdout)
    home = project.folder / ".drystone"
    # The older one had it there, in clear, and its working copies name that place.
    (home / "state").rename(home / "environments")
    folder = home / "environments/staging/site/base"
    (folder / "terraform.tfstate.sealed").unlink()
    (folder / "terraform.tfstate").write_text(json.dumps(before))
    for file in (folder / "work").rglob("*_override.tf.json"):
        file.write_text(file.read_text().replace("/.drystone/state/", "/.drystone/environments/"))
    manifest = folder / "work.json"
    manifest.write_text(manifest.read_text().replace("/.drystone/state/", "/.drystone/environments/"))
    ran(project, "run", "site")
    after = json.loads(ran(project, "env", "state", "staging", "base").stdout)
    assert (after["serial"], after["lineage"]) == (before["serial"], before["lineage"])
    assert sorted(path.name for path in home.rglob("*tfstate*") if path.parent.name == "base") == ["terraform.tfstate.sealed"]
    ran(project, "env", "destroy", "staging", "--yes")
    assert shown(project)["tasks"] == []
