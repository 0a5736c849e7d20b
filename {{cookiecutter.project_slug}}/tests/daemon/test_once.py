"""A message's effect once per id: in one transaction with its record, or with a claim around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, text

from app.adapters.idempotency import MemoryIdempotencyStore, SqlIdempotencyStore, records
from app.bootstrap import Services, bootstrap
from app.core.errors import AppError, InfrastructureError
from app.core.idempotency_errors import (
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    IdempotencyNotReplayableError,
    IdempotencyStoreError,
)
from app.core.messages import Message, new_message
from app.daemon.handlers import Handler
from app.daemon.once import Once
from app.settings_groups import DatabaseSettings, IdempotencySettings

from ..databases import ENGINES, own_database
from .handled import create_tables, note, placed, settings_in

ONE = placed(1, id="m-1")


def handler(function: Any = note, *, takes_work: bool = True) -> Handler:
    """Return a handler of test messages."""
    return Handler("test.done", function, takes_work)


@pytest.fixture(params=ENGINES)
async def services(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Services]:
    """Return the parts of a process with a database of each kind."""
    with own_database(request.param, tmp_path) as url:
        services = bootstrap(
            settings_in(
                tmp_path,
                database_url=url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False),
                database=DatabaseSettings(lock_timeout=0.3),
            )
        )
        assert services.database.url.get_backend_name() == request.param
        await create_tables(services.database)
        yield services
        await services.aclose()


async def effects(services: Services) -> int:
    """Return how many effects lasted."""
    async with services.database.session(read_only=True) as session:
        count: int = (await session.execute(text("SELECT count(*) FROM effects"))).scalar_one()
        return count


async def kept(services: Services) -> int:
    """Return how many records there are."""
    async with services.database.session(read_only=True) as session:
        return (await session.execute(select(func.count()).select_from(records))).scalar_one()


async def test_once(services: Services) -> None:
    """The second time nothing runs; another id, and the same id in another queue, are other messages."""
    once = Once(services, "orders")
    assert [await once.run(handler(), ONE) for _ in range(3)] == [True, False, False]
    assert await effects(services) == 1
    assert await once.run(handler(), placed(1, id="m-2"))
    assert await Once(services, "invoices").run(handler(), ONE)
    assert await effects(services) == 3


async def test_one_transaction(services: Services) -> None:
    """The record is the first statement of the effect's own transaction: one begin, one commit, no other connection."""
    once = Once(services, "orders")
    await once.run(handler(), placed(0))
    seen: list[str] = []
    engine = services.database.engine.sync_engine

    def note_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement.split()[0] + " " + ("effects" if "effects" in statement else "records"))

    event.listen(engine, "before_cursor_execute", note_statement)
    event.listen(engine, "commit", lambda _connection: seen.append("COMMIT"))
    await once.run(handler(), ONE)
    assert [one for one in seen if "BEGIN" not in one] == ["INSERT records", "INSERT effects", "COMMIT"]


@pytest.mark.parametrize("error", [ValueError("no"), InfrastructureError(), asyncio.CancelledError()])
async def test_failure(services: Services, error: BaseException) -> None:
    """A handler that fails or is cancelled leaves neither effect nor record, and the message may come again."""

    async def fails(work: Any, message: Message) -> None:
        await note(work, message)
        raise error

    once = Once(services, "orders")
    with pytest.raises(type(error)):
        await once.run(handler(fails), ONE)
    assert (await effects(services), await kept(services)) == (0, 0)
    assert await once.run(handler(), ONE)


async def test_same_id_and_other_data(services: Services) -> None:
    """The same id with another type or other data is refused for good; other headers and another order are the same."""
    once = Once(services, "orders")
    data = {"number": 1, "b": {"x": 1, "y": 2**70}}
    assert await once.run(handler(), new_message("test.done", data, id="m-1"))
    again = {"b": {"y": 2**70, "x": 1}, "number": 1}
    assert not await once.run(handler(), new_message("test.done", again, id="m-1", headers={"traceparent": "00-…"}))
    for other in (new_message("test.other", data, id="m-1"), new_message("test.done", {"number": 2}, id="m-1")):
        with pytest.raises(IdempotencyKeyReusedError, match="same id and another type or other data") as refused:
            await once.run(handler(), other)
        assert not refused.value.retryable
    assert await effects(services) == 1


