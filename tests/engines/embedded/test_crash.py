"""A real `drystone run`, killed after each of its writes in turn, then resumed: it ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., int]

PLAN = """
drystone: 1
name: crash
environment: crash
inputs: {fail: {type: boolean, default: false}}
defaults: {retry: {attempts: 3, delay: 10ms, jitter: false}}
tasks:
  base:
    command: {shell: "echo base >> effects", idempotent: true}
    undo: {command: {shell: "echo undo-base >> effects", idempotent: true}}
  flaky:
    needs: [base]
    command: {shell: "echo flaky >> effects; test -e flaked || { touch flaked; exit 1; }", idempotent: true}
    undo: {command: {shell: "echo undo-flaky >> effects", idempotent: true}}
  part:
    needs: [base]
    for_each: [a, b, c]
    command: {shell: "echo part-{{ each.value }} >> effects", idempotent: true}
    undo: {command: {shell: "echo undo-part-{{ each.value }} >> effects", idempotent: true}}
  last:
    needs: [flaky, part]
    command: {shell: "echo last >> effects; {{ 'exit 1' if inputs.fail else 'true' }}", idempotent: true}
    retry: 1
    undo: none
"""


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """Runs a drystone command in a child of its own and gives its exit code."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "killed.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    stdin, stdout = server.stdin, server.stdout

    def ask(cwd: Path, *argv: str, kill_after: int | None = None) -> int:
        stdin.write(json.dumps({"cwd": str(cwd), "argv": argv, "kill_after": kill_after}) + "\n")
        stdin.flush()
        return int(stdout.readline())

    yield ask
    stdin.close()
    server.wait()
    stdout.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    """Makes an empty project, each time anew in the same place."""
    folder = tmp_path / "project"

    def make() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "plans").mkdir(parents=True)
        (folder / "plans" / "crash.yaml").write_text(PLAN)
        return folder

    return make


def shown(command: Command, project: Path) -> dict[str, Any]:
    (project / "output").unlink()
    assert command(project, "show", "last", "--json") == 0
    found: dict[str, Any] = json.loads((project / "output").read_text())
    return found


def end_of(document: dict[str, Any]) -> tuple[Any, ...]:
    """What must be equal to an undisturbed run."""
    tasks = [(task["id"], task["status"], task["undo"]["status"]) for task in document["tasks"]]
    return document["status"], document["error"], document["left"], tasks


def effects(project: Path) -> Counter[str]:
    return Counter((project / "effects").read_text().split())


@pytest.mark.parametrize(("fail", "code"), [("false", 0), ("true", 3)])
def test_a_run_killed_after_any_write_and_resumed_ends_as_an_undisturbed_one(
    command: Command, fresh: Callable[[], Path], fail: str, code: int
) -> None:
    run = ("run", "crash", "-i", f"fail={fail}")
    project = fresh()
    assert command(project, *run) == code
    undisturbed, done = end_of(shown(command, project)), effects(project)
    for kill_after in range(1, 1000):
        project = fresh()
        ended = command(project, *run, kill_after=kill_after)
        if ended == code:
            # How many writes there are depends on how much the engine could put into one.
            assert kill_after > 5, "the harness kills nothing"
            return
        assert ended == -signal.SIGKILL
        # The last writes may be all there is to write: then nothing is left to resume.
        resumed = command(project, "resume", "last")
        assert resumed in (code, 1), (project / "output").read_text()
        document = shown(command, project)
        assert end_of(document) == undisturbed, f"killed after write {kill_after}: {(project / 'output').read_text()}"
        lost = _lost(command, project)
        assert all(done[name] <= count <= done[name] + lost for name, count in effects(project).items()), f"after write {kill_after}"
        assert effects(project).keys() == done.keys()
        if kill_after % 8 == 0:
            assert command(project, *run) == code, "the environment is free again"
    raise AssertionError("the run never ended by itself")


def _lost(command: Command, project: Path) -> int:
    """How many attempts nobody saw the end of: only these may have been repeated."""
    (project / "output").unlink()
    assert command(project, "events", "last") == 0
    events = [json.loads(line) for line in (project / "output").read_text().splitlines()]
    return sum(event["type"] in ("task.lost", "undo.lost") for event in events)


def test_a_run_killed_again_and_again_still_ends_as_an_undisturbed_one(command: Command, fresh: Callable[[], Path]) -> None:
    project = fresh()
    assert command(project, "run", "crash", "-i", "fail=true") == 3
    undisturbed = end_of(shown(command, project))
    project = fresh()
    assert command(project, "run", "crash", "-i", "fail=true", kill_after=3) == -signal.SIGKILL
    for _ in range(100):
        # The first write of a resume takes the run and ends what was lost; each goes one step further.
        if command(project, "resume", "last", kill_after=3) != -signal.SIGKILL:
            break
    assert end_of(shown(command, project)) == undisturbed


