"""Between attempts the state, variables and backend settings are sealed; earlier states can be had back; a crash loses nothing."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kinds.terraform.conftest import contents, state_of
from tests.kinds.terraform.state_server import serving

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.terraform import states
from drystone.kinds.terraform.records import Records
from drystone.kinds.terraform.states import KEPT_STATES, StateFile

SECRET = """
variable "secret" { sensitive = true }
resource "terraform_data" "a" { input = "given ${var.secret}" }
output "made" {
  value     = "made of ${var.secret}"
  sensitive = true
}
"""

SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "touch ${path.root}/started; exec sleep 600" }
}
"""


def clear_in(folder: Path, secret: str) -> list[str]:
    return [name for name, content in contents(folder).items() if secret.encode() in content]


def inputs(state) -> list[str]:
    return [item["instances"][0]["attributes"]["input"]["value"] for item in state["resources"] if item["instances"]]


@pytest.fixture
def secret(write_module) -> Path:
    return write_module(SECRET)


def test_variables_and_state_are_nowhere_in_clear_after_an_attempt(kind, new_attempt, tmp_path, secret, configure, canary):
    config = configure(vars={"secret": canary})
    kind.run(new_attempt(run="one").ctx, config)
    assert clear_in(tmp_path, canary) == []
    kind.run(new_attempt(run="two").ctx, configure(vars={"secret": f"other {canary}"}))
    assert clear_in(tmp_path, canary) == []
    undo = new_attempt(run="two")
    assert kind.undo(undo.ctx, config).changed
    assert clear_in(tmp_path, canary) == []
    assert inputs(state_of(undo.ctx)) == [f"given {canary}"]


def test_nor_after_one_that_failed(kind, new_attempt, tmp_path, write_module, configure, canary):
    write_module(SECRET + 'resource "terraform_data" "b" {\n  provisioner "local-exec" { command = "false" }\n}\n')
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, configure(vars={"secret": canary}))
    assert clear_in(tmp_path, canary) == []


def test_nor_after_one_that_was_cancelled(kind, new_attempt, tmp_path, write_module, configure, canary, in_background, eventually):
    write_module(SECRET + SLOW)
    attempt = new_attempt()
    running = in_background(lambda: kind.run(attempt.ctx, configure(vars={"secret": canary})))
    eventually(lambda: any(attempt.ctx.state.rglob("started")))
    attempt.stop()
    running.join()
    assert clear_in(tmp_path, canary) == []
    assert {item["name"] for item in state_of(attempt.ctx)["resources"]} >= {"a"}


def test_nor_after_previews_and_they_see_the_state(kind, new_attempt, tmp_path, secret, configure, canary):
    config = configure(vars={"secret": canary})
    assert kind.preview(new_attempt().ctx, config).summary == "1 to add, 0 to change, 0 to destroy"
    assert not new_attempt().ctx.state_folder().joinpath("preview").exists()
    kind.run(new_attempt().ctx, config)
    looked = kind.preview(new_attempt(run="two").ctx, config)
    assert looked.summary == "nothing to do"
    assert looked.bound["state serial"] == str(state_of(new_attempt().ctx)["serial"])
    assert clear_in(tmp_path, canary) == []


def test_a_preview_where_nothing_is_leaves_nothing(kind, attempt, app, configure):
    kind.preview(attempt.ctx, configure(vars={"name": "web"}))
    assert not attempt.ctx.state_folder().exists()


def test_a_saved_plan_is_applied_to_the_sealed_state(kind, new_attempt, app, configure):
    kind.run(new_attempt(run="one").ctx, configure(vars={"name": "old"}))
    config = configure(vars={"name": "new"})
    saved = kind.preview(new_attempt(run="two").ctx, config).saved
    second = new_attempt(run="two")
    second.ctx.saved = saved
    kind.run(second.ctx, config)
    assert inputs(state_of(second.ctx)) == ["new"]


def test_a_saved_plan_is_bound_to_the_place_of_its_state(kind, attempt, app, configure):
    looked = kind.preview(attempt.ctx, configure(vars={"name": "web"}))
    assert looked.bound["state file"] == str(attempt.ctx.state_folder() / "terraform.tfstate")


