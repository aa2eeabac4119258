"""A root module is planned and applied, and its outputs come back."""

from __future__ import annotations

APP = """
variable "name" {}
resource "terraform_data" "a" {
  input = var.name
}
output "name" { value = terraform_data.a.output }
"""


def test_a_module_is_applied_and_gives_its_outputs(kind, attempt, write_module, configure):
    write_module("app", APP)
    outcome = kind.run(attempt.ctx, configure(vars={"name": "web"}))
    assert outcome.outputs == {"name": "web"}
    assert outcome.changed
    assert outcome.result == {
        "add": 1, "change": 0, "remove": 0, "summary": "1 added, 0 changed, 0 destroyed",
        "resources": [{"address": "terraform_data.a", "action": "create", "status": "done"}],
    }  # fmt: skip


def test_a_second_run_changes_nothing(kind, new_attempt, write_module, configure):
    write_module("app", APP)
    config = configure(vars={"name": "web"})
    kind.run(new_attempt(run="one").ctx, config)
    outcome = kind.run(new_attempt(run="two").ctx, config)
    assert not outcome.changed
    assert outcome.outputs == {"name": "web"}
    assert outcome.result["summary"] == "0 added, 0 changed, 0 destroyed"


def test_undo_destroys_what_the_run_made_and_leaves_no_state(kind, new_attempt, write_module, configure):
    write_module("app", APP)
    config = configure(vars={"name": "web"})
    kind.run(new_attempt(run="one").ctx, config)
    undo = new_attempt(run="one")
    outcome = kind.undo(undo.ctx, config)
    assert outcome.result["summary"] == "0 added, 0 changed, 1 destroyed"
    assert list(undo.ctx.state.iterdir()) == []
