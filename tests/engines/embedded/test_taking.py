"""Taking a run up: tokens, locks and wishes that were left by processes of before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drystone.adapters import owner
from drystone.ports import LockInfo
from drystone.stores.sql import SqlJournal

PLAN = """
drystone: 1
name: test
environment: here
on_failure: stop
tasks:
  first: {command: {shell: "test -e go"}, undo: none}
  second: {needs: [first], noop: {}}
"""

Drystone = Callable[..., int]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With a plan that fails until there is a file `go`."""
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "test.yaml").write_text(PLAN)
    return tmp_path


def start(project: Path, *argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "drystone", *argv]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def drystone(project: Path, *argv: str) -> int:
    process = start(project, *argv)
    _, errors = process.communicate()
    assert "Traceback" not in errors and "unexpected" not in errors, errors
    return process.returncode


def shown(project: Path) -> dict[str, Any]:
    process = start(project, "show", "last", "--json")
    document: dict[str, Any] = json.loads(process.communicate()[0])
    return document


def test_a_cancel_that_came_after_the_end_does_not_cancel_the_resume(project: Path) -> None:
    assert drystone(project, "run", "test") == 7
    run = shown(project)["id"]
    folder = project / ".drystone" / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cancel").write_text('{"by": "somebody", "reason": "too late"}')
    (project / "go").touch()
    assert drystone(project, "resume", "last") == 0


def test_the_lock_of_an_ended_run_that_another_process_is_taking_up_again_is_not_freed(project: Path) -> None:
    assert drystone(project, "run", "test") == 7
    run, now = shown(project)["id"], datetime.now(UTC)
    journal = SqlJournal(f"sqlite:///{project}/.drystone/drystone.db", is_alive=owner.is_alive)
    lease = journal.claim(run, owner.me(), timedelta(minutes=1), now)
    journal.lock(LockInfo(environment="here", run=run, owner=owner.me(), reason="resume", since=now))
    assert drystone(project, "run", "test") == 6
    # Without a process that has the run, the lock is what a crash left.
    journal.release(lease)
    assert drystone(project, "run", "test") == 7
    journal.close()


def test_one_token_given_by_two_processes_at_once_starts_one_run(project: Path) -> None:
    (project / "go").touch()
    both = [start(project, "run", "test", "--token", "T") for _ in range(2)]
    outputs = [process.communicate() for process in both]
    # The later one finds the run at work (6), or ended well (0).
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 6]), outputs
    listed = start(project, "runs", "--json").communicate()[0]
    assert listed.count('"plan": "test"') == 1
