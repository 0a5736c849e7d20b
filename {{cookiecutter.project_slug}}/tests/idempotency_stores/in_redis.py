"""Stores in Redis."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from app.adapters.idempotency_redis import RedisIdempotencyStore, SyncRedisIdempotencyStore
from app.adapters.redis import create_redis, create_sync_redis

from ..redis_server import own_redis
from .opened import PATIENCE, Opened, Threaded

KINDS = ("redis-async", "redis-sync")
PLACES = ("redis",)
RIVAL = """
from app.adapters.idempotency_redis import RedisIdempotencyStore
from app.adapters.redis import create_redis

def open_store(url, service):
    return RedisIdempotencyStore(create_redis(url), service=service, timeout=10)
"""


@asynccontextmanager
async def open_kind(kind: str, _folder: Path, _request: object) -> AsyncIterator[Opened]:
    """Open a store."""
    with own_redis() as own:
        inside = own.client()

        def damage(**fields: Any) -> None:
            (key,) = own.stored()
            inside.hset(key, items=[part for field in fields.items() for part in field])

        def dump() -> str:
            return str([(key, inside.hgetall(key)) for key in own.stored()])

        sync = create_sync_redis(own.url, timeout=PATIENCE)
        client = create_redis(own.url, timeout=PATIENCE)

        def again() -> Any:
            if kind.endswith("-sync"):
                return Threaded(SyncRedisIdempotencyStore(sync, service=own.service))
            return RedisIdempotencyStore(client, service=own.service, timeout=PATIENCE)

        try:
            yield Opened(again(), damage, dump, again=again)
        finally:
            inside.close()
            sync.close()
            await client.aclose()


@contextmanager
def open_place(_place: str, _folder: Path, _request: object) -> Iterator[tuple[str, str]]:
    """Return where processes share a store, and the name of its owner."""
    with own_redis() as own:
        yield own.url, own.service
