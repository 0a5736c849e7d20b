"""Orders over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from ..core.openapi import WITH_BODY, problems
from ..orders.schemas import NewOrder, OrderList, OrderView
from .dependencies import Orders, accept_json

# The header `Idempotency-Key` is described in words: as a parameter it would promise that any valid key is accepted,
# and one that was used with another body is not.
router = APIRouter(
    prefix="/orders",
    tags=["orders"],
    dependencies=[Depends(accept_json)],
    responses=problems(406, 503),
)
OrderId = Annotated[str, Path(description="The order's id.", examples=["0b7e3c52-5f0e-4a53-9c8e-0f6e2f4a9d11"])]


@router.post("", status_code=201, responses=problems(409, *WITH_BODY))
async def place_order(new: NewOrder, orders: Orders, response: Response) -> OrderView:
    """Place an order.

    Accepts `Idempotency-Key`, 1 to 255 visible ASCII characters: repeating the request with it is safe.
    """
    order = await orders.place(new.sku, new.quantity, new.customer_email)
    response.headers["Location"] = f"/orders/{order.id}"
    return OrderView.of(order)


@router.get("", responses=problems(422))
async def list_orders(orders: Orders, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> OrderList:
    """List the newest orders."""
    return OrderList(items=[OrderView.of(order) for order in await orders.newest(limit)])


@router.get("/{order_id}", responses=problems(404, 422))
async def get_order(order_id: OrderId, orders: Orders) -> OrderView:
    """Return an order."""
    return OrderView.of(await orders.get(order_id))


@router.post("/{order_id}/cancel", responses=problems(404, 409, 422))
async def cancel_order(order_id: OrderId, orders: Orders) -> OrderView:
    """Cancel a pending order.

    Accepts `Idempotency-Key`, 1 to 255 visible ASCII characters: repeating the request with it is safe.
    """
    return OrderView.of(await orders.cancel(order_id))
