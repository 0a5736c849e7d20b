"""Databases that a test has to itself: a SQLite file, or a schema on PostgreSQL that is dropped again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

ENGINES = ("sqlite", "postgresql")
SERVER = make_url(os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test"))


@contextmanager
def own_database(engine: str, folder: Path) -> Iterator[URL]:
    """Return the URL of an empty database; skips by name when its server is not reachable.

    Args:
        engine: `sqlite` or `postgresql`.
        folder: Where a file may be.

    """
    if engine == "sqlite":
        yield make_url(f"sqlite+aiosqlite:///{folder}/own.db")
        return
    reason = _unreachable()
    if reason:
        pytest.skip(f"PostgreSQL: {SERVER.render_as_string()} is not reachable ({reason})")
    schema = f"test_{uuid4().hex}"
    _execute(f"CREATE SCHEMA {schema}")
    try:
        options = {"options": f"-csearch_path={schema}"}
        yield SERVER.set(drivername="postgresql+psycopg").update_query_dict(options)
    finally:
        _execute(f"DROP SCHEMA {schema} CASCADE")


@lru_cache(maxsize=1)
def _unreachable() -> str:
    """Return why the server cannot be used, or nothing."""
    try:
        _execute("SELECT 1")
    except psycopg.OperationalError as error:
        return str(error).splitlines()[0]
    return ""


def _execute(statement: str) -> None:
    # A test that failed may have left a connection: dropping must not wait for it forever.
    options = "-clock_timeout=10s"
    address = SERVER.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, connect_timeout=3, autocommit=True, options=options) as connection:
        connection.execute(statement.encode())


class CountedDatabase:
    """What a database was counted with, in a list per series."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, float, int]] = []
        self.slow: list[str] = []
        self.failures: list[str] = []
        self.waits: list[float] = []

    @property
    def kinds(self) -> list[str]:
        """What the statements did."""
        return [kind for kind, _, _ in self.queries]

    def query_finished(self, statement: str, seconds: float, rows: int = -1) -> None:
        """Take a statement."""
        self.queries.append((statement, seconds, rows))

    def slow_query(self, statement: str) -> None:
        """Take a slow statement."""
        self.slow.append(statement)

    def database_failed(self, failure: str) -> None:
        """Take an error."""
        self.failures.append(str(failure))

    def connection_awaited(self, seconds: float) -> None:
        """Take how long a connection was waited for."""
        self.waits.append(seconds)
