"""Runs, what happened in them, what that makes of them, who drives them, and who holds an environment.

Instants are ISO 8601 text in UTC of one length (`codec.to_text`), JSON is text of `codec.pack`: both databases keep them as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`runs` never changes after its insert; `run_states` and `tasks` are projections of `events`, which only grows."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("plan_file", sa.Text, nullable=False),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("environment", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("token", sa.Text, unique=True, comment="idempotency token given to `drystone run`"),
        # The large ones come last: SQLite reads the columns before them without touching their pages.
        sa.Column("inputs", sa.Text, nullable=False, comment="JSON; secrets sealed"),
        sa.Column("source", sa.Text, nullable=False, comment="the plan's YAML"),
    )
    op.create_index("runs_by_age", "runs", ["created_at", "id"])
    op.create_table(
        "run_states",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("finished_at", sa.Text),
        sa.Column("tasks_done", sa.BigInteger, nullable=False),
        sa.Column("tasks_total", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="grows with every claim; writers with an older one are refused"),
        sa.Column("owner", sa.Text, comment="the process that drives the run; null when none does"),
        sa.Column("lease_until", sa.Text),
    )
    op.create_table(
        "events",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False, comment="JSON of codec.dumps, with its own version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True, comment="of the instance: vm[0]"),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.Text),
        sa.Column("finished_at", sa.Text),
        sa.Column("failure_class", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "locks",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.Text, nullable=False),
    )
