"""Where the state is kept, who holds it, and what becomes of it when something breaks."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from tests.kinds.terraform.conftest import APP
from tests.kinds.terraform.state_server import StateServer, serving

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError


@pytest.fixture
def server() -> Iterator[StateServer]:
    with serving() as made:
        yield made


@pytest.fixture
def remote(server: StateServer, write_module) -> StateServer:
    """A module whose state is on the server."""
    write_module({"main.tf": APP, "backend.tf": server.block})
    return server


def test_a_modules_own_backend_keeps_its_state(kind, new_attempt, remote, configure):
    config = configure(vars={"name": "web"})
    attempt = new_attempt()
    assert kind.run(attempt.ctx, config).outputs == {"name": "web"}
    assert remote.resources() == ["a"]
    assert not (attempt.ctx.state / "terraform.tfstate").exists()
    assert remote.locks == {}
    kind.undo(new_attempt().ctx, config)
    assert remote.resources() == []


def test_an_update_with_a_remote_state_is_restored(kind, new_attempt, remote, configure):
    kind.run(new_attempt(run="one").ctx, configure(vars={"name": "old"}))
    config = configure(vars={"name": "new"})
    kind.run(new_attempt(run="two").ctx, config)
    kind.undo(new_attempt(run="two").ctx, config)
    assert b'"old"' in remote.states["/state"] and b'"new"' not in remote.states["/state"]


def test_a_local_backends_path_is_the_modules_own_folder(kind, attempt, write_module, configure):
    block = 'terraform {\n  backend "local" {\n    path = "states/mine.tfstate"\n  }\n}\n'
    folder = write_module({"main.tf": APP, "backend.tf": block})
    kind.run(attempt.ctx, configure(vars={"name": "web"}))
    assert json.loads((folder / "states/mine.tfstate").read_text())["outputs"]["name"]["value"] == "web"


def test_a_backend_block_is_completed_by_the_plan(kind, attempt, project, write_module, configure):
    write_module({"main.tf": APP, "backend.tf": 'terraform {\n  backend "local" {}\n}\n'})
    kind.run(attempt.ctx, configure(vars={"name": "web"}, backend={"path": "states/web.tfstate"}))
    assert (project / "states/web.tfstate").exists()


def test_backend_settings_are_no_arguments_and_stay_out_of_the_log(kind, attempt, write_module, configure, server, canary):
    write_module({"main.tf": APP, "backend.tf": server.block})
    kind.run(attempt.ctx, configure(vars={"name": "web"}, backend={"password": canary, "username": "ci"}))
    assert canary not in attempt.log


def test_two_runs_at_once_on_one_state_are_a_conflict(kind, new_attempt, write_module, configure, in_background, eventually):
    write_module('resource "terraform_data" "slow" {\n  provisioner "local-exec" { command = "touch started; exec sleep 600" }\n}\n')
    first, second = new_attempt(run="one"), new_attempt(run="two")
    running = in_background(lambda: kind.run(first.ctx, configure()))
    eventually(lambda: any(first.ctx.state.rglob("started")))
    try:
        with pytest.raises(TemporaryError, match="another run is at work") as caught:
            kind.run(second.ctx, configure())
        assert caught.value.failure_class is FailureClass.CONFLICT
        assert not caught.value.changed
    finally:
        first.stop()
        running.join()


def test_a_state_that_could_not_be_stored_is_stored_by_the_next_attempt(kind, new_attempt, remote, configure):
    config = configure(vars={"name": "web"})
    remote.refuses_writes = True
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, config)
    assert remote.resources() == []
    remote.refuses_writes = False
    second = new_attempt()
    kind.run(second.ctx, config)
    assert "stored the state that an earlier apply had to leave" in second.log
    assert remote.resources() == ["a"]
    assert not list(second.ctx.state.rglob("errored.tfstate"))


def test_undo_finds_what_an_unstored_state_knows(kind, new_attempt, remote, configure):
    config = configure(vars={"name": "web"})
    remote.refuses_writes = True
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, config)
    remote.refuses_writes = False
    assert kind.undo(new_attempt().ctx, config).result["remove"] == 1


def test_recover_stores_it_too(kind, new_attempt, remote, configure):
    config = configure(vars={"name": "web"})
    remote.refuses_writes = True
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, config)
    remote.refuses_writes = False
    kind.recover(new_attempt().ctx, config)
    assert remote.resources() == ["a"]


def test_a_state_that_somebody_wrote_since_is_not_overwritten(kind, new_attempt, remote, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt(run="one").ctx, config)
    remote.refuses_writes = True
    with pytest.raises(AttemptError):
        kind.run(new_attempt(run="two").ctx, configure(vars={"name": "new"}))
    remote.refuses_writes = False
    others = json.loads(remote.states["/state"]) | {"serial": 99}
    remote.states["/state"] = json.dumps(others).encode()
    with pytest.raises(PermanentError, match="the stored state has changed since") as caught:
        kind.run(new_attempt(run="two").ctx, config)
    assert caught.value.failure_class is FailureClass.CONFLICT
    assert json.loads(remote.states["/state"])["serial"] == 99


def test_after_kill_9_in_the_middle_the_next_attempt_goes_on_and_undo_takes_all(
    kind, new_attempt, half_way, write_module, configure, in_background, eventually
):
    write_module(
        """
resource "terraform_data" "first" {}
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "test -e again || { touch again; echo $PPID > started; exec sleep 600; }" }
}
"""
    )
    first = new_attempt()
    running = in_background(lambda: kind.run(first.ctx, configure()))
    eventually(lambda: any(file.read_text().strip() for file in first.ctx.state.rglob("started")))
    terraform = int(next(first.ctx.state.rglob("started")).read_text())
    os.kill(terraform, signal.SIGKILL)
    running.join()
    assert isinstance(running.error, AttemptError)
    assert running.error.failure_class is FailureClass.CRASHED
    kind.recover(new_attempt().ctx, configure())
    assert kind.run(new_attempt().ctx, configure()).changed
    undo = new_attempt()
    assert kind.undo(undo.ctx, configure()).result["remove"] == 2
    assert list(undo.ctx.state.iterdir()) == []


def test_instances_of_one_module_run_side_by_side(kind, new_attempt, project, tmp_path, write_module, configure, in_background):
    folder = write_module(APP)
    before = sorted(folder.iterdir())
    attempts = [new_attempt() for _ in range(5)]
    for number, each in enumerate(attempts):
        each.ctx.state_folder = partial(tmp_path.joinpath, f"state-{number}")

    def run(number: int):
        return lambda: kind.run(attempts[number].ctx, configure(vars={"name": f"vm-{number}"}))

    running = [in_background(run(number)) for number in range(5)]
    for each in running:
        each.join()
    assert [each.result.outputs["name"] for each in running] == [f"vm-{number}" for number in range(5)]
    assert sorted(folder.iterdir()) == before
