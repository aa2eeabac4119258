"""Plans as tasks of plans, through the real command: what the outer run makes of how the inner one ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.engines.projects import Project

INNER = """
drystone: 1
name: inner
inputs: {name: {type: string}, fail: {type: boolean, default: false}}
tasks:
  one: {command: {shell: "echo one-{{ inputs.name }} >> effects"}, undo: {command: {shell: "echo undo-one-{{ inputs.name }} >> effects"}}}
  two:
    needs: [one]
    command: {shell: "echo two-{{ inputs.name }} >> effects; test ! -e fail; {{ 'exit 3' if inputs.fail else 'true' }}"}
    undo: {command: {shell: "echo undo-two-{{ inputs.name }} >> effects; test ! -e stuck", idempotent: true}, retry: 1}
outputs: {greeting: "hello {{ inputs.name }}"}
"""
OUTER = """
drystone: 1
name: outer
environment: staging
inputs: {fail: {type: boolean, default: false}, end: {type: boolean, default: true}}
tasks:
  first: {command: {shell: "echo first >> effects"}, undo: {command: {shell: "echo undo-first >> effects"}}}
  part: {needs: [first], plan: {name: inner, inputs: {name: x, fail: "{{ inputs.fail }}"}}}
  last:
    command: {shell: "echo last {{ tasks.part.outputs.greeting }} >> effects; {{ 'true' if inputs.end else 'exit 1' }}"}
    undo: none
"""
GATED = """
drystone: 1
name: gated
tasks:
  before: {command: {shell: "echo before >> effects"}, undo: {command: {shell: "echo undo-before >> effects"}}}
  gate: {needs: [before], approval: {message: "Go on?"}}
  after: {needs: [gate], command: {shell: "echo after >> effects"}, undo: {command: {shell: "echo undo-after >> effects"}}}
