"""Diagnostics -> the error that an attempt raises: its class decides whether it is tried again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from drystone.errors import AttemptError
from drystone.kinds.terraform import parse
from drystone.kinds.terraform.parse import Diagnostic
from drystone.plugin.api import FailureClass, PermanentError, TemporaryError

LOCK_RETRY = timedelta(seconds=10)
"""A lock is held for the length of somebody's plan or apply: seconds to minutes."""


def _status(code: str) -> str:
    """An HTTP status in a message: `StatusCode: 403`, `Error 403`, `got 403`; not any number that looks like one."""
    return rf"(?:status|code|error|http\S*|got)\W{{0,3}}(?:code\W{{0,2}})?{code}\b"


_PATTERNS: Mapping[FailureClass, tuple[str, ...]] = {
    # By what Terraform and the common providers print; the first class that fits counts.
    FailureClass.CONFLICT: ("acquiring the state lock", "saved plan is stale", "already locked", "ConflictException", _status("409")),
    FailureClass.RATE_LIMITED: ("rate.?limit", "too many requests", "throttl", "RequestLimitExceeded", _status("429")),
    FailureClass.REFUSED: (
        "instance cannot be destroyed",
        "access ?denied",
        "unauthori[sz]ed",
        "forbidden",
        "no valid credential",
        "invalid credentials",
        "InvalidClientTokenId",
        "permission denied",
        "authentication failed",
        _status("40[13]"),
    ),
    FailureClass.UNREACHABLE: (
        "could not connect to",
        "error (?:loading|refreshing) state: (?:get|put|post) ",
        "no such host",
        "connection refused",
        "connection reset",
        "network is unreachable",
        "no route to host",
        "tls handshake",
        "failed to request discovery",
        "registry service is unreachable",
        "could not download module",
        "error accessing remote module registry",
        "reattach",
        "plugin did not respond",
        "server misbehaving",
        "error making request",
    ),
    FailureClass.TIMEOUT: ("i/o timeout", "deadline exceeded", "timed out", "timeout while waiting"),
}
_RULES = [(failure_class, re.compile("|".join(patterns), re.IGNORECASE)) for failure_class, patterns in _PATTERNS.items()]
_SCRIPT = re.compile(r"local-exec provisioner error|external program", re.IGNORECASE)
_EMPTY_WORDS = re.compile(r"execution halted|\w+ encountered problems during initiali[sz]ation", re.IGNORECASE)
_PROVIDER_OR_CONDITION = re.compile(
    r"provisioner error|(?:pre|post)condition failed|check block assertion failed|test assertion", re.IGNORECASE
)
_WRITTEN_WRONG = re.compile(r"invalid|unsupported|missing|conflicting|incorrect|expected", re.IGNORECASE)
_FORMAT = re.compile(r"unsupported state file format: (.*)", re.IGNORECASE)
_STATE = re.compile(r"unsupported state file format|state file could not be parsed|state (?:data|file).*corrupt", re.IGNORECASE)


def from_diagnostics(
    step: str, exit_code: int, errors: Sequence[Diagnostic], *, tail: str = "", state: str = "", applying: bool = False
) -> AttemptError:
    """The error for a command that failed.

    step:     `init`, `plan`, `apply`, `destroy`: begins the message when nothing better is known.
    tail:     last lines of its output, when there is no diagnostic.
    state:    where the state is, for the hint about a broken one.
    applying: the configuration was accepted and planned: what fails now is the world.
    """
    if not errors:
        return _without_diagnostics(step, exit_code, tail)
    first = _most_telling(errors)
    everything = "\n".join(f"{item.summary}\n{item.detail}" for item in errors)
    detail = "\n".join(item.text for item in errors)
    if _STATE.search(everything):
        return _broken_state(everything, detail, state)
    if lock := _lock_conflict(first, detail):
        return lock
    failure_class = _class_of(first, applying)
    if failure_class in (FailureClass.INVALID, FailureClass.REFUSED):
        return PermanentError(failure_class, first.title, detail=detail)
    return TemporaryError(failure_class, first.title, detail=detail)


def _most_telling(errors: Sequence[Diagnostic]) -> Diagnostic:
    """The first error which does not only announce or echo another."""
    return next((item for item in errors if not _EMPTY_WORDS.match(item.summary)), errors[0])


def _class_of(first: Diagnostic, applying: bool) -> FailureClass:
    if _SCRIPT.search(first.summary):
        # What a script prints may be anything.
        return FailureClass.FAILED
    for failure_class, pattern in _RULES:
        if pattern.search(f"{first.summary}\n{first.detail}"):
            return failure_class
    if applying or _PROVIDER_OR_CONDITION.search(first.summary):
        return FailureClass.FAILED
    # While planning, an address means that a provider says it: the world is not as wanted, unless it complains of what is written.
    if first.address and not _WRITTEN_WRONG.match(first.summary):
        return FailureClass.FAILED
    return FailureClass.INVALID


def _without_diagnostics(step: str, exit_code: int, tail: str) -> AttemptError:
    if exit_code < 0 or "panic:" in tail or "TERRAFORM CRASH" in tail:
        how = f"was ended by signal {-exit_code}" if exit_code < 0 else "crashed"
        return TemporaryError(FailureClass.CRASHED, f"terraform {step} {how}", detail=tail)
    last = tail.strip().splitlines()[-1:] or [f"exit code {exit_code}"]
    return TemporaryError(FailureClass.FAILED, f"terraform {step} failed: {last[0]}", detail=tail)


def _broken_state(everything: str, detail: str, state: str) -> AttemptError:
    place = f'state "{state}"' if state else "the state"
    reason = _FORMAT.search(everything)
    return PermanentError(
        FailureClass.INVALID,
        f"{place} is not a state that terraform can read" + (f": {reason.group(1).rstrip('.')}" if reason else ""),
        detail=detail,
        hint=f'move the file away; if "{state}.backup" is whole, copy it to the state\'s place and run again'
        if state
        else "restore an earlier version of the state from its backend, and run again",
    )


def _lock_conflict(first: Diagnostic, detail: str) -> AttemptError | None:
    if "acquiring the state lock" not in first.summary.lower():
        return None
    info = parse.lock_info(first.detail)
    if info is None:
        return None
    holder = f'by "{info.who}" ({info.operation}, since {info.created})' if info.who else f'by somebody else (lock "{info.id}")'
    return TemporaryError(
        FailureClass.CONFLICT,
        f"the state is locked {holder}",
        retry_in=LOCK_RETRY,
        detail=detail,
        hint=f"wait for it; if its holder is gone for good, run terraform force-unlock {info.id}",
    )
