"""What drystone could not finish by itself, through the real command: listed, tried again, taken on by a person."""

from __future__ import annotations

import json
import signal

import pytest
from tests.engines.projects import Project

STUCK = """
drystone: 1
name: stuck
environment: staging
tasks:
  base: {command: {shell: "echo base >> effects"}, undo: {command: {shell: "echo undo-base >> effects"}}}
  part:
    needs: [base]
    for_each: 2
    command: {shell: "true"}
    undo: {command: {shell: "test -e ok-{{ each.key }} && echo undo-part-{{ each.key }} >> effects"}, retry: 1}
  last: {needs: [part], command: {argv: ["false"]}, undo: none}
"""
ASKS = """
drystone: 1
name: asks
on_failure: ask
tasks:
  first: {command: {shell: "echo first >> effects"}, undo: {command: {shell: "echo undo-first >> effects"}}}
  second: {needs: [first], command: {shell: "test -e ok"}, undo: none}
  third: {needs: [second], command: {shell: "echo third >> effects"}, undo: none}
"""
UNKNOWN = """
drystone: 1
name: unknown
tasks:
  before: {command: {shell: "echo before >> effects"}, undo: {command: {shell: "echo undo-before >> effects"}}}
  once: {needs: [before], command: {shell: "echo once >> effects; while test -e hold; do sleep 0.05; done"}, undo: none}
  other: {needs: [once], noop: {}}
"""


def items(project: Project) -> list[tuple[str, str]]:
    found = json.loads(project.run("attention", "list", "--json").stdout)["attention"]
    return [(item["task"], item["way"]) for item in found]


def test_an_undo_that_failed_for_good_waits_for_a_person(project: Project) -> None:
    project.write("stuck", STUCK)
    assert project.run("run", "stuck").returncode == 4
    assert items(project) == [("part[0]", "back"), ("part[1]", "back")]
    listed = project.run("attention", "list")
    assert "its undo failed" in listed.stdout and "drystone attention retry" in listed.stderr


def test_a_retry_undoes_what_is_mended_and_what_rested_on_it(project: Project) -> None:
    project.write("stuck", STUCK)
    project.run("run", "stuck")
    project.write("ok-0.txt", "")
    (project.folder / "ok-0").touch()
    assert project.run("attention", "retry", "last", "part[0]").returncode == 4
    assert items(project) == [("part[1]", "back")] and project.lines("effects") == ["base", "undo-part-0"]
    (project.folder / "ok-1").touch()
    assert project.run("attention", "retry", "last").returncode == 0
    assert items(project) == [] and project.lines("effects") == ["base", "undo-part-0", "undo-part-1", "undo-base"]
    assert project.shown()["status"] == "compensated"


def test_a_skip_is_on_record_and_the_way_back_goes_on(project: Project) -> None:
    project.write("stuck", STUCK)
    project.run("run", "stuck")
    assert project.run("attention", "skip", "last", "part[0]", "--reason", "removed by hand").returncode == 4
    assert project.run("attention", "skip", "last", "part[1]", "--reason", "removed too").returncode == 0
    assert project.lines("effects") == ["base", "undo-base"] and project.shown()["status"] == "compensated"
    part = next(task for task in project.shown()["tasks"] if task["id"] == "part[0]")
    assert part["undo"]["status"] == "waived" and "alice" in part["undo"]["reason"] and "removed by hand" in part["undo"]["reason"]


def test_a_plan_that_asks_stops_with_7_and_goes_on_as_a_person_says(project: Project) -> None:
    project.write("asks", ASKS)
    assert project.run("run", "asks").returncode == 7
    assert items(project) == [("second", "forward")] and project.lines("effects") == ["first"]
    assert project.run("attention", "retry", "last").returncode == 7
    (project.folder / "ok").touch()
    assert project.run("attention", "retry", "last").returncode == 0
    assert project.lines("effects") == ["first", "third"] and items(project) == []


def test_a_skipped_task_counts_as_done_for_those_behind_it(project: Project) -> None:
    project.write("asks", ASKS)
    project.run("run", "asks")
    assert project.run("attention", "skip", "last", "second", "--reason", "not needed here").returncode == 0
    shown = project.shown()
    assert shown["status"] == "succeeded" and project.lines("effects") == ["first", "third"]
    assert shown["tasks"][1]["status"] == "skipped" and "not needed here" in shown["tasks"][1]["reason"]


def test_a_run_that_asks_can_be_taken_back(project: Project) -> None:
    project.write("asks", ASKS)
    project.run("run", "asks")
    assert project.run("undo", "last", "--yes").returncode == 0
    assert project.lines("effects") == ["first", "undo-first"] and items(project) == []


def test_an_attempt_of_unknown_end_that_may_not_be_repeated_waits_for_a_person(project: Project) -> None:
    project.write("unknown", UNKNOWN)
    (project.folder / "hold").touch()
    with project.start("run", "unknown") as child:
        project.until(lambda: "once" in project.lines("effects"))
        child.send_signal(signal.SIGKILL)
        child.wait()
    (project.folder / "hold").unlink()
    resumed = project.run("resume", "last")
    assert resumed.returncode == 4 and items(project) == [("once", "forward")]
    assert project.lines("effects") == ["before", "once"], "neither repeated nor taken back"
    for more in ((), ("--from", "other"), ("--only-failed",)):
        again = project.run("resume", "last", *more)
        assert again.returncode == 1 and "attention" in again.stderr, more
    assert project.run("attention", "skip", "last", "once", "--reason", "it is there, I looked").returncode == 0
    assert project.shown()["status"] == "succeeded" and project.lines("effects") == ["before", "once"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("retry", "last", "first"), "waits for no decision"),
        (("skip", "last", "second", "--reason", " "), "a reason is missing"),
        (("skip", "last", "second"), "--reason"),
        (("retry", "nonsense"), "nonsense"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_next_step(project: Project, argv: tuple[str, ...], said: str) -> None:
    project.write("asks", ASKS)
    project.run("run", "asks")
    refused = project.run("attention", *argv)
    assert refused.returncode == 1 and said in refused.stderr
    assert project.shown()["status"] == "failed"


def test_where_nothing_waits_the_list_is_empty(project: Project) -> None:
    assert project.run("attention", "list").returncode == 0
    project.write("ok", "drystone: 1\nname: ok\ntasks: {a: {noop: {}}}\n")
    project.run("run", "ok")
    assert items(project) == []


SECRETIVE = """
drystone: 1
name: secretive
on_failure: ask
inputs: {password: {type: string, secret: true}}
tasks:
  login: {command: {shell: "false", env: {PASSWORD: "{{ inputs.password }}"}}, undo: none}
  gate: {needs: [login], run_if: none_failed, approval: {self_approval: true}}
"""


def test_secrets_in_what_people_write_for_the_record_are_masked(project: Project) -> None:
    project.write("secretive", SECRETIVE)
    for answer in (("approve", "last", "gate", "--comment"), ("cancel", "last", "--reason")):
        assert project.run("run", "secretive", "-i", "password=Zebra77stripes").returncode == 7
        taken = project.run("attention", "skip", "last", "login", "--reason", "Zebra77stripes was wrong")
        ended = project.run(*answer, "it is Zebra77stripes now")
        events = project.run("events", "last").stdout
        assert "*** was wrong" in events and "it is *** now" in events
        assert "Zebra77" not in taken.stderr + ended.stderr + events
    stored = b"".join(path.read_bytes() for path in (project.folder / ".drystone").glob("drystone.db*"))
    assert b"Zebra77" not in stored
