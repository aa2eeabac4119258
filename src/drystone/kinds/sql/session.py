"""One connection and what is done on it, in a thread of its own, so that whoever waits can interrupt it.

    connect -> begin -> each order, rows of the last one that gave any -> commit

With `transaction: false` each statement stands for itself. An interrupt stops the statement in the database, not only the wait
for it; between statements the wish to stop is looked at, and a connection that is made too late is closed unused.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from drystone.errors import AttemptError
from drystone.kinds.sql import failures
from drystone.kinds.sql.answers import Rows
from drystone.kinds.sql.effects import Effect
from drystone.kinds.sql.failures import Place
from drystone.kinds.sql.statements import Statement
from drystone.kinds.sql.target import Target

_ROLLS_BACK = frozenset({"sqlite", "postgresql"})
"""Databases in which a transaction takes back all that was done in it, CREATE TABLE included."""
# A server that is busy with a statement does not see that the other end is gone, unless it is asked to look. As a query, because
# PostgreSQL before 14 does not know the setting.
_LOOK_FOR_US = (
    "SELECT set_config(name, '1000', {local}) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A statement, what it is called in messages, and the sets of parameters to run it with."""

    statement: Statement
    place: str
    sets: Sequence[Mapping[str, Any]]


class StoppedError(Exception):
    """The session was told to stop, and did before it was done."""


class Session(threading.Thread):
    """The work. After `done` is set: `error` when it did not succeed, `rows`, `rowcount`, `truncated` when it did.

    `changed` is False when it is certain that nothing in the database is different.
    """

    def __init__(
        self,
        target: Target,
        orders: Sequence[Order],
        *,
        name: str,
        max_rows: int,
        transaction: bool,
        sensitive: bool,
        log: Callable[[str], None],
        breaker: contextlib.AbstractContextManager[None],
    ) -> None:
        """`breaker` stands around the making of the connection."""
        super().__init__(name="sql", daemon=True)
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.rows: list[dict[str, Any]] = []
        self.rowcount = 0
        self.truncated = False
        self.changed = False
        self._target = target
        self._orders = orders
        self._max_rows = max_rows
        self._transaction = transaction
        self._sensitive = sensitive
        self._log = log
        self._breaker = breaker
        self._stopping = threading.Event()
        self._driver: Any = None
        self._place = Place(what=target.shown, connecting=True)
        self._writes = any(order.statement.effect is not Effect.READS for order in orders)
        self._engine = target.engine(name=name, transaction=transaction, writes=self._writes)

    def stop(self) -> None:
        """Interrupts the statement that is running, from another thread. To be repeated until `done`: it may come between two."""
        self._stopping.set()
        driver = self._driver
        for name in ("interrupt", "cancel_safe", "cancel"):
            if (interrupt := getattr(driver, name, None)) is not None:
                # The connection may be gone by now, with what was to be interrupted.
                with contextlib.suppress(Exception):
                    interrupt()
                return

    def run(self) -> None:
        """All of it. Never raises: see `error`."""
        try:
            with self._connect() as connection:
                self._check()
                self._driver = connection.connection.dbapi_connection
                try:
                    self._perform(connection)
                except BaseException:
                    _take_back(connection)
                    raise
        except (SQLAlchemyError, AttemptError) as error:
            self.error = StoppedError() if self._stopping.is_set() else self._ours(error)
        except BaseException as error:
            self.error = error
        finally:
            self._driver = None
            self.done.set()

    def _connect(self) -> Connection:
        with self._breaker:
            try:
                return self._engine.connect()
            except SQLAlchemyError as error:
                raise self._ours(error) from error

    def _ours(self, error: SQLAlchemyError | AttemptError) -> AttemptError:
        return error if isinstance(error, AttemptError) else failures.to_error(error, self._place, changed=self.changed)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _perform(self, connection: Connection) -> None:
        self._listen(connection)
        changes = [self._order(connection, order) for order in self._orders]
        self._check()
        self._place = Place(what="commit", sensitive=self._sensitive)
        # From here on a lost connection leaves open how it ended.
        self.changed = self.changed or any(changes)
        connection.commit()
        self.changed = any(changes)

    def _listen(self, connection: Connection) -> None:
        if connection.dialect.name != "postgresql":
            return
        if (listen := getattr(self._driver, "add_notice_handler", None)) is not None:
            listen(lambda notice: self._log(f"{notice.severity}: {notice.message_primary}"))
        with contextlib.suppress(DBAPIError):
            if self._transaction:
                with connection.begin_nested():
                    connection.execute(text(_LOOK_FOR_US.format(local="true")))
            else:
                connection.execute(text(_LOOK_FOR_US.format(local="false")))

    def _order(self, connection: Connection, order: Order) -> bool:
        """Runs a statement with each set of parameters. True when the database may be different now."""
        effect = order.statement.effect
        self._place = Place(what=order.place, sensitive=self._sensitive)
        # Through a cursor in the server, which needs a transaction: a large result never comes as a whole.
        streams = self._transaction and order.statement.is_query
        count = 0
        for parameters in order.sets:
            self._check()
            if effect is not Effect.READS and not (self._transaction and connection.dialect.name in _ROLLS_BACK):
                self.changed = True
            options = {"stream_results": streams}
            with connection.execute(text(order.statement.text), parameters, execution_options=options) as result:
                count += self._take(result, effect)
        self._log(f"{order.place}: {order.statement.title}{f' ({count:,} rows)' if count else ''}")
        if effect is not Effect.READS or not self._writes:
            self.rowcount += count
        return effect is Effect.OTHER or (effect is Effect.ROWS and count != 0)

    def _take(self, result: CursorResult[Any], effect: Effect) -> int:
        """Rows that it gave, or that were changed as the database counts them."""
        given = 0
        if result.returns_rows:
            rows = Rows(list(result.keys()), self._max_rows)
            for row in result:
                given += 1
                rows.add(row)
                # What may change things is read to its end: it may change row by row as it gives them.
                if rows.truncated and effect is Effect.READS:
                    break
            self.rows, self.truncated = rows.kept, rows.truncated
            if effect is Effect.READS:
                return len(rows.kept)
        return max(given, result.rowcount)


def _take_back(connection: Connection) -> None:
    """Rolls back. A connection that is beyond even that is cut, and the server rolls back when it sees the end of it."""
    try:
        connection.rollback()
    except SQLAlchemyError:
        connection.invalidate()
