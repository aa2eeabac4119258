from pathlib import Path

import pytest
from pydantic import ValidationError

from drystone.errors import CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.command import Command

command = Command()


def run(attempt, **config):
    return command.run(attempt.ctx, Command.Config.model_validate(config))


def test_outputs_are_exit_code_and_both_streams(attempt):
    outcome = run(attempt, shell="echo out; echo err >&2")
    assert outcome.outputs == {"exit": 0, "stdout": "out", "stderr": "err"}
    first, *lines = attempt.log.splitlines()
    assert first == "$ echo out; echo err >&2"
    assert sorted(lines) == ["err", "out"]


def test_argv_is_not_read_by_a_shell(attempt):
    assert run(attempt, argv=["printf", "%s|", "$HOME", "a b", 7]).outputs["stdout"] == "$HOME|a b|7|"


def test_a_script_ends_at_the_first_line_that_fails(attempt):
    with pytest.raises(TemporaryError, match="exit code 1"):
        run(attempt, shell="false\necho later")
    assert "later" not in attempt.log.splitlines()


def test_a_script_does_not_show_in_the_list_of_processes(attempt, canary):
    script = f": {canary}\ntr '\\0' ' ' < /proc/$$/cmdline; env"
    outcome = run(attempt, shell=script)
    assert canary not in outcome.outputs["stdout"]


def test_the_folder_is_the_projects_root_unless_given(attempt, project):
    (project / "sub").mkdir()
    assert run(attempt, argv=["pwd"]).outputs["stdout"] == str(project)
    assert run(attempt, argv=["pwd"], cwd="sub").outputs["stdout"] == str(project / "sub")


def test_a_missing_folder_is_invalid(attempt):
    with pytest.raises(PermanentError) as caught:
        run(attempt, argv=["pwd"], cwd="nowhere")
    assert caught.value.failure_class is FailureClass.INVALID


def test_environment_and_input_are_handed_over(attempt):
    outcome = run(attempt, shell='cat; printf %s "$COLOUR $COUNT"', env={"COLOUR": "blue", "COUNT": 3}, stdin="in:")
    assert outcome.outputs["stdout"] == "in:blue 3"


def test_an_exit_code_that_counts_as_success_is_one(attempt):
    assert run(attempt, shell="exit 3", ok=[0, 3]).outputs["exit"] == 3


def test_a_failure_tells_the_last_line_and_keeps_the_end(attempt):
    with pytest.raises(TemporaryError) as caught:
        run(attempt, shell="for i in $(seq 30); do echo line $i >&2; done; exit 4")
    assert caught.value.failure_class is FailureClass.FAILED
    assert caught.value.message == "the script ended with exit code 4: line 30"
    assert len(caught.value.detail.splitlines()) == 20


def test_a_killed_program_has_crashed(attempt):
    with pytest.raises(TemporaryError, match="signal 9") as caught:
        run(attempt, shell="kill -9 $$")
    assert caught.value.failure_class is FailureClass.CRASHED


def test_a_missing_program_has_crashed_and_changed_nothing(attempt):
    with pytest.raises(PermanentError, match="no-such-program") as caught:
        run(attempt, argv=["no-such-program"])
    assert caught.value.failure_class is FailureClass.CRASHED
    assert not caught.value.changed


def test_json_and_lines_are_parsed(attempt):
    assert run(attempt, argv=["echo", '{"a": [1]}'], parse="json").outputs["stdout"] == {"a": [1]}
    assert run(attempt, shell="echo a; echo b", parse="lines").outputs["stdout"] == ["a", "b"]


def test_output_that_is_not_json_is_invalid(attempt):
    with pytest.raises(PermanentError, match="not JSON") as caught:
        run(attempt, argv=["echo", "hello"], parse="json")
    assert caught.value.failure_class is FailureClass.INVALID


def test_nan_in_json_is_the_programs_mistake_and_not_the_kinds(attempt):
    with pytest.raises(PermanentError, match='"NaN" is not in JSON') as caught:
        run(attempt, argv=["echo", '{"ratio": NaN}'], parse="json")
    assert caught.value.failure_class is FailureClass.INVALID


def test_sensitive_output_is_sealed_whole_and_not_logged(attempt, canary):
    attempt.ctx.redact(canary)
    outcome = run(attempt, argv=["echo", canary], sensitive=True)
    assert outcome.outputs["stdout"] == canary
    assert outcome.sensitive == {"stdout", "stderr"}
    assert attempt.log == ""


def test_cancel_ends_the_command_and_what_it_started(attempt, in_background, eventually, project):
    work = in_background(lambda: run(attempt, shell="sleep 600 & echo $! > child; wait"))
    child = project / "child"
    eventually(lambda: child.exists() and child.read_text().strip() != "")
    attempt.stop()
    work.join()
    assert isinstance(work.error, CancelledError)
    eventually(lambda: not Path(f"/proc/{child.read_text().strip()}").exists())


def test_exactly_one_of_argv_and_shell_is_given():
    for config in ({}, {"argv": ["true"], "shell": "true"}):
        with pytest.raises(ValidationError, match="exactly one"):
            Command.Config.model_validate(config)


def test_only_the_plan_can_say_that_a_repeat_does_no_harm():
    assert not Command.is_idempotent({"shell": "x"})
    assert not Command.is_idempotent({"shell": "x", "idempotent": object()})
    assert Command.is_idempotent({"shell": "x", "idempotent": True})
