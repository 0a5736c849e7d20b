"""Measures each statement that SQLAlchemy sends (`core.query_watch`)."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.pool import PoolProxiedConnection

from ..core.query_failures import QueryFailure, query_failure
from ..core.query_warnings import SlowQueries
from ..core.query_watch import DatabaseMetrics, QueryWatch
from ..core.statements import statement_table
from .database_tracing import is_composed

_STARTED = "app_started"


def watch_statements(engine: Engine, slow: SlowQueries, metrics: DatabaseMetrics | None) -> None:
    """Measure each statement and commit of an engine.

    Args:
        engine: The engine; of an asynchronous one its `sync_engine`, whose events run in the caller's context.
        slow: What warns of slow ones.
        metrics: What counts them.

    """
    measured = QueryWatch(slow, metrics)
    watch = _Watch(engine, measured)
    # With `retval` SQLAlchemy calls the function itself instead of one around it.
    event.listen(engine, "before_cursor_execute", watch.before, retval=True)
    event.listen(engine, "after_cursor_execute", watch.after)
    event.listen(engine, "handle_error", watch.failed)
    _watch_commits(engine, measured)


class _Watch:
    """The listeners of one engine."""

    def __init__(self, engine: Engine, watch: QueryWatch) -> None:
        # sqlite3 does not know how many rows a statement returns before they are read.
        self._counts_results = engine.dialect.name == "postgresql"
        self._watch = watch

    def before(
        self, _connection: Any, _cursor: Any, statement: str, parameters: Any, context: Any, _many: bool
    ) -> tuple[str, Any]:
        """Note when a statement begins, on what SQLAlchemy keeps of its execution."""
        if context is not None:
            context.app_started = time.perf_counter()
        return statement, parameters

    def after(self, _connection: Any, cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        """Measure a statement that went well."""
        if context is not None:
            seconds = time.perf_counter() - context.app_started
            context.app_started = None
            rows = cursor.rowcount if self._counts_results or cursor.description is None else -1
            if self._watch.measure(statement, seconds, rows):
                self._watch.warn(statement, seconds, rows, _table_of(statement, context))

    def failed(self, error: ExceptionContext) -> None:
        """Measure a statement that did not, and count what failed."""
        context: Any = error.execution_context
        started = getattr(context, _STARTED, None)
        if started is not None and error.statement is not None:
            context.app_started = None
            seconds = time.perf_counter() - started
            if self._watch.measure(error.statement, seconds, -1):
                name = type(error.original_exception).__name__
                self._watch.warn(error.statement, seconds, -1, _table_of(error.statement, context), name)
        if error.sqlalchemy_exception is not None and not error.is_pre_ping:
            self._watch.failed(_failure(error))


def _table_of(statement: str, context: Any) -> str:
    return statement_table(statement) if is_composed(context) else ""


def _failure(error: ExceptionContext) -> QueryFailure:
    lost = error.connection is None or error.is_disconnect
    return QueryFailure.UNAVAILABLE if lost else query_failure(error.original_exception)


def _watch_commits(engine: Engine, watch: QueryWatch) -> None:
    # The event tells only that a commit begins.
    commit = engine.dialect.do_commit

    def do_commit(connection: PoolProxiedConnection) -> None:
        started = time.perf_counter()
        commit(connection)
        watch.committed(time.perf_counter() - started)

    engine.dialect.do_commit = do_commit  # type: ignore[assignment, method-assign] # an engine has its dialect to itself
