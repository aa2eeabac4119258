"""Events that real runs gave, cut down to what matters."""

from __future__ import annotations

import pytest

from drystone.errors import FailureClass, PermanentError
from drystone.kinds.ansible.parse import Tally
from drystone.kinds.ansible.worker import slim


def event(name, **data):
    return {"event": name, "stdout": data.pop("stdout", ""), "data": data}


def end(code):
    return {"event": "end", "rc": code}


def stats(**columns):
    return event("playbook_on_stats", **columns)


def tally(*events):
    made = Tally()
    for each in events:
        made.take(each)
    return made


def failed(host="web1", task="install", **result):
    return event("runner_on_failed", host=host, task=task, res=result)


def unreachable(host="web1", msg="Connection timed out"):
    return event("runner_on_unreachable", host=host, task="install", res={"msg": msg, "unreachable": True})


def test_exit_code_zero_is_success_whatever_happened_on_the_way():
    assert tally(failed(msg="x"), stats(rescued={"web1": 1}), end(0)).failure() is None


def test_all_hosts_unreachable_is_unreachable():
    error = tally(unreachable(), unreachable("web2"), stats(dark={"web1": 1, "web2": 1}), end(4)).failure()
    assert error.failure_class is FailureClass.UNREACHABLE
    assert error.message == 'web1: task "install": Connection timed out (and 1 more host)'


def test_a_failed_task_outweighs_unreachable_hosts():
    seen = tally(unreachable(), failed("web2", msg="x"), stats(dark={"web1": 1}, failures={"web2": 1}), end(4))
    assert seen.failure().failure_class is FailureClass.FAILED


@pytest.mark.parametrize(
    ("said", "permanent"), [("Host key verification failed.", True), ("ops@web1: Permission denied (publickey).", False)]
)
def test_what_a_server_refuses_is_refused(said, permanent):
    error = tally(unreachable(msg=f"Failed to connect to the host via ssh: {said}"), stats(dark={"web1": 1}), end(4)).failure()
    assert (error.failure_class, error.permanent) == (FailureClass.REFUSED, permanent)


def test_problems_that_were_ignored_or_rescued_are_not_told():
    ignored = event("runner_on_failed", host="web1", task="a", ignore_errors=True, res={"msg": "ignored"})
    seen = tally(ignored, failed("web2", "b", msg="rescued"), failed("web1", "c", msg="real"), stats(failures={"web1": 1}), end(2))
    assert seen.failure().message == 'web1: task "c": real'


def test_an_error_before_the_first_play_is_invalid_and_unfolded():
    text = "[WARNING]: old\n[ERROR]: couldn't resolve module/action\n'nope'. This often indicates a misspelling.\nOrigin: /p/x.yaml:3"
    error = tally({"event": "verbose", "stdout": text}, end(4)).failure()
    assert isinstance(error, PermanentError)
    assert error.failure_class is FailureClass.INVALID
    assert error.message == "couldn't resolve module/action 'nope'. This often indicates a misspelling."
    assert not error.changed


def test_an_end_without_a_reason_is_a_crash():
    assert tally(end(-9)).failure().failure_class is FailureClass.CRASHED


def test_giving_up_is_a_failure():
    assert tally(stats(ok={"web1": 1}), end(2)).failure().failure_class is FailureClass.FAILED


def test_the_end_of_the_output_is_the_detail():
    seen = tally(*({"event": "verbose", "stdout": f"line {number}"} for number in range(100)), failed(msg="x"), end(2))
    assert seen.failure().detail.splitlines()[0] == "line 60"


def test_sums_and_hosts_come_from_the_recap():
    result = tally(stats(ok={"a": 2, "b": 1}, changed={"a": 1}, dark={"c": 1}), end(4)).result(check=False)
    assert (result["ok"], result["changed"], result["unreachable"], result["failed"]) == (3, 1, 1, 0)
    assert result["hosts"]["c"]["unreachable"] == 1


def test_arguments_and_whole_results_do_not_leave_the_worker():
    seen = slim(
        {
            "event": "runner_on_ok",
            "stdout": "ok",
            "event_data": {
                "host": "web1", "task": "t", "task_args": "password=x",
                "res": {"changed": True, "invocation": {"module_args": {"password": "x"}}, "stdout": "y" * 9000},
            },
        }
    )  # fmt: skip
    assert seen["data"] == {"host": "web1", "task": "t", "res": {"changed": True, "stdout": "y" * 4000}}


def test_outputs_that_no_store_takes_are_refused_and_long_lines_cut():
    data = {"artifact_data": {"dump": "x" * (2 << 20)}, "ok": {"web1": 1}}
    seen = slim({"event": "playbook_on_stats", "stdout": "y" * (5 << 20), "event_data": data})
    assert len(seen["stdout"]) == 200_000
    error = tally(seen, end(0)).failure()
    assert error.failure_class is FailureClass.INVALID
    assert "more than the store takes" in error.message


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Specified inventory, host pattern and/or --limit leaves us with no hosts to target.", "`limit`"),
        ("couldn't resolve module/action 'acme.cloud.vm'. This often indicates a misspelling", "`collections`"),
        ("the role 'nginx' was not found in /playbooks/roles", "`collections`"),
        ("Attempting to decrypt but no vault secrets found.", "`vault`"),
        ("YAML parsing failed", "--syntax-check"),
    ],
)
def test_the_hint_is_about_what_is_wrong_and_not_always_about_the_playbook(said, hint):
    error = tally(event("verbose", stdout=f"[ERROR]: {said}"), end(1)).failure()
    assert hint in error.hint


def test_a_program_that_fails_without_a_word_is_told_with_its_exit_code():
    seen = tally(failed(msg="non-zero return code", rc=3, stderr="", stdout=""), stats(failures={"web1": 1}), end(2))
    assert seen.failure().message == 'web1: task "install": non-zero return code (3)'
