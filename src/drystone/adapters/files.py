"""Files that several processes may want to make first, and folders for their owner only. `plugin.files` has what kinds need."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from drystone.plugin.files import sync_folder


def create_once(path: Path, content: bytes) -> bytes:
    """What the file (0600) holds: `content` when it was not there, else what was there. Raises OSError.

    Of several that race, all get the same answer, and it survives power loss.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
            sync_folder(path.parent)
    finally:
        os.unlink(temporary)
    return path.read_bytes()


def private_folder(path: Path) -> None:
    """Makes a folder (0700) with its parents; one that is there is closed to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
