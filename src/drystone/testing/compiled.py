"""Which plan a test means: a name or a file, as on the command line, or the text of one."""

from __future__ import annotations

from pathlib import Path

from drystone import wiring
from drystone.app import places
from drystone.app.places import PlanFile


def find(plan: Path | str, folder: Path) -> tuple[PlanFile, str | None]:
    """The plan, and its text when it is no file: a text has several lines. Raises NotFoundError with the plans there are."""
    if isinstance(plan, str) and "\n" in plan:
        return PlanFile(path=folder / "plan.yaml", shown="plan.yaml", root=folder, project=folder), plan
    return places.find_plan(str(plan), cwd=folder, project=None, library=wiring.library()), None
