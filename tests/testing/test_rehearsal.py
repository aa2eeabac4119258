"""Rehearsals: the real compiler and core, no infrastructure, and faults that come true where they say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from drystone.errors import InputError, NotFoundError, PlanError, RefusedError
from drystone.testing.faults import cancel_at, crash_after, takes
from drystone.testing.rehearsal import rehearse

SHOP = """
drystone: 1
name: shop
defaults: {retry: {attempts: 3, delay: 10s, jitter: false}}
tasks:
  base: {command: {shell: make base, idempotent: true}, undo: {command: {shell: drop base}}}
  part:
    needs: [base]
    for_each: [a, b]
    command: {shell: "make {{ each.value }}", idempotent: true}
    undo: {command: {shell: "drop {{ each.value }}"}}
  last: {needs: [part], command: {shell: check, idempotent: true}, retry: 1, undo: none}
"""


def test_it_ends_well_unless_a_fault_says_otherwise() -> None:
    rehearsal = rehearse(SHOP)
    assert (rehearsal.status, rehearsal.exit_code) == ("succeeded", 0)
    assert rehearsal.succeeded == ["base", "part[0]", "part[1]", "last"]


def test_what_was_done_is_undone_when_a_task_fails() -> None:
    rehearsal = rehearse(SHOP, faults="last fails")
    assert (rehearsal.status, rehearsal.exit_code) == ("compensated", 3)
    assert rehearsal.failed == ["last"]
    assert rehearsal.undone == ["part[0]", "part[1]", "base"]


def test_a_retry_is_waited_for_in_no_time() -> None:
    rehearsal = rehearse(SHOP, faults="base fails twice with unreachable")
    assert rehearsal.status == "succeeded"
    assert rehearsal.attempts("base") == 3
    assert rehearsal.took == timedelta(seconds=10 + 20 + 5)


def test_equal_arguments_give_an_equal_history() -> None:
    first, second = (rehearse(SHOP, faults=["last fails", "crash after event 8"]) for _ in range(2))
    assert first.events == second.events


def test_what_names_an_instance_wins_over_what_names_its_task() -> None:
    rehearsal = rehearse(SHOP, faults=[takes("part[1]", "9s"), takes("part", "3s")])
    assert rehearsal.took == timedelta(seconds=1 + 9 + 1)


def test_an_undo_that_fails_for_good_leaves_what_it_rests_on() -> None:
    rehearsal = rehearse(SHOP, faults=["last fails", "undo of part[1] fails"])
    assert (rehearsal.status, rehearsal.exit_code) == ("compensation_failed", 4)
    assert rehearsal.undo_failed == ["part[1]"]
    assert rehearsal.left == ["base", "part[1]"]
    assert rehearsal.undo_attempts("part[1]") == 3


def test_a_run_that_dies_after_any_event_ends_as_an_undisturbed_one() -> None:
    undisturbed = rehearse(SHOP, faults="last fails")
    for event in range(1, len(undisturbed.events)):
        rehearsal = rehearse(SHOP, faults=["last fails", crash_after(event=event)])
        assert (rehearsal.status, rehearsal.undone) == (undisturbed.status, undisturbed.undone), rehearsal.timeline
        assert set(rehearsal.unused) <= {crash_after(event=event)}


def test_an_attempt_in_flight_when_drystone_died_is_made_again_where_that_does_no_harm() -> None:
    rehearsal = rehearse(SHOP, faults="crash during base")
    assert rehearsal.types("base") == ["task.started", "task.lost", "task.started", "task.succeeded"]


def test_an_attempt_that_may_not_be_made_again_fails_when_drystone_died_during_it() -> None:
    plan = SHOP.replace("make base, idempotent: true", "make base")
    rehearsal = rehearse(plan, faults="crash during base")
    assert rehearsal.failed == ["base"]
    assert rehearsal.told("task.failed", "base")[0]["class"] == "crashed"


def test_a_cancel_takes_back_what_was_done() -> None:
    rehearsal = rehearse(SHOP, faults=cancel_at("last"))
    assert (rehearsal.status, rehearsal.cause, rehearsal.exit_code) == ("compensated", "cancelled", 130)
    assert rehearsal.undone == ["part[0]", "part[1]", "base"]


def test_a_cancel_does_not_touch_the_way_back() -> None:
    rehearsal = rehearse(SHOP, faults=["last fails", "cancel during undo of base"])
    assert (rehearsal.status, rehearsal.exit_code) == ("compensated", 3)


def test_what_takes_longer_than_its_timeout_fails_with_timeout() -> None:
    plan = SHOP.replace("name: shop", "name: shop\ntimeout: 1h").replace("retry: 1,", "retry: 1, timeout: 5m,")
    rehearsal = rehearse(plan, faults="last takes 20m")
    assert rehearsal.told("task.failed", "last")[0]["class"] == "timeout"
    assert rehearse(plan, faults="last takes 4m").status == "succeeded"


def test_what_changes_nothing_is_not_undone() -> None:
    assert rehearse(SHOP, faults=["base changes nothing", "last fails"]).undone == ["part[0]", "part[1]"]


def test_a_run_that_succeeded_can_be_taken_back() -> None:
    rehearsal = rehearse(SHOP)
    undone = rehearsal.undo()
    assert (undone.status, undone.cause, undone.exit_code) == ("compensated", "requested", 0)
    assert (rehearsal.status, rehearsal.undone) == ("succeeded", [])
    with pytest.raises(RefusedError, match="undone already"):
        undone.undo()


def test_a_stopped_run_goes_on_where_it_stopped() -> None:
    stopped = rehearse(SHOP.replace("name: shop", "name: shop\non_failure: stop"), faults="part[1] fails")
    assert (stopped.status, stopped.exit_code, stopped.blocked) == ("failed", 7, ["last"])
    resumed = stopped.resume()
    assert resumed.status == "succeeded"
    assert resumed.started[len(stopped.started) :] == ["part[1]", "last"]


# ---- what tasks give out ----------------------------------------------------------------------------------------------

BRANCH = """
drystone: 1
name: branch
tasks:
  look: {command: {argv: [df], parse: json}, undo: none}
  tidy: {when: "{{ tasks.look.outputs.stdout.free | default(0) < 10 }}", command: {argv: [tidy]}, undo: none}
