"""The outbox: messages that are written in the transaction of what they tell of, and sent by a relay afterwards.

    with Session(engine) as session, session.begin():
        session.execute(insert(orders).values(...))
        add_to_outbox(session, "order.placed", {"order_id": "o-1"}, key="o-1")

    await add_to_outbox_async(work.session, "order.placed", {"order_id": "o-1"}, key="o-1")  # in a coroutine

The message and its effect are committed together or not at all. It is sent at least once, later by what the relay needs
(`DAEMON__OUTBOX_INTERVAL`); who receives it twice sees that by its id. Messages of one key are sent in the order they
were written in, where one transaction was committed before the other wrote its message; two at the same moment have
none. A daemon that uses the same database is the relay.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Double, Identity, Integer, String, Table, Text, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..core.context import current_context
from ..core.messages import ID_LENGTH, KEY_LENGTH, new_message, write_message
from ..core.metrics import Counter, Gauge, Registry
from ..core.task_headers import SENT_AT, task_headers
from ..core.tracing import current_trace
from .database import new_metadata

QUEUE_LENGTH = 100
FAULT_LENGTH = 200
OUTCOMES = ("sent", "failed", "unreadable")

metadata = new_metadata()
outbox = Table(
    "outbox",
    metadata,
    # SQLite numbers by itself only what is an INTEGER. A number is never given twice: what is deleted is named by it.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("message_id", String(ID_LENGTH), nullable=False),
    Column("queue", String(QUEUE_LENGTH), nullable=False),
    Column("key", String(KEY_LENGTH)),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # On SQLite alone, which locks no rows: which relay has it, and until when.
    Column("claimed_by", String(32)),
    Column("claimed_until", Double),
    # Why it cannot be sent; it stays until somebody has looked at it.
    Column("fault", String(FAULT_LENGTH)),
    sqlite_autoincrement=True,
)
_INSERT = insert(outbox)


def add_to_outbox(
    session: Session,
    kind: str,
    data: Mapping[str, Any],
    *,
    id: str | None = None,  # noqa: A002 -- as the message calls it
    key: str | None = None,
    deadline: float | None = None,
    queue: str | None = None,
) -> str:
    """Write a message in the session's transaction, with the ids and the trace of the caller; return its id.

    Args:
        session: Whose transaction it belongs to.
        kind: The message's type, such as `order.placed`.
        data: What is to be known of it: what JSON has a form for.
        id: Which message it is, if it is sent again; by default a new one.
        key: Within which order is kept, such as the id of what it is about.
        deadline: When nobody needs it any more, in seconds since 1970.
        queue: Where it is to go; by default to the queue of the daemon that relays it.

    Raises:
        MessageUnreadableError: A value is not allowed.
        TypeError: The data is no JSON.
        ValueError: As above, for a number that is none, or a queue's name that is too long.

    """
    row = _row(kind, data, queue, id=id, key=key, deadline=deadline)
    session.execute(_INSERT, row)
    return str(row["message_id"])


async def add_to_outbox_async(
    session: AsyncSession,
    kind: str,
    data: Mapping[str, Any],
    *,
    id: str | None = None,  # noqa: A002 -- as the message calls it
    key: str | None = None,
    deadline: float | None = None,
    queue: str | None = None,
) -> str:
    """Do the same in a coroutine.

    Args:
        session: Whose transaction it belongs to.
        kind: The message's type, such as `order.placed`.
        data: What is to be known of it: what JSON has a form for.
        id: Which message it is, if it is sent again; by default a new one.
        key: Within which order is kept, such as the id of what it is about.
        deadline: When nobody needs it any more, in seconds since 1970.
        queue: Where it is to go; by default to the queue of the daemon that relays it.

    Raises:
        MessageUnreadableError: A value is not allowed.
        TypeError: The data is no JSON.
        ValueError: As above, for a number that is none, or a queue's name that is too long.

    """
    row = _row(kind, data, queue, id=id, key=key, deadline=deadline)
    await session.execute(_INSERT, row)
    return str(row["message_id"])


def _row(kind: str, data: Mapping[str, Any], queue: str | None, **fields: Any) -> dict[str, Any]:
    if queue is not None and not 0 < len(queue) <= QUEUE_LENGTH:
        msg = f"queue: received {len(queue)} characters; allowed: 1 to {QUEUE_LENGTH}, or None for the relay's own"
        raise ValueError(msg)
    headers = {**task_headers(current_context(), current_trace()), SENT_AT: time.time()}
    message = new_message(kind, data, headers=headers, **fields)
    return {
        "message_id": message.id,
        "queue": queue or "",
        "key": message.key,
        "body": write_message(message).decode(),
        "created_at": datetime.now(UTC),
    }


class OutboxMetrics:
    """What a relay counts.

    Args:
        registry: Where, such as the `registry` of `adapters.metrics.Metrics`.

    """

    def __init__(self, registry: Registry) -> None:
        # Every relay counts the same table.
        self._pending: Gauge = registry.gauge("outbox_pending", "Messages that wait in the outbox.", across="max")
        relayed = registry.counter("outbox_relayed_total", "What became of messages in the outbox.", ["outcome"])
        self._relayed: dict[str, Counter] = {outcome: relayed.labels(outcome) for outcome in OUTCOMES}

    def relayed(self, outcome: str, messages: int = 1) -> None:
        """Count messages.

        Args:
            outcome: `sent`, `unreadable`, or `failed` for each attempt that did not come to its end.
            messages: How many.

        """
        self._relayed[outcome].inc(messages)

    def pending(self, messages: int) -> None:
        """Show how many messages wait.

        Args:
            messages: How many.

        """
        self._pending.set(messages)
