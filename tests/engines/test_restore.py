"""`undo: restore`, by the real command: an update is taken back by applying the last good version again, never by taking down."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

FILES = """
drystone: 1
name: test
environment: here
inputs:
  version: {type: string}
  items: {type: array, default: [a]}
  fail: {type: boolean, default: false}
tasks:
  conf:
    command: {shell: "echo {{ inputs.version }} > conf"}
    undo: restore
  page:
    template: {content: "{{ inputs.version }}", dest: "{{ inputs.folder }}/page"}
    undo: restore
  part:
    for_each: "{{ inputs['items'] }}"
    template: {content: "{{ inputs.version }}", dest: "{{ inputs.folder }}/part-{{ each.value }}"}
    undo: restore
  last:
    needs: [conf, page, part]
    command: {shell: "{{ 'false' if inputs.fail else 'true' }}"}
    undo: none
"""


class Project:
    """A folder with a plan, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        (folder / "plans").mkdir()

    def plan(self, text: str) -> None:
        """Writes the plan `test`; an input `folder` is the project's."""
        text = text.replace("inputs:\n", f"inputs:\n  folder: {{type: string, default: {self.folder}}}\n")
        (self.folder / "plans" / "test.yaml").write_text(text)

    def drystone(self, *words: str) -> tuple[int, str]:
        """Exit code and all that it said."""
        command = [sys.executable, "-m", "drystone", *words]
        environ = {**os.environ, **self.environ}
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    def run(self, version: str, *, fail: bool = False, **inputs: Any) -> int:
        given = {"fail": fail, **inputs}
        return self.drystone("run", "test", f"-iversion={version}", *(f"-i{name}={json.dumps(value)}" for name, value in given.items()))[0]

    def shown(self, run: str = "last") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.drystone("show", run, "--json")[1])
        return document

    def undo_of(self, task: str, run: str = "last") -> dict[str, Any]:
        return next(item["undo"] for item in self.shown(run)["tasks"] if item["id"] == task)

    def files(self) -> Mapping[str, str]:
        return {file.name: file.read_text().strip() for file in sorted(self.folder.iterdir()) if file.is_file()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.plan(FILES)
    return made


def test_a_failed_update_is_taken_back_to_the_last_good_version(project: Project) -> None:
    assert project.run("one") == 0
    assert project.run("two", fail=True) == 3
    assert project.files() == {"conf": "one", "page": "one", "part-a": "one"}
    assert project.undo_of("conf")["mode"] == "restore"


def test_the_last_good_version_is_that_of_the_newest_run_that_succeeded(project: Project) -> None:
    for version, fail in (("one", False), ("two", True), ("three", False), ("four", True), ("five", True)):
        project.run(version, fail=fail)
    assert set(project.files().values()) == {"three"}


def test_runs_are_undone_one_after_the_other_down_to_nothing(project: Project) -> None:
    project.plan(FILES.replace("undo: restore", "undo: none", 1))
    assert project.run("one") == 0
    first = project.shown()["id"]
    assert project.run("two") == 0
    assert project.drystone("undo", "last", "--yes")[0] == 0
    assert project.files() == {"conf": "two", "page": "one", "part-a": "one"}
    assert project.drystone("undo", first, "--yes")[0] == 0
    assert project.files() == {"conf": "two"}
    assert not list((project.folder / ".drystone" / "state").iterdir())


def test_an_older_run_is_not_undone_below_a_later_one(project: Project) -> None:
    assert project.run("one") == 0
    first = project.shown()["id"]
    assert project.run("two") == 0
    later = project.shown()["id"]
    assert project.drystone("undo", first, "--yes")[0] == 4
    assert project.undo_of("conf", first)["attempts"][0]["error"]["message"] == f"run {later} has changed the same since"
    assert set(project.files().values()) == {"two"}
    assert project.drystone("undo", later, "--yes")[0] == 0
    assert set(project.files().values()) == {"one"}


def test_what_was_not_there_before_the_run_is_taken_back_by_the_kind_itself(project: Project) -> None:
    project.run("one")
    assert project.run("two", fail=True, items=["a", "b"]) == 3
    assert project.files() == {"conf": "one", "page": "one", "part-a": "one"}


def test_what_nothing_can_take_back_is_left_for_a_person(project: Project) -> None:
    assert project.run("one", fail=True) == 4
    document = project.shown()
    assert (document["status"], document["left"]) == ("compensation_failed", ["conf"])
    error = project.undo_of("conf")["attempts"][0]["error"]
    assert error["class"] == "refused"
    assert error["message"] == 'there is no earlier version of conf to go back to, and kind "command" has no undo of its own'
    assert project.files() == {"conf": "one"}


def test_a_stopped_run_is_the_last_good_one_once_it_was_resumed_to_its_end(project: Project) -> None:
    stops = FILES.replace("environment: here", "environment: here\non_failure: stop").replace("'false'", "'test -e go'")
    project.plan(stops)
    assert project.run("one") == 0
    assert project.run("two", fail=True) == 7
    project.plan(FILES)
    assert project.run("three", fail=True) == 3
    assert project.files()["conf"] == "one", "a run that has not succeeded is not gone back to"
    project.plan(stops)
    assert project.run("four", fail=True) == 7
    (project.folder / "go").touch()
    assert project.drystone("resume", "last")[0] == 0
    (project.folder / "go").unlink()
    project.plan(FILES)
    assert project.run("five", fail=True) == 3
    assert project.files()["conf"] == "four"


def test_an_attempt_that_failed_half_way_is_put_right_by_the_last_good_version(project: Project) -> None:
    half = FILES.replace("> conf", "> conf; {{ 'exit 1' if inputs.fail else 'true' }}")
    project.plan(half.replace("undo: restore", "undo: restore\n    undo_when: attempted", 1))
    assert project.run("one") == 0
    assert project.run("two", fail=True) == 3
    assert project.files()["conf"] == "one"


def test_a_task_that_the_run_did_not_change_is_left_alone(project: Project) -> None:
    project.run("one")
    (project.folder / "page").write_text("by hand")
    project.plan(FILES.replace('content: "{{ inputs.version }}"', 'content: "by hand"', 1))
    assert project.run("two", fail=True) == 3
    assert project.files()["page"] == "by hand"
    assert project.undo_of("page")["status"] == "not_needed"


def test_plans_without_an_environment_have_versions_of_their_own(project: Project) -> None:
    project.plan(FILES.replace("environment: here\n", ""))
    assert project.run("one") == 0
    assert project.run("two", fail=True) == 3
    assert set(project.files().values()) == {"one"}


def test_environments_do_not_share_versions(project: Project) -> None:
    project.plan(FILES.replace("environment: here", 'environment: "{{ inputs.version }}"').replace("undo: restore", "undo: none", 1))
    assert project.run("one") == 0
    assert project.run("two", fail=True) == 3
    # The other environment has no earlier version: the kind puts the file back by itself.
    assert project.files()["page"] == "one"
    logs = project.drystone("events", "last", "--json")[1]
    assert "is applied again" not in logs


SECRETS = """
drystone: 1
name: test
inputs:
  token: {type: string, secret: true}
  fail: {type: boolean, default: false}
tasks:
  conf:
    command: {shell: "echo \\"$LOGIN $PASSWORD\\" | tee conf", env: {LOGIN: "ops:{{ inputs.token }}", PASSWORD: "{{ secrets.password }}"}}
    undo: restore
  last: {needs: [conf], command: {shell: "{{ 'false' if inputs.fail else 'true' }}"}, undo: none}
"""


def test_secrets_of_a_version_are_sealed_on_disk_and_masked_when_it_is_applied_again(project: Project) -> None:
    project.plan(SECRETS)
    project.environ["DRYSTONE_SECRET_PASSWORD"] = "first-password"
    assert project.drystone("run", "test", "-itoken=first-token")[0] == 0
    # The source has a new password now: nobody else knows any more that the old one is a secret.
    project.environ["DRYSTONE_SECRET_PASSWORD"] = "second-password"
    assert project.drystone("run", "test", "-itoken=second-token", "-ifail=true")[0] == 3
    assert project.files()["conf"] == "ops:first-token first-password"
    assert "*** ***" in project.drystone("logs", "last", "conf")[1]
    kept = [file for file in (project.folder / ".drystone").rglob("*") if file.is_file()]
    assert any("@versions" in file.parts for file in kept)
    for file in kept:
        for secret in (b"first-token", b"first-password", b"second-token", b"second-password"):
            assert secret not in file.read_bytes(), file
        assert "@versions" not in file.parts or stat.S_IMODE(file.stat().st_mode) == 0o600


TERRAFORM = """
drystone: 1
name: test
environment: here
inputs:
  version: {type: string}
  fail: {type: boolean, default: false}
tasks:
  box: {terraform: {module: module, vars: {release: "{{ inputs.version }}"}}, undo: restore}
  last: {needs: [box], command: {shell: "{{ 'false' if inputs.fail else 'true' }}"}, undo: none}
"""


def test_terraform_restores_by_itself(project: Project) -> None:
    (project.folder / "module").mkdir()
    (project.folder / "module" / "main.tf").write_text('variable "release" {}\nresource "terraform_data" "box" { input = var.release }\n')
    project.plan(TERRAFORM)
    assert project.run("one") == 0
    assert project.run("two", fail=True) == 3
    state = json.loads(project.drystone("env", "state", "here", "box")[1])
    assert [item["instances"][0]["attributes"]["output"]["value"] for item in state["resources"]] == ["one"]
    assert not list((project.folder / ".drystone").rglob("@versions"))


def test_a_version_that_cannot_be_kept_fails_the_attempt_and_says_why(project: Project) -> None:
    state = project.folder / ".drystone" / "state" / "here" / "test" / "conf"
    state.mkdir(parents=True)
    (state / "@versions").write_text("in the way")
    assert project.run("one") in (3, 4)
    failure = project.shown()["error"]
    assert failure["task"] == "conf" and "cannot be kept as a version to go back to" in failure["message"]


ON_UPDATE = """
drystone: 1
name: test
environment: here
inputs:
  version: {type: string}
  fail: {type: boolean, default: false}
tasks:
  conf:
    command: {shell: "echo {{ inputs.version }} > conf; echo {{ inputs.version }} >> done"}
    undo:
      command: {shell: "rm conf"}
      on_update: restore
  last:
    needs: [conf]
    command: {shell: "{{ 'false' if inputs.fail else 'true' }}"}
    undo: none
"""


def test_a_body_takes_back_what_the_run_made_and_an_update_is_restored(project: Project) -> None:
    project.plan(ON_UPDATE)
    assert project.run("1", fail=True) == 3
    assert "conf" not in project.files(), "nothing was there before: the body removed it"
    assert project.run("1") == 0
    assert project.run("2", fail=True) == 3
    assert project.files()["conf"] == "1"
    assert project.files()["done"].split() == ["1", "1", "2", "1"]
    assert project.run("3") == 0
    assert project.drystone("undo", "last", "--yes")[0] == 0
    assert project.files()["conf"] == "1"