"""


@pytest.mark.parametrize(("free", "skipped"), [(5, []), (50, ["tidy"])])
def test_conditions_see_the_outputs_that_the_test_gives(free: int, skipped: list[str]) -> None:
    assert rehearse(BRANCH, outputs={"look": {"stdout": {"free": free}}}).skipped == skipped


def test_a_condition_is_never_decided_by_what_nobody_said() -> None:
    with pytest.raises(InputError, match=r'plan\.yaml:6:\d+: ".*" needs the outputs of task "look"') as caught:
        rehearse(BRANCH)
    assert caught.value.__notes__ == ['say it: rehearse(..., outputs={"look": {...}})']


def test_a_fan_out_over_what_nobody_said_names_the_task() -> None:
    plan = """
drystone: 1
name: fan
tasks:
  find: {command: {argv: [ls], parse: lines}, undo: none}
  each: {for_each: "{{ tasks.find.outputs.stdout }}", command: {argv: [rm, "{{ each.value }}"]}, undo: none}
"""
    with pytest.raises(InputError, match='needs the outputs of task "find"'):
        rehearse(plan)
    assert rehearse(plan, outputs={"find": {"stdout": ["x", "y"]}}).succeeded == ["find", "each[0]", "each[1]"]


def test_a_condition_over_a_result_that_nobody_told_names_the_task() -> None:
    plan = """
drystone: 1
name: results
on_failure: continue
tasks:
  play: {ansible: {playbook: x.yaml, hosts: [a]}, undo: none, allow_failure: true}
  mail: {needs: [play], when: "{{ tasks.play.result.unreachable > 0 }}", noop: {}}
"""
    with pytest.raises(InputError, match='needs the result of task "play"'):
        rehearse(plan, faults="play fails")
    assert rehearse(plan, faults="play fails", results={"play": {"unreachable": 1}}).succeeded == ["mail"]
    assert rehearse(plan, results={"play": {"unreachable": 0}}).skipped == ["mail"]


def test_the_outputs_of_the_plan_need_those_of_its_tasks() -> None:
    plan = """
