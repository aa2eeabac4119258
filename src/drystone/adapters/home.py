"""The .drystone folder as earlier versions left it: brought to the form of now on first use. `engines.layout` says what that is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from drystone.errors import ProjectError

STATE, OLD_STATE = "state", "environments"


def bring_up_to_date(home: Path) -> None:
    """Moves what outlives runs to its place of now, in one step, with a link where it was: an older drystone may still be at work on it.

    Harmless when repeated, killed, or done by several at once. Raises ProjectError when both places hold something, or it may not be moved.
    """
    old, new = home / OLD_STATE, home / STATE
    if old.is_symlink() or not old.is_dir():
        return
    try:
        # Takes the place of an empty folder, and of no other.
        old.rename(new)
    except OSError as error:
        if old.is_symlink() or not old.is_dir() or not any(old.iterdir()):
            return  # another process was faster
        if not new.is_dir():
            message = f'"{old}" cannot be moved to "{new}": {(error.strerror or str(error)).lower()}'
            raise ProjectError(message, hint="use the project as who may write to it") from error
        message = f'"{old}" and "{new}" both hold state of environments: an older drystone wrote the first after this one had begun'
        hint = f'compare them; move what is newer from "{old}" to "{new}", environment by environment, then remove the first'
        raise ProjectError(message, hint=hint) from error
    with suppress(OSError):
        old.symlink_to(STATE)
