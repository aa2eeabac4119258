"""After a crash: a run is folded from its journal, and what was in flight is found, ended, and put into events (DESIGN §4.3)."""

from __future__ import annotations

from datetime import datetime

from drystone.core.events import Event
from drystone.core.run import Run, evolve, lost, lost_undo
from drystone.core.states import TaskStatus
from drystone.engines.attempt import Performer


def end_lost_attempts(run: Run, performer: Performer, now: datetime) -> tuple[Run, list[Event]]:
    """Attempts whose process died: their children are ended first, so that the next attempt never meets them."""
    events: list[Event] = []
    for id_ in sorted(run.running):
        instance = run.instances[id_]
        undo = instance.status is TaskStatus.UNDOING
        performer.end_orphans(run, id_, run.running[id_], undo=undo)
        found = lost_undo(run, id_, now) if undo else lost(run, id_, now, idempotent=performer.is_idempotent(run, id_))
        run = evolve(run, *found)
        events.extend(found)
    return run, events
