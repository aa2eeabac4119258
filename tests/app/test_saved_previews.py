"""A saved preview is run exactly or not at all: through the real command, with files that the project's own key sealed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engines.projects import Project

from drystone import wiring
from drystone.app import places, runs, saved_previews
from drystone.app.inputs import Given
from drystone.core.preview import Action, Certainty, Change
from drystone.core.saved_preview import SavedPart, SavedPreview

PLAN = """
drystone: 1
name: shop
environment: staging
inputs:
  vms: {type: integer, default: 2}
  password: {type: string, secret: true, default: canary-one}
tasks:
  first: {command: {argv: ["./bin/first", "{{ inputs.vms }}"]}, undo: {command: {shell: "echo undo-first >> effects"}}}
  gate: {needs: [first], approval: {message: "Go on?", self_approval: true}}
  second: {needs: [gate], command: {shell: "echo second {{ tasks.first.outputs.stdout }} >> effects"}, undo: none}
"""
RUNS = (Change(action=Action.RUN, what="first"),)
EXACT = SavedPart(kind="command", certainty=Certainty.EXACT, config={"argv": ["./bin/first", 2]}, changes=RUNS)
LATER = SavedPart(kind="command", certainty=Certainty.PARTIAL, reason="it waits for tasks.first.outputs.stdout")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path)
    (tmp_path / "drystone.toml").touch()
    found.write("shop", PLAN)
    found.write("bin/first.sh", "")
    first = tmp_path / "bin" / "first"
    first.write_text("#!/bin/sh\necho first $1 >> effects\necho out\n")
    first.chmod(0o755)
    return found


def saved(project: Project, parts: Mapping[str, SavedPart] | None = None) -> SavedPreview:
    """What `drystone preview --out` writes, of these parts."""
    world = wiring.world(project.folder)
    plan = places.find_plan("shop", cwd=project.folder, project=project.folder, library=world.library)
    prepared = runs.prepare(world, plan, Given())
    said = {"first": EXACT, "second": LATER} if parts is None else parts
    return saved_previews.save(world, project.folder / "p.preview", prepared, said, summary="", vault=world.vault())


def test_it_is_run_and_what_was_not_certain_asks_again_once_it_is(project: Project) -> None:
    preview = saved(project)
    assert project.run("run", "--preview", "p.preview").returncode == 5
    assert project.lines("effects") == ["first 2"]
    gate = next(json.loads(line) for line in project.run("events", "last").stdout.splitlines() if "approval.requested" in line)
    assert gate["data"]["digest"] == preview.digest
    assert preview.digest.removeprefix("sha256:")[:12] in project.run("show", "last").stdout
    asked = project.run("approve", "last", "gate")
    assert asked.returncode == 5 and project.status("second") == "waiting" and project.lines("effects") == ["first 2"]
    assert project.run("approve", "last", "second").returncode == 0
    assert project.lines("effects") == ["first 2", "second out"] and project.shown()["status"] == "succeeded"
    approved = {task["id"]: task["approved"] for task in project.shown()["tasks"]}
    assert approved["gate"] == preview.digest and approved["second"].startswith("sha256:") and approved["first"] is None


def test_a_no_to_what_was_not_certain_takes_back_what_was_done_and_not_what_only_asked(project: Project) -> None:
    saved(project)
    project.run("run", "--preview", "p.preview")
    project.run("approve", "last", "gate")
    assert project.run("reject", "last", "second").returncode == 0
    assert project.lines("effects") == ["first 2", "undo-first"] and project.shown()["status"] == "compensated"


def test_approve_deferred_does_not_ask(project: Project) -> None:
    saved(project)
    project.run("run", "--preview", "p.preview", "--approve-deferred")
    assert project.run("approve", "last", "gate").returncode == 0
    assert project.lines("effects") == ["first 2", "second out"]


def test_another_config_than_the_previewed_one_is_asked_about(project: Project) -> None:
    saved(project, {"first": replace(EXACT, config={"argv": ["./bin/first", 7]})})
    assert project.run("run", "--preview", "p.preview").returncode == 5
    assert project.status("first") == "waiting" and project.lines("effects") == []


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("-i", "vms=3"), "input vms was 2 and is 3"),
        (("-i", "password=canary-two"), "input password has changed"),
    ],
)
def test_another_input_is_refused_and_named(project: Project, argv: tuple[str, ...], reason: str) -> None:
    saved(project)
    done = project.run("run", "--preview", "p.preview", *argv)
    assert done.returncode == 1 and reason in done.stderr and "canary" not in done.stderr
    assert project.lines("effects") == [] and project.run("runs").stdout.count("shop") == 0


@pytest.mark.parametrize(("name", "text"), [("plans/shop.yaml", PLAN + "# more\n"), ("bin/first", "#!/bin/sh\n")])
def test_another_file_is_refused_and_named(project: Project, name: str, text: str) -> None:
    if name not in saved(project).manifest:
        pytest.skip("commands' programs are not in the bundle yet")
    (project.folder / name).write_text(text)
    done = project.run("run", "--preview", "p.preview")
    assert done.returncode == 1 and f"{name} has changed" in done.stderr


def test_another_plan_is_refused(project: Project) -> None:
    saved(project)
    project.write("other", PLAN.replace("name: shop", "name: other"))
    done = project.run("run", "other", "--preview", "p.preview")
    assert done.returncode == 1 and "of plan" in done.stderr
    assert project.run("run", "shop", "--preview", "p.preview").returncode == 5


def test_a_file_that_is_cut_foreign_newer_or_forged_is_refused_in_words(project: Project, tmp_path: Path) -> None:
    saved(project)
    file = project.folder / "p.preview"
    whole = file.read_bytes()
    head, sealed = whole.split(b"\n", 1)
    said = {}
    for name, content in {
        "not whole": whole[:-20],
        "format 2": whole.replace(b'"drystone_preview": 1', b'"drystone_preview": 2'),
        "another digest": json.dumps({**json.loads(head), "digest": "sha256:0"}).encode() + b"\n" + sealed,
        "no saved preview": b"\x00\x01",
    }.items():
        file.write_bytes(content)
        done = project.run("run", "--preview", "p.preview")
        said[name] = done.returncode == 1 and name in done.stderr
    assert all(said.values()), said
    file.write_bytes(whole)
    (project.folder / ".drystone" / "key").unlink()
    project.run("run", "shop", "--no-wait")
    assert "another project" in project.run("run", "--preview", "p.preview").stderr


def test_the_file_is_private_and_holds_no_secret_in_clear(project: Project) -> None:
    saved(project, {"first": replace(EXACT, saved=b"canary-plan")})
    file = project.folder / "p.preview"
    assert file.stat().st_mode & 0o777 == 0o600
    project.run("run", "--preview", "p.preview")
    files = [file, *(path for path in (project.folder / ".drystone").rglob("*") if path.is_file() and "plans/shop" not in str(path))]
    assert [path for path in files if b"canary-plan" in path.read_bytes()] == []
    assert b"canary" not in file.read_bytes()


BOX = '''
from drystone.plugin import api
from pathlib import Path

class BoxConfig(api.Config):
    text: str
    fails: int = 0

class Box(api.Kind):
    """A stranger's kind whose work rests on a serial, as Terraform's on that of its state."""

    name = "box"
    Config = BoxConfig

    def bound(self, ctx, config):
        file = ctx.project / "serial"
        return {"serial": file.read_text() if file.exists() else "0"}

    def preview(self, ctx, config):
        change = api.Change(action=api.Action.ADD, what="box." + config.text)
        return api.Preview(summary="1 to add", changes=(change,), saved=b"planned " + config.text.encode(), bound=self.bound(ctx, config))

    def run(self, ctx, config):
        with (ctx.project / "effects").open("a") as effects:
            effects.write((ctx.saved or b"unplanned").decode() + chr(10))
        (ctx.project / "serial").write_text(str(int(self.bound(ctx, config)["serial"]) + 1))
        if ctx.attempt <= config.fails:
            raise api.TemporaryError(api.FailureClass.FAILED, "half-way")
        return api.Outcome()
'''
BOX_PLAN = """
drystone: 1
name: shop
environment: staging
on_failure: stop
tasks:
  box: {{box: {{text: a, fails: {fails}}}, undo: none, retry: {{attempts: 3, delay: 1s, on: [failed]}}}}
