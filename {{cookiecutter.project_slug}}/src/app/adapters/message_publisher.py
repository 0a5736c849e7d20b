"""Publish messages to a daemon: from a request, a task or a script, with the ids and the trace of the sender.

    messages = MessagePublisher(settings, metrics=MessageMetrics(services.metrics))
    await messages.publish("order.placed", {"order_id": "o-1"})       # in a coroutine
    messages.publish_sync("order.placed", {"order_id": "o-1"})        # in code without an event loop

A service that publishes over RabbitMQ needs its client as well: `uv add 'aio-pika>=10.2,<11'`.
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from opentelemetry.trace import SpanKind, StatusCode

from ..core.broker_url import read_broker_url
from ..core.context import current_context
from ..core.errors import BrokerError
from ..core.messages import Message, new_message, write_message
from ..core.spans import RecordedSpan, record_error, recorded_span
from ..core.task_headers import SENT_AT, task_headers
from ..core.tracing import current_trace
from ..settings import ConfigurationError, Settings
from .loop_thread import LoopThread, call_in_forks
from .message_transports import Transport, message_transport

# What OpenTelemetry calls a broker (https://opentelemetry.io/docs/specs/semconv/messaging/).
SYSTEMS = {"amqp": "rabbitmq", "redis": "redis", "sqlite": "sqlite"}
DEFAULT_QUEUE = "orders"
# Seconds until the broker has taken a message: a request waits for it.
TIMEOUT = 2.0
# What bounds the whole is a little longer than what bounds one connection, so that this one notices, and is closed.
_MARGIN = 1.1
_ALLOWED = "the broker of the daemon: sqlite:///<file>, redis://<host>:<port>/<number> or amqp://<host>:<port>/"


class MessageMetrics(Protocol):
    """What counts messages that are published."""

    def published(self, kind: str, outcome: str) -> None:
        """Count a message by its type, as `sent` or `failed`."""


class MessagePublisher:
    """Publishes messages; one for the whole process, from any of its threads and event loops.

    Args:
        settings: Where the broker is: `BROKER_URL`.
        queue: Where the daemon looks for messages, its `DAEMON__QUEUE`.
        metrics: What counts messages that are published.
        timeout: Seconds after which the broker counts as not reached.

    Raises:
        ConfigurationError: There is no broker for messages, or its client is not installed.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        queue: str = DEFAULT_QUEUE,
        metrics: MessageMetrics | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._url = _broker_of(settings)
        self._system = SYSTEMS[read_broker_url(self._url).kind]
        self._queue = queue
        self._metrics = metrics
        self._timeout = timeout
        # Each event loop has connections of its own.
        self._transports: dict[asyncio.AbstractEventLoop, Transport] = {}
        self._thread = LoopThread("message publisher")
        self._begin_anew()
        call_in_forks(self._begin_anew)

    async def publish(
        self,
        type: str,  # noqa: A002 -- as the message calls it
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 -- as above
        key: str | None = None,
        deadline: float | None = None,
    ) -> str:
        """Publish a message, and return its id.

        Args:
            type: What happened, such as `order.placed`.
            data: What is to be known of it: what JSON has a form for.
            id: Which one it is, if it is sent again; by default a new one.
            key: Within which order is kept.
            deadline: When nobody needs it any more, in seconds since 1970.

        Raises:
            BrokerError: The broker did not take it in time.
            MessageUnreadableError: A value is not allowed.
            TypeError: The data is no JSON.

        """
        publishing = self._prepared(type, data, id=id, key=key, deadline=deadline)
        with publishing:
            await self._deliver([publishing.message])
        return publishing.message.id

    def publish_sync(
        self,
        type: str,  # noqa: A002 -- as the message calls it
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 -- as above
        key: str | None = None,
        deadline: float | None = None,
    ) -> str:
        """Publish a message from code without an event loop, and return its id; see `publish`.

        Args:
            type: What happened.
            data: What is to be known of it.
            id: Which one it is.
            key: Within which order is kept.
            deadline: When nobody needs it any more.

        Raises:
            BrokerError: The broker did not take it in time.
            MessageUnreadableError: A value is not allowed.
            TypeError: The data is no JSON.

        """
        publishing = self._prepared(type, data, id=id, key=key, deadline=deadline)
        with publishing:
            try:
                self._thread.run(self._deliver([publishing.message]), 2 * self._timeout)
            except TimeoutError as error:
                raise _too_late() from error
        return publishing.message.id

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages as they are, in their order.

        Args:
            messages: The messages.

        Raises:
            BrokerError: The broker did not take all of them in time; any of them may have been sent.
            TypeError: What one of them holds is no JSON.

        """
        outcome = "failed"
        try:
            await self._deliver(messages)
            outcome = "sent"
        finally:
            for message in messages:
                self._count(message.type, outcome)

    async def aclose(self) -> None:
        """Close the connections of this event loop and of code without one; what is sent later opens new ones."""
        with self._lock:
            transport = self._transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Close the connections of code without an event loop; what is sent later opens new ones."""
        if self._thread.is_running:
            with suppress(TimeoutError, BrokerError):
                self._thread.run(self._close_here(), 2 * self._timeout)
            self._thread.stop()

    async def _close_here(self) -> None:
        with self._lock:
            transport = self._transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.aclose()

    def _prepared(self, kind: str, data: Mapping[str, Any], **fields: Any) -> "_Publishing":
        message = new_message(kind, data, **fields)
        return _Publishing(message, self._system, self._queue, self._count)

    async def _deliver(self, messages: Sequence[Message]) -> None:
        written: list[tuple[bytes, dict[str, Any]]] = [(write_message(message), {}) for message in messages]
        transport = self._transport()
        try:
            async with asyncio.timeout(self._timeout * _MARGIN):
                try:
                    await transport.send(written)
                except BrokerError:
                    # A broker that was reached a moment ago may have restarted: once more, with a new connection.
                    await transport.send(written)
        except TimeoutError as error:
            raise _too_late() from error

    def _transport(self) -> Transport:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._transports:
                for closed in [other for other in self._transports if other.is_closed()]:
                    del self._transports[closed]
                self._transports[loop] = message_transport(self._url, self._queue, self._timeout)
            return self._transports[loop]

    def _begin_anew(self) -> None:
        """Leave alone what a parent process has opened; not even to close it is allowed with SQLite."""
        self._lock = threading.Lock()
        self._inherited, self._transports = self._transports, {}

    def _count(self, kind: str, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.published(kind, outcome)


class _Publishing:
    """A block in which one message is sent, with its sender's ids and position, below a span, and counted.

    Args:
        message: What is sent.
        system: What OpenTelemetry calls the broker.
        queue: Where to.
        count: Takes the type and the outcome.

    """

    def __init__(self, message: Message, system: str, queue: str, count: Any) -> None:
        self._span = _span(message, system, queue)
        self._count = count
        trace = current_trace() if self._span is None else self._span.trace
        headers = {**task_headers(current_context(), trace), SENT_AT: time.time()}
        self.message = Message(message.id, message.type, message.data, message.key, message.deadline, headers)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        """End the span, and count."""
        self._count(self.message.type, "sent" if error is None else "failed")
        if self._span is not None:
            if error is not None:
                self._span.set_status(StatusCode.ERROR)
                record_error(self._span, error)
            self._span.end()


def _span(message: Message, system: str, queue: str) -> RecordedSpan | None:
    above = recorded_span()
    if above is None:
        return None
    attributes = {
        "messaging.system": system,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": queue,
        "messaging.message.id": message.id,
        "messaging.message.type": message.type,
    }
    span: RecordedSpan = above.child(f"publish {message.type}", SpanKind.PRODUCER, attributes)
    return span


def _broker_of(settings: Settings) -> str:
    """Return where messages go.

    Args:
        settings: The settings.

    Raises:
        ConfigurationError: There is no broker for messages.

    """
    url = settings.broker_url
    if url is None:
        msg = f"BROKER_URL: received nothing; allowed: {_ALLOWED}"
        raise ConfigurationError(msg)
    if read_broker_url(url).kind not in SYSTEMS:
        msg = f"BROKER_URL: received {url!r}, which is for tasks alone; allowed: {_ALLOWED}"
        raise ConfigurationError(msg)
    if read_broker_url(url).kind == "amqp":
        _require_client()
    return url


def _require_client() -> None:
    try:
        import aio_pika  # noqa: F401 -- whether it is there
    except ImportError as error:
        msg = "BROKER_URL is RabbitMQ's, but aio-pika is not installed; add it: uv add 'aio-pika>=10.2,<11'"
        raise ConfigurationError(msg) from error


def _too_late() -> BrokerError:
    return BrokerError("the message was not sent: the broker did not take it in time", retry_after=1)
