"""What sends messages to a broker, one module for each; a service imports that of its own broker alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...core.broker_url import read_broker_url


class Transport(Protocol):
    """Sends to one queue; made without a connection, which the first message opens."""

    async def send(self, messages: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
        """Send messages in their order; the broker has them all, and keeps them, when this returns.

        Args:
            messages: Each as its body and its headers, which are text or numbers.

        Raises:
            BrokerError: The broker did not take them, or it is not known whether it did.

        """

    async def aclose(self) -> None:
        """Close the connections."""


def message_transport(url: str, queue: str, timeout: float) -> Transport:
    """Return what sends to a queue.

    Args:
        url: Where the broker is, as `BROKER_URL` has it.
        queue: Where the messages are to wait.
        timeout: Seconds after which the broker counts as not reached.

    Raises:
        ValueError: The URL names no broker for messages; the text says which are.

    """
    broker = read_broker_url(url)
    if broker.kind == "sqlite":
        from .sqlite import SqliteTransport

        return SqliteTransport(broker.path, queue, timeout)
    if broker.kind == "redis":
        from .redis import RedisTransport

        return RedisTransport(url, queue, timeout)
    if broker.kind == "amqp":
        from .rabbitmq import RabbitTransport

        return RabbitTransport(url, queue, timeout)
    msg = f"BROKER_URL: received {url!r}; allowed for messages: sqlite:///<file>, redis://…, amqp://…"
    raise ValueError(msg)
