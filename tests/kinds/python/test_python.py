import ast
import re
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from drystone.errors import AttemptError, CancelledError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.python import Python, child

python = Python()


@pytest.fixture
def call(attempt, project):
    """Calls `function` of a module with this source."""

    def do(source: str, function: str = "go", **config):
        (project / "trial.py").write_text(source)
        return python.run(attempt.ctx, Python.Config.model_validate({"call": f"trial:{function}", **config}))

    return do


@pytest.fixture
def failure(call):
    """The error of such a call."""

    def of(source: str, function: str = "go", **config) -> AttemptError:
        with pytest.raises(AttemptError) as caught:
            call(source, function, **config)
        return caught.value

    return of


def test_outputs_are_what_the_function_returned(call):
    source = "def go(*args, **kwargs): return {'args': args, 'kwargs': kwargs, 'ä': [1.5, True, None]}"
    outcome = call(source, args=[1, "two"], kwargs={"three": {"four": []}})
    assert outcome.outputs == {"args": [1, "two"], "kwargs": {"three": {"four": []}}, "ä": [1.5, True, None]}
    assert outcome.changed


@pytest.mark.parametrize("value", [7, "text", [1, 2], False])
def test_a_result_that_is_no_map_is_the_outputs_too(call, value):
    assert call("def go(value): return value", args=[value]).outputs == value


def test_a_function_that_returns_nothing_has_no_outputs(call):
    assert call("def go(): pass").outputs == {}


def test_what_the_function_prints_is_the_log_and_not_the_result(call, attempt):
    source = "import os, sys\ndef go():\n print('{\"outputs\": 1}')\n print('err', file=sys.stderr)\n os.system('echo child')\n return 2"
    assert call(source).outputs == 2
    assert attempt.log.splitlines() == ['{"outputs": 1}', "err", "child"]


def test_the_log_is_there_while_the_function_runs(call, attempt, project, in_background, eventually):
    source = "import os\ndef go():\n print('begun')\n while not os.path.exists('end'): pass"
    work = in_background(lambda: call(source))
    eventually(lambda: attempt.log == "begun\n")
    (project / "end").touch()
    work.join()
    assert work.error is None


def test_the_function_finds_an_empty_input(call):
    assert call("import sys\ndef go(): return sys.stdin.read()").outputs == ""


def test_a_coroutine_is_awaited(call):
    assert call("import asyncio\nasync def go():\n await asyncio.sleep(0)\n return 'done'").outputs == "done"


def test_a_method_of_a_class_can_be_called(call):
    assert call("class Shop:\n @staticmethod\n def open(): return 'open'", "Shop.open").outputs == "open"


def test_modules_are_found_in_given_folders_and_then_in_the_project(call, project):
    (project / "lib").mkdir()
    (project / "lib/tool.py").write_text("where = 'lib'")
    (project / "tool.py").write_text("where = 'root'")
    (project / "other.py").write_text("where = 'root'")
    source = "import tool, other\ndef go(): return [tool.where, other.where]"
    assert call(source, path="lib").outputs == ["lib", "root"]
    assert call(source).outputs == ["root", "root"]


def test_modules_of_the_kind_are_not_in_the_way(call):
    source = "def go():\n import importlib.util\n return importlib.util.find_spec('config') is None"
    assert call(source).outputs is True


def test_nothing_is_written_into_the_project(call, project):
    (project / "tool.py").write_text("")
    call("import tool\ndef go(): pass")
    assert sorted(path.name for path in project.iterdir()) == ["tool.py", "trial.py"]


def test_the_function_runs_in_the_projects_root_with_the_attempts_environment(call, project):
    source = "import os\ndef go(): return [os.getcwd(), os.environ['COLOUR']]"
    assert call(source, env={"COLOUR": "blue"}).outputs == [str(project), "blue"]


def test_arguments_do_not_show_in_the_list_of_processes(call, canary):
    source = "def go(secret): return open('/proc/self/cmdline').read() + open('/proc/self/environ').read()"
    assert canary not in call(source, args=[canary]).outputs


