"""What a buyer said of the ways to them is kept with their key, for all their cases."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    op.add_column("buyer_keys", sa.Column("ways", sa.Text(), nullable=True))


def downgrade() -> None:
    """Contract."""
    op.drop_column("buyer_keys", "ways")
