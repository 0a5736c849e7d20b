"""Warnings of statements that are too slow or too many."""

from types import SimpleNamespace

import pytest

from app.core.queries import QueryCount
from app.core.query_warnings import ManyQueries, SlowQueries

from ..conftest import Log


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a clock that stands until a test moves it."""
    now = [100.0]
    monkeypatch.setattr("app.core.query_warnings.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_slow_statement(log: Log) -> None:
    """A line says what is known, and nothing of what is not."""
    SlowQueries(0.5).warn("SELECT 'ada' FROM t", "SELECT", 0.75, table="t", rows=None, error_type="")
    (line,) = log.named("database.slow_query")
    assert (line["statement"], line["kind"], line["table"]) == ("SELECT ? FROM t", "SELECT", "t")
    assert (line["duration_ms"], line["suppressed"]) == (750.0, 0)
    assert {"rows", "error_type"}.isdisjoint(line)


def test_once_a_minute(log: Log, clock: list[float]) -> None:
    """Of one statement there is a line a minute, with the number of those in between; another one has its own."""
    slow = SlowQueries(0.5)
    for seconds in (0, 1, 58, 1):
        clock[0] += seconds
        slow.warn(f"SELECT {clock[0]}", "SELECT", 1)
    slow.warn("SELECT a", "SELECT", 1)
    assert [(line["statement"], line["suppressed"]) for line in log.named("database.slow_query")] == [
        ("SELECT ?", 0),
        ("SELECT ?", 2),
        ("SELECT a", 0),
    ]


def test_many_statements(log: Log, clock: list[float]) -> None:
    """A line names the statement that ran most often, once a minute for each operation."""
    many = ManyQueries(2)
    queries = QueryCount()
    for number in range(3):
        queries.add(f"SELECT {number}", 0.001)
    for seconds in (0, 30, 30):
        clock[0] += seconds
        many.warn("GET /orders", queries)
    first, second = log.named("database.many_queries")
    assert (first["operation"], first["queries"], first["query_ms"]) == ("GET /orders", 3, 3.0)
    assert (first["statement"], first["times"]) == ("SELECT ?", 3)
    assert (first["suppressed"], second["suppressed"]) == (0, 1)


def test_no_limits() -> None:
    """0 is no limit."""
    assert SlowQueries(0).seconds > 10**9
    assert ManyQueries(0).limit > 10**9
