"""Schedules through a real `drystone serve`: whatever becomes of the process, each tick is there once and has one run."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from e2e_support import Project, wait_until
from serving import Serving, ended

PLAN = """
drystone: 1
name: pulse
inputs: {at: {type: string}}
triggers:
  - schedule: {cron: "* * * * * *", timezone: Europe/Berlin, overlap: allow, catch_up: {window: 1h, fire: all}}
    inputs: {at: "{{ event.schedule.utc }}"}
tasks:
  work: {noop: {outputs: {at: "{{ inputs.at }}"}}}
outputs: {at: "{{ tasks.work.outputs.at }}"}
"""
HOURLY = """
drystone: 1
name: hourly
inputs: {at: {type: string}}
triggers:
  - schedule: {cron: "@yearly", timezone: Europe/Berlin}
    inputs: {at: "{{ event.schedule.local_date }}"}
tasks:
  work: {noop: {outputs: {at: "{{ inputs.at }}"}}}
outputs: {at: "{{ tasks.work.outputs.at }}"}
"""
MOMENTS = ["schedule.fired", "run.taken", "run.started", "run.finished", "schedule.fired", "server.started"]
"""What a server has just said when it is killed."""


def history(project: Project) -> list[dict[str, Any]]:
    """Oldest first."""
    found: list[dict[str, Any]] = json.loads(project.run("schedule", "history", "--limit", "10000", "--json").out)["ticks"]
    return found[::-1]


def test_no_tick_is_lost_or_doubled_when_servers_are_killed(project: Project) -> None:
    project.write("plans/pulse.yaml", PLAN)
    for number, moment in enumerate(MOMENTS):
        server = Serving(project, f"serve-{number}")
        wait_until(lambda server=server, moment=moment: server.lines(moment), moment)
        server.kill()
    project.run("schedule", "list")
    server = Serving(project)
    wait_until(lambda: server.lines("schedule.fired"), "a tick")
    project.run("schedule", "pause", "pulse")
    # One may have been written down just as the pause came: it waits.
    wait_until(lambda: {tick["status"] for tick in history(project)} <= {"done", "skipped", "recorded"}, "the ends of all runs")
    ticks = [tick for tick in history(project) if tick["status"] == "done"]
    moments = [datetime.fromisoformat(tick["at"]) for tick in ticks]
    assert moments == [moments[0] + timedelta(seconds=number) for number in range(len(moments))]
    runs = json.loads(project.run("runs", "--limit", "10000", "--json").out)["runs"]
    assert {run["status"] for run in runs} == {"succeeded"}
    assert sorted(run["id"] for run in runs) == sorted(tick["run"] for tick in ticks)
    shown = project.show(ticks[-1]["run"])
    assert shown["outputs"]["at"] == f"{ticks[-1]['at'][:19]}Z"


def test_a_run_now_and_a_backfill_are_left_to_a_server(project: Project) -> None:
    project.write("plans/hourly.yaml", HOURLY)
    run = project.run("schedule", "run", "hourly").out.strip()
    asked = project.run("schedule", "backfill", "hourly/schedule", "--from", "2023-12-01", "--to", "2026-01-02")
    assert asked.out.splitlines() == [f"{day} 00:00:00 CET" for day in ("Mon 2024-01-01", "Wed 2025-01-01", "Thu 2026-01-01")]
    assert "asked for nothing" in project.run("schedule", "backfill", "hourly", "--from", "2023-12-01").err
    Serving(project)
    assert ended(project, run)["status"] == "succeeded"
    wait_until(lambda: [tick["status"] for tick in history(project)] == ["done"] * 4, "the ends of all runs")
    days = [project.show(tick["run"])["outputs"]["at"] for tick in history(project)][:3]
    assert days == ["2024-01-01", "2025-01-01", "2026-01-01"]


def test_what_is_no_schedule_is_refused_with_the_nearest(project: Project) -> None:
    project.write("plans/hourly.yaml", HOURLY)
    assert 'did you mean "hourly/schedule"?' in project.run("schedule", "pause", "hourly/shedule", code=1).err
    assert "write it as" in project.run("schedule", "backfill", "hourly", "--from", "yesterday", code=1).err
    project.write("plans/hourly.yaml", HOURLY.replace("@yearly", "0 0 31 2 *"))
    told = project.run("schedule", "list", code=1)
    assert "drystone validate plans/hourly.yaml" in told.err
