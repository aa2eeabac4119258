"""The tool that records a history: once, and without traces of where it ran."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PLAN = """
drystone: 1
name: where
tasks: {say: {command: {shell: pwd}, undo: none}}
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """It records to a folder of the test."""
    spec = importlib.util.spec_from_file_location("record_history", ROOT / "tools/record_history.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    histories = tmp_path / "histories"
    histories.mkdir()
    monkeypatch.setattr(module, "HISTORIES", histories)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With one run."""
    folder = tmp_path / "project"
    (folder / "plans").mkdir(parents=True)
    (folder / "plans/where.yaml").write_text(PLAN)
    subprocess.run([sys.executable, "-m", "drystone", "run", "where"], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_run_is_recorded_with_its_plan_and_its_end_and_never_again(
    tool: ModuleType, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main([str(project), "last", "where"]) == 0
    recorded = {path.name: path.read_text() for path in tool.HISTORIES.iterdir()}
    assert set(recorded) == {"where.jsonl", "where.yaml", "where.json", "SHA256SUMS"}
    assert recorded["where.yaml"] == PLAN
    assert not any(str(project) in text or f"@{socket.gethostname()}" in text for text in recorded.values())
    assert tool.main([str(project), "last", "where"]) == 1
    assert "never written again" in capsys.readouterr().out
    assert {path.name: path.read_text() for path in tool.HISTORIES.iterdir()} == recorded


def test_a_run_that_is_not_there_is_told(tool: ModuleType, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(project), "01NONE", "where"]) == 1
    assert "01NONE" in capsys.readouterr().out
