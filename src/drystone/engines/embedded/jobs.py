"""What an attempt is told: a command of the core, with what the run's history means for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drystone.core.commands import Start, StartUndo
from drystone.core.plan import UndoMode
from drystone.core.run import AttemptStatus, Instance
from drystone.engines.attempt import Job
from drystone.engines.embedded.driven import Driven


def job_of(driven: Driven, command: Start | StartUndo, *, undo: bool) -> Job:
    """The job of an attempt that the core has started."""
    instance = driven.run.instances[command.instance]
    return Job(
        run=driven.run,
        instance=command.instance,
        attempt=command.attempt,
        token=command.token,
        undo=undo,
        after_loss=_follows(AttemptStatus.LOST, instance, undo=undo) or (undo and _undoes_a_lost_one(instance)),
        after_failure=_follows(AttemptStatus.FAILED, instance, undo=undo),
        project=Path(driven.record.root),
        label=driven.label,
        bundle=driven.record.bundle,
        previous=_told_before(instance, undo=undo),
    )


def _told_before(instance: Instance, *, undo: bool) -> Mapping[str, Any]:
    """What the attempt before the last told, when it failed and nobody has taken up the run since."""
    attempts, budget = (instance.undo.attempts, instance.undo.budget) if undo else (instance.attempts, instance.budget)
    # The budget grows by lost ones too: then nobody knows whom the last one reached, and all is done again.
    counted = attempts[budget:-1]
    return (counted[-1].result or {}) if counted and counted[-1].status is AttemptStatus.FAILED else {}


def _follows(end: AttemptStatus, instance: Instance, *, undo: bool) -> bool:
    """Whether the attempt before the last ended so."""
    attempts = instance.undo.attempts if undo else instance.attempts
    return len(attempts) > 1 and attempts[-2].status is end


def _undoes_a_lost_one(instance: Instance) -> bool:
    """Whether the kind itself now takes back what nobody saw the end of: then it must look at the world first."""
    if instance.undo.mode not in (UndoMode.AUTO, UndoMode.RESTORE) or not instance.attempts:
        return False
    return len(instance.undo.attempts) == 1 and instance.attempts[-1].status is AttemptStatus.LOST
