"""A daemon as a process of its own, and what publishes to it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.adapters.message_publisher import MessagePublisher
from app.core.messages import Message, new_message
from app.daemon.configuration import DaemonSettings
from app.settings import load_settings_of

from ..running import Running, until


class RunningDaemon(Running):
    """A daemon that runs in a folder; its embedded queue is there too.

    Args:
        folder: Where it runs.
        arguments: Of `python -m app.daemon`.
        module: What starts it, among the tests.
        variables: Its settings, as environment variables.

    """

    def __init__(self, folder: Path, *arguments: str, module: str = "launch", **variables: str) -> None:
        super().__init__(folder, f"tests.daemon.{module}", *arguments, ready=("daemon.ready",), **variables)

    def publish(self, *messages: Message) -> None:
        """Send messages to this daemon's queue.

        Args:
            messages: Which.

        """
        publish(self.folder, messages, **self.variables)


@contextmanager
def running_daemon(
    folder: Path, *arguments: str, ready: bool = True, module: str = "launch", **variables: str
) -> Iterator[RunningDaemon]:
    """Run a daemon, and leave no process behind.

    Args:
        folder: Where.
        arguments: Of `python -m app.daemon`.
        ready: Whether to wait until it takes messages.
        module: What starts it, among the tests.
        variables: Its settings, as environment variables.

    """
    daemon = RunningDaemon(folder, *arguments, module=module, **variables)
    try:
        if ready:
            until(lambda: daemon.is_ready, "a daemon that is ready", tell=daemon.tail)
        yield daemon
    finally:
        daemon.kill()


def placed(order_id: str, kind: str = "order.placed", **data: Any) -> Message:
    """Return the message that an order was placed.

    Args:
        order_id: Which.
        kind: The message's type, if it is another one.
        data: What else it says.

    """
    return new_message(kind, {"order_id": order_id, **data}, id=order_id)


def publish(folder: Path, messages: Sequence[Message], **variables: str) -> None:
    """Send messages to the queue of a daemon in a folder.

    Args:
        folder: The daemon's.
        messages: Which.
        variables: Its settings, as environment variables.

    """
    broker = variables.get("BROKER_URL", f"sqlite:///{folder / 'var' / 'queue.db'}")
    settings = load_settings_of(DaemonSettings, broker_url=broker)

    async def send() -> None:
        publisher = MessagePublisher(settings, queue=settings.daemon.queue, timeout=60.0)
        try:
            await publisher.send(messages)
        finally:
            await publisher.aclose()

    asyncio.run(send())
