"""Reports as rows, one per fault, on each kind of database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from app.adapters.database import Database
from app.adapters.reporters.database import DatabaseReporter, error_reports
from app.core.database_limits import SHORTEST_CONNECT_SECONDS
from app.core.errors import DatabaseError
from app.migrations import migrate

from ...databases import ENGINES, own_database
from ...reports import a_report, raised


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """Return a migrated database of each kind."""
    with own_database(request.param, tmp_path) as own:
        migrate(own)
        yield own


@pytest.fixture
def reporter(url: URL) -> Iterator[DatabaseReporter]:
    """Return a reporter to the database."""
    opened = DatabaseReporter(url, version="1.2.3")
    yield opened
    opened.close()


def rows(url: URL) -> list[Any]:
    """Return what the table holds, the first fault first."""
    engine = create_engine(url.set(drivername=url.drivername.replace("+aiosqlite", "")))
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(error_reports).order_by(error_reports.c.first_seen)))
    finally:
        engine.dispose()


def moment(value: datetime) -> datetime:
    """Return a time with its zone, which SQLite does not keep."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def test_one_row_per_fault(url: URL, reporter: DatabaseReporter) -> None:
    """A fault is one row: how often, first and last time, and what the last occurrence said."""
    faults = [raised(DatabaseError("first")), raised(DatabaseError("second"))]
    reports = [a_report(faults[0]), a_report(faults[1], suppressed=7, operation="pay"), a_report(raised(KeyError("x")))]
    for report in reports:
        reporter.report(report)
    first, second = rows(url)
    assert (first.error_type, first.code, first.severity) == ("app.core.errors.DatabaseError", "DATABASE_ERROR", "high")
    assert (first.message, first.occurrences, first.version) == ("second", 9, "1.2.3")
    assert (moment(first.first_seen), moment(first.last_seen)) == (reports[0].timestamp, reports[1].timestamp)
    assert json.loads(first.last_report)["context"] == {"operation": "pay"}
    assert (second.error_type, second.occurrences) == ("KeyError", 1)


def test_text_that_databases_refuse(url: URL, reporter: DatabaseReporter) -> None:
    """NUL and lone surrogates in a message do not keep it out."""
    reporter.report(a_report(RuntimeError("a\x00b \ud800")))
    assert rows(url)[0].message == "a\\x00b \\ud800"


async def test_apart_from_the_failed_transaction(url: URL, reporter: DatabaseReporter) -> None:
    """A report stays when the transaction of the request that failed is undone."""
    database = Database(url)
    async with database.session(read_only=True) as session:
        await session.execute(select(error_reports))
        reporter.report(a_report())
        await session.rollback()
    await database.aclose()
    assert len(rows(url)) == 1


def test_without_a_table(tmp_path: Path) -> None:
    """On a database that was not migrated it fails, as its worker expects it to."""
    with own_database("sqlite", tmp_path) as url:
        opened = DatabaseReporter(url, version="1")
        with pytest.raises(SQLAlchemyError, match="no such table"):
            opened.report(a_report())
        opened.close()


def test_time_to_connect() -> None:
    """Where a server says nothing a report waits the shortest time that libpq can, not the minutes that it would."""
    opened = DatabaseReporter(make_url("postgresql+psycopg://me@127.0.0.1:1/none"), version="1")
    asked: list[Any] = []
    event.listen(opened._engine, "do_connect", lambda *given: asked.append(given[-1].get("connect_timeout")))
    with pytest.raises(SQLAlchemyError):
        opened.report(a_report())
    assert asked == [SHORTEST_CONNECT_SECONDS]
    opened.close()
