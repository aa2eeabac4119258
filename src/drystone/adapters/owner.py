"""Who drives a run, as text in the store, and whether that process still lives.

The text is HOST:PID:START:PLACE: the start in clock ticks, because pids are used again; PLACE is the boot and the pid namespace,
because the same host name and pid may stand for another process after a restart or in a container.
"""

from __future__ import annotations

import os
import socket

from drystone.adapters import supervise


def me() -> str:
    """The owner text of this process."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{supervise.Process(pid).start}:{_place()}"


def is_alive(owner: str) -> bool | None:
    """Whether the process behind an owner text lives; None when it is not of this place, so that only its lease can tell."""
    try:
        host, pid, start, place = owner.rsplit(":", 3)
        if (host, place) != (socket.gethostname(), _place()):
            return None
        process = supervise.Process(int(pid))
    except ValueError:
        return None
    except OSError:
        return False
    return process.start == int(start) and process.state not in b"ZX"


def _place() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read(8)
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
