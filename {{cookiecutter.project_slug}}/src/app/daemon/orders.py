"""The messages about orders."""

from typing import Annotated

from pydantic import BaseModel, Field

from ..adapters.unit_of_work import UnitOfWork
from ..core.messages import Message
from ..orders.fulfilment import ID_LENGTH, fulfil
from .handlers import handles, read_data


class OrderPlaced(BaseModel):
    """What `order.placed` tells; senders may add to it."""

    order_id: Annotated[str, Field(strict=True, min_length=1, max_length=ID_LENGTH)]


@handles("order.placed")
async def fulfil_order(work: UnitOfWork, message: Message) -> None:
    """Fulfil an order, once per message.

    Args:
        work: The transaction of the effect and of the record that it happened.
        message: What says which order.

    """
    placed = read_data(OrderPlaced, message)
    await work.session.run_sync(fulfil, placed.order_id)
