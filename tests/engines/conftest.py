"""Plans run by the real command in a project of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.engines.projects import Project


@dataclass(frozen=True)
class Ran:
    """One finished `drystone run --json`."""

    code: int
    events: Sequence[dict[str, Any]]
    project: Path

    def types(self, task: str | None = None) -> list[str]:
        return [event["type"] for event in self.events if task is None or event["task"] == task]

    def messages(self, task: str) -> list[str]:
        return [event["data"]["message"] for event in self.events if event["task"] == task and "message" in event["data"]]


@pytest.fixture
def run_plan(tmp_path: Path) -> Callable[..., Ran]:
    """Writes a plan, runs it, and gives its events."""

    def run(plan: str, *more: str, files: Mapping[str, str] | None = None) -> Ran:
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)
        (tmp_path / "plans").mkdir(exist_ok=True)
        (tmp_path / "plans" / "test.yaml").write_text(plan)
        done = subprocess.run(
            [sys.executable, "-m", "drystone", "run", "test", "--json", *more], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(code=done.returncode, events=[json.loads(line) for line in done.stdout.splitlines()], project=tmp_path)

    return run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)
