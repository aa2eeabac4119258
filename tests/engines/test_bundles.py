"""A run goes on, and is taken back, with the files that it began with, whatever became of them since."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.engines.projects import Project

GATE = """
  gate:
    needs: [first]
    command: {argv: [test, -e, open]}
    undo: none
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """A project with a plan that stops at a gate."""
    return Project(tmp_path)


def _plan(body: str, *, undo: str = "none") -> str:
    text = f"drystone: 1\nname: p\non_failure: stop\ntasks:\n  first: {{noop: {{}}, undo: none}}\n{GATE}"
    return f"{text}  last:\n    needs: [gate]\n    {body}\n    undo: {undo}\n"


def _stopped(shop: Project, body: str, *, undo: str = "none") -> None:
    """A run that has begun, and is held up before the task in question."""
    shop.write("p", _plan(body, undo=undo))
    done = shop.run("run", "p")
    assert shop.shown()["status"] == "failed", done.stderr
    (shop.folder / "open").touch()


def _script(shop: Project, word: str) -> None:
    shop.write("bin/say.sh", f"#!/bin/sh\necho {word} >> said\n")
    (shop.folder / "bin/say.sh").chmod(0o755)


def test_a_script_that_was_edited_since_is_run_as_it_was(shop: Project) -> None:
    _script(shop, "old")
    _stopped(shop, "command: {argv: [bin/say.sh]}")
    _script(shop, "new")
    done = shop.run("resume", "last")
    assert shop.lines("said") == ["old"], done.stderr
    shop.run("run", "p")
    assert shop.lines("said") == ["old", "new"]


def test_an_undo_uses_the_script_of_its_run(shop: Project) -> None:
    _script(shop, "old")
    (shop.folder / "open").touch()
    shop.write("p", _plan("noop: {}", undo="{command: {argv: [bin/say.sh]}}"))
    shop.run("run", "p")
    (shop.folder / "bin/say.sh").unlink()
    shop.run("undo", "last", "--yes")
    assert shop.lines("said") == ["old"]


def test_a_template_of_a_folder_that_only_the_run_knows_is_the_old_one(shop: Project) -> None:
    shop.write("conf/a/x.j2", "old")
    _stopped(shop, f'for_each: {{a: 1}}\n    template: {{src: "conf/{{{{ each.key }}}}/x.j2", dest: "{shop.folder}/made"}}')
    shop.write("conf/a/x.j2", "new")
    shop.write("conf/a/y.j2", "beside")
    done = shop.run("resume", "last")
    assert (shop.folder / "made").read_text() == "old", done.stderr


def test_a_playbook_and_its_roles_are_the_old_ones(shop: Project) -> None:
    shop.write("playbooks/site.yml", "- hosts: localhost\n  connection: local\n  gather_facts: false\n  roles: [say]\n")
    role = "- ansible.builtin.copy: {{content: {0}, dest: '{1}/made', mode: '0644'}}\n"
    shop.write("playbooks/roles/say/tasks/main.yml", role.format("old", shop.folder))
    _stopped(shop, "ansible: {playbook: playbooks/site.yml}")
    shop.write("playbooks/roles/say/tasks/main.yml", role.format("new", shop.folder))
    shop.write("playbooks/roles/say/handlers/main.yml", "- broken: [")
    done = shop.run("resume", "last")
    assert (shop.folder / "made").read_text() == "old", done.stderr + done.stdout


def test_a_neighbour_that_is_not_in_the_bundle_is_found_beside_it(shop: Project) -> None:
    shop.write("playbooks/site.yml", "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n  - ansible.builtin.copy:"
               f" {{src: ../data/x, dest: '{shop.folder}/made', mode: '0644'}}\n")  # fmt: skip
    shop.write("plans/p.yaml", _plan("ansible: {playbook: playbooks/site.yml}"))
    (shop.folder / "open").touch()
    (shop.folder / "data").mkdir()
    (shop.folder / "data/x").write_text("here")
    done = shop.run("run", "p")
    assert (shop.folder / "made").read_text() == "here", done.stderr


