"""The ledger keeps the trace of what was proposed; evidence is looked up by its hash."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    op.add_column("outbox", sa.Column("trace", sa.String(), nullable=True))
    op.create_index("evidence_sha", "evidence", ["sha256"])


def downgrade() -> None:
    """Contract."""
    op.drop_index("evidence_sha", "evidence")
    op.drop_column("outbox", "trace")
