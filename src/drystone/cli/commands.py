"""Commands as they must be typed here: for the run's project when that is not the current one, and quoted for the shell."""

from __future__ import annotations

import shlex
from pathlib import Path


def start_of(home: Path) -> str:
    """`drystone`, or `drystone -C DIR` where the project of this .drystone folder is not the one that would be found."""
    from drystone.app import places

    is_here = places.find_project(Path.cwd()) == home.parent.resolve()
    return "drystone" if is_here else f"drystone -C {shlex.quote(str(home.parent))}"


def typed(start: str, *words: str) -> str:
    """The whole command; `start` is what `start_of` gave."""
    return " ".join([start, *(shlex.quote(word) for word in words)])
