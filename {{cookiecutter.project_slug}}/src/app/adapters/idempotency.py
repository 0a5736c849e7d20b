"""Stores of idempotency records: in the service's own database, or in the memory of one process.

With the SQL store an answer commits in the same transaction as the effect of the operation: a crash leaves both or
neither. The memory store forgets at restart and knows nothing of other processes.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from sqlalchemy import Column, Double, String, Table, Text, delete, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from ..core.idempotency import (
    Answer,
    Claim,
    Decision,
    IdempotencyStoreError,
    Outcome,
    Record,
    decide,
    is_over,
)
from .database import Database, UnitOfWork, new_metadata

MAX_RECORDS = 10_000
_ATTEMPTS = 3

metadata = new_metadata()
records = Table(
    "idempotency_records",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("answer", Text),
)


class store_time(GenericFunction[float]):  # noqa: N801 -- named as SQL functions are
    """The database's clock in seconds since 1970, moving on within a transaction."""

    type = Double()
    inherit_cache = True


@compiles(store_time, "sqlite")
def _sqlite_time(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(store_time, "postgresql")
def _postgresql_time(_element: Any, _compiler: Any, **_: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::double precision"


class SqlIdempotencyStore:
    """Keeps records in the database that the operation's effect goes to.

    Args:
        database: Where.

    """

    transactional: ClassVar[bool] = True

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = postgresql if database.url.get_backend_name() == "postgresql" else sqlite
        self._insert = dialect.insert

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way: one statement when the key is new, two when it is known."""
        for _ in range(_ATTEMPTS):
            async with self._transaction() as session:
                if (await session.execute(self._claim(claim, lease, ttl))).first() is not None:
                    return Decision(Outcome.RUN)
                found = (await session.execute(_find(claim.key))).first()
            # None: released between the two statements. RUN: its time ended between them. The key is free again, and
            # only the statement above may take it.
            if found is not None:
                *fields, now = found
                decision = decide(Record(*fields), claim.fingerprint, now)
                if decision.outcome is not Outcome.RUN:
                    return decision
        return Decision(Outcome.IN_PROGRESS)

    def _claim(self, claim: Claim, lease: float, ttl: float) -> Any:
        """Return the atomic claim: insert, or take over what expired or whose owner died (`decide` says the same)."""
        insert = self._insert(records).values(
            key=claim.key,
            fingerprint=claim.fingerprint,
            owner=claim.owner,
            lease_until=store_time() + literal(lease),
            expires_at=store_time() + literal(ttl),
            answer=None,
        )
        new = insert.excluded
        now = store_time()
        running = records.c.answer.is_(None) & (records.c.lease_until > now)
        expired = (records.c.expires_at <= now) & ~running
        abandoned = (
            records.c.answer.is_(None) & (records.c.lease_until <= now) & (records.c.fingerprint == new.fingerprint)
        )
        return insert.on_conflict_do_update(
            index_elements=[records.c.key],
            set_={name: new[name] for name in ("fingerprint", "owner", "lease_until", "expires_at", "answer")},
            where=or_(expired, abandoned),
        ).returning(records.c.key)

    async def complete(self, claim: Claim, answer: Answer, *, ttl: float, transaction: Any = None) -> bool:
        """Keep the answer, in the given unit of work when there is one."""
        statement = (
            update(records)
            .where(records.c.key == claim.key, records.c.owner == claim.owner, records.c.answer.is_(None))
            .values(answer=answer.dump(), expires_at=store_time() + literal(ttl))
            .returning(records.c.key)
        )
        return await self._changes_one(statement, transaction)

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        owned = (records.c.key == claim.key) & (records.c.owner == claim.owner) & records.c.answer.is_(None)
        values = {"lease_until": store_time() + literal(lease)}
        return await self._changes_one(update(records).where(owned).values(values).returning(records.c.key))

    async def release(self, claim: Claim) -> None:
        """Free the key."""
        owned = (records.c.key == claim.key) & (records.c.owner == claim.owner) & records.c.answer.is_(None)
        await self._changes_one(delete(records).where(owned).returning(records.c.key))

    async def _changes_one(self, statement: Any, work: UnitOfWork | None = None) -> bool:
        if work is None:
            async with self._transaction() as session:
                return (await session.execute(statement)).first() is not None
        return (await work.session.execute(statement)).first() is not None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction of the store's own, so that others see its result at once."""
        try:
            async with self._database.session() as session, session.begin():
                yield session
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            msg = f"the SQL store failed: {type(error).__name__}"
            raise IdempotencyStoreError(msg) from error


def _find(key: str) -> Any:
    columns = (records.c.fingerprint, records.c.lease_until, records.c.expires_at, records.c.answer)
    return select(*columns, store_time()).where(records.c.key == key)


class MemoryIdempotencyStore:
    """Keeps records in this process, for tests and for services of exactly one process.

    Args:
        max_records: How many it keeps; past that the oldest finished ones go first.

    """

    transactional: ClassVar[bool] = False

    def __init__(self, *, max_records: int = MAX_RECORDS) -> None:
        self._max_records = max_records
        self._records: dict[str, tuple[str, Record]] = {}

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way; no other task can come between."""
        now = time.monotonic()
        _, known = self._records.get(claim.key, ("", None))
        decision = decide(known, claim.fingerprint, now)
        if decision.outcome is Outcome.RUN:
            self._records.pop(claim.key, None)
            self._make_room(now)
            self._records[claim.key] = (
                claim.owner,
                Record(claim.fingerprint, now + lease, now + ttl),
            )
        return decision

    def _make_room(self, now: float) -> None:
        if len(self._records) < self._max_records:
            return
        self._records = {key: kept for key, kept in self._records.items() if not is_over(kept[1], now)}
        if len(self._records) < self._max_records:
            return
        oldest = next((key for key, (_, record) in self._records.items() if record.answer is not None), None)
        if oldest is None:
            msg = f"the memory store holds {self._max_records} running requests and takes no more"
            raise IdempotencyStoreError(msg)
        del self._records[oldest]

    async def complete(
        self,
        claim: Claim,
        answer: Answer,
        *,
        ttl: float,
        transaction: Any = None,  # noqa: ARG002
    ) -> bool:
        """Keep the answer; memory has no transaction to join."""
        expires_at = time.monotonic() + ttl
        return self._replace(claim, answer=answer.dump(), expires_at=expires_at)

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        return self._replace(claim, lease_until=time.monotonic() + lease)

    def _replace(self, claim: Claim, **changes: Any) -> bool:
        owner, record = self._records.get(claim.key, ("", None))
        if record is None or owner != claim.owner or record.answer is not None:
            return False
        self._records[claim.key] = (owner, replace(record, **changes))
        return True

    async def release(self, claim: Claim) -> None:
        """Free the key."""
        owner, record = self._records.get(claim.key, ("", None))
        if record is not None and owner == claim.owner and record.answer is None:
            del self._records[claim.key]
