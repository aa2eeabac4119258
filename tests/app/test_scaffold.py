"""`drystone init`: what a new project has, and that nothing of anybody's is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from drystone import wiring
from drystone.app import scaffold
from drystone.errors import ProjectError


def create(folder: Path) -> list[str]:
    return scaffold.create(folder, wiring.library(), wiring.library_folders())


def test_a_new_project_has_the_library_settings_and_an_ignore_file(tmp_path: Path) -> None:
    made = create(tmp_path / "shop")
    assert {"drystone.toml", ".gitignore", "plans/hello.yaml", "plans/environment.yaml", "playbooks/software.yaml"} <= set(made)
    assert all((tmp_path / "shop" / name).is_file() for name in made)
    assert ".drystone/" in (tmp_path / "shop/.gitignore").read_text()


def test_what_a_tool_left_in_the_library_is_not_copied(tmp_path: Path) -> None:
    for name in ("plans/a.yaml", "modules/m/.terraform/x", "modules/m/terraform.tfstate", "playbooks/__pycache__/a.pyc"):
        (tmp_path / "library" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "library" / name).write_text("")
    made = scaffold.create(tmp_path / "new", tmp_path / "library", ["plans", "modules", "playbooks"])
    assert made == [".gitignore", "drystone.toml", "plans/a.yaml"]


def test_nothing_is_overwritten_and_the_files_in_the_way_are_named(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans/hello.yaml").write_text("mine")
    with pytest.raises(ProjectError, match=r"plans/hello\.yaml"):
        create(tmp_path)
    assert (tmp_path / "plans/hello.yaml").read_text() == "mine"
    assert not (tmp_path / "drystone.toml").exists()


def test_a_folder_with_other_files_may_become_a_project(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    create(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_file_cannot_become_a_project(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ProjectError, match="is a file"):
        create(tmp_path / "x")
