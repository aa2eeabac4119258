"""The plans for accounts, rehearsed: whatever fails, a person has all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from drystone.errors import InputError
from drystone.testing.faults import Faults, crash_after, fails
from drystone.testing.rehearsal import Rehearsal

INPUTS = {
    "name": "ada",
    "inventory": "inventories/demo",
    "database": "db.example.org:5432/shop",
    "accounts_url": "https://accounts.example.org",
}
NEW = {"known": {"status": 404}, "role": {"rows": [{"role": "ada", "made": True}]}}
THERE = {"known": {"status": 200, "body": {"status": "active"}}, "known_role": {"rows": [{"can_login": True}]}}

Play = Callable[..., Rehearsal]


@pytest.fixture
def onboard(rehearse: Callable[..., Rehearsal]) -> Play:
    """Rehearses `onboard-user` for somebody new."""

    def played(faults: Faults = (), outputs: Mapping[str, Any] = NEW, **inputs: Any) -> Rehearsal:
        given = {**INPUTS, "public_key": "ssh-ed25519 AAAA", **inputs}
        return rehearse("onboard-user", inputs=given, faults=faults, outputs=outputs)

    return played


@pytest.fixture
def offboard(rehearse: Callable[..., Rehearsal]) -> Play:
    """Rehearses `offboard-user` for somebody who has it all."""

    def played(faults: Faults = (), outputs: Mapping[str, Any] = THERE, **inputs: Any) -> Rehearsal:
        return rehearse("offboard-user", inputs={**INPUTS, **inputs}, faults=faults, outputs=outputs)

    return played


@pytest.mark.parametrize("task", ["known", "hosts", "role", "entry"])
def test_whichever_step_fails_the_others_are_undone(onboard: Play, task: str) -> None:
    run = onboard(fails(task))
    assert (run.status, run.left) == ("compensated", [])
    assert set(run.undone) == set(run.started) - {"known"}


def test_it_does_not_matter_when_drystone_dies(onboard: Play) -> None:
    undisturbed = onboard("entry fails")
    for event in range(1, len(undisturbed.events)):
        disturbed = onboard(["entry fails", crash_after(event)])
        assert (disturbed.status, disturbed.left) == ("compensated", []), disturbed.timeline


def test_who_is_in_the_directory_already_is_not_put_there_nor_taken_out(onboard: Play) -> None:
    run = onboard(outputs={**NEW, "known": {"status": 200, "body": {}}})
    assert run.skipped == ["entry"] and run.outputs["entry_is_new"] is False
    assert "entry" not in run.undo().undone


@pytest.mark.parametrize("name", ["Ada", "1ada", 'ada"', "ada; rm -rf /", "a" * 32])
def test_a_name_that_would_have_to_be_quoted_is_refused(onboard: Play, offboard: Play, name: str) -> None:
    for play in (onboard, offboard):
        with pytest.raises(InputError, match='"name"'):
            play(name=name)


@pytest.mark.parametrize("task", ["entry", "role", "hosts"])
def test_a_lock_that_fails_opens_the_others_again(offboard: Play, task: str) -> None:
    run = offboard(fails(task), remove=True)
    assert (run.status, run.left) == ("compensated", [])
    assert run.undone == [id_ for id_ in ("hosts", "role", "entry") if id_ in run.started]


def test_what_was_locked_before_is_not_touched(offboard: Play) -> None:
    locked = {"known": {"status": 200, "body": {"status": "disabled"}}, "known_role": {"rows": [{"can_login": False}]}}
    run = offboard(outputs=locked)
    assert {"entry", "role"} <= set(run.skipped) and run.undo().undone == ["hosts"]


def test_nothing_is_removed_unless_that_is_asked_for(offboard: Play) -> None:
    assert {"no_return", "remove_hosts", "remove_role", "remove_entry"} <= set(offboard().skipped)


def test_past_the_point_of_no_return_a_failure_is_mended_and_gone_on_with(offboard: Play) -> None:
    run = offboard("remove_role fails", remove=True)
    assert (run.status, run.exit_code, run.undone) == ("failed", 4, [])
    assert run.resume().status == "succeeded"
