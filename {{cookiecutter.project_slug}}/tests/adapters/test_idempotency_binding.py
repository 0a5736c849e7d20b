"""What idempotent functions work with is bound once per process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.adapters.idempotency_binding import bind_idempotency, bound_idempotency, current_idempotency
from app.adapters.idempotent import idempotent
from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork
from app.bootstrap import Services, bootstrap
from app.core.idempotency_errors import IdempotencyUsageError
from app.migrations import migrate
from app.settings import Settings
from app.settings_groups import IdempotencySettings

from ..idempotent_functions import open_bench
from ..redis_server import own_redis


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Return the service's parts; closed when the test ends."""
    built = bootstrap(settings)
    yield built
    await built.aclose()


@idempotent(key="bill")
def take(bill: str) -> str:
    """Return what was given."""
    return bill


def test_unbound() -> None:
    """Before anything is bound a call is an error that says what to do."""
    with bound_idempotency(None), pytest.raises(IdempotencyUsageError, match=r"take was called before .*bootstrap"):
        take("b-1")


async def _fail_within(folder: Path) -> None:
    async with open_bench("memory", "sync", folder):
        assert take("b-1") == "b-1"
        raise KeyError


async def test_block_ends(tmp_path: Path) -> None:
    """What a block binds is bound within it alone, also when it fails."""
    outer: Any = object()
    before = bind_idempotency(outer)
    try:
        with pytest.raises(KeyError):
            await _fail_within(tmp_path)
        assert bind_idempotency(outer) is outer
    finally:
        bind_idempotency(before)


async def test_what_needs_no_event_loop_is_built_when_it_is_needed(tmp_path: Path) -> None:
    """The store for functions without an event loop is built at the first of their calls, once."""
    built: list[str] = []
    async with open_bench("memory", "sync", tmp_path) as bench:
        make = bench.idempotency._sync_store

        def counted() -> Any:
            built.append("store")
            return make()

        bench.idempotency._sync_store = counted
        assert built == []
        for bill in ("b-1", "b-2"):
            take(bill)
    assert built == ["store"]


DATABASE = "SELECT 'a database'"


@idempotent(key="bill")
async def take_later(bill: str, work: UnitOfWork) -> str:
    """Return what the database is called."""
    return f"{(await work.session.execute(text(DATABASE))).scalar_one()} {bill}"


@idempotent(key="bill")
def take_now(bill: str, work: SyncUnitOfWork) -> str:
    """Return what the database is called."""
    return f"{work.session.execute(text(DATABASE)).scalar_one()} {bill}"


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_bootstrap_binds(services: Services, mode: str) -> None:
    """A service that was built by its settings has all that idempotent functions need, and counts them."""
    await asyncio.to_thread(migrate, services.database.url)
    call: Any = take_later if mode == "async" else take_now
    for _ in range(2):
        found = await call("b") if mode == "async" else await asyncio.to_thread(call, "b")
        assert found == "a database b"
    counted = services.metrics.render().decode()
    assert 'idempotency_requests_total{outcome="replay"} 1' in counted


async def test_end_of_the_service(settings: Settings) -> None:
    """A service that was closed leaves no function bound to what it closed, and one that came after it alone."""
    first, second = bootstrap(settings), bootstrap(settings)
    await first.aclose()
    assert current_idempotency("test") is second.idempotency
    await second.aclose()
    with pytest.raises(IdempotencyUsageError, match="was called before anything was bound"):
        current_idempotency("test")


async def test_clients_end_with_the_service(settings: Settings) -> None:
    """What was built for functions without an event loop is closed with the service."""
    with own_redis() as own:
        chosen = IdempotencySettings(store="redis")
        services = bootstrap(settings.model_copy(update={"idempotency": chosen, "redis_url": own.url}))
        client = services.idempotency.synchronous.store._client
        await asyncio.to_thread(client.ping)
        (connection,) = client.connection_pool._connections
        assert connection.is_connected
        await services.aclose()
        assert not connection.is_connected
