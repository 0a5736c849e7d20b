"""Spans of statements, by OpenTelemetry's conventions (https://opentelemetry.io/docs/specs/semconv/db/database-spans/).

A statement is a span below the current one where that one is recorded, and costs one look at a context variable where
it is not. Neither parameters nor the statement's text are on it.
"""

from typing import Any

from opentelemetry.trace import SpanKind
from sqlalchemy import TextClause, event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.pool import PoolProxiedConnection

from ..core.spans import Attributes, RecordedSpan, ending, record_error, recorded_span
from ..core.statements import statement_kind, statement_table

_SPAN = "app_span"


def trace_statements(engine: Engine) -> None:
    """Have each statement and commit of an engine be a span.

    Args:
        engine: The engine; of an asynchronous one its `sync_engine`, whose events run in the caller's context.

    """
    known = _known(engine)

    @event.listens_for(engine, "before_cursor_execute")
    def before(connection: Connection, _c: Any, statement: str, _p: Any, context: Any, _many: bool) -> None:
        above = recorded_span()
        if above is not None:
            connection.info[_SPAN] = _begin(above, statement, context, known)

    @event.listens_for(engine, "after_cursor_execute")
    def after(connection: Connection, *_: Any) -> None:
        span = connection.info.pop(_SPAN, None)
        if span is not None:
            span.end()

    @event.listens_for(engine, "handle_error")
    def fail(context: ExceptionContext) -> None:
        span = context.connection.info.pop(_SPAN, None) if context.connection is not None else None
        if span is not None:
            _end_failed(span, context)

    _trace_commits(engine, known)


def _known(engine: Engine) -> Attributes:
    """Return what is the same for every statement."""
    url = engine.url
    known = {
        "db.system.name": engine.dialect.name,
        "db.namespace": None if engine.dialect.name == "sqlite" else url.database,
        "server.address": url.host,
        "server.port": url.port,
    }
    return {name: value for name, value in known.items() if value is not None}


def _begin(above: RecordedSpan, statement: str, context: ExecutionContext | None, known: Attributes) -> RecordedSpan:
    kind = statement_kind(statement)
    table = statement_table(statement) if _is_composed(context) else ""
    named = {"db.operation.name": kind, "db.collection.name": table} if table else {"db.operation.name": kind}
    return above.child(f"{kind} {table}" if table else kind, SpanKind.CLIENT, {**known, **named})


def _is_composed(context: ExecutionContext | None) -> bool:
    """Return whether SQLAlchemy wrote the statement, not a person."""
    compiled = getattr(context, "compiled", None)
    return compiled is not None and not isinstance(compiled.statement, TextClause)


def _end_failed(span: RecordedSpan, context: ExceptionContext) -> None:
    code = getattr(context.original_exception, "sqlstate", None)
    if code:
        span.set_attribute("db.response.status_code", code)
    record_error(span, context.sqlalchemy_exception or context.original_exception)
    span.end()


def _trace_commits(engine: Engine, known: Attributes) -> None:
    """Make commits spans: that is where a database waits for its disk. The event tells only that one begins."""
    commit = engine.dialect.do_commit

    def do_commit(connection: PoolProxiedConnection) -> None:
        above = recorded_span()
        if above is None:
            commit(connection)
            return
        with ending(above.child("COMMIT", SpanKind.CLIENT, {**known, "db.operation.name": "COMMIT"})):
            commit(connection)

    engine.dialect.do_commit = do_commit  # type: ignore[assignment, method-assign] # an engine has its dialect to itself
