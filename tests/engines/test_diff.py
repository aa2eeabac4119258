"""`drystone diff`: what is different between two runs, by the real command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engines.projects import Project

PLAN = """drystone: 1
name: p
inputs:
  n: {type: string}
  key: {type: string, secret: true, default: sesame-one}
tasks:
  t: {template: {src: conf/x.j2, dest: out}}
"""


def _two_runs(folder: Path) -> tuple[Project, str, str]:
    shop = Project(folder)
    shop.write("p", PLAN)
    shop.write("conf/x.j2", "one\n")
    shop.run("run", "p", "-i", "n=1")
    first = shop.shown()["id"]
    shop.write("conf/x.j2", "one\ntwo\n")
    shop.write("p", PLAN + "  u: {noop: {}}\n")
    shop.run("run", "p", "-i", "n=2", "-i", "key=sesame-two")
    return shop, first, shop.shown()["id"]


def test_plan_inputs_files_and_tasks_are_compared(tmp_path: Path) -> None:
    shop, first, second = _two_runs(tmp_path)
    found: dict[str, Any] = json.loads(shop.run("diff", first, second, "--json").stdout)
    assert (found["plan"]["name"], found["plan"]["added_lines"], found["plan"]["removed_lines"]) == ("plans/p.yaml", 1, 0)
    assert [(part["name"], part["change"]) for part in found["files"]] == [("conf/x.j2", "changed")]
    assert "+two" in found["files"][0]["diff"]
    assert found["inputs"] == {"key": {"old": "***", "new": "***"}, "n": {"old": "1", "new": "2"}}
    assert found["tasks"]["u"]["old"] is None
    assert found["tasks"]["t"]["new"]["status"] == "succeeded"


def test_the_view_for_people_names_what_changed_first_and_no_secret(tmp_path: Path) -> None:
    shop, first, _ = _two_runs(tmp_path)
    shown = shop.run("diff", first).stdout
    assert shown.index("conf/x.j2    | changed +1 -0") < shown.index("TASK") < shown.index("+++ b/conf/x.j2")
    assert "sesame" not in shown


def test_a_run_is_no_different_from_itself(tmp_path: Path) -> None:
    shop, first, _ = _two_runs(tmp_path)
    shown = shop.run("diff", first, first).stdout
    assert "plan and files are the same" in shown and "inputs are the same" in shown
