"""Answers to the questions that runs ask of people."""

from __future__ import annotations

from collections.abc import Iterator

from drystone.app import reading, runs
from drystone.app.reading import Look
from drystone.app.runs import Hand
from drystone.app.world import World
from drystone.core.parts import lineage
from drystone.core.run import answer, questions
from drystone.errors import LockedError, RefusedError


def give(world: World, word: str, task: str, *, answered: str, comment: str = "") -> Hand | None:
    """Answers for a task that waits for a person, and goes on with the run; None when another process has the run and does that.

    answered: approve or reject. Raises RefusedError when nobody asked, or this person may not answer; NotFoundError.
    """
    look = _who_asks(world, reading.look(world, word), task)
    comment = runs.masked(world, look.run, comment)
    answer(look.run, task, world.clock.now(), given=answered, by=world.by, comment=comment)
    runs.ask(world, look.run.id, answered, {"task": task, "comment": comment})
    outermost = lineage(look.record, world.journal().record)[-1].id
    try:
        return runs.resume(world, outermost)
    except LockedError:
        return runs.hand_over(world, look.run.id, lambda: runs.resume(world, outermost))
    except RefusedError:
        # The process that had the run has heard it, and the run has ended already.
        return None


def _who_asks(world: World, look: Look, task: str) -> Look:
    """The run itself, or the part of it in which a task of that name waits. Raises RefusedError when only a choice tells which is meant."""
    if task in questions(look.run):
        return look
    asking = {part.run.id: part for part in _parts(world, look) if questions(part.run)}
    fitting = [part for part in asking.values() if task in questions(part.run)]
    if len(fitting) == 1:
        return fitting[0]
    if not asking:
        return look
    choice = "\n".join(f"drystone approve {id_} {question}" for id_, part in asking.items() for question in questions(part.run))
    which = "in several parts of it" if fitting else "only in parts of it"
    raise RefusedError(f'run {look.run.id} does not wait for an answer to "{task}" itself: it waits {which}', hint=choice)


def _parts(world: World, look: Look) -> Iterator[Look]:
    """The runs that are tasks of this one and have not ended, and theirs."""
    for run_id in look.parts.values():
        if not world.journal().summary(run_id).status.is_final:
            part = reading.look(world, run_id)
            yield part
            yield from _parts(world, part)
