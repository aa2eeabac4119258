"""What a run made is destroyed, what it changed is restored, and a live environment is never taken down."""

from __future__ import annotations

import shutil

import pytest
from tests.kinds.terraform.conftest import state_of

from drystone.errors import AttemptError, FailureClass, PermanentError

ADDED = 'variable "name" {}\nresource "terraform_data" "a" { input = var.name }\nresource "terraform_data" "b" {}\n'


def inputs(ctx) -> dict[str, object]:
    """What the state holds: address -> input."""
    resources = (state_of(ctx) or {"resources": []})["resources"]
    return {item["name"]: item["instances"][0]["attributes"]["input"].get("value") for item in resources if item["instances"]}


def test_what_a_run_made_is_destroyed_and_no_state_is_left(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt().ctx, config)
    undo = new_attempt()
    outcome = kind.undo(undo.ctx, config)
    assert outcome.result["summary"] == "0 added, 0 changed, 1 destroyed"
    assert list(undo.ctx.state.iterdir()) == []


def test_an_update_is_undone_by_restoring_module_and_variables(kind, new_attempt, app, write_module, configure):
    kind.run(new_attempt(run="one").ctx, configure(vars={"name": "old"}))
    write_module(ADDED)
    config = configure(vars={"name": "new"})
    kind.run(new_attempt(run="two").ctx, config)
    undo = new_attempt(run="two")
    kind.undo(undo.ctx, config)
    assert inputs(undo.ctx) == {"a": "old"}


def test_a_failed_update_is_undone_by_restoring(kind, new_attempt, app, write_module, configure):
    kind.run(new_attempt(run="one").ctx, configure(vars={"name": "old"}))
    write_module(ADDED + 'resource "terraform_data" "c" {\n  provisioner "local-exec" { command = "false" }\n}\n')
    config = configure(vars={"name": "new"})
    with pytest.raises(AttemptError) as caught:
        kind.run(new_attempt(run="two").ctx, config)
    assert caught.value.changed
    undo = new_attempt(run="two")
    kind.undo(undo.ctx, config)
    assert inputs(undo.ctx) == {"a": "old"}


def test_a_create_that_failed_half_way_is_destroyed(kind, new_attempt, half_way, configure):
    failed = new_attempt()
    with pytest.raises(AttemptError):
        kind.run(failed.ctx, configure())
    assert set(inputs(failed.ctx)) == {"first", "second"}
    outcome = kind.undo(new_attempt().ctx, configure())
    assert outcome.result["remove"] == 2
    assert list(failed.ctx.state.iterdir()) == []


def test_a_retry_does_not_take_the_first_attempts_resources_for_older_ones(kind, new_attempt, half_way, configure):
    with pytest.raises(AttemptError):
        kind.run(new_attempt().ctx, configure())
    kind.run(new_attempt().ctx, configure(vars={"broken": False}))
    undo = new_attempt()
    assert kind.undo(undo.ctx, configure(vars={"broken": False})).result["remove"] == 3
    assert list(undo.ctx.state.iterdir()) == []


def test_an_attempt_that_finds_its_run_already_applied_still_counts_as_a_change(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt().ctx, config)
    assert kind.run(new_attempt().ctx, config).changed


def test_a_run_that_applied_nothing_has_nothing_to_take_back(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt(run="one").ctx, config)
    kind.run(new_attempt(run="two").ctx, config)
    undo = new_attempt(run="two")
    assert not kind.undo(undo.ctx, config).changed
    assert inputs(undo.ctx) == {"a": "web"}


def test_undo_twice_is_harmless(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt().ctx, config)
    assert kind.undo(new_attempt().ctx, config).changed
    assert not kind.undo(new_attempt().ctx, config).changed


def test_undo_goes_by_what_was_applied_not_by_what_the_module_is_now(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt().ctx, config)
    shutil.rmtree(app)
    undo = new_attempt()
    assert kind.undo(undo.ctx, config).result["remove"] == 1
    assert list(undo.ctx.state.iterdir()) == []


def test_after_a_restore_the_next_undo_restores_the_same_version(kind, new_attempt, app, configure):
    kind.run(new_attempt(run="one").ctx, configure(vars={"name": "old"}))
    for run in ("two", "three"):
        config = configure(vars={"name": run})
        kind.run(new_attempt(run=run).ctx, config)
        undo = new_attempt(run=run)
        kind.undo(undo.ctx, config)
        assert inputs(undo.ctx) == {"a": "old"}