def test_an_interpreter_of_the_project_can_be_named(call, project):
    (project / "env").mkdir()
    launcher = project / "env/python"
    launcher.write_text(f'#!/bin/sh\nLAUNCHED=yes exec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    assert call("import os\ndef go(): return os.environ.get('LAUNCHED')", python="env/python").outputs == "yes"


def test_a_missing_interpreter_has_crashed_and_changed_nothing(failure):
    error = failure("def go(): pass", python="no-such-python")
    assert (error.failure_class, error.changed) == (FailureClass.CRASHED, False)


# ---- what cannot be called -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("trail:go", 'there is no module "trail"', 'did you mean "trial"?'),
        ("shop.prise:go", 'there is no module "shop.prise"', 'did you mean "shop.price"?'),
        ("trial.more:go", 'there is no module "trial.more"', '"trial" is not a package'),
        ("trial:gone", 'module "trial" has no "gone"', 'did you mean "go"?'),
        ("trial:Shop.opne", '"Shop" has no "opne"', 'did you mean "open"?'),
        ("trial:NUMBER", '"trial:NUMBER" is of type "int", which cannot be called', ""),
        ("trial:go", "\"trial:go\": missing a required argument: 'name'", "it takes (name)"),
    ],
)
def test_what_cannot_be_called_is_invalid_and_told_with_a_hint(failure, project, target, message, hint):
    (project / "shop").mkdir()
    (project / "shop/price.py").touch()
    error = failure("NUMBER = 1\ndef go(name): pass\nclass Shop:\n def open(self): pass", call=target)
    assert isinstance(error, PermanentError)
    assert (error.failure_class, error.message, error.hint, error.changed) == (FailureClass.INVALID, message, hint, False)


def test_an_argument_with_a_wrong_name_is_told_with_the_right_one(failure):
    error = failure("def go(colour='red'): pass", kwargs={"color": "blue"})
    assert (error.failure_class, error.hint) == (FailureClass.INVALID, 'did you mean "colour"?')


def test_a_module_that_needs_a_missing_package_says_which(failure):
    error = failure("import no_such_package\ndef go(): pass")
    assert error.message == 'module "trial" needs "no_such_package", which is not there'
    assert error.failure_class is FailureClass.INVALID
    assert 'with "python"' in error.hint


def test_a_module_that_python_cannot_read_says_where(failure):
    error = failure("def go(:\n pass")
    assert error.failure_class is FailureClass.INVALID
    assert "SyntaxError" in error.message
    assert "trial.py" in error.detail


@pytest.mark.parametrize("call", ["trial", "trial:", ":go", "a b:go", "trial:go()", "1a:go", 7])
def test_a_call_that_names_no_function_is_refused(call):
    with pytest.raises(ValidationError, match="names no function"):
        Python.Config.model_validate({"call": call})


# ---- what goes wrong in the call -------------------------------------------------------------------------------------


def test_an_exception_has_failed_with_type_message_and_traceback(failure, attempt):
    error = failure("def go():\n  inner()\ndef inner():\n  raise ValueError('no such shop')")
    assert isinstance(error, TemporaryError)
    assert (error.failure_class, error.message) == (FailureClass.FAILED, '"trial:go" raised ValueError: no such shop')
    assert error.detail.splitlines()[-1] == "ValueError: no such shop"
    assert "line 4, in inner" in error.detail
    assert "child.py" not in error.detail
    assert "line 4, in inner" in attempt.log


def test_a_function_may_raise_drystones_own_errors(failure):
    source = """
from datetime import timedelta
from drystone.errors import PermanentError, TemporaryError
def wait(): raise TemporaryError("conflict", "locked by ci", retry_in=timedelta(minutes=2), changed=False)
def stop(): raise PermanentError("refused", "not on a Sunday", hint="come back tomorrow")
"""
    wait, stop = failure(source, "wait"), failure(source, "stop")
    assert isinstance(wait, TemporaryError)
    assert (wait.failure_class, wait.message, wait.changed) == (FailureClass.CONFLICT, "locked by ci", False)
    assert wait.retry_in is not None and wait.retry_in.total_seconds() == 120
    assert isinstance(stop, PermanentError)
    assert (stop.failure_class, stop.message, stop.hint) == (FailureClass.REFUSED, "not on a Sunday", "come back tomorrow")


def test_any_exception_may_name_its_class(failure):
    source = "class Busy(Exception):\n failure_class = 'rate_limited'\n retry_in = 5\ndef go(): raise Busy('later')"
    error = failure(source)
    assert (error.failure_class, error.message) == (FailureClass.RATE_LIMITED, "later")
    assert error.retry_in is not None and error.retry_in.total_seconds() == 5


