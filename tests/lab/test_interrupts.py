"""Signals and deaths in the middle of a create: nothing is lost, nothing is made twice, nobody is left over.

The middle is held open by the lab's own lock: a create that has taken the VM's lock waits for it until the test lets go.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_support import Terraform, wait_until

from drystone.errors import LabError
from drystone.lab.config import LabConfig
from drystone.lab.lab import open_lab
from drystone.lab.processes import mark
from drystone.lab.registry import Registry
from drystone.lab.terraform import LabProvider

Module = Callable[[str], Terraform]


@pytest.fixture
def module(mirrored: Module, block: str, lab_root: Path) -> Terraform:
    """A VM still to come, in a subnet that stands. Mode as this machine allows."""
    lab = open_lab(LabConfig(root=lab_root))
    lab.create_network("net", f"{block}.0/24")
    subnet = lab.create_subnet("net", f"{block}.0/25")
    return mirrored("module").write(vm_in(subnet.id, "vm-0")).init()


def vm_in(subnet: str, name: str) -> str:
    return f'resource "lab_vm" "v" {{\n  subnet = "{subnet}"\n  name   = "{name}"\n}}\n'


@pytest.fixture
def registry(lab_root: Path) -> Registry:
    return Registry(lab_root)


@contextmanager
def in_the_middle(module: Terraform, registry: Registry) -> Iterator[subprocess.Popen[str]]:
    """An apply whose create of the VM has begun and does not end before this block does."""
    with registry.lock():
        apply = module.start("apply", "-auto-approve", "-input=false", "-json")
        wait_until(lambda: is_held(registry.root / "locks" / "net_vm-0"), "the begin of the create")
        yield apply


def is_held(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def wait_for_interrupt(apply: subprocess.Popen[str]) -> None:
    """Return when terraform says that it was interrupted."""
    assert apply.stdout is not None
    assert any("nterrupt" in line for line in apply.stdout)


def provider_pids(root: Path) -> list[int]:
    """Processes that serve this lab."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ, argv = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"DRYSTONE_LAB_ROOT={root}\0".encode() in environ and b"drystone.lab.launcher" in argv:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_terraform_finishes_the_vm_it_is_making(
    module: Terraform, registry: Registry, lab_root: Path, number: signal.Signals
) -> None:
    with in_the_middle(module, registry) as apply:
        apply.send_signal(number)
        wait_for_interrupt(apply)
    apply.communicate(timeout=60)
    assert module.state()["lab_vm.v"]["running"]
    assert provider_pids(lab_root) == []
    module.plan(code=0)


def test_a_terminals_interrupt_reaches_the_provider_too_and_nothing_is_lost(module: Terraform, registry: Registry) -> None:
    with in_the_middle(module, registry) as apply:
        os.killpg(apply.pid, signal.SIGINT)
        wait_for_interrupt(apply)
    apply.communicate(timeout=60)
    assert module.state()["lab_vm.v"]["running"]


def test_the_vm_of_a_killed_terraform_is_finished_and_adopted_by_the_next_apply(
    module: Terraform, registry: Registry, lab_root: Path
) -> None:
    with in_the_middle(module, registry) as apply:
        apply.kill()
        apply.communicate()
    wait_until(lambda: provider_pids(lab_root) == [], "the end of the provider")
    vm = registry.vm("net", "vm-0")
    assert vm is not None
    process = registry.process(vm)
    assert process is not None
    assert "1 added" in module.apply()
    assert module.state()["lab_vm.v"]["pid"] == process.pid
    assert module.state()["lab_vm.v"]["generation"] == 1


def test_the_vm_of_a_killed_provider_is_made_by_the_next_apply(module: Terraform, registry: Registry, lab_root: Path) -> None:
    with in_the_middle(module, registry) as apply:
        for pid in provider_pids(lab_root):
            os.kill(pid, signal.SIGKILL)
        apply.communicate()
    assert "1 added" in module.apply()
    assert module.state()["lab_vm.v"]["running"]


def test_interrupting_one_command_does_not_disturb_another_on_the_same_daemon(
    module: Terraform, registry: Registry, tmp_path: Path
) -> None:
    daemon = LabProvider().reattach(tmp_path, module.environ)
    shared = {**module.environ, **daemon.environ}
    first = Terraform(module.command, module.folder, shared)
    second = Terraform(module.command, tmp_path / "second", shared)
    (subnet,) = registry.subnets()
    second.write(vm_in(subnet.id, "other")).init()
    with in_the_middle(first, registry) as apply:
        other = second.start("apply", "-auto-approve", "-input=false", "-no-color")
        wait_until(lambda: is_held(registry.root / "locks" / "net_other"), "the begin of the other create")
        apply.send_signal(signal.SIGINT)
        wait_for_interrupt(apply)
    apply.communicate(timeout=60)
    output = other.communicate(timeout=60)[0]
    assert other.returncode == 0, output
    assert first.state()["lab_vm.v"]["running"]
    second.plan(code=0)
    daemon.close()


def test_a_closed_daemon_is_gone(environ: dict[str, str], tmp_path: Path, lab_root: Path) -> None:
    daemon = LabProvider().reattach(tmp_path, environ)
    address = json.loads(daemon.environ["TF_REATTACH_PROVIDERS"])[LabProvider.source]["Addr"]["String"]
    assert provider_pids(lab_root) == [daemon.pid]
    daemon.close()
    assert provider_pids(lab_root) == []
    assert not Path(address).parent.exists()


def test_a_daemon_ends_with_the_process_that_started_it(environ: dict[str, str], tmp_path: Path, lab_root: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom drystone.lab.terraform import LabProvider\n"
        "daemon = LabProvider().reattach(Path(sys.argv[1]), os.environ)\nprint(daemon.pid, flush=True)\nsys.stdin.read()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert mark(pid) is not None
    starter.kill()
    starter.communicate()
    wait_until(lambda: mark(pid) is None, "the end of the daemon")


def test_a_daemon_that_cannot_start_says_why(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LabError, match="does not start") as caught:
        LabProvider().reattach(tmp_path, {**environ, "PYTHONHOME": str(tmp_path / "nowhere")})
    assert "lab-provider.log" in caught.value.hint


def test_a_person_who_starts_the_provider_is_told_what_it_is() -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "drystone.lab.launcher"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("drystone-lab is a Terraform provider")
