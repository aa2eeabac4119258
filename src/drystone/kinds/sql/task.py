"""The attempt: splits and checks the statements, hands them to a session, and interrupts it when the attempt should end.

Everything that can be refused is refused before a connection is made. What a transaction took back counts as unchanged: the
task has then nothing to undo.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from drystone.core.diagnostics import did_you_mean
from drystone.errors import AttemptError, FailureClass, PermanentError, TemporaryError
from drystone.kinds.sql import answers, statements
from drystone.kinds.sql.config import Parameters, SqlConfig, Step, parse_steps
from drystone.kinds.sql.effects import Effect
from drystone.kinds.sql.statements import SplitError, Statement
from drystone.plugin import api, sources

if TYPE_CHECKING:
    from drystone.kinds.sql.session import Order, Session
    from drystone.kinds.sql.target import Target

_CHECK_SECONDS = 0.1
_REPEAT_SECONDS = 1.0
_GRACE_SECONDS = 10.0
"""How long an interrupted statement may take to end before it is left alone."""


class Sql(api.Kind):
    """Changes nothing when all its statements only read; only then is it repeated after a crash, unless the config says more."""

    name: ClassVar[str] = "sql"
    Config = SqlConfig
    idempotent: ClassVar[bool] = False
    outputs: ClassVar[tuple[str, ...] | None] = ("rows", "rowcount", "truncated")

    @classmethod
    def changes_things(cls, config: Mapping[str, Any]) -> bool:
        """True when in doubt: for a file, an expression, a function that is not known to be harmless."""
        return not _only_reads(config)

    @classmethod
    def is_idempotent(cls, config: Mapping[str, Any]) -> bool:
        """What only reads may be repeated; of the rest only the author of the plan knows."""
        return config.get("idempotent") is True or _only_reads(config)

    @classmethod
    def files(cls, config: Mapping[str, Any], source: Path) -> Iterator[Path]:
        """The file of statements."""
        return sources.paths(config.get("file"), source)

    def run(self, ctx: api.Context, config: SqlConfig) -> api.Outcome:
        """Outputs rows (of the last statement that gave any), rowcount and truncated."""
        # SQLAlchemy takes a while to import, which runs without a statement do not pay.
        from drystone.kinds.sql.session import Session
        from drystone.kinds.sql.target import parse

        target = parse(config.url, ctx.project)
        for secret in target.secrets:
            ctx.redact(secret)
        orders = _orders(ctx, config, target)
        session = Session(
            target,
            orders,
            name=f"drystone {ctx.run_id} {ctx.task}",
            max_rows=config.max_rows,
            transaction=config.transaction,
            sensitive=config.sensitive,
            log=ctx.log,
            breaker=contextlib.nullcontext() if target.endpoint is None else ctx.endpoint(target.endpoint),
        )
        ctx.log(f"{target.shown}: {len(orders)} statement{'s' if len(orders) != 1 else ''}")
        session.start()
        _wait(ctx, session, config.timeout)
        if session.error is not None:
            raise session.error
        return api.Outcome(
            outputs={"rows": session.rows, "rowcount": session.rowcount, "truncated": session.truncated},
            result={"statements": len(orders)},
            changed=session.changed,
            sensitive=frozenset({"rows"} if config.sensitive else ()),
        )


def _only_reads(config: Mapping[str, Any]) -> bool:
    """What can be said from the config as the plan has it."""
    url, steps = config.get("url"), config.get("statements")
    dialect = url.partition(":")[0].partition("+")[0] if isinstance(url, str) else ""
    texts = [step.get("sql") if isinstance(step, Mapping) else step for step in parse_steps(steps)]
    if steps is None or not all(isinstance(item, str) for item in texts):
        return False
    try:
        return all(found.effect is Effect.READS for item in texts for found in statements.split(str(item), dialect))
    except SplitError:
        return False


# ---- before there is a connection ------------------------------------------------------------------------------------


def _orders(ctx: api.Context, config: SqlConfig, target: Target) -> list[Order]:
    from drystone.kinds.sql.session import Order

    orders = []
    for number, (name, step, statement) in enumerate(_statements(ctx, config, target), 1):
        place = f"{name}:{statement.line}" if name else f"statement {number}"
        if statement.effect is Effect.TRANSACTION and config.transaction:
            raise _invalid(
                f"{place}: {statement.title} is not needed here: all statements are one transaction",
                'remove it, or say "transaction: false" and make your own',
            )
        sets = [_values(statement, {**config.params, **own}, place, target.dialect) for own in step.sets]
        orders.append(Order(statement=statement, place=place, sets=sets))
    if not orders:
        raise _invalid(f'there is no statement in "{config.file or "statements"}"', "write at least one")
    return orders


def _statements(ctx: api.Context, config: SqlConfig, target: Target) -> Iterator[tuple[str, Step, Statement]]:
    """(the file's name or nothing, the step it is part of, the statement)."""
    name = config.file or ""
    for step in config.statements or (Step(sql=_text_of(ctx, name)),):
        try:
            for statement in statements.split(step.sql, target.dialect):
                yield name, step, statement
        except SplitError as error:
            raise _invalid(f"{name or 'statements'}: {error}", "close it") from error


def _text_of(ctx: api.Context, file: str) -> str:
    try:
        return ctx.path(file).read_text(encoding="utf-8-sig") or " "
    except UnicodeDecodeError as error:
        raise _invalid(f'"{file}" is not UTF-8: {error.reason} at byte {error.start}', "save it as UTF-8") from error
    except OSError as error:
        raise _invalid(f'"{file}" cannot be read: {error.strerror}', "name a file of statements") from error


def _values(statement: Statement, given: Parameters, place: str, dialect: str) -> dict[str, Any]:
    for name in sorted(statement.names - given.keys()):
        raise _invalid(
            f'{place}: there is no parameter "{name}"',
            did_you_mean(name, given) or f'give it a value under "params", or quote the text that ":{name}" is part of',
        )
    return {name: answers.parameter(given[name], dialect) for name in statement.names}


def _invalid(message: str, hint: str) -> PermanentError:
    return PermanentError(FailureClass.INVALID, message, changed=False, hint=hint)


# ---- while it runs ---------------------------------------------------------------------------------------------------


def _wait(ctx: api.Context, session: Session, timeout: timedelta | None) -> None:
    """Until it is done. Raises CancelledError or TemporaryError(timeout) when it was stopped before."""
    from drystone.kinds.sql.session import StoppedError

    deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
    while not session.done.wait(_CHECK_SECONDS):
        if ctx.cancelled or (deadline is not None and time.monotonic() >= deadline):
            _stop(session)
            break
    if session.done.is_set() and not isinstance(session.error, StoppedError):
        return
    try:
        ctx.check()
        raise TemporaryError(
            FailureClass.TIMEOUT, f"the statements did not end within {timeout}", hint='give them more with "timeout"'
        )
    except AttemptError as error:
        error.changed = session.changed or not session.done.is_set()
        if not session.done.is_set():
            error.detail = "the driver cannot be interrupted: the statement may still be at work in the database"
        raise


def _stop(session: Session) -> None:
    until = time.monotonic() + _GRACE_SECONDS
    while not session.done.is_set() and time.monotonic() < until:
        session.stop()
        session.done.wait(_REPEAT_SECONDS)
