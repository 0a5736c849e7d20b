"""What callers can do with orders, whatever they speak: HTTP, a task or a message.

What changes orders is atomic. Within the transaction of a request with an `Idempotency-Key` it is part of that one.
"""

from uuid import UUID

from django.db import transaction

from ...core.logging import get_logger
from ...orders.models import Order, OrderNotFoundError, cancel, place
from .models import OrderRecord

log = get_logger(__name__)


@transaction.atomic
def place_order(sku: str, quantity: int, customer_email: str) -> Order:
    """Place an order."""
    order = place(sku, quantity, customer_email)
    OrderRecord.of(order).save(force_insert=True)
    log.info("order.placed", order_id=str(order.id), quantity=quantity)
    return order


def get_order(order_id: str) -> Order:
    """Return an order.

    Raises:
        OrderNotFoundError: There is none with this id.

    """
    record = OrderRecord.objects.filter(id=_parse(order_id)).first()
    if record is None:
        raise OrderNotFoundError
    return record.to_order()


def newest_orders(limit: int) -> list[Order]:
    """Return the newest orders."""
    return [record.to_order() for record in OrderRecord.objects.all()[:limit]]


@transaction.atomic
def cancel_order(order_id: str) -> Order:
    """Cancel an order.

    Raises:
        OrderNotFoundError: There is none with this id.
        OrderNotCancellableError: It was shipped or cancelled.

    """
    record = OrderRecord.objects.select_for_update().filter(id=_parse(order_id)).first()
    if record is None:
        raise OrderNotFoundError
    cancelled = cancel(record.to_order())
    record.status = cancelled.status.value
    record.save(update_fields=["status"])
    log.info("order.cancelled", order_id=str(cancelled.id))
    return cancelled


def _parse(order_id: str) -> UUID:
    """Return an id as such; what is none names no order."""
    try:
        return UUID(order_id)
    except ValueError:
        raise OrderNotFoundError from None
