"""Several processes on one database: lanes are found by their oldest row; generations are microseconds."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    if op.get_bind().dialect.name == "postgresql":  # one process alone has no lanes, and SQLite's integers are long
        op.create_index("inbox_lane", "inbox", ["lane", "id"], postgresql_where=sa.text("state = 'new'"))
        op.alter_column("deadlines", "generation", type_=sa.BigInteger())


def downgrade() -> None:
    """Contract."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("inbox_lane", "inbox")
