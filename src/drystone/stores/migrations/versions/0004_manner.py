"""How a run goes about its tasks: only what has changed, only some of them, exactly as previewed.

Instants and JSON as in 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs that are there already are ordinary ones."""
    op.add_column("runs", sa.Column("manner", sa.Text, nullable=False, server_default="{}", comment="JSON: how it goes about its tasks"))
