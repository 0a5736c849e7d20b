"""Idempotency records in the database that the operation's effect goes to, through Django's connection.

An answer commits in the same transaction as the effect of its operation, so a crash leaves both or neither and the
effect happens exactly once. Time is the database's clock. A claim is one statement that commits by itself: on
PostgreSQL a repetition writes nothing; on SQLite a repetition is a second one.

A step takes a bounded time on PostgreSQL even when the server hangs; on SQLite it waits for the file's lock as every
writer does.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..adapters.statement_deadline import statements_within
from ..core.idempotency import Claim, Decision, Outcome, Record, decide
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyStoreError
from ..settings_groups import STEP_SECONDS
from .idempotency_statements import CLAIM, COMPLETE, FORGET, PURGE, RELEASE, RENEW

_ATTEMPTS = 3


class _Found(NamedTuple):
    """A row of `CLAIM`."""

    claimed: str | None
    fingerprint: str | None = None
    lease_until: float | None = None
    expires_at: float | None = None
    answer: str | None = None
    now: float = 0.0


_Steps = Generator[str, _Found | None, Decision]


def _beginning(claim: Claim, vendor: str) -> _Steps:
    """Yield the statements of a claim, receive the first row of each, and return the decision."""
    for _ in range(_ATTEMPTS):
        found = None
        for statement in CLAIM[vendor]:
            found = found or (yield statement)
        if found is not None and found.claimed is not None:
            return Decision(Outcome.RUN)
        # No record: it went between the claim and the look at it. RUN: its time ended in between. The key is free
        # again, and only the claim may take it.
        decision = _decided(found, claim)
        if decision.outcome is not Outcome.RUN:
            return decision
    return Decision(Outcome.IN_PROGRESS)


def _decided(found: _Found | None, claim: Claim) -> Decision:
    if found is None or found.fingerprint is None:
        return Decision(Outcome.RUN)
    lease_until, expires_at = found.lease_until, found.expires_at
    # SQLite keeps text in a column of numbers.
    if not isinstance(lease_until, float | int) or not isinstance(expires_at, float | int):
        return Decision(Outcome.NOT_REPLAYABLE, damaged=True)
    return decide(Record(found.fingerprint, lease_until, expires_at, found.answer), claim.fingerprint, found.now)


class OrmIdempotencyStore:
    """Keeps records in the service's database.

    Args:
        using: The database's name in Django's settings.
        timeout: Seconds that a step may take on PostgreSQL.

    """

    transactional: ClassVar[bool] = True

    def __init__(self, using: str = "default", *, timeout: float = STEP_SECONDS) -> None:
        self._using = using
        self._timeout = timeout

    def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        given = {**claim._asdict(), "lease": lease, "ttl": ttl}
        with self._connection() as connection:
            steps = _beginning(claim, connection.vendor)
            statement = next(steps)
            while True:
                rows = _execute(connection, statement, given)
                try:
                    statement = steps.send(_Found(*rows[0]) if rows else None)
                except StopIteration as decided:
                    decision: Decision = decided.value
                    return decision

    def complete(self, claim: Claim, answer: Answer, *, ttl: float, transaction: object = None) -> bool:
        """Keep the answer; within the transaction that is open in this thread when one is given."""
        given = {**claim._asdict(), "answer": answer.dump(), "ttl": ttl}
        if transaction is None:
            return self._changes_one(COMPLETE, given)
        connection = connections[self._using]
        with _failing(), statements_within(self._timeout):
            return bool(_execute(connection, COMPLETE[connection.vendor], given))

    def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease; on a connection that ends with it, for who renews is a thread that serves no request."""
        with self._connection(own=True) as connection:
            return bool(_execute(connection, RENEW[connection.vendor], {**claim._asdict(), "lease": lease}))

    def release(self, claim: Claim) -> None:
        """Free the key."""
        self._changes_one(RELEASE, claim._asdict())

    def purge(self, *, limit: int) -> int:
        """Delete records that are over; processes that do it together share the work."""
        with self._connection(own=True) as connection:
            return len(_execute(connection, PURGE[connection.vendor], {"limit": limit}))

    def forget(self, caller: str) -> int:
        """Delete every record of a caller; an operation of theirs that still runs cannot complete."""
        with self._connection() as connection:
            return len(_execute(connection, FORGET[connection.vendor], {"caller": caller}))

    def _changes_one(self, statements: dict[str, str], given: dict[str, Any]) -> bool:
        with self._connection() as connection:
            return bool(_execute(connection, statements[connection.vendor], given))

    @contextmanager
    def _connection(self, *, own: bool = False) -> Iterator[BaseDatabaseWrapper]:
        """Give a connection on which each statement commits by itself: the thread's own where that is possible."""
        shared = connections[self._using]
        connection = shared.copy() if own or is_in_transaction(shared) else shared
        with _failing(), statements_within(self._timeout):
            try:
                yield connection
            except Error:
                # What failed is not used again: whoever comes next gets a connection that answers.
                if not connection.in_atomic_block:
                    connection.close()
                raise
            finally:
                if connection is not shared:
                    connection.close()


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a connection is within a transaction; that of Django's `TestCase` is none to what it tests.

    Args:
        connection: The connection.

    """
    blocks: list[Any] = connection.atomic_blocks
    return bool(blocks) and not blocks[-1]._from_testcase  # noqa: SLF001 -- as `durable` tells it


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (Error, OSError) as error:
        msg = f"the SQL store failed: {type(error).__name__}"
        raise IdempotencyStoreError(msg) from error


def _execute(connection: BaseDatabaseWrapper, statement: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
