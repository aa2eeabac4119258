"""What an answer means: success, a failure of some class, or a job that goes on. Pure; `exchange` makes the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.http.config import SAFE_METHODS, HttpConfig, Job

_EXCERPT_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response that was read: where it came from in the end, headers in lower case, a body of parsed JSON or text."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: Any
    truncated: bool = False


class Progress(Enum):
    """How far a job is."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


def is_ok(config: HttpConfig, status: int) -> bool:
    """True when the plan counts this status as a success."""
    return any(first <= status <= last for first, last in config.ok)


def failure(config: HttpConfig, answer: Answer) -> AttemptError:
    """The error for a status that is no success.

    refused 401 403 407 · timeout 408 · conflict 409 412 423 · rate_limited 429, and 503 with Retry-After ·
    failed 404 410 5xx: what is missing or broken may be there later · invalid every other 4xx: the request is wrong.
    A server that answers 4xx has not done what it was asked (RFC 9110 §15.5), but for 408: it may have begun.
    """
    wait = retry_after(answer.headers)
    message = f"{answer.method} {answer.url} answered {answer.status}"
    detail = "" if config.sensitive else _excerpt(answer.body)
    changed = answer.method not in SAFE_METHODS and (answer.status not in range(400, 500) or answer.status == 408)
    failure_class, hint = _class_of(answer.status, wait is not None)
    if failure_class is FailureClass.INVALID:
        return PermanentError(failure_class, message, detail=detail, changed=changed, hint=hint)
    return TemporaryError(failure_class, message, retry_in=wait, detail=detail, changed=changed, hint=hint)


def _class_of(status: int, has_wait: bool) -> tuple[FailureClass, str]:
    match status:
        case 401 | 403 | 407:
            return FailureClass.REFUSED, "check `auth`, and that this account may do it"
        case 408:
            return FailureClass.TIMEOUT, ""
        case 409 | 412 | 423:
            return FailureClass.CONFLICT, ""
        case 429:
            return FailureClass.RATE_LIMITED, ""
        case 503 if has_wait:
            return FailureClass.RATE_LIMITED, ""
        case 404 | 410:
            return FailureClass.FAILED, "check the URL"
        case _ if 400 <= status < 500:
            return FailureClass.INVALID, "the server does not understand the request; its answer may say why"
        case _:
            return FailureClass.FAILED, "" if status >= 500 else "name this status under `ok` if it is a success"


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The wait that the server asks for, in seconds or as a date; a date counts from the server's own `Date` header."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return timedelta(seconds=min(int(value), 86_400))
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(wait, timedelta(0)), timedelta(days=1))


def find(answer: Answer, place: str) -> Any:
    """What stands at `header:NAME` or `body:a.b.0`, or None."""
    where, _, name = place.partition(":")
    if where == "header":
        return answer.headers.get(name.lower())
    value = answer.body
    for step in name.split("."):
        match value:
            case dict():
                value = value.get(step)
            case list() if step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            case _:
                return None
    return value


def progress(config: HttpConfig, job: Job, answer: Answer) -> tuple[Progress, str]:
    """How far the job is, and the word for it."""
    if job.state is None:
        return (Progress.PENDING if answer.status == 202 else Progress.DONE), str(answer.status)
    state = str(find(answer, job.state))
    if state in job.success:
        return Progress.DONE, state
    if state in job.failure or (job.pending and state not in job.pending and answer.status != 202):
        return Progress.FAILED, state
    return Progress.PENDING, state


def is_passing(status: int) -> bool:
    """True for a status which tells of trouble on the way to a job, and nothing of the job itself."""
    return status in (408, 429) or status >= 500


def job_failed(answer: Answer, state: str, *, sensitive: bool) -> TemporaryError:
    """The error for a job that came to its end and said no."""
    return TemporaryError(
        FailureClass.FAILED,
        f'the job at {answer.url} ended as "{state}"',
        detail="" if sensitive else _excerpt(answer.body),
    )


def _excerpt(body: Any) -> str:
    return str(body)[:_EXCERPT_CHARACTERS]
