"""What an older drystone left below .drystone is moved to its place of now once, and never lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drystone.adapters.home import bring_up_to_date
from drystone.errors import ProjectError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """State where earlier versions had it."""
    file = tmp_path / "environments" / "live" / "site" / "base" / "terraform.tfstate"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    return tmp_path / "environments"


def test_state_is_moved_once_and_an_older_drystone_still_finds_it(tmp_path: Path, old: Path) -> None:
    bring_up_to_date(tmp_path)
    bring_up_to_date(tmp_path)
    assert (tmp_path / "state/live/site/base/terraform.tfstate").read_text() == "{}"
    assert old.is_symlink() and (old / "live/site/base/terraform.tfstate").exists()


def test_a_project_that_was_moved_takes_the_link_along(tmp_path: Path, old: Path) -> None:
    bring_up_to_date(tmp_path)
    assert not os.path.isabs(os.readlink(old))


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path)
    bring_up_to_date(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_a_move_that_was_killed_before_the_link_is_done(tmp_path: Path, old: Path) -> None:
    old.rename(tmp_path / "state")
    bring_up_to_date(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_two_places_that_both_hold_state_are_left_alone_and_named(tmp_path: Path, old: Path) -> None:
    (tmp_path / "state" / "other").mkdir(parents=True)
    with pytest.raises(ProjectError, match="both hold state") as caught:
        bring_up_to_date(tmp_path)
    assert "environment by environment" in caught.value.hint
    assert (old / "live/site/base/terraform.tfstate").exists()


def test_an_empty_old_place_is_no_doubt(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "state" / "other").mkdir(parents=True)
    bring_up_to_date(tmp_path)
    assert (tmp_path / "state" / "other").is_dir()
