"""Which project, which plan, which root: the rules of docs/reference/cli.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from drystone.app import places
from drystone.errors import NotFoundError, ProjectError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def find(word: str, cwd: Path, library: Path, project: Path | None = None) -> places.PlanFile:
    return places.find_plan(word, cwd=cwd, project=project, library=library)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    touch(tmp_path / "library/plans/environment.yaml")
    return tmp_path / "library"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    touch(tmp_path / "shop/drystone.toml")
    touch(tmp_path / "shop/plans/deploy.yaml")
    return tmp_path / "shop"


@pytest.mark.parametrize("mark", ["drystone.toml", ".drystone/drystone.db", "plans/a.yaml"])
def test_a_project_is_the_nearest_folder_upwards_with_a_mark(tmp_path: Path, mark: str) -> None:
    touch(tmp_path / "a" / mark)
    inside = tmp_path / "a/b/c"
    inside.mkdir(parents=True)
    assert places.find_project(inside) == (tmp_path / "a").resolve()


def test_a_folder_without_marks_is_its_own_project(tmp_path: Path) -> None:
    assert places.find_project(tmp_path) == tmp_path.resolve()


def test_a_folder_that_is_not_there_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="there is no folder"):
        places.find_project(tmp_path / "none")


def test_a_plans_root_is_the_nearest_folder_with_settings(shop: Path) -> None:
    assert places.plan_root(touch(shop / "plans/nightly/clean.yaml")) == shop


def test_without_settings_the_root_is_the_parent_of_plans(tmp_path: Path) -> None:
    assert places.plan_root(touch(tmp_path / "x/plans/sub/a.yaml")) == tmp_path / "x"


def test_without_settings_and_plans_the_root_is_the_plans_own_folder(tmp_path: Path) -> None:
    assert places.plan_root(touch(tmp_path / "x/a.yaml")) == tmp_path / "x"


def test_a_name_is_looked_up_in_the_project_first(shop: Path, library: Path) -> None:
    own = touch(shop / "plans/environment.yaml")
    assert find("environment", shop, library).path == own


def test_a_plan_that_ships_has_its_files_in_the_library_but_its_runs_in_the_project(shop: Path, library: Path) -> None:
    found = find("environment", shop, library)
    assert (found.root, found.project) == (library, shop)


def test_a_path_has_its_runs_where_its_root_is(tmp_path: Path, shop: Path, library: Path) -> None:
    found = find("shop/plans/deploy.yaml", tmp_path, library)
    assert (found.root, found.project, found.shown) == (shop, shop, "shop/plans/deploy.yaml")


def test_a_project_that_was_named_gets_the_runs_of_a_path(tmp_path: Path, shop: Path, library: Path) -> None:
    outside = touch(tmp_path / "other/x.yaml")
    assert find(str(outside), tmp_path, library, project=shop).project == shop


def test_an_unknown_name_gets_the_nearest_one_as_a_hint(shop: Path, library: Path) -> None:
    with pytest.raises(NotFoundError, match='no plan "deplyo"') as caught:
        find("deplyo", shop, library)
    assert caught.value.hint == 'did you mean "deploy"?'


def test_an_unknown_name_gets_all_names_when_none_is_near(shop: Path, library: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        find("zzz", shop, library)
    assert caught.value.hint == "plans: deploy, environment"


def test_a_path_that_is_not_there_is_said_to_be_no_file(shop: Path, library: Path) -> None:
    with pytest.raises(NotFoundError, match=r'"plans/none\.yaml" does not exist'):
        find("plans/none.yaml", shop, library)
    with pytest.raises(NotFoundError, match=r'"plans" is a folder'):
        find("./plans", shop, library)


def test_all_plans_of_a_project_are_found_below_plans(shop: Path) -> None:
    touch(shop / "plans/sub/b.yml")
    touch(shop / "plans/notes.txt")
    assert [plan.shown for plan in places.plans_in(shop, shop)] == ["plans/deploy.yaml", "plans/sub/b.yml"]
