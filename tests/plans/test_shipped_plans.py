"""Every plan that ships compiles without a warning, and so does its way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from drystone.adapters.library import library_root
from drystone.cli.main import app

PLANS = sorted((library_root() / "plans").glob("*.yaml"))


@pytest.mark.parametrize("plan", PLANS, ids=lambda path: path.stem)
def test_it_has_no_mistake_and_no_doubtful_part(plan: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(plan), "--strict"])
    assert result.exit_code == 0, result.output
