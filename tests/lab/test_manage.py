"""doctor, list and reap."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from lab_support import trace_of, wait_until

from drystone.errors import LabError
from drystone.lab import addresses, links, manage
from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import Lab, open_lab
from drystone.lab.registry import Vm


@pytest.fixture
def vm(lab: Lab, block: str) -> Vm:
    lab.create_network("net", f"{block}.0/24")
    return lab.create_vm(lab.create_subnet("net", f"{block}.0/25").id, "web", None)


def kill(lab: Lab, vm: Vm) -> None:
    process = lab.registry.process(vm)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: lab.registry.process(vm) is None, "the end of the VM")


# -- doctor


def test_the_doctor_finds_nothing_wrong_where_vms_can_be_made(mode: Mode, lab_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_LAB_ROOT", str(lab_root))
    checks = manage.doctor(mode.value)
    assert [check for check in checks if not check.ok and check.name not in ("left over", "forwarding")] == []
    assert not lab_root.exists()


def test_the_doctor_says_how_to_mend_a_missing_program(lab_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_LAB_ROOT", str(lab_root))
    monkeypatch.setattr("drystone.lab.programs.SYSTEM_PATH", "/nowhere")
    checks = {check.name: check for check in manage.doctor()}
    assert (checks["sshd"].ok, checks["sshd"].mend) == (False, "install openssh-server")
    assert "loopback" in checks["namespaces"].detail


def test_missing_namespaces_are_an_error_only_where_they_were_asked_for(lab_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_LAB_ROOT", str(lab_root))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert [check.ok for check in manage.doctor() if check.name == "namespaces"] == [True]
    assert [check.ok for check in manage.doctor("namespaces") if check.name == "namespaces"] == [False]


def test_an_unknown_mode_is_refused_by_the_doctor() -> None:
    with pytest.raises(LabError, match='"docker"'):
        manage.doctor("docker")


def test_the_doctor_tells_what_is_left_over(lab: Lab, vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_LAB_ROOT", str(lab.registry.root))
    kill(lab, vm)
    (check,) = [check for check in manage.doctor() if check.name == "left over"]
    assert not check.ok
    assert "vm net/web" in check.detail
    assert lab.registry.vm("net", "web") is not None


# -- list


def test_the_list_shows_each_object_with_its_state(lab: Lab, vm: Vm, block: str) -> None:
    root = lab.registry.root
    assert [(item.kind, item.id, item.address, item.state) for item in manage.list_objects(root)] == [
        ("network", "net", f"{block}.0/24", "up"),
        ("subnet", f"net/{block}.0/25", f"{block}.0/25", "up"),
        ("vm", "net/web", vm.address, "running"),
    ]
    kill(lab, vm)
    assert manage.list_objects(root)[-1].state == "stopped"


def test_the_list_of_no_lab_is_empty_and_makes_none(lab_root: Path) -> None:
    assert manage.list_objects(lab_root) == []
    assert not lab_root.exists()


# -- reap


def test_reap_leaves_what_runs(lab: Lab, vm: Vm) -> None:
    assert vm.id not in [item.name for item in manage.reap(lab.registry.root)]
    assert lab.registry.process(vm) is not None


def test_reap_takes_a_dead_vm_and_leaves_its_network(lab: Lab, vm: Vm) -> None:
    kill(lab, vm)
    assert manage.Reaped(kind="vm", name="net/web") in manage.reap(lab.registry.root)
    assert lab.registry.vm("net", "web") is None
    assert lab.registry.network("net") is not None


def test_reap_by_force_leaves_nothing(lab: Lab, vm: Vm) -> None:
    taken = manage.reap(lab.registry.root, force=True)
    assert [item.name for item in taken if item.kind in ("vm", "network")] == ["net/web", "net"]
    assert trace_of(lab.registry.root) == []


def test_reap_by_force_can_be_held_to_one_network(lab: Lab, vm: Vm) -> None:
    lab.create_network("other", "10.79.0.0/24")
    manage.reap(lab.registry.root, force=True, network="other")
    assert lab.registry.network("other") is None
    assert lab.registry.process(vm) is not None


def test_reap_by_force_gets_past_damaged_records(lab: Lab, vm: Vm) -> None:
    root = lab.registry.root
    for path in (*root.rglob("network.json"), *root.rglob("vm.json"), root / "lab.json"):
        path.write_text("{")
    manage.reap(root, force=True)
    assert trace_of(root) == []


def test_a_dry_run_takes_nothing(lab: Lab, vm: Vm) -> None:
    assert manage.Reaped(kind="vm", name="net/web") in manage.reap(lab.registry.root, force=True, dry_run=True)
    assert lab.registry.process(vm) is not None


def test_reap_finds_the_bridge_of_a_lab_whose_folder_is_gone(namespaces: Mode, lab_root: Path, block: str) -> None:
    lab = open_lab(LabConfig(root=lab_root, mode=namespaces))
    network = lab.create_network("net", f"{block}.0/24")
    lab.registry.discard(lab_root / "networks")
    name = addresses.bridge_name(lab_root, network.name)
    assert manage.Reaped(kind="link", name=name) in manage.reap(lab_root)
    assert not links.exists(name)


def test_reap_finds_the_sshd_of_a_loopback_vm_whose_folder_is_gone(lab_root: Path, block: str) -> None:
    lab = open_lab(LabConfig(root=lab_root, mode=Mode.LOOPBACK))
    lab.create_network("net", f"{block}.0/24")
    vm = lab.create_vm(lab.create_subnet("net", f"{block}.0/25").id, "web", None)
    process = lab.registry.process(vm)
    lab.registry.discard(lab.registry.vm_path("net", "web"))
    assert process is not None
    (taken,) = [item for item in manage.reap(lab_root) if item.kind == "process"]
    assert str(process.pid) in taken.name
    assert trace_of(lab_root) == [str(lab_root)]


def test_reap_takes_the_socket_of_a_killed_provider(lab_root: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_folder))
    gone = subprocess.Popen(["true"])
    gone.wait()
    folder = short_folder / f"drystone-lab-{gone.pid}-abc"
    folder.mkdir()
    assert manage.Reaped(kind="folder", name=str(folder)) in manage.reap(lab_root)
    assert not folder.exists()


def test_reap_takes_what_a_killed_discard_left(lab_root: Path) -> None:
    left = lab_root / ".trash-x" / "vm-0"
    left.mkdir(parents=True)
    assert manage.Reaped(kind="folder", name=str(left.parent)) in manage.reap(lab_root)
    assert not left.parent.exists()
