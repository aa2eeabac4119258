"""Files that are complete or not there at all, and folders for their owner only."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600) -> None:
    """Puts `data` (text as UTF-8) in the place of `path`; after the return it survives power loss. Raises OSError.

    Readers see the old file or the new one. The folder must be there.
    """
    content = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def create_once(path: Path, data: bytes, *, mode: int = 0o600) -> bytes:
    """What the file holds: `data` when it was not there, else what was there. Of several that race, all get the same answer."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
            sync_folder(path.parent)
    finally:
        os.unlink(name)
    return path.read_bytes()


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(path: Path) -> Path:
    """The folder, made with its parents when missing, for its owner only (0700). Gives it back."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path
