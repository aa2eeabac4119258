"""The folders that hold the sockets between terraform and the provider.

Named after the process that made them, so that `manage.reap` can tell those of the dead.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "drystone-lab-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-\w+")
_LONGEST = 60
"""The kernel allows 107 bytes for a socket's path; a longer temporary folder than this is not used."""


def make_folder() -> Path:
    """A new folder that only this user may enter, with a short path."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_parent()))


def abandoned() -> Iterator[Path]:
    """Our folders whose makers are gone."""
    for folder in Path(_parent()).glob(f"{_PREFIX}*"):
        match = _NAME.fullmatch(folder.name)
        if match and folder.lstat().st_uid == os.geteuid() and not Path("/proc", match[1]).exists():
            yield folder


def _parent() -> str:
    default = tempfile.gettempdir()
    return default if len(os.fsencode(default)) <= _LONGEST else "/tmp"
