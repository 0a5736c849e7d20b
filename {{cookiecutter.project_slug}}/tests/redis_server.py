"""Redis, as far as a test has it to itself: under a name that no other test has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from uuid import uuid4

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

SERVER = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


@dataclass(frozen=True, slots=True)
class OwnRedis:
    """A server and what begins every key of the test's own."""

    url: str
    service: str

    def client(self) -> Redis:
        """Return a client that looks at what is stored; the caller closes it."""
        return _client(self.url)

    def stored(self) -> list[bytes]:
        """Return the keys that begin with the name."""
        with self.client() as client:
            return list(client.scan_iter(match=f"{self.service}*"))


@contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """Return a Redis without keys under the test's name; skips by name when the server is not reachable."""
    reason = _unreachable()
    if reason:
        pytest.skip(f"Redis: {SERVER} is not reachable ({reason})")
    own = OwnRedis(SERVER, f"test_{uuid4().hex}")
    try:
        yield own
    finally:
        left = own.stored()
        with own.client() as client:
            if left:
                client.delete(*left)


@lru_cache(maxsize=1)
def _unreachable() -> str:
    """Return why the server cannot be used, or nothing."""
    try:
        with _client(SERVER) as client:
            client.ping()
    except RedisError as error:
        return str(error)
    return ""


def _client(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0))
