"""A root module is planned and applied as it is, and its outputs come back."""

from __future__ import annotations

import secrets
import stat

import pytest
from tests.kinds.terraform.conftest import contents, state_of

from drystone.errors import FailureClass, PermanentError, TemporaryError


@pytest.mark.parametrize("binary", ["terraform", "bundled"])
def test_a_module_is_applied_and_gives_its_outputs(kind, new_attempt, app, configure, binary):
    attempt = new_attempt(env={"DRYSTONE_TERRAFORM": binary})
    outcome = kind.run(attempt.ctx, configure(vars={"name": "web"}))
    assert outcome.outputs == {"name": "web"}
    assert outcome.changed
    state = outcome.result["state"]
    assert state == {name: (state_of(attempt.ctx) or {})[name] for name in ("serial", "lineage")}
    assert outcome.result == {
        "add": 1, "change": 0, "remove": 0, "summary": "1 added, 0 changed, 0 destroyed",
        "resources": [{"address": "terraform_data.a", "action": "create", "status": "done"}],
        "state": state,
    }  # fmt: skip


def test_a_second_run_changes_nothing_and_skips_init(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    kind.run(new_attempt(run="one").ctx, config)
    second = new_attempt(run="two")
    outcome = kind.run(second.ctx, config)
    assert not outcome.changed
    assert outcome.outputs == {"name": "web"}
    assert outcome.result["summary"] == "0 added, 0 changed, 0 destroyed"
    assert "terraform init" not in second.log


def test_each_resource_is_told_as_it_goes(kind, attempt, app, configure):
    kind.run(attempt.ctx, configure(vars={"name": "web"}))
    told = [message for message, _ in attempt.progress]
    assert told == [
        "1 to add, 0 to change, 0 to destroy",
        "terraform_data.a: creating…",
        "terraform_data.a: created",
        "1 added, 0 changed, 0 destroyed",
    ]
    assert attempt.progress[1][1] == {"resource": "terraform_data.a", "action": "create"}


def test_the_log_is_for_people(kind, attempt, app, configure):
    kind.run(attempt.ctx, configure(vars={"name": "web"}))
    assert "terraform_data.a: Creating..." in attempt.log
    assert '{"@level"' not in attempt.log
    assert "\x1b[" not in attempt.log


VALUES = {
    "text": 'quote " backslash \\ newline \n tab \t ${not.a_template} %{ if x } $${twice} bell \x07 ü 🧱',
    "number": 1.5,
    "truth": False,
    "nothing": None,
    "list": [1, "two", [None], {"deep": "${x}"}],
    "map": {"a-b": 1, "with space": "x", "${key}": "y"},
    "empty": {"list": [], "map": {}, "text": ""},
}


@pytest.mark.parametrize("name", VALUES)
def test_every_value_reaches_a_variable_unchanged(kind, attempt, write_module, configure, name):
    write_module('variable "value" {}\noutput "value" { value = var.value }\n')
    outcome = kind.run(attempt.ctx, configure(vars={"value": VALUES[name]}))
    assert outcome.outputs.get("value") == VALUES[name]


def test_vars_win_over_var_files_and_those_over_the_modules_own(kind, attempt, project, write_module, configure):
    write_module(
        {
            "main.tf": "".join(f'variable "{name}" {{}}\noutput "{name}" {{ value = var.{name} }}\n' for name in "abcd"),
            "terraform.tfvars": 'a = "module"\nb = "module"\nc = "module"\nd = "module"\n',
            "more.auto.tfvars.json": '{"b": "auto", "c": "auto", "d": "auto"}',
        }
    )
    (project / "file.tfvars").write_text('c = "file"\nd = "file"\n')
    outcome = kind.run(attempt.ctx, configure(vars={"d": "plan"}, var_files=["file.tfvars"]))
    assert outcome.outputs == {"a": "module", "b": "auto", "c": "file", "d": "plan"}


def test_a_module_finds_what_it_refers_to_and_its_folder_stays_as_it_is(kind, attempt, project, write_module, configure):
    lib = 'variable "x" {}\nmodule "inner" { source = "../inner" }\noutput "y" { value = "${var.x} ${module.inner.z}" }\n'
    write_module(lib, "modules/lib")
    write_module({"main.tf": 'output "z" { value = file("${path.module}/z.txt") }\n', "z.txt": "inner"}, "modules/inner")
    write_module({"a.txt": "from the project"}, "files")
    write_module(
        """
module "lib" {
  source = "../lib"
  x      = "x"
}
variable "which" { default = "a" }
output "lib" { value = module.lib.y }
output "file" { value = file("${path.module}/../../files/${var.which}.txt") }
output "here" { value = path.root }
output "started_in" { value = path.cwd }
resource "terraform_data" "local" {
  provisioner "local-exec" { command = "echo made > made.txt" }
}
""",
        "modules/app",
    )  # fmt: skip
    before = contents(project)
    outcome = kind.run(attempt.ctx, configure("modules/app"))
    assert outcome.outputs == {"lib": "x inner", "file": "from the project", "here": ".", "started_in": str(project / "modules/app")}
    assert contents(project) == before


def test_a_path_worked_out_at_run_time_leads_into_the_project(kind, attempt, write_module, configure):
    write_module({"a.txt": "found"}, "shared/files")
    write_module('variable "up" { default = "../.." }\noutput "file" { value = file("${var.up}/shared/files/a.txt") }\n', "modules/app")
    assert kind.run(attempt.ctx, configure("modules/app")).outputs == {"file": "found"}


def test_sensitive_outputs_are_named_and_hidden(kind, attempt, write_module, configure, canary):
    write_module(
        """
variable "password" {
  sensitive = true
}
resource "terraform_data" "user" { input = { name = "app", password = var.password } }
output "login" {
  value     = terraform_data.user.output
  sensitive = true
}
output "name" { value = "app" }
"""
    )
    outcome = kind.run(attempt.ctx, configure(vars={"password": canary}))
    assert outcome.outputs == {"login": {"name": "app", "password": canary}, "name": "app"}
    assert outcome.sensitive == {"login"}
    attempt.ctx.log(f"somebody prints {canary}")
    assert canary not in attempt.log


def test_what_is_kept_is_for_its_owner_only(kind, attempt, app, configure):
    kind.run(attempt.ctx, configure(vars={"name": "web"}))
    state = attempt.ctx.state
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = [*state.glob("*.sealed"), *state.glob("*.json"), *state.glob("runs/*"), *state.glob("versions/*/version.json")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_ephemeral_variables_reach_the_apply(kind, attempt, write_module, configure):
    write_module(
        """
variable "token" {
  ephemeral = true
}
resource "terraform_data" "a" {
  provisioner "local-exec" {
    command     = "test \\"$TOKEN\\" = once"
    environment = { TOKEN = var.token }
  }
}
"""
    )
    assert kind.run(attempt.ctx, configure(vars={"token": "once"})).changed


def test_a_workspace_has_state_and_records_of_its_own(kind, new_attempt, write_module, configure):
    write_module('resource "terraform_data" "a" {}\noutput "workspace" { value = terraform.workspace }\n')
    assert kind.run(new_attempt().ctx, configure()).outputs == {"workspace": "default"}
    blue = configure(workspace="blue")
    assert kind.run(new_attempt().ctx, blue).outputs == {"workspace": "blue"}
    undo = new_attempt()
    kind.undo(undo.ctx, blue)
    assert state_of(undo.ctx) is not None
    assert not (undo.ctx.state / "workspace-blue").exists()


def test_targets_limit_the_plan(kind, attempt, half_way, configure):
    outcome = kind.run(attempt.ctx, configure(targets=["terraform_data.first"]))
    assert [resource["address"] for resource in outcome.result["resources"]] == ["terraform_data.first"]


def test_a_change_of_outputs_alone_is_a_change_and_can_be_undone(kind, new_attempt, write_module, configure):
    write_module('output "x" { value = 1 }\n')
    kind.run(new_attempt(run="one").ctx, configure())
    write_module('output "x" { value = 2 }\n')
    outcome = kind.run(new_attempt(run="two").ctx, configure())
    assert (outcome.outputs, outcome.changed) == ({"x": 2}, True)
    kind.undo(new_attempt(run="two").ctx, configure())
    write_module('output "x" { value = 1 }\n')
    assert not kind.run(new_attempt(run="three").ctx, configure()).changed


def test_an_output_too_large_for_a_line_is_told_and_is_no_bug_of_the_kind(kind, attempt, write_module, configure):
    chunk, pin = "x" * (5 << 20), 'output "pin" {\n  value = 1\n  sensitive = true\n}\n'
    write_module({"main.tf": f'output "big" {{ value = file("${{path.module}}/big") }}\n{pin}', "big": chunk})
    with pytest.raises(PermanentError, match="more than the store takes") as caught:
        kind.run(attempt.ctx, configure())
    assert caught.value.failure_class == FailureClass.INVALID


def test_a_sensitive_number_is_hidden_where_it_is_used(kind, attempt, write_module, configure):
    pin = secrets.randbelow(10**9) + 10**9
    write_module(f'output "pin" {{\n  value = {pin}\n  sensitive = true\n}}\n')
    kind.run(attempt.ctx, configure())
    attempt.ctx.log(f"the pin is {pin}")
    assert str(pin) not in attempt.log and "the pin is ***" in attempt.log


def test_env_reaches_provisioners(kind, attempt, write_module, configure):
    write_module('resource "terraform_data" "a" {\n  provisioner "local-exec" { command = "test $COLOUR = green" }\n}\n')
    assert kind.run(attempt.ctx, configure(env={"COLOUR": "green"})).changed


def test_arguments_that_a_shell_adds_do_not_reach_the_commands(kind, new_attempt, app, configure):
    attempt = new_attempt(env={"TF_CLI_ARGS_plan": "-destroy", "TF_WORKSPACE": "other"})
    assert kind.run(attempt.ctx, configure(vars={"name": "web"})).outputs == {"name": "web"}


def test_a_state_beside_the_module_is_left_alone_and_mentioned(kind, attempt, app, configure):
    (app / "terraform.tfstate").write_text("{}")
    kind.run(attempt.ctx, configure(vars={"name": "web"}))
    assert 'terraform.tfstate" is not used' in attempt.log
    assert (app / "terraform.tfstate").read_text() == "{}"


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ({"max_destroy": 0}, "destroys 1 resource and guards.max_destroy is 0: terraform_data.a"),
        ({"deny_replace": True}, "replaces what guards.deny_replace protects: terraform_data.a"),
        ({"deny_replace": "terraform_data.*"}, "replaces what guards.deny_replace protects: terraform_data.a"),
    ],
)
def test_guards_refuse_a_plan_before_anything_changes(kind, new_attempt, write_module, configure, guards, message):
    write_module('variable "on" {}\nresource "terraform_data" "a" { triggers_replace = var.on }\n')
    kind.run(new_attempt(run="one").ctx, configure(vars={"on": 1}))
    with pytest.raises(PermanentError, match=message) as caught:
        kind.run(new_attempt(run="two").ctx, configure(vars={"on": 2}, guards=guards))
    assert caught.value.failure_class is FailureClass.REFUSED
    assert not caught.value.changed


