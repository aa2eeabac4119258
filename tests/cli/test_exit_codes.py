"""Which number a command ends with, as docs/reference/exit-codes.md says."""

from __future__ import annotations

import pytest

from drystone.cli import exit_codes
from drystone.core.run import Cause
from drystone.core.states import RUN_FINAL, RunStatus
from drystone.errors import InputError, LockedError, StoreError


@pytest.mark.parametrize(
    ("status", "cause", "code"),
    [
        (RunStatus.SUCCEEDED, None, 0),
        (RunStatus.COMPENSATED, Cause.FAILED, 3),
        (RunStatus.COMPENSATED, Cause.TIMEOUT, 3),
        (RunStatus.COMPENSATED, Cause.CANCELLED, 130),
        (RunStatus.COMPENSATED, Cause.REQUESTED, 0),
        (RunStatus.COMPENSATION_FAILED, Cause.FAILED, 4),
        (RunStatus.COMPENSATION_FAILED, Cause.CANCELLED, 4),
        (RunStatus.FAILED, Cause.FAILED, 7),
        (RunStatus.CANCELLED, Cause.CANCELLED, 130),
    ],
)
def test_exit_code_of_a_run(status: RunStatus, cause: Cause | None, code: int) -> None:
    assert exit_codes.of_run(status, cause) == code


def test_a_run_that_stopped_past_its_pivot_has_left_something_standing() -> None:
    assert exit_codes.of_run(RunStatus.FAILED, Cause.FAILED, left=True) == 4


def test_every_end_has_an_exit_code() -> None:
    assert all(exit_codes.of_run(status, Cause.FAILED) in (0, 3, 4, 7, 130) for status in RUN_FINAL)


def test_a_lock_has_an_exit_code_of_its_own() -> None:
    assert exit_codes.of_error(LockedError("held")) == 6
    assert exit_codes.of_error(InputError("bad")) == exit_codes.of_error(StoreError("full")) == exit_codes.of_error(ValueError()) == 1
