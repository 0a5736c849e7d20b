"""A statement on SQLite is one step on its connection's thread, and a transaction begins with its first statement."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import Column, Integer, String, Table, insert, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from app.adapters.database import Database, new_metadata
from app.settings_groups import DatabaseSettings

from ..databases import own_database

METADATA = new_metadata()
THINGS = Table("things", METADATA, Column("id", Integer, primary_key=True), Column("name", String(40), nullable=False))
ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT max(i) FROM n")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database with one table, whose connection was used before."""
    with own_database("sqlite", tmp_path) as url:
        opened = Database(url, DatabaseSettings(lock_timeout=0.05))
        async with opened.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        yield opened
        await opened.aclose()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, database: Database) -> list[object]:
    """Return what is done on the threads of connections, from here on."""
    done: list[object] = []
    plain: Any = aiosqlite.Connection._execute

    async def execute(self: aiosqlite.Connection, function: object, *given: object, **options: object) -> object:
        done.append(function)
        return await plain(self, function, *given, **options)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", execute)
    return done


async def names(database: Database) -> list[str]:
    """Return what is in the table, as another connection sees it."""
    async with database.session(read_only=True) as session:
        return list((await session.execute(select(THINGS.c.name).order_by(THINGS.c.id))).scalars())


@contextmanager
def other_writer(database: Database) -> Iterator[None]:
    """Hold the lock of the file within the block, as another process does."""
    with closing(sqlite3.connect(str(database.url.database), isolation_level=None, timeout=0)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


async def test_a_statement_is_one_step(database: Database, steps: list[object]) -> None:
    """Of a transaction with two statements each is one step, its beginning and its rows included, and the commit is."""
    async with database.session() as session:
        added = insert(THINGS).values(name="a").returning(THINGS.c.id)
        assert (await session.execute(added)).scalars().all() == [1]
        assert (await session.execute(select(THINGS.c.name))).scalars().all() == ["a"]
        await session.commit()
    assert len(steps) == 3
    assert await names(database) == ["a"]


async def test_what_a_statement_says_of_itself(database: Database) -> None:
    """How many rows it changed, which number a row got, and that there may be many at once."""
    async with database.engine.begin() as connection:
        first = await connection.execute(text("INSERT INTO things (name) VALUES ('a')"))
        await connection.execute(insert(THINGS), [{"name": "b"}, {"name": "c"}])
        changed = await connection.execute(text("UPDATE things SET name = name || '!'"))
    assert (first.lastrowid, first.rowcount, changed.rowcount) == (1, 1, 3)
    assert await names(database) == ["a!", "b!", "c!"]


async def test_rows_one_by_one(database: Database) -> None:
    """A result that is streamed is read in the transaction, also when it is the first that happens there."""
    async with database.engine.begin() as connection:
        await connection.execute(insert(THINGS), [{"name": "a"}, {"name": "b"}])
    async with database.engine.begin() as connection, connection.stream(select(THINGS.c.name)) as rows:
        with pytest.raises(sqlite3.OperationalError, match="locked"), other_writer(database):
            pytest.fail("it is not in a transaction")
        assert [row.name async for row in rows] == ["a", "b"]


async def test_a_transaction_without_a_statement_holds_up_nobody(database: Database, steps: list[object]) -> None:
    """It is not begun before its first statement, and there is nothing to commit."""
    async with database.engine.begin():
        with other_writer(database):
            pass
    assert steps == []


async def test_a_statement_that_fails_leaves_its_transaction_begun(database: Database) -> None:
    """The statements after it belong to the same transaction, and what was done is undone as a whole."""
    async with database.engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(insert(THINGS).values(name=None))
        await connection.execute(insert(THINGS).values(name="a"))
        await connection.rollback()
        await connection.execute(insert(THINGS).values(name="b"))
        await connection.commit()
    assert await names(database) == ["b"]


async def test_a_transaction_that_cannot_begin(database: Database) -> None:
    """Its statement fails as the beginning would; the next one begins it, and is never on its own."""
    async with database.engine.connect() as connection:
        with other_writer(database), pytest.raises(OperationalError, match="locked"):
            await connection.execute(insert(THINGS).values(name="a"))
        await connection.execute(insert(THINGS).values(name="b"))
        await connection.rollback()
    assert await names(database) == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_transaction_that_has_ended_begins_nothing(database: Database, end: str) -> None:
    """What is asked of the connection afterwards, as the pool asks whether it lives, waits for nobody who writes."""

    def ask(connection: Connection) -> None:
        dbapi: Any = connection.connection.dbapi_connection
        dbapi.cursor().execute("SELECT 1")

    async with database.engine.connect() as connection:
        transaction = await connection.begin()
        await getattr(transaction, end)()
        with other_writer(database):
            await connection.run_sync(ask)


async def test_a_statement_that_is_cancelled(database: Database) -> None:
    """Its connection ends when the statement does, what it did is undone, and another one goes on."""
    async with database.engine.connect() as connection:
        await connection.execute(insert(THINGS).values(name="a"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await connection.execute(ENDLESS)
    async with database.engine.begin() as connection:
        await connection.execute(insert(THINGS).values(name="b"))
    assert await names(database) == ["b"]


async def test_a_connection_that_was_closed(database: Database) -> None:
    """Its statement is an error of the database that SQLAlchemy knows as a lost connection."""
    async with database.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.close()
        with pytest.raises(DBAPIError) as failed:
            await connection.execute(select(THINGS))
    assert failed.value.connection_invalidated
    assert await names(database) == []
