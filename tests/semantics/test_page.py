"""docs/reference/semantics.md shows what happens: each of its sessions is run, line by line, in a project of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/reference/semantics.md"
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]}
BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page_has_a_section_with_a_session_for_every_row() -> None:
    assert [title.partition(".")[0] for title in SECTIONS] == ["1", "2", "3", "4", "5", "6", "7", "8", "9", "11"]
    assert all("```console" in text for text in SECTIONS.values())


@pytest.mark.parametrize("title", SECTIONS)
def test_what_the_page_shows_is_what_happens(title: str, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    for language, text in BLOCK.findall(SECTIONS[title]):
        if language == "yaml":
            name = re.search(r"^name: (\S+)", text, re.MULTILINE)
            assert name is not None
            (tmp_path / "plans" / f"{name[1]}.yaml").write_text(text)
            continue
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            assert _fits(expected, said := _run(command, tmp_path)), f"$ {command}\n{said}"


def _run(command: str, folder: Path) -> str:
    environ = {**os.environ, "NO_COLOR": "1", "LOGNAME": "alice", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _fits(expected: str, said: str) -> bool:
    """`…` stands for anything within a line."""
    wanted = [re.escape(line).replace("…", ".*") for line in expected.strip().splitlines()]
    return re.fullmatch("\n".join(wanted), said.strip()) is not None
