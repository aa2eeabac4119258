"""Where things stand below a project's .drystone folder.

    drystone.db                                     the store
    key                                             opens sealed secrets
    keys/evidence                                   signs evidence; sealed
    runs/RUN/cancel                                 a request to cancel, from another process
    runs/RUN/artifacts/                             files that people want to have
    runs/RUN/INSTANCE/[undo-]N/log                  of one attempt
    runs/RUN/INSTANCE/[undo-]N/work/                its workspace
    runs/RUN/INSTANCE/[undo-]N/process-K.json       its child processes, while they live
    runs/RUN/@preview/INSTANCE                      what was previewed in the middle of it, sealed
    previews/DIGEST/INSTANCE                        what a saved preview that was run said, sealed
    bundles/                                        what runs use, as it was when they began (adapters.bundles)
    state/ENVIRONMENT/PLAN/INSTANCE/                Terraform state and what else outlives a run
    state/ENVIRONMENT/PLAN/INSTANCE/@versions/      what `undo: restore` goes back to
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from drystone.core.run.decide import folder_of


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `home`, the .drystone folder. Nothing is created here."""

    home: Path

    def run(self, run_id: str) -> Path:
        """All that one run wrote, but for the store."""
        return self.home / "runs" / run_id

    def artifacts(self, run_id: str) -> Path:
        """The run's artifacts."""
        return self.run(run_id) / "artifacts"

    def attempt(self, run_id: str, instance: str, number: int, *, undo: bool) -> Path:
        """The folder of one attempt."""
        return self.run(run_id) / folder_of(instance) / f"{'undo-' if undo else ''}{number}"

    def preview(self, digest: str) -> Path:
        """What a saved preview said, for the runs that do it."""
        return self.home / "previews" / digest.removeprefix("sha256:")

    def run_preview(self, run_id: str) -> Path:
        """What was previewed in the middle of a run."""
        return self.run(run_id) / "@preview"

    def of_preview(self, folder: Path, instance: str) -> Path:
        """Of one instance, in one of these two."""
        return folder / folder_of(instance)

    @property
    def bundles(self) -> Path:
        """What runs use, as it was when they began."""
        return self.home / "bundles"

    def state(self, environment: str | None, plan: str, instance: str) -> Path:
        """What an instance keeps between runs. Without an environment it belongs to the plan alone."""
        return self.plan_state(environment, plan) / folder_of(instance)

    def versions(self, environment: str | None, plan: str, instance: str) -> Path:
        """The versions of an instance that can be gone back to. No kind is likely to give a folder of its own that name."""
        return self.state(environment, plan, instance) / "@versions"

    def plan_state(self, environment: str | None, plan: str) -> Path:
        """What the instances of a plan keep between runs, a folder each."""
        # An environment's name cannot start with "@", so that the two never meet.
        owner = folder_of(environment) if environment else "@none"
        return self.home / "state" / owner / folder_of(plan)

    def prune(self, environment: str, plan: str) -> None:
        """Takes away what is empty of an environment, which must be locked: nothing is left of one that was undone."""
        of_plan = self.plan_state(environment, plan)
        for folder in (*of_plan.glob("*"), of_plan, of_plan.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()
