"""How an attempt ended, in words that can be stored: whatever a kind gives or raises becomes an `Ended`, without a secret in it."""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from drystone.core import codec, values
from drystone.core.run import Failure
from drystone.engines.context import AttemptContext
from drystone.engines.vault import Vault
from drystone.errors import AttemptError, DrystoneError, FailureClass, HeldBackError, PermanentError
from drystone.plugin.api import Kind, Outcome, Pause

MAX_OUTPUTS_BYTES = 1 << 20
"""Outputs of one attempt: the store holds references, not data; larger things are artifacts."""
MAX_MESSAGE = 4_000
"""Characters of a failure's message, and of its hint: a person reads them in a table."""
MAX_DETAIL = 64_000
"""Characters of a failure's detail."""
_STRICT = json.JSONEncoder(default=str, allow_nan=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How an attempt ended. `failure` None means success, or that it waits (`pause`). Nothing here holds a secret in clear."""

    outputs: Any = None
    result: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = True
    failure: Failure | None = None
    pause: Pause | None = None
    retry_in: timedelta | None = None
    held: bool = False
    """A circuit breaker held it back before it did anything, for `retry_in`."""
    stands: str = ""
    """The run whose version stands: nothing was done, for `reason`."""
    reason: str = ""
    has_log: bool = False


def ended_well(outcome: Outcome, kind: Kind, vault: Vault, ctx: AttemptContext) -> Ended:
    """Of an attempt whose kind came to its end. Raises PermanentError for outputs that cannot be stored."""
    try:
        outputs, size = _as_stored(vault.seal_outputs(outcome.outputs, outcome.sensitive))
        result, _ = _as_stored(vault.redactor.data(dict(outcome.result)))
    except (TypeError, ValueError) as error:
        raise PermanentError(FailureClass.CRASHED, f'kind "{kind.name}" gave outputs that are not JSON: {error}') from error
    if size > MAX_OUTPUTS_BYTES:
        message = f"outputs of {size:,} bytes are more than the store takes ({MAX_OUTPUTS_BYTES:,})"
        raise PermanentError(FailureClass.INVALID, message, hint="write them to a file and give its path")
    return Ended(outputs=outputs, result=result, changed=outcome.changed, pause=_redacted(outcome.pause, vault), has_log=ctx.has_log)


def _redacted(pause: Pause | None, vault: Vault) -> Pause | None:
    if pause is None or pause.approval is None:
        return pause
    return replace(pause, approval=replace(pause.approval, message=vault.redactor.text(pause.approval.message)))


def _as_stored(data: Any) -> tuple[Any, int]:
    """JSON data as the journal will give it back (a key is text, a tuple a list), so that a replay sees the same; and its size.

    Raises TypeError or ValueError when it is no JSON.
    """
    if not data and isinstance(data, dict):
        return data, 2
    text = codec.pack(data)
    if "NaN" in text or "Infinity" in text:
        _STRICT.encode(data)
    return codec.unpack(text), len(text)


def explained(error: BaseException, ctx: AttemptContext) -> AttemptError:
    """Whatever was raised, as one of the errors that kinds raise; before the kind has begun nothing can have changed."""
    match error:
        case AttemptError():
            return error
        case values.ExpressionError():
            return PermanentError(FailureClass.INVALID, str(error), changed=ctx.has_begun)
        case DrystoneError():
            return PermanentError(FailureClass.INVALID, error.message, changed=ctx.has_begun, hint=error.hint)
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f' where "{error.filename}" should be' if error.filename else ""
            return PermanentError(FailureClass.CRASHED, f"the disk is full{where}", changed=ctx.has_begun, hint="make room, then run again")
        case _:
            with suppress(OSError, ValueError):
                for line in traceback.format_exception(error):
                    ctx.log(line.rstrip("\n"))
            message = f"unexpected {type(error).__name__} in the kind: {_said(error)}"
            return PermanentError(FailureClass.CRASHED, message, hint="its traceback is in the log")


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "it cannot say what is wrong"


def ended_badly(error: AttemptError, ctx: AttemptContext) -> Ended:
    """Of an attempt that an error ended."""
    message = ctx.redactor.text(str(error.message))
    failure = Failure(
        failure_class=error.failure_class,
        message=_cut(message, MAX_MESSAGE),
        detail=_cut(ctx.redactor.text(str(error.detail)), MAX_DETAIL),
        hint=_cut(ctx.redactor.text(str(error.hint)), MAX_MESSAGE),
        permanent=error.permanent,
    )
    if isinstance(error, HeldBackError) and not ctx.has_tried:
        return Ended(failure=failure, changed=error.changed, retry_in=error.retry_in, held=True, has_log=ctx.has_log)
    # The disk may be full, or the log closed: that must not hide the failure.
    with suppress(OSError, ValueError):
        ctx.log(f"{error.failure_class.value}: {message}")
    result = ctx.redactor.data(error.result)
    return Ended(failure=failure, result=result, changed=error.changed, retry_in=error.retry_in, has_log=True)


def _cut(text: str, longest: int) -> str:
    """The beginning and the end of a long text; all of it is in the log."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... {text[-longest // 2 :]}"
