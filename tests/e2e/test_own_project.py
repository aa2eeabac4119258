"""A team's own Terraform and Ansible, in a folder of theirs with a blank in its name: they run unchanged, and secrets stay secret."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_support import Project, finish

PLAN = """\
drystone: 1
name: site
inputs:
  greeting: {type: string, default: "hello, world"}
  password: {type: string, secret: true}
  broken: {type: boolean, default: false}
environment: live
tasks:
  base:
    terraform:
      module: infra/live site
      vars: {greeting: "{{ inputs.greeting }}", password: "{{ inputs.password }}"}
  app:
    ansible:
      playbook: ansible/site.yaml
      hosts: [{name: here, vars: {ansible_connection: local}}]
      vars: {token: "{{ tasks.base.outputs.token }}", greeting: "{{ tasks.base.outputs.greeting }}", broken: "{{ inputs.broken }}"}
    undo:
      ansible: {playbook: ansible/remove.yaml, hosts: [{name: here, vars: {ansible_connection: local}}]}
outputs: {file: "{{ tasks.app.outputs.file }}", token: "{{ tasks.base.outputs.token }}"}
"""
MODULE = """\
terraform {
  backend "local" {
    path = "state/site.tfstate"
  }
}

variable "greeting" { type = string }
variable "password" {
  type      = string
  sensitive = true
}
variable "size" { default = 3 }

module "name" {
  source = "../modules/name"
  size   = var.size
}

resource "terraform_data" "site" {
  input            = { greeting = var.greeting, name = module.name.text }
  triggers_replace = [sha256(var.password)]
  provisioner "local-exec" {
    command     = "sleep 0.5; echo made with $PASSWORD >> made.txt"
    working_dir = "${path.root}"
    environment = { PASSWORD = var.password }
  }
}

output "greeting" { value = terraform_data.site.output.greeting }
output "token" {
  value     = "token-${var.password}-${module.name.text}"
  sensitive = true
}
"""
LOCAL_MODULE = """\
variable "size" { type = number }
output "text" { value = join("", [for n in range(var.size) : "x${n}"]) }
"""
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  roles: [{role: site, shout: true}]
"""
ROLE = """\
- name: Write the site
  ansible.builtin.template: {src: site.j2, dest: "{{ lookup('env', 'SITE_FILE') }}", mode: "0600"}
- name: Tell what must not be told
  ansible.builtin.debug: {msg: "the token is {{ token }}"}
- name: Break
  ansible.builtin.command: {argv: [sh, -c, "echo cannot go on with {{ token }} >&2; exit 3"]}
  when: broken
- name: Say where it is
  ansible.builtin.set_stats: {data: {file: "{{ lookup('env', 'SITE_FILE') }}"}}
"""
REMOVE = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Remove the site
      ansible.builtin.file: {path: "{{ lookup('env', 'SITE_FILE') }}", state: absent}
"""


@pytest.fixture
def site(new_project: Callable[..., Project]) -> Project:
    """A project without drystone.toml."""
    site = new_project("our site")
    site.write("plans/site.yaml", PLAN)
    site.write("infra/live site/main.tf", MODULE)
    site.write("infra/modules/name/main.tf", LOCAL_MODULE)
    site.write("ansible/site.yaml", PLAYBOOK)
    site.write("ansible/remove.yaml", REMOVE)
    site.write("ansible/roles/site/tasks/main.yaml", ROLE)
    site.write("ansible/roles/site/defaults/main.yaml", "mark: '?'\nshout: false\n")
    site.write("ansible/roles/site/templates/site.j2", "{{ greeting }}{{ '!' if shout else mark }}\n")
    site.environ["SITE_FILE"] = str(site.folder / "site.txt")
    return site


@pytest.fixture
def canary() -> str:
    """A secret that stands nowhere else."""
    return "canary-" + os.urandom(9).hex()


@pytest.fixture
def process_list() -> Iterator[list[bytes]]:
    """All command lines of the machine, looked at again and again during the test."""
    seen: set[bytes] = set()
    lines: list[bytes] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if line not in seen:
                    seen.add(line)
                    lines.append(line)

    watcher = threading.Thread(target=look)
    watcher.start()
    yield lines
    ended.set()
    watcher.join()


def holding(folder: Path, canary: str) -> set[str]:
    """Files below a folder that hold the secret, plain or in base64, whatever stands before it."""
    forms = [canary.encode(), *(base64.b64encode(b"." * shift + canary.encode())[4:-4] for shift in range(3))]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)) for path in files if any(form in path.read_bytes() for form in forms)}


def test_own_modules_and_roles_run_unchanged_and_are_taken_back(site: Project, canary: str) -> None:
    before = set(site.folder.rglob("*"))
    done = site.run("run", "site", "-i", "greeting=good day", DRYSTONE_INPUT_password=canary)
    assert (site.folder / "site.txt").read_text() == "good day!\n"
    assert f"file = {site.folder}/site.txt" in done.out and "token = ***" in done.out
    state = json.loads((site.folder / "infra/live site/state/site.tfstate").read_text())
    assert state["outputs"]["greeting"]["value"] == "good day"

    again = site.run("run", "plans/site.yaml", "-i", "greeting=good day", DRYSTONE_INPUT_password=canary)
    assert "nothing changed" in again.out.splitlines()[-2]

    # An update that fails puts back what was there.
    site.run("run", "site", "-i", "greeting=good night", "-i", "broken=true", code=3, DRYSTONE_INPUT_password=canary)
    state = json.loads((site.folder / "infra/live site/state/site.tfstate").read_text())
    assert state["outputs"]["greeting"]["value"] == "good day"

    first = json.loads(site.run("runs", "--json").out)["runs"][-1]["id"]
    site.run("undo", first, "--yes", DRYSTONE_INPUT_password=canary)
    left = {path.relative_to(site.folder).name for path in site.folder.rglob("*") if ".drystone" not in path.parts and path not in before}
    # What the team's own backend and provisioner keep is theirs.
    assert left <= {".drystone", "state", "site.tfstate", "site.tfstate.backup", "made.txt"}, left


def test_a_secret_is_in_no_log_event_store_answer_or_process_list(site: Project, canary: str, process_list: list[bytes]) -> None:
    running = site.start("run", "site", "-i", "broken=true", "--json", DRYSTONE_INPUT_password=canary)
    answers = [finish(running, 3)]
    answers += [site.run(*words) for words in (["show"], ["show", "--json"], ["logs"], ["events"], ["runs"], ["graph", "site"])]
    for answer in answers:
        assert canary not in answer.said
    assert "cannot go on with ***" in answers[1].out
    assert any(b"local-exec" in line or b"ansible-playbook" in line or b"terraform" in line for line in process_list)
    # What the role itself starts with it is the role's.
    assert [line for line in process_list if canary.encode() in line and not line.startswith(b"sh\0-c\0echo cannot go on")] == []
    # The module says itself that its state is beside it, where Terraform keeps everything in clear.
    assert {file for file in holding(site.folder, canary) if not file.startswith("infra/live site/state/")} == set()
    assert holding(Path(site.environ["HOME"]), canary) == set()
