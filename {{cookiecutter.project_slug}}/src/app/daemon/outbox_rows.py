"""How a relay takes messages from the outbox so that no other one sends them meanwhile, and the order of keys is kept.

On PostgreSQL the rows are locked, in one transaction with their deletion. Several relays share the work: each takes
keys of which nobody has the first row. That alone would not keep the order: a row may be committed late, before one
that is taken already. So the statement also tells what it saw and could not lock, and of each key only the rows before
that are sent (`core.outbox.sendable`). What it saw is one snapshot, taken before any lock: a row that is missing in it,
and belongs before one that is there, was sent and deleted.

SQLite has one writer at a time, who must not wait for a broker: there the rows are marked in a short transaction and
deleted in another. The mark of a relay that died ends by itself.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, bindparam, delete, func, null, or_, select, union_all, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..adapters.database import Database
from ..adapters.database_connection import READ_ONLY
from ..adapters.idempotency_statements import store_time
from ..adapters.outbox import FAULT_LENGTH, outbox
from ..adapters.statement_deadline import statements_within
from ..core.outbox import Row, sendable

# Seconds that a statement may take on a PostgreSQL that hangs.
STATEMENT_SECONDS = 10.0
# How far a relay looks for keys that nobody has, in batches.
WINDOW = 10
# More are not counted: a gauge is read every few seconds.
COUNTED = 100_000

_LIMIT: Any = bindparam("of_limit")
_WINDOW: Any = bindparam("of_window")
_QUEUES: Any = bindparam("of_queues", expanding=True)
_IDS: Any = bindparam("of_ids", expanding=True)
_RELAY: Any = bindparam("of_relay")
_READY: ColumnElement[bool] = outbox.c.fault.is_(None) & outbox.c.queue.in_(_QUEUES)


def _take() -> Any:
    """Return the statement for PostgreSQL: the first rows of keys that nobody has, and which of them are locked now."""
    near = select(outbox.c.id, outbox.c.key).where(_READY).order_by(outbox.c.id).limit(_WINDOW).cte("near")
    firsts = union_all(
        select(func.min(near.c.id)).where(near.c.key.is_not(None)).group_by(near.c.key),
        select(near.c.id).where(near.c.key.is_(None)),
    )
    heads = (
        select(outbox.c.id, outbox.c.key)
        .where(outbox.c.id.in_(firsts), outbox.c.fault.is_(None))
        .order_by(outbox.c.id)
        .limit(_LIMIT)
        .with_for_update(skip_locked=True)
        .cte("heads")
    )
    theirs = select(heads.c.key).where(heads.c.key.is_not(None))
    seen = (
        select(near.c.id, near.c.key)
        .where(or_(near.c.id.in_(select(heads.c.id)), near.c.key.in_(theirs)))
        .order_by(near.c.id)
        .limit(_LIMIT)
        .cte("seen")
    )
    locked = (
        select(outbox.c.id, outbox.c.queue, outbox.c.body)
        .where(outbox.c.id.in_(select(seen.c.id)), outbox.c.fault.is_(None))
        .with_for_update(skip_locked=True)
        .cte("locked")
    )
    found = seen.outerjoin(locked, seen.c.id == locked.c.id)
    return select(seen.c.id, seen.c.key, locked.c.queue, locked.c.body).select_from(found).order_by(seen.c.id)


_CLAIMED = outbox.c.claimed_until > store_time()
_IN_HAND = select(outbox.c.key).where(_CLAIMED, outbox.c.key.is_not(None))
_FREE = (
    select(outbox.c.id)
    .where(
        _READY,
        or_(outbox.c.claimed_until.is_(None), ~_CLAIMED),
        or_(outbox.c.key.is_(None), outbox.c.key.not_in(_IN_HAND)),
    )
    .order_by(outbox.c.id)
    .limit(_LIMIT)
)
TAKE = _take()
CLAIM = (
    update(outbox)
    .where(outbox.c.id.in_(_FREE))
    .values(claimed_by=_RELAY, claimed_until=store_time() + bindparam("of_lease"))
    .returning(outbox.c.id, outbox.c.key, outbox.c.queue, outbox.c.body)
)
UNCLAIM = update(outbox).where(outbox.c.claimed_by == _RELAY).values(claimed_by=null(), claimed_until=null())
DELETE = delete(outbox).where(outbox.c.id.in_(_IDS))
SET_ASIDE = update(outbox).where(outbox.c.id == bindparam("of_id")).values(fault=bindparam("of_fault"))
PENDING = select(func.count()).select_from(
    select(outbox.c.id).where(outbox.c.fault.is_(None)).limit(COUNTED).subquery("pending")
)


@dataclass(slots=True)
class Taken:
    """What a relay has for now.

    Attributes:
        rows: In the order in which they are to be sent.
        faults: By row why it cannot be sent; filled by whoever tries.

    """

    rows: Sequence[Row]
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def sent(self) -> list[int]:
        """What is deleted."""
        return [row.id for row in self.rows if row.id not in self.faults]


class OutboxRows(ABC):
    """The rows of the outbox, for one relay.

    Args:
        engine: Where.

    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @abstractmethod
    def taken(self, queues: Collection[str], limit: int) -> Any:
        """Return a context with what this relay has; at its end that is deleted, and after an error free again.

        Args:
            queues: Which queues' messages.
            limit: How many messages at most.

        """

    async def pending(self) -> int:
        """Return how many messages wait; many are not counted to the end."""
        async with self._engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            with statements_within(STATEMENT_SECONDS):
                return int((await connection.execute(PENDING)).scalar_one())


