"""`python -m app.web.manage purge_idempotency`: do now what a running service does now and then, for a scheduled job.

Deletes idempotency records that are over. It may run beside the service and beside itself.
"""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from ....adapters.idempotency_purge import purge_expired_sync
from ....core.idempotency_errors import IdempotencyStoreError
from ....core.logging import get_logger
from ...bootstrap import current_services

log = get_logger(__name__)


class Command(BaseCommand):
    """Deletes idempotency records that are over."""

    help = "Deletes idempotency records that are over; exits with 1 when their store failed."
    # Where the records are in Redis no database is asked.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command."""
        services = current_services()
        try:
            purge_expired_sync(services.idempotency_store)
        except IdempotencyStoreError:
            log.exception("maintenance.failed")
            sys.exit(1)
        finally:
            services.close()
