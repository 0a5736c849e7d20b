"""Messages to RabbitMQ: quorum queues, and nothing counts as sent before the broker has confirmed it.

The names and the arguments of the queues stand here once, for who sends and for who receives.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, DeliveryMode
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelPreconditionFailed, PublishError
from yarl import URL

from ...core.errors import BrokerError
from ...core.redaction import redact_text
from ...settings import ConfigurationError
from ..broker import DEAD

# Seconds between two signs of life; three that fail to come, and the connection counts as lost.
HEARTBEAT = 10
# Seconds until a connection that is closed may say so: one whose peer is gone never does.
CLOSE_SECONDS = 2.0
# What is on its way at once, of a long list of messages.
PAGE = 200
# More often than a daemon delivers anything (DAEMON__MAX_DELIVERIES), and fixed: all who declare the queue must agree.
# What comes this far, though no daemon was able to bury it, RabbitMQ buries by itself.
DELIVERY_LIMIT = 120
# How often a dead letter may be looked at: that counts as a delivery.
LOOKS = 1_000_000
# How long the messages of a queue of those that wait are kept back, in milliseconds.
DELAYS = (100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000)
_QUORUM = {"x-queue-type": "quorum"}
# So that nothing is lost between two queues, and the price of it: RabbitMQ asks for the second with the first.
_CERTAIN = {"x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
_ERRORS = (*CONNECTION_EXCEPTIONS, TimeoutError)


@asynccontextmanager
async def broker_errors(seconds: float) -> AsyncIterator[None]:
    """Raise what the broker or its client raises as our own error, without credentials, and wait no longer than this.

    Args:
        seconds: How long.

    Raises:
        BrokerError: The broker does not answer in time, or refuses.

    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except _ERRORS as error:
        raise _broker_error(error) from error
    except asyncio.CancelledError as error:
        # The client cancels whoever waits on a connection that breaks; who is asked to end from outside counts it.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _broker_error(error) from error


def _broker_error(error: BaseException) -> BrokerError:
    said = redact_text(str(error))[:200]
    return BrokerError(f"RabbitMQ: {type(error).__name__}{': ' if said else ''}{said}", retry_after=1)


async def connect(url: str, seconds: float, name: str) -> AbstractConnection:
    """Return a connection; certificates are verified, and so is whose they are.

    Args:
        url: Where the broker is.
        seconds: Until it counts as not reached.
        name: What the broker's own lists show.

    Raises:
        BrokerError: It does not answer in time, or refuses.

    """
    address = URL(url)
    given = {"heartbeat": str(HEARTBEAT), "name": name, **address.query}
    async with broker_errors(seconds):
        return await aio_pika.connect(address.with_query(given), connection_class=_Connection)


class _Connection(aio_pika.Connection):
    """A connection that nobody closes but who opened it.

    The client's own begins to close itself when it is collected, on whichever thread that is. Where no event loop runs
    all that comes of it is a warning, of each connection that could not be opened as well.
    """

    def __del__(self) -> None:
        """Do nothing."""


async def close(connection: AbstractConnection | None) -> None:
    """Close a connection, whatever state it is in.

    Args:
        connection: The connection; None does nothing.

    """
    if connection is not None:
        with suppress(BrokerError):
            async with broker_errors(CLOSE_SECONDS):
                await connection.close()


def delayed_queue(queue: str, milliseconds: int) -> str:
    """Return the name of the queue for messages that wait this long before they are back in theirs.

    Args:
        queue: Theirs.
        milliseconds: One of `DELAYS`.

    """
    return f"{queue}.delayed.{milliseconds}"


def delay_of(seconds: float) -> int:
    """Return the smallest of `DELAYS` that is no shorter, in milliseconds; of longer ones the longest there is.

    Args:
        seconds: How long a message shall wait.

    """
    return next((delay for delay in DELAYS if delay >= seconds * 1000), DELAYS[-1])


async def declare(connection: AbstractConnection, queue: str, *, ordered: bool = False) -> None:
    """Make a queue and the one for its dead letters, where they are not there yet.

    Args:
        connection: The connection.
        queue: The queue's name.
        ordered: Whether one receiver at a time has its messages.

    Raises:
        ConfigurationError: There is one of this name that is another kind of queue.

    """
    single = {"x-single-active-consumer": True} if ordered else {}
    limit = {"x-delivery-limit": DELIVERY_LIMIT, "x-dead-letter-routing-key": f"{queue}{DEAD}"}
    await _declare(connection, f"{queue}{DEAD}", {**_QUORUM, "x-delivery-limit": LOOKS})
    await _declare(connection, queue, {**_QUORUM, **_CERTAIN, **limit, **single})