class PostgresqlRows(OutboxRows):
    """Rows that are locked as long as they are in hand."""

    def __init__(self, engine: AsyncEngine) -> None:
        # In any stricter one a row that another relay has deleted would be an error.
        super().__init__(engine.execution_options(isolation_level="READ COMMITTED"))

    @asynccontextmanager
    async def taken(self, queues: Collection[str], limit: int) -> AsyncIterator[Taken]:
        """Lock rows, and delete them in the same transaction."""
        given = {"of_queues": list(queues), "of_limit": limit, "of_window": limit * WINDOW}
        async with self._engine.connect() as connection:
            with statements_within(STATEMENT_SECONDS):
                found = (await connection.execute(TAKE, given)).all()
            taken = Taken(sendable(Row(*row) for row in found))
            yield taken
            with statements_within(STATEMENT_SECONDS):
                await _settle(connection, taken)
                await connection.commit()


class SqliteRows(OutboxRows):
    """Rows that are marked as long as they are in hand.

    Args:
        engine: Where.
        lease: Seconds after which the mark of a relay that died ends; longer than sending takes.

    """

    def __init__(self, engine: AsyncEngine, lease: float) -> None:
        super().__init__(engine)
        self._lease = lease
        self._own = {"of_relay": uuid4().hex}

    @asynccontextmanager
    async def taken(self, queues: Collection[str], limit: int) -> AsyncIterator[Taken]:
        """Mark rows, and delete them in another transaction."""
        given = {"of_queues": list(queues), "of_limit": limit}
        # A look does not keep those who write.
        async with self._engine.execution_options(**{READ_ONLY: True}).connect() as connection:
            is_empty = (await connection.execute(_FREE, given)).first() is None
        if is_empty:
            yield Taken(())
            return
        try:
            async with self._engine.begin() as connection:
                found = (await connection.execute(CLAIM, {**given, **self._own, "of_lease": self._lease})).all()
            taken = Taken(sorted(Row(*row) for row in found))
            yield taken
            async with self._engine.begin() as connection:
                await _settle(connection, taken)
        except BaseException:
            await self._release()
            raise

    async def _release(self) -> None:
        """Free what was taken; what cannot be is free when the lease ends."""
        with suppress(SQLAlchemyError):
            async with self._engine.begin() as connection:
                await connection.execute(UNCLAIM, self._own)


async def _settle(connection: AsyncConnection, taken: Taken) -> None:
    """Delete what was sent, even if a relay that was held up for too long lost it to another: sent is sent."""
    if taken.sent:
        await connection.execute(DELETE, {"of_ids": taken.sent})
    for row, fault in taken.faults.items():
        await connection.execute(SET_ASIDE, {"of_id": row, "of_fault": fault[:FAULT_LENGTH]})


def outbox_rows(database: Database, *, lease: float) -> OutboxRows:
    """Return the rows of a database's outbox.

    Args:
        database: Which database.
        lease: Seconds after which what a relay had is another one's, where rows cannot be locked.

    """
    if database.url.get_backend_name() == "postgresql":
        return PostgresqlRows(database.engine)
    return SqliteRows(database.engine, lease)
