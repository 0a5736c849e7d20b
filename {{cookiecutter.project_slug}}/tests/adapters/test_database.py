"""The database: what commits together, who waits for whom, and what is told of a statement."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.adapters.database import Database, new_metadata
from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork

from ..databases import ENGINES, CountedDatabase, own_database

METADATA: MetaData = new_metadata()
THINGS = Table(
    "things",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), nullable=False, unique=True),
    Column("note", String(10), nullable=False),
)


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database of each kind, with one table."""
    with own_database(request.param, tmp_path) as url:
        opened = Database(url)
        async with opened.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        yield opened
        await opened.aclose()


def thing(name: str) -> dict[str, str]:
    """Return a row."""
    return {"name": name, "note": "n"}


async def names(database: Database) -> list[str]:
    """Return what is in the table, as another connection sees it."""
    async with database.session(read_only=True) as session:
        return list((await session.execute(select(THINGS.c.name).order_by(THINGS.c.name))).scalars())


async def test_unit_of_work_commits(database: Database) -> None:
    """What a unit of work did is seen by others once it has committed."""
    work = UnitOfWork(database, read_only=False)
    await work.session.execute(insert(THINGS).values(thing("a")))
    assert await names(database) == []
    await work.commit()
    assert await names(database) == ["a"]
    await work.aclose()


@pytest.mark.parametrize("way", ["rollback", "aclose"])
async def test_unit_of_work_is_undone(database: Database, way: str) -> None:
    """What was not committed is undone, and the connection is free again."""
    work = UnitOfWork(database, read_only=False)
    await work.session.execute(insert(THINGS).values(thing("a")))
    await getattr(work, way)()
    await work.aclose()
    assert await names(database) == []


LATE = (
    "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
    "CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
)


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_commit_that_fails(database: Database, mode: str) -> None:
    """What a database refuses only at the commit is undone at once: lock and connection are the next one's."""
    async with database.engine.begin() as connection:
        for statement in LATE:
            await connection.execute(text(statement))
    orphan = text("INSERT INTO children VALUES (7)")

    async def fail() -> UnitOfWork:
        work = UnitOfWork(database, read_only=False)
        await work.session.execute(orphan)
        with pytest.raises(IntegrityError):
            await work.commit()
        return work

    def fail_sync() -> SyncUnitOfWork:
        work = SyncUnitOfWork(database.sync_engine)
        work.session.execute(orphan)
        with pytest.raises(IntegrityError):
            work.commit()
        return work

    failed = await fail() if mode == "async" else await asyncio.to_thread(fail_sync)
    # While the unit of work is open, by another connection, and by its own when that is free.
    for name in ("a", "b"):
        async with database.session() as session, session.begin():
            await session.execute(insert(THINGS).values(thing(name)))
        await (failed.aclose() if isinstance(failed, UnitOfWork) else asyncio.to_thread(failed.close))
    assert await names(database) == ["a", "b"]
    with database.sync_engine.begin() as again:
        again.execute(insert(THINGS).values(thing("c")))


async def test_unit_of_work_goes_on_after_a_rollback(database: Database) -> None:
    """After a rollback the unit of work takes new statements."""
    work = UnitOfWork(database, read_only=False)
    await work.session.execute(insert(THINGS).values(thing("a")))
    await work.rollback()
    await work.session.execute(insert(THINGS).values(thing("b")))
    await work.commit()
    await work.aclose()
    assert await names(database) == ["b"]


async def test_unit_of_work_without_a_statement(tmp_path: Path) -> None:
    """A unit of work that does nothing never connects."""
    counted = CountedDatabase()
    database = Database(make_url(f"sqlite+aiosqlite:///{tmp_path}/x.db"), metrics=counted)
    work = UnitOfWork(database, read_only=False)
    await work.commit()
    await work.rollback()
    await work.aclose()
    assert not (tmp_path / "x.db").exists()
    assert (counted.queries, counted.waits) == ([], [])


async def test_reader_does_not_wait_for_a_writer(database: Database) -> None:
    """A session that only reads sees the last commit while somebody writes."""
    work = UnitOfWork(database, read_only=False)
    await work.session.execute(insert(THINGS).values(thing("a")))
    async with asyncio.timeout(4):
        assert await names(database) == []
        await database.ping()
    await work.aclose()


async def test_writers_queue(database: Database) -> None:
    """Writers at the same moment wait for each other, also those that read before they write."""

    async def add(name: str) -> None:
        async with database.session() as session, session.begin():
            count = (await session.execute(select(func.count()).select_from(THINGS))).scalar_one()
            await asyncio.sleep(0.01)
            await session.execute(insert(THINGS).values(name=name, note=str(count)))

    await asyncio.gather(*(add(str(number)) for number in range(10)))
    assert len(await names(database)) == 10


@pytest.mark.parametrize("row", [thing("hidden-name"), {"name": "hidden-name", "note": None}], ids=["taken", "missing"])
async def test_values_are_not_in_errors(database: Database, row: dict[str, str | None]) -> None:
    """An error of the database does not repeat what was to be stored."""
    async with database.engine.begin() as connection:
        await connection.execute(insert(THINGS).values(thing("hidden-name")))
    with pytest.raises(IntegrityError) as failed:
        async with database.engine.begin() as connection:
            await connection.execute(insert(THINGS).values(row))
    error = failed.value
    texts = f"{error} {error!r} {error.orig} {error.orig!r} {error.__cause__}"
    assert "constraint" in texts.lower()
    assert "hidden-name" not in texts


async def test_unknown_table_is_named(database: Database) -> None:
    """An error of the database still says what is wrong with the statement."""
    with pytest.raises(DBAPIError, match="nowhere"):
        async with database.session() as session:
            await session.execute(text("SELECT * FROM nowhere"))


async def test_ping(database: Database) -> None:
    """A database that answers passes."""
    await database.ping()


async def test_ping_without_a_database() -> None:
    """A database that does not answer is an error, and soon."""
    database = Database(make_url("postgresql+psycopg://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(DBAPIError):
        await database.ping()
    await database.aclose()


async def test_folder_of_the_database_is_made(tmp_path: Path) -> None:
    """The folder of a SQLite file is made when it is missing."""
    database = Database(make_url(f"sqlite+aiosqlite:///{tmp_path}/new/folder/x.db"))
    await database.ping()
    await database.aclose()
    assert (tmp_path / "new/folder/x.db").exists()


async def test_foreign_keys_are_held(tmp_path: Path) -> None:
    """SQLite holds foreign keys, which it does not by itself, and keeps a log that readers can work beside."""
    database = Database(make_url(f"sqlite+aiosqlite:///{tmp_path}/x.db"))
    async with database.session() as session:
        assert (await session.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1
        assert (await session.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
    await database.aclose()


def test_constraints_have_names() -> None:
    """A constraint has the same name on every database, so that a migration can find it."""
    assert {str(constraint.name) for constraint in THINGS.constraints} == {"pk_things", "uq_things_name"}


def test_sync_engine(tmp_path: Path) -> None:
    """Code without an event loop works on the same database, through an engine that is made once."""
    database = Database(make_url(f"sqlite+aiosqlite:///{tmp_path}/x.db"))
    assert database.sync_engine is database.sync_engine
    with database.sync_engine.begin() as connection:
        METADATA.create_all(connection)
        connection.execute(insert(THINGS).values(thing("a")))
    assert asyncio.run(names(database)) == ["a"]
    asyncio.run(database.aclose())
    assert database.pool_state().idle == 0
