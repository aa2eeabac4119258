"""A plan that ran before: its second run knows what takes long, starts that first, and says how long it has still to go."""

from __future__ import annotations

import pytest
from e2e_support import Following, Project

PLAN = """\
drystone: 1
name: nightly
tasks:
  one: {noop: {}}
  two: {needs: [one], noop: {}}
  three: {needs: [two], noop: {}}
  backup:
    command: {shell: "sleep 1; while [ -e hold ]; do sleep 0.05; done", cwd: .}
    undo: none
  upload: {needs: [backup], noop: {sleep: 2}}
"""


@pytest.fixture
def nightly(project: Project) -> Project:
    """It ran once."""
    project.write("plans/nightly.yaml", PLAN)
    project.write("drystone.toml", "[engine]\nmax_parallel = 1\n")
    project.run("run", "nightly")
    return project


def order(project: Project) -> list[str]:
    return [event["task"] for event in project.events(type="task.started")]


def test_the_second_run_starts_first_what_took_longest_and_tells_how_long_it_has_still_to_go(nightly: Project) -> None:
    assert order(nightly)[0] == "one", "the first run knows the graph alone"
    nightly.write("hold", "")
    following = Following(nightly.start("run", "nightly", "--json"))
    following.until("task.started", "backup")

    eta = nightly.show()["eta"]
    assert 2 <= eta["low_seconds"] <= eta["high_seconds"] < 60, "the upload, which took two seconds, is still to come"
    assert "left (from 1 earlier run)" in nightly.run("show", "last").out

    (nightly.folder / "hold").unlink()
    following.until("task.succeeded", "upload")
    following.process.communicate(timeout=60)
    assert order(nightly)[:2] == ["backup", "upload"]
    assert nightly.show()["eta"] is None

    created = nightly.events(type="run.created")[0]["data"]["expected"]
    assert sorted(created) == ["backup", "one", "three", "two", "upload"]
    assert created["backup"][0] >= 1 and created["backup"][2] == 1


def test_a_run_that_failed_teaches_nothing(nightly: Project) -> None:
    nightly.write("plans/nightly.yaml", PLAN.replace("sleep 1;", "exit 1;"))
    nightly.run("run", "nightly", code=3)
    nightly.write("plans/nightly.yaml", PLAN)
    nightly.run("run", "nightly")
    assert nightly.events(type="run.created")[0]["data"]["expected"]["one"][2] == 1
