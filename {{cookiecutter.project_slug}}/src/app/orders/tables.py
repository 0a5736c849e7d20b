"""Where orders are kept."""

from sqlalchemy import Column, DateTime, Index, Integer, String, Table, Uuid

from ..adapters.database import new_metadata

metadata = new_metadata()
orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("customer_email", String(320), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("ix_orders_created_at_id", "created_at", "id"),
)
