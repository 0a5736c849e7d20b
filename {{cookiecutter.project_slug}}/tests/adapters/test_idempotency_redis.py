"""What only Redis does: round trips, records that go by themselves, values that are no records, outages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from app.adapters.idempotency_redis import RedisIdempotencyStore, SyncRedisIdempotencyStore
from app.adapters.redis import MAX_CONNECTIONS, create_redis, create_sync_redis
from app.core.idempotency import Claim, Decision, Outcome, new_claim
from app.core.idempotency_answer import Answer
from app.core.idempotency_errors import IdempotencyStoreError
from app.core.spans import RecordedSpan, attached
from app.core.tracing import Trace, continue_trace

from ..idempotency_stores import Threaded
from ..proxy import Proxy, proxy_to
from ..redis_server import OwnRedis, own_redis
from ..servers import private_redis

ANSWER = Answer(201, (), b"{}")
LONG = 60.0
SHORT = 0.05
TIMEOUT = 0.4
# Less than redis-py takes by default for a server that is down, far more than the store's own time.
GUARD = 4.0
MODES = ("async", "sync")
POSITION = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)


def claim(key: str = "k", fingerprint: str = "f", caller: str = "ada") -> Claim:
    """Return a claim of an owner of its own."""
    return new_claim(caller=caller, operation=("POST", "/orders"), key=key, fingerprint=fingerprint)


async def begin(store: Any, of: Claim, *, lease: float = LONG, ttl: float = LONG) -> Outcome:
    """Return what a request comes to; fails the test when that takes for ever."""
    async with asyncio.timeout(GUARD):
        decision: Decision = await store.begin(of, lease=lease, ttl=ttl)
        return decision.outcome


@asynccontextmanager
async def store_at(url: str, mode: str, service: str, seconds: float = 5.0) -> AsyncIterator[Any]:
    """Return a store with an event loop or without one."""
    if mode == "sync":
        sync = create_sync_redis(url, timeout=seconds)
        yield Threaded(SyncRedisIdempotencyStore(sync, service=service))
        sync.close()
        return
    client = create_redis(url, timeout=seconds)
    yield RedisIdempotencyStore(client, service=service, timeout=seconds)
    await client.aclose()


@pytest.fixture
def own() -> Iterator[OwnRedis]:
    """Return a Redis under the test's own name."""
    with own_redis() as found:
        yield found


@pytest.fixture(params=MODES)
async def store(request: pytest.FixtureRequest, own: OwnRedis) -> AsyncIterator[Any]:
    """Return a store of each kind."""
    async with store_at(own.url, request.param, own.service) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Far:
    """A store whose Redis is behind a proxy."""

    proxy: Proxy
    store: Any


@pytest.fixture(params=MODES)
async def far(request: pytest.FixtureRequest, own: OwnRedis) -> AsyncIterator[Far]:
    """Return a way to Redis that can fail."""
    parts = urlsplit(own.url)
    with proxy_to(str(parts.hostname), parts.port or 6379) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}{parts.path}"
        async with store_at(url, request.param, own.service, TIMEOUT) as opened:
            yield Far(proxy, opened)
            proxy.go_on()


async def test_round_trips(far: Far) -> None:
    """Every step is exactly one round trip: a claim, its refusals, an answer and its replay."""
    store, first, released = far.store, claim(), claim("released")
    # The connection and the scripts, each once.
    for warm in (lambda: begin(store, released), lambda: store.release(released)):
        await warm()
    await store.complete(released, ANSWER, ttl=LONG)
    await store.renew(released, lease=LONG)
    steps: list[tuple[Callable[[], Awaitable[Any]], Any]] = [
        (lambda: begin(store, first), Outcome.RUN),
        (lambda: begin(store, claim()), Outcome.IN_PROGRESS),
        (lambda: begin(store, claim(fingerprint="other")), Outcome.MISMATCH),
        (lambda: store.renew(first, lease=LONG), True),
        (lambda: store.complete(first, ANSWER, ttl=LONG), True),
        (lambda: store.begin(claim(), lease=LONG, ttl=LONG), Decision(Outcome.REPLAY, ANSWER)),
        (lambda: store.release(first), None),
    ]
    for step, expected in steps:
        before = far.proxy.round_trips
        assert await step() == expected
        assert far.proxy.round_trips == before + 1


