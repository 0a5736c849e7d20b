"""A database or a store that goes away and comes back, while orders are placed: nothing twice, nothing stuck."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from .backends import Backend, PostgreSQL, Redis, connected, own_schema
from .clients import LONGEST, Load
from .conftest import Environment, Launch, migrate
from .orders import on_postgresql, order
from .plans import KEY, is_replay
from .problems import assert_problem, assert_retry_after
from .server import Service, Target, new_id
from .wire import eventually

LEASE = "3"
Outage = Callable[[Backend], AbstractContextManager[None]]


@contextmanager
def _stopped(backend: Backend) -> Iterator[None]:
    """Cut all connections and refuse new ones."""
    backend.stop()
    yield
    backend.start()


@contextmanager
def _crashed(backend: Backend) -> Iterator[None]:
    """Lose what was not yet promised."""
    backend.kill()
    yield
    backend.start()


@contextmanager
def _hanging(backend: Backend) -> Iterator[None]:
    """Keep all connections, take new ones, and answer nobody."""
    backend.pause()
    yield
    backend.resume()


@pytest.fixture
def restored(frail_postgresql: PostgreSQL) -> Iterator[PostgreSQL]:
    """A PostgreSQL that a test may harm."""
    yield frail_postgresql
    frail_postgresql.restore()


@pytest.mark.parametrize("outage", [_stopped, _crashed])
def test_database_with_its_records(
    launch: Launch, target: Target, restored: PostgreSQL, tmp_path: Path, outage: Outage
) -> None:
    """Where records and orders share a database, an outage of it leaves each key with one order."""
    url = migrate(target, tmp_path, restored.new_database())
    service = launch(DATABASE_URL=url, IDEMPOTENCY__LEASE=LEASE)
    load = _through(service, restored, outage)
    assert _orders(url) == sorted((sku, response.json()["id"]) for sku, response in load.answered)


def test_database_that_hangs(launch: Launch, target: Target, restored: PostgreSQL, tmp_path: Path) -> None:
    """A request with a key that comes while its database hangs is refused in time, and runs when that goes on."""
    service = launch(DATABASE_URL=migrate(target, tmp_path, restored.new_database()))
    body, key = order(), new_id()
    with _hanging(restored):
        # On a connection that was open before, and on new ones.
        for _ in range(3):
            started = time.monotonic()
            response = service.post("/orders", body, (KEY, key))
            assert time.monotonic() - started < LONGEST
            assert_problem(response, 503)
            assert_retry_after(response)
    eventually(lambda: service.post("/orders", body, (KEY, key)).status == 201)
    assert is_replay(service.post("/orders", body, (KEY, key)))


@pytest.mark.parametrize("outage", [_stopped, _hanging])
def test_redis(launch: Launch, target: Target, frail_redis: Redis, tmp_path: Path, outage: Outage) -> None:
    """Where Redis keeps the records, an outage of it leaves each key that was answered with one order."""
    with own_schema() as url:
        migrate(target, tmp_path, url)
        service = launch(DATABASE_URL=url, **_on(frail_redis))
        load = _through(service, frail_redis, outage)
        assert _orders(url) == sorted((sku, response.json()["id"]) for sku, response in load.answered)


def test_database_beside_redis(
    launch: Launch, target: Target, restored: PostgreSQL, frail_redis: Redis, tmp_path: Path
) -> None:
    """Where Redis keeps the records, a database that stops undoes what it had begun, and its keys are free again."""
    url = migrate(target, tmp_path, restored.new_database())
    service = launch(DATABASE_URL=url, **_on(frail_redis))
    load = _through(service, restored, _stopped)
    assert _orders(url) == sorted((sku, response.json()["id"]) for sku, response in load.answered)


def _on(server: Redis) -> Environment:
    return {"IDEMPOTENCY__STORE": "redis", "REDIS_URL": server.url(), "IDEMPOTENCY__LEASE": LEASE}


def _through(service: Service, backend: Backend, outage: Outage) -> Load:
    """Place orders before, during and after an outage; each request gets an answer in time, and 503 meanwhile."""
    with Load(service) as load:
        load.goes_on()
        with outage(backend):
            load.is_refused()
        load.goes_on()
    assert {response.status for _, response in load.answered} == {201}
    assert [seen.broken for seen in load.seen if seen.broken] == []
    assert max(seen.slowest for seen in load.seen) < LONGEST
    eventually(lambda: service.readiness() == 200)
    return load


def _orders(url: str) -> list[tuple[str | int, ...]]:
    """Return SKU and id of every order."""
    with connected(url) as connection:
        table = on_postgresql(connection, "customer_email")
        return connection.execute(f"SELECT sku, id::text FROM {table} ORDER BY sku").fetchall()
