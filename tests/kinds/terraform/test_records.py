"""What is remembered of an instance between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from drystone.kinds.terraform import source
from drystone.kinds.terraform.records import Before, Records


@pytest.fixture
def records(tmp_path: Path, attempt) -> Records:
    folder = tmp_path / "state"
    folder.mkdir()
    return Records(folder=folder, seals=attempt.ctx, kept_runs=2)


@pytest.fixture
def keep(records, project, app):
    """Keeps the module with a value of its variable."""
    return lambda value: records.keep(source.read(app, project), {"name": value}, [], [])


def test_the_same_module_with_the_same_values_is_the_same_version(keep):
    assert keep("a").id == keep("a").id != keep("b").id


def test_a_version_is_a_copy(keep, app):
    version = keep("a")
    text = (app / "main.tf").read_bytes()
    (app / "main.tf").write_text("")
    assert (version.tree / version.place / "main.tf").read_bytes() == text


def test_a_copy_has_the_digest_of_what_was_copied(keep, project, app):
    assert keep("a").source.digest() == source.read(app, project).digest()


def test_what_was_before_is_noted_by_the_first_apply_only(records, keep):
    records.begin("one", keep("a"), was_there=False, serial=None)
    records.begin("one", keep("a"), was_there=True, serial=1)
    assert records.before("one") == Before(existed=False, version=None)


def test_an_update_notes_the_good_version(records, keep):
    good = keep("a")
    records.begin("one", good, was_there=False, serial=None)
    records.succeed(good, 1)
    records.begin("two", keep("b"), was_there=True, serial=1)
    assert records.before("two") == Before(existed=True, version=good.id)


def test_what_was_taken_away_from_outside_did_not_exist(records, keep):
    records.begin("one", keep("a"), was_there=False, serial=None)
    records.succeed(keep("a"), 1)
    records.begin("two", keep("b"), was_there=False, serial=1)
    assert records.before("two") == Before(existed=False, version=None)


def test_old_versions_give_way_and_the_runs_that_led_to_them_are_not_forgotten(records, keep):
    for number in range(5):
        version = keep(str(number))
        records.begin(f"run-{number}", version, was_there=number > 0, serial=number)
        records.succeed(version, number)
    assert {folder.name for folder in (records.folder / "versions").iterdir()} == {keep(str(n)).id for n in (2, 3, 4)}
    assert [(before := records.before(f"run-{n}")) and before.existed for n in range(5)] == [False, True, True, True, True]
    assert (forgotten := records.before("run-1")) is not None and records.version(forgotten.version) is None


def test_only_the_last_run_has_no_later_one(records, keep):
    for run in ("b", "a"):
        records.begin(run, keep(run), was_there=run == "a", serial=None)
    records.begin("b", keep("c"), was_there=True, serial=None)
    assert (records.later("b"), records.later("a")) == ("a", None)


def test_a_version_that_was_copied_half_is_copied_again(records, keep):
    version = keep("a")
    (version.folder / "version.json").unlink()
    (version.tree / version.place / "main.tf").unlink()
    assert "main.tf" in {path.name for path in keep("a").tree.rglob("*")}


def test_forgetting_leaves_nothing(records, keep):
    records.begin("one", keep("a"), was_there=False, serial=None)
    records.default_state.write_text("{}")
    records.forget()
    assert not records.folder.exists()
