"""Idempotency records in the database that the operation's effect goes to: SQLite or PostgreSQL.

An answer commits in the same transaction as the effect of its operation, so a crash leaves both or neither and the
effect happens exactly once. Time is the database's clock. A claim is one statement: on PostgreSQL it commits by itself,
and a repetition writes nothing; on SQLite a repetition is a second one.

A step takes a bounded time on PostgreSQL even when the server hangs; on SQLite it waits for the file's lock as every
writer does.
"""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from ..core.idempotency import Claim, Decision, Outcome, Record, decide
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyStoreError
from ..settings_groups import STEP_SECONDS
from .database import Database
from .database_text import run_text
from .idempotency_statements import (
    CLAIM,
    COMPLETE,
    FORGET,
    PURGE,
    RECORD,
    RECORDED,
    RELEASE,
    RENEW,
    parameters,
    record_text,
)
from .statement_deadline import statements_within
from .unit_of_work import SyncUnitOfWork, UnitOfWork

# Waiting for a connection, which can be given up, is: a little later than a statement, which closes its own.
GRACE = 0.25
_ATTEMPTS = 3
# What PostgreSQL says when `lock_timeout` is over.
LOCK_NOT_AVAILABLE = "55P03"
_Steps = Generator[tuple[Any, dict[str, Any]], Any, Decision]


def _beginning(claim: Claim, lease: float, ttl: float, dialect: str) -> _Steps:
    """Yield the statements of a claim, receive the first row of each, and return the decision."""
    return _taking(CLAIM, dialect, {**parameters(claim), "of_lease": lease, "of_ttl": ttl}, claim)


def _taking(by_dialect: Mapping[str, Sequence[Any]], dialect: str, given: dict[str, Any], claim: Claim) -> _Steps:
    for _ in range(_ATTEMPTS):
        row = None
        for statement in by_dialect[dialect]:
            row = row or (yield statement, given)
        if row is not None and row.claimed is not None:
            return Decision(Outcome.RUN)
        # No record: it went between the claim and the look at it. RUN: its time ended in between. The key is free
        # again, and only the claim may take it.
        decision = _decided(row, claim)
        if decision.outcome is not Outcome.RUN:
            return decision
    return Decision(Outcome.IN_PROGRESS)


def _decided(row: Any, claim: Claim) -> Decision:
    if row is None or row.fingerprint is None:
        return Decision(Outcome.RUN)
    times = (row.lease_until, row.expires_at)
    # SQLite keeps text in a column of numbers.
    if not all(isinstance(moment, float | int) for moment in times):
        return Decision(Outcome.NOT_REPLAYABLE, damaged=True)
    return decide(Record(row.fingerprint, *times, row.answer), claim.fingerprint, row.now)


def _record(session: Session, claim: Claim, given: dict[str, Any]) -> Decision:
    """Record what a transaction is about to do, in that transaction."""
    # Not through the session: what it has not written yet is the operation's, and so are its failures.
    connection = session.connection()
    steps = _taking(RECORD, connection.dialect.name, given, claim)
    next(steps)
    row: Any = RECORDED if run_text(connection, record_text(connection.dialect), given) == 1 else None
    while True:
        try:
            statement, given = steps.send(row)
        except StopIteration as decided:
            decision: Decision = decided.value
            return decision
        row = connection.execute(statement, given).first()


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        msg = f"the SQL store failed: {type(error).__name__}"
        raise IdempotencyStoreError(msg) from error


