"""What a library saw of statements is counted for the service and for the work, and warned of."""

import math

from app.core.context import count_queries
from app.core.query_warnings import SlowQueries
from app.core.query_watch import QueryWatch

from ..conftest import Log


class Counted:
    """What statements were counted with."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, float, int]] = []
        self.slow: list[str] = []
        self.failures: list[str] = []

    def query_finished(self, statement: str, seconds: float, rows: int = -1) -> None:
        """Take a statement."""
        self.queries.append((statement, seconds, rows))

    def slow_query(self, statement: str) -> None:
        """Take a slow statement."""
        self.slow.append(statement)

    def database_failed(self, failure: str) -> None:
        """Take an error."""
        self.failures.append(failure)

    def connection_awaited(self, seconds: float) -> None:
        """Take nothing: statements wait for no connection."""
        assert math.isnan(seconds)


def test_measured() -> None:
    """A statement counts by its kind, and for the work that sent it; that a transaction begins does not."""
    counted = Counted()
    watch = QueryWatch(SlowQueries(1), counted)
    with count_queries() as queries:
        assert not watch.measure("BEGIN", 0.1, -1)
        assert not watch.measure("SELECT 1", 0.2, 1)
        assert watch.measure("SELECT 2", 1.0, 1)
    watch.failed("timeout")
    assert counted.queries == [("BEGIN", 0.1, -1), ("SELECT", 0.2, 1), ("SELECT", 1.0, 1)]
    assert (queries.count, counted.failures) == (2, ["timeout"])


def test_slow(log: Log) -> None:
    """A slow statement is told with what is known of it, and counted; a slow commit too."""
    counted = Counted()
    watch = QueryWatch(SlowQueries(1), counted)
    watch.warn("SELECT 'x'", 2.0, 5, "orders", "Timeout")
    watch.committed(0.5)
    watch.committed(3.0)
    statement, commit = log.named("database.slow_query")
    assert (statement["statement"], statement["table"], statement["rows"]) == ("SELECT ?", "orders", 5)
    assert (statement["error_type"], commit["kind"], "rows" in commit) == ("Timeout", "COMMIT", False)
    assert counted.slow == ["SELECT", "COMMIT"]
    assert [kind for kind, _, _ in counted.queries] == ["COMMIT", "COMMIT"]


def test_nobody_counts(log: Log) -> None:
    """Without metrics statements are warned of all the same."""
    watch = QueryWatch(SlowQueries(1), None)
    assert watch.measure("SELECT 1", 2.0, 1)
    watch.warn("SELECT 1", 2.0, 1)
    watch.failed("timeout")
    watch.committed(0.0)
    assert len(log.named("database.slow_query")) == 1
