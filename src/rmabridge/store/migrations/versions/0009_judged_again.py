"""What waited longer than its verdicts hold is judged again; it and what was taken back are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

AGAIN = sa.text("state = 'due' and good_until is not null")
BACK = sa.text("state = 'due' and withdrawn is not null")


def upgrade() -> None:
    """Expand."""
    op.add_column("outbox", sa.Column("good_until", sa.BigInteger(), nullable=True))
    op.create_index("outbox_again", "outbox", ["good_until"], sqlite_where=AGAIN, postgresql_where=AGAIN)
    op.create_index("outbox_back", "outbox", ["created_at"], sqlite_where=BACK, postgresql_where=BACK)


def downgrade() -> None:
    """Contract."""
    op.drop_index("outbox_back", "outbox")
    op.drop_index("outbox_again", "outbox")
    op.drop_column("outbox", "good_until")
