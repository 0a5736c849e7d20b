"""Fulfilments of orders."""

import sqlalchemy as sa
from alembic import op

revision = "orders_0002"
down_revision = "orders_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "fulfilments",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("fulfilled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fulfilments"),
    )
    op.create_index("ix_fulfilments_order_id", "fulfilments", ["order_id"])


def downgrade() -> None:
    """Undo the change."""
    op.drop_table("fulfilments")
