"""Error reports."""

import sqlalchemy as sa
from alembic import op

revision = "core_0002"
down_revision = "core_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "error_reports",
        sa.Column("fingerprint", sa.String(32), nullable=False),
        sa.Column("error_type", sa.String(255), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("occurrences", sa.BigInteger, nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("last_report", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_error_reports"),
    )
    op.create_index("ix_error_reports_last_seen", "error_reports", ["last_seen"])


def downgrade() -> None:
    """Undo the change."""
    op.drop_table("error_reports")
