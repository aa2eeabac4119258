"""What a person is told when the world is not as it should be: the right class, the next step, and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_support import COMMAND, Following, Project, finish, left_of, statuses

from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import open_lab

MODULE = """\
variable "number" { default = 1 }
resource "terraform_data" "one" { input = var.number }
resource "terraform_data" "slow" {
  input = terraform_data.one.output
  provisioner "local-exec" { command = "while [ ! -e %s ]; do sleep 0.05; done" }
}
output "number" { value = terraform_data.slow.output }
"""
INFRA = """\
drystone: 1
name: infra
environment: live
inputs: {number: {type: integer, default: 1}}
tasks:
  base: {terraform: {module: module, vars: {number: "{{ inputs.number }}"}}}
  after: {needs: [base], noop: {}}
"""
# What it says is more than there is room for; whether it took effect is then not known, and a command is not simply repeated.
FILL = """\
drystone: 1
name: fill
tasks:
  made: {template: {content: hello, dest: made.txt}}
  talks: {needs: [made], command: {shell: "yes | head -c 8000000"}, undo: none}
  after: {needs: [talks], noop: {}}
"""
MISTAKES = """\
drystone: 1
name: mistakes
tasks:
  a: {needs: [b], template: {content: x, dest: "/tmp/never made"}}
  b: {needs: [a], noop: {}}
  c: {noop: {outputs: {x: "{{ tasks.nowhere.outputs.x }}"}}}
  d: {noop: {sleep: {}}}
  e: {noop: {}, retries: 3}
"""


@pytest.fixture
def infra(project: Project) -> Project:
    """A project with a module whose second resource waits for the file `go`."""
    project.write("module/main.tf", MODULE % (project.folder / "go"))
    project.write("plans/infra.yaml", INFRA)
    project.write("go", "")
    return project


def failure(project: Project, plan: str, code: int = 3) -> tuple[str, str, str]:
    """Runs a plan that fails: the failing task, its class, and what `show` says of it."""
    project.run("run", plan, code=code)
    error = project.show()["error"]
    return error["task"], error["class"], project.run("show").out


def test_four_mistakes_are_told_at_once_with_their_places_and_nothing_runs(project: Project) -> None:
    project.write("plans/mistakes.yaml", MISTAKES)
    told = project.run("run", "mistakes", code=1).err
    places = [line.split("mistakes.yaml:")[1] for line in told.splitlines() if "-->" in line]
    assert places == ["4:15", "6:31", "7:21", "8:17"]
    assert "nothing was run" in told
    assert not project.home.exists()


# ---- hosts -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(project: Project) -> dict[str, object]:
    """A VM of the lab's loopback mode, as a plan would name it."""
    lab = open_lab(LabConfig(root=project.lab, mode=Mode.LOOPBACK))
    lab.create_network("net", "10.95.0.0/24")
    vm = lab.create_vm(lab.create_subnet("net", "10.95.0.0/25").id, "web", None)
    reached = {"address": vm.address, "port": lab.driver.port, "user": lab.driver.user()}
    return {"name": "web", **reached, "key_file": lab.key_file(), "host_key": lab.host_key(vm)}


def closed_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def test_hosts_that_cannot_be_worked_on_are_told_by_class(project: Project, host: dict[str, object], tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other_key = (tmp_path / "other.pub").read_text().strip()
    hosts = {
        "good": host,
        "refused": host | {"port": closed_port(str(host["address"]))},
        "replaced": host | {"host_key": other_key},
        "locked": host | {"key_file": str(tmp_path / "other")},
        "nowhere": host | {"address": "no-such-host.invalid"},
    }
    tasks = {name: {"ssh": {"hosts": [data], "run": ["true"], "connect_timeout": "3s"}, "undo": "none"} for name, data in hosts.items()}
    for name in ("refused", "replaced"):
        tasks[f"play-{name}"] = {"ansible": {"playbook": "ping.yaml", "hosts": [hosts[name]]}, "undo": "none"}
    project.write("ping.yaml", "- {hosts: all, gather_facts: false, tasks: [{ansible.builtin.ping: {}}]}\n")
    project.write("plans/hosts.yaml", json.dumps({"drystone": 1, "name": "hosts", "on_failure": "continue", "tasks": tasks}))
    project.run("run", "hosts", code=7)
    classes = {task["id"]: (task["attempts"][-1]["error"] or {}).get("class") for task in project.show()["tasks"]}
    assert classes == {
        "good": None,
        "refused": "unreachable",
        "replaced": "refused",
        "locked": "refused",
        "nowhere": "unreachable",
        "play-refused": "unreachable",
        "play-replaced": "refused",
    }


def test_playbooks_that_fail_or_cannot_be_read_are_told_by_class(project: Project) -> None:
    here = {"name": "here", "vars": {"ansible_connection": "local"}}
    command = {"name": "Migrate", "ansible.builtin.command": {"argv": ["sh", "-c", "echo the schema is newer >&2; exit 3"]}}
    project.write("fails.yaml", json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [command]}]))
    project.write("broken.yaml", "- hosts: all\n  tasks:\n    - name: x\n     command: y\n")
    tasks = {name: {"ansible": {"playbook": f"{name}.yaml", "hosts": [here]}, "undo": "none"} for name in ("fails", "broken")}
    project.write("plans/plays.yaml", json.dumps({"drystone": 1, "name": "plays", "on_failure": "continue", "tasks": tasks}))
    told = project.run("run", "plays", code=7).said
    errors = {task["id"]: task["attempts"][-1]["error"] for task in project.show()["tasks"]}
    assert {name: error["class"] for name, error in errors.items()} == {"fails": "failed", "broken": "invalid"}
    assert 'here: task "Migrate"' in errors["fails"]["message"]
    assert "the schema is newer" in told and "/broken.yaml:4:6" in told


