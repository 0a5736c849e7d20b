"""Orders in the database, on each that the service runs on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from app.adapters.database import Database
from app.orders.models import Order, OrderStatus, place
from app.orders.repository import OrderRepository
from app.orders.tables import metadata

from ..databases import ENGINES, own_database


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database of each kind, with the table of orders."""
    with own_database(request.param, tmp_path) as url:
        opened = Database(url)
        async with opened.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield opened
        await opened.aclose()


async def save(database: Database, *orders: Order) -> None:
    """Add orders and commit."""
    async with database.session() as session, session.begin():
        for order in orders:
            await OrderRepository(session).add(order)


async def test_order_comes_back_as_it_was(database: Database) -> None:
    """An order that was added is read again with all it had, time zone and microseconds included."""
    order = place("TEA-42 \N{HOT BEVERAGE}", 2, "ada@example.com")
    await save(database, order)
    async with database.session(read_only=True) as session:
        assert await OrderRepository(session).get(order.id) == order


async def test_unknown_order(database: Database) -> None:
    """An id that names no order gives none."""
    async with database.session(read_only=True) as session:
        assert await OrderRepository(session).get(uuid4()) is None


async def test_newest_first(database: Database) -> None:
    """Orders are listed newest first, those of one moment in an order that does not change, up to the limit."""
    old = place("A", 1, "a@example.com")
    new = [replace(place("B", 1, "b@example.com"), created_at=old.created_at + timedelta(seconds=1)) for _ in range(8)]
    await save(database, old, *new)
    expected = [*sorted(new, key=lambda order: order.id, reverse=True), old]
    async with database.session(read_only=True) as session:
        assert await OrderRepository(session).newest(20) == expected
        assert await OrderRepository(session).newest(2) == expected[:2]


async def test_status(database: Database) -> None:
    """A status that was written is that order's, and no other's."""
    order, other = place("A", 1, "a@example.com"), place("B", 1, "b@example.com")
    await save(database, order, other)
    async with database.session() as session, session.begin():
        await OrderRepository(session).set_status(replace(order, status=OrderStatus.SHIPPED))
    async with database.session(read_only=True) as session:
        statuses = {found.id: found.status for found in await OrderRepository(session).newest(10)}
    assert statuses == {order.id: OrderStatus.SHIPPED, other.id: OrderStatus.PENDING}


async def test_locked_order(database: Database) -> None:
    """Who reads an order to change it has it alone until the transaction ends."""
    order = place("A", 1, "a@example.com")
    await save(database, order)
    turns: list[str] = []

    async def change(name: str) -> None:
        async with database.session() as session, session.begin():
            await OrderRepository(session).get(order.id, for_update=True)
            turns.append(f"{name} in")
            await asyncio.sleep(0.02)
            turns.append(f"{name} out")

    await asyncio.gather(change("a"), change("b"))
    assert turns in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
