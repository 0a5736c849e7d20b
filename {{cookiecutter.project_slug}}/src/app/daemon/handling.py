"""One message, from its delivery until the broker knows what became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple

from ..adapters.failures import known_failure
from ..adapters.message_metrics import MessageMetrics
from ..bootstrap import Services
from ..core.context import close_context
from ..core.dead_letter import explain
from ..core.errors import AppError, BrokerError, InfrastructureError
from ..core.message_handling import next_step, refusal
from ..core.message_source import Delivery, MessageSource
from ..core.messages import Message, MessageUnreadableError, read_message
from ..core.retry import Reason, Retry, RetryPolicy
from .configuration import DaemonSettings
from .handlers import Handler, Handlers
from .observability import Observer, Run
from .once import Once

# How often the lease of a process that died must be over before its message is given up.
_LEASES = 3


class Received:
    """A message that this daemon has in hand.

    Attributes:
        delivery: How it came.
        message: The message, or why what was sent is none.
        attempt: Which attempt is next, or under way.
        is_running: Whether an attempt is under way.
        has_slot: Whether it is one of those that are handled now.
        waiting_since: Since when it waits for the same message to be handled elsewhere; None when it does not.

    """

    __slots__ = ("attempt", "delivery", "has_slot", "is_running", "message", "waiting_since")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.attempt = delivery.attempt
        self.is_running = self.has_slot = False
        self.waiting_since: float | None = None
        self.message: Message | ValueError
        try:
            self.message = read_message(delivery.body, delivery.headers)
        except MessageUnreadableError as error:
            self.message = error

    @property
    def is_first(self) -> bool:
        """Whether nobody has begun with it before."""
        return self.attempt == self.delivery.deliveries == 1 and self.waiting_since is None

    @property
    def key(self) -> str | None:
        """Within which order is kept."""
        return self.message.key if isinstance(self.message, Message) else None


class Failure(NamedTuple):
    """What an attempt failed with.

    Attributes:
        error: What was raised.
        known: The same as an error of the service; None when nobody expected it.

    """

    error: BaseException
    known: AppError | None


class Handling:
    """Handles messages, one attempt at a time.

    Args:
        source: Where they come from.
        services: The process's parts.
        settings: How often, and for how long.
        handlers: Who handles which.
        metrics: What counts.

    """

    def __init__(
        self,
        source: MessageSource,
        services: Services,
        settings: DaemonSettings,
        handlers: Handlers,
        metrics: MessageMetrics,
    ) -> None:
        daemon = settings.daemon
        self._source = source
        # A plain one: it is asked for every message.
        self._handlers = dict(handlers)
        self._queue = daemon.queue
        self._ordered = daemon.ordered
        self._time_limit = daemon.time_limit
        self._max_deliveries = daemon.max_deliveries
        # The longest that the same message may rightly be in progress elsewhere, and what its process needs to be found
        # dead.
        max_wait = daemon.time_limit + _LEASES * settings.idempotency.lease
        self._policy = RetryPolicy(daemon.max_attempts, daemon.backoff, daemon.backoff_max, max_wait)
        self._policies = {
            kind: replace(self._policy, max_attempts=handler.max_attempts)
            for kind, handler in handlers.items()
            if handler.max_attempts is not None
        }
        self._observer = Observer(services, daemon.queue, source.system, metrics)
        self._once = Once(services, daemon.queue)

    async def attempt(self, received: Received, done: Callable[[Received], None]) -> float | None:
        """Handle a message once, and tell the broker; returns after how many seconds it is to be tried again here.

        Args:
            received: The message; its attempt is counted on when the one that failed was one.
            done: Called when its handler has done its work, and only the broker does not know yet.

        """
        message, delivery = received.message, received.delivery
        refused = refusal(
            message,
            deliveries=delivery.deliveries,
            max_deliveries=self._max_deliveries,
            known=self._handlers,
            now=time.time(),
        )
        if refused is not None or isinstance(message, ValueError):
            assert refused is not None  # noqa: S101 -- what is no message is always refused
            opened = self._observer.refused(message, delivery, refused.reason, refused.error)
            try:
                await self._bury(received, refused.reason, refused.error)
            finally:
                close_context(opened)
            return None
        run = self._observer.begin(message, received.attempt, is_first=received.is_first)
        try:
            return await self._handled(run, received, message, done)
        finally:
            self._observer.close(run)

    async def _handled(
        self, run: Run, received: Received, message: Message, done: Callable[[Received], None]
    ) -> float | None:
        handler = self._handlers[message.type]
        try:
            ended = await self._run(handler, message)
        except asyncio.CancelledError:
            self._observer.interrupted(run)
            raise
        if not isinstance(ended, Failure):
            self._observer.succeeded(run, ran=ended)
            done(received)
            await self._tell(received, "acknowledge", self._source.acknowledge(received.delivery))
            return None
        return await self._after(run, received, message, ended)

    async def _run(self, handler: Handler, message: Message) -> bool | Failure:
        """Return whether the handler ran, or with what it failed."""
        limit = handler.time_limit or self._time_limit
        if message.deadline is not None:
            limit = min(limit, message.deadline - time.time())
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await self._once.run(handler, message)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The handler's own: it waited for something that was cancelled.
            return Failure(error, None)
        except Exception as error:  # noqa: BLE001 -- what becomes of the message depends on it
            if timer.expired():
                text = f"the handler of {message.type} took longer than its {limit:.3f} s"
                slow = InfrastructureError(text)
                slow.__cause__ = error
                return Failure(slow, slow)
            return Failure(error, known_failure(error))

    async def _after(self, run: Run, received: Received, message: Message, failure: Failure) -> float | None:
        """Do what is due after a failure, and return the pause when the message stays here."""
        now = time.monotonic()
        since = received.waiting_since
        left = None if message.deadline is None else message.deadline - time.time()
        policy = self._policies.get(message.type, self._policy)
        decision = next_step(
            failure.known,
            policy,
            attempt=received.attempt,
            waited=0.0 if since is None else now - since,
            left=left,
        )
        if isinstance(decision, Reason):
            is_expired = decision is Reason.EXPIRED
            self._observer.failed(run, failure.error, failure.known, message, expired=is_expired)
            await self._bury(received, decision, failure.error)
            return None
        self._observer.retried(run, failure.error, decision.delay)
        return await self._again(received, message, decision, now if since is None else since)

    async def _again(self, received: Received, message: Message, decision: Retry, since: float) -> float | None:
        """Have a message come again later, or keep it here: when its followers must wait, or it was no attempt."""
        if not decision.counts:
            # A broker would count it.
            received.waiting_since = since
            return decision.delay
        received.waiting_since = None
        if self._ordered and message.key is not None:
            received.attempt += 1
            return decision.delay
        await self._tell(received, "try again", self._source.try_again(received.delivery, decision.delay))
        return None

    async def _bury(self, received: Received, reason: Reason, error: BaseException) -> None:
        why = explain(reason, error, queue=self._queue, attempts=received.attempt)
        if await self._tell(received, "bury", self._source.bury(received.delivery, why)):
            self._observer.buried(received.attempt, why)

    async def _tell(self, received: Received, step: str, telling: Awaitable[None]) -> bool:
        """Tell the broker what became of a message; one that does not listen delivers it again."""
        try:
            await telling
        except BrokerError as error:
            self._observer.not_told(received.attempt, step, error)
            return False
        return True