class SqlIdempotencyStore:
    """Keeps records in the service's database, for code on an event loop.

    Args:
        database: Where.
        timeout: Seconds that a step may take on PostgreSQL.

    """

    transactional: ClassVar[bool] = True

    def __init__(self, database: Database, *, timeout: float = STEP_SECONDS) -> None:
        self._timeout = timeout
        self._dialect = database.url.get_backend_name()
        self._engine = database.engine
        if self._dialect == "postgresql":
            # Each statement is a transaction of its own: no round trips to begin and to commit one.
            self._engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        steps = _beginning(claim, lease, ttl, self._dialect)
        async with self._connection() as connection:
            statement, given = next(steps)
            while True:
                row = (await connection.execute(statement, given)).first()
                try:
                    statement, given = steps.send(row)
                except StopIteration as decided:
                    decision: Decision = decided.value
                    return decision

    async def complete(
        self, claim: Claim, answer: Answer, *, ttl: float, transaction: UnitOfWork | None = None
    ) -> bool:
        """Keep the answer, in the given unit of work when there is one."""
        given = {**parameters(claim), "of_answer": answer.dump(), "of_ttl": ttl}
        if transaction is None:
            return await self._changes_one(COMPLETE, given)
        with _failing(), statements_within(self._timeout):
            # Not through the session: what it has not written yet is the operation's, and so are its failures.
            connection = await transaction.session.connection()
            return (await connection.execute(COMPLETE, given)).first() is not None

    async def record(self, claim: Claim, answer: Answer, *, ttl: float, transaction: UnitOfWork) -> Decision:
        """Record in a unit of work that its effect takes place, before it does: both commit, or neither.

        There is no lease and no second transaction. On PostgreSQL this waits for another transaction that records the
        same, and then sees what became of it; on SQLite it waits for any that writes.

        Args:
            claim: Under which key.
            answer: What a repetition gets.
            ttl: For how many seconds.
            transaction: Of the effect. Unless the decision is to run, it must be undone.

        Raises:
            IdempotencyStoreError: The database failed.

        """
        given = {**parameters(claim), "of_answer": answer.dump(), "of_ttl": ttl}
        with _failing():
            try:
                # In one go, for each step from the event loop to the session and back costs more than the statement.
                return await transaction.session.run_sync(_record, claim, given)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                    raise
                # The other transaction takes longer than `lock_timeout`.
                return Decision(Outcome.IN_PROGRESS)

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        return await self._changes_one(RENEW, {**parameters(claim), "of_lease": lease})

    async def release(self, claim: Claim) -> None:
        """Free the key."""
        await self._changes_one(RELEASE, parameters(claim))

    async def purge(self, *, limit: int) -> int:
        """Delete records that are over; processes that do it together share the work."""
        async with self._connection() as connection:
            return len((await connection.execute(PURGE, {"of_limit": limit})).all())

    async def forget(self, caller: str) -> int:
        """Delete every record of a caller; an operation of theirs that still runs cannot complete."""
        async with self._connection() as connection:
            return (await connection.execute(FORGET, {"of_caller": caller})).rowcount

    async def _changes_one(self, statement: Any, given: dict[str, Any]) -> bool:
        async with self._connection() as connection:
            return (await connection.execute(statement, given)).first() is not None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection of the store's own, whose result others see at once."""
        if self._dialect == "sqlite":
            with _failing():
                async with self._engine.begin() as connection:
                    yield connection
            return
        with _failing(), statements_within(self._timeout):
            async with asyncio.timeout(self._timeout + GRACE), self._engine.connect() as connection:
                yield connection


class SyncSqlIdempotencyStore:
    """The same for code that runs no event loop.

    Where no connection is open it waits for one up to two seconds, which is the least that libpq allows.

    Args:
        engine: Where, as `database.sync_engine` makes it.
        timeout: Seconds that a step may take on PostgreSQL.

    """

    transactional: ClassVar[bool] = True

    def __init__(self, engine: Engine, *, timeout: float = STEP_SECONDS) -> None:
        self._timeout = timeout
        self._dialect = engine.dialect.name
        self._engine = engine
        if self._dialect == "postgresql":
            self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        steps = _beginning(claim, lease, ttl, self._dialect)
        with self._connection() as connection:
            statement, given = next(steps)
            while True:
                row = connection.execute(statement, given).first()
                try:
                    statement, given = steps.send(row)
                except StopIteration as decided:
                    decision: Decision = decided.value
                    return decision

    def complete(self, claim: Claim, answer: Answer, *, ttl: float, transaction: SyncUnitOfWork | None = None) -> bool:
        """Keep the answer, in the given unit of work when there is one."""
        given = {**parameters(claim), "of_answer": answer.dump(), "of_ttl": ttl}
        if transaction is None:
            return self._changes_one(COMPLETE, given)
        with _failing(), statements_within(self._timeout):
            # Not through the session: what it has not written yet is the operation's, and so are its failures.
            return transaction.session.connection().execute(COMPLETE, given).first() is not None

    def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        return self._changes_one(RENEW, {**parameters(claim), "of_lease": lease})

    def release(self, claim: Claim) -> None:
        """Free the key."""
        self._changes_one(RELEASE, parameters(claim))

    def purge(self, *, limit: int) -> int:
        """Delete records that are over; processes that do it together share the work."""
        with self._connection() as connection:
            return len(connection.execute(PURGE, {"of_limit": limit}).all())

    def forget(self, caller: str) -> int:
        """Delete every record of a caller; an operation of theirs that still runs cannot complete."""
        with self._connection() as connection:
            return connection.execute(FORGET, {"of_caller": caller}).rowcount

    def _changes_one(self, statement: Any, given: dict[str, Any]) -> bool:
        with self._connection() as connection:
            return connection.execute(statement, given).first() is not None

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Open a connection of the store's own, whose result others see at once."""
        if self._dialect == "sqlite":
            with _failing(), self._engine.begin() as connection:
                yield connection
            return
        with _failing(), statements_within(self._timeout), self._engine.connect() as connection:
            yield connection
