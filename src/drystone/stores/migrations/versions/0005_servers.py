"""Processes that serve a project, and runs that nobody drives.

Instants as in 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`servers` holds who serves now: a row goes with its process, or is not renewed any more."""
    op.create_table(
        "servers",
        sa.Column("owner", sa.Text, primary_key=True, comment="the process, as leases name it"),
        sa.Column("address", sa.Text, nullable=False, comment="URL of its web side; empty when it has none"),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Text, nullable=False),
    )
    # Asked every second, over a table that keeps every run there ever was.
    is_open = sa.text("status IN ('queued', 'running', 'waiting', 'compensating')")
    op.create_index("run_states_open", "run_states", ["status"], sqlite_where=is_open, postgresql_where=is_open)
