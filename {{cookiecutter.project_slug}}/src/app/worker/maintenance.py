"""The tasks that keep the service tidy."""

from celery import shared_task

from ..adapters.idempotency_purge import purge_expired_sync
from .bootstrap import current_services


@shared_task(name="maintenance.purge_idempotency")
def purge_idempotency() -> None:
    """Delete idempotency records that are over."""
    services = current_services()
    if services.idempotency_store.transactional:
        services.metrics.idempotency_purged(purge_expired_sync(services.idempotency.synchronous.store))
