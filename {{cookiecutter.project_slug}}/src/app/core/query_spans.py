"""Spans of statements, by OpenTelemetry's conventions (https://opentelemetry.io/docs/specs/semconv/db/database-spans/).

Neither parameters nor the statement's text are on them.
"""

from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.trace import SpanKind

from .spans import Attributes, RecordedSpan, ending, record_error
from .statements import COMMIT, statement_kind


def known_of(system: str, *, namespace: str | None, host: str | None, port: int | None) -> Attributes:
    """Return what is the same for every statement on a database.

    Args:
        system: `sqlite` or `postgresql`.
        namespace: The database's name.
        host: The server.
        port: Its port.

    """
    known = {
        "db.system.name": system,
        "db.namespace": None if system == "sqlite" else namespace,
        "server.address": host,
        "server.port": port,
    }
    return {name: value for name, value in known.items() if value is not None}


def begin_span(above: RecordedSpan, statement: str, table: str, known: Attributes) -> RecordedSpan:
    """Return the span of a statement that begins.

    Args:
        above: The span of the work that sends it.
        statement: Its text.
        table: What it is about, where that is known.
        known: What `known_of` returned.

    """
    kind = statement_kind(statement)
    named = {"db.operation.name": kind, "db.collection.name": table} if table else {"db.operation.name": kind}
    return above.child(f"{kind} {table}" if table else kind, SpanKind.CLIENT, {**known, **named})


def count_batch(span: RecordedSpan, size: int) -> None:
    """Say how many statements were sent at once, where there was more than one.

    Args:
        span: Their span.
        size: How many.

    """
    if size > 1:
        span.set_attribute("db.operation.batch.size", size)


def count_rows(span: RecordedSpan, cursor: Any) -> None:
    """Say how many rows a statement returned, where that is known before they are read.

    Args:
        span: Its span.
        cursor: The driver's cursor.

    """
    is_known = span.attributes["db.system.name"] != "sqlite" and cursor.rowcount >= 0
    if is_known and cursor.description is not None:
        span.set_attribute("db.response.returned_rows", cursor.rowcount)


def end_failed(span: RecordedSpan, error: BaseException, driver_error: BaseException | None) -> None:
    """End the span of a statement that failed.

    Args:
        span: Its span.
        error: What the caller gets.
        driver_error: What the driver raised.

    """
    code = getattr(driver_error, "sqlstate", None)
    if code:
        span.set_attribute("db.response.status_code", code)
    record_error(span, error)
    span.end()


def commit_span(above: RecordedSpan, known: Attributes) -> AbstractContextManager[RecordedSpan]:
    """Return a block that is the span of a commit: that is where a database waits for its disk.

    Args:
        above: The span of the work that commits.
        known: What `known_of` returned.

    """
    return ending(above.child(COMMIT, SpanKind.CLIENT, {**known, "db.operation.name": COMMIT}))
