"""What was changed in a plan since a run began: a run keeps the version it began with (DESIGN §4.9)."""

from __future__ import annotations

import difflib
from pathlib import Path

from drystone.app import plans
from drystone.app.reading import Look


def since(look: Look) -> str:
    """The difference from the plan that the run keeps to the plan's file, as a unified diff; empty when there is none, or no file."""
    path = Path(look.record.plan_file)
    if not path.is_file():
        return ""
    kept, now = look.record.source.splitlines(), plans.read(path, str(path)).splitlines()
    return "\n".join(difflib.unified_diff(kept, now, f"{path.name}, as run {look.run.id} began", f"{path.name}, as it is now", lineterm=""))
