"""Records in files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drystone.errors import LabError
from drystone.lab.config import Mode
from drystone.lab.registry import Network, Registry, Subnet, Vm, parse_subnet_id, parse_vm_id


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "lab")


def test_what_was_saved_is_found_again(registry: Registry) -> None:
    network = registry.save(Network(name="n", cidr="10.0.0.0/16"))
    subnet = registry.save(Subnet(network="n", cidr="10.0.1.0/24"))
    vm = registry.save(Vm(network="n", name="v", subnet_cidr="10.0.1.0/24", address="10.0.1.2"))
    assert registry.network("n") == network
    assert registry.subnet(*parse_subnet_id(subnet.id)) == subnet
    assert registry.vm(*parse_vm_id(vm.id)) == vm
    assert ([*registry.networks()], [*registry.subnets("n")], [*registry.vms("n")]) == ([network], [subnet], [vm])


@pytest.mark.parametrize("text", ["net", "/vm", "net/", "../vm", "net/../../etc", "net/a/b"])
def test_what_is_no_vm_id_is_refused(text: str) -> None:
    with pytest.raises(LabError):
        parse_vm_id(text)


@pytest.mark.parametrize("text", ["net", "net/web", "net/10.0.0.1/24", "../10.0.0.0/24"])
def test_what_is_no_subnet_id_is_refused(text: str) -> None:
    with pytest.raises(LabError):
        parse_subnet_id(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_record_is_named(registry: Registry, text: str) -> None:
    registry.save(Network(name="n", cidr="10.0.0.0/16"))
    path = registry.network_path("n") / "network.json"
    path.write_text(text)
    with pytest.raises(LabError, match="damaged") as caught:
        registry.network("n")
    assert str(path) in caught.value.message


def test_a_record_of_another_version_is_named(registry: Registry) -> None:
    registry.save(Network(name="n", cidr="10.0.0.0/16"))
    (registry.network_path("n") / "network.json").write_text('{"name": "n", "colour": "red"}')
    with pytest.raises(LabError, match="unknown or missing fields"):
        registry.network("n")


def test_a_lab_keeps_the_mode_it_was_begun_with(registry: Registry) -> None:
    registry.begin(Mode.LOOPBACK)
    with pytest.raises(LabError, match="holds objects of mode loopback"):
        registry.begin(Mode.NAMESPACES)


def test_an_empty_lab_leaves_no_folder(registry: Registry) -> None:
    with registry.lock():
        registry.begin(Mode.LOOPBACK)
        network = registry.save(Network(name="n", cidr="10.0.0.0/16"))
        registry.remove(network)
        registry.sweep()
    assert not registry.root.exists()


def test_a_lab_in_use_is_not_swept(registry: Registry) -> None:
    with registry.lock():
        registry.begin(Mode.LOOPBACK)
        registry.save(Network(name="n", cidr="10.0.0.0/16"))
        registry.sweep()
    assert registry.mode() is Mode.LOOPBACK


def test_folders_discarded_at_once_are_all_gone_and_leave_no_trash(registry: Registry) -> None:
    folders = [registry.root / f"vm-{number}" for number in range(64)]
    for folder in folders:
        (folder / "upper").mkdir(parents=True)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(registry.discard, folders))
    assert [*registry.root.iterdir()] == []
