"""One holder at a time, and none when the holder is gone."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from drystone.errors import LabError
from drystone.lab import locks

SHORT = timedelta(milliseconds=20)


def test_a_second_holder_is_refused_after_the_timeout(tmp_path: Path) -> None:
    with locks.hold(tmp_path / "lock"), pytest.raises(LabError, match="busy"), locks.hold(tmp_path / "lock", SHORT):
        pytest.fail("two hold the lock")


def test_threads_take_turns_even_when_each_removes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    inside: list[int] = []

    def work(number: int) -> int:
        with locks.hold(path):
            inside.append(number)
            alone = len(inside)
            inside.pop()
            path.unlink()
        return alone

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(200))) == {1}


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from drystone.lab import locks
with locks.hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    holder.kill()
    with locks.hold(tmp_path / "lock"):
        holder.communicate()
