"""The nightly batch, rehearsed: which failures it bears, and what comes again the next morning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from drystone.errors import InputError
from drystone.testing.faults import Faults
from drystone.testing.rehearsal import Rehearsal

REGIONS = ["east", "north", "south", "west"]
ROWS = [{"day": "2026-01-07", "region": region, "orders": 10} for region in REGIONS]

Play = Callable[..., Rehearsal]


@pytest.fixture
def play(rehearse: Callable[..., Rehearsal]) -> Play:
    """Rehearses the plan with orders of four regions."""

    def played(faults: Faults = (), rows: Any = ROWS, **inputs: Any) -> Rehearsal:
        outputs = {"extract": {"rows": rows}, "totals": {"rows": []}, "report": {"path": "/report.html"}}
        return rehearse("nightly-batch", inputs=inputs, faults=faults, outputs=outputs, results={"extract": {"rows": rows}})

    return played


def part(region: str) -> str:
    return f'partition["{region}"]'


def test_two_regions_may_fail(play: Play) -> None:
    night = play([f"{part('east')} fails", f"{part('west')} fails"])
    assert (night.status, night.outputs["missing"]) == ("succeeded", ["east", "west"])


def test_the_next_morning_only_they_come_again_and_what_lacked_them(play: Play) -> None:
    night = play(f"{part('west')} fails", mail_to="ops@example.org")
    morning = night.resume(only_failed=True)
    assert morning.started[len(night.started) :] == [part("west"), "totals", "report", "mail"]
    assert (morning.status, morning.outputs["missing"]) == ("succeeded", [])


def test_three_that_fail_end_the_run_and_a_resume_goes_on_with_them(play: Play) -> None:
    night = play([f"{part(region)} fails" for region in REGIONS[:3]])
    assert (night.status, night.exit_code, night.blocked) == ("failed", 7, ["totals", "report", "mail"])
    assert night.resume().outputs["missing"] == []


def test_a_database_that_is_away_for_a_moment_costs_nothing(play: Play) -> None:
    assert play(f"{part('east')} fails twice with unreachable").outputs["missing"] == []
    assert play(f"{part('east')} fails with failed").attempts(part("east")) == 1, "what is wrong with the data stays wrong"


def test_the_sample_is_not_put_into_a_database_of_ones_own(play: Play) -> None:
    assert "sample" in play().succeeded
    assert "sample" in play(url="postgresql://batch@db.example.org/shop").skipped


def test_a_password_does_not_belong_into_an_input(play: Play) -> None:
    with pytest.raises(InputError, match="must match the pattern"):
        play(url="postgresql://batch:hidden@db.example.org/shop")


def test_undone_it_leaves_nothing(play: Play) -> None:
    undone = play().undo()
    assert (undone.status, undone.left) == ("compensated", [])
    assert set(undone.undone) == {*map(part, REGIONS), "totals", "report"}


def test_it_ends_within_its_four_hours(play: Play) -> None:
    slow = play([f"{part(region)} takes 29m" for region in REGIONS] + ["extract takes 4m", "totals takes 29m"])
    assert slow.status == "succeeded" and slow.took < timedelta(hours=4)
