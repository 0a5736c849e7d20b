"""Send messages to a stream of Redis.

A message is an entry with the fields `body` and `headers`. What Redis has taken outlives its crash as far as it is set
up to write it down: nothing without `appendonly yes`, the last second with `appendfsync everysec`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from ...core.errors import BrokerError
from ..redis import create_redis
from .batching import Batching

BODY = "body"
HEADERS = "headers"
_BATCH = 100
_Message = tuple[bytes, str]


class RedisTransport:
    """Sends to a stream.

    Args:
        url: Where Redis is.
        queue: The stream's name.
        timeout: Seconds after which Redis counts as not reached.

    """

    def __init__(self, url: str, queue: str, timeout: float) -> None:
        self._url = url
        self._queue = queue
        self._timeout = timeout
        self._client: Redis | None = None
        # For many senders at once a connection for each would be too many.
        self._sending: Batching[Sequence[_Message]] = Batching(self._send, limit=_BATCH)

    async def send(self, messages: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
        """Send messages, all of them or none.

        Args:
            messages: Each as its body and its headers.

        Raises:
            BrokerError: Redis did not take them, or its answer did not come.

        """
        if messages:
            await self._sending.add([(body, json.dumps(dict(headers))) for body, headers in messages])

    async def _send(self, batches: Sequence[Sequence[_Message]]) -> None:
        messages = [message for batch in batches for message in batch]
        if self._client is None:
            self._client = create_redis(self._url, timeout=self._timeout)
        pipeline = self._client.pipeline(transaction=len(messages) > 1)
        for body, headers in messages:
            pipeline.xadd(self._queue, {BODY: body, HEADERS: headers})
        with failing(self._url):
            await pipeline.execute()

    async def aclose(self) -> None:
        """Close the connections, after what was sent before."""
        await self._sending.finish()
        if self._client is not None:
            await self._client.aclose()


@contextmanager
def failing(url: str) -> Iterator[None]:
    """Raise what Redis fails with inside the block as a `BrokerError`, without the credentials of the URL.

    Args:
        url: Where Redis is.

    """
    try:
        yield
    except ResponseError as error:
        # It may repeat what was refused: a password, or a message.
        raise BrokerError(_text(url, f"it refused with {_code(error)}"), retry_after=1) from None
    except (RedisError, OSError) as error:
        raise BrokerError(_text(url, type(error).__name__), retry_after=1) from error


def _code(error: ResponseError) -> str:
    """Return the client's name for an error, or the first word of what Redis said, such as NOGROUP."""
    if type(error) is not ResponseError:
        return type(error).__name__
    # Of several commands the client quotes the one that failed, and its answer.
    code = str(error).rpartition("caused error: ")[2].lstrip("('\"").partition(" ")[0]
    return code if code.isupper() and code.isalpha() else "ERR"


def _text(url: str, reason: str) -> str:
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
    return (
        f"BROKER_URL: received {where!r} ({reason}); allowed: a Redis of at least 6.2 that answers and takes messages"
    )
