"""The fixture that every pytest gets by drystone being installed, in a project of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLAN = """
drystone: 1
name: shop
tasks:
  base: {command: {shell: make base}, undo: {command: {shell: drop base}}}
  last: {needs: [base], command: {shell: check}, undo: none}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With a plan, and settings that make it pytest's root."""
    (tmp_path / "plans").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "plans/shop.yaml").write_text(PLAN)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\nfilterwarnings = error\n")
    return tmp_path


def run_test(project: Path, body: str) -> subprocess.CompletedProcess[str]:
    """One test with this body, from the folder that it is in."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (project / "tests/test_shop.py").write_text(f"def test_shop(rehearse):\n{lines}")
    return subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=project / "tests", capture_output=True, text=True, check=False)


def test_a_plan_of_the_project_is_rehearsed_without_any_set_up(project: Path) -> None:
    result = run_test(project, 'assert rehearse("shop", faults=["last fails"]).undone == ["base"]')
    assert result.returncode == 0, result.stdout
    assert {path.name for path in project.iterdir()} == {"plans", "tests", "pytest.ini"}


def test_a_test_that_fails_shows_what_happened(project: Path) -> None:
    result = run_test(project, 'rehearsal = rehearse("shop", faults=["last fails"])\nassert rehearsal.undone == ["last", "base"]')
    assert result.returncode == 1
    assert "rehearsal of shop" in result.stdout
    assert "last: failed (failed): as the fault plan says" in result.stdout


def test_a_test_that_fails_later_shows_how_the_run_went_on(project: Path) -> None:
    result = run_test(project, 'rehearsal = rehearse("shop")\nassert rehearsal.undo().undone == ["last", "base"]')
    assert "base: undone" in result.stdout


def test_a_mistake_shows_what_to_do_next_at_the_line_of_the_test(project: Path) -> None:
    result = run_test(project, 'rehearse("shop", faults=["lsat fails"])')
    assert result.returncode == 1
    assert 'did you mean "last"?' in result.stdout
    assert "test_shop.py:2:" in result.stdout


def test_a_session_that_does_not_use_it_pays_for_no_import() -> None:
    code = "import sys, pytest; import drystone.testing.pytest_plugin; print(*sorted(m for m in sys.modules if m.startswith('drystone')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["drystone", "drystone.testing", "drystone.testing.pytest_plugin"]
