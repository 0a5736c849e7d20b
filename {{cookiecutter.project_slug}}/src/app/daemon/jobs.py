"""What a daemon does now and then."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy import func, select

from ..adapters.idempotency_purge import purge_expired
from ..bootstrap import Services
from ..core.errors import BrokerError
from ..core.logging import get_logger
from ..orders.fulfilment import fulfilments

log = get_logger(__name__)
COUNT_SECONDS = 60.0
BACKLOG_SECONDS = 15.0


async def count_fulfilments(services: Services) -> int:
    """Say how many orders were fulfilled: an example, to be replaced by a job of your own.

    Args:
        services: The daemon's parts.

    """
    async with services.database.session(read_only=True) as session:
        count: int = (await session.execute(select(func.count()).select_from(fulfilments))).scalar_one()
    log.info("orders.counted", fulfilled=count)
    return count


async def purge_idempotency(services: Services) -> None:
    """Delete idempotency records that are over; daemons that do it at the same moment share the work.

    Args:
        services: The daemon's parts.

    """
    services.metrics.idempotency_purged(await purge_expired(services.idempotency_store))


async def measure_backlog(measure: Callable[[], Awaitable[None]]) -> None:
    """Show how many messages wait; while the broker is away that is not known, and told by who lost it.

    Args:
        measure: Asks the broker, and shows it.

    """
    with suppress(BrokerError):
        await measure()
