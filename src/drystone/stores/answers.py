"""The words in which every store says no, so that a person reads the same whatever the store is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from drystone.core import codec
from drystone.errors import LockedError, NotFoundError, RefusedError
from drystone.ports import LockInfo, RunRecord, owner_text
from drystone.stores import sharing

NO = (NotFoundError, RefusedError)
"""The store works, and says no."""


def no_run(run: str) -> NotFoundError:
    """Nothing has that id."""
    return NotFoundError(f'there is no run "{run}"', hint='"drystone runs" lists them')


def chosen(prefix: str, fitting: list[str]) -> str:
    """The one run that fits a prefix. Raises NotFoundError when none does, RefusedError when several do."""
    match fitting:
        case [] if prefix == "last":
            raise NotFoundError("there is no run yet", hint='start one with "drystone run PLAN"')
        case []:
            raise no_run(prefix)
        case [run]:
            return run
        case _ if prefix in fitting:
            return prefix
        case _:
            raise RefusedError(f'several runs begin with "{prefix}"', hint=f"give more of the id: {', '.join(fitting)}")


def token_taken(known: RunRecord, wanted: RunRecord) -> RefusedError:
    """One token, two runs."""
    other = "has other inputs" if dict(known.inputs) != dict(wanted.inputs) else "was started with it"
    return RefusedError(
        f'token "{wanted.token}" belongs to run {known.id} of plan "{known.plan}", which {other}',
        hint=f"use another token, or look at that run: drystone show {known.id}",
    )


def run_owned(run: str, owner: str, until: datetime) -> LockedError:
    """Another process drives the run."""
    hint = f"wait for it to end; if it died on another machine, try again after {_short(until)}"
    return LockedError(f"run {run} is being driven by {owner_text(owner)}", owner=owner, hint=hint)


def lease_lost(run: str, owner: str | None) -> LockedError:
    """A newer epoch is written down: what this process wanted to write is void."""
    by = f"taken over by {owner_text(owner)}" if owner else "taken over and given back by another process"
    return LockedError(f"run {run} was {by}", owner=owner or "", hint=f"nothing was written; look at it: drystone show {run}")


def environment_held(lock: LockInfo, is_alive: Callable[[str], bool | None]) -> LockedError:
    """Another run works on the environment, or did so when its process died."""
    wait = f"wait for it, or look at it: drystone show {lock.run}"
    gone = f"its process is gone: drystone resume {lock.run} goes on with it, drystone cancel {lock.run} ends it"
    holder = f"run {lock.run} ({lock.reason}) of {owner_text(lock.owner)}"
    return LockedError(
        f'environment "{lock.environment}" is held by {holder} since {_short(lock.since)}',
        owner=lock.owner,
        hint=gone if is_alive(lock.owner) is False else wait,
    )


def _short(instant: datetime) -> str:
    return f"{codec.to_text(instant)[:19]}Z"


def check_free(
    run: str, holder: str | None, until: datetime | None, owner: str, now: datetime, is_alive: Callable[[str], bool | None]
) -> None:
    """Raises LockedError while another owner drives the run: it is seen to live, or cannot be seen and its lease is not over."""
    if holder is not None and holder != owner and until is not None and sharing.is_driven(holder, until, now, is_alive):
        raise run_owned(run, holder, until)
