"""What endpoints ask for."""

from typing import Annotated

from fastapi import Depends, Request

from ..adapters.unit_of_work import UnitOfWork
from ..core.errors import NotAcceptableError
from ..core.negotiation import accepts_json
from ..orders.repository import OrderRepository
from ..orders.service import OrderService
from .transaction import WORK


async def accept_json(request: Request) -> None:
    """Refuse a caller that accepts no JSON.

    Args:
        request: The request.

    Raises:
        NotAcceptableError: `Accept` is sent and names no range that JSON is in.

    """
    if not accepts_json(request.headers.getlist("accept")):
        raise NotAcceptableError


async def unit_of_work(request: Request) -> UnitOfWork:
    """Return the transaction of the request."""
    work: UnitOfWork = getattr(request.state, WORK)
    return work


async def order_service(work: Annotated[UnitOfWork, Depends(unit_of_work)]) -> OrderService:
    """Return the operations on orders, within the request's transaction."""
    return OrderService(OrderRepository(work.session))


Orders = Annotated[OrderService, Depends(order_service)]
