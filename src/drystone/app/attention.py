"""The dead letters: what drystone could not finish by itself, and what a person decides about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drystone.app import reading, runs
from drystone.app.runs import Hand
from drystone.app.world import World
from drystone.core.run import Item, attention, request_retry, request_skip
from drystone.errors import RefusedError


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One item, and the run that it belongs to."""

    run: str
    plan: str
    environment: str | None
    item: Item


def letters(world: World, *, plan: str | None = None, environment: str | None = None) -> Sequence[Letter]:
    """All open items, those of the newest run first; none when nothing ever ran."""
    if not world.has_store():
        return ()
    found = world.journal().summaries(plan=plan, environment=environment, limit=None, attention=True)
    return [
        Letter(run=summary.id, plan=summary.plan, environment=summary.environment, item=item)
        for summary in found
        for item in attention(reading.look(world, summary.id).run)
    ]


def retry(world: World, word: str, task: str | None = None) -> Hand:
    """Tries one item of a run again, or all of them, and goes on with the run. Raises RefusedError, LockedError."""
    return runs.take_up(world, reading.look(world, word), lambda run, now: request_retry(run, now, by=world.by, task=task))


def skip(world: World, word: str, task: str, *, reason: str) -> Hand:
    """Goes on as if the item had ended well: a person took it on. Raises RefusedError, LockedError."""
    if not reason.strip():
        raise RefusedError("a reason is missing: it stands in the record of the run", hint="--reason TEXT")
    look = reading.look(world, word)
    reason = runs.masked(world, look.run, reason)
    return runs.take_up(world, look, lambda run, now: request_skip(run, now, by=world.by, task=task, reason=reason))
