"""The lab's rules, in both modes, without Terraform."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lab_support import ssh, trace_of, wait_until

from drystone.errors import LabError
from drystone.lab import addresses, links
from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import Lab, open_lab
from drystone.lab.registry import Vm


@pytest.fixture
def subnet(lab: Lab, block: str) -> str:
    lab.create_network("net", f"{block}.0/24")
    return lab.create_subnet("net", f"{block}.0/25").id


def login(lab: Lab, vm: Vm, command: str, tmp_path: Path) -> str:
    facts = {
        "address": vm.address,
        "port": lab.driver.port,
        "user": lab.driver.user(),
        "host_key": lab.host_key(vm),
    }
    return ssh(lab.key_file(), facts, command, tmp_path / "known_hosts")


def free_address(lab: Lab, block: str) -> str:
    """One that a VM of the lab may ask for, and that is not simply the next one."""
    if lab.driver.mode is Mode.NAMESPACES:
        return f"{block}.77"
    return next(addresses.loopback_candidates(f"{lab.registry.root} by choice"))


def power_off(lab: Lab, vm: Vm) -> None:
    process = lab.registry.process(vm)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: lab.registry.process(vm) is None, "the end of the VM")


def test_a_vm_answers_with_its_own_host_key_once_it_is_created(lab: Lab, subnet: str, tmp_path: Path) -> None:
    vm = lab.create_vm(subnet, "web", None)
    assert login(lab, vm, "echo here", tmp_path) == "here\n"


def test_nothing_is_left_of_a_lab_whose_objects_were_deleted(lab: Lab, subnet: str, tmp_path: Path) -> None:
    vm = lab.create_vm(subnet, "web", None)
    login(lab, vm, "setsid sleep 300 < /dev/null > /dev/null 2>&1 &", tmp_path)
    lab.delete_vm("net", "web")
    lab.delete_subnet("net", vm.subnet_cidr)
    lab.delete_network("net")
    assert trace_of(lab.registry.root) == []


def test_what_a_session_left_running_ends_with_its_vm(lab: Lab, subnet: str, tmp_path: Path) -> None:
    vm = lab.create_vm(subnet, "web", None)
    seconds = str(10_000_000 + os.getpid())
    # In an environment of its own too, as daemons have it: then its folder tells whose it is.
    command = f"cd ${{LAB_ROOT:-/}}; exec setsid env -i /bin/sleep {seconds} < /dev/null > /dev/null 2>&1 &"
    login(lab, vm, command, tmp_path)
    wait_until(lambda: sleepers(seconds), "the start of the daemon")
    lab.delete_vm("net", "web")
    assert sleepers(seconds) == []


def sleepers(seconds: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes() == f"/bin/sleep\0{seconds}\0".encode():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_a_stopped_vm_starts_again_with_its_disk_and_its_key(lab: Lab, subnet: str, tmp_path: Path) -> None:
    vm = lab.create_vm(subnet, "web", None)
    key = lab.host_key(vm)
    login(lab, vm, "echo kept > ~/note", tmp_path)
    power_off(lab, vm)
    again = lab.restart_vm(vm)
    assert again.generation == 2
    assert lab.host_key(again) == key
    assert login(lab, again, "cat ~/note", tmp_path) == "kept\n"


def test_a_vm_that_runs_is_not_started_again(lab: Lab, subnet: str) -> None:
    vm = lab.create_vm(subnet, "web", None)
    before = lab.registry.process(vm)
    assert lab.restart_vm(vm).generation == 1
    assert lab.registry.process(vm) == before


def test_what_is_gone_may_be_deleted(lab: Lab, subnet: str, block: str) -> None:
    lab.delete_vm("net", "never-was")
    lab.delete_subnet("net", f"{block}.128/25")
    lab.delete_network("never-was")


def test_a_network_in_use_is_not_deleted(lab: Lab, subnet: str, block: str) -> None:
    lab.create_vm(subnet, "web", None)
    with pytest.raises(LabError, match='in use by VM "net/web"'):
        lab.delete_network("net")
    with pytest.raises(LabError, match='in use by VM "net/web"'):
        lab.delete_subnet("net", f"{block}.0/25")


def test_vms_made_at_once_have_addresses_of_their_own(lab: Lab, subnet: str) -> None:
    # Each from a view of the lab of its own, as Terraform commands of different states have it.
    def create(number: int) -> str:
        mine = open_lab(LabConfig(root=lab.registry.root))
        return mine.create_vm(subnet, f"vm-{number}", None).address

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(create, range(6)))) == 6


def test_one_vm_asked_for_twice_at_once_is_made_once(lab: Lab, subnet: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: lab.create_vm(subnet, "web", None), range(2))
    assert first == second
    assert first.generation == 1


def test_a_create_finishes_what_a_dead_one_began(lab: Lab, subnet: str, block: str) -> None:
    address = free_address(lab, block)
    lab.registry.save(Vm(network="net", name="web", subnet_cidr=f"{block}.0/25", address=address))
    vm = lab.create_vm(subnet, "web", None)
    assert (vm.address, vm.generation) == (address, 1)
    assert lab.registry.process(vm) is not None


def test_an_object_that_a_state_holds_is_not_adopted(lab: Lab, subnet: str, block: str) -> None:
    vm = lab.registry.claim(lab.create_vm(subnet, "web", None))
    with pytest.raises(LabError, match="a Terraform state holds it") as caught:
        lab.create_vm(subnet, "web", None)
    assert f'"{vm.id}"' in caught.value.hint


def test_an_object_with_other_properties_is_not_adopted(lab: Lab, subnet: str, block: str) -> None:
    lab.create_vm(subnet, "web", None)
    other = lab.create_subnet("net", f"{block}.128/25").id
    with pytest.raises(LabError, match="exists already, with"):
        lab.create_vm(other, "web", None)
    with pytest.raises(LabError, match="exists already, with"):
        lab.create_network("net", "10.79.0.0/24")


def test_a_vm_that_cannot_start_leaves_nothing(lab: Lab, subnet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drystone.lab.programs.SYSTEM_PATH", "/nowhere")
    with pytest.raises(LabError, match="is missing") as caught:
        lab.create_vm(subnet, "web", None)
    assert "install the package" in caught.value.hint
    assert lab.registry.vm("net", "web") is None
    assert not lab.registry.vm_path("net", "web").exists()


@pytest.mark.parametrize("wanted", ["10.78.300.1", "10.99.0.5"])
def test_an_address_outside_the_subnet_is_refused(lab: Lab, subnet: str, wanted: str) -> None:
    with pytest.raises(LabError):
        lab.create_vm(subnet, "web", wanted)


def test_an_address_in_use_is_refused(lab: Lab, subnet: str) -> None:
    vm = lab.create_vm(subnet, "web", None)
    with pytest.raises(LabError, match='belongs to VM "net/web"'):
        lab.create_vm(subnet, "db", vm.address)


def test_a_wanted_address_is_given(lab: Lab, subnet: str, block: str) -> None:
    wanted = free_address(lab, block)
    assert lab.create_vm(subnet, "web", wanted).address == wanted


def test_ranges_that_overlap_are_refused(lab: Lab, subnet: str, block: str) -> None:
    with pytest.raises(LabError, match='of network "net"'):
        lab.create_network("other", f"{block}.64/26")
    with pytest.raises(LabError, match='overlaps with subnet "net/'):
        lab.create_subnet("net", f"{block}.64/26")
    with pytest.raises(LabError, match="is not a part of network"):
        lab.create_subnet("net", "10.79.0.0/24")


def test_a_subnet_of_no_network_is_refused(lab: Lab, block: str) -> None:
    with pytest.raises(LabError, match='no lab network "ghost"'):
        lab.create_subnet("ghost", f"{block}.0/25")


def test_a_vm_of_no_subnet_is_refused(lab: Lab, subnet: str, block: str) -> None:
    with pytest.raises(LabError, match="there is no lab subnet"):
        lab.create_vm(f"net/{block}.128/25", "web", None)


def test_a_lab_of_the_other_mode_is_refused(lab: Lab, subnet: str) -> None:
    other = Mode.LOOPBACK if lab.driver.mode is Mode.NAMESPACES else Mode.NAMESPACES
    with pytest.raises(LabError, match="holds objects of mode"):
        open_lab(LabConfig(root=lab.registry.root, mode=other))
    assert open_lab(LabConfig(root=lab.registry.root)).driver.mode is lab.driver.mode


def test_a_range_that_the_host_uses_elsewhere_is_refused(namespaces: Mode, lab_root: Path) -> None:
    used = next((cidr for cidr in links.routes(without="") if "/" in cidr), None)
    if used is None:
        pytest.skip("this host has no route but its default one")
    lab = open_lab(LabConfig(root=lab_root, mode=namespaces))
    lab.create_network("net", used)
    with pytest.raises(LabError, match="which this host reaches through"):
        lab.create_subnet("net", used)
    assert [*lab.registry.subnets()] == []


def test_a_bridge_that_is_gone_comes_back_with_the_vm(namespaces: Mode, lab_root: Path, block: str) -> None:
    lab = open_lab(LabConfig(root=lab_root, mode=namespaces))
    network = lab.create_network("net", f"{block}.0/24")
    vm = lab.create_vm(lab.create_subnet("net", f"{block}.0/25").id, "web", None)
    power_off(lab, vm)
    links.remove(lab.driver.bridge(network))
    assert not lab.driver.network_is_up(network)
    lab.restart_vm(vm)
    assert lab.driver.network_is_up(network)


def test_an_address_can_be_given_to_another_vm_at_once(lab: Lab, subnet: str, tmp_path: Path) -> None:
    address = free_address(lab, subnet.partition("/")[2].rpartition(".")[0])
    for name in ("first", "second", "third"):
        vm = lab.create_vm(subnet, name, address)
        assert login(lab, vm, "echo here", tmp_path) == "here\n"
        lab.delete_vm("net", name)
