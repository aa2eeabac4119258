"""Command lines by data: tests/cases/terraform/argv has one case a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from drystone.kinds.terraform.argv import CommandLine

CASES = sorted(Path(__file__).parents[2].joinpath("cases/terraform/argv").glob("*.yaml"))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_command_line_is_exactly_this(file: Path):
    case = yaml.safe_load(file.read_text())
    lines = CommandLine(case.get("program", ["terraform"]), Path("/state/work/app"))
    assert getattr(lines, case["command"])(**case.get("given", {})) == case["argv"]


def test_a_mistyped_command_is_an_error():
    with pytest.raises(AttributeError):
        CommandLine(["terraform"], Path("/")).aplly  # noqa: B018
