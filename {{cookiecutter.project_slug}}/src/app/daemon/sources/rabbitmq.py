"""Messages from RabbitMQ: a quorum queue, which lends them until they are acknowledged or the connection is gone.

A message that waits for another attempt lies in a queue whose time-to-live brings it back; RabbitMQ moves it so that it
is never in none. The connection is not restored behind anybody's back: what breaks is a `BrokerError`, and `open`
begins anew.

RabbitMQ lends more than is asked for, and counts as a delivery what comes back, whether anybody has looked at it or
not. So no more is lent than is handled at once, until somebody asks for more, because what he has waits for others: of
many that were only lent none goes to the dead letters for the crashes of another. On an ordered queue RabbitMQ knows no
way to ask for more later.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from ...adapters.message_transports import rabbitmq as rabbit
from ...core.errors import BrokerError
from ...core.message_source import DEAD, Delivery, Letter
from ..configuration import DaemonSettings
from ..consumer import IN_HAND
from .rabbitmq_headers import ATTEMPT, WHY, delivery_of, letter_of

# Seconds that a receiver waits for a first message.
WAIT_SECONDS = 1.0
# Seconds until a broker that says nothing counts as away.
ANSWER_SECONDS = 5.0


class RabbitSource:
    """A queue of RabbitMQ; see `MessageSource`.

    Args:
        settings: Which broker, which queue, and how many messages are handled at once.

    """

    system = "rabbitmq"
    sends = True

    def __init__(self, settings: DaemonSettings) -> None:
        self._url = settings.broker_url
        self._daemon = settings.daemon
        self._queue = settings.daemon.queue
        self._connection: AbstractConnection | None = None
        self._sending: AbstractChannel | None = None
        self._arrived: asyncio.Queue[AbstractIncomingMessage | None] | None = None
        self._beginning = asyncio.Lock()
        self._delays: set[int] = set()
        self._consuming: AbstractChannel | None = None
        # Each of them is lent as many as are handled at once.
        self._consumers: list[tuple[AbstractQueue, str]] = []
        self._out: set[int] = set()
        self._shelf: AbstractChannel | None = None
        self._lent: dict[int, AbstractIncomingMessage] = {}

    async def open(self) -> None:
        """Connect, and make the queues that are not there yet; messages are asked for by the first `receive`.

        Raises:
            BrokerError: The broker does not answer, or refuses.
            ConfigurationError: One of the queues is there, and is another kind of queue.

        """
        await self.aclose()
        connection = await rabbit.connect(self._url, ANSWER_SECONDS, f"daemon {self._queue}")
        try:
            async with rabbit.broker_errors(ANSWER_SECONDS):
                await self._declare(connection)
                self._sending = await rabbit.publishing_channel(connection)
        except BaseException:
            await rabbit.close(connection)
            raise
        self._connection = connection

    async def _declare(self, connection: AbstractConnection) -> None:
        await rabbit.declare(connection, self._queue, ordered=self._daemon.ordered)
        longest = rabbit.delay_of(self._daemon.backoff_max)
        for delay in (delay for delay in rabbit.DELAYS if delay <= longest):
            await rabbit.declare_delayed(connection, self._queue, delay)
            self._delays.add(delay)

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Return messages, oldest first; none after about a second without any. Cancelled, it keeps none.

        Args:
            limit: How many at most.

        Raises:
            BrokerError: The broker is away, or took the queue away.

        """
        arrived = await self._asked(limit)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                found = [await arrived.get()]
        except TimeoutError:
            self._require()
            return ()
        while len(found) < limit and not arrived.empty():
            found.append(arrived.get_nowait())
        if found[-1] is None:
            # For those who wait as well, and whoever asks next.
            arrived.put_nowait(None)
        messages = [message for message in found if message is not None]
        if not messages:
            raise _lost()
        self._out.update(map(id, messages))
        return [delivery_of(message) for message in messages]

    async def _asked(self, limit: int) -> asyncio.Queue[AbstractIncomingMessage | None]:
        """Return where messages arrive, of which RabbitMQ has been asked for as many as are out, and these."""
        arrived = self._arrived
        wanted = self._wanted(limit)
        if arrived is not None and len(self._consumers) >= wanted:
            return arrived
        async with self._beginning, rabbit.broker_errors(ANSWER_SECONDS):
            channel, arrived = await self._begin()
            while len(self._consumers) < wanted:
                queue = await channel.get_queue(self._queue, ensure=False)
                tag = await queue.consume(arrived.put)
                self._consumers.append((queue, tag))
        return arrived

    def _wanted(self, limit: int) -> int:
        if self._daemon.ordered:
            # Only the first one of an ordered queue gets any.
            return 1
        return min(-(-(len(self._out) + limit) // self._daemon.concurrency), IN_HAND)

    async def _begin(self) -> tuple[AbstractChannel, asyncio.Queue[AbstractIncomingMessage | None]]:
        """Return the channel on which messages come, and where they arrive."""
        if self._consuming is not None and self._arrived is not None:
            return self._consuming, self._arrived
        channel = await self._require().channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=self._daemon.concurrency * (IN_HAND if self._daemon.ordered else 1))
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        channel.close_callbacks.add(lambda *_: arrived.put_nowait(None))
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: arrived.put_nowait(None))
        self._consuming, self._arrived = channel, arrived
        return channel, arrived

    def _require(self) -> AbstractConnection:
        """Return the connection, which is open."""
        connection, _ = self._opened()
        return connection

    def _opened(self) -> tuple[AbstractConnection, AbstractChannel]:
        if self._connection is None or self._sending is None or self._sending.is_closed:
            raise _lost()
        return self._connection, self._sending

    async def acknowledge(self, delivery: Delivery) -> None:
        """Say that a message is done.

        RabbitMQ confirms no such word, and what it is still working on is forgotten when the connection ends: of many
        at once, right before that, one may come again.

        Args:
            delivery: The message.

        Raises:
            BrokerError: The connection over which it came is gone: it comes again.

        """
        await self._done(delivery.receipt)

    async def _done(self, message: AbstractIncomingMessage) -> None:
        async with rabbit.broker_errors(ANSWER_SECONDS):
            # Not waiting until it is written: many go out with one write.
            await message.channel.basic_ack(_tag(message), wait=False)
        self._out.discard(id(message))

    async def try_again(self, delivery: Delivery, delay: float) -> None:
        """Let a message come again, as the next attempt; it waits for no less than that, see `DELAYS` of the transport.

        Args:
            delivery: The message.
            delay: In how many seconds; 0 is now.

        Raises:
            BrokerError: The broker is away: it comes again as the same attempt.

        """
        connection = self._require()
        headers = {**delivery.headers, ATTEMPT: delivery.attempt + 1}
        if delay <= 0:
            await self._move(delivery.receipt, self._queue, headers)
            return
        level = rabbit.delay_of(delay)
        if level not in self._delays:
            async with rabbit.broker_errors(ANSWER_SECONDS):
                await rabbit.declare_delayed(connection, self._queue, level)
            self._delays.add(level)
        await self._move(delivery.receipt, rabbit.delayed_queue(self._queue, level), headers)

    async def give_back(self, delivery: Delivery) -> None:
        """Let somebody else have a message now, and with it what came and nobody has received yet.

        RabbitMQ counts that as a delivery. On an ordered queue they stay here until the source is closed, which puts
        all of them back in their order: one by one they would come back behind others, and nobody else would get them.

        Args:
            delivery: The message.

        Raises:
            BrokerError: The connection over which it came is gone: it is given back already.

        """
        message = delivery.receipt
        async with rabbit.broker_errors(ANSWER_SECONDS):
            # Raises when its channel is closed.
            channel = message.channel
            if self._daemon.ordered:
                return
            await self._take_no_more()
            await channel.basic_nack(_tag(message), requeue=True, wait=False)
        self._out.discard(id(message))

    async def _take_no_more(self) -> None:
        """Ask for no more messages until the next `receive`: what is given back would come here again, and count."""
        async with self._beginning:
            while self._consumers:
                queue, tag = self._consumers[-1]
                await queue.cancel(tag)
                self._consumers.pop()
            arrived = self._arrived
            while arrived is not None and not arrived.empty():
                message = arrived.get_nowait()
                if message is None:
                    arrived.put_nowait(None)
                    return
                await message.channel.basic_nack(_tag(message), requeue=True, wait=False)

    async def bury(self, delivery: Delivery, why: Mapping[str, Any]) -> None:
        """Move a message to the dead letters: first there, for certain, and only then no longer here.

        Args:
            delivery: The message.
            why: The reason, the error and when.

        Raises:
            BrokerError: The broker is away: it comes again.

        """
        headers = {**delivery.headers, WHY: json.dumps(why, default=str)}
        await self._move(delivery.receipt, f"{self._queue}{DEAD}", headers)

    async def _move(self, message: AbstractIncomingMessage, queue: str, headers: Mapping[str, Any]) -> None:
        _, sending = self._opened()
        async with rabbit.broker_errors(ANSWER_SECONDS):
            # Raises when its channel is closed: somebody else has it by now.
            _ = message.channel
            await rabbit.send(sending, queue, [(message.body, headers)])
        await self._done(message)

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: messages are lent for as long as the connection lasts.

        Args:
            deliveries: Those that are worked on.

        Raises:
            BrokerError: It does not.

        """
        del deliveries
        self._require()

    async def ping(self) -> None:
        """Raise unless the broker answers.

        Raises:
            BrokerError: It does not.

        """
        async with rabbit.broker_errors(ANSWER_SECONDS), self._require().channel() as channel:
            await channel.get_queue(self._queue)

    async def backlog(self) -> int:
        """Return how many messages wait, those that are put off included.

        Raises:
            BrokerError: The broker is away.

        """
        names = [self._queue, *(rabbit.delayed_queue(self._queue, delay) for delay in sorted(self._delays))]
        async with rabbit.broker_errors(ANSWER_SECONDS), self._require().channel() as channel:
            found = [await channel.get_queue(name) for name in names]
        return sum(queue.declaration_result.message_count or 0 for queue in found)

    async def letters(self) -> AsyncIterator[Letter]:
        """Yield the dead letters, oldest first; they are lent to this source until it is closed, however that ends.

        Raises:
            BrokerError: The broker is away.

        """
        if self._shelf is None:
            async with rabbit.broker_errors(ANSWER_SECONDS):
                self._shelf = await self._require().channel(publisher_confirms=False)
        for message in list(self._lent.values()):
            yield letter_of(message)
        # Right after a restart RabbitMQ counts none where there are some; not any more when it has given one of them.
        # And no more than there were: what is replayed may be buried again meanwhile.
        found = await self._borrow(self._shelf)
        left = await self._count_dead(self._shelf) if found else 0
        while found is not None:
            yield letter_of(found)
            left -= 1
            found = await self._borrow(self._shelf) if left >= 0 else None

    async def _borrow(self, shelf: AbstractChannel) -> AbstractIncomingMessage | None:
        """Return the next dead letter that nobody has."""
        async with rabbit.broker_errors(ANSWER_SECONDS):
            queue = await shelf.get_queue(f"{self._queue}{DEAD}", ensure=False)
            found = await queue.get(fail=False)
        if found is not None:
            self._lent[_tag(found)] = found
        return found

    async def _count_dead(self, shelf: AbstractChannel) -> int:
        async with rabbit.broker_errors(ANSWER_SECONDS):
            queue = await shelf.get_queue(f"{self._queue}{DEAD}")
        return queue.declaration_result.message_count or 0

    async def replay(self, letter: Letter) -> None:
        """Send a dead letter once more, as a first attempt, and drop it from the dead letters.

        Args:
            letter: One that `letters` yielded.

        Raises:
            BrokerError: The broker is away: it is a dead letter still, or in both places.

        """
        await self._move(letter.receipt, self._queue, letter.headers)
        self._lent.pop(_tag(letter.receipt), None)

    async def drop(self, letter: Letter) -> None:
        """Drop a dead letter.

        Args:
            letter: One that `letters` yielded.

        Raises:
            BrokerError: The broker is away: it may be a dead letter still.

        """
        await self._done(letter.receipt)
        self._lent.pop(_tag(letter.receipt), None)

    async def aclose(self) -> None:
        """Close the connection; what was received and not acknowledged is another receiver's."""
        connection, self._connection = self._connection, None
        channels, self._sending, self._shelf, self._consuming = (self._consuming, self._shelf), None, None, None
        self._arrived = None
        self._consumers.clear()
        self._out.clear()
        self._delays.clear()
        self._lent.clear()
        for channel in channels:
            # What was acknowledged is told before the connection ends.
            if channel is not None and not channel.is_closed:
                with suppress(BrokerError):
                    async with rabbit.broker_errors(rabbit.CLOSE_SECONDS):
                        await channel.close()
        await rabbit.close(connection)


def _lost() -> BrokerError:
    return BrokerError("RabbitMQ: the connection is lost, or the queue is gone", retry_after=1)


def _tag(message: AbstractIncomingMessage) -> int:
    return message.delivery_tag or 0
