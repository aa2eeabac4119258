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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drystone.kinds.terraform import parse
from drystone.kinds.terraform.parse import Diagnostic, LockInfo

SKEW = timedelta(seconds=2)
WINDOW = timedelta(seconds=60)
"""A command takes its lock this soon after it began, or it fails at once: no -lock-timeout is given."""


@contextmanager
def noted(folder: Path, *, remote: bool) -> Iterator[None]:
    """Leaves a note while a command runs; it stays when drystone dies, or when the command is ended by force."""
    if not remote:
        yield
        return
    notes = _notes(folder)
    notes.mkdir(mode=0o700, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=notes)
    os.close(handle)
    yield
    Path(name).unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """Drops all notes: their locks are gone."""
    for note in _notes(folder).glob("*"):
        note.unlink(missing_ok=True)


def own_stale(folder: Path, errors: Sequence[Diagnostic]) -> LockInfo | None:
    """The lock that these errors complain about, if a killed command of this instance has left it."""
    for error in errors:
        info = parse.lock_info(error.detail) if "state lock" in error.summary.lower() else None
        if info is None or info.who != me():
            continue
        created = _instant(info.created)
        if created is not None and any(-SKEW <= created - began <= WINDOW for began in _began(folder)):
            return info
    return None


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
