"""What was taken back while it was being sent is not tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    op.add_column("outbox", sa.Column("withdrawn", sa.Text(), nullable=True))


def downgrade() -> None:
    """Contract."""
    op.drop_column("outbox", "withdrawn")
