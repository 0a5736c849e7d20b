"""What is measured of each statement that Django sends, and its span (`core.query_watch`, `core.query_spans`)."""

import time
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..core.query_failures import QueryFailure, query_failure
from ..core.query_spans import begin_span, commit_span, count_batch, count_rows, end_failed, known_of
from ..core.spans import Attributes, RecordedSpan, recorded_span
from ..core.statements import quoted_table
from .bootstrap import current_services

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]


def watch_statements(connection: BaseDatabaseWrapper, **_signal: object) -> None:
    """Measure each statement of a connection; called when it was opened.

    Args:
        connection: The connection.

    """
    if not any(isinstance(wrapper, StatementWatch) for wrapper in connection.execute_wrappers):
        connection.execute_wrappers.append(StatementWatch(connection))


class StatementWatch:
    """Goes around each statement of one connection.

    Args:
        connection: The connection.

    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._known = known_by(connection)
        # sqlite3 does not know how many rows a statement returns before they are read.
        self._counts_results = connection.vendor == "postgresql"

    def __call__(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Run a statement."""
        statement = sql if isinstance(sql, str) else str(sql)
        span = self._span(statement, params, many=many)
        started = time.perf_counter()
        try:
            result = execute(sql, params, many, context)
        except Exception as error:
            self._failed(error, statement, time.perf_counter() - started, span)
            raise
        self._ended(context["cursor"], statement, time.perf_counter() - started, span)
        return result

    def _span(self, statement: str, params: Any, *, many: bool) -> RecordedSpan | None:
        above = recorded_span()
        if above is None:
            return None
        span = begin_span(above, statement, quoted_table(statement), self._known)
        count_batch(span, len(params) if many and hasattr(params, "__len__") else 0)
        return span

    def _ended(self, cursor: Any, statement: str, seconds: float, span: RecordedSpan | None) -> None:
        rows = cursor.rowcount if self._counts_results or cursor.description is None else -1
        watch = current_services().queries
        if watch.measure(statement, seconds, rows):
            watch.warn(statement, seconds, rows, quoted_table(statement))
        if span is not None:
            count_rows(span, cursor)
            span.end()

    def _failed(self, error: Exception, statement: str, seconds: float, span: RecordedSpan | None) -> None:
        driver_error = error.__cause__ or error
        watch = current_services().queries
        if watch.measure(statement, seconds, -1):
            watch.warn(statement, seconds, -1, quoted_table(statement), type(driver_error).__name__)
        watch.failed(failure_of(error))
        if span is not None:
            end_failed(span, error, driver_error)


def known_by(connection: BaseDatabaseWrapper) -> Attributes:
    """Return what the spans of all statements on a connection have in common.

    Args:
        connection: The connection.

    """
    address = connection.settings_dict
    port = address["PORT"]
    return known_of(
        connection.vendor,
        namespace=str(address["NAME"]),
        host=address["HOST"] or None,
        port=int(port) if port else None,
    )


def failure_of(error: Exception) -> QueryFailure:
    """Return what an error of Django's means.

    Args:
        error: As Django raised it, with the driver's as its cause.

    """
    driver_error = error.__cause__ or error
    failure = query_failure(driver_error)
    # PostgreSQL says by its code what is wrong with a statement; without one it said nothing, for it is not there.
    is_lost = isinstance(error, OperationalError | InterfaceError) and not hasattr(driver_error, "sqlite_errorcode")
    return QueryFailure.UNAVAILABLE if failure is QueryFailure.OTHER and is_lost else failure


class MeasuredWrapper(BaseDatabaseWrapper):
    """What Django tells nobody of: how long a connection was waited for, and how long a commit took."""

    def connect(self) -> None:
        """Open a connection, or take one from the pool."""
        metrics = current_services().metrics
        started = time.perf_counter()
        try:
            super().connect()
        except Exception:
            metrics.database_failed(QueryFailure.UNAVAILABLE)
            raise
        metrics.connection_awaited(time.perf_counter() - started)

    def _commit(self) -> None:
        if not self.is_begun:
            super()._commit()  # type: ignore[misc] # Django's own, which its stubs do not name
            return
        above = recorded_span()
        started = time.perf_counter()
        if above is None:
            super()._commit()  # type: ignore[misc] # as above
        else:
            with commit_span(above, known_by(self)):
                super()._commit()  # type: ignore[misc] # as above
        current_services().queries.committed(time.perf_counter() - started)

    @property
    def is_begun(self) -> bool:
        """Whether the database knows of the transaction."""
        return self.connection is not None