def test_a_part_of_a_run_uses_the_plan_and_the_files_of_the_whole(shop: Project) -> None:
    _script(shop, "old")
    sub = "drystone: 1\nname: sub\ntasks:\n  t: {command: {argv: [bin/say.sh]}, undo: none}\n"
    shop.write("sub", sub)
    _stopped(shop, "plan: {name: sub}")
    _script(shop, "new")
    (shop.folder / "plans/sub.yaml").write_text("drystone: 1\nname: sub\ntasks:\n  other: {noop: {}}\n")
    done = shop.run("resume", "last")
    assert shop.lines("said") == ["old"], done.stderr


def test_what_the_run_itself_makes_is_no_part_of_its_bundle(shop: Project) -> None:
    shop.write("made.j2", "of an earlier run")
    body = f"template: {{src: made.j2, dest: '{shop.folder}/result'}}"
    text = _plan(body).replace("first: {noop: {}", "first: {command: {shell: 'echo fresh > made.j2'}")
    shop.write("plans/p.yaml", text)
    (shop.folder / "open").touch()
    shop.run("run", "p")
    assert (shop.folder / "result").read_text() == "fresh\n"


def test_runs_share_what_did_not_change(shop: Project) -> None:
    _script(shop, "old")
    _stopped(shop, "command: {argv: [bin/say.sh]}")
    blobs = sorted((shop.folder / ".drystone/bundles/blobs").rglob("*"))
    first = shop.shown()["bundle"]
    shop.run("run", "p")
    assert shop.shown()["bundle"] == first
    assert sorted((shop.folder / ".drystone/bundles/blobs").rglob("*")) == blobs


def test_going_back_to_a_version_takes_the_files_of_its_run(shop: Project) -> None:
    plan = "drystone: 1\nname: p\nenvironment: e\ninputs: {n: {type: string}}\ntasks:\n"
    _script(shop, "old")
    shop.write("p", plan + '  t: {command: {argv: [bin/say.sh, "{{ inputs.n }}"]}, undo: restore}\n')
    shop.run("run", "p", "-i", "n=1")
    _script(shop, "new")
    shop.run("run", "p", "-i", "n=2")
    done = shop.run("undo", "last", "--yes")
    assert shop.lines("said") == ["old", "new", "old"], done.stderr


def test_a_process_that_dies_while_it_keeps_a_bundle_leaves_a_usable_store(shop: Project) -> None:
    folder = shop.folder / "files"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.j2").write_text(f"{number}")
    body = f'for_each: {{"7": 1}}\n    template: {{src: "files/{{{{ each.key }}}}.j2", dest: "{shop.folder}/made"}}'
    shop.write("p", _plan(body))
    (shop.folder / "open").touch()
    blobs = shop.folder / ".drystone/bundles/blobs"
    with shop.start("run", "p") as child:
        shop.until(lambda: blobs.is_dir() and len(list(blobs.iterdir())) > 3)
        os.kill(child.pid, signal.SIGKILL)
    done = shop.run("run", "p")
    assert (shop.folder / "made").read_text() == "7", done.stderr


@pytest.mark.parametrize("module", ["mods/app", "."])
def test_a_module_and_what_it_leads_to_are_the_old_ones(shop: Project, module: str) -> None:
    shop.write(f"{module}/main.tf", 'module "x" {\n  source = "./part"\n}\noutput "word" {\n  value = module.x.word\n}\n')
    part = 'resource "terraform_data" "x" {{ input = "{0}" }}\noutput "word" {{ value = terraform_data.x.output }}\n'
    shop.write(f"{module}/part/main.tf", part.format("old"))
    _stopped(shop, f"terraform: {{module: {module}}}", undo="auto")
    shop.write(f"{module}/part/main.tf", part.format("new"))
    shop.write(f"{module}/other.tf", "broken {")
    done = shop.run("resume", "last")
    assert shop.shown()["tasks"][-1]["outputs"] == {"word": "old"}, done.stderr
    assert shop.run("undo", "last", "--yes").returncode == 0
    (shop.folder / module / "other.tf").unlink()
    shop.run("run", "p")
    assert shop.shown()["tasks"][-1]["outputs"] == {"word": "new"}
