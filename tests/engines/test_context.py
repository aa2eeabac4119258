"""What becomes of an attempt when the disk that it writes to is full."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.adapters.clock import SystemClock
from drystone.adapters.process import SupervisedProcess
from drystone.adapters.redact import Redactor
from drystone.engines import attempt
from drystone.engines.context import AttemptContext, Control
from drystone.errors import FailureClass


@pytest.fixture
def context(tmp_path: Path) -> Callable[[Callable[[], Path]], AttemptContext]:
    """Makes a context whose attempt has that folder."""

    def make(folder: Callable[[], Path]) -> AttemptContext:
        return AttemptContext(
            run_id="R", plan="p", task="t", attempt=1, token="R.t", environment="", project=tmp_path, folder=folder,
            state_folder=lambda: tmp_path / "state", artifacts_folder=lambda: tmp_path / "artifacts", environ=dict(os.environ),
            control=Control(SystemClock(), timedelta(minutes=1)), redactor=Redactor(), runner=SupervisedProcess(),
            on_progress=lambda message, data: None,
        )  # fmt: skip

    return make


def test_a_full_disk_costs_lines_of_the_log_and_not_the_work(
    context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path
) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    ctx = context(lambda: tmp_path)
    ended = ctx.process([sys.executable, "-c", "print('words\\n' * 10_000)"], cwd=tmp_path)
    ctx.close()
    assert ended.exit_code == 0 and ended.stdout.count("words") == 10_000


def test_a_log_says_how_many_lines_it_lost(context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path) -> None:
    has_room = False

    def folder() -> Path:
        if not has_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return tmp_path

    ctx = context(folder)
    ctx.log("one")
    ctx.log("two")
    has_room = True
    ctx.log("three")
    ctx.close()
    assert (tmp_path / "log").read_text() == "(2 lines could not be written)\nthree\n"


def test_a_disk_that_is_full_is_told_without_a_traceback(context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path) -> None:
    ctx = context(lambda: tmp_path)
    told = attempt._explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/x"), ctx)
    assert (told.failure_class, told.message) == (FailureClass.CRASHED, 'the disk is full where "/srv/x" should be')
    assert told.hint == "make room, then run again"
    assert not (tmp_path / "log").exists()
