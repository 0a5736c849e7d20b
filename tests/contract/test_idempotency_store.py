"""What happens to requests with a key while their store fails."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from .conftest import Launch
from .logs import of_request, settle
from .orders import database, idempotency_tables, order, place, with_sku
from .plans import KEY, Plan, is_replay
from .problems import assert_problem, assert_retry_after
from .server import Service, new_id
from .wire import eventually


@contextmanager
def _without_tables(service: Service) -> Iterator[None]:
    """Take the idempotency tables away for a while; the orders stay."""
    with database(service.database) as connection:
        tables = idempotency_tables(connection)
        assert tables
        for table in tables:
            connection.execute(f"ALTER TABLE {table} RENAME TO away_{table}")
        yield
        for table in tables:
            connection.execute(f"ALTER TABLE away_{table} RENAME TO {table}")


@contextmanager
def _locked(service: Service) -> Iterator[None]:
    """Hold the database so that nobody else can write."""
    with database(service.database) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("outage", [_without_tables, _locked])
def test_reject(launch: Launch, outage: type) -> None:
    """Without its store a request with a key is refused, and nothing runs; when the store is back it runs."""
    service, body, key = launch(), order(), new_id()
    with outage(service):
        response = service.post("/orders", body, (KEY, key))
        assert_problem(response, 503)
        assert_retry_after(response)
        assert with_sku(service, body["sku"]) == []
    assert service.post("/orders", body, (KEY, key)).status == 201
    assert is_replay(service.post("/orders", body, (KEY, key)))


def test_requests_without_a_key_need_no_store(launch: Launch) -> None:
    """A request without a key does not notice that the store is away."""
    service = launch()
    with _without_tables(service):
        assert place(service).status == 201


def test_run(launch: Launch) -> None:
    """Told to run without a store, the service does so each time, warns, and counts it."""
    service, body, key = launch(IDEMPOTENCY__ON_STORE_FAILURE="run"), order(), new_id()
    with _without_tables(service):
        responses = [service.post("/orders", body, (KEY, key)) for _ in range(2)]
    assert [(r.status, is_replay(r)) for r in responses] == [(201, False)] * 2
    found = of_request(service, responses[0].header("X-Request-ID"))
    assert "warning" in [line["level"] for line in found]
    metrics = service.get("/metrics").body.decode().splitlines()
    assert any("idempoten" in line and "error" in line and line.endswith(" 2.0") for line in metrics)


def test_store_fails_at_the_end(launch: Launch) -> None:
    """A store that fails while the operation runs leaves the key to a later request, not stuck for ever."""
    service = launch(probes=True, IDEMPOTENCY__LEASE="2")
    plan, key = Plan(service.folder, wait=True), new_id()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plan.send, service, key)
        eventually(plan.runs)
        with _without_tables(service):
            plan.open()
            assert first.result().status in (200, 503)
    eventually(lambda: plan.send(service, key).status == 200)
    assert is_replay(plan.send(service, key))
    assert plan.runs() <= 2


def test_damaged_record(launch: Launch) -> None:
    """A record that nobody can read is never a server error, and never a second run in silence."""
    service, body, key = launch(), order(), new_id()
    assert service.post("/orders", body, (KEY, key)).status == 201
    _damage(service)
    response = service.post("/orders", body, (KEY, key))
    assert response.status == 409
    assert_problem(response, 409)
    assert len(with_sku(service, body["sku"])) == 1


def _damage(service: Service) -> None:
    """Overwrite the longest text of the only record: the stored answer."""
    with database(service.database) as connection:
        connection.row_factory = sqlite3.Row
        (table,) = idempotency_tables(connection)
        row = connection.execute(f"SELECT * FROM {table}").fetchone()
        longest = max(row.keys(), key=lambda name: len(row[name]) if isinstance(row[name], str | bytes) else 0)
        connection.execute(f"UPDATE {table} SET {longest} = '}} not an answer'")


def test_key_is_not_stored(launch: Launch) -> None:
    """Neither the key nor the request's body can be read in the store, nor the key in the log."""
    service, key = launch(), new_id("zq7key")
    place(service, (KEY, key), customer_email="zq7mail@example.com")
    with database(service.database) as connection:
        for table in idempotency_tables(connection):
            dump = str(connection.execute(f"SELECT * FROM {table}").fetchall())
            assert key not in dump
            assert "zq7mail" not in dump
    settle(service)
    assert key not in service.output()
