"""Files as kinds handle them: written whole or not at all, known by their sha256, kept in the folder they belong to."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from drystone.errors import FailureClass, PermanentError
from drystone.plugin.api import Context

_CHUNK_BYTES = 1 << 20


def write_atomic(path: Path, content: bytes, mode: int) -> None:
    """Puts `content` at `path` in one step, on disk before it returns; a reader sees the old file or the new one.

    Raises PermanentError(refused) when the folder cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise refused_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise refused_write(path, error) from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames and removals in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused_write(path: Path, error: OSError) -> PermanentError:
    """The error for a file that cannot be written."""
    return PermanentError(
        FailureClass.REFUSED,
        f'"{path}" cannot be written: {error.strerror or error}',
        changed=False,
        hint="check that its folder exists and that you may write there",
    )


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def user_path(ctx: Context, path: str) -> Path:
    """A file that belongs to a user rather than to the project: `~/` is their home, all else is as `ctx.path` has it.

    Raises PermanentError(invalid) when it does not exist.
    """
    home = ctx.environ.get("HOME", "")
    return ctx.path(f"{home}/{path[2:]}" if path.startswith("~/") and home else path)


def inside(folder: Path, relative: str) -> Path:
    """`relative` as a path below `folder`. Raises PermanentError(invalid) when it leads out of it."""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()) or path == folder.resolve():
        raise PermanentError(
            FailureClass.INVALID,
            f'"{relative}" leads out of the run\'s artifacts',
            changed=False,
            hint='name a file without "..", or write an absolute path',
        )
    return path
