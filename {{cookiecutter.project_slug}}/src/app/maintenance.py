"""`python -m app.maintenance`: do now what a running service does now and then, for a job that runs on a schedule.

Deletes idempotency records that are over. It may run beside the service and beside itself.
"""

import asyncio
import sys

from .adapters.idempotency_purge import purge_expired
from .bootstrap import bootstrap
from .command import run_command
from .core.idempotency_errors import IdempotencyStoreError
from .core.logging import get_logger
from .settings import Settings


async def maintain(settings: Settings) -> None:
    """Do everything that is due.

    Args:
        settings: What to work with.

    Raises:
        IdempotencyStoreError: The store of idempotency records failed.

    """
    services = bootstrap(settings)
    try:
        await purge_expired(services.idempotency_store)
    finally:
        await services.aclose()


def maintain_now(settings: Settings) -> int:
    """Do everything that is due, and return the process's exit code: 1 when something failed.

    Args:
        settings: What to work with.

    """
    try:
        asyncio.run(maintain(settings))
    except IdempotencyStoreError:
        get_logger(__name__).exception("maintenance.failed")
        return 1
    return 0


def main() -> int:
    """Do everything that is due with the settings of the process, and return its exit code."""
    return run_command(maintain_now)


if __name__ == "__main__":
    sys.exit(main())
