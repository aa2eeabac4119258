"""What runs share: lines of those with one concurrency key, slots of pools; parents, what a person must decide, and what a person asks.

Instants and JSON as in 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`line`, `slots` and `requests` hold only what is going on: their rows go when the run has ended or was answered."""
    op.add_column("runs", sa.Column("parent", sa.Text, comment="the run of which this one is a task"))
    op.add_column("runs", sa.Column("concurrency", sa.Text, comment="key of the line"))
    op.add_column("run_states", sa.Column("attention", sa.BigInteger, nullable=False, server_default="0"))
    # For `durations`: the newest runs of one plan.
    op.create_index("runs_by_plan", "runs", ["plan", "created_at", "id"])
    op.create_table(
        "line",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("since", sa.Text, nullable=False, comment="gives the order; different in every row of a key"),
    )
    op.create_index("line_by_key", "line", ["key", "since"])
    op.create_table(
        "slots",
        sa.Column("pool", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("wanted", sa.BigInteger, nullable=False, comment="beyond those held"),
        sa.Column("since", sa.Text, nullable=False, comment="start of the wait, or the last slot given"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False, comment="JSON"),
    )
