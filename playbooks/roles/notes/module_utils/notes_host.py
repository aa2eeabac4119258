"""Where the application lives on a host, as whom it runs, and whether it runs.

Shared by the Ansible modules of this role. A host is a machine of its own, or one of many laboratory hosts which
share a machine as one ordinary user: then LAB_ROOT in the session's environment names the folder to stay in.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

SERVICE_ACCOUNTS = ("www-data", "nobody")


def find_base(wanted: str) -> Path:
    """The application's folder: `wanted` as it is, else its usual place below LAB_ROOT or the root of the machine."""
    return Path(wanted or os.environ.get("LAB_ROOT", "") + "/opt/drystone-app")


def find_account(wanted: str, base: Path) -> pwd.struct_passwd:
    """The account that the application runs as: `wanted`, else a service account if we are root, else ourselves.

    Raises KeyError when this host has no account `wanted`.
    """
    if wanted:
        return pwd.getpwnam(wanted)
    if os.geteuid() == 0:
        for name in SERVICE_ACCOUNTS:
            with suppress(KeyError):
                if can_reach(base, pwd.getpwnam(name)):
                    return pwd.getpwnam(name)
    return pwd.getpwuid(os.geteuid())


def can_reach(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether an account may walk down to `path`; what does not exist yet is no obstacle."""
    return all(_may_enter(folder, account) for folder in [path, *path.parents] if folder.exists())


def _may_enter(folder: Path, account: pwd.struct_passwd) -> bool:
    status = folder.stat()
    if account.pw_uid in (0, status.st_uid):
        return account.pw_uid == 0 or bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & (stat.S_IXGRP if account.pw_gid == status.st_gid else stat.S_IXOTH))


def make_folder(path: Path, account: pwd.struct_passwd | None = None, mode: int = 0o755) -> bool:
    """See to it that a folder is there with this mode, owned by `account` (None: by us). True when it was not."""
    if path.is_dir():
        return False
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if account is not None and os.geteuid() == 0:
        os.chown(path, account.pw_uid, account.pw_gid)
    return True


def write_file(path: Path, text: str) -> bool:
    """Replace a file as a whole, so that no reader ever sees half of it. True when it was different before."""
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return False
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    fresh.replace(path)
    return True


def read_supervisor(base: Path) -> dict[str, Any] | None:
    """What the running supervisor wrote into its lock file (`pid`, `release`), or None when none runs.

    The lock tells, not the pid: it is gone when its holder is, and no other process can have taken it over.
    """
    try:
        with (base / "run" / "supervisor.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read()
                state: dict[str, Any] = json.loads(text) if text.endswith("\n") else {"pid": None, "release": None}
                return state
    except FileNotFoundError:
        pass
    return None
