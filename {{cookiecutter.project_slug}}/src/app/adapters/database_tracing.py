"""Has each statement that SQLAlchemy sends be a span (`core.query_spans`).

A statement is a span below the current one where that one is recorded, and costs one look at a context variable where
it is not.
"""

from typing import Any

from sqlalchemy import TextClause, event
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.pool import PoolProxiedConnection

from ..core.query_spans import begin_span, commit_span, count_batch, count_rows, end_failed, known_of
from ..core.spans import Attributes, recorded_span
from ..core.statements import statement_table
from .database_text import is_composed as is_text_composed

_SPAN = "app_span"


def trace_statements(engine: Engine) -> None:
    """Have each statement and commit of an engine be a span.

    Args:
        engine: The engine; of an asynchronous one its `sync_engine`, whose events run in the caller's context.

    """
    url = engine.url
    known = known_of(engine.dialect.name, namespace=url.database, host=url.host, port=url.port)

    # With `retval` SQLAlchemy calls the function itself instead of one around it.
    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def before(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        above = recorded_span()
        if above is not None and context is not None:
            table = statement_table(statement) if is_composed(context) else ""
            span = context.app_span = begin_span(above, statement, table, known)
            count_batch(span, len(parameters) if many else 0)
        return statement, parameters

    @event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Any, cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        span = getattr(context, _SPAN, None)
        if span is not None:
            context.app_span = None
            count_rows(span, cursor)
            span.end()

    @event.listens_for(engine, "handle_error")
    def fail(context: ExceptionContext) -> None:
        execution: Any = context.execution_context
        span = getattr(execution, _SPAN, None)
        if span is not None:
            execution.app_span = None
            original = context.original_exception
            end_failed(span, context.sqlalchemy_exception or original, original)

    _trace_commits(engine, known)


def is_composed(context: ExecutionContext | None) -> bool:
    """Return whether SQLAlchemy wrote the statement, not a person.

    Args:
        context: Its execution.

    """
    if context is None:
        return False
    compiled = getattr(context, "compiled", None)
    return is_text_composed(context) if compiled is None else not isinstance(compiled.statement, TextClause)


def _trace_commits(engine: Engine, known: Attributes) -> None:
    # The event tells only that a commit begins.
    commit = engine.dialect.do_commit

    def do_commit(connection: PoolProxiedConnection) -> None:
        above = recorded_span()
        if above is None:
            commit(connection)
            return
        with commit_span(above, known):
            commit(connection)

    engine.dialect.do_commit = do_commit  # type: ignore[assignment, method-assign] # an engine has its dialect to itself
