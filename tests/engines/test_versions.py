"""Which version of an instance is gone back to, and what is kept of those before it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from drystone.engines.versions import KEPT, Standing, Version, Versions
from drystone.errors import PermanentError

Keep = Callable[..., None]


@pytest.fixture
def runs() -> dict[str, Standing]:
    """How the runs stand; the test changes it."""
    return {}


@pytest.fixture
def versions(tmp_path: Path, runs: dict[str, Standing]) -> Versions:
    return Versions(folder=tmp_path / "state" / "@versions", standing_of=runs.get)


@pytest.fixture
def keep(versions: Versions, runs: dict[str, Standing]) -> Keep:
    """A run applies a version and ends."""

    def applied(run: str, standing: Standing = Standing.GOOD, *, changed: bool = True) -> None:
        runs[run] = standing
        versions.keep(Version(run=run, config=f"sealed {run}", changed=changed))

    return applied


def config_before(versions: Versions, run: str, *, has_applied: bool = True) -> str | None:
    found = versions.before(run, has_applied=has_applied)
    return None if found is None else found.config


def test_the_newest_run_that_succeeded_is_gone_back_to(versions: Versions, keep: Keep) -> None:
    keep("1")
    keep("2")
    keep("3", Standing.UNPROVEN)
    keep("4", Standing.UNPROVEN)
    assert config_before(versions, "4") == "sealed 2"


def test_a_run_whose_attempt_failed_goes_back_to_what_was_good(versions: Versions, keep: Keep) -> None:
    keep("1")
    assert config_before(versions, "2", has_applied=False) == "sealed 1"


def test_there_is_nothing_before_the_first_run(versions: Versions, keep: Keep) -> None:
    assert config_before(versions, "1", has_applied=False) is None
    keep("1")
    assert config_before(versions, "1") is None


def test_a_run_that_failed_is_good_once_it_was_resumed_and_succeeded(
    versions: Versions, keep: Keep, runs: dict[str, Standing]
) -> None:
    keep("1", Standing.UNPROVEN)
    keep("2", Standing.UNPROVEN)
    assert config_before(versions, "2") is None
    runs["1"] = Standing.GOOD
    assert config_before(versions, "2") == "sealed 1"


def test_runs_that_are_undone_one_after_the_other_each_go_back_to_the_one_before(
    versions: Versions, keep: Keep, runs: dict[str, Standing]
) -> None:
    for run in ("1", "2", "3"):
        keep(run)
    for run, expected in (("3", "sealed 2"), ("2", "sealed 1"), ("1", None)):
        runs[run] = Standing.UNPROVEN
        assert config_before(versions, run) == expected
        versions.take_back(run)
        assert config_before(versions, run) == expected, "an undo that is made again after a crash does the same"
        runs[run] = Standing.TAKEN_BACK
    assert not versions.folder.exists()


def test_a_version_taken_back_is_not_good_even_when_the_rest_of_its_run_could_not_be(
    versions: Versions, keep: Keep, runs: dict[str, Standing]
) -> None:
    keep("1")
    keep("2")
    runs["2"] = Standing.GOOD
    versions.take_back("2")
    keep("3", Standing.UNPROVEN)
    assert config_before(versions, "3") == "sealed 1"


def test_an_older_run_is_not_taken_back_below_a_later_one(versions: Versions, keep: Keep, runs: dict[str, Standing]) -> None:
    keep("1")
    keep("2")
    with pytest.raises(PermanentError, match="run 2 has changed the same since"):
        versions.before("1", has_applied=True)
    runs["2"] = Standing.TAKEN_BACK
    assert config_before(versions, "1") is None


def test_a_later_run_that_changed_nothing_is_not_in_the_way(versions: Versions, keep: Keep) -> None:
    keep("1")
    keep("2")
    keep("3", changed=False)
    assert config_before(versions, "2") == "sealed 1"


def test_a_run_that_applies_twice_counts_once(versions: Versions, keep: Keep) -> None:
    keep("1")
    keep("2", Standing.UNPROVEN)
    keep("2", Standing.UNPROVEN)
    assert config_before(versions, "2") == "sealed 1"
    assert len(list(versions.folder.iterdir())) == 2


def test_the_last_good_version_stays_however_many_runs_fail_after_it(versions: Versions, keep: Keep) -> None:
    keep("good")
    for number in range(2 * KEPT):
        keep(f"failed {number}", Standing.UNPROVEN)
    assert config_before(versions, f"failed {2 * KEPT - 1}") == "sealed good"
    assert len(list(versions.folder.glob("*.json"))) == KEPT + 1


def test_a_run_too_old_to_be_taken_back_says_so_instead_of_claiming_to_be_the_first(versions: Versions, keep: Keep) -> None:
    for number in range(KEPT + 5):
        keep(f"{number}", changed=number < 6)
    for old in ("4", "5"):
        with pytest.raises(PermanentError, match="not kept any more"):
            versions.before(old, has_applied=True)


def test_runs_that_were_taken_back_leave_no_trace_once_they_are_old(versions: Versions, keep: Keep) -> None:
    runs = [f"{number}" for number in range(KEPT)]
    for run in runs:
        keep(run, Standing.TAKEN_BACK)
    for run in runs[:-1]:
        versions.take_back(run)
    keep("stands", Standing.UNPROVEN)
    keep("last", Standing.UNPROVEN)
    assert config_before(versions, "last") is None


def test_a_run_that_the_store_does_not_know_is_not_taken_for_a_bad_one(versions: Versions, keep: Keep, runs: dict[str, Standing]) -> None:
    keep("1")
    keep("2", Standing.UNPROVEN)
    del runs["1"]
    with pytest.raises(PermanentError, match="the store has no run 1"):
        versions.before("2", has_applied=True)


def test_versions_are_for_their_owner_only(versions: Versions, keep: Keep) -> None:
    keep("1")
    (file,) = versions.folder.iterdir()
    assert (stat.S_IMODE(versions.folder.stat().st_mode), stat.S_IMODE(file.stat().st_mode)) == (0o700, 0o600)
