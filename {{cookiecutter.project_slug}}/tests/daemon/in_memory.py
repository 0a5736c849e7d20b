"""A queue in memory that keeps the contract of message sources, and can be broken."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from app.core.errors import BrokerError
from app.core.message_source import Delivery, Letter
from app.core.messages import Message, write_message

_LOOK = 0.002


@dataclass(slots=True)
class Entry:
    """A message in the queue."""

    number: int
    body: bytes
    headers: Mapping[str, Any]
    attempt: int = 1
    deliveries: int = 0
    visible_at: float = 0.0
    # Who has it: a receipt is good for one delivery only.
    receipt: object = field(default_factory=object)


class InMemorySource:
    """A message source.

    Args:
        visibility_timeout: Seconds after which what nobody keeps is delivered again.

    Attributes:
        away: Whether every call fails.
        calls: Which methods were called, in their order.
        acknowledged: The bodies of what was done.
        given_back: The bodies of what was given back.
        delays: For how long messages were put off.
        limits: How many were asked for, each time.

    """

    system = "in_memory"
    sends = False

    def __init__(self, visibility_timeout: float = 60.0) -> None:
        self._visibility_timeout = visibility_timeout
        self._entries: dict[int, Entry] = {}
        self._numbers = count()
        self._letters: list[Letter] = []
        self._is_open = False
        self.away = False
        self.refused: set[str] = set()
        self.calls: list[str] = []
        self.acknowledged: list[bytes] = []
        self.given_back: list[bytes] = []
        self.delays: list[float] = []
        self.limits: list[int] = []

    def put(self, message: Message | bytes, headers: Mapping[str, Any] | None = None, *, deliveries: int = 0) -> None:
        """Send a message, or anything else.

        Args:
            message: What is sent.
            headers: What the broker carries beside it.
            deliveries: How often it was delivered before.

        """
        body = message if isinstance(message, bytes) else write_message(message)
        number = next(self._numbers)
        self._entries[number] = Entry(number, body, headers or {}, deliveries=deliveries)

    def break_down(self) -> None:
        """Be away until `away` is set back; whoever uses it must open it again then."""
        self.away, self._is_open = True, False

    @property
    def dead(self) -> list[Letter]:
        """The dead letters."""
        return self._letters

    @property
    def left(self) -> int:
        """How many messages are neither done nor dead."""
        return len(self._entries)

    async def open(self) -> None:
        """Connect."""
        self._note("open")
        self._is_open = True

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Return messages."""
        self.limits.append(limit)
        end = time.monotonic() + 1.0
        while True:
            self._use("receive")
            ready = sorted(
                (entry for entry in self._entries.values() if entry.visible_at <= time.monotonic()),
                key=lambda entry: entry.number,
            )[:limit]
            if ready or time.monotonic() >= end:
                return [self._deliver(entry) for entry in ready]
            await asyncio.sleep(_LOOK)

    async def acknowledge(self, delivery: Delivery) -> None:
        """Say that a message is done."""
        entry = self._of("acknowledge", delivery)
        del self._entries[entry.number]
        self.acknowledged.append(entry.body)

    async def try_again(self, delivery: Delivery, delay: float) -> None:
        """Let a message come again."""
        entry = self._of("try_again", delivery)
        self.delays.append(delay)
        entry.attempt, entry.deliveries = entry.attempt + 1, 0
        entry.visible_at = time.monotonic() + delay

    async def give_back(self, delivery: Delivery) -> None:
        """Let somebody else have a message."""
        entry = self._of("give_back", delivery)
        entry.deliveries -= 1
        entry.visible_at, entry.receipt = 0.0, object()
        self.given_back.append(entry.body)

    async def bury(self, delivery: Delivery, why: Mapping[str, Any]) -> None:
        """Move a message to the dead letters."""
        entry = self._of("bury", delivery)
        del self._entries[entry.number]
        self._letters.append(Letter(entry.body, entry.headers, dict(why)))

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Say that these are still worked on."""
        self._use("keep")
        for delivery in deliveries:
            number, receipt = delivery.receipt
            entry = self._entries.get(number)
            if entry is not None and entry.receipt is receipt:
                entry.visible_at = time.monotonic() + self._visibility_timeout

    async def ping(self) -> None:
        """Raise unless the broker answers."""
        self._use("ping")

    async def backlog(self) -> int:
        """Return how many messages wait."""
        self._use("backlog")
        return sum(entry.visible_at <= time.monotonic() or entry.attempt > 1 for entry in self._entries.values())

    async def letters(self) -> AsyncIterator[Letter]:
        """Yield the dead letters."""
        for letter in list(self._letters):
            yield letter

    async def replay(self, letter: Letter) -> None:
        """Send a dead letter once more."""
        await self.drop(letter)
        self.put(letter.body, letter.headers)

    async def drop(self, letter: Letter) -> None:
        """Drop a dead letter."""
        self._letters.remove(letter)

    async def aclose(self) -> None:
        """Close; what was received and not acknowledged is another receiver's."""
        self._is_open = False
        for entry in self._entries.values():
            entry.visible_at = min(entry.visible_at, time.monotonic())

    def _deliver(self, entry: Entry) -> Delivery:
        entry.deliveries += 1
        entry.visible_at, entry.receipt = time.monotonic() + self._visibility_timeout, object()
        return Delivery(entry.body, entry.headers, entry.attempt, entry.deliveries, (entry.number, entry.receipt))

    def _of(self, call: str, delivery: Delivery) -> Entry:
        """Return what a delivery is of, if it is its receiver's still."""
        self._use(call)
        number, receipt = delivery.receipt
        entry = self._entries.get(number)
        if entry is None or entry.receipt is not receipt:
            msg = "the message is somebody else's by now"
            raise BrokerError(msg)
        return entry

    def _use(self, call: str) -> None:
        self._note(call)
        if not self._is_open:
            msg = "not open"
            raise BrokerError(msg)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.away or call in self.refused:
            msg = "the broker is away"
            raise BrokerError(msg)
