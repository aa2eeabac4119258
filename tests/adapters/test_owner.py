"""Whether the process behind an owner's text lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import drystone
from drystone.adapters import owner

SOURCES = str(Path(drystone.__file__).parents[1])


def test_this_process_is_alive() -> None:
    assert owner.is_alive(owner.me()) is True


def test_dead_process_is_seen_at_once() -> None:
    script = "import sys; from drystone.adapters import owner; print(owner.me(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], env={"PYTHONPATH": SOURCES}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        text = process.stdout.readline().strip()
        assert owner.is_alive(text) is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert owner.is_alive(text) is False, "a zombie is dead"
    assert owner.is_alive(text) is False


def test_pid_that_was_used_again_is_another_process() -> None:
    host, pid, start, place = owner.me().rsplit(":", 3)
    assert owner.is_alive(f"{host}:{pid}:{int(start) - 1}:{place}") is False


@pytest.mark.parametrize("changed", [0, 3], ids=["host", "boot or container"])
def test_process_of_another_place_is_unknown(changed: int) -> None:
    parts = owner.me().rsplit(":", 3)
    parts[changed] += "x"
    assert owner.is_alive(":".join(parts)) is None


@pytest.mark.parametrize("text", ["", "somebody", "a:b", "::::", "host:x:y:z"])
def test_text_that_is_no_owner_is_unknown(text: str) -> None:
    assert owner.is_alive(text) is None
