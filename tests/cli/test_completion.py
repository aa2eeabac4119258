"""What the Tab key offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from drystone.cli import completion
from drystone.cli.main import run


def plan(project: Path, name: str) -> None:
    (project / f"plans/{name}.yaml").write_text(f"drystone: 1\nname: {name}\ntasks: {{a: {{noop: {{}}}}}}\n")


def test_plans_are_offered_by_name_with_those_that_ship(project: Path) -> None:
    plan(project, "shop")
    assert {"shop", "hello", "environment"} <= set(completion.plan_words(""))
    assert completion.plan_words("sho") == ["shop"]


def test_a_path_that_was_begun_is_gone_on_with(project: Path) -> None:
    plan(project, "shop")
    (project / "plans/notes.txt").write_text("")
    assert completion.plan_words("./pl") == ["./plans/"]
    assert completion.plan_words("plans/") == ["plans/shop.yaml"]


def test_runs_are_offered_the_newest_first(project: Path) -> None:
    plan(project, "shop")
    assert completion.run_words("") == ["last"]
    run(["run", "shop"])
    run(["run", "shop"])
    first, second, third = completion.run_words("")
    assert first == "last" and second > third
    assert completion.run_words(third[:26]) == [third]


def test_a_store_that_cannot_be_read_offers_nothing(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "drystone.toml").write_text("not toml")
    assert completion.run_words("") == []
    assert capfd.readouterr().err == ""