def test_an_unknown_failure_class_is_failed_and_told(failure):
    error = failure("class Odd(Exception):\n failure_class = 'odd'\ndef go(): raise Odd('x')")
    assert error.failure_class is FailureClass.FAILED
    assert '"odd"' in error.hint


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("import datetime\ndef go(): return {'a': [datetime.date(2026, 1, 1)]}", 'the result["a"][0] is of type "date"'),
        ("def go(): return {'rate': float('nan')}", 'the result["rate"] is nan'),
        ("def go(): return {1: 2}", "the result has the key 1"),
        ("def go():\n a = []\n a.append(a)\n return a", "holds itself"),
        ("def go(): return 'x' * (1 << 20)", "larger than the store takes"),
    ],
)
def test_a_result_that_is_not_json_is_invalid_and_its_place_is_told(failure, source, place):
    error = failure(source)
    assert (error.failure_class, error.permanent, error.changed) == (FailureClass.INVALID, True, True)
    assert place in error.message


def test_sys_exit_is_honoured(call, failure):
    assert call("import sys\ndef go(): sys.exit(0)").outputs == {}
    assert call("import sys\ndef go(): sys.exit()").outputs == {}
    assert failure("import sys\ndef go(): sys.exit(4)").message == '"trial:go" ended with exit code 4'
    assert failure("import sys\ndef go(): sys.exit('no disk')").message == '"trial:go" ended: no disk'
    assert failure("import sys\ndef go(): sys.exit(4)").failure_class is FailureClass.FAILED


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("os._exit(5)", "exit code 5 before"),
        ("os._exit(0)", "exit code 0 before"),
        ("os.kill(os.getpid(), 9)", "signal 9 before"),
        ("atexit.register(os._exit, 6)", "exit code 6 after"),
    ],
)
def test_a_process_that_dies_has_crashed(failure, end, how):
    error = failure(f"import atexit, os, sys\ndef go():\n print('last words', file=sys.stderr)\n {end}")
    assert error.failure_class is FailureClass.CRASHED
    assert error.message == f'"trial:go" ended with {how} it returned'
    assert error.detail == "last words"


def test_cancel_interrupts_the_function_and_lets_it_clean_up(call, attempt, project, in_background, eventually):
    source = """
import os, time
def go():
    open('pid', 'w').write(str(os.getpid()))
    os.rename('pid', 'started')
    try:
        time.sleep(600)
    finally:
        open('cleaned', 'w').close()
"""
    work = in_background(lambda: call(source))
    eventually((project / "started").exists)
    attempt.stop()
    work.join()
    assert isinstance(work.error, CancelledError)
    assert (project / "cleaned").exists()
    assert not Path(f"/proc/{(project / 'started').read_text()}").exists()
    assert "KeyboardInterrupt" in attempt.log


# ---- secrets ---------------------------------------------------------------------------------------------------------


def test_a_sensitive_result_is_sealed_and_nothing_of_it_is_logged(call, attempt, canary):
    outcome = call("def go(secret):\n print(secret)\n return {'key': secret}", args=[canary], sensitive=True)
    assert outcome.outputs == {"key": canary}
    assert outcome.sensitive == {"key"}
    assert attempt.log == ""


def test_a_sensitive_result_without_names_becomes_a_secret(call, attempt, canary):
    assert call("def go(secret): return secret[:]", args=[canary], sensitive=True).outputs == canary
    attempt.ctx.log(canary)
    assert attempt.log == "***\n"


def test_a_sensitive_call_that_fails_tells_only_the_type(failure, canary):
    error = failure("def go(secret): raise KeyError(secret)", args=[canary], sensitive=True)
    assert error.message == '"trial:go" raised KeyError'
    assert canary not in error.detail + error.hint


def test_only_the_plan_can_say_that_a_repeat_does_no_harm():
    assert not Python.is_idempotent({"call": "a:b"})
    assert not Python.is_idempotent({"call": "a:b", "idempotent": object()})
    assert Python.is_idempotent({"call": "a:b", "idempotent": True})


def test_the_schema_has_the_shape_of_a_call():
    pattern = Python.Config.model_json_schema()["properties"]["call"]["pattern"]
    assert re.search(pattern, "package.module:Class.method")
    assert not re.search(pattern, "package.module")


def test_the_child_is_written_for_old_interpreters_too():
    ast.parse(Path(child.__file__).read_text(), feature_version=(3, 7))
