"""Orders over HTTP."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from email_validator import validate_email
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ..orders.models import Order, OrderStatus
from .dependencies import Orders, accept_json
from .openapi import WITH_BODY, problems

# The header `Idempotency-Key` is described in words: as a parameter it would promise that any valid key is accepted,
# and one that was used with another body is not.
router = APIRouter(
    prefix="/orders",
    tags=["orders"],
    dependencies=[Depends(accept_json)],
    responses=problems(406, 503),
)


def _integral(value: Any) -> Any:
    """Take `3.0` for 3, as JSON does not tell them apart, and leave the rest to the strict check."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _email(value: str) -> str:
    """Return an address in its normal form; whether it receives mail is not asked, and `.test` is a domain like any."""
    return validate_email(value, check_deliverability=False, test_environment=True).normalized


# No control characters: PostgreSQL's text holds no NUL, and the rest only confuse whoever reads the order.
Sku = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["TEA-42"])]
# The bounds come first: behind the validator pydantic writes them into the JSON schema in a form that nobody reads.
Quantity = Annotated[int, Field(strict=True, ge=1, le=1000, examples=[2]), BeforeValidator(_integral)]
Email = Annotated[
    str,
    AfterValidator(_email),
    Field(max_length=254, json_schema_extra={"format": "email"}, examples=["ada@example.com"]),
]
OrderId = Annotated[str, Path(description="The order's id.", examples=["0b7e3c52-5f0e-4a53-9c8e-0f6e2f4a9d11"])]


class NewOrder(BaseModel):
    """What a caller sends to place an order."""

    model_config = ConfigDict(extra="forbid")

    sku: Sku
    quantity: Quantity
    customer_email: Email


class OrderView(BaseModel):
    """What a caller sees of an order."""

    id: UUID
    sku: str
    quantity: int
    status: OrderStatus
    created_at: datetime

    @classmethod
    def of(cls, order: Order) -> "OrderView":
        """Return the view of an order."""
        return cls.model_validate(order, from_attributes=True)


class OrderList(BaseModel):
    """Some orders, the newest first."""

    items: list[OrderView]


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
