"""The pool gives connections that answer, tells what they do, and lets nobody wait without end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections

from app.core.connection_pool import PoolState
from app.web.bootstrap import Services

from ...conftest import Log
from ..databases import SERVER, named, own_url, query
from ..keyed import in_thread


@pytest.fixture
def name(tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """Return the name of a database with one connection at the most."""
    limits = {"pool_size": 1, "pool_overflow": 0, "pool_timeout": 2.0}
    with own_url("postgresql", tmp_path) as url, named(url, django_db_blocker, **limits) as found:
        yield found


def state(name: str) -> PoolState:
    """Return what the connections do."""
    wrapper: Any = connections[name]
    found: PoolState = wrapper.pool_state()
    return found


def test_state(name: str) -> None:
    """Connections in use and idle are told without asking the database."""
    assert state(name) == PoolState()
    connections[name].ensure_connection()
    assert state(name) == PoolState(1, 0, 1)
    connections[name].close()
    assert state(name) == PoolState(0, 1, 1)


def test_nobody_waits_for_ever(name: str) -> None:
    """Who finds all connections in use waits for a bounded time, and is an outage."""
    held = connections[name].copy()
    held.ensure_connection()
    with pytest.raises(OperationalError):
        connections[name].ensure_connection()
    found = state(name)
    assert (found.in_use, found.waiting, found.timeouts) == (1, 0, 1)
    held.close()


def test_connections_are_shared(name: str) -> None:
    """One after the other, threads use the same connection."""
    asked = in_thread(lambda _: query(name, "SELECT pg_backend_pid()"))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        assert one.submit(asked, 0).result() == two.submit(asked, 0).result()


def test_lost_connection_is_replaced(name: str) -> None:
    """A connection that the server ended while nobody used it is replaced before it is given out."""
    (pid,) = query(name, "SELECT pg_backend_pid()")[0]
    with psycopg.connect(SERVER) as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone() == (True,)
    assert query(name, "SELECT 1") == [(1,)]


def test_silence(django_db_blocker: Any, log: Log) -> None:
    """An outage is told by whoever needed a connection, not by the pool for each attempt."""
    with named("postgresql://nobody@127.0.0.1:1/none", django_db_blocker) as name:
        for _ in range(3):
            with pytest.raises(OperationalError):
                connections[name].ensure_connection()
    assert [line for line in log.events if line["logger"].startswith("psycopg")] == []


def test_metrics(services: Services, name: str) -> None:
    """The service tells what its own pool does; a file has none."""
    text = services.metrics.render().decode()
    assert 'database_pool_connections{state="in_use"} 0' in text
    assert "database_pool_limit 0" in text
