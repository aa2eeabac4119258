"""The provider under the real terraform, in both modes, through one daemon; and through the mirror."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from lab_support import Terraform, environment, ssh, trace_of, wait_until

from drystone.lab import links
from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import Lab, open_lab
from drystone.lab.terraform import LabProvider

Module = Callable[[str], Terraform]


@pytest.fixture
def module(reattached: Module) -> Terraform:
    """One root module."""
    return reattached("module")


@pytest.fixture
def standing(module: Terraform, block: str) -> Terraform:
    """A network, a subnet and a VM, applied."""
    module.write(environment(block)).init().apply()
    return module


def lab_of(module: Terraform) -> Lab:
    return open_lab(LabConfig(root=Path(module.environ["DRYSTONE_LAB_ROOT"])))


def power_off(module: Terraform) -> None:
    """End the VM as a crash of it would."""
    lab = lab_of(module)
    (vm,) = lab.registry.vms()
    process = lab.registry.process(vm)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: lab.registry.process(vm) is None, "the end of the VM")


def test_a_second_apply_changes_nothing(standing: Terraform) -> None:
    output = standing.plan(code=0)
    assert "No changes" in output
    assert "Warning" not in output


def test_five_vms_are_made_at_once_and_leave_nothing_when_destroyed(module: Terraform, block: str, lab_root: Path, tmp_path: Path) -> None:
    module.write(environment(block, vms=5)).init().apply()
    vms = [value for address, value in module.state().items() if address.startswith("lab_vm")]
    assert len({vm["address"] for vm in vms}) == 5
    assert {vm["generation"] for vm in vms} == {1}
    for vm in vms:
        assert ssh(vm["key_file"], vm, "echo here", tmp_path / "known_hosts") == "here\n"
    assert "7 destroyed" in module.destroy()
    assert trace_of(lab_root) == []


def test_the_state_says_how_to_log_in_but_holds_no_key(standing: Terraform, tmp_path: Path) -> None:
    vm = standing.state()["lab_vm.v[0]"]
    assert ssh(vm["key_file"], vm, "echo here", tmp_path / "known_hosts") == "here\n"
    text = (standing.folder / "terraform.tfstate").read_text()
    assert "PRIVATE KEY" not in text
    secret = Path(vm["key_file"]).read_text().splitlines()[1]
    assert secret not in text


def test_a_vm_that_stopped_is_planned_to_run_and_started_by_the_apply(standing: Terraform) -> None:
    before = standing.state()["lab_vm.v[0]"]
    power_off(standing)
    assert "running" in standing.plan(code=2)
    assert "0 added, 1 changed, 0 destroyed" in standing.apply()
    after = standing.state()["lab_vm.v[0]"]
    assert (after["running"], after["generation"]) == (True, 2)
    assert (after["address"], after["host_key"]) == (before["address"], before["host_key"])
    standing.plan(code=0)


def test_a_vm_that_is_gone_is_made_again(standing: Terraform) -> None:
    lab_of(standing).delete_vm("net", "vm-0")
    assert "1 added, 0 changed, 0 destroyed" in standing.apply()
    assert standing.state()["lab_vm.v[0]"]["generation"] == 1


def test_a_bridge_that_is_gone_is_mended_in_place(namespaces: Mode, mirrored: Module, block: str) -> None:
    module = mirrored("module")
    module.write(environment(block, vms=0)).init().apply()
    links.remove(module.state()["lab_network.n"]["bridge"])
    assert "0 added, 2 changed, 0 destroyed" in module.apply()
    module.plan(code=0)


def test_destroy_tolerates_what_is_gone_already(standing: Terraform, lab_root: Path) -> None:
    lab = lab_of(standing)
    lab.delete_vm("net", "vm-0")
    standing.destroy()
    assert trace_of(lab_root) == []


def test_every_object_can_be_imported(standing: Terraform, reattached: Module, block: str) -> None:
    other = reattached("other").write(environment(block)).init()
    other.run("import", "-no-color", "lab_network.n", "net")
    other.run("import", "-no-color", "lab_subnet.s", f"net/{block}.0/25")
    other.run("import", "-no-color", "lab_vm.v[0]", "net/vm-0")
    assert other.state() == standing.state()
    other.plan(code=0)


def test_what_is_not_there_cannot_be_imported(standing: Terraform, reattached: Module, block: str) -> None:
    other = reattached("other").write(environment(block)).init()
    output = other.run("import", "-no-color", "lab_vm.v[0]", "net/ghost", code=1)
    assert 'there is no lab VM "net/ghost"' in output


def test_data_sources_find_what_another_state_made(standing: Terraform, reattached: Module, block: str) -> None:
    reader = reattached("reader").write(f"""
