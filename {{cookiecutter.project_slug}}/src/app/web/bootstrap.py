"""The composition root of the Django service: builds everything from settings. Tests pass their own by keyword."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings as django_settings
from django.db import connections

from ..adapters.health_sync import SyncHealth
from ..adapters.idempotency_binding import Idempotency, bind_idempotency
from ..adapters.idempotency_stores import sync_redis_for, sync_store_beside
from ..adapters.logging import log_health
from ..adapters.metrics import Metrics
from ..adapters.reporting import ErrorReporting, error_reporting
from ..adapters.tracing import Tracing
from ..core.connection_pool import PoolState
from ..core.health import SyncCheck
from ..core.idempotency import SyncIdempotencyStore
from ..core.query_warnings import SlowQueries
from ..core.query_watch import QueryWatch
from .configuration import DjangoSettings

if TYPE_CHECKING:
    from redis import Redis

    from ..adapters.reporters import Reporter


@dataclass(frozen=True, slots=True)
class Services:
    """What the service works with in one process."""

    settings: DjangoSettings
    metrics: Metrics
    tracing: Tracing
    health: SyncHealth
    reporting: ErrorReporting
    queries: QueryWatch
    idempotency_store: SyncIdempotencyStore
    idempotency: Idempotency
    redis: "Redis | None" = None

    def close(self) -> None:
        """Close what was opened; one that fails keeps no other open."""
        with ExitStack() as closing:
            closing.callback(self.metrics.close)
            closing.callback(self.tracing.shutdown)
            closing.callback(self.reporting.close)
            closing.callback(self.idempotency.close)
            if self.redis is not None:
                closing.callback(self.redis.close)


def bootstrap(
    settings: DjangoSettings,
    *,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    reporting: ErrorReporting | None = None,
    idempotency_store: SyncIdempotencyStore | None = None,
    redis: "Redis | None" = None,
) -> Services:
    """Build the service's parts; nothing connects or starts a thread before it is used.

    Args:
        settings: What they are built from.
        metrics: Instead of the service's own.
        tracing: Instead of the one that the settings ask for.
        reporting: Instead of the reporters that the settings choose.
        idempotency_store: Instead of the one that the settings choose.
        redis: Instead of the client that the settings ask for.

    """
    metrics = metrics or Metrics(settings)
    metrics.watch_log(log_health)
    metrics.watch_pool(_pool_state)
    health = SyncHealth(timeout=settings.health.timeout, cache=settings.health.cache, on_result=metrics.health_checked)
    health.register(SyncCheck("database", _ask_database))
    redis = redis or sync_redis_for(settings)
    if redis is not None:
        health.register(_redis_check(redis))
    store = idempotency_store or _idempotency_store(settings, redis)
    idempotency = _idempotency(settings, metrics, store)
    return Services(
        settings=settings,
        metrics=metrics,
        tracing=tracing or Tracing(settings),
        health=health,
        reporting=reporting or _reporting(settings, metrics),
        queries=QueryWatch(SlowQueries(settings.database.slow_query), metrics),
        idempotency_store=store,
        idempotency=idempotency,
        redis=redis,
    )


def _idempotency_store(settings: DjangoSettings, redis: "Redis | None") -> SyncIdempotencyStore:
    # Not at the top: Django's settings are read by what stands here.
    from .idempotency_store import OrmIdempotencyStore

    return sync_store_beside(settings, redis) or OrmIdempotencyStore(timeout=settings.idempotency.timeout)


def _idempotency(settings: DjangoSettings, metrics: Metrics, store: SyncIdempotencyStore) -> Idempotency:
    from .idempotent_functions import build_idempotency

    idempotency = build_idempotency(settings.idempotency, metrics=metrics, store=store)
    bind_idempotency(idempotency)
    return idempotency


def _reporting(settings: DjangoSettings, metrics: Metrics) -> ErrorReporting:
    def database() -> "Reporter":
        # Not at the top: models are not there yet when logging begins.
        from .error_reporter import OrmReporter

        return OrmReporter(version=settings.service_version)

    return error_reporting(settings, database=database, on_outcome=metrics.error_reported)


def _pool_state() -> PoolState:
    # One of another backend, as some tests have it, tells nothing.
    state: PoolState = getattr(connections["default"], "pool_state", PoolState)()
    return state


def _redis_check(redis: "Redis") -> SyncCheck:
    def ask() -> None:
        redis.ping()

    return SyncCheck("redis", ask)


def _ask_database() -> None:
    connection = connections["default"]
    # A file that was moved away or deleted would be made anew.
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        msg = f"the database file {connection.settings_dict['NAME']} is gone"
        raise FileNotFoundError(msg)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        # The thread of a check ends with it.
        connection.close()


class _Current:
    services: Services | None = None
    building = threading.Lock()


def current_services() -> Services:
    """Return what this process works with; built when it is first asked for."""
    if _Current.services is None:
        with _Current.building:
            _Current.services = _Current.services or bootstrap(django_settings.SERVICE)
    return _Current.services


@contextmanager
def using_services(services: Services) -> Iterator[None]:
    """Let the process work with other parts inside the block, as tests do.

    Args:
        services: The parts.

    """
    before, _Current.services = _Current.services, services
    try:
        yield
    finally:
        _Current.services = before
