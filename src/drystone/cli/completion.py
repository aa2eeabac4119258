"""What a shell offers for PLAN and RUN when the Tab key is pressed. Silent when nothing can be found."""

from __future__ import annotations

from pathlib import Path


def plan_words(incomplete: str) -> list[str]:
    """What a shell offers for PLAN: names, and files and folders once a path is begun."""
    from drystone import wiring
    from drystone.app import places

    if "/" in incomplete or incomplete.startswith("."):
        folder, _, start = incomplete.rpartition("/")
        here = Path(folder or "/" if incomplete.startswith("/") else folder or ".")
        found = sorted(path for path in here.glob(f"{start}*") if path.is_dir() or path.suffix in places.SUFFIXES)
        return [f"{folder}/{path.name}{'/' if path.is_dir() else ''}" for path in found]
    names = {*places.plan_names(places.find_project(Path.cwd())), *places.plan_names(wiring.library())}
    return sorted(name for name in names if name.startswith(incomplete))


def run_words(incomplete: str) -> list[str]:
    """What a shell offers for RUN: the newest ones of the current project. Nothing when they cannot be read."""
    from drystone import wiring
    from drystone.app import places, reading
    from drystone.errors import DrystoneError

    try:
        recent = reading.recent(wiring.world(places.find_project(Path.cwd())))
    except DrystoneError:
        return []
    return [word for word in ("last", *(summary.id for summary in recent)) if word.startswith(incomplete)]