async def declare_delayed(connection: AbstractConnection, queue: str, milliseconds: int) -> None:
    """Make the queue for messages that wait, where it is not there yet.

    Args:
        connection: The connection.
        queue: The queue that they come back to.
        milliseconds: One of `DELAYS`.

    Raises:
        ConfigurationError: There is one of this name that is another kind of queue.

    """
    back = {"x-message-ttl": milliseconds, "x-dead-letter-routing-key": queue}
    await _declare(connection, delayed_queue(queue, milliseconds), {**_QUORUM, **_CERTAIN, **back})


async def _declare(connection: AbstractConnection, name: str, arguments: dict[str, Any]) -> None:
    # A channel of its own: a refusal closes it.
    async with connection.channel() as channel:
        try:
            await channel.declare_queue(name, durable=True, arguments=arguments)
        except ChannelPreconditionFailed as error:
            said = str(error)[:200]
            msg = (
                f"the queue {name!r} is there with other arguments ({said}); allowed: one that this service made, "
                "with the same DAEMON__ORDERED; empty and delete it (rabbitmqctl delete_queue), or choose another name "
                "by DAEMON__QUEUE"
            )
            raise ConfigurationError(msg) from error


async def publishing_channel(connection: AbstractConnection) -> AbstractChannel:
    """Return a channel on which a message that is not confirmed, or that no queue takes, is an error.

    Args:
        connection: The connection.

    """
    return await connection.channel(publisher_confirms=True, on_return_raises=True)


async def send(channel: AbstractChannel, queue: str, messages: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
    """Send messages in their order, and return when all are confirmed.

    Args:
        channel: What `publishing_channel` returned.
        queue: Where to.
        messages: The body and the headers of each.

    """
    for start in range(0, len(messages), PAGE):
        # The client sends in the order in which its tasks begin; each of them waits for the answer to its own.
        page = [_publish(channel, queue, *message) for message in messages[start : start + PAGE]]
        found = await asyncio.gather(*page, return_exceptions=True)
        for error in found:
            if isinstance(error, BaseException):
                raise error


async def _publish(channel: AbstractChannel, queue: str, body: bytes, headers: Mapping[str, Any]) -> None:
    message = aio_pika.Message(
        body, headers=dict(headers), content_type="application/json", delivery_mode=DeliveryMode.PERSISTENT
    )
    await channel.default_exchange.publish(message, routing_key=queue)


class RabbitTransport:
    """Sends messages to one queue; connected when it is first used, and anew after a connection broke.

    Args:
        url: Where the broker is.
        queue: The queue's name.
        timeout: Seconds until messages count as not sent.

    """

    def __init__(self, url: str, queue: str, timeout: float) -> None:
        self._url = url
        self._queue = queue
        self._timeout = timeout
        self._opened: _Opened | None = None
        self._connecting = asyncio.Lock()
        self._declaring = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, messages: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
        """Send messages, in their order.

        Args:
            messages: The body and the headers of each.

        Raises:
            BrokerError: At least one of them was not confirmed; any of them may have been sent.
            ConfigurationError: There is something else where the queue should be.

        """
        used: _Opened | None = None
        try:
            async with broker_errors(self._timeout):
                used = await self._open()
                await self._send(used, messages)
        except BrokerError:
            self._abandon(used)
            raise

    async def _send(self, opened: "_Opened", messages: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
        try:
            await send(opened.channel, self._queue, messages)
        except PublishError:
            # There is no such queue yet: nobody has received anything from it. One at a time: RabbitMQ may refuse to
            # make what it is making.
            async with self._declaring:
                await declare(opened.connection, self._queue)
            await send(opened.channel, self._queue, messages)

    async def _open(self) -> "_Opened":
        async with self._connecting:
            if self._opened is None or self._opened.channel.is_closed:
                self._abandon(self._opened)
                connection = await connect(self._url, self._timeout, "publisher")
                self._opened = _Opened(connection, await publishing_channel(connection))
            return self._opened

    def _abandon(self, used: "_Opened | None") -> None:
        """Let the next message have a new connection, unless it has one already."""
        if used is not None and used is self._opened:
            self._opened = None
            # Not waited for: a connection that is broken may be slow to say so.
            task = asyncio.ensure_future(close(used.connection))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close the connection; what is sent later opens a new one."""
        self._abandon(self._opened)
        await asyncio.gather(*self._closing, return_exceptions=True)


class _Opened(NamedTuple):
    connection: AbstractConnection
    channel: AbstractChannel
