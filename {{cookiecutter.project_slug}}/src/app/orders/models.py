"""What an order is, and what may happen to it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid4

from ..core.errors import InvalidStateError, NotFoundError


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class OrderNotFoundError(NotFoundError):
    """There is no such order."""

    code = "ORDER_NOT_FOUND"
    default_message = "The order does not exist."


class OrderNotCancellableError(InvalidStateError):
    """The order was shipped or cancelled before."""

    code = "ORDER_NOT_CANCELLABLE"
    default_message = "Only a pending order can be cancelled."


@dataclass(frozen=True, slots=True)
class Order:
    """A customer's wish to buy a number of one thing."""

    id: UUID
    sku: str
    quantity: int
    customer_email: str
    status: OrderStatus
    created_at: datetime


def place(sku: str, quantity: int, customer_email: str) -> Order:
    """Return a new order.

    Args:
        sku: What is bought.
        quantity: How many.
        customer_email: Who buys.

    """
    return Order(uuid4(), sku, quantity, customer_email, OrderStatus.PENDING, datetime.now(UTC))


def cancel(order: Order) -> Order:
    """Return the order as cancelled.

    Args:
        order: The order as it is.

    Raises:
        OrderNotCancellableError: It is not pending.

    """
    if order.status is not OrderStatus.PENDING:
        msg = f"order {order.id} is {order.status}"
        raise OrderNotCancellableError(msg)
    return replace(order, status=OrderStatus.CANCELLED)
