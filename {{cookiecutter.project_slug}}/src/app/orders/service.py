"""What callers can do with orders, whatever they speak: HTTP, a task or a message."""

from uuid import UUID

from ..core.logging import get_logger
from .models import Order, OrderNotFoundError, cancel, place
from .repository import OrderRepository

log = get_logger(__name__)


class OrderService:
    """The operations on orders.

    Args:
        repository: Orders within the caller's transaction.

    """

    def __init__(self, repository: OrderRepository) -> None:
        self._repository = repository

    async def place(self, sku: str, quantity: int, customer_email: str) -> Order:
        """Place an order."""
        order = place(sku, quantity, customer_email)
        await self._repository.add(order)
        log.info("order.placed", order_id=str(order.id), quantity=quantity)
        return order

    async def get(self, order_id: str) -> Order:
        """Return an order.

        Raises:
            OrderNotFoundError: There is none with this id.

        """
        order = await self._repository.get(_parse(order_id))
        if order is None:
            raise OrderNotFoundError
        return order

    async def newest(self, limit: int) -> list[Order]:
        """Return the newest orders."""
        return await self._repository.newest(limit)

    async def cancel(self, order_id: str) -> Order:
        """Cancel an order.

        Raises:
            OrderNotFoundError: There is none with this id.
            OrderNotCancellableError: It was shipped or cancelled.

        """
        order = await self._repository.get(_parse(order_id), for_update=True)
        if order is None:
            raise OrderNotFoundError
        cancelled = cancel(order)
        await self._repository.set_status(cancelled)
        log.info("order.cancelled", order_id=str(order.id))
        return cancelled


def _parse(order_id: str) -> UUID:
    """Return an id as such; what is none names no order."""
    try:
        return UUID(order_id)
    except ValueError:
        raise OrderNotFoundError from None
