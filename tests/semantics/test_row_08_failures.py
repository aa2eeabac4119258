"""DESIGN §4.8, failures have classes."""

from __future__ import annotations

import socket

import pytest
from tests.engines.projects import Project


def plan(task: str, *, more: str = "") -> str:
    return f"drystone: 1\nname: bad\non_failure: stop\ntasks:\n  bad: {task}\n{more}"


@pytest.fixture
def closed_port() -> int:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("task", "failure_class"),
    [
        ("{command: {shell: 'exit 3'}, undo: none}", "failed"),
        ("{command: {argv: [/no/such/program]}, undo: none}", "crashed"),
        ("{command: {shell: 'sleep 60'}, timeout: 300ms, undo: none}", "timeout"),
        ("{http: {url: 'http://127.0.0.1:PORT/'}}", "unreachable"),
        ("{approval: {timeout: 100ms}}", "timeout"),
        ("{when: '{{ 1 / 0 }}', noop: {}}", "invalid"),
    ],
)
def test_failures_have_classes(project: Project, closed_port: int, task: str, failure_class: str) -> None:
    project.write("bad", plan(task.replace("PORT", str(closed_port))))
    assert project.run("run", "bad", "--wait").returncode == 7
    assert project.shown()["error"]["class"] == failure_class


@pytest.mark.parametrize(("on", "tries"), [("[failed]", 3), ("[unreachable, timeout]", 1)])
def test_retries_name_classes(project: Project, on: str, tries: int) -> None:
    retry = f"{{attempts: 3, delay: 10ms, on: {on}}}"
    project.write("bad", plan(f"{{command: {{shell: 'echo try >> effects; exit 1'}}, undo: none, retry: {retry}}}"))
    assert project.run("run", "bad").returncode == 7
    assert len(project.lines("effects")) == tries


def test_a_circuit_breaker_stops_hammering_what_is_down(project: Project, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYSTONE_ENGINE_BREAKER_FAILURES", "2")
    monkeypatch.setenv("DRYSTONE_ENGINE_BREAKER_COOLDOWN", "1s")
    url = f"http://127.0.0.1:{closed_port}/"
    project.write("bad", plan(f"{{http: {{url: '{url}'}}, retry: {{attempts: 3, delay: 10ms, jitter: false}}}}"))
    assert project.run("run", "bad").returncode == 7
    attempts = [attempt["status"] for attempt in project.shown()["tasks"][0]["attempts"]]
    assert "held" in attempts, "after two failures in a row it is left alone for a while"
    assert attempts.count("failed") == 3, "and being held back uses up no retry"


def test_a_task_blocked_by_anothers_failure_adds_no_noise(project: Project) -> None:
    project.write("bad", plan("{command: {shell: 'exit 1'}, undo: none}", more="  behind: {needs: [bad], noop: {}}\n"))
    assert project.run("run", "bad").returncode == 7
    behind = next(task for task in project.shown()["tasks"] if task["id"] == "behind")
    assert (behind["status"], behind["attempts"]) == ("blocked", [])
    assert project.shown()["error"]["task"] == "bad"
