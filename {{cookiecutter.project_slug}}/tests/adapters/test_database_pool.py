"""The pool tells what its connections do, who waits for one, and for how long."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.adapters.database import Database
from app.core.connection_pool import PoolState
from app.settings_groups import DatabaseSettings

from ..databases import ENGINES, CountedDatabase, own_database

SMALL = DatabaseSettings(pool_size=1, pool_overflow=1, pool_timeout=0.05)


@pytest.fixture
def counted() -> CountedDatabase:
    """Return what the database is counted with."""
    return CountedDatabase()


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path, counted: CountedDatabase) -> AsyncIterator[Database]:
    """Return a database of each kind with two connections at the most, one of which stays open."""
    with own_database(request.param, tmp_path) as url:
        opened = Database(url, SMALL, metrics=counted)
        yield opened
        await opened.aclose()


async def test_state(database: Database) -> None:
    """Connections in use and idle are told without asking the database; one for a peak is not kept."""
    assert database.pool_state() == PoolState(0, 0, 2)
    async with database.engine.connect(), database.engine.connect():
        assert database.pool_state() == PoolState(2, 0, 2)
    assert database.pool_state() == PoolState(0, 1, 2)


async def test_both_pools_count(database: Database) -> None:
    """Connections of code without an event loop are connections too."""
    with database.sync_engine.connect():
        async with database.engine.connect():
            assert database.pool_state() == PoolState(2, 0, 4)
    assert database.pool_state() == PoolState(0, 2, 4)


async def test_nobody_waits_for_ever(database: Database, counted: CountedDatabase) -> None:
    """Who finds all connections in use waits for a bounded time, is counted, and is an outage."""
    async with database.engine.connect(), database.engine.connect():
        with pytest.raises(PoolTimeoutError):
            async with database.engine.connect():
                raise AssertionError
    assert (database.pool_state().timeouts, database.pool_state().waiting) == (1, 0)
    assert counted.failures == ["unavailable"]
    assert len(counted.waits) == 2


async def test_who_waits_is_seen(tmp_path: Path, counted: CountedDatabase) -> None:
    """Who waits for a connection is seen while it waits, and is served when one is free."""
    with own_database("sqlite", tmp_path) as url:
        database = Database(url, DatabaseSettings(pool_size=1, pool_overflow=0, pool_timeout=60), metrics=counted)

        async def work() -> None:
            async with database.engine.connect():
                pass

        async with database.engine.connect():
            waiting = [asyncio.create_task(work()) for _ in range(3)]
            await asyncio.sleep(0)
            assert database.pool_state() == PoolState(1, 0, 1, waiting=3)
        await asyncio.gather(*waiting)
        assert database.pool_state() == PoolState(0, 1, 1)
        await database.aclose()
    assert len(counted.waits) == 4


def test_threads_wait_too(tmp_path: Path, counted: CountedDatabase) -> None:
    """The count of those who wait is right when threads change it at the same time."""
    with own_database("sqlite", tmp_path) as url:
        database = Database(url, DatabaseSettings(pool_size=2, pool_overflow=0, pool_timeout=60), metrics=counted)
        barrier = threading.Barrier(8)

        def work(_number: int) -> None:
            barrier.wait(60)
            for _ in range(20):
                with database.sync_engine.connect():
                    pass

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        assert database.pool_state().waiting == 0
        assert len(counted.waits) == 160
        asyncio.run(database.aclose())


async def test_pool_that_is_made_anew_is_watched(database: Database, counted: CountedDatabase) -> None:
    """After all connections were closed the next ones are watched as those before."""
    for _ in range(2):
        async with database.engine.connect():
            pass
        await database.aclose()
    assert len(counted.waits) == 2
