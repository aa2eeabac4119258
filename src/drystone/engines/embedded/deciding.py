"""What becomes of a run in hand now: the core is asked until nothing new follows; and whether only a person can move it on."""

from __future__ import annotations

from datetime import datetime, timedelta

from drystone.core.commands import Cancel, Command, Record, Start, StartUndo, Wake
from drystone.core.run import decide
from drystone.core.states import RunStatus
from drystone.engines.context import Control
from drystone.engines.embedded.driven import Driven


def decided(driven: Driven, now: datetime) -> list[Command]:
    """Decides until nothing new follows; the events are kept for the next write, what has an effect is given back."""
    effects: list[Command] = []
    driven.wake_at = None
    while commands := decide(driven.run, now, driven.slots):
        driven.add([command.event for command in commands if isinstance(command, Record | Start | StartUndo)])
        effects += [command for command in commands if isinstance(command, Start | StartUndo | Cancel)]
        if all(isinstance(command, Cancel | Wake) for command in commands):
            driven.wake_at = min((command.at for command in commands if isinstance(command, Wake)), default=None)
            break
    return effects


def resting(driven: Driven) -> dict[str, Control]:
    """The attempts in flight that only wait."""
    return {id_: control for id_, control in driven.controls.items() if control.is_resting}


def idles(driven: Driven, now: datetime, patience: timedelta) -> bool:
    """True when only a person can move the run on, and not so soon that it is worth to stay."""
    run = driven.run
    if run.status not in (RunStatus.RUNNING, RunStatus.WAITING) or driven.pending or not run.only_waits(resting(driven)):
        return False
    # A moment comes by itself; for an answer that must come soon it is worth to stay too.
    moments = [(until, run.instances[id_].waiting) for id_, until in run.forward.waiting.items() if until is not None]
    soon = now + patience
    return all(until > soon and waiting is not None and waiting.approval is not None for until, waiting in moments)
