"""What happens to requests with a key while Redis, which keeps them, is away, hangs, is full or holds nonsense."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import redis

from .backends import Redis
from .clients import LONGEST
from .conftest import Launch
from .logs import lines, of_request, settle
from .orders import EMAIL, order, place, with_sku
from .plans import KEY, Plan, is_replay
from .problems import assert_problem, assert_retry_after
from .server import Service, new_id
from .wire import Response, eventually

Harm = Callable[[Redis], None]


@pytest.fixture
def frail(frail_redis: Redis) -> Iterator[Redis]:
    """A Redis that a test may harm."""
    yield frail_redis
    frail_redis.restore()
    with frail_redis.client() as client:
        client.flushall()


def _on(server: Redis, **settings: str) -> dict[str, str]:
    return {"IDEMPOTENCY__STORE": "redis", "REDIS_URL": server.url(), **settings}


def _refused(service: Service) -> None:
    """A request with a key gets a 503 that says when to come back, soon enough, and does nothing."""
    body, started = order(), time.monotonic()
    response = service.post("/orders", body, (KEY, new_id()))
    assert time.monotonic() - started < LONGEST
    assert_problem(response, 503)
    assert_retry_after(response)
    assert with_sku(service, body["sku"]) == []


@pytest.mark.parametrize("harm", [Redis.stop, Redis.pause])
def test_reject(launch: Launch, frail: Redis, harm: Harm) -> None:
    """Without Redis a request with a key is refused and one without is not; when Redis is back both run."""
    service = launch(**_on(frail))
    assert place(service, (KEY, new_id())).status == 201
    harm(frail)
    for _ in range(3):
        _refused(service)
    assert place(service).status == 201
    frail.restore()
    body, key = order(), new_id()
    eventually(lambda: service.post("/orders", body, (KEY, key)).status == 201)
    assert is_replay(service.post("/orders", body, (KEY, key)))


@pytest.mark.parametrize("harm", [Redis.stop, Redis.pause])
def test_run(launch: Launch, frail: Redis, harm: Harm) -> None:
    """Told to run without a store, the service does so each time, warns, and counts it."""
    service, body, key = launch(**_on(frail, IDEMPOTENCY__ON_STORE_FAILURE="run")), order(), new_id()
    harm(frail)
    responses = [service.post("/orders", body, (KEY, key)) for _ in range(2)]
    assert [(r.status, is_replay(r)) for r in responses] == [(201, False)] * 2
    found = of_request(service, responses[0].header("X-Request-ID"))
    assert "warning" in [line["level"] for line in found]
    metrics = service.get("/metrics").body.decode().splitlines()
    assert any("idempoten" in line and "error" in line and line.endswith(" 2.0") for line in metrics)


@pytest.mark.parametrize("harm", [Redis.stop, Redis.pause])
def test_fails_at_the_end(launch: Launch, frail: Redis, harm: Harm) -> None:
    """When Redis fails while the operation runs, the client still gets its answer, and the log says what was lost."""
    service = launch(probes=True, **_on(frail))
    first = _answered_without(service, frail, harm, Plan(service.folder, wait=True), new_id())
    assert "error" in [line["level"] for line in of_request(service, first.header("X-Request-ID"))]
    assert not [line for line in lines(service) if line.get("status_code") == 500]


def _answered_without(service: Service, server: Redis, harm: Harm, plan: Plan, key: str) -> Response:
    """Take Redis away in the middle of an operation, and return its answer."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plan.send, service, key)
        eventually(plan.runs)
        harm(server)
        plan.open()
        started = time.monotonic()
        response = first.result()
    assert time.monotonic() - started < LONGEST
    assert (response.status, is_replay(response)) == (200, False)
    return response


def test_no_second_run_within_the_lease(launch: Launch, frail: Redis) -> None:
    """An answer that could not be kept is not made a second time while the lease lasts."""
    service = launch(probes=True, **_on(frail, IDEMPOTENCY__LEASE="60"))
    plan, key = Plan(service.folder, wait=True), new_id()
    _answered_without(service, frail, Redis.pause, plan, key)
    frail.resume()
    eventually(lambda: plan.send(service, key).status != 503)
    # What was sent to a Redis that hung may still have reached it: then there is an answer to replay.
    again = plan.send(service, key)
    assert again.status == 409 or is_replay(again)
    assert plan.runs() == 1


def test_full(launch: Launch) -> None:
    """A Redis that may take no more refuses new keys: the service says 503, and forgets no key for another's sake."""
    with closing(Redis("--maxmemory-policy", "noeviction")) as server:
        service = launch(**_on(server.start()))
        body, key = order(), new_id()
        first = service.post("/orders", body, (KEY, key))
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
        _refused(service)
        second = service.post("/orders", body, (KEY, key))
        assert second.status == 503 or (is_replay(second) and second.body == first.body)
        with server.client() as client:
            client.config_set("maxmemory", "0")
        assert place(service, (KEY, new_id())).status == 201
        assert is_replay(service.post("/orders", body, (KEY, key)))


DAMAGES = {
    "not JSON": b"} not an answer",
    "another shape": b'["v", 2]',
    "unknown version": b'{"v": 99, "status": 201, "headers": [], "text": ""}',
    "no version": b'{"status": 201, "headers": [], "text": ""}',
    "no status": b'{"v": 2, "headers": [], "text": ""}',
    "odd status": b'{"v": 2, "status": 999, "headers": [], "text": ""}',
    "bytes": b"\xff\x00\xfe",
    "empty": b"",
}


def test_damaged_answers(launch: Launch, frail: Redis) -> None:
    """An answer that nobody can read is never a server error, and never a second run in silence."""
    service = launch(**_on(frail))
    with frail.client() as client:
        for name, damage in DAMAGES.items():
            body, key, record = _one_record(service, client)
            fields = client.hgetall(record)
            client.hset(record, max(fields, key=lambda field: len(fields[field])), damage)
            assert _refusals(service, body, key) == [409, 409], name
            assert len(with_sku(service, body["sku"])) == 1


def test_damaged_record(launch: Launch, frail: Redis) -> None:
    """The same where the record is none any more."""
    service = launch(**_on(frail))
    with frail.client() as client:
        body, key, record = _one_record(service, client)
        client.set(record, "no record")
        assert _refusals(service, body, key) == [409, 409]
        eventually(lambda: {"warning", "error"} & {line["level"] for line in lines(service)})
        assert len(with_sku(service, body["sku"])) == 1


def _one_record(service: Service, client: redis.Redis) -> tuple[dict[str, Any], str, str | bytes]:
    """Place an order, and return its request, its key, and the name of the only record."""
    client.flushall()
    body, key = order(), new_id()
    assert service.post("/orders", body, (KEY, key)).status == 201
    (name,) = client.keys()
    return body, key, name


def _refusals(service: Service, body: dict[str, Any], key: str) -> list[int]:
    """Send a request twice more, and return the statuses of the problems."""
    return [assert_problem(service.post("/orders", body, (KEY, key)), 409)["status"] for _ in range(2)]


def test_key_is_not_stored(launch: Launch, frail: Redis) -> None:
    """Neither the key nor what only the request had can be read in Redis or in the log."""
    service, key = launch(**_on(frail)), new_id("zq7key")
    assert place(service, (KEY, key)).status == 201
    with frail.client() as client:
        names = client.keys()
        kept = str([(name, client.hgetall(name)) for name in names])
    assert len(names) == 1
    settle(service)
    for secret in (key, EMAIL):
        assert secret not in kept
        assert secret not in service.output()
