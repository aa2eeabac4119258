"""Runs that are part of another one: a task of kind `plan` starts a run of its own, and is linked to it by an idempotency token.

    attempt 1   lost      \
    attempt 2   paused     } one run, token RUN:INSTANCE
    attempt 3   failed    /
    attempt 4   succeeded  } another, token RUN:INSTANCE#4

An attempt that follows one whose end was never told (it was lost, held back, or gave way) goes on with the same run. One that follows a
failure begins another. So nothing but the token has to be kept, and no crash can come between the run and the note of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from drystone.core.plan import UndoMode
from drystone.core.run.decide import token_of
from drystone.core.run.state import Attempt, AttemptStatus, Instance, Run

KIND = "plan"
"""The kind whose tasks are runs of their own."""

MAX_DEPTH = 20
"""Runs in runs. Nobody nests so deep on purpose: a plan that starts itself would go on until the machine gives up."""

_UNTOLD = frozenset({AttemptStatus.LOST, AttemptStatus.PAUSED, AttemptStatus.HELD})


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """An attempt, as those who run a sub-plan for it must know it.

    run:      the run that the attempt belongs to.
    token:    of the sub-plan's run that this attempt starts, or goes on with.
    earlier:  of those before it on the same way, the newest first, back to where the task last succeeded.
    finished: of all runs that the way forward started, the newest first: what an undo takes back.
    """

    run: str
    token: str
    earlier: tuple[str, ...]
    finished: tuple[str, ...]


def part_of(run: Run, instance: Instance, *, undo: bool) -> Part:
    """For the attempt in flight, or about to be made. `undo`: it is one on the way back."""
    base = token_of(run, instance)
    forward = _begun(instance.attempts)
    if not undo or instance.undo.mode is UndoMode.AUTO:
        own, attempts = base, instance.attempts
    else:
        own, attempts = f"{base}:undo", instance.undo.attempts
    mine = _begun(attempts)
    succeeded = max((attempt.number for attempt in attempts if attempt.status is AttemptStatus.SUCCEEDED), default=0)
    return Part(
        run=run.id,
        token=_token(own, mine[0] if mine else 1),
        earlier=tuple(_token(own, number) for number in mine[1:] if number > succeeded),
        finished=tuple(_token(base, number) for number in forward),
    )


def newest_token(run: Run, instance: Instance) -> str | None:
    """Of the last run that the task started on its way forward; None when there was no attempt. That run may not have come into being."""
    return next(iter(part_of(run, instance, undo=False).finished), None)


def _begun(attempts: Sequence[Attempt]) -> list[int]:
    """Numbers of the attempts that did not go on with what an earlier one had begun, the newest first."""
    before = [None, *attempts[:-1]]
    found = [attempt.number for last, attempt in zip(before, attempts, strict=False) if last is None or last.status not in _UNTOLD]
    return found[::-1]


def _token(base: str, number: int) -> str:
    return base if number == 1 else f"{base}#{number}"


_END = re.compile(r"(:undo)?(#\d+)?$")


def instance_of(token: str, parent: str) -> str:
    """The instance of the parent run that a run with this token is."""
    return _END.sub("", token.removeprefix(f"{parent}:"), count=1)


class Record(Protocol):
    """What must be known of a run to say what it is part of; `ports.RunRecord` is one."""

    @property
    def plan(self) -> str: ...

    @property
    def token(self) -> str | None: ...

    @property
    def parent(self) -> str | None: ...


R = TypeVar("R", bound=Record)


def lineage(record: R, record_of: Callable[[str], R]) -> list[R]:
    """The run, the one that it is part of, and so on up to the outermost."""
    found = [record]
    while (parent := found[-1].parent) is not None:
        found.append(record_of(parent))
    return found


def label(lineage: Sequence[Record]) -> str:
    """What the state of a run's instances is kept under: its plan, below the task that it is part of, as in `shop[db].database`.

    So two instances of one sub-plan in one environment never share a state, nor does the same plan run by itself: no plan's name has
    brackets in it.
    """
    text = lineage[-1].plan
    for record in reversed(lineage[:-1]):
        assert record.token is not None and record.parent is not None
        text = f"{text}[{instance_of(record.token, record.parent)}].{record.plan}"
    return text
