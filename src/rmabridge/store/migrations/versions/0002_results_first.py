"""Results are routed before new webhooks; the ledger knows what an action costs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    known = sa.text("state = 'new' and case_id is not null")
    op.create_index("inbox_known", "inbox", ["id"], sqlite_where=known, postgresql_where=known)
    op.add_column("outbox", sa.Column("amount", sa.String(), nullable=True))
    op.add_column("outbox", sa.Column("currency", sa.String(), nullable=True))
    money = sa.text("money")
    op.create_index("outbox_money", "outbox", ["created_at"], sqlite_where=money, postgresql_where=money)


def downgrade() -> None:
    """Contract."""
    op.drop_index("outbox_money", "outbox")
    op.drop_column("outbox", "currency")
    op.drop_column("outbox", "amount")
    op.drop_index("inbox_known", "inbox")
