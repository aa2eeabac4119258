"""DESIGN §4.3, the crash of an attempt, and who owns a run."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest
from tests.engines.projects import Project

from drystone.adapters import owner
from drystone.core.events import Event, EventType
from drystone.errors import LockedError
from drystone.ports import Batch
from drystone.stores.sql import SqlJournal

PLAN = """
drystone: 1
name: crash
on_failure: stop
tasks:
  work:
    command:
      shell: |
        for pid in $(cat pids 2>/dev/null); do kill -0 $pid 2>/dev/null && echo $pid >> alive; done
        sleep 300 & echo $! >> pids
        echo $$ >> pids
        while test -e hold; do sleep 0.05; done
        kill $!
      idempotent: IDEMPOTENT
    undo: none
"""


def killed(project: Project, *, idempotent: bool = True) -> None:
    """A run whose process is killed in the middle of its attempt; the attempt is still told to hold."""
    project.write("crash", PLAN.replace("IDEMPOTENT", str(idempotent).lower()))
    (project.folder / "hold").touch()
    with project.start("run", "crash") as running:
        project.until(lambda: len(project.lines("pids")) == 2)
        running.send_signal(signal.SIGKILL)
        running.wait()


def test_children_of_a_dead_process_are_ended_before_the_next_attempt(project: Project) -> None:
    killed(project)
    (project.folder / "hold").unlink()
    assert project.run("resume", "last").returncode == 0
    assert len(project.lines("pids")) == 4
    assert project.lines("alive") == [], "the second attempt looked for the children of the first"


def test_an_attempt_in_flight_at_the_crash_is_made_again_when_it_may_be(project: Project) -> None:
    killed(project)
    (project.folder / "hold").unlink()
    project.run("resume", "last")
    attempts = project.shown()["tasks"][0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == ["lost", "succeeded"]


def test_an_attempt_that_may_not_be_repeated_waits_for_a_person(project: Project) -> None:
    killed(project, idempotent=False)
    assert project.run("resume", "last").returncode == 4
    assert "took effect is not known" in project.run("attention", "list").stdout
    (project.folder / "hold").unlink()
    assert project.run("attention", "skip", "last", "work", "--reason", "looked at it").returncode == 0
    assert len(project.lines("pids")) == 2


def test_of_two_resumes_of_one_run_one_wins_and_the_other_says_who_has_it(project: Project) -> None:
    killed(project)
    with project.start("resume", "last") as winner:
        project.until(lambda: len(project.lines("pids")) == 4)
        loser = project.run("resume", "last")
        assert loser.returncode == 6
        assert f"is being driven by process {winner.pid} on" in loser.stderr
        (project.folder / "hold").unlink()
        assert winner.wait() == 0


def test_a_process_that_lost_its_lease_can_write_nothing(project: Project) -> None:
    project.write("noop", "{drystone: 1, name: noop, tasks: {a: {noop: {}}}}")
    project.run("run", "noop")
    run = project.shown()["id"]
    journal = SqlJournal(f"sqlite:///{project.folder}/.drystone/drystone.db", is_alive=owner.is_alive)
    now = datetime.now(UTC)
    old = journal.claim(run, "elsewhere:1", timedelta(seconds=1), now)
    journal.claim(run, owner.me(), timedelta(minutes=1), now + timedelta(minutes=1))
    event = Event(type=EventType.TASK_PROGRESS, at=now, run=run, seq=1000, task="a")
    with pytest.raises(LockedError, match="taken over by"):
        journal.append([Batch(run=run, epoch=old.epoch, events=[event])])
    journal.close()
    assert "1000" not in project.run("events", "last").stdout
