"""What callers send and see of orders, whatever the framework; unlike `models` it knows how they are written."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from email_validator import validate_email
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from .models import Order, OrderStatus


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