drystone: 1
name: report
tasks: {look: {command: {argv: [df], parse: json}, undo: none}}
outputs: {free: "{{ tasks.look.outputs.stdout.free }}"}
"""
    with pytest.raises(InputError, match='needs the outputs of task "look"'):
        rehearse(plan)
    assert rehearse(plan, outputs={"look": {"stdout": {"free": 7}}}).outputs == {"free": 7}


def test_a_list_gives_each_instance_its_item() -> None:
    plan = SHOP + 'outputs: {names: "{{ tasks.part.outputs | map(attribute=\'stdout\') | list }}"}\n'
    assert rehearse(plan, outputs={"part": [{"stdout": "x"}, {"stdout": "y"}]}).outputs == {"names": ["x", "y"]}
    assert rehearse(plan, outputs={"part": {"stdout": "x"}, "part[1]": {"stdout": "z"}}).outputs == {"names": ["x", "z"]}
    with pytest.raises(InputError, match="1 are given, and it has 2 instances"):
        rehearse(plan, outputs={"part": [{"stdout": "x"}]})


def test_a_noop_gives_out_what_the_plan_says() -> None:
    plan = """
drystone: 1
name: join
tasks: {join: {noop: {outputs: {n: 3}}}, each: {for_each: "{{ tasks.join.outputs.n }}", noop: {}}}
"""
    assert rehearse(plan).succeeded == ["join", "each[0]", "each[1]", "each[2]"]


def test_outputs_of_a_task_that_the_plan_does_not_have_are_refused() -> None:
    with pytest.raises(NotFoundError, match='task "loook"') as caught:
        rehearse(BRANCH, outputs={"loook": {}})
    assert caught.value.hint == 'did you mean "look"?'


def test_an_attempt_whose_config_cannot_be_made_of_the_outputs_fails_as_it_would_in_a_run() -> None:
    rehearsal = rehearse("environment", inputs={"name": "demo"}, outputs={"vm": {"ip": "10.0.0.1"}})
    assert rehearsal.failed == ["ready"]
    failure = rehearsal.told("task.failed", "ready")[0]
    assert failure["class"] == "invalid" and 'a host needs an "address"' in failure["message"]


def test_an_attempt_whose_rendered_config_its_kind_refuses_fails_as_it_would_in_a_run() -> None:
    plan = """
drystone: 1
name: odd
inputs: {seconds: {type: string}}
tasks: {nap: {noop: {sleep: "{{ inputs.seconds }}"}}}
"""
    rehearsal = rehearse(plan, inputs={"seconds": "many"})
    assert rehearsal.failed == ["nap"]
    assert rehearse(plan, inputs={"seconds": "5s"}).status == "succeeded"


def test_a_poll_whose_condition_the_outputs_do_not_make_true_times_out() -> None:
    plan = """
drystone: 1
name: poll
tasks:
  ask: {http: {url: "http://a/"}, poll: {until: "{{ result.status == 200 }}", every: 1s, timeout: 1m}}
"""
    assert rehearse(plan).status == "succeeded"
    assert rehearse(plan, outputs={"ask": {"status": 200}}).status == "succeeded"
    slow = rehearse(plan, outputs={"ask": {"status": 503}})
    assert slow.told("task.failed", "ask")[0]["class"] == "timeout"


# ---- people, waits and pools ------------------------------------------------------------------------------------------

GATE = """
drystone: 1
name: gate
tasks:
  base: {command: {shell: make base}, undo: {command: {shell: drop base}}}
  gate: {needs: [base], approval: {message: "Ship {{ tasks.base.outputs.stdout }}?", approvers: [ada, bob], timeout: 2h}}
  ship: {needs: [gate], command: {shell: ship}, undo: none}
"""


def test_a_run_goes_on_when_somebody_approves() -> None:
    rehearsal = rehearse(GATE, faults="gate is approved by bob: go")
    assert rehearsal.succeeded == ["base", "gate", "ship"]
    assert rehearsal.told("approval.given", "gate") == [{"answer": "approve", "by": "bob", "comment": "go"}]
    assert rehearse(GATE, faults="gate is approved").told("approval.given")[0]["by"] == "ada"


def test_a_run_is_taken_back_when_somebody_rejects() -> None:
    rehearsal = rehearse(GATE, faults="gate is rejected")
    assert (rehearsal.failed, rehearsal.undone) == (["gate"], ["base"])


def test_an_approval_that_nobody_gives_in_time_is_none() -> None:
    rehearsal = rehearse(GATE)
    assert rehearsal.failed == ["gate"]
    assert rehearsal.took > timedelta(hours=2)


def test_an_answer_of_somebody_who_may_not_answer_is_refused() -> None:
    with pytest.raises(RefusedError, match='"eve" may not answer'):
        rehearse(GATE, faults="gate is approved by eve")


def test_a_question_survives_a_crash_and_does_not_survive_a_cancel() -> None:
    assert rehearse(GATE, faults=["crash during gate", "gate is approved"]).status == "succeeded"
    assert rehearse(GATE, faults=["cancel during gate", "gate is approved"]).undone == ["base"]


def test_a_wait_takes_its_time_and_none_of_ours() -> None:
    plan = """
