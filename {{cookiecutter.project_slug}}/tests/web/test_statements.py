"""Statements that Django sends are counted, timed, warned of and traced; their parameters are seen by nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction
from opentelemetry.trace import SpanKind

from app.core.context import count_queries
from app.core.query_warnings import SlowQueries
from app.core.query_watch import QueryWatch
from app.core.spans import RecordedSpan, running
from app.core.tracing import continue_trace
from app.web.bootstrap import Services
from app.web.statements import StatementWatch, watch_statements

from ..conftest import Log
from .databases import ENGINES, named, own_url

INSERT = 'INSERT INTO "notes" ("text") VALUES (%s)'
# In SQLite a name in double quotes that names nothing is a value.
SHOWN = 'INSERT INTO "notes" (?) VALUES (%s)'


class Counted:
    """What a database was counted with."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, int]] = []
        self.slow: list[str] = []
        self.failures: list[str] = []
        self.waits = 0

    def query_finished(self, statement: str, seconds: float, rows: int = -1) -> None:
        """Take a statement."""
        self.queries.append((statement, rows))

    def slow_query(self, statement: str) -> None:
        """Take a slow statement."""
        self.slow.append(statement)

    def database_failed(self, failure: str) -> None:
        """Take an error."""
        self.failures.append(str(failure))

    def connection_awaited(self, seconds: float) -> None:
        """Take how long a connection was waited for."""
        self.waits += 1

    def take(self) -> list[tuple[str, int]]:
        """Return the statements since the last time."""
        taken, self.queries = self.queries, []
        return taken


@pytest.fixture
def counted(services: Services, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Return what statements are counted with."""
    counted: Any = Counted()
    for name in ("connection_awaited", "database_failed"):
        monkeypatch.setattr(services.metrics, name, getattr(counted, name))
    object.__setattr__(services, "queries", QueryWatch(SlowQueries(0), counted))
    return counted  # type: ignore[no-any-return]


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any, counted: Counted) -> Iterator[str]:
    """Return the name of a database of each kind, with a table of notes."""
    with own_url(request.param, tmp_path) as url, named(url, django_db_blocker) as found:
        run(found, "CREATE TABLE notes (text varchar(10) PRIMARY KEY)")
        counted.take()
        yield found


def run(name: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run a statement in this thread."""
    with connections[name].cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def test_counted(name: str, counted: Counted) -> None:
    """Each statement is counted by its kind, with its rows where they are known, and a commit is too."""
    with transaction.atomic(using=name), connections[name].cursor() as cursor:
        cursor.executemany(INSERT, [["a"], ["b"]])
        cursor.execute("SELECT * FROM notes")
    is_sqlite = connections[name].vendor == "sqlite"
    begun = [("BEGIN", -1)] if is_sqlite else []
    found = counted.take()
    assert [kind for kind, _ in found] == [*[kind for kind, _ in begun], "INSERT", "SELECT", "COMMIT"]
    assert dict(found)["SELECT"] == (-1 if is_sqlite else 2)
    assert dict(found)["INSERT"] == 2
    assert counted.waits == 1


def test_what_sends_nothing_costs_nothing(name: str, counted: Counted) -> None:
    """A transaction without a statement is none to SQLite, and commits nothing."""
    with transaction.atomic(using=name):
        pass
    assert [kind for kind, _ in counted.take()] in ([], ["COMMIT"])
    if connections[name].vendor == "sqlite":
        with transaction.atomic(using=name):
            pass
        assert counted.take() == []


def test_count_of_the_work(name: str) -> None:
    """The work that sends statements knows how many there were."""
    with count_queries() as queries:
        for text in ("a", "b"):
            run(name, INSERT, [text])
    assert queries.count == 2
    assert queries.most_often() == (SHOWN, 2)


def test_failures(name: str, counted: Counted) -> None:
    """What failed is counted by its kind, and its statement is counted too."""
    run(name, INSERT, ["a"])
    counted.take()
    with pytest.raises(IntegrityError):
        run(name, INSERT, ["a"])
    with pytest.raises(DatabaseError):
        run(name, "SELECT * FROM nowhere")
    assert [kind for kind, _ in counted.take()] == ["INSERT", "SELECT"]
    assert counted.failures == ["constraint", "other"]


def test_no_connection(counted: Counted, django_db_blocker: Any, tmp_path: Path) -> None:
    """A database that cannot be reached is counted as not available."""
    for url in ("postgresql://nobody@127.0.0.1:1/none", f"sqlite:///{tmp_path}"):
        with named(url, django_db_blocker) as name, pytest.raises(OperationalError):
            run(name, "SELECT 1")
    assert counted.failures == ["unavailable", "unavailable"]


def test_slow(name: str, services: Services, counted: Counted, log: Log) -> None:
    """A slow statement is warned of, with its table and without its values."""
    metrics: Any = counted
    object.__setattr__(services, "queries", QueryWatch(SlowQueries(1e-9), metrics))
    run(name, INSERT, ["secret"])
    (line,) = log.named("database.slow_query")
    assert (line["kind"], line["table"], line["rows"], line["statement"]) == ("INSERT", "notes", 1, SHOWN)
    assert "secret" not in "".join(log)
    assert counted.slow == ["INSERT"]


@contextmanager
def traced() -> Iterator[list[RecordedSpan]]:
    """Return the spans that end inside the block, which is one."""
    ended: list[RecordedSpan] = []
    with running(RecordedSpan(continue_trace(None), "work", SpanKind.INTERNAL, None, {}, lambda _: None)) as above:
        above.finish = ended.append
        yield ended


def test_spans(name: str) -> None:
    """Statements and commits are spans below the one of the work, named by what they do to which table."""
    with traced() as spans:
        with transaction.atomic(using=name):
            run(name, INSERT, ["secret"])
        with pytest.raises(IntegrityError):
            run(name, INSERT, ["secret"])
    spans = [span for span in spans if span.name not in ("BEGIN", "work")]
    assert [span.name for span in spans] == ["INSERT notes", "COMMIT", "INSERT notes"]
    system = connections[name].vendor
    assert {span.attributes["db.system.name"] for span in spans} == {system}
    assert {span.kind for span in spans} == {SpanKind.CLIENT}
    failed = spans[-1]
    assert failed.attributes["error.type"] == "IntegrityError"
    assert failed.attributes.get("db.response.status_code") == (None if system == "sqlite" else "23505")
    assert "secret" not in str([span.attributes for span in spans])


def test_one_watch_per_connection(name: str) -> None:
    """However often a connection is opened, its statements are measured once."""
    connection = connections[name]
    for _ in range(2):
        connection.close()
        run(name, "SELECT 1")
        watch_statements(connection)
    assert len([one for one in connection.execute_wrappers if isinstance(one, StatementWatch)]) == 1


@pytest.mark.django_db
def test_requests_tell(services: Services, log: Log) -> None:
    """The access line of a request tells how many statements it sent."""
    from .keyed import Caller

    Caller("wsgi").request("GET", "/orders")
    Caller("wsgi").request("GET", "/docs")
    with_orders, without = log.named("http.request")
    assert with_orders["queries"] == 1
    assert without.get("queries", 0) == 0
