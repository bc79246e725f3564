"""Deliveries of severe cases are found first where an account has more to do than it may."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WHERE = sa.text("state = 'due' and urgent")


def upgrade() -> None:
    """Expand."""
    op.add_column("outbox", sa.Column("urgent", sa.Boolean(), nullable=False, server_default="0"))
    op.create_index("outbox_urgent", "outbox", ["account", "due_at"], sqlite_where=WHERE, postgresql_where=WHERE)


def downgrade() -> None:
    """Contract."""
    op.drop_index("outbox_urgent", "outbox")
    op.drop_column("outbox", "urgent")
