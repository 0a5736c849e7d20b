"""The relay: sends what is in the outbox, at least once and in the order of its keys.

It sends first and deletes afterwards. One that dies in between sends again, with the same ids; nothing is lost.
Several share the work (`outbox_rows`).
"""

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Protocol

from ..adapters.outbox import OutboxMetrics
from ..bootstrap import Services
from ..core.logging import get_logger
from ..core.messages import Message, MessageUnreadableError, read_message
from ..core.outbox import Row, next_size
from ..core.retry import RetryPolicy, longest_pause
from .configuration import DaemonSettings
from .outbox_rows import Taken, outbox_rows

log = get_logger(__name__)
BATCH = 100
# That many messages may take so long; longer than a publisher waits for one.
SEND_SECONDS = 10.0
SAMPLE_SECONDS = 5.0


class Publisher(Protocol):
    """What sends; `adapters.message_publisher.MessagePublisher` does."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages as they are, in their order.

        Raises:
            BrokerError: The broker did not take them all.

        """


class OutboxRelay:
    """Sends what is in the outbox; a background task, as many as there are daemons.

    Args:
        services: What it works with.
        publisher: What sends to the daemon's own queue.
        settings: How often it looks, and how long it pauses when that fails.
        others: What sends to other queues, by their names; messages for a queue that no relay serves stay.
        batch: How many messages are sent together at most.
        timeout: Seconds that that may take.

    """

    def __init__(
        self,
        *,
        services: Services,
        publisher: Publisher,
        settings: DaemonSettings,
        others: Mapping[str, Publisher] | None = None,
        batch: int = BATCH,
        timeout: float = SEND_SECONDS,
    ) -> None:
        own = {"": publisher, settings.daemon.queue: publisher}
        self._publishers: dict[str, Publisher] = {**(others or {}), **own}
        self._metrics = OutboxMetrics(services.metrics.registry)
        self._interval = settings.daemon.outbox_interval
        self._policy = RetryPolicy(
            backoff=settings.daemon.restart_backoff, backoff_max=settings.daemon.restart_backoff_max
        )
        self._timeout = _send_timeout(timeout, settings.database.idle_transaction_timeout)
        lease = self._timeout + settings.daemon.visibility_timeout
        self._rows = outbox_rows(services.database, lease=lease)
        self._batch = self._size = batch
        self._in_hand = 0
        self._failures = 0
        self._sample_at = 0.0

    async def run(self) -> None:
        """Send until the task is cancelled; what fails is tried again."""
        while True:
            try:
                await self._sample()
                pause = await self._relay()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the messages are still there
                pause = self._failed(error)
            await asyncio.sleep(pause)

    async def _relay(self) -> float:
        """Send some messages, and return the pause after that."""
        async with self._rows.taken(self._publishers, self._size) as taken:
            self._in_hand, began = len(taken.rows), time.monotonic()
            async with asyncio.timeout(self._timeout):
                for publisher, messages in self._readable(taken):
                    await publisher.send(messages)
            share = (time.monotonic() - began) / self._timeout
        if taken.rows:
            self._size = next_size(self._size, limit=self._batch, share=share)
            self._count(taken)
        # Where another relay has what is left, this one does not know yet whether it could send.
        if self._failures and (taken.rows or not await self._rows.pending()):
            log.info("outbox.restored", attempts=self._failures)
            self._failures = 0
        return 0.0 if taken.rows else self._interval

    def _count(self, taken: Taken) -> None:
        self._metrics.relayed("sent", len(taken.sent))
        self._metrics.relayed("unreadable", len(taken.faults))
        log.debug("outbox.relayed", messages=len(taken.sent))

    def _readable(self, taken: Taken) -> Iterator[tuple[Publisher, list[Message]]]:
        """Yield what can be sent, by queue, without changing the order."""
        for queue, rows in groupby(taken.rows, lambda row: row.queue):
            messages = [message for row in rows if (message := _read(row, taken.faults)) is not None]
            if messages:
                yield self._publishers[queue], messages

    async def _sample(self) -> None:
        now = time.monotonic()
        if now >= self._sample_at:
            self._sample_at = now + SAMPLE_SECONDS
            self._metrics.pending(await self._rows.pending())

    def _failed(self, error: Exception) -> float:
        """Note a failure, and return the pause after it, which differs between relays that failed together."""
        self._failures += 1
        self._size = next_size(self._in_hand or self._size, limit=self._batch, share=None)
        self._in_hand = 0
        self._metrics.relayed("failed")
        if self._failures == 1:
            log.warning("outbox.failed", exc_info=error)
        return random.uniform(0.0, longest_pause(self._policy, self._failures))  # noqa: S311 -- nobody gains by guessing


def _read(row: Row, faults: dict[int, str]) -> Message | None:
    try:
        return read_message(row.body or "")
    except MessageUnreadableError as error:
        faults[row.id] = str(error)
    log.error("outbox.unreadable", row=row.id, fault=faults[row.id])
    return None


def _send_timeout(seconds: float, idle: float) -> float:
    """Return what sending may take: the server ends a transaction in which nothing happens for too long."""
    return min(seconds, idle / 2) if idle else seconds
