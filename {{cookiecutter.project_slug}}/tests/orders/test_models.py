"""What an order is, and what may happen to it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.orders.models import OrderNotCancellableError, OrderNotFoundError, OrderStatus, cancel, place


def test_new_order() -> None:
    """A new order is pending, has an id of its own and the time in UTC."""
    before = datetime.now(UTC)
    order = place("TEA-42", 2, "ada@example.com")
    assert (order.sku, order.quantity, order.customer_email) == ("TEA-42", 2, "ada@example.com")
    assert order.status is OrderStatus.PENDING
    assert before <= order.created_at <= datetime.now(UTC)
    assert order.id != place("TEA-42", 2, "ada@example.com").id


def test_cancel() -> None:
    """Cancelling changes the status and nothing else, and leaves the order that was passed alone."""
    order = place("TEA-42", 2, "ada@example.com")
    assert cancel(order) == replace(order, status=OrderStatus.CANCELLED)
    assert order.status is OrderStatus.PENDING


@pytest.mark.parametrize("status", [OrderStatus.SHIPPED, OrderStatus.CANCELLED])
def test_cancel_too_late(status: OrderStatus) -> None:
    """Only a pending order can be cancelled."""
    order = replace(place("TEA-42", 2, "ada@example.com"), status=status)
    with pytest.raises(OrderNotCancellableError, match=f"order {order.id} is {status}"):
        cancel(order)


def test_errors() -> None:
    """Each error has its own code, which callers depend on."""
    assert (OrderNotFoundError.status, OrderNotFoundError.code) == (404, "ORDER_NOT_FOUND")
    assert (OrderNotCancellableError.status, OrderNotCancellableError.code) == (409, "ORDER_NOT_CANCELLABLE")
