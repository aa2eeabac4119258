"""Runs that nobody drives: those that were left for a server, and those whose process died (DESIGN §4.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from drystone.app import runs
from drystone.app.world import World
from drystone.errors import DrystoneError, LockedError

EVERY = timedelta(seconds=1)
"""How often it is looked for them: a person who left a run to the server waits for its first line."""
AGAIN_FIRST, AGAIN_LAST = timedelta(seconds=2), timedelta(minutes=1)
"""When a run that could not be taken is tried again: so soon at first, then each time twice as late."""

Tell = Callable[[str, "dict[str, object]"], None]
"""What happened, in one word, and the facts of it."""


@dataclass(frozen=True, slots=True)
class _Refused:
    until: datetime
    wait: timedelta


class PickUp:
    """For one server. `tell` hears of each run that is taken, and of each that cannot be."""

    def __init__(self, world: World, tell: Tell) -> None:
        self._world = world
        self._tell = tell
        self._refused: dict[str, _Refused] = {}

    def turn(self) -> timedelta:
        """Takes what may be taken. Raises StoreError."""
        world = self._world
        if not world.has_store():
            return EVERY
        now = world.clock.now()
        found = world.journal().unattended(now)
        self._refused = {run: refused for run, refused in self._refused.items() if run in found}
        for run in found:
            refused = self._refused.get(run)
            if refused is None or refused.until <= now:
                self._take(run, now)
        return EVERY

    def _take(self, run: str, now: datetime) -> None:
        try:
            runs.resume(self._world, run)
        except LockedError as error:
            # Its environment is another run's, or another process was faster: that passes by itself.
            self._tell("run.waits_for_server", {"run": run, "reason": error.message})
            self._put_off(run, now)
        except DrystoneError as error:
            self._tell("run.not_taken", {"run": run, "error": error.message, "hint": error.hint})
            self._put_off(run, now)
        else:
            self._refused.pop(run, None)
            self._tell("run.taken", {"run": run})

    def _put_off(self, run: str, now: datetime) -> None:
        before = self._refused.get(run)
        wait = AGAIN_FIRST if before is None else min(AGAIN_LAST, before.wait * 2)
        self._refused[run] = _Refused(now + wait, wait)