async def test_scripts_that_redis_forgot(store: Any, own: OwnRedis) -> None:
    """A Redis that lost its scripts, as at a restart, gets them again."""
    first = claim()
    await begin(store, first)
    with own.client() as inside:
        inside.script_flush()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await store.complete(first, ANSWER, ttl=LONG)


async def test_records_go_by_themselves(store: Any, own: OwnRedis) -> None:
    """Redis forgets what is over without being asked, a record that somebody abandoned too."""
    done = claim("done")
    await begin(store, done)
    await store.complete(done, ANSWER, ttl=SHORT)
    await begin(store, claim("abandoned"), lease=SHORT, ttl=SHORT)
    await asyncio.sleep(SHORT * 2)
    assert own.stored() == []
    assert await store.purge(limit=10) == 0


async def test_how_long_redis_keeps_a_record(store: Any, own: OwnRedis) -> None:
    """A running operation is remembered for its lease, an answer for its time, each from its own moment."""
    first = claim()
    with own.client() as inside:

        def left() -> float:
            (key,) = own.stored()
            return float(inside.pttl(key)) / 1000

        await begin(store, first, lease=30, ttl=10)
        assert 20 < left() <= 30
        await store.renew(first, lease=50)
        assert 40 < left() <= 50
        await store.renew(first, lease=1)
        assert 1 < left() <= 10
        await store.complete(first, ANSWER, ttl=100)
        assert 90 < left() <= 100
        await store.complete(first, ANSWER, ttl=5)
        assert 90 < left() <= 100


async def test_services_do_not_share_keys(own: OwnRedis) -> None:
    """Two services on one Redis know nothing of each other, also where one's name is a pattern for the other's."""
    names = (f"{own.service}-a", f"{own.service}-?", f"{own.service}-*")
    async with (
        store_at(own.url, "async", names[0]) as one,
        store_at(own.url, "async", names[1]) as two,
        store_at(own.url, "sync", names[2]) as three,
    ):
        for store in (one, two, three):
            assert await begin(store, claim()) is Outcome.RUN
        for store in (three, two):
            assert await store.forget(claim().caller) == 1
        assert await begin(one, claim()) is Outcome.IN_PROGRESS


# Values that are no records.