def test_what_a_killed_attempt_left_in_clear_is_the_newest_and_is_sealed_by_recover(kind, new_attempt, tmp_path, secret, configure, canary):
    config = configure(vars={"secret": canary})
    first = new_attempt()
    kind.run(first.ctx, config)
    folder = first.ctx.state
    newer = {**state_of(first.ctx), "serial": 41}
    # As a kill -9 in the middle of an apply leaves it.
    for name in ("terraform.tfstate", "terraform.tfstate.backup", ".terraform.tfstate.xyz", "plan.bin", "preview/plan.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(newer))
    kind.recover(new_attempt().ctx, config)
    assert clear_in(tmp_path, canary) == []
    assert state_of(first.ctx) == newer
    assert sorted(path.name for path in folder.glob("*tfstate*")) == ["terraform.tfstate.sealed"]


def test_a_state_in_clear_from_before_is_taken_over(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    first = new_attempt(run="one")
    kind.run(first.ctx, config)
    records = Records(folder=first.ctx.state, seals=first.ctx)
    records.state.open()
    records.state.sealed.unlink()
    for file in first.ctx.state.glob("versions/*/version.json"):
        file.write_text(json.dumps(first.ctx.unseal(json.loads(file.read_text())["sealed"])))
    assert kind.run(new_attempt(run="two").ctx, config).result["summary"] == "0 added, 0 changed, 0 destroyed"
    assert state_of(first.ctx) is not None
    assert all("vars" not in json.loads(file.read_text()) for file in first.ctx.state.glob("versions/*/version.json"))


@pytest.mark.parametrize("left", ["", '{"version": 4, "serial": 7, "lin'])
def test_a_state_that_was_written_half_is_never_taken_for_an_empty_one(kind, new_attempt, app, configure, left):
    config = configure(vars={"name": "web"})
    first = new_attempt(run="one")
    kind.run(first.ctx, config)
    torn = first.ctx.state / "terraform.tfstate"
    torn.write_text(left)
    with pytest.raises(PermanentError, match="is not a state that terraform can read") as caught:
        kind.run(new_attempt(run="two").ctx, config)
    assert "the state of before (serial" in caught.value.hint
    assert torn.read_text() == left
    torn.unlink()
    assert kind.run(new_attempt(run="two").ctx, config).result["summary"] == "0 added, 0 changed, 0 destroyed"


def test_a_state_that_a_surviving_terraform_writes_to_is_left_alone(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    first = new_attempt(run="one")
    kind.run(first.ctx, config)
    records = Records(folder=first.ctx.state, seals=first.ctx)
    records.state.open()
    # Locks of one process do not exclude each other, so another one takes it, as Terraform does.
    code = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print('has it', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, records.state.clear], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"has it\n"
        second = new_attempt(run="two")
        with pytest.raises(TemporaryError) as caught:
            kind.run(second.ctx, config)
        assert caught.value.failure_class is FailureClass.CONFLICT
        assert records.state.clear.exists()
        assert "the state stays in clear" in second.log
    finally:
        other.communicate()
    kind.run(new_attempt(run="two").ctx, config)
    assert not records.state.clear.exists()


def test_the_state_before_each_apply_is_kept_under_its_serial(kind, new_attempt, app, configure):
    before = []
    for number in range(3):
        attempt = new_attempt(run=str(number))
        kind.run(attempt.ctx, configure(vars={"name": f"web-{number}"}))
        before.append(state_of(attempt.ctx))
    kind.run(new_attempt(run="same").ctx, configure(vars={"name": "web-2"}))
    kept = states.kept_in(attempt.ctx.state / "states")
    assert [json.loads(states.read(file, attempt.ctx)) for _, file in kept] == before[:-1]
    assert [head.serial for head, _ in kept] == [state["serial"] for state in before[:-1]]


def test_a_restore_keeps_the_state_that_it_takes_back(kind, new_attempt, app, configure):
    kind.run(new_attempt(run="one").ctx, configure(vars={"name": "old"}))
    config = configure(vars={"name": "new"})
    second = new_attempt(run="two")
    kind.run(second.ctx, config)
    taken_back = state_of(second.ctx)
    outcome = kind.undo(new_attempt(run="two").ctx, config)
    assert json.loads(states.read(second.ctx.state / "states" / f"{taken_back['serial']}.sealed", second.ctx)) == taken_back
    assert outcome.result["state"]["serial"] == state_of(second.ctx)["serial"] > taken_back["serial"]
    assert Records(folder=second.ctx.state, seals=second.ctx).instance.good_serial == outcome.result["state"]["serial"]


def test_only_the_newest_earlier_states_stay(attempt, tmp_path):
    state = StateFile(clear=tmp_path / "terraform.tfstate", kept=tmp_path / "states", seals=attempt.ctx)
    for serial in range(KEPT_STATES + 5):
        state.clear.write_text(json.dumps({"serial": serial, "lineage": "x"}))
        state.keep()
    assert [head.serial for head, _ in states.kept_in(state.kept)] == list(range(5, KEPT_STATES + 5))


def test_a_workspaces_state_is_sealed_too(kind, new_attempt, tmp_path, secret, configure, canary):
    config = configure(vars={"secret": canary}, workspace="blue")
    kind.run(new_attempt().ctx, config)
    assert clear_in(tmp_path, canary) == []
    assert kind.run(new_attempt().ctx, config).result["summary"] == "0 added, 0 changed, 0 destroyed"
    assert kind.undo(new_attempt().ctx, config).result["remove"] == 1


def test_settings_of_a_backend_and_a_state_that_could_not_be_stored_are_sealed(
    kind, new_attempt, tmp_path, write_module, configure, canary
):
    with serving() as server:
        write_module({"main.tf": SECRET, "backend.tf": server.block})
        config = configure(vars={"secret": f"var {canary}"}, backend={"password": canary, "username": "ci"})
        kind.run(new_attempt(run="one").ctx, config)
        assert clear_in(tmp_path, canary) == []
        server.refuses_writes = True
        later = configure(vars={"secret": f"new {canary}"}, backend={"password": canary, "username": "ci"})
        with pytest.raises(AttemptError):
            kind.run(new_attempt(run="two").ctx, later)
        assert clear_in(tmp_path, canary) == []
        server.refuses_writes = False
        third = new_attempt(run="two")
        kind.run(third.ctx, later)
        assert "stored the state" in third.log
        assert not list(tmp_path.rglob("errored.tfstate*"))
        assert clear_in(tmp_path, canary) == []


def test_without_the_key_nothing_is_applied_and_the_state_stays(kind, new_attempt, tmp_path, app, configure):
    config = configure(vars={"name": "web"})
    first = new_attempt()
    kind.run(first.ctx, config)
    sealed = (first.ctx.state / "terraform.tfstate.sealed").read_bytes()
    (tmp_path / "key").rename(tmp_path / "key.away")
    with pytest.raises(Exception, match="key"):
        kind.run(new_attempt(run="two").ctx, config)
    assert (first.ctx.state / "terraform.tfstate.sealed").read_bytes() == sealed


def test_a_state_that_cannot_be_sealed_stays_in_clear_and_the_apply_counts(kind, new_attempt, app, configure, monkeypatch):
    attempt = new_attempt()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "terraform.tfstate.sealed")

    monkeypatch.setattr(states, "write_atomic", full)
    assert kind.run(attempt.ctx, configure(vars={"name": "web"})).changed
    assert "the state stays in clear" in attempt.log and "No space left" in attempt.log
    monkeypatch.undo()
    assert kind.run(new_attempt().ctx, configure(vars={"name": "web"})).result["add"] == 0
    assert inputs(state_of(attempt.ctx)) == ["web"]


def test_a_project_that_was_moved_goes_on_with_its_state(kind, new_attempt, tmp_path, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt(run="one").ctx, config)
    second = new_attempt(run="two")
    old = second.ctx.state
    moved = tmp_path / "elsewhere"
    old.rename(moved)
    second.ctx.state_folder = lambda: moved
    assert kind.run(second.ctx, config).result["summary"] == "0 added, 0 changed, 0 destroyed"
    assert not old.exists()


def test_no_digest_of_a_variable_is_a_name(kind, new_attempt, tmp_path, app, configure):
    """Two instances with the same secret do not show that it is the same one."""
    names = []
    for number in range(2):
        attempt = new_attempt()
        attempt.ctx.state_folder = lambda number=number: tmp_path / f"state-{number}"
        kind.run(attempt.ctx, configure(vars={"name": "1234"}))
        names.append({path.name for path in (attempt.ctx.state / "versions").iterdir()})
    assert not names[0] & names[1]


def test_the_lock_that_is_asked_for_is_the_one_that_terraform_takes(kind, new_attempt, write_module, configure, in_background, eventually):
    write_module(SLOW)
    attempt = new_attempt()
    running = in_background(lambda: kind.run(attempt.ctx, configure()))
    eventually(lambda: any(attempt.ctx.state.rglob("started")))
    try:
        with (attempt.ctx.state / "terraform.tfstate").open("r+b") as file, pytest.raises(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        attempt.stop()
        running.join()


def test_states_of_any_size_come_back_as_they_were(attempt, tmp_path):
    content = json.dumps({"serial": 1, "lineage": "x", "data": random.randbytes(1 << 20).hex()}).encode() + os.linesep.encode()
    states.write(tmp_path / "x.sealed", content, attempt.ctx)
    assert states.read(tmp_path / "x.sealed", attempt.ctx) == content


def test_a_state_that_nothing_wrote_to_is_not_sealed_again(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    first = new_attempt(run="one")
    kind.run(first.ctx, config)
    sealed = first.ctx.state / "terraform.tfstate.sealed"
    before = sealed.stat()
    kind.run(new_attempt(run="two").ctx, config)
    kind.preview(new_attempt(run="three").ctx, config)
    assert (sealed.stat().st_ino, sealed.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_write_that_leaves_size_and_serial_is_seen(attempt, tmp_path):
    state = StateFile(clear=tmp_path / "terraform.tfstate", kept=tmp_path / "states", seals=attempt.ctx)
    for data in ("a", "b"):
        state.open()
        state.clear.write_text(json.dumps({"serial": 1, "lineage": "x", "data": data}))
        assert state.close()
        assert json.loads(state.text())["data"] == data


def test_a_preview_may_be_larger_than_a_piece_of_a_line(kind, attempt, write_module, configure):
    write_module('resource "terraform_data" "a" { input = join("", [for n in range(1000) : format("%05000d", n)]) }\n')
    assert kind.preview(attempt.ctx, configure()).summary == "1 to add, 0 to change, 0 to destroy"