"""


def boxed(project: Project, monkeypatch: pytest.MonkeyPatch, *, fails: int = 0, certainty: Certainty = Certainty.EXACT) -> None:
    """A project with that kind, and a saved preview of a plan with it."""
    plugins = project.folder / "plugins"
    project.write("plugins/box_kind.py", BOX)
    project.write("plugins/box-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: box\nVersion: 1\n")
    project.write("plugins/box-1.dist-info/entry_points.txt", "[drystone.kinds]\nbox = box_kind:Box\n")
    monkeypatch.setenv("PYTHONPATH", str(plugins))
    monkeypatch.syspath_prepend(str(plugins))
    project.write("shop", BOX_PLAN.format(fails=fails))
    config = {"text": "a", "fails": fails} if certainty is Certainty.EXACT else None
    bound, plan = ({"serial": "0"}, b"saved") if config else ({}, None)
    part = SavedPart(kind="box", certainty=certainty, config=config, bound=bound, saved=plan)
    saved(project, {"box": part})


def test_what_the_preview_saved_is_what_is_done(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    boxed(project, monkeypatch)
    assert project.run("run", "--preview", "p.preview").returncode == 0
    assert project.lines("effects") == ["saved"]


def test_a_world_that_has_moved_is_refused_before_anything_begins(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    boxed(project, monkeypatch)
    (project.folder / "serial").write_text("4")
    done = project.run("run", "--preview", "p.preview")
    assert done.returncode == 1 and "the serial of box was 0 and is 4" in done.stderr
    assert project.lines("effects") == [] and project.run("runs").stdout.count("shop") == 0


def test_what_a_failed_attempt_has_moved_is_previewed_and_asked_about_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    boxed(project, monkeypatch, fails=1)
    assert project.run("run", "--preview", "p.preview").returncode == 5
    assert project.lines("effects") == ["saved"] and project.status("box") == "waiting"
    assert project.run("approve", "last", "box").returncode == 0
    assert project.lines("effects") == ["saved", "planned a"]


def test_a_world_that_moves_between_question_and_yes_is_asked_about_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    boxed(project, monkeypatch, certainty=Certainty.DEFERRED)
    assert project.run("run", "--preview", "p.preview").returncode == 5
    (project.folder / "serial").write_text("9")
    assert project.run("approve", "last", "box").returncode == 5
    assert project.lines("effects") == []
    assert project.run("approve", "last", "box").returncode == 0
    assert project.lines("effects") == ["planned a"]


def test_a_process_that_is_killed_leaves_a_run_that_still_does_the_preview(project: Project) -> None:
    saved(project)
    with project.start("run", "--preview", "p.preview", "--wait") as child:
        project.until(lambda: project.lines("effects") and project.status("gate") == "waiting")
        child.kill()
        child.wait()
    (project.folder / "p.preview").unlink()
    assert project.run("approve", "last", "gate").returncode == 5
    assert project.status("second") == "waiting" and project.lines("effects") == ["first 2"]
    assert project.run("approve", "last", "second").returncode == 0
    assert project.lines("effects") == ["first 2", "second out"]
