"""SQLAlchemy's pools, watched."""

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, PoolProxiedConnection, QueuePool

from ..core.connection_pool import PoolMetrics, PoolState, PoolWatch


def pool_watch(metrics: PoolMetrics | None) -> PoolWatch:
    """Return what watches a pool of SQLAlchemy's.

    Args:
        metrics: What counts how long connections are waited for, and who waited in vain.

    """
    return PoolWatch(metrics, PoolTimeoutError)


def pool_state(watch: PoolWatch, pool: Pool) -> PoolState:
    """Return what a pool's connections do; asks the pool, not the database.

    Args:
        watch: What watches it.
        pool: The pool.

    """
    if not isinstance(pool, QueuePool):
        return PoolState()
    limit = pool.size() + pool._max_overflow  # noqa: SLF001 -- there is no method that tells it
    return PoolState(pool.checkedout(), pool.checkedin(), limit, watch.waiting, watch.timeouts)


def watched_pool(watch: PoolWatch, *, is_async: bool) -> type[Pool]:
    """Return the class of a pool that is watched; one that an engine makes anew is so too.

    Args:
        watch: What watches it.
        is_async: Whether who waits for a connection lets others work.

    """
    base = AsyncAdaptedQueuePool if is_async else QueuePool

    class WatchedPool(base):  # type: ignore[misc, valid-type] # it is one of two
        def connect(self) -> PoolProxiedConnection:
            connection: PoolProxiedConnection = watch.connect(super().connect)
            return connection

    # Its lines stay SQLAlchemy's, whose level keeps them out of the log.
    WatchedPool.__module__, WatchedPool.__name__ = base.__module__, base.__name__
    return WatchedPool