def test_an_old_runs_undo_does_not_take_down_what_a_later_run_made_of_it(kind, new_attempt, app, configure):
    for run, name in (("one", "old"), ("two", "new")):
        kind.run(new_attempt(run=run).ctx, configure(vars={"name": name}))
    undo = new_attempt(run="one")
    with pytest.raises(PermanentError, match='run "two" has changed the same resources since') as caught:
        kind.undo(undo.ctx, configure(vars={"name": "old"}))
    assert caught.value.failure_class == FailureClass.REFUSED
    assert inputs(undo.ctx) == {"a": "new"}


def test_runs_are_taken_back_latest_first(kind, new_attempt, app, configure):
    for run, name in (("one", "old"), ("two", "new")):
        kind.run(new_attempt(run=run).ctx, configure(vars={"name": name}))
    for run in ("two", "one"):
        undo = new_attempt(run=run)
        assert kind.undo(undo.ctx, configure(vars={"name": "any"})).changed
    assert list(undo.ctx.state.iterdir()) == []


def test_what_was_never_good_is_destroyed_by_the_next_runs_undo(kind, new_attempt, half_way, configure):
    for run in ("one", "two"):
        with pytest.raises(AttemptError):
            kind.run(new_attempt(run=run).ctx, configure())
    undo = new_attempt(run="two")
    kind.undo(undo.ctx, configure())
    assert list(undo.ctx.state.iterdir()) == []


def test_resources_of_unknown_origin_are_not_destroyed(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    first = new_attempt(run="one")
    kind.run(first.ctx, config)
    for name in ("instance.json", "runs", "versions"):
        path = first.ctx.state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    config = configure(vars={"name": "changed"})
    second = new_attempt(run="two")
    kind.run(second.ctx, config)
    assert "this run cannot be undone" in second.log
    undo = new_attempt(run="two")
    with pytest.raises(PermanentError, match="no earlier version of it is known") as caught:
        kind.undo(undo.ctx, config)
    assert caught.value.failure_class is FailureClass.REFUSED
    assert inputs(undo.ctx) == {"a": "changed"}


def test_var_files_are_restored_as_they_were(kind, new_attempt, project, app, configure):
    file = project / "site.tfvars"
    file.write_text('name = "old"\n')
    config = configure(var_files=["site.tfvars"])
    kind.run(new_attempt(run="one").ctx, config)
    file.write_text('name = "new"\n')
    kind.run(new_attempt(run="two").ctx, config)
    undo = new_attempt(run="two")
    kind.undo(undo.ctx, config)
    assert inputs(undo.ctx) == {"a": "old"}


def test_a_local_module_is_restored_too(kind, new_attempt, write_module, configure):
    write_module('module "lib" { source = "../lib" }\noutput "size" { value = module.lib.size }\n')
    write_module('resource "terraform_data" "a" { input = 1 }\noutput "size" { value = terraform_data.a.output }\n', "lib")
    kind.run(new_attempt(run="one").ctx, configure())
    write_module('resource "terraform_data" "a" { input = 2 }\noutput "size" { value = terraform_data.a.output }\n', "lib")
    assert kind.run(new_attempt(run="two").ctx, configure()).outputs == {"size": 2}
    undo = new_attempt(run="two")
    kind.undo(undo.ctx, configure())
    assert inputs(undo.ctx) == {"a": 1}


def test_destroy_takes_what_stands_in_every_workspace(kind, new_attempt, app, configure):
    for workspace in (None, "blue", "green"):
        kind.run(new_attempt(run=f"in {workspace}").ctx, configure(vars={"name": "x"}, workspace=workspace))
    config = configure(vars={"name": "x"}, workspace="blue")
    told = kind.preview_destroy(new_attempt(run="look").ctx, config)
    assert told.summary == "3 to destroy"
    assert [change.what for change in told.changes] == [
        "terraform_data.a (workspace blue)", "terraform_data.a", "terraform_data.a (workspace green)",
    ]  # fmt: skip
    last = new_attempt(run="end")
    assert kind.destroy(last.ctx, config).result["summary"] == "0 added, 0 changed, 3 destroyed"
    assert list(last.ctx.state.iterdir()) == []
    assert kind.destroy(new_attempt(run="again").ctx, config).changed is False


def test_a_guard_holds_for_destroy_but_not_for_the_undo_of_what_a_run_made(kind, new_attempt, app, configure):
    config = configure(vars={"name": "x"}, guards={"max_destroy": 0})
    kind.run(new_attempt(run="one").ctx, config)
    for step in (kind.destroy, kind.preview_destroy):
        with pytest.raises(PermanentError, match=r"the plan destroys 1 resource and guards\.max_destroy is 0"):
            step(new_attempt(run="end").ctx, config)
    assert kind.undo(new_attempt(run="one").ctx, config).result["remove"] == 1
