"""How Alembic runs a migration: on the connection, and in the transaction, that `upgrade` hands over."""

from alembic import context

from drystone.stores.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
