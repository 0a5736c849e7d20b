"""Where messages come from: what a daemon asks of a queue, whichever broker it is on.

A delivery belongs to whoever received it until it is acknowledged, put off, buried or given back; a receiver that dies
loses it to another one after a while. So every message is delivered at least once, and `deliveries` counts how often.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

# Behind the queue's name: where messages lie that were given up, and where those that wait for another attempt.
DEAD = ".dead"
DELAYED = ".delayed"


@dataclass(slots=True)
class Delivery:
    """A message that was handed out.

    Attributes:
        body: As it was sent.
        headers: What the broker carries beside it.
        attempt: Which attempt this is; the first is 1. Only `try_again` makes it more.
        deliveries: How often it was handed out in this attempt, this time included: more than once when whoever had it
            died or lost the broker.
        receipt: What its source knows it by.
        is_urgent: Whether the broker is told at once that it is done, since another message waits for that or no other
            is under way; else it may be told of several together.

    """

    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    deliveries: int = 1
    receipt: Any = None
    is_urgent: bool = False


@dataclass(slots=True)
class Letter:
    """A message that was given up.

    Attributes:
        body: As it was sent.
        headers: What the broker carries beside it.
        why: The reason, the error and when; what `bury` was given.
        receipt: What its source knows it by.

    """

    body: bytes
    headers: Mapping[str, Any]
    why: Mapping[str, Any]
    receipt: Any = None


class MessageSource(Protocol):
    """A queue that messages are received from; every method but `open` raises `BrokerError` when the broker is away.

    One event loop uses it, and several tasks of it at once. On an ordered queue one source at a time receives, which
    begins with what the one before it had in hand; the others receive nothing. After a `BrokerError` it is opened
    again; what was received before then can no longer be acknowledged on some brokers, and comes again.

    Attributes:
        system: What OpenTelemetry calls the broker (https://opentelemetry.io/docs/specs/semconv/messaging/).
        sends: Whether the broker sends messages by itself: to ask for them early saves nothing then.

    """

    system: str
    sends: bool

    async def open(self) -> None:
        """Connect, and make what is not there yet; on a source that is open or broken, begin anew.

        Raises:
            BrokerError: The broker does not answer, or refuses.
            ConfigurationError: What is there can be no queue, and trying again does not help.

        """

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Return messages, oldest first; none after about a second without any. Cancelled, it keeps none.

        Args:
            limit: How many at most.

        """

    async def acknowledge(self, delivery: Delivery) -> None:
        """Say that a message is done: it never comes again."""

    async def try_again(self, delivery: Delivery, delay: float) -> None:
        """Let a message come again, as the next attempt, when `delay` seconds have passed."""

    async def give_back(self, delivery: Delivery) -> None:
        """Let somebody else have a message now, as the same attempt; not counted where the broker allows that."""

    async def bury(self, delivery: Delivery, why: Mapping[str, Any]) -> None:
        """Move a message to the dead letters, in one step or so that it is in both places rather than in none."""

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Say that these are still worked on; called several times within the visibility timeout."""

    async def ping(self) -> None:
        """Raise unless the broker answers."""

    async def backlog(self) -> int:
        """Return how many messages wait, those that are put off included."""

    def letters(self) -> AsyncIterator[Letter]:
        """Yield the dead letters, oldest first; they stay where they are."""

    async def replay(self, letter: Letter) -> None:
        """Send a dead letter once more, as a first attempt, and drop it from the dead letters."""

    async def drop(self, letter: Letter) -> None:
        """Drop a dead letter."""

    async def aclose(self) -> None:
        """Close the connections; what was received and not acknowledged is another receiver's."""
