"""DESIGN §4.9, versions."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys

import pytest
from tests.engines.projects import Project

PLAN = """
drystone: 1
name: job
on_failure: stop
tasks:
  first:
    command: {shell: "touch begun; while test -e hold; do sleep 0.05; done"}
    undo: {command: {shell: "echo undo-old >> effects"}}
  last: {needs: [first], command: {shell: "echo old >> effects; test -e go"}, undo: none}
"""
NEW = PLAN.replace("old", "new")


@pytest.fixture
def stopped(project: Project) -> Project:
    """A run that failed, whose plan was changed since."""
    project.write("job", PLAN)
    assert project.run("run", "job").returncode == 7
    project.write("job", NEW)
    (project.folder / "go").touch()
    return project


def test_editing_a_plan_never_changes_a_run_in_flight(project: Project) -> None:
    project.write("job", PLAN)
    (project.folder / "hold").touch()
    (project.folder / "go").touch()
    with project.start("run", "job") as running:
        project.until(lambda: (project.folder / "begun").exists())
        project.write("job", NEW)
        (project.folder / "hold").unlink()
        assert running.wait() == 0
    assert project.lines("effects") == ["old"]


def test_a_resume_goes_on_with_the_plan_that_the_run_began_with_and_shows_the_difference(stopped: Project) -> None:
    done = stopped.run("resume", "last")
    assert done.returncode == 0
    assert stopped.lines("effects") == ["old", "old"]
    assert "the plan was changed since run" in done.stderr
    changed = [line for line in done.stderr.splitlines() if line.startswith(("-  last", "+  last"))]
    assert ["old" in changed[0], "new" in changed[1]] == [True, True]


def test_a_resume_of_a_plan_that_was_not_changed_shows_no_difference(project: Project) -> None:
    project.write("job", PLAN)
    project.run("run", "job")
    (project.folder / "go").touch()
    assert "changed since" not in project.run("resume", "last").stderr


def test_a_resume_after_the_plans_file_was_removed_goes_on(stopped: Project) -> None:
    (stopped.folder / "plans/job.yaml").unlink()
    assert stopped.run("resume", "last").returncode == 0


@pytest.mark.parametrize(("answer", "more", "effects"), [("n", [], 1), ("y", [], 2), (None, ["--yes"], 2)], ids=["no", "yes", "--yes"])
def test_on_a_terminal_a_resume_asks_before_it_goes_on_with_the_old_version(
    stopped: Project, answer: str | None, more: list[str], effects: int
) -> None:
    said = on_a_terminal(stopped, answer, "resume", "last", *more)
    assert ("go on with the version that it began with?" in said) is (answer is not None)
    assert len(stopped.lines("effects")) == effects


def test_the_undo_of_an_old_run_is_the_one_of_its_own_plan(stopped: Project) -> None:
    assert stopped.run("undo", "last", "--yes").returncode == 0
    assert stopped.lines("effects") == ["old", "undo-old"]


def on_a_terminal(project: Project, answer: str | None, *argv: str) -> str:
    """What a command says on a terminal on which `answer` is typed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "drystone", *argv], cwd=project.folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    if answer is not None:
        os.write(ours, f"{answer}\n".encode())
    said = b""
    while chunk := _read(ours):
        said += chunk
    child.wait()
    os.close(ours)
    return said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError as error:
        # Linux says so when nobody has the other end open any more.
        if error.errno == errno.EIO:
            return b""
        raise
