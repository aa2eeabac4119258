"""docs/howto/test-a-plan.md: every block on the page is tried as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from drystone.testing.faults import parse
from drystone.testing.rehearsal import rehearse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/test-a-plan.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TESTS = [text for language, text in BLOCKS if language == "python"]


def test_every_block_is_of_a_language_that_is_tried_here() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "text", "faults"}


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").touch()
    for number, text in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_first_test_on_the_page_has_five_lines() -> None:
    assert len(TESTS[0].splitlines()) == 5


@pytest.mark.parametrize("sentence", next(text for language, text in BLOCKS if language == "faults").splitlines())
def test_a_fault_on_the_page_is_one(sentence: str) -> None:
    assert str(parse(sentence)) == sentence


def test_the_timeline_on_the_page_is_what_pytest_shows() -> None:
    shown = next(text for language, text in BLOCKS if language == "text").splitlines()
    lines = rehearse("environment", inputs={"name": "demo"}, faults=["migration fails"], folder=ROOT).timeline.splitlines()
    assert [line for line in shown if line != "    ..."] == [line for line in lines if line in shown]
