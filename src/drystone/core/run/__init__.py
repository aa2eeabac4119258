"""The saga machine: a run's state, how events change it, and what to do next.

    state.py      what is known of a run
    evolve.py     event -> new state
    forward.py    the index that says what may start          (used by evolve)
    order.py      what starts first, by how long it took      (used by evolve)
    draft.py      a run while events are folded into it
    back.py       the index that says what may be undone       (used by evolve)
    decide.py     state, now -> commands
    settle.py     what an attempt gave -> events
    approvals.py  questions to a person, and their answers
    attention.py  what only a person can decide
    requests.py   what a person asked -> events
    scope.py      state -> what expressions see
    forecast.py   state, now -> how long it has still to go

`evolve` and `decide` do not raise on any history that `decide` and `settle` can make, know no clock and no chance, and
give the same answer for the same arguments: both engines and every replay rely on it.
"""

from drystone.core.run.approvals import answer, questions
from drystone.core.run.attention import Item, Way, attention
from drystone.core.run.decide import decide, slots_wanted
from drystone.core.run.evolve import evolve, new_run
from drystone.core.run.forecast import Forecast, expected_total, remaining
from drystone.core.run.requests import request_cancel, request_destroy, request_resume, request_retry, request_skip, request_undo, take
from drystone.core.run.scope import scope_of
from drystone.core.run.settle import failed, finished_undo, lost, lost_undo, stands, succeeded, undo_failed, waits
from drystone.core.run.state import (
    ORDINARY,
    Attempt,
    AttemptStatus,
    Cause,
    Failure,
    Instance,
    Manner,
    Run,
    UndoState,
    UndoStatus,
    Waiting,
    made,
)

__all__ = [
    "ORDINARY", "Attempt", "AttemptStatus", "Cause", "Failure", "Forecast", "Instance", "Item", "Manner", "Run", "UndoState",
    "UndoStatus", "Waiting", "Way", "answer", "attention", "decide", "evolve", "expected_total", "failed", "finished_undo",
    "lost", "lost_undo", "made", "new_run", "questions", "remaining", "request_cancel", "request_destroy", "request_resume",
    "request_retry", "request_skip", "request_undo", "scope_of", "slots_wanted", "stands", "succeeded", "take", "undo_failed",
    "waits",
]  # fmt: skip
