"""Receives messages, as many as can be handled at once, and handles those of one key one after the other.

A message is in hand from when it is received until the broker knows what became of it. One that waits, for the message
of the same key before it, for its next attempt or for the broker to be told that it is done, needs no slot, so that it
holds up nobody else; how many may wait is bounded too. What is in hand is kept from other daemons by telling the broker
so, again and again.

While messages end quickly some are received before there is a slot for them, many at once, for each question to a
broker costs as much as a message (`pace.py`).
"""

import asyncio
import random
from collections import deque
from collections.abc import Collection

from ..adapters.message_metrics import MessageMetrics
from ..bootstrap import Services
from ..core.errors import BrokerError
from ..core.logging import get_logger
from ..core.message_source import Delivery, MessageSource
from ..core.retry import RetryPolicy, longest_pause
from .configuration import DaemonSettings
from .handlers import Handlers
from .handlers import handlers as default_handlers
from .handling import Handling, Received
from .pace import Pace

log = get_logger("app.messages")
# How many messages may be in hand for each that may be handled at once: those that wait for others included.
IN_HAND = 10
# How often within the visibility timeout the broker is told what is in hand.
KEPT = 3
# How long what is cancelled may take to undo its work, and then the broker to take it back, in seconds.
UNDO_SECONDS = 2.0
# The pauses while the broker is away.
_BROKER = RetryPolicy(backoff=0.2, backoff_max=3.0)


