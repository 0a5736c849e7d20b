"""Clients of Redis fail fast."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.adapters.redis import create_redis, create_sync_redis


async def ping(url: str) -> None:
    """Send a command on an event loop."""
    async with create_redis(url) as client:
        await client.ping()


def sync_ping(url: str) -> None:
    """Send a command without an event loop."""
    with create_sync_redis(url) as client:
        client.ping()


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_one_try(mode: str) -> None:
    """A command tries once: a Redis that hangs up is an error at once, not after pauses and further connections."""
    taken: list[str] = []

    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append("connection")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        url = f"redis://{host}:{port}/0"
        with pytest.raises(RedisConnectionError):
            await (ping(url) if mode == "async" else asyncio.to_thread(sync_ping, url))
    assert taken == ["connection"]