DAMAGES: dict[str, Callable[[Any, bytes], object]] = {
    "text": lambda redis, key: redis.set(key, "text"),
    "list": lambda redis, key: redis.rpush(key, "x"),
    "no fingerprint": lambda redis, key: redis.hset(key, mapping={"owner": "o", "lease_until": 1, "expires_at": 1}),
    "no owner": lambda redis, key: redis.hset(key, mapping={"fingerprint": "f", "lease_until": 1, "expires_at": 1}),
    "no lease": lambda redis, key: redis.hset(key, mapping={"fingerprint": "f", "owner": "o", "expires_at": 1}),
    "no time": lambda redis, key: redis.hset(
        key, mapping={"fingerprint": "f", "owner": "o", "lease_until": "soon", "expires_at": "nan?"}
    ),
    "another hash": lambda redis, key: redis.hset(key, "name", "value"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_value_that_is_no_record(store: Any, own: OwnRedis, damage: str) -> None:
    """A value that is no record is neither an error nor a second run, and is not kept for ever."""
    first = claim()
    await begin(store, first)
    (key,) = own.stored()
    with own.client() as inside:
        inside.delete(key)
        DAMAGES[damage](inside, key)
        decision = await store.begin(claim(), lease=LONG, ttl=LONG)
        assert (decision.outcome, decision.damaged) == (Outcome.NOT_REPLAYABLE, True)
        assert 0 < inside.pttl(key) <= LONG * 1000
    assert not await store.renew(first, lease=LONG)
    assert not await store.complete(first, ANSWER, ttl=LONG)
    await store.release(first)
    assert own.stored() == [key]
    with own.client() as inside:
        inside.pexpire(key, 1)
    await asyncio.sleep(SHORT)
    assert await begin(store, claim()) is Outcome.RUN


async def test_bytes_that_are_no_text(store: Any, own: OwnRedis) -> None:
    """Fields that are no text are told like any other damage."""
    first = claim()
    await begin(store, first)
    await store.complete(first, ANSWER, ttl=LONG)
    (key,) = own.stored()
    with own.client() as inside:
        inside.hset(key, "answer", b"\xff\xfe{}")
        assert (await store.begin(claim(), lease=LONG, ttl=LONG)).damaged
        inside.hset(key, "fingerprint", b"\xff\xfe")
        assert await begin(store, claim()) is Outcome.MISMATCH


# Outages.


async def test_redis_that_hangs(far: Far) -> None:
    """A Redis that hangs costs a bounded time at every step; when it goes on so does the store, without a restart."""
    store, first = far.store, claim()
    await begin(store, first)
    far.proxy.hang()
    async with asyncio.timeout(GUARD):
        steps: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: store.begin(claim("x"), lease=LONG, ttl=LONG),
            lambda: store.complete(first, ANSWER, ttl=LONG),
            lambda: store.renew(first, lease=LONG),
            lambda: store.release(first),
            lambda: store.forget("x"),
        )
        for step in steps:
            with pytest.raises(IdempotencyStoreError, match=r"^the Redis store failed: TimeoutError$"):
                await step()
    far.proxy.go_on()
    assert await begin(store, claim("after")) is Outcome.RUN


async def test_many_while_redis_hangs(far: Far) -> None:
    """More requests than there may be connections all fail in time while Redis hangs."""
    far.proxy.hang()
    many = (begin(far.store, claim(str(number))) for number in range(MAX_CONNECTIONS + 20))
    failed = await asyncio.gather(*many, return_exceptions=True)
    assert {type(one) for one in failed} == {IdempotencyStoreError}
    far.proxy.go_on()
    assert await begin(far.store, claim("after")) is Outcome.RUN


async def test_connections_that_redis_closed(far: Far) -> None:
    """Connections that Redis closed are replaced: nobody notices."""
    await begin(far.store, claim())
    far.proxy.cut()
    # Its end has to arrive before it can be seen.
    await asyncio.sleep(SHORT)
    assert await begin(far.store, claim()) is Outcome.IN_PROGRESS


@pytest.mark.parametrize("mode", MODES)
async def test_redis_that_is_killed(mode: str, tmp_path: Path) -> None:
    """A Redis that is down is an error of the store; when it is back, what it had written is there, with no restart."""
    with private_redis(tmp_path, appendfsync="always") as server:
        async with store_at(server.url, mode, "orders") as store:
            first = claim()
            await begin(store, first)
            server.kill()
            for step in (begin(store, claim("x")), store.complete(first, ANSWER, ttl=LONG)):
                async with asyncio.timeout(GUARD):
                    with pytest.raises(IdempotencyStoreError, match=r"^the Redis store failed: ConnectionError$"):
                        await step
            server.start()
            assert await begin(store, claim()) is Outcome.IN_PROGRESS
            assert await store.complete(first, ANSWER, ttl=LONG)
            assert await begin(store, claim()) is Outcome.REPLAY


@pytest.mark.parametrize("mode", MODES)
async def test_redis_without_memory(mode: str, tmp_path: Path) -> None:
    """With `noeviction` a full Redis takes no new key and loses none: the store fails, a repetition is replayed."""
    with private_redis(tmp_path, maxmemory_policy="noeviction") as server:
        async with store_at(server.url, mode, "orders") as store:
            first = claim()
            await begin(store, first)
            await store.complete(first, ANSWER, ttl=LONG)
            with create_sync_redis(server.url) as inside:
                inside.config_set("maxmemory", 1)
                with pytest.raises(IdempotencyStoreError, match=r"^the Redis store failed: \w+Error$"):
                    await begin(store, claim("new"))
                assert await begin(store, claim()) is Outcome.REPLAY
                inside.config_set("maxmemory", 0)
                assert await begin(store, claim("new")) is Outcome.RUN


# Spans.


async def test_spans(far: Far) -> None:
    """A step is a client span below a recorded one; it says which Redis, and holds neither key nor value."""
    finished: list[RecordedSpan] = []
    request = RecordedSpan(continue_trace(POSITION), "request", SpanKind.SERVER, None, {}, finished.append)
    with attached(request):
        await begin(far.store, claim())
        far.proxy.hang()
        with pytest.raises(IdempotencyStoreError):
            await begin(far.store, claim())
    good, failed = finished
    assert (good.name, good.kind, good.parent) == ("EVALSHA", SpanKind.CLIENT, request.trace)
    assert good.attributes == {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "db.namespace": "0",
        "server.address": "127.0.0.1",
        "server.port": far.proxy.port,
    }
    assert failed.status is StatusCode.ERROR


async def test_no_span_without_a_recorded_one(store: Any) -> None:
    """Where no trace is recorded, nothing is noted."""
    assert await begin(store, claim()) is Outcome.RUN
