"""How errors reach a person and a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drystone.cli import problems
from drystone.cli.main import run
from drystone.core.diagnostics import Diagnostic, Severity, Where
from drystone.errors import InputError, NotFoundError, PlanError


def plan_error(file: str) -> PlanError:
    found = [
        Diagnostic(severity=Severity.ERROR, summary='unknown task "netwrk"', where=Where(file, 2, 8), hint="did you mean?", length=6),
        Diagnostic(severity=Severity.WARNING, summary="no undo", where=Where(file, 1, 1)),
    ]
    return PlanError("the plan has 1 error", diagnostics=found)


def test_an_error_is_its_message_and_its_hint() -> None:
    assert problems.to_lines(NotFoundError('there is no run "x"', hint="drystone runs lists them")) == [
        'error: there is no run "x"',
        "  drystone runs lists them",
    ]


def test_a_diagnostic_shows_its_line_with_a_caret(tmp_path: Path) -> None:
    plan = tmp_path / "a.yaml"
    plan.write_text("drystone: 1\nneeds: netwrk\n")
    text = "\n".join(problems.to_lines(plan_error(str(plan))))
    assert f"  --> {plan}:2:8\n  2 | needs: netwrk\n    |        ^^^^^^\n  did you mean?" in text


def test_a_diagnostic_without_its_file_still_has_its_place() -> None:
    assert "  --> /none.yaml:2:8" in "\n".join(problems.to_lines(plan_error("/none.yaml")))


def test_all_problems_of_inputs_are_listed() -> None:
    lines = problems.to_lines(InputError("2 problems", problems=["a is missing", "b is missing"]))
    assert lines == ["error: 2 problems", "  a is missing", "  b is missing"]


def test_every_error_has_one_json_shape() -> None:
    for error in (NotFoundError("no"), plan_error("a.yaml"), InputError("bad", problems=["x"]), ValueError("boom"), KeyboardInterrupt()):
        shape = problems.to_json(error)
        assert set(shape) == {"format", "error"}
        assert set(shape["error"]) == {"message", "hint", "diagnostics", "problems"}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "argv", [["show"], ["graph", "none"], ["run", "none"], ["frobnicate"], ["run"], ["runs", "--limit", "many"], ["-C", "/none", "runs"]]
)
def test_with_json_an_error_is_json_on_standard_output(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*argv, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["message"]
    assert err == ""


@pytest.mark.usefixtures("project")
def test_a_wrong_command_line_is_refused_with_1_since_2_means_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "--frobnicate"]) == 1
    assert capsys.readouterr().err == "error: no such option: --frobnicate\n  see drystone run --help\n"


def test_an_unexpected_error_is_one_line_and_its_traceback_comes_with_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    def broken(_: Path) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("drystone.wiring.world", broken)
    assert run(["runs"]) == 1
    assert "Traceback" not in (err := capsys.readouterr().err)
    assert "unexpected error: ZeroDivisionError: boom" in err and "--debug" in err
    assert run(["runs", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_colours_are_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    run(["frobnicate"])
    assert "\x1b" not in capsys.readouterr().err
