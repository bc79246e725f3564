"""The ledger keeps what was proposed where a policy put it into other words."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    op.add_column("outbox", sa.Column("amended_by", sa.Text(), nullable=True))
    op.add_column("outbox", sa.Column("original", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Contract."""
    op.drop_column("outbox", "original")
    op.drop_column("outbox", "amended_by")
