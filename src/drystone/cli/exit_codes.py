"""What the `drystone` command ends with; other programs rely on these numbers (docs/reference/exit-codes.md)."""

from __future__ import annotations

from drystone.core.states import RunStatus
from drystone.errors import DrystoneError, LockedError

DONE = 0
REFUSED = 1
"""Nothing ran: a bad plan, a bad input, a wrong command line, a store that cannot be used."""
CHANGES = 2
COMPENSATED = 3
LEFT = 4
"""It failed and something is left standing."""
APPROVAL = 5
LOCKED = 6
STOPPED = 7
"""It failed and was left as it was, because the plan says so."""
CANCELLED = 130


def of_run(status: RunStatus, cause: str | None, *, left: bool = False) -> int:
    """The exit code for a run that ended. `cause` is why it went back: failed, cancelled, requested, or None.

    left: something stands that the plan would have undone, because the run was past its pivot.

    A cancelled run that was taken back is 130, and an undo that a person asked for and got is 0.
    """
    match status, cause:
        case RunStatus.SUCCEEDED, _:
            return DONE
        case RunStatus.COMPENSATED, "requested":
            return DONE
        case RunStatus.COMPENSATED | RunStatus.CANCELLED, "cancelled":
            return CANCELLED
        case RunStatus.COMPENSATED, _:
            return COMPENSATED
        case RunStatus.COMPENSATION_FAILED, _:
            return LEFT
        case RunStatus.CANCELLED, _:
            return CANCELLED
        case RunStatus.FAILED, _:
            return LEFT if left else STOPPED
        case RunStatus.WAITING, _:
            return APPROVAL
        case _:
            return LEFT


def of_error(error: BaseException) -> int:
    """The exit code for an error that kept a command from doing its work."""
    match error:
        case LockedError():
            return LOCKED
        case KeyboardInterrupt():
            return CANCELLED
        case DrystoneError():
            return REFUSED
        case _:
            return REFUSED
