"""The plan that ships, rehearsed: whatever fails, it ends done or undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drystone.testing.faults import Faults, crash_after, fails
from drystone.testing.rehearsal import Rehearsal

TASKS = ["network", "subnet", "vm", "ready", "software", "migration", "verify"]
WAY_BACK = ["migration", "software", "vm[0]", "vm[1]", "subnet", "network"]
HOSTS = [{"name": f"demo-{number}", "address": f"10.77.1.{number + 2}"} for number in range(2)]

Play = Callable[..., Rehearsal]


@pytest.fixture
def play(rehearse: Callable[..., Rehearsal]) -> Play:
    """Rehearses the plan with two machines."""

    def played(faults: Faults = (), **inputs: Any) -> Rehearsal:
        return rehearse("environment", inputs={"name": "demo", **inputs}, faults=faults, outputs={"vm": HOSTS})

    return played


def test_it_tells_where_the_application_answers(play: Play) -> None:
    rehearsal = play()
    assert (rehearsal.status, rehearsal.exit_code) == ("succeeded", 0)
    assert rehearsal.outputs == {"url": "http://10.77.1.2:8080"}


def test_if_the_migration_fails_software_vms_subnet_and_network_are_undone(play: Play) -> None:
    rehearsal = play("migration fails")
    assert (rehearsal.status, rehearsal.exit_code) == ("compensated", 3)
    assert rehearsal.undone == WAY_BACK


@pytest.mark.parametrize("task", TASKS)
def test_whichever_task_fails_nothing_is_left(play: Play, task: str) -> None:
    rehearsal = play(fails(task))
    assert (rehearsal.status, rehearsal.left) == ("compensated", [])
    touched = {id_ for id_ in rehearsal.started if id_.partition("[")[0] not in ("ready", "verify")}
    assert set(rehearsal.undone) == touched
    assert rehearsal.undone == [id_ for id_ in WAY_BACK if id_ in touched]


@pytest.mark.parametrize("faults", [["verify fails"], ["migration fails"], []])
def test_it_does_not_matter_when_drystone_dies(play: Play, faults: list[str]) -> None:
    undisturbed = play(faults)
    for event in range(1, len(undisturbed.events)):
        disturbed = play([*faults, crash_after(event)])
        assert (disturbed.status, disturbed.undone) == (undisturbed.status, undisturbed.undone), disturbed.timeline


def test_a_failed_update_of_a_live_environment_takes_down_nothing_that_it_did_not_change(play: Play) -> None:
    rehearsal = play(["network changes nothing", "subnet changes nothing", "vm changes nothing", "migration fails"])
    assert rehearsal.undone == ["migration", "software"]


def test_a_migration_that_said_no_is_not_tried_again(play: Play) -> None:
    assert play("migration fails").attempts("migration") == 1
    assert play("migration fails once with unreachable").attempts("migration") == 2


def test_software_is_tried_three_times_on_hosts_that_cannot_be_reached(play: Play) -> None:
    assert play("software fails twice with unreachable").status == "succeeded"
    assert play("software fails with unreachable").attempts("software") == 3


def test_one_machine_that_cannot_be_taken_away_keeps_only_what_it_rests_on(play: Play) -> None:
    rehearsal = play(["migration fails", "undo of vm[0] fails"])
    assert (rehearsal.status, rehearsal.left) == ("compensation_failed", ["network", "subnet", "vm[0]"])
    assert rehearsal.resume().left == []


def test_a_cancel_takes_back_what_was_done(play: Play) -> None:
    rehearsal = play("cancel during software")
    assert (rehearsal.status, rehearsal.exit_code) == ("compensated", 130)
    assert rehearsal.undone == ["software", "vm[0]", "vm[1]", "subnet", "network"]


def test_the_whole_run_ends_within_its_hour(play: Play) -> None:
    rehearsal = play(["vm takes 14m", "software takes 14m", "migration takes 14m", "ready takes 14m", "subnet takes 14m"])
    assert (rehearsal.status, rehearsal.cause) == ("compensated", "timeout")