INNER = """
drystone: 1
name: inner
inputs: {fail: {type: boolean}}
tasks:
  one:
    command: {shell: "echo one >> effects", idempotent: true}
    undo: {command: {shell: "echo undo-one >> effects", idempotent: true}}
  two:
    needs: [one]
    command: {shell: "echo two >> effects; {{ 'exit 1' if inputs.fail else 'true' }}", idempotent: true}
    undo: {command: {shell: "echo undo-two >> effects", idempotent: true}}
outputs: {word: "{{ 'two' }}"}
"""
OUTER = """
drystone: 1
name: outer
environment: crash
inputs: {inside: {type: boolean, default: false}, late: {type: boolean, default: false}}
tasks:
  base:
    command: {shell: "echo base >> effects", idempotent: true}
    undo: {command: {shell: "echo undo-base >> effects", idempotent: true}}
  part: {needs: [base], retry: {attempts: 2, delay: 10ms}, plan: {name: inner, inputs: {fail: "{{ inputs.inside }}"}}}
  last:
    command: {shell: "echo {{ tasks.part.outputs.word }} > /dev/null; {{ 'exit 1' if inputs.late else 'true' }}", idempotent: true}
    undo: none
"""


@pytest.mark.parametrize(("inputs", "code", "parts"), [([], 0, 1), (["-iinside=true"], 3, 2), (["-ilate=true"], 3, 1)])
def test_a_run_with_a_sub_plan_killed_after_any_write_ends_as_an_undisturbed_one_and_starts_each_part_once(
    command: Command, fresh: Callable[[], Path], inputs: list[str], code: int, parts: int
) -> None:
    def nested() -> Path:
        project = fresh()
        (project / "plans" / "inner.yaml").write_text(INNER)
        (project / "plans" / "outer.yaml").write_text(OUTER)
        return project

    def end(project: Path) -> tuple[Any, ...]:
        status, error, left, tasks = end_of(shown(command, project))
        # Its message names the inner run, whose id is another one each time. And a task whose lost attempt may have changed something is
        # undone, though there is nothing left to undo.
        tasks = [(id_, "failed", "not_needed") if (id_, code, parts) == ("part", 3, 2) else item for item in tasks for id_ in item[:1]]
        return status, error and (error["task"], error["class"]), left, tasks

    project = nested()
    assert command(project, "run", "outer", *inputs) == code
    undisturbed, done = end(project), effects(project)
    for kill_after in range(1, 1000):
        project = nested()
        ended = command(project, "run", "outer", *inputs, kill_after=kill_after)
        if ended == code:
            assert kill_after > 10, "the harness kills nothing"
            return
        assert ended == -signal.SIGKILL
        assert command(project, "resume", "last") in (code, 1), (project / "output").read_text()
        assert end(project) == undisturbed, f"killed after write {kill_after}: {(project / 'output').read_text()}"
        (project / "output").unlink()
        assert command(project, "runs", "--json") == 0
        found = json.loads((project / "output").read_text())["runs"]
        assert len([run for run in found if run["parent"]]) == parts, f"killed after write {kill_after}"
        # What one kill may repeat is the one attempt that it hit.
        assert effects(project).keys() == done.keys()
        assert sum((effects(project) - done).values()) <= 1 and not done - effects(project), f"killed after write {kill_after}"
    raise AssertionError("the run never ended by itself")


VERSIONS = """
drystone: 1
name: versions
environment: versions
inputs: {version: {type: string}, fail: {type: boolean, default: false}}
defaults: {retry: {attempts: 3, delay: 10ms, jitter: false}}
tasks:
  file:
    command: {shell: "echo {{ inputs.version }} > file", idempotent: true}
    undo: restore
  part:
    for_each: [a]
    command: {shell: "echo {{ inputs.version }} > part-{{ each.value }}", idempotent: true}
    undo: restore
  last:
    needs: [file, part]
    command: {shell: "{{ 'exit 1' if inputs.fail else 'true' }}", idempotent: true}
    retry: 1
    undo: none
"""


@pytest.mark.parametrize("last", [["run", "versions", "-iversion=2", "-ifail=true"], ["undo", "last", "--yes"]], ids=["failed", "undone"])
def test_what_a_run_restores_after_a_kill_at_any_write_is_what_was_good_before_it(
    command: Command, fresh: Callable[[], Path], last: list[str]
) -> None:
    project = fresh()
    (project / "plans" / "versions.yaml").write_text(VERSIONS)
    assert command(project, "run", "versions", "-iversion=1") == 0
    if last[0] == "undo":
        assert command(project, "run", "versions", "-iversion=2") == 0
    begun = shutil.copytree(project, project.with_name("begun"))
    for kill_after in range(1, 1000):
        shutil.rmtree(project)
        shutil.copytree(begun, project)
        ended = command(project, *last, kill_after=kill_after)
        # The last writes may be all there is to write: then nothing is left to resume.
        assert ended != -signal.SIGKILL or command(project, "resume", "last") in (0, 1, 3), (project / "output").read_text()
        found = {file.name: file.read_text() for file in (project / "file", project / "part-a")}
        assert found == dict.fromkeys(found, "1\n"), f"killed after write {kill_after}: {(project / 'output').read_text()}"
        assert shown(command, project)["status"] == "compensated"
        if ended != -signal.SIGKILL:
            assert kill_after > 5, "the harness kills nothing"
            return
    raise AssertionError("the run never ended by itself")
