"""One contract for every store of idempotency records; what it says holds for memory, SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import false, func, select

from app.adapters.database import Database, UnitOfWork
from app.adapters.idempotency import MemoryIdempotencyStore, SqlIdempotencyStore, metadata, records
from app.core.idempotency import (
    Answer,
    Claim,
    Decision,
    IdempotencyStore,
    IdempotencyStoreError,
    Outcome,
    new_claim,
)

from ..databases import ENGINES, own_database

ANSWER = Answer(201, (("content-type", "application/json"),), b'{"id":"\xff\x00"}')
LONG = 60.0
SHORT = 0.05


def claim(key: str = "k", fingerprint: str = "f") -> Claim:
    """Return a claim of an owner of its own."""
    return new_claim(caller="ada", method="POST", route="/orders", key=key, fingerprint=fingerprint)


async def begin(store: IdempotencyStore, of: Claim, *, lease: float = LONG, ttl: float = LONG) -> Outcome:
    """Return what a request comes to."""
    return (await store.begin(of, lease=lease, ttl=ttl)).outcome


async def pause() -> None:
    """Wait until what was to last for a short time is over."""
    await asyncio.sleep(SHORT * 2)


@asynccontextmanager
async def with_records(engine: str, folder: Path) -> AsyncIterator[Database]:
    """Return a database with the table of records."""
    with own_database(engine, folder) as url:
        database = Database(url)
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield database
        await database.aclose()


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database of each kind."""
    async with with_records(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture(params=["memory", *ENGINES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IdempotencyStore]:
    """Return a store of each kind."""
    if request.param == "memory":
        yield MemoryIdempotencyStore()
        return
    async with with_records(request.param, tmp_path) as opened:
        yield SqlIdempotencyStore(opened)


async def test_first_use_runs(store: IdempotencyStore) -> None:
    """A new key runs; until it is finished it is in progress for the same request and refused for another."""
    assert await begin(store, claim()) is Outcome.RUN
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH
    assert await begin(store, claim("another key")) is Outcome.RUN


async def test_finished_is_replayed(store: IdempotencyStore) -> None:
    """A finished request is replayed byte for byte, and refused for another request."""
    first = claim()
    await begin(store, first)
    assert await store.complete(first, ANSWER, ttl=LONG)
    assert await store.begin(claim(), lease=LONG, ttl=LONG) == Decision(Outcome.REPLAY, ANSWER)
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH


async def test_answer_without_a_body(store: IdempotencyStore) -> None:
    """An answer that was too large to keep is known to have been given."""
    first = claim()
    await begin(store, first)
    await store.complete(first, Answer(200, (), None), ttl=LONG)
    assert await begin(store, claim()) is Outcome.NOT_REPLAYABLE


async def test_release_frees_the_key(store: IdempotencyStore) -> None:
    """A released key is new again, for any request."""
    first = claim()
    await begin(store, first)
    await store.release(first)
    await store.release(first)
    assert await begin(store, claim(fingerprint="other")) is Outcome.RUN


async def test_finished_cannot_be_undone(store: IdempotencyStore) -> None:
    """Once finished, a record is not released, renewed or finished again, even by its owner."""
    first = claim()
    await begin(store, first)
    await store.complete(first, ANSWER, ttl=LONG)
    await store.release(first)
    assert not await store.renew(first, lease=LONG)
    assert not await store.complete(first, Answer(200, (), b"late"), ttl=LONG)
    assert (await store.begin(claim(), lease=LONG, ttl=LONG)).answer == ANSWER


async def test_take_over_after_the_lease(store: IdempotencyStore) -> None:
    """After the lease one request takes the key over, and only for the same request."""
    await begin(store, claim(), lease=SHORT)
    await pause()
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH
    assert await begin(store, claim()) is Outcome.RUN
    assert await begin(store, claim()) is Outcome.IN_PROGRESS


async def test_late_owner_is_fenced_off(store: IdempotencyStore) -> None:
    """Who lost the key can no longer finish, renew or release it."""
    late, new = claim(), claim()
    await begin(store, late, lease=SHORT)
    await pause()
    await begin(store, new)
    assert not await store.complete(late, Answer(200, (), b"late"), ttl=LONG)
    assert not await store.renew(late, lease=LONG)
    await store.release(late)
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await store.complete(new, ANSWER, ttl=LONG)
    assert (await store.begin(claim(), lease=LONG, ttl=LONG)).answer == ANSWER


async def test_owner_may_finish_late_when_nobody_took_over(store: IdempotencyStore) -> None:
    """A lease that ended unnoticed does no harm."""
    slow = claim()
    await begin(store, slow, lease=SHORT)
    await pause()
    assert await store.complete(slow, ANSWER, ttl=LONG)
    assert await begin(store, claim()) is Outcome.REPLAY


async def test_renewed_lease(store: IdempotencyStore) -> None:
    """A renewed lease holds the key."""
    slow = claim()
    await begin(store, slow, lease=SHORT)
    assert await store.renew(slow, lease=LONG)
    await pause()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS


async def test_expiry(store: IdempotencyStore) -> None:
    """An answer is kept for its time from when it was given; then the key is new, for any request."""
    first = claim()
    await begin(store, first)
    await store.complete(first, ANSWER, ttl=SHORT)
    await pause()
    assert await begin(store, claim(fingerprint="other")) is Outcome.RUN


async def test_time_to_live_counts_from_the_answer(store: IdempotencyStore) -> None:
    """A slow operation's answer is kept as long as a fast one's."""
    slow = claim()
    await begin(store, slow, ttl=SHORT)
    await pause()
    assert await store.complete(slow, ANSWER, ttl=LONG)
    assert await begin(store, claim()) is Outcome.REPLAY


async def test_running_operation_does_not_expire(store: IdempotencyStore) -> None:
    """An operation that takes longer than its answer would be kept is not run a second time beside the first."""
    await begin(store, claim(), lease=LONG, ttl=SHORT)
    await pause()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH


async def test_abandoned_and_expired(store: IdempotencyStore) -> None:
    """What was abandoned and has expired is new, for any request."""
    await begin(store, claim(), lease=SHORT, ttl=SHORT)
    await pause()
    assert await begin(store, claim(fingerprint="other")) is Outcome.RUN


async def test_one_of_many_runs(store: IdempotencyStore) -> None:
    """Of fifty requests at once with one key exactly one runs."""
    outcomes = await asyncio.gather(*(begin(store, claim()) for _ in range(50)))
    assert sorted(outcomes) == [Outcome.IN_PROGRESS] * 49 + [Outcome.RUN]


async def test_one_of_many_takes_over(store: IdempotencyStore) -> None:
    """Of fifty requests at once with an abandoned key exactly one runs."""
    await begin(store, claim(), lease=SHORT)
    await pause()
    outcomes = await asyncio.gather(*(begin(store, claim()) for _ in range(50)))
    assert outcomes.count(Outcome.RUN) == 1


class Late(SqlIdempotencyStore):
    """A store whose first statement comes a moment too early to take the key."""

    def _claim(self, claim: Claim, lease: float, ttl: float) -> Any:
        if not vars(self).setdefault("_was_early", False):
            self._was_early = True
            return select(records.c.key).where(false())
        return super()._claim(claim, lease, ttl)


@pytest.mark.parametrize("ttl", [SHORT, LONG])
async def test_key_that_becomes_free_while_it_is_looked_at(database: Database, ttl: float) -> None:
    """Who is told to run holds the key, also when it became free between two statements."""
    await begin(SqlIdempotencyStore(database), claim(), lease=SHORT, ttl=ttl)
    await pause()
    store, mine = Late(database), claim()
    assert await begin(store, mine) is Outcome.RUN
    assert await store.complete(mine, ANSWER, ttl=LONG)


async def test_answer_commits_with_the_work(database: Database) -> None:
    """An answer that was kept in a unit of work lasts when the unit commits, and not when it is undone."""
    store = SqlIdempotencyStore(database)
    for key, commits in (("kept", True), ("undone", False)):
        mine, work = claim(key), UnitOfWork(database, read_only=False)
        await begin(store, mine)
        assert await store.complete(mine, ANSWER, ttl=LONG, transaction=work)
        await (work.commit() if commits else work.rollback())
        await work.aclose()
    assert await begin(store, claim("kept")) is Outcome.REPLAY
    assert await begin(store, claim("undone")) is Outcome.IN_PROGRESS


async def test_late_owner_within_a_transaction(database: Database) -> None:
    """Who lost the key learns of it before the unit of work commits."""
    store, late, work = SqlIdempotencyStore(database), claim(), UnitOfWork(database, read_only=False)
    await begin(store, late, lease=SHORT)
    await pause()
    await begin(store, claim())
    assert not await store.complete(late, ANSWER, ttl=LONG, transaction=work)
    await work.aclose()


async def test_key_is_stored_as_a_hash(database: Database) -> None:
    """The database never sees what the caller sent as a key."""
    await begin(SqlIdempotencyStore(database), claim("k-visible"))
    async with database.session(read_only=True) as session:
        (row,) = await session.execute(select(records))
    assert "visible" not in str(tuple(row))


async def test_one_record_per_key(database: Database) -> None:
    """However often a key is used, it has one record."""
    store = SqlIdempotencyStore(database)
    for _ in range(3):
        await begin(store, claim(), lease=SHORT, ttl=SHORT)
        await pause()
    async with database.session(read_only=True) as session:
        assert (await session.execute(select(func.count()).select_from(records))).scalar_one() == 1


async def test_failing_database(database: Database) -> None:
    """A database that fails is an error of the store, which names no value."""
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    with pytest.raises(IdempotencyStoreError, match=r"^the SQL store failed: \w+Error$"):
        await begin(SqlIdempotencyStore(database), claim())


async def test_memory_is_bounded() -> None:
    """The memory store drops its oldest answers, never a running request, and refuses more of those."""
    store = MemoryIdempotencyStore(max_records=3)
    running, first, second = claim("running"), claim("first"), claim("second")
    for one in (running, first, second):
        await begin(store, one)
    for one in (first, second):
        await store.complete(one, ANSWER, ttl=LONG)
    assert await begin(store, claim("third")) is Outcome.RUN
    assert await begin(store, claim("second")) is Outcome.REPLAY
    assert await begin(store, claim("running")) is Outcome.IN_PROGRESS
    assert await begin(store, claim("fourth")) is Outcome.RUN
    with pytest.raises(IdempotencyStoreError, match="3 running requests"):
        await begin(store, claim("fifth"))


async def test_memory_makes_room_of_what_expired() -> None:
    """The memory store forgets what expired before it drops what is still good."""
    store = MemoryIdempotencyStore(max_records=2)
    good, old = claim("good"), claim("old")
    for one, ttl in ((good, LONG), (old, SHORT)):
        await begin(store, one)
        await store.complete(one, ANSWER, ttl=ttl)
    await pause()
    await begin(store, claim("new"))
    assert await begin(store, claim("good")) is Outcome.REPLAY