async def test_two_at_once(services: Services) -> None:
    """Of many that handle the same message at once one has the effect, and the others see that."""
    runs = [Once(services, "orders").run(handler(), ONE) for _ in range(8)]
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert results.count(True) == 1
    assert await effects(services) == 1
    assert all(isinstance(one, bool | AppError) for one in results)


@pytest.mark.parametrize("commits", [True, False])
async def test_waits_for_a_transaction(tmp_path: Path, commits: bool) -> None:
    """On PostgreSQL the second one waits for the first one's transaction, and then sees what became of it."""
    with own_database("postgresql", tmp_path) as url:
        async with AsyncExitStack() as closing:
            address = url.set(drivername="postgresql").render_as_string(hide_password=False)
            services = bootstrap(settings_in(tmp_path, database_url=address))
            await closing.enter_async_context(aclosing(services))
            await create_tables(services.database)
            entered, may_end = asyncio.Event(), asyncio.Event()

            async def holds(work: Any, message: Message) -> None:
                await note(work, message)
                entered.set()
                await may_end.wait()
                if not commits:
                    msg = "no"
                    raise ValueError(msg)

            once = Once(services, "orders")
            first = asyncio.create_task(once.run(handler(holds), ONE))
            await entered.wait()
            second = asyncio.create_task(once.run(handler(), ONE))
            blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :query")
            async with services.database.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                asked = {"query": "INSERT INTO idempotency_records%"}
                for _ in range(1000):
                    if (await connection.execute(blocked, asked)).scalar():
                        break
                    await asyncio.sleep(0.01)
                else:
                    pytest.fail("the second one does not wait")
            may_end.set()
            ended = await asyncio.gather(first, second, return_exceptions=True)
            assert ended[1] == (not commits)
            assert await effects(services) == 1


async def test_waits_no_longer_than_the_lock_timeout(tmp_path: Path) -> None:
    """A transaction that takes too long is waited for elsewhere: the message is in progress, and no attempt failed."""
    with own_database("postgresql", tmp_path) as url:
        async with AsyncExitStack() as closing:
            address = url.set(drivername="postgresql").render_as_string(hide_password=False)
            services = bootstrap(
                settings_in(tmp_path, database_url=address, database=DatabaseSettings(lock_timeout=0.1))
            )
            await closing.enter_async_context(aclosing(services))
            await create_tables(services.database)
            entered = asyncio.Event()

            async def holds(work: Any, message: Message) -> None:
                entered.set()
                await asyncio.Event().wait()

            once = Once(services, "orders")
            first = asyncio.create_task(once.run(handler(holds), ONE))
            await entered.wait()
            with pytest.raises(IdempotencyInProgressError):
                await once.run(handler(), ONE)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert await once.run(handler(), ONE)


async def test_expired_record_is_taken(services: Services) -> None:
    """When its time is over a record means nothing any more."""
    once = Once(services, "orders")
    await once.run(handler(), ONE)
    async with services.database.engine.begin() as connection:
        await connection.execute(text("UPDATE idempotency_records SET expires_at = 1"))
    assert await once.run(handler(), ONE)
    assert (await effects(services), await kept(services)) == (2, 1)
    assert not await once.run(handler(), ONE)


async def test_damaged_record(services: Services) -> None:
    """A record that cannot be read still says that the message was handled."""
    once = Once(services, "orders")
    await once.run(handler(), ONE)
    async with services.database.engine.begin() as connection:
        await connection.execute(text("UPDATE idempotency_records SET answer = 'x'"))
    assert not await once.run(handler(), ONE)
    assert not await once.run(handler(takes_work=False), ONE)
    assert await effects(services) == 1


