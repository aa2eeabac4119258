"""The schema of the store, as Alembic migrations: `versions/NNNN_what.py`, each on top of the one before.

`sql` calls `upgrade` when the version in the store is not `NEWEST`. Alembic and SQLAlchemy, half a second of imports, are loaded
only then; every other question goes to the driver directly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

NEWEST = "0001"
"""The version that this drystone reads and writes."""
VERSION_TABLE = "drystone_version"
"""Not Alembic's own name: a PostgreSQL database may be shared with another program that uses Alembic."""


def upgrade(url: str, connect: Callable[[], Any]) -> None:
    """Brings the schema to `NEWEST` and commits.

    url:     names SQLAlchemy's dialect; nothing else of it is used.
    connect: gives the driver's connection, in a transaction that keeps every other writer out.
    """
    import sqlalchemy
    from alembic import command
    from alembic.config import Config

    engine = sqlalchemy.create_engine(url, creator=connect, poolclass=sqlalchemy.StaticPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
