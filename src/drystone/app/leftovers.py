"""Instances that earlier runs of a plan made and a run no longer has: `vm[2]` once `vms` went from 3 to 2, or a task that is gone.

What they keep between runs (Terraform's state above all) stays below the environment, and what it describes stays in the world. No
run of the plan as it is now looks at it, so the face that ends a run must say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from drystone.app.world import World
from drystone.core.parts import label, lineage
from drystone.core.run import Run
from drystone.core.run.decide import folder_of
from drystone.core.states import RunStatus


def of(world: World, run: Run) -> Sequence[Path]:
    """Their state folders, by name; none unless the run succeeded. A folder's last part is the instance's id, spelled for file systems.

    An instance that is a sub-plan has a folder of that one's instances, beside the plan's own: PLAN[INSTANCE].SUB-PLAN.
    """
    if run.status is not RunStatus.SUCCEEDED:
        return ()
    journal = world.journal()
    folder = world.plan_state(run.environment, label(lineage(journal.record(run.id), journal.record)))
    known = {folder_of(item.id) for item in run.in_order()}
    # A fan-out that was skipped has no instances: nothing is said about those that it had.
    skipped = tuple(f"{folder_of(item.task)}[" for item in run.in_order() if item.key is None)
    parts = tuple(f"{name}]." for name in known)
    inside = f"{folder.name}["
    own = [path for path in _folders(folder) if path.name not in known and not path.name.startswith(skipped)]
    others = [(path, path.name.removeprefix(inside)) for path in _folders(folder.parent) if path.name.startswith(inside)]
    return own + [path for path, name in others if not name.startswith((*parts, *skipped))]


def _folders(folder: Path) -> Iterator[Path]:
    """Those in it that hold something."""
    return (path for path in sorted(folder.glob("*")) if path.is_dir() and any(path.iterdir()))
