"""The caller of an idempotency record, so that all records of one can be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "core_0003"
down_revision = "core_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; whose the records from before are, nobody knows."""
    with op.batch_alter_table("idempotency_records") as table:
        table.add_column(sa.Column("caller", sa.String(64), nullable=False, server_default=""))
        table.create_index("ix_idempotency_records_caller", ["caller"])


def downgrade() -> None:
    """Undo the change."""
    with op.batch_alter_table("idempotency_records") as table:
        table.drop_index("ix_idempotency_records_caller")
        table.drop_column("caller")