data "lab_network" "n" {{
  id = "net"
}}
data "lab_subnet" "s" {{
  id = "net/{block}.0/25"
}}
data "lab_vm" "v" {{
  id = "net/vm-0"
}}
output "cidr" {{
  value = data.lab_network.n.cidr
}}
output "gateway" {{
  value = data.lab_subnet.s.gateway
}}
output "address" {{
  value = data.lab_vm.v.address
}}
""")
    reader.init().apply()
    vm = standing.state()["lab_vm.v[0]"]
    assert reader.outputs() == {"cidr": f"{block}.0/24", "gateway": f"{block}.1", "address": vm["address"]}


def test_a_data_source_of_nothing_is_an_error(module: Terraform) -> None:
    module.write('data "lab_vm" "v" {\n  id = "net/ghost"\n}\n').init()
    assert 'there is no lab VM "net/ghost"' in module.run("plan", "-no-color", code=1)


def test_a_range_in_use_is_refused_with_what_uses_it(standing: Terraform, reattached: Module, block: str) -> None:
    other = reattached("other").write(environment(block).replace('"net"', '"net2"')).init()
    output = other.apply(code=1)
    assert f'the range {block}.0/24 overlaps with {block}.0/24 of network "net"' in " ".join(output.split())


def test_an_object_of_another_state_is_not_taken_over(standing: Terraform, reattached: Module, block: str) -> None:
    standing.plan(code=0)
    other = reattached("other").write(environment(block)).init()
    assert "a Terraform state holds it" in " ".join(other.apply(code=1).split())
    standing.plan(code=0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('name = "Web"\n  cidr = "10.78.0.0/24"', '"Web" cannot name'),
        ('name = "web"\n  cidr = "10.78.0.1/24"', "did you mean"),
        ('name = "web"\n  cidr = "wide"', '"wide" is not an IPv4 range'),
    ],
)
def test_a_mistake_is_found_by_validate_with_its_line(module: Terraform, line: str, said: str) -> None:
    module.write(f'resource "lab_network" "n" {{\n  {line}\n}}\n').init()
    output = module.run("validate", "-json", code=1)
    (diagnostic,) = json.loads(output)["diagnostics"]
    assert said in diagnostic["summary"] + diagnostic["detail"]
    assert diagnostic["range"]["filename"] == "main.tf"


def test_a_network_in_use_stays_in_the_state_when_its_destroy_fails(standing: Terraform, reattached: Module, block: str) -> None:
    other = reattached("other")
    other.write(f'resource "lab_vm" "x" {{\n  subnet = "net/{block}.0/25"\n  name = "other"\n}}\n').init().apply()
    assert 'in use by VM "net/other"' in " ".join(standing.run("destroy", "-auto-approve", "-no-color", code=1).split())
    assert {"lab_network.n", "lab_subnet.s"} <= standing.state().keys()
    other.destroy()
    standing.destroy()


def test_an_address_is_replaced_when_it_changes(namespaces: Mode, mirrored: Module, block: str) -> None:
    module = mirrored("module")
    body = environment(block).replace('name   = "vm-', f'address = "{block}.7"\n  name   = "vm-')
    module.write(body).init().apply()
    assert module.state()["lab_vm.v[0]"]["address"] == f"{block}.7"
    module.write(body.replace(f"{block}.7", f"{block}.8"))
    assert "1 added, 0 changed, 1 destroyed" in module.apply()
    assert module.state()["lab_vm.v[0]"]["address"] == f"{block}.8"


# -- how terraform finds and runs the provider


def test_a_plain_terraform_works_from_the_mirror_alone(mirrored: Module, block: str, lab_root: Path) -> None:
    module = mirrored("module")
    module.write(environment(block)).init().apply()
    module.plan(code=0)
    module.destroy()
    assert trace_of(lab_root) == []


def test_installing_again_changes_no_checksum(mirrored: Module, block: str, tmp_path: Path) -> None:
    module = mirrored("module").write(environment(block)).init()
    lock = (module.folder / ".terraform.lock.hcl").read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mirror").rglob("*") if path.is_file()}
    LabProvider().install(tmp_path / "mirror")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "mirror").rglob("*") if path.is_file()}
    module.init()
    assert (module.folder / ".terraform.lock.hcl").read_text() == lock


def test_the_launcher_names_no_path_so_that_its_checksum_is_the_same_everywhere(tmp_path: Path) -> None:
    LabProvider().install(tmp_path)
    (launcher,) = tmp_path.rglob("terraform-provider-*")
    assert "/home" not in launcher.read_text()
    assert str(tmp_path) not in launcher.read_text()


def test_the_provider_block_chooses_root_and_mode(mirrored: Module, block: str, tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    provider = f'provider "lab" {{\n  root = "{root}"\n  mode = "loopback"\n}}\n'
    module = mirrored("module").write(provider + environment(block)).init()
    module.apply()
    assert module.state()["lab_vm.v[0]"]["mode"] == "loopback"
    assert module.state()["lab_vm.v[0]"]["key_file"] == f"{root}/client_key"
    module.destroy()
    assert trace_of(root) == []


def test_an_unknown_mode_is_refused(mirrored: Module) -> None:
    module = mirrored("module").write('provider "lab" {\n  mode = "docker"\n}\n' + environment("10.78.0")).init()
    assert 'unknown lab mode "docker"' in module.apply(code=1)


def test_a_daemon_serves_one_lab_only(standing: Terraform, reattached: Module, tmp_path: Path) -> None:
    other = reattached("other").write(f'provider "lab" {{\n  root = "{tmp_path}/else"\n}}\n' + environment("10.78.0"))
    assert "already serves the lab" in " ".join(other.init().apply(code=1).split())


def test_drystone_finds_the_provider_by_its_entry_point() -> None:
    (entry,) = metadata.entry_points(group="drystone.terraform_providers", name="lab")
    assert entry.load() is LabProvider


def test_finding_the_provider_imports_nothing_heavy() -> None:
    code = "import sys, drystone.lab.terraform; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"grpc", "tf", "cryptography", "pydantic", "sqlalchemy", "typer", "rich"} & set(done.stdout.split())
