"""Queues of a test's own, on each of the brokers, and what sends to them and receives from them."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.adapters.message_transports import message_transport
from app.core.message_source import Delivery, MessageSource
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.sources import message_source

from ..processes import variables
from ..redis_server import own_redis

KINDS = ("sqlite", "redis", "rabbitmq")
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
# Far more than any of it takes.
PATIENCE = 60.0
# Receives what there is, says so, and never does anything with it.
_RECEIVER = """
import asyncio, sys
from app.daemon.configuration import DaemonSettings
from app.daemon.sources import message_source

async def main():
    source = message_source(DaemonSettings(environment="test", service_name="orders", service_version="1"))
    await source.open()
    received = 0
    while received < int(sys.argv[1]):
        received += len(await source.receive(int(sys.argv[1]) - received))
    print("received", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@dataclass(frozen=True)
class Place:
    """A queue of the test's own.

    Attributes:
        kind: Which broker.
        url: Where it is.
        queue: The queue's name.

    """

    kind: str
    url: str
    queue: str = field(default_factory=lambda: f"test_{uuid4().hex}")

    def settings(self, **daemon: Any) -> DaemonSettings:
        """Return the settings of a daemon on it.

        Args:
            daemon: What is not by default.

        """
        return DaemonSettings(
            environment="test",
            service_name="orders",
            service_version="1.2.3",
            broker_url=self.url,
            daemon=DaemonGroup(**{"queue": self.queue, "visibility_timeout": 1.0, **daemon}),
        )

    def source(self, **daemon: Any) -> MessageSource:
        """Return a source that is not open yet."""
        return message_source(self.settings(**daemon))

    @asynccontextmanager
    async def receiving(self, **daemon: Any) -> AsyncIterator[MessageSource]:
        """Return a source, open inside the block."""
        source = self.source(**daemon)
        await source.open()
        try:
            yield source
        finally:
            await source.aclose()

    async def send(self, *bodies: bytes, **headers: Any) -> None:
        """Send messages, all with these headers."""
        transport = message_transport(self.url, self.queue, 10.0)
        try:
            await transport.send([(body, headers) for body in bodies])
        finally:
            await transport.aclose()

    @asynccontextmanager
    async def killed_receiver(self, messages: int, **daemon: Any) -> AsyncIterator[None]:
        """Let another process receive that many; at the end of the block it has been killed with them."""
        own = {name.upper(): str(value) for name, value in {"queue": self.queue, "visibility_timeout": 1.0}.items()}
        given = {**own, **{name.upper(): str(value) for name, value in daemon.items()}}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RECEIVER, str(messages), stdout=asyncio.subprocess.PIPE,
            env=variables(BROKER_URL=self.url, **{f"DAEMON__{name}": value for name, value in given.items()}),
        )  # fmt: skip
        assert process.stdout is not None
        try:
            said = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
            assert said == b"received\n"
            yield
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextmanager
def own_place(kind: str, folder: Path) -> Iterator[Place]:
    """Return a queue of the test's own, deleted afterwards; skips by name where its broker is not there.

    Args:
        kind: Which broker.
        folder: For a broker that is a file.

    """
    if kind == "sqlite":
        yield Place(kind, f"sqlite:///{folder}/queue/messages.db")
    elif kind == "redis":
        with own_redis() as redis:
            yield Place(kind, redis.url, redis.service)
    else:
        pytest.importorskip("app.daemon.sources.rabbitmq", exc_type=ModuleNotFoundError)
        place = Place(kind, RABBITMQ)
        try:
            asyncio.run(_delete_from_rabbitmq(place))
        except OSError as error:
            pytest.skip(f"RabbitMQ: {RABBITMQ} is not reachable ({type(error).__name__})")
        try:
            yield place
        finally:
            asyncio.run(_delete_from_rabbitmq(place))


async def _delete_from_rabbitmq(place: Place) -> None:
    import aio_pika

    from app.adapters.message_transports.rabbitmq import DELAYS, delayed_queue

    connection = await aio_pika.connect(place.url, timeout=5)
    async with connection, connection.channel() as channel:
        for name in (place.queue, f"{place.queue}.dead", *(delayed_queue(place.queue, delay) for delay in DELAYS)):
            await channel.queue_delete(name)


async def received(source: MessageSource, number: int, *, limit: int = 100) -> list[Delivery]:
    """Return that many messages, however often they have to be asked for.

    Args:
        source: Where from.
        number: How many.
        limit: How many at once.

    """
    found: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < number:
        assert time.monotonic() < deadline, f"received {len(found)} of {number}"
        found += await source.receive(min(limit, number - len(found)))
    return found


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Return what a condition is at last.

    Args:
        condition: Asked again and again until it is true.
        what: How it is called when it never is.

    """
    deadline = time.monotonic() + PATIENCE
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.05)
    return found


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    """Return what was sent."""
    return [delivery.body for delivery in deliveries]