# ---- terraform ---------------------------------------------------------------------------------------------------------


def test_a_missing_terraform_is_told_with_what_to_install(infra: Project) -> None:
    infra.environ |= {"DRYSTONE_TERRAFORM": "/nowhere/terraform"}
    assert failure(infra, "infra")[:2] == ("base", "crashed")
    told = infra.run("show").out
    assert '"/nowhere/terraform"' in told and "install terraform or tofu" in told
    assert "terraform" in infra.run("doctor", code=1).out


def test_a_state_file_with_garbage_in_it_is_told_and_left_alone(infra: Project) -> None:
    infra.run("run", "infra")
    first = infra.show()["id"]
    (sealed,) = infra.home.glob("*/**/base/terraform.tfstate.sealed")
    state = sealed.with_suffix("")
    state.write_text("no JSON {{{")
    task, error_class, told = failure(infra, "infra")
    assert (task, error_class) == ("base", "invalid") and str(state) in told
    assert state.read_text() == "no JSON {{{"
    infra.run("undo", first, "--yes", code=4)
    assert "left standing" in infra.run("show", first).out
    state.unlink()
    infra.run("resume", first)
    assert infra.show(first)["status"] == "compensated"


def test_a_terraform_that_is_killed_leaves_to_a_person_what_nobody_knows_of_and_takes_back_the_rest(infra: Project) -> None:
    (infra.folder / "go").unlink()
    running = infra.start("run", "infra", "--json")
    Following(running).until("task.progress", "base", "terraform_data.slow: creating")
    os.kill(terraform_below(running.pid), signal.SIGKILL)
    finish(running, 4)
    shown = infra.show()
    assert shown["error"]["class"] == "crashed" and "signal 9" in shown["error"]["message"]
    base = next(task for task in shown["tasks"] if task["id"] == "base")
    assert [item["status"] for item in base["attempts"][-1]["result"]["resources"]] == ["done", "unknown"]
    assert "terraform_data.slow: it may exist without being in the state" in base["undo"]["reason"]
    infra.run("attention", "skip", "last", "base", "--reason", "there is none")
    assert statuses(infra.show())["base"] == "undone"
    # A state without resources stays: nobody but a person knows that it is all.
    assert [left for left in left_of(infra) if not left.startswith("state ")] == []


def terraform_below(pid: int) -> int:
    """The terraform that applies, among what a command has started."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    # What it is about to start looks like itself for a moment, and comes after it.
    return next(each for each in found if b"\0apply\0" in Path(f"/proc/{each}/cmdline").read_bytes())


# ---- disks and stores --------------------------------------------------------------------------------------------------


def test_a_project_that_cannot_be_written_is_told_before_anything_runs(infra: Project, within: Callable[[Project, str], None]) -> None:
    within(infra, f"mount --bind {infra.folder} {infra.folder} && mount -o remount,ro,bind {infra.folder}")
    told = infra.run("run", "infra", code=1).err
    assert "read-only file system" in told and "writable" in told


def test_a_disk_that_fills_up_is_told_and_the_run_goes_on_once_there_is_room(
    project: Project, within: Callable[[Project, str], None]
) -> None:
    project.write("plans/fill.yaml", FILL)
    project.home.mkdir()
    drystone = " ".join(COMMAND)
    room = f"head -c 700000 /dev/zero > {project.home}/ballast"
    go_on = f"rm {project.home}/ballast; {drystone} resume; echo code=$?; {drystone} undo --yes; echo code=$?; {drystone} show --json"
    script = f"{drystone} run fill; echo code=$?; {go_on}"
    within(project, f"mount -t tmpfs -o size=1m none {project.home} && {room} && sh -c '{script}'; set -- true")
    told = project.run()
    assert "the disk is full" in told.err and "make room, then go on with: drystone resume" in told.err
    assert told.out.count("code=4\n") == 2 and "whether it took effect is not known" in told.out
    shown = json.loads(told.out.rpartition("code=0\n")[2])
    assert (shown["status"], shown["left"]) == ("compensated", [])
    assert statuses(shown) == {"made": "undone", "talks": "failed", "after": "blocked"}


def test_a_store_that_is_damaged_is_told_and_left_alone(infra: Project) -> None:
    (infra.home).mkdir()
    store = infra.home / "drystone.db"
    store.write_bytes(b"damaged " * 1000)
    for words in (["run", "infra"], ["show"], ["runs"], ["resume"], ["undo", "last", "--yes"]):
        told = infra.run(*words, code=1).err
        assert f'"{store}" is damaged' in told and "restore it from a backup" in told
    assert store.read_bytes() == b"damaged " * 1000
