"""The saga machine: a run's state, how events change it, and what to do next.

    state.py      what is known of a run
    evolve.py     event -> new state
    forward.py    the index that says what may start          (used by evolve)
    back.py       the index that says what may be undone       (used by evolve)
    decide.py     state, now -> commands
    settle.py     what an attempt gave -> events
    requests.py   what a person asked -> events
    scope.py      state -> what expressions see

`evolve` and `decide` do not raise on any history that `decide` and `settle` can make, know no clock and no chance, and
give the same answer for the same arguments: both engines and every replay rely on it.
"""

from drystone.core.run.decide import decide
from drystone.core.run.evolve import evolve, new_run
from drystone.core.run.requests import request_cancel, request_resume, request_undo, take
from drystone.core.run.scope import scope_of
from drystone.core.run.settle import failed, finished_undo, lost, lost_undo, succeeded, undo_failed
from drystone.core.run.state import Attempt, AttemptStatus, Cause, Failure, Instance, Run, UndoState, UndoStatus

__all__ = [
    "Attempt", "AttemptStatus", "Cause", "Failure", "Instance", "Run", "UndoState", "UndoStatus", "decide", "evolve", "failed",
    "finished_undo", "lost", "lost_undo", "new_run", "request_cancel", "request_resume", "request_undo", "scope_of", "succeeded",
    "take", "undo_failed",
]  # fmt: skip
