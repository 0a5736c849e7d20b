"""What is measured of each statement: its duration, rows and end, its place in the request's count, and slowness.

Parameters are seen by none of it.
"""

from typing import Protocol

from .connection_pool import PoolMetrics
from .context import Context, current_context
from .query_warnings import SlowQueries
from .statements import BEGIN, COMMIT, statement_kind


class DatabaseMetrics(PoolMetrics, Protocol):
    """What counts statements and connections; `adapters.metrics.Metrics` does."""

    def query_finished(self, statement: str, seconds: float, rows: int = -1) -> None:
        """Count a statement by its kind, with its rows when they are known."""

    def slow_query(self, statement: str) -> None:
        """Count a slow statement."""


class QueryWatch:
    """Measures what a library saw of statements.

    Args:
        slow: What warns of slow ones.
        metrics: What counts them.

    """

    def __init__(self, slow: SlowQueries, metrics: DatabaseMetrics | None) -> None:
        self._slow = slow
        self._metrics = metrics

    def measure(self, statement: str, seconds: float, rows: int) -> bool:
        """Count a statement for the service and for the work that sent it, and return whether it was slow.

        Args:
            statement: Its text.
            seconds: How long it took.
            rows: How many it returned or changed; below zero when that is not known.

        """
        kind = statement_kind(statement)
        if self._metrics is not None:
            self._metrics.query_finished(kind, seconds, rows)
        # SQLite is told in a statement that a transaction begins, PostgreSQL's driver tells by itself.
        if kind != BEGIN:
            work = current_context()
            if work.__class__ is Context:
                work.query_count().add(statement, seconds)
        return seconds >= self._slow.seconds

    def warn(self, statement: str, seconds: float, rows: int, table: str = "", error: str = "") -> None:
        """Warn of a slow statement.

        Args:
            statement: Its text.
            seconds: How long it took.
            rows: As above.
            table: What it is about, where that is known.
            error: The name of what it failed with.

        """
        kind = statement_kind(statement)
        self._slow.warn(statement, kind, seconds, table=table, rows=rows if rows >= 0 else None, error_type=error)
        if self._metrics is not None:
            self._metrics.slow_query(kind)

    def failed(self, failure: str) -> None:
        """Count an error of the database.

        Args:
            failure: Its kind, of few.

        """
        if self._metrics is not None:
            self._metrics.database_failed(failure)

    def committed(self, seconds: float) -> None:
        """Measure a commit, which is no statement to a library: that is where a database waits for its disk.

        Args:
            seconds: How long it took.

        """
        if self._metrics is not None:
            self._metrics.query_finished(COMMIT, seconds)
        if seconds >= self._slow.seconds:
            self.warn(COMMIT, seconds, -1)
