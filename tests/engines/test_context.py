"""What an attempt keeps of the output of its programs, and what becomes of it when the disk is full."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.adapters.clock import SystemClock
from drystone.adapters.process import SupervisedProcess
from drystone.adapters.redact import Redactor
from drystone.adapters.secrets import ProjectSecrets
from drystone.engines import ended
from drystone.engines.breaker import Breakers
from drystone.engines.context import AttemptContext, Control
from drystone.engines.vault import Vault
from drystone.errors import FailureClass
from drystone.settings import SecretSettings


@pytest.fixture
def context(tmp_path: Path) -> Callable[[Callable[[], Path]], AttemptContext]:
    """Makes a context whose attempt has that folder."""

    breakers = Breakers(clock=SystemClock(), jitter=lambda: 0.0, failures=5, cooldown=timedelta(seconds=30))

    def make(folder: Callable[[], Path]) -> AttemptContext:
        return AttemptContext(
            run_id="R", plan="p", task="t", attempt=1, token="R.t", environment="", project=tmp_path, folder=folder,
            state_folder=lambda: tmp_path / "state", artifacts_folder=lambda: tmp_path / "artifacts", environ=dict(os.environ),
            control=Control(SystemClock(), timedelta(minutes=1)),
            vault=Vault(ProjectSecrets(SecretSettings(), home=tmp_path, root=tmp_path, environ={}), Redactor()), runner=SupervisedProcess(),
            on_progress=lambda message, data: None, breakers=breakers,
        )  # fmt: skip

    return make


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """What a quota does: this process's files do not grow past a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_is_in_the_log_before_the_next_one_comes(context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path) -> None:
    ctx = context(lambda: tmp_path)
    ctx.process(["sh", "-c", "echo one; until grep -q one log; do sleep 0.01; done; echo two"], cwd=tmp_path)
    ctx.close()
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_secret_of_several_short_lines_is_hidden(context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path) -> None:
    ctx = context(lambda: tmp_path)
    ctx.redact("4a\n5b\n6c")
    ended = ctx.process(["printf", "pin 4a\\n5b\\n6c ok\\nend"], cwd=tmp_path)
    ctx.close()
    assert (tmp_path / "log").read_text() == "pin *** ok\nend\n"
    assert ended.stdout == "pin *** ok\nend"


@pytest.mark.parametrize(
    ("script", "kept"),
    [
        ("print('a\\nbb\\nccc')", "bb\nccc"),
        ("print('a' * 50); print('b' * 50)", "b" * 50),
        ("print('b' * 50, end='', flush=True)", "b" * 50),
        ("print('short')", "short"),
        ("[print(number, flush=True) for number in range(1000)]", "998\n999"),
    ],
)
def test_only_whole_lines_from_the_end_are_kept_and_never_fewer_than_one(
    context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path, script: str, kept: str
) -> None:
    ended = context(lambda: tmp_path).process([sys.executable, "-c", script], cwd=tmp_path, keep_bytes=8, log=False)
    assert ended.stdout == kept


def test_a_log_that_was_cut_in_the_middle_of_a_line_goes_on_with_a_new_one(
    context: Callable[[Callable[[], Path]], AttemptContext], tmp_path: Path
) -> None:
    ctx = context(lambda: tmp_path)
    with files_of_at_most(10):
        ctx.process(["printf", "first\\nsecond\\nthird\\n"], cwd=tmp_path)
        ctx.log("fourth")
    ctx.log("fifth")
    ctx.close()
    assert (tmp_path / "log").read_text() == "first\nseco\n(3 lines could not be written)\nfifth\n"


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
    told = ended.explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/x"), ctx)
    assert (told.failure_class, told.message) == (FailureClass.CRASHED, 'the disk is full where "/srv/x" should be')
    assert told.hint == "make room, then run again"
    assert not (tmp_path / "log").exists()
