"""Where orders are kept."""

import uuid

from django.db import models

from ...orders.models import Order, OrderStatus


class OrderRecord(models.Model):
    """An order's row; what an order is and what may happen to it is in `app.orders.models`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sku = models.CharField(max_length=64)
    quantity = models.PositiveIntegerField()
    customer_email = models.CharField(max_length=320)
    status = models.CharField(max_length=16, choices=[(status.value, status.name.title()) for status in OrderStatus])
    created_at = models.DateTimeField(editable=False)

    class Meta:
        """How the table is called, sorted and found."""

        db_table = "orders"
        verbose_name = "order"
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=["created_at", "id"], name="ix_orders_created_at_id"),)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.sku}"

    @classmethod
    def of(cls, order: Order) -> "OrderRecord":
        """Return the row of an order, not saved."""
        return cls(
            id=order.id,
            sku=order.sku,
            quantity=order.quantity,
            customer_email=order.customer_email,
            status=order.status.value,
            created_at=order.created_at,
        )

    def to_order(self) -> Order:
        """Return the order."""
        status = OrderStatus(self.status)
        return Order(self.id, self.sku, self.quantity, self.customer_email, status, self.created_at)
