"""The help: complete, with examples, quick, and the same as the snapshot (write it anew: UPDATE_SNAPSHOTS=1)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drystone.cli.main import run

SNAPSHOT = Path(__file__).parent / "snapshots" / "help.txt"
COMMANDS = (
    "init", "doctor", "validate", "graph", "plugins", "schema", "run", "resume", "cancel", "undo", "show", "runs", "diff", "logs", "events",
    "lab doctor", "lab list", "lab reap",
)  # fmt: skip
HEAVY = ("rich", "pydantic", "sqlalchemy", "alembic", "jinja2", "ruamel", "httpx", "paramiko", "ansible", "jsonschema", "asyncio")


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*command.split(), "--help"]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERMINAL_WIDTH", "100")


def test_help_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(f"$ drystone {command} --help\n{help_of(command, capsys)}" for command in ("", "lab", *COMMANDS))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, capsys)
    assert "Examples:" in text and f"drystone {command}" in text


def test_no_command_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command.split()[0]} " in text for command in COMMANDS)


def test_lab_alone_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab"]) == 0
    assert "reap" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys; from drystone.cli.main import run; run(['--help']); sys.exit(str(sorted(set({HEAVY!r}) & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("drystone 0.")


def test_shells_get_completion() -> None:
    environ = {**os.environ, "_DRYSTONE_COMPLETE": "complete_bash", "COMP_WORDS": "drystone val", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "drystone"], capture_output=True, text=True, check=False, env=environ)
    assert done.stdout.split() == ["validate"]
