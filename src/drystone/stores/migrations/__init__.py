"""The schema of the store, as Alembic migrations: `versions/NNNN_what.py`, each on top of the one before.

`sql` calls `upgrade` when the version in the store is not `NEWEST`. Alembic and SQLAlchemy, half a second of imports, are loaded
only then; every other question goes to the driver directly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

NEWEST = "0006"
"""The version that this drystone reads and writes."""
VERSION_TABLE = "drystone_version"
"""Not Alembic's own name: a PostgreSQL database may be shared with another program that uses Alembic."""


def upgrade(url: str, connection: Any, *, lock: str, is_needed: Callable[[], bool]) -> None:
    """Brings the schema to `NEWEST` in one transaction. Raises the driver's errors.

    url:        names SQLAlchemy's dialect; nothing else of it is used.
    connection: the driver's own.
    lock:       the statement that keeps every other writer out until the end of the transaction.
    is_needed:  asked under that lock: another process may have done the work meanwhile.
    """
    import sqlalchemy
    from alembic import command
    from alembic.config import Config

    engine = sqlalchemy.create_engine(url, creator=lambda: connection, poolclass=sqlalchemy.StaticPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with engine.begin() as wrapped:
            # Not before SQLAlchemy has the connection: it rolls back what it finds begun.
            wrapped.exec_driver_sql(lock)
            if is_needed():
                config.attributes["connection"] = wrapped
                command.upgrade(config, NEWEST)
    except sqlalchemy.exc.DBAPIError as error:
        raise error.orig or error from error
