"""Runs are in the order in which they were started, not in that of their times: a clock may be set back.

Instants and JSON as in 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs that are there already keep the order of their times."""
    op.add_column("runs", sa.Column("number", sa.BigInteger, nullable=False, server_default="0", comment="one more than the run before"))
    connection = op.get_bind()
    ids = connection.execute(sa.text("SELECT id FROM runs ORDER BY created_at, id")).scalars().all()
    if ids:
        numbered = [{"id": id_, "number": number} for number, id_ in enumerate(ids, 1)]
        connection.execute(sa.text("UPDATE runs SET number = :number WHERE id = :id"), numbered)
    op.drop_index("runs_by_age", "runs")
    op.drop_index("runs_by_plan", "runs")
    op.create_index("runs_by_number", "runs", ["number", "id"])
    op.create_index("runs_by_plan", "runs", ["plan", "number", "id"])
