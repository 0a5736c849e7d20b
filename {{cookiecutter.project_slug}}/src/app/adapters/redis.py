"""Clients of Redis that fail fast, and the span of a command.

A client connects at its first command. It tries once, however it is made: ten tries, redis-py's default for a client of
a host, cost four seconds for each command while Redis is down. A connection that Redis closed is noticed before it is
used again.

Spans are named by OpenTelemetry's conventions (https://opentelemetry.io/docs/specs/semconv/db/redis/), below the
current span where that one is recorded; keys and values are not on them.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry.trace import SpanKind
from redis import BlockingConnectionPool, Redis
from redis.asyncio import BlockingConnectionPool as AsyncBlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from ..core.spans import ending, recorded_span
from ..settings_groups import STEP_SECONDS

# Connections that may be open; past that a command waits for one.
MAX_CONNECTIONS = 50
_UNTRACED = nullcontext()


def create_redis(url: str, *, timeout: float = STEP_SECONDS) -> AsyncRedis:
    """Return a client for code on an event loop; `aclose` closes it.

    Args:
        url: Where Redis is.
        timeout: Seconds that a command may take, a new connection included.

    """
    pool = AsyncBlockingConnectionPool.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **_options(timeout))
    return AsyncRedis.from_pool(pool)


def create_sync_redis(url: str, *, timeout: float = STEP_SECONDS) -> Redis:
    """Return a client for code that runs no event loop; `close` closes it.

    Args:
        url: Where Redis is.
        timeout: Seconds that a command may take, a new connection included.

    """
    return Redis.from_pool(BlockingConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), **_options(timeout)))


def _options(timeout: float) -> dict[str, Any]:
    # Half for connecting and half for the answer: together they stay within the time.
    half = timeout / 2
    return {
        "socket_connect_timeout": half,
        "socket_timeout": half,
        "timeout": half,
        "max_connections": MAX_CONNECTIONS,
        # With them a client does not look whether Redis closed a connection, and waits ten times as long at times.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def command_span(client: AsyncRedis | Redis, command: str) -> AbstractContextManager[Any]:
    """Return a span for a command, or nothing where no trace is recorded.

    Args:
        client: Who sends it.
        command: Its name.

    """
    above = recorded_span()
    if above is None:
        return _UNTRACED
    address = client.connection_pool.connection_kwargs
    known = {
        "db.system.name": "redis",
        "db.operation.name": command,
        "db.namespace": str(address.get("db", 0)),
        "server.address": address.get("host", ""),
        "server.port": address.get("port", 0),
    }
    return ending(above.child(command, SpanKind.CLIENT, known))
