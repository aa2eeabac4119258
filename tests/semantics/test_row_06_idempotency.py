"""DESIGN §4.6, idempotency."""

from __future__ import annotations

import signal

from tests.engines.projects import Project

PLAN = """
drystone: 1
name: pay
inputs: {amount: {type: integer, default: 1}}
tasks:
  pay:
    command:
      shell: "echo '{{ task.token }}' >> tokens; test -e go || { touch go; exit 1; }; while test -e hold; do sleep 0.05; done"
      idempotent: true
    retry: {attempts: 3, delay: 10ms}
    undo: none
"""


def test_the_same_token_starts_one_run(project: Project) -> None:
    project.write("pay", PLAN)
    assert project.run("run", "pay", "--token", "invoice-7").returncode == 0
    again = project.run("run", "pay", "--token", "invoice-7")
    assert again.returncode == 0 and "nothing new was started" in again.stderr
    assert len(project.lines("tokens")) == 2, "the two tries of the one run"


def test_the_same_token_with_other_inputs_is_refused(project: Project) -> None:
    project.write("pay", PLAN)
    project.run("run", "pay", "--token", "invoice-7")
    refused = project.run("run", "pay", "--token", "invoice-7", "-i", "amount=2")
    assert refused.returncode == 1
    assert 'token "invoice-7" belongs to run' in refused.stderr and "other inputs" in refused.stderr


def test_every_attempt_carries_the_same_token_across_retries_and_restarts(project: Project) -> None:
    project.write("pay", PLAN)
    (project.folder / "hold").touch()
    with project.start("run", "pay") as running:
        project.until(lambda: len(project.lines("tokens")) == 2)
        running.send_signal(signal.SIGKILL)
        running.wait()
    (project.folder / "hold").unlink()
    assert project.run("resume", "last").returncode == 0
    tokens = project.lines("tokens")
    assert len(tokens) == 3 and len(set(tokens)) == 1


def test_two_runs_have_two_tokens(project: Project) -> None:
    project.write("pay", PLAN)
    for _ in range(2):
        project.run("run", "pay")
    assert len(set(project.lines("tokens"))) == 2


def test_an_empty_token_is_refused(project: Project) -> None:
    project.write("pay", PLAN)
    refused = project.run("run", "pay", "--token", "")
    assert refused.returncode == 1 and "the token is empty" in refused.stderr and project.lines("tokens") == []