class Consumer:
    """Handles the messages of a source until it is drained.

    Args:
        source: Where they come from.
        services: The process's parts.
        settings: How many at once, how often and for how long.
        handlers: Who handles which; by default those of `@handles`.

    """

    def __init__(
        self, *, source: MessageSource, services: Services, settings: DaemonSettings, handlers: Handlers | None = None
    ) -> None:
        daemon = settings.daemon
        self._source = source
        self._concurrency = daemon.concurrency
        self._keep_seconds = daemon.visibility_timeout / KEPT
        self._slots = asyncio.Semaphore(daemon.concurrency)
        self._pace = Pace(0 if source.sends else daemon.concurrency)
        self._metrics = MessageMetrics(services.metrics)
        self._metrics.watch_dead_letters()
        used = default_handlers if handlers is None else handlers
        self._handling = Handling(source, services, settings, used, self._metrics)
        self._in_hand: dict[int, Received] = {}
        self._tasks: dict[asyncio.Task[None], Received] = {}
        # By key, what waits for the message of that key which is handled now; gone when nothing does.
        self._followers: dict[str, deque[Received]] = {}
        self._waiting = 0
        self._freed = asyncio.Event()
        self._lost: BrokerError | None = None
        self._taking: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def in_hand(self) -> int:
        """How many messages were received and are not done."""
        return len(self._in_hand)

    async def run(self) -> None:
        """Receive and handle messages until `drain` has ended; a broker that is away is waited for.

        Handlers run beside this, not within it: when it crashes and begins again they have gone on.
        """
        if self._stopping:
            return
        async with asyncio.TaskGroup() as group:
            self._taking = group.create_task(self._take_always())
            self._keeping = group.create_task(self._keep_always())

    async def drain(self) -> None:
        """Take no more messages, give back those that were not begun, and wait for the others.

        Cancelled, as at a deadline, it cancels their handlers, which undoes what these did, and gives them back, too.
        """
        self._stopping = True
        try:
            await _cancel([self._taking] if self._taking else [])
            await self._give_back_waiting()
            while self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            await self._interrupt()
            raise
        finally:
            if self._keeping is not None:
                self._keeping.cancel()

    async def measure_backlog(self) -> None:
        """Show how many messages wait."""
        self._metrics.backlog(await self._source.backlog())

    async def _take_always(self) -> None:
        failures = 0
        while True:
            try:
                await self._open()
                failures = 0
                await self._take()
            except BrokerError as error:
                self._note_loss(error)
                failures += 1
                # Not all daemons at once, when it is back.
                await asyncio.sleep(longest_pause(_BROKER, failures) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _open(self) -> None:
        await self._source.open()
        if self._lost is not None:
            self._lost = None
            log.info("broker.restored")

    def _note_loss(self, error: BrokerError) -> None:
        if self._lost is None:
            log.error("broker.lost", code=error.code, exc_info=error)
        self._lost = error

    async def _take(self) -> None:
        while True:
            if self._lost is not None:
                raise self._lost
            free = self._free()
            if free > 0:
                for delivery in await self._source.receive(free):
                    self._accept(delivery)
            else:
                self._freed.clear()
                await self._freed.wait()

    def _free(self) -> int:
        """Return how many messages may be received now."""
        held = len(self._in_hand)
        free = self._concurrency - (held - self._waiting)
        if free >= 0:
            # Those that were received early have begun.
            free += self._pace.soon()
        return min(free, self._concurrency * IN_HAND - held)

    async def _keep_always(self) -> None:
        while True:
            await asyncio.sleep(self._keep_seconds)
            held = [received.delivery for received in self._in_hand.values()]
            if not held:
                continue
            try:
                await self._source.keep(held)
            except BrokerError as error:
                self._note_loss(error)
                self._freed.set()

    def _accept(self, delivery: Delivery) -> None:
        received = Received(delivery)
        self._in_hand[id(received)] = received
        key = received.key
        if key is not None:
            followers = self._followers.get(key)
            if followers is not None:
                followers.append(received)
                self._waiting += 1
                return
            self._followers[key] = deque()
        self._start(received)

    def _start(self, received: Received) -> None:
        task = asyncio.get_running_loop().create_task(self._work(received))
        self._tasks[task] = received
        task.add_done_callback(self._ended)

    async def _work(self, received: Received) -> None:
        while True:
            await self._slots.acquire()
            received.has_slot = received.is_running = True
            try:
                pause = await self._handling.attempt(received, self._done)
            finally:
                self._done(received)
                self._waiting -= 1
                received.is_running = False
            if pause is None:
                return
            if self._stopping:
                await self._give_back([received])
                return
            await self._pause(pause)

    def _done(self, received: Received) -> None:
        """Let another message have the slot of one that is handled, whatever the broker is still to be told of it."""
        if received.has_slot:
            received.has_slot = False
            self._waiting += 1
            is_last = self._waiting == len(self._in_hand)
            received.delivery.is_urgent = is_last or bool(self._followers.get(received.key or ""))
            self._pace.ended()
            self._slots.release()
            self._freed.set()

    async def _pause(self, seconds: float) -> None:
        self._waiting += 1
        self._freed.set()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        received = self._tasks.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The broker has it still: it comes again, and not for ever.
            log.error("message.not_handled", exc_info=error)
        self._in_hand.pop(id(received), None)
        self._freed.set()
        key = received.key
        if key is None:
            return
        followers = self._followers[key]
        if followers and not self._stopping:
            self._waiting -= 1
            self._start(followers.popleft())
        elif not followers:
            del self._followers[key]

    async def _give_back_waiting(self) -> None:
        """Give back what is not under way: it was not begun, or waits for its next attempt."""
        idle = {task: received for task, received in self._tasks.items() if not received.is_running}
        followers = [received for queue in self._followers.values() for received in queue]
        for queue in self._followers.values():
            queue.clear()
        self._waiting -= len(followers)
        for received in followers:
            self._in_hand.pop(id(received), None)
        await _cancel(idle)
        await self._give_back([*idle.values(), *followers])

    async def _interrupt(self) -> None:
        """Cancel what is under way, and give it back when it has undone its work."""
        running = dict(self._tasks)
        done = await _cancel(running, UNDO_SECONDS)
        try:
            async with asyncio.timeout(UNDO_SECONDS):
                await self._give_back([running[task] for task in done if task.cancelled()])
        except TimeoutError:
            log.warning("message.not_given_back")
        for received in self._tasks.values():
            # It does not heed that it was cancelled, and may still take effect: it comes again when this process ends.
            log.warning("message.not_interrupted", message_id=getattr(received.message, "id", None))

    async def _give_back(self, messages: list[Received]) -> None:
        """Give messages back, the last one first: some brokers put each before all others."""
        for received in reversed(messages):
            try:
                await self._source.give_back(received.delivery)
            except BrokerError as error:
                log.warning("message.not_given_back", message_id=getattr(received.message, "id", None), exc_info=error)


async def _cancel(tasks: Collection[asyncio.Task[None]], seconds: float | None = None) -> set[asyncio.Task[None]]:
    """Cancel tasks, wait for their end, and return those that have ended."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return set()
    done, _ = await asyncio.wait(list(tasks), timeout=seconds)
    return done
