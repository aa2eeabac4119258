"""Schedules and their ticks.

Instants as in 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A tick is written down before it fires, once for each instant of a schedule."""
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text, primary_key=True, comment="plan/trigger"),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False, comment="when it was first seen"),
        sa.Column("considered", sa.Text, nullable=False, comment="ticks up to here are written down"),
        sa.Column("paused_by", sa.Text, comment="null while it goes on"),
        sa.Column("paused_at", sa.Text),
    )
    op.create_table(
        "ticks",
        sa.Column("schedule", sa.Text, sa.ForeignKey("schedules.id"), nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("due", sa.Text, nullable=False, comment="at, and the jitter"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("run", sa.Text, comment="null when none came of it"),
        sa.Column("asked_by", sa.Text, comment="null for one that came by itself"),
        sa.Column("owner", sa.Text, comment="who starts its run, as leases name it"),
        sa.Column("lease_until", sa.Text),
        sa.PrimaryKeyConstraint("schedule", "at"),
    )
    # Asked every few seconds, over a table that keeps every tick there ever was.
    is_open = sa.text("status IN ('recorded', 'queued', 'claimed', 'fired')")
    op.create_index("ticks_open", "ticks", ["schedule", "at"], sqlite_where=is_open, postgresql_where=is_open)
