"""What Terraform marks as sensitive is found in its states and plans."""

from __future__ import annotations

from drystone.kinds.terraform import marks

STATE = {
    "outputs": {"open": {"value": "shown"}, "token": {"value": {"a": ["hidden-1"]}, "sensitive": True}},
    "resources": [
        {
            "instances": [
                {
                    "attributes": {
                        "input": {"value": {"password": "hidden-2", "mark": "seen"}},
                        "list": ["seen", "hidden-3"],
                        "n": 12345,
                        "b": True,
                    },
                    "sensitive_attributes": [
                        [{"type": "get_attr", "value": n} for n in ("input", "value", "password")],
                        [{"type": "get_attr", "value": "list"}, {"type": "index", "value": {"value": 1, "type": "number"}}],
                        [{"type": "get_attr", "value": "n"}],
                        [{"type": "get_attr", "value": "b"}],
                        [{"type": "get_attr", "value": "gone"}, {"type": "get_attr", "value": "x"}],
                    ],
                },
                {"attributes": None},
            ]
        }
    ],
}


def test_outputs_and_attributes_of_a_state():
    assert sorted(marks.in_state(STATE)) == ["12345", "hidden-1", "hidden-2", "hidden-3"]


def test_an_empty_state_has_none():
    assert list(marks.in_state({"outputs": {}, "resources": None})) == []


def test_both_sides_of_a_plan():
    planned = {
        "output_changes": {"token": {"before": "old-1", "after": None, "before_sensitive": True, "after_sensitive": True}},
        "resource_changes": [
            {"change": {
                "before": {"a": "seen", "b": {"c": "old-2"}}, "before_sensitive": {"b": {"c": True}},
                "after": {"a": "seen", "b": ["new-1", "seen"]}, "after_sensitive": {"b": [True, False]},
            }},
            {"change": {"before": None, "after": {"a": "seen"}, "before_sensitive": False, "after_sensitive": {}}},
        ],
    }  # fmt: skip
    assert list(marks.in_plan(planned)) == ["old-1", "old-2", "new-1"]


def test_an_update_hides_what_the_state_marks_even_where_terraform_prints_it(kind, new_attempt, write_module, configure, canary):
    """The old value is not given to this run any more: only the state knows it."""
    module = """
variable "given" {}
variable "hook" { default = "true" }
resource "terraform_data" "a" { input = var.given }
resource "terraform_data" "b" {
  triggers_replace = [var.hook]
  provisioner "local-exec" { command = var.hook }
}
output "made" {
  value     = var.given
  sensitive = true
}
"""
    write_module(module)
    kind.run(new_attempt(run="one").ctx, configure(vars={"given": canary}))
    second = new_attempt(run="two")
    second.ctx.vault.redactor.values.clear()
    kind.run(second.ctx, configure(vars={"given": "something else", "hook": f"echo the old one was {canary}"}))
    assert "the old one was ***" in second.log
    assert canary not in second.log + str(second.progress)
