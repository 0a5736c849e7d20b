"""What callers can do with orders, whatever they speak."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.bootstrap import Services, bootstrap
from app.orders.models import OrderNotCancellableError, OrderNotFoundError, OrderStatus
from app.orders.repository import OrderRepository
from app.orders.service import OrderService
from app.orders.tables import metadata
from app.settings import Settings

from ..conftest import Log


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Return the service's parts; closed when the test ends."""
    built = bootstrap(settings)
    yield built
    await built.aclose()


@pytest.fixture
async def session(services: Services) -> AsyncIterator[AsyncSession]:
    """Return a transaction that is undone when the test ends."""
    async with services.database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with services.database.session() as opened:
        yield opened


@pytest.fixture
def orders(session: AsyncSession) -> OrderService:
    """Return the operations on orders."""
    return OrderService(OrderRepository(session))


async def test_place(orders: OrderService, log: Log) -> None:
    """A placed order can be read; the log has its id and nothing of the customer."""
    order = await orders.place("TEA-42", 2, "ada@example.com")
    assert await orders.get(str(order.id)) == order
    (line,) = log.named("order.placed")
    assert (line["order_id"], line["quantity"]) == (str(order.id), 2)
    assert "ada" not in log[0]


async def test_newest(orders: OrderService) -> None:
    """The newest orders are listed up to a limit."""
    first, second = [await orders.place(sku, 1, "a@example.com") for sku in "AB"]
    assert await orders.newest(10) == [second, first]
    assert await orders.newest(1) == [second]


async def test_cancel(orders: OrderService, log: Log) -> None:
    """A pending order is cancelled once, and the log says so once."""
    order = await orders.place("TEA-42", 2, "ada@example.com")
    assert (await orders.cancel(str(order.id))).status is OrderStatus.CANCELLED
    assert (await orders.get(str(order.id))).status is OrderStatus.CANCELLED
    with pytest.raises(OrderNotCancellableError):
        await orders.cancel(str(order.id))
    assert len(log.named("order.cancelled")) == 1


@pytest.mark.parametrize("order_id", ["0b7e3c52-5f0e-4a53-9c8e-0f6e2f4a9d11", "nope", "", "1"])
async def test_unknown_order(orders: OrderService, order_id: str) -> None:
    """An id that names no order is not found, whatever it looks like."""
    with pytest.raises(OrderNotFoundError):
        await orders.get(order_id)
    with pytest.raises(OrderNotFoundError):
        await orders.cancel(order_id)
