"""Answers to the questions that runs ask of people."""

from __future__ import annotations

from drystone.app import reading, runs
from drystone.app.runs import Hand
from drystone.app.world import World
from drystone.core.run import answer
from drystone.errors import LockedError
from drystone.ports import RunRecord


def give(world: World, word: str, task: str, *, answered: str, comment: str = "") -> Hand | None:
    """Answers for a task that waits for a person, and goes on with the run; None when another process has the run and does that.

    answered: approve or reject. Raises RefusedError when nobody asked, or this person may not answer; NotFoundError.
    """
    look = reading.look(world, word)
    answer(look.run, task, world.clock.now(), given=answered, by=world.by, comment=comment)
    runs.ask(world, look.run.id, answered, {"task": task, "comment": comment})
    try:
        return runs.resume(world, _outermost(world, look.record).id)
    except LockedError:
        return None


def _outermost(world: World, record: RunRecord) -> RunRecord:
    """The run of which this one is a part: going on with that one goes on with this one too."""
    while record.parent is not None:
        record = world.journal().record(record.parent)
    return record
