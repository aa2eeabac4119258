"""Wait until a VM's sshd answers. Used by both drivers at the end of `start`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from drystone.errors import LabError

START_TIMEOUT = timedelta(seconds=30)
"""A start takes 0.15 s; 30 s outlasts a machine that swaps."""


def wait_for_sshd(address: str, port: int, *, listens: Callable[[], bool], lives: Callable[[], bool], log: Path) -> None:
    """Return once the server has sent its banner. Raises LabError when it ended, or is silent past START_TIMEOUT.

    listens: looks without sending anything; a first packet sent too early costs a second (ARP and SYN are repeated).
    """
    deadline = time.monotonic() + START_TIMEOUT.total_seconds()
    while time.monotonic() < deadline:
        if not lives():
            raise LabError(f'the VM at "{address}" ended while it started', hint=_last_words(log))
        if listens() and _greets(address, port):
            return
        time.sleep(0.002)
    raise LabError(f'the VM at "{address}" does not answer on port {port}', hint=_last_words(log))


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _last_words(log: Path) -> str:
    try:
        text = log.read_text(errors="replace")[-800:].strip()
    except OSError:
        text = ""
    return f"its log ends with: {text}" if text else f'its log "{log}" is empty'