def test_guards_let_pass_what_they_do_not_name(kind, new_attempt, write_module, configure):
    write_module('variable "on" {}\nresource "terraform_data" "a" { triggers_replace = var.on }\n')
    kind.run(new_attempt(run="one").ctx, configure(vars={"on": 1}))
    guards = {"max_destroy": 1, "deny_replace": ["terraform_data.b"]}
    outcome = kind.run(new_attempt(run="two").ctx, configure(vars={"on": 2}, guards=guards))
    assert outcome.result["resources"] == [{"address": "terraform_data.a", "action": "replace", "status": "done"}]


def test_the_saved_plan_is_gone_after_the_attempt(kind, new_attempt, app, configure):
    config = configure(vars={"name": "web"})
    for attempt in (new_attempt(run="one"), new_attempt(run="two")):
        kind.run(attempt.ctx, config)
        assert not list(attempt.ctx.state.rglob("plan.bin"))


def test_a_module_at_the_projects_root_runs(kind, attempt, write_module, configure):
    write_module({"main.tf": 'output "x" { value = file(".hidden/x.txt") }\n', ".hidden/x.txt": "seen"}, ".")
    assert kind.run(attempt.ctx, configure(".")).outputs == {"x": "seen"}


def test_a_folder_that_cannot_be_written_is_named(kind, attempt, app, configure):
    (attempt.ctx.state / "versions").write_text("in the way")
    with pytest.raises(TemporaryError, match="versions") as caught:
        kind.run(attempt.ctx, configure(vars={"name": "web"}))
    assert caught.value.failure_class is FailureClass.CRASHED
    assert not caught.value.changed
