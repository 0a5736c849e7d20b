"""Functions under `@idempotent` whose effects can be counted, on every store, on an event loop and without one."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Column, MetaData, String, Table, insert, select

from app.adapters.database import Database, sync_engine
from app.adapters.idempotency import (
    MemoryIdempotencyStore,
    SqlIdempotencyStore,
    SyncMemoryIdempotencyStore,
    SyncSqlIdempotencyStore,
    metadata,
)
from app.adapters.idempotency_binding import Idempotency, bound_idempotency
from app.adapters.idempotency_redis import RedisIdempotencyStore, SyncRedisIdempotencyStore
from app.adapters.idempotent import idempotent
from app.adapters.metrics import Metrics
from app.adapters.redis import create_redis, create_sync_redis
from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork
from app.settings import Settings
from app.settings_groups import IdempotencySettings

from .databases import ENGINES, own_database
from .redis_server import own_redis

PLACES = ("memory", *ENGINES, "redis")
MODES = ("async", "sync")
effects = Table("effects", MetaData(), Column("order_id", String(64)), Column("note", String(64)))


class Receipt(BaseModel):
    """What the functions return."""

    order_id: UUID
    note: str


def nothing() -> None:
    """Do nothing."""


@dataclass
class Bench:
    """A store, and functions that use it.

    Attributes:
        mode: `async` or `sync`.
        place: Where records are kept.
        store: The store that the functions use.
        database: What the functions' effects go to.
        idempotency: What is bound.
        metrics: What counts.
        before: Called, and awaited where it can be, before a function's effect.
        after: The same after it.
        result: What functions return, made of the order and the note.

    """

    mode: str
    place: str
    store: Any
    database: Database
    idempotency: Idempotency
    metrics: Metrics
    before: Callable[[], Any] = nothing
    after: Callable[[], Any] = nothing
    result: Callable[[UUID, str], Any] = field(default=lambda order_id, note: Receipt(order_id=order_id, note=note))

    @property
    def is_transactional(self) -> bool:
        """Whether records commit with effects."""
        return bool(self.store.transactional)

    def function(self, **options: Any) -> Callable[..., Any]:
        """Return a function that places an order.

        Args:
            options: Those of the decorator.

        """
        options = {"key": "order_id", "name": "fulfil", **options}

        async def fulfil(work: UnitOfWork, order_id: UUID, note: str = "-") -> Receipt:
            await _awaited(self.before())
            await work.session.execute(insert(effects).values(order_id=str(order_id), note=note))
            await _awaited(self.after())
            return self.result(order_id, note)  # type: ignore[no-any-return]

        def fulfil_sync(work: SyncUnitOfWork, order_id: UUID, note: str = "-") -> Receipt:
            self.before()
            work.session.execute(insert(effects).values(order_id=str(order_id), note=note))
            self.after()
            return self.result(order_id, note)  # type: ignore[no-any-return]

        decorate: Any = idempotent(**options)
        return decorate(fulfil if self.mode == "async" else fulfil_sync)  # type: ignore[no-any-return]

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function; one without an event loop in a thread of its own."""
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        return await asyncio.to_thread(function, *args, **kwargs)

    async def effects(self) -> list[str]:
        """Return the notes of all effects that lasted."""
        async with self.database.session(read_only=True) as session:
            return sorted((await session.execute(select(effects.c.note))).scalars())

    def counted(self, outcome: str) -> int:
        """Return how often an outcome was counted."""
        lines = self.metrics.render().decode().splitlines()
        (line,) = [line for line in lines if line.startswith("idempotency_requests_total") and f'"{outcome}"' in line]
        return int(float(line.rpartition(" ")[2]))

    def fail(self, monkeypatch: Any, method: str, error: Exception) -> None:
        """Make a method of the store fail.

        Args:
            monkeypatch: Pytest's.
            method: Its name.
            error: What it raises.

        """

        def fails(*_: Any, **__: Any) -> Any:
            raise error

        async def fails_later(*_: Any, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(self.store, method, fails if self.mode == "sync" else fails_later)


async def _awaited(found: Any) -> None:
    if inspect.isawaitable(found):
        await found


@asynccontextmanager
async def open_bench(place: str, mode: str, folder: Path, **options: Any) -> AsyncIterator[Bench]:
    """Bind a store of a kind for the time of the block; skips by name when its server is not reachable.

    Args:
        place: One of `PLACES`.
        mode: One of `MODES`.
        folder: Where a file may be.
        options: Settings of idempotency.

    """
    async with AsyncExitStack() as stack:
        url = stack.enter_context(own_database(place if place in ENGINES else "sqlite", folder))
        database, engine = Database(url), sync_engine(url)
        stack.callback(engine.dispose)
        stack.push_async_callback(database.aclose)
        for tables in (metadata, effects.metadata):
            tables.create_all(engine)
        store, sync_store = _stores(place, database, engine, stack)
        metrics = Metrics(Settings(environment="test"))
        idempotency = Idempotency(
            settings=IdempotencySettings(**options),
            metrics=metrics,
            store=store,
            open_work=lambda: UnitOfWork(database, read_only=False),
            sync_store=lambda: sync_store,
            open_sync_work=lambda: SyncUnitOfWork(engine),
        )
        with bound_idempotency(idempotency):
            yield Bench(mode, place, store if mode == "async" else sync_store, database, idempotency, metrics)


def _stores(place: str, database: Database, engine: Any, stack: AsyncExitStack) -> tuple[Any, Any]:
    if place == "memory":
        return MemoryIdempotencyStore(), SyncMemoryIdempotencyStore()
    if place in ENGINES:
        return SqlIdempotencyStore(database), SyncSqlIdempotencyStore(engine)
    own = stack.enter_context(own_redis())
    sync = create_sync_redis(own.url)
    stack.callback(sync.close)
    client = create_redis(own.url)
    stack.push_async_callback(client.aclose)
    return (
        RedisIdempotencyStore(client, service=own.service),
        SyncRedisIdempotencyStore(sync, service=own.service),
    )
