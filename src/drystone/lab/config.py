"""Where a lab lives and how it makes its VMs.

Read by the provider (its block in HCL, then the environment) and by `manage`; handed to `lab.open_lab`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from drystone.errors import LabError

ROOT_VARIABLE = "DRYSTONE_LAB_ROOT"
MODE_VARIABLE = "DRYSTONE_LAB_MODE"


class Mode(StrEnum):
    """How a VM is made."""

    NAMESPACES = "namespaces"
    """Own network, processes, file system and host name; needs root and a kernel that allows it."""
    LOOPBACK = "loopback"
    """An sshd on an address of its own; same file system, same user. Works anywhere."""


@dataclass(frozen=True, kw_only=True)
class LabConfig:
    """One lab. Everything that it keeps lies below `root`; labs with different roots do not touch each other."""

    root: Path
    mode: Mode | None = None
    """None: as the lab was begun, else namespaces where the kernel allows it, else loopback."""


def read_config(environ: Mapping[str, str], *, root: str | None = None, mode: str | None = None) -> LabConfig:
    """The lab that is meant: arguments first, then DRYSTONE_LAB_ROOT and DRYSTONE_LAB_MODE, then the defaults.

    Raises LabError for an unknown mode, and for a root that is relative, or that overlayfs or sshd could not name.
    """
    path = Path(root or environ.get(ROOT_VARIABLE) or default_root(environ)).expanduser()
    if not path.is_absolute():
        # Where it would begin depends on who runs the provider: terraform in the module's folder, or a daemon.
        raise LabError(f'the lab\'s root "{path}" is relative', hint=f'write the whole path, like "{path.absolute()}"')
    path = Path(os.path.normpath(path))
    if any(character in str(path) for character in ':,\\"\n '):
        raise LabError(
            f'the lab cannot live in "{path}": its path holds a blank, comma, colon, quote or backslash',
            hint=f"choose another folder with {ROOT_VARIABLE} or the provider's root",
        )
    return LabConfig(root=path, mode=parse_mode(mode or environ.get(MODE_VARIABLE) or "auto"))


def default_root(environ: Mapping[str, str]) -> str:
    """/var/lib/drystone-lab for root, else below XDG_STATE_HOME."""
    if os.geteuid() == 0:
        return "/var/lib/drystone-lab"
    state = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return f"{state}/drystone-lab"


def parse_mode(text: str) -> Mode | None:
    """The mode of that name; None for `auto`."""
    if text == "auto":
        return None
    try:
        return Mode(text)
    except ValueError:
        raise LabError(f'unknown lab mode "{text}"', hint="use auto, namespaces or loopback") from None
