"""Each statement is measured, counted for its request, and told when it is slow; its parameters are told nowhere."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, insert, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.adapters.database import Database, new_metadata
from app.core.context import count_queries, request_context
from app.core.query_warnings import SlowQueries
from app.settings_groups import DatabaseSettings

from ..conftest import Log
from ..databases import ENGINES, CountedDatabase, own_database

METADATA: MetaData = new_metadata()
THINGS = Table(
    "things",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), nullable=False, unique=True),
)
VALUE = "hidden-name"
# Every statement is slower than this.
SLOW = DatabaseSettings(slow_query=0.000_000_001)


@pytest.fixture
def counted() -> CountedDatabase:
    """Return what the database is counted with."""
    return CountedDatabase()


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path, counted: CountedDatabase) -> AsyncIterator[Database]:
    """Return a database of each kind, with one table and three rows in it."""
    with own_database(request.param, tmp_path) as url:
        opened = Database(url, SLOW, metrics=counted)
        async with opened.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
            await connection.execute(insert(THINGS), [{"name": name} for name in "abc"])
        # What came until here is no part of a test; slow statements are told anew.
        vars(opened._slow)["_cap"] = vars(SlowQueries(0))["_cap"]
        for series in vars(counted).values():
            series.clear()
        yield opened
        await opened.aclose()


def is_sqlite(database: Database) -> bool:
    """Return whether the database is a file."""
    return database.url.get_backend_name() == "sqlite"


async def execute(database: Database, statement: Any) -> None:
    """Run a statement in a transaction of its own."""
    async with database.session() as session, session.begin():
        await session.execute(statement)


def without_begin(counted: CountedDatabase) -> list[tuple[str, int]]:
    """Return kinds and rows; only SQLite is told in a statement that a transaction begins."""
    return [(kind, rows) for kind, _, rows in counted.queries if kind != "BEGIN"]


async def test_statements_are_timed(database: Database, counted: CountedDatabase) -> None:
    """Each statement and commit is counted with its kind and its duration in seconds."""
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        await session.execute(text("  create table t (a integer)"))
        await session.execute(text("INSERT INTO t VALUES (:a)"), {"a": 1})
        await session.commit()
    assert counted.kinds == ["SELECT", "CREATE", "INSERT", "COMMIT"]
    assert all(0 <= seconds < 60 for _, seconds, _ in counted.queries)


async def test_rows(database: Database, counted: CountedDatabase) -> None:
    """Rows that were changed are counted, and those that were returned where the driver knows them."""
    async with database.session() as session:
        await session.execute(select(THINGS))
        await session.execute(update(THINGS).values(name=THINGS.c.name + "x"))
        await session.execute(update(THINGS).values(name=THINGS.c.name + "x").returning(THINGS.c.id))
        await session.execute(text("CREATE TABLE t (a integer)"))
    returned = -1 if is_sqlite(database) else 3
    assert without_begin(counted) == [("SELECT", returned), ("UPDATE", 3), ("UPDATE", returned), ("CREATE", -1)]


async def test_rows_of_batches(database: Database, counted: CountedDatabase) -> None:
    """Many rows in one call are one statement with all its rows."""
    async with database.engine.begin() as connection:
        await connection.execute(insert(THINGS), [{"name": f"n{number}"} for number in range(50)])
    assert without_begin(counted) == [("INSERT", 50), ("COMMIT", -1)]


async def test_failed_statement_is_measured(database: Database, counted: CountedDatabase, log: Log) -> None:
    """A statement that fails is counted once with its duration, and by the reason; its line names the error."""
    with pytest.raises(IntegrityError):
        async with database.engine.begin() as connection:
            await connection.execute(insert(THINGS).values(name="a"))
    assert without_begin(counted) == [("INSERT", -1)]
    assert counted.failures == ["constraint"]
    (line,) = [line for line in log.named("database.slow_query") if line["kind"] == "INSERT"]
    assert line["error_type"] in ("UniqueViolation", "IntegrityError")


async def test_error_while_reading_counts_no_statement_twice(database: Database, counted: CountedDatabase) -> None:
    """What fails after a statement went well is an error, and no second statement."""
    with pytest.raises(DBAPIError):
        async with database.session() as session:
            await session.execute(text("SELECT nowhere"))
    async with database.session() as session:
        await session.execute(select(THINGS))
    assert [kind for kind, _ in without_begin(counted)] == ["SELECT", "SELECT"]
    assert counted.failures == ["other"]


async def test_slow_statement_is_told(database: Database, counted: CountedDatabase, log: Log) -> None:
    """A slow statement is one warning with its text, table, rows and duration, and a number."""
    with request_context(request_id="r-1"):
        async with database.session() as session:
            await session.execute(update(THINGS).where(THINGS.c.name == VALUE).values(name=VALUE))
    (line,) = [line for line in log.named("database.slow_query") if line["kind"] == "UPDATE"]
    assert (line["level"], line["logger"], line["request_id"]) == ("warning", "app.database", "r-1")
    assert (line["table"], line["rows"], line["suppressed"]) == ("things", 0, 0)
    assert line["statement"].startswith("UPDATE things SET name=")
    assert line["duration_ms"] >= 0
    assert counted.slow.count("UPDATE") == 1


async def test_fast_statement_is_not_told(tmp_path: Path, log: Log, counted: CountedDatabase) -> None:
    """Below the limit nothing is logged, and 0 switches it off."""
    for settings in (DatabaseSettings(slow_query=1000), DatabaseSettings(slow_query=0)):
        with own_database("sqlite", tmp_path) as url:
            database = Database(url, settings, metrics=counted)
            async with database.session() as session:
                await session.execute(text("SELECT 1"))
            await database.aclose()
    assert log.named("database.slow_query") == []
    assert counted.slow == []


async def test_slow_statements_do_not_flood(database: Database, counted: CountedDatabase, log: Log) -> None:
    """Of one statement there is one line, whatever values it has; all are counted."""
    async with database.session() as session:
        for number in range(20):
            await session.execute(text(f"SELECT {number}, 'x{number}'"))
            await session.execute(select(THINGS).where(THINGS.c.id.in_(range(number + 1))))
    told = [line["statement"] for line in log.named("database.slow_query") if line["kind"] == "SELECT"]
    # The list of one has no length.
    assert len(told) <= 3
    assert counted.slow.count("SELECT") == 40


async def test_written_values_are_not_told(database: Database, log: Log) -> None:
    """Values that a person wrote into a statement are no more told than its parameters, and no table is guessed."""
    async with database.session() as session:
        await session.execute(text(f"SELECT 'mail FROM {VALUE}' -- {VALUE}"))
        await session.execute(select(THINGS).where(literal_column(f"'{VALUE}'") == THINGS.c.name))
    lines = [line for line in log.named("database.slow_query") if line["kind"] == "SELECT"]
    assert [line.get("table") for line in lines] == [None, "things"]
    assert lines[0]["statement"] == "SELECT ?"
    assert VALUE not in "".join(log)


async def test_parameters_are_told_nowhere(database: Database, log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """Whether a statement is well, slow or refused: its parameters are on no line, and in no error of any depth."""
    errors: list[BaseException] = []
    # SQLAlchemy tells statements at this level, and asks for it when an engine is made.
    caplog.set_level("INFO", "sqlalchemy")
    database = Database(database.url, SLOW)
    await execute(database, insert(THINGS).values(name=VALUE))
    refused: list[Any] = [
        insert(THINGS).values(name=VALUE),
        insert(THINGS).values([{"name": VALUE}, {"name": VALUE + "2"}]),
        insert(THINGS).values(id=1, name=VALUE + "3"),
        text("INSERT INTO things (id, name) VALUES (:id, :name)").bindparams(id=1, name=VALUE),
        text("SELECT nowhere FROM things WHERE name = :name").bindparams(name=VALUE),
        text("UPDATE things SET id = :a WHERE name = :a").bindparams(a=VALUE),
    ]
    for statement in refused:
        with pytest.raises(DBAPIError) as failed:
            await execute(database, statement)
        error: BaseException | None = failed.value
        while error is not None:
            errors.append(error)
            error = error.__cause__ or error.__context__
    assert len(errors) >= 2 * len(refused)
    assert VALUE not in "".join(f"{error} {error!r} {vars(error).get('orig')!r}" for error in errors)
    await database.aclose()
    assert log.named("database.slow_query")
    assert "INSERT INTO things" in caplog.text
    assert VALUE not in "".join(log) + caplog.text


async def test_queries_of_a_request(database: Database) -> None:
    """A piece of work counts its own statements, whatever opens a context within it, and whatever runs beside it."""

    async def request(number: int) -> int:
        with request_context(request_id=str(number)) as context, count_queries() as queries:
            async with database.session(read_only=True) as session:
                for _ in range(number):
                    await session.execute(select(THINGS))
                    await asyncio.sleep(0)
                with request_context(user_id="u"):
                    await session.execute(select(THINGS.c.id))
            assert queries.most_often()[1] == max(number, 1)
        assert context.query_count().count == queries.count  # type: ignore[attr-defined]
        assert queries.seconds > 0
        return queries.count

    assert await asyncio.gather(*(request(number) for number in range(5))) == [1, 2, 3, 4, 5]


async def test_queries_of_tasks_and_threads(database: Database) -> None:
    """What a piece of work hands to tasks and threads counts for it."""

    async def ask() -> None:
        async with database.session(read_only=True) as session:
            await session.execute(select(THINGS))

    def ask_in_a_thread() -> None:
        with Session(database.sync_engine) as session:
            session.execute(select(THINGS))

    with count_queries() as queries:
        await asyncio.gather(*(ask() for _ in range(3)))
        await asyncio.to_thread(ask_in_a_thread)
    assert queries.count == 4


def test_queries_of_threads(tmp_path: Path) -> None:
    """Threads that work at the same time each count their own, on the engine for code without an event loop."""
    with own_database("sqlite", tmp_path) as url:
        database = Database(url)
        barrier = threading.Barrier(4)

        def work(number: int) -> int:
            with count_queries() as queries:
                barrier.wait(60)
                with database.sync_engine.connect() as connection:
                    for _ in range(number):
                        connection.execute(text("SELECT 1"))
            return queries.count

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(work, range(4))) == [0, 1, 2, 3]
        asyncio.run(database.aclose())


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, counted: CountedDatabase) -> Iterator[Engine]:
    """Return the engine for code without an event loop."""
    with own_database(request.param, tmp_path) as url:
        database = Database(url, SLOW, metrics=counted)
        yield database.sync_engine
        asyncio.run(database.aclose())


def test_sync_engine_is_measured(engine: Engine, counted: CountedDatabase, log: Log) -> None:
    """Code without an event loop is measured like other code."""
    with count_queries() as queries, engine.begin() as connection:
        METADATA.create_all(connection)
        connection.execute(insert(THINGS).values(name=VALUE))
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(THINGS).values(name=VALUE))
    assert counted.kinds.count("INSERT") == 2
    assert counted.kinds.count("COMMIT") == 1
    assert counted.failures == ["constraint"]
    assert len(counted.waits) == 2
    assert queries.count == len([kind for kind in counted.kinds if kind not in ("BEGIN", "COMMIT")]) - 1
    assert "INSERT" in [line["kind"] for line in log.named("database.slow_query")]
    assert VALUE not in "".join(log)


async def test_waiting_for_a_lock_is_a_timeout(tmp_path: Path, counted: CountedDatabase) -> None:
    """A writer that waits too long for another one fails, and is counted so."""
    with own_database("sqlite", tmp_path) as url:
        database = Database(url, DatabaseSettings(lock_timeout=0.01), metrics=counted)
        async with database.engine.begin() as first:
            await first.execute(text("SELECT 1"))
            with pytest.raises(DBAPIError) as failed:
                async with database.engine.begin() as second:
                    await second.execute(text("SELECT 1"))
        await database.aclose()
    assert isinstance(failed.value.orig, sqlite3.OperationalError)
    assert counted.failures == ["timeout"]
