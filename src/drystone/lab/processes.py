"""Which process is a VM's, beyond doubt, and how to end it.

A pid alone may be reused; (pid, start time, boot) is not. Drivers store a mark beside the VM and ask here later.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

_GIVE_UP_SECONDS = 10
"""How long after SIGKILL: a process that hangs in the kernel must not hold us for ever."""


@dataclass(frozen=True, kw_only=True)
class ProcessMark:
    """One process of one boot of this machine."""

    pid: int
    start: int
    """Clock ticks from boot to its start: field 22 of /proc/PID/stat."""
    boot: str


def mark(pid: int) -> ProcessMark | None:
    """The mark of a running process; None when there is none."""
    start = _start_time(pid)
    return None if start is None else ProcessMark(pid=pid, start=start, boot=boot_id())


def is_alive(process: ProcessMark) -> bool:
    """True while that very process runs; a zombie does not."""
    return process.boot == boot_id() and _start_time(process.pid) == process.start


def boot_id() -> str:
    """The name of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def kill(process: ProcessMark, timeout: timedelta = timedelta(seconds=20)) -> bool:
    """SIGKILL it and wait for its end; of a pid namespace's first process, that is the end of all in it.

    Returns False when it is still there after the timeout.
    """
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(process):
            return True
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return bool(select.select([fd], [], [], timeout.total_seconds())[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(fd)


def end_all(find: Callable[[], set[int]], grace: timedelta) -> None:
    """End what `find` finds, again and again until it finds nothing: SIGTERM, then after the grace SIGKILL."""
    deadline = time.monotonic() + grace.total_seconds()
    seen: set[int] = set()
    empty = 0
    # Twice nothing: a process in the middle of execve shows no environment for a moment, and could be overlooked once.
    while empty < 2 and time.monotonic() < deadline + _GIVE_UP_SECONDS:
        pids = find()
        empty = 0 if pids else empty + 1
        late = time.monotonic() >= deadline
        for pid in pids:
            _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        seen |= pids
        time.sleep(0.02)
    for pid in seen:
        # One that this process started would stay as a zombie.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def with_descendants(pids: set[int]) -> set[int]:
    """The processes and all that come from them, without this one and what it comes from."""
    parents = {pid: parent for pid in all_pids() if (parent := _parent(pid)) is not None}
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    ours = os.getpid()
    while ours in parents:
        found.discard(ours)
        ours = parents[ours]
    return found


def all_pids() -> Iterator[int]:
    """Every process of this pid namespace that runs; zombies do not."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _start_time(int(entry.name)) is not None:
            yield int(entry.name)


def read_proc(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty when the process is gone or not ours."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _start_time(pid: int) -> int | None:
    fields = _stat(pid)
    return None if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[bytes]:
    # The command name, in parentheses, may itself hold blanks and parentheses.
    return read_proc(pid, "stat").rpartition(b")")[2].split()
