"""Spans of statements have the names and attributes that OpenTelemetry's conventions ask for."""

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from app.core.query_spans import begin_span, commit_span, count_batch, count_rows, end_failed, known_of
from app.core.spans import RecordedSpan
from app.core.tracing import continue_trace

POSTGRESQL = known_of("postgresql", namespace="shop", host="db", port=5432)


@pytest.fixture
def ended() -> list[RecordedSpan]:
    """Return the spans that ended."""
    return []


@pytest.fixture
def above(ended: list[RecordedSpan]) -> RecordedSpan:
    """Return the span of the work."""
    return RecordedSpan(continue_trace(None), "work", SpanKind.INTERNAL, None, {}, ended.append)


def test_what_is_known_of_a_database() -> None:
    """A server has an address and a database; of a file its path is not told."""
    assert POSTGRESQL == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "server.address": "db",
        "server.port": 5432,
    }
    assert known_of("sqlite", namespace="/var/app.db", host=None, port=None) == {"db.system.name": "sqlite"}


@pytest.mark.parametrize(("table", "name"), [("orders", "SELECT orders"), ("", "SELECT")])
def test_statement(above: RecordedSpan, table: str, name: str) -> None:
    """A span is named by what the statement does to which table, and has none of its text."""
    span = begin_span(above, "SELECT secret FROM orders", table, POSTGRESQL)
    assert (span.name, span.kind, span.parent) == (name, SpanKind.CLIENT, above.trace)
    assert span.attributes["db.operation.name"] == "SELECT"
    assert span.attributes.get("db.collection.name", "") == table
    assert "secret" not in str(span.attributes)


def test_size(above: RecordedSpan) -> None:
    """Many at once are told, one is not; rows are told where they are known."""
    span = begin_span(above, "SELECT 1", "", POSTGRESQL)
    for size in (0, 1):
        count_batch(span, size)
    assert "db.operation.batch.size" not in span.attributes
    count_batch(span, 3)
    for cursor in (SimpleNamespace(rowcount=-1, description=[]), SimpleNamespace(rowcount=2, description=None)):
        count_rows(span, cursor)
    assert "db.response.returned_rows" not in span.attributes
    count_rows(span, SimpleNamespace(rowcount=2, description=[]))
    found = (span.attributes["db.operation.batch.size"], span.attributes["db.response.returned_rows"])
    assert found == (3, 2)


def test_failure(above: RecordedSpan, ended: list[RecordedSpan]) -> None:
    """A statement that failed tells what the caller gets, and the server's code where it gave one."""
    told: Any = KeyError("as the driver has it")
    told.sqlstate = "23505"
    for driver_error in (told, None):
        end_failed(begin_span(above, "SELECT 1", "", POSTGRESQL), ValueError("x"), driver_error)
    assert [span.attributes.get("db.response.status_code") for span in ended] == ["23505", None]
    assert [span.attributes["error.type"] for span in ended] == ["ValueError"] * 2


def test_commit(above: RecordedSpan, ended: list[RecordedSpan]) -> None:
    """A commit is a span for as long as it takes."""
    with commit_span(above, POSTGRESQL):
        assert ended == []
    (span,) = ended
    assert (span.name, span.attributes["db.operation.name"]) == ("COMMIT", "COMMIT")
