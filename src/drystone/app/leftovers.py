"""Instances that earlier runs of a plan made and a run no longer has: `vm[2]` once `vms` went from 3 to 2, or a task that is gone.

What they keep between runs (Terraform's state above all) stays below the environment, and what it describes stays in the world. No
run of the plan as it is now looks at it, so the face that ends a run must say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drystone.app.world import World
from drystone.core.run import Run
from drystone.core.run.decide import folder_of
from drystone.core.states import RunStatus


def of(world: World, run: Run) -> Sequence[Path]:
    """Their state folders, by name; none unless the run succeeded. A folder's last part is the instance's id, spelled for file systems."""
    folder = world.plan_state(run.environment, run.graph.plan.name)
    if run.status is not RunStatus.SUCCEEDED or not folder.is_dir():
        return ()
    known = {folder_of(item.id) for item in run.in_order()}
    # A fan-out that was skipped has no instances: nothing is said about those that it had.
    skipped = tuple(f"{folder_of(item.task)}[" for item in run.in_order() if item.key is None)
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name not in known and not path.name.startswith(skipped) and any(path.iterdir())
    ]
