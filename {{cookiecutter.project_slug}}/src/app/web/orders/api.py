"""Orders over HTTP."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router
from ninja.responses import Status

from ...core.openapi import WITH_BODY
from ...orders.schemas import NewOrder, OrderList, OrderView
from ..negotiation import json_only
from ..openapi import answers
from . import service

# The header `Idempotency-Key` is described in words: as a parameter it would promise that any valid key is accepted,
# and one that was used with another body is not.
router = Router(tags=["orders"])
router.add_decorator(json_only, mode="view")
OrderId = Annotated[str, Path(description="The order's id.", examples=["0b7e3c52-5f0e-4a53-9c8e-0f6e2f4a9d11"])]


@router.post("", response={201: OrderView}, **answers(406, 409, 503, *WITH_BODY))
def place_order(request: HttpRequest, new: NewOrder, response: HttpResponse) -> Status[OrderView]:
    """Place an order.

    Accepts `Idempotency-Key`, 1 to 255 visible ASCII characters: repeating the request with it is safe.
    """
    order = service.place_order(new.sku, new.quantity, new.customer_email)
    response["Location"] = f"/orders/{order.id}"
    return Status(201, OrderView.of(order))


@router.get("", response=OrderList, **answers(406, 422, 503))
def list_orders(request: HttpRequest, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> OrderList:
    """List the newest orders."""
    return OrderList(items=[OrderView.of(order) for order in service.newest_orders(limit)])


@router.get("/{order_id}", response=OrderView, **answers(404, 406, 422, 503))
def get_order(request: HttpRequest, order_id: OrderId) -> OrderView:
    """Return an order."""
    return OrderView.of(service.get_order(order_id))


@router.post("/{order_id}/cancel", response=OrderView, **answers(404, 406, 409, 422, 503))
def cancel_order(request: HttpRequest, order_id: OrderId) -> OrderView:
    """Cancel a pending order.

    Accepts `Idempotency-Key`, 1 to 255 visible ASCII characters: repeating the request with it is safe.
    """
    return OrderView.of(service.cancel_order(order_id))
