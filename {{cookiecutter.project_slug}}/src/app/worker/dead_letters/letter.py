"""A dead letter: a task's message as it was, and a header that says why it was given up."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kombu import Exchange, Queue
from kombu.message import Message

from ...adapters.broker import DEAD
from ...core.dead_letter import MAX_MESSAGE as MAX_MESSAGE
from ...core.dead_letter import explain
from ...core.retry import Reason

HEADER = "x-dead-letter"
# How often a letter may be looked at: RabbitMQ counts that as a delivery, and has a limit for these.
LOOKS = 1_000_000
# What belongs to the attempts before, and would hold a replayed task back or end it at once.
_OF_ATTEMPTS = ("eta", "expires", "compression", "redelivered", "x-delivery-count", "x-acquired-count", "x-death")


def dead_queue(queue: str, kind: str) -> Queue:
    """Return the queue for what was given up.

    Args:
        queue: The one that it was in.
        kind: Which broker.

    """
    durable = {"x-queue-type": "quorum", "x-delivery-limit": LOOKS} if kind == "amqp" else None
    name = f"{queue}{DEAD}"
    return Queue(name, Exchange(""), routing_key=name, durable=True, queue_arguments=durable)


@dataclass(frozen=True, slots=True)
class Letter:
    """One task that was given up.

    Attributes:
        body: Its message, as it was sent.
        content_type: How that is to be read.
        content_encoding: As above.
        headers: The message's, with the one that says why.
        properties: What is sent along with it.

    """

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The task's id; for what is no task, one that its body gives."""
        return str(self.headers.get("id") or f"unreadable-{hashlib.sha256(self.body).hexdigest()[:16]}")

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.headers.get("task") or "-")

    @property
    def why(self) -> dict[str, Any]:
        """Why it was given up, and when."""
        found = self.headers.get(HEADER)
        return dict(found) if isinstance(found, Mapping) else {}

    def revived(self) -> "Letter":
        """Return the message as it is sent once more: the same task, with all attempts before it."""
        headers = {name: value for name, value in self.headers.items() if name not in (*_OF_ATTEMPTS, HEADER)}
        if "retries" in headers:
            headers.update(retries=0, eta=None, expires=None)
        return Letter(self.body, self.content_type, self.content_encoding, headers, self.properties)


def letter_of(message: Message, why: Mapping[str, Any]) -> Letter:
    """Return the letter of a message.

    Args:
        message: As it was delivered.
        why: What `explanation` returned.

    """
    read = read_letter(message)
    headers = {name: value for name, value in read.headers.items() if name != "compression"}
    return Letter(read.body, read.content_type, read.content_encoding, {**headers, HEADER: dict(why)}, read.properties)


def read_letter(message: Message) -> Letter:
    """Return the letter that a message is.

    Args:
        message: As it was delivered.

    """
    body = message.body
    raw = body.encode() if isinstance(body, str) else bytes(body or b"")
    kept = {name: message.properties[name] for name in ("correlation_id", "reply_to") if message.properties.get(name)}
    return Letter(
        raw,
        message.content_type or "application/data",
        message.content_encoding or "binary",
        dict(message.headers),
        kept,
    )


def explanation(reason: Reason, error: BaseException, *, queue: str, attempts: int) -> dict[str, Any]:
    """Return why a task was given up, as its header says it.

    Args:
        reason: In one word.
        error: What it failed with.
        queue: Where it was.
        attempts: How often it was tried.

    """
    # An error that cannot cross the border of a process comes as a stand-in that knows the name.
    name = getattr(error, "exc_cls_name", None)
    return explain(reason, error, queue=queue, attempts=attempts, name=name)
