"""A statement that is sent as text does what SQLAlchemy's own does, and is seen as such."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind
from sqlalchemy import Column, Integer, MetaData, String, Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.adapters.database import Database, new_metadata
from app.adapters.database_text import StatementText, run_text
from app.core.spans import RecordedSpan, attached
from app.core.tracing import continue_trace

from ..databases import ENGINES, CountedDatabase, own_database

METADATA: MetaData = new_metadata()
THINGS = Table("things", METADATA, Column("id", Integer, primary_key=True), Column("name", String(40), unique=True))
ADD = insert(THINGS).values(name=bindparam("of_name", type_=String), id=bindparam("of_id", type_=Integer))
RENAME = update(THINGS).values(name=bindparam("of_name", type_=String)).where(THINGS.c.id > bindparam("of_id"))


@pytest.fixture
def counted() -> CountedDatabase:
    """Return what the database is counted with."""
    return CountedDatabase()


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path, counted: CountedDatabase) -> AsyncIterator[Database]:
    """Return a database of each kind, with one table."""
    with own_database(request.param, tmp_path) as url:
        opened = Database(url, metrics=counted)
        async with opened.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        counted.queries.clear()
        yield opened
        await opened.aclose()


async def test_runs_with_named_parameters(database: Database) -> None:
    """Whatever the order in which the database wants them; how many rows changed is told."""

    def run(session: Session) -> list[int]:
        connection = session.connection()
        add, rename = (StatementText(one, connection.dialect) for one in (ADD, RENAME))
        added = [run_text(connection, add, {"of_id": number, "of_name": f"n{number}"}) for number in (1, 2)]
        return [*added, run_text(connection, rename, {"of_id": 1, "of_name": "x"})]

    async with database.session() as session:
        assert await session.run_sync(run) == [1, 1, 1]
        assert (await session.execute(select(THINGS.c.name).order_by(THINGS.c.id))).scalars().all() == ["n1", "x"]


async def test_is_measured_and_traced_as_any_other(database: Database, counted: CountedDatabase) -> None:
    """Its span names its table, for SQLAlchemy wrote it."""
    spans: list[RecordedSpan] = []

    def run(session: Session) -> None:
        connection = session.connection()
        run_text(connection, StatementText(ADD, connection.dialect), {"of_id": 1, "of_name": "n"})

    above = RecordedSpan(continue_trace(None), "request", SpanKind.SERVER, None, {}, spans.append)
    with attached(above):
        async with database.session() as session:
            await session.run_sync(run)
    assert [span.name for span in spans] == ["INSERT things"]
    assert [(kind, rows) for kind, _, rows in counted.queries] == [("INSERT", 1)]
