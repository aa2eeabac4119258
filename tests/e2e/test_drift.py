"""Drift in the lab: what somebody changed by hand is named, and put back; a VM that is gone comes back with all that was on it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e_support import Project, generations, health, left_of

from drystone.lab.config import LabConfig, Mode
from drystone.lab.lab import open_lab

Provision = Callable[..., list[str]]
FILE = "opt/drystone-app/app/notes.py"


@pytest.fixture
def standing(shop: Project, provision: Provision) -> Iterator[Project]:
    """The environment with two VMs, without drift; taken away afterwards."""
    shop.run(*provision(vms="2"))
    yield shop
    shop.run("env", "destroy", "shop", "--yes")
    assert left_of(shop) == []


def drift(project: Project, code: int) -> dict[str, dict[str, Any]]:
    found = json.loads(project.run("env", "drift", "shop", "--json", code=code).out)
    return {task["id"]: task for task in found["tasks"]}


def inside(project: Project, vm: str, *command: str) -> None:
    """Runs a command of this machine among the files of a VM."""
    pid = json.loads((project.lab / "networks/shop/vms" / vm / "process.json").read_text())["pid"]
    subprocess.run(["nsenter", f"--target={pid}", "--mount", *command], check=True)


def bridge_with(address: str) -> str:
    listed = json.loads(subprocess.run(["ip", "-json", "address"], check=True, capture_output=True, text=True).stdout)
    return next(link["ifname"] for link in listed if any(each["local"] == address for each in link["addr_info"]))


def test_a_file_of_a_vm_and_an_address_of_the_bridge_are_named_and_put_back(standing: Project, block: str) -> None:
    assert {task["verdict"] for task in drift(standing, 0).values()} == {"as_it_was"}
    bridge, gateway, other = bridge_with(f"{block}.1"), f"{block}.1/25", f"{block}.100/25"
    inside(standing, "shop-0", "rm", f"/{FILE}")
    subprocess.run(["ip", "address", "delete", gateway, "dev", bridge], check=True)
    # Without any address there the VMs could not be looked at.
    subprocess.run(["ip", "address", "add", other, "dev", bridge], check=True)

    found = drift(standing, 2)
    drifted = {id_: task["changes"] for id_, task in found.items() if task["verdict"] == "drifted"}
    assert set(drifted) == {"subnet", "software"}
    assert [(change["what"], change["attributes"]) for change in drifted["subnet"]] == [("lab_subnet.this", ["up"])]
    assert [change["what"] for change in drifted["software"]] == ["shop-0"]
    assert "Drift: 2 tasks of 6 drifted\n" in standing.run("env", "drift", "shop", code=2).out

    standing.run("env", "drift", "shop", "--reconcile", "--yes")
    assert bridge_with(f"{block}.1") == bridge
    inside(standing, "shop-0", "test", "-s", f"/{FILE}")
    skipped = {event["task"] for event in standing.events(type="task.skipped")}
    assert skipped == {"network", "vm[0]", "vm[1]", "ready", "migration", "verify"}
    drift(standing, 0)


def test_a_vm_that_is_gone_comes_back_with_its_software(standing: Project) -> None:
    url = standing.show()["outputs"]["url"]
    # As somebody would who knows only the lab.
    open_lab(LabConfig(root=standing.lab, mode=Mode.NAMESPACES)).delete_vm("shop", "shop-0")
    found = drift(standing, 2)
    assert [(change["action"], change["what"]) for change in found["vm[0]"]["changes"]] == [("add", "lab_vm.this")]
    assert (found["software"]["verdict"], found["migration"]["verdict"]) == ("unreachable", "unreachable")
    assert list(found["software"]["unreachable"]) == ["shop-0"]
    assert found["vm[1]"]["verdict"] == "as_it_was"

    standing.run("env", "drift", "shop", "--reconcile", "--yes")
    assert health(standing.show()["outputs"]["url"] or url)["database"]["state"] == "ready"
    assert generations(standing.lab) == {"shop-0": 1, "shop-1": 1}
    assert not {"vm[0]", "software", "migration"} & {event["task"] for event in standing.events(type="task.skipped")}
    drift(standing, 0)
