"""The modules that ship, each with a state of its own, as plans use them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_support import Terraform, ssh, trace_of

MODULES = Path(__file__).parents[2] / "modules"

Module = Callable[[str], Terraform]


@pytest.fixture
def use(reattached: Module) -> Callable[..., Terraform]:
    """Applies a module with variables, in a folder of that name."""

    def use(module: str, folder: str, /, **variables: str) -> Terraform:
        terraform = reattached(folder)
        shutil.copytree(MODULES / module, terraform.folder, dirs_exist_ok=True)
        for variable, value in variables.items():
            terraform.environ = {**terraform.environ, f"TF_VAR_{variable}": value}
        terraform.init().apply()
        return terraform

    return use


def test_an_environment_is_built_from_outputs_and_taken_down(
    use: Callable[..., Terraform], block: str, lab_root: Path, tmp_path: Path
) -> None:
    network = use("network", "network", name="net", cidr=f"{block}.0/24")
    subnet = use("subnet", "subnet", network=network.outputs()["id"], cidr=f"{block}.0/25")
    vms = [use("vm", f"vm-{number}", subnet=subnet.outputs()["id"], name=f"app-{number}") for number in range(2)]
    facts = [vm.outputs() for vm in vms]
    assert [fact["name"] for fact in facts] == ["app-0", "app-1"]
    assert ssh(facts[1]["key_file"], facts[1], "echo here", tmp_path / "known_hosts") == "here\n"
    for part in (*vms, subnet, network):
        part.plan(code=0)
        part.destroy()
    assert trace_of(lab_root) == []


def test_outputs_are_the_documented_ones(use: Callable[..., Terraform], block: str) -> None:
    network = use("network", "network", name="net", cidr=f"{block}.0/24")
    subnet = use("subnet", "subnet", network="net", cidr=f"{block}.0/25")
    vm = use("vm", "vm", subnet=f"net/{block}.0/25", name="app")
    assert network.outputs().keys() == {"id", "name", "cidr", "bridge"}
    assert subnet.outputs().keys() == {"id", "cidr", "gateway", "network"}
    assert vm.outputs().keys() == {"id", "name", "address", "port", "user", "host_key", "key_file"}


@pytest.mark.parametrize("name", ["network", "subnet", "vm"])
def test_a_modules_readme_names_each_variable_and_output(name: str) -> None:
    readme = (MODULES / name / "README.md").read_text()
    text = (MODULES / name / "variables.tf").read_text() + (MODULES / name / "outputs.tf").read_text()
    names = [line.split('"')[1] for line in text.splitlines() if line.startswith(("variable", "output"))]
    assert [each for each in names if f"`{each}`" not in readme] == []
