"""Fixtures of the adapters: waiting for a condition, and looking at the process table."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drystone.adapters import supervise


@pytest.fixture
def wait_for() -> Callable[[Callable[[], object]], None]:
    """Waits until the condition holds; fails after 20 seconds."""

    def wait(condition: Callable[[], object]) -> None:
        until = time.monotonic() + 20
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < until, "the condition did not come to hold"
            pause.wait(0.01)

    return wait


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """Whether a pid is a process that has not ended."""

    def check(pid: int) -> bool:
        try:
            return supervise.Process(pid).state not in b"ZX"
        except OSError:
            return False

    return check


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Path]:
    """A folder in which processes note their pids, one file each; those still alive at the end of the test are killed."""
    folder = tmp_path / "pids"
    folder.mkdir()
    yield folder
    for file in folder.iterdir():
        if file.read_text().strip():
            supervise.kill(int(file.read_text()), 9)


@pytest.fixture(autouse=True)
def _no_file_is_left_open() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    left = [os.readlink(f"/proc/self/fd/{fd}") for fd in set(os.listdir("/proc/self/fd")) - before if Path(f"/proc/self/fd/{fd}").exists()]
    assert not [name for name in left if name.startswith(("pipe:", "anon_inode:"))]
