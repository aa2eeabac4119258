"""Locks between processes and threads that work on one lab at once.

Several Terraform commands, each with its own provider process or a thread of the shared daemon, change one lab. A lock
is a file held by flock(2): the kernel frees it when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from drystone.errors import LabError

LOCK_TIMEOUT = timedelta(seconds=90)
"""How long to wait for another worker on the same object: longer than the slowest start of a VM on a busy machine."""

_POLL_SECONDS = 0.005


@contextmanager
def hold(path: Path, timeout: timedelta = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock; the holder may unlink the file. Raises LabError when another one keeps it past the timeout."""
    deadline = time.monotonic() + timeout.total_seconds()
    while (fd := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise LabError(f'the lab is busy: another process holds "{path}"', hint="wait for it to end, or end it")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(fd)


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when somebody else has it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The last holder may have unlinked the file between our open and our flock: then we hold nothing.
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None
