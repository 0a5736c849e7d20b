"""The composition root: builds everything from the settings. Tests pass their own collaborators by keyword."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .adapters.database import Database
from .adapters.health import Health
from .adapters.idempotency import MemoryIdempotencyStore, SqlIdempotencyStore
from .adapters.logging import log_health
from .adapters.metrics import Metrics
from .adapters.reporting import ErrorReporting, error_reporting
from .adapters.tracing import Tracing
from .core.health import Check
from .core.idempotency import IdempotencyStore
from .settings import Settings

if TYPE_CHECKING:
    from httpx2 import AsyncClient


@dataclass(frozen=True, slots=True)
class Services:
    """What an entry point works with."""

    settings: Settings
    metrics: Metrics
    tracing: Tracing
    health: Health
    database: Database
    idempotency_store: IdempotencyStore
    reporting: ErrorReporting

    def http_client(self, **options: Any) -> "AsyncClient":
        """Return a client for other services, traced and counted; the caller closes it.

        Args:
            options: Further arguments of `adapters.http_client.create_http_client`.

        """
        # Not at the top: many services call nobody.
        from .adapters.http_client import create_http_client

        return create_http_client(self.tracing, on_call=self.metrics.call_finished, **options)

    async def aclose(self) -> None:
        """Close what was opened: connections first, then what reports on them."""
        try:
            await self.database.aclose()
        finally:
            await asyncio.to_thread(self.reporting.close)
            self.tracing.shutdown()
            self.metrics.close()


def bootstrap(
    settings: Settings,
    *,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    database: Database | None = None,
    idempotency_store: IdempotencyStore | None = None,
    reporting: ErrorReporting | None = None,
) -> Services:
    """Build the service's parts; nothing connects or starts a thread before it is used.

    Args:
        settings: What they are built from.
        metrics: Instead of the service's own.
        tracing: Instead of the one that the settings ask for.
        database: Instead of the one that the settings name.
        idempotency_store: Instead of the one that the settings choose.
        reporting: Instead of the reporters that the settings choose.

    """
    metrics = metrics or Metrics(settings)
    database = database or Database(settings.database, on_query=metrics.query_finished)
    metrics.watch_log(log_health)
    metrics.watch_pool(database.pool_state)
    health = Health(timeout=settings.health.timeout, cache=settings.health.cache, on_result=metrics.health_checked)
    health.register(Check("database", database.ping))
    return Services(
        settings=settings,
        metrics=metrics,
        tracing=tracing or Tracing(settings),
        health=health,
        database=database,
        idempotency_store=idempotency_store or _idempotency_store(settings, database),
        reporting=reporting or error_reporting(settings, on_outcome=metrics.error_reported),
    )


def _idempotency_store(settings: Settings, database: Database) -> IdempotencyStore:
    if settings.idempotency.store == "memory":
        return MemoryIdempotencyStore()
    return SqlIdempotencyStore(database)
