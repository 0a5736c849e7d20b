"""What the headers of a message on RabbitMQ say: the sender's, the broker's and ours."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aio_pika.abc import AbstractIncomingMessage

from ...core.message_source import Delivery, Letter
from ...core.retry import Reason

ATTEMPT = "x-attempt"
WHY = "x-dead-letter"
_COUNT = "x-delivery-count"
# What RabbitMQ notes on a message and what is ours: of the attempts before, or of a life that it has left.
_NOTES = frozenset({ATTEMPT, WHY, _COUNT, "x-acquired-count", "x-death"})
_MOVED = ("x-first-death-", "x-last-death-")
_MAX_ATTEMPT = 1_000_000


def delivery_of(message: AbstractIncomingMessage) -> Delivery:
    """Return a message as it is handed out.

    Args:
        message: What came.

    """
    attempt = _number(message.headers.get(ATTEMPT), 1)
    deliveries = _number(message.headers.get(_COUNT), 0) + 1
    return Delivery(message.body, _senders(message), attempt, deliveries, message)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and default <= value <= _MAX_ATTEMPT else default


def _senders(message: AbstractIncomingMessage) -> dict[str, Any]:
    """Return the headers that the sender gave a message."""
    headers = message.headers.items()
    return {name: value for name, value in headers if name not in _NOTES and not name.startswith(_MOVED)}


def letter_of(message: AbstractIncomingMessage) -> Letter:
    """Return a message that was given up.

    Args:
        message: What lies in the queue of the dead letters.

    """
    return Letter(message.body, _senders(message), _why(message), message)


def _why(message: AbstractIncomingMessage) -> Mapping[str, Any]:
    try:
        why = json.loads(str(message.headers.get(WHY)))
    except ValueError:
        why = None
    if isinstance(why, dict):
        return why
    # RabbitMQ buried it: it came back again and again, and no daemon lived to do it.
    attempt = _number(message.headers.get(ATTEMPT), 1)
    return {"reason": Reason.WORKER_LOST.value, "attempts": attempt, **_told(message.headers.get("x-death"))}


def _told(deaths: object) -> dict[str, Any]:
    death = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(death, dict):
        return {}
    at = death.get("time")
    told = {"queue": str(death.get("queue"))}
    return {**told, "at": at.isoformat()} if isinstance(at, datetime) else told
