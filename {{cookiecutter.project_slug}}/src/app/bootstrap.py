"""The composition root: builds everything from the settings. Tests pass their own collaborators by keyword."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .adapters.database import Database
from .adapters.database_connection import database_address
from .adapters.health import Health
from .adapters.idempotency import build_idempotency
from .adapters.idempotency import idempotency_store as choose_idempotency_store
from .adapters.idempotency_binding import Idempotency, bind_idempotency
from .adapters.logging import log_health
from .adapters.metrics import Metrics
from .adapters.reporters import Reporter
from .adapters.reporters.database import DatabaseReporter
from .adapters.reporting import ErrorReporting, error_reporting
from .adapters.tracing import Tracing
from .core.health import Check
from .core.idempotency import IdempotencyStore
from .settings import Settings

if TYPE_CHECKING:
    from httpx2 import AsyncClient
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Services:
    """What an entry point works with."""

    settings: Settings
    metrics: Metrics
    tracing: Tracing
    health: Health
    database: Database
    idempotency_store: IdempotencyStore
    idempotency: Idempotency
    reporting: ErrorReporting
    redis: "Redis | None" = None

    def http_client(self, **options: Any) -> "AsyncClient":
        """Return a client for other services, traced and counted; the caller closes it.

        Args:
            options: Further arguments of `adapters.http_client.create_http_client`.

        """
        # Not at the top: many services call nobody.
        from .adapters.http_client import create_http_client

        return create_http_client(self.tracing, on_call=self.metrics.call_finished, **options)

    async def aclose(self) -> None:
        """Close what was opened: connections first, then what reports on them; one that fails keeps no other open."""
        async with AsyncExitStack() as closing:
            closing.callback(self.metrics.close)
            closing.callback(self.tracing.shutdown)
            closing.push_async_callback(asyncio.to_thread, self.reporting.close)
            closing.push_async_callback(self.database.aclose)
            closing.callback(self.idempotency.close)
            if self.redis is not None:
                closing.push_async_callback(self.redis.aclose)


def bootstrap(
    settings: Settings,
    *,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    database: Database | None = None,
    idempotency_store: IdempotencyStore | None = None,
    reporting: ErrorReporting | None = None,
    redis: "Redis | None" = None,
) -> Services:
    """Build the service's parts; nothing connects or starts a thread before it is used.

    Args:
        settings: What they are built from.
        metrics: Instead of the service's own.
        tracing: Instead of the one that the settings ask for.
        database: Instead of the one that the settings name.
        idempotency_store: Instead of the one that the settings choose.
        reporting: Instead of the reporters that the settings choose.
        redis: Instead of the client that the settings ask for.

    """
    metrics = metrics or Metrics(settings)
    database = database or Database(database_address(settings), settings.database, metrics=metrics)
    metrics.watch_log(log_health)
    metrics.watch_pool(database.pool_state)
    health = Health(timeout=settings.health.timeout, cache=settings.health.cache, on_result=metrics.health_checked)
    health.register(Check("database", database.ping))
    redis = redis or _redis(settings)
    if redis is not None:
        health.register(_redis_check(redis))
    store = idempotency_store or choose_idempotency_store(settings, database, redis)
    idempotency = build_idempotency(settings, metrics=metrics, database=database, store=store)
    bind_idempotency(idempotency)
    return Services(
        settings=settings,
        metrics=metrics,
        tracing=tracing or Tracing(settings),
        health=health,
        database=database,
        idempotency_store=store,
        idempotency=idempotency,
        reporting=reporting or _reporting(settings, metrics),
        redis=redis,
    )


def _reporting(settings: Settings, metrics: Metrics) -> ErrorReporting:
    def database() -> Reporter:
        return DatabaseReporter(database_address(settings), version=settings.service_version)

    return error_reporting(settings, database=database, on_outcome=metrics.error_reported)


def _redis(settings: Settings) -> "Redis | None":
    """Return a client where something is kept in Redis."""
    if settings.idempotency.store != "redis" or settings.redis_url is None:
        return None
    # Not at the top: many services have no Redis.
    from .adapters.redis import create_redis

    return create_redis(settings.redis_url, timeout=settings.idempotency.timeout)


def _redis_check(redis: "Redis") -> Check:
    async def ask() -> None:
        await redis.ping()

    return Check("redis", ask)
