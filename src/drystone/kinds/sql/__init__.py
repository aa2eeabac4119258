"""The sql kind: statements for any database that SQLAlchemy has a driver for, parameters bound, rows as outputs.

config (what may be written) -> task (prepares, watches the clock) -> session (one connection, in a thread of its own)
statements (pure: splits SQL) · effects (pure: what it may do) · target (the URL) · answers (values to JSON) · failures (errors to classes)
"""

from drystone.kinds.sql.task import Sql

__all__ = ["Sql"]