drystone: 1
name: waits
tasks: {sleep: {wait: {for: 3d}}, wake: {needs: [sleep], wait: {until: "2026-02-01T00:00:00Z"}}}
"""
    assert rehearse(plan).took == timedelta(days=31)


def test_a_wait_for_what_nobody_said_names_the_task() -> None:
    plan = """
drystone: 1
name: waits
tasks: {ask: {command: {argv: [date]}, undo: none}, wait: {wait: {for: "{{ tasks.ask.outputs.stdout }}"}}}
"""
    with pytest.raises(InputError, match='task "wait" waits for what the rehearsal was not told'):
        rehearse(plan)
    assert rehearse(plan, outputs={"ask": {"stdout": "1h"}}).status == "succeeded"


def test_pools_have_the_sizes_that_the_project_gives_them(tmp_path: Path) -> None:
    (tmp_path / "drystone.toml").write_text("[pools]\nlicences = 2\n")
    plan = """
drystone: 1
name: pools
tasks: {build: {for_each: 6, pool: licences, command: {argv: [build]}, undo: none}}
"""
    assert rehearse(plan, folder=tmp_path).took == timedelta(seconds=3)


# ---- plans and inputs -------------------------------------------------------------------------------------------------


def test_a_plan_is_found_by_name_or_file_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans/shop.yaml").write_text(SHOP)
    assert rehearse("shop", folder=tmp_path).status == "succeeded"
    assert rehearse(tmp_path / "plans/shop.yaml").status == "succeeded"
    assert {path.name for path in tmp_path.rglob("*")} == {"plans", "shop.yaml"}


def test_an_unknown_plan_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        rehearse("enviroment", folder=tmp_path)
    assert caught.value.__notes__ == ['did you mean "environment"?']


def test_every_mistake_of_a_plan_is_told_with_its_place() -> None:
    with pytest.raises(PlanError) as caught:
        rehearse(SHOP.replace("needs: [base]", "needs: [bsae]").replace("check,", "'{{ inputs.x }}',"))
    notes = "\n".join(caught.value.__notes__)
    assert "plan.yaml:" in notes and 'did you mean "base"?' in notes and 'no input "x"' in notes


def test_inputs_are_checked_and_every_problem_told() -> None:
    with pytest.raises(InputError) as caught:
        rehearse("environment", inputs={"name": "Demo", "vms": "many"})
    assert len(caught.value.__notes__) >= 2


def test_a_secret_input_is_not_shown() -> None:
    plan = """
drystone: 1
name: secret
inputs: {password: {type: string, secret: true}}
tasks: {use: {command: {argv: [login, "{{ inputs.password }}"]}, undo: none}}
"""
    rehearsal = rehearse(plan, inputs={"password": "hunter2hunter2"})
    assert rehearsal.status == "succeeded"
    assert "hunter2" not in f"{rehearsal.timeline}{rehearsal!r}{rehearsal.events}"


# ---- the timeline -----------------------------------------------------------------------------------------------------


def test_the_timeline_tells_a_person_what_happened() -> None:
    rehearsal = rehearse(SHOP, faults=["base fails once with unreachable", "last fails: no", "crash after event 99"])
    lines = rehearsal.timeline.splitlines()
    assert lines[:4] == [
        "shop: compensated (exit 3) after 16s",
        "fault: base fails once with unreachable",
        "fault: last fails: no",
        "fault: crash after event 99 (this never happened)",
    ]
    assert "    4        1s  base: failed (unreachable): as the fault plan says, will be tried again" in lines
    assert "    5        1s  base: next attempt in 10s" in lines
    assert lines[-1] == "undone: part[0], part[1], base"
    assert repr(rehearsal) == "<Rehearsal of shop: compensated, failed=['last'], undone=['part[0]', 'part[1]', 'base']>"
