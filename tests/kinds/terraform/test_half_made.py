"""An apply that stopped half-way: how far each resource got, and a way back that begins with what really exists."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.kinds.terraform import state_server
from tests.kinds.terraform.state_server import StateServer

from drystone.errors import AttemptError, FailureClass, PermanentError
from drystone.kinds.terraform.begun import Begun, addresses
from drystone.kinds.terraform.task import Terraform
from drystone.lab.config import read_config
from drystone.lab.lab import open_lab

IN_FLIGHT = """
variable "ends" { default = false }
resource "terraform_data" "first" {}
resource "terraform_data" "slow" {
  for_each   = toset(["a b"])
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = var.ends ? "true" : "echo $PPID > ${path.root}/started; exec sleep 600"
  }
}
resource "terraform_data" "never" { depends_on = [terraform_data.slow] }
"""
SLOW = 'terraform_data.slow["a b"]'


@pytest.fixture
def kill_half_way(kind, new_attempt, write_module, configure, in_background, eventually) -> Callable[..., AttemptError]:
    """Makes an attempt whose Terraform is killed while it makes the second of three resources; how the attempt ended."""

    def kill(backend: str = "") -> AttemptError:
        write_module({"main.tf": IN_FLIGHT, "backend.tf": backend})
        attempt = new_attempt()
        running = in_background(lambda: kind.run(attempt.ctx, configure()))
        eventually(lambda: any(file.read_text().strip() for file in attempt.ctx.state.rglob("started")))
        os.kill(int(next(attempt.ctx.state.rglob("started")).read_text()), signal.SIGKILL)
        running.join()
        assert isinstance(running.error, AttemptError)
        return running.error

    return kill


@pytest.fixture
def remote() -> Iterator[StateServer]:
    """A remote state, which Terraform writes when an apply is over, and every now and then before."""
    with state_server.serving() as server:
        yield server


def test_what_a_killed_apply_was_making_is_unknown(kill_half_way):
    killed = kill_half_way()
    assert killed.result["summary"] == "1 done, 0 failed, 1 unknown, 1 not reached"
    fates = {item["address"]: item["status"] for item in killed.result["resources"]}
    assert fates == {"terraform_data.first": "done", SLOW: "unknown", "terraform_data.never": "not_reached"}


def test_what_may_exist_without_being_in_the_state_is_not_called_undone(kind, kill_half_way, new_attempt, configure):
    kill_half_way()
    undos = [new_attempt(), new_attempt()]
    for undo in undos:
        with pytest.raises(PermanentError) as caught:
            kind.undo(undo.ctx, configure())
        assert caught.value.failure_class is FailureClass.CRASHED
        assert caught.value.message == f"terraform was killed while it made {SLOW}: it may exist without being in the state"
        assert caught.value.result["resources"] == [{"address": SLOW, "action": "create", "status": "unknown"}]
    assert "terraform_data.first: Destruction complete" in undos[0].log
    assert "Destruction" not in undos[1].log


def test_a_remote_state_may_have_nothing_of_what_was_done(kind, kill_half_way, remote, new_attempt, configure):
    kill_half_way(remote.block)
    remote.locks.clear()
    with pytest.raises(PermanentError, match="they may exist") as caught:
        kind.undo(new_attempt().ctx, configure())
    assert [item["address"] for item in caught.value.result["resources"]] == ["terraform_data.first", SLOW]


def test_another_try_that_ends_well_makes_the_undo_certain_again(kind, kill_half_way, remote, new_attempt, configure):
    kill_half_way(remote.block)
    remote.locks.clear()
    config = configure(vars={"ends": True})
    again = new_attempt()
    kind.run(again.ctx, config)
    told = f"terraform was killed while it made terraform_data.first, {SLOW}: see that there are no two of them"
    assert told in [message for message, _ in again.progress]
    undo = new_attempt()
    assert kind.undo(undo.ctx, config).result["remove"] == 3
    assert list(undo.ctx.state.iterdir()) == []


def test_an_apply_that_failed_by_itself_leaves_no_doubt(kind, new_attempt, half_way, configure):
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, configure())
    undo = new_attempt()
    kind.undo(undo.ctx, configure())
    assert list(undo.ctx.state.iterdir()) == []


def test_an_output_of_what_was_never_made_does_not_block_the_way_back(kind, new_attempt, half_way, configure):
    # Terraform 1.11 cannot apply a refresh that leaves such an output unknown.
    with (half_way / "main.tf").open("a") as file:
        file.write('output "third" { value = terraform_data.third.id }\n')
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, configure())
    undo = new_attempt()
    assert kind.undo(undo.ctx, configure()).result["remove"] == 2
    assert list(undo.ctx.state.iterdir()) == []


NETWORK = """
terraform {
  required_providers {
    lab = { source = "lab.drystone.invalid/drystone/lab" }
  }
}
resource "lab_network" "this" {
  name = "half"
  cidr = "10.63.240.0/24"
}
resource "terraform_data" "broken" {
  depends_on = [lab_network.this]
  provisioner "local-exec" { command = "exit 3" }
}
"""


def test_what_is_gone_from_the_world_is_gone_from_a_remote_state_too(
    kind: Terraform, new_attempt, write_module: Callable[..., Path], configure, remote, tmp_path
):
    env = {"DRYSTONE_LAB_ROOT": str(tmp_path / "lab"), "DRYSTONE_LAB_MODE": "loopback"}
    write_module({"main.tf": NETWORK, "backend.tf": remote.block})
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, configure(env=env))
    assert set(remote.resources()) == {"this", "broken"}
    open_lab(read_config(env)).delete_network("half")
    undone = kind.undo(new_attempt().ctx, configure(env=env))
    assert [item["address"] for item in undone.result["resources"]] == ["terraform_data.broken"]
    assert remote.resources() == []


def test_a_remote_state_forgets_what_is_gone_when_nothing_is_left_to_destroy(kind, new_attempt, write_module, configure, remote, tmp_path):
    env = {"DRYSTONE_LAB_ROOT": str(tmp_path / "lab"), "DRYSTONE_LAB_MODE": "loopback"}
    write_module({"main.tf": NETWORK.partition('resource "terraform_data"')[0], "backend.tf": remote.block})
    kind.run(new_attempt().ctx, configure(env=env))
    open_lab(read_config(env)).delete_network("half")
    kind.undo(new_attempt().ctx, configure(env=env))
    assert remote.resources() == []


def test_addresses_are_those_of_terraforms_messages():
    state = {
        "resources": [
            {"mode": "data", "type": "lab_network", "name": "n", "instances": [{}]},
            {"mode": "managed", "type": "lab_vm", "name": "web", "instances": [{"index_key": 0}, {"index_key": 'a "b"'}]},
            {"module": 'module.a["x"]', "mode": "managed", "type": "lab_vm", "name": "one", "instances": [{}]},
        ]
    }
    assert list(addresses(state)) == ["lab_vm.web[0]", 'lab_vm.web["a \\"b\\""]', 'module.a["x"].lab_vm.one']


def test_a_torn_last_line_of_the_note_is_passed_over(tmp_path):
    Begun(tmp_path).add("a.b")
    with (tmp_path / "begun.jsonl").open("a") as file:
        file.write('"c.')
    assert Begun(tmp_path).missing_in(None) == ["a.b"]
