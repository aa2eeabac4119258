"""When a failed attempt is tried again.

Called by `run.settle` with facts only: attempts so far and the task's policy.
Knows no clock: it answers with a delay, and the engine turns that into a timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from drystone.errors import FailureClass

NEVER = frozenset({FailureClass.REFUSED, FailureClass.INVALID, FailureClass.CANCELLED})
"""Not retried unless a policy names them: what was refused or is wrong stays so until somebody acts."""


class Backoff(StrEnum):
    """How the wait grows from one retry to the next."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """`attempts` counts every try, the first too; `on` None means every class but `NEVER`."""

    attempts: int = 1
    delay: timedelta = timedelta(seconds=2)
    backoff: Backoff = Backoff.EXPONENTIAL
    max_delay: timedelta = timedelta(minutes=5)
    jitter: bool = True
    on: frozenset[FailureClass] | None = None

    def covers(self, failure_class: FailureClass) -> bool:
        """True when a failure of this class may be tried again."""
        return failure_class in self.on if self.on is not None else failure_class not in NEVER


NO_RETRY = RetryPolicy()
UNDO_RETRY = RetryPolicy(attempts=3, delay=timedelta(seconds=2))
"""The way back is tried three times unless the plan says otherwise: giving up leaves things standing."""


def next_delay(policy: RetryPolicy, attempts: int, jitter: float) -> timedelta | None:
    """Wait before the next attempt, or None when there is none left.

    The wait grows from `policy.delay` by `policy.backoff` and stops at `policy.max_delay`; jitter adds up to a
    quarter of the wait, so that many tasks that failed together do not come back together.

    attempts: tries already made, 1 or more.
    jitter:   share of that quarter to add, 0.0 to 1.0; drawn by the engine, so that replay is exact.
    Raises ValueError when attempts is 0: nothing has failed yet.
    """
    if attempts < 1:
        raise ValueError("nothing has failed yet")
    if attempts >= policy.attempts:
        return None
    match policy.backoff:
        case Backoff.CONSTANT:
            factor = 1
        case Backoff.LINEAR:
            factor = attempts
        case Backoff.EXPONENTIAL:
            # 2**40 seconds is past any max_delay; the bound keeps the multiplication from overflowing.
            factor = 2 ** min(attempts - 1, 40)
    # The comparison comes first because timedelta * factor may overflow where the ceiling does not.
    wait = policy.max_delay if policy.delay and factor > policy.max_delay / policy.delay else policy.delay * factor
    return wait + wait * 0.25 * jitter if policy.jitter else wait
