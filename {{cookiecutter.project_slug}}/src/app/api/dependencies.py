"""What endpoints ask for."""

from typing import Annotated

from fastapi import Depends, Request

from ..adapters.database import UnitOfWork
from ..core.errors import NotAcceptableError
from ..orders.repository import OrderRepository
from ..orders.service import OrderService
from .transaction import WORK

_JSON_RANGES = frozenset({"*/*", "application/*", "application/json"})


async def accept_json(request: Request) -> None:
    """Refuse a caller that accepts no JSON (https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1).

    Args:
        request: The request.

    Raises:
        NotAcceptableError: `Accept` is sent and names no range that JSON is in.

    """
    accept = [value for value in request.headers.getlist("accept") if value.strip()]
    if accept and not any(_allows_json(item) for value in accept for item in value.split(",")):
        raise NotAcceptableError


def _allows_json(item: str) -> bool:
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    refused = any(parameter.replace(" ", "").rstrip("0").rstrip(".") in ("q=", "q=0") for parameter in parameters)
    return media_range in _JSON_RANGES and not refused


async def unit_of_work(request: Request) -> UnitOfWork:
    """Return the transaction of the request."""
    work: UnitOfWork = getattr(request.state, WORK)
    return work


async def order_service(work: Annotated[UnitOfWork, Depends(unit_of_work)]) -> OrderService:
    """Return the operations on orders, within the request's transaction."""
    return OrderService(OrderRepository(work.session))


Orders = Annotated[OrderService, Depends(order_service)]