async def test_database_that_fails(services: Services) -> None:
    """When the record cannot be kept nothing runs, and the error is temporary."""
    async with services.database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE idempotency_records"))
    with pytest.raises(IdempotencyStoreError) as failed:
        await Once(services, "orders").run(handler(), ONE)
    assert failed.value.retryable
    assert await effects(services) == 0


@pytest.mark.parametrize("first", [True, False])
async def test_one_record_with_and_without_work(services: Services, first: bool) -> None:
    """A handler that begins or ceases to take a unit of work knows what it handled before."""
    calls: list[object] = []

    async def see(*given: object) -> None:
        calls.append(given[-1])

    once = Once(services, "orders")
    assert await once.run(handler(see, takes_work=first), ONE)
    assert not await once.run(handler(see, takes_work=not first), ONE)
    other = placed(2, id="m-1")
    with pytest.raises(IdempotencyKeyReusedError, match="same id and another type or other data"):
        await once.run(handler(see, takes_work=not first), other)
    assert calls == [ONE]


async def test_without_work(services: Services) -> None:
    """A handler without a unit of work is called with the message alone, once; one that fails is called again."""
    calls: list[object] = []

    async def see(message: Message) -> None:
        calls.append(message)
        if len(calls) == 1:
            msg = "no"
            raise ValueError(msg)

    once = Once(services, "orders")
    with pytest.raises(ValueError, match="no"):
        await once.run(handler(see, takes_work=False), ONE)
    assert [await once.run(handler(see, takes_work=False), ONE) for _ in range(2)] == [True, False]
    assert calls == [ONE, ONE]


async def test_claimed_elsewhere(services: Services) -> None:
    """While a handler without a unit of work runs, the same message is in progress, for either kind of handler."""
    entered, may_end = asyncio.Event(), asyncio.Event()

    async def holds(message: Message) -> None:
        entered.set()
        await may_end.wait()

    once = Once(services, "orders")
    first = asyncio.create_task(once.run(handler(holds, takes_work=False), ONE))
    await entered.wait()
    for takes_work in (True, False):
        with pytest.raises(IdempotencyInProgressError):
            await once.run(handler(takes_work=takes_work), ONE)
    may_end.set()
    assert await first
    assert not await once.run(handler(), ONE)
    assert await effects(services) == 0


async def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """On SQLite handlers take turns: however long they take together, none fails because the file was locked."""
    services = bootstrap(settings_in(tmp_path, database=DatabaseSettings(lock_timeout=0.05)))
    await create_tables(services.database)

    async def slow(work: Any, message: Message) -> None:
        await note(work, message)
        await asyncio.sleep(0.1)

    once = Once(services, "orders")
    assert all(await asyncio.gather(*[once.run(handler(slow), placed(number)) for number in range(5)]))
    assert await effects(services) == 5
    await services.aclose()


async def test_store_beside(tmp_path: Path) -> None:
    """With a store that is no database the effect commits first, and its record follows."""
    services = bootstrap(settings_in(tmp_path, idempotency=IdempotencySettings(store="memory")))
    assert isinstance(services.idempotency_store, MemoryIdempotencyStore)
    await create_tables(services.database)
    once = Once(services, "orders")
    assert [await once.run(handler(), ONE) for _ in range(2)] == [True, False]
    assert (await effects(services), await kept(services)) == (1, 0)
    with pytest.raises(IdempotencyKeyReusedError):
        await once.run(handler(), placed(2, id="m-1"))
    await services.aclose()


async def test_errors_of_the_handler_are_its_own(services: Services) -> None:
    """An error of idempotency that the handler itself raises is no duplicate."""
    assert isinstance(services.idempotency_store, SqlIdempotencyStore)

    async def fails(*_: object) -> None:
        raise IdempotencyNotReplayableError

    for takes_work in (True, False):
        with pytest.raises(IdempotencyNotReplayableError):
            await Once(services, "orders").run(handler(fails, takes_work=takes_work), ONE)
