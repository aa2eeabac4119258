"""Runs that share a concurrency key, and tasks that share a pool: several real commands at once."""

from __future__ import annotations

from itertools import pairwise

from tests.engines.projects import Project

PLAN = """
drystone: 1
name: {name}
inputs: {{key: {{type: string, default: k}}}}
concurrency: {{key: "{{{{ inputs.key }}}}", on_conflict: {policy}, timeout: {timeout}}}
tasks:
  work:
    command: {{shell: "echo start >> order; while test -e hold; do sleep 0.05; done; echo end >> order"}}
    undo: none
"""


def plan(project: Project, policy: str = "wait", timeout: str = "1m") -> str:
    project.write(policy, PLAN.format(name=policy, policy=policy, timeout=timeout))
    return policy


def hold(project: Project) -> None:
    (project.folder / "hold").touch()


def begun(project: Project, count: int = 1) -> bool:
    return project.lines("order").count("start") == count


def test_runs_with_one_key_go_one_after_the_other_and_the_second_says_for_whom_it_waits(project: Project) -> None:
    name = plan(project)
    hold(project)
    with project.start("run", name) as first:
        project.until(lambda: begun(project))
        ahead = project.shown()["id"]
        with project.start("run", name) as second:
            project.until(lambda: project.shown()["id"] != ahead and "run.queued" in project.run("events", "last").stdout)
            assert project.shown()["status"] == "queued" and ahead in project.run("events", "last").stdout
            (project.folder / "hold").unlink()
            assert (first.wait(), second.wait()) == (0, 0)
    assert project.lines("order") == ["start", "end", "start", "end"]


def test_runs_with_other_keys_do_not_wait(project: Project) -> None:
    name = plan(project)
    hold(project)
    with project.start("run", name), project.start("run", name, "-i", "key=other"):
        project.until(lambda: begun(project, 2))
        (project.folder / "hold").unlink()
        project.until(lambda: project.lines("order").count("end") == 2)


def test_a_run_that_may_not_wait_is_rejected_with_6_and_leaves_no_trace(project: Project) -> None:
    name = plan(project, "reject")
    hold(project)
    with project.start("run", name) as first:
        project.until(lambda: begun(project))
        ahead = project.shown()["id"]
        refused = project.run("run", name)
        assert refused.returncode == 6 and ahead in refused.stderr and "drystone cancel" in refused.stderr
        assert project.shown()["id"] == ahead
        (project.folder / "hold").unlink()
        assert first.wait() == 0
    assert project.run("run", name).returncode == 0


def test_a_run_that_cancels_the_running_one_begins_when_that_has_ended(project: Project) -> None:
    plan(project)
    name = plan(project, "cancel_running")
    hold(project)
    with project.start("run", "wait") as first:
        project.until(lambda: begun(project))
        with project.start("run", name) as second:
            assert first.wait() == 130
            project.until(lambda: begun(project, 2))
            (project.folder / "hold").unlink()
            assert second.wait() == 0
    assert project.lines("order") == ["start", "start", "end"]


def test_waiting_in_line_has_an_end(project: Project) -> None:
    plan(project)
    project.write("soon", PLAN.format(name="soon", policy="wait", timeout="300ms"))
    hold(project)
    with project.start("run", "wait"):
        project.until(lambda: begun(project))
        given_up = project.run("run", "soon")
        assert given_up.returncode == 6 and "did not end in time" in given_up.stdout + given_up.stderr
        assert project.shown()["status"] == "cancelled"
        (project.folder / "hold").unlink()


def test_a_run_whose_process_died_in_the_line_lets_the_others_pass(project: Project) -> None:
    name = plan(project)
    hold(project)
    with project.start("run", name) as first:
        project.until(lambda: begun(project))
        ahead = project.shown()["id"]
        with project.start("run", name) as second:
            project.until(lambda: project.shown()["id"] != ahead and "run.queued" in project.run("events", "last").stdout)
            dead = project.shown()["id"]
            second.kill()
            second.wait()
        with project.start("run", name) as third:
            project.until(lambda: project.shown()["id"] not in (ahead, dead))
            (project.folder / "hold").unlink()
            assert (first.wait(), third.wait()) == (0, 0)
    assert project.run("resume", dead).returncode == 0
    assert project.shown(dead)["status"] == "succeeded"


def test_a_queued_run_can_be_cancelled(project: Project) -> None:
    name = plan(project)
    hold(project)
    with project.start("run", name) as first:
        project.until(lambda: begun(project))
        ahead = project.shown()["id"]
        with project.start("run", name) as second:
            project.until(lambda: project.shown()["id"] != ahead)
            assert project.run("cancel", "last").returncode == 0
            assert second.wait() == 130
        (project.folder / "hold").unlink()
        assert first.wait() == 0
    assert project.lines("order") == ["start", "end"]


POOLED = """
drystone: 1
name: pooled
tasks:
  work: {for_each: 4, pool: db, command: {shell: "echo start >> order; sleep 0.1; echo end >> order"}, undo: none}
  free: {noop: {}}
"""


def at_once(lines: list[str]) -> int:
    most = now = 0
    for line in lines:
        now += 1 if line == "start" else -1
        most = max(most, now)
    return most


def test_a_pool_bounds_the_attempts_of_all_runs_of_the_project(project: Project) -> None:
    project.write("pooled", POOLED)
    project.write("drystone.toml", "[pools]\ndb = 2\n")
    with project.start("run", "pooled") as first, project.start("run", "pooled") as second:
        assert (first.wait(), second.wait()) == (0, 0)
    assert len(project.lines("order")) == 16 and at_once(project.lines("order")) == 2


def test_a_process_that_died_holds_no_slot_of_a_pool(project: Project) -> None:
    project.write("holds", POOLED.replace("name: pooled", "name: holds").replace("sleep 0.1", "sleep 60"))
    project.write("pooled", POOLED)
    project.write("drystone.toml", "[pools]\ndb = 1\n")
    with project.start("run", "holds") as child:
        project.until(lambda: begun(project))
        child.kill()
        child.wait()
    (project.folder / "order").unlink()
    assert project.run("run", "pooled").returncode == 0
    assert all(one != other for one, other in pairwise(project.lines("order")))


def test_a_pool_that_the_project_does_not_have_is_a_mistake_of_the_plan(project: Project) -> None:
    project.write("pooled", POOLED)
    project.write("drystone.toml", "[pools]\ndbs = 2\n")
    refused = project.run("validate", "pooled")
    assert refused.returncode == 1 and 'did you mean "dbs"' in refused.stdout + refused.stderr


def test_a_run_that_waits_for_a_person_makes_way_for_the_one_that_takes_its_place(project: Project) -> None:
    gate = """
drystone: 1
name: gate
concurrency: {key: k, on_conflict: cancel_running}
tasks:
  before: {command: {shell: "echo before >> order"}, undo: {command: {shell: "echo undone >> order"}}}
  gate: {needs: [before], approval: {message: "go on?"}}
"""
    project.write("gate", gate)
    assert project.run("run", "gate").returncode == 5
    waiting = project.shown()["id"]
    assert project.run("run", "gate").returncode == 5
    assert project.shown(waiting)["status"] == "compensated"
    assert project.lines("order") == ["before", "undone", "before"]
