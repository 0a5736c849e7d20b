"""Statements are spans below the request's, on asynchronous engines too, and hold no value."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import DBAPIError

from app.adapters.database import Database, new_metadata, sync_engine
from app.adapters.unit_of_work import UnitOfWork
from app.core.spans import RecordedSpan, attached
from app.core.tracing import PositionSpan, Trace, continue_trace

from ..databases import ENGINES, own_database

METADATA: MetaData = new_metadata()
THINGS = Table(
    "things", METADATA, Column("id", Integer, primary_key=True), Column("name", String(40), nullable=False, unique=True)
)
POSITION = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)
VALUE = "hidden-name"


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database of each kind, with one table."""
    with own_database(request.param, tmp_path) as url:
        opened = Database(url)
        async with opened.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        yield opened
        await opened.aclose()


@pytest.fixture
def finished() -> list[RecordedSpan]:
    """Return the spans that have ended."""
    return []


def request_span(finished: list[RecordedSpan]) -> RecordedSpan:
    """Return the span of a request."""
    return RecordedSpan(continue_trace(POSITION), "request", SpanKind.SERVER, None, {}, finished.append)


@pytest.fixture
def above(finished: list[RecordedSpan]) -> Iterator[RecordedSpan]:
    """Return the current span."""
    with attached(request_span(finished)) as span:
        yield span


def names(finished: list[RecordedSpan]) -> list[str]:
    """Return what was done, without the beginning of a transaction, which only SQLite says in a statement."""
    return [span.name for span in finished if span.name != "BEGIN"]


async def test_statements(database: Database, above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """Each statement and each commit is a client span below the current one, named by what it does to which table."""
    work = UnitOfWork(database, read_only=False)
    await work.session.execute(insert(THINGS).values(name=VALUE))
    await work.session.execute(select(THINGS).where(THINGS.c.name == VALUE))
    await work.commit()
    await work.aclose()
    assert names(finished) == ["INSERT things", "SELECT things", "COMMIT"]
    assert {(span.parent, span.kind) for span in finished} == {(above.trace, SpanKind.CLIENT)}
    assert all(span.start_time <= span.end_time for span in finished)
    assert VALUE not in str([span.attributes for span in finished])


async def test_attributes(database: Database, above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A span says which database, what and where, as OpenTelemetry's conventions have it."""
    async with database.session() as session:
        await session.execute(select(THINGS))
    attributes = finished[-1].attributes
    assert (attributes["db.operation.name"], attributes["db.collection.name"]) == ("SELECT", "things")
    url = database.url
    where = {
        "db.system.name": url.get_backend_name(),
        "db.namespace": url.database,
        "server.address": url.host,
        "server.port": url.port,
    }
    known = {name: attributes.get(name) for name in where}
    is_file = url.get_backend_name() == "sqlite"
    assert known == (dict.fromkeys(where) | {"db.system.name": "sqlite"} if is_file else where)


async def test_statement_of_a_person(database: Database, above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """In a statement that somebody wrote a word after FROM may be part of a value: it is on no span."""
    async with database.session() as session:
        await session.execute(text(f"SELECT 'mail FROM {VALUE}'"))
    assert names(finished) == ["SELECT"]
    assert VALUE not in str([span.attributes for span in finished])


async def test_failed_statement(database: Database, above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A statement that fails is an error on its span, without the values."""
    async with database.engine.begin() as connection:
        await connection.execute(insert(THINGS).values(name=VALUE))
    finished.clear()
    with pytest.raises(DBAPIError):
        async with database.engine.begin() as connection:
            await connection.execute(insert(THINGS).values(name=VALUE))
    span = finished[-1]
    assert (span.name, span.status.name, span.attributes["error.type"]) == ("INSERT things", "ERROR", "IntegrityError")
    assert len(span.events) == 1
    assert VALUE not in str(span.events)
    if database.url.get_backend_name() == "postgresql":
        assert span.attributes["db.response.status_code"] == "23505"


async def test_concurrent_requests(database: Database, finished: list[RecordedSpan]) -> None:
    """Statements of requests that run at the same time are each below their own request."""

    async def request() -> str:
        with attached(request_span(finished)) as span:
            async with database.session(read_only=True) as session:
                for _ in range(3):
                    await session.execute(select(THINGS))
                    await asyncio.sleep(0)
            return span.trace.span_id

    ids = await asyncio.gather(*(request() for _ in range(4)))
    parents = [span.parent.span_id for span in finished if span.name == "SELECT things" and span.parent]
    assert sorted(parents) == sorted([*ids] * 3)


@pytest.mark.parametrize("span", [None, PositionSpan(POSITION._replace(flags=0))])
async def test_nothing_is_recorded(database: Database, finished: list[RecordedSpan], span: PositionSpan | None) -> None:
    """Outside of a recorded span a statement is none."""

    async def work() -> None:
        async with database.session() as session:
            await session.execute(insert(THINGS).values(name=VALUE))
            await session.commit()

    if span is None:
        await work()
    else:
        with attached(span):
            await work()
    assert finished == []


def test_sync_engine(tmp_path: Path, above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """Code without an event loop has its statements on spans too."""
    with own_database("sqlite", tmp_path) as url:
        engine = sync_engine(url)
        with engine.begin() as connection:
            METADATA.create_all(connection)
            connection.execute(insert(THINGS).values(name=VALUE))
        engine.dispose()
    assert names(finished)[-2:] == ["INSERT things", "COMMIT"]
    assert {span.parent for span in finished} == {above.trace}


async def test_failed_commit(above: RecordedSpan, finished: list[RecordedSpan], tmp_path: Path) -> None:
    """A commit that fails is an error on its span."""
    with own_database("postgresql", tmp_path) as url:
        database = Database(url)
        async with database.session() as session:
            await session.execute(text("CREATE TABLE a (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
            await session.execute(text("INSERT INTO a VALUES (1), (1)"))
            with pytest.raises(DBAPIError):
                await session.commit()
        await database.aclose()
    assert [(span.name, span.status.name) for span in finished][-1] == ("COMMIT", "ERROR")


async def test_rows_and_batches(database: Database, above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A span says how many rows came back, where the driver knows, and how many sets of values a batch had."""
    async with database.session() as session:
        add = text("INSERT INTO things (id, name) VALUES (:id, :name)")
        await session.execute(add, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        await session.execute(add, [{"id": 3, "name": "c"}])
        await session.execute(select(THINGS))
    sizes = [span.attributes.get("db.operation.batch.size") for span in finished if span.name == "INSERT"]
    rows = [span.attributes.get("db.response.returned_rows") for span in finished]
    assert sizes == [2, None]
    assert rows[-1] == (None if database.url.get_backend_name() == "sqlite" else 3)
    assert set(rows[:-1]) == {None}
