"""`@idempotent` functions with Django's transactions: each effect once, with its record."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from app.adapters.idempotent import idempotent
from app.core.idempotency_errors import (
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    IdempotencyStoreError,
    IdempotencyUsageError,
)
from app.settings import Settings
from app.web.bootstrap import Services
from app.web.orders import service
from app.web.unit_of_work import AtomicWork

from ..idempotency_stores import settings_for
from .keyed import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["sql", "memory", "redis"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Run each test on every store."""
    with settings_for(request.param, settings) as chosen:
        yield chosen


only_sql = pytest.mark.parametrize("settings", ["sql"], indirect=True)


def nothing() -> None:
    """Do nothing."""


class Fulfilment:
    """A function that places an order, and what happens after that."""

    def __init__(self) -> None:
        self.after: Callable[[], Any] = nothing
        self.ran = 0

        @idempotent(key="order", name="fulfil")
        def fulfil(work: AtomicWork, order: str, note: str = "-") -> str:
            self.ran += 1
            service.place_order(order, 1, "ada@example.com")
            self.after()
            return f"{order} {note}"

        self.call = fulfil


@pytest.fixture
def fulfilment(services: Services) -> Fulfilment:
    """Return the function."""
    return Fulfilment()


def orders() -> int:
    """Return how many orders there are."""
    return len(service.newest_orders(100))


def test_once(fulfilment: Fulfilment) -> None:
    """A repetition gets the first result, and the order is placed once; another key is another call."""
    assert [fulfilment.call("a") for _ in range(3)] == ["a -"] * 3
    assert fulfilment.call("b") == "b -"
    assert (fulfilment.ran, orders()) == (2, 2)
    with pytest.raises(IdempotencyKeyReusedError):
        fulfilment.call("a", note="other")


def test_failure_is_undone(fulfilment: Fulfilment) -> None:
    """After an exception nothing was done, and the next call runs."""

    def fail() -> None:
        raise KeyError

    fulfilment.after = fail
    with pytest.raises(KeyError):
        fulfilment.call("a")
    assert orders() == 0
    fulfilment.after = nothing
    assert fulfilment.call("a") == "a -"
    assert orders() == 1


@only_sql
@pytest.mark.parametrize(("end", "count"), [("commit", 1), ("rollback", 0), ("close", 0)])
def test_end(services: Services, end: str, count: int) -> None:
    """A unit of work is ended once, whoever ends it."""
    with AtomicWork() as work:
        service.place_order("T", 1, "ada@example.com")
        getattr(work, end)()
        assert not work.is_open
    assert orders() == count


def _place_and_fail() -> None:
    service.place_order("T", 1, "ada@example.com")
    raise KeyError


@only_sql
def test_end_of_a_block(services: Services) -> None:
    """Used as a block, a unit of work commits, and is undone after an exception."""
    with AtomicWork():
        service.place_order("T", 1, "ada@example.com")
    with pytest.raises(KeyError), AtomicWork():
        _place_and_fail()
    assert orders() == 1


def test_parallel(fulfilment: Fulfilment) -> None:
    """Of many calls at once one runs; the others hear that it runs, or get its result."""

    def call(_: int) -> str:
        try:
            return fulfilment.call("a")
        except IdempotencyInProgressError:
            return "a -"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(in_thread(call), range(16))) == {"a -"}
    assert (fulfilment.ran, orders()) == (1, 1)


def test_answer_and_effect_are_one(fulfilment: Fulfilment, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the result cannot be kept the effect is undone, where the store can do that."""

    def away(*_: Any, **__: Any) -> bool:
        raise IdempotencyStoreError

    monkeypatch.setattr(services.idempotency_store, "complete", away)
    if services.idempotency_store.transactional:
        with pytest.raises(IdempotencyStoreError):
            fulfilment.call("a")
        assert orders() == 0
    else:
        assert fulfilment.call("a") == "a -"
        assert orders() == 1


def test_within_a_transaction(fulfilment: Fulfilment) -> None:
    """What could still be undone by a transaction around it is refused, and says so."""
    with transaction.atomic(), pytest.raises(IdempotencyUsageError, match="was called within transaction"):
        fulfilment.call("a")
    assert fulfilment.call("a") == "a -"


@only_sql
async def test_without_a_thread(services: Services) -> None:
    """Asynchronous functions run once too; with a unit of work they are refused, and told what to do."""
    ran: list[str] = []

    @idempotent(key="bill")
    async def take(bill: str) -> str:
        ran.append(bill)
        await asyncio.sleep(0)
        return bill

    @idempotent(key="bill")
    async def take_within(work: AtomicWork, bill: str) -> str:
        return bill

    assert [await take("a") for _ in range(2)] == ["a", "a"]
    assert ran == ["a"]
    with pytest.raises(IdempotencyUsageError, match="belongs to one thread"):
        await take_within("a")


@only_sql
def test_outcomes_are_counted(fulfilment: Fulfilment, services: Services) -> None:
    """Calls are counted as requests are."""
    for _ in range(2):
        fulfilment.call("a")
    text = services.metrics.render().decode()
    assert 'idempotency_requests_total{outcome="replay"} 1' in text