outputs: {by: "{{ tasks.gate.outputs.by }}"}
"""
AROUND = """
drystone: 1
name: around
environment: staging
tasks:
  part: {plan: {name: gated}}
  last: {command: {shell: "echo last {{ tasks.part.outputs.by }} >> effects"}, undo: {command: {shell: "echo undo-last >> effects"}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """With plans that have plans in them."""
    project = Project(tmp_path)
    for name, text in (("drystone.toml", ""), ("inner", INNER), ("outer", OUTER), ("gated", GATED), ("around", AROUND)):
        project.write(name, text)
    return project


def runs(project: Project) -> list[dict[str, Any]]:
    """All runs, the oldest first."""
    found: list[dict[str, Any]] = json.loads(project.run("runs", "--json").stdout)["runs"]
    return found[::-1]


def parts(project: Project) -> list[dict[str, Any]]:
    return [run for run in runs(project) if run["parent"]]


def task(project: Project, name: str, run: str = "last") -> dict[str, Any]:
    return next(item for item in project.shown(run)["tasks"] if item["id"] == name)


# ---- how it ends ------------------------------------------------------------------------------------------------------


def test_outputs_of_the_inner_plan_are_those_of_the_task(project: Project) -> None:
    done = project.run("run", "outer")
    assert done.returncode == 0, done.stderr
    assert project.lines("effects") == ["first", "one-x", "two-x", "last hello x"]
    assert "inner: task two succeeded" in done.stderr


def test_the_inner_run_is_a_run_of_its_own_that_says_what_it_is_part_of(project: Project) -> None:
    project.run("run", "outer")
    outer, inner = runs(project)
    assert (outer["parent"], inner["parent"], inner["environment"]) == (None, outer["id"], "staging")
    assert task(project, "part")["run"] == inner["id"]
    assert f"run {inner['id']}" in project.run("show", "last").stdout
    assert f"part of      run {outer['id']}" in project.run("show", inner["id"]).stdout
    assert f"part of {outer['id']}" in project.run("runs").stdout


def test_an_inner_run_that_failed_and_was_undone_leaves_the_task_nothing_to_undo(project: Project) -> None:
    done = project.run("run", "outer", "-i", "fail=true")
    assert done.returncode == 3, done.stderr
    assert project.lines("effects") == ["first", "one-x", "two-x", "undo-one-x", "undo-first"]
    failed = task(project, "part")
    error = failed["attempts"][-1]["error"]
    assert error["class"] == "failed" and "task two failed" in error["message"] and parts(project)[0]["id"] in error["message"]
    assert failed["undo"]["status"] == "not_needed" and not failed["changed"]


def test_the_inner_run_is_undone_as_a_whole_between_its_neighbours(project: Project) -> None:
    assert project.run("run", "outer", "-i", "end=false").returncode == 3
    assert project.lines("effects") == ["first", "one-x", "two-x", "last hello x", "undo-two-x", "undo-one-x", "undo-first"]
    assert [run["status"] for run in runs(project)] == ["compensated", "compensated"]


def test_undo_of_the_outer_run_takes_the_inner_one_back(project: Project) -> None:
    project.run("run", "outer")
    assert project.run("undo", "last", "--yes").returncode == 0
    assert project.lines("effects")[4:] == ["undo-two-x", "undo-one-x", "undo-first"]


def test_an_inner_run_that_succeeded_is_not_taken_back_alone(project: Project) -> None:
    project.run("run", "outer")
    outer, inner = runs(project)
    refused = project.run("undo", inner["id"], "--yes")
    assert refused.returncode == 1 and f"drystone undo {outer['id']}" in refused.stderr


def test_an_inner_undo_that_fails_is_told_with_the_run_to_look_at_and_tried_again_when_asked(project: Project) -> None:
    project.write("stuck.txt", "")
    (project.folder / "stuck.txt").rename(project.folder / "stuck")
    assert project.run("run", "outer", "-i", "end=false").returncode == 4
    inner = parts(project)[0]
    assert inner["status"] == "compensation_failed" and inner["id"] in task(project, "part")["undo"]["attempts"][-1]["error"]["message"]
    (project.folder / "stuck").unlink()
    assert project.run("resume", "last").returncode == 0
    assert project.lines("effects")[-3:] == ["undo-two-x", "undo-one-x", "undo-first"]


def test_past_the_pivot_of_the_inner_plan_its_task_is_not_undone(project: Project) -> None:
    project.write("inner", INNER.replace("  two:\n", "  two:\n    pivot: true\n"))
    assert project.run("run", "outer", "-i", "end=false").returncode == 4
    error = task(project, "part")["undo"]["attempts"][-1]["error"]
    assert error["class"] == "refused" and "pivot" in error["message"]
    assert "undo-one-x" not in project.lines("effects")


# ---- trying again -----------------------------------------------------------------------------------------------------


def test_a_retry_starts_another_run_once_the_first_was_undone(project: Project) -> None:
    project.write("outer", OUTER.replace("  part: {", "  part: {retry: {attempts: 2, delay: 10ms}, "))
    assert project.run("run", "outer", "-i", "fail=true").returncode == 3
    assert [run["status"] for run in parts(project)] == ["compensated", "compensated"]
    assert project.lines("effects").count("one-x") == project.lines("effects").count("undo-one-x") == 2


def test_an_inner_run_that_stopped_half_way_is_gone_on_with_when_the_outer_one_is_resumed(project: Project) -> None:
    project.write("inner", INNER.replace("name: inner\n", "name: inner\non_failure: stop\n"))
    project.write("outer", OUTER.replace("name: outer\n", "name: outer\non_failure: stop\n"))
    project.write("fail.txt", "")
    (project.folder / "fail.txt").rename(project.folder / "fail")
    assert project.run("run", "outer").returncode == 7
    (project.folder / "fail").unlink()
    assert project.run("resume", "last").returncode == 0
    assert len(parts(project)) == 1 and project.lines("effects") == ["first", "one-x", "two-x", "two-x", "last hello x"]


# ---- fan-out, secrets, state --------------------------------------------------------------------------------------------


def test_a_fan_out_of_plans_runs_each_once_and_undoes_each(project: Project) -> None:
    project.write("fan", """
drystone: 1
name: fan
environment: staging
tasks:
  part: {for_each: [a, b, c], plan: {name: inner, inputs: {name: "{{ each.value }}"}}}
  last: {command: {argv: [test, "{{ tasks.part.outputs[2].greeting }}", "=", "{{ inputs.expected }}"]}, undo: none}
inputs: {expected: {type: string}}
""")
    assert project.run("run", "fan", "-i", "expected=hello c").returncode == 0
    assert project.run("run", "fan", "-i", "expected=other").returncode == 3
    effects = project.lines("effects")
    for name in "abc":
        second = [line.removesuffix(f"-{name}") for line in effects if line.endswith(f"-{name}")][2:]
        assert second == ["one", "two", "undo-two", "undo-one"]


def test_a_secret_that_passes_through_stays_sealed_and_hidden(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_SECRET_HOOK", "s3cret-of-mine")
    (project.folder / "expected").write_text("s3cret-of-mine")
    project.write("keeper", """
drystone: 1
name: keeper
inputs: {url: {type: string}}
tasks:
  use:
    command: {shell: 'cat expected; echo "$URL"; test "$URL" = "https://u:$(cat expected)@host"', env: {URL: "{{ inputs.url }}"}}
    undo: none
outputs: {url: "{{ inputs.url }}/x"}
""")
    project.write("giver", """
drystone: 1
name: giver
tasks:
  part: {plan: {name: keeper, inputs: {url: "https://u:{{ secrets.hook }}@host"}}}
  last:
    command: {shell: 'test "$URL" = "https://u:$(cat expected)@host/x"', env: {URL: "{{ tasks.part.outputs.url }}"}}
    undo: none
""")
    done = project.run("run", "giver")
    assert done.returncode == 0, done.stderr
    assert parts(project)[0]["status"] == "succeeded"
    kept = [path for path in (project.folder / ".drystone").rglob("*") if path.is_file()]
    assert [path for path in kept if b"s3cret-of-mine" in path.read_bytes()] == []


def test_the_state_of_a_sub_plan_belongs_to_its_task_alone(project: Project) -> None:
    project.write("keeps", """
drystone: 1
name: keeps
environment: staging
inputs: {text: {type: string}, end: {type: boolean, default: true}}
tasks:
  file: {template: {content: "{{ inputs.text }}", dest: "{{ inputs.path }}"}}
  check: {needs: [file], command: {argv: ["{{ 'true' if inputs.end else 'false' }}"]}, undo: none}
""".replace("inputs: {", "inputs: {path: {type: string}, "))
    project.write("twice", """
drystone: 1
name: twice
environment: staging
tasks:
  part: {for_each: [a, b], plan: {name: keeps, inputs: {text: "{{ each.value }}", path: "{{ inputs.folder }}/{{ each.value }}"}}}
inputs: {folder: {type: string}}
""")
    assert project.run("run", "twice", "-i", f"folder={project.folder}").returncode == 0
    assert project.run("run", "keeps", "-i", "text=c", "-i", f"path={project.folder}/c").returncode == 0
    folders = {path.name for path in (project.folder / ".drystone/state/staging").iterdir()}
    assert folders == {"twice[part[0]].keeps", "twice[part[1]].keeps", "keeps"}


# ---- waiting ------------------------------------------------------------------------------------------------------------


def test_the_outer_run_waits_for_the_person_whom_the_inner_one_waits_for(project: Project) -> None:
    assert project.run("run", "around").returncode == 5
    assert [run["status"] for run in runs(project)] == ["waiting", "waiting"]
    done = project.run("approve", parts(project)[0]["id"], "gate", user="bob")
    assert done.returncode == 0, done.stderr
    assert [line.partition("@")[0] for line in project.lines("effects")] == ["before", "after", "last bob"]
    assert len(parts(project)) == 1


def test_an_answer_to_the_outer_run_reaches_the_only_question_in_it(project: Project) -> None:
    project.run("run", "around")
    wrong = project.run("approve", "last", "part", user="bob")
    assert wrong.returncode == 1 and f"drystone approve {parts(project)[0]['id']} gate" in wrong.stderr
    assert project.run("approve", "last", "gate", user="bob").returncode == 0
    assert project.shown()["status"] == "succeeded"


def test_a_rejection_inside_takes_the_whole_back(project: Project) -> None:
    project.run("run", "around")
    assert project.run("reject", "last", "gate", user="bob").returncode == 0
    assert [run["status"] for run in runs(project)] == ["compensated", "compensated"]
    assert project.lines("effects") == ["before", "undo-before"]


def test_a_cancel_while_it_waits_takes_the_inner_run_back_too(project: Project) -> None:
    project.run("run", "around")
    assert project.run("cancel", "last").returncode == 0
    assert project.lines("effects") == ["before", "undo-before"]
    assert [run["status"] for run in runs(project)] == ["compensated", "compensated"]


def test_who_started_the_whole_may_not_answer_inside_either(project: Project) -> None:
    project.run("run", "around", user="alice")
    assert "may not answer" in project.run("approve", "last", "gate", user="alice").stderr


def test_an_answer_reaches_a_process_that_stayed(project: Project) -> None:
    with project.start("run", "around", "--wait") as child:
        project.until((project.folder / ".drystone/drystone.db").exists)
        project.until(lambda: [run for run in parts(project) if run["status"] == "waiting"])
        assert project.run("approve", parts(project)[0]["id"], "gate", user="bob").returncode == 0
        assert child.wait() == 0
    assert project.lines("effects")[:2] == ["before", "after"]


def test_an_inner_run_is_not_resumed_alone_while_the_outer_one_has_not_ended(project: Project) -> None:
    project.run("run", "around")
    outer, inner = runs(project)
    refused = project.run("resume", inner["id"])
    assert refused.returncode == 1 and f"drystone resume {outer['id']}" in refused.stderr


# ---- ending it ------------------------------------------------------------------------------------------------------------


SLOW = INNER.replace('"echo two-', '"touch begun; sleep 60; echo two-')


def test_a_cancel_ends_the_inner_run_and_waits_until_it_is_undone(project: Project) -> None:
    project.write("inner", SLOW)
    with project.start("run", "outer") as child:
        project.until((project.folder / "begun").exists)
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
    assert project.lines("effects") == ["first", "one-x", "undo-one-x", "undo-first"]
    assert [run["status"] for run in runs(project)] == ["compensated", "compensated"]


def test_the_time_limit_of_the_task_ends_the_inner_run(project: Project) -> None:
    project.write("inner", SLOW)
    project.write("outer", OUTER.replace("  part: {", "  part: {timeout: 2s, "))
    assert project.run("run", "outer").returncode == 3
    assert project.shown()["error"]["class"] == "timeout"
    assert [run["status"] for run in runs(project)] == ["compensated", "compensated"]


def test_an_inner_run_that_a_person_cancels_alone_fails_its_task(project: Project) -> None:
    project.write("inner", SLOW)
    with project.start("run", "outer") as child:
        project.until((project.folder / "begun").exists)
        assert project.run("cancel", parts(project)[0]["id"]).returncode == 0
        assert child.wait() == 3
    assert task(project, "part")["attempts"][-1]["error"]["class"] == "refused"
    assert project.lines("effects") == ["first", "one-x", "undo-one-x", "undo-first"]


# ---- mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{name: inne, inputs: {name: x}}", 'did you mean "inner"?'),
        ("{path: plans/nowhere.yaml}", 'the plan file "plans/nowhere.yaml" does not exist'),
        ("{name: inner}", 'plan "inner" needs the input "name"'),
        ("{name: inner, inputs: {name: x, fial: true}}", 'did you mean "fail"?'),
        ("{name: inner, inputs: {name: x, fail: often}}", 'input "fail" of plan "inner" must be true or false'),
        ("{name: outer}", "tasks nest for ever: outer -> outer"),
        ("{name: broken}", 'plan "broken" has 1 error'),
        ("{name: inner, path: plans/inner.yaml, inputs: {name: x}}", "exactly one of name and path"),
    ],
)
def test_what_is_written_literally_is_checked_before_anything_runs(project: Project, config: str, said: str) -> None:
    project.write("broken", "drystone: 1\nname: broken\ntasks: {a: {nop: {}}}\n")
    project.write("outer", f"drystone: 1\nname: outer\ntasks:\n  part: {{plan: {config}}}\n")
    refused = project.run("validate", "outer")
    assert refused.returncode == 1 and said in refused.stderr, refused.stderr
    assert "plans/outer.yaml:4:" in refused.stderr


def test_plans_that_nest_through_others_are_told_with_the_way_round(project: Project) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        project.write(name, f"drystone: 1\nname: {name}\ntasks: {{t: {{plan: {{name: {other}}}}}}}\n")
    assert "tasks nest for ever: a -> b -> a" in project.run("validate", "a").stderr


def test_a_plan_that_starts_itself_by_an_expression_is_stopped_and_taken_back(project: Project) -> None:
    project.write("deep", """
drystone: 1
name: deep
inputs: {again: {type: string}}
tasks:
  one: {command: {shell: "echo one >> effects"}, undo: {command: {shell: "echo undo-one >> effects"}}}
  part: {needs: [one], plan: {name: "{{ inputs.again }}", inputs: {again: deep}}}
""")
    done = project.run("run", "deep", "-i", "again=deep")
    assert done.returncode == 3 and "plans nest deeper than 20" in done.stderr
    assert project.lines("effects") == ["one"] * 20 + ["undo-one"] * 20


def test_what_only_the_run_knows_fails_the_task_and_says_why(project: Project) -> None:
    project.write("late", """
drystone: 1
name: late
tasks:
  part: {plan: {name: "{{ 'in' ~ 'ner' }}", inputs: {name: 3, oops: 1}}}
""")
    done = project.run("run", "late")
    assert done.returncode == 3 and "oops" in done.stdout
    assert parts(project) == []
