"""What is done for an order that was placed, as a task or for a message: here, that it is noted as fulfilled."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import Column, DateTime, Index, String, Table, Uuid, insert
from sqlalchemy.orm import Session

from ..core.errors import invalid_field
from ..core.logging import get_logger
from .tables import metadata

log = get_logger(__name__)
ID_LENGTH = 64
fulfilments = Table(
    "fulfilments",
    metadata,
    Column("id", Uuid, primary_key=True),
    # No key of `orders`, and not unique: the order may be another service's, and that it happens once is the task's to
    # see to.
    Column("order_id", String(ID_LENGTH), nullable=False),
    Column("fulfilled_at", DateTime(timezone=True), nullable=False),
    Index("ix_fulfilments_order_id", "order_id"),
)


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """That an order was fulfilled."""

    id: UUID
    order_id: str
    fulfilled_at: datetime


def fulfil(session: Session, order_id: str) -> Fulfilment:
    """Fulfil an order.

    Args:
        session: The transaction that it belongs to.
        order_id: Which order.

    Raises:
        ValidationError: The id is none.

    """
    _check(order_id)
    done = Fulfilment(uuid4(), order_id, datetime.now(UTC))
    session.execute(insert(fulfilments).values(id=done.id, order_id=order_id, fulfilled_at=done.fulfilled_at))
    log.info("order.fulfilled", order_id=order_id)
    return done


def _check(order_id: object) -> None:
    """Raise when it is no id: a message may hold anything."""
    if isinstance(order_id, str) and 0 < len(order_id) <= ID_LENGTH:
        return
    received = f"{len(order_id)} characters" if isinstance(order_id, str) else f"a {type(order_id).__name__}"
    error = invalid_field("order_id", msg=f"received {received}; allowed: text of 1 to {ID_LENGTH} characters")
    raise error
