"""Orders in the database, within the caller's transaction."""

from datetime import UTC
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .models import Order, OrderStatus
from .tables import orders


class OrderRepository:
    """Reads and writes orders.

    Args:
        session: The transaction that the statements belong to.

    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, order: Order) -> None:
        """Insert a new order."""
        values = {column.name: getattr(order, column.name) for column in orders.columns}
        await self._session.execute(insert(orders).values(values))

    async def get(self, order_id: UUID, *, for_update: bool = False) -> Order | None:
        """Return an order, or None.

        Args:
            order_id: Which one.
            for_update: Whether nobody else may change it until the transaction ends.

        """
        statement = select(orders).where(orders.c.id == order_id)
        if for_update:
            statement = statement.with_for_update()
        row = (await self._session.execute(statement)).first()
        return _order(row) if row else None

    async def newest(self, limit: int) -> list[Order]:
        """Return orders, the newest first.

        Args:
            limit: How many at the most.

        """
        statement = select(orders).order_by(orders.c.created_at.desc(), orders.c.id.desc()).limit(limit)
        return [_order(row) for row in await self._session.execute(statement)]

    async def set_status(self, order: Order) -> None:
        """Write an order's status."""
        await self._session.execute(update(orders).where(orders.c.id == order.id).values(status=order.status))


def _order(row: Row[Any]) -> Order:
    created_at = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=UTC)
    status = OrderStatus(row.status)
    return Order(row.id, row.sku, row.quantity, row.customer_email, status, created_at)
