"""The stores of idempotency records that need no database: in Redis, or in the memory of one process.

Both keep an answer after the effect of its operation: at most once per lease.
"""

from typing import TYPE_CHECKING

from ..core.idempotency import IdempotencyStore, SyncIdempotencyStore
from ..core.logging import get_logger
from ..settings import ConfigurationError, Settings
from .idempotency_memory import MemoryIdempotencyStore, SyncMemoryIdempotencyStore

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

log = get_logger(__name__)


def store_beside(settings: Settings, redis: "AsyncRedis | None" = None) -> IdempotencyStore | None:
    """Return the store that the settings choose beside the database, or None when they choose the database.

    Args:
        settings: What chooses.
        redis: The client, where Redis is used.

    Raises:
        ConfigurationError: The chosen store cannot work here.

    """
    if settings.idempotency.store == "memory":
        _warn_of_memory()
        return MemoryIdempotencyStore()
    if settings.idempotency.store == "redis":
        # Not at the top: many services have no Redis.
        from .idempotency_redis import RedisIdempotencyStore

        if redis is None:
            raise ConfigurationError(_NO_CLIENT)
        return RedisIdempotencyStore(redis, service=settings.service_name, timeout=settings.idempotency.timeout)
    return None


def sync_store_beside(settings: Settings, redis: "Redis | None" = None) -> SyncIdempotencyStore | None:
    """Return the same for code that runs no event loop.

    Args:
        settings: What chooses.
        redis: The client, where Redis is used.

    Raises:
        ConfigurationError: The chosen store cannot work here.

    """
    if settings.idempotency.store == "memory":
        _warn_of_memory()
        return SyncMemoryIdempotencyStore()
    if settings.idempotency.store == "redis":
        from .idempotency_redis import SyncRedisIdempotencyStore

        if redis is None:
            raise ConfigurationError(_NO_CLIENT)
        return SyncRedisIdempotencyStore(redis, service=settings.service_name)
    return None


def sync_redis_for(settings: Settings) -> "Redis | None":
    """Return a client for code that runs no event loop, where something is kept in Redis.

    Args:
        settings: What chooses.

    """
    if settings.idempotency.store != "redis" or settings.redis_url is None:
        return None
    from .redis import create_sync_redis

    return create_sync_redis(settings.redis_url, timeout=settings.idempotency.timeout)


_NO_CLIENT = "IDEMPOTENCY__STORE: received 'redis'; allowed only with REDIS_URL, such as redis://127.0.0.1:6379/0"


def _warn_of_memory() -> None:
    log.warning("idempotency.memory_store", promise="for this process only, forgotten at its end")
