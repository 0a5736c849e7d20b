"""The tasks of orders."""

from celery import shared_task
from sqlalchemy import func, select

from ..adapters.idempotent import idempotent
from ..adapters.unit_of_work import SyncUnitOfWork
from ..core.logging import get_logger
from ..orders.fulfilment import fulfil, fulfilments
from .bootstrap import current_services

log = get_logger(__name__)


@shared_task(name="orders.fulfil")
@idempotent(key="order_id", name="orders.fulfil")
def fulfil_order(work: SyncUnitOfWork, order_id: str) -> dict[str, str]:
    """Fulfil an order, once: called again, or for the second time after a crash, it returns what it returned.

    Args:
        work: The transaction of the effect and of the record that it happened.
        order_id: Which order.

    """
    done = fulfil(work.session, order_id)
    return {"id": str(done.id), "order_id": done.order_id, "fulfilled_at": done.fulfilled_at.isoformat()}


@shared_task(name="orders.count")
def count_fulfilments() -> int:
    """Say how many orders were fulfilled: an example of what runs by the schedule."""
    with current_services().database.sync_engine.connect() as connection:
        count: int = connection.execute(select(func.count()).select_from(fulfilments)).scalar_one()
    log.info("orders.counted", fulfilled=count)
    return count
