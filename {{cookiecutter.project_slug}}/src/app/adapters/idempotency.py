"""Where idempotency records are kept: in the service's database, in Redis, or in the memory of one process.

With the database an answer commits together with the effect of its operation: exactly once. The other two keep it
afterwards: at most once per lease.
"""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from ..core.idempotency import IdempotencyStore, SyncIdempotencyStore
from ..settings import Settings
from .database import Database
from .idempotency_binding import Idempotency
from .idempotency_memory import MemoryIdempotencyStore, SyncMemoryIdempotencyStore
from .idempotency_sql import SqlIdempotencyStore, SyncSqlIdempotencyStore
from .idempotency_statements import metadata, records
from .idempotency_stores import store_beside, sync_redis_for, sync_store_beside
from .metrics import Metrics
from .unit_of_work import SyncUnitOfWork, UnitOfWork

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

__all__ = [
    "MemoryIdempotencyStore",
    "SqlIdempotencyStore",
    "SyncMemoryIdempotencyStore",
    "SyncSqlIdempotencyStore",
    "build_idempotency",
    "idempotency_store",
    "metadata",
    "records",
    "sync_idempotency_store",
]


def idempotency_store(settings: Settings, database: Database, redis: "AsyncRedis | None" = None) -> IdempotencyStore:
    """Return the store that the settings choose, for code on an event loop.

    Args:
        settings: What chooses.
        database: The service's database.
        redis: The client, where Redis is used.

    Raises:
        ConfigurationError: The chosen store cannot work here.

    """
    return store_beside(settings, redis) or SqlIdempotencyStore(database, timeout=settings.idempotency.timeout)


def sync_idempotency_store(settings: Settings, engine: Engine, redis: "Redis | None" = None) -> SyncIdempotencyStore:
    """Return the store that the settings choose, for code that runs no event loop.

    Args:
        settings: What chooses.
        engine: The service's database, as `database.sync_engine` opens it.
        redis: The client, where Redis is used.

    Raises:
        ConfigurationError: The chosen store cannot work here.

    """
    return sync_store_beside(settings, redis) or SyncSqlIdempotencyStore(engine, timeout=settings.idempotency.timeout)


def build_idempotency(
    settings: Settings, *, metrics: Metrics, database: Database, store: IdempotencyStore
) -> Idempotency:
    """Return what idempotent functions work with, as the settings ask for it.

    Args:
        settings: Which store.
        metrics: What counts outcomes.
        database: Where functions work.
        store: Where their records are kept.

    """
    opened = ExitStack()

    def sync_store() -> SyncIdempotencyStore:
        redis = sync_redis_for(settings)
        if redis is not None:
            opened.callback(redis.close)
        return sync_idempotency_store(settings, database.sync_engine, redis)

    return Idempotency(
        settings=settings.idempotency,
        metrics=metrics,
        store=store,
        open_work=lambda: UnitOfWork(database, read_only=False),
        sync_store=sync_store,
        open_sync_work=lambda: SyncUnitOfWork(database.sync_engine),
        close=opened.close,
    )
