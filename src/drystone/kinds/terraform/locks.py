"""Our own locks on a remote state: which one a killed command of this instance has left behind, and which are somebody else's.

Terraform does not tell the id of a lock while it holds it. So each command on a remote state leaves a note for as long as it runs; the
note of a command that was killed stays. When the state turns out to be locked, the lock is ours if it names this user on this host and
was made in the moments after such a command began. A local state needs none of it: its lock goes with the process.
"""

from __future__ import annotations

import os
import pwd
import socket
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drystone.kinds.terraform import parse
from drystone.kinds.terraform.parse import Diagnostic, LockInfo

SKEW = timedelta(seconds=2)
WINDOW = timedelta(seconds=15)
"""A command takes its lock this soon after it began, or it fails at once: no -lock-timeout is given. The shorter, the safer for others."""


class Note:
    """Left while a command runs on a remote state; it stays when drystone dies, or when the command was ended by force."""

    def __init__(self, folder: Path) -> None:
        notes = _notes(folder)
        notes.mkdir(mode=0o700, exist_ok=True)
        handle, self._name = tempfile.mkstemp(dir=notes)
        os.close(handle)

    def remove(self) -> None:
        """The command came to its own end, so it has released its lock."""
        Path(self._name).unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """Drops all notes: their locks are gone."""
    for note in _notes(folder).glob("*"):
        note.unlink(missing_ok=True)


def own_stale(folder: Path, errors: Sequence[Diagnostic]) -> LockInfo | None:
    """The lock that these errors complain about, if a killed command of this instance has left it."""
    infos = (parse.lock_info(error.detail) for error in errors if "state lock" in error.summary.lower())
    return next((info for info in infos if info is not None and info.who == me() and _is_of_a_note(info, folder)), None)


def _is_of_a_note(info: LockInfo, folder: Path) -> bool:
    created = _instant(info.created)
    return created is not None and any(-SKEW <= created - began <= WINDOW for began in _began(folder))


def me() -> str:
    """This user on this host, as Terraform writes it into a lock."""
    return f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"


def _notes(folder: Path) -> Path:
    return folder / "intents"


def _began(folder: Path) -> list[datetime]:
    return [datetime.fromtimestamp(note.stat().st_mtime, UTC) for note in _notes(folder).glob("*")]


def _instant(text: str) -> datetime | None:
    """`2026-01-31 12:00:00.123456789 +0000 UTC` -> instant."""
    words = text.split()
    if len(words) < 3:
        return None
    seconds, _, fraction = words[1].partition(".")
    try:
        return datetime.strptime(f"{words[0]} {seconds}.{(fraction or '0')[:6]} {words[2]}", "%Y-%m-%d %H:%M:%S.%f %z")
    except ValueError:
        return None
